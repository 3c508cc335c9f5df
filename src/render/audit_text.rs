//! The audit for a tired engineer: the verdict and why; the worst sources; what to upgrade.

use std::collections::{BTreeMap, BTreeSet};

use crate::drift::{Change, Counts, PackageDrift};
use crate::model::{Gap, Time};
use crate::report::{ImageReport, Report, SystemReport};
use crate::standard::{Code, Effect, Finding, Outcome, State, Upgrade, Verdict};

use super::table::Table;
use super::{BAD, DOUBTFUL, Detail, FAINT, GOOD, STRONG, count, paint, plain, some_of};

/// So many sources are told unless all are asked for.
const WORST: usize = 10;
/// So many gaps and notes are told unless all are asked for.
const GAPS: usize = 5;

/// The report of an audit as text.
#[must_use]
pub fn audit_text(report: &Report, detail: Detail) -> String {
    let mut lines = Vec::new();
    if report.images.len() > 1 {
        lines.push(format!("{}  {}", label(report.outcome), overall(report)));
        lines.push(String::new());
    }
    for image in &report.images {
        lines.extend(image_lines(image, detail));
        lines.push(String::new());
    }
    lines.push(paint(FAINT, yardstick(report)));
    lines.join("\n") + "\n"
}

fn label(outcome: Outcome) -> String {
    let style = match outcome {
        Outcome::Pass => GOOD,
        Outcome::Fail | Outcome::Error => BAD,
        Outcome::Incomplete => DOUBTFUL,
    };
    paint(style, outcome_word(outcome))
}

pub(super) fn outcome_word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Pass => "PASS",
        Outcome::Fail => "FAIL",
        Outcome::Incomplete => "INCOMPLETE",
        Outcome::Error => "ERROR",
    }
}

/// How many images came out how.
pub(super) fn overall(report: &Report) -> String {
    let of = |outcome: Outcome, word: &str| {
        let n = report.images.iter().filter(|image| image.outcome == outcome).count();
        (n > 0).then(|| format!("{n} {word}"))
    };
    let parts: Vec<String> = [
        of(Outcome::Error, "could not be opened"),
        of(Outcome::Fail, "failed"),
        of(Outcome::Incomplete, "incomplete"),
        of(Outcome::Pass, "passed"),
    ]
    .into_iter()
    .flatten()
    .collect();
    format!("{}: {}", count(report.images.len(), "image", "images"), parts.join(", "))
}

/// What was held against what.
pub(super) fn yardstick(report: &Report) -> String {
    let mut parts = Vec::new();
    if let Some(baseline) = &report.baseline {
        let hosts = count(baseline.hosts, "host", "hosts");
        let asked = report.standard.as_ref().map_or(0, |s| s.standard.baseline.min_hosts);
        let of = match baseline.hosts {
            0 => "of what was published".to_owned(),
            n if n < asked => format!("of {hosts} (weak: {asked} asked for)"),
            _ => format!("of {hosts}"),
        };
        parts.push(format!("baseline {} {of} as of {}", baseline.name, baseline.as_of.date()));
    }
    if let Some(standard) = &report.standard {
        let target = &standard.standard.target;
        parts.push(match target.mode {
            crate::standard::Mode::Rolling => format!("target {} days", target.days),
            crate::standard::Mode::Calendar => {
                format!("target by calendar quarter, {} days of grace", target.grace_days)
            }
        });
    }
    parts.push(format!("judged at {}", report.as_of));
    parts.join(" · ")
}

fn image_lines(image: &ImageReport, detail: Detail) -> Vec<String> {
    let reference = paint(STRONG, &image.image.reference);
    let mut lines = Vec::new();
    if let Some(error) = &image.error {
        let mut told = error.lines();
        let first = told.next().unwrap_or_default();
        lines.push(format!("{}  {reference}: {}", label(image.outcome), plain(first)));
        lines.extend(told.map(|line| format!("      {}", plain(line))));
        return lines;
    }
    if image.systems.is_empty() {
        lines.push(format!("{}  {reference}: no verdict: {}", label(image.outcome), unread(&image.gaps)));
    }
    let of_all = gap_lines(&image.gaps_of(None), detail);
    let are_several = image.systems.len() > 1;
    if are_several && !of_all.is_empty() {
        lines.push(format!("{reference}: what follows counts for every system"));
        lines.extend(of_all.iter().skip(1).cloned());
        lines.push(String::new());
    }
    for system in &image.systems {
        let why = why(system, image);
        lines.push(format!("{}  {reference}: {}", label(system.verdict.outcome), plain(&why)));
        lines.extend(system_lines(system, detail));
        if system.volume.is_some() {
            lines.extend(gap_lines(&image.gaps_of(Some(system)), detail));
        }
    }
    if !are_several {
        lines.extend(of_all);
    }
    lines
}

