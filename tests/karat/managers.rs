//! Databases of the package managers besides dpkg, apk and rpm: over layers, links and damage, and against what
//! pacman itself says.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use karat::baseline::channel::{self, ChannelKind, ReadOptions};
use karat::collect::fact::Needs;
use karat::collect::{Assembled, assemble};
use karat::limits::Limits;
use karat::model::{Ecosystem, ImagePath, Inventory, Platform, Time};

use crate::cli::{DAY, karat};
use crate::making::{gzip, tar_of, zstd};
use crate::memory::{Memory, Walk, serving, squash_all, system};
use crate::tools::tool;

const OS_ONLY: Needs = Needs::OS_PACKAGES;
const PACMAN: &str = "var/lib/pacman/local";

fn of(strata: Vec<Memory>) -> Assembled {
    system(strata, OS_ONLY)
}

fn packages(assembled: &Assembled) -> Vec<(&str, &str, u32)> {
    let packages = &assembled.system.packages;
    packages.iter().map(|p| (p.name.as_str(), p.version.as_str(), p.stratum.0)).collect()
}

fn told(assembled: &Assembled) -> Vec<String> {
    assembled.gaps.iter().map(|gap| format!("{}: {}", gap.place, gap.reason)).collect()
}

fn required(assembled: &Assembled) -> Vec<String> {
    let required = assembled.gaps.iter().filter(|gap| gap.required);
    required.map(|gap| format!("{}: {}", gap.place, gap.reason)).collect()
}

fn named(id: &str) -> Memory {
    Memory::new().dir("etc").file("etc/os-release", format!("ID={id}\n"))
}

/// What pacman wrote, in another place.
fn arch(place: &str) -> Memory {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/pacman").join(PACMAN);
    let mut layer = named("arch").dir(place);
    let mut folders: Vec<PathBuf> = fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    for folder in folders {
        let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
        if folder.is_file() {
            layer = layer.file(&format!("{place}/{name}"), fs::read(&folder).unwrap());
            continue;
        }
        layer = layer.dir(&format!("{place}/{name}"));
        for file in ["desc", "files"] {
            layer = layer.file(&format!("{place}/{name}/{file}"), fs::read(folder.join(file)).unwrap());
        }
    }
    layer
}

#[test]
fn a_database_of_pacman_is_read_wherever_it_is() {
    let want = [("bar", "1.0-1", 0), ("data-files", "2:20240101.r12.gabcdef1-3", 0), ("libbar", "1.0-1", 0)];
    let linked = || {
        arch("usr/lib/sysimage/pacman/local")
            .dir("var/lib")
            .link("var/lib/pacman", "/usr/lib/sysimage/pacman")
    };
    let elsewhere = || {
        let config = "[options]\n#DBPath = /srv/\nDBPath = /usr/lib/holo/pacmandb/\n";
        arch("usr/lib/holo/pacmandb/local").file("etc/pacman.conf", config)
    };
    for image in [|| arch(PACMAN), linked, elsewhere] {
        for walk in [Walk::Stream, Walk::LookUp] {
            let squashed = squash_all(vec![image()], walk, &serving(OS_ONLY), 1);
            let assembled = assemble(&squashed, OS_ONLY, &Limits::default());
            assert_eq!(packages(&assembled), want, "{walk:?}");
            assert_eq!(told(&assembled), [""; 0]);
            assert_eq!(assembled.coverage.len(), 1, "{:?}", assembled.coverage);
            assert_eq!(assembled.coverage[0].kind, "pacman database");
            assert!(assembled.coverage[0].place.ends_with("/local") && assembled.coverage[0].read);
        }
    }
    let assembled = of(vec![arch(PACMAN)]);
    assert_eq!(assembled.system.platform.as_ref().unwrap().to_string(), "arch/rolling/x86_64");
    let package = &assembled.system.packages[2];
    assert_eq!((package.ecosystem, package.source.name.as_str()), (Ecosystem::Alpm, "bar"));
    assert_eq!(package.purl, "pkg:alpm/arch/libbar@1.0-1?arch=x86_64&distro=arch-rolling");
    assert_eq!(package.built_at.unwrap().unix(), 1_700_000_000);
    assert_eq!(package.installed_at.unwrap().unix(), 1_795_478_400);
}

