//! rpm: its database in all three formats, wherever distributions keep it, and the manifest that distroless
//! images of Azure Linux keep instead; for ownership also the files in it, for history its changelogs.
//!
//! The records of a database are headers. One that is damaged is a gap, and its good neighbours are listed; a
//! database whose index cannot be followed to its end is a gap as well, so it is never shown as whole.

mod history;

use crate::bytes::{ReadAt, read_all};
use crate::error::Result;
use crate::format::rpm_header::Header;
use crate::format::rpmdb::{self, Beside, Blob};
use crate::format::{rpm_macros, rpm_manifest};
use crate::model::{ImagePath, Package};
use crate::stratum::{Entry, Want};

use super::fact::PackageName;
use super::{Collector, Fact, FileView, Needs, Out};

pub(super) use history::RpmHistory;

/// Reads rpm's database.
pub(super) struct Rpm;

/// Where databases are kept: everywhere until 2021; then by SUSE and Fedora; by ostree.
pub(super) const PLACES: [&str; 3] = ["var/lib/rpm", "usr/lib/sysimage/rpm", "usr/share/rpm"];

/// What a database is called: that of Berkeley DB, of NDB, of SQLite.
const NAMES: [&[u8]; 3] = [b"Packages", b"Packages.db", b"rpmdb.sqlite"];

/// The package list of images without a database.
const MANIFEST: &str = "var/lib/rpmmanifest/container-manifest-2";

/// Where an administrator or a distribution says that the database is elsewhere, in files called `macros` or
/// `macros.*`.
const MACROS: [&str; 2] = ["etc/rpm", "usr/lib/rpm/macros.d"];

const ALL_PLACES: [&str; 6] = [PLACES[0], PLACES[1], PLACES[2], MANIFEST, MACROS[0], MACROS[1]];

/// Whether this is the path of a database.
pub(super) fn is_database(path: &ImagePath) -> bool {
    NAMES.contains(&path.name()) && PLACES.iter().any(|place| path.parent_bytes() == place.as_bytes())
}

fn is_macros(path: &ImagePath) -> bool {
    path.name().strip_prefix(b"macros").is_some_and(|rest| rest.is_empty() || rest.starts_with(b"."))
        && MACROS.iter().any(|place| path.parent_bytes() == place.as_bytes())
}

fn is_manifest(path: &ImagePath) -> bool {
    path.as_bytes() == MANIFEST.as_bytes()
}

/// What SQLite keeps beside a database until it is folded in.
fn companions(path: &ImagePath) -> Vec<ImagePath> {
    let beside = |suffix: &[u8]| path.parent().join([path.name(), suffix].concat());
    match path.name() {
        b"rpmdb.sqlite" => vec![beside(b"-journal"), beside(b"-wal")],
        _ => Vec::new(),
    }
}

impl Collector for Rpm {
    fn id(&self) -> &'static str {
        "rpm"
    }

    fn version(&self) -> u32 {
        2
    }

    fn serves(&self) -> Needs {
        Needs::OS_PACKAGES
    }

    fn places(&self) -> &'static [&'static str] {
        &ALL_PLACES
    }

    fn companions(&self, path: &ImagePath) -> Vec<ImagePath> {
        companions(path)
    }

    fn want(&self, entry: &Entry) -> Want {
        let is_wanted = is_database(&entry.path) || is_manifest(&entry.path) || is_macros(&entry.path);
        if is_wanted { Want::Random } else { Want::No }
    }

    fn collect(&self, file: &FileView<'_>, out: &mut Out<'_>) -> Result<()> {
        if is_macros(file.path) {
            return macros(file, out);
        }
        let mut packages = Vec::new();
        let done = match is_manifest(file.path) {
            true => manifest(file, &mut packages, out),
            false => headers(file, out, &mut |header, _| {
                let rpm = header.package()?;
                if !rpm.is_key() {
                    packages.push(rpm.into_package());
                }
                Ok(())
            }),
        };
        out.fact(Fact::Packages(packages));
        done
    }
}

/// A database that is kept where it is not looked for is a gap.
fn macros(file: &FileView<'_>, out: &mut Out<'_>) -> Result<()> {
    let bytes = read_all(file.content, file.limits.record_bytes)?;
    for path in rpm_macros::database_paths(&bytes) {
        let elsewhere = match path {
            Ok(path) if PLACES.iter().any(|place| path.as_bytes() == place.as_bytes()) => continue,
            Ok(path) => path.to_string(),
            Err(text) => text,
        };
        out.gap_with(format!("it keeps rpm's database in {elsewhere}, which is not read"), true);
    }
    Ok(())
}

