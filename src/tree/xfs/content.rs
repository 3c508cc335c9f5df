//! What files and symbolic links hold.
//!
//! A file's bytes are in its extents; what is between them, behind them, or in an unwritten extent is zeros. A
//! link's target is in its inode or, if it is too long, in blocks, which since version 5 have a header of 56
//! bytes (`XSLM`): one at the start of each extent, in a few blocks at most.

use std::sync::Arc;

use super::extents::Mapping;
use super::inode::{Fork, Inode, local};
use super::metadata::{LINK_SEAL, Metadata, on_realtime_device};
use crate::bytes::size_of_len;
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::tree::NodeKind;
use crate::tree::extents::{Extent, ExtentContent};
use crate::tree::fields::len;

const LINK: &str = "XFS symbolic link";
const LINK_MAGIC: u32 = u32::from_be_bytes(*b"XSLM");
const LINK_HEADER: u64 = 56;
/// The longest target (`XFS_SYMLINK_MAXLEN`).
const LINK_BYTES: u64 = 1024;

/// Maps a regular file.
///
/// # Errors
/// `Malformed` if it is no file or its extents are damaged, `Unsupported` if it is on the realtime device.
pub(super) fn open(metadata: &Metadata, limits: &Limits, number: u64) -> Result<ExtentContent> {
    let inode = Inode::read(metadata, number)?;
    let place = || format!("inode {number}");
    if inode.meta.kind != NodeKind::File {
        return Err(inode.unfit().at(place()));
    }
    if inode.is_realtime {
        return Err(on_realtime_device().at(place()));
    }
    let mapped = Mapping::read(metadata, &inode, limits).whole().map_err(|error| error.at(place()))?;
    let bytes = |blocks: u64| blocks.saturating_mul(metadata.superblock.block_bytes.into());
    let written = mapped.iter().filter(|extent| !extent.is_unwritten);
    let extents = written.map(|extent| Extent {
        logical: bytes(extent.first),
        physical: extent.offset,
        len: bytes(extent.count),
    });
    let volume = Arc::clone(metadata.reader.content());
    Ok(ExtentContent::new(volume, extents.collect(), inode.meta.size_bytes))
}

/// A symbolic link's target.
///
/// # Errors
/// `Malformed` if it is no link, or its target is damaged, empty, or longer than XFS allows.
pub(super) fn link(metadata: &Metadata, limits: &Limits, number: u64) -> Result<Box<[u8]>> {
    let inode = Inode::read(metadata, number)?;
    target(metadata, limits, &inode).map_err(|error| error.at(format!("inode {number}")))
}

fn target(metadata: &Metadata, limits: &Limits, inode: &Inode) -> Result<Box<[u8]>> {
    if inode.meta.kind != NodeKind::Symlink {
        return Err(inode.unfit());
    }
    let size_bytes = inode.meta.size_bytes;
    if size_bytes == 0 || size_bytes > LINK_BYTES {
        let allowed = format!("1..={LINK_BYTES}");
        return Err(Error::malformed("XFS inode", "size", None, size_bytes.to_string(), allowed));
    }
    let bytes = match inode.format {
        Fork::Local => local(inode, LINK)?.bytes.to_vec(),
        _ => remote_target(metadata, limits, inode)?,
    };
    match bytes.contains(&0) {
        true => Err(Error::malformed(LINK, "target", None, "a NUL in it", "none")),
        false => Ok(bytes.into()),
    }
}

fn remote_target(metadata: &Metadata, limits: &Limits, inode: &Inode) -> Result<Vec<u8>> {
    let block_bytes = u64::from(metadata.superblock.block_bytes);
    let wanted = inode.meta.size_bytes;
    let mut bytes = Vec::new();
    for extent in Mapping::read(metadata, inode, limits).whole()? {
        let so_far = size_of_len(bytes.len());
        // A target of 1,024 bytes and its headers never need more than this.
        let size_bytes = extent.count.saturating_mul(block_bytes).min(block_bytes.saturating_mul(4));
        let block = metadata.read(extent.offset, size_bytes)?;
        let fields = block.fields(LINK);
        let mut start = 0;
        if metadata.superblock.is_v5 {
            fields.expect_magic(0, fields.be32(0)?, LINK_MAGIC)?;
            metadata.check(&block, LINK, LINK_SEAL, inode.number)?;
            let offset = u64::from(fields.be32(4)?);
            if offset != so_far {
                return Err(fields.wrong("offset", 4, offset.to_string(), so_far.to_string()));
            }
            start = LINK_HEADER;
        }
        let taken = wanted.saturating_sub(so_far).min(size_bytes.saturating_sub(start));
        bytes.extend_from_slice(fields.slice(len(start), len(taken))?);
    }
    match size_of_len(bytes.len()) == wanted {
        true => Ok(bytes),
        false => Err(Error::malformed(LINK, "length", None, bytes.len().to_string(), wanted.to_string())),
    }
}
