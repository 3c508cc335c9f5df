//! btrfs: the default file system of SUSE and Fedora. Read only, by inode, from one device or several.
//!
//! Specification: the kernel's `include/uapi/linux/btrfs_tree.h` and `fs/btrfs/tree-checker.c` of Linux 6.18, and
//! *On-disk format* of the btrfs documentation 6.17.
//!
//! | structure | file |
//! | --- | --- |
//! | superblock and its copies, features | `btrfs/superblock.rs` |
//! | checksums | `btrfs/checksum.rs` |
//! | chunks: logical addresses on the devices | `btrfs/chunks.rs` |
//! | devices, one behind the other | `btrfs/devices.rs` |
//! | blocks of trees | `btrfs/node.rs`, `btrfs/metadata.rs` |
//! | finding items | `btrfs/search.rs` |
//! | root tree, subvolumes and their names | `btrfs/roots.rs`, `btrfs/subvolume.rs` |
//! | inodes | `btrfs/inode.rs` |
//! | directories | `btrfs/directory.rs` |
//! | files and links | `btrfs/content.rs` |
//! | compressed extents | `btrfs/compression.rs` |
//! | the log: what was synced since the last commit | `btrfs/log.rs` |
//!
//! A node's space is its subvolume. The root is that of the default subvolume; other subvolumes are found in
//! their directories, as mounting shows them. Every block and every sector of data is checked against its
//! checksum, and read from another copy on the device if it does not match. Offsets in messages are logical
//! addresses, as `btrfs inspect-internal` takes them, but in the superblock. A log is replayed in memory, as mounting
//! does it on disk; one that cannot be is a doubt of the whole file system.
//!
//! Not read: devices that are not there (what is on these only is an error), raid5 and raid6, zoned
//! devices, extent tree v2, RAID stripe tree, extended attributes, quotas.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use super::fields::uuid;
use super::{
    BlockCache, CachedReader, DirEntry, FileTree, FsIdentity, FsKind, Need, NodeId, NodeKind, NodeMeta,
    Subvolume as Chosen, SubvolumeInfo,
};
use crate::bytes::{ReadAt, size_of_len};
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::model::ImagePath;

mod checksum;
mod chunks;
mod compression;
mod content;
mod devices;
mod directory;
mod inode;
mod log;
mod metadata;
mod node;
mod roots;
mod search;
mod subvolume;
mod superblock;

pub use devices::BtrfsDevice;

use content::{Content, Data};
use devices::KnownDevices;
use inode::Inode;
use log::{Changes, Log};
use metadata::Metadata;
use node::{
    CHECKSUM_TREE, DIR_INDEX, DIR_ITEM, EXTENT_DATA, FIRST_FREE, INODE_ITEM, Key, ROOT_ITEM, TOP_TREE,
};
use roots::Roots;
use search::Tree;
use subvolume::Subvolume;
use superblock::Superblock;

/// Marks the space of directories that are empty because their subvolume is not there: in a snapshot, where
/// another subvolume was. The number is that of the other.
const LEFT_EMPTY: u64 = 1 << 63;

/// A btrfs on one device or several.
pub struct Btrfs {
    data: Arc<Data>,
    roots: Roots,
    /// What the log of each subvolume changes.
    changes: BTreeMap<u64, Changes>,
    default: u64,
    limits: Arc<Limits>,
    identity: FsIdentity,
    doubts: Vec<Error>,
    subvolumes: Mutex<HashMap<u64, Tree>>,
}

impl Btrfs {
    /// Whether the first bytes of a volume, at least 69,632 of them, are those of a btrfs.
    #[must_use]
    pub fn is_one(head: &[u8]) -> bool {
        head.get(64 << 10..).is_some_and(superblock::is_one)
    }

    /// Opens the file system of a device: reads its superblock and where its trees are; checks that there is
    /// the root directory of the default subvolume.
    ///
    /// # Errors
    /// `Malformed` with the field; `Unsupported` for features that are not read; `Io`.
    pub fn open(reader: CachedReader, limits: Arc<Limits>) -> Result<Self> {
        let (superblock, damage) = superblock::read(&reader)?;
        devices::check_size(&superblock, reader.size_bytes())?;
        let devices = devices::alone(&superblock, reader.size_bytes());
        Btrfs::on(reader, (superblock, damage), &devices, Vec::new(), limits)
    }

    /// Opens the file system of several devices, as many as there are of it; the order does not matter.
    ///
    /// # Errors
    /// Those of [`Btrfs::open`], and `Malformed` if the devices are of several file systems, or one is there twice.
    pub fn open_all(
        devices: &[Arc<dyn ReadAt>],
        cache: &Arc<BlockCache>,
        limits: Arc<Limits>,
    ) -> Result<Self> {
        let (joined, known, doubts) = devices::Joined::new(devices)?;
        let reader = cache.reader(Arc::new(joined));
        let read = superblock::read(&reader)?;
        Btrfs::on(reader, read, &known, doubts, limits)
    }

