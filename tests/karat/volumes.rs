//! Partition tables, LVM and probing against what sfdisk, sgdisk, fdisk, blkid and lvs say.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use karat::bytes::ReadAt;
use karat::limits::Limits;
use karat::volume::{FsKind, Layout, RestState, Role, Table, probe, volumes, volumes_of_all};

use crate::mutate::fixture;
use crate::tools::tool;

fn layout(disk: &[u8]) -> karat::error::Result<Layout> {
    let disk: Arc<dyn ReadAt> = Arc::new(disk.to_vec());
    volumes(&disk, &Limits::default())
}

pub(crate) fn run(program: &str, args: &[&str], input: &str) -> String {
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A tool that wants no input may be gone before it is written.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{program} {args:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

pub(crate) fn empty(path: &Path, size_bytes: u64) -> String {
    fs::File::create(path).unwrap().set_len(size_bytes).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Number, first byte, bytes, PARTUUID and name of each partition.
pub(crate) type Row = (u32, u64, u64, String, String);

pub(crate) fn ours(layout: &Layout) -> Vec<Row> {
    let row = |volume: &karat::volume::Volume| {
        let name = volume.name.clone().unwrap_or_default();
        let uuid = volume.part_uuid.clone().unwrap_or_default();
        Some((volume.number?, volume.ranges[0].start, volume.size_bytes, uuid, name))
    };
    layout.volumes.iter().filter_map(row).collect()
}

/// What `sfdisk -J` says, without extended partitions.
pub(crate) fn as_sfdisk_says(file: &str) -> Vec<Row> {
    let json: serde_json::Value = serde_json::from_str(&run("sfdisk", &["-J", file], "")).unwrap();
    let table = &json["partitiontable"];
    let partitions = table["partitions"].as_array().unwrap();
    let rows = partitions.iter().filter(|row| row["type"] != "5" && row["type"] != "f");
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    rows.map(|row| {
        let number: u32 = text(&row["node"]).strip_prefix(file).unwrap().parse().unwrap();
        let bytes = |key: &str| row[key].as_u64().unwrap() * 512;
        let uuid = match row["uuid"].as_str() {
            Some(uuid) => uuid.to_lowercase(),
            None => format!("{}-{number:02x}", text(&table["id"]).trim_start_matches("0x")),
        };
        (number, bytes("start"), bytes("size"), uuid, text(&row["name"]))
    })
    .collect()
}

#[test]
fn gpt_is_read_as_sfdisk_reads_it_and_by_its_backup() {
    if tool("sfdisk").is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = empty(&folder.path().join("disk"), 64 << 20);
    let script = "label: gpt\nsize=1M,type=21686148-6449-6E6F-744E-656564454649,name=bios\nsize=8M,type=U\n\
                  size=16M,type=L,name=\"root fs\"\nsize=4M,type=S\n\
                  size=4M,type=E3C9E316-0B5C-4DB8-817D-F92DF00215AE\n";
    run("sfdisk", &["-q", &file], script);
    // A partition of a higher number, and one that was removed.
    run("sfdisk", &["-q", "--delete", &file, "2"], "");
    let mut disk = fs::read(&file).unwrap();
    let found = layout(&disk).unwrap();
    assert_eq!((found.table, found.sector_bytes), (Table::Gpt, 512));
    assert_eq!(ours(&found), as_sfdisk_says(&file));
    assert!(found.notes.is_empty() && found.problems.is_empty(), "{:?}", found.notes);
    let roles: Vec<_> = found.volumes.iter().map(|volume| volume.role.clone()).collect();
    assert_eq!(
        roles,
        [
            Role::NoSoftware("boot loader"),
            Role::NoSoftware("blank"),
            Role::NoSoftware("swap"),
            Role::NoSoftware("reserved by Windows")
        ]
    );
    let covered: u64 = found.rest.iter().map(|rest| rest.range.end - rest.range.start).sum();
    let partitioned: u64 = found.volumes.iter().map(|volume| volume.size_bytes).sum();
    assert_eq!(covered + partitioned, 64 << 20);
    assert!(
        found.rest.iter().all(|rest| matches!(rest.state, RestState::Blank | RestState::Tables)),
        "{:?}",
        found.rest
    );

    // Something behind the last partition is told.
    disk[60 << 20] = 1;
    let rest = layout(&disk).unwrap().rest;
    assert!(rest.iter().any(|rest| rest.state == RestState::NotBlank(60 << 20)), "{rest:?}");

    let want = ours(&found);
    for at in [512 + 20, 1024 + 3] {
        let mut broken = disk.clone();
        broken[at] ^= 1;
        let found = layout(&broken).unwrap();
        assert_eq!(ours(&found), want);
        assert!(found.notes[0].starts_with("the backup of the table was used"), "{:?}", found.notes);
        let last = broken.len() - 512;
        broken[last..].fill(0);
        let error = layout(&broken).err().unwrap();
        assert!(error.hint_text().is_some(), "{error}");
    }
    let cut = layout(&disk[..40 << 20]).unwrap();
    assert_eq!(ours(&cut), want);
    let told = &cut.problems[0];
    assert!(told.to_string().contains("the disk ends at byte 41943040"), "{told}");
    assert!(told.hint_text().unwrap().contains("cut off"), "{told}");
}

#[test]
fn gpt_with_sectors_of_4096_bytes_is_read() {
    if tool("fdisk").is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = empty(&folder.path().join("disk"), 64 << 20);
    let _ = run("fdisk", &["-b", "4096", &file], "g\nn\n\n\n+8M\nn\n\n\n+16M\nw\n");
    let listed = run("fdisk", &["-b", "4096", "-l", "-o", "Start,Sectors,UUID", &file], "");
    let rows = listed.lines().skip_while(|line| !line.trim_start().starts_with("Start")).skip(1);
    let want: Vec<_> = (1..)
        .zip(rows)
        .map(|(number, line)| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let bytes = |word: &str| word.parse::<u64>().unwrap() * 4096;
            (number, bytes(words[0]), bytes(words[1]), words[2].to_lowercase(), String::new())
        })
        .collect();
    assert_eq!(want.len(), 2);
    let found = layout(&fs::read(&file).unwrap()).unwrap();
    assert_eq!(found.sector_bytes, 4096);
    assert_eq!(ours(&found), want);
}

#[test]
fn logical_partitions_are_read_as_sfdisk_reads_them() {
    if tool("sfdisk").is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = empty(&folder.path().join("disk"), 64 << 20);
    run("sfdisk", &["-q", &file], "label: dos\n,8M,83\n,40M,5\n,4M,82\n,2M,83\n,8M,83\n,8M,8e\n,8M,7\n");
    let mut disk = fs::read(&file).unwrap();
    let found = layout(&disk).unwrap();
    assert_eq!(found.table, Table::Mbr);
    assert_eq!(ours(&found), as_sfdisk_says(&file));
    assert_eq!(found.volumes.len(), 6);
    assert!(found.problems.is_empty(), "{:?}", found.problems);
    // The second record leads to the first one again.
    let second =
        found.rest.iter().filter(|rest| rest.state == RestState::Tables).nth(2).unwrap().range.start as usize;
    disk[second + 470..second + 474].fill(0);
    let found = layout(&disk).unwrap();
    assert_eq!(found.volumes.len(), 5);
    assert!(found.problems[0].to_string().contains("a chain without loop"), "{:?}", found.problems);
}

/// A record does not say how large its sectors are; what its entries lead to does.
#[test]
fn a_boot_record_with_sectors_of_4096_bytes_is_read_as_fdisk_reads_it() {
    if ["fdisk", "mke2fs"].iter().any(|name| tool(name).is_none()) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = empty(&folder.path().join("disk"), 160 << 20);
    let script = "o\nn\np\n1\n\n+16M\nn\ne\n2\n\n+128M\nn\nl\n\n+16M\nn\nl\n\n+32M\nw\n";
    let _ = run("fdisk", &["-b", "4096", &file], script);
    let listed = run("fdisk", &["-b", "4096", "-l", "-o", "Device,Start,Sectors,Type", &file], "");
    let rows = listed.lines().filter(|line| line.starts_with(&file) && !line.ends_with("Extended"));
    let want: Vec<(u32, u64, u64)> = rows
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let bytes = |word: &str| word.parse::<u64>().unwrap() * 4096;
            (words[0].strip_prefix(&file).unwrap().parse().unwrap(), bytes(words[1]), bytes(words[2]))
        })
        .collect();
    assert_eq!(want.len(), 3, "{listed}");
    let places = |found: &Layout| -> Vec<(u32, u64, u64)> {
        ours(found).into_iter().map(|(number, start, size, ..)| (number, start, size)).collect()
    };
    let volume = folder.path().join("volume");
    run("mke2fs", &["-q", "-t", "ext4", &empty(&volume, 8 << 20)], "");
    let ext = fs::read(&volume).unwrap();
    let mut disk = fs::read(&file).unwrap();
    // The chain of logical partitions is whole only with sectors of 4096 bytes.
    let found = layout(&disk).unwrap();
    assert_eq!((found.table, found.sector_bytes), (Table::Mbr, 4096));
    assert_eq!(places(&found), want);
    for (_, start, _) in &want {
        disk[*start as usize..][..ext.len()].copy_from_slice(&ext);
    }
    let found = layout(&disk).unwrap();
    assert_eq!((found.sector_bytes, places(&found)), (4096, want.clone()));
    assert!(found.problems.is_empty(), "{:?}", found.problems);
    let kinds: Vec<_> = found.volumes.iter().map(|volume| volume.probed.kind).collect();
    assert_eq!(kinds, [FsKind::Ext4; 3]);
    let all: u64 = found.volumes.iter().map(|volume| volume.size_bytes).sum::<u64>()
        + found.rest.iter().map(|rest| rest.range.end - rest.range.start).sum::<u64>();
    assert_eq!(all, 160 << 20);

    // Without logical ones what lies at their beginning tells the size, under one of both or under both.
    disk[462..478].fill(0);
    let (start, large) = (want[0].1 as usize, want[0].1 as usize / 8);
    for (at_512, at_4096, sector_bytes, problems) in
        [(false, true, 4096, 0), (true, false, 512, 0), (false, false, 512, 0), (true, true, 512, 1)]
    {
        let mut disk = disk.clone();
        disk[large..32 << 20].fill(0);
        for (at, is_there) in [(large, at_512), (start, at_4096)] {
            if is_there {
                // The beginning is enough.
                disk[at..at + 65536].copy_from_slice(&ext[..65536]);
            }
        }
        if at_512 && at_4096 {
            // What lies in the first partition is its own content: this one ends before.
            disk[458..462].copy_from_slice(&512_u32.to_le_bytes());
        }
        let found = layout(&disk).unwrap();
        let told = (found.sector_bytes, found.problems.len());
        assert_eq!(told, (sector_bytes, problems), "{at_512} {at_4096}: {:?}", found.problems);
    }
}

