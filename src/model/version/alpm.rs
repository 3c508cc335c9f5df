//! The order of Arch Linux versions, as pacman's `vercmp` has it (vercmp(8), `alpm_pkg_vercmp`).
//!
//! A version is `[epoch:]pkgver[-pkgrel]`. Epochs compare as numbers (none is 0), then pkgver, then pkgrel if
//! both have one. A pkgver is runs of digits and runs of letters; everything else separates them. Two are
//! compared run by run:
//!
//! | at the first difference | later is |
//! |---|---|
//! | separators of different lengths | the longer |
//! | digits and letters | the digits |
//! | digits and digits | the larger number, of any length |
//! | letters and letters | by bytes |
//! | letters without separator, and the end | the end: `1.5b` is before `1.5` |
//! | anything else, and the end | what goes on: `1.5.b` is after `1.5` |
//!
//! What the separators are does not count: `2_0` equals `2.0`. This is a total order of the versions that
//! [`check`] takes, which are those that packages have. Of other texts it is none, and they must not be sorted by
//! it: a missing pkgrel equals every pkgrel, so `1-1` and `1-2` both equal `1` and are not equal; and with
//! separators at an end, `.r` is before `..`, which is before `10`, which is before `.r`.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::indexing_slicing,
        clippy::unwrap_used
    )
)]

use std::cmp::Ordering;

use crate::error::{Error, Result, quoted};

/// Compares two versions as `vercmp` does, on any text.
#[must_use]
pub fn compare(a: &str, b: &str) -> Ordering {
    if a == b {
        return Ordering::Equal;
    }
    let (a, b) = (Parts::of(a), Parts::of(b));
    let releases = || match (a.release, b.release) {
        (Some(a), Some(b)) => part(a, b),
        _ => Ordering::Equal,
    };
    part(a.epoch, b.epoch).then_with(|| part(a.version, b.version)).then_with(releases)
}

/// Whether a text is a version as packages have it: `[epoch:]pkgver-pkgrel`, the epoch of digits, a pkgver that
/// begins and ends with a letter or digit and has no space, slash, colon or dash, a pkgrel of digits, or digits, a
/// dot and digits.
///
/// # Errors
/// `Malformed` if it is not.
pub fn check(version: &str) -> Result<()> {
    let parts = Parts::of(version);
    let is_end = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let is_number = |digits: &[u8]| !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let is_version = is_end(parts.version.first())
        && is_end(parts.version.last())
        && parts.version.iter().all(|b| b.is_ascii_graphic() && !b"/:-".contains(b));
    let is_release = parts.release.is_some_and(|release| {
        let (whole, part) = split(release, |b| *b == b'.');
        is_number(whole) && (part.is_empty() || part.get(1..).is_some_and(is_number))
    });
    if is_version && is_release && !version.starts_with(':') {
        return Ok(());
    }
    Err(Error::malformed("pacman version", "value", None, quoted(version), "[epoch:]pkgver-pkgrel"))
}

struct Parts<'a> {
    epoch: &'a [u8],
    version: &'a [u8],
    release: Option<&'a [u8]>,
}

impl<'a> Parts<'a> {
    fn of(text: &'a str) -> Self {
        let digits = text.len().saturating_sub(text.trim_start_matches(|c: char| c.is_ascii_digit()).len());
        let (epoch, rest) = match text.split_at_checked(digits) {
            Some((epoch, rest)) => match rest.strip_prefix(':') {
                Some(rest) if epoch.is_empty() => ("0", rest),
                Some(rest) => (epoch, rest),
                None => ("0", text),
            },
            None => ("0", text),
        };
        let (version, release) = match rest.rsplit_once('-') {
            Some((version, release)) => (version, Some(release.as_bytes())),
            None => (rest, None),
        };
        Parts { epoch: epoch.as_bytes(), version: version.as_bytes(), release }
    }
}

/// The bytes up to the first for which `ends` holds, and the rest.
fn split(bytes: &[u8], ends: impl Fn(&u8) -> bool) -> (&[u8], &[u8]) {
    let at = bytes.iter().position(ends).unwrap_or(bytes.len());
    bytes.split_at_checked(at).unwrap_or((bytes, &[]))
}

