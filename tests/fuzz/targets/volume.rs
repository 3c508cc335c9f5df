//! Partition tables, volume groups and arrays on a packed disk: every byte of it is accounted for.
#![no_main]

use std::sync::Arc;

use karat::bytes::ReadAt;
use karat::volume::{Role, volumes};
use karat_fuzz::disk::{LIMITS, Packed, piece};
use karat_fuzz::holding;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let disk: Arc<dyn ReadAt> = Arc::new(Packed::of(data));
    holding(96 << 20, || {
        let Ok(layout) = volumes(&disk, &LIMITS) else { return };
        let size = disk.size_bytes();
        let mut ranges: Vec<_> =
            layout.volumes.iter().flat_map(|volume| volume.ranges.iter().cloned()).collect();
        for range in &ranges {
            assert!(range.start <= range.end, "{range:?}");
        }
        for (before, after) in layout.rest.iter().zip(layout.rest.iter().skip(1)) {
            assert!(before.range.end <= after.range.start, "{:?} before {:?}", before.range, after.range);
        }
        ranges.extend(layout.rest.iter().map(|rest| rest.range.clone()));
        ranges.sort_by_key(|range| range.start);
        let end = ranges.iter().fold(0, |end, range| {
            assert!(range.start <= end || end >= size, "bytes {end:#x} to {:#x} are nowhere", range.start);
            end.max(range.end)
        });
        assert!(
            end >= size || !layout.problems.is_empty(),
            "bytes from {end:#x} of {size:#x} on are nowhere"
        );
        for volume in &layout.volumes {
            let Some(data) = &volume.data else {
                assert!(volume.role != Role::Candidate, "{} has no bytes", volume.place);
                continue;
            };
            assert_eq!(data.size_bytes(), volume.size_bytes, "{}", volume.place);
            let _ = piece(&**data, 0, 70_000);
            let _ = piece(&**data, data.size_bytes().saturating_sub(5000), 5000);
        }
    });
});
