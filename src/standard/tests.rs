//! Verdicts on hand-written facts, and the laws of judging.

use super::*;
use crate::baseline::Baseline;
use crate::baseline::testing::{
    baseline, boots, changelog, changelogs, channel_baseline, listing, system, time,
};
use crate::drift::{Change, Drift, Patch, between};
use crate::intel::SupportEnds;
use crate::model::{Gap, ReleaseEntry, System, Time};

fn support() -> SupportEnds {
    SupportEnds::parse("[debian]\n\"12\" = { ends = \"2028-06-30\", note = \"LTS ends\" }\n\"10\" = { ends = \"2024-06-30\", note = \"LTS ends\" }\n").unwrap()
}

fn judged(image: &System, baseline: &Baseline, standard: &Standard, as_of: Time, gaps: &[Gap]) -> Judgement {
    judge(&between(image, baseline, &standard.drift_options(as_of)), gaps, standard, &support())
}

fn codes(judgement: &Judgement) -> Vec<(&'static str, Effect)> {
    judgement.findings.iter().map(|finding| (finding.code.name(), finding.effect)).collect()
}

fn gap(required: bool) -> Gap {
    Gap { place: "layer 3".into(), reason: "cut off".into(), required }
}

/// An image that lacks `foo` 2, published at this time, against production read at `as_of`.
fn lacking(published: &str, as_of: &str) -> (System, Baseline) {
    let entries =
        changelog("foo", &format!("2 | bookworm-security | {published}\n1 | bookworm | 2023-09-01"));
    let production = system("debian/12/amd64", &["foo 2"], &[entries]);
    (system("debian/12/amd64", &["foo 1"], &[]), baseline(as_of, &production))
}

#[test]
fn the_first_state_that_holds() {
    let day = "2026-11-24";
    let standard = Standard::default();
    let (image, fresh) = lacking("2026-11-01", day);
    let (_, past) = lacking("2026-08-01", day);
    let (_, soon) = lacking("2026-08-30", day);
    let (_, stale) = lacking("2026-10-01", "2026-11-09");
    let mut current = image.clone();
    current.packages[0].version = "2".into();
    current.packages[0].source.version = "2".into();
    let mut nameless = image.clone();
    nameless.platform = None;
    let mut elsewhere = image.clone();
    elsewhere.platform = Some("debian/13/amd64".parse().unwrap());
    let mut ended = image.clone();
    ended.platform = Some("debian/10/amd64".parse().unwrap());
    let mut empty = image.clone();
    empty.packages.clear();
    let unknown = system("debian/12/amd64", &["ours 1"], &[]);
    use Effect::{Fail, Incomplete, Note, Warning};
    for (name, image, baseline, gaps, state, want) in [
        ("current", &current, &fresh, &[][..], State::Current, &[][..]),
        ("within", &image, &fresh, &[gap(false)], State::Within, &[]),
        ("due", &image, &soon, &[], State::Due, &[("leaves-target-soon", Warning)]),
        ("past", &image, &past, &[], State::Drifted, &[("past-target", Fail)]),
        (
            "past, with a gap",
            &image,
            &past,
            &[gap(true)],
            State::Drifted,
            &[("past-target", Fail), ("gap", Incomplete)],
        ),
        ("gap", &current, &fresh, &[gap(true)], State::Incomplete, &[("gap", Incomplete)]),
        ("stale", &image, &stale, &[], State::Incomplete, &[("baseline-stale", Incomplete)]),
        ("no platform", &nameless, &fresh, &[], State::Incomplete, &[("no-platform", Incomplete)]),
        ("no packages", &empty, &fresh, &[], State::Incomplete, &[("no-packages", Incomplete)]),
        ("nothing known", &unknown, &fresh, &[], State::Incomplete, &[("nothing-compared", Incomplete)]),
        (
            "not in the baseline",
            &elsewhere,
            &fresh,
            &[],
            State::Incomplete,
            &[("baseline-missing-platform", Incomplete), ("support-unknown", Note)],
        ),
        (
            "support ended",
            &ended,
            &fresh,
            &[],
            State::Unsupported,
            &[("unsupported-platform", Fail), ("baseline-missing-platform", Incomplete)],
        ),
    ] {
        let judgement = judged(image, baseline, &standard, time(day), gaps);
        assert_eq!((judgement.verdict.state, codes(&judgement)), (state, want.to_vec()), "{name}");
        assert_eq!(judgement.verdict.outcome, state.outcome(), "{name}");
    }
    let lenient = Standard { fail_on_unsupported: false, ..standard };
    assert_eq!(judged(&ended, &fresh, &lenient, time(day), &[]).verdict.state, State::Incomplete);
}

