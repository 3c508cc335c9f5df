//! What the system calls itself: os-release, and the older files beside it.

use crate::bytes::read_all;
use crate::error::Result;
use crate::format::os_release;
use crate::format::system_release::{self, FILES};
use crate::model::ImagePath;
use crate::stratum::{Entry, Want};

use super::{Collector, Fact, FileView, Needs, Out};

/// Reads `/etc/os-release` and `/usr/lib/os-release`.
pub(super) struct OsRelease;

const PLACES: &[&str] = &["etc/os-release", "usr/lib/os-release"];

impl Collector for OsRelease {
    fn id(&self) -> &'static str {
        "os-release"
    }

    fn version(&self) -> u32 {
        1
    }

    fn serves(&self) -> Needs {
        Needs::OS_PACKAGES | Needs::HISTORY
    }

    fn places(&self) -> &'static [&'static str] {
        PLACES
    }

    fn want(&self, entry: &Entry) -> Want {
        match PLACES.iter().any(|place| entry.path.as_bytes() == place.as_bytes()) {
            true => Want::Random,
            false => Want::No,
        }
    }

    fn collect(&self, file: &FileView<'_>, out: &mut Out<'_>) -> Result<()> {
        let bytes = read_all(file.content, file.limits.os_release_bytes)?;
        let release = os_release::read(&bytes, file.limits)?;
        out.fact(Fact::Os(release.info()));
        for problem in release.problems {
            out.gap_with(problem.to_string(), false);
        }
        Ok(())
    }
}

/// Reads the older files in `/etc`.
pub(super) struct SystemRelease;

const OLDER: [&str; FILES.len()] = [
    "etc/oracle-release",
    "etc/enterprise-release",
    "etc/rocky-release",
    "etc/almalinux-release",
    "etc/miraclelinux-release",
    "etc/eurolinux-release",
    "etc/cloudlinux-release",
    "etc/anolis-release",
    "etc/openEuler-release",
    "etc/photon-release",
    "etc/mariner-release",
    "etc/azurelinux-release",
    "etc/sl-release",
    "etc/fedora-release",
    "etc/centos-release",
    "etc/system-release",
    "etc/redhat-release",
    "etc/gentoo-release",
    "etc/SuSE-release",
    "etc/system-release-cpe",
    "etc/lsb-release",
    "etc/alpine-release",
    "etc/arch-release",
    "etc/debian_version",
];

fn kind(path: &ImagePath) -> Option<system_release::Kind> {
    let name = path.as_bytes().strip_prefix(b"etc/")?;
    FILES.iter().find(|(known, _)| known.as_bytes() == name).map(|(_, kind)| *kind)
}

impl Collector for SystemRelease {
    fn id(&self) -> &'static str {
        "system-release"
    }

    fn version(&self) -> u32 {
        1
    }

    fn serves(&self) -> Needs {
        Needs::OS_PACKAGES | Needs::HISTORY
    }

    fn places(&self) -> &'static [&'static str] {
        &OLDER
    }

    fn want(&self, entry: &Entry) -> Want {
        if kind(&entry.path).is_some() { Want::Random } else { Want::No }
    }

    /// That a system has no name is told where all of these files are known.
    fn is_required(&self, _path: &ImagePath) -> bool {
        false
    }

    fn collect(&self, file: &FileView<'_>, out: &mut Out<'_>) -> Result<()> {
        let Some(kind) = kind(file.path) else { return Ok(()) };
        let bytes = read_all(file.content, file.limits.os_release_bytes)?;
        if let Some(os) = system_release::read(kind, &bytes, file.limits)? {
            out.fact(Fact::Os(os));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_older_file_has_its_place() {
        let names: Vec<String> = FILES.iter().map(|(name, _)| format!("etc/{name}")).collect();
        assert_eq!(OLDER.to_vec(), names);
    }
}
