//! opkg: databases of syft and osv-scalibr.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use karat::format::opkg::records;
use karat::limits::Limits;

use super::{Case, Failable, Outcome, difference, rows};

/// Packages against what the two expect, and the number of stanzas that are none.
pub(crate) fn databases(root: &Path) -> Failable<Outcome> {
    let root = root.join("pkgdb");
    let mut cases = Vec::new();
    let mut case = |file: &str, want: BTreeSet<String>, damaged: usize| -> Failable<()> {
        let bytes = fs::read(root.join(file))?;
        let (mut ours, mut errors) = (BTreeSet::new(), 0);
        for record in records(&bytes, &Limits::default()) {
            match record {
                Ok(record) if record.is_installed => {
                    ours.insert(format!("{} {}", record.name, record.version));
                }
                Ok(_) => {}
                Err(_) => errors += 1,
            }
        }
        let mut failures: Vec<String> = difference(&ours, &want).into_iter().collect();
        if errors != damaged {
            failures.push(format!("{errors} stanzas are none; expected {damaged}"));
        }
        cases.push(Case::new(file, (!failures.is_empty()).then(|| failures.join(" / "))));
        Ok(())
    };
    let words = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<BTreeSet<String>>();
    let truth = rows(root.join("truth/scalibr-dpkg.tsv"))?;
    let valid = truth.iter().filter(|row| row[0] == "valid opkg status file");
    case("scalibr-dpkg/opkg/valid", valid.map(|row| format!("{} {}", row[1], row[3])).collect(), 0)?;
    let (ubus, busybox) = ("ubus 2024.10.20~252a9b0c-r1", "busybox 1.36.1-r2");
    case("scalibr-dpkg/opkg/empty", words(&[]), 0)?;
    case("scalibr-dpkg/opkg/invalid", words(&[]), 2)?;
    case("scalibr-dpkg/opkg/single", words(&[ubus]), 0)?;
    case("scalibr-dpkg/opkg/transitional", words(&[ubus]), 0)?;
    case("scalibr-dpkg/opkg/trailingnewlines", words(&[ubus]), 0)?;
    case("scalibr-dpkg/opkg/nopackage", words(&[ubus, busybox]), 1)?;
    case("scalibr-dpkg/opkg/noversion", words(&[ubus, busybox]), 1)?;
    // scalibr leaves out what is to be purged, and takes a stanza without status as none; the files of the one are
    // still there, and the other says that the database is damaged.
    let there = ["wantinstall_installed 1.0", "wantinstall_unpacked 1.0", "wantpurge_installed 1.0"];
    case("scalibr-dpkg/opkg/statusfield", words(&there), 1)?;
    let syft = ["dropbear 2024.85-r0", "busybox 1.36.1-r3", "kernel-modules 6.6.0-r0"];
    case("syft-debian/var/lib/opkg/status", words(&syft), 0)?;
    Ok(Outcome::Cases(cases))
}
