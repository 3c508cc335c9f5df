//! The central types carry what is built on them: shown with strata in memory.

use std::io::Read;

use karat::bytes::Reader;
use karat::collect::fact::{Fact, Needs};
use karat::collect::{Assembled, COLLECTORS, FileView, Out, assemble, nothing_found};
use karat::error::Result;
use karat::limits::Limits;
use karat::model::{ImagePath, OsInfo};
use karat::stratum::{Entry, Want};

use crate::memory::{Memory, Probe, Walk, bytes, serving, squash_all, system};

const OS: &str = "ID=debian\nVERSION_ID=\"12\"\nVERSION_CODENAME=bookworm\n";

fn stanza(name: &str, version: &str) -> String {
    format!("Package: {name}\nStatus: install ok installed\nArchitecture: amd64\nVersion: {version}\n\n")
}

fn status(packages: &[(&str, &str)]) -> String {
    packages.iter().map(|(name, version)| stanza(name, version)).collect()
}

fn base(packages: &[(&str, &str)]) -> Memory {
    Memory::new()
        .dir("etc")
        .file("etc/os-release", OS)
        .dir("var/lib/dpkg")
        .file("var/lib/dpkg/status", status(packages))
}

fn versions(assembled: &Assembled) -> Vec<(&str, &str, u32)> {
    assembled.system.packages.iter().map(|p| (p.name.as_str(), p.version.as_str(), p.stratum.0)).collect()
}

const OS_ONLY: Needs = Needs::OS_PACKAGES;

#[test]
fn a_package_belongs_to_the_lowest_stratum_since_which_it_is_unbroken() {
    let assembled = system(
        vec![
            base(&[("bash", "1"), ("curl", "1"), ("vim", "1")]),
            base(&[("bash", "1"), ("curl", "2"), ("vim", "1"), ("git", "1")]),
            Memory::new().file("etc/motd", "hello"),
            // curl goes back to what it was: that is a change of this stratum, not the first one's.
            base(&[("bash", "1"), ("curl", "1"), ("git", "1")]),
        ],
        OS_ONLY,
    );
    assert_eq!(versions(&assembled), [("bash", "1", 0), ("curl", "1", 3), ("git", "1", 1)]);
    assert_eq!(assembled.gaps, []);
    assert_eq!(assembled.system.platform.unwrap().to_string(), "debian/12/amd64");
}

#[test]
fn status_d_files_are_replaced_removed_and_hidden_by_upper_strata() {
    let d = |name: &str| format!("var/lib/dpkg/status.d/{name}");
    let one =
        |name: &str, version: &str| format!("Package: {name}\nVersion: {version}\nArchitecture: amd64\n");
    let lower = || {
        Memory::new()
            .file("etc/os-release", OS)
            .file(&d("a"), one("a", "1"))
            .file(&d("b"), one("b", "1"))
            .file(&d("c"), one("c", "1"))
    };
    let upper = Memory::new().file(&d("a"), one("a", "2")).whiteout(&d("b"));
    assert_eq!(versions(&system(vec![lower(), upper], OS_ONLY)), [("a", "2", 1), ("c", "1", 0)]);

    let opaque = Memory::new().file(&d("d"), one("d", "1")).opaque("var/lib/dpkg/status.d");
    assert_eq!(versions(&system(vec![lower(), opaque], OS_ONLY)), [("d", "1", 1)]);

    // The whiteout of a directory beside that directory: the lower one is hidden, the own one stays.
    let beside = Memory::new().dir("var/lib/dpkg").file(&d("e"), one("e", "1")).whiteout("var/lib/dpkg");
    assert_eq!(versions(&system(vec![lower(), beside], OS_ONLY)), [("e", "1", 1)]);

    // A file in the place of a directory hides all that was below it, and nothing is called clean then.
    let replaced = system(vec![lower(), Memory::new().file("var/lib/dpkg", "not a directory")], OS_ONLY);
    assert_eq!(versions(&replaced), []);
    assert!(nothing_found(&replaced.system).is_some_and(|gap| gap.required));
}

