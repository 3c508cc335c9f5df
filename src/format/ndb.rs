//! NDB, the package database that rpm wrote itself: `Packages.db` of SUSE since 2020. Little-endian throughout.
//!
//! The only specification is rpm's `lib/backend/ndb/rpmpkg.c` (version 0 of the format, rpm 4.14 to 6.0).
//!
//! | where | bytes | |
//! |---|---|---|
//! | header | 0..4 | `RpmP` |
//! | | 4..8 | version 0 |
//! | | 8..12 | generation: counts the changes |
//! | | 12..16 | pages of slots, of 4096 bytes each, from the start of the file; the header takes the first two slots |
//! | | 16..20 | next free package index |
//! | slot | 0..4 | `Slot` |
//! | | 4..16 | package index, first block, count of blocks of 16 bytes; all zero if it is free |
//! | blob | 0..16 | `BlbS`, package index, time of writing, length |
//! | | 16.. | the header of the package, padded with zeros |
//! | | last 12 | Adler-32 of all before, length, `BlbE` |
//!
//! rpm refuses a database with one bad slot whole, and looks at the checksums only when it writes; here each is
//! an error of its own. A blob that no slot names is one too (an installation or removal that was not finished, or a slot that
//! was lost), unless a slot names another blob of the same package: rpm writes the new one before it clears the old.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::indexing_slicing,
        clippy::unwrap_used
    )
)]

use std::collections::BTreeSet;

use crate::bytes::{ReadAt, array_at, le_u32, size_of_len, sum_holds};
use crate::error::{Error, Result, quoted};
use crate::limits::Limits;

const FORMAT: &str = "NDB database";
const MAGIC: &[u8; 4] = b"RpmP";
const SLOT_MAGIC: &[u8; 4] = b"Slot";
const HEAD_MAGIC: &[u8; 4] = b"BlbS";
const TAIL_MAGIC: &[u8; 4] = b"BlbE";
const PAGE_BYTES: usize = 4096;
/// Of a slot, and of a block.
const BLOCK: usize = 16;
const HEAD_BYTES: usize = 16;
const TAIL_BYTES: usize = 12;
/// So much is read at once where no blob is.
const GAP_BYTES: usize = 64 << 10;

/// A blob of the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blob<'a> {
    /// The package index; not zero.
    pub index: u32,
    /// Offset in the file.
    pub offset: u64,
    /// The header of the package.
    pub bytes: &'a [u8],
}

/// Whether a file that begins so is an NDB package database.
#[must_use]
pub fn is_ndb(head: &[u8]) -> bool {
    head.starts_with(MAGIC)
}

/// A slot that is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Slot {
    /// In bytes.
    start: u64,
    /// In bytes, after the last.
    end: u64,
    index: u32,
    /// Its own offset.
    at: u64,
}

