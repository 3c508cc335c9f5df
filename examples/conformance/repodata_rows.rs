//! The metadata of rpm repositories as rows, in the form of `scripts/fixtures/repodata.py`.

use std::fs::File;
use std::io::{BufRead, BufReader, Read as _};
use std::path::Path;

use karat::codec::{self, Compression};
use karat::error::Result;
use karat::format::modules_yaml::{self, Document};
use karat::format::nevra::Evr;
use karat::format::repomd::{self, Checksum, ChecksumKind};
use karat::format::rpm_primary::{self, Compare, Package, Relation};
use karat::format::updateinfo::{self, Advisory, Suggests};
use karat::limits::Limits;
use karat::model::Time;

/// Rows, and what is told beside them.
pub(crate) type Rows = (Vec<String>, Vec<String>);

/// The rows of a file, by its name.
///
/// # Errors
/// What its decoder gives.
pub(crate) fn of_file(path: &Path, limits: &Limits) -> Result<Rows> {
    let mut head = Vec::new();
    File::open(path)?.take(8).read_to_end(&mut head)?;
    let stored = BufReader::new(File::open(path)?);
    let plain = codec::decoder(Compression::of(&head), stored, limits)?;
    of_stream(&path.file_name().unwrap_or_default().to_string_lossy(), &mut BufReader::new(plain), limits)
}

/// The rows of a stream, by the name of its file.
///
/// # Errors
/// What its decoder gives.
pub(crate) fn of_stream(name: &str, stream: &mut dyn BufRead, limits: &Limits) -> Result<Rows> {
    let (mut rows, mut told) = (Vec::new(), Vec::new());
    if name.contains("repomd") {
        let repomd = repomd::read(stream, limits)?;
        told.extend(repomd.damaged.iter().map(|(_, error)| error.to_string()));
        for file in repomd.files {
            rows.push(row(&[
                "data".into(),
                file.kind,
                file.location,
                digest(file.checksum.as_ref()),
                digest(file.open_checksum.as_ref()),
                shown(file.size_bytes),
                shown(file.open_size_bytes),
                seconds(file.made_at),
            ]));
        }
    } else if name.contains("primary") {
        let read = rpm_primary::read(stream, limits, &mut |package| {
            match package {
                Ok(package) => rows.push(of_package(package)),
                Err(error) => told.push(error.to_string()),
            }
            Ok(())
        })?;
        told.extend(read.check().err().map(|error| error.to_string()));
    } else if name.contains("modules") {
        modules_yaml::read(stream, limits, &mut |document| {
            match document {
                Ok(document) => rows.push(of_document(document, &mut told)),
                Err(error) => told.push(error.to_string()),
            }
            Ok(())
        })?;
    } else {
        updateinfo::read(stream, limits, &mut |advisory| {
            match advisory {
                Ok(advisory) => of_advisory(advisory, &mut rows, &mut told),
                Err(error) => {
                    rows.push("damaged".into());
                    told.push(error.to_string());
                }
            }
            Ok(())
        })?;
    }
    Ok((rows, told))
}

fn row(columns: &[String]) -> String {
    columns.join("\t")
}