#[test]
fn the_verdict_says_when_and_what_mends_it() {
    let entries = changelog(
        "foo",
        "4 | bookworm-security | 2026-11-01
         3 | bookworm-security | 2026-08-10
         2 | bookworm-security | 2026-08-01
         1 | bookworm | 2023-09-01",
    );
    let production = system("debian/12/amd64", &["foo 4", "libfoo 4 foo"], &[entries]);
    let image = system("debian/12/amd64", &["foo 1", "libfoo 1 foo"], &[]);
    let judgement =
        judged(&image, &baseline("2026-11-24", &production), &Standard::default(), time("2026-11-24"), &[]);
    assert_eq!(
        judgement.findings,
        [Finding {
            code: Code::PastTarget,
            effect: Effect::Fail,
            message: "`foo` lacks 2 and 2 more since 2026-08-01 (115 days)".into(),
            package: Some("foo".into()),
            path: None,
            due: Some(time("2026-11-02")),
        }]
    );
    assert_eq!(
        judgement.upgrades,
        [Upgrade {
            source: "foo".into(),
            packages: vec!["foo".into(), "libfoo".into()],
            image_version: "1".into(),
            at_least: "3".into(),
            adopted: "4".into(),
            adopted_packages: Vec::new(),
            boot_instead: Vec::new(),
            oldest: Some(time("2026-08-01")),
        }]
    );
    let verdict = judgement.verdict;
    assert_eq!((verdict.age_days, verdict.leaves_target_on), (Some(115), Some(time("2026-11-02"))));
    assert_eq!((verdict.target_days, verdict.at_baseline_percent), (Some(92), Some(0.0)));
}

#[test]
fn what_is_installed_has_to_boot_and_is_no_upgrade() {
    let entries = changelog(
        "linux",
        "6.1.195-1 | bookworm-security | 2026-11-20
         6.1.192-1 | bookworm-security | 2026-08-14
         6.1.176-1 | bookworm-security | 2026-07-02",
    );
    let kernel = |release: &str, version: &str| format!("linux-image-{release}-amd64 {version} linux");
    let (old, new) = (kernel("6.1.0-50", "6.1.176-1"), kernel("6.1.0-56", "6.1.192-1"));
    let newest = kernel("6.1.0-58", "6.1.195-1");
    let production = system("debian/12/amd64", &[&newest, "linux-libc-dev 6.1.195-1 linux"], &[entries]);
    let baseline = baseline("2026-11-24", &production);
    let upgrades = |packages: &[&str], release: &str| {
        let image = System { boot: boots(release), ..system("debian/12/amd64", packages, &[]) };
        let judgement = judged(&image, &baseline, &Standard::default(), time("2026-11-24"), &[]);
        let told = |u: Upgrade| {
            let boot = u.boot_instead.join(" ");
            format!("{} {} -> {}: {} [{boot}]", u.source, u.image_version, u.at_least, u.packages.join(" "))
        };
        judgement.upgrades.into_iter().map(told).collect::<Vec<_>>()
    };
    let boot = "linux 6.1.176-1 -> 6.1.192-1: linux-image-6.1.0-50-amd64 [linux-image-6.1.0-56-amd64]";
    assert_eq!(upgrades(&[&old, &new], "6.1.0-50-amd64"), [boot]);
    assert_eq!(upgrades(&[&old, &new], "6.1.0-56-amd64"), [""; 0]);
    // What is not installed is an upgrade still; what does not run has no use of the boot loader.
    let upgrade = "linux 6.1.176-1 -> 6.1.192-1: linux-image-6.1.0-50-amd64 []";
    assert_eq!(upgrades(&[&old], "6.1.0-50-amd64"), [upgrade]);
    assert_eq!(
        upgrades(&[&old, &new, "linux-libc-dev 6.1.176-1 linux"], "6.1.0-50-amd64"),
        ["linux 6.1.176-1 -> 6.1.192-1: linux-libc-dev []", boot]
    );
}