/// Shows the blobs of all slots in the order of the file, which is that of `rpm -qa`. A damaged slot or blob is
/// shown as an error with its offset, and the others still come.
///
/// # Errors
/// `Malformed` if the header is damaged, `Unsupported` for another version, `Limit` if the file is too long or
/// has more blobs than `records`, `Io`.
pub fn blobs(database: &dyn ReadAt, limits: &Limits, each: &mut dyn FnMut(Result<Blob<'_>>)) -> Result<()> {
    let size_bytes = limits.package_db_bytes.check(database.size_bytes())?;
    let mut header = [0; 2 * BLOCK];
    if size_bytes < size_of_len(header.len()) {
        return Err(wrong("header", 0, format!("{size_bytes} bytes"), "32"));
    }
    database.read_exact_at(0, &mut header)?;
    if !is_ndb(&header) {
        return Err(wrong("magic", 0, quoted(array_at::<4>(&header, 0)), "`RpmP`"));
    }
    if le_u32(&header, 4) != 0 {
        return Err(Error::unsupported(format!("version {} of rpm's NDB database", le_u32(&header, 4))));
    }
    let slot_pages = le_u32(&header, 12);
    let slots_end = u64::from(slot_pages).saturating_mul(size_of_len(PAGE_BYTES));
    if slot_pages == 0 || slots_end > size_bytes {
        return Err(wrong("slot pages", 12, slot_pages.to_string(), "one or more, within the file"));
    }
    let mut shown = Shown { each, count: 0, limits };
    let mut slots = read_slots(database, slots_end, &mut shown)?;
    slots.sort_unstable();
    let ranges: Vec<_> = slots.iter().map(|slot| slot.start..slot.end).collect();
    database.prefetch(&ranges);
    let mut seen = BTreeSet::new();
    let known: BTreeSet<u32> = slots.iter().map(|slot| slot.index).collect();
    let mut gaps = Gaps { database, known: &known, buffer: Vec::new() };
    let mut buffer = Vec::new();
    let mut end = slots_end;
    for slot in &slots {
        gaps.look(end, slot.start, &mut shown)?;
        if slot.start < end {
            let found = format!("blocks from {:#x}, which others have", slot.start);
            shown.show(Err(wrong("slot", slot.at, found, "blobs that do not overlap")))?;
        } else if !seen.insert(slot.index) {
            let found = format!("package index {} again", slot.index);
            shown.show(Err(wrong("slot", slot.at, found, "each once")))?;
        } else {
            shown.show(read_blob(database, *slot, limits, &mut buffer))?;
        }
        end = end.max(slot.end);
    }
    gaps.look(end, size_bytes, &mut shown)
}

/// Shows blobs and errors, and counts them.
struct Shown<'a> {
    each: &'a mut dyn FnMut(Result<Blob<'_>>),
    count: u64,
    limits: &'a Limits,
}

impl Shown<'_> {
    fn show(&mut self, blob: Result<Blob<'_>>) -> Result<()> {
        self.count = self.count.saturating_add(1);
        self.limits.records.check(self.count)?;
        (self.each)(blob);
        Ok(())
    }
}

/// The slots that are taken and can be right.
fn read_slots(database: &dyn ReadAt, slots_end: u64, shown: &mut Shown<'_>) -> Result<Vec<Slot>> {
    let blocks = database.size_bytes().checked_div(size_of_len(BLOCK)).unwrap_or(0);
    let first_block = slots_end.checked_div(size_of_len(BLOCK)).unwrap_or(0);
    let mut slots = Vec::new();
    let mut page = vec![0; PAGE_BYTES];
    let mut start = 0_u64;
    while start < slots_end {
        database.read_exact_at(start, &mut page)?;
        let own = page.chunks_exact(BLOCK).enumerate().skip(if start == 0 { 2 } else { 0 });
        let mut lost: Option<(u64, u32)> = None;
        for (number, slot) in own {
            let at = start.saturating_add(size_of_len(number.saturating_mul(BLOCK)));
            let (index, block, count) = (le_u32(slot, 4), le_u32(slot, 8), le_u32(slot, 12));
            let end = u64::from(block).saturating_add(u64::from(count));
            if !slot.starts_with(SLOT_MAGIC) {
                let (_, count) = lost.get_or_insert((at, 0));
                *count = count.saturating_add(1);
            } else if index == 0 && block == 0 && count == 0 {
                // Free.
            } else if index == 0 || count == 0 || u64::from(block) < first_block || end > blocks {
                let found = format!("package index {index} in {count} blocks from {block}");
                let allowed = format!("an index, and blocks within {first_block}..{blocks}");
                shown.show(Err(wrong("slot", at, found, &allowed)))?;
            } else {
                let bytes = |blocks: u64| blocks.saturating_mul(size_of_len(BLOCK));
                slots.push(Slot { start: bytes(block.into()), end: bytes(end), index, at });
                shown.limits.records.check(size_of_len(slots.len()))?;
            }
        }
        if let Some((at, count)) = lost {
            let found = format!("{count} without magic in this page");
            shown.show(Err(wrong("slot", at, found, "`Slot`")))?;
        }
        start = start.saturating_add(size_of_len(PAGE_BYTES));
    }
    Ok(slots)
}

