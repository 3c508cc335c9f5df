//! ext2, ext3 and ext4, by inode.
//!
//! | structure | where |
//! | --- | --- |
//! | superblock | byte 1024 |
//! | group descriptors | in the block after it; with meta_bg in the groups themselves |
//! | inodes | in a table of each group |
//! | extents or block numbers | in the inode, and in blocks below |
//! | names | records in the blocks of a directory; hashed ones have an index that looks empty |
//! | inline data | in the inode and its attribute `system.data` |
//! | journal | the blocks of an inode; what it holds is put over the volume in memory |
//!
//! Fields are named as in Linux' `Documentation/filesystems/ext4` (6.12). Not read: encrypted content,
//! e2compr, journals on other devices and fast commits, each of which is an error or a doubt. Checksums are
//! checked where the file system has them.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::extents::ExtentContent;
use super::{BlockCache, DirEntry, FileTree, FsIdentity, Need, NodeId, NodeKind, NodeMeta};
use crate::bytes::ReadAt;
use crate::error::{Error, Result, ResultExt as _, quoted};
use crate::limits::Limits;

mod directory;
mod inode;
mod journal;
mod mapping;
mod superblock;

use inode::Inode;
use superblock::{Superblock, incompat};

/// The root directory has always been the second inode.
const ROOT: u64 = 2;

/// A file system of the ext family.
pub struct Ext {
    core: Core,
    identity: FsIdentity,
    doubts: Vec<Error>,
}

/// What every part of the reader needs.
struct Core {
    superblock: Superblock,
    /// The volume through the cache.
    meta: Arc<dyn ReadAt>,
    /// The volume past the cache.
    data: Arc<dyn ReadAt>,
    limits: Arc<Limits>,
}

impl Ext {
    /// Opens the file system on a volume, with what its journal holds over it.
    ///
    /// # Errors
    /// `Malformed` if there is none or its superblock is damaged, `Unsupported` if it has an incompatible
    /// feature that is not read, and those of the volume.
    pub fn open(volume: Arc<dyn ReadAt>, cache: &Arc<BlockCache>, limits: &Arc<Limits>) -> Result<Self> {
        let mut doubts = Vec::new();
        let mut core = Core::open(volume, cache, limits, &mut doubts)?;
        if core.superblock.has(incompat::RECOVER) {
            match core.replay().at(|| "journal".to_owned()) {
                Ok(mut replay) => {
                    let told = std::mem::take(&mut replay.doubts);
                    let told: Vec<Error> = told.into_iter().map(|doubt| doubt.at("journal")).collect();
                    if !replay.is_empty() {
                        let overlay = replay.over(Arc::clone(&core.data), core.superblock.block_bytes);
                        doubts.clear();
                        core = Core::open(Arc::new(overlay), cache, limits, &mut doubts)?;
                    }
                    doubts.extend(told);
                }
                Err(error) => doubts.push(error),
            }
        }
        Ok(Ext { identity: core.superblock.identity(), core, doubts })
    }

    fn inode(&self, node: NodeId) -> Result<Inode> {
        self.core.inode(number_of(node)?)
    }

    fn directory(&self, node: NodeId) -> Result<Inode> {
        let inode = self.inode(node)?;
        if inode.kind != NodeKind::Directory {
            return Err(Error::config("no directory").at(format!("inode {}", inode.number)));
        }
        Ok(inode)
    }

    /// The ranges of the volume that hold the first bytes of nodes.
    fn ranges(&self, nodes: &[NodeId], most: u64) -> Vec<std::ops::Range<u64>> {
        let mut ranges = Vec::new();
        for inode in nodes.iter().filter_map(|node| self.inode(*node).ok()) {
            if !inode.is_inline()
                && let Ok(extents) = self.core.extents(&inode)
            {
                let content = ExtentContent::new(Arc::clone(&self.core.data), extents, inode.size_bytes);
                ranges.extend(content.ranges(0..inode.size_bytes.min(most)));
            }
        }
        ranges
    }
}

fn number_of(node: NodeId) -> Result<u32> {
    u32::try_from(node.number)
        .map_err(|_| Error::config(format!("inode {} of an ext file system", node.number)))
}

impl Core {
    fn open(
        volume: Arc<dyn ReadAt>,
        cache: &Arc<BlockCache>,
        limits: &Arc<Limits>,
        doubts: &mut Vec<Error>,
    ) -> Result<Self> {
        let meta = Arc::new(cache.reader(Arc::clone(&volume)));
        let (superblock, doubt) = Superblock::read(&*meta)?;
        doubts.extend(doubt);
        let size_bytes = superblock.identity().size_bytes;
        if size_bytes > volume.size_bytes() {
            let found = format!("{size_bytes} bytes");
            let allowed = format!("the volume's {}", volume.size_bytes());
            doubts.push(
                Error::malformed("ext superblock", "blocks_count", 0x404, found, allowed)
                    .hint("the volume is cut off; fetch the image again"),
            );
        }
        Ok(Core { superblock, meta, data: volume, limits: Arc::clone(limits) })
    }

