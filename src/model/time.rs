//! Points in time, to the second, in UTC.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::Error;

/// Seconds of a day.
pub const DAY_SECONDS: i64 = 86_400;

/// A point in time, in whole seconds; prints as RFC 3339 in UTC (`2026-11-24T08:40:38Z`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(i64);

impl Time {
    /// From seconds since 1970-01-01T00:00:00Z; `None` outside the years -9999 to 9999.
    #[must_use]
    pub fn from_unix(seconds: i64) -> Option<Self> {
        Timestamp::from_second(seconds).ok().map(|_| Time(seconds))
    }

    /// Seconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub fn unix(self) -> i64 {
        self.0
    }

    /// The first moment of a day in UTC.
    #[must_use]
    pub fn start_of(date: Date) -> Self {
        Time(TimeZone::UTC.to_timestamp(date.at(0, 0, 0, 0)).map_or(0, |t| t.as_second()))
    }

    /// The day in UTC.
    #[must_use]
    pub fn date(self) -> Date {
        TimeZone::UTC.to_datetime(self.timestamp()).date()
    }

    /// So many days of 24 hours later (or earlier); stays within the years that can be written.
    #[must_use]
    pub fn plus_days(self, days: i64) -> Self {
        let seconds = self.0.saturating_add(days.saturating_mul(DAY_SECONDS));
        Time(seconds.clamp(Timestamp::MIN.as_second(), Timestamp::MAX.as_second()))
    }

    /// Whole days from `earlier` to this; negative if it is later, rounded down.
    #[must_use]
    pub fn days_since(self, earlier: Time) -> i64 {
        self.0.saturating_sub(earlier.0).div_euclid(DAY_SECONDS)
    }

    fn timestamp(self) -> Timestamp {
        Timestamp::from_second(self.0).unwrap_or(Timestamp::UNIX_EPOCH)
    }
}

impl FromStr for Time {
    type Err = Error;

    /// Reads RFC 3339 (`2026-11-24T08:40:38Z`, any offset), a day (`2026-11-24`, its first moment in UTC) or
    /// seconds since 1970 (`@1795509638` or a plain number).
    fn from_str(text: &str) -> Result<Self, Error> {
        let digits = text.strip_prefix('@').unwrap_or(text);
        if let Ok(seconds) = digits.parse::<i64>()
            && let Some(time) = Time::from_unix(seconds)
        {
            return Ok(time);
        }
        if let Ok(timestamp) = text.parse::<Timestamp>() {
            return Ok(Time(timestamp.as_second()));
        }
        if let Ok(date) = text.parse::<Date>() {
            return Ok(Time::start_of(date));
        }
        Err(Error::malformed(
            "time",
            "value",
            None,
            format!("`{text}`"),
            "2026-11-24, 2026-11-24T08:40:38Z or @1795509638",
        ))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.timestamp(), f)
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Time {
    fn schema_name() -> Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "format": "date-time", "description": "RFC 3339, UTC, whole seconds" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_and_print() {
        for (text, want) in [
            ("2026-11-24", "2026-11-24T00:00:00Z"),
            ("2026-11-24T10:40:38+02:00", "2026-11-24T08:40:38Z"),
            ("@1795509638", "2026-11-24T08:40:38Z"),
            ("0", "1970-01-01T00:00:00Z"),
        ] {
            assert_eq!(text.parse::<Time>().unwrap().to_string(), want, "{text}");
        }
        assert!("yesterday".parse::<Time>().is_err());
    }

    #[test]
    fn days_are_whole_and_round_down() {
        let day: Time = "2026-03-01".parse().unwrap();
        assert_eq!(day.plus_days(92).to_string(), "2026-06-01T00:00:00Z");
        assert_eq!(day.plus_days(1).days_since(Time(day.0 + 1)), 0);
        assert_eq!(day.days_since(Time(day.0 + 1)), -1);
        assert_eq!(Time::start_of(day.date()), day);
        assert!(day.plus_days(i64::MAX).to_string().starts_with("9999"));
    }
}
