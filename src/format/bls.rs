//! Boot loader entries of type 1: `loader/entries/*.conf`, the UAPI Boot Loader Specification 1.1
//! (<https://uapi-group.org/specifications/specs/boot_loader_specification/>), with the keys that GRUB of Fedora and
//! RHEL adds.
//!
//! A line is a key, blanks, and the value; lines that start with `#` say nothing. The order of a menu is that of
//! the specification for systemd-boot ([`sort`]), and by the names of the files alone in GRUB's `blscfg`
//! ([`sort_as_grub`]).
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::indexing_slicing,
        clippy::unwrap_used
    )
)]

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use super::kernel::{is_release, release_of_path, release_of_uki, without_tries};
use crate::bytes::size_of_len;
use crate::error::{Error, Result};
use crate::limits::Limits;

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BlsEntry {
    /// The name of its file without `.conf` and without a boot counter.
    pub id: String,
    /// How often it will still be tried, where its file's name counts.
    pub tries_left: Option<u64>,
    /// `title`.
    pub title: Option<String>,
    /// `version`.
    pub version: Option<String>,
    /// `machine-id`.
    pub machine_id: Option<String>,
    /// `sort-key`.
    pub sort_key: Option<String>,
    /// `linux`: the kernel.
    pub linux: Option<String>,
    /// `efi` or `uki`: a program that is started instead.
    pub efi: Option<String>,
    /// `architecture`.
    pub architecture: Option<String>,
    /// `options`: the kernel's command line; of several lines all, in their order.
    pub options: Option<String>,
    /// The kernel's release, as a unified kernel image says it.
    pub uname: Option<String>,
    /// It is a unified kernel image, of type 2.
    pub is_unified: bool,
}

impl BlsEntry {
    /// The release of its kernel: as the kernel says it or its path tells it, else its `version`, if that looks like
    /// one; of a unified kernel image as its name tells it.
    #[must_use]
    pub fn release(&self) -> Option<&str> {
        if let Some(uname) = &self.uname {
            return Some(uname);
        }
        let of_path = self.linux.as_deref().and_then(release_of_path);
        let version = || self.version.as_deref().filter(|version| is_release(version) && !self.is_unified);
        let of_name = || self.efi.as_deref().and_then(|efi| release_of_uki(efi.rsplit('/').next()?));
        of_path.or_else(version).or_else(of_name)
    }

    /// Its id as systemd-boot has it, to which `default` and the order of its menu are held.
    #[must_use]
    pub fn full_id(&self) -> String {
        let end = if self.is_unified { "efi" } else { "conf" };
        format!("{}.{end}", self.id).to_lowercase()
    }

    /// Its title as a menu shows it.
    #[must_use]
    pub fn shown(&self) -> &str {
        self.title.as_deref().unwrap_or(&self.id)
    }
}

/// Decodes an entry; `None` if the name of its file is none of an entry.
///
/// # Errors
/// `Malformed` if it names nothing to start.
pub fn decode(name: &str, bytes: &[u8], limits: &Limits) -> Result<Option<BlsEntry>> {
    let Some(stem) = name.strip_suffix(".conf").filter(|stem| !stem.is_empty() && !stem.starts_with('.'))
    else {
        return Ok(None);
    };
    let (id, tries_left) = without_tries(stem);
    let mut entry = BlsEntry { id: id.to_owned(), tries_left, ..BlsEntry::default() };
    let text = String::from_utf8_lossy(bytes);
    for (index, line) in text.lines().enumerate() {
        limits.records.check(size_of_len(index).saturating_add(1))?;
        let Some((key, value)) = line.trim().split_once([' ', '\t']) else { continue };
        let field = match key {
            "title" => &mut entry.title,
            "version" => &mut entry.version,
            "machine-id" => &mut entry.machine_id,
            "sort-key" => &mut entry.sort_key,
            "linux" => &mut entry.linux,
            "efi" | "uki" => &mut entry.efi,
            "architecture" => &mut entry.architecture,
            "options" => {
                let options = entry.options.get_or_insert_default();
                options.push(' ');
                options.push_str(value.trim());
                continue;
            }
            _ => continue,
        };
        *field = Some(value.trim().to_owned());
    }
    match entry.linux.is_some() || entry.efi.is_some() {
        true => Ok(Some(entry)),
        false => {
            Err(Error::malformed("boot loader entry", "linux", None, "neither it nor `efi`", "one of them"))
        }
    }
}

