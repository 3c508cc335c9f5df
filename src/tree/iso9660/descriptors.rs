//! Volume descriptors: sectors of 2,048 bytes from the seventeenth on.
//!
//! | byte | field of a primary or supplementary descriptor | | byte | field |
//! | --- | --- | --- | --- | --- |
//! | 0 | type: 1 primary, 2 supplementary, 255 last | | 128 | bytes a block (723) |
//! | 1 | `CD001` | | 156 | record of the root directory |
//! | 40 | label | | 813 | time of creation |
//! | 80 | blocks (733) | | 830 | time of modification |
//! | 88 | escape sequences: which characters names have | | | |
//!
//! Numbers marked 723 and 733 are stored twice, little-endian and then big-endian.
//!
//! Not used: path tables, boot records (El Torito), partitions, the enhanced descriptor of ISO 9660:1999.

use super::record::Record;
use crate::bytes::{ReadAt as _, array_at, size_of_len};
use crate::error::{Error, Result};
use crate::tree::CachedReader;
use crate::tree::fields::Fields;
use crate::volume::{disc_label, disc_uuid};

const FORMAT: &str = "ISO 9660 descriptor";
const SECTOR_BYTES: usize = 2048;
const FIRST_SECTOR: u64 = 16;
/// As many descriptors as Linux looks at.
const MOST: u64 = 100;

/// What the descriptors say of a disc.
pub(super) struct Disc {
    pub(super) block_bytes: u32,
    pub(super) size_bytes: u64,
    pub(super) label: Vec<u8>,
    pub(super) uuid: Option<String>,
    pub(super) root: Record,
    /// The root directory of the names in Unicode, if there are such.
    pub(super) joliet: Option<Record>,
    /// The disc also has a UDF file system.
    pub(super) has_udf: bool,
}

impl Disc {
    /// Reads all descriptors.
    ///
    /// # Errors
    /// `Unsupported` for discs of other standards; `Malformed` with the field; those of reading.
    pub(super) fn read(reader: &CachedReader) -> Result<Self> {
        let (mut primary, mut joliet, mut has_udf) = (None, None, false);
        let mut is_ended = false;
        for sector in FIRST_SECTOR..FIRST_SECTOR.saturating_add(MOST) {
            let offset = sector.saturating_mul(size_of_len(SECTOR_BYTES));
            let mut bytes = vec![0; SECTOR_BYTES];
            if let Err(error) = reader.read_exact_at(offset, &mut bytes) {
                match primary {
                    Some(_) => break,
                    None => return Err(error),
                }
            }
            let id: [u8; 5] = array_at(&bytes, 1);
            match (&id, bytes.first()) {
                (b"CD001", _) if is_ended => {}
                (b"CD001", Some(1)) if primary.is_none() => primary = Some((bytes, offset)),
                (b"CD001", Some(2)) if is_joliet(&bytes) => joliet = Some((bytes, offset)),
                (b"CD001", Some(255)) => is_ended = true,
                (b"NSR02" | b"NSR03", _) => has_udf = true,
                (b"CD001" | b"BEA01" | b"BOOT2" | b"TEA01", _) => {}
                _ if bytes.get(9..14) == Some(b"CDROM") && primary.is_none() => {
                    return Err(Error::unsupported("High Sierra, which was before ISO 9660"));
                }
                _ => break,
            }
        }
        let Some((primary, offset)) = primary else {
            if has_udf {
                return Err(Error::unsupported("UDF"));
            }
            let offset = FIRST_SECTOR.saturating_mul(size_of_len(SECTOR_BYTES));
            return Err(Error::malformed(FORMAT, "type", offset, "no primary descriptor", "one of type 1"));
        };
        let fields = Fields::new(&primary, FORMAT, offset);
        let block_bytes = u32::from(both16(&fields, "bytes a block", 128)?);
        if !block_bytes.is_power_of_two() || !(512..=2048).contains(&block_bytes) {
            return Err(fields.wrong("bytes a block", 128, block_bytes.to_string(), "512, 1024 or 2048"));
        }
        let blocks = both32(&fields, "blocks", 80)?;
        let root = Record::decode(&primary, 156, offset)?;
        let joliet_label = joliet.as_ref().map(|(bytes, _)| array_at(bytes, 40));
        Ok(Disc {
            block_bytes,
            size_bytes: u64::from(blocks).saturating_mul(block_bytes.into()),
            label: disc_label(&array_at(&primary, 40), joliet_label.as_ref()),
            uuid: disc_uuid(&primary),
            root,
            joliet: joliet.map(|(bytes, offset)| Record::decode(&bytes, 156, offset)).transpose()?,
            has_udf,
        })
    }
}

/// Whether the names below a supplementary descriptor are in UCS-2: level 1, 2 or 3.
fn is_joliet(descriptor: &[u8]) -> bool {
    matches!(array_at(descriptor, 88), [0x25, 0x2f, 0x40 | 0x43 | 0x45])
}

/// A number that is stored twice (7.2.3).
///
/// # Errors
/// `Malformed` if the two differ.
fn both16(fields: &Fields<'_>, field: &'static str, at: usize) -> Result<u16> {
    let (little, big) = (fields.le16(at)?, fields.be16(at.saturating_add(2))?);
    match little == big {
        true => Ok(little),
        false => Err(fields.wrong(field, at, format!("{little} and {big}"), "the same number twice")),
    }
}

/// A number that is stored twice (7.3.3).
///
/// # Errors
/// `Malformed` if the two differ.
pub(super) fn both32(fields: &Fields<'_>, field: &'static str, at: usize) -> Result<u32> {
    let (little, big) = (fields.le32(at)?, fields.be32(at.saturating_add(4))?);
    match little == big {
        true => Ok(little),
        false => Err(fields.wrong(field, at, format!("{little} and {big}"), "the same number twice")),
    }
}
