//! The table of a master boot record, and the chain of extended boot records that holds logical partitions.
//!
//! | at | bytes | sector | | at | bytes | entry |
//! |---|---|---|---|---|---|---|
//! | 440 | 4 | disk id | | 0 | 1 | 0x80 active, else 0 |
//! | 446 | 4 x 16 | entries | | 4 | 1 | type; none is one without sectors |
//! | 510 | 2 | 0x55 0xaa | | 8, 12 | 4, 4 | first sector, sectors |
//!
//! The first sectors of logical partitions count from their own record, those of records from the extended
//! partition. How large sectors are no record says: the disk knew it, and its image may not. What the entries lead
//! to tells it, see [`read`]; a record is the first 512 bytes of its sector.

use std::collections::BTreeSet;
use std::ops::Range;

use super::probe::{FsKind, peek, probe};
use crate::bytes::{ReadAt, array_at, le_u32, passes_end, size_of_len};
use crate::error::{Error, Result};
use crate::limits::Limits;

/// The type of a partition that covers what a GPT describes.
pub(super) const PROTECTIVE: u8 = 0xee;
const EXTENDED: [u8; 3] = [0x05, 0x0f, 0x85];
/// What sectors have, the usual first.
const SECTORS: [u64; 2] = [512, 4096];

/// A partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Partition {
    pub(super) number: u32,
    pub(super) kind: u8,
    /// Bytes of the disk; may pass its end.
    pub(super) range: Range<u64>,
}

/// The table of a disk.
#[derive(Debug, Clone, Default)]
pub(super) struct Table {
    pub(super) sector_bytes: u64,
    pub(super) disk_id: u32,
    pub(super) partitions: Vec<Partition>,
    /// Sectors that hold the tables.
    pub(super) tables: Vec<Range<u64>>,
    /// Why the chain of logical partitions ended early.
    pub(super) broken: Option<Error>,
}

/// Type, first sector and sectors of the four entries, if the sector is a boot record.
fn entries(sector: &[u8; 512]) -> Option<[(u8, u64, u64); 4]> {
    if array_at(sector, 510) != [0x55, 0xaa] {
        return None;
    }
    let entry = |at: usize| {
        let entry: [u8; 16] = array_at(sector, at);
        let is_one = matches!(entry.first(), Some(0 | 0x80));
        let kind = entry.get(4).copied().filter(|_| is_one);
        (kind, u64::from(le_u32(&entry, 8)), u64::from(le_u32(&entry, 12)))
    };
    let all = [entry(446), entry(462), entry(478), entry(494)];
    let [a, b, c, d] = all.map(|(kind, first, count)| kind.map(|kind| (kind, first, count)));
    Some([a?, b?, c?, d?])
}

/// The table under the size of sectors that fits.
///
/// That of 4096 bytes fits if all partitions are inside of the disk and apart, the chain of logical ones is whole,
/// and content begins where one of them does, outside of what the other size makes of it. If both fit, that of 512
/// is taken, and the doubt told. `None` if the first sector has no table, or one without partitions.
pub(super) fn read(disk: &dyn ReadAt, limits: &Limits) -> Result<Option<Table>> {
    let [small, large] = SECTORS;
    let Some(mut usual) = read_as(disk, small, limits)? else { return Ok(None) };
    // What a GPT describes, and not this record.
    if usual.partitions.iter().any(|partition| partition.kind == PROTECTIVE) {
        return Ok(Some(usual));
    }
    let other = read_as(disk, large, limits)?;
    let Some(other) = other.filter(|table| table.is_plausible(disk.size_bytes())) else {
        return Ok(Some(usual));
    };
    let (by_small, by_large) = (usual.known(disk)?, other.known(disk)?);
    let outside = |own: &[Range<u64>], others: &[Range<u64>]| {
        own.iter().any(|range| !others.iter().any(|other| other.contains(&range.start)))
    };
    let is_small = outside(&by_small, &by_large);
    let is_large = outside(&by_large, &by_small) || (by_small.is_empty() && usual.broken.is_some());
    if is_large && !is_small {
        return Ok(Some(other));
    }
    if is_large {
        usual.broken.get_or_insert_with(|| {
            Error::malformed(
                "MBR",
                "sector size",
                446,
                "partitions that have content with sectors of 512 and of 4096 bytes",
                "content under one of them; those of 512 were taken",
            )
        });
    }
    Ok(Some(usual))
}

/// Reads the table as one of a disk with sectors of this size.
fn read_as(disk: &dyn ReadAt, sector_bytes: u64, limits: &Limits) -> Result<Option<Table>> {
    let Some(sector) = peek::<512>(disk, 0)? else { return Ok(None) };
    let Some(entries) = entries(&sector) else { return Ok(None) };
    let mut table = Table { sector_bytes, disk_id: le_u32(&sector, 440), ..Table::default() };
    table.tables.push(table.bytes_of(0, 1));
    for (number, (kind, first, count)) in (1..).zip(entries) {
        // As Linux does: of type 0 too, if it has sectors.
        if count == 0 {
            continue;
        }
        if EXTENDED.contains(&kind) {
            table.broken = logical(disk, (first, count), &mut table, limits).err();
            continue;
        }
        let range = table.bytes_of(first, count);
        table.partitions.push(Partition { number, kind, range });
    }
    let is_empty = table.partitions.is_empty() && table.tables.len() == 1 && table.broken.is_none();
    table.partitions.sort_by_key(|partition| partition.number);
    Ok((!is_empty).then_some(table))
}

impl Table {
    fn bytes_of(&self, first: u64, count: u64) -> Range<u64> {
        let bytes = |sectors: u64| sectors.saturating_mul(self.sector_bytes);
        bytes(first)..bytes(first.saturating_add(count))
    }

