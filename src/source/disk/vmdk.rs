//! VMDK (VMware Virtual Disk Format 5.0): a text that describes the disk, and extents that hold it.
//!
//! The descriptor is a file of its own, or lies in a sparse extent that is the whole disk. Its lines name the
//! extents: `RW 4192256 SPARSE "web-s001.vmdk"`, `RW 4192256 FLAT "web-flat.vmdk" 0`, `RW 8192 ZERO`.
//!
//! | at | bytes | header of a sparse extent (little-endian) | | at | bytes | |
//! |---|---|---|---|---|---|---|
//! | 0 | 4 | `KDMV` | | 44 | 4 | entries of a grain table |
//! | 4 | 4 | version, 1 to 3 | | 48 | 8 | sector of the redundant grain directory |
//! | 8 | 4 | flags | | 56 | 8 | sector of the grain directory; all ones: see the footer |
//! | 12 | 8 | size in sectors | | 64 | 8 | sectors of metadata |
//! | 20 | 8 | sectors of a grain | | 73 | 4 | line ends, to notice text transfers |
//! | 28 | 8, 8 | descriptor: sector, sectors | | 77 | 2 | compression: 0 none, 1 deflate |
//!
//! A grain directory entry is the sector of a grain table, its entries are the sectors of grains; 0 is nowhere
//! (the parent, or zeros), 1 is zeros where the flags say so. Where the grain directory is damaged, the redundant
//! one serves. A stream-optimised disk has its grains deflated behind a marker, and its grain directory told by
//! a footer 1024 bytes before the end.

use std::io::Read as _;
use std::sync::Arc;

use super::cache::{Cache, Tables};
use super::map::{Checked, Joined, Map, Mapped, Part, Place};
use super::{Disk, DiskFormat, Opening};
use crate::bytes::{self, ReadAt, Section, array_at, le_u16, le_u32, le_u64};
use crate::error::{Error, Result, ResultExt as _, quoted};
use crate::limits::Limits;

const FORMAT: &str = "VMDK";
const MAGIC: &[u8] = b"KDMV";
const TEXT_MAGIC: &[u8] = b"# Disk DescriptorFile";
const SECTOR_BYTES: u64 = 512;
/// The CID of the parent of a disk that has none.
const NO_PARENT: &str = "ffffffff";

/// Whether these first bytes are those of a VMDK, or of an extent of one.
pub(super) fn is_one(head: &[u8]) -> bool {
    let start = head.iter().position(|byte| !byte.is_ascii_whitespace()).unwrap_or(0);
    let text = head.get(start..).unwrap_or_default();
    head.starts_with(MAGIC)
        || head.starts_with(b"COWD")
        || array_at(head, 0) == SESPARSE_MAGIC
        || text.get(..TEXT_MAGIC.len()).is_some_and(|text| text.eq_ignore_ascii_case(TEXT_MAGIC))
}

/// `0x00000000cafebabe` of a SESPARSE extent.
const SESPARSE_MAGIC: [u8; 8] = [0xbe, 0xba, 0xfe, 0xca, 0, 0, 0, 0];

fn wrong<T>(
    field: &'static str,
    offset: impl Into<Option<u64>>,
    found: impl Into<String>,
    allowed: &str,
) -> Result<T> {
    Err(Error::malformed(FORMAT, field, offset, found, allowed))
}

/// What the text says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Descriptor {
    cid: String,
    parent_cid: Option<String>,
    parent_hint: Option<String>,
    create_type: String,
    extents: Vec<Extent>,
}

/// A line of the text that names an extent.
#[derive(Debug, PartialEq, Eq)]
struct Extent {
    is_readable: bool,
    sectors: u64,
    kind: String,
    file: Option<String>,
    /// Sectors into the file.
    offset: u64,
}

