//! The 512-byte header.
//!
//! | offset | bytes | field | |
//! |---|---|---|---|
//! | 0 | 100 | name | |
//! | 100 | 8 | mode | octal |
//! | 124 | 12 | size | octal, or base-256 with the top bit set |
//! | 148 | 8 | chksum | sum of all bytes, this field as spaces |
//! | 156 | 1 | typeflag | |
//! | 157 | 100 | linkname | |
//! | 257 | 8 | magic, version | `ustar\0` `00`, or GNU `ustar  \0` |
//! | 345 | 155 | prefix | ustar; star has 131 and `tar\0` at 508; GNU has times and sparse entries here |

use super::{BLOCK_BYTES, MemberKind};
use crate::error::{Error, Result};

/// One block.
pub(super) type Block = [u8; BLOCK_BYTES];

/// Whose header it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    V7,
    Ustar,
    Star,
    Gnu,
}

/// A header whose checksum is right.
pub(super) struct Header {
    block: Block,
    offset: u64,
    format: Format,
}

impl Header {
    /// # Errors
    /// `Malformed` if the checksum is wrong.
    pub(super) fn parse(block: Block, offset: u64) -> Result<Self> {
        let stored = number(field(&block, 148, 8));
        let (unsigned, signed) = checksums(&block);
        let stored = stored.and_then(|stored| i64::try_from(stored).ok());
        if stored != Some(unsigned) && stored != Some(signed) {
            let found = stored.map_or_else(|| "no number".to_owned(), |stored| stored.to_string());
            return Err(Error::malformed(
                "tar header",
                "checksum",
                offset,
                found,
                format!("the sum {unsigned}"),
            ));
        }
        let magic = field(&block, 257, 8);
        let format = match magic {
            b"ustar  \0" => Format::Gnu,
            _ if magic.starts_with(b"ustar\0") && field(&block, 508, 4) == b"tar\0" => Format::Star,
            _ if magic.starts_with(b"ustar\0") => Format::Ustar,
            _ => Format::V7,
        };
        Ok(Header { block, offset, format })
    }

    /// The type flag.
    pub(super) fn flag(&self) -> u8 {
        field(&self.block, 156, 1).first().copied().unwrap_or(0)
    }

    /// Whether it may be pax.
    pub(super) fn is_posix(&self) -> bool {
        self.format == Format::Ustar
    }

    /// Whether it is GNU's.
    pub(super) fn is_gnu(&self) -> bool {
        self.format == Format::Gnu
    }

    /// Bytes of the block.
    pub(super) fn field(&self, start: usize, len: usize) -> &[u8] {
        field(&self.block, start, len)
    }

    /// Name with prefix.
    pub(super) fn path(&self) -> Vec<u8> {
        let name = text(self.field(0, 100));
        let prefix = match self.format {
            Format::Ustar => text(self.field(345, 155)),
            Format::Star => text(self.field(345, 131)),
            // Go's writer before 1.8, and so old docker, put a prefix over GNU's two times.
            Format::Gnu if self.times_are_no_numbers() => text(self.field(345, 155)),
            Format::Gnu | Format::V7 => b"",
        };
        if prefix.is_empty() {
            return name.to_vec();
        }
        [prefix, b"/", name].concat()
    }

    fn times_are_no_numbers(&self) -> bool {
        let is_number = |start| number(self.field(start, 12)).is_some();
        self.field(345, 1) != b"\0" && !(is_number(345) && is_number(357))
    }

    /// What it links to.
    pub(super) fn link(&self) -> Vec<u8> {
        text(self.field(157, 100)).to_vec()
    }

    /// # Errors
    /// `Malformed` if it is no number that can be.
    pub(super) fn size_bytes(&self) -> Result<u64> {
        self.number("size", 124, 12)
    }

    /// Permission bits with set-id and sticky bits.
    ///
    /// # Errors
    /// `Malformed` if it is no number.
    pub(super) fn mode(&self) -> Result<u32> {
        Ok(u32::try_from(self.number("mode", 100, 8)? & 0o7777).unwrap_or(0))
    }

    /// When the member was changed last, in seconds since 1970; `None` for zero and for what is no number.
    pub(super) fn mtime_unix(&self) -> Option<u64> {
        number(self.field(136, 12)).filter(|seconds| *seconds > 0)
    }

