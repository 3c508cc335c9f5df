//! Berkeley DB files list as `db_dump` lists them, and whatever is broken in them, nothing is missing in silence.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use karat::bytes::HostFile;
use karat::error::Error;
use karat::format::berkeley_db::{Pair, byte_order, is_berkeley_db, values};
use karat::limits::Limits;

use crate::tools::tool;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/berkeley_db")
}

/// What is in a gzip file.
fn unpacked(path: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(fs::File::open(path).unwrap()).read_to_end(&mut bytes).unwrap();
    bytes
}

/// All fixtures that are read: name, database, what `db_dump` says of it.
fn cases() -> Vec<(String, Vec<u8>, Vec<Pair>)> {
    let mut cases: Vec<_> = fs::read_dir(fixtures())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_str().unwrap().ends_with(".db.gz"))
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().trim_end_matches(".db.gz").to_owned();
            let dump = unpacked(&path.with_file_name(format!("{name}.dump.gz")));
            (name, unpacked(&path), dumped(&String::from_utf8(dump).unwrap()))
        })
        .collect();
    cases.sort_by(|a, b| a.0.cmp(&b.0));
    assert!(cases.len() > 8);
    cases
}

/// The pairs in what `db_dump` prints.
fn dumped(text: &str) -> Vec<Pair> {
    let hex = |line: &str| -> Vec<u8> {
        let digits = line.trim().as_bytes();
        digits.chunks(2).map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
    };
    let lines: Vec<_> = text.lines().filter(|line| line.starts_with(' ')).map(hex).collect();
    assert!(text.ends_with("DATA=END\n") && lines.len() % 2 == 0);
    lines.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect()
}

/// What comes of a database: its pairs, and its errors with the one that ended the listing.
fn listed(bytes: &[u8]) -> (Vec<Pair>, Vec<Error>) {
    let (mut pairs, mut errors) = (Vec::new(), Vec::new());
    let end = values(&bytes, &Limits::default(), &mut |pair| match pair {
        Ok(pair) => pairs.push(pair),
        Err(error) => errors.push(error),
    });
    errors.extend(end.err());
    (pairs, errors)
}

#[test]
fn fixtures_list_as_db_dump_lists_them() {
    for (name, bytes, want) in cases() {
        let (pairs, errors) = listed(&bytes);
        assert!(is_berkeley_db(&bytes[..16]), "{name}");
        assert!(errors.is_empty(), "{name}: {errors:?}");
        assert_eq!(pairs.len(), want.len(), "{name}");
        assert!(pairs == want, "{name}: other pairs than db_dump's");
    }
}

/// Everything that the library writes: methods, page sizes, byte orders, and what was done to the records.
#[test]
fn the_matrix_lists_as_db_dump_lists_it() {
    let (Some(dump), Some(python)) = (tool("db5.3_dump"), tool("python3")) else { return };
    let python =
        if Path::new("/usr/bin/python3").exists() { PathBuf::from("/usr/bin/python3") } else { python };
    if !Command::new(&python).args(["-c", "import bsddb3"]).output().unwrap().status.success() {
        assert!(std::env::var_os("KARAT_REQUIRE_TOOLS").is_none(), "python3-bsddb3 is not installed");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/fixtures/berkeley-db.py");
    assert!(Command::new(&python).arg(script).arg(folder.path()).status().unwrap().success());
    let mut count = 0;
    for entry in fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        let said = Command::new(&dump).arg(&path).output().unwrap();
        assert!(said.status.success());
        let want = dumped(&String::from_utf8(said.stdout).unwrap());
        let file = HostFile::new(fs::File::open(&path).unwrap()).unwrap();
        let (mut pairs, mut errors) = (Vec::new(), Vec::new());
        values(&file, &Limits::default(), &mut |pair| match pair {
            Ok(pair) => pairs.push(pair),
            Err(error) => errors.push(error),
        })
        .unwrap();
        assert!(errors.is_empty(), "{}: {errors:?}", path.display());
        assert!(pairs == want, "{}: {} pairs against {}", path.display(), pairs.len(), want.len());
        count += 1;
    }
    assert_eq!(count, 2 * 8 * 2 * 10);
}

