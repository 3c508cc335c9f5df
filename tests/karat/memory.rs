//! Strata in memory, for tests of what is built on them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use karat::bytes::ReadAt;
use karat::collect::{
    Assembled, Collector, FileView, Needs, Out, Squashed, assemble, follow_up, gather, squash,
};
use karat::error::Result;
use karat::limits::Limits;
use karat::model::{ImagePath, Sha256, StratumId};
use karat::stratum::{Entry, Meta, Node, Scope, Sink, Stratum, Want};

/// A stratum made by hand.
#[derive(Default, Clone)]
pub(crate) struct Memory {
    id: u32,
    /// How often it was visited, by all its clones.
    visits: Arc<AtomicUsize>,
    entries: Vec<(Entry, Vec<u8>)>,
}

impl Memory {
    pub(crate) fn new() -> Self {
        Memory::default()
    }

    pub(crate) fn visits(&self) -> usize {
        self.visits.load(Ordering::Relaxed)
    }

    fn push(mut self, path: &str, node: Node, content: &[u8]) -> Self {
        self.entries.push((Entry { path: ImagePath::from(path), node }, content.to_vec()));
        self
    }

    pub(crate) fn file(self, path: &str, content: impl AsRef<[u8]>) -> Self {
        let content = content.as_ref();
        let meta = Meta { size_bytes: content.len() as u64, mode: 0o644 };
        self.push(path, Node::File(meta), content)
    }

    pub(crate) fn dir(self, path: &str) -> Self {
        self.push(path, Node::Directory(Meta::default()), b"")
    }

    pub(crate) fn link(self, path: &str, target: &str) -> Self {
        self.push(path, Node::Symlink(target.as_bytes().into()), b"")
    }

    pub(crate) fn hard_link(self, path: &str, target: &str) -> Self {
        self.push(path, Node::HardLink(ImagePath::from(target)), b"")
    }

    pub(crate) fn special(self, path: &str) -> Self {
        self.push(path, Node::Special, b"")
    }

    pub(crate) fn whiteout(self, path: &str) -> Self {
        self.push(path, Node::Whiteout, b"")
    }

    pub(crate) fn opaque(self, path: &str) -> Self {
        self.push(path, Node::Opaque, b"")
    }
}

impl Stratum for Memory {
    fn id(&self) -> StratumId {
        StratumId(self.id)
    }

    fn digest(&self) -> Option<Sha256> {
        None
    }

    fn visit(&self, scope: Scope<'_>, sink: &dyn Sink) -> Result<()> {
        self.visits.fetch_add(1, Ordering::Relaxed);
        for (entry, content) in self.entries.iter().filter(|(entry, _)| scope.shows(&entry.path)) {
            match sink.request(entry).want {
                Want::No => {}
                Want::Head(len) => sink.file(entry, &content[..content.len().min(len as usize)].to_vec()),
                Want::Random => sink.file(entry, content),
            }
        }
        Ok(())
    }
}

/// How a walk goes: over everything, as through a stream, or by look-ups, as on a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Walk {
    Stream,
    LookUp,
}

/// Collects and squashes, with second visits.
pub(crate) fn squash_all(
    strata: Vec<Memory>,
    walk: Walk,
    collectors: &[&dyn Collector],
    threads: usize,
) -> Squashed {
    let limits = Limits::default();
    let strata: Vec<Memory> =
        strata.into_iter().enumerate().map(|(id, s)| Memory { id: id as u32, ..s }).collect();
    let mut places: Vec<ImagePath> =
        collectors.iter().flat_map(|c| c.places()).map(|place| ImagePath::from(*place)).collect();
    places.sort();
    let scope = match walk {
        Walk::Stream => Scope::All,
        Walk::LookUp => Scope::Only(&places),
    };
    let mut facts = Vec::new();
    for chunk in strata.chunks(threads) {
        std::thread::scope(|threads| {
            let running: Vec<_> = chunk
                .iter()
                .map(|stratum| threads.spawn(|| gather(stratum, scope, collectors, &limits).unwrap()))
                .collect();
            facts.extend(running.into_iter().map(|thread| thread.join().unwrap()));
        });
    }
    let mut squashed = squash(facts);
    let strata: Vec<&dyn Stratum> = strata.iter().map(|s| s as &dyn Stratum).collect();
    follow_up(&mut squashed, &strata, collectors, &limits, &());
    squashed
}

/// The collectors of karat that serve these needs.
pub(crate) fn serving(needs: Needs) -> Vec<&'static dyn Collector> {
    karat::collect::COLLECTORS.iter().copied().filter(|c| needs.any(c.serves())).collect()
}

/// The system that these strata come to.
pub(crate) fn system(strata: Vec<Memory>, needs: Needs) -> Assembled {
    assemble(&squash_all(strata, Walk::Stream, &serving(needs), 1), needs, &Limits::default())
}

/// A collector made by hand.
pub(crate) struct Probe {
    pub(crate) places: &'static [&'static str],
    pub(crate) want: fn(&Entry) -> Want,
    pub(crate) companions: fn(&ImagePath) -> Vec<ImagePath>,
    pub(crate) collect: fn(&FileView<'_>, &mut Out<'_>) -> Result<()>,
}

impl Collector for Probe {
    fn id(&self) -> &'static str {
        "probe"
    }

    fn version(&self) -> u32 {
        1
    }

    fn serves(&self) -> Needs {
        Needs::OS_PACKAGES
    }

    fn places(&self) -> &'static [&'static str] {
        self.places
    }

    fn companions(&self, path: &ImagePath) -> Vec<ImagePath> {
        (self.companions)(path)
    }

    fn want(&self, entry: &Entry) -> Want {
        (self.want)(entry)
    }

    fn collect(&self, file: &FileView<'_>, out: &mut Out<'_>) -> Result<()> {
        (self.collect)(file, out)
    }
}

/// All bytes of a content.
pub(crate) fn bytes(content: &dyn ReadAt) -> Vec<u8> {
    karat::bytes::read_all(content, Limits::default().package_db_bytes).unwrap()
}
