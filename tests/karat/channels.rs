//! Channel sources against what dpkg-deb, dpkg-parsechangelog and awk say of them, and every way in which one
//! can be broken.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use karat::Limits;
use karat::baseline::channel::{ChannelInput, ChannelKind, ReadOptions, is_channel, read};
use karat::model::Time;
use tempfile::TempDir;

use crate::tools::tool;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

fn time(text: &str) -> Time {
    text.parse().unwrap()
}

fn try_read(path: &Path, platform: Option<&str>, threads: usize) -> Result<Vec<ChannelInput>, String> {
    let limits = Limits::default();
    let platform = platform.map(|platform| platform.parse().unwrap());
    let options = ReadOptions { limits: &limits, platform: platform.as_ref(), taken_at: None, threads };
    read(path, &options).map_err(|error| {
        let hint = error.hint_text().map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
        format!("{error}{hint}")
    })
}

fn one(path: &Path) -> ChannelInput {
    let mut inputs = try_read(path, None, 2).unwrap();
    assert_eq!(inputs.len(), 1, "{}", path.display());
    inputs.remove(0)
}

/// The rows of a table that a tool made.
fn rows(name: &str) -> BTreeSet<Vec<String>> {
    let text = fs::read_to_string(fixture(name)).unwrap();
    text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect()
}

fn packages(input: &ChannelInput) -> BTreeSet<Vec<String>> {
    let row = |offer: &karat::baseline::Offer| {
        let p = &offer.package;
        let built_using: Vec<String> =
            p.built_using.iter().map(|s| format!("{} (= {})", s.name, s.version)).collect();
        let source = [&p.source.name, &p.source.version].map(Clone::clone);
        let [name, version] = source;
        vec![p.name.clone(), p.version.clone(), p.arch.clone(), name, version, built_using.join(", ")]
    };
    input.packages.iter().map(row).collect()
}

/// A copy that can be broken.
fn copy(name: &str) -> TempDir {
    fn into(from: &Path, to: &Path) {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let path = entry.unwrap().path();
            let target = to.join(path.file_name().unwrap());
            if path.is_dir() {
                into(&path, &target);
            } else {
                fs::copy(&path, &target).unwrap();
            }
        }
    }
    let copied = tempfile::tempdir().unwrap();
    into(&fixture(name), copied.path());
    copied
}

#[test]
fn a_pool_is_what_dpkg_says_of_it() {
    let pool = one(&fixture("channels/debian/pool"));
    assert_eq!(packages(&pool), rows("channels/pool.expected.tsv"));
    let entries: BTreeSet<Vec<String>> = pool
        .releases
        .iter()
        .map(|e| vec![e.version.clone(), e.suites.join(" "), e.dated.unwrap().unix().to_string()])
        .collect();
    let want: BTreeSet<Vec<String>> =
        rows("channels/pool.changelogs.tsv").into_iter().map(|row| row[1..].to_vec()).collect();
    assert_eq!(entries, want);
    let sources: BTreeSet<&str> = pool.releases.iter().map(|e| e.source.as_str()).collect();
    assert_eq!(sources.into_iter().collect::<Vec<_>>(), ["gcc-12", "widget"]);
    let widget: Vec<_> = pool.releases.iter().filter(|e| e.source == "widget").collect();
    assert_eq!(widget[1].cves, ["CVE-2026-12345"]);
    assert_eq!(widget[0].superseded_by.as_deref(), Some("2.0-1"));
    for offer in pool.packages.iter().filter(|o| o.package.source.name == "widget") {
        assert_eq!(offer.package.built_at, Some(time("2026-07-14T03:33:20Z")), "{}", offer.package.name);
        assert_eq!(offer.package.origin.as_deref(), Some("Example"));
    }
    assert_eq!(
        pool.notes,
        ["3 sources have no changelog in the folder: gcc-11-cross, rust-servo-arc, tasksel"]
    );
    assert_eq!((pool.kind, pool.lists_all, pool.taken_at), (ChannelKind::DebFolder, false, None));
}

