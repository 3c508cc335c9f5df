//! A volume becomes files: readers of file systems, by inode, and a stratum over one or several of them.
//!
//! A [`FileTree`] knows nothing of paths: it names a file by its [`NodeId`], looks one name up in one
//! directory, and lists one directory. Whoever has several paths asks [`FileTree::lookup_many`], which goes
//! down level by level so that all reads of a level can be fetched together. [`TreeStratum`] puts trees over
//! their mount points and shows them as one stratum.
//!
//! Metadata is read through one [`BlockCache`] that all trees of a disk share. Content is not: a file's extents
//! are mapped when it is opened, and its bytes are read where they are wanted. Holes are zeros.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::indexing_slicing,
        clippy::unwrap_used
    )
)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::bytes::ReadAt;
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::model::ImagePath;

mod btrfs;
mod cache;
mod clusters;
mod crc32c;
mod erofs;
mod exfat;
mod ext;
mod extents;
mod fat;
mod fields;
mod inflated;
mod iso9660;
mod mounted;
mod names;
mod squashfs;
mod stacked;
mod xfs;

pub use btrfs::{Btrfs, BtrfsDevice};
pub use cache::{BlockCache, CachedReader};
pub use erofs::Erofs;
pub use exfat::Exfat;
pub use ext::Ext;
pub use fat::Fat;
pub use iso9660::Iso9660;
pub use mounted::{Mount, TreeStratum};
pub use squashfs::Squashfs;
pub use stacked::Stacked;
pub use xfs::Xfs;

pub use crate::volume::FsKind;

/// Opens the file system of this kind on a volume. Its metadata is read through `cache`.
///
/// # Errors
/// `Unsupported` for a kind that is not read, and those of its reader.
pub fn open(
    kind: FsKind,
    volume: Arc<dyn ReadAt>,
    cache: &Arc<BlockCache>,
    limits: &Arc<Limits>,
) -> Result<Arc<dyn FileTree>> {
    Ok(match kind {
        FsKind::Ext2 | FsKind::Ext3 | FsKind::Ext4 => Arc::new(Ext::open(volume, cache, limits)?),
        FsKind::Xfs => Arc::new(Xfs::open(cache.reader(volume), Arc::clone(limits))?),
        FsKind::Btrfs => Arc::new(Btrfs::open(cache.reader(volume), Arc::clone(limits))?),
        FsKind::Squashfs => Arc::new(Squashfs::open(cache.reader(volume), Arc::clone(limits))?),
        FsKind::Erofs => Arc::new(Erofs::open(cache.reader(volume), Arc::clone(limits))?),
        FsKind::Iso9660 => Arc::new(Iso9660::open(cache.reader(volume), Arc::clone(limits))?),
        FsKind::Fat => Arc::new(Fat::open(cache.reader(volume), Arc::clone(limits))?),
        FsKind::Exfat => Arc::new(Exfat::open(cache.reader(volume), Arc::clone(limits))?),
        other => return Err(Error::unsupported(format!("a file system of kind {other}"))),
    })
}

/// How a file system calls itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FsIdentity {
    /// What it is.
    pub kind: FsKind,
    /// Its UUID or serial number as blkid(8) writes it (`f0a1…-…`, lower case; FAT: `1A2B-3C4D`), if it has one.
    pub uuid: Option<String>,
    /// Its label, without padding; empty if it has none.
    pub label: Vec<u8>,
    /// How many bytes of its volume it takes.
    pub size_bytes: u64,
    /// The size of its blocks in bytes.
    pub block_bytes: u32,
}

/// What a tree names a file by; of use only to the tree that gave it. Two names of one file have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId {
    /// Which of the tree's inode tables, where it has several (btrfs: the subvolume); else 0.
    pub space: u64,
    /// The inode's number, or where it stands.
    pub number: u64,
}

impl NodeId {
    /// A node of the only inode table.
    #[must_use]
    pub fn new(number: u64) -> Self {
        NodeId { space: 0, number }
    }
}

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NodeKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A device, socket or pipe.
    Special,
}

impl NodeKind {
    /// What the type bits of a Unix mode say; `None` if they say nothing known.
    #[must_use]
    pub fn of_mode(mode: u32) -> Option<Self> {
        match mode & 0o170_000 {
            0o100_000 => Some(NodeKind::File),
            0o040_000 => Some(NodeKind::Directory),
            0o120_000 => Some(NodeKind::Symlink),
            0o010_000 | 0o020_000 | 0o060_000 | 0o140_000 => Some(NodeKind::Special),
            _ => None,
        }
    }
}

