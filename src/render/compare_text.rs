//! A comparison for people: the essence in the first line, then source by source.

use crate::change::{SourceChange, Step};
use crate::compare::{
    Compared, Comparison, ImageComparison, Judged, PatchChange, PatchCounts, PatchStep, Side,
    SystemComparison, SystemRef,
};
use crate::model::Time;
use crate::standard::{Outcome, Verdict};

use super::audit_text::{age, outcome_word};
use super::table::Table;
use super::{BAD, DOUBTFUL, Detail, FAINT, GOOD, STRONG, count, paint, plain, some_of};

/// So many sources or patches of one kind are told unless all are asked for.
const MOST: usize = 15;
/// So many gaps are told unless all are asked for.
const GAPS: usize = 5;

/// A comparison as text.
#[must_use]
pub fn compare_text(comparison: &Comparison, detail: Detail) -> String {
    let essence = plain(&essence(comparison)).into_owned();
    let mut lines = vec![match (comparison.complete, comparison.undoes) {
        (false, _) => {
            format!("{}  {}: {essence}", paint(DOUBTFUL, "INCOMPLETE"), plain(&why_incomplete(comparison)))
        }
        (true, true) => format!("{}  {essence}", paint(BAD, "UNDOES")),
        (true, false) => format!("{}  {essence}", paint(GOOD, "COMPARED")),
    }];
    let others = other_releases(comparison).into_iter().map(|(from, to)| {
        let what = "versions of different releases say little of each other";
        let loud = paint(BAD, "ANOTHER PLATFORM");
        format!("{loud}  B is {}, A is {}: {what}", plain(&to), plain(&from))
    });
    // That two things are compared which are not alike stands before all; that not all was read, before that.
    lines.splice(usize::from(!comparison.complete)..usize::from(!comparison.complete), others);
    for image in &comparison.images {
        lines.push(String::new());
        lines.extend(image_lines(image, comparison, detail));
    }
    for (side, references) in [("A", &comparison.only_in_a), ("B", &comparison.only_in_b)] {
        if !references.is_empty() {
            lines.push(String::new());
            lines.push(format!("      Only {side} has: {}", plain(&references.join(", "))));
        }
    }
    let footer = footer(comparison);
    if !footer.is_empty() {
        lines.push(String::new());
        lines.extend(footer.iter().map(|line| paint(FAINT, line)));
    }
    lines.join("\n") + "\n"
}

/// The platforms of pairs that are not of one release, from and to.
pub(super) fn other_releases(comparison: &Comparison) -> Vec<(String, String)> {
    let systems = comparison.images.iter().flat_map(|image| &image.systems);
    let mut all: Vec<(String, String)> = systems
        .filter(|system| !system.same_release)
        .map(|system| (platform(&system.a), platform(&system.b)))
        .collect();
    all.sort();
    all.dedup();
    all
}

pub(super) fn platform(system: &SystemRef) -> String {
    let name = system.platform.as_ref().map_or("an unknown platform".into(), ToString::to_string);
    match &system.channel {
        Some(channel) => format!("{name} ({channel})"),
        None => name,
    }
}

/// What it comes to, in one breath.
pub(super) fn essence(comparison: &Comparison) -> String {
    let mut parts = match comparison.of {
        Compared::Inventories => changes(comparison),
        Compared::Reports => {
            let judged: Vec<&Judged> = all_judged(comparison).collect();
            match judged[..] {
                [one] => turn(one),
                _ => turns(&judged),
            }
        }
    };
    if parts.is_empty() {
        let is_compared = comparison.images.iter().any(|image| !image.systems.is_empty());
        parts.push(match (is_compared, comparison.complete, comparison.of) {
            (false, _, _) => "is not compared".into(),
            (true, true, Compared::Inventories) => "holds the same packages".into(),
            (true, false, Compared::Inventories) => "holds the same packages as far as both were read".into(),
            (true, _, Compared::Reports) => "stays as it was".into(),
        });
    }
    parts.extend(patches(comparison));
    format!("B {}", parts.join("; "))
}

fn all_judged(comparison: &Comparison) -> impl Iterator<Item = &Judged> {
    comparison.images.iter().flat_map(|image| &image.systems).filter_map(|system| system.judged.as_ref())
}

