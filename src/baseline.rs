//! What patched production runs, as of a time: the contract `karat-baseline/1`.
//!
//! Hosts vote on what is adopted; their changelogs, and the channel sources of [`channel`], say what was
//! published and when. Per platform a baseline holds, for every source package, its [`History`] (the releases of the channel, newest first, with dates,
//! bounds and evidence), and for every binary package which hosts run which version. It holds no verdict and
//! no adopted version: the adoption share belongs to the standard, and is applied when an image is compared.

use std::cmp::Ordering;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{Advisory, Ecosystem, Platform, Sha256, SourcePackage, Time, version};

mod adopt;
mod build;
pub mod channel;
mod file;
mod gathering;
mod history;
mod listings;
mod merge;
mod running;
mod slots;
mod space;
mod suites;
mod summary;
#[cfg(test)]
pub(crate) mod testing;
mod vendor;

pub use adopt::{Adopted, adopt};
pub use build::{BuildOptions, HostInput, Inputs, build};
pub use channel::{ChannelInput, ChannelKind, Offer};
pub use file::Loaded;
pub use listings::{Listing, Sighting};
pub use merge::merge;
pub use running::SideBySide;
pub use slots::{Slot, is_kernel_image, slot_of, slot_of_package};
pub use space::{is_backport, joined_source, source_of};
pub use suites::{PlatformSuites, Pocket};
pub use summary::{ChannelSource, PlatformSummary, Summary, summarize};
pub use vendor::is_third_party;

/// The schema that this version writes.
pub const BASELINE_SCHEMA: &str = "karat-baseline/1";

/// What patched production runs, as of a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Baseline {
    /// Always `karat-baseline/1`.
    pub schema: String,
    /// The version of karat that made it.
    pub karat: String,
    /// As its makers call it.
    pub name: String,
    /// Up to when it knows production: when the newest voting host was read, at most the time of the build.
    pub as_of: Time,
    /// What it was made of, sorted.
    pub sources: Vec<BaselineSource>,
    /// By platform and channel, sorted.
    pub platforms: Vec<PlatformBaseline>,
}

/// What a baseline is built from has one of two roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SourceRole {
    /// Votes on what is adopted.
    Host,
    /// Says what was published and when.
    Channel,
}

/// One thing that a baseline was made of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct BaselineSource {
    /// What it was used for.
    pub role: SourceRole,
    /// Its name, as a hash.
    pub id: HostId,
    /// What it is, of a channel source: how the user named it, and what of it counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// When it was read, or is from.
    pub taken_at: Time,
    /// The content id of its inventory; the digest of what a channel source says.
    pub digest: Sha256,
    /// Whether it votes: a channel source does not, and a host that is older than the maximum age does not, but its changelogs count.
    pub votes: bool,
}

/// A host's name as a hash (16 hexadecimal digits of its SHA-256): enough to count every host once, without
/// telling its name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct HostId(String);

impl HostId {
    /// The hash of this name.
    #[must_use]
    pub fn of(name: &str) -> Self {
        let mut hex = Sha256::of(name.as_bytes()).hex();
        hex.truncate(16);
        HostId(hex)
    }
}

impl fmt::Display for HostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What production runs of one platform and channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlatformBaseline {
    /// The platform.
    pub platform: Platform,
    /// The channel, where it is not the platform's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// The platform's codename, where something says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub codename: Option<String>,
    /// Up to when production of this platform is known: when the newest voting host was read; without hosts,
    /// up to when all suites are known that publish at any time.
    pub as_of: Time,
    /// The hosts that vote, sorted.
    pub hosts: Vec<HostId>,
    /// When suites of its repositories were listed whole, sorted: what a listing lacks was not out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub listings: Vec<Listing>,
    /// Per source package what was published, sorted by ecosystem and name.
    pub sources: Vec<History>,
    /// Per binary package or slot what hosts run, sorted by ecosystem, name and architecture.
    pub packages: Vec<BaselinePackage>,
}

impl PlatformBaseline {
    /// The history of a source package.
    #[must_use]
    pub fn history(&self, ecosystem: Ecosystem, source: &str) -> Option<&History> {
        let key = (ecosystem, source);
        let at = self.sources.binary_search_by(|h| (h.ecosystem, h.source.as_str()).cmp(&key)).ok()?;
        self.sources.get(at)
    }

    /// What hosts run of a binary package (or slot, by its key) of exactly this architecture.
    #[must_use]
    pub fn package(&self, ecosystem: Ecosystem, name: &str, arch: &str) -> Option<&BaselinePackage> {
        let key = (ecosystem, name, arch);
        let of = |p: &BaselinePackage| (p.ecosystem, p.name.as_str(), p.arch.as_str()).cmp(&key);
        self.packages.get(self.packages.binary_search_by(of).ok()?)
    }
}

/// What is known of the releases of one source package in one channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct History {
    /// Whose version order it follows.
    pub ecosystem: Ecosystem,
    /// The source package.
    pub source: String,
    /// Published by a third party: every entry counts.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub third_party: bool,
    /// Only the suites of its entries say so: its packages look like the distribution's own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub third_party_by_suites: bool,
    /// The stretches of versions in which every entry is known, newest first. Changelogs are trimmed, so that
    /// two of them may leave a hole between them.
    pub spans: Vec<Span>,
    /// The releases, newest first.
    pub releases: Vec<Release>,
    /// Entries that are no releases, newest first: all that are newer than the oldest release, and of the
    /// older ones those that name CVE ids.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<OtherEntry>,
    /// Rebuilds of a release for one architecture, under their binary versions, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rebuilds: Vec<Release>,
    /// Up to when anything that it was made of knew of it; listings of repositories aside, which are known as of
    /// their own times.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<Time>,
    /// When each version was first seen on a host or in a channel source, newest version first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sightings: Vec<Sighting>,
}

