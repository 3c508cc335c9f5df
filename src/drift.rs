//! An inventory meets the baseline: which patches the image lacks that production has, and since when.
//!
//! Pure: [`between`] compares one system with the baseline's platform, package by package, in source-version
//! space. A release newer than the image's version is a *known patch*; not newer than the adopted version it
//! is *missed*, else *arriving*. What a date rests on, and whether an age is only a lower bound, goes along.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::baseline::{Baseline, Evidence, HostId, PlatformBaseline};
use crate::model::{Advisory, Ecosystem, Platform, System, Time};

mod compare;
mod explain;
mod patches;
#[cfg(test)]
mod tests;

pub use explain::{
    Adoption, Explanation, HostShare, PackageExplanation, Standing, VersionExplanation, explain,
};

/// How an image is compared.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// The time of the audit.
    pub as_of: Time,
    /// The share of hosts that makes a version adopted.
    pub adoption_share: f64,
    /// Fewer hosts than this make the basis weak.
    pub min_hosts: usize,
}

/// How one system differs from the baseline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Drift {
    /// The system's platform; `None` if it names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Its channel, where it is not the platform's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// The time of the audit.
    pub as_of: Time,
    /// What it was compared with; `None` if the baseline has nothing for this platform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub against: Option<Against>,
    /// The packages that the system has, each slot once.
    pub packages: usize,
    /// Sums.
    pub counts: Counts,
    /// Up to when the image lacks nothing that production has; `None` if it was not compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patched_through: Option<Time>,
    /// Days from then to the audit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_days: Option<i64>,
    /// The age may be higher: a history does not reach back, or a patch has no date.
    #[serde(default)]
    pub lower_bound: bool,
    /// If the age is a lower bound: how high it can be; `None` if that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_days_at_most: Option<i64>,
    /// Slots with several kernels of which it is not known which boots, though there is a boot loader.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub boot_unknown: Vec<BootUnknown>,
    /// Every package that is not simply at the baseline, sorted by name and architecture.
    pub drift: Vec<PackageDrift>,
}

/// The part of the baseline that a system was compared with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Against {
    /// Its platform.
    pub platform: Platform,
    /// Another architecture of the same release, because the baseline has none of the system's own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub other_arch: bool,
    /// Up to when production of it is known.
    pub as_of: Time,
    /// Up to when anything in it can have been published: later, where a repository was listed after the hosts
    /// were read.
    pub known_until: Time,
    /// The hosts that vote.
    pub hosts: usize,
    /// Up to when the releases are known of packages that no host carries, the least of all that were compared;
    /// `None` if hosts carry all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published_known: Option<Time>,
    /// Suites of the platform of which the baseline has no listing, where packages were compared with what was
    /// published: what came through them is not known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unlisted_suites: Vec<String>,
}

impl Against {
    fn of(against: &PlatformBaseline, other_arch: bool) -> Self {
        Against {
            platform: against.platform.clone(),
            other_arch,
            as_of: against.as_of,
            known_until: against.known_until(),
            hosts: against.hosts.len(),
            published_known: None,
            unlisted_suites: Vec::new(),
        }
    }
}

/// Sums over one system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Counts {
    /// Packages that were compared.
    pub compared: usize,
    /// Of these, packages that no host carries: they were compared with what was published.
    #[serde(default)]
    pub by_channel: usize,
    /// Of these, packages whose version is the adopted one.
    pub at_baseline: usize,
    /// Of these, packages that lack a patch which production has.
    pub behind: usize,
    /// Of these, packages that are newer than the adopted version.
    pub ahead: usize,
    /// Of these, packages that are another build of the same source.
    pub rebuilt: usize,
    /// Of these, packages that lack nothing but patches which production has not adopted yet.
    pub arriving: usize,
    /// Packages that were not compared, because production does not know them.
    pub only_in_image: usize,
    /// Missed patches, each source's once.
    pub missed_patches: usize,
    /// Of these, patches without a date.
    pub undated: usize,
    /// Distinct CVE ids that missed patches name.
    pub cves: usize,
}

impl Counts {
    /// The share of compared packages that lack nothing which production has, in percent; `None` of none.
    #[must_use]
    pub fn at_baseline_percent(&self) -> Option<f64> {
        let exact = |n: usize| u32::try_from(n).map_or(f64::MAX, f64::from);
        let lacking_nothing = exact(self.compared.saturating_sub(self.behind));
        (self.compared > 0).then(|| (lacking_nothing / exact(self.compared) * 1000.0).floor() / 10.0)
    }
}

