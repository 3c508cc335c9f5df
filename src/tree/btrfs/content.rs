//! What files and symbolic links hold.
//!
//! | byte | extent item, key (inode, EXTENT_DATA, offset in the file) |
//! | --- | --- |
//! | 0 | generation |
//! | 8 | ram_bytes: the size when not compressed |
//! | 16 | compression (1), encryption (1), other_encoding (2) |
//! | 20 | type (1): 0 inline, 1 regular, 2 never written |
//! | 21 | inline: the bytes, to the end of the item |
//! | 21 | disk_bytenr: the logical address, 0 for a hole |
//! | 29 | disk_num_bytes |
//! | 37 | offset into the extent (when not compressed) |
//! | 45 | num_bytes of the file |
//!
//! What no extent covers is zeros. Every sector on the volume has a checksum, unless the inode says that it has
//! none; these are in the checksum tree, with key (-10, EXTENT_CSUM, logical address of the first sector), one
//! after the other. A sector that has not its checksum is looked for in the other copies.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use super::compression::Compression;
use super::inode::Inode;
use super::metadata::Metadata;
use super::node::{EXTENT_CSUM, EXTENT_DATA, Key};
use super::search::Tree;
use super::subvolume::Subvolume;
use crate::bytes::{ReadAt, passes_end, size_of_len};
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::tree::NodeKind;
use crate::tree::fields::{Fields, len};

const EXTENT: &str = "btrfs extent";
const CHECKSUMS: &str = "btrfs checksums";
const INLINE_START: usize = 21;
const EXTENT_BYTES: usize = 53;
/// The object that all checksums belong to.
const CHECKSUM_OBJECT: u64 = u64::MAX - 9;
/// The most that is compressed together, and the most that it takes.
const COMPRESSED_BYTES: u32 = 128 << 10;
/// What is read and checked at once.
const STEP_BYTES: u64 = 256 << 10;
/// The longest target of a link, with the NUL that it is not stored with, is 4096.
const LINK_BYTES: u64 = 4095;

/// Reads data by logical address, and checks it.
pub(super) struct Data {
    pub(super) metadata: Arc<Metadata>,
    pub(super) checksums: Result<Tree>,
    /// Those that the log has.
    pub(super) logged: BTreeMap<u64, Vec<u8>>,
}

impl Data {
    /// Fills `dst`, which is whole sectors, from a logical address on.
    ///
    /// # Errors
    /// `Malformed` if no copy of a sector has its checksum, or there is no checksum; `Io`.
    fn read(&self, logical: u64, dst: &mut [u8], has_checksums: bool) -> Result<()> {
        let device = self.metadata.reader.content();
        let copies = self.metadata.copies(logical)?;
        if !has_checksums {
            let mut read = self.metadata.read(device, logical, 0, dst);
            for copy in 1..copies {
                if read.is_err() {
                    read = self.metadata.read(device, logical, copy, dst);
                }
            }
            return read;
        }
        let stored = self.stored(logical, size_of_len(dst.len()))?;
        let checksum = self.metadata.superblock.checksum;
        let sector_bytes = len(self.metadata.superblock.sector_bytes);
        let read = self.metadata.read(device, logical, 0, dst);
        let sums = stored.chunks_exact(checksum.size_bytes());
        for ((sector, sum), at) in
            dst.chunks_mut(sector_bytes).zip(sums).zip((logical..).step_by(sector_bytes))
        {
            let mut is_right = read.is_ok() && checksum.matches(sector, sum);
            for copy in 0..copies {
                if !is_right && (copy > 0 || read.is_err()) {
                    is_right =
                        self.metadata.read(device, at, copy, sector).is_ok() && checksum.matches(sector, sum);
                }
            }
            if !is_right {
                read.clone()?;
                return Err(Error::malformed("btrfs data", "checksum", at, "another", "that of the sector"));
            }
        }
        Ok(())
    }

