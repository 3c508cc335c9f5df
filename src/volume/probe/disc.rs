//! Optical discs: ISO 9660 (ECMA-119), with Joliet, and UDF, by their volume descriptors.

use super::{FsKind, Probed, peek};
use crate::bytes::{ReadAt, array_at, le_u16, le_u32};
use crate::error::Result;

/// Volume descriptors of optical discs. Where there are those of ISO 9660, UDF beside them has the same files.
pub(super) fn disc(volume: &dyn ReadAt) -> Result<Option<Probed>> {
    const SECTOR: usize = 2048;
    let mut primary: Option<[u8; SECTOR]> = None;
    let (mut joliet, mut is_udf) = (None, false);
    for sector in 16..116_u64 {
        let Some(bytes) = peek::<SECTOR>(volume, sector.saturating_mul(2048))? else { break };
        match (&array_at::<5>(&bytes, 1), bytes.first()) {
            (b"CD001", Some(1)) if primary.is_none() => primary = Some(bytes),
            (b"CD001", Some(2)) if matches!(array_at(&bytes, 88), [0x25, 0x2f, 0x40 | 0x43 | 0x45]) => {
                joliet = Some(array_at::<32>(&bytes, 40));
            }
            (b"NSR02" | b"NSR03", _) => is_udf = true,
            (b"CD001" | b"BEA01" | b"BOOT2" | b"TEA01", _) => {}
            _ if sector == 16 && array_at(&bytes, 9) == *b"CDROM" => {
                return Ok(Some(Probed::new(FsKind::HighSierra)));
            }
            _ => break,
        }
    }
    if let Some(primary) = primary {
        let label = disc_label(&array_at(&primary, 40), joliet.as_ref());
        return Ok(Some(Probed::named(FsKind::Iso9660, disc_uuid(&primary), &label)));
    }
    Ok(is_udf.then(|| Probed::new(FsKind::Udf)))
}

/// Where an ISO 9660 file system ends, by its primary volume descriptor (ECMA-119, 8.4: the space size at 80, the
/// size of its blocks at 128); `None` if it says nothing that can be.
pub(in super::super) fn disc_end(volume: &dyn ReadAt) -> Result<Option<u64>> {
    for sector in 16..32_u64 {
        let Some(descriptor) = peek::<2048>(volume, sector.saturating_mul(2048))? else { break };
        if array_at(&descriptor, 1) != *b"CD001" {
            break;
        }
        if descriptor.starts_with(&[1]) {
            let blocks = u64::from(le_u32(&descriptor, 80));
            let end = blocks.saturating_mul(u64::from(le_u16(&descriptor, 128)));
            return Ok(Some(end).filter(|end| *end > sector.saturating_mul(2048)));
        }
    }
    Ok(None)
}

/// The time at which a disc was changed last or, if it does not say, made, as `blkid` takes it for a UUID:
/// `2026-01-31-12-30-59-00`.
pub(crate) fn disc_uuid(primary: &[u8]) -> Option<String> {
    [830_usize, 813].into_iter().find_map(|at| {
        let digits: [u8; 16] = array_at(primary, at);
        let offset: [u8; 1] = array_at(primary, at.saturating_add(16));
        let is_set = digits.iter().any(|digit| *digit != b'0') || offset != [0];
        let mut text = String::new();
        for (at, digit) in digits.into_iter().enumerate() {
            if matches!(at, 4 | 6 | 8 | 10 | 12 | 14) {
                text.push('-');
            }
            text.push(char::from(digit));
        }
        (is_set && digits.iter().all(u8::is_ascii_digit)).then_some(text)
    })
}

/// The label of a disc as `blkid` has it: that of Joliet, which has 16 characters, and behind it what the primary
/// descriptor has more, if the two are the same but for case and for `_`, which stands for what one cannot say.
pub(crate) fn disc_label(primary: &[u8; 32], joliet: Option<&[u8; 32]>) -> Vec<u8> {
    let Some(joliet) = joliet else { return trimmed(primary.iter().copied().map(u16::from)) };
    let (units, _) = joliet.as_chunks::<2>();
    let mut units = units.iter().map(|unit| u16::from_be_bytes(*unit));
    let mut merged = Vec::new();
    for byte in primary {
        let Some(unit) = units.next() else {
            merged.push((*byte).into());
            continue;
        };
        let same = u8::try_from(unit).ok().filter(|unit| unit.is_ascii() && unit.eq_ignore_ascii_case(byte));
        merged.push(match (byte, unit, same) {
            (b'_', unit, _) => unit,
            (byte, 0x5f, _) => (*byte).into(),
            (byte, unit, Some(_)) => {
                if byte.is_ascii_lowercase() {
                    (*byte).into()
                } else {
                    unit
                }
            }
            (_, _, None) => {
                let (units, _) = joliet.as_chunks::<2>();
                return trimmed(units.iter().map(|unit| u16::from_be_bytes(*unit)));
            }
        });
        // Both halves of a character.
        if matches!(unit, 0xd800..=0xdbff) {
            merged.extend(units.next());
        }
    }
    trimmed(merged)
}

/// UTF-16 up to the first zero, without spaces at its end.
fn trimmed(units: impl IntoIterator<Item = u16>) -> Vec<u8> {
    let units: Vec<u16> = units.into_iter().take_while(|unit| *unit != 0).collect();
    String::from_utf16_lossy(&units).trim_end_matches(' ').as_bytes().to_vec()
}