    fn on(
        reader: CachedReader,
        (superblock, damage): (Superblock, Option<Error>),
        devices: &KnownDevices,
        mut doubts: Vec<Error>,
        limits: Arc<Limits>,
    ) -> Result<Self> {
        doubts.extend(damage.into_iter().map(|error| error.at("first superblock")));
        if superblock.is_dump {
            doubts.push(Error::unsupported("a dump of a btrfs, made without the content of its files"));
        }
        let identity = FsIdentity {
            kind: FsKind::Btrfs,
            uuid: uuid(&superblock.fsid),
            label: superblock.label.clone(),
            size_bytes: superblock.device_bytes,
            block_bytes: superblock.sector_bytes,
        };
        let metadata = Arc::new(Metadata::open(reader, superblock, devices, &limits)?);
        let roots = Roots::new(&metadata);
        let checksums = roots.find(&metadata, CHECKSUM_TREE).map(|root| root.tree);
        let checksums = checksums.map_err(|error| error.at("checksum tree"));
        let default = roots.default(&metadata).map_err(|error| error.at("default subvolume"))?;
        let log = log::replay(&metadata, &roots, &limits).unwrap_or_else(|error| {
            doubts.push(log::doubt(error));
            Log::default()
        });
        let data = Arc::new(Data { metadata, checksums, logged: log.checksums });
        let subvolumes = Mutex::new(HashMap::new());
        let changes = log.subvolumes;
        let this = Btrfs { data, roots, changes, default, limits, identity, doubts, subvolumes };
        let root = this.inode(this.root()).and_then(|inode| inode.expect(NodeKind::Directory));
        root.map_err(|error| error.at("root directory"))?;
        Ok(this)
    }

    fn metadata(&self) -> &Metadata {
        &self.data.metadata
    }

    fn space(&self, id: u64) -> Result<Subvolume<'_>> {
        let mut known = self.subvolumes.lock().unwrap_or_else(PoisonError::into_inner);
        let tree = match known.get(&id) {
            Some(tree) => *tree,
            None => {
                let tree = self.roots.find(self.metadata(), id)?.tree;
                self.limits.btrfs_subvolumes.check(size_of_len(known.len()).saturating_add(1))?;
                known.insert(id, tree);
                tree
            }
        };
        Ok(Subvolume { metadata: self.metadata(), tree, changes: self.changes.get(&id) })
    }

    fn inode(&self, node: NodeId) -> Result<Inode> {
        Inode::read(&self.space(node.space)?, node.number)
    }

    fn directory(&self, node: NodeId) -> Result<(Subvolume<'_>, Inode)> {
        let space = self.space(node.space)?;
        Ok((space, Inode::read(&space, node.number)?.expect(NodeKind::Directory)?))
    }

    /// What a directory's entry leads to.
    fn named(&self, directory: NodeId, name: &[u8], key: Key) -> Result<NodeId> {
        if key.kind != ROOT_ITEM {
            return Ok(NodeId { space: directory.space, number: key.object });
        }
        let leads = self.roots.leads(self.metadata(), directory.space, directory.number, name, key.object)?;
        Ok(match leads {
            true => NodeId { space: key.object, number: FIRST_FREE },
            false => NodeId { space: directory.space | LEFT_EMPTY, number: key.object },
        })
    }

    fn content(&self, node: NodeId) -> Result<Content> {
        let space = self.space(node.space)?;
        let inode = Inode::read(&space, node.number)?.expect(NodeKind::File)?;
        Content::open(&space, Arc::clone(&self.data), &self.limits, &inode)
    }

    fn names(&self, node: NodeId, each: &mut dyn FnMut(DirEntry<'_>) -> Result<()>) -> Result<()> {
        let (space, _) = self.directory(node)?;
        directory::names(&space, node.number, &self.limits, &mut |entry| {
            each(DirEntry { name: entry.name, node: self.named(node, entry.name, entry.key)? })
        })
    }

    /// Says that the leaves with these items of nodes will be read.
    fn prefetch(&self, nodes: &[NodeId], keys: impl Fn(u64) -> Vec<Key>) {
        let mut spaces: Vec<u64> = nodes.iter().map(|node| node.space).collect();
        spaces.sort_unstable();
        spaces.dedup();
        for id in spaces {
            let Ok(space) = self.space(id) else { continue };
            let inside = nodes.iter().filter(|node| node.space == id);
            let mut wanted: Vec<Key> = inside.flat_map(|node| keys(node.number)).collect();
            wanted.sort_unstable();
            space.tree.prefetch(self.metadata(), &wanted);
        }
    }
}

