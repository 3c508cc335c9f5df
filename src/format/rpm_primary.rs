//! `primary.xml` of an rpm repository: its packages, read as a stream
//! (<https://rpm-software-management.github.io/createrepo_c/>; <http://linux.duke.edu/metadata/common>, as
//! createrepo_c, yum and libzypp write it).
//!
//! | element of `package` | read |
//! |---|---|
//! | `name`, `arch` | text |
//! | `version` | `epoch`, `ver`, `rel` |
//! | `checksum` | `type`, text |
//! | `location` | `href`, `xml:base` |
//! | `time` | `file`, `build`: seconds since 1970 |
//! | `size` | `package`: bytes of the file |
//! | `format/rpm:vendor`, `format/rpm:sourcerpm` | text |
//! | `format/rpm:obsoletes/rpm:entry` | `name`, `flags`, `epoch`, `ver`, `rel` |
//!
//! Not read: descriptions, what a package provides, requires and conflicts with, its files. Elements come in
//! any order; one that comes twice says the same or the package is damaged.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::indexing_slicing,
        clippy::unwrap_used
    )
)]

use std::io::BufRead;

use super::nevra::{Evr, number};
use super::repomd::Checksum;
use super::xml::{Dialect, Tag, Xml};
use crate::error::{Error, Result, quoted};
use crate::limits::Limits;
use crate::model::Time;

const DIALECT: Dialect = Dialect {
    format: "rpm primary",
    root: "metadata",
    namespaces: &["http://linux.duke.edu/metadata/common", "http://linux.duke.edu/metadata/rpm"],
    prefixes: &["rpm"],
};

/// A package of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its architecture; `src` and `nosrc` are source packages.
    pub arch: String,
    /// Its version.
    pub evr: Evr,
    /// The digest of its file.
    pub checksum: Option<Checksum>,
    /// Where its file is, relative to the repository or to `base`.
    pub location: String,
    /// What `location` is relative to, if it is not the repository.
    pub base: Option<String>,
    /// When it was built.
    pub built_at: Option<Time>,
    /// When its file was last changed where the repository was made.
    pub file_at: Option<Time>,
    /// The size of its file.
    pub size_bytes: Option<u64>,
    /// The file name of its source package: `bash-5.1-9.el9.src.rpm`.
    pub source_rpm: Option<String>,
    /// Who published it.
    pub vendor: Option<String>,
    /// What it replaces.
    pub obsoletes: Vec<Relation>,
}

/// A name, or some versions of it, that a package speaks of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    /// The name.
    pub name: String,
    /// Which of its versions; `None` for all.
    pub versions: Option<(Compare, Evr)>,
}

/// How versions compare with that of a relation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compare {
    /// `LT`: below it.
    Below,
    /// `LE`: below it, or it.
    BelowOrEqual,
    /// `EQ`: it.
    Equal,
    /// `GE`: above it, or it.
    AboveOrEqual,
    /// `GT`: above it.
    Above,
}

impl Compare {
    fn of(flags: &str) -> Option<Self> {
        Some(match flags {
            "LT" => Compare::Below,
            "LE" => Compare::BelowOrEqual,
            "EQ" => Compare::Equal,
            "GE" => Compare::AboveOrEqual,
            "GT" => Compare::Above,
            _ => return None,
        })
    }
}

/// What was read of a `primary.xml`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Read {
    /// Packages in it, damaged ones too.
    pub count: u64,
    /// How many it says that it has.
    pub stated: Option<u64>,
}

impl Read {
    /// Holds the number of packages against what the file says.
    ///
    /// # Errors
    /// `Malformed` if it has fewer or more.
    pub fn check(&self) -> Result<()> {
        match self.stated {
            Some(stated) if stated != self.count => Err(Error::malformed(
                DIALECT.format,
                "packages",
                None,
                self.count.to_string(),
                format!("{stated}, as it says itself"),
            )
            .hint("the file is cut off or was changed by hand; fetch it again")),
            _ => Ok(()),
        }
    }
}

