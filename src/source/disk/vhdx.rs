//! VHDX (\[MS-VHDX\] 8.0): little-endian, in regions that begin at multiples of 1 MiB.
//!
//! | at | what |
//! |---|---|
//! | 0 | `vhdxfile` |
//! | 64 KiB, 128 KiB | two headers; the one with the higher sequence number and a right checksum counts |
//! | 192 KiB, 256 KiB | two region tables: where the block table (BAT) and the metadata are |
//!
//! The BAT has an entry a payload block, and after as many as a *chunk* has blocks one for the bitmap of sectors
//! that a differencing disk has of its own. A log that a writer left behind is replayed in memory, see `log`.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::cache::Tables;
use super::map::{Checked, Map, Mapped, Place};
use super::{Disk, DiskFormat, Opening};
use crate::bytes::{ReadAt, array_at, guid_text, le_u16, le_u32, le_u64, sum_holds};
use crate::error::{Error, Result, quoted};
use crate::limits::Limits;

mod log;

const FORMAT: &str = "VHDX";
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

const BAT: [u8; 16] = *b"\x66\x77\xc2\x2d\x23\xf6\x00\x42\x9d\x64\x11\x5e\x9b\xfd\x4a\x08";
const METADATA: [u8; 16] = *b"\x06\xa2\x7c\x8b\x90\x47\x9a\x4b\xb8\xfe\x57\x5f\x05\x0f\x88\x6e";
const FILE_PARAMETERS: [u8; 16] = *b"\x37\x67\xa1\xca\x36\xfa\x43\x4d\xb3\xb6\x33\xf0\xaa\x44\xe7\x6b";
const DISK_SIZE: [u8; 16] = *b"\x24\x42\xa5\x2f\x1b\xcd\x76\x48\xb2\x11\x5d\xbe\xd8\x3b\xf4\xb8";
const DISK_ID: [u8; 16] = *b"\xab\x12\xca\xbe\xe6\xb2\x23\x45\x93\xef\xc3\x09\xe0\x00\xc7\x46";
const LOGICAL_SECTOR: [u8; 16] = *b"\x1d\xbf\x41\x81\x6f\xa9\x09\x47\xba\x47\xf2\x33\xa8\xfa\xab\x5f";
const PHYSICAL_SECTOR: [u8; 16] = *b"\xc7\x48\xa3\xcd\x5d\x44\x71\x44\x9c\xc9\xe9\x88\x52\x51\xc5\x56";
const PARENT_LOCATOR: [u8; 16] = *b"\x2d\x5f\xd3\xa8\x0b\xb3\x4d\x45\xab\xf7\xd3\xd8\x48\x34\xab\x0c";

fn wrong<T>(
    field: &'static str,
    offset: impl Into<Option<u64>>,
    found: impl Into<String>,
    allowed: &str,
) -> Result<T> {
    Err(Error::malformed(FORMAT, field, offset, found, allowed))
}

/// CRC-32C of a structure in which the four bytes at 4 count as zero.
fn checksum(bytes: &[u8]) -> u32 {
    let (head, tail) = (bytes.get(..4).unwrap_or_default(), bytes.get(8..).unwrap_or_default());
    crc32c::crc32c_append(crc32c::crc32c_append(crc32c::crc32c(head), &[0; 4]), tail)
}

struct Header {
    sequence: u64,
    data_write: [u8; 16],
    log_guid: [u8; 16],
    log_bytes: u64,
    log_offset: u64,
}

impl Header {
    fn read(file: &dyn ReadAt, at: u64) -> Result<Self> {
        let mut bytes = [0; 4096];
        file.read_exact_at(at, &mut bytes)?;
        let (found, sum) = (le_u32(&bytes, 4), checksum(&bytes));
        if !bytes.starts_with(b"head") || !sum_holds(found, sum) {
            return wrong("header", at, format!("checksum {found:#x}"), &format!("`head` and {sum:#x}"));
        }
        let version = le_u16(&bytes, 66);
        if version != 1 {
            return Err(Error::unsupported(format!("VHDX version {version}")));
        }
        Ok(Header {
            sequence: le_u64(&bytes, 8),
            data_write: array_at(&bytes, 32),
            log_guid: array_at(&bytes, 48),
            log_bytes: u64::from(le_u32(&bytes, 68)),
            log_offset: le_u64(&bytes, 72),
        })
    }