#[test]
fn a_database_behind_a_linked_admin_directory_is_followed_by_stream_and_by_look_up() {
    let strata = |target: &str| {
        vec![
            Memory::new()
                .file("etc/os-release", OS)
                .dir("var/lib")
                .link("var/lib/dpkg", target)
                .dir("opt/admin/dpkg")
                .file("opt/admin/dpkg/status", status(&[("bash", "1"), ("curl", "1")])),
            Memory::new().file("opt/admin/dpkg/status", status(&[("bash", "1"), ("curl", "2")])),
        ]
    };
    for target in ["/opt/admin/dpkg", "../../opt/admin/dpkg", "../../../../../opt/./admin//dpkg"] {
        let streamed = system(strata(target), OS_ONLY);
        assert_eq!(versions(&streamed), [("bash", "1", 0), ("curl", "2", 1)], "{target}");
        assert_eq!(streamed.gaps, []);
        let looked_up = squash_all(vec![strata(target).remove(0)], Walk::LookUp, &serving(OS_ONLY), 1);
        assert_eq!(
            versions(&assemble(&looked_up, OS_ONLY, &Limits::default())),
            [("bash", "1", 0), ("curl", "1", 0)]
        );
    }
}

#[test]
fn an_upper_stratum_writes_through_a_link_of_a_lower_one() {
    let lower = Memory::new()
        .file("etc/os-release", OS)
        .link("var", "srv/var")
        .dir("srv/var/lib/dpkg")
        .file("srv/var/lib/dpkg/status", status(&[("bash", "1")]));
    // No entry for `var` itself: an engine writes to where the link leads.
    let upper = Memory::new().file("var/lib/dpkg/status", status(&[("bash", "2")]));
    assert_eq!(versions(&system(vec![lower, upper], OS_ONLY)), [("bash", "2", 1)]);
}

#[test]
fn links_that_lead_in_circles_or_nowhere_are_gaps() {
    let circle =
        Memory::new().file("etc/os-release", OS).link("var/lib/dpkg", "dpkg2").link("var/lib/dpkg2", "dpkg");
    let assembled = system(vec![circle], OS_ONLY);
    assert!(
        assembled.gaps.iter().any(|g| g.required && g.reason.contains("circles")),
        "{:?}",
        assembled.gaps
    );

    let nowhere =
        Memory::new().file("etc/os-release", OS).dir("var/lib/dpkg").link("var/lib/dpkg/status", "/gone");
    assert!(system(vec![nowhere], OS_ONLY).gaps.iter().any(|g| g.required && g.place == "/var/lib/dpkg"));
}

#[test]
fn what_should_be_a_file_and_is_none_is_a_gap() {
    let good = || base(&[("bash", "1")]).file("var/lib/dpkg/status.d/a", stanza("a", "1"));
    assert_eq!(system(vec![good()], OS_ONLY).gaps, []);
    for (place, upper) in [
        ("/var/lib/dpkg/status", Memory::new().special("var/lib/dpkg/status")),
        ("/var/lib/dpkg/status", Memory::new().dir("var/lib/dpkg/status")),
        ("/var/lib/dpkg/status", Memory::new().link("var/lib/dpkg/status", "/nowhere")),
        ("/var/lib/dpkg/status.d/b", Memory::new().special("var/lib/dpkg/status.d/b")),
        ("/var/lib/dpkg/updates/0001", Memory::new().special("var/lib/dpkg/updates/0001")),
        ("/etc/os-release", Memory::new().special("etc/os-release").file("usr/lib/os-release", OS)),
        ("/var/lib/rpm/rpmdb.sqlite", Memory::new().special("var/lib/rpm/rpmdb.sqlite")),
        ("/var/lib/rpm", Memory::new().link("var/lib/rpm", "/nowhere")),
        ("/var/lib/rpm", Memory::new().file("var/lib/rpm/Index.db", "")),
        ("/lib/apk/db/installed", Memory::new().link("lib/apk/db/installed", "gone")),
    ] {
        for walk in [Walk::Stream, Walk::LookUp] {
            let squashed = squash_all(vec![good(), upper.clone()], walk, &serving(OS_ONLY), 1);
            let gaps = assemble(&squashed, OS_ONLY, &Limits::default()).gaps;
            assert!(gaps.iter().any(|gap| gap.required && gap.place == place), "{place} {walk:?}: {gaps:?}");
        }
    }
}

#[test]
fn a_database_that_lists_less_than_dpkg_installed_is_a_gap() {
    let info = |name: &str| format!("var/lib/dpkg/info/{name}");
    let cut = base(&[("bash", "1")])
        .file(&info("bash.md5sums"), "")
        .file(&info("curl.md5sums"), "")
        .file(&info("libc6:amd64.md5sums"), "")
        .file(&info("removed.list"), "");
    let gaps = system(vec![cut], OS_ONLY).gaps;
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    assert!(
        gaps[0].required && gaps[0].reason.contains("2 packages") && gaps[0].reason.contains("curl, libc6")
    );
}

