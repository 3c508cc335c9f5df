//! Every version, date, bound and rule that led to the answer for one package.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::compare::{Comparer, Place, Subject, subjects};
use super::patches::{Lane, named_already};
use super::{Against, Basis, Options, PackageDrift, choose};
use crate::baseline::{Baseline, Because, Evidence, HostId, OtherEntry, Release, adopt, is_backport};
use crate::model::{Platform, System, Time};

/// Everything about the packages of one name (binary or source) in one system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Explanation {
    /// What was asked for.
    pub asked: String,
    /// The system's platform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// What it was compared with; `None` if the baseline has nothing for this platform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub against: Option<Against>,
    /// The packages of that name, sorted; none if the image has none.
    pub packages: Vec<PackageExplanation>,
}

/// Everything about one package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PackageExplanation {
    /// Its name.
    pub name: String,
    /// Its architecture.
    pub arch: String,
    /// The source that it is compared as.
    pub source: String,
    /// The slot, where names carry versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<String>,
    /// Others of the slot, installed side by side, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub beside: Vec<String>,
    /// It stands for its slot because the boot loader starts it, and not because it is the newest.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub boots: bool,
    /// The image's binary version.
    pub image_version: String,
    /// The image's source version.
    pub image_source_version: String,
    /// When that version was made, as far as anything says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_version_dated: Option<Time>,
    /// Every entry counts, because a third party publishes it.
    pub third_party: bool,
    /// How far back the releases are known without a hole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reaches: Option<String>,
    /// How the adopted version was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adoption: Option<Adoption>,
    /// Every version that is known from the image's own on, and the release before, newest first.
    pub versions: Vec<VersionExplanation>,
    /// CVE ids that versions newer than the image's name, and that the image's or an older one names already.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub named_already: Vec<String>,
    /// The result; `None` if the package is at the baseline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<PackageDrift>,
}

/// How the adopted version was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Adoption {
    /// What it rests on.
    pub basis: Basis,
    /// The adopted binary version.
    pub version: String,
    /// The adopted source version.
    pub source_version: String,
    /// Hosts that carry the package.
    pub carrying: usize,
    /// Hosts that run the adopted version or a newer one.
    pub running: usize,
    /// The share that was asked for, in percent.
    pub share_percent: u32,
    /// What hosts run, newest first.
    pub hosts: Vec<HostShare>,
}

/// How many hosts run a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HostShare {
    /// The binary version.
    pub version: String,
    /// Hosts that run it.
    pub hosts: usize,
    /// Hosts that run it or a newer one.
    pub hosts_or_newer: usize,
}

/// Where a version stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// Newer than what production has adopted.
    Arriving,
    /// Newer than the image's version, and production has it.
    Missed,
    /// The image's own.
    Image,
    /// Older than the image's.
    Older,
    /// No release of this channel: its CVE ids belong to the next newer release.
    NotReleased,
    /// A release of another series or of the backports.
    OtherChannel,
}

/// One version, and what is known of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VersionExplanation {
    /// The version.
    pub version: String,
    /// Where it stands.
    pub standing: Standing,
    /// Why it counts as a release; `None` if it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<Because>,
    /// The suites that its entry names.
    pub suites: Vec<String>,
    /// When its entry was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dated: Option<Time>,
    /// When it was published.
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
    /// CVE ids that its own entry names.
    pub cves: Vec<String>,
}

/// Explains the answer for all packages of this name, or of a source of this name.
#[must_use]
pub fn explain(system: &System, baseline: &Baseline, options: &Options, asked: &str) -> Explanation {
    let chosen = choose(system, baseline);
    let mut packages = Vec::new();
    if let Some((against, _)) = chosen {
        let mut comparer = Comparer::new(system, against, options);
        for subject in subjects(system) {
            let place = comparer.place(&subject);
            let package = subject.package;
            let names = [&package.name, &package.source.name, &place.source];
            let slot = subject.slot.as_ref().map(ToString::to_string);
            if names.iter().any(|name| *name == asked)
                || subject.beside.contains(&asked)
                || slot.as_deref() == Some(asked)
            {
                packages.push(explain_one(&mut comparer, &subject, place, options));
            }
        }
    }
    Explanation {
        asked: asked.to_owned(),
        platform: system.platform.clone(),
        against: chosen.map(|(against, other_arch)| Against::of(against, other_arch)),
        packages,
    }
}

