//! The order of Debian versions, as `dpkg --compare-versions` has it (deb-version(7)).
//!
//! A version is `[epoch:]upstream[-revision]`. Epochs compare as numbers; upstream and revision compare by
//! turns as text and as number: text by letter before any other sign, with `~` before everything, even the
//! end; numbers of any length. A revision that is not there equals `0`.
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

/// Compares two versions as dpkg does. Total on any text: what dpkg refuses is compared by the same rules, an
/// epoch that is no number being part of the upstream version; the empty text comes first.
#[must_use]
pub fn compare(a: &str, b: &str) -> Ordering {
    if a.is_empty() || b.is_empty() {
        return a.len().min(1).cmp(&b.len().min(1));
    }
    let (a, b) = (Parts::of(a), Parts::of(b));
    number(a.epoch, b.epoch)
        .then_with(|| part(a.upstream, b.upstream))
        .then_with(|| part(a.revision, b.revision))
}

/// Whether dpkg takes this text as a version and finds nothing in it that does not belong there. That it
/// should start with a digit is not asked for: dpkg only warns.
///
/// # Errors
/// `Malformed` with dpkg's reason.
pub fn check(version: &str) -> Result<()> {
    let parts = readable(version)?;
    let is_allowed = |b: u8, others: &[u8]| b.is_ascii_alphanumeric() || others.contains(&b);
    // As in dpkg, the first sign is only asked to be a digit, which is but a warning.
    if !parts.upstream.iter().skip(1).all(|b| is_allowed(*b, b".-+~:")) {
        return Err(flaw(version, "letters, digits and . - + ~ : in the upstream version"));
    }
    if !parts.revision.iter().all(|b| is_allowed(*b, b".+~")) {
        return Err(flaw(version, "letters, digits and . + ~ in the revision"));
    }
    Ok(())
}

/// Whether dpkg can read this text as a version at all. It takes (with a warning) signs that do not belong
/// there when it reads its own database, so a package with such a version is installed.
///
/// # Errors
/// `Malformed` with dpkg's reason.
pub fn check_readable(version: &str) -> Result<()> {
    readable(version).map(|_| ())
}

fn readable(version: &str) -> Result<Parts<'_>> {
    let text = trim(version.as_bytes());
    if text.is_empty() {
        return Err(flaw(version, "at least one sign"));
    }
    if text.iter().any(|b| is_blank(*b)) {
        return Err(flaw(version, "no space inside"));
    }
    let parts = Parts::of(version);
    if text.contains(&b':') && !parts.has_epoch {
        return Err(flaw(version, "a number as epoch"));
    }
    if number(parts.epoch, b"2147483647").is_gt() {
        return Err(flaw(version, "an epoch up to 2147483647"));
    }
    if parts.upstream.is_empty() {
        return Err(flaw(version, "something after the epoch and before the revision"));
    }
    if text.last() == Some(&b'-') {
        return Err(flaw(version, "something after the last hyphen"));
    }
    Ok(parts)
}

fn flaw(found: &str, allowed: &str) -> Error {
    Error::malformed("deb version", "value", None, quoted(found), allowed)
}

/// What dpkg trims around a version, and refuses inside.
fn is_blank(b: u8) -> bool {
    b == b' ' || b == b'\t'
}

fn trim(mut text: &[u8]) -> &[u8] {
    while let Some((first, rest)) = text.split_first()
        && is_blank(*first)
    {
        text = rest;
    }
    while let Some((last, rest)) = text.split_last()
        && is_blank(*last)
    {
        text = rest;
    }
    text
}

/// A version in its three parts.
#[derive(Clone, Copy)]
struct Parts<'a> {
    has_epoch: bool,
    /// Digits without leading zeros.
    epoch: &'a [u8],
    upstream: &'a [u8],
    revision: &'a [u8],
}

impl<'a> Parts<'a> {
    fn of(version: &'a str) -> Self {
        let text = trim(version.as_bytes());
        let cut = memchr::memchr(b':', text).and_then(|at| text.split_at_checked(at));
        let (epoch, rest) = match cut.map(|(before, after)| (digits(before), after)) {
            Some((Some(epoch), after)) => (Some(epoch), after.strip_prefix(b":").unwrap_or(after)),
            _ => (None, text),
        };
        let (upstream, revision) = match memchr::memrchr(b'-', rest).and_then(|at| rest.split_at_checked(at))
        {
            Some((upstream, after)) => (upstream, after.strip_prefix(b"-").unwrap_or(after)),
            None => (rest, [].as_slice()),
        };
        Parts { has_epoch: epoch.is_some(), epoch: epoch.unwrap_or_default(), upstream, revision }
    }
}