    /// The current one of the two.
    fn current(file: &dyn ReadAt) -> Result<Self> {
        match (Header::read(file, 64 * KIB), Header::read(file, 128 * KIB)) {
            (Ok(first), Ok(second)) => Ok(if second.sequence > first.sequence { second } else { first }),
            (Ok(only), Err(_)) | (Err(_), Ok(only)) => Ok(only),
            (Err(error), Err(_)) => Err(error.hint("both headers are damaged")),
        }
    }
}

/// Where the regions are.
struct Regions {
    bat: (u64, u64),
    metadata: (u64, u64),
}

impl Regions {
    fn read(file: &dyn ReadAt, at: u64) -> Result<Self> {
        let mut bytes = vec![0; 65536];
        file.read_exact_at(at, &mut bytes)?;
        let (found, sum) = (le_u32(&bytes, 4), checksum(&bytes));
        if !bytes.starts_with(b"regi") || !sum_holds(found, sum) {
            return wrong(
                "region table",
                at,
                format!("checksum {found:#x}"),
                &format!("`regi` and {sum:#x}"),
            );
        }
        let count = le_u32(&bytes, 8);
        if count > 2047 {
            return wrong("region count", at.saturating_add(8), count.to_string(), "at most 2047");
        }
        let (mut bat, mut metadata) = (None, None);
        for entry in
            bytes.get(16..).unwrap_or_default().chunks_exact(32).take(usize::try_from(count).unwrap_or(0))
        {
            let guid: [u8; 16] = array_at(entry, 0);
            let (offset, len) = (le_u64(entry, 16), u64::from(le_u32(entry, 24)));
            let is_inside = offset.checked_add(len).is_some_and(|end| end <= file.size_bytes());
            if !is_inside || offset < MIB || offset.rem_euclid(MIB) != 0 {
                let found = format!("{len} bytes at {offset:#x}");
                let allowed = format!("whole MiB inside of the {} bytes of the file", file.size_bytes());
                let error = wrong("region", at, found, &allowed);
                let needs = offset.saturating_add(len);
                return match is_inside {
                    true => error,
                    false => error.map_err(|error| super::cut_off(error, needs, file.size_bytes())),
                };
            }
            match guid {
                BAT => bat = Some((offset, len)),
                METADATA => metadata = Some((offset, len)),
                _ if le_u32(entry, 28) & 1 != 0 => {
                    let guid = guid_text(&guid);
                    return Err(Error::unsupported(format!("VHDX with a required region {guid}")));
                }
                _ => {}
            }
        }
        match (bat, metadata) {
            (Some(bat), Some(metadata)) => Ok(Regions { bat, metadata }),
            _ => wrong("region table", at, "no BAT or no metadata", "both"),
        }
    }
}

/// What the metadata say of the disk.
struct Metadata {
    block_bytes: u64,
    size_bytes: u64,
    sector_bytes: u64,
    /// Of a differencing disk: its entries by name.
    parent: Option<BTreeMap<String, String>>,
}

