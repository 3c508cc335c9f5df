//! What a host's apt keeps in `/var/lib/apt/lists`: flat names made of addresses.
//!
//! ```text
//! deb.debian.org_debian_dists_bookworm_InRelease
//! deb.debian.org_debian_dists_bookworm_main_binary-amd64_Packages.lz4
//! ```
//!
//! Slashes are underscores, underscores `%5f`. apt keeps the components that its sources name, and compresses
//! the indexes as it likes; the Release still has the digest of what is inside.

use std::path::{Path, PathBuf};

use super::super::ChannelKind;
use super::super::files::{self, name_of};
use super::places::{is_index, listed, release_file, split_ending};
use super::{Index, Suite};
use crate::error::{Error, Result};
use crate::limits::Limits;

/// Whether a file of this name is an index that apt keeps.
pub(crate) fn is_list_of_host(name: &[u8]) -> bool {
    let Ok(name) = std::str::from_utf8(name) else { return false };
    split_ending(name).is_some_and(|(plain, _)| plain.ends_with("_Packages"))
}

/// Whether a file of this name is one that apt keeps: an index or a Release.
pub(crate) fn is_name_of_list(name: &[u8]) -> bool {
    is_list_of_host(name) || name.ends_with(b"_InRelease") || name.ends_with(b"_Release")
}

/// The suites in a directory of lists, in the order of their names; of one index only, if one is named.
pub(super) fn suites(directory: &Path, only: Option<&Path>, limits: &Limits) -> Result<Vec<Suite>> {
    let mut names: Vec<(String, PathBuf)> = Vec::new();
    for (path, kind) in files::entries(directory, limits)? {
        if kind.is_file() {
            names.push((String::from_utf8_lossy(name_of(&path)).into_owned(), path));
        }
    }
    let mut suites: Vec<Suite> = Vec::new();
    for ending in ["_InRelease", "_Release"] {
        for (name, path) in &names {
            let Some(base) = name.strip_suffix(ending) else { continue };
            if suites.iter().any(|suite| suite.name == base) {
                continue;
            }
            if let Some(file) = release_file(path, name, limits)? {
                suites.push(Suite {
                    name: base.to_owned(),
                    kind: ChannelKind::AptList,
                    found_as: base.rsplit_once("_dists_").map(|(_, below)| address(below)),
                    indexes: Vec::new(),
                    release: Some(file),
                });
            }
        }
    }
    for (name, path) in names.iter().filter(|(name, _)| is_list_of_host(name.as_bytes())) {
        if only.is_none_or(|only| name_of(only) == name.as_bytes()) {
            add(&mut suites, name, path);
        }
    }
    suites.retain(|suite| only.is_none() || !suite.indexes.is_empty());
    for suite in &mut suites {
        let expected = suite.release.as_ref().map(|file| listed(&file.release)).unwrap_or_default();
        let missing: Vec<Index> = expected
            .into_iter()
            .filter(|name| !suite.indexes.iter().any(|index| index.name == *name))
            .map(|name| Index { name, file: None })
            .collect();
        suite.indexes.extend(missing);
        suite.indexes.sort();
    }
    suites.sort_by(|a, b| a.name.cmp(&b.name));
    // Sources of which apt fetched nothing but the Release have no package for this host.
    if suites.iter().any(has_index) {
        suites.retain(has_index);
    }
    if suites.is_empty() {
        return Err(Error::not_found("a Release or a Packages index").hint("run `apt-get update` first"));
    }
    Ok(suites)
}

fn has_index(suite: &Suite) -> bool {
    suite.indexes.iter().any(|index| index.file.is_some())
}

/// Adds an index to its suite: the one whose name its own starts with.
fn add(suites: &mut Vec<Suite>, name: &str, path: &Path) {
    let Some((plain, ending)) = split_ending(name) else { return };
    let file = Some((path.to_path_buf(), ending.to_owned()));
    let rest = |suite: &Suite| plain.strip_prefix(&suite.name)?.strip_prefix('_').map(address);
    let owner = suites.iter_mut().filter(|suite| rest(suite).is_some()).max_by_key(|suite| suite.name.len());
    match owner {
        Some(suite) => {
            let name = rest(suite).map(|name| as_listed(suite, name)).unwrap_or_default();
            if is_index(&name) {
                suite.indexes.push(Index { name, file });
            }
        }
        // A repository that its host trusts without a Release.
        None => {
            let index = match plain.rsplit_once("_binary-") {
                Some((_, arch)) => format!("/binary-{}", address(arch)),
                None => "Packages".to_owned(),
            };
            let name = plain.strip_suffix("_Packages").unwrap_or(plain).to_owned();
            let indexes = vec![Index { name: index, file }];
            suites.push(Suite { name, kind: ChannelKind::AptList, found_as: None, release: None, indexes });
        }
    }
}

/// A name as the Release lists it: apt's component may have a prefix there (`updates/main`).
fn as_listed(suite: &Suite, name: String) -> String {
    let Some(file) = &suite.release else { return name };
    let known = listed(&file.release);
    let mut rest = name.as_str();
    loop {
        if known.contains(rest) {
            return rest.to_owned();
        }
        match rest.split_once('/') {
            Some((_, after)) if is_index(after) && after.contains('/') => rest = after,
            _ => return name,
        }
    }
}

/// A part of a name as the part of an address that it is.
fn address(name: &str) -> String {
    name.replace('_', "/").replace("%5f", "_").replace("%5F", "_")
}
