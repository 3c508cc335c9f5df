//! LVM2 (`lib/format_text` of LVM2): labels, physical volumes, and the text that describes a volume group.
//!
//! | at | bytes | label, in one of the first four sectors | | at | bytes | header of a metadata area |
//! |---|---|---|---|---|---|---|
//! | 0 | 8 | `LABELONE` | | 0 | 4 | checksum of the rest of the sector |
//! | 8 | 8 | own sector | | 4 | 16 | ` LVM2 x[5A%r0N*>` |
//! | 16 | 4 | checksum from 20 on | | 20 | 4 | version, 1 |
//! | 20 | 4 | offset of the header behind | | 24, 32 | 8, 8 | where the area begins, its size |
//! | 24 | 8 | `LVM2 001` | | 40 | 24 | the text: offset, size, checksum, flags |
//!
//! The header of a physical volume has its UUID (32 letters), its size, and two lists of (offset, size) that end
//! with zeros: data areas and metadata areas. A metadata area is a ring behind its header; the text may go around
//! its end. The checksum is CRC-32 that begins with 0xf597a6cf and is not inverted.
//!
//! Volumes of linear and striped segments are read. Thin, cached, mirrored, RAID and snapshot volumes are named.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use super::probe::peek;
use crate::bytes::{ReadAt, array_at, le_u32, le_u64, passes_end, size_of_len, sum_holds};
use crate::error::{Error, Result, quoted};
use crate::limits::Limits;

mod text;

use text::{Section, Value};

const SECTOR: u64 = 512;
const FORMAT: &str = "LVM2";

fn wrong<T>(
    field: &'static str,
    offset: impl Into<Option<u64>>,
    found: impl Into<String>,
    allowed: &str,
) -> Result<T> {
    Err(Error::malformed(FORMAT, field, offset, found, allowed))
}

fn checksum(bytes: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new_with_initial(!0xf597_a6cf);
    sum.update(bytes);
    !sum.finalize()
}

/// The sector of the label and where in it the header of the physical volume begins.
fn label_sector(volume: &dyn ReadAt) -> Result<Option<([u8; 512], usize)>> {
    for sector in 0..4 {
        let Some(bytes) = peek::<512>(volume, SECTOR.saturating_mul(sector))? else { break };
        let is_one = bytes.starts_with(b"LABELONE")
            && array_at(&bytes, 24) == *b"LVM2 001"
            && le_u64(&bytes, 8) == sector
            && sum_holds(le_u32(&bytes, 16), checksum(bytes.get(20..).unwrap_or_default()));
        if is_one {
            let header = usize::try_from(le_u32(&bytes, 20)).unwrap_or(usize::MAX).min(512);
            return Ok(Some((bytes, header)));
        }
    }
    Ok(None)
}

/// The UUID of a physical volume, if the volume is one.
pub(super) fn label(volume: &dyn ReadAt) -> Result<Option<String>> {
    let Some((bytes, header)) = label_sector(volume)? else { return Ok(None) };
    Ok(Some(dashed(&array_at::<32>(&bytes, header))))
}

/// LVM's way to write a UUID.
fn dashed(id: &[u8; 32]) -> String {
    let mut out = String::new();
    for (at, c) in String::from_utf8_lossy(id).chars().enumerate() {
        if matches!(at, 6 | 10 | 14 | 18 | 22 | 26) {
            out.push('-');
        }
        out.push(c);
    }
    out
}

/// A physical volume and the newest description in it.
pub(super) struct PhysicalVolume {
    pub(super) uuid: String,
    pub(super) data: Arc<dyn ReadAt>,
    /// Which disk of the image it lies on.
    pub(super) disk: usize,
    /// Its place, as that of the volume that it is.
    pub(super) place: String,
    /// Where its label says that extents begin.
    data_start: u64,
    /// Where it begins on the disk, if it is a range of it.
    pub(super) start: Option<u64>,
    /// Name of the group, UUID of the group, sequence number, description; `None` in an unused volume.
    group: Option<Group>,
}

