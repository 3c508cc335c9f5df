//! Which package owns which file: the packages' file lists, with diversions, links and digests joined in.

use std::collections::BTreeMap;

use crate::model::ImagePath;

use super::super::Fact;
use super::super::fact::{Diversion, PackageName};
use super::super::squash::{Resolved, Squashed};
use super::facts;

/// The owner of each file, by the path that the file really has.
pub type Ownership = BTreeMap<ImagePath, Owned>;

/// A file's owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owned {
    /// The package.
    pub package: PackageName,
    /// The MD5 digest that the package shipped it with, where its list has one.
    pub md5: Option<[u8; 16]>,
}

/// Joins lists, diversions and digests.
pub(super) fn join(squashed: &Squashed) -> Ownership {
    let diversions: BTreeMap<&ImagePath, &Diversion> = facts(squashed)
        .filter_map(|(_, fact)| match fact {
            Fact::Diversions(list) => Some(list),
            _ => None,
        })
        .flatten()
        .map(|diversion| (&diversion.from, diversion))
        .collect();
    let kept = |package: &PackageName, path: &ImagePath| match diversions.get(path) {
        Some(d) if d.by.as_deref() != Some(package.name.as_str()) => real(squashed, &d.to),
        _ => real(squashed, path),
    };
    let mut owners = Ownership::new();
    for (_, fact) in facts(squashed) {
        if let Fact::Files { package, paths } = fact {
            for path in paths {
                let owned = Owned { package: package.clone(), md5: None };
                owners.entry(kept(package, path)).or_insert(owned);
            }
        }
    }
    for (_, fact) in facts(squashed) {
        if let Fact::Checksums { package, md5 } = fact {
            for (path, digest) in md5 {
                if let Some(owned) = owners.get_mut(&kept(package, path))
                    && owned.package == *package
                {
                    owned.md5 = Some(*digest);
                }
            }
        }
    }
    owners.retain(|path, _| !matches!(squashed.resolve(path), Resolved::Directory(_)));
    owners
}

/// The path that a listed file really has: links in its directory followed (merged /usr), the file itself not.
fn real(squashed: &Squashed, path: &ImagePath) -> ImagePath {
    match squashed.resolve(&path.parent()) {
        Resolved::Directory(directory) => directory.join(path.name()),
        _ => path.clone(),
    }
}
