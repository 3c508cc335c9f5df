//! From changelog entries to the history of a source package: which entries are releases, when each was
//! published, on what evidence, and between which bounds.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::suites::{PlatformSuites, Pocket};
use super::vendor::has_foreign_suites;
use super::{Because, Evidence, History, OtherEntry, Release, Span, is_backport};
use crate::model::{Ecosystem, ReleaseEntry, Time, version};

/// What all hosts together say of one source package.
#[derive(Debug, Clone, Default)]
pub(super) struct Gathered {
    /// Entries by version; several hosts say the same.
    pub(super) entries: BTreeMap<String, ReleaseEntry>,
    /// Rebuilds by binary version.
    pub(super) rebuilds: BTreeMap<String, ReleaseEntry>,
    /// Source versions that hosts run, with the earliest time at which one was seen to.
    pub(super) installed: BTreeMap<String, Time>,
    /// Binary versions of rebuilds that hosts run, with the earliest time at which one was seen to.
    pub(super) installed_rebuilds: BTreeMap<String, Time>,
    /// Oldest and newest version of each changelog that was read.
    pub(super) spans: Vec<Span>,
    /// A package of it says that a third party made it.
    pub(super) third_party: bool,
}

impl Gathered {
    /// Adds the entries of one changelog, all of this source.
    pub(super) fn add_changelog(&mut self, ecosystem: Ecosystem, entries: &[Joined<'_>]) {
        for joined in entries {
            joined.merge(if joined.entry.rebuild { &mut self.rebuilds } else { &mut self.entries });
        }
        let own = || entries.iter().filter(|joined| !joined.entry.rebuild);
        let order = |a: &&Joined<'_>, b: &&Joined<'_>| version::compare(ecosystem, &a.version, &b.version);
        if let (Some(oldest), Some(newest)) = (own().min_by(order), own().max_by(order)) {
            let span = Span {
                oldest: oldest.version.to_string(),
                newest: newest.version.to_string(),
                since: oldest.entry.dated,
            };
            if !self.spans.contains(&span) {
                self.spans.push(span);
            }
        }
    }
}

/// An entry under the version that it has in the source that it is compared as.
pub(super) struct Joined<'a> {
    pub(super) version: Cow<'a, str>,
    /// The version of the entry above it, in the same terms.
    pub(super) superseded_by: Option<Cow<'a, str>>,
    pub(super) entry: &'a ReleaseEntry,
}

impl Joined<'_> {
    /// Keeps what is known of one version: the first date, all CVE ids.
    fn merge(&self, into: &mut BTreeMap<String, ReleaseEntry>) {
        match into.get_mut(&*self.version) {
            None => {
                let version = self.version.to_string();
                let superseded_by = self.superseded_by.as_ref().map(ToString::to_string);
                into.insert(version.clone(), ReleaseEntry { version, superseded_by, ..self.entry.clone() });
            }
            Some(known) => {
                if known.superseded_by.is_none() {
                    known.superseded_by = self.superseded_by.as_ref().map(ToString::to_string);
                }
                known.dated = known.dated.or(self.entry.dated);
                if known.cves != self.entry.cves {
                    known.cves.extend(self.entry.cves.iter().cloned());
                    known.cves.sort_unstable();
                    known.cves.dedup();
                }
            }
        }
    }
}

/// What dates releases on one platform.
pub(super) struct Calendar<'a> {
    pub(super) suites: &'a PlatformSuites,
    /// When point releases came out, sorted: the dates of the own entries of `base-files`, and the release's.
    pub(super) point_releases: Vec<Time>,
}

impl<'a> Calendar<'a> {
    /// Reads the point releases from what was gathered of `base-files`.
    pub(super) fn new(suites: &'a PlatformSuites, base_files: Option<&Gathered>) -> Self {
        let mut points: Vec<Time> = suites.released().into_iter().collect();
        if suites.has_point_releases()
            && let Some(base_files) = base_files
        {
            let own = |entry: &&ReleaseEntry| matches!(suites.pocket(&entry.suites, entry.dated), Some(p) if p != Pocket::Backports);
            points.extend(base_files.entries.values().filter(own).filter_map(|entry| entry.dated));
        }
        points.sort_unstable();
        Calendar { suites, point_releases: points }
    }

    /// When an entry of this date and pocket was published, on what evidence, and whether the date was moved
    /// to the platform's own release.
    fn date(&self, dated: Time, pocket: Option<Pocket>, because: Because) -> (Time, Evidence, bool) {
        let own = match pocket {
            Some(Pocket::Security | Pocket::Updates) => Evidence::ChangelogSecurity,
            _ => Evidence::Changelog,
        };
        if because == Because::ThirdParty {
            return (dated, Evidence::Changelog, false);
        }
        if let Some(start) = self.suites.released().or(self.point_releases.first().copied())
            && dated < start
            && (self.suites.released().is_some() || because == Because::Installed)
        {
            return (start, own, true);
        }
        if pocket == Some(Pocket::Release) && self.suites.has_point_releases() {
            let next = self.point_releases.partition_point(|point| *point < dated);
            if let Some(point) = self.point_releases.get(next) {
                return (*point, Evidence::PointRelease, false);
            }
        }
        (dated, own, false)
    }
}