fn part(mut a: &[u8], mut b: &[u8]) -> Ordering {
    if a == b {
        return Ordering::Equal;
    }
    while !a.is_empty() && !b.is_empty() {
        let (separator_a, rest_a) = split(a, u8::is_ascii_alphanumeric);
        let (separator_b, rest_b) = split(b, u8::is_ascii_alphanumeric);
        (a, b) = (rest_a, rest_b);
        if a.is_empty() || b.is_empty() {
            break;
        }
        if separator_a.len() != separator_b.len() {
            return separator_a.len().cmp(&separator_b.len());
        }
        let is_number = a.first().is_some_and(u8::is_ascii_digit);
        let ends = |byte: &u8| if is_number { !byte.is_ascii_digit() } else { !byte.is_ascii_alphabetic() };
        let ((run_a, rest_a), (run_b, rest_b)) = (split(a, ends), split(b, ends));
        if run_b.is_empty() {
            return if is_number { Ordering::Greater } else { Ordering::Less };
        }
        let order = if is_number { number(run_a, run_b) } else { run_a.cmp(run_b) };
        if order.is_ne() {
            return order;
        }
        (a, b) = (rest_a, rest_b);
    }
    let is_letter = |bytes: &[u8]| bytes.first().is_some_and(u8::is_ascii_alphabetic);
    match (a.is_empty(), b.is_empty()) {
        (true, true) => Ordering::Equal,
        (true, false) if !is_letter(b) => Ordering::Less,
        _ if is_letter(a) => Ordering::Less,
        _ => Ordering::Greater,
    }
}

/// Digits as a number of any length.
fn number(a: &[u8], b: &[u8]) -> Ordering {
    let (_, a) = split(a, |digit| *digit != b'0');
    let (_, b) = split(b, |digit| *digit != b'0');
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_packages_are_told_from_others() {
        for version in ["1-1", "2:20240101.r12.gabcdef1-3", "5.2.037-1.1", "1.0_rc1+2~3-10", "a-1", "0:1-1"] {
            assert!(check(version).is_ok(), "{version}");
        }
        for version in
            ["", "1", "1-", "-1", ":1-1", "1.-1", ".1-1", "1-1.", "1-a", "a:1-1", "1 2-1", "1-2-3", "é-1"]
        {
            assert!(check(version).is_err(), "{version}");
        }
    }

    /// What `vercmp` of pacman 6.0.2 says.
    #[test]
    fn versions_compare_as_vercmp_says() {
        for (a, order, b) in [
            ("1.5.0", "=", "1.5.0"),
            ("1.5-1", "=", "1.5"),
            ("1.5-1", "<", "1.5-2"),
            ("1.0-1", "<", "1.1"),
            ("1.5b", "<", "1.5"),
            ("1.0alpha", "<", "1.0b"),
            ("1.0rc", "<", "1.0"),
            ("1.5.a", ">", "1.5"),
            ("1.5.1", ">", "1.5.b"),
            ("2.0", "=", "2_0"),
            ("2.0a", "<", "2.0.a"),
            ("1:1.0", ">", "0:1.1"),
            (":1.0", "=", "0:1.0"),
            ("a:1", "<", "1"),
            ("1..0", ">", "1.0"),
            ("1.", ">", "1"),
            ("1.001", "=", "1.1"),
            ("1.0.0", ">", "1.0"),
            ("99999999999999999999999999", ">", "9"),
            ("1-2-3", "<", "1-2-4"),
            ("", "<", "1"),
            ("", ">", "a"),
            ("-", "=", ""),
            ("+", ">", "a"),
        ] {
            let want = match order {
                "<" => Ordering::Less,
                "=" => Ordering::Equal,
                _ => Ordering::Greater,
            };
            assert_eq!(compare(a, b), want, "{a} {order} {b}");
            assert_eq!(compare(b, a), want.reverse(), "{b} against {a}");
        }
    }
}
