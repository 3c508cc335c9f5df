//! The comparison of two images, inventories or reports: the contract `karat-compare/1`.
//!
//! Pure. `a` is what is there now, `b` what would be booted instead. What was not read on either side could
//! hide a change, so a required gap makes the comparison incomplete; a downgrade that was seen stays proven.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::baseline::source_of;
use crate::change::{ChangeCounts, SystemChange, between, kernels};
use crate::drift::{Change, Counts, PackageDrift, Patch};
use crate::error::{Error, Result};
use crate::model::{Gap, ImagePath, Inventory, OsInfo, Platform, System, Time, version};
use crate::report::{BaselineRef, ImageRef, ImageReport, Report, StandardRef, SystemReport};
use crate::standard::{Outcome, Verdict};

mod pairing;
#[cfg(test)]
mod tests;

use pairing::{Identity, pair_images, pair_systems, unpaired};

/// The schema that this version writes.
pub const COMPARE_SCHEMA: &str = "karat-compare/1";

/// What booting `b` instead of `a` would change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Comparison {
    /// Always `karat-compare/1`.
    pub schema: String,
    /// The version of karat that made it.
    pub karat: String,
    /// What was compared.
    pub of: Compared,
    /// Whether all of both sides was read and every image and system has its counterpart.
    pub complete: bool,
    /// Whether `b` undoes anything: an upgrade that `a` has, or a patch.
    pub undoes: bool,
    /// What both sides were held against, where inventories were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<BaselineRef>,
    /// What both sides were judged by, where inventories were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standard: Option<StandardRef>,
    /// The run that made the report `a`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_a: Option<RunRef>,
    /// The run that made the report `b`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_b: Option<RunRef>,
    /// The pairs of images, in the order of `a`.
    pub images: Vec<ImageComparison>,
    /// References of images that only the report `a` has, in its order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub only_in_a: Vec<String>,
    /// References of images that only the report `b` has, in its order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub only_in_b: Vec<String>,
}

/// What was compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Compared {
    /// What two images hold.
    Inventories,
    /// What two audits said.
    Reports,
}

/// The run that made a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunRef {
    /// When it judged.
    pub as_of: Time,
    /// What it came to.
    pub outcome: Outcome,
    /// What it compared with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<BaselineRef>,
}

impl RunRef {
    fn of(report: &Report) -> Self {
        RunRef { as_of: report.as_of, outcome: report.outcome, baseline: report.baseline.clone() }
    }
}

/// Two images beside each other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ImageComparison {
    /// What is there now.
    pub a: ImageRef,
    /// What would be booted.
    pub b: ImageRef,
    /// Whether all of both was read and every system has its counterpart.
    pub complete: bool,
    /// Why `a` could not be opened when its report was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub a_error: Option<String>,
    /// Why `b` could not be opened when its report was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub b_error: Option<String>,
    /// The pairs of systems.
    pub systems: Vec<SystemComparison>,
    /// Systems without counterpart, by side and root.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unpaired: Vec<UnpairedSystem>,
    /// What was not read, on either side, sorted.
    pub gaps: Vec<SidedGap>,
}

/// One of the two sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// What is there now.
    A,
    /// What would be booted.
    B,
    /// The same on both.
    Both,
}

/// A gap and where it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct SidedGap {
    /// On which side.
    pub side: Side,
    /// The gap.
    #[serde(flatten)]
    pub gap: Gap,
}

/// A system without counterpart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct UnpairedSystem {
    /// On which side.
    pub side: Side,
    /// Its platform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Where its root is.
    pub root: ImagePath,
    /// The volume that its root is on, where the image has several systems.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<String>,
}

/// What a system is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SystemRef {
    /// Its platform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Its channel, where it is not the platform's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// Where its root is.
    pub root: ImagePath,
    /// The volume that its root is on, where the image has several systems.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<String>,
    /// How it names itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub os: Option<OsInfo>,
    /// Its kernels, of each slot the one that boots or else the newest: name and version, sorted; of inventories only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kernels: Vec<String>,
    /// So many packages were found; of inventories only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packages: Option<usize>,
}

