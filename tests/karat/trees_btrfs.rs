//! btrfs: file systems that mkfs.btrfs and the kernel wrote show what the kernel shows, and broken ones are refused.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use karat::Result;
use karat::bytes::{HostFile, ReadAt};
use karat::limits::Limits;
use karat::model::ImagePath;
use karat::tree::{BlockCache, Btrfs, FileTree, NodeId, NodeKind, Subvolume};
use sha2::{Digest, Sha256};

use crate::sparse_disk::{self, Sparse};
use crate::tools::tool;
use crate::tree_walk::{Rows, assert_rows, sha256_of, walk, walk_below};

const WHOLE: [&str; 6] = ["subvolumes", "zlib-xxhash", "lzo-sha256", "zstd-blake2", "mixed", "raid1"];
const PAGE: usize = 4096;
/// Where the first two superblocks are.
const SUPERBLOCKS: [u64; 2] = [64 << 10, 64 << 20];
const UUID: &str = "0f1e2d3c-4b5a-4697-8877-665544332211";

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/disks/btrfs").join(name)
}

/// Opens a disk.
trait Opens {
    fn open(self) -> Result<Btrfs>;
}

impl Opens for Sparse {
    fn open(self) -> Result<Btrfs> {
        open(Arc::new(self))
    }
}

impl Sparse {
    /// Changes a superblock, and its checksum (CRC-32C) with it.
    fn change_superblock(&mut self, at: u64, field: u64, bytes: &[u8]) {
        let page = self.pages.get_mut(&(at / PAGE as u64)).unwrap();
        page[field as usize..field as usize + bytes.len()].copy_from_slice(bytes);
        let sum = crc32c::crc32c(&page[32..]);
        page[..4].copy_from_slice(&sum.to_le_bytes());
    }
}

fn disk(name: &str) -> Sparse {
    Sparse::fixture(&format!("btrfs/{name}"))
}

fn truth(name: &str) -> Rows {
    sparse_disk::truth(&format!("btrfs/{name}"))
}

fn open(disk: Arc<dyn ReadAt>) -> Result<Btrfs> {
    let limits = Arc::new(Limits::default());
    Btrfs::open(BlockCache::new(&limits).reader(disk), limits)
}

fn doubts(tree: &Btrfs) -> Vec<String> {
    tree.doubts().iter().map(ToString::to_string).collect()
}

/// All of it is what the kernel shows, and nothing is doubtful.
fn assert_whole(tree: &Btrfs, root: NodeId, expected: &Rows, name: &str) {
    assert_eq!(doubts(tree), Vec::<String>::new(), "{name}");
    let (found, errors) = walk_below(tree, root);
    assert_eq!(errors.first().map(ToString::to_string), None, "{name}");
    assert_rows(&found, expected, name);
}

#[test]
fn file_systems_show_what_the_kernel_shows() {
    for name in WHOLE {
        let tree = disk(name).open().unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_whole(&tree, tree.root(), &truth(name), name);
    }
}

#[test]
fn a_log_is_replayed() {
    let tree = disk("log").open().unwrap();
    let expected = truth("log");
    assert_whole(&tree, tree.root(), &expected, "log");
    for (path, row) in &expected {
        let reached = tree.lookup_many(tree.root(), &[ImagePath::new(path)]);
        let step = reached[0].steps.last().unwrap();
        let is_directory = step.meta.kind == NodeKind::Directory;
        assert_eq!(is_directory, row.starts_with("directory"), "{}", String::from_utf8_lossy(path));
    }
    for gone in ["etc/conf-8", "etc/conf-7", "etc/conf-9.new", "many/b/a-name-of-some-length-00004"] {
        let reached = tree.lookup_many(tree.root(), &[ImagePath::new(gone)]);
        assert!(reached[0].failed.is_none() && reached[0].steps.len() < gone.split('/').count(), "{gone}");
    }
}

