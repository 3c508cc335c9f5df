//! One system beside another: what booting the second instead of the first would change.
//!
//! Pure. Packages are paired as the baseline pairs them: by ecosystem, name and architecture, kernels by slot;
//! they are compared in source-version space and told once per source with their binaries beneath. `a` is
//! what is there now, `b` what would be booted.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::baseline::{SideBySide, Slot, joined_source, slot_of_package, source_of};
use crate::model::{Ecosystem, Package, SourcePackage, System, version};

#[cfg(test)]
mod tests;

/// What happens to a package, or to the packages of one source; worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// `b` has an older version: it undoes an upgrade.
    Downgraded,
    /// `b` has a newer version.
    Upgraded,
    /// Another build of the same source version, with nothing older or newer built in.
    Rebuilt,
    /// Only `b` has it.
    Added,
    /// Only `a` has it.
    Removed,
}

/// How two systems differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SystemChange {
    /// Sums.
    pub counts: ChangeCounts,
    /// The changes, the worst first, then by source.
    pub sources: Vec<SourceChange>,
}

/// Sums over two systems.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct ChangeCounts {
    /// Packages that both have in the same build.
    pub unchanged: usize,
    /// Upgrades that `b` undoes, each source's once.
    pub downgraded: usize,
    /// Of these, those of which it is known that CVE ids are named only by what `a` has.
    pub downgraded_with_cves: usize,
    /// Upgrades that `b` brings, each source's once.
    pub upgraded: usize,
    /// Of these, those of which it is known that CVE ids are named only by what `b` has.
    pub upgraded_with_cves: usize,
    /// Sources that are only built anew.
    pub rebuilt: usize,
    /// Packages that only `b` has.
    pub packages_added: usize,
    /// Packages that only `a` has.
    pub packages_removed: usize,
    /// Distinct CVE ids that only the changelogs of `a` name, of sources that `b` downgrades.
    pub cves_only_in_a: usize,
    /// Distinct CVE ids that only the changelogs of `b` name, of sources that `b` upgrades.
    pub cves_only_in_b: usize,
}

/// One source whose packages change in one way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SourceChange {
    /// What happens.
    pub change: Step,
    /// Whose version order it follows.
    pub ecosystem: Ecosystem,
    /// The source package; `b`'s, where the packages come from another source there.
    pub source: String,
    /// The source version that `a` has; the binary version where the packages changed their source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub a_version: Option<String>,
    /// The source version that `b` has; the binary version where the packages changed their source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub b_version: Option<String>,
    /// The binary packages, sorted.
    pub packages: Vec<PackageChange>,
    /// Of a downgrade or upgrade the CVE ids that only the newer side's changelog names, sorted; absent where
    /// not both sides carry the source's changelog.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cves: Option<Vec<String>>,
    /// The newer side's changelog does not reach back to the older side's version: there may be more ids.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cves_lower_bound: bool,
}

/// One binary package that changes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct PackageChange {
    /// Its name; `b`'s, where the name carries the version.
    pub name: String,
    /// Its architecture; `b`'s, where both have it.
    pub arch: String,
    /// The slot, where names carry versions; of another upstream series `b`'s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<String>,
    /// Its name in `a`, where that is another one of the same slot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub a_name: Option<String>,
    /// The binary version that `a` has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub a_version: Option<String>,
    /// The binary version that `b` has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub b_version: Option<String>,
    /// Sources that are built into it and differ, where that makes a rebuild an upgrade or a downgrade.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub built_in: Vec<BuiltIn>,
}

/// A source that is built into a package in two versions.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct BuiltIn {
    /// The source package.
    pub source: String,
    /// The newest version of it inside the package of `a`.
    pub a_version: String,
    /// The newest version of it inside the package of `b`.
    pub b_version: String,
}

impl SystemChange {
    /// Whether `b` undoes anything that `a` has.
    #[must_use]
    pub fn undoes(&self) -> bool {
        self.counts.downgraded > 0
    }
}

