//! The report of a run: the contract `karat-report/1`.
//!
//! Everything that a renderer shows is in here; it is assembled from its parts by pure functions, and its
//! JSON schema in `docs/` is generated from these types.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::drift::{Counts, Drift, PackageDrift, hosts_of};
use crate::error::{Error, Result, quoted};
use crate::intel::SupportEnds;
use crate::model::{Gap, ImageInfo, ImageKind, ImagePath, Inventory, OsInfo, Platform, Sha256, System, Time};
use crate::standard::{Code, Effect, Finding, Judgement, Outcome, Standard, Upgrade, Verdict, judge};
use crate::{baseline, drift};

/// The schema that this version writes.
pub const REPORT_SCHEMA: &str = "karat-report/1";

/// What a run found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// Always `karat-report/1`.
    pub schema: String,
    /// The version of karat that made it.
    pub karat: String,
    /// The command, for instance `audit`.
    pub command: String,
    /// The time of the audit.
    pub as_of: Time,
    /// The worst of all images.
    pub outcome: Outcome,
    /// What was compared with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<BaselineRef>,
    /// What was judged by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standard: Option<StandardRef>,
    /// Outside knowledge that was used, sorted by name.
    pub feeds: Vec<FeedRef>,
    /// The images, in the order in which they were named.
    pub images: Vec<ImageReport>,
}

/// The baseline of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BaselineRef {
    /// As its makers call it.
    pub name: String,
    /// Up to when it knows production.
    pub as_of: Time,
    /// The SHA-256 of its bytes.
    pub digest: Sha256,
    /// The hosts that vote.
    pub hosts: usize,
}

impl BaselineRef {
    /// Of a loaded baseline.
    #[must_use]
    pub fn of(loaded: &baseline::Loaded) -> Self {
        let baseline = &loaded.baseline;
        BaselineRef {
            name: baseline.name.clone(),
            as_of: baseline.as_of,
            digest: loaded.digest,
            hosts: hosts_of(baseline),
        }
    }
}

/// The standard of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StandardRef {
    /// The SHA-256 of its file; absent if the defaults were used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Sha256>,
    /// What it says.
    #[serde(flatten)]
    pub standard: Standard,
}

/// Outside knowledge.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct FeedRef {
    /// Its name.
    pub name: String,
    /// How new it is.
    pub as_of: Time,
    /// The SHA-256 of its bytes.
    pub digest: Sha256,
}

/// One image of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ImageReport {
    /// The image.
    pub image: ImageRef,
    /// The worst of its systems, and of what concerns it as a whole.
    pub outcome: Outcome,
    /// Why it could not be opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Its systems, in the order of their roots.
    pub systems: Vec<SystemReport>,
    /// What concerns the image as a whole.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
    /// What should have been read and was not.
    pub gaps: Vec<Gap>,
}

/// What is known of an image without its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ImageRef {
    /// As the user named it.
    pub reference: String,
    /// What it turned out to be; absent if it could not be opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<ImageKind>,
    /// The manifest's digest (OCI) or the configuration's (docker archive).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Sha256>,
    /// When it was built, as its configuration says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Time>,
    /// The platform in the words of OCI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub os_arch: Option<String>,
    /// The content id of its inventory; absent if it could not be opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_id: Option<Sha256>,
}

/// One system of an image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SystemReport {
    /// Its platform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Its channel, where it is not the platform's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// Where its root is.
    pub root: ImagePath,
    /// The volume that its root is on, where the image has several systems.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<String>,
    /// How it names itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub os: Option<OsInfo>,
    /// What it was compared with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub against: Option<drift::Against>,
    /// The verdict.
    pub verdict: Verdict,
    /// Sums.
    pub counts: Counts,
    /// Every package that is not simply at the baseline, sorted.
    pub drift: Vec<PackageDrift>,
    /// What led to the verdict, worst first.
    pub findings: Vec<Finding>,
    /// The smallest set of upgrades that brings it back inside the target, the longest missed first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub upgrades: Vec<Upgrade>,
}

impl SystemReport {
    /// Puts a system, its drift and its judgement together.
    #[must_use]
    pub fn new(system: &System, drift: Drift, judgement: Judgement) -> Self {
        SystemReport {
            platform: system.platform.clone(),
            channel: system.channel.clone(),
            root: system.root.clone(),
            volume: system.volume.clone(),
            os: system.os.clone(),
            against: drift.against,
            verdict: judgement.verdict,
            counts: drift.counts,
            drift: drift.drift,
            findings: judgement.findings,
            upgrades: judgement.upgrades,
        }
    }
}

