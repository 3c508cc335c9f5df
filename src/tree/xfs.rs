//! XFS: the default file system of RHEL and its kin. Versions 4 and 5, read only, by inode.
//!
//! Specification: *XFS Algorithms & Data Structures*, 3rd edition (2024), and for features since then the
//! kernel's `fs/xfs/libxfs/xfs_format.h` of Linux 6.18.
//!
//! | structure | file |
//! | --- | --- |
//! | superblock, geometry, features | `xfs/superblock.rs` |
//! | blocks with checksum, address and owner | `xfs/metadata.rs` |
//! | inodes | `xfs/inode.rs` |
//! | extents in inodes and B-trees | `xfs/extents.rs` |
//! | directories in their forms | `xfs/directory.rs` |
//! | files and links | `xfs/content.rs` |
//! | the log: where it starts and ends, its records | `xfs/log.rs` |
//! | what a dirty log changes | `xfs/replay.rs` |
//!
//! A dirty log is replayed in memory, as mounting does it on disk. One that cannot be is a doubt of the whole
//! file system, because what is on disk may then be older than what was last written.
//!
//! Not read: extended attributes, quotas, the realtime device (a file on it is an error), version 1
//! directories, file systems older than version 4.

use std::ops::Range;
use std::sync::Arc;

use super::{CachedReader, DirEntry, FileTree, FsIdentity, FsKind, Need, NodeId, NodeMeta};
use crate::bytes::ReadAt;
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::tree::fields::{len, uuid};

mod content;
mod directory;
mod extents;
mod inode;
mod log;
mod metadata;
mod replay;
mod superblock;

use directory::Directory;
use inode::Inode;
use metadata::{Metadata, Overlay, lay_over};
use superblock::{SUPERBLOCK_BYTES, Superblock};

/// Names of directories up to so many bytes are fetched ahead; of larger ones only what a look-up needs is read.
const NAMES_AHEAD: u64 = 4 << 20;

/// An XFS file system on a volume.
pub struct Xfs {
    metadata: Metadata,
    limits: Arc<Limits>,
    identity: FsIdentity,
    doubts: Vec<Error>,
}

impl Xfs {
    /// Whether the first bytes of a volume are those of an XFS.
    #[must_use]
    pub fn is_one(head: &[u8]) -> bool {
        head.starts_with(&superblock::MAGIC.to_be_bytes())
    }

    /// Opens the file system of a volume: reads its superblock, the state of its log and, if that was not
    /// written back, the log; checks that there is a root directory.
    ///
    /// # Errors
    /// `Malformed` with the field; `Unsupported` for features that are not read and for a file system that is
    /// marked as damaged; `Io`.
    pub fn open(reader: CachedReader, limits: Arc<Limits>) -> Result<Self> {
        let (superblock, overlay, doubts) = open(&reader, &limits)?;
        let mut bytes = [0; 16];
        bytes.copy_from_slice(superblock.log_uuid.as_slice());
        let identity = FsIdentity {
            kind: FsKind::Xfs,
            uuid: uuid(&bytes),
            label: superblock.label.clone(),
            size_bytes: superblock.size_bytes(),
            block_bytes: superblock.block_bytes,
        };
        let metadata = Metadata { reader, superblock, overlay };
        Directory::read(&metadata, &limits, metadata.superblock.root)
            .map_err(|error| error.at("root directory"))?;
        Ok(Xfs { metadata, limits, identity, doubts })
    }

    fn directory(&self, node: NodeId) -> Result<Directory<'_>> {
        Directory::read(&self.metadata, &self.limits, node.number)
    }

    /// The parts of the volume that hold the first `most` bytes of a file.
    fn content_ranges(&self, node: NodeId, most: u64) -> Vec<Range<u64>> {
        let content = content::open(&self.metadata, &self.limits, node.number);
        content.map(|content| content.ranges(0..most)).unwrap_or_default()
    }
}

/// The superblock, after the log if that is dirty; what the log changes; and what is doubtful.
fn open(reader: &CachedReader, limits: &Limits) -> Result<(Superblock, Overlay, Vec<Error>)> {
    let mut head = vec![0; SUPERBLOCK_BYTES];
    reader.read_exact_at(0, &mut head)?;
    let (sector_bytes, has_crc) = superblock::sector_bytes(&head)?;
    if has_crc {
        let mut sector = vec![0; len(sector_bytes)];
        reader.read_exact_at(0, &mut sector)?;
        superblock::check_crc(&sector)?;
    }
    let before = Superblock::decode(&head)?;
    let (overlay, doubts) = match replay::replay(reader, &before, limits) {
        Ok(overlay) => (overlay, Vec::new()),
        Err(error) => (Overlay::new(), vec![error.at("log")]),
    };
    let after = match lay_over(&overlay, 0, &mut head) {
        true => Superblock::decode(&head)?,
        false => before,
    };
    if after.size_bytes() > reader.size_bytes() {
        return Err(Error::malformed(
            "XFS superblock",
            "dblocks",
            8,
            format!("{} bytes of file system", after.size_bytes()),
            format!("the volume's {}", reader.size_bytes()),
        )
        .hint("the disk image is cut off, or the volume has parts elsewhere"));
    }
    Ok((after, overlay, doubts))
}

impl FileTree for Xfs {
    fn identity(&self) -> &FsIdentity {
        &self.identity
    }

    fn doubts(&self) -> &[Error] {
        &self.doubts
    }

    fn root(&self) -> NodeId {
        NodeId::new(self.metadata.superblock.root)
    }

    fn meta(&self, node: NodeId) -> Result<NodeMeta> {
        Inode::read(&self.metadata, node.number).map(|inode| inode.meta)
    }

    fn read_dir(&self, directory: NodeId, each: &mut dyn FnMut(DirEntry<'_>) -> Result<()>) -> Result<()> {
        self.directory(directory)?
            .names(&mut |name| each(DirEntry { name: name.bytes, node: NodeId::new(name.inode) }))
    }

    fn lookup(&self, directory: NodeId, name: &[u8]) -> Result<Option<NodeId>> {
        Ok(self.directory(directory)?.lookup(name)?.map(NodeId::new))
    }

    fn read_link(&self, node: NodeId) -> Result<Box<[u8]>> {
        content::link(&self.metadata, &self.limits, node.number)
    }

    fn open(&self, node: NodeId) -> Result<Arc<dyn ReadAt>> {
        Ok(Arc::new(content::open(&self.metadata, &self.limits, node.number)?))
    }

    fn will_need(&self, nodes: &[NodeId], need: Need) {
        let reader = &self.metadata.reader;
        reader.prefetch(&inode::ranges(&self.metadata, nodes.iter().map(|node| node.number)));
        match need {
            Need::Meta => {}
            Need::Names => {
                let directories = nodes.iter().filter_map(|node| self.directory(*node).ok());
                let ranges: Vec<_> = directories.flat_map(|directory| directory.ranges()).collect();
                directory::prefetch(&self.metadata, &ranges, NAMES_AHEAD);
            }
            Need::Content(most) => {
                let ranges: Vec<_> = nodes.iter().flat_map(|node| self.content_ranges(*node, most)).collect();
                reader.content().prefetch(&ranges);
            }
        }
    }
}