#[derive(Clone)]
struct Group {
    name: String,
    id: String,
    sequence: u64,
    section: Arc<Section>,
}

impl PhysicalVolume {
    /// Reads the label and the metadata areas.
    pub(super) fn read(
        data: Arc<dyn ReadAt>,
        (disk, place): (usize, &str),
        start: Option<u64>,
        limits: &Limits,
    ) -> Result<Self> {
        let Some((bytes, header)) = label_sector(&*data)? else {
            return wrong("label", None, "none", "one in the first four sectors");
        };
        let uuid = dashed(&array_at::<32>(&bytes, header));
        let mut lists = bytes.get(header.saturating_add(40)..).unwrap_or_default().chunks_exact(16);
        let mut list = || -> Vec<(u64, u64)> {
            lists
                .by_ref()
                .map(|pair| (le_u64(pair, 0), le_u64(pair, 8)))
                .take_while(|(at, _)| *at != 0)
                .collect()
        };
        let (data_areas, areas) = (list(), list());
        let data_start = data_areas.first().map_or(0, |(at, _)| *at);
        let (mut group, mut first_error): (Option<Group>, _) = (None, None);
        for (at, size) in areas {
            match area(&*data, at, size, limits) {
                Ok(None) => {}
                Ok(Some(found)) => {
                    if group.as_ref().is_none_or(|group| group.sequence < found.sequence) {
                        group = Some(found);
                    }
                }
                Err(error) => {
                    first_error.get_or_insert(error);
                }
            }
        }
        match (group, first_error) {
            (None, Some(error)) => Err(error),
            (group, _) => {
                Ok(PhysicalVolume { uuid, data, disk, place: place.to_owned(), data_start, start, group })
            }
        }
    }
}

/// The text of a metadata area; `None` if it has none.
fn area(data: &dyn ReadAt, at: u64, size: u64, limits: &Limits) -> Result<Option<Group>> {
    let Some(bytes) = peek::<512>(data, at)? else {
        return wrong("metadata area", at, "behind the end", "inside of the physical volume");
    };
    if array_at(&bytes, 4) != *b" LVM2 x[5A%r0N*>" || le_u32(&bytes, 20) != 1 {
        return wrong("metadata area", at, "another magic or version", "` LVM2 x[5A%r0N*>`, version 1");
    }
    let (found, sum) = (le_u32(&bytes, 0), checksum(bytes.get(4..).unwrap_or_default()));
    if !sum_holds(found, sum) {
        return wrong(
            "checksum of the metadata area",
            at,
            format!("{found:#x}"),
            &format!("the sum {sum:#x}"),
        );
    }
    let ring = le_u64(&bytes, 32).min(size);
    let location = bytes.get(40..).unwrap_or_default();
    let (offset, len) = (le_u64(location, 0), le_u64(location, 8));
    if offset == 0 || len == 0 || le_u32(location, 20) & 1 != 0 {
        return Ok(None);
    }
    let len = limits.lvm_metadata_bytes.check(len)?;
    if !(SECTOR..ring).contains(&offset) || len > ring.saturating_sub(SECTOR) {
        return wrong(
            "metadata text",
            at,
            format!("{len} bytes at {offset}"),
            &format!("in the {ring} bytes of the area"),
        );
    }
    let mut text = vec![0; usize::try_from(len).unwrap_or_default()];
    let before_end = usize::try_from(ring.saturating_sub(offset)).unwrap_or(usize::MAX).min(text.len());
    let (head, tail) = text.split_at_mut(before_end);
    data.read_exact_at(at.saturating_add(offset), head)?;
    if !tail.is_empty() {
        data.read_exact_at(at.saturating_add(SECTOR), tail)?;
    }
    let (found, sum) = (le_u32(location, 16), checksum(&text));
    if !sum_holds(found, sum) {
        return wrong(
            "checksum of the metadata text",
            at,
            format!("{found:#x}"),
            &format!("the sum {sum:#x}"),
        );
    }
    let root = text::parse(&text)?;
    let Some((name, section)) = root.sections().next() else {
        return wrong("metadata text", at, "no volume group", "a section with its name");
    };
    let id = section.text("id").unwrap_or_default().to_owned();
    let sequence = section.number("seqno").unwrap_or(0);
    Ok(Some(Group { name: name.to_owned(), id, sequence, section: Arc::new(section.clone()) }))
}

