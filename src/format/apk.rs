//! Alpine's package records: apk's database of installed packages (`lib/apk/db/installed`) and the index of a
//! repository (`APKINDEX`), which are one format (apk-package(5) of apk-tools 3 has its letters).
//!
//! ```text
//! C:Q1CpjMpFo3UY/Tn4CshBpA+PXMf04=     a letter, a colon, the value up to the end of the line
//! P:musl
//! V:1.2.2-r3
//! F:lib                                installed only: a directory, and the files in it
//! R:ld-musl-armhf.so.1
//! a:0:0:755
//! Z:Q1OR21cpf2INrOZXtXeMnWdqhkld4=
//!                                      an empty line ends the record, the last one too
//! ```
//!
//! | letter | is | | letter | is |
//! |---|---|---|---|---|
//! | `P` `V` `A` | name, version, architecture | | `r` `q` | packages that it may replace, priority |
//! | `o` `c` | source package, commit of its recipe | | `s` | tag of the repository it came from |
//! | `t` | time of its build, in seconds since 1970 | | `f` | what its installation left broken |
//! | `C` | identity: digest of the package's metadata | | `F` `M` | a directory, its owner and mode |
//! | `m` `T` `U` `L` | maintainer, description, URL, licence | | `R` `a` | a file in it, its owner and mode |
//! | `S` `I` | size of the package, size installed | | `Z` | the file's digest |
//! | `D` `p` `i` `k` | dependencies, provided, install-if, priority | | | |
//!
//! There are no continued lines. Read as apk-tools 3 does (`src/database.c`, `src/package.c`), with these
//! differences: what makes apk refuse the whole database is an error of that record alone; the identity may be
//! missing; two names or versions in one record, of which apk would forget the first, are an error; letters
//! that nobody knows are passed over, as apk passes over small ones; where the first line ends with a carriage
//! return, so may all others.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::indexing_slicing,
        clippy::unwrap_used
    )
)]

use std::collections::{BTreeMap, BTreeSet};

use crate::bytes::size_of_len;
use crate::error::{Error, Result, ResultExt, quoted};
use crate::limits::{Ceiling, Limits};
use crate::model::{ImagePath, Time};

const FORMAT: &str = "apk record";

/// One package.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record {
    /// The line on which the record starts; the first is 1.
    pub line: u64,
    /// `P`: its name.
    pub name: String,
    /// `V`: its version as written; [`crate::model::version::apk::check`] tells whether apk can order it.
    pub version: String,
    /// `A`: its architecture in apk's words (`x86_64`, `noarch`); empty if it says none, as before 2012.
    pub arch: String,
    /// `C`: its identity as written, for instance `Q1` and a SHA-1 in base64.
    pub checksum: Option<String>,
    /// `o`: the source package that it was built from, where the record says so.
    pub origin: Option<String>,
    /// `m`: who maintains it.
    pub maintainer: Option<String>,
    /// `c`: the commit of the recipe that it was built from.
    pub commit: Option<String>,
    /// `t`: when it was built; `None` if it is missing, no number or zero.
    pub built_at: Option<Time>,
    /// `p`: what it provides beside its name, each with its version if it has one (`so:libc.musl-x86_64.so.1=1`).
    pub provides: Vec<String>,
    /// `r`: the packages of which it may replace files, as written.
    pub replaces: Vec<String>,
    /// `s`: the tag of the repository that it was taken from (`edge` of `@edge`).
    pub repository_tag: Option<String>,
    /// `f`: what its installation left broken: `f` files, `s` scripts, `x` extended attributes. (`S` tells how
    /// its digests are written.)
    pub flags: String,
    /// Whether it was made up on the system, to hold dependencies together (`apk add --virtual .build-deps …`):
    /// its name starts with a dot, or its description is the one that apk gives. Its version is a time or 0,
    /// it has no files, and nobody publishes it.
    pub is_virtual: bool,
    /// Whether an empty line ends it. A database that apk wrote ends so; another was cut off.
    pub is_terminated: bool,
}

