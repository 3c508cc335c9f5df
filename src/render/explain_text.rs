//! What led to one package's result: every version, date, bound and rule.

use crate::baseline::Because;
use crate::drift::{Adoption, Basis, Change, Explanation, PackageExplanation, Standing, VersionExplanation};
use crate::model::Time;

use super::table::Table;
use super::{DOUBTFUL, Detail, FAINT, GOOD, STRONG, count, paint, plain, some_of};

/// An explanation as text.
#[must_use]
pub fn explain_text(reference: &str, explanation: &Explanation, detail: Detail) -> String {
    let platform = explanation.platform.as_ref().map_or("unknown platform".into(), ToString::to_string);
    let mut lines = vec![format!("{} {}", paint(STRONG, reference), plain(&platform))];
    match &explanation.against {
        Some(against) => lines.push(format!(
            "compared with {} of {} as of {}{}",
            plain(&against.platform.to_string()),
            match against.hosts {
                0 => "what was published".to_owned(),
                hosts => count(hosts, "host", "hosts"),
            },
            against.as_of,
            if against.other_arch { ", because the baseline has no other of this release" } else { "" }
        )),
        None => lines.push(paint(DOUBTFUL, "the baseline has nothing for this platform")),
    }
    let mut before: Option<&PackageExplanation> = None;
    for package in &explanation.packages {
        lines.push(String::new());
        lines.extend(package_lines(package, before, detail));
        before = Some(package);
    }
    lines.join("\n") + "\n"
}

/// A package; the versions of its source are told once for all packages of the source.
fn package_lines(
    package: &PackageExplanation,
    before: Option<&PackageExplanation>,
    detail: Detail,
) -> Vec<String> {
    let mut lines = vec![format!(
        "{}  {} (source {} {})",
        paint(STRONG, format!("{}:{}", package.name, package.arch)),
        plain(&package.image_version),
        plain(&package.source),
        plain(&package.image_source_version)
    )];
    if let Some(slot) = &package.slot {
        lines.push(format!("  compared by slot {}, since its name carries the version", plain(slot)));
    }
    if !package.beside.is_empty() {
        let why = if package.boots { "what boots of its slot" } else { "the newest of its slot" };
        lines.push(format!("  {why}; beside it: {}", plain(&package.beside.join(", "))));
    }
    if package.third_party {
        lines.push("  a third party's: every entry of its changelog counts as a release".into());
    }
    lines.extend(adoption_lines(package.adoption.as_ref()));
    lines.push(match &package.reaches {
        Some(oldest) => {
            format!("  its history reaches back to {}, so its age is exact", plain(oldest))
        }
        None => "  no known history reaches back to the image's version: its age is a lower bound".into(),
    });
    lines.push(format!("  {}", result(package)));
    if before.is_some_and(|before| before.source == package.source && before.versions == package.versions) {
        lines.push(paint(FAINT, "  versions as above"));
        return lines;
    }
    lines.push(String::new());
    lines.extend(version_lines(&package.versions, detail));
    if !package.named_already.is_empty() {
        let ids: Vec<&str> = package.named_already.iter().map(String::as_str).collect();
        lines.push(format!(
            "  not counted, since the image's version or an older one names them already: {}",
            plain(&some_of(&ids, most_ids(detail)))
        ));
    }
    lines
}

fn adoption_lines(adoption: Option<&Adoption>) -> Vec<String> {
    let Some(adoption) = adoption else {
        return vec!["  production does not know it".into()];
    };
    if adoption.basis == Basis::Channel {
        return vec![format!(
            "  no host carries it; the newest release of its source is {}",
            plain(&adoption.source_version)
        )];
    }
    let mut lines = vec![format!(
        "  adopted: {}, which {} of {} run or something newer ({} % asked for){}",
        plain(&adoption.version),
        adoption.running,
        count(adoption.carrying, "host", "hosts"),
        adoption.share_percent,
        if adoption.basis == Basis::Weak { "; a weak basis" } else { "" }
    )];
    if adoption.hosts.len() > 1 {
        for share in &adoption.hosts {
            lines.push(format!("    {} on {}", plain(&share.version), count(share.hosts, "host", "hosts")));
        }
    }
    lines
}

fn result(package: &PackageExplanation) -> String {
    let Some(result) = &package.result else {
        return paint(GOOD, "at the baseline");
    };
    let word = match result.change {
        Change::Behind => "behind",
        Change::Ahead => "ahead of the adopted version",
        Change::Rebuilt => "another build of the same source: no patch",
        Change::Arriving => "lacks only what production has not adopted yet",
        Change::OnlyInImage => "only in the image",
    };
    match (result.change, result.behind_since, result.days_behind) {
        (Change::Behind, Some(since), Some(days)) => {
            let bound = if result.lower_bound { "≥ " } else { "" };
            let missed = count(result.missed.len(), "patch", "patches");
            paint(DOUBTFUL, format!("behind by {missed} since {} ({bound}{days} days)", since.date()))
        }
        (Change::Behind, _, _) => paint(DOUBTFUL, "behind, and nothing says since when"),
        _ => word.to_string(),
    }
}

/// So many CVE ids of one version are named unless all are asked for.
fn most_ids(detail: Detail) -> usize {
    if detail.verbose { usize::MAX } else { 3 }
}

fn version_lines(versions: &[VersionExplanation], detail: Detail) -> Vec<String> {
    let mut table = Table::new(
        &["version", "stands", "published", "evidence", "entry of", "suites", "why", "CVE ids"],
        &[],
    );
    for version in versions {
        let ids: Vec<&str> = version.cves.iter().map(String::as_str).collect();
        table.row([
            version.version.clone(),
            standing(version.standing).to_string(),
            published(version),
            version.evidence.to_string(),
            day(version.dated),
            version.suites.join(" "),
            because(version.because).to_string(),
            some_of(&ids, most_ids(detail)),
        ]);
    }
    let mut lines = table.lines(2, usize::MAX);
    if let Some(heading) = lines.first_mut() {
        *heading = paint(FAINT, &heading);
    }
    lines
}

fn standing(standing: Standing) -> &'static str {
    match standing {
        Standing::Arriving => "arriving",
        Standing::Missed => "missed",
        Standing::Image => "in the image",
        Standing::Older => "older",
        Standing::NotReleased => "not released",
        Standing::OtherChannel => "other channel",
    }
}

fn because(because: Option<Because>) -> &'static str {
    match because {
        Some(Because::OwnSuite) => "own suite",
        Some(Because::Backport) => "backport",
        Some(Because::ThirdParty) => "third party",
        Some(Because::Installed) => "a host runs it",
        Some(Because::Repository) => "a repository has it",
        None => "not published here",
    }
}

/// The date, or its bounds.
fn published(version: &VersionExplanation) -> String {
    let bounds = match (version.not_before, version.not_after) {
        (Some(a), Some(b)) => format!("{} to {}", a.date(), b.date()),
        (Some(a), None) => format!("not before {}", a.date()),
        (None, Some(b)) => format!("by {}", b.date()),
        (None, None) => "-".into(),
    };
    match (version.published, version.bounded) {
        (Some(at), true) => format!("{} (moved to its bound: {bounds})", at.date()),
        (Some(at), false) => at.date().to_string(),
        (None, _) => bounds,
    }
}

fn day(time: Option<Time>) -> String {
    time.map_or("-".into(), |time| time.date().to_string())
}