#[test]
fn a_log_that_cannot_be_replayed_is_a_doubt() {
    let mut broken = disk("log");
    for at in SUPERBLOCKS {
        broken.change_superblock(at, 200, &[1]);
    }
    let tree = broken.open().unwrap();
    let doubts = doubts(&tree);
    assert!(doubts.len() == 1 && doubts[0].starts_with("log: btrfs block: level at byte "), "{doubts:?}");
    let (found, errors) = walk(&tree);
    assert!(errors.is_empty() && found.contains_key(&b"etc/conf-8"[..]));
}

#[test]
fn the_default_subvolume_is_the_root_and_others_are_found_by_path_and_id() {
    let tree = disk("subvolumes").open().unwrap();
    assert_eq!(tree.root(), NodeId { space: 256, number: 256 });
    let top = tree.subvolume(Subvolume::Id(5)).unwrap();
    assert_whole(&tree, top, &truth("subvolumes.top"), "top");
    for (chosen, id) in [
        (Subvolume::Path(b"@"), 256),
        (Subvolume::Path(b"/@home"), 257),
        (Subvolume::Path(b"@/var/lib/portables"), 258),
        (Subvolume::Path(b"/snapshots/1/snapshot/"), 259),
        (Subvolume::Path(b"/"), 5),
        (Subvolume::Path(b""), 5),
        (Subvolume::Id(0), 5),
        (Subvolume::Id(260), 260),
    ] {
        assert_eq!(tree.subvolume(chosen).unwrap().space, id, "{chosen:?}");
    }
    for (chosen, error) in [
        (Subvolume::Path(b"absent"), "not found: btrfs subvolume `/absent`"),
        (Subvolume::Path(b"@/etc"), "not found: btrfs subvolume `/@/etc`: it is a directory"),
        (Subvolume::Path(b"deleted"), "not found: btrfs subvolume `/deleted`"),
        (Subvolume::Id(7), "not found: btrfs subvolume 7"),
        (Subvolume::Id(261), "not found: btrfs subvolume or tree 261"),
        (Subvolume::Path(b"snapshots/2/var/lib/portables"), "it is a directory"),
    ] {
        let found = tree.subvolume(chosen).unwrap_err().to_string();
        assert!(found.contains(error), "{chosen:?}: {found}");
    }
}

#[test]
fn subvolumes_and_snapshots_are_listed_as_btrfs_lists_them() {
    let tree = disk("subvolumes").open().unwrap();
    let list = std::fs::read_to_string(fixture("subvolumes.list")).unwrap();
    let rows = list.lines().skip(2).map(|line| line.split_whitespace().collect::<Vec<_>>());
    let mut expected: Vec<(u64, String)> =
        rows.map(|row| (row[0].parse().unwrap(), format!("/{}", row[3]))).collect();
    expected.insert(0, (5, "/".to_owned()));
    let found = tree.subvolumes().unwrap();
    let named: Vec<_> = found.iter().map(|each| (each.id, each.path.to_string())).collect();
    assert_eq!(named, expected);
    let kinds: Vec<_> = found.iter().map(|each| (each.is_snapshot, each.is_read_only)).collect();
    let (no, snapshot) = ((false, false), (true, false));
    assert_eq!(kinds, [no, no, no, no, (true, true), snapshot]);
}

