//! Inodes: of variable size, in a table of metadata blocks. A file is named by where its inode stands.
//!
//! All start with 16 bytes: type, mode, owner, group (16 bits each), time, number. What follows is, by type:
//!
//! | byte | 1 directory | 8, extended | 2 file | 9, extended | 3, 10 link |
//! | --- | --- | --- | --- | --- | --- |
//! | 16 | block | links | block | block (64 bits) | links |
//! | 20 | links | size | fragment | | length |
//! | 24 | size, offset (16 bits each) | block | offset in it | size (64 bits) | target |
//! | 28 | parent | parent | size | | |
//! | 32 | | indexes, offset (16 bits each) | block sizes | sparse (64 bits) | |
//! | 40 | | index | | links, fragment, offset in it | |
//! | 56 | | | | block sizes | |
//!
//! 4 to 7 and 11 to 14 are devices, pipes and sockets. A device's number and the number of an inode's
//! list of extended attributes are read. Not read: owners, times.

use std::ops::Range;

use super::metadata::{Metadata, Place, STORED_BYTES, word};
use super::xattr;
use crate::bytes::{le_u16, le_u64};
use crate::error::{Error, Result, ResultExt};
use crate::tree::{NodeKind, NodeMeta};

const FORMAT: &str = "squashfs inode";
/// The longest target: what a path may have on Linux.
const LINK_BYTES: u32 = 4096;
/// A file's tail that is in no fragment.
const NO_FRAGMENT: u32 = u32::MAX;

/// One inode.
pub(super) struct Inode {
    pub(super) meta: NodeMeta,
    pub(super) body: Body,
    /// Which list of extended attributes is its own; all ones if none is.
    pub(super) attributes: u32,
}

/// What an inode says of its content.
pub(super) enum Body {
    Directory(Listing),
    File(Blocks),
    /// Where a link's target is.
    Link(Place),
    Special {
        /// It is the character device 0:0.
        is_null: bool,
    },
}

/// Where a directory's names are.
pub(super) struct Listing {
    /// The block of the directory table, in bytes from its start, and the byte in it.
    pub(super) block: u32,
    pub(super) offset: u16,
    /// How many bytes of names, with the headers of their runs.
    pub(super) bytes: u64,
    /// How many index entries, and where they are.
    pub(super) indexes: u16,
    pub(super) index: Place,
}

/// Where a file's blocks are.
pub(super) struct Blocks {
    /// Where the first is on the volume.
    pub(super) start: u64,
    /// The fragment that its end is in, and the byte in it.
    pub(super) fragment: Option<(u32, u32)>,
    /// Where the sizes of its blocks are.
    pub(super) sizes: Place,
}

/// The part of the volume that holds the start of an inode.
pub(super) fn range(metadata: &Metadata, reference: u64) -> Range<u64> {
    let table = &metadata.superblock.inodes;
    let start = table.start.saturating_add(reference >> 16);
    start..start.saturating_add(STORED_BYTES).min(table.end)
}

impl Inode {
    /// Reads the inode at a reference: the block in bytes from the start of the table, and the byte in it.
    ///
    /// # Errors
    /// `Malformed` with the field; `Io`.
    pub(super) fn read(metadata: &Metadata, reference: u64) -> Result<Self> {
        Self::read_unplaced(metadata, reference).at(|| format!("inode {reference:#x}"))
    }

