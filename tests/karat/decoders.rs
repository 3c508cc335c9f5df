//! Decoders against what the native tools say of the same bytes, and against broken ones.

use std::fs;
use std::io::{BufReader, Read as _};
use std::process::{Command, Stdio};

use karat::archive::ar;
use karat::codec::{self, Compression};
use karat::format::dpkg::{self, Kind, Record};
use karat::format::{apt_packages, apt_release, deb822, debian_changelog, os_release};
use karat::limits::Limits;
use karat::model::ImagePath;

use crate::mutate::{fixture, survives};
use crate::tools::tool;

fn records(name: &str, kind: Kind) -> Vec<Record> {
    dpkg::records(&fixture(name), kind, &Limits::default()).collect::<Result<_, _>>().unwrap()
}

/// The lines that dpkg-query prints: sorted, without packages of which nothing is there.
fn as_dpkg_query_says(records: &[Record]) -> Vec<String> {
    let name = |value: serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let mut lines: Vec<String> = records
        .iter()
        .filter(|record| record.state != dpkg::State::NotInstalled)
        .map(|r| {
            let want = name(serde_json::to_value(r.want).unwrap());
            let flag = name(serde_json::to_value(r.flag).unwrap());
            let source = &r.source;
            let (package, version, arch) = (&r.package, &r.version, &r.architecture);
            format!(
                "{package}\t{version}\t{arch}\t{}\t{}\t{want} {flag} {}",
                source.name, source.version, r.state
            )
        })
        .collect();
    lines.sort();
    lines
}

