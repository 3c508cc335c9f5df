//! What inodes hold, piece by piece: where each is, and in which form.

use std::ops::Range;
use std::sync::Arc;

use super::inode::{Inode, Layout, aligned, place};
use super::map;
use super::volume::{Base, Key, Volume};
use crate::bytes::{ReadAt, passes_end, size_of_len};
use crate::error::{Error, Result, ResultExt};
use crate::tree::fields::len;

const FORMAT: &str = "erofs content";
const CHUNK_BITS: u16 = 0x1f;
const CHUNK_INDEXES: u16 = 0x20;
const CHUNK_48_BIT: u16 = 0x40;
/// The most that a cluster inflates to (`Z_EROFS_PCLUSTER_MAX_DSIZE`).
const MOST_INFLATED: u64 = 12 << 20;
/// The most that a cluster takes (`Z_EROFS_PCLUSTER_MAX_SIZE`).
const MOST_STORED: u64 = 1 << 20;

/// How a piece is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Zeros that are not stored.
    Hole,
    /// As it is, from this byte of the volume on.
    Plain(u64),
    /// As it is, beside the inode.
    Inline(u64),
    /// As it is, in the packed inode.
    Packed(u64),
    /// As it is in the block at this byte of the volume, but turned: each byte is where its offset in the file, modulo
    /// the block size, says.
    Turned(u64),
    /// Compressed.
    Compressed {
        at: u64,
        stored: u32,
        algorithm: u8,
        /// Beside the inode, not on the volume.
        is_inline: bool,
    },
}

/// A piece of an inode's content; it ends where the next starts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece {
    pub(super) start: u64,
    pub(super) form: Form,
}

/// The content of an inode.
pub(super) struct Content {
    base: Arc<Base>,
    /// What stored bytes are read from: the volume, through the cache if they are metadata.
    stored: Arc<dyn ReadAt>,
    /// What the inode is in.
    beside: Arc<dyn ReadAt>,
    packed: Option<Arc<Content>>,
    number: u64,
    is_in_metabox: bool,
    /// By where they start; the first at 0.
    pieces: Vec<Piece>,
    size_bytes: u64,
}

impl Content {
    /// Maps the content of an inode; `is_metadata` if it is to be read through the cache.
    ///
    /// # Errors
    /// `Malformed` if the map is damaged, `Unsupported` if it leads to another device or uses a form that is not
    /// known, `Limit` if it has too many pieces.
    pub(super) fn map(volume: &Volume, inode: &Inode, is_metadata: bool) -> Result<Self> {
        let mut this = Self::unpacked(volume, inode, is_metadata)?;
        if this.pieces.iter().any(|piece| matches!(piece.form, Form::Packed(_))) {
            let packed = volume.packed()?;
            this.check_packed(&packed).at(|| place(inode.number))?;
            this.packed = Some(packed);
        }
        Ok(this)
    }

    /// Maps one of the inodes that others are in, which cannot be in each other.
    ///
    /// # Errors
    /// As [`Content::map`]; `Malformed` if it is not in itself.
    pub(super) fn map_special(volume: &Volume, inode: &Inode) -> Result<Self> {
        let this = Self::unpacked(volume, inode, true)?;
        match this.pieces.iter().find(|piece| matches!(piece.form, Form::Packed(_))) {
            None => Ok(this),
            Some(piece) => {
                Err(Error::malformed(FORMAT, "fragment", piece.start, "one here", "none")
                    .at(place(inode.number)))
            }
        }
    }

    fn unpacked(volume: &Volume, inode: &Inode, is_metadata: bool) -> Result<Self> {
        let base = Arc::clone(&volume.base);
        let stored: Arc<dyn ReadAt> = match is_metadata {
            true => Arc::new(base.reader.clone()),
            false => Arc::clone(base.reader.content()),
        };
        let mut this = Content {
            base,
            stored,
            beside: Arc::clone(&inode.place),
            packed: None,
            number: inode.number,
            is_in_metabox: inode.is_in_metabox(),
            pieces: Vec::new(),
            size_bytes: inode.meta.size_bytes,
        };
        if this.size_bytes > 0 {
            this.pieces = pieces(&this.base, inode).at(|| place(inode.number))?;
            this.check().at(|| place(inode.number))?;
        }
        Ok(this)
    }

