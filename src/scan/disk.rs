//! A VM image: disks become volumes, volumes become trees, trees become the roots of systems, and every byte
//! is accounted for.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use crate::bytes::ReadAt;
use crate::collect::{assemble, follow_up, nothing_found, squash};
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::model::{Coverage, Gap, ImagePath, Inventory, StratumId, System};
use crate::root::{self, Found, Nested, SystemRoot};
use crate::source::NamedDisk;
use crate::source::disk::Disk;
use crate::tree::{self, BlockCache, Btrfs, BtrfsDevice, FileTree, Stacked, TreeStratum};
use crate::volume::{self, Found as Hidden, FoundKind, FsKind, Layout, RestState, Role, Table};

use super::run::Run;
use super::{Needs, gather_root, nothing_looked_for, required};

/// The volumes of all disks of an image, and what was said of them before systems were looked for.
#[derive(Default)]
struct Volumes {
    roots: Vec<root::Volume>,
    about: Vec<About>,
}

/// What is to be said of one volume.
struct About {
    coverage: Coverage,
    role: Role,
}

/// Reads the systems of an image's disks into its inventory.
pub(super) fn systems(inventory: &mut Inventory, disks: Vec<NamedDisk>, run: &Run<'_>) {
    let limits = &run.options.source.limits;
    let mut volumes = Volumes::default();
    let mut opened = Vec::new();
    for (index, NamedDisk { name, disk, notes }) in disks.into_iter().enumerate() {
        match disk {
            Ok(mut disk) => {
                disk.notes.extend(notes);
                opened.push((index, name, disk));
            }
            Err(error) => {
                let place = Place { name: &name, disk: index };
                inventory.gaps.push(place.gap("image", &error));
                inventory.coverage.push(Coverage::of_place(place.of("image"), "disk image", "disk", false));
            }
        }
    }
    // What lies on several disks of a machine is put together.
    let data: Vec<_> = opened.iter().map(|(_, _, disk)| Arc::clone(&disk.data)).collect();
    let layouts = volume::volumes_of_all(&data, limits);
    let mut joined = joined(&layouts);
    for ((index, name, disk), layout) in opened.into_iter().zip(layouts) {
        add_disk(
            inventory,
            &mut volumes,
            (&Place { name: &name, disk: index }, &mut joined),
            disk,
            layout,
            limits,
        );
    }
    add_nested(&mut volumes, limits);
    let Found { systems: found, passed, gaps } = root::systems(&volumes.roots, limits);
    inventory.gaps.extend(gaps);
    account(inventory, &volumes, &found);
    for (index, what, path) in passed {
        let Some(volume) = volumes.roots.get(index) else { continue };
        let place = format!("{}: subvolume {path}", volume.place);
        let mut row = Coverage::of_place(place, what, "no system boots from it", false);
        row.note = Some("told, and not counted as a system".to_owned());
        inventory.coverage.push(row);
    }
    if run.options.needs == Needs::NONE {
        inventory.gaps.push(nothing_looked_for());
        return;
    }
    let is_one = found.len() == 1;
    let (mut read_systems, mut all) = (Vec::new(), Vec::new());
    for system in found {
        read_systems.push(read(&system, run));
        all.push(system);
    }
    for (system, (read, gaps, coverage, options)) in all.iter().zip(read_systems) {
        let name = system.place.clone();
        let place = |gap: Gap| match is_one {
            true => gap,
            false => Gap { place: format!("{name}: {}", gap.place), ..gap },
        };
        inventory.gaps.extend(system.gaps.iter().cloned().map(place));
        inventory.gaps.extend(gaps.into_iter().map(place));
        let contradicted =
            options.iter().flat_map(|line| root::contradicted(system, line, &all, &volumes.roots));
        let boot = |reason| Gap { place: "boot".to_owned(), reason, required: true };
        inventory.gaps.extend(contradicted.map(boot).map(place));
        let here = |row: Coverage| match is_one {
            true => row,
            false => Coverage { place: format!("{name}: {}", row.place), ..row },
        };
        inventory.coverage.extend(coverage.into_iter().map(here));
        if let Some(mut system) = read {
            system.volume = (!is_one).then_some(name);
            inventory.systems.push(system);
        }
    }
    if inventory.systems.is_empty() && !inventory.gaps.iter().any(|gap| gap.required) {
        let reason = "no operating system was found on any of its volumes".to_owned();
        inventory.gaps.push(Gap { place: "disk".into(), reason, required: true });
    }
}

