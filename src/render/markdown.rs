//! Reports as GitHub and GitLab show them: a job summary in [GitHub Flavored Markdown], the verdicts in a table,
//! the details folded away.
//!
//! What an image says is never markup: names, versions and paths stand in code spans, sentences have every
//! character that means something to Markdown or HTML as a character reference. A page stays within a number
//! of bytes (GitHub takes no larger summary than 1 MiB), and says what it leaves out.
//!
//! [GitHub Flavored Markdown]: https://github.github.com/gfm/

use crate::change::{SourceChange, Step};
use crate::compare::{Comparison, ImageComparison, Judged, PatchStep, Side, SystemComparison};
use crate::model::{Gap, Inventory, Time};
use crate::report::{ImageReport, Report, SystemReport};
use crate::standard::{Code, Effect, Outcome, Upgrade, Verdict};

use super::audit_text::{Source, age, by_source, outcome_word, overall, why, yardstick};
use super::inventory_text::{LAYOUT, layout_rows};
use super::{compare_text as words, count, some_of};

mod page;

use page::{Page, Section, code, html_code, prose};

/// So many sources are told for one system, the worst first.
const WORST: usize = 25;
/// So many gaps and findings are told for one image.
const GAPS: usize = 50;

fn mark(outcome: Outcome) -> String {
    let sign = match outcome {
        Outcome::Pass => "✅",
        Outcome::Fail => "❌",
        Outcome::Incomplete => "⚠️",
        Outcome::Error => "⛔",
    };
    format!("{sign} {}", outcome_word(outcome))
}

fn day(time: Option<Time>) -> String {
    time.map_or("unknown".into(), |time| time.date().to_string())
}

/// The report of an audit, in at most `max_bytes`.
#[must_use]
pub fn audit_markdown(report: &Report, max_bytes: usize) -> String {
    let mut page = Page::new(max_bytes);
    page.line(&format!("## {}: {}", mark(report.outcome), overall(report)));
    let mut rows: Vec<(Outcome, String)> = report.images.iter().flat_map(verdict_rows).collect();
    // The worst first, so that a page that is cut lacks what passes.
    rows.sort_by_key(|(outcome, _)| *outcome);
    page.section(Section {
        open: table(&[
            "verdict",
            "image",
            "platform",
            "state",
            "age",
            "leaves target",
            "behind",
            "missed",
            "CVE ids",
        ]),
        rows: rows.into_iter().map(|(_, row)| row).collect(),
        close: String::new(),
        what: "verdicts",
    });
    let mut images: Vec<&ImageReport> = report.images.iter().collect();
    images.sort_by_key(|image| image.outcome);
    for image in images {
        image_details(&mut page, image);
    }
    page.foot(&format!("{} · karat {}", yardstick(report), report.karat))
}

fn table(headings: &[&str]) -> String {
    let bars = "| --- ".repeat(headings.len());
    format!("| {} |\n{bars}|\n", headings.join(" | "))
}

fn row(cells: &[String]) -> String {
    format!("| {} |\n", cells.join(" | "))
}

fn verdict_rows(image: &ImageReport) -> Vec<(Outcome, String)> {
    let name = code(&image.image.reference);
    if image.systems.is_empty() {
        let mut cells = vec![mark(image.outcome), name];
        let state = if image.error.is_some() { "not opened" } else { "incomplete" };
        cells.extend(["–", state, "–", "–", "–", "–", "–"].map(String::from));
        return vec![(image.outcome, row(&cells))];
    }
    let systems = image.systems.iter().map(|system| {
        let verdict = &system.verdict;
        let volume =
            system.volume.as_ref().map(|volume| format!(" on {}", prose(volume))).unwrap_or_default();
        let cells = [
            mark(verdict.outcome),
            format!("{name}{volume}"),
            system.platform.as_ref().map_or("unknown".into(), |platform| code(&platform.to_string())),
            verdict.state.name().to_string(),
            aged(verdict),
            day(verdict.leaves_target_on),
            format!("{} of {}", system.counts.behind, system.counts.compared),
            system.counts.missed_patches.to_string(),
            system.counts.cves.to_string(),
        ];
        (verdict.outcome, row(&cells))
    });
    systems.collect()
}