#[test]
fn a_link_to_many_files_is_followed_in_one_visit() {
    let many = |mut memory: Memory| {
        for i in 0..3000 {
            memory = memory.file(&format!("srv/many/{i:05}"), "x");
        }
        memory
    };
    let stratum =
        many(base(&[("bash", "1")])).dir("usr/share/clear").link("usr/share/clear/bundles", "/srv/many");
    let gaps = system(vec![stratum.clone()], OS_ONLY).gaps;
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    assert_eq!(stratum.visits(), 2);
}

#[test]
fn a_hard_link_to_a_file_of_a_lower_stratum_is_read_there() {
    let lower = Memory::new().file("etc/os-release", OS).file("srv/saved", status(&[("bash", "1")]));
    let upper = Memory::new().dir("var/lib/dpkg").hard_link("var/lib/dpkg/status", "srv/saved");
    let assembled = system(vec![lower, upper], OS_ONLY);
    assert_eq!(versions(&assembled), [("bash", "1", 1)]);
    assert_eq!(assembled.gaps, []);

    let dangling = Memory::new().file("etc/os-release", OS).hard_link("var/lib/dpkg/status", "srv/none");
    assert!(
        system(vec![dangling], OS_ONLY).gaps.iter().any(|g| g.required && g.reason.contains("hard link"))
    );
}

/// A database whose log, if there is one, must be read with it: it says what both hold.
const LOGGED: Probe = Probe {
    places: &["var/lib/db"],
    want: |entry| match entry.path.name() {
        b"db" => Want::Random,
        _ => Want::No,
    },
    companions: |path| vec![path.parent().join("db-wal")],
    collect: |file: &FileView<'_>, out: &mut Out<'_>| -> Result<()> {
        let mut all = bytes(file.content);
        for (name, content) in file.companions {
            assert_eq!(name.name(), b"db-wal");
            all.extend(bytes(*content));
        }
        out.fact(Fact::Os(OsInfo { id: String::from_utf8(all).unwrap(), ..OsInfo::default() }));
        Ok(())
    },
};

#[test]
fn a_database_and_its_log_in_another_stratum_are_read_together() {
    for walk in [Walk::Stream, Walk::LookUp] {
        let strata = vec![
            Memory::new().file("var/lib/db", "pages"),
            Memory::new().file("etc/motd", "hello"),
            Memory::new().file("var/lib/db-wal", "+log"),
        ];
        let probe = Probe { places: &["var/lib/db", "var/lib/db-wal"], ..LOGGED };
        let squashed = squash_all(strata, walk, &[&probe], 1);
        let found = squashed.found(&ImagePath::from("var/lib/db")).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(
            found[0].facts.iter().map(|(_, fact)| fact).collect::<Vec<_>>(),
            [&Fact::Os(OsInfo { id: "pages+log".into(), ..OsInfo::default() })],
            "{walk:?}"
        );
    }
}

/// Reads archives inside archives, by the members' names.
const JARS: Probe = Probe {
    places: &[],
    want: |entry| match entry.path.name().ends_with(b".jar") {
        true => Want::Random,
        false => Want::No,
    },
    companions: |_| Vec::new(),
    collect: |file: &FileView<'_>, out: &mut Out<'_>| -> Result<()> {
        fn open(jar: &mut zip::ZipArchive<impl Read + std::io::Seek>, out: &mut Out<'_>) {
            for i in 0..jar.len() {
                let mut member = jar.by_index(i).unwrap();
                let mut content = Vec::new();
                member.read_to_end(&mut content).unwrap();
                let mut out = out.member(member.name().unwrap().as_bytes());
                match zip::ZipArchive::new(std::io::Cursor::new(&content)) {
                    Ok(mut inner) => open(&mut inner, &mut out),
                    Err(_) => out.fact(Fact::Os(OsInfo {
                        id: String::from_utf8(content).unwrap(),
                        ..OsInfo::default()
                    })),
                }
            }
        }
        open(&mut zip::ZipArchive::new(Reader::new(file.content)).unwrap(), out);
        Ok(())
    },
};

