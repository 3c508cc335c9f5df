//! rpm headers: what an `.rpm` file and each record of an rpm database hold of a package.
//!
//! As rpm writes them (rpm's `docs/manual/format_header.md`, `format_v4.md`): two big-endian numbers, the count
//! of index entries and the size of the data; the entries, 16 bytes each (tag, type, offset, count); the data.
//! A record of a database starts there; in an `.rpm` file eight bytes of magic come before, and before these
//! the lead and the signature header.
//!
//! What came in the package is a region of its own at the start of the entries and of the data, under the tag
//! `HEADERIMMUTABLE`; what was added when it was installed stands behind. The digest of the region
//! (`SHA256HEADER`, else `SHA1HEADER`) is checked wherever it is there: a record that was damaged or edited is an error.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::indexing_slicing,
        clippy::unwrap_used
    )
)]

mod changelog;
mod files;
mod package;
mod region;

use crate::bytes::{array_at, be_u16, be_u32, be_u64, size_of_len};
use crate::error::{Error, Result, quoted};
use crate::limits::Limits;

pub use changelog::{Change, is_release, release_entries, stated_version};
pub use files::{DigestAlgorithm, OwnedFile};
pub use package::{RpmPackage, source_of_file_name};
pub use region::check_whole;

/// What a message calls the format.
const FORMAT: &str = "rpm header";

/// Before an index: two numbers.
const INTRO_BYTES: usize = 8;
const ENTRY_BYTES: usize = 16;
/// Before the intro in files, and in what is digested: magic, version, four reserved bytes.
pub(super) const MAGIC: [u8; 8] = [0x8e, 0xad, 0xe8, 0x01, 0, 0, 0, 0];

/// The tags that are read, as rpm numbers them.
mod tags {
    pub(super) const HEADER_IMMUTABLE: u32 = 63;
    pub(super) const SHA1_HEADER: u32 = 269;
    pub(super) const SHA256_HEADER: u32 = 273;
    pub(super) const NAME: u32 = 1000;
    pub(super) const VERSION: u32 = 1001;
    pub(super) const RELEASE: u32 = 1002;
    pub(super) const EPOCH: u32 = 1003;
    pub(super) const BUILD_TIME: u32 = 1006;
    pub(super) const INSTALL_TIME: u32 = 1008;
    pub(super) const VENDOR: u32 = 1011;
    pub(super) const PACKAGER: u32 = 1015;
    pub(super) const ARCH: u32 = 1022;
    pub(super) const OLD_FILE_NAMES: u32 = 1027;
    pub(super) const FILE_STATES: u32 = 1029;
    pub(super) const FILE_MODES: u32 = 1030;
    pub(super) const FILE_DIGESTS: u32 = 1035;
    pub(super) const FILE_FLAGS: u32 = 1037;
    pub(super) const SOURCE_RPM: u32 = 1044;
    pub(super) const CHANGELOG_TIME: u32 = 1080;
    pub(super) const CHANGELOG_NAME: u32 = 1081;
    pub(super) const CHANGELOG_TEXT: u32 = 1082;
    pub(super) const DIR_INDEXES: u32 = 1116;
    pub(super) const BASE_NAMES: u32 = 1117;
    pub(super) const DIR_NAMES: u32 = 1118;
    pub(super) const FILE_DIGEST_ALGORITHM: u32 = 5011;
    pub(super) const MODULARITY_LABEL: u32 = 5096;
    pub(super) const SOURCE_PACKAGE: u32 = 1106;
}

/// The name of a tag that is read, for messages.
fn name_of(tag: u32) -> String {
    let name = match tag {
        tags::HEADER_IMMUTABLE => "HEADERIMMUTABLE",
        tags::SHA1_HEADER => "SHA1HEADER",
        tags::SHA256_HEADER => "SHA256HEADER",
        tags::NAME => "NAME",
        tags::VERSION => "VERSION",
        tags::RELEASE => "RELEASE",
        tags::EPOCH => "EPOCH",
        tags::BUILD_TIME => "BUILDTIME",
        tags::INSTALL_TIME => "INSTALLTIME",
        tags::VENDOR => "VENDOR",
        tags::PACKAGER => "PACKAGER",
        tags::ARCH => "ARCH",
        tags::OLD_FILE_NAMES => "OLDFILENAMES",
        tags::FILE_STATES => "FILESTATES",
        tags::FILE_MODES => "FILEMODES",
        tags::FILE_DIGESTS => "FILEDIGESTS",
        tags::FILE_FLAGS => "FILEFLAGS",
        tags::SOURCE_RPM => "SOURCERPM",
        tags::CHANGELOG_TIME => "CHANGELOGTIME",
        tags::CHANGELOG_NAME => "CHANGELOGNAME",
        tags::CHANGELOG_TEXT => "CHANGELOGTEXT",
        tags::DIR_INDEXES => "DIRINDEXES",
        tags::BASE_NAMES => "BASENAMES",
        tags::DIR_NAMES => "DIRNAMES",
        tags::FILE_DIGEST_ALGORITHM => "FILEDIGESTALGO",
        tags::MODULARITY_LABEL => "MODULARITYLABEL",
        tags::SOURCE_PACKAGE => "SOURCEPACKAGE",
        other => return format!("tag {other}"),
    };
    name.to_owned()
}