#[test]
fn every_name_is_found_by_looking_it_up_and_no_other() {
    for name in WHOLE {
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

/// Of a disk over the network each block of 64 KiB is a request, unless it was asked for with others.
#[test]
fn paths_are_found_in_few_blocks_and_these_are_asked_for_ahead() {
    #[derive(Default)]
    struct Asked(Mutex<BTreeSet<u64>>, Mutex<BTreeSet<u64>>);
    struct Watched(Sparse, Arc<Asked>);
    impl ReadAt for Watched {
        fn size_bytes(&self) -> u64 {
            self.0.size_bytes
        }
        fn read_exact_at(&self, offset: u64, dst: &mut [u8]) -> Result<()> {
            self.1.1.lock().unwrap().insert(offset >> 16);
            self.0.read_exact_at(offset, dst)
        }
        fn prefetch(&self, ranges: &[std::ops::Range<u64>]) {
            let all = ranges.iter().flat_map(|range| range.start >> 16..=(range.end - 1) >> 16);
            self.1.0.lock().unwrap().extend(all);
        }
    }
    let asked = Arc::new(Asked::default());
    let tree = open(Arc::new(Watched(disk("zstd-blake2"), asked.clone()))).unwrap();
    let opened: BTreeSet<u64> = asked.1.lock().unwrap().clone();
    let paths = ["usr/lib/os-release", "many/a/a-name-of-some-length-00777", "data/text"].map(ImagePath::new);
    let reached = tree.lookup_many(tree.root(), &paths);
    assert_eq!(reached.iter().map(|r| r.steps.len()).collect::<Vec<_>>(), [3, 3, 2]);
    let text = reached[2].steps[1].node;
    tree.will_need(&[text], karat::tree::Need::Content(1 << 20));
    sha256_of(&*tree.open(text).unwrap()).unwrap();
    let read: BTreeSet<u64> = asked.1.lock().unwrap().difference(&opened).copied().collect();
    assert!(read.len() <= 16, "{} blocks of 64 KiB were read", read.len());
    let surprises: Vec<_> = read.difference(&asked.0.lock().unwrap()).copied().collect();
    assert_eq!(surprises, Vec::<u64>::new(), "read without being asked for ahead");
}

#[test]
fn it_says_how_it_calls_itself() {
    let tree = disk("zstd-blake2").open().unwrap();
    let identity = tree.identity();
    assert_eq!(identity.uuid.as_deref(), Some(UUID));
    assert_eq!((&identity.label[..], identity.block_bytes), (&b"fixture"[..], 4096));
    assert_eq!(identity.size_bytes, 300 << 20);
}

/// Of two devices only the first is there: what is on it is read, and the rest says where it is.
#[test]
fn what_is_on_another_device_only_is_an_error() {
    let tree = disk("raid0").open().unwrap();
    let expected = truth("raid0");
    let (found, errors) = walk(&tree);
    assert!(!errors.is_empty() && errors.len() + found.len() == expected.len());
    for error in errors {
        assert!(error.to_string().contains("a btrfs over 2 devices: this is device 1"), "{error}");
    }
    for (path, row) in found {
        assert_eq!(expected.get(&path), Some(&row), "{}", String::from_utf8_lossy(&path));
    }
}

/// With both devices all is read, in whichever order they come; one alone, and one twice, are told.
#[test]
fn several_devices_are_read_as_one() {
    let limits = Arc::new(Limits::default());
    let [first, second] = ["raid0", "raid0.2"].map(|name| -> Arc<dyn ReadAt> { Arc::new(disk(name)) });
    let open = |devices: &[&Arc<dyn ReadAt>]| {
        let devices: Vec<_> = devices.iter().map(|device| Arc::clone(device)).collect();
        Btrfs::open_all(&devices, &BlockCache::new(&limits), Arc::clone(&limits))
    };
    for devices in [[&first, &second], [&second, &first]] {
        let tree = open(&devices).unwrap();
        assert_whole(&tree, tree.root(), &truth("raid0"), "both devices");
        assert_eq!(doubts(&tree), [""; 0]);
    }
    let twice = open(&[&first, &first]).err().unwrap().to_string();
    assert!(twice.contains("device 1 twice"), "{twice}");
    let other: Arc<dyn ReadAt> = Arc::new(disk("subvolumes"));
    assert!(open(&[&first, &other]).is_err());

    // A device that was absent while another was written.
    let mut stale = disk("raid0.2");
    stale.change_superblock(SUPERBLOCKS[0], 72, &1_u64.to_le_bytes());
    stale.change_superblock(SUPERBLOCKS[1], 72, &1_u64.to_le_bytes());
    let stale: Arc<dyn ReadAt> = Arc::new(stale);
    let tree = open(&[&stale, &first]).unwrap();
    assert!(doubts(&tree)[0].contains("it was absent for a while"), "{:?}", doubts(&tree));
}

/// The pages that are read when all is.
fn pages_read(disk: &Sparse) -> Vec<u64> {
    let tree = disk.clone().open().unwrap();
    let _ = walk(&tree);
    let read = disk.read.lock().unwrap();
    read.iter().copied().filter(|page| disk.pages.contains_key(page)).collect()
}

#[test]
fn damage_is_told_or_does_no_harm() {
    for name in ["zlib-xxhash", "lzo-sha256", "raid1", "log"] {
        let disk = self::disk(name);
        let expected = truth(name);
        let pages = pages_read(&disk);
        let mut told = 0;
        for (turn, page) in pages.iter().enumerate().step_by(1 + pages.len() / 60) {
            let mut broken = disk.clone();
            let at = page * 4096 + (turn as u64 * 523) % 4096;
            broken.change(at, |byte| *byte ^= 1 << (turn % 8));
            let Ok(tree) = broken.open() else { continue };
            let (found, errors) = walk(&tree);
            let is_told = !errors.is_empty() || !tree.doubts().is_empty();
            told += usize::from(is_told);
            for (path, row) in &found {
                let same = expected.get(path) == Some(row) || !tree.doubts().is_empty();
                assert!(same, "{name}: byte {at:#x}: {} is {row}", String::from_utf8_lossy(path));
            }
            assert!(is_told || found.len() == expected.len(), "{name}: byte {at:#x}: silent");
        }
        assert!(told > 0, "{name}: of {} pages", pages.len());
    }
}

#[test]
fn another_copy_is_read_where_one_is_damaged() {
    // All of it is there twice: metadata and data.
    let disk = self::disk("mixed");
    let mut places: BTreeMap<&[u8], Vec<u64>> = BTreeMap::new();
    for (page, bytes) in &disk.pages {
        places.entry(bytes).or_default().push(*page);
    }
    let twice: Vec<&Vec<u64>> = places.values().filter(|pages| pages.len() == 2).collect();
    assert!(twice.len() > 100, "{} pages", twice.len());
    for copy in [0, 1] {
        let mut broken = disk.clone();
        for pages in &twice {
            broken.change(pages[copy] * 4096 + 1000, |byte| *byte ^= 1);
        }
        let tree = broken.open().unwrap();
        assert_whole(&tree, tree.root(), &truth("mixed"), "one copy broken");
    }
    let mut broken = disk.clone();
    for page in twice.iter().copied().flatten() {
        broken.change(page * 4096 + 1000, |byte| *byte ^= 1);
    }
    assert!(broken.open().is_err());
}

#[test]
fn the_newest_valid_superblock_counts() {
    let disk = self::disk("subvolumes");
    let mut broken = disk.clone();
    broken.change(SUPERBLOCKS[0] + 80, |byte| *byte ^= 1);
    let tree = broken.open().unwrap();
    assert_eq!(doubts(&tree).len(), 1);
    assert!(doubts(&tree)[0].starts_with("first superblock: btrfs superblock: checksum"));
    let (found, errors) = walk(&tree);
    assert!(errors.is_empty());
    assert_rows(&found, &truth("subvolumes"), "second superblock");

    // A newer one of another file system, left over from before.
    let mut stale = disk.clone();
    stale.change_superblock(SUPERBLOCKS[1], 72, &[0xff; 6]);
    stale.change_superblock(SUPERBLOCKS[1], 32, &[7; 16]);
    let tree = stale.open().unwrap();
    assert_whole(&tree, tree.root(), &truth("subvolumes"), "stale superblock");
}

#[test]
fn a_cut_off_or_broken_superblock_is_refused_by_name() {
    let disk = self::disk("subvolumes");
    let cases: [(&str, u64, &[u8]); 11] = [
        ("btrfs superblock: magic at byte 0x10040", 64, b"_BHRfS_N"),
        ("btrfs superblock: bytenr at byte 0x10030", 48, &[1]),
        ("btrfs superblock: sectorsize at byte 0x10090", 144, &[1]),
        ("btrfs superblock: nodesize at byte 0x10094", 148, &[0, 8, 0, 0]),
        ("btrfs superblock: dev_item.total_bytes at byte 0x100d1", 209, &[0; 8][..7]),
        ("btrfs superblock: sys_chunk_array_size at byte 0x100a0", 160, &[1, 8]),
        ("not read by this version: btrfs with checksum type 9", 196, &[9]),
        ("not read by this version: btrfs with the feature zoned", 189, &[0x10]),
        ("not read by this version: btrfs with the feature extent tree v2", 189, &[0x20]),
        ("not read by this version: btrfs with the features 0x8000000000", 192, &[0x80]),
        ("not read by this version: a btrfs whose UUID is being changed", 60, &[0x08]),
    ];
    for (expected, field, bytes) in cases {
        let mut broken = disk.clone();
        for at in SUPERBLOCKS {
            broken.change_superblock(at, field, bytes);
        }
        if field == 209 {
            broken.size_bytes /= 2;
            broken.change_superblock(SUPERBLOCKS[0], field, &(300_u64 << 20).to_le_bytes());
        }
        let found = broken.open().err().map(|error| error.to_string()).unwrap_or_default();
        assert!(found.starts_with(expected), "{expected}: {found}");
    }
    for len in [0, 1, 4096, 65_536, 69_631, 69_632, 1 << 20, 100 << 20] {
        let mut short = disk.clone();
        short.size_bytes = len;
        assert!(short.open().is_err(), "{len} bytes");
    }
}

/// Leaves with wrong bytes and a checksum that is right: nothing in them is believed without a look.
#[test]
fn any_damage_under_a_right_checksum_ends() {
    let disk = self::disk("subvolumes");
    let bytes = 16384 / PAGE as u64;
    let is_block = |page: &u64| {
        let uuid = [0x0f, 0x1e, 0x2d, 0x3c];
        page.is_multiple_of(bytes)
            && disk.pages.get(page).is_some_and(|page| page[32..36] == uuid && page[64..72] != *b"_BHRfS_M")
    };
    let blocks: Vec<u64> = pages_read(&disk).into_iter().filter(is_block).collect();
    assert!(blocks.len() > 10, "{} blocks", blocks.len());
    let mut seed: u64 = 7;
    let mut random = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % below
    };
    for turn in 0..150 {
        let mut broken = disk.clone();
        for _ in 0..8 {
            let block = blocks[random(blocks.len())];
            for _ in 0..4 {
                // More often where the header, keys and sizes are.
                let at = if turn % 2 == 0 { random(800) } else { random(16384) } as u64;
                let value = random(256) as u8;
                broken.change(block * 4096 + at, |byte| *byte = value);
            }
            let mut whole = vec![0; 16384];
            broken.read_exact_at(block * 4096, &mut whole).unwrap();
            let sum = crc32c::crc32c(&whole[32..]).to_le_bytes();
            for (at, value) in sum.into_iter().enumerate() {
                broken.change(block * 4096 + at as u64, |byte| *byte = value);
            }
        }
        if let Ok(tree) = broken.open() {
            let _ = tree.subvolumes();
            walk(&tree);
        }
    }
}

/// An entry that leads elsewhere by number (what is listed) than by hash (what is opened).
#[test]
fn a_name_that_leads_to_two_files_is_told() {
    const NODE: usize = 16384;
    const DIR_INDEX: u8 = 96;
    let mut broken = disk("subvolumes");
    let mut changed = 0;
    for at in (0..broken.size_bytes / NODE as u64).map(|number| number * NODE as u64) {
        if !broken.pages.contains_key(&(at / PAGE as u64)) {
            continue;
        }
        let mut node = vec![0; NODE];
        broken.read_exact_at(at, &mut node).unwrap();
        if crc32c::crc32c(&node[32..]).to_le_bytes() != node[..4] || node[100] != 0 {
            continue;
        }
        let number = |from: usize| u32::from_le_bytes(node[from..from + 4].try_into().unwrap()) as usize;
        let items = (0..number(96)).map(|item| 101 + item * 25).filter(|item| node[item + 8] == DIR_INDEX);
        let data: Vec<usize> = items.map(|item| 101 + number(item + 17)).collect();
        let found = data.into_iter().find(|data| node[data + 30..].starts_with(b"conf-4"));
        let Some(data) = found else { continue };
        node[data] ^= 1;
        let sum = crc32c::crc32c(&node[32..]).to_le_bytes();
        node[..4].copy_from_slice(&sum);
        for (byte, value) in node.iter().enumerate() {
            broken.change(at + byte as u64, |old| *old = *value);
        }
        changed += 1;
    }
    assert!(changed > 0);
    let tree = broken.open().unwrap();
    let (_, errors) = walk(&tree);
    let told: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert!(told.iter().any(|error| error.contains("`conf-4` is") && error.contains("by hash")), "{told:?}");
}

/// What this machine's mkfs.btrfs makes of a directory, by the directory and by `btrfs restore`.
#[test]
fn what_mkfs_writes_is_what_it_was_given() {
    let (Some(mkfs), Some(btrfs)) = (tool("mkfs.btrfs"), tool("btrfs")) else { return };
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    std::fs::create_dir_all(source.join("usr/lib")).unwrap();
    std::fs::write(source.join("usr/lib/os-release"), "ID=fixture\n").unwrap();
    std::fs::write(source.join("large"), vec![b'x'; 3_000_001]).unwrap();
    std::os::unix::fs::symlink("usr/lib/os-release", source.join("link")).unwrap();
    for number in 0..500 {
        std::fs::write(source.join(format!("file-{number}")), number.to_string()).unwrap();
    }
    for (sectors, nodes, sum, profile) in [
        ("4096", "16384", "crc32c", "dup"),
        ("4096", "4096", "sha256", "single"),
        ("16384", "32768", "xxhash", "dup"),
        ("65536", "65536", "blake2", "single"),
    ] {
        let image = folder.path().join(format!("{nodes}.img"));
        std::fs::File::create(&image).unwrap().set_len(300 << 20).unwrap();
        let made = Command::new(&mkfs)
            .args([
                "-q",
                "-s",
                sectors,
                "-n",
                nodes,
                "--csum",
                sum,
                "-m",
                profile,
                "-d",
                profile,
                "--rootdir",
            ])
            .args([&source, &image])
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let restored = folder.path().join(format!("{nodes}.restored"));
        std::fs::create_dir(&restored).unwrap();
        let told = Command::new(&btrfs).args(["restore", "-S"]).args([&image, &restored]).output().unwrap();
        assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
        let tree = open(Arc::new(HostFile::new(std::fs::File::open(&image).unwrap()).unwrap())).unwrap();
        let (found, errors) = walk(&tree);
        assert_eq!(errors.first().map(ToString::to_string), None);
        assert_eq!(found.len(), 505);
        for (path, row) in found {
            let path = std::str::from_utf8(&path).unwrap();
            let on_host = restored.join(path);
            let content = row.rsplit('\t').next().unwrap();
            match row.split('\t').next().unwrap() {
                "file" => {
                    let sum = Sha256::digest(std::fs::read(&on_host).unwrap());
                    let sum: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
                    assert_eq!(content, sum, "{path}");
                }
                "symlink" => assert_eq!(Path::new(content), std::fs::read_link(&on_host).unwrap(), "{path}"),
                _ => assert!(on_host.is_dir(), "{path}"),
            }
        }
    }
}
