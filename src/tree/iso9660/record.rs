//! Directory records: one for each file or, of large files, for each part of one.
//!
//! | byte | field | | byte | field |
//! | --- | --- | --- | --- | --- |
//! | 0 | length, 0: no more in this block | | 25 | flags: 1 directory, 2 associated, 7 more parts follow |
//! | 1 | blocks of extended attributes before the content | | 26 | interleaving, 0 if there is none |
//! | 2 | first block (733) | | 32 | length of the name |
//! | 10 | bytes (733) | | 33 | name, then padding to even, then system use |
//!
//! `.` and `..` have the names `00` and `01`.

use super::descriptors::both32;
use crate::bytes::{ReadAt as _, size_of_len};
use crate::error::Result;
use crate::tree::CachedReader;
use crate::tree::fields::Fields;

const FORMAT: &str = "ISO 9660 directory record";
/// Bytes before the name.
const HEAD: usize = 33;

const DIRECTORY: u8 = 0x02;
const ASSOCIATED: u8 = 0x04;
const MORE: u8 = 0x80;

/// A record.
#[derive(Debug)]
pub(super) struct Record {
    /// Where it is on the volume, in bytes.
    pub(super) offset: u64,
    /// How long it is, in bytes.
    pub(super) len: u8,
    /// The first block of the content.
    pub(super) block: u64,
    pub(super) size_bytes: u32,
    flags: u8,
    pub(super) is_interleaved: bool,
    pub(super) name: Vec<u8>,
    /// What is behind the name, and where that is on the volume.
    pub(super) system_use: Vec<u8>,
    pub(super) system_use_offset: u64,
}

impl Record {
    /// Reads the record at a byte of the volume; `None` if there is no more in this block.
    ///
    /// # Errors
    /// `Malformed` with the field; those of reading.
    pub(super) fn read(reader: &CachedReader, offset: u64) -> Result<Option<Self>> {
        let mut len = [0];
        reader.read_exact_at(offset, &mut len)?;
        if len == [0] {
            return Ok(None);
        }
        let mut bytes = vec![0; usize::from(len[0])];
        reader.read_exact_at(offset, &mut bytes)?;
        Record::decode(&bytes, 0, offset).map(Some)
    }

    /// Decodes a record in something that starts at a byte of the volume.
    ///
    /// # Errors
    /// `Malformed` with the field.
    pub(super) fn decode(bytes: &[u8], at: usize, offset: u64) -> Result<Self> {
        let bytes = bytes.get(at..).unwrap_or_default();
        let offset = offset.saturating_add(size_of_len(at));
        let fields = Fields::new(bytes, FORMAT, offset);
        let len = fields.u8(0)?;
        let fields = Fields::new(fields.slice(0, len.into())?, FORMAT, offset);
        let name_len = usize::from(fields.u8(32)?);
        let name = fields.slice(HEAD, name_len)?;
        if name.is_empty() {
            return Err(fields.wrong("length of the name", 32, "0", "1 or more"));
        }
        let block = both32(&fields, "first block", 2)?;
        let (unit, gap) = (fields.u8(26)?, fields.u8(27)?);
        let end = HEAD.saturating_add(name_len);
        let end = end.saturating_add(usize::from(name_len.is_multiple_of(2)));
        Ok(Record {
            offset,
            len,
            block: u64::from(block).saturating_add(fields.u8(1)?.into()),
            size_bytes: both32(&fields, "bytes", 10)?,
            flags: fields.u8(25)?,
            is_interleaved: unit != 0 || gap != 0,
            name: name.to_vec(),
            system_use: fields.bytes.get(end..).unwrap_or_default().to_vec(),
            system_use_offset: fields.place(end),
        })
    }

    pub(super) fn is_directory(&self) -> bool {
        self.flags & DIRECTORY != 0
    }

    /// Content that belongs to another file of the same name: a resource fork.
    pub(super) fn is_associated(&self) -> bool {
        self.flags & ASSOCIATED != 0
    }

    /// Whether the next record has more of the same file.
    pub(super) fn has_more(&self) -> bool {
        self.flags & MORE != 0
    }

    /// Whether it is `.` or `..`.
    pub(super) fn is_dot(&self) -> bool {
        matches!(self.name.as_slice(), [0 | 1])
    }
}