impl Metadata {
    fn read(file: &dyn ReadAt, region: (u64, u64)) -> Result<Self> {
        let (start, region_bytes) = region;
        let mut table = vec![0; 65536];
        file.read_exact_at(start, &mut table)?;
        let count = le_u16(&table, 10);
        if !table.starts_with(b"metadata") || count > 2047 {
            return wrong("metadata table", start, format!("{count} entries"), "`metadata` and at most 2047");
        }
        let mut items: BTreeMap<[u8; 16], (u64, u64)> = BTreeMap::new();
        for entry in table.get(32..).unwrap_or_default().chunks_exact(32).take(usize::from(count)) {
            let guid: [u8; 16] = array_at(entry, 0);
            let (offset, len) = (u64::from(le_u32(entry, 16)), u64::from(le_u32(entry, 20)));
            let known =
                [FILE_PARAMETERS, DISK_SIZE, DISK_ID, LOGICAL_SECTOR, PHYSICAL_SECTOR, PARENT_LOCATOR];
            if !known.contains(&guid) {
                if le_u32(entry, 24) & 4 != 0 {
                    let guid = guid_text(&guid);
                    return Err(Error::unsupported(format!("VHDX with a required metadata item {guid}")));
                }
                continue;
            }
            if offset.saturating_add(len) > region_bytes || len > MIB {
                let found = format!("{len} bytes at {offset:#x} of the region");
                return wrong("metadata item", start, found, "at most 1 MiB inside of the region");
            }
            items.insert(guid, (start.saturating_add(offset), len));
        }
        let item = |guid: [u8; 16], name: &'static str, least: u64| -> Result<(u64, Vec<u8>)> {
            match items.get(&guid) {
                Some((offset, len)) if *len >= least => {
                    let mut bytes = vec![0; usize::try_from(*len).unwrap_or_default()];
                    file.read_exact_at(*offset, &mut bytes)?;
                    Ok((*offset, bytes))
                }
                _ => wrong(name, start, "none", &format!("a metadata item of {least} bytes")),
            }
        };
        let (at, parameters) = item(FILE_PARAMETERS, "file parameters", 8)?;
        let block_bytes = u64::from(le_u32(&parameters, 0));
        if !block_bytes.is_power_of_two() || !(MIB..=256 * MIB).contains(&block_bytes) {
            return wrong("block size", at, block_bytes.to_string(), "a power of two, 1 to 256 MiB");
        }
        let (at, sector) = item(LOGICAL_SECTOR, "logical sector size", 4)?;
        let sector_bytes = u64::from(le_u32(&sector, 0));
        if !matches!(sector_bytes, 512 | 4096) {
            return wrong("logical sector size", at, sector_bytes.to_string(), "512 or 4096");
        }
        let (at, size) = item(DISK_SIZE, "virtual disk size", 8)?;
        let size_bytes = le_u64(&size, 0);
        if size_bytes > 64 << 40 || size_bytes.rem_euclid(sector_bytes) != 0 {
            return wrong("virtual disk size", at, size_bytes.to_string(), "whole sectors, at most 64 TiB");
        }
        let parent = match le_u32(&parameters, 4) & 2 != 0 {
            true => Some(locator(item(PARENT_LOCATOR, "parent locator", 20)?)?),
            false => None,
        };
        Ok(Metadata { block_bytes, size_bytes, sector_bytes, parent })
    }
}

/// The entries of a parent locator: names and values in UTF-16.
fn locator((at, bytes): (u64, Vec<u8>)) -> Result<BTreeMap<String, String>> {
    const OF_VHDX: [u8; 16] = *b"\xb7\xef\x4a\xb0\x9e\xd1\x81\x4a\xb7\x89\x25\xb8\xe9\x44\x59\x13";
    let kind: [u8; 16] = array_at(&bytes, 0);
    if kind != OF_VHDX {
        return Err(Error::unsupported(format!("a VHDX parent locator of type {}", guid_text(&kind))));
    }
    let mut all = BTreeMap::new();
    for entry in bytes.get(20..).unwrap_or_default().chunks_exact(12).take(usize::from(le_u16(&bytes, 18))) {
        let text = |offset: u32, len: u16| -> Result<String> {
            let start = usize::try_from(offset).unwrap_or(usize::MAX);
            let part = start.checked_add(usize::from(len)).and_then(|end| bytes.get(start..end));
            match part {
                Some(part) => {
                    Ok(super::utf16(part.chunks_exact(2).map(|pair| u16::from_le_bytes(array_at(pair, 0)))))
                }
                None => {
                    wrong("parent locator", at, format!("{len} bytes at {offset:#x}"), "inside of the item")
                }
            }
        };
        let key = text(le_u32(entry, 0), le_u16(entry, 8))?;
        all.insert(key, text(le_u32(entry, 4), le_u16(entry, 10))?);
    }
    Ok(all)
}

/// What is read of a file after its log has been replayed.
struct Opened {
    file: Arc<dyn ReadAt>,
    regions: Regions,
    metadata: Metadata,
}