/// Two systems beside each other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SystemComparison {
    /// What is there now.
    pub a: SystemRef,
    /// What would be booted.
    pub b: SystemRef,
    /// Whether distribution, release and channel are the same.
    pub same_release: bool,
    /// How the packages differ; of inventories.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<SystemChange>,
    /// The verdicts beside each other; of reports, and of inventories that were held against a baseline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judged: Option<Judged>,
}

/// Two verdicts beside each other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Judged {
    /// Whether the baseline has something for both; what is not compared lacks nothing that is seen.
    pub compared: bool,
    /// The verdict on what is there now.
    pub a: Verdict,
    /// The verdict on what would be booted.
    pub b: Verdict,
    /// Sums of what is there now.
    pub a_counts: Counts,
    /// Sums of what would be booted.
    pub b_counts: Counts,
    /// By how many days `b` is older than `a`, negative if it is fresher; absent if either age is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_days_more: Option<i64>,
    /// Sums of the patches.
    pub patch_counts: PatchCounts,
    /// Missed patches of one side that the other does not miss, sorted by what happens, source and version.
    pub patches: Vec<PatchChange>,
    /// Sources that are behind on one side only, sorted.
    pub behind: Vec<BehindChange>,
}

/// Sums of patches that one side alone misses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct PatchCounts {
    /// Patches that `b` undoes.
    pub undone: usize,
    /// Distinct CVE ids that these name.
    pub undone_cves: usize,
    /// Patches that only `b` misses, without undoing them.
    pub opened: usize,
    /// Patches that only `a` misses.
    pub closed: usize,
    /// Distinct CVE ids that these name.
    pub closed_cves: usize,
}

/// What happens to a patch that production has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PatchStep {
    /// `a` has it and `b` lacks it.
    Undone,
    /// `b` lacks it, and `a` had no use for it or was judged before production had it.
    Opened,
    /// `a` lacks it and `b` does not.
    Closed,
}

/// A patch that one side alone misses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PatchChange {
    /// What happens.
    pub change: PatchStep,
    /// The source package.
    pub source: String,
    /// The version that brings it.
    pub version: String,
    /// When it was published, or by when it was out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub out_by: Option<Time>,
    /// CVE ids that it names, sorted.
    pub cves: Vec<String>,
}

/// A source that is behind on one side only.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct BehindChange {
    /// The side on which it is behind.
    pub side: Side,
    /// The source package.
    pub source: String,
    /// Its version there.
    pub version: String,
    /// What production has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline_version: Option<String>,
    /// Since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
}

impl Comparison {
    /// Sums over all systems of all images.
    #[must_use]
    pub fn counts(&self) -> ChangeCounts {
        let mut sum = ChangeCounts::default();
        let changes = self.images.iter().flat_map(|i| &i.systems).filter_map(|s| s.change.as_ref());
        for c in changes.map(|change| &change.counts) {
            sum.unchanged += c.unchanged;
            sum.downgraded += c.downgraded;
            sum.downgraded_with_cves += c.downgraded_with_cves;
            sum.upgraded += c.upgraded;
            sum.upgraded_with_cves += c.upgraded_with_cves;
            sum.rebuilt += c.rebuilt;
            sum.packages_added += c.packages_added;
            sum.packages_removed += c.packages_removed;
            sum.cves_only_in_a += c.cves_only_in_a;
            sum.cves_only_in_b += c.cves_only_in_b;
        }
        sum
    }

    /// Compares two inventories; with their reports against one baseline, the verdicts too.
    #[must_use]
    pub fn of_inventories(
        a: &Inventory,
        b: &Inventory,
        judged: Option<(&ImageReport, &ImageReport, BaselineRef, StandardRef)>,
    ) -> Self {
        let reports = judged.as_ref().map(|(a, b, _, _)| (*a, *b));
        let image = inventories(a, b, reports);
        let (baseline, standard) = judged.map(|(_, _, baseline, standard)| (baseline, standard)).unzip();
        Comparison { baseline, standard, ..Comparison::new(Compared::Inventories, vec![image]) }
    }