/// The verdict in one breath.
pub(super) fn why(system: &SystemReport, image: &ImageReport) -> String {
    let verdict = &system.verdict;
    let named = || {
        system.os.as_ref().map(|os| match (&os.pretty_name, &os.version_id) {
            (Some(name), _) => name.clone(),
            (None, Some(version)) => format!("{} {version}", os.id),
            (None, None) => os.id.clone(),
        })
    };
    let platform = system.platform.as_ref().map(ToString::to_string).or_else(named);
    let platform = platform.unwrap_or_else(|| "unknown platform".to_owned());
    let age = age(verdict);
    let allowed = allowed(verdict);
    let reason = match verdict.state {
        State::Overdue => "overdue: a patch is past its deadline".into(),
        State::Drifted => format!("drifted: {age} behind production, {allowed}"),
        State::Unsupported => first(system, Effect::Fail).unwrap_or_else(|| "no longer supported".into()),
        State::Incomplete => {
            let all =
                || system.findings.iter().filter(|f| f.effect == Effect::Incomplete && f.code != Code::Gap);
            // Without a package nothing says for which architecture it is.
            let other = all().find(|f| f.code == Code::NoPackages).or_else(|| all().next());
            let own = || {
                let mut gaps = image.gaps_of(None);
                if system.volume.is_some() {
                    gaps.extend(image.gaps_of(Some(system)));
                }
                unread(gaps)
            };
            format!("no verdict: {}", other.map_or_else(own, |finding| finding.message.clone()))
        }
        State::Due => {
            format!("due: {age} behind production, {allowed}; leaves the target on {}", leaves(verdict))
        }
        State::Within => {
            format!("within the target: {age} behind production, {allowed}; leaves it on {}", leaves(verdict))
        }
        State::Current => format!(
            "current: lacks nothing that production had on {}; leaves the target not before {}",
            day(verdict.patched_through),
            leaves(verdict)
        ),
    };
    match &system.volume {
        Some(volume) => format!("{platform} on {volume} {reason}"),
        None => format!("{platform} {reason}"),
    }
}

pub(super) fn unread<'g>(gaps: impl IntoIterator<Item = &'g Gap>) -> String {
    let parts = gaps.into_iter().filter(|gap| gap.required).count();
    format!("{} could not be read", count(parts, "required part", "required parts"))
}

pub(super) fn age(verdict: &Verdict) -> String {
    let Some(days) = verdict.age_days else { return "an unknown time".into() };
    let at_least = if verdict.lower_bound { "≥ " } else { "" };
    format!("{at_least}{days} days")
}

fn allowed(verdict: &Verdict) -> String {
    match verdict.target_days {
        Some(days) => format!("{days} allowed"),
        None => format!("the quarter's line is {}", verdict.line.date()),
    }
}

fn leaves(verdict: &Verdict) -> String {
    day(verdict.leaves_target_on)
}

fn day(time: Option<Time>) -> String {
    time.map_or("an unknown day".into(), |time| time.date().to_string())
}

fn first(system: &SystemReport, effect: Effect) -> Option<String> {
    system.findings.iter().find(|f| f.effect == effect).map(|f| f.message.clone())
}

fn system_lines(system: &SystemReport, detail: Detail) -> Vec<String> {
    let mut lines = Vec::new();
    let counts = &system.counts;
    if counts.compared > 0 {
        lines.push(format!("      {}", sums(counts)));
    }
    let sources = by_source(&system.drift);
    if !sources.is_empty() {
        lines.push(String::new());
        lines.extend(source_lines(&sources, detail));
    }
    lines.extend(upgrade_lines(system));
    lines.extend(note_lines(system, detail));
    if detail.verbose {
        lines.extend(other_lines(&system.drift, detail));
    }
    lines
}

