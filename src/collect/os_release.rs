//! What the system calls itself: os-release.

use crate::bytes::read_all;
use crate::error::Result;
use crate::format::os_release;
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