impl Record {
    /// What its installation left broken, for a person to read; `None` if nothing.
    #[must_use]
    pub fn remark(&self) -> Option<String> {
        let names = [('f', "broken files"), ('s', "broken scripts"), ('x', "broken extended attributes")];
        let found: Vec<&str> =
            names.iter().filter(|(flag, _)| self.flags.contains(*flag)).map(|(_, name)| *name).collect();
        (!found.is_empty()).then(|| found.join(", "))
    }

    /// The names that it provides beside its own, without their versions.
    pub fn provided_names(&self) -> impl Iterator<Item = &str> {
        self.provides.iter().map(|provided| dependency_name(provided))
    }
}

/// The packages of a database or index, in its order. A damaged record is an error with its line and, where it
/// has one, its name, and the next record follows; after as many records as the limit allows comes one last
/// error.
pub fn records<'a>(bytes: &'a [u8], limits: &Limits) -> impl Iterator<Item = Result<Record>> + use<'a> {
    blocks(bytes, limits).map(|block| block.and_then(|block| record(&block)))
}

/// One error for every name that several records have with different versions or architectures. apk lists all
/// of them; which one's files are there cannot be told.
#[must_use]
pub fn conflicts(records: &[Record]) -> Vec<Error> {
    let mut by_name: BTreeMap<&str, BTreeSet<(&str, &str)>> = BTreeMap::new();
    for record in records {
        by_name.entry(&record.name).or_default().insert((&record.version, &record.arch));
    }
    by_name
        .into_iter()
        .filter(|(_, found)| found.len() > 1)
        .map(|(name, found)| {
            let found: Vec<&str> = found.into_iter().map(|(version, _)| version).collect();
            Error::malformed("apk database", "package", None, found.join(", "), "one record")
                .at(format!("package `{name}`"))
        })
        .collect()
}

/// The names in `/etc/apk/world`, which lists what has to be installed: packages or what they provide, without
/// versions (`curl>8`) and tags (`curl@edge`). What must *not* be installed (`!curl`) is left out.
pub fn world(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .flat_map(str::split_ascii_whitespace)
        .filter(|word| !word.starts_with('!'))
        .map(dependency_name)
        .filter(|name| !name.is_empty())
}

/// The name in a dependency: what is before a version's relation or a tag.
fn dependency_name(dependency: &str) -> &str {
    dependency.split(['<', '>', '=', '~', '@']).next().unwrap_or(dependency)
}

/// The files of one installed package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageFiles {
    /// The line on which its record starts.
    pub line: u64,
    /// The package.
    pub package: String,
    /// Its directories and files, in their order.
    pub paths: Vec<OwnedPath>,
}

/// A directory or file of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedPath {
    /// Where it is.
    pub path: ImagePath,
    /// The digest of a file's content (of a link: of its target) as packaged; a directory has none.
    pub digest: Option<Digest>,
}

/// A digest of a file, as the database has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Digest {
    /// 32 hexadecimal digits, before 2009.
    Md5([u8; 16]),
    /// `Q1` and base64.
    Sha1([u8; 20]),
    /// `Q1` in a package whose flags have `S`: the first 160 bits of the SHA-256.
    Sha256Start([u8; 20]),
    /// `Q2` and base64.
    Sha256([u8; 32]),
}

/// Which files each installed package owns, a package after the other. A record with a damaged name or path is
/// an error with its line.
pub fn files<'a>(bytes: &'a [u8], limits: &Limits) -> impl Iterator<Item = Result<PackageFiles>> + use<'a> {
    let path_bytes = limits.path_bytes;
    blocks(bytes, limits).map(move |block| block.and_then(|block| owned(&block, path_bytes)))
}

/// The lines of one record.
struct Block<'a> {
    lines: Vec<Line<'a>>,
    is_terminated: bool,
}

/// One line without its end.
#[derive(Debug, Clone, Copy)]
struct Line<'a> {
    text: &'a [u8],
    number: u64,
    offset: u64,
    is_terminated: bool,
}

