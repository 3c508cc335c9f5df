//! A header of rpm as a record of a database, and the `.rpm` file that an input is.
//!
//! The digests of a header keep nearly every change out: it is read a second time with these under another number.
#![no_main]

use karat::format::rpm_file;
use karat::format::rpm_header::{Header, is_release, release_entries, source_of_file_name, stated_version};
use karat::model::version::rpm::without_epoch;
use karat_fuzz::{LIMITS, holding};
use libfuzzer_sys::fuzz_target;

/// SHA1HEADER and SHA256HEADER.
const DIGESTS: [u32; 2] = [269, 273];

fuzz_target!(|data: &[u8]| {
    // Files share the names of their directories: as many times a quarter of the input may come of them.
    let most = (1 << 20) + 256 * data.len() + data.len() * data.len() / 8;
    holding(most, || record(data));
    let mut unsealed = data.to_vec();
    let count = data.first_chunk().map_or(0, |count| u32::from_be_bytes(*count));
    for entry in unsealed.get_mut(8..).unwrap_or_default().chunks_exact_mut(16).take(count as usize) {
        let tag = entry.first_chunk_mut::<4>().expect("16 bytes");
        if DIGESTS.contains(&u32::from_be_bytes(*tag)) {
            *tag = 9_999_u32.to_be_bytes();
        }
    }
    holding(most, || record(&unsealed));
    holding(most, || {
        if let Ok(header) = rpm_file::header(&data, &LIMITS) {
            assert!(header.len() <= data.len());
            record(&header);
        }
    });
});

fn record(bytes: &[u8]) {
    let Ok(header) = Header::of_record(bytes, &LIMITS) else { return };
    let _ = header.name_for_messages();
    if let Ok(files) = header.files(&LIMITS) {
        assert!(files.len() <= bytes.len());
    }
    let changes = header.changelog(&LIMITS).unwrap_or_default();
    assert!(changes.len() * 4 <= bytes.len());
    for version in changes.iter().filter_map(|change| stated_version(change.author)) {
        assert!(version.starts_with(|c: char| c.is_ascii_digit()));
        assert!(is_release(version, version));
    }
    let Ok(rpm) = header.package() else { return };
    assert!(!rpm.name.is_empty() && !rpm.version.is_empty() && !rpm.release.is_empty());
    if let Some((name, version)) = rpm.source_rpm.as_deref().and_then(source_of_file_name) {
        assert!(!name.is_empty() && version.contains('-'));
    }
    let package = rpm.into_package();
    assert!(!package.source.version.is_empty() && !without_epoch(&package.version).is_empty());
    let entries = release_entries(&package, &changes);
    assert!(entries.len() <= changes.len() + 1);
    assert!(entries.iter().all(|entry| entry.cves.is_sorted()));
}
