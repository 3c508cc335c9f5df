//! VHD (Virtual Hard Disk Image Format Specification 1.0). Big-endian.
//!
//! | at | bytes | footer | | at | bytes | dynamic header |
//! |---|---|---|---|---|---|---|
//! | 0 | 8 | `conectix` | | 0 | 8 | `cxsparse` |
//! | 16 | 8 | offset of the dynamic header | | 16 | 8 | offset of the block table |
//! | 48 | 8 | guest size | | 28 | 4 | its entries |
//! | 60 | 4 | 2 fixed, 3 dynamic, 4 differencing | | 32 | 4 | block size |
//! | 64 | 4 | checksum | | 36 | 4 | checksum |
//! | 68 | 16 | unique id | | 40 | 16 | unique id of the parent |
//! | | | | | 64 | 512 | name of the parent, UTF-16 |
//! | | | | | 576 | 8 x 24 | where the parent is, by platform |
//!
//! The footer is the last sector; a dynamic disk has a copy in the first one, which serves where the last is
//! damaged. A block has a bitmap of its sectors, then its sectors. Of a differencing disk the bitmap says which
//! sectors are its own; of a dynamic one every sector of a block is, as hypervisors read it.

use std::sync::Arc;

use super::cache::Tables;
use super::map::{Map, Mapped, Place};
use super::{Disk, DiskFormat, Opening};
use crate::bytes::{ReadAt, Section, array_at, be_u32, be_u64, sum_holds, uuid_text};
use crate::error::{Error, Result, quoted};

const FORMAT: &str = "VHD";
pub(super) const COOKIE: &[u8] = b"conectix";
const SECTOR_BYTES: u64 = 512;
const FREE: u32 = 0xffff_ffff;

fn wrong<T>(
    field: &'static str,
    offset: impl Into<Option<u64>>,
    found: impl Into<String>,
    allowed: &str,
) -> Result<T> {
    Err(Error::malformed(FORMAT, field, offset, found, allowed))
}

/// Where the footer begins: the last sector, or, as older versions wrote it, the last 511 bytes.
fn footer_offset(file: &dyn ReadAt) -> Result<Option<u64>> {
    for len in [512, 511] {
        let Some(at) = file.size_bytes().checked_sub(len) else { continue };
        let mut cookie = [0; 8];
        file.read_exact_at(at, &mut cookie)?;
        if cookie == COOKIE {
            return Ok(Some(at));
        }
    }
    Ok(None)
}

/// Whether the file, of which these are the first bytes, is a VHD: a dynamic one begins with a copy of its footer, a
/// fixed one has as many bytes before its footer as that says. Another file that ends so is a raw disk, see [`tail`].
pub(super) fn is_one(head: &[u8], file: &dyn ReadAt) -> Result<bool> {
    if head.starts_with(COOKIE) {
        return Ok(true);
    }
    let Some(at) = footer_offset(file)? else { return Ok(false) };
    Ok(Footer::read(file, at).is_ok_and(|footer| footer.kind == 2 && footer.size_bytes == at))
}

/// Why a raw disk that ends with the footer of a VHD may be something else; `None` if it does not.
pub(super) fn tail(file: &dyn ReadAt) -> Result<Option<String>> {
    let Some(at) = footer_offset(file)? else { return Ok(None) };
    let said = match Footer::read(file, at) {
        Ok(footer) if footer.kind == 2 => format!("fixed, of {} bytes, and has {at}", footer.size_bytes),
        Ok(_) => "dynamic, which begins with a copy of its footer, and it does not".to_owned(),
        Err(error) => format!("damaged: {error}"),
    };
    Ok(Some(format!(
        "it ends with the footer of a VHD that is {said}: it was read as a raw disk (hint: cut the footer off, or repair the VHD)"
    )))
}

/// The one's complement of the sum of all bytes but its own.
fn checksum(bytes: &[u8], own: usize) -> u32 {
    let is_own = |at: usize| (own..own.saturating_add(4)).contains(&at);
    let sum = bytes.iter().enumerate().filter(|(at, _)| !is_own(*at));
    !sum.fold(0u32, |sum, (_, byte)| sum.wrapping_add(u32::from(*byte)))
}

struct Footer {
    header_offset: u64,
    size_bytes: u64,
    kind: u32,
    id: [u8; 16],
}

