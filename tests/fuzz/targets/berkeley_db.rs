//! Berkeley DB files: what comes is bounded, and the same file without a record's page never lists in silence.
#![no_main]

use karat::bytes::size_of_len;
use karat::format::berkeley_db::{byte_order, values};
use karat::limits::Limits;
use karat_fuzz::{LIMITS, holding};
use libfuzzer_sys::fuzz_target;

/// How many pairs come, with how many bytes, and how many errors.
fn listed(data: &[u8], limits: &Limits) -> (u64, u64, u64) {
    let (mut pairs, mut bytes, mut errors) = (0, 0, 0);
    let end = values(&data, limits, &mut |pair| match pair {
        Ok((key, value)) => {
            pairs += 1;
            bytes += size_of_len(key.len()) + size_of_len(value.len());
        }
        Err(_) => errors += 1,
    });
    assert!(errors <= limits.damages.max);
    (pairs, bytes, errors + u64::from(end.is_err()))
}

fuzz_target!(|data: &[u8]| {
    let mut limits = (**LIMITS).clone();
    limits.package_db_bytes.max = 8 << 20;
    let (pairs, bytes, errors) = holding((1 << 20) + 64 * data.len(), || listed(data, &limits));
    assert!(pairs <= limits.records.max && bytes <= limits.package_db_bytes.max);
    // A database that is whole is not any more without its last page, if that is in use.
    let page = byte_order(data).map_or(0, |order| order.u32(data, 20) as usize);
    if errors == 0 && page > 0 && data.len() > 2 * page {
        let (fewer, _, errors) = listed(&data[..data.len() - page], &limits);
        assert!(fewer == pairs || errors > 0, "{fewer} of {pairs} pairs without the last page, and no error");
    }
});