#[test]
fn files_of_pacman_have_their_owner() {
    let needs = Needs::OWNERSHIP | OS_ONLY;
    let image = arch(PACMAN).dir("usr/bin").file("usr/bin/libbar", "x").file("usr/bin/none", "x");
    let assembled = system(vec![image], needs);
    let owner = |path: &str| assembled.ownership.get(&ImagePath::from(path)).map(|o| o.package.name.as_str());
    assert_eq!((owner("usr/bin/libbar"), owner("usr/bin/none")), (Some("libbar"), None));
}

#[test]
fn an_upgrade_by_pacman_is_of_its_layer() {
    let upgrade = Memory::new()
        .whiteout(&format!("{PACMAN}/libbar-1.0-1"))
        .file(
            &format!("{PACMAN}/libbar-1.1-1/desc"),
            "%NAME%\nlibbar\n\n%VERSION%\n1.1-1\n\n%ARCH%\nx86_64\n\n",
        )
        .file(&format!("{PACMAN}/libbar-1.1-1/files"), "");
    let assembled = of(vec![arch(PACMAN), upgrade]);
    assert_eq!(told(&assembled), [""; 0]);
    let want = [("bar", "1.0-1", 0), ("data-files", "2:20240101.r12.gabcdef1-3", 0), ("libbar", "1.1-1", 1)];
    assert_eq!(packages(&assembled), want);
}

#[test]
fn what_is_wrong_with_a_database_of_pacman_is_told() {
    let with = |path: &str, text: &str| {
        let assembled = of(vec![arch(PACMAN).file(&format!("{PACMAN}/{path}"), text)]);
        assert!(packages(&assembled).len() >= 2);
        required(&assembled)
    };
    let sound = "%NAME%\nbar\n\n%VERSION%\n1.0-1\n\n";
    for (path, text, want) in [
        ("bar-1.0-1/desc", "", "NAME at byte 0x0"),
        ("bar-1.0-1/desc", "%NAME%\nbar\n\n%VERSION%\n1.1-1\n\n", "name and version"),
        ("bar-1.0-1/desc", "%NAME%\nbar\n\n%VERSION%\n1.0-1\n\n%ARCH%\nx86", "cut off"),
        ("bar-1.1-1/desc", "%NAME%\nbar\n\n%VERSION%\n1.1-1\n\n", "listed twice"),
        ("odd-a-1/desc", "%NAME%\nodd\n\n%VERSION%\na.-1\n\n", "those of its folder"),
        ("odd-a.-1/desc", "%NAME%\nodd\n\n%VERSION%\na.-1\n\n", "pacman version"),
        (
            "new-1-1/files",
            "%FILES%\n",
            "/new-1-1: a package's folder in pacman's database, and no `desc` in it",
        ),
        ("ALPM_DB_VERSION", "8\n", "version 8 of pacman's database"),
    ] {
        let told = with(path, text);
        assert!(told.iter().any(|told| told.contains(want)), "{path}: {told:?}");
    }
    assert_eq!(with("bar-1.0-1/desc", sound), [""; 0]);

    // A database that is somewhere else, one that is gone, and one of a system below.
    let elsewhere = of(vec![arch(PACMAN).file("etc/pacman.conf", "DBPath=/srv/pacman\n")]);
    assert!(
        required(&elsewhere)[0].contains("in /srv/pacman, which is not read"),
        "{:?}",
        required(&elsewhere)
    );
    let gone = of(vec![named("arch").dir("var/lib/pacman/sync").file("var/lib/pacman/sync/core.db", "")]);
    assert!(required(&gone)[0].starts_with("/var/lib/pacman: pacman's directory"), "{:?}", required(&gone));
    let below = of(vec![arch(PACMAN).file("srv/var/lib/pacman/local/ALPM_DB_VERSION", "9\n")]);
    assert!(required(&below)[0].contains("below the image's own (pacman)"), "{:?}", required(&below));
}