/// The devices of file systems that have several, by the UUID of the file system.
type Joined = BTreeMap<[u8; 16], Devices>;

#[derive(Default)]
struct Devices {
    numbers: BTreeSet<u64>,
    data: Vec<Arc<dyn ReadAt>>,
    /// Whether the file system was opened with the first of them.
    is_opened: bool,
}

/// The devices of each btrfs that has several, on all disks. Of a device that is there twice nobody knows which is
/// meant: then each is looked at alone.
fn joined(layouts: &[Result<Layout>]) -> Joined {
    let mut joined = Joined::new();
    let mut twice = BTreeSet::new();
    for volume in layouts.iter().flatten().flat_map(|layout| &layout.volumes) {
        let (FsKind::Btrfs, Some(data)) = (volume.probed.kind, &volume.data) else { continue };
        let Ok(device) = BtrfsDevice::read(&**data) else { continue };
        if device.count > 1 {
            let devices = joined.entry(device.fsid).or_default();
            devices.data.push(Arc::clone(data));
            if !devices.numbers.insert(device.number) {
                twice.insert(device.fsid);
            }
        }
    }
    joined.retain(|fsid, devices| devices.data.len() > 1 && !twice.contains(fsid));
    joined
}

/// What one system holds; its gaps; the databases that were found; the command lines of what boots.
fn read(system: &SystemRoot, run: &Run<'_>) -> (Option<System>, Vec<Gap>, Vec<Coverage>, Vec<String>) {
    let limits = &run.options.source.limits;
    let mut gaps = Vec::new();
    let stratum = match TreeStratum::new(StratumId(0), system.mounts.clone(), Arc::clone(limits)) {
        Ok(stratum) => stratum,
        Err(error) => return (None, vec![required(&error)], Vec::new(), Vec::new()),
    };
    let facts = gather_root(&stratum, run).unwrap_or_else(|error| {
        gaps.push(required(&error));
        Default::default()
    });
    let mut squashed = squash(vec![facts]);
    follow_up(&mut squashed, &[&stratum], &run.collectors, limits, &());
    let assembled = assemble(&squashed, run.options.needs, limits);
    gaps.extend(assembled.gaps);
    if !gaps.iter().chain(&system.gaps).any(|gap| gap.required) {
        gaps.extend(nothing_found(&assembled.system));
    }
    let System { os, packages, .. } = &assembled.system;
    let is_one = os.is_some() || !packages.is_empty();
    (is_one.then_some(assembled.system), gaps, assembled.coverage, assembled.boot_options)
}

/// A disk of the image, by its name where there are several.
struct Place<'a> {
    name: &'a str,
    /// Which of the image's disks it is.
    disk: usize,
}

impl Place<'_> {
    /// A place on it.
    fn of(&self, within: &str) -> String {
        match self.name {
            "" => within.to_owned(),
            name => format!("{name}: {within}"),
        }
    }

    /// What could not be read there.
    fn gap(&self, within: &str, error: &Error) -> Gap {
        let gap = required(error);
        let within =
            if gap.place == "image" { within.to_owned() } else { format!("{within}: {}", gap.place) };
        Gap { place: self.of(&within), ..gap }
    }
}

