//! The boot sector: geometry of a FAT volume.
//!
//! | byte | field | | byte | field |
//! | --- | --- | --- | --- | --- |
//! | 11 | bytes a sector | | 32 | sectors, if 19 is 0 |
//! | 13 | sectors a cluster | | 36 | FAT32: sectors a table |
//! | 14 | reserved sectors | | 40 | FAT32: which table is in use |
//! | 16 | number of tables | | 42 | FAT32: version, 0 |
//! | 17 | entries of the root directory, FAT32: 0 | | 44 | FAT32: first cluster of the root directory |
//! | 19 | sectors | | 38, 66 | `28` or `29`: serial number follows; `29`: label too |
//! | 21 | media | | 39, 67 | serial number |
//! | 22 | sectors a table, FAT32: 0 | | 43, 71 | label |
//!
//! The number of clusters decides between FAT12 and FAT16. FAT32 is told by its fields, as Linux does, because
//! small volumes with them are made although the specification does not know such.

use super::FORMAT;
use crate::error::{Error, Result};
use crate::tree::clusters::Width;
use crate::tree::fields::Fields;

/// Bytes of the boot sector that are read.
pub(super) const BOOT_BYTES: usize = 512;

/// The most clusters of a FAT12, FAT16 and FAT32.
const MOST_12: u64 = 4084;
const MOST_16: u64 = 65_524;
const MOST_32: u64 = 0x0fff_fff5;

/// The geometry; all ranges are checked. Offsets and sizes in bytes.
#[derive(Debug)]
pub(super) struct Boot {
    pub(super) width: Width,
    pub(super) cluster_bytes: u32,
    pub(super) clusters: u32,
    /// Where the table in use starts.
    pub(super) table: u64,
    /// Where the first cluster starts.
    pub(super) heap: u64,
    pub(super) root: Root,
    pub(super) size_bytes: u64,
    pub(super) serial: Option<u32>,
    pub(super) label: Option<[u8; 11]>,
}

/// Where the root directory is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Root {
    /// Between the tables and the clusters: where, and how long.
    Fixed { offset: u64, bytes: u64 },
    /// In a chain of clusters from this one on.
    Chain(u32),
}

impl Boot {
    /// Decodes a boot sector.
    ///
    /// # Errors
    /// `Malformed` with the field; `Unsupported` for a later version of FAT32.
    pub(super) fn decode(sector: &[u8]) -> Result<Self> {
        let fields = Fields::new(sector, FORMAT, 0);
        let sector_bytes = u32::from(fields.le16(11)?);
        if !sector_bytes.is_power_of_two() || !(512..=4096).contains(&sector_bytes) {
            return Err(fields.wrong(
                "bytes a sector",
                11,
                sector_bytes.to_string(),
                "512, 1024, 2048 or 4096",
            ));
        }
        let per_cluster = u32::from(fields.u8(13)?);
        if !per_cluster.is_power_of_two() {
            return Err(fields.wrong("sectors a cluster", 13, per_cluster.to_string(), "a power of two"));
        }
        let (reserved, tables) = (fields.le16(14)?, fields.u8(16)?);
        if reserved == 0 {
            return Err(fields.wrong("reserved sectors", 14, "0", "1 or more"));
        }
        if tables == 0 {
            return Err(fields.wrong("number of tables", 16, "0", "1 or more"));
        }
        let media = fields.u8(21)?;
        if media != 0xf0 && media < 0xf8 {
            return Err(fields.wrong("media", 21, format!("{media:#x}"), "0xf0, or 0xf8 to 0xff"));
        }
        let is_32 = fields.le16(22)? == 0;
        let table_sectors = if is_32 { fields.le32(36)? } else { fields.le16(22)?.into() };
        if table_sectors == 0 {
            return Err(fields.wrong("sectors a table", 36, "0", "1 or more"));
        }
        let sectors = match fields.le16(19)? {
            0 => fields.le32(32)?,
            sectors => sectors.into(),
        };
        let bytes = |sectors: u64| sectors.saturating_mul(sector_bytes.into());
        let first_table = u64::from(reserved);
        let root_start = first_table.saturating_add(u64::from(tables).saturating_mul(table_sectors.into()));
        let root_bytes = u64::from(fields.le16(17)?).saturating_mul(32);
        if !root_bytes.is_multiple_of(sector_bytes.into()) {
            let found = format!("{} entries", root_bytes / 32);
            return Err(fields.wrong("root directory", 17, found, "whole sectors"));
        }
        let root_sectors = root_bytes.checked_div(sector_bytes.into()).unwrap_or(0);
        let heap_start = root_start.saturating_add(root_sectors);
        let data = u64::from(sectors).checked_sub(heap_start).filter(|data| *data >= per_cluster.into());
        let data = data.ok_or_else(|| {
            fields.wrong(
                "sectors",
                32,
                sectors.to_string(),
                format!("more than {heap_start}, where clusters start"),
            )
        })?;
        let clusters = data.checked_div(per_cluster.into()).unwrap_or(0);
        let (width, most) = match (is_32, clusters) {
            (true, _) => (Width::Fat32, MOST_32),
            (false, ..=MOST_12) => (Width::Fat12, MOST_12),
            (false, _) => (Width::Fat16, MOST_16),
        };
        if clusters > most {
            return Err(fields.wrong(
                "clusters",
                13,
                clusters.to_string(),
                format!("up to {most} in a {width}"),
            ));
        }
        // Clusters that the table does not know are not used.
        let known = bytes(table_sectors.into()).saturating_mul(8).checked_div(width.bits()).unwrap_or(0);
        let clusters = clusters.min(known.saturating_sub(2));
        let active = if is_32 { active_table(&fields, tables)? } else { 0 };
        let table_start = first_table.saturating_add(u64::from(active).saturating_mul(table_sectors.into()));
        let root = match is_32 {
            true => Root::Chain(fields.le32(44)?),
            false => Root::Fixed { offset: bytes(root_start), bytes: root_bytes },
        };
        let extension = if is_32 { 66_usize } else { 38 };
        let signature = fields.u8(extension)?;
        let serial = fields.le32(extension.saturating_add(1))?;
        let label: [u8; 11] = fields.array(extension.saturating_add(5))?;
        Ok(Boot {
            width,
            cluster_bytes: per_cluster.saturating_mul(sector_bytes),
            clusters: u32::try_from(clusters).unwrap_or(0),
            table: bytes(table_start),
            heap: bytes(heap_start),
            root,
            size_bytes: bytes(sectors.into()),
            serial: Some(serial).filter(|serial| *serial != 0 && matches!(signature, 0x28 | 0x29)),
            label: Some(label).filter(|_| signature == 0x29),
        })
    }
}

/// Which table of a FAT32 is in use: all are the same, unless the flags say that only one is kept.
fn active_table(fields: &Fields<'_>, tables: u8) -> Result<u8> {
    let version = fields.le16(42)?;
    if version != 0 {
        return Err(Error::unsupported(format!("FAT32 of version {}.{}", version >> 8, version & 0xff)));
    }
    let flags = fields.le16(40)?;
    if flags & 0x80 == 0 {
        return Ok(0);
    }
    let [active, _] = (flags & 0xf).to_le_bytes();
    match active < tables {
        true => Ok(active),
        false => Err(fields.wrong("table in use", 40, active.to_string(), format!("one of {tables}"))),
    }
}
