//! Findings and their codes. A code is frozen: it is never renamed, and never means something else.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::Time;

/// One thing that led to a verdict, or that should be known beside it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// Its code.
    pub code: Code,
    /// What it does to the verdict.
    pub effect: Effect,
    /// In words.
    pub message: String,
    /// The source package that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<String>,
    /// The place in the image that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Until when something had or has to be done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<Time>,
}

/// What a finding does to the verdict, worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// It is a violation.
    Fail,
    /// With it the image cannot pass.
    Incomplete,
    /// It changes nothing yet.
    Warning,
    /// It is good to know.
    Note,
}

macro_rules! codes {
    ($( $code:ident = $name:literal, $line:literal; )*) => {
        /// The code of a finding.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
        pub enum Code { $( #[doc = $line] #[serde(rename = $name)] $code, )* }

        /// Every code with its name and its one line.
        pub const CODES: &[(Code, &str, &str)] = &[ $( (Code::$code, $name, $line), )* ];

        impl Code {
            /// As it is written.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $( Code::$code => $name, )* }
            }
        }
    };
}

codes! {
    PastTarget = "past-target", "a source package lacks a patch that was published before the line of the refresh target";
    UnsupportedPlatform = "unsupported-platform", "public patches of the platform have ended: nothing that is missing would be seen";
    Gap = "gap", "something that should have been read was not";
    NoPlatform = "no-platform", "the system does not say what it is, so there is nothing to compare it with";
    NoPackages = "no-packages", "no package was found";
    BaselineMissingPlatform = "baseline-missing-platform", "the baseline has nothing for the platform and channel";
    NothingCompared = "nothing-compared", "production knows none of the packages";
    MostlyUnknown = "mostly-unknown", "production knows a smaller share of the packages than the standard asks for: what the others lack is not known";
    BaselineSuiteMissing = "baseline-suite-missing", "no host votes, and the baseline has no listing of a suite through which the platform gets its packages: what was published through it is not known";
    MostlyAhead = "mostly-ahead", "most of the packages are newer than what production has: it is another system, and what they lack is not known";
    BaselineStale = "baseline-stale", "production was last read longer ago than the standard allows";
    BaselineNewer = "baseline-newer", "the baseline knows production at a later time than the audit is for: what was published since would not count";
    HistoryShort = "history-short", "the known releases do not reach back to the image's version: the package may be behind for longer than is shown";
    UndatedPatch = "undated-patch", "nothing says when a missed patch was published";
    LeavesTargetSoon = "leaves-target-soon", "the image leaves the refresh target within the warning window if it is not rebuilt";
    SupportEndsSoon = "support-ends-soon", "public patches of the platform end within a quarter";
    SupportUnknown = "support-unknown", "it is not known when public patches of the platform end";
    KernelSeriesUnknown = "kernel-series-unknown", "no host runs a kernel of the image's upstream series: what it lacks is not known, or only from changelogs";
    LatentPatch = "latent-patch", "a kernel with patches that the image lacks is installed and would not boot: the boot loader's default is an older one";
    BootUnknown = "boot-unknown", "several kernels are installed, and which one boots is not known: the newest was compared";
    OnlyInImage = "only-in-image", "production knows nothing of some packages: what they lack is not known";
    BaselineOtherArch = "baseline-other-arch", "the baseline has only another architecture of the release, which was compared instead";
    BaselineWeak = "baseline-weak", "fewer hosts vote on what production has than the standard asks for";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// `docs/findings.md`: every code under its heading.
#[must_use]
pub fn findings_page() -> String {
    let mut page = String::from(
        "# Findings\n\nEvery finding of a verdict has one of these codes. A code is frozen: it is never renamed, and \
         never means something else.\n",
    );
    for (_, name, line) in CODES {
        page.push_str(&format!("\n## {name}\n\n{}.\n", capitalised(line)));
    }
    page
}

fn capitalised(line: &str) -> String {
    let mut chars = line.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_kebab_case_and_unique() {
        let mut names: Vec<&str> = CODES.iter().map(|(_, name, _)| *name).collect();
        for name in &names {
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{name}");
            let code: Code = serde_json::from_str(&format!("\"{name}\"")).unwrap();
            assert_eq!(code.name(), *name);
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), CODES.len());
    }
}