/// The kind as blkid calls it.
fn blkid_name(kind: FsKind) -> &'static str {
    match kind {
        FsKind::Ext2 => "ext2",
        FsKind::Ext3 => "ext3",
        FsKind::Ext4 => "ext4",
        FsKind::Xfs => "xfs",
        FsKind::Btrfs => "btrfs",
        FsKind::Fat => "vfat",
        FsKind::Exfat => "exfat",
        FsKind::Ntfs => "ntfs",
        FsKind::Swap => "swap",
        FsKind::F2fs => "f2fs",
        FsKind::Minix => "minix",
        FsKind::Luks1 | FsKind::Luks2 => "crypto_LUKS",
        FsKind::Squashfs => "squashfs",
        FsKind::Erofs => "erofs",
        _ => "?",
    }
}

#[test]
fn file_systems_are_told_as_blkid_tells_them() {
    if tool("blkid").is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("volume");
    let makers: &[(&str, &[&str])] = &[
        ("mke2fs", &["-q", "-t", "ext2", "-L", "two"]),
        ("mke2fs", &["-q", "-t", "ext3", "-b", "1024"]),
        ("mke2fs", &["-q", "-t", "ext4", "-L", "four"]),
        ("mkfs.xfs", &["-q", "-f", "-L", "x"]),
        ("mkfs.btrfs", &["-q", "-f", "-L", "b"]),
        ("mkfs.vfat", &["-F", "12", "-n", "TWELVE"]),
        ("mkfs.vfat", &["-F", "16"]),
        ("mkfs.vfat", &["-F", "32", "-n", "ESP"]),
        ("mkfs.exfat", &[]),
        ("mkntfs", &["-q", "-F", "-f"]),
        ("mkswap", &["-q", "-L", "s"]),
        ("mkfs.f2fs", &["-q"]),
        ("mkfs.minix", &[]),
        ("mkfs.minix", &["-3"]),
        (
            "cryptsetup",
            &[
                "luksFormat",
                "-q",
                "--type",
                "luks2",
                "--pbkdf",
                "pbkdf2",
                "--pbkdf-force-iterations",
                "1000",
                "--label",
                "secret",
            ],
        ),
    ];
    for (maker, args) in makers {
        if tool(maker).is_none() {
            continue;
        }
        // XFS wants 300 MB.
        let file = empty(&path, if *maker == "mkfs.xfs" { 320 << 20 } else { 128 << 20 });
        let args: Vec<&str> = args.iter().copied().chain([file.as_str()]).collect();
        run(maker, &args, "secret");
        let said = run("blkid", &["-p", "-o", "export", &file], "");
        let value = |key: &str| {
            said.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).map(str::to_owned)
        };
        let volume = fs::read(&path).unwrap();
        let probed = probe(&volume).unwrap();
        assert_eq!(Some(blkid_name(probed.kind)), value("TYPE").as_deref(), "{maker} {args:?}");
        assert_eq!(probed.uuid, value("UUID"), "{maker} {args:?}");
        // The label of an exFAT is a file, so to say.
        if !matches!(probed.kind, FsKind::Exfat | FsKind::Ntfs) {
            assert_eq!(probed.label, value("LABEL").map(|label| label.replace('\\', "")), "{maker} {args:?}");
        }
        let found = layout(&volume).unwrap();
        assert_eq!((found.table, found.volumes.len(), found.rest.len()), (Table::None, 1, 0), "{maker}");
    }
}

