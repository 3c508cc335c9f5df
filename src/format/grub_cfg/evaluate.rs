//! What a `grub.cfg` comes to: its menu, and which entry of it is the default.
//!
//! A script asks much that no image says (which firmware, what a device is called, whether a module loads). Such
//! an answer is *unknown*: both ways of the condition are followed, a variable that they leave different becomes
//! unknown, an entry that only one of them makes may be there. Where that touches the default, the default is
//! unknown, with the reason; it is never guessed.
//!
//! The rules of the default are those of GRUB 2.12 (`normal/menu.c`): the variable `default` is a number, or the
//! title or id of an entry, for submenus joined by `>` (`>>` is a `>` within); what names none is entry 0.

use std::collections::BTreeMap;

use super::{Command, Piece, Script, Word};
use crate::bytes::size_of_len;
use crate::error::Result;
use crate::limits::Limits;

mod choice;
mod commands;
mod expression;
mod join;
#[cfg(test)]
mod tests;
mod words;

use join::joined;
use words::{assignment, told};

/// Stands for any text in a value that is not known.
const UNKNOWN: char = '\u{fffd}';

/// What a script asks of other files. Paths are as the script has them, without a device.
pub trait Files {
    /// Whether there is a file or directory; `None` if that is not known.
    fn exists(&self, path: &str) -> Option<bool>;
    /// The environment block at a path; `None` if it is not known what it says.
    fn environment(&self, path: &str) -> Option<&[(String, String)]>;
    /// The script at a path, with the directory that it lies in; `None` if it is not known.
    fn script(&self, path: &str) -> Option<(&Script, String)>;
    /// The menu that the command `blscfg` makes.
    ///
    /// # Errors
    /// Why it is not known.
    fn bls_entries(&self) -> std::result::Result<Vec<BlsMenuEntry>, String>;
}

/// An entry that `blscfg` makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlsMenuEntry {
    /// Its title.
    pub title: String,
    /// Its id: its file's name without `.conf`.
    pub id: String,
    /// The kernel.
    pub kernel: String,
    /// The kernel's release, where the entry tells it.
    pub version: Option<String>,
    /// The kernel's command line, as the entry has it.
    pub options: String,
}

/// The default entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Default {
    /// Its title; of an entry in a submenu all of them, joined by ` > `.
    pub title: String,
    /// Its id.
    pub id: Option<String>,
    /// The path of the Linux that it loads, as the configuration has it, without a device.
    pub kernel: String,
    /// The kernel's release, where an entry of the Boot Loader Specification tells it.
    pub version: Option<String>,
    /// The kernel's command line; words that are not known are left out.
    pub options: String,
}

/// The default of a script that lies in `directory`, or why it is not known.
///
/// # Errors
/// `Limit` if it is too much to follow.
pub fn default(
    script: &Script,
    directory: &str,
    files: &dyn Files,
    limits: &Limits,
) -> Result<std::result::Result<Default, String>> {
    let mut run = Run { files, limits, steps: 0, state: State::default() };
    for (name, value) in [
        ("prefix", directory),
        ("config_directory", directory),
        ("feature_menuentry_id", "y"),
        ("feature_menuentry_options", "y"),
        ("feature_default_font_path", "y"),
        ("feature_timeout_style", "y"),
        ("feature_platform_search_hint", "y"),
        ("feature_chainloader_bpb", "y"),
        ("feature_ntldr", "y"),
        ("feature_nativedisk_cmd", "y"),
        ("feature_all_video_module", "y"),
        ("feature_200_final", "y"),
    ] {
        run.state.variables.insert(name.to_owned(), value.to_owned());
    }
    run.list(&script.commands, Certain::Yes, 0)?;
    run.default(0, String::new())
}

