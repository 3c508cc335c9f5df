//! One run over images: at most so many layers are read at once, each only once, and what they say is shared
//! by all images that hold them, and with other runs through the layer cache.
//!
//! Facts of a layer are believed only of bytes that have the layer's digest. A run that reads a layer proves
//! that; where they come from the cache or from another image of the run, the stored bytes are hashed, unless
//! they are the same bytes of the same file as those of a layer that was proven before, or the cache is trusted.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::bytes::{Identity, ReadAt};
use crate::collect::{Asked, Collector, Facts, SecondVisits, Squashed, Visited, gather};
use crate::error::Result;
use crate::layer;
use crate::model::{Gap, Sha256, StratumId};
use crate::source::LayerBlob;
use crate::stratum::{Scope, Stratum};

use super::Options;
use super::cache::Key;
use super::cache::entry::Kept;
use super::slots::Slots;

/// What an image says of a layer before it is read.
pub(super) struct Named {
    pub(super) place: String,
    digest: Option<Sha256>,
    diff_id: Option<Sha256>,
    blob: Option<Arc<dyn ReadAt>>,
}

impl Named {
    pub(super) fn of(layer: &LayerBlob) -> Self {
        Named {
            place: layer.place.clone(),
            digest: layer.digest,
            diff_id: layer.diff_id,
            blob: layer.blob.as_ref().ok().cloned(),
        }
    }
}

/// What a layer says.
#[derive(Default)]
pub(super) struct Gathered {
    pub(super) facts: Arc<Facts>,
    /// Gaps of the walk, at places within the image.
    pub(super) gaps: Vec<Gap>,
    /// Under what it is known, if it depends on nothing but its bytes, and these have their digests.
    key: Option<Key>,
}

/// What the images of a run share.
pub(super) struct Run<'a> {
    pub(super) options: &'a Options,
    pub(super) slots: Slots,
    pub(super) collectors: Vec<&'static dyn Collector>,
    /// Whether there may be other images that hold the same layers.
    is_shared: AtomicBool,
    /// Everything but the layer that facts depend on.
    context: Sha256,
    /// Layers that are being read or looked up.
    flights: Mutex<HashMap<Key, Arc<Mutex<()>>>>,
    /// Whether these bytes have this digest.
    proven: Mutex<HashMap<(Identity, Sha256), Proof>>,
    memory: Mutex<Memory>,
    /// All sequences of lowest layers that images of the run had.
    seen: Mutex<HashSet<Key>>,
}

