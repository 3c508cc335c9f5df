//! Dates of advisories, in all the ways in which they are written.
//!
//! | who | date |
//! |---|---|
//! | Bodhi, Pulp, Red Hat, Rocky, AlmaLinux | `2021-01-05 12:34:56` |
//! | Amazon | `2022-06-06 17:58`, `2023-02-17T02:47:00Z` |
//! | Oracle | `2021-01-05` |
//! | Katello | `2013-01-27 16:08:05 UTC` |
//! | SUSE | `1213630432` |
//!
//! Without a zone it is UTC.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::indexing_slicing,
        clippy::unwrap_used
    )
)]

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

use super::super::nevra::number;
use crate::model::Time;

/// Seconds since 1970 have so many digits from 1973 to 2286; others are no date of an advisory.
const EPOCH_DIGITS: std::ops::RangeInclusive<usize> = 9..=10;

/// Reads a date; `None` if it is none.
pub(in crate::format) fn read(text: &str) -> Option<Time> {
    let text = text.trim_ascii();
    if EPOCH_DIGITS.contains(&text.len())
        && let Some(seconds) = number(text)
    {
        return Time::from_unix(seconds);
    }
    if !text.contains(':') {
        return Some(Time::start_of(text.parse::<Date>().ok()?));
    }
    let (local, offset_seconds) = without_zone(text)?;
    let local = local.parse::<DateTime>().ok()?;
    let seconds = TimeZone::UTC.to_timestamp(local).ok()?.as_second();
    Time::from_unix(seconds.checked_sub(offset_seconds)?)
}

/// The text without its zone, and how many seconds that is ahead of UTC.
fn without_zone(text: &str) -> Option<(&str, i64)> {
    for name in ["UTC", "GMT", "Z"] {
        if let Some(local) = text.strip_suffix(name) {
            return Some((local.trim_ascii_end(), 0));
        }
    }
    // The hyphens of the day come before the time.
    let colon = text.find(':')?;
    let Some(at) = text.rfind(['+', '-']).filter(|at| *at > colon) else { return Some((text, 0)) };
    let (local, zone) = text.split_at_checked(at)?;
    let sign = if zone.starts_with('-') { -1 } else { 1_i64 };
    let digits: String = zone.chars().skip(1).filter(|c| *c != ':').collect();
    let (hours, minutes) = digits.split_at_checked(2)?;
    let hours: i64 = number::<i64>(hours).filter(|hours| *hours <= 23)?;
    let minutes: i64 = if minutes.is_empty() { 0 } else { number::<i64>(minutes).filter(|m| *m <= 59)? };
    let seconds = hours.checked_mul(3600)?.checked_add(minutes.checked_mul(60)?)?;
    Some((local.trim_ascii_end(), sign.checked_mul(seconds)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_all_vendors_are_read() {
        for (text, want) in [
            ("2021-01-05 12:34:56", Some("2021-01-05T12:34:56Z")),
            ("2021-01-05 12:34", Some("2021-01-05T12:34:00Z")),
            ("2021-01-05", Some("2021-01-05T00:00:00Z")),
            (" 2013-01-27 16:08:05 UTC ", Some("2013-01-27T16:08:05Z")),
            ("2023-02-17T02:47:00Z", Some("2023-02-17T02:47:00Z")),
            ("2023-02-17 02:47:00.123456", Some("2023-02-17T02:47:00Z")),
            ("2023-02-17 02:47:00+02:00", Some("2023-02-17T00:47:00Z")),
            ("2023-02-17 02:47:00 -0130", Some("2023-02-17T04:17:00Z")),
            ("1213630432", Some("2008-06-16T15:33:52Z")),
            ("946684800", Some("2000-01-01T00:00:00Z")),
            ("15mangled2", None),
            ("20210105", Some("2021-01-05T00:00:00Z")),
            ("0", None),
            ("", None),
            ("2021-13-05", None),
            ("2021-02-30 00:00:00", None),
            ("2021-01-05 25:00:00", None),
            ("2021-01-05 12:34:56 CEST", None),
            ("2021-01-05 12:34:56+99:00", None),
            ("99999999999999999999", None),
            ("202101051234", None),
        ] {
            assert_eq!(read(text).map(|time| time.to_string()).as_deref(), want, "{text}");
        }
    }
}
