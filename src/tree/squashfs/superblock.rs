//! The superblock: 96 bytes at the start of the volume, little-endian.
//!
//! | byte | field | | byte | field |
//! | --- | --- | --- | --- | --- |
//! | 0 | magic `hsqs` | | 32 | root inode, as a reference |
//! | 4 | inodes (32 bits) | | 40 | bytes used |
//! | 12 | block size | | 48 | id table |
//! | 16 | fragments | | 56 | xattr table |
//! | 20 | compressor | | 64 | inode table |
//! | 22 | log2 of the block size | | 72 | directory table |
//! | 24 | flags | | 80 | fragment table |
//! | 28, 30 | version | | 88 | export table |

use std::ops::Range;

use crate::bytes::{ReadAt, size_of_len};
use crate::codec::BlockCodec;
use crate::error::{Error, Result};
use crate::tree::fields::Fields;

const FORMAT: &str = "squashfs superblock";
pub(super) const SUPERBLOCK_BYTES: usize = 96;
pub(super) const MAGIC: u32 = u32::from_le_bytes(*b"hsqs");
/// What squashfs up to 3.x wrote on big-endian machines.
const MAGIC_SWAPPED: u32 = u32::from_le_bytes(*b"sqsh");
/// What vendors' patches that brought LZMA to squashfs 3 wrote, in both byte orders.
const MAGICS_LZMA: [u32; 2] = [u32::from_le_bytes(*b"shsq"), u32::from_le_bytes(*b"qshs")];
const FLAG_OPTIONS: u16 = 1 << 10;

/// The geometry of a file system.
#[derive(Debug)]
pub(super) struct Superblock {
    pub(super) block_bytes: u32,
    pub(super) codec: BlockCodec,
    has_options: bool,
    pub(super) root: u64,
    pub(super) bytes_used: u64,
    /// The metadata blocks of inodes and of directories.
    pub(super) inodes: Range<u64>,
    pub(super) directories: Range<u64>,
    pub(super) fragments: u32,
    pub(super) fragment_table: u64,
    /// Where the table of attributes is; all ones if there is none.
    pub(super) attributes: u64,
}

impl Superblock {
    /// Reads and checks the superblock of a volume.
    ///
    /// # Errors
    /// `Malformed` with the field; `Unsupported` for another version or byte order and for an unknown compressor;
    /// `Io`.
    pub(super) fn read(volume: &dyn ReadAt) -> Result<Self> {
        let mut bytes = [0; SUPERBLOCK_BYTES];
        volume.read_exact_at(0, &mut bytes)?;
        let fields = Fields::new(&bytes, FORMAT, 0);
        let this = Self::decode(&fields, volume.size_bytes())?;
        if this.has_options {
            check_options(volume, this.codec)?;
        }
        Ok(this)
    }

    fn decode(fields: &Fields<'_>, volume_bytes: u64) -> Result<Self> {
        check_version(fields)?;
        let block_bytes = fields.le32(12)?;
        if !block_bytes.is_power_of_two() || !(4 << 10..=1 << 20).contains(&block_bytes) {
            let allowed = "a power of two from 4096 to 1048576";
            return Err(fields.wrong("block_size", 12, block_bytes.to_string(), allowed));
        }
        let log = fields.le16(22)?;
        if u32::from(log) != block_bytes.trailing_zeros() {
            let allowed = block_bytes.trailing_zeros().to_string();
            return Err(fields.wrong("block_log", 22, log.to_string(), allowed));
        }
        let bytes_used = fields.le64(40)?;
        if bytes_used > volume_bytes {
            let allowed = format!("up to the volume's {volume_bytes}");
            return Err(fields
                .wrong("bytes_used", 40, format!("{bytes_used} bytes of file system"), allowed)
                .hint("the image is cut off; fetch or build it again"));
        }
        let table = |field, at: usize, least: u64| -> Result<u64> {
            let start = fields.le64(at)?;
            match (least..bytes_used).contains(&start) {
                true => Ok(start),
                false => Err(fields.wrong(
                    field,
                    at,
                    format!("{start:#x}"),
                    format!("{least:#x}..{bytes_used:#x}"),
                )),
            }
        };
        let inode_table = table("inode_table_start", 64, size_of_len(SUPERBLOCK_BYTES))?;
        let directory_table = table("directory_table_start", 72, inode_table)?;
        let fragments = fields.le32(16)?;
        let fragment_table = match fields.le64(80)? {
            // It is all ones where there are none.
            start if fragments == 0 && start >= bytes_used => bytes_used,
            _ => table("fragment_table_start", 80, directory_table)?,
        };
        Ok(Superblock {
            block_bytes,
            codec: codec(fields.le16(20)?)?,
            has_options: fields.le16(24)? & FLAG_OPTIONS != 0,
            root: fields.le64(32)?,
            bytes_used,
            inodes: inode_table..directory_table,
            directories: directory_table..fragment_table,
            fragments,
            fragment_table,
            attributes: fields.le64(56)?,
        })
    }
}

fn check_version(fields: &Fields<'_>) -> Result<()> {
    let magic = fields.le32(0)?;
    if magic == MAGIC_SWAPPED {
        let (major, minor) = (fields.be16(28)?, fields.be16(30)?);
        return Err(Error::unsupported(format!("squashfs {major}.{minor} of a big-endian machine")));
    }
    if MAGICS_LZMA.contains(&magic) {
        return Err(Error::unsupported("squashfs as vendors patched it for LZMA"));
    }
    fields.expect_magic(0, magic, MAGIC)?;
    match (fields.le16(28)?, fields.le16(30)?) {
        (4, 0) => Ok(()),
        (major, minor) => Err(Error::unsupported(format!("squashfs {major}.{minor}"))
            .hint("only version 4.0 is read, which is written since 2009")),
    }
}

fn codec(id: u16) -> Result<BlockCodec> {
    Ok(match id {
        1 => BlockCodec::Zlib,
        2 => BlockCodec::Lzma,
        3 => BlockCodec::Lzo,
        4 => BlockCodec::Xz,
        5 => BlockCodec::Lz4,
        6 => BlockCodec::Zstd,
        other => return Err(Error::unsupported(format!("squashfs compressor {other}"))),
    })
}

/// The compressor's options are one metadata block, never compressed, behind the superblock. All that bears on
/// reading is the version of LZ4's; each block says the rest.
fn check_options(volume: &dyn ReadAt, codec: BlockCodec) -> Result<()> {
    if codec != BlockCodec::Lz4 {
        return Ok(());
    }
    let mut bytes = [0; 10];
    volume.read_exact_at(size_of_len(SUPERBLOCK_BYTES), &mut bytes)?;
    let fields = Fields::new(&bytes, "squashfs compressor options", size_of_len(SUPERBLOCK_BYTES));
    let header = fields.le16(0)?;
    if header != 0x8008 {
        return Err(fields.wrong("header", 0, format!("{header:#06x}"), "0x8008, 8 bytes not compressed"));
    }
    match fields.le32(2)? {
        1 => Ok(()),
        version => Err(Error::unsupported(format!("squashfs LZ4 blocks of version {version}"))),
    }
}