/// Builds the history of one source package.
pub(super) fn history_of(
    ecosystem: Ecosystem,
    source: &str,
    gathered: Gathered,
    calendar: &Calendar<'_>,
) -> History {
    let installed_entries_are_foreign = gathered
        .installed
        .keys()
        .filter_map(|version| gathered.entries.get(version))
        .any(|entry| has_foreign_suites(&entry.suites));
    let third_party = gathered.third_party || installed_entries_are_foreign;
    let rules = Rules {
        third_party,
        backport: gathered.installed.keys().any(|version| is_backport(version)),
        calendar,
    };

    let mut releases = Vec::new();
    let mut others = Vec::new();
    let because: BTreeMap<String, Option<Because>> = gathered
        .entries
        .iter()
        .map(|(v, entry)| (v.clone(), rules.because(entry, gathered.installed.contains_key(v))))
        .collect();
    let mut brought = brought_by(&gathered.entries, &because);
    for (version, entry) in gathered.entries {
        match because.get(&version).copied().flatten() {
            Some(because) => releases.push(rules.release(entry, because)),
            None => others.push(OtherEntry {
                brought_by: brought.remove(&version),
                version,
                suites: entry.suites,
                dated: entry.dated,
                cves: entry.cves,
            }),
        }
    }
    for version in gathered.installed.keys() {
        if !releases.iter().any(|r: &Release| version::compare(ecosystem, &r.version, version).is_eq()) {
            releases.push(first_sight(version.clone()));
        }
    }
    let mut rebuilds: Vec<Release> = gathered
        .rebuilds
        .into_values()
        .map(|entry| {
            let because = rules.because(&entry, true).unwrap_or(Because::Installed);
            rules.release(entry, because)
        })
        .collect();
    for version in gathered.installed_rebuilds.keys() {
        if !rebuilds.iter().any(|r| r.version == *version) {
            rebuilds.push(first_sight(version.clone()));
        }
    }

    settle(ecosystem, &mut releases, &gathered.installed);
    newest_first(ecosystem, &mut rebuilds, |r| &r.version);
    see_by(ecosystem, &mut rebuilds, &gathered.installed_rebuilds);
    rebuilds.iter_mut().for_each(keep_to_bounds);
    newest_first(ecosystem, &mut others, |o| &o.version);
    if let Some(oldest) = releases.last() {
        let newer = |v: &str| version::compare(ecosystem, v, &oldest.version) == Ordering::Greater;
        others.retain(|other| !other.cves.is_empty() || newer(&other.version));
    }
    let spans = joined_spans(ecosystem, gathered.spans);
    History {
        ecosystem,
        source: source.to_owned(),
        third_party,
        third_party_by_suites: third_party && !gathered.third_party,
        spans,
        releases,
        others,
        rebuilds,
    }
}

/// The release that brought each entry that is none: the next one above it in its changelog. Chains of entries
/// are followed once each, so that what stands in circles (changelogs of hosts that contradict each other) ends.
fn brought_by(
    entries: &BTreeMap<String, ReleaseEntry>,
    because: &BTreeMap<String, Option<Because>>,
) -> BTreeMap<String, String> {
    let mut known: BTreeMap<&str, Option<&str>> = BTreeMap::new();
    for (version, _) in entries.iter().filter(|(version, _)| because.get(*version) == Some(&None)) {
        let mut chain = Vec::new();
        let mut at = version.as_str();
        let found = loop {
            if let Some(found) = known.get(at) {
                break *found;
            }
            if because.get(at).is_some_and(Option::is_some) {
                break Some(at);
            }
            known.insert(at, None); // until it is known better: ends circles
            chain.push(at);
            match entries.get(at).and_then(|entry| entry.superseded_by.as_deref()) {
                Some(above) => at = above,
                None => break None,
            }
        };
        known.extend(chain.into_iter().map(|version| (version, found)));
    }
    let brought = known.into_iter().filter_map(|(version, by)| Some((version.to_owned(), by?.to_owned())));
    brought.collect()
}

/// What decides whether an entry is a release of this source on this platform.
struct Rules<'a> {
    third_party: bool,
    backport: bool,
    calendar: &'a Calendar<'a>,
}

