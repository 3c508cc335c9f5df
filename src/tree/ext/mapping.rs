//! Where the blocks of a file are: an extent tree, or block numbers with up to three levels of indirection.

use std::collections::HashSet;

use super::Core;
use super::inode::Inode;
use super::superblock::Checksums;
use crate::bytes::{size_of_len, sum_holds};
use crate::error::{Error, Result};
use crate::tree::crc32c::crc32c;
use crate::tree::extents::Extent;
use crate::tree::fields::Fields;

const MAGIC: u16 = 0xf30a;
/// Linux makes no deeper tree: five levels map all of a file's 2^32 blocks.
const MOST_DEPTH: u16 = 5;
/// Longer extents are as long less this, and were never written.
const UNWRITTEN: u16 = 32_768;
/// Header, extent and index all have this size.
const RECORD: usize = 12;

/// Collects a file's extents, in blocks first.
struct Mapping<'a> {
    core: &'a Core,
    inode: &'a Inode,
    extents: Vec<Extent>,
    /// Mapping blocks that were read: none serves twice.
    read: HashSet<u64>,
    /// The first block of the file that is not mapped yet.
    next: u64,
    /// How many blocks the file has by its size.
    blocks: u64,
}

impl Core {
    /// The extents of a file that were written, in order, in bytes.
    ///
    /// # Errors
    /// If the mapping is damaged, points outside the file system, or loops.
    pub(super) fn extents(&self, inode: &Inode) -> Result<Vec<Extent>> {
        let block_bytes = u64::from(self.superblock.block_bytes);
        let mut mapping = Mapping {
            core: self,
            inode,
            extents: Vec::new(),
            read: HashSet::new(),
            next: 0,
            blocks: inode.size_bytes.div_ceil(block_bytes),
        };
        if inode.has_extents() {
            let area = Fields::new(&inode.area, "ext extent header", inode.area_offset);
            mapping.node(area, None, 0)?;
        } else {
            mapping.numbers()?;
        }
        Ok(mapping.extents)
    }
}

