//! Indexes of Alpine repositories: `vX.Y/REPOSITORY/ARCH/APKINDEX.tar.gz` and trees of them, the copies that
//! apk keeps in its cache, and the bare `APKINDEX`.
//!
//! `APKINDEX.tar.gz` is several gzip members that inflate to one tar: the signature, which is not verified,
//! `DESCRIPTION` (`git describe` of the recipes: `v3.16.3-13-g4d933a1fa3`, of edge a tag of eight digits) and
//! `APKINDEX`. An index lists one version of each package and all packages of its repository.
//!
//! It is from when it was made: the time of its member `APKINDEX`, which apk-tools 2 writes. The newest build in
//! it proves less: the index was made after that, so that what it lists need not have been out yet. A time
//! before the newest build, or none, is not believed; then the user has to say it.

use std::collections::BTreeSet;
use std::fs;
use std::io::BufRead;
use std::path::Path;

use super::changelogs::{count, some_of};
use super::files::{self, FoundFile, Whole};
use super::names::{self, Named};
use super::{ChannelInput, ChannelKind, Offer, ReadOptions};
use crate::archive::tar::{MemberKind, TarReader, looks_like_header};
use crate::bytes::read_stream;
use crate::error::{Error, Result, quoted};
use crate::format::apk::{self, Record};
use crate::limits::Limits;
use crate::model::version::apk as order;
use crate::model::{Ecosystem, ImagePath, Package, Sha256, SourcePackage, StratumId, Time};

/// Whether a file of this name is an index: `APKINDEX.tar.gz`, `APKINDEX.a5b2f2a1.tar.gz` in a cache, `APKINDEX`.
pub(super) fn is_named_index(name: &[u8]) -> bool {
    name.strip_prefix(b"APKINDEX").is_some_and(|rest| rest.is_empty() || rest.starts_with(b"."))
}

/// What a path or a description says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Place {
    /// `v3.20` or `edge`.
    branch: Option<String>,
    /// `main`.
    repository: Option<String>,
    arch: Option<String>,
}

/// An index as it was read.
struct Index {
    description: Option<String>,
    /// The time of its member.
    made_at: Option<Time>,
    records: Vec<Record>,
    digest: Sha256,
}

/// Reads an index, or all below a directory.
///
/// # Errors
/// As [`super::read`] says.
pub(super) fn read(path: &Path, id: &str, options: &ReadOptions<'_>) -> Result<Vec<ChannelInput>> {
    let (found, others) = match path.is_dir() {
        true => files::files_in(path, options.limits, is_named_index)?,
        false => (vec![FoundFile { path: path.to_path_buf(), below: String::new() }], 0),
    };
    let is_one = found.len() == 1;
    let of_arch = |file: &FoundFile| {
        let arch = place_of(&file.path).arch;
        is_one || options.platform.is_none_or(|said| arch.is_none_or(|arch| arch == said.arch))
    };
    let (wanted, other_archs): (Vec<FoundFile>, Vec<FoundFile>) = found.into_iter().partition(of_arch);
    let all = files::in_parallel(&wanted, options.threads, |file| {
        one(file, id, is_one, options).map_err(|error| match file.below.as_str() {
            "" => error,
            below => error.at(below),
        })
    })?;
    let passed_over = all.iter().filter(|input| input.is_none()).count();
    let mut inputs: Vec<ChannelInput> = all.into_iter().flatten().collect();
    let Some(first) = inputs.first_mut() else {
        let said = options.platform.map(ToString::to_string).unwrap_or_default();
        return Err(Error::not_found(format!("an index for {said}")));
    };
    for (number, what) in [
        (passed_over, "indexes of other branches"),
        (other_archs.len(), "indexes of other architectures"),
        (usize::try_from(others).unwrap_or(usize::MAX), "other files"),
    ] {
        if number > 0 {
            first.notes.push(format!("{number} {what} passed over"));
        }
    }
    inputs.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(inputs)
}