/// A logical volume.
pub(super) struct Logical {
    pub(super) group: String,
    pub(super) name: String,
    pub(super) uuid: String,
    /// What its first segment is.
    pub(super) kind: String,
    pub(super) size_bytes: u64,
    /// Its ranges of the disk, where all are known, in its own order for linear segments.
    pub(super) ranges: Vec<Range<u64>>,
    /// Whether it lies on several disks.
    pub(super) spans_disks: bool,
    pub(super) data: Result<Arc<dyn ReadAt>>,
}

/// What was found of groups on the disks of an image.
pub(super) struct Groups {
    /// Logical volumes, and the disk that each is told with.
    pub(super) logical: Vec<(usize, Logical)>,
    /// What is wrong with groups, and the disk that it is told with.
    pub(super) errors: Vec<(usize, Error)>,
}

/// The newest description of each group that these are of, by the group's UUID.
fn newest<'a>(volumes: impl Iterator<Item = &'a PhysicalVolume>) -> BTreeMap<&'a str, &'a Group> {
    let mut newest: BTreeMap<&str, &Group> = BTreeMap::new();
    for group in volumes.filter_map(|volume| volume.group.as_ref()) {
        let kept = newest.entry(&group.id).or_insert(group);
        if kept.sequence < group.sequence {
            *kept = group;
        }
    }
    newest
}

/// The logical volumes of all groups that these physical volumes belong to. A group that one disk has all of is
/// that disk's own, so that copies of a disk are apart; else it is put together out of all disks.
pub(super) fn logical_volumes(found: &[PhysicalVolume], limits: &Limits) -> Groups {
    let mut groups = Groups { logical: Vec::new(), errors: Vec::new() };
    let mut joined: BTreeSet<&str> = BTreeSet::new();
    let over_all = newest(found.iter());
    let disks: BTreeSet<usize> = found.iter().map(|volume| volume.disk).collect();
    for disk in disks {
        let own = || found.iter().filter(|volume| volume.disk == disk);
        for (id, group) in newest(own()) {
            let here: Vec<&PhysicalVolume> = own().collect();
            let is_whole = group.members().all(|uuid| here.iter().any(|volume| volume.uuid == uuid));
            let (group, candidates) = match (is_whole, over_all.get(id)) {
                (false, Some(newest)) => (*newest, found.iter().collect()),
                _ => (group, here),
            };
            if !is_whole && !joined.insert(id) {
                continue;
            }
            match group.volumes(&candidates, limits) {
                Ok(volumes) => groups.logical.extend(volumes.into_iter().map(|volume| (disk, volume))),
                Err(error) => {
                    groups.errors.push((disk, error.at(format!("volume group `{}`", group.name))));
                }
            }
        }
    }
    groups
        .logical
        .sort_by(|(a_disk, a), (b_disk, b)| (a_disk, &a.group, &a.name).cmp(&(b_disk, &b.group, &b.name)));
    groups
}

/// Ranges of a physical volume that are in no logical one, and whether they are LVM's own tables.
pub(super) fn unused(volume: &PhysicalVolume, found: &[PhysicalVolume]) -> Vec<(Range<u64>, bool)> {
    let size_bytes = volume.data.size_bytes();
    let groups = newest(found.iter());
    let group = volume.group.as_ref().and_then(|own| groups.get(own.id.as_str()));
    let mut taken = Vec::new();
    let mut tables_end = volume.data_start;
    if let Some((start, extents)) = group.and_then(|group| group.taken(&volume.uuid)) {
        tables_end = start;
        taken = extents;
    }
    let tables_end = tables_end.min(size_bytes);
    let mut rest = vec![(0..tables_end, true)];
    taken.push(size_bytes..size_bytes);
    taken.sort_by_key(|range| range.start);
    let mut at = tables_end;
    for range in taken {
        if at < range.start.min(size_bytes) {
            rest.push((at..range.start.min(size_bytes), false));
        }
        at = at.max(range.end);
    }
    rest.retain(|(range, _)| !range.is_empty());
    rest
}