pub(super) fn sums(counts: &Counts) -> String {
    let mut text = format!("{} of {} packages behind", counts.behind, counts.compared);
    if counts.behind > 0 {
        let cves = match counts.cves {
            0 => "no CVE id".into(),
            n => count(n, "CVE id", "CVE ids"),
        };
        text += &format!(": {} missed, naming {cves}", count(counts.missed_patches, "patch", "patches"));
    }
    for (n, word) in [
        (counts.ahead, "ahead"),
        (counts.rebuilt, "rebuilt"),
        (counts.arriving, "with patches that production has not adopted yet"),
        (counts.only_in_image, "only in the image"),
    ] {
        if n > 0 {
            text += &format!("; {n} {word}");
        }
    }
    text
}

/// The packages of one source that are behind.
pub(super) struct Source<'a> {
    pub(super) name: &'a str,
    pub(super) packages: Vec<&'a PackageDrift>,
    pub(super) since: Option<Time>,
    pub(super) versions: BTreeSet<&'a str>,
    pub(super) cves: BTreeSet<&'a str>,
}

impl Source<'_> {
    /// For how many days it has been behind, `≥` where that is a lower bound.
    pub(super) fn days(&self) -> String {
        let bound = if self.packages.iter().any(|package| package.lower_bound) { "≥" } else { "" };
        let days = self.packages.iter().filter_map(|package| package.days_behind).max();
        days.map_or("?".into(), |days| format!("{bound}{days}"))
    }

    /// What the image has, and what production has.
    pub(super) fn version_pair(&self) -> (String, String) {
        let Some(package) = self.packages.first() else { return Default::default() };
        // A rebuild shows in the binary version alone.
        let is_rebuild = package.baseline_source_version.as_ref() == Some(&package.image_source_version);
        let (has, wants) = match is_rebuild {
            true => (&package.image_version, &package.baseline_version),
            false => (&package.image_source_version, &package.baseline_source_version),
        };
        (has.clone(), wants.clone().unwrap_or_default())
    }
}

/// What is behind, told once per source, the longest first.
pub(super) fn by_source(drift: &[PackageDrift]) -> Vec<Source<'_>> {
    let mut sources: BTreeMap<&str, Source<'_>> = BTreeMap::new();
    for package in drift.iter().filter(|package| package.change == Change::Behind) {
        let source = sources.entry(&package.source).or_insert_with(|| Source {
            name: &package.source,
            packages: Vec::new(),
            since: None,
            versions: BTreeSet::new(),
            cves: BTreeSet::new(),
        });
        source.packages.push(package);
        source.since = [source.since, package.behind_since].into_iter().flatten().min();
        for patch in &package.missed {
            source.versions.insert(&patch.version);
            source.cves.extend(patch.cves.iter().map(String::as_str));
        }
    }
    let mut sources: Vec<Source<'_>> = sources.into_values().collect();
    sources.sort_by_key(|source| (source.since.is_none(), source.since, source.name));
    sources
}

