//! Stored baselines and inventories: what is read is written and read as the same, and merging a baseline with
//! itself adds nothing.
#![no_main]

use karat::Baseline;
use karat::baseline::{BuildOptions, merge};
use karat::scan::document;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(inventory) = document(data) {
        let json = serde_json::to_vec(&inventory).expect("plain data");
        assert!(document(&json).expect("what was written is read") == inventory);
    }
    let Ok(loaded) = Baseline::from_json(data) else { return };
    let baseline = loaded.baseline;
    let json = baseline.to_json().expect("plain data");
    let again =
        Baseline::from_json(&json).unwrap_or_else(|error| panic!("what was written is refused: {error}"));
    assert!(again.baseline == baseline);

    let options = BuildOptions { name: "merged".into(), as_of: baseline.as_of, max_host_age_days: i64::MAX };
    let Ok(once) = merge(std::slice::from_ref(&baseline), &options) else { return };
    let twice = merge(&[baseline.clone(), baseline.clone()], &options).expect("it was merged alone");
    assert!(twice == once, "alone: {once:#?}\nwith itself: {twice:#?}");
    let json = once.to_json().expect("plain data");
    let read =
        Baseline::from_json(&json).unwrap_or_else(|error| panic!("what was merged is refused: {error}"));
    assert!(read.baseline == once);
    let still = merge(std::slice::from_ref(&once), &options).expect("it was merged before");
    assert!(still == once, "merged: {once:#?}\nmerged again: {still:#?}");
});