/// The types of data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Null,
    Char,
    Int8,
    Int16,
    Int32,
    Int64,
    Text,
    Binary,
    Texts,
    I18nTexts,
}

impl Kind {
    fn of(number: u32) -> Option<Kind> {
        let kinds = [
            Kind::Null,
            Kind::Char,
            Kind::Int8,
            Kind::Int16,
            Kind::Int32,
            Kind::Int64,
            Kind::Text,
            Kind::Binary,
            Kind::Texts,
            Kind::I18nTexts,
        ];
        kinds.get(usize::try_from(number).ok()?).copied()
    }

    /// The size of one value in bytes; `None` for texts, which end in a zero byte.
    fn unit_bytes(self) -> Option<usize> {
        match self {
            Kind::Null => Some(0),
            Kind::Char | Kind::Int8 | Kind::Binary => Some(1),
            Kind::Int16 => Some(2),
            Kind::Int32 => Some(4),
            Kind::Int64 => Some(8),
            Kind::Text | Kind::Texts | Kind::I18nTexts => None,
        }
    }
}

/// One entry of the index.
#[derive(Debug, Clone, Copy)]
struct Entry {
    tag: u32,
    kind: Kind,
    offset: usize,
    count: usize,
}

/// A header whose index was checked: every entry lies in the data.
#[derive(Debug)]
pub struct Header<'a> {
    /// Sorted by tag; of entries with one tag the last counts, as it was added when the package was installed.
    entries: Vec<Entry>,
    data: &'a [u8],
}

impl<'a> Header<'a> {
    /// Reads the header that is at the start of these bytes, without magic, and checks its digest where it has
    /// one.
    ///
    /// # Errors
    /// `Malformed` with the offset in `bytes` for an index that is cut off, that has entries of no known type or
    /// outside the data, or whose digest does not agree; `Limit` for what is too large.
    pub fn of_record(bytes: &'a [u8], limits: &Limits) -> Result<Self> {
        let (header, len) = Header::at_start(bytes, limits)?;
        if len != bytes.len() {
            return Err(malformed("size", 0, format!("{} bytes", bytes.len()), format!("{len}, as it says")));
        }
        Ok(header)
    }

    /// Reads the header at the start, and says how many bytes it has.
    fn at_start(bytes: &'a [u8], limits: &Limits) -> Result<(Self, usize)> {
        let count = limits.rpm_header_entries.check(u64::from(be_u32(bytes, 0)))?;
        let data_bytes = limits.rpm_header_bytes.check(u64::from(be_u32(bytes, 4)))?;
        let index_bytes = count.saturating_mul(size_of_len(ENTRY_BYTES));
        let start = usize::try_from(index_bytes).unwrap_or(usize::MAX).saturating_add(INTRO_BYTES);
        let end = start.saturating_add(usize::try_from(data_bytes).unwrap_or(usize::MAX));
        let (Some(index), Some(data)) = (bytes.get(INTRO_BYTES..start), bytes.get(start..end)) else {
            let allowed = format!("{count} entries and {data_bytes} bytes of data, as it says");
            return Err(malformed("size", 0, format!("{} bytes", bytes.len()), allowed));
        };
        if count == 0 {
            return Err(malformed("index", 0, "no entry", "at least one"));
        }
        let mut entries = Vec::new();
        for (number, raw) in index.chunks_exact(ENTRY_BYTES).enumerate() {
            let at = number.saturating_mul(ENTRY_BYTES).saturating_add(INTRO_BYTES);
            entries.push(checked_entry(raw, data, at)?);
        }
        region::check(index, &entries, data)?;
        entries.sort_by_key(|entry| entry.tag); // stable: of one tag the last stays last
        Ok((Header { entries, data }, end))
    }

    fn entry(&self, tag: u32) -> Option<&Entry> {
        let behind = self.entries.partition_point(|entry| entry.tag <= tag);
        let entry = self.entries.get(behind.checked_sub(1)?)?;
        (entry.tag == tag).then_some(entry)
    }

    /// The entry of a tag, if it is of one of these types.
    fn typed(&self, tag: u32, kinds: &[Kind]) -> Result<Option<&Entry>> {
        match self.entry(tag) {
            Some(entry) if !kinds.contains(&entry.kind) => {
                let found = format!("{:?}", entry.kind);
                Err(malformed(
                    "type",
                    entry.offset,
                    format!("{found} for {}", name_of(tag)),
                    format!("{kinds:?}"),
                ))
            }
            entry => Ok(entry),
        }
    }