/// `undoes 13 upgrades (9 with CVE ids), brings 3, adds 2 packages, removes 1`; nothing if nothing changes.
fn changes(comparison: &Comparison) -> Vec<String> {
    let counts = comparison.counts();
    let mut parts = Vec::new();
    let with_ids = |n: usize| if n > 0 { format!(" ({n} with CVE ids)") } else { String::new() };
    let noun = |n: usize, one: &str, many: &str, said: &mut bool| {
        let text = if *said { n.to_string() } else { count(n, one, many) };
        *said = true;
        text
    };
    let (mut upgrades, mut packages) = (false, false);
    if counts.downgraded > 0 {
        let n = noun(counts.downgraded, "upgrade", "upgrades", &mut upgrades);
        parts.push(format!("undoes {n}{}", with_ids(counts.downgraded_with_cves)));
    }
    if counts.upgraded > 0 {
        let n = noun(counts.upgraded, "upgrade", "upgrades", &mut upgrades);
        parts.push(format!("brings {n}{}", with_ids(counts.upgraded_with_cves)));
    }
    if counts.packages_added > 0 {
        let n = noun(counts.packages_added, "package", "packages", &mut packages);
        parts.push(format!("adds {n}"));
    }
    if counts.packages_removed > 0 {
        let n = noun(counts.packages_removed, "package", "packages", &mut packages);
        parts.push(format!("removes {n}"));
    }
    if counts.rebuilt > 0 {
        parts.push(format!("has other builds of {}", count(counts.rebuilt, "source", "sources")));
    }
    if parts.is_empty() { Vec::new() } else { vec![parts.join(", ")] }
}

/// What happens to patches that production has; nothing if nothing happens.
fn patches(comparison: &Comparison) -> Vec<String> {
    let mut sums = PatchCounts::default();
    for counts in all_judged(comparison).map(|judged| &judged.patch_counts) {
        sums.undone += counts.undone;
        sums.undone_cves += counts.undone_cves;
        sums.opened += counts.opened;
        sums.closed += counts.closed;
        sums.closed_cves += counts.closed_cves;
    }
    let ids = |n: usize| if n > 0 { format!(" ({})", count(n, "CVE id", "CVE ids")) } else { String::new() };
    let mut parts = Vec::new();
    if sums.undone > 0 {
        parts.push(format!("undoes {}{}", sums.undone, ids(sums.undone_cves)));
    }
    if sums.closed > 0 {
        parts.push(format!("closes {}{}", sums.closed, ids(sums.closed_cves)));
    }
    if sums.opened > 0 {
        parts.push(format!("misses {} that A does not miss", sums.opened));
    }
    match parts.is_empty() {
        true => Vec::new(),
        false => vec![format!("of production's patches it {}", parts.join(", "))],
    }
}

/// How the verdict of one system turns.
fn turn(judged: &Judged) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    let word = |verdict: &Verdict| format!("{} ({})", outcome_word(verdict.outcome), verdict.state.name());
    match judged.a.state == judged.b.state {
        true => parts.push(format!("stays {}", word(&judged.b))),
        false => parts.push(format!("is {} where A is {}", word(&judged.b), word(&judged.a))),
    }
    match judged.age_days_more {
        Some(days) if days > 0 => parts.push(format!("is {} older", count(to_usize(days), "day", "days"))),
        Some(days) if days < 0 => parts.push(format!("is {} fresher", count(to_usize(days), "day", "days"))),
        _ => {}
    }
    vec![parts.join(" and ")]
}

fn to_usize(days: i64) -> usize {
    usize::try_from(days.unsigned_abs()).unwrap_or(usize::MAX)
}

fn turns(judged: &[&Judged]) -> Vec<String> {
    let n =
        |wanted: std::cmp::Ordering| judged.iter().filter(|j| j.b.state.cmp(&j.a.state) == wanted).count();
    let (worse, better) = (n(std::cmp::Ordering::Less), n(std::cmp::Ordering::Greater));
    [(worse, "gets worse"), (better, "gets better")]
        .into_iter()
        .filter(|(n, _)| *n > 0)
        .map(|(n, word)| format!("{word} in {n} of {} systems", judged.len()))
        .collect()
}

