//! Extents: which blocks of the volume hold which blocks of a file, as records in the inode or in a B-tree.
//!
//! Layout: *XFS Algorithms & Data Structures*, 3rd edition, chapter 19. A record has 128 bits:
//!
//! | bits, high first | field |
//! | --- | --- |
//! | 1 | unwritten: the blocks are allocated and read as zeros |
//! | 54 | first block in the file |
//! | 52 | first block on the volume |
//! | 21 | count of blocks |
//!
//! The root in the inode is level, count, then as many keys as the fork has room for, then as many pointers.
//! Blocks below are the same with a header of 24 bytes (`BMAP`) or, since version 5, 72 (`BMA3`).

use std::collections::BTreeSet;
use std::ops::Range;

use super::inode::{Fork, Inode};
use super::metadata::{BTREE_SEAL, Metadata};
use crate::bytes::ReadAt as _;
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::tree::fields::Fields;

const RECORDS: &str = "XFS extent records";
const ROOT: &str = "XFS extent B-tree root";
const NODE: &str = "XFS extent B-tree block";
const MAGIC: u32 = u32::from_be_bytes(*b"BMAP");
const MAGIC_V5: u32 = u32::from_be_bytes(*b"BMA3");
/// Levels of the deepest tree that 2^48 extents can make of the smallest blocks (`XFS_BTREE_MAXLEVELS`).
const LEVELS: u16 = 9;

/// Consecutive blocks of a file that are consecutive on the volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    /// First block in the file.
    pub(super) first: u64,
    /// Blocks.
    pub(super) count: u64,
    /// First byte on the volume.
    pub(super) offset: u64,
    /// Never written: zeros.
    pub(super) is_unwritten: bool,
}

impl Extent {
    /// The first block of the file behind it.
    pub(super) fn end(&self) -> u64 {
        self.first.saturating_add(self.count)
    }
}

/// The extents of one file.
#[derive(Debug, Default)]
pub(super) struct Mapping {
    /// Sorted, without overlaps.
    pub(super) extents: Vec<Extent>,
    /// Why there are no more, if some could not be read.
    pub(super) damage: Option<Error>,
}

impl Mapping {
    /// Reads all extents of an inode; what can be, if there is damage.
    pub(super) fn read(metadata: &Metadata, inode: &Inode, limits: &Limits) -> Self {
        let (Fork::Extents(count) | Fork::Btree(count)) = inode.format else {
            return Mapping { extents: Vec::new(), damage: Some(inode.unfit()) };
        };
        let mut this = Mapping::default();
        let read = limits.file_extents.check(count).and_then(|_| match inode.format {
            Fork::Btree(_) => Descent { metadata, inode, count, seen: BTreeSet::new() }.root(&mut this),
            _ => this.records(metadata, &inode.fork(RECORDS), 0, count),
        });
        this.damaged(read);
        let found = crate::bytes::size_of_len(this.extents.len());
        if this.damage.is_none() && found != count {
            let wrong = Error::malformed("XFS inode", "nextents", None, count.to_string(), found.to_string());
            this.damage = Some(wrong);
        }
        this
    }

    /// The extents, if all could be read.
    ///
    /// # Errors
    /// What damaged them.
    pub(super) fn whole(self) -> Result<Vec<Extent>> {
        match self.damage {
            Some(damage) => Err(damage),
            None => Ok(self.extents),
        }
    }

    /// Keeps the first damage.
    fn damaged(&mut self, read: Result<()>) {
        if let Err(error) = read {
            self.damage.get_or_insert(error);
        }
    }

    /// Adds `count` records from byte `at` of a structure.
    fn records(&mut self, metadata: &Metadata, fields: &Fields<'_>, at: usize, count: u64) -> Result<()> {
        let size = count.checked_mul(16).and_then(|size| usize::try_from(size).ok()).unwrap_or(usize::MAX);
        for (at, record) in (at..).step_by(16).zip(fields.slice(at, size)?.chunks_exact(16)) {
            self.record(metadata, &Fields::new(record, fields.format, fields.offset), at)?;
        }
        Ok(())
    }

    fn record(&mut self, metadata: &Metadata, record: &Fields<'_>, at: usize) -> Result<()> {
        let bits = (u128::from(record.be64(0)?) << 64) | u128::from(record.be64(8)?);
        let field = |shift: u32, width: u32| {
            let mask = 1_u128.checked_shl(width).unwrap_or(0).saturating_sub(1);
            u64::try_from((bits >> shift) & mask).unwrap_or(u64::MAX)
        };
        let (first, block, count) = (field(73, 54), field(21, 52), field(0, 21));
        let wrong = |found: String, allowed: String| Err(record.wrong("record", at, found, allowed));
        if count == 0 {
            return wrong("no block".to_owned(), "at least one".to_owned());
        }
        let free = self.extents.last().map_or(0, Extent::end);
        if first < free {
            return wrong(format!("file block {first}"), format!("{free} or behind, in order"));
        }
        let offset = metadata.superblock.block_offset(block, count)?;
        self.extents.push(Extent { first, count, offset, is_unwritten: bits >> 127 != 0 });
        Ok(())
    }
}

