//! What a baseline holds, in numbers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Baseline, Listing, PlatformBaseline, SourceRole};
use crate::model::{Platform, Time};

/// What a baseline holds, in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Summary {
    /// As its makers call it.
    pub name: String,
    /// Up to when it knows production.
    pub as_of: Time,
    /// Hosts that vote.
    pub voting_hosts: usize,
    /// Hosts that are too old to vote.
    pub silent_hosts: usize,
    /// When the oldest voting host was read.
    pub oldest_host: Option<Time>,
    /// Repositories, package folders and changelogs that it was made of, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub channel_sources: Vec<ChannelSource>,
    /// By platform and channel, sorted.
    pub platforms: Vec<PlatformSummary>,
}

/// A channel source that a baseline was made of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct ChannelSource {
    /// How its maker named it, and what of it counted.
    pub name: String,
    /// When it was as it was read.
    pub taken_at: Time,
}

/// One platform of a baseline, in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlatformSummary {
    /// The platform.
    pub platform: Platform,
    /// The channel, where it is not the platform's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// Up to when production of this platform is known.
    pub as_of: Time,
    /// Hosts that vote.
    pub hosts: usize,
    /// When suites of its repositories were listed whole, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub listings: Vec<Listing>,
    /// Suites of the platform that nobody listed, where no host votes: images come out incomplete.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unlisted_suites: Vec<String>,
    /// Binary packages and slots that they carry.
    pub packages: usize,
    /// Source packages.
    pub sources: usize,
    /// Source packages without any changelog: what was published before is not known.
    pub sources_without_history: usize,
    /// Known releases.
    pub releases: usize,
    /// Of these, releases with a date.
    pub dated: usize,
    /// Of these, releases without one.
    pub undated: usize,
    /// CVE ids that releases name, each counted for every release.
    pub cves: usize,
    /// When the newest dated release was published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest_release: Option<Time>,
    /// From here on the releases of every source are known without a hole; `None` where a source has no
    /// history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reaches: Option<Time>,
}

/// Sums a baseline up.
#[must_use]
pub fn summarize(baseline: &Baseline) -> Summary {
    let voting = || baseline.sources.iter().filter(|source| source.votes);
    let hosts = baseline.sources.iter().filter(|source| source.role == SourceRole::Host).count();
    let channels = baseline.sources.iter().filter(|source| source.role == SourceRole::Channel);
    let mut channel_sources: Vec<ChannelSource> = channels
        .map(|source| ChannelSource {
            name: source.name.clone().unwrap_or_else(|| source.id.to_string()),
            taken_at: source.taken_at,
        })
        .collect();
    channel_sources.sort();
    Summary {
        name: baseline.name.clone(),
        as_of: baseline.as_of,
        voting_hosts: voting().count(),
        silent_hosts: hosts.saturating_sub(voting().count()),
        oldest_host: voting().map(|source| source.taken_at).min(),
        channel_sources,
        platforms: baseline.platforms.iter().map(platform).collect(),
    }
}

fn platform(p: &PlatformBaseline) -> PlatformSummary {
    let releases = || p.sources.iter().flat_map(|history| &history.releases);
    let dated = releases().filter(|release| release.published.is_some()).count();
    let reach = |history: &super::History| history.spans.first().and_then(|span| span.since);
    let without = p.sources.iter().filter(|history| history.spans.is_empty()).count();
    PlatformSummary {
        platform: p.platform.clone(),
        channel: p.channel.clone(),
        as_of: p.as_of,
        hosts: p.hosts.len(),
        listings: p.listings.clone(),
        unlisted_suites: p.unlisted_suites(),
        packages: p.packages.iter().filter(|row| row.versions.iter().any(|v| !v.hosts.is_empty())).count(),
        sources: p.sources.len(),
        sources_without_history: without,
        releases: releases().count(),
        dated,
        undated: releases().count() - dated,
        cves: releases().map(|release| release.cves.len()).sum(),
        newest_release: releases().filter_map(|release| release.published).max(),
        reaches: if without == 0 { p.sources.iter().filter_map(reach).max() } else { None },
    }
}
