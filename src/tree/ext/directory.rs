//! Directories: records in blocks, or in the inode itself. A hashed directory (htree) hides its index in blocks
//! that look empty, so its names are read like those of any other.

use std::ops::ControlFlow;

use super::Core;
use super::inode::Inode;
use super::superblock::{Checksums, incompat};
use crate::bytes::{ReadAt as _, sum_holds};
use crate::error::{Error, Result, ResultExt as _};
use crate::tree::crc32c::crc32c;
use crate::tree::extents::ExtentContent;
use crate::tree::fields::Fields;
use crate::tree::{DirEntry, NodeId};

const FORMAT: &str = "ext directory";
/// The record at the end of a block that holds its checksum: a name-less one of this type.
const TAIL_BYTES: usize = 12;
const TAIL_TYPE: u8 = 0xde;

/// What becomes of each name.
pub(super) type Each<'a> = dyn FnMut(DirEntry<'_>) -> Result<ControlFlow<()>> + 'a;

/// The first damage that was seen, while reading goes on.
#[derive(Default)]
struct Damage(Option<Error>);

impl Damage {
    fn note(&mut self, error: Error) {
        self.0.get_or_insert(error);
    }
}

impl Core {
    /// Shows every name of a directory until `each` breaks off.
    ///
    /// # Errors
    /// The first damage, after the rest was shown, and those of `each`.
    pub(super) fn names(&self, inode: &Inode, each: &mut Each<'_>) -> Result<()> {
        inode.check_readable()?;
        let mut damage = Damage::default();
        if inode.is_inline() {
            self.inline_names(inode, each, &mut damage)?;
        } else {
            self.block_names(inode, each, &mut damage)?;
        }
        damage.0.map_or(Ok(()), Err).at(|| format!("inode {}", inode.number))
    }

    fn inline_names(&self, inode: &Inode, each: &mut Each<'_>, damage: &mut Damage) -> Result<()> {
        let (head, rest) = inode.inline_parts()?;
        // The first four bytes are the parent's number.
        for (part, offset) in
            [(head.get(4..).unwrap_or_default(), inode.area_offset.saturating_add(4)), (rest, 0)]
        {
            if self.records(Fields::new(part, FORMAT, offset), each, damage)?.is_break() {
                return Ok(());
            }
        }
        Ok(())
    }

