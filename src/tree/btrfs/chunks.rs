//! Chunks: where logical addresses, by which all else is found, are on devices.
//!
//! | byte | chunk item | | byte | stripe (32), from byte 48 on |
//! | --- | --- | --- | --- | --- |
//! | 0 | length | | 0 | devid |
//! | 8 | owner | | 8 | offset on the device |
//! | 16 | stripe_len, always 64 KiB | | 16 | device UUID (16) |
//! | 24 | type | | | |
//! | 32 | io_align, io_width, sector_size (4 each) | | | |
//! | 44 | num_stripes, sub_stripes (2 each) | | | |
//!
//! The key's offset is the chunk's first logical address. The type says what the chunk holds and how its stripes
//! are used: single, dup and raid1 with two, three or four copies have one copy a stripe; raid0 and raid10 put
//! 64 KiB into each stripe (or group of copies) in turn.
//!
//! Not read: raid5 and raid6.

use std::collections::BTreeMap;

use super::devices::KnownDevices;
use super::node::{CHUNK_ITEM, FIRST_FREE, Key};
use super::superblock::Superblock;
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::tree::fields::{Fields, len};

const FORMAT: &str = "btrfs chunk";
const STRIPE_BYTES: u64 = 64 << 10;
const CHUNK_BYTES: usize = 48;
const MAP_BYTES: usize = 32;

/// What a chunk holds: data, system, metadata.
const KINDS: u64 = 0b111;
const RAID0: u64 = 1 << 3;
const RAID1: u64 = 1 << 4;
const DUP: u64 = 1 << 5;
const RAID10: u64 = 1 << 6;
const RAID5: u64 = 1 << 7;
const RAID6: u64 = 1 << 8;
const RAID1C3: u64 = 1 << 9;
const RAID1C4: u64 = 1 << 10;
const PROFILES: u64 = RAID0 | RAID1 | DUP | RAID10 | RAID5 | RAID6 | RAID1C3 | RAID1C4;

/// How a chunk uses its stripes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Profile {
    /// One copy in each stripe.
    Copies,
    /// Data in turn on groups of so many stripes, which hold one copy each.
    Striped { copies: u64 },
    /// Not read.
    Parity(&'static str),
}

#[derive(Debug)]
struct Chunk {
    size_bytes: u64,
    profile: Profile,
    stripes: Vec<Stripe>,
}

#[derive(Debug, Clone, Copy)]
struct Stripe {
    device: u64,
    offset: u64,
}

/// A run of logical addresses: where its copies are on the devices that are there.
#[derive(Debug, Clone)]
pub(super) struct Run {
    /// Offsets on what the file system is read from; never empty.
    pub(super) copies: Vec<u64>,
    /// How far it goes from the address that was asked for.
    pub(super) size_bytes: u64,
}

/// All chunks by logical address.
#[derive(Debug)]
pub(super) struct Chunks {
    chunks: BTreeMap<u64, Chunk>,
    devices: KnownDevices,
    device_count: u64,
}

impl Chunks {
    /// Those of the superblock, with which the chunk tree is read.
    ///
    /// # Errors
    /// `Malformed` with the field.
    pub(super) fn of_superblock(superblock: &Superblock, devices: &KnownDevices) -> Result<Self> {
        let mut chunks = Chunks {
            chunks: BTreeMap::new(),
            devices: devices.clone(),
            device_count: superblock.device_count,
        };
        let bytes = &superblock.system_chunks[..];
        let fields = Fields::new(bytes, FORMAT, superblock.offset.saturating_add(811));
        let mut at = 0;
        while at < bytes.len() {
            let key = Key::decode(&fields, at)?;
            let start = at.saturating_add(17);
            let count = usize::from(fields.le16(start.saturating_add(44))?);
            let size = CHUNK_BYTES.saturating_add(count.saturating_mul(MAP_BYTES));
            let item = Fields::new(fields.slice(start, size)?, FORMAT, fields.place(start));
            chunks.add(superblock, key, &item)?;
            at = start.saturating_add(size);
        }
        Ok(chunks)
    }

    /// Adds a chunk item; one that is known already has to be the same.
    ///
    /// # Errors
    /// `Malformed` with the field.
    pub(super) fn add(&mut self, superblock: &Superblock, key: Key, item: &Fields<'_>) -> Result<()> {
        if key.kind != CHUNK_ITEM || key.object != FIRST_FREE {
            return Err(item.wrong("key", 0, key.to_string(), format!("({FIRST_FREE} {CHUNK_ITEM} …)")));
        }
        let chunk = decode(superblock, &self.devices, item)?;
        let end = key.offset.checked_add(chunk.size_bytes);
        let sector = u64::from(superblock.sector_bytes);
        let Some(end) = end.filter(|_| key.offset.is_multiple_of(sector)) else {
            let found = format!("{} bytes from {:#x} on", chunk.size_bytes, key.offset);
            return Err(item.wrong("key", 0, found, format!("whole sectors of {sector} bytes below 16 EiB")));
        };
        let before = self.chunks.range(..end).next_back();
        if let Some((start, known)) = before
            && start.saturating_add(known.size_bytes) > key.offset
            && (*start, known.size_bytes) != (key.offset, chunk.size_bytes)
        {
            let found = format!("{:#x}..{end:#x}", key.offset);
            return Err(item.wrong("key", 0, found, format!("none of the chunk at {start:#x}")));
        }
        self.chunks.insert(key.offset, chunk);
        Ok(())
    }

    /// Whether there are more of them than may be.
    ///
    /// # Errors
    /// `Limit` if there are.
    pub(super) fn check_count(&self, limits: &Limits) -> Result<()> {
        limits.btrfs_chunks.check(crate::bytes::size_of_len(self.chunks.len())).map(drop)
    }