/// The digits of a number without leading zeros, if that is what it is. A plus sign and white space before
/// it are skipped, as strtol(3) does.
fn digits(text: &[u8]) -> Option<&[u8]> {
    let start = text.iter().position(|b| !matches!(b, 0x0a..=0x0d))?;
    let text = text.get(start..)?;
    let text = text.strip_prefix(b"+").unwrap_or(text);
    (!text.is_empty() && text.iter().all(u8::is_ascii_digit)).then(|| without_zeros(text))
}

fn without_zeros(text: &[u8]) -> &[u8] {
    let zeros = text.iter().take_while(|b| **b == b'0').count();
    text.get(zeros..).unwrap_or_default()
}

/// Compares digits without leading zeros as numbers.
fn number(a: &[u8], b: &[u8]) -> Ordering {
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

/// Compares upstream versions or revisions.
fn part(mut a: &[u8], mut b: &[u8]) -> Ordering {
    while !a.is_empty() || !b.is_empty() {
        let (text_a, rest_a) = split(a, |b| !b.is_ascii_digit());
        let (text_b, rest_b) = split(b, |b| !b.is_ascii_digit());
        let (digits_a, next_a) = split(rest_a, u8::is_ascii_digit);
        let (digits_b, next_b) = split(rest_b, u8::is_ascii_digit);
        let order =
            text(text_a, text_b).then_with(|| number(without_zeros(digits_a), without_zeros(digits_b)));
        if order.is_ne() {
            return order;
        }
        (a, b) = (next_a, next_b);
    }
    Ordering::Equal
}

/// The longest start of which every byte is wanted, and the rest.
fn split(text: &[u8], wanted: impl Fn(&u8) -> bool) -> (&[u8], &[u8]) {
    let len = text.iter().take_while(|b| wanted(b)).count();
    text.split_at_checked(len).unwrap_or((text, &[]))
}

/// Compares the parts that are not digits; the end weighs as much as a digit.
fn text(a: &[u8], b: &[u8]) -> Ordering {
    let mut b = b.iter();
    for a in a {
        let order = weight(Some(a)).cmp(&weight(b.next()));
        if order.is_ne() {
            return order;
        }
    }
    match b.next() {
        Some(more) => weight(None).cmp(&weight(Some(more))),
        None => Ordering::Equal,
    }
}

/// dpkg adds 256 to signs that are no letters; its `char` is signed, so bytes from 0x80 on end up between.
fn weight(sign: Option<&u8>) -> i32 {
    match sign {
        None => 0,
        Some(b'~') => -1,
        Some(b) if b.is_ascii_alphabetic() || !b.is_ascii() => i32::from(*b),
        Some(b) => i32::from(*b).saturating_add(256),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::is_total;
    use super::*;

    #[test]
    fn the_order_is_dpkgs() {
        use Ordering::{Equal, Less};
        for (a, b, want) in [
            ("1.0~rc1", "1.0", Less),
            ("1.0~~", "1.0~", Less),
            ("1.0", "1.0-0", Equal),
            ("1.0", "1.0-00", Equal),
            ("1.0-1", "1.0-1+b1", Less),
            ("0:1", "1", Equal),
            ("9", "1:0", Less),
            ("1.09", "1.9", Equal),
            ("1.2a", "1.2+", Less),
            ("7.88.1-10+deb12u9", "7.88.1-10+deb12u11", Less),
            ("99999999999999999999998", "99999999999999999999999", Less),
            ("1-2-3", "1-2-4", Less),
            ("", "~", Less),
            ("", "", Equal),
            ("a", "é", Less),
            ("é", ".", Less),
        ] {
            assert_eq!(compare(a, b), want, "{a} against {b}");
            assert_eq!(compare(b, a), want.reverse(), "{b} against {a}");
        }
    }

    #[test]
    fn versions_are_checked_as_dpkg_checks_them() {
        for good in ["1", "0:1", "+1:2", "2147483647:1", "1:2:3", "1--2", "a1", " 1 ", "1.2~rc1+x-3.4~5+b6"] {
            assert!(check(good).is_ok(), "{good}");
        }
        for unreadable in
            ["", " ", "1-", ":1", "1:", "x:1", "-1:2", "0x1:2", "2147483648:1", "1:-1", "1 2", "-1"]
        {
            assert!(check_readable(unreadable).is_err() && check(unreadable).is_err(), "{unreadable}");
        }
        for doubtful in ["1_2", "1-2_3", "1.é", "1\n"] {
            assert!(check_readable(doubtful).is_ok() && check(doubtful).is_err(), "{doubtful}");
        }
    }

    fn version() -> impl Strategy<Value = String> {
        prop_oneof![
            "[0-2]?:?[0-9a-cA-B.+~-]{0,8}",
            "([0-1]:)?[0-1~a.]{1,4}(-[0-1~a.]{0,3})?",
            any::<String>()
        ]
    }

    proptest! {
        #[test]
        fn the_order_is_total(a in version(), b in version(), c in version()) {
            is_total(compare, [&a, &b, &c])?;
        }
    }
}