impl History {
    /// How far back the history is known without a hole from `version` on: the oldest version of the stretch
    /// that holds it.
    #[must_use]
    pub fn reaches(&self, version: &str) -> Option<&str> {
        let holds = |span: &&Span| {
            version::compare(self.ecosystem, &span.oldest, version) != Ordering::Greater
                && version::compare(self.ecosystem, version, &span.newest) != Ordering::Greater
        };
        self.spans.iter().find(holds).map(|span| span.oldest.as_str())
    }

    /// Compares two versions in the order of this source's ecosystem.
    #[must_use]
    pub fn compare(&self, a: &str, b: &str) -> Ordering {
        version::compare(self.ecosystem, a, b)
    }
}

/// A stretch of versions in which every entry is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Span {
    /// The oldest version of it.
    pub oldest: String,
    /// The newest version of it.
    pub newest: String,
    /// When its oldest entry was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
}

/// One published version of a source package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Release {
    /// The version; of a rebuild the binary version.
    pub version: String,
    /// When it was published; `None` if nothing says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published: Option<Time>,
    /// What says so.
    pub evidence: Evidence,
    /// The date that the evidence gave was outside its bounds, and was moved to the bound.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub bounded: bool,
    /// It was not out before this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Time>,
    /// It was out by then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Time>,
    /// The urgency as its changelog has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub urgency: Option<String>,
    /// Made for a security suite, or it names a CVE id itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub security: bool,
    /// Published in the backports, which are a channel of their own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub backport: bool,
    /// Why it counts as a release.
    pub because: Because,
    /// The suites that its entry names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub suites: Vec<String>,
    /// When its entry was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dated: Option<Time>,
    /// When it was built, where a package says so: not before that it was out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub built_at: Option<Time>,
    /// So many of a hundred hosts are offered it, where its channel still phases it in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phased_percent: Option<u8>,
    /// The advisories that publish it, sorted by id, with the CVE ids that they fix.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub advisories: Vec<Advisory>,
    /// The CVE ids that its own entry names, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cves: Vec<String>,
}

impl Release {
    /// The CVE ids that its entry names or its advisories fix; one that both have comes twice.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        let fixed = self.advisories.iter().flat_map(|advisory| &advisory.cves);
        self.cves.iter().chain(fixed).map(String::as_str)
    }
}

/// What a date of publication rests on, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Evidence {
    /// The issue date of an advisory.
    Advisory,
    /// Dated repository metadata.
    Repository,
    /// A changelog entry for a suite that publishes at once (`-security`, `-updates`, `-lts`).
    ChangelogSecurity,
    /// The point release that published it, as the changelog of `base-files` dates it.
    PointRelease,
    /// The changelog entry's own date.
    Changelog,
    /// When the package was built.
    BuildTime,
    /// It was first seen on a host: not later than, never a date.
    FirstSight,
    /// Nothing.
    None,
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Evidence::Advisory => "advisory",
            Evidence::Repository => "repository",
            Evidence::ChangelogSecurity => "changelog-security",
            Evidence::PointRelease => "point-release",
            Evidence::Changelog => "changelog",
            Evidence::BuildTime => "build-time",
            Evidence::FirstSight => "first-sight",
            Evidence::None => "none",
        })
    }
}

/// Why an entry counts as a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Because {
    /// It was made for one of the platform's own suites.
    OwnSuite,
    /// It was made for the backports, and the package is a backport.
    Backport,
    /// It is a third party's, whose every entry counts.
    ThirdParty,
    /// A host runs it.
    Installed,
    /// A repository or package folder carries it.
    Repository,
}

/// A changelog entry that is no release of this channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OtherEntry {
    /// The version.
    pub version: String,
    /// The release that brought it: the next one above it in the changelog. A `~deb12u1` is lower than the
    /// version that it was made from, so the order of versions does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub brought_by: Option<String>,
    /// The suites that it names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub suites: Vec<String>,
    /// When it was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dated: Option<Time>,
    /// The CVE ids that it names, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cves: Vec<String>,
}

impl OtherEntry {
    /// The version from which on its fixes are in: that of the release that brought it, else its own.
    #[must_use]
    pub fn in_from(&self) -> &str {
        self.brought_by.as_deref().unwrap_or(&self.version)
    }
}

/// What hosts run of one binary package, or of one slot; also the builds of channel sources that its source's
/// version does not tell: those with a version of their own or with other sources inside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BaselinePackage {
    /// Whose naming and order it follows.
    pub ecosystem: Ecosystem,
    /// Its name; of a slot the slot's key.
    pub name: String,
    /// Its architecture in the words of its package manager.
    pub arch: String,
    /// The slot's key, where names carry versions and are installed side by side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<String>,
    /// The source of its newest version.
    pub source: String,
    /// Which hosts run which version, newest first.
    pub versions: Vec<HostVersion>,
}

/// One version of a binary package, and the hosts that run it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HostVersion {
    /// The binary version.
    pub version: String,
    /// The source version.
    pub source_version: String,
    /// The binary's name, where the package is a slot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Sources that were built into it, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub built_using: Vec<SourcePackage>,
    /// The hosts that run it, sorted; none where only a channel source has it.
    pub hosts: Vec<HostId>,
}
