//! Inodes: 256 to 2,048 bytes each, a core and behind it the data fork and the attribute fork.
//!
//! Layout: *XFS Algorithms & Data Structures*, 3rd edition, chapter 17; fields as in `struct xfs_dinode`.
//!
//! | byte | field | | byte | field |
//! | --- | --- | --- | --- | --- |
//! | 0 | magic `IN` | | 76 | nextents (32 bits) |
//! | 2 | mode | | 82 | forkoff, in units of 8 bytes |
//! | 4 | version 1, 2 or 3 | | 90 | flags |
//! | 5 | format of the data fork | | 100 | forks in versions 1 and 2; crc in 3 |
//! | 24 | big_nextents (64 bits) | | 120 | flags2 |
//! | 56 | size | | 152 | ino, uuid; forks at 176 |
//!
//! Not read: times, owners, the attribute fork.

use super::metadata::Metadata;
use crate::error::{Error, Result};
use crate::tree::fields::{Fields, len};
use crate::tree::{NodeKind, NodeMeta};

pub(super) const MAGIC: u16 = u16::from_be_bytes(*b"IN");
const FORMAT: &str = "XFS inode";
const FLAG_REALTIME: u16 = 1;
const FLAG2_BIG_EXTENT_COUNTS: u64 = 1 << 4;

/// How the data fork holds the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fork {
    /// Device number; nothing to read.
    Device,
    /// The content itself.
    Local,
    /// Extent records, so many.
    Extents(u64),
    /// The root of a B-tree of extent records, so many.
    Btree(u64),
}

/// One inode in use.
pub(super) struct Inode {
    pub(super) number: u64,
    pub(super) meta: NodeMeta,
    pub(super) is_realtime: bool,
    pub(super) format: Fork,
    /// The data fork, whole.
    pub(super) fork: Vec<u8>,
    /// Where the data fork is on the volume, in bytes.
    pub(super) fork_offset: u64,
}

impl Inode {
    /// Reads the inode of this number.
    ///
    /// # Errors
    /// `Malformed` with the field; `NotFound` if it is free.
    pub(super) fn read(metadata: &Metadata, number: u64) -> Result<Self> {
        let place = || format!("inode {number}");
        Self::read_unplaced(metadata, number).map_err(|error| error.at(place()))
    }

    fn read_unplaced(metadata: &Metadata, number: u64) -> Result<Self> {
        let superblock = &metadata.superblock;
        let offset = superblock.inode_offset(number)?;
        let block = metadata.read(offset, superblock.inode_bytes.into())?;
        let fields = block.fields(FORMAT);
        fields.expect_magic(0, fields.be16(0)?.into(), MAGIC.into())?;
        let version = fields.u8(4)?;
        match (version, superblock.is_v5) {
            (3, true) => {
                if !block.is_replayed {
                    fields.check_crc(100)?;
                }
                let found = fields.be64(152)?;
                if found != number {
                    return Err(fields.wrong("ino", 152, found.to_string(), number.to_string()));
                }
                metadata.check_uuid(&fields, 160)?;
            }
            (1 | 2, false) => {}
            (_, is_v5) => {
                let allowed = if is_v5 { "3" } else { "1 or 2" };
                return Err(fields.wrong("version", 4, version.to_string(), allowed));
            }
        }
        let mode = fields.be16(2)?;
        if mode == 0 {
            return Err(Error::not_found("an inode in use: this one is free"));
        }
        let kind = NodeKind::of_mode(mode.into())
            .ok_or_else(|| fields.wrong("mode", 2, format!("{mode:#o}"), "a known file type"))?;
        let size_bytes = fields.be64(56)?;
        if i64::try_from(size_bytes).is_err() {
            return Err(fields.wrong("size", 56, size_bytes.to_string(), format!("up to {}", i64::MAX)));
        }
        let (fork_at, fork_len) = data_fork(&fields, version)?;
        Ok(Inode {
            number,
            meta: NodeMeta { kind, size_bytes, mode: u32::from(mode) & 0o7777 },
            is_realtime: fields.be16(90)? & FLAG_REALTIME != 0 && kind == NodeKind::File,
            format: format(&fields, version, kind)?,
            fork: fields.slice(fork_at, fork_len)?.to_vec(),
            fork_offset: offset.saturating_add(crate::bytes::size_of_len(fork_at)),
        })
    }

    /// The data fork.
    pub(super) fn fork(&self, format: &'static str) -> Fields<'_> {
        Fields::new(&self.fork, format, self.fork_offset)
    }

    /// The error for a fork whose format does not fit what the inode is.
    pub(super) fn unfit(&self) -> Error {
        Error::malformed(
            FORMAT,
            "format",
            None,
            format!("{:?} for a {:?}", self.format, self.meta.kind).to_lowercase(),
            "one that holds its content",
        )
    }
}

/// Where the data fork of an inode starts and how long it is, in bytes.
pub(super) fn data_fork(fields: &Fields<'_>, version: u8) -> Result<(usize, usize)> {
    let start: usize = if version == 3 { 176 } else { 100 };
    let room = fields.bytes.len().saturating_sub(start);
    let before_attributes = usize::from(fields.u8(82)?).saturating_mul(8);
    match before_attributes {
        0 => Ok((start, room)),
        inside if inside < room => Ok((start, inside)),
        other => Err(fields.wrong("forkoff", 82, format!("{other} bytes"), format!("less than {room}"))),
    }
}

fn format(fields: &Fields<'_>, version: u8, kind: NodeKind) -> Result<Fork> {
    let has_big_counts = version == 3 && fields.be64(120)? & FLAG2_BIG_EXTENT_COUNTS != 0;
    let count = if has_big_counts { fields.be64(24)? } else { fields.be32(76)?.into() };
    match (fields.u8(5)?, kind) {
        (0, NodeKind::Special) => Ok(Fork::Device),
        (1, NodeKind::Directory | NodeKind::Symlink) => Ok(Fork::Local),
        (2, NodeKind::Directory | NodeKind::Symlink | NodeKind::File) => Ok(Fork::Extents(count)),
        (3, NodeKind::Directory | NodeKind::Symlink | NodeKind::File) => Ok(Fork::Btree(count)),
        (other, _) => Err(fields.wrong(
            "format",
            5,
            other.to_string(),
            format!("one that a {kind:?} can have").to_lowercase(),
        )),
    }
}

/// The ranges of the volume that hold these inodes.
pub(super) fn ranges(metadata: &Metadata, numbers: impl Iterator<Item = u64>) -> Vec<std::ops::Range<u64>> {
    let bytes = u64::from(metadata.superblock.inode_bytes);
    let offsets = numbers.filter_map(|number| metadata.superblock.inode_offset(number).ok());
    offsets.map(|offset| offset..offset.saturating_add(bytes)).collect()
}

/// The local content of an inode.
///
/// # Errors
/// `Malformed` if its size passes the fork.
pub(super) fn local<'a>(inode: &'a Inode, format: &'static str) -> Result<Fields<'a>> {
    let whole = inode.fork(format);
    let bytes = whole.slice(0, len(inode.meta.size_bytes))?;
    Ok(Fields::new(bytes, format, inode.fork_offset))
}
