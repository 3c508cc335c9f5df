//! opkg: the database of OpenWrt until 24.10, of Yocto's images, and of Entware below `/opt`; for ownership also the
//! files in it.

use crate::bytes::read_all;
use crate::error::Result;
use crate::format::opkg::{self, Record};
use crate::model::{Ecosystem, ImagePath, Package, SourcePackage, StratumId};
use crate::stratum::{Entry, Want};

use super::fact::PackageName;
use super::{Collector, Fact, FileView, Needs, Out, tell_twice};

/// Reads opkg's database.
pub(super) struct Opkg;

/// Where it is kept.
pub(super) const PLACES: [&str; 3] = ["usr/lib/opkg", "var/lib/opkg", "opt/lib/opkg"];

fn is_place(path: &ImagePath) -> bool {
    PLACES.iter().any(|place| path.as_bytes() == place.as_bytes())
}

impl Collector for Opkg {
    fn id(&self) -> &'static str {
        "opkg"
    }

    fn version(&self) -> u32 {
        1
    }

    fn serves(&self) -> Needs {
        Needs::OS_PACKAGES
    }

    fn places(&self) -> &'static [&'static str] {
        &PLACES
    }

    fn want(&self, entry: &Entry) -> Want {
        let path = &entry.path;
        if path.name() == b"status" && is_place(&path.parent()) { Want::Random } else { Want::No }
    }

    fn collect(&self, file: &FileView<'_>, out: &mut Out<'_>) -> Result<()> {
        let bytes = read_all(file.content, file.limits.package_db_bytes)?;
        let mut packages = Vec::new();
        for record in opkg::records(&bytes, file.limits) {
            match record {
                Ok(record) if record.is_installed => packages.push(package(record)),
                Ok(_) => {}
                Err(error) => out.gap(error.to_string()),
            }
        }
        tell_twice(&packages, out);
        out.fact(Fact::Packages(packages));
        Ok(())
    }
}

fn package(record: Record) -> Package {
    Package {
        ecosystem: Ecosystem::Opkg,
        source: SourcePackage {
            name: record.source.unwrap_or_else(|| record.name.clone()),
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
        maintainer: record.maintainer,
        built_using: Vec::new(),
        state: record.remark,
        installed_at: record.installed_at,
        built_at: None,
    }
}

/// Reads who owns which file.
pub(super) struct OpkgFiles;

impl Collector for OpkgFiles {
    fn id(&self) -> &'static str {
        "opkg-files"
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
        let directory = entry.path.parent();
        let is_info = directory.name() == b"info" && is_place(&directory.parent());
        if is_info && opkg::list_name(entry.path.name()).is_some() { Want::Random } else { Want::No }
    }

    fn is_required(&self, _path: &ImagePath) -> bool {
        false
    }

    fn collect(&self, file: &FileView<'_>, out: &mut Out<'_>) -> Result<()> {
        let Some(name) = opkg::list_name(file.path.name()) else { return Ok(()) };
        let bytes = read_all(file.content, file.limits.package_db_bytes)?;
        let paths = opkg::list(&bytes, file.limits).collect::<Result<_>>()?;
        out.fact(Fact::Files { package: PackageName { name: name.to_owned(), arch: None }, paths });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stratum::{Meta, Node};

    #[test]
    fn databases_are_known_by_path() {
        let entry = |path: &str| Entry { path: ImagePath::from(path), node: Node::File(Meta::default()) };
        for path in ["usr/lib/opkg/status", "var/lib/opkg/status", "opt/lib/opkg/status"] {
            assert!(Opkg.want(&entry(path)) != Want::No, "{path}");
        }
        for path in ["usr/lib/opkg/info/curl.control", "srv/usr/lib/opkg/status", "var/lib/opkg/lists/base"] {
            assert!(Opkg.want(&entry(path)) == Want::No, "{path}");
        }
        assert!(OpkgFiles.want(&entry("usr/lib/opkg/info/curl.list")) != Want::No);
        assert!(OpkgFiles.want(&entry("usr/lib/opkg/curl.list")) == Want::No);
    }
}