#[test]
fn what_is_not_known_for_sure_never_passes() {
    let day = "2026-11-24";
    let trimmed = |newest: &str, oldest: &str| {
        changelog("foo", &format!("9 | bookworm-security | {newest}\n8 | bookworm-security | {oldest}"))
    };
    let dated = |date: &str| vec![changelog("foo", &format!("1 | bookworm-security | {date}"))];
    let cases = [
        (
            "nothing says since when",
            trimmed("2026-11-10", "2026-11-01"),
            Vec::<Vec<ReleaseEntry>>::new(),
            State::Incomplete,
            vec![("history-short", Effect::Incomplete)],
        ),
        (
            "broken only at the upper end",
            trimmed("2026-11-10", "2026-11-01"),
            dated("2026-08-01"),
            State::Incomplete,
            vec![("history-short", Effect::Incomplete)],
        ),
        (
            "not broken at the upper end",
            trimmed("2026-11-10", "2026-11-01"),
            dated("2026-10-01"),
            State::Within,
            vec![("history-short", Effect::Note)],
        ),
        (
            "broken at the lower bound",
            trimmed("2026-11-10", "2026-08-01"),
            vec![],
            State::Drifted,
            vec![("past-target", Effect::Fail), ("history-short", Effect::Note)],
        ),
        (
            "undated",
            vec![],
            vec![],
            State::Incomplete,
            vec![("history-short", Effect::Incomplete), ("undated-patch", Effect::Note)],
        ),
    ];
    for (name, entries, own, state, want) in cases {
        let production = system("debian/12/amd64", &["foo 9"], &[entries]);
        let image = system("debian/12/amd64", &["foo 1"], &own);
        let judgement = judged(&image, &baseline(day, &production), &Standard::default(), time(day), &[]);
        assert_eq!((judgement.verdict.state, codes(&judgement)), (state, want), "{name}");
    }
}

#[test]
fn an_undated_patch_between_known_dates_has_bounds() {
    let entries = changelog("foo", "2 | bookworm-security | 2026-11-01\n1 | bookworm | 2023-09-01");
    let production = system("debian/12/amd64", &["foo 3"], &[entries]);
    let image = system("debian/12/amd64", &["foo 2"], &[]);
    let judgement =
        judged(&image, &baseline("2026-11-24", &production), &Standard::default(), time("2026-11-24"), &[]);
    assert_eq!(judgement.verdict.state, State::Within);
    assert_eq!((judgement.verdict.age_days, judgement.verdict.age_days_at_most), (Some(0), Some(23)));
}

#[test]
fn only_security_counts_where_the_standard_says_so() {
    let entries = changelog(
        "foo",
        "3 | bookworm-updates | 2026-07-01
         2 | bookworm-updates | 2026-06-01 | CVE-2026-1
         1 | bookworm-security | 2023-09-01",
    );
    let production = system("debian/12/amd64", &["foo 3"], &[entries]);
    let baseline = baseline("2026-11-24", &production);
    let mut standard = Standard::default();
    standard.target.counts = Counted::Security;
    for (image, state) in [("foo 1", State::Drifted), ("foo 2", State::Within)] {
        let image = system("debian/12/amd64", &[image], &[]);
        assert_eq!(judged(&image, &baseline, &standard, time("2026-11-24"), &[]).verdict.state, state);
        assert_eq!(
            judged(&image, &baseline, &Standard::default(), time("2026-11-24"), &[]).verdict.state,
            State::Drifted
        );
    }
}

