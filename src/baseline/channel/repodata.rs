//! Repositories of rpm packages, by their metadata: `repodata/repomd.xml` and the files that it names.
//!
//! | file | says | read |
//! |---|---|---|
//! | `primary` | which packages there are: names, versions, sources, build times | yes; a repository without is none |
//! | `updateinfo` | which version an advisory publishes, when, why, and which CVE ids it fixes | yes, where it is |
//! | `modules` | of which module stream a package is | yes, where it is |
//! | others | file lists, changelogs, groups, databases of the same | no |
//!
//! Sizes and digests are those that `repomd.xml` states, or it is an error; signatures are not verified. The
//! repository is from when the newest of its files was made. An advisory names binary packages: they join to their
//! sources by the advisory's own word, else by what the primary says of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use super::changelogs::{count, some_of};
use super::files::{self, BUFFER_BYTES, DigestOfParts, FoundFile};
use super::names;
use super::{ChannelInput, ChannelKind, Offer, Published, ReadOptions};
use crate::error::{Error, Result, ResultExt as _};
use crate::format::modules_yaml::{self, Document};
use crate::format::repomd::{self, MetadataFile, Repomd};
use crate::format::rpm_header::source_of_file_name;
use crate::format::rpm_primary;
use crate::format::updateinfo::{self, AdvisoryKind, AdvisoryPackage, Collection};
use crate::model::version::rpm::without_epoch;
use crate::model::{Advisory, Ecosystem, ImagePath, Package, Platform, SourcePackage, StratumId};

/// What tells a repository.
pub(super) const REPOMD: &[u8] = b"repomd.xml";

/// Directories that lie between a repository's name and its metadata, and name nothing.
const NAMELESS: [&str; 12] = [
    "repodata", "os", "tree", "packages", "x86_64", "aarch64", "ppc64le", "s390x", "i686", "i386", "noarch",
    ".",
];

/// A package by its full name: name, `[epoch:]version-release`, architecture.
type FullName = (String, String, String);

/// Reads the repository at a path, or all repositories below it.
///
/// # Errors
/// What [`super::read`] says.
pub(super) fn read(path: &Path, id: &str, options: &ReadOptions<'_>) -> Result<Vec<ChannelInput>> {
    let found = match path.is_dir() {
        true => files::files_in(path, options.limits, |name| name == REPOMD)?.0,
        false => vec![FoundFile { path: path.to_path_buf(), below: String::new() }],
    };
    if found.is_empty() {
        return Err(Error::not_found("a repomd.xml"));
    }
    found.iter().map(|file| one(file, path, id, options).at(|| file.below.clone())).collect()
}

fn one(file: &FoundFile, named: &Path, id: &str, options: &ReadOptions<'_>) -> Result<ChannelInput> {
    let root = root_of(&file.path);
    let text = BufReader::with_capacity(BUFFER_BYTES, files::open(&file.path)?);
    let repomd = repomd::read(&mut { text }, options.limits)?;
    let mut repository = Repository { root, repomd: &repomd, options, digest: DigestOfParts::default() };

    let mut streams: BTreeMap<FullName, String> = BTreeMap::new();
    let mut notes = Vec::new();
    repository.file("modules", &mut |stream| modules(stream, options, &mut streams, &mut notes))?;
    let mut packages = Vec::new();
    if !repository.file("primary", &mut |stream| primary(stream, options, &streams, &mut packages))? {
        return Err(missing_primary(&repomd));
    }
    let mut advisories = Vec::new();
    let names = Names::of(&packages, &streams);
    let has_advisories = repository
        .file("updateinfo", &mut |s| advisories_of(s, options, &names, &mut advisories, &mut notes))?;
    if !has_advisories {
        notes.push("it has no updateinfo: versions are dated by their builds".to_owned());
    }
    advisories.sort_unstable();
    advisories.dedup();
    let mut packages: Vec<Offer> =
        packages.into_iter().map(|package| Offer { package, phased_percent: None }).collect();
    packages.sort_unstable();
    packages.dedup();

    let arch = native_arch(&packages);
    if let (Some(arch), Some(said)) = (&arch, options.platform)
        && *arch != said.arch
    {
        return Err(Error::config(format!("it is for {arch}, and you said {}", said.arch)));
    }
    let suite = name_of(named, &repository.root);
    let taken_at = names::taken_at(repomd.made_at(), options.taken_at)?;
    let below = below(named, &repository.root);
    Ok(ChannelInput {
        id: if below.is_empty() { id.to_owned() } else { format!("{id}#{below}") },
        kind: ChannelKind::RpmRepository,
        platform: platform(options.platform, &packages, arch),
        lists_all: taken_at.is_some() && suite.is_some(),
        whole_components: Vec::new(),
        suite,
        taken_at,
        valid_until: None,
        digest: repository.digest.finish(),
        packages,
        releases: Vec::new(),
        advisories,
        notes,
    })
}

