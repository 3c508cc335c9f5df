//! Mount units of systemd: systemd.mount(5), systemd.unit(5) and systemd.syntax(7) of systemd 254.
//!
//! A unit is one file and what files in `NAME.d/` change of it; of a setting that stands twice the last counts. The
//! name of the file says where it mounts: `var-lib.mount` at `/var/lib`.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::indexing_slicing,
        clippy::unwrap_used
    )
)]

use super::fstab::{FstabEntry, spec};
use crate::bytes::size_of_len;
use crate::error::Result;
use crate::limits::Limits;
use crate::model::ImagePath;

/// What a mount unit says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MountUnit {
    /// `What=`, as written.
    pub what: Vec<u8>,
    /// `Where=`, as written; empty if it does not say it.
    pub mount_point: Vec<u8>,
    /// `Type=`.
    pub fs_type: String,
    /// `Options=`.
    pub options: String,
    /// `Condition…=` and `Assert…=`: the name and what it asks for.
    pub conditions: Vec<(String, String)>,
}

impl MountUnit {
    /// Takes over what a file of the unit says: its own first, then those of its `.d` directories.
    ///
    /// # Errors
    /// `Limit` if it has too many lines.
    pub fn read(&mut self, bytes: &[u8], limits: &Limits) -> Result<()> {
        let mut section: Vec<u8> = Vec::new();
        let mut line: Vec<u8> = Vec::new();
        for (index, raw) in bytes.split(|b| *b == b'\n').enumerate() {
            limits.records.check(size_of_len(index).saturating_add(1))?;
            let raw = raw.trim_ascii();
            // A comment within a continued line is left out.
            if raw.starts_with(b"#") || raw.starts_with(b";") {
                continue;
            }
            if let Some(part) = raw.strip_suffix(b"\\") {
                line.extend(part);
                line.push(b' ');
                continue;
            }
            line.extend(raw);
            let whole = std::mem::take(&mut line);
            if let Some(name) = whole.strip_prefix(b"[").and_then(|name| name.strip_suffix(b"]")) {
                section = name.to_vec();
            } else {
                self.assign(&section, &whole);
            }
        }
        self.assign(&section, &line);
        Ok(())
    }

    fn assign(&mut self, section: &[u8], line: &[u8]) {
        let mut halves = line.splitn(2, |b| *b == b'=');
        let (Some(key), Some(value)) = (halves.next(), halves.next()) else { return };
        let (key, value) = (key.trim_ascii(), value.trim_ascii());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match (section, key) {
            (b"Mount", b"What") => self.what = value.to_vec(),
            (b"Mount", b"Where") => self.mount_point = value.to_vec(),
            (b"Mount", b"Type") => self.fs_type = text(value),
            (b"Mount", b"Options") => self.options = text(value),
            (b"Unit", key) if key.starts_with(b"Condition") || key.starts_with(b"Assert") => {
                match value.is_empty() {
                    true => self.conditions.clear(),
                    false => self.conditions.push((text(key), text(value))),
                }
            }
            _ => {}
        }
    }

    /// What it mounts, as a line of fstab would say it; `None` if that depends on the machine (a specifier).
    #[must_use]
    pub fn entry(&self, point: &ImagePath) -> Option<FstabEntry> {
        let what = without_specifiers(&self.what)?;
        let options = without_specifiers(self.options.as_bytes())?;
        let options = String::from_utf8_lossy(&options).into_owned();
        Some(FstabEntry {
            what: spec(&what),
            mount_point: [b"/", point.as_bytes()].concat(),
            fs_type: self.fs_type.clone(),
            options: options.split(',').map(str::trim).filter(|o| !o.is_empty()).map(str::to_owned).collect(),
        })
    }
}

/// A value with `%%` as `%`; `None` if it has another specifier.
fn without_specifiers(value: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(value.len());
    let mut bytes = value.iter();
    while let Some(byte) = bytes.next() {
        if *byte == b'%' && bytes.next() != Some(&b'%') {
            return None;
        }
        out.push(*byte);
    }
    Some(out)
}

/// Where a unit of this name mounts (systemd-escape --path); `None` if it is no name of a mount unit.
#[must_use]
pub fn mount_point(name: &[u8]) -> Option<ImagePath> {
    let name = name.strip_suffix(b".mount").or_else(|| name.strip_suffix(b".automount"))?;
    let mut path = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((first, after)) = rest.split_first() {
        let escaped = rest
            .strip_prefix(b"\\x")
            .and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex.get(..2)?).ok()?, 16).ok());
        match (escaped, first) {
            (Some(byte), _) => path.push(byte),
            (None, b'-') => path.push(b'/'),
            (None, byte) => path.push(*byte),
        }
        rest = if escaped.is_some() { rest.get(4..).unwrap_or_default() } else { after };
    }
    (!name.is_empty()).then(|| ImagePath::new(path))
}

/// The name of the unit that mounts at a path: the reverse of [`mount_point`].
#[must_use]
pub fn unit_name(point: &ImagePath) -> Vec<u8> {
    let mut name = Vec::new();
    for (index, byte) in point.as_bytes().iter().enumerate() {
        match byte {
            b'/' => name.push(b'-'),
            b'.' if index == 0 => name.extend(b"\\x2e"),
            byte if byte.is_ascii_alphanumeric() || b":_.".contains(byte) => name.push(*byte),
            byte => name.extend(format!("\\x{byte:02x}").into_bytes()),
        }
    }
    if name.is_empty() {
        name.push(b'-');
    }
    name.extend(b".mount");
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::fstab::Spec;

    #[test]
    fn a_unit_is_read_with_what_changes_it() {
        let mut unit = MountUnit::default();
        let own = b"# var\n[Unit]\nConditionPathExists=/a\nConditionPathExists=\nAssertPathExists=!/b\n\
            [Mount]\nWhat = LABEL=nix\nWhere=/var/lib\nType=ext4\nOptions=ro,\\\n# no\n subvol=@var\n[Install]\nWhat=no\n";
        unit.read(own, &Limits::default()).unwrap();
        unit.read(b"What=no\n[Mount]\nWhat=/dev/disk/by-label/50%%\n", &Limits::default()).unwrap();
        assert_eq!(unit.conditions, [("AssertPathExists".to_owned(), "!/b".to_owned())]);
        let entry = unit.entry(&ImagePath::from("var/lib")).unwrap();
        assert_eq!(entry.what, Spec::Label(b"50%".to_vec()));
        assert_eq!((&entry.mount_point[..], &*entry.fs_type), (&b"/var/lib"[..], "ext4"));
        assert_eq!(entry.options, ["ro", "subvol=@var"]);
        unit.read(b"[Mount]\nWhat=/dev/%i\n", &Limits::default()).unwrap();
        assert_eq!(unit.entry(&ImagePath::from("var/lib")), None);
    }

    #[test]
    fn a_unit_is_named_after_its_mount_point() {
        // What `systemd-escape --path --unescape` says.
        for (name, want) in [
            ("var-lib-dpkg.mount", Some("var/lib/dpkg")),
            ("srv-my\\x2ddata.mount", Some("srv/my-data")),
            ("-.mount", Some("")),
            ("var.automount", Some("var")),
            (".mount", None),
            ("var.service", None),
        ] {
            let point = mount_point(name.as_bytes());
            assert_eq!(point, want.map(ImagePath::from), "{name}");
            if let Some(point) = point.filter(|_| name.ends_with(".mount")) {
                assert_eq!(unit_name(&point), name.as_bytes());
            }
        }
    }
}