/// Compares two systems.
#[must_use]
pub fn between(a: &System, b: &System) -> SystemChange {
    let mut sources =
        Grouped { a, b, same_arch: arch_of(a) == arch_of(b), unchanged: 0, groups: BTreeMap::new() };
    let (mut left, mut right) = (keyed(a), keyed(b));
    let keys: BTreeSet<Key> = left.keys().chain(right.keys()).cloned().collect();
    let mut lone: (Lone<'_>, Lone<'_>) = Default::default();
    for key in keys {
        let (of_a, of_b) = (left.remove(&key).unwrap_or_default(), right.remove(&key).unwrap_or_default());
        match (of_a.is_empty(), of_b.is_empty()) {
            (false, false) => sources.pair(&of_a, &of_b, key.slot()),
            _ => match key.across() {
                Some(across) if of_b.is_empty() => lone.0.entry(across).or_default().push((key, of_a)),
                Some(across) => lone.1.entry(across).or_default().push((key, of_b)),
                None => sources.alone(&of_a, &of_b, None),
            },
        }
    }
    pair_series(&mut sources, lone);
    sources.finish()
}

/// Kernels of an upstream series that only one side has, by what they have in common with other series.
type Lone<'a> = BTreeMap<Key, Vec<(Key, Vec<&'a Package>)>>;

/// A kernel of another upstream series takes the place of the one that is not there any more: what each side
/// boots, or else its newest, are compared, the others come or go.
fn pair_series(sources: &mut Grouped<'_>, (mut of_a, mut of_b): (Lone<'_>, Lone<'_>)) {
    let keys: BTreeSet<Key> = of_a.keys().chain(of_b.keys()).cloned().collect();
    for key in keys {
        let by_rank = |series: Option<Vec<(Key, Vec<_>)>>, system: &System| {
            let mut series: Vec<(Key, Vec<&Package>)> = series.unwrap_or_default();
            let standing = |(key, members): &(Key, Vec<_>)| standing(members, key.slot(), system);
            series.sort_by(|x, y| match (standing(x), standing(y)) {
                (Some(x), Some(y)) => x.rank(&y),
                (x, y) => x.is_some().cmp(&y.is_some()),
            });
            series
        };
        let mut a = by_rank(of_a.remove(&key), sources.a);
        let mut b = by_rank(of_b.remove(&key), sources.b);
        if !a.is_empty() && !b.is_empty() {
            let (old, new) = (a.pop(), b.pop());
            let (old, new) = (old.unwrap_or_default(), new.unwrap_or_default());
            sources.pair(&old.1, &new.1, new.0.slot());
        }
        for (key, packages) in a {
            sources.alone(&packages, &[], key.slot());
        }
        for (key, packages) in b {
            sources.alone(&[], &packages, key.slot());
        }
    }
}

/// Which of several packages in one slot stands for all.
fn standing<'a>(members: &[&'a Package], slot: Option<&Slot>, system: &System) -> Option<SideBySide<'a>> {
    SideBySide::of(members.to_vec(), slot, system.boot.as_ref())
}

/// The kernels that a system has, of each slot the one that boots or else the newest: name and version, sorted.
#[must_use]
pub fn kernels(system: &System) -> Vec<String> {
    let mut slots: BTreeMap<(Slot, &str), Vec<&Package>> = BTreeMap::new();
    for package in &system.packages {
        let is_image = |slot: &Slot| slot.kind == "linux-image" || slot.kind == "linux-image-unsigned";
        if let Some(slot) = slot_of_package(package).filter(is_image) {
            slots.entry((slot, &package.arch)).or_default().push(package);
        }
    }
    let mut kernels: Vec<String> = slots
        .into_iter()
        .filter_map(|((slot, _), members)| standing(&members, Some(&slot), system))
        .map(|found| format!("{} {}", found.chosen.name, found.chosen.version))
        .collect();
    kernels.sort();
    kernels
}

/// What pairs a package with one of the other system.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
struct Key {
    /// `None` only in the default.
    ecosystem: Option<Ecosystem>,
    name: String,
    slot: Option<Slot>,
    /// Empty for the system's own and for `all` and `noarch`, of which a system can have only one.
    foreign_arch: String,
}

impl Key {
    fn slot(&self) -> Option<&Slot> {
        self.slot.as_ref()
    }

    /// The same without the upstream series of a kernel; `None` if it is none.
    fn across(&self) -> Option<Key> {
        let slot = self.slot.as_ref()?;
        let slot = Slot { series: String::new(), ..slot.clone() };
        Some(Key { name: slot.to_string(), slot: Some(slot), ..self.clone() })
    }
}

fn arch_of(system: &System) -> Option<&str> {
    system.platform.as_ref().map(|platform| platform.arch.as_str())
}

