//! Baselines of channel sources through the command line: what they know, and that ignorance is no pass.

use std::fs;
use std::io::Read as _;
use std::path::Path;

use insta::assert_snapshot;
use serde_json::Value;

use crate::cli::{BASELINE, CURRENT, DAY, DRIFTED, karat, shown};

const DEBIAN: &str = "fixtures/channels/debian";
const ALPINE: &str = "fixtures/channels/alpine";

/// Runs `karat baseline` and gives the bytes of what it wrote.
fn made(args: &[&str]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("baseline.json");
    let mut all = vec!["baseline"];
    all.extend(args);
    all.extend(["--as-of", DAY, "--output", file.to_str().unwrap()]);
    let ran = karat(&all);
    assert_eq!(ran.code, 0, "{}", shown(&ran));
    fs::read(file).unwrap()
}

fn saved(bytes: &[u8]) -> tempfile::NamedTempFile {
    let file = tempfile::Builder::new().suffix(".json").tempfile().unwrap();
    fs::write(file.path(), bytes).unwrap();
    file
}

#[test]
fn channel_sources_make_a_baseline_that_says_what_it_does_not_know() {
    let published = saved(&made(&["build", "--name", "published", "--channel", DEBIAN, "--channel", ALPINE]));
    let ran = karat(&["baseline", "show", published.path().to_str().unwrap()]);
    assert_snapshot!("published_baseline", shown(&ran));
}

#[test]
fn merging_is_the_same_in_any_order_and_with_itself() {
    let published = saved(&made(&["build", "--name", "published", "--channel", DEBIAN, "--channel", ALPINE]));
    let published = published.path().to_str().unwrap();
    let merged = made(&["merge", "--name", "all", BASELINE, published]);
    assert_eq!(made(&["merge", "--name", "all", published, BASELINE]), merged);
    assert_eq!(made(&["merge", "--name", "all", published, BASELINE, published, BASELINE]), merged);
    let production = fs::read(BASELINE).unwrap();
    assert_eq!(made(&["merge", "--name", "production", BASELINE]), production, "one alone stays as it was");
    // What hosts run decides as before.
    let merged = saved(&merged);
    let verdicts = |baseline: &str| {
        let ran = karat(&["audit", CURRENT, DRIFTED, "--baseline", baseline, "--as-of", DAY, "-o", "json"]);
        let report: Value = serde_json::from_str(&ran.stdout).unwrap();
        let images = report["images"].as_array().unwrap();
        images.iter().map(|image| image["systems"][0]["verdict"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(verdicts(merged.path().to_str().unwrap()), verdicts(BASELINE));
}

/// Name, version and build time of the package of the index that was built last.
struct Newest {
    name: String,
    version: String,
    built: i64,
}

fn field<'r>(record: &'r str, letter: &str) -> &'r str {
    record.lines().find_map(|line| line.strip_prefix(letter)).unwrap().trim_end_matches('\0')
}

fn index() -> (Vec<String>, Newest) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(ALPINE).join("v3.16/main/x86_64/APKINDEX.tar.gz");
    let mut tar = Vec::new();
    flate2::read::MultiGzDecoder::new(&fs::read(path).unwrap()[..]).read_to_end(&mut tar).unwrap();
    let text = String::from_utf8_lossy(&tar);
    let start = text.find("C:Q1").unwrap();
    let records = text[start..].split("\n\n").filter(|record| record.contains("\nP:"));
    let mut records: Vec<String> = records.map(str::to_owned).collect();
    records.sort_by_key(|record| std::cmp::Reverse(field(record, "t:").parse::<i64>().unwrap()));
    let newest = &records[0];
    let newest = Newest {
        name: field(newest, "P:").to_owned(),
        version: field(newest, "V:").to_owned(),
        built: field(newest, "t:").parse().unwrap(),
    };
    (records, newest)
}

/// A root of Alpine 3.16 with packages of the index, the one that was built last in this version.
fn alpine(version: &str, built: i64) -> tempfile::TempDir {
    let (records, newest) = index();
    let mut installed = String::new();
    for record in records.iter().take(10) {
        let is_it = field(record, "P:") == newest.name;
        for line in record.lines().map(|line| line.trim_end_matches('\0')) {
            match line.get(..2) {
                Some("V:") if is_it => installed.push_str(&format!("V:{version}\n")),
                Some("t:") if is_it => installed.push_str(&format!("t:{built}\n")),
                _ => installed.push_str(&format!("{line}\n")),
            }
        }
        installed.push('\n');
    }
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("lib/apk/db")).unwrap();
    fs::create_dir_all(root.path().join("etc")).unwrap();
    fs::write(root.path().join("lib/apk/db/installed"), installed).unwrap();
    fs::write(root.path().join("etc/os-release"), "ID=alpine\nVERSION_ID=3.16.3\n").unwrap();
    root
}

#[test]
fn an_old_image_of_alpine_is_no_pass_against_one_index() {
    let (_, newest) = index();
    let outcome = |version: &str, built: i64, as_of: &str| {
        let root = alpine(version, built);
        let image = format!("dir:{}", root.path().display());
        let ran = karat(&["audit", &image, "--baseline", ALPINE, "--as-of", as_of, "-o", "json"]);
        let report: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{}", shown(&ran)));
        let system = &report["images"][0]["systems"][0];
        let codes = system["findings"].as_array().unwrap().iter().filter(|f| f["effect"] == "incomplete");
        let codes: Vec<String> = codes.map(|f| f["code"].as_str().unwrap().to_owned()).collect();
        (ran.code, system["verdict"]["state"].as_str().unwrap().to_owned(), codes)
    };
    let history_short = vec!["history-short".to_owned()];
    let day = 86_400;
    assert_eq!(outcome(&newest.version, newest.built, "2022-11-22"), (0, "current".to_owned(), vec![]));
    // Nothing says what came between: it may lack patches since it was built itself.
    assert_eq!(outcome("0.1-r0", 1_600_000_000, "2022-11-22"), (3, "incomplete".to_owned(), history_short));
    assert_eq!(outcome("0.1-r0", newest.built - 20 * day, "2022-11-22"), (0, "within".to_owned(), vec![]));
    let stale = outcome(&newest.version, newest.built, "2023-01-10");
    assert_eq!(stale, (3, "incomplete".to_owned(), vec!["baseline-stale".to_owned()]));
}
