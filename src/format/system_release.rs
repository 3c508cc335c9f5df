//! How systems named themselves before os-release, and beside it: one file a family.
//!
//! | file | says |
//! |---|---|
//! | `lsb-release` | `DISTRIB_ID`, `DISTRIB_RELEASE`, `DISTRIB_CODENAME`, as in a shell |
//! | `debian_version` | `12.11`, or `forky/sid` before a release; Ubuntu has the name of the Debian it came from |
//! | `alpine-release` | `3.20.3`, or `3.23.0_alpha20260127` |
//! | `redhat-release`, `centos-release`, … | `CentOS Linux release 7.9.2009 (Core)`; kin of Red Hat keep its file beside theirs |
//! | `photon-release`, `mariner-release`, `azurelinux-release` | `CBL-Mariner 2.0.20220226` and a build number |
//! | `SuSE-release` | `SUSE Linux Enterprise Server 11 (x86_64)`, `VERSION = 11`, `PATCHLEVEL = 3` |
//! | `system-release-cpe` | `cpe:/o:centos:linux:6:GA` (CPE 2.2 or 2.3) |
//! | `arch-release` | nothing, by being there |
//!
//! The formats are written down nowhere; they are as the distributions write them.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::indexing_slicing,
        clippy::unwrap_used
    )
)]

use super::os_release;
use crate::bytes::size_of_len;
use crate::error::{Error, Result, quoted};
use crate::limits::Limits;
use crate::model::OsInfo;

/// A file that is read here, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `lsb-release`.
    Lsb,
    /// `debian_version`.
    Debian,
    /// `alpine-release`.
    Alpine,
    /// A line with name and version.
    Named,
    /// `SuSE-release`.
    Suse,
    /// `system-release-cpe`.
    Cpe,
    /// `arch-release`.
    Arch,
}

/// The names of these files in `/etc`, in the order in which they are believed: first those that only one
/// distribution writes, `redhat-release` after those of its kin, `debian_version`, which derived distributions
/// have as they found it, last.
pub const FILES: [(&str, Kind); 24] = [
    ("oracle-release", Kind::Named),
    ("enterprise-release", Kind::Named),
    ("rocky-release", Kind::Named),
    ("almalinux-release", Kind::Named),
    ("miraclelinux-release", Kind::Named),
    ("eurolinux-release", Kind::Named),
    ("cloudlinux-release", Kind::Named),
    ("anolis-release", Kind::Named),
    ("openEuler-release", Kind::Named),
    ("photon-release", Kind::Named),
    ("mariner-release", Kind::Named),
    ("azurelinux-release", Kind::Named),
    ("sl-release", Kind::Named),
    ("fedora-release", Kind::Named),
    ("centos-release", Kind::Named),
    ("system-release", Kind::Named),
    ("redhat-release", Kind::Named),
    ("gentoo-release", Kind::Named),
    ("SuSE-release", Kind::Suse),
    ("system-release-cpe", Kind::Cpe),
    ("lsb-release", Kind::Lsb),
    ("alpine-release", Kind::Alpine),
    ("arch-release", Kind::Arch),
    ("debian_version", Kind::Debian),
];

/// What such a file says; `None` if it is sound and names no system, as an `lsb-release` of Red Hat does.
///
/// # Errors
/// `Limit` if it is longer than such a file may be, `Malformed` if it is not what its name promises.
pub fn read(kind: Kind, bytes: &[u8], limits: &Limits) -> Result<Option<OsInfo>> {
    limits.os_release_bytes.check(size_of_len(bytes.len()))?;
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_start_matches('\u{feff}');
    match kind {
        Kind::Lsb => lsb(bytes, limits),
        Kind::Debian => debian(text),
        Kind::Alpine => alpine(text).map(Some),
        Kind::Named if text.lines().any(|line| line.trim_start().starts_with("ID=")) => {
            // Some link `system-release` to os-release.
            Ok(Some(os_release::read(bytes, limits)?.info()))
        }
        Kind::Named => named(text).map(Some),
        Kind::Suse => suse(text).map(Some),
        Kind::Cpe => cpe(text).map(Some),
        Kind::Arch => Ok(Some(OsInfo { id: "arch".into(), ..OsInfo::default() })),
    }
}

