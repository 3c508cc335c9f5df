//! The tar reader against the `tar` crate, GNU tar, and archives that are cut, flipped or against the rules.

use std::fs;
use std::io::{BufReader, Read as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;
use std::process::Command;

use karat::archive::tar::{End, Layout, MemberKind, SparseContent, TarReader};
use karat::bytes::{Reader, read_all};
use karat::error::Result;
use karat::limits::Limits;
use karat::model::ImagePath;

use crate::making::{has_tool, noise, tar_of};

/// A member with its content.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Whole {
    path: Vec<u8>,
    kind: MemberKind,
    link: Vec<u8>,
    mode: u32,
    content: Vec<u8>,
}

/// Everything in an archive, read through buffers of this size.
fn read_with(archive: &[u8], buffer: usize, limits: &Limits) -> Result<(Vec<Whole>, Option<End>)> {
    let mut reader = TarReader::new(BufReader::with_capacity(buffer, archive), limits);
    let mut all = Vec::new();
    while let Some(member) = reader.next_member()? {
        let mut stored = Vec::new();
        if member.kind == MemberKind::File {
            loop {
                let here = reader.fill_data()?;
                let len = here.len();
                stored.extend_from_slice(here);
                reader.consume_data(len);
                if len == 0 {
                    break;
                }
            }
        }
        let content = match member.layout {
            Layout::Plain => stored,
            Layout::Sparse(map) => {
                read_all(&SparseContent { stored: &stored, map: &map }, limits.spool_file_bytes)?
            }
            Layout::Unreadable(error) => return Err(error),
        };
        let (path, link) = (member.path, member.link);
        all.push(Whole { path, kind: member.kind, link, mode: member.mode, content });
    }
    let end = reader.end();
    Ok((all, end))
}

fn read(archive: &[u8]) -> Result<(Vec<Whole>, Option<End>)> {
    let whole = read_with(archive, 8192, &Limits::default());
    let pieces = read_with(archive, 7, &Limits::default());
    match (&whole, &pieces) {
        (Ok(whole), Ok(pieces)) => assert_eq!(whole, pieces),
        (Err(whole), Err(pieces)) => assert_eq!(whole.to_string(), pieces.to_string()),
        _ => panic!("{whole:?} {pieces:?}"),
    }
    whole
}

#[test]
fn members_are_those_of_the_tar_crate() {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o4755);
    for (name, len) in [("short".to_owned(), 0), ("n".repeat(100), 511), ("d/".repeat(150) + "f", 513)] {
        header.set_entry_type(tar::EntryType::Regular);
        header.set_size(len);
        builder.append_data(&mut header, &name, &noise(len as usize)[..]).unwrap();
        header.set_size(0);
        header.set_entry_type(tar::EntryType::Symlink);
        builder.append_link(&mut header, format!("{name}.s"), "t".repeat(name.len())).unwrap();
        header.set_entry_type(tar::EntryType::Link);
        builder.append_link(&mut header, format!("{name}.h"), &name).unwrap();
    }
    for (kind, name) in [
        (tar::EntryType::Fifo, "fifo"),
        (tar::EntryType::Char, "char"),
        (tar::EntryType::Block, "block"),
        (tar::EntryType::Directory, "dir/"),
        (tar::EntryType::Continuous, "contiguous"),
    ] {
        header.set_entry_type(kind);
        builder.append_data(&mut header, name, &[][..]).unwrap();
    }
    builder.append_pax_extensions([("path", "p/".repeat(300).as_bytes()), ("mtime", b"1.5")]).unwrap();
    header.set_entry_type(tar::EntryType::Directory);
    builder.append_data(&mut header, "replaced", &[][..]).unwrap();
    let archive = builder.into_inner().unwrap();

    let mut want = Vec::new();
    for entry in tar::Archive::new(&archive[..]).entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        let kind = match entry.header().entry_type() {
            tar::EntryType::Regular | tar::EntryType::Continuous => MemberKind::File,
            tar::EntryType::Symlink => MemberKind::Symlink,
            tar::EntryType::Link => MemberKind::HardLink,
            tar::EntryType::Directory => MemberKind::Directory,
            tar::EntryType::Fifo => MemberKind::Fifo,
            _ => MemberKind::Device,
        };
        let link = entry.link_name_bytes().map(|link| link.into_owned()).unwrap_or_default();
        let mode = entry.header().mode().unwrap();
        want.push(Whole { path: entry.path_bytes().into_owned(), kind, link, mode, content });
    }
    assert_eq!(want.len(), 15);
    assert_eq!(read(&archive).unwrap(), (want, Some(End::Zeros)));
}

