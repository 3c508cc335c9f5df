//! ISO 9660: discs that genisoimage and xorriso made show what was put in, and broken ones are refused or told.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use karat::Result;
use karat::bytes::ReadAt;
use karat::limits::Limits;
use karat::tree::{CachedReader, FileTree, Iso9660};
use karat::volume::{FsKind, Role, Table, probe, volumes};

use crate::making::{has_tool, noise};
use crate::trees_fat::{image, is_never_broken, on, rows, survives, truth};

fn iso(reader: CachedReader, limits: Arc<Limits>) -> Result<Arc<dyn FileTree>> {
    Ok(Arc::new(Iso9660::open(reader, limits)?))
}

fn refused(bytes: Vec<u8>) -> String {
    on(iso, bytes).err().map(|error| error.to_string()).unwrap_or_default()
}

const ALL: [&str; 4] = ["iso/plain", "iso/joliet", "iso/rock-ridge", "iso/rock-ridge-joliet"];

#[test]
fn discs_show_what_was_put_in() {
    for name in ALL {
        let tree = on(iso, image(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(tree.doubts().is_empty());
        let (found, expected) = (rows(&*tree), truth(name));
        for (path, row) in &expected {
            assert_eq!(found.get(path), Some(row), "{name}: {path}");
        }
        assert_eq!(found.len(), expected.len(), "{name}");
    }
}

#[test]
fn names_of_joliet_ignore_case_and_those_of_rock_ridge_do_not() {
    let joliet = on(iso, image("iso/joliet")).unwrap();
    let find = |name: &str| joliet.lookup(joliet.root(), name.as_bytes()).unwrap();
    assert!(find("efi").is_some() && find("efi") == find("EFI.") && find("MIXED.txt") == find("Mixed.Txt"));
    let rock_ridge = on(iso, image("iso/rock-ridge-joliet")).unwrap();
    assert_eq!(rock_ridge.lookup(rock_ridge.root(), b"efi").unwrap(), None);
}

#[test]
fn discs_call_themselves_as_blkid_says() {
    if !has_tool("blkid") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for name in ALL {
        let file = folder.path().join("disc");
        let bytes = image(name);
        fs::write(&file, &bytes).unwrap();
        let said = |tag: &str| {
            let output = Command::new("blkid").args(["-p", "-o", "value", "-s", tag]).arg(&file).output();
            String::from_utf8_lossy(&output.unwrap().stdout).trim_end().to_owned()
        };
        let tree = on(iso, bytes.clone()).unwrap();
        let identity = tree.identity();
        assert_eq!(identity.uuid.as_deref(), Some(&*said("UUID")), "{name}");
        assert_eq!(String::from_utf8_lossy(&identity.label), said("LABEL"), "{name}");
        let probed = probe(&bytes).unwrap();
        assert_eq!((probed.kind, probed.uuid), (FsKind::Iso9660, identity.uuid.clone()));
        assert_eq!(probed.label, Some(said("LABEL")));
    }
}

#[test]
fn unix_trees_come_back_whole() {
    if !has_tool("xorriso") || !has_tool("genisoimage") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    fs::create_dir_all(root.join("usr/lib/deep/er/and/deep/er/still/and/more/of/it")).unwrap();
    for number in 0..200 {
        let name = format!("usr/lib/a-file-with-a-name-of-some-length-{number}");
        fs::write(root.join(name), noise(number * 53)).unwrap();
    }
    fs::write(root.join("usr/lib/deep/er/and/deep/er/still/and/more/of/it/file"), "deep").unwrap();
    fs::set_permissions(root.join("usr/lib"), fs::Permissions::from_mode(0o700)).unwrap();
    symlink("../usr/lib/./x", root.join("usr/link")).unwrap();
    let disc = folder.path().join("disc");
    let path = disc.to_str().unwrap();
    for (tool, options) in [
        ("genisoimage", &["-R"][..]),
        ("genisoimage", &["-R", "-J", "-hide-rr-moved"]),
        ("genisoimage", &["-R", "-D"]),
        ("xorriso", &["-as", "mkisofs", "-R"]),
        ("xorriso", &["-as", "mkisofs", "-R", "-J", "-iso-level", "3"]),
    ] {
        let output = Command::new("timeout")
            .args(["60", tool])
            .args(options)
            .args(["-o", path])
            .arg(&root)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut found = rows(&*on(iso, fs::read(&disc).unwrap()).unwrap());
        found.retain(|path, _| !path.contains("rr_moved"));
        assert_eq!(found.len(), 214, "{tool} {options:?}");
        for (path, row) in found {
            let info = fs::symlink_metadata(root.join(&path)).unwrap();
            let mode = info.permissions().mode() & 0o7777;
            let expected = match info.is_file() {
                true => {
                    let content = fs::read(root.join(&path)).unwrap();
                    let digest = karat::model::Sha256::of(&content).hex().to_string();
                    format!("file\t{mode:o}\t{}\t{digest}", content.len())
                }
                false if info.is_dir() => format!("directory\t{mode:o}\t0\t"),
                false => "symlink\t777\t14\t../usr/lib/./x".to_owned(),
            };
            assert_eq!(row, expected, "{tool} {options:?}: {path}");
        }
    }
    // Compressed files are known, but not read.
    fs::write(root.join("usr/zeros"), vec![0; 200_000]).unwrap();
    let status = Command::new("xorriso")
        .args(["-outdev", path, "-blank", "as_needed", "-map"])
        .args([&root.join("usr").to_string_lossy(), "/usr", "-set_filter_r", "--zisofs", "/usr", "--"])
        .output()
        .unwrap();
    assert!(status.status.success(), "{}", String::from_utf8_lossy(&status.stderr));
    let (shown, _) = survives(iso, fs::read(&disc).unwrap()).unwrap();
    let gap = shown.gaps.iter().find(|gap| gap.place.ends_with("usr/zeros"));
    assert!(gap.is_some_and(|gap| gap.reason.contains("zisofs")), "{gap:?}");
}

/// The records of a disc whose names are these, in its primary tree.
fn record(bytes: &[u8], name: &[u8]) -> usize {
    let at = bytes.windows(name.len()).position(|found| found == name);
    at.unwrap_or_else(|| panic!("no {}", name.escape_ascii())) - 33
}

#[test]
fn a_file_in_several_parts_is_one() {
    let mut disc = image("iso/plain");
    // `DIR/SUB/BIG` and `README.1;1` become parts of one file: the former is 40,000 bytes and its own only file.
    let big = record(&disc, b"BIG.;1");
    let len = usize::from(disc[big]);
    let mut second = disc[big..big + len].to_vec();
    let readme = record(&disc, b"README.1;1");
    second[2..18].copy_from_slice(&disc[readme + 2..readme + 18]);
    disc[big + len..big + 2 * len].copy_from_slice(&second);
    // No whole number of blocks, as the standard wants it for all parts but the last; what is read is what is said.
    disc[big + 25] |= 0x80;
    let tree = on(iso, disc.clone()).unwrap();
    let found = rows(&*tree);
    assert!(found["dir/sub/big"].starts_with("file\t555\t40002\t"), "{found:?}");
    // A last part that is not the last.
    disc[big + len + 25] |= 0x80;
    let (shown, _) = survives(iso, disc.clone()).unwrap();
    let reasons: Vec<_> = shown.gaps.iter().map(|gap| gap.reason.as_str()).collect();
    assert!(reasons.iter().any(|reason| reason.contains("the rest of the file")), "{reasons:?}");
    assert_eq!(reasons.len(), 2, "{reasons:?}");
    // Interleaved, associated.
    disc[big + 25] &= !0x80;
    disc[big + len..big + 2 * len].fill(0);
    disc[big + 26] = 1;
    let (shown, _) = survives(iso, disc.clone()).unwrap();
    assert!(shown.gaps.iter().any(|gap| gap.reason.contains("interleaved")), "{:?}", shown.gaps);
    disc[big + 25] |= 4;
    let (shown, _) = survives(iso, disc).unwrap();
    assert!(shown.gaps.is_empty() && shown.entries.len() + 1 == truth("iso/plain").len());
}

#[test]
fn other_standards_are_refused_by_name() {
    let whole = image("iso/plain");
    let mut sierra = whole.clone();
    sierra[32768..32782].copy_from_slice(b"\0\0\0\0\0\0\0\0\x01CDROM");
    assert!(refused(sierra.clone()).contains("High Sierra"));
    assert_eq!(probe(&sierra).unwrap().kind, FsKind::HighSierra);
    let mut udf = whole.clone();
    for (sector, id) in [(16, b"BEA01"), (17, b"NSR03"), (18, b"TEA01")] {
        udf[sector * 2048..sector * 2048 + 2048].fill(0);
        udf[sector * 2048 + 1..sector * 2048 + 6].copy_from_slice(id);
    }
    assert!(refused(udf.clone()).contains("UDF"), "{}", refused(udf));
    assert_eq!(probe(&udf).unwrap().kind, FsKind::Udf);
    for (at, expected) in [
        (32768 + 128, "ISO 9660 descriptor: bytes a block at byte 0x8080: 2049 and 2048"),
        (32768 + 80, "ISO 9660 descriptor: blocks at byte 0x8050"),
        (32768 + 156 + 2, "ISO 9660 directory record: first block at byte 0x809e"),
        (32768 + 1, "ISO 9660 descriptor: type"),
    ] {
        let mut broken = whole.clone();
        broken[at] ^= 1;
        assert!(refused(broken.clone()).starts_with(expected), "{expected}: {}", refused(broken));
    }
}

#[test]
fn a_disc_with_all_its_files_in_udf_is_doubtful() {
    if !has_tool("genisoimage") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("README.TXT"), "This disc contains a UDF file system").unwrap();
    let disc = folder.path().join("disc");
    let make = || {
        let output = Command::new("genisoimage").args(["-udf", "-o"]).arg(&disc).arg(&root).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        on(iso, fs::read(&disc).unwrap())
            .unwrap()
            .doubts()
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    assert_eq!(make(), ["not read by this version: UDF, where this disc has its files"]);
    fs::create_dir(root.join("isolinux")).unwrap();
    assert!(make().is_empty());
}

#[test]
fn a_disc_that_is_also_a_disk_is_one_volume() {
    if !has_tool("xorriso") || !has_tool("mkfs.vfat") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    fs::create_dir_all(root.join("isolinux")).unwrap();
    fs::write(root.join("isolinux/isolinux.bin"), noise(4096)).unwrap();
    fs::write(folder.path().join("mbr"), &noise(440)[..432]).unwrap();
    let esp = folder.path().join("esp");
    fs::File::create(&esp).unwrap().set_len(1 << 20).unwrap();
    assert!(Command::new("mkfs.vfat").arg(&esp).output().unwrap().status.success());
    fs::copy(&esp, root.join("efi.img")).unwrap();
    let disc = folder.path().join("disc");
    let (mbr, esp) = (folder.path().join("mbr"), esp.to_str().unwrap().to_owned());
    for (options, has_gpt) in [
        (&["-eltorito-alt-boot", "-e", "efi.img", "-no-emul-boot", "-isohybrid-gpt-basdat"][..], true),
        (&["-append_partition", "2", "0xef", &esp, "-partition_offset", "16"], false),
        (&["-append_partition", "2", "0xef", &esp, "-appended_part_as_gpt"], true),
    ] {
        let output = Command::new("xorriso")
            .args(["-as", "mkisofs", "-R", "-isohybrid-mbr"])
            .arg(&mbr)
            .args([
                "-b",
                "isolinux/isolinux.bin",
                "-no-emul-boot",
                "-boot-load-size",
                "4",
                "-boot-info-table",
            ])
            .args(options)
            .args(["-o", disc.to_str().unwrap()])
            .arg(&root)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let bytes = fs::read(&disc).unwrap();
        assert_eq!(bytes[510..512], [0x55, 0xaa]);
        assert_eq!(&bytes[512..520] == b"EFI PART", has_gpt, "{options:?}");
        let disk: Arc<dyn ReadAt> = Arc::new(bytes.clone());
        let layout = volumes(&disk, &Limits::default()).unwrap();
        assert_eq!(layout.table, Table::None, "{options:?}");
        let (volume, beside) = layout.volumes.split_first().unwrap();
        // An appended ESP is told, and so is the gap that a GPT names behind it.
        let appended = if options.contains(&"-appended_part_as_gpt") { 2 } else { 0 };
        assert_eq!(beside.len(), appended, "{options:?}");
        assert!(beside.iter().all(|volume| matches!(volume.role, Role::NoSoftware(_))), "{options:?}");
        assert_eq!((volume.probed.kind, &volume.role), (FsKind::Iso9660, &Role::Candidate));
        let found = rows(&*on(iso, bytes).unwrap());
        assert!(found.contains_key("isolinux/isolinux.bin"), "{found:?}");
    }
}

#[test]
fn damage_is_told_and_never_fatal() {
    for (name, step) in
        [("iso/plain", 7), ("iso/joliet", 97), ("iso/rock-ridge", 61), ("iso/rock-ridge-joliet", 97)]
    {
        is_never_broken(iso, &image(name), step);
    }
}

#[test]
fn continuations_that_go_round_end() {
    let disc = image("iso/rock-ridge-joliet");
    // Each `CE` points at itself.
    let mut broken = disc.clone();
    let mut count = 0;
    for at in 0..disc.len() - 28 {
        if disc[at..].starts_with(b"CE\x1c\x01") {
            let (block, within) = (at / 2048, at % 2048);
            for (field, value) in [(4, block), (12, within), (20, 28)] {
                let value = u32::try_from(value).unwrap();
                broken[at + field..at + field + 4].copy_from_slice(&value.to_le_bytes());
                broken[at + field + 4..at + field + 8].copy_from_slice(&value.to_be_bytes());
            }
            count += 1;
        }
    }
    assert!(count > 2, "{count}");
    let text = match survives(iso, broken.clone()) {
        Some((shown, _)) => shown.gaps.iter().map(|gap| gap.reason.clone()).collect::<Vec<_>>().join("\n"),
        None => refused(broken),
    };
    assert!(text.contains("limit `system_use_bytes` passed"), "{text}");
}

/// Foreign discs, where they are: `KARAT_DISK_CORPUS` names a folder with `dfvfs`, `scancode` and `truth`.
#[test]
fn foreign_discs_are_listed_as_sleuthkit_does() {
    let Some(corpus) = std::env::var_os("KARAT_DISK_CORPUS") else { return };
    let corpus = Path::new(&corpus);
    let found = rows(&*on(iso, fs::read(corpus.join("dfvfs/iso9660.raw")).unwrap()).unwrap());
    let truth = fs::read_to_string(corpus.join("truth/dfvfs_iso9660.fls.tsv")).unwrap();
    let listed = truth.lines().filter(|line| line.starts_with("r/r") || line.starts_with("d/d"));
    let mut count = 0;
    for line in listed {
        let mut columns = line.split('\t');
        let (kind, path, size) =
            (columns.next().unwrap(), columns.next().unwrap().to_lowercase(), columns.next().unwrap());
        let expected =
            if kind.starts_with("r/r") { format!("file\t555\t{size}\t") } else { "directory".into() };
        assert!(found[&path].starts_with(&expected), "{path}: {}", found[&path]);
        count += 1;
    }
    assert_eq!(found.len(), count);
    let small = rows(&*on(iso, fs::read(corpus.join("scancode/small.iso")).unwrap()).unwrap());
    assert!(!small.is_empty());
}