impl Descriptor {
    fn parse(text: &[u8], opening: &Opening<'_>) -> Result<Self> {
        let text = String::from_utf8_lossy(text);
        let mut all = Descriptor::default();
        for line in text.split(['\n', '\0']).map(str::trim) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let access = line.split_ascii_whitespace().next().unwrap_or_default();
            if matches!(access, "RW" | "RDONLY" | "NOACCESS") {
                let Some(extent) = extent(line) else {
                    return wrong("extent", None, quoted(line), "access, sectors, type, \"file\" and offset");
                };
                all.extents.push(extent);
                opening.limits.disk_extents.check(bytes::size_of_len(all.extents.len()))?;
                continue;
            }
            let Some((key, value)) = line.split_once('=') else { continue };
            let value = value.trim().trim_matches('"').to_owned();
            match key.trim().to_ascii_lowercase().as_str() {
                "cid" => all.cid = value.to_ascii_lowercase(),
                "parentcid" => all.parent_cid = Some(value.to_ascii_lowercase()),
                "parentfilenamehint" => all.parent_hint = Some(value),
                "createtype" => all.create_type = value,
                _ => {}
            }
        }
        Ok(all)
    }

    /// Opens the parent, if the disk has one.
    fn parent(&self, opening: &mut Opening<'_>) -> Result<Option<(String, Disk)>> {
        if self.parent_cid.as_deref().is_none_or(|cid| cid == NO_PARENT) {
            return Ok(None);
        }
        let Some(hint) = self.parent_hint.clone() else {
            return wrong("parent", None, "a parent CID and no file name", "both or none");
        };
        let (name, disk) = opening.parent(&hint, None)?;
        let cid = cid_of(&*opening.siblings.refer(&hint)?.file, opening)?;
        let want = self.parent_cid.clone().unwrap_or_default();
        if let Some(cid) = cid.filter(|cid| *cid != want) {
            let found = format!("{} has {cid}", quoted(&name));
            return wrong("parent CID", None, found, &format!("{want}: the parent was changed"));
        }
        Ok(Some((name, disk)))
    }
}

/// The CID of a VMDK; `None` for other formats.
fn cid_of(file: &dyn ReadAt, opening: &Opening<'_>) -> Result<Option<String>> {
    let head: [u8; 512] = match file.size_bytes() {
        0..512 => [0; 512],
        _ => {
            let mut head = [0; 512];
            file.read_exact_at(0, &mut head)?;
            head
        }
    };
    let text = if head.starts_with(MAGIC) {
        Sparse::header(file, 0)?.descriptor(file, opening)?
    } else if is_one(&head) {
        bytes::read_all(file, opening.limits.disk_descriptor_bytes)?
    } else {
        return Ok(None);
    };
    Ok(Some(Descriptor::parse(&text, opening)?.cid))
}

/// `RW 4192256 SPARSE "web-s001.vmdk" 0`
fn extent(line: &str) -> Option<Extent> {
    let (before, quoted) = match line.split_once('"') {
        Some((before, rest)) => (before, Some(rest.rsplit_once('"')?)),
        None => (line, None),
    };
    let mut words = before.split_ascii_whitespace();
    let access = words.next()?;
    let sectors = words.next()?.parse().ok()?;
    let kind = words.next()?.to_ascii_uppercase();
    let (file, behind) = match quoted {
        Some((file, behind)) => (Some(file.to_owned()), behind),
        None => (None, ""),
    };
    let offset = match behind.split_ascii_whitespace().next() {
        Some(offset) => offset.parse().ok()?,
        None => 0,
    };
    Some(Extent { is_readable: access != "NOACCESS", sectors, kind, file, offset })
}

pub(super) fn open(name: &str, file: Arc<dyn ReadAt>, opening: &mut Opening<'_>) -> Result<Disk> {
    let mut head = [0; 8];
    file.read_exact_at(0, &mut head)?;
    if head.starts_with(b"COWD") {
        return Err(Error::unsupported("a COWD extent of an old ESX server"));
    }
    if head == SESPARSE_MAGIC {
        return Err(Error::unsupported("a SESPARSE extent: a snapshot of an ESXi server")
            .hint("consolidate the snapshot, or export the machine as OVF"));
    }
    if !head.starts_with(MAGIC) {
        let text = bytes::read_all(&*file, opening.limits.disk_descriptor_bytes)?;
        return described(&Descriptor::parse(&text, opening)?, opening);
    }
    let header = Sparse::header(&*file, 0)?;
    let text = header.descriptor(&*file, opening)?;
    let descriptor = Descriptor::parse(&text, opening)?;
    if header.sectors == 0 && !descriptor.extents.is_empty() {
        return described(&descriptor, opening);
    }
    let mut told = Checked::default();
    if text.is_empty() {
        told.notes.push(format!(
            "`{name}` is an extent without descriptor: if the disk has others, name its descriptor instead"
        ));
    }
    let parent = descriptor.parent(opening)?;
    let parent_data = parent.as_ref().map(|(_, disk)| Arc::clone(&disk.data));
    let data = Sparse::open(file, parent_data, (&opening.cache, opening.limits), &mut told)?;
    let Checked { notes, doubts } = told;
    Ok(Disk { data, format: DiskFormat::Vmdk, parents: Vec::new(), notes, doubts }.over(parent))
}

