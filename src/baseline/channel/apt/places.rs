//! Where suites and their indexes lie: repositories, suite directories, flat repositories, single files.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::super::ChannelKind;
use super::super::files::{self, name_of};
use super::{Index, ReleaseFile, Suite};
use crate::bytes::read_stream;
use crate::error::{Error, Result, ResultExt as _};
use crate::format::apt_release::{self, Release};
use crate::limits::Limits;
use crate::model::Sha256;

/// Endings of an index, the cheapest to read first.
pub(super) const ENDINGS: [&str; 6] = ["", ".zst", ".lz4", ".gz", ".xz", ".bz2"];

/// Suites lie at most so deep below `dists`: `dists/buster/updates` is two.
const SUITE_DEPTH: usize = 4;

/// A Release is at most so many directories above an index: `updates/main/binary-amd64/Packages` is three.
const INDEX_DEPTH: usize = 5;

/// Whether a file of this name is an index of packages.
pub(crate) fn is_packages_name(name: &[u8]) -> bool {
    std::str::from_utf8(name)
        .is_ok_and(|name| split_ending(name).is_some_and(|(plain, _)| plain == "Packages"))
}

/// Whether a file of this name says what a suite is.
pub(crate) fn is_release_name(name: &[u8]) -> bool {
    name == b"InRelease" || name == b"Release"
}

/// An index's name without its ending, and the ending; `None` if it is none.
pub(super) fn split_ending(name: &str) -> Option<(&str, &str)> {
    let ending = ENDINGS.iter().skip(1).find(|ending| name.ends_with(*ending)).copied().unwrap_or("");
    let plain = name.strip_suffix(ending)?;
    plain.ends_with("Packages").then_some((plain, ending))
}

/// Whether this is the name of an index of packages in a suite: `main/binary-amd64/Packages`, or `Packages` in a
/// flat repository. Those of `debian-installer` are no system's.
pub(super) fn is_index(name: &str) -> bool {
    let mut parts = name.rsplit('/');
    match (parts.next(), parts.next(), parts.next()) {
        (Some("Packages"), None, _) => true,
        (Some("Packages"), Some(arch), Some(component)) => {
            arch.starts_with("binary-") && component != "debian-installer"
        }
        _ => false,
    }
}

/// The indexes that a Release lists, without endings.
pub(super) fn listed(release: &Release) -> BTreeSet<String> {
    let plain = release.files.keys().filter_map(|name| split_ending(name)).map(|(plain, _)| plain);
    plain.filter(|plain| is_index(plain)).map(str::to_owned).collect()
}

/// All suites below `dists`, in the order of their paths. A link to a suite of the same repository is the same
/// suite.
pub(super) fn repository(root: &Path, limits: &Limits) -> Result<Vec<Suite>> {
    let dists = root.join("dists");
    let mut found: BTreeMap<PathBuf, PathBuf> = BTreeMap::new();
    let mut links = Vec::new();
    suites_below(&dists, 0, limits, &mut found, &mut links)?;
    let inside = fs::canonicalize(root)?;
    for link in links {
        let Ok(target) = fs::canonicalize(&link) else { continue }; // partial mirrors have dangling ones
        if !target.starts_with(&inside) {
            return Err(Error::config("a link that leads out of the repository")
                .hint("copy what it leads to into the repository, or take it away")
                .at(link.display().to_string()));
        }
        if target.is_dir() && !found.contains_key(&target) {
            suites_below(&link, SUITE_DEPTH.saturating_sub(1), limits, &mut found, &mut Vec::new())?;
        }
    }
    if found.is_empty() {
        return Err(Error::not_found("a Release below dists")
            .hint("fetch the InRelease of each suite too: it says what the suite is, and as of when"));
    }
    found.into_values().map(|path| suite(&path, limits)).collect()
}

