//! Bounded streaming decompressors, told by magic, and the spool for what must be read at random.
//!
//! Read: gzip with any number of members (RFC 1952); Zstandard with any number of frames and skippable frames
//! (RFC 8878); xz with any number of streams and their padding (The .xz File Format 1.2.1); bzip2 with any
//! number of streams; LZ4 frames; single blocks of LZO1X. Bytes behind the last member, stream or frame, and a stream that ends within
//! one, are errors. What can be inflated out of few bytes is for the reader to bound; what a decoder holds is
//! bounded here.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::indexing_slicing,
        clippy::unwrap_used
    )
)]

use std::fmt;
use std::io::{self, BufRead, Read};

use crate::error::{Error, Result};
use crate::limits::Limits;

mod block;
mod gzip;
mod lz4;
pub mod lzo;
mod spool;

pub use block::BlockCodec;
pub use spool::{Spool, SpoolPool, SpoolWriter};

/// How a stream is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all, or in no way that is known.
    Plain,
    /// gzip (RFC 1952).
    Gzip,
    /// Zstandard (RFC 8878).
    Zstd,
    /// xz (The .xz File Format).
    Xz,
    /// bzip2.
    Bzip2,
    /// LZ4 frames.
    Lz4,
}

/// So many first bytes tell the compression.
pub const MAGIC_BYTES: usize = 6;

impl Compression {
    /// Told by the first bytes of the stream.
    #[must_use]
    pub fn of(head: &[u8]) -> Self {
        match head {
            [0x1f, 0x8b, ..] => Compression::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Compression::Zstd,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Compression::Xz,
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Compression::Bzip2,
            [0x04, 0x22, 0x4d, 0x18, ..] | [0x02, 0x21, 0x4c, 0x18, ..] => Compression::Lz4,
            _ => Compression::Plain,
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Compression::Plain => "plain",
            Compression::Gzip => "gzip",
            Compression::Zstd => "zstd",
            Compression::Xz => "xz",
            Compression::Bzip2 => "bzip2",
            Compression::Lz4 => "lz4",
        })
    }
}

/// The inflated bytes of `stream`. It fails with [`Error`] inside of [`io::Error`], and after that ever again;
/// how much comes out is for the caller to bound.
///
/// # Errors
/// `Io` if the decoder cannot be made.
pub fn decoder<'a>(
    compression: Compression,
    stream: impl BufRead + 'a,
    limits: &Limits,
) -> Result<Box<dyn Read + 'a>> {
    let format = match compression {
        Compression::Plain => return Ok(Box::new(stream)),
        Compression::Gzip => "gzip",
        Compression::Zstd => "zstd",
        Compression::Xz => "xz",
        Compression::Bzip2 => "bzip2",
        Compression::Lz4 => "lz4",
    };
    let stream: Box<dyn Read + 'a> = match compression {
        Compression::Plain => Box::new(stream),
        Compression::Gzip => Box::new(gzip::GzipReader::new(stream)),
        Compression::Zstd => {
            let mut stream = zstd::stream::read::Decoder::with_buffer(stream)?;
            stream.window_log_max(limits.zstd_window_bytes.max.max(1024).ilog2().min(31))?;
            Box::new(stream)
        }
        Compression::Xz => {
            let memory_kib = limits.xz_dictionary_bytes.max.div_ceil(1024).saturating_add(XZ_OVERHEAD_KIB);
            let memory_kib = u32::try_from(memory_kib).unwrap_or(u32::MAX);
            Box::new(lzma_rust2::XzReader::new_mem_limit(stream, true, memory_kib))
        }
        Compression::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(stream)),
        Compression::Lz4 => Box::new(lz4::Frames::new(stream)),
    };
    Ok(Box::new(Named { format, stream, failed: None }))
}

/// What the decoder counts besides the dictionary: its state and one buffer of compressed bytes.
const XZ_OVERHEAD_KIB: u64 = 40 + 64;

