//! apk's database: records, the files that they own, what has to be installed.
#![no_main]

use karat::format::apk::{self, PackageFiles, Record};
use karat::model::version;
use karat_fuzz::{LIMITS, holding};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let most = (1 << 20) + 64 * data.len();
    let found: Vec<_> = holding(most, || apk::records(data, &LIMITS).collect());
    assert_eq!(found.len(), block_count(data), "records that are neither read nor an error");
    let files: Vec<_> = holding(most, || apk::files(data, &LIMITS).collect());
    assert_eq!(files.len(), found.len());
    for (record, files) in found.iter().zip(&files) {
        match (record, files) {
            (Ok(record), Ok(files)) => {
                assert_eq!((record.line, &record.name), (files.line, &files.package));
                sound(record);
                owned(files);
            }
            (Err(_), Ok(_)) => panic!("files of a package that is none"),
            _ => {}
        }
    }
    let records: Vec<Record> = found.into_iter().filter_map(Result::ok).collect();
    let conflicts = apk::conflicts(&records);
    assert!(conflicts.len() <= records.len());

    // Twice the same file is twice the same records, if its last record is ended.
    let ended = [data, b"\n\n"].concat();
    let once: Vec<_> = apk::records(&ended, &LIMITS).collect();
    let both: Vec<_> = apk::records(&[&ended[..], &ended].concat(), &LIMITS).collect();
    assert_eq!(both.len(), 2 * once.len());
    for (number, found) in both.iter().enumerate() {
        match (found, &once[number % once.len()]) {
            (Ok(found), Ok(want)) => assert_eq!(Record { line: want.line, ..found.clone() }, *want),
            (found, want) => assert_eq!(found.is_err(), want.is_err()),
        }
    }

    if let Ok(text) = std::str::from_utf8(data) {
        for name in apk::world(text) {
            assert!(!name.is_empty() && !name.contains(['<', '>', '=', '~', '@']));
        }
    }
});

/// How many records there are, counted by another way: groups of lines that are not empty.
fn block_count(data: &[u8]) -> usize {
    let has_returns =
        data.split(|b| *b == b'\n').next().is_some_and(|l| l.len() < data.len() && l.ends_with(b"\r"));
    let lines = data.split(|b| *b == b'\n');
    let lines = lines.map(|line| if has_returns { line.strip_suffix(b"\r").unwrap_or(line) } else { line });
    let lines: Vec<bool> = lines.map(|line| !line.is_empty()).collect();
    usize::from(lines.first() == Some(&true)) + lines.windows(2).filter(|pair| !pair[0] && pair[1]).count()
}

fn sound(record: &Record) {
    assert!(record.line > 0 && !record.name.is_empty() && !record.version.is_empty());
    assert!(record.built_at.is_none_or(|time| time.unix() != 0));
    let order = version::apk::compare(&record.version, &record.version);
    assert_eq!(order, std::cmp::Ordering::Equal);
    let _ = (record.remark(), record.provided_names().count());
}

fn owned(files: &PackageFiles) {
    assert!(files.paths.iter().all(|owned| !owned.path.is_root()));
}
