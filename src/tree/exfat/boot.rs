//! The boot region: twelve sectors, of which the first has the geometry and the last a checksum.
//!
//! | byte | field | | byte | field |
//! | --- | --- | --- | --- | --- |
//! | 3 | `EXFAT   ` | | 100 | serial number |
//! | 11 | zeros, 53 bytes | | 104 | revision, major in the high byte |
//! | 72 | sectors of the volume | | 106 | flags: bit 0 second table in use |
//! | 80 | sector of the first table | | 108 | log 2 of bytes a sector, 9 to 12 |
//! | 84 | sectors a table | | 109 | log 2 of sectors a cluster |
//! | 88 | sector of the first cluster | | 110 | tables: 1, with TexFAT 2 |
//! | 92 | clusters | | 112 | percent in use |
//! | 96 | first cluster of the root directory | | 510 | `55 aa` |

use super::FORMAT;
use crate::bytes::{ReadAt as _, sum_holds};
use crate::error::{Error, Result};
use crate::tree::CachedReader;
use crate::tree::fields::{Fields, len};

/// Bytes of the first sector that have fields.
const BOOT_BYTES: usize = 512;
/// Sectors of the region that the checksum covers, after which it stands.
const SUMMED_SECTORS: u64 = 11;
/// The most clusters.
const MOST_CLUSTERS: u32 = 0xffff_fff5;
/// The largest cluster.
const CLUSTER_LOG: u8 = 25;

/// The geometry; all ranges are checked. Offsets and sizes in bytes.
#[derive(Debug)]
pub(super) struct Boot {
    pub(super) cluster_bytes: u32,
    pub(super) clusters: u32,
    /// Where the table in use starts.
    pub(super) table: u64,
    /// Where the first cluster starts.
    pub(super) heap: u64,
    pub(super) root: u32,
    pub(super) size_bytes: u64,
    pub(super) serial: u32,
}

impl Boot {
    /// Reads and checks the boot region.
    ///
    /// # Errors
    /// `Malformed` with the field; `Unsupported` for a later revision; those of reading.
    pub(super) fn read(reader: &CachedReader) -> Result<Self> {
        let mut sector = vec![0; BOOT_BYTES];
        reader.read_exact_at(0, &mut sector)?;
        let fields = Fields::new(&sector, FORMAT, 0);
        if fields.slice(3, 8)? != b"EXFAT   " {
            return Err(fields.wrong("magic", 3, "other bytes", "`EXFAT   `"));
        }
        if fields.le16(510)? != 0xaa55 {
            return Err(fields.wrong("signature", 510, format!("{:#06x}", fields.le16(510)?), "0xaa55"));
        }
        let revision = fields.le16(104)?;
        if revision >> 8 != 1 {
            let found = format!("exFAT of revision {}.{:02}", revision >> 8, revision & 0xff);
            return Err(Error::unsupported(found));
        }
        let (sector_log, cluster_log) = (fields.u8(108)?, fields.u8(109)?);
        if !(9..=12).contains(&sector_log) {
            return Err(fields.wrong("bytes a sector", 108, format!("2^{sector_log}"), "2^9 to 2^12"));
        }
        let log = sector_log.saturating_add(cluster_log);
        if log > CLUSTER_LOG {
            return Err(fields.wrong("sectors a cluster", 109, format!("clusters of 2^{log} bytes"), "2^25"));
        }
        check_sum(reader, sector_log)?;
        this(&fields, sector_log, log)
    }
}

fn this(fields: &Fields<'_>, sector_log: u8, cluster_log: u8) -> Result<Boot> {
    let bytes = |sectors: u64| sectors.checked_shl(sector_log.into()).filter(|b| b >> sector_log == sectors);
    let size_bytes = bytes(fields.le64(72)?);
    let size_bytes =
        size_bytes.ok_or_else(|| fields.wrong("volume length", 72, "too many sectors", "2^64 bytes"))?;
    let tables = fields.u8(110)?;
    if !matches!(tables, 1 | 2) {
        return Err(fields.wrong("number of tables", 110, tables.to_string(), "1 or 2"));
    }
    let active = u64::from(fields.le16(106)? & 1);
    if active >= tables.into() {
        return Err(fields.wrong("table in use", 106, "the second", "the only one"));
    }
    let (table, table_sectors) = (u64::from(fields.le32(80)?), u64::from(fields.le32(84)?));
    let heap = u64::from(fields.le32(88)?);
    let clusters = fields.le32(92)?;
    let tables_end = table.saturating_add(table_sectors.saturating_mul(tables.into()));
    if table < 24 || tables_end > heap {
        let found = format!("sectors {table} to {tables_end}");
        return Err(fields.wrong("tables", 80, found, format!("between sector 24 and {heap}")));
    }
    let needed = u64::from(clusters).saturating_add(2).saturating_mul(4);
    if bytes(table_sectors).is_none_or(|table| table < needed) {
        let found = format!("{table_sectors} sectors");
        return Err(fields.wrong("table length", 84, found, format!("{needed} bytes or more")));
    }
    let heap = bytes(heap).unwrap_or(u64::MAX);
    let heap_bytes = u64::from(clusters).checked_shl(cluster_log.into()).unwrap_or(u64::MAX);
    if clusters == 0 || clusters > MOST_CLUSTERS || heap.saturating_add(heap_bytes) > size_bytes {
        let allowed = format!("1 to what {size_bytes} bytes hold");
        return Err(fields.wrong("clusters", 92, clusters.to_string(), allowed));
    }
    let start = table.saturating_add(active.saturating_mul(table_sectors));
    Ok(Boot {
        cluster_bytes: 1_u32.checked_shl(cluster_log.into()).unwrap_or(u32::MAX),
        clusters,
        table: bytes(start).unwrap_or(u64::MAX),
        heap,
        root: fields.le32(96)?,
        size_bytes,
        serial: fields.le32(100)?,
    })
}

/// Checks the sum over the region, which the twelfth sector repeats. What changes while a volume is mounted
/// (its flags, and how full it is) does not count.
fn check_sum(reader: &CachedReader, sector_log: u8) -> Result<()> {
    let sector_bytes = 1_u64.checked_shl(sector_log.into()).unwrap_or(512);
    let at = sector_bytes.saturating_mul(SUMMED_SECTORS);
    let mut region = vec![0; len(at)];
    reader.read_exact_at(0, &mut region)?;
    let counted = region.iter().enumerate().filter(|(at, _)| !matches!(at, 106 | 107 | 112));
    let sum = counted.fold(0_u32, |sum, (_, byte)| sum.rotate_right(1).wrapping_add((*byte).into()));
    let mut stored = vec![0; len(sector_bytes)];
    reader.read_exact_at(at, &mut stored)?;
    let (stored, _) = stored.as_chunks::<4>();
    match stored.iter().map(|bytes| u32::from_le_bytes(*bytes)).find(|stored| !sum_holds(*stored, sum)) {
        None => Ok(()),
        Some(stored) => Err(Error::malformed(
            FORMAT,
            "checksum of the boot region",
            at,
            format!("{stored:#010x}"),
            format!("{sum:#010x}, as computed"),
        )),
    }
}
