//! What all trees are read through: the device by logical address, and blocks that were checked once.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use super::chunks::Chunks;
use super::devices::KnownDevices;
use super::node::{CHUNK_ITEM, FIRST_FREE, Key, Node, Pointer};
use super::search::Tree;
use super::superblock::Superblock;
use crate::bytes::{ReadAt, size_of_len};
use crate::error::Result;
use crate::limits::Limits;
use crate::tree::CachedReader;
use crate::tree::fields::len;

/// Checked blocks are spread over so many independent parts, so that threads seldom wait for each other.
const SHARDS: usize = 8;

/// The metadata of one device.
pub(super) struct Metadata {
    pub(super) reader: CachedReader,
    pub(super) superblock: Superblock,
    chunks: Chunks,
    nodes: Nodes,
}

impl Metadata {
    /// Reads the chunk tree by the chunks that the superblock has.
    ///
    /// # Errors
    /// Any damage to it: without a chunk nothing in it can be found.
    pub(super) fn open(
        reader: CachedReader,
        superblock: Superblock,
        devices: &KnownDevices,
        limits: &Limits,
    ) -> Result<Self> {
        let chunks = Chunks::of_superblock(&superblock, devices)?;
        let nodes = Nodes::new(limits.btrfs_node_bytes.as_len(), len(superblock.node_bytes));
        let mut this = Metadata { reader, superblock, chunks, nodes };
        let mut all = Chunks::of_superblock(&this.superblock, devices)?;
        let keys = Key::new(FIRST_FREE, CHUNK_ITEM, 0)..=Key::new(FIRST_FREE, CHUNK_ITEM, u64::MAX);
        let tree = Tree::new(this.superblock.chunk_root);
        tree.scan(&this, keys, "btrfs chunk", &mut |key, item| {
            all.add(&this.superblock, key, item)?;
            all.check_count(limits)
        })
        .map_err(|error| error.at("chunk tree"))?;
        this.chunks = all;
        Ok(this)
    }

    /// The block that a pointer leads to, from whichever copy holds it.
    ///
    /// # Errors
    /// What is wrong with the first copy, if none is right.
    pub(super) fn node(&self, wanted: &Pointer) -> Result<Arc<Node>> {
        if let Some(node) = self.nodes.get(wanted.logical) {
            node.check(wanted)?;
            return Ok(node);
        }
        let mut damage = None;
        let copies = self.chunks.find(wanted.logical)?.copies.len();
        for copy in 0..copies {
            match self.copy_of_node(wanted, copy) {
                Ok(node) => {
                    let node = Arc::new(node);
                    self.nodes.put(wanted.logical, Arc::clone(&node));
                    return Ok(node);
                }
                Err(error) => {
                    damage.get_or_insert(error);
                }
            }
        }
        Err(damage.unwrap_or_else(|| crate::bytes::passes_end(wanted.logical, 0, 0)))
    }

    fn copy_of_node(&self, wanted: &Pointer, copy: usize) -> Result<Node> {
        let mut bytes = vec![0; len(self.superblock.node_bytes)];
        self.read(&self.reader, wanted.logical, copy, &mut bytes)?;
        let node = Node::decode(bytes, wanted.logical, &self.superblock)?;
        node.check(wanted)?;
        Ok(node)
    }

    /// Says that these blocks will be read.
    pub(super) fn prefetch(&self, wanted: impl Iterator<Item = u64>) {
        let missing = wanted.filter(|logical| !self.nodes.has(*logical));
        let size_bytes = u64::from(self.superblock.node_bytes);
        let ranges: Vec<_> = missing.flat_map(|logical| self.ranges(logical, size_bytes)).collect();
        if !ranges.is_empty() {
            self.reader.prefetch(&ranges);
        }
    }

    /// Where the first copy of these logical addresses is; what is not here is left out.
    pub(super) fn ranges(&self, logical: u64, size_bytes: u64) -> Vec<Range<u64>> {
        let mut ranges = Vec::new();
        let (mut at, mut left) = (logical, size_bytes);
        while left > 0 {
            let Ok(run) = self.chunks.find(at) else { break };
            let taken = run.size_bytes.min(left).max(1);
            ranges.extend(run.copies.first().map(|offset| *offset..offset.saturating_add(taken)));
            at = at.saturating_add(taken);
            left = left.saturating_sub(taken);
        }
        ranges
    }

    /// How many copies of an address there are on this device.
    ///
    /// # Errors
    /// `Malformed` if it is in no chunk, `Unsupported` if it is on other devices only.
    pub(super) fn copies(&self, logical: u64) -> Result<usize> {
        Ok(self.chunks.find(logical)?.copies.len())
    }

    /// Fills `dst` with the bytes from a logical address on, of one of its copies.
    ///
    /// # Errors
    /// `Malformed` if they are in no chunk, `Unsupported` if on other devices only, `Io`.
    pub(super) fn read(&self, device: &dyn ReadAt, logical: u64, copy: usize, dst: &mut [u8]) -> Result<()> {
        let (mut at, mut rest) = (logical, dst);
        while !rest.is_empty() {
            let run = self.chunks.find(at)?;
            let offset = run.copies.get(copy).or(run.copies.first()).copied().unwrap_or(u64::MAX);
            let taken = len(run.size_bytes.max(1)).min(rest.len());
            let (now, later) = rest.split_at_mut(taken);
            device.read_exact_at(offset, now)?;
            at = at.saturating_add(size_of_len(taken));
            rest = later;
        }
        Ok(())
    }
}

/// Checked blocks by logical address. What was not used since it last came to the front goes first.
struct Nodes {
    shards: [Mutex<Shard>; SHARDS],
    nodes_a_shard: usize,
    node_bytes: u64,
}

#[derive(Default)]
struct Shard {
    nodes: HashMap<u64, Slot>,
    queue: VecDeque<u64>,
}

struct Slot {
    node: Arc<Node>,
    was_used: bool,
}

impl Nodes {
    fn new(most_bytes: usize, node_bytes: usize) -> Self {
        let nodes_a_shard = most_bytes.checked_div(node_bytes.saturating_mul(SHARDS)).unwrap_or(1).max(1);
        Nodes { shards: Default::default(), nodes_a_shard, node_bytes: size_of_len(node_bytes) }
    }

    fn shard(&self, logical: u64) -> &Mutex<Shard> {
        let number = logical.checked_div(self.node_bytes).unwrap_or(0) % 8;
        self.shards.get(len(number)).unwrap_or(&self.shards[0])
    }

    fn get(&self, logical: u64) -> Option<Arc<Node>> {
        let mut shard = self.shard(logical).lock().unwrap_or_else(PoisonError::into_inner);
        let slot = shard.nodes.get_mut(&logical)?;
        slot.was_used = true;
        Some(Arc::clone(&slot.node))
    }

    fn has(&self, logical: u64) -> bool {
        self.shard(logical).lock().unwrap_or_else(PoisonError::into_inner).nodes.contains_key(&logical)
    }

    fn put(&self, logical: u64, node: Arc<Node>) {
        let mut shard = self.shard(logical).lock().unwrap_or_else(PoisonError::into_inner);
        if shard.nodes.insert(logical, Slot { node, was_used: false }).is_none() {
            shard.queue.push_back(logical);
        }
        while shard.nodes.len() > self.nodes_a_shard {
            let Some(oldest) = shard.queue.pop_front() else { return };
            match shard.nodes.get_mut(&oldest) {
                Some(slot) if slot.was_used => {
                    slot.was_used = false;
                    shard.queue.push_back(oldest);
                }
                _ => {
                    shard.nodes.remove(&oldest);
                }
            }
        }
    }
}