impl<'a> Line<'a> {
    /// Its letter and value.
    fn field(&self) -> Result<(u8, &'a [u8])> {
        match self.text {
            [letter, b':', value @ ..] if letter.is_ascii_alphabetic() => Ok((*letter, value)),
            _ => Err(self.flaw("line", self.text, "a letter, a colon and a value")),
        }
    }

    fn flaw(&self, field: &'static str, found: &[u8], allowed: &str) -> Error {
        Error::malformed(FORMAT, field, self.offset, quoted(found), allowed)
            .at(format!("line {}", self.number))
    }
}

impl<'a> Block<'a> {
    fn first_line(&self) -> u64 {
        self.lines.first().map_or(0, |line| line.number)
    }

    /// Its fields in their order, each with its line. What stands on a last line without newline may be cut
    /// and is not believed.
    fn fields(&self) -> impl Iterator<Item = Result<(Line<'a>, u8, &'a [u8])>> {
        self.lines
            .iter()
            .filter(|line| line.is_terminated)
            .map(|line| line.field().map(|(letter, value)| (*line, letter, value)))
    }

    /// The package's name, if one can be found, for messages.
    fn name(&self) -> Option<&'a [u8]> {
        self.fields()
            .find_map(|field| field.ok().filter(|(_, letter, _)| *letter == b'P').map(|(.., value)| value))
    }

    /// Names the record in an error.
    fn at(&self, error: Error) -> Error {
        let error = match error.place() {
            place if place.is_empty() => error.at(format!("line {}", self.first_line())),
            _ => error,
        };
        match self.name() {
            Some(name) => error.at(format!("package {}", quoted(name))),
            None => error,
        }
    }
}

/// Splits a file into records.
fn blocks<'a>(bytes: &'a [u8], limits: &Limits) -> impl Iterator<Item = Result<Block<'a>>> + use<'a> {
    let (records, record_bytes, line_bytes) = (limits.records, limits.record_bytes, limits.apk_line_bytes);
    let mut lines = lines(bytes);
    let mut count: u64 = 0;
    std::iter::from_fn(move || {
        if count > records.max {
            return None;
        }
        let first = lines.find(|line| !line.text.is_empty())?;
        count = count.saturating_add(1);
        if let Err(error) = records.check(count) {
            return Some(Err(error.at(format!("line {}", first.number))));
        }
        let mut block = Block { lines: vec![first], is_terminated: false };
        let mut end = first;
        let mut problem = line_bytes.check(size_of_len(first.text.len())).err().map(|error| (error, first));
        for line in lines.by_ref() {
            end = line;
            if line.text.is_empty() {
                block.is_terminated = true;
                break;
            }
            if problem.is_none() {
                let so_far =
                    line.offset.saturating_sub(first.offset).saturating_add(size_of_len(line.text.len()));
                let length = line_bytes.check(size_of_len(line.text.len()));
                problem = length.and_then(|_| record_bytes.check(so_far)).err().map(|error| (error, line));
                block.lines.push(line);
            }
        }
        // An empty line that is the last of all and has no newline itself is none.
        block.is_terminated &= end.is_terminated;
        match problem {
            Some((error, line)) => Some(Err(block.at(error.at(format!("line {}", line.number))))),
            None => Some(Ok(block)),
        }
    })
}

/// The lines of a file. Carriage returns at their ends are dropped if the first line has one.
fn lines<'a>(bytes: &'a [u8]) -> impl Iterator<Item = Line<'a>> + use<'a> {
    let first = memchr::memchr(b'\n', bytes).and_then(|at| bytes.get(..at)).unwrap_or_default();
    let has_returns = first.ends_with(b"\r");
    let mut rest = bytes;
    let mut number: u64 = 0;
    let mut offset: u64 = 0;
    std::iter::from_fn(move || {
        let at = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        let (text, after) = rest.split_at_checked(at).filter(|_| !rest.is_empty())?;
        number = number.saturating_add(1);
        let start = offset;
        offset = offset.saturating_add(size_of_len(text.len())).saturating_add(1);
        rest = after.get(1..).unwrap_or_default();
        let text = if has_returns { text.strip_suffix(b"\r").unwrap_or(text) } else { text };
        Some(Line { text, number, offset: start, is_terminated: !after.is_empty() })
    })
}

