//! Disk containers against what qemu-img says of the same files, and against broken ones.

use std::fs;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use karat::bytes::{HostFile, ReadAt};
use karat::error::Result;
use karat::limits::Limits;
use karat::source::disk::{Disk, DiskFormat, Folder, NoSiblings, open_disk};

use crate::tools::tool;

/// Bytes that compress, bytes that do not, and zeros, in runs of many lengths; the size is no whole cluster.
fn guest() -> Vec<u8> {
    let mut all = vec![0; (6 << 20) + 3 * 512];
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut at = 0;
    while at < all.len() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let len = (1 << (9 + state % 10)).min(all.len() - at);
        match state >> 20 & 3 {
            0 => {}
            1 => all[at..at + len].fill((state >> 8) as u8),
            2 => all[at..at + len].iter_mut().enumerate().for_each(|(i, b)| *b = (i / 7) as u8),
            _ => {
                for byte in &mut all[at..at + len.min(8192)] {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    *byte = state as u8;
                }
            }
        }
        at += len;
    }
    all
}

fn run(folder: &Path, program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).current_dir(folder).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{program} {args:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

fn qemu(folder: &Path, args: &[&str]) {
    run(folder, "qemu-img", args);
}

fn open(folder: &Path, name: &str) -> Result<Disk> {
    let file: Arc<dyn ReadAt> = Arc::new(HostFile::new(fs::File::open(folder.join(name)).unwrap()).unwrap());
    open_disk(name, file, &Folder::new(folder, &[].into()), &Limits::default())
}

/// The whole disk, in pieces that do not fit its clusters.
fn read(disk: &Disk) -> Result<Vec<u8>> {
    let mut all = vec![0; usize::try_from(disk.data.size_bytes()).unwrap()];
    let mut at = 0;
    for (piece, len) in all.chunks_mut(100_003).map(|piece| (piece.len() as u64, piece)) {
        disk.data.read_exact_at(at, len)?;
        at += piece;
    }
    Ok(all)
}

/// That a disk is read as qemu-img converts it.
fn assert_as_qemu(folder: &Path, name: &str, format: DiskFormat) -> Disk {
    // A fixed VHD looks raw to qemu-img, which looks at the beginning alone.
    let qemu_name = match format {
        DiskFormat::Raw => "raw",
        DiskFormat::Qcow2 => "qcow2",
        DiskFormat::Vmdk => "vmdk",
        DiskFormat::Vhd => "vpc",
        DiskFormat::Vhdx => "vhdx",
        DiskFormat::Vdi => "vdi",
    };
    qemu(folder, &["convert", "-f", qemu_name, "-O", "raw", name, "truth.raw"]);
    let disk = open(folder, name).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(disk.format, format, "{name}");
    let (ours, truth) = (
        read(&disk).unwrap_or_else(|error| panic!("{name}: {error}")),
        fs::read(folder.join("truth.raw")).unwrap(),
    );
    assert_eq!(ours.len(), truth.len(), "{name}");
    let first = ours.iter().zip(&truth).position(|(a, b)| a != b);
    assert_eq!(first, None, "{name}");
    disk
}

#[test]
fn every_form_of_a_disk_is_read_as_qemu_reads_it() {
    if tool("qemu-img").is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join("disk.raw"), guest()).unwrap();
    assert_as_qemu(folder, "disk.raw", DiskFormat::Raw);
    let forms: &[(DiskFormat, &str, &str, &str)] = &[
        (DiskFormat::Qcow2, "qcow2", "", "compat=0.10"),
        (DiskFormat::Qcow2, "qcow2", "-c", "compat=0.10,cluster_size=512"),
        (DiskFormat::Qcow2, "qcow2", "", "compat=1.1"),
        (DiskFormat::Qcow2, "qcow2", "-c", "compression_type=zlib"),
        (DiskFormat::Qcow2, "qcow2", "-c", "compression_type=zstd"),
        (DiskFormat::Qcow2, "qcow2", "-c", "compression_type=zstd,cluster_size=2M"),
        (DiskFormat::Qcow2, "qcow2", "-c", "cluster_size=4k"),
        (DiskFormat::Qcow2, "qcow2", "", "extended_l2=on"),
        (DiskFormat::Qcow2, "qcow2", "-c", "extended_l2=on,cluster_size=128k"),
        (DiskFormat::Qcow2, "qcow2", "", "preallocation=metadata"),
        (DiskFormat::Qcow2, "qcow2", "", "data_file=data.bin,data_file_raw=off"),
        (DiskFormat::Qcow2, "qcow2", "", "data_file=data-raw.bin,data_file_raw=on"),
        (DiskFormat::Vmdk, "vmdk", "", "subformat=monolithicSparse"),
        (DiskFormat::Vmdk, "vmdk", "", "subformat=monolithicSparse,zeroed_grain=on"),
        (DiskFormat::Vmdk, "vmdk", "", "subformat=streamOptimized"),
        (DiskFormat::Vmdk, "vmdk", "", "subformat=monolithicFlat"),
        (DiskFormat::Vmdk, "vmdk", "", "subformat=twoGbMaxExtentSparse"),
        (DiskFormat::Vmdk, "vmdk", "", "subformat=twoGbMaxExtentFlat"),
        (DiskFormat::Vhd, "vpc", "", "subformat=fixed"),
        (DiskFormat::Vhd, "vpc", "", "subformat=dynamic"),
        (DiskFormat::Vhd, "vpc", "", "subformat=dynamic,force_size=on"),
        (DiskFormat::Vhdx, "vhdx", "", "subformat=fixed"),
        (DiskFormat::Vhdx, "vhdx", "", "subformat=dynamic"),
        (DiskFormat::Vhdx, "vhdx", "", "subformat=dynamic,block_size=1M,block_state_zero=off"),
        (DiskFormat::Vdi, "vdi", "", "static=off"),
        (DiskFormat::Vdi, "vdi", "", "static=on"),
    ];
    for (number, (format, name, flag, options)) in forms.iter().enumerate() {
        let file = format!("{number}.{name}");
        let mut args = vec!["convert", "-f", "raw", "-O", name, "-o", options];
        args.extend((!flag.is_empty()).then_some(*flag));
        args.extend(["disk.raw", &file]);
        if name == &"vmdk" && options.contains("twoGb") {
            // So large that there are two extents.
            qemu(folder, &["create", "-f", name, "-o", options, &file, "3G"]);
            let disk = open(folder, &file).unwrap();
            assert_eq!(disk.data.size_bytes(), 3 << 30);
            let mut dst = [1; 4096];
            disk.data.read_exact_at((2 << 30) - 2048, &mut dst).unwrap();
            assert_eq!(dst, [0; 4096]);
        }
        qemu(folder, &args);
        assert_as_qemu(folder, &file, *format);
    }
}

