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

/// What a vendor's advisory says of a version that it publishes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Advisory {
    /// Its id (`RHSA-2024:4312`, `SUSE-2024-2290`).
    pub id: String,
    /// What kind of update it is: `security`, `bugfix`, `enhancement`, `newpackage`, or as written.
    pub kind: String,
    /// When it was issued, where it says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issued: Option<Time>,
    /// The severity, in lower case as written (`critical`, `important`, `moderate`, `low`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<String>,
    /// It takes a reboot to be in force.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reboot_suggested: bool,
    /// The CVE ids that it fixes, sorted, once each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cves: Vec<String>,
}

impl Advisory {
    /// Whether it is for security.
    #[must_use]
    pub fn is_security(&self) -> bool {
        self.kind == "security" || !self.cves.is_empty()
    }
}