fn aged(verdict: &Verdict) -> String {
    match verdict.target_days {
        Some(allowed) => format!("{} ({allowed} allowed)", age(verdict)),
        None => age(verdict),
    }
}

fn image_details(page: &mut Page, image: &ImageReport) {
    let name = html_code(&image.image.reference);
    if let Some(error) = &image.error {
        let text = error.lines().map(|line| format!("{}\n", prose(line))).collect::<Vec<_>>().join("\n");
        page.folded(
            &format!("{} {name} could not be opened", mark(image.outcome)),
            true,
            vec![Section::text(text)],
        );
        return;
    }
    for system in &image.systems {
        let sections =
            [upgrade_section(system), boot_section(system), behind_section(system), finding_section(system)];
        let sections: Vec<Section> = sections.into_iter().flatten().collect();
        if sections.is_empty() {
            continue;
        }
        let summary = format!("{} {name}: {}", mark(system.verdict.outcome), prose(&why(system, image)));
        page.folded(&summary, false, sections);
    }
    if let Some(section) = gap_section(&image.gaps) {
        page.folded(&format!("Not read of {name}"), false, vec![section]);
    }
}

fn upgrade_section(system: &SystemReport) -> Option<Section> {
    let upgrades: Vec<&Upgrade> = system.upgrades.iter().filter(|u| u.boot_instead.is_empty()).collect();
    if upgrades.is_empty() {
        return None;
    }
    let many = count(upgrades.len(), "source", "sources");
    let rows = upgrades.into_iter().map(|upgrade| {
        let packages: Vec<&str> = upgrade.packages.iter().map(String::as_str).collect();
        let to: Vec<&str> = upgrade.adopted_packages.iter().map(String::as_str).collect();
        let adopted = match to.is_empty() {
            true => code(&upgrade.adopted),
            false => format!("{} {}", code(&upgrade.adopted), code(&some_of(&to, 3))),
        };
        row(&[
            code(&upgrade.source),
            code(&upgrade.image_version),
            adopted,
            code(&upgrade.at_least),
            code(&some_of(&packages, 4)),
        ])
    });
    Some(Section {
        open: format!(
            "**To be inside the target again, upgrade {many}**\n\n{}",
            table(&["source", "from", "to", "at least", "packages"])
        ),
        rows: rows.collect(),
        close: String::new(),
        what: "upgrades",
    })
}

fn boot_section(system: &SystemReport) -> Option<Section> {
    let boots: Vec<&Upgrade> = system.upgrades.iter().filter(|u| !u.boot_instead.is_empty()).collect();
    if boots.is_empty() {
        return None;
    }
    let names = |packages: &[String]| {
        let packages: Vec<&str> = packages.iter().map(String::as_str).collect();
        code(&some_of(&packages, 4))
    };
    let rows =
        boots.iter().map(|u| row(&[code(&u.source), names(&u.boot_instead), names(&u.packages)])).collect();
    Some(Section {
        open: format!(
            "**To be inside the target again, boot by default what is installed**\n\n{}",
            table(&["source", "boot", "instead of"])
        ),
        rows,
        close: String::new(),
        what: "kernels",
    })
}

fn behind_section(system: &SystemReport) -> Option<Section> {
    let sources: Vec<Source<'_>> = by_source(&system.drift);
    if sources.is_empty() {
        return None;
    }
    let rows = sources.iter().take(WORST).map(|source| {
        let (has, wants) = source.version_pair();
        let ids: Vec<&str> = source.cves.iter().copied().collect();
        let ids = if ids.is_empty() { "–".to_string() } else { code(&some_of(&ids, 3)) };
        row(&[
            code(source.name),
            code(&has),
            code(&wants),
            day(source.since),
            source.days(),
            source.versions.len().to_string(),
            ids,
        ])
    });
    Some(Section {
        open: format!(
            "**Behind, the longest first**\n\n{}",
            table(&["source", "image has", "production has", "since", "days", "patches", "CVE ids"])
        ),
        rows: rows.collect(),
        close: more(sources.len(), WORST, "more source is", "more sources are"),
        what: "sources",
    })
}

