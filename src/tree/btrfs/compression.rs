//! Compressed extents: up to 128 KiB of a file that were compressed together.
//!
//! | type | stored |
//! | --- | --- |
//! | 1 | a zlib stream (RFC 1950) |
//! | 2 | LZO: the length of all (4), then segments of one sector each: length (4), an LZO1X block |
//! | 3 | a Zstandard frame (RFC 8878) with a window of at most 128 KiB |
//!
//! A segment's length never crosses the border of a sector; what is left before the border is skipped. What
//! follows the stream up to whole sectors is not looked at, and what the stream does not fill is zeros.

use flate2::{Decompress, FlushDecompress, Status};
use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation as _, OutBuffer};

use crate::bytes::size_of_len;
use crate::codec::lzo;
use crate::error::{Error, Result};
use crate::tree::fields::{Fields, len};

const FORMAT: &str = "btrfs compressed extent";
const ZSTD_WINDOW_LOG: u32 = 17;

/// How an extent is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    Zlib,
    Lzo,
    Zstd,
}

impl Compression {
    /// By the number in the extent; `None` inside for an extent that is not compressed.
    ///
    /// # Errors
    /// `Unsupported` if it is not known.
    pub(super) fn of_type(number: u8) -> Result<Option<Self>> {
        Ok(Some(match number {
            0 => return Ok(None),
            1 => Compression::Zlib,
            2 => Compression::Lzo,
            3 => Compression::Zstd,
            _ => return Err(Error::unsupported(format!("btrfs with compression type {number}"))),
        }))
    }

    /// Inflates the first bytes of an extent: as many as `dst` takes.
    ///
    /// # Errors
    /// `Malformed` if the stream is damaged or ends within `dst` without its mark.
    pub(super) fn inflate(self, stored: &[u8], sector_bytes: u32, dst: &mut [u8]) -> Result<()> {
        let made = match self {
            Compression::Zlib => zlib(stored, dst),
            Compression::Lzo => lzo_segments(stored, len(sector_bytes), dst),
            Compression::Zstd => zstd(stored, dst),
        }?;
        dst.get_mut(made..).unwrap_or_default().fill(0);
        Ok(())
    }
}

fn damaged(field: &'static str, at: u64, found: impl Into<String>, allowed: impl Into<String>) -> Error {
    Error::malformed(FORMAT, field, at, found, allowed)
        .hint("the data is cut off or damaged; fetch or build it again")
}

fn zlib(stored: &[u8], dst: &mut [u8]) -> Result<usize> {
    let mut stream = Decompress::new(true);
    loop {
        let (read, made) = (stream.total_in(), stream.total_out());
        let source = stored.get(len(read)..).unwrap_or_default();
        let target = dst.get_mut(len(made)..).unwrap_or_default();
        if target.is_empty() {
            return Ok(len(made));
        }
        let status = stream
            .decompress(source, target, FlushDecompress::None)
            .map_err(|error| damaged("zlib stream", read, error.to_string(), "a zlib stream"))?;
        if status == Status::StreamEnd {
            return Ok(len(stream.total_out()));
        }
        if (stream.total_in(), stream.total_out()) == (read, made) {
            return Err(damaged("zlib stream", read, "its end too early", "a whole stream"));
        }
    }
}

fn zstd(stored: &[u8], dst: &mut [u8]) -> Result<usize> {
    let wrong = |at: usize, error: std::io::Error| {
        damaged("zstd frame", size_of_len(at), error.to_string(), "a zstd frame")
    };
    let mut stream = Decoder::new().map_err(|error| wrong(0, error))?;
    stream.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG)).map_err(|error| wrong(0, error))?;
    let room = dst.len();
    let mut source = InBuffer::around(stored);
    let mut target = OutBuffer::around(dst);
    loop {
        if target.pos() == room {
            return Ok(room);
        }
        let before = (source.pos(), target.pos());
        let left = stream.run(&mut source, &mut target).map_err(|error| wrong(before.0, error))?;
        if left == 0 {
            return Ok(target.pos());
        }
        if (source.pos(), target.pos()) == before {
            return Err(damaged("zstd frame", size_of_len(before.0), "its end too early", "a whole frame"));
        }
    }
}

