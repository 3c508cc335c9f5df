//! What a volume or a range is by its bytes, where no superblock says it: blank, a boot loader, noise.

use std::ops::Range;
use std::sync::Arc;

use super::search::{self, Found};
use super::{FsKind, RestState, Role, mbr, part, probe};
use crate::bytes::{ReadAt, size_of_len};
use crate::error::Result;
use crate::limits::{Ceiling, Limits};

/// No partition that is there for a boot loader alone is larger.
const BOOT_LOADER_BYTES: u64 = 32 << 20;

/// Boot loaders put code behind the boot record up to here: partitions begin at 1 MiB.
pub(super) const BOOT_CODE_END: u64 = 1 << 20;

/// What a volume is by what lies on it.
pub(super) fn role(kind: FsKind, data: &dyn ReadAt, limits: &Limits) -> Result<Role> {
    let unreadable = |why: &str| Ok(Role::Unreadable(why.to_owned()));
    match kind {
        FsKind::Swap => Ok(Role::NoSoftware("swap")),
        FsKind::ExtJournal => Ok(Role::NoSoftware("journal of another volume")),
        FsKind::Verity => Ok(Role::NoSoftware("hashes of another volume")),
        FsKind::Lvm2 | FsKind::MdRaid => Ok(Role::Container),
        FsKind::Luks1 => unreadable("encrypted: LUKS1"),
        FsKind::Luks2 => unreadable("encrypted: LUKS2"),
        FsKind::BitLocker => unreadable("encrypted: BitLocker"),
        FsKind::Bcache => unreadable("a bcache device"),
        FsKind::Drbd => unreadable("a DRBD device"),
        FsKind::Lvm1 | FsKind::Stratis | FsKind::Vdo | FsKind::Bluestore | FsKind::FirmwareRaid => {
            unreadable(&format!("a {kind}"))
        }
        FsKind::Unknown => match look(data, 0..data.size_bytes(), limits.blank_bytes)? {
            RestState::Blank => Ok(Role::NoSoftware("blank")),
            RestState::BlankAtFirst(looked) => unreadable(&format!(
                "no known content; only its first {looked} bytes were looked through, and are blank (limit `blank_bytes`)"
            )),
            _ if mbr::is_table(data)? => unreadable("a partition table inside of a volume: not looked into"),
            RestState::NotBlank(at) if is_noise(data, at)? => {
                unreadable("no known content, and it looks like noise: perhaps encrypted")
            }
            _ => unreadable("no known content"),
        },
        _ => Ok(Role::Candidate),
    }
}

/// What lies behind the end of a file system in its volume: what is there, what begins right behind the end, and what
/// else in it is known.
///
/// # Errors
/// Those of reading.
pub fn behind(
    volume: &Arc<dyn ReadAt>,
    range: Range<u64>,
    limits: &Limits,
) -> Result<(RestState, FsKind, Option<Found>)> {
    let state = look(&**volume, range.clone(), limits.blank_bytes)?;
    let kind = match (state, part(volume, &range)) {
        (RestState::NotBlank(_), Some(behind)) => probe(&*behind)?.kind,
        _ => FsKind::Unknown,
    };
    Ok((state, kind, search::search(volume, &range, state, limits)?))
}

/// Whether a volume is blank, as far as was looked, and nothing that is known begins behind.
pub(super) fn is_blank(data: &Arc<dyn ReadAt>, limits: &Limits) -> Result<bool> {
    let all = 0..data.size_bytes();
    let state = look(&**data, all.clone(), limits.blank_bytes)?;
    Ok(match state {
        RestState::Blank => true,
        RestState::BlankAtFirst(_) => search::search(data, &all, state, limits)?.is_none(),
        _ => false,
    })
}

/// Whether a volume that is there for a boot loader is blank or has one: it is small, begins with the code of GRUB
/// (which pushes two registers, or in older versions calls) or an executable, or is very small and begins with what
/// else is not noise, and holds nothing that is known, nor anything where no boot loader reaches.
pub(super) fn boot_loader(data: &Arc<dyn ReadAt>, limits: &Limits) -> Result<bool> {
    let size_bytes = data.size_bytes();
    if size_bytes > BOOT_LOADER_BYTES {
        return is_blank(data, limits);
    }
    let all = 0..size_bytes;
    let state = look(&**data, all.clone(), limits.blank_bytes)?;
    let RestState::NotBlank(first) = state else { return Ok(true) };
    let head = probe::peek::<4>(&**data, 0)?.unwrap_or([0; 4]);
    let is_executable = head == *b"\x7fELF";
    let is_known = is_executable || matches!(head, [0x52, 0x56 | 0xe8 | 0xbf, ..]);
    let end = size_bytes.min(if is_executable { BOOT_LOADER_BYTES } else { 2 * BOOT_CODE_END });
    let is_small = size_bytes <= 2 * BOOT_CODE_END && !is_noise(&**data, first)?;
    Ok((is_known || is_small)
        && matches!(look(&**data, end..size_bytes, limits.blank_bytes)?, RestState::Blank)
        && search::search(data, &all, state, limits)?.is_none())
}

/// Looks through a range for anything but zeros, as far as the ceiling.
pub(super) fn look(data: &dyn ReadAt, range: Range<u64>, ceiling: Ceiling) -> Result<RestState> {
    let mut buffer = vec![0; 64 << 10];
    let end = range.end.min(range.start.saturating_add(ceiling.max));
    let mut at = range.start;
    while at < end {
        let len = usize::try_from(end.saturating_sub(at)).unwrap_or(usize::MAX).min(buffer.len());
        let part = buffer.get_mut(..len).unwrap_or_default();
        data.read_exact_at(at, part)?;
        if let Some(first) = part.iter().position(|byte| *byte != 0) {
            return Ok(RestState::NotBlank(at.saturating_add(size_of_len(first))));
        }
        at = at.saturating_add(size_of_len(len));
    }
    let looked = end.saturating_sub(range.start);
    Ok(if end < range.end { RestState::BlankAtFirst(looked) } else { RestState::Blank })
}

/// Whether 64 KiB from there on have all byte values about equally often, as only noise and what is well
/// compressed or encrypted has: chi-square with 255 degrees of freedom passes 400 once in ten million times.
fn is_noise(data: &dyn ReadAt, at: u64) -> Result<bool> {
    const LEN: usize = 64 << 10;
    let mut bytes = vec![0; LEN];
    if at.saturating_add(size_of_len(LEN)) > data.size_bytes() {
        return Ok(false);
    }
    data.read_exact_at(at, &mut bytes)?;
    let mut counts = [0u64; 256];
    for byte in bytes {
        if let Some(count) = counts.get_mut(usize::from(byte)) {
            *count = count.saturating_add(1);
        }
    }
    let squares =
        counts.iter().map(|count| count.abs_diff(256).saturating_pow(2)).fold(0, u64::saturating_add);
    Ok(squares.div_euclid(256) < 400)
}
