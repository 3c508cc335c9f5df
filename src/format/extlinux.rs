//! Configuration of SYSLINUX, EXTLINUX and U-Boot: `extlinux.conf`, `syslinux.cfg`
//! (<https://wiki.syslinux.org/wiki/index.php?title=Config>), as far as it decides the default.
//!
//! A line is a keyword (in any case) and its value. What stands behind a `LABEL` is of that entry, up to the next.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::indexing_slicing,
        clippy::unwrap_used
    )
)]

use serde::{Deserialize, Serialize};

use crate::bytes::size_of_len;
use crate::error::Result;
use crate::limits::Limits;

/// A configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Extlinux {
    /// `DEFAULT`.
    pub default: Option<String>,
    /// `ONTIMEOUT`.
    pub on_timeout: Option<String>,
    /// Whether a menu is shown (`UI`, or a menu as `DEFAULT`).
    pub has_menu: bool,
    /// Its entries, in their order.
    pub labels: Vec<Label>,
    /// Other files that belong to it (`INCLUDE`, `MENU INCLUDE`, `CONFIG`), which are not read.
    pub includes: Vec<String>,
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Label {
    /// Its name.
    pub name: String,
    /// `MENU LABEL`, without the marks of its short key.
    pub title: Option<String>,
    /// `LINUX` or `KERNEL`.
    pub kernel: Option<String>,
    /// `APPEND`: the kernel's command line.
    pub options: String,
    /// `MENU DEFAULT`.
    pub is_menu_default: bool,
}

/// Decodes a configuration.
///
/// # Errors
/// `Limit` for too many lines or entries.
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Extlinux> {
    let text = String::from_utf8_lossy(bytes);
    let mut config = Extlinux::default();
    for (index, line) in text.lines().enumerate() {
        limits.records.check(size_of_len(index).saturating_add(1))?;
        let line = line.trim();
        let (keyword, value) = line.split_once([' ', '\t']).unwrap_or((line, ""));
        let value = value.trim();
        match keyword.to_ascii_lowercase().as_str() {
            "default" => config.default = Some(value.to_owned()),
            "ontimeout" => config.on_timeout = Some(value.to_owned()),
            "ui" => config.has_menu = true,
            "include" | "config" => config.includes.push(value.to_owned()),
            "label" => {
                limits.boot_entries.check(size_of_len(config.labels.len()).saturating_add(1))?;
                config.labels.push(Label { name: value.to_owned(), ..Label::default() });
            }
            "linux" | "kernel" => {
                if let Some(label) = config.labels.last_mut() {
                    label.kernel = value.split([' ', '\t']).next().map(str::to_owned);
                }
            }
            "append" => {
                if let Some(label) = config.labels.last_mut() {
                    label.options = value.to_owned();
                }
            }
            "menu" => menu(&mut config, value),
            _ => {}
        }
    }
    let is_menu = |name: &String| {
        let file = name.split([' ', '\t']).next().unwrap_or_default();
        file.ends_with("menu.c32")
    };
    config.has_menu |= config.default.as_ref().is_some_and(is_menu);
    config.default = config.default.take().filter(|name| !is_menu(name));
    Ok(config)
}

fn menu(config: &mut Extlinux, value: &str) {
    let (keyword, value) = value.split_once([' ', '\t']).unwrap_or((value, ""));
    let value = value.trim();
    match (keyword.to_ascii_lowercase().as_str(), config.labels.last_mut()) {
        ("default", Some(label)) => label.is_menu_default = true,
        ("label", Some(label)) => label.title = Some(value.replace('^', "")),
        ("include", _) => config.includes.push(value.to_owned()),
        _ => {}
    }
}

