//! What a system mounts decides what it holds: fstab, mount units, kernel names of disks, and what nobody mounts.
//! What systemd does with these files was seen from systemd-fstab-generator 252 and is in systemd.unit(5).

use std::fs;

use karat::model::Inventory;

use crate::cli::{BASELINE, DAY, karat, shown};
use crate::vm::{Bench, has_tools, production};

const ROOT: &str = "11111111-2222-3333-4444-555555555555";
const VAR: &str = "33333333-2222-3333-4444-555555555555";
const TABLE: &str =
    "label: gpt\nstart=2048, size=49152, type=L, name=root\nstart=51200, size=32768, type=L, name=pvar\n";

/// Makes a copy of production in `root`, and of its /var with one more package in `var`.
fn prepare(bench: &Bench) {
    let script = "set -e; rm -rf root; cp -r \"$1\" root; cp -r root/var var; rm -f root/etc/fstab; \
        mkdir -p root/usr/lib/systemd root/srv root/etc/systemd/system; : > root/usr/lib/systemd/systemd; \
        printf '\\nPackage: marker\\nStatus: install ok installed\\nArchitecture: amd64\\nVersion: 1\\n' \
        >> var/lib/dpkg/status";
    bench.run("sh", &["-c", script, "sh", production().to_str().unwrap()]);
    bench.ext4("var.img", &bench.path("var"), 16, &["-U", VAR, "-L", "v"]);
    bench.run("mkdir", &["nothing"]);
    bench.ext4("nothing.img", &bench.path("nothing"), 16, &[]);
}

/// A disk of a root, which a script changes, and a second volume.
fn disk(bench: &Bench, name: &str, script: &str, second: &str) {
    let fstab = format!("rm -rf r; cp -r root r; cd r; echo 'UUID={ROOT} / ext4 defaults 0 1' > etc/fstab");
    bench.run(
        "sh",
        &["-c", &format!("set -e; {fstab}; {}", script.replace("VAR", VAR).replace("ROOT", ROOT))],
    );
    bench.ext4("r.img", &bench.path("r"), 24, &["-U", ROOT]);
    bench.disk(name, 42, TABLE, &[("r.img", 1), (second, 25)]);
}

fn has_marker(found: &Inventory) -> bool {
    found.systems.iter().flat_map(|system| &system.packages).any(|package| package.name == "marker")
}

const WANTED: &str = "mkdir -p etc/systemd/system/local-fs.target.wants; \
    ln -s ../var.mount etc/systemd/system/local-fs.target.wants/";

#[test]
fn what_is_mounted_is_what_is_read() {
    if !has_tools(&["mke2fs", "sfdisk"]) {
        return;
    }
    let bench = Bench::new();
    prepare(&bench);
    let unit = |place: &str, what: &str| {
        format!("mkdir -p {place}; printf '[Mount]\\nWhat={what}\\nWhere=/var\\n' > {place}/var.mount")
    };
    let own = unit("etc/systemd/system", "UUID=VAR");
    for (name, script) in [
        ("link", "echo 'UUID=VAR /var ext4 defaults 0 2' >> etc/fstab; mv etc/fstab usr/f; ln -s /usr/f etc/fstab".into()),
        ("etc", "echo 'UUID=VAR /var ext4 defaults 0 2' >> etc/fstab; mv etc usr/etc; ln -s usr/etc etc".into()),
        ("unit", format!("{own}; {WANTED}")),
        ("unit of a package", format!("{}; {WANTED}", unit("usr/lib/systemd/system", "/dev/disk/by-label/v"))),
        ("before fstab", format!("echo '/srv /var none bind 0 0' >> etc/fstab; {own}")),
        (
            "changed",
            format!("{}; {WANTED}; mkdir etc/systemd/system/var.mount.d; \
                printf '[Mount]\\nWhat=LABEL=v\\n' > etc/systemd/system/var.mount.d/a.conf", unit("etc/systemd/system", "LABEL=none")),
        ),
        (
            "fstab changed",
            "echo 'LABEL=none /var ext4 defaults 0 2' >> etc/fstab; mkdir etc/systemd/system/var.mount.d; \
                printf '[Mount]\\nWhat=LABEL=v\\n' > etc/systemd/system/var.mount.d/a.conf".into(),
        ),
        (
            "automount",
            format!("{own}; printf '[Automount]\\nWhere=/var\\n' > etc/systemd/system/var.automount; \
                mkdir etc/systemd/system/local-fs.target.wants; \
                ln -s ../var.automount etc/systemd/system/local-fs.target.wants/"),
        ),
        ("fstab's automount", "echo 'UUID=VAR /var ext4 noauto,x-systemd.automount 0 2' >> etc/fstab".into()),
        ("first", "printf 'UUID=VAR /var ext4 ro\\n/srv /var none bind\\n' >> etc/fstab".into()),
        ("nofail", "echo 'UUID=VAR /var ext4 nofail' >> etc/fstab".into()),
        ("below", "echo 'UUID=VAR /var/lib/dpkg ext4 X-mount.subdir=lib/dpkg' >> etc/fstab".into()),
        ("kernel name", "printf '/dev/vda1 / ext4\\n/dev/vda2 /var ext4\\n' > etc/fstab".into()),
        ("other kernel name", "printf '/dev/sdb1 / ext4\\n/dev/sdb2 /var ext4\\n' > etc/fstab".into()),
        ("of a file", "mkdir srv/x; cp ../var/lib/dpkg/status srv/x/; echo '/srv/x/status /var/lib/dpkg/status none bind' >> etc/fstab; echo 'UUID=VAR /srv/y ext4' >> etc/fstab".into()),
    ] {
        disk(&bench, "vm.raw", &script, "var.img");
        let (code, found) = bench.inventory("vm.raw", &[]);
        let required: Vec<_> = found.gaps.iter().filter(|gap| gap.required).collect();
        assert!(code == 0 && has_marker(&found), "{name}: {code}, {required:?}");
    }
}

