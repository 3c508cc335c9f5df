//! Finding items in a tree by their keys.

use std::ops::RangeInclusive;
use std::sync::Arc;

use super::metadata::Metadata;
use super::node::{Key, Node, Pointer};
use crate::error::{Error, Result};
use crate::tree::fields::Fields;

/// A tree by its root block.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tree {
    root: Pointer,
}

/// An item and the leaf that it is in.
pub(super) struct Item {
    leaf: Arc<Node>,
    index: usize,
    pub(super) key: Key,
}

impl Item {
    /// Its data.
    ///
    /// # Errors
    /// None in a leaf that was checked.
    pub(super) fn fields(&self, format: &'static str) -> Result<Fields<'_>> {
        self.leaf.item(self.index, format)
    }
}

/// Takes items in the order of their keys.
type Each<'e> = &'e mut dyn FnMut(Key, &Fields<'_>) -> Result<()>;

impl Tree {
    pub(super) fn new(root: Pointer) -> Self {
        Tree { root }
    }

    /// The last item whose key is not above `key`.
    ///
    /// # Errors
    /// If a block on the way cannot be read.
    pub(super) fn at_or_before(&self, metadata: &Metadata, key: Key) -> Result<Option<Item>> {
        let mut pointer = self.root;
        loop {
            let node = metadata.node(&pointer)?;
            let Some(index) = node.first_above(key)?.checked_sub(1) else { return Ok(None) };
            if node.is_leaf() {
                let key = node.key(index)?;
                return Ok(Some(Item { leaf: node, index, key }));
            }
            pointer = node.child(index, pointer.end)?;
        }
    }

    /// The item of this key.
    ///
    /// # Errors
    /// If a block on the way cannot be read.
    pub(super) fn get(&self, metadata: &Metadata, key: Key) -> Result<Option<Item>> {
        Ok(self.at_or_before(metadata, key)?.filter(|item| item.key == key))
    }

    /// Shows the items of these keys in order. Blocks that cannot be read do not keep others from being shown.
    ///
    /// # Errors
    /// The first damage, after all that can be read was shown, or at once the error of `each`.
    pub(super) fn scan(
        &self,
        metadata: &Metadata,
        keys: RangeInclusive<Key>,
        format: &'static str,
        each: Each<'_>,
    ) -> Result<()> {
        let mut scan = Scan { metadata, keys, format, each, damage: None };
        scan.below(self.root)?;
        scan.damage.map_or(Ok(()), Err)
    }

    /// Says that the leaves with these keys, which ascend, will be read: level by level, each in one go.
    pub(super) fn prefetch(&self, metadata: &Metadata, keys: &[Key]) {
        let mut level = vec![(self.root, keys)];
        while let Some((first, _)) = level.first() {
            metadata.prefetch(level.iter().map(|(pointer, _)| pointer.logical));
            if first.level == 0 {
                return;
            }
            let nodes = level
                .iter()
                .filter_map(|(pointer, keys)| Some((metadata.node(pointer).ok()?, *pointer, *keys)));
            let below: Vec<_> =
                nodes.flat_map(|(node, pointer, keys)| children(&node, pointer.end, keys)).collect();
            level = below;
        }
    }
}

/// The children that hold these keys, which ascend, each with its keys.
fn children<'k>(node: &Node, end: Key, keys: &'k [Key]) -> Vec<(Pointer, &'k [Key])> {
    let mut found = Vec::new();
    let mut rest = keys;
    while let Some(key) = rest.first() {
        let Ok(above) = node.first_above(*key) else { break };
        let limit = if above < node.count() { node.key(above).unwrap_or(Key::MAX) } else { Key::MAX };
        let (taken, later) = rest.split_at(rest.partition_point(|key| *key < limit).max(1));
        if let Some(child) = above.checked_sub(1).and_then(|index| node.child(index, end).ok()) {
            found.push((child, taken));
        }
        rest = later;
    }
    found
}

struct Scan<'a, 'e> {
    metadata: &'a Metadata,
    keys: RangeInclusive<Key>,
    format: &'static str,
    each: Each<'e>,
    damage: Option<Error>,
}

impl Scan<'_, '_> {
    /// Shows what is below a block; no deeper than its level says.
    fn below(&mut self, pointer: Pointer) -> Result<()> {
        let node = match self.metadata.node(&pointer) {
            Ok(node) => node,
            Err(error) => {
                self.damage.get_or_insert(error);
                return Ok(());
            }
        };
        let first = node.first_above(*self.keys.start())?;
        if node.is_leaf() {
            let before = first
                .checked_sub(1)
                .filter(|index| node.key(*index).is_ok_and(|key| key == *self.keys.start()));
            for index in before.unwrap_or(first)..node.count() {
                let key = node.key(index)?;
                if key > *self.keys.end() {
                    break;
                }
                (self.each)(key, &node.item(index, self.format)?)?;
            }
            return Ok(());
        }
        let first = first.saturating_sub(1);
        let last = node.first_above(*self.keys.end())?;
        if pointer.level > 1 || last.saturating_sub(first) > 1 {
            let pointers = (first..last).filter_map(|index| node.child(index, pointer.end).ok());
            self.metadata.prefetch(pointers.take(AHEAD).map(|child| child.logical));
        }
        for index in first..last {
            self.below(node.child(index, pointer.end)?)?;
        }
        Ok(())
    }
}

/// So many blocks of a scan are fetched ahead at once.
const AHEAD: usize = 64;
