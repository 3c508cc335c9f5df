//! Version orders, one ecosystem a file, each equal to its reference implementation.

use std::cmp::Ordering;

use super::Ecosystem;

pub mod alpm;
pub mod apk;
pub mod deb;
pub mod ebuild;
pub mod rpm;
pub mod xbps;

/// Compares two versions in the order of their ecosystem; two versions are equal exactly if the reference
/// implementation calls them equal. Total on any text, except for pacman's, of which only versions that
/// [`alpm::check`] takes have a total order.
#[must_use]
pub fn compare(ecosystem: Ecosystem, a: &str, b: &str) -> Ordering {
    match ecosystem {
        Ecosystem::Deb => deb::compare(a, b),
        Ecosystem::Apk => apk::compare(a, b),
        Ecosystem::Rpm => rpm::compare(a, b),
        Ecosystem::Alpm => alpm::compare(a, b),
        // libopkg took dpkg's comparison as it is.
        Ecosystem::Opkg => deb::compare(a, b),
        Ecosystem::Xbps => xbps::compare(a, b),
        Ecosystem::Ebuild => ebuild::compare(a, b),
    }
}