/// Why a comparison is not whole.
pub(super) fn why_incomplete(comparison: &Comparison) -> String {
    let gaps = |side: Side| {
        let all = comparison.images.iter().flat_map(|image| &image.gaps);
        all.filter(|gap| gap.gap.required && (gap.side == side || gap.side == Side::Both)).count()
    };
    let images = &comparison.images;
    let unpaired: usize = images.iter().map(|image| image.unpaired.len()).sum();
    let failed = images.iter().filter(|image| image.a_error.is_some() || image.b_error.is_some()).count();
    let lonely = comparison.only_in_a.len() + comparison.only_in_b.len();
    let unknown = all_judged(comparison).filter(|judged| !judged.compared).count();
    let parts: Vec<String> = [
        (gaps(Side::A), "required part of A could not be read", "required parts of A could not be read"),
        (gaps(Side::B), "required part of B could not be read", "required parts of B could not be read"),
        (failed, "image could not be opened", "images could not be opened"),
        (unpaired, "system has no counterpart", "systems have no counterpart"),
        (lonely, "image has no counterpart", "images have no counterpart"),
        (unknown, "system is unknown to the baseline", "systems are unknown to the baseline"),
    ]
    .into_iter()
    .filter(|(n, _, _)| *n > 0)
    .map(|(n, one, many)| count(n, one, many))
    .collect();
    match parts.is_empty() {
        true => "there is no system to compare".into(),
        false => parts.join(", "),
    }
}

fn image_lines(image: &ImageComparison, comparison: &Comparison, detail: Detail) -> Vec<String> {
    let mut lines = Vec::new();
    for (side, reference, error) in [("A", &image.a, &image.a_error), ("B", &image.b, &image.b_error)] {
        let kind = reference.kind.map(|kind| format!("  {kind}")).unwrap_or_default();
        lines.push(format!("{}  {}{kind}", paint(STRONG, side), paint(STRONG, &reference.reference)));
        if let Some(error) = error {
            lines.extend(error.lines().map(|line| format!("   {}", plain(line))));
        }
    }
    for system in &image.systems {
        lines.extend(system_lines(system, comparison, detail));
    }
    for system in &image.unpaired {
        let platform = system.platform.as_ref().map_or("an unknown platform".into(), ToString::to_string);
        let place = system.volume.clone().unwrap_or_else(|| system.root.to_string());
        let text = format!("Only {} has a system of {platform} at {place}", side(system.side));
        lines.push(format!("      {}", plain(&text)));
    }
    lines.extend(gap_lines(image, detail));
    lines
}

pub(super) fn side(side: Side) -> &'static str {
    match side {
        Side::A => "A",
        Side::B => "B",
        Side::Both => "both",
    }
}

fn gap_lines(image: &ImageComparison, detail: Detail) -> Vec<String> {
    let mut gaps: Vec<_> = image.gaps.iter().filter(|gap| gap.gap.required || detail.verbose).collect();
    gaps.sort_by_key(|gap| !gap.gap.required);
    if gaps.is_empty() {
        return Vec::new();
    }
    let shown = if detail.verbose { gaps.len() } else { GAPS };
    let mut lines = vec![String::new(), "      Not read:".to_string()];
    for gap in gaps.iter().take(shown) {
        let optional = if gap.gap.required { "" } else { " (not required)" };
        let place = paint(DOUBTFUL, &gap.gap.place);
        lines.push(format!("        {}: {place}: {}{optional}", side(gap.side), plain(&gap.gap.reason)));
    }
    if gaps.len() > shown {
        lines.push(paint(FAINT, format!("        and {} more; -v shows all", gaps.len() - shown)));
    }
    lines
}

/// What is not the same of two systems beside their packages: what, A, B.
pub(super) fn traits(system: &SystemComparison) -> Vec<[String; 3]> {
    let name = |s: &SystemRef| s.os.as_ref().and_then(|os| os.pretty_name.clone()).unwrap_or_default();
    let kernels = |s: &SystemRef| match s.kernels.is_empty() {
        true => "none".to_string(),
        false => s.kernels.join(", "),
    };
    let mut rows = vec![["platform".to_string(), platform(&system.a), platform(&system.b)]];
    if let (Some(a), Some(b)) = (system.a.packages, system.b.packages) {
        rows.push(["packages".into(), a.to_string(), b.to_string()]);
    }
    rows.push(["name".into(), name(&system.a), name(&system.b)]);
    rows.push(["kernel".into(), kernels(&system.a), kernels(&system.b)]);
    if let Some(judged) = &system.judged {
        let verdict = |v: &Verdict| format!("{} ({})", outcome_word(v.outcome), v.state.name());
        rows.push(["verdict".into(), verdict(&judged.a), verdict(&judged.b)]);
        let through = |v: &Verdict| v.patched_through.map_or("unknown".into(), |t| t.date().to_string());
        rows.push(["patched through".into(), through(&judged.a), through(&judged.b)]);
        rows.push(["patch age".into(), age(&judged.a), age(&judged.b)]);
        let missed = |c: &crate::drift::Counts| match c.cves {
            0 => c.missed_patches.to_string(),
            n => format!("{}, naming {}", c.missed_patches, count(n, "CVE id", "CVE ids")),
        };
        rows.push(["missed patches".into(), missed(&judged.a_counts), missed(&judged.b_counts)]);
    }
    // A system without kernel is a container; that both have none is no news.
    rows.retain(|[what, a, b]| match what.as_str() {
        "name" | "kernel" => a != b,
        _ => true,
    });
    rows
}

