//! xbps: the database of Void Linux.

use crate::error::{Error, Result};
use crate::format::xbps::{self, Record};
use crate::model::{Ecosystem, ImagePath, Package, SourcePackage, StratumId};
use crate::stratum::{Entry, Want};

use super::{Collector, Fact, FileView, Needs, Out, tell_twice};

/// Reads xbps' database.
pub(super) struct Xbps;

/// Where it is kept.
pub(super) const PLACE: &str = "var/db/xbps";

/// The format that is read; xbps has written no other since 2014.
const NAME: &[u8] = b"pkgdb-0.38.plist";

impl Collector for Xbps {
    fn id(&self) -> &'static str {
        "xbps"
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
        let name = entry.path.name();
        let is_database = name.starts_with(b"pkgdb-") && name.ends_with(b".plist");
        match is_database && entry.path.parent_bytes() == PLACE.as_bytes() {
            true => Want::Random,
            false => Want::No,
        }
    }

    fn collect(&self, file: &FileView<'_>, out: &mut Out<'_>) -> Result<()> {
        if file.path.name() != NAME {
            let name = String::from_utf8_lossy(file.path.name());
            return Err(Error::unsupported(format!("{name}; read is pkgdb-0.38.plist")));
        }
        let mut packages = Vec::new();
        let done = xbps::packages(file.content, file.limits, &mut |record| match record {
            Ok(record) if record.state == "not-installed" => {}
            Ok(record) => packages.push(package(record)),
            Err(error) => out.gap(error.to_string()),
        });
        tell_twice(&packages, out);
        out.fact(Fact::Packages(packages));
        done
    }
}

fn package(record: Record) -> Package {
    let hold = record.is_held.then(|| "hold".to_owned());
    let state = Some(record.state).filter(|state| state != "installed");
    let parts: Vec<String> = hold.into_iter().chain(state).collect();
    Package {
        ecosystem: Ecosystem::Xbps,
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
        state: (!parts.is_empty()).then(|| parts.join(", ")),
        installed_at: record.installed_at,
        built_at: record.built_at,
    }
}
