//! Holds karat's decoders and orders against a directory of foreign test data, kind by kind, and prints how
//! many cases hold and why the others do not.
//!
//! `cargo run --release --example conformance -- DIR [--verbose]`; `scripts/conformance DIR` does that. The
//! directory has one subdirectory a kind of data (`versions`, `pkgdb`, `changelogs`), with files as their
//! authors published them and, in `truth`, what independent tools say about them. Nothing of it is needed to
//! build or to test karat.
//!
//! A case is one file, or one comparison where the data is a list of comparisons. The exit code is 0 whatever
//! holds, and 2 if the directory cannot be read.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it is a program")]

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fs;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use karat::format::dpkg::{self, ErrorFlag, Kind, Record, State, Want};
use karat::format::{debian_changelog, os_release};
use karat::limits::Limits;
use karat::model::version::deb;

#[path = "conformance/apk.rs"]
mod apk;
#[path = "conformance/channels.rs"]
mod channels;
#[path = "conformance/disks.rs"]
mod disks;
#[path = "conformance/images.rs"]
mod images;
#[path = "conformance/opkg.rs"]
mod opkg;
#[path = "conformance/pacman.rs"]
mod pacman;
#[path = "conformance/repodata.rs"]
mod repodata;
#[path = "conformance/repodata_rows.rs"]
mod repodata_rows;
#[path = "conformance/rpm.rs"]
mod rpm;
#[path = "conformance/systems.rs"]
mod systems;

type Failable<T> = Result<T, Box<dyn Error>>;

/// What came of one case.
struct Case {
    name: String,
    /// Why it does not hold.
    failure: Option<String>,
    /// What a reader should know although it holds.
    note: Option<String>,
}

impl Case {
    fn new(name: impl Into<String>, failure: Option<String>) -> Self {
        Case { name: name.into(), failure, note: None }
    }
}

