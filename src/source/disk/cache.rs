//! The cache of a disk: blocks of map tables and inflated clusters, those used longest ago go first.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::bytes::{ReadAt, passes_end, size_of_len};
use crate::error::Result;
use crate::limits::Limits;

/// What a map table is read in.
const BLOCK_BYTES: u64 = 64 << 10;

/// Which file of the chain, and which block or cluster of it.
type Key = (u32, u64);

/// Bounded by `disk_cache_bytes`.
pub(super) struct Cache {
    most_bytes: u64,
    next_file: AtomicU32,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    blocks: HashMap<Key, (u64, Arc<Vec<u8>>)>,
    /// By the time of the last use.
    used: BTreeMap<u64, Key>,
    time: u64,
    bytes: u64,
}

impl Cache {
    pub(super) fn new(limits: &Limits) -> Self {
        Cache {
            most_bytes: limits.disk_cache_bytes.max,
            next_file: AtomicU32::new(0),
            state: Mutex::default(),
        }
    }

    /// A number for keys that nobody else has.
    pub(super) fn number(&self) -> u32 {
        self.next_file.fetch_add(1, Ordering::Relaxed)
    }

    /// What is kept under a key, or what `make` makes. Two threads may make the same.
    pub(super) fn get(&self, key: Key, make: impl FnOnce() -> Result<Vec<u8>>) -> Result<Arc<Vec<u8>>> {
        if let Some(block) = self.touch(key) {
            return Ok(block);
        }
        let block = Arc::new(make()?);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.insert(key, Arc::clone(&block));
        while state.bytes > self.most_bytes && state.drop_oldest() {}
        Ok(block)
    }

    fn touch(&self, key: Key) -> Option<Arc<Vec<u8>>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let state = &mut *state;
        let (used, block) = state.blocks.get_mut(&key)?;
        state.used.remove(used);
        state.time = state.time.saturating_add(1);
        *used = state.time;
        state.used.insert(state.time, key);
        Some(Arc::clone(block))
    }
}

impl State {
    fn insert(&mut self, key: Key, block: Arc<Vec<u8>>) {
        self.time = self.time.saturating_add(1);
        self.bytes = self.bytes.saturating_add(size_of_len(block.len()));
        self.used.insert(self.time, key);
        if let Some((used, old)) = self.blocks.insert(key, (self.time, block)) {
            self.used.remove(&used);
            self.bytes = self.bytes.saturating_sub(size_of_len(old.len()));
        }
    }

    fn drop_oldest(&mut self) -> bool {
        let Some((_, key)) = self.used.pop_first() else { return false };
        if let Some((_, block)) = self.blocks.remove(&key) {
            self.bytes = self.bytes.saturating_sub(size_of_len(block.len()));
        }
        true
    }
}

/// A file whose map tables are read through the cache.
#[derive(Clone)]
pub(super) struct Tables {
    pub(super) file: Arc<dyn ReadAt>,
    cache: Arc<Cache>,
    number: u32,
}

impl Tables {
    pub(super) fn new(file: Arc<dyn ReadAt>, cache: &Arc<Cache>) -> Self {
        Tables { file, cache: Arc::clone(cache), number: cache.number() }
    }

    /// `N` bytes at `offset`.
    ///
    /// # Errors
    /// `Malformed` if they pass the end, `Io`.
    pub(super) fn array<const N: usize>(&self, offset: u64) -> Result<[u8; N]> {
        let mut array = [0; N];
        self.read(offset, &mut array)?;
        Ok(array)
    }

    pub(super) fn read(&self, mut offset: u64, dst: &mut [u8]) -> Result<()> {
        let size_bytes = self.file.size_bytes();
        let (end, wanted, mut rest) = (offset.saturating_add(size_of_len(dst.len())), dst.len(), dst);
        let passes = |at: u64| super::cut_off(passes_end(at, wanted, size_bytes), end, size_bytes);
        while !rest.is_empty() {
            let (number, within) = (offset.div_euclid(BLOCK_BYTES), offset.rem_euclid(BLOCK_BYTES));
            let start = number.saturating_mul(BLOCK_BYTES);
            let len = size_bytes.saturating_sub(start).min(BLOCK_BYTES);
            let block = self.cache.get((self.number, number), || {
                let mut block = vec![0; usize::try_from(len).unwrap_or(0)];
                self.file.read_exact_at(start, &mut block)?;
                Ok(block)
            })?;
            let part =
                usize::try_from(within).ok().and_then(|within| block.get(within..)).unwrap_or_default();
            let len = part.len().min(rest.len());
            let (Some(part), Some((head, tail))) = (part.get(..len), rest.split_at_mut_checked(len)) else {
                return Err(passes(offset));
            };
            if part.is_empty() {
                return Err(passes(offset));
            }
            head.copy_from_slice(part);
            rest = tail;
            offset = offset.saturating_add(size_of_len(len));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_read_across_blocks_and_the_cache_stays_bounded() {
        let mut limits = Limits::default();
        limits.set("disk_cache_bytes", 2 * BLOCK_BYTES).unwrap();
        let content: Vec<u8> = (0..5 * BLOCK_BYTES + 7).map(|i| (i % 251) as u8).collect();
        let cache = Arc::new(Cache::new(&limits));
        let tables = Tables::new(Arc::new(content.clone()), &cache);
        for at in [0, 1, BLOCK_BYTES - 3, 4 * BLOCK_BYTES - 1, 5 * BLOCK_BYTES - 1] {
            assert_eq!(tables.array::<8>(at).unwrap(), content[at as usize..at as usize + 8]);
        }
        assert!(tables.array::<8>(5 * BLOCK_BYTES).is_err());
        assert!(tables.array::<8>(u64::MAX - 2).is_err());
        assert!(cache.state.lock().unwrap().bytes <= 2 * BLOCK_BYTES);
    }
}
