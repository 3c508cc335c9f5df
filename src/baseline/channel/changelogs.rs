//! A folder of changelogs: what metadata servers publish (`main/o/openssl/openssl_3.0.17-1~deb12u2_changelog`),
//! what `apt-get changelog` fetches, copies of `/usr/share/doc`.
//!
//! The source package is the one that a changelog's newest entry names; file names are believed in nothing. A
//! file whose name says that it is Debian's and that is none, or is cut off, is an error. What merely has
//! `changelog` in its name may be the upstream's: it is counted in a note.

use std::path::Path;

use super::files::{self, DigestOfParts, FoundFile};
use super::{ChannelInput, ChannelKind, ReadOptions};
use crate::error::{Error, Kind, Result, ResultExt as _};
use crate::format::debian_changelog::{self, Changelog};
use crate::limits::Limits;
use crate::model::{ReleaseEntry, Sha256};

/// Endings of compressed files.
const ENDINGS: [&[u8]; 5] = [b".gz", b".xz", b".zst", b".bz2", b".lz4"];

fn plain_name(name: &[u8]) -> &[u8] {
    ENDINGS.iter().find_map(|ending| name.strip_suffix(*ending)).unwrap_or(name)
}

/// Whether a file of this name may be a changelog.
pub(super) fn is_named_changelog(name: &[u8]) -> bool {
    memchr::memmem::find(&name.to_ascii_lowercase(), b"changelog").is_some()
}

/// Whether a file of this name is a Debian changelog, and nothing else.
fn is_surely_debian(name: &[u8]) -> bool {
    let name = plain_name(name);
    name == b"changelog.Debian"
        || name.starts_with(b"changelog.Debian.")
        || name.ends_with(b"_changelog")
        || name.ends_with(b".changelog")
}

/// Whether a file is the upstream's changelog, since the packaging's own is beside it.
fn is_upstreams(file: &FoundFile) -> bool {
    let beside = |name: &str| file.path.with_file_name(name).exists();
    plain_name(files::name_of(&file.path)) == b"changelog"
        && (beside("changelog.Debian.gz") || beside("changelog.Debian"))
}

/// Reads all changelogs below a directory.
///
/// # Errors
/// `Config` if there is none, and what [`super::read`] says.
pub(super) fn read(directory: &Path, id: &str, options: &ReadOptions<'_>) -> Result<ChannelInput> {
    let (found, others) = files::files_in(directory, options.limits, is_named_changelog)?;
    let all = files::in_parallel(&found, options.threads, |file| {
        if is_upstreams(file) {
            return Ok(None);
        }
        one(file, options.limits).at(|| file.below.clone())
    })?;
    let mut digest = DigestOfParts::default();
    let mut releases = Vec::new();
    let (mut upstreams, mut warnings) = (Vec::new(), 0_u64);
    for (file, changelog) in found.iter().zip(all) {
        match changelog {
            Some((changelog, of_file)) => {
                digest.add("changelog", &of_file);
                warnings = warnings.saturating_add(changelog.problem_count);
                releases.extend(entries(changelog));
            }
            None => upstreams.push(file.below.as_str()),
        }
    }
    if releases.is_empty() {
        return Err(Error::config("no Debian changelog was found in the folder").hint(
            "its files are named `changelog.Debian.gz`, `SOURCE_VERSION_changelog` or `SOURCE.changelog`",
        ));
    }
    releases.sort();
    releases.dedup();
    let mut notes = Vec::new();
    if !upstreams.is_empty() {
        notes.push(format!(
            "{} not Debian's, passed over: {}",
            count(upstreams.len(), "changelog is", "changelogs are"),
            some_of(&upstreams)
        ));
    }
    if others > 0 {
        notes.push(format!("{others} other files passed over"));
    }
    if warnings > 0 {
        notes.push(format!(
            "{warnings} lines of changelogs are not as dpkg wants them; no entry is lost by that"
        ));
    }
    Ok(ChannelInput {
        id: id.to_owned(),
        kind: ChannelKind::ChangelogFolder,
        platform: options.platform.cloned(),
        suite: None,
        taken_at: options.taken_at,
        valid_until: None,
        lists_all: false,
        whole_components: Vec::new(),
        digest: digest.finish(),
        packages: Vec::new(),
        releases,
        advisories: Vec::new(),
        notes,
    })
}

/// One changelog and the digest of its text; `None` if it is none of Debian's.
fn one(file: &FoundFile, limits: &Limits) -> Result<Option<(Changelog, Sha256)>> {
    let (changelog, whole_text) =
        files::inflate(&file.path, limits, |stream| debian_changelog::read(stream, limits))?;
    match changelog {
        Some(changelog) => {
            whole(&changelog)?;
            Ok(Some((changelog, whole_text.sha256)))
        }
        None if is_surely_debian(files::name_of(&file.path)) => Err(Error::malformed(
            "debian changelog",
            "heading",
            None,
            "none at the start",
            "for instance `curl (7.88.1-10+deb12u9) bookworm-security; urgency=high`",
        )
        .hint("the file is damaged or none of Debian's; take it out of the folder, or fetch it again")),
        None => Ok(None),
    }
}

/// That a changelog ends behind an entry.
pub(super) fn whole(changelog: &Changelog) -> Result<()> {
    let cut = changelog
        .problems
        .iter()
        .find(|problem| matches!(problem.kind(), Kind::Malformed(m) if m.field == "end of file"));
    match cut {
        Some(problem) => Err(problem.clone().hint("the file is cut off; fetch it again")),
        None => Ok(()),
    }
}

/// The entries of a changelog. It belongs to the source of its newest entry, also where older entries bear the
/// name that the source had before.
pub(super) fn entries(changelog: Changelog) -> Vec<ReleaseEntry> {
    let source = changelog.entries.first().map(|newest| newest.source.clone()).unwrap_or_default();
    let mut above = None;
    let mut all = Vec::with_capacity(changelog.entries.len());
    for entry in changelog.entries {
        let superseded_by = above.replace(entry.version.clone());
        all.push(ReleaseEntry { source: source.clone(), superseded_by, ..entry });
    }
    all
}

/// `1 file is`, `3 files are`.
pub(super) fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// The first three of some names.
pub(super) fn some_of(names: &[&str]) -> String {
    let shown: Vec<&str> = names.iter().take(3).copied().collect();
    let more = if names.len() > shown.len() { ", …" } else { "" };
    format!("{}{more}", shown.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_whose_a_changelog_is() {
        for (name, may, surely) in [
            ("changelog.Debian.gz", true, true),
            ("changelog.Debian.amd64.gz", true, true),
            ("openssl_3.0.17-1~deb12u2_changelog", true, true),
            ("openssl.changelog", true, true),
            ("changelog.gz", true, false),
            ("CHANGELOG.md", true, false),
            ("copyright", false, false),
        ] {
            assert_eq!(
                (is_named_changelog(name.as_bytes()), is_surely_debian(name.as_bytes())),
                (may, surely),
                "{name}"
            );
        }
    }
}