/// How a package differs from the baseline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It lacks a patch that production has.
    Behind,
    /// It is newer than the adopted version.
    Ahead,
    /// Another build of the same source version.
    Rebuilt,
    /// It lacks nothing but patches that production has not adopted yet.
    Arriving,
    /// Production does not know it.
    OnlyInImage,
}

/// What the baseline's version rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Basis {
    /// Enough hosts carry the package.
    Hosts,
    /// No host carries it; the newest release of its source counts.
    Channel,
    /// Hosts carry it, but fewer than the standard asks for.
    Weak,
}

/// One package that is not simply at the baseline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PackageDrift {
    /// Whose naming and order it follows.
    pub ecosystem: Ecosystem,
    /// Its name.
    pub name: String,
    /// Its architecture in the words of its package manager.
    pub arch: String,
    /// The source package, as it was compared.
    pub source: String,
    /// The slot, where names carry versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<String>,
    /// The upstream series of the same slot that hosts run, where they run none of the package's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub other_series: Vec<String>,
    /// The newest package of the same slot, where the boot loader starts this one instead: what it brings is
    /// latent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_booted: Option<NotBooted>,
    /// How it differs.
    pub change: Change,
    /// What the baseline's version rests on; `None` where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basis: Option<Basis>,
    /// The image's binary version.
    pub image_version: String,
    /// The image's source version.
    pub image_source_version: String,
    /// The adopted binary version (of the source, where no host carries the package).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline_version: Option<String>,
    /// The adopted source version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline_source_version: Option<String>,
    /// The binary package that production has in the slot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline_name: Option<String>,
    /// Publication of the oldest missed patch, or by when it was out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behind_since: Option<Time>,
    /// Days from then to the audit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub days_behind: Option<i64>,
    /// It may be behind for longer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lower_bound: bool,
    /// If so: the earliest time since which it can be behind, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behind_since_at_earliest: Option<Time>,
    /// The known history does not reach back to the image's version.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub history_short: bool,
    /// Known patches that production has, newest first.
    pub missed: Vec<Patch>,
    /// Known patches that production has not adopted yet, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arriving: Vec<Patch>,
}

/// A package that is installed and would not boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NotBooted {
    /// Its name.
    pub name: String,
    /// Its binary version.
    pub version: String,
    /// Its source version, as it is compared.
    pub source_version: String,
    /// The release of the kernel that boots instead.
    pub boots: String,
}

/// Which of several kernels boots is not known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BootUnknown {
    /// The kernel packages of one slot, the newest last, which was compared.
    pub kernels: Vec<String>,
    /// Why it is not known.
    pub reason: String,
}

/// A known patch: a release that is newer than the image's version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Patch {
    /// The source version; of a rebuild the binary version.
    pub version: String,
    /// When it was published; `None` if nothing says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published: Option<Time>,
    /// What says so.
    pub evidence: Evidence,
    /// The date was outside its bounds and was moved to the bound.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub bounded: bool,
    /// It was not out before this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Time>,
    /// It was out by then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Time>,
    /// The urgency as its changelog has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub urgency: Option<String>,
    /// Made for a security suite, or it names CVE ids.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub security: bool,
    /// A rebuild of the same source with newer sources built in.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rebuild: bool,
    /// It is installed beside the image's version, and would not boot: the boot loader's default is another.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub latent: bool,
    /// The advisories that publish it, with the CVE ids that they fix.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub advisories: Vec<Advisory>,
    /// CVE ids that its changelog names or its advisories fix, and no entry at or below the image's version
    /// names, sorted. Those of the advisories are fixed; the others are only named.
    pub cves: Vec<String>,
}

impl Patch {
    /// The latest time at which it can have been published: its date, or by when it was out.
    #[must_use]
    pub fn out_by(&self) -> Option<Time> {
        self.published.or(self.not_after)
    }
}

