//! Directories: content whose blocks each hold entries and behind them their names, sorted by bytes over all.
//!
//! An entry has 12 bytes: the inode (64 bits), where in the block its name is (16 bits), its type and a byte of no use.
//! The first name starts where the entries end; a name ends where the next starts, the last at a zero byte or the end
//! of the block.

use std::ops::Range;

use super::content::Content;
use super::inode::{Inode, place};
use super::volume::Volume;
use crate::bytes::ReadAt;
use crate::error::{Error, Result, ResultExt};
use crate::tree::NodeKind;
use crate::tree::fields::{Fields, len};

const FORMAT: &str = "erofs directory";
const ENTRY_BYTES: usize = 12;
const NAME_BYTES: usize = 255;

/// The names of a directory.
pub(super) struct Directory {
    content: Content,
    number: u64,
    block_bytes: u64,
}

/// A block of it.
struct Block {
    bytes: Vec<u8>,
    /// Where it starts in the directory.
    start: u64,
}

impl Directory {
    /// The directory of this inode.
    ///
    /// # Errors
    /// `Malformed` if it cannot be read or is none; `Limit` if it has too many names.
    pub(super) fn read(volume: &Volume, number: u64) -> Result<Self> {
        let inode = Inode::read(volume, number)?;
        if inode.meta.kind != NodeKind::Directory {
            return Err(inode.unfit("a directory"));
        }
        volume.base.limits.directory_bytes.check(inode.meta.size_bytes).at(|| place(number))?;
        let content = Content::map(volume, &inode, true)?;
        if let Some(start) = content.hole() {
            return Err(Error::malformed(FORMAT, "blocks", start, "a hole", "none").at(place(number)));
        }
        Ok(Directory { content, number, block_bytes: volume.base.superblock.block_bytes() })
    }

    /// The parts of the volume that hold its names; none if it has more than `most` bytes of them.
    pub(super) fn ranges(&self, most: u64) -> Vec<Range<u64>> {
        let size = self.content.size_bytes();
        if size > most { Vec::new() } else { self.content.ranges(0..size) }
    }

    fn blocks(&self) -> u64 {
        self.content.size_bytes().div_ceil(self.block_bytes)
    }

    fn block(&self, index: u64) -> Result<Block> {
        let start = index.saturating_mul(self.block_bytes);
        let size = self.content.size_bytes().saturating_sub(start).min(self.block_bytes);
        let mut bytes = vec![0; len(size)];
        self.content.read_exact_at(start, &mut bytes)?;
        Ok(Block { bytes, start })
    }

    /// Shows every name but `.` and `..` with its inode.
    ///
    /// # Errors
    /// The first damage, after all blocks that can be read were shown; at once that of `each`.
    pub(super) fn names(&self, each: &mut dyn FnMut(&[u8], u64) -> Result<()>) -> Result<()> {
        let mut damage = None;
        for index in 0..self.blocks() {
            let mut names = Vec::new();
            let read = self.block(index).and_then(|block| {
                let read = block.entries(&mut |name, inode| names.push((name.to_vec(), inode)));
                read.at(|| place(self.number))
            });
            damage = damage.or(read.err());
            for (name, inode) in &names {
                if !matches!(&name[..], b"." | b"..") {
                    each(name, *inode)?;
                }
            }
        }
        damage.map_or(Ok(()), Err)
    }

    /// The inode of this name. As the kernel does, it trusts that names are sorted.
    ///
    /// # Errors
    /// Those of reading the blocks on the way to it.
    pub(super) fn lookup(&self, wanted: &[u8]) -> Result<Option<u64>> {
        if matches!(wanted, b"" | b"." | b"..") {
            return Ok(None);
        }
        // The last block whose first name is not after the wanted one.
        let (mut low, mut high) = (0, self.blocks());
        let mut best = None;
        while low < high {
            let middle = low.saturating_add(high.saturating_sub(low) / 2);
            let block = self.block(middle)?;
            let is_before = block.first().at(|| place(self.number))? <= wanted;
            if is_before {
                low = middle.saturating_add(1);
                best = Some(block);
            } else {
                high = middle;
            }
        }
        let Some(block) = best else { return Ok(None) };
        let mut found = None;
        let read = block.entries(&mut |name, inode| {
            if name == wanted {
                found.get_or_insert(inode);
            }
        });
        match (found, read) {
            (Some(inode), _) => Ok(Some(inode)),
            (None, read) => read.map(|()| None).at(|| place(self.number)),
        }
    }
}

impl Block {
    fn fields(&self) -> Fields<'_> {
        Fields::new(&self.bytes, FORMAT, self.start)
    }

    /// How many entries there are.
    fn count(&self) -> Result<usize> {
        let fields = self.fields();
        let names = usize::from(fields.le16(8)?);
        if names < ENTRY_BYTES || names > self.bytes.len() || !names.is_multiple_of(ENTRY_BYTES) {
            let allowed = format!("a multiple of 12 up to {}", self.bytes.len());
            return Err(fields.wrong("nameoff", 8, names.to_string(), allowed));
        }
        Ok(names / ENTRY_BYTES)
    }

    /// The name of the entry of this index of `count`.
    fn name(&self, index: usize, count: usize) -> Result<&[u8]> {
        let fields = self.fields();
        let at = index.saturating_mul(ENTRY_BYTES).saturating_add(8);
        let start = usize::from(fields.le16(at)?);
        let is_last = index.checked_add(1) == Some(count);
        let end = match is_last {
            true => self.bytes.len(),
            false => usize::from(fields.le16(at.saturating_add(ENTRY_BYTES))?),
        };
        let names = count.saturating_mul(ENTRY_BYTES);
        let whole = self.bytes.get(start..end).filter(|_| start >= names);
        let name = whole.map(|name| match is_last {
            true => name.split(|byte| *byte == 0).next().unwrap_or_default(),
            false => name,
        });
        match name {
            Some(name) if !name.is_empty() && name.len() <= NAME_BYTES => Ok(name),
            _ => {
                let allowed = format!("1 to {NAME_BYTES} bytes behind the entries");
                Err(fields.wrong("nameoff", at, format!("a name from {start} to {end}"), allowed))
            }
        }
    }

    fn first(&self) -> Result<&[u8]> {
        self.name(0, self.count()?)
    }

    /// Shows the entries up to the first that is damaged.
    fn entries(&self, each: &mut dyn FnMut(&[u8], u64)) -> Result<()> {
        let count = self.count()?;
        for index in 0..count {
            let name = self.name(index, count)?;
            each(name, self.fields().le64(index.saturating_mul(ENTRY_BYTES))?);
        }
        Ok(())
    }
}
