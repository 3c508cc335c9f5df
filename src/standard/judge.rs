//! From a drift to a verdict.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::findings::{Code, Effect, Finding};
use super::{Standard, Upgrade, upgrade_set};
use crate::baseline::{is_kernel_image, slot_of};
use crate::drift::{Basis, Change, Drift, PackageDrift, Patch};
use crate::intel::SupportEnds;
use crate::model::{Ecosystem, Gap, Platform, Time};

/// What a verdict, an image or a run comes to, worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// No verdict was possible.
    Error,
    /// The standard is violated.
    Fail,
    /// Something that a pass needs is not known.
    Incomplete,
    /// The standard is kept.
    Pass,
}

/// The state of an image, the first that holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// A patch is past its OLA.
    Overdue,
    /// Past the refresh target.
    Drifted,
    /// The platform's support has ended.
    Unsupported,
    /// Something that a pass needs is not known.
    Incomplete,
    /// Leaves the target within the warning window.
    Due,
    /// Inside the target.
    Within,
    /// Nothing is missed.
    Current,
}

impl State {
    /// As it is written.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            State::Overdue => "overdue",
            State::Drifted => "drifted",
            State::Unsupported => "unsupported",
            State::Incomplete => "incomplete",
            State::Due => "due",
            State::Within => "within",
            State::Current => "current",
        }
    }

    /// What the state comes to.
    #[must_use]
    pub fn outcome(self) -> Outcome {
        match self {
            State::Overdue | State::Drifted | State::Unsupported => Outcome::Fail,
            State::Incomplete => Outcome::Incomplete,
            State::Due | State::Within | State::Current => Outcome::Pass,
        }
    }
}

/// The verdict on one system.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Verdict {
    /// Pass, fail or incomplete.
    pub outcome: Outcome,
    /// The state.
    pub state: State,
    /// Up to when the image lacks nothing that production has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patched_through: Option<Time>,
    /// Days from then to the audit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_days: Option<i64>,
    /// The age may be higher.
    #[serde(default)]
    pub lower_bound: bool,
    /// If so: how high it can be; absent if that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_days_at_most: Option<i64>,
    /// The highest age that passes; `null` in calendar mode.
    pub target_days: Option<i64>,
    /// What was published before this must be in the image.
    pub line: Time,
    /// When the image leaves the target if it is not rebuilt, or left it; of an image that lacks nothing: not
    /// before this. What is arriving counts as if production adopted it now. Absent where it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaves_target_on: Option<Time>,
    /// The share of compared packages that lack nothing which production has, in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_baseline_percent: Option<f64>,
    /// The last day with public patches of the platform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub support_ends: Option<String>,
}

/// A verdict, what led to it, and what would mend it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Judgement {
    /// The verdict.
    pub verdict: Verdict,
    /// What led to it, worst first.
    pub findings: Vec<Finding>,
    /// The smallest set of upgrades that brings the image back inside the target; none if it is inside.
    pub upgrades: Vec<Upgrade>,
}

/// How many days ahead the end of a platform's support is told: a quarter.
const SUPPORT_WARN_DAYS: i64 = 92;

/// Judges a drift, at the time that it was taken for.
#[must_use]
pub fn judge(drift: &Drift, gaps: &[Gap], standard: &Standard, support: &SupportEnds) -> Judgement {
    let line = standard.target.line(drift.as_of);
    let mut judge = Judge { drift, standard, line, findings: Vec::new(), leaves: Leaves::default() };
    judge.coverage(gaps);
    judge.support(support);
    judge.baseline();
    judge.sources();
    let state = judge.state();
    let mut findings = judge.findings;
    findings.sort_by(|a, b| (a.effect, a.code, a).cmp(&(b.effect, b.code, b)));
    let end = drift.platform.as_ref().and_then(|p| support.of(p, drift.channel.as_deref()));
    Judgement {
        verdict: Verdict {
            outcome: state.outcome(),
            state,
            patched_through: drift.patched_through,
            age_days: drift.age_days,
            lower_bound: drift.lower_bound,
            age_days_at_most: drift.age_days_at_most,
            target_days: (standard.target.mode == super::Mode::Rolling).then_some(standard.target.days),
            line,
            leaves_target_on: judge.leaves.overall(drift, standard),
            at_baseline_percent: drift.counts.at_baseline_percent(),
            support_ends: end.map(|end| end.ends.clone()),
        },
        findings,
        upgrades: upgrade_set(drift, &standard.target, line),
    }
}

