//! The superblock: sector 0 of the volume, and the geometry that follows from it.
//!
//! Layout: *XFS Algorithms & Data Structures*, 3rd edition, chapter 13 (allocation groups); fields as in
//! `struct xfs_dsb`. All numbers are big-endian but the checksum.
//!
//! | byte | field | | byte | field |
//! | --- | --- | --- | --- | --- |
//! | 0 | magic `XFSB` | | 100 | versionnum |
//! | 4 | blocksize | | 102 | sectsize |
//! | 8 | dblocks | | 104 | inodesize |
//! | 32 | uuid | | 120 | blocklog, sectlog, inodelog, inopblog, agblklog |
//! | 48 | logstart | | 126 | inprogress |
//! | 56 | rootino | | 192 | dirblklog |
//! | 84 | agblocks, agcount | | 200 | features2 |
//! | 96 | logblocks | | 208 | features: compat, ro, incompat, log; crc at 224 |
//!
//! Not used: free space and quota fields, and the copies in the other allocation groups.

use std::ops::Range;

use crate::error::{Error, Result};
use crate::tree::fields::Fields;

pub(super) const MAGIC: u32 = u32::from_be_bytes(*b"XFSB");
/// Bytes of the volume's first sector that hold the superblock, whatever the sector size.
pub(super) const SUPERBLOCK_BYTES: usize = 512;

const VERSION_NUMBER: u16 = 0x000f;
const VERSION_LOG_V2: u16 = 0x0400;
const VERSION_DIR_V2: u16 = 0x2000;
const VERSION_ASCII_CI: u16 = 0x4000;
const VERSION_MORE: u16 = 0x8000;
const VERSION2_CRC: u32 = 0x0100;
const VERSION2_FTYPE: u32 = 0x0200;

const INCOMPAT_FTYPE: u32 = 0x0001;
const INCOMPAT_META_UUID: u32 = 0x0004;
const INCOMPAT_NEEDS_REPAIR: u32 = 0x0010;
/// Incompatible features in the order of their bits, with whether they are read.
const INCOMPAT: [(&str, bool); 11] = [
    ("ftype", true),
    ("sparse inodes", true),
    ("meta-uuid", true),
    ("bigtime", true),
    ("needsrepair", false),
    ("nrext64", true),
    ("exchrange", true),
    ("parent", true),
    ("metadir", true),
    ("zoned", true),
    ("zone gaps", true),
];

/// The geometry of one file system; all ranges are checked.
#[derive(Debug, Clone)]
pub(super) struct Superblock {
    /// A power of two, 512 to 65,536.
    pub(super) block_bytes: u32,
    block_log: u8,
    /// Blocks of the data device.
    pub(super) blocks: u64,
    ag_blocks: u32,
    ag_count: u32,
    ag_block_log: u8,
    inodes_per_block_log: u8,
    /// A power of two, 256 to 2,048.
    pub(super) inode_bytes: u16,
    pub(super) root: u64,
    /// A power of two, up to 65,536.
    pub(super) directory_block_bytes: u32,
    /// A block number as in extents; 0 if the log is on a device of its own.
    pub(super) log_start: u64,
    pub(super) log_blocks: u32,
    pub(super) has_log_v2: bool,
    /// Version 5: metadata has checksums and says whose it is.
    pub(super) is_v5: bool,
    pub(super) has_ftype: bool,
    pub(super) is_ascii_ci: bool,
    /// The identity that metadata bears.
    pub(super) uuid: [u8; 16],
    /// The identity that log records bear.
    pub(super) log_uuid: [u8; 16],
    pub(super) label: Vec<u8>,
    /// Features that can be in the log and are not known here.
    pub(super) log_features: u32,
}

