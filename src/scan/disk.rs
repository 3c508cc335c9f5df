//! A VM image: disks become volumes, volumes become trees, trees become the roots of systems, and every byte
//! is accounted for.

use std::sync::Arc;

use crate::bytes::ReadAt;
use crate::collect::{assemble, follow_up, nothing_found, squash};
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::model::{Coverage, Gap, ImagePath, Inventory, StratumId, System};
use crate::root::{self, Found, Nested, SystemRoot};
use crate::source::NamedDisk;
use crate::tree::{self, BlockCache, FileTree, Stacked, TreeStratum};
use crate::volume::{self, Layout, RestState, Role, Table};

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
    for disk in disks {
        add_disk(inventory, &mut volumes, disk, limits);
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
    for system in found {
        let name = system.place.clone();
        let place = |gap: Gap| match is_one {
            true => gap,
            false => Gap { place: format!("{name}: {}", gap.place), ..gap },
        };
        inventory.gaps.extend(system.gaps.iter().cloned().map(place));
        let (read, gaps, coverage) = read(system, run);
        inventory.gaps.extend(gaps.into_iter().map(place));
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

/// What one system holds; its gaps; the databases that were found.
fn read(system: SystemRoot, run: &Run<'_>) -> (Option<System>, Vec<Gap>, Vec<Coverage>) {
    let limits = &run.options.source.limits;
    let mut gaps = Vec::new();
    let stratum = match TreeStratum::new(StratumId(0), system.mounts, Arc::clone(limits)) {
        Ok(stratum) => stratum,
        Err(error) => return (None, vec![required(&error)], Vec::new()),
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
    (is_one.then_some(assembled.system), gaps, assembled.coverage)
}

/// Adds the volumes of a disk, and says what is in none of them.
fn add_disk(inventory: &mut Inventory, volumes: &mut Volumes, named: NamedDisk, limits: &Arc<Limits>) {
    let NamedDisk { name, disk } = named;
    let place = |within: &str| match name.as_str() {
        "" => within.to_owned(),
        name => format!("{name}: {within}"),
    };
    let gap = |within: &str, error: &Error| {
        let gap = required(error);
        let within =
            if gap.place == "image" { within.to_owned() } else { format!("{within}: {}", gap.place) };
        Gap { place: place(&within), ..gap }
    };
    let disk = match disk {
        Ok(disk) => disk,
        Err(error) => {
            inventory.gaps.push(gap("image", &error));
            inventory.coverage.push(Coverage::of_place(place("image"), "disk image", "disk", false));
            return;
        }
    };
    let over: String = disk.parents.iter().map(|parent| format!(" over {parent}")).collect();
    let mut row = Coverage::of_place(place("image"), &format!("{}{over}", disk.format), "disk", true);
    row.size_bytes = Some(disk.data.size_bytes());
    let doubts = disk.doubts.into_iter();
    inventory.gaps.extend(doubts.map(|reason| Gap { place: place("image"), reason, required: true }));
    let mut notes = disk.notes;
    match volume::volumes(&disk.data, limits) {
        Ok(layout) => {
            notes.extend(layout.notes.iter().cloned());
            inventory.gaps.extend(layout.problems.iter().map(|error| gap("partition table", error)));
            rest(inventory, &layout, &place);
            add_volumes(volumes, layout, &place, limits);
        }
        Err(error) => {
            inventory.gaps.push(gap("disk", &error));
            row.read = false;
        }
    }
    row.note = (!notes.is_empty()).then(|| notes.join("; "));
    inventory.coverage.push(row);
}

fn add_volumes(volumes: &mut Volumes, layout: Layout, place: &dyn Fn(&str) -> String, limits: &Arc<Limits>) {
    let cache = BlockCache::new(limits);
    let is_disk = layout.table == Table::None;
    for (index, volume) in layout.volumes.into_iter().enumerate() {
        let tree = match (&volume.role, volume.data) {
            (Role::Candidate | Role::NoSoftware(_), Some(data)) => {
                tree::open(volume.probed.kind, data, &cache, limits)
            }
            (Role::Unreadable(why), _) => Err(Error::config(why.clone())),
            (Role::Container, _) => Err(Error::config("it holds other volumes")),
            (_, None) => Err(Error::config("it passes the end of the disk")),
        };
        let place = place(&volume.place);
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
        volumes.about.push(About { coverage: row, role: volume.role.clone() });
        volumes.roots.push(root::Volume {
            place,
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
        if volume.place.matches(": /").count() as u64 >= limits.nested_images.max {
            continue;
        }
        let outer = volume.place.clone();
        for Nested { path, layers } in root::nested(&**tree) {
            let place = format!("{outer}: {path}");
            let below = layers.len().saturating_sub(1);
            let below: Vec<String> = layers.iter().take(below).map(|(path, _)| path.to_string()).collect();
            let (kind, size_bytes, tree) = open_nested(layers, limits);
            let mut row = Coverage::of_place(place.clone(), &kind, "", true);
            row.size_bytes = size_bytes;
            row.note = (!below.is_empty()).then(|| format!("laid over {}", below.join(", ")));
            volumes.about.push(About { coverage: row, role: Role::Candidate });
            volumes.roots.push(root::Volume {
                place,
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

/// Says what is in no volume.
fn rest(inventory: &mut Inventory, layout: &Layout, place: &dyn Fn(&str) -> String) {
    for rest in &layout.rest {
        let len = rest.range.end.saturating_sub(rest.range.start);
        let (what, role, unread) = match rest.state {
            RestState::Tables => ("partition table", "partition table", None),
            RestState::BootCode => ("boot code", "boot loader", None),
            RestState::Blank => ("blank", "in no volume", None),
            RestState::BlankAtFirst(looked) => {
                let why = format!(
                    "in no volume; only its first {looked} bytes were looked through, and are blank (limit `blank_bytes`)"
                );
                ("blank as far as looked", "in no volume", Some(why))
            }
            RestState::NotBlank(at) => {
                let why = format!("in no volume, and not blank: the first byte that is not zero is at {at}");
                ("unknown", "in no volume", Some(why))
            }
        };
        let at = format!("bytes {} to {}", rest.range.start, rest.range.end);
        let mut row = Coverage::of_place(place(&at), what, role, unread.is_none());
        (row.offset_bytes, row.size_bytes) = (Some(rest.range.start), Some(len));
        inventory.coverage.push(row);
        // No system boots from there or mounts it.
        inventory.gaps.extend(unread.map(|reason| Gap { place: place(&at), reason, required: false }));
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
