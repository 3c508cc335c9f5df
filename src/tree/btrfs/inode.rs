//! Inode items, with key (inode, INODE_ITEM, 0).
//!
//! | byte | field | | byte | field |
//! | --- | --- | --- | --- | --- |
//! | 0 | generation, transid | | 52 | mode (4) |
//! | 16 | size | | 56 | rdev |
//! | 24 | nbytes, block_group | | 64 | flags: 1 is without checksums |
//! | 40 | nlink, uid, gid (4 each) | | 72 | sequence, reserved, times (to 160) |

use super::node::{INODE_EXTREF, Key};
use super::subvolume::Subvolume;
use crate::error::{Error, Result};
use crate::tree::fields::Fields;
use crate::tree::{NodeKind, NodeMeta};

pub(super) const ITEM: &str = "btrfs inode item";
pub(super) const REFERENCE: &str = "btrfs inode reference";
const BYTES: usize = 160;
const NO_CHECKSUMS: u64 = 1;

/// What of an inode is needed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Inode {
    pub(super) number: u64,
    pub(super) meta: NodeMeta,
    pub(super) has_checksums: bool,
}

impl Inode {
    /// Reads an inode of a subvolume.
    ///
    /// # Errors
    /// `Malformed` if there is none of this number or it is of no known kind.
    pub(super) fn read(subvolume: &Subvolume<'_>, number: u64) -> Result<Self> {
        if let Some(inode) = subvolume.changes.and_then(|changes| changes.inodes.get(&number)) {
            return Ok(*inode);
        }
        let found = subvolume.inode_item(number, |fields| Self::decode(fields, number));
        found.and_then(|found| {
            found.ok_or_else(|| Error::malformed(ITEM, "key", None, format!("no inode {number}"), "one"))
        })
    }

    /// What an inode item says.
    ///
    /// # Errors
    /// `Malformed` if it is of no known kind.
    pub(super) fn decode(item: &Fields<'_>, number: u64) -> Result<Self> {
        let mode = item.le32(52)?;
        item.slice(0, BYTES)?;
        let Some(kind) = NodeKind::of_mode(mode) else {
            return Err(item.wrong("mode", 52, format!("{mode:#o}"), "the type of a file"));
        };
        let meta = NodeMeta { kind, size_bytes: item.le64(16)?, mode: mode & 0o7777 };
        Ok(Inode { number, meta, has_checksums: item.le64(64)? & NO_CHECKSUMS == 0 })
    }

    /// Refuses what is not of this kind.
    ///
    /// # Errors
    /// `Malformed`.
    pub(super) fn expect(self, kind: NodeKind) -> Result<Self> {
        match self.meta.kind == kind {
            true => Ok(self),
            false => {
                let (found, allowed) = (format!("{:?}", self.meta.kind), format!("{kind:?}"));
                Err(Error::malformed(ITEM, "mode", None, found, allowed))
            }
        }
    }
}

/// How many names an inode has.
pub(super) fn links(item: &Fields<'_>) -> Result<u32> {
    item.le32(40)
}

/// In which transaction an inode was made.
pub(super) fn generation(item: &Fields<'_>) -> Result<u64> {
    item.le64(0)
}

/// The parents and names of an inode reference. With key (inode, INODE_REF, parent) each name is: index (8), length
/// (2), name; with (inode, INODE_EXTREF, hash) it has the parent (8) before that.
pub(super) fn names(key: Key, item: &Fields<'_>) -> Result<Vec<(u64, Vec<u8>)>> {
    let mut found = Vec::new();
    let mut at = 0_usize;
    while at < item.bytes.len() {
        let parent = match key.kind {
            INODE_EXTREF => {
                at = at.saturating_add(8);
                item.le64(at.saturating_sub(8))?
            }
            _ => key.offset,
        };
        let size = usize::from(item.le16(at.saturating_add(8))?);
        let start = at.saturating_add(10);
        found.push((parent, item.slice(start, size)?.to_vec()));
        at = start.saturating_add(size);
    }
    Ok(found)
}

/// The first name of an inode reference (key (inode, INODE_REF, directory)): index (8), length (2), name.
pub(super) fn first_name<'a>(item: &Fields<'a>) -> Result<&'a [u8]> {
    item.slice(10, item.le16(8)?.into())
}
