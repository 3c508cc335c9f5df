//! Directories: entries of 32 bytes, several of them for a file, under one checksum.
//!
//! | type | entry | fields |
//! | --- | --- | --- |
//! | `81` | allocation bitmap | |
//! | `82` | up-case table | 4 checksum, 20 first cluster, 24 bytes |
//! | `83` | label | 1 characters, 2 text in UTF-16 |
//! | `85` | file | 1 entries that follow, 2 checksum, 4 attributes |
//! | `c0` | first after `85`: where the file is | 1 flags, 3 characters of the name, 8 valid bytes, 20 first cluster, 24 bytes |
//! | `c1` | then: 15 characters of the name | 2 text in UTF-16 |
//!
//! Bit 7 of the type says that an entry is in use, bit 6 that it belongs to the one before, bit 5 that a reader
//! who does not know it may go on. `00` is behind the last.

use std::ops::ControlFlow;

use super::FORMAT;
use crate::bytes::{ReadAt as _, array_at, le_u16, le_u32, le_u64, size_of_len, sum_holds};
use crate::error::{Error, Result};
use crate::tree::clusters::{Chain, Clusters};
use crate::tree::fields::len;

/// The size of an entry in bytes.
pub(super) const ENTRY_BYTES: usize = 32;
/// So much of a directory is read at once.
const PART_BYTES: u64 = 64 << 10;
/// Entries that follow that of a file: what its place and the longest name take, and what others may add.
const MOST_FOLLOWERS: u8 = 18;
/// Characters of a part of a name.
const PART_UNITS: u8 = 15;

const END: u8 = 0x00;
const BITMAP: u8 = 0x81;
const UPCASE: u8 = 0x82;
const LABEL: u8 = 0x83;
const FILE: u8 = 0x85;
const STREAM: u8 = 0xc0;
const NAME: u8 = 0xc1;
const IN_USE: u8 = 0x80;
const FOLLOWS: u8 = 0x40;
const BENIGN: u8 = 0x20;

const READ_ONLY: u16 = 0x01;
const DIRECTORY: u16 = 0x10;
const ALLOCATED: u8 = 0x01;
const NO_CHAIN: u8 = 0x02;

/// One entry as stored.
pub(super) type Raw = [u8; ENTRY_BYTES];

/// Where the clusters of a file or directory are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// 0 if there are none.
    pub(super) first: u32,
    pub(super) bytes: u64,
    /// The clusters follow each other, and the table says nothing of them.
    pub(super) is_contiguous: bool,
}

/// A file or directory.
#[derive(Debug)]
pub(super) struct File {
    /// Where its first entry is on the volume, in bytes.
    pub(super) offset: u64,
    pub(super) is_directory: bool,
    pub(super) is_read_only: bool,
    pub(super) place: Place,
    /// Bytes that were written; zeros behind them.
    pub(super) valid_bytes: u64,
    pub(super) name: Vec<u16>,
}

/// What a directory has.
pub(super) enum Record {
    File(File),
    Upcase { checksum: u32, place: Place },
    Label(Vec<u16>),
}

/// What becomes of each record.
pub(super) type Each<'a> = dyn FnMut(Record) -> Result<ControlFlow<()>> + 'a;

/// Shows all records of a directory until `each` breaks off.
///
/// # Errors
/// The first damage, after the rest was shown, and those of `each`.
pub(super) fn records(clusters: &Clusters, chain: Chain, each: &mut Each<'_>) -> Result<()> {
    let mut damage: Option<Error> = None;
    let mut set = Set::default();
    let mut part = vec![0; len(PART_BYTES)];
    'all: for extent in &chain.extents {
        let mut done = 0;
        while done < extent.len {
            let size = extent.len.saturating_sub(done).min(PART_BYTES);
            let start = extent.physical.saturating_add(done);
            done = done.saturating_add(size);
            let part = part.get_mut(..len(size)).unwrap_or_default();
            if let Err(error) = clusters.reader.read_exact_at(start, part) {
                damage.get_or_insert(error);
                set = Set::default();
                continue;
            }
            let (entries, _) = part.as_chunks::<ENTRY_BYTES>();
            for (index, entry) in entries.iter().enumerate() {
                let offset = start.saturating_add(size_of_len(index.saturating_mul(ENTRY_BYTES)));
                if entry[0] == END {
                    break 'all;
                }
                let (record, wrong) = set.take(entry, offset);
                if let Some(error) = wrong {
                    damage.get_or_insert(error);
                }
                if let Some(record) = record
                    && each(record)?.is_break()
                {
                    return Ok(());
                }
            }
        }
    }
    if let Some(error) = set.unfinished() {
        damage.get_or_insert(error);
    }
    damage.or(chain.damage).map_or(Ok(()), Err)
}

/// The file whose first entry is at this byte of the volume. Its other entries are behind it, in the next
/// cluster of the directory if need be.
///
/// # Errors
/// `Malformed` if there is none or its entries are damaged.
pub(super) fn file_at(clusters: &Clusters, offset: u64, is_contiguous: bool) -> Result<File> {
    let wrong = |found: &str| Error::malformed(FORMAT, "entry", offset, found.to_owned(), "a file");
    let mut set = Set::default();
    let mut at = offset;
    for _ in 0..=MOST_FOLLOWERS {
        let mut entry = [0; ENTRY_BYTES];
        clusters.reader.read_exact_at(at, &mut entry)?;
        match set.take(&entry, at) {
            (Some(Record::File(file)), _) => return Ok(file),
            (Some(_), _) => return Err(wrong("something else")),
            (None, Some(error)) => return Err(error),
            (None, None) if set.entries.is_empty() => return Err(wrong("nothing")),
            (None, None) => {}
        }
        let (cluster, start) = clusters.holder(at).ok_or_else(|| wrong("outside the clusters"))?;
        at = at.saturating_add(size_of_len(ENTRY_BYTES));
        let is_inside = at.saturating_sub(start) < u64::from(clusters.cluster_bytes);
        if !is_inside && !is_contiguous {
            let next = clusters.next(cluster)?.ok_or_else(|| wrong("cut off"))?;
            at = clusters.offset(next)?;
        }
    }
    Err(wrong("too many entries"))
}

