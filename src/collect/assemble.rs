//! Joins what is visible into one system. Pure: the same facts, the same system.

mod ownership;
mod packages;

use std::collections::BTreeSet;

use crate::format::dpkg::info_name;
use crate::format::os_release::canonical_release;
use crate::model::{Coverage, Gap, ImagePath, OsInfo, Package, Platform, ReleaseEntry, System};

use super::squash::{Resolved, Squashed};
use super::{Fact, Needs};

pub use ownership::{Owned, Ownership};

/// What the strata of one root come to.
#[derive(Debug, Clone)]
pub struct Assembled {
    /// The system.
    pub system: System,
    /// Everything that should have been read and was not.
    pub gaps: Vec<Gap>,
    /// The databases that were found.
    pub coverage: Vec<Coverage>,
    /// Which package owns which file; empty unless it was asked for.
    pub ownership: Ownership,
}

/// Joins the squashed facts of one root.
#[must_use]
pub fn assemble(squashed: &Squashed, needs: Needs) -> Assembled {
    let mut gaps = squashed.gaps.clone();
    for (_, found) in squashed.visible() {
        gaps.extend(found.iter().flat_map(|part| part.gaps.iter().cloned()));
    }
    let os = os_info(squashed);
    let (mut packages, conflicts) = packages::installed(squashed);
    gaps.extend(conflicts);
    let platform = os.as_ref().and_then(|os| platform(os, &packages));
    if needs.any(Needs::OS_PACKAGES) {
        missing(squashed, os.as_ref(), platform.as_ref(), &packages, &mut gaps);
    }
    packages::attribute(squashed, &mut packages);
    for package in &mut packages {
        package.purl = purl(package, platform.as_ref(), os.as_ref());
    }
    packages.sort();
    let releases = match needs.any(Needs::HISTORY) {
        true => history(squashed),
        false => Vec::new(),
    };
    gaps.sort();
    gaps.dedup();
    Assembled {
        system: System { platform, channel: None, root: ImagePath::root(), os, packages, releases },
        gaps,
        coverage: coverage(squashed),
        ownership: ownership::join(squashed),
    }
}

/// What should be there and is not.
fn missing(
    squashed: &Squashed,
    os: Option<&OsInfo>,
    platform: Option<&Platform>,
    packages: &[Package],
    gaps: &mut Vec<Gap>,
) {
    let mut gap = |place: &str, reason: &str| {
        gaps.push(Gap { place: place.into(), reason: reason.into(), required: true });
    };
    let admin = ImagePath::from("var/lib/dpkg");
    let has_admin = matches!(squashed.resolve(&admin), Resolved::Directory(_));
    let has_dpkg = facts(squashed).any(|(_, fact)| matches!(fact, Fact::Packages(_)));
    if has_admin && !has_dpkg {
        gap("/var/lib/dpkg", "dpkg's directory is there, and no database in it (status, status.d)");
    }
    if let Some(strays) = strays(squashed, packages) {
        gap("/var/lib/dpkg/info", &strays);
    }
    match (os, platform) {
        // `nothing_found` tells that.
        (_, None) if packages.is_empty() => {}
        (None, _) => gap("/etc/os-release", "it is not there, so the platform is unknown"),
        (Some(_), None) => gap("/etc/os-release", "it names no release, so the platform is unknown"),
        (Some(_), Some(_)) => {}
    }
}

/// The gap of a root in which no package was found: it was not understood, so it is never clean.
#[must_use]
pub fn nothing_found(system: &System) -> Option<Gap> {
    let found = match system.os {
        Some(_) => "an operating system, but no package",
        None => "no operating system and no package",
    };
    system.packages.is_empty().then(|| Gap {
        place: "/".into(),
        reason: format!("{found} was found"),
        required: true,
    })
}

/// Packages whose digests dpkg keeps and which no database lists: it was cut, or records were taken out of it.
/// (A package that was removed has none left.)
fn strays(squashed: &Squashed, packages: &[Package]) -> Option<String> {
    let Resolved::Directory(info) = squashed.resolve(&ImagePath::from("var/lib/dpkg/info")) else {
        return None;
    };
    let listed: BTreeSet<&str> = packages.iter().map(|package| package.name.as_str()).collect();
    let strays: BTreeSet<&str> = squashed
        .below(&info)
        .filter_map(|(path, _)| info_name(path.name()))
        .filter(|name| name.kind == "md5sums" && !listed.contains(name.package))
        .map(|name| name.package)
        .collect();
    let some: Vec<&str> = strays.iter().copied().take(3).collect();
    let more = if strays.len() > 3 { ", …" } else { "" };
    let many = strays.len();
    (many > 0).then(|| {
        format!("{many} packages have files there and are in no database: {}{more}", some.join(", "))
    })
}

