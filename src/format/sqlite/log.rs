//! What SQLite keeps beside a database: the write-ahead log, whose pages are newer than those of the database,
//! and the rollback journal, whose pages are those that an unfinished transaction has overwritten.
//!
//! Write-ahead log: a header of 32 bytes (magic, version 3007000, page size, checkpoint number, two salts, two
//! checksums), then frames of 24 bytes and a page (page number, size of the database in pages if the frame
//! commits, the salts, the checksums). The checksums run on from the header through all frames. Frames count up
//! to the last that commits and has its salts and checksums; SQLite ignores what comes after it, and so does this.
//!
//! Rollback journal: headers at the start of sectors (magic, number of records, start of the checksum, size of
//! the database in pages before the transaction, sector size, page size), each followed by its records (page
//! number, page, checksum). A journal whose first byte is zero is a finished one.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::indexing_slicing,
        clippy::unwrap_used
    )
)]

use super::pages::{Origin, Overlay};
use crate::bytes::{ReadAt, array_at, be_u32, size_of_len, sum_holds};
use crate::error::{Error, Result, quoted};
use crate::limits::Limits;

const WAL_FORMAT: &str = "SQLite write-ahead log";
const WAL_HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
const WAL_VERSION: u32 = 3_007_000;
/// So much of a log is read at once.
const READ_BYTES: usize = 1 << 20;
const JOURNAL_FORMAT: &str = "SQLite rollback journal";
const JOURNAL_MAGIC: [u8; 8] = [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];
/// Every so many bytes of a page, counted from its end, one is in the checksum of a journal.
const JOURNAL_STRIDE: usize = 200;

/// What a log says.
pub(super) struct Log {
    pub page_bytes: usize,
    /// Pages of the database with it.
    pub count: u32,
}

/// Whether this is a page size that SQLite can have.
pub(super) fn is_page_size(size: u32) -> bool {
    (512..=65536).contains(&size) && size.is_power_of_two()
}

/// Adds the committed pages of a write-ahead log. `None` if it commits nothing. What shows that commits are
/// lost (they follow a frame without its checksum, or the header is damaged) is told in `damage`.
///
/// # Errors
/// `Limit` if the log is too long, `Unsupported` for another version, `Io`.
pub(super) fn replay_wal(
    wal: &dyn ReadAt,
    overlay: &mut Overlay,
    damage: &mut Vec<Error>,
    limits: &Limits,
) -> Result<Option<Log>> {
    let size_bytes = limits.sqlite_log_bytes.check(wal.size_bytes())?;
    if size_bytes <= size_of_len(WAL_HEADER) {
        return Ok(None);
    }
    let mut header = [0; WAL_HEADER];
    wal.read_exact_at(0, &mut header)?;
    let (magic, page_size) = (be_u32(&header, 0), be_u32(&header, 8));
    let sums = Sums { is_big_endian: magic & 1 == 1, pair: (0, 0) }.and(header.get(..24).unwrap_or_default());
    let sums_hold = sum_holds((be_u32(&header, 24), be_u32(&header, 28)), sums.pair);
    if magic & !1 != 0x377f_0682 || !is_page_size(page_size) || !sums_hold {
        damage.push(Error::malformed(
            WAL_FORMAT,
            "header",
            0,
            format!(
                "magic {magic:#x}, page size {page_size}, checksum {}",
                if sums_hold { "right" } else { "wrong" }
            ),
            "magic 0x377f0682 or 0x377f0683 and its checksum; SQLite ignores the log, and so does this",
        ));
        return Ok(None);
    }
    if be_u32(&header, 4) != WAL_VERSION {
        return Err(Error::unsupported(format!(
            "version {} of SQLite's write-ahead log",
            be_u32(&header, 4)
        )));
    }
    let page_bytes = usize::try_from(page_size).unwrap_or(usize::MAX);
    let frame_bytes = page_bytes.saturating_add(FRAME_HEADER);
    let mut frames = Frames { sums, salts: array_at(&header, 16), ..Frames::default() };
    // Frames are read many at once: as many as have a megabyte, and at least one.
    let many = READ_BYTES.checked_div(frame_bytes).unwrap_or(0).max(1).saturating_mul(frame_bytes);
    let mut buffer = vec![0; usize::try_from(size_bytes).unwrap_or(usize::MAX).min(many)];
    let mut at = size_of_len(WAL_HEADER);
    loop {
        let left = usize::try_from(size_bytes.saturating_sub(at)).unwrap_or(usize::MAX).min(buffer.len());
        let whole = left.saturating_sub(left.checked_rem(frame_bytes).unwrap_or(0));
        let Some(part) = buffer.get_mut(..whole).filter(|part| !part.is_empty()) else { break };
        wal.read_exact_at(at, part)?;
        for frame in part.chunks_exact(frame_bytes) {
            frames.take(frame, at, overlay);
            at = at.saturating_add(size_of_len(frame_bytes));
        }
    }
    if let (Some(broken), Some(lost)) = (frames.broken_at, frames.lost_at) {
        damage.push(Error::malformed(
            WAL_FORMAT,
            "frame",
            broken,
            format!("a wrong checksum, and a commit at {lost:#x}"),
            "a checksum that runs on; SQLite ignores what follows, and so does this",
        ));
    }
    Ok(frames.count.map(|count| Log { page_bytes, count }))
}

