//! Single compressed blocks, as file systems store them: what comes out of one is bounded beforehand.
//!
//! Read: zlib (RFC 1950), deflate (RFC 1951), `.lzma` with its header of 13 bytes, MicroLZMA (a raw LZMA stream
//! whose first byte, always zero, is the inverted properties byte instead), xz with its filters, LZ4 blocks,
//! LZO1X blocks and Zstandard frames.

use std::io::{self, Read};

use super::{Compression, decoder, lzo};
use crate::bytes::size_of_len;
use crate::error::{Error, Result};
use crate::limits::Limits;

/// How a block is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockCodec {
    /// zlib.
    Zlib,
    /// Deflate without header or checksum.
    Deflate,
    /// LZMA in the older `.lzma` form.
    Lzma,
    /// LZMA as erofs stores it, with a dictionary of so many bytes.
    MicroLzma(u32),
    /// xz.
    Xz,
    /// One LZ4 block.
    Lz4,
    /// One LZO1X block.
    Lzo,
    /// One Zstandard frame.
    Zstd,
}

impl BlockCodec {
    /// What errors call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            BlockCodec::Zlib => "zlib block",
            BlockCodec::Deflate => "deflate block",
            BlockCodec::Lzma => "lzma block",
            BlockCodec::MicroLzma(_) => "MicroLZMA block",
            BlockCodec::Xz => "xz block",
            BlockCodec::Lz4 => "LZ4 block",
            BlockCodec::Lzo => "LZO block",
            BlockCodec::Zstd => "zstd block",
        }
    }

    /// All that a block holds.
    ///
    /// # Errors
    /// `Malformed` if it is damaged or cut off, or holds more than `most` bytes; `Unsupported` if its dictionary
    /// passes a limit.
    pub fn inflate(self, stored: &[u8], most: usize, limits: &Limits) -> Result<Vec<u8>> {
        match self {
            // Some decoders take it for a block that holds nothing.
            _ if stored.is_empty() => {
                Err(Error::malformed(self.name(), "length", None, "no bytes", "one or more"))
            }
            BlockCodec::Lz4 => {
                let inflated = lz4(stored, most)?;
                match inflated.is_whole {
                    true => Ok(inflated.bytes),
                    false => Err(self.too_large(most)),
                }
            }
            BlockCodec::Lzo => {
                let mut bytes = vec![0; most];
                let len = lzo::decompress(stored, &mut bytes)?;
                bytes.truncate(len);
                Ok(bytes)
            }
            BlockCodec::Zstd => {
                let mut bytes = Vec::with_capacity(most);
                let mut inflater = zstd::bulk::Decompressor::new()?;
                inflater.decompress_to_buffer(stored, &mut bytes).map_err(|error| self.broken(&error))?;
                if bytes.len() > most { Err(self.too_large(most)) } else { Ok(bytes) }
            }
            _ => {
                let mut bytes = Vec::with_capacity(most);
                let room = size_of_len(most).saturating_add(1);
                let mut stream = self.stream(stored, limits)?.take(room);
                stream.read_to_end(&mut bytes).map_err(|error| self.failed(error))?;
                if bytes.len() > most { Err(self.too_large(most)) } else { Ok(bytes) }
            }
        }
    }

    /// The first `len` bytes of what a block holds; what follows them is not looked at.
    ///
    /// # Errors
    /// `Malformed` if it is damaged before that or holds less; `Unsupported` if its dictionary passes a limit.
    pub fn inflate_start(self, stored: &[u8], len: usize, limits: &Limits) -> Result<Vec<u8>> {
        let bytes = match self {
            BlockCodec::Lz4 => lz4(stored, len)?.bytes,
            BlockCodec::Lzo => self.inflate(stored, len, limits)?,
            _ => {
                let mut bytes = Vec::with_capacity(len);
                let mut stream = self.stream(stored, limits)?.take(size_of_len(len));
                stream.read_to_end(&mut bytes).map_err(|error| self.failed(error))?;
                bytes
            }
        };
        match bytes.len() == len {
            true => Ok(bytes),
            false => Err(Error::malformed(
                self.name(),
                "length",
                None,
                format!("{} bytes", bytes.len()),
                format!("{len} bytes, as its index says"),
            )),
        }
    }

    fn stream<'a>(self, stored: &'a [u8], limits: &Limits) -> Result<Box<dyn Read + 'a>> {
        let memory_kib = limits.xz_dictionary_bytes.max.div_ceil(1024).saturating_add(super::XZ_OVERHEAD_KIB);
        let memory_kib = u32::try_from(memory_kib).unwrap_or(u32::MAX);
        Ok(match self {
            BlockCodec::Zlib => Box::new(flate2::bufread::ZlibDecoder::new(stored)),
            BlockCodec::Deflate => Box::new(flate2::bufread::DeflateDecoder::new(stored)),
            BlockCodec::Lzma => {
                let stream = lzma_rust2::LzmaReader::new_mem_limit(stored, memory_kib, None);
                Box::new(stream.map_err(|error| self.failed(error))?)
            }
            BlockCodec::MicroLzma(dictionary_bytes) => self.micro_lzma(stored, dictionary_bytes, limits)?,
            BlockCodec::Xz => decoder(Compression::Xz, stored, limits)?,
            BlockCodec::Zstd => {
                let mut stream = zstd::stream::read::Decoder::with_buffer(stored)?.single_frame();
                stream.window_log_max(limits.zstd_window_bytes.max.max(1024).ilog2().min(31))?;
                Box::new(stream)
            }
            BlockCodec::Lz4 | BlockCodec::Lzo => Box::new(io::empty()),
        })
    }

    fn micro_lzma<'a>(
        self,
        stored: &'a [u8],
        dictionary_bytes: u32,
        limits: &Limits,
    ) -> Result<Box<dyn Read + 'a>> {
        if u64::from(dictionary_bytes) > limits.xz_dictionary_bytes.max {
            return Err(limits.xz_dictionary_bytes.passed(dictionary_bytes.into()));
        }
        let (properties, rest) = stored
            .split_first()
            .ok_or_else(|| Error::malformed(self.name(), "length", None, "no bytes", "one or more"))?;
        // The raw stream starts with the zero byte that the properties stand for.
        let raw = io::Read::chain(&[0_u8][..], rest);
        let stream =
            lzma_rust2::LzmaReader::new_with_props(raw, u64::MAX, !properties, dictionary_bytes, None);
        Ok(Box::new(stream.map_err(|error| self.failed(error))?))
    }

    fn failed(self, error: io::Error) -> Error {
        let is_ours = error.get_ref().is_some_and(|inner| inner.is::<Error>());
        match is_ours {
            true => error.into(),
            false if error.kind() == io::ErrorKind::OutOfMemory => {
                Error::unsupported("an LZMA dictionary above the limit `xz_dictionary_bytes`")
                    .hint("if you trust this image, raise it: --limit xz_dictionary_bytes=1610612736")
            }
            false => self.broken(&error),
        }
    }

    fn broken(self, error: &io::Error) -> Error {
        Error::malformed(self.name(), "stream", None, error.to_string(), "a whole block")
    }

    fn too_large(self, most: usize) -> Error {
        Error::malformed(self.name(), "length", None, "more", format!("at most {most} bytes inflated"))
    }
}

