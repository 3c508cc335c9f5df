//! Which packages are installed at last, and since which stratum.

mod databases;

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Ecosystem, Gap, ImagePath, Package, StratumId};

use super::super::Fact;
use super::super::gather::Found;
use super::super::squash::Squashed;

/// A package by what only one of can be installed: ecosystem, name, architecture; with rpm and portage also the
/// version, because they keep several of some (kernels, slots); with pacman not the architecture, because it keeps
/// one of a name.
type Key = (Ecosystem, String, String, String);

fn key(package: &Package) -> Key {
    let version = match package.ecosystem {
        Ecosystem::Rpm | Ecosystem::Ebuild => package.version.clone(),
        _ => String::new(),
    };
    let arch = match package.ecosystem {
        // That of portage is joined in from another file later.
        Ecosystem::Alpm | Ecosystem::Ebuild => String::new(),
        _ => package.arch.clone(),
    };
    (package.ecosystem, package.name.clone(), arch, version)
}

/// The installed packages, and a gap for each that is listed twice with different versions.
pub(super) fn installed(squashed: &Squashed) -> (Vec<Package>, Vec<Gap>) {
    let (packages, gaps) = join(squashed.visible());
    (packages.into_values().collect(), gaps)
}

/// Joins databases: lists first, then the changes that are not folded into them, in the order of their paths.
fn join<'s>(files: impl Iterator<Item = (&'s ImagePath, &'s Found)>) -> (BTreeMap<Key, Package>, Vec<Gap>) {
    let files: Vec<(&ImagePath, &Found)> = files.collect();
    let mut packages: BTreeMap<Key, Package> = BTreeMap::new();
    let mut amendments = Vec::new();
    let (outdated, mut gaps) = databases::outdated(&files);
    for (path, found) in files.into_iter().filter(|(path, _)| !outdated.contains(path)) {
        for (_, fact) in found.iter().flat_map(|part| &part.facts) {
            match fact {
                Fact::Packages(list) => {
                    for package in list {
                        add(&mut packages, path, package, &mut gaps);
                    }
                }
                Fact::Amendments(list) => amendments.extend(list.iter().map(|change| (path, change))),
                _ => {}
            }
        }
    }
    for (path, change) in amendments {
        let key = (change.ecosystem, change.name.clone(), change.arch.clone(), String::new());
        if !change.is_multi_arch_same
            && let Some(other) = only_one_named(&packages, change.ecosystem, &change.name)
        {
            packages.remove(&other); // it was installed for another architecture before
        }
        match &change.package {
            Some(package) => packages.insert(key, Package { path: path.clone(), ..package.clone() }),
            None => packages.remove(&key),
        };
    }
    (packages, gaps)
}

/// The installed package of this name, if there is just one.
fn only_one_named(packages: &BTreeMap<Key, Package>, ecosystem: Ecosystem, name: &str) -> Option<Key> {
    let mut named = packages
        .range((ecosystem, name.to_owned(), String::new(), String::new())..)
        .take_while(|((e, n, ..), _)| *e == ecosystem && n == name);
    match (named.next(), named.next()) {
        (Some((key, _)), None) => Some(key.clone()),
        _ => None,
    }
}

fn add(packages: &mut BTreeMap<Key, Package>, path: &ImagePath, package: &Package, gaps: &mut Vec<Gap>) {
    let key = key(package);
    match packages.get(&key) {
        None => {
            packages.insert(key, Package { path: path.clone(), ..package.clone() });
        }
        // Twice in one file is told where the file is read.
        Some(first) if first.version == package.version || first.path == *path => {}
        Some(first) => gaps.push(Gap {
            place: path.to_string(),
            reason: format!(
                "{}:{} is listed twice: {} here, {} in {}",
                package.name, package.arch, package.version, first.version, first.path
            ),
            required: true,
        }),
    }
}

/// Sets each package's stratum: the lowest since which its name and version are unbroken.
pub(super) fn attribute(squashed: &Squashed, packages: &mut [Package]) {
    let databases: BTreeSet<ImagePath> = squashed
        .ever_found()
        .filter_map(|(path, mut times)| {
            times
                .any(|found| {
                    found
                        .iter()
                        .flat_map(|part| &part.facts)
                        .any(|(_, fact)| matches!(fact, Fact::Packages(_) | Fact::Amendments(_)))
                })
                .then(|| path.clone())
        })
        .collect();
    let states: Vec<(StratumId, BTreeMap<Key, Package>)> = squashed
        .changes(databases.iter())
        .into_iter()
        .map(|stratum| {
            let files =
                databases.iter().filter_map(|path| Some((path, squashed.found_as_of(path, stratum)?)));
            (stratum, join(files).0)
        })
        .collect();
    for package in packages {
        let key = key(package);
        let since = states
            .iter()
            .rev()
            .take_while(|(_, state)| state.get(&key).is_some_and(|then| then.version == package.version))
            .last();
        package.stratum = since.map_or(StratumId(0), |(stratum, _)| *stratum);
    }
}
