//! The refresh target: the line before which everything published must be in the image.

use jiff::ToSpan as _;
use jiff::civil::Date;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::baseline::Evidence;
use crate::drift::Patch;
use crate::model::Time;

/// How fresh an image must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Target {
    /// How the line moves.
    pub mode: Mode,
    /// Rolling: the highest patch age that passes, in days.
    pub days: i64,
    /// Calendar: days of a quarter that pass before its first day becomes the line.
    pub grace_days: i64,
    /// How many days ahead an image that will leave the target is *due*.
    pub warn_days: i64,
    /// Which patches count.
    pub counts: Counted,
}

/// How the line moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// With every day: patch age is at most so many days.
    Rolling,
    /// With every quarter: the line is the first day of this one once its grace has passed, before that of the
    /// previous one.
    Calendar,
}

/// Which patches count for the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Counted {
    /// All.
    All,
    /// Those with an advisory, for a security suite, or with a CVE id; and those of which nothing is known but
    /// that they are there.
    Security,
}

impl Default for Target {
    fn default() -> Self {
        Target { mode: Mode::Rolling, days: 92, grace_days: 30, warn_days: 14, counts: Counted::All }
    }
}

impl Target {
    /// The line at a time: what was published before it must be in the image.
    #[must_use]
    pub fn line(&self, as_of: Time) -> Time {
        match self.mode {
            Mode::Rolling => {
                let last_out = as_of.plus_days(-(self.days.saturating_add(1)));
                Time::from_unix(last_out.unix().saturating_add(1)).unwrap_or(last_out)
            }
            Mode::Calendar => {
                let this = quarter_of(as_of.date());
                let line = if as_of >= Time::start_of(this).plus_days(self.grace_days) {
                    this
                } else {
                    quarter_of(this.yesterday().unwrap_or(this))
                };
                Time::start_of(line)
            }
        }
    }

    /// When an image that lacks a patch of this date leaves the target: the first moment at which the patch
    /// is before the line.
    #[must_use]
    pub fn leaves(&self, published: Time) -> Time {
        match self.mode {
            Mode::Rolling => published.plus_days(self.days.saturating_add(1)),
            Mode::Calendar => {
                let quarter = quarter_of(published.date());
                let next = quarter.checked_add(3.months()).unwrap_or(Date::MAX);
                Time::start_of(next).plus_days(self.grace_days)
            }
        }
    }

    /// Whether a patch counts.
    #[must_use]
    pub fn counts(&self, patch: &Patch) -> bool {
        match self.counts {
            Counted::All => true,
            Counted::Security => patch.security || is_unexplained(patch),
        }
    }
}

/// Nothing is known of the patch but that it is there: nothing says that it is none for security.
fn is_unexplained(patch: &Patch) -> bool {
    matches!(
        patch.evidence,
        Evidence::FirstSight | Evidence::Repository | Evidence::BuildTime | Evidence::None
    )
}

/// The first day of the quarter of a day.
fn quarter_of(day: Date) -> Date {
    let month = (day.month() - 1) / 3 * 3 + 1;
    Date::new(day.year(), month, 1).unwrap_or(day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Time {
        text.parse().unwrap()
    }

    #[test]
    fn rolling_passes_at_the_target_and_fails_a_day_later() {
        let target = Target::default();
        let published = time("2026-02-10T15:00:00Z");
        for (as_of, broken) in
            [("2026-05-13T15:00:00Z", false), ("2026-05-14T14:59:59Z", false), ("2026-05-14T15:00:00Z", true)]
        {
            assert_eq!(published < target.line(time(as_of)), broken, "{as_of}");
        }
        assert_eq!(target.leaves(published), time("2026-05-14T15:00:00Z"));
        assert_eq!(target.leaves(time("2024-02-01")), time("2024-05-04"), "a leap year's quarter");
    }

    #[test]
    fn the_calendar_line_is_a_quarter_once_its_grace_has_passed() {
        let target = Target { mode: Mode::Calendar, ..Target::default() };
        for (as_of, line) in [
            ("2026-01-01", "2025-10-01"),
            ("2026-01-30T23:59:59Z", "2025-10-01"),
            ("2026-01-31", "2026-01-01"),
            ("2026-03-31", "2026-01-01"),
            ("2026-04-01", "2026-01-01"),
            ("2026-05-01", "2026-04-01"),
            ("2024-02-29", "2024-01-01"),
        ] {
            assert_eq!(target.line(time(as_of)), time(line), "{as_of}");
        }
        assert_eq!(target.leaves(time("2025-12-31T23:59:59Z")), time("2026-01-31"));
        assert_eq!(
            target.leaves(time("2026-01-01")),
            time("2026-05-01"),
            "the first day is not before the line"
        );
        let strict = Target { grace_days: 0, ..target };
        assert_eq!(strict.line(time("2026-04-01")), time("2026-04-01"));
        assert_eq!(strict.leaves(time("2026-03-31")), time("2026-04-01"));
    }

    #[test]
    fn the_forecast_is_the_first_moment_at_which_the_line_has_passed() {
        for mode in [Mode::Rolling, Mode::Calendar] {
            for grace_days in [0, 1, 30, 89] {
                let target = Target { mode, grace_days, ..Target::default() };
                for day in 0..800 {
                    let published = time("2023-11-30T12:34:56Z").plus_days(day);
                    let leaves = target.leaves(published);
                    let just_before = Time::from_unix(leaves.unix() - 1).unwrap();
                    assert!(published < target.line(leaves), "{target:?} {published}");
                    assert!(published >= target.line(just_before), "{target:?} {published}");
                }
            }
        }
    }
}
