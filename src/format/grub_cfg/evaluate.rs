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

mod expression;

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
    Bls { kernel: String, version: Option<String> },
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
            "blscfg" => self.blscfg(arguments, certain)?,
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

    fn set(&mut self, variable: &str, value: &str) {
        if variable == "default" && value.contains(UNKNOWN) {
            self.state.because.get_or_insert_with(|| "a variable that is not known".to_owned());
        }
        self.state.variables.insert(variable.to_owned(), value.to_owned());
        self.state.status = Some(true);
    }

    /// Commands that leave what they found in a variable.
    fn sets_by_option(&mut self, name: &str, arguments: &[String]) {
        let mut unknown = |variable: &str| {
            self.state.variables.insert(variable.to_owned(), UNKNOWN.to_string());
        };
        match name {
            "search" | "search.fs_uuid" | "search.file" | "search.fs_label" | "probe" | "regexp"
            | "smbios" | "rdmsr" | "setpci" | "read" | "hwmatch" | "increment" | "decrement" => {}
            _ => return,
        }
        match name {
            "read" | "increment" | "decrement" => arguments.iter().for_each(|variable| unknown(variable)),
            "hwmatch" => unknown("match"),
            "search.fs_uuid" | "search.file" | "search.fs_label" => {
                arguments.get(1).into_iter().for_each(|variable| unknown(variable));
            }
            _ => {
                for (index, word) in arguments.iter().enumerate() {
                    if let Some(variable) = word.strip_prefix("--set=") {
                        // `regexp --set=1:name`
                        unknown(variable.rsplit(':').next().unwrap_or(variable));
                    } else if matches!(word.as_str(), "--set" | "-s" | "-v") {
                        unknown("root");
                        let next = arguments.get(index.saturating_add(1));
                        next.into_iter()
                            .for_each(|variable| unknown(variable.rsplit(':').next().unwrap_or(variable)));
                    }
                }
            }
        }
    }

    /// Notes what is loaded to be started.
    fn loads(&mut self, name: &str, arguments: &[String]) {
        let file = || {
            let file = arguments.iter().find(|word| !word.starts_with("--"));
            file.map(|file| without_device(file).to_owned())
        };
        match name {
            "linux" | "linux16" | "linuxefi" => self.state.kernel = file(),
            "multiboot" | "multiboot2" | "xen_hypervisor" => {
                self.state.is_hypervisor = true;
                self.state.kernel = None;
            }
            // The first module of a hypervisor is the kernel of its first domain.
            "module" | "module2" | "xen_linux" if self.state.is_hypervisor => {
                self.state.is_hypervisor = false;
                self.state.kernel = file();
            }
            "chainloader" | "ntldr" | "fwsetup" | "appleloader" | "xnu_kernel" | "kfreebsd" | "knetbsd"
            | "kopenbsd" | "kernel" => {
                self.state.other.get_or_insert_with(|| name.to_owned());
            }
            "boot" => self.state.is_over |= self.state.kernel.is_some(),
            _ => {}
        }
    }

    fn lose(&mut self, why: &str) {
        self.state.lost.get_or_insert_with(|| why.to_owned());
    }

    fn load_env(&mut self, arguments: &[String]) -> Result<()> {
        let mut file = None;
        let mut names: Vec<&String> = Vec::new();
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "-f" | "--file" => file = words.next().cloned(),
                "-s" | "--skip-sig" => {}
                other => match other.strip_prefix("--file=") {
                    Some(path) => file = Some(path.to_owned()),
                    None => names.push(word),
                },
            }
        }
        let path = file.unwrap_or_else(|| format!("{}/grubenv", self.value("prefix")));
        let path = without_device(&path);
        if self.files.exists(path) == Some(false) {
            return Ok(());
        }
        match self.files.environment(path) {
            Some(variables) if !path.contains(UNKNOWN) => {
                for (name, value) in variables {
                    self.charge(name.len().saturating_add(value.len()))?;
                    if names.is_empty() || names.contains(&name) {
                        self.state.variables.insert(name.clone(), value.clone());
                    }
                }
            }
            _ if names.is_empty() => {
                self.state.any_may_be_set = true;
                let of_grub = |name: &str| {
                    name.starts_with("feature_") || name == "prefix" || name == "config_directory"
                };
                for (name, value) in &mut self.state.variables {
                    if !of_grub(name) {
                        *value = UNKNOWN.to_string();
                    }
                }
                self.state.because.get_or_insert_with(|| {
                    format!("an environment block that is not known (`{}`)", short(path))
                });
            }
            _ => {
                for name in names {
                    self.state.variables.insert(name.clone(), UNKNOWN.to_string());
                }
            }
        }
        Ok(())
    }

    fn entry(
        &mut self,
        is_submenu: bool,
        arguments: &[String],
        block: Option<&'a [Command]>,
        certain: Certain,
    ) -> Result<()> {
        let (mut title, mut id) = (None, None);
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--id" => id = words.next().cloned(),
                "--class" | "--users" | "--hotkey" | "--source" => drop(words.next()),
                "--unrestricted" => {}
                other => {
                    if let Some(own) = other.strip_prefix("--id=") {
                        id = Some(own.to_owned());
                    } else if !other.starts_with("--") && title.is_none() {
                        title = Some(word.clone());
                    }
                }
            }
        }
        let body = block.unwrap_or_default();
        let kind = if is_submenu { Kind::Submenu(body) } else { Kind::Entry(body) };
        // Without an id, the title is it.
        self.push(Entry { title: title.unwrap_or_default(), id, certain, kind })
    }

    fn push(&mut self, entry: Entry<'a>) -> Result<()> {
        self.limits.boot_entries.check(size_of_len(self.state.menu.len()).saturating_add(1))?;
        self.state.menu.push(entry);
        Ok(())
    }

    fn blscfg(&mut self, arguments: &[String], certain: Certain) -> Result<()> {
        if !arguments.is_empty() {
            self.lose(&format!("it says `blscfg {}`", short(&arguments.join(" "))));
            return Ok(());
        }
        match self.files.bls_entries() {
            Ok(entries) => {
                self.charge(entries.len().saturating_mul(16))?;
                for entry in entries {
                    let BlsMenuEntry { title, id, kernel, version } = entry;
                    let kind = Kind::Bls { kernel, version };
                    self.push(Entry { title, id: Some(id), certain, kind })?;
                }
            }
            Err(why) => self.lose(&why),
        }
        Ok(())
    }

    /// Another script: `source` and `.` go on after it; `configfile` and `normal` have a menu of their own.
    fn follow(&mut self, name: &str, path: Option<&String>, certain: Certain, depth: u64) -> Result<()> {
        let Some(path) = path.map(|path| without_device(path).to_owned()) else { return Ok(()) };
        if self.files.exists(&path) == Some(false) {
            return Ok(());
        }
        let found = if path.contains(UNKNOWN) { None } else { self.files.script(&path) };
        let Some((script, directory)) = found else {
            self.lose(&format!("it goes on in a file that is not known (`{}`)", short(&path)));
            return Ok(());
        };
        let is_own_menu = matches!(name, "configfile" | "normal");
        if is_own_menu {
            self.state.variables.insert("prefix".to_owned(), directory.clone());
            self.state.variables.insert("config_directory".to_owned(), directory);
            self.state.menu.clear();
        }
        self.list(&script.commands, certain, depth.saturating_add(1))?;
        self.state.is_over = is_own_menu;
        Ok(())
    }

    /// `[` and `test`, as the manual has them; `None` if it is not known or not understood.
    fn test(&self, name: &str, arguments: &[String]) -> Option<bool> {
        let mut words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        if name == "[" && words.pop() != Some("]") {
            return None;
        }
        expression::truth(&words, self.files, self.limits.boot_depth.max)
    }

    /// The default of the menu as it is, below these titles.
    fn default(&mut self, depth: u64, above: String) -> Result<std::result::Result<Default, String>> {
        self.limits.boot_depth.check(depth)?;
        if let Some(why) = &self.state.lost {
            return Ok(Err(why.clone()));
        }
        if self.state.menu.is_empty() && depth == 0 {
            return Ok(match self.state.kernel.take() {
                Some(kernel) => Ok(Default { title: String::new(), id: None, kernel, version: None }),
                None => Err("it has no menu".to_owned()),
            });
        }
        let wanted = self.state.variables.get("default").cloned().unwrap_or_default();
        if wanted.contains(UNKNOWN) {
            let because =
                self.state.because.clone().unwrap_or_else(|| "what the image does not say".to_owned());
            return Ok(Err(format!("its default depends on {because}")));
        }
        let (first, rest) = split_default(&wanted);
        let entry = match chosen(&self.state.menu, &first) {
            Ok(Some(entry)) => entry.clone(),
            Ok(None) => return Ok(Err("the submenu of its default has no entry".to_owned())),
            Err(why) => return Ok(Err(why)),
        };
        let title = match above.is_empty() {
            true => entry.title.clone(),
            false => format!("{above} > {}", entry.title),
        };
        let body = match entry.kind {
            Kind::Bls { kernel, version } => {
                let kernel = without_device(&kernel).to_owned();
                return Ok(Ok(Default { title, id: entry.id, kernel, version }));
            }
            Kind::Submenu(body) => {
                self.state.menu.clear();
                self.state.variables.insert("default".to_owned(), rest);
                self.state.is_over = false;
                self.list(body, Certain::Yes, 1)?;
                return self.default(depth.saturating_add(1), title);
            }
            Kind::Entry(body) => body,
        };
        (self.state.kernel, self.state.other, self.state.is_over) = (None, None, false);
        self.list(body, Certain::Yes, 1)?;
        Ok(match (self.state.lost.take(), self.state.kernel.take(), self.state.other.take()) {
            (Some(why), _, _) => Err(why),
            (None, Some(kernel), _) if !kernel.contains(UNKNOWN) => {
                Ok(Default { title, id: entry.id, kernel, version: None })
            }
            (None, Some(_), _) => {
                Err(format!("which kernel its default `{}` loads is not known", short(&title)))
            }
            (None, None, Some(other)) => {
                Err(format!("its default `{}` starts no Linux of its own ({other})", short(&title)))
            }
            (None, None, None) => Err(format!("its default `{}` loads no kernel", short(&title))),
        })
    }
}