/// The rows of a manifest; each bad one becomes a gap.
fn manifest(file: &FileView<'_>, packages: &mut Vec<Package>, out: &mut Out<'_>) -> Result<()> {
    let bytes = read_all(file.content, file.limits.package_db_bytes)?;
    for row in rpm_manifest::rows(&bytes, file.limits) {
        match row {
            Ok(rpm) if rpm.is_key() => {}
            Ok(rpm) => packages.push(rpm.into_package()),
            Err(error) => out.gap(error.to_string()),
        }
    }
    Ok(())
}

/// Hands every header of a database to `take`; what is damaged, and what `take` cannot read, becomes a gap.
fn headers(
    file: &FileView<'_>,
    out: &mut Out<'_>,
    take: &mut dyn FnMut(&Header<'_>, &mut Out<'_>) -> Result<()>,
) -> Result<()> {
    let beside = |suffix: &str| {
        let found = file.companions.iter().find(|(path, _)| path.name().ends_with(suffix.as_bytes()));
        found.map(|(_, content)| *content as &dyn ReadAt)
    };
    let mut each = |blob: Result<Blob<'_>>| {
        let blob = match blob {
            Ok(blob) => blob,
            Err(error) => return out.gap(error.to_string()),
        };
        let told = |name: Option<String>| {
            let name = name.map(|name| format!(" ({name})")).unwrap_or_default();
            format!("record {}{name}", blob.instance)
        };
        match Header::of_record(blob.bytes, file.limits) {
            Ok(header) => {
                if let Err(error) = take(&header, out) {
                    out.gap(error.at(told(header.name_for_messages())).to_string());
                }
            }
            Err(error) => out.gap(error.at(told(None)).to_string()),
        }
    };
    let beside = Beside { wal: beside("-wal"), journal: beside("-journal") };
    rpmdb::blobs(file.content, beside, file.limits, &mut each)
}

/// Reads who owns which file.
pub(super) struct RpmFiles;

impl Collector for RpmFiles {
    fn id(&self) -> &'static str {
        "rpm-files"
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

    fn companions(&self, path: &ImagePath) -> Vec<ImagePath> {
        companions(path)
    }

    fn want(&self, entry: &Entry) -> Want {
        if is_database(&entry.path) { Want::Random } else { Want::No }
    }

    fn is_required(&self, _path: &ImagePath) -> bool {
        false
    }

    fn collect(&self, file: &FileView<'_>, out: &mut Out<'_>) -> Result<()> {
        headers(file, out, &mut |header, out| {
            let rpm = header.package()?;
            let files = header.files(file.limits)?;
            // What was excluded, or is of another architecture, was not put there.
            let paths = files.into_iter().filter(|file| file.state == 0).map(|file| file.path).collect();
            let arch = Some(rpm.arch).filter(|arch| !arch.is_empty());
            out.fact(Fact::Files { package: PackageName { name: rpm.name, arch }, paths });
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stratum::{Meta, Node};

    #[test]
    fn databases_are_known_by_path() {
        let want = |path: &str| {
            Rpm.want(&Entry { path: ImagePath::from(path), node: Node::File(Meta::default()) }) != Want::No
        };
        for path in [
            "var/lib/rpm/Packages",
            "var/lib/rpm/rpmdb.sqlite",
            "usr/lib/sysimage/rpm/Packages.db",
            "usr/share/rpm/rpmdb.sqlite",
            "var/lib/rpmmanifest/container-manifest-2",
            "etc/rpm/macros",
            "usr/lib/rpm/macros.d/macros.ostree",
        ] {
            assert!(want(path), "{path}");
        }
        for path in [
            "var/lib/rpm/Name",
            "var/lib/rpm/rpmdb.sqlite-wal",
            "usr/lib/sysimage/rpm-ostree-base-db/rpmdb.sqlite",
            "srv/var/lib/rpm/Packages",
            "var/lib/rpm.old/Packages",
            "etc/rpm/macros.d/macros.x",
            "usr/lib/rpm/macros",
        ] {
            assert!(!want(path), "{path}");
        }
    }
}
