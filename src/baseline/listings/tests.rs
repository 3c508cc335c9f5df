//! What listings prove, and that merging gives what building from everything gives.

use crate::baseline::channel::{ChannelInput, Offer};
use crate::baseline::testing::{
    changelog, changelogs, channel_baseline, host, listing, options, package, system, time,
};
use crate::baseline::{Baseline, Evidence, History, Inputs, build, merge};
use crate::model::{Ecosystem, Time};

const PLATFORM: &str = "debian/12/amd64";

/// All three suites of bookworm at one time; the release suite with these packages, the others with none.
fn suites(taken_at: &str, packages: &[&str]) -> Vec<ChannelInput> {
    vec![
        listing(PLATFORM, "bookworm", taken_at, packages),
        listing(PLATFORM, "bookworm-security", taken_at, &["other 1"]),
        listing(PLATFORM, "bookworm-updates", taken_at, &["other 1"]),
    ]
}

fn history<'a>(baseline: &'a Baseline, source: &str) -> &'a History {
    baseline.platforms[0].history(Ecosystem::Deb, source).unwrap()
}

/// Each release with its date and evidence, and its bounds.
fn dates(baseline: &Baseline, source: &str) -> Vec<String> {
    let day = |time: Option<Time>| time.map_or("-".to_owned(), |time| time.date().to_string());
    let line = |r: &crate::baseline::Release| {
        let moved = if r.bounded { " moved" } else { "" };
        let bounds = format!("{}..{}", day(r.not_before), day(r.not_after));
        format!("{} {} {}{moved} {bounds}", r.version, day(r.published), r.evidence)
    };
    history(baseline, source).releases.iter().map(line).collect()
}

/// A release whose changelog is older than its publication, as ruby3.1's was.
fn early_changelog() -> ChannelInput {
    let points = "12.4+deb12u15 | bookworm | 2026-07-02
                  12.4+deb12u11 | bookworm | 2025-05-10";
    changelogs(&[
        changelog(
            "ruby3.1",
            "3.1.7-1~deb12u1 | bookworm | 2025-04-20
             3.1.2-7+deb12u1 | bookworm | 2023-09-01",
        ),
        changelog("base-files", points),
    ])
}

#[test]
fn a_listing_without_a_version_moves_its_date() {
    let mut channels = suites("2026-06-01", &["ruby3.1 3.1.2-7+deb12u1"]);
    channels.extend(suites("2026-07-15", &["ruby3.1 3.1.7-1~deb12u1"]));
    channels.push(early_changelog());
    let baseline = channel_baseline(&channels, "2026-07-15");
    assert_eq!(
        dates(&baseline, "ruby3.1"),
        [
            "3.1.7-1~deb12u1 2026-06-01 point-release moved 2026-06-01..2026-07-15",
            "3.1.2-7+deb12u1 2025-05-10 point-release 2023-09-01..2026-06-01",
        ]
    );
    // Some go out through `-updates` first: without its listing nothing is proven.
    channels.retain(|channel| channel.suite.as_deref() != Some("bookworm-updates"));
    let baseline = channel_baseline(&channels, "2026-07-15");
    assert_eq!(
        dates(&baseline, "ruby3.1")[0],
        "3.1.7-1~deb12u1 2025-05-10 point-release 2025-04-20..2026-07-15"
    );
    // And a listing that is not whole proves no absence.
    let mut channels = suites("2026-06-01", &["ruby3.1 3.1.2-7+deb12u1"]);
    channels[2].lists_all = false;
    channels.push(early_changelog());
    // Nor does one of `-updates` after the point release that took it over.
    channels.extend(suites("2026-07-15", &["ruby3.1 3.1.7-1~deb12u1"]));
    let baseline = channel_baseline(&channels, "2026-07-15");
    assert_eq!(history(&baseline, "ruby3.1").releases[0].published, Some(time("2025-05-10")));
}