/// Whether bytes have a digest, once that is known; found out by one, waited for by others.
type Proof = Arc<OnceLock<bool>>;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<'a> Run<'a> {
    pub(super) fn new(options: &'a Options, is_shared: bool) -> Self {
        let collectors = options.collectors();
        Run {
            options,
            slots: Slots::new(options.threads),
            context: context(options, &collectors),
            collectors,
            is_shared: AtomicBool::new(is_shared),
            flights: Mutex::default(),
            proven: Mutex::default(),
            memory: Mutex::new(Memory::new(options.limits().shared_entries.max)),
            seen: Mutex::default(),
        }
    }

    /// From now on layers are kept in memory for other images of the run.
    pub(super) fn share(&self) {
        self.is_shared.store(true, Ordering::Relaxed);
    }

    /// What a layer says: from memory, from the cache, or by reading it.
    ///
    /// # Errors
    /// If the layer cannot be believed.
    pub(super) fn gather(&self, layer: &Named, stratum: &dyn Stratum) -> Result<Gathered> {
        let (Some(key), Some(blob)) = (self.key(layer), &layer.blob) else {
            let mut facts = self.read(stratum)?;
            let gaps = std::mem::take(&mut facts.gaps);
            return Ok(Gathered { facts: Arc::new(facts), gaps, key: None });
        };
        let flight = Arc::clone(lock(&self.flights).entry(key).or_default());
        let kept = {
            let _one_at_a_time = lock(&flight);
            match self.recall(&key) {
                Some(kept) => kept,
                None => return self.read_and_keep(layer, &**blob, stratum, key),
            }
        };
        match self.is_believed(layer, blob, kept.stored) {
            true => Ok(Gathered {
                facts: Arc::clone(&kept.facts),
                gaps: placed(&kept.gaps, &layer.place),
                key: Some(key),
            }),
            // Reading it says what is wrong with it.
            false => self.read_and_keep(layer, &**blob, stratum, key),
        }
    }

    fn read(&self, stratum: &dyn Stratum) -> Result<Facts> {
        let _slot = self.slots.take();
        gather(stratum, Scope::All, &self.collectors, self.options.limits())
    }

    /// Under what a layer is kept: only if its image says what its tar must be.
    fn key(&self, layer: &Named) -> Option<Key> {
        let stored = layer.digest.map_or([0; 32], |digest| digest.0);
        let is_named = [u8::from(layer.digest.is_some())];
        let parts = [&self.context.0[..], &is_named, &stored, &layer.diff_id?.0];
        Some(Key(Sha256::of(&parts.concat())))
    }

    /// What is kept of a layer.
    fn recall(&self, key: &Key) -> Option<Arc<Kept>> {
        if let Some(Item::Layer(kept)) = lock(&self.memory).get(key) {
            return Some(kept);
        }
        let cache = self.options.cache.as_ref()?;
        let kept = Arc::new(Kept::decode(&cache.load(key, self.options.limits())?)?);
        self.remember(*key, kept.facts.entries.len(), Item::Layer(Arc::clone(&kept)));
        Some(kept)
    }

    fn remember(&self, key: Key, weight: usize, item: Item) {
        if self.is_shared.load(Ordering::Relaxed) {
            lock(&self.memory).insert(key, weight as u64, item);
        }
    }

    /// Whether the bytes of a layer are those that said what is kept.
    fn is_believed(&self, layer: &Named, blob: &Arc<dyn ReadAt>, stored: Sha256) -> bool {
        if layer.digest.is_some_and(|digest| digest != stored) {
            return false;
        }
        if self.options.cache.as_ref().is_some_and(|cache| cache.is_trusted()) {
            return true;
        }
        let has_digest = || {
            let _slot = self.slots.take();
            layer::stored_digest(&**blob, &self.options.layer).is_ok_and(|found| found == stored)
        };
        match blob.identity() {
            Some(identity) => *self.proof(identity, stored).get_or_init(has_digest),
            None => has_digest(),
        }
    }

    fn proof(&self, identity: Identity, stored: Sha256) -> Proof {
        Arc::clone(lock(&self.proven).entry((identity, stored)).or_default())
    }

    /// Reads a layer, and keeps what it says if that is so for good.
    fn read_and_keep(
        &self,
        layer: &Named,
        blob: &dyn ReadAt,
        stratum: &dyn Stratum,
        key: Key,
    ) -> Result<Gathered> {
        let before = blob.identity();
        let mut facts = self.read(stratum)?;
        let gaps = std::mem::take(&mut facts.gaps);
        let proven = stratum.proven().filter(|proven| Some(proven.tar) == layer.diff_id);
        let (Some(proven), Some(within)) = (proven, unplaced(&gaps, &layer.place)) else {
            return Ok(Gathered { facts: Arc::new(facts), gaps, key: None });
        };
        if let Some(identity) = before.filter(|before| blob.identity() == Some(*before)) {
            let _ = self.proof(identity, proven.stored).set(true);
        }
        if facts.is_passing {
            return Ok(Gathered { facts: Arc::new(facts), gaps, key: None });
        }
        let kept = Kept { stored: proven.stored, facts: Arc::new(facts), gaps: within };
        if let Some(cache) = &self.options.cache
            && let Some(payload) = kept.encode()
        {
            cache.store(&key, &payload, self.options.limits());
        }
        let facts = Arc::clone(&kept.facts);
        self.remember(key, facts.entries.len(), Item::Layer(Arc::new(kept)));
        Ok(Gathered { facts, gaps, key: Some(key) })
    }

    /// Joins the layers of an image. Where several images of the run have the same lowest layers, these are
    /// joined once.
    pub(super) fn squash(&self, layers: Vec<Gathered>) -> Squashed {
        let chain = match self.is_shared.load(Ordering::Relaxed) {
            true => chain(&layers),
            false => Vec::new(),
        };
        let (mut squashed, done) = self.longest_joined(&chain);
        let again = self.longest_seen(&chain, done);
        for (index, layer) in layers.into_iter().enumerate().skip(done) {
            squashed.apply(layer.facts);
            if let Some(key) = chain.get(index).filter(|_| again == Some(index + 1)) {
                squashed.freeze();
                self.remember(*key, squashed.len(), Item::Joined(Arc::new(squashed.clone())));
            }
        }
        squashed
    }

    /// The most of these layers that were joined before.
    fn longest_joined(&self, chain: &[Key]) -> (Squashed, usize) {
        let mut memory = lock(&self.memory);
        let found = chain.iter().enumerate().rev().find_map(|(index, key)| match memory.get(key) {
            Some(Item::Joined(joined)) => Some((joined, index + 1)),
            _ => None,
        });
        drop(memory);
        found.map(|(joined, done)| ((*joined).clone(), done)).unwrap_or_default()
    }

    /// How many of these layers another image had as its lowest, if more than were joined.
    fn longest_seen(&self, chain: &[Key], done: usize) -> Option<usize> {
        let mut seen = lock(&self.seen);
        let again = (done + 1..=chain.len()).rev().find(|count| seen.contains(&chain[count - 1]));
        seen.extend(chain);
        again
    }

    /// The second visits of an image with these layers.
    pub(super) fn visits<'r>(&'r self, layers: &[Gathered], places: &'r [String]) -> Visits<'r> {
        Visits { run: self, keys: layers.iter().map(|layer| layer.key).collect(), places }
    }
}

