//! Inodes: 32 bytes (compact) or 64 (extended), each at a multiple of 32 bytes that is its number. Extended attributes
//! follow, then what the layout of the content needs.
//!
//! | compact | extended | field |
//! | --- | --- | --- |
//! | 0 | 0 | format: bit 0 extended, bits 1 to 3 layout, bit 4 see below |
//! | 2 | 2 | extended attributes: none, or 12 bytes and 4 for each above one |
//! | 4 | 4 | mode |
//! | 6 | 6 | links, or first block from bit 32 on where bit 4 is set or it is extended |
//! | 8 (32 bits) | 8 (64 bits) | size |
//! | 16 | 16 | first block, blocks, device, or format of chunks |
//!
//! Not read: times, owners, extended attributes.

use std::sync::Arc;

use super::superblock::IN_METABOX;
use super::volume::Volume;
use crate::bytes::{ReadAt, size_of_len};
use crate::error::{Error, Result, ResultExt};
use crate::tree::fields::Fields;
use crate::tree::{NodeKind, NodeMeta};

const FORMAT: &str = "erofs inode";
pub(super) const BYTES: u64 = 64;

/// How the content is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// Blocks in a row from this one on; `None` if all is a hole.
    Flat(Option<u64>),
    /// So, but the last block is behind the inode.
    Inline(u64),
    /// Compressed, with 8 bytes for each cluster or, in newer ones, an extent.
    CompressedFull,
    /// Compressed, with 2 or 4 bytes for each cluster.
    CompressedCompact,
    /// Chunks of one size, with this format.
    Chunks(u16),
    /// A device, pipe or socket.
    None,
}

/// One inode.
pub(super) struct Inode {
    pub(super) number: u64,
    pub(super) meta: NodeMeta,
    pub(super) layout: Layout,
    /// What it is in: the volume, or the metabox.
    pub(super) place: Arc<dyn ReadAt>,
    /// Where in that what follows its extended attributes starts.
    pub(super) end: u64,
}

/// Where an inode is, in bytes.
pub(super) fn offset(volume: &Volume, number: u64) -> u64 {
    let within = (number & !IN_METABOX).wrapping_mul(32);
    match number & IN_METABOX != 0 {
        true => within,
        // As the kernel has it, numbers may wrap: inodes can be before the block that they count from.
        false => volume.base.superblock.inodes.wrapping_add(within),
    }
}

impl Inode {
    /// Reads the inode of this number.
    ///
    /// # Errors
    /// `Malformed` with the field; `Unsupported` for layouts that are not known; `Io`.
    pub(super) fn read(volume: &Volume, number: u64) -> Result<Self> {
        Self::read_unplaced(volume, number).at(|| place(number))
    }

    fn read_unplaced(volume: &Volume, number: u64) -> Result<Self> {
        let place = volume.metadata(number)?;
        let offset = offset(volume, number);
        let mut bytes = [0; 64];
        let (compact, rest) = bytes.split_at_mut(32);
        place.read_exact_at(offset, compact)?;
        let is_extended = compact.first().is_some_and(|byte| byte & 1 != 0);
        if is_extended {
            place.read_exact_at(offset.saturating_add(32), rest)?;
        }
        let fields = Fields::new(&bytes, FORMAT, offset);
        let format = fields.le16(0)?;
        if format & !0x1f != 0 {
            return Err(Error::unsupported(format!("erofs inodes of format {format:#x}")));
        }
        let mode = fields.le16(4)?;
        let kind = NodeKind::of_mode(mode.into())
            .ok_or_else(|| fields.wrong("mode", 4, format!("{mode:#o}"), "a known file type"))?;
        let size_bytes = if is_extended { fields.le64(8)? } else { fields.le32(8)?.into() };
        if i64::try_from(size_bytes).is_err() {
            return Err(fields.wrong("size", 8, size_bytes.to_string(), format!("up to {}", i64::MAX)));
        }
        let attributes = match fields.le16(2)? {
            0 => 0,
            count => u64::from(count).saturating_sub(1).saturating_mul(4).saturating_add(12),
        };
        let own = if is_extended { BYTES } else { 32 };
        Ok(Inode {
            number,
            meta: NodeMeta { kind, size_bytes, mode: u32::from(mode) & 0o7777 },
            layout: layout(&fields, kind, format)?,
            place,
            end: offset.saturating_add(own).saturating_add(attributes),
        })
    }

    /// The error for an inode that is not what is asked of it.
    pub(super) fn unfit(&self, wanted: &str) -> Error {
        let found = format!("a {:?}", self.meta.kind).to_lowercase();
        Error::malformed(FORMAT, "mode", None, found, wanted).at(place(self.number))
    }

    /// `N` bytes from what it is in.
    pub(super) fn array<const N: usize>(&self, at: u64) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.place.read_exact_at(at, &mut bytes)?;
        Ok(bytes)
    }

    /// Whether it is in the metabox.
    pub(super) fn is_in_metabox(&self) -> bool {
        self.number & IN_METABOX != 0
    }
}

/// An inode's number as errors name it.
pub(super) fn place(number: u64) -> String {
    match number & IN_METABOX {
        0 => format!("inode {number}"),
        _ => format!("metabox inode {}", number & !IN_METABOX),
    }
}

fn layout(fields: &Fields<'_>, kind: NodeKind, format: u16) -> Result<Layout> {
    if kind == NodeKind::Special {
        return Ok(Layout::None);
    }
    let is_extended = format & 1 != 0;
    let low = u64::from(fields.le32(16)?);
    // Compact inodes of directories have another meaning for bit 4.
    let has_high = is_extended || (kind != NodeKind::Directory && format & 0x10 != 0);
    let (first, nowhere) = match has_high {
        true => (low | (u64::from(fields.le16(6)?) << 32), (1 << 48) - 1),
        false => (low, u64::from(u32::MAX)),
    };
    Ok(match (format >> 1) & 7 {
        0 => Layout::Flat((first != nowhere).then_some(first)),
        1 => Layout::CompressedFull,
        2 => Layout::Inline(first),
        3 => Layout::CompressedCompact,
        4 => Layout::Chunks(fields.le16(16)?),
        other => return Err(Error::unsupported(format!("erofs content of layout {other}"))),
    })
}

/// An offset that `unit` divides, at or after `at`.
pub(super) fn aligned(at: u64, unit: usize) -> u64 {
    at.checked_next_multiple_of(size_of_len(unit)).unwrap_or(u64::MAX)
}
