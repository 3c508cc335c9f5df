//! portage: the database of Gentoo and its kin (ChromiumOS, Flatcar), one folder a package,
//! `var/db/pkg/CATEGORY/NAME-VERSION`, each property a file of its own; for ownership also the files in it.
//!
//! Read are `PF` (what is installed), `SLOT` (packages of different slots are installed side by side), `CHOST` (what
//! it was built for) and `BUILD_TIME`. They are joined where all facts are ([`mod@super::assemble`]); a folder
//! without `PF` is told there.

use crate::bytes::read_all;
use crate::error::{Error, Result, quoted};
use crate::model::version::ebuild;
use crate::model::{Ecosystem, ImagePath, Package, SourcePackage, StratumId};
use crate::stratum::{Entry, Want};

use super::fact::PackageName;
use super::{Collector, Fact, FileView, Needs, Out};

/// Reads portage's database.
pub(super) struct Portage;

/// Where it is kept.
pub(super) const PLACE: &str = "var/db/pkg";

/// The property that makes a folder a package.
pub(super) const NAME: &[u8] = b"PF";

/// Properties that are read besides.
const NOTES: [&[u8]; 3] = [b"SLOT", b"CHOST", b"BUILD_TIME"];

/// Category and folder of a package's property.
fn folder(path: &ImagePath) -> Option<(String, String)> {
    let parts: Vec<&[u8]> = path.below(&ImagePath::from(PLACE))?.split(|b| *b == b'/').collect();
    let [category, folder, _] = parts.as_slice() else { return None };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Some((text(category), text(folder)))
}

impl Collector for Portage {
    fn id(&self) -> &'static str {
        "portage"
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
        match (name == NAME || NOTES.contains(&name)) && folder(&entry.path).is_some() {
            true => Want::Random,
            false => Want::No,
        }
    }

    fn collect(&self, file: &FileView<'_>, out: &mut Out<'_>) -> Result<()> {
        let Some((category, folder)) = folder(file.path) else { return Ok(()) };
        let bytes = read_all(file.content, file.limits.path_bytes)?;
        let text = String::from_utf8_lossy(&bytes);
        let text = text.trim_ascii();
        if file.path.name() != NAME {
            out.fact(Fact::Note(text.to_owned()));
            return Ok(());
        }
        let flaw = |allowed: String| Error::malformed("portage record", "PF", 0, quoted(text), allowed);
        if text != folder {
            return Err(flaw(format!("the name of its folder, {}", quoted(&folder))));
        }
        let split = ebuild::split(text);
        let (name, version) = split.ok_or_else(|| flaw("a name, a dash and a version".to_owned()))?;
        out.fact(Fact::Packages(vec![package(format!("{category}/{name}"), version.to_owned())]));
        Ok(())
    }
}

fn package(name: String, version: String) -> Package {
    Package {
        ecosystem: Ecosystem::Ebuild,
        source: SourcePackage { name: name.clone(), version: version.clone() },
        name,
        arch: String::new(),
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
pub(super) struct PortageFiles;

impl Collector for PortageFiles {
    fn id(&self) -> &'static str {
        "portage-files"
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
        let is_list = entry.path.name() == b"CONTENTS" && folder(&entry.path).is_some();
        if is_list { Want::Random } else { Want::No }
    }

    fn is_required(&self, _path: &ImagePath) -> bool {
        false
    }

    fn collect(&self, file: &FileView<'_>, out: &mut Out<'_>) -> Result<()> {
        let Some((category, folder)) = folder(file.path) else { return Ok(()) };
        let Some((name, _)) = ebuild::split(&folder) else { return Ok(()) };
        let package = PackageName { name: format!("{category}/{name}"), arch: None };
        let bytes = read_all(file.content, file.limits.package_db_bytes)?;
        let lines = bytes.split(|b| *b == b'\n').filter(|line| !line.is_empty());
        let paths = lines.filter_map(path).map(ImagePath::new).collect();
        out.fact(Fact::Files { package, paths });
        Ok(())
    }
}

/// The path in a line of `CONTENTS`: `obj PATH MD5 TIME`, `sym PATH -> TARGET TIME`, `dir PATH`; paths have spaces.
fn path(line: &[u8]) -> Option<&[u8]> {
    let kind = line.get(..4)?;
    let rest = line.get(4..)?;
    match kind {
        b"obj " => {
            let before_time = rest.get(..memchr::memrchr(b' ', rest)?)?;
            before_time.get(..memchr::memrchr(b' ', before_time)?)
        }
        b"sym " => rest.get(..memchr::memmem::find(rest, b" -> ")?),
        b"dir " | b"dev " | b"fif " => Some(rest),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_contents_are_paths() {
        for (line, want) in [
            ("obj /usr/bin/a b 900150983cd24fb0d6963f7d28e17f72 1700000000", Some("/usr/bin/a b")),
            ("sym /bin/sh -> bash 1700000000", Some("/bin/sh")),
            ("dir /etc/a b", Some("/etc/a b")),
            ("obj /x", None),
            ("new /x", None),
        ] {
            assert_eq!(path(line.as_bytes()), want.map(str::as_bytes), "{line}");
        }
    }
}
