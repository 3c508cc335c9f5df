//! gzip files (RFC 1952): members, each with header, deflate stream and trailer, inflated as one stream.
//!
//! The deflate streams are inflated by `flate2`; the container is read here, because its checksum, made apart
//! from inflating, takes a tenth of the time.

use std::io::{self, BufRead, Read};

use flate2::{Decompress, FlushDecompress, Status};

use crate::error::Error;

/// The longest name or comment of a member's header that is passed over, in bytes: file names end at 4096.
const HEADER_TEXT_BYTES: usize = 64 << 10;

const WHOLE: &str = "whole members, and nothing behind the last";

/// Flags of a member's header.
const HEADER_CRC: u8 = 1 << 1;
const EXTRA: u8 = 1 << 2;
const NAME: u8 = 1 << 3;
const COMMENT: u8 = 1 << 4;
const RESERVED: u8 = 0b1110_0000;

/// Inflates every member of a gzip file, and checks each against its CRC-32 and length.
pub(super) struct GzipReader<R> {
    stream: R,
    inflate: Decompress,
    crc: crc32fast::Hasher,
    /// Length of the member so far, modulo 2^32, as its trailer has it.
    member_bytes: u32,
    place: Place,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before a member; at the end only behind one.
    Between {
        is_first: bool,
    },
    Within,
    End,
}

impl<R: BufRead> GzipReader<R> {
    pub(super) fn new(stream: R) -> Self {
        GzipReader {
            stream,
            inflate: Decompress::new(false),
            crc: crc32fast::Hasher::new(),
            member_bytes: 0,
            place: Place::Between { is_first: true },
        }
    }

    /// Reads the header of the next member; `false` at the end of the file.
    fn start_member(&mut self, is_first: bool) -> io::Result<bool> {
        if !is_first && self.stream.fill_buf()?.is_empty() {
            return Ok(false);
        }
        let mut crc = crc32fast::Hasher::new();
        let [id1, id2] = self.take(&mut crc)?;
        if [id1, id2] != [0x1f, 0x8b] {
            let found = format!("bytes {id1:02x} {id2:02x} where a member has to start");
            return Err(malformed("member", found, "1f 8b, or the end of the file"));
        }
        let [method, flags, ..]: [u8; 8] = self.take(&mut crc)?;
        if method != 8 || flags & RESERVED != 0 {
            let found = format!("method {method}, flags {flags:#04x}");
            return Err(malformed("member header", found, "method 8 (deflate) and no reserved flag"));
        }
        if flags & EXTRA != 0 {
            let len = u16::from_le_bytes(self.take(&mut crc)?);
            for _ in 0..len {
                self.take::<1>(&mut crc)?;
            }
        }
        for text in [NAME, COMMENT] {
            if flags & text != 0 {
                self.pass_text(&mut crc)?;
            }
        }
        if flags & HEADER_CRC != 0 {
            let [low, high, ..] = crc.clone().finalize().to_le_bytes();
            let stored: [u8; 2] = self.take(&mut crc)?;
            if stored != [low, high] {
                return Err(malformed("member header", "another CRC-16 than its bytes have", "its own"));
            }
        }
        self.inflate.reset(false);
        self.crc = crc32fast::Hasher::new();
        self.member_bytes = 0;
        Ok(true)
    }

    fn end_member(&mut self) -> io::Result<()> {
        let mut ignored = crc32fast::Hasher::new();
        let crc = u32::from_le_bytes(self.take(&mut ignored)?);
        let len = u32::from_le_bytes(self.take(&mut ignored)?);
        let made = self.crc.clone().finalize();
        if crc != made {
            return Err(malformed(
                "member",
                format!("CRC-32 {made:08x}"),
                &format!("{crc:08x}, as its end says"),
            ));
        }
        if len != self.member_bytes {
            let found = format!("{} bytes (modulo 2^32)", self.member_bytes);
            return Err(malformed("member", found, &format!("{len}, as its end says")));
        }
        Ok(())
    }

    /// The next bytes of a header or trailer.
    fn take<const N: usize>(&mut self, crc: &mut crc32fast::Hasher) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.stream.read_exact(&mut bytes).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => cut_off(),
            _ => error,
        })?;
        crc.update(&bytes);
        Ok(bytes)
    }

    /// Passes a text that ends with a zero byte.
    fn pass_text(&mut self, crc: &mut crc32fast::Hasher) -> io::Result<()> {
        for _ in 0..HEADER_TEXT_BYTES {
            if self.take(crc)? == [0] {
                return Ok(());
            }
        }
        let found = format!("a name or comment of over {HEADER_TEXT_BYTES} bytes");
        Err(malformed("member header", found, "one that ends"))
    }

    /// Inflates some of the current member; 0 bytes come out only at its end.
    fn inflate(&mut self, dst: &mut [u8]) -> io::Result<usize> {
        loop {
            let stored = self.stream.fill_buf()?;
            let is_end = stored.is_empty();
            let (took, made) = (self.inflate.total_in(), self.inflate.total_out());
            let status = self.inflate.decompress(stored, dst, FlushDecompress::None);
            let took = len_of(self.inflate.total_in().wrapping_sub(took));
            let made = len_of(self.inflate.total_out().wrapping_sub(made));
            self.stream.consume(took);
            let status = status.map_err(|error| malformed("deflate stream", error.to_string(), WHOLE))?;
            let fresh = dst.get(..made).unwrap_or_default();
            self.crc.update(fresh);
            self.member_bytes = self.member_bytes.wrapping_add(low_32(made));
            match status {
                _ if made > 0 => return Ok(made),
                Status::StreamEnd => return Ok(0),
                _ if is_end => return Err(cut_off()),
                Status::Ok | Status::BufError if took > 0 => {}
                _ => return Err(malformed("deflate stream", "no progress", WHOLE)),
            }
        }
    }
}

