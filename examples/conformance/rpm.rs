//! rpm: the order of versions, databases, headers of files, and changelogs.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use karat::codec::SpoolPool;
use karat::collect::{COLLECTORS, Needs};
use karat::format::rpm_file;
use karat::format::rpm_header::{Header, RpmPackage};
use karat::format::rpmdb::{self, Beside};
use karat::limits::Limits;
use karat::model::version::rpm;
use karat::model::{Inventory, Package};
use karat::{layer, scan, source};

use super::{Case, Failable, Outcome, difference, files, rows, text};

/// rpm's own vectors.
pub(crate) fn versions(root: &Path) -> Failable<Outcome> {
    let mut cases = Vec::new();
    for row in rows(root.join("versions/rpm-rpmvercmp.tsv"))? {
        let [a, op, b] = row.as_slice() else { continue };
        let found = rpm::compare(a, b);
        let holds = match op.as_str() {
            "<" => found.is_lt(),
            "=" => found.is_eq(),
            ">" => found.is_gt(),
            _ => false,
        };
        cases.push(Case::new(format!("{a} {op} {b}"), (!holds).then(|| format!("{found:?}"))));
    }
    Ok(Outcome::Cases(cases))
}

/// Databases, and what rpm, or the authors of a test suite, list from them.
const DATABASES: [(&str, &str); 8] = [
    ("go-rpmdb/sle15-bci/Packages.db", "go-rpmdb/sle15-bci.tsv"),
    ("go-rpmdb/libuuid/Packages", "go-rpmdb_libuuid.rpm-qa.tsv"),
    ("go-rpmdb/cbl-mariner-2.0/rpmdb.sqlite", "go-rpmdb_cbl-mariner-2.0.rpm-qa.tsv"),
    ("osquery-rpm/rpm-bdb/Packages", "osquery-bdb.rpm-qa.tsv"),
    ("osquery-rpm/rpm-sqlite/rpmdb.sqlite", "osquery-sqlite.rpm-qa.tsv"),
    ("scancode-rpmdb/rpmdb.sqlite", "scancode-rpmdb.sqlite.rpm-qa.tsv"),
    ("rpm/rpmdb.sqlite", "rpm_rpmdb.sqlite.rpm-qa.tsv"),
    ("syft/Packages", "syft_Packages.rpm-qa.tsv"),
];

/// The columns that are compared; truths without the last one are compared without it.
const COLUMNS: [&str; 9] =
    ["name", "epoch", "version", "release", "arch", "sourcerpm", "modularitylabel", "vendor", "installtime"];

/// Every database by its headers, and as that of a system.
pub(crate) fn databases(root: &Path) -> Failable<Outcome> {
    let root = root.join("rpmdb");
    let mut cases = Vec::new();
    for (database, truth) in DATABASES {
        cases.push(database_case(database, &root.join(database), &root.join("truth").join(truth))?);
    }
    cases.push(ndb_of_osquery(&root)?);
    let unpacked = tempfile::tempdir()?;
    let packed = root.join("scancode-rpm_installed/rootfs/var-lib-rpm.tar.xz");
    let status = Command::new("tar").arg("-xJf").arg(&packed).arg("-C").arg(unpacked.path()).status();
    match status {
        Ok(status) if status.success() => cases.push(database_case(
            "scancode-rpm_installed/rootfs",
            &unpacked.path().join("rootfs/var/lib/rpm/Packages"),
            &root.join("truth/scancode-var-lib-rpm.rpm-qa.tsv"),
        )?),
        _ => cases.push(Case::new("scancode-rpm_installed/rootfs", Some("tar cannot unpack it".into()))),
    }
    Ok(Outcome::Cases(cases))
}

