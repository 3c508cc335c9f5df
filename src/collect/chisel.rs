//! Chisel: the packages of Debian format that a chiselled Ubuntu image was cut from; for ownership also the files.
//!
//! Such an image has parts of its packages and no dpkg database. The versions are those of whole packages.

use crate::error::Result;
use crate::format::chisel::{self, Line};
use crate::model::{Ecosystem, ImagePath, Package, SourcePackage, StratumId};
use crate::stratum::{Entry, Want};

use super::fact::PackageName;
use super::{Collector, Fact, FileView, Needs, Out, tell_twice};

/// Reads Chisel's manifest.
pub(super) struct Chisel;

/// Where all releases of Ubuntu put it (the slice `base-files_chisel`).
const PLACE: &str = "var/lib/chisel/manifest.wall";

/// The good lines; each bad one becomes a gap.
fn lines(file: &FileView<'_>, out: &mut Out<'_>) -> Result<Vec<Line>> {
    let lines = chisel::lines(file.content, file.limits)?;
    Ok(lines.into_iter().filter_map(|line| line.map_err(|error| out.gap(error.to_string())).ok()).collect())
}

impl Collector for Chisel {
    fn id(&self) -> &'static str {
        "chisel"
    }

    fn version(&self) -> u32 {
        1
    }

    fn serves(&self) -> Needs {
        Needs::OS_PACKAGES
    }

    fn places(&self) -> &'static [&'static str] {
        &[PLACE]
    }

    fn want(&self, entry: &Entry) -> Want {
        if entry.path.as_bytes() == PLACE.as_bytes() { Want::Random } else { Want::No }
    }

    fn collect(&self, file: &FileView<'_>, out: &mut Out<'_>) -> Result<()> {
        let packages = lines(file, out)?.into_iter().filter_map(|line| match line {
            Line::Package { name, version, arch } => Some(package(name, version, arch)),
            Line::Content { .. } => None,
        });
        let packages: Vec<Package> = packages.collect();
        tell_twice(&packages, out);
        out.fact(Fact::Packages(packages));
        Ok(())
    }
}

fn package(name: String, version: String, arch: String) -> Package {
    Package {
        ecosystem: Ecosystem::Deb,
        // A manifest names no sources.
        source: SourcePackage { name: name.clone(), version: version.clone() },
        name,
        arch,
        version,
        stream: None,
        purl: String::new(),
        path: ImagePath::root(),
        stratum: StratumId(0),
        origin: None,
        maintainer: None,
        built_using: Vec::new(),
        state: None,
        installed_at: None,
        built_at: None,
    }
}

/// Reads who owns which file.
pub(super) struct ChiselFiles;

impl Collector for ChiselFiles {
    fn id(&self) -> &'static str {
        "chisel-files"
    }

    fn version(&self) -> u32 {
        1
    }

    fn serves(&self) -> Needs {
        Needs::OWNERSHIP
    }

    fn places(&self) -> &'static [&'static str] {
        &[PLACE]
    }

    fn want(&self, entry: &Entry) -> Want {
        Chisel.want(entry)
    }

    fn is_required(&self, _path: &ImagePath) -> bool {
        false
    }

    fn collect(&self, file: &FileView<'_>, out: &mut Out<'_>) -> Result<()> {
        let mut owned: std::collections::BTreeMap<String, Vec<ImagePath>> = std::collections::BTreeMap::new();
        for line in lines(file, out)? {
            if let Line::Content { package, path } = line {
                owned.entry(package).or_default().push(path);
            }
        }
        for (name, paths) in owned {
            out.fact(Fact::Files { package: PackageName { name, arch: None }, paths });
        }
        Ok(())
    }
}
