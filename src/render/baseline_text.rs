//! A baseline for people: what it covers, how far back it reaches, and one source's releases.

use crate::baseline::{History, Release, Summary};

use super::table::Table;
use super::{DOUBTFUL, FAINT, STRONG, count, paint, plain, some_of};

/// What a baseline holds, in numbers.
#[must_use]
pub fn baseline_text(summary: &Summary) -> String {
    let mut lines = vec![format!(
        "baseline {} as of {}: {}",
        paint(STRONG, &summary.name),
        summary.as_of,
        count(summary.voting_hosts, "host votes", "hosts vote")
    )];
    if summary.voting_hosts == 0 {
        lines.push("what was published counts as what production has".to_owned());
    }
    if summary.silent_hosts > 0 {
        let silent = count(summary.silent_hosts, "host is", "hosts are");
        lines.push(paint(DOUBTFUL, format!("{silent} too old to vote")));
    }
    if let Some(oldest) = summary.oldest_host {
        lines.push(format!("the oldest of them was read on {}", oldest.date()));
    }
    for source in &summary.channel_sources {
        lines.push(format!("channel source {} as of {}", plain(&source.name), source.taken_at.date()));
    }
    for platform in &summary.platforms {
        lines.push(String::new());
        let channel = platform.channel.as_ref().map(|c| format!(" ({})", plain(c))).unwrap_or_default();
        lines.push(format!("{}{channel}", paint(STRONG, &platform.platform)));
        let mut table = Table::new(&[], &[]);
        let mut row = |what: &str, value: String| table.row([what.to_string(), value]);
        row("hosts", platform.hosts.to_string());
        for listing in &platform.listings {
            let suite = if listing.suite.is_empty() { "a repository" } else { &listing.suite };
            let times: Vec<String> = listing.taken_at.iter().map(|at| at.date().to_string()).collect();
            let times: Vec<&str> = times.iter().map(String::as_str).collect();
            row("listed", format!("{suite} on {}", some_of(&times, 4)));
        }
        for suite in &platform.unlisted_suites {
            row("not listed", format!("{suite}: images of this platform come out incomplete"));
        }
        match platform.hosts {
            0 => row("sources", platform.sources.to_string()),
            _ => row(
                "packages",
                format!("{} of {}", platform.packages, count(platform.sources, "source", "sources")),
            ),
        }
        row(
            "releases",
            format!("{}, {} dated, {} undated", platform.releases, platform.dated, platform.undated),
        );
        row("CVE ids", platform.cves.to_string());
        if let Some(newest) = platform.newest_release {
            row("newest release", newest.date().to_string());
        }
        match (platform.reaches, platform.sources_without_history) {
            (Some(since), _) => row("releases known", format!("of every source since {}", since.date())),
            (None, 0) => {}
            (None, n) => {
                let sources = count(n, "source has", "sources have");
                row("releases known", format!("{sources} no changelog, so their drift has no exact date"));
            }
        }
        lines.extend(table.lines(2, usize::MAX).into_iter().filter(|line| !line.is_empty()));
    }
    lines.join("\n") + "\n"
}

/// One source's releases, newest first.
#[must_use]
pub fn history_text(history: &History) -> String {
    let mut table = Table::new(&["release", "published", "evidence", "suites", "CVE ids"], &[]);
    for release in &history.releases {
        let ids: Vec<&str> = release.cves.iter().map(String::as_str).collect();
        table.row([
            release.version.clone(),
            published(release),
            release.evidence.to_string(),
            release.suites.join(" "),
            some_of(&ids, usize::MAX),
        ]);
    }
    let mut lines = vec![format!(
        "{} {}",
        paint(STRONG, &history.source),
        paint(FAINT, count(history.releases.len(), "release", "releases"))
    )];
    lines.extend(table.lines(2, usize::MAX));
    lines.join("\n") + "\n"
}

fn published(release: &Release) -> String {
    match (release.published, release.not_after) {
        (Some(at), _) => at.date().to_string(),
        (None, Some(by)) => format!("by {}", by.date()),
        (None, None) => "unknown".into(),
    }
}