fn database_case(name: &str, database: &Path, truth: &Path) -> Failable<Case> {
    let truth_text = text(truth)?;
    let heads: Vec<&str> = truth_text.lines().next().unwrap_or_default().split('\t').collect();
    let columns: Vec<(usize, usize)> = COLUMNS
        .iter()
        .enumerate()
        .filter_map(|(own, column)| Some((own, heads.iter().position(|head| head == column)?)))
        .collect();
    let want: Vec<Vec<String>> = rows(truth)?
        .into_iter()
        .map(|row| columns.iter().map(|(_, at)| row.get(*at).cloned().unwrap_or_default()).collect())
        .filter(|row: &Vec<String>| row[0] != "gpg-pubkey")
        .collect();
    let (listed, mut failures) = headers(database)?;
    let packages: Vec<_> = listed.into_iter().filter(|package| !package.is_key()).collect();
    let ours: BTreeSet<String> = packages
        .iter()
        .map(|package| {
            let cells = cells(package);
            columns
                .iter()
                .map(|(own, _)| cells[*own].clone())
                .collect::<Vec<_>>()
                .join(" ")
                .trim_end()
                .to_owned()
        })
        .collect();
    let wanted: BTreeSet<String> = want.iter().map(|row| row.join(" ").trim_end().to_owned()).collect();
    failures.extend(difference(&ours, &wanted));
    if packages.len() != want.len() {
        failures.push(format!("{} headers against {}", packages.len(), want.len()));
    }

    // The same as a system has them: by name, version with epoch, and architecture.
    let inventory = system_of(database)?;
    let of_system: BTreeSet<String> = inventory.systems.iter().flat_map(|s| &s.packages).map(told).collect();
    let wanted = packages.into_iter().map(|package| told(&package.into_package())).collect();
    failures.extend(difference(&of_system, &wanted).map(|text| format!("as a system: {text}")));
    let database_gaps = inventory.gaps.iter().filter(|gap| gap.place.contains("rpm"));
    failures.extend(database_gaps.map(|gap| format!("{}: {}", gap.place, gap.reason)));
    Ok(Case::new(name, (!failures.is_empty()).then(|| failures.join(" / "))))
}

/// osquery's NDB database, of which its test suite states versions only.
fn ndb_of_osquery(root: &Path) -> Failable<Case> {
    let (packages, mut failures) = headers(&root.join("osquery-rpm/rpm-ndb/Packages.db"))?;
    let of = |name: &str, version: &str| format!("{name} {version}");
    let ours: BTreeSet<String> = packages.iter().map(|p| of(&p.name, &p.version)).collect();
    for row in rows(root.join("truth/osquery-expected.tsv"))? {
        if row[0].starts_with("rpm-ndb") && !ours.contains(&of(&row[1], &row[2])) {
            failures.push(format!("missing {} {}", row[1], row[2]));
        }
    }
    Ok(Case::new("osquery-rpm/rpm-ndb/Packages.db", (!failures.is_empty()).then(|| failures.join(" / "))))
}

fn told(package: &Package) -> String {
    let installed = package.installed_at.map(|at| at.to_string()).unwrap_or_default();
    let Package { name, version, arch, source, origin, stream, .. } = package;
    format!("{name} {version} {arch} {} {} {origin:?} {stream:?} {installed}", source.name, source.version)
}

/// The headers of a database, and what it tells of itself.
fn headers(database: &Path) -> Failable<(Vec<RpmPackage>, Vec<String>)> {
    let bytes = fs::read(database).map_err(|error| format!("{}: {error}", database.display()))?;
    let limits = Limits::default();
    let (mut packages, mut told) = (Vec::new(), Vec::new());
    let done = rpmdb::blobs(&bytes, Beside::default(), &limits, &mut |blob| match blob
        .and_then(|blob| Header::of_record(blob.bytes, &limits)?.package())
    {
        Ok(package) => packages.push(package),
        Err(error) => told.push(error.to_string()),
    });
    told.extend(done.err().map(|error| error.to_string()));
    Ok((packages, told))
}