/// The disk that a text describes.
fn described(descriptor: &Descriptor, opening: &mut Opening<'_>) -> Result<Disk> {
    if descriptor.extents.is_empty() {
        return wrong("descriptor", None, "no extents", "at least one");
    }
    let mut told = Checked::default();
    let parent = descriptor.parent(opening)?;
    let mut joined = Joined::new();
    for extent in &descriptor.extents {
        let place = || match &extent.file {
            Some(file) => format!("extent `{file}`"),
            None => "extent".to_owned(),
        };
        let below = parent.as_ref().map(|(_, disk)| &disk.data);
        let size_bytes = extent.sectors.checked_mul(SECTOR_BYTES).ok_or_else(|| {
            Error::malformed(FORMAT, "extent", None, extent.sectors.to_string(), "sectors below 2^55")
        })?;
        let part = extent_part(extent, below, joined.size_bytes(), opening, &mut told).at(place)?;
        joined.push(part, size_bytes).at(place)?;
    }
    let data = Arc::new(Mapped::new(joined, None, &opening.cache));
    let Checked { notes, doubts } = told;
    Ok(Disk { data, format: DiskFormat::Vmdk, parents: Vec::new(), notes, doubts }.over(parent))
}

/// Opens one extent; `start` is where it begins in the disk, `below` is the whole disk's parent.
fn extent_part(
    extent: &Extent,
    below: Option<&Arc<dyn ReadAt>>,
    start: u64,
    opening: &Opening<'_>,
    told: &mut Checked,
) -> Result<Part> {
    if !extent.is_readable {
        return Err(Error::unsupported("an extent marked NOACCESS"));
    }
    let open = || match &extent.file {
        Some(file) => opening
            .siblings
            .refer(file)
            .map(|referred| referred.file)
            .map_err(|error| error.hint("put all files of the VMDK into one folder")),
        None => wrong("extent", None, "no file", "the name of one"),
    };
    match extent.kind.as_str() {
        "ZERO" => Ok(Part::Zero),
        "FLAT" | "VMFS" => {
            let offset = extent.offset.saturating_mul(SECTOR_BYTES);
            Ok(Part::File(open()?, offset))
        }
        "SPARSE" => {
            let file = open()?;
            let size_bytes = extent.sectors.saturating_mul(SECTOR_BYTES);
            let part = below.and_then(|below| {
                let left = below.size_bytes().checked_sub(start)?;
                Section::new(Arc::clone(below), start, left.min(size_bytes)).ok()
            });
            let part = part.map(|part| -> Arc<dyn ReadAt> { Arc::new(part) });
            Ok(Part::File(Sparse::open(file, part, (&opening.cache, opening.limits), told)?, 0))
        }
        "VMFSSPARSE" => Err(Error::unsupported("a COWD extent of an ESX server")),
        "SESPARSE" => Err(Error::unsupported("a SESPARSE extent: a snapshot of an ESXi server")
            .hint("consolidate the snapshot, or export the machine as OVF")),
        other => Err(Error::unsupported(format!("an extent of type {}", quoted(other)))),
    }
}

/// Whether the last sector is an end-of-stream marker, which is zeros, as is what QEMU fills the last grain with.
fn ends_as_stream(file: &dyn ReadAt) -> Result<bool> {
    let size_bytes = file.size_bytes();
    let mut last = [1; 512];
    let Some(at) = size_bytes.checked_sub(SECTOR_BYTES).filter(|at| at.is_multiple_of(SECTOR_BYTES)) else {
        return Ok(false);
    };
    file.read_exact_at(at, &mut last)?;
    Ok(last.iter().all(|byte| *byte == 0))
}

/// A sparse extent.
struct Sparse {
    tables: Tables,
    header: Header,
    /// Where the grain directory begins, in bytes.
    directory: u64,
}

#[derive(Clone, Copy)]
struct Header {
    flags: u32,
    sectors: u64,
    grain_bytes: u64,
    descriptor_sector: u64,
    descriptor_sectors: u64,
    table_entries: u64,
    redundant_sector: u64,
    directory_sector: u64,
    compression: u16,
}

