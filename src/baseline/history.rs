//! From changelog entries to the history of a source package: which entries are releases, when each was
//! published, on what evidence, and between which bounds.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use super::listings::{Listed, Listings};
use super::suites::{PlatformSuites, Pocket};
use super::vendor::has_foreign_suites;
use super::{Because, Evidence, History, OtherEntry, Release, Sighting, SourceRole, Span, is_backport};
use crate::model::{Advisory, Ecosystem, Package, ReleaseEntry, Time, version};

/// What all hosts and channel sources together say of one source package.
#[derive(Debug, Clone, Default)]
pub(super) struct Gathered {
    /// Entries by version; several hosts say the same.
    pub(super) entries: BTreeMap<String, ReleaseEntry>,
    /// Rebuilds by binary version.
    pub(super) rebuilds: BTreeMap<String, ReleaseEntry>,
    /// Source versions that hosts run, with the earliest time at which one was seen to.
    pub(super) installed: BTreeMap<String, Time>,
    /// Binary versions of rebuilds that hosts run or channel sources have, with the earliest time at which one
    /// was seen to.
    pub(super) seen_rebuilds: BTreeMap<String, Time>,
    /// Source versions that channel sources have, with the earliest time at which each was seen to.
    pub(super) listed: Listed,
    /// Source versions with the earliest time at which a package of it was built.
    pub(super) built: BTreeMap<String, Time>,
    /// Source versions that the newest listing with it still phases in: its time, and to how many of a hundred.
    pub(super) phased: BTreeMap<String, (Time, Option<u8>)>,
    /// Oldest and newest version of each changelog that was read.
    pub(super) spans: Vec<Span>,
    /// Advisories by the source version that they publish.
    pub(super) advisories: BTreeMap<String, BTreeSet<Advisory>>,
    /// A package of it says that a third party made it.
    pub(super) third_party: bool,
    /// Up to when a host or a folder knew of it.
    pub(super) as_of: Option<Time>,
}

