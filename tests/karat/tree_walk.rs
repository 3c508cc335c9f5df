//! What a tree shows, in the form in which it is compared with what a folder of the host or a fixture's list says.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use karat::bytes::ReadAt;
use karat::tree::{FileTree, NodeId, NodeKind};
use karat::{Error, Result};
use sha2::{Digest, Sha256};

/// Rows by path: kind, mode in octal, size in bytes, SHA-256 or target.
pub(crate) type Rows = BTreeMap<Vec<u8>, String>;

/// Larger files are told and not read: damage makes sizes of any kind, and holes cost time.
const LARGE: u64 = 64 << 20;

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// In pieces that fit no block, as those who read heads and then the rest do.
pub(crate) fn sha256_of(content: &dyn ReadAt) -> Result<String> {
    let mut sum = Sha256::new();
    let (mut at, mut piece) = (0, 777);
    while at < content.size_bytes() {
        let mut bytes = vec![0; piece.min(content.size_bytes() - at) as usize];
        content.read_exact_at(at, &mut bytes)?;
        sum.update(&bytes);
        at += bytes.len() as u64;
        piece = 50_000;
    }
    Ok(sum.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

pub(crate) fn whole(content: &dyn ReadAt) -> Result<Vec<u8>> {
    let mut bytes = vec![0; content.size_bytes() as usize];
    content.read_exact_at(0, &mut bytes)?;
    Ok(bytes)
}

/// What is at a node, as a row of a fixture's list says it.
fn row(tree: &dyn FileTree, node: NodeId) -> Result<String> {
    let meta = tree.meta(node)?;
    let (kind, size, content) = match meta.kind {
        NodeKind::Directory => ("directory", 0, String::new()),
        NodeKind::Special => ("special", 0, String::new()),
        NodeKind::Symlink => {
            let target = tree.read_link(node)?;
            ("symlink", target.len() as u64, String::from_utf8_lossy(&target).into_owned())
        }
        NodeKind::File if meta.size_bytes > LARGE => ("file", meta.size_bytes, "large".to_owned()),
        NodeKind::File => ("file", meta.size_bytes, sha256_of(&*tree.open(node)?)?),
    };
    Ok(format!("{kind}\t{:o}\t{size}\t{content}", meta.mode))
}

/// All below the root, and what could not be read.
pub(crate) fn walk(tree: &dyn FileTree) -> (Rows, Vec<Error>) {
    walk_below(tree, tree.root())
}

/// All below a directory, and what could not be read.
pub(crate) fn walk_below(tree: &dyn FileTree, root: NodeId) -> (Rows, Vec<Error>) {
    let (mut rows, mut errors) = (BTreeMap::new(), Vec::new());
    let mut known = BTreeMap::new();
    let mut seen = BTreeSet::new();
    let mut open = vec![(Vec::new(), root)];
    while let Some((path, node)) = open.pop() {
        if !seen.insert(node) {
            continue;
        }
        let mut names = Vec::new();
        let read = tree.read_dir(node, &mut |entry| {
            names.push((entry.name.to_vec(), entry.node));
            Ok(())
        });
        errors.extend(read.err());
        for (name, node) in names {
            let below = [&path[..], if path.is_empty() { b"" } else { b"/" }, &name].concat();
            match known.entry(node).or_insert_with(|| row(tree, node)) {
                Ok(row) => {
                    if row.starts_with("directory") {
                        open.push((below.clone(), node));
                    }
                    rows.insert(below, row.clone());
                }
                Err(error) => errors.push(error.clone().at(String::from_utf8_lossy(&below).into_owned())),
            }
        }
    }
    (rows, errors)
}

/// What a list beside a fixture says: the path is the last column.
pub(crate) fn listed(text: &[u8]) -> Rows {
    let rows = text.split(|byte| *byte == b'\n').filter(|row| !row.is_empty());
    rows.map(|row| {
        let at = row.iter().rposition(|byte| *byte == b'\t').unwrap();
        (row[at + 1..].to_vec(), String::from_utf8_lossy(&row[..at]).into_owned())
    })
    .collect()
}

/// A file of `fixtures/disks/packed`.
pub(crate) fn packed(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/disks/packed");
    let path = folder.join(format!("{name}.zst"));
    let stored = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    zstd::decode_all(&stored[..]).unwrap()
}

/// What a folder of the host shows.
pub(crate) fn host(root: &Path) -> Rows {
    let mut rows = BTreeMap::new();
    let mut open = vec![PathBuf::new()];
    while let Some(below) = open.pop() {
        for entry in std::fs::read_dir(root.join(&below)).unwrap() {
            let path = below.join(entry.unwrap().file_name());
            let host = root.join(&path);
            let meta = std::fs::symlink_metadata(&host).unwrap();
            let mode = meta.permissions().mode() & 0o7777;
            let (kind, size, content) = if meta.is_dir() {
                open.push(path.clone());
                ("directory", 0, String::new())
            } else if meta.is_symlink() {
                let target = std::fs::read_link(&host).unwrap().into_os_string().into_encoded_bytes();
                ("symlink", target.len() as u64, String::from_utf8_lossy(&target).into_owned())
            } else if meta.is_file() {
                ("file", meta.len(), sha256(&std::fs::read(&host).unwrap()))
            } else {
                ("special", 0, String::new())
            };
            let row = format!("{kind}\t{mode:o}\t{size}\t{content}");
            rows.insert(path.into_os_string().into_encoded_bytes(), row);
        }
    }
    rows
}

/// Fails with the first differences, or with what could not be read.
pub(crate) fn assert_same(tree: &dyn FileTree, expected: &Rows, name: &str) {
    let (found, errors) = walk(tree);
    assert_eq!(errors.first().map(ToString::to_string), None, "{name}");
    assert_rows(&found, expected, name);
}

/// Fails with the first differences.
pub(crate) fn assert_rows(found: &Rows, expected: &Rows, name: &str) {
    let text = |path: &[u8]| String::from_utf8_lossy(path).into_owned();
    let missing = expected.keys().find(|path| !found.contains_key(*path)).map(|path| text(path));
    let surplus = found.keys().find(|path| !expected.contains_key(*path)).map(|path| text(path));
    assert_eq!((missing, surplus), (None, None), "{name}: missing, surplus");
    for (path, row) in expected {
        assert_eq!(found.get(path), Some(row), "{name}: {}", text(path));
    }
}

/// Looks every path up by its names, and names that are nowhere.
pub(crate) fn assert_found(tree: &dyn FileTree, expected: &Rows, name: &str) {
    let mut directories = BTreeMap::from([(Vec::new(), tree.root())]);
    for (path, row) in expected {
        let slash = path.iter().rposition(|byte| *byte == b'/');
        let (above, last) = slash.map_or((&[][..], &path[..]), |at| (&path[..at], &path[at + 1..]));
        let node = tree.lookup(directories[above], last).unwrap();
        let node = node.unwrap_or_else(|| panic!("{name}: {}", String::from_utf8_lossy(path)));
        if row.starts_with("directory") {
            directories.insert(path.clone(), node);
        }
    }
    for directory in directories.values() {
        for absent in
            [&b"a-name-of-some-length-99999"[..], b"", b"\x01", b"absent", b".", b"..", &[b'x'; 255], b"\xff"]
        {
            assert_eq!(tree.lookup(*directory, absent).unwrap(), None, "{name}");
        }
    }
}

/// Reads every file in pieces of odd sizes, and compares with reading it whole.
pub(crate) fn assert_pieces(tree: &dyn FileTree, paths: &[&str]) {
    for path in paths {
        let reached = tree.lookup_many(tree.root(), &[karat::model::ImagePath::new(path)]);
        let step = reached[0].steps.last().unwrap_or_else(|| panic!("{path}"));
        let content = tree.open(step.node).unwrap();
        let all = whole(&*content).unwrap();
        let mut seed: u64 = 3;
        for _ in 0..60 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let start = (seed >> 33) as usize % (all.len() + 1);
            let len = ((seed >> 20) as usize % 70_000).min(all.len() - start);
            let mut part = vec![0; len];
            content.read_exact_at(start as u64, &mut part).unwrap();
            assert_eq!(part, all[start..start + len], "{path}: {start}+{len}");
        }
        assert!(content.read_exact_at(all.len() as u64, &mut [0]).is_err());
        assert!(content.read_exact_at(u64::MAX, &mut [0]).is_err());
    }
}

/// Flips bytes of an image, and cuts it off: whatever is read of it, it ends.
pub(crate) fn assert_damage_ends(
    image: &[u8],
    turns: u64,
    open: &dyn Fn(Vec<u8>) -> Result<Box<dyn FileTree>>,
) {
    let mut seed: u64 = 11;
    let mut next = move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 32) as usize
    };
    for turn in 0..turns {
        let mut broken = image.to_vec();
        for _ in 0..1 + turn % 12 {
            let at = next() % broken.len();
            broken[at] = if turn % 2 == 0 { broken[at] ^ (1 << (next() % 8)) } else { next() as u8 };
        }
        if let Ok(tree) = open(broken) {
            walk(&*tree);
        }
    }
    for turn in 0..turns / 4 {
        let mut broken = image.to_vec();
        broken.truncate(if turn < 40 { turn as usize * 32 } else { next() % image.len() });
        if let Ok(tree) = open(broken) {
            walk(&*tree);
        }
    }
}

