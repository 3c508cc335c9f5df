//! Members of Linux software RAID (`md_p.h` of the Linux kernel): superblocks 0.90, 1.0, 1.1 and 1.2.
//!
//! | version | where | | version | where |
//! |---|---|---|---|---|
//! | 0.90 | the last whole 64 KiB | | 1.1 | 0 |
//! | 1.0 | 8 KiB before the end, at whole 4 KiB | | 1.2 | 4096 |
//!
//! A member of a raid1 holds the whole array in its data area. Other levels need the other members and are
//! named.

use super::probe::peek;
use crate::bytes::{ReadAt, array_at, be_u32, le_u16, le_u32, le_u64, sum_holds};
use crate::error::Result;

const MAGIC: u32 = 0xa92b_4efc;
/// Features of 1.x: the member is being recovered or reshaped, so its data are not those of the array.
const UNSETTLED: u32 = 2 | 4 | 64;
/// Roles of 1.x from here on are no places of the array: a journal, a member that failed, a spare.
const FIRST_IDLE: u16 = 0xfffd;

/// What the superblock says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) version: &'static str,
    pub(super) set_uuid: [u8; 16],
    pub(super) name: String,
    /// As the kernel writes it: 0, 1, 4, 5, 6, 10, -1 linear.
    pub(super) level: i32,
    /// Where its part of the array is, and how large that is.
    pub(super) data: (u64, u64),
    pub(super) is_settled: bool,
    /// It counts what is written to the array: of members that were apart, the highest is the newest.
    pub(super) events: u64,
    /// It waits for another to fail, or has failed, so that its data are not those of the array.
    pub(super) is_idle: bool,
}

/// The superblock, if the volume has one whose checksum is right.
pub(super) fn member(volume: &dyn ReadAt) -> Result<Option<Member>> {
    let sectors = volume.size_bytes().div_euclid(512);
    let near_end = sectors.saturating_sub(16).div_euclid(8).saturating_mul(4096);
    for (version, at) in [("1.2", 4096), ("1.1", 0), ("1.0", near_end)] {
        if let Some(block) = peek::<1024>(volume, at)?
            && let Some(member) = version_1(&block, version, at)
        {
            return Ok(Some(member));
        }
    }
    let last = volume.size_bytes().div_euclid(65536).saturating_sub(1).saturating_mul(65536);
    Ok(peek::<4096>(volume, last)?.as_ref().and_then(version_0))
}

fn version_1(block: &[u8; 1024], version: &'static str, at: u64) -> Option<Member> {
    let own_sector = le_u64(block, 144);
    if le_u32(block, 0) != MAGIC || le_u32(block, 4) != 1 || own_sector.checked_mul(512) != Some(at) {
        return None;
    }
    // Roles of more than 384 devices would pass the block; arrays have a few.
    let roles = usize::try_from(le_u32(block, 220)).ok().filter(|roles| *roles <= 384)?;
    let summed = block.get(..roles.checked_mul(2)?.checked_add(256)?)?;
    let mut sum: u64 = 0;
    for (index, word) in summed.chunks(4).enumerate() {
        // The checksum itself is at 216; a last half word counts as one.
        let word = array_at::<4>(&[word, &[0; 4]].concat(), 0);
        sum = sum.saturating_add(if index == 54 { 0 } else { u64::from(u32::from_le_bytes(word)) });
    }
    let folded = (sum & 0xffff_ffff).saturating_add(sum >> 32) & 0xffff_ffff;
    if !sum_holds(u64::from(le_u32(block, 216)), folded) {
        return None;
    }
    let size = le_u64(block, 80).min(le_u64(block, 136)).saturating_mul(512);
    Some(Member {
        version,
        set_uuid: array_at(block, 16),
        name: String::from_utf8_lossy(&array_at::<32>(block, 32)).trim_end_matches('\0').to_owned(),
        level: i32::from_le_bytes(array_at(block, 72)),
        data: (le_u64(block, 128).saturating_mul(512), size),
        is_settled: le_u32(block, 8) & UNSETTLED == 0,
        events: le_u64(block, 200),
        is_idle: usize::try_from(le_u32(block, 160))
            .ok()
            .filter(|own| *own < roles)
            .and_then(|own| own.checked_mul(2)?.checked_add(256))
            .is_none_or(|at| le_u16(block, at) >= FIRST_IDLE),
    })
}

/// In the byte order of the machine that wrote it.
fn version_0(block: &[u8; 4096]) -> Option<Member> {
    let word: fn(&[u8], usize) -> u32 = match (le_u32(block, 0), be_u32(block, 0)) {
        (MAGIC, _) => le_u32,
        (_, MAGIC) => be_u32,
        _ => return None,
    };
    if word(block, 4) != 0 || word(block, 8) != 90 {
        return None;
    }
    let mut set_uuid = [0; 16];
    for (part, at) in set_uuid.chunks_exact_mut(4).zip([20, 52, 56, 60]) {
        part.copy_from_slice(&word(block, at).to_be_bytes());
    }
    Some(Member {
        version: "0.90",
        set_uuid,
        name: String::new(),
        level: i32::from_le_bytes(word(block, 28).to_le_bytes()),
        data: (0, u64::from(word(block, 32)).saturating_mul(1024)),
        is_settled: true,
        events: {
            // The high half comes first where bytes do.
            let (first, second) = (u64::from(word(block, 156)), u64::from(word(block, 160)));
            if le_u32(block, 0) == MAGIC { (second << 32) | first } else { (first << 32) | second }
        },
        // Its own descriptor: faulty, and not active.
        is_idle: word(block, 3984) & 1 != 0 || word(block, 3984) & 2 == 0,
    })
}