#[derive(Default)]
struct Frames {
    sums: Sums,
    salts: [u8; 8],
    /// Pages since the last commit.
    pending: Vec<(u32, u64)>,
    /// Pages of the database at the last commit.
    count: Option<u32>,
    /// Where the first frame is that does not belong.
    broken_at: Option<u64>,
    /// Where a frame of this log commits after that.
    lost_at: Option<u64>,
}

impl Frames {
    fn take(&mut self, frame: &[u8], at: u64, overlay: &mut Overlay) {
        let (number, committed) = (be_u32(frame, 0), be_u32(frame, 4));
        let is_ours = array_at(frame, 8) == self.salts;
        let content = frame.get(FRAME_HEADER..).unwrap_or_default();
        if self.broken_at.is_none() {
            let sums = self.sums.and(frame.get(..8).unwrap_or_default()).and(content);
            if is_ours && number != 0 && sum_holds((be_u32(frame, 16), be_u32(frame, 20)), sums.pair) {
                self.sums = sums;
                self.pending.push((number, at.saturating_add(size_of_len(FRAME_HEADER))));
                if committed != 0 {
                    let pages = self.pending.drain(..);
                    overlay.extend(pages.map(|(number, offset)| (number, (Origin::Wal, offset))));
                    self.count = Some(committed);
                }
                return;
            }
            self.broken_at = Some(at);
        }
        if is_ours && committed != 0 {
            self.lost_at.get_or_insert(at);
        }
    }
}

/// The running checksum of a write-ahead log.
#[derive(Default, Clone, Copy)]
struct Sums {
    is_big_endian: bool,
    pair: (u32, u32),
}

impl Sums {
    /// Carried on over a multiple of eight bytes.
    fn and(self, bytes: &[u8]) -> Self {
        let read: fn([u8; 4]) -> u32 =
            if self.is_big_endian { u32::from_be_bytes } else { u32::from_le_bytes };
        let (mut first, mut second) = self.pair;
        for pair in bytes.chunks_exact(8) {
            let (a, b) = (read(array_at(pair, 0)), read(array_at(pair, 4)));
            first = first.wrapping_add(a).wrapping_add(second);
            second = second.wrapping_add(b).wrapping_add(first);
        }
        Sums { pair: (first, second), ..self }
    }
}

