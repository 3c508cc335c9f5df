//! The log: what was synced since the last commit, replayed in memory as the kernel does when it mounts.
//!
//! The superblock leads to a tree with one log tree a subvolume, at (-6, ROOT_ITEM, subvolume). A log tree has
//! items as a subvolume has them, and (directory, DIR_LOG_INDEX, first) with the last number (8) of a range of
//! which the log has all names. The order and the rules are those of `fs/btrfs/tree-log.c` of Linux 6.18:
//!
//! 1. inodes: one without links is passed over with all its items. One that the log has only because it exists
//!    (generation 0) changes no more than the size of a file.
//! 2. names of the subvolume within a range that the log has not at this number are removed.
//! 3. names by number are added if what they name exists; they replace others of the same name.
//! 4. references: in this parent the inode has the names that the log says, and no other.
//! 5. extents take the place of what was in their range; their checksums are in the log tree too.
//!
//! Not read: extended attributes; what has no names left is not looked at.

use std::collections::{BTreeMap, BTreeSet};

use super::directory;
use super::inode::{self, Inode};
use super::metadata::Metadata;
use super::node::{
    DIR_INDEX, EXTENT_CSUM, EXTENT_DATA, INODE_EXTREF, INODE_ITEM, INODE_REF, Key, LOG_TREE, ROOT_ITEM,
};
use super::roots::{Root, Roots};
use super::search::Tree;
use super::subvolume::Subvolume;
use crate::bytes::size_of_len;
use crate::error::{Error, Kind, Result};
use crate::limits::Limits;
use crate::tree::NodeKind;
use crate::tree::fields::Fields;

const ITEM: &str = "btrfs log item";
const DIR_LOG_INDEX: u8 = 72;

/// What the logs of all subvolumes change.
#[derive(Default)]
pub(super) struct Log {
    pub(super) subvolumes: BTreeMap<u64, Changes>,
    /// Checksums of sectors one after the other, by the logical address of the first.
    pub(super) checksums: BTreeMap<u64, Vec<u8>>,
}

/// What the log of one subvolume changes.
#[derive(Default)]
pub(super) struct Changes {
    pub(super) inodes: BTreeMap<u64, Inode>,
    /// By directory: names that are there, with what they name, and names that are not there any more.
    pub(super) names: BTreeMap<u64, BTreeMap<Vec<u8>, Option<Key>>>,
    /// By inode: extent items by their offset in the file.
    pub(super) extents: BTreeMap<u64, BTreeMap<u64, Vec<u8>>>,
}

/// Reads all logs, and works out what they change.
///
/// # Errors
/// Any damage, and `Limit`: a log that is replayed in part would show a state that never was.
pub(super) fn replay(metadata: &Metadata, roots: &Roots, limits: &Limits) -> Result<Log> {
    let mut log = Log::default();
    let Some(root) = metadata.superblock.log_root else { return Ok(log) };
    let mut trees = Vec::new();
    let keys = Key::new(LOG_TREE, ROOT_ITEM, 0)..=Key::new(LOG_TREE, ROOT_ITEM, u64::MAX);
    Tree::new(root).scan(metadata, keys, ITEM, &mut |key, item| {
        trees.push((key.offset, Root::decode(item, LOG_TREE)?.tree));
        limits.btrfs_subvolumes.check(size_of_len(trees.len())).map(drop)
    })?;
    let mut left = limits.btrfs_log_bytes.max;
    for (id, tree) in trees {
        let items = Items::read(metadata, &tree, limits, &mut left, &mut log.checksums)?;
        let base = match roots.find(metadata, id) {
            Ok(root) => Subvolume { metadata, tree: root.tree, changes: None },
            // Deleted since: the kernel passes over its log too.
            Err(error) if matches!(error.kind(), Kind::NotFound(_)) => continue,
            Err(error) => return Err(error),
        };
        let mut replay = Replay { base, items: &items, changes: Changes::default() };
        replay.run().map_err(|error| error.at(format!("subvolume {id}")))?;
        let changes = replay.changes;
        log.subvolumes.insert(id, Changes { extents: items.extents, ..changes });
    }
    Ok(log)
}

/// What is in a log tree.
#[derive(Default)]
struct Items {
    inodes: BTreeMap<u64, Vec<u8>>,
    /// Without links: what the log has of these is not replayed.
    unlinked: BTreeSet<u64>,
    references: Vec<(Key, Vec<u8>)>,
    /// By directory and number.
    names: BTreeMap<(u64, u64), Vec<u8>>,
    /// Directory, first number and last number.
    ranges: Vec<(u64, u64, u64)>,
    extents: BTreeMap<u64, BTreeMap<u64, Vec<u8>>>,
}

impl Items {
    fn read(
        metadata: &Metadata,
        tree: &Tree,
        limits: &Limits,
        left: &mut u64,
        checksums: &mut BTreeMap<u64, Vec<u8>>,
    ) -> Result<Self> {
        let mut items = Items::default();
        tree.scan(metadata, Key::MIN..=Key::MAX, ITEM, &mut |key, item| {
            let ceiling = limits.btrfs_log_bytes;
            // Each item takes some memory beside its bytes.
            let cost = size_of_len(item.bytes.len()).saturating_add(128);
            *left = left.checked_sub(cost).ok_or_else(|| ceiling.passed(ceiling.max.saturating_add(cost)))?;
            items.add(key, item, checksums)
        })?;
        items.references.retain(|(key, _)| !items.unlinked.contains(&key.object));
        items.extents.retain(|number, _| !items.unlinked.contains(number));
        Ok(items)
    }

