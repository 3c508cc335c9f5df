//! dpkg's database below `/var/lib/dpkg`: what is installed, which files belong to it, what was diverted.
//!
//! | file | holds | read by |
//! |---|---|---|
//! | `status` | one stanza a package that dpkg knows, installed or not | [`records`] |
//! | `updates/NNNN` | stanzas that are newer than `status` | [`records`], [`overlay`] |
//! | `status.d/NAME` | images without dpkg: control files as they were in the packages | [`records`] |
//! | `info/NAME[:ARCH].list` | the files of a package, one path a line | [`list`] |
//! | `info/NAME[:ARCH].md5sums` | their checksums | [`md5sums`] |
//! | `diversions` | files that packages or the administrator moved, three lines each | [`diversions`] |
//!
//! Read as dpkg 1.22 does (`lib/dpkg/parse.c`, `fields.c`, `parsehelp.c`), with these differences: what makes
//! dpkg refuse the whole database is an error of that stanza alone; triggers, dependencies and conffiles are
//! not read, so their faults are not seen; a stanza of `status` without a Status field, which dpkg takes as
//! not installed without a word, is an error.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::indexing_slicing,
        clippy::unwrap_used
    )
)]

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::deb822::{self, Stanza};
use crate::bytes::size_of_len;
use crate::error::{Error, Result, ResultExt, quoted};
use crate::limits::{Ceiling, Limits};
use crate::model::version::deb;
use crate::model::{ImagePath, SourcePackage};

/// Which file of the database stanzas come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `status`.
    Status,
    /// A file of `status.d`: without Status field its packages are installed.
    StatusD,
    /// A file of `updates`.
    Update,
}

/// What the administrator wants of a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Want {
    /// Nothing said.
    Unknown,
    /// To be installed.
    Install,
    /// To be left as it is.
    Hold,
    /// To be removed.
    Deinstall,
    /// To be removed with its configuration.
    Purge,
}

/// Whether a package is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorFlag {
    /// It is not.
    Ok,
    /// It has to be installed again.
    #[serde(rename = "reinstreq")]
    ReinstReq,
}

/// How far a package is installed; in dpkg's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Nothing of it is there.
    NotInstalled,
    /// Only its configuration is left.
    ConfigFiles,
    /// Its unpacking or removal was begun and not ended.
    HalfInstalled,
    /// Its files are there.
    Unpacked,
    /// Its configuring was begun and not ended.
    HalfConfigured,
    /// Other packages have to run its triggers.
    TriggersAwaited,
    /// It has to run triggers.
    TriggersPending,
    /// All done.
    Installed,
}

const WANTS: [(&str, Want); 5] = [
    ("unknown", Want::Unknown),
    ("install", Want::Install),
    ("hold", Want::Hold),
    ("deinstall", Want::Deinstall),
    ("purge", Want::Purge),
];
const FLAGS: [(&str, ErrorFlag); 2] = [("ok", ErrorFlag::Ok), ("reinstreq", ErrorFlag::ReinstReq)];
const STATES: [(&str, State); 8] = [
    ("not-installed", State::NotInstalled),
    ("config-files", State::ConfigFiles),
    ("half-installed", State::HalfInstalled),
    ("unpacked", State::Unpacked),
    ("half-configured", State::HalfConfigured),
    ("triggers-awaited", State::TriggersAwaited),
    ("triggers-pending", State::TriggersPending),
    ("installed", State::Installed),
];

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(STATES.iter().find(|(_, state)| state == self).map_or("", |(name, _)| name))
    }
}

/// One package of the database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its name; in lower case, as dpkg keeps it.
    pub package: String,
    /// Its version as written; empty for a half-installed package that never had one.
    pub version: String,
    /// Its architecture; empty if it says none, which dpkg only warns of.
    pub architecture: String,
    /// The source it was built from: what dpkg-query calls `source:Package` and `source:Version`.
    pub source: SourcePackage,
    /// What is wanted of it.
    pub want: Want,
    /// Whether it is broken.
    pub flag: ErrorFlag,
    /// How far it is installed.
    pub state: State,
    /// Whether it can be installed for several architectures at once (`Multi-Arch: same`).
    pub is_multi_arch_same: bool,
    /// Who published it.
    pub origin: Option<String>,
    /// Who maintains it.
    pub maintainer: Option<String>,
    /// Sources that were built into it, from Built-Using and Static-Built-Using: sorted, once each. An entry
    /// without version has the empty one.
    pub built_using: Vec<SourcePackage>,
}