impl Footer {
    fn read(file: &dyn ReadAt, at: u64) -> Result<Self> {
        let mut bytes = [0; 512];
        let len = if file.size_bytes().saturating_sub(at) == 511 { 511 } else { 512 };
        file.read_exact_at(at, bytes.get_mut(..len).unwrap_or_default())?;
        let (found, sum) = (be_u32(&bytes, 64), checksum(&bytes, 64));
        if !bytes.starts_with(COOKIE) || !sum_holds(found, sum) {
            return wrong(
                "footer checksum",
                at.saturating_add(64),
                format!("{found:#x}"),
                &format!("the sum {sum:#x}"),
            );
        }
        let version = be_u32(&bytes, 12);
        if version >> 16 != 1 {
            return Err(Error::unsupported(format!("VHD version {version:#x}")));
        }
        Ok(Footer {
            header_offset: be_u64(&bytes, 16),
            size_bytes: be_u64(&bytes, 48),
            kind: be_u32(&bytes, 60),
            id: array_at(&bytes, 68),
        })
    }

    /// That at the end, or its copy at the beginning.
    fn of(file: &dyn ReadAt, notes: &mut Vec<String>) -> Result<Self> {
        let last = match footer_offset(file)? {
            Some(at) => Footer::read(file, at),
            None => wrong("footer", file.size_bytes().saturating_sub(512), "something else", "`conectix`"),
        };
        last.or_else(|error| match Footer::read(file, 0) {
            Ok(copy) if copy.kind != 2 => {
                notes.push(format!("the footer is damaged, its copy was used: {error}"));
                Ok(copy)
            }
            _ => Err(error),
        })
    }
}

pub(super) fn open(file: Arc<dyn ReadAt>, opening: &mut Opening<'_>) -> Result<Disk> {
    let (mut notes, mut doubts) = (Vec::new(), Vec::new());
    if footer_offset(&*file)?.is_none() {
        let size_bytes = file.size_bytes();
        doubts.push(format!(
            "the file ends at byte {size_bytes} without the footer that a VHD ends with: it is cut off; fetch or copy it again"
        ));
    }
    let footer = Footer::of(&*file, &mut notes)?;
    let disk =
        |data, notes, doubts| Disk { data, format: DiskFormat::Vhd, parents: Vec::new(), notes, doubts };
    match footer.kind {
        2 => Ok(disk(Arc::new(Section::new(file, 0, footer.size_bytes)?), notes, doubts)),
        3 | 4 => {
            let header = Header::read(&*file, &footer)?;
            let parent = match footer.kind {
                4 => Some(header.parent(&*file, opening)?),
                _ => None,
            };
            let parent_data = parent.as_ref().map(|(_, disk)| Arc::clone(&disk.data));
            let map = Vhd {
                tables: Tables::new(file, &opening.cache),
                is_differencing: footer.kind == 4,
                size_bytes: footer.size_bytes,
                header,
            };
            let data = Mapped::new(map, parent_data, &opening.cache);
            let checked = data.check(opening.limits);
            notes.extend(checked.notes);
            doubts.extend(checked.doubts);
            Ok(disk(Arc::new(data), notes, doubts).over(parent))
        }
        other => wrong("disk type", 60, other.to_string(), "2 (fixed), 3 (dynamic) or 4 (differencing)"),
    }
}

struct Header {
    table_offset: u64,
    block_bytes: u64,
    /// Of the bitmap before each block.
    bitmap_bytes: u64,
    parent_id: [u8; 16],
    /// Names that the parent may have, the likeliest first.
    bytes: Box<[u8; 1024]>,
}

impl Header {
    fn read(file: &dyn ReadAt, footer: &Footer) -> Result<Self> {
        let at = footer.header_offset;
        let mut bytes = Box::new([0; 1024]);
        file.read_exact_at(at, &mut *bytes)?;
        let (found, sum) = (be_u32(&*bytes, 36), checksum(&*bytes, 36));
        if !bytes.starts_with(b"cxsparse") || !sum_holds(found, sum) {
            return wrong(
                "dynamic header",
                at,
                format!("checksum {found:#x}"),
                &format!("`cxsparse` and the sum {sum:#x}"),
            );
        }
        let block_bytes = u64::from(be_u32(&*bytes, 32));
        if !block_bytes.is_power_of_two() || block_bytes < SECTOR_BYTES {
            return wrong(
                "block size",
                at.saturating_add(32),
                block_bytes.to_string(),
                "a power of two from 512 on",
            );
        }
        let (table_offset, entries) = (be_u64(&*bytes, 16), u64::from(be_u32(&*bytes, 28)));
        if footer.size_bytes > entries.saturating_mul(block_bytes) {
            let found = format!("{entries} blocks of {block_bytes} for {} bytes", footer.size_bytes);
            return wrong("table entries", at.saturating_add(28), found, "as many as the guest size needs");
        }
        if table_offset.saturating_add(entries.saturating_mul(4)) > file.size_bytes() {
            let found = format!("{entries} entries at {table_offset:#x}");
            return wrong(
                "block table",
                at.saturating_add(16),
                found,
                &format!("inside of the {} bytes of the file", file.size_bytes()),
            );
        }
        let sectors = block_bytes.div_euclid(SECTOR_BYTES);
        let bitmap_bytes = sectors.div_ceil(8).next_multiple_of(SECTOR_BYTES);
        Ok(Header { table_offset, block_bytes, bitmap_bytes, parent_id: array_at(&*bytes, 40), bytes })
    }

