//! A disk as volumes: partitions, logical volumes and members of arrays, and every range that is in none.
//!
//! Nothing is passed over: a volume is a candidate for a file system, or known to hold no software, or holds
//! other volumes of the list, or cannot be read and says why; a range outside of all of them is a table, is
//! blank, or is not. See [`probe`] for what is told by magic.
//!
//! | read | known and not read |
//! |---|---|
//! | MBR with logical partitions and GPT, with sectors of 512 or 4096 bytes, GPT also by its backup; no table at all | |
//! | LVM2: linear and striped, over several physical volumes of the disks of a machine | thin, cache, RAID, mirror, snapshot |
//! | Linux software RAID: members of a raid1 | other levels |
//! | | LUKS, BitLocker, bcache, VMFS, what looks like noise |
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::indexing_slicing,
        clippy::unwrap_used
    )
)]

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use crate::bytes::{ReadAt, Section};
use crate::error::{Error, Result};
use crate::limits::Limits;

mod content;
mod gpt;
mod lvm;
mod mbr;
mod md;
mod partitions;
mod probe;
mod search;

pub use content::behind;
use content::{BOOT_CODE_END, look, role};
use partitions::partitions;
pub use probe::{FsKind, Probed, probe, probe_all};
pub(crate) use probe::{disc_label, disc_uuid};
pub use search::{Found, FoundKind};

/// The partition table of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// None: the disk is one volume.
    None,
    /// A master boot record.
    Mbr,
    /// GUIDs.
    Gpt,
}

/// All of a disk.
pub struct Layout {
    /// Which table it has.
    pub table: Table,
    /// The size of the table's sectors in bytes.
    pub sector_bytes: u64,
    /// The disk's id in its table, as `blkid` writes it.
    pub disk_id: Option<String>,
    /// Partitions in the order of their numbers, then what is found inside of them.
    pub volumes: Vec<Volume>,
    /// Ranges in no partition, in ascending order, then those of physical volumes that are in no logical one.
    pub rest: Vec<Rest>,
    /// What a reader should know, for people.
    pub notes: Vec<String>,
    /// What is wrong with tables, so that volumes may be missing: gaps.
    pub problems: Vec<Error>,
}

/// A volume.
pub struct Volume {
    /// Where it is, for people: `partition 2`, `logical volume vg/root`, `disk`.
    pub place: String,
    /// The number of a partition.
    pub number: Option<u32>,
    /// Its ranges of the disk in bytes; empty where they are not known.
    pub ranges: Vec<Range<u64>>,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// The name that the table gives it (PARTLABEL).
    pub name: Option<String>,
    /// What its table says that it is.
    pub kind: String,
    /// PARTUUID, as `blkid` writes it.
    pub part_uuid: Option<String>,
    /// Volume group and name of a logical volume.
    pub logical: Option<(String, String)>,
    /// Whether it lies on several disks of the image.
    pub spans_disks: bool,
    /// What lies on it.
    pub probed: Probed,
    /// What is to be done with it.
    pub role: Role,
    /// Its bytes, where they can be had.
    pub data: Option<Arc<dyn ReadAt>>,
}

/// What a volume is to a reader of files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// It has a file system that may hold software.
    Candidate,
    /// It is known to hold none, for this reason.
    NoSoftware(&'static str),
    /// What it holds are other volumes of the list.
    Container,
    /// It cannot be read, for this reason.
    Unreadable(String),
}

/// A range of the disk that is in no partition, or of a volume that is in none of those that it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rest {
    /// In bytes, of the disk or of the volume `within`.
    pub range: Range<u64>,
    /// The place of the volume whose bytes these are; `None` for the disk.
    pub within: Option<String>,
    /// Where the range begins on the disk, if it is one of it.
    pub offset_bytes: Option<u64>,
    /// What is there.
    pub state: RestState,
    /// What in it is known and in no volume.
    pub found: Option<Found>,
}

/// What is in a range outside of partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestState {
    /// Partition tables.
    Tables,
    /// Between the boot record and the first partition: where boot loaders put code.
    BootCode,
    /// Nothing but zeros.
    Blank,
    /// Nothing but zeros as far as was looked: so many bytes.
    BlankAtFirst(u64),
    /// Something: the first byte that is not zero.
    NotBlank(u64),
}

/// What is known of an array.
#[derive(Default)]
struct Newest {
    /// The most events that a member has counted.
    events: u64,
    /// One of its members was opened.
    is_open: bool,
}

/// Finds all volumes of a disk.
///
/// # Errors
/// `Malformed` if the disk says that it has a partition table of which no copy is whole, `Limit`, and `Io`.
pub fn volumes(disk: &Arc<dyn ReadAt>, limits: &Limits) -> Result<Layout> {
    volumes_of_all(std::slice::from_ref(disk), limits).pop().unwrap_or_else(|| Ok(Layout::new()))
}

