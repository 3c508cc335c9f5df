//! Version orders, one ecosystem a file, each equal to its reference implementation.

use std::cmp::Ordering;

use super::Ecosystem;

pub mod alpm;
pub mod apk;
pub mod deb;
pub mod ebuild;
pub mod rpm;
pub mod xbps;

/// Compares two versions in the order of their ecosystem. Total on any text; two versions are equal exactly
/// if the reference implementation calls them equal. Of pacman's that holds for what packages have
/// ([`alpm::check`]): other texts have no total order there, and come before all versions in that of their bytes.
#[must_use]
pub fn compare(ecosystem: Ecosystem, a: &str, b: &str) -> Ordering {
    match ecosystem {
        Ecosystem::Deb => deb::compare(a, b),
        Ecosystem::Apk => apk::compare(a, b),
        Ecosystem::Rpm => rpm::compare(a, b),
        Ecosystem::Alpm => match (alpm::check(a).is_ok(), alpm::check(b).is_ok()) {
            (true, true) => alpm::compare(a, b),
            (false, false) => a.cmp(b),
            (a, b) => a.cmp(&b),
        },
        // libopkg took dpkg's comparison as it is.
        Ecosystem::Opkg => deb::compare(a, b),
        Ecosystem::Xbps => xbps::compare(a, b),
        Ecosystem::Ebuild => ebuild::compare(a, b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_pacman_have_a_total_order_whatever_they_are() {
        // In vercmp's order these go round in circles.
        let mut all = ["10-1", ".r-1", "..-1", "1", "1-1", "1-2", "", "9:1-1"];
        all.sort_by(|a, b| compare(Ecosystem::Alpm, a, b));
        assert_eq!(all, ["", "..-1", ".r-1", "1", "1-1", "1-2", "10-1", "9:1-1"]);
    }
}

#[cfg(test)]
mod testing {
    use std::cmp::Ordering;

    use proptest::prelude::*;

    /// Whether an order is reflexive, antisymmetric and transitive on three texts.
    pub(super) fn is_total(
        compare: fn(&str, &str) -> Ordering,
        [a, b, c]: [&str; 3],
    ) -> Result<(), TestCaseError> {
        prop_assert_eq!(compare(a, a), Ordering::Equal);
        prop_assert_eq!(compare(a, b), compare(b, a).reverse());
        let (ab, bc, ac) = (compare(a, b), compare(b, c), compare(a, c));
        if ab == bc {
            prop_assert_eq!(ac, ab);
        } else if ab.is_eq() {
            prop_assert_eq!(ac, bc);
        } else if bc.is_eq() {
            prop_assert_eq!(ac, ab);
        }
        Ok(())
    }
}
