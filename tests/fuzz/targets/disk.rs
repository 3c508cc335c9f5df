//! Disk containers: a packed file, alone and beside a parent, read in two ways.
#![no_main]

use std::sync::Arc;

use karat::bytes::ReadAt;
use karat::error::Result;
use karat::limits::Limits;
use karat::source::disk::{NoSiblings, Siblings, open_disk};
use karat_fuzz::disk::{LIMITS, Packed, piece};
use karat_fuzz::holding;
use libfuzzer_sys::fuzz_target;

/// Every name is a file: the image again, or a small raw disk.
struct Beside(Arc<Packed>);

impl Siblings for Beside {
    fn open(&self, name: &str) -> Result<Arc<dyn ReadAt>> {
        Ok(match name.len() % 4 {
            0 => Arc::clone(&self.0) as _,
            _ => Arc::new(vec![0x5a_u8; 70_000]),
        })
    }

    fn names(&self, _: &Limits) -> Result<Vec<String>> {
        Ok(vec!["disk-s001.vmdk".into(), "parent".into(), "parent.vdi".into(), "parent.vhdx".into()])
    }
}

fn read(siblings: &dyn Siblings, file: &Arc<Packed>) {
    let Ok(disk) = open_disk("disk", Arc::clone(file) as _, siblings, &LIMITS) else { return };
    let data = &*disk.data;
    let size = data.size_bytes();
    let starts = [0, size / 3, size / 2, size.saturating_sub(200_000)];
    for start in starts {
        let whole = piece(data, start, 200_000);
        // In other pieces the same; where one cannot be read, the whole cannot.
        let mut at = start;
        while at < size.min(start.saturating_add(200_000)) {
            let len = 4099.min(usize::try_from(size.min(start.saturating_add(200_000)) - at).unwrap_or(4099));
            let part = piece(data, at, len);
            if let Some(whole) = &whole {
                let from = (at - start) as usize;
                assert_eq!(part.as_deref(), whole.get(from..from + len), "at byte {at}");
            }
            at += 4099;
        }
    }
    assert!(piece(data, size, 1).is_some_and(|bytes| bytes.is_empty()));
    assert!(data.read_exact_at(size, &mut [0]).is_err());
}

fuzz_target!(|data: &[u8]| {
    let file = Arc::new(Packed::of(data));
    holding(64 << 20, || {
        read(&NoSiblings, &file);
        read(&Beside(Arc::clone(&file)), &file);
    });
});