/// A tree with what real trees have; long names only where the format can hold them.
fn make_tree(root: &Path, long: bool) {
    fs::create_dir_all(root.join("dir/below")).unwrap();
    fs::write(root.join("empty"), "").unwrap();
    fs::write(root.join("dir/below/block"), noise(512)).unwrap();
    fs::write(root.join("dir/large"), noise(300_001)).unwrap();
    fs::write(root.join(std::ffi::OsString::from_vec(b"latin-\xe4\xf6 \n\\x".to_vec())), "x").unwrap();
    std::os::unix::fs::symlink("../etc/passwd", root.join("dir/link")).unwrap();
    fs::hard_link(root.join("dir/large"), root.join("hard")).unwrap();
    assert!(Command::new("mkfifo").arg(root.join("fifo")).status().unwrap().success());
    for (name, size, pieces) in [
        ("holes", 3_000_000, vec![4096, 1_000_000, 2_990_000]),
        ("hole-at-end", 500_000, vec![0]),
        ("only-a-hole", 1_000_000, vec![]),
        ("many-holes", 8_000_000, (0..60).map(|i| i * 131_072).collect::<Vec<u64>>()),
    ] {
        let file = fs::File::create(root.join(name)).unwrap();
        file.set_len(size).unwrap();
        for at in pieces {
            file.write_all_at(&noise(5000), at).unwrap();
        }
    }
    if long {
        let deep = root.join(format!("{}/{}", "a".repeat(120), "b".repeat(200)));
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join("c".repeat(250)), "deep").unwrap();
        std::os::unix::fs::symlink("l".repeat(400), root.join("long-link")).unwrap();
    }
}

#[test]
fn all_formats_of_gnu_tar_are_read() {
    if !has_tool("tar") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    for (format, options, long) in [
        ("v7", &[][..], false),
        ("ustar", &[], false),
        ("oldgnu", &["-S"], true),
        ("gnu", &["-S"], true),
        ("gnu", &[], true),
        ("pax", &[], true),
        ("pax", &["-S", "--sparse-version=0.0"], true),
        ("pax", &["-S", "--sparse-version=0.1"], true),
        ("pax", &["-S", "--sparse-version=1.0"], true),
    ] {
        let root = directory.path().join(if long { "long" } else { "short" });
        if !root.exists() {
            make_tree(&root, long);
        }
        let archive = directory.path().join("archive.tar");
        let mut tar = Command::new("tar");
        tar.args(["--sort=name", "--format", format])
            .args(options)
            .arg("-cf")
            .arg(&archive)
            .arg("-C")
            .arg(&root);
        // v7 has no pipes; tar says so and goes on.
        let is_made = tar.args(["--exclude=./fifo", "."]).status().unwrap().success();
        assert!(is_made, "{format} {options:?}");
        compare(&root, &fs::read(&archive).unwrap(), &format!("{format} {options:?}"));
    }
}

