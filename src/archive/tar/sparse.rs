//! Sparse files: the data of a member is the content without its holes, and a map says where it goes.
//!
//! | layout | where the map is |
//! |---|---|
//! | GNU `S` | four pairs in the header at 386, 21 in each extension block behind it while the byte at 482 (504 in an extension) is not 0; content size at 483 |
//! | pax 0.0 | pairs `GNU.sparse.offset`, `GNU.sparse.numbytes` |
//! | pax 0.1 | `GNU.sparse.map`: numbers with commas |
//! | pax 1.0 | at the start of the data: a count and pairs, decimal, each with a line feed, filled up to whole blocks |

use super::header::{Header, number};
use super::pax::{Records, decimal};
use super::{BLOCK_BYTES, Layout, Member, Skip, TarReader};
use crate::bytes::{ReadAt, passes_end, size_of_len};
use crate::error::{Error, Result};

/// Where the stored data of a sparse file goes: ascending, without overlap, within the content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SparseMap {
    segments: Vec<Segment>,
    size_bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Segment {
    /// In the content.
    start: u64,
    len: u64,
    /// In the stored data.
    stored: u64,
}

impl SparseMap {
    /// # Errors
    /// `Malformed` if the pairs overlap, leave the content, or are not what is stored.
    fn new(pairs: &[u64], size_bytes: u64, stored_bytes: u64) -> Result<Self> {
        let wrong =
            |found: String, allowed: String| Error::malformed("tar", "sparse map", None, found, allowed);
        let mut segments = Vec::with_capacity(pairs.len().div_ceil(2));
        let (mut end, mut stored) = (0_u64, 0_u64);
        for pair in pairs.chunks(2) {
            let &[start, len] = pair else {
                return Err(wrong("an offset without length".into(), "pairs".into()));
            };
            let next = start.checked_add(len).filter(|next| start >= end && *next <= size_bytes);
            let Some(next) = next else {
                return Err(wrong(
                    format!("{len} bytes at {start:#x}"),
                    format!("from {end:#x} to {size_bytes:#x}"),
                ));
            };
            if len > 0 {
                segments.push(Segment { start, len, stored });
            }
            end = next;
            stored = stored.saturating_add(len);
        }
        if stored != stored_bytes {
            return Err(wrong(format!("{stored} bytes"), format!("the {stored_bytes} that are stored")));
        }
        Ok(SparseMap { segments, size_bytes })
    }

    /// The size of the content with its holes.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// How many pieces are stored.
    #[must_use]
    pub fn extents(&self) -> u64 {
        size_of_len(self.segments.len())
    }

    /// So many bytes of it are stored.
    #[must_use]
    pub fn stored_bytes(&self) -> u64 {
        self.segments.iter().fold(0, |sum, segment| sum.saturating_add(segment.len))
    }
}

/// The content of a sparse file: its stored data with the holes as zeros.
pub struct SparseContent<'a> {
    /// The data as stored.
    pub stored: &'a dyn ReadAt,
    /// Where it goes.
    pub map: &'a SparseMap,
}

impl ReadAt for SparseContent<'_> {
    fn size_bytes(&self) -> u64 {
        self.map.size_bytes
    }

    fn read_exact_at(&self, offset: u64, dst: &mut [u8]) -> Result<()> {
        let end = offset.checked_add(size_of_len(dst.len())).filter(|end| *end <= self.map.size_bytes);
        let Some(end) = end else { return Err(passes_end(offset, dst.len(), self.map.size_bytes)) };
        dst.fill(0);
        let segments = &self.map.segments;
        let first = segments.partition_point(|segment| segment.start.saturating_add(segment.len) <= offset);
        for segment in segments.iter().skip(first).take_while(|segment| segment.start < end) {
            let from = segment.start.max(offset);
            let to = segment.start.saturating_add(segment.len).min(end);
            let range = usize::try_from(from.saturating_sub(offset))
                .and_then(|start| Ok(start..usize::try_from(to.saturating_sub(offset))?));
            if let Some(part) = range.ok().and_then(|range| dst.get_mut(range)) {
                let stored = segment.stored.saturating_add(from.saturating_sub(segment.start));
                self.stored.read_exact_at(stored, part)?;
            }
        }
        Ok(())
    }
}

impl<S: Skip> TarReader<S> {
    /// GNU's `S`: reads the map out of the header and the extension blocks behind it.
    pub(super) fn old_sparse(&mut self, header: &Header, member: &mut Member, offset: u64) -> Result<()> {
        if !header.is_gnu() {
            return Err(Error::unsupported("a tar with sparse files in the layout of star")
                .at(format!("tar header at byte {offset:#x}")));
        }
        let mut pairs = Some(Vec::new());
        self.add_pairs(header.field(386, 96), &mut pairs);
        let mut goes_on = header.field(482, 1) != b"\0";
        while goes_on {
            let Some(block) = self.block()? else { return Err(self.cut_off(size_of_len(BLOCK_BYTES))) };
            self.add_pairs(block.get(..504).unwrap_or(&[]), &mut pairs);
            goes_on = block.get(504) != Some(&0);
        }
        let size_bytes = number(header.field(483, 12));
        member.layout = match (pairs, size_bytes) {
            (Some(pairs), Some(size_bytes)) => layout(member, &pairs, size_bytes),
            _ => Layout::Unreadable(Error::malformed(
                "tar",
                "sparse map",
                offset,
                "no map that can be read",
                format!("numbers, at most {} bytes of them", self.extension_bytes.max),
            )),
        };
        Ok(())
    }

