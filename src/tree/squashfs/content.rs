//! What files hold: blocks of one size, each compressed by itself, in a row on the volume; the end of a file may be
//! a piece of a fragment, which is a block that several files share.
//!
//! The size of a block as stored has 24 bits; the next is set if it is not compressed. A block of size zero is a
//! hole. The table of fragments is a row of pointers to metadata blocks of 512 entries: where a fragment is (64
//! bits), its size, and 32 bits that are not used.

use std::ops::Range;
use std::sync::Arc;

use super::inode::{Blocks, Body, Inode, unfit};
use super::metadata::{Metadata, word};
use crate::bytes::{ReadAt, le_u64, passes_end, size_of_len};
use crate::error::{Error, Result, ResultExt};
use crate::tree::fields::len;

const FORMAT: &str = "squashfs block";
const FRAGMENT: &str = "squashfs fragment";
const FRAGMENT_BYTES: u64 = 16;
const FRAGMENTS_A_BLOCK: u32 = 512;
const PLAIN: u32 = 1 << 24;

/// A block as it is stored.
#[derive(Debug, Clone, Copy)]
struct Stored {
    start: u64,
    /// Its size with the flag; 0 for a hole.
    size: u32,
}

impl Stored {
    fn bytes(self) -> u64 {
        (self.size & !PLAIN).into()
    }

    fn range(self) -> Range<u64> {
        self.start..self.start.saturating_add(self.bytes())
    }
}

/// A regular file.
pub(super) struct Content {
    metadata: Arc<Metadata>,
    reference: u64,
    blocks: Vec<Stored>,
    /// The fragment that the end is in, and the byte in it.
    tail: Option<(Stored, u64)>,
    size_bytes: u64,
}

impl Content {
    /// Maps the file whose inode is at a reference.
    ///
    /// # Errors
    /// `Malformed` if it is no file or its blocks are damaged; `Limit` if it has too many.
    pub(super) fn open(metadata: Arc<Metadata>, reference: u64) -> Result<Self> {
        let inode = Inode::read(&metadata, reference)?;
        let place = || format!("inode {reference:#x}");
        let Body::File(blocks) = inode.body else {
            return Err(unfit(inode.meta, "a file").at(place()));
        };
        let size_bytes = inode.meta.size_bytes;
        let tail = tail(&metadata, &blocks).at(place)?;
        let blocks = list(&metadata, blocks, size_bytes, tail.is_some()).at(place)?;
        Ok(Content { metadata, reference, blocks, tail, size_bytes })
    }

    fn block_bytes(&self) -> u64 {
        self.metadata.superblock.block_bytes.into()
    }

    /// The parts of the volume that hold a range of the file.
    pub(super) fn ranges(&self, wanted: Range<u64>) -> Vec<Range<u64>> {
        let end = wanted.end.min(self.size_bytes);
        if wanted.start >= end {
            return Vec::new();
        }
        let block = |at: u64| len(at.checked_div(self.block_bytes()).unwrap_or(0));
        let (first, last) = (block(wanted.start), block(end.saturating_sub(1)));
        let blocks = self.blocks.iter().take(last.saturating_add(1)).skip(first);
        let tail = self.tail.iter().map(|(stored, _)| stored).filter(|_| last >= self.blocks.len());
        blocks.chain(tail).filter(|stored| stored.size != 0).map(|stored| stored.range()).collect()
    }

    /// The bytes of a stored block, inflated.
    fn inflated(&self, stored: Stored) -> Result<Arc<[u8]>> {
        let metadata = &self.metadata;
        metadata.content.get((stored.start, stored.size), || {
            let mut bytes = vec![0; len(stored.bytes())];
            metadata.reader.content().read_exact_at(stored.start, &mut bytes)?;
            if stored.size & PLAIN != 0 {
                return Ok(bytes);
            }
            let most = len(metadata.superblock.block_bytes);
            metadata.superblock.codec.inflate(&bytes, most, &metadata.limits).at(|| block_at(stored.start))
        })
    }

    /// Fills `dst` with what the block of this number holds from `within` on.
    fn fill(&self, number: usize, within: u64, dst: &mut [u8]) -> Result<()> {
        let start = size_of_len(number).saturating_mul(self.block_bytes());
        let wanted = self.size_bytes.saturating_sub(start).min(self.block_bytes());
        let (stored, skipped) = match (self.blocks.get(number), self.tail) {
            (Some(stored), _) if stored.size == 0 => {
                dst.fill(0);
                return Ok(());
            }
            (Some(stored), _) => (*stored, 0),
            (None, Some(tail)) => tail,
            (None, None) => return Err(passes_end(start, dst.len(), self.size_bytes)),
        };
        let bytes = self.inflated(stored)?;
        let holds = size_of_len(bytes.len());
        let is_tail = number >= self.blocks.len();
        if (!is_tail && holds != wanted) || skipped.saturating_add(wanted) > holds {
            let allowed = format!("{}", skipped.saturating_add(wanted));
            return Err(Error::malformed(FORMAT, "length", stored.start, format!("{holds} bytes"), allowed));
        }
        let from = len(skipped.saturating_add(within));
        let part = bytes.get(from..).and_then(|part| part.get(..dst.len()));
        dst.copy_from_slice(part.ok_or_else(|| passes_end(within, dst.len(), wanted))?);
        Ok(())
    }
}

