//! The metadata of all file systems of a disk, in blocks of 64 KiB, each read once while there is room.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::bytes::{ReadAt, passes_end, size_of_len};
use crate::error::{Error, Result};
use crate::limits::Limits;

/// The size of a cached block. Larger blocks read more than they need, smaller ones ask more often; over a
/// network the number of requests decides.
const BLOCK_BYTES: u64 = 64 << 10;

/// Blocks are spread over so many independent parts, so that threads seldom wait for each other.
const SHARDS: usize = 8;

/// A cache that the readers of one disk share. What was not used since it last came to the front goes first.
#[derive(Debug)]
pub struct BlockCache {
    shards: [Mutex<Shard>; SHARDS],
    blocks_a_shard: usize,
    next_reader: AtomicU32,
}

#[derive(Debug, Default)]
struct Shard {
    blocks: HashMap<Key, Slot>,
    /// In the order in which they are looked at when room is needed.
    queue: VecDeque<Key>,
}

#[derive(Debug)]
struct Slot {
    bytes: Arc<[u8]>,
    was_used: bool,
}

/// A reader of the cache, and the number of the block in what it reads.
type Key = (u32, u64);

impl BlockCache {
    /// A cache of `metadata_cache_bytes`.
    #[must_use]
    pub fn new(limits: &Limits) -> Arc<Self> {
        let blocks = limits.metadata_cache_bytes.max / BLOCK_BYTES;
        let blocks = usize::try_from(blocks).unwrap_or(usize::MAX);
        Arc::new(BlockCache {
            shards: Default::default(),
            blocks_a_shard: (blocks / SHARDS).max(1),
            next_reader: AtomicU32::new(0),
        })
    }

    /// Reads `content` through this cache from now on.
    #[must_use]
    pub fn reader(self: &Arc<Self>, content: Arc<dyn ReadAt>) -> CachedReader {
        let reader = self.next_reader.fetch_add(1, Ordering::Relaxed);
        CachedReader { size_bytes: content.size_bytes(), content, cache: Arc::clone(self), reader }
    }

    fn shard(&self, key: Key) -> &Mutex<Shard> {
        let index = usize::try_from(key.1 % 8).unwrap_or(0);
        self.shards.get(index).unwrap_or(&self.shards[0])
    }

    fn get(&self, key: Key) -> Option<Arc<[u8]>> {
        let mut shard = self.shard(key).lock().unwrap_or_else(PoisonError::into_inner);
        let slot = shard.blocks.get_mut(&key)?;
        slot.was_used = true;
        Some(Arc::clone(&slot.bytes))
    }

    fn has(&self, key: Key) -> bool {
        self.shard(key).lock().unwrap_or_else(PoisonError::into_inner).blocks.contains_key(&key)
    }

    fn put(&self, key: Key, bytes: Arc<[u8]>) {
        let mut shard = self.shard(key).lock().unwrap_or_else(PoisonError::into_inner);
        if shard.blocks.insert(key, Slot { bytes, was_used: false }).is_none() {
            shard.queue.push_back(key);
        }
        while shard.blocks.len() > self.blocks_a_shard {
            let Some(oldest) = shard.queue.pop_front() else { return };
            match shard.blocks.get_mut(&oldest) {
                Some(slot) if slot.was_used => {
                    slot.was_used = false;
                    shard.queue.push_back(oldest);
                }
                _ => {
                    shard.blocks.remove(&oldest);
                }
            }
        }
    }
}

/// Something that is read through a [`BlockCache`].
#[derive(Clone)]
pub struct CachedReader {
    content: Arc<dyn ReadAt>,
    size_bytes: u64,
    cache: Arc<BlockCache>,
    reader: u32,
}

impl CachedReader {
    /// What is read, past the cache: for content that is read once.
    #[must_use]
    pub fn content(&self) -> &Arc<dyn ReadAt> {
        &self.content
    }

    /// The block of this number, which is shorter only at the end.
    fn block(&self, number: u64) -> Result<Arc<[u8]>> {
        let key = (self.reader, number);
        if let Some(bytes) = self.cache.get(key) {
            return Ok(bytes);
        }
        let start = number.saturating_mul(BLOCK_BYTES);
        let len = self.size_bytes.saturating_sub(start).min(BLOCK_BYTES);
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
        self.content.read_exact_at(start, &mut bytes)?;
        let bytes: Arc<[u8]> = bytes.into();
        self.cache.put(key, Arc::clone(&bytes));
        Ok(bytes)
    }
}

