//! The superblock: 128 bytes or more at byte 1024 of the volume, little-endian, and behind it what the compressors
//! need.
//!
//! | byte | field | | byte | field |
//! | --- | --- | --- | --- | --- |
//! | 0 | magic 0xe0f5e1e2 | | 64 | label |
//! | 4 | CRC-32C | | 80 | features that a reader must know |
//! | 8 | features that it need not | | 84 | compressors (16 bits) |
//! | 12 | log2 of the block size | | 86 | extra devices (16 bits) |
//! | 13 | 16 bytes more, how often | | 90 | log2 of directory blocks in blocks |
//! | 14 | root, or blocks from bit 32 on | | 96 | packed inode |
//! | 36 | blocks | | 112 | root (64 bits) |
//! | 40 | block of the inodes | | 128 | metabox inode |
//! | 48 | UUID | | | |

use crate::bytes::{ReadAt, size_of_len, sum_holds};
use crate::codec::BlockCodec;
use crate::error::{Error, Result};
use crate::tree::crc32c::crc32c;
use crate::tree::fields::{Fields, label, len, uuid};

const FORMAT: &str = "erofs superblock";
const CONFIG: &str = "erofs compressor configuration";
pub(super) const OFFSET: u64 = 1024;
/// With all extensions that are known.
const BYTES: usize = 144;
pub(super) const MAGIC: u32 = 0xe0f5_e1e2;

const COMPAT_CHECKSUM: u32 = 1;
/// Compressors with a configuration; also pclusters of several blocks.
const HAS_CONFIGURATIONS: u32 = 1 << 1;
const HAS_DEVICES: u32 = 1 << 3;
const IS_48_BIT: u32 = 1 << 7;
const HAS_METABOX: u32 = 1 << 8;
/// All features that are read.
const KNOWN: u32 = (1 << 9) - 1;

/// The bit of an inode's number that says that it is in the metabox.
pub(super) const IN_METABOX: u64 = 1 << 63;

/// The largest dictionary that LZMA may have.
const LZMA_DICTIONARY: u32 = 8 << 20;

/// The geometry of a file system.
#[derive(Debug)]
pub(super) struct Superblock {
    pub(super) block_bits: u32,
    pub(super) size_bytes: u64,
    pub(super) root: u64,
    /// The inode of the ends of many files.
    pub(super) packed: Option<u64>,
    /// The inode that holds inodes, compressed.
    pub(super) metabox: Option<u64>,
    /// Where inode 0 would be on the volume.
    pub(super) inodes: u64,
    pub(super) extra_devices: u16,
    /// The compressors by their number, of those that the superblock names.
    algorithms: [Option<BlockCodec>; 4],
    pub(super) uuid: Option<String>,
    pub(super) label: Vec<u8>,
}

impl Superblock {
    /// Reads and checks the superblock of a volume.
    ///
    /// # Errors
    /// `Malformed` with the field; `Unsupported` with the feature; `Io`.
    pub(super) fn read(volume: &dyn ReadAt) -> Result<Self> {
        let mut bytes = [0; BYTES];
        let there = len(volume.size_bytes().saturating_sub(OFFSET)).min(BYTES);
        volume.read_exact_at(OFFSET, bytes.get_mut(..there.max(128)).unwrap_or_default())?;
        let fields = Fields::new(&bytes, FORMAT, OFFSET);
        fields.expect_magic(0, fields.le32(0)?, MAGIC)?;
        let block_bits = fields.u8(12)?;
        if !(9..=16).contains(&block_bits) {
            return Err(fields.wrong("blkszbits", 12, block_bits.to_string(), "9..=16"));
        }
        let block_bits = u32::from(block_bits);
        if fields.le32(8)? & COMPAT_CHECKSUM != 0 {
            check_crc(volume, &fields, block_bits)?;
        }
        let features = fields.le32(80)?;
        if features & !KNOWN != 0 {
            return Err(Error::unsupported(format!("erofs features {:#x}", features & !KNOWN)));
        }
        if fields.u8(90)? != 0 {
            return Err(Error::unsupported("erofs directory blocks of another size than its blocks"));
        }
        let has = |feature: u32| features & feature != 0;
        let extension = usize::from(fields.u8(13)?).saturating_mul(16);
        if has(HAS_METABOX) && extension < 16 {
            return Err(fields.wrong("sb_extslots", 13, "0", "1 or more, for the metabox"));
        }
        let (root, blocks) = root_and_blocks(&fields, has(IS_48_BIT))?;
        let mut this = Superblock {
            block_bits,
            size_bytes: size_bytes(&fields, blocks, block_bits, volume.size_bytes())?,
            root,
            packed: Some(fields.le64(96)?).filter(|number| *number != 0),
            metabox: has(HAS_METABOX).then(|| fields.le64(128)).transpose()?,
            inodes: u64::from(fields.le32(40)?) << block_bits,
            extra_devices: if has(HAS_DEVICES) { fields.le16(86)? } else { 0 },
            algorithms: [Some(BlockCodec::Lz4), None, None, None],
            uuid: uuid(&fields.array(48)?),
            label: label(fields.slice(64, 16)?),
        };
        for (at, number) in [(96, this.packed), (128, this.metabox)] {
            if number.is_some_and(|number| number & IN_METABOX != 0) {
                return Err(fields.wrong("inode", at, "one in the metabox", "one outside of it"));
            }
        }
        if has(HAS_CONFIGURATIONS) {
            let behind = OFFSET.saturating_add(128).saturating_add(size_of_len(extension));
            this.algorithms = algorithms(volume, fields.le16(84)?, behind)?;
        }
        Ok(this)
    }

