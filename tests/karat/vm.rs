//! VM images from the command line: one system in every wrapping gives one inventory, and what of a disk was
//! not read is told.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use insta::assert_snapshot;
use karat::model::Inventory;
use tempfile::TempDir;

use crate::cli::{BASELINE, DAY, karat, shown};
use crate::making::{gzip, zstd};
use crate::tools::tool;

const PRODUCTION: &str = "fixtures/production/debian-12";
const MIB: u64 = 1 << 20;

/// A folder of disks and the programs that make them.
pub(crate) struct Bench(TempDir);

impl Bench {
    pub(crate) fn new() -> Self {
        Bench(TempDir::new().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn run(&self, program: &str, args: &[&str]) -> String {
        let output = Command::new(program).current_dir(self.0.path()).args(args).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{program} {args:?}: {text}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    pub(crate) fn sized(&self, name: &str, mib: u64) {
        fs::File::create(self.path(name)).unwrap().set_len(mib * MIB).unwrap();
    }

    /// An ext4 of a directory.
    pub(crate) fn ext4(&self, name: &str, root: &Path, mib: u64, more: &[&str]) {
        self.ext("ext4", name, root, mib, more);
    }

    pub(crate) fn ext(&self, kind: &str, name: &str, root: &Path, mib: u64, more: &[&str]) {
        self.sized(name, mib);
        let mut args = vec!["-q", "-F", "-t", kind, "-d", root.to_str().unwrap()];
        args.extend(more);
        args.push(name);
        self.run("mke2fs", &args);
    }

    /// A disk with a table made of a script for sfdisk, with these files at these MiB.
    pub(crate) fn disk(&self, name: &str, mib: u64, script: &str, parts: &[(&str, u64)]) {
        self.sized(name, mib);
        fs::write(self.path("script"), script).unwrap();
        self.run("sh", &["-c", &format!("sfdisk -q {name} < script")]);
        for (part, at) in parts {
            let (of, seek) = (format!("of={name}"), format!("seek={at}"));
            self.run("dd", &[&format!("if={part}"), &of, "bs=1M", &seek, "conv=notrunc", "status=none"]);
        }
    }

    pub(crate) fn inventory(&self, name: &str, more: &[&str]) -> (i32, Inventory) {
        let path = self.path(name);
        let mut args = vec!["inventory", "-q", "-o", "json", "--as-of", DAY, path.to_str().unwrap()];
        args.extend(more);
        let ran = karat(&args);
        let inventory = serde_json::from_str(&ran.stdout)
            .unwrap_or_else(|error| panic!("{name}: {error}: {}", shown(&ran)));
        (ran.code, inventory)
    }

    /// The text of a run over disks of this folder, with the folder's name taken out.
    pub(crate) fn told(&self, args: &[&str]) -> String {
        let names: Vec<String> = args
            .iter()
            .map(|arg| match self.path(arg).exists() {
                true => self.path(arg).display().to_string(),
                false => (*arg).to_owned(),
            })
            .collect();
        let ran = karat(&names.iter().map(String::as_str).collect::<Vec<_>>());
        shown(&ran).replace(self.0.path().to_str().unwrap(), "DISKS")
    }
}

pub(crate) fn has_tools(names: &[&str]) -> bool {
    names.iter().all(|name| tool(name).is_some())
}

pub(crate) fn production() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(PRODUCTION)
}

/// What `mkfs.xfs -p` fills a file system from (mkfs.xfs(8), protofile).
fn prototype(root: &Path) -> String {
    fn below(folder: &Path, text: &mut String) {
        let mut entries: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        for path in entries {
            let name = path.file_name().unwrap().to_str().unwrap();
            let metadata = fs::symlink_metadata(&path).unwrap();
            if metadata.is_symlink() {
                let target = fs::read_link(&path).unwrap();
                text.push_str(&format!("{name} l--777 0 0 {}\n", target.display()));
            } else if metadata.is_dir() {
                text.push_str(&format!("{name} d--755 0 0\n"));
                below(&path, text);
                text.push_str("$\n");
            } else {
                text.push_str(&format!("{name} ---644 0 0 {}\n", path.display()));
            }
        }
    }
    let mut text = "/dev/null\n0 0\nd--755 0 0\n".to_owned();
    below(root, &mut text);
    text + "$\n"
}

/// Writes content on a logical volume of a disk: where each of its blocks lies is known by the numbers that the
/// fixture's blocks have.
fn put_on_logical(disk: &mut [u8], name: &str, content: &[u8]) {
    let blocks = crate::volumes::as_lvs_says(name);
    assert!(content.len() <= blocks.len() * 4096, "{} bytes", content.len());
    let mut parts = content.chunks(4096);
    for [volume, extent, block] in blocks {
        let start = (1 + 32 * (usize::from(volume) - 1)) << 20;
        let at = start + (1 << 20) + (usize::from(extent) << 20) + usize::from(block) * 4096;
        // Behind the content it is blank.
        disk[at..at + 4096].fill(0);
        let part = parts.next().unwrap_or_default();
        disk[at..at + part.len()].copy_from_slice(part);
    }
    // The other volumes and what no volume has are blank.
    let taken: std::collections::BTreeSet<_> = crate::volumes::as_lvs_says(name).into_iter().collect();
    for volume in 1..=2_u8 {
        for (extent, block) in (0..31_u8).flat_map(|extent| (0..=255).map(move |block| (extent, block))) {
            if !taken.contains(&[volume, extent, block]) {
                let start = (1 + 32 * (usize::from(volume) - 1)) << 20;
                let at = start + (1 << 20) + (usize::from(extent) << 20) + usize::from(block) * 4096;
                disk[at..at + 3].fill(0);
            }
        }
    }
}

#[test]
fn one_system_gives_one_inventory_in_every_wrapping() {
    if !has_tools(&[
        "mke2fs",
        "sfdisk",
        "qemu-img",
        "mkfs.xfs",
        "mkfs.btrfs",
        "mksquashfs",
        "mkfs.erofs",
        "xorriso",
        "xz",
    ]) {
        return;
    }
    let bench = Bench::new();
    let ran = karat(&["inventory", "-q", "-o", "json", "--as-of", DAY, PRODUCTION]);
    let wanted: Inventory = serde_json::from_str(&ran.stdout).unwrap();
    assert!(wanted.systems[0].packages.len() > 5 && wanted.gaps.is_empty());

    bench.ext4("ext4.img", &production(), 24, &[]);
    for (name, kind, block) in [("ext2.img", "ext2", "1024"), ("ext3.img", "ext3", "4096")] {
        bench.ext(kind, name, &production(), 24, &["-b", block]);
    }
    bench.sized("xfs.img", 320);
    let proto = prototype(&production());
    fs::write(bench.path("proto"), proto).unwrap();
    bench.run("mkfs.xfs", &["-q", "-p", "proto", "xfs.img"]);

    bench.disk("gpt.raw", 28, "label: gpt\nstart=2048, size=49152, type=L\n", &[("ext4.img", 1)]);
    bench.disk("mbr.raw", 28, "label: dos\nstart=2048, size=49152, type=83\n", &[("ext4.img", 1)]);
    bench.disk("xfs.raw", 324, "label: gpt\nstart=2048, size=655360, type=L\n", &[("xfs.img", 1)]);
    bench.disk(
        "logical.raw",
        40,
        "label: dos\nstart=2048, size=8192, type=83\nstart=10240, size=65536, type=5\nstart=12288, size=49152, type=83\n",
        &[("ext4.img", 6)],
    );
    for (name, format, options) in [
        ("a.qcow2", "qcow2", "compat=1.1"),
        ("zstd.qcow2", "qcow2", "compression_type=zstd"),
        ("sparse.vmdk", "vmdk", "subformat=monolithicSparse"),
        ("stream.vmdk", "vmdk", "subformat=streamOptimized"),
        ("flat.vmdk", "vmdk", "subformat=monolithicFlat"),
        ("split.vmdk", "vmdk", "subformat=twoGbMaxExtentSparse"),
        ("a.vhd", "vpc", "subformat=dynamic"),
        ("fixed.vhd", "vpc", "subformat=fixed"),
        ("a.vhdx", "vhdx", "subformat=dynamic"),
        ("a.vdi", "vdi", "static=off"),
    ] {
        let compress = if name == "zstd.qcow2" { "-c" } else { "-q" };
        bench.run("qemu-img", &["convert", compress, "-O", format, "-o", options, "gpt.raw", name]);
    }
    bench.run("qemu-img", &["create", "-q", "-f", "qcow2", "-b", "a.qcow2", "-F", "qcow2", "over.qcow2"]);

    let root = production();
    let root = root.to_str().unwrap();
    bench.sized("btrfs.img", 160);
    bench.run("mkfs.btrfs", &["-q", "--rootdir", root, "btrfs.img"]);
    for comp in ["zstd", "xz", "gzip", "lz4", "lzo"] {
        let name = format!("{comp}.squashfs");
        bench.run("mksquashfs", &[root, &name, "-comp", comp, "-quiet", "-no-progress"]);
    }
    bench.run("mkfs.erofs", &["plain.erofs", root]);
    bench.run("mkfs.erofs", &["-zlz4hc", "lz4.erofs", root]);
    bench.run("xorriso", &["-as", "mkisofs", "-quiet", "-R", "-J", "-o", "root.iso", root]);
    // As live media of Debian have it.
    bench.run("sh", &["-c", "mkdir -p medium/live && cp zstd.squashfs medium/live/filesystem.squashfs"]);
    bench.run("xorriso", &["-as", "mkisofs", "-quiet", "-R", "-o", "live.iso", "medium"]);
    for (logical, name) in [("root", "linear.raw"), ("striped", "striped.raw")] {
        let mut disk = crate::volumes::group(&["pv1", "pv2"]);
        put_on_logical(&mut disk, logical, &fs::read(bench.path("xz.squashfs")).unwrap());
        fs::write(bench.path(name), disk).unwrap();
    }

    let raw = fs::read(bench.path("gpt.raw")).unwrap();
    fs::write(bench.path("gpt.raw.gz"), gzip(&raw)).unwrap();
    fs::write(bench.path("gpt.raw.zst"), zstd(&raw)).unwrap();
    bench.run("sh", &["-c", "xz -0 < gpt.raw > gpt.raw.xz; gzip -1 < a.qcow2 > a.qcow2.gz"]);
    // As clouds export disks: one sparse member in a compressed tar.
    bench.run("sh", &["-c", "cp gpt.raw disk.raw && tar --format=oldgnu -Sczf export.tar.gz disk.raw"]);
    bench.run("sh", &["-c", "tar --format=posix -Scf export-pax.tar disk.raw && rm disk.raw"]);
    bench.run("sh", &["-c", "tar -czf extents.tar.gz split.vmdk split-s*.vmdk"]);
    let ovf = r#"<?xml version="1.0"?><ovf:Envelope xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1">
        <ovf:References><ovf:File ovf:href="stream.vmdk" ovf:id="f1"/></ovf:References>
        <ovf:DiskSection><ovf:Disk ovf:diskId="d1" ovf:fileRef="f1" ovf:capacity="28"/></ovf:DiskSection></ovf:Envelope>"#;
    fs::write(bench.path("appliance.ovf"), ovf).unwrap();
    bench.run("sh", &["-c", "tar --format=ustar -cf appliance.ova appliance.ovf stream.vmdk"]);
    bench.run("sh", &["-c", "split -b 10M -d -a 3 --numeric-suffixes=1 gpt.raw parts."]);
    bench.run("tar", &["-C", root, "-cf", "root.tar", "."]);

    for name in [
        "ext4.img",
        "ext2.img",
        "ext3.img",
        "xfs.img",
        "gpt.raw",
        "mbr.raw",
        "xfs.raw",
        "logical.raw",
        "a.qcow2",
        "zstd.qcow2",
        "over.qcow2",
        "sparse.vmdk",
        "stream.vmdk",
        "flat.vmdk",
        "split.vmdk",
        "a.vhd",
        "fixed.vhd",
        "a.vhdx",
        "a.vdi",
        "gpt.raw.gz",
        "gpt.raw.zst",
        "gpt.raw.xz",
        "a.qcow2.gz",
        "export.tar.gz",
        "export-pax.tar",
        "extents.tar.gz",
        "appliance.ovf",
        "appliance.ova",
        "parts.001",
        "root.tar",
        "btrfs.img",
        "zstd.squashfs",
        "xz.squashfs",
        "gzip.squashfs",
        "lz4.squashfs",
        "lzo.squashfs",
        "plain.erofs",
        "lz4.erofs",
        "root.iso",
        "live.iso",
        "linear.raw",
        "striped.raw",
    ] {
        let (code, found) = bench.inventory(name, &[]);
        assert_eq!(found.gaps, [], "{name}");
        assert_eq!(found.systems, wanted.systems, "{name}");
        assert_eq!(found.content_id, wanted.content_id, "{name}");
        assert_eq!(code, 0, "{name}");
        assert!(found.coverage.iter().all(|row| row.read), "{name}: {:?}", found.coverage);
    }
}

#[test]
fn a_disk_is_judged_as_the_container_of_its_system_is() {
    if !has_tools(&["mke2fs", "sfdisk"]) {
        return;
    }
    let bench = Bench::new();
    bench.ext4("root.img", &production(), 24, &[]);
    let script = "label: gpt\nstart=2048, size=49152, type=L\nstart=51200, size=2048, type=swap\n";
    bench.disk("vm.raw", 28, script, &[("root.img", 1)]);
    let disk = bench.told(&["audit", "--baseline", BASELINE, "--as-of", DAY, "vm.raw"]);
    let directory = karat(&["audit", "--baseline", BASELINE, "--as-of", DAY, PRODUCTION]);
    assert_eq!(disk.replace("DISKS/vm.raw", PRODUCTION).replace("  disk", "  dir"), shown(&directory));
}

#[test]
fn the_layout_of_a_disk_is_shown() {
    if !has_tools(&["mke2fs", "sfdisk", "mkfs.vfat", "mkswap", "qemu-img"]) {
        return;
    }
    let bench = Bench::new();
    let root = bench.path("root");
    bench.run("cp", &["-r", production().to_str().unwrap(), "root"]);
    let fstab = "UUID=11111111-2222-3333-4444-555555555555 / ext4 defaults 0 1\n\
        LABEL=var /var ext4 defaults 0 2\nPARTLABEL=esp /boot/efi vfat umask=0077 0 1\n\
        UUID=66666666-2222-3333-4444-555555555555 /home ext4 defaults 0 2\n/dev/sda4 none swap sw 0 0\n";
    fs::write(root.join("etc/fstab"), fstab).unwrap();
    bench.run("mv", &["root/var", "var"]);
    bench.run("mkdir", &["root/var"]);
    bench.ext4("root.img", &root, 16, &["-U", "11111111-2222-3333-4444-555555555555"]);
    bench.ext4("var.img", &bench.path("var"), 16, &["-L", "var"]);
    bench.sized("esp.img", 4);
    bench.run("mkfs.vfat", &["-i", "1234abcd", "-n", "ESP", "esp.img"]);
    bench.sized("swap.img", 2);
    bench.run("mkswap", &["-q", "-U", "77777777-2222-3333-4444-555555555555", "swap.img"]);
    let noise: Vec<u8> = (0..MIB as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    fs::write(bench.path("noise.img"), noise).unwrap();
    let script = "label: gpt\nlabel-id: 88888888-2222-3333-4444-555555555555\n\
        start=2048, size=8192, type=U, name=esp\nstart=10240, size=32768, type=L, name=root\n\
        start=43008, size=32768, type=L, name=var\nstart=75776, size=4096, type=S\n\
        start=83968, size=2048, type=L, name=secret\n";
    let parts = [("esp.img", 1), ("root.img", 5), ("var.img", 21), ("swap.img", 37), ("noise.img", 41)];
    bench.disk("vm.raw", 44, script, &parts);
    bench.run("qemu-img", &["convert", "-O", "qcow2", "vm.raw", "vm.qcow2"]);
    assert_snapshot!("layout", bench.told(&["inventory", "--layout", "vm.qcow2"]));
    let (code, found) = bench.inventory("vm.qcow2", &[]);
    assert_eq!(code, 3);
    let ran = karat(&["inventory", "-q", "-o", "json", "--as-of", DAY, PRODUCTION]);
    let wanted: Inventory = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(found.systems, wanted.systems);
}

#[test]
fn several_systems_of_a_disk_are_told_apart() {
    if !has_tools(&["mke2fs", "sfdisk"]) {
        return;
    }
    let bench = Bench::new();
    bench.ext4("root.img", &production(), 24, &[]);
    let script = "label: gpt\nstart=2048, size=49152, type=L\nstart=51200, size=49152, type=L\n";
    bench.disk("ab.raw", 52, script, &[("root.img", 1), ("root.img", 25)]);
    let (code, found) = bench.inventory("ab.raw", &[]);
    assert_eq!(code, 0);
    let volumes: Vec<_> = found.systems.iter().map(|system| system.volume.as_deref()).collect();
    assert_eq!(volumes, [Some("partition 1"), Some("partition 2")]);
    assert_snapshot!("two_systems", bench.told(&["audit", "--baseline", BASELINE, "--as-of", DAY, "ab.raw"]));
}

#[test]
fn disks_that_cannot_be_read_are_never_clean() {
    if !has_tools(&["mke2fs", "sfdisk", "qemu-img"]) {
        return;
    }
    let bench = Bench::new();
    bench.ext4("root.img", &production(), 24, &[]);
    bench.disk("gpt.raw", 28, "label: gpt\nstart=2048, size=49152, type=L\n", &[("root.img", 1)]);
    bench.run("qemu-img", &["convert", "-O", "qcow2", "gpt.raw", "whole.qcow2"]);
    let whole = fs::read(bench.path("whole.qcow2")).unwrap();
    fs::write(bench.path("cut.qcow2"), &whole[..whole.len() / 2]).unwrap();
    let mut head = whole.clone();
    head[4..8].copy_from_slice(&9_u32.to_be_bytes());
    fs::write(bench.path("version.qcow2"), &head).unwrap();
    // What QEMU marks when its reference counts and tables disagree (incompatible feature bit 1).
    let mut corrupt = whole.clone();
    corrupt[79] |= 2;
    fs::write(bench.path("corrupt.qcow2"), &corrupt).unwrap();
    let raw = fs::read(bench.path("gpt.raw")).unwrap();
    let mut broken = raw.clone();
    broken[512..1024].fill(0);
    let end = broken.len();
    broken[end - 512..].fill(0);
    fs::write(bench.path("no-table.raw"), &broken).unwrap();
    fs::write(bench.path("cut.raw.gz"), &gzip(&raw)[..20_000]).unwrap();
    bench.run(
        "qemu-img",
        &["create", "-q", "-f", "qcow2", "-u", "-b", "gone.qcow2", "-F", "qcow2", "orphan.qcow2", "8M"],
    );
    bench.run(
        "qemu-img",
        &["create", "-q", "-f", "qcow2", "-u", "-b", "/etc/passwd", "-F", "raw", "host.qcow2", "8M"],
    );
    bench.run(
        "qemu-img",
        &["create", "-q", "-f", "qcow2", "-u", "-b", "l00p.qcow2", "-F", "qcow2", "loop.qcow2", "8M"],
    );
    let mut lap = fs::read(bench.path("loop.qcow2")).unwrap();
    let name = lap.windows(10).position(|part| part == b"l00p.qcow2").unwrap();
    lap[name..name + 4].copy_from_slice(b"loop");
    fs::write(bench.path("loop.qcow2"), lap).unwrap();
    bench.sized("blank.raw", 8);
    bench.disk("empty.raw", 8, "label: gpt\n", &[]);
    fs::write(bench.path("no.ovf"), "<Envelope xmlns=\"http://schemas.dmtf.org/ovf/envelope/1\">").unwrap();
    let names = [
        "cut.qcow2",
        "version.qcow2",
        "corrupt.qcow2",
        "no-table.raw",
        "cut.raw.gz",
        "orphan.qcow2",
        "host.qcow2",
        "loop.qcow2",
        "empty.raw",
        "no.ovf",
    ];
    for name in names {
        let (code, found) = bench.inventory(name, &[]);
        assert_eq!(code, 3, "{name}");
        assert!(found.gaps.iter().any(|gap| gap.required), "{name}");
    }
    let mut args = vec!["audit", "--baseline", BASELINE, "--as-of", DAY, "whole.qcow2"];
    args.extend(names);
    // How far the cut compressed disk can be inflated depends on the deflater.
    insta::with_settings!({ filters => [(r"the disk ends at byte \d+", "the disk ends at byte [END]")] }, {
        assert_snapshot!("broken_disks", bench.told(&args));
    });
    assert_snapshot!("blank_disk", bench.told(&["inventory", "blank.raw"]));
    assert_snapshot!(
        "forced_blank_disk",
        bench.told(&["inventory", &format!("disk:{}", bench.path("blank.raw").display())])
    );
}

#[test]
fn parents_elsewhere_need_leave() {
    if !has_tools(&["mke2fs", "qemu-img"]) {
        return;
    }
    let bench = Bench::new();
    for folder in ["bases", "images"] {
        fs::create_dir(bench.path(folder)).unwrap();
    }
    bench.ext4("bases/root.img", &production(), 24, &[]);
    bench
        .run("qemu-img", &["create", "-q", "-f", "qcow2", "-b", "root.img", "-F", "raw", "bases/base.qcow2"]);
    let base = bench.path("bases/base.qcow2");
    let base = base.to_str().unwrap();
    bench.run("qemu-img", &["create", "-q", "-f", "qcow2", "-b", base, "-F", "qcow2", "images/vm.qcow2"]);
    let (code, found) = bench.inventory("images/vm.qcow2", &[]);
    assert_eq!((code, found.systems.len()), (3, 0));
    let reason = &found.gaps[0].reason;
    assert!(reason.contains("outside of its folder") && reason.contains("--disk-folder"), "{reason}");
    let folder = bench.path("bases");
    let (code, found) = bench.inventory("images/vm.qcow2", &["--disk-folder", folder.to_str().unwrap()]);
    assert_eq!((code, found.systems.len()), (0, 1));
}

#[test]
fn roots_are_found_where_layouts_put_them() {
    if !has_tools(&["mke2fs", "sfdisk"]) {
        return;
    }
    let bench = Bench::new();
    let ran = karat(&["inventory", "-q", "-o", "json", "--as-of", DAY, PRODUCTION]);
    let wanted: Inventory = serde_json::from_str(&ran.stdout).unwrap();
    let places = |found: &Inventory| -> Vec<Option<String>> {
        found.systems.iter().map(|system| system.volume.clone()).collect()
    };
    let same = |found: &Inventory| {
        let one = |mut system: karat::model::System| {
            system.volume = None;
            system
        };
        found.systems.iter().all(|system| one(system.clone()) == wanted.systems[0])
    };

    // Two deployments of ostree, with one /var.
    let source = production();
    let source = source.to_str().unwrap();
    let script = "set -e; for n in 0 1; do d=ostree/ostree/deploy/os/deploy/abc.$n; mkdir -p $d; \
        cp -r $1/etc $1/usr $d; mkdir $d/var; done; mkdir -p ostree/ostree/deploy/os; cp -r $1/var ostree/ostree/deploy/os/";
    bench.run("sh", &["-c", script, "sh", source]);
    bench.ext4("ostree.img", &bench.path("ostree"), 40, &[]);
    let (code, found) = bench.inventory("ostree.img", &[]);
    let deployment = |n: u32| Some(format!("disk: /ostree/deploy/os/deploy/abc.{n}"));
    assert_eq!(places(&found), [deployment(0), deployment(1)]);
    assert!(same(&found) && code == 0, "{:?}", found.gaps);

    // A root that needs a /usr, of which there are two.
    bench.run("sh", &["-c", "cp -r $1 bare && rm -r bare/usr && mkdir bare/usr", "sh", source]);
    bench.ext4("bare.img", &bench.path("bare"), 8, &[]);
    bench.ext4("usr.img", &production().join("usr"), 16, &[]);
    let script = "label: gpt\nstart=2048, size=32768, type=8484680c-9521-48c6-9c11-b0720656f69e, name=usr-a\n\
        start=34816, size=32768, type=8484680c-9521-48c6-9c11-b0720656f69e, name=usr-b\nstart=67584, size=16384, type=L\n";
    bench.disk("ab.raw", 44, script, &[("usr.img", 1), ("usr.img", 17), ("bare.img", 33)]);
    let (code, found) = bench.inventory("ab.raw", &[]);
    let with = |n: u32| Some(format!("partition 3 with partition {n}"));
    assert_eq!(places(&found), [with(1), with(2)]);
    assert!(same(&found) && code == 0, "{:?}", found.gaps);

    // The other slot of a pair of which fstab names one: it boots after the next switch.
    bench.run("sh", &["-c", "echo 'PARTLABEL=usr-a /usr ext4 ro 0 0' > bare/etc/fstab"]);
    bench.ext4("named.img", &bench.path("bare"), 8, &[]);
    bench.disk("slots.raw", 44, script, &[("usr.img", 1), ("usr.img", 17), ("named.img", 33)]);
    let (code, found) = bench.inventory("slots.raw", &[]);
    assert_eq!((places(&found), code), (vec![None], 3));
    assert_eq!(found.gaps.iter().map(|gap| gap.place.as_str()).collect::<Vec<_>>(), ["partition 2"]);

    // /var by the type of its partition, without any fstab.
    bench.run("sh", &["-c", "cp -r $1 novar && rm -r novar/var && mkdir novar/var", "sh", source]);
    bench.ext4("novar.img", &bench.path("novar"), 24, &[]);
    bench.ext4("var.img", &production().join("var"), 16, &[]);
    let script = "label: gpt\nstart=2048, size=49152, type=L\n\
        start=51200, size=32768, type=4d21b016-b534-45c2-a9fb-5c16e091fd2d\n";
    bench.disk("var.raw", 44, script, &[("novar.img", 1), ("var.img", 25)]);
    let (code, found) = bench.inventory("var.raw", &[]);
    assert_eq!((places(&found), code), (vec![None], 0), "{:?}", found.gaps);
    assert!(same(&found));

    // A volume that nothing mounts and that cannot be read may hold anything.
    let script = "label: gpt\nstart=2048, size=49152, type=L\nstart=51200, size=32768, type=L\n";
    bench.disk("no-var.raw", 44, script, &[("novar.img", 1)]);
    let (code, found) = bench.inventory("no-var.raw", &[]);
    assert_eq!(code, 3);
    assert!(found.gaps.iter().any(|gap| gap.required), "a system without packages passes");
}

#[test]
fn a_volume_whose_root_is_damaged_may_hold_a_system() {
    if !has_tools(&["mke2fs", "sfdisk", "debugfs"]) {
        return;
    }
    let bench = Bench::new();
    bench.ext4("root.img", &production(), 24, &["-b", "4096"]);
    let blocks = bench.run("debugfs", &["-R", "blocks <2>", "root.img"]);
    let block: usize = blocks.split_whitespace().next().unwrap().parse().unwrap();
    let mut broken = fs::read(bench.path("root.img")).unwrap();
    broken[block * 4096..(block + 1) * 4096].fill(0xff);
    fs::write(bench.path("broken.img"), broken).unwrap();
    let script = "label: gpt\nstart=2048, size=49152, type=L\nstart=51200, size=49152, type=L\n";
    bench.disk("vm.raw", 52, script, &[("root.img", 1), ("broken.img", 25)]);
    let (code, found) = bench.inventory("vm.raw", &[]);
    assert_eq!((code, found.systems.len()), (3, 1));
    assert!(
        found.gaps.iter().any(|gap| gap.required && gap.place.starts_with("partition 2")),
        "{:?}",
        found.gaps
    );
}

/// Partitions beside an ISO 9660, as hybrid media have them, are looked into.
#[test]
fn partitions_beside_a_disc_are_read() {
    if !has_tools(&["mke2fs", "xorriso"]) {
        return;
    }
    let bench = Bench::new();
    bench.ext4("root.img", &production(), 24, &[]);
    bench.run("sh", &["-c", "mkdir medium && echo hello > medium/README"]);
    let ran = karat(&["inventory", "-q", "-o", "json", "--as-of", DAY, PRODUCTION]);
    let wanted: Inventory = serde_json::from_str(&ran.stdout).unwrap();
    for (name, options) in
        [("mbr.iso", &[][..]), ("gpt.iso", &["-appended_part_as_gpt", "-partition_offset", "16"])]
    {
        let mut args = vec!["-as", "mkisofs", "-quiet", "-R", "-o", name];
        args.extend(["-append_partition", "2", "0x83", "root.img"]);
        args.extend(options);
        args.push("medium");
        bench.run("xorriso", &args);
        let (code, found) = bench.inventory(name, &[]);
        assert_eq!(found.gaps, [], "{name}");
        assert_eq!(found.systems, wanted.systems, "{name}");
        assert_eq!(code, 0, "{name}");
        let disc = found.coverage.iter().find(|row| row.kind == "ISO 9660").unwrap();
        assert!(disc.read, "{name}");
    }
    // What is behind a disc and in no partition is told.
    bench.run(
        "xorriso",
        &["-as", "mkisofs", "-quiet", "-R", "-o", "plain.iso", production().to_str().unwrap()],
    );
    let (code, _) = bench.inventory("plain.iso", &[]);
    assert_eq!(code, 0);
    let mut disc = fs::read(bench.path("plain.iso")).unwrap();
    let len = disc.len();
    disc.resize(len + 65536, 0);
    disc[len + 5000] = 1;
    fs::write(bench.path("plain.iso"), disc).unwrap();
    let (_, found) = bench.inventory("plain.iso", &[]);
    let told: Vec<_> = found.gaps.iter().map(|gap| (gap.reason.as_str(), gap.required)).collect();
    let why = format!("in no volume, and not blank: the first byte that is not zero is at {}", len + 5000);
    assert_eq!(told, [(&*why, false)]);
}

/// A volume may be larger than its file system.
#[test]
fn what_is_behind_a_file_system_is_told() {
    if !has_tools(&["mke2fs", "sfdisk"]) {
        return;
    }
    let bench = Bench::new();
    bench.ext4("root.img", &production(), 24, &[]);
    bench.disk("vm.raw", 34, "label: gpt\nstart=2048, size=65536, type=L\n", &[("root.img", 1)]);
    let whole = fs::read(bench.path("vm.raw")).unwrap();
    let row = |found: &Inventory| {
        let rows = found.coverage.iter().filter(|row| row.role == "behind a file system");
        rows.map(|row| (row.kind.clone(), row.offset_bytes, row.size_bytes, row.read)).collect::<Vec<_>>()
    };
    let (offset, size) = (Some(25 * MIB), Some(8 * MIB));
    let (code, found) = bench.inventory("vm.raw", &[]);
    assert_eq!((code, row(&found)), (0, vec![("blank".to_owned(), offset, size, true)]));
    assert_eq!(found.gaps, []);
    for (at, bytes, what, required) in [
        (26 * MIB, &b"x"[..], "the first byte that is not zero is at 26214400", false),
        (25 * MIB, b"LUKS\xba\xbe\0\x02", "LUKS2 begins at byte 25165824", true),
    ] {
        let mut disk = whole.clone();
        disk[at as usize..at as usize + bytes.len()].copy_from_slice(bytes);
        fs::write(bench.path("vm.raw"), disk).unwrap();
        let (code, found) = bench.inventory("vm.raw", &[]);
        let want = if required { 3 } else { 0 };
        assert_eq!((code, row(&found)), (want, vec![("unknown".to_owned(), offset, size, false)]));
        let [gap] = &found.gaps[..] else { panic!("{:?}", found.gaps) };
        assert!(gap.reason.contains(what) && gap.required == required, "{gap:?}");
    }
}

/// An appliance of two disks with a root over both, and its manifest.
#[test]
fn an_appliance_is_one_machine_and_its_digests_hold() {
    if !has_tools(&["mksquashfs", "qemu-img", "sha256sum", "sha1sum"]) {
        return;
    }
    let bench = Bench::new();
    let ran = karat(&["inventory", "-q", "-o", "json", "--as-of", DAY, PRODUCTION]);
    let wanted: Inventory = serde_json::from_str(&ran.stdout).unwrap();
    let root = production();
    bench.run(
        "mksquashfs",
        &[root.to_str().unwrap(), "root.squashfs", "-comp", "xz", "-quiet", "-no-progress"],
    );
    let mut both = crate::volumes::group(&["pv1", "pv2"]);
    put_on_logical(&mut both, "root", &fs::read(bench.path("root.squashfs")).unwrap());
    both[462..478].fill(0);
    let (first, second) = both.split_at(33 << 20);
    fs::write(bench.path("one.raw"), first).unwrap();
    fs::write(bench.path("two.raw"), [&first[..1 << 20], second].concat()).unwrap();
    for name in ["one", "two"] {
        let (raw, vmdk) = (format!("{name}.raw"), format!("{name}.vmdk"));
        bench.run("qemu-img", &["convert", "-O", "vmdk", "-o", "subformat=streamOptimized", &raw, &vmdk]);
    }
    let ovf = r#"<?xml version="1.0"?><ovf:Envelope xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1">
        <ovf:References><ovf:File ovf:href="one.vmdk" ovf:id="f1"/><ovf:File ovf:href="two.vmdk" ovf:id="f2"/></ovf:References>
        <ovf:DiskSection><ovf:Disk ovf:diskId="d1" ovf:fileRef="f1" ovf:capacity="33"/>
        <ovf:Disk ovf:diskId="d2" ovf:fileRef="f2" ovf:capacity="33"/></ovf:DiskSection></ovf:Envelope>"#;
    fs::write(bench.path("vm.ovf"), ovf).unwrap();
    let pack = || {
        bench.run("sh", &["-c", "rm -f vm.ova; tar --format=ustar -cf vm.ova vm.ovf *.mf one.vmdk two.vmdk"]);
        ["vm.ova", "vm.ovf"].map(str::to_owned)
    };
    let notes = |found: &Inventory| -> Vec<String> {
        let rows = found.coverage.iter().filter(|row| row.place.ends_with("image"));
        rows.filter_map(|row| row.note.clone()).collect()
    };
    let whole = fs::read(bench.path("two.vmdk")).unwrap();
    for sum in ["sha256sum", "sha1sum"] {
        fs::write(bench.path("two.vmdk"), &whole).unwrap();
        bench.run("sh", &["-c", &format!("{sum} --tag vm.ovf one.vmdk two.vmdk > vm.mf")]);
        for name in pack() {
            for (more, note) in [
                (&[][..], "not checked against the digest in the manifest: --digest does"),
                (&["--digest"], "its digest is the one in the manifest"),
            ] {
                let (code, found) = bench.inventory(&name, more);
                assert_eq!(found.gaps, [], "{name}");
                assert_eq!(found.systems, wanted.systems, "{name}");
                assert_eq!(code, 0, "{name}");
                assert_eq!(notes(&found), [note, note], "{name}");
                let spanning = found.coverage.iter().find(|row| row.role == "/").unwrap();
                assert_eq!(spanning.place, "logical volume system/root");
            }
        }
        // A byte that nothing reads was changed.
        let mut changed = whole.clone();
        changed[300] ^= 1;
        fs::write(bench.path("two.vmdk"), changed).unwrap();
        for name in pack() {
            assert_eq!(bench.inventory(&name, &[]).0, 0);
            let (code, found) = bench.inventory(&name, &["--digest"]);
            assert_eq!((code, found.systems.len()), (3, 0), "{name}");
            let of_two = found.gaps.iter().find(|gap| gap.place.starts_with("two.vmdk")).unwrap();
            assert!(of_two.required && of_two.reason.starts_with("OVF manifest: digest: "), "{of_two:?}");
        }
    }
    fs::write(bench.path("two.vmdk"), &whole).unwrap();
    // The descriptor was changed, and the manifest is none.
    for (script, reason) in [
        (
            "sha256sum --tag vm.ovf one.vmdk two.vmdk > vm.mf; sed -i '1s/=.*/= 0000000000000000000000000000000000000000000000000000000000000000/' vm.mf",
            "OVF manifest: digest",
        ),
        ("echo nonsense > vm.mf", "the digests of the appliance were not checked: OVF manifest: line"),
    ] {
        bench.run("sh", &["-c", script]);
        for name in pack() {
            let (code, found) = bench.inventory(&name, &[]);
            assert_eq!(code, 3, "{name}");
            assert!(
                found.gaps.iter().any(|gap| gap.required && gap.reason.contains(reason)),
                "{name}: {:?}",
                found.gaps
            );
        }
    }
    // A disk that the appliance has not: what lies on it alone, or on both, is a gap.
    bench.run("sh", &["-c", "rm two.vmdk *.mf vm.ova; tar --format=ustar -cf vm.ova vm.ovf one.vmdk"]);
    let (code, found) = bench.inventory("vm.ova", &[]);
    assert_eq!((code, found.systems.len()), (3, 0));
    assert!(found.gaps.iter().any(|gap| gap.place == "two.vmdk: image" || gap.place.starts_with("two.vmdk")));
}

/// A btrfs whose devices are two disks of one appliance, both read or one missing.
#[test]
fn a_btrfs_over_two_disks_of_an_appliance_is_read() {
    let bench = Bench::new();
    for (name, fixture) in [("one.img", "raid0"), ("two.img", "raid0.2")] {
        let packed = crate::mutate::fixture(&format!("disks/btrfs/{fixture}.img.zst"));
        fs::write(bench.path(name), ::zstd::decode_all(&packed[..]).unwrap()).unwrap();
    }
    let ovf = r#"<?xml version="1.0"?><Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1">
        <References><File href="one.img" id="f1"/><File href="two.img" id="f2"/></References>
        <DiskSection><Disk diskId="d1" fileRef="f1"/><Disk diskId="d2" fileRef="f2"/></DiskSection></Envelope>"#;
    fs::write(bench.path("vm.ovf"), ovf).unwrap();
    let rows = |found: &Inventory| -> Vec<(String, String, bool)> {
        let volumes = found.coverage.iter().filter(|row| row.kind == "btrfs");
        volumes.map(|row| (row.place.clone(), row.role.clone(), row.read)).collect()
    };
    let (_, found) = bench.inventory("vm.ovf", &[]);
    let row = |place: &str, role: &str| (place.to_owned(), role.to_owned(), true);
    assert_eq!(rows(&found), [row("one.img: disk", "/"), row("two.img: disk", "device of a btrfs")]);
    assert!(!found.gaps.iter().any(|gap| gap.reason.contains("devices")), "{:?}", found.gaps);
    fs::remove_file(bench.path("two.img")).unwrap();
    let (code, found) = bench.inventory("vm.ovf", &[]);
    assert_eq!(code, 3);
    assert!(found.gaps.iter().any(|gap| gap.place.starts_with("two.img") && gap.required));
}

#[test]
fn subvolumes_that_no_system_boots_are_told() {
    let bench = Bench::new();
    let packed = crate::mutate::fixture("disks/btrfs/subvolumes.img.zst");
    fs::write(bench.path("btrfs.img"), ::zstd::decode_all(&packed[..]).unwrap()).unwrap();
    assert_snapshot!("subvolumes", bench.told(&["inventory", "--layout", "btrfs.img"]));
}

#[test]
fn a_vm_template_holds_what_the_container_image_of_its_system_holds() {
    let read = |image: &str| -> Inventory {
        let ran = karat(&["inventory", "-q", "-o", "json", "--as-of", DAY, image]);
        assert_eq!(ran.code, 0, "{}", shown(&ran));
        serde_json::from_str(&ran.stdout).unwrap()
    };
    let disk = read("fixtures/images/debian-12-drifted.qcow2");
    let container = read("fixtures/images/debian-12-drifted.oci.tar");
    assert_eq!(disk.content_id, container.content_id);
    assert!(disk.coverage.iter().all(|row| row.read));
    assert_snapshot!(
        "template_layout",
        shown(&karat(&["inventory", "--layout", "fixtures/images/debian-12-drifted.qcow2"]))
    );
}

/// Breaks the block with the names of a directory of an ext file system with blocks of 4096 bytes.
fn break_directory(bench: &Bench, image: &str, directory: &str) {
    let blocks = bench.run("debugfs", &["-R", &format!("blocks {directory}"), image]);
    let block: usize = blocks.split_whitespace().next().unwrap().parse().unwrap();
    let mut broken = fs::read(bench.path(image)).unwrap();
    broken[block * 4096..(block + 1) * 4096].fill(0xff);
    fs::write(bench.path(image), broken).unwrap();
}

fn required_at<'a>(found: &'a Inventory, place: &str) -> Vec<&'a str> {
    let required = found.gaps.iter().filter(|gap| gap.required && gap.place == place);
    required.map(|gap| gap.reason.as_str()).collect()
}

#[test]
fn damaged_folders_that_may_hold_a_root_are_told() {
    if !has_tools(&["mke2fs", "debugfs"]) {
        return;
    }
    let bench = Bench::new();
    let source = production();
    let source = source.to_str().unwrap();
    let script = "set -e; d=ostree/ostree/deploy/os/deploy/abc.0; mkdir -p $d; cp -r $1/etc $1/usr $1/var $d; \
        mkdir -p medium/live medium/casper; echo x > medium/live/filesystem.squashfs; echo x > medium/casper/a.squashfs";
    bench.run("sh", &["-c", script, "sh", source]);
    let blocks = ["-b", "4096"];
    for (folder, place) in [
        ("/ostree/deploy", "disk: /ostree/deploy"),
        ("/ostree/deploy/os", "disk: /ostree/deploy/os/deploy"),
        ("/ostree/deploy/os/deploy", "disk: /ostree/deploy/os/deploy"),
    ] {
        bench.ext4("ostree.img", &bench.path("ostree"), 40, &blocks);
        break_directory(&bench, "ostree.img", folder);
        let (code, found) = bench.inventory("ostree.img", &[]);
        assert_eq!((code, found.systems.len()), (3, 0), "{folder}");
        assert!(!required_at(&found, place).is_empty(), "{folder}: {:?}", found.gaps);
    }
    for (folder, place) in [("/live", "disk: /live"), ("/casper", "disk: /casper"), ("/", "disk: /")] {
        bench.ext4("medium.img", &bench.path("medium"), 8, &blocks);
        break_directory(&bench, "medium.img", folder);
        let (code, found) = bench.inventory("medium.img", &[]);
        assert_eq!((code, found.systems.len()), (3, 0), "{folder}");
        assert!(
            found.gaps.iter().any(|gap| gap.required && gap.place.starts_with(place)),
            "{folder}: {:?}",
            found.gaps
        );
    }
    // What is no file system in a medium's file is told, too.
    bench.ext4("medium.img", &bench.path("medium"), 8, &blocks);
    let (code, found) = bench.inventory("medium.img", &[]);
    assert_eq!(code, 3);
    for place in ["disk: /live/filesystem.squashfs", "disk: /casper/a.squashfs"] {
        assert!(!required_at(&found, place).is_empty(), "{place}: {:?}", found.gaps);
    }
}

#[test]
fn a_name_that_an_ext_directory_has_twice_is_told() {
    if !has_tools(&["mke2fs"]) {
        return;
    }
    let bench = Bench::new();
    let source = production();
    bench.run(
        "sh",
        &[
            "-c",
            "cp -r $1 root && cp root/var/lib/dpkg/status root/var/lib/dpkg/statux && \
        sed -i '/^Package: libc6$/,/^$/d' root/var/lib/dpkg/statux",
            "sh",
            source.to_str().unwrap(),
        ],
    );
    // Without sums over directories, so that the second name is as good as the first.
    bench.ext4("root.img", &bench.path("root"), 24, &["-O", "^metadata_csum"]);
    let mut image = fs::read(bench.path("root.img")).unwrap();
    let names: Vec<usize> =
        (0..image.len() - 8).filter(|at| image[*at..].starts_with(b"\x06\x01statux")).collect();
    assert_eq!(names.len(), 1);
    image[names[0] + 7] = b's';
    fs::write(bench.path("root.img"), image).unwrap();
    for more in [&[][..], &["--with-releases"]] {
        let (code, found) = bench.inventory("root.img", more);
        let told = found.gaps.iter().any(|gap| gap.required && gap.reason.contains("twice"));
        assert!(code == 3 && told, "{more:?}: {:?}", found.gaps);
    }
}

#[test]
fn subvolumes_that_do_not_open_are_told() {
    const NODE: usize = 16384;
    const ROOT_ITEM: u8 = 132;
    let packed = crate::mutate::fixture("disks/btrfs/subvolumes.img.zst");
    let whole = ::zstd::decode_all(&packed[..]).unwrap();
    let bench = Bench::new();
    fs::write(bench.path("whole.img"), &whole).unwrap();
    let (_, before) = bench.inventory("whole.img", &[]);
    // The root directory of every subvolume but the one that boots, which is said in all copies of the root tree.
    let mut broken = whole.clone();
    let mut changed = std::collections::BTreeSet::new();
    for at in (0..whole.len() / NODE).map(|node| node * NODE) {
        let node = &whole[at..at + NODE];
        if crc32c::crc32c(&node[32..]).to_le_bytes() != node[..4] || node[100] != 0 {
            continue;
        }
        let number = |from: usize| u32::from_le_bytes(node[from..from + 4].try_into().unwrap()) as usize;
        for item in (0..number(96)).map(|item| 101 + item * 25).filter(|item| node[item + 8] == ROOT_ITEM) {
            let id = u64::from_le_bytes(node[item..item + 8].try_into().unwrap());
            // 256 is the default subvolume.
            if (257..1 << 48).contains(&id) {
                let directory = at + 101 + number(item + 17) + 168;
                broken[directory] ^= 1;
                changed.insert(id);
            }
        }
        let sum = crc32c::crc32c(&broken[at + 32..at + NODE]).to_le_bytes();
        broken[at..at + 4].copy_from_slice(&sum);
    }
    assert!(changed.len() > 1, "{changed:?}");
    fs::write(bench.path("broken.img"), broken).unwrap();
    let (code, found) = bench.inventory("broken.img", &[]);
    assert_eq!(code, 3);
    let told: Vec<_> =
        found.gaps.iter().filter(|gap| gap.required && gap.place.contains("subvolume")).collect();
    assert!(!told.is_empty() && told.iter().all(|gap| gap.reason.contains("root_dirid")), "{:?}", found.gaps);
    assert!(before.gaps.iter().all(|gap| !gap.place.contains("subvolume")), "{:?}", before.gaps);
}

/// A root of composefs alone is an image of metadata whose files are kept by their digests: its system is not read.
#[test]
fn a_root_of_composefs_alone_is_no_clean_disk() {
    if !has_tools(&["mke2fs"]) {
        return;
    }
    let bench = Bench::new();
    bench.run(
        "sh",
        &[
            "-c",
            "mkdir -p sysroot/composefs/objects/0a sysroot/composefs/images \
        sysroot/state/deploy/abc/etc sysroot/state/os/default/var sysroot/boot && \
        echo x > sysroot/composefs/objects/0a/b1c2 && ln -s ../objects/0a/b1c2 sysroot/composefs/images/abc",
        ],
    );
    bench.ext4("bootc.img", &bench.path("sysroot"), 8, &[]);
    let (code, found) = bench.inventory("bootc.img", &[]);
    assert_eq!((code, found.systems.len()), (3, 0));
    assert_eq!(
        required_at(&found, "disk: /composefs"),
        ["a root of composefs alone, whose files are kept by their digests, is not read by this version"]
    );
}