impl ImageReport {
    /// The gaps of one of its systems alone, and of the image as a whole.
    #[must_use]
    pub fn gaps_of(&self, system: Option<&SystemReport>) -> Vec<&Gap> {
        let volumes = || self.systems.iter().filter_map(|system| system.volume.as_deref());
        let wanted = system.and_then(|system| system.volume.as_deref());
        self.gaps.iter().filter(|gap| gap.owner(volumes()) == wanted).collect()
    }

    /// Audits an inventory: every system is compared and judged; an image without one is incomplete.
    #[must_use]
    pub fn of(
        inventory: &Inventory,
        baseline: &baseline::Baseline,
        standard: &Standard,
        support: &SupportEnds,
        as_of: Time,
    ) -> Self {
        let options = standard.drift_options(as_of);
        let systems: Vec<SystemReport> = inventory
            .systems
            .iter()
            .map(|system| {
                let drift = drift::between(system, baseline, &options);
                let judgement = judge(&drift, &inventory.gaps_of(system), standard, support);
                SystemReport::new(system, drift, judgement)
            })
            .collect();
        ImageReport::new(inventory, systems)
    }

    /// Puts the reports of an image's systems together.
    #[must_use]
    pub fn new(inventory: &Inventory, systems: Vec<SystemReport>) -> Self {
        let mut findings = Vec::new();
        let mut tell = |code, message: String, path| {
            let effect = Effect::Incomplete;
            findings.push(Finding { code, effect, message, package: None, path, due: None });
        };
        if systems.is_empty() {
            tell(Code::NoPackages, "no operating system and no package was found".to_owned(), None);
            for gap in inventory.gaps.iter().filter(|gap| gap.required) {
                let message = format!("not read: {}: {}", gap.place, gap.reason);
                tell(Code::Gap, message, Some(gap.place.clone()));
            }
        }
        let outcome = worst(
            systems
                .iter()
                .map(|system| system.verdict.outcome)
                .chain(findings.iter().map(|_| Outcome::Incomplete)),
        );
        ImageReport {
            image: ImageRef::of(&inventory.image, inventory.content_id),
            outcome,
            error: None,
            systems,
            findings,
            gaps: inventory.gaps.clone(),
        }
    }

    /// An image that could not be opened.
    #[must_use]
    pub fn failed(reference: &str, error: String) -> Self {
        ImageReport {
            image: ImageRef {
                reference: reference.to_owned(),
                kind: None,
                digest: None,
                created_at: None,
                os_arch: None,
                content_id: None,
            },
            outcome: Outcome::Error,
            error: Some(error),
            systems: Vec::new(),
            findings: Vec::new(),
            gaps: Vec::new(),
        }
    }
}

impl ImageRef {
    /// Of an inventory's image.
    #[must_use]
    pub fn of(image: &ImageInfo, content_id: Sha256) -> Self {
        ImageRef {
            reference: image.reference.clone(),
            kind: Some(image.kind),
            digest: image.digest,
            created_at: image.created_at,
            os_arch: image.os_arch.clone(),
            content_id: Some(content_id),
        }
    }
}

impl Report {
    /// Puts the report of a run together; its outcome is the worst of its images.
    #[must_use]
    pub fn new(
        command: &str,
        as_of: Time,
        baseline: Option<BaselineRef>,
        standard: Option<StandardRef>,
        mut feeds: Vec<FeedRef>,
        images: Vec<ImageReport>,
    ) -> Self {
        feeds.sort();
        Report {
            schema: REPORT_SCHEMA.to_owned(),
            karat: env!("CARGO_PKG_VERSION").to_owned(),
            command: command.to_owned(),
            as_of,
            outcome: worst(images.iter().map(|image| image.outcome)),
            baseline,
            standard,
            feeds,
            images,
        }
    }
}

/// The schema of a document.
#[derive(Deserialize)]
struct Header {
    schema: String,
}

/// The schema that a JSON document names; `None` if it is none, or names none.
#[must_use]
pub fn schema_of(json: &[u8]) -> Option<String> {
    serde_json::from_slice::<Header>(json).ok().map(|header| header.schema)
}