impl Record {
    /// Whether its files are there, all or some: every state but not-installed and config-files, whatever is
    /// wanted of it.
    #[must_use]
    pub fn is_installed(&self) -> bool {
        self.state > State::ConfigFiles
    }

    /// What is not plain about it, for a person to read: `half-configured`, `hold`, `reinstreq, unpacked`;
    /// `None` for a package that is wanted and installed.
    #[must_use]
    pub fn remark(&self) -> Option<String> {
        let want = match self.want {
            Want::Hold => Some("hold"),
            Want::Deinstall => Some("deinstall"),
            Want::Purge => Some("purge"),
            Want::Install | Want::Unknown => None,
        };
        let flag = (self.flag == ErrorFlag::ReinstReq).then_some("reinstreq");
        let state = (self.state != State::Installed).then(|| self.state.to_string());
        let parts: Vec<&str> = want.into_iter().chain(flag).chain(state.as_deref()).collect();
        (!parts.is_empty()).then(|| parts.join(", "))
    }
}

/// The packages of one file of the database, in its order. A stanza that dpkg would refuse is an error with
/// line and, where it has one, name.
pub fn records<'a>(
    bytes: &'a [u8],
    kind: Kind,
    limits: &Limits,
) -> impl Iterator<Item = Result<Record>> + use<'a> {
    deb822::stanzas(bytes, limits).map(move |stanza| {
        let stanza = stanza?;
        record(&stanza, kind).map_err(|error| {
            let error = match stanza.text("Package") {
                Some(name) => error.at(format!("package {}", quoted(&name))),
                None => error,
            };
            error.at(format!("line {}", stanza.line))
        })
    })
}

/// The package that a stanza outside of dpkg's database tells of, as in a control file or an index.
///
/// # Errors
/// `Malformed` for what dpkg would refuse.
pub fn control(stanza: &Stanza<'_>) -> Result<Record> {
    record(stanza, Kind::StatusD)
}

fn record(stanza: &Stanza<'_>, kind: Kind) -> Result<Record> {
    if !stanza.is_terminated && kind != Kind::StatusD {
        return Err(flaw(stanza, "end", "no newline at the end of the file", "a newline after every line")
            .hint("the file is cut off"));
    }
    let package = package_name(stanza)?;
    let (want, flag, state) = match stanza.get("Status") {
        Some(value) => status(stanza, value)?,
        None if kind == Kind::StatusD => (Want::Install, ErrorFlag::Ok, State::Installed),
        None => return Err(flaw(stanza, "Status", "none", "for instance `install ok installed`")),
    };
    let version = version(stanza)?;
    let may_lack_version = matches!(state, State::NotInstalled | State::HalfInstalled);
    if version.is_empty() && !may_lack_version {
        return Err(flaw(stanza, "Version", "none", "a version"));
    }
    Ok(Record {
        source: source(stanza, &package, &version),
        want,
        flag,
        state,
        architecture: stanza.text("Architecture").unwrap_or_default(),
        is_multi_arch_same: stanza.get("Multi-Arch").is_some_and(|v| v.eq_ignore_ascii_case(b"same")),
        origin: stanza.text("Origin"),
        maintainer: stanza.text("Maintainer"),
        built_using: built_using(stanza),
        package,
        version,
    })
}

fn package_name(stanza: &Stanza<'_>) -> Result<String> {
    let name = stanza.get("Package").unwrap_or_default();
    if !is_package_name(name) {
        let allowed = "a name of letters, digits and - + . _ that starts with a letter or digit";
        return Err(flaw(stanza, "Package", quoted(name), allowed));
    }
    Ok(String::from_utf8_lossy(name).to_ascii_lowercase())
}