/// Finds all volumes of the disks of one machine: a layout a disk, in their order. Volume groups that lie on several
/// are put together, and told with the first of these disks.
///
/// Each has its own `Err`, as [`volumes`] has it.
#[must_use]
pub fn volumes_of_all(disks: &[Arc<dyn ReadAt>], limits: &Limits) -> Vec<Result<Layout>> {
    let found: Vec<Result<(Layout, Vec<Range<u64>>)>> =
        disks.iter().map(|disk| partitions(disk, limits)).collect();
    let mut newest = BTreeMap::new();
    for (layout, _) in found.iter().flatten() {
        layout.newest_members(&mut newest);
    }
    let mut physical = Vec::new();
    let mut layouts: Vec<Result<Layout>> = Vec::new();
    for (number, (disk, found)) in disks.iter().zip(found).enumerate() {
        let layout = found.and_then(|(mut layout, tables)| {
            layout.open_arrays(&mut newest, limits)?;
            let mut found = layout.physical_volumes(number, limits)?;
            layout.check_overlaps();
            layout.account(disk, tables, limits)?;
            physical.append(&mut found);
            Ok(layout)
        });
        layouts.push(layout);
    }
    let lvm::Groups { logical, errors } = lvm::logical_volumes(&physical, limits);
    let mut tell = |number: usize, step: &mut dyn FnMut(&mut Layout) -> Result<()>| {
        let Some(layout) = layouts.get_mut(number) else { return };
        if let Ok(known) = layout
            && let Err(error) = step(known)
        {
            *layout = Err(error);
        }
    };
    for (number, error) in errors {
        let mut error = Some(error);
        tell(number, &mut |layout| {
            layout.problems.extend(error.take());
            Ok(())
        });
    }
    for (number, logical) in logical {
        let mut logical = Some(logical);
        tell(number, &mut |layout| match logical.take() {
            Some(logical) => layout.add_logical(logical, limits),
            None => Ok(()),
        });
    }
    for volume in &physical {
        tell(volume.disk, &mut |layout| layout.account_physical(volume, &physical, limits));
    }
    layouts
}

impl Volume {
    fn new(
        place: impl Into<String>,
        ranges: Vec<Range<u64>>,
        kind: impl Into<String>,
        data: Option<Arc<dyn ReadAt>>,
        limits: &Limits,
    ) -> Result<Self> {
        let all = match &data {
            Some(data) => probe_all(&**data)?,
            None => Vec::new(),
        };
        let role = match (&data, all.as_slice()) {
            (None, _) => Role::Unreadable("passes the end of the disk".to_owned()),
            (Some(data), []) => role(FsKind::Unknown, &**data, limits)?,
            (Some(data), [one]) => role(one.kind, &**data, limits)?,
            (Some(_), several) => {
                let names: Vec<String> = several.iter().map(|one| one.kind.to_string()).collect();
                Role::Unreadable(format!(
                    "ambiguous: it has the superblocks of {} (hint: `wipefs` shows and removes what is left over)",
                    names.join(" and of ")
                ))
            }
        };
        let probed = match all.as_slice() {
            [one] => one.clone(),
            _ => Probed { kind: FsKind::Unknown, uuid: None, label: None },
        };
        let size_bytes =
            ranges.iter().map(|range| range.end.saturating_sub(range.start)).fold(0, u64::saturating_add);
        Ok(Volume {
            place: place.into(),
            number: None,
            ranges,
            size_bytes,
            name: None,
            kind: kind.into(),
            part_uuid: None,
            logical: None,
            spans_disks: false,
            probed,
            role,
            data,
        })
    }
}

/// The bytes of a range, unless it passes the end.
fn part(disk: &Arc<dyn ReadAt>, range: &Range<u64>) -> Option<Arc<dyn ReadAt>> {
    let len = range.end.checked_sub(range.start)?;
    let section = Section::new(Arc::clone(disk), range.start, len).ok()?;
    Some(Arc::new(section))
}

impl Layout {
    fn new() -> Self {
        Layout {
            table: Table::None,
            sector_bytes: 512,
            disk_id: None,
            volumes: Vec::new(),
            rest: Vec::new(),
            notes: Vec::new(),
            problems: Vec::new(),
        }
    }

    /// The member of each array that has counted the most events.
    fn newest_members(&self, newest: &mut BTreeMap<[u8; 16], Newest>) {
        for volume in self.volumes.iter().filter(|volume| volume.probed.kind == FsKind::MdRaid) {
            let Some(data) = &volume.data else { continue };
            if let Ok(Some(member)) = md::member(&**data)
                && !member.is_idle
            {
                let known = newest.entry(member.set_uuid).or_default();
                known.events = known.events.max(member.events);
            }
        }
    }