/// Collects the directories that hold a Release, by their canonical path.
fn suites_below(
    directory: &Path,
    depth: usize,
    limits: &Limits,
    found: &mut BTreeMap<PathBuf, PathBuf>,
    links: &mut Vec<PathBuf>,
) -> Result<()> {
    if has_release(directory) {
        found.insert(fs::canonicalize(directory)?, directory.to_path_buf());
        return Ok(());
    }
    if depth >= SUITE_DEPTH {
        return Ok(());
    }
    for (path, kind) in files::entries(directory, limits)? {
        if kind.is_symlink() {
            links.push(path);
        } else if kind.is_dir() {
            suites_below(&path, depth.saturating_add(1), limits, found, links)?;
        }
    }
    Ok(())
}

/// Whether a directory has a Release of its own.
pub(crate) fn has_release(directory: &Path) -> bool {
    ["InRelease", "Release"].iter().any(|name| directory.join(name).is_file())
}

/// The Release of a directory; `InRelease` before `Release`, as apt has it.
fn release_in(directory: &Path, limits: &Limits) -> Result<Option<ReleaseFile>> {
    for name in ["InRelease", "Release"] {
        let path = directory.join(name);
        if !path.is_file() {
            continue;
        }
        if let Some(file) = release_file(&path, name, limits)? {
            return Ok(Some(file));
        }
    }
    Ok(None)
}

/// Reads a Release; `None` if it is that of one component only.
pub(super) fn release_file(path: &Path, name: &str, limits: &Limits) -> Result<Option<ReleaseFile>> {
    let read = || -> Result<ReleaseFile> {
        let bytes = read_stream(&mut files::open(path)?, limits.record_bytes)?;
        let release = apt_release::read(&bytes, limits)?;
        let digest = Sha256::of(&bytes);
        Ok(ReleaseFile { name: name.to_owned(), release, digest })
    };
    let file = read().at(|| name.to_owned())?;
    Ok((!file.release.is_of_component).then_some(file))
}

/// A suite's directory, or its Release.
pub(super) fn suite(path: &Path, limits: &Limits) -> Result<Suite> {
    let directory = if path.is_dir() { path } else { path.parent().unwrap_or(Path::new(".")) };
    let found_as = below_dists(directory);
    let name = found_as.clone().unwrap_or_default();
    let release = release_in(directory, limits).at(|| name.clone())?;
    let mut names = indexes_below(directory, limits)?;
    if let Some(file) = &release {
        names.extend(listed(&file.release));
    }
    let indexes = names
        .into_iter()
        .map(|name| {
            let file = locate(directory, &name, release.as_ref().map(|file| &file.release));
            if file.is_none() {
                whole_or_absent(directory, &name, release.as_ref())?;
            }
            Ok(Index { name, file })
        })
        .collect::<Result<_>>()
        .at(|| name.clone())?;
    Ok(Suite { name, kind: ChannelKind::AptSuite, found_as, release, indexes })
}

/// The path of a suite below `dists`.
fn below_dists(directory: &Path) -> Option<String> {
    let parts: Vec<String> =
        directory.components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
    let at = parts.iter().rposition(|part| part == "dists")?;
    let below = parts.get(at.saturating_add(1)..).filter(|below| !below.is_empty())?;
    Some(below.join("/"))
}

/// The names of the indexes that are in a suite's directory.
fn indexes_below(directory: &Path, limits: &Limits) -> Result<BTreeSet<String>> {
    let (found, _) = files::files_in(directory, limits, is_packages_name)?;
    let names = found.iter().filter_map(|file| split_ending(&file.below)).map(|(plain, _)| plain);
    Ok(names.filter(|plain| is_index(plain)).map(str::to_owned).collect())
}

