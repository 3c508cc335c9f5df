//! Group descriptors, inodes, and data that is kept inside an inode.

use super::Core;
use super::superblock::{Checksums, incompat};
use crate::bytes::sum_holds;
use crate::error::{Error, Result, ResultExt as _};
use crate::tree::NodeKind;
use crate::tree::crc32c::crc32c;
use crate::tree::fields::Fields;

const ENCRYPTED: u32 = 0x800;
const COMPRESSED: u32 = 0x4;
const INDEXED: u32 = 0x1000;
const EXTENTS: u32 = 0x8_0000;
const INLINE_DATA: u32 = 0x1000_0000;

/// The bytes of an inode that every revision has.
const OLD_BYTES: usize = 128;
/// The fifteen block numbers, or what stands in their place.
const BLOCK_AREA: usize = 60;

/// An inode, as far as it is needed.
#[derive(Debug, Clone)]
pub(super) struct Inode {
    pub(super) number: u32,
    pub(super) kind: NodeKind,
    pub(super) mode: u32,
    pub(super) size_bytes: u64,
    flags: u32,
    /// Where extents, block numbers, a short link or the start of inline data are.
    pub(super) area: [u8; BLOCK_AREA],
    /// Where the area stands on the volume.
    pub(super) area_offset: u64,
    /// Where the checksums of what belongs to the inode start from.
    pub(super) seed: u32,
    /// The value of `system.data`, the rest of inline data.
    inline_rest: Result<Option<Vec<u8>>>,
}

impl Inode {
    pub(super) fn has_extents(&self) -> bool {
        self.flags & EXTENTS != 0
    }

    pub(super) fn is_indexed(&self) -> bool {
        self.flags & INDEXED != 0
    }

    pub(super) fn is_inline(&self) -> bool {
        self.flags & INLINE_DATA != 0
    }

    /// # Errors
    /// `Unsupported` if the content is stored in a way that cannot be read.
    pub(super) fn check_readable(&self) -> Result<()> {
        let what = match self.kind {
            NodeKind::Directory => "directory",
            NodeKind::Symlink => "symbolic link",
            _ => "file",
        };
        if self.flags & ENCRYPTED != 0 {
            return Err(Error::unsupported(format!("an encrypted {what}"))
                .hint("its key is not on the disk; read the image where it is unlocked"));
        }
        if self.flags & COMPRESSED != 0 {
            return Err(Error::unsupported(format!("a compressed {what} (e2compr)")));
        }
        Ok(())
    }

    /// The two parts of inline data: in the block area, and in the attribute.
    pub(super) fn inline_parts(&self) -> Result<(&[u8], &[u8])> {
        let rest = self.inline_rest.as_ref().map_err(Clone::clone)?;
        Ok((&self.area, rest.as_deref().unwrap_or_default()))
    }

    /// Inline data, whole.
    pub(super) fn inline_data(&self) -> Result<Vec<u8>> {
        let (head, rest) = self.inline_parts()?;
        let mut all = [head, rest].concat();
        let len = usize::try_from(self.size_bytes).unwrap_or(usize::MAX);
        if len > all.len() {
            return Err(Error::malformed(
                "ext inode",
                "inline data",
                self.area_offset,
                format!("{} bytes", all.len()),
                format!("the file's {} bytes", self.size_bytes),
            ));
        }
        all.truncate(len);
        Ok(all)
    }
}

impl Core {
    /// Where an inode stands on the volume.
    pub(super) fn inode_offset(&self, number: u32) -> Result<u64> {
        let outside = || {
            Error::malformed(
                "ext directory",
                "inode",
                None,
                number.to_string(),
                format!("1 to {}", self.superblock.inodes),
            )
        };
        if number == 0 || number > self.superblock.inodes {
            return Err(outside());
        }
        let index = number.checked_sub(1).ok_or_else(outside)?;
        let a_group = self.superblock.inodes_per_group;
        let (group, index) =
            index.checked_div(a_group).zip(index.checked_rem(a_group)).ok_or_else(outside)?;
        let table = self.inode_table(group).at(|| format!("group {group}"))?;
        let within = u64::from(index).saturating_mul(self.superblock.inode_bytes.into());
        Ok(table.saturating_add(within))
    }

    /// Where the inodes of a group start on the volume.
    fn inode_table(&self, group: u32) -> Result<u64> {
        let superblock = &self.superblock;
        let len = usize::from(superblock.descriptor_bytes);
        let a_block =
            superblock.block_bytes.checked_div(superblock.descriptor_bytes.into()).unwrap_or(1).max(1);
        let within = u64::from(group.checked_rem(a_block).unwrap_or(0))
            .saturating_mul(superblock.descriptor_bytes.into());
        let block = superblock.descriptor_block(group.into());
        let offset = self.offset_of("ext group descriptor", "block", None, block)?.saturating_add(within);
        let bytes = self.metadata(offset, len)?;
        let fields = Fields::new(&bytes, "ext group descriptor", offset);
        let found = fields.le16(0x1e)?;
        let wanted = match superblock.checksums() {
            Checksums::None => found,
            Checksums::Groups => {
                let sum = crc16(!0, &superblock.uuid);
                let sum = crc16(crc16(sum, &group.to_le_bytes()), fields.slice(0, 0x1e)?);
                crc16(sum, bytes.get(0x20..).unwrap_or_default())
            }
            Checksums::All => {
                let sum = crc32c(superblock.seed, &group.to_le_bytes());
                let sum = crc32c(crc32c(sum, fields.slice(0, 0x1e)?), &[0, 0]);
                low16(crc32c(sum, bytes.get(0x20..).unwrap_or_default()))
            }
        };
        if !sum_holds(found, wanted) {
            return Err(fields.wrong(
                "checksum",
                0x1e,
                format!("{found:#x}"),
                format!("the sum {wanted:#x}"),
            ));
        }
        let high = if len >= 64 { u64::from(fields.le32(0x28)?) } else { 0 };
        let table = u64::from(fields.le32(8)?) | (high << 32);
        self.offset_of("ext group descriptor", "inode_table", Some(fields.place(8)), table)
    }

