//! Directories: runs of names, sorted by their bytes, in a table of metadata blocks.
//!
//! A run has a header: the number of its names less one, the block of their inodes, a number of an inode. A name
//! has eight bytes before it: where in the block its inode is, a difference to that number, a type, and its
//! length less one. Of large directories the inode has an index: for each of some runs how many bytes of names
//! are before it, the metadata block that it is in, and its first name.

use std::ops::ControlFlow;

use super::inode::{Body, Inode, Listing, unfit};
use super::metadata::{Metadata, Place, word};
use crate::bytes::{array_at, le_u16};
use crate::error::{Error, Result, ResultExt};

const FORMAT: &str = "squashfs directory";
const HEADER_BYTES: u64 = 12;
const ENTRY_BYTES: u64 = 8;
/// The most names that a run has.
const RUN_NAMES: u32 = 256;
/// The most bytes that a name has.
const NAME_BYTES: u32 = 256;

/// What is done with a name and the reference of its inode.
type Each<'a> = &'a mut dyn FnMut(&[u8], u64) -> Result<ControlFlow<()>>;

/// The names of a directory.
pub(super) struct Directory<'a> {
    metadata: &'a Metadata,
    reference: u64,
    listing: Listing,
}

impl<'a> Directory<'a> {
    /// The directory whose inode is at a reference.
    ///
    /// # Errors
    /// `Malformed` if it cannot be read or is none; `Limit` if it has too many names.
    pub(super) fn read(metadata: &'a Metadata, reference: u64) -> Result<Self> {
        let inode = Inode::read(metadata, reference)?;
        let Body::Directory(listing) = inode.body else {
            return Err(unfit(inode.meta, "a directory").at(format!("inode {reference:#x}")));
        };
        metadata.limits.directory_bytes.check(listing.bytes).at(|| format!("inode {reference:#x}"))?;
        Ok(Directory { metadata, reference, listing })
    }

    /// The part of the volume that holds the names, at most.
    pub(super) fn range(&self) -> Option<std::ops::Range<u64>> {
        self.start().ok().filter(|_| self.listing.bytes > 0).map(|place| place.range(self.listing.bytes))
    }

    fn start(&self) -> Result<Place> {
        let table = &self.metadata.superblock.directories;
        self.metadata.place(table, self.listing.block.into(), self.listing.offset)
    }

    /// Shows every name with the reference of its inode.
    ///
    /// # Errors
    /// `Malformed` where names are damaged, after those before; that of `each`.
    pub(super) fn names(&self, each: &mut dyn FnMut(&[u8], u64) -> Result<()>) -> Result<()> {
        if self.listing.bytes == 0 {
            return Ok(());
        }
        let start = self.start().at(|| self.place())?;
        let mut told = Ok(());
        self.run(start, self.listing.bytes, &mut |name, reference| {
            told = each(name, reference);
            Ok(if told.is_err() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        told
    }

    /// The reference of the inode of this name. As the kernel does, it trusts that names are sorted.
    ///
    /// # Errors
    /// `Malformed` where names are damaged on the way to it.
    pub(super) fn lookup(&self, wanted: &[u8]) -> Result<Option<u64>> {
        if self.listing.bytes == 0 || wanted.is_empty() {
            return Ok(None);
        }
        let (start, left) = self.before(wanted).at(|| self.place())?;
        let mut found = None;
        self.run(start, left, &mut |name, reference| {
            if name == wanted {
                found = Some(reference);
            }
            let is_past = name.first() > wanted.first();
            Ok(if is_past || found.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        Ok(found)
    }

    /// The last run of the index that can hold a name, and how many bytes of names there are from it on.
    fn before(&self, wanted: &[u8]) -> Result<(Place, u64)> {
        let table = &self.metadata.superblock.directories;
        let mut best = (self.start()?, self.listing.bytes);
        let mut place = self.listing.index.clone();
        let mut name = Vec::new();
        for _ in 0..self.listing.indexes {
            let fields: [u8; 12] = self.metadata.array(&mut place)?;
            let (skipped, block, size) = (word(&fields, 0), word(&fields, 4), word(&fields, 8));
            self.name(&mut place, size, &mut name)?;
            if &name[..] > wanted {
                break;
            }
            let Some(left) = self.listing.bytes.checked_sub(skipped.into()) else {
                return Err(wrong("index", skipped.to_string(), format!("up to {}", self.listing.bytes)));
            };
            // Only the last block of the table holds fewer than 8192 bytes.
            let offset = u32::from(self.listing.offset).wrapping_add(skipped) % 8192;
            let offset = u16::try_from(offset).unwrap_or(0);
            best = (self.metadata.place(table, block.into(), offset)?, left);
        }
        Ok(best)
    }

    /// Shows the names of the runs from a place on, `left` bytes in all.
    fn run(&self, start: Place, left: u64, each: Each<'_>) -> Result<()> {
        self.run_unplaced(start, left, each).at(|| self.place())
    }

    fn run_unplaced(&self, mut place: Place, mut left: u64, each: Each<'_>) -> Result<()> {
        let mut name = Vec::new();
        while left > 0 {
            left = take(left, HEADER_BYTES)?;
            let header: [u8; 12] = self.metadata.array(&mut place)?;
            let count = word(&header, 0).saturating_add(1);
            if count > RUN_NAMES {
                return Err(wrong("count", count.to_string(), format!("1..={RUN_NAMES}")));
            }
            let block = u64::from(word(&header, 4)) << 16;
            for _ in 0..count {
                let entry: [u8; 8] = self.metadata.array(&mut place)?;
                let size = u32::from(le_u16(&entry, 6));
                left = take(left, ENTRY_BYTES.saturating_add(size.into()).saturating_add(1))?;
                self.name(&mut place, size, &mut name)?;
                let reference = block | u64::from(u16::from_le_bytes(array_at(&entry, 0)));
                if each(&name, reference)?.is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Reads a name whose length less one is `size`.
    fn name(&self, place: &mut Place, size: u32, name: &mut Vec<u8>) -> Result<()> {
        let len = size.saturating_add(1);
        if len > NAME_BYTES {
            return Err(wrong("size", len.to_string(), format!("1..={NAME_BYTES}")));
        }
        name.resize(usize::try_from(len).unwrap_or(0), 0);
        self.metadata.read(place, name)
    }

    fn place(&self) -> String {
        format!("inode {:#x}", self.reference)
    }
}

fn take(left: u64, bytes: u64) -> Result<u64> {
    left.checked_sub(bytes)
        .ok_or_else(|| wrong("length", format!("{left} bytes left"), format!("{bytes} bytes")))
}

fn wrong(field: &'static str, found: String, allowed: String) -> Error {
    Error::malformed(FORMAT, field, None, found, allowed)
}
