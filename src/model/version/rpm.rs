//! The order of rpm versions, as rpm's own `rpmvercmp` and `rpmVersionCompare` have it (rpm-version(7)).
//!
//! A version is `[epoch:]version[-release]`. Epochs compare as numbers, one that is not there being 0; version
//! and release compare segment by segment: digits as a number, letters as bytes, a number above letters, all
//! other signs only separate. `~` comes before everything, even the end; `^` comes behind the end and before
//! everything else.
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

/// A version in its three parts, which it borrows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Evr<'a> {
    /// The epoch's digits; `None` if it has none, which compares as 0.
    pub epoch: Option<&'a str>,
    /// The upstream version.
    pub version: &'a str,
    /// What is behind the last hyphen; `None` if there is none, which is below any.
    pub release: Option<&'a str>,
}

impl<'a> Evr<'a> {
    /// Takes a version apart. Any text has parts: what stands before a colon is an epoch only if it is digits
    /// (none at all count as 0).
    #[must_use]
    pub fn of(text: &'a str) -> Self {
        let (epoch, rest) = match text.split_once(':') {
            Some((epoch, rest)) if epoch.bytes().all(|b| b.is_ascii_digit()) => (Some(epoch), rest),
            _ => (None, text),
        };
        let (version, release) = match rest.rsplit_once('-') {
            Some((version, release)) => (version, Some(release)),
            None => (rest, None),
        };
        Evr { epoch, version, release }
    }
}

/// Compares two versions as rpm does. Total on any text.
#[must_use]
pub fn compare(a: &str, b: &str) -> Ordering {
    let (a, b) = (Evr::of(a), Evr::of(b));
    number(a.epoch.unwrap_or_default().as_bytes(), b.epoch.unwrap_or_default().as_bytes())
        .then_with(|| segments(a.version, b.version))
        .then_with(|| match (a.release, b.release) {
            (Some(a), Some(b)) => segments(a, b),
            (a, b) => a.is_some().cmp(&b.is_some()),
        })
}

/// A version without its epoch: `8.0-2` of `1:8.0-2`.
#[must_use]
pub fn without_epoch(text: &str) -> &str {
    let evr = Evr::of(text);
    match evr.epoch {
        Some(epoch) => text.get(epoch.len()..).and_then(|rest| rest.strip_prefix(':')).unwrap_or(text),
        None => text,
    }
}

/// Digits as a number of any length.
fn number(a: &[u8], b: &[u8]) -> Ordering {
    let (_, a) = run_of(a, |b| *b == b'0');
    let (_, b) = run_of(b, |b| *b == b'0');
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

/// `rpmvercmp`: versions, or releases, against each other.
fn segments(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    loop {
        (a, b) = (behind_separators(a), behind_separators(b));
        match (a.split_first(), b.split_first()) {
            (Some((b'~', rest_a)), Some((b'~', rest_b))) | (Some((b'^', rest_a)), Some((b'^', rest_b))) => {
                (a, b) = (rest_a, rest_b);
            }
            (Some((b'~', _)), _) => return Ordering::Less,
            (_, Some((b'~', _))) => return Ordering::Greater,
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some((b'^', _)), _) => return Ordering::Less,
            (_, Some((b'^', _))) => return Ordering::Greater,
            (Some((first, _)), Some((other, _))) => {
                let order = match (first.is_ascii_digit(), other.is_ascii_digit()) {
                    (true, true) => {
                        let (ours, rest_a) = run_of(a, u8::is_ascii_digit);
                        let (theirs, rest_b) = run_of(b, u8::is_ascii_digit);
                        (a, b) = (rest_a, rest_b);
                        number(ours, theirs)
                    }
                    (false, false) => {
                        let (ours, rest_a) = run_of(a, u8::is_ascii_alphabetic);
                        let (theirs, rest_b) = run_of(b, u8::is_ascii_alphabetic);
                        (a, b) = (rest_a, rest_b);
                        ours.cmp(theirs)
                    }
                    (is_number, _) => is_number.cmp(&!is_number),
                };
                if order.is_ne() {
                    return order;
                }
            }
        }
    }
}

fn behind_separators(text: &[u8]) -> &[u8] {
    run_of(text, |b| !b.is_ascii_alphanumeric() && *b != b'~' && *b != b'^').1
}

/// The longest start of which every byte is wanted, and the rest.
fn run_of(text: &[u8], wanted: impl Fn(&u8) -> bool) -> (&[u8], &[u8]) {
    let len = text.iter().take_while(|b| wanted(b)).count();
    text.split_at_checked(len).unwrap_or((text, &[]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::is_total;
    use super::*;

    #[test]
    fn the_order_is_rpms() {
        use Ordering::{Equal, Less};
        for (a, b, want) in [
            ("1.0~rc1", "1.0", Less),
            ("1.0", "1.0^git1", Less),
            ("1.0^git1", "1.0.1", Less),
            ("1.0^git1~pre", "1.0^git1", Less),
            ("1.0", "1.00", Equal),
            ("1.0", "1_0", Equal),
            ("1.0", "1.0.", Equal),
            ("1.a", "1.1", Less),
            ("1.0a", "1.0", Ordering::Greater),
            ("9-1", "1:0-1", Less),
            ("0:1-1", "1-1", Equal),
            (":1-1", "1-1", Equal),
            ("1", "1-0", Less),
            ("5.14.0-427.13.1.el9_4", "5.14.0-427.16.1.el9_4", Less),
            ("3.0.7-27.el9", "3.0.7-28.el9_4", Less),
            ("99999999999999999999998", "99999999999999999999999", Less),
            ("1.é", "1.è", Equal),
            ("a:1", "a:2", Less),
            ("", "0", Less),
        ] {
            assert_eq!(compare(a, b), want, "{a} against {b}");
            assert_eq!(compare(b, a), want.reverse(), "{b} against {a}");
        }
    }

    #[test]
    fn epochs_are_taken_off() {
        for (text, want) in [("1:8.0-2", "8.0-2"), ("8.0-2", "8.0-2"), (":8.0", "8.0"), ("a:8", "a:8")] {
            assert_eq!(without_epoch(text), want, "{text}");
        }
    }

    fn version() -> impl Strategy<Value = String> {
        prop_oneof![
            "[0-2]?:?[0-9a-cA-B.+~^_-]{0,8}",
            "([0-1]:)?[0-1~^a.]{1,4}(-[0-1~^a.]{0,3})?",
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
