//! Joins what is visible into one system. Pure: the same facts, the same system.

mod boot;
mod folders;
mod ownership;
mod packages;

use std::collections::BTreeSet;

use crate::format::dpkg::info_name;
use crate::format::os_release::canonical_release;
use crate::format::system_release::{FILES, joined};
use crate::limits::Limits;
use crate::model::version::rpm as rpm_version;
use crate::model::{Coverage, Ecosystem, Gap, ImagePath, OsInfo, Package, Platform, ReleaseEntry, System};

use super::squash::{Resolved, Squashed};
use super::{Fact, Needs, opkg, pacman, rpm, xbps};
use crate::stratum::Node;

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
    /// The command lines of the kernels that boot loaders start by themselves, sorted, as far as they are known.
    pub boot_options: Vec<String>,
}

/// Joins the squashed facts of one root; `limits` bound how far what boots is followed.
#[must_use]
pub fn assemble(squashed: &Squashed, needs: Needs, limits: &Limits) -> Assembled {
    let mut gaps = squashed.gaps.clone();
    for (_, found) in squashed.visible() {
        gaps.extend(found.iter().flat_map(|part| part.gaps.iter().cloned()));
    }
    let os = os_info(squashed, &mut gaps);
    let (mut packages, conflicts) = packages::installed(squashed);
    gaps.extend(conflicts);
    folders::join_notes(squashed, &mut packages);
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
    let (boot, boot_options) = boot::boot(squashed, limits);
    Assembled {
        system: System {
            platform,
            channel: None,
            root: ImagePath::root(),
            volume: None,
            os,
            boot,
            packages,
            releases,
        },
        gaps,
        coverage: coverage(squashed),
        ownership: ownership::join(squashed),
        boot_options,
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
    let is_directory =
        |path: &str| matches!(squashed.resolve(&ImagePath::from(path)), Resolved::Directory(_));
    if is_directory("var/lib/dpkg") && !has_database(squashed, "dpkg") {
        gap("/var/lib/dpkg", "dpkg's directory is there, and no database in it (status, status.d)");
    }
    if let Some(place) = ["lib/apk", "usr/lib/apk"].into_iter().find(|place| is_directory(place))
        && !has_database(squashed, "apk")
    {
        gap(&format!("/{place}"), "apk's directory is there, and no database in it (db/installed)");
    }
    for place in rpm::PLACES {
        if has_files(squashed, place) && !has_database(squashed, "rpm") {
            let reason =
                "rpm's directory is there, and no database in it (rpmdb.sqlite, Packages.db, Packages)";
            gap(&format!("/{place}"), reason);
        }
    }
    let others = pacman::PLACES.map(|place| ("pacman", place.trim_end_matches("/local")));
    let others = others.into_iter().chain(opkg::PLACES.map(|place| ("opkg", place)));
    for (manager, place) in others.chain([("xbps", xbps::PLACE)]) {
        if has_files(squashed, place) && !has_database(squashed, manager) {
            gap(&format!("/{place}"), &format!("{manager}'s directory is there, and no database in it"));
        }
    }
    for (place, reason) in folders::without_record(squashed) {
        gap(&place, &reason);
    }
    if let Some(strays) = strays(squashed, packages) {
        gap("/var/lib/dpkg/info", &strays);
    }
    match (os, platform) {
        // `nothing_found` tells that.
        (_, None) if packages.is_empty() => {}
        (None, _) => gap(
            "/etc/os-release",
            "neither it nor an older file names the system, so the platform is unknown",
        ),
        (Some(os), None) if canonical_release(os).is_some() => {
            gap("packages", "none is for one architecture, so the platform is unknown");
        }
        (Some(_), None) => gap("/etc/os-release", "it names no release, so the platform is unknown"),
        (Some(_), Some(_)) => {}
    }
}

/// Whether anything but a lock is left in a directory.
fn has_files(squashed: &Squashed, directory: &str) -> bool {
    let Resolved::Directory(real) = squashed.resolve(&ImagePath::from(directory)) else { return false };
    let is_file = |node: &Node| matches!(node, Node::File(_) | Node::HardLink(_) | Node::Symlink(_));
    squashed.below(&real).any(|(path, node)| is_file(node) && path.name() != b".rpm.lock")
}

/// Whether a collector read a database, or told why it could not.
fn has_database(squashed: &Squashed, collector: &str) -> bool {
    let is_package_list = |(_, fact): &(_, Fact)| matches!(fact, Fact::Packages(_));
    squashed.visible().flat_map(|(_, found)| found).any(|part| {
        part.collector == collector && (part.facts.iter().any(is_package_list) || !part.gaps.is_empty())
    })
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

/// What the system calls itself: os-release, the file in /etc before that in /usr/lib, as os-release(5) has it,
/// and the older files where it is silent. One that contradicts is a gap.
fn os_info(squashed: &Squashed, gaps: &mut Vec<Gap>) -> Option<OsInfo> {
    let said = |place: &str| {
        let Resolved::File(real) = squashed.resolve(&ImagePath::from(place)) else {
            return None;
        };
        squashed.found(&real)?.iter().flat_map(|part| &part.facts).find_map(|(_, fact)| match fact {
            Fact::Os(os) => Some(os.clone()),
            _ => None,
        })
    };
    let os_release = ["etc/os-release", "usr/lib/os-release"].into_iter().find_map(said);
    let others: Vec<(&'static str, OsInfo)> =
        FILES.iter().filter_map(|(name, _)| Some((*name, said(&format!("etc/{name}"))?))).collect();
    let (os, contradictions) = joined(os_release, &others);
    gaps.extend(contradictions.iter().map(|error| Gap {
        place: error.place(),
        reason: error.reason(),
        required: true,
    }));
    os
}

/// The platform: what os-release names, on the architecture of the packages.
fn platform(os: &OsInfo, packages: &[Package]) -> Option<Platform> {
    let arch = native_arch(packages)?;
    Some(Platform { os: os.id.clone(), release: canonical_release(os)?, arch })
}

/// The native architecture: that of the package manager itself, else the one that most packages have.
fn native_arch(packages: &[Package]) -> Option<String> {
    // Packages for every architecture, and old ones of apk that say none.
    let is_one = |arch: &str| !matches!(arch, "all" | "noarch" | "any" | "");
    let is_manager = |p: &&Package| {
        is_one(&p.arch)
            && matches!(
                (p.ecosystem, &*p.name),
                (Ecosystem::Deb, "dpkg")
                    | (Ecosystem::Apk, "apk-tools")
                    | (Ecosystem::Rpm, "rpm")
                    | (Ecosystem::Alpm, "pacman")
                    | (Ecosystem::Opkg, "opkg")
                    | (Ecosystem::Xbps, "xbps")
                    | (Ecosystem::Ebuild, "sys-apps/portage")
            )
    };
    if let Some(manager) = packages.iter().find(is_manager) {
        return Some(manager.arch.clone());
    }
    let mut archs: Vec<&str> = packages.iter().map(|p| p.arch.as_str()).filter(|a| is_one(a)).collect();
    archs.sort_unstable();
    let mut counted: Vec<(usize, &str)> =
        archs.chunk_by(|a, b| a == b).filter_map(|same| Some((same.len(), *same.first()?))).collect();
    counted.sort_by_key(|(count, arch)| (std::cmp::Reverse(*count), *arch));
    counted.first().map(|(_, arch)| (*arch).to_string())
}

/// The package URL, <https://github.com/package-url/purl-spec>, types `deb`, `apk`, `rpm`, `alpm`, and in their manner
/// `opkg` and `xbps`: the namespace is the distribution, qualifiers come in the order of their names. That of
/// `ebuild` is the category.
fn purl(package: &Package, platform: Option<&Platform>, os: Option<&OsInfo>) -> String {
    let of_its_own = match package.ecosystem {
        Ecosystem::Deb => "debian",
        Ecosystem::Apk => "alpine",
        Ecosystem::Rpm => "rpm",
        Ecosystem::Alpm => "arch",
        Ecosystem::Opkg => "opkg",
        Ecosystem::Xbps => "void",
        Ecosystem::Ebuild => "gentoo",
    };
    let of_distribution = os.map_or(of_its_own, |os| os.id.as_str());
    let (namespace, name) = match package.ecosystem {
        Ecosystem::Ebuild => package.name.split_once('/').unwrap_or((of_distribution, &package.name)),
        _ => (of_distribution, package.name.as_str()),
    };
    // In a purl of rpm the epoch is a qualifier.
    let (epoch, version) = match package.ecosystem {
        Ecosystem::Rpm => {
            (rpm_version::Evr::of(&package.version).epoch, rpm_version::without_epoch(&package.version))
        }
        _ => (None, package.version.as_str()),
    };
    let epoch = epoch.map(|epoch| format!("epoch={epoch}"));
    let module = package.stream.as_ref().map(|stream| match package.ecosystem {
        Ecosystem::Ebuild => format!("slot={}", escape(stream)),
        _ => format!("rpmmod={}", escape(stream)),
    });
    let arch =
        Some(&package.arch).filter(|arch| !arch.is_empty()).map(|arch| format!("arch={}", escape(arch)));
    let distro = platform.map(|p| format!("distro={}-{}", escape(&p.os), escape(&p.release)));
    let qualifiers: Vec<String> = arch.into_iter().chain(distro).chain(epoch).chain(module).collect();
    format!(
        "pkg:{}/{}/{}@{}{}{}",
        package.ecosystem,
        escape(namespace),
        escape(name),
        escape(version),
        if qualifiers.is_empty() { "" } else { "?" },
        qualifiers.join("&"),
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
    let mut all: Vec<Coverage> = Vec::new();
    for (path, part) in
        squashed.visible().flat_map(|(path, found)| found.iter().map(move |part| (path, part)))
    {
        let Some(kind) = database_kind(part.collector) else { continue };
        let is_database = part.collector == "unread"
            || part.facts.iter().any(|(_, f)| matches!(f, Fact::Packages(_) | Fact::Amendments(_)))
            || !part.gaps.is_empty();
        if !is_database {
            continue;
        }
        let place = folders::database(part.collector, path).to_string();
        let read = part.gaps.is_empty();
        // Of a database that is a folder, each package is a file.
        match all.iter_mut().find(|known| known.place == place && known.kind == kind) {
            Some(known) => known.read &= read,
            None => all.push(Coverage::of_place(place, kind, "os-packages", read)),
        }
    }
    all
}

/// What a collector's files are, where they are package databases.
fn database_kind(collector: &str) -> Option<&'static str> {
    match collector {
        "dpkg" => Some("dpkg database"),
        "apk" => Some("apk database"),
        "rpm" => Some("rpm database"),
        "pacman" => Some("pacman database"),
        "chisel" => Some("chisel manifest"),
        "opkg" => Some("opkg database"),
        "xbps" => Some("xbps database"),
        "portage" => Some("portage database"),
        "unread" => Some("other package database"),
        _ => None,
    }
}
