//! The log of a VHDX: writes to its metadata that a writer began and did not finish. It is replayed in memory.
//!
//! | at | bytes | header of an entry | | at | bytes | descriptor |
//! |---|---|---|---|---|---|---|
//! | 0 | 4 | `loge` | | 0 | 4 | `zero`, or `desc` |
//! | 4 | 4 | CRC-32C of the entry | | 4 | 4 | of a sector: its last 4 bytes |
//! | 8 | 4 | its length, whole sectors of 4 KiB | | 8 | 8 | length in bytes; of a sector: its first 8 bytes |
//! | 12 | 4 | tail: where the oldest entry that is needed begins | | 16 | 8 | offset in the file |
//! | 16 | 8 | sequence number | | 24 | 8 | sequence number |
//! | 24 | 4 | descriptors | | | | |
//! | 32 | 16 | log GUID, as in the header | | | | |
//! | 48, 56 | 8, 8 | sizes that the file had, and has at least | | | | |
//!
//! Descriptors follow at 64, the sectors of data behind them at the next 4 KiB. The log is a ring. The newest
//! entry whose tail leads by whole entries with rising sequence numbers back to it ends the active sequence.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::{Header, MIB, checksum, wrong};
use crate::bytes::{ReadAt, array_at, le_u16, le_u32, le_u64, passes_end, size_of_len, sum_holds};
use crate::error::Result;
use crate::limits::Limits;

const SECTOR: u64 = 4096;

/// An entry that is whole.
struct Entry {
    sequence: u64,
    tail: u64,
    /// Where it begins in the log.
    start: u64,
    bytes: Vec<u8>,
    /// The size that the file has at least.
    last_file_bytes: u64,
}

struct Log<'a> {
    ring: Vec<u8>,
    guid: &'a [u8; 16],
}

impl Log<'_> {
    /// `len` bytes from `start` on, around the end.
    fn slice(&self, start: u64, len: u64) -> Vec<u8> {
        let (start, len) = (usize::try_from(start).unwrap_or(0), usize::try_from(len).unwrap_or(0));
        self.ring.iter().cycle().skip(start).take(len).copied().collect()
    }

    /// The entry that begins there, if one does.
    fn entry(&self, start: u64) -> Option<Entry> {
        let head = self.slice(start, 64);
        let len = u64::from(le_u32(&head, 8));
        let size = size_of_len(self.ring.len());
        let is_one = head.starts_with(b"loge")
            && array_at::<16>(&head, 32) == *self.guid
            && len > 0
            && len.rem_euclid(SECTOR) == 0
            && len <= size
            && le_u64(&head, 16) > 0;
        if !is_one {
            return None;
        }
        let bytes = self.slice(start, len);
        let tail = u64::from(le_u32(&bytes, 12));
        let is_whole =
            sum_holds(le_u32(&bytes, 4), checksum(&bytes)) && tail < size && tail.rem_euclid(SECTOR) == 0;
        is_whole.then(|| Entry {
            sequence: le_u64(&bytes, 16),
            tail,
            start,
            last_file_bytes: le_u64(&bytes, 56),
            bytes,
        })
    }

    /// The entries of the sequence that the newest valid head ends, oldest first.
    fn active(&self) -> Option<Vec<Entry>> {
        let size = size_of_len(self.ring.len());
        // The header of each place is looked at once; sums are computed for those that may be entries.
        let mut heads: Vec<(u64, u64)> = Vec::new();
        let mut entries: BTreeMap<u64, Entry> = BTreeMap::new();
        let mut start = 0;
        while start < size {
            if let Some(entry) = self.entry(start) {
                heads.push((entry.sequence, start));
                entries.insert(start, entry);
            }
            start = start.saturating_add(SECTOR);
        }
        heads.sort_unstable();
        for (_, head) in heads.into_iter().rev() {
            if let Some(starts) = chain(&entries, head, size) {
                return Some(starts.iter().filter_map(|start| entries.remove(start)).collect());
            }
        }
        None
    }
}

