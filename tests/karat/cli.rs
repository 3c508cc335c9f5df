//! The command as its users see it: what it prints, what it writes, how it exits.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use insta::assert_snapshot;
use karat::model::{Inventory, Package};
use serde_json::Value;

use crate::making::{gzip, zstd};

pub(crate) const BASELINE: &str = "fixtures/production/debian-12.baseline.json";
pub(crate) const CURRENT: &str = "fixtures/images/debian-12-current.docker.tar";
pub(crate) const DRIFTED: &str = "fixtures/images/debian-12-drifted.oci.tar";
pub(crate) const WHOLE: &str = "fixtures/broken/whole.oci.tar";
pub(crate) const DAY: &str = "2026-11-24";

/// What a run came to.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs karat in the root of the source, without what the environment of the tests might say.
pub(crate) fn karat(args: &[&str]) -> Ran {
    let mut command = Command::cargo_bin("karat").unwrap();
    command.current_dir(env!("CARGO_MANIFEST_DIR")).args(args);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("KARAT_")) {
        command.env_remove(name);
    }
    // Without a home there is no layer cache: every run reads its images.
    for name in ["SOURCE_DATE_EPOCH", "HOME", "XDG_CACHE_HOME"] {
        command.env_remove(name);
    }
    let output = command.output().unwrap();
    Ran {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

pub(crate) fn audit(images: &[&str], more: &[&str]) -> Ran {
    let mut args = vec!["audit", "--baseline", BASELINE, "--as-of", DAY];
    args.extend(images);
    args.extend(more);
    karat(&args)
}

pub(crate) fn shown(ran: &Ran) -> String {
    format!("exit code {}\n--- standard output\n{}--- standard error\n{}", ran.code, ran.stdout, ran.stderr)
}

fn inventory(image: &str, more: &[&str]) -> Inventory {
    let mut args = vec!["inventory", image, "-o", "json", "--as-of", DAY];
    args.extend(more);
    let ran = karat(&args);
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {}", shown(&ran)))
}

fn fixture(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(path)
}

#[test]
fn the_main_job_tells_who_passes_and_who_has_drifted() {
    let ran = audit(&[CURRENT, DRIFTED], &[]);
    assert_snapshot!("audit", shown(&ran));
    assert_snapshot!("audit_verbose", shown(&audit(&[DRIFTED], &["-v"])));
}

#[test]
fn the_report_is_the_contract() {
    let ran = audit(&[DRIFTED], &["-o", "json"]);
    assert_eq!(ran.code, 1);
    assert_snapshot!("audit_json", ran.stdout);
    let report: karat::report::Report = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(serde_json::to_string_pretty(&report).unwrap() + "\n", ran.stdout);
}

#[test]
fn every_version_date_and_rule_is_explained() {
    assert_snapshot!(
        "explain",
        shown(&karat(&["explain", DRIFTED, "openssl", "-b", BASELINE, "--as-of", DAY]))
    );
    let unknown = karat(&["explain", DRIFTED, "no-such-package", "-b", BASELINE, "--as-of", DAY]);
    assert_snapshot!("explain_unknown", shown(&unknown));
}

#[test]
fn help_and_limits_are_what_they_were() {
    for (name, args) in [
        ("help", &["--help"][..]),
        ("help_audit", &["audit", "--help"]),
        ("help_inventory", &["inventory", "--help"]),
        ("help_compare", &["compare", "--help"]),
        ("help_build", &["baseline", "build", "--help"]),
        ("limits", &["limits"]),
    ] {
        assert_snapshot!(name, karat(args).stdout);
    }
}

#[test]
fn broken_images_are_told_with_place_and_reason() {
    for (name, want) in [
        ("cut-off.docker.tar", 3),
        ("cut-off.oci.tar", 3),
        ("diff-id-mismatch.oci.tar", 3),
        ("digest-mismatch.oci.tar", 3),
        ("layer-absent.docker.tar", 3),
        ("layer-absent.oci.tar", 3),
        ("layer-damaged.oci.tar", 3),
        ("layer-not-tar.oci.tar", 3),
        ("status-damaged", 3),
        ("empty", 2),
        ("text", 2),
        ("absent", 2),
    ] {
        let ran = audit(&[&format!("fixtures/broken/{name}")], &[]);
        assert_eq!(ran.code, want, "{name}: {}", shown(&ran));
        assert_snapshot!(format!("broken_{name}"), shown(&ran));
    }
}

#[test]
fn every_wrapping_holds_the_same() {
    let whole = inventory(WHOLE, &[]);
    for name in [
        "whole.docker-1.9.tar.gz",
        "whole.docker.tar.bz2",
        "whole.docker.tar.gz",
        "whole.oci.tar.xz",
        "whole.oci.tar.zst",
        "whole.rootfs.tar.gz",
        "whole.skopeo-dir",
        "deep.rootfs.tar.gz",
    ] {
        let other = inventory(&format!("fixtures/archives/{name}"), &[]);
        assert_eq!(other.content_id, whole.content_id, "{name}: {:?}", other.gaps);
        assert!(other.systems[0].packages == whole.systems[0].packages, "{name}");
    }
}

#[test]
fn broken_wrappings_are_told_with_place_and_reason() {
    let mut all = String::new();
    for (name, want) in [
        ("bomb-in-layer.oci.tar", 3),
        ("bomb.docker.tar.zst", 3),
        ("bomb.rootfs.tar.bz2", 3),
        ("configuration-absent.oci.tar", 3),
        ("cut-off.docker.tar.bz2", 2),
        ("cut-off.docker.tar.gz", 3),
        ("cut-off.oci.tar.xz", 2),
        ("cut-off.oci.tar.zst", 2),
        ("cut-off.rootfs.tar", 3),
        ("cut-off.rootfs.tar.gz", 3),
        ("index-twice.oci.tar", 3),
        ("link-loops.rootfs.tar", 3),
        ("manifest-absent.oci.tar", 3),
        ("manifest-no-json.docker.tar", 3),
        ("manifest-twice.docker.tar", 3),
        ("no-layers.oci.tar", 3),
        ("odd-paths.rootfs.tar", 0),
        ("only-signature.oci.tar", 3),
        ("readme.tar", 2),
        ("rootfs-with-manifest.tar", 2),
        ("schema1.skopeo-dir.tar", 3),
        ("text.gz", 2),
        ("too-deep.rootfs.tar.gz", 3),
        ("windows-layer.tar", 2),
        ("windows.oci.tar", 3),
        ("zeros.tar", 2),
        ("none-*.tar", 2),
    ] {
        let ran = karat(&["inventory", &format!("fixtures/archives/{name}"), "--as-of", DAY]);
        all.push_str(&format!("==== {name}\n{}\n", shown(&ran)));
        assert!(ran.code == want, "{name}: {want}: {}", shown(&ran));
    }
    assert_snapshot!("broken_wrappings", all);
}

#[test]
fn patterns_name_images() {
    let ran = audit(&["fixtures/archives/whole.d*.gz", "docker-archive:fixtures/archives/whole.d*.bz2"], &[]);
    for name in ["whole.docker-1.9.tar.gz", "whole.docker.tar.gz", "whole.docker.tar.bz2"] {
        assert!(ran.stdout.contains(name), "{}", shown(&ran));
    }
    // Nothing matches: no verdict, and the others are judged.
    let ran = audit(&[CURRENT, "fixtures/none/*.tar"], &[]);
    assert_eq!(ran.code, 2, "{}", shown(&ran));
    assert!(ran.stdout.contains(CURRENT) && ran.stdout.contains("matches the pattern"), "{}", shown(&ran));
}

#[test]
fn all_platforms_are_judged_each() {
    let image = "fixtures/images/multi-platform-nested.oci";
    let ran = audit(&[image], &["--all-platforms"]);
    for platform in ["linux/amd64", "linux/arm64/v8"] {
        let name = format!("{image}#latest@{platform}");
        assert!(ran.stdout.contains(&name), "{}", shown(&ran));
        assert!(platform.starts_with(&inventory(&name, &[]).image.os_arch.unwrap()));
    }
    let both = audit(&[image], &["--all-platforms", "--platform", "linux/arm64"]);
    assert_eq!(both.code, 2, "{}", shown(&both));
    // The environment says what is taken where no flag does.
    let in_environment = |more: &[&str]| {
        let mut command = Command::cargo_bin("karat").unwrap();
        command.current_dir(env!("CARGO_MANIFEST_DIR")).env("KARAT_PLATFORM", "linux/arm64");
        let output = command.args(["inventory", image]).args(more).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(in_environment(&[]).contains("debian/12/arm64"));
    assert!(in_environment(&["--all-platforms"]).contains("debian/12/amd64"));
}

#[test]
fn the_worst_of_all_images_decides() {
    let incomplete = "fixtures/broken/digest-mismatch.oci.tar";
    for (images, want) in [
        (&[CURRENT][..], 0),
        (&[CURRENT, incomplete], 3),
        (&[CURRENT, incomplete, DRIFTED], 1),
        (&[CURRENT, incomplete, DRIFTED, "fixtures/broken/absent"], 2),
    ] {
        let ran = audit(images, &[]);
        assert_eq!(ran.code, want, "{}", shown(&ran));
        // One bad image never stops the others.
        images.iter().for_each(|image| assert!(ran.stdout.contains(image), "{}", shown(&ran)));
    }
    assert_eq!(audit(&[DRIFTED], &["--no-gate"]).code, 0);
    assert_eq!(audit(&["fixtures/broken/absent"], &["--no-gate"]).code, 2);
}

#[test]
fn an_image_that_is_due_fails_only_when_asked() {
    let due = ["audit", WHOLE, "--baseline", BASELINE, "--standard"];
    let folder = tempfile::tempdir().unwrap();
    let standard = folder.path().join("karat.toml");
    fs::write(&standard, "[target]\ndays = 65\n").unwrap();
    let mut args = due.to_vec();
    args.extend([standard.to_str().unwrap(), "--as-of", DAY]);
    let ran = karat(&args);
    assert!(ran.code == 0 && ran.stdout.contains(" due: "), "{}", shown(&ran));
    args.extend(["--fail-on", "due"]);
    assert_eq!(karat(&args).code, 1);
}

#[test]
fn a_baseline_that_is_old_or_of_another_platform_gives_no_verdict() {
    let stale = karat(&["audit", CURRENT, "-b", BASELINE, "--as-of", "2026-12-09"]);
    assert!(
        stale.code == 3 && stale.stdout.contains("production was last read 15 days ago"),
        "{}",
        shown(&stale)
    );
    let other = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(fixture("production/debian-12.baseline.json")).unwrap();
    let path = other.path().join("b.json");
    fs::write(&path, text.replace("debian/12/amd64", "debian/11/amd64")).unwrap();
    let ran = karat(&["audit", CURRENT, "-b", path.to_str().unwrap(), "--as-of", DAY]);
    assert!(ran.code == 3 && ran.stdout.contains("the baseline has nothing for"), "{}", shown(&ran));
}

#[test]
fn what_is_asked_wrongly_is_one_clear_error() {
    let folder = tempfile::tempdir().unwrap();
    let standard = folder.path().join("karat.toml");
    fs::write(&standard, "[target]\ndais = 92\n").unwrap();
    let misspelt = audit(&[CURRENT], &["--standard", standard.to_str().unwrap()]);
    assert!(misspelt.code == 2 && misspelt.stderr.contains("dais"), "{}", shown(&misspelt));
    for (name, more) in [
        ("format", &["-o", "pdf"][..]),
        ("limit", &["--limit", "layer=3"]),
        ("unwritable", &["-o", "json=/no/such/folder/report.json"]),
    ] {
        let ran = audit(&[CURRENT], more);
        assert_eq!(ran.code, 2, "{}", shown(&ran));
        assert_snapshot!(format!("wrong_{name}"), ran.stderr);
    }
    let no_baseline = karat(&["audit", CURRENT, "-b", "fixtures/broken/text", "--as-of", DAY]);
    assert_eq!(no_baseline.code, 2);
    assert_snapshot!("wrong_baseline", no_baseline.stderr);
    let bad_host = karat(&["audit", CURRENT, "-b", "fixtures/broken/status-damaged", "--as-of", DAY]);
    assert_eq!(bad_host.code, 2);
    assert_snapshot!("wrong_host", bad_host.stderr);
}

/// What dpkg-query says, by name and architecture: version, source, its version, state.
fn by_dpkg(tsv: &str) -> BTreeMap<(String, String), [String; 3]> {
    let text = fs::read_to_string(fixture(tsv)).unwrap();
    text.lines()
        .map(|line| line.split('\t').collect::<Vec<_>>())
        // Removed with its configuration left is not installed.
        .filter(|f| !f[5].starts_with("rc") && !f[5].starts_with("un") && !f[5].starts_with("pn"))
        .map(|f| ((f[0].into(), f[2].into()), [f[1].into(), f[3].into(), f[4].into()]))
        .collect()
}

fn by_karat(packages: &[Package]) -> BTreeMap<(String, String), [String; 3]> {
    packages
        .iter()
        .map(|p| {
            let facts = [p.version.clone(), p.source.name.clone(), p.source.version.clone()];
            ((p.name.clone(), p.arch.clone()), facts)
        })
        .collect()
}

#[test]
fn the_packages_are_those_of_dpkg() {
    for (image, truth, more) in [
        (CURRENT, "images/debian-12-current.dpkg-query.tsv", &[][..]),
        (DRIFTED, "images/debian-12-drifted.dpkg-query.tsv", &[]),
        ("fixtures/production/debian-12", "production/debian-12.dpkg-query.tsv", &[]),
        (WHOLE, "broken/whole.dpkg-query.tsv", &[]),
        ("fixtures/broken/whole.docker.tar", "broken/whole.dpkg-query.tsv", &[]),
        ("fixtures/images/states/dpkg", "images/states/dpkg.dpkg-query.tsv", &[]),
        ("fixtures/images/states/distroless", "images/states/distroless.dpkg-query.tsv", &[]),
        (
            "fixtures/images/multi-platform.oci",
            "images/multi-platform.amd64.dpkg-query.tsv",
            &["--platform", "linux/amd64"],
        ),
        (
            "fixtures/images/multi-platform.oci",
            "images/multi-platform.arm64.dpkg-query.tsv",
            &["--platform", "linux/arm64"],
        ),
        (
            "fixtures/images/multi-platform-nested.oci",
            "images/multi-platform.amd64.dpkg-query.tsv",
            &["--platform", "linux/amd64"],
        ),
        (
            "fixtures/images/multi-platform-nested.oci",
            "images/multi-platform.arm64.dpkg-query.tsv",
            &["--platform", "linux/arm64"],
        ),
    ] {
        let inventory = inventory(image, more);
        assert_eq!(by_karat(&inventory.systems[0].packages), by_dpkg(truth), "{image} {more:?}");
        assert!(inventory.gaps.iter().all(|gap| !gap.required), "{image}: {:?}", inventory.gaps);
    }
}

#[test]
fn the_entries_are_those_of_dpkg_parsechangelog() {
    let inventory = inventory("fixtures/production/debian-12", &["--with-releases"]);
    let mut ours: Vec<[String; 5]> = inventory.systems[0]
        .releases
        .iter()
        .map(|r| {
            let time = r.dated.map(|at| at.unix().to_string()).unwrap_or_default();
            [
                r.version.clone(),
                r.suites.join(" "),
                r.urgency.clone().unwrap_or_default(),
                time,
                r.cves.join(","),
            ]
        })
        .collect();
    let truth = fs::read_to_string(fixture("production/debian-12.changelogs.tsv")).unwrap();
    let mut theirs: Vec<[String; 5]> = truth
        .lines()
        .skip(1)
        .map(|line| line.split('\t').map(str::to_owned).collect::<Vec<_>>())
        .map(|f| [f[2].clone(), f[3].clone(), f[4].to_lowercase(), f[5].clone(), f[6].clone()])
        .collect();
    for list in [&mut ours, &mut theirs] {
        list.sort();
        list.dedup();
    }
    assert!(ours.len() > 2000, "{}", ours.len());
    assert_eq!(ours, theirs);
}

#[test]
fn the_shipped_baseline_is_what_karat_makes_of_production() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("b.json");
    let ran = karat(&[
        "baseline",
        "build",
        "--name",
        "production",
        "--host",
        "fixtures/production/debian-12",
        "--as-of",
        DAY,
        "--output",
        file.to_str().unwrap(),
    ]);
    assert_eq!(ran.code, 0, "{}", shown(&ran));
    assert!(
        fs::read(&file).unwrap() == fs::read(fixture("production/debian-12.baseline.json")).unwrap(),
        "scripts/fixtures/baseline.sh makes it anew"
    );
    let show = karat(&["baseline", "show", BASELINE]);
    assert_snapshot!("baseline_show", shown(&show));
    assert_snapshot!(
        "baseline_show_source",
        shown(&karat(&["baseline", "show", BASELINE, "--source", "openssl"]))
    );
}

#[test]
fn a_host_or_its_inventory_serves_as_baseline() {
    let from_file = audit(&[DRIFTED], &["-o", "json"]);
    let host = "fixtures/production/debian-12";
    let from_host = karat(&["audit", DRIFTED, "-b", host, "--as-of", DAY, "-o", "json"]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("host.json");
    let asked = format!("json={}", file.display());
    karat(&["inventory", host, "--with-releases", "--as-of", DAY, "-o", &asked]);
    let from_inventory =
        karat(&["audit", DRIFTED, "-b", file.to_str().unwrap(), "--as-of", DAY, "-o", "json"]);
    let images = |ran: &Ran| serde_json::from_str::<Value>(&ran.stdout).unwrap()["images"].clone();
    assert_eq!(images(&from_file), images(&from_host));
    assert_eq!(images(&from_file), images(&from_inventory));
}

/// The root of an image with one layer, by the `tar` crate.
fn unpack_layer(archive: &str, into: &Path) -> Vec<u8> {
    let read = |name: &str| -> Vec<u8> {
        let mut archive = tar::Archive::new(fs::File::open(fixture(archive)).unwrap());
        let mut content = Vec::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            if entry.path().unwrap().to_str() == Some(name) {
                std::io::Read::read_to_end(&mut entry, &mut content).unwrap();
            }
        }
        content
    };
    let manifest: Value = serde_json::from_slice(&read("manifest.json")).unwrap();
    let layer = read(manifest[0]["Layers"][0].as_str().unwrap());
    tar::Archive::new(layer.as_slice()).unpack(into).unwrap();
    layer
}

#[test]
fn one_root_file_system_is_one_inventory_whatever_the_wrapping() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    let layer = unpack_layer("broken/whole.docker.tar", &root);
    let mut names = vec![
        WHOLE.to_owned(),
        "fixtures/broken/whole.docker.tar".to_owned(),
        root.to_str().unwrap().to_owned(),
    ];
    for (name, stored) in [("plain", layer.clone()), ("gzip", gzip(&layer)), ("zstd", zstd(&layer))] {
        let layout = folder.path().join(name);
        let made = crate::making::Layout(&layout);
        made.finish(&[made.image("amd64", &[(layer.clone(), stored)])]);
        names.push(layout.to_str().unwrap().to_owned());
    }
    let inventories: Vec<Inventory> = names.iter().map(|name| inventory(name, &[])).collect();
    for (name, inventory) in names.iter().zip(&inventories) {
        assert_eq!(inventory.content_id, inventories[0].content_id, "{name}");
        assert_eq!(inventory.systems, inventories[0].systems, "{name}");
    }
    // What is read at random comes from memory, from a buffer or from a file: it is the same.
    let spooled = inventory(WHOLE, &["--limit", "spool_resident_file_bytes=0"]);
    assert_eq!(spooled.content_id, inventories[0].content_id);
}

