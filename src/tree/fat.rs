//! FAT12, FAT16 and FAT32 with long names: EFI system partitions, floppy images, cloud-init seeds.
//!
//! Specification: *Microsoft Extensible Firmware Initiative FAT32 File System Specification*, version 1.03
//! (2000), which is also that of UEFI.
//!
//! | structure | file |
//! | --- | --- |
//! | boot sector, geometry | `fat/boot.rs` |
//! | the table and its chains | `clusters.rs` |
//! | directories, long names | `fat/directory.rs` |
//! | short names | `fat/names.rs` |
//!
//! What is shown is what Linux shows (vfat with its default options, UTF-8 names): look-ups ignore case and
//! find short names too; files have mode 0755, read-only ones 0555. A directory is known by its first cluster,
//! a file by the place of its entry.
//!
//! Not read: the second table (unless the volume says that only that one is kept), the marks of a volume that
//! was not unmounted, OS/2 extended attributes, volumes without a BIOS parameter block (DOS 1).

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::ops::Range;
use std::sync::Arc;

use super::clusters::{Chain, Clusters, Length, Width};
use super::extents::{Extent, ExtentContent};
use super::names::{folded, is_same, without_last_dots};
use super::{CachedReader, DirEntry, FileTree, FsIdentity, FsKind, Need, NodeId, NodeKind, NodeMeta};
use crate::bytes::{ReadAt, size_of_len};
use crate::error::{Error, Result, quoted};
use crate::limits::Limits;

mod boot;
mod directory;
mod names;

use boot::{BOOT_BYTES, Boot, Root};
use directory::{ENTRY_BYTES, Each, Record, ShortEntry};

const FORMAT: &str = "FAT";
/// The numbers of nodes: of files where their entry is, of directories their first cluster.
const FILES: u64 = 0;
const DIRECTORIES: u64 = 1;
/// Names of directories up to so many bytes are fetched ahead.
const NAMES_AHEAD: u64 = 4 << 20;

/// A FAT file system on a volume.
pub struct Fat {
    clusters: Clusters,
    root: Root,
    limits: Arc<Limits>,
    identity: FsIdentity,
}

impl Fat {
    /// Opens the file system of a volume: reads its boot sector and the label in its root directory.
    ///
    /// # Errors
    /// `Malformed` with the field, also if the volume is shorter than the file system; `Unsupported` for a
    /// later version of FAT32; `Io`.
    pub fn open(reader: CachedReader, limits: Arc<Limits>) -> Result<Self> {
        let mut sector = vec![0; BOOT_BYTES];
        reader.read_exact_at(0, &mut sector)?;
        let boot = Boot::decode(&sector)?;
        if boot.size_bytes > reader.size_bytes() {
            let found = format!("{} bytes", boot.size_bytes);
            let allowed = format!("the volume's {}", reader.size_bytes());
            return Err(Error::malformed(FORMAT, "sectors", 32, found, allowed)
                .hint("the disk image is cut off, or the volume has parts elsewhere"));
        }
        let identity = FsIdentity {
            kind: FsKind::Fat,
            uuid: boot.serial.map(serial),
            label: Vec::new(),
            size_bytes: boot.size_bytes,
            block_bytes: boot.cluster_bytes,
        };
        let clusters = Clusters {
            reader,
            width: boot.width,
            table: boot.table,
            heap: boot.heap,
            cluster_bytes: boot.cluster_bytes,
            count: boot.clusters,
        };
        let mut this = Fat { clusters, root: boot.root, limits, identity };
        if let Root::Chain(first) = this.root {
            this.clusters.offset(first).map_err(|error| error.at("root directory"))?;
        }
        this.identity.label = this.label(boot.label);
        Ok(this)
    }

