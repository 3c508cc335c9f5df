//! qcow2, versions 2 and 3 (QEMU's `docs/interop/qcow2.rst`). All numbers are big-endian.
//!
//! | at | bytes | header | | at | bytes | header |
//! |---|---|---|---|---|---|---|
//! | 0 | 4 | `QFI\xfb` | | 40 | 8 | offset of the L1 table |
//! | 4 | 4 | version | | 60 | 4, 8 | snapshots: count, offset |
//! | 8 | 8, 4 | backing file: offset, length of its name | | 72 | 8 | features that a reader must know (v3) |
//! | 20 | 4 | bits of a cluster's size | | 88 | 8 | features that a writer clears (v3) |
//! | 24 | 8 | guest size | | 100 | 4 | length of the header (v3) |
//! | 32, 36 | 4, 4 | encryption, L1 entries | | 104 | 1 | compression |
//!
//! An L1 entry is the offset of an L2 table of one cluster; an L2 entry says where a guest cluster is: nowhere
//! (the backing file, or zeros), zeros, a cluster of the file, or compressed bytes of it. With extended L2
//! entries, each has two bits for each of 32 subclusters besides.
//!
//! Reference counts are not read: they serve writers. So an image that is marked dirty (its counts may be wrong)
//! or corrupt is read, and says so. Snapshots are listed; what they hold is not the disk. Encrypted images are
//! not read.

use std::io::Read as _;
use std::sync::Arc;

use super::cache::Tables;
use super::map::{Map, Mapped, Place};
use super::{Disk, DiskFormat, Opening};
use crate::bytes::{ReadAt, be_u16, be_u32, be_u64, size_of_len};
use crate::codec::{self, Compression};
use crate::error::{Error, Result, quoted};
use crate::limits::Limits;

const FORMAT: &str = "qcow2";
/// Of version 3; version 2 ends at 72.
const HEADER_BYTES: usize = 112;
const OFFSET_MASK: u64 = 0x00ff_ffff_ffff_fe00;
const COPIED: u64 = 1 << 63;
const COMPRESSED: u64 = 1 << 62;
const ZERO: u64 = 1;
/// Subclusters of a cluster with extended L2 entries.
const SUBCLUSTERS: u64 = 32;
/// The longest name of a backing file, as in QEMU.
const NAME_BYTES: u64 = 1023;

struct Header {
    version: u32,
    backing_offset: u64,
    backing_bytes: u32,
    cluster_bits: u32,
    size_bytes: u64,
    l1_entries: u32,
    l1_offset: u64,
    snapshots: u32,
    snapshots_offset: u64,
    is_dirty: bool,
    is_corrupt: bool,
    has_data_file: bool,
    has_zstd: bool,
    is_extended: bool,
    length: u64,
}

/// What the extensions behind the header say.
#[derive(Default)]
struct Extensions {
    backing_format: Option<String>,
    data_file: Option<String>,
}

fn wrong<T>(
    field: &'static str,
    offset: impl Into<Option<u64>>,
    found: impl Into<String>,
    allowed: &str,
) -> Result<T> {
    Err(Error::malformed(FORMAT, field, offset, found, allowed))
}

