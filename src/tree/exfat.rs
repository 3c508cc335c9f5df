//! exFAT: large removable volumes and data partitions.
//!
//! Specification: *exFAT file system specification*, Microsoft (2019), revision 1.00.
//!
//! | structure | file |
//! | --- | --- |
//! | boot region, geometry | `exfat/boot.rs` |
//! | the table and its chains | `clusters.rs` |
//! | directories | `exfat/directory.rs` |
//! | up-case table | `exfat/upcase.rs` |
//!
//! Look-ups ignore case by the volume's own table; files have mode 0755, read-only ones 0555, as Linux has it.
//! A directory is known by its first cluster, a file by the place of its first entry.
//!
//! Not read: the allocation bitmap, the copy of the boot region, the marks of a volume that was not unmounted,
//! parameters of flash memory, access control of Windows CE.

use std::collections::BTreeSet;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use super::clusters::{Chain, Clusters, Length, Width};
use super::extents::{Extent, ExtentContent};
use super::fat::{serial, within};
use super::names::{from_utf16, without_last_dots};
use super::{CachedReader, DirEntry, FileTree, FsIdentity, FsKind, Need, NodeId, NodeKind, NodeMeta};
use crate::bytes::{ReadAt, size_of_len};
use crate::error::{Error, Result, quoted};
use crate::limits::Limits;
use crate::tree::fields::len;

mod boot;
mod directory;
mod upcase;

use boot::Boot;
use directory::{ENTRY_BYTES, File, Place, Record};
use upcase::Upcase;

const FORMAT: &str = "exFAT";
/// Names of directories up to so many bytes are fetched ahead.
const NAMES_AHEAD: u64 = 4 << 20;

/// The low bits of [`NodeId::space`]. A file has its number where its first entry is, a directory its first
/// cluster, and in the bits above how many clusters follow each other.
const IN_CHAIN: u64 = 0;
const IN_RUN: u64 = 1;
const DIRECTORY: u64 = 2;
const DIRECTORY_RUN: u64 = 3;

/// An exFAT file system on a volume.
pub struct Exfat {
    clusters: Clusters,
    upcase: Upcase,
    root: NodeId,
    limits: Arc<Limits>,
    identity: FsIdentity,
}

impl Exfat {
    /// Opens the file system of a volume: reads its boot region, and from the root directory its label and
    /// up-case table.
    ///
    /// # Errors
    /// `Malformed` with the field, also if the volume is shorter than the file system; `Unsupported` for a
    /// later revision; `Io`.
    pub fn open(reader: CachedReader, limits: Arc<Limits>) -> Result<Self> {
        let boot = Boot::read(&reader)?;
        if boot.size_bytes > reader.size_bytes() {
            let found = format!("{} bytes", boot.size_bytes);
            let allowed = format!("the volume's {}", reader.size_bytes());
            return Err(Error::malformed(FORMAT, "volume length", 72, found, allowed)
                .hint("the disk image is cut off, or the volume has parts elsewhere"));
        }
        let clusters = Clusters {
            reader,
            width: Width::Exfat,
            table: boot.table,
            heap: boot.heap,
            cluster_bytes: boot.cluster_bytes,
            count: boot.clusters,
        };
        clusters.offset(boot.root).map_err(|error| error.at("root directory"))?;
        let (mut label, mut table) = (Vec::new(), None);
        let chain = clusters.chain(boot.root, Length::ToItsEnd(limits.directory_bytes), &limits);
        // Damage shows when names are wanted.
        let read = directory::records(&clusters, chain, &mut |record| {
            match record {
                Record::Label(units) => label = from_utf16(units),
                Record::Upcase { checksum, place } => table = Some((checksum, place)),
                Record::File(_) => {}
            }
            Ok(ControlFlow::Continue(()))
        });
        let Some((checksum, place)) = table else {
            read.map_err(|error| error.at("root directory"))?;
            return Err(Error::malformed(FORMAT, "up-case table", None, "none", "one in the root directory"));
        };
        let identity = FsIdentity {
            kind: FsKind::Exfat,
            uuid: Some(boot.serial).filter(|number| *number != 0).map(serial),
            label,
            size_bytes: boot.size_bytes,
            block_bytes: boot.cluster_bytes,
        };
        let upcase = upcase(&clusters, checksum, place, &limits)?;
        let root = NodeId { space: DIRECTORY, number: boot.root.into() };
        Ok(Exfat { clusters, upcase, root, limits, identity })
    }