#[test]
fn an_image_that_lacks_nothing_is_good_for_a_target_after_the_baseline() {
    let (image, baseline) = lacking("2026-11-01", "2026-11-20");
    let mut current = image;
    current.packages[0].version = "2".into();
    current.packages[0].source.version = "2".into();
    let verdict = judged(&current, &baseline, &Standard::default(), time("2026-11-24"), &[]).verdict;
    assert_eq!(verdict.patched_through, Some(time("2026-11-20")));
    assert_eq!(verdict.leaves_target_on, Some(time("2027-02-21")));
}

/// The forecast is the first day on which the same image fails.
#[test]
fn the_forecast_holds() {
    for mode in [Mode::Rolling, Mode::Calendar] {
        for published in
            ["2024-02-29T00:00:00Z", "2025-12-31T00:00:00Z", "2026-01-01T00:00:00Z", "2026-05-17T00:00:00Z"]
        {
            let mut standard = Standard::default();
            standard.target.mode = mode;
            standard.baseline.max_age_days = 3650;
            let (image, baseline) = lacking(published, published);
            let mut day = time(published);
            let forecast = judged(&image, &baseline, &standard, day, &[]).verdict.leaves_target_on;
            while judged(&image, &baseline, &standard, day, &[]).verdict.outcome == Outcome::Pass {
                let ahead = judged(&image, &baseline, &standard, day, &[]).verdict;
                assert_eq!(ahead.leaves_target_on, forecast);
                let is_due = forecast.is_some_and(|at| day >= at.plus_days(-14));
                assert_eq!(ahead.state, if is_due { State::Due } else { State::Within }, "{mode:?} {day}");
                day = day.plus_days(1);
            }
            assert_eq!(Some(day), forecast, "{mode:?} {published}");
        }
    }
}

#[test]
fn a_baseline_from_after_the_audit_never_passes() {
    let (image, baseline) = lacking("2026-11-01", "2026-11-24");
    for (as_of, newer) in [("2026-11-24", false), ("2026-11-23", false), ("2026-11-22T23:59:59Z", true)] {
        let judgement = judged(&image, &baseline, &Standard::default(), time(as_of), &[]);
        assert_eq!(codes(&judgement).contains(&("baseline-newer", Effect::Incomplete)), newer, "{as_of}");
        assert_eq!(judgement.verdict.outcome == Outcome::Pass, !newer, "{as_of}");
    }
}

#[test]
fn an_image_that_production_hardly_knows_never_passes() {
    let (_, baseline) = lacking("2026-11-01", "2026-11-24");
    for (packages, want) in [
        (&["foo 2"][..], vec![]),
        (&["foo 2", "ours 1"], vec![("only-in-image", Effect::Note)]),
        (&["foo 2", "ours 1", "ours2 1"], vec![("mostly-unknown", Effect::Incomplete)]),
        (&["ours 1"], vec![("nothing-compared", Effect::Incomplete)]),
    ] {
        let image = system("debian/12/amd64", packages, &[]);
        let judgement = judged(&image, &baseline, &Standard::default(), time("2026-11-24"), &[]);
        assert_eq!(codes(&judgement), want, "{packages:?}");
    }
    let image = system("debian/12/amd64", &["foo 2", "ours 1", "ours2 1"], &[]);
    let lenient = Standard::parse("[baseline]\nmin_compared_share = 0.0\n").unwrap();
    let judgement = judged(&image, &baseline, &lenient, time("2026-11-24"), &[]);
    assert_eq!(codes(&judgement), [("only-in-image", Effect::Note)]);
    assert_eq!(judgement.findings[0].message, "production knows nothing of 2 of 3 packages");
}

#[test]
fn an_undated_patch_may_be_for_security() {
    let production = system("debian/12/amd64", &["foo 2"], &[]);
    let image = system("debian/12/amd64", &["foo 1"], &[]);
    let standard = Standard::parse("[target]\ncounts = \"security\"\n").unwrap();
    let drift =
        between(&image, &baseline("2026-11-24", &production), &standard.drift_options(time("2026-11-24")));
    assert!(standard.target.counts(&drift.drift[0].missed[0]));
    assert_eq!(judge(&drift, &[], &standard, &support()).verdict.state, State::Incomplete);
}