impl Report {
    /// Reads a report that karat wrote.
    ///
    /// # Errors
    /// `Malformed` if it is none, or of a schema that this version does not know.
    pub fn from_json(json: &[u8]) -> Result<Self> {
        let malformed = |found: String| {
            Error::malformed("report", "document", None, found, format!("`{REPORT_SCHEMA}` in JSON"))
                .hint("make one with `karat audit IMAGE -b BASELINE -o json=FILE`")
        };
        match schema_of(json) {
            Some(schema) if schema != REPORT_SCHEMA => return Err(malformed(quoted(&schema))),
            _ => {}
        }
        serde_json::from_slice(json).map_err(|error| malformed(error.to_string()))
    }
}

/// The worst outcome; of none at all there is no verdict.
#[must_use]
pub fn worst(outcomes: impl IntoIterator<Item = Outcome>) -> Outcome {
    outcomes.into_iter().min().unwrap_or(Outcome::Error)
}

/// The exit code of an outcome, frozen: 0 pass, 1 the gate failed, 2 no verdict, 3 incomplete.
#[must_use]
pub fn exit_code(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Pass => 0,
        Outcome::Fail => 1,
        Outcome::Error => 2,
        Outcome::Incomplete => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::baseline::testing::{baseline, changelog, inventory, system, time};

    #[test]
    fn the_worst_image_decides() {
        use Outcome::{Error, Fail, Incomplete, Pass};
        for (outcomes, want, code) in [
            (&[Pass, Pass][..], Pass, 0),
            (&[Pass, Incomplete], Incomplete, 3),
            (&[Incomplete, Fail, Pass], Fail, 1),
            (&[Fail, Error, Incomplete], Error, 2),
            (&[], Error, 2),
        ] {
            let got = worst(outcomes.iter().copied());
            assert_eq!((got, exit_code(got)), (want, code), "{outcomes:?}");
        }
    }

    #[test]
    fn a_report_comes_back_from_its_json() {
        let entries =
            changelog("foo", "2 | bookworm-security | 2026-08-01 | CVE-2026-1\n1 | bookworm | 2023-09-01");
        let production = system("debian/12/amd64", &["foo 2"], &[entries]);
        let image = inventory("2026-11-24", system("debian/12/amd64", &["foo 1", "ours 1"], &[]));
        let loaded =
            baseline::Baseline::from_json(&baseline("2026-11-24", &production).to_json().unwrap()).unwrap();
        let standard = Standard::default();
        let support = SupportEnds::shipped().unwrap();
        let as_of = time("2026-11-24");
        let mut empty = image.clone();
        empty.systems.clear();
        empty.gaps.push(Gap { place: "layer 1".into(), reason: "cut off".into(), required: true });
        let images = vec![
            ImageReport::of(&image, &loaded.baseline, &standard, &support, as_of),
            ImageReport::of(&empty, &loaded.baseline, &standard, &support, as_of),
            ImageReport::failed("web.tar", "web.tar: not found".into()),
        ];
        assert_eq!(
            images.iter().map(|i| i.outcome).collect::<Vec<_>>(),
            [Outcome::Fail, Outcome::Incomplete, Outcome::Error]
        );
        let standard = Some(StandardRef { digest: None, standard });
        let report =
            Report::new("audit", as_of, Some(BaselineRef::of(&loaded)), standard, Vec::new(), images);
        assert_eq!(report.baseline.as_ref().map(|b| b.hosts), Some(3));
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(serde_json::from_value::<Report>(json.clone()).unwrap(), report);
        for (pointer, want) in [
            ("/schema", serde_json::json!("karat-report/1")),
            ("/outcome", serde_json::json!("error")),
            ("/images/0/systems/0/platform", serde_json::json!("debian/12/amd64")),
            ("/images/0/systems/0/verdict/state", serde_json::json!("drifted")),
            ("/images/0/systems/0/verdict/target_days", serde_json::json!(92)),
            ("/images/0/systems/0/counts/missed_patches", serde_json::json!(1)),
            ("/images/0/systems/0/drift/0/change", serde_json::json!("behind")),
            ("/images/0/systems/0/drift/0/basis", serde_json::json!("hosts")),
            ("/images/0/systems/0/drift/0/missed/0/published", serde_json::json!("2026-08-01T00:00:00Z")),
            ("/images/0/systems/0/drift/0/missed/0/evidence", serde_json::json!("changelog-security")),
            ("/images/0/systems/0/drift/1/change", serde_json::json!("only_in_image")),
            ("/images/0/systems/0/findings/0/code", serde_json::json!("past-target")),
            ("/images/1/findings/0/code", serde_json::json!("no-packages")),
        ] {
            assert_eq!(json.pointer(pointer), Some(&want), "{pointer}");
        }
    }
}