fn jar(members: &[(&str, &[u8])]) -> Vec<u8> {
    use std::io::Write;
    let mut jar = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content) in members {
        jar.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        jar.write_all(content).unwrap();
    }
    jar.finish().unwrap().into_inner()
}

#[test]
fn facts_of_an_archive_in_an_archive_bear_their_members() {
    let inner = jar(&[("META-INF/MANIFEST.MF", b"inner")]);
    let outer = jar(&[("META-INF/MANIFEST.MF", b"outer"), ("lib/inner.jar", &inner)]);
    let squashed = squash_all(vec![Memory::new().file("srv/app.jar", outer)], Walk::Stream, &[&JARS], 1);
    let found = squashed.found(&ImagePath::from("srv/app.jar")).unwrap();
    let members: Vec<String> = found[0].facts.iter().map(|(member, _)| member.to_string()).collect();
    assert_eq!(members, ["/META-INF/MANIFEST.MF", "/lib/inner.jar!/META-INF/MANIFEST.MF"]);
}

fn changelog(source: &str, version: &str) -> String {
    format!(
        "{source} ({version}) bookworm-security; urgency=high\n\n  * Fix CVE-2026-12345.\n\n \
         -- A <a@example.org>  Mon, 02 Nov 2026 10:00:00 +0000\n"
    )
}

fn documented() -> Vec<Memory> {
    vec![
        base(&[("gcc-12-base", "1"), ("libgcc-s1", "1"), ("moved", "2")])
            .dir("usr/share/doc/gcc-12-base")
            .file("usr/share/doc/gcc-12-base/changelog.Debian", changelog("gcc-12", "1"))
            .dir("srv/doc/moved")
            .file("srv/doc/moved/changelog.Debian", changelog("moved", "2")),
        Memory::new()
            .link("usr/share/doc/libgcc-s1", "gcc-12-base")
            .link("usr/share/doc/moved", "../../../srv/doc/moved"),
    ]
}

#[test]
fn an_audit_reads_no_changelogs_and_a_baseline_follows_linked_doc_directories() {
    let audited = system(documented(), OS_ONLY);
    assert_eq!(audited.system.releases, []);

    let built = system(documented(), OS_ONLY | Needs::HISTORY);
    let releases: Vec<(&str, &str)> =
        built.system.releases.iter().map(|r| (r.source.as_str(), r.version.as_str())).collect();
    assert_eq!(releases, [("gcc-12", "1"), ("moved", "2")]);
    assert_eq!(built.system.releases[0].cves, ["CVE-2026-12345"]);
    assert_eq!(built.gaps, []);
}

#[test]
fn lists_digests_and_diversions_join_into_owners() {
    let info = |name: &str| format!("var/lib/dpkg/info/{name}");
    let strata = vec![
        base(&[("bash", "1"), ("dash", "1"), ("libc6", "1")])
            .dir("usr/bin")
            .dir("usr/lib")
            .link("bin", "usr/bin")
            .link("lib", "usr/lib")
            .file("usr/bin/bash", "b")
            .file("usr/bin/sh", "dash")
            .file("usr/bin/sh.distrib", "bash")
            .file("usr/lib/libc.so.6", "c")
            .file(&info("bash.list"), "/.\n/bin\n/bin/bash\n/usr/bin/sh\n")
            .file(&info("bash.md5sums"), "900150983cd24fb0d6963f7d28e17f72  bin/bash\n")
            .file(&info("dash.list"), "/.\n/usr/bin/sh\n")
            .file(&info("libc6:amd64.list"), "/.\n/lib\n/lib/libc.so.6\n")
            .file("var/lib/dpkg/diversions", "/usr/bin/sh\n/usr/bin/sh.distrib\ndash\n"),
    ];
    let assembled = system(strata, OS_ONLY | Needs::OWNERSHIP);
    let owners: Vec<(String, String)> =
        assembled.ownership.iter().map(|(path, o)| (path.to_string(), o.package.name.clone())).collect();
    let want = [
        ("/usr/bin/bash", "bash"),
        ("/usr/bin/sh", "dash"),
        ("/usr/bin/sh.distrib", "bash"),
        ("/usr/lib/libc.so.6", "libc6"),
    ];
    assert_eq!(owners, want.map(|(path, name)| (path.to_string(), name.to_string())));
    assert!(assembled.ownership[&ImagePath::from("usr/bin/bash")].md5.is_some());
    assert_eq!(
        assembled.ownership[&ImagePath::from("usr/lib/libc.so.6")].package.arch.as_deref(),
        Some("amd64")
    );
}

