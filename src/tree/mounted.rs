//! Trees over their mount points, as one stratum: the root file system of a disk.
//!
//! The entries are those that a walk over the mounted directory gives: the order is by name within each
//! directory, a mount point shows the root of what is mounted there, a hard link is a file under each of its
//! names. Symbolic links are entries and are not followed.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use super::{FileTree, Need, NodeId, NodeKind, NodeMeta, Step};
use crate::bytes::{Head, ReadAt as _, size_of_len};
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::model::{Gap, ImagePath, Sha256, StratumId};
use crate::stratum::{Entry, FileDigests, Meta, Node, Request, Scope, Sink, Stratum, Want};

/// So much of each file that was looked up is fetched ahead: most package databases and all os-release files.
const CONTENT_AHEAD: u64 = 4 << 20;

/// A tree at its mount point.
#[derive(Clone)]
pub struct Mount {
    /// Where, without links on the way; the root for the root file system.
    pub path: ImagePath,
    /// Which directory of the tree is shown there; its root unless a subvolume or bind mount says otherwise.
    pub node: NodeId,
    /// What is mounted.
    pub tree: Arc<dyn FileTree>,
    /// Its place for people: `partition 2 (ext4)`.
    pub place: String,
}

impl Mount {
    /// A whole tree at a path.
    #[must_use]
    pub fn new(path: ImagePath, tree: Arc<dyn FileTree>, place: impl Into<String>) -> Self {
        Mount { path, node: tree.root(), tree, place: place.into() }
    }
}

/// One system's files, over all its mounted trees.
pub struct TreeStratum {
    id: StratumId,
    /// By mount point; a later mount at the same place hides the earlier.
    mounts: BTreeMap<ImagePath, Mount>,
    limits: Arc<Limits>,
}

impl TreeStratum {
    /// The stratum of these mounts.
    ///
    /// # Errors
    /// `Config` if none is at the root.
    pub fn new(id: StratumId, mounts: Vec<Mount>, limits: Arc<Limits>) -> Result<Self> {
        let mounts: BTreeMap<_, _> = mounts.into_iter().map(|mount| (mount.path.clone(), mount)).collect();
        if !mounts.contains_key(&ImagePath::root()) {
            return Err(Error::config("nothing is mounted at the root"));
        }
        Ok(TreeStratum { id, mounts, limits })
    }

    /// The mount that shows a path, and what of the path is below its mount point.
    fn mount_of<'a>(&self, path: &'a ImagePath) -> Option<(usize, &Mount, &'a [u8])> {
        let shown = |(index, mount)| -> Option<(usize, &Mount, &'a [u8])> {
            let mount: &Mount = mount;
            Some((index, mount, path.below(&mount.path)?))
        };
        self.mounts
            .values()
            .enumerate()
            .filter_map(shown)
            .max_by_key(|(_, mount, _)| mount.path.as_bytes().len())
    }
}

impl Stratum for TreeStratum {
    fn id(&self) -> StratumId {
        self.id
    }

    fn digest(&self) -> Option<Sha256> {
        None
    }

    fn visit(&self, scope: Scope<'_>, sink: &dyn Sink) -> Result<()> {
        let mut visit = Visit { stratum: self, sink, count: 0, walked: HashSet::new() };
        for mount in self.mounts.values() {
            for doubt in mount.tree.doubts() {
                visit.failed(&mount.path, mount, doubt);
            }
        }
        match scope {
            Scope::All => visit.below(&ImagePath::root()),
            Scope::Only(paths) => visit.only(paths),
        }
    }
}

/// A directory that waits to be walked: an open level of the walk, its entries in reverse order.
struct Level {
    path: ImagePath,
    rest: Vec<(Box<[u8]>, At)>,
}

/// A node of one of the mounts.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct At {
    mount: usize,
    node: NodeId,
}

struct Visit<'a> {
    stratum: &'a TreeStratum,
    sink: &'a dyn Sink,
    count: u64,
    /// Directories that were listed: a second way to one is a loop or a hard link that cannot be.
    walked: HashSet<At>,
}

