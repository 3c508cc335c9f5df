//! Alpine's database against what apk says of it, over layers, links and damage.

use karat::collect::fact::Needs;
use karat::collect::{Assembled, assemble};
use karat::format::apk::{self, Digest, Record};
use karat::limits::Limits;
use karat::model::{Ecosystem, ImagePath};

use crate::memory::{Memory, Walk, serving, squash_all, system};
use crate::mutate::{fixture, survives};

const OS_ONLY: Needs = Needs::OS_PACKAGES;

fn records(bytes: &[u8]) -> Vec<Record> {
    apk::records(bytes, &Limits::default()).collect::<Result<_, _>>().unwrap()
}

/// The files of a database below a directory of the fixtures.
const FILES: [&str; 4] =
    ["lib/apk/db/installed", "lib/apk/db/triggers", "etc/apk/world", "etc/alpine-release"];

fn layer(name: &str) -> Memory {
    FILES.iter().fold(Memory::new().dir("etc").dir("lib/apk/db"), |layer, file| {
        layer.file(file, fixture(&format!("apk/{name}/{file}")))
    })
}

fn packages(assembled: &Assembled) -> Vec<(&str, &str, u32)> {
    let packages = &assembled.system.packages;
    packages.iter().map(|p| (p.name.as_str(), p.version.as_str(), p.stratum.0)).collect()
}

fn told(assembled: &Assembled) -> Vec<String> {
    assembled.gaps.iter().map(|gap| format!("{}: {}", gap.place, gap.reason)).collect()
}

#[test]
fn a_database_is_read_as_apk_reads_it() {
    let all = records(&fixture("apk/alpine/lib/apk/db/installed"));
    let mut ours: Vec<String> = all
        .iter()
        .map(|r| {
            let origin = r.origin.as_deref().unwrap_or(&r.name);
            let name = if r.is_virtual { r.name.clone() } else { format!("{}-{}", r.name, r.version) };
            format!("{name}\t{}\t{origin}", r.arch)
        })
        .collect();
    ours.sort();
    let expected = String::from_utf8(fixture("apk/expected.tsv")).unwrap();
    assert_eq!(ours, expected.lines().skip(1).collect::<Vec<_>>());
    assert!(all.iter().all(|record| record.is_terminated));
    assert!(all.iter().all(|record| record.is_virtual || record.built_at.unwrap().unix() == 1_795_478_400));
}

#[test]
fn files_have_the_digests_of_their_content() {
    let bytes = fixture("apk/alpine/lib/apk/db/installed");
    let all: Vec<_> = apk::files(&bytes, &Limits::default()).collect::<Result<_, _>>().unwrap();
    let busybox = all.iter().find(|files| files.package == "busybox").unwrap();
    let file = busybox.paths.iter().find(|owned| owned.path.name() == b"libbusybox.so.1.0").unwrap();
    assert_eq!(file.path, ImagePath::from("usr/lib/libbusybox.so.1.0"));
    // What `printf 'busybox\n' | sha1sum` says.
    let Some(Digest::Sha1(sha1)) = file.digest else { panic!("{file:?}") };
    let hex: String = sha1.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, "d1f1d49dc44cd5adb763ac71dbf3b4b95073f909");
}