/// Reads one index; `None` if it is one of several and for another platform than the user said.
fn one(file: &FoundFile, id: &str, is_one: bool, options: &ReadOptions<'_>) -> Result<Option<ChannelInput>> {
    let index = index(&file.path, options.limits)?;
    let path = place_of(&file.path);
    let described = index.description.as_deref().and_then(branch_of);
    if let (Some(branch), Some(described)) = (&path.branch, &described)
        && branch != described
    {
        let what = format!("its description is {}", quoted(index.description.unwrap_or_default()));
        return Err(Error::config(format!("{what}, of {described}, and its path says {branch}"))
            .hint("the index was copied over that of another branch; fetch it again"));
    }
    let branch = path.branch.clone().or(described);
    let arch = arch(&index.records, path.arch.as_deref())?;
    let release = branch.as_deref().map(|branch| branch.strip_prefix('v').unwrap_or(branch));
    let suite = branch.as_deref().map(|branch| match &path.repository {
        Some(repository) => format!("{branch}/{repository}"),
        None => branch.to_owned(),
    });
    let named = Named {
        release: release.map(|release| ("alpine".to_owned(), release.to_owned())),
        is_distributions_own: true,
        suite,
    };
    if let Some(said) = options.platform {
        let contradiction = names::contradiction(&named, said);
        let is_other_arch = arch.as_ref().is_some_and(|arch| *arch != said.arch);
        match contradiction {
            Some(error) if is_one => return Err(error),
            None if is_other_arch && is_one => {
                let of = arch.unwrap_or_default();
                return Err(Error::config(format!("it is for {of}, and you said {}", said.arch)));
            }
            Some(_) => return Ok(None),
            None if is_other_arch => return Ok(None),
            None => {}
        }
    }
    let arch = arch.or_else(|| options.platform.map(|said| said.arch.clone()));
    let (taken_at, mut notes) = taken_at(&index, options.taken_at)?;
    notes.extend(odd_versions(&index.records));
    let mut packages: Vec<Offer> = index
        .records
        .into_iter()
        .map(|record| Offer { package: package(record), phased_percent: None })
        .collect();
    packages.sort_unstable();
    packages.dedup();
    let inside = match (&named.suite, &arch) {
        (Some(suite), Some(arch)) if path.repository.is_some() => format!("{suite}/{arch}"),
        _ => file.below.clone(),
    };
    Ok(Some(ChannelInput {
        id: if inside.is_empty() { id.to_owned() } else { format!("{id}#{inside}") },
        kind: ChannelKind::ApkIndex,
        platform: arch.and_then(|arch| names::platform(&named, &arch, options.platform)),
        lists_all: taken_at.is_some() && path.repository.is_some() && named.suite.is_some(),
        whole_components: Vec::new(),
        suite: named.suite,
        taken_at,
        valid_until: None,
        digest: index.digest,
        packages,
        releases: Vec::new(),
        advisories: Vec::new(),
        notes,
    }))
}

/// A note for versions that apk takes though its rules do not have them: Alpine itself publishes some.
fn odd_versions(records: &[Record]) -> Option<String> {
    let odd = |record: &&Record| order::check(&record.version).is_err();
    let odd: Vec<String> =
        records.iter().filter(odd).map(|record| format!("{} {}", record.name, record.version)).collect();
    let names: Vec<&str> = odd.iter().map(String::as_str).collect();
    let what = count(odd.len(), "version that apk cannot order", "versions that apk cannot order");
    (!odd.is_empty()).then(|| format!("{what}: {}", some_of(&names)))
}

/// When an index is from, and a note where it cannot be told.
fn taken_at(index: &Index, said: Option<Time>) -> Result<(Option<Time>, Vec<String>)> {
    let newest = index.records.iter().filter_map(|record| record.built_at).max();
    let made_at = index.made_at.filter(|made_at| newest.is_none_or(|newest| newest <= *made_at));
    if made_at.is_none()
        && let (Some(newest), Some(said)) = (newest, said)
    {
        names::taken_at(Some(newest), Some(said))?;
    }
    let taken_at = names::taken_at(made_at, said)?;
    let mut notes = Vec::new();
    if taken_at.is_none() {
        let after = newest.map(|newest| format!(", only that it was after {newest}")).unwrap_or_default();
        notes.push(format!("nothing says when the index was made{after}"));
    }
    Ok((taken_at, notes))
}