/// The directory that locations in a `repomd.xml` start from.
fn root_of(repomd: &Path) -> PathBuf {
    let directory = repomd.parent().unwrap_or(Path::new(""));
    match directory.file_name().is_some_and(|name| name == "repodata") {
        true => directory.parent().unwrap_or(Path::new("")).to_path_buf(),
        false => directory.to_path_buf(),
    }
}

fn below(named: &Path, root: &Path) -> String {
    root.strip_prefix(named).map(|below| below.display().to_string()).unwrap_or_default()
}

/// What a repository is called: the directories below what the user named or, where that is the repository
/// itself, the last directory that says something (`BaseOS` of `9/BaseOS/x86_64/os`).
fn name_of(named: &Path, root: &Path) -> Option<String> {
    let says = |name: &&str| !NAMELESS.contains(&name.to_ascii_lowercase().as_str());
    let below = below(named, root);
    let own: Vec<&str> = below.split('/').filter(|name| !name.is_empty()).filter(says).collect();
    if !own.is_empty() {
        return Some(own.join("/"));
    }
    let whole = fs::canonicalize(root).ok()?;
    let mut components = whole.components().rev().filter_map(|part| part.as_os_str().to_str());
    components.find(|name| says(name)).map(str::to_owned)
}

/// A repository that is being read.
struct Repository<'a> {
    root: PathBuf,
    repomd: &'a Repomd,
    options: &'a ReadOptions<'a>,
    digest: DigestOfParts,
}

impl Repository<'_> {
    /// Reads a file of the metadata to its end, if there is one of this kind.
    fn file(&mut self, kind: &str, take: &mut dyn FnMut(&mut dyn BufRead) -> Result<()>) -> Result<bool> {
        let Some(file) = self.repomd.file(kind)? else { return Ok(false) };
        let path = self.root.join(file.path()?);
        let place = || file.location.clone();
        file.check_stored(&mut files::open(&path).at(place)?).at(place)?;
        let stored = BufReader::with_capacity(BUFFER_BYTES, files::open(&path).at(place)?);
        let mut hashed = files::Hashed::new(repomd::open(file, stored, self.options.limits)?);
        {
            let mut stream = BufReader::with_capacity(BUFFER_BYTES, &mut hashed);
            take(&mut stream).at(place)?;
            // What is behind the last element counts for size and digest.
            std::io::copy(&mut stream, &mut std::io::sink()).at(place)?;
        }
        self.digest.add(kind, &hashed.whole().sha256);
        Ok(true)
    }
}

/// Why a repository cannot be read.
fn missing_primary(repomd: &Repomd) -> Error {
    let is_zchunk = repomd.files.iter().any(|file: &MetadataFile| file.kind == "primary_zck");
    match is_zchunk {
        true => Error::unsupported("a primary in zchunk alone").hint("write it without --zck"),
        false => Error::malformed("repomd", "data", None, "no primary", "one"),
    }
}

/// The module stream of each artifact.
fn modules(
    stream: &mut dyn BufRead,
    options: &ReadOptions<'_>,
    streams: &mut BTreeMap<FullName, String>,
    notes: &mut Vec<String>,
) -> Result<()> {
    let mut flaws = 0;
    modules_yaml::read(stream, options.limits, &mut |document| {
        if let Document::Stream(module) = document? {
            flaws += module.flaw_count;
            let stream = format!("{}:{}", module.name, module.stream);
            let named =
                module.artifacts.into_iter().map(|a| ((a.name, a.evr.to_string(), a.arch), stream.clone()));
            streams.extend(named);
        }
        Ok(())
    })?;
    if flaws > 0 {
        notes.push(format!("modules: {flaws} artifacts are no names of packages"));
    }
    Ok(())
}

