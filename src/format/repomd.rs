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
use crate::error::{Error, Result, quoted};
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
#[derive(Debug, Clone, Default)]
pub struct Repomd {
    /// Which state of the repository it is: mostly seconds since 1970, but any text.
    pub revision: Option<String>,
    /// Its files, in order.
    pub files: Vec<MetadataFile>,
    /// What it lists and cannot be read, by kind, with what is wrong.
    pub damaged: Vec<(String, Error)>,
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
    /// `Malformed` if there are two that differ, or one that is damaged.
    pub fn file(&self, kind: &str) -> Result<Option<&MetadataFile>> {
        if let Some((_, error)) = self.damaged.iter().find(|(own, _)| own == kind) {
            return Err(error.clone());
        }
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

/// Reads a `repomd.xml`. Files of any kind are listed, in order, twice if it lists them twice; one without
/// type or location, or with a bad number or digest, is damaged.
///
/// # Errors
/// `Malformed` for what is no such file or is cut off; `Limit` above `repomd_files`, `record_bytes` for all of it, or `xml_depth`; what the stream gives.
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
                match data(&mut xml, kind.clone())? {
                    Ok(file) => repomd.files.push(file),
                    Err(error) => {
                        let error = error.at(format!("data {}", quoted(&kind)));
                        repomd.damaged.push((kind, error));
                    }
                }
                let count = repomd.files.len().saturating_add(repomd.damaged.len());
                limits.repomd_files.check(size_of_len(count))?;
            }
            _ => {}
        }
    }
    xml.finish()?;
    Ok(repomd)
}

/// The file, or what is wrong with it.
fn data(xml: &mut Xml<'_>, kind: String) -> Result<std::result::Result<MetadataFile, Error>> {
    let mut draft = Draft { file: MetadataFile { kind, ..MetadataFile::default() }, flaw: None };
    if draft.file.kind.is_empty() {
        draft.flaw(xml, "type", "none", "one");
    }
    let mut location = None;
    while let Some(tag) = xml.child(2)? {
        match tag.name() {
            "location" => {
                let mut href = None;
                tag.attributes(&mut |name, value| {
                    match name {
                        "href" => href = Some(value.into_owned()),
                        "xml:base" if !value.is_empty() => draft.file.base = Some(value.into_owned()),
                        _ => {}
                    }
                    Ok(())
                })?;
                let is_other = location.is_some() && location != href;
                if is_other {
                    draft.flaw(xml, "location", "two that differ", "one");
                }
                location = href;
            }
            name @ ("checksum" | "open-checksum") => {
                let is_open = name == "open-checksum";
                let kind = tag.attribute("type")?.unwrap_or_default();
                let text = xml.text()?;
                let field = if is_open { "open-checksum" } else { "checksum" };
                match Checksum::of(&kind, &text) {
                    Some(checksum) if is_open => {
                        draft.set(xml, field, |file| &mut file.open_checksum, checksum);
                    }
                    Some(checksum) => draft.set(xml, field, |file| &mut file.checksum, checksum),
                    None => {
                        let found = format!("{} {}", quoted(kind), quoted(text));
                        draft.flaw(xml, field, found, "sha256 or another kind, and its hexadecimal digits");
                    }
                }
            }
            name @ ("size" | "open-size") => {
                let is_open = name == "open-size";
                let text = xml.text()?;
                let field = if is_open { "open-size" } else { "size" };
                match number(&text) {
                    Some(size) if is_open => draft.set(xml, field, |file| &mut file.open_size_bytes, size),
                    Some(size) => draft.set(xml, field, |file| &mut file.size_bytes, size),
                    None => draft.flaw(xml, field, quoted(text), "a number of bytes"),
                }
            }
            "timestamp" => {
                let text = xml.text()?;
                let whole = text.split_once('.').map_or(text.as_str(), |(whole, _)| whole);
                match number(whole).and_then(Time::from_unix) {
                    Some(time) => draft.set(xml, "timestamp", |file| &mut file.made_at, time),
                    None => draft.flaw(xml, "timestamp", quoted(text), "seconds since 1970"),
                }
            }
            _ => {}
        }
    }
    match location.filter(|location| !location.is_empty()) {
        Some(location) => draft.file.location = location,
        None => draft.flaw(xml, "location", "none", "one"),
    }
    Ok(draft.flaw.map_or(Ok(draft.file), Err))
}

/// A file while it is read, and the first thing that is wrong with it.
struct Draft {
    file: MetadataFile,
    flaw: Option<Error>,
}

impl Draft {
    fn flaw(&mut self, xml: &Xml<'_>, field: &'static str, found: impl Into<String>, allowed: &str) {
        self.flaw.get_or_insert_with(|| xml.flaw(field, found, allowed));
    }

    /// Sets what may be said once, or twice the same.
    fn set<T: PartialEq>(
        &mut self,
        xml: &Xml<'_>,
        field: &'static str,
        slot: fn(&mut MetadataFile) -> &mut Option<T>,
        value: T,
    ) {
        match slot(&mut self.file) {
            Some(known) if *known != value => self.flaw(xml, field, "two that differ", "one"),
            slot => *slot = Some(value),
        }
    }
}

#[cfg(test)]
mod tests;
