//! Fixed fields of an on-disk structure: every read is checked, and says which structure was cut off.

use super::crc32c::crc32c;
use crate::bytes::{size_of_len, sum_holds, uuid_text};
use crate::error::{Error, Result};

/// A structure's bytes, its name for messages, and where it stands on the volume.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) format: &'static str,
    /// The structure's own byte offset on the volume, so that errors name the place of the field.
    pub(super) offset: u64,
}

impl<'a> Fields<'a> {
    pub(super) fn new(bytes: &'a [u8], format: &'static str, offset: u64) -> Self {
        Fields { bytes, format, offset }
    }

    /// The offset on the volume of a byte of this structure.
    pub(super) fn place(&self, at: usize) -> u64 {
        self.offset.saturating_add(size_of_len(at))
    }

    /// An error that a field is not what it may be.
    pub(super) fn wrong(
        &self,
        field: &'static str,
        at: usize,
        found: impl Into<String>,
        allowed: impl Into<String>,
    ) -> Error {
        Error::malformed(self.format, field, self.place(at), found, allowed)
    }

    pub(super) fn slice(&self, at: usize, len: usize) -> Result<&'a [u8]> {
        at.checked_add(len).and_then(|end| self.bytes.get(at..end)).ok_or_else(|| {
            let left = self.bytes.len().saturating_sub(at);
            self.wrong("length", at, format!("{left} bytes left"), format!("{len} bytes"))
        })
    }

    pub(super) fn array<const N: usize>(&self, at: usize) -> Result<[u8; N]> {
        let slice = self.slice(at, N)?;
        slice.try_into().map_err(|_| self.wrong("length", at, "fewer bytes", format!("{N} bytes")))
    }

    pub(super) fn u8(&self, at: usize) -> Result<u8> {
        self.array(at).map(u8::from_le_bytes)
    }

    pub(super) fn le16(&self, at: usize) -> Result<u16> {
        self.array(at).map(u16::from_le_bytes)
    }

    pub(super) fn le32(&self, at: usize) -> Result<u32> {
        self.array(at).map(u32::from_le_bytes)
    }

    pub(super) fn le64(&self, at: usize) -> Result<u64> {
        self.array(at).map(u64::from_le_bytes)
    }

    pub(super) fn be16(&self, at: usize) -> Result<u16> {
        self.array(at).map(u16::from_be_bytes)
    }

    pub(super) fn be32(&self, at: usize) -> Result<u32> {
        self.array(at).map(u32::from_be_bytes)
    }

    pub(super) fn be64(&self, at: usize) -> Result<u64> {
        self.array(at).map(u64::from_be_bytes)
    }

    /// Checks a magic number.
    pub(super) fn expect_magic(&self, at: usize, found: u32, allowed: u32) -> Result<()> {
        match found == allowed {
            true => Ok(()),
            false => Err(self.wrong("magic", at, format!("{found:#x}"), format!("{allowed:#x}"))),
        }
    }

    /// Checks the CRC-32C of the whole structure, which is stored little-endian at `at` and counts as zero in it.
    pub(super) fn check_crc(&self, at: usize) -> Result<()> {
        let stored = self.le32(at)?;
        let blank = crc32c(crc32c(!0, self.slice(0, at)?), &[0; 4]);
        let computed = !crc32c(blank, self.bytes.get(at.saturating_add(4)..).unwrap_or_default());
        match sum_holds(stored, computed) {
            true => Ok(()),
            false => {
                let found = format!("{stored:#010x}");
                Err(self.wrong("checksum", at, found, format!("{computed:#010x}, as computed")))
            }
        }
    }
}

/// A number from disk as a size in memory.
pub(super) fn len(number: impl Into<u64>) -> usize {
    usize::try_from(number.into()).unwrap_or(usize::MAX)
}

/// A UUID as blkid writes it; `None` if it is all zeros.
pub(super) fn uuid(bytes: &[u8; 16]) -> Option<String> {
    if bytes.iter().all(|b| *b == 0) {
        return None;
    }
    Some(uuid_text(bytes))
}

/// A label without what pads it to the right: from the first NUL on nothing.
pub(super) fn label(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().copied().take_while(|b| *b != 0).collect()
}
