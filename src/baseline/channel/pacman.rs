//! Sync databases of pacman: `core.db`, `extra.db.tar.gz`, `multilib.files`, as repositories publish them
//! (`repo-add`) and as a host keeps them (`/var/lib/pacman/sync`); and trees of them.
//!
//! One is a tar archive with a folder a package, `NAME-VERSION/desc`. It lists one version of each package and all
//! packages of its repository.
//!
//! It is from when it was made: the newest time of a member, because `repo-add` keeps those of what was there
//! before. A time before the newest build is not believed; then the user has to say it.

use std::collections::BTreeSet;
use std::io::BufRead;
use std::path::Path;

use super::changelogs::{count, some_of};
use super::files::{self, FoundFile, Whole};
use super::names::{self, Named};
use super::{ChannelInput, ChannelKind, Offer, ReadOptions};
use crate::archive::tar::{MemberKind, TarReader};
use crate::error::{Error, Result, ResultExt as _, quoted};
use crate::format::pacman::{self, Record};
use crate::limits::Limits;
use crate::model::version::alpm;
use crate::model::{Ecosystem, ImagePath, Package, SourcePackage, StratumId, Time};

/// The repository that a file is named after: `core` of `core.db`, `core.db.tar.gz`, `core.files`.
fn repository(name: &[u8]) -> Option<&str> {
    let name = str::from_utf8(name).ok()?;
    let (repository, rest) = name.split_once('.')?;
    let rest = rest.strip_prefix("db").or_else(|| rest.strip_prefix("files"))?;
    let is_archive =
        rest.is_empty() || rest.strip_prefix(".tar").is_some_and(|packed| !packed.contains(".sig"));
    (is_archive && !repository.is_empty()).then_some(repository)
}

/// Whether a file of this name can be a sync database.
pub(super) fn is_named_database(name: &[u8]) -> bool {
    repository(name).is_some()
}

/// Whether inflated bytes start as one: a tar whose first member is a package's folder or its record.
pub(super) fn starts_as_database(head: &[u8]) -> bool {
    let name = head.get(..100).unwrap_or_default().split(|b| *b == 0).next().unwrap_or_default();
    let folder = name.split(|b| *b == b'/').next().unwrap_or_default();
    let is_tar = head.first_chunk().is_some_and(crate::archive::tar::looks_like_header);
    is_tar && folder.len() < name.len() && pacman::folder_parts(folder).is_some()
}

/// Reads a database, or all below a directory.
///
/// # Errors
/// As [`super::read`] says.
pub(super) fn read(path: &Path, id: &str, options: &ReadOptions<'_>) -> Result<Vec<ChannelInput>> {
    let (found, others) = match path.is_dir() {
        true => files::files_in(path, options.limits, is_named_database)?,
        false => (vec![FoundFile { path: path.to_path_buf(), below: String::new() }], 0),
    };
    let is_one = found.len() == 1;
    let mut inputs = Vec::new();
    let mut passed_over = 0_usize;
    for file in &found {
        match one(file, id, is_one, options).at(|| file.below.clone())? {
            Some(input) => inputs.push(input),
            None => passed_over = passed_over.saturating_add(1),
        }
    }
    let Some(first) = inputs.first_mut() else {
        return Err(Error::not_found("a database for this platform"));
    };
    for (number, what) in [
        (passed_over, "databases of other architectures"),
        (usize::try_from(others).unwrap_or(usize::MAX), "other files"),
    ] {
        if number > 0 {
            first.notes.push(format!("{number} {what} passed over"));
        }
    }
    inputs.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(inputs)
}

fn one(file: &FoundFile, id: &str, is_one: bool, options: &ReadOptions<'_>) -> Result<Option<ChannelInput>> {
    let ((records, made_at), whole) =
        files::inflate(&file.path, options.limits, |stream| archive(stream, options.limits))?;
    let archs: BTreeSet<&str> = records
        .iter()
        .map(|record| record.arch.as_str())
        .filter(|arch| !matches!(*arch, "any" | ""))
        .collect();
    if let [first, second, ..] = archs.iter().copied().collect::<Vec<&str>>().as_slice() {
        let what = format!("packages for {first} and for {second}");
        return Err(Error::malformed("sync database", "ARCH", None, what, "one architecture and `any`"));
    }
    let arch = archs.first().map(|arch| (*arch).to_owned());
    if let (Some(said), Some(arch)) = (options.platform, &arch)
        && said.arch != *arch
    {
        return match is_one {
            true => Err(Error::config(format!("it is for {arch}, and you said {}", said.arch))),
            false => Ok(None),
        };
    }
    let arch = arch.or_else(|| options.platform.map(|said| said.arch.clone()));
    let by_arch =
        |record: &&Record| record.packager.as_deref().is_some_and(|p| p.ends_with("@archlinux.org>"));
    let is_of_arch = records.iter().filter(by_arch).count().saturating_mul(2) > records.len();
    let named = Named {
        // Repositories of others are called the same; who built the packages tells.
        release: is_of_arch.then(|| ("arch".to_owned(), "rolling".to_owned())),
        is_distributions_own: false,
        suite: repository(files::name_of(&file.path)).map(str::to_owned),
    };
    let (taken_at, mut notes) = taken_at(&records, made_at, options.taken_at)?;
    let odd = records.iter().filter(|record| alpm::check(&record.version).is_err());
    let odd: Vec<String> = odd.map(|record| format!("{} {}", record.name, record.version)).collect();
    if !odd.is_empty() {
        let names: Vec<&str> = odd.iter().map(String::as_str).collect();
        let what = count(odd.len(), "version has no total order", "versions have no total order");
        notes.push(format!("{what}, passed over: {}", some_of(&names)));
    }
    let sound = records.into_iter().filter(|record| alpm::check(&record.version).is_ok());
    let mut packages: Vec<Offer> =
        sound.map(|record| Offer { package: package(record), phased_percent: None }).collect();
    packages.sort_unstable();
    packages.dedup();
    Ok(Some(ChannelInput {
        id: if file.below.is_empty() { id.to_owned() } else { format!("{id}#{}", file.below) },
        kind: ChannelKind::PacmanSync,
        platform: arch.and_then(|arch| names::platform(&named, &arch, options.platform)),
        lists_all: taken_at.is_some() && named.suite.is_some() && odd.is_empty(),
        whole_components: Vec::new(),
        suite: named.suite,
        taken_at,
        valid_until: None,
        digest: whole.sha256,
        packages,
        releases: Vec::new(),
        advisories: Vec::new(),
        notes,
    }))
}

