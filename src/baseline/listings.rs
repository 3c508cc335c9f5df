//! What dated listings of repositories prove: that a version was out by then, or was not out yet.

#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::suites::{PlatformSuites, Pocket};
use super::{PlatformBaseline, SourceRole};
use crate::model::{Ecosystem, Time, version};

/// The times at which one suite was listed whole.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Listing {
    /// The suite, by codename (`bookworm-security`), with its components where not all were listed
    /// (`bookworm-security/main`); of Alpine branch and repository (`v3.20/main`). Empty for a repository that
    /// names none.
    pub suite: String,
    /// When, sorted.
    pub taken_at: Vec<Time>,
}

/// When a version of a source was first seen at one place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Sighting {
    /// The source version.
    pub version: String,
    /// On a host, or in a channel source.
    pub role: SourceRole,
    /// The suite that listed it; `None` on hosts, and for folders.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suite: Option<String>,
    /// The first time.
    pub at: Time,
}

/// Where channel sources have a version: in a suite (empty for one without a name), or in a folder.
pub(super) type Shelf = Option<String>;

/// By version and shelf the first time at which channel sources had a version of one source.
pub(super) type Listed = BTreeMap<(String, Shelf), Time>;

/// The listings of one platform.
pub(super) struct Listings<'a> {
    suites: &'a PlatformSuites,
    times: &'a BTreeMap<String, BTreeSet<Time>>,
}

impl<'a> Listings<'a> {
    pub(super) fn new(suites: &'a PlatformSuites, times: &'a BTreeMap<String, BTreeSet<Time>>) -> Self {
        Listings { suites, times }
    }

    /// Until when listings prove that no version for which `is_it` holds was out: the earliest over all suites
    /// through which it can have come. `None` where one of these was not listed.
    fn absent_until(
        &self,
        listed: &Listed,
        pocket: Option<Pocket>,
        is_it: impl Fn(&str) -> bool,
    ) -> Option<Time> {
        let mut first_seen: BTreeMap<&str, Time> = BTreeMap::new();
        for ((version, shelf), at) in listed {
            if let Some(suite) = shelf
                && is_it(version)
            {
                let first = first_seen.entry(suite).or_insert(*at);
                *first = at.min(first).to_owned();
            }
        }
        let in_suite = |suite: &str, latest: Option<Time>| {
            let times = self.times.get(suite)?;
            let before_it = |at: &&Time| first_seen.get(suite).is_none_or(|first| *at < first);
            let counts = |at: &&Time| before_it(at) && latest.is_none_or(|latest| **at <= latest);
            times.iter().rev().find(counts).copied()
        };
        let until = |suites: &[&str], latest| suites.iter().filter_map(|s| in_suite(s, latest)).max();
        let mut all: Option<Time> = None;
        let mut of_release: Option<Time> = None;
        for (pocket, suites) in self.ways(listed, pocket) {
            // What went into a point release is taken out of `-updates`: only before is absence a proof.
            let latest = of_release.filter(|_| pocket == Some(Pocket::Updates));
            // A suite of which nothing is proven may have had it at any time.
            let at = until(&suites, latest)?;
            if pocket == Some(Pocket::Release) {
                of_release = Some(at);
            }
            all = Some(all.map_or(at, |known| known.min(at)));
        }
        all
    }

    /// The ways by which a version can have come, the release suite before `-updates`: of each the suites whose
    /// listings prove absence.
    fn ways(&self, listed: &Listed, pocket: Option<Pocket>) -> Vec<(Option<Pocket>, Vec<&str>)> {
        let platform: Vec<Pocket> = self.suites.needed().into_iter().map(|(pocket, _)| pocket).collect();
        let known: Vec<(&str, Option<Pocket>)> =
            self.times.keys().map(|suite| (suite.as_str(), pocket_of(self.suites, suite))).collect();
        // Alpine's repositories, third parties', and ones that are arranged by themselves: a source keeps to the
        // ones that carry it.
        let carriers: BTreeSet<&str> = listed.keys().filter_map(|(_, shelf)| shelf.as_deref()).collect();
        let is_in_platform = carriers.iter().any(|suite| pocket_of(self.suites, suite).is_some());
        let by_itself = known.iter().filter(|(suite, p)| p.is_none() && carriers.contains(suite));
        let by_itself = by_itself.map(|(suite, _)| (None, vec![*suite]));
        if platform.is_empty()
            || !is_in_platform && !carriers.is_empty()
            || known.iter().all(|(_, p)| p.is_none())
        {
            let own: Vec<_> = by_itself.collect();
            return if own.is_empty() { vec![(None, Vec::new())] } else { own };
        }
        let mut needed: Vec<Pocket> = match pocket {
            Some(pocket @ (Pocket::Security | Pocket::Backports)) => vec![pocket],
            // Some go out through `-updates` ahead of their point release.
            Some(Pocket::Release | Pocket::Updates) => vec![Pocket::Release, Pocket::Updates],
            None => platform.clone(),
        };
        // A platform that has but one suite has no others to ask.
        needed.retain(|pocket| *pocket == Pocket::Backports || platform.contains(pocket));
        needed.sort_by_key(|pocket| *pocket == Pocket::Updates);
        // A listing of some components says nothing of sources of others.
        let shelves = || listed.keys().filter_map(|(_, shelf)| shelf.as_deref());
        let covers = |suite: &str| match components(suite) {
            None => true,
            Some(own) => shelves()
                .filter_map(components)
                .any(|of| of.split('+').all(|component| own.split('+').any(|o| o == component))),
        };
        let of = |pocket| known.iter().filter(move |(_, p)| *p == Some(pocket)).map(|(suite, _)| *suite);
        let needed =
            needed.into_iter().map(|pocket| (Some(pocket), of(pocket).filter(|s| covers(s)).collect()));
        needed.chain(by_itself).collect()
    }

