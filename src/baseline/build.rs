//! Building a baseline from host inventories.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::history::{Calendar, Gathered, Joined, history_of};
use super::vendor::is_third_party;
use super::{
    BASELINE_SCHEMA, Baseline, BaselinePackage, BaselineSource, History, HostId, HostVersion,
    PlatformBaseline, PlatformSuites, Release, SourceRole, joined_source, slot_of, source_of,
};
use crate::error::{Error, Result};
use crate::model::{Ecosystem, Inventory, OsInfo, Package, Platform, SourcePackage, System, Time, version};

/// A host that a baseline is built from.
#[derive(Debug, Clone)]
pub struct HostInput {
    /// Its name: the baseline stores its hash, so that no host counts twice.
    pub id: String,
    /// What it holds, with its releases.
    pub inventory: Inventory,
}

/// How a baseline is built.
#[derive(Debug, Clone)]
pub struct BuildOptions {
    /// What its makers call it.
    pub name: String,
    /// The time of the build.
    pub as_of: Time,
    /// Hosts that were read longer ago do not vote.
    pub max_host_age_days: i64,
}

/// Builds a baseline from hosts. The order of the hosts does not matter; of two inventories of one host the
/// newer counts.
///
/// # Errors
/// `Config` if there is no host, a host was read later than the time of the build, has a required gap, names no platform or has no package, or if none is
/// young enough to vote.
pub fn build(hosts: &[HostInput], options: &BuildOptions) -> Result<Baseline> {
    let hosts = one_each(hosts);
    for host in hosts.values() {
        check(host, options.as_of)?;
    }
    let votes =
        |host: &HostInput| options.as_of.days_since(host.inventory.taken_at) <= options.max_host_age_days;
    if !hosts.values().any(|host| votes(host)) {
        return Err(Error::config(match hosts.len() {
            0 => "a baseline needs at least one host".to_owned(),
            n => format!("no host votes: all {n} were read more than {} days ago", options.max_host_age_days),
        })
        .hint("read the hosts again, or raise max_host_age_days"));
    }

    let mut platforms: BTreeMap<(Platform, Option<String>), Gathering<'_>> = BTreeMap::new();
    let mut sources = Vec::new();
    for (id, host) in &hosts {
        let votes = votes(host);
        sources.push(BaselineSource {
            role: SourceRole::Host,
            id: id.clone(),
            taken_at: host.inventory.taken_at,
            digest: host.inventory.content_id,
            votes,
        });
        for (id, system) in named_systems(id, host) {
            let Some(platform) = &system.platform else { continue };
            let key = (platform.clone(), system.channel.clone());
            let taken_at = host.inventory.taken_at.min(options.as_of);
            platforms.entry(key).or_default().add(system, &id, platform, taken_at, votes);
        }
    }
    sources.sort();
    let platforms: Vec<PlatformBaseline> = platforms
        .into_iter()
        .map(|((platform, channel), gathering)| gathering.seal(platform, channel))
        .collect();
    let voting = platforms.iter().filter(|p| !p.hosts.is_empty()).map(|p| p.as_of);
    Ok(Baseline {
        schema: BASELINE_SCHEMA.to_owned(),
        karat: env!("CARGO_PKG_VERSION").to_owned(),
        name: options.name.clone(),
        as_of: voting.max().unwrap_or(options.as_of),
        sources,
        platforms,
    })
}

/// The hosts by id; of two inventories of one host the newer.
fn one_each(hosts: &[HostInput]) -> BTreeMap<HostId, &HostInput> {
    let mut by_id: BTreeMap<HostId, &HostInput> = BTreeMap::new();
    for host in hosts {
        let age = |host: &HostInput| (host.inventory.taken_at, host.inventory.content_id);
        by_id
            .entry(HostId::of(&host.id))
            .and_modify(|known| {
                if age(host) > age(known) {
                    *known = host;
                }
            })
            .or_insert(host);
    }
    by_id
}