    /// Says that these logical addresses will be read: first where their checksums are, then they themselves.
    pub(super) fn prefetch(&self, mut sectors: Vec<Range<u64>>) {
        sectors.sort_unstable_by_key(|range| range.start);
        if let Ok(tree) = &self.checksums {
            let ends = sectors.iter().flat_map(|range| [range.start, range.end.saturating_sub(1)]);
            let mut keys: Vec<Key> =
                ends.map(|logical| Key::new(CHECKSUM_OBJECT, EXTENT_CSUM, logical)).collect();
            keys.sort_unstable();
            tree.prefetch(&self.metadata, &keys);
        }
        let size_bytes = |range: &Range<u64>| range.end.saturating_sub(range.start);
        let parts: Vec<_> =
            sectors.iter().flat_map(|range| self.metadata.ranges(range.start, size_bytes(range))).collect();
        self.metadata.reader.content().prefetch(&parts);
    }

    /// The checksums of sectors that the log has from an address on, for so many bytes at most.
    fn logged(&self, at: u64, size_bytes: u64) -> Option<&[u8]> {
        let sector_bytes = u64::from(self.metadata.superblock.sector_bytes);
        let sum_bytes = self.metadata.superblock.checksum.size_bytes();
        let (start, sums) = self.logged.range(..=at).next_back()?;
        let first = len(at.saturating_sub(*start).checked_div(sector_bytes)?).checked_mul(sum_bytes)?;
        let wanted = len(size_bytes.div_ceil(sector_bytes)).checked_mul(sum_bytes)?;
        let rest = sums.get(first..)?;
        let whole = rest.len().saturating_sub(rest.len().checked_rem(sum_bytes)?);
        rest.get(..whole.min(wanted)).filter(|sums| !sums.is_empty())
    }

    /// The checksums of whole sectors, one after the other.
    fn stored(&self, logical: u64, size_bytes: u64) -> Result<Vec<u8>> {
        let tree = self.checksums.as_ref().map_err(Clone::clone)?;
        let sector_bytes = u64::from(self.metadata.superblock.sector_bytes);
        let sum_bytes = self.metadata.superblock.checksum.size_bytes();
        let end = logical.saturating_add(size_bytes);
        let mut sums = Vec::new();
        let mut at = logical;
        while at < end {
            if let Some(logged) = self.logged(at, end.saturating_sub(at)) {
                at = at.saturating_add(
                    size_of_len(logged.len())
                        .checked_div(size_of_len(sum_bytes))
                        .unwrap_or(1)
                        .saturating_mul(sector_bytes),
                );
                sums.extend_from_slice(logged);
                continue;
            }
            let none = || Error::malformed(CHECKSUMS, "key", at, "no checksum of this sector", "one");
            let item = tree.at_or_before(&self.metadata, Key::new(CHECKSUM_OBJECT, EXTENT_CSUM, at))?;
            let item = item.filter(|item| (item.key.object, item.key.kind) == (CHECKSUM_OBJECT, EXTENT_CSUM));
            let item = item.ok_or_else(none)?;
            let fields = item.fields(CHECKSUMS)?;
            let first = len(at.saturating_sub(item.key.offset).checked_div(sector_bytes).unwrap_or(0));
            let wanted = len(end.saturating_sub(at).div_ceil(sector_bytes));
            let all = fields.bytes.len().checked_div(sum_bytes).unwrap_or(0);
            let taken = all.saturating_sub(first).min(wanted);
            if taken == 0 {
                return Err(none());
            }
            let start = first.saturating_mul(sum_bytes);
            sums.extend_from_slice(fields.slice(start, taken.saturating_mul(sum_bytes))?);
            at = at.saturating_add(size_of_len(taken).saturating_mul(sector_bytes));
        }
        Ok(sums)
    }
}

