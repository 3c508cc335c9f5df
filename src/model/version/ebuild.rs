//! The order of Gentoo's versions (Package Manager Specification, 3.2 and 3.3).
//!
//! A version is numbers with dots between, a letter, suffixes (`_alpha` `_beta` `_pre` `_rc` `_p`, each with a number),
//! and a revision: `1.2.3b_rc4-r5`. The first numbers compare as numbers; the others too, unless one of the two
//! starts with a zero: then both compare as text without the zeros at their end. More numbers are later. Then come
//! the letter, none before any; the suffixes, none between `_rc` and `_p`; and the revision.
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

/// The suffixes in their order; what has none is between the last two.
const SUFFIXES: [&str; 5] = ["alpha", "beta", "pre", "rc", "p"];
const NO_SUFFIX: u8 = 4;

/// Compares two versions. Total on any text: what is no version comes before all versions, in the order of bytes.
#[must_use]
pub fn compare(a: &str, b: &str) -> Ordering {
    match (Version::of(a), Version::of(b)) {
        (Some(a), Some(b)) => a.compare(&b),
        (None, None) => a.cmp(b),
        (a, b) => a.is_some().cmp(&b.is_some()),
    }
}

/// Whether a text is a version.
///
/// # Errors
/// `Malformed` if it is not.
pub fn check(version: &str) -> Result<()> {
    match Version::of(version) {
        Some(_) => Ok(()),
        None => {
            let allowed = "numbers with dots between, a letter, suffixes, a revision";
            Err(Error::malformed("ebuild version", "value", None, quoted(version), allowed))
        }
    }
}

/// The name and the version in `NAME-VERSION`: what is before and after the first dash behind which a version
/// stands.
#[must_use]
pub fn split(text: &str) -> Option<(&str, &str)> {
    let mut dashes = text.match_indices('-').map(|(at, _)| text.split_at(at));
    dashes.find_map(|(name, rest)| {
        let version = rest.strip_prefix('-')?;
        (!name.is_empty() && Version::of(version).is_some()).then_some((name, version))
    })
}

struct Version<'a> {
    numbers: Vec<&'a str>,
    letter: Option<u8>,
    /// Rank and number of each suffix.
    suffixes: Vec<(u8, &'a str)>,
    revision: &'a str,
}

impl<'a> Version<'a> {
    fn of(text: &'a str) -> Option<Self> {
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let (text, revision) = match text.rsplit_once("-r") {
            Some((text, revision)) => (text, Some(revision).filter(|revision| is_number(revision))?),
            None => (text, ""),
        };
        let mut parts = text.split('_');
        let (numbers, letter) = match parts.next()? {
            head if head.ends_with(|c: char| c.is_ascii_lowercase()) => {
                let at = head.len().checked_sub(1)?;
                (head.get(..at)?, head.as_bytes().last().copied())
            }
            head => (head, None),
        };
        let numbers: Vec<&str> = numbers.split('.').collect();
        if !numbers.iter().all(|number| is_number(number)) {
            return None;
        }
        let suffix = |part: &'a str| {
            let word = part.trim_end_matches(|c: char| c.is_ascii_digit());
            let rank = u8::try_from(SUFFIXES.iter().position(|suffix| *suffix == word)?).ok()?;
            let rank = if rank >= NO_SUFFIX { rank.saturating_add(1) } else { rank };
            Some((rank, part.get(word.len()..)?))
        };
        Some(Version { numbers, letter, suffixes: parts.map(suffix).collect::<Option<_>>()?, revision })
    }

    fn compare(&self, other: &Self) -> Ordering {
        let first = |version: &Self| version.numbers.first().copied().unwrap_or_default().to_owned();
        let rest = self.numbers.iter().zip(&other.numbers).skip(1);
        number(&first(self), &first(other))
            .then_with(|| rest.map(|(a, b)| component(a, b)).find(|o| o.is_ne()).unwrap_or(Ordering::Equal))
            .then_with(|| self.numbers.len().cmp(&other.numbers.len()))
            .then_with(|| self.letter.cmp(&other.letter))
            .then_with(|| self.compare_suffixes(other))
            .then_with(|| number(self.revision, other.revision))
    }

    fn compare_suffixes(&self, other: &Self) -> Ordering {
        let len = self.suffixes.len().max(other.suffixes.len());
        let suffix = |version: &Self, at| version.suffixes.get(at).copied().unwrap_or((NO_SUFFIX, ""));
        let orders = (0..len).map(|at| {
            let ((rank_a, a), (rank_b, b)) = (suffix(self, at), suffix(other, at));
            rank_a.cmp(&rank_b).then_with(|| number(a, b))
        });
        orders.into_iter().find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
    }
}

fn component(a: &str, b: &str) -> Ordering {
    if a.starts_with('0') || b.starts_with('0') {
        return a.trim_end_matches('0').cmp(b.trim_end_matches('0'));
    }
    number(a, b)
}

/// Digits as a number of any length; none is zero.
fn number(a: &str, b: &str) -> Ordering {
    let (a, b) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_as_the_specification_says() {
        for (a, order, b) in [
            ("1", "<", "2"),
            ("1.2", "<", "1.10"),
            ("1.02", "<", "1.1"),
            ("1.010", "=", "1.01"),
            ("1.0", "<", "1.00.1"),
            ("1", "<", "1.0"),
            ("01", "=", "1"),
            ("1.2", "<", "1.2a"),
            ("1.2a", "<", "1.2b"),
            ("1.2z", "<", "1.2.1"),
            ("1_alpha", "<", "1_beta"),
            ("1_beta2", "<", "1_pre1"),
            ("1_pre", "<", "1_rc"),
            ("1_rc99", "<", "1"),
            ("1", "<", "1_p"),
            ("1_p", "=", "1_p0"),
            ("1_p1", "<", "1_p1_p1"),
            ("1_p1_rc1", "<", "1_p1"),
            ("1_alpha_beta", "<", "1_alpha"),
            ("1", "=", "1-r0"),
            ("1-r1", "<", "1-r2"),
            ("1-r9", "<", "1-r10"),
            ("1-r99", "<", "1_p"),
            ("99999999999999999999", ">", "9999"),
            ("x", "<", "1_alpha"),
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

    #[test]
    fn names_are_told_from_versions() {
        for (text, want) in [
            ("bash-5.2_p37", Some(("bash", "5.2_p37"))),
            ("gtk+-2.24.33-r3", Some(("gtk+", "2.24.33-r3"))),
            ("font-adobe-100dpi-1.0.4", Some(("font-adobe-100dpi", "1.0.4"))),
            ("libfoo-1-r2", Some(("libfoo", "1-r2"))),
            ("foo-1a_rc2", Some(("foo", "1a_rc2"))),
            ("foo", None),
            ("foo-bar", None),
            ("foo-1-rx", None),
            ("-MERGING-foo-1", Some(("-MERGING-foo", "1"))),
        ] {
            assert_eq!(split(text), want, "{text}");
        }
        assert!(check("1.2.3b_rc4-r5").is_ok());
        for version in ["", "1.", ".1", "1_foo", "1-r", "1B", "a", "1ab", "1__p"] {
            assert!(check(version).is_err(), "{version}");
        }
    }
}