    /// The names that the parent may have: of its relative path, then the last parts of its absolute path and
    /// of its name.
    fn parent_names(&self, file: &dyn ReadAt) -> Result<Vec<String>> {
        let mut relative = Vec::new();
        let mut absolute = Vec::new();
        for index in 0..8usize {
            let at = index.saturating_mul(24).saturating_add(576);
            let code: [u8; 4] = array_at(&*self.bytes, at);
            let len = be_u32(&*self.bytes, at.saturating_add(8));
            let offset = be_u64(&*self.bytes, at.saturating_add(16));
            if &code != b"W2ru" && &code != b"W2ku" {
                continue;
            }
            if len > 4096 || !len.is_multiple_of(2) {
                let field_at = self.table_offset.max(offset);
                return wrong(
                    "parent locator",
                    field_at,
                    format!("{len} bytes"),
                    "an even number up to 4096",
                );
            }
            let mut name = vec![0; usize::try_from(len).unwrap_or_default()];
            file.read_exact_at(offset, &mut name)?;
            let name = super::utf16(name.chunks_exact(2).map(|pair| u16::from_le_bytes(array_at(pair, 0))));
            if &code == b"W2ru" { relative.push(name) } else { absolute.push(name) }
        }
        let name = self.bytes.get(64..576).unwrap_or_default();
        absolute.push(super::utf16(name.chunks_exact(2).map(|pair| u16::from_be_bytes(array_at(pair, 0)))));
        Ok(super::windows_names(relative, absolute))
    }

    fn parent(&self, file: &dyn ReadAt, opening: &mut Opening<'_>) -> Result<(String, Disk)> {
        let names = self.parent_names(file)?;
        let found = super::first_of(&names, opening)?;
        if super::kind(&*found.file)? == Some(DiskFormat::Vhd) {
            let id = Footer::of(&*found.file, &mut Vec::new())?.id;
            if id != self.parent_id {
                let other = format!("{} has {}", quoted(&found.name), uuid_text(&id));
                return wrong("parent id", None, other, &uuid_text(&self.parent_id));
            }
        }
        opening.referred(found, Some(DiskFormat::Vhd))
    }
}

struct Vhd {
    tables: Tables,
    header: Header,
    is_differencing: bool,
    size_bytes: u64,
}

impl Map for Vhd {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn place(&self, offset: u64) -> Result<(Place, u64)> {
        let block_bytes = self.header.block_bytes;
        let (block, within) = (offset.div_euclid(block_bytes), offset.rem_euclid(block_bytes));
        let at = self.header.table_offset.saturating_add(block.saturating_mul(4));
        let len = block_bytes.saturating_sub(within).min(self.size_bytes.saturating_sub(offset));
        let bitmap = match u32::from_be_bytes(self.tables.array(at)?) {
            FREE => return Ok((Place::Parent, len)),
            sector => u64::from(sector).saturating_mul(SECTOR_BYTES),
        };
        let from = bitmap.saturating_add(self.header.bitmap_bytes).saturating_add(within);
        if from.saturating_add(len) > self.tables.file.size_bytes() {
            let file_bytes = self.tables.file.size_bytes();
            let allowed = format!("inside of the {file_bytes} bytes of the file");
            return wrong("block table", at, format!("a block at {bitmap:#x}"), &allowed)
                .map_err(|error| super::cut_off(error, from.saturating_add(len), file_bytes));
        }
        if !self.is_differencing {
            return Ok((Place::Stored(Arc::clone(&self.tables.file), from), len));
        }
        let (is_own, run) = super::bitmap_run(within, len, |byte| {
            // The first sector of a byte is its highest bit.
            let [bits] = self.tables.array(bitmap.saturating_add(byte))?;
            Ok(u8::reverse_bits(bits))
        })?;
        let place = if is_own { Place::Stored(Arc::clone(&self.tables.file), from) } else { Place::Parent };
        Ok((place, run))
    }
}
