//! Debian changelogs in `/usr/share/doc`: what dates the releases of a baseline.

use std::io::BufReader;

use crate::bytes::Reader;
use crate::codec::{self, Compression};
use crate::error::Result;
use crate::format::debian_changelog;
use crate::model::ImagePath;
use crate::stratum::{Entry, Want};

use super::{Collector, Fact, FileView, Needs, Out};

/// Reads `changelog.Debian.gz`, `changelog.Debian.ARCH.gz` (which holds rebuilds) and, for packages that are
/// native to Debian, `changelog.gz`.
pub(super) struct Changelogs;

const BUFFER_BYTES: usize = 64 << 10;

/// Whether a file of a documentation directory is a changelog of the packaging.
fn is_changelog(path: &ImagePath) -> bool {
    let Some(below) = path.as_bytes().strip_prefix(b"usr/share/doc/") else { return false };
    let mut parts = below.split(|b| *b == b'/');
    let (Some(_package), Some(name), None) = (parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    let name = name.strip_suffix(b".gz").unwrap_or(name);
    name == b"changelog" || name == b"changelog.Debian" || name.starts_with(b"changelog.Debian.")
}

impl Collector for Changelogs {
    fn id(&self) -> &'static str {
        "changelogs"
    }

    fn version(&self) -> u32 {
        1
    }

    fn serves(&self) -> Needs {
        Needs::HISTORY
    }

    fn places(&self) -> &'static [&'static str] {
        &["usr/share/doc"]
    }

    fn want(&self, entry: &Entry) -> Want {
        match is_changelog(&entry.path) {
            true => Want::Random,
            false => Want::No,
        }
    }

    fn collect(&self, file: &FileView<'_>, out: &mut Out<'_>) -> Result<()> {
        let compression = match file.path.name().ends_with(b".gz") {
            true => Compression::Gzip,
            false => Compression::Plain,
        };
        let stored = BufReader::with_capacity(BUFFER_BYTES, Reader::new(file.content));
        let plain = codec::decoder(compression, stored, file.limits)?;
        let mut stream = BufReader::with_capacity(BUFFER_BYTES, plain);
        // A `changelog.gz` that is no Debian changelog is the upstream's.
        if let Some(changelog) = debian_changelog::read(&mut stream, file.limits)? {
            out.fact(Fact::History(changelog.entries));
            for problem in changelog.problems {
                out.gap(problem.to_string());
            }
        }
        Ok(())
    }

    fn is_required(&self, _path: &ImagePath) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changelogs_are_known_by_path() {
        for (path, want) in [
            ("usr/share/doc/bash/changelog.Debian.gz", true),
            ("usr/share/doc/bash/changelog.Debian.amd64.gz", true),
            ("usr/share/doc/dpkg/changelog.gz", true),
            ("usr/share/doc/x/changelog.Debian", true),
            ("usr/share/doc/x/changelog.html.gz", false),
            ("usr/share/doc/x/y/changelog.Debian.gz", false),
            ("usr/share/doc/changelog.Debian.gz", false),
        ] {
            assert_eq!(is_changelog(&ImagePath::from(path)), want, "{path}");
        }
    }
}
