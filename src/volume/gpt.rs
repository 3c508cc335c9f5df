//! GUID partition tables (UEFI 2.10, chapter 5) with sectors of 512 or 4096 bytes.
//!
//! | at | bytes | header | | at | bytes | entry |
//! |---|---|---|---|---|---|---|
//! | 0 | 8 | `EFI PART` | | 0 | 16 | type; zero is none |
//! | 12, 16 | 4, 4 | its length, its CRC-32 | | 16 | 16 | unique id |
//! | 24, 32 | 8, 8 | own sector, that of the other header | | 32, 40 | 8, 8 | first and last sector |
//! | 56 | 16 | disk id | | 48 | 8 | attributes |
//! | 72 | 8 | sector of the entries | | 56 | 72 | name, UTF-16 |
//! | 80, 84, 88 | 4, 4, 4 | entries, size of one, their CRC-32 | | | | |
//!
//! The header is the second sector; where it or its entries are damaged, the copy in the last sector serves. Where
//! both are whole and do not agree, the first serves, and the difference is told.

use std::ops::Range;

use super::probe::peek;
use crate::bytes::{ReadAt, array_at, guid_text, le_u16, le_u32, le_u64, sum_holds};
use crate::error::{Error, Result};
use crate::limits::Limits;

const FORMAT: &str = "GPT";
const CUT: &str = "the image is cut off; fetch or copy it again";

/// A partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Partition {
    pub(super) number: u32,
    pub(super) kind: String,
    pub(super) uuid: String,
    pub(super) name: String,
    /// Bytes of the disk; may pass its end.
    pub(super) range: Range<u64>,
}

/// The table of a disk.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) sector_bytes: u64,
    pub(super) disk_id: String,
    pub(super) partitions: Vec<Partition>,
    /// Sectors that hold the tables.
    pub(super) tables: Vec<Range<u64>>,
    /// The sector of the other header.
    other: u64,
    pub(super) note: Option<String>,
    /// Why partitions may be missing.
    pub(super) problem: Option<Error>,
}

/// Whether a sector is a header whose checksum is right.
pub(super) fn is_header(sector: &[u8]) -> bool {
    let len = usize::try_from(le_u32(sector, 12)).unwrap_or(usize::MAX);
    let Some(summed) = sector.get(..len).filter(|_| len >= 92) else { return false };
    sum_holds(le_u32(sector, 16), checksum(summed))
}

/// That of a header, its own field taken as zero.
fn checksum(header: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(header.get(..16).unwrap_or_default());
    sum.update(&[0; 4]);
    sum.update(header.get(20..).unwrap_or_default());
    sum.finalize()
}

impl Table {
    /// What the copy says that this does not, or the other way round.
    fn against(&self, copy: &Table) -> Option<Error> {
        let only = |own: &Table, other: &Table| {
            let is_new = |partition: &&Partition| {
                !other.partitions.iter().any(|known| {
                    (known.number, &known.kind, &known.uuid, &known.range)
                        == (partition.number, &partition.kind, &partition.uuid, &partition.range)
                })
            };
            own.partitions.iter().find(is_new).map(|partition| (partition.number, partition.range.clone()))
        };
        let told = |(number, range): (u32, Range<u64>), place: &str| {
            let found =
                format!("partition {number}, bytes {} to {}, only in the {place}", range.start, range.end);
            Error::malformed(FORMAT, "backup", range.start, found, "the same partitions in both tables")
        };
        let here = only(copy, self).map(|it| told(it, "backup"));
        here.or_else(|| only(self, copy).map(|it| told(it, "primary table")))
    }
}

/// Reads the table; `None` if there is no sign of one.
pub(super) fn read(disk: &dyn ReadAt, is_protected: bool, limits: &Limits) -> Result<Option<Table>> {
    let mut first_error = None;
    for sector_bytes in [512, 4096] {
        let backup = disk.size_bytes().div_euclid(sector_bytes).saturating_sub(1);
        match header(disk, sector_bytes, 1, limits) {
            Ok(Some(mut table)) => {
                // Of a disk that grew, or was rounded up by its container, it stays where the header says.
                let copy = match header(disk, sector_bytes, table.other, limits) {
                    Ok(Some(copy)) if table.other != 1 => Ok(Some(copy)),
                    _ => header(disk, sector_bytes, backup, limits),
                };
                let needed = table.other.saturating_add(1).saturating_mul(sector_bytes);
                match copy {
                    Ok(Some(copy)) => {
                        table.problem = table.against(&copy);
                        table.tables.extend(copy.tables);
                    }
                    Ok(None) if needed > disk.size_bytes() => {
                        let found = format!("the disk ends at byte {}", disk.size_bytes());
                        let allowed = format!("{needed} bytes: its table has a backup there");
                        table.problem = Some(
                            Error::malformed(FORMAT, "size of the disk", None, found, allowed).hint(CUT),
                        );
                    }
                    Ok(None) => {
                        table.note =
                            Some("GPT: no backup in the last sector, nor where the header says".to_owned())
                    }
                    Err(error) => table.note = Some(format!("the backup is damaged: {error}")),
                }
                return Ok(Some(table));
            }
            Ok(None) => {}
            Err(error) => {
                first_error.get_or_insert(error);
            }
        }
    }
    for sector_bytes in [512, 4096] {
        let backup = disk.size_bytes().div_euclid(sector_bytes).saturating_sub(1);
        if let Ok(Some(mut table)) = header(disk, sector_bytes, backup, limits) {
            let why = first_error.map_or("GPT: no primary header".to_owned(), |error| error.to_string());
            table.note = Some(format!("the backup of the table was used: {why}"));
            table.tables.push(0..sector_bytes.saturating_mul(34));
            return Ok(Some(table));
        }
    }
    match first_error {
        Some(error) => Err(error.hint("neither the primary table nor its backup is whole")),
        None if is_protected => Err(Error::malformed(
            FORMAT,
            "header",
            512,
            "none, and no backup in the last sector",
            "one: the boot record says so",
        )),
        None => Ok(None),
    }
}

