//! A folder of `.deb` files: a pool, a directory of downloads, an apt cache.
//!
//! Packages of the installer (`.udeb`) and of debugging symbols (`.ddeb`) are no system's, and passed over.

use std::collections::BTreeSet;
use std::path::Path;

use super::changelogs::{count, some_of};
use super::deb::{self, Deb};
use super::files::{self, DigestOfParts, FoundFile};
use super::{ChannelInput, ChannelKind, Offer, ReadOptions};
use crate::error::{Error, Result, ResultExt as _};

/// Whether a file of this name is a package.
pub(super) fn is_named_deb(name: &[u8]) -> bool {
    name.ends_with(b".deb")
}

/// Reads all packages below a directory, for one architecture.
///
/// # Errors
/// `Config` if there are packages of several architectures and the user said none, and what
/// [`super::read`] says.
pub(super) fn read(directory: &Path, id: &str, options: &ReadOptions<'_>) -> Result<ChannelInput> {
    let (found, others) = files::files_in(directory, options.limits, is_named_deb)?;
    let all = files::in_parallel(&found, options.threads, |file| {
        files::open(&file.path).and_then(|opened| deb::read(opened, options.limits)).at(|| file.below.clone())
    })?;
    let arch = arch(&found, &all, options)?;
    let mut digest = DigestOfParts::default();
    let (mut packages, mut releases) = (Vec::new(), Vec::new());
    let (mut of_others, mut unread) = (Vec::new(), Vec::new());
    for (file, deb) in found.iter().zip(all) {
        if deb.package.arch != "all" && arch.as_ref().is_some_and(|arch| *arch != deb.package.arch) {
            of_others.push(file.below.as_str());
            continue;
        }
        let p = &deb.package;
        digest.add(format!("{}_{}_{}", p.name, p.version, p.arch), &deb.digest);
        unread.extend(deb.unread.into_iter().map(|path| format!("{}: {path}", file.below)));
        releases.extend(deb.releases);
        packages.push(Offer { package: deb.package, phased_percent: None });
    }
    if packages.is_empty() {
        let of = arch.map(|arch| format!(" for {arch}")).unwrap_or_default();
        return Err(Error::not_found(format!("a package{of}")));
    }
    packages.sort_unstable();
    packages.dedup();
    releases.sort_unstable();
    releases.dedup();
    let mut notes = Vec::new();
    let mut note = |names: &[&str], one: &str, many: &str| {
        if !names.is_empty() {
            notes.push(format!("{}: {}", count(names.len(), one, many), some_of(names)));
        }
    };
    note(
        &of_others,
        "package of another architecture passed over",
        "packages of other architectures passed over",
    );
    let unread: Vec<&str> = unread.iter().map(String::as_str).collect();
    note(&unread, "changelog is none of Debian's, not read", "changelogs are none of Debian's, not read");
    let known: BTreeSet<&str> = releases.iter().map(|entry| entry.source.as_str()).collect();
    let sources: BTreeSet<&str> = packages.iter().map(|offer| offer.package.source.name.as_str()).collect();
    let without: Vec<&str> = sources.difference(&known).copied().collect();
    note(&without, "source has no changelog in the folder", "sources have no changelog in the folder");
    if others > 0 {
        notes.push(format!(
            "{} passed over",
            count(usize::try_from(others).unwrap_or(usize::MAX), "other file", "other files")
        ));
    }
    Ok(ChannelInput {
        id: id.to_owned(),
        kind: ChannelKind::DebFolder,
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

/// The architecture to take; `None` if all packages are for any.
fn arch(found: &[FoundFile], all: &[Deb], options: &ReadOptions<'_>) -> Result<Option<String>> {
    if let Some(platform) = options.platform {
        return Ok(Some(platform.arch.clone()));
    }
    let mut first: Option<(&str, &str)> = None;
    for (file, deb) in found.iter().zip(all).filter(|(_, deb)| deb.package.arch != "all") {
        let arch = deb.package.arch.as_str();
        match first {
            None => first = Some((arch, &file.below)),
            Some((known, _)) if known == arch => {}
            Some((known, of)) => {
                let what = format!(
                    "packages of several architectures: {of} is for {known}, {} for {arch}",
                    file.below
                );
                return Err(
                    Error::config(what).hint("say for which platform it is to be read, as debian/12/amd64")
                );
            }
        }
    }
    Ok(first.map(|(arch, _)| arch.to_owned()))
}
