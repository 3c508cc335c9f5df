//! The journal (jbd2) of a file system that was not unmounted: what it holds is put over the volume in memory.
//!
//! The log is a ring of blocks. A transaction is descriptor blocks with the blocks that they describe, blocks
//! that revoke, and a commit block; only what was committed counts. A revoked block is not taken from its
//! transaction or an earlier one. All fields are big-endian (Linux, `include/linux/jbd2.h`; fields as there).

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use super::Core;
use super::inode::low16;
use crate::bytes::{ReadAt, passes_end, size_of_len, sum_holds};
use crate::error::{Error, Result};
use crate::tree::crc32c::crc32c;
use crate::tree::extents::ExtentContent;
use crate::tree::fields::Fields;

const FORMAT: &str = "ext journal";
const MAGIC: u32 = 0xc03b_3998;
const DESCRIPTOR: u32 = 1;
const COMMIT: u32 = 2;
const SUPERBLOCK_V1: u32 = 3;
const SUPERBLOCK_V2: u32 = 4;
const REVOKE: u32 = 5;

const INCOMPAT_64BIT: u32 = 0x2;
const INCOMPAT_CSUM_V2: u32 = 0x8;
const INCOMPAT_CSUM_V3: u32 = 0x10;
const INCOMPAT_FAST_COMMIT: u32 = 0x20;
const INCOMPAT_KNOWN: u32 = 0x3f;

/// The block began with the magic of the journal, which was taken out of it.
const TAG_ESCAPE: u32 = 1;
const TAG_SAME_UUID: u32 = 2;
const TAG_DELETED: u32 = 4;
const TAG_LAST: u32 = 8;

/// A block of the volume as the journal has it.
#[derive(Debug, Clone, Copy)]
struct Logged {
    /// Where on the volume the journal's copy is.
    offset: u64,
    is_escaped: bool,
}

/// What replaces blocks of the volume.
pub(super) struct Replay {
    blocks: HashMap<u64, Logged>,
    /// What of the log could not be believed.
    pub(super) doubts: Vec<Error>,
}

impl Replay {
    /// The volume with the journal's blocks over it.
    pub(super) fn over(self, volume: Arc<dyn ReadAt>, block_bytes: u32) -> Overlay {
        Overlay { volume, block_bytes: block_bytes.into(), blocks: self.blocks }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }
}

/// A volume with blocks replaced.
pub(super) struct Overlay {
    volume: Arc<dyn ReadAt>,
    block_bytes: u64,
    blocks: HashMap<u64, Logged>,
}

impl ReadAt for Overlay {
    fn size_bytes(&self) -> u64 {
        self.volume.size_bytes()
    }

    fn read_exact_at(&self, offset: u64, dst: &mut [u8]) -> Result<()> {
        let len = size_of_len(dst.len());
        let end = offset.checked_add(len).filter(|end| *end <= self.size_bytes());
        let end = end.ok_or_else(|| passes_end(offset, dst.len(), self.size_bytes()))?;
        self.volume.read_exact_at(offset, dst)?;
        let first = offset.checked_div(self.block_bytes).unwrap_or(0);
        let last = end.div_ceil(self.block_bytes.max(1));
        for number in first..last {
            let Some(logged) = self.blocks.get(&number) else { continue };
            let start = number.saturating_mul(self.block_bytes);
            let from = start.max(offset);
            let to = start.saturating_add(self.block_bytes).min(end);
            let index = |at: u64| usize::try_from(at.saturating_sub(offset)).unwrap_or(usize::MAX);
            let Some(part) = dst.get_mut(index(from)..index(to)) else { continue };
            let within = from.saturating_sub(start);
            self.volume.read_exact_at(logged.offset.saturating_add(within), part)?;
            if logged.is_escaped && within < 4 {
                let magic = MAGIC.to_be_bytes();
                let skipped = usize::try_from(within).unwrap_or(0);
                for (byte, original) in part.iter_mut().zip(magic.get(skipped..).unwrap_or_default()) {
                    *byte = *original;
                }
            }
        }
        Ok(())
    }