impl Extlinux {
    /// What is started when nobody chooses: an entry, or (without one) a kernel that is named itself.
    ///
    /// # Errors
    /// Why it is not known.
    pub fn chosen(&self) -> std::result::Result<Label, String> {
        let named = |name: &str| {
            let first = name.split([' ', '\t']).next().unwrap_or_default();
            self.labels.iter().find(|label| label.name == name || label.name == first)
        };
        // An include may bring the entry, or another default.
        let or_included = |why: String| match self.includes.first() {
            Some(file) => format!("{why}, and `{file}`, which it includes, is not read"),
            None => why,
        };
        let of_menu = || self.labels.iter().rev().find(|label| label.is_menu_default);
        let wanted = match &self.on_timeout {
            Some(name) => Some(name),
            None => self.default.as_ref(),
        };
        if self.on_timeout.is_none()
            && let Some(label) = of_menu().filter(|_| self.has_menu)
        {
            return Ok(label.clone());
        }
        match wanted {
            Some(name) => match named(name) {
                Some(label) => Ok(label.clone()),
                None if !self.includes.is_empty() => {
                    Err(or_included(format!("its default `{name}` is no entry of it")))
                }
                None if self.has_menu && self.on_timeout.is_none() => {
                    self.labels.first().cloned().ok_or_else(|| "it has no entry".to_owned())
                }
                // It is a kernel with its options.
                None => {
                    let kernel = name.split([' ', '\t']).next().map(str::to_owned);
                    let options = name.split_once([' ', '\t']).unwrap_or_default().1.to_owned();
                    Ok(Label { name: name.clone(), title: None, kernel, options, is_menu_default: false })
                }
            },
            None if !self.includes.is_empty() => Err(or_included("it names no default".to_owned())),
            None => match self.labels.as_slice() {
                [] => Err("it has no entry".to_owned()),
                [only] => Ok(only.clone()),
                [first, ..] if self.has_menu => Ok(first.clone()),
                _ => Err("it names no default".to_owned()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(text: &str) -> std::result::Result<(String, Option<String>), String> {
        let label = decode(text.as_bytes(), &Limits::default()).unwrap().chosen()?;
        Ok((label.name, label.kernel))
    }

    #[test]
    fn the_default_entry_is_found() {
        let labels = "LABEL l0\n MENU LABEL Debian 6.1.0-56\n LINUX /boot/vmlinuz-6.1.0-56-amd64\n APPEND ro\nlabel l1\n kernel /boot/vmlinuz-6.1.0-50-amd64\n";
        let l = |name: &str, kernel: &str| Ok((name.to_owned(), Some(kernel.to_owned())));
        let (new, old) = ("/boot/vmlinuz-6.1.0-56-amd64", "/boot/vmlinuz-6.1.0-50-amd64");
        for (text, want) in [
            (format!("DEFAULT l1\n{labels}"), l("l1", old)),
            (format!("default l0\nprompt 1\n{labels}"), l("l0", new)),
            (format!("DEFAULT l0\nONTIMEOUT l1\n{labels}"), l("l1", old)),
            // What Alpine's update-extlinux writes.
            ("DEFAULT menu.c32\nPROMPT 0\nMENU TITLE Alpine/Linux Boot Menu\nTIMEOUT 10\nLABEL lts\n  MENU LABEL Linux lts\n  LINUX vmlinuz-lts\nLABEL virt\n  MENU DEFAULT\n  MENU LABEL Linux virt\n  LINUX vmlinuz-virt\n  INITRD initramfs-virt\n".to_owned(), l("virt", "vmlinuz-virt")),
            (format!("UI vesamenu.c32\n{labels}"), l("l0", new)),
            ("DEFAULT /vmlinuz-6.1.0-50-amd64 root=/dev/sda1 ro\n".to_owned(), l("/vmlinuz-6.1.0-50-amd64 root=/dev/sda1 ro", "/vmlinuz-6.1.0-50-amd64")),
            (labels.to_owned(), Err("it names no default".to_owned())),
            ("INCLUDE themes/debian.cfg\nDEFAULT x\n".to_owned(), Err("its default `x` is no entry of it, and `themes/debian.cfg`, which it includes, is not read".to_owned())),
            (String::new(), Err("it has no entry".to_owned())),
        ] {
            assert_eq!(chosen(&text), want, "{text}");
        }
    }
}