/// What came out of an LZ4 block, and whether that is all of it.
struct Lz4 {
    bytes: Vec<u8>,
    is_whole: bool,
}

/// Inflates an LZ4 block (*LZ4 Block Format*, 2022) up to `most` bytes.
fn lz4(stored: &[u8], most: usize) -> Result<Lz4> {
    let mut input = stored;
    let mut bytes = Vec::with_capacity(most);
    let broken = |what: &str| Error::malformed("LZ4 block", "sequence", None, what, "a whole block");
    loop {
        let token = byte(&mut input).ok_or_else(|| broken("cut off before its end"))?;
        let literals = run(&mut input, token >> 4).ok_or_else(|| broken("a length that is cut off"))?;
        let room = most.saturating_sub(bytes.len());
        let (now, rest) =
            input.split_at_checked(literals.min(room)).ok_or_else(|| broken("literals that are cut off"))?;
        bytes.extend_from_slice(now);
        if literals > room {
            return Ok(Lz4 { bytes, is_whole: false });
        }
        input = rest;
        if input.is_empty() {
            return Ok(Lz4 { bytes, is_whole: true });
        }
        if bytes.len() == most {
            return Ok(Lz4 { bytes, is_whole: false });
        }
        let (Some(low), Some(high)) = (byte(&mut input), byte(&mut input)) else {
            return Err(broken("an offset that is cut off"));
        };
        let back = usize::from(u16::from_le_bytes([low, high]));
        let run = run(&mut input, token & 15).ok_or_else(|| broken("a length that is cut off"))?;
        let mut left = run.saturating_add(4);
        let start = bytes.len().checked_sub(back).filter(|_| back > 0);
        let start = start.ok_or_else(|| broken("an offset before its start"))?;
        while left > 0 {
            // At first there are `back` bytes to repeat, and with each turn twice as many.
            let room = most.saturating_sub(bytes.len());
            let taken = left.min(room).min(bytes.len().saturating_sub(start));
            if taken == 0 {
                return Ok(Lz4 { bytes, is_whole: false });
            }
            bytes.extend_from_within(start..start.saturating_add(taken));
            left = left.saturating_sub(taken);
        }
    }
}