fn noise(len: usize, seed: u32) -> Vec<u8> {
    let mut state = seed;
    let mut byte = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..len).map(|_| byte()).collect()
}

fn words(len: usize) -> Vec<u8> {
    let bytes = noise(len / 5 + 1, 5);
    let mut text: Vec<u8> =
        bytes.iter().flat_map(|byte| format!("w{:03} ", byte % 97).into_bytes()).collect();
    text.truncate(len);
    text
}

/// Makes a folder with what file systems have several forms for: files around the sizes of blocks, with holes, that
/// do and do not compress; a directory of 2,000 names; deep ones; links of both kinds.
pub(crate) fn fill(root: &Path) {
    use std::fs;
    for folder in ["etc", "usr/lib", "many", "var/empty", "sizes", "some"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    fs::write(root.join("usr/lib/os-release"), "ID=fixture\nVERSION_ID=1\n").unwrap();
    std::os::unix::fs::symlink("../usr/lib/os-release", root.join("etc/os-release")).unwrap();
    fs::hard_link(root.join("usr/lib/os-release"), root.join("usr/lib/os-release.again")).unwrap();
    std::os::unix::fs::symlink("long/".repeat(200), root.join("etc/long-link")).unwrap();
    std::os::unix::fs::symlink("x".repeat(4000), root.join("etc/longest-link")).unwrap();
    for n in 0..2000_u32 {
        let path = root.join(format!("many/a-name-of-some-length-{:05}", n * 7919 % 2000));
        match n % 4 {
            0 => fs::write(path, format!("{n}\n")).unwrap(),
            1 => fs::write(path, "").unwrap(),
            _ => fs::hard_link(root.join("usr/lib/os-release"), path).unwrap(),
        }
    }
    for n in 0..300 {
        fs::write(root.join(format!("some/{}", "n".repeat(1 + n % 250) + &n.to_string())), words(n * 17))
            .unwrap();
    }
    let deep = root.join("deep").join("level/".repeat(50));
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("bottom"), "at the bottom").unwrap();
    for block in [512, 1024, 4096, 8192, 65536, 131_072] {
        for (what, size) in
            [("below", block - 1), ("equal", block), ("above", block + 1), ("twice", block * 2)]
        {
            fs::write(root.join(format!("sizes/{block}-{what}")), words(size)).unwrap();
            fs::write(root.join(format!("sizes/{block}-{what}-noise")), noise(size, block as u32)).unwrap();
        }
    }
    let text = words(900_000);
    fs::write(root.join("usr/lib/words"), &text).unwrap();
    fs::write(root.join("usr/lib/words.again"), [&noise(777, 1)[..], &text[3000..]].concat()).unwrap();
    fs::write(root.join("usr/lib/noise"), noise(200_000, 9)).unwrap();
    let mixed: Vec<u8> = (0..16)
        .flat_map(|n| if n % 2 == 0 { noise(9000 + n * 100, n as u32) } else { words(20_000) })
        .collect();
    fs::write(root.join("usr/lib/mixed"), mixed).unwrap();
    fs::write(root.join("usr/lib/zeros"), vec![0; 1_000_000]).unwrap();
    let mut holes = vec![0; 3_000_000];
    for at in (0..3_000_000).step_by(400_000) {
        holes[at..at + 5000].copy_from_slice(&noise(5000, at as u32));
    }
    fs::write(root.join("usr/lib/holes"), holes).unwrap();
    fs::write(root.join("etc/ümläut"), "umlaut").unwrap();
    fs::set_permissions(root.join("usr/lib/noise"), fs::Permissions::from_mode(0o4755)).unwrap();
    fs::set_permissions(root.join("var/empty"), fs::Permissions::from_mode(0o1777)).unwrap();
    assert!(Command::new("mkfifo").arg(root.join("etc/fifo")).status().unwrap().success());
}
