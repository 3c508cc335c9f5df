//! Indexes of repositories: every package that a plain search of their lines finds.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use karat::baseline::channel::{ReadOptions, read};
use karat::limits::Limits;

use super::{Case, Failable, Outcome};

/// `Packages` and `APKINDEX` files.
pub(super) fn channels(root: &Path) -> Failable<Outcome> {
    let packages = root.join("pkgdb/python-debian/test_Packages");
    let plain = std::fs::read_to_string(&packages)?;
    let index = root.join("pkgdb/apkindex/alpine-316/APKINDEX.tar.gz");
    let text = Command::new("tar").args(["-xOzf"]).arg(&index).arg("APKINDEX").output()?.stdout;
    Ok(Outcome::Cases(vec![
        case(&packages, &found(&plain, "Package: ", "Version: ")),
        case(&index, &found(&String::from_utf8_lossy(&text), "P:", "V:")),
    ]))
}

/// Names and versions by the starts of lines.
fn found(text: &str, name: &str, version: &str) -> BTreeSet<(String, String)> {
    let value = |record: &str, key: &str| {
        record.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default().to_owned()
    };
    let records = text.split("\n\n").filter(|record| !record.trim().is_empty());
    records.map(|record| (value(record, name), value(record, version))).collect()
}

fn case(path: &Path, want: &BTreeSet<(String, String)>) -> Case {
    let limits = Limits::default();
    let options = ReadOptions { limits: &limits, platform: None, taken_at: None, threads: 1 };
    let name = path.display().to_string();
    match read(path, &options) {
        Err(error) => Case::new(name, Some(error.to_string())),
        Ok(inputs) => {
            let told: BTreeSet<(String, String)> = inputs
                .into_iter()
                .flat_map(|input| input.packages)
                .map(|offer| (offer.package.name, offer.package.version))
                .collect();
            let differ = told.symmetric_difference(want).count();
            Case::new(name, (differ > 0).then(|| format!("{differ} packages differ")))
        }
    }
}