    /// Opens arrays, each by one of its newest members.
    fn open_arrays(&mut self, newest: &mut BTreeMap<[u8; 16], Newest>, limits: &Limits) -> Result<()> {
        let mut inner = Vec::new();
        for volume in &mut self.volumes {
            if volume.probed.kind != FsKind::MdRaid {
                continue;
            }
            let Some(data) = &volume.data else { continue };
            let Some(member) = md::member(&**data)? else { continue };
            if member.level != 1 || !member.is_settled {
                let state = if member.is_settled { "" } else { " that is being rebuilt" };
                let why = format!("a member of a RAID array of level {}{state}", member.level);
                volume.role = Role::Unreadable(why);
                continue;
            }
            let Some(known) = newest.get_mut(&member.set_uuid).filter(|_| !member.is_idle) else {
                self.notes.push(format!("{}: a spare or failed member of an array: not read", volume.place));
                continue;
            };
            if member.events < known.events {
                self.notes.push(format!(
                    "{}: an old member of an array, not read: it counts {} events, another one {}",
                    volume.place, member.events, known.events
                ));
                continue;
            }
            if std::mem::replace(&mut known.is_open, true) {
                continue;
            }
            let (start, size_bytes) = member.data;
            let Some(array) = part(data, &(start..start.saturating_add(size_bytes))) else {
                volume.role = Role::Unreadable("its RAID superblock names data behind its end".to_owned());
                continue;
            };
            let ranges = match volume.ranges.as_slice() {
                [range] => {
                    let start = range.start.saturating_add(start);
                    let range = start..start.saturating_add(size_bytes);
                    vec![range]
                }
                _ => Vec::new(),
            };
            let place = format!("array in {}", volume.place);
            let kind = format!("mdraid {} raid1", member.version);
            let mut volume = Volume::new(place, ranges, kind, Some(array), limits)?;
            if volume.probed.kind == FsKind::MdRaid {
                volume.role =
                    Role::Unreadable("a member of an array inside of an array: not opened".to_owned());
            }
            inner.push(volume);
        }
        self.volumes.append(&mut inner);
        Ok(())
    }

    /// The physical volumes of LVM on this disk, which has this number.
    fn physical_volumes(&mut self, disk: usize, limits: &Limits) -> Result<Vec<lvm::PhysicalVolume>> {
        let mut found = Vec::new();
        for volume in &mut self.volumes {
            let (FsKind::Lvm2, Some(data)) = (volume.probed.kind, &volume.data) else { continue };
            let start = volume.ranges.first().filter(|_| volume.ranges.len() == 1).map(|range| range.start);
            match lvm::PhysicalVolume::read(Arc::clone(data), (disk, &volume.place), start, limits) {
                Ok(physical) => found.push(physical),
                Err(error) if matches!(error.kind(), crate::error::Kind::Io(_)) => return Err(error),
                Err(error) => volume.role = Role::Unreadable(error.to_string()),
            }
        }
        Ok(found)
    }

    fn add_logical(&mut self, logical: lvm::Logical, limits: &Limits) -> Result<()> {
        let place = format!("logical volume {}/{}", logical.group, logical.name);
        let (data, error) = match logical.data {
            Ok(data) => (Some(data), None),
            Err(error) => (None, Some(error)),
        };
        let kind = format!("LVM {}", logical.kind);
        let mut volume = Volume::new(place, logical.ranges, kind, data, limits)?;
        if volume.role == Role::Container {
            let why = format!("a {} inside of a logical volume: not opened", volume.probed.kind);
            volume.role = Role::Unreadable(why);
        }
        if let Some(error) = error {
            volume.role = Role::Unreadable(error.to_string());
        }
        volume.size_bytes = logical.size_bytes;
        volume.spans_disks = logical.spans_disks;
        volume.part_uuid = Some(logical.uuid).filter(|uuid| !uuid.is_empty());
        volume.logical = Some((logical.group, logical.name));
        self.volumes.push(volume);
        Ok(())
    }

    /// What of a physical volume is in no logical one.
    fn account_physical(
        &mut self,
        volume: &lvm::PhysicalVolume,
        all: &[lvm::PhysicalVolume],
        limits: &Limits,
    ) -> Result<()> {
        for (range, is_tables) in lvm::unused(volume, all) {
            let state = match is_tables {
                true => RestState::Tables,
                false => look(&*volume.data, range.clone(), limits.blank_bytes)?,
            };
            let offset_bytes = volume.start.map(|start| start.saturating_add(range.start));
            let found = search::search(&volume.data, &range, state, limits)?;
            self.rest.push(Rest { range, within: Some(volume.place.clone()), offset_bytes, state, found });
        }
        Ok(())
    }