    /// Compares two reports, image by image: two that have one image each, else by reference, then by name
    /// without path and tag.
    ///
    /// # Errors
    /// `Config` if no image of one has a counterpart in the other.
    pub fn of_reports(a: &Report, b: &Report) -> Result<Self> {
        let pairs = pair_images(a, b);
        if pairs.both.is_empty() {
            return Err(Error::config("the two reports have no image in common")
                .hint("images are paired by their reference, then by their name without path and tag"));
        }
        let known = Known::of(a, b);
        let images = pairs.both.iter().map(|(a, b)| reports(a, b, &known)).collect();
        let mut comparison = Comparison {
            run_a: Some(RunRef::of(a)),
            run_b: Some(RunRef::of(b)),
            only_in_a: pairs.only_in_a,
            only_in_b: pairs.only_in_b,
            ..Comparison::new(Compared::Reports, images)
        };
        comparison.complete &= comparison.only_in_a.is_empty() && comparison.only_in_b.is_empty();
        Ok(comparison)
    }

    fn new(of: Compared, images: Vec<ImageComparison>) -> Self {
        let mut systems = images.iter().flat_map(|image| &image.systems);
        let undoes = systems.any(|system| {
            system.change.as_ref().is_some_and(SystemChange::undoes)
                || system.judged.as_ref().is_some_and(|judged| judged.patch_counts.undone > 0)
        });
        Comparison {
            schema: COMPARE_SCHEMA.into(),
            karat: env!("CARGO_PKG_VERSION").into(),
            of,
            complete: images.iter().all(|image| image.complete),
            undoes,
            baseline: None,
            standard: None,
            run_a: None,
            run_b: None,
            images,
            only_in_a: Vec::new(),
            only_in_b: Vec::new(),
        }
    }
}

fn inventories(
    a: &Inventory,
    b: &Inventory,
    reports: Option<(&ImageReport, &ImageReport)>,
) -> ImageComparison {
    let pairs = pair_systems(&a.systems, &b.systems, |system| Identity {
        platform: system.platform.as_ref(),
        channel: system.channel.as_deref(),
        root: &system.root,
        volume: system.volume.as_deref(),
    });
    let report_of = |report: &ImageReport, of: &System| {
        report.systems.iter().find(|system| system.root == of.root && system.volume == of.volume).cloned()
    };
    let systems = pairs
        .both
        .iter()
        .map(|(a, b)| SystemComparison {
            a: SystemRef::of(a),
            b: SystemRef::of(b),
            same_release: same_release((&a.platform, &a.channel), (&b.platform, &b.channel)),
            change: Some(between(a, b)),
            judged: reports.and_then(|(of_a, of_b)| {
                let (of_a, of_b) = (report_of(of_a, a)?, report_of(of_b, b)?);
                let sources: BTreeSet<_> = a.packages.iter().map(|p| source_of(p).0).collect();
                let has = |missed: &Missed<'_>, _: &SystemReport| {
                    sources.contains(missed.source)
                        || a.packages.iter().any(|package| package.name == missed.package.name)
                };
                Some(judged(&of_a, &of_b, &has))
            }),
        })
        .collect();
    finish(
        (image_ref(a), None, &a.gaps),
        (image_ref(b), None, &b.gaps),
        systems,
        unpaired(&pairs, |system| (system.platform.clone(), system.root.clone(), system.volume.clone())),
    )
}

fn image_ref(inventory: &Inventory) -> ImageRef {
    ImageRef::of(&inventory.image, inventory.content_id)
}

fn reports(a: &ImageReport, b: &ImageReport, known: &Known) -> ImageComparison {
    let pairs = pair_systems(&a.systems, &b.systems, |system| Identity {
        platform: system.platform.as_ref(),
        channel: system.channel.as_deref(),
        root: &system.root,
        volume: system.volume.as_deref(),
    });
    let systems = pairs
        .both
        .iter()
        .map(|(a, b)| SystemComparison {
            a: SystemRef::of_report(a),
            b: SystemRef::of_report(b),
            same_release: same_release((&a.platform, &a.channel), (&b.platform, &b.channel)),
            change: None,
            judged: Some(judged(a, b, &|patch, of_a| known.undone(patch, of_a))),
        })
        .collect();
    let unpaired =
        unpaired(&pairs, |system| (system.platform.clone(), system.root.clone(), system.volume.clone()));
    finish(
        (a.image.clone(), a.error.clone(), &a.gaps),
        (b.image.clone(), b.error.clone(), &b.gaps),
        systems,
        unpaired,
    )
}