impl Header {
    fn read(file: &dyn ReadAt) -> Result<Self> {
        let mut bytes = [0; HEADER_BYTES];
        file.read_exact_at(0, bytes.get_mut(..72).unwrap_or_default())?;
        let version = be_u32(&bytes, 4);
        match version {
            1 => {
                return Err(Error::unsupported("qcow version 1")
                    .hint("`qemu-img convert -O qcow2` makes version 3 of it"));
            }
            2 => {}
            3 => file.read_exact_at(0, bytes.get_mut(..104).unwrap_or_default())?,
            _ => return Err(Error::unsupported(format!("qcow2 version {version}"))),
        }
        let length = if version == 2 { 72 } else { u64::from(be_u32(&bytes, 100)) };
        if !(72..=4096).contains(&length) || (version == 3 && length < 104) || length.rem_euclid(8) != 0 {
            return wrong("header length", 100, length.to_string(), "104 to 4096, a multiple of 8");
        }
        if length >= 112 {
            file.read_exact_at(0, &mut bytes)?;
        }
        let incompatible = if version == 2 { 0 } else { be_u64(&bytes, 72) };
        let unknown = incompatible & !0x1f;
        if unknown != 0 {
            return Err(Error::unsupported(format!("qcow2 with incompatible features {unknown:#x}")));
        }
        match be_u32(&bytes, 32) {
            0 => {}
            1 => return Err(encrypted("AES")),
            2 => return Err(encrypted("LUKS")),
            other => return wrong("encryption method", 32, other.to_string(), "0 to 2"),
        }
        let has_type = incompatible & 8 != 0;
        let has_zstd = match (has_type, bytes.get(104)) {
            (true, Some(1)) => true,
            (_, Some(0)) => false,
            (_, other) => {
                return wrong(
                    "compression type",
                    104,
                    format!("{other:?}"),
                    "0 (zlib), or 1 (zstd) with its feature bit",
                );
            }
        };
        let header = Header {
            version,
            backing_offset: be_u64(&bytes, 8),
            backing_bytes: be_u32(&bytes, 16),
            cluster_bits: be_u32(&bytes, 20),
            size_bytes: be_u64(&bytes, 24),
            l1_entries: be_u32(&bytes, 36),
            l1_offset: be_u64(&bytes, 40),
            snapshots: be_u32(&bytes, 60),
            snapshots_offset: be_u64(&bytes, 64),
            is_dirty: incompatible & 1 != 0,
            is_corrupt: incompatible & 2 != 0,
            has_data_file: incompatible & 4 != 0,
            has_zstd,
            is_extended: incompatible & 16 != 0,
            length,
        };
        header.check(file)?;
        Ok(header)
    }

    fn check(&self, file: &dyn ReadAt) -> Result<()> {
        let least = if self.is_extended { 14 } else { 9 };
        if !(least..=21).contains(&self.cluster_bits) {
            return wrong("cluster bits", 20, self.cluster_bits.to_string(), &format!("{least} to 21"));
        }
        let l2_reach = self.cluster_bytes().saturating_mul(self.l2_entries());
        if u64::from(self.l1_entries) < self.size_bytes.div_ceil(l2_reach) {
            let found = format!("{} entries for {} bytes", self.l1_entries, self.size_bytes);
            return wrong("L1 size", 36, found, "as many entries as the guest size needs");
        }
        let l1_end = self.l1_offset.checked_add(u64::from(self.l1_entries).saturating_mul(8));
        let found = || format!("{} entries at {:#x}", self.l1_entries, self.l1_offset);
        if self.l1_entries > 0 && self.l1_offset.rem_euclid(self.cluster_bytes()) != 0 {
            return wrong("L1 table", 40, found(), "the beginning of a cluster");
        }
        if self.l1_entries > 0 && l1_end.is_none_or(|end| end > file.size_bytes()) {
            let allowed = format!("inside of the {} bytes of the file", file.size_bytes());
            let needs = l1_end.unwrap_or(u64::MAX);
            return wrong("L1 table", 40, found(), &allowed)
                .map_err(|error| super::cut_off(error, needs, file.size_bytes()));
        }
        Ok(())
    }

    fn cluster_bytes(&self) -> u64 {
        1u64.checked_shl(self.cluster_bits).unwrap_or(u64::MAX)
    }

    /// Entries of an L2 table.
    fn l2_entries(&self) -> u64 {
        self.cluster_bytes().div_euclid(self.entry_bytes())
    }

    fn entry_bytes(&self) -> u64 {
        if self.is_extended { 16 } else { 8 }
    }
}

fn encrypted(how: &str) -> Error {
    Error::unsupported(format!("qcow2 encrypted with {how}"))
        .hint("decrypt it with `qemu-img convert --image-opts` and name the result")
}