/// What is known of a node without reading its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeMeta {
    /// What it is.
    pub kind: NodeKind,
    /// Size in bytes of a file or of a link's target; of no meaning for others.
    pub size_bytes: u64,
    /// Unix permission bits with set-id and sticky bits, without the type bits.
    pub mode: u32,
}

/// One name in a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DirEntry<'a> {
    /// The name's bytes; never `.` or `..`.
    pub name: &'a [u8],
    /// What it names.
    pub node: NodeId,
}

/// How a subvolume is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subvolume<'a> {
    /// By its path from the top of the file system, with or without leading slash.
    Path(&'a [u8]),
    /// By its id.
    Id(u64),
}

/// A subvolume of a file system that has several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubvolumeInfo {
    /// Its id, which is also the [`NodeId::space`] of its nodes.
    pub id: u64,
    /// Where it is, from the top of the file system.
    pub path: ImagePath,
    /// It was made as a copy of another one. The default subvolume may be one too.
    pub is_snapshot: bool,
    /// Nothing in it can be changed.
    pub is_read_only: bool,
}

/// What overlayfs is told by a node of one of its layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerMark {
    /// Nothing.
    None,
    /// There is nothing of this name in the layers below.
    Whiteout,
    /// The directories of this name in the layers below are not part of this one.
    Opaque,
}

/// What of nodes will be needed next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// What [`FileTree::meta`] reads.
    Meta,
    /// What [`FileTree::read_dir`] or [`FileTree::lookup`] reads of directories.
    Names,
    /// The content of files, of each at most so many bytes from its start.
    Content(u64),
}

/// A node on the way to a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// The node.
    pub node: NodeId,
    /// What it is.
    pub meta: NodeMeta,
}

/// How far a path led.
#[derive(Debug)]
pub struct Reached {
    /// The nodes of its components, outermost first and without the root, as far as there are any. A component
    /// that is no directory is the last.
    pub steps: Vec<Step>,
    /// Why it went no further, if something could not be read. `None` with fewer steps than components: there
    /// is nothing of this name.
    pub failed: Option<Error>,
}

/// A file system on a volume, by inode. Any thread may ask at any time.
pub trait FileTree: Send + Sync {
    /// How it calls itself.
    fn identity(&self) -> &FsIdentity;

    /// What could not be read or believed of the file system as a whole, although files can be (a log that was
    /// not replayed). Each is a gap of every system that has it mounted.
    fn doubts(&self) -> &[Error] {
        &[]
    }

    /// The root directory.
    fn root(&self) -> NodeId;

    /// The root of a subvolume, for file systems that have them (btrfs).
    ///
    /// # Errors
    /// `NotFound` if there is none of this name, `Unsupported` if the file system has no subvolumes.
    fn subvolume(&self, _chosen: Subvolume<'_>) -> Result<NodeId> {
        Err(Error::unsupported(format!("subvolumes of {}", self.identity().kind)))
    }

    /// All subvolumes, the top of the file system among them, by id; none for file systems that have none.
    ///
    /// # Errors
    /// If the list, or where one of them is, cannot be read.
    fn subvolumes(&self) -> Result<Vec<SubvolumeInfo>> {
        Ok(Vec::new())
    }

    /// What a node is.
    ///
    /// # Errors
    /// If its inode cannot be read, is free, or is of no known kind.
    fn meta(&self, node: NodeId) -> Result<NodeMeta>;