/// Where the entries begin that lead from the tail of this head up to it.
fn chain(entries: &BTreeMap<u64, Entry>, head: u64, size: u64) -> Option<Vec<u64>> {
    let mut at = entries.get(&head)?.tail;
    let mut starts = Vec::new();
    let mut before = None;
    // No longer than the ring has entries.
    while starts.len() <= entries.len() {
        let entry = entries.get(&at)?;
        if before.is_some_and(|before: u64| before.checked_add(1) != Some(entry.sequence)) {
            return None;
        }
        before = Some(entry.sequence);
        starts.push(at);
        if at == head {
            return Some(starts);
        }
        at = entry.start.saturating_add(size_of_len(entry.bytes.len())).rem_euclid(size);
    }
    None
}

/// The file as it is after its log has been replayed.
///
/// # Errors
/// `Malformed` if the log is outside of the file or has no valid sequence, `Limit`, `Io`.
pub(super) fn replayed(
    file: Arc<dyn ReadAt>,
    header: &Header,
    limits: &Limits,
    notes: &mut Vec<String>,
) -> Result<Arc<dyn ReadAt>> {
    let (offset, len) = (header.log_offset, limits.disk_log_bytes.check(header.log_bytes)?);
    let is_inside = offset.checked_add(len).is_some_and(|end| end <= file.size_bytes());
    if !is_inside || len == 0 || offset < MIB || offset.rem_euclid(MIB) != 0 || len.rem_euclid(MIB) != 0 {
        let allowed = format!("whole MiB inside of the {} bytes of the file", file.size_bytes());
        return wrong("log", 68, format!("{len} bytes at {offset:#x}"), &allowed);
    }
    let mut ring = vec![0; usize::try_from(len).unwrap_or_default()];
    file.read_exact_at(offset, &mut ring)?;
    if le_u16(&ring, 0) == 0 && ring.iter().all(|byte| *byte == 0) {
        return wrong("log", offset, "a log that is in use and empty", "entries, or no log GUID");
    }
    let Some(entries) = (Log { ring, guid: &header.log_guid }).active() else {
        return wrong(
            "log",
            offset,
            "no valid sequence of entries",
            "one: the image is corrupt, as the format says",
        );
    };
    let mut patched = Patched { size_bytes: file.size_bytes(), file, changes: BTreeMap::new() };
    if let Some(last) = entries.last() {
        let flushed = le_u64(&last.bytes, 48);
        if patched.size_bytes < flushed {
            let found = format!("{} bytes", patched.size_bytes);
            return wrong(
                "file",
                offset,
                found,
                &format!("at least {flushed}, which were flushed: it is cut off"),
            );
        }
        if last.last_file_bytes > limits.layer_bytes.max.max(patched.size_bytes) {
            return wrong("log", offset, format!("a file of {} bytes", last.last_file_bytes), "less");
        }
        patched.size_bytes = patched.size_bytes.max(last.last_file_bytes);
    }
    for entry in &entries {
        patched.apply(entry, offset)?;
    }
    notes.push(format!("a pending log of {} entries was replayed in memory", entries.len()));
    Ok(Arc::new(patched))
}

/// What lies over a range of the file.
enum Change {
    Zero,
    Sector(Box<[u8; 4096]>),
}

/// A file with changes over it, by where they begin; they do not overlap.
struct Patched {
    file: Arc<dyn ReadAt>,
    size_bytes: u64,
    changes: BTreeMap<u64, (u64, Change)>,
}