fn gunzip(name: &str) -> Vec<u8> {
    let mut all = Vec::new();
    flate2::read::GzDecoder::new(&fixture(name)[..]).read_to_end(&mut all).unwrap();
    all
}

/// A disk whose partitions are the two physical volumes of the fixture; each extent has a number of its own.
pub(crate) fn group(physical: &[&str]) -> Vec<u8> {
    let mut disk = vec![0; (1 + 32 * physical.len()) << 20];
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    for (index, name) in physical.iter().enumerate() {
        let start = (1 + 32 * index) << 20;
        let entry = &mut disk[446 + 16 * index..];
        entry[4] = 0x8e;
        entry[8..12].copy_from_slice(&(start as u32 / 512).to_le_bytes());
        entry[12..16].copy_from_slice(&65536u32.to_le_bytes());
        let head = gunzip(&format!("lvm/{name}.head.gz"));
        disk[start..start + head.len()].copy_from_slice(&head);
        for extent in 0..31 {
            // The number of the volume, the extent, and 4 KiB blocks in it.
            for block in 0..256 {
                let at = start + (1 << 20) + (extent << 20) + block * 4096;
                let number = u8::from(*name == "pv2") + 1;
                disk[at..at + 3].copy_from_slice(&[number, extent as u8, block as u8]);
            }
        }
    }
    disk
}

