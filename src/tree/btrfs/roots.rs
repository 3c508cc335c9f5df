//! The root tree: where the other trees are, which subvolumes there are, and how they are called.
//!
//! | byte | root item | | byte | root reference |
//! | --- | --- | --- | --- | --- |
//! | 0 | an inode item (160) | | 0 | dirid |
//! | 160 | generation | | 8 | sequence |
//! | 168 | root_dirid, always 256 | | 16 | name_len (2) |
//! | 176 | bytenr | | 18 | name |
//! | 208 | flags: 1 is read-only | | | |
//! | 216 | refs (4), of which 0 is deleted | | | |
//! | 238 | level (1) | | | |
//! | 239 | generation_v2, UUID (16), parent UUID (16), received UUID (16), … | | | |
//!
//! Items that old kernels wrote end at byte 239; what follows counts only if generation_v2 is the generation. A
//! reference has the key (parent, ROOT_REF, child), and once more (child, ROOT_BACKREF, parent).

use std::collections::BTreeSet;

use super::inode;
use super::metadata::Metadata;
use super::node::{
    DIR_ITEM, FIRST_FREE, INODE_REF, Key, Pointer, ROOT_BACKREF, ROOT_ITEM, ROOT_REF, TOP_TREE, is_subvolume,
};
use super::search::Tree;
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::model::ImagePath;
use crate::tree::SubvolumeInfo;
use crate::tree::fields::Fields;

const ITEM: &str = "btrfs root item";
const REFERENCE: &str = "btrfs root reference";
const BYTES: usize = 239;
const READ_ONLY: u64 = 1;
/// The directory in the root tree that names the default subvolume.
const ROOT_DIRECTORY: u64 = 6;
const DEFAULT: &[u8] = b"default";

/// What of a root item is needed.
pub(super) struct Root {
    pub(super) tree: Tree,
    is_read_only: bool,
    is_deleted: bool,
    has_parent: bool,
}

impl Root {
    /// What a root item says of the tree of this id.
    ///
    /// # Errors
    /// `Malformed` with the field.
    pub(super) fn decode(item: &Fields<'_>, id: u64) -> Result<Self> {
        let generation = item.le64(160)?;
        let level = item.u8(238)?;
        let directory = item.le64(168)?;
        if is_subvolume(id) && directory != FIRST_FREE {
            return Err(item.wrong("root_dirid", 168, directory.to_string(), FIRST_FREE.to_string()));
        }
        let root =
            Pointer { logical: item.le64(176)?, generation, level, owner: id, first: None, end: Key::MAX };
        let has_more = item.bytes.len() > BYTES && item.le64(BYTES)? == generation;
        Ok(Root {
            tree: Tree::new(root),
            is_read_only: item.le64(208)? & READ_ONLY != 0,
            is_deleted: item.le32(216)? == 0,
            has_parent: has_more && item.array::<16>(263)? != [0; 16],
        })
    }
}

/// The root tree.
pub(super) struct Roots {
    tree: Tree,
}

impl Roots {
    pub(super) fn new(metadata: &Metadata) -> Self {
        Roots { tree: Tree::new(metadata.superblock.root) }
    }

    /// A tree by its id.
    ///
    /// # Errors
    /// `NotFound` if there is none, or only a deleted one.
    pub(super) fn find(&self, metadata: &Metadata, id: u64) -> Result<Root> {
        let item = self.tree.at_or_before(metadata, Key::new(id, ROOT_ITEM, u64::MAX))?;
        let item = item.filter(|item| (item.key.object, item.key.kind) == (id, ROOT_ITEM));
        let absent = || Error::not_found(format!("btrfs subvolume or tree {id}"));
        let root = Root::decode(&item.ok_or_else(absent)?.fields(ITEM)?, id)?;
        match root.is_deleted {
            true => Err(absent()),
            false => Ok(root),
        }
    }

    /// The id of the subvolume that is mounted if none is named.
    ///
    /// # Errors
    /// If what names it is damaged.
    pub(super) fn default(&self, metadata: &Metadata) -> Result<u64> {
        let key = Key::new(ROOT_DIRECTORY, DIR_ITEM, super::directory::hash(DEFAULT).into());
        let Some(item) = self.tree.get(metadata, key)? else { return Ok(TOP_TREE) };
        let mut found = None;
        let fields = item.fields("btrfs directory item")?;
        super::directory::each_in(&fields, &mut |entry| {
            if entry.name == DEFAULT && entry.key.kind == ROOT_ITEM {
                found.get_or_insert(entry.key.object);
            }
            Ok(())
        })?;
        let chosen = found.unwrap_or(TOP_TREE);
        match is_subvolume(chosen) {
            true => Ok(chosen),
            false => Err(fields.wrong("location", 0, chosen.to_string(), "the id of a subvolume")),
        }
    }

