//! The superblock: 4096 bytes at 64 KiB, with copies at 64 MiB and 256 GiB where the device reaches so far.
//!
//! | byte | field | | byte | field |
//! | --- | --- | --- | --- | --- |
//! | 0 | checksum (32) | | 160 | sys_chunk_array_size (4) |
//! | 32 | fsid (16) | | 164 | chunk_root_generation |
//! | 48 | bytenr | | 188 | incompat_flags |
//! | 56 | flags | | 196 | csum_type (2) |
//! | 64 | magic `_BHRfS_M` | | 198 | root_level, chunk_root_level, log_root_level (1 each) |
//! | 72 | generation | | 201 | dev_item (98): devid, total_bytes, … uuid at 66 |
//! | 80 | root | | 299 | label (256) |
//! | 88 | chunk_root | | 571 | metadata_uuid (16) |
//! | 96 | log_root | | 811 | sys_chunk_array (2048) |
//! | 136 | num_devices | | | |
//! | 144 | sectorsize (4), nodesize (4) | | | |
//!
//! Fields without a size have 8 bytes. Of the copies with a valid checksum the one of the newest generation
//! counts, if it is of the same file system on the same device as the first.

use super::checksum::Checksum;
use super::node::{CHUNK_TREE, Key, LOG_TREE, Pointer, ROOT_TREE};
use crate::bytes::ReadAt;
use crate::error::{Error, Result};
use crate::tree::fields::{Fields, label, len};

const FORMAT: &str = "btrfs superblock";
const BYTES: usize = 4096;
/// Where the copies are.
const COPIES: [u64; 3] = [64 << 10, 64 << 20, 256 << 30];
const MAGIC: &[u8; 8] = b"_BHRfS_M";
const SYSTEM_CHUNKS_BYTES: u32 = 2048;

/// Flags of states in which metadata is whole: written, relocated, error seen, seeding.
const FLAGS_READ: u64 = 1 | 1 << 1 | 1 << 2 | 1 << 32;
/// Data was left out (`btrfs-image`).
const FLAGS_METADUMP: u64 = 1 << 33 | 1 << 34;
const FLAGS: [(u64, &str); 5] = [
    (1 << 35, "whose UUID is being changed"),
    (1 << 36, "whose UUID is being changed"),
    (1 << 38, "that is being converted to a block group tree"),
    (1 << 39, "whose data checksums are being changed"),
    (1 << 40, "whose metadata checksums are being changed"),
];

/// Features that change nothing in what is read, or that are read.
const FEATURES_READ: u64 = 0xfff | 1 << 16;
const FEATURE_METADATA_UUID: u64 = 1 << 10;
const FEATURES: [(u64, &str); 4] =
    [(1 << 12, "zoned"), (1 << 13, "extent tree v2"), (1 << 14, "RAID stripe tree"), (1 << 17, "remap tree")];

/// What of the superblock is needed.
#[derive(Debug, Clone)]
pub(super) struct Superblock {
    /// Where the copy that is used was found.
    pub(super) offset: u64,
    pub(super) generation: u64,
    pub(super) fsid: [u8; 16],
    /// What the headers of metadata blocks bear: the fsid, unless that was changed since.
    pub(super) metadata_uuid: [u8; 16],
    pub(super) root: Pointer,
    pub(super) chunk_root: Pointer,
    /// The tree of trees with what was synced since the last commit.
    pub(super) log_root: Option<Pointer>,
    pub(super) device_count: u64,
    pub(super) sector_bytes: u32,
    pub(super) node_bytes: u32,
    pub(super) checksum: Checksum,
    pub(super) device: u64,
    pub(super) device_uuid: [u8; 16],
    pub(super) device_bytes: u64,
    pub(super) label: Vec<u8>,
    /// Keys and chunk items of the chunks that hold the chunk tree.
    pub(super) system_chunks: Vec<u8>,
    /// Data was left out of this copy of a file system.
    pub(super) is_dump: bool,
}

/// Whether the bytes from 64 KiB on are those of a superblock.
pub(super) fn is_one(bytes: &[u8]) -> bool {
    bytes.get(64..72).is_some_and(|magic| magic == MAGIC)
}

/// The newest valid superblock of a device, and what is wrong with the first copy if it is not that.
///
/// # Errors
/// What is wrong with the first copy, if no other is valid; `Unsupported` for features that are not read.
pub(super) fn read(device: &dyn ReadAt) -> Result<(Superblock, Option<Error>)> {
    let [first, later @ ..] = COPIES.map(|offset| read_copy(device, offset));
    let mut best = first;
    let mut damage = None;
    for copy in later.into_iter().flatten() {
        match &best {
            Ok(known) if (known.fsid, known.device_uuid) != (copy.fsid, copy.device_uuid) => {}
            Ok(known) if known.generation >= copy.generation => {}
            Ok(_) => best = Ok(copy),
            // A feature that is not read is no damage.
            Err(error) if matches!(error.kind(), crate::error::Kind::Unsupported(_)) => {}
            Err(error) => {
                damage.get_or_insert(error.clone());
                best = Ok(copy);
            }
        }
    }
    best.map(|superblock| (superblock, damage))
}