/// What is not told here is in the report for machines.
fn more(n: usize, told: usize, one: &str, many: &str) -> String {
    match n.saturating_sub(told) {
        0 => String::new(),
        left => format!("\nand {} in the JSON report\n", count(left, one, many)),
    }
}

fn finding_section(system: &SystemReport) -> Option<Section> {
    let told = |code: Code| matches!(code, Code::PastTarget | Code::Gap | Code::NoPackages);
    let findings = system.findings.iter().filter(|f| !told(f.code) && f.effect != Effect::Note);
    let rows: Vec<String> = findings
        .clone()
        .take(GAPS)
        .map(|finding| {
            let word = match finding.effect {
                Effect::Fail => "fails",
                Effect::Incomplete => "incomplete",
                Effect::Warning => "warning",
                Effect::Note => "note",
            };
            format!("- {word}: {} (`{}`)\n", prose(&finding.message), finding.code)
        })
        .collect();
    (!rows.is_empty()).then(|| Section {
        open: "**Findings**\n\n".into(),
        rows,
        close: more(findings.count(), GAPS, "more finding is", "more findings are"),
        what: "findings",
    })
}

fn gap_section(gaps: &[Gap]) -> Option<Section> {
    let mut gaps: Vec<&Gap> = gaps.iter().collect();
    gaps.sort_by_key(|gap| !gap.required);
    let rows = gaps.iter().take(GAPS).map(|gap| gap_row("", gap));
    (!gaps.is_empty()).then(|| Section {
        open: String::new(),
        rows: rows.collect(),
        close: more(gaps.len(), GAPS, "more gap is", "more gaps are"),
        what: "gaps",
    })
}

fn gap_row(side: &str, gap: &Gap) -> String {
    let optional = if gap.required { "" } else { " (not required)" };
    format!("- {side}{}: {}{optional}\n", code(&gap.place), prose(&gap.reason))
}