/// Compares a system with the baseline.
#[must_use]
pub fn between(system: &System, baseline: &Baseline, options: &Options) -> Drift {
    let mut drift = Drift {
        platform: system.platform.clone(),
        channel: system.channel.clone(),
        as_of: options.as_of,
        against: None,
        packages: 0,
        counts: Counts::default(),
        patched_through: None,
        age_days: None,
        lower_bound: false,
        age_days_at_most: None,
        boot_unknown: Vec::new(),
        drift: Vec::new(),
    };
    let subjects = compare::subjects(system);
    drift.boot_unknown = compare::boot_unknown(system, &subjects);
    drift.packages = subjects.len();
    let Some((against, other_arch)) = choose(system, baseline) else { return drift };
    drift.against = Some(Against::of(against, other_arch));
    let mut comparer = compare::Comparer::new(system, against, options);
    for subject in &subjects {
        let (change, package) = comparer.compare(subject);
        let counts = &mut drift.counts;
        *match change {
            None => &mut counts.at_baseline,
            Some(Change::Behind) => &mut counts.behind,
            Some(Change::Ahead) => &mut counts.ahead,
            Some(Change::Rebuilt) => &mut counts.rebuilt,
            Some(Change::Arriving) => &mut counts.arriving,
            Some(Change::OnlyInImage) => &mut counts.only_in_image,
        } += 1;
        drift.drift.extend(package);
    }
    drift.counts.compared = drift.packages - drift.counts.only_in_image;
    drift.counts.by_channel = comparer.by_channel();
    if let Some(told) = &mut drift.against {
        told.published_known = comparer.published_known();
        if comparer.by_channel() > 0 {
            told.unlisted_suites = against.unlisted_suites();
        }
    }
    drift.sum_up(against);
    drift
}

/// The platform of the baseline that serves a system: its own, or another architecture of the same release
/// and channel (then `true`), the one with most hosts.
fn choose<'a>(system: &System, baseline: &'a Baseline) -> Option<(&'a PlatformBaseline, bool)> {
    let platform = system.platform.as_ref()?;
    let of_release = || {
        baseline.platforms.iter().filter(|p| {
            p.channel == system.channel
                && p.platform.os == platform.os
                && p.platform.release == platform.release
        })
    };
    if let Some(own) = of_release().find(|p| p.platform == *platform) {
        return Some((own, false));
    }
    let others = of_release().map(|p| (p.hosts.len(), p)).rev();
    others.max_by_key(|(hosts, _)| *hosts).map(|(_, p)| (p, true))
}

impl Drift {
    /// The packages that lack a patch which production has.
    pub fn behind(&self) -> impl Iterator<Item = &PackageDrift> {
        self.drift.iter().filter(|package| package.change == Change::Behind)
    }

    fn sum_up(&mut self, against: &PlatformBaseline) {
        let mut patches: BTreeSet<(&str, &str, bool)> = BTreeSet::new();
        let mut cves: BTreeSet<&str> = BTreeSet::new();
        for package in self.behind() {
            for patch in &package.missed {
                patches.insert((&package.source, &patch.version, patch.published.is_none()));
                cves.extend(patch.cves.iter().map(String::as_str));
            }
        }
        let sums = (patches.len(), patches.iter().filter(|(_, _, undated)| *undated).count(), cves.len());

        let published_known = self.against.as_ref().and_then(|against| against.published_known);
        let known = published_known.map_or(against.as_of, |at| at.min(against.as_of)).min(self.as_of);
        let oldest = self.behind().filter_map(|package| package.behind_since).min();
        let patched_through = oldest.map_or(known, |at| at.min(known));
        let mut earliest = Some(patched_through);
        let mut lower_bound = false;
        for package in self.behind().filter(|package| package.lower_bound) {
            let at = package.behind_since_at_earliest;
            lower_bound |= at.is_none_or(|at| at < patched_through);
            earliest = earliest.zip(at).map(|(a, b)| a.min(b));
        }
        (self.counts.missed_patches, self.counts.undated, self.counts.cves) = sums;
        self.patched_through = Some(patched_through);
        self.age_days = Some(self.as_of.days_since(patched_through));
        self.lower_bound = lower_bound;
        self.age_days_at_most = earliest.filter(|_| lower_bound).map(|at| self.as_of.days_since(at));
    }
}

/// The hosts of a baseline, each once.
#[must_use]
pub fn hosts_of(baseline: &Baseline) -> usize {
    baseline.platforms.iter().flat_map(|p| &p.hosts).collect::<BTreeSet<&HostId>>().len()
}