    /// Adds pairs of 12-byte numbers up to the first empty one; `None` once one is no number, or too many came.
    fn add_pairs(&self, bytes: &[u8], pairs: &mut Option<Vec<u64>>) {
        for entry in bytes.chunks_exact(24) {
            let Some(list) = pairs else { return };
            if entry.first() == Some(&0) {
                return;
            }
            let room = size_of_len(list.len()).saturating_mul(8) < self.extension_bytes.max;
            let (Some((start, len)), true) = (entry.split_at_checked(12), room) else {
                *pairs = None;
                return;
            };
            match (number(start), number(len)) {
                (Some(start), Some(len)) => list.extend([start, len]),
                _ => *pairs = None,
            }
        }
    }

    /// pax: reads the map out of the records or the start of the data.
    pub(super) fn pax_sparse(&mut self, records: &Records, member: &mut Member) -> Result<()> {
        let Some(sparse) = &records.sparse else { return Ok(()) };
        let version = (sparse.major.as_deref(), sparse.minor.as_deref());
        let pairs = match version {
            (Some(b"1"), Some(b"0")) => self.stored_map()?,
            (None, None) | (Some(b"0"), Some(b"0" | b"1")) => match &sparse.map {
                Some(map) if map.is_empty() => Some(Vec::new()),
                Some(map) => map.split(|b| *b == b',').map(decimal).collect(),
                None if sparse.pairs.is_empty() && version == (None, None) => return Ok(()),
                None => Some(sparse.pairs.clone()),
            },
            _ => None,
        };
        member.stored_bytes = self.left;
        member.layout = match (pairs, sparse.size_bytes) {
            (Some(pairs), Some(size_bytes)) => layout(member, &pairs, size_bytes),
            _ => Layout::Unreadable(Error::malformed(
                "tar",
                "sparse map",
                self.at,
                "no map that can be read",
                "GNU.sparse records of version 0.0, 0.1 or 1.0",
            )),
        };
        Ok(())
    }

    /// The map at the start of the data; `None` if it is none. What follows it is the data.
    fn stored_map(&mut self) -> Result<Option<Vec<u64>>> {
        let mut numbers: Vec<u64> = Vec::new();
        let mut digits: Vec<u8> = Vec::new();
        let mut taken = 0_u64;
        let mut wanted: Option<u64> = None;
        while wanted.is_none_or(|wanted| size_of_len(numbers.len()) < wanted) {
            // The map fills whole blocks, the last as well.
            let block_bytes = size_of_len(BLOCK_BYTES);
            if taken.saturating_add(block_bytes) > self.extension_bytes.max || self.left < block_bytes {
                return Ok(None);
            }
            let mut block = Vec::with_capacity(BLOCK_BYTES);
            while block.len() < BLOCK_BYTES {
                let room = BLOCK_BYTES.saturating_sub(block.len());
                let here = self.fill_data()?;
                let part = here.get(..here.len().min(room)).unwrap_or(here);
                let len = part.len();
                block.extend_from_slice(part);
                self.consume_data(len);
            }
            taken = taken.saturating_add(block_bytes);
            for byte in block {
                if wanted.is_some_and(|wanted| size_of_len(numbers.len()) >= wanted) {
                    break;
                }
                if byte != b'\n' {
                    digits.push(byte);
                    continue;
                }
                let Some(value) = decimal(&digits) else { return Ok(None) };
                digits.clear();
                match wanted {
                    None => wanted = value.checked_mul(2),
                    Some(_) => numbers.push(value),
                }
                if wanted.is_none() {
                    return Ok(None);
                }
            }
        }
        Ok(Some(numbers))
    }
}

/// The layout of a sparse member whose stored size is set already.
fn layout(member: &mut Member, pairs: &[u64], size_bytes: u64) -> Layout {
    member.size_bytes = size_bytes;
    match SparseMap::new(pairs, size_bytes, member.stored_bytes) {
        Ok(map) => Layout::Sparse(map),
        Err(error) => Layout::Unreadable(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_read_as_zeros() {
        let map = SparseMap::new(&[2, 3, 8, 0, 8, 1, 12, 0], 12, 4).unwrap();
        let stored = b"abcd".to_vec();
        let content = SparseContent { stored: &stored, map: &map };
        let mut all = [9; 12];
        content.read_exact_at(0, &mut all).unwrap();
        assert_eq!(&all, b"\0\0abc\0\0\0d\0\0\0");
        for start in 0..12 {
            for end in start..=12 {
                let mut part = vec![9; end - start];
                content.read_exact_at(start as u64, &mut part).unwrap();
                assert_eq!(part, all[start..end]);
            }
        }
        assert!(content.read_exact_at(12, &mut [0]).is_err());
    }

    #[test]
    fn maps_that_cannot_be_are_refused() {
        for (pairs, size, stored) in [
            (&[0, 4, 2, 4][..], 10, 8),
            (&[4, 2, 0, 2], 10, 4),
            (&[8, 4], 10, 4),
            (&[u64::MAX, 4], 10, 4),
            (&[0, 4], 10, 5),
            (&[0], 10, 0),
        ] {
            assert!(SparseMap::new(pairs, size, stored).is_err(), "{pairs:?}");
        }
    }
}