#[test]
fn any_number_of_threads_gives_the_same_bytes() {
    let run = |threads: &str| {
        let ran = audit(&[DRIFTED, CURRENT, WHOLE], &["-o", "json", "--threads", threads]);
        (ran.code, ran.stdout)
    };
    assert_eq!(run("1"), run("16"));
    let list = |threads: &str| {
        karat(&["inventory", DRIFTED, CURRENT, "-o", "json", "--as-of", DAY, "--threads", threads]).stdout
    };
    let (one, many) = (list("1"), list("16"));
    assert_eq!(one, many);
    assert_eq!(one.lines().count(), 2, "one document a line");
}

#[test]
fn a_report_goes_to_its_file_and_the_other_to_standard_output() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.json");
    let asked = format!("json={}", file.display());
    let ran = audit(&[DRIFTED], &["-o", "text", "-o", &asked]);
    assert!(ran.stdout.starts_with("FAIL  "), "{}", shown(&ran));
    let report: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert_eq!(report["outcome"], "fail");
    assert_eq!(ran.stderr, "");
}

#[test]
fn nothing_collected_is_never_a_pass() {
    let ran = audit(&[CURRENT], &["--collect", "none"]);
    assert_eq!(ran.code, 3, "{}", shown(&ran));
}

#[test]
fn the_time_comes_from_the_flag_then_from_the_environment() {
    let mut command = Command::cargo_bin("karat").unwrap();
    command.current_dir(env!("CARGO_MANIFEST_DIR")).env("SOURCE_DATE_EPOCH", "1795478400");
    command.env_remove("HOME").env_remove("XDG_CACHE_HOME").env_remove("KARAT_CACHE_DIR");
    let output = command.args(["audit", CURRENT, "-b", BASELINE]).output().unwrap();
    assert!(String::from_utf8(output.stdout).unwrap().contains("judged at 2026-11-24T00:00:00Z"));
}

