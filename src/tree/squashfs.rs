//! squashfs 4.0: live media, appliances, snaps. Read only, by inode.
//!
//! Specification: the kernel's `Documentation/filesystems/squashfs.rst` and `fs/squashfs/squashfs_fs.h` of Linux
//! 6.18, and *The Squashfs binary format* of squashfs-tools-ng.
//!
//! | structure | file |
//! | --- | --- |
//! | superblock, compressor options | `squashfs/superblock.rs` |
//! | metadata blocks | `squashfs/metadata.rs` |
//! | inodes | `squashfs/inode.rs` |
//! | directories and their indexes | `squashfs/directory.rs` |
//! | blocks and fragments of files | `squashfs/content.rs` |
//! | marks of overlayfs in extended attributes | `squashfs/xattr.rs` |
//!
//! All compressors: gzip, lzma, lzo, xz with its filters, lz4, zstd. It has no checksums of its own; zlib and xz
//! have theirs in each block.
//!
//! Not read: other extended attributes, owners, times, the export table; versions before 4.0 and their big-endian form.

use std::ops::Range;
use std::sync::Arc;

use super::{CachedReader, DirEntry, FileTree, FsIdentity, FsKind, LayerMark, Need, NodeId, NodeMeta};
use crate::bytes::ReadAt;
use crate::error::{Error, Result, ResultExt};
use crate::limits::Limits;
use crate::tree::fields::len;

mod content;
mod directory;
mod inode;
mod metadata;
mod superblock;
mod xattr;

use content::Content;
use directory::Directory;
use inode::{Body, Inode};
use metadata::Metadata;
use superblock::Superblock;

/// Names of directories up to so many bytes are fetched ahead; of larger ones only what a look-up needs is read.
const NAMES_AHEAD: u64 = 4 << 20;

/// A squashfs on a volume.
pub struct Squashfs {
    metadata: Arc<Metadata>,
    identity: FsIdentity,
}

impl Squashfs {
    /// Whether the first bytes of a volume are those of a squashfs 4 of little-endian order.
    #[must_use]
    pub fn is_one(head: &[u8]) -> bool {
        head.starts_with(&superblock::MAGIC.to_le_bytes())
    }

    /// Opens the file system of a volume: reads its superblock and checks that there is a root directory.
    ///
    /// # Errors
    /// `Malformed` with the field; `Unsupported` for other versions, byte orders and compressors; `Io`.
    pub fn open(reader: CachedReader, limits: Arc<Limits>) -> Result<Self> {
        let superblock = Superblock::read(&reader)?;
        let identity = FsIdentity {
            kind: FsKind::Squashfs,
            uuid: None,
            label: Vec::new(),
            size_bytes: superblock.bytes_used,
            block_bytes: superblock.block_bytes,
        };
        let metadata = Arc::new(Metadata::new(reader, superblock, limits));
        Directory::read(&metadata, metadata.superblock.root).at(|| "root directory".to_owned())?;
        Ok(Squashfs { metadata, identity })
    }

    /// The parts of the volume that hold the first `most` bytes of a file.
    fn content_ranges(&self, node: NodeId, most: u64) -> Vec<Range<u64>> {
        let content = Content::open(Arc::clone(&self.metadata), node.number);
        content.map(|content| content.ranges(0..most)).unwrap_or_default()
    }

    fn names_range(&self, node: NodeId) -> Option<Range<u64>> {
        let range = Directory::read(&self.metadata, node.number).ok()?.range()?;
        (range.end.saturating_sub(range.start) <= NAMES_AHEAD).then_some(range)
    }
}

impl FileTree for Squashfs {
    fn identity(&self) -> &FsIdentity {
        &self.identity
    }

    fn root(&self) -> NodeId {
        NodeId::new(self.metadata.superblock.root)
    }

    fn meta(&self, node: NodeId) -> Result<NodeMeta> {
        Inode::read(&self.metadata, node.number).map(|inode| inode.meta)
    }

    fn read_dir(&self, directory: NodeId, each: &mut dyn FnMut(DirEntry<'_>) -> Result<()>) -> Result<()> {
        Directory::read(&self.metadata, directory.number)?
            .names(&mut |name, reference| each(DirEntry { name, node: NodeId::new(reference) }))
    }

    fn lookup(&self, directory: NodeId, name: &[u8]) -> Result<Option<NodeId>> {
        Ok(Directory::read(&self.metadata, directory.number)?.lookup(name)?.map(NodeId::new))
    }

    fn read_link(&self, node: NodeId) -> Result<Box<[u8]>> {
        let inode = Inode::read(&self.metadata, node.number)?;
        let place = || format!("inode {:#x}", node.number);
        let Body::Link(mut at) = inode.body else {
            return Err(inode::unfit(inode.meta, "a symbolic link").at(place()));
        };
        let mut target = vec![0; len(inode.meta.size_bytes)];
        self.metadata.read(&mut at, &mut target).at(place)?;
        match target.contains(&0) {
            false => Ok(target.into()),
            true => {
                Err(Error::malformed("squashfs symbolic link", "target", None, "a NUL in it", "none")
                    .at(place()))
            }
        }
    }

    fn open(&self, node: NodeId) -> Result<Arc<dyn ReadAt>> {
        Ok(Arc::new(Content::open(Arc::clone(&self.metadata), node.number)?))
    }

    fn layer_mark(&self, node: NodeId) -> Result<LayerMark> {
        let inode = Inode::read(&self.metadata, node.number)?;
        match inode.body {
            Body::Special { is_null: true } => Ok(LayerMark::Whiteout),
            _ => xattr::mark(&self.metadata, inode.attributes).at(|| format!("inode {:#x}", node.number)),
        }
    }

    fn will_need(&self, nodes: &[NodeId], need: Need) {
        let reader = &self.metadata.reader;
        let inodes: Vec<_> = nodes.iter().map(|node| inode::range(&self.metadata, node.number)).collect();
        reader.prefetch(&inodes);
        match need {
            Need::Meta => {}
            Need::Names => {
                let ranges: Vec<_> = nodes.iter().filter_map(|node| self.names_range(*node)).collect();
                reader.prefetch(&ranges);
            }
            Need::Content(most) => {
                let ranges: Vec<_> = nodes.iter().flat_map(|node| self.content_ranges(*node, most)).collect();
                reader.content().prefetch(&ranges);
            }
        }
    }
}
