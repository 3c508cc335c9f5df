//! The log: a ring of records, each with what some transactions changed.
//!
//! Layout: *XFS Algorithms & Data Structures*, 3rd edition, chapter 14 (journaling log). The unit is 512 bytes.
//! Each block starts with the number of the turn of the ring (cycle) in which it was written; the headers of
//! records keep the bytes that this replaces.
//!
//! | byte of a header | field | | byte | field |
//! | --- | --- | --- | --- | --- |
//! | 0 | magic `0xfeedbabe` | | 32 | crc (little-endian) |
//! | 4 | cycle | | 40 | num_logops |
//! | 8 | version | | 44 | cycle_data of the first 64 blocks |
//! | 12 | len, in bytes | | 300 | fmt: 1 little-endian Linux |
//! | 16 | lsn | | 304 | fs_uuid |
//! | 24 | tail_lsn: the oldest record that is needed | | 320 | size of a log buffer |
//!
//! A log sequence number (lsn) is the cycle and, in its low 32 bits, the block.

use super::metadata::SECTOR;
use super::superblock::Superblock;
use crate::bytes::{ReadAt, size_of_len, sum_holds};
use crate::error::{Error, Result};
use crate::tree::fields::{Fields, len};

pub(super) const FORMAT: &str = "XFS log record";
const MAGIC: u32 = 0xfeed_babe;
/// Log buffers that can be under way at once, and the largest: what can be torn at the head.
const BUFFERS: u64 = 8;
const BUFFER_BYTES: u64 = 256 << 10;
/// Cycle numbers that one header block keeps.
const CYCLES: usize = 64;
/// Bytes of a record for each block of its header.
const BYTES_A_HEADER: u32 = 32 << 10;
/// A record's first operation says that the file system was unmounted.
const UNMOUNT: u8 = 0x20;

/// The ring.
pub(super) struct Log<'a> {
    volume: &'a dyn ReadAt,
    superblock: &'a Superblock,
    start: u64,
    /// Blocks of 512 bytes.
    blocks: u64,
}

/// The header of one record, and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Header {
    bytes: Vec<u8>,
    block: u64,
    pub(super) cycle: u32,
    size_bytes: u32,
    pub(super) lsn: u64,
    tail_lsn: u64,
    operations: u32,
    /// Blocks of the header itself.
    header_blocks: u64,
}

impl Header {
    fn blocks(&self) -> u64 {
        self.header_blocks.saturating_add(u64::from(self.size_bytes).div_ceil(SECTOR))
    }
}

/// One record whose content is as it was before cycle numbers were written over it.
pub(super) struct Record {
    pub(super) lsn: u64,
    pub(super) operations: u32,
    pub(super) bytes: Vec<u8>,
    /// Byte offset of the header on the volume.
    pub(super) offset: u64,
}

impl<'a> Log<'a> {
    /// The log of a file system, if that has it on the same volume.
    ///
    /// # Errors
    /// `Unsupported` if it is elsewhere, `Malformed` if it cannot be where the superblock says.
    pub(super) fn new(volume: &'a dyn ReadAt, superblock: &'a Superblock) -> Result<Self> {
        if superblock.log_start == 0 {
            return Err(Error::unsupported(
                "the log is on another device: whether all of it was written back is not known",
            ));
        }
        let start = superblock.block_offset(superblock.log_start, superblock.log_blocks.into())?;
        let size_bytes = u64::from(superblock.log_blocks).saturating_mul(superblock.block_bytes.into());
        let blocks = size_bytes.checked_div(SECTOR).unwrap_or(0);
        if blocks < 2 {
            let found = superblock.log_blocks.to_string();
            return Err(Error::malformed("XFS superblock", "logblocks", 96, found, "a log"));
        }
        Ok(Log { volume, superblock, start, blocks })
    }