fn read_blob<'b>(
    database: &dyn ReadAt,
    slot: Slot,
    limits: &Limits,
    buffer: &'b mut Vec<u8>,
) -> Result<Blob<'b>> {
    let size_bytes = slot.end.saturating_sub(slot.start);
    let place = |error: Error| error.at(format!("package index {}", slot.index));
    let bad = |field, at: usize, found: String, allowed: &str| {
        place(wrong(field, slot.start.saturating_add(size_of_len(at)), found, allowed))
    };
    limits.rpm_header_bytes.check(size_bytes).map_err(place)?;
    let len = usize::try_from(size_bytes).unwrap_or(usize::MAX);
    if len < HEAD_BYTES.saturating_add(TAIL_BYTES) {
        return Err(bad("blob", 0, format!("{len} bytes"), "28 or more"));
    }
    if buffer.len() < len {
        buffer.resize(len, 0);
    }
    let all = buffer.get_mut(..len).unwrap_or_default();
    database.read_exact_at(slot.start, all).map_err(place)?;
    let all = &*all;
    let body_end = len.saturating_sub(TAIL_BYTES);
    let (summed, tail) = all.split_at_checked(body_end).unwrap_or((all, &[]));
    if !summed.starts_with(HEAD_MAGIC) {
        return Err(bad("blob magic", 0, quoted(array_at::<4>(summed, 0)), "`BlbS`"));
    }
    if le_u32(summed, 4) != slot.index {
        return Err(bad("blob index", 4, le_u32(summed, 4).to_string(), "that of its slot"));
    }
    let stored = le_u32(summed, 12);
    let padded = usize::try_from(stored).ok().and_then(|stored| {
        let all = stored.checked_add(HEAD_BYTES)?.checked_add(TAIL_BYTES)?;
        (all.checked_next_multiple_of(BLOCK)? == len).then_some(stored)
    });
    let Some(body_len) = padded else {
        return Err(bad("blob length", 12, stored.to_string(), "what fills the blocks of its slot"));
    };
    if le_u32(tail, 4) != stored || array_at(tail, 8) != *TAIL_MAGIC {
        let found = format!("length {} and {}", le_u32(tail, 4), quoted(array_at::<4>(tail, 8)));
        return Err(bad("blob tail", body_end, found, "that of its head and `BlbE`"));
    }
    let sum = simd_adler32::adler32(&summed);
    if !sum_holds(le_u32(tail, 0), sum) {
        return Err(bad("blob checksum", body_end, format!("{:#x}", le_u32(tail, 0)), &format!("{sum:#x}")));
    }
    let bytes = summed.get(HEAD_BYTES..HEAD_BYTES.saturating_add(body_len)).unwrap_or_default();
    Ok(Blob { index: slot.index, offset: slot.start, bytes })
}

/// What no slot names.
struct Gaps<'a> {
    database: &'a dyn ReadAt,
    /// The packages that slots name.
    known: &'a BTreeSet<u32>,
    buffer: Vec<u8>,
}

impl Gaps<'_> {
    /// Tells of blobs and slots in a range of the file that should be free.
    fn look(&mut self, start: u64, end: u64, shown: &mut Shown<'_>) -> Result<()> {
        let mut at = start;
        while at < end {
            let len = usize::try_from(end.saturating_sub(at)).unwrap_or(usize::MAX).min(GAP_BYTES);
            self.buffer.resize(len, 0);
            if let Err(error) = self.database.read_exact_at(at, &mut self.buffer) {
                return shown.show(Err(error));
            }
            for (number, block) in self.buffer.chunks(BLOCK).enumerate() {
                let offset = at.saturating_add(size_of_len(number.saturating_mul(BLOCK)));
                let index = le_u32(block, 4);
                if block.starts_with(SLOT_MAGIC) && offset == start {
                    let found = "a slot after the last page of slots".into();
                    shown.show(Err(wrong("slot", offset, found, "a blob")))?;
                } else if block.starts_with(HEAD_MAGIC) && !self.known.contains(&index) {
                    let found = format!("a blob of package index {index} that no slot names");
                    let hint = "an installation or removal was not finished; `rpm --rebuilddb` settles it";
                    shown.show(Err(wrong("blob", offset, found, "free blocks").hint(hint)))?;
                }
            }
            at = at.saturating_add(size_of_len(len));
        }
        Ok(())
    }
}

fn wrong(field: &'static str, at: u64, found: String, allowed: &str) -> Error {
    Error::malformed(FORMAT, field, at, found, allowed)
}