impl Opened {
    fn new(file: Arc<dyn ReadAt>, opening: &Opening<'_>, notes: &mut Vec<String>) -> Result<Self> {
        let header = Header::current(&*file)?;
        let file = match header.log_guid == [0; 16] {
            true => file,
            false => log::replayed(file, &header, opening.limits, notes)?,
        };
        let regions = Regions::read(&*file, 192 * KIB)
            .or_else(|error| Regions::read(&*file, 256 * KIB).map_err(|_| error))?;
        let metadata = Metadata::read(&*file, regions.metadata)?;
        Ok(Opened { file, regions, metadata })
    }
}

pub(super) fn open(file: Arc<dyn ReadAt>, opening: &mut Opening<'_>) -> Result<Disk> {
    let mut notes = Vec::new();
    let opened = Opened::new(file, opening, &mut notes)?;
    let parent = match &opened.metadata.parent {
        Some(locator) => Some(parent(locator, opening)?),
        None => None,
    };
    let map = Vhdx::new(opened, parent.is_some(), opening)?;
    let parent_data = parent.as_ref().map(|(_, disk)| Arc::clone(&disk.data));
    let data = Mapped::new(map, parent_data, &opening.cache);
    let Checked { notes: more, mut doubts } = data.check(opening.limits);
    notes.extend(more);
    let (needs, file_bytes) = (data.map.blocks_end(opening.limits)?, data.map.tables.file.size_bytes());
    if doubts.is_empty() && needs > file_bytes {
        doubts.push(format!(
            "the file ends at byte {file_bytes}, and its blocks at byte {needs}: it is cut off; fetch or copy it again"
        ));
    }
    let data = Arc::new(data);
    Ok(Disk { data, format: DiskFormat::Vhdx, parents: Vec::new(), notes, doubts }.over(parent))
}

fn parent(locator: &BTreeMap<String, String>, opening: &mut Opening<'_>) -> Result<(String, Disk)> {
    let paths = |keys: &[&str]| keys.iter().filter_map(|key| locator.get(*key).cloned()).collect();
    let names =
        super::windows_names(paths(&["relative_path"]), paths(&["absolute_win32_path", "volume_path"]));
    let found = super::first_of(&names, opening)?;
    let (name, file) = (&found.name, &found.file);
    if super::kind(&**file)? == Some(DiskFormat::Vhdx) {
        let has = guid_text(&Header::current(&**file)?.data_write);
        let wants =
            |key: &str| locator.get(key).map(|text| text.trim_matches(['{', '}']).to_ascii_lowercase());
        let all = [wants("parent_linkage"), wants("parent_linkage2")];
        if !all.iter().flatten().any(|want| *want == has) {
            let found = format!("{} has {has}", quoted(name));
            let allowed = all.into_iter().flatten().collect::<Vec<_>>().join(" or ");
            return wrong("parent linkage", None, found, &format!("{allowed}: the parent was changed"));
        }
    }
    opening.referred(found, Some(DiskFormat::Vhdx))
}

struct Vhdx {
    tables: Tables,
    bat: u64,
    block_bytes: u64,
    size_bytes: u64,
    /// Payload blocks before each bitmap block.
    chunk_blocks: u64,
    sector_bytes: u64,
    is_differencing: bool,
}

impl Vhdx {
    fn new(opened: Opened, is_differencing: bool, opening: &Opening<'_>) -> Result<Self> {
        let Metadata { block_bytes, size_bytes, sector_bytes, .. } = opened.metadata;
        let chunk_blocks = sector_bytes.saturating_mul(1 << 23).div_euclid(block_bytes).max(1);
        let blocks = size_bytes.div_ceil(block_bytes);
        let entries = match is_differencing {
            true => blocks.div_ceil(chunk_blocks).saturating_mul(chunk_blocks.saturating_add(1)),
            false => blocks.saturating_add(blocks.saturating_sub(1).div_euclid(chunk_blocks)),
        };
        let (bat, len) = opened.regions.bat;
        if entries.saturating_mul(8) > len {
            return wrong("BAT", bat, format!("{len} bytes"), &format!("{entries} entries of 8 bytes"));
        }
        let tables = Tables::new(opened.file, &opening.cache);
        Ok(Vhdx { tables, bat, block_bytes, size_bytes, chunk_blocks, sector_bytes, is_differencing })
    }