fn is_left_empty(node: NodeId) -> bool {
    node.space & LEFT_EMPTY != 0
}

fn place(node: NodeId) -> String {
    match node.space {
        TOP_TREE => format!("inode {}", node.number),
        subvolume => format!("subvolume {subvolume}: inode {}", node.number),
    }
}

impl FileTree for Btrfs {
    fn identity(&self) -> &FsIdentity {
        &self.identity
    }

    fn doubts(&self) -> &[Error] {
        &self.doubts
    }

    fn root(&self) -> NodeId {
        NodeId { space: self.default, number: FIRST_FREE }
    }

    fn subvolume(&self, chosen: Chosen<'_>) -> Result<NodeId> {
        let id = match chosen {
            // As the kernel's `subvolid=0`.
            Chosen::Id(0) => TOP_TREE,
            Chosen::Id(id) if node::is_subvolume(id) => id,
            Chosen::Id(id) => return Err(Error::not_found(format!("btrfs subvolume {id}"))),
            Chosen::Path(path) => {
                let path = ImagePath::new(path);
                let mut node = NodeId { space: TOP_TREE, number: FIRST_FREE };
                for name in path.components() {
                    let below = self.lookup(node, name)?;
                    node = below.ok_or_else(|| Error::not_found(format!("btrfs subvolume `{path}`")))?;
                }
                if node.number != FIRST_FREE || is_left_empty(node) {
                    return Err(Error::not_found(format!("btrfs subvolume `{path}`: it is a directory")));
                }
                node.space
            }
        };
        self.space(id)?;
        Ok(NodeId { space: id, number: FIRST_FREE })
    }

    fn subvolumes(&self) -> Result<Vec<SubvolumeInfo>> {
        self.roots.subvolumes(self.metadata(), &self.limits)
    }

    fn meta(&self, node: NodeId) -> Result<NodeMeta> {
        if is_left_empty(node) {
            return Ok(NodeMeta { kind: NodeKind::Directory, size_bytes: 0, mode: 0o755 });
        }
        self.inode(node).map(|inode| inode.meta).map_err(|error| error.at(place(node)))
    }

    fn read_dir(&self, directory: NodeId, each: &mut dyn FnMut(DirEntry<'_>) -> Result<()>) -> Result<()> {
        if is_left_empty(directory) {
            return Ok(());
        }
        self.names(directory, each).map_err(|error| error.at(place(directory)))
    }

    fn lookup(&self, directory: NodeId, name: &[u8]) -> Result<Option<NodeId>> {
        if is_left_empty(directory) {
            return Ok(None);
        }
        let (space, _) = self.directory(directory).map_err(|error| error.at(place(directory)))?;
        match directory::lookup(&space, directory.number, name) {
            Ok(Some(key)) => self.named(directory, name, key).map(Some),
            Ok(None) => Ok(None),
            Err(error) => {
                let mut found = None;
                let _ = self.read_dir(directory, &mut |entry| {
                    if entry.name == name {
                        found.get_or_insert(entry.node);
                    }
                    Ok(())
                });
                found.map_or(Err(error.at(place(directory))), |node| Ok(Some(node)))
            }
        }
    }

    fn read_link(&self, node: NodeId) -> Result<Box<[u8]>> {
        let target = self.space(node.space).and_then(|space| {
            let inode = Inode::read(&space, node.number)?;
            content::link(&space, Arc::clone(&self.data), &self.limits, &inode)
        });
        target.map_err(|error| error.at(place(node)))
    }

    fn open(&self, node: NodeId) -> Result<Arc<dyn ReadAt>> {
        let content = self.content(node).map_err(|error| error.at(place(node)))?;
        Ok(Arc::new(content))
    }

    fn will_need(&self, nodes: &[NodeId], need: Need) {
        let nodes: Vec<NodeId> = nodes.iter().copied().filter(|node| !is_left_empty(*node)).collect();
        match need {
            Need::Meta => self.prefetch(&nodes, |number| vec![Key::new(number, INODE_ITEM, 0)]),
            // Of a large directory the first and last leaves; which of the others is asked for is not known.
            Need::Names => self.prefetch(&nodes, |number| {
                let ends = [DIR_ITEM, DIR_INDEX]
                    .into_iter()
                    .flat_map(|kind| [Key::new(number, kind, 0), Key::new(number, kind, u64::MAX)]);
                std::iter::once(Key::new(number, INODE_ITEM, 0)).chain(ends).collect()
            }),
            Need::Content(most) => {
                self.prefetch(&nodes, |number| {
                    vec![Key::new(number, INODE_ITEM, 0), Key::new(number, EXTENT_DATA, 0)]
                });
                let contents = nodes.iter().filter_map(|node| self.content(*node).ok());
                self.data.prefetch(contents.flat_map(|content| content.sectors(0..most)).collect());
            }
        }
    }
}
