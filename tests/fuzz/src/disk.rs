//! Disks, volumes and file systems out of small inputs.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, LazyLock, Mutex};

use karat::bytes::{ReadAt, passes_end};
use karat::error::Result;
use karat::limits::Limits;
use karat::model::{Gap, ImagePath, StratumId};
use karat::stratum::{Entry, Node, Request, Scope, Sink, Stratum as _, Want};
use karat::tree::{self, BlockCache, FsKind, Mount, TreeStratum};

use crate::holding;

const SECTOR: u64 = 512;

/// A disk that is mostly blank: its size in sectors, then sectors, each after its number, all numbers of 32 bits.
/// `pack.rs` makes it out of an image.
pub struct Packed {
    sectors: HashMap<u64, [u8; 512]>,
    size_bytes: u64,
    read: AtomicU64,
}

impl Packed {
    /// The disk that an input stands for; a sector that is cut off ends in zeros.
    #[must_use]
    pub fn of(data: &[u8]) -> Self {
        let number = |at: usize| {
            let bytes = data.get(at..at + 4).map_or([0; 4], |bytes| bytes.try_into().expect("four"));
            u64::from(u32::from_le_bytes(bytes))
        };
        let mut disk =
            Packed { sectors: HashMap::new(), size_bytes: number(0) * SECTOR, read: AtomicU64::new(0) };
        let mut at = 4;
        while at + 4 < data.len() {
            let stored = &data[at + 4..data.len().min(at + 4 + 512)];
            let mut sector = [0; 512];
            sector[..stored.len()].copy_from_slice(stored);
            if number(at) * SECTOR < disk.size_bytes {
                disk.sectors.insert(number(at), sector);
            }
            at += 4 + 512;
        }
        disk
    }

    /// How many bytes were read so far.
    #[must_use]
    pub fn read_bytes(&self) -> u64 {
        self.read.load(Relaxed)
    }
}

impl ReadAt for Packed {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read_exact_at(&self, offset: u64, dst: &mut [u8]) -> Result<()> {
        if offset.checked_add(dst.len() as u64).is_none_or(|end| end > self.size_bytes) {
            return Err(passes_end(offset, dst.len(), self.size_bytes));
        }
        self.read.fetch_add(dst.len() as u64, Relaxed);
        let mut done = 0;
        while done < dst.len() {
            let at = offset + done as u64;
            let within = (at % SECTOR) as usize;
            let len = (512 - within).min(dst.len() - done);
            let part = &mut dst[done..done + len];
            match self.sectors.get(&(at / SECTOR)) {
                Some(sector) => part.copy_from_slice(&sector[within..within + len]),
                None => part.fill(0),
            }
            done += len;
        }
        Ok(())
    }
}

/// Ceilings that keep an input from costing only time.
pub static LIMITS: LazyLock<Arc<Limits>> = LazyLock::new(|| {
    let mut limits = Limits::default();
    limits.entries.max = 10_000;
    limits.gaps.max = 1_000;
    limits.blank_bytes.max = 1 << 20;
    limits.metadata_cache_bytes.max = 2 << 20;
    limits.disk_cache_bytes.max = 2 << 20;
    limits.file_extents.max = 100_000;
    Arc::new(limits)
});

/// So many bytes of each file are read from its start, and fewer from its end.
const HEAD_BYTES: usize = 20_000;

/// Reads what is at an offset, up to so many bytes; `None` if it cannot be had.
#[must_use]
pub fn piece(content: &dyn ReadAt, offset: u64, len: usize) -> Option<Vec<u8>> {
    let left = content.size_bytes().saturating_sub(offset);
    let mut bytes = vec![0; usize::try_from(left).unwrap_or(usize::MAX).min(len)];
    content.read_exact_at(offset, &mut bytes).ok()?;
    Some(bytes)
}

/// Keeps entries, reads heads and tails of files, counts gaps.
#[derive(Default)]
struct Heads {
    entries: Mutex<BTreeMap<ImagePath, Node>>,
    gaps: AtomicU64,
}

impl Sink for Heads {
    fn request(&self, entry: &Entry) -> Request {
        let mut entries = self.entries.lock().expect("one thread");
        assert!(
            entries.insert(entry.path.clone(), entry.node.clone()).is_none(),
            "{} came twice",
            entry.path
        );
        Request::content(Want::Random)
    }

    fn file(&self, entry: &Entry, content: &dyn ReadAt) {
        let Node::File(meta) = &entry.node else { panic!("{} is no file", entry.path) };
        assert_eq!(meta.size_bytes, content.size_bytes(), "{}", entry.path);
        let head = piece(content, 0, HEAD_BYTES);
        let _ = piece(content, content.size_bytes().saturating_sub(1000), 1000);
        if let Some(head) = head
            && let Some(again) = piece(content, 700, 3000)
        {
            let len = head.len().min(3700);
            assert_eq!(
                head.get(700..len).unwrap_or_default(),
                &again[..len.saturating_sub(700)],
                "{}",
                entry.path
            );
        }
    }

    fn gap(&self, _: Gap) {
        self.gaps.fetch_add(1, Relaxed);
    }
}

/// A file system of this kind on the volume that an input stands for: opened, walked, every file's head read, and
/// what was walked looked up by path, all in bounded memory.
///
/// # Panics
/// If a promise of the reader is broken.
pub fn tree(kind: FsKind, data: &[u8]) {
    let volume = Arc::new(Packed::of(data));
    holding(64 << 20, || {
        let limits = Arc::clone(&LIMITS);
        let Ok(tree) = tree::open(kind, Arc::clone(&volume) as _, &BlockCache::new(&limits), &limits) else {
            return;
        };
        let has_doubts = !tree.doubts().is_empty();
        let mount = Mount::new(ImagePath::root(), Arc::clone(&tree), "volume");
        let stratum = TreeStratum::new(StratumId(0), vec![mount], limits).expect("it is at the root");
        let heads = Heads::default();
        let walked = stratum.visit(Scope::All, &heads);
        if walked.is_err() || has_doubts || heads.gaps.load(Relaxed) > 0 {
            return;
        }
        // Nothing is wrong: what is listed is found, and as what it is listed.
        let entries = heads.entries.into_inner().expect("one thread");
        let some: Vec<ImagePath> =
            entries.keys().filter(|path| !path.is_root()).step_by(7).take(50).cloned().collect();
        for (path, reached) in some.iter().zip(tree.lookup_many(tree.root(), &some)) {
            assert!(reached.failed.is_none(), "{path}: {:?}", reached.failed);
            assert_eq!(reached.steps.len(), path.components().count(), "{path} is listed and not found");
            let (Some(step), Node::File(meta)) = (reached.steps.last(), &entries[path]) else { continue };
            assert_eq!((step.meta.size_bytes, step.meta.mode), (meta.size_bytes, meta.mode), "{path}");
        }
    });
}