impl<R: BufRead> Read for GzipReader<R> {
    fn read(&mut self, dst: &mut [u8]) -> io::Result<usize> {
        if dst.is_empty() {
            return Ok(0);
        }
        loop {
            match self.place {
                Place::End => return Ok(0),
                Place::Between { is_first } => {
                    self.place = match self.start_member(is_first)? {
                        true => Place::Within,
                        false => Place::End,
                    };
                }
                Place::Within => match self.inflate(dst)? {
                    0 => {
                        self.end_member()?;
                        self.place = Place::Between { is_first: false };
                    }
                    made => return Ok(made),
                },
            }
        }
    }
}

/// A length that was a slice's.
fn len_of(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

fn low_32(len: usize) -> u32 {
    u32::try_from(len & 0xffff_ffff).unwrap_or(u32::MAX)
}

fn malformed(place: &'static str, found: impl Into<String>, allowed: &str) -> io::Error {
    Error::malformed("gzip", place, None, found.into(), allowed.to_owned())
        .hint("the data is cut off or damaged; fetch or build it again")
        .into_io()
}

fn cut_off() -> io::Error {
    malformed("member", "the end of the data within it", WHOLE)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    /// The trailer of `payload`.
    fn trailer(payload: &[u8]) -> Vec<u8> {
        let len = u32::try_from(payload.len()).unwrap();
        [crc32fast::hash(payload).to_le_bytes(), len.to_le_bytes()].concat()
    }

    fn deflate(payload: &[u8], level: u32) -> Vec<u8> {
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::new(level));
        encoder.write_all(payload).unwrap();
        encoder.finish().unwrap()
    }

    /// A member with every optional field.
    fn member(payload: &[u8]) -> Vec<u8> {
        let flags = HEADER_CRC | EXTRA | NAME | COMMENT;
        let mut bytes = vec![0x1f, 0x8b, 8, flags, 0, 0, 0, 0, 0, 3];
        bytes.extend(b"\x04\0SG\0\0name\0comment\0");
        let crc = crc32fast::hash(&bytes).to_le_bytes();
        bytes.extend(&crc[..2]);
        bytes.extend(deflate(payload, 6));
        bytes.extend(trailer(payload));
        bytes
    }

    fn read(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        GzipReader::new(bytes).read_to_end(&mut all)?;
        Ok(all)
    }

    #[test]
    fn optional_fields_are_passed_and_checked() {
        let whole = member(b"payload");
        assert_eq!(read(&whole).unwrap(), b"payload");
        assert_eq!(read(&[whole.clone(), whole.clone()].concat()).unwrap(), b"payloadpayload");
        let padding = whole.len() - 9; // the last bits of a deflate stream mean nothing
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x80;
            assert_eq!(read(&bytes).is_ok(), at == padding, "byte {at}");
            read(&whole[..at]).unwrap_err();
        }
        let endless = [&[0x1f, 0x8b, 8, NAME, 0, 0, 0, 0, 0, 3][..], &vec![b'a'; 70_000]].concat();
        assert!(read(&endless).unwrap_err().to_string().contains("name or comment of over 65536 bytes"));
    }

    #[test]
    fn what_is_behind_the_last_member_is_an_error() {
        let rest = [member(b"payload"), b"\0\0".to_vec()].concat();
        read(&rest).unwrap_err();
        let other = [member(b"payload"), b"some other bytes".to_vec()].concat();
        let error = read(&other).unwrap_err().to_string();
        assert!(error.contains("bytes 73 6f where a member has to start"), "{error}");
    }

    proptest! {
        #[test]
        fn reads_what_another_reader_reads(
            parts in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..3000), 0_u32..10), 1..4),
            flip in any::<prop::sample::Index>(),
            mask in any::<u8>(),
            chunk in 1_usize..700,
        ) {
            let mut stored = Vec::new();
            for (payload, level) in &parts {
                let mut encoder =
                    flate2::write::GzEncoder::new(&mut stored, flate2::Compression::new(*level));
                encoder.write_all(payload).unwrap();
                encoder.finish().unwrap();
            }
            let at = flip.index(stored.len());
            stored[at] ^= mask;
            let mut theirs = Vec::new();
            let want = flate2::bufread::MultiGzDecoder::new(&stored[..]).read_to_end(&mut theirs);
            let mut ours = Vec::new();
            let stream = io::BufReader::with_capacity(chunk, &stored[..]);
            let got = GzipReader::new(stream).read_to_end(&mut ours);
            // The other passes reserved flags; both refuse whatever changes the content.
            if got.is_ok() {
                prop_assert!(want.is_ok());
                prop_assert_eq!(ours, theirs);
            } else if want.is_ok() {
                prop_assert!(mask != 0);
            }
        }
    }
}
