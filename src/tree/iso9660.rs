//! ISO 9660 with Rock Ridge and Joliet: installation media, live systems, cloud-init seeds.
//!
//! Specification: ECMA-119, 4th edition (2019).
//!
//! | structure | file |
//! | --- | --- |
//! | volume descriptors | `iso9660/descriptors.rs` |
//! | directory records | `iso9660/record.rs` |
//! | Rock Ridge | `iso9660/rock_ridge.rs` |
//! | other names | `iso9660/names.rs` |
//!
//! What is shown is what Linux shows: the names and modes of Rock Ridge if there is any, else the names of
//! Joliet, else those of the primary descriptor in lower case; modes are then 0555. Directories that Rock Ridge
//! moved because they were too deep are where they were. A directory is known by where it starts, a file by
//! the place of its first record.
//!
//! Not read: UDF (a disc that seems to hold its files only there is a doubt), High Sierra, zisofs, sparse and
//! interleaved files, later sessions, associated files, extended attributes, El Torito.

use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use super::extents::{Extent, ExtentContent};
use super::names::{is_same, without_last_dots};
use super::{CachedReader, DirEntry, FileTree, FsIdentity, FsKind, Need, NodeId, NodeKind, NodeMeta};
use crate::bytes::{ReadAt, size_of_len};
use crate::error::{Error, Result};
use crate::limits::Limits;

mod descriptors;
mod names;
mod record;
mod rock_ridge;

use descriptors::Disc;
use record::Record;
use rock_ridge::Attributes;

const FORMAT: &str = "ISO 9660";
/// [`NodeId::space`] of files; of directories it is their size in bytes and one more, so that listing one needs no record.
const FILES: u64 = 0;
/// Names of directories up to so many bytes are fetched ahead.
const NAMES_AHEAD: u64 = 4 << 20;
/// The mode of what has none.
const MODE: u32 = 0o555;

/// Which names count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Names {
    /// Those of Rock Ridge; so many bytes of each system use are others'.
    RockRidge(u8),
    Joliet,
    Plain,
}

/// An ISO 9660 file system on a volume.
pub struct Iso9660 {
    reader: CachedReader,
    block_bytes: u32,
    root: NodeId,
    names: Names,
    limits: Arc<Limits>,
    identity: FsIdentity,
    doubts: Vec<Error>,
}

/// What a directory has: the first record of a file, and what Rock Ridge says of it.
struct Item {
    record: Record,
    attributes: Attributes,
    name: Vec<u8>,
}

/// What becomes of each item.
type Each<'a> = dyn FnMut(Item) -> Result<ControlFlow<()>> + 'a;

impl Iso9660 {
    /// Opens the file system of a volume: reads its descriptors and the first record of its root directory.
    ///
    /// # Errors
    /// `Unsupported` for discs of other standards; `Malformed` with the field; `Io`.
    pub fn open(reader: CachedReader, limits: Arc<Limits>) -> Result<Self> {
        let disc = Disc::read(&reader)?;
        let identity = FsIdentity {
            kind: FsKind::Iso9660,
            uuid: disc.uuid.clone(),
            label: disc.label.clone(),
            size_bytes: disc.size_bytes,
            block_bytes: disc.block_bytes,
        };
        let mut this = Iso9660 {
            block_bytes: disc.block_bytes,
            root: NodeId::new(0),
            names: Names::Plain,
            limits,
            identity,
            doubts: Vec::new(),
            reader,
        };
        this.root = this.directory_node(&disc.root);
        this.choose_names(&disc).map_err(|error| error.at("root directory"))?;
        if disc.size_bytes > this.reader.size_bytes() {
            let found = format!("{} bytes", disc.size_bytes);
            let allowed = format!("the volume's {}", this.reader.size_bytes());
            this.doubts.push(
                Error::malformed(FORMAT, "blocks", None, found, allowed)
                    .hint("the image is cut off: fetch it again"),
            );
        }
        if disc.has_udf && this.says_look_elsewhere() {
            this.doubts.push(Error::unsupported("UDF, where this disc has its files"));
        }
        Ok(this)
    }