/// `ID` of os-release by the names that the older files have, in small letters; a longer name comes before one
/// that it starts with.
const NAMES: [(&str, &str); 34] = [
    ("alibaba cloud linux", "alinux"),
    ("aliyun linux", "alinux"),
    ("almalinux", "almalinux"),
    ("amazon linux", "amzn"),
    ("anolis os", "anolis"),
    ("azure linux", "azurelinux"),
    ("cbl-mariner", "mariner"),
    ("centos", "centos"),
    ("circle linux", "circle"),
    ("cloudlinux", "cloudlinux"),
    ("enterprise linux", "ol"),
    ("eurolinux", "eurolinux"),
    ("fedora", "fedora"),
    ("gentoo", "gentoo"),
    ("kylin linux", "kylin"),
    ("microsoft azure linux", "azurelinux"),
    ("miracle linux", "miraclelinux"),
    ("miraclelinux", "miraclelinux"),
    ("navy linux", "navylinux"),
    ("openeuler", "openEuler"),
    ("opensuse", "opensuse"),
    ("oracle linux", "ol"),
    ("photon", "photon"),
    ("red hat enterprise linux", "rhel"),
    ("red hat linux", "redhat"),
    ("rocky linux", "rocky"),
    ("scientific linux", "scientific"),
    ("suse linux enterprise desktop", "sled"),
    ("suse linux enterprise server", "sles"),
    ("tencentos", "tencentos"),
    ("virtuozzo", "virtuozzo"),
    ("vmware photon", "photon"),
    ("xenserver", "xenenterprise"),
    ("xcp-ng", "xenenterprise"),
];

fn id_of(name: &str) -> Option<&'static str> {
    let name = name.to_ascii_lowercase();
    NAMES.iter().find(|(known, _)| name.starts_with(known)).map(|(_, id)| *id)
}

/// The first line that says something.
fn line(text: &str) -> &str {
    text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#')).unwrap_or("")
}

fn flaw(format: &'static str, text: &str, allowed: &str) -> Error {
    Error::malformed(format, "line", None, quoted(line(text)), allowed)
}

/// Whether it is a number with dots.
fn is_version(text: &str) -> bool {
    text.split('.').all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
}

fn lsb(bytes: &[u8], limits: &Limits) -> Result<Option<OsInfo>> {
    let fields = os_release::read(bytes, limits)?;
    let (Some(id), Some(release)) = (fields.get("DISTRIB_ID"), fields.get("DISTRIB_RELEASE")) else {
        return Ok(None);
    };
    let id = match id {
        "RedHatEnterpriseServer" | "RedHatEnterprise" | "RedHatEnterpriseClient" => "rhel".to_owned(),
        "AmazonAMI" | "Amazon" => "amzn".to_owned(),
        "ManjaroLinux" => "manjaro".to_owned(),
        "Flatcar Container Linux by Kinvolk" => "flatcar".to_owned(),
        "Container Linux by CoreOS" => "coreos".to_owned(),
        other => other.split_ascii_whitespace().collect::<String>().to_ascii_lowercase(),
    };
    Ok(Some(OsInfo {
        id,
        version_id: Some(release.to_owned()),
        codename: fields.get("DISTRIB_CODENAME").map(str::to_owned),
        pretty_name: fields.get("DISTRIB_DESCRIPTION").map(str::to_owned),
        ..OsInfo::default()
    }))
}