/// When a database is from, and a note where it cannot be told.
fn taken_at(
    records: &[Record],
    made_at: Option<Time>,
    said: Option<Time>,
) -> Result<(Option<Time>, Vec<String>)> {
    let newest = records.iter().filter_map(|record| record.built_at).max();
    let made_at = made_at.filter(|made_at| newest.is_none_or(|newest| newest <= *made_at));
    if made_at.is_none()
        && let (Some(newest), Some(said)) = (newest, said)
    {
        names::taken_at(Some(newest), Some(said))?;
    }
    let taken_at = names::taken_at(made_at, said)?;
    let mut notes = Vec::new();
    if taken_at.is_none() {
        let after = newest.map(|newest| format!(", only that it was after {newest}")).unwrap_or_default();
        notes.push(format!("nothing says when the database was made{after}"));
    }
    Ok((taken_at, notes))
}

/// The records of a database, and the newest time of a member. The first that is damaged is an error.
fn archive(stream: &mut dyn BufRead, limits: &Limits) -> Result<(Vec<Record>, Option<Time>)> {
    let mut tar = TarReader::new(Whole(stream), limits);
    let (mut records, mut made_at) = (Vec::new(), None);
    let mut folders = BTreeSet::new();
    while let Some(member) = tar.next_member()? {
        let seconds = member.mtime_unix.and_then(|seconds| i64::try_from(seconds).ok());
        made_at = made_at.max(seconds.and_then(Time::from_unix));
        let path = ImagePath::new(&member.path);
        let folder = if path.parent().is_root() { path.clone() } else { path.parent() };
        folders.insert(folder.clone());
        if member.kind != MemberKind::File || path.name() != b"desc" {
            continue;
        }
        let bytes = files::tar_data(&mut tar, member.size_bytes, limits.record_bytes)?;
        let record = pacman::desc(&bytes, limits).and_then(|record| {
            pacman::check_folder(&record, folder.as_bytes())?;
            Ok(record)
        });
        records.push(record.at(|| format!("{path}"))?);
        limits.records.check(crate::bytes::size_of_len(records.len()))?;
    }
    if records.len() != folders.len() || records.is_empty() {
        let found = format!("{} records in {} folders", records.len(), folders.len());
        let error =
            Error::malformed("sync database", "records", None, found, "one in each folder, and one at least");
        return Err(error.hint("the database is cut off, or none; fetch it again"));
    }
    let mut names = BTreeSet::new();
    if let Some(twice) = records.iter().find(|record| !names.insert(&record.name)) {
        let found = format!("{} twice", quoted(&twice.name));
        return Err(Error::malformed("sync database", "NAME", None, found, "each package once"));
    }
    Ok((records, made_at))
}

fn package(record: Record) -> Package {
    Package {
        ecosystem: Ecosystem::Alpm,
        source: SourcePackage {
            name: record.base.unwrap_or_else(|| record.name.clone()),
            version: record.version.clone(),
        },
        name: record.name,
        arch: record.arch,
        version: record.version,
        stream: None,
        purl: String::new(),
        path: ImagePath::root(),
        stratum: StratumId(0),
        origin: None,
        maintainer: record.packager,
        built_using: Vec::new(),
        state: None,
        installed_at: None,
        built_at: record.built_at,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_are_told_by_name() {
        for (name, want) in [
            ("core.db", Some("core")),
            ("core.db.tar.gz", Some("core")),
            ("extra.files", Some("extra")),
            ("core-testing.db.tar.zst", Some("core-testing")),
            ("core.db.sig", None),
            ("core.db.tar.gz.sig", None),
            ("core.dbx", None),
            ("db", None),
        ] {
            assert_eq!(repository(name.as_bytes()), want, "{name}");
        }
    }
}
