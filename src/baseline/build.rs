//! Building a baseline from host inventories, channel sources and earlier baselines.

use std::collections::{BTreeMap, BTreeSet};

use super::channel::{ChannelInput, Offer};
use super::gathering::Gathering;
use super::suites::release_of;
use super::{BASELINE_SCHEMA, Baseline, BaselineSource, HostId, PlatformBaseline, SourceRole};
use crate::error::{Error, Result};
use crate::model::{Inventory, Platform, System, Time};

/// A host that a baseline is built from.
#[derive(Debug, Clone)]
pub struct HostInput {
    /// Its name: the baseline stores its hash, so that no host counts twice.
    pub id: String,
    /// What it holds, with its releases.
    pub inventory: Inventory,
}

/// What a baseline is built from.
#[derive(Debug, Clone, Copy, Default)]
pub struct Inputs<'a> {
    /// What patched production runs: these vote.
    pub hosts: &'a [HostInput],
    /// What was published.
    pub channels: &'a [ChannelInput],
    /// What was known before: their releases, listings and sightings count, their hosts do not vote.
    pub earlier: &'a [Baseline],
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

/// What was gathered, by platform and channel.
pub(super) type Platforms<'a> = BTreeMap<(Platform, Option<String>), Gathering<'a>>;

/// Builds a baseline. The order of the inputs does not matter; of two inventories of one host the newer counts.
///
/// # Errors
/// `Config` if there is neither a host nor a channel source, if an input is from later than the time of the
/// build, if a host has a required gap, names no platform or has no package, if a channel source names no
/// platform and the other inputs do not tell which it is for, or if there is no channel source and no host is
/// young enough to vote.
pub fn build(inputs: &Inputs<'_>, options: &BuildOptions) -> Result<Baseline> {
    let hosts = one_each(inputs.hosts);
    for host in hosts.values() {
        check(host, options.as_of)?;
    }
    let votes =
        |host: &HostInput| options.as_of.days_since(host.inventory.taken_at) <= options.max_host_age_days;
    if inputs.channels.is_empty() && !hosts.values().any(|host| votes(host)) {
        return Err(match hosts.len() {
            0 => Error::config("a baseline needs at least one host or channel source")
                .hint("name one with --host or --channel"),
            n => Error::config(format!(
                "no host votes: all {n} were read more than {} days ago",
                options.max_host_age_days
            ))
            .hint("read the hosts again, or raise max_host_age_days"),
        });
    }

    let mut platforms = Platforms::new();
    let mut sources = BTreeSet::new();
    for baseline in inputs.earlier {
        if baseline.as_of > options.as_of.plus_days(1) {
            let what = format!("it is of {}, after the time of the build, {}", baseline.as_of, options.as_of);
            return Err(Error::config(what).at(format!("baseline `{}`", baseline.name)));
        }
        sources.extend(baseline.sources.iter().filter(|source| source.role == SourceRole::Channel).cloned());
        for platform in &baseline.platforms {
            let key = (platform.platform.clone(), platform.channel.clone());
            platforms.entry(key).or_default().add_known(platform);
        }
    }
    for (id, host) in &hosts {
        let votes = votes(host);
        sources.insert(BaselineSource {
            role: SourceRole::Host,
            id: id.clone(),
            name: None,
            taken_at: host.inventory.taken_at,
            digest: host.inventory.content_id,
            votes,
        });
        // Of the systems of a disk one runs at a time, so that they have one vote together.
        for system in &host.inventory.systems {
            let Some(platform) = &system.platform else { continue };
            let key = (platform.clone(), system.channel.clone());
            let taken_at = host.inventory.taken_at.min(options.as_of);
            platforms.entry(key).or_default().add_system(system, id, platform, taken_at, votes);
        }
    }
    add_channels(inputs.channels, options.as_of, &mut platforms, &mut sources)?;
    finish(options.name.clone(), options.as_of, sources, platforms)
}