#[test]
fn a_repository_is_what_dpkg_says_of_its_packages() {
    let root = fixture("channels/debian");
    let suite = one(&root);
    assert_eq!(packages(&suite), rows("channels/pool.expected.tsv"));
    assert_eq!(suite.platform.as_ref().unwrap().to_string(), "debian/12/amd64");
    assert_eq!(suite.suite.as_deref(), Some("bookworm"));
    assert_eq!(suite.taken_at, Some(time("2026-07-14T03:33:20Z")));
    // contrib is not there, and the Release says that it is empty.
    assert!(suite.lists_all && suite.notes.is_empty(), "{:?}", suite.notes);
    assert_eq!(suite.id, format!("{}#bookworm/amd64/main", root.display()));
    for below in ["dists/bookworm", "dists/bookworm/Release", "dists/bookworm/main/binary-amd64/Packages.xz"]
    {
        let again = one(&root.join(below));
        let same = ChannelInput { id: suite.id.clone(), ..again };
        assert_eq!(same, suite, "{below}");
    }
    assert_eq!(try_read(&root, Some("debian/12/amd64"), 1).unwrap(), [suite]);
}

#[test]
fn the_lists_of_a_host_are_its_suites() {
    let lists = fixture("channels/lists");
    let suite = one(&lists);
    let told: BTreeSet<Vec<String>> = packages(&suite).into_iter().map(|row| row[..3].to_vec()).collect();
    assert_eq!(told, rows("channels/lists.expected.tsv"));
    assert_eq!(suite.kind, ChannelKind::AptList);
    assert_eq!(suite.suite.as_deref(), Some("bookworm-updates"));
    assert_eq!(suite.taken_at, Some(time("2026-11-23T02:09:33Z")));
    assert!(suite.lists_all, "the other components are empty");
    let file = "deb.debian.org_debian_dists_bookworm-updates_main_binary-amd64_Packages.lz4";
    let again = one(&lists.join(file));
    assert_eq!(
        (again.packages, again.digest, again.platform),
        (suite.packages, suite.digest, suite.platform)
    );
}

#[test]
fn an_index_of_alpine_is_what_awk_says_of_it() {
    let index = one(&fixture("channels/alpine"));
    let told: BTreeSet<Vec<String>> = index
        .packages
        .iter()
        .map(|offer| {
            let p = &offer.package;
            let built = p.built_at.unwrap().unix().to_string();
            vec![p.name.clone(), p.version.clone(), p.arch.clone(), p.source.name.clone(), built]
        })
        .collect();
    assert_eq!(told, rows("channels/alpine.expected.tsv"));
    assert_eq!(index.platform.as_ref().unwrap().to_string(), "alpine/3.16/x86_64");
    assert_eq!(index.suite.as_deref(), Some("v3.16/main"));
    assert_eq!(index.taken_at, Some(time("2022-11-21T22:04:22Z")));
    assert!(index.lists_all);
    // Outside of its tree the description still tells the branch, and nothing the repository.
    let alone = tempfile::tempdir().unwrap();
    let file = alone.path().join("APKINDEX.0123abcd.tar.gz");
    fs::copy(fixture("channels/alpine/v3.16/main/x86_64/APKINDEX.tar.gz"), &file).unwrap();
    let alone = one(&file);
    assert_eq!((alone.suite.as_deref(), alone.lists_all), (Some("v3.16"), false));
    assert_eq!(alone.platform, index.platform);
}

#[test]
fn a_folder_of_changelogs_is_what_dpkg_parsechangelog_says_of_it() {
    let folder = one(&fixture("changelogs"));
    let mut want = BTreeSet::new();
    for entry in fs::read_dir(fixture("changelogs")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.ends_with(".expected.tsv") {
            want.extend(rows(&format!("changelogs/{name}")).into_iter().map(|row| {
                vec![row[1].clone(), row[2].clone(), row[4].clone(), row.get(5).cloned().unwrap_or_default()]
            }));
        }
    }
    let told: BTreeSet<Vec<String>> = folder
        .releases
        .iter()
        .map(|e| {
            let dated = e.dated.unwrap().unix().to_string();
            vec![e.version.clone(), e.suites.join(" "), dated, e.cves.join(" ")]
        })
        .collect();
    assert_eq!(told, want);
    assert!(folder.notes[0].contains("not Debian's, passed over"), "{:?}", folder.notes);
}