impl Gathered {
    /// Adds the entries of one changelog, all of this source.
    pub(super) fn add_changelog(&mut self, ecosystem: Ecosystem, entries: &[Joined<'_>]) {
        for joined in entries {
            joined.merge(if joined.entry.rebuild { &mut self.rebuilds } else { &mut self.entries });
        }
        if ecosystem == Ecosystem::Rpm {
            return; // that a changelog has an entry does not mean that the version was published
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

impl Gathered {
    /// Notes that channel metadata names these versions, so that none of the channel is missing between them.
    pub(super) fn add_span(&mut self, ecosystem: Ecosystem, versions: &[&str]) {
        let order = |a: &&&str, b: &&&str| version::compare(ecosystem, a, b);
        if let (Some(oldest), Some(newest)) = (versions.iter().min_by(order), versions.iter().max_by(order)) {
            let span = Span { oldest: (*oldest).to_owned(), newest: (*newest).to_owned(), since: None };
            if !self.spans.contains(&span) {
                self.spans.push(span);
            }
        }
    }

    /// Notes what a package that was seen says of builds: of its source's version, or of a rebuild of that.
    pub(super) fn note_build(&mut self, package: &Package, version: &str, seen_at: Time) {
        let is_rebuild = package.version != version && package.version.starts_with(version);
        if is_rebuild && package.ecosystem != Ecosystem::Rpm {
            note_earliest(&mut self.seen_rebuilds, package.version.clone(), seen_at);
        } else if let Some(at) = package.built_at {
            note_earliest(&mut self.built, version.to_owned(), at.min(seen_at));
        }
    }

    /// Notes to how many of a hundred hosts a listing offers a version: the newest listing says how far it is,
    /// of the binaries of one listing the least.
    pub(super) fn note_phase(&mut self, version: &str, listed_at: Time, percent: Option<u8>) {
        let now = (listed_at, percent.filter(|percent| *percent < 100));
        let known = self.phased.entry(version.to_owned()).or_insert(now);
        if now.0 > known.0 || now.0 == known.0 && now.1.unwrap_or(100) < known.1.unwrap_or(100) {
            *known = now;
        }
    }

    /// Adds what a stored history holds, as if everything that it was made of had been added. `known_until` is
    /// the time of the newest listing that it can rest on.
    pub(super) fn add_history(&mut self, history: &History, known_until: Time) {
        self.third_party |= history.third_party && !history.third_party_by_suites;
        self.as_of = self.as_of.max(history.as_of);
        for release in &history.releases {
            if let Some(entry) = entry_of_release(history, release) {
                Joined::of(&entry).merge(&mut self.entries);
            }
            if let Some(at) = release.built_at {
                note_earliest(&mut self.built, release.version.clone(), at);
            }
            if !release.advisories.is_empty() {
                let known = self.advisories.entry(release.version.clone()).or_default();
                known.extend(release.advisories.iter().cloned());
            }
        }
        for rebuild in &history.rebuilds {
            if let Some(entry) = entry_of_release(history, rebuild) {
                let entry = ReleaseEntry { rebuild: true, ..entry };
                Joined::of(&entry).merge(&mut self.rebuilds);
            }
            if let Some(at) = rebuild.not_after {
                note_earliest(&mut self.seen_rebuilds, rebuild.version.clone(), at);
            }
        }
        for other in &history.others {
            let entry = entry_of(history, &other.version, &other.suites, other.dated, &other.cves);
            let entry = ReleaseEntry { superseded_by: other.brought_by.clone(), ..entry };
            Joined::of(&entry).merge(&mut self.entries);
        }
        for sighting in &history.sightings {
            match sighting.role {
                SourceRole::Host => note_earliest(&mut self.installed, sighting.version.clone(), sighting.at),
                SourceRole::Channel => {
                    let release = history.releases.iter().find(|r| r.version == sighting.version);
                    let percent = release.and_then(|release| release.phased_percent);
                    self.note_phase(&sighting.version, known_until, percent);
                    let key = (sighting.version.clone(), sighting.suite.clone());
                    note_earliest(&mut self.listed, key, sighting.at);
                }
            }
        }
        for span in &history.spans {
            if !self.spans.contains(span) {
                self.spans.push(span.clone());
            }
        }
    }
}

/// The changelog entry of a stored release, where it has one.
fn entry_of_release(history: &History, release: &Release) -> Option<ReleaseEntry> {
    let has_one = release.dated.is_some() || !release.suites.is_empty() || !release.cves.is_empty();
    let entry = entry_of(history, &release.version, &release.suites, release.dated, &release.cves);
    has_one.then(|| ReleaseEntry { urgency: release.urgency.clone(), ..entry })
}

/// A stored entry as it was read.
fn entry_of(
    history: &History,
    version: &str,
    suites: &[String],
    dated: Option<Time>,
    cves: &[String],
) -> ReleaseEntry {
    ReleaseEntry {
        ecosystem: history.ecosystem,
        source: history.source.clone(),
        version: version.to_owned(),
        suites: suites.to_vec(),
        urgency: None,
        dated,
        rebuild: false,
        superseded_by: None,
        cves: cves.to_vec(),
    }
}

/// Keeps the earliest time of each key.
pub(super) fn note_earliest<K: Ord>(map: &mut BTreeMap<K, Time>, key: K, at: Time) {
    map.entry(key).and_modify(|known| *known = at.min(*known)).or_insert(at);
}

/// An entry under the version that it has in the source that it is compared as.
pub(super) struct Joined<'a> {
    pub(super) version: Cow<'a, str>,
    /// The version of the entry above it, in the same terms.
    pub(super) superseded_by: Option<Cow<'a, str>>,
    pub(super) entry: &'a ReleaseEntry,
}

impl<'a> Joined<'a> {
    /// An entry that is in the terms of its source already.
    fn of(entry: &'a ReleaseEntry) -> Self {
        Joined {
            version: entry.version.as_str().into(),
            superseded_by: entry.superseded_by.as_deref().map(Cow::from),
            entry,
        }
    }

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
    /// What was listed when.
    pub(super) listings: Listings<'a>,
    /// When point releases came out, sorted: the dates of the own entries of `base-files`, and the release's.
    pub(super) point_releases: Vec<Time>,
}

impl<'a> Calendar<'a> {
    /// Reads the point releases from what was gathered of `base-files`.
    pub(super) fn new(
        suites: &'a PlatformSuites,
        listings: Listings<'a>,
        base_files: Option<&Gathered>,
    ) -> Self {
        let mut points: Vec<Time> = suites.released().into_iter().collect();
        if suites.has_point_releases()
            && let Some(base_files) = base_files
        {
            let own = |entry: &&ReleaseEntry| matches!(suites.pocket(&entry.suites, entry.dated), Some(p) if p != Pocket::Backports);
            points.extend(base_files.entries.values().filter(own).filter_map(|entry| entry.dated));
        }
        points.sort_unstable();
        Calendar { suites, listings, point_releases: points }
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
    let listed = || gathered.listed.keys().map(|(version, _)| version);
    let rules = Rules {
        ecosystem,
        third_party,
        backport: gathered.installed.keys().chain(listed()).any(|version| is_backport(version)),
        calendar,
    };
    let sightings = gathered.sightings(ecosystem);
    let seen = gathered.seen();

    let mut releases = Vec::new();
    let mut others = Vec::new();
    let because: BTreeMap<String, Option<Because>> = gathered
        .entries
        .iter()
        .map(|(v, entry)| (v.clone(), rules.because(entry, gathered.seen_as(v))))
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
    for version in seen.keys().chain(gathered.advisories.keys()) {
        if !releases.iter().any(|r: &Release| version::compare(ecosystem, &r.version, version).is_eq()) {
            let because = match gathered.installed.contains_key(version) {
                true => Because::Installed,
                false => Because::Repository,
            };
            releases.push(first_sight(version.clone(), because));
        }
    }
    for release in &mut releases {
        release.built_at = gathered.built.get(&release.version).copied();
        release.phased_percent = gathered.phased.get(&release.version).and_then(|(_, percent)| *percent);
        date_by_advisories(release, gathered.advisories.get(&release.version));
    }
    let mut rebuilds: Vec<Release> = gathered
        .rebuilds
        .into_values()
        .map(|entry| {
            let because = rules.because(&entry, Some(Because::Installed)).unwrap_or(Because::Installed);
            rules.release(entry, because)
        })
        .collect();
    for version in gathered.seen_rebuilds.keys() {
        if !rebuilds.iter().any(|r| r.version == *version) {
            rebuilds.push(first_sight(version.clone(), Because::Installed));
        }
    }

    let not_out_before = |release: &Release| {
        let pocket = calendar.suites.pocket(&release.suites, release.dated);
        let pocket = if release.backport { Some(Pocket::Backports) } else { pocket };
        calendar.listings.not_out_before(ecosystem, &gathered.listed, &release.version, pocket)
    };
    for release in &mut releases {
        date_by_build(release);
        release.not_before = release.not_before.max(not_out_before(release)).max(release.built_at);
    }
    settle(ecosystem, &mut releases, &seen);
    releases.iter_mut().for_each(date_by_listings);
    newest_first(ecosystem, &mut rebuilds, |r| &r.version);
    see_by(ecosystem, &mut rebuilds, &gathered.seen_rebuilds);
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
        as_of: gathered.as_of,
        sightings,
    }
}

impl Gathered {
    /// Why a version counts that a host or a channel source has.
    fn seen_as(&self, version: &str) -> Option<Because> {
        if self.installed.contains_key(version) {
            return Some(Because::Installed);
        }
        let from = (version.to_owned(), None);
        let is_listed = self.listed.range(from..).next().is_some_and(|((v, _), _)| v == version);
        (is_listed || self.advisories.contains_key(version)).then_some(Because::Repository)
    }

    /// By version the first time at which anything had it.
    fn seen(&self) -> BTreeMap<String, Time> {
        let mut seen = self.installed.clone();
        for ((version, _), at) in &self.listed {
            note_earliest(&mut seen, version.clone(), *at);
        }
        seen
    }

    fn sightings(&self, ecosystem: Ecosystem) -> Vec<Sighting> {
        let on_hosts = self.installed.iter().map(|(version, at)| Sighting {
            version: version.clone(),
            role: SourceRole::Host,
            suite: None,
            at: *at,
        });
        let listed = self.listed.iter().map(|((version, suite), at)| Sighting {
            version: version.clone(),
            role: SourceRole::Channel,
            suite: suite.clone(),
            at: *at,
        });
        let mut sightings: Vec<Sighting> = on_hosts.chain(listed).collect();
        sightings.sort_by(|a, b| version::compare(ecosystem, &b.version, &a.version).then_with(|| a.cmp(b)));
        sightings
    }
}

/// An advisory publishes a release on the day of its issue; of several the first does.
fn date_by_advisories(release: &mut Release, advisories: Option<&BTreeSet<Advisory>>) {
    release.advisories = advisories.into_iter().flatten().cloned().collect();
    release.security |= release.advisories.iter().any(Advisory::is_security);
    if let Some(issued) = release.advisories.iter().filter_map(|advisory| advisory.issued).min() {
        release.published = Some(issued);
        release.evidence = Evidence::Advisory;
        // What its changelog and its build say does not move what its publisher says.
        release.not_before = None;
    }
}

/// A release that nothing else dates was published when it was built.
fn date_by_build(release: &mut Release) {
    if release.published.is_none()
        && let Some(at) = release.built_at
    {
        release.published = Some(at);
        release.evidence = Evidence::BuildTime;
    }
}

/// A release that nothing else dates was published within the day before the first listing that has it, if the
/// listing before that has it not.
fn date_by_listings(release: &mut Release) {
    if release.published.is_none()
        && let (Some(from), Some(until)) = (release.not_before, release.not_after)
        && until <= from.plus_days(1)
    {
        release.published = Some(until);
        release.evidence = Evidence::Repository;
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
    ecosystem: Ecosystem,
    third_party: bool,
    backport: bool,
    calendar: &'a Calendar<'a>,
}

impl Rules<'_> {
    fn because(&self, entry: &ReleaseEntry, seen: Option<Because>) -> Option<Because> {
        let pocket = self.calendar.suites.pocket(&entry.suites, entry.dated);
        let unreleased = entry.suites.iter().any(|suite| suite.eq_ignore_ascii_case("unreleased"));
        match pocket {
            Some(Pocket::Backports) if self.backport => Some(Because::Backport),
            Some(Pocket::Security | Pocket::Updates | Pocket::Release) => Some(Because::OwnSuite),
            // Of rpm a version counts that something has, whoever made it.
            _ if self.third_party && !unreleased && self.ecosystem != Ecosystem::Rpm => {
                Some(Because::ThirdParty)
            }
            _ => seen,
        }
    }

    fn release(&self, entry: ReleaseEntry, because: Because) -> Release {
        let pocket = self.calendar.suites.pocket(&entry.suites, entry.dated);
        // Entries of rpm are written long before the package is built.
        let dated = entry.dated.filter(|_| self.ecosystem != Ecosystem::Rpm);
        let date = dated.map(|dated| self.calendar.date(dated, pocket, because));
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
            built_at: None,
            phased_percent: None,
            advisories: Vec::new(),
            cves: entry.cves,
            version: entry.version,
        }
    }
}

/// A version that a host runs or a channel source has, and no changelog names.
fn first_sight(version: String, because: Because) -> Release {
    Release {
        backport: is_backport(&version),
        version,
        published: None,
        evidence: match because {
            Because::Repository => Evidence::Repository,
            _ => Evidence::FirstSight,
        },
        bounded: false,
        not_before: None,
        not_after: None,
        urgency: None,
        security: false,
        because,
        suites: Vec::new(),
        dated: None,
        built_at: None,
        phased_percent: None,
        advisories: Vec::new(),
        cves: Vec::new(),
    }
}

fn newest_first<T>(ecosystem: Ecosystem, list: &mut [T], version: impl Fn(&T) -> &str) {
    list.sort_by(|a, b| {
        version::compare(ecosystem, version(b), version(a)).then_with(|| version(b).cmp(version(a)))
    });
}

/// Sorts the releases and makes their dates agree: each was out when it or a newer one was seen, none came out
/// later than a newer one of its channel, nor before its bound. The backports are a channel of their own.
fn settle(ecosystem: Ecosystem, releases: &mut [Release], seen: &BTreeMap<String, Time>) {
    newest_first(ecosystem, releases, |r| &r.version);
    for backport in [false, true] {
        let of_channel = |version: &str| is_backport(version) == backport;
        let seen: BTreeMap<String, Time> =
            seen.iter().filter(|(v, _)| of_channel(v)).map(|(v, at)| (v.clone(), *at)).collect();
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
    release.not_before = earlier_of(release.not_before, release.not_after);
    if let (Some(published), Some(not_before)) = (release.published, release.not_before)
        && published < not_before
    {
        release.published = Some(not_before);
        release.bounded = true;
    }
}

/// A bound that is not above another, where there is one.
fn earlier_of(bound: Option<Time>, other: Option<Time>) -> Option<Time> {
    bound.map(|at| other.map_or(at, |other| at.min(other)))
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