/// A physical volume as a group names it.
struct Member<'a> {
    uuid: String,
    device: String,
    extents_start: u64,
    found: Option<&'a PhysicalVolume>,
    /// Whether there are several of its UUID, so that nobody knows which is meant.
    is_twice: bool,
}

impl Group {
    /// Names, UUIDs and descriptions of its physical volumes.
    fn physical(&self) -> impl Iterator<Item = (&str, &str, &Section)> {
        let sections = self.section.section("physical_volumes").into_iter().flat_map(Section::sections);
        sections.map(|(name, section)| (name, section.text("id").unwrap_or_default(), section))
    }

    /// The UUIDs of its physical volumes.
    fn members(&self) -> impl Iterator<Item = &str> {
        self.physical().map(|(_, uuid, _)| uuid)
    }

    /// Where the extents of a physical volume begin, and its ranges that logical volumes have, the hidden ones
    /// that pools and mirrors are made of too.
    fn taken(&self, uuid: &str) -> Option<(u64, Vec<Range<u64>>)> {
        let extent_bytes = self.section.number("extent_size")?.saturating_mul(SECTOR);
        let (name, _, section) = self.physical().find(|(_, own, _)| *own == uuid)?;
        let start = section.number("pe_start")?.saturating_mul(SECTOR);
        let mut taken = Vec::new();
        let volumes = self.section.section("logical_volumes").into_iter().flat_map(Section::sections);
        for (_, segment) in volumes.flat_map(|(_, volume)| volume.sections()) {
            let extents = segment.number("extent_count").unwrap_or(0);
            for (key, is_divided) in [("stripes", true), ("mirrors", false)] {
                let values: Vec<&Value> = segment.list(key).collect();
                let count = if is_divided { size_of_len(values.len().div_euclid(2)).max(1) } else { 1 };
                let len = extents.div_ceil(count).saturating_mul(extent_bytes);
                for pair in values.chunks_exact(2) {
                    if let [Value::Text(own), Value::Number(extent)] = pair
                        && own == name
                    {
                        let from = extent.saturating_mul(extent_bytes).saturating_add(start);
                        taken.push(from..from.saturating_add(len));
                    }
                }
            }
        }
        Some((start, taken))
    }

    fn volumes(&self, found: &[&PhysicalVolume], limits: &Limits) -> Result<Vec<Logical>> {
        let extent_bytes = self.section.number("extent_size").unwrap_or(0).saturating_mul(SECTOR);
        if extent_bytes == 0 {
            return wrong("extent_size", None, "none", "sectors of an extent");
        }
        let mut members = BTreeMap::new();
        for (name, uuid, section) in self.physical() {
            let mut own = found.iter().filter(|volume| volume.uuid == uuid);
            let member = Member {
                found: own.next().copied(),
                is_twice: own.next().is_some(),
                device: section.text("device").unwrap_or_default().to_owned(),
                extents_start: section.number("pe_start").unwrap_or(0).saturating_mul(SECTOR),
                uuid: uuid.to_owned(),
            };
            members.insert(name.to_owned(), member);
        }
        let sections: Vec<_> =
            self.section.section("logical_volumes").into_iter().flat_map(Section::sections).collect();
        // What holds the changes of a snapshot looks like a volume of its own.
        let stores: Vec<&str> = sections
            .iter()
            .flat_map(|(_, volume)| volume.sections())
            .filter_map(|(_, segment)| segment.text("cow_store"))
            .collect();
        let mut volumes = Vec::new();
        let mut segments = 0;
        for (name, section) in sections {
            if !section.list("status").any(|status| status.as_text() == Some("VISIBLE")) {
                continue;
            }
            segments = size_of_len(section.sections().count()).saturating_add(segments);
            limits.lvm_segments.check(segments)?;
            volumes.push(self.volume(name, section, extent_bytes, &members, stores.contains(&name)));
        }
        Ok(volumes)
    }

