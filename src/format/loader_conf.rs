//! systemd-boot's `loader/loader.conf`: loader.conf(5) of systemd 257, as far as it decides the default.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::indexing_slicing,
        clippy::unwrap_used
    )
)]

use crate::bytes::size_of_len;
use crate::error::Result;
use crate::limits::Limits;

/// The pattern of the default entry (`default`); `None` if it names none. The last counts.
///
/// # Errors
/// `Limit` for too many lines.
pub fn default(bytes: &[u8], limits: &Limits) -> Result<Option<String>> {
    let text = String::from_utf8_lossy(bytes);
    let mut default = None;
    for (index, line) in text.lines().enumerate() {
        limits.records.check(size_of_len(index).saturating_add(1))?;
        if let Some(("default", pattern)) = line.trim().split_once([' ', '\t']) {
            default = Some(pattern.trim().to_owned()).filter(|pattern| !pattern.is_empty());
        }
    }
    Ok(default)
}

/// Whether the name of an entry's file fits a pattern: `*`, `?` and `[…]`, without regard to case.
#[must_use]
pub fn fits(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.to_lowercase().chars().collect();
    let name: Vec<char> = name.to_lowercase().chars().collect();
    let (mut pattern, mut name) = (pattern.as_slice(), name.as_slice());
    // Where the last star stood, and what it has not eaten yet.
    let mut star: Option<(&[char], &[char])> = None;
    loop {
        if let Some(('*', rest)) = pattern.split_first().map(|(first, rest)| (*first, rest)) {
            star = Some((rest, name));
            pattern = rest;
            continue;
        }
        let Some((next, after)) = name.split_first() else {
            return pattern.is_empty();
        };
        match one(pattern, *next) {
            Some(rest) => (pattern, name) = (rest, after),
            None => {
                let Some((behind, eaten)) = star else { return false };
                let Some((_, left)) = eaten.split_first() else { return false };
                star = Some((behind, left));
                (pattern, name) = (behind, left);
            }
        }
    }
}

/// What of a pattern is left once it took this character; `None` if it does not.
fn one(pattern: &[char], next: char) -> Option<&[char]> {
    let (first, rest) = pattern.split_first()?;
    match first {
        '?' => Some(rest),
        '\\' => rest.split_first().filter(|(escaped, _)| **escaped == next).map(|(_, rest)| rest),
        '[' => {
            let end = rest.iter().skip(1).position(|c| *c == ']')?.saturating_add(1);
            let (set, rest) = rest.split_at_checked(end)?;
            let (set, is_not) = match set.split_first() {
                Some(('!' | '^', set)) => (set, true),
                _ => (set, false),
            };
            (in_set(set, next) != is_not).then_some(rest.get(1..).unwrap_or_default())
        }
        other => (*other == next).then_some(rest),
    }
}

fn in_set(set: &[char], next: char) -> bool {
    let mut rest = set;
    while let Some((first, after)) = rest.split_first() {
        if let ['-', last, ..] = after {
            if (*first..=*last).contains(&next) {
                return true;
            }
            rest = after.get(2..).unwrap_or_default();
        } else {
            if *first == next {
                return true;
            }
            rest = after;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_a_pattern() {
        let read = |text: &str| default(text.as_bytes(), &Limits::default()).unwrap();
        assert_eq!(
            read("#default a\ntimeout 3\ndefault  4098b3*\nconsole-mode keep\n").as_deref(),
            Some("4098b3*")
        );
        assert_eq!(read("timeout 3\n"), None);
        for (pattern, name, want) in [
            ("arch.conf", "arch.conf", true),
            ("Arch*", "arch-lts.conf", true),
            ("*-6.1*", "debian-6.1.0-50-amd64.conf", true),
            ("a?c", "abc", true),
            ("a[b-d]c", "acc", true),
            ("a[!b]c", "abc", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("[", "x", false),
            ("", "x", false),
            ("*", "", true),
        ] {
            assert_eq!(fits(pattern, name), want, "{pattern} {name}");
        }
        assert!(!fits(&"*a".repeat(200), &"a".repeat(150)));
    }
}