/// Hands over the packages, in the order of the file; a damaged one as the error that says which it is and
/// what is wrong with it. No more than one package is in memory.
///
/// # Errors
/// `Malformed` for what is no such file or is cut off, with the number of packages before; `Limit` above
/// `records`, `record_bytes` or `xml_depth`; what `take` and the stream give.
pub fn read(
    stream: &mut dyn BufRead,
    limits: &Limits,
    take: &mut dyn FnMut(Result<Package>) -> Result<()>,
) -> Result<Read> {
    let mut xml = Xml::new(&DIALECT, stream, limits);
    let stated = xml.root()?.attribute("packages")?.and_then(|count| number(&count));
    let mut read = Read { count: 0, stated };
    match packages(&mut xml, limits, &mut read.count, take) {
        Ok(()) => Ok(read),
        Err(error) => Err(error.at(format!("after {} packages", read.count))),
    }
}

fn packages(
    xml: &mut Xml<'_>,
    limits: &Limits,
    count: &mut u64,
    take: &mut dyn FnMut(Result<Package>) -> Result<()>,
) -> Result<()> {
    while let Some(tag) = xml.child(1)? {
        if tag.name() != "package" {
            continue;
        }
        xml.begin_record();
        let draft = draft(xml)?;
        *count = count.saturating_add(1);
        limits.records.check(*count)?;
        let name = draft.name.clone().unwrap_or_default();
        take(draft.finish().map_err(|error| {
            let error = if name.is_empty() { error } else { error.at(quoted(&name)) };
            error.at(format!("package {count}"))
        }))?;
    }
    xml.finish()
}

/// A package while it is read.
#[derive(Default)]
struct Draft {
    offset: u64,
    flaw: Option<Error>,
    name: Option<String>,
    arch: Option<String>,
    evr: Option<Evr>,
    checksum: Option<Checksum>,
    location: Option<String>,
    base: Option<String>,
    built_at: Option<Time>,
    file_at: Option<Time>,
    size_bytes: Option<u64>,
    source_rpm: Option<String>,
    vendor: Option<String>,
    obsoletes: Vec<Relation>,
}

impl Draft {
    fn wrong(&mut self, field: &'static str, found: impl Into<String>, allowed: &str) {
        let offset = self.offset;
        self.flaw.get_or_insert_with(|| Error::malformed(DIALECT.format, field, offset, found, allowed));
    }

    fn finish(mut self) -> Result<Package> {
        for (field, is_there) in [
            ("name", self.name.as_ref().is_some_and(|name| !name.is_empty())),
            ("arch", self.arch.as_ref().is_some_and(|arch| !arch.is_empty())),
            ("version", self.evr.as_ref().is_some_and(|evr| !evr.version.is_empty())),
            ("location", self.location.as_ref().is_some_and(|location| !location.is_empty())),
        ] {
            if !is_there {
                self.wrong(field, "none", "one");
            }
        }
        if let Some(flaw) = self.flaw {
            return Err(flaw);
        }
        Ok(Package {
            name: self.name.unwrap_or_default(),
            arch: self.arch.unwrap_or_default(),
            evr: self.evr.unwrap_or_default(),
            checksum: self.checksum,
            location: self.location.unwrap_or_default(),
            base: self.base,
            built_at: self.built_at,
            file_at: self.file_at,
            size_bytes: self.size_bytes,
            source_rpm: self.source_rpm,
            vendor: self.vendor,
            obsoletes: self.obsoletes,
        })
    }

    /// Sets what may be said once, or twice the same.
    fn set<T: PartialEq>(&mut self, field: &'static str, slot: fn(&mut Self) -> &mut Option<T>, value: T) {
        match slot(self) {
            Some(known) if *known != value => self.wrong(field, "two that differ", "one"),
            slot => *slot = Some(value),
        }
    }

    fn version(&mut self, tag: &Tag<'_>) -> Result<()> {
        let (mut epoch, mut version, mut release) = (String::new(), String::new(), String::new());
        tag.attributes(&mut |name, value| {
            match name {
                "epoch" => epoch = value.into_owned(),
                "ver" => version = value.into_owned(),
                "rel" => release = value.into_owned(),
                _ => {}
            }
            Ok(())
        })?;
        match Evr::of_parts(&epoch, version, release) {
            Some(evr) => self.set("version", |own| &mut own.evr, evr),
            None => self.wrong("epoch", quoted(epoch), "a number below 4294967296"),
        }
        Ok(())
    }