/// The keys of the lowest layer, of the lowest two, and so on, as far as they are known.
fn chain(layers: &[Gathered]) -> Vec<Key> {
    let keys = layers.iter().map_while(|layer| layer.key);
    keys.scan(None, |below: &mut Option<Key>, key| {
        let sum = below.unwrap_or(Key(Sha256([0; 32]))).with(&key.0.0);
        *below = Some(sum);
        Some(sum)
    })
    .collect()
}

/// A digest of all that facts depend on beside the layer. Limits of the cache itself and of memory do not
/// count, all others do.
fn context(options: &Options, collectors: &[&dyn Collector]) -> Sha256 {
    let mut text = format!("karat {}\nneeds {}\n", env!("CARGO_PKG_VERSION"), options.needs.bits());
    for collector in collectors {
        text.push_str(&format!("collector {} {}\n", collector.id(), collector.version()));
    }
    let own = ["cache_bytes", "cache_entry_bytes", "shared_entries"];
    for limit in options.limits().all().iter().filter(|limit| !own.contains(&limit.name)) {
        text.push_str(&format!("limit {} {}\n", limit.name, limit.max));
    }
    Sha256::of(text.as_bytes())
}

/// Gaps at places within a layer, as gaps of the image.
fn placed(within: &[Gap], place: &str) -> Vec<Gap> {
    within.iter().map(|gap| Gap { place: format!("{place}: {}", gap.place), ..gap.clone() }).collect()
}

/// Gaps of the image as gaps within a layer; `None` if one is of something else.
fn unplaced(gaps: &[Gap], place: &str) -> Option<Vec<Gap>> {
    let within = |gap: &Gap| {
        let inner = gap.place.strip_prefix(place)?.strip_prefix(": ")?;
        Some(Gap { place: inner.to_owned(), ..gap.clone() })
    };
    gaps.iter().map(within).collect()
}

/// Second visits of one image's layers, made once.
pub(super) struct Visits<'r> {
    run: &'r Run<'r>,
    keys: Vec<Option<Key>>,
    places: &'r [String],
}

