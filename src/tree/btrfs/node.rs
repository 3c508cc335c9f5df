//! Blocks of the trees: nodes with pointers, leaves with items, both in the order of their keys.
//!
//! | byte | header (101) | | byte | pointer (33) | item (25) |
//! | --- | --- | --- | --- | --- | --- |
//! | 0 | checksum (32) | | 0 | key (17): objectid, type (1), offset | key (17) |
//! | 32 | fsid (16) | | 17 | blockptr | offset of its data behind the header (4) |
//! | 48 | bytenr | | 21 | | size of its data (4) |
//! | 56 | flags (7), backref revision (1) | | 25 | generation | |
//! | 64 | chunk tree UUID (16) | | | | |
//! | 80 | generation | | | | |
//! | 88 | owner | | | | |
//! | 96 | nritems (4), level (1) | | | | |
//!
//! The data of a leaf's items stands at its end, in the reverse order of the items and without gaps. Every block
//! is what its parent says it is: address, generation, level, owner and first key agree, and all its keys are
//! below the next one of the parent. So a walk sees every block once, whatever is on disk.

use super::superblock::Superblock;
use crate::error::{Error, Result};
use crate::tree::fields::{Fields, len};

const FORMAT: &str = "btrfs block";
const HEADER_BYTES: usize = 101;
const POINTER_BYTES: usize = 33;
const ITEM_BYTES: usize = 25;
const KEY_BYTES: usize = 17;
/// Blocks above each other, leaves included (`BTRFS_MAX_LEVEL`).
const LEVELS: u8 = 8;

pub(super) const ROOT_TREE: u64 = 1;
pub(super) const CHUNK_TREE: u64 = 3;
/// The top level subvolume.
pub(super) const TOP_TREE: u64 = 5;
pub(super) const CHECKSUM_TREE: u64 = 7;
/// The first id of other subvolumes, of their inodes, and of chunks.
pub(super) const FIRST_FREE: u64 = 256;
pub(super) const LOG_TREE: u64 = u64::MAX - 5;

pub(super) const INODE_ITEM: u8 = 1;
pub(super) const INODE_REF: u8 = 12;
pub(super) const INODE_EXTREF: u8 = 13;
pub(super) const DIR_ITEM: u8 = 84;
pub(super) const DIR_INDEX: u8 = 96;
pub(super) const EXTENT_DATA: u8 = 108;
pub(super) const EXTENT_CSUM: u8 = 128;
pub(super) const ROOT_ITEM: u8 = 132;
pub(super) const ROOT_BACKREF: u8 = 144;
pub(super) const ROOT_REF: u8 = 156;
pub(super) const CHUNK_ITEM: u8 = 228;

/// Whether a tree holds files: the top level or another subvolume.
pub(super) fn is_subvolume(tree: u64) -> bool {
    tree == TOP_TREE || (FIRST_FREE..1 << 48).contains(&tree)
}

/// What items are sorted and found by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) object: u64,
    pub(super) kind: u8,
    pub(super) offset: u64,
}

impl Key {
    pub(super) const MIN: Key = Key { object: 0, kind: 0, offset: 0 };
    pub(super) const MAX: Key = Key { object: u64::MAX, kind: u8::MAX, offset: u64::MAX };

    pub(super) fn new(object: u64, kind: u8, offset: u64) -> Self {
        Key { object, kind, offset }
    }

    pub(super) fn decode(fields: &Fields<'_>, at: usize) -> Result<Self> {
        let bytes: [u8; KEY_BYTES] = fields.array(at)?;
        let [a, b, c, d, e, f, g, h, kind, i, j, k, l, m, n, o, p] = bytes;
        let object = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
        let offset = u64::from_le_bytes([i, j, k, l, m, n, o, p]);
        Ok(Key { object, kind, offset })
    }
}

/// As `btrfs inspect-internal` writes it, without names for the numbers.
impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "({} {} {})", self.object, self.kind, self.offset)
    }
}

/// Where a block is and what it has to be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pointer {
    pub(super) logical: u64,
    pub(super) generation: u64,
    pub(super) level: u8,
    /// The tree.
    pub(super) owner: u64,
    /// Its first key, where the parent says it.
    pub(super) first: Option<Key>,
    /// All keys are below this one, except in the last block of a tree.
    pub(super) end: Key,
}

/// A block whose header, keys and item bounds were checked.
pub(super) struct Node {
    bytes: Vec<u8>,
    logical: u64,
    generation: u64,
    owner: u64,
    level: u8,
    count: usize,
}

impl Node {
    /// Checks a block in itself.
    ///
    /// # Errors
    /// `Malformed` with the field.
    pub(super) fn decode(bytes: Vec<u8>, logical: u64, superblock: &Superblock) -> Result<Self> {
        let fields = Fields::new(&bytes, FORMAT, logical);
        let body = bytes.get(32..).unwrap_or_default();
        if !superblock.checksum.matches(body, fields.slice(0, 32)?) {
            return Err(fields.wrong("checksum", 0, "another", "that of the block"));
        }
        let same = |field, at, found: u64, allowed: u64| match found == allowed {
            true => Ok(()),
            false => Err(fields.wrong(field, at, found.to_string(), allowed.to_string())),
        };
        same("bytenr", 48, fields.le64(48)?, logical)?;
        if fields.slice(32, 16)? != superblock.metadata_uuid {
            return Err(fields.wrong("fsid", 32, "another", "that of the superblock"));
        }
        let level = fields.u8(100)?;
        if level >= LEVELS {
            return Err(fields.wrong("level", 100, level.to_string(), format!("less than {LEVELS}")));
        }
        let count = len(fields.le32(96)?);
        let entry = if level == 0 { ITEM_BYTES } else { POINTER_BYTES };
        let room = bytes.len().saturating_sub(HEADER_BYTES);
        let most = room.checked_div(entry).unwrap_or(0);
        let least = usize::from(level > 0);
        if !(least..=most).contains(&count) {
            return Err(fields.wrong("nritems", 96, count.to_string(), format!("{least}..={most}")));
        }
        let (generation, owner) = (fields.le64(80)?, fields.le64(88)?);
        let node = Node { bytes, logical, generation, owner, level, count };
        node.check_order()?;
        Ok(node)
    }

