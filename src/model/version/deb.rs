//! The order of Debian versions.
use std::cmp::Ordering;

/// Compares two Debian versions.
#[must_use]
pub fn compare(a: &str, b: &str) -> Ordering {
    a.cmp(b)
}