    /// Rock Ridge before Joliet, unless its root is empty and that of Joliet is not.
    fn choose_names(&mut self, disc: &Disc) -> Result<()> {
        let dot = self.dot(self.root)?;
        let attributes = Attributes::read(&self.reader, self.block_bytes, &dot, 0, &self.limits)?;
        let rock_ridge = attributes.rock_ridge();
        if let Some(skip) = rock_ridge {
            self.names = Names::RockRidge(skip);
        }
        if let Some(joliet) = &disc.joliet
            && (rock_ridge.is_none() || self.is_empty(self.root))
        {
            self.names = Names::Joliet;
            self.root = self.directory_node(joliet);
            self.dot(self.root)?;
        }
        Ok(())
    }

    fn is_empty(&self, directory: NodeId) -> bool {
        let mut is_empty = true;
        let read = self.items(directory, &mut |_| {
            is_empty = false;
            Ok(ControlFlow::Break(()))
        });
        is_empty && read.is_ok()
    }

    /// Whether there is but one file, as on discs whose files are all in UDF.
    fn says_look_elsewhere(&self) -> bool {
        let (mut files, mut directories) = (0_u32, 0_u32);
        let read = self.items(self.root, &mut |item| {
            let count = if item.record.is_directory() { &mut directories } else { &mut files };
            *count = count.saturating_add(1);
            Ok(if directories > 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        });
        read.is_ok() && directories == 0 && files <= 1
    }

    fn block(&self, block: u64) -> u64 {
        block.saturating_mul(self.block_bytes.into())
    }

    fn directory_node(&self, record: &Record) -> NodeId {
        NodeId { space: u64::from(record.size_bytes).saturating_add(1), number: self.block(record.block) }
    }

    /// The first record of a directory, which is its own.
    fn dot(&self, directory: NodeId) -> Result<Record> {
        let wrong = |found: &str| {
            Error::malformed(FORMAT, "first record of a directory", directory.number, found.to_owned(), "`.`")
        };
        let record = Record::read(&self.reader, directory.number)?.ok_or_else(|| wrong("none"))?;
        match record.name.as_slice() {
            [0] => Ok(record),
            _ => Err(wrong("another name")),
        }
    }

    /// Shows everything in a directory until `each` breaks off.
    ///
    /// # Errors
    /// The first damage, after the rest was shown, and those of `each`.
    fn items(&self, directory: NodeId, each: &mut Each<'_>) -> Result<()> {
        let Some(size) = directory.space.checked_sub(1) else {
            return Err(Error::malformed(FORMAT, "record", directory.number, "a file", "a directory"));
        };
        self.limits.directory_bytes.check(size)?;
        let end = directory.number.saturating_add(size);
        let mut damage: Option<Error> = None;
        let mut at = directory.number;
        let mut is_part = false;
        while at < end {
            let record = match Record::read(&self.reader, at) {
                Ok(Some(record)) => record,
                Ok(None) => {
                    at = self.next_block(directory, at);
                    continue;
                }
                Err(error) => {
                    // Where this record ends is not known, but those of the next block start with it.
                    damage.get_or_insert(error);
                    let next = self.next_block(directory, at);
                    if next >= self.reader.size_bytes() {
                        break;
                    }
                    (at, is_part) = (next, false);
                    continue;
                }
            };
            at = at.saturating_add(record.len.into());
            let is_continued = std::mem::replace(&mut is_part, record.has_more());
            if is_continued || record.is_dot() || record.is_associated() {
                continue;
            }
            match self.item(record) {
                Ok(item) if item.attributes.is_relocated => {}
                Ok(item) => {
                    if each(item)?.is_break() {
                        return Ok(());
                    }
                }
                Err(error) => {
                    damage.get_or_insert(error);
                }
            }
        }
        if is_part {
            let found = "a part of a file that is the last";
            damage.get_or_insert(Error::malformed(FORMAT, "record", at, found, "the rest of the file"));
        }
        damage.map_or(Ok(()), Err)
    }

    /// The start of the next block of a directory.
    fn next_block(&self, directory: NodeId, at: u64) -> u64 {
        let within = at.saturating_sub(directory.number);
        let block = u64::from(self.block_bytes);
        directory.number.saturating_add(within.saturating_add(1).next_multiple_of(block))
    }

    fn item(&self, record: Record) -> Result<Item> {
        let attributes = self.attributes(&record)?;
        let name = match self.names {
            Names::Joliet => names::joliet(&record.name),
            Names::RockRidge(_) if !attributes.name.is_empty() => attributes.name.clone(),
            Names::RockRidge(_) | Names::Plain => names::plain(&record.name),
        };
        Ok(Item { record, attributes, name })
    }

    fn attributes(&self, record: &Record) -> Result<Attributes> {
        match self.names {
            Names::RockRidge(skip) => {
                Attributes::read(&self.reader, self.block_bytes, record, skip, &self.limits)
                    .map_err(|error| error.at(place(record.offset)))
            }
            Names::Joliet | Names::Plain => Ok(Attributes::default()),
        }
    }

    fn node(&self, item: &Item) -> Result<NodeId> {
        if let Some(block) = item.attributes.child {
            let moved = NodeId { space: 1, number: self.block(block.into()) };
            let dot = self.dot(moved).map_err(|error| error.at("relocated directory"))?;
            return Ok(NodeId { number: moved.number, ..self.directory_node(&dot) });
        }
        match item.record.is_directory() {
            true => Ok(self.directory_node(&item.record)),
            false => Ok(NodeId { space: FILES, number: item.record.offset }),
        }
    }

    /// The first record of a file, with what Rock Ridge says of it.
    fn file(&self, node: NodeId) -> Result<(Record, Attributes)> {
        let wrong = |found: &str| Error::malformed(FORMAT, "record", node.number, found.to_owned(), "a file");
        if node.space != FILES {
            return Err(wrong("a directory"));
        }
        let record = Record::read(&self.reader, node.number)?.ok_or_else(|| wrong("nothing"))?;
        if record.is_directory() {
            return Err(wrong("a directory"));
        }
        let attributes = self.attributes(&record)?;
        Ok((record, attributes))
    }

    /// The parts of a file and its size.
    fn parts(&self, first: Record) -> Result<(Vec<Extent>, u64)> {
        let (mut extents, mut size) = (Vec::new(), 0_u64);
        let mut part = first;
        loop {
            if part.is_interleaved {
                return Err(Error::unsupported("interleaved files of ISO 9660"));
            }
            let len = u64::from(part.size_bytes);
            if len > 0 {
                self.limits.file_extents.check(size_of_len(extents.len()).saturating_add(1))?;
                extents.push(Extent { logical: size, physical: self.block(part.block), len });
            }
            size = size.saturating_add(len);
            if !part.has_more() {
                return Ok((extents, size));
            }
            part = self.next_part(&part)?;
        }
    }

    /// The record behind one that says that its file goes on: in the same block or, if that has no more, in the
    /// next.
    fn next_part(&self, part: &Record) -> Result<Record> {
        let mut at = part.offset.saturating_add(part.len.into());
        let next = match Record::read(&self.reader, at)? {
            Some(next) => Some(next),
            None => {
                at = at.saturating_add(1).next_multiple_of(self.block_bytes.into());
                Record::read(&self.reader, at)?
            }
        };
        next.filter(|next| next.name == part.name && !next.is_directory()).ok_or_else(|| {
            Error::malformed(FORMAT, "record", at, "another file", "the next part of the same file")
        })
    }

    fn content(&self, node: NodeId) -> Result<ExtentContent> {
        let (record, attributes) = self.file(node)?;
        if attributes.is_sparse {
            return Err(Error::unsupported("sparse files of Rock Ridge"));
        }
        if attributes.inflated_bytes.is_some() {
            return Err(Error::unsupported("zisofs, files that are compressed one by one"));
        }
        let (extents, size_bytes) = self.parts(record)?;
        for extent in &extents {
            let end = extent.physical.saturating_add(extent.len);
            if end > self.reader.size_bytes() {
                let found = format!("a file up to byte {end:#x}");
                let allowed = format!("the volume's {}", self.reader.size_bytes());
                return Err(Error::malformed(FORMAT, "record", node.number, found, allowed)
                    .hint("the image is cut off: fetch it again"));
            }
        }
        Ok(ExtentContent::new(Arc::clone(self.reader.content()), extents, size_bytes))
    }
}

fn place(offset: u64) -> String {
    format!("record at byte {offset:#x}")
}

impl FileTree for Iso9660 {
    fn identity(&self) -> &FsIdentity {
        &self.identity
    }

