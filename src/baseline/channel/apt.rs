//! Suites of apt repositories: whole repositories, suites, flat ones, single `Packages` files and what a host's
//! apt keeps of them.
//!
//! One input is a suite for one architecture, all of its components together. Which indexes belong to it says
//! the Release; of these a mirror may lack components, and then proves no absence. An index that is there has
//! the digest that the Release gives it, compressed or not, or nothing of it is believed. Indexes of
//! `debian-installer` are none of a system's packages. Packages for all architectures count with every
//! architecture. Where the Release says that they have an index of their own, it is one of the expected ones.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::files::{self, DigestOfParts};
use super::names::{self, Named};
use super::{ChannelInput, ChannelKind, Offer, ReadOptions};
use crate::error::{Error, Result, ResultExt as _, quoted};
use crate::format::apt_packages;
use crate::format::apt_release::{Listed, Release};
use crate::format::dpkg::Record;
use crate::limits::Limits;
use crate::model::{Ecosystem, ImagePath, Package, Platform, Sha256, StratumId};

mod lists;
mod places;

pub(super) use lists::{is_list_of_host, is_name_of_list};
pub(super) use places::{is_packages_name, is_release_name};

/// What a path is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// A directory with `dists`.
    Repository,
    /// A directory with a Release or a `Packages`, or its Release.
    Suite,
    /// The lists of a host.
    Lists,
    /// One `Packages` file.
    Packages,
}

/// A suite before its indexes are read.
struct Suite {
    /// What it is called where it was found: `bookworm`, or the file name that a host's list starts with.
    name: String,
    kind: ChannelKind,
    /// The path below `dists` under which it was found, where there is one.
    found_as: Option<String>,
    release: Option<ReleaseFile>,
    indexes: Vec<Index>,
}

struct ReleaseFile {
    /// For messages.
    name: String,
    release: Release,
    digest: Sha256,
}

/// A `Packages` index of a suite.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Index {
    /// Its name in the suite, without ending: `main/binary-amd64/Packages`.
    name: String,
    /// Where it is, with the ending that its name in the suite has; `None` if it is not there.
    file: Option<(PathBuf, String)>,
}

impl Index {
    /// `main` of `main/binary-amd64/Packages`; empty for a flat repository.
    fn component(&self) -> &str {
        self.name.rsplit_once("/binary-").map_or("", |(component, _)| component)
    }

    /// `amd64` of `main/binary-amd64/Packages`; `None` for a flat repository.
    fn arch(&self) -> Option<&str> {
        let (_, after) = self.name.rsplit_once("/binary-")?;
        after.split_once('/').map(|(arch, _)| arch)
    }
}

/// What was read of an index.
struct ReadIndex {
    offers: Vec<Offer>,
    digest: Sha256,
}

/// Reads what is at a path.
///
/// # Errors
/// As [`super::read`] says.
pub(super) fn read(
    place: Place,
    path: &Path,
    id: &str,
    options: &ReadOptions<'_>,
) -> Result<Vec<ChannelInput>> {
    let suites = match place {
        Place::Repository => places::repository(path, options.limits)?,
        Place::Suite => vec![places::suite(path, options.limits)?],
        Place::Lists => lists::suites(path, None, options.limits)?,
        Place::Packages if lists::is_list_of_host(files::name_of(path)) => {
            lists::suites(path.parent().unwrap_or(Path::new(".")), Some(path), options.limits)?
        }
        Place::Packages => vec![places::packages(path, options.limits)?],
    };
    let (suites, mut notes) = wanted(suites, options.platform)?;
    let jobs: Vec<(usize, &Index)> = suites
        .iter()
        .enumerate()
        .flat_map(|(at, (suite, _))| suite.indexes.iter().map(move |index| (at, index)))
        .filter(|(at, index)| {
            let archs = suites.get(*at).map(|(suite, _)| archs(suite, options.platform)).unwrap_or_default();
            index.file.is_some() && index.arch().is_none_or(|arch| archs.contains(arch))
        })
        .collect();
    let read = files::in_parallel(&jobs, options.threads, |(at, index)| {
        let Some((suite, _)) = suites.get(*at) else { return Ok(None) };
        read_index(suite, index, options.limits)
    })?;
    let mut by_suite: Vec<BTreeMap<&Index, ReadIndex>> = suites.iter().map(|_| BTreeMap::new()).collect();
    for ((at, index), read) in jobs.into_iter().zip(read) {
        if let (Some(of_suite), Some(read)) = (by_suite.get_mut(at), read) {
            of_suite.insert(index, read);
        }
    }
    let mut inputs = Vec::new();
    for ((suite, named), read) in suites.iter().zip(by_suite) {
        inputs.extend(seal(suite, named, read, id, options).at(|| suite.name.clone())?);
    }
    inputs.sort_by(|a, b| a.id.cmp(&b.id));
    if let Some(first) = inputs.first_mut() {
        first.notes.append(&mut notes);
    }
    Ok(inputs)
}