impl SecondVisits for Visits<'_> {
    fn visit(
        &self,
        stratum: StratumId,
        asked: &Asked<'_>,
        visit: &dyn Fn() -> Result<Visited>,
    ) -> Result<Visited> {
        let (Some(key), Some(place)) =
            (self.keys.get(stratum.index()).copied().flatten(), self.places.get(stratum.index()))
        else {
            return visit();
        };
        let Ok(asked) = serde_json::to_vec(asked) else { return visit() };
        let key = key.with(&asked);
        if let Some(kept) = self.recall(&key) {
            return Ok(Visited { gaps: placed(&kept.gaps, place), ..(*kept).clone() });
        }
        let visited = visit()?;
        if let Some(gaps) = unplaced(&visited.gaps, place).filter(|_| !visited.is_passing) {
            let kept = Visited { gaps, ..visited.clone() };
            if let Some(cache) = &self.run.options.cache
                && let Ok(payload) = serde_json::to_vec(&kept)
            {
                cache.store(&key, &payload, self.run.options.limits());
            }
            self.remember(key, Arc::new(kept));
        }
        Ok(visited)
    }
}

impl Visits<'_> {
    fn recall(&self, key: &Key) -> Option<Arc<Visited>> {
        if let Some(Item::Visited(kept)) = lock(&self.run.memory).get(key) {
            return Some(kept);
        }
        let cache = self.run.options.cache.as_ref()?;
        let kept: Visited = serde_json::from_slice(&cache.load(key, self.run.options.limits())?).ok()?;
        let kept = Arc::new(kept);
        self.remember(*key, Arc::clone(&kept));
        Some(kept)
    }

    fn remember(&self, key: Key, visited: Arc<Visited>) {
        self.run.remember(key, visited.parts.len(), Item::Visited(visited));
    }
}

/// What the images of a run share in memory, up to a weight; what was used longest ago goes first.
struct Memory {
    items: HashMap<Key, Remembered>,
    weight: u64,
    most: u64,
    clock: u64,
}

struct Remembered {
    used: u64,
    weight: u64,
    item: Item,
}

#[derive(Clone)]
enum Item {
    /// What a layer says.
    Layer(Arc<Kept>),
    /// Several lowest layers, joined.
    Joined(Arc<Squashed>),
    /// What a second visit found.
    Visited(Arc<Visited>),
}

impl Memory {
    fn new(most: u64) -> Self {
        Memory { items: HashMap::new(), weight: 0, most, clock: 0 }
    }

    fn get(&mut self, key: &Key) -> Option<Item> {
        self.clock += 1;
        let found = self.items.get_mut(key)?;
        found.used = self.clock;
        Some(found.item.clone())
    }

    fn insert(&mut self, key: Key, weight: u64, item: Item) {
        self.clock += 1;
        let weight = weight.saturating_add(1);
        self.weight = self.weight.saturating_add(weight);
        let remembered = Remembered { used: self.clock, weight, item };
        if let Some(old) = self.items.insert(key, remembered) {
            self.weight = self.weight.saturating_sub(old.weight);
        }
        while self.weight > self.most {
            let Some(oldest) = self.items.iter().min_by_key(|(_, r)| r.used).map(|(key, _)| *key) else {
                return;
            };
            if let Some(old) = self.items.remove(&oldest) {
                self.weight = self.weight.saturating_sub(old.weight);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_lets_go_of_what_was_used_longest_ago() {
        let key = |n: u8| Key(Sha256([n; 32]));
        let mut memory = Memory::new(10);
        for n in 0..3 {
            memory.insert(key(n), 2, Item::Visited(Arc::default()));
        }
        assert!(memory.get(&key(0)).is_some());
        memory.insert(key(3), 2, Item::Visited(Arc::default()));
        let left: Vec<bool> = (0..4).map(|n| memory.get(&key(n)).is_some()).collect();
        assert_eq!(left, [true, false, true, true]);
        memory.insert(key(4), 20, Item::Visited(Arc::default()));
        assert_eq!((memory.items.len(), memory.weight), (0, 0));
    }

    #[test]
    fn gaps_of_a_layer_move_with_it() {
        let gap = |place: &str| Gap { place: place.into(), reason: "so".into(), required: true };
        let within = unplaced(&[gap("layer 1 of 2: /a")], "layer 1 of 2").unwrap();
        assert_eq!(within, [gap("/a")]);
        assert_eq!(placed(&within, "layer 2 of 9"), [gap("layer 2 of 9: /a")]);
        assert_eq!(unplaced(&[gap("image")], "layer 1 of 2"), None);
    }
}