/// The entries of a file that were seen so far.
#[derive(Default)]
struct Set {
    entries: Vec<Raw>,
    offset: u64,
}

impl Set {
    /// How many entries the file has in all.
    fn wanted(&self) -> usize {
        self.entries.first().map_or(0, |first| usize::from(first[1]).saturating_add(1))
    }

    /// Takes the next entry: what it completes, and what is wrong with it or what was before it.
    fn take(&mut self, entry: &Raw, offset: u64) -> (Option<Record>, Option<Error>) {
        let kind = entry[0];
        if self.wanted() > 0 && kind & (IN_USE | FOLLOWS) == IN_USE | FOLLOWS {
            self.entries.push(*entry);
            if self.entries.len() < self.wanted() {
                return (None, None);
            }
            let set = std::mem::take(self);
            return match file(&set.entries, set.offset) {
                Ok(file) => (Some(Record::File(file)), None),
                Err(error) => (None, Some(error)),
            };
        }
        let mut wrong = self.unfinished();
        *self = Set::default();
        let record = match kind {
            FILE if (2..=MOST_FOLLOWERS).contains(&entry[1]) => {
                *self = Set { entries: vec![*entry], offset };
                None
            }
            UPCASE => {
                let place =
                    Place { first: le_u32(entry, 20), bytes: le_u64(entry, 24), is_contiguous: false };
                Some(Record::Upcase { checksum: le_u32(entry, 4), place })
            }
            LABEL => Some(Record::Label(units(entry, 2).take(usize::from(entry[1].min(11))).collect())),
            BITMAP => None,
            _ if kind & IN_USE == 0 || kind & BENIGN != 0 => None,
            _ => {
                let found = format!("type {kind:#04x}, {} entries", entry[1]);
                wrong = wrong.or(Some(Error::malformed(FORMAT, "entry", offset, found, "a known entry")));
                None
            }
        };
        (record, wrong)
    }

    /// What is wrong if no more entries come.
    fn unfinished(&self) -> Option<Error> {
        (self.wanted() > 0).then(|| {
            let found = format!("{} entries", self.entries.len());
            Error::malformed(FORMAT, "entries of a file", self.offset, found, self.wanted().to_string())
        })
    }
}

/// The text of an entry.
fn units(entry: &Raw, at: usize) -> impl Iterator<Item = u16> {
    (at..ENTRY_BYTES).step_by(2).map(|at| le_u16(entry, at))
}

/// Decodes the entries of a file.
fn file(entries: &[Raw], offset: u64) -> Result<File> {
    let wrong =
        |field, found: String, allowed: String| Err(Error::malformed(FORMAT, field, offset, found, allowed));
    let (Some(first), Some(stream)) = (entries.first(), entries.get(1)) else {
        return wrong("entries of a file", entries.len().to_string(), "3 or more".to_owned());
    };
    let counted = entries.as_flattened().iter().enumerate().filter(|(at, _)| !matches!(at, 2 | 3));
    let sum = counted.fold(0_u16, |sum, (_, byte)| sum.rotate_right(1).wrapping_add((*byte).into()));
    let stored = le_u16(first, 2);
    if !sum_holds(stored, sum) {
        return wrong("checksum of entries", format!("{stored:#06x}"), format!("{sum:#06x}, as computed"));
    }
    if stream[0] != STREAM {
        return wrong(
            "entry after that of a file",
            format!("type {:#04x}", stream[0]),
            format!("{STREAM:#04x}"),
        );
    }
    let parts = stream[3].div_ceil(PART_UNITS);
    let named = entries.iter().skip(2).take(parts.into()).filter(|entry| entry[0] == NAME);
    let name: Vec<u16> = named.flat_map(|entry| units(entry, 2)).take(stream[3].into()).collect();
    if name.is_empty() || name.len() < usize::from(stream[3]) {
        return wrong("length of the name", stream[3].to_string(), format!("1 to {}", name.len()));
    }
    let others = entries.iter().skip(usize::from(parts).saturating_add(2));
    if let Some(other) = others.into_iter().find(|entry| entry[0] & BENIGN == 0) {
        return wrong("entry of a file", format!("type {:#04x}", other[0]), "a known entry".to_owned());
    }
    let flags = stream[1];
    let place =
        Place { first: le_u32(stream, 20), bytes: le_u64(stream, 24), is_contiguous: flags & NO_CHAIN != 0 };
    let valid_bytes = le_u64(stream, 8);
    if valid_bytes > place.bytes {
        return wrong("valid bytes", valid_bytes.to_string(), format!("up to {}", place.bytes));
    }
    if flags & ALLOCATED == 0 && (place.bytes > 0 || place.first > 0) {
        return wrong("flags", format!("{flags:#04x} with clusters"), "no clusters".to_owned());
    }
    let attributes = u16::from_le_bytes(array_at(first, 4));
    Ok(File {
        offset,
        is_directory: attributes & DIRECTORY != 0,
        is_read_only: attributes & READ_ONLY != 0,
        place,
        valid_bytes,
        name,
    })
}