/// What the last directories of a path say.
fn place_of(path: &Path) -> Place {
    let whole = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let parts: Vec<&str> = whole.iter().rev().skip(1).take(3).filter_map(|part| part.to_str()).collect();
    match parts.as_slice() {
        [arch, repository, branch] if is_branch(branch) => Place {
            branch: Some((*branch).to_owned()),
            repository: Some((*repository).to_owned()),
            arch: Some((*arch).to_owned()),
        },
        [arch, repository, "latest-stable"] => {
            Place { branch: None, repository: Some((*repository).to_owned()), arch: Some((*arch).to_owned()) }
        }
        _ => Place::default(),
    }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// `v3.20`, `edge`.
fn is_branch(name: &str) -> bool {
    let number = name.strip_prefix('v').and_then(|number| number.split_once('.'));
    name == "edge" || number.is_some_and(|(major, minor)| is_digits(major) && is_digits(minor))
}

/// The branch that a description names: `v3.16.3-13-g4d933a1fa3`, `main-v3.16.3…`, `v20240329-1234-gabcdef`.
fn branch_of(description: &str) -> Option<String> {
    let version = description.split('-').find_map(|word| {
        word.strip_prefix('v').filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    })?;
    let mut numbers = version.split(['.', '_']);
    match (numbers.next()?, numbers.next()) {
        (major, Some(minor)) if is_digits(major) && is_digits(minor) => Some(format!("v{major}.{minor}")),
        (tag, None) if tag.len() == 8 && is_digits(tag) => Some("edge".to_owned()),
        _ => None,
    }
}

/// The architecture of an index: the one of its path, which all packages have that are not for any.
fn arch(records: &[Record], of_path: Option<&str>) -> Result<Option<String>> {
    let is_any = |arch: &str| arch.is_empty() || arch == "noarch" || arch == "all";
    let archs: BTreeSet<&str> =
        records.iter().map(|record| record.arch.as_str()).filter(|arch| !is_any(arch)).collect();
    let mut archs = of_path.into_iter().chain(archs.iter().copied().filter(|arch| Some(*arch) != of_path));
    match (archs.next(), archs.next()) {
        (Some(first), Some(second)) => {
            let record = records.iter().find(|record| record.arch == second);
            let place = record.map(|r| format!("line {}: package {}", r.line, quoted(&r.name)));
            let allowed = format!("`{first}` or `noarch`, as the index is for {first}");
            Err(Error::malformed("apk index", "A", None, quoted(second), allowed)
                .hint("the index is of another architecture; fetch it again")
                .at(place.unwrap_or_default()))
        }
        (first, _) => Ok(first.map(str::to_owned)),
    }
}

fn package(record: Record) -> Package {
    let source = record.origin.unwrap_or_else(|| record.name.clone());
    Package {
        ecosystem: Ecosystem::Apk,
        state: None,
        name: record.name,
        arch: record.arch,
        source: SourcePackage { name: source, version: record.version.clone() },
        version: record.version,
        stream: None,
        purl: String::new(),
        path: ImagePath::root(),
        stratum: StratumId(0),
        origin: None,
        maintainer: record.maintainer,
        built_using: Vec::new(),
        installed_at: None,
        built_at: record.built_at,
    }
}

/// Reads an index, in its tar or bare.
fn index(path: &Path, limits: &Limits) -> Result<Index> {
    let (index, whole) = files::inflate(path, limits, |stream| {
        let head = stream.fill_buf()?;
        if head.is_empty() {
            return Err(Error::malformed("apk index", "file", 0, "nothing", "an index"));
        }
        if head.starts_with(b"ADB") {
            return Err(Error::unsupported("the index format of apk-tools 3 (ADB)"));
        }
        match head.first_chunk().is_some_and(looks_like_header) {
            true => archive(stream, limits),
            false => {
                let text = read_stream(stream, limits.package_db_bytes)?;
                Ok((None, None, records(&text, limits)?))
            }
        }
    })?;
    let (description, made_at, records) = index;
    if records.is_empty() {
        return Err(Error::malformed("apk index", "records", None, "none", "at least one package"));
    }
    Ok(Index { description, made_at, records, digest: whole.sha256 })
}

type Parts = (Option<String>, Option<Time>, Vec<Record>);

fn archive(stream: &mut dyn BufRead, limits: &Limits) -> Result<Parts> {
    let mut tar = TarReader::new(Whole(stream), limits);
    let (mut description, mut found) = (None, None);
    while let Some(member) = tar.next_member()? {
        let ceiling = match member.path.as_slice() {
            b"DESCRIPTION" => limits.tar_extension_bytes,
            b"APKINDEX" => limits.package_db_bytes,
            _ => continue,
        };
        if member.kind != MemberKind::File {
            return Err(Error::malformed("apk index", "member", member.data_offset, "no file", "a file"));
        }
        let content = files::tar_data(&mut tar, member.size_bytes, ceiling)?;
        if member.path == b"DESCRIPTION" {
            description = Some(String::from_utf8_lossy(content.trim_ascii()).into_owned());
        } else {
            let seconds = member.mtime_unix.and_then(|seconds| i64::try_from(seconds).ok());
            found = Some((seconds.and_then(Time::from_unix), records(&content, limits)?));
        }
    }
    match found {
        Some((made_at, records)) => Ok((description, made_at, records)),
        None => Err(Error::malformed("apk index", "member", None, "none of that name", "`APKINDEX`")
            .hint("it is no index of a repository")),
    }
}

/// The records of an index; the first that is damaged is an error.
fn records(text: &[u8], limits: &Limits) -> Result<Vec<Record>> {
    let mut all = Vec::new();
    for record in apk::records(text, limits) {
        let record = record?;
        let place = |what: Error| {
            what.at(format!("package {}", quoted(&record.name))).at(format!("line {}", record.line))
        };
        if !record.is_terminated {
            let what = Error::malformed("apk index", "end", None, "no empty line", "one behind every record");
            return Err(place(what.hint("the index is cut off; fetch it again")));
        }
        all.push(record);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn branches_are_told_by_description_and_path() {
        for (description, want) in [
            ("v3.16.3-13-g4d933a1fa3", Some("v3.16")),
            ("main-v3.20.0-1-gabcdef", Some("v3.20")),
            ("v3.23.0_rc1-4-gabcdef", Some("v3.23")),
            ("v20240329-1234-gabcdef", Some("edge")),
            ("my repository", None),
            ("", None),
        ] {
            assert_eq!(branch_of(description).as_deref(), want, "{description}");
        }
        let place = place_of(Path::new("/srv/alpine/v3.20/main/x86_64/APKINDEX.tar.gz"));
        let told = [place.branch, place.repository, place.arch].map(Option::unwrap);
        assert_eq!(told, ["v3.20", "main", "x86_64"]);
        assert_eq!(place_of(Path::new("/srv/os/x86_64/APKINDEX.tar.gz")), Place::default());
        assert!(is_named_index(b"APKINDEX.a5b2f2a1.tar.gz") && !is_named_index(b"APKINDEX2"));
    }
}