    /// Keys ascend; in a leaf each item's data ends where that of the item before it starts.
    fn check_order(&self) -> Result<()> {
        let fields = self.fields();
        let mut before: Option<Key> = None;
        let mut end = self.bytes.len().saturating_sub(HEADER_BYTES);
        let items_end = self.count.saturating_mul(ITEM_BYTES);
        for index in 0..self.count {
            let at = self.at(index);
            let key = Key::decode(&fields, at)?;
            if before.is_some_and(|before| before >= key) {
                return Err(fields.wrong("key", at, key.to_string(), "keys that ascend"));
            }
            before = Some(key);
            if self.level > 0 {
                continue;
            }
            let (start, size) =
                (len(fields.le32(at.saturating_add(17))?), len(fields.le32(at.saturating_add(21))?));
            if start.checked_add(size) != Some(end) || start < items_end {
                let found = format!("{size} bytes from {start} on");
                return Err(fields.wrong("item", at, found, format!("within {items_end}..{end} to its end")));
            }
            end = start;
        }
        Ok(())
    }

    /// Whether it is the block that was looked for.
    ///
    /// # Errors
    /// `Malformed` with the field.
    pub(super) fn check(&self, wanted: &Pointer) -> Result<()> {
        let fields = self.fields();
        let same = |field, at, found: u64, allowed: u64| match found == allowed {
            true => Ok(()),
            false => Err(fields.wrong(field, at, found.to_string(), allowed.to_string())),
        };
        same("level", 100, self.level.into(), wanted.level.into())?;
        same("generation", 80, self.generation, wanted.generation)?;
        // Snapshots share blocks.
        if !(is_subvolume(self.owner) && is_subvolume(wanted.owner)) {
            same("owner", 88, self.owner, wanted.owner)?;
        }
        let Some(last) = self.count.checked_sub(1) else { return Ok(()) };
        let first = self.key(0)?;
        if let Some(wanted) = wanted.first.filter(|wanted| *wanted != first) {
            return Err(fields.wrong("first key", HEADER_BYTES, first.to_string(), wanted.to_string()));
        }
        let last_key = self.key(last)?;
        if wanted.end != Key::MAX && last_key >= wanted.end {
            let allowed = format!("below {}", wanted.end);
            return Err(fields.wrong("last key", self.at(last), last_key.to_string(), allowed));
        }
        Ok(())
    }

    fn fields(&self) -> Fields<'_> {
        Fields::new(&self.bytes, FORMAT, self.logical)
    }

    /// Where the pointer or item of this index stands.
    fn at(&self, index: usize) -> usize {
        let entry = if self.level == 0 { ITEM_BYTES } else { POINTER_BYTES };
        HEADER_BYTES.saturating_add(index.saturating_mul(entry))
    }

    pub(super) fn is_leaf(&self) -> bool {
        self.level == 0
    }

    /// How many items or pointers it has.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    pub(super) fn key(&self, index: usize) -> Result<Key> {
        Key::decode(&self.fields(), self.at(index))
    }

    /// The first index of which the key is above `key`.
    pub(super) fn first_above(&self, key: Key) -> Result<usize> {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low.midpoint(high);
            match self.key(middle)? <= key {
                true => low = middle.saturating_add(1),
                false => high = middle,
            }
        }
        Ok(low)
    }

    /// The child of this index; all its keys are below `end`.
    pub(super) fn child(&self, index: usize, end: Key) -> Result<Pointer> {
        let fields = self.fields();
        let at = self.at(index);
        let level = self.level.checked_sub(1).ok_or_else(|| self.unfit())?;
        let next = index.saturating_add(1);
        Ok(Pointer {
            logical: fields.le64(at.saturating_add(17))?,
            generation: fields.le64(at.saturating_add(25))?,
            level,
            owner: self.owner,
            first: Some(Key::decode(&fields, at)?),
            end: if next < self.count { self.key(next)? } else { end },
        })
    }

    /// The data of a leaf's item.
    pub(super) fn item(&self, index: usize, format: &'static str) -> Result<Fields<'_>> {
        let fields = self.fields();
        let at = self.at(index);
        if self.level > 0 || index >= self.count {
            return Err(self.unfit());
        }
        let start = HEADER_BYTES.saturating_add(len(fields.le32(at.saturating_add(17))?));
        let bytes = fields.slice(start, len(fields.le32(at.saturating_add(21))?))?;
        Ok(Fields::new(bytes, format, fields.place(start)))
    }

    fn unfit(&self) -> Error {
        self.fields().wrong("level", 100, self.level.to_string(), "that of what is looked for")
    }
}