/// Cut off anywhere, or with any byte changed, a database lists all its records or tells an error. The records
/// that come are good ones but for the bytes that were changed.
#[test]
fn nothing_is_lost_in_silence() {
    for (name, bytes, want) in cases() {
        let step = 11 * (1 + bytes.len() / 40_000).pow(2);
        // In a tree, and so in one of duplicates, the highest bit of an item's type says that it is deleted.
        let masks = if name.starts_with("hash") && !name.ends_with("duplicates") {
            [0x80, 0xff]
        } else {
            [0x40, 0xff]
        };
        for cut in (0..bytes.len()).step_by(step * 7) {
            let (pairs, errors) = listed(&bytes[..cut]);
            assert!(
                !errors.is_empty(),
                "{name} cut at {cut}: {} of {} pairs and no error",
                pairs.len(),
                want.len()
            );
        }
        let mut broken = bytes.clone();
        for at in (0..512).step_by(3).chain((512..bytes.len()).step_by(step)) {
            for bits in masks {
                broken[at] ^= bits;
                let (pairs, errors) = listed(&broken);
                assert!(
                    pairs.len() >= want.len() || !errors.is_empty(),
                    "{name} with byte {at:#x} ^ {bits:#x}: {} of {} pairs and no error",
                    pairs.len(),
                    want.len()
                );
                broken[at] ^= bits;
            }
        }
    }
}

/// A page of zeros in the place of any other is told.
#[test]
fn a_lost_page_is_told() {
    for (name, bytes, want) in cases() {
        let page = byte_order(&bytes).unwrap().u32(&bytes, 20) as usize;
        for start in (page..bytes.len()).step_by(page) {
            let mut broken = bytes.clone();
            broken[start..start + page].fill(0);
            let (pairs, errors) = listed(&broken);
            assert!(pairs == want || !errors.is_empty(), "{name}: page at {start:#x}");
            assert!(pairs.iter().all(|pair| want.contains(pair)), "{name}: page at {start:#x}");
        }
    }
}

#[test]
fn what_is_not_read_is_named() {
    let (_, bytes, _) = cases().into_iter().find(|(name, ..)| name == "hash-4096-4321-overflow").unwrap();
    for (at, put, want) in [
        (12, &[0x00_u8, 0x04, 0x22, 0x53][..], "not read by this version: a Berkeley DB queue database"),
        (12, &[0, 7, 0x45, 0x82], "not read by this version: a Berkeley DB heap database"),
        (
            12,
            &[1, 2, 3, 4],
            "page 0: Berkeley DB: magic number at byte 0xc: 0x04030201; allowed: that of a hash or B-tree database",
        ),
        (
            16,
            &[0, 0, 0, 6],
            "not read by this version: version 6 of Berkeley DB's hash format; read are 7 to 10",
        ),
        (
            16,
            &[0, 0, 0, 11],
            "not read by this version: version 11 of Berkeley DB's hash format; read are 7 to 10",
        ),
        (
            20,
            &[0, 0, 3, 0],
            "page 0: Berkeley DB: page size at byte 0x14: 768; allowed: a power of two from 512 to 65536",
        ),
        (24, &[1], "not read by this version: an encrypted Berkeley DB hash database"),
        (26, &[2], "not read by this version: a partitioned Berkeley DB database"),
    ] {
        let mut broken = bytes.clone();
        broken[at..at + put.len()].copy_from_slice(put);
        let (pairs, errors) = listed(&broken);
        assert!(pairs.is_empty());
        assert_eq!(errors.iter().map(ToString::to_string).collect::<Vec<_>>(), [want]);
    }
}