#[test]
fn a_security_release_is_bound_by_the_security_suite_alone() {
    let entries = changelog("foo", "2 | bookworm-security | 2026-03-01\n1 | bookworm | 2023-09-01");
    let channels = [
        listing(PLATFORM, "bookworm-security", "2026-04-01", &["other 1"]),
        listing(PLATFORM, "bookworm-security", "2026-04-03", &["foo 2"]),
        changelogs(&[entries]),
    ];
    let baseline = channel_baseline(&channels, "2026-04-03");
    assert_eq!(dates(&baseline, "foo")[0], "2 2026-04-01 changelog-security moved 2026-04-01..2026-04-03");
}

#[test]
fn a_first_sight_is_no_date_and_two_listings_a_day_apart_are_one() {
    let once = channel_baseline(&suites("2026-06-01", &["foo 2"]), "2026-06-01");
    assert_eq!(dates(&once, "foo"), ["2 - repository -..2026-06-01"]);
    let after = |first: &str| {
        let channels = [suites(first, &["foo 1"]), suites("2026-06-01", &["foo 2"])].concat();
        dates(&channel_baseline(&channels, "2026-06-01"), "foo").remove(0)
    };
    assert_eq!(after("2026-05-31"), "2 2026-06-01 repository 2026-05-31..2026-06-01");
    assert_eq!(after("2026-05-20"), "2 - repository 2026-05-20..2026-06-01");
}

#[test]
fn what_is_known_without_hosts_ends_with_the_suite_that_was_listed_longest_ago() {
    let as_of = |channels: &[ChannelInput]| channel_baseline(channels, "2026-11-24").platforms[0].as_of;
    let of = |suite: &str, at: &str| listing(PLATFORM, suite, at, &["foo 1"]);
    let security = of("bookworm-security", "2026-11-23");
    // The release suite stands still between point releases.
    assert_eq!(as_of(&[of("bookworm", "2026-09-05"), security.clone()]), time("2026-11-23"));
    assert_eq!(as_of(&[of("bookworm-updates", "2026-11-01"), security]), time("2026-11-01"));
    assert_eq!(as_of(&[of("bookworm", "2026-09-05")]), time("2026-09-05"));
    assert_eq!(as_of(&[of("acme", "2026-11-02"), of("acme", "2026-11-20")]), time("2026-11-20"));
}

#[test]
fn suites_that_nobody_listed_are_named() {
    let unlisted = |suites: &[&str]| {
        let channels: Vec<ChannelInput> =
            suites.iter().map(|suite| listing(PLATFORM, suite, "2026-11-24", &["foo 1"])).collect();
        channel_baseline(&channels, "2026-11-24").platforms[0].unlisted_suites()
    };
    assert_eq!(unlisted(&["bookworm"]), ["bookworm-security", "bookworm-updates"]);
    assert_eq!(unlisted(&["bookworm", "bookworm-security", "bookworm-updates"]), Vec::<String>::new());
    assert_eq!(unlisted(&["bookworm/main", "bookworm-security/main"]), ["bookworm-updates"]);
    assert_eq!(unlisted(&["acme"]), Vec::<String>::new(), "a repository that is arranged by itself");
}

#[test]
fn what_is_phased_in_is_known_and_not_adopted() {
    let offer = |at: &str, percent: Option<u8>| {
        let mut channel = listing("ubuntu/24.04/amd64", "noble-updates", at, &[]);
        channel.packages = vec![
            Offer { package: package("foo 1"), phased_percent: None },
            Offer { package: package("foo 2"), phased_percent: percent },
        ];
        channel
    };
    let percent = |channels: &[ChannelInput]| {
        history(&channel_baseline(channels, "2026-11-24"), "foo").releases[0].phased_percent
    };
    assert_eq!(percent(&[offer("2026-11-20", Some(30))]), Some(30));
    assert_eq!(percent(&[offer("2026-11-22", None), offer("2026-11-20", Some(30))]), None, "the newest says");
    assert_eq!(percent(&[offer("2026-11-20", Some(30)), offer("2026-11-22", Some(60))]), Some(60));
    assert_eq!(percent(&[offer("2026-11-20", Some(100))]), None);
}

