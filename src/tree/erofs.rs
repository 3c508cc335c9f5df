//! erofs: image-based systems, containers' layers, Android. Read only, by inode.
//!
//! Specification: the kernel's `Documentation/filesystems/erofs.rst` and `fs/erofs/erofs_fs.h` of Linux 6.18, and
//! *EROFS on-disk format* at <https://erofs.docs.kernel.org>.
//!
//! | structure | file |
//! | --- | --- |
//! | superblock, compressors | `erofs/superblock.rs` |
//! | metabox and packed inode | `erofs/volume.rs` |
//! | inodes | `erofs/inode.rs` |
//! | plain, inline and chunked content; what pieces hold | `erofs/content.rs` |
//! | the index of compressed content | `erofs/map.rs` |
//! | directories | `erofs/directory.rs` |
//!
//! All layouts and all compressors: LZ4, MicroLZMA, deflate, zstd; clusters of one block and of several, inline ends,
//! ends in the packed inode, interlaced clusters, clusters that several files share, extent lists, inodes in a metabox.
//!
//! Not read: extended attributes, owners, times, content on other devices (an error where a file is opened). There is
//! a checksum of the superblock only.

use std::ops::Range;
use std::sync::Arc;

use super::{CachedReader, DirEntry, FileTree, FsIdentity, FsKind, Need, NodeId, NodeKind, NodeMeta};
use crate::bytes::ReadAt;
use crate::error::{Error, Result, ResultExt};
use crate::limits::Limits;
use crate::tree::fields::len;

mod content;
mod directory;
mod inode;
mod map;
mod superblock;
mod volume;

use content::Content;
use directory::Directory;
use inode::Inode;
use superblock::{IN_METABOX, Superblock};
use volume::Volume;

/// Names of directories up to so many bytes are fetched ahead; of larger ones only what a look-up needs is read.
const NAMES_AHEAD: u64 = 4 << 20;
/// The longest target: what a path may have on Linux.
const LINK_BYTES: u64 = 4096;

/// An erofs on a volume.
pub struct Erofs {
    volume: Volume,
    identity: FsIdentity,
}

impl Erofs {
    /// Whether what starts at byte 1024 of a volume is the superblock of an erofs.
    #[must_use]
    pub fn is_one(superblock: &[u8]) -> bool {
        superblock.starts_with(&superblock::MAGIC.to_le_bytes())
    }

    /// Opens the file system of a volume: reads its superblock, checks its checksum if it has one, and that there is
    /// a root directory.
    ///
    /// # Errors
    /// `Malformed` with the field; `Unsupported` for features that are not known; `Io`.
    pub fn open(reader: CachedReader, limits: Arc<Limits>) -> Result<Self> {
        let superblock = Superblock::read(&reader)?;
        let identity = FsIdentity {
            kind: FsKind::Erofs,
            uuid: superblock.uuid.clone(),
            label: superblock.label.clone(),
            size_bytes: superblock.size_bytes,
            block_bytes: 1 << superblock.block_bits,
        };
        let volume = Volume::new(reader, superblock, limits);
        Directory::read(&volume, volume.base.superblock.root).at(|| "root directory".to_owned())?;
        Ok(Erofs { volume, identity })
    }

    fn content(&self, node: NodeId) -> Result<Content> {
        let inode = Inode::read(&self.volume, node.number)?;
        match inode.meta.kind {
            NodeKind::File => Content::map(&self.volume, &inode, false),
            _ => Err(inode.unfit("a file")),
        }
    }

    /// The part of the volume that holds an inode, with what is behind it.
    fn inode_range(&self, node: NodeId) -> Option<Range<u64>> {
        let offset = inode::offset(&self.volume, node.number);
        (node.number & IN_METABOX == 0).then(|| offset..offset.saturating_add(inode::BYTES))
    }
}

impl FileTree for Erofs {
    fn identity(&self) -> &FsIdentity {
        &self.identity
    }

    fn root(&self) -> NodeId {
        NodeId::new(self.volume.base.superblock.root)
    }

    fn meta(&self, node: NodeId) -> Result<NodeMeta> {
        Inode::read(&self.volume, node.number).map(|inode| inode.meta)
    }

    fn read_dir(&self, directory: NodeId, each: &mut dyn FnMut(DirEntry<'_>) -> Result<()>) -> Result<()> {
        Directory::read(&self.volume, directory.number)?
            .names(&mut |name, number| each(DirEntry { name, node: NodeId::new(number) }))
    }

    fn lookup(&self, directory: NodeId, name: &[u8]) -> Result<Option<NodeId>> {
        Ok(Directory::read(&self.volume, directory.number)?.lookup(name)?.map(NodeId::new))
    }

    fn read_link(&self, node: NodeId) -> Result<Box<[u8]>> {
        let inode = Inode::read(&self.volume, node.number)?;
        if inode.meta.kind != NodeKind::Symlink {
            return Err(inode.unfit("a symbolic link"));
        }
        let wrong = |field, found: String, allowed: String| {
            Error::malformed("erofs symbolic link", field, None, found, allowed).at(inode::place(node.number))
        };
        let size_bytes = inode.meta.size_bytes;
        if size_bytes == 0 || size_bytes > LINK_BYTES {
            return Err(wrong("size", size_bytes.to_string(), format!("1..={LINK_BYTES}")));
        }
        let mut target = vec![0; len(size_bytes)];
        Content::map(&self.volume, &inode, true)?.read_exact_at(0, &mut target)?;
        match target.contains(&0) {
            false => Ok(target.into()),
            true => Err(wrong("target", "a NUL in it".to_owned(), "none".to_owned())),
        }
    }

    fn open(&self, node: NodeId) -> Result<Arc<dyn ReadAt>> {
        Ok(Arc::new(self.content(node)?))
    }

    fn will_need(&self, nodes: &[NodeId], need: Need) {
        let reader = &self.volume.base.reader;
        let inodes: Vec<_> = nodes.iter().filter_map(|node| self.inode_range(*node)).collect();
        reader.prefetch(&inodes);
        match need {
            Need::Meta => {}
            Need::Names => {
                let directories =
                    nodes.iter().filter_map(|node| Directory::read(&self.volume, node.number).ok());
                let ranges: Vec<_> =
                    directories.flat_map(|directory| directory.ranges(NAMES_AHEAD)).collect();
                reader.prefetch(&ranges);
            }
            Need::Content(most) => {
                let contents = nodes.iter().filter_map(|node| self.content(*node).ok());
                let ranges: Vec<_> = contents.flat_map(|content| content.ranges(0..most)).collect();
                reader.content().prefetch(&ranges);
            }
        }
    }
}