type ImageSide<'a> = (ImageRef, Option<String>, &'a [Gap]);

fn finish(
    (a, a_error, a_gaps): ImageSide<'_>,
    (b, b_error, b_gaps): ImageSide<'_>,
    systems: Vec<SystemComparison>,
    unpaired: Vec<UnpairedSystem>,
) -> ImageComparison {
    let (of_a, of_b): (BTreeSet<&Gap>, BTreeSet<&Gap>) = (a_gaps.iter().collect(), b_gaps.iter().collect());
    let mut gaps: Vec<SidedGap> = of_a
        .union(&of_b)
        .map(|gap| {
            let side = match (of_a.contains(gap), of_b.contains(gap)) {
                (true, true) => Side::Both,
                (true, false) => Side::A,
                (false, _) => Side::B,
            };
            SidedGap { side, gap: (*gap).clone() }
        })
        .collect();
    gaps.sort();
    let complete = a_error.is_none()
        && b_error.is_none()
        && !systems.is_empty()
        && systems.iter().all(|system| system.judged.as_ref().is_none_or(|judged| judged.compared))
        && unpaired.is_empty()
        && !gaps.iter().any(|gap| gap.gap.required);
    ImageComparison { a, b, complete, a_error, b_error, systems, unpaired, gaps }
}

impl SystemRef {
    fn of(system: &System) -> Self {
        SystemRef {
            platform: system.platform.clone(),
            channel: system.channel.clone(),
            root: system.root.clone(),
            volume: system.volume.clone(),
            os: system.os.clone(),
            kernels: kernels(system),
            packages: Some(system.packages.len()),
        }
    }

    fn of_report(system: &SystemReport) -> Self {
        SystemRef {
            platform: system.platform.clone(),
            channel: system.channel.clone(),
            root: system.root.clone(),
            volume: system.volume.clone(),
            os: system.os.clone(),
            kernels: Vec::new(),
            packages: None,
        }
    }
}

type Release<'a> = (&'a Option<Platform>, &'a Option<String>);

/// Two systems that name no platform are not known to be the same.
fn same_release(a: Release<'_>, b: Release<'_>) -> bool {
    let ids = a.0.as_ref().zip(b.0.as_ref());
    a.1 == b.1 && ids.is_some_and(|(a, b)| a.os == b.os && a.release == b.release)
}

/// A missed patch with its source.
struct Missed<'a> {
    source: &'a str,
    patch: &'a Patch,
    /// The package that misses it.
    package: &'a PackageDrift,
}

fn missed(system: &SystemReport) -> BTreeMap<(String, String), Missed<'_>> {
    let behind = system.drift.iter().filter(|package| package.change == Change::Behind);
    let patches = behind.flat_map(|package| {
        package.missed.iter().map(|patch| Missed { source: &package.source, patch, package })
    });
    let mut missed: BTreeMap<(String, String), Missed<'_>> = BTreeMap::new();
    for patch in patches {
        missed.entry((patch.source.to_owned(), patch.patch.version.clone())).or_insert(patch);
    }
    missed
}

/// What two reports know of production.
struct Known {
    same_baseline: bool,
    /// Up to when the first knows production.
    a_until: Option<Time>,
}

impl Known {
    fn of(a: &Report, b: &Report) -> Self {
        let digest = |report: &Report| report.baseline.as_ref().map(|baseline| baseline.digest);
        Known {
            same_baseline: digest(a).is_some() && digest(a) == digest(b),
            a_until: a.baseline.as_ref().map(|baseline| baseline.as_of),
        }
    }