fn system_lines(system: &SystemComparison, comparison: &Comparison, detail: Detail) -> Vec<String> {
    let mut table = Table::new(&["", "A", "B"], &[]);
    for row in traits(system) {
        table.row(row);
    }
    let mut lines = vec![String::new()];
    lines.extend(headed(table.lines(6, usize::MAX)));
    if let Some(change) = &system.change {
        for step in [Step::Downgraded, Step::Upgraded, Step::Rebuilt, Step::Added, Step::Removed] {
            let sources: Vec<&SourceChange> = change.sources.iter().filter(|s| s.change == step).collect();
            lines.extend(source_lines(step, &sources, detail));
        }
    }
    if let Some(judged) = &system.judged {
        let steps = match comparison.of {
            // With the packages above, the patches that these bring or lack are detail.
            Compared::Inventories if !detail.verbose => &[PatchStep::Undone][..],
            _ => &[PatchStep::Undone, PatchStep::Opened, PatchStep::Closed],
        };
        if comparison.of == Compared::Reports {
            lines.extend(behind_lines(judged, detail));
        }
        for step in steps {
            let patches: Vec<&PatchChange> = judged.patches.iter().filter(|p| p.change == *step).collect();
            lines.extend(patch_lines(*step, &patches, detail));
        }
    }
    lines
}

fn headed(mut lines: Vec<String>) -> Vec<String> {
    if let Some(heading) = lines.first_mut() {
        *heading = paint(FAINT, &heading);
    }
    lines
}

pub(super) fn step_title(step: Step) -> &'static str {
    match step {
        Step::Downgraded => "B undoes",
        Step::Upgraded => "B brings",
        Step::Rebuilt => "other builds",
        Step::Added => "only in B",
        Step::Removed => "only in A",
    }
}

/// The ids of a source as they are told: a dash for none, a question mark where a changelog is missing.
pub(super) fn ids(source: &SourceChange, most: usize) -> String {
    let Some(cves) = &source.cves else { return "?".into() };
    let ids: Vec<&str> = cves.iter().map(String::as_str).collect();
    let more = if source.cves_lower_bound { " or more" } else { "" };
    format!("{}{more}", some_of(&ids, most))
}

/// A version pair as it is told: of a rebuild the binary versions.
pub(super) fn versions(source: &SourceChange) -> (String, String) {
    let same = source.a_version == source.b_version;
    let package = source.packages.first().filter(|_| same);
    let (a, b) = package.map_or((&source.a_version, &source.b_version), |p| (&p.a_version, &p.b_version));
    (a.clone().unwrap_or("-".into()), b.clone().unwrap_or("-".into()))
}

fn source_lines(step: Step, sources: &[&SourceChange], detail: Detail) -> Vec<String> {
    if sources.is_empty() {
        return Vec::new();
    }
    let knows_ids = sources.iter().any(|source| source.cves.is_some());
    let mut headings = vec![step_title(step)];
    headings.extend(if step == Step::Added { &["B has"][..] } else { &["A has"] });
    let both = !matches!(step, Step::Added | Step::Removed);
    if both {
        headings.push("B has");
    }
    headings.push("packages");
    if knows_ids {
        headings.push("CVE ids");
    }
    let mut table = Table::new(&headings, &[]);
    let shown = if detail.verbose { sources.len() } else { MOST };
    for source in sources.iter().take(shown) {
        let (a, b) = versions(source);
        let mut cells = vec![source.source.clone()];
        match step {
            Step::Added => cells.push(b),
            Step::Removed => cells.push(a),
            _ => cells.extend([a, b]),
        }
        cells.push(packages(source, if detail.verbose { usize::MAX } else { 2 }));
        if knows_ids {
            cells.push(ids(source, if detail.verbose { usize::MAX } else { 3 }));
        }
        table.row(cells);
    }
    let mut lines = vec![String::new()];
    lines.extend(headed(table.lines(6, if detail.verbose { usize::MAX } else { detail.width })));
    if sources.len() > shown {
        let more = count(sources.len() - shown, "more source", "more sources");
        lines.push(paint(FAINT, format!("      and {more}; -v shows all")));
    }
    lines
}