/// What came of one kind.
enum Outcome {
    Cases(Vec<Case>),
    NotYet(&'static str),
}

/// Runs the cases of one kind below the directory.
type Run = fn(&Path) -> Failable<Outcome>;

/// All kinds, in the order in which they are printed.
const KINDS: &[(&str, Run)] = &[
    ("versions-deb", versions_deb),
    ("versions-rpm", rpm::versions),
    ("versions-apk", apk::versions),
    ("versions-pacman", pacman::versions),
    ("versions-languages", |_| Ok(Outcome::NotYet("no orders of language ecosystems"))),
    ("pkgdb-dpkg", pkgdb_dpkg),
    ("pkgdb-dpkg-database", pkgdb_dpkg_database),
    ("pkgdb-dpkg-trivy", pkgdb_dpkg_trivy),
    ("pkgdb-dpkg-scalibr", pkgdb_dpkg_scalibr),
    ("pkgdb-dpkg-scancode", pkgdb_dpkg_scancode),
    ("pkgdb-apk", apk::databases),
    ("pkgdb-pacman", pacman::databases),
    ("pkgdb-opkg", opkg::databases),
    ("rpmdb", rpm::databases),
    ("rpmdb-headers", rpm::file_headers),
    ("os-release", os_release_kind),
    ("systems", systems::systems),
    ("changelogs-debian", changelogs_debian),
    ("channels", channels::channels),
    ("repodata", repodata::repodata),
    ("disks", disks::disks),
    ("disks-trees", disks::trees),
    ("disks-damaged", disks::damaged),
    ("images", images::images),
    ("images-inspector", images::images_inspector),
    ("images-layouts", images::layouts),
    ("images-manifests", images::manifests),
    ("images-tars", images::tars),
    ("changelogs-rpm", rpm::changelogs),
];

fn main() -> ExitCode {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    let is_verbose = args.iter().any(|arg| arg == "--verbose");
    args.retain(|arg| arg != "--verbose");
    let [directory] = args.as_slice() else {
        eprintln!("usage: conformance DIR [--verbose]");
        return ExitCode::from(2);
    };
    if let Err(error) = fs::read_dir(directory) {
        eprintln!("{directory}: {error}");
        return ExitCode::from(2);
    }
    for (name, kind) in KINDS {
        match kind(Path::new(directory)) {
            Ok(Outcome::NotYet(why)) => println!("{name:<22} not yet: {why}"),
            Ok(Outcome::Cases(cases)) => print(name, &cases, is_verbose),
            Err(error) => println!("{name:<22} not run: {error}"),
        }
    }
    ExitCode::SUCCESS
}

fn print(kind: &str, cases: &[Case], is_verbose: bool) {
    let holds = cases.iter().filter(|case| case.failure.is_none()).count();
    println!("{kind:<22} {holds}/{}", cases.len());
    for case in cases {
        match (&case.failure, &case.note) {
            (Some(failure), _) => println!("  fails  {}: {failure}", case.name),
            (None, Some(note)) if is_verbose => println!("  holds  {}: {note}", case.name),
            (None, None) if is_verbose => println!("  holds  {}", case.name),
            (None, _) => {}
        }
    }
}

fn text(path: impl AsRef<Path>) -> Failable<String> {
    let path = path.as_ref();
    let bytes = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The rows of a table with one line of headings.
fn rows(path: impl AsRef<Path>) -> Failable<Vec<Vec<String>>> {
    Ok(text(path)?.lines().skip(1).map(|line| line.split('\t').map(str::to_owned).collect()).collect())
}

/// The files below a directory, sorted.
fn files(directory: &Path) -> Failable<Vec<PathBuf>> {
    let mut all = Vec::new();
    for entry in walkdir::WalkDir::new(directory).sort_by_file_name() {
        let entry = entry?;
        if entry.file_type().is_file() {
            all.push(entry.into_path());
        }
    }
    Ok(all)
}

/// What is in one set and not in the other, shortened.
fn difference(ours: &BTreeSet<String>, truth: &BTreeSet<String>) -> Option<String> {
    let show = |label: &str, items: Vec<&String>| {
        let first: Vec<_> = items.iter().take(3).map(|item| item.as_str()).collect();
        (!items.is_empty()).then(|| format!("{label} {}: {}", items.len(), first.join("; ")))
    };
    let missing = show("missing", truth.difference(ours).collect());
    let surplus = show("too many", ours.difference(truth).collect());
    let parts: Vec<String> = missing.into_iter().chain(surplus).collect();
    (!parts.is_empty()).then(|| parts.join(" / "))
}

// --- versions -------------------------------------------------------------------------------------------------

fn versions_deb(root: &Path) -> Failable<Outcome> {
    let root = root.join("versions");
    let mut cases = Vec::new();
    for file in ["dpkg-Dpkg_Version.tsv", "dpkg-t-version-compare.tsv", "go-deb-version.tsv"] {
        for row in rows(root.join(file))? {
            if let [a, op, b] = row.as_slice() {
                cases.push(comparison(file, a, op, b));
            }
        }
    }
    for file in ["debian-versions.txt", "debian-versions-generated.txt"] {
        for line in text(root.join("scalibr-semantic").join(file))?.lines() {
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            match words.as_slice() {
                [first, ..] if first.starts_with('#') => {}
                [a, op, b] => cases.push(comparison(file, a, op, b)),
                _ => {}
            }
        }
    }
    Ok(Outcome::Cases(cases))
}

fn comparison(file: &str, a: &str, op: &str, b: &str) -> Case {
    let order = deb::compare(a, b);
    let holds = match op {
        "<" => order.is_lt(),
        "<=" => order.is_le(),
        "=" | "==" => order.is_eq(),
        ">=" => order.is_ge(),
        ">" => order.is_gt(),
        _ => false,
    };
    Case::new(format!("{file}: {a} {op} {b}"), (!holds).then(|| format!("{order:?}")))
}

// --- dpkg databases -------------------------------------------------------------------------------------------

/// The records of a database file, and how many stanzas were reported instead.
fn read(bytes: &[u8], kind: Kind) -> (Vec<Record>, Vec<String>) {
    let mut records = Vec::new();
    let mut errors = Vec::new();
    for record in dpkg::records(bytes, kind, &Limits::default()) {
        match record {
            Ok(record) => records.push(record),
            Err(error) => errors.push(error.to_string()),
        }
    }
    (records, errors)
}

/// A version as dpkg prints it: without an epoch of nought.
fn printed(version: &str) -> &str {
    match version.split_once(':') {
        Some((epoch, rest)) if epoch.bytes().all(|b| b == b'0') => rest,
        _ => version,
    }
}

/// The three signs of dpkg-query's `db:Status-Abbrev`.
fn abbreviation(record: &Record) -> String {
    let want = match record.want {
        Want::Unknown => 'u',
        Want::Install => 'i',
        Want::Hold => 'h',
        Want::Deinstall => 'r',
        Want::Purge => 'p',
    };
    let state = match record.state {
        State::NotInstalled => 'n',
        State::ConfigFiles => 'c',
        State::HalfInstalled => 'H',
        State::Unpacked => 'U',
        State::HalfConfigured => 'F',
        State::TriggersAwaited => 'W',
        State::TriggersPending => 't',
        State::Installed => 'i',
    };
    let flag = if record.flag == ErrorFlag::ReinstReq { 'R' } else { ' ' };
    format!("{want}{state}{flag}")
}

/// What `dpkg-query -W` says: every package but those that are not installed.
fn pkgdb_dpkg(root: &Path) -> Failable<Outcome> {
    let root = root.join("pkgdb");
    let mut cases = Vec::new();
    for (truth, status) in [
        ("dpkg_ubuntu-14.04-core-armhf", "dpkg/ubuntu-14.04-core-armhf/var/lib/dpkg/status"),
        ("dpkg_ubuntu-20.04-base-arm", "dpkg/ubuntu-20.04-base-arm/var/lib/dpkg/status"),
        ("scancode_debian_basic", "scancode/debian/basic/status"),
        ("scancode_debian_ubuntu-var-lib-dpkg", "scancode/debian/ubuntu-var-lib-dpkg/var/lib/dpkg/status"),
        ("stackrox-dpkg", "stackrox-dpkg/status"),
        ("trivy-dpkg-fanal_dpkg", "trivy-dpkg-fanal/dpkg"),
    ] {
        let truth: BTreeSet<String> = rows(root.join("truth").join(format!("{truth}.dpkg-query.tsv")))?
            .into_iter()
            .map(|row| row.join(" ").trim_end().to_owned())
            .collect();
        let (records, errors) = read(&fs::read(root.join(status))?, Kind::Status);
        let ours = records.iter().filter(|record| record.state != State::NotInstalled).map(|record| {
            let Record { package, version, architecture, source, .. } = record;
            let (version, source_version) = (printed(version), printed(&source.version));
            let status = abbreviation(record);
            format!("{package} {version} {architecture} {} {source_version} {status}", source.name)
                .trim_end()
                .to_owned()
        });
        let mut case = Case::new(status, difference(&ours.collect(), &truth));
        case.note = (!errors.is_empty()).then(|| format!("also told: {}", errors.join(" | ")));
        cases.push(case);
    }
    Ok(Outcome::Cases(cases))
}

/// dpkg's own databases with updates: an error where dpkg says one, the same packages where it does not.
fn pkgdb_dpkg_database(root: &Path) -> Failable<Outcome> {
    let root = root.join("pkgdb");
    let mut cases = Vec::new();
    for row in rows(root.join("truth/dpkg-t-db.tsv"))? {
        let [name, says] = row.as_slice() else { continue };
        let directory = root.join("dpkg-t-db").join(name);
        let (records, mut errors) = read(&fs::read(directory.join("status"))?, Kind::Status);
        let mut updates = Vec::new();
        // A database without updates may come without the directory.
        let update_files = files(&directory.join("updates")).unwrap_or_default();
        for file in update_files {
            if file.file_name().is_some_and(|name| dpkg::is_update_name(name.as_encoded_bytes())) {
                let (more, more_errors) = read(&fs::read(file)?, Kind::Update);
                updates.extend(more);
                errors.extend(more_errors);
            }
        }
        let records = dpkg::overlay(records, updates);
        errors.extend(dpkg::conflicts(&records).iter().map(ToString::to_string));
        let list: Vec<String> =
            records.iter().map(|r| format!("{}:{}:{}", r.package, r.architecture, r.version)).collect();
        let failure = match says.as_str() {
            "error" => errors.is_empty().then(|| format!("no error: {}", list.join(" "))),
            // dpkg warns, and lists both packages of these.
            "warning" => (!errors.is_empty() || list.len() != 2)
                .then(|| format!("{}; {}", list.join(" "), errors.join(" | "))),
            says => {
                let wanted = says.trim_start_matches("stdout ");
                (list != [wanted] || !errors.is_empty()).then(|| format!("{list:?} {errors:?}"))
            }
        };
        cases.push(Case::new(format!("dpkg-t-db/{name}"), failure));
    }
    Ok(Outcome::Cases(cases))
}

/// The files in a txtar: `-- NAME --` lines with what follows them.
fn txtar(text: &str) -> BTreeMap<&str, String> {
    let mut files: BTreeMap<&str, String> = BTreeMap::new();
    let mut current = None;
    for line in text.split_inclusive('\n') {
        match line.trim_end().strip_prefix("-- ").and_then(|rest| rest.strip_suffix(" --")) {
            Some(name) => current = Some(name),
            None => {
                if let Some(name) = current {
                    files.entry(name).or_default().push_str(line);
                }
            }
        }
    }
    files
}

/// Rows of a table by their first column.
fn by_case(rows: Vec<Vec<String>>) -> BTreeMap<String, Vec<Vec<String>>> {
    let mut cases: BTreeMap<String, Vec<Vec<String>>> = BTreeMap::new();
    for mut row in rows {
        let case = row.remove(0);
        cases.entry(case).or_default().push(row);
    }
    cases
}

/// trivy's expectations: installed packages, their versions and sources put together from their parts. It
/// drops what it cannot use without a word; we report it, which is not a difference in the list.
fn pkgdb_dpkg_trivy(root: &Path) -> Failable<Outcome> {
    let root = root.join("pkgdb");
    let truth = by_case(rows(root.join("truth/trivy-dpkg.tsv"))?);
    let mut cases = Vec::new();
    for (case, file) in [
        ("valid", "valid.txtar"),
        ("corrupsed", "corrupsed.txtar"),
        ("happy path with digests", "digest.txtar"),
        ("md5sums", "md5sums.txtar"),
        ("third-party package", "third-party.txtar"),
    ] {
        let join = |epoch: &str, version: &str, release: &str| {
            let epoch = if epoch.is_empty() { String::new() } else { format!("{epoch}:") };
            let release = if release.is_empty() { String::new() } else { format!("-{release}") };
            format!("{epoch}{version}{release}")
        };
        let want: BTreeSet<String> = truth
            .get(case)
            .into_iter()
            .flatten()
            .filter_map(|row| {
                let [name, epoch, version, release, arch, src, src_epoch, src_version, src_release] =
                    row.as_slice()
                else {
                    return None;
                };
                let version = join(epoch, version, release);
                Some(format!("{name} {version} {arch} {src} {}", join(src_epoch, src_version, src_release)))
            })
            .collect();
        let archive = text(root.join("trivy-dpkg").join(file))?;
        let files = txtar(&archive);
        let status = files.get("var/lib/dpkg/status").ok_or("no status in the txtar")?;
        let (records, errors) = read(status.as_bytes(), Kind::Status);
        let ours = records.iter().filter(|record| record.is_installed()).map(|r| {
            format!("{} {} {} {} {}", r.package, r.version, r.architecture, r.source.name, r.source.version)
        });
        let mut result = Case::new(format!("trivy-dpkg/{file}"), difference(&ours.collect(), &want));
        if !errors.is_empty() {
            let told = format!("also told: {}", errors.join(" | "));
            result.failure = result.failure.map(|failure| format!("{failure} ({told})"));
            result.note = Some(told);
        }
        cases.push(result);
    }
    Ok(Outcome::Cases(cases))
}

/// osv-scalibr's expectations, by its own policy: it drops stanzas without name or version, and counts
/// only packages whose Status ends in `installed` unless told otherwise.
fn pkgdb_dpkg_scalibr(root: &Path) -> Failable<Outcome> {
    let root = root.join("pkgdb");
    let truth = by_case(rows(root.join("truth/scalibr-dpkg.tsv"))?);
    let mut cases = Vec::new();
    for (case, file, kind) in [
        ("valid status file", "valid", Kind::Status),
        ("packages with no version set are skipped", "noversion", Kind::Status),
        ("packages with no name set are skipped", "nopackage", Kind::Status),
        ("statusfield", "statusfield", Kind::Status),
        ("ubuntu", "single", Kind::Status),
        ("", "trailingnewlines", Kind::Status),
        ("", "empty", Kind::Status),
        ("status.d file without Status field set should work", "status.d/foo", Kind::StatusD),
        ("transitional packages should be annotated", "transitional", Kind::Status),
        ("transitional dummy packages should be annotated", "transitional_dummy", Kind::Status),
        ("transitional empty packages should be annotated", "transitional_empty", Kind::Status),
    ] {
        let mut bytes = fs::read(root.join("scalibr-dpkg/dpkg").join(file))?;
        // The data has no newline at its end, which dpkg refuses and scalibr does not look at.
        if bytes.last().is_some_and(|b| *b != b'\n') {
            bytes.push(b'\n');
        }
        let (records, errors) = read(&bytes, kind);
        let is_listed = |record: &&Record| record.state == State::Installed;
        let ours: BTreeSet<String> =
            records.iter().filter(is_listed).map(|r| format!("{} {}", r.package, r.version)).collect();
        let mut want: BTreeSet<String> = truth
            .get(case)
            .into_iter()
            .flatten()
            // Rows of the opkg cases carry the same names.
            .filter(|row| !matches!(row[0].as_str(), "ubus" | "busybox" | "libuci20130104"))
            .map(|row| format!("{} {}", row[0], row[2]))
            .collect();
        match file {
            "trailingnewlines" => want = BTreeSet::from(["acl 2.3.1-3".to_owned()]),
            "transitional" => drop(want.remove("acl 2.3.1-3")),
            _ => {}
        }
        let mut result = Case::new(format!("scalibr-dpkg/dpkg/{file}"), difference(&ours, &want));
        result.note = (!errors.is_empty()).then(|| format!("also told: {}", errors.join(" | ")));
        cases.push(result);
    }
    // It refuses this one whole; every stanza of it must be an error.
    let (records, errors) = read(&fs::read(root.join("scalibr-dpkg/dpkg/invalid"))?, Kind::Status);
    let failure = (!records.is_empty() || errors.len() != 2).then(|| format!("{records:?} {errors:?}"));
    cases.push(Case::new("scalibr-dpkg/dpkg/invalid", failure));
    Ok(Outcome::Cases(cases))
}

/// scancode's list of a real layer.
fn pkgdb_dpkg_scancode(root: &Path) -> Failable<Outcome> {
    let directory = root.join("pkgdb/scancode/debian");
    let layer = directory.join("debian-container-layer.tar.xz");
    let expected: serde_json::Value = serde_json::from_str(&text(
        directory.join("debian-container-layer.tar.xz.get-installed-expected.json"),
    )?)?;
    let field = |package: &serde_json::Value, name: &str| package[name].as_str().unwrap_or("").to_owned();
    let want: BTreeSet<String> = expected
        .as_array()
        .ok_or("no list")?
        .iter()
        .map(|p| {
            let arch = p["qualifiers"]["arch"].as_str().unwrap_or("");
            format!("{} {} {arch}", field(p, "name"), field(p, "version"))
        })
        .collect();
    let child = Command::new("xz").arg("-dc").arg(&layer).stdout(Stdio::piped()).spawn();
    let mut child = child.map_err(|error| format!("xz: {error}"))?;
    let mut archive = tar::Archive::new(child.stdout.take().ok_or("no pipe")?);
    let mut status = Vec::new();
    for entry in archive.entries()? {
        let mut entry = entry?;
        if entry.path()?.ends_with("var/lib/dpkg/status") {
            entry.read_to_end(&mut status)?;
        }
    }
    child.wait()?;
    let (records, errors) = read(&status, Kind::Status);
    let ours = records
        .iter()
        .filter(|record| record.is_installed())
        .map(|r| format!("{} {} {}", r.package, r.version, r.architecture));
    let mut case =
        Case::new("scancode/debian/debian-container-layer.tar.xz", difference(&ours.collect(), &want));
    case.note = (!errors.is_empty()).then(|| format!("also told: {}", errors.join(" | ")));
    Ok(Outcome::Cases(vec![case]))
}

// --- os-release -----------------------------------------------------------------------------------------------

fn os_release_kind(root: &Path) -> Failable<Outcome> {
    let root = root.join("pkgdb");
    let mut cases = Vec::new();
    for expected in files(&root.join("os-release-corpus"))? {
        let path = expected.to_string_lossy().into_owned();
        if let Some(file) = path.strip_suffix("-distro-expected.json").filter(|file| Path::new(file).exists())
        {
            cases.push(os_release_expected(&root, Path::new(file), &text(&expected)?)?);
        }
    }
    for file in files(&root.join("snyk-os"))?.into_iter().chain(files(&root.join("syft-linux-os-release"))?) {
        let name = file.strip_prefix(&root)?.to_string_lossy().into_owned();
        let parts: Vec<&str> = name.split('/').collect();
        let told = match parts.as_slice() {
            ["snyk-os", told, .., "os-release"] => *told,
            ["syft-linux-os-release", "os" | "partial-fields", told, .., "os-release"] => *told,
            ["syft-linux-os-release", told] if !told.starts_with("bad-") => *told,
            _ => continue,
        };
        cases.push(os_release_named(&name, told, &fs::read(&file)?));
    }
    Ok(Outcome::Cases(cases))
}

/// Against the expectation beside it: every variable that it knows.
fn os_release_expected(root: &Path, file: &Path, expected: &str) -> Failable<Case> {
    let release = os_release::read(&fs::read(file)?, &Limits::default())?;
    let expected: serde_json::Value = serde_json::from_str(expected)?;
    let mut differences = Vec::new();
    for (variable, key) in [
        ("ID", "identifier"),
        ("VERSION_ID", "version_id"),
        ("VERSION_CODENAME", "version_codename"),
        ("PRETTY_NAME", "pretty_name"),
        ("ID_LIKE", "id_like"),
        ("VARIANT_ID", "variant_id"),
        ("VERSION", "version"),
        ("NAME", "name"),
    ] {
        let want = expected[key].as_str().filter(|value| !value.is_empty());
        if release.get(variable) != want {
            differences.push(format!("{variable}: {:?} against {want:?}", release.get(variable)));
        }
    }
    let failure = (!differences.is_empty()).then(|| differences.join("; "));
    let mut case = Case::new(file.strip_prefix(root)?.to_string_lossy(), failure);
    case.note = release.problems.first().map(|problem| format!("also told: {problem}"));
    Ok(case)
}

/// Against the name of its directory: `oraclelinux_7_5`, `debian-8`, `amazon`.
fn os_release_named(name: &str, told: &str, bytes: &[u8]) -> Case {
    let (distribution, version) = match told {
        "debian_unstable" => ("debian", None),
        "os_release_corrupt" | "missing-id" | "missing-version" | "empty" => ("linux", None),
        "unknown-id" | "custom" => ("", None),
        "unprintable" => ("debian", Some("8".to_owned())),
        "opensuse-leap" => (told, None),
        _ => match told.split_once(['_', '-']) {
            Some((distribution, version)) => (distribution, Some(version.replace('_', "."))),
            None => (told, None),
        },
    };
    let id = match distribution {
        "oraclelinux" => "ol",
        "redhat" => "rhel",
        "amazon" => "amzn",
        "rockylinux" => "rocky",
        other => other,
    };
    let release = match os_release::read(bytes, &Limits::default()) {
        Ok(release) => release,
        Err(error) => return Case::new(name, Some(error.to_string())),
    };
    let info = release.info();
    let version_id = info.version_id.clone().unwrap_or_default();
    let is_version = version.as_ref().is_none_or(|version| {
        version_id.strip_prefix(version.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    });
    let is_id = id.is_empty() || info.id == id;
    let failure = (!is_id || !is_version).then(|| format!("read as `{}` `{version_id}`", info.id));
    Case::new(name, failure)
}

// --- changelogs -----------------------------------------------------------------------------------------------

fn changelogs_debian(root: &Path) -> Failable<Outcome> {
    let root = root.join("changelogs");
    let mut cases = Vec::new();
    for row in rows(root.join("truth/SUMMARY.tsv"))? {
        let [name, _, cves, warnings] = row.as_slice() else { continue };
        let path = root.join(name);
        if !path.exists() {
            // Of one only the truth is there.
            continue;
        }
        let file = fs::File::open(&path)?;
        let stream: Box<dyn Read> = if name.ends_with(".gz") {
            Box::new(flate2::read::MultiGzDecoder::new(file))
        } else {
            Box::new(file)
        };
        let truth = root.join("truth").join(format!("{}.tsv", name.replace('/', "_")));
        let failure = changelog(&mut BufReader::new(stream), &text(truth)?, cves, warnings);
        cases.push(Case::new(name, failure));
    }
    Ok(Outcome::Cases(cases))
}

/// Why a changelog is not read as dpkg-parsechangelog says.
fn changelog(stream: &mut dyn std::io::BufRead, truth: &str, cves: &str, warnings: &str) -> Option<String> {
    let read = match debian_changelog::read(stream, &Limits::default()) {
        Ok(Some(read)) => read,
        Ok(None) => return Some("taken for an upstream changelog".to_owned()),
        Err(error) => return Some(error.to_string()),
    };
    let ours = read.entries.iter().map(|entry| {
        let urgency = entry.urgency.as_deref().unwrap_or("unknown");
        let dated = entry.dated.map(|time| time.unix().to_string()).unwrap_or_default();
        [&entry.source, &entry.version, &entry.suites.join(" "), urgency, &dated].join("\t")
    });
    // source, version, suites, urgency, date as written, timestamp
    let want = truth.lines().map(|line| {
        let mut columns: Vec<&str> = line.split('\t').collect();
        if columns.len() > 4 {
            columns.remove(4);
        }
        columns.join("\t")
    });
    let (ours, want): (Vec<String>, Vec<String>) = (ours.collect(), want.collect());
    if let Some((ours, want)) = ours.iter().zip(&want).find(|(ours, want)| ours != want) {
        return Some(format!("`{ours}` against `{want}`"));
    }
    if ours.len() != want.len() {
        return Some(format!("{} entries against {}", ours.len(), want.len()));
    }
    let named: BTreeSet<&String> = read.entries.iter().flat_map(|entry| &entry.cves).collect();
    if named.len().to_string() != cves {
        return Some(format!("{} CVE ids against {cves}", named.len()));
    }
    ((read.problem_count == 0) != (warnings == "0"))
        .then(|| format!("{} problems against {warnings} warnings: {:?}", read.problem_count, read.problems))
}