    pub(super) fn block_bytes(&self) -> u64 {
        1 << self.block_bits
    }

    /// The compressor of this number.
    ///
    /// # Errors
    /// `Malformed` if the superblock does not name it.
    pub(super) fn codec(&self, algorithm: u8) -> Result<BlockCodec> {
        self.algorithms.get(usize::from(algorithm)).copied().flatten().ok_or_else(|| {
            let allowed = "one that the superblock names";
            Error::malformed("erofs map", "algorithm", None, algorithm.to_string(), allowed)
        })
    }
}

fn root_and_blocks(fields: &Fields<'_>, is_48_bit: bool) -> Result<(u64, u64)> {
    let low = u64::from(fields.le32(36)?);
    match fields.le64(112)? {
        root if is_48_bit && root != 0 => Ok((root, low | (u64::from(fields.le16(14)?) << 32))),
        _ => Ok((fields.le16(14)?.into(), low)),
    }
}

fn size_bytes(fields: &Fields<'_>, blocks: u64, block_bits: u32, volume_bytes: u64) -> Result<u64> {
    // Those that are made as a stream do not know.
    if blocks == 0 {
        return Ok(volume_bytes);
    }
    match blocks.checked_mul(1 << block_bits) {
        Some(bytes) if bytes <= volume_bytes => Ok(bytes),
        _ => {
            let found = format!("{blocks} blocks of {} bytes", 1_u64 << block_bits);
            let allowed = format!("the volume's {volume_bytes} bytes");
            Err(fields
                .wrong("blocks", 36, found, allowed)
                .hint("the disk image is cut off, or the volume has parts elsewhere"))
        }
    }
}

/// The sum of the block from the superblock on to its end, the sum itself as zero, without inversion at the end.
fn check_crc(volume: &dyn ReadAt, fields: &Fields<'_>, block_bits: u32) -> Result<()> {
    let block = 1_u64 << block_bits;
    let summed = if block > OFFSET { block.saturating_sub(OFFSET) } else { block };
    let mut bytes = vec![0; len(summed)];
    volume.read_exact_at(OFFSET, &mut bytes)?;
    let before = crc32c(crc32c(!0, bytes.get(..4).unwrap_or_default()), &[0; 4]);
    let computed = crc32c(before, bytes.get(8..).unwrap_or_default());
    let stored = fields.le32(4)?;
    match sum_holds(stored, computed) {
        true => Ok(()),
        false => {
            let allowed = format!("{computed:#010x}, as computed");
            Err(fields.wrong("checksum", 4, format!("{stored:#010x}"), allowed))
        }
    }
}

/// The compressors that a file system uses. Of each there is a configuration: its length in 16 bits at an offset that
/// four divides, and so many bytes.
fn algorithms(volume: &dyn ReadAt, bits: u16, start: u64) -> Result<[Option<BlockCodec>; 4]> {
    if bits & !0xf != 0 {
        return Err(Error::unsupported(format!("erofs compressors {:#x}", bits & !0xf)));
    }
    let mut all = [None; 4];
    let mut at = start;
    for (number, place) in (0..4_u32).zip(&mut all) {
        if bits & (1 << number) == 0 {
            continue;
        }
        at = at.next_multiple_of(4);
        let mut size = [0; 2];
        volume.read_exact_at(at, &mut size)?;
        let size = u64::from(u16::from_le_bytes(size));
        let mut bytes = [0; 6];
        let data = at.saturating_add(2);
        if size < 6 {
            return Err(Error::malformed(CONFIG, "size", at, size.to_string(), "6 or more"));
        }
        volume.read_exact_at(data, &mut bytes)?;
        let fields = Fields::new(&bytes, CONFIG, data);
        *place = Some(codec(number, &fields)?);
        at = data.saturating_add(size);
    }
    Ok(all)
}

fn codec(number: u32, fields: &Fields<'_>) -> Result<BlockCodec> {
    match number {
        0 => Ok(BlockCodec::Lz4),
        1 => {
            let (dictionary, format) = (fields.le32(0)?, fields.le16(4)?);
            if format != 0 {
                return Err(Error::unsupported(format!("erofs LZMA of format {format}")));
            }
            match (4096..=LZMA_DICTIONARY).contains(&dictionary) {
                true => Ok(BlockCodec::MicroLzma(dictionary)),
                false => {
                    let allowed = format!("4096..={LZMA_DICTIONARY}");
                    Err(fields.wrong("dict_size", 0, dictionary.to_string(), allowed))
                }
            }
        }
        2 => Ok(BlockCodec::Deflate),
        _ => match fields.u8(0)? {
            0 => Ok(BlockCodec::Zstd),
            format => Err(Error::unsupported(format!("erofs zstd of format {format}"))),
        },
    }
}