/// A host that was not read whole would vote for less than it runs; one that was read later than the time of
/// the build would vote for what was not there yet.
fn check(host: &HostInput, as_of: Time) -> Result<()> {
    let at = |error: Error| error.at(format!("host `{}`", host.id));
    let taken_at = host.inventory.taken_at;
    if taken_at > as_of.plus_days(1) {
        let what = format!("it was read at {taken_at}, after the time of the build, {as_of}");
        return Err(at(Error::config(what).hint("build for a later time, or leave the host out")));
    }
    let required: Vec<_> = host.inventory.gaps.iter().filter(|gap| gap.required).collect();
    if let Some(gap) = required.first() {
        let more = match required.len() - 1 {
            0 => String::new(),
            n => format!(" (and {n} more)"),
        };
        let what = format!("a host with a required gap cannot vote: {}: {}{more}", gap.place, gap.reason);
        return Err(at(Error::config(what).hint("leave it out, or read it whole")));
    }
    if !host.inventory.systems.iter().any(|system| system.platform.is_some()) {
        return Err(at(Error::config("no system that names its platform was found")));
    }
    for system in &host.inventory.systems {
        if system.platform.is_some() && system.packages.is_empty() {
            return Err(at(Error::config(format!("no package was found in the system at {}", system.root))));
        }
    }
    Ok(())
}

/// The systems of a host, each with the id that it votes with.
fn named_systems<'a>(id: &HostId, host: &'a HostInput) -> Vec<(HostId, &'a System)> {
    let systems = &host.inventory.systems;
    let ids = systems.iter().enumerate().map(|(at, system)| match at {
        0 => id.clone(),
        _ => HostId::of(&format!("{}#{}", host.id, system.root)),
    });
    ids.zip(systems).collect()
}