/// A run of a file.
#[derive(Debug, Clone)]
struct Extent {
    /// Where in the file, in bytes.
    start: u64,
    /// How much of the file.
    size_bytes: u64,
    bytes: Bytes,
}

#[derive(Debug, Clone)]
enum Bytes {
    /// In the item, not compressed.
    Inline(Box<[u8]>),
    /// In the item, compressed.
    InlinePacked(Compression, Box<[u8]>),
    /// On the volume from this logical address on.
    Plain(u64),
    /// On the volume, compressed.
    Packed(Packed),
}

#[derive(Debug, Clone, Copy)]
struct Packed {
    compression: Compression,
    logical: u64,
    stored_bytes: u32,
    /// Of all that was compressed together.
    inflated_bytes: u32,
    /// Where in that the run starts.
    offset: u32,
}

/// A regular file or a link.
pub(super) struct Content {
    data: Arc<Data>,
    extents: Vec<Extent>,
    size_bytes: u64,
    has_checksums: bool,
    number: u64,
    /// The compressed extent that was read last, by the index of its run: as much of it as was wanted.
    inflated: Mutex<Option<(usize, Arc<[u8]>)>>,
}

impl Content {
    /// Maps a file.
    ///
    /// # Errors
    /// `Malformed` if its extents are damaged, `Unsupported` if they are encrypted.
    pub(super) fn open(
        subvolume: &Subvolume<'_>,
        data: Arc<Data>,
        limits: &Limits,
        inode: &Inode,
    ) -> Result<Self> {
        let sector_bytes = subvolume.metadata.superblock.sector_bytes;
        let mut extents: Vec<Extent> = Vec::new();
        let mut end = 0;
        let keys = Key::new(inode.number, EXTENT_DATA, 0)..=Key::new(inode.number, EXTENT_DATA, u64::MAX);
        subvolume.tree.scan(subvolume.metadata, keys, EXTENT, &mut |key, item| {
            if key.offset < end {
                return Err(item.wrong("key", 0, format!("offset {}", key.offset), format!("{end} or more")));
            }
            let (size_bytes, bytes) = decode(item, key.offset, sector_bytes)?;
            end = key.offset.checked_add(size_bytes).ok_or_else(|| {
                item.wrong("num_bytes", 45, size_bytes.to_string(), "less than 16 EiB with its offset")
            })?;
            if let Some(bytes) = bytes {
                limits.file_extents.check(size_of_len(extents.len()).saturating_add(1))?;
                extents.push(Extent { start: key.offset, size_bytes, bytes });
            }
            Ok(())
        })?;
        if let Some(logged) = subvolume.changes.and_then(|changes| changes.extents.get(&inode.number)) {
            for (start, item) in logged {
                let item = Fields::new(item, EXTENT, 0);
                let (size_bytes, bytes) = decode(&item, *start, sector_bytes)?;
                replace(&mut extents, *start, size_bytes, bytes, sector_bytes);
                limits.file_extents.check(size_of_len(extents.len()))?;
            }
        }
        Ok(Content {
            data,
            extents,
            size_bytes: inode.meta.size_bytes,
            has_checksums: inode.has_checksums,
            number: inode.number,
            inflated: Mutex::new(None),
        })
    }

    /// The index of the run that covers a byte, and how far it goes; or how far there are zeros.
    fn run(&self, at: u64) -> (Option<usize>, u64) {
        let next = self.extents.partition_point(|extent| extent.start <= at);
        let before = next.checked_sub(1).and_then(|index| Some((index, self.extents.get(index)?)));
        if let Some((index, extent)) = before {
            let end = extent.start.saturating_add(extent.size_bytes);
            if at < end {
                return (Some(index), end.saturating_sub(at));
            }
        }
        let zeros = self.extents.get(next).map_or(u64::MAX, |extent| extent.start.saturating_sub(at));
        (None, zeros)
    }

