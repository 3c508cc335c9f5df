//! Reading bytes that nobody vouches for: positions in files, and the only arithmetic on untrusted offsets.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::indexing_slicing,
        clippy::unwrap_used
    )
)]

use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::limits::Ceiling;

/// Bytes of a known size that can be read at any offset, from any thread.
pub trait ReadAt: Send + Sync {
    /// The size in bytes.
    fn size_bytes(&self) -> u64;

    /// Fills `dst` from `offset` on.
    ///
    /// # Errors
    /// `Io` if the host fails, `Malformed` if the range passes the end.
    fn read_exact_at(&self, offset: u64, dst: &mut [u8]) -> Result<()>;

    /// A hint that these ranges will be read; local files ignore it.
    fn prefetch(&self, _ranges: &[Range<u64>]) {}

    /// Which bytes of which file of the host these are, where that can be told: what has the same identity has
    /// the same bytes, as long as nobody writes to the file.
    fn identity(&self) -> Option<Identity> {
        None
    }
}

/// A range of a file of the host as it was when it was opened. Hard links have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Identity {
    device: u64,
    inode: u64,
    /// Seconds and nanoseconds of the last change to the file or its metadata.
    changed: (i64, i64),
    offset: u64,
    size_bytes: u64,
}

impl Identity {
    /// That of a whole file.
    #[must_use]
    pub fn of(metadata: &Metadata) -> Self {
        Identity {
            device: metadata.dev(),
            inode: metadata.ino(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            offset: 0,
            size_bytes: metadata.len(),
        }
    }
}

/// A number of bytes in memory as a file size. Lossless on every machine that Rust runs on.
#[must_use]
pub fn size_of_len(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

/// `N` bytes of a structure in memory from `at` on; what passes its end is zero, so check the size before.
#[must_use]
pub fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let part = at.checked_add(N).and_then(|end| bytes.get(at..end));
    part.and_then(|part| part.try_into().ok()).unwrap_or([0; N])
}

/// 16 bytes in their order, written as a UUID in lower case.
#[must_use]
pub fn uuid_text(bytes: &[u8; 16]) -> String {
    let mut text = String::new();
    for (at, byte) in bytes.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

/// A GUID as Microsoft and UEFI store it, with its first three numbers little-endian, written as [`uuid_text`].
#[must_use]
pub fn guid_text(bytes: &[u8; 16]) -> String {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = *bytes;
    uuid_text(&[d, c, b, a, f, e, h, g, i, j, k, l, m, n, o, p])
}

/// The little-endian number at `at`, as [`array_at`].
#[must_use]
pub fn le_u16(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(array_at(bytes, at))
}

/// The little-endian number at `at`, as [`array_at`].
#[must_use]
pub fn le_u32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}

/// The little-endian number at `at`, as [`array_at`].
#[must_use]
pub fn le_u64(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array_at(bytes, at))
}

/// The big-endian number at `at`, as [`array_at`].
#[must_use]
pub fn be_u16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes(array_at(bytes, at))
}

/// The big-endian number at `at`, as [`array_at`].
#[must_use]
pub fn be_u32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(array_at(bytes, at))
}

/// The big-endian number at `at`, as [`array_at`].
#[must_use]
pub fn be_u64(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(array_at(bytes, at))
}

/// Whether a stored checksum is the computed one. A library that is built for fuzzing (`--cfg fuzzing`) takes
/// every one, because changes to its input would never get past it.
#[must_use]
pub fn sum_holds<T: PartialEq>(stored: T, computed: T) -> bool {
    cfg!(fuzzing) || stored == computed
}

/// The error for a range that passes the end of what is read.
#[must_use]
pub fn passes_end(offset: u64, len: usize, size_bytes: u64) -> Error {
    Error::malformed(
        "file",
        "range",
        offset,
        format!("{len} bytes wanted"),
        format!("{} left of {size_bytes}", size_bytes.saturating_sub(offset)),
    )
}

impl ReadAt for [u8] {
    fn size_bytes(&self) -> u64 {
        size_of_len(self.len())
    }

