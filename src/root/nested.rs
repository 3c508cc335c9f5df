//! File systems in files: the root of a live or installation medium.
//!
//! | medium | file |
//! |---|---|
//! | Debian live | `live/*.squashfs` |
//! | Ubuntu | `casper/*.squashfs` |
//! | Fedora, RHEL and kin | `LiveOS/squashfs.img`, and `LiveOS/rootfs.img` in it; `images/install.img` |
//! | SUSE | `LiveOS/…`, `*.squashfs` at the top (KIWI), `boot/ARCH/root` |
//! | Arch | `arch/ARCH/airootfs.sfs`, `.erofs` |

use std::sync::Arc;

use crate::bytes::ReadAt;
use crate::error::Result;
use crate::model::ImagePath;
use crate::tree::{FileTree, NodeKind};

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

/// The files on a tree that hold the root of a live or installation medium, by path; none on what is no such
/// medium: a root file system has folders that these have not.
#[must_use]
pub fn nested(tree: &dyn FileTree) -> Vec<(ImagePath, Result<Arc<dyn ReadAt>>)> {
    let of_system = ["etc", "usr", "var"].map(ImagePath::from);
    let reached = tree.lookup_many(tree.root(), &of_system);
    if reached.iter().any(|reached| !reached.steps.is_empty()) {
        return Vec::new();
    }
    let folders = FOLDERS.map(ImagePath::from);
    let reached = tree.lookup_many(tree.root(), &folders);
    let mut found = Vec::new();
    for (folder, reached) in folders.iter().zip(reached) {
        found.extend(reached.failed.map(|error| (folder.clone(), Err(error))));
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
        found.extend(read.err().map(|error| (folder.clone(), Err(error))));
        names.sort();
        for (name, node) in names {
            match tree.meta(node) {
                Ok(meta) if meta.kind != NodeKind::File => {}
                Ok(_) => found.push((folder.join(&name), tree.open(node))),
                Err(error) => found.push((folder.join(&name), Err(error))),
            }
        }
    }
    found
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
