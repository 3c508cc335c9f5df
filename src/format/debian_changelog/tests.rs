//! Entries, dates and flaws as dpkg-parsechangelog has them.

use super::*;

fn log(text: &str) -> Changelog {
    read(&mut text.as_bytes(), &Limits::default()).unwrap().unwrap()
}

const ENTRY: &str = "a (1.0-1) stable frozen; urgency=HIGH (because), binary-only=yes\n\n  * One.\n\n -- N <a@b>  Sun, 13 Jan 2008 15:49:19 +0100\n";

#[test]
fn an_entry_is_read_whole() {
    let text = ENTRY.replace("One.", "CVE-2024-12345, CVE-2007-0001.\n    again CVE-2024-12345, CVE-24-1");
    let read = log(&text);
    assert!(read.problems.is_empty(), "{:?}", read.problems);
    assert_eq!(
        read.entries,
        [ReleaseEntry {
            ecosystem: Ecosystem::Deb,
            source: "a".into(),
            version: "1.0-1".into(),
            suites: vec!["stable".into(), "frozen".into()],
            urgency: Some("high".into()),
            dated: Time::from_unix(1_200_235_759),
            rebuild: true,
            superseded_by: None,
            cves: vec!["CVE-2007-0001".into(), "CVE-2024-12345".into()],
        }]
    );
}

#[test]
fn dates_are_read_as_dpkg_reads_them() {
    let dated = |date: &str| {
        let text = ENTRY.replace("Sun, 13 Jan 2008 15:49:19 +0100", date);
        let read = log(&text);
        (read.entries[0].dated.map(Time::unix), read.problem_count)
    };
    for (date, want) in [
        ("Mon, 13 Jan 2008 15:49:19 +0100", (Some(1_200_235_759), 0)),
        ("13 jan 2008 15:49:19 +0100  ", (Some(1_200_235_759), 0)),
        ("Sun,  3 Jan 2008 5:49:19 -0030", (Some(1_199_341_159), 0)),
        ("Son, 13 Jan 2008 15:49:19 +0100", (Some(1_200_235_759), 1)),
        ("31 Feb 2020 01:02:03 +0100", (Some(1_583_107_323), 0)),
        ("00 Jan 2020 00:00:00 +0000", (Some(1_577_750_400), 0)),
        ("1 Jan 2020 3:00:00 -9999", (Some(1_578_209_940), 0)),
        ("1 January 2020 00:00:00 +0000", (None, 1)),
        ("32 Jan 2020 00:00:00 +0000", (None, 1)),
        ("1 Jan 2020 24:00:00 +0000", (None, 1)),
        ("1 Jan 1800 00:00:00 +0000", (None, 1)),
        ("yesterday", (None, 2)),
    ] {
        assert_eq!(dated(date), want, "{date}");
    }
}

#[test]
fn faults_lose_no_entry() {
    let twice = |between: &str| log(&format!("{ENTRY}{between}{}", ENTRY.replace("1.0-1", "0.9")));
    for (between, problems) in [
        ("\n# comment\n$Id: x $\n/* c */\n\n", 0),
        ("Nonsense here\n", 1),
        (" one space\n", 2),
        ("  changes without heading\n", 2),
        (" -- N <a@b>  Sun, 13 Jan 2008 15:49:19 +0100\n", 1),
        ("b (1.0 1) unstable urgency=low\n", 1),
    ] {
        let read = twice(between);
        let versions: Vec<_> = read.entries.iter().map(|e| e.version.as_str()).collect();
        assert_eq!((versions, read.problem_count), (vec!["1.0-1", "0.9"], problems), "{between}");
    }
    let cut = log(&ENTRY[..70]);
    assert_eq!((cut.entries.len(), cut.entries[0].dated, cut.problem_count), (1, None, 1));
}

#[test]
fn old_formats_and_modelines_end_the_reading() {
    for end in [
        "vim: et\n",
        ";; Local Variables:\n",
        "Old Changelog:\n",
        "b (1.0)\n",
        "b (1.0) unstable urgency=low\n",
        "1:2.3~x:\n",
        "word\n",
        "b-1.2 Debian 3\n",
        "b 1.2 Debian 3\n",
        "Changes for b-1.2:\n",
        "Changes from version 1 to 2: yes\n",
        "Mon Jan  1 00:00:00 MET 1996  N  <a@b>\n",
        "Mon Jan 1, 1996  N  (a@b)\n",
    ] {
        let read = log(&format!("{ENTRY}{end}{ENTRY}"));
        assert_eq!((read.entries.len(), read.problem_count), (1, 0), "{end}");
    }
}

#[test]
fn an_upstream_changelog_is_none() {
    for text in
        ["", "\n\n", "2024-01-01  N  <a@b>\n\n\t* x.c: y\n", "Version 1\n", " \n x\n", "* x\n", "word\n"]
    {
        assert!(read(&mut text.as_bytes(), &Limits::default()).unwrap().is_none(), "{text}");
    }
    assert_eq!(log(&format!("\n# comment\n\n{ENTRY}")).entries.len(), 1);
}

#[test]
fn limits_are_told() {
    let mut limits = Limits::default();
    limits.changelog_line_bytes.max = 100;
    assert!(read(&mut ENTRY.as_bytes(), &limits).is_ok());
    let long = ENTRY.replace("One", &"x".repeat(200));
    assert!(read(&mut long.as_bytes(), &limits).is_err());
    limits.changelog_line_bytes.max = 1000;
    limits.changelog_bytes.max = 10;
    assert!(read(&mut ENTRY.as_bytes(), &limits).is_err());
    limits.changelog_bytes.max = 1000;
    limits.records.max = 2;
    assert!(read(&mut ENTRY.repeat(2).as_bytes(), &limits).is_ok());
    assert!(read(&mut ENTRY.repeat(3).as_bytes(), &limits).is_err());
}
