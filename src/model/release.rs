//! What a changelog says: one entry a version.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Ecosystem, Time};

/// One entry of a package's changelog: a version that was made, for which suites, when, and which CVE ids it
/// names. Whether it was *released* to a platform is the baseline's business.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct ReleaseEntry {
    /// Whose version order it follows.
    pub ecosystem: Ecosystem,
    /// The source package.
    pub source: String,
    /// The version; for a rebuild the binary version (`1.2-3+b1`).
    pub version: String,
    /// The suites that it was made for (`bookworm-security`), as written, in their order.
    pub suites: Vec<String>,
    /// The urgency as written, in lower case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub urgency: Option<String>,
    /// The entry's own date; `None` if it cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dated: Option<Time>,
    /// A rebuild of the same source for one architecture (`binary-only=yes`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rebuild: bool,
    /// The version of the entry above it in its changelog, which was made upon it; `None` for the newest.
    /// This, and not the order of versions, tells which fixes a version has: `5.2.5-2.1~deb11u1` is lower than
    /// `5.2.5-2.1`, and was made from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superseded_by: Option<String>,
    /// CVE ids that it names, sorted, once each.
    #[serde(default)]
    pub cves: Vec<String>,
}