    /// Where the last block of the file ends. All are whole, also that in which the disk ends.
    fn blocks_end(&self, limits: &Limits) -> Result<u64> {
        let blocks = self.size_bytes.div_ceil(self.block_bytes);
        let entries = blocks.saturating_add(blocks.saturating_sub(1).div_euclid(self.chunk_blocks));
        let mut last = 0;
        for index in 0..entries.min(limits.disk_map_steps.max) {
            let (state, start, _) = self.entry(index)?;
            // Behind each chunk is the entry of its bitmap.
            let in_chunk = index.rem_euclid(self.chunk_blocks.saturating_add(1));
            let len = if in_chunk == self.chunk_blocks { MIB } else { self.block_bytes };
            if matches!(state, 6 | 7) {
                last = start.saturating_add(len).max(last);
            }
        }
        Ok(last)
    }

    /// State and file offset of an entry, and where it is.
    fn entry(&self, index: u64) -> Result<(u64, u64, u64)> {
        let at = self.bat.saturating_add(index.saturating_mul(8));
        let entry = u64::from_le_bytes(self.tables.array(at)?);
        Ok((entry & 7, entry & !0xf_ffff, at))
    }

    fn stored(&self, start: u64, within: u64, len: u64, at: u64) -> Result<Place> {
        let from = start.saturating_add(within);
        if start < MIB || from.saturating_add(len) > self.tables.file.size_bytes() {
            let file_bytes = self.tables.file.size_bytes();
            let allowed = format!("inside of the {file_bytes} bytes of the file");
            return wrong("BAT", at, format!("a block at {start:#x}"), &allowed)
                .map_err(|error| super::cut_off(error, from.saturating_add(len), file_bytes));
        }
        Ok(Place::Stored(Arc::clone(&self.tables.file), from))
    }

    /// A place in a block of which only some sectors are its own.
    fn partial(&self, block: u64, start: u64, within: u64, len: u64, at: u64) -> Result<(Place, u64)> {
        let (chunk, in_chunk) = (block.div_euclid(self.chunk_blocks), block.rem_euclid(self.chunk_blocks));
        let index = chunk.saturating_add(1).saturating_mul(self.chunk_blocks).saturating_add(chunk);
        let (state, bitmap, bitmap_at) = self.entry(index)?;
        if state != 6 {
            return wrong("BAT", bitmap_at, format!("a bitmap block of state {state}"), "6 (present)");
        }
        self.stored(bitmap, 0, MIB, bitmap_at)?;
        // A bit a logical sector; `bitmap_run` counts in sectors of 512.
        let scale = self.sector_bytes.div_euclid(512);
        let before = in_chunk.saturating_mul(self.block_bytes.div_euclid(self.sector_bytes)).div_euclid(8);
        let (is_own, run) = super::bitmap_run(within.div_euclid(scale), len.div_ceil(scale), |byte| {
            let [bits] = self.tables.array(bitmap.saturating_add(before).saturating_add(byte))?;
            Ok(bits)
        })?;
        let end = within.div_euclid(scale).saturating_add(run).saturating_mul(scale);
        let run = end.saturating_sub(within).min(len).max(1);
        match is_own {
            true => Ok((self.stored(start, within, run, at)?, run)),
            false => Ok((Place::Parent, run)),
        }
    }
}

impl Map for Vhdx {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn place(&self, offset: u64) -> Result<(Place, u64)> {
        let (block, within) = (offset.div_euclid(self.block_bytes), offset.rem_euclid(self.block_bytes));
        let len = self.block_bytes.saturating_sub(within).min(self.size_bytes.saturating_sub(offset));
        let (state, start, at) = self.entry(block.saturating_add(block.div_euclid(self.chunk_blocks)))?;
        match state {
            0 => Ok((Place::Parent, len)),
            // Undefined, zero and unmapped: zeros, as hypervisors read them.
            1..=3 => Ok((Place::Zero, len)),
            6 => Ok((self.stored(start, within, len, at)?, len)),
            7 if self.is_differencing => self.partial(block, start, within, len, at),
            other => {
                wrong("BAT", at, format!("a block of state {other}"), "0 to 3 or 6, with a parent also 7")
            }
        }
    }
}