    /// Where a directory is.
    fn directory(&self, node: NodeId) -> Result<Chain> {
        let first = u32::try_from(node.number).unwrap_or(0);
        match node.space & DIRECTORY_RUN {
            DIRECTORY => {
                let length = Length::ToItsEnd(self.limits.directory_bytes);
                Ok(self.clusters.chain(first, length, &self.limits))
            }
            DIRECTORY_RUN => {
                let bytes = (node.space >> 2).saturating_mul(self.clusters.cluster_bytes.into());
                self.limits.directory_bytes.check(bytes)?;
                Ok(Chain { extents: self.clusters.run(first, bytes)?, damage: None })
            }
            _ => Err(Error::malformed(FORMAT, "entry", node.number, "a file", "a directory")),
        }
    }

    /// All files of a directory.
    fn files(&self, node: NodeId, each: &mut dyn FnMut(&File) -> Result<ControlFlow<()>>) -> Result<()> {
        directory::records(&self.clusters, self.directory(node)?, &mut |record| match record {
            Record::File(file) => each(&file),
            Record::Label(_) | Record::Upcase { .. } => Ok(ControlFlow::Continue(())),
        })
    }

    /// The node of something in a directory.
    fn node(&self, directory: NodeId, file: &File) -> Result<NodeId> {
        if !file.is_directory {
            let space = if directory.space & 1 == 1 { IN_RUN } else { IN_CHAIN };
            return Ok(NodeId { space, number: file.offset });
        }
        let Place { first, bytes, is_contiguous } = file.place;
        // An empty directory may have no clusters.
        if bytes == 0 && first == 0 {
            return Ok(NodeId { space: DIRECTORY_RUN, number: file.offset });
        }
        self.clusters.offset(first).map_err(|error| error.at(place(file.offset)))?;
        let clusters = self.clusters.clusters(bytes);
        let space = if is_contiguous { DIRECTORY_RUN | clusters.min(u64::MAX >> 2) << 2 } else { DIRECTORY };
        Ok(NodeId { space, number: first.into() })
    }

    /// What the entries of a file say.
    fn file(&self, node: NodeId) -> Result<File> {
        let wrong = || Error::malformed(FORMAT, "entry", node.number, "a directory", "a file");
        if node.space & DIRECTORY != 0 {
            return Err(wrong());
        }
        let file = directory::file_at(&self.clusters, node.number, node.space == IN_RUN)?;
        if file.is_directory { Err(wrong()) } else { Ok(file) }
    }

    fn content(&self, node: NodeId, most: u64) -> Result<ExtentContent> {
        let file = self.file(node)?;
        let valid = file.valid_bytes.min(most);
        let mut extents = extents(&self.clusters, Place { bytes: valid, ..file.place }, &self.limits)
            .map_err(|error| error.at(place(node.number)))?;
        if let Some(last) = extents.last_mut() {
            last.len = last.len.min(valid.saturating_sub(last.logical));
        }
        let volume = Arc::clone(self.clusters.reader.content());
        Ok(ExtentContent::new(volume, extents, file.place.bytes))
    }
}

fn place(offset: u64) -> String {
    format!("entry at byte {offset:#x}")
}

fn extents(clusters: &Clusters, place: Place, limits: &Limits) -> Result<Vec<Extent>> {
    match place {
        Place { bytes: 0, .. } => Ok(Vec::new()),
        Place { first, bytes, is_contiguous: true } => clusters.run(first, bytes),
        Place { first, bytes, .. } => clusters.chain(first, Length::Bytes(bytes), limits).whole(),
    }
}