#[test]
fn what_is_arriving_ends_the_target_once_it_is_adopted() {
    let entries = changelog(
        "foo",
        "4 | bookworm-updates | 2026-11-10
         3 | bookworm-updates | 2026-09-01
         2 | bookworm-updates | 2026-10-01
         1 | bookworm | 2023-09-01",
    );
    let on = |version: &str| {
        system("debian/12/amd64", &[&format!("foo {version}")], std::slice::from_ref(&entries))
    };
    let hosts = [("a", "3"), ("b", "1"), ("c", "1")]
        .map(|(id, version)| crate::baseline::testing::host(id, "2026-11-24", on(version)));
    let baseline = crate::baseline::testing::built(&hosts, "2026-11-24");
    let at = |as_of: &str, standard: &Standard| {
        judged(&on("1"), &baseline, standard, time(as_of), &[]).verdict.leaves_target_on
    };
    let standard = Standard::default();
    assert_eq!(at("2026-11-24", &standard), Some(time("2026-12-03")), "the oldest arriving decides");
    let strict = Standard::parse("[target]\ndays = 10\n").unwrap();
    assert_eq!(at("2026-11-24", &strict), Some(time("2026-11-24")), "never before the audit");
    let security = Standard::parse("[target]\ncounts = \"security\"\n").unwrap();
    assert_eq!(at("2026-11-24", &security), Some(time("2027-02-25")), "what does not count does not end it");
}

#[test]
fn a_kernel_of_a_series_that_no_host_runs_is_told() {
    let production = system("debian/12/amd64", &["linux-image-6.12.9-amd64 6.12.9-1 linux", "foo 1"], &[]);
    let image = system("debian/12/amd64", &["linux-image-6.1.0-50-amd64 6.1.176-1 linux", "foo 1"], &[]);
    let baseline = baseline("2026-11-24", &production);
    let judgement = judged(&image, &baseline, &Standard::default(), time("2026-11-24"), &[]);
    assert_eq!(
        codes(&judgement),
        [("kernel-series-unknown", Effect::Warning), ("only-in-image", Effect::Note)]
    );
    assert_eq!(judgement.findings[0].message, "no host runs a kernel of series 6.1; production has 6.12");
    let judgement = judged(&production, &baseline, &Standard::default(), time("2026-11-24"), &[]);
    assert_eq!(codes(&judgement), []);
}

mod laws {
    use super::*;
    use proptest::prelude::*;

    prop_compose! {
        /// A drift of three packages with one to three missed patches each.
        fn any_drift()(
            packages in prop::collection::vec((prop::collection::vec((0_i64..200, any::<bool>(), any::<bool>()), 1..4), any::<bool>(), prop::option::of(0_i64..300)), 0..4),
        ) -> Drift {
            let (image, baseline) = lacking("2026-11-01", "2026-11-24");
            let mut drift = between(&image, &baseline, &Standard::default().drift_options(time("2026-11-24")));
            let template = drift.drift.remove(0);
            for (at, (missed, lower_bound, earliest)) in packages.into_iter().enumerate() {
                let mut package = template.clone();
                package.source = format!("p{at}");
                package.missed = missed.into_iter().enumerate().map(|(v, (days, dated, cve))| patch(&template.missed[0], v, days, dated, cve)).collect();
                package.lower_bound = lower_bound || package.missed.iter().any(|p| p.published.is_none());
                package.history_short = lower_bound;
                package.behind_since_at_earliest = earliest.map(|days| time("2026-11-24").plus_days(-days));
                package.change = Change::Behind;
                drift.drift.push(package);
            }
            drift.counts.behind = drift.drift.len();
            drift
        }
    }

    fn patch(template: &Patch, version: usize, days: i64, dated: bool, cve: bool) -> Patch {
        let at = time("2026-11-24").plus_days(-days);
        Patch {
            version: version.to_string(),
            published: dated.then_some(at),
            not_after: Some(at),
            security: cve,
            ..template.clone()
        }
    }

