//! Bounded streaming decompressors, told by magic, and the spool for what must be read at random.
//!
//! Read: gzip with any number of members (RFC 1952), Zstandard with any number of frames and skippable frames
//! (RFC 8878). Bytes behind the last member or frame, and a stream that ends within one, are errors.
//! Recognised and not read: xz, bzip2.
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

mod gzip;
mod spool;

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
    /// xz.
    Xz,
    /// bzip2.
    Bzip2,
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
        })
    }
}

/// The inflated bytes of `stream`. It fails with [`Error`] inside of [`io::Error`]; how much comes out is for
/// the caller to bound.
///
/// # Errors
/// `Unsupported` for a compression that is recognised and not read.
pub fn decoder<'a>(
    compression: Compression,
    stream: impl BufRead + 'a,
    limits: &Limits,
) -> Result<Box<dyn Read + 'a>> {
    match compression {
        Compression::Plain => Ok(Box::new(stream)),
        Compression::Gzip => Ok(Box::new(gzip::GzipReader::new(stream))),
        Compression::Zstd => {
            let mut stream = zstd::stream::read::Decoder::with_buffer(stream)?;
            stream.window_log_max(limits.zstd_window_bytes.max.max(1024).ilog2().min(31))?;
            Ok(Box::new(Named { format: "zstd", stream }))
        }
        Compression::Xz | Compression::Bzip2 => Err(Error::unsupported(format!("{compression} compression"))
            .hint("compress it again with gzip or zstd")),
    }
}

/// Gives the errors of a decoder their format.
struct Named<R> {
    format: &'static str,
    stream: R,
}

impl<R: Read> Read for Named<R> {
    fn read(&mut self, dst: &mut [u8]) -> io::Result<usize> {
        self.stream.read(dst).map_err(|error| broken(self.format, error))
    }
}

/// A decoder's error as ours; what failed below the decoder passes as it is.
fn broken(format: &'static str, error: io::Error) -> io::Error {
    let is_ours = error.get_ref().is_some_and(|inner| inner.is::<Error>());
    if is_ours || error.kind() == io::ErrorKind::Interrupted || error.raw_os_error().is_some() {
        return error;
    }
    let text = error.to_string();
    if format == "zstd" && text.contains("too much memory") {
        return Error::unsupported("a zstd window above the limit `zstd_window_bytes`")
            .hint("if you trust this image, raise it: --limit zstd_window_bytes=2147483648")
            .into_io();
    }
    Error::malformed(format, "stream", None, text, "whole members, and nothing behind the last")
        .hint("the data is cut off or damaged; fetch or build it again")
        .into_io()
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
    fn rests_and_cuts_are_errors() {
        for whole in [gzip(b"some bytes that are compressed"), zstd(b"some bytes that are compressed")] {
            for len in 6..whole.len() {
                let error = inflate(&whole[..len]).unwrap_err();
                assert!(error.hint_text().is_some(), "{len}: {error}");
            }
            inflate(&[&whole[..], b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"].concat()).unwrap_err();
        }
        assert!(inflate(b"\xfd7zXZ\0").unwrap_err().to_string().contains("xz compression"));
        assert!(inflate(b"BZh91AY").is_err());
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