#[test]
fn disks_over_others_are_read_as_qemu_reads_them() {
    if tool("qemu-img").is_none() || tool("qemu-io").is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join("base.raw"), guest()).unwrap();
    let write = |name: &str| {
        let commands = [
            "write -P 0x11 70k 3k",
            "write -z 256k 64k",
            "write -P 0x22 1M 300k",
            "write -z 1100k 5k",
            "write -P 7 6M 512",
        ];
        let mut args = Vec::new();
        commands.iter().for_each(|command| args.extend(["-c", command]));
        args.push(name);
        run(folder, "qemu-io", &args);
    };
    for (name, options) in [
        ("one", "compat=0.10"),
        ("two", "compat=1.1"),
        ("three", "extended_l2=on"),
        ("four", "cluster_size=512"),
    ] {
        let file = format!("{name}.qcow2");
        qemu(folder, &["create", "-f", "qcow2", "-o", options, "-b", "base.raw", "-F", "raw", &file, "8M"]);
        write(&file);
        let disk = assert_as_qemu(folder, &file, DiskFormat::Qcow2);
        assert_eq!(disk.parents, ["base.raw"]);
    }
    qemu(folder, &["create", "-f", "qcow2", "-b", "three.qcow2", "-F", "qcow2", "top.qcow2"]);
    run(folder, "qemu-io", &["-c", "discard 128k 128k", "-c", "write -P 9 64k 1k", "top.qcow2"]);
    assert_eq!(assert_as_qemu(folder, "top.qcow2", DiskFormat::Qcow2).parents, ["three.qcow2", "base.raw"]);

    qemu(folder, &["convert", "-O", "vmdk", "base.raw", "base.vmdk"]);
    qemu(folder, &["create", "-f", "vmdk", "-b", "base.vmdk", "-F", "vmdk", "top.vmdk"]);
    run(folder, "qemu-io", &["-c", "write -P 0x11 70k 3k", "-c", "write -P 3 1M 300k", "top.vmdk"]);
    assert_eq!(assert_as_qemu(folder, "top.vmdk", DiskFormat::Vmdk).parents, ["base.vmdk"]);

    qemu(folder, &["snapshot", "-c", "before", "one.qcow2"]);
    run(folder, "qemu-io", &["-c", "write -P 0x55 0 1M", "one.qcow2"]);
    let disk = assert_as_qemu(folder, "one.qcow2", DiskFormat::Qcow2);
    assert_eq!(disk.notes, ["internal snapshots, not read: `before`"]);
}