impl Mapping<'_> {
    /// A node of the extent tree: its entries cover the file from `from` on.
    fn node(&mut self, fields: Fields<'_>, depth: Option<u16>, from: u64) -> Result<()> {
        let magic = fields.le16(0)?;
        if magic != MAGIC {
            return Err(fields.wrong("magic", 0, format!("{magic:#06x}"), format!("{MAGIC:#06x}")));
        }
        let (entries, max, found) = (fields.le16(2)?, fields.le16(4)?, fields.le16(6)?);
        match depth {
            Some(depth) if found != depth => {
                return Err(fields.wrong("depth", 6, found.to_string(), depth.to_string()));
            }
            None if found > MOST_DEPTH => {
                return Err(fields.wrong("depth", 6, found.to_string(), format!("0 to {MOST_DEPTH}")));
            }
            _ => {}
        }
        let room = (fields.bytes.len() / RECORD).saturating_sub(1);
        if usize::from(max) > room || entries > max {
            return Err(fields.wrong("entries", 2, format!("{entries} of {max}"), format!("at most {room}")));
        }
        if depth.is_some() && self.core.superblock.checksums() == Checksums::All {
            let at = usize::from(max).saturating_add(1).saturating_mul(RECORD);
            let (found, wanted) = (fields.le32(at)?, crc32c(self.inode.seed, fields.slice(0, at)?));
            if !sum_holds(found, wanted) {
                return Err(fields.wrong(
                    "checksum",
                    at,
                    format!("{found:#x}"),
                    format!("the sum {wanted:#x}"),
                ));
            }
        }
        let mut least = from;
        for index in 1..=usize::from(entries) {
            let at = index.saturating_mul(RECORD);
            let logical = u64::from(fields.le32(at)?);
            if logical < least {
                return Err(fields.wrong("block", at, logical.to_string(), format!("{least} or more")));
            }
            match found.checked_sub(1) {
                None => least = self.extent(fields, at, logical)?,
                Some(below) => {
                    self.index(fields, at, logical, below)?;
                    least = self.next.max(logical.saturating_add(1));
                }
            }
        }
        Ok(())
    }

    /// A leaf's extent; the block after it comes back.
    fn extent(&mut self, fields: Fields<'_>, at: usize, logical: u64) -> Result<u64> {
        let len = fields.le16(at.saturating_add(4))?;
        let (len, is_written) = match len {
            0 => return Err(fields.wrong("len", at.saturating_add(4), "0", "1 or more")),
            1..=UNWRITTEN => (len, true),
            _ => (len.saturating_sub(UNWRITTEN), false),
        };
        let high = u64::from(fields.le16(at.saturating_add(6))?);
        let start = u64::from(fields.le32(at.saturating_add(8))?) | (high << 32);
        let place = fields.place(at.saturating_add(6));
        if is_written {
            self.add(logical, start, len.into(), fields.format, place)?;
        }
        self.next = logical.saturating_add(len.into());
        Ok(self.next)
    }

    /// An inner entry, and all that is below it.
    fn index(&mut self, fields: Fields<'_>, at: usize, logical: u64, depth: u16) -> Result<()> {
        let high = u64::from(fields.le16(at.saturating_add(8))?);
        let block = u64::from(fields.le32(at.saturating_add(4))?) | (high << 32);
        let (offset, bytes) = self.block(fields.format, fields.place(at.saturating_add(4)), block)?;
        self.node(Fields::new(&bytes, fields.format, offset), Some(depth), logical)
    }

    /// Reads a mapping block, once.
    fn block(&mut self, format: &'static str, place: u64, block: u64) -> Result<(u64, Vec<u8>)> {
        let offset = self.core.offset_of(format, "block", Some(place), block)?;
        if !self.read.insert(block) {
            let again = format!("{block}, for the second time");
            return Err(Error::malformed(format, "block", place, again, "each block once"));
        }
        let len = usize::try_from(self.core.superblock.block_bytes).unwrap_or(0);
        self.core.limits.file_extents.check(size_of_len(self.read.len()))?;
        Ok((offset, self.core.metadata(offset, len)?))
    }

    /// The fifteen numbers of ext2: twelve of blocks, then of blocks of numbers, one to three levels deep.
    fn numbers(&mut self) -> Result<()> {
        let area = self.inode.area;
        let fields = Fields::new(&area, "ext block map", self.inode.area_offset);
        for index in 0..15_usize {
            let levels = u32::try_from(index.saturating_sub(11)).unwrap_or(0);
            self.number(fields, index.saturating_mul(4), levels)?;
        }
        Ok(())
    }

    /// A block number: of the file itself, or `levels` above it.
    fn number(&mut self, fields: Fields<'_>, at: usize, levels: u32) -> Result<()> {
        if self.next >= self.blocks {
            return Ok(());
        }
        let block = u64::from(fields.le32(at)?);
        let a_block = u64::from(self.core.superblock.block_bytes / 4);
        let covered = a_block.saturating_pow(levels);
        if block == 0 {
            self.next = self.next.saturating_add(covered);
            return Ok(());
        }
        if levels == 0 {
            self.add(self.next, block, 1, fields.format, fields.place(at))?;
            self.next = self.next.saturating_add(1);
            return Ok(());
        }
        let (offset, bytes) = self.block(fields.format, fields.place(at), block)?;
        let inner = Fields::new(&bytes, fields.format, offset);
        for index in 0..bytes.len() / 4 {
            self.number(inner, index.saturating_mul(4), levels.saturating_sub(1))?;
        }
        Ok(())
    }

    /// Adds blocks that are on the volume; neighbours become one extent.
    fn add(&mut self, logical: u64, start: u64, len: u64, format: &'static str, place: u64) -> Result<()> {
        let bytes = |blocks: u64| blocks.saturating_mul(self.core.superblock.block_bytes.into());
        let physical = self.core.offset_of(format, "block", Some(place), start)?;
        let last = start.saturating_add(len.saturating_sub(1));
        self.core.offset_of(format, "last block", Some(place), last)?;
        let extent = Extent { logical: bytes(logical), physical, len: bytes(len) };
        if let Some(before) = self.extents.last_mut()
            && before.end() == extent.logical
            && before.physical.saturating_add(before.len) == extent.physical
        {
            before.len = before.len.saturating_add(extent.len);
            return Ok(());
        }
        self.core.limits.file_extents.check(size_of_len(self.extents.len()).saturating_add(1))?;
        self.extents.push(extent);
        Ok(())
    }
}