fn record(block: &Block<'_>) -> Result<Record> {
    let mut record =
        Record { line: block.first_line(), is_terminated: block.is_terminated, ..Record::default() };
    let mut names = Once::default();
    let mut versions = Once::default();
    for field in block.fields() {
        let (line, letter, value) = field.map_err(|error| block.at(error))?;
        let text = || Some(String::from_utf8_lossy(value).into_owned()).filter(|text| !text.is_empty());
        let list =
            || String::from_utf8_lossy(value).split_ascii_whitespace().map(str::to_owned).collect::<Vec<_>>();
        match letter {
            b'P' => names.set(&line, "P", value, is_name).map_err(|error| block.at(error))?,
            b'V' => versions.set(&line, "V", value, is_version).map_err(|error| block.at(error))?,
            b'T' => record.is_virtual = value == b"virtual meta package",
            b'A' => record.arch = text().unwrap_or_default(),
            b'C' => record.checksum = text(),
            b'o' => record.origin = text(),
            b'm' => record.maintainer = text(),
            b'c' => record.commit = text(),
            b't' => record.built_at = text().and_then(|text| time(&text)),
            b'p' => record.provides.extend(list()),
            b'r' => record.replaces.extend(list()),
            b's' => record.repository_tag = text(),
            b'f' => record.flags = text().unwrap_or_default(),
            _ => {}
        }
    }
    record.name = names.required(block, "P", "a name")?;
    record.version = versions.required(block, "V", "a version")?;
    record.is_virtual |= record.name.starts_with('.');
    Ok(record)
}

/// A field of which there may be but one.
#[derive(Default)]
struct Once<'a>(Option<&'a [u8]>);

impl<'a> Once<'a> {
    fn set(
        &mut self,
        line: &Line<'_>,
        field: &'static str,
        value: &'a [u8],
        is_sound: fn(&[u8]) -> Option<&'static str>,
    ) -> Result<()> {
        if let Some(allowed) = is_sound(value) {
            return Err(line.flaw(field, value, allowed));
        }
        match self.0.replace(value) {
            Some(first) if first != value => Err(line
                .flaw(field, value, "it once in the record")
                .hint("the empty line between two records is missing")),
            _ => Ok(()),
        }
    }

    fn required(&self, block: &Block<'_>, field: &'static str, allowed: &str) -> Result<String> {
        let Some(value) = self.0 else {
            let offset = block.lines.first().map(|line| line.offset);
            let error = Error::malformed(FORMAT, field, offset, "none", allowed);
            let cut = block.lines.last().is_some_and(|line| !line.is_terminated);
            return Err(block.at(if cut { error.hint("the file is cut off") } else { error }));
        };
        Ok(String::from_utf8_lossy(value).into_owned())
    }
}

/// What a name has to be, if it is not.
fn is_name(name: &[u8]) -> Option<&'static str> {
    let is_sound = !name.is_empty() && name.iter().all(|b| b.is_ascii_alphanumeric() || b"._+-".contains(b));
    (!is_sound).then_some("a name of letters, digits and . _ + -")
}

/// What a version has to be, if it is not; whether it can be ordered is another question.
fn is_version(version: &[u8]) -> Option<&'static str> {
    let is_sound = !version.is_empty() && version.iter().all(u8::is_ascii_graphic);
    (!is_sound).then_some("a version without space")
}

/// Seconds since 1970; apk writes none where it knows none, other tools write 0.
fn time(text: &str) -> Option<Time> {
    Time::from_epoch_text(text).ok().filter(|time| time.unix() != 0)
}