#[test]
fn parts_of_a_raw_disk_are_joined() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let whole = guest();
    for (number, part) in whole.chunks(1_000_000).enumerate() {
        fs::write(folder.join(format!("disk.{:03}", number + 1)), part).unwrap();
    }
    let disk = open(folder, "disk.001").unwrap();
    assert!(read(&disk).unwrap() == whole);
    assert_eq!(disk.notes, ["joined from 7 parts"]);
    assert!(open(folder, "disk.002").is_err());
    fs::remove_file(folder.join("disk.003")).unwrap();
    let error = open(folder, "disk.001").err().unwrap();
    assert_eq!(error.to_string(), "not found: part `disk.003` of the disk, where there is `disk.004`");
}

/// The stored disks over others and those with a log, unpacked.
fn chains() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/disks/chains");
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        if let Some(name) = path.file_name().unwrap().to_str().unwrap().strip_suffix(".zst") {
            // Most of them is holes.
            let mut file = fs::File::create(folder.path().join(name)).unwrap();
            let bytes = zstd::decode_all(fs::File::open(&path).unwrap()).unwrap();
            file.set_len(bytes.len() as u64).unwrap();
            for (index, page) in
                bytes.chunks(4096).enumerate().filter(|(_, page)| page.iter().any(|b| *b != 0))
            {
                file.seek(SeekFrom::Start(index as u64 * 4096)).unwrap();
                file.write_all(page).unwrap();
            }
        }
    }
    folder
}

