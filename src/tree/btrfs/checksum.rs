//! The checksums over metadata blocks and over sectors of data.
//!
//! | type | sum | bytes |
//! | --- | --- | --- |
//! | 0 | CRC-32C, inverted at the end | 4 |
//! | 1 | xxHash64 with seed 0 | 8 |
//! | 2 | SHA-256 | 32 |
//! | 3 | BLAKE2b with an output of 256 bits | 32 |
//!
//! Numbers are stored little-endian. In a block the sum takes the first 32 bytes, of which the rest is unused.

use blake2::Blake2b;
use blake2::digest::consts::U32;
use sha2::{Digest as _, Sha256};
use twox_hash::XxHash64;

use crate::bytes::sum_holds;
use crate::tree::crc32c::crc32c;

/// Which checksum a file system has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Checksum {
    Crc32c,
    XxHash64,
    Sha256,
    Blake2b,
}

impl Checksum {
    /// By the number in the superblock; `None` if it is not known.
    pub(super) fn of_type(number: u16) -> Option<Self> {
        Some(match number {
            0 => Checksum::Crc32c,
            1 => Checksum::XxHash64,
            2 => Checksum::Sha256,
            3 => Checksum::Blake2b,
            _ => return None,
        })
    }

    /// How many bytes are stored.
    pub(super) fn size_bytes(self) -> usize {
        match self {
            Checksum::Crc32c => 4,
            Checksum::XxHash64 => 8,
            Checksum::Sha256 | Checksum::Blake2b => 32,
        }
    }

    /// Whether the first bytes of `stored` are the sum of `bytes`; not if there are too few.
    pub(super) fn matches(self, bytes: &[u8], stored: &[u8]) -> bool {
        let holds = |sum: &[u8]| stored.get(..sum.len()).is_some_and(|stored| sum_holds(stored, sum));
        match self {
            Checksum::Crc32c => holds(&(!crc32c(!0, bytes)).to_le_bytes()),
            Checksum::XxHash64 => holds(&XxHash64::oneshot(0, bytes).to_le_bytes()),
            Checksum::Sha256 => holds(&Sha256::digest(bytes)),
            Checksum::Blake2b => holds(&Blake2b::<U32>::digest(bytes)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sums_of_the_standards() {
        let unhex = |hex: &str| -> Vec<u8> {
            (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
        };
        // RFC 3720; xxHash's own sanity check; FIPS 180-4; `b2sum -l 256`.
        for (number, bytes, stored) in [
            (0, &b"123456789"[..], "839206e3"),
            (1, b"", "99e9d85137db46ef"),
            (2, b"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            (3, b"abc", "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319"),
        ] {
            let checksum = Checksum::of_type(number).unwrap();
            let stored = unhex(stored);
            assert_eq!(stored.len(), checksum.size_bytes());
            assert!(checksum.matches(bytes, &stored), "{checksum:?}");
            assert!(!checksum.matches(b"abd", &stored), "{checksum:?}");
            assert!(!checksum.matches(bytes, &stored[1..]), "{checksum:?}");
        }
        assert_eq!(Checksum::of_type(4), None);
    }
}
