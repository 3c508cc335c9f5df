//! The databases of rpm: SQLite with its logs, NDB. An input is a database, or the length of one (four bytes,
//! little-endian), the database, and what lies beside it, as write-ahead log and as rollback journal.
#![no_main]

use std::collections::BTreeSet;

use karat::format::rpmdb::{self, Backend, Beside};
use karat_fuzz::{LIMITS, holding};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let most = (4 << 20) + 64 * data.len();
    let (database, log) = match data.split_first_chunk::<4>() {
        Some((len, rest)) if rpmdb::backend(data).is_none() => {
            rest.split_at(rest.len().min(usize::try_from(u32::from_le_bytes(*len)).unwrap()))
        }
        _ => (data, &[][..]),
    };
    let (database, log) = (database.to_vec(), log.to_vec());
    let beside = match log.len() {
        0 => Beside::default(),
        _ => Beside { wal: Some(&log), journal: Some(&log) },
    };
    let list = || {
        let (mut blobs, mut errors) = (Vec::new(), 0_u64);
        let done = rpmdb::blobs(&database, beside, &LIMITS, &mut |blob| match blob {
            Ok(blob) => blobs.push((
                blob.instance,
                blob.bytes.len(),
                blob.bytes.iter().map(|b| u64::from(*b)).sum::<u64>(),
            )),
            Err(error) => errors += u64::from(!error.to_string().is_empty()),
        });
        (blobs, errors, done.map_err(|error| error.to_string()))
    };
    let found = holding(most, list);
    let (blobs, ..) = &found;
    let instances: BTreeSet<u64> = blobs.iter().map(|blob| blob.0).collect();
    assert!(instances.len() == blobs.len() && !instances.contains(&0));
    // No byte of a database is in two headers.
    if rpmdb::backend(&database) != Some(Backend::BerkeleyDb) {
        assert!(blobs.iter().map(|blob| blob.1).sum::<usize>() <= data.len());
    }
    assert!(found == list(), "the same bytes were listed differently");
});