#[test]
fn compression_and_threads_change_nothing() {
    let root = copy("channels/debian");
    let whole = one(root.path());
    let at = root.path().join("dists/bookworm/main/binary-amd64");
    let Some(xz) = tool("xz") else { return };
    let plain = Command::new(xz).args(["-dc"]).arg(at.join("Packages.xz")).output().unwrap().stdout;
    fs::remove_file(at.join("Packages.xz")).unwrap();
    for (name, ending) in [("gzip", "gz"), ("zstd", "zst"), ("bzip2", "bz2"), ("lz4", "lz4"), ("cat", "")] {
        let Some(program) = tool(name) else { continue };
        fs::write(at.join("Packages"), &plain).unwrap();
        let packed =
            Command::new(program).args((name != "cat").then_some("-c")).arg(at.join("Packages")).output();
        let file = at.join(format!("Packages.{ending}").trim_end_matches('.'));
        fs::remove_file(at.join("Packages")).unwrap();
        fs::write(&file, packed.unwrap().stdout).unwrap();
        for threads in [1, 16] {
            let read = try_read(root.path(), None, threads).unwrap();
            assert_eq!(read, std::slice::from_ref(&whole), "{name}");
        }
        fs::remove_file(&file).unwrap();
    }
    // Under its digest alone.
    let by_hash = at.join("by-hash/SHA256");
    fs::create_dir_all(&by_hash).unwrap();
    let release = fs::read_to_string(root.path().join("dists/bookworm/Release")).unwrap();
    let line = release.lines().filter(|l| l.ends_with(" main/binary-amd64/Packages")).nth(2).unwrap();
    fs::write(by_hash.join(line.split_whitespace().next().unwrap()), &plain).unwrap();
    assert_eq!(one(root.path()), whole);
    let pool = fixture("channels/debian/pool");
    assert_eq!(try_read(&pool, None, 1), try_read(&pool, None, 16));
}

#[test]
fn a_component_that_is_not_there_leaves_absence_unproven() {
    let root = copy("channels/debian");
    let release = root.path().join("dists/bookworm/Release");
    let text = fs::read_to_string(&release).unwrap();
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855                0";
    assert!(text.contains(empty));
    fs::write(&release, text.replace(empty, &empty.replace("  0", "  9"))).unwrap();
    let suite = one(root.path());
    assert!(!suite.lists_all);
    assert_eq!(
        suite.notes,
        ["not there, so nothing of it is known to be absent: contrib/binary-amd64/Packages"]
    );
}

#[test]
fn what_the_user_says_of_the_platform_decides_and_is_held_against_the_source() {
    let folder = fixture("channels/arm64");
    let both = copy("channels/debian/pool");
    fs::copy(folder.join("widget-other_2.0-1_arm64.deb"), both.path().join("other.deb")).unwrap();
    let mixed = try_read(both.path(), None, 1).unwrap_err();
    assert!(mixed.contains("packages of several architectures"), "{mixed}");
    let arm64 = try_read(both.path(), Some("debian/12/arm64"), 1).unwrap().remove(0);
    let names: Vec<&str> = arm64.packages.iter().map(|o| o.package.name.as_str()).collect();
    assert_eq!(names, ["task-dutch-kde-desktop", "widget-other"]);
    assert_eq!(arm64.platform.unwrap().to_string(), "debian/12/arm64");
    assert!(arm64.notes[0].starts_with("9 packages of other architectures passed over"), "{:?}", arm64.notes);
}

