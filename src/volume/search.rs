//! What lies where nothing says that there is anything: behind a table, between partitions, behind the end of a
//! file system.
//!
//! A superblock or a label in such a range may be a partition that was deleted, or one that another table names.
//! Nobody mounts it by what the disk says today, but it must not be passed in silence either. Superblocks are
//! looked for in every sector of the first [`Limits::blank_bytes`] of a range, and behind them where partitions
//! are aligned, every MiB. What the sector's magic leads to is believed only if it [`holds`], begins in the range,
//! and is no copy that file systems keep of their superblock.

use std::ops::Range;
use std::sync::Arc;

use super::probe::{FsKind, holds, peek, probe};
use super::{RestState, gpt, mbr, part};
use crate::bytes::{ReadAt, array_at, le_u16, le_u32, le_u64, size_of_len};
use crate::error::Result;
use crate::limits::Limits;

/// Something that is known, where no volume is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// Where it begins, in bytes of what was searched.
    pub at: u64,
    /// What it is.
    pub what: FoundKind,
}

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FoundKind {
    /// A file system, or a member of what others are made of.
    Content(FsKind),
    /// A partition table with partitions, as a disk has it.
    Table,
    /// The header of a GPT whose checksum is right.
    GptHeader,
}

impl std::fmt::Display for FoundKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            FoundKind::Content(kind) => kind.fmt(f),
            FoundKind::Table => f.write_str("a partition table"),
            FoundKind::GptHeader => f.write_str("the header of a GPT"),
        }
    }
}

/// What a search has come by.
struct Seen<'a> {
    header: Option<Found>,
    /// Places where something might have begun.
    candidates: u64,
    limits: &'a Limits,
}

const SECTOR: usize = 512;
const STEP: u64 = 1 << 20;

/// The first thing that is known in a range, which is in this state; the header of a GPT only if there is nothing
/// else.
///
/// # Errors
/// Those of reading, and `Limit` if too much in it might be something.
pub(super) fn search(
    data: &Arc<dyn ReadAt>,
    range: &Range<u64>,
    state: RestState,
    limits: &Limits,
) -> Result<Option<Found>> {
    let from = match state {
        RestState::Blank | RestState::Tables => return Ok(None),
        RestState::NotBlank(at) => at,
        RestState::BootCode => range.start,
        RestState::BlankAtFirst(looked) => range.start.saturating_add(looked),
    };
    let near = range.start.saturating_add(limits.blank_bytes.max).min(range.end);
    let mut at = from.div_euclid(512).saturating_mul(512);
    let mut buffer = vec![0; 64 << 10];
    let mut seen = Seen { header: None, candidates: 0, limits };
    while at < near {
        let len = usize::try_from(near.saturating_sub(at)).unwrap_or(usize::MAX).min(buffer.len());
        let chunk = buffer.get_mut(..len).unwrap_or_default();
        data.read_exact_at(at, chunk)?;
        if let Some(found) = in_sectors(data, range, chunk, at, &mut seen)? {
            return Ok(Some(found));
        }
        at = at.saturating_add(size_of_len(len));
    }
    let mut at = at.checked_next_multiple_of(STEP).unwrap_or(range.end);
    // Where superblocks are, from the beginning of what they are of.
    for _ in 0..limits.search_steps.max {
        if at >= range.end {
            break;
        }
        for (offset, len) in [(0, 9 * SECTOR), (32 << 10, SECTOR), (64 << 10, SECTOR)] {
            let start = at.saturating_add(offset);
            let len = usize::try_from(range.end.saturating_sub(start)).unwrap_or(usize::MAX).min(len);
            let chunk = buffer.get_mut(..len).unwrap_or_default();
            if chunk.is_empty() {
                continue;
            }
            data.read_exact_at(start, chunk)?;
            if let Some(found) = in_sectors(data, range, chunk, start, &mut seen)? {
                return Ok(Some(found));
            }
        }
        at = at.saturating_add(STEP);
    }
    Ok(seen.header)
}