#[test]
fn a_package_belongs_to_the_layer_since_which_it_is_unbroken() {
    let assembled = system(vec![layer("layers/0"), layer("layers/1"), layer("layers/2")], OS_ONLY);
    assert_eq!(told(&assembled), [""; 0]);
    // `.build-deps` was made up in layer 1 and is no release of anybody.
    let want =
        [("busybox", "1.36.1-r15", 0), ("g++", "13.2.1_git20240309-r0", 1), ("libssl3", "3.3.2-r1", 2)];
    assert_eq!(packages(&assembled), want);
    let system = &assembled.system;
    assert_eq!(system.platform.as_ref().unwrap().to_string(), "alpine/3.20/x86_64");
    let gcc = &system.packages[1];
    assert_eq!(gcc.ecosystem, Ecosystem::Apk);
    assert_eq!((gcc.source.name.as_str(), gcc.source.version.as_str()), ("gcc", "13.2.1_git20240309-r0"));
    assert_eq!(gcc.purl, "pkg:apk/alpine/g%2B%2B@13.2.1_git20240309-r0?arch=x86_64&distro=alpine-3.20");
    assert_eq!(gcc.built_at.unwrap().to_string(), "2026-11-24T00:00:00Z");
    let read: Vec<_> =
        assembled.coverage.iter().map(|c| (c.place.as_str(), c.kind.as_str(), c.read)).collect();
    assert_eq!(read, [("/lib/apk/db/installed", "apk database", true)]);

    // A whiteout of the database takes all with it, and its directory tells.
    let emptied = Memory::new().whiteout("lib/apk/db/installed");
    let assembled = system_of(vec![layer("layers/0"), emptied]);
    assert_eq!(packages(&assembled), []);
    assert!(told(&assembled)[0].starts_with("/lib/apk: apk's directory is there"), "{:?}", told(&assembled));
}

fn system_of(strata: Vec<Memory>) -> Assembled {
    system(strata, OS_ONLY)
}

#[test]
fn the_merged_library_directory_is_one_database() {
    let merged = || {
        FILES.iter().fold(
            Memory::new().dir("etc").dir("usr/lib/apk/db").link("lib", "usr/lib"),
            |layer, file| {
                let real = if file.starts_with("lib") { format!("usr/{file}") } else { (*file).to_owned() };
                layer.file(&real, fixture(&format!("apk/alpine-merged/{real}")))
            },
        )
    };
    let plain = system_of(vec![layer("alpine")]);
    let streamed = system_of(vec![merged()]);
    let looked_up = assemble(
        &squash_all(vec![merged()], Walk::LookUp, &serving(OS_ONLY), 1),
        OS_ONLY,
        &Limits::default(),
    );
    for assembled in [streamed, looked_up] {
        assert_eq!(packages(&assembled), packages(&plain));
        assert_eq!(told(&assembled), [""; 0]);
        assert_eq!(assembled.system.packages[0].path, ImagePath::from("usr/lib/apk/db/installed"));
    }
}

#[test]
fn what_is_missing_in_a_database_is_told() {
    let whole = String::from_utf8(fixture("apk/alpine/lib/apk/db/installed")).unwrap();
    let with = |database: &str| {
        let told = told(&system_of(vec![layer("alpine").file("lib/apk/db/installed", database)]));
        assert!(!told.is_empty());
        told
    };
    // Cut in the middle of a record, after a line.
    let cut = whole.find("P:g++").unwrap();
    let first = with(&whole[..cut]);
    assert!(first.iter().any(|t| t.contains("after package `busybox`: line 27: apk record: P")), "{first:?}");
    assert!(first.iter().any(|t| t == "/etc/apk/world: 3 packages that should be installed are in no record: .build-deps, g++, libssl3"), "{first:?}");
    // Cut between two records, which the database itself does not show.
    let between = with(&whole[..whole.find("C:Q1QbO8").unwrap()]);
    assert_eq!(between.len(), 1, "{between:?}");
    // A record whose end is missing.
    let open = with(whole.trim_end_matches('\n').trim_end());
    assert!(open[0].contains("no empty line ends this record, which is the last"), "{open:?}");
    // A record that was taken out by its owner, of which triggers remain.
    let rest = &whole[whole.find("C:Q1QbO8").unwrap()..];
    let removed = with(rest);
    assert!(
        removed
            .iter()
            .any(|t| t.starts_with("/lib/apk/db/triggers: 1 triggers of packages are in no record: Q11KFf7")),
        "{removed:?}"
    );
    // An empty one, which apk takes as nothing installed.
    assert!(with("").iter().any(|t| t.starts_with("/etc/apk/world: 4 packages")));
    // Two records of one name, and a version that no apk can order.
    let twice = with(&format!("{whole}P:g++\nV:13\n\nP:odd\nV:1.0+git\n\n"));
    assert!(
        twice.iter().any(|t| t.contains("package `g++`: apk database: package: 13, 13.2.1_git20240309-r0")),
        "{twice:?}"
    );
    assert!(twice.iter().any(|t| t.contains("package `odd`: line") && t.contains("`1.0+git`")), "{twice:?}");
}