impl Superblock {
    /// Decodes the first [`SUPERBLOCK_BYTES`], whose checksum is [`check_crc`]'s business.
    ///
    /// # Errors
    /// `Malformed` with the field; `Unsupported` for features that change how files are found.
    pub(super) fn decode(sector: &[u8]) -> Result<Self> {
        let fields = Fields::new(sector, "XFS superblock", 0);
        fields.expect_magic(0, fields.be32(0)?, MAGIC)?;
        let version = fields.be16(100)?;
        let is_v5 = match version & VERSION_NUMBER {
            5 => true,
            4 => false,
            old => return Err(Error::unsupported(format!("XFS version {old}; versions 4 and 5 are read"))),
        };
        if !is_v5 && version & VERSION_DIR_V2 == 0 {
            return Err(Error::unsupported("XFS with version 1 directories"));
        }
        let features2 = if version & VERSION_MORE != 0 { fields.be32(200)? } else { 0 };
        if !is_v5 && features2 & VERSION2_CRC != 0 {
            return Err(fields.wrong(
                "features2",
                200,
                format!("{features2:#x}"),
                "no checksums in version 4",
            ));
        }
        if fields.u8(126)? != 0 {
            return Err(Error::unsupported(
                "XFS that `mkfs.xfs` or a copy did not finish (inprogress is set)",
            ));
        }
        let sector_bytes = power_of_two(&fields, "sectsize", 102, fields.be16(102)?.into(), &(512..32_769))?;
        let incompat = if is_v5 { fields.be32(216)? } else { 0 };
        if is_v5 {
            check_features(incompat)?;
        }
        let mut uuid = [0; 16];
        uuid.copy_from_slice(fields.slice(32, 16)?);
        let log_uuid = uuid;
        if incompat & INCOMPAT_META_UUID != 0 {
            uuid.copy_from_slice(fields.slice(248, 16)?);
        }
        let block_bytes = power_of_two(&fields, "blocksize", 4, fields.be32(4)?, &(512..65_537))?;
        let inode_bytes = power_of_two(&fields, "inodesize", 104, fields.be16(104)?.into(), &(256..2_049))?;
        if inode_bytes > block_bytes || sector_bytes > block_bytes {
            let found = format!("inodes of {inode_bytes}, sectors of {sector_bytes} bytes");
            return Err(fields.wrong(
                "blocksize",
                4,
                format!("{block_bytes}; {found}"),
                "no less than these",
            ));
        }
        let label: Vec<u8> = fields.slice(108, 12)?.iter().copied().take_while(|byte| *byte != 0).collect();
        let this = Superblock {
            block_bytes,
            block_log: fields.u8(120)?,
            blocks: fields.be64(8)?,
            ag_blocks: fields.be32(84)?,
            ag_count: fields.be32(88)?,
            ag_block_log: fields.u8(124)?,
            inodes_per_block_log: fields.u8(123)?,
            inode_bytes: u16::try_from(inode_bytes).unwrap_or(u16::MAX),
            root: fields.be64(56)?,
            directory_block_bytes: directory_block_bytes(&fields, block_bytes)?,
            log_start: fields.be64(48)?,
            log_blocks: fields.be32(96)?,
            has_log_v2: is_v5 || version & VERSION_LOG_V2 != 0,
            is_v5,
            has_ftype: incompat & INCOMPAT_FTYPE != 0 || features2 & VERSION2_FTYPE != 0,
            is_ascii_ci: version & VERSION_ASCII_CI != 0,
            uuid,
            log_uuid,
            label,
            log_features: if is_v5 { fields.be32(220)? } else { 0 },
        };
        this.check(&fields)?;
        Ok(this)
    }

    fn check(&self, fields: &Fields<'_>) -> Result<()> {
        let equal = |field, at, found: u8, allowed: u32| match u32::from(found) == allowed {
            true => Ok(()),
            false => Err(fields.wrong(field, at, found.to_string(), allowed.to_string())),
        };
        equal("blocklog", 120, self.block_log, self.block_bytes.trailing_zeros())?;
        let per_block = self.block_bytes.checked_div(self.inode_bytes.into()).unwrap_or(0);
        equal("inopblog", 123, self.inodes_per_block_log, per_block.trailing_zeros())?;
        let ag_log = self.ag_blocks.checked_next_power_of_two().map_or(32, u32::trailing_zeros);
        equal("agblklog", 124, self.ag_block_log, ag_log)?;
        let (count, size) = (u64::from(self.ag_count), u64::from(self.ag_blocks));
        let most = count.saturating_mul(size);
        let fewest = count.saturating_sub(1).saturating_mul(size);
        if count == 0 || size < 2 || self.blocks > most || self.blocks <= fewest {
            return Err(fields.wrong(
                "dblocks",
                8,
                self.blocks.to_string(),
                format!("what {count} allocation groups of {size} blocks hold"),
            ));
        }
        self.inode_offset(self.root).map_err(|_| {
            fields.wrong("rootino", 56, self.root.to_string(), "an inode inside the allocation groups")
        })?;
        Ok(())
    }

    /// The data device's size in bytes.
    pub(super) fn size_bytes(&self) -> u64 {
        self.blocks.saturating_mul(self.block_bytes.into())
    }