/// The way down one B-tree.
struct Descent<'a> {
    metadata: &'a Metadata,
    inode: &'a Inode,
    /// Records that the inode says there are.
    count: u64,
    /// Byte offsets of blocks that were read.
    seen: BTreeSet<u64>,
}

impl Descent<'_> {
    fn root(&mut self, mapping: &mut Mapping) -> Result<()> {
        let root = self.inode.fork(ROOT);
        let level = root.be16(0)?;
        if level == 0 || level > LEVELS {
            return Err(root.wrong("level", 0, level.to_string(), format!("1..={LEVELS}")));
        }
        let room = root.bytes.len().saturating_sub(4).checked_div(16).unwrap_or(0);
        let children = pointers(&root, 4, room, usize::from(root.be16(2)?), 2)?;
        self.children(&children, level.saturating_sub(1), mapping);
        Ok(())
    }

    /// Reads the blocks that pointers lead to, all of one level; damage to one does not hide the others.
    fn children(&mut self, blocks: &[u64], level: u16, mapping: &mut Mapping) {
        let size_bytes = u64::from(self.metadata.superblock.block_bytes);
        let offsets: Vec<_> =
            blocks.iter().map(|block| self.metadata.superblock.block_offset(*block, 1)).collect();
        if blocks.len() > 1 {
            let ranges: Vec<Range<u64>> =
                offsets.iter().flatten().map(|offset| *offset..offset.saturating_add(size_bytes)).collect();
            self.metadata.reader.prefetch(&ranges);
        }
        for offset in offsets {
            let read = offset.and_then(|offset| self.block(offset, level, mapping));
            mapping.damaged(read);
        }
    }

    fn block(&mut self, offset: u64, level: u16, mapping: &mut Mapping) -> Result<()> {
        let superblock = &self.metadata.superblock;
        if !self.seen.insert(offset) {
            return Err(Error::malformed(
                NODE,
                "pointer",
                offset,
                "a block that was read",
                "each block once",
            ));
        }
        // The fullest tree has a block a record, and above it at most as many again.
        let most = self.count.saturating_mul(2).saturating_add(1);
        if crate::bytes::size_of_len(self.seen.len()) > most {
            let found = format!("more than {most} blocks");
            return Err(Error::malformed(NODE, "pointer", offset, found, "what nextents makes"));
        }
        let block = self.metadata.read(offset, superblock.block_bytes.into())?;
        let fields = block.fields(NODE);
        let (magic, header) = if superblock.is_v5 { (MAGIC_V5, 72_usize) } else { (MAGIC, 24) };
        fields.expect_magic(0, fields.be32(0)?, magic)?;
        if superblock.is_v5 {
            self.metadata.check(&block, NODE, BTREE_SEAL, self.inode.number)?;
        }
        let found = fields.be16(4)?;
        if found != level {
            return Err(fields.wrong("level", 4, found.to_string(), level.to_string()));
        }
        let count = fields.be16(6)?;
        if level == 0 {
            return mapping.records(self.metadata, &fields, header, count.into());
        }
        let room = fields.bytes.len().saturating_sub(header).checked_div(16).unwrap_or(0);
        let children = pointers(&fields, header, room, count.into(), 6)?;
        self.children(&children, level.saturating_sub(1), mapping);
        Ok(())
    }
}

/// The pointers of a node: behind as many keys as there is room for.
fn pointers(fields: &Fields<'_>, at: usize, room: usize, count: usize, count_at: usize) -> Result<Vec<u64>> {
    if count == 0 || count > room {
        return Err(fields.wrong("numrecs", count_at, count.to_string(), format!("1..={room}")));
    }
    let first = at.saturating_add(room.saturating_mul(8));
    (0..count).map(|index| fields.be64(first.saturating_add(index.saturating_mul(8)))).collect()
}

/// The extent that holds a block of a file, and how many blocks further it goes: `Err` with the blocks of a
/// hole, up to the next extent or without end.
pub(super) fn find(extents: &[Extent], block: u64) -> std::result::Result<Extent, u64> {
    let next = extents.partition_point(|extent| extent.end() <= block);
    match extents.get(next) {
        Some(extent) if extent.first <= block => Ok(*extent),
        Some(extent) => Err(extent.first.saturating_sub(block)),
        None => Err(u64::MAX),
    }
}

/// Where blocks `first..first + count` of a file are on the volume: pieces of offset and size in bytes.
///
/// # Errors
/// `Malformed` if one is in a hole or was never written.
pub(super) fn pieces(
    extents: &[Extent],
    first: u64,
    count: u64,
    block_bytes: u64,
) -> Result<Vec<(u64, u64)>> {
    let mut pieces: Vec<(u64, u64)> = Vec::new();
    let end = first.saturating_add(count);
    let mut at = first;
    while at < end {
        let extent = find(extents, at).ok().filter(|extent| !extent.is_unwritten).ok_or_else(|| {
            let found = format!("a hole at block {at}");
            Error::malformed("XFS extent records", "record", None, found, "a block of the structure")
        })?;
        let blocks = extent.end().min(end).saturating_sub(at);
        let inside = at.saturating_sub(extent.first);
        let offset = extent.offset.saturating_add(inside.saturating_mul(block_bytes));
        pieces.push((offset, blocks.saturating_mul(block_bytes)));
        at = at.saturating_add(blocks.max(1));
    }
    Ok(pieces)
}