    fn volume(
        &self,
        name: &str,
        section: &Section,
        extent_bytes: u64,
        members: &BTreeMap<String, Member<'_>>,
        is_snapshot: bool,
    ) -> Logical {
        let mut segments: Vec<&Section> = section.sections().map(|(_, segment)| segment).collect();
        segments.sort_by_key(|segment| segment.number("start_extent"));
        let kind = |segment: &Section| segment.text("type").unwrap_or("none").to_owned();
        let mut pieces = Pieces { segments: Vec::new(), size_bytes: 0, disks: BTreeSet::new() };
        let mut ranges = Some(Vec::new());
        let mut error = is_snapshot.then(|| Error::unsupported("a snapshot of another logical volume"));
        for segment in &segments {
            if error.is_none() {
                error = pieces.push(segment, extent_bytes, members, &mut ranges).err();
            }
        }
        let extents = segments.iter().filter_map(|segment| segment.number("extent_count"));
        let size_bytes = extents.fold(0u64, u64::saturating_add).saturating_mul(extent_bytes);
        Logical {
            group: self.name.clone(),
            name: name.to_owned(),
            uuid: section.text("id").unwrap_or_default().to_owned(),
            kind: segments.first().map_or("none".to_owned(), |segment| kind(segment)),
            size_bytes,
            ranges: ranges.filter(|_| pieces.disks.len() == 1).unwrap_or_default(),
            spans_disks: pieces.disks.len() > 1,
            data: match error {
                Some(error) => Err(error),
                None => Ok(Arc::new(pieces)),
            },
        }
    }
}

/// A logical volume out of pieces of physical volumes.
struct Pieces {
    segments: Vec<Segment>,
    size_bytes: u64,
    /// The disks that it lies on.
    disks: BTreeSet<usize>,
}

struct Segment {
    start: u64,
    size_bytes: u64,
    /// Bytes in one stripe before the next goes on; all where there is one.
    stripe_bytes: u64,
    stripes: Vec<(Arc<dyn ReadAt>, u64)>,
}