fn explain_one(
    comparer: &mut Comparer<'_>,
    subject: &Subject<'_>,
    place: Place<'_>,
    options: &Options,
) -> PackageExplanation {
    let package = subject.package;
    let (_, result) = comparer.compare(subject);
    let target = place.target.as_ref().map(|target| target.source_version);
    PackageExplanation {
        name: package.name.clone(),
        arch: package.arch.clone(),
        slot: subject.slot.as_ref().map(ToString::to_string),
        beside: subject.beside.iter().map(|name| (*name).to_owned()).collect(),
        boots: subject.boots,
        image_version: package.version.clone(),
        image_source_version: place.image.clone(),
        image_version_dated: comparer.image_version_dated(package, &place),
        third_party: place.history.is_some_and(|history| history.third_party),
        reaches: place
            .history
            .and_then(|history| history.reaches(target.unwrap_or(&place.image)))
            .map(str::to_owned),
        adoption: adoption(&place, options),
        versions: versions(subject, &place, target),
        named_already: already_named(comparer, &place),
        result,
        source: place.source,
    }
}

fn adoption(place: &Place<'_>, options: &Options) -> Option<Adoption> {
    let target = place.target.as_ref()?;
    let adopted = place.row.and_then(|row| adopt(row, options.adoption_share, is_backport(&place.image)));
    let mut seen: BTreeSet<&HostId> = BTreeSet::new();
    let hosts = place.row.into_iter().flat_map(|row| &row.versions).map(|version| {
        seen.extend(&version.hosts);
        HostShare { version: version.version.clone(), hosts: version.hosts.len(), hosts_or_newer: seen.len() }
    });
    Some(Adoption {
        basis: target.basis,
        version: target.version.to_owned(),
        source_version: target.source_version.to_owned(),
        hosts: hosts.collect(),
        carrying: adopted.as_ref().map_or(0, |adopted| adopted.carrying),
        running: adopted.as_ref().map_or(0, |adopted| adopted.running),
        share_percent: format!("{:.0}", options.adoption_share * 100.0).parse().unwrap_or_default(),
    })
}

/// The versions from the newest down to the image's own, and the newest release that is older.
fn versions(subject: &Subject<'_>, place: &Place<'_>, target: Option<&str>) -> Vec<VersionExplanation> {
    let Some(history) = place.history else { return Vec::new() };
    let lane = Comparer::lane(subject, &place.image, target.unwrap_or(&place.image));
    let at_least_image = |v: &str| history.compare(v, &place.image) != Ordering::Less;
    let mut versions: Vec<VersionExplanation> = Vec::new();
    for release in &history.releases {
        versions.push(of_release(release, standing(release, lane, place, target)));
        if !at_least_image(&release.version) && lane.holds(release) {
            break;
        }
    }
    versions.extend(history.others.iter().filter(|o| at_least_image(&o.version)).map(|other| {
        let is_image = history.compare(&other.version, &place.image).is_eq();
        of_other(other, if is_image { Standing::Image } else { Standing::NotReleased })
    }));
    versions.sort_by(|a, b| history.compare(&b.version, &a.version));
    versions
}

fn standing(release: &Release, lane: Lane<'_>, place: &Place<'_>, target: Option<&str>) -> Standing {
    let Some(history) = place.history else { return Standing::OtherChannel };
    match history.compare(&release.version, &place.image) {
        Ordering::Equal => Standing::Image,
        Ordering::Less => Standing::Older,
        Ordering::Greater if !lane.holds(release) => Standing::OtherChannel,
        Ordering::Greater => match target {
            Some(target) if history.compare(&release.version, target) != Ordering::Greater => {
                Standing::Missed
            }
            _ => Standing::Arriving,
        },
    }
}

fn of_release(release: &Release, standing: Standing) -> VersionExplanation {
    VersionExplanation {
        version: release.version.clone(),
        standing,
        because: Some(release.because),
        suites: release.suites.clone(),
        dated: release.dated,
        published: release.published,
        evidence: release.evidence,
        bounded: release.bounded,
        not_before: release.not_before,
        not_after: release.not_after,
        cves: release.cves.clone(),
    }
}

fn of_other(other: &OtherEntry, standing: Standing) -> VersionExplanation {
    VersionExplanation {
        version: other.version.clone(),
        standing,
        because: None,
        suites: other.suites.clone(),
        dated: other.dated,
        published: None,
        evidence: Evidence::None,
        bounded: false,
        not_before: None,
        not_after: None,
        cves: other.cves.clone(),
    }
}

fn already_named(comparer: &Comparer<'_>, place: &Place<'_>) -> Vec<String> {
    let Some(history) = place.history else { return Vec::new() };
    let own = comparer.own_entries(history.ecosystem, &place.source);
    let named = named_already(history, &place.image, own);
    let newer = |v: &str| history.compare(v, &place.image) == Ordering::Greater;
    let releases = history.releases.iter().map(|r| (r.version.as_str(), &r.cves));
    let others = history.others.iter().map(|o| (o.in_from(), &o.cves));
    let ids: BTreeSet<&String> =
        releases.chain(others).filter(|(v, _)| newer(v)).flat_map(|(_, cves)| cves).collect();
    ids.into_iter().filter(|id| named.contains(id.as_str())).cloned().collect()
}
