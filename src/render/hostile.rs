//! What a hostile image writes into its names reaches neither a terminal nor a page as more than text.

use super::*;
use crate::baseline::testing::{baseline, changelog, inventory, package, system, time};
use crate::baseline::{Baseline, summarize};
use crate::compare::Comparison;
use crate::drift::explain;
use crate::intel::SupportEnds;
use crate::model::{Gap, Inventory, OsInfo};
use crate::report::{BaselineRef, ImageReport, Report, StandardRef};
use crate::standard::Standard;

/// Each clears, recolours, breaks the line, turns the writing direction, closes code, table, HTML.
const EVIL: &str = "x\u{1b}[2J\u{1b}[32mPASS\u{9b}31m\r\nFAIL\u{7}\u{202e}\u{2066}\u{200b}`|</code></details><script>a</script>**b**[l](h)![i](s)";

fn evil(name: &str) -> String {
    format!("{name}{EVIL}")
}

fn hostile(version: &str) -> Inventory {
    let mut image = inventory("2026-11-24", system("debian/12/amd64", &["good 1"], &[]));
    for (name, v) in [("old", version), ("only", "1")] {
        let mut p = package(&format!("{name} {v}"));
        p.name = evil(name);
        p.source.name = evil(name);
        p.version = format!("{v}{EVIL}");
        p.source.version = format!("{v}{EVIL}");
        p.state = Some(EVIL.into());
        image.systems[0].packages.push(p);
    }
    let mut kernel = package("linux-image-6.1.0-50-amd64 6.1.190-1 linux");
    kernel.name = format!("linux-image-6.1.0-50-{EVIL}");
    kernel.version = format!("{version}.6.1{EVIL}");
    kernel.source.version.clone_from(&kernel.version);
    image.systems[0].packages.push(kernel);
    image.systems[0].packages.sort();
    image.systems[0].channel = None;
    image.systems[0].os = Some(OsInfo { pretty_name: Some(evil("os")), ..OsInfo::default() });
    image.image.reference = evil("ref");
    image.gaps = vec![Gap { place: evil("place"), reason: evil("reason"), required: true }];
    image
}

/// Every renderer's output for hostile input: what it is, the text, and whether it is Markdown.
fn all() -> Vec<(&'static str, String, bool)> {
    let (a, b) = (hostile("3"), hostile("1"));
    let mut production = a.clone();
    let mut entries = changelog("old", "3 | bookworm-security | 2026-08-01 |\n1 | bookworm | 2023-01-01");
    for entry in &mut entries {
        entry.source = evil("old");
        entry.version += EVIL;
        entry.cves = vec![evil("CVE-")];
        entry.suites.push(EVIL.into());
    }
    production.systems[0].releases = entries;
    let loaded =
        Baseline::from_json(&baseline("2026-11-24", &production.systems[0]).to_json().unwrap()).unwrap();
    let support = SupportEnds::shipped().unwrap();
    let standard = StandardRef { digest: None, standard: Standard::default() };
    let now = time("2026-11-24");
    let of = |i: &Inventory| ImageReport::of(i, &loaded.baseline, &standard.standard, &support, now);
    let images = vec![of(&a), of(&b), ImageReport::failed(&evil("gone"), evil("no such\nfile"))];
    let mut named = BaselineRef::of(&loaded);
    named.name = evil("production");
    let report = Report::new("audit", now, Some(named.clone()), Some(standard.clone()), Vec::new(), images);
    let mut other = report.clone();
    other.images.reverse();
    let reports = Comparison::of_reports(&report, &other).unwrap();
    let comparison = Comparison::of_inventories(
        &a,
        &b,
        Some((&report.images[0], &report.images[1], named, standard.clone())),
    );
    let explanation =
        explain(&b.systems[0], &loaded.baseline, &standard.standard.drift_options(now), &evil("old"));
    assert!(!explanation.packages.is_empty() && comparison.undoes);
    let detail = Detail { verbose: true, width: 80 };
    let most = 1 << 20;
    vec![
        ("audit", audit_text(&report, detail), false),
        ("inventory", inventory_text(&b, detail), false),
        ("compare", compare_text(&comparison, detail), false),
        ("compare reports", compare_text(&reports, detail), false),
        ("explain", explain_text(&evil("ref"), &explanation, detail), false),
        ("baseline", baseline_text(&summarize(&loaded.baseline)), false),
        ("history", loaded.baseline.platforms[0].sources.iter().map(history_text).collect(), false),
        ("audit markdown", audit_markdown(&report, most), true),
        ("inventory markdown", inventory_markdown(&[a, b], true, most), true),
        ("compare markdown", compare_markdown(&comparison, most), true),
        ("compare reports markdown", compare_markdown(&reports, most), true),
    ]
}

#[test]
fn nothing_of_an_image_steers_a_terminal() {
    for (what, text, _) in all() {
        assert!(
            what == "baseline"
                || text.contains("PASS\\u{9b}31m\\u{d}\\u{a}FAIL")
                || text.contains("PASS&#92;u"),
            "{what}: {text}"
        );
        // Colours of our own are gone; nothing else may be left that steers.
        let shown = anstream::adapter::strip_str(&text).to_string();
        let left: Vec<char> = shown
            .chars()
            .filter(|c| *c != '\n' && *c != '\u{fe0f}')
            .filter(|c| plain(&c.to_string()) != c.to_string())
            .collect();
        assert!(left.is_empty(), "{what}: {left:?} in {shown:?}");
        let own = ["\u{1b}[0m", "\u{1b}[1m", "\u{1b}[2m", "\u{1b}[31m", "\u{1b}[32m", "\u{1b}[33m"];
        let without = own.iter().fold(text.clone(), |text, code| text.replace(code, ""));
        assert!(!without.contains('\u{1b}'), "{what}: {without:?}");
        assert!(!shown.lines().any(|line| line.starts_with("FAIL\\u") || line == "FAIL"), "{what}");
    }
}

#[test]
fn nothing_of_an_image_is_markup() {
    for (what, text, is_markdown) in all() {
        if !is_markdown {
            continue;
        }
        // Outside of code spans, which only our own backticks open, there is no tag but ours.
        for line in text.lines() {
            let outside: String = line.split('`').step_by(2).collect();
            assert!(line.matches('`').count().is_multiple_of(2), "{what}: {line}");
            let ours = [
                "<details>",
                "<details open>",
                "</details>",
                "<summary>",
                "</summary>",
                "<code>",
                "</code>",
                "<sub>",
                "</sub>",
                "<!-- -->",
            ];
            let left = ours.iter().fold(outside, |line, tag| line.replace(tag, ""));
            assert!(!left.contains('<') && !left.contains("]("), "{what}: {line}");
        }
        let opened = text.matches("<details").count();
        assert_eq!(opened, text.matches("</details>").count(), "{what}");
        // Every row of a table has as many cells as its heading.
        let mut cells = None;
        for line in text.lines() {
            match line.starts_with('|') {
                true => assert_eq!(
                    *cells.get_or_insert(line.matches('|').count()),
                    line.matches('|').count(),
                    "{what}: {line}"
                ),
                false => cells = None,
            }
        }
    }
}
