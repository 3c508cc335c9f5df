//! What single commands do to variables, to the menu, and to what is loaded.

use super::words::{short, without_device};
use super::{BlsMenuEntry, Certain, Command, Entry, Kind, Run, UNKNOWN, expression};
use crate::bytes::size_of_len;
use crate::error::Result;

impl<'a> Run<'a> {
    pub(super) fn set(&mut self, variable: &str, value: &str) {
        if variable == "default" && value.contains(UNKNOWN) {
            self.state.because.get_or_insert_with(|| "a variable that is not known".to_owned());
        }
        self.state.variables.insert(variable.to_owned(), value.to_owned());
        self.state.status = Some(true);
    }

    /// Commands that leave what they found in a variable.
    pub(super) fn sets_by_option(&mut self, name: &str, arguments: &[String]) {
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
    pub(super) fn loads(&mut self, name: &str, arguments: &[String]) {
        let file = || {
            let file = arguments.iter().find(|word| !word.starts_with("--"));
            file.map(|file| without_device(file).to_owned())
        };
        let options = || {
            let words = arguments.iter().skip_while(|word| word.starts_with("--")).skip(1);
            words.filter(|word| !word.contains(UNKNOWN)).cloned().collect::<Vec<_>>().join(" ")
        };
        match name {
            "linux" | "linux16" | "linuxefi" => (self.state.kernel, self.state.options) = (file(), options()),
            "multiboot" | "multiboot2" | "xen_hypervisor" => {
                self.state.is_hypervisor = true;
                self.state.kernel = None;
            }
            // The first module of a hypervisor is the kernel of its first domain.
            "module" | "module2" | "xen_linux" if self.state.is_hypervisor => {
                self.state.is_hypervisor = false;
                (self.state.kernel, self.state.options) = (file(), options());
            }
            "chainloader" | "ntldr" | "fwsetup" | "appleloader" | "xnu_kernel" | "kfreebsd" | "knetbsd"
            | "kopenbsd" | "kernel" => {
                self.state.other.get_or_insert_with(|| name.to_owned());
            }
            "boot" => self.state.is_over |= self.state.kernel.is_some(),
            _ => {}
        }
    }

    pub(super) fn lose(&mut self, why: &str) {
        self.state.lost.get_or_insert_with(|| why.to_owned());
    }

    pub(super) fn load_env(&mut self, arguments: &[String]) -> Result<()> {
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

    pub(super) fn entry(
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

    pub(super) fn push(&mut self, entry: Entry<'a>) -> Result<()> {
        self.limits.boot_entries.check(size_of_len(self.state.menu.len()).saturating_add(1))?;
        self.state.menu.push(entry);
        Ok(())
    }

    /// `blscfg` of Fedora and RHEL (`default`, `non-default`, or an entry's id), and of GRUB 2.14 (options).
    pub(super) fn blscfg(&mut self, arguments: &[String], certain: Certain) -> Result<()> {
        let mut shown = Shown::default();
        let mut words = arguments.iter().map(String::as_str);
        let mut directory = None;
        while let Some(word) = words.next() {
            match word {
                "default" | "-d" | "--show-default" => shown.default = true,
                "non-default" | "-n" | "--show-non-default" => shown.others = true,
                "-f" | "--enable-fallback" => {}
                "-e" | "--entry" => shown.id = words.next().map(str::to_owned),
                "-p" | "--path" => directory = words.next(),
                word => match (word.strip_prefix("--entry="), word.strip_prefix("--path=")) {
                    (Some(id), _) => shown.id = Some(id.to_owned()),
                    (_, Some(path)) => directory = Some(path),
                    _ if word.starts_with(['(', '/']) => directory = Some(word),
                    _ if word.starts_with('-') => {
                        self.lose(&format!("it says `blscfg {}`", short(&arguments.join(" "))));
                        return Ok(());
                    }
                    _ => shown.id = Some(word.to_owned()),
                },
            }
        }
        // Entries elsewhere are not looked for.
        let elsewhere = directory.map(|path| without_device(path).trim_matches('/'));
        let is_elsewhere =
            elsewhere.is_some_and(|path| !matches!(path, "loader/entries" | "boot/loader/entries"));
        let is_set_elsewhere = self.state.variables.get("blsdir").is_some_and(|path| {
            !matches!(without_device(path).trim_matches('/'), "" | "loader/entries" | "boot/loader/entries")
        });
        if is_elsewhere || is_set_elsewhere {
            self.lose("its entries are in a directory of their own");
            return Ok(());
        }
        let entries = match self.files.bls_entries() {
            Ok(entries) => entries,
            Err(why) => {
                self.lose(&why);
                return Ok(());
            }
        };
        self.charge(entries.len().saturating_mul(16))?;
        let default = self.state.variables.get("default").cloned().unwrap_or_default();
        // GRUB takes digits that it starts with for a number, too.
        let is_mixed = default.starts_with(|c: char| c.is_ascii_digit()) && default.parse::<usize>().is_err();
        if shown.needs_default() && (is_mixed || default.contains(UNKNOWN)) {
            self.lose("which entries it shows depends on its default, which is not known");
            return Ok(());
        }
        for (index, entry) in entries.into_iter().enumerate() {
            let is_there = self.state.menu.iter().any(|known| {
                matches!(known.kind, Kind::Bls { .. }) && known.id.as_deref() == Some(entry.id.as_str())
            });
            if is_there || !shown.holds(&entry, index, &default) {
                continue;
            }
            let BlsMenuEntry { title, id, kernel, version, options } = entry;
            let kind = Kind::Bls { kernel, version, options };
            self.push(Entry { title, id: Some(id), certain, kind })?;
        }
        Ok(())
    }

    /// Another script: `source` and `.` go on after it; `configfile` and `normal` have a menu of their own.
    pub(super) fn follow(
        &mut self,
        name: &str,
        path: Option<&String>,
        certain: Certain,
        depth: u64,
    ) -> Result<()> {
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
    pub(super) fn test(&self, name: &str, arguments: &[String]) -> Option<bool> {
        let mut words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        if name == "[" && words.pop() != Some("]") {
            return None;
        }
        expression::truth(&words, self.files, self.limits.boot_depth.max)
    }
}

/// Which entries `blscfg` shows.
#[derive(std::default::Default)]
struct Shown {
    default: bool,
    others: bool,
    id: Option<String>,
}

impl Shown {
    fn needs_default(&self) -> bool {
        self.default != self.others
    }

    /// Whether the entry at this place of all is shown. The default is named by id, by title or by number.
    fn holds(&self, entry: &BlsMenuEntry, index: usize, default: &str) -> bool {
        if let Some(id) = &self.id {
            return entry.id == *id || entry.id == id.trim_end_matches(".conf");
        }
        let is_default = entry.id == default || entry.title == default || default.parse() == Ok(index);
        self.default == self.others || self.default == is_default
    }
}