#[test]
fn packages_count_before_an_index_without_release() {
    let pool = copy("channels/debian/pool/main/w");
    fs::write(pool.path().join("Packages"), "Package: a\nVersion: 1\nArchitecture: amd64\n").unwrap();
    assert_eq!(one(pool.path()).kind, ChannelKind::DebFolder);
    fs::write(pool.path().join("Release"), "Origin: Example\nDate: Tue, 14 Jul 2026 03:33:20 UTC\n").unwrap();
    let flat = one(pool.path());
    assert_eq!((flat.kind, flat.packages.len(), flat.platform), (ChannelKind::AptSuite, 1, None));
    assert_eq!((flat.taken_at, flat.lists_all), (Some(time("2026-07-14T03:33:20Z")), false));
}

#[test]
fn channel_sources_are_told_from_images_and_systems() {
    for name in [
        "channels/debian",
        "channels/debian/pool",
        "channels/debian/dists/bookworm",
        "channels/debian/dists/bookworm/main/binary-amd64/Packages.xz",
        "channels/lists",
        "channels/alpine",
        "changelogs",
    ] {
        assert!(is_channel(&fixture(name)), "{name}");
    }
    for name in
        ["production/debian-12", "images/multi-platform.oci", "broken/whole.oci.tar", "dpkg/states", "absent"]
    {
        assert!(!is_channel(&fixture(name)), "{name}");
    }
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("Packages");
    fs::write(&database, b"\0\0\0\0\x61\x15\x06\0").unwrap(); // as Berkeley DB starts
    assert!(!is_channel(&database));
    let status = folder.path().join("status");
    fs::write(&status, "Package: a\nStatus: install ok installed\nVersion: 1\n").unwrap();
    assert!(!is_channel(&status));
}

/// Breaks a copy of a fixture, and gives what is said of it, with the copy's path taken out.
fn broken(name: &str, break_it: impl Fn(&Path)) -> String {
    let copied = copy(name);
    break_it(copied.path());
    let error = try_read(copied.path(), None, 1).expect_err("it is broken");
    error.replace(&copied.path().display().to_string(), "SOURCE")
}

fn change(path: PathBuf, change: impl Fn(Vec<u8>) -> Vec<u8>) {
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, change(bytes)).unwrap();
}

fn replaced(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    assert!(text.contains(from), "{from}");
    text.replace(from, to).into_bytes()
}

