//! erofs: what mkfs.erofs packed is what was packed, and what fsck.erofs extracts; broken ones are refused.

use std::process::Command;
use std::sync::Arc;

use karat::Result;
use karat::limits::Limits;
use karat::tree::{BlockCache, Erofs, FileTree, FsKind};

use crate::tools::tool;
use crate::tree_walk::{
    assert_damage_ends, assert_found, assert_pieces, assert_same, fill, host, listed, packed,
};

const FIXTURES: [&str; 9] = [
    "plain",
    "chunks",
    "b512",
    "compact-inline",
    "full-big",
    "lzma-fragments",
    "deflate-dedupe",
    "zstd-extents",
    "metabox",
];

fn open(image: Vec<u8>) -> Result<Box<dyn FileTree>> {
    let limits = Arc::new(Limits::default());
    Ok(Box::new(Erofs::open(BlockCache::new(&limits).reader(Arc::new(image)), limits)?))
}

#[test]
fn fixtures_show_what_was_packed() {
    let expected = listed(&packed("expected.tsv"));
    for name in FIXTURES {
        let tree = open(packed(&format!("{name}.erofs"))).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_same(&*tree, &expected, name);
        assert_found(&*tree, &expected, name);
        assert_pieces(&*tree, &["usr/lib/words", "usr/lib/holes", "usr/lib/mixed", "usr/lib/noise"]);
        let identity = tree.identity();
        assert_eq!(identity.kind, FsKind::Erofs);
        assert_eq!(identity.uuid.as_deref(), Some("0f1e2d3c-4b5a-4697-8877-665544332211"));
        assert_eq!(identity.label, b"fixture");
    }
}

/// Each with the feature that the tool may be too old for: then it is passed over.
#[test]
fn everything_that_mkfs_can_write_is_read() {
    let (Some(mkfs), Some(fsck)) = (tool("mkfs.erofs"), tool("fsck.erofs")) else { return };
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    std::fs::create_dir(&source).unwrap();
    fill(&source);
    let expected = host(&source);
    let mut read = 0;
    for options in [
        "-x-1",
        "-Enoinline_data",
        "--chunksize=8192",
        "--chunksize=4096 -Eforce-chunk-indexes",
        "-zlz4",
        "-zlz4hc -C65536",
        "-zlz4 -Elegacy-compress",
        "-zlz4hc -C32768 -Elegacy-compress",
        "-zlz4hc -Eztailpacking",
        "-zlz4hc -C16384 -Eztailpacking",
        "-zlz4hc -Eforce-inode-extended",
        "-zlz4hc -Efragments",
        "-zlz4hc -C65536 -Eall-fragments",
        "-zlz4hc -C8192 -Ededupe,fragments,ztailpacking",
        "-zlzma",
        "-zlzma,level=9,dictsize=1048576 -C262144 -Eztailpacking",
        "-zdeflate,level=9 -C65536 -Efragments",
        "-zzstd,level=15",
        "-zzstd,level=19 -C1048576 -Eall-fragments,dedupe",
        "-zlz4hc:zstd -C32768",
        "-b512 -zlz4hc",
        "-b1024 -zlzma -C8192",
        "-E48bit",
        "-E48bit --chunksize=4096",
        "-zzstd -C65536 -E48bit,fragments",
        "-zlz4 -C65536 -E48bit,dedupe",
        "-zzstd --zD=1 -C8192",
        "-zlz4hc -C65536 -m65536:lz4hc --MZ=i -Enoinline_data",
    ] {
        let image = folder.path().join("image");
        let made = Command::new(&mkfs)
            .arg("--quiet")
            .args(options.split(' '))
            .args([&image, &source])
            .output()
            .unwrap();
        // What the format's own tool does not take back is a fault of the one that made it.
        let is_whole = made.status.success()
            && Command::new(&fsck).arg("--extract").arg(&image).output().unwrap().status.success();
        if is_whole {
            let tree =
                open(std::fs::read(&image).unwrap()).unwrap_or_else(|error| panic!("{options}: {error}"));
            assert_same(&*tree, &expected, options);
            assert_found(&*tree, &expected, options);
            assert_pieces(&*tree, &["usr/lib/words", "usr/lib/holes", "usr/lib/mixed", "sizes/4096-above"]);
            read += 1;
        }
        let _ = std::fs::remove_file(&image);
    }
    assert!(read >= 8, "{read} images");
}

#[test]
fn any_damage_ends() {
    for name in FIXTURES {
        let image = packed(&format!("{name}.erofs"));
        assert_damage_ends(&image, 100, &open);
        // The same without the superblock's checksum in the way of what it says.
        let mut image = image;
        image[1024 + 8] &= !1;
        assert_damage_ends(&image[..image.len().min(24 << 10)], 60, &|broken| {
            let mut whole = image.clone();
            whole[..broken.len()].copy_from_slice(&broken);
            open(whole)
        });
    }
}

#[test]
fn a_flipped_superblock_is_known_by_its_checksum() {
    let image = packed("compact-inline.erofs");
    for at in (1024..1024 + 128).chain([1500, 4095]) {
        let mut broken = image.clone();
        broken[at] ^= 0x40;
        // But for the flag that says that there is a checksum.
        let is_refused = open(broken).is_err();
        assert!(is_refused || at == 1024 + 8, "{at}");
    }
}

#[test]
fn unknown_features_and_broken_superblocks_are_refused_by_name() {
    let mut image = packed("lzma-fragments.erofs");
    image[1024 + 8] &= !1;
    let cases: [(&str, usize, &[u8]); 10] = [
        ("erofs superblock: magic at byte 0x400", 0, b"x"),
        ("erofs superblock: blkszbits at byte 0x40c: 8", 12, &[8]),
        ("not read by this version: erofs features 0x200", 81, &[2]),
        ("not read by this version: erofs directory blocks", 90, &[1]),
        ("not read by this version: erofs compressors 0x10", 84, &[0x12]),
        ("erofs superblock: blocks at byte 0x424", 36, &[0xff; 4]),
        ("root directory: inode 65535: ", 14, &[0xff, 0xff]),
        ("erofs compressor configuration: size at byte 0x480", 128, &[0]),
        ("erofs compressor configuration: dict_size at byte 0x482", 130, &[0; 4]),
        ("not read by this version: erofs LZMA of format 1", 134, &[1]),
    ];
    for (expected, at, bytes) in cases {
        let mut broken = image.clone();
        broken[1024 + at..1024 + at + bytes.len()].copy_from_slice(bytes);
        let found = open(broken).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(found.starts_with(expected), "{expected}: {found}");
    }
}

#[test]
fn content_on_another_device_is_a_named_error() {
    let Some(mkfs) = tool("mkfs.erofs") else { return };
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    std::fs::create_dir(&source).unwrap();
    std::fs::write(source.join("file"), vec![7; 100_000]).unwrap();
    let image = folder.path().join("image");
    let mut blobs = std::ffi::OsString::from("--blobdev=");
    blobs.push(folder.path().join("blobs"));
    let made = Command::new(mkfs)
        .args(["--quiet", "--chunksize=4096"])
        .arg(blobs)
        .args([&image, &source])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let tree = open(std::fs::read(&image).unwrap()).unwrap();
    let node = tree.lookup(tree.root(), b"file").unwrap().unwrap();
    let error = tree.open(node).err().unwrap().to_string();
    assert!(error.contains("not read by this version: erofs content on another device"), "{error}");
}
