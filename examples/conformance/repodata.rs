//! Metadata of rpm repositories, against `scripts/fixtures/repodata.py`: xml.etree, PyYAML and, where it is
//! installed, createrepo_c.

use std::path::{Path, PathBuf};
use std::process::Command;

use karat::limits::Limits;

use super::repodata_rows;
use super::{Case, Failable, Outcome, files};

/// Every file of repository metadata below the directory.
pub(super) fn repodata(root: &Path) -> Failable<Outcome> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/fixtures/repodata.py");
    let mut cases = Vec::new();
    for below in ["pkgdb/repodata", "intel/vuls-data-update", "intel/vuln-list-update", "intel/claircore"] {
        for path in files(&root.join(below))?.into_iter().filter(|path| is_metadata(path)) {
            cases.push(case(root, &path, &script)?);
        }
    }
    Ok(Outcome::Cases(cases))
}

/// `updateinfo_2.xml.gz`, `long_primary.xml`, `repomd.xml`, `0a2460-modules.yaml.xz`.
fn is_metadata(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let plain = [".gz", ".xz", ".bz2", ".zst"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(&name);
    let is_xml = plain.ends_with(".xml")
        && ["repomd", "primary", "updateinfo"].iter().any(|kind| plain.contains(kind));
    is_xml || plain.ends_with("modules.yaml")
}

fn case(root: &Path, path: &PathBuf, script: &Path) -> Failable<Case> {
    let name = path.strip_prefix(root)?.to_string_lossy().into_owned();
    let output = Command::new(script).arg(path).output()?;
    let says = String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default().to_owned();
    let ours = repodata_rows::of_file(path, &Limits::default());
    Ok(match (ours, output.status.success()) {
        (Ok((rows, told)), true) => {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let want: Vec<&str> = text.lines().collect();
            let failure = match rows.iter().zip(&want).find(|(ours, want)| ours != *want) {
                Some((ours, want)) => Some(format!("`{ours}` against `{want}`")),
                None if rows.len() != want.len() => {
                    Some(format!("{} rows against {}", rows.len(), want.len()))
                }
                None => None,
            };
            let mut case = Case::new(name, failure);
            case.note = (!told.is_empty()).then(|| format!("also told: {}", told.join(" | ")));
            case
        }
        (Ok((_, told)), false) => Case::new(name, told.is_empty().then(|| format!("read, but {says}"))),
        (Err(error), true) => Case::new(name, Some(error.to_string())),
        (Err(error), false) => {
            let mut case = Case::new(name, None);
            case.note = Some(format!("refused: {error}; as they do: {says}"));
            case
        }
    })
}
