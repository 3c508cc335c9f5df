//! What files and symbolic links hold.
//!
//! A file's bytes are in its extents; what is between them, behind them, or in an unwritten extent is zeros. A
//! link's target is in its inode or, if it is too long, in blocks, which since version 5 have a header of 56
//! bytes (`XSLM`): one at the start of each extent, in a few blocks at most.

use std::ops::Range;
use std::sync::Arc;

use super::extents::{Extent, Mapping, find};
use super::inode::{Fork, Inode, local};
use super::metadata::{LINK_SEAL, Metadata, on_realtime_device};
use crate::bytes::{ReadAt, passes_end, size_of_len};
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::tree::NodeKind;
use crate::tree::fields::len;

const LINK: &str = "XFS symbolic link";
const LINK_MAGIC: u32 = u32::from_be_bytes(*b"XSLM");
const LINK_HEADER: u64 = 56;
/// The longest target (`XFS_SYMLINK_MAXLEN`).
const LINK_BYTES: u64 = 1024;

/// A regular file.
pub(super) struct Content {
    volume: Arc<dyn ReadAt>,
    extents: Vec<Extent>,
    size_bytes: u64,
    block_bytes: u64,
}

impl Content {
    /// Maps a file.
    ///
    /// # Errors
    /// `Malformed` if it is no file or its extents are damaged, `Unsupported` if it is on the realtime device.
    pub(super) fn open(metadata: &Metadata, limits: &Limits, number: u64) -> Result<Self> {
        let inode = Inode::read(metadata, number)?;
        let place = || format!("inode {number}");
        if inode.meta.kind != NodeKind::File {
            return Err(inode.unfit().at(place()));
        }
        if inode.is_realtime {
            return Err(on_realtime_device().at(place()));
        }
        let extents = Mapping::read(metadata, &inode, limits).whole().map_err(|error| error.at(place()))?;
        Ok(Content {
            volume: Arc::clone(metadata.reader.content()),
            extents,
            size_bytes: inode.meta.size_bytes,
            block_bytes: metadata.superblock.block_bytes.into(),
        })
    }

    /// Where bytes from `at` on are on the volume, and how many there are in one piece; `None` for zeros.
    fn piece(&self, at: u64) -> (Option<u64>, u64) {
        let block = at.checked_div(self.block_bytes).unwrap_or(0);
        let inside = at.checked_rem(self.block_bytes).unwrap_or(0);
        match find(&self.extents, block) {
            Ok(extent) => {
                let skipped = block.saturating_sub(extent.first);
                let bytes = |blocks: u64| blocks.saturating_mul(self.block_bytes);
                let left = bytes(extent.count.saturating_sub(skipped)).saturating_sub(inside);
                let offset = extent.offset.saturating_add(bytes(skipped)).saturating_add(inside);
                ((!extent.is_unwritten).then_some(offset), left)
            }
            Err(blocks) => (None, blocks.saturating_mul(self.block_bytes).saturating_sub(inside)),
        }
    }

    /// The parts of the volume that hold `wanted`.
    pub(super) fn ranges(&self, wanted: Range<u64>) -> Vec<Range<u64>> {
        let end = wanted.end.min(self.size_bytes);
        let mut ranges = Vec::new();
        let mut at = wanted.start;
        while at < end {
            let (offset, left) = self.piece(at);
            let taken = left.min(end.saturating_sub(at)).max(1);
            ranges.extend(offset.map(|offset| offset..offset.saturating_add(taken)));
            at = at.saturating_add(taken);
        }
        ranges
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
        let (mut at, mut rest) = (offset, dst);
        while !rest.is_empty() {
            let (place, left) = self.piece(at);
            let taken = len(left.max(1)).min(rest.len());
            let (now, later) = rest.split_at_mut(taken);
            match place {
                Some(place) => self.volume.read_exact_at(place, now)?,
                None => now.fill(0),
            }
            at = at.saturating_add(size_of_len(taken));
            rest = later;
        }
        Ok(())
    }

    fn prefetch(&self, ranges: &[Range<u64>]) {
        let parts: Vec<_> = ranges.iter().flat_map(|range| self.ranges(range.clone())).collect();
        self.volume.prefetch(&parts);
    }
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
