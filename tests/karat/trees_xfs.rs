//! XFS: file systems that mkfs.xfs and the kernel wrote show what the kernel shows, and broken ones are refused.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use karat::Result;
use karat::limits::Limits;
use karat::model::ImagePath;
use karat::tree::{BlockCache, FileTree, Xfs};

use crate::sparse_disk::{self, Sparse};
use crate::tree_walk::{Rows, assert_rows, walk};

const CLEAN: [&str; 6] = ["v5-4k", "v5-1k", "v5-nrext64", "v4-4k", "v4-512", "ci"];
const DIRTY: [&str; 2] = ["dirty-v5", "dirty-v5-1k"];

/// Breaks a disk.
type Change<'a> = &'a dyn Fn(&mut Sparse);

/// Opens a disk.
trait Opens {
    fn open(self) -> Result<Xfs>;
}

impl Opens for Sparse {
    fn open(self) -> Result<Xfs> {
        let limits = Arc::new(Limits::default());
        Xfs::open(BlockCache::new(&limits).reader(Arc::new(self)), limits)
    }
}

fn disk(name: &str) -> Sparse {
    Sparse::fixture(&format!("xfs/{name}"))
}

fn truth(name: &str) -> Rows {
    sparse_disk::truth(&format!("xfs/{name}"))
}

fn doubts(tree: &Xfs) -> Vec<String> {
    tree.doubts().iter().map(ToString::to_string).collect()
}

/// Each shows what its mount shows, and nothing of it is in doubt.
fn assert_as_mounted(names: &[&str]) {
    for name in names {
        let tree = disk(name).open().unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(doubts(&tree), Vec::<String>::new(), "{name}");
        let (found, errors) = walk(&tree);
        let told: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(told, Vec::<String>::new(), "{name}");
        assert_rows(&found, &truth(name), name);
    }
}

#[test]
fn file_systems_show_what_the_kernel_shows() {
    assert_as_mounted(&CLEAN);
}

#[test]
fn a_dirty_log_is_replayed() {
    assert_as_mounted(&DIRTY);
}

#[test]
fn every_name_is_found_by_looking_it_up_and_no_other() {
    for name in CLEAN {
        let tree = disk(name).open().unwrap();
        let mut directories = BTreeMap::from([(Vec::new(), tree.root())]);
        for (path, row) in truth(name) {
            let slash = path.iter().rposition(|byte| *byte == b'/');
            let (above, last) = slash.map_or((&[][..], &path[..]), |at| (&path[..at], &path[at + 1..]));
            let node = tree.lookup(directories[above], last).unwrap();
            let node = node.unwrap_or_else(|| panic!("{name}: {}", String::from_utf8_lossy(&path)));
            if row.starts_with("directory") {
                directories.insert(path.clone(), node);
            }
        }
        for directory in directories.values() {
            for absent in [&b"a-name-of-some-length-99999"[..], b"", b"absent", b".", b"..", &[b'x'; 255]] {
                assert_eq!(tree.lookup(*directory, absent).unwrap(), None, "{name}");
            }
        }
    }
}

#[test]
fn an_index_leads_to_a_name_without_reading_the_directory() {
    let disk = self::disk("v5-4k");
    let read = Arc::clone(&disk.read);
    let tree = disk.open().unwrap();
    let paths = [ImagePath::new("usr/lib/os-release"), ImagePath::new("many/a/a-name-of-some-length-00777")];
    let reached = tree.lookup_many(tree.root(), &paths);
    assert_eq!(reached.iter().map(|r| r.steps.len()).collect::<Vec<_>>(), [3, 3]);
    // In blocks of 64 KiB, as the cache fetches them.
    let blocks: BTreeSet<_> = read.lock().unwrap().iter().map(|page| page / 16).collect();
    assert!(blocks.len() <= 24, "{} blocks of 64 KiB were read", blocks.len());
}

#[test]
fn it_says_how_it_calls_itself() {
    let tree = disk("v5-4k").open().unwrap();
    let identity = tree.identity();
    assert_eq!(identity.uuid.as_deref(), Some("0f1e2d3c-4b5a-4697-8877-665544332211"));
    assert_eq!((&identity.label[..], identity.block_bytes), (&b"fixture"[..], 4096));
    assert_eq!(identity.size_bytes, 320 << 20);
}

#[test]
fn names_ignore_case_where_the_file_system_does() {
    let tree = disk("ci").open().unwrap();
    let etc = tree.lookup(tree.root(), b"ETC").unwrap().unwrap();
    assert_eq!(tree.lookup(etc, b"Os-Release").unwrap(), tree.lookup(etc, b"os-release").unwrap());
}

