//! The package list that distroless images of Azure Linux (CBL-Mariner) keep instead of a database:
//! `/var/lib/rpmmanifest/container-manifest-2`, which rpm writes by a query format.
//!
//! One line a package, ten columns with tabs between: name, version-release, install time, build time, vendor,
//! epoch, size, architecture, epoch as a number, source package. What a package has not is `(none)`.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::indexing_slicing,
        clippy::unwrap_used
    )
)]

use crate::bytes::size_of_len;
use crate::error::{Error, Result, quoted};
use crate::format::rpm_header::RpmPackage;
use crate::limits::Limits;
use crate::model::Time;

/// The packages, line by line.
pub fn rows<'a>(bytes: &'a [u8], limits: &'a Limits) -> impl Iterator<Item = Result<RpmPackage>> + 'a {
    let lines = (1_u64..).zip(bytes.split(|b| *b == b'\n'));
    lines.filter(|(_, line)| !line.trim_ascii().is_empty()).map(|(number, line)| {
        limits.records.check(number)?;
        limits.rpm_header_bytes.check(size_of_len(line.len()))?;
        row(line).map_err(|error| error.at(format!("line {number}")))
    })
}

fn row(line: &[u8]) -> Result<RpmPackage> {
    let flaw = |allowed: &'static str| Error::malformed("rpm manifest", "line", None, quoted(line), allowed);
    let line = std::str::from_utf8(line).map_err(|_| flaw("UTF-8"))?;
    let columns: Vec<&str> = line.trim_end_matches('\r').split('\t').collect();
    let [name, version, installed, built, vendor, epoch, _, arch, _, source, ..] = columns.as_slice() else {
        return Err(flaw("ten columns with tabs between"));
    };
    let said = |text: &str| (!text.is_empty() && text != "(none)").then(|| text.to_owned());
    let is_word = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
    let time = |text: &str| text.parse().ok().filter(|seconds| *seconds > 0).and_then(Time::from_unix);
    let (version, release) = version.rsplit_once('-').ok_or_else(|| flaw("version-release in column 2"))?;
    if ![name, version, release].into_iter().all(is_word) {
        return Err(flaw("name, version and release"));
    }
    let epoch = match said(epoch) {
        Some(epoch) => Some(epoch.parse().map_err(|_| flaw("a number as epoch in column 6"))?),
        None => None,
    };
    Ok(RpmPackage {
        name: (*name).to_owned(),
        epoch,
        version: version.to_owned(),
        release: release.to_owned(),
        arch: said(arch).unwrap_or_default(),
        vendor: said(vendor),
        packager: None,
        source_rpm: said(source),
        module: None,
        built_at: time(built),
        installed_at: time(installed),
        is_source: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_packages() {
        let text = "mariner-release\t2.0-12.cm2\t1653816591\t1653628955\tMicrosoft Corporation\t(none)\t580\tnoarch\t0\tmariner-release-2.0-12.cm2.src.rpm\n\
            openssl-libs\t1.1.1k-15.cm2\t1653816591\t1653631609\tMicrosoft Corporation\t1\t4365048\tx86_64\t1\topenssl-1.1.1k-15.cm2.src.rpm\n\
            broken\tno release\n";
        let limits = Limits::default();
        let rows: Vec<_> = rows(text.as_bytes(), &limits).collect();
        let [Ok(first), Ok(second), Err(third)] = rows.as_slice() else { panic!("{rows:?}") };
        assert_eq!((&*first.evr(), &*first.arch), ("2.0-12.cm2", "noarch"));
        assert_eq!(second.evr(), "1:1.1.1k-15.cm2");
        assert_eq!(second.source_rpm.as_deref(), Some("openssl-1.1.1k-15.cm2.src.rpm"));
        assert!(third.to_string().starts_with("line 3: rpm manifest"), "{third}");
    }
}