    /// Whether its partitions are inside of the disk and apart, and its chain is whole.
    fn is_plausible(&self, size_bytes: u64) -> bool {
        let mut ranges: Vec<&Range<u64>> = self.partitions.iter().map(|partition| &partition.range).collect();
        ranges.sort_by_key(|range| range.start);
        let are_apart =
            ranges.windows(2).all(|pair| matches!(pair, [first, second] if first.end <= second.start));
        self.broken.is_none() && are_apart && ranges.iter().all(|range| range.end <= size_bytes)
    }

    /// The partitions at whose beginning something is that is known.
    fn known(&self, disk: &dyn ReadAt) -> Result<Vec<Range<u64>>> {
        let mut known = Vec::new();
        for Partition { range, .. } in &self.partitions {
            let len = range.end.min(disk.size_bytes()).saturating_sub(range.start);
            let volume = Window { disk, start: range.start, len };
            if len > 0 && probe(&volume)?.kind != FsKind::Unknown {
                known.push(range.clone());
            }
        }
        Ok(known)
    }
}

/// A part of a disk.
struct Window<'a> {
    disk: &'a dyn ReadAt,
    start: u64,
    len: u64,
}

impl ReadAt for Window<'_> {
    fn size_bytes(&self) -> u64 {
        self.len
    }

    fn read_exact_at(&self, offset: u64, dst: &mut [u8]) -> Result<()> {
        if offset.checked_add(size_of_len(dst.len())).is_none_or(|end| end > self.len) {
            return Err(passes_end(offset, dst.len(), self.len));
        }
        self.disk.read_exact_at(self.start.saturating_add(offset), dst)
    }
}

/// Follows the chain of records in an extended partition, of which the first sector and their number are given. All
/// four entries of a record may name partitions, as Linux reads them; the first extended one leads on.
fn logical(disk: &dyn ReadAt, (extended, all): (u64, u64), table: &mut Table, limits: &Limits) -> Result<()> {
    let sector_bytes = table.sector_bytes;
    let mut seen = BTreeSet::new();
    let (mut at, mut own) = (extended, all);
    let mut number = 5;
    loop {
        let wrong = |found: &str, allowed: &str| {
            Err(Error::malformed(
                "MBR",
                "extended boot record",
                at.saturating_mul(sector_bytes),
                found,
                allowed,
            ))
        };
        if !seen.insert(at) {
            return wrong("a record that was already read", "a chain without loop");
        }
        limits.partitions.check(u64::from(number))?;
        let Some(sector) = peek::<512>(disk, at.saturating_mul(sector_bytes))? else {
            return wrong("behind the end of the disk", "a sector of it");
        };
        let Some(entries) = entries(&sector) else {
            return wrong("no signature or no entries", "0x55 0xaa and entries");
        };
        table.tables.push(table.bytes_of(at, 1));
        let is_record = |kind: u8| EXTENDED.contains(&kind);
        for (index, (kind, first, count)) in entries.into_iter().enumerate() {
            if count == 0 || is_record(kind) {
                continue;
            }
            // Linux takes the third and the fourth only where they lie inside.
            let start = at.saturating_add(first);
            let is_inside = first.saturating_add(count) <= own
                && start >= extended
                && start.saturating_add(count) <= extended.saturating_add(all);
            if index >= 2 && !is_inside {
                continue;
            }
            limits.partitions.check(u64::from(number))?;
            let range = table.bytes_of(start, count);
            table.partitions.push(Partition { number, kind, range });
            number = number.saturating_add(1);
        }
        let next = entries.into_iter().find(|(kind, _, count)| *count > 0 && is_record(*kind));
        let Some((_, first, count)) = next else { return Ok(()) };
        at = extended.saturating_add(first);
        own = count;
    }
}

/// Whether a disk that begins here has a table of partitions, of which one inside of it begins with what is known, or
/// one that a GPT describes.
pub(super) fn is_table(disk: &dyn ReadAt) -> Result<bool> {
    let Some(sector) = peek::<512>(disk, 0)? else { return Ok(false) };
    let mut table = Table { sector_bytes: 512, ..Table::default() };
    for (kind, first, count) in entries(&sector).into_iter().flatten() {
        if kind == PROTECTIVE && first == 1 {
            return Ok(true);
        }
        if count > 0 && first > 0 && !EXTENDED.contains(&kind) {
            let range = table.bytes_of(first, count);
            table.partitions.push(Partition { number: 0, kind, range });
        }
    }
    Ok(table.is_plausible(disk.size_bytes()) && !table.known(disk)?.is_empty())
}

/// The name of a type.
pub(super) fn kind_name(kind: u8) -> &'static str {
    match kind {
        0x01 | 0x04 | 0x06 | 0x0b | 0x0c | 0x0e => "FAT",
        0x07 => "NTFS or exFAT",
        0x11 | 0x14 | 0x16 | 0x1b | 0x1c | 0x1e => "hidden FAT",
        0x27 => "Windows recovery",
        0x39 => "Plan 9",
        0x41 => "PReP boot",
        0x42 => "Windows dynamic disk",
        0x82 => "Linux swap",
        0x83 => "Linux",
        0x8e => "Linux LVM",
        0xa5 => "FreeBSD",
        0xa6 => "OpenBSD",
        0xa8 | 0xaf => "Apple",
        0xa9 => "NetBSD",
        0xbf => "Solaris",
        0xda => "data without file system",
        0xea => "boot loader configuration",
        0xee => "GPT",
        0xef => "EFI system",
        0xfb => "VMFS",
        0xfd => "Linux RAID",
        _ => "other",
    }
}
