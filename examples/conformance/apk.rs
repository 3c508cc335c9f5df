//! Alpine: the order of versions, databases and an index.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::Path;

use karat::format::apk::{self, Record};
use karat::limits::Limits;
use karat::model::version::apk as order;

use super::{Case, Failable, Outcome, by_case, difference, rows, text};

/// The vectors of apk-tools 3 and go-apk-version, and two lists of osv-scalibr made with apk-tools 2, in which
/// what the two generations say differently is named.
pub(crate) fn versions(root: &Path) -> Failable<Outcome> {
    let root = root.join("versions");
    let mut cases = Vec::new();
    for row in rows(root.join("apk-version.tsv"))? {
        if let [a, op, b, ..] = row.as_slice() {
            // The vectors with `~` ask whether a version begins with another, which no order tells.
            if !op.contains('~') {
                cases.push(comparison("apk-version.tsv", a, op, b));
            }
        }
    }
    for file in ["alpine-versions.txt", "alpine-versions-generated.txt"] {
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
    let found = order::compare(a, b);
    let holds = match op {
        "<" => found.is_lt(),
        "=" | "==" => found.is_eq(),
        ">" => found.is_gt(),
        _ => false,
    };
    let why = match [a, b].into_iter().find(|version| order::check(version).is_err()) {
        Some(invalid) => format!("{found:?}, as apk-tools 3; `{invalid}` is no version"),
        None => format!("{found:?}"),
    };
    Case::new(format!("{file}: {a} {op} {b}"), (!holds).then_some(why))
}

fn read(bytes: &[u8]) -> (Vec<Record>, Vec<String>) {
    let mut records = Vec::new();
    let mut errors = Vec::new();
    for record in apk::records(bytes, &Limits::default()) {
        match record {
            Ok(record) => records.push(record),
            Err(error) => errors.push(error.to_string()),
        }
    }
    (records, errors)
}

fn row(record: &Record) -> String {
    let origin = record.origin.as_deref().unwrap_or("");
    [&record.name, &record.version, &record.arch, origin].join(" ").trim_end().to_owned()
}

fn noted(name: &str, failure: Option<String>, errors: &[String]) -> Case {
    let mut case = Case::new(name, failure);
    case.note = (!errors.is_empty()).then(|| format!("also told: {}", errors.join(" | ")));
    case
}

/// Databases against the P, V, A and o lines in them, and the expectations of other tools.
pub(crate) fn databases(root: &Path) -> Failable<Outcome> {
    let root = root.join("pkgdb");
    let mut cases = Vec::new();
    for (truth, database) in [
        (
            "apk_alpine-3.14-minirootfs_lib_apk_db_installed",
            "apk/alpine-3.14-minirootfs/lib/apk/db/installed",
        ),
        ("apk_docker-free-rootfs_lib_apk_db_installed", "apk/docker-free-rootfs/lib/apk/db/installed"),
        ("scalibr-apk_installed", "scalibr-apk/installed"),
        ("scancode_alpine_full-installed_installed", "scancode/alpine/full-installed/installed"),
        ("scancode_alpine_small-installed_installed", "scancode/alpine/small-installed/installed"),
        ("snyk-os_alpine_3_7_0_fs_lib_apk_db_installed", "snyk-os/alpine_3_7_0/fs/lib/apk/db/installed"),
        ("stackrox-apk_installed", "stackrox-apk/installed"),
        ("syft-alpine_multiple-1_lib_apk_db_installed", "syft-alpine/multiple-1/lib/apk/db/installed"),
        ("syft-alpine_multiple-2_lib_apk_db_installed", "syft-alpine/multiple-2/lib/apk/db/installed"),
        ("trivy-apk_apk", "trivy-apk/apk"),
    ] {
        let all = text(root.join("truth").join(format!("apk_{truth}.tsv")))?;
        let all = all.lines().map(|line| line.split('\t').collect::<Vec<_>>());
        let (whole, damaged): (Vec<_>, Vec<_>) =
            all.partition(|row| row.get(1).is_some_and(|v| !v.is_empty()));
        let want: BTreeSet<String> = whole.iter().map(|row| row.join(" ").trim_end().to_owned()).collect();
        let (records, errors) = read(&fs::read(root.join(database))?);
        let mut failure = difference(&records.iter().map(row).collect(), &want);
        // A package without version must be told by name.
        for row in damaged {
            if !errors.iter().any(|error| error.contains(row[0])) {
                failure.get_or_insert_with(String::new).push_str(&format!(" {} is not told", row[0]));
            }
        }
        cases.push(noted(database, failure, &errors));
    }
    cases.extend(trivy(&root)?);
    cases.extend(scalibr(&root)?);
    cases.push(index(&root)?);
    Ok(Outcome::Cases(cases))
}

/// The lists of trivy and syft for the same files.
fn trivy(root: &Path) -> Failable<Vec<Case>> {
    let all =
        rows(root.join("truth/trivy-apk.tsv"))?.into_iter().chain(rows(root.join("truth/syft-apk.tsv"))?);
    let all = by_case(all.collect());
    let mut cases = Vec::new();
    for (case, file) in [
        ("", "trivy-apk/apk"),
        // Which package of syft's case is in which of its files, its test says.
        ("musl-utils", "syft-alpine/single"),
        ("alpine-baselayout-data", "syft-alpine/empty-deps-and-provides"),
        ("alpine-baselayout", "syft-alpine/base"),
    ] {
        let syft = all.get("test extra file attributes (checksum) are ignored").into_iter().flatten();
        let want: BTreeSet<String> = all
            .get(case)
            .into_iter()
            .flatten()
            .chain(syft.filter(|row| row[0] == case))
            .map(|row| format!("{} {}", row[0], row[2]))
            .collect();
        let (records, errors) = read(&fs::read(root.join(file))?);
        let ours = records.iter().map(|record| format!("{} {}", record.name, record.version)).collect();
        cases.push(noted(file, difference(&ours, &want), &errors));
    }
    Ok(cases)
}

/// One oddity a file.
fn scalibr(root: &Path) -> Failable<Vec<Case>> {
    let mut cases = Vec::new();
    for (file, count, told) in
        [("empty", 0, 0), ("single", 1, 0), ("no-origin", 1, 0), ("different-arch", 1, 0), ("invalid", 0, 2)]
    {
        let (records, errors) = read(&fs::read(root.join("scalibr-apk").join(file))?);
        let failure =
            ((records.len(), errors.len()) != (count, told)).then(|| format!("{records:?} {errors:?}"));
        cases.push(noted(&format!("scalibr-apk/{file}"), failure, &errors));
    }
    Ok(cases)
}

/// A whole index: every record is read, and every version is one.
fn index(root: &Path) -> Failable<Case> {
    let name = "apkindex/alpine-316/APKINDEX.tar.gz";
    let stream = flate2::read::MultiGzDecoder::new(fs::File::open(root.join(name))?);
    let mut archive = tar::Archive::new(stream);
    let mut bytes = Vec::new();
    for entry in archive.entries()? {
        let mut entry = entry?;
        if entry.path()?.as_ref() == Path::new("APKINDEX") {
            entry.read_to_end(&mut bytes)?;
        }
    }
    let lines = |letter: &str| {
        bytes.split(|b| *b == b'\n').filter(|line| line.starts_with(letter.as_bytes())).count()
    };
    let (records, mut errors) = read(&bytes);
    errors.extend(records.iter().filter_map(|record| Some(order::check(&record.version).err()?.to_string())));
    let whole = records
        .iter()
        .all(|record| record.is_terminated && record.built_at.is_some() && record.origin.is_some());
    let failure = (records.len() != lines("P:") || !whole || !errors.is_empty())
        .then(|| format!("{} records of {}: {}", records.len(), lines("P:"), errors.join(" | ")));
    Ok(noted(name, failure, &[]))
}