/// What the blocks of a logical volume are by the segments that lvs lists: volume, extent, block.
pub(crate) fn as_lvs_says(name: &str) -> Vec<[u8; 3]> {
    let said = String::from_utf8(fixture("lvm/lvs.txt")).unwrap();
    let mut blocks = Vec::new();
    for line in said.lines() {
        let fields: Vec<&str> = line.split('|').collect();
        if fields[0] != name {
            continue;
        }
        let stripes: Vec<Vec<[u8; 3]>> = fields[4]
            .split(' ')
            .map(|stripe| {
                let (volume, extents) = stripe.split_once(':').unwrap();
                let (first, last) = extents.split_once('-').unwrap();
                let (first, last): (u8, u8) = (first.parse().unwrap(), last.parse().unwrap());
                let number = u8::from(volume == "pv2") + 1;
                (first..=last)
                    .flat_map(|extent| (0..=255).map(move |block| [number, extent, block]))
                    .collect()
            })
            .collect();
        // Stripes of 64 KiB, which are 16 blocks.
        let rows = stripes[0].len() / 16;
        blocks.extend(
            (0..rows).flat_map(|row| stripes.iter().flat_map(move |stripe| &stripe[row * 16..row * 16 + 16])),
        );
    }
    blocks
}

#[test]
fn logical_volumes_are_put_together_as_lvs_lists_them() {
    let found = layout(&group(&["pv1", "pv2"])).unwrap();
    assert!(found.problems.is_empty(), "{:?}", found.problems);
    let places: Vec<_> = found.volumes.iter().map(|volume| volume.place.as_str()).collect();
    let names = ["logical volume system/root", "logical volume system/striped", "logical volume system/var"];
    assert_eq!(places, [&["partition 1", "partition 2"][..], &names].concat());
    for volume in &found.volumes[2..] {
        let data = volume.data.as_ref().unwrap();
        let (_, name) = volume.logical.clone().unwrap();
        let want = as_lvs_says(&name);
        assert_eq!(data.size_bytes(), want.len() as u64 * 4096, "{name}");
        for (number, want) in want.iter().enumerate() {
            let mut block = [0; 3];
            data.read_exact_at(number as u64 * 4096, &mut block).unwrap();
            assert_eq!(block, *want, "{name} block {number}");
        }
    }
    // One of two: what lies on it alone is read, the rest names what is missing.
    let found = layout(&group(&["pv1"])).unwrap();
    let told: Vec<_> = found.volumes[1..]
        .iter()
        .map(|volume| (volume.data.is_some(), volume.role.clone()))
        .map(|(has_data, role)| match role {
            Role::Unreadable(why) if !has_data => why.contains("not found: physical volume"),
            _ => false,
        })
        .collect();
    assert_eq!(told, [true, true, false]);
}