    /// The logical addresses, in whole sectors, that hold `wanted`.
    pub(super) fn sectors(&self, wanted: Range<u64>) -> Vec<Range<u64>> {
        let end = wanted.end.min(self.size_bytes);
        let sector_bytes = u64::from(self.data.metadata.superblock.sector_bytes);
        let mut sectors = Vec::new();
        let mut at = wanted.start;
        while at < end {
            let (index, left) = self.run(at);
            let taken = left.min(end.saturating_sub(at)).max(1);
            match index.and_then(|index| self.extents.get(index)) {
                Some(Extent { start, bytes: Bytes::Plain(logical), .. }) => {
                    let from = logical.saturating_add(at.saturating_sub(*start));
                    let first = from.saturating_sub(from.checked_rem(sector_bytes).unwrap_or(0));
                    let last = from.saturating_add(taken);
                    sectors.push(first..last.checked_next_multiple_of(sector_bytes).unwrap_or(last));
                }
                Some(Extent { bytes: Bytes::Packed(packed), .. }) => {
                    sectors.push(packed.logical..packed.logical.saturating_add(packed.stored_bytes.into()));
                }
                _ => {}
            }
            at = at.saturating_add(taken);
        }
        sectors
    }

    /// Fills `dst` from a run, `skipped` bytes behind its start.
    fn fill(&self, index: usize, skipped: u64, dst: &mut [u8]) -> Result<()> {
        let Some(extent) = self.extents.get(index) else { return Ok(()) };
        match &extent.bytes {
            Bytes::Inline(bytes) => copy(bytes, skipped, dst),
            Bytes::InlinePacked(compression, stored) => {
                let inflated = self.inflated(index, extent.size_bytes, extent.size_bytes, |target| {
                    compression.inflate(stored, self.data.metadata.superblock.sector_bytes, target)
                })?;
                copy(&inflated, skipped, dst);
            }
            Bytes::Plain(logical) => self.plain(logical.saturating_add(skipped), dst)?,
            Bytes::Packed(packed) => {
                let from = u64::from(packed.offset).saturating_add(skipped);
                let wanted = from.saturating_add(size_of_len(dst.len()));
                let inflated = self.inflated(index, wanted, packed.inflated_bytes.into(), |target| {
                    self.packed(packed, target)
                })?;
                copy(&inflated, from, dst);
            }
        }
        Ok(())
    }

    fn plain(&self, logical: u64, dst: &mut [u8]) -> Result<()> {
        let sector_bytes = u64::from(self.data.metadata.superblock.sector_bytes);
        let (mut at, mut rest) = (logical, dst);
        while !rest.is_empty() {
            let inside = at.checked_rem(sector_bytes).unwrap_or(0);
            let first = at.saturating_sub(inside);
            let taken = len(STEP_BYTES.saturating_sub(inside)).min(rest.len());
            let (now, later) = rest.split_at_mut(taken);
            let size = inside.saturating_add(size_of_len(taken));
            let whole = size.checked_next_multiple_of(sector_bytes).unwrap_or(size);
            if whole == size_of_len(taken) {
                self.data.read(first, now, self.has_checksums)?;
            } else {
                let mut sectors = vec![0; len(whole)];
                self.data.read(first, &mut sectors, self.has_checksums)?;
                copy(&sectors, inside, now);
            }
            at = at.saturating_add(size_of_len(taken));
            rest = later;
        }
        Ok(())
    }

    fn packed(&self, packed: &Packed, target: &mut [u8]) -> Result<()> {
        let mut stored = vec![0; len(packed.stored_bytes)];
        self.data.read(packed.logical, &mut stored, self.has_checksums)?;
        let sector_bytes = self.data.metadata.superblock.sector_bytes;
        packed
            .compression
            .inflate(&stored, sector_bytes, target)
            .map_err(|error| error.at(format!("compressed extent at logical address {:#x}", packed.logical)))
    }