/// All visible facts, in order of their paths.
fn facts(squashed: &Squashed) -> impl Iterator<Item = (&ImagePath, &Fact)> {
    squashed.visible().flat_map(|(path, found)| {
        found.iter().flat_map(move |part| part.facts.iter().map(move |(_, fact)| (path, fact)))
    })
}

/// What os-release says: the file in /etc before that in /usr/lib, as os-release(5) has it.
fn os_info(squashed: &Squashed) -> Option<OsInfo> {
    ["etc/os-release", "usr/lib/os-release"].into_iter().find_map(|place| {
        let Resolved::File(real) = squashed.resolve(&ImagePath::from(place)) else {
            return None;
        };
        squashed.found(&real)?.iter().flat_map(|part| &part.facts).find_map(|(_, fact)| match fact {
            Fact::Os(os) => Some(os.clone()),
            _ => None,
        })
    })
}

/// The platform: what os-release names, on the architecture of the packages.
fn platform(os: &OsInfo, packages: &[Package]) -> Option<Platform> {
    let arch = native_arch(packages)?;
    Some(Platform { os: os.id.clone(), release: canonical_release(os)?, arch })
}

/// The native architecture: that of dpkg itself, else the one that most packages have.
fn native_arch(packages: &[Package]) -> Option<String> {
    if let Some(dpkg) = packages.iter().find(|p| p.name == "dpkg" && p.arch != "all") {
        return Some(dpkg.arch.clone());
    }
    let mut archs: Vec<&str> = packages.iter().map(|p| p.arch.as_str()).filter(|a| *a != "all").collect();
    archs.sort_unstable();
    let mut counted: Vec<(usize, &str)> =
        archs.chunk_by(|a, b| a == b).filter_map(|same| Some((same.len(), *same.first()?))).collect();
    counted.sort_by_key(|(count, arch)| (std::cmp::Reverse(*count), *arch));
    counted.first().map(|(_, arch)| (*arch).to_string())
}

/// The package URL, <https://github.com/package-url/purl-spec>, type `deb`.
fn purl(package: &Package, platform: Option<&Platform>, os: Option<&OsInfo>) -> String {
    let namespace = os.map_or("debian", |os| os.id.as_str());
    let distro =
        platform.map(|p| format!("&distro={}-{}", escape(&p.os), escape(&p.release))).unwrap_or_default();
    format!(
        "pkg:{}/{}/{}@{}?arch={}{distro}",
        package.ecosystem,
        escape(namespace),
        escape(&package.name),
        escape(&package.version),
        escape(&package.arch),
    )
}

/// Percent-encoding as the purl specification wants it: letters, digits, `.-_~` and the colon stay.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' | b'~' | b':' => {
                out.push(char::from(byte))
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// The entries of all visible changelogs, sorted, once each. A changelog belongs to the source of its newest
/// entry, also where older entries bear the name that the source had before.
fn history(squashed: &Squashed) -> Vec<ReleaseEntry> {
    let mut all: Vec<ReleaseEntry> = facts(squashed)
        .filter_map(|(path, fact)| match fact {
            Fact::History(entries) if !is_upstreams(squashed, path) => Some(entries),
            _ => None,
        })
        .flat_map(|entries| {
            let source = entries.first().map(|newest| newest.source.clone()).unwrap_or_default();
            let above = [None].into_iter().chain(entries.iter().map(|entry| Some(entry.version.clone())));
            entries.iter().cloned().zip(above).map(move |(entry, superseded_by)| ReleaseEntry {
                source: source.clone(),
                superseded_by,
                ..entry
            })
        })
        .collect();
    all.sort();
    all.dedup();
    all
}

/// Whether a `changelog.gz` is the upstream's, since the packaging has one of its own beside it.
fn is_upstreams(squashed: &Squashed, path: &ImagePath) -> bool {
    let beside = |name: &str| squashed.node(&path.parent().join(name)).is_some();
    matches!(path.name(), b"changelog" | b"changelog.gz")
        && (beside("changelog.Debian.gz") || beside("changelog.Debian"))
}

/// The package databases that were found, and whether they were read whole.
fn coverage(squashed: &Squashed) -> Vec<Coverage> {
    squashed
        .visible()
        .flat_map(|(path, found)| found.iter().map(move |part| (path, part)))
        .filter(|(_, part)| matches!(part.collector, "dpkg" | "unread"))
        .filter(|(_, part)| {
            part.collector == "unread"
                || part.facts.iter().any(|(_, f)| matches!(f, Fact::Packages(_) | Fact::Amendments(_)))
                || !part.gaps.is_empty()
        })
        .map(|(path, part)| Coverage {
            place: path.to_string(),
            kind: if part.collector == "unread" { "other package database" } else { "dpkg database" }.into(),
            role: "os-packages".into(),
            read: part.gaps.is_empty(),
        })
        .collect()
}
