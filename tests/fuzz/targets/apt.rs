//! apt repositories: Release and InRelease, and Packages in pieces of any size.
#![no_main]

use std::io::{BufRead, BufReader};

use karat::format::apt_packages::{self, Indexed};
use karat::format::{apt_release, system_release};
use karat_fuzz::{LIMITS, holding};
use libfuzzer_sys::fuzz_target;

fn packages(mut stream: impl BufRead) -> (Result<u64, String>, Vec<Indexed>) {
    let mut all = Vec::new();
    let count = apt_packages::read(&mut stream, &LIMITS, &mut |indexed| {
        all.push(indexed);
        Ok(())
    });
    (count.map_err(|error| error.to_string()), all)
}

fuzz_target!(|data: &[u8]| {
    let most = (1 << 20) + 64 * data.len();
    if let Ok(release) = holding(most, || apt_release::read(data, &LIMITS)) {
        assert!(release.files.len() <= data.len());
        assert!(release.files.keys().all(|name| !name.is_empty()));
        // A message around it changes nothing.
        if !data.starts_with(b"-----BEGIN") && data.ends_with(b"\n") {
            let signed = signed(data);
            let again = apt_release::read(&signed, &LIMITS).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(again, release);
        }
    }
    let whole = holding(most, || packages(data));
    for capacity in [1, 61, 4096] {
        let pieces = packages(BufReader::with_capacity(capacity, data));
        assert_eq!(pieces, whole, "in pieces of {capacity}");
    }
    if let (Ok(count), all) = &whole {
        assert_eq!(all.len() as u64, *count);
        assert!(all.iter().all(|one| !one.record.version.is_empty() && !one.record.architecture.is_empty()));
        assert!(all.iter().all(|one| one.phased_percent.is_none_or(|percent| percent <= 100)));
    }
    for (_, kind) in system_release::FILES {
        if let Ok(Some(info)) = system_release::read(kind, data, &LIMITS) {
            assert!(!info.id.is_empty(), "{kind:?}: {info:?}");
        }
    }
});

/// The text as a clearsigned message (RFC 9580, section 7).
fn signed(text: &[u8]) -> Vec<u8> {
    let mut message = b"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n".to_vec();
    for line in text.split_inclusive(|b| *b == b'\n') {
        if line.first() == Some(&b'-') {
            message.extend_from_slice(b"- ");
        }
        message.extend_from_slice(line);
    }
    message.extend_from_slice(b"-----BEGIN PGP SIGNATURE-----\n\nx\n-----END PGP SIGNATURE-----\n");
    message
}
