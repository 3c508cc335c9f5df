//! Disk containers: what a guest sees as its disk, behind [`ReadAt`], out of the file or files that hold it.
//!
//! Each format is a map from guest offsets to file offsets. No table is held whole: entries are read where they
//! are asked for, through one bounded cache that the images of a chain share and that also holds inflated
//! clusters; every entry is checked against the file that it points into. The kind is told by magic, and what
//! bears a magic and is broken is an error, never a raw disk.
//!
//! | format | read | not read |
//! |---|---|---|
//! | raw | one file, or parts `NAME.001`, `NAME.002`, … | |
//! | qcow2 | versions 2 and 3, see [`qcow2`] | encrypted, qcow version 1 |
//! | VMDK | monolithic, split and stream-optimised, sparse and flat, see [`vmdk`] | COWD and SESPARSE extents, raw device maps |
//! | VHD | fixed, dynamic, differencing, see [`vhd`] | |
//! | VHDX | fixed, dynamic, differencing, with a pending log, see [`vhdx`] | |
//! | VDI | dynamic, static, differencing, see [`vdi`] | undo images |
//!
//! Parents, extents and parts are asked of [`Siblings`] by plain file name. An image that names something
//! outside of its own folder is refused.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::indexing_slicing,
        clippy::unwrap_used
    )
)]

use std::fmt;
use std::sync::Arc;

use crate::bytes::{self, ReadAt, array_at};
use crate::error::{Error, Result, ResultExt as _};
use crate::limits::Limits;

mod cache;
mod map;
pub mod qcow2;
mod raw;
mod siblings;
pub mod vdi;
pub mod vhd;
pub mod vhdx;
pub mod vmdk;

pub use siblings::{Folder, NoSiblings, Referred, Siblings};

pub(super) use siblings::plain_name;

use cache::Cache;

/// How a disk is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DiskFormat {
    /// Byte for byte.
    Raw,
    /// QEMU's copy-on-write format.
    Qcow2,
    /// VMware's.
    Vmdk,
    /// Microsoft's older one, also called VPC.
    Vhd,
    /// Microsoft's newer one.
    Vhdx,
    /// VirtualBox's.
    Vdi,
}

impl fmt::Display for DiskFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DiskFormat::Raw => "raw",
            DiskFormat::Qcow2 => "qcow2",
            DiskFormat::Vmdk => "VMDK",
            DiskFormat::Vhd => "VHD",
            DiskFormat::Vhdx => "VHDX",
            DiskFormat::Vdi => "VDI",
        })
    }
}

/// A disk as its guest sees it.
pub struct Disk {
    /// The guest's bytes.
    pub data: Arc<dyn ReadAt>,
    /// How the file that was named stores them.
    pub format: DiskFormat,
    /// The disk images below this one, nearest first, by file name.
    pub parents: Vec<String>,
    /// What a reader should know, for people: snapshots inside, a log that was replayed.
    pub notes: Vec<String>,
    /// Why what is read of it may not be what was written, for people: each is a gap.
    pub doubts: Vec<String>,
}

/// How many first bytes [`kind`] wants.
pub const HEAD_BYTES: usize = 512;

/// The kind of disk image, told by magic at the beginning, or at the end for a fixed VHD that is as large as it says; `None` may be a raw
/// disk or something else.
///
/// # Errors
/// `Io` if the file cannot be read.
pub fn kind(file: &dyn ReadAt) -> Result<Option<DiskFormat>> {
    let len = usize::try_from(file.size_bytes()).map_or(HEAD_BYTES, |size| size.min(HEAD_BYTES));
    let mut head = vec![0; len];
    file.read_exact_at(0, &mut head)?;
    if head.starts_with(b"QFI\xfb") {
        return Ok(Some(DiskFormat::Qcow2));
    }
    if vmdk::is_one(&head) {
        return Ok(Some(DiskFormat::Vmdk));
    }
    if head.starts_with(b"vhdxfile") {
        return Ok(Some(DiskFormat::Vhdx));
    }
    if array_at(&head, 64) == vdi::SIGNATURE {
        return Ok(Some(DiskFormat::Vdi));
    }
    if vhd::is_one(&head, file)? {
        return Ok(Some(DiskFormat::Vhd));
    }
    Ok(None)
}

/// Opens the disk that `file` holds; `name` is its plain file name, `siblings` are the files beside it.
///
/// # Errors
/// `Malformed` for a broken container, `Unsupported` for what is recognised and not read, `NotFound` for a
/// parent, extent or part that is absent, `Config` for one that is outside of the folder, `Limit`, and `Io`.
pub fn open_disk(
    name: &str,
    file: Arc<dyn ReadAt>,
    siblings: &dyn Siblings,
    limits: &Limits,
) -> Result<Disk> {
    let mut opening = Opening { siblings, limits, cache: Arc::new(Cache::new(limits)), chain: Vec::new() };
    opening.open(name, file, None)
}

/// What is shared by the images of a chain while it is opened.
struct Opening<'a> {
    siblings: &'a dyn Siblings,
    limits: &'a Limits,
    cache: Arc<Cache>,
    /// The names on the way down.
    chain: Vec<String>,
}