#[test]
fn a_system_that_pacman_made_is_listed_as_pacman_lists_it() {
    let is_root =
        fs::metadata("/proc/self").is_ok_and(|meta| std::os::unix::fs::MetadataExt::uid(&meta) == 0);
    let (Some(pacman), true) = (tool("pacman"), is_root) else { return };
    let bench = tempfile::tempdir().unwrap();
    let at = |name: &str| bench.path().join(name).to_str().unwrap().to_owned();
    let run = |program: &Path, args: &[&str]| {
        let output = Command::new(program).args(args).env("LC_ALL", "C").output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let ask = |more: &[&str]| {
        let (root, database) = (at("root"), at("root/var/lib/pacman"));
        let mut args = vec!["--root", &root, "--dbpath", &database, "--config", "/dev/null"];
        args.extend(more);
        run(&pacman, &args)
    };
    fs::create_dir_all(at("root/var/lib/pacman")).unwrap();
    fs::create_dir_all(at("root/etc")).unwrap();
    fs::write(at("root/etc/os-release"), "ID=arch\nBUILD_ID=rolling\n").unwrap();
    for (name, version, arch) in [
        ("plain", "1.0-1", "x86_64"),
        ("a-b-c", "2:1.0_rc1.r3-2.1", "x86_64"),
        ("grüße", "0.1-1", "any"),
        ("gone", "1-1", "any"),
        ("plain", "1.0-2", "x86_64"),
    ] {
        let folder = at("package");
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(format!("{folder}/usr/share/{name}")).unwrap();
        fs::write(format!("{folder}/usr/share/{name}/x"), version).unwrap();
        let info = format!(
            "pkgname = {name}\npkgbase = {name}-base\npkgver = {version}\nbuilddate = 1700000000\n\
             packager = Ann <ann@example.org>\nsize = 1\narch = {arch}\n"
        );
        fs::write(format!("{folder}/.PKGINFO"), info).unwrap();
        let file = at("package.pkg.tar.gz");
        run(Path::new("tar"), &["-C", &folder, "-czf", &file, ".PKGINFO", "usr"]);
        ask(&["--noconfirm", "--noscriptlet", "-U", &file]);
    }
    ask(&["--noconfirm", "-R", "gone"]);
    let ran = karat(&["inventory", "-q", "-o", "json", "--as-of", DAY, &at("root")]);
    let inventory: Inventory = serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{}", ran.stderr));
    assert_eq!(ran.code, 0, "{}", ran.stdout);
    let system = &inventory.systems[0];
    let ours: String = system.packages.iter().map(|p| format!("{} {}\n", p.name, p.version)).collect();
    assert_eq!(ours, ask(&["-Q"]));
    assert_eq!(system.platform.as_ref().unwrap().to_string(), "arch/rolling/x86_64");
    assert!(system.packages.iter().all(|p| p.source.name == format!("{}-base", p.name)));
    assert!(
        system
            .packages
            .iter()
            .all(|p| p.installed_at.is_some() && p.built_at.unwrap().unix() == 1_700_000_000)
    );
}

#[test]
fn a_sync_database_is_a_channel() {
    let record = |name: &str| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/pacman/sync");
        (format!("{name}/desc"), fs::read(root.join(name).join("desc")).unwrap())
    };
    let records = ["bar-1.0-1", "data-files-2:20240101.r12.gabcdef1-3", "libbar-1.0-1"].map(record);
    let database = |records: &[(String, Vec<u8>)]| {
        let files: Vec<(&str, &[u8])> = records.iter().map(|(n, b)| (n.as_str(), b.as_slice())).collect();
        gzip(&tar_of(&files))
    };
    let bench = tempfile::tempdir().unwrap();
    let path = bench.path().join("core.db");
    let limits = Limits::default();
    let platform: Platform = "arch/rolling/x86_64".parse().unwrap();
    let read = |bytes: &[u8], taken_at: Option<i64>| {
        fs::write(&path, bytes).unwrap();
        let taken_at = taken_at.and_then(Time::from_unix);
        let options = ReadOptions { limits: &limits, platform: Some(&platform), taken_at, threads: 1 };
        channel::read(&path, &options).map(|mut inputs| inputs.remove(0)).map_err(|error| error.to_string())
    };
    let input = read(&database(&records), Some(1_700_000_000)).unwrap();
    assert_eq!((input.kind, input.suite.as_deref()), (ChannelKind::PacmanSync, Some("core")));
    assert_eq!(input.platform.as_ref(), Some(&platform));
    assert!(input.lists_all && input.notes.is_empty(), "{:?}", input.notes);
    let offers: Vec<_> = input
        .packages
        .iter()
        .map(|offer| {
            (offer.package.name.as_str(), offer.package.source.name.as_str(), offer.package.version.as_str())
        })
        .collect();
    let want = [
        ("bar", "bar", "1.0-1"),
        ("data-files", "data-files", "2:20240101.r12.gabcdef1-3"),
        ("libbar", "bar", "1.0-1"),
    ];
    assert_eq!(offers, want);
    // Nothing dates it but its newest build, before which it cannot be from.
    let undated = read(&database(&records), None).unwrap();
    assert!(!undated.lists_all && undated.notes[0].contains("2023-11-14"), "{:?}", undated.notes);
    assert!(read(&database(&records), Some(1_600_000_000)).is_err());
    // A folder without record, a record in another's folder, and one that is cut off.
    let mut broken = records.to_vec();
    broken[0].0 = "bar-1.0-1/depends".into();
    assert!(read(&database(&broken), None).unwrap_err().contains("2 records in 3 folders"));
    broken[0] = ("bar-1.1-1/desc".into(), records[0].1.clone());
    assert!(read(&database(&broken), None).unwrap_err().contains("those of its folder"));
    let whole = database(&records);
    assert!(read(&whole[..whole.len() - 9], None).is_err());
}