#[test]
fn an_image_without_database_is_not_clean() {
    for directory in ["lib/apk", "lib/apk/db", "usr/lib/apk/db"] {
        let image = || Memory::new().dir("etc").file("etc/alpine-release", "3.20.3\n").dir(directory);
        let streamed = system_of(vec![image()]);
        let looked_up = assemble(
            &squash_all(vec![image()], Walk::LookUp, &serving(OS_ONLY), 1),
            OS_ONLY,
            &Limits::default(),
        );
        for assembled in [streamed, looked_up] {
            assert!(assembled.gaps.iter().any(|gap| gap.required), "{directory}");
        }
    }
}

#[test]
fn broken_bytes_are_survived() {
    let limits = Limits::default();
    survives(&fixture("apk/alpine/lib/apk/db/installed"), |bytes| {
        let all: Vec<Record> = apk::records(bytes, &limits).filter_map(Result::ok).collect();
        let _ = apk::conflicts(&all);
        apk::files(bytes, &limits).for_each(drop);
    });
}

#[test]
fn a_system_is_named_by_the_older_files_where_os_release_is_silent() {
    let image = |files: &[(&str, &str)]| {
        let database = "P:musl\nV:1.2.5-r0\nA:x86_64\n\n";
        let base =
            Memory::new().dir("etc").dir("usr/lib").dir("lib/apk/db").file("lib/apk/db/installed", database);
        files.iter().fold(base, |image, (path, text)| image.file(path, text))
    };
    for (files, platform, contradicts) in [
        (&[("etc/alpine-release", "3.20.3\n")][..], Some("alpine/3.20/x86_64"), false),
        (&[("usr/lib/os-release", "ID=wolfi\n")][..], Some("wolfi/rolling/x86_64"), false),
        (
            &[("etc/os-release", "ID=alpine\n"), ("etc/alpine-release", "3.20.3\n")][..],
            Some("alpine/3.20/x86_64"),
            false,
        ),
        (
            &[("etc/os-release", "ID=alpine\nVERSION_ID=3.19.1\n"), ("etc/alpine-release", "3.20.3\n")][..],
            Some("alpine/3.19/x86_64"),
            true,
        ),
        (
            &[
                ("etc/lsb-release", "DISTRIB_ID=Ubuntu\nDISTRIB_RELEASE=12.04\n"),
                ("etc/debian_version", "wheezy/sid\n"),
            ][..],
            Some("ubuntu/12.04/x86_64"),
            false,
        ),
        (&[("etc/debian_version", "wheezy/sid\n")][..], None, false),
        (&[("etc/redhat-release", "Nonsense\n")][..], None, false),
        (&[][..], None, false),
    ] {
        for walk in [Walk::Stream, Walk::LookUp] {
            let assembled = assemble(
                &squash_all(vec![image(files)], walk, &serving(OS_ONLY), 1),
                OS_ONLY,
                &Limits::default(),
            );
            let found = assembled.system.platform.as_ref().map(ToString::to_string);
            assert_eq!(found.as_deref(), platform, "{files:?}");
            let is_required = assembled.gaps.iter().any(|gap| gap.required);
            assert_eq!(is_required, contradicts || platform.is_none(), "{files:?} {:?}", told(&assembled));
        }
    }
}

#[test]
fn broken_release_files_are_survived() {
    use karat::format::system_release::{FILES, read};
    let limits = Limits::default();
    for text in [
        "CentOS Linux release 7.9.2009 (Core)\n",
        "SUSE Linux Enterprise Server 11 (x86_64)\nVERSION = 11\nPATCHLEVEL = 3\n",
        "cpe:/o:redhat:enterprise_linux:6server:ga:server\n",
        "DISTRIB_ID=Ubuntu\nDISTRIB_RELEASE=12.04\n",
        "12.11\n",
    ] {
        survives(text.as_bytes(), |bytes| {
            FILES.iter().for_each(|(_, kind)| drop(read(*kind, bytes, &limits)));
        });
    }
}