    /// The records that were not written back, oldest first; empty if the file system was unmounted cleanly.
    ///
    /// # Errors
    /// `Malformed` if head, tail or a record between them is damaged; `Limit` if `check` says so, to which the
    /// number of bytes between tail and head is given.
    pub(super) fn dirty(&self, check: impl Fn(u64) -> Result<u64>) -> Result<Vec<Record>> {
        let Some(head) = self.head()? else { return Ok(Vec::new()) };
        let Some((head, last)) = self.whole_head(head)? else {
            return Err(self.wrong(head, "head", "no record before it", "the last record"));
        };
        if self.is_unmounted(head, &last)? {
            return Ok(Vec::new());
        }
        let tail = self.checked_tail(&last)?;
        let distance = self.distance(tail, head);
        check(distance.saturating_mul(SECTOR))?;
        let mut records = Vec::new();
        let (mut at, mut left) = (tail, distance);
        while left > 0 {
            let header = self.header(at)?.ok_or_else(|| self.wrong(at, "magic", "no record", "a record"))?;
            let blocks = header.blocks();
            if blocks > left {
                return Err(self.wrong(at, "len", header.size_bytes.to_string(), "a record before the head"));
            }
            records.push(self.record(&header)?);
            left = left.saturating_sub(blocks);
            at = self.wrapped(at.saturating_add(blocks));
        }
        Ok(records)
    }

    fn wrong(
        &self,
        block: u64,
        field: &'static str,
        found: impl Into<String>,
        allowed: impl Into<String>,
    ) -> Error {
        Error::malformed(FORMAT, field, self.offset(block), found, allowed)
    }

    fn offset(&self, block: u64) -> u64 {
        self.start.saturating_add(block.saturating_mul(SECTOR))
    }

    fn wrapped(&self, block: u64) -> u64 {
        block.checked_rem(self.blocks).unwrap_or(0)
    }

    /// Blocks from one place of the ring forward to another.
    fn distance(&self, from: u64, to: u64) -> u64 {
        self.wrapped(to.saturating_add(self.blocks).saturating_sub(from))
    }

    fn back(&self, block: u64, by: u64) -> u64 {
        let by = by.min(self.blocks);
        self.wrapped(block.saturating_add(self.blocks).saturating_sub(by))
    }

    /// Blocks of the ring from one on; past its end come those from its start.
    fn read(&self, first: u64, count: u64) -> Result<Vec<u8>> {
        let mut bytes = vec![0; len(count.saturating_mul(SECTOR))];
        let first = self.wrapped(first);
        let until_end = self.blocks.saturating_sub(first).min(count);
        let (one, two) = bytes.split_at_mut(len(until_end.saturating_mul(SECTOR)));
        self.volume.read_exact_at(self.offset(first), one)?;
        if !two.is_empty() {
            self.volume.read_exact_at(self.start, two)?;
        }
        Ok(bytes)
    }

    fn cycle(&self, block: u64) -> Result<u32> {
        let bytes = self.read(block, 1)?;
        cycle_of(&bytes)
    }

    /// The first block that satisfies a test which those before it do not and all behind it do; both ends are
    /// known.
    fn first(&self, is_behind: impl Fn(u32) -> bool) -> Result<u64> {
        let (mut before, mut behind) = (0_u64, self.blocks.saturating_sub(1));
        while before.saturating_add(1) < behind {
            let middle = before.midpoint(behind);
            match is_behind(self.cycle(middle)?) {
                true => behind = middle,
                false => before = middle,
            }
        }
        Ok(behind)
    }

    /// The block that would be written next; `None` if the log was never written.
    fn head(&self) -> Result<Option<u64>> {
        let (first, last) = (self.cycle(0)?, self.cycle(self.blocks.saturating_sub(1))?);
        if first == 0 {
            return Ok(None);
        }
        let (head, old) = if last == 0 {
            (self.first(|cycle| cycle == 0)?, 0)
        } else if first == last {
            (0, last.saturating_sub(1))
        } else if first == last.saturating_add(1) {
            (self.first(|cycle| cycle == last)?, last)
        } else {
            return Err(self.wrong(
                0,
                "cycle",
                format!("{first}, and {last} at its end"),
                "one less at the end",
            ));
        };
        // Buffers are written side by side: blocks before the head may still have the old cycle.
        let near = BUFFERS.saturating_mul(BUFFER_BYTES).checked_div(SECTOR).unwrap_or(0).min(self.blocks);
        let near = if head == 0 { near } else { near.min(head) };
        let from = self.back(head, near);
        let bytes = self.read(from, near)?;
        let torn = bytes.chunks_exact(len(SECTOR)).position(|block| cycle_of(block).is_ok_and(|c| c == old));
        Ok(Some(match torn {
            Some(position) => self.wrapped(from.saturating_add(size_of_len(position))),
            None => head,
        }))
    }

