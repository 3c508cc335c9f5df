//! FAT of 12, 16 and 32 bits on a packed volume.
#![no_main]

use karat::tree::FsKind;
use karat_fuzz::disk::tree;

libfuzzer_sys::fuzz_target!(|data: &[u8]| tree(FsKind::Fat, data));