    fn read_exact_at(&self, offset: u64, dst: &mut [u8]) -> Result<()> {
        let part = usize::try_from(offset)
            .ok()
            .and_then(|start| self.get(start..start.checked_add(dst.len())?))
            .ok_or_else(|| passes_end(offset, dst.len(), self.size_bytes()))?;
        dst.copy_from_slice(part);
        Ok(())
    }
}

impl ReadAt for Vec<u8> {
    fn size_bytes(&self) -> u64 {
        self.as_slice().size_bytes()
    }

    fn read_exact_at(&self, offset: u64, dst: &mut [u8]) -> Result<()> {
        self.as_slice().read_exact_at(offset, dst)
    }
}

impl<T: ReadAt + ?Sized> ReadAt for &T {
    fn size_bytes(&self) -> u64 {
        (**self).size_bytes()
    }

    fn read_exact_at(&self, offset: u64, dst: &mut [u8]) -> Result<()> {
        (**self).read_exact_at(offset, dst)
    }

    fn prefetch(&self, ranges: &[Range<u64>]) {
        (**self).prefetch(ranges);
    }

    fn identity(&self) -> Option<Identity> {
        (**self).identity()
    }
}

impl<T: ReadAt + ?Sized> ReadAt for Arc<T> {
    fn size_bytes(&self) -> u64 {
        (**self).size_bytes()
    }

    fn read_exact_at(&self, offset: u64, dst: &mut [u8]) -> Result<()> {
        (**self).read_exact_at(offset, dst)
    }

    fn prefetch(&self, ranges: &[Range<u64>]) {
        (**self).prefetch(ranges);
    }

    fn identity(&self) -> Option<Identity> {
        (**self).identity()
    }
}

/// A file of the host, with the size that it had when it was opened.
#[derive(Debug)]
pub struct HostFile {
    file: File,
    identity: Identity,
}

impl HostFile {
    /// Takes an open file.
    ///
    /// # Errors
    /// `Io` if its size cannot be read.
    pub fn new(file: File) -> Result<Self> {
        let identity = Identity::of(&file.metadata()?);
        Ok(HostFile { file, identity })
    }
}

impl ReadAt for HostFile {
    fn size_bytes(&self) -> u64 {
        self.identity.size_bytes
    }

    fn identity(&self) -> Option<Identity> {
        Some(self.identity)
    }

    fn read_exact_at(&self, offset: u64, dst: &mut [u8]) -> Result<()> {
        self.file.read_exact_at(dst, offset).map_err(|error| {
            if error.kind() == io::ErrorKind::UnexpectedEof {
                let passed = passes_end(offset, dst.len(), self.identity.size_bytes);
                let was_inside = offset.saturating_add(size_of_len(dst.len())) <= self.identity.size_bytes;
                if was_inside { passed.hint("the file became shorter while it was read") } else { passed }
            } else {
                error.into()
            }
        })
    }
}

/// A part of something larger, with offsets of its own.
#[derive(Clone)]
pub struct Section {
    whole: Arc<dyn ReadAt>,
    start: u64,
    size_bytes: u64,
}

impl Section {
    /// The bytes `start..start + size_bytes` of `whole`.
    ///
    /// # Errors
    /// `Malformed` if they pass its end.
    pub fn new(whole: Arc<dyn ReadAt>, start: u64, size_bytes: u64) -> Result<Self> {
        match start.checked_add(size_bytes) {
            Some(end) if end <= whole.size_bytes() => Ok(Section { whole, start, size_bytes }),
            _ => Err(Error::malformed(
                "file",
                "section",
                start,
                format!("{size_bytes} bytes wanted"),
                format!("{} left of {}", whole.size_bytes().saturating_sub(start), whole.size_bytes()),
            )
            .hint("the file is cut off; fetch it again")),
        }
    }
}

impl ReadAt for Section {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read_exact_at(&self, offset: u64, dst: &mut [u8]) -> Result<()> {
        let end = offset.checked_add(size_of_len(dst.len()));
        match (end, self.start.checked_add(offset)) {
            (Some(end), Some(at)) if end <= self.size_bytes => self.whole.read_exact_at(at, dst),
            _ => Err(passes_end(offset, dst.len(), self.size_bytes)),
        }
    }

