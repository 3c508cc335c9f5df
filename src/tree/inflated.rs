//! Inflated blocks of a compressed file system, each inflated once while there is room.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use crate::bytes::size_of_len;
use crate::error::Result;

/// A cache of inflated blocks. What was not used since it last came to the front goes first.
pub(super) struct Inflated<K> {
    most_bytes: u64,
    kept: Mutex<Kept<K>>,
}

struct Kept<K> {
    blocks: HashMap<K, Slot>,
    /// In the order in which they are looked at when room is needed.
    queue: VecDeque<K>,
    bytes: u64,
}

struct Slot {
    bytes: Arc<[u8]>,
    was_used: bool,
}

impl<K: Copy + Eq + std::hash::Hash> Inflated<K> {
    /// A cache of so many bytes; at least one block is always kept.
    pub(super) fn new(most_bytes: u64) -> Self {
        let kept = Kept { blocks: HashMap::new(), queue: VecDeque::new(), bytes: 0 };
        Inflated { most_bytes, kept: Mutex::new(kept) }
    }

    /// The block of this key, made if it is not here.
    ///
    /// # Errors
    /// Those of `make`.
    pub(super) fn get(&self, key: K, make: impl FnOnce() -> Result<Vec<u8>>) -> Result<Arc<[u8]>> {
        if let Some(slot) = self.kept.lock().unwrap_or_else(PoisonError::into_inner).blocks.get_mut(&key) {
            slot.was_used = true;
            return Ok(Arc::clone(&slot.bytes));
        }
        // Two threads may make the same block at once; neither waits for the other.
        let bytes: Arc<[u8]> = make()?.into();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.put(key, Arc::clone(&bytes), self.most_bytes);
        Ok(bytes)
    }
}

impl<K: Copy + Eq + std::hash::Hash> Kept<K> {
    fn put(&mut self, key: K, bytes: Arc<[u8]>, most_bytes: u64) {
        self.bytes = self.bytes.saturating_add(size_of_len(bytes.len()));
        match self.blocks.insert(key, Slot { bytes, was_used: false }) {
            Some(before) => self.bytes = self.bytes.saturating_sub(size_of_len(before.bytes.len())),
            None => self.queue.push_back(key),
        }
        while self.bytes > most_bytes && self.blocks.len() > 1 {
            let Some(oldest) = self.queue.pop_front() else { return };
            match self.blocks.get_mut(&oldest) {
                Some(slot) if slot.was_used => {
                    slot.was_used = false;
                    self.queue.push_back(oldest);
                }
                _ => {
                    let gone = self.blocks.remove(&oldest).map_or(0, |slot| size_of_len(slot.bytes.len()));
                    self.bytes = self.bytes.saturating_sub(gone);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_made_once_while_there_is_room() {
        let cache = Inflated::new(100);
        let mut made = 0;
        for key in [1, 2, 1, 2, 3, 1, 4, 5, 6, 1] {
            let bytes = cache.get(key, || {
                made += 1;
                Ok(vec![key; 30])
            });
            assert_eq!(&bytes.unwrap()[..], [key; 30]);
        }
        assert!((6..9).contains(&made), "{made}");
        assert_eq!(cache.get(9, || Ok(vec![9; 1000])).unwrap().len(), 1000);
        let kept = cache.kept.lock().unwrap();
        assert_eq!((kept.blocks.len(), kept.queue.len(), kept.bytes), (1, 1, 1000));
    }
}