fn byte(input: &mut &[u8]) -> Option<u8> {
    let (first, rest) = input.split_first()?;
    *input = rest;
    Some(*first)
}

/// A length that starts with four bits and goes on while bytes are 255.
fn run(input: &mut &[u8], first: u8) -> Option<usize> {
    let mut len = usize::from(first);
    if first == 15 {
        loop {
            let more = byte(input)?;
            len = len.saturating_add(more.into());
            if more != 255 {
                break;
            }
        }
    }
    Some(len)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn words() -> Vec<u8> {
        (0..900_u32).flat_map(|n| format!("word {} and {};", n % 17, n * n % 101).into_bytes()).collect()
    }

    /// The words as each encoder that is at hand packs them.
    fn packed() -> Vec<(BlockCodec, Vec<u8>)> {
        let words = words();
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        zlib.write_all(&words).unwrap();
        let mut deflate = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
        deflate.write_all(&words).unwrap();
        let options = xz2::stream::LzmaOptions::new_preset(6).unwrap();
        let stream = xz2::stream::Stream::new_lzma_encoder(&options).unwrap();
        let mut lzma = xz2::write::XzEncoder::new_stream(Vec::new(), stream);
        lzma.write_all(&words).unwrap();
        let lzma = lzma.finish().unwrap();
        let micro = [&[!lzma[0]][..], &lzma[14..]].concat();
        let mut xz = xz2::write::XzEncoder::new(Vec::new(), 6);
        xz.write_all(&words).unwrap();
        vec![
            (BlockCodec::Zlib, zlib.finish().unwrap()),
            (BlockCodec::Deflate, deflate.finish().unwrap()),
            (BlockCodec::Lzma, lzma),
            (BlockCodec::MicroLzma(8 << 20), micro),
            (BlockCodec::Xz, xz.finish().unwrap()),
            (BlockCodec::Lz4, lz4_flex::block::compress(&words)),
            (BlockCodec::Zstd, zstd::encode_all(&words[..], 3).unwrap()),
        ]
    }

    #[test]
    fn blocks_give_what_was_packed_and_no_more_than_may_be() {
        let (words, limits) = (words(), Limits::default());
        for (codec, stored) in packed() {
            assert_eq!(codec.inflate(&stored, words.len(), &limits).unwrap(), words, "{codec:?}");
            assert_eq!(codec.inflate(&stored, words.len() + 99, &limits).unwrap(), words, "{codec:?}");
            codec.inflate(&stored, words.len() - 1, &limits).unwrap_err();
            for len in [0, 1, 100, words.len() - 1, words.len()] {
                assert_eq!(codec.inflate_start(&stored, len, &limits).unwrap(), words[..len], "{codec:?}");
            }
            codec.inflate_start(&stored, words.len() + 1, &limits).unwrap_err();
        }
    }

    #[test]
    fn damaged_blocks_end() {
        let (words, limits) = (words(), Limits::default());
        for (codec, stored) in packed() {
            for at in 0..stored.len() {
                let mut bytes = stored.clone();
                bytes[at] ^= 1 << (at % 8);
                let _ = codec.inflate(&bytes, words.len(), &limits);
                let _ = codec.inflate_start(&bytes, words.len(), &limits);
                // An LZ4 block may end behind any literals; all others say where they do.
                let cut = codec.inflate(&stored[..at], words.len(), &limits);
                let is_short = codec == BlockCodec::Lz4 && cut.as_ref().is_ok_and(|cut| *cut < words);
                assert!(cut.is_err() || is_short, "{codec:?} {at}");
                // What is cut off may be no more than a checksum.
                let start = codec.inflate_start(&stored[..at], words.len(), &limits);
                assert!(start.is_err() || start.unwrap() == words, "{codec:?} {at}");
            }
        }
    }
}