impl Opening<'_> {
    /// Opens an image of a chain, as the format that the one above says, if it says one.
    fn open(&mut self, name: &str, file: Arc<dyn ReadAt>, format: Option<DiskFormat>) -> Result<Disk> {
        if self.chain.iter().any(|above| above == name) {
            let found = format!("{} over `{name}`", self.chain.join(" over "));
            return Err(Error::malformed("disk image", "chain of parents", None, found, "no image twice"));
        }
        self.limits.disk_chain.check(bytes::size_of_len(self.chain.len()))?;
        self.chain.push(name.to_owned());
        let format = match format {
            Some(DiskFormat::Raw) => Some(DiskFormat::Raw),
            told => match (told, kind(&*file)?) {
                (Some(told), Some(found)) if told != found => {
                    let found = format!("`{name}` is {found}");
                    return Err(Error::malformed(
                        "disk image",
                        "format of the parent",
                        None,
                        found,
                        told.to_string(),
                    ));
                }
                (Some(told), None) => {
                    let found = format!("`{name}` has the magic of no disk image");
                    return Err(Error::malformed(
                        "disk image",
                        "format of the parent",
                        None,
                        found,
                        told.to_string(),
                    ));
                }
                (_, found) => found,
            },
        };
        let disk = match format {
            None | Some(DiskFormat::Raw) => raw::open(name, file, self.siblings, self.limits),
            Some(DiskFormat::Qcow2) => qcow2::open(file, self),
            Some(DiskFormat::Vmdk) => vmdk::open(name, file, self),
            Some(DiskFormat::Vhd) => vhd::open(file, self),
            Some(DiskFormat::Vhdx) => vhdx::open(file, self),
            Some(DiskFormat::Vdi) => vdi::open(file, self),
        };
        self.chain.pop();
        disk
    }

    /// Opens a parent by the name that its child gives it.
    fn parent(&mut self, reference: &str, format: Option<DiskFormat>) -> Result<(String, Disk)> {
        let referred = self.siblings.refer(reference).map_err(|error| {
            error.hint(format!(
                "put the parent image {} into the folder of the image that needs it, or allow its folder: --disk-folder DIR",
                crate::error::quoted(reference)
            ))
        })?;
        self.referred(referred, format)
    }

    /// Opens a parent that was found. What it refers to itself is looked for in its own folder.
    fn referred(&mut self, parent: Referred, format: Option<DiskFormat>) -> Result<(String, Disk)> {
        let Referred { name, file, folder } = parent;
        let disk = match folder {
            None => self.open(&name, file, format),
            Some(folder) => {
                let mut there = Opening {
                    siblings: &folder,
                    limits: self.limits,
                    cache: Arc::clone(&self.cache),
                    chain: std::mem::take(&mut self.chain),
                };
                let disk = there.open(&name, file, format);
                self.chain = there.chain;
                disk
            }
        };
        let disk = disk.at(|| format!("parent `{name}`"))?;
        Ok((name, disk))
    }
}

impl Disk {
    /// Takes over what is known of a parent.
    fn over(mut self, parent: Option<(String, Disk)>) -> Self {
        if let Some((name, parent)) = parent {
            self.notes.extend(parent.notes.into_iter().map(|note| format!("parent `{name}`: {note}")));
            self.doubts.extend(parent.doubts.into_iter().map(|doubt| format!("parent `{name}`: {doubt}")));
            self.parents.push(name);
            self.parents.extend(parent.parents);
        }
        self
    }
}

/// An error for what lies behind the end of its file, or is cut by it: it says up to where the file was needed.
fn cut_off(error: Error, needs: u64, file_bytes: u64) -> Error {
    error.hint(format!(
        "the file ends at byte {file_bytes}, and the disk needs it up to byte {needs}: it is cut off or damaged; fetch or copy it again"
    ))
}

/// Whether the sector of 512 bytes at `within` has its bit, and for how many bytes, up to `len`, the sectors
/// that follow are the same. `byte` reads a byte of the bitmap, the first sector of it in the lowest bit.
fn bitmap_run(within: u64, len: u64, byte: impl Fn(u64) -> Result<u8>) -> Result<(bool, u64)> {
    let bit = |sector: u64| -> Result<bool> {
        let bits = byte(sector.div_euclid(8))?;
        let shift = u32::try_from(sector.rem_euclid(8)).unwrap_or(0);
        Ok(bits.checked_shr(shift).unwrap_or(0) & 1 == 1)
    };
    let first = within.div_euclid(512);
    let is_set = bit(first)?;
    let end = within.saturating_add(len);
    let mut sector = first.saturating_add(1);
    while sector.saturating_mul(512) < end && bit(sector)? == is_set {
        sector = sector.saturating_add(1);
    }
    Ok((is_set, sector.saturating_mul(512).min(end).saturating_sub(within)))
}

/// Text in UTF-16 up to the first zero.
fn utf16(units: impl Iterator<Item = u16>) -> String {
    char::decode_utf16(units.take_while(|unit| *unit != 0))
        .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect()
}

/// The plain names that a parent may have: relative paths as they are, of absolute ones the last part, because
/// those of another machine cannot be followed, and the images of a chain are copied together.
fn windows_names(relative: Vec<String>, absolute: Vec<String>) -> Vec<String> {
    let last = |path: &String| path.rsplit(['\\', '/']).next().unwrap_or_default().to_owned();
    let mut names: Vec<String> = relative;
    names.extend(absolute.iter().map(last));
    names.retain(|name| !name.is_empty());
    let mut seen = std::collections::BTreeSet::new();
    names.retain(|name| seen.insert(name.clone()));
    names
}

/// The first of these that is there.
fn first_of(names: &[String], opening: &Opening<'_>) -> Result<Referred> {
    let mut first_error = None;
    for reference in names {
        match opening.siblings.refer(reference) {
            Ok(found) => return Ok(found),
            Err(error) => {
                first_error.get_or_insert(error);
            }
        }
    }
    let none = || Error::malformed("disk image", "parent", None, "no name", "the name of the parent image");
    Err(first_error
        .unwrap_or_else(none)
        .hint("put the parent image into the folder of the image that needs it"))
}
