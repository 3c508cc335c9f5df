//! `ar` as Debian packages use it (deb(5)): a magic, and members behind headers of 60 bytes.
//!
//! | bytes | field | |
//! |---|---|---|
//! | 0..16 | name | padded with spaces; a slash may end it |
//! | 16..28 | time | decimal seconds since 1970 |
//! | 28..48 | owner, group, mode | not read |
//! | 48..58 | size | decimal |
//! | 58..60 | end | a grave accent and a newline |
//!
//! A member of odd size is followed by one byte of padding. Long names (GNU's `//` table, BSD's `#1/`) are not
//! resolved: no Debian package has them.

use std::sync::Arc;

use crate::bytes::{Head, ReadAt, Section, read_all, size_of_len};
use crate::error::{Error, Result, quoted};
use crate::limits::{Ceiling, Limits};
use crate::model::Time;

/// How an archive starts.
pub const MAGIC: &[u8; 8] = b"!<arch>\n";

const HEADER_BYTES: usize = 60;

/// A member of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name without padding.
    pub name: Vec<u8>,
    /// Its time; `None` if it is zero or none.
    pub mtime: Option<Time>,
    /// Where its content starts.
    pub offset: u64,
    /// The size of its content.
    pub size_bytes: u64,
}

/// The members of an archive, in their order; after an error comes nothing more.
///
/// # Errors
/// `Malformed` if it does not start as an archive.
pub fn members<'a>(archive: &'a dyn ReadAt, limits: &Limits) -> Result<Members<'a>> {
    let len = size_of_len(MAGIC.len());
    let magic = read_all(&Head::new(archive, len), limits.record_bytes)?;
    if magic != MAGIC {
        let found = if archive.size_bytes() == 0 { "an empty file".to_owned() } else { quoted(magic) };
        return Err(Error::malformed("ar", "magic", 0, found, "`!<arch>\\n`"));
    }
    Ok(Members { archive, at: len, count: 0, ceiling: limits.archive_members, is_done: false })
}

/// The content of a member.
///
/// # Errors
/// `Malformed` if it passes the end of the archive.
pub fn content(archive: &Arc<dyn ReadAt>, member: &Member) -> Result<Section> {
    Section::new(Arc::clone(archive), member.offset, member.size_bytes)
}

/// An iterator over members; see [`members`].
pub struct Members<'a> {
    archive: &'a dyn ReadAt,
    at: u64,
    count: u64,
    ceiling: Ceiling,
    is_done: bool,
}

impl Members<'_> {
    fn member(&mut self) -> Result<Option<Member>> {
        let left = self.archive.size_bytes().saturating_sub(self.at);
        if left == 0 {
            return Ok(None);
        }
        self.count = self.count.saturating_add(1);
        self.ceiling.check(self.count)?;
        if left < size_of_len(HEADER_BYTES) {
            return Err(cut_off(self.at, left, size_of_len(HEADER_BYTES)));
        }
        let mut header = [0; HEADER_BYTES];
        self.archive.read_exact_at(self.at, &mut header)?;
        let field = |from: usize, to: usize| header.get(from..to).unwrap_or_default();
        let flaw = |name, found: &[u8], allowed| {
            Error::malformed("ar header", name, self.at, quoted(found), allowed)
        };
        if field(58, 60) != b"`\n" {
            return Err(flaw("end", field(58, 60), "a grave accent and a newline"));
        }
        let Some(size_bytes) = decimal(field(48, 58)) else {
            return Err(flaw("size", field(48, 58), "decimal digits"));
        };
        let offset = self.at.saturating_add(size_of_len(HEADER_BYTES));
        let left = self.archive.size_bytes().saturating_sub(offset);
        if size_bytes > left {
            return Err(cut_off(offset, left, size_bytes));
        }
        let name = field(0, 16).trim_ascii_end();
        let name = name.strip_suffix(b"/").filter(|name| !name.is_empty()).unwrap_or(name).to_vec();
        let seconds = decimal(field(16, 28)).filter(|seconds| *seconds > 0);
        let mtime = seconds.and_then(|seconds| i64::try_from(seconds).ok()).and_then(Time::from_unix);
        self.at = offset.saturating_add(size_bytes).saturating_add(size_bytes & 1);
        Ok(Some(Member { name, mtime, offset, size_bytes }))
    }
}