/// The order of the specification: entries without tries left last, those with a sort key first, by it, by
/// machine id, the newest version first; then by the names of the files, the newest first.
pub fn sort(entries: &mut [BlsEntry]) {
    let is_bad = |entry: &BlsEntry| entry.tries_left == Some(0);
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    entries.sort_by(|a, b| {
        let by_key = match (&a.sort_key, &b.sort_key) {
            (Some(one), Some(two)) => one
                .cmp(two)
                .then_with(|| text(&a.machine_id).cmp(&text(&b.machine_id)))
                .then_with(|| compare_versions(&text(&b.version), &text(&a.version))),
            (one, two) => one.is_none().cmp(&two.is_none()),
        };
        is_bad(a)
            .cmp(&is_bad(b))
            .then(by_key)
            .then_with(|| compare_versions(&b.full_id(), &a.full_id()))
            .then_with(|| b.tries_left.cmp(&a.tries_left))
    });
}

/// The order of `blscfg` in GRUB of Fedora and RHEL: by the names of the files, taken apart into name, version and
/// release, each as rpm compares versions, the newest first. Of two that are equal the first stays.
pub fn sort_as_grub(entries: &mut Vec<BlsEntry>) {
    entries.retain(|entry| entry.linux.is_some());
    entries.sort_by(|a, b| {
        let (one, two) = (name_version_release(&a.id), name_version_release(&b.id));
        let parts = [(one.0, two.0), (one.1, two.1), (one.2, two.2)];
        let order = parts.iter().map(|(a, b)| compare_as_rpm(b, a)).find(|order| order.is_ne());
        order.unwrap_or(Ordering::Equal)
    });
}

/// A name taken apart at its last two dashes. One with a single dash has no release, one with none is a name.
fn name_version_release(id: &str) -> (&str, &str, &str) {
    match id.rsplit_once('-') {
        None => (id, "", ""),
        Some((rest, release)) => match rest.rsplit_once('-') {
            None => (rest, release, ""),
            Some((name, version)) => (name, version, release),
        },
    }
}

/// Takes the first so many bytes off, which are ASCII.
fn split(text: &str, is_in: impl Fn(u8) -> bool) -> (&str, &str) {
    let len = text.bytes().take_while(|b| is_in(*b)).count();
    text.split_at_checked(len).unwrap_or((text, ""))
}