    /// Where an address is on the devices that are there.
    ///
    /// # Errors
    /// `Malformed` if it is in no chunk, `Unsupported` if it is on other devices only or in a parity profile.
    pub(super) fn find(&self, logical: u64) -> Result<Run> {
        let found = self.chunks.range(..=logical).next_back();
        let found = found.map(|(start, chunk)| (logical.saturating_sub(*start), chunk));
        let Some((inside, chunk)) = found.filter(|(inside, chunk)| *inside < chunk.size_bytes) else {
            return Err(Error::malformed(FORMAT, "logical address", logical, "in no chunk", "in one"));
        };
        let left = chunk.size_bytes.saturating_sub(inside);
        let (stripes, within, size_bytes) = match chunk.profile {
            Profile::Copies => (&chunk.stripes[..], inside, left),
            Profile::Striped { copies } => {
                let groups = crate::bytes::size_of_len(chunk.stripes.len()).checked_div(copies).unwrap_or(1);
                let row = inside.checked_div(STRIPE_BYTES).unwrap_or(0);
                let rest = inside.checked_rem(STRIPE_BYTES).unwrap_or(0);
                let group = row.checked_rem(groups).unwrap_or(0);
                let first = len(group.saturating_mul(copies));
                let stripes = chunk.stripes.get(first..first.saturating_add(len(copies))).unwrap_or_default();
                let within =
                    row.checked_div(groups).unwrap_or(0).saturating_mul(STRIPE_BYTES).saturating_add(rest);
                (stripes, within, left.min(STRIPE_BYTES.saturating_sub(rest)))
            }
            Profile::Parity(name) => return Err(Error::unsupported(format!("the btrfs profile {name}"))),
        };
        let here = stripes.iter().filter_map(|stripe| {
            let device = self.devices.get(&stripe.device)?;
            let offset = stripe.offset.saturating_add(within);
            // What passes the end of its device would be another's.
            let at = if offset < device.size_bytes { device.base.checked_add(offset) } else { None };
            Some((at.unwrap_or(u64::MAX), device.size_bytes.saturating_sub(offset)))
        });
        let copies: Vec<(u64, u64)> = here.collect();
        match copies.iter().map(|(_, left)| *left).min() {
            Some(left) => {
                let size_bytes = size_bytes.min(left.max(1));
                Ok(Run { copies: copies.into_iter().map(|(at, _)| at).collect(), size_bytes })
            }
            None => Err(self.elsewhere(stripes)),
        }
    }

    fn elsewhere(&self, stripes: &[Stripe]) -> Error {
        let devices: Vec<String> = stripes.iter().map(|stripe| stripe.device.to_string()).collect();
        let here: Vec<String> = self.devices.keys().map(u64::to_string).collect();
        let are = if here.len() == 1 { "this is device" } else { "there are devices" };
        Error::unsupported(format!(
            "a btrfs over {} devices: {are} {}, what is looked for is on device {}",
            self.device_count,
            here.join(" and "),
            devices.join(" and "),
        ))
    }
}

fn decode(superblock: &Superblock, devices: &KnownDevices, item: &Fields<'_>) -> Result<Chunk> {
    let (size_bytes, stripe_bytes, kind) = (item.le64(0)?, item.le64(16)?, item.le64(24)?);
    let (count, sub) = (item.le16(44)?, item.le16(46)?);
    if size_bytes == 0 || !size_bytes.is_multiple_of(superblock.sector_bytes.into()) {
        return Err(item.wrong("length", 0, size_bytes.to_string(), "whole sectors"));
    }
    if stripe_bytes != STRIPE_BYTES {
        return Err(item.wrong("stripe_len", 16, stripe_bytes.to_string(), STRIPE_BYTES.to_string()));
    }
    let profile = kind & PROFILES;
    if kind & KINDS == 0 || kind & !(KINDS | PROFILES) != 0 || profile.count_ones() > 1 {
        return Err(item.wrong("type", 24, format!("{kind:#x}"), "data or metadata in one profile"));
    }
    let fits = match profile {
        0 => count == 1,
        DUP | RAID1 => count == 2,
        RAID1C3 => count == 3,
        RAID1C4 => count == 4,
        RAID10 => count >= 2 && sub == 2 && count.is_multiple_of(2),
        _ => count >= 1,
    };
    if !fits {
        let found = format!("{count} in groups of {sub}");
        return Err(item.wrong("num_stripes", 44, found, format!("those of profile {profile:#x}")));
    }
    let size = CHUNK_BYTES.saturating_add(usize::from(count).saturating_mul(MAP_BYTES));
    if item.bytes.len() != size {
        return Err(item.wrong("length", 44, format!("{} bytes", item.bytes.len()), format!("{size}")));
    }
    let mut stripes = Vec::with_capacity(count.into());
    for index in 0..usize::from(count) {
        let at = CHUNK_BYTES.saturating_add(index.saturating_mul(MAP_BYTES));
        let stripe = Stripe { device: item.le64(at)?, offset: item.le64(at.saturating_add(8))? };
        let uuid = item.slice(at.saturating_add(16), 16)?;
        if devices.get(&stripe.device).is_some_and(|device| uuid != device.uuid) {
            return Err(item.wrong("stripe", at, "another device's UUID", "that of the superblock"));
        }
        stripes.push(stripe);
    }
    let profile = match profile {
        RAID0 => Profile::Striped { copies: 1 },
        RAID10 => Profile::Striped { copies: 2 },
        RAID5 => Profile::Parity("raid5"),
        RAID6 => Profile::Parity("raid6"),
        _ => Profile::Copies,
    };
    Ok(Chunk { size_bytes, profile, stripes })
}