fn shown(value: Option<impl ToString>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

fn seconds(time: Option<Time>) -> String {
    shown(time.map(Time::unix))
}

fn digest(checksum: Option<&Checksum>) -> String {
    let Some(checksum) = checksum else { return String::new() };
    let kind = match checksum.kind {
        ChecksumKind::Md5 => "md5",
        ChecksumKind::Sha1 => "sha1",
        ChecksumKind::Sha224 => "sha224",
        ChecksumKind::Sha256 => "sha256",
        ChecksumKind::Sha384 => "sha384",
        ChecksumKind::Sha512 => "sha512",
    };
    format!("{kind}:{}", checksum.hex)
}

fn of_relation(relation: &Relation) -> String {
    let Some((compare, evr)) = &relation.versions else { return relation.name.clone() };
    let flags = match compare {
        Compare::Below => "LT",
        Compare::BelowOrEqual => "LE",
        Compare::Equal => "EQ",
        Compare::AboveOrEqual => "GE",
        Compare::Above => "GT",
    };
    let release = if evr.release.is_empty() { String::new() } else { format!("-{}", evr.release) };
    format!("{} {flags} {}:{}{release}", relation.name, evr.epoch, evr.version)
}

fn parts(evr: Evr) -> [String; 3] {
    [evr.epoch.to_string(), evr.version, evr.release]
}

fn of_package(package: Package) -> String {
    let obsoletes: Vec<String> = package.obsoletes.iter().map(of_relation).collect();
    let [epoch, version, release] = parts(package.evr);
    row(&[
        "package".into(),
        package.name,
        epoch,
        version,
        release,
        package.arch,
        package.location,
        digest(package.checksum.as_ref()),
        seconds(package.built_at),
        seconds(package.file_at),
        shown(package.size_bytes),
        shown(package.source_rpm),
        shown(package.vendor),
        obsoletes.join(", "),
    ])
}

fn flags(suggests: Suggests) -> String {
    let all = [(suggests.reboot, "reboot"), (suggests.restart, "restart"), (suggests.relogin, "relogin")];
    all.iter().filter(|(is_set, _)| *is_set).map(|(_, name)| *name).collect::<Vec<_>>().join(" ")
}

fn of_advisory(advisory: Advisory, rows: &mut Vec<String>, told: &mut Vec<String>) {
    told.extend(advisory.flaws.iter().map(|flaw| format!("{}: {flaw}", advisory.id)));
    let is_flawed = |field: &str| advisory.flaws.iter().any(|flaw| flaw.reason().contains(field));
    let date = |time: Option<Time>, field: &str| match time {
        None if is_flawed(field) => "?".to_owned(),
        time => seconds(time),
    };
    rows.push(row(&[
        "update".into(),
        advisory.id.clone(),
        advisory.kind_text.clone(),
        shown(advisory.status.as_ref()),
        shown(advisory.severity.as_ref()),
        date(advisory.issued_at, "issued"),
        date(advisory.updated_at, "updated"),
        flags(advisory.suggests),
        advisory.cves.join(" "),
    ]));
    for (number, collection) in advisory.collections.into_iter().enumerate() {
        if let Some(m) = collection.module {
            let id = advisory.id.clone();
            rows.push(row(&[
                "module".into(),
                id,
                number.to_string(),
                m.name,
                m.stream,
                m.version,
                m.context,
                m.arch,
            ]));
        }
        for package in collection.packages {
            let [epoch, version, release] = parts(package.evr);
            rows.push(row(&[
                "fix".into(),
                advisory.id.clone(),
                number.to_string(),
                package.name,
                epoch,
                version,
                release,
                package.arch,
                shown(package.src),
                shown(package.file_name),
                flags(package.suggests),
            ]));
        }
    }
}

fn of_document(document: Document, told: &mut Vec<String>) -> String {
    match document {
        Document::Stream(module) => {
            told.extend(module.flaws.iter().map(|flaw| format!("{}: {flaw}", module.name)));
            let artifacts: Vec<String> = module
                .artifacts
                .iter()
                .map(|a| format!("{}-{}:{}-{}.{}", a.name, a.evr.epoch, a.evr.version, a.evr.release, a.arch))
                .collect();
            row(&[
                "stream".into(),
                module.name,
                module.stream,
                shown(module.version),
                shown(module.context),
                shown(module.arch),
                artifacts.join(" "),
            ])
        }
        Document::Defaults(defaults) => row(&["defaults".into(), defaults.module, shown(defaults.stream)]),
        Document::Obsoletes(_) => "modulemd-obsoletes".into(),
        Document::Other(kind) => kind,
    }
}