fn owned(block: &Block<'_>, path_bytes: Ceiling) -> Result<PackageFiles> {
    let name = record(block)?;
    let is_sha256 = name.flags.contains('S');
    let mut paths: Vec<OwnedPath> = Vec::new();
    let mut directory: Option<ImagePath> = None;
    // Whether the last of `paths` is a file, which a digest may follow.
    let mut is_file = false;
    for field in block.fields() {
        let (line, letter, value) = field.map_err(|error| block.at(error))?;
        let bad = |allowed: &str| block.at(line.flaw("file", line.text, allowed));
        match letter {
            b'F' | b'R' => {
                path_bytes
                    .check(size_of_len(value.len()))
                    .at(|| format!("line {}", line.number))
                    .map_err(|e| block.at(e))?;
                if value.contains(&0) {
                    return Err(bad("a path"));
                }
                let path = match (letter, &directory) {
                    (b'F', _) => directory.insert(ImagePath::new(value)).clone(),
                    (_, Some(directory)) if !value.is_empty() => directory.join(value),
                    _ => return Err(bad("a file name, and a directory before it")),
                };
                is_file = letter == b'R';
                paths.push(OwnedPath { path, digest: None });
            }
            b'Z' => {
                let file =
                    paths.last_mut().filter(|_| is_file).ok_or_else(|| bad("a file before its digest"))?;
                file.digest = Some(digest(value, is_sha256).ok_or_else(|| bad("a digest"))?);
            }
            _ => {}
        }
    }
    paths.retain(|owned| !owned.path.is_root());
    Ok(PackageFiles { line: name.line, package: name.name, paths })
}

/// A digest as written: `Q1` and `Q2` with base64 behind, or an MD5 in hexadecimal.
fn digest(text: &[u8], is_sha256: bool) -> Option<Digest> {
    if let Some(encoded) = text.strip_prefix(b"Q1") {
        let bytes = base64(encoded)?.try_into().ok()?;
        return Some(if is_sha256 { Digest::Sha256Start(bytes) } else { Digest::Sha1(bytes) });
    }
    if let Some(encoded) = text.strip_prefix(b"Q2") {
        return Some(Digest::Sha256(base64(encoded)?.try_into().ok()?));
    }
    let digit = |b: &u8| char::from(*b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let bytes: Option<Vec<u8>> = text
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => Some(digit(high)?.checked_shl(4)? | digit(low)?),
            _ => None,
        })
        .collect();
    Some(Digest::Md5(bytes?.try_into().ok()?))
}