    /// The data of an entry from its start on.
    fn data_of(&self, entry: &Entry) -> &'a [u8] {
        self.data.get(entry.offset..).unwrap_or_default()
    }

    /// A text; of translated ones the first, which is that of the C locale.
    fn text(&self, tag: u32) -> Result<Option<&'a [u8]>> {
        let entry = self.typed(tag, &[Kind::Text, Kind::Texts, Kind::I18nTexts])?;
        Ok(entry.and_then(|entry| Texts { data: self.data_of(entry), left: entry.count }.next()))
    }

    /// All texts of an array.
    fn texts(&self, tag: u32) -> Result<Texts<'a>> {
        let entry = self.typed(tag, &[Kind::Texts, Kind::Text, Kind::I18nTexts])?;
        Ok(entry.map_or(Texts { data: &[], left: 0 }, |entry| Texts {
            data: self.data_of(entry),
            left: entry.count,
        }))
    }

    /// Numbers of 16 bits.
    fn numbers16(&self, tag: u32) -> Result<Vec<u16>> {
        let Some(entry) = self.typed(tag, &[Kind::Int16])? else { return Ok(Vec::new()) };
        Ok(self.data_of(entry).chunks_exact(2).take(entry.count).map(|raw| be_u16(raw, 0)).collect())
    }

    /// Numbers of 32 bits.
    fn numbers(&self, tag: u32) -> Result<Vec<u32>> {
        let Some(entry) = self.typed(tag, &[Kind::Int32])? else { return Ok(Vec::new()) };
        Ok(self.data_of(entry).chunks_exact(4).take(entry.count).map(|raw| be_u32(raw, 0)).collect())
    }

    /// Numbers of 8 bits.
    fn bytes(&self, tag: u32) -> Result<&'a [u8]> {
        let Some(entry) = self.typed(tag, &[Kind::Char, Kind::Int8, Kind::Binary])? else { return Ok(&[]) };
        Ok(self.data_of(entry).get(..entry.count).unwrap_or_default())
    }

    /// The first number, of 32 or 64 bits.
    fn number(&self, tag: u32) -> Result<Option<u64>> {
        let entry = self.typed(tag, &[Kind::Int32, Kind::Int64])?;
        Ok(entry.filter(|entry| entry.count > 0).map(|entry| match entry.kind {
            Kind::Int64 => be_u64(self.data_of(entry), 0),
            _ => u64::from(be_u32(self.data_of(entry), 0)),
        }))
    }
}

/// The texts of an array, each without its zero byte.
struct Texts<'a> {
    data: &'a [u8],
    left: usize,
}

impl<'a> Iterator for Texts<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        self.left = self.left.checked_sub(1)?;
        let end = memchr::memchr(0, self.data)?;
        let text = self.data.get(..end)?;
        self.data = self.data.get(end.saturating_add(1)..).unwrap_or_default();
        Some(text)
    }
}

/// An entry of the index that lies in the data, as rpm checks it.
fn checked_entry(raw: &[u8], data: &[u8], at: usize) -> Result<Entry> {
    let tag = be_u32(raw, 0);
    let flaw = |field, found: String, allowed: String| Err(malformed(field, at, found, allowed));
    let of = |what: String| format!("{what} for {}", name_of(tag));
    let Some(kind) = Kind::of(be_u32(raw, 4)) else {
        return flaw("type", of(be_u32(raw, 4).to_string()), "0 to 9".into());
    };
    let count = usize::try_from(be_u32(raw, 12)).unwrap_or(usize::MAX);
    let offset = usize::try_from(i32::from_be_bytes(array_at(raw, 8))).unwrap_or(usize::MAX);
    let Some(rest) = data.get(offset..) else {
        let found = i32::from_be_bytes(array_at(raw, 8));
        return flaw("offset", of(found.to_string()), format!("0 to {}", data.len()));
    };
    match kind.unit_bytes() {
        Some(unit) if count.saturating_mul(unit) > rest.len() => {
            let found = of(format!("{count} values of {unit} bytes at {offset}"));
            return flaw("count", found, format!("{} bytes that are left", rest.len()));
        }
        Some(unit) if unit > 1 && !offset.is_multiple_of(unit) => {
            return flaw("offset", of(offset.to_string()), format!("a multiple of {unit}"));
        }
        None => {
            let ends = memchr::memchr_iter(0, rest).take(count).count();
            if ends < count || kind == Kind::Text && count != 1 {
                let allowed = if kind == Kind::Text { "one text" } else { "texts that end in the data" };
                return flaw("count", of(format!("{count} texts at {offset}")), allowed.into());
            }
        }
        Some(_) => {}
    }
    Ok(Entry { tag, kind, offset, count })
}

/// What is wrong with a header, at an offset from its start.
fn malformed(field: &'static str, at: usize, found: impl Into<String>, allowed: impl Into<String>) -> Error {
    Error::malformed(FORMAT, field, size_of_len(at), found, allowed)
}

/// What a text says, where it must be UTF-8.
fn utf8(tag: u32, text: &[u8]) -> Result<String> {
    match std::str::from_utf8(text) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err(Error::malformed(
            FORMAT,
            "text",
            None,
            format!("{} of {}", quoted(text), name_of(tag)),
            "UTF-8",
        )),
    }
}