fn expected(name: &str) -> Vec<String> {
    String::from_utf8(fixture(name)).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn packages_in_every_state_are_read_as_dpkg_reads_them() {
    let records = records("dpkg/states/status", Kind::Status);
    assert_eq!(as_dpkg_query_says(&records), expected("dpkg/states/expected.tsv"));
    assert!(dpkg::conflicts(&records).is_empty());
    let plain = records.iter().find(|record| record.package == "plain").unwrap();
    let built_using: Vec<_> =
        plain.built_using.iter().map(|source| format!("{} {}", source.name, source.version)).collect();
    assert_eq!(built_using, ["gcc-12 12.2.0-14+deb12u1", "golang-1.19 1.19.8-2"]);
    let gone: Vec<_> = records.iter().filter(|r| !r.is_installed()).map(|r| r.package.as_str()).collect();
    assert_eq!(gone, ["removed"]);
}

#[test]
fn updates_of_a_killed_dpkg_lie_over_its_status() {
    let mut updates = Vec::new();
    for file in ["0000", "0001", "0002"] {
        assert!(dpkg::is_update_name(file.as_bytes()));
        updates.extend(records(&format!("dpkg/updates/updates/{file}"), Kind::Update));
    }
    let records = dpkg::overlay(records("dpkg/updates/status", Kind::Status), updates);
    assert_eq!(as_dpkg_query_says(&records), expected("dpkg/updates/expected.tsv"));
}

#[test]
fn the_files_of_a_package_are_read() {
    let limits = Limits::default();
    let bytes = fixture("dpkg/states/info/installed.list");
    let paths: Vec<ImagePath> = dpkg::list(&bytes, &limits).collect::<Result<_, _>>().unwrap();
    let want = ["/", "/etc", "/etc/installed.conf", "/usr", "/usr/share", "/usr/share/installed"];
    assert_eq!(paths[..6], want.map(ImagePath::from));
    let bytes = fixture("dpkg/states/info/installed.md5sums");
    let sums: Vec<_> = dpkg::md5sums(&bytes, &limits).collect::<Result<_, _>>().unwrap();
    assert_eq!(sums[0].path, ImagePath::from("usr/share/installed/file"));
    let bytes = fixture("dpkg/states/diversions");
    let diversions: Vec<_> = dpkg::diversions(&bytes, &limits).collect::<Result<_, _>>().unwrap();
    let by: Vec<_> = diversions.iter().map(|d| (d.to.to_string(), d.package.as_deref())).collect();
    assert!(by.contains(&("/usr/share/installed/file.moved".into(), Some("plain"))), "{by:?}");
    assert!(by.contains(&("/usr/share/plain/file other".into(), None)), "{by:?}");
}

const CHANGELOGS: [&str; 4] = [
    "changelogs/libatm1.changelog.Debian",
    "changelogs/libatm1.changelog.Debian.amd64",
    "changelogs/libsodium23.changelog.Debian",
    "changelogs/wget.changelog.Debian",
];

/// source, version, suites, urgency, timestamp, CVE ids
fn changelog_lines(bytes: &[u8]) -> Vec<String> {
    let changelog = debian_changelog::read(&mut &*bytes, &Limits::default()).unwrap().unwrap();
    let line = |entry: &karat::model::ReleaseEntry| {
        let urgency = entry.urgency.as_deref().unwrap_or("unknown");
        let dated = entry.dated.map(|time| time.unix().to_string()).unwrap_or_default();
        let (suites, cves) = (entry.suites.join(" "), entry.cves.join(" "));
        [&entry.source, &entry.version, &suites, urgency, &dated, &cves].join("\t")
    };
    changelog.entries.iter().map(line).collect()
}

#[test]
fn changelogs_are_read_as_dpkg_parsechangelog_reads_them() {
    for name in CHANGELOGS {
        let bytes = fixture(name);
        assert_eq!(changelog_lines(&bytes), expected(&format!("{name}.expected.tsv")), "{name}");
        let changelog = debian_changelog::read(&mut bytes.as_slice(), &Limits::default()).unwrap().unwrap();
        assert_eq!(changelog.problem_count, 0, "{name}");
        let is_rebuild = name.ends_with(".amd64");
        assert!(changelog.entries.iter().all(|entry| entry.rebuild == is_rebuild), "{name}");
    }
}

/// Lines that decide how the rest is read, or that look as if they did.
const ODD_LINES: [&str; 26] = [
    "vim: x",
    ";; local Variables: x",
    "$Id: x $",
    "$x",
    "# c",
    "#c",
    "/* x */",
    "Old Changelog:",
    "word:",
    "1:2.3 ",
    "a b",
    "b (1.0) unstable urgency=low",
    "b_c (1.0) unstable; urgency=low",
    "_c (1.0)  unstable-x  y; Urgency=LOW (x), xb-k=v,",
    "b (1.0) unstable ; urgency=low",
    "a b 1.2 Debian 3",
    "b-1 2 Debian 3",
    "Changes for b-1.2:",
    "Changes from version 1 to 2: yes",
    "Mon Jan  1 00:00:00 1996  N  <a@b>",
    "Mon Jan 1 1996   (a@b)",
    " one",
    "\t\tCVE-2024-1234",
    " -- <a@b>  Sun, 3 Jan 2008 5:49:19 +0100",
    " -- N <a@b> 31 Feb 2008 15:49:19 -0130\r",
    " -- N <a@b>  yesterday",
];

#[test]
fn dpkg_parsechangelog_agrees_on_odd_lines() {
    let Some(dpkg_parsechangelog) = tool("dpkg-parsechangelog") else { return };
    let folder = tempfile::tempdir().unwrap();
    let whole = String::from_utf8(fixture("changelogs/libsodium23.changelog.Debian")).unwrap();
    let lines: Vec<&str> = whole.lines().collect();
    for (number, odd) in ODD_LINES.iter().enumerate() {
        // In turn: after a heading, within changes, after a trailer.
        let at = [1, 4, 6][number % 3];
        let text = [&lines[..at], &[odd], &lines[at..]].concat().join("\n") + "\n";
        let file = folder.path().join(number.to_string());
        fs::write(&file, &text).unwrap();
        let output = Command::new(&dpkg_parsechangelog)
            .args(["--all", "--format", "rfc822", "-l"])
            .arg(&file)
            .stderr(Stdio::null())
            .output()
            .unwrap();
        let output = String::from_utf8_lossy(&output.stdout).into_owned();
        let field = |stanza: &str, name: &str| {
            let line = stanza.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.unwrap_or_default().trim().to_owned()
        };
        let want: Vec<String> = output
            .trim()
            .split("\n\n")
            .map(|s| {
                ["Source", "Version", "Distribution", "Urgency", "Timestamp"].map(|f| field(s, f)).join("\t")
            })
            .filter(|line| !line.starts_with("unknown\tunknown\t"))
            .collect();
        let ours: Vec<String> = changelog_lines(text.as_bytes())
            .iter()
            .map(|line| line.rsplit_once('\t').map_or("", |(line, _)| line).to_owned())
            .collect();
        assert_eq!(ours, want, "with `{odd}` as line {}", at + 1);
    }
}

#[test]
fn broken_bytes_are_survived() {
    let limits = Limits::default();
    for name in ["dpkg/states/status", "dpkg/updates/updates/0002"] {
        survives(&fixture(name), |bytes| {
            for kind in [Kind::Status, Kind::StatusD] {
                let records: Vec<_> = dpkg::records(bytes, kind, &limits).filter_map(Result::ok).collect();
                let _ = dpkg::conflicts(&dpkg::overlay(records.clone(), records));
            }
        });
    }
    survives(&fixture("dpkg/states/info/installed.list"), |bytes| {
        dpkg::list(bytes, &limits).for_each(drop);
    });
    survives(&fixture("dpkg/states/info/installed.md5sums"), |bytes| {
        dpkg::md5sums(bytes, &limits).for_each(drop);
    });
    survives(&fixture("dpkg/states/diversions"), |bytes| dpkg::diversions(bytes, &limits).for_each(drop));
    for name in CHANGELOGS {
        survives(&fixture(name), |bytes| {
            let mut bytes = bytes;
            drop(debian_changelog::read(&mut bytes, &limits));
        });
    }
    survives(OS_RELEASE.as_bytes(), |bytes| {
        let release = os_release::read(bytes, &limits).unwrap();
        let _ = os_release::canonical_release(&release.info());
    });
}

const INDEX: &str = "channels/debian/dists/bookworm/main/binary-amd64/Packages.xz";

/// The bytes of a compressed fixture.
fn inflated(name: &str) -> Vec<u8> {
    let bytes = fixture(name);
    let mut inflated = Vec::new();
    let stream = BufReader::new(bytes.as_slice());
    let mut decoder = codec::decoder(Compression::of(&bytes), stream, &Limits::default()).unwrap();
    decoder.read_to_end(&mut inflated).unwrap();
    inflated
}

#[test]
fn broken_repositories_are_survived() {
    let limits = Limits::default();
    for name in [
        "channels/debian/dists/bookworm/Release",
        "channels/lists/deb.debian.org_debian_dists_bookworm-updates_InRelease",
    ] {
        let whole = fixture(name);
        assert!(apt_release::read(&whole, &limits).is_ok(), "{name}");
        // An index is long, and says the same on every line.
        let lines = whole.split_inclusive(|b| *b == b'\n');
        let (head, tail): (Vec<_>, Vec<_>) =
            (lines.clone().take(30).collect(), lines.rev().take(20).collect());
        let short = [head.concat(), tail.into_iter().rev().collect::<Vec<_>>().concat()].concat();
        survives(&short, |bytes| {
            if let Ok(release) = apt_release::read(bytes, &limits) {
                assert!(release.files.len() <= bytes.len());
            }
        });
    }
    let index = inflated(INDEX);
    let (second, _) = index.windows(2).enumerate().filter(|(_, pair)| pair == b"\n\n").nth(1).unwrap();
    survives(&index[..second + 2], |bytes| {
        let read = |mut stream: &mut dyn std::io::BufRead| {
            let mut names = Vec::new();
            let count = apt_packages::read(&mut stream, &limits, &mut |indexed| {
                names.push(indexed.record.package);
                Ok(())
            });
            (count.map_err(|error| error.to_string()), names)
        };
        let (whole, pieces) = (read(&mut &*bytes), read(&mut BufReader::with_capacity(61, bytes)));
        assert_eq!(pieces, whole);
    });
    survives(&fixture("channels/debian/pool/main/w/widget-zstd_2.0-1_amd64.deb"), |bytes| {
        let Ok(members) = ar::members(&bytes, &limits) else { return };
        let mut end = ar::MAGIC.len() as u64;
        for member in members.filter_map(Result::ok) {
            assert!(member.offset >= end + 60 && member.size_bytes <= bytes.len() as u64 - member.offset);
            end = member.offset + member.size_bytes;
        }
    });
}

#[test]
fn a_repository_that_is_cut_off_is_told() {
    let limits = Limits::default();
    let read = |bytes: &[u8]| apt_packages::read(&mut &*bytes, &limits, &mut |_| Ok(()));
    let whole = inflated(INDEX);
    assert!(read(&whole).unwrap() > 1);
    for len in (1..whole.len()).filter(|len| whole[len - 1] != b'\n') {
        assert!(read(&whole[..len]).is_err(), "cut at {len}");
    }
    let whole = fixture("channels/lists/deb.debian.org_debian_dists_bookworm-updates_InRelease");
    for len in (0..whole.len()).step_by(61) {
        assert!(apt_release::read(&whole[..len], &limits).is_err(), "cut at {len}");
    }
    let whole = fixture("channels/debian/pool/main/w/widget-zstd_2.0-1_amd64.deb");
    let members = |bytes: &[u8]| -> karat::Result<usize> {
        Ok(ar::members(&bytes, &limits)?.collect::<Result<Vec<_>, _>>()?.len())
    };
    let ends: Vec<u64> =
        ar::members(&whole, &limits).unwrap().map(|m| m.map(|m| m.offset + m.size_bytes).unwrap()).collect();
    for len in (0..whole.len()).filter(|len| !ends.contains(&(*len as u64))) {
        let is_padding = len % 2 == 0 && len > 0 && ends.contains(&(len as u64 - 1));
        assert!(is_padding || len == 8 || members(&whole[..len]).is_err(), "cut at {len}");
    }
}

/// What Debian 12 ships.
const OS_RELEASE: &str = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"
NAME=\"Debian GNU/Linux\"
VERSION_ID=\"12\"
VERSION=\"12 (bookworm)\"
VERSION_CODENAME=bookworm
ID=debian
HOME_URL=\"https://www.debian.org/\"
SUPPORT_URL=\"https://www.debian.org/support\"
BUG_REPORT_URL=\"https://bugs.debian.org/\"
";

#[test]
fn a_status_that_is_cut_off_within_a_line_is_told() {
    let whole = fixture("dpkg/states/status");
    for len in (1..whole.len()).filter(|len| whole[len - 1] != b'\n') {
        let last = dpkg::records(&whole[..len], Kind::Status, &Limits::default()).last().unwrap();
        assert!(last.is_err(), "cut at {len}");
    }
}

#[test]
fn every_byte_of_a_stanza_is_in_one_field() {
    let bytes = fixture("dpkg/states/status");
    let stanzas: Vec<_> = deb822::stanzas(&bytes, &Limits::default()).collect::<Result<Vec<_>, _>>().unwrap();
    let mut text = String::new();
    for stanza in &stanzas {
        for field in stanza.fields() {
            let (name, value) = (String::from_utf8_lossy(field.name), String::from_utf8_lossy(field.value));
            let gap = if value.starts_with('\n') || value.is_empty() { "" } else { " " };
            text.push_str(&format!("{name}:{gap}{value}\n"));
        }
        text.push('\n');
    }
    // Conffiles start on the line after their field's name.
    let whole = String::from_utf8(bytes).unwrap().replace("Conffiles:\n ", "Conffiles: ");
    assert_eq!(text, whole);
}