/// What `rpm -qa --qf` prints of a package, in the order of [`COLUMNS`].
fn cells(package: &RpmPackage) -> [String; 9] {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    [
        package.name.clone(),
        package.epoch.map(|epoch| epoch.to_string()).unwrap_or_default(),
        package.version.clone(),
        package.release.clone(),
        package.arch.clone(),
        text(&package.source_rpm),
        text(&package.module),
        text(&package.vendor),
        package.installed_at.map(|at| at.unix().to_string()).unwrap_or_default(),
    ]
}

/// A system that has this database and nothing else.
fn system_of(database: &Path) -> Failable<Inventory> {
    let folder = tempfile::tempdir()?;
    let place = folder.path().join("var/lib/rpm");
    fs::create_dir_all(&place)?;
    fs::create_dir(folder.path().join("etc"))?;
    fs::write(folder.path().join("etc/os-release"), "ID=rhel\nVERSION_ID=\"9.4\"\n")?;
    fs::copy(database, place.join(database.file_name().unwrap_or_default()))?;
    let limits = Arc::new(Limits::default());
    let spool = SpoolPool::new(std::env::temp_dir(), &limits);
    let options = scan::Options {
        source: source::Options {
            limits: limits.clone(),
            platform: "linux/amd64".parse()?,
            all_platforms: false,
            disk_folders: Default::default(),
            check_digests: false,
            spool: spool.clone(),
            registry: Arc::default(),
        },
        layer: layer::Options { limits, spool, progress: Arc::default() },
        needs: Needs::OS_PACKAGES,
        collectors: COLLECTORS,
        threads: 1,
        taken_at: "2026-11-24".parse()?,
        cache: None,
    };
    let inventories = scan::scan(&folder.path().to_string_lossy(), &options)?;
    inventories.into_iter().next().ok_or_else(|| "no inventory".into())
}

/// Headers of `.rpm` files whose payload was cut off, against what scancode expects of them; and a header
/// that rpm itself refuses.
pub(crate) fn file_headers(root: &Path) -> Failable<Outcome> {
    let root = root.join("rpmdb");
    let limits = Limits::default();
    let mut cases = Vec::new();
    for file in files(&root.join("scancode-rpm-headers"))? {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !name.ends_with(".rpm") {
            continue;
        }
        let bytes = fs::read(&file)?;
        let ours = rpm_file::header(&bytes, &limits)
            .and_then(|header| Header::of_record(&header, &limits)?.package())
            .map_err(|error| error.to_string());
        let mut case = Case::new(format!("scancode-rpm-headers/{name}"), None);
        let expected = ["-expected.json", "-package-expected.json"]
            .iter()
            .map(|suffix| file.with_file_name(format!("{name}{suffix}")))
            .find(|path| path.exists());
        case.failure = match (expected, ours) {
            (Some(expected), Ok(ours)) => expectation(&serde_json::from_str(&text(expected)?)?, &ours),
            // Without an expectation it has to be read as what it is called.
            (None, Ok(ours)) => {
                let called = format!("{}-{}-{}.", ours.name, ours.version, ours.release);
                (!name.starts_with(&called)).then(|| format!("read as {called}"))
            }
            // Many were cut within their headers, which scancode reads as far as they go; rpm refuses them too.
            (_, Err(error)) if rpm_refuses(&file)? => {
                case.note = Some(format!("refused, as by rpm: {error}"));
                None
            }
            (_, Err(error)) => Some(error),
        };
        cases.push(case);
    }
    let record = fs::read(root.join("claircore/package.header"))?;
    let package = Header::of_record(&record, &limits).and_then(|header| header.package());
    cases.push(Case::new("claircore/package.header", package.err().map(|error| error.to_string())));
    let blob = fs::read(root.join("go-rpmdb/blob.bin"))?;
    let read = Header::of_record(&blob, &limits).and_then(|header| header.package());
    let failure = read.is_ok().then(|| "read, though rpm finds its digest wrong".to_owned());
    cases.push(Case::new("go-rpmdb/blob.bin", failure));
    Ok(Outcome::Cases(cases))
}