#[test]
fn merging_gives_what_building_from_everything_gives() {
    let entries = |from: &str| {
        let all = "3 | bookworm-security | 2026-10-01 | CVE-2026-3
                   2.1 | unstable | 2026-08-01 | CVE-2026-2
                   2 | bookworm | 2026-01-01
                   1 | bookworm | 2023-09-01";
        let lines: Vec<&str> = all.lines().skip_while(|line| !line.trim().starts_with(from)).collect();
        let mut entries = changelog("foo", &lines.join("\n"));
        for at in 1..entries.len() {
            entries[at].superseded_by = Some(entries[at - 1].version.clone());
        }
        entries
    };
    let on = |version: &str, from: &str| system(PLATFORM, &[&format!("foo {version}")], &[entries(from)]);
    let hosts = [
        host("a", "2026-11-20", on("3", "3")),
        host("b", "2026-11-19", on("2", "2")),
        host("c", "2026-09-01", on("2", "2")),
    ];
    let channels = [suites("2026-09-15", &["foo 2"]), suites("2026-10-02", &["foo 3", "bar 1"])].concat();
    let options = options("2026-11-24");
    let whole = build(&Inputs { hosts: &hosts, channels: &channels, earlier: &[] }, &options).unwrap();

    let of_hosts = |hosts: &[crate::baseline::HostInput]| {
        build(&Inputs { hosts, ..Default::default() }, &options).unwrap()
    };
    let parts = [
        of_hosts(&hosts[..1]),
        of_hosts(&hosts[1..]),
        channel_baseline(&channels[..3], "2026-11-24"),
        channel_baseline(&channels[3..], "2026-11-24"),
    ];
    let merged = merge(&parts, &options).unwrap();
    assert_eq!(merged, whole);
    let mut turned = parts.to_vec();
    turned.reverse();
    assert_eq!(merge(&turned, &options).unwrap(), whole);
    assert_eq!(merge(&[merged.clone(), merged.clone()], &options).unwrap(), whole, "nothing counts twice");

    // As an earlier baseline the hosts do not vote, and everything else counts.
    let later = [host("d", "2026-11-24", on("3", "3"))];
    let inputs = Inputs { hosts: &later, channels: &[], earlier: &[merged] };
    let built = build(&inputs, &options).unwrap();
    assert_eq!(built.platforms[0].hosts.len(), 1);
    assert_eq!(built.platforms[0].listings, whole.platforms[0].listings);
    let newest = &history(&built, "foo").releases[0];
    // The earlier listing of the security suite had it not, and a host did by then.
    assert_eq!((newest.published, newest.evidence), (Some(time("2026-10-02")), Evidence::ChangelogSecurity));
    assert_eq!((newest.bounded, newest.not_after), (true, Some(time("2026-10-02"))));
}

#[test]
fn a_host_in_two_baselines_votes_as_it_was_read_last() {
    let on = |version: &str, at: &str| {
        let entries = changelog("foo", "2 | bookworm-security | 2026-10-01\n1 | bookworm | 2023-09-01");
        let hosts = [host("a", at, system(PLATFORM, &[&format!("foo {version}")], &[entries]))];
        build(&Inputs { hosts: &hosts, ..Default::default() }, &options(at)).unwrap()
    };
    let versions = |as_of: &str| {
        let merged = merge(&[on("1", "2026-10-30"), on("2", "2026-11-20")], &options(as_of)).unwrap();
        let rows = merged.platforms[0].packages.iter().flat_map(|row| row.versions.clone());
        rows.map(|v| (v.version, v.hosts.len())).collect::<Vec<_>>()
    };
    assert_eq!(versions("2026-11-24"), [("2".to_owned(), 1)]);
    let late = merge(&[on("1", "2026-10-30"), on("2", "2026-11-20")], &options("2027-01-01"));
    assert_eq!(late.unwrap_err().to_string(), "no host votes: all were read more than 35 days ago");
}

#[test]
fn a_listing_of_one_component_proves_what_is_of_that_component() {
    let main = |at: &str, packages: &[&str]| {
        let mut channels = suites(at, packages);
        for channel in &mut channels {
            channel.lists_all = false;
            channel.whole_components = vec!["main".into()];
        }
        channels
    };
    let mut channels = [main("2026-05-31", &["foo 1"]), main("2026-06-01", &["foo 2"])].concat();
    let of = |channels: &[ChannelInput]| dates(&channel_baseline(channels, "2026-06-01"), "foo").remove(0);
    assert_eq!(of(&channels), "2 2026-06-01 repository 2026-05-31..2026-06-01");
    // Seen in another component only: what the listings of `main` lack says nothing.
    for channel in channels.iter_mut().filter(|channel| channel.suite.as_deref() == Some("bookworm")) {
        channel.whole_components = vec!["contrib".into()];
    }
    assert_eq!(of(&channels), "2 - repository -..2026-06-01");
}