    fn doubts(&self) -> &[Error] {
        &self.doubts
    }

    fn root(&self) -> NodeId {
        self.root
    }

    fn meta(&self, node: NodeId) -> Result<NodeMeta> {
        if node.space != FILES {
            let mode = match self.names {
                Names::RockRidge(skip) => {
                    let skip = if node == self.root { 0 } else { skip };
                    let dot = self.dot(node)?;
                    Attributes::read(&self.reader, self.block_bytes, &dot, skip, &self.limits)?.mode
                }
                Names::Joliet | Names::Plain => None,
            };
            let mode = mode.unwrap_or(MODE) & 0o7777;
            return Ok(NodeMeta { kind: NodeKind::Directory, size_bytes: 0, mode });
        }
        let (record, attributes) = self.file(node)?;
        let mode = attributes.mode.unwrap_or(MODE);
        let kind = attributes.mode.map_or(Some(NodeKind::File), NodeKind::of_mode);
        let kind = kind.filter(|kind| *kind != NodeKind::Directory).ok_or_else(|| {
            Error::malformed(FORMAT, "mode of a file", record.offset, format!("{mode:#o}"), "that of a file")
        })?;
        let size_bytes = match (kind, attributes.inflated_bytes) {
            (NodeKind::File, Some(bytes)) => bytes,
            (NodeKind::File, None) => self.parts(record)?.1,
            (NodeKind::Symlink, _) => attributes.link.map_or(0, |target| size_of_len(target.len())),
            _ => 0,
        };
        Ok(NodeMeta { kind, size_bytes, mode: mode & 0o7777 })
    }

