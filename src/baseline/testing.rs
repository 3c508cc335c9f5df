//! Short hands for tests of what is built on baselines.

use super::channel::{ChannelInput, ChannelKind, Offer};
use super::{Baseline, BuildOptions, HostInput, Inputs, build};
use crate::model::inventory::INVENTORY_SCHEMA;
use crate::model::{
    Boot, BootLoader, Ecosystem, ImageInfo, ImageKind, ImagePath, Inventory, OsInfo, Package, ReleaseEntry,
    Sha256, SourcePackage, StratumId, System, Time,
};

pub(crate) fn time(text: &str) -> Time {
    text.parse().unwrap()
}

/// A package from `name version`, `name version source` or `name version source source-version`.
pub(crate) fn package(text: &str) -> Package {
    let words: Vec<&str> = text.split(' ').collect();
    let [name, version] = words[..2] else { panic!("{text}") };
    Package {
        ecosystem: Ecosystem::Deb,
        name: name.into(),
        arch: "amd64".into(),
        version: version.into(),
        source: SourcePackage {
            name: words.get(2).copied().unwrap_or(name).into(),
            version: words.get(3).copied().unwrap_or(version).into(),
        },
        stream: None,
        purl: format!("pkg:deb/debian/{name}@{version}"),
        path: "var/lib/dpkg/status".into(),
        stratum: StratumId(0),
        origin: None,
        maintainer: None,
        built_using: Vec::new(),
        state: None,
        installed_at: None,
        built_at: None,
    }
}

/// Entries of one changelog, one a line: `version | suites | date | CVE ids`.
pub(crate) fn changelog(source: &str, text: &str) -> Vec<ReleaseEntry> {
    let words = |text: Option<&&str>| {
        text.unwrap_or(&"").split_whitespace().map(str::to_owned).collect::<Vec<String>>()
    };
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(|line| {
            let fields: Vec<&str> = line.split('|').map(str::trim).collect();
            ReleaseEntry {
                ecosystem: Ecosystem::Deb,
                source: source.into(),
                version: fields[0].into(),
                suites: words(fields.get(1)),
                urgency: None,
                dated: fields.get(2).and_then(|date| date.parse().ok()),
                rebuild: false,
                superseded_by: None,
                cves: words(fields.get(3)),
            }
        })
        .collect()
}

pub(crate) fn system(platform: &str, packages: &[&str], releases: &[Vec<ReleaseEntry>]) -> System {
    let mut packages: Vec<Package> = packages.iter().map(|text| package(text)).collect();
    packages.sort();
    System {
        platform: Some(platform.parse().unwrap()),
        channel: None,
        root: ImagePath::root(),
        volume: None,
        os: Some(OsInfo::default()),
        boot: None,
        packages,
        releases: releases.concat(),
    }
}

/// GRUB's default, which starts the kernel of this release.
pub(crate) fn boots(release: &str) -> Option<Boot> {
    Some(Boot {
        loader: BootLoader::Grub,
        config: "boot/grub/grub.cfg".into(),
        title: None,
        kernel: None,
        version: Some(release.to_owned()),
        unknown: None,
    })
}

pub(crate) fn inventory(taken_at: &str, system: System) -> Inventory {
    Inventory {
        schema: INVENTORY_SCHEMA.into(),
        karat: "0.1.0".into(),
        taken_at: time(taken_at),
        content_id: Sha256::of(taken_at.as_bytes()),
        image: ImageInfo {
            reference: "host".into(),
            kind: ImageKind::Dir,
            digest: None,
            created_at: None,
            os_arch: None,
        },
        systems: vec![system],
        strata: Vec::new(),
        coverage: Vec::new(),
        gaps: Vec::new(),
    }
}

pub(crate) fn host(id: &str, taken_at: &str, system: System) -> HostInput {
    HostInput { id: id.into(), inventory: inventory(taken_at, system) }
}

pub(crate) fn options(as_of: &str) -> BuildOptions {
    BuildOptions { name: "production".into(), as_of: time(as_of), max_host_age_days: 35 }
}

/// A whole listing of a suite, as of a time, with these packages (as [`package`] takes them).
pub(crate) fn listing(platform: &str, suite: &str, taken_at: &str, packages: &[&str]) -> ChannelInput {
    let offers = packages.iter().map(|text| Offer { package: package(text), phased_percent: None });
    ChannelInput {
        id: format!("{suite} {taken_at}"),
        kind: ChannelKind::AptSuite,
        platform: Some(platform.parse().unwrap()),
        suite: Some(suite.into()),
        taken_at: Some(time(taken_at)),
        valid_until: None,
        lists_all: true,
        whole_components: Vec::new(),
        digest: Sha256::of(format!("{suite} {taken_at} {packages:?}").as_bytes()),
        packages: offers.collect(),
        releases: Vec::new(),
        advisories: Vec::new(),
        notes: Vec::new(),
    }
}

/// A folder of changelogs.
pub(crate) fn changelogs(releases: &[Vec<ReleaseEntry>]) -> ChannelInput {
    ChannelInput {
        id: "changelogs".into(),
        kind: ChannelKind::ChangelogFolder,
        platform: None,
        suite: None,
        taken_at: None,
        lists_all: false,
        releases: releases.concat(),
        advisories: Vec::new(),
        ..listing("debian/12/amd64", "", "2026-01-01", &[])
    }
}

/// A baseline of channel sources alone.
pub(crate) fn channel_baseline(channels: &[ChannelInput], as_of: &str) -> Baseline {
    build(&Inputs { channels, ..Default::default() }, &options(as_of)).unwrap()
}

/// A baseline of these hosts.
pub(crate) fn built(hosts: &[HostInput], as_of: &str) -> Baseline {
    build(&Inputs { hosts, ..Default::default() }, &options(as_of)).unwrap()
}

/// A baseline of three hosts that run the same, read at this time.
pub(crate) fn baseline(as_of: &str, system: &System) -> Baseline {
    let hosts: Vec<HostInput> = ["a", "b", "c"].map(|id| host(id, as_of, system.clone())).into();
    built(&hosts, as_of)
}