    fn any_standard() -> impl Strategy<Value = Standard> {
        (any::<bool>(), any::<bool>(), 1_i64..150, 0_i64..89).prop_map(|(rolling, all, days, grace_days)| {
            let mut standard = Standard::default();
            standard.target.mode = if rolling { Mode::Rolling } else { Mode::Calendar };
            standard.target.counts = if all { Counted::All } else { Counted::Security };
            (standard.target.days, standard.target.grace_days) = (days, grace_days);
            standard
        })
    }

    proptest! {
        #[test]
        fn one_more_missed_patch_is_never_better(
            drift in any_drift(), standard in any_standard(), days in 0_i64..200, dated in any::<bool>(), cve in any::<bool>(),
        ) {
            let before = judge(&drift, &[], &standard, &support()).verdict;
            let mut worse = drift.clone();
            for package in &mut worse.drift {
                let more = patch(&package.missed[0], 9, days, dated, cve);
                package.lower_bound |= !dated;
                package.missed.push(more);
            }
            let after = judge(&worse, &[], &standard, &support()).verdict;
            prop_assert!(after.state <= before.state, "{:?} became {:?}", before.state, after.state);
            prop_assert!(after.outcome <= before.outcome);
        }

        #[test]
        fn a_required_gap_never_passes(drift in any_drift(), standard in any_standard()) {
            let before = judge(&drift, &[], &standard, &support()).verdict;
            let after = judge(&drift, &[gap(true)], &standard, &support()).verdict;
            prop_assert!(after.outcome != Outcome::Pass);
            prop_assert!(after.state <= before.state);
        }

        #[test]
        fn the_upgrades_bring_it_back_inside(drift in any_drift(), standard in any_standard()) {
            let judgement = judge(&drift, &[], &standard, &support());
            let mended: std::collections::BTreeSet<&str> =
                judgement.upgrades.iter().map(|upgrade| upgrade.source.as_str()).collect();
            let mut after = drift.clone();
            after.drift.retain(|package| !mended.contains(package.source.as_str()));
            prop_assert!(judge(&after, &[], &standard, &support()).verdict.state != State::Drifted);
        }
    }
}