fn debian(text: &str) -> Result<Option<OsInfo>> {
    let line = line(text);
    let debian = OsInfo { id: "debian".into(), ..OsInfo::default() };
    if is_version(line) {
        return Ok(Some(OsInfo {
            version_id: line.split('.').next().map(str::to_owned),
            point_release: Some(line.to_owned()),
            ..debian
        }));
    }
    let is_name = |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase());
    match line.split_once('/') {
        Some((codename, "sid" | "unstable")) if is_name(codename) => {
            Ok(Some(OsInfo { codename: Some(codename.to_owned()), ..debian }))
        }
        // What Kali has there; it is no release of Debian's.
        None if line.strip_suffix("-rolling").is_some_and(is_name) => Ok(None),
        _ => Err(flaw("debian_version", text, "a number as 12.11, or a name as forky/sid")),
    }
}

fn alpine(text: &str) -> Result<OsInfo> {
    let line = line(text);
    let number = line.split('_').next().unwrap_or(line);
    if !is_version(number) || !line.bytes().all(|b| b.is_ascii_alphanumeric() || b"._".contains(&b)) {
        return Err(flaw("alpine-release", text, "a version as 3.20.3"));
    }
    Ok(OsInfo { id: "alpine".into(), version_id: Some(line.to_owned()), ..OsInfo::default() })
}

fn named(text: &str) -> Result<OsInfo> {
    const FORMAT: &str = "release file";
    let line = line(text);
    let id = id_of(line).ok_or_else(|| flaw(FORMAT, text, "the name of a distribution that is known"))?;
    let version = line
        .split_ascii_whitespace()
        // Kylin calls its releases V4, V7, V10, in os-release too.
        .find(|word| is_version(word.strip_prefix('V').filter(|_| id == "kylin").unwrap_or(word)))
        .ok_or_else(|| flaw(FORMAT, text, "a version as 7.9 behind the name"))?;
    let codename =
        line.split_once('(').and_then(|(_, rest)| rest.split_once(')')).map(|(name, _)| name.trim());
    Ok(OsInfo {
        id: id.into(),
        version_id: Some(version.to_owned()),
        codename: codename.filter(|name| !name.is_empty()).map(str::to_owned),
        pretty_name: Some(line.to_owned()),
        ..OsInfo::default()
    })
}

fn suse(text: &str) -> Result<OsInfo> {
    const FORMAT: &str = "SuSE-release";
    let value = |wanted: &str| {
        text.lines().find_map(|line| {
            let (name, value) = line.split_once('=')?;
            (name.trim() == wanted).then(|| value.trim()).filter(|value| is_version(value))
        })
    };
    let id = id_of(line(text)).ok_or_else(|| flaw(FORMAT, text, "the name of a distribution of SUSE"))?;
    let version = value("VERSION").ok_or_else(|| flaw(FORMAT, text, "VERSION = and a number"))?;
    let service_pack = value("PATCHLEVEL").filter(|level| *level != "0" && id != "opensuse");
    Ok(OsInfo {
        id: id.into(),
        version_id: Some(match service_pack {
            Some(level) => format!("{version}.{level}"),
            None => version.to_owned(),
        }),
        pretty_name: Some(line(text).to_owned()),
        ..OsInfo::default()
    })
}

/// `ID` of os-release by vendor and product of a CPE.
const PRODUCTS: [(&str, &str, &str); 12] = [
    ("almalinux", "almalinux", "almalinux"),
    ("amazon", "amazon_linux", "amzn"),
    ("amazon", "linux", "amzn"),
    ("centos", "centos", "centos"),
    ("centos", "linux", "centos"),
    ("cloudlinux", "cloudlinux", "cloudlinux"),
    ("fedoraproject", "fedora", "fedora"),
    ("oracle", "linux", "ol"),
    ("redhat", "enterprise_linux", "rhel"),
    ("rocky", "rocky", "rocky"),
    ("scientificlinux", "scientificlinux", "scientific"),
    ("scientificlinux", "linux", "scientific"),
];

