//! What a system keeps at another place than the known ones, or what is kept in it and is none of its own.

use super::plan::Plan;
use super::{MARKS, Volume};
use crate::error::Result;
use crate::model::{Gap, ImagePath};
use crate::tree::{FileTree, NodeId, NodeKind};

/// What says that a directory is a /var, a /var/lib, or a folder in it with a database of packages: all of one row.
const DATABASES: [(&[&str], &str); 12] = [
    (&["lib/dpkg/status"], "/var"),
    (&["lib/dpkg/status.d"], "/var"),
    (&["lib/rpm/rpmdb.sqlite"], "/var"),
    (&["lib/rpm/Packages"], "/var"),
    (&["lib/rpm/Packages.db"], "/var"),
    (&["lib/pacman/local"], "/var"),
    (&["dpkg/status"], "/var/lib"),
    (&["rpm/rpmdb.sqlite"], "/var/lib"),
    (&["rpm/Packages"], "/var/lib"),
    (&["rpm/Packages.db"], "/var/lib"),
    (&["pacman/local"], "/var/lib"),
    (&["status", "info", "triggers"], "/var/lib/dpkg"),
];

/// The gap of a directory that has the database of a system's packages and that no system mounts.
pub(super) fn orphan(
    volume: &Volume,
    subvolume: Option<&ImagePath>,
    tree: &dyn FileTree,
    node: NodeId,
) -> Option<Gap> {
    let gap = |reason: String| {
        let place = match subvolume {
            Some(path) => format!("{}: subvolume {path}", volume.place),
            None => volume.place.clone(),
        };
        Gap { place, reason, required: true }
    };
    let paths: Vec<ImagePath> =
        DATABASES.iter().flat_map(|(paths, _)| paths.iter().map(|path| ImagePath::from(*path))).collect();
    let mut reached = tree.lookup_many(node, &paths).into_iter().zip(&paths);
    for (paths, what) in DATABASES {
        let mut all = true;
        for _ in paths {
            let (reached, path) = reached.next()?;
            // Whether the root directory itself can be read was told with its marks.
            if let Some(error) = reached.failed.filter(|_| !reached.steps.is_empty()) {
                return Some(gap(format!("{path}: {}", error.reason())));
            }
            all &= reached.steps.len() == path.components().count();
        }
        if all {
            return Some(gap(format!(
                "it holds a {what} with the database of a system's packages, and no system mounts it"
            )));
        }
    }
    None
}

impl Plan<'_> {
    /// Tells what is kept elsewhere.
    pub(super) fn look_elsewhere(&mut self) {
        let looked = [("var/lib/machines", self.machines()), ("etc/dpkg", self.dpkg())];
        for (place, found) in looked {
            match found {
                Ok(found) => {
                    for (place, reason) in found {
                        self.gap(&place, reason, true);
                    }
                }
                Err(error) => self.gap(&ImagePath::from(place), error.to_string(), true),
            }
        }
    }

    /// Systems that systemd-nspawn and machinectl start (machinectl(1), "files and directories").
    fn machines(&self) -> Result<Vec<(ImagePath, String)>> {
        let folder = ImagePath::from("var/lib/machines");
        let mut found = Vec::new();
        for name in self.names(&folder)? {
            let place = folder.join(&name);
            let Some((_, mount, step)) = self.at(&place)? else { continue };
            let what = match step.meta.kind {
                NodeKind::Directory => {
                    let reached = mount.tree.lookup_many(step.node, &MARKS.map(ImagePath::from));
                    let mut marks = MARKS.iter().zip(reached);
                    let is_one = marks.any(|(mark, reached)| {
                        reached.steps.len() == ImagePath::from(*mark).components().count()
                    });
                    is_one.then_some("a system of its own")
                }
                NodeKind::File if name.ends_with(b".raw") => Some("a disk of its own"),
                _ => None,
            };
            let reason = |what| format!("{what}, which systemd-nspawn starts, and which is not judged");
            found.extend(what.map(|what| (place, reason(what))));
        }
        Ok(found)
    }

    /// Another database than the usual one: `admindir` in dpkg.cfg(5).
    fn dpkg(&self) -> Result<Vec<(ImagePath, String)>> {
        let folder = ImagePath::from("etc/dpkg/dpkg.cfg.d");
        let is_read = |name: &Vec<u8>| name.iter().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(b));
        let names = self.names(&folder)?.into_iter().filter(is_read);
        let mut files: Vec<ImagePath> = names.map(|name| folder.join(name)).collect();
        files.push(ImagePath::from("etc/dpkg/dpkg.cfg"));
        let mut found = Vec::new();
        for place in files {
            let Some(content) = self.file(&place)? else { continue };
            let mut said = content.split(|b| *b == b'\n').filter_map(|line| {
                let value = line.trim_ascii().strip_prefix(b"admindir")?;
                let value = match value.split_first()? {
                    (b'=' | b' ' | b'\t', value) => value.trim_ascii(),
                    _ => return None,
                };
                Some(ImagePath::new(
                    value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\"")).unwrap_or(value),
                ))
            });
            if let Some(other) = said.next_back().filter(|path| *path != ImagePath::from("var/lib/dpkg")) {
                let reason = format!("dpkg keeps its database in {other} (admindir), which is not read");
                found.push((place, reason));
            }
        }
        Ok(found)
    }
}
