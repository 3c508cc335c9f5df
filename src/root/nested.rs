//! File systems in files: the root of a live or installation medium.
//!
//! | medium | file |
//! |---|---|
//! | Debian live | `live/*.squashfs` |
//! | Ubuntu | `casper/*.squashfs`; `a.squashfs`, `a.b.squashfs` and `a.b.c.squashfs` are layers of one root, each longest name is a root |
//! | Fedora, RHEL and kin | `LiveOS/squashfs.img`, and `LiveOS/rootfs.img` in it; `images/install.img` |
//! | SUSE | `LiveOS/…`, `*.squashfs` at the top (KIWI), `boot/ARCH/root` |
//! | Arch | `arch/ARCH/airootfs.sfs`, `.erofs` |
//! | others | whatever on an ISO 9660, FAT or exFAT, down to the third level, is a file with a file system of Linux in it |

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::bytes::ReadAt;
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::model::ImagePath;
use crate::tree::{FileTree, FsKind, NodeId, NodeKind};
use crate::volume;

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

/// So deep are files of other names looked for.
const DEEPEST: usize = 3;
/// Below this no root is, in bytes: a database of a few packages alone has more.
const SMALLEST: u64 = 64 << 10;
/// What a root may lie on.
const OF_LINUX: [FsKind; 8] = [
    FsKind::Squashfs,
    FsKind::Erofs,
    FsKind::Ext2,
    FsKind::Ext3,
    FsKind::Ext4,
    FsKind::Xfs,
    FsKind::Btrfs,
    FsKind::Cramfs,
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
pub fn nested(tree: &dyn FileTree, limits: &Limits) -> Vec<Nested> {
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
    // What cannot be read at all cannot be read for each of the folders.
    let mut told = BTreeSet::new();
    found.retain(|nested| match nested.layers.as_slice() {
        [(_, Err(error))] => told.insert(error.reason()),
        _ => true,
    });
    if matches!(tree.identity().kind, FsKind::Iso9660 | FsKind::Fat | FsKind::Exfat) {
        let known: BTreeSet<ImagePath> =
            found.iter().flat_map(|nested| nested.layers.iter().map(|(path, _)| path.clone())).collect();
        found.extend(others(tree, &known, limits));
    }
    found
}

/// Files of any name on a medium that have a file system of Linux in them, without those that are known.
fn others(tree: &dyn FileTree, known: &BTreeSet<ImagePath>, limits: &Limits) -> Vec<Nested> {
    let mut found = Vec::new();
    let mut failed = |path: ImagePath, error: Error| {
        found.push(Nested { path: path.clone(), layers: vec![(path, Err(error))] });
    };
    let mut files = Vec::new();
    let mut folders = vec![(ImagePath::root(), tree.root())];
    let mut count = 0_u64;
    while let Some((folder, node)) = folders.pop() {
        let mut entries = Vec::new();
        let read = tree.read_dir(node, &mut |entry| {
            count = limits.medium_files.check(count.saturating_add(1))?;
            entries.push((folder.join(entry.name), entry.node));
            Ok(())
        });
        if let Err(error) = read {
            failed(folder.clone(), error);
        }
        for (path, node) in entries {
            match tree.meta(node) {
                Ok(meta) if meta.kind == NodeKind::Directory && path.components().count() < DEEPEST => {
                    folders.push((path, node));
                }
                Ok(meta) if meta.kind == NodeKind::File && meta.size_bytes >= SMALLEST => {
                    files.push((path, node));
                }
                Ok(_) => {}
                Err(error) => failed(path, error),
            }
        }
    }
    files.sort();
    for (path, node) in files {
        let is_package = [&b".deb"[..], b".udeb", b".rpm"].iter().any(|end| path.name().ends_with(end));
        if is_package || known.contains(&path) {
            continue;
        }
        let probed = tree.open(node).and_then(|file| Ok((volume::probe(&*file)?.kind, file)));
        match probed {
            Ok((kind, file)) if OF_LINUX.contains(&kind) => {
                found.push(Nested { path: path.clone(), layers: vec![(path, Ok(file))] });
            }
            Ok(_) => {}
            Err(error) => found.push(Nested { path: path.clone(), layers: vec![(path, Err(error))] }),
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