/// The first thing that a sector of these, which begin at `at`, leads to. The header of a GPT is kept in `seen`.
fn in_sectors(
    data: &Arc<dyn ReadAt>,
    range: &Range<u64>,
    sectors: &[u8],
    at: u64,
    seen: &mut Seen<'_>,
) -> Result<Option<Found>> {
    for (index, sector) in (0u64..).zip(sectors.chunks(SECTOR)) {
        if sector.len() < SECTOR || sector.iter().all(|byte| *byte == 0) {
            continue;
        }
        let here = at.saturating_add(index.saturating_mul(512));
        if sector.starts_with(b"EFI PART") && gpt::is_header(sector) {
            seen.header.get_or_insert(Found { at: here, what: FoundKind::GptHeader });
        }
        for before in starts(sector).into_iter().flatten() {
            let Some(start) = here.checked_sub(before).filter(|start| range.contains(start)) else {
                continue;
            };
            seen.candidates = seen.candidates.saturating_add(1);
            seen.limits.search_candidates.check(seen.candidates)?;
            if let Some(what) = known(data, start)? {
                return Ok(Some(Found { at: start, what }));
            }
        }
    }
    Ok(None)
}

/// So many bytes before this sector something may begin whose magic is in it.
fn starts(sector: &[u8]) -> [Option<u64>; 4] {
    let first = array_at(sector, 510) == [0x55, 0xaa]
        || array_at(sector, 4) == *b"!Stra0ti"
        || array_at(sector, 32) == *b"NXSB"
        || matches!(
            &array_at::<4>(sector, 0),
            b"XFSB"
                | b"hsqs"
                | b"shsq"
                | b"qshs"
                | b"sqsh"
                | b"LUKS"
                | b"blue"
                | b"dmvd"
                | b"\xfc\x4e\x2b\xa9"
        );
    let second = match le_u32(sector, 0) {
        0xe0f5_e1e2 | 0xf2f5_2010 => true,
        _ => {
            le_u16(sector, 56) == 0xef53
                || matches!(array_at(sector, 0), [b'H', b'+', 0, 4] | [b'H', b'X', 0, 5])
        }
    };
    let label = (array_at(sector, 0) == *b"LABELONE").then(|| le_u64(sector, 8).saturating_mul(512));
    let is_page = le_u32(sector, 0) == 0xa92b_4efc
        || array_at(sector, 24) == *b"\xc6\x85\x73\xf6\x66\xce\x90\xa9\xd9\x6a\x60\xcf\x80\x3d\xf7\xef"
        || array_at(sector, 24) == *b"\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81";
    let is_disc = matches!(&array_at::<5>(sector, 1), b"CD001" | b"NSR02" | b"NSR03" | b"BEA01");
    let far = match () {
        () if is_disc || sector.starts_with(b"JFS1") => Some(32 << 10),
        () if array_at(sector, 64) == *b"_BHRfS_M" || array_at(sector, 52) == *b"ReIsEr" => Some(64 << 10),
        () if is_page => Some(4096),
        () => None,
    };
    [first.then_some(0), second.then_some(1024), label, far]
}

/// What begins there, if it is to be believed and may hold software.
fn known(data: &Arc<dyn ReadAt>, start: u64) -> Result<Option<FoundKind>> {
    // Not only to the end of the range: who mounts it may know it as larger.
    let Some(here) = part(data, &(start..data.size_bytes())) else { return Ok(None) };
    let kind = probe(&*here)?.kind;
    if !matches!(kind, FsKind::Unknown | FsKind::Swap | FsKind::Verity | FsKind::ExtJournal)
        && holds(&*here, kind)?
        && !is_copy(&*here, kind)?
    {
        return Ok(Some(FoundKind::Content(kind)));
    }
    Ok(mbr::is_table(&*here)?.then_some(FoundKind::Table))
}

/// Whether this is a superblock that a file system keeps besides its first.
fn is_copy(volume: &dyn ReadAt, kind: FsKind) -> Result<bool> {
    Ok(match kind {
        FsKind::Ext2 | FsKind::Ext3 | FsKind::Ext4 => {
            peek::<128>(volume, 1024)?.is_some_and(|block| le_u16(&block, 90) != 0)
        }
        // The header of its allocation group is in the next sector, and numbered.
        FsKind::Xfs => {
            let head = peek::<128>(volume, 0)?.unwrap_or([0; 128]);
            let sector = u64::from(u16::from_be_bytes(array_at(&head, 102)));
            let group = peek::<16>(volume, sector)?.unwrap_or([0; 16]);
            !group.starts_with(b"XAGF") || array_at(&group, 8) != [0; 4]
        }
        _ => false,
    })
}