impl Extensions {
    fn read(file: &dyn ReadAt, header: &Header) -> Result<Self> {
        let mut all = Extensions::default();
        let first_cluster = header.cluster_bytes().min(file.size_bytes());
        let end =
            if header.backing_offset > 0 { header.backing_offset.min(first_cluster) } else { first_cluster };
        let mut at = header.length;
        // Each step goes on by at least eight bytes within the first cluster.
        while at.saturating_add(8) <= end {
            let mut head = [0; 8];
            file.read_exact_at(at, &mut head)?;
            let (kind, len) = (be_u32(&head, 0), u64::from(be_u32(&head, 4)));
            let start = at.saturating_add(8);
            if kind == 0 {
                break;
            }
            if start.saturating_add(len) > end {
                return wrong("header extension", at, format!("{len} bytes"), &format!("within {end} bytes"));
            }
            match kind {
                0xe279_2aca => all.backing_format = Some(text(file, start, len)?),
                0x4441_5441 => all.data_file = Some(text(file, start, len)?),
                // Feature names, bitmaps, and the encryption header of images that are refused by their method.
                _ => {}
            }
            at = start.saturating_add(len.next_multiple_of(8));
        }
        Ok(all)
    }
}

/// A name in the file, of a length that QEMU writes.
fn text(file: &dyn ReadAt, offset: u64, len: u64) -> Result<String> {
    let Ok(len @ 1..=1023) = usize::try_from(len) else {
        return wrong("name", offset, format!("{len} bytes"), &format!("1 to {NAME_BYTES} bytes"));
    };
    let mut bytes = vec![0; len];
    file.read_exact_at(offset, &mut bytes)?;
    match String::from_utf8(bytes) {
        Ok(text) => Ok(text),
        Err(error) => wrong("name", offset, quoted(error.as_bytes()), "UTF-8"),
    }
}

pub(super) fn open(file: Arc<dyn ReadAt>, opening: &mut Opening<'_>) -> Result<Disk> {
    let header = Header::read(&*file)?;
    let extensions = Extensions::read(&*file, &header)?;
    let (mut notes, mut doubts) = (Vec::new(), Vec::new());
    if header.is_dirty {
        notes.push("marked dirty: its reference counts may be wrong, which reading does not need".to_owned());
    }
    if header.is_corrupt {
        doubts.push("marked corrupt by QEMU: `qemu-img check` says what is wrong".to_owned());
    }
    let snapshots = snapshots(&*file, &header, opening.limits)?;
    if !snapshots.is_empty() {
        notes.push(format!("internal snapshots, not read: {}", snapshots.join(", ")));
    }
    let parent = match header.backing_offset {
        0 => None,
        offset => {
            let reference = text(&*file, offset, u64::from(header.backing_bytes))?;
            let reference = reference.strip_prefix("file:").unwrap_or(&reference);
            let format = extensions.backing_format.as_deref().map(format_of).transpose()?;
            Some(opening.parent(reference, format)?)
        }
    };
    let data = match (header.has_data_file, &extensions.data_file) {
        (false, _) => Arc::clone(&file),
        (true, Some(reference)) => {
            opening.siblings.refer(reference).map_err(|error| error.at("external data file"))?.file
        }
        (true, None) => return wrong("data file", None, "no name", "a header extension that names it"),
    };
    let map = Qcow2 {
        tables: Tables::new(Arc::clone(&file), &opening.cache),
        data,
        limits: opening.limits.clone(),
        header,
    };
    let parent_data = parent.as_ref().map(|(_, disk)| Arc::clone(&disk.data));
    let data = Mapped::new(map, parent_data, &opening.cache);
    let checked = data.check(opening.limits);
    notes.extend(checked.notes);
    doubts.extend(checked.doubts);
    let data = Arc::new(data);
    Ok(Disk { data, format: DiskFormat::Qcow2, parents: Vec::new(), notes, doubts }.over(parent))
}

/// QEMU's names of formats.
fn format_of(name: &str) -> Result<DiskFormat> {
    match name {
        "raw" => Ok(DiskFormat::Raw),
        "qcow2" => Ok(DiskFormat::Qcow2),
        "vmdk" => Ok(DiskFormat::Vmdk),
        "vpc" => Ok(DiskFormat::Vhd),
        "vhdx" => Ok(DiskFormat::Vhdx),
        "vdi" => Ok(DiskFormat::Vdi),
        other => Err(Error::unsupported(format!("a backing file of format {}", quoted(other)))),
    }
}

