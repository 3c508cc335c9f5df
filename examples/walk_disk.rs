//! Walks every root file system of a disk image and reads the first bytes of each executable: what a search for
//! binaries costs at least. `walk_disk IMAGE` prints entries, executables and bytes read of these.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program of its own")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use karat::bytes::{HostFile, ReadAt};
use karat::error::Result;
use karat::limits::Limits;
use karat::model::{Gap, StratumId};
use karat::root;
use karat::source::disk::{Folder, open_disk};
use karat::stratum::{Entry, Node, Request, Scope, Sink, Stratum, Want};
use karat::tree::{self, BlockCache, TreeStratum};
use karat::volume::{self, Role};

/// As much as headers and program headers take.
const HEAD_BYTES: u32 = 4096;

#[derive(Default)]
struct Headers {
    entries: AtomicU64,
    executables: AtomicU64,
    elf: AtomicU64,
    gaps: AtomicU64,
}

impl Sink for Headers {
    fn request(&self, entry: &Entry) -> Request {
        self.entries.fetch_add(1, Ordering::Relaxed);
        match &entry.node {
            Node::File(meta)
                if meta.mode & 0o111 != 0 || entry.path.as_bytes().windows(3).any(|w| w == b".so") =>
            {
                Request::content(Want::Head(HEAD_BYTES))
            }
            _ => Request::NOTHING,
        }
    }

    fn file(&self, _entry: &Entry, content: &dyn ReadAt) {
        self.executables.fetch_add(1, Ordering::Relaxed);
        let mut head = vec![0; usize::try_from(content.size_bytes()).unwrap_or(0)];
        if content.read_exact_at(0, &mut head).is_ok() && head.starts_with(b"\x7fELF") {
            self.elf.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn gap(&self, gap: Gap) {
        eprintln!("{}: {}", gap.place, gap.reason);
        self.gaps.fetch_add(1, Ordering::Relaxed);
    }
}

fn main() -> Result<()> {
    let limits = Arc::new(Limits::default());
    for name in std::env::args().skip(1) {
        let path = Path::new(&name);
        let folder = Folder::new(path.parent().unwrap_or(Path::new(".")), &[].into());
        let file: Arc<dyn ReadAt> = Arc::new(HostFile::new(std::fs::File::open(path)?)?);
        let disk =
            open_disk(&path.file_name().unwrap_or_default().to_string_lossy(), file, &folder, &limits)?;
        let cache = BlockCache::new(&limits);
        let layout = volume::volumes(&disk.data, &limits)?;
        let candidates = layout.volumes.into_iter().filter(|volume| volume.role == Role::Candidate);
        let volumes: Vec<root::Volume> = candidates
            .filter_map(|volume| {
                Some(root::Volume {
                    tree: tree::open(volume.probed.kind, volume.data?, &cache, &limits),
                    place: volume.place,
                    disk: 0,
                    number: volume.number,
                    is_disk: false,
                    part_uuid: volume.part_uuid,
                    part_label: volume.name,
                    part_kind: volume.kind,
                    holds_none: false,
                    logical: volume.logical,
                })
            })
            .collect();
        for system in root::systems(&volumes, &limits).systems {
            let stratum = TreeStratum::new(StratumId(0), system.mounts, Arc::clone(&limits))?;
            let headers = Headers::default();
            stratum.visit(Scope::All, &headers)?;
            let count = |number: &AtomicU64| number.load(Ordering::Relaxed);
            println!(
                "{}: {} entries, {} executables, {} of them ELF, {} gaps",
                system.place,
                count(&headers.entries),
                count(&headers.executables),
                count(&headers.elf),
                count(&headers.gaps)
            );
        }
    }
    Ok(())
}
