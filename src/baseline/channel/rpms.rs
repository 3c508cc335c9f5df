//! A folder of `.rpm` files: a download, a cache of dnf, the packages of an installation medium.
//!
//! Of a package its header is read, and held against the digest that its signature header states; the payload is
//! not. Source packages, and packages of debugging symbols, are no system's, and passed over.

use std::collections::BTreeSet;
use std::path::Path;

use super::changelogs::{count, some_of};
use super::files::{self, DigestOfParts};
use super::{ChannelInput, ChannelKind, Offer, ReadOptions};
use crate::bytes::HostFile;
use crate::error::{Error, Result, ResultExt as _};
use crate::format::rpm_file;
use crate::format::rpm_header::{Header, release_entries};
use crate::model::{Package, ReleaseEntry, Sha256};

/// Whether a file of this name is a package.
pub(super) fn is_named_rpm(name: &[u8]) -> bool {
    name.ends_with(b".rpm") && ![&b".src.rpm"[..], b".nosrc.rpm"].iter().any(|end| name.ends_with(end))
}

/// What an `.rpm` says.
struct Rpm {
    package: Package,
    releases: Vec<ReleaseEntry>,
    digest: Sha256,
    is_debug: bool,
}

/// Reads all packages below a directory, for one architecture and what runs on it.
///
/// # Errors
/// What [`super::read`] says.
pub(super) fn read(directory: &Path, id: &str, options: &ReadOptions<'_>) -> Result<ChannelInput> {
    let (found, others) = files::files_in(directory, options.limits, is_named_rpm)?;
    let all = files::in_parallel(&found, options.threads, |file| {
        one(&file.path, options).at(|| file.below.clone())
    })?;
    let mut digest = DigestOfParts::default();
    let (mut packages, mut releases) = (Vec::new(), Vec::new());
    let (mut sources, mut debug) = (BTreeSet::new(), Vec::new());
    for (file, rpm) in found.iter().zip(all) {
        if rpm.is_debug {
            debug.push(file.below.as_str());
            continue;
        }
        let p = &rpm.package;
        digest.add(format!("{}-{}.{}", p.name, p.version, p.arch), &rpm.digest);
        // All binaries of a source have one changelog.
        if sources.insert((p.source_key(), p.source.version.clone())) {
            releases.extend(rpm.releases);
        }
        packages.push(Offer { package: rpm.package, phased_percent: None });
    }
    if packages.is_empty() {
        return Err(Error::not_found("a binary package"));
    }
    packages.sort_unstable();
    packages.dedup();
    releases.sort_unstable();
    releases.dedup();
    let mut notes = Vec::new();
    if !debug.is_empty() {
        let what = count(debug.len(), "package of debugging symbols", "packages of debugging symbols");
        notes.push(format!("{what} passed over: {}", some_of(&debug)));
    }
    if others > 0 {
        let others = usize::try_from(others).unwrap_or(usize::MAX);
        notes.push(format!("{} passed over", count(others, "other file", "other files")));
    }
    Ok(ChannelInput {
        id: id.to_owned(),
        kind: ChannelKind::RpmFolder,
        platform: options.platform.cloned(),
        suite: None,
        taken_at: options.taken_at,
        valid_until: None,
        lists_all: false,
        whole_components: Vec::new(),
        digest: digest.finish(),
        packages,
        releases,
        advisories: Vec::new(),
        notes,
    })
}

fn one(path: &Path, options: &ReadOptions<'_>) -> Result<Rpm> {
    let file = HostFile::new(files::open(path)?)?;
    let bytes = rpm_file::header(&file, options.limits)?;
    let header = Header::of_record(&bytes, options.limits)?;
    let rpm = header.package()?;
    let is_debug = rpm.name.ends_with("-debuginfo") || rpm.name.ends_with("-debugsource");
    let package = rpm.into_package();
    let releases = release_entries(&package, &header.changelog(options.limits)?);
    Ok(Rpm { package, releases, digest: Sha256::of(&bytes), is_debug })
}
