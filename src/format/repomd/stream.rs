//! What a file of the metadata holds, held against what `repomd.xml` says of it.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::indexing_slicing,
        clippy::unwrap_used
    )
)]

use std::io::{self, BufRead, BufReader, Read};

use sha2::Digest as _;

use super::MetadataFile;
use crate::bytes::size_of_len;
use crate::codec::{self, Compression};
use crate::error::{Error, Result, ResultExt as _, quoted};
use crate::limits::{Ceiling, Limits};

/// Streams are read in pieces of this size.
const BUFFER_BYTES: usize = 64 << 10;

/// The magic numbers of zchunk files, whole and header alone.
const ZCHUNK: [&[u8]; 2] = [b"\0ZCK1", b"\0ZHR1"];

/// How a digest is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChecksumKind {
    /// MD5.
    Md5,
    /// SHA-1, also called `sha`.
    Sha1,
    /// SHA-224.
    Sha224,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl ChecksumKind {
    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "md5" => ChecksumKind::Md5,
            "sha" | "sha1" => ChecksumKind::Sha1,
            "sha224" => ChecksumKind::Sha224,
            "sha256" => ChecksumKind::Sha256,
            "sha384" => ChecksumKind::Sha384,
            "sha512" => ChecksumKind::Sha512,
            _ => return None,
        })
    }

    fn digits(self) -> usize {
        match self {
            ChecksumKind::Md5 => 32,
            ChecksumKind::Sha1 => 40,
            ChecksumKind::Sha224 => 56,
            ChecksumKind::Sha256 => 64,
            ChecksumKind::Sha384 => 96,
            ChecksumKind::Sha512 => 128,
        }
    }
}

/// A digest and its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checksum {
    /// How it is made.
    pub kind: ChecksumKind,
    /// Lower-case hexadecimal digits, as many as the kind has.
    pub hex: String,
}

impl Checksum {
    /// From the name of a kind (any case) and hexadecimal digits; `None` if they do not fit.
    #[must_use]
    pub fn of(kind: &str, hex: &str) -> Option<Self> {
        let kind = ChecksumKind::of(&kind.to_ascii_lowercase())?;
        let fits = hex.len() == kind.digits() && hex.bytes().all(|b| b.is_ascii_hexdigit());
        fits.then(|| Checksum { kind, hex: hex.to_ascii_lowercase() })
    }
}

/// Whether bytes were held against a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// They have it.
    Matches,
    /// There is none, or one of MD5 or SHA-1, which prove nothing.
    Unchecked,
}

impl MetadataFile {
    /// Holds the stored bytes of the file against their size and digest; reads them to their end.
    ///
    /// # Errors
    /// `Malformed` if they are others; what the stream gives.
    pub fn check_stored(&self, stored: &mut dyn Read) -> Result<Verdict> {
        let mut checked = Checked::new(stored, Facts::stored(self), None);
        io::copy(&mut checked, &mut io::sink()).at(|| format!("data {}", quoted(&self.kind)))?;
        Ok(checked.verdict())
    }
}

/// What a file holds, inflated by its magic number, out of its stored bytes. The stream fails above
/// `channel_index_bytes` or the size that is stated, and at its end if size or digest are not the stated ones:
/// so it is to be read to its end.
///
/// # Errors
/// `Unsupported` for zchunk, `Limit` if the stated size is above the ceiling; what the stream gives.
pub fn open<'a>(
    file: &'a MetadataFile,
    mut stored: impl BufRead + 'a,
    limits: &Limits,
) -> Result<impl BufRead + 'a> {
    let place = || format!("data {}", quoted(&file.kind));
    if file.is_zchunk() {
        return Err(zchunk(&file.location).at(place()));
    }
    let ceiling = limits.channel_index_bytes;
    ceiling.check(file.open_size_bytes.unwrap_or(0)).at(place)?;
    let mut head = Vec::new();
    (&mut stored).take(size_of_len(codec::MAGIC_BYTES)).read_to_end(&mut head).at(place)?;
    if ZCHUNK.iter().any(|magic| head.starts_with(magic)) {
        return Err(zchunk(&file.location).at(place()));
    }
    let compression = Compression::of(&head);
    let plain = codec::decoder(compression, io::Cursor::new(head).chain(stored), limits).at(place)?;
    Ok(BufReader::with_capacity(BUFFER_BYTES, Checked::new(plain, Facts::open(file), Some(ceiling))))
}

fn zchunk(location: &str) -> Error {
    Error::unsupported(format!("zchunk files, {}", quoted(location))).hint(
        "the same metadata is mostly there as .gz, .xz or .zst too, under the type without `_zck`; \
         createrepo_c without --zck writes it",
    )
}

/// What is said of a stream of bytes.
struct Facts<'a> {
    place: String,
    /// `checksum` or `open-checksum`.
    field: &'static str,
    size_field: &'static str,
    size_bytes: Option<u64>,
    checksum: Option<&'a Checksum>,
}

