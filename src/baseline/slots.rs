//! Slots: packages whose names carry versions because several are installed side by side. A closed list:
//! Linux kernel images, headers and modules, keyed by kind, upstream series and flavour, so that
//! `linux-image-6.1.0-50-amd64` and `linux-image-6.1.0-56-amd64` are one package that missed patches.
//! `postgresql-15` and `-16`, or `libicu67` and `72`, are different packages and have no slot.

use std::fmt;

/// What stays of a name when the version is taken out of it; prints as `linux-image/6.1/amd64`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot {
    /// The name before the version: `linux-image`.
    pub kind: String,
    /// The upstream series: `6.1`.
    pub series: String,
    /// The name behind the version; empty where there is nothing (`linux-headers-5.15.0-91`).
    pub flavour: String,
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.series)?;
        if self.flavour.is_empty() { Ok(()) } else { write!(f, "/{}", self.flavour) }
    }
}

/// Kinds as they stand before the version, and as they end in names of Ubuntu's kernels of their own
/// (`linux-aws-headers-5.15.0-1050`).
const KINDS: [&str; 10] = [
    "image",
    "image-unsigned",
    "modules",
    "modules-extra",
    "headers",
    "kbuild",
    "support",
    "tools",
    "cloud-tools",
    "buildinfo",
];

/// The slot of a Debian binary package's name; `None` for nearly all of them.
#[must_use]
pub fn slot_of(name: &str) -> Option<Slot> {
    let rest = name.strip_prefix("linux-")?;
    rest.match_indices('-').find_map(|(dash, _)| {
        let (kind, version) = (&rest[..dash], &rest[dash + 1..]);
        let (series, flavour) = series_and_flavour(version)?;
        is_kind(kind).then(|| Slot {
            kind: format!("linux-{kind}"),
            series: series.to_owned(),
            flavour: flavour.to_owned(),
        })
    })
}

fn is_kind(kind: &str) -> bool {
    KINDS.contains(&kind)
        || ["-headers", "-tools", "-cloud-tools", "-modules", "-modules-extra"]
            .iter()
            .any(|end| kind.strip_suffix(end).is_some_and(|variant| !variant.is_empty()))
}

/// Splits `6.1.0-50-cloud-amd64` into `6.1` and `cloud-amd64`, `6.12.48+deb13-amd64` into `6.12` and `amd64`;
/// `None` if it is no kernel version of three parts.
fn series_and_flavour(text: &str) -> Option<(&str, &str)> {
    let mut words = text.split('-');
    let upstream = words.next()?;
    let mut parts = upstream.splitn(3, '.');
    let (major, minor, patch) = (parts.next()?, parts.next()?, parts.next()?);
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !is_number(major) || !is_number(minor) || !patch.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let mut flavour = text.get(upstream.len() + 1..).unwrap_or("");
    if words.next().is_some_and(|abi| abi.starts_with(|c: char| c.is_ascii_digit())) {
        flavour = flavour.split_once('-').map_or("", |(_, behind)| behind);
    }
    Some((&text[..major.len() + 1 + minor.len()], flavour))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_kernels_have_slots() {
        for (name, want) in [
            ("linux-image-6.1.0-50-amd64", Some("linux-image/6.1/amd64")),
            ("linux-image-6.12.48+deb13-amd64", Some("linux-image/6.12/amd64")),
            ("linux-image-6.12.48+deb13-cloud-amd64", Some("linux-image/6.12/cloud-amd64")),
            ("linux-image-6.12.9+bpo-amd64", Some("linux-image/6.12/amd64")),
            ("linux-image-6.1.0-0.deb11.21-amd64", Some("linux-image/6.1/amd64")),
            ("linux-image-6.1.0-50-amd64-dbg", Some("linux-image/6.1/amd64-dbg")),
            ("linux-image-unsigned-5.15.0-91-generic", Some("linux-image-unsigned/5.15/generic")),
            ("linux-modules-5.15.0-91-generic", Some("linux-modules/5.15/generic")),
            ("linux-modules-extra-5.15.0-91-generic", Some("linux-modules-extra/5.15/generic")),
            ("linux-headers-6.1.0-50-common", Some("linux-headers/6.1/common")),
            ("linux-headers-5.15.0-91", Some("linux-headers/5.15")),
            ("linux-aws-headers-5.15.0-1050", Some("linux-aws-headers/5.15")),
            ("linux-hwe-6.5-headers-6.5.0-41", Some("linux-hwe-6.5-headers/6.5")),
            ("linux-kbuild-6.12.48+deb13", Some("linux-kbuild/6.12")),
            ("linux-kbuild-6.1", None),
            ("linux-image-amd64", None),
            ("linux-headers-generic", None),
            ("linux-libc-dev", None),
            ("linux-compiler-gcc-12-x86", None),
            ("postgresql-15", None),
            ("libicu72", None),
        ] {
            assert_eq!(slot_of(name).map(|slot| slot.to_string()).as_deref(), want, "{name}");
        }
    }
}