    /// At least the first `wanted` bytes of a compressed run out of `all`. The head of one is all that is made
    /// if that is asked first; who asks for more gets all.
    fn inflated(
        &self,
        index: usize,
        wanted: u64,
        all: u64,
        inflate: impl FnOnce(&mut [u8]) -> Result<()>,
    ) -> Result<Arc<[u8]>> {
        let mut last = self.inflated.lock().unwrap_or_else(PoisonError::into_inner);
        let known = last.as_ref().filter(|(known, _)| *known == index).map(|(_, bytes)| Arc::clone(bytes));
        let size_bytes = match known {
            Some(bytes) if size_of_len(bytes.len()) >= wanted => return Ok(bytes),
            Some(_) => all,
            None if wanted <= all / 4 => wanted,
            None => all,
        };
        let mut bytes = vec![0; len(size_bytes)];
        inflate(&mut bytes)?;
        let bytes: Arc<[u8]> = bytes.into();
        *last = Some((index, Arc::clone(&bytes)));
        Ok(bytes)
    }
}

/// Puts a run, or zeros, in the place of what was there, to the end of its last sector.
fn replace(extents: &mut Vec<Extent>, start: u64, size_bytes: u64, bytes: Option<Bytes>, sector_bytes: u32) {
    let end = start.saturating_add(size_bytes);
    let cut_end = end.checked_next_multiple_of(sector_bytes.into()).unwrap_or(end);
    let first = extents.partition_point(|extent| extent.start.saturating_add(extent.size_bytes) <= start);
    let last = extents.partition_point(|extent| extent.start < cut_end).max(first);
    let mut parts = Vec::new();
    for extent in extents.get(first..last).unwrap_or_default() {
        if extent.start < start {
            parts.push(Extent { size_bytes: start.saturating_sub(extent.start), ..extent.clone() });
        }
    }
    parts.extend(bytes.map(|bytes| Extent { start, size_bytes, bytes }));
    for extent in extents.get(first..last).unwrap_or_default() {
        let extent_end = extent.start.saturating_add(extent.size_bytes);
        if extent_end > cut_end {
            let skipped = cut_end.saturating_sub(extent.start);
            let inside = u32::try_from(skipped).unwrap_or(u32::MAX);
            let bytes = match &extent.bytes {
                Bytes::Plain(logical) => Bytes::Plain(logical.saturating_add(skipped)),
                Bytes::Packed(packed) => {
                    Bytes::Packed(Packed { offset: packed.offset.saturating_add(inside), ..*packed })
                }
                // One sector at most, of which nothing is left.
                Bytes::Inline(_) | Bytes::InlinePacked(..) => continue,
            };
            parts.push(Extent { start: cut_end, size_bytes: extent_end.saturating_sub(cut_end), bytes });
        }
    }
    extents.splice(first..last, parts);
}

/// Copies `bytes` from `start` on, and zeros behind them.
fn copy(bytes: &[u8], start: u64, dst: &mut [u8]) {
    let from = bytes.get(len(start)..).unwrap_or_default();
    let taken = from.len().min(dst.len());
    let (now, later) = dst.split_at_mut(taken);
    now.copy_from_slice(from.get(..taken).unwrap_or_default());
    later.fill(0);
}

/// The size of a run and where its bytes are; `None` for zeros.
fn decode(item: &Fields<'_>, start: u64, sector_bytes: u32) -> Result<(u64, Option<Bytes>)> {
    let inflated_bytes = item.le64(8)?;
    let compression = Compression::of_type(item.u8(16)?)?;
    if item.u8(17)? != 0 || item.le16(18)? != 0 {
        return Err(Error::unsupported("a file that btrfs encrypts or encodes"));
    }
    match item.u8(20)? {
        0 => decode_inline(item, start, sector_bytes, inflated_bytes, compression),
        1 => decode_regular(item, start, sector_bytes, inflated_bytes, compression),
        2 => Ok((decode_regular(item, start, sector_bytes, inflated_bytes, compression)?.0, None)),
        other => Err(item.wrong("type", 20, other.to_string(), "0..=2")),
    }
}

