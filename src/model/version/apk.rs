//! The order of Alpine versions, as `apk version -t` of apk-tools 3 has it (apk-package(5)).
//!
//! A version is `number{.number}…{letter}{_suffix{number}}…{~hash}{-rNUMBER}`; behind the letter may stand a
//! number, which apk-tools 2 took (`3.3.3p1-r3` of Alpine 3.14) and 3 does not. Two versions are compared part
//! by part up to the first that differs, in kind or in value:
//!
//! | part | against its like | where the other version has another part or none |
//! |---|---|---|
//! | `_alpha` `_beta` `_pre` `_rc` | in this order | before everything, even the end |
//! | something that does not belong there | equal, and nothing after it is looked at | before the end |
//! | the end | equal | |
//! | `-r1` | as number | after the end |
//! | `~1a2b` | as text | after that |
//! | number of a suffix | as number | after that |
//! | `_cvs` `_svn` `_git` `_hg` `_p` | in this order | after that |
//! | letter | as letter | after that |
//! | `.number` | as number; as text if one of the two starts with 0 | after everything |
//! | number of a letter | as number | after everything |
//!
//! Numbers have any length, where apk-tools stops at 64 bits. Where the two generations of apk-tools differ,
//! the newer counts: in 2, `8.2.0015` comes after `8.2.002` and `1.0_rc1` after `1.0` (but `1.1_rc1` before
//! `1.1`), and texts that are no versions are ordered otherwise (`1.2A` after `1.2`). [`check`] tells what is a
//! version.
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

/// Compares two versions as apk does. Total on any text: from the first sign on that does not belong there, the
/// text says nothing, so two texts that go wrong in the same place after the same beginning are equal.
#[must_use]
pub fn compare(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (Parts::of(a), Parts::of(b));
    loop {
        let (x, y) = (a.next_part(), b.next_part());
        let order = x.rank().cmp(&y.rank()).then_with(|| x.value(&y));
        if order.is_ne() || matches!(x, Part::End | Part::Invalid) {
            return order;
        }
    }
}

/// Whether apk takes this text as a version.
///
/// # Errors
/// `Malformed` if it does not.
pub fn check(version: &str) -> Result<()> {
    let mut parts = Parts::of(version);
    loop {
        match parts.next_part() {
            Part::End => return Ok(()),
            Part::Invalid => {
                let allowed = "number{.number}…{letter{number}}{_suffix{number}}…{~hash}{-rNUMBER}";
                return Err(Error::malformed("apk version", "value", None, quoted(version), allowed));
            }
            _ => {}
        }
    }
}