/// Suites, each with what it says it is, and notes.
type Wanted = (Vec<(Suite, Named)>, Vec<String>);

/// The suites that are not for another platform than the user said, each with what it says it is; and a note
/// for those that are.
fn wanted(suites: Vec<Suite>, platform: Option<&Platform>) -> Result<Wanted> {
    let (mut all, mut others, mut notes) = (Vec::new(), Vec::new(), Vec::new());
    let is_one = suites.len() == 1;
    for suite in suites {
        let named = match &suite.release {
            Some(file) => names::of_release(&file.release, suite.found_as.as_deref())
                .at(|| file.name.clone())
                .at(|| suite.name.clone())?,
            None => Named::default(),
        };
        match platform.map(|platform| names::contradiction(&named, platform)) {
            Some(Some(error)) if is_one => {
                return Err(error.at(suite.release.map_or(suite.name, |file| file.name)));
            }
            Some(Some(_)) => others.push(suite.name),
            _ => all.push((suite, named)),
        }
    }
    if let (true, Some(platform)) = (all.is_empty(), platform) {
        return Err(Error::config(format!("no suite of it is for {}", platform.release_id()))
            .hint(format!("it has {}", others.join(", "))));
    }
    if !others.is_empty() {
        notes.push(format!("suites for other platforms, passed over: {}", others.join(", ")));
    }
    Ok((all, notes))
}

/// The architectures to read of a suite, `all` among them where it has indexes of its own that count.
fn archs<'a>(suite: &'a Suite, platform: Option<&'a Platform>) -> BTreeSet<&'a str> {
    let has_index_for_all = suite.release.as_ref().is_none_or(|file| file.release.has_index_for_all);
    let present = suite.indexes.iter().filter(|index| index.file.is_some()).filter_map(Index::arch);
    let mut archs: BTreeSet<&str> = match platform {
        Some(platform) => present.filter(|arch| *arch == platform.arch || *arch == "all").collect(),
        None => present.collect(),
    };
    if !has_index_for_all && archs.len() > 1 {
        archs.remove("all"); // its packages are in every other index too
    }
    archs
}

/// Reads an index that is there, and holds it against its Release.
fn read_index(suite: &Suite, index: &Index, limits: &Limits) -> Result<Option<ReadIndex>> {
    let Some((path, ending)) = &index.file else { return Ok(None) };
    let name = format!("{}{ending}", index.name);
    let place = || match (&suite.release, suite.name.as_str()) {
        (None, "") => String::from_utf8_lossy(files::name_of(path)).into_owned(),
        (Some(_), "") => name.clone(),
        (_, suite) => format!("{suite}: {name}"),
    };
    let files = suite.release.as_ref().map(|file| &file.release.files);
    let listed = |name: &str| files.and_then(|files| files.get(name)).copied();
    let (stored, plain) = (listed(&name), listed(&index.name));
    if let (Some(file), None, None) = (&suite.release, stored, plain)
        && !file.release.files.is_empty()
    {
        return Err(Error::malformed(
            "apt Release",
            "SHA256",
            None,
            "no such file",
            format!("{} in the list of {}", quoted(&name), file.name),
        )
        .hint("the index is of another suite or another time than the Release beside it; fetch both again"))
        .at(place);
    }
    if let Some(stored) = stored.filter(|_| !ending.is_empty()) {
        let found = files::digest_of(path).at(place)?;
        check(stored, found).at(place)?;
    }
    let mut offers = Vec::new();
    let arch = index.arch();
    let read = files::inflate(path, limits, |stream| {
        apt_packages::read(stream, limits, &mut |package| {
            let of = package.record.architecture.as_str();
            if arch.is_some_and(|arch| of != arch && of != "all") {
                return Err(mixed(&package.record, arch.unwrap_or_default()));
            }
            offers.push(Offer { package: offered(package.record), phased_percent: package.phased_percent });
            Ok(())
        })
    });
    let whole = match read {
        Ok((_, whole)) => whole,
        // That the file is another one says more than what is wrong in it.
        Err(error) => {
            if let Some(plain) = plain
                && let Ok(((), whole)) = files::inflate(path, limits, |_| Ok(()))
            {
                check(plain, whole).at(place)?;
            }
            return Err(error.at(place()));
        }
    };
    if let Some(plain) = plain {
        check(plain, whole).at(place)?;
    }
    Ok(Some(ReadIndex { offers, digest: whole.sha256 }))
}