fn decode_inline(
    item: &Fields<'_>,
    start: u64,
    sector_bytes: u32,
    inflated_bytes: u64,
    compression: Option<Compression>,
) -> Result<(u64, Option<Bytes>)> {
    let stored = item.bytes.get(INLINE_START..).unwrap_or_default();
    if start != 0 {
        return Err(item.wrong("key", 0, format!("inline at {start}"), "inline at 0"));
    }
    let most = match compression {
        None => size_of_len(stored.len()),
        Some(_) => sector_bytes.into(),
    };
    if inflated_bytes > most || (compression.is_none() && inflated_bytes != most) {
        return Err(item.wrong("ram_bytes", 8, inflated_bytes.to_string(), most.to_string()));
    }
    let bytes = match compression {
        None => Bytes::Inline(stored.into()),
        Some(compression) => Bytes::InlinePacked(compression, stored.into()),
    };
    Ok((inflated_bytes, Some(bytes)))
}

fn decode_regular(
    item: &Fields<'_>,
    start: u64,
    sector_bytes: u32,
    inflated_bytes: u64,
    compression: Option<Compression>,
) -> Result<(u64, Option<Bytes>)> {
    if item.bytes.len() != EXTENT_BYTES {
        return Err(item.wrong("length", 0, item.bytes.len().to_string(), EXTENT_BYTES.to_string()));
    }
    let (logical, stored_bytes) = (item.le64(21)?, item.le64(29)?);
    let (offset, size_bytes) = (item.le64(37)?, item.le64(45)?);
    let sector = u64::from(sector_bytes);
    let numbers = [start, logical, stored_bytes, offset, size_bytes];
    if numbers.iter().any(|number| !number.is_multiple_of(sector)) || size_bytes == 0 {
        let found = format!("{size_bytes} bytes at {start}, from {offset} in {stored_bytes} at {logical}");
        return Err(item.wrong("num_bytes", 45, found, format!("whole sectors of {sector}")));
    }
    if logical == 0 {
        return Ok((size_bytes, None));
    }
    let whole = if compression.is_some() { inflated_bytes } else { stored_bytes };
    if offset.checked_add(size_bytes).is_none_or(|end| end > whole) {
        let found = format!("{size_bytes} bytes from {offset}");
        return Err(item.wrong("num_bytes", 45, found, format!("within {whole}")));
    }
    let Some(compression) = compression else {
        return match logical.checked_add(stored_bytes) {
            Some(_) => Ok((size_bytes, Some(Bytes::Plain(logical.saturating_add(offset))))),
            None => Err(item.wrong("disk_bytenr", 21, logical.to_string(), "less than 16 EiB with its size")),
        };
    };
    let small = |number| u32::try_from(number).ok().filter(|number| *number <= COMPRESSED_BYTES);
    let (Some(stored_bytes), Some(inflated_bytes), Some(offset)) =
        (small(stored_bytes), small(inflated_bytes), small(offset))
    else {
        let found = format!("{stored_bytes} bytes for {inflated_bytes}");
        return Err(item.wrong("disk_num_bytes", 29, found, format!("at most {COMPRESSED_BYTES}")));
    };
    let packed = Packed { compression, logical, stored_bytes, inflated_bytes, offset };
    Ok((size_bytes, Some(Bytes::Packed(packed))))
}