fn compare(root: &Path, archive: &[u8], what: &str) {
    let (members, end) = read_with(archive, 8192, &Limits::default()).unwrap();
    assert_eq!(end, Some(End::Zeros), "{what}");
    let count = walkdir::WalkDir::new(root).into_iter().count() - 1;
    assert_eq!(members.len(), count, "{what}");
    for member in members {
        let path = root.join(std::ffi::OsStr::from_bytes(ImagePath::new(&member.path).as_bytes()));
        let metadata = fs::symlink_metadata(&path).unwrap();
        let place = format!("{what}: {}", path.display());
        match member.kind {
            MemberKind::File => assert!(fs::read(&path).unwrap() == member.content, "{place}"),
            MemberKind::Symlink => {
                assert_eq!(fs::read_link(&path).unwrap().as_os_str().as_bytes(), member.link, "{place}");
            }
            MemberKind::HardLink => {
                let target = root.join(std::ffi::OsStr::from_bytes(ImagePath::new(&member.link).as_bytes()));
                assert_eq!(fs::metadata(target).unwrap().ino(), metadata.ino(), "{place}");
            }
            MemberKind::Directory => assert!(metadata.is_dir(), "{place}"),
            other => panic!("{place}: {other:?}"),
        }
        if member.kind != MemberKind::Symlink {
            assert_eq!(metadata.mode() & 0o7777, member.mode, "{place}");
        }
    }
}

/// A header of this kind with a right checksum.
fn header(name: &str, kind: u8, size: u64) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_path(name).unwrap();
    header.set_mode(0o644);
    header.set_size(size);
    header.set_entry_type(tar::EntryType::new(kind));
    header.set_cksum();
    header
}