    /// Partitions that lie over each other.
    fn check_overlaps(&mut self) {
        let mut ranges: Vec<_> = self.volumes.iter().filter(|v| v.number.is_some()).collect();
        ranges.sort_by_key(|volume| volume.ranges.first().map(|range| range.start));
        let mut problems = Vec::new();
        for pair in ranges.windows(2) {
            if let [first, second] = pair
                && let ([a], [b]) = (first.ranges.as_slice(), second.ranges.as_slice())
                && b.start < a.end
            {
                let found = format!("{} and {} overlap", first.place, second.place);
                problems.push(Error::malformed(
                    "partition table",
                    "partition",
                    b.start,
                    found,
                    "ranges apart",
                ));
            }
        }
        self.problems.append(&mut problems);
    }

    /// What is in none of the partitions.
    fn account(&mut self, disk: &Arc<dyn ReadAt>, tables: Vec<Range<u64>>, limits: &Limits) -> Result<()> {
        let size_bytes = disk.size_bytes();
        let partitions = self.volumes.iter().filter(|v| v.number.is_some() || self.table == Table::None);
        let mut taken: Vec<(Range<u64>, bool)> = tables.into_iter().map(|range| (range, true)).collect();
        taken.extend(partitions.flat_map(|volume| volume.ranges.iter().cloned()).map(|range| (range, false)));
        taken.sort_by_key(|(range, _)| (range.start, range.end));
        let first = taken.iter().filter(|(_, is_table)| !is_table).map(|(range, _)| range.start).min();
        let boot_end = first.unwrap_or(0).min(BOOT_CODE_END);
        let mut at = 0;
        taken.push((size_bytes..size_bytes, false));
        for (range, is_table) in taken {
            let (start, end) = (range.start.min(size_bytes), range.end.min(size_bytes));
            if at < start {
                let mut state = look(&**disk, at..start, limits.blank_bytes)?;
                if matches!(state, RestState::NotBlank(_)) && start <= boot_end {
                    state = RestState::BootCode;
                }
                let found = search::search(disk, &(at..start), state, limits)?;
                self.rest.push(Rest { range: at..start, within: None, offset_bytes: Some(at), state, found });
            }
            if is_table && at.max(start) < end {
                match self.rest.last_mut() {
                    Some(last) if last.state == RestState::Tables && last.range.end == at.max(start) => {
                        last.range.end = end;
                    }
                    _ => self.rest.push(Rest {
                        range: at.max(start)..end,
                        within: None,
                        offset_bytes: Some(at.max(start)),
                        state: RestState::Tables,
                        found: None,
                    }),
                }
            }
            at = at.max(end);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk of 1 MiB with a GPT of these partitions: first and last sectors.
    fn gpt(partitions: &[(u64, u64)]) -> Arc<dyn ReadAt> {
        let mut disk = vec![0; 1 << 20];
        for (at, (first, last)) in (1024..).step_by(128).zip(partitions) {
            disk[at] = 1;
            disk[at + 32..at + 40].copy_from_slice(&first.to_le_bytes());
            disk[at + 40..at + 48].copy_from_slice(&last.to_le_bytes());
        }
        let entries = crc32fast::hash(&disk[1024..1024 + 128 * 128]);
        let header = &mut disk[512..604];
        header[..8].copy_from_slice(b"EFI PART");
        for (at, value) in
            [(8, 0x1_0000_u32), (12, 92), (24, 1), (72, 2), (80, 128), (84, 128), (88, entries)]
        {
            header[at..at + 4].copy_from_slice(&value.to_le_bytes());
        }
        let sum = crc32fast::hash(header);
        header[16..20].copy_from_slice(&sum.to_le_bytes());
        Arc::new(disk)
    }

    #[test]
    fn a_partition_that_ends_before_it_begins_cannot_be_read() {
        let layout = volumes(&gpt(&[(100, 200), (1 << 40, 0), (300, 400), (500, 4000)]), &Limits::default());
        let layout = layout.unwrap();
        let told: Vec<_> = layout.volumes.iter().map(|v| (v.ranges.clone(), v.role.clone())).collect();
        let range = |first: u64, last: u64| std::iter::once(first * 512..(last + 1) * 512).collect();
        let unreadable = |why: &str| Role::Unreadable(why.into());
        assert_eq!(
            told,
            [
                (range(100, 200), Role::NoSoftware("blank")),
                (Vec::new(), unreadable("ends before it begins")),
                (range(300, 400), Role::NoSoftware("blank")),
                (range(500, 4000), unreadable("passes the end of the disk")),
            ]
        );
    }
}
