//! Merging baselines: what any of them knows is known, and every host votes once.

use std::collections::{BTreeMap, BTreeSet};

use super::build::{BuildOptions, Platforms, finish};
use super::{Baseline, BaselineSource, HostId, SourceRole};
use crate::error::{Error, Result};
use crate::model::Time;

/// Joins baselines into one: releases, bounds, listings and sightings of all of them, and the votes of their
/// hosts. A host that is in several votes as it was when it was read last; hosts that were read longer than
/// `max_host_age_days` before `as_of` do not vote. The order of the baselines does not matter.
///
/// # Errors
/// `Config` if there is none, or if one is of a later time than `as_of`.
pub fn merge(baselines: &[Baseline], options: &BuildOptions) -> Result<Baseline> {
    if baselines.is_empty() {
        return Err(Error::config("nothing to merge").hint("name at least one baseline"));
    }
    if let Some(late) = baselines.iter().find(|b| b.as_of > options.as_of.plus_days(1)) {
        let what = format!("it is of {}, after the time of the merge, {}", late.as_of, options.as_of);
        return Err(Error::config(what).at(format!("baseline `{}`", late.name)));
    }
    let newest = newest_reads(baselines);
    let is_young = |at: Time| options.as_of.days_since(at) <= options.max_host_age_days;
    let mut platforms = Platforms::new();
    for (number, baseline) in baselines.iter().enumerate() {
        for platform in &baseline.platforms {
            let key = (platform.platform.clone(), platform.channel.clone());
            let gathering = platforms.entry(key).or_default();
            gathering.add_known(platform);
            gathering.add_votes(platform, |id| {
                newest.get(id).is_some_and(|(at, by)| *by == number && is_young(*at))
            });
        }
    }
    let mut sources: BTreeMap<(SourceRole, HostId, Option<Time>), BaselineSource> = BTreeMap::new();
    for source in baselines.iter().flat_map(|baseline| &baseline.sources) {
        // Of a host the last read counts, of a repository every listing.
        let at = (source.role == SourceRole::Channel).then_some(source.taken_at);
        let mut source = source.clone();
        source.votes &= is_young(source.taken_at);
        let known = sources.entry((source.role, source.id.clone(), at)).or_insert_with(|| source.clone());
        if (source.taken_at, source.digest) > (known.taken_at, known.digest) {
            *known = source;
        }
    }
    let sources: BTreeSet<BaselineSource> = sources.into_values().collect();
    let merged = finish(options.name.clone(), options.as_of, sources, platforms)?;
    let votes = merged.platforms.iter().any(|platform| !platform.hosts.is_empty());
    let has_channels = merged.sources.iter().any(|source| source.role == SourceRole::Channel);
    if !votes && !has_channels {
        let days = options.max_host_age_days;
        return Err(Error::config(format!("no host votes: all were read more than {days} days ago"))
            .hint("read the hosts again, or raise max_host_age_days"));
    }
    Ok(merged)
}

/// By voting host when it was read last, and the number of the baseline that says so. A host that a baseline
/// names only among its voters (one of several systems of an image) was read when the baseline says that
/// production was.
fn newest_reads(baselines: &[Baseline]) -> BTreeMap<&HostId, (Time, usize)> {
    let mut newest: BTreeMap<&HostId, (Time, Sortable<'_>, usize)> = BTreeMap::new();
    for (number, baseline) in baselines.iter().enumerate() {
        let read: BTreeMap<&HostId, &BaselineSource> = baseline
            .sources
            .iter()
            .filter(|source| source.role == SourceRole::Host)
            .map(|source| (&source.id, source))
            .collect();
        for platform in &baseline.platforms {
            for id in &platform.hosts {
                let at = read.get(id).map_or(platform.as_of, |source| source.taken_at);
                // Two reads of one time are told apart by content, so that the order of baselines is nothing.
                let tie = (read.get(id).map(|source| source.digest.hex()), baseline.name.as_str());
                let now = (at, tie, number);
                let known = newest.entry(id).or_insert_with(|| now.clone());
                if (now.0, &now.1) > (known.0, &known.1) {
                    *known = now;
                }
            }
        }
    }
    newest.into_iter().map(|(id, (at, _, number))| (id, (at, number))).collect()
}

/// What breaks ties between reads of one time.
type Sortable<'a> = (Option<String>, &'a str);
