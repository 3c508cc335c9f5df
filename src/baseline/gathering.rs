//! What all inputs say of one platform, gathered and sealed.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::channel::{ChannelInput, ChannelKind};
use super::history::{Calendar, Gathered, Joined, history_of, note_earliest};
use super::listings::{Listings, Shelf};
use super::vendor::{is_tagged, is_third_party};
use super::{
    BaselinePackage, History, HostId, HostVersion, Listing, PlatformBaseline, PlatformSuites, Release,
    SideBySide, joined_source, slot_of_package, source_of,
};
use crate::model::{Ecosystem, Package, Platform, ReleaseEntry, SourcePackage, System, Time, version};

/// What all systems of one platform and channel say.
#[derive(Default)]
pub(super) struct Gathering<'a> {
    codename: Option<&'a str>,
    hosts: BTreeSet<HostId>,
    as_of: Option<Time>,
    voted_as_of: Option<Time>,
    /// By suite the times at which it was listed whole.
    listings: BTreeMap<String, BTreeSet<Time>>,
    sources: BTreeMap<(Ecosystem, String), Gathered>,
    packages: BTreeMap<PackageKey, BTreeMap<VersionKey<'a>, BTreeSet<HostId>>>,
}

/// Ecosystem, name or slot, architecture, and whether it is a slot.
type PackageKey = (Ecosystem, String, String, bool);

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct VersionKey<'a> {
    source_version: &'a str,
    version: &'a str,
    name: Option<&'a str>,
    source: String,
    built_using: &'a [SourcePackage],
}

impl<'a> Gathering<'a> {
    /// Adds a system of a host.
    pub(super) fn add_system(
        &mut self,
        system: &'a System,
        id: &HostId,
        platform: &Platform,
        taken_at: Time,
        votes: bool,
    ) {
        self.codename = self.codename.or(system.os.as_ref().and_then(|os| os.codename.as_deref()));
        self.as_of = self.as_of.max(Some(taken_at));
        for package in system.packages.iter().filter(|package| !is_tagged(package)) {
            self.note_installed(package, platform, taken_at);
        }
        self.add_changelogs(&system.releases, taken_at);
        if votes {
            self.voted_as_of = self.voted_as_of.max(Some(taken_at));
            self.hosts.insert(id.clone());
            self.vote(system, id);
        }
    }

    /// Adds what a channel source says, which was read at this time at the latest.
    pub(super) fn add_channel(&mut self, channel: &'a ChannelInput, platform: &Platform, taken_at: Time) {
        let known_at =
            channel.taken_at.or_else(|| newest_in(channel)).map_or(taken_at, |at| at.min(taken_at));
        self.as_of = self.as_of.max(Some(known_at));
        let is_repository = !channel.kind.is_folder();
        let lists_components = !channel.whole_components.is_empty();
        let shelf: Shelf = is_repository.then(|| match (&channel.suite, lists_components) {
            (Some(suite), true) => format!("{suite}/{}", channel.whole_components.join("+")),
            (suite, _) => suite.clone().unwrap_or_default(),
        });
        if let Some(suite) = shelf.as_ref().filter(|_| channel.lists_all || lists_components) {
            self.listings.entry(suite.clone()).or_default().insert(taken_at);
        }
        for offer in &channel.packages {
            let package = &offer.package;
            let (source, version) = source_of(package);
            let gathered = self.sources.entry((package.ecosystem, source.into_owned())).or_default();
            gathered.third_party |= is_third_party(package, platform);
            if shelf.is_none() {
                gathered.as_of = gathered.as_of.max(Some(known_at));
            }
            note_earliest(&mut gathered.listed, (version.to_owned(), shelf.clone()), taken_at);
            gathered.note_build(package, version, taken_at);
            gathered.note_phase(version, taken_at, offer.phased_percent);
            if package.version != version || !package.built_using.is_empty() {
                self.offer(package);
            }
        }
        self.add_changelogs(&channel.releases, known_at);
        self.add_advisories(channel);
    }