/// Differencing VHD, VHDX and VDI as libvhdi and dissect.hypervisor read them, and logs as qemu replays them.
#[test]
fn chains_and_logs_are_read_as_other_tools_read_them() {
    let folder = chains();
    let mut with_log = 0;
    let expected = String::from_utf8(crate::mutate::fixture("disks/chains/expected.tsv")).unwrap();
    for line in expected.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let [name, start, len, wanted, tools] = fields[..] else { panic!("{line}") };
        let disk = open(folder.path(), name).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut bytes = vec![0; len.parse().unwrap()];
        disk.data
            .read_exact_at(start.parse().unwrap(), &mut bytes)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(karat::model::Sha256::of(&bytes).hex(), wanted, "{name} at {start}, as {tools} read it");
        assert!(disk.doubts.is_empty(), "{name}: {:?}", disk.doubts);
        let is_logged = disk.notes.iter().any(|note| note.starts_with("a pending log of"));
        assert_eq!(is_logged, tools == "qemu", "{name}: {:?}", disk.notes);
        with_log += usize::from(is_logged);
    }
    assert_eq!(with_log, 6);
    for (name, parents) in [
        ("top.vhd", ["middle.vhd", "base.vhd"]),
        ("top.vhdx", ["middle.vhdx", "base.vhdx"]),
        ("top.vdi", ["middle.vdi", "base.vdi"]),
    ] {
        assert_eq!(open(folder.path(), name).unwrap().parents, parents);
    }

    // A parent that was changed after its child was made.
    let change = |name: &str, at: u64, bytes: &[u8]| {
        let file = fs::File::options().write(true).open(folder.path().join(name)).unwrap();
        file.write_all_at(bytes, at).unwrap();
    };
    change("middle.vdi", 408, &[7; 16]);
    let doubts = open(folder.path(), "top.vdi").unwrap().doubts;
    assert_eq!(doubts.len(), 1);
    assert!(
        doubts[0].starts_with("its parent `middle.vdi` was changed after it was made: its last change is")
    );
    change("middle.vdi", 392, &[7; 16]);
    let error = open(folder.path(), "top.vdi").err().unwrap().to_string();
    assert!(error.starts_with("not found: the parent image with UUID "), "{error}");
}

/// A log of which nothing is whole makes the disk one that is not believed: what was written may be in it alone.
#[test]
fn a_vhdx_whose_log_has_no_whole_entry_is_refused() {
    let folder = chains();
    let name = "log-one.vhdx";
    let whole = fs::read(folder.path().join(name)).unwrap();
    let log = whole.windows(4).position(|bytes| bytes == b"loge").unwrap();
    let told = |bytes: &[u8]| {
        fs::write(folder.path().join(name), bytes).unwrap();
        open(folder.path(), name).err().map(|error| error.to_string()).unwrap_or_default()
    };
    for at in [log + 4, log + 16, log + 40, log + 64, log + 4096] {
        let mut broken = whole.clone();
        broken[at] ^= 1;
        assert!(told(&broken).contains("no valid sequence of entries"), "{}", told(&broken));
    }
    // The file is shorter than what was flushed.
    assert!(told(&whole[..whole.len() - (1 << 20)]).contains("it is cut off"));
}

/// What is refused, and how it is said.
#[test]
fn what_is_missing_outside_or_encrypted_is_named() {
    if tool("qemu-img").is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let told = |name: &str| open(folder, name).err().map(|error| error.to_string()).unwrap_or_default();
    qemu(folder, &["create", "-f", "qcow2", "a.qcow2", "1M"]);
    qemu(folder, &["create", "-f", "qcow2", "-b", "a.qcow2", "-F", "qcow2", "b.qcow2"]);
    qemu(folder, &["create", "-f", "vmdk", "a.vmdk", "1M"]);
    qemu(folder, &["create", "-f", "vmdk", "-b", "a.vmdk", "-F", "vmdk", "b.vmdk"]);
    qemu(folder, &["rebase", "-u", "-b", "b.qcow2", "-F", "qcow2", "a.qcow2"]);
    assert_eq!(
        told("a.qcow2"),
        "parent `b.qcow2`: parent `a.qcow2`: disk image: chain of parents: \
         a.qcow2 over b.qcow2 over `a.qcow2`; allowed: no image twice"
    );
    fs::remove_file(folder.join("a.qcow2")).unwrap();
    assert_eq!(told("b.qcow2"), "not found: `a.qcow2` beside the disk image");
    for outside in ["/etc/passwd", "../a.raw", "json:{\"driver\":\"nbd\"}", "nbd://host/disk"] {
        qemu(folder, &["rebase", "-u", "-b", outside, "-F", "raw", "b.qcow2"]);
        assert!(
            told("b.qcow2").ends_with("which is outside of its folder: not opened"),
            "{}",
            told("b.qcow2")
        );
    }
    std::os::unix::fs::symlink("/etc/passwd", folder.join("link.raw")).unwrap();
    qemu(folder, &["rebase", "-u", "-b", "link.raw", "-F", "raw", "b.qcow2"]);
    assert_eq!(told("b.qcow2"), "`link.raw` beside the disk image is no regular file");
    // A changed parent has another content id.
    run(folder, "qemu-img", &["create", "-f", "vmdk", "a.vmdk", "2M"]);
    assert!(told("b.vmdk").contains("the parent was changed"), "{}", told("b.vmdk"));
    fs::remove_file(folder.join("a.vmdk")).unwrap();
    assert_eq!(told("b.vmdk"), "not found: `a.vmdk` beside the disk image");
    let secret = "secret,id=s,data=x";
    for (format, name) in [("luks", "LUKS"), ("aes", "AES")] {
        let options = format!("encrypt.format={format},encrypt.key-secret=s");
        let args = ["create", "--object", secret, "-f", "qcow2", "-o", &options, "c.qcow2", "1M"];
        if Command::new("qemu-img").args(args).current_dir(folder).output().unwrap().status.success() {
            assert_eq!(told("c.qcow2"), format!("not read by this version: qcow2 encrypted with {name}"));
        }
    }
    fs::write(folder.join("loop.qcow2"), b"QFI\xfb\0\0\0\x01").unwrap();
    assert!(told("loop.qcow2").contains("range"), "{}", told("loop.qcow2"));
}