#[test]
fn a_chiselled_image_has_packages_of_debian_format() {
    let objects = [
        r#"{"kind":"content","slice":"libc6_libs","path":"/usr/lib/ld.so"}"#,
        r#"{"kind":"package","name":"libc6","version":"2.39-0ubuntu8.4","sha256":"00","arch":"amd64"}"#,
        r#"{"kind":"package","name":"tzdata","version":"2024a-3ubuntu1","sha256":"00","arch":"all"}"#,
        r#"{"kind":"slice","name":"libc6_libs"}"#,
    ];
    let manifest = |count: usize, objects: &[&str]| {
        let header = format!("{{\"jsonwall\":\"1.0\",\"schema\":\"1.0\",\"count\":{count}}}\n");
        zstd(objects.iter().fold(header, |text, object| format!("{text}{object}\n")).as_bytes())
    };
    let image = |manifest: &[u8]| {
        Memory::new()
            .dir("etc")
            .dir("usr/lib")
            .file("etc/os-release", "ID=ubuntu\nVERSION_ID=\"24.04\"\n")
            .file("usr/lib/ld.so", "x")
            .file("var/lib/chisel/manifest.wall", manifest)
    };
    let whole = manifest(5, &objects);
    let assembled = system(vec![image(&whole)], OS_ONLY | Needs::OWNERSHIP);
    assert_eq!(told(&assembled), [""; 0]);
    assert_eq!(packages(&assembled), [("libc6", "2.39-0ubuntu8.4", 0), ("tzdata", "2024a-3ubuntu1", 0)]);
    assert_eq!(assembled.system.platform.as_ref().unwrap().to_string(), "ubuntu/24.04/amd64");
    assert_eq!(
        assembled.system.packages[0].purl,
        "pkg:deb/ubuntu/libc6@2.39-0ubuntu8.4?arch=amd64&distro=ubuntu-24.04"
    );
    assert_eq!(assembled.ownership[&ImagePath::from("usr/lib/ld.so")].package.name, "libc6");
    assert_eq!(assembled.coverage[0].kind, "chisel manifest");

    // Short, cut off, and none.
    for broken in [manifest(6, &objects), whole[..whole.len() - 4].to_vec(), b"{}\n".to_vec()] {
        assert!(!required(&of(vec![image(&broken)])).is_empty());
    }
    let twice = [objects[1], r#"{"kind":"package","name":"libc6","version":"2.39-1","arch":"amd64"}"#];
    let assembled = of(vec![image(&manifest(3, &twice))]);
    assert!(required(&assembled)[0].contains("`libc6` is listed twice"), "{:?}", required(&assembled));
}

#[test]
fn opkg_is_read() {
    let status = "Package: busybox\nVersion: 1.36.1-r2\nStatus: install ok installed\nArchitecture: x86_64\nInstalled-Time: 1730715936\n\n\
                  Package: old\nVersion: 1\nStatus: deinstall ok not-installed\nArchitecture: x86_64\n\n\
                  Package: ubus\nVersion: 2024.10.20~252a9b0c-r1\nStatus: install hold,user installed\nArchitecture: x86_64\n\n";
    let image = |status: &str| {
        Memory::new()
            .dir("etc")
            .file("etc/os-release", "ID=openwrt\nVERSION_ID=\"24.10.0\"\n")
            .file("usr/lib/opkg/status", status)
            .file("usr/lib/opkg/info/busybox.list", "/bin/busybox\n")
            .file("bin/busybox", "x")
    };
    let assembled = system(vec![image(status)], OS_ONLY | Needs::OWNERSHIP);
    assert_eq!(told(&assembled), [""; 0]);
    assert_eq!(packages(&assembled), [("busybox", "1.36.1-r2", 0), ("ubus", "2024.10.20~252a9b0c-r1", 0)]);
    let ubus = &assembled.system.packages[1];
    assert_eq!(ubus.state.as_deref(), Some("hold"));
    assert_eq!(ubus.purl.split('?').next(), Some("pkg:opkg/openwrt/ubus@2024.10.20~252a9b0c-r1"));
    assert_eq!(assembled.system.packages[0].installed_at.unwrap().unix(), 1_730_715_936);
    assert_eq!(assembled.ownership[&ImagePath::from("bin/busybox")].package.name, "busybox");
    for (broken, want) in [
        (status.trim_end(), "no newline at the end"),
        ("Package: a\nStatus: install ok installed\n", "Version"),
        ("Package: a\nVersion: 1\n", "Status"),
        (
            "Package: a\nVersion: 1\nStatus: install ok installed\n\nPackage: a\nVersion: 2\nStatus: install ok installed\n",
            "listed twice",
        ),
    ] {
        let told = required(&of(vec![image(broken)]));
        assert!(told.iter().any(|told| told.contains(want)), "{want}: {told:?}");
    }
    let gone = of(vec![named("openwrt").file("usr/lib/opkg/info/busybox.list", "/bin/busybox\n")]);
    assert!(required(&gone)[0].starts_with("/usr/lib/opkg: opkg's directory"), "{:?}", required(&gone));
}

#[test]
fn xbps_is_read() {
    let plist = |inner: &str| {
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<plist version=\"1.0\">\n<dict>\n{inner}</dict>\n</plist>\n"
        )
    };
    let package = |name: &str, version: &str| {
        format!(
            "<key>{name}</key><dict><key>architecture</key><string>x86_64</string><key>pkgver</key>\
             <string>{name}-{version}</string><key>state</key><string>installed</string></dict>\n"
        )
    };
    let image = |name: &str, text: &str| named("void").file(&format!("var/db/xbps/{name}"), text);
    let whole = plist(&format!("{}{}", package("acl", "2.3.1_1"), package("zlib", "1.3.1_1")));
    let assembled = of(vec![image("pkgdb-0.38.plist", &whole)]);
    assert_eq!(told(&assembled), [""; 0]);
    assert_eq!(packages(&assembled), [("acl", "2.3.1_1", 0), ("zlib", "1.3.1_1", 0)]);
    assert_eq!(assembled.system.platform.as_ref().unwrap().to_string(), "void/rolling/x86_64");
    assert_eq!(assembled.system.packages[0].ecosystem, Ecosystem::Xbps);
    let broken = plist(&format!("{}<key>b</key><dict/>{}", package("acl", "1_1"), package("zlib", "1_1")));
    for (name, text, listed) in [
        ("pkgdb-0.38.plist", &broken[..], 2),
        ("pkgdb-0.38.plist", &whole[..whole.len() - 10], 2),
        ("pkgdb-0.21.plist", &whole, 0),
        ("keys/00.plist", "", 0),
    ] {
        let assembled = of(vec![image(name, text)]);
        assert!(!required(&assembled).is_empty(), "{name}");
        assert_eq!(packages(&assembled).len(), listed, "{name}");
    }
}