/// The state after several ways.
fn joined<'a>(before: State<'a>, ends: &[State<'a>], because: &str) -> State<'a> {
    let mut state = State { status: None, ..before };
    let Some(first) = ends.first() else { return state };
    let names: std::collections::BTreeSet<&String> =
        ends.iter().flat_map(|end| end.variables.keys()).collect();
    let mut variables = BTreeMap::new();
    for name in names {
        let value = first.variables.get(name);
        // One that is set in one way alone is as if it were empty in the others.
        let all_alike = ends.iter().all(|end| end.variables.get(name) == value);
        let value = match (all_alike, value) {
            (true, Some(value)) => value.clone(),
            _ => UNKNOWN.to_string(),
        };
        if name == "default" && !all_alike {
            state.because = Some(because.to_owned());
        }
        variables.insert(name.clone(), value);
    }
    state.variables = variables;
    state.any_may_be_set = ends.iter().any(|end| end.any_may_be_set);
    state.functions = ends.iter().flat_map(|end| end.functions.clone()).collect();
    state.lost = ends.iter().find_map(|end| end.lost.clone());
    state.because = state.because.or_else(|| ends.iter().find_map(|end| end.because.clone()));
    state.is_hypervisor = first.is_hypervisor;
    state.other = ends.iter().find_map(|end| end.other.clone());
    let is_alike = ends.iter().all(|end| end.kernel == first.kernel);
    state.kernel = if is_alike { first.kernel.clone() } else { Some(UNKNOWN.to_string()) };
    // Where all ways end, it is over; where some do, what follows may not be carried out.
    state.is_over = ends.iter().all(|end| end.is_over);
    if !state.is_over && ends.iter().any(|end| end.is_over) {
        state.lost.get_or_insert_with(|| format!("where it ends depends on {because}"));
    }
    state
}

/// A condition, for people; its start, if it is long.
fn told(condition: &[Command]) -> String {
    let words = condition.iter().filter_map(|command| match command {
        Command::Simple { words, .. } => Some(words),
        _ => None,
    });
    let mut text = String::new();
    for word in words.flatten().take(20) {
        for piece in word.pieces.iter().take(20) {
            match piece {
                Piece::Text(own) => text.extend(own.chars().take(100)),
                Piece::Variable { name, .. } => {
                    text.extend(
                        ["${"].into_iter().flat_map(str::chars).chain(name.chars().take(100)).chain(['}']),
                    );
                }
            }
        }
        text.push(' ');
    }
    format!("`{}`", short(text.trim_end()))
}

/// At most a hundred characters of a text.
fn short(text: &str) -> String {
    let mut shown: String = text.chars().take(100).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

/// `name=value`, if the word is one.
fn assignment(word: &str) -> Option<(&str, &str)> {
    let (name, value) = word.split_once('=')?;
    let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    is_name.then_some((name, value))
}

/// A path without the device before it: `(hd0,gpt2)/boot/x` is `/boot/x`.
fn without_device(path: &str) -> &str {
    let bare = path.strip_prefix('(').and_then(|inside| Some(inside.split_once(')')?.1));
    bare.unwrap_or(path)
}

/// The first part of a default, with `>>` as `>`, and the rest of it.
fn split_default(text: &str) -> (String, String) {
    let mut first = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('>') {
        let (before, from) = rest.split_at(at);
        first.push_str(before);
        let after = from.get(1..).unwrap_or_default();
        match after.strip_prefix('>') {
            Some(after) => {
                first.push('>');
                rest = after;
            }
            None => return (first, after.to_owned()),
        }
    }
    first.push_str(rest);
    (first, String::new())
}

/// The entry that a part of a default chooses; none of an empty menu.
fn chosen<'m, 'a>(menu: &'m [Entry<'a>], wanted: &str) -> std::result::Result<Option<&'m Entry<'a>>, String> {
    let by_name = menu.iter().position(|entry| entry.title == wanted || entry.id.as_deref() == Some(wanted));
    let may_be_named = |entry: &Entry<'_>| {
        entry.title.contains(UNKNOWN) || entry.id.as_deref().is_some_and(|id| id.contains(UNKNOWN))
    };
    // GRUB takes what starts with a digit for a number, unless it has the patch with which ids start with one.
    let digits = wanted.len().saturating_sub(wanted.trim_start_matches(|c: char| c.is_ascii_digit()).len());
    let number = wanted.get(..digits).and_then(|digits| digits.parse::<usize>().ok());
    let is_number = digits == wanted.len();
    let index = match (number, by_name) {
        (Some(number), _) if is_number => number,
        (_, Some(index)) => {
            let entry = menu.get(index);
            let is_sure = menu.iter().take(index).all(|before| !may_be_named(before));
            return match entry.filter(|entry| is_sure && entry.certain == Certain::Yes) {
                Some(entry) => Ok(Some(entry)),
                None => Err(format!("whether its menu has the default `{}` is not known", short(wanted))),
            };
        }
        (_, None) if menu.iter().any(may_be_named) => {
            return Err(format!("whether its menu has the default `{}` is not known", short(wanted)));
        }
        (Some(_), None) => {
            return Err(format!(
                "its default `{}` is no entry of its menu, and starts with a number",
                short(wanted)
            ));
        }
        (None, None) => 0,
    };
    let index = if index < menu.len() { index } else { 0 };
    match menu.iter().take(index.saturating_add(1)).all(|entry| entry.certain == Certain::Yes) {
        true => Ok(menu.get(index)),
        false => Err(format!("which entry of its menu is number {index} is not known")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::decode;
    use super::*;
    use crate::format::grubenv;

    /// Scripts, environments and entries beside a `grub.cfg`; what is in none of them is not there.
    #[derive(std::default::Default)]
    struct Beside {
        environment: Option<Vec<(String, String)>>,
        scripts: Vec<(&'static str, Script)>,
        bls: Vec<BlsMenuEntry>,
    }

    impl Files for Beside {
        fn exists(&self, path: &str) -> Option<bool> {
            match path {
                "/boot/grub/grubenv" => Some(self.environment.is_some()),
                _ if path.starts_with("/boot/") => Some(self.scripts.iter().any(|(own, _)| *own == path)),
                _ => None,
            }
        }

        fn environment(&self, path: &str) -> Option<&[(String, String)]> {
            self.environment.as_deref().filter(|_| path == "/boot/grub/grubenv")
        }

        fn script(&self, path: &str) -> Option<(&Script, String)> {
            let (_, script) = self.scripts.iter().find(|(own, _)| *own == path)?;
            Some((script, "/boot/grub".into()))
        }

        fn bls_entries(&self) -> std::result::Result<Vec<BlsMenuEntry>, String> {
            Ok(self.bls.clone())
        }
    }

    fn script(text: &str) -> Script {
        decode(text.as_bytes(), &Limits::default()).unwrap()
    }

    fn beside(block: &[u8]) -> Beside {
        let variables = grubenv::decode(block, &Limits::default()).unwrap();
        Beside { environment: Some(variables), ..Beside::default() }
    }

    fn with(pairs: &[(&str, &str)]) -> Beside {
        let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Beside { environment: Some(pairs.collect()), ..Beside::default() }
    }

    /// The kernel of the default, or why it is not known.
    fn kernel(text: &str, files: &Beside) -> String {
        match default(&script(text), "/boot/grub", files, &Limits::default()).unwrap() {
            Ok(found) => found.kernel,
            Err(why) => format!("unknown: {why}"),
        }
    }

    const FIRST: &str = include_str!("../../../fixtures/boot/debian-12-first.cfg");
    const SUBMENU: &str = include_str!("../../../fixtures/boot/debian-12-submenu.cfg");
    const SAVED: &str = include_str!("../../../fixtures/boot/debian-12-saved.cfg");
    const FLAT: &str = include_str!("../../../fixtures/boot/debian-12-flat.cfg");
    const SAVED_50: &[u8] = include_bytes!("../../../fixtures/boot/grubenv-50");
    const NEXT: &[u8] = include_bytes!("../../../fixtures/boot/grubenv-next");
    const NEW: &str = "/boot/vmlinuz-6.1.0-56-amd64";
    const OLD: &str = "/boot/vmlinuz-6.1.0-50-amd64";

    #[test]
    fn defaults_of_grub_mkconfig_are_followed() {
        let none = Beside::default();
        for (name, text, files, want) in [
            ("the first", FIRST, &none, NEW),
            ("in a submenu", SUBMENU, &none, OLD),
            ("by id, without submenus", FLAT, &none, OLD),
            ("saved, and nothing saved", SAVED, &none, NEW),
            ("saved by id", SAVED, &beside(SAVED_50), OLD),
            ("once another", SAVED, &beside(NEXT), NEW),
            ("once another, of a fixed default", SUBMENU, &beside(NEXT), NEW),
            ("a fixed default does not ask what was saved", FIRST, &beside(SAVED_50), NEW),
            (
                "by title",
                SAVED,
                &with(&[(
                    "saved_entry",
                    "Advanced options for Debian GNU/Linux>Debian GNU/Linux, with Linux 6.1.0-50-amd64",
                )]),
                OLD,
            ),
            ("by numbers", SAVED, &with(&[("saved_entry", "1>2")]), OLD),
            ("what names no entry is the first", SAVED, &with(&[("saved_entry", "gone")]), NEW),
            ("a number past the end, too", SAVED, &with(&[("saved_entry", "7")]), NEW),
        ] {
            assert_eq!(kernel(text, files), want, "{name}");
        }
        let found = default(&script(SUBMENU), "/boot/grub", &none, &Limits::default()).unwrap().unwrap();
        assert_eq!(
            found.title,
            "Advanced options for Debian GNU/Linux > Debian GNU/Linux, with Linux 6.1.0-50-amd64"
        );
        assert_eq!(found.id.as_deref(), Some("gnulinux-6.1.0-50-amd64-advanced-/dev/sda1"));
    }

    /// The head of a `grub.cfg` of Fedora and RHEL, where the entries are files.
    const BLS: &str = r#"
set pager=1
if [ -f ${config_directory}/grubenv ]; then
  load_env -f ${config_directory}/grubenv
elif [ -s $prefix/grubenv ]; then
  load_env
fi
if [ "${next_entry}" ] ; then
   set default="${next_entry}"
   set next_entry=
   save_env next_entry
   set boot_once=true
else
   set default="${saved_entry}"
fi
insmod increment
if [ -n "${boot_counter}" -a "${boot_success}" = "0" ]; then
  if  [ "${boot_counter}" = "0" -o "${boot_counter}" = "-1" ]; then
    set default=1
    set boot_counter=-1
  else
    decrement boot_counter
  fi
  save_env boot_counter
fi
if [ x$feature_platform_search_hint = xy ]; then
  search --no-floppy --fs-uuid --set=root --hint-bios=hd0,gpt2 2f64394d
else
  search --no-floppy --fs-uuid --set=root 2f64394d
fi
insmod blscfg
blscfg
if [ "${boot_success}" = "1" -o "${boot_indeterminate}" = "1" ]; then
  set menu_hide_ok=1
else
  set menu_hide_ok=0
fi
if [ "$grub_platform" = "efi" ]; then
  menuentry 'UEFI Firmware Settings' --id 'uefi-firmware' {
    fwsetup
  }
fi
"#;

    fn bls(versions: &[&str]) -> Vec<BlsMenuEntry> {
        let entry = |version: &&str| BlsMenuEntry {
            title: format!("Red Hat Enterprise Linux ({version}) 9.6 (Plow)"),
            id: format!("4098b3f648d74c13b1f04ccfba7798e8-{version}"),
            kernel: format!("/vmlinuz-{version}"),
            version: Some((*version).to_owned()),
        };
        versions.iter().map(entry).collect()
    }

    #[test]
    fn defaults_with_entries_in_files_are_followed() {
        let versions = ["5.14.0-570.el9.x86_64", "5.14.0-427.el9.x86_64", "0-rescue"];
        let (new, old) = ("/vmlinuz-5.14.0-570.el9.x86_64", "/vmlinuz-5.14.0-427.el9.x86_64");
        for (pairs, want) in [
            (&[][..], new),
            (&[("saved_entry", "4098b3f648d74c13b1f04ccfba7798e8-5.14.0-427.el9.x86_64")], old),
            (&[("saved_entry", "1")], old),
            (&[("saved_entry", "0"), ("boot_counter", "0"), ("boot_success", "0")], old),
            (&[("saved_entry", "0"), ("boot_counter", "1"), ("boot_success", "0")], new),
            (&[("saved_entry", "0"), ("boot_counter", "0"), ("boot_success", "1")], new),
            (
                &[("saved_entry", "4098b3f648d74c13b1f04ccfba7798e8-gone")],
                "unknown: its default `4098b3f648d74c13b1f04ccfba7798e8-gone` is no entry of its menu, and starts with a number",
            ),
            // Past what may be there or not.
            (&[("saved_entry", "3")], "unknown: which entry of its menu is number 3 is not known"),
            (
                &[("saved_entry", "uefi-firmware")],
                "unknown: whether its menu has the default `uefi-firmware` is not known",
            ),
        ] {
            assert_eq!(kernel(BLS, &Beside { bls: bls(&versions), ..with(pairs) }), want, "{pairs:?}");
        }
        assert_eq!(kernel(BLS, &with(&[])), "unknown: which entry of its menu is number 0 is not known");
    }

    #[test]
    fn what_the_image_does_not_say_is_unknown() {
        let menu = "menuentry a --id a { linux /a }\nmenuentry b --id b { linux /b }\n";
        let none = Beside::default();
        for (head, want) in [
            ("", "/a"),
            ("set default=b", "/b"),
            ("default=1", "/b"),
            (
                "if [ $grub_platform = efi ]; then set default=1; else set default=0; fi",
                "unknown: its default depends on `[ ${grub_platform} = efi ]`",
            ),
            ("if [ $grub_platform = efi ]; then set default=1; else set default=1; fi", "/b"),
            ("if loadfont x; then set default=1; fi", "unknown: its default depends on `loadfont x`"),
            ("if loadfont x; then set color=1; fi", "/a"),
            (
                "if [ $grub_platform = efi ]; then menuentry fw { fwsetup }; fi",
                "unknown: which entry of its menu is number 0 is not known",
            ),
            (
                "load_env -f (hd1)/env; set default=$saved_entry",
                "unknown: its default depends on an environment block that is not known (`/env`)",
            ),
            (
                "set env_block=\"($root)512+1\"\nload_env -f \"${env_block}\"\nset default=\"${saved_entry}\"",
                "unknown: its default depends on an environment block that is not known (`512+1`)",
            ),
            ("eval \"set default=1\"", "unknown: it carries out the text of a variable"),
            ("source (hd1)/other.cfg", "unknown: it goes on in a file that is not known (`/other.cfg`)"),
            ("source /boot/grub/none.cfg", "/a"),
            ("configfile (hd1,gpt1)/boot/grub/none.cfg", "/a"),
            (
                "menuentry x { chainloader +1 }",
                "unknown: its default `x` starts no Linux of its own (chainloader)",
            ),
            ("menuentry x { linux $kernel_of_mine }", "unknown: its default `x` loads no kernel"),
            (
                "menuentry x { linux ($root)$root/k }",
                "unknown: which kernel its default `x` loads is not known",
            ),
            (
                "menuentry x { multiboot2 /xen.gz placeholder\n module2 /vmlinuz-6.1 root=x\n module2 --nounzip /initrd }",
                "/vmlinuz-6.1",
            ),
            ("submenu s { }", "unknown: the submenu of its default has no entry"),
            ("for x in a b; do set default=1; done", "unknown: its default depends on how often a loop runs"),
            ("function pick { set default=$1x; if true; then set default=1; fi }\npick", "/b"),
            ("function f { f }\nf", "limit"),
            ("if ! [ -e /boot/x ]; then set default=1; fi", "/b"),
            ("if [ ! -e /boot/x -a ( 1 -lt 2 ) ]; then set default=1; fi", "/b"),
            ("if [ x\"$nothing\" = x -o y ]; then true; fi\nset default=\\b", "/b"),
            ("linux /direct\nboot", "/direct"),
        ] {
            let script = script(&format!("{head}\n{menu}"));
            let got = match default(&script, "/boot/grub", &none, &Limits::default()) {
                Ok(Ok(found)) => found.kernel,
                Ok(Err(why)) => format!("unknown: {why}"),
                Err(_) => "limit".to_owned(),
            };
            assert_eq!(got, want, "{head}");
        }
    }

    #[test]
    fn a_stub_on_the_efi_partition_leads_to_the_menu() {
        let main = Beside { scripts: vec![("/boot/grub/grub.cfg", script(SUBMENU))], ..Beside::default() };
        let stub = "search.fs_uuid 2f64394d root hd0,gpt2\nset prefix=($root)'/boot/grub'\nconfigfile $prefix/grub.cfg\n";
        let found = default(&script(stub), "/boot/efi/EFI/debian", &main, &Limits::default()).unwrap();
        assert_eq!(found.unwrap().kernel, OLD);
        let found =
            default(&script(stub), "/boot/efi/EFI/debian", &Beside::default(), &Limits::default()).unwrap();
        assert_eq!(found, Err("it has no menu".to_owned()));
    }

    #[test]
    fn broken_scripts_end_in_an_answer() {
        let limits = Limits::default();
        for text in [
            "if true; then",
            "fi",
            "}",
            "{",
            "menuentry 'x",
            "menuentry \"x",
            "x {",
            "for",
            "function",
            "while true; do",
            "if; then; fi }",
            "$",
            "${",
            "${x",
            "\\",
            "menuentry x { submenu",
            "'",
        ] {
            if let Ok(script) = decode(text.as_bytes(), &limits) {
                let _ = default(&script, "", &Beside::default(), &limits);
            }
        }
        assert!(decode("{ ".repeat(1000).as_bytes(), &limits).is_err());
        assert!(decode("x { ".repeat(1000).as_bytes(), &limits).is_err());
        assert!(decode("if ".repeat(1000).as_bytes(), &limits).is_err());
        let deep = format!("[ {} ]", "! ".repeat(10_000));
        assert!(decode(deep.as_bytes(), &limits).is_ok());
        assert_eq!(
            kernel(&format!("if {deep}; then true; fi\nmenuentry a {{ linux /a }}"), &Beside::default()),
            "/a"
        );
        // What grows by doubling, runs long, or nests without end passes a limit.
        for bomb in [
            format!("a=xxxxxxxx\n{}", "a=$a$a$a$a\n".repeat(60)),
            format!("a=xxxxxxxx\n{}", "a=$a$a\n".repeat(10) + &"b=$a$a$a$a$a$a$a$a$a$a$a$a\n".repeat(10_000)),
            format!(
                "{}{}",
                (0..20_000).map(|i| format!("v{i}=1\n")).collect::<String>(),
                "if x; then y; fi\n".repeat(10_000)
            ),
            (0..30)
                .map(|i| format!("function f{i} {{ f{} ; f{} ; f{} }}\n", i + 1, i + 1, i + 1))
                .collect::<String>()
                + "f0\n",
        ] {
            let script = decode(bomb.as_bytes(), &limits).unwrap();
            assert!(default(&script, "", &Beside::default(), &limits).is_err());
        }
        let negated =
            format!("if {} true; then set default=1; fi\nmenuentry a {{ linux /a }}", "! ".repeat(100_000));
        assert_eq!(kernel(&negated, &Beside::default()), "/a");
        let bytes = SUBMENU.as_bytes();
        for at in (0..bytes.len()).step_by(7) {
            for broken in [bytes[..at].to_vec(), {
                let mut flipped = bytes.to_vec();
                flipped[at] ^= 0x55;
                flipped
            }] {
                if let Ok(script) = decode(&broken, &limits) {
                    let _ = default(&script, "/boot/grub", &beside(SAVED_50), &limits);
                }
            }
        }
    }
}