fn block_at(start: u64) -> String {
    format!("block at byte {start:#x}")
}

/// The blocks of a file.
fn list(metadata: &Metadata, blocks: Blocks, size_bytes: u64, has_tail: bool) -> Result<Vec<Stored>> {
    let block_bytes = u64::from(metadata.superblock.block_bytes);
    let whole = size_bytes.checked_div(block_bytes).unwrap_or(0);
    let count = if has_tail { whole } else { size_bytes.div_ceil(block_bytes) };
    metadata.limits.file_extents.check(count)?;
    let mut list = Vec::new();
    let mut sizes = blocks.sizes;
    let mut start = blocks.start;
    for _ in 0..count {
        let stored = Stored { start, size: u32::from_le_bytes(metadata.array(&mut sizes)?) };
        check(metadata, FORMAT, stored)?;
        start = start.saturating_add(stored.bytes());
        list.push(stored);
    }
    Ok(list)
}

/// The fragment that the end of a file is in, and the byte in it.
fn tail(metadata: &Metadata, blocks: &Blocks) -> Result<Option<(Stored, u64)>> {
    let Some((index, offset)) = blocks.fragment else { return Ok(None) };
    let superblock = &metadata.superblock;
    if index >= superblock.fragments {
        let allowed = format!("less than {}", superblock.fragments);
        return Err(Error::malformed(FRAGMENT, "index", None, index.to_string(), allowed));
    }
    let mut pointer = [0; 8];
    let at = superblock.fragment_table.saturating_add(u64::from(index / FRAGMENTS_A_BLOCK).saturating_mul(8));
    metadata.reader.read_exact_at(at, &mut pointer)?;
    let within = u64::from(index % FRAGMENTS_A_BLOCK).saturating_mul(FRAGMENT_BYTES);
    // Its metadata blocks are somewhere before the table of pointers.
    let table = 0..superblock.fragment_table;
    let within = u16::try_from(within).unwrap_or(u16::MAX);
    let mut place = metadata.place(&table, u64::from_le_bytes(pointer), within)?;
    let entry: [u8; 16] = metadata.array(&mut place)?;
    let stored = Stored { start: le_u64(&entry, 0), size: word(&entry, 8) };
    check(metadata, FRAGMENT, stored)?;
    if stored.size == 0 {
        return Err(Error::malformed(FRAGMENT, "size", None, "0", "1 or more"));
    }
    Ok(Some((stored, offset.into())))
}

/// Checks that a block is on the volume and not larger than blocks are.
fn check(metadata: &Metadata, format: &'static str, stored: Stored) -> Result<()> {
    let superblock = &metadata.superblock;
    if stored.size & !PLAIN > superblock.block_bytes {
        let allowed = format!("up to {} bytes, and the flag {PLAIN:#x}", superblock.block_bytes);
        return Err(Error::malformed(format, "size", None, format!("{:#x}", stored.size), allowed));
    }
    match stored.range().end > superblock.bytes_used {
        false => Ok(()),
        true => {
            let found = format!("{} bytes", stored.bytes());
            let allowed = format!("an end up to {:#x}", superblock.bytes_used);
            Err(Error::malformed(format, "place", stored.start, found, allowed))
        }
    }
}

impl ReadAt for Content {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read_exact_at(&self, offset: u64, dst: &mut [u8]) -> Result<()> {
        let end = offset.checked_add(size_of_len(dst.len()));
        if end.is_none_or(|end| end > self.size_bytes) {
            return Err(passes_end(offset, dst.len(), self.size_bytes));
        }
        let block_bytes = self.block_bytes();
        let (mut at, mut rest) = (offset, dst);
        while !rest.is_empty() {
            let number = len(at.checked_div(block_bytes).unwrap_or(0));
            let within = at.checked_rem(block_bytes).unwrap_or(0);
            let taken = len(block_bytes.saturating_sub(within)).min(rest.len());
            let (now, later) = rest.split_at_mut(taken);
            self.fill(number, within, now).at(|| format!("inode {:#x}", self.reference))?;
            at = at.saturating_add(size_of_len(taken));
            rest = later;
        }
        Ok(())
    }

    fn prefetch(&self, ranges: &[Range<u64>]) {
        let parts: Vec<_> = ranges.iter().flat_map(|range| self.ranges(range.clone())).collect();
        self.metadata.reader.content().prefetch(&parts);
    }
}