    fn prefetch(&self, ranges: &[Range<u64>]) {
        self.volume.prefetch(ranges);
    }
}

/// The journal's superblock.
struct Log<'a> {
    core: &'a Core,
    content: ExtentContent,
    block_bytes: usize,
    incompat: u32,
    first: u32,
    /// The block after the last of the ring.
    end: u32,
    seed: u32,
}

/// A transaction while it is read.
#[derive(Default)]
struct Transaction {
    blocks: Vec<(u64, Logged)>,
    revoked: Vec<u64>,
}

impl Core {
    /// Reads the journal of a file system that needs recovery.
    ///
    /// # Errors
    /// If the journal as a whole cannot be read.
    pub(super) fn replay(&self) -> Result<Replay> {
        let number = self.superblock.journal_inode;
        if number == 0 {
            return Err(Error::unsupported(
                "a journal on another device, which holds changes that are not here",
            ));
        }
        let inode = self.inode(number)?;
        let extents = self.extents(&inode)?;
        let content = ExtentContent::new(self.meta.clone(), extents, inode.size_bytes);
        let block_bytes = usize::try_from(self.superblock.block_bytes).unwrap_or(0);
        let mut block = vec![0; block_bytes];
        content.read_exact_at(0, &mut block)?;
        let fields = Fields::new(&block, "ext journal superblock", content_offset(&content, 0));
        let kind = fields.be32(4)?;
        if fields.be32(0)? != MAGIC || !matches!(kind, SUPERBLOCK_V1 | SUPERBLOCK_V2) {
            return Err(fields.wrong(
                "magic",
                0,
                format!("{:#x}, type {kind}", fields.be32(0)?),
                format!("{MAGIC:#x}, type 3 or 4"),
            ));
        }
        let found = fields.be32(0xc)?;
        if found != self.superblock.block_bytes {
            return Err(fields.wrong(
                "blocksize",
                0xc,
                found.to_string(),
                self.superblock.block_bytes.to_string(),
            ));
        }
        let incompat = if kind == SUPERBLOCK_V2 { fields.be32(0x28)? } else { 0 };
        if incompat & !INCOMPAT_KNOWN != 0 {
            let unknown = incompat & !INCOMPAT_KNOWN;
            return Err(Error::unsupported(format!("a journal with the incompatible feature {unknown:#x}")));
        }
        let maxlen = fields.be32(0x10)?;
        let blocks = inode.size_bytes.checked_div(size_of_len(block_bytes)).unwrap_or(0);
        self.limits.journal_blocks.check(maxlen.into())?;
        if u64::from(maxlen) > blocks {
            return Err(fields.wrong(
                "maxlen",
                0x10,
                maxlen.to_string(),
                format!("the journal's {blocks} blocks"),
            ));
        }
        let fast = match (incompat & INCOMPAT_FAST_COMMIT, fields.be32(0x54)?) {
            (0, _) => 0,
            (_, 0) => 256,
            (_, blocks) => blocks,
        };
        let (first, start) = (fields.be32(0x14)?, fields.be32(0x1c)?);
        let end = maxlen.saturating_sub(fast);
        if start != 0 && (first == 0 || start < first || start >= end) {
            return Err(fields.wrong("start", 0x1c, start.to_string(), format!("{first} to {end}")));
        }
        let uuid: [u8; 16] = fields.array(0x30)?;
        let seed = crc32c(!0, &uuid);
        let log = Log { core: self, content, block_bytes, incompat, first, end, seed };
        log.run(start, fields.be32(0x18)?)
    }
}

fn content_offset(content: &ExtentContent, at: u64) -> u64 {
    content.ranges(at..at.saturating_add(1)).first().map_or(0, |range| range.start)
}