fn is_package_name(name: &[u8]) -> bool {
    name.first().is_some_and(u8::is_ascii_alphanumeric)
        && name.iter().all(|b| b.is_ascii_alphanumeric() || b"-+._".contains(b))
}

/// The three words of a Status field, in any case.
fn status(stanza: &Stanza<'_>, value: &[u8]) -> Result<(Want, ErrorFlag, State)> {
    let mut words = value.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let want = word(&WANTS, words.next());
    let flag = word(&FLAGS, words.next());
    let state = word(&STATES, words.next());
    match (want, flag, state, words.next()) {
        (Some(want), Some(flag), Some(state), None) => Ok((want, flag, state)),
        _ => Err(flaw(stanza, "Status", quoted(value), "three words: selection, error flag and state")),
    }
}

fn word<T: Copy>(table: &[(&str, T)], word: Option<&[u8]>) -> Option<T> {
    let word = word?;
    table.iter().find(|(name, _)| word.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| *value)
}

/// The version, with what a Revision field behind it adds, which dpkg wrote until 1995 and still reads; empty if
/// there is none.
fn version(stanza: &Stanza<'_>) -> Result<String> {
    let mut version = String::new();
    for field in stanza.fields() {
        let is = |name: &str| field.name.eq_ignore_ascii_case(name.as_bytes());
        let value = String::from_utf8_lossy(field.value);
        if is("Version") && !value.is_empty() {
            deb::check_readable(&value)?;
            version = value.into_owned();
        } else if (is("Revision") || is("Package-Revision") || is("Package_Revision")) && !value.is_empty() {
            version = format!("{version}-{value}");
        }
    }
    Ok(version)
}

/// `Source: name (version)`, with the package's own name and version for what is not said. As in dpkg the
/// name ends at the first space, and the version is what stands between the parentheses.
fn source(stanza: &Stanza<'_>, package: &str, version: &str) -> SourcePackage {
    let field = stanza.text("Source").unwrap_or_default();
    let name = field.split(' ').next().filter(|name| !name.is_empty()).unwrap_or(package);
    let inner = field.split_once('(').and_then(|(_, after)| after.split_once(')'));
    let inner = inner.map(|(inner, _)| inner.trim_ascii()).filter(|inner| !inner.is_empty());
    SourcePackage { name: name.to_owned(), version: inner.unwrap_or(version).to_owned() }
}

/// `name (= version), …` of both fields.
fn built_using(stanza: &Stanza<'_>) -> Vec<SourcePackage> {
    let mut all: Vec<SourcePackage> = ["Built-Using", "Static-Built-Using"]
        .into_iter()
        .filter_map(|name| stanza.text(name))
        .flat_map(|value| value.split(',').filter_map(built_using_entry).collect::<Vec<_>>())
        .collect();
    all.sort_unstable();
    all.dedup();
    all
}

fn built_using_entry(entry: &str) -> Option<SourcePackage> {
    let entry = entry.trim_ascii();
    let name = entry.split(|c: char| c.is_ascii_whitespace() || c == '(').next()?;
    let inner = entry.split_once('(').map_or("", |(_, after)| after.split(')').next().unwrap_or(""));
    let version = inner.trim_start_matches(|c: char| "<=>".contains(c) || c.is_ascii_whitespace());
    (!name.is_empty())
        .then(|| SourcePackage { name: name.to_owned(), version: version.trim_ascii().to_owned() })
}

fn flaw(stanza: &Stanza<'_>, field: &'static str, found: impl Into<String>, allowed: &str) -> Error {
    Error::malformed("dpkg record", field, stanza.offset, found, allowed)
}

/// `status` with the records of `updates` over it, these in the order of their files' names: each takes the
/// place of the record of its name and architecture, or of the only installed one of its name unless both
/// can be installed side by side, as dpkg does it.
#[must_use]
pub fn overlay(mut records: Vec<Record>, updates: Vec<Record>) -> Vec<Record> {
    let mut by_name: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    if !updates.is_empty() {
        for (at, record) in records.iter().enumerate() {
            by_name.entry(record.package.clone()).or_default().push(at);
        }
    }
    for update in updates {
        let places = by_name.entry(update.package.clone()).or_default();
        match slot(&records, places, &update).and_then(|at| records.get_mut(at)) {
            Some(record) => *record = update,
            None => {
                places.push(records.len());
                records.push(update);
            }
        }
    }
    records
}

