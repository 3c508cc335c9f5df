//! Directories: entries of 32 bytes, one for each file with its short name, before it those of its long name.
//!
//! | byte | short entry | | byte | long entry |
//! | --- | --- | --- | --- | --- |
//! | 0 | name, 8 and 3 characters padded with spaces | | 0 | number of the part, the last with bit 6 |
//! | 11 | attributes | | 11 | `0f` |
//! | 12 | case: bit 3 name, bit 4 extension | | 13 | checksum of the short name |
//! | 20 | first cluster, high 16 bits (FAT32) | | 1 | characters 1 to 5 of 13, UTF-16 |
//! | 26 | first cluster, low 16 bits | | 14 | 6 to 11 |
//! | 28 | size in bytes | | 28 | 12 and 13 |
//!
//! The parts of a long name come last first. Parts that do not fit together, or whose checksum is not that of
//! the short name behind them, are what programs left that know no long names: the short name counts.

use std::ops::ControlFlow;

use super::{FORMAT, names};
use crate::bytes::{ReadAt as _, array_at, le_u16, le_u32, size_of_len};
use crate::error::{Error, Result};
use crate::tree::CachedReader;
use crate::tree::clusters::Chain;
use crate::tree::fields::len;
use crate::tree::names::from_utf16;

/// The size of an entry in bytes.
pub(super) const ENTRY_BYTES: usize = 32;
/// So much of a directory is read at once.
const PART_BYTES: u64 = 64 << 10;
/// Characters of a part of a long name, and parts of the longest.
const PART_UNITS: usize = 13;
const PARTS: u8 = 20;

const READ_ONLY: u8 = 0x01;
const LABEL: u8 = 0x08;
const DIRECTORY: u8 = 0x10;
const LONG: u8 = 0x0f;
const END: u8 = 0x00;
const DELETED: u8 = 0xe5;

/// A short entry.
#[derive(Debug, Clone, Copy)]
pub(super) struct ShortEntry {
    /// The name as stored.
    pub(super) name: [u8; 11],
    pub(super) case: u8,
    attributes: u8,
    /// With the high bits, which only FAT32 has.
    pub(super) first_cluster: u32,
    pub(super) size_bytes: u32,
}

impl ShortEntry {
    /// Decodes what is in use and no part of a long name.
    pub(super) fn decode(bytes: &[u8; ENTRY_BYTES]) -> Option<Self> {
        let this = ShortEntry {
            name: array_at(bytes, 0),
            case: bytes[12],
            attributes: bytes[11],
            first_cluster: u32::from(le_u16(bytes, 20)) << 16 | u32::from(le_u16(bytes, 26)),
            size_bytes: le_u32(bytes, 28),
        };
        let is_used = !matches!(this.name[0], END | DELETED) && this.attributes & 0x3f != LONG;
        is_used.then_some(this)
    }

    pub(super) fn is_directory(&self) -> bool {
        self.attributes & DIRECTORY != 0
    }

    pub(super) fn is_label(&self) -> bool {
        self.attributes & LABEL != 0
    }

    pub(super) fn is_read_only(&self) -> bool {
        self.attributes & READ_ONLY != 0
    }
}

/// A file, directory or label.
pub(super) struct Record {
    /// Where the short entry is on the volume, in bytes.
    pub(super) offset: u64,
    pub(super) entry: ShortEntry,
    /// The name that it goes by.
    pub(super) name: Vec<u8>,
}

/// What becomes of each record.
pub(super) type Each<'a> = dyn FnMut(&Record) -> Result<ControlFlow<()>> + 'a;

/// Shows all records of a directory until `each` breaks off.
///
/// # Errors
/// The first damage, after the rest was shown, and those of `each`.
pub(super) fn records(reader: &CachedReader, chain: Chain, each: &mut Each<'_>) -> Result<()> {
    let mut damage = None;
    let mut long = LongName::default();
    let mut part = vec![0; len(PART_BYTES)];
    for extent in &chain.extents {
        let mut done = 0;
        while done < extent.len {
            let size = extent.len.saturating_sub(done).min(PART_BYTES);
            let start = extent.physical.saturating_add(done);
            done = done.saturating_add(size);
            let part = part.get_mut(..len(size)).unwrap_or_default();
            if let Err(error) = reader.read_exact_at(start, part) {
                damage.get_or_insert(error);
                long = LongName::default();
                continue;
            }
            let (entries, _) = part.as_chunks::<ENTRY_BYTES>();
            for (index, bytes) in entries.iter().enumerate() {
                let offset = start.saturating_add(size_of_len(index.saturating_mul(ENTRY_BYTES)));
                if bytes[0] == END {
                    return damage.map_or(Ok(()), Err);
                }
                match record(bytes, offset, &mut long) {
                    Ok(Some(record)) => {
                        if each(&record)?.is_break() {
                            return Ok(());
                        }
                    }
                    Ok(None) => {}
                    Err(error) => {
                        damage.get_or_insert(error);
                    }
                }
            }
        }
    }
    damage.or(chain.damage).map_or(Ok(()), Err)
}

/// The record that an entry completes.
fn record(bytes: &[u8; ENTRY_BYTES], offset: u64, long: &mut LongName) -> Result<Option<Record>> {
    if bytes[0] != DELETED && bytes[11] & 0x3f == LONG {
        long.take(bytes);
        return Ok(None);
    }
    let long = std::mem::take(long);
    let Some(entry) = ShortEntry::decode(bytes) else { return Ok(None) };
    if matches!(&entry.name, b".          " | b"..         ") {
        return Ok(None);
    }
    let short = || names::short(&entry);
    let name = long.finish(&entry.name).filter(|name| !name.is_empty()).unwrap_or_else(short);
    if name.is_empty() && !entry.is_label() {
        return Err(Error::malformed(FORMAT, "name", offset, "only spaces", "a name"));
    }
    Ok(Some(Record { offset, entry, name }))
}

/// The parts of a long name that were seen.
#[derive(Default)]
struct LongName {
    /// By their place in the name.
    units: Vec<u16>,
    checksum: u8,
    /// The part seen last; 1 if the name is complete, 0 if there is none.
    seen: u8,
}

impl LongName {
    fn take(&mut self, bytes: &[u8; ENTRY_BYTES]) {
        let (number, checksum) = (bytes[0] & 0x3f, bytes[13]);
        let is_last = bytes[0] & 0x40 != 0;
        if is_last && (1..=PARTS).contains(&number) {
            let units = usize::from(number).saturating_mul(PART_UNITS);
            *self = LongName { units: vec![0; units], checksum, seen: number };
        } else if !is_last
            && number > 0
            && number.checked_add(1) == Some(self.seen)
            && checksum == self.checksum
        {
            self.seen = number;
        } else {
            *self = LongName::default();
            return;
        }
        let places = (1..11).chain(14..26).chain(28..32).step_by(2);
        let start = usize::from(number).saturating_sub(1).saturating_mul(PART_UNITS);
        for (unit, place) in self.units.iter_mut().skip(start).zip(places) {
            *unit = le_u16(bytes, place);
        }
    }

    /// The name, if it is complete and belongs to this short name.
    fn finish(self, short: &[u8; 11]) -> Option<Vec<u8>> {
        let sum = short.iter().fold(0_u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte));
        let is_whole = self.seen == 1 && sum == self.checksum;
        is_whole.then(|| from_utf16(self.units.into_iter().take_while(|unit| *unit != 0)))
    }
}