/// Compares two runs of digits as numbers of any size.
fn compare_numbers(a: &str, b: &str) -> Ordering {
    let (a, b) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

/// `rpmvercmp` as that GRUB has it: with the tilde, without the caret.
fn compare_as_rpm(a: &str, b: &str) -> Ordering {
    if a == b {
        return Ordering::Equal;
    }
    let (mut a, mut b) = (a, b);
    loop {
        let is_between = |c: char| !c.is_ascii_alphanumeric() && c != '~';
        (a, b) = (a.trim_start_matches(is_between), b.trim_start_matches(is_between));
        match (a.strip_prefix('~'), b.strip_prefix('~')) {
            (Some(one), Some(two)) => {
                (a, b) = (one, two);
                continue;
            }
            (Some(_), None) => return Ordering::Less,
            (None, Some(_)) => return Ordering::Greater,
            (None, None) => {}
        }
        let Some(first) = a.bytes().next().filter(|_| !b.is_empty()) else {
            return a.is_empty().cmp(&b.is_empty()).reverse();
        };
        let is_number = first.is_ascii_digit();
        let is_in = |byte: u8| if is_number { byte.is_ascii_digit() } else { byte.is_ascii_alphabetic() };
        let ((one, rest_a), (two, rest_b)) = (split(a, is_in), split(b, is_in));
        // Of a number and letters, the number is newer.
        if two.is_empty() {
            return if is_number { Ordering::Greater } else { Ordering::Less };
        }
        let order = if is_number { compare_numbers(one, two) } else { one.cmp(two) };
        if order.is_ne() {
            return order;
        }
        (a, b) = (rest_a, rest_b);
    }
}

/// The order of the UAPI Version Format Specification (<https://uapi-group.org/specifications/specs/version_format_specification/>).
#[must_use]
pub fn compare_versions(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        let is_other = |c: char| !c.is_ascii_alphanumeric() && !matches!(c, '~' | '-' | '^' | '.');
        (a, b) = (a.trim_start_matches(is_other), b.trim_start_matches(is_other));
        if let Some(order) = compare_marks(&mut a, &mut b) {
            return order;
        }
        if a.is_empty() && b.is_empty() {
            return Ordering::Equal;
        }
        let is_digit = |text: &str| text.bytes().next().is_some_and(|b| b.is_ascii_digit());
        let order = if is_digit(a) || is_digit(b) {
            let ((one, rest_a), (two, rest_b)) =
                (split(a, |b| b.is_ascii_digit()), split(b, |b| b.is_ascii_digit()));
            (a, b) = (rest_a, rest_b);
            // No number is older than 0.
            one.is_empty().cmp(&two.is_empty()).reverse().then_with(|| compare_numbers(one, two))
        } else {
            let is_letter = |b: u8| b.is_ascii_alphabetic();
            let ((one, rest_a), (two, rest_b)) = (split(a, is_letter), split(b, is_letter));
            (a, b) = (rest_a, rest_b);
            // Capital letters are older than small ones, as in ASCII; of two alike the longer is newer.
            one.cmp(two)
        };
        if order.is_ne() {
            return order;
        }
    }
}

