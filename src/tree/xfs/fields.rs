//! Numbers out of a structure that may be cut off: XFS keeps its metadata in big-endian order, checksums in
//! little-endian, and the log in the order of the host that wrote it.

use crate::bytes::size_of_len;
use crate::error::{Error, Result};

/// The bytes of one structure, with what it is and where it is on the volume.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) format: &'static str,
    /// Byte offset on the volume.
    pub(super) offset: u64,
}

impl<'a> Fields<'a> {
    pub(super) fn new(bytes: &'a [u8], format: &'static str, offset: u64) -> Self {
        Fields { bytes, format, offset }
    }

    /// `len` bytes from `at` on.
    pub(super) fn slice(&self, at: usize, len: usize) -> Result<&'a [u8]> {
        at.checked_add(len).and_then(|end| self.bytes.get(at..end)).ok_or_else(|| {
            self.malformed("length", at, format!("{} bytes", self.bytes.len()), format!("{len} from here on"))
        })
    }

    fn array<const N: usize>(&self, at: usize) -> Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.slice(at, N)?);
        Ok(array)
    }

    pub(super) fn u8(&self, at: usize) -> Result<u8> {
        Ok(u8::from_be_bytes(self.array(at)?))
    }

    pub(super) fn be16(&self, at: usize) -> Result<u16> {
        Ok(u16::from_be_bytes(self.array(at)?))
    }

    pub(super) fn be32(&self, at: usize) -> Result<u32> {
        Ok(u32::from_be_bytes(self.array(at)?))
    }

    pub(super) fn be64(&self, at: usize) -> Result<u64> {
        Ok(u64::from_be_bytes(self.array(at)?))
    }

    pub(super) fn le16(&self, at: usize) -> Result<u16> {
        Ok(u16::from_le_bytes(self.array(at)?))
    }

    pub(super) fn le32(&self, at: usize) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array(at)?))
    }

    pub(super) fn le64(&self, at: usize) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array(at)?))
    }

    /// The error for a field of this structure.
    pub(super) fn malformed(
        &self,
        field: &'static str,
        at: usize,
        found: impl Into<String>,
        allowed: impl Into<String>,
    ) -> Error {
        Error::malformed(self.format, field, self.offset.saturating_add(size_of_len(at)), found, allowed)
    }

    /// Checks a magic number.
    pub(super) fn expect_magic(&self, at: usize, found: u32, allowed: u32) -> Result<()> {
        match found == allowed {
            true => Ok(()),
            false => Err(self.malformed("magic", at, format!("{found:#x}"), format!("{allowed:#x}"))),
        }
    }

    /// Checks the CRC-32C of the whole structure, which is stored at `at` and counts as zero in it.
    pub(super) fn check_crc(&self, at: usize) -> Result<()> {
        let stored = self.le32(at)?;
        let after = at.saturating_add(4);
        let head = crc32c::crc32c(self.slice(0, at)?);
        let blank = crc32c::crc32c_append(head, &[0; 4]);
        let computed = crc32c::crc32c_append(blank, self.bytes.get(after..).unwrap_or_default());
        match stored == computed {
            true => Ok(()),
            false => Err(self.malformed(
                "checksum",
                at,
                format!("{stored:#010x}"),
                format!("{computed:#010x}, as computed"),
            )),
        }
    }
}

/// A number from disk as a size in memory.
pub(super) fn len(number: impl Into<u64>) -> usize {
    usize::try_from(number.into()).unwrap_or(usize::MAX)
}