impl Patched {
    fn apply(&mut self, entry: &Entry, log_offset: u64) -> Result<()> {
        let bytes = &entry.bytes;
        let count = u64::from(le_u32(bytes, 24));
        let at = log_offset.saturating_add(entry.start);
        let mut data = count.saturating_mul(32).saturating_add(64).next_multiple_of(SECTOR);
        if data > size_of_len(bytes.len()) {
            return wrong("log entry", at, format!("{count} descriptors"), "as many as it has room for");
        }
        let count = usize::try_from(count).unwrap_or_default();
        for descriptor in bytes.get(64..).unwrap_or_default().chunks_exact(32).take(count) {
            let target = le_u64(descriptor, 16);
            let is_zero = descriptor.starts_with(b"zero");
            let len = if is_zero { le_u64(descriptor, 8) } else { SECTOR };
            let end = target.checked_add(len).filter(|end| *end <= self.size_bytes);
            let is_right = target.rem_euclid(SECTOR) == 0
                && len.rem_euclid(SECTOR) == 0
                && le_u64(descriptor, 24) == entry.sequence
                && (is_zero || descriptor.starts_with(b"desc"));
            let Some(end) = end.filter(|_| is_right) else {
                let found = format!("{len} bytes at {target:#x}");
                return wrong("log descriptor", at, found, "whole sectors inside of the file, in sequence");
            };
            if is_zero {
                self.put(target..end, Change::Zero);
                continue;
            }
            let start = usize::try_from(data).unwrap_or(usize::MAX);
            let Some(sector) = start.checked_add(4096).and_then(|end| bytes.get(start..end)) else {
                return wrong("log entry", at, "fewer sectors than descriptors", "one each");
            };
            let sequence = u64::from(le_u32(sector, 4)) << 32 | u64::from(le_u32(sector, 4092));
            if !sector.starts_with(b"data") || sequence != entry.sequence {
                return wrong(
                    "log data sector",
                    at.saturating_add(data),
                    format!("sequence {sequence}"),
                    &format!("`data` and {}", entry.sequence),
                );
            }
            let mut whole = Box::new(array_at::<4096>(sector, 0));
            if let Some(first) = whole.first_chunk_mut::<8>() {
                *first = array_at(descriptor, 8);
            }
            if let Some(last) = whole.last_chunk_mut::<4>() {
                *last = array_at(descriptor, 4);
            }
            self.put(target..end, Change::Sector(whole));
            data = data.saturating_add(SECTOR);
        }
        Ok(())
    }

    /// Lays a change over what there is. Ranges are whole sectors.
    fn put(&mut self, range: Range<u64>, change: Change) {
        if range.is_empty() {
            return;
        }
        let before = self.changes.range(..range.start).next_back().map(|(start, (end, _))| (*start, *end));
        let within: Vec<u64> = self.changes.range(range.clone()).map(|(start, _)| *start).collect();
        // Only zeros are longer than a sector, so only they can reach over an edge.
        if let Some((start, end)) = before.filter(|(_, end)| *end > range.start) {
            self.changes.insert(start, (range.start, Change::Zero));
            if end > range.end {
                self.changes.insert(range.end, (end, Change::Zero));
            }
        }
        for start in within {
            if let Some((end, change)) = self.changes.remove(&start)
                && end > range.end
            {
                self.changes.insert(range.end, (end, change));
            }
        }
        self.changes.insert(range.start, (range.end, change));
    }
}

impl ReadAt for Patched {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read_exact_at(&self, offset: u64, dst: &mut [u8]) -> Result<()> {
        let end = offset.checked_add(size_of_len(dst.len())).filter(|end| *end <= self.size_bytes);
        let Some(end) = end else { return Err(passes_end(offset, dst.len(), self.size_bytes)) };
        super::super::map::read_padded(&*self.file, offset, dst)?;
        let first = self.changes.range(..=offset).next_back().map_or(offset, |(start, _)| *start);
        for (start, (change_end, change)) in self.changes.range(first..end) {
            let (from, to) = (offset.max(*start), end.min(*change_end));
            if from >= to {
                continue;
            }
            let index = |at: u64, base: u64| usize::try_from(at.saturating_sub(base)).unwrap_or(usize::MAX);
            let Some(target) = dst.get_mut(index(from, offset)..index(to, offset)) else { continue };
            match change {
                Change::Zero => target.fill(0),
                Change::Sector(sector) => {
                    target.copy_from_slice(
                        sector.get(index(from, *start)..index(to, *start)).unwrap_or_default(),
                    );
                }
            }
        }
        Ok(())
    }
}