fn cpe(text: &str) -> Result<OsInfo> {
    let flaw = || flaw("system-release-cpe", text, "cpe:/o:VENDOR:PRODUCT:VERSION of a system that is known");
    let line = line(text).to_ascii_lowercase();
    let rest = line.strip_prefix("cpe:/o:").or_else(|| line.strip_prefix("cpe:2.3:o:")).ok_or_else(flaw)?;
    let mut parts = rest.split(':');
    let (vendor, product, version) = (parts.next(), parts.next(), parts.next());
    let id = PRODUCTS
        .iter()
        .find(|(known_vendor, known_product, _)| {
            vendor == Some(*known_vendor) && product == Some(*known_product)
        })
        .map(|(.., id)| *id)
        .ok_or_else(flaw)?;
    // Red Hat writes `6server`.
    let version = version.unwrap_or_default();
    let digits = version.bytes().take_while(|b| b.is_ascii_digit() || *b == b'.').count();
    let version = version.get(..digits).unwrap_or_default();
    if !is_version(version) {
        return Err(flaw());
    }
    Ok(OsInfo { id: id.into(), version_id: Some(version.to_owned()), ..OsInfo::default() })
}

/// What os-release and these files say together, these in the order of [`FILES`]; and one error for each that
/// contradicts. os-release counts; what it does not say is taken from a file about the same distribution.
#[must_use]
pub fn joined(os_release: Option<OsInfo>, others: &[(&'static str, OsInfo)]) -> (Option<OsInfo>, Vec<Error>) {
    let names_itself = |os: &OsInfo| os.id != "linux";
    // A name of Debian's next release alone is also what Ubuntu has.
    let is_enough = |os: &&(_, OsInfo)| os.1.version_id.is_some() || os.1.id == "arch";
    let of_others = || others.iter().find(is_enough).map(|(_, os)| os.clone());
    let mut os = match os_release {
        Some(os) if names_itself(&os) => os,
        Some(anonymous) => match of_others() {
            Some(named) => OsInfo {
                version_id: anonymous.version_id.clone().or(named.version_id),
                codename: anonymous.codename.clone().or(named.codename),
                pretty_name: anonymous.pretty_name.clone().or(named.pretty_name),
                id: named.id,
                ..anonymous
            },
            None => anonymous,
        },
        None => match of_others() {
            Some(os) => os,
            None => return (None, Vec::new()),
        },
    };
    let mut contradictions = Vec::new();
    for (file, other) in others.iter().filter(|(_, other)| other.id == os.id) {
        if let Some((mine, theirs)) = contradiction(&os, other)
            // SUSE's file calls itself deprecated, and its service pack lags behind.
            && !(*file == "SuSE-release" && mine.split('.').next() == theirs.split('.').next())
        {
            let error = Error::malformed(
                file,
                "release",
                None,
                quoted(theirs),
                format!("{} {mine}, as the files before it say", os.id),
            );
            contradictions.push(error.at(format!("/etc/{file}")));
            continue;
        }
        os.version_id = os.version_id.or_else(|| other.version_id.clone());
        os.codename = os.codename.or_else(|| other.codename.clone().filter(|_| other.id == "debian"));
        let exact = other.point_release.as_ref().or(other.version_id.as_ref());
        let is_finer = |exact: &&String| {
            os.version_id
                .as_deref()
                .and_then(|v| exact.strip_prefix(v))
                .is_some_and(|rest| rest.starts_with('.'))
        };
        if os.point_release.is_none() {
            os.point_release = exact.filter(is_finer).cloned();
        }
    }
    (Some(os), contradictions)
}

/// The two releases, if two accounts of one distribution differ in what is compared.
fn contradiction(os: &OsInfo, other: &OsInfo) -> Option<(String, String)> {
    let numbered = |os: &OsInfo| os.version_id.as_ref().and_then(|_| os_release::canonical_release(os));
    let (mine, theirs) = match (numbered(os), numbered(other)) {
        (Some(mine), Some(theirs)) => (mine, theirs),
        _ if os.id == "debian" => (os.codename.clone()?, other.codename.clone()?),
        _ => return None,
    };
    (mine != theirs).then_some((mine, theirs))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(kind: Kind, text: &str) -> Option<(String, String)> {
        let os = read(kind, text.as_bytes(), &Limits::default()).ok()??;
        Some((os.id.clone(), os.version_id.or(os.codename).unwrap_or_default()))
    }

    #[test]
    fn each_file_says_what_it_is() {
        for (kind, text, want) in [
            (Kind::Named, "CentOS release 5.11 (Final)\n", Some(("centos", "5.11"))),
            (Kind::Named, "CentOS Linux release 7.9.2009 (Core)", Some(("centos", "7.9.2009"))),
            (Kind::Named, "CentOS Stream release 9\n", Some(("centos", "9"))),
            (Kind::Named, "Red Hat Enterprise Linux Server release 6.5 (Santiago)\n", Some(("rhel", "6.5"))),
            (
                Kind::Named,
                "Enterprise Linux Enterprise Linux Server release 5.11 (Carthage)",
                Some(("ol", "5.11")),
            ),
            (Kind::Named, "AlmaLinux release 8.3 Beta (Purple Manul)", Some(("almalinux", "8.3"))),
            (Kind::Named, "Amazon Linux AMI release 2018.03\n", Some(("amzn", "2018.03"))),
            (Kind::Named, "Fedora release 25 (Rawhide)\n", Some(("fedora", "25"))),
            (Kind::Named, "VMware Photon OS 4.0\nPHOTON_BUILD_NUMBER=1526e30\n", Some(("photon", "4.0"))),
            (
                Kind::Named,
                "CBL-Mariner 2.0.20220226\nMARINER_BUILD_NUMBER=1\n",
                Some(("mariner", "2.0.20220226")),
            ),
            (Kind::Named, "Kylin Linux Advanced Server release V10 (Sword)", Some(("kylin", "V10"))),
            (
                Kind::Named,
                "NAME=\"TencentOS Server\"\nID=\"tencentos\"\nVERSION_ID=\"3.1\"\n",
                Some(("tencentos", "3.1")),
            ),
            (Kind::Named, "Nonsense 5\n", None),
            (Kind::Named, "CentOS release\n", None),
            (Kind::Named, "", None),
            (
                Kind::Suse,
                "SUSE Linux Enterprise Server 11 (x86_64)\nVERSION = 11\nPATCHLEVEL = 3",
                Some(("sles", "11.3")),
            ),
            (
                Kind::Suse,
                "\nSUSE Linux Enterprise Server 12 (x86_64)\nVERSION = 12\nPATCHLEVEL = 0\n",
                Some(("sles", "12")),
            ),
            (
                Kind::Suse,
                "openSUSE 13.2 (x86_64)\nVERSION = 13.2\nCODENAME = Harlequin\n",
                Some(("opensuse", "13.2")),
            ),
            (Kind::Suse, "openSUSE 13.2 (x86_64)\n", None),
            (Kind::Cpe, "cpe:/o:centos:linux:6:GA\n", Some(("centos", "6"))),
            (Kind::Cpe, "cpe:/o:redhat:enterprise_linux:6server:ga:server", Some(("rhel", "6"))),
            (Kind::Cpe, "cpe:2.3:o:amazon:amazon_linux:2", Some(("amzn", "2"))),
            (Kind::Cpe, "cpe:/o:centos:6:GA", None),
            (Kind::Debian, "6.0.10\n", Some(("debian", "6"))),
            (Kind::Debian, "12.11", Some(("debian", "12"))),
            (Kind::Debian, "forky/sid\n", Some(("debian", "forky"))),
            (Kind::Debian, "kali-rolling\n", None),
            (Kind::Debian, "x\n", None),
            (Kind::Alpine, "3.14.9\n", Some(("alpine", "3.14.9"))),
            (Kind::Alpine, "3.23.0_alpha20260127\n", Some(("alpine", "3.23.0_alpha20260127"))),
            (Kind::Alpine, "x\n", None),
            (
                Kind::Lsb,
                "DISTRIB_ID=Ubuntu\nDISTRIB_RELEASE=12.04\nDISTRIB_CODENAME=precise\n",
                Some(("ubuntu", "12.04")),
            ),
            (Kind::Lsb, "LSB_VERSION=base-4.0-amd64\n", None),
            (Kind::Lsb, "DISTRIB_CODENAME=lucid\n", None),
            (Kind::Arch, "", Some(("arch", ""))),
        ] {
            let want = want.map(|(id, version)| (id.to_owned(), version.to_owned()));
            assert_eq!(told(kind, text), want, "{text}");
        }
        let mut limits = Limits::default();
        limits.set("os_release_bytes", 3).unwrap();
        assert!(read(Kind::Debian, b"12.1", &limits).is_err());
    }

    #[test]
    fn files_complete_each_other_and_contradict() {
        let os = |id: &str, version: &str, codename: &str| OsInfo {
            id: id.into(),
            version_id: (!version.is_empty()).then(|| version.into()),
            codename: (!codename.is_empty()).then(|| codename.into()),
            ..OsInfo::default()
        };
        let debian = |point: &str| OsInfo {
            point_release: Some(point.into()),
            ..os("debian", point.split('.').next().unwrap(), "")
        };
        for (release, others, id, version, point, contradicts) in [
            (Some(os("debian", "12", "bookworm")), vec![debian("12.11")], "debian", "12", "12.11", false),
            (Some(os("debian", "12", "bookworm")), vec![debian("11.9")], "debian", "12", "", true),
            (Some(os("debian", "", "")), vec![debian("10.8")], "debian", "10", "10.8", false),
            (Some(os("debian", "", "forky")), vec![os("debian", "", "forky")], "debian", "", "", false),
            (Some(os("debian", "", "forky")), vec![os("debian", "", "trixie")], "debian", "", "", true),
            (
                Some(os("ubuntu", "24.04", "noble")),
                vec![os("debian", "", "trixie")],
                "ubuntu",
                "24.04",
                "",
                false,
            ),
            (
                Some(os("centos", "7", "")),
                vec![os("centos", "7.9.2009", "Core")],
                "centos",
                "7",
                "7.9.2009",
                false,
            ),
            (
                Some(os("tencentos", "3.1", "")),
                vec![os("centos", "8.4.2105", "")],
                "tencentos",
                "3.1",
                "",
                false,
            ),
            (Some(os("linux", "", "")), vec![os("rocky", "8.10", "")], "rocky", "8.10", "", false),
            (None, vec![os("ol", "5.11", ""), os("rhel", "5.11", "")], "ol", "5.11", "", false),
            (None, vec![os("alpine", "3.20.3", "")], "alpine", "3.20.3", "", false),
            (
                None,
                vec![os("alpine", "3.20.3", ""), os("alpine", "3.19.1", "")],
                "alpine",
                "3.20.3",
                "",
                true,
            ),
        ] {
            let others: Vec<_> = others.into_iter().map(|other| ("file", other)).collect();
            let (got, contradictions) = joined(release.clone(), &others);
            let got = got.unwrap();
            let got = (
                got.id.as_str(),
                got.version_id.as_deref().unwrap_or(""),
                got.point_release.as_deref().unwrap_or(""),
            );
            assert_eq!(got, (id, version, point), "{release:?} {others:?}");
            assert_eq!(!contradictions.is_empty(), contradicts, "{release:?} {others:?}");
        }
        assert!(
            joined(None, &[("debian_version", os("debian", "", "trixie"))]).0.is_none(),
            "it may be Ubuntu"
        );
        assert!(joined(None, &[]).0.is_none());
    }
}