#[test]
fn what_may_be_mounted_and_is_not_read_is_a_gap() {
    if !has_tools(&["mke2fs", "sfdisk"]) {
        return;
    }
    let bench = Bench::new();
    prepare(&bench);
    let unit = "printf '[Unit]\\nCONDITION\\n[Mount]\\nWhat=UUID=VAR\\nWhere=/var\\n' > etc/systemd/system/var.mount";
    let entry = |options: &str| {
        format!(
            "mkdir -p boot/loader/entries; printf '[x]' > boot/loader/loader.conf; \
            printf 'linux /vmlinuz-6.1.0-1-amd64\\noptions {options}\\n' > boot/loader/entries/a.conf"
        )
    };
    for (name, script, place) in [
        ("directory", "rm etc/fstab; mkdir etc/fstab".to_owned(), "/etc/fstab"),
        ("pipe", "rm etc/fstab; mkfifo etc/fstab".into(), "/etc/fstab"),
        ("too long", "seq 2001 | sed 's,.*,LABEL=& /m& ext4,' >> etc/fstab".into(), "/etc/fstab"),
        ("link to nothing", "rm etc/fstab; ln -s none etc/fstab".into(), "/etc/fstab"),
        ("loop", "cp ../var.img srv/v; echo '/srv/v /var ext4 loop,nofail' >> etc/fstab".into(), "/var"),
        ("overlay", "echo 'overlay /var/lib overlay lowerdir=/srv,nofail' >> etc/fstab".into(), "/var/lib"),
        ("another disk", "echo '/dev/sdb2 /var ext4' >> etc/fstab".into(), "/var"),
        ("orphan", String::new(), "partition 2"),
        ("asked for", "echo 'UUID=VAR /var ext4 noauto' >> etc/fstab".into(), "/var"),
        ("wanted by none", unit.replace("CONDITION", ""), "/var"),
        ("condition", format!("{}; {WANTED}", unit.replace("CONDITION", "ConditionFirstBoot=yes")), "/var"),
        (
            "not its place",
            format!("{unit}; sed -i s,=/var,=/srv, etc/systemd/system/var.mount; {WANTED}"),
            "/etc/systemd/system/var.mount",
        ),
        ("root of another", entry("root=UUID=99999999-2222-3333-4444-555555555555"), "boot"),
        ("root on another disk", entry("root=/dev/sdb1"), "boot"),
        ("mounted by what boots", entry("root=UUID=ROOT systemd.mount-extra=UUID=VAR:/var:ext4"), "boot"),
        ("no fstab", entry("root=UUID=ROOT fstab=no"), "boot"),
        (
            "admindir",
            "mkdir -p etc/dpkg/dpkg.cfg.d; echo admindir=/srv/d > etc/dpkg/dpkg.cfg.d/a".into(),
            "/etc/dpkg/dpkg.cfg.d/a",
        ),
        (
            "machine",
            "mkdir -p var/lib/machines/m/etc; cp usr/lib/os-release var/lib/machines/m/etc/".into(),
            "/var/lib/machines/m",
        ),
    ] {
        disk(&bench, "vm.raw", &script, "var.img");
        let (code, found) = bench.inventory("vm.raw", &[]);
        let is_told = found.gaps.iter().any(|gap| gap.required && gap.place == place);
        assert!(code == 3 && is_told, "{name}: {code}, {:?}", found.gaps);
    }
}

