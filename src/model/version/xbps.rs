//! The order of Void Linux' versions, as `xbps-uhelper cmpver` has it (`xbps_cmpver`).
//!
//! A version is read into numbers, and these compare one by one, a missing one as zero; at last the revision (the
//! number behind the last underline) counts:
//!
//! | in the text | is |
//! |---|---|
//! | digits | that number |
//! | `alpha` `beta` `pre` `rc` in any case | -3, -2, -1, -1 |
//! | `.` `pl` | 0 |
//! | another letter, in any case | 0, and its place in the alphabet |
//! | `_` and digits | the revision |
//! | anything else | nothing |
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

const WORDS: [(&[u8], i128); 6] =
    [(b"alpha", -3), (b"beta", -2), (b"pre", -1), (b"rc", -1), (b"pl", 0), (b".", 0)];

/// Compares two versions as xbps does. Total on any text; numbers that xbps could not hold are compared as far as
/// 127 bits hold them.
#[must_use]
pub fn compare(a: &str, b: &str) -> Ordering {
    read(a.as_bytes()).cmp(&read(b.as_bytes()))
}

/// The numbers, without zeros at their end, which count as nothing; and the revision.
fn read(mut text: &[u8]) -> (Numbers, i128) {
    let mut numbers = Vec::new();
    let mut revision = 0;
    while let Some(first) = text.first() {
        let mut len = 1;
        if first.is_ascii_digit() {
            let (number, digits) = number(text);
            numbers.push(number);
            len = digits;
        } else if let Some((word, value)) = WORDS
            .iter()
            .find(|(word, _)| text.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word)))
        {
            numbers.push(*value);
            len = word.len();
        } else if *first == b'_' {
            let (number, digits) = number(text.get(1..).unwrap_or_default());
            revision = number;
            len = digits.saturating_add(1);
        } else if first.is_ascii_alphabetic() {
            numbers.push(0);
            numbers.push(i128::from(first.to_ascii_lowercase().saturating_sub(b'a')).saturating_add(1));
        }
        text = text.get(len..).unwrap_or_default();
    }
    while numbers.last() == Some(&0) {
        numbers.pop();
    }
    (Numbers(numbers), revision)
}

/// The number that digits at the start make, and how many they are.
fn number(text: &[u8]) -> (i128, usize) {
    let digits = text.iter().take_while(|b| b.is_ascii_digit());
    digits.fold((0, 0), |(number, count): (i128, usize), digit| {
        let digit = i128::from(digit.saturating_sub(b'0'));
        (number.saturating_mul(10).saturating_add(digit), count.saturating_add(1))
    })
}

#[derive(PartialEq, Eq)]
struct Numbers(Vec<i128>);

impl PartialOrd for Numbers {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Numbers {
    fn cmp(&self, other: &Self) -> Ordering {
        let len = self.0.len().max(other.0.len());
        let padded =
            |numbers: &[i128]| numbers.iter().copied().chain(std::iter::repeat(0)).take(len).collect();
        let (a, b): (Vec<i128>, Vec<i128>) = (padded(&self.0), padded(&other.0));
        a.cmp(&b)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_as_xbps_says() {
        for (a, order, b) in [
            ("1.0_1", "<", "1.0_2"),
            ("1.0_9", "<", "1.0.1_1"),
            ("1.0", "=", "1.0_0"),
            ("1.0", "=", "1"),
            ("1.0alpha1_1", "<", "1.0beta1_1"),
            ("1.0beta2_1", "<", "1.0rc1_1"),
            ("1.0rc1_1", "<", "1.0_1"),
            ("1.0pre1", "=", "1.0RC1"),
            ("1.0pl1_1", "=", "1.0.1_1"),
            ("1.0a_1", ">", "1.0_1"),
            ("1.0a", "<", "1.0b"),
            ("1.10", ">", "1.9"),
            ("2.0+1", "=", "2.0 1"),
            ("1.01", "=", "1.1"),
            ("", "=", "0"),
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