    /// The header at a block, if there is one.
    fn header(&self, block: u64) -> Result<Option<Header>> {
        let bytes = self.read(block, 1)?;
        let fields = Fields::new(&bytes, FORMAT, self.offset(block));
        if fields.be32(0)? != MAGIC {
            return Ok(None);
        }
        if fields.be32(300)? != 1 {
            let found = fields.be32(300)?.to_string();
            return Err(Error::unsupported(format!("an XFS log of another byte order (fmt {found})")));
        }
        let found = fields.slice(304, 16)?;
        if found != self.superblock.log_uuid {
            return Err(fields.wrong("fs_uuid", 304, "another file system's", "this one's"));
        }
        let version = fields.be32(8)?;
        let size = fields.be32(320)?;
        let header_blocks = match version & 2 != 0 && self.superblock.has_log_v2 && size > BYTES_A_HEADER {
            true => size.div_ceil(BYTES_A_HEADER),
            false => 1,
        };
        let size_bytes = fields.be32(12)?;
        if size_of_u32(size) > BUFFER_BYTES || size_of_u32(size_bytes) > BUFFER_BYTES {
            return Err(fields.wrong("len", 12, size_bytes.to_string(), format!("up to {BUFFER_BYTES}")));
        }
        let (cycle, lsn) = (fields.be32(4)?, fields.be64(16)?);
        let (tail_lsn, operations) = (fields.be64(24)?, fields.be32(40)?);
        let bytes = self.read(block, header_blocks.into())?;
        Ok(Some(Header {
            bytes,
            block: self.wrapped(block),
            cycle,
            size_bytes,
            lsn,
            tail_lsn,
            operations,
            header_blocks: header_blocks.into(),
        }))
    }

    /// Headers of the last records before the head, newest first: as many as can be torn, and one more.
    fn last_headers(&self, head: u64) -> Result<Vec<Header>> {
        let mut headers = Vec::new();
        let mut end = head;
        let wanted = len(BUFFERS.saturating_add(1));
        // A record takes at most so many blocks with its headers.
        let most = BUFFER_BYTES.checked_div(SECTOR).unwrap_or(0).saturating_add(BUFFERS);
        let mut left = self.blocks;
        while headers.len() < wanted && left > 0 {
            let span = most.min(left);
            let from = self.back(end, span);
            let bytes = self.read(from, span)?;
            let magic = MAGIC.to_be_bytes();
            let found = bytes.chunks_exact(len(SECTOR)).rposition(|block| block.starts_with(&magic));
            let Some(position) = found else { break };
            let at = self.wrapped(from.saturating_add(size_of_len(position)));
            let Some(header) = self.header(at)? else { break };
            left = left.saturating_sub(self.distance(at, end).max(1));
            end = at;
            headers.push(header);
        }
        Ok(headers)
    }

    /// The head after the last record that is whole, and that record: what was being written when the machine
    /// stopped is not part of the log.
    fn whole_head(&self, head: u64) -> Result<Option<(u64, Header)>> {
        let headers = self.last_headers(head)?;
        let mut end = head;
        let mut whole: Option<(u64, Header)> = None;
        for header in headers {
            let fits = self.distance(header.block, end) == header.blocks()
                || (end == header.block && header.blocks() == self.blocks);
            // One that does not reach the next header, or the head, was cut off; nothing behind it counts.
            if !fits || !self.is_intact(&header)? {
                whole = None;
            } else if whole.is_none() {
                whole = Some((end, header.clone()));
            }
            end = header.block;
        }
        Ok(whole)
    }