/// Compares what is before the next number or letters: `~`, the end, `-`, `^`, `.`, the oldest first; takes what
/// both have, once.
fn compare_marks(a: &mut &str, b: &mut &str) -> Option<Ordering> {
    for mark in ['~', '\0', '-', '^', '.'] {
        if mark == '\0' {
            match (a.is_empty(), b.is_empty()) {
                (true, true) | (false, false) => continue,
                (true, false) => return Some(Ordering::Less),
                (false, true) => return Some(Ordering::Greater),
            }
        }
        match (a.strip_prefix(mark), b.strip_prefix(mark)) {
            (Some(one), Some(two)) => {
                (*a, *b) = (one, two);
                return None;
            }
            (Some(_), None) => return Some(Ordering::Less),
            (None, Some(_)) => return Some(Ordering::Greater),
            (None, None) => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, text: &str) -> BlsEntry {
        decode(name, text.as_bytes(), &Limits::default()).unwrap().unwrap()
    }

    fn ids(entries: &[BlsEntry]) -> Vec<&str> {
        entries.iter().map(|entry| entry.id.as_str()).collect()
    }

    #[test]
    fn entries_of_rhel_are_read() {
        let text = "title Red Hat Enterprise Linux (5.14.0-570.12.1.el9_6.x86_64) 9.6 (Plow)\n\
             version 5.14.0-570.12.1.el9_6.x86_64\nlinux /vmlinuz-5.14.0-570.12.1.el9_6.x86_64\n\
             initrd /initramfs-5.14.0-570.12.1.el9_6.x86_64.img $tuned_initrd\n\
             options root=/dev/mapper/rhel-root ro $tuned_params\ngrub_users $grub_users\n\
             grub_arg --unrestricted\ngrub_class rhel\n";
        let found = entry("4098b3f648d74c13b1f04ccfba7798e8-5.14.0-570.12.1.el9_6.x86_64.conf", text);
        assert_eq!(found.id, "4098b3f648d74c13b1f04ccfba7798e8-5.14.0-570.12.1.el9_6.x86_64");
        assert_eq!(found.release(), Some("5.14.0-570.12.1.el9_6.x86_64"));
        assert!(found.shown().starts_with("Red Hat Enterprise Linux (5.14"));
        assert_eq!(decode("README", b"", &Limits::default()).unwrap(), None);
        assert!(decode("a.conf", b"title x\n", &Limits::default()).is_err());
        for cut in 0..text.len() {
            let _ = decode("a.conf", &text.as_bytes()[..cut], &Limits::default());
        }
    }

    /// The cases of the specification's own table.
    #[test]
    fn versions_are_ordered_as_the_specification_has_it() {
        for (a, order, b) in [
            ("11", Ordering::Equal, "11"),
            ("systemd-123", Ordering::Equal, "systemd-123"),
            ("bar-123", Ordering::Less, "foo-123"),
            ("123a", Ordering::Greater, "123"),
            ("123.a", Ordering::Greater, "123"),
            ("123.a", Ordering::Less, "123.b"),
            ("123a", Ordering::Greater, "123.a"),
            ("11α", Ordering::Equal, "11β"),
            ("B", Ordering::Less, "a"),
            ("", Ordering::Less, "0"),
            ("0.", Ordering::Greater, "0"),
            ("0.0", Ordering::Greater, "0"),
            ("0", Ordering::Greater, "~"),
            ("", Ordering::Greater, "~"),
            ("1_", Ordering::Equal, "1"),
            ("_1", Ordering::Equal, "1"),
            ("1_", Ordering::Less, "1.2"),
            ("1_2_3", Ordering::Greater, "1.3.3"),
            ("1+", Ordering::Equal, "1"),
            ("1.0~rc1", Ordering::Less, "1.0"),
            ("1.0^2", Ordering::Greater, "1.0"),
            ("5.2", Ordering::Less, "5.10"),
            ("6.1.0-50-amd64", Ordering::Less, "6.1.0-56-amd64"),
        ] {
            assert_eq!(compare_versions(a, b), order, "{a} {b}");
            assert_eq!(compare_versions(b, a), order.reverse(), "{b} {a}");
        }
    }

    #[test]
    fn a_menu_is_sorted_as_its_loader_does() {
        // As the test of systemd's own library has it.
        let with = |name: &str, rest: &str| entry(name, &format!("{rest}linux /vmlinuz\n"));
        let mut entries = vec![
            with("a-10.conf", "version 10\nmachine-id dd235d00696545768f6f693bfd23b15f\n"),
            with("a-5.conf", "version 5\nmachine-id dd235d00696545768f6f693bfd23b15f\n"),
            with("b.conf", "version 3\nmachine-id b75451ad92f94feeab50b0b442768dbd\n"),
            with("c.conf", "sort-key xxxx\nversion 5\nmachine-id 309de666fd5044268a9a26541ac93176\n"),
            with("cx.conf", "sort-key xxxx\nversion 10\nmachine-id 309de666fd5044268a9a26541ac93176\n"),
            with("d.conf", "sort-key kkkk\nversion 100\nmachine-id 81c6e3147cf544c19006af023e22b292\n"),
            with("e+0-3.conf", "sort-key aaaa\nversion 100\n"),
        ];
        sort(&mut entries);
        assert_eq!(ids(&entries), ["d", "cx", "c", "b", "a-10", "a-5", "e"]);

        let id = "4098b3f648d74c13b1f04ccfba7798e8";
        let mut entries: Vec<BlsEntry> = [
            "5.14.0-70.13.1.el9_0.x86_64",
            "0-rescue",
            "5.14.0-570.12.1.el9_6.x86_64",
            "5.14.0-427.el9.x86_64",
        ]
        .map(|version| with(&format!("{id}-{version}.conf"), ""))
        .into();
        sort_as_grub(&mut entries);
        let want = [
            "5.14.0-570.12.1.el9_6.x86_64",
            "5.14.0-427.el9.x86_64",
            "5.14.0-70.13.1.el9_0.x86_64",
            "0-rescue",
        ];
        assert_eq!(ids(&entries), want.map(|version| format!("{id}-{version}")));
    }
}
