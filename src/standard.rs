//! The organisation's patch standard, and what it says of a drift.
//!
//! Pure: [`Standard::parse`] reads `karat.toml`; [`judge`] turns a [`Drift`](crate::drift::Drift) into a
//! verdict with the findings that led to it. A violation that is proven fails, whatever else is unknown; what
//! is not known for sure is incomplete, and never passes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::drift;
use crate::model::Time;

mod file;
mod findings;
mod judge;
mod target;
#[cfg(test)]
mod tests;
mod upgrades;

pub use findings::{CODES, Code, Effect, Finding, findings_page};
pub use judge::{Judgement, Outcome, State, Verdict, judge};
pub use target::{Counted, Mode, Target};
pub use upgrades::{Upgrade, upgrade_set};

/// The organisation's patch standard.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Standard {
    /// How fresh an image must be.
    pub target: Target,
    /// What a baseline must be to be judged by.
    pub baseline: BaselineRules,
    /// Whether an image fails once the support of its platform has ended.
    pub fail_on_unsupported: bool,
}

/// What a baseline must be to be judged by.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BaselineRules {
    /// An older baseline makes the verdict incomplete.
    pub max_age_days: i64,
    /// Hosts that were read longer ago do not vote.
    pub max_host_age_days: i64,
    /// Fewer hosts make the basis weak.
    pub min_hosts: usize,
    /// The share of hosts that makes a version adopted.
    pub adoption_share: f64,
    /// If a smaller share of an image's packages was compared, the verdict is incomplete.
    #[serde(default = "default_min_compared_share")]
    pub min_compared_share: f64,
}

fn default_min_compared_share() -> f64 {
    0.5
}

impl Default for Standard {
    fn default() -> Self {
        Standard {
            target: Target::default(),
            baseline: BaselineRules {
                max_age_days: 14,
                max_host_age_days: 35,
                min_hosts: 3,
                adoption_share: 0.5,
                min_compared_share: default_min_compared_share(),
            },
            fail_on_unsupported: true,
        }
    }
}

impl Standard {
    /// How images are compared under this standard.
    #[must_use]
    pub fn drift_options(&self, as_of: Time) -> drift::Options {
        drift::Options {
            as_of,
            adoption_share: self.baseline.adoption_share,
            min_hosts: self.baseline.min_hosts,
        }
    }
}
