//! pacman: the local database of Arch Linux and its kin (Manjaro, CachyOS, SteamOS, Artix, EndeavourOS), one folder
//! a package; for ownership also the files in it.
//!
//! Each `desc` is read by itself, so a damaged one is a gap and its neighbours are listed. A folder without one is
//! told where the facts are joined ([`mod@super::assemble`]).

use crate::bytes::read_all;
use crate::error::Result;
use crate::format::pacman::{self, Record};
use crate::model::version::alpm;
use crate::model::{Ecosystem, ImagePath, Package, SourcePackage, StratumId};
use crate::stratum::{Entry, Want};

use super::fact::PackageName;
use super::{Collector, Fact, FileView, Needs, Out};

/// Reads pacman's local database.
pub(super) struct Pacman;

/// Where local databases are kept: by default; by images whose `/var` is not theirs (bootc and ostree), in the
/// three places that are in use; by SteamOS; by AshOS.
pub(super) const PLACES: [&str; 6] = [
    "var/lib/pacman/local",
    "usr/lib/sysimage/lib/pacman/local",
    "usr/lib/sysimage/pacman/local",
    "usr/lib/pacman/local",
    "usr/lib/holo/pacmandb/local",
    "usr/share/ast/db/local",
];

/// Where an administrator says that the database is elsewhere.
const CONFIG: &str = "etc/pacman.conf";

const ALL_PLACES: [&str; 7] = [PLACES[0], PLACES[1], PLACES[2], PLACES[3], PLACES[4], PLACES[5], CONFIG];

/// The files that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Desc,
    Files,
    Version,
    Config,
}

fn role(path: &ImagePath) -> Option<Role> {
    if path.as_bytes() == CONFIG.as_bytes() {
        return Some(Role::Config);
    }
    let directory = path.parent();
    match path.name() {
        b"ALPM_DB_VERSION" => is_place(&directory).then_some(Role::Version),
        b"desc" => is_place(&directory.parent()).then_some(Role::Desc),
        b"files" => is_place(&directory.parent()).then_some(Role::Files),
        _ => None,
    }
}

fn is_place(path: &ImagePath) -> bool {
    PLACES.iter().any(|place| path.as_bytes() == place.as_bytes())
}

/// The database that a file is of.
pub(super) fn database(path: &ImagePath) -> ImagePath {
    match role(path) {
        Some(Role::Desc | Role::Files) => path.parent().parent(),
        Some(Role::Version) => path.parent(),
        Some(Role::Config) | None => path.clone(),
    }
}

impl Collector for Pacman {
    fn id(&self) -> &'static str {
        "pacman"
    }

    fn version(&self) -> u32 {
        1
    }

    fn serves(&self) -> Needs {
        Needs::OS_PACKAGES
    }

    fn places(&self) -> &'static [&'static str] {
        &ALL_PLACES
    }

    fn want(&self, entry: &Entry) -> Want {
        match role(&entry.path) {
            Some(Role::Desc | Role::Version | Role::Config) => Want::Random,
            _ => Want::No,
        }
    }

    fn is_required(&self, path: &ImagePath) -> bool {
        role(path) != Some(Role::Config)
    }

    fn collect(&self, file: &FileView<'_>, out: &mut Out<'_>) -> Result<()> {
        match role(file.path) {
            Some(Role::Desc) => {
                let bytes = read_all(file.content, file.limits.record_bytes)?;
                let record = pacman::desc(&bytes, file.limits)?;
                pacman::check_folder(&record, file.path.parent().name())?;
                if !record.is_terminated {
                    out.gap("no newline at the end: the record is cut off");
                }
                let package = package(record, out);
                out.fact(Fact::Packages(vec![package]));
                Ok(())
            }
            Some(Role::Version) => {
                pacman::check_database_version(&read_all(file.content, file.limits.record_bytes)?)
            }
            Some(Role::Config) => {
                let bytes = read_all(file.content, file.limits.record_bytes)?;
                let unread = pacman::database_paths(&bytes).find(|path| !is_place(&path.join("local")));
                if let Some(path) = unread {
                    let reason = format!("it keeps pacman's database in {path}, which is not read");
                    out.gap_with(reason, true);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

fn package(record: Record, out: &mut Out<'_>) -> Package {
    if let Err(error) = alpm::check(&record.version) {
        out.gap(format!("package `{}`: {error}", record.name));
    }
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
        installed_at: record.installed_at,
        built_at: record.built_at,
    }
}

/// Reads who owns which file.
pub(super) struct PacmanFiles;

impl Collector for PacmanFiles {
    fn id(&self) -> &'static str {
        "pacman-files"
    }

    fn version(&self) -> u32 {
        1
    }

    fn serves(&self) -> Needs {
        Needs::OWNERSHIP
    }

    fn places(&self) -> &'static [&'static str] {
        &PLACES
    }

    fn want(&self, entry: &Entry) -> Want {
        if role(&entry.path) == Some(Role::Files) { Want::Random } else { Want::No }
    }

    fn is_required(&self, _path: &ImagePath) -> bool {
        false
    }

    fn collect(&self, file: &FileView<'_>, out: &mut Out<'_>) -> Result<()> {
        let folder = file.path.parent();
        let Some((name, _)) = pacman::folder_parts(folder.name()) else { return Ok(()) };
        let name = String::from_utf8_lossy(name).into_owned();
        let bytes = read_all(file.content, file.limits.package_db_bytes)?;
        let files = pacman::files(&bytes, file.limits)?;
        if !files.is_terminated {
            out.gap("no newline at the end: the list is cut off");
        }
        out.fact(Fact::Files { package: PackageName { name, arch: None }, paths: files.paths });
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
            Pacman.want(&Entry { path: ImagePath::from(path), node: Node::File(Meta::default()) }) != Want::No
        };
        for path in [
            "var/lib/pacman/local/bash-5.2.037-1/desc",
            "var/lib/pacman/local/ALPM_DB_VERSION",
            "usr/lib/holo/pacmandb/local/bash-5.2.037-1/desc",
            "usr/lib/sysimage/lib/pacman/local/bash-5.2.037-1/desc",
            "etc/pacman.conf",
        ] {
            assert!(want(path), "{path}");
        }
        for path in [
            "var/lib/pacman/local/bash-5.2.037-1/files",
            "var/lib/pacman/local/bash-5.2.037-1/x/desc",
            "var/lib/pacman/sync/core.db",
            "srv/var/lib/pacman/local/bash-5.2.037-1/desc",
            "var/lib/pacman/local/desc",
        ] {
            assert!(!want(path), "{path}");
        }
    }
}