fn keyed(system: &System) -> BTreeMap<Key, Vec<&Package>> {
    let native = arch_of(system);
    let mut packages: BTreeMap<Key, Vec<&Package>> = BTreeMap::new();
    for package in &system.packages {
        let slot = slot_of_package(package);
        let is_own =
            matches!(package.arch.as_str(), "all" | "noarch") || Some(package.arch.as_str()) == native;
        let key = Key {
            ecosystem: Some(package.ecosystem),
            name: slot.as_ref().map_or_else(|| package.name.clone(), Slot::to_string),
            slot,
            foreign_arch: if is_own { String::new() } else { package.arch.clone() },
        };
        packages.entry(key).or_default().push(package);
    }
    packages
}

/// What binary packages of one source have in common.
type Group = (Step, Ecosystem, String, Option<String>, Option<String>);

/// Changes as they come in.
struct Grouped<'a> {
    a: &'a System,
    b: &'a System,
    same_arch: bool,
    unchanged: usize,
    groups: BTreeMap<Group, Vec<PackageChange>>,
}

impl Grouped<'_> {
    /// Packages that both sides have under one key: what each boots, or else its newest, are compared, others by
    /// their names.
    fn pair(&mut self, of_a: &[&Package], of_b: &[&Package], slot: Option<&Slot>) {
        let (a, b) = (standing(of_a, slot, self.a), standing(of_b, slot, self.b));
        let (Some(SideBySide { chosen: a, .. }), Some(SideBySide { chosen: b, .. })) = (a, b) else { return };
        self.compare(a, b, slot);
        let named = |packages: &[&Package], name: &str| packages.iter().any(|p| p.name == name);
        for package in of_a.iter().filter(|p| ***p != *a && !named(of_b, &p.name)) {
            self.alone(&[package], &[], slot);
        }
        for package in of_b.iter().filter(|p| ***p != *b) {
            match of_a.iter().find(|p| p.name == package.name) {
                None => self.alone(&[], &[package], slot),
                Some(same) if **same != *a => self.compare(same, package, slot),
                // It stands beside another one now.
                Some(_) => {}
            }
        }
    }

    /// Packages that one side has.
    fn alone(&mut self, of_a: &[&Package], of_b: &[&Package], slot: Option<&Slot>) {
        let sides = of_a.iter().map(|p| (Step::Removed, p)).chain(of_b.iter().map(|p| (Step::Added, p)));
        for (step, package) in sides {
            let (source, source_version) = source_of(package);
            let only = |wanted, text: &str| (step == wanted).then(|| text.to_owned());
            let group = (
                step,
                package.ecosystem,
                source.into_owned(),
                only(Step::Removed, source_version),
                only(Step::Added, source_version),
            );
            self.groups.entry(group).or_default().push(PackageChange {
                name: package.name.clone(),
                arch: package.arch.clone(),
                slot: slot.map(Slot::to_string),
                a_name: None,
                a_version: only(Step::Removed, &package.version),
                b_version: only(Step::Added, &package.version),
                built_in: Vec::new(),
            });
        }
    }

    fn compare(&mut self, a: &Package, b: &Package, slot: Option<&Slot>) {
        let ((a_source, a_version), (b_source, b_version)) = (source_of(a), source_of(b));
        let same_source = a_source == b_source;
        // A package that comes from another source now: only its own versions can be compared.
        let (a_version, b_version) =
            if same_source { (a_version, b_version) } else { (&*a.version, &*b.version) };
        let mut built_in = Vec::new();
        let step = match version::compare(a.ecosystem, a_version, b_version) {
            Ordering::Greater => Step::Downgraded,
            Ordering::Less => Step::Upgraded,
            // Builds of another architecture are not compared.
            Ordering::Equal
                if !self.same_arch || version::compare(a.ecosystem, &a.version, &b.version).is_eq() =>
            {
                self.unchanged += 1;
                return;
            }
            Ordering::Equal => {
                built_in = built_in_changes(a, b);
                let order = |x: &BuiltIn| version::compare(a.ecosystem, &x.a_version, &x.b_version);
                let has = |wanted| built_in.iter().any(|x| order(x) == wanted);
                match (has(Ordering::Greater), has(Ordering::Less)) {
                    (true, _) => Step::Downgraded,
                    (false, true) => Step::Upgraded,
                    (false, false) => Step::Rebuilt,
                }
            }
        };
        let group = (
            step,
            b.ecosystem,
            b_source.into_owned(),
            Some(a_version.to_owned()),
            Some(b_version.to_owned()),
        );
        self.groups.entry(group).or_default().push(PackageChange {
            name: b.name.clone(),
            arch: b.arch.clone(),
            slot: slot.map(Slot::to_string),
            a_name: (a.name != b.name).then(|| a.name.clone()),
            a_version: Some(a.version.clone()),
            b_version: Some(b.version.clone()),
            built_in,
        });
    }

    fn finish(self) -> SystemChange {
        let (named_a, named_b) = (Named::of(self.a), Named::of(self.b));
        let mut counts = ChangeCounts { unchanged: self.unchanged, ..ChangeCounts::default() };
        let mut ids: (BTreeSet<String>, BTreeSet<String>) = Default::default();
        let mut sources = Vec::new();
        for ((change, ecosystem, source, a_version, b_version), mut packages) in self.groups {
            packages.sort();
            let named = match (change, &a_version, &b_version) {
                (Step::Downgraded, Some(_), Some(old)) => named_a.beyond(ecosystem, &source, old, &named_b),
                (Step::Upgraded, Some(old), Some(_)) => named_b.beyond(ecosystem, &source, old, &named_a),
                _ => None,
            };
            let with_ids = usize::from(named.as_ref().is_some_and(|(ids, _)| !ids.is_empty()));
            let found = named.iter().flat_map(|(ids, _)| ids.iter().cloned());
            match change {
                Step::Downgraded => {
                    counts.downgraded += 1;
                    counts.downgraded_with_cves += with_ids;
                    ids.0.extend(found);
                }
                Step::Upgraded => {
                    counts.upgraded += 1;
                    counts.upgraded_with_cves += with_ids;
                    ids.1.extend(found);
                }
                Step::Rebuilt => counts.rebuilt += 1,
                Step::Added => counts.packages_added += packages.len(),
                Step::Removed => counts.packages_removed += packages.len(),
            }
            let (cves, cves_lower_bound) = named.map_or((None, false), |(ids, short)| (Some(ids), short));
            sources.push(SourceChange {
                change,
                ecosystem,
                source,
                a_version,
                b_version,
                packages,
                cves,
                cves_lower_bound,
            });
        }
        counts.cves_only_in_a = ids.0.len();
        counts.cves_only_in_b = ids.1.len();
        SystemChange { counts, sources }
    }
}