/// What all systems of one platform and channel say.
#[derive(Default)]
struct Gathering<'a> {
    os: Option<&'a OsInfo>,
    hosts: BTreeSet<HostId>,
    as_of: Option<Time>,
    voted_as_of: Option<Time>,
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
    fn add(&mut self, system: &'a System, id: &HostId, platform: &Platform, taken_at: Time, votes: bool) {
        self.os = self.os.or(system.os.as_ref());
        self.as_of = self.as_of.max(Some(taken_at));
        for package in &system.packages {
            self.note_installed(package, platform, taken_at);
        }
        let mut changelogs: BTreeMap<(Ecosystem, Cow<'_, str>), Vec<Joined<'_>>> = BTreeMap::new();
        for entry in &system.releases {
            let (source, version) = joined_source(&entry.source, &entry.version);
            let above = entry.superseded_by.as_deref();
            let superseded_by = above.map(|above| joined_source(&entry.source, above).1);
            let joined = Joined { version, superseded_by, entry };
            changelogs.entry((entry.ecosystem, source)).or_default().push(joined);
        }
        for ((ecosystem, source), entries) in changelogs {
            let gathered = self.sources.entry((ecosystem, source.into_owned())).or_default();
            gathered.add_changelog(ecosystem, &entries);
        }
        if votes {
            self.voted_as_of = self.voted_as_of.max(Some(taken_at));
            self.hosts.insert(id.clone());
            self.vote(system, id);
        }
    }

    fn note_installed(&mut self, package: &Package, platform: &Platform, taken_at: Time) {
        let (source, version) = source_of(package);
        let gathered = self.sources.entry((package.ecosystem, source.into_owned())).or_default();
        gathered.third_party |= is_third_party(package, platform);
        let seen = |map: &mut BTreeMap<String, Time>, version: &str| match map.get_mut(version) {
            Some(at) => *at = taken_at.min(*at),
            None => {
                map.insert(version.to_owned(), taken_at);
            }
        };
        seen(&mut gathered.installed, version);
        if package.version != version && package.version.starts_with(version) {
            seen(&mut gathered.installed_rebuilds, &package.version);
        }
    }

    fn vote(&mut self, system: &'a System, id: &HostId) {
        let mut chosen: BTreeMap<PackageKey, &'a Package> = BTreeMap::new();
        for package in &system.packages {
            let slot = slot_of(&package.name);
            let name = slot.as_ref().map_or_else(|| package.name.clone(), ToString::to_string);
            let key = (package.ecosystem, name, package.arch.clone(), slot.is_some());
            let newer = |known: &Package| {
                version::compare(package.ecosystem, source_of(package).1, source_of(known).1)
                    .then_with(|| version::compare(package.ecosystem, &package.version, &known.version))
                    .is_gt()
            };
            chosen
                .entry(key)
                .and_modify(|known| {
                    if newer(known) {
                        *known = package;
                    }
                })
                .or_insert(package);
        }
        for (key, package) in chosen {
            let (source, source_version) = source_of(package);
            let version = VersionKey {
                source_version,
                version: &package.version,
                name: key.3.then_some(package.name.as_str()),
                source: source.into_owned(),
                built_using: &package.built_using,
            };
            self.packages.entry(key).or_default().entry(version).or_default().insert(id.clone());
        }
    }

    fn seal(self, platform: Platform, channel: Option<String>) -> PlatformBaseline {
        let suites = PlatformSuites::of(&platform, self.os);
        let base_files = self.sources.get(&(Ecosystem::Deb, "base-files".to_owned()));
        let calendar = Calendar::new(&suites, base_files);
        let as_of = self.voted_as_of.or(self.as_of).unwrap_or(Time::start_of(jiff::civil::Date::MIN));
        let mut sources: Vec<History> = self
            .sources
            .into_iter()
            .map(|((ecosystem, source), gathered)| history_of(ecosystem, &source, gathered, &calendar))
            .filter(|history| !history.releases.is_empty())
            .collect();
        for history in &mut sources {
            history.releases.iter_mut().chain(&mut history.rebuilds).for_each(|r| nothing_after(r, as_of));
        }
        let packages = self.packages.into_iter().map(|(key, versions)| sealed(key, versions)).collect();
        PlatformBaseline {
            platform,
            channel,
            as_of,
            hosts: self.hosts.into_iter().collect(),
            sources,
            packages,
        }
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

#[cfg(test)]
mod tests {
    use super::super::testing::{baseline, changelog, host, options, system, time};
    use super::*;
    use crate::model::Gap;

    #[test]
    fn hosts_that_cannot_vote_are_named() {
        let good = || host("a", "2026-11-20", system("debian/12/amd64", &["foo 1"], &[]));
        let mut gapped = good();
        gapped.inventory.gaps =
            vec![Gap { place: "/var/lib/dpkg/status".into(), reason: "cut off".into(), required: true }];
        let mut nameless = good();
        nameless.inventory.systems[0].platform = None;
        let mut empty = good();
        empty.inventory.systems[0].packages.clear();
        let mut old = good();
        old.inventory.taken_at = time("2026-10-01");
        let mut early = good();
        early.inventory.taken_at = time("2026-11-25T00:00:01Z");
        for (hosts, message) in [
            (
                vec![early],
                "host `a`: it was read at 2026-11-25T00:00:01Z, after the time of the build, 2026-11-24T00:00:00Z",
            ),
            (vec![], "a baseline needs at least one host"),
            (vec![gapped], "host `a`: a host with a required gap cannot vote: /var/lib/dpkg/status: cut off"),
            (vec![nameless], "host `a`: no system that names its platform was found"),
            (vec![empty], "host `a`: no package was found in the system at /"),
            (vec![old], "no host votes: all 1 were read more than 35 days ago"),
        ] {
            assert_eq!(build(&hosts, &options("2026-11-24")).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn old_hosts_do_not_vote_and_no_host_votes_twice() {
        let on = |id: &str, taken: &str, foo: &str| {
            let changelog = changelog("foo", &format!("{foo} | bookworm-security | 2026-01-01"));
            host(id, taken, system("debian/12/amd64", &[foo_package(foo).as_str()], &[changelog]))
        };
        fn foo_package(version: &str) -> String {
            format!("foo {version}")
        }
        let hosts = [
            on("a", "2026-11-20", "2"),
            on("a", "2026-11-01", "1"),
            on("b", "2026-11-19", "2"),
            on("c", "2026-10-01", "3"),
        ];
        let baseline = build(&hosts, &options("2026-11-24")).unwrap();
        assert_eq!(baseline.as_of, time("2026-11-20"));
        let platform = &baseline.platforms[0];
        assert_eq!(platform.hosts.len(), 2);
        let versions: Vec<(&str, usize)> =
            platform.packages[0].versions.iter().map(|v| (v.version.as_str(), v.hosts.len())).collect();
        assert_eq!(versions, [("2", 2)]);
        let releases: Vec<&str> =
            platform.sources[0].releases.iter().map(|release| release.version.as_str()).collect();
        assert_eq!(releases, ["3", "2"], "an old host's changelog still counts");
        let mut turned = hosts.to_vec();
        turned.reverse();
        assert_eq!(build(&turned, &options("2026-11-24")).unwrap(), baseline);
    }

    #[test]
    fn kernels_vote_by_slot_with_the_newest() {
        let system = system(
            "debian/12/amd64",
            &[
                "linux-image-6.1.0-50-amd64 6.1.176-1 linux-signed-amd64 6.1.176+1",
                "linux-image-6.1.0-56-amd64 6.1.192-2 linux-signed-amd64 6.1.192+2",
            ],
            &[changelog("linux-signed-amd64", "6.1.192+2 | bookworm-security | 2026-11-16")],
        );
        let baseline = baseline("2026-11-24", &system);
        let platform = &baseline.platforms[0];
        let row = platform.package(Ecosystem::Deb, "linux-image/6.1/amd64", "amd64").unwrap();
        let versions: Vec<_> =
            row.versions.iter().map(|v| (v.source_version.as_str(), v.name.as_deref())).collect();
        assert_eq!(versions, [("6.1.192-2", Some("linux-image-6.1.0-56-amd64"))]);
        assert_eq!(platform.history(Ecosystem::Deb, "linux").unwrap().releases[0].version, "6.1.192-2");
    }

    #[test]
    fn entries_of_a_clock_that_runs_ahead_are_not_later_than_the_baseline() {
        let ahead = changelog(
            "foo",
            "3 | bookworm-security | 2027-06-01
             2 | bookworm-security | 2026-01-01",
        );
        let built = baseline("2026-11-24", &system("debian/12/amd64", &["foo 2"], &[ahead]));
        let newest = &built.platforms[0].sources[0].releases[0];
        let at = Some(time("2026-11-24"));
        assert_eq!((newest.published, newest.not_before, newest.bounded), (at, at, true));
        assert_eq!(Baseline::from_json(&built.to_json().unwrap()).unwrap().baseline, built);
    }

    #[test]
    fn a_baseline_comes_back_from_its_bytes() {
        let system = system(
            "debian/12/amd64",
            &["foo 2"],
            &[changelog("foo", "2 | bookworm | 2026-01-01 | CVE-2026-1")],
        );
        let built = baseline("2026-11-24", &system);
        let json = built.to_json().unwrap();
        assert_eq!(Baseline::from_json(&json).unwrap().baseline, built);
        let whole = built.clone();
        let mut turned = built;
        let releases = &mut turned.platforms[0].sources[0].releases;
        releases.push(releases[0].clone());
        releases[0].version = "1".into();
        assert_eq!(
            Baseline::from_json(&turned.to_json().unwrap()).unwrap_err().to_string(),
            "baseline: releases: `foo` is out of order; allowed: sorted"
        );
        let built = &whole;
        let broken = |spoil: &dyn Fn(&mut Baseline)| {
            let mut baseline = built.clone();
            spoil(&mut baseline);
            Baseline::from_json(&baseline.to_json().unwrap()).unwrap_err().to_string()
        };
        let twice = broken(&|b| b.platforms.push(b.platforms[0].clone()));
        assert_eq!(twice, "baseline: platforms: `debian/12/amd64` is out of order; allowed: sorted");
        let late = time("2026-11-25T00:00:01Z");
        let allowed = "allowed: at most a day after 2026-11-24T00:00:00Z";
        for (field, got) in [
            ("published", broken(&|b| b.platforms[0].sources[0].releases[0].published = Some(late))),
            ("not_before", broken(&|b| b.platforms[0].sources[0].releases[0].not_before = Some(late))),
            ("not_after", broken(&|b| b.platforms[0].sources[0].releases[0].not_after = Some(late))),
        ] {
            assert_eq!(got, format!("baseline: {field}: `foo` 2: 2026-11-25T00:00:01Z; {allowed}"));
        }
        assert_eq!(
            broken(&|b| b.platforms[0].as_of = late),
            format!("baseline: as_of: debian/12/amd64: 2026-11-25T00:00:01Z; {allowed}")
        );
        for (text, message) in [
            ("{}", "not a baseline: it is no JSON document with a schema"),
            ("nonsense", "not a baseline: it is no JSON document with a schema"),
            (r#"{"schema":"karat-baseline/2"}"#, "not a baseline: its schema is `karat-baseline/2`"),
            (
                r#"{"schema":"karat-baseline/1"}"#,
                "baseline: JSON: missing field `karat` at line 1 column 29; allowed: karat-baseline/1",
            ),
        ] {
            assert_eq!(Baseline::from_json(text.as_bytes()).unwrap_err().to_string(), message);
        }
    }
}