/// The binary packages. One that is damaged is an error, because nothing can be said of what it hides.
fn primary(
    stream: &mut dyn BufRead,
    options: &ReadOptions<'_>,
    streams: &BTreeMap<FullName, String>,
    packages: &mut Vec<Package>,
) -> Result<()> {
    let read = rpm_primary::read(stream, options.limits, &mut |package| {
        let package = package?;
        if !matches!(package.arch.as_str(), "src" | "nosrc") {
            packages.push(offered(package, streams));
        }
        Ok(())
    })?;
    read.check()
}

fn offered(package: rpm_primary::Package, streams: &BTreeMap<FullName, String>) -> Package {
    let version = package.evr.to_string();
    let source = match package.source_rpm.as_deref().and_then(source_of_file_name) {
        Some((name, version)) => SourcePackage { name: name.to_owned(), version: version.to_owned() },
        None => SourcePackage { name: package.name.clone(), version: without_epoch(&version).to_owned() },
    };
    let full = (package.name, version, package.arch);
    let stream = streams.get(&full).cloned();
    let (name, version, arch) = full;
    Package {
        ecosystem: Ecosystem::Rpm,
        name,
        arch,
        version,
        source,
        stream,
        purl: String::new(),
        path: ImagePath::root(),
        stratum: StratumId(0),
        origin: package.vendor,
        maintainer: None,
        built_using: Vec::new(),
        state: None,
        installed_at: None,
        built_at: package.built_at,
    }
}

/// What tells of which source a binary package is.
struct Names<'a> {
    by_full_name: BTreeMap<(&'a str, &'a str, &'a str), &'a Package>,
    sources: BTreeMap<&'a str, BTreeSet<&'a str>>,
    streams: &'a BTreeMap<FullName, String>,
}

impl<'a> Names<'a> {
    fn of(packages: &'a [Package], streams: &'a BTreeMap<FullName, String>) -> Self {
        let mut sources: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for package in packages {
            sources.entry(&package.name).or_default().insert(&package.source.name);
        }
        let full = |package: &'a Package| (&*package.name, &*package.version, &*package.arch);
        Names { by_full_name: packages.iter().map(|p| (full(p), p)).collect(), sources, streams }
    }

    /// Source (with its module stream) and source version of a package that an advisory publishes. Where nothing
    /// but the name tells the source, its version is taken for the source's, as it is of nearly all.
    fn source(&self, package: &AdvisoryPackage, collection: &Collection) -> Option<(String, String)> {
        let version = package.evr.to_string();
        let known = self.by_full_name.get(&(&*package.name, &*version, &*package.arch));
        let own = package.src.as_deref().and_then(source_of_file_name);
        let (name, source_version) = match (own, known) {
            (Some((name, version)), _) => (name, version),
            (None, Some(known)) => (&*known.source.name, &*known.source.version),
            (None, None) => {
                let mut names = self.sources.get(&*package.name)?.iter();
                match (names.next(), names.next()) {
                    (Some(name), None) => (*name, without_epoch(&version)),
                    _ => return None,
                }
            }
        };
        let full = (package.name.clone(), version.clone(), package.arch.clone());
        let of_module = collection.module.as_ref().map(|module| format!("{}:{}", module.name, module.stream));
        let stream = self.streams.get(&full).cloned().or(of_module);
        let source = match stream {
            Some(stream) => format!("{name}/{stream}"),
            None => name.to_owned(),
        };
        Some((source, source_version.to_owned()))
    }
}