/// The names of the snapshots inside.
fn snapshots(file: &dyn ReadAt, header: &Header, limits: &Limits) -> Result<Vec<String>> {
    limits.disk_snapshots.check(u64::from(header.snapshots))?;
    let mut names = Vec::new();
    let mut at = header.snapshots_offset;
    for _ in 0..header.snapshots {
        let mut head = [0; 40];
        file.read_exact_at(at, &mut head).map_err(|error| error.at("snapshot table"))?;
        let (id, name) = (u64::from(be_u16(&head, 12)), u64::from(be_u16(&head, 14)));
        let id_at = at.saturating_add(40).saturating_add(u64::from(be_u32(&head, 36)));
        let name_at = id_at.saturating_add(id);
        let mut bytes = vec![0; usize::try_from(name).unwrap_or_default()];
        file.read_exact_at(name_at, &mut bytes).map_err(|error| error.at("snapshot table"))?;
        names.push(quoted(&bytes));
        at = name_at.saturating_add(name).next_multiple_of(8);
    }
    Ok(names)
}

struct Qcow2 {
    header: Header,
    tables: Tables,
    /// The file itself, or the external data file.
    data: Arc<dyn ReadAt>,
    limits: Limits,
}

/// Where a cluster is, before anything is read of it.
struct Entry {
    value: u64,
    /// Two times 32 bits with extended L2 entries: allocated, and zero.
    bitmap: u64,
    /// Where the entry is.
    at: u64,
}

impl Qcow2 {
    /// The L2 entry of a guest cluster, and how many clusters from it on are nowhere, if there is no L2 table.
    fn entry(&self, cluster: u64) -> Result<std::result::Result<Entry, u64>> {
        let l2_entries = self.header.l2_entries();
        let (table, index) = (cluster.div_euclid(l2_entries), cluster.rem_euclid(l2_entries));
        let at = self.header.l1_offset.saturating_add(table.saturating_mul(8));
        let l2 = u64::from_be_bytes(self.tables.array(at)?) & OFFSET_MASK;
        if l2 == 0 {
            return Ok(Err(l2_entries.saturating_sub(index)));
        }
        if l2.rem_euclid(self.header.cluster_bytes()) != 0 {
            return wrong("L1 entry", at, format!("{l2:#x}"), "the beginning of a cluster");
        }
        let at = l2.saturating_add(index.saturating_mul(self.header.entry_bytes()));
        let value = u64::from_be_bytes(self.tables.array(at)?);
        let bitmap = match self.header.is_extended {
            true => u64::from_be_bytes(self.tables.array(at.saturating_add(8))?),
            false => 0,
        };
        Ok(Ok(Entry { value, bitmap, at }))
    }

    fn stored(&self, entry: &Entry, within: u64, len: u64) -> Result<(Place, u64)> {
        let offset = entry.value & OFFSET_MASK;
        if offset.rem_euclid(self.header.cluster_bytes()) != 0 {
            return wrong("L2 entry", entry.at, format!("{offset:#x}"), "the beginning of a cluster");
        }
        let from = offset.saturating_add(within);
        // The last cluster of a file may be cut where nothing was written.
        let left = self.data.size_bytes().saturating_sub(from);
        if left == 0 {
            let file_bytes = self.data.size_bytes();
            let needs = offset.saturating_add(self.header.cluster_bytes());
            let allowed = format!("inside of the {file_bytes} bytes of the file");
            return wrong("L2 entry", entry.at, format!("{offset:#x}"), &allowed)
                .map_err(|error| super::cut_off(error, needs, file_bytes));
        }
        Ok((Place::Stored(Arc::clone(&self.data), from), len.min(left)))
    }

    /// A place by subclusters.
    fn subcluster(&self, entry: &Entry, within: u64) -> Result<(Place, u64)> {
        let bytes = self.header.cluster_bytes().div_euclid(SUBCLUSTERS);
        let state = |index: u64| {
            let bit =
                |at: u64| u32::try_from(at).ok().and_then(|at| entry.bitmap.checked_shr(at)).unwrap_or(0) & 1;
            (bit(index), bit(index.saturating_add(SUBCLUSTERS)))
        };
        let first = within.div_euclid(bytes);
        let found = state(first);
        let mut end = first.saturating_add(1);
        while end < SUBCLUSTERS && state(end) == found {
            end = end.saturating_add(1);
        }
        let len = end.saturating_mul(bytes).saturating_sub(within);
        let has_place =
            entry.value & OFFSET_MASK != 0 || (self.header.has_data_file && entry.value & COPIED != 0);
        match found {
            (0, 0) => Ok((Place::Parent, len)),
            (0, 1) => Ok((Place::Zero, len)),
            (1, 0) if has_place => self.stored(entry, within, len),
            _ => wrong(
                "L2 bitmap",
                entry.at.saturating_add(8),
                format!("{:#x}", entry.bitmap),
                "subclusters that are either zero or at a place",
            ),
        }
    }