/// The table whose header is in this sector; `None` if there is no header.
fn header(disk: &dyn ReadAt, sector_bytes: u64, sector: u64, limits: &Limits) -> Result<Option<Table>> {
    let at = sector.saturating_mul(sector_bytes);
    let Some(bytes) = peek::<512>(disk, at)? else { return Ok(None) };
    if !bytes.starts_with(b"EFI PART") {
        return Ok(None);
    }
    let wrong = |field, offset: u64, found: String, allowed: &str| {
        Err(Error::malformed(FORMAT, field, at.saturating_add(offset), found, allowed))
    };
    let len = usize::try_from(le_u32(&bytes, 12)).unwrap_or(usize::MAX);
    let Some(summed) = bytes.get(..len).filter(|_| len >= 92) else {
        return wrong("header size", 12, len.to_string(), "92 to 512");
    };
    let (sum, found) = (checksum(summed), le_u32(&bytes, 16));
    if !sum_holds(found, sum) {
        return wrong("header checksum", 16, format!("{found:#x}"), &format!("the sum {sum:#x}"));
    }
    if le_u64(&bytes, 24) != sector {
        return wrong("own sector", 24, le_u64(&bytes, 24).to_string(), &sector.to_string());
    }
    let (count, entry_bytes) = (u64::from(le_u32(&bytes, 80)), u64::from(le_u32(&bytes, 84)));
    if !(128..=4096).contains(&entry_bytes) || entry_bytes.rem_euclid(8) != 0 {
        return wrong("entry size", 84, entry_bytes.to_string(), "128 to 4096, a multiple of 8");
    }
    limits.partitions.check(count)?;
    let start = le_u64(&bytes, 72).saturating_mul(sector_bytes);
    let table_bytes = count.saturating_mul(entry_bytes);
    if start.saturating_add(table_bytes) > disk.size_bytes() {
        return wrong("entries", 72, format!("{table_bytes} bytes at {start:#x}"), "inside of the disk");
    }
    let mut entries = vec![0; usize::try_from(table_bytes).unwrap_or_default()];
    disk.read_exact_at(start, &mut entries)?;
    let (found, sum) = (le_u32(&bytes, 88), crc32fast::hash(&entries));
    if !sum_holds(found, sum) {
        return wrong("checksum of the entries", 88, format!("{found:#x}"), &format!("the sum {sum:#x}"));
    }
    let size = usize::try_from(entry_bytes).unwrap_or(128);
    let partitions = (1..).zip(entries.chunks_exact(size));
    let partitions =
        partitions.filter_map(|(number, entry)| partition(number, entry, sector_bytes)).collect();
    let tables_end = start.saturating_add(table_bytes).next_multiple_of(sector_bytes);
    let tables = vec![at..at.saturating_add(sector_bytes), start..tables_end];
    let disk_id = guid_text(&array_at(&bytes, 56));
    let other = le_u64(&bytes, 32);
    Ok(Some(Table { sector_bytes, disk_id, partitions, tables, other, note: None, problem: None }))
}

fn partition(number: u32, entry: &[u8], sector_bytes: u64) -> Option<Partition> {
    let kind: [u8; 16] = array_at(entry, 0);
    if kind == [0; 16] {
        return None;
    }
    let (first, last) = (le_u64(entry, 32), le_u64(entry, 40));
    let units = (0..36).map(|index: usize| le_u16(entry, index.saturating_mul(2).saturating_add(56)));
    let name = char::decode_utf16(units.take_while(|unit| *unit != 0))
        .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect();
    Some(Partition {
        number,
        kind: guid_text(&kind),
        uuid: guid_text(&array_at(entry, 16)),
        name,
        range: first.saturating_mul(sector_bytes)..last.saturating_add(1).saturating_mul(sector_bytes),
    })
}