/// What advisories publish. One that is damaged is told: it takes nothing from the packages.
fn advisories_of(
    stream: &mut dyn BufRead,
    options: &ReadOptions<'_>,
    names: &Names<'_>,
    published: &mut Vec<Published>,
    notes: &mut Vec<String>,
) -> Result<()> {
    let (mut damaged, mut without_source) = (Vec::new(), BTreeSet::new());
    let (mut not_out, mut undated) = (Vec::new(), Vec::new());
    updateinfo::read(stream, options.limits, &mut |advisory| {
        let advisory = match advisory {
            Ok(advisory) => advisory,
            Err(error) => {
                damaged.push(error.to_string());
                return Ok(());
            }
        };
        if advisory.flaw_count > 0 {
            damaged.push(advisory.id.clone());
        }
        if advisory.status.as_deref().is_some_and(is_not_out) {
            not_out.push(advisory.id.clone());
            return Ok(());
        }
        let kept = Advisory {
            id: advisory.id.clone(),
            kind: kind_of(&advisory),
            issued: advisory.dated().map(|(at, _)| at),
            severity: advisory.severity.as_deref().and_then(severity_of),
            reboot_suggested: advisory.suggests.reboot || advisory.packages().any(|p| p.suggests.reboot),
            cves: advisory.cves.clone(),
        };
        if kept.issued.is_none() {
            undated.push(advisory.id.clone());
        }
        for collection in &advisory.collections {
            for package in collection.packages.iter().filter(|p| !matches!(&*p.arch, "src" | "nosrc")) {
                match names.source(package, collection) {
                    Some((source, version)) => published.push(Published {
                        ecosystem: Ecosystem::Rpm,
                        source,
                        version,
                        advisory: kept.clone(),
                    }),
                    None => {
                        without_source.insert(package.name.clone());
                    }
                }
            }
        }
        published.sort_unstable();
        published.dedup();
        Ok(())
    })?;
    let mut note = |names: &[String], one: &str, many: &str| {
        if !names.is_empty() {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            notes.push(format!("{}: {}", count(names.len(), one, many), some_of(&names)));
        }
    };
    note(&damaged, "advisory is damaged", "advisories are damaged");
    note(&not_out, "advisory is not published", "advisories are not published");
    note(&undated, "advisory has no date", "advisories have no date");
    let without_source: Vec<String> = without_source.into_iter().collect();
    note(
        &without_source,
        "package of advisories is in no primary, and nothing tells its source",
        "packages of advisories are in no primary, and nothing tells their sources",
    );
    Ok(())
}

/// Whether an advisory of this status publishes nothing (yet, or any more).
fn is_not_out(status: &str) -> bool {
    let status = status.to_ascii_lowercase();
    ["testing", "pending", "retracted", "retired", "obsolete", "unpushed", "draft"].contains(&status.as_str())
}

fn kind_of(advisory: &updateinfo::Advisory) -> String {
    match advisory.kind {
        AdvisoryKind::Security => "security".to_owned(),
        AdvisoryKind::Bugfix => "bugfix".to_owned(),
        _ => advisory.kind_text.to_ascii_lowercase(),
    }
}

fn severity_of(text: &str) -> Option<String> {
    let text = text.trim().to_ascii_lowercase();
    (!text.is_empty() && !["none", "unspecified", "unknown", "n/a"].contains(&text.as_str())).then_some(text)
}

/// The architecture that most packages have, those for any and of 32 bits on 64 aside.
fn native_arch(packages: &[Offer]) -> Option<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for offer in packages {
        let arch = offer.package.arch.as_str();
        if !matches!(arch, "noarch" | "") {
            *counts.entry(arch).or_default() += 1;
        }
    }
    let has_other = counts.keys().any(|arch| !is_of_32_bits(arch));
    counts.retain(|arch, _| !has_other || !is_of_32_bits(arch));
    counts
        .into_iter()
        .max_by_key(|(arch, count)| (*count, std::cmp::Reverse(*arch)))
        .map(|(arch, _)| arch.to_owned())
}

fn is_of_32_bits(arch: &str) -> bool {
    matches!(arch, "i386" | "i486" | "i586" | "i686" | "athlon" | "armv7hl" | "s390" | "ppc")
}

/// The platform: what the user said, else the distribution that its own release package names.
fn platform(said: Option<&Platform>, packages: &[Offer], arch: Option<String>) -> Option<Platform> {
    if let Some(said) = said {
        return Some(said.clone());
    }
    let of = |offer: &Offer| {
        let (_, os) = RELEASE_PACKAGES.iter().find(|(name, _)| *name == offer.package.name)?;
        let version = without_epoch(&offer.package.version);
        let release: String = version.chars().take_while(char::is_ascii_digit).collect();
        (!release.is_empty()).then(|| ((*os).to_owned(), release))
    };
    let found: BTreeSet<(String, String)> = packages.iter().filter_map(of).collect();
    let mut found = found.into_iter();
    match (found.next(), found.next()) {
        (Some((os, release)), None) => Some(Platform { os, release, arch: arch? }),
        _ => None,
    }
}

/// Packages whose version is that of the distribution.
const RELEASE_PACKAGES: [(&str, &str); 8] = [
    ("redhat-release", "rhel"),
    ("rocky-release", "rocky"),
    ("almalinux-release", "almalinux"),
    ("centos-stream-release", "centos"),
    ("oraclelinux-release", "ol"),
    ("fedora-release-common", "fedora"),
    ("azurelinux-release", "azurelinux"),
    ("mariner-release", "mariner"),
];