/// Variables that GRUB itself sets, to what the machine has.
const OF_GRUB: [&str; 22] = [
    "root",
    "cmdpath",
    "grub_platform",
    "grub_cpu",
    "fw_path",
    "lockdown",
    "shim_lock",
    "check_signatures",
    "pxe_blksize",
    "pxe_default_server",
    "pxe_default_interface",
    "gfxmode",
    "gfxpayload",
    "biosnum",
    "lang",
    "locale_dir",
    "debug",
    "chosen",
    "btrfs_subvol",
    "boot",
    "match",
    "secure_boot",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Certain {
    Yes,
    No,
}

#[derive(Debug, Clone)]
enum Kind<'a> {
    Entry(&'a [Command]),
    Submenu(&'a [Command]),
    Bls { kernel: String, version: Option<String>, options: String },
}

#[derive(Debug, Clone)]
struct Entry<'a> {
    title: String,
    id: Option<String>,
    certain: Certain,
    kind: Kind<'a>,
}

#[derive(Clone, Default)]
struct State<'a> {
    variables: BTreeMap<String, String>,
    /// Variables that were not set may be so by an environment that is not known.
    any_may_be_set: bool,
    functions: BTreeMap<String, &'a [Command]>,
    menu: Vec<Entry<'a>>,
    /// What was loaded last, outside of an entry or within the one that is followed.
    kernel: Option<String>,
    /// Its command line.
    options: String,
    is_hypervisor: bool,
    /// What it starts other than a Linux.
    other: Option<String>,
    /// The last command's result; `None` if it is not known.
    status: Option<bool>,
    /// Nothing that follows is carried out.
    is_over: bool,
    /// Why nothing is known any more.
    lost: Option<String>,
    /// What the default depends on.
    because: Option<String>,
}

struct Run<'a> {
    files: &'a dyn Files,
    limits: &'a Limits,
    steps: u64,
    state: State<'a>,
}

impl<'a> Run<'a> {
    /// Counts work as commands, so that none is for nothing.
    fn charge(&mut self, work: usize) -> Result<()> {
        let work = size_of_len(work).saturating_add(15).checked_div(16).unwrap_or_default();
        self.steps = self.limits.boot_steps.check(self.steps.saturating_add(work))?;
        Ok(())
    }

    fn list(&mut self, commands: &'a [Command], certain: Certain, depth: u64) -> Result<()> {
        self.limits.boot_depth.check(depth)?;
        for command in commands {
            if self.state.is_over {
                return Ok(());
            }
            self.charge(16)?;
            match command {
                Command::Simple { words, block } => {
                    let mut expanded = Vec::new();
                    for word in words {
                        expanded.extend(self.expand(word)?);
                    }
                    let words = expanded;
                    self.simple(&words, block.as_deref(), certain, depth)?;
                }
                Command::If { arms, otherwise } => self.condition(arms, otherwise, certain, depth)?,
                Command::Loop { variable, body } => {
                    if let Some(name) = variable {
                        self.state.variables.insert(name.clone(), UNKNOWN.to_string());
                    }
                    self.perhaps(&[body], "how often a loop runs", depth)?;
                }
                Command::Function { name, body } => {
                    self.state.functions.insert(name.clone(), body);
                }
            }
        }
        Ok(())
    }

    fn condition(
        &mut self,
        arms: &'a [(Vec<Command>, Vec<Command>)],
        otherwise: &'a [Command],
        certain: Certain,
        depth: u64,
    ) -> Result<()> {
        let deeper = depth.saturating_add(1);
        for (index, (condition, then)) in arms.iter().enumerate() {
            self.list(condition, certain, deeper)?;
            match self.state.status {
                Some(true) => return self.list(then, certain, deeper),
                Some(false) => {}
                None => {
                    let rest = arms.get(index..).unwrap_or_default();
                    let mut ways: Vec<&'a [Command]> = rest.iter().map(|(_, then)| then.as_slice()).collect();
                    ways.push(otherwise);
                    return self.perhaps(&ways, &told(condition), depth);
                }
            }
        }
        self.state.status = Some(true);
        self.list(otherwise, certain, deeper)
    }

