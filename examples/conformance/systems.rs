//! What systems call themselves, from all files that say so together.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use karat::format::{os_release, system_release};
use karat::limits::Limits;
use karat::model::OsInfo;

use super::{Case, Failable, Outcome, files, text};

/// What the files of one system say; they are given by path.
fn identify(found: &BTreeMap<String, Vec<u8>>) -> (Option<OsInfo>, Vec<String>) {
    let limits = Limits::default();
    let mut told = Vec::new();
    let os_release = ["etc/os-release", "usr/lib/os-release"]
        .iter()
        .find_map(|path| found.get(*path))
        .and_then(|bytes| os_release::read(bytes, &limits).ok())
        .map(|release| release.info());
    let mut others = Vec::new();
    for (name, kind) in system_release::FILES {
        let Some(bytes) = found.get(&format!("etc/{name}")) else { continue };
        match system_release::read(kind, bytes, &limits) {
            Ok(os) => others.extend(os.map(|os| (name, os))),
            Err(error) => told.push(error.to_string()),
        }
    }
    let (os, contradictions) = system_release::joined(os_release, &others);
    told.extend(contradictions.iter().map(ToString::to_string));
    (os, told)
}

/// A case that holds if id and version are these; an empty version is not asked for, an empty id means none.
fn case(name: String, found: &BTreeMap<String, Vec<u8>>, id: &str, version: &str) -> Case {
    let (os, told) = identify(found);
    let got_id = os.as_ref().map_or("", |os| os.id.as_str());
    let versions = os.iter().flat_map(|os| [&os.version_id, &os.point_release]).flatten();
    let has_version = version.is_empty()
        || versions.into_iter().any(|found| {
            found.strip_prefix(version).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        });
    let is_none = id.is_empty() && os.as_ref().is_none_or(|os| os.id == "linux" || os.version_id.is_none());
    let holds = is_none || (got_id.eq_ignore_ascii_case(id) && has_version);
    let failure = (!holds).then(|| {
        let got = os.as_ref().and_then(|os| os.version_id.as_deref()).unwrap_or("no version");
        let told = if told.is_empty() { String::new() } else { format!("; {}", told.join(" | ")) };
        format!("read as `{got_id}` {got} against `{id}` {version}{}{told}", explanation(&name))
    });
    let mut case = Case::new(name, failure);
    case.note = (!told.is_empty()).then(|| format!("also told: {}", told.join(" | ")));
    case
}

/// Why a case does not hold, where that is as it should be.
fn explanation(name: &str) -> &'static str {
    match name {
        "ansible-distribution/debian_stretch_sid.json" => {
            ": the version is in no file, Ansible has it from lsb_release"
        }
        "ansible-distribution/opensuse_leap_42.1.json" => ": ID of its os-release is opensuse",
        "ansible-distribution/osmc.json" => ": Ansible takes VERSION, VERSION_ID is 2022.03-1",
        _ => "",
    }
}

/// All kinds of systems.
pub(crate) fn systems(root: &Path) -> Failable<Outcome> {
    let mut cases = directories(&root.join("pkgdb/snyk-os"), 1)?;
    cases.extend(directories(&root.join("pkgdb/syft-linux-os-release/os"), 2)?);
    cases.extend(ansible(&root.join("fleet/ansible-distribution"))?);
    Ok(Outcome::Cases(cases))
}

/// Directories that are called as the system in them: `oraclelinux_5_11/fs/etc/…`, `debian/from-os-release/etc/…`.
fn directories(root: &Path, most: usize) -> Failable<Vec<Case>> {
    let mut systems: BTreeMap<String, BTreeMap<String, Vec<u8>>> = BTreeMap::new();
    for file in files(root)? {
        let path = file.strip_prefix(root)?.to_string_lossy().into_owned();
        let Some(at) = path.find("/etc/").or_else(|| path.find("/usr/lib/")) else { continue };
        let (system, inner) = path.split_at(at);
        systems.entry(system.to_owned()).or_default().insert(inner[1..].to_owned(), fs::read(&file)?);
    }
    let cases = systems.iter().map(|(system, found)| {
        let name = system.split('/').next().unwrap_or_default();
        let (name, version) = match name.split_once('_').filter(|_| most == 1) {
            Some((name, version)) => (name, version.replace('_', ".")),
            None => (name, String::new()),
        };
        let id = match name {
            "oraclelinux" => "ol",
            "redhat" => "rhel",
            "amazon" => "amzn",
            "rockylinux" => "rocky",
            "centos5" | "centos6" => "centos",
            // Files that say nothing, and systems that make up their own names.
            "os" | "lsb" | "empty" | "busybox" => "",
            "custom" => "scientific",
            _ if version.ends_with("corrupt") => "",
            other => other,
        };
        let version = if version == "unstable" { String::new() } else { version };
        case(system.clone(), found, id, if id.is_empty() { "" } else { &version })
    });
    Ok(cases.collect())
}

/// Ansible's facts: its names for distributions, and a version that it takes now from one, now from another file.
fn ansible(root: &Path) -> Failable<Vec<Case>> {
    let mut cases = Vec::new();
    for file in files(root)? {
        let name = format!("ansible-distribution/{}", file.file_name().unwrap_or_default().to_string_lossy());
        let all: serde_json::Value = serde_json::from_str(&text(&file)?)?;
        let mut found = BTreeMap::new();
        for (path, content) in all["input"].as_object().into_iter().flatten() {
            found.insert(
                path.trim_start_matches('/').to_owned(),
                content.as_str().unwrap_or_default().as_bytes().to_vec(),
            );
        }
        let result = |key: &str| all["result"][key].as_str().unwrap_or_default();
        let id = match result("distribution") {
            "Amazon" => "amzn",
            "RedHat" => "rhel",
            "Archlinux" => "arch",
            "OracleLinux" => "ol",
            "ALP-Dolomite" => "alp-dolomite",
            "Clear Linux OS" => "clear-linux-os",
            "Cumulus Linux" => "cumulus-linux",
            "Kylin Linux Advanced Server" => "kylin",
            "Linux Mint" => "linuxmint",
            "MIRACLE" => "miraclelinux",
            "Pardus GNU/Linux" => "pardus",
            "Pop!_OS" => "pop",
            "openSUSE Leap" => "opensuse-leap",
            // What is no Linux says nothing that is read, nor does Source Mage.
            "SMGL" | "Solaris" | "Nexenta" | "OmniOS" | "OpenIndiana" | "NetBSD" | "DragonFly" => "",
            other => &other.to_ascii_lowercase(),
        };
        let version = match result("distribution_version") {
            "NA" | "rolling" | "n/a" => "",
            version => version,
        };
        cases.push(case(name, &found, id, if id.is_empty() { "" } else { version }));
    }
    Ok(cases)
}