/// Where an index is: under its name, or under its digest. What the Release lists comes before what it does not.
fn locate(directory: &Path, name: &str, release: Option<&Release>) -> Option<(PathBuf, String)> {
    let listed = |ending: &str| release.and_then(|release| release.files.get(&format!("{name}{ending}")));
    let (first, second): (Vec<&str>, Vec<&str>) =
        ENDINGS.into_iter().partition(|ending| listed(ending).is_some());
    for ending in first.iter().chain(&second) {
        let path = directory.join(format!("{name}{ending}"));
        if path.is_file() {
            return Some((path, (*ending).to_owned()));
        }
    }
    let folder = directory.join(name).parent()?.join("by-hash/SHA256");
    first.into_iter().find_map(|ending| {
        let path = folder.join(listed(ending)?.sha256.hex());
        path.is_file().then(|| (path, ending.to_owned()))
    })
}

/// An index that is not there: its directory is not there either, or the Release says that it is empty.
fn whole_or_absent(directory: &Path, name: &str, release: Option<&ReleaseFile>) -> Result<()> {
    let is_empty =
        release.and_then(|file| file.release.files.get(name)).is_some_and(|listed| listed.size_bytes == 0);
    let holds_index = name.contains('/') && directory.join(name).parent().is_some_and(Path::is_dir);
    if is_empty || !holds_index {
        return Ok(());
    }
    Err(Error::not_found("the index that its Release lists, though its directory is there")
        .hint("the mirror is incomplete: fetch the index, or take the directory of the component away")
        .at(name))
}

/// One index, with the Release that is beside it or above it.
pub(super) fn packages(path: &Path, limits: &Limits) -> Result<Suite> {
    let file_name = String::from_utf8_lossy(name_of(path)).into_owned();
    let whole = fs::canonicalize(path)?;
    let mut directory = whole.parent();
    for _ in 0..=INDEX_DEPTH {
        let Some(here) = directory else { break };
        if let Some(file) = release_in(here, limits)? {
            return Ok(with_release(path, &whole, here, file));
        }
        directory = here.parent();
    }
    let (plain, ending) = split_ending(&file_name).unwrap_or((file_name.as_str(), ""));
    let parent = whole.parent().map(|parent| name_of(parent).to_vec()).unwrap_or_default();
    let name = match String::from_utf8(parent) {
        Ok(parent) if parent.starts_with("binary-") => format!("/{parent}/{plain}"),
        _ => plain.to_owned(),
    };
    let indexes = vec![Index { name, file: Some((path.to_path_buf(), ending.to_owned())) }];
    Ok(Suite { name: String::new(), kind: ChannelKind::AptSuite, found_as: None, release: None, indexes })
}

fn with_release(path: &Path, whole: &Path, directory: &Path, file: ReleaseFile) -> Suite {
    let below = whole.strip_prefix(directory).unwrap_or(whole).to_string_lossy().into_owned();
    let (plain, ending) = split_ending(&below).unwrap_or((below.as_str(), ""));
    let mut indexes: Vec<Index> = listed(&file.release)
        .into_iter()
        .filter(|name| name != plain)
        .map(|name| Index { name, file: None })
        .collect();
    let found = Some((path.to_path_buf(), ending.to_owned()));
    indexes.push(Index { name: plain.to_owned(), file: found });
    let found_as = below_dists(directory);
    Suite {
        name: found_as.clone().unwrap_or_default(),
        kind: ChannelKind::AptSuite,
        found_as,
        release: Some(file),
        indexes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_are_known_by_name() {
        for (name, want) in [
            ("main/binary-amd64/Packages", true),
            ("updates/main/binary-amd64/Packages", true),
            ("Packages", true),
            ("main/debian-installer/binary-amd64/Packages", false),
            ("main/binary-amd64/Release", false),
            ("main/source/Sources", false),
        ] {
            assert_eq!(is_index(name), want, "{name}");
        }
        assert_eq!(
            split_ending("main/binary-amd64/Packages.xz"),
            Some(("main/binary-amd64/Packages", ".xz"))
        );
        assert_eq!(split_ending("main/binary-amd64/Packages.diff/Index"), None);
        assert_eq!(
            below_dists(Path::new("/srv/debian/dists/buster/updates")).as_deref(),
            Some("buster/updates")
        );
        assert_eq!(below_dists(Path::new("/srv/debian")), None);
    }
}