#[test]
fn every_broken_source_is_one_clear_error() {
    const INDEX: &str = "dists/bookworm/main/binary-amd64/Packages.xz";
    const RELEASE: &str = "dists/bookworm/Release";
    const DEB: &str = "w/widget-xz_2.0-1_amd64.deb";
    const LIST: &str = "deb.debian.org_debian_dists_bookworm-updates_main_binary-amd64_Packages.lz4";
    let half = |bytes: Vec<u8>| bytes[..bytes.len() / 2].to_vec();
    let stanza = "Package: a\nVersion: 1\nArchitecture: amd64\n\n";
    let flat = |text: String| {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("Packages"), text).unwrap();
        try_read(folder.path(), None, 1).unwrap_err().replace(&folder.path().display().to_string(), "SOURCE")
    };
    let in_arch = |text: &str| {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().join("binary-amd64");
        fs::create_dir(&at).unwrap();
        fs::write(at.join("Packages"), text).unwrap();
        try_read(&at.join("Packages"), None, 1)
            .unwrap_err()
            .replace(&folder.path().display().to_string(), "SOURCE")
    };
    let empty = tempfile::tempdir().unwrap();
    let cases = [
        ("empty folder", {
            let error = try_read(empty.path(), None, 1).unwrap_err();
            error.replace(&empty.path().display().to_string(), "SOURCE")
        }),
        ("index cut off", broken("channels/debian", |at| change(at.join(INDEX), half))),
        ("index damaged in lists", broken("channels/lists", |at| change(at.join(LIST), half))),
        (
            "index of another time",
            broken("channels/debian", |at| {
                change(at.join(RELEASE), |b| replaced(&b, "6df0e1d0", "00000000"));
            }),
        ),
        (
            "index not listed",
            broken("channels/debian", |at| {
                change(at.join(RELEASE), |b| replaced(&b, " main/binary-amd64/", " other/binary-amd64/"));
            }),
        ),
        (
            "index gone, directory there",
            broken("channels/debian", |at| fs::remove_file(at.join(INDEX)).unwrap()),
        ),
        (
            "release of another suite",
            broken("channels/debian", |at| {
                change(at.join(RELEASE), |b| {
                    replaced(
                        &replaced(&b, "Codename: bookworm", "Codename: trixie"),
                        "Suite: oldstable",
                        "Suite: stable",
                    )
                });
            }),
        ),
        (
            "release cut off",
            broken("channels/debian", |at| change(at.join(RELEASE), |b| b[..b.len() - 20].to_vec())),
        ),
        (
            "InRelease cut off",
            broken("channels/lists", |at| {
                change(at.join("deb.debian.org_debian_dists_bookworm-updates_InRelease"), half);
            }),
        ),
        ("no release", broken("channels/debian", |at| fs::remove_file(at.join(RELEASE)).unwrap())),
        ("another platform", {
            let error = try_read(&fixture("channels/debian"), Some("debian/13/amd64"), 1).unwrap_err();
            error.replace(&fixture("").display().to_string(), "")
        }),
        ("another architecture", {
            let error = try_read(&fixture("channels/debian"), Some("debian/12/riscv64"), 1).unwrap_err();
            error.replace(&fixture("").display().to_string(), "")
        }),
        ("stanza without version", flat(format!("{stanza}Package: b\nArchitecture: all\n"))),
        ("stanza cut off", flat(format!("{stanza}Package: b\nVersion: 1\nArchit"))),
        (
            "stanza of another architecture",
            in_arch(&format!("{stanza}Package: b\nVersion: 1\nArchitecture: arm64\n")),
        ),
        ("deb cut off", broken("channels/debian/pool/main", |at| change(at.join(DEB), half))),
        ("deb of text", broken("channels/debian/pool/main", |at| fs::write(at.join(DEB), "text\n").unwrap())),
        ("deb empty", broken("channels/debian/pool/main", |at| fs::write(at.join(DEB), "").unwrap())),
        (
            "deb damaged",
            broken("channels/debian/pool/main", |at| {
                change(at.join(DEB), |mut bytes| {
                    let last = bytes.len() - 60;
                    bytes[last] ^= 0x10;
                    bytes
                });
            }),
        ),
        (
            "deb link",
            broken("channels/debian/pool/main", |at| {
                std::os::unix::fs::symlink("/nowhere.deb", at.join("x.deb")).unwrap();
            }),
        ),
        (
            "changelog cut off",
            broken("changelogs", |at| {
                change(at.join("wget.changelog.Debian"), half);
            }),
        ),
        (
            "changelog of another kind",
            broken("changelogs", |at| {
                fs::write(at.join("wget_1_changelog"), "2026-01-01: we fixed it\n").unwrap();
            }),
        ),
        (
            "apk index cut off",
            broken("channels/alpine", |at| change(at.join("v3.16/main/x86_64/APKINDEX.tar.gz"), half)),
        ),
        (
            "apk index of another branch",
            broken("channels/alpine", |at| {
                fs::rename(at.join("v3.16"), at.join("v3.17")).unwrap();
            }),
        ),
        (
            "apk index empty",
            broken("channels/alpine", |at| {
                fs::write(at.join("v3.16/main/x86_64/APKINDEX.tar.gz"), "").unwrap();
            }),
        ),
        (
            "apk index of another architecture",
            broken("channels/alpine", |at| {
                fs::rename(at.join("v3.16/main/x86_64"), at.join("v3.16/main/aarch64")).unwrap();
            }),
        ),
    ];
    let text: String =
        cases.iter().map(|(what, error)| format!("{what}\n  {}\n", error.replace('\n', "\n  "))).collect();
    insta::assert_snapshot!("broken_channels", text);
}