fn mixed(record: &Record, arch: &str) -> Error {
    Error::malformed(
        "apt Packages",
        "Architecture",
        None,
        quoted(&record.architecture),
        format!("`{arch}` or `all`, since the index is for {arch}"),
    )
    .hint("the index is of another architecture; fetch the repository again")
    .at(format!("package {}", quoted(&record.package)))
}

/// Holds a file against what its Release says of it.
fn check(listed: Listed, found: Listed) -> Result<()> {
    if listed == found {
        return Ok(());
    }
    let tell = |of: Listed| format!("{} of {} bytes", of.sha256, of.size_bytes);
    Err(Error::malformed(
        "apt Packages",
        "sha256",
        None,
        tell(found),
        format!("{}, as its Release says", tell(listed)),
    )
    .hint("the file is damaged, or the mirror changed while it was copied; fetch the suite again"))
}

/// A package as an index or a control file has it.
pub(super) fn offered(record: Record) -> Package {
    Package {
        ecosystem: Ecosystem::Deb,
        state: None,
        name: record.package,
        arch: record.architecture,
        version: record.version,
        source: record.source,
        stream: None,
        purl: String::new(),
        path: ImagePath::root(),
        stratum: StratumId(0),
        origin: record.origin,
        maintainer: record.maintainer,
        built_using: record.built_using,
        installed_at: None,
        built_at: None,
    }
}

/// The inputs of a suite, one an architecture.
fn seal(
    suite: &Suite,
    named: &Named,
    read: BTreeMap<&Index, ReadIndex>,
    id: &str,
    options: &ReadOptions<'_>,
) -> Result<Vec<ChannelInput>> {
    let mut archs: BTreeSet<String> = archs(suite, options.platform).into_iter().map(str::to_owned).collect();
    if archs.len() > 1 {
        archs.remove("all");
    }
    if archs.is_empty() {
        archs = flat_archs(suite, &read, options.platform);
    }
    if archs.is_empty() || archs.iter().all(|arch| arch == "all") {
        archs.extend(options.platform.map(|platform| platform.arch.clone()));
        if archs.len() > 1 {
            archs.remove("all");
        }
    }
    if read.is_empty() || archs.is_empty() {
        return Err(nothing(suite, options.platform));
    }
    archs.into_iter().map(|arch| sealed(suite, named, &read, id, &arch, options)).collect()
}

/// The architectures of the packages of a flat repository.
fn flat_archs(
    suite: &Suite,
    read: &BTreeMap<&Index, ReadIndex>,
    platform: Option<&Platform>,
) -> BTreeSet<String> {
    let offers = read.values().flat_map(|read| &read.offers);
    let mut archs: BTreeSet<String> = match platform {
        Some(platform) => [platform.arch.clone()].into(),
        None => offers.map(|offer| offer.package.arch.clone()).collect(),
    };
    if archs.iter().all(|arch| arch == "all") {
        let stated = suite.release.iter().flat_map(|file| &file.release.architectures);
        archs.extend(stated.filter(|arch| *arch != "source").cloned());
    }
    if archs.len() > 1 {
        archs.remove("all");
    }
    archs
}