    fn read_dir(&self, directory: NodeId, each: &mut dyn FnMut(DirEntry<'_>) -> Result<()>) -> Result<()> {
        let mut damage = None;
        self.items(directory, &mut |item| {
            match self.node(&item) {
                Ok(node) => each(DirEntry { name: &item.name, node })?,
                Err(error) => {
                    damage.get_or_insert(error);
                }
            }
            Ok(ControlFlow::Continue(()))
        })?;
        damage.map_or(Ok(()), Err)
    }

    fn lookup(&self, directory: NodeId, name: &[u8]) -> Result<Option<NodeId>> {
        let mut found = None;
        let read = self.items(directory, &mut |item| {
            // Linux takes Joliet for the names of Windows.
            let is_it = match self.names {
                Names::Joliet => is_same(without_last_dots(&item.name), without_last_dots(name)),
                Names::RockRidge(_) | Names::Plain => item.name == name,
            };
            if !is_it {
                return Ok(ControlFlow::Continue(()));
            }
            found = Some(self.node(&item));
            Ok(ControlFlow::Break(()))
        });
        match found {
            Some(node) => node.map(Some),
            None => read.map(|()| None),
        }
    }

    fn read_link(&self, node: NodeId) -> Result<Box<[u8]>> {
        let (_, attributes) = self.file(node)?;
        let target = attributes.link.filter(|target| !target.is_empty()).ok_or_else(|| {
            Error::malformed(FORMAT, "record", node.number, "no target", "the target of a symbolic link")
        })?;
        Ok(target.into())
    }

    fn open(&self, node: NodeId) -> Result<Arc<dyn ReadAt>> {
        match self.content(node) {
            Ok(content) => Ok(Arc::new(content)),
            Err(error) => Err(error.at(place(node.number))),
        }
    }

    fn will_need(&self, nodes: &[NodeId], need: Need) {
        let head = |node: &NodeId| -> Range<u64> { node.number..node.number.saturating_add(255) };
        match need {
            Need::Meta => self.reader.prefetch(&nodes.iter().map(head).collect::<Vec<_>>()),
            Need::Names => {
                let directories = nodes.iter().filter(|node| node.space != FILES);
                let ranges = directories
                    .map(|node| node.number..node.number.saturating_add(node.space.min(NAMES_AHEAD)));
                self.reader.prefetch(&ranges.collect::<Vec<_>>());
            }
            Need::Content(most) => {
                let files = nodes.iter().filter_map(|node| self.content(*node).ok());
                let ranges: Vec<_> = files.flat_map(|file| file.ranges(0..most)).collect();
                self.reader.content().prefetch(&ranges);
            }
        }
    }
}