/// Base64 with the standard alphabet and its padding (RFC 4648), of at most 32 bytes.
fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let padding = text.iter().rev().take_while(|b| **b == b'=').count();
    let digits = text.get(..text.len().checked_sub(padding)?)?;
    if text.len().checked_rem(4)? != 0 || padding > 2 || text.len() > 44 {
        return None;
    }
    let mut out = Vec::with_capacity(32);
    let mut held: u32 = 0;
    let mut bits: u32 = 0;
    for sign in digits {
        let value = match sign {
            b'A'..=b'Z' => sign.checked_sub(b'A')?,
            b'a'..=b'z' => sign.checked_sub(b'a')?.checked_add(26)?,
            b'0'..=b'9' => sign.checked_sub(b'0')?.checked_add(52)?,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        held = held.checked_shl(6)? & 0xffff | u32::from(value);
        bits = bits.checked_add(6)?;
        if bits >= 8 {
            bits = bits.checked_sub(8)?;
            out.push(u8::try_from(held.checked_shr(bits)? & 0xff).ok()?);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<Result<Record>> {
        records(text.as_bytes(), &Limits::default()).collect()
    }

    #[test]
    fn a_record_is_read_whole() {
        let text = "C:Q1CpjMpFo3UY/Tn4CshBpA+PXMf04=\nP:musl\nV:1.2.2-r3\nA:armv7\nS:360760\nT:the libc\no:musl-src\n\
                    m:T <t@example.org>\nt:1620570927\nc:1e9c\np:so:libc.so=1 cmd:ld\nr:a b\ns:edge\nf:fs\nX:new\nF:lib\n\
                    R:P:no\nZ:Q1OR21cpf2INrOZXtXeMnWdqhkld4=\n\nP:.deps\nV:0\n\n";
        let all = read(text);
        let [Ok(musl), Ok(deps)] = &all[..] else { panic!("{all:?}") };
        let want = Record {
            line: 1,
            name: "musl".into(),
            version: "1.2.2-r3".into(),
            arch: "armv7".into(),
            checksum: Some("Q1CpjMpFo3UY/Tn4CshBpA+PXMf04=".into()),
            origin: Some("musl-src".into()),
            maintainer: Some("T <t@example.org>".into()),
            commit: Some("1e9c".into()),
            built_at: Time::from_unix(1_620_570_927),
            provides: vec!["so:libc.so=1".into(), "cmd:ld".into()],
            replaces: vec!["a".into(), "b".into()],
            repository_tag: Some("edge".into()),
            flags: "fs".into(),
            is_virtual: false,
            is_terminated: true,
        };
        assert_eq!(*musl, want);
        assert_eq!(musl.remark().as_deref(), Some("broken files, broken scripts"));
        assert_eq!((deps.line, deps.is_virtual, deps.remark()), (20, true, None));
    }

    #[test]
    fn a_damaged_record_leaves_its_neighbours() {
        let good = "P:a\nV:1\n\n";
        for (bad, want) in [
            ("V:1\n", "line 4: apk record: P at byte 0x9: none; allowed: a name"),
            ("P:b\n", "package `b`: line 4: apk record: V at byte 0x9: none; allowed: a version"),
            (
                "P:b\nnonsense\nV:1\n",
                "package `b`: line 5: apk record: line at byte 0xd: `nonsense`; allowed: a letter, a colon and a value",
            ),
            (
                "P:b\nV:1\nP:c\n",
                "package `b`: line 6: apk record: P at byte 0x11: `c`; allowed: it once in the record",
            ),
            (
                "P:b\nV:1\nF:x\nP:c\nV:1\n",
                "package `b`: line 7: apk record: P at byte 0x15: `c`; allowed: it once in the record",
            ),
            (
                "P:b\nV:1\nV:2\n",
                "package `b`: line 6: apk record: V at byte 0x11: `2`; allowed: it once in the record",
            ),
            (
                "P:b c\nV:1\n",
                "package `b c`: line 4: apk record: P at byte 0x9: `b c`; allowed: a name of letters, digits and . _ + -",
            ),
            (
                "P:b\nV:\n",
                "package `b`: line 5: apk record: V at byte 0xd: ``; allowed: a version without space",
            ),
            (
                "P:b\nV:1 2\n",
                "package `b`: line 5: apk record: V at byte 0xd: `1 2`; allowed: a version without space",
            ),
        ] {
            let all = read(&format!("{good}{bad}\n{good}"));
            let [Ok(_), Err(error), Ok(_)] = &all[..] else { panic!("{all:?}") };
            assert_eq!(error.to_string(), want);
        }
        assert!(read("").is_empty() && read("\n\n \n").len() == 1);
    }

    #[test]
    fn names_of_several_records_are_told() {
        let text = "P:a\nV:1\n\nP:a\nV:2\n\nP:b\nV:1\nA:x\n\nP:b\nV:1\nA:x\n\nP:made-up\nV:0\nT:virtual meta package\n\n";
        let all: Vec<Record> = read(text).into_iter().flatten().collect();
        let told: Vec<String> = conflicts(&all).iter().map(ToString::to_string).collect();
        assert_eq!(told, ["package `a`: apk database: package: 1, 2; allowed: one record"]);
        assert!(all[4].is_virtual && !all[3].is_virtual);
    }

    #[test]
    fn the_world_is_names() {
        let names: Vec<&str> =
            world("# all\ncurl>8.0 git@edge\n!vim\nso:libc.so=1\npy3~3.11\n.build-deps\n").collect();
        assert_eq!(names, ["curl", "git", "so:libc.so", "py3", ".build-deps"]);
    }

    #[test]
    fn a_database_that_is_cut_off_says_so() {
        let whole = "P:a\nV:1.2\nF:lib\nR:x\n\n";
        for (end, want) in [
            (whole.len(), Some(true)),
            (whole.len() - 1, Some(false)), // the empty line is missing
            (whole.len() - 2, Some(false)), // the last line has no end
            ("P:a\nV:1.2\n".len(), Some(false)),
            ("P:a\nV:1.2".len(), None), // it may have been 1.23
            ("P:a\n".len(), None),
            ("P:".len(), None),
        ] {
            let all = read(&whole[..end]);
            let got = all[0].as_ref().ok().map(|record| record.is_terminated);
            assert_eq!((got, all.len()), (want, 1), "{end}");
        }
        assert_eq!(read("P:a\nV:1").remove(0).unwrap_err().hint_text(), Some("the file is cut off"));
    }

    #[test]
    fn carriage_returns_are_dropped_where_the_file_has_them() {
        let all = read("P:a\r\nV:1\r\n\r\nP:b\r\nV:2\r\n\r\n");
        let found: Vec<_> =
            all.iter().map(|r| r.as_ref().map(|r| (r.name.as_str(), r.is_terminated)).unwrap()).collect();
        assert_eq!(found, [("a", true), ("b", true)]);
        assert!(read("P:a\nV:1\r\n\n")[0].is_err());
    }

    #[test]
    fn ceilings_hold() {
        let mut limits = Limits::default();
        limits.set("apk_line_bytes", 8).unwrap();
        let all: Vec<_> =
            records(b"P:a\nV:1\np:123456\n\nP:b\nV:1\np:1234567\n\nP:c\nV:1\n\n", &limits).collect();
        assert!(matches!(&all[..], [Ok(_), Err(_), Ok(_)]), "{all:?}");
        assert!(
            all[1]
                .as_ref()
                .unwrap_err()
                .to_string()
                .starts_with("package `b`: line 7: limit `apk_line_bytes`")
        );
        limits.set("records", 1).unwrap();
        let all: Vec<_> = records(b"P:a\nV:1\n\nP:b\nV:1\n\nP:c\nV:1\n\n", &limits).collect();
        assert!(matches!(&all[..], [Ok(_), Err(_)]), "{all:?}");
        limits.set("record_bytes", 10).unwrap();
        assert!(records(b"P:a\nV:1\nA:b\n\n", &limits).next().unwrap().is_err());
    }

    #[test]
    fn files_have_their_directories_and_digests() {
        let text = "P:a\nV:1\nf:S\nF:\nR:x\nZ:Q1AAAAAAAAAAAAAAAAAAAAAAAAAAE=\nF:usr/lib\nM:0:0:755\nR:y\na:0:0:777\n\
                    Z:Q2AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAI=\n\n\
                    P:b\nV:1\nF:etc\nR:z\nZ:d41d8cd98f00b204e9800998ecf8427e\n\nP:c\nV:1\nR:lost\n\n";
        let all: Vec<_> = files(text.as_bytes(), &Limits::default()).collect();
        let [Ok(a), Ok(b), Err(error)] = &all[..] else { panic!("{all:?}") };
        let paths: Vec<_> = a.paths.iter().map(|owned| owned.path.to_string()).collect();
        assert_eq!(paths, ["/x", "/usr/lib", "/usr/lib/y"]);
        let mut short = [0; 20];
        short[19] = 1;
        let mut long = [0; 32];
        long[31] = 2;
        assert_eq!(a.paths[0].digest, Some(Digest::Sha256Start(short)));
        assert_eq!(a.paths[2].digest, Some(Digest::Sha256(long)));
        assert!(matches!(b.paths[1].digest, Some(Digest::Md5([0xd4, 0x1d, ..]))));
        assert!(error.to_string().starts_with("package `c`: line 21: apk record: file"), "{error}");
    }
}
