//! opkg's database: `status`, one stanza a package, and `info/NAME.list`, its files.
//!
//! The stanzas are dpkg's with words of opkg's own (libopkg, `pkg.c`, `pkg_parse.c`): flags between commas, in any
//! number, and two states of failure. Read more strictly than by opkg, which takes a stanza without version or with
//! an unknown word as it comes: these are errors of that stanza alone.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::indexing_slicing,
        clippy::unwrap_used
    )
)]

use super::deb822::{self, Stanza};
use crate::bytes::size_of_len;
use crate::error::{Error, Result, quoted};
use crate::limits::Limits;
use crate::model::version::deb;
use crate::model::{ImagePath, Time};

const FORMAT: &str = "opkg record";

/// What is wanted of a package.
const WANTS: [&str; 4] = ["unknown", "install", "deinstall", "purge"];

/// What is to be known of it besides. All but `ok` and `user` (it was asked for by name) are told.
const FLAGS: [&str; 8] = ["ok", "reinstreq", "hold", "replace", "noprune", "prefer", "obsolete", "user"];

/// How far it is installed, and whether files of it are there.
const STATES: [(&str, bool); 8] = [
    ("not-installed", false),
    ("config-files", false),
    ("half-installed", true),
    ("unpacked", true),
    ("half-configured", true),
    ("installed", true),
    ("post-inst-failed", true),
    ("removal-failed", true),
];

/// One package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its name.
    pub name: String,
    /// Its version as written.
    pub version: String,
    /// Its architecture in opkg's words; empty if it says none.
    pub arch: String,
    /// The source that it was built from, where the record says so (`SourceName`, `Source`).
    pub source: Option<String>,
    /// Who maintains it.
    pub maintainer: Option<String>,
    /// Whether files of it are there.
    pub is_installed: bool,
    /// What is not plain about it: `hold`, `half-configured`.
    pub remark: Option<String>,
    /// When it was installed (`Installed-Time`); `None` also for zero.
    pub installed_at: Option<Time>,
}

/// The packages of a `status`, in its order; an error with line and name for each stanza that is none.
pub fn records<'a>(bytes: &'a [u8], limits: &Limits) -> impl Iterator<Item = Result<Record>> + use<'a> {
    deb822::stanzas(bytes, limits).map(|stanza| {
        let stanza = stanza?;
        record(&stanza).map_err(|error| {
            let error = match stanza.text("Package") {
                Some(name) => error.at(format!("package {}", quoted(&name))),
                None => error,
            };
            error.at(format!("line {}", stanza.line))
        })
    })
}

fn record(stanza: &Stanza<'_>) -> Result<Record> {
    if !stanza.is_terminated {
        let found = "no newline at the end of the file";
        return Err(flaw(stanza, "end", found, "a newline after every line").hint("the file is cut off"));
    }
    let name = stanza.text("Package").unwrap_or_default();
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_graphic() && b != b'/') {
        return Err(flaw(stanza, "Package", quoted(&name), "a name without space and slash"));
    }
    let (is_installed, remark) = status(stanza)?;
    let version = stanza.text("Version").unwrap_or_default();
    if version.is_empty() && is_installed {
        return Err(flaw(stanza, "Version", "none", "a version"));
    }
    if !version.is_empty() {
        deb::check_readable(&version)?;
    }
    // OpenWrt keeps in `Source` the folder of its source tree: `feeds/packages/net/curl`.
    let folder = stanza.text("Source");
    let folder = folder.as_deref().and_then(|path| path.rsplit('/').next()).filter(|name| !name.is_empty());
    let is_recipe = |name: &str| name.ends_with(".bb");
    let recipe = |name: &str| name.split('_').next().unwrap_or(name).trim_end_matches(".bb").to_owned();
    let folder = folder.map(|name| if is_recipe(name) { recipe(name) } else { name.to_owned() });
    Ok(Record {
        name,
        version,
        arch: stanza.text("Architecture").unwrap_or_default(),
        source: stanza.text("SourceName").or(folder),
        maintainer: stanza.text("Maintainer"),
        is_installed,
        remark,
        installed_at: stanza
            .text("Installed-Time")
            .and_then(|text| Time::from_epoch_text(&text).ok())
            .filter(|time| time.unix() != 0),
    })
}

/// Whether files of it are there, and what is not plain.
fn status(stanza: &Stanza<'_>) -> Result<(bool, Option<String>)> {
    let allowed = "three words: what is wanted, flags, and the state";
    let Some(value) = stanza.text("Status") else { return Err(flaw(stanza, "Status", "none", allowed)) };
    let words: Vec<&str> = value.split_ascii_whitespace().collect();
    let [want, flags, state] = words.as_slice() else {
        return Err(flaw(stanza, "Status", quoted(&value), allowed));
    };
    let known = STATES.iter().find(|(name, _)| name == state);
    let flags: Vec<&str> = flags.split(',').collect();
    let is_known = WANTS.contains(want) && flags.iter().all(|flag| FLAGS.contains(flag));
    let (Some((_, is_installed)), true) = (known, is_known) else {
        return Err(flaw(stanza, "Status", quoted(&value), allowed));
    };
    let want = Some(*want).filter(|want| matches!(*want, "deinstall" | "purge"));
    let flags = flags.into_iter().filter(|flag| !matches!(*flag, "ok" | "user"));
    let state = Some(*state).filter(|state| *state != "installed");
    let parts: Vec<&str> = want.into_iter().chain(flags).chain(state).collect();
    Ok((*is_installed, (!parts.is_empty()).then(|| parts.join(", "))))
}

