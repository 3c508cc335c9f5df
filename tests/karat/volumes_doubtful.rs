//! Volumes that are not what a table or one magic says, against what sfdisk, blkid, mdadm and dumpe2fs say.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use karat::bytes::ReadAt;
use karat::limits::Limits;
use karat::volume::{Found, FoundKind, FsKind, Layout, Role, Table, behind, probe_all, volumes};

use crate::making::noise;
use crate::tools::tool;
use crate::volumes::{as_sfdisk_says, empty, group, ours, run};

const MIB: usize = 1 << 20;
const LINUX: &str = "0FC63DAF-8483-4772-8E79-3D69D8477DE4";

fn layout(disk: &[u8]) -> Layout {
    let disk: Arc<dyn ReadAt> = Arc::new(disk.to_vec());
    volumes(&disk, &Limits::default()).unwrap()
}

/// A disk of 64 MiB with the partitions of a script for sfdisk.
fn disk(folder: &Path, script: &str) -> (String, Vec<u8>) {
    let file = empty(&folder.join("disk"), 64 << 20);
    run("sfdisk", &["-q", &file], script);
    let disk = fs::read(&file).unwrap();
    (file, disk)
}

/// An ext4 of so many MiB with blocks of 1 KiB, so that there is a copy of its superblock after 8 MiB and 1 KiB.
fn ext4(folder: &Path, mib: u64) -> Vec<u8> {
    let file = empty(&folder.join("ext4"), mib << 20);
    run("mke2fs", &["-q", "-t", "ext4", "-b", "1024", &file], "");
    fs::read(file).unwrap()
}

fn put(disk: &mut [u8], at: usize, bytes: &[u8]) {
    disk[at..at + bytes.len()].copy_from_slice(bytes);
}

fn has_tools(names: &[&str]) -> bool {
    names.iter().all(|name| tool(name).is_some())
}

fn found(layout: &Layout) -> Vec<Found> {
    layout.rest.iter().filter_map(|rest| rest.found).collect()
}