#[test]
fn ordinary_lines_leave_a_system_whole() {
    if !has_tools(&["mke2fs", "sfdisk"]) {
        return;
    }
    let bench = Bench::new();
    prepare(&bench);
    bench.run("sh", &["-c", "mkdir -p data/user; echo hi > data/user/file"]);
    bench.ext4("data.img", &bench.path("data"), 16, &["-U", VAR, "-L", "data"]);
    for (name, script, told) in [
        ("plain", "", 0),
        (
            "own root",
            "mkdir -p boot/extlinux; printf 'DEFAULT l\\nLABEL l\\nLINUX /vmlinuz-6.1.0-1-amd64\\nAPPEND root=UUID=ROOT ro\\n' > boot/extlinux/extlinux.conf",
            0,
        ),
        (
            "own root by name",
            "mkdir -p boot/extlinux; printf 'DEFAULT l\\nLABEL l\\nLINUX /vmlinuz-6.1.0-1-amd64\\nAPPEND root=/dev/vda1\\n' > boot/extlinux/extlinux.conf",
            0,
        ),
        ("data", "echo 'UUID=VAR /home ext4 noauto' >> etc/fstab", 0),
        ("absent", "echo 'LABEL=none /opt ext4 nofail' >> etc/fstab", 1),
        ("root of another name", "echo 'UUID=99999999-2222-3333-4444-555555555555 / ext4' > etc/fstab", 1),
        ("device", "echo '/dev/root / auto defaults 1 1' > etc/fstab", 0),
        (
            "no memory of its own",
            "printf '[Mount]\\nWhat=tmpfs\\nWhere=/tmp\\nType=tmpfs\\n' > etc/systemd/system/tmp.mount",
            0,
        ),
        (
            "condition that fails",
            "printf '[Unit]\\nConditionPathExists=/var/lib/machines.raw\\n[Mount]\\nWhat=/var/lib/machines.raw\\nWhere=/var/lib/machines\\n' > etc/systemd/system/var-lib-machines.mount",
            0,
        ),
        (
            "snap",
            "mkdir etc/systemd/system/multi-user.target.wants; printf '[Mount]\\nWhat=/var/lib/snapd/snaps/c.snap\\nWhere=/snap/c/1\\nType=squashfs\\n' > etc/systemd/system/snap-c-1.mount; ln -s ../snap-c-1.mount etc/systemd/system/multi-user.target.wants/",
            1,
        ),
    ] {
        disk(&bench, "vm.raw", script, "data.img");
        let (code, found) = bench.inventory("vm.raw", &[]);
        assert_eq!((code, found.gaps.len()), (0, told), "{name}: {:?}", found.gaps);
        assert!(found.systems.len() == 1 && !found.systems[0].packages.is_empty());
    }
}

#[test]
fn one_name_of_two_volumes_and_one_disk_of_two_are_no_guess() {
    if !has_tools(&["mke2fs", "sfdisk", "tar"]) {
        return;
    }
    let bench = Bench::new();
    prepare(&bench);
    disk(&bench, "vm.raw", "echo 'UUID=VAR /var ext4 nofail' >> etc/fstab", "var.img");
    let script = format!("{TABLE}start=83968, size=32768, type=L\n");
    bench.disk("two.raw", 58, &script, &[("r.img", 1), ("var.img", 25), ("var.img", 41)]);
    let (code, found) = bench.inventory("two.raw", &[]);
    let gap = found.gaps.iter().find(|gap| gap.place == "/var").unwrap();
    assert!(code == 3 && gap.required && gap.reason.ends_with("partition 2, partition 3"), "{gap:?}");

    // Of two disks and two names the other is the other; where the root names none, nothing says which is which.
    for (root, code, has_other) in [("/dev/sda1", 0, true), ("UUID=ROOT", 3, false)] {
        let script = format!("printf '{root} / ext4\\n/dev/sdb1 /var ext4\\n' > etc/fstab");
        disk(&bench, "a.raw", &script, "nothing.img");
        bench.disk("b.raw", 20, "label: gpt\nstart=2048, size=32768, type=L\n", &[("var.img", 1)]);
        bench.run("tar", &["-cf", "vm.tar", "a.raw", "b.raw"]);
        let (got, found) = bench.inventory("vm.tar", &[]);
        let required: Vec<_> = found.gaps.iter().filter(|gap| gap.required).collect();
        assert_eq!((got, has_marker(&found)), (code, has_other), "{root}: {required:?}");
    }
}