/// Every extent is in a logical volume, or told.
#[test]
fn extents_in_no_logical_volume_are_told() {
    let mut disk = group(&["pv1", "pv2"]);
    let said = String::from_utf8(fixture("lvm/lvs.txt")).unwrap();
    let ranges = said.lines().flat_map(|line| line.split('|').nth(4).unwrap().split(' '));
    let mut used = std::collections::BTreeSet::new();
    for (volume, extents) in ranges.map(|range| range.split_once(':').unwrap()) {
        let (first, last) = extents.split_once('-').unwrap();
        let (first, last): (u64, u64) = (first.parse().unwrap(), last.parse().unwrap());
        used.extend((first..=last).map(|extent| (volume.to_owned(), extent)));
    }
    // The last extents of the second are blank.
    disk[(33 + 1 + 6) << 20..].fill(0);
    let found = layout(&disk).unwrap();
    let inner: Vec<_> = found.rest.iter().filter(|rest| rest.within.is_some()).collect();
    for (number, name) in [(1, "pv1"), (2, "pv2")] {
        let place = format!("partition {number}");
        let own: Vec<_> = inner.iter().filter(|rest| rest.within.as_deref() == Some(&*place)).collect();
        let [tables, free] = own[..] else { panic!("{own:?}") };
        assert_eq!((tables.range.clone(), tables.state), (0..1 << 20, RestState::Tables));
        let free_extents: Vec<u64> =
            (0..31).filter(|extent| !used.contains(&(name.to_owned(), *extent))).collect();
        assert_eq!(free.range, (1 + free_extents[0]) << 20..32 << 20);
        assert_eq!(free.range.end - free.range.start, (free_extents.len() as u64) << 20);
        assert_eq!(free.offset_bytes, Some(free.range.start + ((1 + 32 * (number - 1)) << 20)));
        let want = if number == 1 { RestState::NotBlank(free.range.start) } else { RestState::Blank };
        assert_eq!(free.state, want);
    }
}

/// A group whose physical volumes are on two disks of one machine.
#[test]
fn groups_over_several_disks_are_put_together() {
    let disk = |names: &[&str]| -> Arc<dyn ReadAt> { Arc::new(group(names)) };
    let read = |disks: &[Arc<dyn ReadAt>]| -> Vec<Layout> {
        volumes_of_all(disks, &Limits::default()).into_iter().map(|layout| layout.unwrap()).collect()
    };
    let assert_whole = |layout: &Layout, spanning: &[&str]| {
        let logical: Vec<_> = layout.volumes.iter().filter(|volume| volume.logical.is_some()).collect();
        assert_eq!(logical.len(), 3);
        for volume in logical {
            let (_, name) = volume.logical.clone().unwrap();
            assert_eq!(volume.spans_disks, spanning.contains(&&*name), "{name}");
            for (number, want) in as_lvs_says(&name).iter().enumerate() {
                let mut block = [0; 3];
                volume.data.as_ref().unwrap().read_exact_at(number as u64 * 4096, &mut block).unwrap();
                assert_eq!(block, *want, "{name} block {number}");
            }
        }
    };
    for order in [["pv1", "pv2"], ["pv2", "pv1"]] {
        let found = read(&order.map(|name| disk(&[name])));
        assert_whole(&found[0], &["root", "striped"]);
        assert_eq!(found[1].volumes.len(), 1);
        // What is free is told with the disk that it is on.
        assert!(
            found.iter().all(|layout| layout.rest.iter().filter(|rest| rest.within.is_some()).count() == 2)
        );
    }
    // Copies of a whole disk are machines of their own.
    for layout in read(&[disk(&["pv1", "pv2"]), disk(&["pv1", "pv2"])]) {
        assert_whole(&layout, &[]);
    }
    // Nobody knows which of two is meant.
    let found = read(&[disk(&["pv1"]), disk(&["pv1"]), disk(&["pv2"])]);
    let told: Vec<_> =
        found.iter().flat_map(|layout| &layout.volumes).filter(|v| v.logical.is_some()).collect();
    assert_eq!(told.len(), 3);
    assert!(told.iter().all(|volume| matches!(&volume.role, Role::Unreadable(why) if why.contains("twice"))));
}