impl ReadAt for Content {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read_exact_at(&self, offset: u64, dst: &mut [u8]) -> Result<()> {
        let end = offset.checked_add(size_of_len(dst.len()));
        if end.is_none_or(|end| end > self.size_bytes) {
            return Err(passes_end(offset, dst.len(), self.size_bytes));
        }
        let (mut at, mut rest) = (offset, dst);
        while !rest.is_empty() {
            let (index, left) = self.run(at);
            let taken = len(left.max(1)).min(rest.len());
            let (now, later) = rest.split_at_mut(taken);
            match index {
                Some(index) => {
                    let start = self.extents.get(index).map_or(at, |extent| extent.start);
                    self.fill(index, at.saturating_sub(start), now)
                        .map_err(|error| error.at(format!("inode {}", self.number)))?;
                }
                None => now.fill(0),
            }
            at = at.saturating_add(size_of_len(taken));
            rest = later;
        }
        Ok(())
    }

    fn prefetch(&self, ranges: &[Range<u64>]) {
        let sectors: Vec<_> = ranges.iter().flat_map(|range| self.sectors(range.clone())).collect();
        self.data.prefetch(sectors);
    }
}

/// A symbolic link's target.
///
/// # Errors
/// `Malformed` if it is no link, or its target is damaged, empty, or longer than Linux allows.
pub(super) fn link(
    subvolume: &Subvolume<'_>,
    data: Arc<Data>,
    limits: &Limits,
    inode: &Inode,
) -> Result<Box<[u8]>> {
    let inode = inode.expect(NodeKind::Symlink)?;
    let size_bytes = inode.meta.size_bytes;
    if size_bytes == 0 || size_bytes > LINK_BYTES {
        let allowed = format!("1..={LINK_BYTES}");
        return Err(Error::malformed(super::inode::ITEM, "size", None, size_bytes.to_string(), allowed));
    }
    let content = Content::open(subvolume, data, limits, &inode)?;
    let mut target = vec![0; len(size_bytes)];
    content.read_exact_at(0, &mut target)?;
    match target.contains(&0) {
        true => Err(Error::malformed(EXTENT, "target", None, "a NUL in it", "none")),
        false => Ok(target.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of four sectors of 10 bytes from address 1000 on, of which a part is replaced.
    #[test]
    fn a_run_takes_the_place_of_what_was_there() {
        let shown = |extents: &[Extent]| -> Vec<(u64, u64, u64)> {
            let address = |bytes: &Bytes| match bytes {
                Bytes::Plain(logical) => *logical,
                _ => 0,
            };
            extents.iter().map(|e| (e.start, e.size_bytes, address(&e.bytes))).collect()
        };
        let plain = |start, size_bytes, logical| Extent { start, size_bytes, bytes: Bytes::Plain(logical) };
        for (start, size_bytes, bytes, expected) in [
            (10, 10, Some(5000), vec![(0, 10, 1000), (10, 10, 5000), (20, 20, 1020)]),
            (0, 40, Some(5000), vec![(0, 40, 5000)]),
            (30, 30, Some(5000), vec![(0, 30, 1000), (30, 30, 5000)]),
            (60, 10, Some(5000), vec![(0, 40, 1000), (60, 10, 5000)]),
            (10, 20, None, vec![(0, 10, 1000), (30, 10, 1030)]),
            (0, 7, Some(5000), vec![(0, 7, 5000), (10, 30, 1010)]),
        ] {
            let mut extents = vec![plain(0, 40, 1000)];
            replace(&mut extents, start, size_bytes, bytes.map(Bytes::Plain), 10);
            assert_eq!(shown(&extents), expected, "{size_bytes} at {start}");
        }
        let mut extents = vec![plain(0, 10, 1000), plain(20, 10, 2000), plain(40, 10, 3000)];
        replace(&mut extents, 0, 50, Some(Bytes::Plain(5000)), 10);
        assert_eq!(shown(&extents), [(0, 50, 5000)]);
        let mut extents = vec![Extent { start: 0, size_bytes: 7, bytes: Bytes::Inline(Box::new([1; 7])) }];
        replace(&mut extents, 0, 20, Some(Bytes::Plain(5000)), 10);
        assert_eq!(shown(&extents), [(0, 20, 5000)]);
    }
}