    /// The label of the root directory, or that of the boot sector. Damage shows when names are wanted.
    fn label(&self, in_boot_sector: Option<[u8; 11]>) -> Vec<u8> {
        let mut found = None;
        let _ = self.records(self.root(), &mut |record| {
            if !record.entry.is_label() || record.entry.is_directory() {
                return Ok(ControlFlow::Continue(()));
            }
            found = Some(record.entry.name);
            Ok(ControlFlow::Break(()))
        });
        match found.or(in_boot_sector) {
            None => Vec::new(),
            Some(label) if &label == b"NO NAME    " => Vec::new(),
            Some(mut label) => {
                if label[0] == 0x05 {
                    label[0] = 0xe5;
                }
                names::label(label)
            }
        }
    }

    /// Where a directory is.
    fn directory(&self, node: NodeId) -> Result<Chain> {
        let first = match (self.root, node.space, node.number) {
            (Root::Fixed { offset, bytes }, DIRECTORIES, 0) => {
                let extents = vec![Extent { logical: 0, physical: offset, len: bytes }];
                return Ok(Chain { extents, damage: None });
            }
            (_, DIRECTORIES, first) => u32::try_from(first).unwrap_or(0),
            _ => return Err(Error::malformed(FORMAT, "entry", node.number, "a file", "a directory")),
        };
        Ok(self.clusters.chain(first, Length::ToItsEnd(self.limits.directory_bytes), &self.limits))
    }

    /// All records of a directory.
    fn records(&self, node: NodeId, each: &mut Each<'_>) -> Result<()> {
        directory::records(&self.clusters.reader, self.directory(node)?, each)
    }

    /// The node of a file or directory.
    fn node(&self, record: &Record) -> Result<NodeId> {
        if !record.entry.is_directory() {
            return Ok(NodeId { space: FILES, number: record.offset });
        }
        let first = self.first_cluster(&record.entry);
        self.clusters
            .offset(first)
            .map_err(|error| error.at(format!("entry at byte {:#x}", record.offset)))?;
        Ok(NodeId { space: DIRECTORIES, number: first.into() })
    }

    fn first_cluster(&self, entry: &ShortEntry) -> u32 {
        match self.clusters.width {
            Width::Fat32 => entry.first_cluster & 0x0fff_ffff,
            _ => entry.first_cluster & 0xffff,
        }
    }

    /// The entry of a file.
    fn entry(&self, node: NodeId) -> Result<ShortEntry> {
        let wrong = |found: &str| Error::malformed(FORMAT, "entry", node.number, found.to_owned(), "a file");
        if node.space != FILES {
            return Err(wrong("a directory"));
        }
        let mut bytes = [0; ENTRY_BYTES];
        self.clusters.reader.read_exact_at(node.number, &mut bytes)?;
        let entry = ShortEntry::decode(&bytes).ok_or_else(|| wrong("a free entry"))?;
        match entry.is_directory() || entry.is_label() {
            true => Err(wrong("a directory or label")),
            false => Ok(entry),
        }
    }

    fn extents(&self, entry: &ShortEntry, most: u64) -> Result<Vec<Extent>> {
        let bytes = u64::from(entry.size_bytes).min(most);
        if bytes == 0 {
            return Ok(Vec::new());
        }
        self.clusters.chain(self.first_cluster(entry), Length::Bytes(bytes), &self.limits).whole()
    }

    fn content(&self, node: NodeId, most: u64) -> Result<ExtentContent> {
        let entry = self.entry(node)?;
        let extents = self.extents(&entry, most).map_err(|error| error.at(place(node)))?;
        let volume = Arc::clone(self.clusters.reader.content());
        Ok(ExtentContent::new(volume, extents, entry.size_bytes.into()))
    }
}

/// A serial number as blkid writes it.
pub(super) fn serial(number: u32) -> String {
    format!("{:04X}-{:04X}", number >> 16, number & 0xffff)
}

fn place(node: NodeId) -> String {
    format!("entry at byte {:#x}", node.number)
}

impl FileTree for Fat {
    fn identity(&self) -> &FsIdentity {
        &self.identity
    }

    fn root(&self) -> NodeId {
        match self.root {
            Root::Fixed { .. } => NodeId { space: DIRECTORIES, number: 0 },
            Root::Chain(first) => NodeId { space: DIRECTORIES, number: first.into() },
        }
    }