struct Judge<'a> {
    drift: &'a Drift,
    standard: &'a Standard,
    line: Time,
    findings: Vec<Finding>,
    leaves: Leaves,
}

/// When the image leaves the target.
#[derive(Default)]
struct Leaves {
    /// The earliest time that is known.
    at: Option<Time>,
    /// When it would if production adopted at once what is arriving; not before the audit.
    arriving: Option<Time>,
    /// A patch may have been published at any time.
    unbounded: bool,
    /// Within the warning window.
    soon: bool,
}

impl Leaves {
    fn overall(&self, drift: &Drift, standard: &Standard) -> Option<Time> {
        let has_left = self.at.filter(|at| *at <= drift.as_of);
        let against = drift.against.as_ref()?;
        let known = match self.at {
            _ if self.unbounded => return has_left,
            Some(at) => at,
            None => standard.target.leaves(against.as_of.min(drift.as_of)),
        };
        Some(self.arriving.map_or(known, |at| known.min(at)))
    }
}

/// The missed patches of one source package that count.
struct Source<'a> {
    packages: Vec<&'a PackageDrift>,
    /// The oldest by the latest time at which it can have been published.
    oldest: Option<(&'a Patch, Time)>,
    /// How many, each version once.
    versions: Vec<&'a str>,
    undated: Option<&'a Patch>,
    /// It may be behind for longer.
    open: bool,
    history_short: bool,
    /// If so: since when at the earliest; `None` if that is not known.
    earliest: Option<Time>,
}

