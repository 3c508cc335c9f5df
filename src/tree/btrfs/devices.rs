//! The devices of a file system, laid one behind the other: what chunks say of each is found at the offset from
//! which it begins here on.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::superblock::{self, Superblock};
use crate::bytes::{ReadAt, passes_end, size_of_len};
use crate::error::{Error, Result, ResultExt as _};

/// Which file system a device is of, and which of its devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BtrfsDevice {
    /// The UUID of the file system.
    pub fsid: [u8; 16],
    /// The device's number in it.
    pub number: u64,
    /// How many devices the file system has.
    pub count: u64,
    /// The last transaction that was written to it.
    pub generation: u64,
}

impl BtrfsDevice {
    /// What a device says of itself.
    ///
    /// # Errors
    /// `Malformed` if it has no valid superblock, `Unsupported`, `Io`.
    pub fn read(device: &dyn ReadAt) -> Result<Self> {
        let (superblock, _) = superblock::read(device)?;
        Ok(BtrfsDevice {
            fsid: superblock.fsid,
            number: superblock.device,
            count: superblock.device_count,
            generation: superblock.generation,
        })
    }
}

/// Where a device begins, and what tells it from another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    pub(super) base: u64,
    pub(super) size_bytes: u64,
    pub(super) uuid: [u8; 16],
}

/// The devices that are there, by their numbers.
pub(super) type KnownDevices = BTreeMap<u64, Known>;

/// That device alone of which this is the superblock.
pub(super) fn alone(superblock: &Superblock, size_bytes: u64) -> KnownDevices {
    [(superblock.device, Known { base: 0, size_bytes, uuid: superblock.device_uuid })].into()
}

/// Checks that all of a device is there.
///
/// # Errors
/// `Malformed` if it is cut off.
pub(super) fn check_size(superblock: &Superblock, size_bytes: u64) -> Result<()> {
    if superblock.device_bytes <= size_bytes {
        return Ok(());
    }
    Err(Error::malformed(
        "btrfs superblock",
        "dev_item.total_bytes",
        superblock.offset.saturating_add(209),
        format!("{} bytes of device", superblock.device_bytes),
        format!("the volume's {size_bytes}"),
    )
    .hint("the disk image is cut off, or the volume has parts elsewhere"))
}

/// Several devices as one.
pub(super) struct Joined {
    parts: Vec<(u64, Arc<dyn ReadAt>)>,
    size_bytes: u64,
}

impl Joined {
    /// Lays devices one behind the other, that with the newest superblock first. Which are there, and what is
    /// doubtful of them.
    ///
    /// # Errors
    /// Those of their superblocks, `Malformed` if they are of several file systems or one is there twice.
    pub(super) fn new(devices: &[Arc<dyn ReadAt>]) -> Result<(Self, KnownDevices, Vec<Error>)> {
        let mut read = Vec::new();
        for device in devices {
            let (superblock, _) = superblock::read(&**device)?;
            check_size(&superblock, device.size_bytes()).at(|| format!("device {}", superblock.device))?;
            read.push((superblock, device));
        }
        read.sort_by_key(|(superblock, _)| (std::cmp::Reverse(superblock.generation), superblock.device));
        let mut joined = Joined { parts: Vec::new(), size_bytes: 0 };
        let (mut known, mut doubts) = (KnownDevices::new(), Vec::new());
        let newest = read.first().map(|(superblock, _)| (superblock.fsid, superblock.generation));
        for (superblock, device) in read {
            let wrong = |found: &str, allowed: &str| {
                let found = format!("device {} {found}", superblock.device);
                Err(Error::malformed("btrfs superblock", "dev_item", None, found, allowed))
            };
            if newest.is_some_and(|(fsid, _)| fsid != superblock.fsid) {
                return wrong("of another file system", "devices of one");
            }
            if let Some((_, generation)) = newest.filter(|(_, newest)| *newest != superblock.generation) {
                doubts.push(Error::malformed(
                    "btrfs superblock",
                    "generation",
                    None,
                    format!("{} on device {}", superblock.generation, superblock.device),
                    format!("{generation}, which another device has: it was absent for a while"),
                ));
            }
            let (base, size_bytes) = (joined.size_bytes, device.size_bytes());
            let part = Known { base, size_bytes, uuid: superblock.device_uuid };
            if known.insert(superblock.device, part).is_some() {
                return wrong("twice", "each device once");
            }
            joined.parts.push((base, Arc::clone(device)));
            let Some(end) = base.checked_add(size_bytes) else {
                return wrong("ends behind 2^64 bytes", "less");
            };
            joined.size_bytes = end;
        }
        Ok((joined, known, doubts))
    }

    /// The parts of a range: device, offset on it, bytes.
    fn each(
        &self,
        range: Range<u64>,
        step: &mut dyn FnMut(&dyn ReadAt, u64, u64) -> Result<()>,
    ) -> Result<()> {
        let mut at = range.start;
        while at < range.end {
            let after = self.parts.partition_point(|(base, _)| *base <= at);
            let end = self.parts.get(after).map_or(self.size_bytes, |(base, _)| *base).min(range.end);
            let Some((base, device)) = after.checked_sub(1).and_then(|index| self.parts.get(index)) else {
                return Err(passes_end(at, 1, self.size_bytes));
            };
            if end <= at {
                return Err(passes_end(at, 1, self.size_bytes));
            }
            step(&**device, at.saturating_sub(*base), end.saturating_sub(at))?;
            at = end;
        }
        Ok(())
    }
}

impl ReadAt for Joined {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read_exact_at(&self, offset: u64, dst: &mut [u8]) -> Result<()> {
        let end = offset.checked_add(size_of_len(dst.len())).filter(|end| *end <= self.size_bytes);
        let Some(end) = end else { return Err(passes_end(offset, dst.len(), self.size_bytes)) };
        let mut rest = dst;
        self.each(offset..end, &mut |device, at, len| {
            let len = usize::try_from(len).unwrap_or(usize::MAX).min(rest.len());
            let (now, later) = std::mem::take(&mut rest).split_at_mut(len);
            rest = later;
            device.read_exact_at(at, now)
        })
    }

    fn prefetch(&self, ranges: &[Range<u64>]) {
        for range in ranges {
            // What cannot be told here is told by the read that follows.
            let _ = self.each(range.clone(), &mut |device, at, len| {
                device.prefetch(std::slice::from_ref(&(at..at.saturating_add(len))));
                Ok(())
            });
        }
    }
}