#[test]
fn each_system_of_a_disk_has_its_own_gaps() {
    if !has_tools(&["mke2fs", "sfdisk"]) {
        return;
    }
    let bench = Bench::new();
    prepare(&bench);
    bench.ext4("whole.img", &bench.path("root"), 24, &[]);
    bench.run("sh", &["-c", "mkdir -p root/var/lib/dpkg/info; : > root/var/lib/dpkg/info/gone.md5sums"]);
    bench.ext4("gap.img", &bench.path("root"), 24, &[]);
    let script = "label: gpt\nstart=2048, size=49152, type=L\nstart=51200, size=49152, type=L\n";
    bench.disk("vm.raw", 52, script, &[("gap.img", 1), ("whole.img", 25)]);
    let told = bench.told(&["audit", "--baseline", BASELINE, "--as-of", DAY, "vm.raw"]);
    let heads: Vec<&str> = told.lines().filter(|line| line.contains("vm.raw: ")).collect();
    let [first, second] = heads.as_slice() else { panic!("{told}") };
    assert!(first.contains("on partition 1 ") && second.contains("on partition 2 "), "{told}");
    let below = told.split(second).next().unwrap();
    assert!(below.contains("partition 1: /var/lib/dpkg/info: 1 package"), "{told}");
    assert!(!second.starts_with("INCOMPLETE"), "{told}");
    let markdown = bench.told(&["audit", "--baseline", BASELINE, "--as-of", DAY, "-o", "markdown", "vm.raw"]);
    assert!(markdown.contains("` on partition 1 |") && markdown.contains("` on partition 2 |"), "{markdown}");

    // A disk votes once, however many systems are on it.
    bench.disk("host.raw", 52, script, &[("whole.img", 1), ("whole.img", 25)]);
    let (host, out) = (bench.path("host.raw"), bench.path("b.json"));
    let args = ["--name", "x", "--as-of", DAY, "-o", out.to_str().unwrap(), "--host", host.to_str().unwrap()];
    let ran = karat(&[&["baseline", "build"][..], &args].concat());
    let built: serde_json::Value =
        serde_json::from_slice(&fs::read(&out).unwrap_or_else(|_| panic!("{}", shown(&ran)))).unwrap();
    assert_eq!(built.pointer("/platforms/0/hosts").and_then(|hosts| hosts.as_array()).map(Vec::len), Some(1));
}

#[test]
fn media_are_read_by_what_their_files_are() {
    if !has_tools(&["mke2fs", "sfdisk", "mksquashfs", "xorriso"]) {
        return;
    }
    let bench = Bench::new();
    prepare(&bench);
    bench.run("sh", &["-c", "mkdir medium medium/other; head -c 2000000 /dev/urandom > root/srv/noise"]);
    bench.run("mksquashfs", &["root", "medium/other/system", "-quiet", "-no-progress"]);
    bench.run("xorriso", &["-as", "mkisofs", "-quiet", "-R", "-o", "live.iso", "medium"]);
    let (code, found) = bench.inventory("live.iso", &[]);
    assert_eq!((code, found.systems.len()), (0, 1), "{:?}", found.gaps);

    // Deeper than the ceiling is a gap that names it.
    bench.ext4("in0.img", &bench.path("root"), 24, &[]);
    for n in 1..=4_u64 {
        bench.run("sh", &["-c", &format!("rm -rf n; mkdir n; cp in{}.img n/rootfs.img", n - 1)]);
        bench.ext4(&format!("in{n}.img"), &bench.path("n"), 24 + 4 * n, &[]);
    }
    let (code, _) = bench.inventory("in3.img", &[]);
    assert_eq!(code, 0);
    let (code, found) = bench.inventory("in4.img", &[]);
    assert_eq!(code, 3);
    assert!(
        found.gaps.iter().any(|gap| gap.required && gap.reason.contains("nested_images")),
        "{:?}",
        found.gaps
    );

    let layout = bench.told(&["inventory", "--layout", "-o", "markdown", "in1.img"]);
    assert!(layout.contains("| what | where | starts at |") && layout.contains("/rootfs.img"), "{layout}");
}