/// Indexes whose packages are all of other architectures are not those of the wanted one.
fn check_arch(arch: &str, packages: &[Offer], read: &BTreeMap<&Index, ReadIndex>) -> Result<()> {
    if packages.iter().any(|offer| offer.package.arch == arch) {
        return Ok(());
    }
    let all = read.values().flat_map(|read| &read.offers).map(|offer| offer.package.arch.as_str());
    let others: BTreeSet<&str> = all.filter(|of| *of != "all" && *of != arch).collect();
    if others.is_empty() || read.keys().any(|index| index.arch().is_some()) {
        return Ok(());
    }
    let others: Vec<&str> = others.into_iter().collect();
    Err(Error::config(format!("no package for {arch} in it; there are some for {}", others.join(", ")))
        .hint("name it with the platform that it is for"))
}

fn nothing(suite: &Suite, platform: Option<&Platform>) -> Error {
    let archs: BTreeSet<&str> =
        suite.indexes.iter().filter(|index| index.file.is_some()).filter_map(Index::arch).collect();
    let of = platform.map(|platform| format!(" for {}", platform.arch)).unwrap_or_default();
    let archs: Vec<&str> = archs.into_iter().collect();
    let error = Error::not_found(format!("a Packages index{of}"));
    match archs.is_empty() {
        true => error.hint("fetch the indexes of the suite too, not its Release alone"),
        false => error.hint(format!("there are some for {}", archs.join(", "))),
    }
}

fn sealed(
    suite: &Suite,
    named: &Named,
    read: &BTreeMap<&Index, ReadIndex>,
    id: &str,
    arch: &str,
    options: &ReadOptions<'_>,
) -> Result<ChannelInput> {
    let has_index_for_all = suite.release.as_ref().is_none_or(|file| file.release.has_index_for_all);
    let belongs = |index: &Index| match index.arch() {
        None => true,
        Some("all") => has_index_for_all || arch == "all",
        Some(of) => of == arch,
    };
    let release = suite.release.as_ref();
    let is_empty = |index: &Index| {
        release
            .and_then(|file| file.release.files.get(&index.name))
            .is_some_and(|listed| listed.size_bytes == 0)
    };
    let mut digest = DigestOfParts::default();
    let (mut packages, mut absent) = (Vec::new(), Vec::new());
    let (mut components, mut incomplete) = (BTreeSet::new(), BTreeSet::new());
    for index in suite.indexes.iter().filter(|index| belongs(index)) {
        match read.get(index) {
            Some(of_index) => {
                digest.add(&index.name, &of_index.digest);
                components.insert(index.component());
                let counts = |offer: &&Offer| offer.package.arch == arch || offer.package.arch == "all";
                packages.extend(of_index.offers.iter().filter(counts).cloned());
            }
            None if is_empty(index) => {}
            None => {
                absent.push(index.name.as_str());
                incomplete.insert(index.component());
            }
        }
    }
    if let Some(file) = release {
        digest.add("Release", &file.digest);
    }
    packages.sort_unstable();
    packages.dedup();
    check_arch(arch, &packages, read)?;
    let mut notes = Vec::new();
    if !absent.is_empty() {
        notes.push(format!("not there, so nothing of it is known to be absent: {}", absent.join(", ")));
    }
    let dated = release.and_then(|file| file.release.date);
    let taken_at = names::taken_at(dated, options.taken_at)?;
    let is_listed = release.is_some_and(|file| !file.release.files.is_empty() && file.release.date.is_some());
    components.remove("");
    let whole_components: Vec<String> =
        match is_listed && !absent.is_empty() && components.is_disjoint(&incomplete) {
            true => components.iter().map(|component| (*component).to_owned()).collect(),
            false => Vec::new(),
        };
    let components: Vec<&str> = components.into_iter().collect();
    let name = match suite.name.as_str() {
        "" => named.suite.as_deref().unwrap_or("Packages"),
        name => name,
    };
    let components = components.join("+");
    let parts: Vec<&str> = [name, arch, &components].into_iter().filter(|part| !part.is_empty()).collect();
    Ok(ChannelInput {
        id: format!("{id}#{}", parts.join("/")),
        kind: suite.kind,
        platform: names::platform(named, arch, options.platform),
        suite: named.suite.clone(),
        taken_at,
        valid_until: release.and_then(|file| file.release.valid_until),
        lists_all: is_listed && absent.is_empty(),
        whole_components,
        digest: digest.finish(),
        packages,
        releases: Vec::new(),
        advisories: Vec::new(),
        notes,
    })
}