    /// Follows several ways, of which one is gone (or, if it is one alone, gone or not).
    fn perhaps(&mut self, ways: &[&'a [Command]], because: &str, depth: u64) -> Result<()> {
        let mut menu = std::mem::take(&mut self.state.menu);
        let size = self.state.variables.values().map(String::len).sum::<usize>();
        let size = size.saturating_add(self.state.variables.len().saturating_add(self.state.functions.len()));
        let before = self.state.clone();
        let mut ends: Vec<State<'a>> = Vec::new();
        for way in ways {
            self.charge(size)?;
            self.state = State { menu: std::mem::take(&mut menu), ..before.clone() };
            self.list(way, Certain::No, depth.saturating_add(1))?;
            menu = std::mem::take(&mut self.state.menu);
            ends.push(std::mem::take(&mut self.state));
        }
        if ways.len() == 1 {
            ends.push(before.clone());
        }
        self.state = joined(before, &ends, because);
        self.state.menu = menu;
        Ok(())
    }

    /// A word with its variables put in: one that is not quoted and empty is none, one with blanks is several.
    fn expand(&mut self, word: &Word) -> Result<Vec<String>> {
        let mut words = vec![String::new()];
        let mut is_there = word.is_quoted;
        for piece in &word.pieces {
            let (value, splits) = match piece {
                Piece::Text(text) => (text.clone(), false),
                Piece::Variable { name, is_quoted } => (self.value(name), !is_quoted),
            };
            self.charge(value.len())?;
            is_there |= !value.is_empty();
            if !splits {
                if let Some(last) = words.last_mut() {
                    last.push_str(&value);
                }
                continue;
            }
            let mut parts = value.split([' ', '\t', '\n']);
            if let (Some(last), Some(first)) = (words.last_mut(), parts.next()) {
                last.push_str(first);
            }
            words.extend(parts.map(str::to_owned));
        }
        if !word.is_quoted {
            words.retain(|word| !word.is_empty());
        }
        Ok(if is_there { words } else { Vec::new() })
    }

    fn value(&self, name: &str) -> String {
        if name == "?" {
            return match self.state.status {
                Some(true) => "0".to_owned(),
                Some(false) => "1".to_owned(),
                None => UNKNOWN.to_string(),
            };
        }
        let is_argument = name.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'*' | b'@' | b'#'));
        match self.state.variables.get(name) {
            Some(value) => value.clone(),
            None if is_argument || self.state.any_may_be_set => UNKNOWN.to_string(),
            None if OF_GRUB.contains(&name) || name.starts_with("net_") => UNKNOWN.to_string(),
            None => String::new(),
        }
    }

    fn simple(
        &mut self,
        words: &[String],
        block: Option<&'a [Command]>,
        certain: Certain,
        depth: u64,
    ) -> Result<()> {
        let Some((name, arguments)) = words.split_first() else { return Ok(()) };
        if let Some((variable, value)) = assignment(name) {
            self.set(variable, value);
            return Ok(());
        }
        if let Some(body) = self.state.functions.get(name.as_str()).copied() {
            return self.list(body, certain, depth.saturating_add(1));
        }
        let mut status = None;
        match name.as_str() {
            "!" => {
                let rest = arguments.iter().position(|word| word != "!").unwrap_or(arguments.len());
                let (_, command) = arguments.split_at_checked(rest).unwrap_or_default();
                self.simple(command, block, certain, depth)?;
                let is_odd = rest.checked_rem(2) == Some(0);
                status = self.state.status.map(|status| status != is_odd);
            }
            "true" => status = Some(true),
            "false" => status = Some(false),
            "[" | "test" => status = self.test(name, arguments),
            "set" | "export" => {
                for (variable, value) in arguments.iter().filter_map(|word| assignment(word)) {
                    self.set(variable, value);
                }
                status = Some(true);
            }
            "unset" => {
                for variable in arguments {
                    self.set(variable, "");
                }
                status = Some(true);
            }
            "load_env" => self.load_env(arguments)?,
            "menuentry" | "submenu" => {
                self.entry(name == "submenu", arguments, block, certain)?;
                status = Some(true);
            }
            "blscfg" | "bls_import" => self.blscfg(arguments, certain)?,
            // Commands that make entries, or go on in files of another language.
            "uki" | "legacy_configfile" | "legacy_source" | "syslinux_configfile" | "syslinux_source" => {
                self.lose(&format!("its menu is made by `{name}`"));
            }
            _ if name.starts_with("extract_") => self.lose(&format!("its menu is made by `{name}`")),
            "source" | "." | "configfile" | "normal" => {
                self.follow(name, arguments.last(), certain, depth)?;
            }
            "return" | "exit" | "normal_exit" | "halt" | "reboot" => match certain {
                Certain::Yes => self.state.is_over = true,
                Certain::No => self.lose(&format!("it may end at a `{name}`")),
            },
            "eval" => self.lose("it carries out the text of a variable"),
            _ => self.loads(name, arguments),
        }
        self.sets_by_option(name, arguments);
        self.state.status = status;
        Ok(())
    }
}