fn lzo_segments(stored: &[u8], sector_bytes: usize, dst: &mut [u8]) -> Result<usize> {
    let fields = Fields::new(stored, FORMAT, 0);
    let total = len(fields.le32(0)?);
    if total < 4 || total > stored.len() {
        return Err(fields.wrong("lzo length", 0, total.to_string(), format!("4..={}", stored.len())));
    }
    let (mut at, mut made) = (4_usize, 0_usize);
    while at < total && made < dst.len() {
        let left = sector_bytes.saturating_sub(at.checked_rem(sector_bytes).unwrap_or(0));
        if left < 4 {
            at = at.saturating_add(left);
            continue;
        }
        let size = len(fields.le32(at)?);
        let start = at.saturating_add(4);
        at = start.saturating_add(size);
        if at > total {
            return Err(fields.wrong("lzo segment", start, size.to_string(), format!("to {total} at most")));
        }
        made = made.saturating_add(lzo_segment(fields.slice(start, size)?, sector_bytes, dst, made)?);
    }
    Ok(made)
}

/// Inflates one segment behind what was made; one that is wanted in part goes through a buffer.
fn lzo_segment(segment: &[u8], sector_bytes: usize, dst: &mut [u8], made: usize) -> Result<usize> {
    let target = dst.get_mut(made..).unwrap_or_default();
    if target.len() >= sector_bytes {
        return lzo::decompress(segment, target.get_mut(..sector_bytes).unwrap_or_default());
    }
    let mut whole = vec![0; sector_bytes];
    let size = lzo::decompress(segment, &mut whole)?.min(target.len());
    for (to, from) in target.iter_mut().zip(whole.get(..size).unwrap_or_default()) {
        *to = *from;
    }
    Ok(size)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const SECTOR: u32 = 4096;

    fn text() -> Vec<u8> {
        (0..10_000_u32).flat_map(|number| (number / 7).to_le_bytes()).collect()
    }

    fn zlib_of(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// Sectors of zeros, as liblzo2 packs them, behind 15 segments of nothing: so a length would cross the border
    /// of a sector.
    fn lzo_of_zeros(segments: usize) -> Vec<u8> {
        let zeros =
            [&[2][..], &[0; 5], &[0x20], &[0; 15], &[0xda, 0x10, 0, 0x0c], &[0; 15], &[0x11, 0, 0]].concat();
        let mut all = vec![0; 4];
        for number in 0..segments + 15 {
            let block = if number < 15 { &zeros[41..] } else { &zeros };
            let left = 4096 - all.len() % 4096;
            if left < 4 {
                all.resize(all.len() + left, 0);
            }
            all.extend(u32::try_from(block.len()).unwrap().to_le_bytes());
            all.extend(block);
        }
        let total = u32::try_from(all.len()).unwrap().to_le_bytes();
        all[..4].copy_from_slice(&total);
        all
    }

    #[test]
    fn streams_inflate_whole_and_in_part() {
        let zstd = zstd::bulk::compress(&text(), 3).unwrap();
        for (compression, mut stored) in [(Compression::Zlib, zlib_of(&text())), (Compression::Zstd, zstd)] {
            // To whole sectors, as on the volume.
            stored.resize(stored.len().next_multiple_of(4096), 0);
            for size in [0, 1, 4095, 4096, 39_999, 40_000, 40_960] {
                let mut dst = vec![0xee; size];
                compression.inflate(&stored, SECTOR, &mut dst).unwrap();
                let mut whole = text();
                whole.resize(40_960, 0);
                assert!(dst == whole[..size], "{compression:?} {size}");
            }
        }
    }

    #[test]
    fn lengths_of_segments_do_not_cross_a_border() {
        let stored = lzo_of_zeros(300);
        assert!(stored.len() > 8192);
        for size in [0, 1, 4096, 300 * 4096 - 1, 300 * 4096, 300 * 4096 + 5] {
            let mut dst = vec![0xee; size];
            Compression::Lzo.inflate(&stored, SECTOR, &mut dst).unwrap();
            assert!(dst.iter().all(|byte| *byte == 0), "{size}");
        }
    }

    #[test]
    fn cuts_and_flips_end() {
        let zstd = zstd::bulk::compress(&text(), 3).unwrap();
        for (compression, stored) in [
            (Compression::Zlib, zlib_of(&text())),
            (Compression::Zstd, zstd),
            (Compression::Lzo, lzo_of_zeros(10)),
        ] {
            let mut dst = vec![0; 40_960];
            for len in 0..stored.len() {
                compression.inflate(&stored[..len], SECTOR, &mut dst).unwrap_err();
            }
            for at in 0..stored.len() * 8 {
                let mut broken = stored.clone();
                broken[at / 8] ^= 1 << (at % 8);
                let _ = compression.inflate(&broken, SECTOR, &mut dst);
            }
        }
    }
}
