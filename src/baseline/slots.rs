//! Slots: packages whose names carry versions because several are installed side by side. A closed list:
//! Linux kernel images, headers and modules, keyed by kind, upstream series and flavour, so that
//! `linux-image-6.1.0-50-amd64` and `linux-image-6.1.0-56-amd64` are one package that missed patches.
//! `postgresql-15` and `-16`, or `libicu67` and `72`, are different packages and have no slot.
//!
//! rpm keeps several versions of a kernel's packages under one name, which is their slot; and the streams of a
//! module are published side by side, each a slot of its own (`npm/nodejs:18`).

use std::fmt;

use crate::model::{Ecosystem, Package};

/// What stays of a name when the version is taken out of it; prints as `linux-image/6.1/amd64`, `kernel-core`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot {
    /// The name before the version: `linux-image`.
    pub kind: String,
    /// The upstream series: `6.1`; of a module its stream, `nodejs:18`; empty where a name has all series.
    pub series: String,
    /// The name behind the version; empty where there is nothing (`linux-headers-5.15.0-91`).
    pub flavour: String,
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.kind)?;
        if !self.series.is_empty() {
            write!(f, "/{}", self.series)?;
        }
        if self.flavour.is_empty() { Ok(()) } else { write!(f, "/{}", self.flavour) }
    }
}

impl Slot {
    /// The upstream series to which versions in the slot keep, where they do.
    #[must_use]
    pub fn upstream_series(&self) -> Option<&str> {
        Some(self.series.as_str()).filter(|series| self.kind.starts_with("linux-") && !series.is_empty())
    }

    /// Whether what it holds runs only if its kernel is booted: images and modules.
    #[must_use]
    pub fn is_of_running_kernel(&self) -> bool {
        ["linux-image", "linux-modules"].iter().any(|kind| self.kind.starts_with(kind))
            || is_rpm_kernel(&self.kind) && !words(&self.kind).any(|word| word.starts_with("devel"))
    }

    /// Whether it holds kernels themselves.
    #[must_use]
    pub fn is_image(&self) -> bool {
        let beside = ["devel", "modules", "extra", "optional", "matched", "internal", "partner"];
        self.kind.starts_with("linux-image")
            || is_rpm_kernel(&self.kind) && !words(&self.kind).any(|word| beside.contains(&word))
    }
}

fn words(name: &str) -> impl Iterator<Item = &str> {
    name.split('-')
}

/// Packages of rpm that are called after the kernel and are installed once.
const NO_RPM_KERNELS: [&str; 14] = [
    "headers",
    "tools",
    "doc",
    "docs",
    "macros",
    "firmware",
    "abi",
    "source",
    "syms",
    "livepatch",
    "stablelists",
    "whitelists",
    "cross",
    "macro",
];

/// Whether rpm installs packages of this name beside each other, as its front ends are told by what kernels
/// provide (`installonlypkg(kernel)`, `multiversion(kernel)`): `kernel-core`, `kernel6.12`, `kernel-uek-modules`.
fn is_rpm_kernel(name: &str) -> bool {
    let mut words = words(name);
    let first = words.next().and_then(|word| word.strip_prefix("kernel"));
    first.is_some_and(|rest| rest.is_empty() || rest.starts_with(|c: char| c.is_ascii_digit()))
        && !words.any(|word| NO_RPM_KERNELS.contains(&word))
}

/// The slot of a package; `None` for nearly all of them.
#[must_use]
pub fn slot_of_package(package: &Package) -> Option<Slot> {
    let of =
        |series: &str| Slot { kind: package.name.clone(), series: series.to_owned(), flavour: String::new() };
    match (package.ecosystem, &package.stream) {
        (Ecosystem::Rpm | Ecosystem::Ebuild, Some(stream)) => Some(of(stream)),
        (Ecosystem::Rpm, None) => is_rpm_kernel(&package.name).then(|| of("")),
        _ => slot_of(&package.name),
    }
}

/// Whether a package of this name is a kernel itself.
#[must_use]
pub fn is_kernel_image(ecosystem: Ecosystem, name: &str) -> bool {
    let slot = match ecosystem {
        Ecosystem::Rpm if is_rpm_kernel(name) => {
            Some(Slot { kind: name.to_owned(), series: String::new(), flavour: String::new() })
        }
        _ => slot_of(name),
    };
    slot.is_some_and(|slot| slot.is_image())
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
    fn kernels_of_rpm_are_told_from_what_is_called_after_them() {
        for name in [
            "kernel",
            "kernel-core",
            "kernel-modules-core",
            "kernel-rt-modules-extra",
            "kernel-uek",
            "kernel-default",
            "kernel6.12",
            "kernel-devel",
            "kernel-64k-core",
        ] {
            assert!(is_rpm_kernel(name), "{name}");
        }
        for name in [
            "kernel-headers",
            "kernel-tools-libs",
            "kernel-firmware-amdgpu",
            "kernel-srpm-macros",
            "kernel-abi-stablelists",
            "kernel6.12-tools",
            "kernelshark",
            "kernel-livepatch-6_4_0-150600_23_7-default",
            "linux-firmware",
        ] {
            assert!(!is_rpm_kernel(name), "{name}");
        }
    }

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