    /// Whether the file system was unmounted behind all that is in the log.
    fn is_unmounted(&self, head: u64, last: &Header) -> Result<bool> {
        if self.wrapped(last.block.saturating_add(last.blocks())) != head || last.operations != 1 {
            return Ok(false);
        }
        let bytes = self.read(last.block.saturating_add(last.header_blocks), 1)?;
        Ok(Fields::new(&bytes, FORMAT, self.offset(last.block)).u8(9)? & UNMOUNT != 0)
    }

    fn checked_tail(&self, last: &Header) -> Result<u64> {
        let block = last.tail_lsn & u64::from(u32::MAX);
        let cycle = last.tail_lsn >> 32;
        let is_behind = (cycle, block) <= (last.lsn >> 32, last.lsn & u64::from(u32::MAX));
        match block < self.blocks && cycle.saturating_add(1) >= last.cycle.into() && is_behind {
            true => Ok(block),
            false => Err(self.wrong(last.block, "tail_lsn", format!("{:#x}", last.tail_lsn), "in the log")),
        }
    }

    fn is_intact(&self, header: &Header) -> Result<bool> {
        let first = header.block.saturating_add(header.header_blocks);
        let bytes = self.read(first, u64::from(header.size_bytes).div_ceil(SECTOR))?;
        Ok(self.has_good_crc(header, &bytes))
    }

    /// Checks a record's checksum: over its header without it, the further header blocks, and the content as
    /// stored. The header counts with 328 bytes, or 324 where a 32 bit kernel wrote it.
    fn has_good_crc(&self, header: &Header, bytes: &[u8]) -> bool {
        let fields = Fields::new(&header.bytes, FORMAT, self.offset(header.block));
        let Ok(stored) = fields.le32(32) else { return false };
        if !self.superblock.is_v5 || stored == 0 {
            // `mkfs.xfs` leaves it zero.
            return true;
        }
        let content = bytes.get(..len(header.size_bytes)).unwrap_or(bytes);
        [328_usize, 324].into_iter().any(|size| {
            let head = header.bytes.get(..32).unwrap_or_default();
            let rest = header.bytes.get(36..size).unwrap_or_default();
            let mut crc = crc32c::crc32c(head);
            crc = crc32c::crc32c_append(crc, &[0; 4]);
            crc = crc32c::crc32c_append(crc, rest);
            for further in header.bytes.chunks_exact(len(SECTOR)).skip(1) {
                crc = crc32c::crc32c_append(crc, further.get(..260).unwrap_or_default());
            }
            sum_holds(stored, crc32c::crc32c_append(crc, content))
        })
    }

    /// A record, checked, with the bytes that cycle numbers replaced put back.
    fn record(&self, header: &Header) -> Result<Record> {
        let first = header.block.saturating_add(header.header_blocks);
        let mut bytes = self.read(first, u64::from(header.size_bytes).div_ceil(SECTOR))?;
        if !self.has_good_crc(header, &bytes) {
            return Err(self.wrong(header.block, "crc", "another", "that of the record"));
        }
        for (index, block) in bytes.chunks_exact_mut(len(SECTOR)).enumerate() {
            // In the first header block after 44 bytes, in the others after 4.
            let (part, place) = (index.checked_div(CYCLES), index.checked_rem(CYCLES));
            let (part, place) = (part.unwrap_or(0), place.unwrap_or(0));
            let start: usize = if part == 0 { 44 } else { 4 };
            let at = part
                .saturating_mul(len(SECTOR))
                .saturating_add(start)
                .saturating_add(place.saturating_mul(4));
            let kept = Fields::new(&header.bytes, FORMAT, self.offset(header.block)).slice(at, 4)?;
            let (cycle, _) = block.split_at_mut(4);
            cycle.copy_from_slice(kept);
        }
        bytes.truncate(len(header.size_bytes));
        Ok(Record {
            lsn: header.lsn,
            operations: header.operations,
            bytes,
            offset: self.offset(header.block),
        })
    }
}

fn size_of_u32(size: u32) -> u64 {
    size.into()
}

/// The cycle of one block: behind the magic in a header, else first.
fn cycle_of(block: &[u8]) -> Result<u32> {
    let fields = Fields::new(block, FORMAT, 0);
    match fields.be32(0)? {
        MAGIC => fields.be32(4),
        cycle => Ok(cycle),
    }
}