    fn read_unplaced(metadata: &Metadata, reference: u64) -> Result<Self> {
        let [low, high, ..] = reference.to_le_bytes();
        let offset = u16::from_le_bytes([low, high]);
        let mut place = metadata.place(&metadata.superblock.inodes, reference >> 16, offset)?;
        let head: [u8; 16] = metadata.array(&mut place)?;
        let mut attributes = xattr::NONE;
        let (kind, size_bytes, body) = match le_u16(&head, 0) {
            1 => directory(metadata, place)?,
            2 => file(metadata, place)?,
            3 | 10 => link(metadata, place)?,
            8 => extended_directory(metadata, place, &mut attributes)?,
            9 => extended_file(metadata, place, &mut attributes)?,
            5 | 12 => {
                let fields: [u8; 8] = metadata.array(&mut place)?;
                let is_null = word(&fields, 4) == 0;
                (NodeKind::Special, 0, Body::Special { is_null })
            }
            4 | 6 | 7 | 11 | 13 | 14 => (NodeKind::Special, 0, Body::Special { is_null: false }),
            other => return Err(wrong("type", other.to_string(), "1..=14")),
        };
        let mode = u32::from(le_u16(&head, 2)) & 0o7777;
        Ok(Inode { meta: NodeMeta { kind, size_bytes, mode }, body, attributes })
    }
}

type Parts = (NodeKind, u64, Body);

fn directory(metadata: &Metadata, mut place: Place) -> Result<Parts> {
    let fields: [u8; 16] = metadata.array(&mut place)?;
    let listing = Listing {
        block: word(&fields, 0),
        bytes: names_bytes(le_u16(&fields, 8).into()),
        offset: le_u16(&fields, 10),
        indexes: 0,
        index: place,
    };
    Ok((NodeKind::Directory, le_u16(&fields, 8).into(), Body::Directory(listing)))
}

fn extended_directory(metadata: &Metadata, mut place: Place, attributes: &mut u32) -> Result<Parts> {
    let fields: [u8; 24] = metadata.array(&mut place)?;
    *attributes = word(&fields, 20);
    let size = word(&fields, 4);
    let listing = Listing {
        block: word(&fields, 8),
        bytes: names_bytes(size.into()),
        indexes: le_u16(&fields, 16),
        offset: le_u16(&fields, 18),
        index: place,
    };
    Ok((NodeKind::Directory, size.into(), Body::Directory(listing)))
}

/// A directory's size counts three bytes for `.` and `..`, which it does not hold.
fn names_bytes(size: u64) -> u64 {
    size.saturating_sub(3)
}

fn file(metadata: &Metadata, mut place: Place) -> Result<Parts> {
    let fields: [u8; 16] = metadata.array(&mut place)?;
    let blocks = Blocks {
        start: word(&fields, 0).into(),
        fragment: fragment(word(&fields, 4), word(&fields, 8)),
        sizes: place,
    };
    Ok((NodeKind::File, word(&fields, 12).into(), Body::File(blocks)))
}

fn extended_file(metadata: &Metadata, mut place: Place, attributes: &mut u32) -> Result<Parts> {
    let fields: [u8; 40] = metadata.array(&mut place)?;
    *attributes = word(&fields, 36);
    let size_bytes = le_u64(&fields, 8);
    if i64::try_from(size_bytes).is_err() {
        return Err(wrong("file_size", size_bytes.to_string(), format!("up to {}", i64::MAX)));
    }
    let blocks = Blocks {
        start: le_u64(&fields, 0),
        fragment: fragment(word(&fields, 28), word(&fields, 32)),
        sizes: place,
    };
    Ok((NodeKind::File, size_bytes, Body::File(blocks)))
}

fn fragment(index: u32, offset: u32) -> Option<(u32, u32)> {
    (index != NO_FRAGMENT).then_some((index, offset))
}

fn link(metadata: &Metadata, mut place: Place) -> Result<Parts> {
    let fields: [u8; 8] = metadata.array(&mut place)?;
    let len = word(&fields, 4);
    if len == 0 || len > LINK_BYTES {
        return Err(wrong("symlink_size", len.to_string(), format!("1..={LINK_BYTES}")));
    }
    Ok((NodeKind::Symlink, len.into(), Body::Link(place)))
}

pub(super) fn wrong(field: &'static str, found: String, allowed: impl Into<String>) -> Error {
    Error::malformed(FORMAT, field, None, found, allowed)
}

/// The error for an inode that is not what is asked of it.
pub(super) fn unfit(meta: NodeMeta, wanted: &str) -> Error {
    wrong("type", format!("{:?}", meta.kind).to_lowercase(), wanted)
}