const HAS_REDUNDANT: u32 = 1 << 1;
const HAS_ZERO_GRAINS: u32 = 1 << 2;
const IS_COMPRESSED: u32 = 1 << 16;
const HAS_MARKERS: u32 = 1 << 17;
/// The directory is told by the footer.
const AT_END: u64 = u64::MAX;

impl Header {
    /// The descriptor inside the extent; empty if it has none.
    fn descriptor(&self, file: &dyn ReadAt, opening: &Opening<'_>) -> Result<Vec<u8>> {
        let (offset, len) = (
            self.descriptor_sector.saturating_mul(SECTOR_BYTES),
            self.descriptor_sectors.saturating_mul(SECTOR_BYTES),
        );
        if offset == 0 || len == 0 {
            return Ok(Vec::new());
        }
        let len = opening.limits.disk_descriptor_bytes.check(len)?;
        if offset.saturating_add(len) > file.size_bytes() {
            let allowed = format!("inside of the {} bytes of the file", file.size_bytes());
            return wrong("descriptor", 28, format!("{len} bytes at {offset:#x}"), &allowed);
        }
        let mut text = vec![0; usize::try_from(len).unwrap_or_default()];
        file.read_exact_at(offset, &mut text)?;
        Ok(text)
    }

    /// Bytes that a grain table reaches over.
    fn table_reach(&self) -> u64 {
        self.table_entries.saturating_mul(self.grain_bytes)
    }
}

impl Sparse {
    fn header(file: &dyn ReadAt, at: u64) -> Result<Header> {
        let mut bytes = [0; 512];
        file.read_exact_at(at, &mut bytes)?;
        if !bytes.starts_with(MAGIC) {
            return wrong("magic", at, quoted(bytes.get(..4).unwrap_or_default()), "`KDMV`");
        }
        let version = le_u32(&bytes, 4);
        if !(1..=3).contains(&version) {
            return Err(Error::unsupported(format!("VMDK version {version}")));
        }
        let flags = le_u32(&bytes, 8);
        if flags & 1 != 0 && array_at(&bytes, 73) != *b"\n \r\n" {
            let found = quoted(bytes.get(73..77).unwrap_or_default());
            return wrong(
                "line ends",
                at.saturating_add(73),
                found,
                "`\\n \\r\\n`: the file was copied as text",
            );
        }
        let grain_sectors = le_u64(&bytes, 20);
        if !grain_sectors.is_power_of_two() || !(1..=1 << 16).contains(&grain_sectors) {
            let found = grain_sectors.to_string();
            return wrong("grain size", at.saturating_add(20), found, "a power of two up to 65536 sectors");
        }
        let table_entries = u64::from(le_u32(&bytes, 44));
        if !(1..=512).contains(&table_entries) {
            let found = table_entries.to_string();
            return wrong("grain table entries", at.saturating_add(44), found, "1 to 512");
        }
        let header = Header {
            flags,
            sectors: le_u64(&bytes, 12),
            grain_bytes: grain_sectors.saturating_mul(SECTOR_BYTES),
            descriptor_sector: le_u64(&bytes, 28),
            descriptor_sectors: le_u64(&bytes, 36),
            table_entries,
            redundant_sector: le_u64(&bytes, 48),
            directory_sector: le_u64(&bytes, 56),
            compression: le_u16(&bytes, 77),
        };
        if header.sectors > u64::MAX.div_euclid(SECTOR_BYTES) {
            return wrong("size", at.saturating_add(12), header.sectors.to_string(), "sectors below 2^55");
        }
        if header.flags & IS_COMPRESSED != 0 && header.compression != 1 {
            return wrong(
                "compression",
                at.saturating_add(77),
                header.compression.to_string(),
                "1 (deflate)",
            );
        }
        Ok(header)
    }