    fn location(&mut self, tag: &Tag<'_>) -> Result<()> {
        tag.attributes(&mut |name, value| {
            match name {
                "href" => self.set("location", |own| &mut own.location, value.into_owned()),
                "xml:base" if !value.is_empty() => self.set("base", |own| &mut own.base, value.into_owned()),
                _ => {}
            }
            Ok(())
        })
    }

    fn times(&mut self, tag: &Tag<'_>) -> Result<()> {
        tag.attributes(&mut |name, value| {
            let (field, slot): (_, fn(&mut Self) -> &mut Option<Time>) = match name {
                "build" => ("build time", |own| &mut own.built_at),
                "file" => ("file time", |own| &mut own.file_at),
                _ => return Ok(()),
            };
            match number(value.trim_ascii()).and_then(Time::from_unix) {
                // What has no build time has 0 there.
                Some(time) if time.unix() == 0 => {}
                Some(time) => self.set(field, slot, time),
                None if value.trim_ascii().is_empty() => {}
                None => self.wrong(field, quoted(&*value), "seconds since 1970"),
            }
            Ok(())
        })
    }

    fn size(&mut self, tag: &Tag<'_>) -> Result<()> {
        if let Some(size) = tag.attribute("package")? {
            match number(&size) {
                Some(size) => self.set("size", |own| &mut own.size_bytes, size),
                None if size.is_empty() => {}
                None => self.wrong("size", quoted(size), "a number of bytes"),
            }
        }
        Ok(())
    }

    fn relation(&mut self, tag: &Tag<'_>) -> Result<()> {
        let [mut name, mut flags, mut epoch, mut version, mut release] = [const { String::new() }; 5];
        tag.attributes(&mut |own, value| {
            match own {
                "name" => name = value.into_owned(),
                "flags" => flags = value.into_owned(),
                "epoch" => epoch = value.into_owned(),
                "ver" => version = value.into_owned(),
                "rel" => release = value.into_owned(),
                _ => {}
            }
            Ok(())
        })?;
        if name.is_empty() {
            self.wrong("obsoletes", "an entry without name", "a name");
            return Ok(());
        }
        // Without a version the flags say nothing, as in libsolv.
        if flags.is_empty() || version.is_empty() {
            self.obsoletes.push(Relation { name, versions: None });
            return Ok(());
        }
        let Some(compare) = Compare::of(&flags) else {
            self.wrong("flags", quoted(flags), "LT, LE, EQ, GE or GT");
            return Ok(());
        };
        match Evr::of_parts(&epoch, version, release) {
            Some(evr) => self.obsoletes.push(Relation { name, versions: Some((compare, evr)) }),
            None => self.wrong("epoch", quoted(epoch), "a number below 4294967296"),
        }
        Ok(())
    }
}

fn draft(xml: &mut Xml<'_>) -> Result<Draft> {
    let mut draft = Draft { offset: xml.offset(), ..Draft::default() };
    while let Some(tag) = xml.child(2)? {
        match tag.name() {
            "version" => draft.version(&tag)?,
            "location" => draft.location(&tag)?,
            "time" => draft.times(&tag)?,
            "size" => draft.size(&tag)?,
            "name" => draft.set("name", |own| &mut own.name, xml.text()?),
            "arch" => draft.set("arch", |own| &mut own.arch, xml.text()?),
            "checksum" => {
                let kind = tag.attribute("type")?.unwrap_or_default();
                match Checksum::of(&kind, &xml.text()?) {
                    Some(checksum) => draft.set("checksum", |own| &mut own.checksum, checksum),
                    None => draft.wrong("checksum", quoted(kind), "a kind, and its hexadecimal digits"),
                }
            }
            "format" => {
                while let Some(tag) = xml.child(3)? {
                    match tag.name() {
                        "sourcerpm" => {
                            let text = xml.text()?;
                            if !text.is_empty() {
                                draft.set("sourcerpm", |own| &mut own.source_rpm, text);
                            }
                        }
                        "vendor" => {
                            let text = xml.text()?;
                            if !text.is_empty() {
                                draft.set("vendor", |own| &mut own.vendor, text);
                            }
                        }
                        "obsoletes" => {
                            while let Some(tag) = xml.child(4)? {
                                if tag.name() == "entry" {
                                    draft.relation(&tag)?;
                                }
                            }
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    Ok(draft)
}

#[cfg(test)]
mod tests;