/// Channel sources know little, each in its way: none of that makes a pass.
#[test]
fn what_a_channel_source_does_not_know_is_no_pass() {
    let platform = "debian/12/amd64";
    let day = "2026-11-24";
    let suites = |taken_at: &str, version: &str| {
        let foo = format!("foo {version}");
        vec![
            listing(platform, "bookworm", taken_at, &["other 1"]),
            listing(platform, "bookworm-security", taken_at, &[&foo]),
            listing(platform, "bookworm-updates", taken_at, &["other 1"]),
        ]
    };
    let image = |version: &str| system(platform, &[&format!("foo {version}"), "other 1"], &[]);
    let standard = Standard::default();
    let verdict = |image: &System, baseline: &Baseline| {
        let judgement = judged(image, baseline, &standard, time(day), &[]);
        let worst = judgement.findings.iter().find(|f| f.effect == Effect::Incomplete);
        (judgement.verdict.state, worst.map(|finding| finding.code.name()))
    };

    let one = channel_baseline(&suites("2026-11-20", "3"), day);
    assert_eq!(verdict(&image("3"), &one), (State::Current, None));
    assert_eq!(
        verdict(&image("1"), &one),
        (State::Incomplete, Some("history-short")),
        "one listing dates nothing"
    );
    // Two listings that bracket the patch do.
    let two = channel_baseline(&[suites("2026-10-10", "1"), suites("2026-11-20", "3")].concat(), day);
    assert_eq!(verdict(&image("1"), &two), (State::Within, None));
    let late = channel_baseline(&[suites("2026-03-01", "1"), suites("2026-11-20", "3")].concat(), day);
    assert_eq!(verdict(&image("1"), &late), (State::Incomplete, Some("history-short")));
    let long = channel_baseline(&[suites("2026-03-01", "1"), suites("2026-07-01", "3")].concat(), day);
    assert_eq!(verdict(&image("1"), &long).0, State::Drifted, "stale, and proven all the same");

    let main = channel_baseline(&[listing(platform, "bookworm", "2026-11-20", &["foo 1", "other 1"])], day);
    assert_eq!(verdict(&image("1"), &main), (State::Incomplete, Some("baseline-suite-missing")));

    // A fresh host does not make what it does not carry fresh.
    let host = crate::baseline::testing::host("a", day, system(platform, &["other 1"], &[]));
    let with_host = |channels: &[crate::baseline::channel::ChannelInput]| {
        let hosts = std::slice::from_ref(&host);
        let inputs = crate::baseline::Inputs { hosts, channels, earlier: &[] };
        crate::baseline::build(&inputs, &crate::baseline::testing::options(day)).unwrap()
    };
    assert_eq!(verdict(&image("3"), &with_host(&suites("2026-11-20", "3"))), (State::Current, None));
    let stale = with_host(&suites("2026-07-11", "3"));
    assert_eq!(verdict(&image("3"), &stale), (State::Incomplete, Some("baseline-stale")));
    let partial = with_host(&[listing(platform, "bookworm", "2026-11-20", &["foo 1", "other 1"])]);
    assert_eq!(verdict(&image("1"), &partial), (State::Incomplete, Some("baseline-suite-missing")));
    let only_other = system(platform, &["other 1"], &[]);
    assert_eq!(verdict(&only_other, &partial), (State::Current, None), "hosts carry all of it");

    let old = channel_baseline(&suites("2026-05-24", "3"), day);
    assert_eq!(verdict(&image("3"), &old), (State::Incomplete, Some("baseline-stale")));

    // A changelog that was trimmed: what came before its oldest entry is not known.
    let trimmed = changelog("foo", "3 | bookworm-security | 2026-11-10\n2 | bookworm-security | 2026-11-01");
    let channels = [suites("2026-11-20", "3"), vec![changelogs(std::slice::from_ref(&trimmed))]].concat();
    let short = channel_baseline(&channels, day);
    assert_eq!(verdict(&image("1"), &short), (State::Incomplete, Some("history-short")));
    assert_eq!(verdict(&image("2"), &short), (State::Within, None));
    let production = system(platform, &["foo 3", "other 1"], &[trimmed]);
    assert_eq!(verdict(&image("1"), &baseline(day, &production)), (State::Incomplete, Some("history-short")));
}

/// An index of Alpine holds one version of a package, with the day of its build.
#[test]
fn an_index_of_one_version_a_package_bounds_an_age_and_no_more() {
    use crate::model::Ecosystem;
    let apk = |version: &str, built: &str| {
        let mut package = crate::baseline::testing::package(&format!("busybox {version}"));
        package.ecosystem = Ecosystem::Apk;
        package.built_at = built.parse().ok();
        package
    };
    let platform = "alpine/3.20/x86_64";
    let mut index = listing(platform, "v3.20/main", "2026-11-20", &[]);
    index.packages = vec![crate::baseline::channel::Offer {
        package: apk("1.36.1-r9", "2026-11-01"),
        phased_percent: None,
    }];
    let baseline = channel_baseline(&[index], "2026-11-24");
    let verdict = |version: &str, built: &str| {
        let mut image = system(platform, &[], &[]);
        image.packages = vec![apk(version, built)];
        let judgement = judged(&image, &baseline, &Standard::default(), time("2026-11-24"), &[]);
        let Verdict { state, age_days, lower_bound, age_days_at_most, .. } = judgement.verdict;
        (state, age_days, lower_bound, age_days_at_most)
    };
    assert_eq!(verdict("1.36.1-r9", "2026-11-01"), (State::Current, Some(4), false, None));
    assert_eq!(verdict("1.36.1-r2", "2024-06-01"), (State::Incomplete, Some(23), true, Some(906)));
    assert_eq!(verdict("1.36.1-r8", "2026-10-01"), (State::Within, Some(23), true, Some(54)));
}