impl Log<'_> {
    fn has(&self, incompat: u32) -> bool {
        self.incompat & incompat != 0
    }

    fn has_sums(&self) -> bool {
        self.has(INCOMPAT_CSUM_V2 | INCOMPAT_CSUM_V3)
    }

    /// The offset on the volume of a block of the journal.
    fn offset(&self, block: u32) -> Result<u64> {
        let start = u64::from(block).saturating_mul(size_of_len(self.block_bytes));
        let ranges = self.content.ranges(start..start.saturating_add(1));
        ranges.first().map(|range| range.start).ok_or_else(|| {
            Error::malformed(FORMAT, "block", None, format!("block {block}, a hole"), "blocks on the volume")
        })
    }

    fn block(&self, block: u32) -> Result<Vec<u8>> {
        self.core.metadata(self.offset(block)?, self.block_bytes)
    }

    fn next(&self, block: u32) -> u32 {
        let next = block.saturating_add(1);
        if next >= self.end { self.first } else { next }
    }

    /// Goes through the log until something does not belong to it.
    fn run(&self, start: u32, sequence: u32) -> Result<Replay> {
        let mut doubts = Vec::new();
        let mut committed: Vec<Transaction> = Vec::new();
        let mut open = Transaction::default();
        let mut sequence = sequence;
        let mut at = start;
        let mut left = self.end.saturating_sub(self.first);
        while start != 0 && left > 0 {
            let offset = self.offset(at)?;
            let bytes = self.block(at)?;
            let fields = Fields::new(&bytes, FORMAT, offset);
            if fields.be32(0)? != MAGIC || fields.be32(8)? != sequence {
                break;
            }
            let kind = fields.be32(4)?;
            let sum_at = if kind == COMMIT { 16 } else { self.block_bytes.saturating_sub(4) };
            if matches!(kind, DESCRIPTOR | COMMIT | REVOKE)
                && let Err(error) = self.check_sum(fields, sum_at)
            {
                doubts.push(error);
                break;
            }
            at = self.next(at);
            left = left.saturating_sub(1);
            match kind {
                DESCRIPTOR => {
                    for tag in self.tags(fields)? {
                        self.logged(tag, at, sequence, &mut open, &mut doubts)?;
                        at = self.next(at);
                        left = left.checked_sub(1).ok_or_else(|| {
                            fields.wrong("tags", 12, "more blocks than the journal has", "its own blocks")
                        })?;
                    }
                }
                REVOKE => open.revoked.extend(self.revoked(fields)?),
                COMMIT => {
                    committed.push(std::mem::take(&mut open));
                    sequence = sequence.wrapping_add(1);
                }
                _ => break,
            }
        }
        if self.has(INCOMPAT_FAST_COMMIT) && self.has_fast_commit(sequence)? {
            doubts.push(Error::unsupported("fast commits in the journal: the last changes are missing"));
        }
        Ok(Replay { blocks: replayed(committed), doubts })
    }

    fn check_sum(&self, fields: Fields<'_>, at: usize) -> Result<()> {
        if !self.has_sums() {
            return Ok(());
        }
        let found = fields.be32(at)?;
        let sum = crc32c(crc32c(self.seed, fields.slice(0, at)?), &[0; 4]);
        let wanted = crc32c(sum, fields.bytes.get(at.saturating_add(4)..).unwrap_or_default());
        if sum_holds(found, wanted) {
            return Ok(());
        }
        Err(fields.wrong("checksum", at, format!("{found:#x}"), format!("the sum {wanted:#x}")))
    }

    fn tags(&self, fields: Fields<'_>) -> Result<Vec<Tag>> {
        let tail = if self.has_sums() { 4 } else { 0 };
        let end = self.block_bytes.saturating_sub(tail);
        let is_v3 = self.has(INCOMPAT_CSUM_V3);
        // As jbd2 has it: version 2 of the checksums made tags two bytes longer, without a field there.
        let (high, v2) = (self.has(INCOMPAT_64BIT), self.has(INCOMPAT_CSUM_V2));
        let len = match (is_v3, v2, high) {
            (true, _, _) => 16,
            (false, false, false) => 8,
            (false, false, true) => 12,
            (false, true, false) => 10,
            (false, true, true) => 14,
        };
        let mut tags = Vec::new();
        let mut at = 12_usize;
        while at.saturating_add(len) <= end {
            let low = u64::from(fields.be32(at)?);
            let (flags, sum) = match is_v3 {
                true => (fields.be32(at.saturating_add(4))?, fields.be32(at.saturating_add(12))?),
                false => (
                    u32::from(fields.be16(at.saturating_add(6))?),
                    u32::from(fields.be16(at.saturating_add(4))?),
                ),
            };
            let upper = if high { u64::from(fields.be32(at.saturating_add(8))?) } else { 0 };
            tags.push(Tag { block: low | (upper << 32), flags, sum, place: fields.place(at) });
            at = at.saturating_add(len);
            if flags & TAG_SAME_UUID == 0 {
                at = at.saturating_add(16);
            }
            if flags & TAG_LAST != 0 {
                break;
            }
        }
        Ok(tags)
    }

    /// Takes a block of the journal into its transaction.
    fn logged(
        &self,
        tag: Tag,
        at: u32,
        sequence: u32,
        open: &mut Transaction,
        doubts: &mut Vec<Error>,
    ) -> Result<()> {
        if tag.flags & TAG_DELETED != 0 {
            return Ok(());
        }
        let offset = self.offset(at)?;
        if tag.block >= self.core.superblock.blocks {
            let allowed = format!("0 to {}", self.core.superblock.blocks.saturating_sub(1));
            return Err(Error::malformed(FORMAT, "blocknr", tag.place, tag.block.to_string(), allowed));
        }
        if self.has_sums() {
            let sum = crc32c(crc32c(self.seed, &sequence.to_be_bytes()), &self.block(at)?);
            let is_v3 = self.has(INCOMPAT_CSUM_V3);
            let wanted = if is_v3 { sum } else { u32::from(low16(sum)) };
            if !sum_holds(tag.sum, wanted) {
                let found = format!("{:#x} for block {}", tag.sum, tag.block);
                doubts.push(Error::malformed(
                    FORMAT,
                    "checksum",
                    tag.place,
                    found,
                    format!("the sum {wanted:#x}"),
                ));
                return Ok(());
            }
        }
        open.blocks.push((tag.block, Logged { offset, is_escaped: tag.flags & TAG_ESCAPE != 0 }));
        Ok(())
    }

    fn revoked(&self, fields: Fields<'_>) -> Result<Vec<u64>> {
        let used = usize::try_from(fields.be32(12)?).unwrap_or(usize::MAX);
        let records = fields.slice(16, used.saturating_sub(16))?;
        let len = if self.has(INCOMPAT_64BIT) { 8 } else { 4 };
        Ok(records
            .chunks_exact(len)
            .map(|record| record.iter().fold(0, |block, byte| (block << 8) | u64::from(*byte)))
            .collect())
    }

    /// Whether the area of fast commits goes on after the last transaction.
    fn has_fast_commit(&self, sequence: u32) -> Result<bool> {
        const HEAD: u16 = 9;
        let bytes = self.block(self.end.saturating_add(1))?;
        let fields = Fields::new(&bytes, FORMAT, 0);
        Ok(fields.le16(0)? == HEAD && fields.le32(8)? == sequence)
    }
}

/// A block that a descriptor tells of.
struct Tag {
    block: u64,
    flags: u32,
    sum: u32,
    place: u64,
}

/// The last committed content of each block that was not revoked after it.
fn replayed(committed: Vec<Transaction>) -> HashMap<u64, Logged> {
    let mut revoked: HashMap<u64, usize> = HashMap::new();
    for (number, transaction) in committed.iter().enumerate() {
        revoked.extend(transaction.revoked.iter().map(|block| (*block, number)));
    }
    let mut blocks = HashMap::new();
    for (number, transaction) in committed.into_iter().enumerate() {
        let is_left = |block: &u64| revoked.get(block).is_none_or(|last| *last < number);
        blocks.extend(transaction.blocks.into_iter().filter(|(block, _)| is_left(block)));
    }
    blocks
}