    fn add(&mut self, key: Key, item: &Fields<'_>, checksums: &mut BTreeMap<u64, Vec<u8>>) -> Result<()> {
        let bytes = item.bytes.to_vec();
        match key.kind {
            INODE_ITEM if inode::links(item)? == 0 => {
                self.unlinked.insert(key.object);
            }
            INODE_ITEM => {
                self.inodes.insert(key.object, bytes);
            }
            INODE_REF | INODE_EXTREF => self.references.push((key, bytes)),
            DIR_INDEX => {
                self.names.insert((key.object, key.offset), bytes);
            }
            DIR_LOG_INDEX => self.ranges.push((key.object, key.offset, item.le64(0)?)),
            EXTENT_DATA => {
                self.extents.entry(key.object).or_default().insert(key.offset, bytes);
            }
            EXTENT_CSUM => {
                checksums.insert(key.offset, bytes);
            }
            _ => {}
        }
        Ok(())
    }
}

struct Replay<'a> {
    base: Subvolume<'a>,
    items: &'a Items,
    changes: Changes,
}

impl Replay<'_> {
    fn run(&mut self) -> Result<()> {
        for (number, bytes) in &self.items.inodes {
            self.inode(*number, &Fields::new(bytes, inode::ITEM, 0))?;
        }
        for (directory, first, last) in &self.items.ranges {
            self.remove_names(*directory, *first, *last)?;
        }
        for ((directory, _), bytes) in &self.items.names {
            self.add_names(*directory, &Fields::new(bytes, ITEM, 0))?;
        }
        for (key, bytes) in &self.items.references {
            self.references(*key, &Fields::new(bytes, inode::REFERENCE, 0))?;
        }
        Ok(())
    }

    fn inode(&mut self, number: u64, item: &Fields<'_>) -> Result<()> {
        let mut logged = Inode::decode(item, number)?;
        let known = self.base.inode_item(number, |fields| Inode::decode(fields, number))?;
        if let Some(known) = known {
            let kinds = (known.meta.kind, logged.meta.kind);
            if inode::generation(item)? == 0 {
                let size_bytes = logged.meta.size_bytes;
                logged = known;
                if kinds == (NodeKind::File, NodeKind::File) && size_bytes != 0 {
                    logged.meta.size_bytes = size_bytes;
                }
            } else if kinds == (NodeKind::Directory, NodeKind::Directory) {
                logged.meta.size_bytes = known.meta.size_bytes;
            }
        }
        self.changes.inodes.insert(number, logged);
        Ok(())
    }

    fn exists(&self, number: u64) -> Result<bool> {
        if self.changes.inodes.contains_key(&number) {
            return Ok(true);
        }
        Ok(self.base.inode_item(number, |_| Ok(()))?.is_some())
    }

    /// What a name leads to now.
    fn current(&self, directory: u64, name: &[u8]) -> Result<Option<Key>> {
        match self.changes.names.get(&directory).and_then(|names| names.get(name)) {
            Some(changed) => Ok(*changed),
            None => directory::lookup(&self.base, directory, name),
        }
    }

    fn set(&mut self, directory: u64, name: &[u8], to: Option<Key>) {
        self.changes.names.entry(directory).or_default().insert(name.to_vec(), to);
    }

    fn remove_names(&mut self, directory: u64, first: u64, last: u64) -> Result<()> {
        if last < first || !self.exists(directory)? {
            return Ok(());
        }
        let keys = Key::new(directory, DIR_INDEX, first)..=Key::new(directory, DIR_INDEX, last);
        let mut gone = Vec::new();
        self.base.tree.scan(self.base.metadata, keys, ITEM, &mut |key, item| {
            let logged = self.items.names.get(&(directory, key.offset));
            directory::each_in(item, &mut |entry| {
                let mut is_kept = false;
                if let Some(bytes) = logged {
                    directory::each_in(&Fields::new(bytes, ITEM, 0), &mut |other| {
                        is_kept |= other.name == entry.name;
                        Ok(())
                    })?;
                }
                if !is_kept {
                    gone.push(entry.name.to_vec());
                }
                Ok(())
            })
        })?;
        for name in gone {
            self.set(directory, &name, None);
        }
        Ok(())
    }

    fn add_names(&mut self, directory: u64, item: &Fields<'_>) -> Result<()> {
        if self.items.unlinked.contains(&directory) || !self.exists(directory)? {
            return Ok(());
        }
        directory::each_in(item, &mut |entry| {
            let exists = entry.key.kind != INODE_ITEM || self.exists(entry.key.object)?;
            if exists && self.current(directory, entry.name)? != Some(entry.key) {
                self.set(directory, entry.name, Some(entry.key));
            }
            Ok(())
        })
    }

    fn references(&mut self, key: Key, item: &Fields<'_>) -> Result<()> {
        // The root directory refers to itself as `..`.
        if key.kind == INODE_REF && key.object == key.offset {
            return Ok(());
        }
        let target = Key::new(key.object, INODE_ITEM, 0);
        let logged = inode::names(key, item)?;
        if !self.exists(key.object)? {
            return Ok(());
        }
        let known = match self.base.tree.get(self.base.metadata, key)? {
            Some(item) => inode::names(key, &item.fields(inode::REFERENCE)?)?,
            None => Vec::new(),
        };
        for (parent, name) in known.iter().filter(|known| !logged.contains(known)) {
            if self.current(*parent, name)? == Some(target) {
                self.set(*parent, name, None);
            }
        }
        for (parent, name) in &logged {
            if self.exists(*parent)? && self.current(*parent, name)? != Some(target) {
                self.set(*parent, name, Some(target));
            }
        }
        Ok(())
    }
}

/// The doubt about a file system of which the log could not be replayed.
pub(super) fn doubt(error: Error) -> Error {
    error.hint("mount the disk once and unmount it, then look at it again").at("log")
}
