//! Telling packages of third parties from those of the distribution.
//!
//! A third party's changelog names its own suites, any suite or none that matters, so each of its entries
//! counts as a release. Taking a distribution's package for a third party's would make images look years old;
//! so the signs here are ones that no package of Debian or Ubuntu bears.

use super::suites::{is_codename, is_distribution_suite};
use crate::model::{Ecosystem, Package, Platform};

/// Who maintains what third parties publish: addresses that maintain nothing in Debian or Ubuntu.
const MAINTAINERS: [&str; 14] = [
    "@docker.com",
    "@nodesource.com",
    "@nginx.com",
    "@hashicorp.com",
    "@elastic.co>",
    "@grafana.com",
    "@datadoghq.com",
    "support@gitlab.com",
    "@mongodb.com",
    "@mysql.com",
    "@microsoft.com",
    "@percona.com",
    "cloudsdk",
    "developers@lists.mariadb.org",
];

/// Whether a package, by what it says of itself, is a third party's.
#[must_use]
pub fn is_third_party(package: &Package, platform: &Platform) -> bool {
    match package.ecosystem {
        Ecosystem::Apk => return is_tagged(package),
        Ecosystem::Rpm => return is_of_another_vendor(package, platform),
        // What these databases keep names no publisher.
        Ecosystem::Alpm | Ecosystem::Opkg | Ecosystem::Xbps | Ecosystem::Ebuild => return false,
        Ecosystem::Deb => {}
    }
    if let Some(origin) = &package.origin {
        return !is_distribution_origin(origin, platform);
    }
    has_vendor_suffix(&package.source.version)
        || package
            .maintainer
            .as_deref()
            .is_some_and(|who| MAINTAINERS.iter().any(|address| who.to_ascii_lowercase().contains(address)))
}

/// Whether a package of apk came from a repository of its own (`from @edge`): it follows that one, and says
/// nothing of the platform's.
pub(super) fn is_tagged(package: &Package) -> bool {
    package.ecosystem == Ecosystem::Apk
        && package.state.as_deref().is_some_and(|state| state.contains("from @"))
}

/// Who publishes a distribution's packages of rpm, by how the vendor's name starts, in lower case.
const VENDORS: [(&str, &[&str]); 20] = [
    ("rhel", &["red hat"]),
    ("centos", &["centos"]),
    ("rocky", &["rocky"]),
    ("almalinux", &["almalinux"]),
    ("ol", &["oracle"]),
    ("fedora", &["fedora project"]),
    ("amzn", &["amazon"]),
    ("sles", &["suse"]),
    ("sled", &["suse"]),
    ("sles_sap", &["suse"]),
    ("sle-micro", &["suse"]),
    ("sl-micro", &["suse"]),
    ("suse-microos", &["suse"]),
    ("opensuse-leap", &["suse", "opensuse"]),
    ("opensuse-tumbleweed", &["opensuse", "suse"]),
    ("opensuse", &["opensuse", "suse"]),
    ("azurelinux", &["microsoft"]),
    ("mariner", &["microsoft"]),
    ("photon", &["vmware", "broadcom"]),
    ("openeuler", &["openeuler", "http://openeuler.org"]),
];

/// Whether a package of rpm names a vendor that is not the distribution's. One of a distribution that is not
/// known here, or that names none, is not told from the distribution's.
fn is_of_another_vendor(package: &Package, platform: &Platform) -> bool {
    let Some(vendor) = package.origin.as_deref().map(str::to_ascii_lowercase) else { return false };
    let own = VENDORS.iter().find(|(os, _)| *os == platform.os);
    own.is_some_and(|(_, names)| !names.iter().any(|name| vendor.starts_with(name)))
}

/// Whether the entry of an installed version names nothing but suites that no distribution has.
#[must_use]
pub(super) fn has_foreign_suites(suites: &[String]) -> bool {
    !suites.is_empty() && !suites.iter().any(|suite| is_distribution_suite(suite))
}

fn is_distribution_origin(origin: &str, platform: &Platform) -> bool {
    let origin = origin.to_ascii_lowercase();
    ["debian", "ubuntu"].contains(&origin.as_str()) || origin == platform.os
}

/// Version suffixes of vendors: a codename (`~bookworm`; Debian writes `~deb12u1`), a distribution with a dot
/// (`~debian.12`; Ubuntu's own backports write `~ubuntu20.04.1`), and some names.
fn has_vendor_suffix(version: &str) -> bool {
    let version = version.to_ascii_lowercase();
    ["~debian.", "~ubuntu.", "+debian11~", "+debian12~", "+debian13~", "pgdg", "nodesource", "~ppa", "+ppa"]
        .iter()
        .any(|mark| version.contains(mark))
        || version.split(['~', '+']).skip(1).any(|word| {
            is_codename(word.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_of_apk_are_told_by_their_repository_alone() {
        let platform = "alpine/3.20/x86_64".parse().unwrap();
        let mut package = crate::baseline::testing::package("powershell 7.4.6-r0");
        package.ecosystem = Ecosystem::Apk;
        package.maintainer = Some("Somebody <somebody@microsoft.com>".into());
        assert!(!is_third_party(&package, &platform));
        package.state = Some("from @edge".into());
        assert!(is_third_party(&package, &platform));
        package.ecosystem = Ecosystem::Deb;
        package.state = None;
        assert!(is_third_party(&package, &platform));
    }

    #[test]
    fn suffixes_of_vendors_are_told_from_the_distributions() {
        for version in [
            "5:27.3.1-1~debian.12~bookworm",
            "5:24.0.7-1~ubuntu.22.04~jammy",
            "15.8-1.pgdg120+1",
            "20.11.0-1nodesource1",
            "1.24.0-1~bookworm",
            "8.2.13-1+0~20231221.39+debian12~1.gbp1",
        ] {
            assert!(has_vendor_suffix(version), "{version}");
        }
        for version in [
            "20250419~deb12u2",
            "20230311+deb12u1",
            "1.64.1-1~ubuntu20.04.1",
            "6.12.9-1~bpo12+1",
            "2.36-9+deb12u14",
            "3.4.1+ds1-5~exp1",
            "1.0~rc2+dfsg-1",
        ] {
            assert!(!has_vendor_suffix(version), "{version}");
        }
    }
}