    /// Until when this version, or anything newer, was not out.
    pub(super) fn not_out_before(
        &self,
        ecosystem: Ecosystem,
        listed: &Listed,
        version: &str,
        pocket: Option<Pocket>,
    ) -> Option<Time> {
        // What its changelog calls a stable update may have come through the security suite: then any way counts.
        let through = |shelf: &Shelf| shelf.as_deref().and_then(|suite| pocket_of(self.suites, suite));
        let is_in_security =
            listed.keys().any(|(v, shelf)| v == version && through(shelf) == Some(Pocket::Security));
        let pocket = match pocket {
            Some(Pocket::Release | Pocket::Updates) if is_in_security => None,
            pocket => pocket,
        };
        self.absent_until(listed, pocket, |v| version::compare(ecosystem, v, version) != Ordering::Less)
    }

    /// Up to when the suites are known: of those that publish at any time the one that was listed longest ago.
    /// The release suite changes with point releases only, and its date stands still between them.
    pub(super) fn as_of(&self) -> Option<Time> {
        let last = |suite: &str| self.times.get(suite).and_then(BTreeSet::last).copied();
        let mut by_pocket: BTreeMap<Pocket, Time> = BTreeMap::new();
        let mut of_none: Option<Time> = None;
        for suite in self.times.keys() {
            let Some(at) = last(suite) else { continue };
            match pocket_of(self.suites, suite) {
                Some(pocket) => {
                    let newest = by_pocket.entry(pocket).or_insert(at);
                    *newest = at.max(*newest);
                }
                None => of_none = Some(of_none.map_or(at, |known| known.min(at))),
            }
        }
        let moving = [Pocket::Security, Pocket::Updates].iter().filter_map(|p| by_pocket.get(p)).min();
        moving.or(by_pocket.get(&Pocket::Release)).copied().into_iter().chain(of_none).min()
    }
}

impl PlatformBaseline {
    /// Until when listings prove that nothing newer than this version of a source was out.
    #[must_use]
    pub fn nothing_newer_until(&self, ecosystem: Ecosystem, source: &str, version: &str) -> Option<Time> {
        if self.listings.is_empty() {
            return None;
        }
        let history = self.history(ecosystem, source)?;
        let suites = PlatformSuites::of(&self.platform, self.codename.as_deref());
        let times = self.listing_times();
        let listed = listed_of(&history.sightings);
        let newer = |v: &str| version::compare(ecosystem, v, version) == Ordering::Greater;
        Listings::new(&suites, &times).absent_until(&listed, None, newer)
    }

    /// The suites of the platform that no listing knows: what was published through them is not known. None where
    /// a repository that is arranged by itself was listed, or where no repository says anything.
    #[must_use]
    pub fn unlisted_suites(&self) -> Vec<String> {
        let has_repositories = || {
            let mut sightings = self.sources.iter().flat_map(|history| &history.sightings);
            sightings.any(|sighting| sighting.suite.is_some())
        };
        if self.listings.is_empty() && !has_repositories() {
            return Vec::new();
        }
        let suites = PlatformSuites::of(&self.platform, self.codename.as_deref());
        let pockets = || self.listings.iter().map(|listing| pocket_of(&suites, &listing.suite));
        let listed: BTreeSet<Pocket> = pockets().flatten().collect();
        if listed.is_empty() && pockets().next().is_some() {
            return Vec::new();
        }
        let needed = suites.needed().into_iter();
        needed.filter(|(pocket, _)| !listed.contains(pocket)).map(|(_, name)| name).collect()
    }

    /// Up to when its repositories are known; `None` if none was listed.
    #[must_use]
    pub fn listed_as_of(&self) -> Option<Time> {
        let suites = PlatformSuites::of(&self.platform, self.codename.as_deref());
        Listings::new(&suites, &self.listing_times()).as_of()
    }

    /// Up to when anything in it can have been published.
    #[must_use]
    pub fn known_until(&self) -> Time {
        self.listings
            .iter()
            .filter_map(|l| l.taken_at.last())
            .max()
            .map_or(self.as_of, |at| self.as_of.max(*at))
    }

    pub(super) fn listing_times(&self) -> BTreeMap<String, BTreeSet<Time>> {
        self.listings.iter().map(|l| (l.suite.clone(), l.taken_at.iter().copied().collect())).collect()
    }
}

/// The pocket of a suite, whatever components of it were listed.
fn pocket_of(suites: &PlatformSuites, suite: &str) -> Option<Pocket> {
    let name = suite.split_once('/').map_or(suite, |(name, _)| name);
    suites.pocket(&[name.to_owned()], None)
}

/// The components that were listed of a suite, where not all were.
fn components(suite: &str) -> Option<&str> {
    suite.split_once('/').map(|(_, components)| components)
}

/// What sightings say of channel sources.
pub(super) fn listed_of(sightings: &[Sighting]) -> Listed {
    let listed = sightings.iter().filter(|sighting| sighting.role == SourceRole::Channel);
    listed.map(|sighting| ((sighting.version.clone(), sighting.suite.clone()), sighting.at)).collect()
}
