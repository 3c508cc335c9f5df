//! Disks of fixtures that are large and mostly empty, and what a mount of them shows.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;
use std::sync::{Arc, Mutex};

use karat::bytes::ReadAt;
use karat::{Error, Result};

use crate::tree_walk::{Rows, listed};

const PAGE: usize = 4096;

/// A disk of which only pages with something in them are in memory; counts what is read.
#[derive(Clone)]
pub(crate) struct Sparse {
    pub(crate) pages: BTreeMap<u64, Vec<u8>>,
    pub(crate) size_bytes: u64,
    pub(crate) read: Arc<Mutex<BTreeSet<u64>>>,
}

fn unpacked(name: &str) -> Box<dyn Read> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/disks").join(name);
    let file = std::fs::File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut stream = zstd::stream::read::Decoder::new(file).unwrap();
    stream.window_log_max(27).unwrap();
    Box::new(stream)
}

impl Sparse {
    /// `fixtures/disks/NAME.img.zst`.
    pub(crate) fn fixture(name: &str) -> Self {
        let mut stream = unpacked(&format!("{name}.img.zst"));
        let mut this = Sparse { pages: BTreeMap::new(), size_bytes: 0, read: Arc::default() };
        let mut page = vec![0; PAGE];
        while stream.read_exact(&mut page).is_ok() {
            if page.iter().any(|byte| *byte != 0) {
                this.pages.insert(this.size_bytes / PAGE as u64, page.clone());
            }
            this.size_bytes += PAGE as u64;
        }
        this
    }

    /// Changes one byte.
    pub(crate) fn change(&mut self, at: u64, change: impl FnOnce(&mut u8)) {
        let page = self.pages.entry(at / PAGE as u64).or_insert_with(|| vec![0; PAGE]);
        change(&mut page[at as usize % PAGE]);
    }
}

impl ReadAt for Sparse {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read_exact_at(&self, offset: u64, dst: &mut [u8]) -> Result<()> {
        if offset.checked_add(dst.len() as u64).is_none_or(|end| end > self.size_bytes) {
            return Err(Error::malformed("disk", "range", offset, "past its end", "inside"));
        }
        let mut read = self.read.lock().unwrap();
        let mut done = 0;
        while done < dst.len() {
            let at = offset + done as u64;
            let inside = at as usize % PAGE;
            let taken = (PAGE - inside).min(dst.len() - done);
            let part = &mut dst[done..done + taken];
            match self.pages.get(&(at / PAGE as u64)) {
                Some(page) => part.copy_from_slice(&page[inside..inside + taken]),
                None => part.fill(0),
            }
            read.insert(at / PAGE as u64);
            done += taken;
        }
        Ok(())
    }
}

/// What a mount shows, by `fixtures/disks/NAME.tsv.zst`: rows by path.
pub(crate) fn truth(name: &str) -> Rows {
    let mut all = Vec::new();
    unpacked(&format!("{name}.tsv.zst")).read_to_end(&mut all).unwrap();
    listed(&all)
}
