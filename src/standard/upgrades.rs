//! The smallest set of upgrades that brings an image back inside the target.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Target;
use crate::drift::{Drift, PackageDrift, Patch};
use crate::model::{Time, version};

/// One source package that has to be upgraded, or of which a version has to boot that is installed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Upgrade {
    /// The source package.
    pub source: String,
    /// Its binary packages in the image that are behind, sorted.
    pub packages: Vec<String>,
    /// The oldest version of it in the image.
    pub image_version: String,
    /// The oldest version that suffices.
    pub at_least: String,
    /// The version that production has adopted.
    pub adopted: String,
    /// The binary packages that production has in slots, where names carry versions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub adopted_packages: Vec<String>,
    /// Instead of an upgrade: the packages that have it, are installed and would not boot. The boot loader's
    /// default has to be one of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub boot_instead: Vec<String>,
    /// Publication of the oldest counted patch that is missed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest: Option<Time>,
}

/// The upgrades that take every counted patch in that was published before `line`, or of which it is not
/// known that it was not; the longest missed first. Where what suffices is installed and would not boot, that is
/// told instead.
#[must_use]
pub fn upgrade_set(drift: &Drift, target: &Target, line: Time) -> Vec<Upgrade> {
    let mut by_source: BTreeMap<(&str, bool), Upgrade> = BTreeMap::new();
    for package in drift.behind() {
        let before = |patch: &&Patch| target.counts(patch) && is_before(patch, line);
        // Newest first: the first that is before the line takes all older ones along.
        let Some(suffices) = package.missed.iter().find(before) else { continue };
        let oldest = package.missed.iter().filter(before).filter_map(Patch::out_by).min();
        let upgrade = upgrade(package, suffices, oldest);
        by_source
            .entry((&package.source, suffices.latent))
            .and_modify(|known| join(known, &upgrade, package))
            .or_insert(upgrade);
    }
    let mut upgrades: Vec<Upgrade> = by_source.into_values().collect();
    upgrades.sort_by(|a, b| {
        let key = |x: &Upgrade| (x.oldest.is_none(), x.oldest, !x.boot_instead.is_empty());
        key(a).cmp(&key(b)).then_with(|| a.source.cmp(&b.source))
    });
    upgrades
}

fn is_before(patch: &Patch, line: Time) -> bool {
    match patch.published {
        Some(published) => published < line,
        None => patch.not_after.is_some_and(|at| at < line) || patch.not_before.is_none_or(|at| at < line),
    }
}

fn upgrade(package: &PackageDrift, suffices: &Patch, oldest: Option<Time>) -> Upgrade {
    Upgrade {
        source: package.source.clone(),
        packages: vec![package.name.clone()],
        image_version: package.image_source_version.clone(),
        at_least: suffices.version.clone(),
        adopted: if suffices.rebuild { &package.baseline_version } else { &package.baseline_source_version }
            .clone()
            .unwrap_or_else(|| suffices.version.clone()),
        adopted_packages: package.baseline_name.iter().cloned().collect(),
        boot_instead: package
            .not_booted
            .iter()
            .filter(|_| suffices.latent)
            .map(|not| not.name.clone())
            .collect(),
        oldest,
    }
}

fn join(known: &mut Upgrade, more: &Upgrade, package: &PackageDrift) {
    let newer = |a: &str, b: &str| version::compare(package.ecosystem, a, b).is_gt();
    for (into, from) in [
        (&mut known.packages, &more.packages),
        (&mut known.adopted_packages, &more.adopted_packages),
        (&mut known.boot_instead, &more.boot_instead),
    ] {
        into.extend(from.iter().cloned());
        into.sort_unstable();
        into.dedup();
    }
    if newer(&known.image_version, &more.image_version) {
        known.image_version.clone_from(&more.image_version);
    }
    if newer(&more.at_least, &known.at_least) {
        known.at_least.clone_from(&more.at_least);
    }
    if newer(&more.adopted, &known.adopted) {
        known.adopted.clone_from(&more.adopted);
    }
    known.oldest = match (known.oldest, more.oldest) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    };
}