    fn identity(&self) -> Option<Identity> {
        let whole = self.whole.identity()?;
        let offset = whole.offset.checked_add(self.start)?;
        Some(Identity { offset, size_bytes: self.size_bytes, ..whole })
    }

    fn prefetch(&self, ranges: &[Range<u64>]) {
        let moved: Vec<_> = ranges
            .iter()
            .map(|r| {
                self.start.saturating_add(r.start)..self.start.saturating_add(r.end.min(self.size_bytes))
            })
            .collect();
        self.whole.prefetch(&moved);
    }
}

/// The first bytes of something larger.
pub struct Head<'a> {
    content: &'a dyn ReadAt,
    size_bytes: u64,
}

impl<'a> Head<'a> {
    /// The first `most` bytes of `content`, or all if it has fewer.
    #[must_use]
    pub fn new(content: &'a dyn ReadAt, most: u64) -> Self {
        Head { content, size_bytes: content.size_bytes().min(most) }
    }
}

impl ReadAt for Head<'_> {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read_exact_at(&self, offset: u64, dst: &mut [u8]) -> Result<()> {
        match offset.checked_add(size_of_len(dst.len())) {
            Some(end) if end <= self.size_bytes => self.content.read_exact_at(offset, dst),
            _ => Err(passes_end(offset, dst.len(), self.size_bytes)),
        }
    }
}

/// `Read` and `Seek` over a [`ReadAt`], for decoders that stream.
pub struct Reader<'a> {
    content: &'a dyn ReadAt,
    at: u64,
}

impl<'a> Reader<'a> {
    /// Starts at the first byte.
    #[must_use]
    pub fn new(content: &'a dyn ReadAt) -> Self {
        Reader { content, at: 0 }
    }
}

impl Read for Reader<'_> {
    fn read(&mut self, dst: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.content.size_bytes().saturating_sub(self.at)).unwrap_or(usize::MAX);
        let len = left.min(dst.len());
        if let Some(part) = dst.get_mut(..len) {
            self.content.read_exact_at(self.at, part).map_err(Error::into_io)?;
        }
        self.at = self.at.saturating_add(size_of_len(len));
        Ok(len)
    }
}

impl Seek for Reader<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.content.size_bytes().checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = target.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.at)
    }
}

/// Reads all of `content`, if it is within the ceiling.
///
/// # Errors
/// `Limit` if it is larger, and what [`ReadAt::read_exact_at`] gives.
pub fn read_all(content: &dyn ReadAt, ceiling: Ceiling) -> Result<Vec<u8>> {
    let size_bytes = ceiling.check(content.size_bytes())?;
    let len = usize::try_from(size_bytes).map_err(|_| ceiling.passed(size_bytes))?;
    let mut all = vec![0; len];
    content.read_exact_at(0, &mut all)?;
    Ok(all)
}

/// Reads a stream to its end, if that comes within the ceiling: one byte more than the ceiling is asked for,
/// so that passing it is known.
///
/// # Errors
/// `Limit` if it goes on, `Io` and what is inside it if it fails.
pub fn read_stream(stream: &mut dyn Read, ceiling: Ceiling) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    stream.take(ceiling.max.saturating_add(1)).read_to_end(&mut all)?;
    ceiling.check(size_of_len(all.len()))?;
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_keep_to_their_range() {
        let whole: Arc<dyn ReadAt> = Arc::new(b"0123456789".to_vec());
        let part = Section::new(whole.clone(), 2, 5).unwrap();
        let mut dst = [0; 3];
        part.read_exact_at(2, &mut dst).unwrap();
        assert_eq!(&dst, b"456");
        assert!(part.read_exact_at(3, &mut dst).is_err());
        assert!(part.read_exact_at(u64::MAX, &mut dst).is_err());
        assert!(Section::new(whole, 8, 3).is_err());
    }

    #[test]
    fn a_reader_streams_and_seeks() {
        let content = b"0123456789".to_vec();
        let mut reader = Reader::new(&content);
        let mut all = String::new();
        reader.seek(SeekFrom::End(-3)).unwrap();
        reader.read_to_string(&mut all).unwrap();
        assert_eq!(all, "789");
        assert!(reader.seek(SeekFrom::Current(-20)).is_err());
    }
}