#[test]
fn portage_is_read() {
    let add = |image: Memory, folder: &str, slot: &str| {
        let at = format!("var/db/pkg/{folder}");
        let name = folder.split_once('/').unwrap().1;
        image
            .file(&format!("{at}/PF"), format!("{name}\n"))
            .file(&format!("{at}/SLOT"), format!("{slot}\n"))
            .file(&format!("{at}/CHOST"), "x86_64-pc-linux-gnu\n")
            .file(&format!("{at}/BUILD_TIME"), "1700000000\n")
            .file(
                &format!("{at}/CONTENTS"),
                format!("dir /usr\nobj /usr/{name} 900150983cd24fb0d6963f7d28e17f72 1700000000\n"),
            )
    };
    let gentoo = || {
        let base = add(named("gentoo"), "app-shells/bash-5.2_p37", "0");
        add(add(base, "dev-lang/python-3.11.9-r1", "3.11"), "dev-lang/python-3.12.3", "3.12/3.12")
    };
    let image = gentoo().file("usr/bash-5.2_p37", "x");
    let assembled = system(vec![image], OS_ONLY | Needs::OWNERSHIP);
    assert_eq!(told(&assembled), [""; 0]);
    let want = [
        ("app-shells/bash", "5.2_p37", 0),
        ("dev-lang/python", "3.11.9-r1", 0),
        ("dev-lang/python", "3.12.3", 0),
    ];
    assert_eq!(packages(&assembled), want);
    let [bash, _, python] = assembled.system.packages.as_slice() else { panic!() };
    assert_eq!((bash.arch.as_str(), bash.stream.as_deref()), ("x86_64", None));
    assert_eq!((python.stream.as_deref(), python.built_at.unwrap().unix()), (Some("3.12"), 1_700_000_000));
    assert_eq!(python.purl, "pkg:ebuild/dev-lang/python@3.12.3?arch=x86_64&distro=gentoo-rolling&slot=3.12");
    assert_eq!(assembled.ownership[&ImagePath::from("usr/bash-5.2_p37")].package.name, "app-shells/bash");
    assert_eq!(assembled.coverage.len(), 1);
    assert_eq!(assembled.coverage[0].place, "/var/db/pkg");
    for (path, text, want) in [
        ("app-misc/a-1/SLOT", "0\n", "/var/db/pkg/app-misc/a-1: a package's folder"),
        ("app-misc/a-1/PF", "a-2\n", "the name of its folder"),
        ("app-misc/-MERGING-a-1/PF", "a-1\n", "the name of its folder"),
        ("app-misc/a/PF", "a\n", "a name, a dash and a version"),
    ] {
        let assembled = of(vec![gentoo().file(&format!("var/db/pkg/{path}"), text)]);
        assert_eq!(packages(&assembled), want_of(&assembled));
        assert!(
            required(&assembled).iter().any(|told| told.contains(want)),
            "{path}: {:?}",
            told(&assembled)
        );
    }
    fn want_of(assembled: &Assembled) -> Vec<(&str, &str, u32)> {
        assert_eq!(assembled.system.packages.len(), 3);
        packages(assembled)
    }
}