#[test]
fn what_the_library_writes_and_is_not_read_is_named() {
    for (name, want) in [
        ("hash-512-1234-several", "several Berkeley DB databases in one file: `first`, `second`"),
        ("hash-512-4321-encrypted", "an encrypted Berkeley DB hash database"),
        ("recno-512-1234-small", "a Berkeley DB record-number database"),
        ("queue-512-4321-small", "a Berkeley DB queue database"),
    ] {
        let bytes = unpacked(&fixtures().join(format!("{name}.refused.gz")));
        let (pairs, errors) = listed(&bytes);
        assert!(is_berkeley_db(&bytes) && pairs.is_empty(), "{name}");
        let said: Vec<_> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(said, [format!("not read by this version: {want}")], "{name}");
    }
}

/// Small files that claim much end at the ceilings.
#[test]
fn claims_are_bounded() {
    let find = |wanted: &str| cases().into_iter().find(|(name, ..)| name == wanted).unwrap();
    let run = |bytes: &[u8], set: &[(&str, u64)]| {
        let mut limits = Limits::default();
        for (name, max) in set {
            limits.set(name, *max).unwrap();
        }
        let (mut pairs, mut errors) = (0, 0);
        let end = values(&bytes, &limits, &mut |pair| match pair {
            Ok(_) => pairs += 1,
            Err(_) => errors += 1,
        });
        (pairs, errors, end.map_err(|error| error.to_string()))
    };
    let (_, bytes, want) = find("btree-512-4321-sorted");
    let size = bytes.len() as u64;
    for (set, message) in [
        ([("package_db_bytes", size - 1)], "limit `package_db_bytes` passed"),
        ([("records", want.len() as u64 - 1)], "limit `records` passed"),
    ] {
        let (pairs, _, end) = run(&bytes, &set);
        assert!(pairs < want.len() && end.unwrap_err().starts_with(message));
    }
    // One value is larger than a record may be: a damage, and the others come.
    let (pairs, errors, end) = run(&bytes, &[("rpm_header_bytes", 1000)]);
    assert_eq!((pairs, errors, end), (want.len() - 1, 2, Ok(())));
    // A leaf that claims more items than fit on it.
    let leaf = (1..bytes.len() / 512).find(|page| bytes[page * 512 + 25] == 5).unwrap() * 512;
    let mut claims = bytes.clone();
    claims[leaf + 20..leaf + 22].fill(0xff);
    let (pairs, errors, end) = run(&claims, &[]);
    assert!(pairs < want.len() && errors > 0 && end.is_ok(), "{pairs} {errors} {end:?}");
    // A table with 4 billion buckets, and one with no good page.
    let (_, mut bytes, want) = find("hash-512-4321-many");
    bytes[72..76].fill(0xff);
    let (pairs, errors, end) = run(&bytes, &[]);
    assert!(pairs == want.len() && errors < 1000 && end.is_ok(), "{pairs} {errors} {end:?}");
    bytes[512..].fill(0xff);
    let (pairs, errors, end) = run(&bytes, &[("damages", 20)]);
    assert_eq!((pairs, errors), (0, 20));
    assert!(end.unwrap_err().starts_with("limit `damages` passed: 21 against 20 places"));
}

/// Before version 9, pages of buckets were of another type, and not sorted; a sorted one is one of these.
#[test]
fn buckets_of_version_8_are_read() {
    for (name, mut bytes, want) in cases().into_iter().filter(|(name, ..)| name.starts_with("hash")) {
        if name.ends_with("summed") {
            continue;
        }
        let order = byte_order(&bytes).unwrap();
        let page = order.u32(&bytes, 20) as usize;
        let at = if bytes[16] == 9 { 16 } else { 19 };
        assert_eq!(bytes[at], 9, "{name}");
        bytes[at] = 8;
        for start in (page..bytes.len()).step_by(page) {
            if bytes[start + 25] == 13 {
                bytes[start + 25] = 2;
            }
        }
        let (pairs, errors) = listed(&bytes);
        assert!(errors.is_empty() && pairs == want, "{name}: {errors:?}");
    }
}