    /// Where it has a hole first.
    pub(super) fn hole(&self) -> Option<u64> {
        self.pieces.iter().find(|piece| piece.form == Form::Hole).map(|piece| piece.start)
    }

    /// Where the piece of this number ends.
    fn end(&self, index: usize) -> u64 {
        let next = index.checked_add(1).and_then(|next| self.pieces.get(next));
        next.map_or(self.size_bytes, |piece| piece.start).min(self.size_bytes)
    }

    fn check(&self) -> Result<()> {
        for (index, piece) in self.pieces.iter().enumerate() {
            let bytes = self.end(index).saturating_sub(piece.start);
            let (at, most) = match piece.form {
                Form::Hole | Form::Packed(_) | Form::Inline(_) => continue,
                Form::Plain(at) => (at, bytes),
                Form::Turned(at) => (at, self.base.superblock.block_bytes()),
                Form::Compressed { at, stored, .. } => {
                    let stored = u64::from(stored);
                    if bytes > MOST_INFLATED || stored > MOST_STORED {
                        return Err(Error::unsupported(format!(
                            "an erofs cluster of {stored} bytes that inflates to {bytes}"
                        )));
                    }
                    (at, stored)
                }
            };
            let is_inline = matches!(piece.form, Form::Compressed { is_inline: true, .. });
            if !is_inline {
                self.check_place(at, most)?;
            }
        }
        Ok(())
    }

    fn check_place(&self, at: u64, bytes: u64) -> Result<()> {
        let superblock = &self.base.superblock;
        if at.checked_add(bytes).is_some_and(|end| end <= superblock.size_bytes) {
            return Ok(());
        }
        if superblock.extra_devices > 0 {
            return Err(other_device());
        }
        let allowed = format!("an end up to {:#x}", superblock.size_bytes);
        Err(Error::malformed(FORMAT, "place", at, format!("{bytes} bytes"), allowed))
    }

    fn check_packed(&self, packed: &Content) -> Result<()> {
        for (index, piece) in self.pieces.iter().enumerate() {
            let Form::Packed(at) = piece.form else { continue };
            let bytes = self.end(index).saturating_sub(piece.start);
            if at.checked_add(bytes).is_none_or(|end| end > packed.size_bytes) {
                let allowed = format!("an end up to {}", packed.size_bytes);
                return Err(Error::malformed(
                    FORMAT,
                    "fragment",
                    None,
                    format!("{bytes} bytes at {at}"),
                    allowed,
                ));
            }
        }
        Ok(())
    }

    /// The parts of the volume that hold a range.
    pub(super) fn ranges(&self, wanted: Range<u64>) -> Vec<Range<u64>> {
        let end = wanted.end.min(self.size_bytes);
        let first = self.pieces.partition_point(|piece| piece.start <= wanted.start).saturating_sub(1);
        let mut ranges = Vec::new();
        for (index, piece) in self.pieces.iter().enumerate().skip(first) {
            if piece.start >= end {
                break;
            }
            let from = wanted.start.saturating_sub(piece.start);
            let to = end.min(self.end(index)).saturating_sub(piece.start);
            match piece.form {
                Form::Hole | Form::Inline(_) | Form::Compressed { is_inline: true, .. } => {}
                Form::Plain(at) => ranges.push(at.saturating_add(from)..at.saturating_add(to)),
                Form::Turned(at) => ranges.push(at..at.saturating_add(self.base.superblock.block_bytes())),
                Form::Compressed { at, stored, .. } => ranges.push(at..at.saturating_add(stored.into())),
                Form::Packed(at) => {
                    let inner = at.saturating_add(from)..at.saturating_add(to);
                    ranges.extend(self.packed.iter().flat_map(|packed| packed.ranges(inner.clone())));
                }
            }
        }
        ranges
    }