/// Headers with data, padded, and two zero blocks.
fn archive(members: &[(tar::Header, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (header, data) in members {
        out.extend_from_slice(header.as_bytes());
        out.extend_from_slice(data);
        out.resize(out.len().next_multiple_of(512), 0);
    }
    out.resize(out.len() + 1024, 0);
    out
}

fn pax(records: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (key, value) in records {
        let rest = key.len() + value.len() + 3;
        let mut len = rest + 1;
        while len != rest + len.to_string().len() {
            len = rest + len.to_string().len();
        }
        out.extend_from_slice(format!("{len} {key}={value}\n").as_bytes());
    }
    out
}

fn names(archive: &[u8]) -> Vec<String> {
    let (members, _) = read(archive).unwrap();
    members.iter().map(|member| format!("{} {}", member.path.escape_ascii(), member.content.len())).collect()
}

#[test]
fn extension_headers_replace_fields() {
    let global = pax(&[("path", "from-global")]);
    let own = pax(&[("path", "own"), ("size", "3"), ("linkpath", "")]);
    let taken_back = pax(&[("path", "")]);
    let bytes = archive(&[
        (header("pax_global", b'g', global.len() as u64), &global),
        (header("one", b'0', 1), b"1"),
        (header("x", b'x', own.len() as u64), &own),
        (header("two", b'0', 0), b"123"),
        (header("x", b'x', taken_back.len() as u64), &taken_back),
        (header("three", b'0', 2), b"12"),
        (header("L", b'L', 9), b"gnu-name\0"),
        (header("four", b'0', 4), b"1234"),
    ]);
    assert_eq!(names(&bytes), ["one 1", "own 3", "three 2", "gnu-name 4"]);
}

#[test]
fn ends_are_told_apart() {
    let whole = tar_of(&[("a", b"1")]);
    let data = whole.len() - 1024;
    let behind = [&whole[..], &tar_of(&[("not-seen", b"")])].concat();
    for (bytes, end) in [
        (&whole[..], End::Zeros),
        (&behind, End::Zeros),
        (&whole[..data + 512], End::OneZero),
        (&whole[..data], End::Eof),
        // Without the padding of the last member, as umoci ends a layer.
        (&whole[..513], End::Eof),
    ] {
        let (members, found) = read(bytes).unwrap();
        assert_eq!((members.len(), found), (1, Some(end)));
    }
    assert_eq!(read(b"").unwrap(), (vec![], Some(End::Eof)));
    let lone = [&whole[..data + 512], &whole[..]].concat();
    assert!(read(&lone).unwrap_err().to_string().contains("tar: end at byte 0x400"), "{:?}", read(&lone));
}

#[test]
fn links_and_directories_have_no_data_unless_pax_says_so() {
    // Old writers give the size of the file that a hard link leads to, and no data.
    let without = archive(&[
        (header("a", b'0', 3), b"abc"),
        (header("b", b'1', 3), b""),
        (header("d", b'5', 99), b""),
        (header("s", b'2', 9), b""),
        (header("c", b'0', 1), b"c"),
    ]);
    assert_eq!(names(&without), ["a 3", "b 0", "d 0", "s 0", "c 1"]);
    let with = archive(&[
        (header("a", b'0', 600), &[b'a'; 600]),
        (header("b", b'1', 600), &[b'a'; 600]),
        (header("c", b'0', 1), b"c"),
        (header("e", b'1', 5), b"aaaaa"),
    ]);
    assert_eq!(names(&with), ["a 600", "b 0", "c 1", "e 0"]);
    // A size with nothing behind it, at the very end.
    assert_eq!(names(&archive(&[(header("b", b'1', 600), b"")])), ["b 0"]);
}

#[test]
fn old_forms_are_read() {
    let mut v7 = tar::Header::new_old();
    v7.set_path("old-dir/").unwrap();
    v7.set_mode(0o755);
    v7.set_size(0);
    v7.as_mut_bytes()[156] = 0;
    v7.set_cksum();
    // A checksum over signed bytes, as some writers made it.
    let mut signed = header("a", b'0', 1);
    signed.as_mut_bytes()[0] = 0xe4;
    signed.set_cksum();
    let sum = signed.cksum().unwrap() - 256;
    signed.as_mut_bytes()[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    // Go before 1.8 put a prefix into GNU headers.
    let mut go = tar::Header::new_gnu();
    go.set_path("name").unwrap();
    go.set_mode(0o644);
    go.set_size(0);
    go.as_mut_bytes()[345..356].copy_from_slice(b"some/prefix");
    go.set_cksum();
    let bytes = archive(&[(v7, b""), (signed, b"x"), (go, b"")]);
    let (members, _) = read(&bytes).unwrap();
    assert_eq!(members[0].kind, MemberKind::Directory);
    assert_eq!(members[1].path, b"\xe4");
    assert_eq!(members[2].path, b"some/prefix/name");
}

#[test]
fn what_breaks_the_rules_is_an_error() {
    let limits = Limits::default();
    let mut negative = header("a", b'0', 0);
    negative.as_mut_bytes()[124..136].fill(0xff);
    negative.set_cksum();
    let record = |bytes: &[u8]| {
        archive(&[(header("x", b'x', bytes.len() as u64), bytes), (header("a", b'0', 0), b"")])
    };
    let long = vec![b'a'; 2 << 20];
    let mut star = header("a", b'S', 0);
    star.set_cksum();
    for (bytes, want) in [
        (archive(&[(negative, b"")]), "tar header: size at byte 0x7c"),
        (vec![b'x'; 1024], "tar header: checksum at byte 0x0"),
        (record(b"9 path=ab\n"), "pax header: record"),
        (record(b"99999999999999999999 path=ab\n"), "pax header: record"),
        (record(b"5 ab\n"), "pax header: record"),
        (record(b"0 path=ab\n"), "pax header: record"),
        (record(b"11 path=a\0\n"), "pax header: value"),
        (record(b"10 size=-1\n"), "pax header: "),
        (record(b"11 size=-1\n"), "pax header: value"),
        (record(&pax(&[("size", "9223372036854775808")])), "pax header: value"),
        (archive(&[(header("x", b'x', 0), b"")]), "tar: member at byte 0x200: the end of the archive"),
        (archive(&[(header("L", b'L', long.len() as u64), &long)]), "limit `tar_extension_bytes`"),
        (
            archive(&[(header("L", b'L', 70_000), &long[..70_000]), (header("a", b'0', 0), b"")]),
            "limit `path_bytes`",
        ),
        (archive(&[(star, b"")]), "star"),
    ] {
        let error = read_with(&bytes, 8192, &limits).unwrap_err();
        assert!(error.to_string().contains(want), "{error} has not {want}");
    }
}

#[test]
fn sparse_maps_that_lie_cost_one_file() {
    let records = pax(&[
        ("GNU.sparse.major", "0"),
        ("GNU.sparse.minor", "1"),
        ("GNU.sparse.size", "10"),
        ("GNU.sparse.map", "4,4,0,4"),
    ]);
    let unknown = pax(&[("GNU.sparse.major", "2"), ("GNU.sparse.minor", "0"), ("GNU.sparse.realsize", "10")]);
    let stored = pax(&[("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0"), ("GNU.sparse.realsize", "10")]);
    let mut map = b"99999999999\n".to_vec();
    map.resize(512, b'1');
    for (records, data) in [(&records, &b"12345678"[..]), (&unknown, b"12"), (&stored, &map)] {
        let bytes = archive(&[
            (header("x", b'x', records.len() as u64), records),
            (header("a", b'0', data.len() as u64), data),
            (header("b", b'0', 1), b"b"),
        ]);
        let limits = Limits::default();
        let mut reader = TarReader::new(&bytes[..], &limits);
        let first = reader.next_member().unwrap().unwrap();
        assert!(matches!(first.layout, Layout::Unreadable(_)), "{first:?}");
        assert_eq!(reader.next_member().unwrap().unwrap().path, b"b");
        assert!(reader.next_member().unwrap().is_none());
    }
}

#[test]
fn cuts_and_flips_never_panic() {
    let mut archives = vec![tar_of(&[("a/", b""), ("a/b", &noise(700)), (&"n".repeat(200), b"long")])];
    let records = pax(&[
        ("path", "p"),
        ("size", "4"),
        ("GNU.sparse.major", "1"),
        ("GNU.sparse.minor", "0"),
        ("GNU.sparse.realsize", "9"),
    ]);
    let mut data = b"1\n5\n4\n".to_vec();
    data.resize(512, 0);
    data.extend_from_slice(b"data");
    let records = [records, pax(&[("size", &data.len().to_string())])].concat();
    archives
        .push(archive(&[(header("x", b'x', records.len() as u64), &records), (header("s", b'0', 0), &data)]));
    if has_tool("tar") {
        let directory = tempfile::tempdir().unwrap();
        let file = fs::File::create(directory.path().join("holes")).unwrap();
        file.set_len(600_000).unwrap();
        (0..8_u64).for_each(|i| file.write_all_at(b"data", i * 65_536).unwrap());
        for format in ["gnu", "pax"] {
            let mut tar = Command::new("tar");
            let made = tar.args(["-b1", "-S", "--format", format, "-c", "holes", "-C"]).arg(directory.path());
            let made = made.current_dir(directory.path()).output().unwrap();
            archives.push(made.stdout);
        }
    }
    let limits = Limits::default();
    for archive in archives {
        let (whole, _) = read_with(&archive, 4096, &limits).unwrap();
        for len in (0..archive.len()).filter(|len| *len < 6000 || len % 97 == 0) {
            if let Ok((members, end)) = read_with(&archive[..len], 4096, &limits) {
                assert_ne!(end, Some(End::Zeros));
                assert_eq!(members, whole[..members.len()]);
            }
        }
        for at in 0..archive.len().min(4096) {
            for flip in [1, 0x80, 0xff] {
                let mut flipped = archive.clone();
                flipped[at] ^= flip;
                let _ = read_with(&flipped, 4096, &limits);
            }
        }
    }
    // The reader over content that is read at random is the same.
    let archive = tar_of(&[("a", b"1")]);
    let mut first = [0; 512];
    Reader::new(&archive).read_exact(&mut first).unwrap();
    assert!(karat::archive::tar::looks_like_header(&first));
}