/// Adds the pages of a rollback journal: what the database was before the transaction that was not finished.
/// `None` if there is no such transaction. What shows that pages are lost is told in `damage`.
///
/// # Errors
/// `Limit` if the journal is too long, `Unsupported` for one of a transaction over several databases, `Io`.
pub(super) fn replay_journal(
    journal: &dyn ReadAt,
    database: &dyn ReadAt,
    overlay: &mut Overlay,
    damage: &mut Vec<Error>,
    limits: &Limits,
) -> Result<Option<Log>> {
    let size_bytes = limits.sqlite_log_bytes.check(journal.size_bytes())?;
    let mut header = [0; 28];
    let head = header.get_mut(..usize::try_from(size_bytes.min(28)).unwrap_or(28)).unwrap_or_default();
    journal.read_exact_at(0, head)?;
    if header.first().is_none_or(|byte| *byte == 0) {
        return Ok(None);
    }
    let (sector_size, page_size) = (be_u32(&header, 20), be_u32(&header, 24));
    let is_sector = (32..=65536).contains(&sector_size) && sector_size.is_power_of_two();
    if array_at(&header, 0) != JOURNAL_MAGIC || !is_sector || !is_page_size(page_size) {
        damage.push(Error::malformed(
            JOURNAL_FORMAT,
            "header",
            0,
            format!(
                "{}, sectors of {sector_size} and pages of {page_size} bytes",
                quoted(array_at::<8>(&header, 0))
            ),
            "its magic and sizes; SQLite ignores the journal, and so does this",
        ));
        return Ok(None);
    }
    if size_bytes >= 8 {
        let mut tail = [0; 8];
        journal.read_exact_at(size_bytes.saturating_sub(8), &mut tail)?;
        if tail == JOURNAL_MAGIC {
            return Err(Error::unsupported(
                "a transaction over several SQLite databases that was not finished",
            ));
        }
    }
    let page_bytes = usize::try_from(page_size).unwrap_or(usize::MAX);
    let (sector, count) = (u64::from(sector_size), be_u32(&header, 16));
    let record_bytes = page_bytes.saturating_add(8);
    let mut record = vec![0; record_bytes];
    let mut at = 0_u64;
    while size_bytes.saturating_sub(at) >= sector {
        journal.read_exact_at(at, &mut header)?;
        if array_at(&header, 0) != JOURNAL_MAGIC {
            break;
        }
        let (records, start) = (be_u32(&header, 8), be_u32(&header, 12));
        at = at.saturating_add(sector);
        // Without synchronous writes nobody counts the records: they go on to the end of the file.
        let is_counted = records != u32::MAX;
        let fit = size_bytes.saturating_sub(at).checked_div(size_of_len(record_bytes)).unwrap_or(0);
        for _ in 0..if is_counted { u64::from(records) } else { fit } {
            let left = size_bytes.saturating_sub(at);
            let is_whole = left >= size_of_len(record_bytes);
            if is_whole {
                journal.read_exact_at(at, &mut record)?;
            }
            let number = be_u32(&record, 0);
            let content = record.get(4..page_bytes.saturating_add(4)).unwrap_or_default();
            let sum = be_u32(&record, page_bytes.saturating_add(4));
            if !is_whole || number == 0 || !sum_holds(sum, journal_sum(content, start)) {
                if is_counted {
                    damage.push(Error::malformed(
                        JOURNAL_FORMAT,
                        "record",
                        at,
                        if is_whole {
                            format!("page {number} with a wrong checksum")
                        } else {
                            "its end".into()
                        },
                        "a page with its checksum; SQLite ignores what follows, and so does this",
                    ));
                }
                return Ok(Some(Log { page_bytes, count }));
            }
            if number <= count {
                overlay.insert(number, (Origin::Journal, at.saturating_add(4)));
            }
            at = at.saturating_add(size_of_len(record_bytes));
        }
        at = at.checked_next_multiple_of(sector).unwrap_or(u64::MAX);
    }
    let is_empty = database.size_bytes() == 0;
    Ok(Some(Log { page_bytes, count }).filter(|_| !is_empty))
}

fn journal_sum(page: &[u8], start: u32) -> u32 {
    let picked = page.iter().rev().skip(JOURNAL_STRIDE.saturating_sub(1)).step_by(JOURNAL_STRIDE);
    picked.fold(start, |sum, byte| sum.wrapping_add(u32::from(*byte)))
}