/// Seals what was gathered.
///
/// # Errors
/// `Config` if nothing of it is a release of any platform.
pub(super) fn finish(
    name: String,
    built_at: Time,
    sources: BTreeSet<BaselineSource>,
    platforms: Platforms<'_>,
) -> Result<Baseline> {
    let platforms: Vec<PlatformBaseline> = platforms
        .into_iter()
        .map(|((platform, channel), gathering)| gathering.seal(platform, channel, built_at))
        .collect();
    if platforms.iter().all(|platform| platform.sources.is_empty()) {
        let named: Vec<String> = platforms.iter().map(|platform| platform.platform.to_string()).collect();
        let what = format!("nothing in the sources is a release of {}", named.join(", "));
        return Err(Error::config(what).hint("name the platform that they are for, or other sources"));
    }
    let voting = platforms.iter().filter(|p| !p.hosts.is_empty()).map(|p| p.as_of).max();
    let listed = platforms.iter().map(|p| p.as_of).max();
    Ok(Baseline {
        schema: BASELINE_SCHEMA.to_owned(),
        karat: env!("CARGO_PKG_VERSION").to_owned(),
        name,
        as_of: voting.max(listed).unwrap_or(built_at),
        sources: sources.into_iter().collect(),
        platforms,
    })
}

/// Adds the channel sources: each to the platform that it names, those that name none to the one release that
/// everything else is of.
fn add_channels<'a>(
    channels: &'a [ChannelInput],
    built_at: Time,
    platforms: &mut Platforms<'a>,
    sources: &mut BTreeSet<BaselineSource>,
) -> Result<()> {
    for channel in channels {
        if channel.taken_at.is_none() && !channel.kind.is_folder() {
            return Err(Error::config("nothing says when it was as it is: it bears no date")
                .hint("fetch its Release too, or say it with --channel-taken-at")
                .at(channel.id.clone()));
        }
        let taken_at = channel.taken_at.unwrap_or(built_at);
        if taken_at > built_at.plus_days(1) {
            let what = format!("it is of {taken_at}, after the time of the build, {built_at}");
            let hint = "build for a later time, or leave it out";
            return Err(Error::config(what).hint(hint).at(channel.id.clone()));
        }
        sources.insert(BaselineSource {
            role: SourceRole::Channel,
            id: HostId::of(&channel.id),
            name: Some(channel.id.clone()),
            taken_at,
            digest: channel.digest,
            votes: false,
        });
        if let Some(platform) = &channel.platform {
            check_release(channel, platform)?;
            platforms.entry((platform.clone(), None)).or_default().add_channel(channel, platform, taken_at);
        }
    }
    for channel in channels.iter().filter(|channel| channel.platform.is_none()) {
        let taken_at = channel.taken_at.unwrap_or(built_at);
        let own: Vec<Platform> =
            platforms.keys().filter(|(_, channel)| channel.is_none()).map(|(p, _)| p.clone()).collect();
        let releases: BTreeSet<(&str, &str)> =
            own.iter().map(|p| (p.os.as_str(), p.release.as_str())).collect();
        if releases.len() != 1 {
            let found = match releases.len() {
                0 => "it names no platform, and nothing else tells which it is for".to_owned(),
                n => format!("it names no platform, and the other sources are of {n} releases"),
            };
            return Err(Error::config(found)
                .hint("name it with its platform: --channel debian/12/amd64=PATH")
                .at(channel.id.clone()));
        }
        for platform in own {
            check_release(channel, &platform)?;
            platforms.entry((platform.clone(), None)).or_default().add_channel(channel, &platform, taken_at);
        }
    }
    Ok(())
}