    fn metadata(&self, offset: u64, len: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        self.meta.read_exact_at(offset, &mut bytes)?;
        Ok(bytes)
    }

    /// A block's offset on the volume.
    fn offset_of(
        &self,
        format: &'static str,
        field: &'static str,
        place: Option<u64>,
        block: u64,
    ) -> Result<u64> {
        self.superblock.offset_of(block).ok_or_else(|| {
            let most = self.superblock.blocks.saturating_sub(1);
            Error::malformed(format, field, place, block.to_string(), format!("1 to {most}"))
        })
    }
}

impl FileTree for Ext {
    fn identity(&self) -> &FsIdentity {
        &self.identity
    }

    fn doubts(&self) -> &[Error] {
        &self.doubts
    }

    fn root(&self) -> NodeId {
        NodeId::new(ROOT)
    }

    fn meta(&self, node: NodeId) -> Result<NodeMeta> {
        let inode = self.inode(node)?;
        Ok(NodeMeta { kind: inode.kind, size_bytes: inode.size_bytes, mode: inode.mode })
    }

    fn read_dir(&self, directory: NodeId, each: &mut dyn FnMut(DirEntry<'_>) -> Result<()>) -> Result<()> {
        let inode = self.directory(directory)?;
        self.core.names(&inode, &mut |entry| each(entry).map(ControlFlow::Continue))
    }

    fn lookup(&self, directory: NodeId, name: &[u8]) -> Result<Option<NodeId>> {
        let inode = self.directory(directory)?;
        let (mut found, mut is_twice) = (None, false);
        // To its end: of a name that is there twice it is not known which one a system opens.
        let read = self.core.names(&inode, &mut |entry| {
            if entry.name == name {
                is_twice |= found.replace(entry.node).is_some();
            }
            Ok(ControlFlow::Continue(()))
        });
        if is_twice {
            let told = format!("{} twice", quoted(name));
            return Err(Error::malformed("ext directory", "names", None, told, "each name once")
                .at(format!("inode {}", directory.number)));
        }
        match found {
            Some(_) => Ok(found),
            None => read.map(|()| None),
        }
    }

    fn read_link(&self, node: NodeId) -> Result<Box<[u8]>> {
        let inode = self.inode(node)?;
        inode.check_readable()?;
        let most = u64::from(self.identity.block_bytes);
        let len = usize::try_from(inode.size_bytes).unwrap_or(usize::MAX);
        if inode.size_bytes == 0 || inode.size_bytes > most {
            let found = inode.size_bytes.to_string();
            return Err(Error::malformed("ext symbolic link", "size", None, found, format!("1 to {most}"))
                .at(format!("inode {}", inode.number)));
        }
        if inode.is_inline() {
            return Ok(inode.inline_data()?.into());
        }
        if let Some(target) = inode.area.get(..len).filter(|target| target.len() < inode.area.len()) {
            return Ok(target.into());
        }
        let extents = self.core.extents(&inode)?;
        let mut target = vec![0; len];
        ExtentContent::new(Arc::clone(&self.core.meta), extents, inode.size_bytes)
            .read_exact_at(0, &mut target)?;
        Ok(target.into())
    }

    fn open(&self, node: NodeId) -> Result<Arc<dyn ReadAt>> {
        let inode = self.inode(node)?;
        inode.check_readable()?;
        let placed = || format!("inode {}", inode.number);
        if inode.is_inline() {
            return Ok(Arc::new(inode.inline_data().at(placed)?));
        }
        let extents = self.core.extents(&inode).at(placed)?;
        Ok(Arc::new(ExtentContent::new(Arc::clone(&self.core.data), extents, inode.size_bytes)))
    }

    fn will_need(&self, nodes: &[NodeId], need: Need) {
        match need {
            Need::Meta => {
                let len = u64::from(self.core.superblock.inode_bytes);
                let numbers = nodes.iter().filter_map(|node| number_of(*node).ok());
                let offsets = numbers.filter_map(|number| self.core.inode_offset(number).ok());
                let ranges: Vec<_> = offsets.map(|offset| offset..offset.saturating_add(len)).collect();
                self.core.meta.prefetch(&ranges);
            }
            Need::Names => self.core.meta.prefetch(&self.ranges(nodes, self.core.limits.directory_bytes.max)),
            Need::Content(most) => self.core.data.prefetch(&self.ranges(nodes, most)),
        }
    }
}