#[test]
fn a_stable_update_that_came_through_the_security_suite_is_bound_by_that_too() {
    let with = |security: &[&str]| {
        let mut channels = suites("2026-07-11", &["ruby3.1 3.1.2-7+deb12u1"]);
        channels.push(listing(PLATFORM, "bookworm-security", "2026-11-22", security));
        channels.push(early_changelog());
        history(&channel_baseline(&channels, "2026-11-22"), "ruby3.1").releases[0].published
    };
    assert_eq!(with(&["ruby3.1 3.1.7-1~deb12u1"]), Some(time("2026-07-11")), "no suite had it by then");
    let mut channels = suites("2026-07-11", &["ruby3.1 3.1.2-7+deb12u1"]);
    channels.retain(|channel| channel.suite.as_deref() != Some("bookworm-security"));
    channels.push(listing(PLATFORM, "bookworm-security", "2026-11-22", &["ruby3.1 3.1.7-1~deb12u1"]));
    channels.push(early_changelog());
    let baseline = channel_baseline(&channels, "2026-11-22");
    let published = history(&baseline, "ruby3.1").releases[0].published;
    assert_eq!(published, Some(time("2025-05-10")), "the security suite may have had it before");
}

#[test]
fn a_third_partys_suite_proves_nothing_of_the_distributions() {
    let mut channels = suites("2026-06-01", &["ruby3.1 3.1.2-7+deb12u1"]);
    channels.retain(|channel| channel.suite.as_deref() != Some("bookworm"));
    channels.push(early_changelog());
    channels.push(listing(PLATFORM, "Docker:bookworm", "2026-06-01", &["docker-ce 5"]));
    channels.push(listing(PLATFORM, "Docker:bookworm", "2026-06-02", &["docker-ce 6"]));
    let baseline = channel_baseline(&channels, "2026-06-02");
    assert_eq!(history(&baseline, "base-files").releases[0].published, Some(time("2026-06-02")));
    assert_eq!(baseline.platforms[0].unlisted_suites(), ["bookworm"]);
    assert_eq!(dates(&baseline, "docker-ce")[0], "6 2026-06-02 repository 2026-06-01..2026-06-02");
    let ruby = &history(&baseline, "ruby3.1").releases[0];
    assert_eq!((ruby.published, ruby.bounded), (Some(time("2025-05-10")), false));
}

#[test]
fn what_cannot_say_when_or_for_what_it_is_makes_no_baseline() {
    let refused = |channels: &[ChannelInput]| {
        build(&Inputs { channels, ..Default::default() }, &options("2026-11-24")).unwrap_err().to_string()
    };
    let mut undated = listing(PLATFORM, "bookworm", "2026-11-24", &["foo 1"]);
    undated.taken_at = None;
    assert_eq!(
        refused(&[undated]),
        "bookworm 2026-11-24: nothing says when it was as it is: it bears no date"
    );
    let of_bookworm =
        listing("debian/13/amd64", "", "2026-11-24", &["foo 1-2+deb12u3", "bar 1~deb12u1", "baz 1"]);
    assert!(refused(&[of_bookworm]).contains("it is of debian/12: 2 of its packages"));
    let trixie = listing("debian/13/amd64", "trixie", "2026-11-24", &["foo 1"]);
    let entries = changelogs(&[changelog("foo", "0.9-1+deb12u1 | bookworm-security | 2026-11-01")]);
    assert!(refused(&[trixie, entries.clone()]).contains("changelogs: it is of debian/12"));
    assert!(refused(&[entries]).contains("it names no platform, and nothing else tells which it is for"));
    let mut empty = changelogs(&[changelog("foo", "2 | unstable | 2026-11-01")]);
    empty.platform = Some(PLATFORM.parse().unwrap());
    assert_eq!(refused(&[empty]), "nothing in the sources is a release of debian/12/amd64");
}