/// Which of the records at these places an update replaces.
fn slot(records: &[Record], places: &[usize], update: &Record) -> Option<usize> {
    let at = |place: &usize| records.get(*place).map(|record| (*place, record));
    let mut known = places.iter().filter_map(at).filter(|(_, r)| r.state != State::NotInstalled);
    if let (Some((place, only)), None) = (known.next(), known.next())
        && !(only.is_multi_arch_same && update.is_multi_arch_same)
    {
        return Some(place);
    }
    let same_arch = |(_, r): &(usize, &Record)| r.architecture == update.architecture;
    places.iter().filter_map(at).find(same_arch).map(|(place, _)| place)
}

/// One error for every name that several records have without being installable side by side. dpkg refuses
/// such a database; which of the records is true cannot be told from it.
#[must_use]
pub fn conflicts(records: &[Record]) -> Vec<Error> {
    let mut by_name: BTreeMap<&str, Vec<&Record>> = BTreeMap::new();
    for record in records.iter().filter(|record| record.state != State::NotInstalled) {
        by_name.entry(&record.package).or_default().push(record);
    }
    let clash = |records: &Vec<&Record>| {
        let mut archs: Vec<&str> = records.iter().map(|r| r.architecture.as_str()).collect();
        archs.sort_unstable();
        archs.dedup();
        records.len() > 1 && (archs.len() < records.len() || !records.iter().all(|r| r.is_multi_arch_same))
    };
    by_name
        .into_iter()
        .filter(|(_, records)| clash(records))
        .map(|(name, records)| {
            let found = format!("{} records", records.len());
            Error::malformed("dpkg database", "package", None, found, "one, or `Multi-Arch: same` in each")
                .at(format!("package `{name}`"))
        })
        .collect()
}

/// Whether a file of `updates` counts: its name is nothing but digits.
#[must_use]
pub fn is_update_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(u8::is_ascii_digit)
}

/// Whether a file of `status.d` holds stanzas: its neighbours `NAME.md5sums` hold checksums.
#[must_use]
pub fn is_status_d_name(name: &[u8]) -> bool {
    !name.is_empty() && !name.starts_with(b".") && !name.ends_with(b".md5sums")
}

/// What a file name below `info` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InfoName<'a> {
    /// The package.
    pub package: &'a str,
    /// Its architecture; only packages that can be installed for several have it in the name.
    pub architecture: Option<&'a str>,
    /// What the file is: `list`, `md5sums`, `conffiles`, `postinst`, …
    pub kind: &'a str,
}

/// Splits `libc6:amd64.list`; `None` if it is not such a name.
#[must_use]
pub fn info_name(name: &[u8]) -> Option<InfoName<'_>> {
    let (stem, kind) = std::str::from_utf8(name).ok()?.rsplit_once('.')?;
    let (package, architecture) = match stem.split_once(':') {
        Some((package, architecture)) => (package, Some(architecture)),
        None => (stem, None),
    };
    let is_sound = is_package_name(package.as_bytes()) && architecture != Some("") && !kind.is_empty();
    is_sound.then_some(InfoName { package, architecture, kind })
}

/// One line of a line file, without its newline.
struct Line<'a> {
    text: &'a [u8],
    number: u64,
    offset: u64,
    is_terminated: bool,
}

fn lines(bytes: &[u8]) -> impl Iterator<Item = Line<'_>> {
    let mut rest = bytes;
    let mut number: u64 = 0;
    let mut offset: u64 = 0;
    std::iter::from_fn(move || {
        let at = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        let (text, after) = rest.split_at_checked(at).filter(|_| !rest.is_empty())?;
        number = number.saturating_add(1);
        let line = Line { text, number, offset, is_terminated: !after.is_empty() };
        rest = after.get(1..).unwrap_or_default();
        offset = offset.saturating_add(size_of_len(text.len())).saturating_add(1);
        Some(line)
    })
}

