//! What the changelogs in an rpm database say: one entry a version that they name, with the CVE ids.
//!
//! All binary packages of a source have one changelog; it is read once for each module stream.

use std::collections::BTreeSet;

use crate::error::Result;
use crate::format::rpm_header::release_entries;
use crate::model::ImagePath;
use crate::stratum::{Entry, Want};

use super::super::{Collector, Fact, FileView, Needs, Out};

/// Reads changelogs.
pub(in super::super) struct RpmHistory;

impl Collector for RpmHistory {
    fn id(&self) -> &'static str {
        "rpm-history"
    }

    fn version(&self) -> u32 {
        1
    }

    fn serves(&self) -> Needs {
        Needs::HISTORY
    }

    fn places(&self) -> &'static [&'static str] {
        &super::PLACES
    }

    fn companions(&self, path: &ImagePath) -> Vec<ImagePath> {
        super::companions(path)
    }

    fn want(&self, entry: &Entry) -> Want {
        if super::is_database(&entry.path) { Want::Random } else { Want::No }
    }

    fn is_required(&self, _path: &ImagePath) -> bool {
        false
    }

    fn collect(&self, file: &FileView<'_>, out: &mut Out<'_>) -> Result<()> {
        let mut seen = BTreeSet::new();
        super::headers(file, out, &mut |header, out| {
            let rpm = header.package()?;
            let source_rpm = rpm.source_rpm.clone().unwrap_or_else(|| format!("{} {}", rpm.name, rpm.evr()));
            let is_key = rpm.is_key();
            let package = rpm.into_package();
            if !is_key && seen.insert((source_rpm, package.stream.clone())) {
                out.fact(Fact::History(release_entries(&package, &header.changelog(file.limits)?)));
            }
            Ok(())
        })
    }
}