impl<'a> Facts<'a> {
    fn stored(file: &'a MetadataFile) -> Self {
        Facts {
            place: String::new(),
            field: "checksum",
            size_field: "size",
            size_bytes: file.size_bytes,
            checksum: file.checksum.as_ref(),
        }
    }

    fn open(file: &'a MetadataFile) -> Self {
        Facts {
            place: format!("data {}", quoted(&file.kind)),
            field: "open-checksum",
            size_field: "open-size",
            size_bytes: file.open_size_bytes,
            checksum: file.open_checksum.as_ref(),
        }
    }
}

enum Hasher {
    None,
    Sha224(sha2::Sha224),
    Sha256(sha2::Sha256),
    Sha384(sha2::Sha384),
    Sha512(sha2::Sha512),
}

impl Hasher {
    fn of(checksum: Option<&Checksum>) -> Self {
        match checksum.map(|checksum| checksum.kind) {
            Some(ChecksumKind::Sha224) => Hasher::Sha224(sha2::Sha224::new()),
            Some(ChecksumKind::Sha256) => Hasher::Sha256(sha2::Sha256::new()),
            Some(ChecksumKind::Sha384) => Hasher::Sha384(sha2::Sha384::new()),
            Some(ChecksumKind::Sha512) => Hasher::Sha512(sha2::Sha512::new()),
            Some(ChecksumKind::Md5 | ChecksumKind::Sha1) | None => Hasher::None,
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Hasher::None => {}
            Hasher::Sha224(hasher) => hasher.update(bytes),
            Hasher::Sha256(hasher) => hasher.update(bytes),
            Hasher::Sha384(hasher) => hasher.update(bytes),
            Hasher::Sha512(hasher) => hasher.update(bytes),
        }
    }

    /// The digits; `None` if nothing is made.
    fn hex(&self) -> Option<String> {
        fn hex(bytes: &[u8]) -> String {
            bytes.iter().map(|b| format!("{b:02x}")).collect()
        }
        match self {
            Hasher::None => None,
            Hasher::Sha224(hasher) => Some(hex(&hasher.clone().finalize())),
            Hasher::Sha256(hasher) => Some(hex(&hasher.clone().finalize())),
            Hasher::Sha384(hasher) => Some(hex(&hasher.clone().finalize())),
            Hasher::Sha512(hasher) => Some(hex(&hasher.clone().finalize())),
        }
    }
}

/// A stream that fails if it is not what is said of it.
struct Checked<'a, R> {
    stream: R,
    facts: Facts<'a>,
    hasher: Hasher,
    size_bytes: u64,
    ceiling: Option<Ceiling>,
}

impl<'a, R: Read> Checked<'a, R> {
    fn new(stream: R, facts: Facts<'a>, ceiling: Option<Ceiling>) -> Self {
        let hasher = Hasher::of(facts.checksum);
        Checked { stream, facts, hasher, size_bytes: 0, ceiling }
    }

    fn verdict(&self) -> Verdict {
        match self.hasher {
            Hasher::None => Verdict::Unchecked,
            _ => Verdict::Matches,
        }
    }

    fn other(&self, field: &'static str, found: String, stated: &str) -> io::Error {
        let error = Error::malformed("repomd", field, None, found, format!("{stated}, as repomd.xml says"))
            .hint(
                "the file is damaged, or the mirror changed while it was copied; fetch the repository again",
            );
        let error = if self.facts.place.is_empty() { error } else { error.at(self.facts.place.clone()) };
        error.into_io()
    }

    fn at_end(&self) -> io::Result<()> {
        if let Some(stated) = self.facts.size_bytes
            && stated != self.size_bytes
        {
            let found = format!("{} bytes", self.size_bytes);
            return Err(self.other(self.facts.size_field, found, &stated.to_string()));
        }
        match (self.facts.checksum, self.hasher.hex()) {
            (Some(stated), Some(found)) if stated.hex != found => {
                Err(self.other(self.facts.field, found, &stated.hex))
            }
            _ => Ok(()),
        }
    }
}

impl<R: Read> Read for Checked<'_, R> {
    fn read(&mut self, dst: &mut [u8]) -> io::Result<usize> {
        if dst.is_empty() {
            return Ok(0);
        }
        let len = self.stream.read(dst)?;
        if len == 0 {
            self.at_end()?;
            return Ok(0);
        }
        self.hasher.update(dst.get(..len).unwrap_or_default());
        self.size_bytes = self.size_bytes.saturating_add(size_of_len(len));
        if let Some(ceiling) = self.ceiling {
            ceiling.check(self.size_bytes).map_err(|error| error.at(self.facts.place.clone()).into_io())?;
        }
        if let Some(stated) = self.facts.size_bytes
            && self.size_bytes > stated
        {
            let found = format!("more than {stated} bytes");
            return Err(self.other(self.facts.size_field, found, &stated.to_string()));
        }
        Ok(len)
    }
}