    /// Fills `dst` with what a piece holds from `within` on.
    fn fill(&self, index: usize, piece: Piece, within: u64, dst: &mut [u8]) -> Result<()> {
        match piece.form {
            Form::Hole => dst.fill(0),
            Form::Plain(at) => self.stored.read_exact_at(at.saturating_add(within), dst)?,
            Form::Inline(at) => self.beside.read_exact_at(at.saturating_add(within), dst)?,
            Form::Packed(at) => match &self.packed {
                Some(packed) => packed.read_exact_at(at.saturating_add(within), dst)?,
                None => return Err(passes_end(at, dst.len(), 0)),
            },
            Form::Turned(at) => {
                let block = self.base.superblock.block_bytes();
                let mut bytes = vec![0; len(block)];
                self.stored.read_exact_at(at, &mut bytes)?;
                let turn = len(piece.start.saturating_add(within).checked_rem(block).unwrap_or(0));
                let size = bytes.len();
                bytes.rotate_left(turn.min(size));
                dst.copy_from_slice(
                    bytes.get(..dst.len()).ok_or_else(|| passes_end(within, dst.len(), block))?,
                );
            }
            Form::Compressed { at, stored, algorithm, is_inline } => {
                let inflated = self.end(index).saturating_sub(piece.start);
                let key = Key {
                    at,
                    stored,
                    inflated: u32::try_from(inflated).unwrap_or(u32::MAX),
                    algorithm,
                    is_in_metabox: is_inline && self.is_in_metabox,
                };
                let make = || self.inflate(key, is_inline, len(inflated));
                let bytes = self.base.inflated.get(key, make)?;
                let part = bytes.get(len(within)..).and_then(|part| part.get(..dst.len()));
                dst.copy_from_slice(part.ok_or_else(|| passes_end(within, dst.len(), inflated))?);
            }
        }
        Ok(())
    }

    fn inflate(&self, key: Key, is_inline: bool, wanted: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; len(key.stored)];
        let from = if is_inline { &self.beside } else { &self.stored };
        from.read_exact_at(key.at, &mut bytes)?;
        // What is compressed is at the end of its cluster; no stream of any compressor starts with a zero byte.
        let start = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
        let codec = self.base.superblock.codec(key.algorithm)?;
        let stored = bytes.get(start..).unwrap_or_default();
        codec.inflate_start(stored, wanted, &self.base.limits).at(|| format!("cluster at byte {:#x}", key.at))
    }
}

pub(super) fn other_device() -> Error {
    Error::unsupported("erofs content on another device")
        .hint("the image is in several parts; pack it into one file system")
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
        let (mut at, mut rest) = (offset, dst);
        while !rest.is_empty() {
            let index = self.pieces.partition_point(|piece| piece.start <= at).saturating_sub(1);
            let left = self.end(index).saturating_sub(at);
            let Some(piece) = self.pieces.get(index).filter(|_| left > 0) else {
                return Err(passes_end(at, rest.len(), self.size_bytes));
            };
            let taken = len(left).min(rest.len());
            let (now, later) = rest.split_at_mut(taken);
            let within = at.saturating_sub(piece.start);
            self.fill(index, *piece, within, now).at(|| place(self.number))?;
            at = at.saturating_add(size_of_len(taken));
            rest = later;
        }
        Ok(())
    }

    fn prefetch(&self, ranges: &[Range<u64>]) {
        let parts: Vec<_> = ranges.iter().flat_map(|range| self.ranges(range.clone())).collect();
        self.stored.prefetch(&parts);
    }
}

/// The pieces of an inode that is not empty.
fn pieces(base: &Base, inode: &Inode) -> Result<Vec<Piece>> {
    let bits = base.superblock.block_bits;
    let bytes = |block: u64| -> Result<u64> {
        block.checked_mul(1 << bits).ok_or_else(|| {
            Error::malformed(FORMAT, "block", None, block.to_string(), "one whose place has 64 bits")
        })
    };
    match inode.layout {
        Layout::Flat(None) => Ok(vec![Piece { start: 0, form: Form::Hole }]),
        Layout::Flat(Some(first)) => Ok(vec![Piece { start: 0, form: Form::Plain(bytes(first)?) }]),
        Layout::Inline(first) => inline(base, inode, first.wrapping_shl(bits)),
        Layout::Chunks(format) => chunks(base, inode, format),
        Layout::CompressedFull | Layout::CompressedCompact => map::pieces(base, inode),
        Layout::None => Err(inode.unfit("one with content")),
    }
}