#[test]
fn broken_volumes_are_survived() {
    let disk = group(&["pv1"]);
    let mut broken = disk[..4 << 20].to_vec();
    broken[458..462].copy_from_slice(&6144u32.to_le_bytes());
    // The boot record, the label and the header of the metadata area; then the text.
    let start = 1 << 20;
    let places = (440..512).step_by(3).chain(start + 512..start + 720).chain(start + 4096..start + 4180);
    let text = (start + 4608..start + 9000).step_by(37);
    for at in places.chain(text) {
        let byte = broken[at];
        for other in [byte ^ 1, !byte, 0xff] {
            broken[at] = other;
            let _ = layout(&broken);
        }
        broken[at] = byte;
    }
    for len in (0..2048).step_by(61).chain((start..start + 12_000).step_by(997)) {
        let _ = layout(&broken[..len]);
    }
}

/// A member of a raid1 with superblock 1.2, which mdadm finds right.
#[test]
fn a_member_of_a_raid1_is_read_as_its_array() {
    if tool("mdadm").is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("member");
    let mut disk = vec![0; 16 << 20];
    let mut put = |at: usize, bytes: &[u8]| disk[4096 + at..4096 + at + bytes.len()].copy_from_slice(bytes);
    put(0, &0xa92b_4efc_u32.to_le_bytes());
    put(4, &1u32.to_le_bytes());
    put(16, &[7; 16]);
    put(32, b"host:0");
    put(72, &1u32.to_le_bytes());
    for (at, number) in [(80, 28_672_u64), (128, 2048), (136, 28_672), (144, 8), (208, u64::MAX)] {
        put(at, &number.to_le_bytes());
    }
    put(92, &2u32.to_le_bytes());
    put(220, &3u32.to_le_bytes());
    put(256, &[0, 0, 1, 0, 0xfe, 0xff]);
    let words = disk[4096..4096 + 262].chunks(4);
    let sum: u64 = words.map(|word| word.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte))).sum();
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    disk[4096 + 216..4096 + 220].copy_from_slice(&(sum as u32).to_le_bytes());
    disk[1 << 20..(1 << 20) + 4].copy_from_slice(b"hsqs");
    fs::write(&path, &disk).unwrap();
    let said = run("mdadm", &["--examine", path.to_str().unwrap()], "");
    for line in [
        "Raid Level : raid1",
        "Data Offset : 2048 sectors",
        "- correct",
        "07070707:07070707:07070707:07070707",
    ] {
        assert!(said.contains(line), "{said}");
    }
    let found = layout(&disk).unwrap();
    let [member, array] = &found.volumes[..] else { panic!("{} volumes", found.volumes.len()) };
    assert_eq!((member.probed.kind, &member.role), (FsKind::MdRaid, &Role::Container));
    assert_eq!((array.probed.kind, &array.role), (FsKind::Squashfs, &Role::Candidate));
    let range = (1 << 20)..(15 << 20);
    assert_eq!(array.ranges, [range]);
    // A wrong checksum is no superblock, and another level is named.
    disk[4096 + 72] = 5;
    assert_eq!(layout(&disk).unwrap().volumes[0].probed.kind, FsKind::Unknown);
    disk[4096 + 216] += 4;
    let found = layout(&disk).unwrap();
    assert_eq!(found.volumes[0].role, Role::Unreadable("a member of a RAID array of level 5".to_owned()));
}
