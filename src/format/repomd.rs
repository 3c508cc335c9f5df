//! `repomd.xml`: which files describe an rpm repository
//! (<http://linux.duke.edu/metadata/repo>, as createrepo_c, yum and libzypp write it).
//!
//! | element | read |
//! |---|---|
//! | `revision` | text |
//! | `data` | `type` |
//! | `data/location` | `href`, `xml:base` |
//! | `data/checksum`, `data/open-checksum` | `type`, text: of the file as it is stored, and inflated |
//! | `data/size`, `data/open-size` | bytes, likewise |
//! | `data/timestamp` | seconds since 1970, a fraction being cut off |
//!
//! Not read: tags, the headers of zchunk files, signatures (`repomd.xml.asc`): whoever keeps the files vouches
//! for them.
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

use super::nevra::number;
use super::xml::{Dialect, Xml};
use crate::bytes::size_of_len;
use crate::error::{Error, Result, ResultExt as _, quoted};
use crate::limits::Limits;
use crate::model::Time;

mod stream;

pub use stream::{Checksum, ChecksumKind, Verdict, open};

const DIALECT: Dialect = Dialect {
    format: "repomd",
    root: "repomd",
    namespaces: &["http://linux.duke.edu/metadata/repo", "http://linux.duke.edu/metadata/rpm"],
    prefixes: &["rpm"],
};

/// What a `repomd.xml` says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Repomd {
    /// Which state of the repository it is: mostly seconds since 1970, but any text.
    pub revision: Option<String>,
    /// Its files, in order.
    pub files: Vec<MetadataFile>,
}

/// A file as a `repomd.xml` lists it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MetadataFile {
    /// What it holds: `primary`, `updateinfo`, `modules`, `primary_db`, `primary_zck`.
    pub kind: String,
    /// Where it is, relative to the repository (the directory above `repodata`) or to `base`.
    pub location: String,
    /// What `location` is relative to, if it is not the repository.
    pub base: Option<String>,
    /// The digest of the file as it is stored.
    pub checksum: Option<Checksum>,
    /// The digest of what it holds, inflated.
    pub open_checksum: Option<Checksum>,
    /// The size of the file as it is stored.
    pub size_bytes: Option<u64>,
    /// The size of what it holds, inflated.
    pub open_size_bytes: Option<u64>,
    /// When it was made.
    pub made_at: Option<Time>,
}

impl Repomd {
    /// The file of this kind; `None` if there is none.
    ///
    /// # Errors
    /// `Malformed` if there are two that differ.
    pub fn file(&self, kind: &str) -> Result<Option<&MetadataFile>> {
        let mut found: Option<&MetadataFile> = None;
        for file in self.files.iter().filter(|file| file.kind == kind) {
            match found {
                Some(first) if first != file => {
                    let told = format!("two: {}, {}", quoted(&first.location), quoted(&file.location));
                    return Err(Error::malformed(DIALECT.format, "data", None, told, "one of each type")
                        .at(format!("data {}", quoted(kind))));
                }
                _ => found = Some(file),
            }
        }
        Ok(found)
    }

    /// When the newest of its files was made.
    #[must_use]
    pub fn made_at(&self) -> Option<Time> {
        self.files.iter().filter_map(|file| file.made_at).max()
    }
}

impl MetadataFile {
    /// Whether it is compressed with zchunk, told by its kind and its name.
    #[must_use]
    pub fn is_zchunk(&self) -> bool {
        self.kind.ends_with("_zck") || self.location.ends_with(".zck")
    }

    /// Its path below the repository.
    ///
    /// # Errors
    /// `Malformed` for one that leads out of the repository; `Unsupported` for one on another server.
    pub fn path(&self) -> Result<&str> {
        let location = self.location.as_str();
        let place = || format!("data {}", quoted(&self.kind));
        if self.base.is_some() || location.contains("://") {
            let base = self.base.as_deref().unwrap_or(location);
            return Err(Error::unsupported(format!("metadata at another place, {}", quoted(base)))
                .hint("copy the file into the repository and name it there with modifyrepo_c")
                .at(place()));
        }
        let is_inside = !location.starts_with('/')
            && !location.contains('\0')
            && location.split('/').all(|part| !matches!(part, ".." | ""));
        if !is_inside {
            let allowed = "a path inside of the repository";
            return Err(
                Error::malformed(DIALECT.format, "location", None, quoted(location), allowed).at(place())
            );
        }
        Ok(location)
    }
}