    fn meta(&self, node: NodeId) -> Result<NodeMeta> {
        if node.space == DIRECTORIES {
            return Ok(NodeMeta { kind: NodeKind::Directory, size_bytes: 0, mode: 0o755 });
        }
        let entry = self.entry(node)?;
        let mode = if entry.is_read_only() { 0o555 } else { 0o755 };
        Ok(NodeMeta { kind: NodeKind::File, size_bytes: entry.size_bytes.into(), mode })
    }

    fn read_dir(&self, directory: NodeId, each: &mut dyn FnMut(DirEntry<'_>) -> Result<()>) -> Result<()> {
        let mut damage = None;
        let mut seen = BTreeSet::new();
        self.records(directory, &mut |record| {
            if record.entry.is_label() {
                return Ok(ControlFlow::Continue(()));
            }
            let key = folded(without_last_dots(&record.name));
            // A look-up comes to the other one.
            if seen.contains(&key) {
                let found = format!("{} twice", quoted(&record.name));
                damage.get_or_insert(Error::malformed(FORMAT, "name", record.offset, found, "once"));
            }
            seen.insert(key);
            seen.insert(folded(without_last_dots(&names::short(&record.entry))));
            match self.node(record) {
                Ok(node) => each(DirEntry { name: &record.name, node })?,
                Err(error) => {
                    damage.get_or_insert(error);
                }
            }
            Ok(ControlFlow::Continue(()))
        })?;
        damage.map_or(Ok(()), Err)
    }

    fn lookup(&self, directory: NodeId, name: &[u8]) -> Result<Option<NodeId>> {
        let name = without_last_dots(name);
        let mut found = None;
        let read = self.records(directory, &mut |record| {
            let is_it = !record.entry.is_label()
                && (is_same(without_last_dots(&record.name), name)
                    || is_same(without_last_dots(&names::short(&record.entry)), name));
            if !is_it {
                return Ok(ControlFlow::Continue(()));
            }
            found = Some(self.node(record));
            Ok(ControlFlow::Break(()))
        });
        match found {
            Some(node) => node.map(Some),
            None => read.map(|()| None),
        }
    }

    fn read_link(&self, node: NodeId) -> Result<Box<[u8]>> {
        Err(Error::malformed(FORMAT, "entry", node.number, "a file or directory", "a symbolic link"))
    }

    fn open(&self, node: NodeId) -> Result<Arc<dyn ReadAt>> {
        Ok(Arc::new(self.content(node, u64::MAX)?))
    }

    fn will_need(&self, nodes: &[NodeId], need: Need) {
        let reader = &self.clusters.reader;
        let entry = |node: &NodeId| -> Range<u64> {
            node.number..node.number.saturating_add(size_of_len(ENTRY_BYTES))
        };
        let entries: Vec<_> = nodes.iter().filter(|node| node.space == FILES).map(entry).collect();
        match need {
            Need::Meta => reader.prefetch(&entries),
            Need::Names => {
                let chains = nodes.iter().filter_map(|node| self.directory(*node).ok());
                let extents: Vec<Extent> = chains.flat_map(|chain| chain.extents).collect();
                let ranges = within(&extents, NAMES_AHEAD);
                reader.prefetch(&ranges);
            }
            Need::Content(most) => {
                let files = nodes.iter().filter_map(|node| self.content(*node, most).ok());
                let ranges: Vec<_> = files.flat_map(|file| file.ranges(0..most)).collect();
                reader.content().prefetch(&ranges);
            }
        }
    }
}

/// Where these extents lie, as far as they have together at most so many bytes.
pub(super) fn within(extents: &[Extent], most: u64) -> Vec<Range<u64>> {
    let mut left = most;
    let mut ranges = Vec::new();
    for extent in extents {
        let len = extent.len.min(left);
        left = left.saturating_sub(len);
        if len > 0 {
            ranges.push(extent.physical..extent.physical.saturating_add(len));
        }
    }
    ranges
}