fn read_copy(device: &dyn ReadAt, offset: u64) -> Result<Superblock> {
    let mut bytes = vec![0; BYTES];
    device.read_exact_at(offset, &mut bytes)?;
    Superblock::decode(&bytes, offset)
}

impl Superblock {
    fn decode(bytes: &[u8], offset: u64) -> Result<Self> {
        let fields = Fields::new(bytes, FORMAT, offset);
        let magic = fields.slice(64, 8)?;
        if magic != MAGIC {
            let (found, allowed) = (magic.escape_ascii().to_string(), MAGIC.escape_ascii().to_string());
            return Err(fields.wrong("magic", 64, found, allowed));
        }
        let number = fields.le16(196)?;
        let checksum = Checksum::of_type(number)
            .ok_or_else(|| Error::unsupported(format!("btrfs with checksum type {number}")))?;
        if !checksum.matches(fields.slice(32, BYTES.saturating_sub(32))?, fields.slice(0, 32)?) {
            return Err(fields.wrong("checksum", 0, "another", "that of the superblock"));
        }
        if fields.le64(48)? != offset {
            return Err(fields.wrong("bytenr", 48, fields.le64(48)?.to_string(), offset.to_string()));
        }
        let is_dump = check_flags(fields.le64(56)?)?;
        let features = fields.le64(188)?;
        check_features(features)?;
        let sector_bytes = power(&fields, "sectorsize", 144, 4096)?;
        let node_bytes = power(&fields, "nodesize", 148, sector_bytes)?;
        let generation = fields.le64(72)?;
        let fsid = fields.array(32)?;
        let has_metadata_uuid = features & FEATURE_METADATA_UUID != 0;
        let pointer = |at, level, generation, owner| -> Result<Pointer> {
            let level = fields.u8(level)?;
            Ok(Pointer { logical: fields.le64(at)?, generation, level, owner, first: None, end: Key::MAX })
        };
        let chunk_generation = fields.le64(164)?;
        let log_root = pointer(96, 200, generation.saturating_add(1), LOG_TREE)?;
        let system_bytes = fields.le32(160)?;
        if system_bytes > SYSTEM_CHUNKS_BYTES {
            let allowed = format!("at most {SYSTEM_CHUNKS_BYTES}");
            return Err(fields.wrong("sys_chunk_array_size", 160, system_bytes.to_string(), allowed));
        }
        Ok(Superblock {
            offset,
            generation,
            fsid,
            metadata_uuid: if has_metadata_uuid { fields.array(571)? } else { fsid },
            root: pointer(80, 198, generation, ROOT_TREE)?,
            chunk_root: pointer(88, 199, chunk_generation, CHUNK_TREE)?,
            log_root: (log_root.logical != 0).then_some(log_root),
            device_count: fields.le64(136)?,
            sector_bytes,
            node_bytes,
            checksum,
            device: fields.le64(201)?,
            device_bytes: fields.le64(209)?,
            device_uuid: fields.array(267)?,
            label: label(fields.slice(299, 256)?),
            system_chunks: fields.slice(811, len(system_bytes))?.to_vec(),
            is_dump,
        })
    }
}

/// Whether it is a dump without data.
fn check_flags(flags: u64) -> Result<bool> {
    if let Some((_, name)) = FLAGS.iter().find(|(flag, _)| flags & flag != 0) {
        return Err(Error::unsupported(format!("a btrfs {name}")).hint(
            "let the tool that changes it finish, or start it again, then look at the disk once more",
        ));
    }
    match flags & !(FLAGS_READ | FLAGS_METADUMP) {
        0 => Ok(flags & FLAGS_METADUMP != 0),
        unknown => Err(Error::unsupported(format!("btrfs with superblock flags {unknown:#x}"))),
    }
}

fn check_features(features: u64) -> Result<()> {
    let unread = features & !FEATURES_READ;
    if unread == 0 {
        return Ok(());
    }
    let named = FEATURES.iter().find(|(feature, _)| unread & feature != 0);
    Err(Error::unsupported(match named {
        Some((_, name)) => format!("btrfs with the feature {name}"),
        None => format!("btrfs with the features {unread:#x}"),
    }))
}

/// A power of two from `least` to 64 KiB.
fn power(fields: &Fields<'_>, field: &'static str, at: usize, least: u32) -> Result<u32> {
    let found = fields.le32(at)?;
    match found.is_power_of_two() && (least..=65536).contains(&found) {
        true => Ok(found),
        false => Err(fields.wrong(field, at, found.to_string(), format!("a power of 2 in {least}..=65536"))),
    }
}
