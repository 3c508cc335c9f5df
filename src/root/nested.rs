//! File systems in files: the root of a live or installation medium.
//!
//! | medium | file |
//! |---|---|
//! | Debian live | `live/*.squashfs` |
//! | Ubuntu | `casper/*.squashfs`; `a.squashfs`, `a.b.squashfs` and `a.b.c.squashfs` are layers of one root, each longest name is a root |
//! | Fedora, RHEL and kin | `LiveOS/squashfs.img`, and `LiveOS/rootfs.img` in it; `images/install.img` |
//! | SUSE | `LiveOS/…`, `*.squashfs` at the top (KIWI), `boot/ARCH/root` |
//! | Arch | `arch/ARCH/airootfs.sfs`, `.erofs` |

use std::sync::Arc;

use crate::bytes::ReadAt;
use crate::error::{Error, Result};
use crate::model::ImagePath;
use crate::tree::{FileTree, NodeId, NodeKind};

/// Folders of media that hold file systems.
const FOLDERS: [&str; 11] = [
    "",
    "live",
    "casper",
    "LiveOS",
    "images",
    "arch/x86_64",
    "arch/aarch64",
    "boot/x86_64",
    "boot/aarch64",
    "install",
    "isolinux",
];

/// A file system in files.
pub struct Nested {
    /// The path of its file; of layers of the uppermost.
    pub path: ImagePath,
    /// The files that are laid over each other, by path, the lowest first; where there is one alone, it is that.
    pub layers: Vec<(ImagePath, Result<Arc<dyn ReadAt>>)>,
}

/// The files on a tree that hold the root of a live or installation medium, by path; none on what is no such
/// medium: a root file system has folders that these have not.
#[must_use]
pub fn nested(tree: &dyn FileTree) -> Vec<Nested> {
    let of_system = ["etc", "usr", "var"].map(ImagePath::from);
    let reached = tree.lookup_many(tree.root(), &of_system);
    if reached.iter().any(|reached| !reached.steps.is_empty()) {
        return Vec::new();
    }
    let folders = FOLDERS.map(ImagePath::from);
    let reached = tree.lookup_many(tree.root(), &folders);
    let mut found = Vec::new();
    for (folder, reached) in folders.iter().zip(reached) {
        let mut failed = |path: ImagePath, error: Error| {
            found.push(Nested { path: path.clone(), layers: vec![(path, Err(error))] });
        };
        if let Some(error) = reached.failed {
            failed(folder.clone(), error);
        }
        let node = match reached.steps.last() {
            None if folder.is_root() => tree.root(),
            Some(step) if reached.steps.len() == folder.components().count() => step.node,
            _ => continue,
        };
        let mut names = Vec::new();
        let read = tree.read_dir(node, &mut |entry| {
            if is_named_so(folder, entry.name) {
                names.push((entry.name.to_vec(), entry.node));
            }
            Ok(())
        });
        // What damage hides may be the root of the medium.
        if let Err(error) = read {
            failed(folder.clone(), error);
        }
        names.sort();
        names.retain(|(name, node)| match tree.meta(*node) {
            Ok(meta) => meta.kind == NodeKind::File,
            Err(error) => {
                failed(folder.join(name), error);
                false
            }
        });
        let is_layered = folder.as_bytes() == b"casper";
        for (name, _) in &names {
            let is_of =
                |lower: &[u8], upper: &[u8]| lower == upper || is_layered && is_layer_below(lower, upper);
            if names.iter().any(|(other, _)| other != name && is_of(name, other)) {
                continue;
            }
            let mut parts: Vec<&(Vec<u8>, NodeId)> =
                names.iter().filter(|(other, _)| is_of(other, name)).collect();
            parts.sort_by_key(|(name, _)| name.len());
            let layers = parts.iter().map(|(name, node)| (folder.join(name), tree.open(*node))).collect();
            found.push(Nested { path: folder.join(name), layers });
        }
    }
    found
}

/// Whether one file is a layer below another: `minimal.squashfs` is one below `minimal.standard.squashfs`.
fn is_layer_below(lower: &[u8], upper: &[u8]) -> bool {
    let stem = lower.strip_suffix(b"squashfs").filter(|stem| stem.len() > 1 && stem.ends_with(b"."));
    lower.len() < upper.len()
        && upper.ends_with(b".squashfs")
        && stem.is_some_and(|stem| upper.starts_with(stem))
}

fn is_named_so(folder: &ImagePath, name: &[u8]) -> bool {
    let name = name.to_ascii_lowercase();
    let ends = |end: &str| name.ends_with(end.as_bytes());
    ends(".squashfs")
        || ends(".sfs")
        || ends(".erofs")
        || matches!(name.as_slice(), b"rootfs.img" | b"squashfs.img" | b"ext3fs.img" | b"install.img")
        || (folder.as_bytes().starts_with(b"boot/") && name == b"root")
}