impl Line<'_> {
    fn flaw(&self, format: &'static str, allowed: &str) -> Error {
        Error::malformed(format, "line", self.offset, quoted(self.text), allowed)
            .at(format!("line {}", self.number))
    }

    /// A path of this line.
    fn path(&self, format: &'static str, raw: &[u8], path_bytes: Ceiling) -> Result<ImagePath> {
        path_bytes.check(size_of_len(raw.len())).at(|| format!("line {}", self.number))?;
        if raw.is_empty() || raw.contains(&0) {
            return Err(self.flaw(format, "a path"));
        }
        if !self.is_terminated {
            return Err(self.flaw(format, "a newline at the end").hint("the file is cut off"));
        }
        Ok(ImagePath::new(raw))
    }
}

/// The paths of an `info/*.list`, directories too, in its order; an error for each bad line.
pub fn list<'a>(bytes: &'a [u8], limits: &Limits) -> impl Iterator<Item = Result<ImagePath>> + use<'a> {
    let path_bytes = limits.path_bytes;
    lines(bytes).map(move |line| line.path("dpkg file list", line.text, path_bytes))
}

/// One line of an `info/*.md5sums`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Md5Sum {
    /// The file.
    pub path: ImagePath,
    /// The MD5 of its content as packaged.
    pub md5: [u8; 16],
}

/// The checksums of an `info/*.md5sums`, in its order; an error for each bad line.
pub fn md5sums<'a>(bytes: &'a [u8], limits: &Limits) -> impl Iterator<Item = Result<Md5Sum>> + use<'a> {
    const FORMAT: &str = "dpkg md5sums";
    let path_bytes = limits.path_bytes;
    lines(bytes).map(move |line| {
        let parts = line.text.split_at_checked(32).and_then(|(hex, rest)| {
            let path = rest.strip_prefix(b"  ").or_else(|| rest.strip_prefix(b" *"))?;
            Some((md5(hex)?, path))
        });
        let Some((md5, path)) = parts else {
            return Err(line.flaw(FORMAT, "32 hexadecimal digits, two spaces and a path"));
        };
        Ok(Md5Sum { path: line.path(FORMAT, path, path_bytes)?, md5 })
    })
}

fn md5(hex: &[u8]) -> Option<[u8; 16]> {
    let mut out = [0; 16];
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    for (byte, pair) in out.iter_mut().zip(hex.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = digit(*high)?.checked_shl(4)? | digit(*low)?;
    }
    Some(out)
}

/// A file that is not where its package says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diversion {
    /// Where packages say that it is.
    pub from: ImagePath,
    /// Where it is instead.
    pub to: ImagePath,
    /// The package whose own file stays; `None` if the administrator diverted it from all.
    pub package: Option<String>,
}

