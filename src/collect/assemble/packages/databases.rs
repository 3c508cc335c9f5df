//! Which of several rpm databases is the system's.
//!
//! rpm has one. Where there are more, the others were left behind when it changed its format or its place; the one
//! in which something was installed last is taken, and the others are told.

use std::collections::{BTreeMap, BTreeSet};

use super::super::super::Fact;
use super::super::super::gather::Found;
use crate::model::{Ecosystem, Gap, ImagePath, Package, Time};

/// What one database comes to.
struct Database<'a> {
    path: &'a ImagePath,
    last_install: Option<Time>,
    /// By name and architecture the versions.
    packages: BTreeMap<(&'a str, &'a str), BTreeSet<&'a str>>,
}

/// The paths of the databases that do not count, with a gap for each whose packages differ: one that no package
/// of its own makes required.
pub(super) fn outdated<'a>(files: &[(&'a ImagePath, &'a Found)]) -> (BTreeSet<&'a ImagePath>, Vec<Gap>) {
    let mut all: Vec<Database<'a>> = files.iter().filter_map(|(path, found)| of(path, found)).collect();
    if all.len() < 2 {
        return (BTreeSet::new(), Vec::new());
    }
    // The newest first; of equals the one with more in it, then by path.
    all.sort_by(|a, b| {
        (b.last_install, b.packages.len()).cmp(&(a.last_install, a.packages.len())).then(a.path.cmp(b.path))
    });
    let Some((newest, others)) = all.split_first() else { return (BTreeSet::new(), Vec::new()) };
    let gaps =
        others.iter().filter(|other| other.packages != newest.packages).map(|other| gap(newest, other));
    (others.iter().map(|other| other.path).collect(), gaps.collect())
}

/// What a database of rpm holds; `None` for any other file.
fn of<'a>(path: &'a ImagePath, found: &'a Found) -> Option<Database<'a>> {
    let part = found.iter().find(|part| part.collector == "rpm")?;
    let lists = part.facts.iter().filter_map(|(_, fact)| match fact {
        Fact::Packages(list) => Some(list),
        _ => None,
    });
    let mut lists = lists.peekable();
    lists.peek()?;
    let list: Vec<&Package> = lists.flatten().filter(|p| p.ecosystem == Ecosystem::Rpm).collect();
    let mut packages: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
    for package in &list {
        packages.entry((&package.name, &package.arch)).or_default().insert(&package.version);
    }
    let last_install = list.iter().filter_map(|package| package.installed_at).max();
    // One that could not be read has an empty list, and counts too, so that what it hides is told.
    Some(Database { path, last_install, packages })
}

/// Packages that only the older database has may be installed all the same: then an image cannot pass.
fn gap(newest: &Database<'_>, other: &Database<'_>) -> Gap {
    let only_here = other.packages.keys().filter(|name| !newest.packages.contains_key(*name));
    let only_here: Vec<&str> = only_here.map(|(name, _)| *name).collect();
    let since = |database: &Database<'_>| match database.last_install {
        Some(at) => format!("last change {at}"),
        None => "no date".to_owned(),
    };
    let of_its_own = match only_here.as_slice() {
        [] => "none that the newer one has not".to_owned(),
        [first, ..] => format!("{} that the newer one has not, such as {first}", only_here.len()),
    };
    Gap {
        place: other.path.to_string(),
        reason: format!(
            "a second rpm database ({}); {} is newer ({}) and is taken. {} packages here, {of_its_own}",
            since(other),
            newest.path,
            since(newest),
            other.packages.len(),
        ),
        required: newest.last_install == other.last_install && !only_here.is_empty(),
    }
}
