//! ext2, ext3 and ext4 on a packed volume.
#![no_main]

use karat::tree::FsKind;
use karat_fuzz::disk::tree;

libfuzzer_sys::fuzz_target!(|data: &[u8]| tree(FsKind::Ext4, data));
