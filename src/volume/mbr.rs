//! The table of a master boot record, and the chain of extended boot records that holds logical partitions.
//!
//! | at | bytes | sector | | at | bytes | entry |
//! |---|---|---|---|---|---|---|
//! | 440 | 4 | disk id | | 0 | 1 | 0x80 active, else 0 |
//! | 446 | 4 x 16 | entries | | 4 | 1 | type; 0 is none |
//! | 510 | 2 | 0x55 0xaa | | 8, 12 | 4, 4 | first sector, sectors |
//!
//! The first sectors of logical partitions count from their own record, those of records from the extended
//! partition. Sectors have 512 bytes.

use std::collections::BTreeSet;
use std::ops::Range;

use super::probe::peek;
use crate::bytes::{ReadAt, array_at, le_u32};
use crate::error::{Error, Result};
use crate::limits::Limits;

/// The type of a partition that covers what a GPT describes.
pub(super) const PROTECTIVE: u8 = 0xee;
const EXTENDED: [u8; 3] = [0x05, 0x0f, 0x85];
const SECTOR: u64 = 512;

/// A partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Partition {
    pub(super) number: u32,
    pub(super) kind: u8,
    /// Bytes of the disk; may pass its end.
    pub(super) range: Range<u64>,
}

/// The table of a disk.
#[derive(Debug, Default)]
pub(super) struct Table {
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

fn bytes_of(first: u64, count: u64) -> Range<u64> {
    first.saturating_mul(SECTOR)..first.saturating_add(count).saturating_mul(SECTOR)
}

/// Reads the table; `None` if the first sector has none, or one without partitions.
pub(super) fn read(disk: &dyn ReadAt, limits: &Limits) -> Result<Option<Table>> {
    let Some(sector) = peek::<512>(disk, 0)? else { return Ok(None) };
    let Some(entries) = entries(&sector) else { return Ok(None) };
    let mut table = Table { disk_id: le_u32(&sector, 440), ..Table::default() };
    table.tables.push(0..SECTOR);
    for (number, (kind, first, count)) in (1..).zip(entries) {
        if kind == 0 || count == 0 {
            continue;
        }
        if EXTENDED.contains(&kind) {
            table.broken = logical(disk, first, &mut table, limits).err();
            continue;
        }
        table.partitions.push(Partition { number, kind, range: bytes_of(first, count) });
    }
    let is_empty = table.partitions.is_empty() && table.tables.len() == 1 && table.broken.is_none();
    table.partitions.sort_by_key(|partition| partition.number);
    Ok((!is_empty).then_some(table))
}

/// Follows the chain of records from the beginning of an extended partition.
fn logical(disk: &dyn ReadAt, extended: u64, table: &mut Table, limits: &Limits) -> Result<()> {
    let mut seen = BTreeSet::new();
    let mut at = extended;
    let mut number = 5;
    loop {
        let wrong = |found: &str, allowed: &str| {
            Err(Error::malformed("MBR", "extended boot record", at.saturating_mul(SECTOR), found, allowed))
        };
        if !seen.insert(at) {
            return wrong("a record that was already read", "a chain without loop");
        }
        limits.partitions.check(u64::from(number))?;
        let Some(sector) = peek::<512>(disk, at.saturating_mul(SECTOR))? else {
            return wrong("behind the end of the disk", "a sector of it");
        };
        let Some([partition, next, ..]) = entries(&sector) else {
            return wrong("no signature or no entries", "0x55 0xaa and entries");
        };
        table.tables.push(bytes_of(at, 1));
        let (kind, first, count) = partition;
        if kind != 0 && count > 0 {
            let range = bytes_of(at.saturating_add(first), count);
            table.partitions.push(Partition { number, kind, range });
            number = number.saturating_add(1);
        }
        let (kind, first, count) = next;
        if kind == 0 || count == 0 {
            return Ok(());
        }
        if !EXTENDED.contains(&kind) {
            return wrong(&format!("a second entry of type {kind:#x}"), "the next record");
        }
        at = extended.saturating_add(first);
    }
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
