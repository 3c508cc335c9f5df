//! Which entries are releases, and when they were published.

use super::*;
use crate::baseline::testing::{baseline, changelog, system};

const BASE_FILES: &str = "
    12.4+deb12u15 | bookworm | 2026-07-02
    12.4+deb12u14 | bookworm | 2026-05-08
    12.4+deb12u1  | bookworm | 2023-07-14
    12.4          | unstable | 2023-03-02";

/// The history of one source on three bookworm hosts, one line a release.
fn history(package: &str, source: &str, entries: &str) -> (Vec<String>, History) {
    let releases = [changelog(source, entries), changelog("base-files", BASE_FILES)];
    let packages = [package, "base-files 12.4+deb12u15"];
    let baseline = baseline("2026-11-24", &system("debian/12/amd64", &packages, &releases));
    let history = baseline.platforms[0].history(Ecosystem::Deb, source).unwrap().clone();
    let day = |time: Option<Time>| time.map_or("-".to_owned(), |time| time.date().to_string());
    let lines = history.releases.iter().map(|r| {
        let bounded = if r.bounded { " bounded" } else { "" };
        let because = serde_json::to_value(r.because).unwrap();
        let because = because.as_str().unwrap().to_owned();
        format!("{} {} {}{bounded} {because}", r.version, day(r.published), r.evidence)
    });
    (lines.collect(), history)
}

#[test]
fn only_own_suites_are_releases() {
    let (lines, history) = history(
        "ca-certificates 20250419~deb12u2",
        "ca-certificates",
        "20250419~deb12u2   | bookworm-security | 2026-10-20
         20250419~deb12u1   | bookworm-security | 2026-07-17
         20250419           | unstable | 2025-04-19
         20240203           | unstable | 2024-02-03
         20230311+deb12u1   | bookworm | 2025-03-20
         20230311           | unstable | 2023-03-11",
    );
    assert_eq!(
        lines,
        [
            "20250419~deb12u2 2026-10-20 changelog-security own-suite",
            "20250419~deb12u1 2026-07-17 changelog-security own-suite",
            "20230311+deb12u1 2026-05-08 point-release own-suite",
        ]
    );
    let others: Vec<&str> = history.others.iter().map(|other| other.version.as_str()).collect();
    assert_eq!(others, ["20250419", "20240203"]);
    assert_eq!(history.reaches("20250419~deb12u2"), Some("20230311"));
}

#[test]
fn dates_have_their_evidence() {
    for (package, entries, want) in [
        (
            // What waits for a point release is dated by the next one, or by itself if there is none yet.
            "tzdata 2026c-0+deb12u1",
            "2026c-0+deb12u1 | bookworm | 2026-08-21
             2026b-0+deb12u1 | bookworm | 2026-04-28
             2023c-5 | unstable | 2023-05-28",
            &[
                "2026c-0+deb12u1 2026-08-21 changelog own-suite",
                "2026b-0+deb12u1 2026-05-08 point-release own-suite",
            ][..],
        ),
        (
            // A version that waited longer than a newer one is not dated after it.
            "foo 1.2",
            "1.2 | bookworm-security | 2026-06-10
             1.1 | bookworm | 2026-06-01",
            &[
                "1.2 2026-06-10 changelog-security own-suite",
                "1.1 2026-06-10 point-release bounded own-suite",
            ],
        ),
        (
            // The version that the platform was released with is not older than the platform.
            "foo 1.0",
            "1.0 | unstable | 2022-06-01
             0.9 | unstable | 2022-05-01",
            &["1.0 2023-06-10 changelog bounded installed"],
        ),
        (
            // Nothing was out later than a host ran it.
            "foo 1.1",
            "1.1 | bookworm-security | 2026-12-24",
            &["1.1 2026-11-24 changelog-security bounded own-suite"],
        ),
        (
            // A version without an entry is out by then, and no more is known.
            "foo 1.2",
            "1.1 | bookworm-security | 2026-06-10",
            &["1.2 - first-sight installed", "1.1 2026-06-10 changelog-security own-suite"],
        ),
        (
            // `stable` is a name of the day.
            "foo 1.3",
            "1.3 | oldstable-security | 2026-06-10
             1.2 | stable-security | 2026-06-09
             1.1 | stable-security | 2024-06-08
             1.0 | oldstable-security | 2024-06-07",
            &["1.3 2026-06-10 changelog-security own-suite", "1.1 2024-06-08 changelog-security own-suite"],
        ),
        (
            // The backports are a channel of their own, and dated apart.
            "foo 2.0-1~bpo12+1",
            "2.0-1~bpo12+1 | bookworm-backports | 2025-06-10
             2.0-1 | unstable | 2025-06-01
             1.5-1~bpo12+1 | bookworm-backports | 2024-06-10
             1.0-1+deb12u1 | bookworm-security | 2026-01-10",
            &[
                "2.0-1~bpo12+1 2025-06-10 changelog backport",
                "1.5-1~bpo12+1 2024-06-10 changelog backport",
                "1.0-1+deb12u1 2026-01-10 changelog-security own-suite",
            ],
        ),
        (
            "foo 1.0-1+deb12u1",
            "1.5-1~bpo12+1 | bookworm-backports | 2024-06-10
             1.0-1+deb12u1 | bookworm-security | 2026-01-10",
            &["1.0-1+deb12u1 2026-01-10 changelog-security own-suite"],
        ),
        (
            // A third party's entries all count, but for those that were never released.
            "foo 5:27.3.1-1~debian.12~bookworm",
            "5:27.3.1-1~debian.12~bookworm | stable | 2026-10-11
             5:27.3.0-1~debian.12~bookworm | UNRELEASED | 2026-10-01
             5:27.2.0-1~debian.12~bookworm | unstable | 2026-09-01",
            &[
                "5:27.3.1-1~debian.12~bookworm 2026-10-11 changelog third-party",
                "5:27.2.0-1~debian.12~bookworm 2026-09-01 changelog third-party",
            ],
        ),
        (
            "foo 20.1",
            "20.1 | nodistro | 2026-10-11
             20.0 | nodistro | 2026-09-11",
            &["20.1 2026-10-11 changelog third-party", "20.0 2026-09-11 changelog third-party"],
        ),
    ] {
        let source = package.split(' ').next().unwrap();
        assert_eq!(history(package, source, entries).0, want, "{package}");
    }
}

#[test]
fn bounds_are_kept_beside_dates() {
    let (_, history) = history(
        "foo 1.2",
        "foo",
        "1.1 | bookworm | 2026-06-10
         1.0 | bookworm-security | 2024-06-10",
    );
    let bounds: Vec<_> = history
        .releases
        .iter()
        .map(|r| (r.not_before.map(|t| t.date().to_string()), r.not_after.map(|t| t.date().to_string())))
        .collect();
    let day = |text: &str| Some(text.to_owned());
    assert_eq!(
        bounds,
        [
            (day("2026-07-02"), day("2026-11-24")),
            (day("2026-06-10"), day("2026-11-24")),
            (day("2024-06-10"), day("2026-07-02")),
        ]
    );
}

#[test]
fn trimmed_changelogs_leave_holes() {
    let span =
        |oldest: &str, newest: &str| Span { oldest: oldest.into(), newest: newest.into(), since: None };
    let joined = joined_spans(
        Ecosystem::Deb,
        vec![span("1", "3"), span("9", "12"), span("7", "9"), span("8", "10"), span("2", "2")],
    );
    assert_eq!(joined, [span("7", "12"), span("1", "3")]);
}