impl Pieces {
    fn push(
        &mut self,
        section: &Section,
        extent_bytes: u64,
        members: &BTreeMap<String, Member<'_>>,
        ranges: &mut Option<Vec<Range<u64>>>,
    ) -> Result<()> {
        let kind = section.text("type").unwrap_or("none");
        if !matches!(kind, "striped" | "linear") {
            return Err(Error::unsupported(format!("a logical volume of type {}", quoted(kind))));
        }
        let number = |key: &'static str| match section.number(key) {
            Some(number) => Ok(number),
            None => wrong(key, None, "none", "a number"),
        };
        let start = number("start_extent")?.saturating_mul(extent_bytes);
        let size_bytes = number("extent_count")?.saturating_mul(extent_bytes);
        if start != self.size_bytes || size_bytes == 0 {
            let found = format!("{size_bytes} bytes from {start:#x} on");
            return wrong("segment", None, found, &format!("one that begins at {:#x}", self.size_bytes));
        }
        let values: Vec<&Value> = section.list("stripes").collect();
        let count = size_of_len(values.len().div_euclid(2));
        let stripe_bytes = match count {
            0 => return wrong("stripes", None, "none", "at least one"),
            1 => size_bytes,
            _ => number("stripe_size")?.saturating_mul(SECTOR),
        };
        let each = size_bytes.div_euclid(count.max(1));
        if stripe_bytes == 0 || each.saturating_mul(count) != size_bytes || each.rem_euclid(stripe_bytes) != 0
        {
            let found = format!("{count} of {stripe_bytes} bytes in {size_bytes}");
            return wrong("stripes", None, found, "whole stripes");
        }
        let mut stripes = Vec::new();
        for pair in values.chunks_exact(2) {
            let [Value::Text(name), Value::Number(extent)] = pair else {
                return wrong("stripes", None, "another value", "names and extents");
            };
            let Some(member) = members.get(name) else {
                return Err(Error::unsupported(format!("a logical volume over {}", quoted(name))));
            };
            let Some(volume) = member.found else {
                let missing = format!("physical volume {} (it was {})", member.uuid, quoted(&member.device));
                return Err(Error::not_found(missing).hint("the group has volumes on another disk"));
            };
            if member.is_twice {
                return wrong("physical volume", None, format!("{} twice", member.uuid), "one of each UUID");
            }
            self.disks.insert(volume.disk);
            let from = extent.saturating_mul(extent_bytes).saturating_add(member.extents_start);
            if from.saturating_add(each) > volume.data.size_bytes() {
                let found = format!("{each} bytes at {from:#x}");
                let allowed = format!("inside of the {} bytes of the volume", volume.data.size_bytes());
                return wrong("stripe", None, found, &allowed);
            }
            match (volume.start, &mut *ranges) {
                (Some(base), Some(ranges)) => {
                    let from = base.saturating_add(from);
                    ranges.push(from..from.saturating_add(each));
                }
                _ => *ranges = None,
            }
            stripes.push((Arc::clone(&volume.data), from));
        }
        self.segments.push(Segment { start, size_bytes, stripe_bytes, stripes });
        self.size_bytes = self.size_bytes.saturating_add(size_bytes);
        Ok(())
    }
}

impl ReadAt for Pieces {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read_exact_at(&self, offset: u64, dst: &mut [u8]) -> Result<()> {
        let passes = || passes_end(offset, dst.len(), self.size_bytes);
        if offset.checked_add(size_of_len(dst.len())).is_none_or(|end| end > self.size_bytes) {
            return Err(passes());
        }
        let (mut at, mut rest) = (offset, dst);
        while !rest.is_empty() {
            let after = self.segments.partition_point(|segment| segment.start <= at);
            let Some(segment) = after.checked_sub(1).and_then(|index| self.segments.get(index)) else {
                return Err(passes_end(at, rest.len(), self.size_bytes));
            };
            let within = at.saturating_sub(segment.start);
            let count = size_of_len(segment.stripes.len()).max(1);
            let (row, in_stripe) =
                (within.div_euclid(segment.stripe_bytes), within.rem_euclid(segment.stripe_bytes));
            let index = usize::try_from(row.rem_euclid(count)).unwrap_or(usize::MAX);
            let left =
                segment.stripe_bytes.saturating_sub(in_stripe).min(segment.size_bytes.saturating_sub(within));
            let len = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
            let Some((volume, from)) = segment.stripes.get(index) else {
                return Err(passes_end(at, rest.len(), self.size_bytes));
            };
            let from = row
                .div_euclid(count)
                .saturating_mul(segment.stripe_bytes)
                .saturating_add(in_stripe)
                .saturating_add(*from);
            let (head, tail) = rest.split_at_mut(len);
            volume.read_exact_at(from, head)?;
            rest = tail;
            at = at.saturating_add(size_of_len(len));
        }
        Ok(())
    }

    fn prefetch(&self, ranges: &[Range<u64>]) {
        for range in ranges {
            for segment in self.segments.iter().filter(|segment| segment.stripes.len() == 1) {
                let start = range.start.max(segment.start);
                let end = range.end.min(segment.start.saturating_add(segment.size_bytes));
                if let ([(volume, from)], true) = (segment.stripes.as_slice(), start < end) {
                    let moved = |at: u64| at.saturating_sub(segment.start).saturating_add(*from);
                    volume.prefetch(std::slice::from_ref(&(moved(start)..moved(end))));
                }
            }
        }
    }
}
