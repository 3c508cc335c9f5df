//! Which of several packages of one slot stands for all: that of the kernel that boots, else the newest.

use std::cmp::Ordering;

use super::slots::Slot;
use super::source_of;
use crate::model::{Boot, Ecosystem, Package, version};

/// The packages of one slot in a system, where several may be installed side by side.
#[derive(Debug, Clone)]
pub struct SideBySide<'a> {
    /// The one that stands for all.
    pub chosen: &'a Package,
    /// The others, the oldest first.
    pub others: Vec<&'a Package>,
    /// Whether it is known that the boot loader starts the chosen one.
    pub boots: bool,
}

impl<'a> SideBySide<'a> {
    /// Chooses among packages of one slot (or of one name) in a system with this boot loader; `None` if there is
    /// none.
    #[must_use]
    pub fn of(mut members: Vec<&'a Package>, slot: Option<&Slot>, boot: Option<&Boot>) -> Option<Self> {
        members.sort_by(|a, b| by_age(a, b));
        let release = release(boot).filter(|_| slot.is_some_and(Slot::is_of_running_kernel));
        let running = release.and_then(|release| members.iter().rposition(|p| is_of_release(p, release)));
        let chosen = members.remove(running.or(members.len().checked_sub(1))?);
        Some(SideBySide { chosen, others: members, boots: running.is_some() })
    }

    /// What boots after what is not known to, then older before newer.
    #[must_use]
    pub fn rank(&self, other: &SideBySide<'_>) -> Ordering {
        self.boots.cmp(&other.boots).then_with(|| by_age(self.chosen, other.chosen))
    }

    /// The newest, where the chosen one boots instead.
    #[must_use]
    pub fn newer(&self) -> Option<&'a Package> {
        self.others.last().copied().filter(|newest| by_age(newest, self.chosen).is_gt())
    }
}

/// The release of the kernel that boots, where it is known.
fn release(boot: Option<&Boot>) -> Option<&str> {
    boot.filter(|boot| boot.unknown.is_none())?.version.as_deref()
}

/// Whether a package is that of a kernel release: `linux-image-6.1.0-50-amd64` of `6.1.0-50-amd64`, and of rpm
/// `kernel-core` 5.14.0-427.el9 of `5.14.0-427.el9.x86_64`, `kernel-default` 6.4.0-150600.23.7.1 of
/// `6.4.0-150600.23.7-default`.
fn is_of_release(package: &Package, release: &str) -> bool {
    if package.ecosystem != Ecosystem::Rpm {
        let name = package.name.strip_suffix("-unsigned").unwrap_or(&package.name);
        return name.strip_suffix(release).is_some_and(|kind| kind.ends_with('-'));
    }
    let version = version::rpm::without_epoch(&package.version);
    // A flavour is appended: `+debug`, `.x86_64+64k`.
    let plain = release.split_once('+').map_or(release, |(plain, _)| plain);
    if plain.strip_suffix(&package.arch).and_then(|rest| rest.strip_suffix('.')) == Some(version) {
        return true;
    }
    // SUSE leaves the counter of rebuilds out, and appends the flavour.
    let flavour = package.name.split('-').nth(1).unwrap_or_default();
    let base = release.strip_suffix(flavour).and_then(|rest| rest.strip_suffix('-'));
    plain == version
        || base.is_some_and(|base| {
            version.strip_prefix(base).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
}

/// Older before newer: by source version, then by binary version.
fn by_age(a: &Package, b: &Package) -> Ordering {
    version::compare(a.ecosystem, source_of(a).1, source_of(b).1)
        .then_with(|| version::compare(a.ecosystem, &a.version, &b.version))
        .then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_of_rpm_are_those_of_a_kernel_release() {
        for (name, version, release, want) in [
            ("kernel-core", "5.14.0-427.13.1.el9_4", "5.14.0-427.13.1.el9_4.x86_64", true),
            ("kernel-core", "5.14.0-427.13.1.el9_4", "5.14.0-427.16.1.el9_4.x86_64", false),
            ("kernel-debug-core", "5.14.0-427.13.1.el9_4", "5.14.0-427.13.1.el9_4.x86_64+debug", true),
            ("kernel-default", "6.4.0-150600.23.7.1", "6.4.0-150600.23.7-default", true),
            ("kernel-default", "6.4.0-150600.23.70.1", "6.4.0-150600.23.7-default", false),
            ("kernel", "5.15.153.1-2.cm2", "5.15.153.1-2.cm2", true),
            ("kernel", "1:5.15.153.1-2.cm2", "5.15.153.1-2.cm2", true),
        ] {
            let mut package = crate::baseline::testing::package(&format!("{name} {version}"));
            package.ecosystem = Ecosystem::Rpm;
            package.arch = "x86_64".into();
            assert_eq!(is_of_release(&package, release), want, "{name} {version} {release}");
        }
    }
}