/// What was made for another release of the distribution says nothing of this one, and would look newer or older
/// than all of it. Told by the suites of the newest changelog entries, and by the marks in versions (`deb12u1`).
fn check_release(channel: &ChannelInput, platform: &Platform) -> Result<()> {
    let of_suite = |suite: &String| {
        let suite = suite.to_ascii_lowercase();
        release_of(suite.split('-').next().unwrap_or_default()).map(|(os, release)| format!("{os}/{release}"))
    };
    let entries = channel.releases.iter().filter(|entry| entry.superseded_by.is_none());
    let by_suites = entries.filter_map(|entry| entry.suites.iter().find_map(of_suite));
    let of_mark = |offer: &Offer| {
        let (_, behind) = offer.package.version.rsplit_once("deb")?;
        let (number, _) = behind.split_once('u')?;
        let is_number = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
        is_number.then(|| format!("debian/{number}"))
    };
    let by_marks = channel.packages.iter().filter(|_| platform.os == "debian").filter_map(of_mark);
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for release in by_suites.chain(by_marks) {
        *counts.entry(release).or_default() += 1;
    }
    let own = counts.get(&format!("{}/{}", platform.os, platform.release)).copied().unwrap_or(0);
    let of_others = counts.values().sum::<usize>() - own;
    let other = counts.iter().max_by_key(|(_, count)| **count).map(|(release, _)| release);
    match other {
        Some(other) if of_others > own => {
            let found = format!(
                "it is of {other}: {of_others} of its packages were made for other releases than \
                                 {}/{}",
                platform.os, platform.release
            );
            Err(Error::config(found)
                .hint("name the platform that it is for: --channel PLATFORM=PATH")
                .at(channel.id.clone()))
        }
        _ => Ok(()),
    }
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
            return Err(at(Error::config(format!(
                "no package was found in the system at {}",
                place(system)
            ))));
        }
    }
    Ok(())
}

/// Where a system of a host is.
fn place(system: &System) -> String {
    system.volume.clone().unwrap_or_else(|| system.root.to_string())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{baseline, boots, changelog, host, options, system, time};
    use super::*;
    use crate::model::{Ecosystem, Gap};

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
            (vec![], "a baseline needs at least one host or channel source"),
            (vec![gapped], "host `a`: a host with a required gap cannot vote: /var/lib/dpkg/status: cut off"),
            (vec![nameless], "host `a`: no system that names its platform was found"),
            (vec![empty], "host `a`: no package was found in the system at /"),
            (vec![old], "no host votes: all 1 were read more than 35 days ago"),
        ] {
            assert_eq!(
                build(&Inputs { hosts: &hosts, ..Default::default() }, &options("2026-11-24"))
                    .unwrap_err()
                    .to_string(),
                message
            );
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
        let baseline =
            build(&Inputs { hosts: &hosts, ..Default::default() }, &options("2026-11-24")).unwrap();
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
        assert_eq!(
            build(&Inputs { hosts: &turned, ..Default::default() }, &options("2026-11-24")).unwrap(),
            baseline
        );
    }

    #[test]
    fn kernels_vote_by_slot_with_what_boots_or_the_newest() {
        let mut system = system(
            "debian/12/amd64",
            &[
                "linux-image-6.1.0-50-amd64 6.1.176-1 linux-signed-amd64 6.1.176+1",
                "linux-image-6.1.0-56-amd64 6.1.192-2 linux-signed-amd64 6.1.192+2",
            ],
            &[changelog("linux-signed-amd64", "6.1.192+2 | bookworm-security | 2026-11-16")],
        );
        let built = baseline("2026-11-24", &system);
        let platform = &built.platforms[0];
        let row = platform.package(Ecosystem::Deb, "linux-image/6.1/amd64", "amd64").unwrap();
        let versions: Vec<_> =
            row.versions.iter().map(|v| (v.source_version.as_str(), v.name.as_deref())).collect();
        assert_eq!(versions, [("6.1.192-2", Some("linux-image-6.1.0-56-amd64"))]);
        assert_eq!(platform.history(Ecosystem::Deb, "linux").unwrap().releases[0].version, "6.1.192-2");
        for (release, want) in [
            ("6.1.0-50-amd64", "6.1.176-1"),
            ("6.1.0-56-amd64", "6.1.192-2"),
            // Of another slot.
            ("6.12.9+bpo-amd64", "6.1.192-2"),
        ] {
            system.boot = boots(release);
            let built = baseline("2026-11-24", &system);
            let row = built.platforms[0].package(Ecosystem::Deb, "linux-image/6.1/amd64", "amd64").unwrap();
            let versions: Vec<_> = row.versions.iter().map(|v| v.source_version.as_str()).collect();
            assert_eq!(versions, [want], "{release}");
            let unknown = |boot: crate::model::Boot| crate::model::Boot { unknown: Some("x".into()), ..boot };
            system.boot = boots(release).map(unknown);
            assert_ne!(
                baseline("2026-11-24", &system).platforms[0].packages[0].versions[0].version,
                "6.1.176-1"
            );
        }
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
