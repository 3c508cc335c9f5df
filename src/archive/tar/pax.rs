//! The records of a pax extended header: `LENGTH KEYWORD=VALUE\n`, the length counting the whole record.

use crate::error::{Error, Result};

/// The records that karat reads. Later ones replace earlier ones; with an empty value the header's own counts.
#[derive(Debug, Default)]
pub(super) struct Records {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size_bytes: Option<u64>,
    /// `GNU.sparse.*`, where there are any.
    pub(super) sparse: Option<Box<SparseRecords>>,
}

/// The records of a sparse file.
#[derive(Debug, Default)]
pub(super) struct SparseRecords {
    pub(super) major: Option<Vec<u8>>,
    pub(super) minor: Option<Vec<u8>>,
    pub(super) name: Option<Vec<u8>>,
    /// `GNU.sparse.size` (0.x) or `GNU.sparse.realsize` (1.0).
    pub(super) size_bytes: Option<u64>,
    /// `GNU.sparse.map` (0.1).
    pub(super) map: Option<Vec<u8>>,
    /// `GNU.sparse.offset` and `GNU.sparse.numbytes` in turn (0.0).
    pub(super) pairs: Vec<u64>,
}

impl Records {
    /// # Errors
    /// `Malformed` if a record's length, keyword or value breaks the rules.
    pub(super) fn parse(data: &[u8], header_offset: u64) -> Result<Self> {
        let wrong = |field, found: &[u8], allowed| {
            let shown = found.get(..found.len().min(60)).unwrap_or(found);
            Error::malformed(
                "pax header",
                field,
                header_offset,
                format!("`{}`", shown.escape_ascii()),
                allowed,
            )
        };
        let mut records = Records::default();
        let mut rest = data;
        while !rest.is_empty() {
            // Some writers fill up with NULs.
            if rest.iter().all(|b| *b == 0) {
                break;
            }
            let record = memchr::memchr(b' ', rest)
                .and_then(|space| {
                    let len = usize::try_from(decimal(rest.get(..space)?)?).ok()?;
                    let (record, after) = rest.split_at_checked(len)?;
                    rest = after;
                    record.get(space.checked_add(1)?..)?.strip_suffix(b"\n")
                })
                .ok_or_else(|| {
                    wrong("record", rest, "a length, a blank, a keyword, `=`, a value, a line feed")
                })?;
            let equals = memchr::memchr(b'=', record)
                .ok_or_else(|| wrong("record", record, "a keyword, `=` and a value"))?;
            let (key, value) = record.split_at_checked(equals).unwrap_or((record, b"="));
            let value = value.get(1..).unwrap_or(&[]);
            records
                .set(key, value)
                .ok_or_else(|| wrong("value", record, "a name without NUL, or a number"))?;
        }
        Ok(records)
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        let name = || (!value.contains(&0)).then(|| value.to_vec());
        let number = || if value.is_empty() { Some(None) } else { decimal(value).map(Some) };
        match key {
            b"path" => self.path = Some(name()?),
            b"linkpath" => self.link = Some(name()?),
            b"size" => self.size_bytes = number()?,
            _ => {
                let Some(key) = key.strip_prefix(b"GNU.sparse.") else { return Some(()) };
                let sparse = self.sparse.get_or_insert_default();
                match key {
                    b"major" => sparse.major = Some(value.to_vec()),
                    b"minor" => sparse.minor = Some(value.to_vec()),
                    b"name" => sparse.name = Some(name()?),
                    b"size" | b"realsize" => sparse.size_bytes = number()?,
                    b"map" => sparse.map = Some(value.to_vec()),
                    b"offset" | b"numbytes" => sparse.pairs.push(number()??),
                    _ => {}
                }
            }
        }
        Some(())
    }

    /// The name, where the header's does not count.
    pub(super) fn take_path(&mut self) -> Option<Vec<u8>> {
        let sparse = self.sparse.as_mut().and_then(|sparse| sparse.name.take());
        sparse.or(self.path.take()).filter(|path| !path.is_empty())
    }

    /// The link's target, where the header's does not count.
    pub(super) fn take_link(&mut self) -> Option<Vec<u8>> {
        self.link.take().filter(|link| !link.is_empty())
    }

    /// The size of the data, where the header's does not count.
    pub(super) fn size_bytes(&self) -> Option<u64> {
        self.size_bytes
    }
}

/// A decimal number up to 2^63-1, digits only.
pub(super) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    i64::try_from(value).is_ok().then_some(value)
}