    /// Where the bytes of a compressed cluster are: offset, and length in whole sectors.
    fn packed(&self, entry: &Entry) -> (u64, u64) {
        // 62 bits, of which the upper ones, as many as a cluster has sectors in bits, count sectors.
        let offset_bits = 70u32.saturating_sub(self.header.cluster_bits);
        let value = entry.value & COMPRESSED.saturating_sub(1);
        let sectors = value.checked_shr(offset_bits).unwrap_or(0);
        let mask = 1u64.checked_shl(offset_bits).unwrap_or(0).saturating_sub(1);
        let offset = value & mask;
        let len = sectors.saturating_add(1).saturating_mul(512).saturating_sub(offset & 511);
        (offset, len)
    }
}

impl Map for Qcow2 {
    fn size_bytes(&self) -> u64 {
        self.header.size_bytes
    }

    fn place(&self, offset: u64) -> Result<(Place, u64)> {
        let cluster_bytes = self.header.cluster_bytes();
        let (number, within) = (offset.div_euclid(cluster_bytes), offset.rem_euclid(cluster_bytes));
        let entry = match self.entry(number)? {
            Ok(entry) => entry,
            Err(clusters) => {
                return Ok((Place::Parent, clusters.saturating_mul(cluster_bytes).saturating_sub(within)));
            }
        };
        let len = cluster_bytes.saturating_sub(within);
        if entry.value & COMPRESSED != 0 {
            if self.header.has_data_file {
                return wrong(
                    "L2 entry",
                    entry.at,
                    "a compressed cluster",
                    "none with an external data file",
                );
            }
            return Ok((Place::Cluster { number, within }, len));
        }
        if self.header.is_extended {
            return self.subcluster(&entry, within);
        }
        let has_place =
            entry.value & OFFSET_MASK != 0 || (self.header.has_data_file && entry.value & COPIED != 0);
        match entry.value & ZERO != 0 {
            true if self.header.version < 3 => {
                wrong("L2 entry", entry.at, "a zero cluster", "none in version 2")
            }
            true => Ok((Place::Zero, len)),
            false if has_place => self.stored(&entry, within, len),
            false => Ok((Place::Parent, len)),
        }
    }

    fn cluster_end(&self, number: u64) -> Result<(u64, u64)> {
        let end = match self.entry(number)? {
            // The last sector need not be there whole.
            Ok(entry) => {
                let (offset, len) = self.packed(&entry);
                offset.saturating_add(len.saturating_sub(511))
            }
            Err(_) => 0,
        };
        Ok((end, self.data.size_bytes()))
    }

    fn cluster(&self, number: u64) -> Result<Vec<u8>> {
        let Ok(entry) = self.entry(number)? else {
            return wrong("L2 table", None, "none", "that of a compressed cluster");
        };
        let (offset, len) = self.packed(&entry);
        // The last sector need not be there whole.
        let len = len.min(self.data.size_bytes().saturating_sub(offset));
        let mut packed = vec![0; usize::try_from(len).unwrap_or_default()];
        self.data.read_exact_at(offset, &mut packed)?;
        let mut cluster = vec![0; usize::try_from(self.header.cluster_bytes()).unwrap_or_default()];
        let done = match self.header.has_zstd {
            true => codec::decoder(Compression::Zstd, &packed[..], &self.limits)?.read_exact(&mut cluster),
            false => flate2::bufread::DeflateDecoder::new(&packed[..]).read_exact(&mut cluster),
        };
        done.map_err(|error| {
            let found = format!("{} at {offset:#x}: {error}", size_of_len(packed.len()));
            Error::malformed(
                FORMAT,
                "compressed cluster",
                entry.at,
                found,
                "bytes that inflate to a whole cluster",
            )
        })?;
        Ok(cluster)
    }
}