    /// Whether a patch that only `b` misses is one that `a` has. A report lists only what differs from
    /// production; so a patch that production had when `a` was judged, and that `a` did not lack, counts.
    fn undone(&self, patch: &Missed<'_>, a: &SystemReport) -> bool {
        if a.against.is_none() {
            return false; // nothing is known of what it has
        }
        let lacked = |package: &PackageDrift| {
            package.source == patch.source
                && package.missed.iter().chain(&package.arriving).any(|p| p.version == patch.patch.version)
        };
        if a.drift.iter().any(lacked) {
            return false;
        }
        // The same package, no older than before: production has gone on.
        let same = |package: &&PackageDrift| {
            package.name == patch.package.name && package.arch == patch.package.arch
        };
        if let Some(before) = a.drift.iter().find(same) {
            let now = &patch.package.image_source_version;
            let order = version::compare(before.ecosystem, &before.image_source_version, now);
            return order.is_gt();
        }
        self.same_baseline
            || patch.patch.out_by().is_none_or(|out| self.a_until.is_none_or(|until| out <= until))
    }
}

/// Puts two verdicts beside each other. `undone` says whether `a` has a patch that only `b` misses.
fn judged(a: &SystemReport, b: &SystemReport, undone: &dyn Fn(&Missed<'_>, &SystemReport) -> bool) -> Judged {
    let (of_a, of_b) = (missed(a), missed(b));
    let only = |of: &BTreeMap<(String, String), Missed<'_>>,
                other: &BTreeMap<(String, String), Missed<'_>>,
                closed: bool| {
        of.iter()
            .filter(|(key, _)| !other.contains_key(*key))
            .map(|(_, missed)| PatchChange {
                change: match closed {
                    true => PatchStep::Closed,
                    false if undone(missed, a) => PatchStep::Undone,
                    false => PatchStep::Opened,
                },
                source: missed.source.to_owned(),
                version: missed.patch.version.clone(),
                out_by: missed.patch.out_by(),
                cves: missed.patch.cves.clone(),
            })
            .collect::<Vec<_>>()
    };
    let mut patches = only(&of_b, &of_a, false);
    patches.extend(only(&of_a, &of_b, true));
    patches.sort_by(|x, y| (x.change, &x.source, &x.version).cmp(&(y.change, &y.source, &y.version)));
    let sum = |step: PatchStep| {
        let of_step = patches.iter().filter(|patch| patch.change == step);
        let ids: BTreeSet<&String> = of_step.clone().flat_map(|patch| &patch.cves).collect();
        (of_step.count(), ids.len())
    };
    let ((undone, undone_cves), (opened, _), (closed, closed_cves)) =
        (sum(PatchStep::Undone), sum(PatchStep::Opened), sum(PatchStep::Closed));
    Judged {
        compared: a.against.is_some() && b.against.is_some(),
        a: a.verdict.clone(),
        b: b.verdict.clone(),
        a_counts: a.counts,
        b_counts: b.counts,
        age_days_more: a.verdict.age_days.zip(b.verdict.age_days).map(|(a, b)| b.saturating_sub(a)),
        patch_counts: PatchCounts { undone, undone_cves, opened, closed, closed_cves },
        patches,
        behind: behind_on_one_side(a, b),
    }
}

fn behind_on_one_side(a: &SystemReport, b: &SystemReport) -> Vec<BehindChange> {
    let behind = |system: &SystemReport, side: Side| {
        let mut sources: BTreeMap<String, BehindChange> = BTreeMap::new();
        for package in system.drift.iter().filter(|package| package.change == Change::Behind) {
            let source = sources.entry(package.source.clone()).or_insert_with(|| BehindChange {
                side,
                source: package.source.clone(),
                version: package.image_source_version.clone(),
                baseline_version: package.baseline_source_version.clone(),
                since: package.behind_since,
            });
            source.since = [source.since, package.behind_since].into_iter().flatten().min();
        }
        sources
    };
    let (of_a, of_b) = (behind(a, Side::A), behind(b, Side::B));
    let only = |of: &BTreeMap<String, BehindChange>, other: &BTreeMap<String, BehindChange>| {
        of.values().filter(|change| !other.contains_key(&change.source)).cloned().collect::<Vec<_>>()
    };
    let mut all = only(&of_a, &of_b);
    all.extend(only(&of_b, &of_a));
    all.sort();
    all
}