/// Small disks of each format, whole in the first tables: broken ones must come back with something.
#[test]
fn broken_disks_are_survived() {
    if tool("qemu-img").is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut small = vec![0; 256 << 10];
    small[..4096].fill(7);
    small[200_000..210_000].iter_mut().enumerate().for_each(|(i, b)| *b = i as u8);
    fs::write(folder.join("disk.raw"), &small).unwrap();
    let forms: &[(&str, &str, &str, &[u64])] = &[
        ("qcow2", "", "compat=0.10,cluster_size=512", &[0]),
        ("qcow2", "-c", "cluster_size=4k,compression_type=zstd", &[0, 0x3000]),
        ("qcow2", "", "extended_l2=on,cluster_size=16k", &[0]),
        ("vmdk", "", "subformat=monolithicSparse", &[0, 512, 21 * 512, 26 * 512]),
        ("vmdk", "", "subformat=streamOptimized", &[0, 0x10000]),
        ("vpc", "", "subformat=dynamic", &[0, 512, 1536]),
        ("vdi", "", "static=off", &[0]),
        ("vhdx", "", "subformat=dynamic", &[0x10000, 0x30000, 0x200000, 0x210000, 0x300000]),
    ];
    for (number, (name, flag, options, places)) in forms.iter().enumerate() {
        let file = format!("{number}.{name}");
        let mut args = vec!["convert", "-f", "raw", "-O", name, "-o", options];
        args.extend((!flag.is_empty()).then_some(*flag));
        args.extend(["disk.raw", &file]);
        qemu(folder, &args);
        survives_at(&fs::read(folder.join(&file)).unwrap(), places);
    }
}

/// Opens the whole with bits flipped and bytes replaced in 160 bytes from each of these places on, and cut off
/// there and elsewhere. What opens is read at some places.
fn survives_at(whole: &[u8], places: &[u64]) {
    let attempt = |bytes: &[u8]| {
        let file: Arc<dyn ReadAt> = Arc::new(bytes.to_vec());
        let Ok(disk) = open_disk("disk", file, &NoSiblings, &Limits::default()) else { return false };
        let size = disk.data.size_bytes();
        let mut dst = [0; 1024];
        let reads = [0, 1, 65536, size / 2, size.saturating_sub(1024)];
        reads.iter().all(|at| disk.data.read_exact_at(*at, &mut dst).is_ok())
    };
    assert!(attempt(whole));
    let mut broken = whole.to_vec();
    for place in places {
        let place = *place as usize;
        for at in (place..place + 160).filter(|at| *at < whole.len()) {
            let byte = broken[at];
            for other in [byte ^ 1, byte ^ 0x80, !byte, 0, 0xff] {
                broken[at] = other;
                attempt(&broken);
            }
            broken[at] = byte;
        }
        for len in (0..600).chain([place, place + 1, place + 511, place + 513]) {
            attempt(&whole[..len.min(whole.len())]);
        }
    }
    let step = (whole.len() / 64).max(1);
    for len in (0..whole.len()).step_by(step) {
        attempt(&whole[..len]);
    }
}