#[test]
fn what_begins_in_no_volume_is_found() {
    if !has_tools(&["sfdisk", "mke2fs"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (_, empty) = disk(folder.path(), &format!("label: gpt\nsize=8M,type={LINUX}\n"));
    assert_eq!(found(&layout(&empty)), []);
    let volume = ext4(folder.path(), 16);
    let mut limits = Limits::default();
    for (at, what) in [(9 * MIB, FsKind::Ext4), (20 * MIB + 7 * 512, FsKind::Ext4), (40 * MIB, FsKind::Ext4)]
    {
        let mut disk = empty.clone();
        put(&mut disk, at, &volume);
        let want = Found { at: at as u64, what: FoundKind::Content(what) };
        assert_eq!(found(&layout(&disk)), [want]);
        // What is left of it, with the copy of its superblock, is not.
        disk[at..at + 4 * MIB].fill(0);
        assert_eq!(found(&layout(&disk)), [], "{at}");
    }
    // Far behind, where partitions are aligned.
    limits.set("blank_bytes", 1 << 20).unwrap();
    for (at, is_found) in [(20 * MIB, true), (20 * MIB + 7 * 512, false)] {
        let mut disk = empty.clone();
        put(&mut disk, at, &volume);
        let disk: Arc<dyn ReadAt> = Arc::new(disk);
        assert_eq!(!found(&volumes(&disk, &limits).unwrap()).is_empty(), is_found);
    }
    let cut: Arc<dyn ReadAt> = Arc::new(empty[..(33 << 20) + 512].to_vec());
    assert!(volumes(&cut, &limits).is_ok());
    // Other magics, near and far from where they begin.
    for (offset, magic, kind) in [
        (0, &b"LUKS\xba\xbe\x00\x02"[..], FsKind::Luks2),
        (32769, b"CD001", FsKind::Unknown),
        (1024, b"\x53\xef", FsKind::Unknown),
    ] {
        let mut disk = empty.clone();
        put(&mut disk, 20 * MIB + offset, magic);
        let told = found(&layout(&disk));
        assert_eq!(
            told.first().map(|found| found.what),
            match kind {
                FsKind::Unknown => None,
                kind => Some(FoundKind::Content(kind)),
            }
        );
    }
    // A whole disk in a range, and behind the end of a file system.
    let mut disk = empty.clone();
    put(&mut disk, 20 * MIB, &empty[..MIB]);
    assert_eq!(found(&layout(&disk)), [Found { at: (20 * MIB) as u64, what: FoundKind::Table }]);
    let twice: Arc<dyn ReadAt> = Arc::new([&volume[..], &[1; 1000], &vec![0; MIB - 1000], &volume].concat());
    let (_, kind, found) = behind(&twice, 16 << 20..twice.size_bytes(), &Limits::default()).unwrap();
    let want = Found { at: 17 << 20, what: FoundKind::Content(FsKind::Ext4) };
    assert_eq!((kind, found), (FsKind::Unknown, Some(want)));
}

#[test]
fn partitions_of_a_boot_record_are_those_that_sfdisk_lists() {
    if tool("sfdisk").is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (file, mut disk) = disk(
        folder.path(),
        "label: dos\ndisk1 : size=8M,type=83\ndisk2 : size=8M,type=83\n\
         disk3 : size=24M,type=5\ndisk5 : size=4M,type=83\n",
    );
    // Of type 0, with sectors.
    disk[446 + 16 + 4] = 0;
    // The partition of a record of logical ones in its third entry: it counts from there.
    let record = 17 * MIB;
    let (first, third) = (record + 446, record + 446 + 32);
    let entry = disk[first..first + 16].to_vec();
    put(&mut disk, third, &entry);
    disk[first..first + 16].fill(0);
    fs::write(&file, &disk).unwrap();
    let want = as_sfdisk_says(&file);
    assert_eq!(want.iter().map(|row| row.0).collect::<Vec<_>>(), [1, 2, 5], "{want:?}");
    assert_eq!(ours(&layout(&disk)), want);
    // Two in one record: Linux takes both, sfdisk says that it ignores the second.
    put(&mut disk, first, &entry);
    put(&mut disk, third + 8, &16384u32.to_le_bytes());
    let found = ours(&layout(&disk));
    let rows: Vec<_> = found[2..].iter().map(|row| (row.0, row.1, row.2)).collect();
    assert_eq!(rows, [(5, 18 << 20, 4 << 20), (6, 25 << 20, 4 << 20)]);
    // One that is not inside of its record is none.
    put(&mut disk, third + 12, &65536u32.to_le_bytes());
    assert_eq!(ours(&layout(&disk)).len(), 3);
}

#[test]
fn a_gpt_that_no_boot_record_names_is_not_used() {
    if !has_tools(&["sfdisk", "mke2fs"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (_, dos) = disk(folder.path(), "label: dos\nstart=20M,size=16M,type=83\n");
    let (file, mut disk) = disk(folder.path(), &format!("label: gpt\nsize=16M,type={LINUX}\n"));
    let volume = ext4(folder.path(), 16);
    put(&mut disk, MIB, &volume);
    put(&mut disk, 0, &dos[..512]);
    put(&mut disk, 20 * MIB, &volume);
    fs::write(&file, &disk).unwrap();
    let layout = layout(&disk);
    assert_eq!(layout.table, Table::Mbr);
    assert_eq!(ours(&layout), as_sfdisk_says(&file));
    assert!(layout.notes[0].starts_with("a GPT that the boot record does not name"), "{:?}", layout.notes);
    assert_eq!(found(&layout)[0], Found { at: 1 << 20, what: FoundKind::Content(FsKind::Ext4) });
}

#[test]
fn tables_that_do_not_agree_are_a_problem() {
    if tool("sfdisk").is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (file, one) = disk(folder.path(), &format!("label: gpt\nsize=8M,type={LINUX}\n"));
    run("sfdisk", &["-q", "--append", &file], &format!("size=8M,type={LINUX}\n"));
    let two = fs::read(&file).unwrap();
    for (primary, backup, place) in [(&one, &two, "only in the backup"), (&two, &one, "only in the primary")]
    {
        let mut disk = primary.clone();
        let tail = disk.len() - 33 * 512;
        put(&mut disk, tail, &backup[tail..]);
        let layout = layout(&disk);
        let told = layout.problems[0].to_string();
        assert!(told.contains("partition 2, bytes 9437184 to 17825792") && told.contains(place), "{told}");
    }
    assert!(layout(&two).problems.is_empty());
}

#[test]
fn what_a_type_says_is_held_against_the_content() {
    if !has_tools(&["sfdisk", "mke2fs", "mkswap"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let swap = {
        let file = empty(&folder.path().join("swap"), 8 << 20);
        run("mkswap", &["-q", &file], "");
        fs::read(file).unwrap()
    };
    let (_, table) = disk(folder.path(), &format!("label: gpt\nsize=8M,type={LINUX}\n"));
    let volume = ext4(folder.path(), 8);
    let headless = {
        let mut volume = volume.clone();
        volume[1024..2048].fill(0);
        volume
    };
    let core = [&b"RV\xbe\x1b\x81\xe8"[..], &noise(100_000)].concat();
    let in_disk = {
        let mut disk = table[..8 * MIB].to_vec();
        disk.truncate(8 * MIB);
        disk
    };
    const BIOS: &str = "21686148-6449-6E6F-744E-656564454649";
    const SWAP: &str = "0657FD6D-A4AB-43C4-84E5-0933C84B4F4F";
    const RESERVED: &str = "E3C9E316-0B5C-4DB8-817D-F92DF00215AE";
    const ESP: &str = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B";
    for (kind, content, want) in [
        (BIOS, &core[..], Ok("boot loader")),
        (BIOS, &[], Ok("boot loader")),
        (BIOS, b"another loader", Err("no known content")),
        (BIOS, &noise(7 * MIB), Err("noise")),
        (BIOS, &in_disk, Err("a partition table inside")),
        (BIOS, &headless, Err("no known content")),
        (BIOS, &[&core[..], &vec![0; 4 * MIB], b"more"].concat(), Err("no known content")),
        (SWAP, &swap, Ok("swap")),
        (SWAP, &[], Ok("swap")),
        (SWAP, &noise(7 * MIB), Err("noise")),
        (SWAP, &headless, Err("no known content")),
        (RESERVED, &[], Ok("reserved by Windows")),
        (RESERVED, b"something", Err("no known content")),
        (ESP, &noise(7 * MIB), Err("noise")),
    ] {
        let (_, mut disk) = disk(folder.path(), &format!("label: gpt\nsize=8M,type={kind}\n"));
        put(&mut disk, MIB, content);
        let layout = layout(&disk);
        match (&layout.volumes[0].role, want) {
            (Role::NoSoftware(said), Ok(want)) => assert_eq!(*said, want),
            (Role::Unreadable(why), Err(want)) => assert!(why.contains(want), "{why}: {want}"),
            (role, want) => panic!("{kind} {want:?}: {role:?}"),
        }
    }
    // A file system is read whatever its type says.
    let (_, mut disk) = disk(folder.path(), &format!("label: gpt\nsize=8M,type={BIOS}\n"));
    put(&mut disk, MIB, &volume);
    assert_eq!(layout(&disk).volumes[0].role, Role::Candidate);
}

#[test]
fn two_superblocks_are_as_ambiguous_as_blkid_finds_them() {
    if !has_tools(&["mke2fs", "mkfs.vfat", "blkid"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let volume = ext4(folder.path(), 16);
    let fat = {
        let file = empty(&folder.path().join("fat"), 16 << 20);
        run("mkfs.vfat", &["-F", "16", "-R", "16", &file], "");
        fs::read(file).unwrap()
    };
    let is_ambivalent = |bytes: &[u8]| {
        let path = folder.path().join("volume");
        fs::write(&path, bytes).unwrap();
        Command::new("blkid").arg("-p").arg(&path).output().unwrap().status.code() == Some(8)
    };
    let kinds = |volume: &[u8]| -> Vec<FsKind> {
        probe_all(&volume.to_vec()).unwrap().into_iter().map(|probed| probed.kind).collect()
    };
    assert_eq!(kinds(&volume), [FsKind::Ext4]);
    assert!(!is_ambivalent(&volume));
    let mut both = fat.clone();
    put(&mut both, 1024, &volume[1024..2048]);
    assert!(is_ambivalent(&both));
    assert_eq!(kinds(&both), [FsKind::Fat, FsKind::Ext4]);
    let Role::Unreadable(why) = layout(&both).volumes[0].role.clone() else { panic!("it is read") };
    assert!(why.starts_with("ambiguous: it has the superblocks of FAT and of ext4"), "{why}");
    // The head of a FAT without its table is left over from one.
    let mut left = volume.clone();
    put(&mut left, 0, &fat[..512]);
    assert_eq!(kinds(&left), [FsKind::Ext4]);
    let layout = layout(&left);
    assert_eq!((layout.volumes[0].probed.kind, &layout.volumes[0].role), (FsKind::Ext4, &Role::Candidate));
}

#[test]
fn a_physical_volume_inside_of_a_logical_one_is_not_passed() {
    let mut disk = group(&["pv1", "pv2"]);
    let found = layout(&disk);
    let root = &found.volumes[2];
    let (at, head) = (root.ranges[0].start as usize, disk[MIB..MIB + 8192].to_vec());
    put(&mut disk, at, &head);
    let found = layout(&disk);
    let want = "a LVM2 physical volume inside of a logical volume: not opened";
    assert_eq!(found.volumes[2].role, Role::Unreadable(want.to_owned()));
}

/// A member of a raid1 with superblock 1.2, that has counted so many events and has this role.
fn member(events: u64, role: u16, content: &[u8]) -> Vec<u8> {
    let mut block = [0; 1024];
    let numbers: [(usize, u64); 7] =
        [(80, 28_672), (128, 2048), (136, 28_672), (144, 8), (200, events), (208, u64::MAX), (16, 7)];
    for (at, number) in numbers {
        put(&mut block, at, &number.to_le_bytes());
    }
    for (at, number) in [(0, 0xa92b_4efc_u32), (4, 1), (72, 1), (92, 2), (220, 2)] {
        put(&mut block, at, &number.to_le_bytes());
    }
    put(&mut block, 256, &role.to_le_bytes());
    let word = |word: &[u8]| u64::from(u32::from_le_bytes(word.try_into().unwrap()));
    let sum: u64 = block[..260].chunks(4).map(word).sum();
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    put(&mut block, 216, &(sum as u32).to_le_bytes());
    let mut volume = vec![0; 16 * MIB];
    put(&mut volume, 4096, &block);
    put(&mut volume, MIB, content);
    volume
}

#[test]
fn the_newest_member_of_a_mirror_is_read() {
    if !has_tools(&["mdadm", "sfdisk"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("member");
    fs::write(&path, member(11, 0, b"")).unwrap();
    let said = run("mdadm", &["--examine", path.to_str().unwrap()], "");
    assert!(said.contains("Events : 11") && said.contains("Active device 0"), "{said}");
    fs::write(&path, member(11, 0xffff, b"")).unwrap();
    assert!(run("mdadm", &["--examine", path.to_str().unwrap()], "").contains("Device Role : spare"));

    let (_, empty) =
        disk(folder.path(), &format!("label: gpt\nsize=16M,type={LINUX}\nsize=16M,type={LINUX}\n"));
    let (old, new, spare) = (member(9, 0, b"hsqs"), member(11, 0, b"XFSB"), member(12, 0xffff, b"hsqs"));
    for (first, second, place, note) in [
        (&old, &new, "array in partition 2", Some("partition 1: an old member of an array")),
        (&new, &old, "array in partition 1", Some("partition 2: an old member of an array")),
        (&new, &new, "array in partition 1", None),
        (&spare, &new, "array in partition 2", Some("partition 1: a spare or failed member")),
    ] {
        let mut disk = empty.clone();
        put(&mut disk, MIB, first);
        put(&mut disk, 17 * MIB, second);
        let layout = layout(&disk);
        let arrays: Vec<_> = layout.volumes[2..].iter().map(|volume| volume.place.as_str()).collect();
        assert_eq!(arrays, [place]);
        assert_eq!(layout.volumes[2].probed.kind, FsKind::Xfs);
        assert_eq!(layout.notes.len(), usize::from(note.is_some()));
        assert!(note.is_none_or(|note| layout.notes[0].starts_with(note)), "{:?}", layout.notes);
    }
}