impl<'a> Visit<'a> {
    fn mount(&self, index: usize) -> Option<&'a Mount> {
        self.stratum.mounts.values().nth(index)
    }

    /// Everything below a directory, sorted by name within each.
    fn below(&mut self, directory: &ImagePath) -> Result<()> {
        let Some(start) = self.resolve(directory) else { return Ok(()) };
        let mut levels = Vec::new();
        levels.extend(self.list(directory.clone(), start));
        while let Some(level) = levels.last_mut() {
            let Some((name, at)) = level.rest.pop() else {
                levels.pop();
                continue;
            };
            let path = level.path.join(&name);
            let depth = size_of_len(levels.len());
            self.stratum.limits.path_depth.check(depth)?;
            self.stratum.limits.path_bytes.check(size_of_len(path.as_bytes().len()))?;
            let Some(mount) = self.mount(at.mount) else { continue };
            match mount.tree.meta(at.node) {
                Ok(meta) => {
                    self.show(&path, mount, Step { node: at.node, meta })?;
                    if meta.kind == NodeKind::Directory {
                        levels.extend(self.list(path, at));
                    }
                }
                Err(error) => {
                    self.counted()?;
                    self.failed(&path, mount, &error);
                }
            }
        }
        Ok(())
    }

    /// A directory that is known to be there.
    fn resolve(&self, path: &ImagePath) -> Option<At> {
        let (mount, found, below) = self.stratum.mount_of(path)?;
        let mut node = found.node;
        for name in ImagePath::new(below).components() {
            node = found.tree.lookup(node, name).ok()??;
        }
        Some(At { mount, node })
    }

    /// The entries of a directory, last first, with what is mounted in it.
    fn list(&mut self, path: ImagePath, at: At) -> Option<Level> {
        let mount = self.mount(at.mount)?;
        if !self.walked.insert(at) {
            self.gap(&path, mount, "a directory that is also elsewhere in the tree, or in itself");
            return None;
        }
        let mut entries: BTreeMap<Box<[u8]>, At> = BTreeMap::new();
        let mut odd: Vec<(Box<[u8]>, &str)> = Vec::new();
        let allowed = self.stratum.limits.entries;
        let seen = self.count;
        let read = mount.tree.read_dir(at.node, &mut |entry| {
            allowed.check(
                seen.saturating_add(size_of_len(entries.len())).saturating_add(size_of_len(odd.len())),
            )?;
            if entry.name.is_empty() || entry.name.iter().any(|b| matches!(b, 0 | b'/')) {
                odd.push((entry.name.into(), "a name that no file can have"));
            } else if entries.contains_key(entry.name) {
                odd.push((entry.name.into(), "a name that its directory holds twice"));
            } else {
                entries.insert(entry.name.into(), At { mount: at.mount, node: entry.node });
            }
            Ok(())
        });
        if let Err(error) = read {
            self.failed(&path, mount, &error);
        }
        for (name, reason) in odd {
            let quoted = crate::error::quoted(&name);
            self.gap(&path, mount, &format!("{quoted}: {reason}"));
        }
        for (index, (point, inner)) in self.stratum.mounts.iter().enumerate() {
            if !point.is_root() && point.parent() == path {
                entries.insert(point.name().into(), At { mount: index, node: inner.node });
            }
        }
        let nodes: Vec<NodeId> =
            entries.values().filter(|entry| entry.mount == at.mount).map(|entry| entry.node).collect();
        mount.tree.will_need(&nodes, Need::Meta);
        Some(Level { path, rest: entries.into_iter().rev().collect() })
    }

    /// The wanted paths, each with what is on the way to it. Nothing else is looked at.
    fn only(&mut self, paths: &[ImagePath]) -> Result<()> {
        let wanted: BTreeSet<&ImagePath> = paths.iter().collect();
        let mut found = self.look_up(&wanted);
        let mut shown = BTreeSet::new();
        let mut done: Vec<&ImagePath> = Vec::new();
        for path in wanted {
            // What is below a path that was walked already comes after it in this order.
            if done.iter().any(|walked| path.below(walked).is_some()) {
                continue;
            }
            let Some(ways) = found.remove(path) else { continue };
            if self.reach(path, ways, &mut shown)? {
                self.below(path)?;
                done.push(path);
            }
        }
        Ok(())
    }

    /// How far each path leads, asked of every mount on its way. The ways of a path, outermost mount first.
    fn look_up<'p>(&self, wanted: &BTreeSet<&'p ImagePath>) -> BTreeMap<&'p ImagePath, Vec<Way<'a>>> {
        let mut found: BTreeMap<&'p ImagePath, Vec<Way<'a>>> = BTreeMap::new();
        let mut files: Vec<(usize, Vec<NodeId>)> = Vec::new();
        for (index, mount) in self.stratum.mounts.values().enumerate() {
            let mut asked = Vec::new();
            for path in wanted.iter().copied() {
                let Some(below) = path.below(&mount.path) else { continue };
                // Only as far as the next mount on the way.
                let inner = self.stratum.mounts.keys().filter(|point| {
                    path.below(point).is_some()
                        && point.below(&mount.path).is_some_and(|rest| !rest.is_empty())
                });
                let end = inner.min_by_key(|point| point.as_bytes().len());
                let below = match end {
                    Some(point) => ImagePath::new(point.parent().below(&mount.path).unwrap_or_default()),
                    None => ImagePath::new(below),
                };
                asked.push((path, below));
            }
            let below: Vec<ImagePath> = asked.iter().map(|(_, below)| below.clone()).collect();
            let reached = mount.tree.lookup_many(mount.node, &below);
            let mut nodes = Vec::new();
            for ((path, below), reached) in asked.into_iter().zip(reached) {
                nodes.extend(reached.steps.last().filter(|s| s.meta.kind == NodeKind::File).map(|s| s.node));
                let wanted = below.components().count();
                found.entry(path).or_default().push(Way { mount, wanted, reached });
            }
            files.push((index, nodes));
        }
        for (index, nodes) in files {
            if let Some(mount) = self.mount(index).filter(|_| !nodes.is_empty()) {
                mount.tree.will_need(&nodes, Need::Content(CONTENT_AHEAD));
            }
        }
        found
    }

    /// Shows what is on the way to a path and the path itself; whether it is a directory that was reached.
    fn reach(
        &mut self,
        path: &ImagePath,
        ways: Vec<Way<'a>>,
        shown: &mut BTreeSet<ImagePath>,
    ) -> Result<bool> {
        for Way { mount, wanted, reached } in ways {
            let mut at = mount.path.clone();
            if !at.is_root() {
                let is_new = shown.insert(at.clone());
                match mount.tree.meta(mount.node) {
                    Ok(meta) => {
                        if is_new {
                            self.show(&at, mount, Step { node: mount.node, meta })?;
                        }
                        // A file may be mounted over a file.
                        if meta.kind != NodeKind::Directory {
                            return Ok(false);
                        }
                    }
                    Err(error) if is_new => self.failed(&at, mount, &error),
                    Err(_) => {}
                }
            }
            let below = path.below(&mount.path).unwrap_or_default();
            let below = ImagePath::new(below);
            let mut names = below.components();
            for step in &reached.steps {
                let Some(name) = names.next() else { break };
                at = at.join(name);
                if shown.insert(at.clone()) {
                    self.show(&at, mount, *step)?;
                }
                if step.meta.kind != NodeKind::Directory {
                    return Ok(false);
                }
            }
            if let Some(error) = reached.failed {
                at = names.next().map_or(at.clone(), |name| at.join(name));
                if shown.insert(at.clone()) {
                    self.failed(&at, mount, &error);
                }
                return Ok(false);
            }
            if reached.steps.len() < wanted {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn counted(&mut self) -> Result<()> {
        self.count = self.stratum.limits.entries.check(self.count.saturating_add(1))?;
        Ok(())
    }

    fn show(&mut self, path: &ImagePath, mount: &Mount, step: Step) -> Result<()> {
        self.counted()?;
        let NodeMeta { kind, size_bytes, mode } = step.meta;
        let mode = mode & 0o7777;
        let node = match kind {
            NodeKind::File => Node::File(Meta { size_bytes, mode }),
            NodeKind::Directory => Node::Directory(Meta { size_bytes: 0, mode }),
            NodeKind::Symlink => match mount.tree.read_link(step.node) {
                Ok(target) => Node::Symlink(target),
                Err(error) => {
                    self.failed(path, mount, &error);
                    return Ok(());
                }
            },
            NodeKind::Special => Node::Special,
        };
        let entry = Entry { path: path.clone(), node };
        let request = self.sink.request(&entry);
        let wants = request.want != Want::No || request.digests.sha256;
        if matches!(entry.node, Node::File(_))
            && wants
            && let Err(error) = self.file(&entry, mount, step.node, request)
        {
            self.failed(&entry.path, mount, &error);
        }
        Ok(())
    }

    fn file(&self, entry: &Entry, mount: &Mount, node: NodeId, request: Request) -> Result<()> {
        let file = mount.tree.open(node)?;
        match request.want {
            Want::No => {}
            Want::Head(len) => self.sink.file(entry, &Head::new(&*file, u64::from(len))),
            Want::Random => self.sink.file(entry, &*file),
        }
        if request.digests.sha256 {
            // Holes make a file of any size out of nothing.
            self.stratum.limits.spool_file_bytes.check(file.size_bytes())?;
            let sha256 = Some(Sha256::of_content(&*file)?);
            self.sink.digests(entry, &FileDigests { sha256 });
        }
        Ok(())
    }

    fn gap(&self, path: &ImagePath, mount: &Mount, reason: &str) {
        let reason =
            if mount.place.is_empty() { reason.to_owned() } else { format!("{}: {reason}", mount.place) };
        self.sink.gap(Gap { place: path.to_string(), reason, required: true });
    }

    fn failed(&self, path: &ImagePath, mount: &Mount, error: &Error) {
        let mut error = error.clone();
        if !mount.place.is_empty() {
            error = error.at(mount.place.clone());
        }
        let gap = Gap { place: path.to_string(), reason: error.to_string(), required: true };
        self.sink.failed(gap, &error);
    }
}

/// A path's way through one mount.
struct Way<'a> {
    mount: &'a Mount,
    /// How many components are to be reached in this mount.
    wanted: usize,
    reached: super::Reached,
}
