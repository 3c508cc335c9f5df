//! squashfs: what mksquashfs packed is what was packed, and what unsquashfs shows; broken ones are refused.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;

use karat::Result;
use karat::limits::Limits;
use karat::tree::{BlockCache, FileTree, FsKind, Squashfs};

use crate::tools::tool;
use crate::tree_walk::{
    assert_damage_ends, assert_found, assert_pieces, assert_same, fill, host, listed, packed,
};

const FIXTURES: [&str; 7] = ["gzip-4k", "lzma", "lzo", "xz-bcj", "lz4", "zstd", "plain"];

fn open(image: Vec<u8>) -> Result<Box<dyn FileTree>> {
    let limits = Arc::new(Limits::default());
    Ok(Box::new(Squashfs::open(BlockCache::new(&limits).reader(Arc::new(image)), limits)?))
}

#[test]
fn fixtures_show_what_was_packed() {
    let expected = listed(&packed("expected.tsv"));
    for name in FIXTURES {
        let tree = open(packed(&format!("{name}.sqfs"))).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_same(&*tree, &expected, name);
        assert_found(&*tree, &expected, name);
        assert_pieces(&*tree, &["usr/lib/words", "usr/lib/holes", "usr/lib/tail"]);
        assert_eq!(tree.identity().kind, FsKind::Squashfs);
    }
}

#[test]
fn everything_that_mksquashfs_can_write_is_read() {
    let (Some(mksquashfs), Some(unsquashfs)) = (tool("mksquashfs"), tool("unsquashfs")) else { return };
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    std::fs::create_dir(&source).unwrap();
    fill(&source);
    let expected = host(&source);
    for options in [
        "-comp gzip",
        "-comp gzip -b 4096 -Xwindow-size 8 -Xcompression-level 1",
        "-comp gzip -b 1M -no-fragments",
        "-comp gzip -b 8K -always-use-fragments -no-duplicates -no-exports",
        "-comp lzma -b 64K",
        "-comp lzo -b 16K",
        "-comp lzo -Xalgorithm lzo1x_1",
        "-comp xz -b 256K -Xbcj x86,powerpc",
        "-comp xz -Xdict-size 25%",
        "-comp lz4",
        "-comp lz4 -Xhc -b 32K -tailends",
        "-comp zstd -Xcompression-level 9 -b 1M",
        "-comp zstd -noI -noF",
        "-comp zstd -noI -noD -noF -noX -nopad",
        "-comp zstd -no-sparse -noD -no-hardlinks -no-xattrs",
    ] {
        let image = folder.path().join("image");
        let made = Command::new(&mksquashfs)
            .args([&source, &image])
            .args(["-noappend", "-quiet", "-no-progress"])
            .args(options.split(' '))
            .output()
            .unwrap();
        assert!(made.status.success(), "{options}: {}", String::from_utf8_lossy(&made.stderr));
        let bytes = std::fs::read(&image).unwrap();
        let tree = open(bytes.clone()).unwrap_or_else(|error| panic!("{options}: {error}"));
        assert_same(&*tree, &expected, options);
        assert_found(&*tree, &expected, options);
        assert_pieces(&*tree, &["usr/lib/words", "usr/lib/holes", "usr/lib/mixed", "sizes/4096-above"]);
        if options == "-comp lzo -b 16K" {
            // Names, kinds and sizes as the format's own tool tells them.
            let said = Command::new(&unsquashfs).arg("-lls").arg(&image).output().unwrap();
            assert_eq!(shown(&said.stdout), in_short(&expected));
        }
    }
}

/// Kind and size by path of what `unsquashfs -lls` prints.
fn shown(text: &[u8]) -> BTreeMap<String, String> {
    let text = String::from_utf8_lossy(text);
    let rows = text.lines().filter_map(|line| {
        let (before, path) = line.split_once(" squashfs-root/")?;
        let columns: Vec<&str> = before.split_whitespace().collect();
        let kind = columns[0].chars().next()?;
        let size = if matches!(kind, '-' | 'l') { columns[2] } else { "0" };
        Some((path.split(" -> ").next()?.to_owned(), format!("{kind} {size}")))
    });
    rows.collect()
}

fn in_short(rows: &crate::tree_walk::Rows) -> BTreeMap<String, String> {
    let rows = rows.iter().map(|(path, row)| {
        let columns: Vec<&str> = row.split('\t').collect();
        let kind = match columns[0] {
            "file" => '-',
            "directory" => 'd',
            "symlink" => 'l',
            _ => 'p',
        };
        (String::from_utf8_lossy(path).into_owned(), format!("{kind} {}", columns[2]))
    });
    rows.collect()
}

#[test]
fn any_damage_ends() {
    for name in FIXTURES {
        assert_damage_ends(&packed(&format!("{name}.sqfs")), 120, &open);
    }
}

#[test]
fn other_versions_and_broken_superblocks_are_refused_by_name() {
    let image = packed("zstd.sqfs");
    let cases: [(&str, usize, &[u8]); 12] = [
        ("squashfs superblock: magic at byte 0x0", 0, b"x"),
        ("not read by this version: squashfs 3.1", 28, &[3, 0, 1, 0]),
        ("not read by this version: squashfs 4.1", 30, &[1]),
        ("not read by this version: squashfs as vendors patched it", 0, b"shsq"),
        ("not read by this version: squashfs compressor 9", 20, &[9]),
        ("squashfs superblock: block_size at byte 0xc", 12, &[1]),
        ("squashfs superblock: block_log at byte 0x16", 22, &[9]),
        ("squashfs superblock: bytes_used at byte 0x28", 40, &[0xff; 4]),
        ("squashfs superblock: inode_table_start at byte 0x40", 64, &[0xff; 4]),
        ("squashfs superblock: directory_table_start at byte 0x48", 72, &[1, 0, 0, 0]),
        ("squashfs superblock: fragment_table_start at byte 0x50", 80, &[0xff; 8]),
        ("root directory: inode 0xffffffffffff: squashfs reference: place", 32, &[0xff; 6]),
    ];
    for (expected, at, bytes) in cases {
        let mut broken = image.clone();
        broken[at..at + bytes.len()].copy_from_slice(bytes);
        let found = open(broken).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(found.starts_with(expected), "{expected}: {found}");
    }
    let mut swapped = image.clone();
    swapped[..4].copy_from_slice(b"sqsh");
    swapped[28..32].copy_from_slice(&[0, 3, 0, 0]);
    let found = open(swapped).err().map(|error| error.to_string()).unwrap_or_default();
    assert_eq!(found, "not read by this version: squashfs 3.0 of a big-endian machine");
}
