//! dpkg: `status`, the updates that are not folded into it yet, `status.d` of distroless images; for ownership
//! also file lists, digests and diversions.

use crate::bytes::read_all;
use crate::error::Result;
use crate::format::dpkg::{self, Kind, Record};
use crate::limits::Limits;
use crate::model::{Ecosystem, ImagePath, Package, StratumId};
use crate::stratum::{Entry, Want};

use super::fact::{Amendment, Diversion, PackageName};
use super::{Collector, Fact, FileView, Needs, Out};

/// Reads dpkg's admin directory.
pub(super) struct Dpkg;

/// Of `info` only the names are looked at.
const PLACES: &[&str] =
    &["var/lib/dpkg/status", "var/lib/dpkg/status.d", "var/lib/dpkg/updates", "var/lib/dpkg/info"];

/// The files of the admin directory that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Status,
    StatusD,
    Update,
    Diversions,
    List,
    Checksums,
}

fn role(path: &ImagePath) -> Option<Role> {
    let below = path.as_bytes().strip_prefix(b"var/lib/dpkg/")?;
    let text = std::str::from_utf8(below).ok()?;
    match text.split_once('/') {
        None => match text {
            "status" => Some(Role::Status),
            "diversions" => Some(Role::Diversions),
            _ => None,
        },
        Some((_, name)) if name.contains('/') => None,
        // Distroless images keep one stanza a file, and the package's digests beside it.
        Some(("status.d", name)) if name.ends_with(".md5sums") => Some(Role::Checksums),
        Some(("status.d", name)) => dpkg::is_status_d_name(name.as_bytes()).then_some(Role::StatusD),
        Some(("updates", name)) => dpkg::is_update_name(name.as_bytes()).then_some(Role::Update),
        Some(("info", name)) => match dpkg::info_name(name.as_bytes())?.kind {
            "list" => Some(Role::List),
            "md5sums" => Some(Role::Checksums),
            _ => None,
        },
        _ => None,
    }
}

impl Collector for Dpkg {
    fn id(&self) -> &'static str {
        "dpkg"
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

    fn want(&self, entry: &Entry) -> Want {
        match role(&entry.path) {
            Some(Role::Status | Role::StatusD | Role::Update) => Want::Random,
            _ => Want::No,
        }
    }

    fn collect(&self, file: &FileView<'_>, out: &mut Out<'_>) -> Result<()> {
        match role(file.path) {
            Some(Role::Status) => packages(file, Kind::Status, out),
            Some(Role::StatusD) => packages(file, Kind::StatusD, out),
            Some(Role::Update) => amendments(file, out),
            _ => Ok(()),
        }
    }
}

/// Reads who owns which file: lists, digests, diversions.
pub(super) struct DpkgFiles;

impl Collector for DpkgFiles {
    fn id(&self) -> &'static str {
        "dpkg-files"
    }

    fn version(&self) -> u32 {
        1
    }

    fn serves(&self) -> Needs {
        Needs::OWNERSHIP
    }

    fn places(&self) -> &'static [&'static str] {
        &["var/lib/dpkg/info", "var/lib/dpkg/diversions", "var/lib/dpkg/status.d"]
    }

    fn want(&self, entry: &Entry) -> Want {
        match role(&entry.path) {
            Some(Role::List | Role::Checksums | Role::Diversions) => Want::Random,
            _ => Want::No,
        }
    }

    fn collect(&self, file: &FileView<'_>, out: &mut Out<'_>) -> Result<()> {
        let bytes = read_all(file.content, file.limits.package_db_bytes)?;
        let Some(package) = package_name(file.path) else { return Ok(()) };
        match role(file.path) {
            Some(Role::List) => {
                let paths = good(dpkg::list(&bytes, file.limits), out);
                out.fact(Fact::Files { package, paths });
            }
            Some(Role::Checksums) => {
                let sums = good(dpkg::md5sums(&bytes, file.limits), out);
                let md5 = sums.into_iter().map(|sum| (sum.path, sum.md5)).collect();
                out.fact(Fact::Checksums { package, md5 });
            }
            Some(Role::Diversions) => {
                let diversions = good(dpkg::diversions(&bytes, file.limits), out);
                let diversions = diversions
                    .into_iter()
                    .map(|d| Diversion { from: d.from, to: d.to, by: d.package })
                    .collect();
                out.fact(Fact::Diversions(diversions));
            }
            _ => {}
        }
        Ok(())
    }

    fn is_required(&self, _path: &ImagePath) -> bool {
        false
    }
}

/// The good items; each bad one becomes a gap.
fn good<T>(items: impl Iterator<Item = Result<T>>, out: &mut Out<'_>) -> Vec<T> {
    items.filter_map(|item| item.map_err(|error| out.gap(error.to_string())).ok()).collect()
}

/// The package that a file of `info` or `status.d` is of; for `diversions` any name does.
fn package_name(path: &ImagePath) -> Option<PackageName> {
    if path.name() == b"diversions" {
        return Some(PackageName { name: String::new(), arch: None });
    }
    let name = dpkg::info_name(path.name())?;
    Some(PackageName { name: name.package.into(), arch: name.architecture.map(Into::into) })
}

/// A database: damaged records are gaps, their good neighbours are listed.
fn packages(file: &FileView<'_>, kind: Kind, out: &mut Out<'_>) -> Result<()> {
    let records = read(file, kind, out)?;
    for conflict in dpkg::conflicts(&records) {
        out.gap(conflict.to_string());
    }
    let installed = records.into_iter().filter(Record::is_installed);
    let packages = installed.map(|record| package(record, out)).collect();
    out.fact(Fact::Packages(packages));
    Ok(())
}

fn amendments(file: &FileView<'_>, out: &mut Out<'_>) -> Result<()> {
    let records = read(file, Kind::Update, out)?;
    let changes = records
        .into_iter()
        .map(|record| Amendment {
            ecosystem: Ecosystem::Deb,
            name: record.package.clone(),
            arch: record.architecture.clone(),
            is_multi_arch_same: record.is_multi_arch_same,
            package: record.is_installed().then(|| package(record, out)),
        })
        .collect();
    out.fact(Fact::Amendments(changes));
    Ok(())
}

fn read(file: &FileView<'_>, kind: Kind, out: &mut Out<'_>) -> Result<Vec<Record>> {
    let limits: &Limits = file.limits;
    let bytes = read_all(file.content, limits.package_db_bytes)?;
    Ok(good(dpkg::records(&bytes, kind, limits), out))
}

fn package(record: Record, out: &mut Out<'_>) -> Package {
    if record.state == dpkg::State::HalfInstalled {
        let reason = format!(
            "{} {} is half installed: which version its files are of is not known",
            record.package, record.version
        );
        out.gap_with(reason, false);
    }
    Package {
        ecosystem: Ecosystem::Deb,
        state: record.remark(),
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