#[test]
fn the_readme_shows_the_defaults_of_the_standard() {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let toml = readme.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    assert_eq!(karat::standard::Standard::parse(toml).unwrap(), karat::standard::Standard::default());
}

#[test]
fn the_manifest_of_the_fixtures_is_whole() {
    let text = fs::read_to_string(fixture("MANIFEST.toml")).unwrap();
    let manifest: toml::Value = toml::from_str(&text).unwrap();
    let listed: Vec<(&str, &str)> = manifest["fixture"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| (f["path"].as_str().unwrap(), f["sha256"].as_str().unwrap()))
        .collect();
    for (path, digest) in &listed {
        assert_eq!(&digest_of(&fixture(path)), digest, "{path}");
    }
    for file in files(&fixture("")) {
        let name = file.strip_prefix(fixture("")).unwrap().to_str().unwrap().to_owned();
        let is_listed = listed.iter().any(|(p, _)| name == *p || name.starts_with(&format!("{p}/")));
        assert!(is_listed || name == "MANIFEST.toml", "{name} is not in fixtures/MANIFEST.toml");
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.symlink_metadata().unwrap().is_dir() {
            true => all.extend(files(&path)),
            false => all.push(path),
        }
    }
    all
}

/// Of a file its SHA-256; of a directory that of its sorted lines `DIGEST  PATH`, links as `-> TARGET`.
fn digest_of(path: &Path) -> String {
    if !path.is_dir() {
        return karat::model::Sha256::of(&fs::read(path).unwrap()).hex();
    }
    let mut lines: Vec<(Vec<u8>, String)> = files(path)
        .into_iter()
        .map(|file| {
            let name = file.strip_prefix(path).unwrap().to_str().unwrap().to_owned();
            let digest = match file.read_link() {
                Ok(target) => format!("-> {}", target.display()),
                Err(_) => karat::model::Sha256::of(&fs::read(&file).unwrap()).hex(),
            };
            (name.clone().into_bytes(), format!("{digest}  {name}\n"))
        })
        .collect();
    lines.sort();
    let text: String = lines.into_iter().map(|(_, line)| line).collect();
    karat::model::Sha256::of(text.as_bytes()).hex()
}