impl Iterator for Members<'_> {
    type Item = Result<Member>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_done {
            return None;
        }
        let member = self.member().transpose();
        self.is_done = !matches!(member, Some(Ok(_)));
        member
    }
}

/// A number in decimal digits, padded with spaces behind.
fn decimal(field: &[u8]) -> Option<u64> {
    let digits = field.trim_ascii_end();
    let is_plain = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    is_plain.then(|| std::str::from_utf8(digits).ok()?.parse().ok()).flatten()
}

fn cut_off(offset: u64, left: u64, wanted: u64) -> Error {
    Error::malformed("ar", "member", offset, format!("{left} bytes left"), format!("{wanted} bytes"))
        .hint("the archive is cut off; fetch it again")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, time: &str, size: &str, content: &str) -> Vec<u8> {
        let pad = if content.len() % 2 == 1 { "\n" } else { "" };
        format!("{name:<16}{time:<12}{:<6}{:<6}{:<8}{size:<10}`\n{content}{pad}", 0, 0, 100_644).into_bytes()
    }

    fn archive(members: &[Vec<u8>]) -> Vec<u8> {
        [MAGIC.to_vec(), members.concat()].concat()
    }

    /// Name, time, offset and size.
    type Told = (String, Option<i64>, u64, u64);

    fn read(archive: &[u8]) -> std::result::Result<Vec<Told>, String> {
        members(&archive.to_vec(), &Limits::default())
            .and_then(Iterator::collect::<Result<Vec<_>>>)
            .map(|all| {
                let name = |m: &Member| String::from_utf8_lossy(&m.name).into_owned();
                all.iter().map(|m| (name(m), m.mtime.map(Time::unix), m.offset, m.size_bytes)).collect()
            })
            .map_err(|error| error.to_string())
    }

    #[test]
    fn members_are_found_behind_their_padding() {
        let bytes = archive(&[
            member("debian-binary", "1784000000", "4", "2.0\n"),
            member("a/", "0", "3", "abc"),
            member("/", "", "0", ""),
        ]);
        let want = [
            ("debian-binary".to_owned(), Some(1_784_000_000), 68, 4),
            ("a".to_owned(), None, 132, 3),
            ("/".to_owned(), None, 196, 0),
        ];
        assert_eq!(read(&bytes).unwrap(), want);
        // The last padding may be missing.
        let odd = archive(&[member("a", "0", "3", "abc")]);
        assert_eq!(read(&odd[..odd.len() - 1]).unwrap().len(), 1);
    }

    #[test]
    fn what_is_damaged_is_told() {
        let whole = archive(&[member("a", "0", "4", "abcd")]);
        for (bytes, why) in [
            (Vec::new(), "ar: magic at byte 0x0: an empty file"),
            (b"not an archive".to_vec(), "ar: magic at byte 0x0: `not an a`"),
            (whole[..40].to_vec(), "ar: member at byte 0x8: 32 bytes left; allowed: 60 bytes"),
            (whole[..70].to_vec(), "ar: member at byte 0x44: 2 bytes left; allowed: 4 bytes"),
            (archive(&[member("a", "0", "x", "")]), "ar header: size at byte 0x8: `x         `"),
            (archive(&[member("a", "0", "-1", "")]), "allowed: decimal digits"),
            (archive(&[member("a", "0", "9999999999", "")]), "0 bytes left; allowed: 9999999999 bytes"),
            (archive(&[vec![b' '; 60]]), "allowed: a grave accent and a newline"),
        ] {
            let error = read(&bytes).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