/// The binary packages of a source; nothing where the one package has its name.
pub(super) fn packages(source: &SourceChange, most: usize) -> String {
    let names: Vec<String> = source
        .packages
        .iter()
        .map(|package| match &package.a_name {
            Some(before) => format!("{before} → {}", package.name),
            None => package.name.clone(),
        })
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let inside: Vec<String> = source
        .packages
        .iter()
        .flat_map(|package| &package.built_in)
        .map(|inside| format!("{} {} → {}", inside.source, inside.a_version, inside.b_version))
        .collect();
    match inside.first() {
        Some(first) => format!("{} (built in: {first})", some_of(&names, most)),
        None => some_of(&names, most),
    }
}

pub(super) fn patch_title(step: PatchStep) -> &'static str {
    match step {
        PatchStep::Undone => "patches undone",
        PatchStep::Opened => "missed by B only",
        PatchStep::Closed => "missed by A only",
    }
}

pub(super) fn day(time: Option<Time>) -> String {
    time.map_or("unknown".into(), |time| time.date().to_string())
}

fn patch_lines(step: PatchStep, patches: &[&PatchChange], detail: Detail) -> Vec<String> {
    if patches.is_empty() {
        return Vec::new();
    }
    let mut table = Table::new(&[patch_title(step), "version", "published", "CVE ids"], &[]);
    let shown = if detail.verbose { patches.len() } else { MOST };
    for patch in patches.iter().take(shown) {
        let ids: Vec<&str> = patch.cves.iter().map(String::as_str).collect();
        table.row([
            patch.source.clone(),
            patch.version.clone(),
            day(patch.out_by),
            some_of(&ids, if detail.verbose { usize::MAX } else { 3 }),
        ]);
    }
    let mut lines = vec![String::new()];
    lines.extend(headed(table.lines(6, if detail.verbose { usize::MAX } else { detail.width })));
    if patches.len() > shown {
        let more = count(patches.len() - shown, "more patch", "more patches");
        lines.push(paint(FAINT, format!("      and {more}; -v shows all")));
    }
    lines
}

fn behind_lines(judged: &Judged, detail: Detail) -> Vec<String> {
    let mut lines = Vec::new();
    for side in [Side::B, Side::A] {
        let sources: Vec<_> = judged.behind.iter().filter(|change| change.side == side).collect();
        if sources.is_empty() {
            continue;
        }
        let mut table = Table::new(&[behind_word(side), had(side), "production has", "since"], &[]);
        let shown = if detail.verbose { sources.len() } else { MOST };
        for change in sources.iter().take(shown) {
            table.row([
                change.source.clone(),
                change.version.clone(),
                change.baseline_version.clone().unwrap_or_default(),
                day(change.since),
            ]);
        }
        lines.push(String::new());
        lines.extend(headed(table.lines(6, detail.width)));
        if sources.len() > shown {
            let more = count(sources.len() - shown, "more source", "more sources");
            lines.push(paint(FAINT, format!("      and {more}; -v shows all")));
        }
    }
    lines
}

pub(super) fn had(side: Side) -> &'static str {
    match side {
        Side::A => "A had",
        Side::B | Side::Both => "B has",
    }
}

pub(super) fn behind_word(side: Side) -> &'static str {
    match side {
        Side::A => "no longer behind",
        Side::B | Side::Both => "newly behind",
    }
}

/// What both sides were held against.
pub(super) fn footer(comparison: &Comparison) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(baseline) = &comparison.baseline {
        lines.push(format!("both held against baseline {} as of {}", baseline.name, baseline.as_of.date()));
    }
    let runs = [("A", &comparison.run_a), ("B", &comparison.run_b)];
    for (side, run) in runs.iter().filter_map(|(side, run)| run.as_ref().map(|run| (side, run))) {
        let outcome = match run.outcome {
            Outcome::Error => "no verdict",
            other => outcome_word(other),
        };
        let baseline = run.baseline.as_ref().map_or("without baseline".into(), |baseline| {
            format!("held against {} as of {}", baseline.name, baseline.as_of.date())
        });
        lines.push(format!("{side}: {outcome} at {}, {baseline}", run.as_of));
    }
    if let (Some(a), Some(b)) = (&comparison.run_a, &comparison.run_b)
        && a.baseline.as_ref().map(|x| x.digest) != b.baseline.as_ref().map(|x| x.digest)
    {
        lines.push("the baselines differ: some of the change is production's".into());
    }
    lines
}