    /// Whether this name in this directory is where the subvolume is; in a snapshot such a name is left over
    /// and shows an empty directory.
    ///
    /// # Errors
    /// If the root tree is damaged there.
    pub(super) fn leads(
        &self,
        metadata: &Metadata,
        parent: u64,
        directory: u64,
        name: &[u8],
        child: u64,
    ) -> Result<bool> {
        let Some(item) = self.tree.get(metadata, Key::new(parent, ROOT_REF, child))? else {
            return Ok(false);
        };
        let (from, called) = reference(&item.fields(REFERENCE)?)?;
        Ok(from == directory && called == name)
    }

    /// All subvolumes but deleted ones, by id.
    ///
    /// # Errors
    /// If the root tree or the way to one of them is damaged; `Limit`.
    pub(super) fn subvolumes(&self, metadata: &Metadata, limits: &Limits) -> Result<Vec<SubvolumeInfo>> {
        let mut roots = Vec::new();
        let keys = Key::new(TOP_TREE, ROOT_ITEM, 0)..=Key::new(1 << 48, 0, 0);
        self.tree.scan(metadata, keys, ITEM, &mut |key, item| {
            if key.kind == ROOT_ITEM && is_subvolume(key.object) {
                let root = Root::decode(item, key.object)?;
                if !root.is_deleted {
                    roots.push((key.object, root));
                    limits.btrfs_subvolumes.check(crate::bytes::size_of_len(roots.len()))?;
                }
            }
            Ok(())
        })?;
        let mut all = Vec::new();
        for (id, root) in roots {
            let path =
                self.path(metadata, limits, id).map_err(|error| error.at(format!("subvolume {id}")))?;
            all.push(SubvolumeInfo {
                id,
                path,
                is_snapshot: root.has_parent,
                is_read_only: root.is_read_only,
            });
        }
        Ok(all)
    }

    /// A subvolume's path from the top of the file system.
    fn path(&self, metadata: &Metadata, limits: &Limits, id: u64) -> Result<ImagePath> {
        let mut names: Vec<Vec<u8>> = Vec::new();
        let mut seen = BTreeSet::new();
        let mut at = id;
        while at != TOP_TREE {
            let key = Key::new(at, ROOT_BACKREF, u64::MAX);
            let item = self.tree.at_or_before(metadata, key)?;
            let Some(item) = item.filter(|item| (item.key.object, item.key.kind) == (at, ROOT_BACKREF))
            else {
                return Err(Error::not_found(format!("where btrfs subvolume {at} is")));
            };
            let fields = item.fields(REFERENCE)?;
            let parent = item.key.offset;
            let (directory, name) = reference(&fields)?;
            names.push(name.to_vec());
            if !seen.insert(at) {
                return Err(fields.wrong("parent", 0, parent.to_string(), "none that is inside of it"));
            }
            let tree = self.find(metadata, parent)?.tree;
            directories(metadata, &tree, directory, limits, &mut names)?;
            at = parent;
        }
        names.reverse();
        Ok(ImagePath::new(names.join(&b'/')))
    }
}

/// Adds the names of a directory and those above it, innermost first.
fn directories(
    metadata: &Metadata,
    tree: &Tree,
    directory: u64,
    limits: &Limits,
    names: &mut Vec<Vec<u8>>,
) -> Result<()> {
    let mut at = directory;
    while at != FIRST_FREE {
        limits.path_depth.check(crate::bytes::size_of_len(names.len()))?;
        let item = tree.at_or_before(metadata, Key::new(at, INODE_REF, u64::MAX))?;
        let Some(item) = item.filter(|item| (item.key.object, item.key.kind) == (at, INODE_REF)) else {
            return Err(Error::not_found(format!("where btrfs directory {at} is")));
        };
        names.push(inode::first_name(&item.fields(inode::REFERENCE)?)?.to_vec());
        at = item.key.offset;
    }
    Ok(())
}

/// The directory and the name of a reference to a root.
fn reference<'a>(item: &Fields<'a>) -> Result<(u64, &'a [u8])> {
    let size = usize::from(item.le16(16)?);
    Ok((item.le64(0)?, item.slice(18, size)?))
}