/// Reads a `repomd.xml`. Files of any kind are listed, in order, twice if it lists them twice.
///
/// # Errors
/// `Malformed` for what is no such file, is cut off, or lists a file without type or location, or with a bad
/// number; `Limit` above `repomd_files`, `record_bytes` for all of it, or `xml_depth`; what the stream gives.
pub fn read(stream: &mut dyn BufRead, limits: &Limits) -> Result<Repomd> {
    let mut xml = Xml::new(&DIALECT, stream, limits);
    xml.root()?;
    let mut repomd = Repomd::default();
    while let Some(tag) = xml.child(1)? {
        match tag.name() {
            "revision" => {
                let text = xml.text()?;
                repomd.revision = repomd.revision.or(Some(text)).filter(|text| !text.is_empty());
            }
            "data" => {
                let kind = tag.attribute("type")?.unwrap_or_default();
                let place = format!("data {}", quoted(&kind));
                repomd.files.push(data(&mut xml, kind).at(|| place)?);
                limits.repomd_files.check(size_of_len(repomd.files.len()))?;
            }
            _ => {}
        }
    }
    xml.finish()?;
    Ok(repomd)
}

fn data(xml: &mut Xml<'_>, kind: String) -> Result<MetadataFile> {
    if kind.is_empty() {
        return Err(xml.flaw("type", "none", "one"));
    }
    let mut file = MetadataFile { kind, ..MetadataFile::default() };
    let mut location = None;
    while let Some(tag) = xml.child(2)? {
        match tag.name() {
            "location" => {
                let mut href = None;
                tag.attributes(&mut |name, value| {
                    match name {
                        "href" => href = Some(value.into_owned()),
                        "xml:base" if !value.is_empty() => file.base = Some(value.into_owned()),
                        _ => {}
                    }
                    Ok(())
                })?;
                once(xml, "location", &mut location, href.unwrap_or_default())?;
            }
            name @ ("checksum" | "open-checksum") => {
                let (field, slot) = match name {
                    "checksum" => ("checksum", &mut file.checksum),
                    _ => ("open-checksum", &mut file.open_checksum),
                };
                let kind = tag.attribute("type")?.unwrap_or_default();
                let text = xml.text()?;
                let Some(checksum) = Checksum::of(&kind, &text) else {
                    let found = format!("{} {}", quoted(kind), quoted(text));
                    return Err(xml.flaw(field, found, "sha256 or another kind, and its hexadecimal digits"));
                };
                once(xml, field, slot, checksum)?;
            }
            name @ ("size" | "open-size") => {
                let (field, slot) = match name {
                    "size" => ("size", &mut file.size_bytes),
                    _ => ("open-size", &mut file.open_size_bytes),
                };
                let text = xml.text()?;
                let Some(size) = number(&text) else {
                    return Err(xml.flaw(field, quoted(text), "a number of bytes"));
                };
                once(xml, field, slot, size)?;
            }
            "timestamp" => {
                let text = xml.text()?;
                let whole = text.split_once('.').map_or(text.as_str(), |(whole, _)| whole);
                let Some(time) = number(whole).and_then(Time::from_unix) else {
                    return Err(xml.flaw("timestamp", quoted(text), "seconds since 1970"));
                };
                once(xml, "timestamp", &mut file.made_at, time)?;
            }
            _ => {}
        }
    }
    match location.filter(|location: &String| !location.is_empty()) {
        Some(location) => file.location = location,
        None => return Err(xml.flaw("location", "none", "one")),
    }
    Ok(file)
}

fn once<T: PartialEq>(xml: &Xml<'_>, field: &'static str, slot: &mut Option<T>, value: T) -> Result<()> {
    match slot {
        Some(known) if *known != value => Err(xml.flaw(field, "two that differ", "one")),
        _ => {
            *slot = Some(value);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests;