impl ReadAt for CachedReader {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read_exact_at(&self, offset: u64, dst: &mut [u8]) -> Result<()> {
        let too_far = |len: usize| -> Error { passes_end(offset, len, self.size_bytes) };
        let len = dst.len();
        if offset.checked_add(size_of_len(len)).is_none_or(|end| end > self.size_bytes) {
            return Err(too_far(len));
        }
        let mut at = offset;
        let mut rest = dst;
        while !rest.is_empty() {
            let block = self.block(at / BLOCK_BYTES)?;
            let within = usize::try_from(at % BLOCK_BYTES).unwrap_or(0);
            let part = block.get(within..).filter(|part| !part.is_empty()).ok_or_else(|| too_far(len))?;
            let taken = part.len().min(rest.len());
            let (now, later) = rest.split_at_mut(taken);
            now.copy_from_slice(part.get(..taken).unwrap_or_default());
            at = at.saturating_add(size_of_len(taken));
            rest = later;
        }
        Ok(())
    }

    /// Passes on what is not here yet, in whole blocks, neighbours together.
    fn prefetch(&self, ranges: &[Range<u64>]) {
        let mut blocks: Vec<u64> = Vec::new();
        for range in ranges {
            let end = range.end.min(self.size_bytes);
            if range.start < end {
                let most = self.cache.blocks_a_shard.saturating_mul(SHARDS);
                let all = range.start / BLOCK_BYTES..end.div_ceil(BLOCK_BYTES);
                blocks.extend(all.take(most).filter(|number| !self.cache.has((self.reader, *number))));
            }
        }
        blocks.sort_unstable();
        blocks.dedup();
        let mut missing: Vec<Range<u64>> = Vec::new();
        for number in blocks {
            let start = number.saturating_mul(BLOCK_BYTES);
            let end = start.saturating_add(BLOCK_BYTES).min(self.size_bytes);
            match missing.last_mut() {
                Some(last) if last.end == start => last.end = end,
                _ => missing.push(start..end),
            }
        }
        if !missing.is_empty() {
            self.content.prefetch(&missing);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    struct Counted {
        bytes: Vec<u8>,
        reads: AtomicU64,
    }

    impl ReadAt for Counted {
        fn size_bytes(&self) -> u64 {
            self.bytes.size_bytes()
        }

        fn read_exact_at(&self, offset: u64, dst: &mut [u8]) -> Result<()> {
            self.reads.fetch_add(1, Ordering::Relaxed);
            self.bytes.read_exact_at(offset, dst)
        }
    }

    #[test]
    fn a_block_is_read_once_while_there_is_room_and_every_byte_is_right() {
        let bytes: Vec<u8> = (0..1_500_000_u32).map(|i| i.to_le_bytes()[1] ^ i.to_le_bytes()[0]).collect();
        let counted = Arc::new(Counted { bytes: bytes.clone(), reads: AtomicU64::new(0) });
        let mut limits = Limits::default();
        let cache = BlockCache::new(&limits);
        let reader = cache.reader(counted.clone());
        for (offset, len) in [(0, 10), (65_530, 20), (131_000, 200_000), (1_499_990, 10), (0, 300)] {
            let mut dst = vec![0; len];
            reader.read_exact_at(offset, &mut dst).unwrap();
            let start = usize::try_from(offset).unwrap();
            assert_eq!(dst, bytes[start..start + len]);
        }
        assert_eq!(counted.reads.load(Ordering::Relaxed), 7);
        assert!(reader.read_exact_at(1_499_991, &mut [0; 10]).is_err());
        assert!(reader.read_exact_at(u64::MAX, &mut [0; 10]).is_err());

        limits.metadata_cache_bytes.max = 0;
        let cache = BlockCache::new(&limits);
        let reader = cache.reader(counted);
        for offset in (0..1_500_000).step_by(9_999).chain((0..1_500_000).step_by(77_777)) {
            let mut dst = [0; 1];
            reader.read_exact_at(offset, &mut dst).unwrap();
            assert_eq!(dst[0], bytes[usize::try_from(offset).unwrap()]);
        }
        let kept: usize = cache.shards.iter().map(|shard| shard.lock().unwrap().blocks.len()).sum();
        assert!(kept <= SHARDS, "{kept}");
    }
}