#[test]
fn a_log_that_cannot_be_replayed_is_a_doubt() {
    // A byte of the newest records' content: they no longer have their checksum. Only what is torn at the head
    // may be dropped silently.
    let disk = self::disk("dirty-v5");
    let magic = 0xfeed_babe_u32.to_be_bytes();
    let sectors = disk.pages.iter().flat_map(|(page, bytes)| {
        bytes.chunks(512).enumerate().map(move |(i, sector)| (page * 4096 + i as u64 * 512, sector))
    });
    let heads: Vec<u64> =
        sectors.filter(|(_, sector)| sector.starts_with(&magic)).map(|(offset, _)| offset).collect();
    assert!(heads.len() > 12, "{} records", heads.len());
    let (mut told, mut stale) = (0, 0);
    let expected = truth("dirty-v5");
    for head in &heads {
        let mut broken = disk.clone();
        broken.change(head + 512 + 100, |byte| *byte ^= 0x10);
        let Ok(tree) = broken.open() else { continue };
        for doubt in doubts(&tree) {
            assert!(doubt.starts_with("log: XFS log record: "), "{doubt}");
            told += 1;
        }
        if told == 1 && stale == 0 {
            stale = usize::from(walk(&tree).0 != expected);
        }
    }
    assert_eq!(stale, 1, "what is on disk is older than the log");
    assert!(told > 0, "of {} records", heads.len());
}

#[test]
fn damaged_metadata_is_never_believed() {
    for name in ["v5-4k", "v5-1k"] {
        let disk = self::disk(name);
        let expected = truth(name);
        let (found, _) = walk(&disk.clone().open().unwrap());
        assert_rows(&found, &expected, name);
        let pages: Vec<u64> = disk.read.lock().unwrap().iter().copied().collect();
        let pages: Vec<u64> = pages.into_iter().filter(|page| disk.pages.contains_key(page)).collect();
        // Each flip is either in what nobody reads, in a file's bytes, or an error.
        for (turn, page) in pages.iter().enumerate().step_by(1 + pages.len() / 40) {
            let mut broken = disk.clone();
            let at = page * 4096 + (turn as u64 * 523) % 4096;
            broken.change(at, |byte| *byte ^= 1 << (turn % 8));
            let Ok(tree) = broken.open() else { continue };
            let (found, errors) = walk(&tree);
            for (path, row) in &found {
                let expected = expected.get(path).map(String::as_str);
                let is_content =
                    row.starts_with("file") && expected.is_some_and(|row| row.starts_with("file"));
                let same = expected == Some(row) || is_content;
                assert!(same, "{name}: byte {at:#x}: {} is {row}", String::from_utf8_lossy(path));
            }
            let is_whole = found.len() == expected.len();
            assert!(
                is_whole || !errors.is_empty() || !tree.doubts().is_empty(),
                "{name}: byte {at:#x}: silent"
            );
        }
    }
}

#[test]
fn any_damage_without_checksums_ends() {
    for name in ["v4-512", "v4-4k"] {
        let disk = self::disk(name);
        let _ = walk(&disk.clone().open().unwrap());
        let pages: Vec<u64> = disk.read.lock().unwrap().iter().copied().collect();
        let pages: Vec<u64> = pages.into_iter().filter(|page| disk.pages.contains_key(page)).collect();
        let mut seed: u64 = 7;
        for _ in 0..60 {
            let mut broken = disk.clone();
            for _ in 0..20 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let page = pages[(seed >> 33) as usize % pages.len()];
                let (at, value) = ((seed >> 20) % 4096, (seed >> 40) as u8);
                broken.change(page * 4096 + at, |byte| *byte = value);
            }
            if let Ok(tree) = broken.open() {
                walk(&tree);
            }
        }
    }
}

#[test]
fn a_cut_off_or_broken_superblock_is_refused_by_name() {
    let disk = self::disk("v4-4k");
    let refused = |change: Change| {
        let mut broken = disk.clone();
        change(&mut broken);
        broken.open().err().map(|error| error.to_string())
    };
    let cases: [(&str, Change); 6] = [
        ("XFS superblock: magic at byte 0x0", &|disk| disk.change(0, |byte| *byte = b'Y')),
        ("XFS superblock: blocksize at byte 0x4", &|disk| disk.change(7, |byte| *byte = 1)),
        ("XFS superblock: inopblog at byte 0x7b", &|disk| disk.change(123, |byte| *byte = 9)),
        ("XFS superblock: dblocks at byte 0x8", &|disk| disk.size_bytes /= 2),
        ("not read by this version: XFS that", &|disk| disk.change(126, |byte| *byte = 1)),
        ("XFS superblock: rootino at byte 0x38", &|disk| disk.change(56, |byte| *byte = 0x7f)),
    ];
    for (expected, change) in cases {
        let found = refused(change).unwrap_or_default();
        assert!(found.starts_with(expected), "{expected}: {found}");
    }
    for len in [0, 1, 511, 512, 4095, 4096, 70_000] {
        assert!(refused(&|disk| disk.size_bytes = len).is_some(), "{len} bytes");
    }
}
