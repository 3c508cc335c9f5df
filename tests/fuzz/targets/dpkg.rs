//! dpkg's database: status with its updates, status.d, file lists, checksums and diversions.
#![no_main]

use std::collections::BTreeSet;

use karat::format::dpkg::{self, Kind, Record};
use karat::format::{deb822, os_release};
use karat::model::version::deb;
use karat_fuzz::{LIMITS, holding};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let most = (1 << 20) + 64 * data.len();
    for kind in [Kind::Status, Kind::StatusD, Kind::Update] {
        let found: Vec<_> = holding(most, || dpkg::records(data, kind, &LIMITS).collect());
        assert_eq!(found.len(), stanza_count(data), "stanzas that are neither a record nor an error");
        let again: Vec<_> = dpkg::records(data, kind, &LIMITS).filter_map(Result::ok).collect();
        let records: Vec<Record> = found.into_iter().filter_map(Result::ok).collect();
        assert_eq!(records, again);
        records.iter().for_each(sound);
        if kind == Kind::Status {
            overlaid(&records);
        }
    }
    // Every stanza without damage is a stanza again when it is written from its fields.
    for stanza in deb822::stanzas(data, &LIMITS).filter_map(Result::ok) {
        let text = written(&stanza);
        let again: Vec<_> = deb822::stanzas(&text, &LIMITS).collect::<Result<_, _>>().expect("it is sound");
        let [again] = &again[..] else { panic!("{} stanzas of one", again.len()) };
        let fields = |stanza: &deb822::Stanza<'_>| -> Vec<(Vec<u8>, Vec<u8>)> {
            stanza.fields().iter().map(|field| (field.name.to_vec(), field.value.to_vec())).collect()
        };
        assert_eq!(fields(again), fields(&stanza));
    }

    let lines = data.split_inclusive(|b| *b == b'\n').count();
    assert_eq!(dpkg::list(data, &LIMITS).count(), lines);
    assert_eq!(dpkg::md5sums(data, &LIMITS).count(), lines);
    assert_eq!(dpkg::diversions(data, &LIMITS).count(), lines.div_ceil(3));
    if let Ok(release) = os_release::read(data, &LIMITS) {
        let info = release.info();
        assert!(!info.id.is_empty());
        let _ = os_release::canonical_release(&info);
    }
});

/// How many stanzas there are, counted by another way: what is between empty lines and says something.
fn stanza_count(data: &[u8]) -> usize {
    let is_space = |b: &u8| matches!(b, b' ' | 0x09..=0x0d);
    let mut count = 0;
    let mut first: Option<&[u8]> = None;
    for line in data.split(|b| *b == b'\n') {
        match first {
            None if line.first() == Some(&b'#') || line.iter().all(is_space) => {}
            None => {
                first = Some(line);
                count += 1;
            }
            Some(begun) if line.is_empty() || (line == b"\r" && begun.ends_with(b"\r")) => first = None,
            Some(_) => {}
        }
    }
    count
}

fn written(stanza: &deb822::Stanza<'_>) -> Vec<u8> {
    let fields = stanza.fields().iter();
    fields.flat_map(|field| [field.name, b":", field.value, b"\n"].concat()).collect()
}

fn sound(record: &Record) {
    assert!(!record.package.is_empty() && record.package == record.package.to_ascii_lowercase());
    assert!(!record.source.name.is_empty());
    assert!(
        record.is_installed() <= (!record.version.is_empty() || record.state == dpkg::State::HalfInstalled)
    );
    if deb::check(&record.version).is_ok() {
        deb::check_readable(&record.version).expect("what is right can be read");
    }
    assert!(record.built_using.is_sorted_by(|a, b| a < b));
    let json = serde_json::to_string(record).expect("plain data");
    assert_eq!(serde_json::from_str::<Record>(&json).expect("what was written is read"), *record);
}

fn overlaid(records: &[Record]) {
    assert_eq!(dpkg::overlay(records.to_vec(), Vec::new()), records);
    let names: BTreeSet<&str> = records.iter().map(|record| record.package.as_str()).collect();
    if names.len() == records.len() {
        assert!(dpkg::conflicts(records).is_empty());
        assert_eq!(dpkg::overlay(records.to_vec(), records.to_vec()), records);
    }
    let twice = dpkg::overlay(records.to_vec(), records.to_vec());
    assert_eq!(twice.len(), records.len(), "an update that is there already adds nothing");
}