/// Whether rpm cannot read the header of this file either.
fn rpm_refuses(file: &Path) -> Failable<bool> {
    let output = Command::new("rpm").args(["-qp", "--nosignature", "--nodigest"]).arg(file).output();
    Ok(!output.map_err(|error| format!("rpm: {error}"))?.status.success())
}

/// What does not agree with an expectation of scancode, in either of its two forms.
fn expectation(want: &serde_json::Value, ours: &RpmPackage) -> Option<String> {
    let mut failures = Vec::new();
    let mut hold = |field: &str, want: &serde_json::Value, ours: Option<&str>| {
        if want.as_str() != ours {
            failures.push(format!("{field} {ours:?} against {want}"));
        }
    };
    if let Some(want) = want.get(0) {
        hold("name", &want["name"], Some(&ours.name));
        hold("version", &want["version"], Some(&ours.evr()));
        hold("vendor", &want["parties"][0]["name"], ours.vendor.as_deref());
    } else {
        let epoch = ours.epoch.map(|epoch| epoch.to_string());
        hold("name", &want["name"], Some(&ours.name));
        hold("epoch", &want["epoch"], epoch.as_deref());
        hold("version", &want["version"], Some(&ours.version));
        hold("release", &want["release"], Some(&ours.release));
        hold("arch", &want["arch"], Some(&ours.arch));
        hold("vendor", &want["vendor"], ours.vendor.as_deref());
        hold("source_rpm", &want["source_rpm"], ours.source_rpm.as_deref());
        if want["is_binary"].as_bool() == Some(ours.source_rpm.is_none()) {
            failures.push(format!("is_binary {}", want["is_binary"]));
        }
    }
    (!failures.is_empty()).then(|| failures.join("; "))
}

/// dnf's changelog: a package is built with it, as it was for what rpm says.
pub(crate) fn changelogs(root: &Path) -> Failable<Outcome> {
    let root = root.join("changelogs");
    let name = "rpm-spec/dnf.spec.changelog";
    let folder = tempfile::tempdir()?;
    let spec = folder.path().join("dnf.spec");
    let head = "Name: dnf\nVersion: 4.25.0\nRelease: 1\nSummary: s\nLicense: MIT\nBuildArch: noarch\n\
                %description\ns\n%files\n%changelog\n";
    fs::write(&spec, format!("{head}{}", text(root.join(name))?))?;
    let built = Command::new("rpmbuild")
        .args([
            "-bb",
            "--quiet",
            "--define",
            "_changelog_trimage 0",
            "--define",
            "_changelog_trimtime 0",
            "--define",
        ])
        .arg(format!("_topdir {}", folder.path().display()))
        .arg(&spec)
        .output();
    let built = match built {
        Ok(output) if output.status.success() => folder.path().join("RPMS/noarch/dnf-4.25.0-1.noarch.rpm"),
        Ok(output) => return Err(String::from_utf8_lossy(&output.stderr).into()),
        Err(error) => return Err(format!("rpmbuild: {error}").into()),
    };
    let limits = Limits::default();
    let header = rpm_file::header(&fs::read(built)?, &limits)?;
    let ours: Vec<String> = Header::of_record(&header, &limits)?
        .changelog(&limits)?
        .iter()
        .map(|change| {
            let seconds = change.dated.map(|at| at.unix()).unwrap_or_default();
            format!("{seconds} {}", String::from_utf8_lossy(change.author))
        })
        .collect();
    let want: Vec<String> =
        rows(root.join("truth/rpm-spec_dnf.rpm-changelog.tsv"))?.iter().map(|row| row.join(" ")).collect();
    let failure = (ours != want).then(|| {
        let first = ours.iter().zip(&want).find(|(own, want)| own != want);
        format!("{} entries against {}; the first that differs: {first:?}", ours.len(), want.len())
    });
    Ok(Outcome::Cases(vec![Case::new(name, failure)]))
}
