//! Whether a superblock can be what it says, so that what is left over from former times is told from what is.

use super::{FsKind, peek};
use crate::bytes::{ReadAt, array_at, le_u16, le_u32, le_u64};
use crate::error::Result;

/// Whether what the magic of this kind leads to can be: a file system that is not larger than its volume, whose first
/// tables are where its superblock says.
///
/// # Errors
/// Those of reading.
pub(in super::super) fn holds(volume: &dyn ReadAt, kind: FsKind) -> Result<bool> {
    let size_bytes = volume.size_bytes();
    let fits = |bytes: u64| (1..=size_bytes).contains(&bytes);
    let head = peek::<512>(volume, 0)?.unwrap_or([0; 512]);
    let second = peek::<512>(volume, 1024)?.unwrap_or([0; 512]);
    let byte = |at: usize| head.get(at).copied().unwrap_or(0);
    let sector = u64::from(le_u16(&head, 11));
    Ok(match kind {
        FsKind::Ext2 | FsKind::Ext3 | FsKind::Ext4 => {
            let high = if le_u32(&second, 96) & 0x80 != 0 { u64::from(le_u32(&second, 336)) } else { 0 };
            let blocks = u64::from(le_u32(&second, 4)) | (high << 32);
            let block_bytes = 1024u64.checked_shl(le_u32(&second, 24)).unwrap_or(0);
            le_u32(&second, 24) <= 6
                && le_u32(&second, 76) <= 1
                && le_u32(&second, 20) <= 1
                && le_u32(&second, 32) > 0
                && le_u32(&second, 40) > 0
                && fits(blocks.saturating_mul(block_bytes))
        }
        FsKind::Xfs => {
            let block_bytes = u64::from(u32::from_be_bytes(array_at(&head, 4)));
            let blocks = u64::from_be_bytes(array_at(&head, 8));
            block_bytes.is_power_of_two() && fits(blocks.saturating_mul(block_bytes))
        }
        // Its own place, so that it is no copy, and the size of the device.
        FsKind::Btrfs => peek::<256>(volume, 65536)?
            .is_some_and(|block| le_u64(&block, 48) == 65536 && fits(le_u64(&block, 209))),
        FsKind::Squashfs if head.starts_with(b"hsqs") && le_u16(&head, 28) == 4 => fits(le_u64(&head, 40)),
        FsKind::Erofs => {
            let bits = second.get(12).copied().unwrap_or(0);
            let block_bytes = 1u64.checked_shl(bits.into()).unwrap_or(0);
            (9..=16).contains(&bits) && fits(u64::from(le_u32(&second, 36)).saturating_mul(block_bytes))
        }
        // The first entry of the table repeats the kind of medium.
        FsKind::Fat => {
            let table = u64::from(le_u16(&head, 14)).saturating_mul(sector);
            peek::<3>(volume, table)? == Some([byte(21), 0xff, 0xff])
        }
        FsKind::Exfat => {
            let table = u64::from(le_u32(&head, 80)).checked_shl(byte(108).into()).unwrap_or(0);
            peek::<4>(volume, table)?.map(u32::from_le_bytes) == Some(0xffff_fff8)
        }
        FsKind::Ntfs => {
            let cluster = sector.saturating_mul(byte(13).into());
            peek::<4>(volume, le_u64(&head, 48).saturating_mul(cluster))? == Some(*b"FILE")
        }
        _ => true,
    })
}