/// Inventories: what was found in numbers, where everything of them is (if that is wanted), and what was not read,
/// in at most `max_bytes`.
#[must_use]
pub fn inventory_markdown(inventories: &[Inventory], with_layout: bool, max_bytes: usize) -> String {
    let mut page = Page::new(max_bytes);
    let required = |inventory: &Inventory| inventory.gaps.iter().filter(|gap| gap.required).count();
    let incomplete = inventories.iter().filter(|inventory| required(inventory) > 0).count();
    let outcome = if incomplete > 0 { Outcome::Incomplete } else { Outcome::Pass };
    let images = count(inventories.len(), "image", "images");
    page.line(&match outcome {
        Outcome::Pass => format!("## ✅ {images} read"),
        _ => format!("## {}: {incomplete} of {images} could not be read wholly", mark(outcome)),
    });
    let mut rows: Vec<(bool, String)> = Vec::new();
    for inventory in inventories {
        let unread = required(inventory);
        let sign = if unread > 0 { mark(Outcome::Incomplete) } else { "✅ READ".into() };
        let gaps = match inventory.gaps.len().saturating_sub(unread) {
            0 => unread.to_string(),
            more => format!("{unread}, and {more} not required"),
        };
        let mut system = |volume: Option<&String>, platform: String, packages: String, sources: String| {
            let volume = volume.map(|volume| format!(" on {}", prose(volume))).unwrap_or_default();
            let name = format!("{}{volume}", code(&inventory.image.reference));
            let head = [sign.clone(), name, inventory.image.kind.to_string()];
            let cells: Vec<String> =
                head.into_iter().chain([platform, packages, sources, gaps.clone()]).collect();
            rows.push((unread == 0, row(&cells)));
        };
        if inventory.systems.is_empty() {
            system(None, "–".into(), "0".into(), "0".into());
        }
        for found in &inventory.systems {
            let platform = found.platform.as_ref().map_or("unknown".into(), |p| code(&p.to_string()));
            let mut sources: Vec<&str> = found.packages.iter().map(|p| p.source.name.as_str()).collect();
            sources.sort_unstable();
            sources.dedup();
            let (packages, sources) = (found.packages.len().to_string(), sources.len().to_string());
            system(found.volume.as_ref(), platform, packages, sources);
        }
    }
    rows.sort_by_key(|(read, _)| *read);
    page.section(Section {
        open: table(&["", "image", "kind", "platform", "packages", "sources", "gaps"]),
        rows: rows.into_iter().map(|(_, row)| row).collect(),
        close: String::new(),
        what: "images",
    });
    for inventory in inventories {
        if with_layout {
            let rows = layout_rows(inventory).into_iter().map(|cells| row(&cells.map(|cell| prose(&cell))));
            page.section(Section {
                open: format!("\n**Layout of {}**\n\n{}", code(&inventory.image.reference), table(&LAYOUT)),
                rows: rows.collect(),
                close: String::new(),
                what: "places",
            });
        }
        if let Some(section) = gap_section(&inventory.gaps) {
            page.folded(
                &format!("Not read of {}", html_code(&inventory.image.reference)),
                false,
                vec![section],
            );
        }
    }
    page.foot(&format!("karat {}", env!("CARGO_PKG_VERSION")))
}

/// A comparison, in at most `max_bytes`.
#[must_use]
pub fn compare_markdown(comparison: &Comparison, max_bytes: usize) -> String {
    let mut page = Page::new(max_bytes);
    let essence = prose(&words::essence(comparison));
    page.line(&match (comparison.complete, comparison.undoes) {
        (false, _) => format!(
            "## {}: {}: {essence}",
            mark(Outcome::Incomplete),
            prose(&words::why_incomplete(comparison))
        ),
        (true, true) => format!("## ❌ {essence}"),
        (true, false) => format!("## ✅ {essence}"),
    });
    for (from, to) in words::other_releases(comparison) {
        page.line(&format!(
            "> **Another platform:** {} is compared with {}; versions of different releases say little of each other.",
            code(&to),
            code(&from)
        ));
    }
    for image in &comparison.images {
        image_comparison(&mut page, image);
    }
    for (side, references) in [("A", &comparison.only_in_a), ("B", &comparison.only_in_b)] {
        let rows: Vec<String> = references.iter().map(|name| format!("- {}\n", code(name))).collect();
        if !rows.is_empty() {
            let open = format!("**Only {side} has**\n\n");
            page.section(Section { open, rows, close: String::new(), what: "images" });
        }
    }
    let mut foot = words::footer(comparison);
    foot.push(format!("karat {}", comparison.karat));
    page.foot(&foot.join(" · "))
}