/// The sources that are built into both packages, in other versions.
fn built_in_changes(a: &Package, b: &Package) -> Vec<BuiltIn> {
    let newest = |package: &Package, name: &str| {
        let of_name = |built: &&SourcePackage| built.name == name;
        let versions = package.built_using.iter().filter(of_name).map(|built| built.version.clone());
        versions.max_by(|x, y| version::compare(package.ecosystem, x, y))
    };
    let names: BTreeSet<&str> = a.built_using.iter().map(|built| built.name.as_str()).collect();
    names
        .into_iter()
        .filter_map(|name| {
            let (a_version, b_version) = (newest(a, name)?, newest(b, name)?);
            let same = version::compare(a.ecosystem, &a_version, &b_version).is_eq();
            (!same).then(|| BuiltIn { source: name.to_owned(), a_version, b_version })
        })
        .collect()
}

/// A version and the CVE ids that its changelog entry names.
type Entry = (String, Vec<String>);

/// What the changelogs of a system name, by source.
struct Named(BTreeMap<(Ecosystem, String), Vec<Entry>>);

impl Named {
    fn of(system: &System) -> Self {
        let mut named: BTreeMap<(Ecosystem, String), Vec<Entry>> = BTreeMap::new();
        for entry in system.releases.iter().filter(|entry| !entry.rebuild) {
            let (source, version) = joined_source(&entry.source, &entry.version);
            let known = named.entry((entry.ecosystem, source.into_owned())).or_default();
            known.push((version.into_owned(), entry.cves.clone()));
        }
        Named(named)
    }

    /// The ids that entries newer than `old` name and the other side does not, and whether entries down to
    /// `old` are missing; `None` if not both sides have the source's changelog.
    fn beyond(
        &self,
        ecosystem: Ecosystem,
        source: &str,
        old: &str,
        other: &Named,
    ) -> Option<(Vec<String>, bool)> {
        let key = (ecosystem, source.to_owned());
        let (ours, theirs) = (self.0.get(&key)?, other.0.get(&key)?);
        let known: BTreeSet<&String> = theirs.iter().flat_map(|(_, ids)| ids).collect();
        let order = |version: &str| version::compare(ecosystem, version, old);
        let newer = ours.iter().filter(|(version, _)| order(version).is_gt()).flat_map(|(_, ids)| ids);
        let ids: BTreeSet<&String> = newer.filter(|id| !known.contains(id)).collect();
        let is_short = !ours.iter().any(|(version, _)| order(version).is_le());
        Some((ids.into_iter().cloned().collect(), is_short))
    }
}