    /// Adds what advisories publish; of rpm, metadata names every version that was published.
    fn add_advisories(&mut self, channel: &ChannelInput) {
        let mut named: BTreeMap<(Ecosystem, Cow<'_, str>), Vec<&str>> = BTreeMap::new();
        for published in &channel.advisories {
            let key = (published.ecosystem, published.source.clone());
            let gathered = self.sources.entry(key).or_default();
            let known = gathered.advisories.entry(published.version.clone()).or_default();
            known.insert(published.advisory.clone());
            // A security database lists versions that fix something, and no others.
            if channel.kind != ChannelKind::SecurityDatabase {
                let source = (published.ecosystem, Cow::from(&published.source));
                named.entry(source).or_default().push(&published.version);
            }
        }
        if channel.kind == ChannelKind::RpmRepository {
            for offer in &channel.packages {
                let (source, version) = source_of(&offer.package);
                named.entry((offer.package.ecosystem, source)).or_default().push(version);
            }
        }
        for ((ecosystem, source), versions) in named {
            let gathered = self.sources.entry((ecosystem, source.into_owned())).or_default();
            gathered.add_span(ecosystem, &versions);
        }
    }

    /// Adds what an earlier baseline knows of the platform, but for what its hosts run.
    pub(super) fn add_known(&mut self, known: &'a PlatformBaseline) {
        self.codename = self.codename.or(known.codename.as_deref());
        self.as_of = self.as_of.max(Some(known.as_of));
        for listing in &known.listings {
            self.listings.entry(listing.suite.clone()).or_default().extend(&listing.taken_at);
        }
        for history in &known.sources {
            let key = (history.ecosystem, history.source.clone());
            self.sources.entry(key).or_default().add_history(history, known.known_until());
        }
        for (row, version) in known.packages.iter().flat_map(|row| row.versions.iter().map(move |v| (row, v)))
        {
            if version.hosts.is_empty() {
                self.packages.entry(key_of(row)).or_default().entry(version_of(row, version)).or_default();
            }
        }
    }

    /// Adds the votes of a stored baseline's hosts, of those for which `votes` holds.
    pub(super) fn add_votes(&mut self, known: &'a PlatformBaseline, votes: impl Fn(&HostId) -> bool) {
        for (row, version) in known.packages.iter().flat_map(|row| row.versions.iter().map(move |v| (row, v)))
        {
            let mut hosts = version.hosts.iter().filter(|id| votes(id)).cloned().peekable();
            if hosts.peek().is_some() {
                let versions = self.packages.entry(key_of(row)).or_default();
                versions.entry(version_of(row, version)).or_default().extend(hosts);
            }
        }
        let mut hosts = known.hosts.iter().filter(|id| votes(id)).cloned().peekable();
        if hosts.peek().is_some() {
            self.voted_as_of = self.voted_as_of.max(Some(known.as_of));
        }
        self.hosts.extend(hosts);
    }

    fn add_changelogs(&mut self, releases: &[ReleaseEntry], known_at: Time) {
        let mut changelogs: BTreeMap<(Ecosystem, Cow<'_, str>), Vec<Joined<'_>>> = BTreeMap::new();
        for entry in releases {
            let (source, version) = joined_source(&entry.source, &entry.version);
            let above = entry.superseded_by.as_deref();
            let superseded_by = above.map(|above| joined_source(&entry.source, above).1);
            let joined = Joined { version, superseded_by, entry };
            changelogs.entry((entry.ecosystem, source)).or_default().push(joined);
        }
        for ((ecosystem, source), entries) in changelogs {
            let gathered = self.sources.entry((ecosystem, source.into_owned())).or_default();
            gathered.add_changelog(ecosystem, &entries);
            gathered.as_of = gathered.as_of.max(Some(known_at));
        }
    }

    fn note_installed(&mut self, package: &Package, platform: &Platform, taken_at: Time) {
        let (source, version) = source_of(package);
        let gathered = self.sources.entry((package.ecosystem, source.into_owned())).or_default();
        gathered.third_party |= is_third_party(package, platform);
        gathered.as_of = gathered.as_of.max(Some(taken_at));
        note_earliest(&mut gathered.installed, version.to_owned(), taken_at);
        gathered.note_build(package, version, taken_at);
    }

    /// Keeps a build of a channel source that its source's version does not tell.
    fn offer(&mut self, package: &'a Package) {
        let slot = slot_of_package(package);
        let name = slot.as_ref().map_or_else(|| package.name.clone(), ToString::to_string);
        let key = (package.ecosystem, name, package.arch.clone(), slot.is_some());
        let version = version_key(package, slot.is_some());
        self.packages.entry(key).or_default().entry(version).or_default();
    }

    /// A host runs one of each slot: what it would boot, where that is known.
    fn vote(&mut self, system: &'a System, id: &HostId) {
        let mut members: BTreeMap<PackageKey, Vec<&'a Package>> = BTreeMap::new();
        for package in system.packages.iter().filter(|package| !is_tagged(package)) {
            let slot = slot_of_package(package);
            let name = slot.as_ref().map_or_else(|| package.name.clone(), ToString::to_string);
            let key = (package.ecosystem, name, package.arch.clone(), slot.is_some());
            members.entry(key).or_default().push(package);
        }
        for (key, members) in members {
            let slot = members.first().copied().and_then(slot_of_package);
            let Some(found) = SideBySide::of(members, slot.as_ref(), system.boot.as_ref()) else { continue };
            let version = version_key(found.chosen, key.3);
            self.packages.entry(key).or_default().entry(version).or_default().insert(id.clone());
        }
    }

    /// The baseline of the platform.
    pub(super) fn seal(
        self,
        platform: Platform,
        channel: Option<String>,
        built_at: Time,
    ) -> PlatformBaseline {
        let suites = PlatformSuites::of(&platform, self.codename);
        let listings = || Listings::new(&suites, &self.listings);
        let base_files = self.sources.get(&(Ecosystem::Deb, "base-files".to_owned()));
        let calendar = Calendar::new(&suites, listings(), base_files);
        let of_channel = listings().as_of().or(self.as_of).unwrap_or(built_at);
        let as_of = self.voted_as_of.unwrap_or(of_channel);
        let last_listing = self.listings.values().filter_map(BTreeSet::last).max();
        let known_until = last_listing.map_or(as_of, |at| as_of.max(*at));
        let mut sources: Vec<History> = self
            .sources
            .into_iter()
            .map(|((ecosystem, source), gathered)| history_of(ecosystem, &source, gathered, &calendar))
            .filter(|history| !history.releases.is_empty())
            .collect();
        for history in &mut sources {
            let releases = history.releases.iter_mut().chain(&mut history.rebuilds);
            releases.for_each(|release| nothing_after(release, known_until));
        }
        let packages = self.packages.into_iter().map(|(key, versions)| sealed(key, versions)).collect();
        PlatformBaseline {
            platform,
            channel,
            codename: suites.codename().map(str::to_owned),
            as_of,
            hosts: self.hosts.into_iter().collect(),
            listings: self
                .listings
                .into_iter()
                .map(|(suite, times)| Listing { suite, taken_at: times.into_iter().collect() })
                .collect(),
            sources,
            packages,
        }
    }
}

/// What a folder without a date is known to be of: the newest build or changelog entry in it.
fn newest_in(channel: &ChannelInput) -> Option<Time> {
    let built = channel.packages.iter().filter_map(|offer| offer.package.built_at);
    built.chain(channel.releases.iter().filter_map(|entry| entry.dated)).max()
}

/// The key of a stored row.
fn key_of(row: &BaselinePackage) -> PackageKey {
    (row.ecosystem, row.name.clone(), row.arch.clone(), row.slot.is_some())
}

/// The key of a stored version.
fn version_of<'a>(row: &'a BaselinePackage, version: &'a HostVersion) -> VersionKey<'a> {
    VersionKey {
        source_version: &version.source_version,
        version: &version.version,
        name: version.name.as_deref(),
        source: row.source.clone(),
        built_using: &version.built_using,
    }
}

fn version_key(package: &Package, is_slot: bool) -> VersionKey<'_> {
    let (source, source_version) = source_of(package);
    VersionKey {
        source_version,
        version: &package.version,
        name: is_slot.then_some(package.name.as_str()),
        source: source.into_owned(),
        built_using: &package.built_using,
    }
}

/// An entry that was read by then was written by then, whatever its maker's clock said.
fn nothing_after(release: &mut Release, as_of: Time) {
    release.bounded |= release.published.is_some_and(|at| at > as_of);
    for at in [&mut release.published, &mut release.not_before, &mut release.not_after] {
        *at = at.map(|at| at.min(as_of));
    }
}

fn sealed(key: PackageKey, versions: BTreeMap<VersionKey<'_>, BTreeSet<HostId>>) -> BaselinePackage {
    let (ecosystem, name, arch, is_slot) = key;
    let mut versions: Vec<_> = versions.into_iter().collect();
    versions.sort_by(|(a, _), (b, _)| {
        version::compare(ecosystem, b.source_version, a.source_version)
            .then_with(|| version::compare(ecosystem, b.version, a.version))
            .then_with(|| b.cmp(a))
    });
    let source = versions.first().map(|(v, _)| v.source.clone()).unwrap_or_default();
    BaselinePackage {
        ecosystem,
        slot: is_slot.then(|| name.clone()),
        name,
        arch,
        source,
        versions: versions
            .into_iter()
            .map(|(v, hosts)| HostVersion {
                version: v.version.to_owned(),
                source_version: v.source_version.to_owned(),
                name: v.name.map(str::to_owned),
                built_using: v.built_using.to_vec(),
                hosts: hosts.into_iter().collect(),
            })
            .collect(),
    }
}