fn source_lines(sources: &[Source<'_>], detail: Detail) -> Vec<String> {
    let headings = ["source", "image has", "production has", "since", "days", "patches", "CVEs", "CVE ids"];
    let shown_columns = if detail.verbose { headings.len() } else { headings.len() - 1 };
    let mut table = Table::new(&headings[..shown_columns], &[4, 5, 6]);
    let shown = if detail.verbose { sources.len() } else { WORST };
    for source in sources.iter().take(shown) {
        let ids: Vec<&str> = source.cves.iter().copied().collect();
        let (has, wants) = source.version_pair();
        let cells = [
            source.name.to_string(),
            has,
            wants,
            source.since.map_or("unknown".into(), |since| since.date().to_string()),
            source.days(),
            source.versions.len().to_string(),
            ids.len().to_string(),
            some_of(&ids, usize::MAX),
        ];
        table.row(cells.into_iter().take(shown_columns));
    }
    let width = if detail.verbose { usize::MAX } else { detail.width };
    let mut lines = table.lines(6, width);
    if let Some(heading) = lines.first_mut() {
        *heading = paint(FAINT, &heading);
    }
    if sources.len() > shown {
        let more = count(sources.len() - shown, "more source", "more sources");
        lines.push(paint(FAINT, format!("      and {more}; -v shows all, with CVE ids")));
    }
    lines
}

fn upgrade_lines(system: &SystemReport) -> Vec<String> {
    let (boots, upgrades): (Vec<&Upgrade>, Vec<&Upgrade>) =
        system.upgrades.iter().partition(|upgrade| !upgrade.boot_instead.is_empty());
    let mut lines = Vec::new();
    let mut tell = |heading: String, table: Table| {
        lines.extend([String::new(), format!("      To be inside the target again, {heading}:")]);
        lines.extend(table.lines(8, usize::MAX).into_iter().filter(|line| !line.is_empty()));
    };
    if !upgrades.is_empty() {
        let mut table = Table::new(&[], &[]);
        for upgrade in &upgrades {
            let to = match upgrade.at_least == upgrade.adopted {
                true => format!("to {}", upgrade.adopted),
                false => format!("to {} (at least {})", upgrade.adopted, upgrade.at_least),
            };
            let to = match upgrade.adopted_packages.is_empty() {
                true => to,
                false => format!("{to}: {}", upgrade.adopted_packages.join(", ")),
            };
            table.row([upgrade.source.clone(), to]);
        }
        tell(format!("upgrade {}", count(upgrades.len(), "source", "sources")), table);
    }
    if !boots.is_empty() {
        let mut table = Table::new(&[], &[]);
        for upgrade in boots {
            table.row([
                upgrade.source.clone(),
                format!("{} instead of {}", upgrade.boot_instead.join(", "), upgrade.packages.join(", ")),
            ]);
        }
        tell("boot by default what is installed".to_owned(), table);
    }
    lines
}

/// What is good to know beside the verdict; what the lines above tell already is not told again.
fn note_lines(system: &SystemReport, detail: Detail) -> Vec<String> {
    let told = |f: &&Finding| {
        let above =
            matches!(f.code, Code::PastTarget | Code::Gap | Code::NoPackages | Code::LeavesTargetSoon);
        let below = f.code == Code::BaselineWeak && f.package.is_none();
        !above && !below && (detail.verbose || f.effect != Effect::Note)
    };
    let notes: Vec<&Finding> = system.findings.iter().filter(told).collect();
    let shown = if detail.verbose { notes.len() } else { GAPS };
    let mut lines = Vec::new();
    for finding in notes.iter().take(shown) {
        if lines.is_empty() {
            lines.push(String::new());
        }
        let word = match finding.effect {
            Effect::Fail => paint(BAD, "fails"),
            Effect::Incomplete => paint(DOUBTFUL, "incomplete"),
            Effect::Warning => paint(DOUBTFUL, "warning"),
            Effect::Note => paint(FAINT, "note"),
        };
        lines.push(format!(
            "      {word}: {} {}",
            plain(&finding.message),
            paint(FAINT, format!("[{}]", finding.code))
        ));
    }
    if notes.len() > shown {
        lines.push(paint(FAINT, format!("      and {} more; -v shows all", notes.len() - shown)));
    }
    lines
}

/// Packages that are not simply at the baseline, and not behind either.
fn other_lines(drift: &[PackageDrift], detail: Detail) -> Vec<String> {
    let mut table = Table::new(&["other packages", "image has", "production has", "change"], &[]);
    let mut any = false;
    for package in drift.iter().filter(|package| package.change != Change::Behind) {
        any = true;
        let change = match package.change {
            Change::Behind => "behind",
            Change::Ahead => "ahead",
            Change::Rebuilt => "rebuilt",
            Change::Arriving => "arriving",
            Change::OnlyInImage => "only in the image",
        };
        table.row([
            format!("{}:{}", package.name, package.arch),
            package.image_version.clone(),
            package.baseline_version.clone().unwrap_or("-".into()),
            change.to_string(),
        ]);
    }
    match any {
        true => [String::new()].into_iter().chain(table.lines(6, detail.width)).collect(),
        false => Vec::new(),
    }
}

fn gap_lines(gaps: &[&Gap], detail: Detail) -> Vec<String> {
    let mut gaps: Vec<&Gap> = gaps.iter().copied().filter(|gap| gap.required || detail.verbose).collect();
    gaps.sort_by_key(|gap| !gap.required);
    if gaps.is_empty() {
        return Vec::new();
    }
    let shown = if detail.verbose { gaps.len() } else { GAPS };
    let mut lines = vec![String::new(), "      Not read:".to_string()];
    for gap in gaps.iter().take(shown) {
        let optional = if gap.required { "" } else { " (not required)" };
        lines.push(format!("        {}: {}{optional}", paint(DOUBTFUL, &gap.place), plain(&gap.reason)));
    }
    if gaps.len() > shown {
        lines.push(paint(FAINT, format!("        and {} more; -v shows all", gaps.len() - shown)));
    }
    lines
}