    /// Shows every name of a directory but `.` and `..`, in any order. Damage to a part of it does not keep the
    /// other parts from being shown.
    ///
    /// # Errors
    /// The first damage, after all that can be read was shown, or at once the error of `each`.
    fn read_dir(&self, directory: NodeId, each: &mut dyn FnMut(DirEntry<'_>) -> Result<()>) -> Result<()>;

    /// The node of this name in a directory; `None` if there is none.
    ///
    /// # Errors
    /// Those of [`FileTree::read_dir`], unless the name was found in spite of them.
    fn lookup(&self, directory: NodeId, name: &[u8]) -> Result<Option<NodeId>> {
        let mut found = None;
        let read = self.read_dir(directory, &mut |entry| {
            if entry.name == name {
                found.get_or_insert(entry.node);
            }
            Ok(())
        });
        match (found, read) {
            (Some(node), _) => Ok(Some(node)),
            (None, Ok(())) => Ok(None),
            (None, Err(error)) => Err(error),
        }
    }

    /// A symbolic link's target as stored.
    ///
    /// # Errors
    /// If it cannot be read or is longer than the file system allows.
    fn read_link(&self, node: NodeId) -> Result<Box<[u8]>>;

    /// A regular file's content. Its extents are mapped now or when they are read, its bytes when they are read;
    /// holes and extents that were never written are zeros.
    ///
    /// # Errors
    /// If its inode or mapping cannot be read, or it is stored in a way that is not read (encrypted).
    fn open(&self, node: NodeId) -> Result<Arc<dyn ReadAt>>;

    /// How a node is marked as part of a layer of overlayfs.
    ///
    /// # Errors
    /// `Unsupported` for a file system of which that is not read, and for a node that shows what is elsewhere.
    fn layer_mark(&self, _node: NodeId) -> Result<LayerMark> {
        Err(Error::unsupported(format!("{} as a layer of overlayfs", self.identity().kind)))
    }

    /// A hint that these nodes are asked for next, so that what is far away can be fetched in one go.
    fn will_need(&self, _nodes: &[NodeId], _need: Need) {}

    /// How far each of these paths leads from a directory, usually the root; links are not followed. Level by level: of all paths
    /// together first the directories of a level, then the inodes that they name.
    fn lookup_many(&self, from: NodeId, paths: &[ImagePath]) -> Vec<Reached> {
        LevelByLevel { start: from, paths, known: BTreeMap::new() }.run(self)
    }
}

/// What is known of the prefixes of the paths that are looked up.
struct LevelByLevel<'a> {
    start: NodeId,
    paths: &'a [ImagePath],
    known: BTreeMap<ImagePath, Result<Option<Step>>>,
}

impl LevelByLevel<'_> {
    fn run<T: FileTree + ?Sized>(mut self, tree: &T) -> Vec<Reached> {
        let deepest = self.paths.iter().map(|path| path.components().count()).max().unwrap_or(0);
        // The directories of this level, and which names are wanted of each.
        let mut level: BTreeMap<ImagePath, (NodeId, BTreeSet<&[u8]>)> = BTreeMap::new();
        for depth in 0..deepest {
            level.clear();
            for path in self.paths {
                let mut names = path.components();
                let above: Vec<&[u8]> = names.by_ref().take(depth).collect();
                let Some(name) = names.next() else { continue };
                let above = ImagePath::new(above.join(&b'/'));
                let directory = match self.known.get(&above) {
                    None if depth == 0 => self.start,
                    Some(Ok(Some(step))) if step.meta.kind == NodeKind::Directory => step.node,
                    _ => continue,
                };
                level.entry(above).or_insert((directory, BTreeSet::new())).1.insert(name);
            }
            if level.is_empty() {
                break;
            }
            self.descend(tree, &level);
        }
        self.paths.iter().map(|path| self.reached(path)).collect()
    }

    fn descend<T: FileTree + ?Sized>(
        &mut self,
        tree: &T,
        level: &BTreeMap<ImagePath, (NodeId, BTreeSet<&[u8]>)>,
    ) {
        let directories: Vec<NodeId> = level.values().map(|(node, _)| *node).collect();
        tree.will_need(&directories, Need::Names);
        let mut found = Vec::new();
        for (above, (directory, names)) in level {
            for name in names {
                found.push((above.join(name), tree.lookup(*directory, name)));
            }
        }
        let nodes: Vec<NodeId> = found.iter().filter_map(|(_, node)| *node.as_ref().ok()?).collect();
        tree.will_need(&nodes, Need::Meta);
        for (path, node) in found {
            let step = match node {
                Ok(Some(node)) => tree.meta(node).map(|meta| Some(Step { node, meta })),
                Ok(None) => Ok(None),
                Err(error) => Err(error),
            };
            self.known.insert(path, step);
        }
    }

    fn reached(&self, path: &ImagePath) -> Reached {
        let mut steps = Vec::new();
        let mut at = ImagePath::root();
        for name in path.components() {
            at = at.join(name);
            match self.known.get(&at) {
                Some(Ok(Some(step))) => steps.push(*step),
                Some(Err(error)) => return Reached { steps, failed: Some(error.clone()) },
                Some(Ok(None)) | None => break,
            }
        }
        Reached { steps, failed: None }
    }
}