    fn open(
        file: Arc<dyn ReadAt>,
        parent: Option<Arc<dyn ReadAt>>,
        (cache, limits): (&Arc<Cache>, &Limits),
        told: &mut Checked,
    ) -> Result<Arc<dyn ReadAt>> {
        let mut header = Sparse::header(&*file, 0)?;
        if header.directory_sector == AT_END {
            header = Sparse::footer(&*file)?;
        }
        let tables = Tables::new(file, cache);
        let directory = match Sparse::directory(&tables, &header, header.directory_sector) {
            Ok(directory) => directory,
            Err(error) if header.flags & HAS_REDUNDANT != 0 => {
                let directory = Sparse::directory(&tables, &header, header.redundant_sector)?;
                told.notes
                    .push(format!("the grain directory is damaged, the redundant one was used: {error}"));
                directory
            }
            Err(error) => return Err(error),
        };
        if header.flags & HAS_MARKERS != 0 && !ends_as_stream(&*tables.file)? {
            told.doubts.push(format!(
                "the file ends at byte {} without the marker that ends a stream: it is cut off; fetch or copy it again",
                tables.file.size_bytes()
            ));
        }
        let sparse = Mapped::new(Sparse { tables, header, directory }, parent, cache);
        let checked = sparse.check(limits);
        told.notes.extend(checked.notes);
        told.doubts.extend(checked.doubts);
        Ok(Arc::new(sparse))
    }

    /// The header at the end of a stream: marker, header and end-of-stream marker, a sector each.
    fn footer(file: &dyn ReadAt) -> Result<Header> {
        let Some(at) = file.size_bytes().checked_sub(3 * SECTOR_BYTES) else {
            return wrong("footer", None, format!("{} bytes", file.size_bytes()), "at least three sectors");
        };
        let mut markers = [0; 1536];
        file.read_exact_at(at, &mut markers)?;
        // Value (a sector), size zero, type.
        let (marker, end) = (le_u32(&markers, 12), le_u32(&markers, 1036));
        if le_u32(&markers, 8) != 0 || marker != 3 || le_u64(&markers, 1024) != 0 || end != 0 {
            return wrong(
                "footer",
                at,
                format!("markers {marker} and {end}"),
                "3 (footer) and 0 (end of stream): the stream is cut off",
            );
        }
        let header = Sparse::header(file, at.saturating_add(SECTOR_BYTES))?;
        if header.directory_sector == AT_END {
            return wrong("grain directory", at, "at the end", "a sector");
        }
        Ok(header)
    }

    /// Where the grain directory begins, after a look at all of its entries.
    fn directory(tables: &Tables, header: &Header, sector: u64) -> Result<u64> {
        let size_bytes = tables.file.size_bytes();
        let entries = header.sectors.saturating_mul(SECTOR_BYTES).div_ceil(header.table_reach());
        let start = sector.saturating_mul(SECTOR_BYTES);
        let inside = format!("inside of the {size_bytes} bytes of the file");
        let end = start.saturating_add(entries.saturating_mul(4));
        if start == 0 && entries > 0 {
            return wrong("grain directory", 56, format!("{entries} entries at {start:#x}"), &inside);
        }
        if end > size_bytes {
            return wrong("grain directory", 56, format!("{entries} entries at {start:#x}"), &inside)
                .map_err(|error| super::cut_off(error, end, size_bytes));
        }
        // No more of them than the file has bytes.
        for index in 0..entries {
            let at = start.saturating_add(index.saturating_mul(4));
            let table = u64::from(u32::from_le_bytes(tables.array(at)?)).saturating_mul(SECTOR_BYTES);
            let end = table.saturating_add(header.table_entries.saturating_mul(4));
            if end > size_bytes {
                return wrong("grain directory", at, format!("a grain table at {table:#x}"), &inside)
                    .map_err(|error| super::cut_off(error, end, size_bytes));
            }
        }
        Ok(start)
    }

    /// The entry of a grain and where it is; `None` if there is no grain table.
    fn entry(&self, grain: u64) -> Result<Option<(u64, u64)>> {
        let (table, index) =
            (grain.div_euclid(self.header.table_entries), grain.rem_euclid(self.header.table_entries));
        let at = self.directory.saturating_add(table.saturating_mul(4));
        let sector = u64::from(u32::from_le_bytes(self.tables.array(at)?));
        if sector == 0 {
            return Ok(None);
        }
        let at = sector.saturating_mul(SECTOR_BYTES).saturating_add(index.saturating_mul(4));
        Ok(Some((u64::from(u32::from_le_bytes(self.tables.array(at)?)), at)))
    }
}

impl Map for Sparse {
    fn size_bytes(&self) -> u64 {
        self.header.sectors.saturating_mul(SECTOR_BYTES)
    }