fn upcase(clusters: &Clusters, checksum: u32, place: Place, limits: &Limits) -> Result<Upcase> {
    if place.bytes > upcase::MOST_BYTES {
        let allowed = format!("up to {}", upcase::MOST_BYTES);
        return Err(Error::malformed(
            FORMAT,
            "up-case table",
            None,
            format!("{} bytes", place.bytes),
            allowed,
        ));
    }
    let extents = extents(clusters, place, limits).map_err(|error| error.at("up-case table"))?;
    let mut bytes = vec![0; len(place.bytes)];
    let content = ExtentContent::new(Arc::new(clusters.reader.clone()), extents, place.bytes);
    content.read_exact_at(0, &mut bytes)?;
    Upcase::decode(&bytes, checksum)
}

/// A name without the dots at its end.
fn without_dots(name: &[u16]) -> &[u16] {
    let end = name.iter().rposition(|unit| *unit != u16::from(b'.'));
    name.get(..end.map_or(0, |last| last.saturating_add(1))).unwrap_or_default()
}

impl FileTree for Exfat {
    fn identity(&self) -> &FsIdentity {
        &self.identity
    }

    fn root(&self) -> NodeId {
        self.root
    }

    fn meta(&self, node: NodeId) -> Result<NodeMeta> {
        if node.space & DIRECTORY != 0 {
            return Ok(NodeMeta { kind: NodeKind::Directory, size_bytes: 0, mode: 0o755 });
        }
        let file = self.file(node)?;
        let mode = if file.is_read_only { 0o555 } else { 0o755 };
        Ok(NodeMeta { kind: NodeKind::File, size_bytes: file.place.bytes, mode })
    }

    fn read_dir(&self, directory: NodeId, each: &mut dyn FnMut(DirEntry<'_>) -> Result<()>) -> Result<()> {
        let mut damage = None;
        let mut seen = BTreeSet::new();
        self.files(directory, &mut |file| {
            let name = from_utf16(file.name.iter().copied());
            // A look-up comes to the other one.
            if !seen.insert(self.upcase.up(without_dots(&file.name).iter().copied())) {
                let found = format!("{} twice", quoted(&name));
                damage.get_or_insert(Error::malformed(FORMAT, "name", None, found, "once"));
            }
            match self.node(directory, file) {
                Ok(node) => each(DirEntry { name: &name, node })?,
                Err(error) => {
                    damage.get_or_insert(error);
                }
            }
            Ok(ControlFlow::Continue(()))
        })?;
        damage.map_or(Ok(()), Err)
    }

    fn lookup(&self, directory: NodeId, name: &[u8]) -> Result<Option<NodeId>> {
        let name = String::from_utf8_lossy(without_last_dots(name)).into_owned();
        let wanted = self.upcase.up(name.encode_utf16());
        let mut found = None;
        let read = self.files(directory, &mut |file| {
            let own = without_dots(&file.name);
            if own.len() != wanted.len() || self.upcase.up(own.iter().copied()) != wanted {
                return Ok(ControlFlow::Continue(()));
            }
            found = Some(self.node(directory, file));
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
        match need {
            Need::Meta => {
                let entry = |node: &NodeId| -> Range<u64> {
                    node.number..node.number.saturating_add(size_of_len(ENTRY_BYTES))
                };
                let files = nodes.iter().filter(|node| node.space & DIRECTORY == 0);
                reader.prefetch(&files.map(entry).collect::<Vec<_>>());
            }
            Need::Names => {
                let chains = nodes.iter().filter_map(|node| self.directory(*node).ok());
                let extents: Vec<Extent> = chains.flat_map(|chain| chain.extents).collect();
                reader.prefetch(&within(&extents, NAMES_AHEAD));
            }
            Need::Content(most) => {
                let files = nodes.iter().filter_map(|node| self.content(*node, most).ok());
                let ranges: Vec<_> = files.flat_map(|file| file.ranges(0..most)).collect();
                reader.content().prefetch(&ranges);
            }
        }
    }
}