impl Rules<'_> {
    fn because(&self, entry: &ReleaseEntry, installed: bool) -> Option<Because> {
        let pocket = self.calendar.suites.pocket(&entry.suites, entry.dated);
        let unreleased = entry.suites.iter().any(|suite| suite.eq_ignore_ascii_case("unreleased"));
        match pocket {
            Some(Pocket::Backports) if self.backport => Some(Because::Backport),
            Some(Pocket::Security | Pocket::Updates | Pocket::Release) => Some(Because::OwnSuite),
            _ if self.third_party && !unreleased => Some(Because::ThirdParty),
            _ => installed.then_some(Because::Installed),
        }
    }

    fn release(&self, entry: ReleaseEntry, because: Because) -> Release {
        let pocket = self.calendar.suites.pocket(&entry.suites, entry.dated);
        let date = entry.dated.map(|dated| self.calendar.date(dated, pocket, because));
        let moved = date.is_some_and(|(_, _, moved)| moved);
        Release {
            published: date.map(|(at, ..)| at),
            evidence: date.map_or(Evidence::None, |(_, evidence, _)| evidence),
            bounded: moved,
            not_before: if moved { date.map(|(at, ..)| at) } else { entry.dated },
            not_after: None,
            urgency: entry.urgency,
            security: pocket == Some(Pocket::Security) || !entry.cves.is_empty(),
            backport: is_backport(&entry.version),
            because,
            suites: entry.suites,
            dated: entry.dated,
            cves: entry.cves,
            version: entry.version,
        }
    }
}

/// A version that a host runs and no changelog names.
fn first_sight(version: String) -> Release {
    Release {
        backport: is_backport(&version),
        version,
        published: None,
        evidence: Evidence::FirstSight,
        bounded: false,
        not_before: None,
        not_after: None,
        urgency: None,
        security: false,
        because: Because::Installed,
        suites: Vec::new(),
        dated: None,
        cves: Vec::new(),
    }
}

fn newest_first<T>(ecosystem: Ecosystem, list: &mut [T], version: impl Fn(&T) -> &str) {
    list.sort_by(|a, b| {
        version::compare(ecosystem, version(b), version(a)).then_with(|| version(b).cmp(version(a)))
    });
}

/// Sorts the releases and makes their dates agree: each was out when a host ran it or a newer one, none came
/// out later than a newer one of its channel. The backports are a channel of their own.
fn settle(ecosystem: Ecosystem, releases: &mut [Release], installed: &BTreeMap<String, Time>) {
    newest_first(ecosystem, releases, |r| &r.version);
    for backport in [false, true] {
        let of_channel = |version: &str| is_backport(version) == backport;
        let seen: BTreeMap<String, Time> =
            installed.iter().filter(|(v, _)| of_channel(v)).map(|(v, at)| (v.clone(), *at)).collect();
        let mut channel: Vec<&mut Release> =
            releases.iter_mut().filter(|release| release.backport == backport).collect();
        see_by_refs(ecosystem, &mut channel, &seen);
        let mut out_by: Option<Time> = None;
        for release in &mut channel {
            release.not_after = earlier(release.not_after, out_by);
            keep_to_bounds(release);
            out_by = earlier(earlier(out_by, release.published), release.not_after);
        }
        let mut not_out_before: Option<Time> = None;
        for release in channel.iter_mut().rev() {
            if release.published.is_none() {
                release.not_before = release.not_before.max(not_out_before);
            }
            not_out_before = not_out_before.max(release.published).max(release.not_before);
        }
    }
}

/// Bounds every version by the earliest time at which a host was seen to run it or a newer one.
fn see_by(ecosystem: Ecosystem, newest_first: &mut [Release], seen: &BTreeMap<String, Time>) {
    see_by_refs(ecosystem, &mut newest_first.iter_mut().collect::<Vec<_>>(), seen);
}

fn see_by_refs(ecosystem: Ecosystem, newest_first: &mut [&mut Release], seen: &BTreeMap<String, Time>) {
    let mut sightings: Vec<(&String, &Time)> = seen.iter().collect();
    sightings.sort_by(|a, b| version::compare(ecosystem, b.0, a.0));
    let mut sightings = sightings.into_iter().peekable();
    let mut out_by: Option<Time> = None;
    for release in newest_first {
        while let Some((_, at)) =
            sightings.next_if(|(v, _)| version::compare(ecosystem, v, &release.version) != Ordering::Less)
        {
            out_by = earlier(out_by, Some(*at));
        }
        release.not_after = earlier(release.not_after, out_by);
    }
}

/// Moves a date that is outside its bounds to the bound.
fn keep_to_bounds(release: &mut Release) {
    if let (Some(published), Some(not_after)) = (release.published, release.not_after)
        && published > not_after
    {
        release.published = Some(not_after);
        release.bounded = true;
    }
    if let Some(latest) = release.published.or(release.not_after) {
        release.not_before = release.not_before.map(|at| at.min(latest));
    }
}

fn earlier(a: Option<Time>, b: Option<Time>) -> Option<Time> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// Joins stretches that overlap, newest first.
fn joined_spans(ecosystem: Ecosystem, mut spans: Vec<Span>) -> Vec<Span> {
    let compare = |a: &str, b: &str| version::compare(ecosystem, a, b);
    spans.sort_by(|a, b| compare(&b.newest, &a.newest).then_with(|| compare(&a.oldest, &b.oldest)));
    let mut joined: Vec<Span> = Vec::new();
    for span in spans {
        match joined.last_mut() {
            Some(last) if compare(&span.newest, &last.oldest) != Ordering::Less => {
                if compare(&span.oldest, &last.oldest) == Ordering::Less {
                    last.oldest = span.oldest;
                    last.since = span.since;
                }
            }
            _ => joined.push(span),
        }
    }
    joined
}