    /// Where `count` blocks from this one on are on the volume, in bytes. A block number is an allocation
    /// group and, in its low bits, a block in it.
    ///
    /// # Errors
    /// `Malformed` if they are not all in one allocation group.
    pub(super) fn block_offset(&self, block: u64, count: u64) -> Result<u64> {
        let group = block.checked_shr(self.ag_block_log.into()).unwrap_or(0);
        let inside = block & low_bits(self.ag_block_log);
        let linear = group.saturating_mul(self.ag_blocks.into()).saturating_add(inside);
        let fits = inside.saturating_add(count) <= self.ag_blocks.into()
            && linear.saturating_add(count) <= self.blocks
            && group < self.ag_count.into();
        match fits {
            true => Ok(linear.saturating_mul(self.block_bytes.into())),
            false => Err(Error::malformed(
                "XFS extent",
                "startblock",
                None,
                format!("{count} blocks from {block:#x} on (group {group}, block {inside})"),
                format!("within one of {} groups of {} blocks", self.ag_count, self.ag_blocks),
            )),
        }
    }

    /// Where an inode is on the volume, in bytes. Its number is allocation group, block in it, and index in
    /// that block, from the high bits to the low.
    ///
    /// # Errors
    /// `Malformed` if there is no such block.
    pub(super) fn inode_offset(&self, inode: u64) -> Result<u64> {
        let block = inode.checked_shr(self.inodes_per_block_log.into()).unwrap_or(0);
        let index = inode & low_bits(self.inodes_per_block_log);
        let offset = self.block_offset(block, 1).map_err(|_| {
            Error::malformed(
                "XFS inode",
                "number",
                None,
                inode.to_string(),
                format!("within {} groups of {} blocks", self.ag_count, self.ag_blocks),
            )
        })?;
        Ok(offset.saturating_add(index.saturating_mul(self.inode_bytes.into())))
    }

    /// The block number, as extents have it, of a group and a block in it.
    pub(super) fn block_number(&self, group: u32, block: u32) -> u64 {
        let group = u64::from(group).checked_shl(self.ag_block_log.into()).unwrap_or(0);
        group | u64::from(block)
    }

    /// Blocks of one directory block.
    pub(super) fn directory_block_blocks(&self) -> u64 {
        u64::from(self.directory_block_bytes.checked_div(self.block_bytes).unwrap_or(1)).max(1)
    }
}

/// Checks the checksum of the superblock's sector.
///
/// # Errors
/// `Malformed` if it is wrong.
pub(super) fn check_crc(sector: &[u8]) -> Result<()> {
    Fields::new(sector, "XFS superblock", 0).check_crc(224)
}

/// The size of sectors that an undecoded superblock gives, and whether it has a checksum.
pub(super) fn sector_bytes(head: &[u8]) -> Result<(u32, bool)> {
    let fields = Fields::new(head, "XFS superblock", 0);
    fields.expect_magic(0, fields.be32(0)?, MAGIC)?;
    let size = power_of_two(&fields, "sectsize", 102, fields.be16(102)?.into(), &(512..32_769))?;
    Ok((size, fields.be16(100)? & VERSION_NUMBER == 5))
}

fn low_bits(count: u8) -> u64 {
    1_u64.checked_shl(count.into()).map_or(u64::MAX, |bit| bit.saturating_sub(1))
}

fn power_of_two(
    fields: &Fields<'_>,
    field: &'static str,
    at: usize,
    found: u32,
    allowed: &Range<u32>,
) -> Result<u32> {
    match found.is_power_of_two() && allowed.contains(&found) {
        true => Ok(found),
        false => Err(fields.wrong(
            field,
            at,
            found.to_string(),
            format!("a power of two in {}..={}", allowed.start, allowed.end.saturating_sub(1)),
        )),
    }
}

fn directory_block_bytes(fields: &Fields<'_>, block_bytes: u32) -> Result<u32> {
    let log = fields.u8(192)?;
    Some(log)
        .filter(|log| *log <= 16)
        .and_then(|log| u64::from(block_bytes).checked_shl(log.into()))
        .and_then(|bytes| u32::try_from(bytes).ok())
        .filter(|bytes| *bytes <= 65_536)
        .ok_or_else(|| fields.wrong("dirblklog", 192, log.to_string(), "directory blocks up to 64 KiB"))
}

fn check_features(incompat: u32) -> Result<()> {
    if incompat & INCOMPAT_NEEDS_REPAIR != 0 {
        return Err(Error::unsupported("XFS that is marked as damaged (needsrepair)")
            .hint("run `xfs_repair` on a copy of the disk"));
    }
    let known = INCOMPAT.iter().enumerate().filter(|(_, (_, is_read))| *is_read);
    let known =
        known.filter_map(|(bit, _)| 1_u32.checked_shl(u32::try_from(bit).ok()?)).fold(0, |a, b| a | b);
    let unknown = incompat & !known;
    match unknown {
        0 => Ok(()),
        bits => Err(Error::unsupported(format!("XFS with unknown incompatible features ({bits:#x})"))),
    }
}
