//! apk: the database of installed packages, of Alpine and its kin (Wolfi, Chainguard, postmarketOS, Adélie,
//! OpenWrt from 25.12 on); for ownership also the files in it.
//!
//! apk reads a database whole or not at all, and takes a missing one as empty; here a damaged record is a gap
//! and its neighbours are listed. Whether records are missing is told by what apk keeps beside them: a database
//! ends in an empty line, `triggers` names packages by their identity, and `/etc/apk/world` names what has to
//! be installed.
//!
//! Packages that were made up on the system (`apk add --virtual .build-deps gcc`) own no file and are published
//! by nobody. `apk info` lists them; an inventory does not.

use std::collections::BTreeSet;

use crate::bytes::{ReadAt, read_all};
use crate::error::Result;
use crate::format::apk::{self, Record};
use crate::limits::Limits;
use crate::model::version::apk::check;
use crate::model::{Ecosystem, ImagePath, Package, SourcePackage, StratumId};
use crate::stratum::{Entry, Want};

use super::fact::PackageName;
use super::{Collector, Fact, FileView, Needs, Out};

/// Reads apk's database.
pub(super) struct Apk;

/// Before and after Alpine merged `/lib` into `/usr/lib`; and what is beside it and tells what is missing.
const PLACES: &[&str] = &["lib/apk", "usr/lib/apk", WORLD];
const WORLD: &str = "etc/apk/world";

/// The databases: of the root, and of volumes that apk 3 manages beside it.
const DATABASES: [&str; 4] = [
    "lib/apk/db/installed",
    "usr/lib/apk/db/installed",
    "lib/apk/db-uvol/installed",
    "usr/lib/apk/db-uvol/installed",
];

fn is_database(path: &ImagePath) -> bool {
    DATABASES.iter().any(|database| path.as_bytes() == database.as_bytes())
}

impl Collector for Apk {
    fn id(&self) -> &'static str {
        "apk"
    }

    fn version(&self) -> u32 {
        1
    }

    fn serves(&self) -> Needs {
        Needs::OS_PACKAGES
    }

    fn places(&self) -> &'static [&'static str] {
        PLACES
    }

    fn companions(&self, path: &ImagePath) -> Vec<ImagePath> {
        let directory = path.parent();
        match directory.name() {
            b"db" => vec![directory.join("triggers"), ImagePath::from(WORLD)],
            _ => Vec::new(),
        }
    }

    fn want(&self, entry: &Entry) -> Want {
        if is_database(&entry.path) { Want::Random } else { Want::No }
    }

    fn is_required(&self, path: &ImagePath) -> bool {
        path.as_bytes() != WORLD.as_bytes()
    }

    fn collect(&self, file: &FileView<'_>, out: &mut Out<'_>) -> Result<()> {
        let records = records(file, out)?;
        for conflict in apk::conflicts(&records) {
            out.gap(conflict.to_string());
        }
        for (path, content) in file.companions {
            missing(path, *content, &records, file.limits, out)?;
        }
        let real = records.into_iter().filter(|record| !record.is_virtual);
        let packages = real.map(|record| package(record, out)).collect();
        out.fact(Fact::Packages(packages));
        Ok(())
    }
}

/// The good records; each bad one, and an end that is none, becomes a gap.
fn records(file: &FileView<'_>, out: &mut Out<'_>) -> Result<Vec<Record>> {
    let bytes = read_all(file.content, file.limits.package_db_bytes)?;
    let mut good: Vec<Record> = Vec::new();
    for record in apk::records(&bytes, file.limits) {
        match (record, good.last()) {
            (Ok(record), _) => good.push(record),
            (Err(error), Some(before)) => out.gap(format!("after package `{}`: {error}", before.name)),
            (Err(error), None) => out.gap(error.to_string()),
        }
    }
    if let Some(last) = good.last().filter(|last| !last.is_terminated) {
        out.gap(format!(
            "package `{}`: line {}: no empty line ends this record, which is the last: the file is cut off",
            last.name, last.line
        ));
    }
    Ok(good)
}