/// Files that were cut off where nothing is read tell it when they are opened.
#[test]
fn a_file_that_is_cut_off_says_so_before_it_is_read() {
    if tool("qemu-img").is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    // VDI need not have the rest of the block in which the disk ends.
    let mut guest = guest();
    guest.truncate(6 << 20);
    guest.extend([1; 512]);
    guest.drain(..512);
    fs::write(folder.join("disk.raw"), guest).unwrap();
    for (name, flag, options) in [
        ("qcow2", "", "cluster_size=4k"),
        ("qcow2", "-c", "cluster_size=64k"),
        ("qcow2", "", "extended_l2=on,cluster_size=16k"),
        ("vmdk", "", "subformat=monolithicSparse"),
        ("vmdk", "", "subformat=streamOptimized"),
        ("vpc", "", "subformat=dynamic"),
        ("vdi", "", "static=off"),
        ("vhdx", "", "subformat=dynamic,block_size=1M"),
    ] {
        let mut args = vec!["convert", "-f", "raw", "-O", name, "-o", options];
        args.extend((!flag.is_empty()).then_some(flag));
        args.extend(["disk.raw", "whole"]);
        qemu(folder, &args);
        let whole = open(folder, "whole").unwrap();
        assert_eq!(whole.doubts, Vec::<String>::new(), "{name} {flag} {options}");
        let bytes = fs::read(folder.join("whole")).unwrap();
        for percent in [95, 80, 60, 30] {
            fs::write(folder.join("cut"), &bytes[..bytes.len() * percent / 100]).unwrap();
            let told = match open(folder, "cut") {
                Ok(disk) => disk.doubts.join("; "),
                Err(error) => format!("{error}: {:?}", error.hint_text()),
            };
            assert!(told.contains("cut off"), "{name} {flag} {options} {percent}: {told}");
        }
    }
}

/// A disk that ends with the footer of a VHD is one only if it begins as that says, or is as large.
#[test]
fn the_footer_of_a_vhd_does_not_make_one() {
    if tool("qemu-img").is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let guest = guest();
    fs::write(folder.join("disk.raw"), &guest).unwrap();
    let made = |subformat: &str| {
        let options = format!("subformat={subformat},force_size=on");
        qemu(folder, &["convert", "-f", "raw", "-O", "vpc", "-o", &options, "disk.raw", "disk.vhd"]);
        fs::read(folder.join("disk.vhd")).unwrap()
    };
    let (fixed, dynamic) = (made("fixed"), made("dynamic"));
    let opened = |bytes: &[u8]| {
        fs::write(folder.join("file"), bytes).unwrap();
        open(folder, "file").unwrap()
    };
    assert_eq!(opened(&fixed).format, DiskFormat::Vhd);
    assert_eq!(opened(&dynamic).format, DiskFormat::Vhd);
    let front = [&guest[..], &vec![0; 4096]].concat();
    for (tail, said) in [(&dynamic[..], "dynamic"), (&fixed[fixed.len() - 512..], "fixed")] {
        let disk = opened(&[&front[..], tail].concat());
        assert_eq!(disk.format, DiskFormat::Raw);
        assert!(disk.doubts[0].contains(said), "{:?}", disk.doubts);
        let said = run(folder, "qemu-img", &["info", "file"]);
        assert!(said.contains("file format: raw"), "{said}");
    }
    // Without its last sector, a dynamic one is opened by its first, and says that it is cut off.
    let cut = opened(&dynamic[..dynamic.len() - 512]);
    assert!(cut.doubts[0].contains("cut off"), "{:?}", cut.doubts);
}
