//! Databases that are folders, one a package: pacman's and portage's.

use std::collections::BTreeMap;

use crate::model::{Ecosystem, ImagePath, Package, Time};
use crate::stratum::Node;

use super::super::squash::{Resolved, Squashed};
use super::super::{Fact, pacman, portage};

/// The database that a collector's file is of.
pub(super) fn database(collector: &str, path: &ImagePath) -> ImagePath {
    match collector {
        "pacman" => pacman::database(path),
        "portage" => path.parent().parent().parent(),
        _ => path.clone(),
    }
}

/// Folders of packages that have no record, which neither manager takes as installed: their files may be there.
pub(super) fn without_record(squashed: &Squashed) -> Vec<(String, String)> {
    let of_pacman = pacman::PLACES.iter().map(|place| (*place, 1, &b"desc"[..], "pacman"));
    let all = of_pacman.chain([(portage::PLACE, 2, portage::NAME, "portage")]);
    all.flat_map(|(place, depth, record, manager)| {
        let Resolved::Directory(real) = squashed.resolve(&ImagePath::from(place)) else { return Vec::new() };
        let mut folders: BTreeMap<ImagePath, bool> = BTreeMap::new();
        for (path, node) in squashed.below(&real) {
            let is_directory = matches!(node, Node::Directory(_) | Node::Opaque);
            let Some(parts) = path.below(&real).map(|below| below.split(|b| *b == b'/').count()) else {
                continue;
            };
            // A link may be to a folder.
            if parts == depth && (is_directory || matches!(node, Node::Symlink(_))) {
                folders.entry(path.clone()).or_default();
            } else if parts > depth {
                let folder = (depth..parts).fold(path.clone(), |path, _| path.parent());
                let is_record = parts == depth + 1 && path.name() == record && !is_directory;
                *folders.entry(folder).or_default() |= is_record;
            }
        }
        let bare = folders.into_iter().filter(|(_, has_record)| !has_record);
        let told = bare.map(|(folder, _)| {
            let record = String::from_utf8_lossy(record);
            (
                folder.to_string(),
                format!("a package's folder in {manager}'s database, and no `{record}` in it"),
            )
        });
        told.collect()
    })
    .collect()
}

/// Joins what portage keeps in files of their own into its packages: slot, architecture, time of building.
pub(super) fn join_notes(squashed: &Squashed, packages: &mut [Package]) {
    for package in packages.iter_mut().filter(|package| package.ecosystem == Ecosystem::Ebuild) {
        let note = |name: &str| {
            let found = squashed.found(&package.path.parent().join(name))?;
            found.iter().flat_map(|part| &part.facts).find_map(|(_, fact)| match fact {
                Fact::Note(text) if !text.is_empty() => Some(text.clone()),
                _ => None,
            })
        };
        // `5.2/5.2`: the slot, and behind the slash what others were built against.
        let slot = note("SLOT").and_then(|slot| slot.split('/').next().map(ToOwned::to_owned));
        let arch = note("CHOST").and_then(|host| host.split('-').next().map(ToOwned::to_owned));
        let built_at = note("BUILD_TIME").and_then(|text| Time::from_epoch_text(&text).ok());
        package.stream = slot.filter(|slot| slot != "0");
        package.arch = arch.unwrap_or_default();
        package.built_at = built_at.filter(|time| time.unix() != 0);
    }
}