/// Names of types (UEFI, the Discoverable Partitions Specification, and those of vendors).
const KINDS: &[(&str, &str)] = &[
    ("c12a7328-f81f-11d2-ba4b-00a0c93ec93b", ESP),
    ("21686148-6449-6e6f-744e-656564454649", BIOS_BOOT),
    ("e3c9e316-0b5c-4db8-817d-f92df00215ae", RESERVED),
    ("9e1a2d38-c612-4316-aa26-8b49521e5a8b", PREP),
    ("0657fd6d-a4ab-43c4-84e5-0933c84b4f4f", "Linux swap"),
    ("0fc63daf-8483-4772-8e79-3d69d8477de4", "Linux"),
    ("e6d6d379-f507-44c2-a23c-238f2a3df928", "Linux LVM"),
    ("a19d880f-05fc-4d3b-a006-743f0f84911e", "Linux RAID"),
    ("ca7d7ccb-63ed-4c53-861c-1742536059cc", "Linux LUKS"),
    ("bc13c2ff-59e6-4262-a352-b275fd6f7172", "Linux extended boot"),
    ("4f68bce3-e8cd-4db1-96e7-fbcaf984b709", "Linux root (x86-64)"),
    ("44479540-f297-41b2-9af7-d131d5f0458a", "Linux root (x86)"),
    ("b921b045-1df0-41c3-af44-4c6f280d3fae", "Linux root (ARM 64)"),
    ("69dad710-2ce4-4e3c-b16c-21a1d49abed3", "Linux root (ARM 32)"),
    ("72ec70a6-cf74-40e6-bd49-4bda08e8f224", "Linux root (RISC-V 64)"),
    ("5eead9a9-fe09-4a1e-a1d7-520d00531306", "Linux root (s390x)"),
    ("c31c45e6-3f39-412e-80fb-4809c4980599", "Linux root (ppc64le)"),
    ("8484680c-9521-48c6-9c11-b0720656f69e", "Linux /usr (x86-64)"),
    ("b0e01050-ee5f-4390-949a-9101b17104e9", "Linux /usr (ARM 64)"),
    ("2c7357ed-ebd2-46d9-aec1-23d437ec2bf5", "Linux verity of root (x86-64)"),
    ("df3300ce-d69f-4c92-978c-9bfb0f38d820", "Linux verity of root (ARM 64)"),
    ("933ac7e1-2eb4-4f13-b844-0e14e2aef915", "Linux /home"),
    ("3b8f8425-20e0-4f3b-907f-1a25a76f98e8", "Linux /srv"),
    ("4d21b016-b534-45c2-a9fb-5c16e091fd2d", "Linux /var"),
    ("7ec6f557-3bc5-4aca-b293-16ef5df639d1", "Linux /var/tmp"),
    ("8da63339-0007-60c0-c436-083ac8230908", "Linux reserved"),
    ("ebd0a0a2-b9e5-4433-87c0-68b6b72699c7", "Microsoft basic data"),
    ("de94bba4-06d1-4d40-a16a-bfd50179d6ac", "Windows recovery"),
    ("5808c8aa-7e8f-42e0-85d2-e1e90434cfb3", "Windows dynamic disk metadata"),
    ("af9b60a0-1431-4f62-bc68-3311714a69ad", "Windows dynamic disk data"),
    ("e75caf8f-f680-4cee-afa3-b001e56efc2d", "Windows storage space"),
    ("516e7cb4-6ecf-11d6-8ff8-00022d09712b", "FreeBSD"),
    ("83bd6b9d-7f41-11dc-be0b-001560b84f0f", "FreeBSD boot"),
    ("516e7cb5-6ecf-11d6-8ff8-00022d09712b", "FreeBSD swap"),
    ("516e7cb6-6ecf-11d6-8ff8-00022d09712b", "FreeBSD UFS"),
    ("516e7cba-6ecf-11d6-8ff8-00022d09712b", "FreeBSD ZFS"),
    ("6a898cc3-1dd2-11b2-99a6-080020736631", "ZFS"),
    ("6a945a3b-1dd2-11b2-99a6-080020736631", "Solaris reserved"),
    ("48465300-0000-11aa-aa11-00306543ecac", "Apple HFS+"),
    ("7c3457ef-0000-11aa-aa11-00306543ecac", "Apple APFS"),
    ("aa31e02a-400f-11db-9590-000c2911d1b8", "VMFS"),
    ("9d275380-40ad-11db-bf97-000c2911d1b8", "ESX diagnostics"),
    ("fe3a2a5d-4f32-41a7-b725-accc3285a309", "ChromeOS kernel"),
    ("3cb8e202-3b7e-47dd-8a3c-7ff2a13cfcec", "ChromeOS root"),
];

pub(super) const ESP: &str = "EFI system";
pub(super) const BIOS_BOOT: &str = "BIOS boot";
pub(super) const RESERVED: &str = "Microsoft reserved";
pub(super) const PREP: &str = "PReP boot";

/// The name of a type, or the type itself.
pub(super) fn kind_name(kind: &str) -> &str {
    KINDS.iter().find(|(guid, _)| *guid == kind).map_or(kind, |(_, name)| name)
}