    /// Reads an inode that is in use.
    pub(super) fn inode(&self, number: u32) -> Result<Inode> {
        self.inode_unplaced(number).at(|| format!("inode {number}"))
    }

    fn inode_unplaced(&self, number: u32) -> Result<Inode> {
        let offset = self.inode_offset(number)?;
        let len = usize::from(self.superblock.inode_bytes);
        let bytes = self.metadata(offset, len)?;
        let fields = Fields::new(&bytes, "ext inode", offset);
        let generation = fields.le32(0x64)?;
        let seed = crc32c(crc32c(self.superblock.seed, &number.to_le_bytes()), &generation.to_le_bytes());
        let extra = if len > OLD_BYTES { usize::from(fields.le16(0x80)?) } else { 0 };
        let attributes = OLD_BYTES.saturating_add(extra);
        if self.superblock.checksums() == Checksums::All {
            check_sum(fields, seed, extra)?;
        }
        if attributes > len || !extra.is_multiple_of(4) {
            let most = len.saturating_sub(OLD_BYTES);
            return Err(fields.wrong(
                "extra_isize",
                0x80,
                extra.to_string(),
                format!("a multiple of 4 to {most}"),
            ));
        }
        if fields.le16(0x1a)? == 0 {
            return Err(fields.wrong(
                "links_count",
                0x1a,
                "0",
                "1 or more for a file that a directory names",
            ));
        }
        let mode = u32::from(fields.le16(0)?);
        let kind = NodeKind::of_mode(mode)
            .ok_or_else(|| fields.wrong("mode", 0, format!("{mode:#o}"), "the type of a file"))?;
        let has_high = kind == NodeKind::File
            || (kind == NodeKind::Directory && self.superblock.has(incompat::LARGEDIR));
        let high = if has_high { u64::from(fields.le32(0x6c)?) } else { 0 };
        let size_bytes = u64::from(fields.le32(4)?) | (high << 32);
        if size_bytes >> 63 != 0 {
            return Err(fields.wrong("size", 4, size_bytes.to_string(), "less than 2^63"));
        }
        let flags = fields.le32(0x20)?;
        let inline_rest = if flags & INLINE_DATA != 0 { system_data(fields, attributes) } else { Ok(None) };
        Ok(Inode {
            number,
            kind,
            mode: mode & 0o7777,
            size_bytes,
            flags,
            area: fields.array(0x28)?,
            area_offset: fields.place(0x28),
            seed,
            inline_rest,
        })
    }
}

fn check_sum(fields: Fields<'_>, seed: u32, extra: usize) -> Result<()> {
    let mut plain = fields.bytes.to_vec();
    let mut found = u32::from(fields.le16(0x7c)?);
    plain.get_mut(0x7c..0x7e).unwrap_or_default().fill(0);
    let is_whole = extra >= 4 && fields.bytes.len() > OLD_BYTES;
    if is_whole {
        found |= u32::from(fields.le16(0x82)?) << 16;
        plain.get_mut(0x82..0x84).unwrap_or_default().fill(0);
    }
    let sum = crc32c(seed, &plain);
    let wanted = if is_whole { sum } else { sum & 0xffff };
    if sum_holds(found, wanted) {
        return Ok(());
    }
    Err(fields.wrong("checksum", 0x7c, format!("{found:#x}"), format!("the sum {wanted:#x}")))
}

/// The value of the attribute `system.data` in an inode.
fn system_data(fields: Fields<'_>, start: usize) -> Result<Option<Vec<u8>>> {
    const MAGIC: u32 = 0xea02_0000;
    const SYSTEM: u8 = 7;
    if start.saturating_add(4) > fields.bytes.len() || fields.le32(start)? != MAGIC {
        return Ok(None);
    }
    let first = start.saturating_add(4);
    let mut at = first;
    // Each entry has at least 16 bytes, so the inode's end ends this.
    while at.saturating_add(4) <= fields.bytes.len() && fields.le32(at)? != 0 {
        let name_len = usize::from(fields.u8(at)?);
        let name_at = at.saturating_add(16);
        let name = fields.slice(name_at, name_len)?;
        if fields.u8(at.saturating_add(1))? == SYSTEM && name == b"data" {
            let value = usize::from(fields.le16(at.saturating_add(2))?);
            let len = usize::try_from(fields.le32(at.saturating_add(8))?).unwrap_or(usize::MAX);
            if fields.le32(at.saturating_add(4))? != 0 {
                return Err(fields.wrong(
                    "attribute",
                    at,
                    "inline data in another inode",
                    "a value in this one",
                ));
            }
            return Ok(Some(fields.slice(first.saturating_add(value), len)?.to_vec()));
        }
        at = name_at.saturating_add(name_len.next_multiple_of(4));
    }
    Ok(None)
}

/// The lower half of a sum.
pub(super) fn low16(sum: u32) -> u16 {
    let [a, b, ..] = sum.to_le_bytes();
    u16::from_le_bytes([a, b])
}

/// CRC-16 as group descriptors have it: reflected 0x8005, continued from `crc`.
fn crc16(crc: u16, bytes: &[u8]) -> u16 {
    bytes.iter().fold(crc, |crc, byte| {
        (0..8)
            .fold(crc ^ u16::from(*byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xa001 } else { crc >> 1 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_of_crc16() {
        assert_eq!(crc16(0, b"123456789"), 0xbb3d);
    }
}