fn flaw(stanza: &Stanza<'_>, field: &'static str, found: impl Into<String>, allowed: &str) -> Error {
    Error::malformed(FORMAT, field, stanza.offset, found, allowed)
}

/// The package that an `info/NAME.list` is of.
#[must_use]
pub fn list_name(file: &[u8]) -> Option<&str> {
    let name = str::from_utf8(file.strip_suffix(b".list")?).ok()?;
    (!name.is_empty()).then_some(name)
}

/// The paths of an `info/NAME.list`: before a tabulator on each line; behind it opkg writes mode and target.
pub fn list<'a>(bytes: &'a [u8], limits: &Limits) -> impl Iterator<Item = Result<ImagePath>> + use<'a> {
    let path_bytes = limits.path_bytes;
    let lines = bytes.split(|b| *b == b'\n').filter(|line| !line.is_empty());
    lines.map(move |line| {
        let path = line.split(|b| *b == b'\t').next().unwrap_or_default();
        path_bytes.check(size_of_len(path.len()))?;
        Ok(ImagePath::new(path))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<Result<Record>> {
        records(text.as_bytes(), &Limits::default()).collect()
    }

    #[test]
    fn states_are_told() {
        for (status, is_installed, remark) in [
            ("install ok installed", true, None),
            ("install user installed", true, None),
            ("install ok,user installed", true, None),
            ("install hold,user installed", true, Some("hold")),
            ("unknown ok not-installed", false, Some("not-installed")),
            ("deinstall ok config-files", false, Some("deinstall, config-files")),
            ("install user unpacked", true, Some("unpacked")),
            ("install ok post-inst-failed", true, Some("post-inst-failed")),
        ] {
            let text = format!("Package: a\nVersion: 1-r0\nStatus: {status}\n");
            let record = read(&text).remove(0).unwrap();
            assert_eq!((record.is_installed, record.remark.as_deref()), (is_installed, remark), "{status}");
        }
        for status in
            ["install ok", "install ok installed now", "keep ok installed", "install new installed", ""]
        {
            assert!(
                read(&format!("Package: a\nVersion: 1\nStatus: {status}\n")).remove(0).is_err(),
                "{status}"
            );
        }
    }

    #[test]
    fn records_are_read() {
        let text = concat!(
            "Package: curl\nVersion: 8.6.0-r1\nStatus: install user installed\nArchitecture: x86_64\n",
            "Source: feeds/packages/net/curl\nInstalled-Time: 1714492800\n\n",
            "Package: kernel-6.6\nVersion: 6.6-r0\nStatus: install ok installed\nSource: linux-yocto_6.6.bb\n\n",
            "Version: 1\nStatus: install ok installed\n\nPackage: b\nStatus: install ok installed\n\n",
            "Package: c\nVersion: 1\nStatus: install ok installed"
        );
        let all = read(text);
        let [Ok(curl), Ok(kernel), Err(_), Err(_), Err(cut)] = all.as_slice() else { panic!("{all:?}") };
        assert_eq!((curl.source.as_deref(), curl.arch.as_str()), (Some("curl"), "x86_64"));
        assert_eq!(curl.installed_at, Time::from_unix(1_714_492_800));
        assert_eq!(kernel.source.as_deref(), Some("linux-yocto"));
        assert!(cut.to_string().contains("package `c`"), "{cut}");
    }

    #[test]
    fn lists_are_read() {
        let limits = Limits::default();
        let paths: Vec<_> = list(b"/usr/bin/curl\n/etc/x\t0100644\n", &limits).map(Result::unwrap).collect();
        assert_eq!(paths, [ImagePath::from("usr/bin/curl"), ImagePath::from("etc/x")]);
        assert_eq!(list_name(b"curl.list"), Some("curl"));
        assert_eq!(list_name(b"curl.control"), None);
    }

    /// Cut off anywhere, a database lists whole records and says that one is not.
    #[test]
    fn broken_databases_say_so() {
        let text = "Package: a\nVersion: 1\nStatus: install ok installed\n\nPackage: b\nVersion: 2\nStatus: install ok installed\n";
        for cut in 0..text.len() {
            let all = read(&text[..cut]);
            assert!(all.iter().filter_map(|r| r.as_ref().ok()).all(|r| r.version == "1"), "{cut}");
        }
        for at in 0..text.len() {
            for bits in [1, 0x80, 0xff] {
                let mut broken = text.as_bytes().to_vec();
                broken[at] ^= bits;
                records(&broken, &Limits::default()).for_each(drop);
            }
        }
    }
}
