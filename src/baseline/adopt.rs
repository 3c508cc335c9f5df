//! The adopted version: what at least the adoption share of the hosts that carry a package run, or something
//! newer.

use std::collections::BTreeSet;

use super::{BaselinePackage, HostId, HostVersion, is_backport};

/// What production has adopted of one package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adopted<'a> {
    /// The version.
    pub version: &'a HostVersion,
    /// Hosts that carry the package.
    pub carrying: usize,
    /// Hosts that run this version or a newer one.
    pub running: usize,
}

/// The newest version that at least `share` of the hosts that carry the package run, or something newer.
/// Only hosts of one channel are counted: those with backports if `backport`, else those without. `None` if no
/// host carries it from that channel.
#[must_use]
pub fn adopt(package: &BaselinePackage, share: f64, backport: bool) -> Option<Adopted<'_>> {
    let of_kind = |v: &&HostVersion| is_backport(&v.source_version) == backport;
    let versions: Vec<&HostVersion> = package.versions.iter().filter(of_kind).collect();
    let carrying = versions.iter().flat_map(|v| &v.hosts).collect::<BTreeSet<&HostId>>().len();
    let mut running: BTreeSet<&HostId> = BTreeSet::new();
    for version in versions {
        running.extend(&version.hosts);
        if is_share(running.len(), carrying, share) {
            return Some(Adopted { version, carrying, running: running.len() });
        }
    }
    None
}

/// Whether `part` of `whole` hosts is at least the share; never of none.
fn is_share(part: usize, whole: usize, share: f64) -> bool {
    let exact = |n: usize| u32::try_from(n).map_or(f64::MAX, f64::from);
    part > 0 && exact(part) >= exact(whole) * share - 1e-9
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Ecosystem;

    fn package(versions: &[(&str, usize)]) -> BaselinePackage {
        let mut next = 0;
        let mut hosts = |n: usize| {
            next += n;
            (next - n..next).map(|i| HostId::of(&i.to_string())).collect()
        };
        BaselinePackage {
            ecosystem: Ecosystem::Deb,
            name: "openssl".into(),
            arch: "amd64".into(),
            slot: None,
            source: "openssl".into(),
            versions: versions
                .iter()
                .map(|(version, n)| HostVersion {
                    version: (*version).into(),
                    source_version: (*version).into(),
                    name: None,
                    built_using: Vec::new(),
                    hosts: hosts(*n),
                })
                .collect(),
        }
    }

    #[test]
    fn the_share_runs_it_or_something_newer() {
        for (versions, share, backport, want) in [
            (&[("3", 1), ("2", 1), ("1", 2)][..], 0.5, false, Some(("2", 4, 2))),
            (&[("3", 1), ("2", 1), ("1", 3)], 0.5, false, Some(("1", 5, 5))),
            (&[("3", 1), ("2", 1), ("1", 3)], 0.2, false, Some(("3", 5, 1))),
            (&[("3", 1), ("2", 9)], 1.0, false, Some(("2", 10, 10))),
            (&[("3", 3)], 0.5, false, Some(("3", 3, 3))),
            (&[("2~bpo12+1", 3), ("1", 2)], 0.5, false, Some(("1", 2, 2))),
            (&[("2~bpo12+1", 3), ("1", 2)], 0.5, true, Some(("2~bpo12+1", 3, 3))),
            (&[("2~bpo12+1", 3)], 0.5, false, None),
            (&[("1", 3)], 0.5, true, None),
            (&[], 0.5, false, None),
        ] {
            let package = package(versions);
            let got = adopt(&package, share, backport);
            let got = got.as_ref().map(|a| (a.version.version.as_str(), a.carrying, a.running));
            assert_eq!(got, want, "{versions:?} {share}");
        }
    }
}