#[test]
fn a_host_votes_once_however_it_is_named() {
    let host = "fixtures/production/debian-12";
    let again = "fixtures/production/../production/debian-12/";
    let ran = karat(&[
        "baseline", "build", "--name", "x", "-o", "-", "--host", host, "--host", again, "--as-of", DAY,
    ]);
    assert!(ran.code == 2 && ran.stderr.contains("is the same as"), "{}", shown(&ran));
    let nameless = karat(&["baseline", "build", "--name", " ", "-o", "-", "--host", host, "--as-of", DAY]);
    assert_eq!(nameless.code, 2, "{}", shown(&nameless));
}

#[test]
fn reports_do_not_overwrite_each_other() {
    for outputs in
        [&["-o", "json", "-o", "text"][..], &["-o", "json=/tmp/x", "-o", "text=/tmp/x"], &["-o", "text="]]
    {
        let ran = audit(&[CURRENT], outputs);
        assert!(ran.code == 2 && ran.stdout.is_empty(), "{}", shown(&ran));
    }
}

#[test]
fn an_inventory_serves_as_image_unless_it_was_changed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("i.json");
    let asked = format!("json={}", file.display());
    karat(&["inventory", CURRENT, "--as-of", DAY, "-o", &asked]);
    assert_eq!(audit(&[file.to_str().unwrap()], &[]).code, 0);
    let mut changed: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    changed["systems"][0]["packages"].as_array_mut().unwrap().truncate(100);
    fs::write(&file, changed.to_string()).unwrap();
    let ran = audit(&[file.to_str().unwrap()], &[]);
    assert!(ran.code == 3 && ran.stdout.contains("was changed after karat wrote it"), "{}", shown(&ran));
    changed["systems"] = Value::Array(Vec::new());
    fs::write(&file, changed.to_string()).unwrap();
    assert_eq!(audit(&[file.to_str().unwrap()], &[]).code, 3);
}

