//! Debian changelogs: the same in pieces of any size, every entry once, never more than allowed.
#![no_main]

use std::io::{BufRead, BufReader};

use karat::error::Kind;
use karat::format::debian_changelog::{self, Changelog, PROBLEMS};
use karat::limits::Limits;
use karat_fuzz::{LIMITS, holding};
use libfuzzer_sys::fuzz_target;

fn read(mut stream: impl BufRead, limits: &Limits) -> Result<Option<Changelog>, karat::Error> {
    debian_changelog::read(&mut stream, limits)
}

fuzz_target!(|data: &[u8]| {
    let most = (2 << 20) + 64 * data.len();
    let whole = holding(most, || read(data, &LIMITS));
    for capacity in [1, 13, 4096] {
        let pieces = read(BufReader::with_capacity(capacity, data), &LIMITS);
        assert_eq!(format!("{pieces:?}"), format!("{whole:?}"), "in pieces of {capacity}");
    }
    let Ok(Some(changelog)) = whole else { return };
    let text = String::from_utf8_lossy(data);
    for entry in &changelog.entries {
        assert!(!entry.source.is_empty(), "{entry:?}");
        assert!(entry.cves.is_sorted_by(|a, b| a < b));
        assert!(entry.cves.iter().all(|cve| text.contains(cve.as_str())));
        assert!(entry.suites.iter().all(|suite| !suite.is_empty()));
        let json = serde_json::to_string(entry).expect("plain data");
        assert_eq!(serde_json::from_str::<karat::model::ReleaseEntry>(&json).expect("it is read"), *entry);
    }
    let told = changelog.problem_count.min(PROBLEMS as u64);
    assert_eq!(changelog.problems.len() as u64, told);

    // One entry fewer is a limit that is passed; as many are none.
    let mut limits = Limits::clone(&LIMITS);
    limits.records.max = changelog.entries.len() as u64;
    let same = read(data, &limits).expect("within the limit").expect("a changelog");
    assert_eq!(same.entries, changelog.entries);
    if let Some(fewer) = limits.records.max.checked_sub(1) {
        limits.records.max = fewer;
        let error = read(data, &limits).expect_err("beyond the limit");
        assert!(matches!(error.kind(), Kind::Limit { .. }), "{error}");
    }
});