/// All but the last block is in a row; that is behind the inode, in the same block as its end.
fn inline(base: &Base, inode: &Inode, first: u64) -> Result<Vec<Piece>> {
    let block = base.superblock.block_bytes();
    let size_bytes = inode.meta.size_bytes;
    let last = size_bytes.saturating_sub(1).checked_div(block).unwrap_or(0).saturating_mul(block);
    let tail = size_bytes.saturating_sub(last);
    let room = block.saturating_sub(inode.end.checked_rem(block).unwrap_or(0));
    if tail > room {
        let allowed = format!("up to {room}, to the end of the block");
        return Err(Error::malformed(FORMAT, "inline", inode.end, format!("{tail} bytes"), allowed));
    }
    let tail = Piece { start: last, form: Form::Inline(inode.end) };
    Ok(match last {
        0 => vec![tail],
        _ => vec![Piece { start: 0, form: Form::Plain(first) }, tail],
    })
}

/// Chunks of one size: a block each in 32 bits, or in 64 with the device and the block's bits from 32 on before it.
fn chunks(base: &Base, inode: &Inode, format: u16) -> Result<Vec<Piece>> {
    if format & !(CHUNK_BITS | CHUNK_INDEXES | CHUNK_48_BIT) != 0 {
        return Err(Error::unsupported(format!("erofs chunks of format {format:#x}")));
    }
    let superblock = &base.superblock;
    let chunk_bits = superblock.block_bits.saturating_add(u32::from(format & CHUNK_BITS));
    let count =
        inode.meta.size_bytes.saturating_sub(1).checked_shr(chunk_bits).unwrap_or(0).saturating_add(1);
    base.limits.file_extents.check(count)?;
    let has_indexes = format & CHUNK_INDEXES != 0;
    let unit: usize = if has_indexes { 8 } else { 4 };
    let devices = u32::from(superblock.extra_devices).saturating_add(1).next_power_of_two();
    let mut at = aligned(inode.end, unit);
    let mut pieces: Vec<Piece> = Vec::new();
    let mut start: u64 = 0;
    for _ in 0..count {
        let (block, nowhere) = if has_indexes {
            let [high, device] = [0, 2].map(|skipped: u64| inode.array(at.saturating_add(skipped)));
            let low = u64::from(u32::from_le_bytes(inode.array(at.saturating_add(4))?));
            let (high, device) = (u64::from(u16::from_le_bytes(high?)), u16::from_le_bytes(device?));
            let is_long = format & CHUNK_48_BIT != 0;
            let nowhere = if is_long { (1 << 48) - 1 } else { u64::from(u32::MAX) };
            let block = if is_long { low | (high << 32) } else { low };
            if block != nowhere && u32::from(device) & devices.saturating_sub(1) != 0 {
                return Err(other_device());
            }
            (block, nowhere)
        } else {
            (u64::from(u32::from_le_bytes(inode.array(at)?)), u64::from(u32::MAX))
        };
        let form = if block == nowhere { Form::Hole } else { Form::Plain(block << superblock.block_bits) };
        if pieces.last().is_none_or(|last| !goes_on(*last, start, form)) {
            pieces.push(Piece { start, form });
        }
        at = at.saturating_add(size_of_len(unit));
        start = start.saturating_add(1_u64.checked_shl(chunk_bits).unwrap_or(u64::MAX));
    }
    Ok(pieces)
}

/// Whether what is at `start` is where the last piece goes on.
fn goes_on(last: Piece, start: u64, form: Form) -> bool {
    match (last.form, form) {
        (Form::Hole, Form::Hole) => true,
        (Form::Plain(before), Form::Plain(now)) => {
            before.checked_add(start.saturating_sub(last.start)) == Some(now)
        }
        _ => false,
    }
}