/// Adds the volumes of a disk, and says what is in none of them.
fn add_disk(
    inventory: &mut Inventory,
    volumes: &mut Volumes,
    (place, joined): (&Place<'_>, &mut Joined),
    disk: Disk,
    layout: Result<Layout>,
    limits: &Arc<Limits>,
) {
    let over: String = disk.parents.iter().map(|parent| format!(" over {parent}")).collect();
    let mut row = Coverage::of_place(place.of("image"), &format!("{}{over}", disk.format), "disk", true);
    row.size_bytes = Some(disk.data.size_bytes());
    let doubts = disk.doubts.into_iter();
    inventory.gaps.extend(doubts.map(|reason| Gap { place: place.of("image"), reason, required: true }));
    let mut notes = disk.notes;
    // A hypervisor starts them when somebody asks it to.
    let snapshots = notes.iter().filter(|note| note.starts_with("internal snapshots"));
    let told = |reason: &String| Gap { place: place.of("image"), reason: reason.clone(), required: false };
    inventory.gaps.extend(snapshots.map(told));
    match layout {
        Ok(layout) => {
            notes.extend(layout.notes.iter().cloned());
            inventory.gaps.extend(layout.problems.iter().map(|error| place.gap("partition table", error)));
            rest(inventory, &layout, place);
            add_volumes(inventory, volumes, layout, (place, joined), limits);
        }
        Err(error) => {
            inventory.gaps.push(place.gap("disk", &error));
            row.read = false;
        }
    }
    row.note = (!notes.is_empty()).then(|| notes.join("; "));
    inventory.coverage.push(row);
}

fn add_volumes(
    inventory: &mut Inventory,
    volumes: &mut Volumes,
    layout: Layout,
    (disk, joined): (&Place<'_>, &mut Joined),
    limits: &Arc<Limits>,
) {
    let cache = BlockCache::new(limits);
    let is_disk = layout.table == Table::None;
    for (index, mut volume) in layout.volumes.into_iter().enumerate() {
        let devices = match (volume.probed.kind, &volume.data) {
            (FsKind::Btrfs, Some(data)) => {
                BtrfsDevice::read(&**data).ok().and_then(|device| joined.get_mut(&device.fsid))
            }
            _ => None,
        };
        let place = match volume.spans_disks {
            true => volume.place.clone(),
            false => disk.of(&volume.place),
        };
        let data = volume.data.clone();
        let tree: Result<Arc<dyn FileTree>> = match (&volume.role, volume.data) {
            (Role::Candidate, Some(_)) if let Some(devices) = devices => {
                if devices.is_opened {
                    volume.role = Role::NoSoftware("device of a btrfs");
                    Err(Error::config("it is a device of a btrfs, which was read with its first one"))
                } else {
                    devices.is_opened = true;
                    let opened = Btrfs::open_all(&devices.data, &cache, Arc::clone(limits));
                    opened.map(|tree| -> Arc<dyn FileTree> { Arc::new(tree) })
                }
            }
            (Role::Candidate | Role::NoSoftware(_), Some(data)) => {
                tree::open(volume.probed.kind, data, &cache, limits)
            }
            (Role::Unreadable(why), _) => Err(Error::config(why.clone())),
            (Role::Container, _) => Err(Error::config("it holds other volumes")),
            (_, None) => Err(Error::config("it passes the end of the disk")),
        };
        let part_kind = volume.kind.clone();
        let mut row = Coverage::of_place(place.clone(), &volume.probed.kind.to_string(), "", true);
        row.size_bytes = Some(volume.size_bytes);
        row.offset_bytes = match volume.ranges.as_slice() {
            [range] => Some(range.start),
            _ => None,
        };
        let named: Vec<String> = [Some(volume.kind), volume.name.clone(), volume.probed.label]
            .into_iter()
            .flatten()
            .filter(|text| !text.is_empty() && text != "whole disk")
            .fold(Vec::new(), |mut all: Vec<String>, text| {
                if !all.contains(&text) {
                    all.push(text);
                }
                all
            });
        row.note = (!named.is_empty()).then(|| named.join(", "));
        if let (Ok(tree), Some(data)) = (&tree, &data) {
            let end = tree.identity().size_bytes;
            // What is less than a block belongs to the last one.
            if end.saturating_add(tree.identity().block_bytes.into()) <= volume.size_bytes {
                let start =
                    volume.ranges.first().filter(|_| volume.ranges.len() == 1).map(|range| range.start);
                behind(inventory, data, end..volume.size_bytes, (&place, start), limits);
            }
        }
        volumes.about.push(About { coverage: row, role: volume.role.clone() });
        volumes.roots.push(root::Volume {
            place,
            disk: disk.disk,
            number: volume.number,
            is_disk: is_disk && index == 0,
            part_uuid: volume.part_uuid,
            part_label: volume.name,
            part_kind,
            holds_none: matches!(volume.role, Role::NoSoftware(_)),
            logical: volume.logical,
            tree,
        });
    }
}

/// Adds file systems that lie in files of live media, and those in these.
fn add_nested(volumes: &mut Volumes, limits: &Arc<Limits>) {
    let mut at = 0;
    while let Some(volume) = volumes.roots.get(at) {
        at += 1;
        let Ok(tree) = &volume.tree else { continue };
        let deeper = (volume.place.matches(": /").count() as u64).saturating_add(1);
        let is_allowed = limits.nested_images.check(deeper).map(|_| ());
        let (outer, disk) = (volume.place.clone(), volume.disk);
        for Nested { path, layers } in root::nested(&**tree, limits) {
            let place = format!("{outer}: {path}");
            let below = layers.len().saturating_sub(1);
            let below: Vec<String> = layers.iter().take(below).map(|(path, _)| path.to_string()).collect();
            let (kind, size_bytes, tree) = match &is_allowed {
                Ok(()) => open_nested(layers, limits),
                Err(error) => ("file".to_owned(), None, Err(error.clone())),
            };
            let mut row = Coverage::of_place(place.clone(), &kind, "", true);
            row.size_bytes = size_bytes;
            row.note = (!below.is_empty()).then(|| format!("laid over {}", below.join(", ")));
            volumes.about.push(About { coverage: row, role: Role::Candidate });
            volumes.roots.push(root::Volume {
                place,
                disk,
                number: None,
                is_disk: false,
                part_uuid: None,
                part_label: None,
                part_kind: String::new(),
                holds_none: false,
                logical: None,
                tree,
            });
        }
    }
}

/// The file system in a file, or in several that are layers of one: its kind, the bytes of all files, and its tree.
fn open_nested(
    layers: Vec<(ImagePath, Result<Arc<dyn ReadAt>>)>,
    limits: &Arc<Limits>,
) -> (String, Option<u64>, Result<Arc<dyn FileTree>>) {
    let is_one = layers.len() == 1;
    let (mut kinds, mut size_bytes) = (Vec::new(), Some(0_u64));
    let mut trees = Vec::new();
    for (path, file) in layers {
        let opened = file.and_then(|file| {
            let kind = volume::probe(&*file)?.kind;
            kinds.push(kind.to_string());
            size_bytes = size_bytes.map(|sum| sum.saturating_add(file.size_bytes()));
            tree::open(kind, file, &BlockCache::new(limits), limits)
        });
        trees.push(opened.map_err(|error| if is_one { error } else { error.at(path.to_string()) }));
    }
    if kinds.len() < trees.len() {
        size_bytes = None;
    }
    kinds.dedup();
    let kind = if kinds.is_empty() { "file".to_owned() } else { kinds.join(", ") };
    let trees: Result<Vec<_>> = trees.into_iter().collect();
    let tree = trees.and_then(|mut trees| match (trees.len(), trees.pop()) {
        (1, Some(tree)) => Ok(tree),
        (_, last) => {
            trees.extend(last);
            Ok(Arc::new(Stacked::new(trees, Arc::clone(limits))?) as Arc<dyn FileTree>)
        }
    });
    (kind, size_bytes, tree)
}

/// Says what is behind the end of a file system in its volume, at a place and, if it is known, from a byte of the
/// disk on.
fn behind(
    inventory: &mut Inventory,
    volume: &Arc<dyn ReadAt>,
    range: Range<u64>,
    (place, start): (&str, Option<u64>),
    limits: &Limits,
) {
    let at = format!("{place}: bytes {} to {}", range.start, range.end);
    let told = volume::behind(volume, range.clone(), limits);
    let mut required = false;
    let (what, role, unread) = match told {
        Ok((_, FsKind::Verity, _)) => ("dm-verity hashes", "hashes of another volume", None),
        Ok((_, _, Some(found))) if found.what != FoundKind::GptHeader => {
            required = true;
            ("unknown", BEHIND, Some(found_there("behind the end of the file system", found)))
        }
        Ok((RestState::NotBlank(_), kind, _)) if kind != FsKind::Unknown => {
            let why =
                format!("behind the end of the file system, and it begins as {kind} does: not looked into");
            ("unknown", BEHIND, Some(why))
        }
        Ok((state, ..)) => state_of(state, "behind the end of the file system", BEHIND),
        Err(error) => ("unknown", BEHIND, Some(error.to_string())),
    };
    let mut row = Coverage::of_place(at.clone(), what, role, unread.is_none());
    row.offset_bytes = start.map(|start| start.saturating_add(range.start));
    row.size_bytes = Some(range.end.saturating_sub(range.start));
    inventory.coverage.push(row);
    // No system mounts it, unless there is one in it.
    inventory.gaps.extend(unread.map(|reason| Gap { place: at, reason, required }));
}

/// Why what is known and in no volume is a gap. `place` says in a sentence where it is.
fn found_there(place: &str, found: Hidden) -> String {
    let Hidden { at, what } = found;
    format!(
        "{place}, and {what} begins at byte {at}: not looked into (hint: name it in the partition table, or wipe it)"
    )
}

/// The role of what is behind a file system.
const BEHIND: &str = "behind a file system";

/// What a range is, what it is there for, and why it was not read. `place` says in a sentence where it is.
fn state_of(
    state: RestState,
    place: &str,
    role: &'static str,
) -> (&'static str, &'static str, Option<String>) {
    match state {
        RestState::Tables => ("partition table", "partition table", None),
        RestState::BootCode => ("boot code", "boot loader", None),
        RestState::Blank => ("blank", role, None),
        RestState::BlankAtFirst(looked) => {
            let why = format!(
                "{place}; only its first {looked} bytes were looked through, and are blank (limit `blank_bytes`)"
            );
            ("blank as far as looked", role, Some(why))
        }
        RestState::NotBlank(at) => {
            let why = format!("{place}, and not blank: the first byte that is not zero is at {at}");
            ("unknown", role, Some(why))
        }
    }
}

/// Says what is in no volume.
fn rest(inventory: &mut Inventory, layout: &Layout, disk: &Place<'_>) {
    for rest in &layout.rest {
        let len = rest.range.end.saturating_sub(rest.range.start);
        let nowhere = match rest.within {
            None => "in no volume",
            Some(_) => "in no logical volume",
        };
        let mut required = false;
        let (what, role, unread) = match (&rest.within, rest.state, rest.found) {
            (_, _, Some(found)) if found.what != FoundKind::GptHeader => {
                required = true;
                ("unknown", nowhere, Some(found_there(nowhere, found)))
            }
            (None, RestState::BootCode, Some(_)) => {
                ("partition table, not in use, and what else", "boot loader", None)
            }
            (Some(_), RestState::Tables, _) => ("LVM metadata", "describes other volumes", None),
            (_, state, _) => state_of(state, nowhere, nowhere),
        };
        let at = format!("bytes {} to {}", rest.range.start, rest.range.end);
        let at = match &rest.within {
            None => disk.of(&at),
            Some(volume) => disk.of(&format!("{volume}: {at}")),
        };
        let mut row = Coverage::of_place(at.clone(), what, role, unread.is_none());
        (row.offset_bytes, row.size_bytes) = (rest.offset_bytes, Some(len));
        inventory.coverage.push(row);
        // No system boots from there or mounts it, unless there is one in it.
        inventory.gaps.extend(unread.map(|reason| Gap { place: at, reason, required }));
    }
}

/// Says of every volume what it is there for, and makes a gap of what no system explains.
fn account(inventory: &mut Inventory, volumes: &Volumes, systems: &[SystemRoot]) {
    for (index, (about, volume)) in volumes.about.iter().zip(&volumes.roots).enumerate() {
        let mut row = about.coverage.clone();
        let users: Vec<&SystemRoot> = systems.iter().filter(|system| system.uses.contains(&index)).collect();
        let mut points: Vec<String> = users
            .iter()
            .flat_map(|system| system.mounts.iter().filter(|mount| mount.place == volume.place))
            .map(|mount| mount.path.to_string())
            .collect();
        points.sort();
        points.dedup();
        let error = volume.tree.as_ref().err();
        row.role = match (&about.role, points.is_empty()) {
            (Role::Container, _) => "holds other volumes".to_owned(),
            (Role::NoSoftware(what), true) => (*what).to_owned(),
            (_, false) => points.join(", "),
            (_, true) if !users.is_empty() => "mounted, not read".to_owned(),
            (_, true) if error.is_some() => "unknown".to_owned(),
            (_, true) => "no system on it, mounted by none".to_owned(),
        };
        let holds_none = matches!(about.role, Role::Container | Role::NoSoftware(_));
        if let Some(error) = error.filter(|_| !holds_none) {
            row.read = false;
            row.note = Some(match row.note.take() {
                Some(note) => format!("{}; {note}", error.reason()),
                None => error.reason(),
            });
            // Where a system mounts it, that says whether it matters.
            if users.is_empty() {
                let mut gap = required(error);
                gap.place = match gap.place.as_str() {
                    "image" => volume.place.clone(),
                    within => format!("{}: {within}", volume.place),
                };
                inventory.gaps.push(gap);
            }
        }
        inventory.coverage.push(row);
    }
}