#[test]
fn what_cannot_be_explained_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(fixture("production/debian-12.baseline.json")).unwrap();
    let path = folder.path().join("b.json");
    fs::write(&path, text.replace("debian/12/amd64", "debian/11/amd64")).unwrap();
    let ran = karat(&["explain", DRIFTED, "openssl:amd64", "-b", path.to_str().unwrap(), "--as-of", DAY]);
    assert!(ran.code == 2 && ran.stderr.contains("has nothing for debian/12/amd64"), "{}", shown(&ran));
    let absent = karat(&["audit", DRIFTED, "-b", "no-such.json", "--as-of", DAY]);
    assert!(absent.code == 2 && absent.stderr.contains("baseline: no-such.json"), "{}", shown(&absent));
    let found = karat(&["explain", DRIFTED, "openssl:amd64", "-b", BASELINE, "--as-of", DAY]);
    assert_eq!(found.code, 0, "{}", shown(&found));
}

#[test]
fn a_time_before_the_baseline_is_never_a_pass() {
    let early = karat(&["audit", CURRENT, "-b", BASELINE, "--as-of", "2026-06-01"]);
    assert_eq!(early.code, 3, "{}", shown(&early));
    for (time, want) in [("20261124", 2), ("2026", 2), ("9999-12-31", 2), ("@0", 3)] {
        let ran = karat(&["audit", CURRENT, "-b", BASELINE, "--as-of", time]);
        assert_eq!(ran.code, want, "{time}: {}", shown(&ran));
    }
}

#[test]
fn an_image_of_which_production_knows_little_gets_no_verdict() {
    let folder = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(fixture("production/debian-12.baseline.json")).unwrap();
    let mut baseline: Value = serde_json::from_str(&text).unwrap();
    baseline["platforms"][0]["packages"].as_array_mut().unwrap().truncate(5);
    baseline["platforms"][0]["sources"].as_array_mut().unwrap().truncate(5);
    let path = folder.path().join("b.json");
    fs::write(&path, baseline.to_string()).unwrap();
    let ran = karat(&["audit", CURRENT, "-b", path.to_str().unwrap(), "--as-of", DAY]);
    assert!(ran.code == 3 && ran.stdout.contains("production knows only"), "{}", shown(&ran));
}
