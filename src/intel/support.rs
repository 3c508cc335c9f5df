//! When public patches of a platform's release end: the table that ships with karat.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::model::{Platform, Time};

const SHIPPED: &str = include_str!("support_ends.toml");

/// The end of a release's public patches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SupportEnd {
    /// The first moment without support: the day after the last one, in UTC.
    pub ended_from: Time,
    /// The last day with public patches, as written (`2028-06-30`).
    pub ends: String,
    /// Which kind of support it is, and what else is known.
    pub note: String,
}

impl SupportEnd {
    /// Whether support has ended by then.
    #[must_use]
    pub fn has_ended(&self, as_of: Time) -> bool {
        as_of >= self.ended_from
    }
}

/// Support ends by distribution and release.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SupportEnds(BTreeMap<String, BTreeMap<String, SupportEnd>>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    ends: String,
    note: String,
}

impl SupportEnds {
    /// The table that ships with this version.
    ///
    /// # Errors
    /// `Config` if the table is not well-formed, which a test rules out.
    pub fn shipped() -> Result<Self> {
        SupportEnds::parse(SHIPPED)
    }

    /// Reads a table: one TOML table a distribution, one line a release.
    ///
    /// # Errors
    /// `Config` with the line that is wrong.
    pub fn parse(text: &str) -> Result<Self> {
        let rows: BTreeMap<String, BTreeMap<String, Row>> =
            toml::from_str(text).map_err(|error| Error::config(error.to_string()).at("support ends"))?;
        let mut table = BTreeMap::new();
        for (os, releases) in rows {
            let mut ends = BTreeMap::new();
            for (release, row) in releases {
                let last_day = row.ends.parse::<Time>().map_err(|e| e.at(format!("{os}/{release}")))?;
                let end = SupportEnd { ended_from: last_day.plus_days(1), ends: row.ends, note: row.note };
                ends.insert(release, end);
            }
            table.insert(os, ends);
        }
        Ok(SupportEnds(table))
    }

    /// When public patches of this platform end; `None` if the table does not know it, or if it takes its
    /// patches from an extended channel, which has ends of its own.
    #[must_use]
    pub fn of(&self, platform: &Platform, channel: Option<&str>) -> Option<&SupportEnd> {
        if channel.is_some() {
            return None;
        }
        self.0.get(&platform.os)?.get(&platform.release)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_table_reads_and_knows_the_field() {
        let table = SupportEnds::shipped().unwrap();
        for (platform, ends) in [
            ("debian/12/amd64", "2028-06-30"),
            ("debian/11/arm64", "2026-08-31"),
            ("ubuntu/22.04/amd64", "2027-04-01"),
            ("alpine/3.21/x86_64", "2026-11-01"),
            ("rhel/9/x86_64", "2032-05-31"),
            ("rocky/8/x86_64", "2029-05-31"),
            ("amzn/2/x86_64", "2026-06-30"),
            ("sles/15.6/x86_64", "2025-12-31"),
            ("opensuse-leap/15.6/x86_64", "2026-04-30"),
        ] {
            let platform: Platform = platform.parse().unwrap();
            assert_eq!(table.of(&platform, None).map(|e| e.ends.as_str()), Some(ends), "{platform}");
            assert_eq!(table.of(&platform, Some("esm")), None);
        }
    }

    #[test]
    fn the_last_day_still_counts() {
        let table =
            SupportEnds::parse("[debian]\n\"9\" = { ends = \"2022-07-01\", note = \"LTS\" }\n").unwrap();
        let end = table.of(&"debian/9/amd64".parse().unwrap(), None).unwrap();
        assert!(!end.has_ended("2022-07-01T23:59:59Z".parse().unwrap()));
        assert!(end.has_ended("2022-07-02".parse().unwrap()));
        assert!(SupportEnds::parse("[debian]\n\"9\" = { end = \"2022-07-01\" }\n").is_err());
    }
}