    fn place(&self, offset: u64) -> Result<(Place, u64)> {
        let grain_bytes = self.header.grain_bytes;
        let (grain, within) = (offset.div_euclid(grain_bytes), offset.rem_euclid(grain_bytes));
        let len = grain_bytes.saturating_sub(within);
        let Some((sector, at)) = self.entry(grain)? else {
            let reach = self.header.table_reach();
            return Ok((Place::Parent, reach.saturating_sub(offset.rem_euclid(reach))));
        };
        match sector {
            0 => return Ok((Place::Parent, len)),
            1 if self.header.flags & HAS_ZERO_GRAINS != 0 => return Ok((Place::Zero, len)),
            _ => {}
        }
        if self.header.flags & IS_COMPRESSED != 0 {
            return Ok((Place::Cluster { number: grain, within }, len));
        }
        let start = sector.saturating_mul(SECTOR_BYTES);
        // The last grain of a file may be cut where the disk ends within it.
        let len = len.min(self.size_bytes().saturating_sub(offset));
        let from = start.saturating_add(within);
        if from.saturating_add(len) > self.tables.file.size_bytes() {
            let file_bytes = self.tables.file.size_bytes();
            let allowed = format!("inside of the {file_bytes} bytes of the file");
            return wrong("grain table", at, format!("a grain at {start:#x}"), &allowed)
                .map_err(|error| super::cut_off(error, from.saturating_add(len), file_bytes));
        }
        Ok((Place::Stored(Arc::clone(&self.tables.file), from), len))
    }

    fn cluster_end(&self, grain: u64) -> Result<(u64, u64)> {
        let file_bytes = self.tables.file.size_bytes();
        let Some((sector, _)) = self.entry(grain)? else { return Ok((0, file_bytes)) };
        // Its marker, and at least something behind it; near the end of the file as much as the marker says.
        let start = sector.saturating_mul(SECTOR_BYTES).saturating_add(12);
        let is_last = start.saturating_add(self.header.grain_bytes.saturating_mul(2)) > file_bytes;
        if self.header.flags & HAS_MARKERS != 0 && is_last && start <= file_bytes {
            let mut marker = [0; 12];
            self.tables.file.read_exact_at(start.saturating_sub(12), &mut marker)?;
            return Ok((start.saturating_add(le_u32(&marker, 8).into()), file_bytes));
        }
        Ok((start.saturating_add(1), file_bytes))
    }

    fn cluster(&self, grain: u64) -> Result<Vec<u8>> {
        let Some((sector, at)) = self.entry(grain)? else {
            return wrong("grain table", None, "none", "that of a compressed grain");
        };
        let start = sector.saturating_mul(SECTOR_BYTES);
        let mut from = start;
        let file = &*self.tables.file;
        let grain_bytes = self.header.grain_bytes;
        let mut len = grain_bytes.saturating_mul(2);
        if self.header.flags & HAS_MARKERS != 0 {
            let mut marker = [0; 12];
            file.read_exact_at(start, &mut marker)?;
            let (first, size) = (le_u64(&marker, 0), u64::from(le_u32(&marker, 8)));
            if first.saturating_mul(SECTOR_BYTES) != grain.saturating_mul(grain_bytes) {
                let want = grain.saturating_mul(grain_bytes).div_euclid(SECTOR_BYTES);
                return wrong("grain marker", start, format!("sector {first}"), &format!("sector {want}"));
            }
            if size > len {
                return wrong("grain marker", start, format!("{size} bytes"), &format!("at most {len}"));
            }
            (from, len) = (start.saturating_add(12), size);
        }
        let len = len.min(file.size_bytes().saturating_sub(from));
        let mut packed = vec![0; usize::try_from(len).unwrap_or_default()];
        file.read_exact_at(from, &mut packed)?;
        // The last grain may be cut where the disk ends within it.
        let mut all = Vec::new();
        let inflated = flate2::bufread::ZlibDecoder::new(&packed[..]).take(grain_bytes).read_to_end(&mut all);
        let whole = usize::try_from(grain_bytes).unwrap_or_default();
        let needed = self.size_bytes().saturating_sub(grain.saturating_mul(grain_bytes)).min(grain_bytes);
        if let Err(error) = inflated {
            return wrong("compressed grain", at, format!("{len} bytes at {from:#x}: {error}"), "zlib");
        }
        if bytes::size_of_len(all.len()) < needed {
            return wrong("compressed grain", at, format!("{} bytes", all.len()), &format!("{needed} bytes"));
        }
        all.resize(whole, 0);
        Ok(all)
    }
}
