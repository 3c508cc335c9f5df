//! The known patches of one source package for one image version.

use std::cmp::Ordering;
use std::collections::HashSet;

use super::Patch;
use crate::baseline::{History, Release};
use crate::model::ReleaseEntry;

/// Which releases of a history concern a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Lane<'a> {
    /// Releases of the backports count too.
    pub(super) backports: bool,
    /// Only releases of this upstream series count: that of a slot.
    pub(super) series: Option<&'a str>,
}

impl Lane<'_> {
    /// Whether a release is in the lane.
    pub(super) fn holds(&self, release: &Release) -> bool {
        (self.backports || !release.backport) && self.series.is_none_or(|s| in_series(&release.version, s))
    }
}

/// Whether a version (its epoch aside) is of an upstream series: `6.1.192-2` of `6.1`.
fn in_series(version: &str, series: &str) -> bool {
    let upstream = version.split_once(':').map_or(version, |(_, behind)| behind);
    upstream.strip_prefix(series).is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// The ids that entries at or below the image's version name, on either side.
pub(super) fn named_already<'a>(
    history: &'a History,
    image: &str,
    own: &'a [ReleaseEntry],
) -> HashSet<&'a str> {
    let newer = |version: &str| history.compare(version, image) == Ordering::Greater;
    let releases = &history.releases[history.releases.partition_point(|r| newer(&r.version))..];
    let others = history.others.iter().filter(|other| !newer(other.in_from()) || !newer(&other.version));
    let own = own.iter().filter(|entry| !entry.rebuild && !entry.cves.is_empty() && !newer(&entry.version));
    let mut ids: HashSet<&str> = HashSet::new();
    ids.extend(releases.iter().flat_map(Release::ids));
    ids.extend(others.flat_map(|other| &other.cves).map(String::as_str));
    ids.extend(own.flat_map(|entry| &entry.cves).map(String::as_str));
    ids
}

/// All releases of the lane that are newer than the image's version, newest first, with the ids of the other
/// entries folded into the next newer release and those taken out that are named already.
pub(super) fn known_patches(
    history: &History,
    image: &str,
    lane: Lane<'_>,
    named: &HashSet<&str>,
) -> Vec<Patch> {
    let newer = |version: &str| history.compare(version, image) == Ordering::Greater;
    let in_lane = history.releases.iter().take_while(|r| newer(&r.version)).filter(|r| lane.holds(r));
    let mut patches: Vec<Patch> = in_lane.map(patch).collect();
    for other in history.others.iter().filter(|other| newer(other.in_from())) {
        // Newest first: the last that is not older than the version from which on the fixes are in.
        let reach = |p: &Patch| history.compare(&p.version, other.in_from()) != Ordering::Less;
        if let Some(next_newer) = patches.partition_point(reach).checked_sub(1) {
            patches[next_newer].cves.extend(other.cves.iter().cloned());
        }
    }
    for patch in &mut patches {
        patch.cves.retain(|id| !named.contains(id.as_str()));
        patch.cves.sort_unstable();
        patch.cves.dedup();
        for advisory in &mut patch.advisories {
            advisory.cves.retain(|id| !named.contains(id.as_str()));
        }
        patch.security |= !patch.cves.is_empty();
    }
    patches
}

/// A release as a patch.
pub(super) fn patch(release: &Release) -> Patch {
    Patch {
        version: release.version.clone(),
        published: release.published,
        evidence: release.evidence,
        bounded: release.bounded,
        not_before: release.not_before,
        not_after: release.not_after,
        urgency: release.urgency.clone(),
        security: release.security,
        rebuild: false,
        latent: false,
        advisories: release.advisories.clone(),
        cves: release.ids().map(str::to_owned).collect(),
    }
}
