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

    /// From the text of `SOURCE_DATE_EPOCH`: seconds since 1970 in plain decimal digits.
    ///
    /// # Errors
    /// `Malformed` if it is anything else, or a time that cannot be written.
    pub fn from_epoch_text(text: &str) -> Result<Self, Error> {
        let seconds = text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<i64>().ok()).flatten();
        seconds.and_then(Time::from_unix).ok_or_else(|| {
            let allowed = "seconds since 1970 in decimal digits, as 1795509638";
            Error::malformed("time", "seconds", None, format!("`{text}`"), allowed)
        })
    }

    /// The first moment of a day in UTC; of the few days at either end that cannot be represented, the first
    /// or last time that can.
    #[must_use]
    pub fn start_of(date: Date) -> Self {
        Time::exact_start_of(date).unwrap_or_else(|| {
            let end = if date.year() < 0 { Timestamp::MIN } else { Timestamp::MAX };
            Time(end.as_second())
        })
    }

    fn exact_start_of(date: Date) -> Option<Self> {
        TimeZone::UTC.to_timestamp(date.at(0, 0, 0, 0)).ok().map(|t| Time(t.as_second()))
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
    /// seconds since 1970 behind an `@` (`@1795509638`). Digits alone are nothing: `20261124` could be either.
    fn from_str(text: &str) -> Result<Self, Error> {
        let malformed = |allowed: &str| Error::malformed("time", "value", None, format!("`{text}`"), allowed);
        let unknown = || {
            malformed("2026-11-24, 2026-11-24T08:40:38Z or @1795509638")
                .hint("seconds since 1970 stand behind an `@`")
        };
        let outside = || malformed("-9999-01-03 to 9999-12-30");
        if let Some(seconds) = text.strip_prefix('@') {
            if seconds.starts_with('+') {
                return Err(unknown());
            }
            let seconds = seconds.parse::<i64>().map_err(|_| unknown())?;
            return Time::from_unix(seconds).ok_or_else(outside);
        }
        if !text.contains(['-', ':']) || text.strip_prefix('-').is_some_and(|rest| !rest.contains('-')) {
            return Err(unknown());
        }
        if let Ok(timestamp) = text.parse::<Timestamp>() {
            return Ok(Time(timestamp.as_second()));
        }
        let date = text.parse::<Date>().map_err(|_| unknown())?;
        Time::exact_start_of(date).ok_or_else(outside)
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
            ("@0", "1970-01-01T00:00:00Z"),
            ("9999-12-30", "9999-12-30T00:00:00Z"),
        ] {
            assert_eq!(text.parse::<Time>().unwrap().to_string(), want, "{text}");
        }
        let allowed = "allowed: 2026-11-24, 2026-11-24T08:40:38Z or @1795509638";
        for text in ["yesterday", "2026", "20261124", "1795509638", "-5", "@", "@+5", "@x"] {
            let error = text.parse::<Time>().unwrap_err().to_string();
            assert_eq!(error, format!("time: value: `{text}`; {allowed}"));
        }
        for text in ["9999-12-31", "-009999-01-01", "@999999999999999"] {
            let error = text.parse::<Time>().unwrap_err().to_string();
            assert_eq!(error, format!("time: value: `{text}`; allowed: -9999-01-03 to 9999-12-30"));
        }
        assert!(Time::start_of(Date::MIN) < Time::start_of(Date::constant(-9999, 1, 3)));
        assert!(Time::start_of(Date::MAX) > Time::start_of(Date::constant(9999, 12, 30)));
    }

    #[test]
    fn an_epoch_is_plain_digits() {
        assert_eq!(Time::from_epoch_text("1795509638").unwrap().to_string(), "2026-11-24T08:40:38Z");
        for text in
            ["", "@1795509638", "-1", "+1", "1.5", "2026-11-24", "99999999999999999999", "999999999999"]
        {
            assert_eq!(
                Time::from_epoch_text(text).unwrap_err().to_string(),
                format!(
                    "time: seconds: `{text}`; allowed: seconds since 1970 in decimal digits, as 1795509638"
                )
            );
        }
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