    fn number(&self, name: &'static str, start: usize, len: usize) -> Result<u64> {
        let bytes = self.field(start, len);
        number(bytes).ok_or_else(|| {
            let at = self.offset.saturating_add(u64::try_from(start).unwrap_or(0));
            Error::malformed(
                "tar header",
                name,
                at,
                format!("`{}`", bytes.escape_ascii()),
                "an octal or base-256 number from 0 to 2^63-1",
            )
        })
    }

    /// The kind of member that has this name.
    pub(super) fn kind(&self, path: &[u8]) -> MemberKind {
        match self.flag() {
            0 if path.ends_with(b"/") => MemberKind::Directory,
            0 | b'0' | b'7' | b'S' => MemberKind::File,
            b'1' => MemberKind::HardLink,
            b'2' => MemberKind::Symlink,
            b'3' | b'4' => MemberKind::Device,
            b'5' | b'D' => MemberKind::Directory,
            b'6' => MemberKind::Fifo,
            b'V' => MemberKind::Label,
            other => MemberKind::Other(other),
        }
    }
}

/// Whether this block has the checksum of a tar header.
#[must_use]
pub fn looks_like_header(block: &[u8; BLOCK_BYTES]) -> bool {
    *block != [0; BLOCK_BYTES] && Header::parse(*block, 0).is_ok()
}

fn field(block: &Block, start: usize, len: usize) -> &[u8] {
    block.get(start..).and_then(|rest| rest.get(..len)).unwrap_or(&[])
}

/// A name: up to the first NUL.
fn text(bytes: &[u8]) -> &[u8] {
    bytes.split(|b| *b == 0).next().unwrap_or(&[])
}

/// The sums of all bytes, as unsigned and as signed ones, with the checksum itself as spaces.
fn checksums(block: &Block) -> (i64, i64) {
    let sum = |bytes: &[u8]| bytes.iter().map(|b| i64::from(*b)).sum::<i64>();
    let high = |bytes: &[u8]| bytes.iter().map(|b| i64::from(*b >> 7)).sum::<i64>();
    let stored = field(block, 148, 8);
    let unsigned = sum(block).saturating_sub(sum(stored)).saturating_add(8 * 0x20);
    let signed = unsigned.saturating_sub(high(block).saturating_sub(high(stored)).saturating_mul(256));
    (unsigned, signed)
}

/// An octal number with blanks or NULs around it (nothing at all is 0), or a base-256 number that is not
/// negative; at most 2^63-1.
pub(super) fn number(bytes: &[u8]) -> Option<u64> {
    let value = match bytes.split_first() {
        Some((first, rest)) if first & 0x80 != 0 => {
            if first & 0x40 != 0 {
                return None;
            }
            rest.iter()
                .try_fold(u64::from(first & 0x3f), |value, b| Some(value.checked_mul(256)? | u64::from(*b)))?
        }
        _ => {
            let is_blank = |b: &u8| matches!(b, b' ' | 0);
            let start = bytes.iter().position(|b| !is_blank(b)).unwrap_or(bytes.len());
            let digits = bytes.get(start..)?;
            let end = digits.iter().position(is_blank).unwrap_or(digits.len());
            let (digits, rest) = digits.split_at_checked(end)?;
            if !rest.iter().all(is_blank) {
                return None;
            }
            digits.iter().try_fold(0_u64, |value, b| {
                let digit = b.checked_sub(b'0').filter(|digit| *digit < 8)?;
                value.checked_mul(8)?.checked_add(u64::from(digit))
            })?
        }
    };
    i64::try_from(value).is_ok().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_or_base_256() {
        for (bytes, want) in [
            (&b"0000644\0"[..], Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"\0\0\0\0", Some(0)),
            (b"77777777777 ", Some(0o77_777_777_777)),
            (b"12a", None),
            (b"8", None),
            (b"1 2", None),
            (b"-1", None),
            (b"\x80\0\0\0\0\0\0\x02\0\0\0\x01", Some((2 << 32) + 1)),
            (b"\xff\xff\xff\xff", None),
            (b"\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff", None),
            (b"\x80\0\x01\0\0\0\0\0\0\0\0\0", None),
        ] {
            assert_eq!(number(bytes), want, "{}", bytes.escape_ascii());
        }
    }
}