    fn block_names(&self, inode: &Inode, each: &mut Each<'_>, damage: &mut Damage) -> Result<()> {
        let block_bytes = u64::from(self.superblock.block_bytes);
        let extents = self.extents(inode)?;
        self.limits.directory_bytes.check(inode.size_bytes)?;
        let content =
            ExtentContent::new(self.meta.clone(), extents, inode.size_bytes.next_multiple_of(block_bytes));
        let mut block = vec![0; usize::try_from(block_bytes).unwrap_or(0)];
        let blocks = inode.size_bytes.div_ceil(block_bytes);
        for number in 0..blocks {
            let start = number.saturating_mul(block_bytes);
            let ranges = content.ranges(start..start.saturating_add(block_bytes));
            let Some(place) = ranges.first().map(|range| range.start) else {
                damage.note(Error::malformed(
                    FORMAT,
                    "block",
                    None,
                    format!("a hole at {start:#x}"),
                    "blocks",
                ));
                continue;
            };
            if let Err(error) = content.read_exact_at(start, &mut block) {
                damage.note(error);
                continue;
            }
            let fields = Fields::new(&block, FORMAT, place);
            if self.superblock.checksums() == Checksums::All
                && let Err(error) = check_sum(fields, inode, number == 0)
            {
                damage.note(error);
            }
            if self.records(fields, each, damage)?.is_break() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// The records of one block.
    fn records(
        &self,
        fields: Fields<'_>,
        each: &mut Each<'_>,
        damage: &mut Damage,
    ) -> Result<ControlFlow<()>> {
        let mut at = 0_usize;
        while at < fields.bytes.len() {
            let (entry, len) = match self.record(fields, at) {
                Ok(record) => record,
                Err(error) => {
                    damage.note(error);
                    break;
                }
            };
            if let Some(entry) = entry.filter(|entry| !matches!(entry.name, b"." | b".."))
                && each(entry)?.is_break()
            {
                return Ok(ControlFlow::Break(()));
            }
            at = at.saturating_add(len);
        }
        Ok(ControlFlow::Continue(()))
    }

    /// One record and its length; a record without inode is free.
    fn record<'b>(&self, fields: Fields<'b>, at: usize) -> Result<(Option<DirEntry<'b>>, usize)> {
        let inode = fields.le32(at)?;
        let len = self.record_len(fields.le16(at.saturating_add(4))?);
        let left = fields.bytes.len().saturating_sub(at);
        let name_len = match self.superblock.has(incompat::FILETYPE) {
            true => usize::from(fields.u8(at.saturating_add(6))?),
            false => usize::from(fields.le16(at.saturating_add(6))?),
        };
        let least = if inode == 0 { 8 } else { name_len.saturating_add(8).next_multiple_of(4) };
        if len < least.max(8) || len > left || !len.is_multiple_of(4) {
            let allowed = format!("a multiple of 4 from {} to {left}", least.max(8));
            return Err(fields.wrong("rec_len", at.saturating_add(4), len.to_string(), allowed));
        }
        if inode == 0 {
            return Ok((None, len));
        }
        let name = fields.slice(at.saturating_add(8), name_len)?;
        if name.is_empty() || name_len > 255 {
            return Err(fields.wrong("name_len", at.saturating_add(6), name_len.to_string(), "1 to 255"));
        }
        Ok((Some(DirEntry { name, node: NodeId::new(inode.into()) }), len))
    }

    /// A record's length as stored: blocks of 64 KiB need one bit more than there are.
    fn record_len(&self, stored: u16) -> usize {
        let len = usize::from(stored);
        match (self.superblock.block_bytes, stored) {
            (65_536, 0 | 0xffff) => 65_536,
            (65_536, _) => (len & 0xfffc) | ((len & 3) << 16),
            _ => len,
        }
    }
}

/// Checks a block's sum, which stands in a record at its end or behind the index of a hashed directory.
fn check_sum(fields: Fields<'_>, inode: &Inode, is_first: bool) -> Result<()> {
    let tail = fields.bytes.len().saturating_sub(TAIL_BYTES);
    let is_leaf = fields.le32(tail)? == 0
        && fields.le16(tail.saturating_add(4))? == 12
        && fields.u8(tail.saturating_add(6))? == 0
        && fields.u8(tail.saturating_add(7))? == TAIL_TYPE;
    // What was a leaf before it became an index may still have its old tail.
    let index = if inode.is_indexed() { index_at(fields, is_first)? } else { None };
    let (at, wanted) = match index {
        Some(index) => {
            let (limit, count) = (fields.le16(index)?, fields.le16(index.saturating_add(2))?);
            let tail = index.saturating_add(usize::from(limit).saturating_mul(8));
            let used = index.saturating_add(usize::from(count).saturating_mul(8));
            let sum = crc32c(inode.seed, fields.slice(0, used)?);
            (tail.saturating_add(4), crc32c(crc32c(sum, fields.slice(tail, 4)?), &[0; 4]))
        }
        None if is_leaf => (tail.saturating_add(8), crc32c(inode.seed, fields.slice(0, tail)?)),
        None => return Err(fields.wrong("checksum", tail, "none", "a block with a checksum")),
    };
    let found = fields.le32(at)?;
    if sum_holds(found, wanted) {
        return Ok(());
    }
    Err(fields.wrong("checksum", at, format!("{found:#x}"), format!("the sum {wanted:#x}")))
}

/// Where the index entries of a block start, if it has any.
fn index_at(fields: Fields<'_>, is_first: bool) -> Result<Option<usize>> {
    if !is_first {
        let spans = usize::from(fields.le16(4)?);
        let is_node = fields.le32(0)? == 0 && (spans == fields.bytes.len() || matches!(spans, 0 | 0xffff));
        return Ok(is_node.then_some(8));
    }
    let is_root = fields.le16(4)? == 12 && fields.le32(24)? == 0 && fields.u8(29)? == 8;
    Ok(is_root.then_some(32))
}