/// Gives the errors of a decoder their format. No decoder is asked again after an error or for nothing: some
/// are not made for it.
struct Named<R> {
    format: &'static str,
    stream: R,
    failed: Option<Error>,
}

impl<R: Read> Read for Named<R> {
    fn read(&mut self, dst: &mut [u8]) -> io::Result<usize> {
        if let Some(error) = &self.failed {
            return Err(error.clone().into_io());
        }
        if dst.is_empty() {
            return Ok(0);
        }
        match self.stream.read(dst) {
            Ok(len) => Ok(len),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                let error = broken(self.format, error);
                self.failed = Some(error.clone());
                Err(error.into_io())
            }
        }
    }
}

/// A decoder's error as ours; what failed below the decoder passes as it is.
fn broken(format: &'static str, error: io::Error) -> Error {
    let is_ours = error.get_ref().is_some_and(|inner| inner.is::<Error>());
    if is_ours || error.raw_os_error().is_some() {
        return error.into();
    }
    let text = error.to_string();
    if format == "zstd" && text.contains("too much memory") {
        return Error::unsupported("a zstd window above the limit `zstd_window_bytes`")
            .hint("if you trust this image, raise it: --limit zstd_window_bytes=2147483648");
    }
    if format == "xz" && error.kind() == io::ErrorKind::OutOfMemory {
        return Error::unsupported("an xz dictionary above the limit `xz_dictionary_bytes`")
            .hint("if you trust this image, raise it: --limit xz_dictionary_bytes=1610612736");
    }
    Error::malformed(format, "stream", None, text, "whole members, and nothing behind the last")
        .hint("the data is cut off or damaged; fetch or build it again")
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        zstd::encode_all(bytes, 1).unwrap()
    }

    fn unhex(hex: &str) -> Vec<u8> {
        hex.as_bytes()
            .chunks(2)
            .map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap())
            .collect()
    }

    const WORDS: &[u8] = b"some bytes that are compressed";

    /// The words as gzip and zstd of this crate, and xz 5.4 (CRC32), bzip2 1.0.8 and lz4 1.9.4 (linked blocks,
    /// content size and checksum) write them.
    fn all_compressions() -> [Vec<u8>; 5] {
        [
            gzip(WORDS),
            zstd(WORDS),
            unhex(
                "fd377a585a0000016922de360200210116000000742fe5a301001d736f6d652062797465732074686174206172\
                 6520636f6d7072657373656400000075f598480001321e39dcf9379042990d010000000001595a",
            ),
            unhex(
                "425a68393141592653598df2c98800000c118040003e42dc2020003100000899a9930d218422550517865c416f\
                 465cb77737e2ee48a70a1211be593100",
            ),
            unhex(
                "04224d186c401e00000000000000721e000080736f6d652062797465732074686174206172652063\
                 6f6d7072657373656400000000277bd280",
            ),
        ]
    }

    fn inflate(bytes: &[u8]) -> Result<Vec<u8>> {
        let mut all = Vec::new();
        decoder(Compression::of(bytes), bytes, &Limits::default())?.read_to_end(&mut all)?;
        Ok(all)
    }

    #[test]
    fn members_and_frames_join() {
        let skippable = [&[0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"abc"].concat();
        for (stored, want) in [
            ([gzip(b"one"), gzip(b""), gzip(b"two")].concat(), "onetwo"),
            ([zstd(b"one"), skippable.clone(), zstd(b"two")].concat(), "onetwo"),
            ([skippable, zstd(b"one")].concat(), "one"),
        ] {
            assert_eq!(inflate(&stored).unwrap(), want.as_bytes());
        }
    }

    #[test]
    fn streams_join_in_every_compression() {
        for stored in all_compressions() {
            assert_eq!(inflate(&[&stored[..], &stored].concat()).unwrap(), [WORDS, WORDS].concat());
        }
        let [_, _, xz, _, lz4] = all_compressions();
        let padded = [&xz[..], &[0; 4], &xz, &[0; 8]].concat();
        assert_eq!(inflate(&padded).unwrap(), [WORDS, WORDS].concat());
        inflate(&[&xz[..], &[0; 3]].concat()).unwrap_err();
        let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"abc"].concat();
        assert_eq!(inflate(&[&lz4[..], &skippable, &lz4].concat()).unwrap(), [WORDS, WORDS].concat());
        inflate(&[&lz4[..], &skippable[..10]].concat()).unwrap_err();
    }

    #[test]
    fn rests_and_cuts_are_errors() {
        for whole in all_compressions() {
            assert_eq!(inflate(&whole).unwrap(), WORDS);
            for len in 6..whole.len() {
                let error = inflate(&whole[..len]).unwrap_err();
                assert!(error.hint_text().is_some(), "{len}: {error}");
            }
            for rest in [&[0; 18][..], b"B", b"BZ", b"\x04\x22", b"rest"] {
                inflate(&[&whole[..], rest].concat()).unwrap_err();
            }
        }
    }

    /// Each flip is an error or changes nothing, and an error stays one.
    #[test]
    fn no_flipped_bit_gives_other_bytes() {
        for whole in all_compressions() {
            for at in 0..whole.len() * 8 {
                let mut bytes = whole.clone();
                bytes[at / 8] ^= 1 << (at % 8);
                let compression = Compression::of(&bytes);
                if compression != Compression::of(&whole) {
                    continue;
                }
                let limits = Limits::default();
                let mut stream = decoder(compression, &bytes[..], &limits).unwrap();
                let mut all = Vec::new();
                match stream.read_to_end(&mut all) {
                    // zstd's frames of this crate bear no checksum.
                    Ok(_) => assert!(all == WORDS || compression == Compression::Zstd, "{compression} {at}"),
                    Err(_) => assert!(stream.read(&mut [0; 8]).is_err(), "{compression} {at}"),
                }
            }
        }
    }

    #[test]
    fn an_xz_dictionary_above_the_limit_names_it() {
        let [_, _, xz, ..] = all_compressions();
        let mut limits = Limits::default();
        limits.set("xz_dictionary_bytes", (8 << 20) - 1024).unwrap();
        let read = |limits: &Limits| {
            let mut all = Vec::new();
            decoder(Compression::Xz, &xz[..], limits).unwrap().read_to_end(&mut all).map(|_| all)
        };
        assert!(read(&limits).unwrap_err().to_string().contains("xz_dictionary_bytes"));
        limits.set("xz_dictionary_bytes", 8 << 20).unwrap();
        assert_eq!(read(&limits).unwrap(), WORDS);
    }

    #[test]
    fn an_lz4_frame_that_is_not_read_says_so() {
        let legacy = inflate(b"\x02\x21\x4c\x18\0\0\0\0").unwrap_err();
        assert!(legacy.to_string().contains("legacy lz4"), "{legacy}");
        let dictionary = inflate(b"\x04\x22\x4d\x18\x41\x40\0\0\0\0\0").unwrap_err();
        assert!(dictionary.to_string().contains("dictionary"), "{dictionary}");
    }

    #[test]
    fn a_window_above_the_limit_names_it() {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(24).unwrap();
        encoder.write_all(&[7; 100]).unwrap();
        let stored = encoder.finish().unwrap();
        let mut limits = Limits::default();
        limits.set("zstd_window_bytes", 1 << 20).unwrap();
        let mut all = Vec::new();
        let error =
            decoder(Compression::Zstd, &stored[..], &limits).unwrap().read_to_end(&mut all).unwrap_err();
        assert!(error.to_string().contains("zstd_window_bytes"), "{error}");
        assert_eq!(inflate(&stored).unwrap(), [7; 100]);
    }
}
