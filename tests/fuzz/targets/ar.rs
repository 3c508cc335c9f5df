//! Debian packages: the ar around them, and a package file as a channel.
#![no_main]

use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use karat::archive::ar;
use karat::baseline::channel;
use karat::bytes::ReadAt;
use karat_fuzz::{InFile, LIMITS};
use libfuzzer_sys::fuzz_target;

/// A folder for one package.
static FOLDER: LazyLock<(InFile, PathBuf)> = LazyLock::new(|| {
    let folder = InFile::folder();
    let package = folder.path().join("tiny_1.0-1_amd64.deb");
    (folder, package)
});

fuzz_target!(|data: &[u8]| {
    let bytes: Arc<dyn ReadAt> = Arc::new(data.to_vec());
    if let Ok(members) = ar::members(&bytes, &LIMITS) {
        let mut end = ar::MAGIC.len() as u64;
        let mut is_whole = true;
        for member in members {
            assert!(is_whole, "a member behind an error");
            match member {
                Ok(member) => {
                    assert!(member.offset == end + 60 || member.offset == end + 61);
                    end = member.offset + member.size_bytes;
                    let content = ar::content(&bytes, &member).expect("it is within");
                    assert_eq!(content.size_bytes(), member.size_bytes);
                }
                Err(_) => is_whole = false,
            }
        }
        assert!(
            !is_whole || end == data.len() as u64 || end + 1 == data.len() as u64,
            "bytes behind the last"
        );
    }

    let (folder, package) = &*FOLDER;
    std::fs::write(package, data).expect("a temporary file");
    let read = |threads| {
        let options = channel::ReadOptions { limits: &LIMITS, platform: None, taken_at: None, threads };
        channel::read(folder.path(), &options)
    };
    let one = format!("{:?}", read(1));
    assert_eq!(one, format!("{:?}", read(4)));
});
