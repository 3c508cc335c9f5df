//! Version orders, one ecosystem a file, each equal to its reference implementation.

use std::cmp::Ordering;

use super::Ecosystem;

pub mod alpm;
pub mod apk;
pub mod deb;
pub mod rpm;

/// Compares two versions in the order of their ecosystem. Total on any text; two versions are equal exactly
/// if the reference implementation calls them equal.
#[must_use]
pub fn compare(ecosystem: Ecosystem, a: &str, b: &str) -> Ordering {
    match ecosystem {
        Ecosystem::Deb => deb::compare(a, b),
        Ecosystem::Apk => apk::compare(a, b),
        Ecosystem::Rpm => rpm::compare(a, b),
    }
}
