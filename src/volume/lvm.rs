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

use std::collections::BTreeMap;
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
    pub(super) fn read(data: Arc<dyn ReadAt>, start: Option<u64>, limits: &Limits) -> Result<Self> {
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
        let (_data_areas, areas) = (list(), list());
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
            (group, _) => Ok(PhysicalVolume { uuid, data, start, group }),
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
    pub(super) data: Result<Arc<dyn ReadAt>>,
}

/// The logical volumes of all groups that these physical volumes belong to, and what is wrong with groups.
pub(super) fn logical_volumes(found: &[PhysicalVolume], limits: &Limits) -> (Vec<Logical>, Vec<Error>) {
    let mut newest: BTreeMap<&str, &Group> = BTreeMap::new();
    for group in found.iter().filter_map(|volume| volume.group.as_ref()) {
        let kept = newest.entry(&group.id).or_insert(group);
        if kept.sequence < group.sequence {
            *kept = group;
        }
    }
    let (mut all, mut errors) = (Vec::new(), Vec::new());
    for group in newest.values() {
        match group.volumes(found, limits) {
            Ok(volumes) => all.extend(volumes),
            Err(error) => errors.push(error.at(format!("volume group `{}`", group.name))),
        }
    }
    all.sort_by(|a, b| (&a.group, &a.name).cmp(&(&b.group, &b.name)));
    (all, errors)
}

/// A physical volume as a group names it.
struct Member<'a> {
    uuid: String,
    device: String,
    extents_start: u64,
    found: Option<&'a PhysicalVolume>,
}

impl Group {
    fn volumes(&self, found: &[PhysicalVolume], limits: &Limits) -> Result<Vec<Logical>> {
        let extent_bytes = self.section.number("extent_size").unwrap_or(0).saturating_mul(SECTOR);
        if extent_bytes == 0 {
            return wrong("extent_size", None, "none", "sectors of an extent");
        }
        let mut members = BTreeMap::new();
        for (name, section) in
            self.section.section("physical_volumes").into_iter().flat_map(Section::sections)
        {
            let uuid = section.text("id").unwrap_or_default().to_owned();
            let member = Member {
                found: found.iter().find(|volume| volume.uuid == uuid),
                device: section.text("device").unwrap_or_default().to_owned(),
                extents_start: section.number("pe_start").unwrap_or(0).saturating_mul(SECTOR),
                uuid,
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
        let mut pieces = Pieces { segments: Vec::new(), size_bytes: 0 };
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
            ranges: ranges.unwrap_or_default(),
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