/// Tells what a file beside the database names and no record has.
fn missing(
    path: &ImagePath,
    content: &dyn ReadAt,
    records: &[Record],
    limits: &Limits,
    out: &mut Out<'_>,
) -> Result<()> {
    let bytes = read_all(content, limits.package_db_bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let (missing, what): (BTreeSet<&str>, _) = if path.as_bytes() == WORLD.as_bytes() {
        let known: BTreeSet<&str> = records
            .iter()
            .flat_map(|record| [record.name.as_str()].into_iter().chain(record.provided_names()))
            .collect();
        (
            apk::world(&text).filter(|name| !known.contains(name)).collect(),
            "packages that should be installed",
        )
    } else {
        let known: BTreeSet<&str> = records.iter().filter_map(|record| record.checksum.as_deref()).collect();
        let named = text.lines().filter_map(|line| line.split_ascii_whitespace().next());
        (named.filter(|checksum| !known.contains(checksum)).collect(), "triggers of packages")
    };
    if !missing.is_empty() {
        let some: Vec<&str> = missing.iter().copied().take(3).collect();
        let more = if missing.len() > some.len() { ", …" } else { "" };
        let reason = format!("{} {what} are in no record: {}{more}", missing.len(), some.join(", "));
        out.gap_at(path.to_string(), reason, true);
    }
    Ok(())
}

fn package(record: Record, out: &mut Out<'_>) -> Package {
    if let Err(error) = check(&record.version) {
        out.gap(format!("package `{}`: line {}: {error}", record.name, record.line));
    }
    if record.flags.contains('f') {
        let reason = format!(
            "{} {} has broken files: which version they are of is not known",
            record.name, record.version
        );
        out.gap_with(reason, false);
    }
    let tag = record.repository_tag.as_ref().map(|tag| format!("from @{tag}"));
    let state: Vec<String> = record.remark().into_iter().chain(tag).collect();
    let source = record.origin.unwrap_or_else(|| record.name.clone());
    Package {
        ecosystem: Ecosystem::Apk,
        state: (!state.is_empty()).then(|| state.join(", ")),
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

/// Reads who owns which file.
pub(super) struct ApkFiles;

impl Collector for ApkFiles {
    fn id(&self) -> &'static str {
        "apk-files"
    }

    fn version(&self) -> u32 {
        1
    }

    fn serves(&self) -> Needs {
        Needs::OWNERSHIP
    }

    fn places(&self) -> &'static [&'static str] {
        &["lib/apk", "usr/lib/apk"]
    }

    fn want(&self, entry: &Entry) -> Want {
        Apk.want(entry)
    }

    fn is_required(&self, _path: &ImagePath) -> bool {
        false
    }

    fn collect(&self, file: &FileView<'_>, out: &mut Out<'_>) -> Result<()> {
        let bytes = read_all(file.content, file.limits.package_db_bytes)?;
        for owned in apk::files(&bytes, file.limits) {
            match owned {
                Ok(owned) => out.fact(Fact::Files {
                    package: PackageName { name: owned.package, arch: None },
                    paths: owned.paths.into_iter().map(|owned| owned.path).collect(),
                }),
                Err(error) => out.gap(error.to_string()),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stratum::{Meta, Node};

    #[test]
    fn databases_are_known_by_path() {
        let want = |path: &str| {
            Apk.want(&Entry { path: ImagePath::from(path), node: Node::File(Meta::default()) }) != Want::No
        };
        assert!(want("lib/apk/db/installed") && want("usr/lib/apk/db/installed"));
        assert!(!want("lib/apk/db/installed.new") && !want("srv/lib/apk/db/installed"));
        assert!(!want("lib/apk/db/triggers") && !want("etc/apk/world"));
    }
}