impl Judge<'_> {
    fn tell(&mut self, code: Code, effect: Effect, package: Option<&str>, message: String) -> &mut Finding {
        let package = package.map(str::to_owned);
        self.findings.push(Finding { code, effect, message, package, path: None, due: None });
        let last = self.findings.len() - 1;
        &mut self.findings[last]
    }

    fn coverage(&mut self, gaps: &[Gap]) {
        for gap in gaps.iter().filter(|gap| gap.required) {
            let message = format!("not read: {}: {}", gap.place, gap.reason);
            self.tell(Code::Gap, Effect::Incomplete, None, message).path = Some(gap.place.clone());
        }
        if self.drift.platform.is_none() {
            let message = "the system does not name its platform, or not its architecture".to_owned();
            self.tell(Code::NoPlatform, Effect::Incomplete, None, message);
        }
        if self.drift.packages == 0 {
            self.tell(Code::NoPackages, Effect::Incomplete, None, "no package was found".to_owned());
        }
    }

    fn support(&mut self, support: &SupportEnds) {
        let Some(platform) = &self.drift.platform else { return };
        let release = platform.release_id();
        let Some(end) = support.of(platform, self.drift.channel.as_deref()) else {
            let message = format!("nothing says when public patches of {release} end");
            self.tell(Code::SupportUnknown, Effect::Note, None, message);
            return;
        };
        let (code, effect, verb) = if end.has_ended(self.drift.as_of) {
            let fails = self.standard.fail_on_unsupported;
            (Code::UnsupportedPlatform, if fails { Effect::Fail } else { Effect::Warning }, "ended")
        } else if end.has_ended(self.drift.as_of.plus_days(SUPPORT_WARN_DAYS)) {
            (Code::SupportEndsSoon, Effect::Warning, "end")
        } else {
            return;
        };
        let message = format!("public patches of {release} {verb} on {} ({})", end.ends, end.note);
        self.tell(code, effect, None, message).due = Some(end.ended_from);
    }

    fn baseline(&mut self) {
        let Some(platform) = &self.drift.platform else { return };
        let Some(against) = &self.drift.against else {
            let channel = self.drift.channel.as_ref().map(|c| format!(", channel {c}")).unwrap_or_default();
            let message = format!("the baseline has nothing for {platform}{channel}");
            self.tell(Code::BaselineMissingPlatform, Effect::Incomplete, None, message);
            return;
        };
        if against.other_arch {
            let message =
                format!("compared with {}, because the baseline has no {platform}", against.platform);
            self.tell(Code::BaselineOtherArch, Effect::Note, None, message);
        }
        for suite in &against.unlisted_suites {
            let message = format!(
                "the baseline has no listing of {suite}: what {platform} got through it is not known"
            );
            self.tell(Code::BaselineSuiteMissing, Effect::Incomplete, None, message);
        }
        let (age, max) = (self.drift.as_of.days_since(against.as_of), self.standard.baseline.max_age_days);
        if age > max {
            let message = format!("production was last read {age} days ago, against {max} allowed");
            self.tell(Code::BaselineStale, Effect::Incomplete, None, message);
        } else if let Some(known) = against.published_known
            && self.drift.as_of.days_since(known) > max
        {
            let message = format!(
                "of {} packages that no host carries, releases are known up to {} only, {} days ago against {max} \
                 allowed",
                self.drift.counts.by_channel,
                known.date(),
                self.drift.as_of.days_since(known)
            );
            self.tell(Code::BaselineStale, Effect::Incomplete, None, message);
        }
        if self.drift.as_of.plus_days(1) < against.known_until {
            let message = format!(
                "the baseline knows production of {}, the audit is for {}: what was published since would not \
                 count",
                against.known_until, self.drift.as_of
            );
            self.tell(Code::BaselineNewer, Effect::Incomplete, None, message);
        }
        self.compared(&against.platform);
        self.kernels();
        self.boot();
        self.weak_basis(against.hosts);
    }

    /// How much of the system was compared.
    fn compared(&mut self, against: &Platform) {
        let (packages, counts) = (self.drift.packages, self.drift.counts);
        let exact = |n: usize| u32::try_from(n).map_or(f64::MAX, f64::from);
        let asked = exact(packages) * self.standard.baseline.min_compared_share;
        if packages > 0 && counts.compared == 0 {
            let message = format!("production of {against} knows none of the packages");
            self.tell(Code::NothingCompared, Effect::Incomplete, None, message);
        } else if exact(counts.compared) < asked - 1e-9 {
            let message = format!(
                "production knows only {} of {packages} packages: what the others lack is not known",
                counts.compared
            );
            self.tell(Code::MostlyUnknown, Effect::Incomplete, None, message);
        } else if counts.ahead * 2 > counts.compared {
            let message = format!(
                "{} of {} packages are newer than production's: the baseline is of something else",
                counts.ahead, counts.compared
            );
            self.tell(Code::MostlyAhead, Effect::Incomplete, None, message);
        } else if counts.only_in_image > 0 {
            let message =
                format!("production knows nothing of {} of {packages} packages", counts.only_in_image);
            self.tell(Code::OnlyInImage, Effect::Note, None, message);
        }
    }

    /// Kernels of a series that no host runs, while hosts run another.
    fn kernels(&mut self) {
        let mut messages: BTreeMap<String, String> = BTreeMap::new();
        for package in self.drift.drift.iter().filter(|package| !package.other_series.is_empty()) {
            let Some(slot) = slot_of(&package.name).filter(|slot| slot.kind.starts_with("linux-image"))
            else {
                continue;
            };
            let others = package.other_series.join(", ");
            let message = format!("no host runs a kernel of series {}; production has {others}", slot.series);
            messages.entry(message).or_insert_with(|| package.source.clone());
        }
        for (message, source) in messages {
            self.tell(Code::KernelSeriesUnknown, Effect::Warning, Some(&source), message);
        }
    }

    /// Kernels that are installed and would not boot, and those of which that is not known.
    fn boot(&mut self) {
        let mut latent: BTreeMap<String, String> = BTreeMap::new();
        for package in &self.drift.drift {
            let Some(not_booted) = &package.not_booted else { continue };
            let patches = package.missed.iter().filter(|patch| patch.latent).count();
            if !is_kernel_image(package.ecosystem, &package.name) || patches == 0 {
                continue;
            }
            // rpm splits a kernel into packages of one version, and tells it once.
            let is_told =
                package.ecosystem == Ecosystem::Rpm && latent.values().any(|s| *s == package.source);
            if is_told {
                continue;
            }
            let of_package = match not_booted.boots == package.image_version {
                true => String::new(),
                false => format!(" ({})", package.image_version),
            };
            let message = format!(
                "`{}` {} is installed and would not boot: the boot loader's default is {}{of_package}, which lacks {} of its patches",
                not_booted.name, not_booted.version, not_booted.boots, patches
            );
            latent.entry(message).or_insert_with(|| package.source.clone());
        }
        for (message, source) in latent {
            self.tell(Code::LatentPatch, Effect::Warning, Some(&source), message);
        }
        for unknown in &self.drift.boot_unknown {
            let message = format!(
                "which of {} boots is not known, so the newest was compared: {}",
                unknown.kernels.join(", "),
                unknown.reason
            );
            self.tell(Code::BootUnknown, Effect::Note, None, message);
        }
    }

    fn weak_basis(&mut self, hosts: usize) {
        let min = self.standard.baseline.min_hosts;
        if hosts == 0 {
            let message = "no host votes: what was published counts as what production has".to_owned();
            self.tell(Code::BaselineWeak, Effect::Note, None, message);
            return;
        }
        if hosts < min {
            let message = format!("{hosts} of at least {min} hosts vote on what production has");
            self.tell(Code::BaselineWeak, Effect::Warning, None, message);
            return;
        }
        let weak = |p: &&PackageDrift| p.basis == Some(Basis::Weak) && p.change == Change::Behind;
        let sources: Vec<String> = self.drift.drift.iter().filter(weak).map(|p| p.source.clone()).collect();
        let mut sources = sources;
        sources.dedup();
        sources.sort_unstable();
        sources.dedup();
        for source in sources {
            let message = format!("fewer than {min} hosts carry `{source}`");
            self.tell(Code::BaselineWeak, Effect::Note, Some(&source), message);
        }
    }

    fn sources(&mut self) {
        let mut by_source: BTreeMap<&str, Vec<&PackageDrift>> = BTreeMap::new();
        for package in self.drift.behind() {
            by_source.entry(&package.source).or_default().push(package);
        }
        for (name, packages) in by_source {
            let source = self.counted(packages);
            self.source(name, &source);
        }
        let target = &self.standard.target;
        let arriving = self.drift.drift.iter().flat_map(|package| &package.arriving);
        let oldest = arriving.filter(|patch| target.counts(patch)).filter_map(Patch::out_by).min();
        self.leaves.arriving = oldest.map(|at| target.leaves(at).max(self.drift.as_of));
    }

    fn counted<'p>(&self, packages: Vec<&'p PackageDrift>) -> Source<'p> {
        let mut source = Source {
            oldest: None,
            versions: Vec::new(),
            undated: None,
            open: false,
            history_short: false,
            earliest: None,
            packages,
        };
        let mut earliest: Option<Option<Time>> = None;
        for package in &source.packages {
            let counted = || package.missed.iter().filter(|patch| self.standard.target.counts(patch));
            for patch in counted() {
                if !source.versions.contains(&patch.version.as_str()) {
                    source.versions.push(&patch.version);
                }
                if let Some(at) = patch.out_by()
                    && source.oldest.is_none_or(|(_, known)| at <= known)
                {
                    source.oldest = Some((patch, at));
                }
            }
            let undated = counted().find(|patch| patch.published.is_none());
            source.undated = source.undated.or(undated);
            if package.lower_bound && (package.history_short || undated.is_some()) {
                source.history_short |= package.history_short;
                let at = package.behind_since_at_earliest;
                earliest = Some(earliest.map_or(at, |known| known.zip(at).map(|(a, b)| a.min(b))));
            }
        }
        source.open = earliest.is_some();
        source.earliest = earliest.flatten();
        source
    }

    fn source(&mut self, name: &str, source: &Source<'_>) {
        let target = &self.standard.target;
        let as_of = self.drift.as_of;
        let definite = source.oldest.map(|(_, at)| target.leaves(at));
        let possible = source.earliest.map(|at| target.leaves(at));
        let leaves = [definite, possible].into_iter().flatten().min();
        let broken = source.oldest.is_some_and(|(_, at)| at < self.line);
        let may_be_broken = source.open && source.earliest.is_none_or(|at| at < self.line);
        self.leaves.unbounded |= source.open && source.earliest.is_none();
        if let Some(at) = leaves {
            self.leaves.at = Some(self.leaves.at.map_or(at, |known| known.min(at)));
        }
        if let (true, Some((oldest, at))) = (broken, source.oldest) {
            let more = match source.versions.len() {
                0 | 1 => String::new(),
                n => format!(" and {} more", n - 1),
            };
            let message = format!(
                "`{name}` lacks {}{more} since {} ({} days)",
                oldest.version,
                at.date(),
                as_of.days_since(at)
            );
            self.tell(Code::PastTarget, Effect::Fail, Some(name), message).due = definite;
        } else if !may_be_broken
            && let Some(at) = leaves
            && as_of >= at.plus_days(-target.warn_days)
        {
            self.leaves.soon = true;
            let message = format!("`{name}` takes the image out of the target on {}", at.date());
            self.tell(Code::LeavesTargetSoon, Effect::Warning, Some(name), message).due = Some(at);
        }
        let effect = if may_be_broken && !broken { Effect::Incomplete } else { Effect::Note };
        self.uncertain(name, source, effect);
    }

    fn uncertain(&mut self, name: &str, source: &Source<'_>, effect: Effect) {
        let at_most = source.earliest.map_or("nothing says since when at the earliest".to_owned(), |at| {
            format!("since {} at the earliest", at.date())
        });
        if source.history_short {
            let versions: Vec<&str> =
                source.packages.iter().map(|p| p.image_source_version.as_str()).collect();
            let message = format!(
                "the known releases of `{name}` do not reach back to {}: {at_most}",
                versions.first().copied().unwrap_or_default()
            );
            self.tell(Code::HistoryShort, effect, Some(name), message);
        }
        if let Some(patch) = source.undated {
            let effect = if source.history_short || !source.open { Effect::Note } else { effect };
            let by = patch.not_after.map(|at| format!("; it was out by {}", at.date())).unwrap_or_default();
            let message = format!("nothing says when `{name}` {} was published{by}", patch.version);
            self.tell(Code::UndatedPatch, effect, Some(name), message);
        }
    }

    /// The first state that holds. Overdue comes with the OLAs.
    fn state(&self) -> State {
        let has =
            |code: Code, effect: Effect| self.findings.iter().any(|f| f.code == code && f.effect == effect);
        if has(Code::PastTarget, Effect::Fail) {
            State::Drifted
        } else if has(Code::UnsupportedPlatform, Effect::Fail) {
            State::Unsupported
        } else if self.findings.iter().any(|finding| finding.effect == Effect::Incomplete) {
            State::Incomplete
        } else if self.leaves.soon {
            State::Due
        } else if self.drift.counts.behind > 0 {
            State::Within
        } else {
            State::Current
        }
    }
}
