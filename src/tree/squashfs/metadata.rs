//! Metadata blocks: 8 KiB each, compressed one by one, in a row without gaps. A structure may pass from one into
//! the next.
//!
//! A block starts with 16 bits: the highest is set if it is stored as it is, the others are the number of bytes
//! that follow.

use std::ops::Range;
use std::sync::Arc;

use super::superblock::Superblock;
use crate::bytes::{ReadAt, array_at, size_of_len};
use crate::error::{Error, Result, ResultExt};
use crate::limits::Limits;
use crate::tree::CachedReader;
use crate::tree::inflated::Inflated;

/// What a metadata block holds, except for the last of a table.
pub(super) const BLOCK_BYTES: usize = 8192;
/// The most that a metadata block takes on the volume, with its header.
pub(super) const STORED_BYTES: u64 = 8194;
const HEADER_BYTES: u64 = 2;
const FORMAT: &str = "squashfs metadata block";
const PLAIN: u16 = 1 << 15;

/// What reads structures of a file system.
pub(super) struct Metadata {
    pub(super) reader: CachedReader,
    pub(super) superblock: Superblock,
    pub(super) limits: Arc<Limits>,
    /// Inflated metadata blocks by where they start.
    blocks: Inflated<u64>,
    /// Inflated blocks of content by where they start and their size as stored, with its flag.
    pub(super) content: Inflated<(u64, u32)>,
}

/// Where the next byte of metadata is.
#[derive(Clone)]
pub(super) struct Place {
    /// Where the block starts on the volume.
    block: u64,
    /// Which of its inflated bytes is next; may be its end.
    offset: usize,
    /// Where the table that it belongs to ends on the volume.
    end: u64,
}

impl Metadata {
    pub(super) fn new(reader: CachedReader, superblock: Superblock, limits: Arc<Limits>) -> Self {
        let half = limits.inflated_cache_bytes.max / 2;
        Metadata { reader, superblock, limits, blocks: Inflated::new(half), content: Inflated::new(half) }
    }

    /// The place that is `offset` bytes into the block that starts `block` bytes into a table.
    ///
    /// # Errors
    /// `Malformed` if it is outside of the table.
    pub(super) fn place(&self, table: &Range<u64>, block: u64, offset: u16) -> Result<Place> {
        let start = table.start.saturating_add(block);
        let offset = usize::from(offset);
        if start >= table.end || offset >= BLOCK_BYTES {
            return Err(Error::malformed(
                "squashfs reference",
                "place",
                None,
                format!("byte {offset} of the block {block:#x} bytes into its table"),
                format!(
                    "a byte below {BLOCK_BYTES} of one before {:#x}",
                    table.end.saturating_sub(table.start)
                ),
            ));
        }
        Ok(Place { block: start, offset, end: table.end })
    }

    /// Fills `dst` with what follows a place, which moves on.
    ///
    /// # Errors
    /// `Malformed` if a block is damaged or the table ends before; `Io`.
    pub(super) fn read(&self, place: &mut Place, dst: &mut [u8]) -> Result<()> {
        let mut rest = dst;
        while !rest.is_empty() {
            let block = self.block(place)?;
            let part = block.get(place.offset..).unwrap_or_default();
            if part.is_empty() {
                self.next_block(place, block.len())?;
                continue;
            }
            let taken = part.len().min(rest.len());
            let (now, later) = rest.split_at_mut(taken);
            now.copy_from_slice(part.get(..taken).unwrap_or_default());
            place.offset = place.offset.saturating_add(taken);
            rest = later;
        }
        Ok(())
    }

    /// The next `N` bytes.
    ///
    /// # Errors
    /// As [`Metadata::read`].
    pub(super) fn array<const N: usize>(&self, place: &mut Place) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.read(place, &mut bytes)?;
        Ok(bytes)
    }

    /// Moves from the end of a block of `len` bytes to the start of the next.
    fn next_block(&self, place: &mut Place, len: usize) -> Result<()> {
        if place.offset > len {
            let allowed = format!("more than {}", place.offset);
            return Err(Error::malformed(FORMAT, "length", place.block, format!("{len} bytes"), allowed));
        }
        let (stored, _) = self.header(place)?;
        place.block = place.block.saturating_add(HEADER_BYTES).saturating_add(size_of_len(stored));
        place.offset = 0;
        Ok(())
    }

    /// How many bytes the block of a place takes behind its header, and whether they are plain.
    fn header(&self, place: &Place) -> Result<(usize, bool)> {
        let mut bytes = [0; 2];
        let data = place.block.saturating_add(HEADER_BYTES);
        if data > place.end {
            let allowed = format!("before its table's end at {:#x}", place.end);
            return Err(Error::malformed(FORMAT, "place", place.block, "past the end", allowed));
        }
        self.reader.read_exact_at(place.block, &mut bytes)?;
        let header = u16::from_le_bytes(bytes);
        let stored = usize::from(header & !PLAIN);
        let left = place.end.saturating_sub(data);
        if stored == 0 || stored > BLOCK_BYTES || size_of_len(stored) > left {
            let allowed = format!("1..={}", left.min(size_of_len(BLOCK_BYTES)));
            return Err(Error::malformed(FORMAT, "size", place.block, stored.to_string(), allowed));
        }
        Ok((stored, header & PLAIN != 0))
    }

    fn block(&self, place: &Place) -> Result<Arc<[u8]>> {
        self.blocks.get(place.block, || {
            let (stored, is_plain) = self.header(place)?;
            let mut bytes = vec![0; stored];
            self.reader.read_exact_at(place.block.saturating_add(HEADER_BYTES), &mut bytes)?;
            match is_plain {
                true => Ok(bytes),
                false => {
                    let inflated = self.superblock.codec.inflate(&bytes, BLOCK_BYTES, &self.limits);
                    inflated.at(|| format!("metadata block at byte {:#x}", place.block))
                }
            }
        })
    }
}

impl Place {
    /// The part of the volume that holds `len` bytes from here on, at most.
    pub(super) fn range(&self, len: u64) -> Range<u64> {
        let blocks = len.saturating_add(size_of_len(self.offset)).div_ceil(size_of_len(BLOCK_BYTES));
        let most = blocks.saturating_mul(STORED_BYTES);
        self.block..self.block.saturating_add(most).min(self.end)
    }
}

/// The little-endian number in four bytes of an array.
pub(super) fn word<const N: usize>(bytes: &[u8; N], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}