fn image_comparison(page: &mut Page, image: &ImageComparison) {
    for system in &image.systems {
        let open = table(&[
            "",
            &format!("A: {}", code(&image.a.reference)),
            &format!("B: {}", code(&image.b.reference)),
        ]);
        let rows = words::traits(system).into_iter().map(|[what, a, b]| {
            // What an image says of itself is code, what karat says of it is not.
            let tell = if matches!(what.as_str(), "platform" | "name" | "kernel") { code } else { prose };
            row(&[what, tell(&a), tell(&b)])
        });
        page.section(Section { open, rows: rows.collect(), close: String::new(), what: "rows" });
        system_comparison(page, system);
    }
    if image.systems.is_empty() {
        page.line(&format!("A: {}, B: {}", code(&image.a.reference), code(&image.b.reference)));
    }
    for (side, error) in [("A", &image.a_error), ("B", &image.b_error)] {
        if let Some(error) = error {
            page.line(&format!("{side} could not be opened: {}", prose(error)));
        }
    }
    for system in &image.unpaired {
        let platform = system.platform.as_ref().map_or("unknown".into(), ToString::to_string);
        let (side, root) =
            (words::side(system.side), code(system.volume.as_ref().unwrap_or(&system.root.to_string())));
        page.line(&format!("Only {side} has a system of {} at {root}", code(&platform)));
    }
    let rows =
        image.gaps.iter().take(GAPS).map(|gap| gap_row(&format!("{}: ", words::side(gap.side)), &gap.gap));
    if !image.gaps.is_empty() {
        let close = more(image.gaps.len(), GAPS, "more gap is", "more gaps are");
        let section = Section { open: String::new(), rows: rows.collect(), close, what: "gaps" };
        page.folded("Not read", false, vec![section]);
    }
}

fn system_comparison(page: &mut Page, system: &SystemComparison) {
    if let Some(change) = &system.change {
        for step in [Step::Downgraded, Step::Upgraded, Step::Rebuilt, Step::Added, Step::Removed] {
            let sources: Vec<&SourceChange> = change.sources.iter().filter(|s| s.change == step).collect();
            if sources.is_empty() {
                continue;
            }
            let mut headings = vec!["source", "A has", "B has", "packages"];
            let knows_ids = sources.iter().any(|source| source.cves.is_some());
            headings.extend(knows_ids.then_some("CVE ids"));
            let rows = sources.iter().map(|source| {
                let (a, b) = words::versions(source);
                let packages = code(&words::packages(source, 4));
                let mut cells = vec![code(&source.source), code(&a), code(&b), packages];
                cells.extend(knows_ids.then(|| code(&words::ids(source, 3))));
                row(&cells)
            });
            let section = Section {
                open: table(&headings),
                rows: rows.collect(),
                close: String::new(),
                what: "sources",
            };
            let summary =
                format!("{}: {}", words::step_title(step), count(sources.len(), "source", "sources"));
            page.folded(&summary, step == Step::Downgraded, vec![section]);
        }
    }
    if let Some(judged) = &system.judged {
        judged_details(page, judged);
    }
}

fn judged_details(page: &mut Page, judged: &Judged) {
    for step in [PatchStep::Undone, PatchStep::Opened, PatchStep::Closed] {
        let patches: Vec<_> = judged.patches.iter().filter(|patch| patch.change == step).collect();
        if patches.is_empty() {
            continue;
        }
        let rows = patches.iter().map(|patch| {
            let ids: Vec<&str> = patch.cves.iter().map(String::as_str).collect();
            let ids = if ids.is_empty() { "–".to_string() } else { code(&some_of(&ids, 3)) };
            row(&[code(&patch.source), code(&patch.version), day(patch.out_by), ids])
        });
        let section = Section {
            open: table(&["source", "version", "published", "CVE ids"]),
            rows: rows.collect(),
            close: String::new(),
            what: "patches",
        };
        let summary = format!("{}: {}", words::patch_title(step), count(patches.len(), "patch", "patches"));
        page.folded(&summary, step == PatchStep::Undone, vec![section]);
    }
    for side in [Side::B, Side::A] {
        let sources: Vec<_> = judged.behind.iter().filter(|change| change.side == side).collect();
        if sources.is_empty() {
            continue;
        }
        let rows = sources.iter().map(|change| {
            row(&[
                code(&change.source),
                code(&change.version),
                change.baseline_version.as_ref().map_or("–".into(), |version| code(version)),
                day(change.since),
            ])
        });
        let section = Section {
            open: table(&["source", words::had(side), "production has", "since"]),
            rows: rows.collect(),
            close: String::new(),
            what: "sources",
        };
        let many = count(sources.len(), "source", "sources");
        page.folded(&format!("{}: {many}", words::behind_word(side)), false, vec![section]);
    }
}
