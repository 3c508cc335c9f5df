//! Arch Linux: the order of versions, and local databases.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use karat::format::pacman::{check_folder, desc, files};
use karat::limits::Limits;
use karat::model::version::alpm;

use super::{Case, Failable, Outcome, difference, rows};

/// pacman's own vectors.
pub(crate) fn versions(root: &Path) -> Failable<Outcome> {
    let mut cases = Vec::new();
    for row in rows(root.join("versions/pacman-vercmp.tsv"))? {
        let [a, op, b] = row.as_slice() else { continue };
        let found = alpm::compare(a, b);
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

/// Records against the expectations of syft and osv-scalibr.
pub(crate) fn databases(root: &Path) -> Failable<Outcome> {
    let root = root.join("pkgdb");
    let limits = Limits::default();
    let mut cases = Vec::new();
    let want = rows(root.join("truth/syft-arch.tsv"))?;
    let want = want.iter().map(|row| format!("{} {}", row[1], row[3])).collect();
    let (mut ours, mut failures) = (BTreeSet::new(), Vec::new());
    for entry in fs::read_dir(root.join("syft-arch/installed/var/lib/pacman/local"))? {
        let folder = entry?.path();
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match desc(&fs::read(folder.join("desc"))?, &limits) {
            Ok(record) => {
                failures.extend(check_folder(&record, name.as_bytes()).err().map(|error| error.to_string()));
                ours.insert(format!("{} {}", record.name, record.version));
            }
            Err(error) => failures.push(error.to_string()),
        }
        if let Ok(bytes) = fs::read(folder.join("files")) {
            failures.extend(files(&bytes, &limits).err().map(|error| error.to_string()));
        }
    }
    failures.extend(difference(&ours, &want));
    cases.push(Case::new("syft-arch/installed", (!failures.is_empty()).then(|| failures.join(" / "))));

    let truth = rows(root.join("truth/scalibr-pacman.tsv"))?;
    for (case, file) in [
        ("valid desc file", "valid"),
        ("valid desc file one dependency", "valid_one_dep"),
        ("valid desc file no dependencies", "valid_no_dep"),
        ("eof after dependencies", "eof_after_dependencies"),
        ("", "invalid_value_eof"),
    ] {
        let want = truth.iter().find(|row| row[0] == case).map(|row| format!("{} {}", row[1], row[3]));
        let ours = desc(&fs::read(root.join("scalibr-pacman").join(file))?, &limits);
        let ours = ours.map(|record| format!("{} {}", record.name, record.version));
        let failure = match (&ours, &want) {
            (Ok(ours), Some(want)) if ours == want => None,
            (Err(_), None) => None,
            _ => Some(format!("{ours:?} against {want:?}")),
        };
        cases.push(Case::new(format!("scalibr-pacman/{file}"), failure));
    }
    Ok(Outcome::Cases(cases))
}