/// The entries of `diversions`, in its order; an error for each bad one.
pub fn diversions<'a>(bytes: &'a [u8], limits: &Limits) -> impl Iterator<Item = Result<Diversion>> + use<'a> {
    const FORMAT: &str = "dpkg diversions";
    let path_bytes = limits.path_bytes;
    let mut lines = lines(bytes);
    std::iter::from_fn(move || {
        let from = lines.next()?;
        let (Some(to), Some(package)) = (lines.next(), lines.next()) else {
            return Some(Err(from.flaw(FORMAT, "three lines for each entry").hint("the file is cut off")));
        };
        let entry = || {
            let by = match package.text {
                b":" => None,
                name if is_package_name(name) && package.is_terminated => {
                    Some(String::from_utf8_lossy(name).into_owned())
                }
                _ => return Err(package.flaw(FORMAT, "a package name or a colon, and a newline")),
            };
            Ok(Diversion {
                from: from.path(FORMAT, from.text, path_bytes)?,
                to: to.path(FORMAT, to.text, path_bytes)?,
                package: by,
            })
        };
        Some(entry())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str, kind: Kind) -> Vec<Result<Record>> {
        records(text.as_bytes(), kind, &Limits::default()).collect()
    }

    fn one(fields: &str) -> Record {
        let text = format!("Package: p\nVersion: 1:2-3\nArchitecture: amd64\n{fields}\n");
        all(&text, Kind::StatusD).remove(0).unwrap()
    }

    #[test]
    fn installed_is_what_has_files() {
        for (status, installed, remark) in [
            ("install ok installed", true, None),
            ("hold ok installed", true, Some("hold")),
            ("purge ok installed", true, Some("purge")),
            ("Deinstall REINSTREQ half-Installed", true, Some("deinstall, reinstreq, half-installed")),
            ("install ok unpacked", true, Some("unpacked")),
            ("install ok half-configured", true, Some("half-configured")),
            ("install ok triggers-awaited", true, Some("triggers-awaited")),
            ("install ok triggers-pending", true, Some("triggers-pending")),
            ("deinstall ok config-files", false, Some("deinstall, config-files")),
            ("unknown ok not-installed", false, Some("not-installed")),
        ] {
            let record = one(&format!("Status: {status}"));
            assert_eq!((record.is_installed(), record.remark().as_deref()), (installed, remark), "{status}");
        }
        for bad in ["install ok", "install ok installed x", "install hold installed", "ok", ""] {
            let text = format!("Package: p\nVersion: 1\nStatus: {bad}\n");
            assert!(all(&text, Kind::StatusD)[0].is_err(), "{bad}");
        }
    }

    #[test]
    fn sources_are_resolved_as_dpkg_query_does() {
        for (field, name, version) in [
            ("", "p", "1:2-3"),
            ("Source:", "p", "1:2-3"),
            ("Source: q", "q", "1:2-3"),
            ("Source: q (7)", "q", "7"),
            ("Source: q (7", "q", "1:2-3"),
            ("Source: q(7)", "q(7)", "7"),
            ("Source: Q_ ( 7 ) z", "Q_", "7"),
        ] {
            let want = SourcePackage { name: name.into(), version: version.into() };
            assert_eq!(one(field).source, want, "{field}");
        }
    }

    #[test]
    fn what_was_built_in_is_read_from_both_fields() {
        let record = one(
            "Static-Built-Using: rust-b (= 1.2), , odd\nBuilt-Using: golang-1.19 (= 1.19.8-2),\n rust-b (= 1.2)",
        );
        let pairs: Vec<_> =
            record.built_using.iter().map(|s| (s.name.as_str(), s.version.as_str())).collect();
        assert_eq!(pairs, [("golang-1.19", "1.19.8-2"), ("odd", ""), ("rust-b", "1.2")]);
    }

    #[test]
    fn bad_stanzas_are_told_and_leave_the_others() {
        let good = "Package: a\nVersion: 1\nStatus: install ok installed\n";
        for (bad, why) in [
            ("Package: b\nVersion: 1\n", "line 5: package `b`: dpkg record: Status at byte 0x34: none"),
            ("Version: 1\nStatus: install ok installed\n", "line 5: dpkg record: Package at byte 0x34: ``"),
            ("Package: b/c\nStatus: install ok installed\n", "Package at byte 0x34: `b/c`"),
            ("Package: b\nStatus: install ok installed\n", "Version at byte 0x34: none"),
            ("Package: b\nVersion: x:1\nStatus: install ok installed\n", "deb version: value: `x:1`"),
            ("Package: b\nbroken\nVersion: 1\n", "line 6: deb822: line"),
        ] {
            let all = all(&format!("{good}\n{bad}\n{good}"), Kind::Status);
            assert!(all[0].is_ok() && all[2].is_ok(), "{bad}");
            let error = all[1].as_ref().unwrap_err().to_string();
            assert!(error.contains(why), "{bad}: {error}");
        }
        assert!(all(good.trim_end(), Kind::Status)[0].is_err(), "cut off");
        assert!(all(good.trim_end(), Kind::StatusD)[0].is_ok());
        assert!(all("Package: b\nStatus: install ok half-installed\n", Kind::Status)[0].is_ok());
    }

    #[test]
    fn updates_take_the_place_that_dpkg_gives_them() {
        let record = |name: &str, arch: &str, same: bool, version: &str| Record {
            package: name.into(),
            architecture: arch.into(),
            is_multi_arch_same: same,
            version: version.into(),
            ..one("Status: install ok unpacked")
        };
        let base = || {
            vec![
                record("single", "amd64", false, "1"),
                record("multi", "amd64", true, "1"),
                record("multi", "i386", true, "1"),
            ]
        };
        let over = |update: Record| {
            overlay(base(), vec![update])
                .iter()
                .map(|r| format!("{}:{}={}", r.package, r.architecture, r.version))
                .collect::<Vec<_>>()
                .join(" ")
        };
        let rest = "multi:amd64=1 multi:i386=1";
        assert_eq!(over(record("single", "armel", false, "3")), format!("single:armel=3 {rest}"));
        assert_eq!(over(record("single", "armel", true, "3")), format!("single:armel=3 {rest}"));
        assert_eq!(over(record("new", "all", false, "3")), format!("single:amd64=1 {rest} new:all=3"));
        assert_eq!(over(record("multi", "i386", true, "3")), "single:amd64=1 multi:amd64=1 multi:i386=3");
        assert!(conflicts(&base()).is_empty());
        for (arch, same) in [("amd64", true), ("armel", false)] {
            let mut records = base();
            records.push(record("multi", arch, same, "2"));
            assert_eq!(conflicts(&records).len(), 1, "{arch} {same}");
        }
    }

    #[test]
    fn info_names_split() {
        let split = |name: &'static str| {
            info_name(name.as_bytes()).map(|n| (n.package, n.architecture.unwrap_or("-"), n.kind))
        };
        assert_eq!(split("libc6:amd64.list"), Some(("libc6", "amd64", "list")));
        assert_eq!(split("libssl1.0.0.md5sums"), Some(("libssl1.0.0", "-", "md5sums")));
        for bad in ["format", ".list", "a:.list", "a b.list", "x."] {
            assert_eq!(split(bad), None, "{bad}");
        }
        assert!(is_update_name(b"0001") && !is_update_name(b"tmp.i") && !is_update_name(b""));
        assert!(is_status_d_name(b"libc6") && !is_status_d_name(b"libc6.md5sums"));
    }

    #[test]
    fn line_files_report_each_bad_line() {
        let limits = Limits::default();
        let lists: Vec<_> = list(b"/.\n/usr\n\n/usr/bin/a b\ncut", &limits).collect();
        assert_eq!(lists[0].as_ref().unwrap(), &ImagePath::root());
        assert_eq!(lists[3].as_ref().unwrap(), &ImagePath::from("usr/bin/a b"));
        assert_eq!(
            lists[2].as_ref().unwrap_err().to_string(),
            "line 3: dpkg file list: line at byte 0x8: ``; allowed: a path"
        );
        assert_eq!((lists.len(), lists[4].is_err()), (5, true));

        let sums =
            b"d41d8cd98f00b204e9800998ecf8427e  usr/a\nnonsense\nd41d8cd98f00b204e9800998ecf8427g  b\n";
        let sums: Vec<_> = md5sums(sums, &limits).collect();
        let first = sums[0].as_ref().unwrap();
        assert_eq!((first.path.clone(), first.md5[0], first.md5[15]), ("usr/a".into(), 0xd4, 0x7e));
        assert!(sums[1].is_err() && sums[2].is_err());

        let text = b"/bin/sh\n/bin/sh.distrib\ndash\n/a\n/b\n:\n/c\n/d\n?\n/e\n";
        let moved: Vec<_> = diversions(text, &limits).collect();
        let want =
            Diversion { from: "bin/sh".into(), to: "bin/sh.distrib".into(), package: Some("dash".into()) };
        assert_eq!(moved[0].as_ref().unwrap(), &want);
        assert_eq!(moved[1].as_ref().unwrap().package, None);
        assert!(moved[2].is_err() && moved[3].is_err() && moved.len() == 4);
    }
}