/// One part of a version; numbers are digits as written.
#[derive(Debug, Clone, Copy)]
enum Part<'a> {
    First(&'a [u8]),
    Number(&'a [u8]),
    Letter(u8),
    LetterNumber(&'a [u8]),
    /// Below 0 what comes before a release.
    Suffix(i8),
    SuffixNumber(&'a [u8]),
    Hash(&'a [u8]),
    Revision(&'a [u8]),
    End,
    Invalid,
}

const SUFFIXES: [(&[u8], i8); 9] = [
    (b"alpha", -4),
    (b"beta", -3),
    (b"pre", -2),
    (b"rc", -1),
    (b"cvs", 1),
    (b"svn", 2),
    (b"git", 3),
    (b"hg", 4),
    (b"p", 5),
];

impl Part<'_> {
    /// Where it stands among parts of other kinds.
    fn rank(self) -> u8 {
        match self {
            Part::Suffix(..0) => 0,
            Part::Invalid => 1,
            Part::End => 2,
            Part::Revision(_) => 3,
            Part::Hash(_) => 4,
            Part::SuffixNumber(_) => 5,
            Part::Suffix(_) => 6,
            Part::Letter(_) => 7,
            Part::Number(_) | Part::LetterNumber(_) => 8,
            Part::First(_) => 9,
        }
    }

    /// Its order against a part of its kind.
    fn value(self, other: &Part<'_>) -> Ordering {
        match (self, *other) {
            (Part::Number(a), Part::Number(b)) if a.starts_with(b"0") || b.starts_with(b"0") => a.cmp(b),
            (Part::First(a), Part::First(b))
            | (Part::Number(a), Part::Number(b))
            | (Part::LetterNumber(a), Part::LetterNumber(b))
            | (Part::SuffixNumber(a), Part::SuffixNumber(b))
            | (Part::Revision(a), Part::Revision(b)) => number(a, b),
            (Part::Letter(a), Part::Letter(b)) => a.cmp(&b),
            (Part::Suffix(a), Part::Suffix(b)) => a.cmp(&b),
            (Part::Hash(a), Part::Hash(b)) => a.cmp(b),
            _ => Ordering::Equal,
        }
    }

    /// How far through a version it stands: numbers, letter, suffix and its number, hash, revision, end.
    fn stage(self) -> u8 {
        match self {
            Part::First(_) | Part::Number(_) | Part::LetterNumber(_) => 1,
            Part::Letter(_) => 2,
            Part::Suffix(_) => 3,
            Part::SuffixNumber(_) => 4,
            Part::Hash(_) => 5,
            Part::Revision(_) => 6,
            Part::End | Part::Invalid => 7,
        }
    }
}

/// Compares digits as numbers.
fn number(a: &[u8], b: &[u8]) -> Ordering {
    let bare = |text: &[u8]| text.iter().take_while(|b| **b == b'0').count();
    let (a, b) = (a.get(bare(a)..).unwrap_or_default(), b.get(bare(b)..).unwrap_or_default());
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

/// Takes a version apart, from left to right.
struct Parts<'a> {
    rest: &'a [u8],
    last: Option<Part<'a>>,
}

impl<'a> Parts<'a> {
    fn of(version: &'a str) -> Self {
        Parts { rest: version.as_bytes(), last: None }
    }

    fn next_part(&mut self) -> Part<'a> {
        let part = self.read().unwrap_or(Part::Invalid);
        self.last = Some(part);
        part
    }

    /// The next part; `None` for what does not belong there.
    fn read(&mut self) -> Option<Part<'a>> {
        let Some(last) = self.last else { return self.digits().map(Part::First) };
        let Some((sign, after)) = self.rest.split_first() else { return Some(Part::End) };
        let stage = last.stage();
        match sign {
            b'a'..=b'z' if stage <= 1 => {
                self.rest = after;
                Some(Part::Letter(*sign))
            }
            b'.' if stage <= 1 => {
                self.rest = after;
                self.digits().map(Part::Number)
            }
            b'0'..=b'9' if matches!(last, Part::Letter(_)) => self.digits().map(Part::LetterNumber),
            b'0'..=b'9' if matches!(last, Part::Suffix(_)) => self.digits().map(Part::SuffixNumber),
            b'_' if stage <= 4 => {
                self.rest = after;
                let name = self.run(u8::is_ascii_lowercase);
                SUFFIXES.iter().find(|(known, _)| *known == name).map(|(_, value)| Part::Suffix(*value))
            }
            b'~' if stage <= 4 => {
                self.rest = after;
                let hash = self.run(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
                (!hash.is_empty()).then_some(Part::Hash(hash))
            }
            b'-' if stage <= 5 => {
                self.rest = after.strip_prefix(b"r")?;
                self.digits().map(Part::Revision)
            }
            _ => None,
        }
    }

    fn digits(&mut self) -> Option<&'a [u8]> {
        Some(self.run(u8::is_ascii_digit)).filter(|digits| !digits.is_empty())
    }

    /// Takes the longest start of which every byte is wanted.
    fn run(&mut self, wanted: impl Fn(&u8) -> bool) -> &'a [u8] {
        let len = self.rest.iter().take_while(|b| wanted(b)).count();
        let (start, rest) = self.rest.split_at_checked(len).unwrap_or((self.rest, &[]));
        self.rest = rest;
        start
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::is_total;
    use super::*;

    #[test]
    fn the_order_is_apks() {
        use Ordering::{Equal, Less};
        for (a, b, want) in [
            ("1.0_alpha", "1.0_beta1", Less),
            ("1.0_rc1", "1.0", Less),
            ("1.0_rc1-r5", "1.0-r0", Less),
            ("1.0_rc", "1.0_rc1", Less),
            ("1.0", "1.0_git20230101", Less),
            ("1.0_git20230101", "1.0a", Less),
            ("1.0a", "1.0.1", Less),
            ("1.0-r9", "1.0-r10", Less),
            ("1.0-r1", "1.0-r01", Equal),
            ("1", "01", Equal),
            ("1.1", "1.01", Less.reverse()),
            ("8.2.0015", "8.2.002", Less),
            ("1.0~1234-r1", "1.0~2345-r0", Less),
            ("1.0-r5", "1.0~1234-r0", Less),
            ("99999999999999999999998", "99999999999999999999999", Less),
            ("1.0_alpha_pre2", "1.0_alpha", Less),
            ("3.3.3p1-r2", "3.3.3p1-r3", Less),
            ("6.6.2p9", "6.6.2p10", Less),
            ("6.6.2p", "6.6.2p1", Less),
            ("6.6.2_p1", "6.6.2p1", Less),
            ("1.0", "1.0A", Less.reverse()),
            ("1.0A", "1.0B", Equal),
            ("", "1", Less),
            ("", "é", Equal),
        ] {
            assert_eq!(compare(a, b), want, "{a} against {b}");
            assert_eq!(compare(b, a), want.reverse(), "{b} against {a}");
        }
    }

    #[test]
    fn versions_are_checked_as_apk_checks_them() {
        for good in [
            "1",
            "1.2.3-r0",
            "2.12r-r4",
            "1.0_pre2_git20240101~ab12-r3",
            "20231129.123456",
            "0.1_p1",
            "3.3.3p1-r3",
        ] {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in [
            "", "a", "1.", "1..2", ".1", "1-r", "1-r0-1", "1-1", "1.0bc", "1.0a.1", "1.0A", "1_foo", "1_",
            "1~", "1~xyz", "1-r1~ab", "1-r1_p1", "1.0+git", "1:2", "1 ",
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }

    fn version() -> impl Strategy<Value = String> {
        prop_oneof![
            "[0-9]{1,2}(\\.[0-2]{1,2}){0,2}([ab][0-2]?)?(_(alpha|rc|git|p)[0-9]?){0,2}(~[0-1a]{1,2})?(-r[0-9]{1,2})?",
            "[0-2a._~r-]{0,6}",
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