#[test]
fn updates_that_are_not_folded_in_change_the_list() {
    let strata = vec![
        base(&[("bash", "1"), ("curl", "1")])
            .file("var/lib/dpkg/updates/0000", stanza("bash", "2"))
            .file(
                "var/lib/dpkg/updates/0001",
                "Package: curl\nStatus: deinstall ok config-files\nArchitecture: amd64\nVersion: 1\n",
            )
            .file("var/lib/dpkg/updates/tmp.i", stanza("bash", "9")),
    ];
    let assembled = system(strata, OS_ONLY);
    assert_eq!(versions(&assembled), [("bash", "2", 0)]);

    // A package that cannot be installed beside itself takes the place of that for another architecture.
    let other = stanza("bash", "3").replace("amd64", "armel");
    let strata = vec![base(&[("bash", "1"), ("curl", "1")]).file("var/lib/dpkg/updates/0000", &other)];
    assert_eq!(versions(&system(strata, OS_ONLY)), [("bash", "3", 0), ("curl", "1", 0)]);
    let both = other.replace("Version", "Multi-Arch: same\nVersion");
    let strata = vec![base(&[("bash", "1"), ("curl", "1")]).file("var/lib/dpkg/updates/0000", both)];
    assert_eq!(versions(&system(strata, OS_ONLY)), [("bash", "1", 0), ("bash", "3", 0), ("curl", "1", 0)]);
}

#[test]
fn a_damaged_record_is_a_gap_and_its_neighbours_are_listed() {
    let database = format!("{}this line is no field\n\n{}", stanza("bash", "1"), stanza("curl", "1"));
    let strata = vec![Memory::new().file("etc/os-release", OS).file("var/lib/dpkg/status", database)];
    let assembled = system(strata, OS_ONLY);
    assert_eq!(versions(&assembled), [("bash", "1", 0), ("curl", "1", 0)]);
    assert_eq!(assembled.gaps.len(), 1);
    assert!(assembled.gaps[0].required && assembled.gaps[0].place == "/var/lib/dpkg/status");
}

#[test]
fn a_package_listed_twice_with_two_versions_is_a_gap() {
    let assembled = system(vec![base(&[("bash", "1"), ("bash", "2")])], OS_ONLY);
    assert!(assembled.gaps.iter().any(|gap| gap.required), "{:?}", assembled.gaps);
}

#[test]
fn other_package_managers_are_gaps_with_their_names() {
    let strata = vec![
        base(&[("bash", "1")])
            .file("lib/apk/db/installed", "P:musl\n")
            .file("var/lib/snapd/state.json", "{}"),
    ];
    let gaps = system(strata, OS_ONLY).gaps;
    let told: Vec<(&str, bool)> = gaps.iter().map(|g| (g.place.as_str(), g.required)).collect();
    assert_eq!(told, [("/lib/apk/db/installed", true), ("/var/lib/snapd/state.json", false)]);
}

#[test]
fn any_number_of_threads_gives_the_same() {
    let needs = OS_ONLY | Needs::HISTORY | Needs::OWNERSHIP;
    let strata = || {
        let mut strata = documented();
        strata.push(base(&[("gcc-12-base", "2"), ("git", "1")]));
        strata.push(Memory::new().opaque("usr/share/doc/gcc-12-base"));
        strata
    };
    let at = |threads: usize| {
        format!(
            "{:?}",
            assemble(
                &squash_all(strata(), Walk::Stream, &serving(needs), threads),
                needs,
                &Limits::default()
            )
        )
    };
    assert_eq!(at(1), at(16));
}

#[test]
fn collectors_have_names_of_their_own_and_read_only_their_places() {
    let mut names: Vec<&str> = COLLECTORS.iter().map(|c| c.id()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), COLLECTORS.len());
    for collector in COLLECTORS {
        let elsewhere = Entry {
            path: ImagePath::from("srv/chroot/var/lib/dpkg/status"),
            node: karat::stratum::Node::File(Default::default()),
        };
        // What is not read is recognised wherever it stands.
        let want = if collector.id() == "unread" { Want::Head(0) } else { Want::No };
        assert_eq!(collector.want(&elsewhere), want, "{}", collector.id());
    }
}
