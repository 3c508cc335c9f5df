//! Trees over each other as overlayfs has them: what an upper layer holds hides what a lower one does, directories
//! of all are one.
//!
//! Specification: the kernel's `Documentation/filesystems/overlayfs.rst` of Linux 6.18. A whiteout (a character device
//! 0:0, or an empty file that is marked as one) takes a name away; an opaque directory hides those of its name below
//! it. Directories that were renamed and files whose content stayed below (`redirect`, `metacopy`) are told as errors:
//! what they show is elsewhere.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::{DirEntry, FileTree, FsIdentity, LayerMark, Need, NodeId, NodeKind, NodeMeta};
use crate::bytes::{ReadAt, size_of_len};
use crate::error::{Error, Result};
use crate::limits::Limits;

/// Several trees as one.
pub struct Stacked {
    /// The uppermost first.
    layers: Vec<Arc<dyn FileTree>>,
    identity: FsIdentity,
    doubts: Vec<Error>,
    nodes: Mutex<Nodes>,
    limits: Arc<Limits>,
}

/// A node of one layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct At {
    layer: usize,
    node: NodeId,
}

/// What the nodes of the whole are made of: the uppermost first, of others than directories one alone.
#[derive(Default)]
struct Nodes {
    all: Vec<Arc<[At]>>,
    known: BTreeMap<Arc<[At]>, u64>,
}

/// What each name of a directory may be, the uppermost first.
type Candidates = BTreeMap<Box<[u8]>, Vec<At>>;

impl Stacked {
    /// Lays trees over each other, the lowest first. It calls itself as the uppermost does.
    ///
    /// # Errors
    /// `Config` if there is none.
    pub fn new(lowest_first: Vec<Arc<dyn FileTree>>, limits: Arc<Limits>) -> Result<Self> {
        let layers: Vec<Arc<dyn FileTree>> = lowest_first.into_iter().rev().collect();
        let Some(top) = layers.first() else { return Err(Error::config("there is no layer")) };
        let identity = top.identity().clone();
        let doubts = layers.iter().flat_map(|layer| layer.doubts().to_vec()).collect();
        let this = Stacked { layers, identity, doubts, nodes: Mutex::default(), limits };
        let roots = this.layers.iter().enumerate().map(|(layer, tree)| At { layer, node: tree.root() });
        this.number(roots.collect())?;
        Ok(this)
    }

    /// The number of what is made of these; the root's is 0.
    fn number(&self, stack: Vec<At>) -> Result<u64> {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(number) = nodes.known.get(stack.as_slice()) {
            return Ok(*number);
        }
        let number = size_of_len(nodes.all.len());
        self.limits.entries.check(number)?;
        let stack: Arc<[At]> = stack.into();
        nodes.all.push(Arc::clone(&stack));
        nodes.known.insert(stack, number);
        Ok(number)
    }

    fn stack(&self, node: NodeId) -> Result<Arc<[At]>> {
        let nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        let found = usize::try_from(node.number).ok().and_then(|at| nodes.all.get(at).cloned());
        found.ok_or_else(|| Error::not_found(format!("node {} of stacked trees", node.number)))
    }

    fn tree(&self, at: At) -> Result<&Arc<dyn FileTree>> {
        self.layers.get(at.layer).ok_or_else(|| Error::not_found(format!("layer {}", at.layer)))
    }

    /// The uppermost part of a node, which is the node but for the names in a directory.
    fn top(&self, node: NodeId) -> Result<(&Arc<dyn FileTree>, NodeId)> {
        let stack = self.stack(node)?;
        let at = *stack.first().ok_or_else(|| Error::not_found("a part of a node of stacked trees"))?;
        Ok((self.tree(at)?, at.node))
    }

    /// What one name comes to; `None` if it was taken away.
    fn resolve(&self, candidates: &[At]) -> Result<Option<NodeId>> {
        let mut stack = Vec::new();
        for at in candidates {
            let tree = self.tree(*at)?;
            let meta = tree.meta(at.node)?;
            let is_plain = match meta.kind {
                NodeKind::Directory | NodeKind::Special => false,
                NodeKind::File => meta.size_bytes > 0 && at.layer.saturating_add(1) == self.layers.len(),
                NodeKind::Symlink => true,
            };
            let mark = if is_plain { LayerMark::None } else { tree.layer_mark(at.node)? };
            match (mark, meta.kind) {
                (LayerMark::Whiteout, _) => break,
                (mark, NodeKind::Directory) => {
                    stack.push(*at);
                    if mark == LayerMark::Opaque {
                        break;
                    }
                }
                _ => {
                    if stack.is_empty() {
                        stack.push(*at);
                    }
                    break;
                }
            }
        }
        if stack.is_empty() { Ok(None) } else { self.number(stack).map(|number| Some(NodeId::new(number))) }
    }
}

impl FileTree for Stacked {
    fn identity(&self) -> &FsIdentity {
        &self.identity
    }

    fn doubts(&self) -> &[Error] {
        &self.doubts
    }

    fn root(&self) -> NodeId {
        NodeId::new(0)
    }

    fn meta(&self, node: NodeId) -> Result<NodeMeta> {
        let (tree, node) = self.top(node)?;
        tree.meta(node)
    }

    fn read_dir(&self, directory: NodeId, each: &mut dyn FnMut(DirEntry<'_>) -> Result<()>) -> Result<()> {
        let mut names = Candidates::new();
        let mut damage = None;
        let mut count = 0_u64;
        for at in self.stack(directory)?.iter() {
            let read = self.tree(*at)?.read_dir(at.node, &mut |entry| {
                count = self.limits.entries.check(count.saturating_add(1))?;
                let candidates = names.entry(entry.name.into()).or_default();
                // A name that a directory holds twice is told by who walks the layer alone.
                if candidates.last().is_none_or(|last| last.layer != at.layer) {
                    candidates.push(At { layer: at.layer, node: entry.node });
                }
                Ok(())
            });
            if let Err(error) = read {
                damage.get_or_insert(error);
            }
        }
        for (name, candidates) in &names {
            match self.resolve(candidates) {
                Ok(Some(node)) => each(DirEntry { name, node })?,
                Ok(None) => {}
                Err(error) => {
                    damage.get_or_insert(error);
                }
            }
        }
        damage.map_or(Ok(()), Err)
    }

    fn lookup(&self, directory: NodeId, name: &[u8]) -> Result<Option<NodeId>> {
        let mut candidates = Vec::new();
        for at in self.stack(directory)?.iter() {
            let node = self.tree(*at)?.lookup(at.node, name)?;
            candidates.extend(node.map(|node| At { layer: at.layer, node }));
        }
        self.resolve(&candidates)
    }

    fn read_link(&self, node: NodeId) -> Result<Box<[u8]>> {
        let (tree, node) = self.top(node)?;
        tree.read_link(node)
    }

    fn open(&self, node: NodeId) -> Result<Arc<dyn ReadAt>> {
        let (tree, node) = self.top(node)?;
        tree.open(node)
    }

    fn will_need(&self, nodes: &[NodeId], need: Need) {
        let mut by_layer: BTreeMap<usize, Vec<NodeId>> = BTreeMap::new();
        for at in nodes.iter().filter_map(|node| self.stack(*node).ok()).flat_map(|stack| stack.to_vec()) {
            by_layer.entry(at.layer).or_default().push(at.node);
        }
        for (layer, nodes) in by_layer {
            if let Some(tree) = self.layers.get(layer) {
                tree.will_need(&nodes, need);
            }
        }
    }
}