#[test]
fn what_is_not_read_is_named() {
    for (path, name) in [
        ("nix/var/nix/db/db.sqlite", "nix"),
        ("var/guix/db/db.sqlite", "guix"),
        ("usr/share/clear/bundles/os-core", "swupd"),
        ("etc/cos-package-info.json", "Container-Optimized OS"),
        ("var/lib/pkgtools/packages/bash-5.2-x86_64-1", "slackware"),
        ("var/db/pkg/local.sqlite", "pkg"),
        ("usr/lib/ipkg/status", "ipkg"),
    ] {
        for walk in [Walk::Stream, Walk::LookUp] {
            let squashed = squash_all(vec![arch(PACMAN).file(path, "x")], walk, &serving(OS_ONLY), 1);
            let assembled = assemble(&squashed, OS_ONLY, &Limits::default());
            let told = required(&assembled);
            assert!(
                told.iter().any(|told| told.contains(&format!("packages of {name}: recognised"))),
                "{told:?}"
            );
        }
    }
    for path in ["var/lib/snapd/snaps/core22_1.snap", "var/lib/flatpak/app/x", "opt/conda/conda-meta/history"]
    {
        let assembled = of(vec![arch(PACMAN).file(path, "x")]);
        assert!(
            required(&assembled).is_empty() && told(&assembled).len() == 1,
            "{path}: {:?}",
            told(&assembled)
        );
    }
}
