//! What the fuzz targets share: a bound on what is held in memory, options, small tars, and a file that an
//! input is written to where the library opens files by name.

pub mod disk;

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, LazyLock};

use karat::codec::SpoolPool;
use karat::collect::{COLLECTORS, Needs};
use karat::limits::Limits;
use karat::model::Time;
use karat::{layer, scan, source};

/// Counts what the library holds; C libraries are not seen.
struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

fn took(len: usize) {
    let held = HELD.fetch_add(len, Relaxed) + len;
    PEAK.fetch_max(held, Relaxed);
}

// SAFETY: every call goes to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        took(layout.size());
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        took(layout.size());
        // SAFETY: as the caller promised.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, len: usize) -> *mut u8 {
        took(len);
        HELD.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as the caller promised.
        unsafe { System.realloc(at, layout, len) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Runs `work`, which may hold at most so many bytes.
///
/// # Panics
/// If it held more at any time.
pub fn holding<T>(most: usize, work: impl FnOnce() -> T) -> T {
    let before = HELD.load(Relaxed);
    PEAK.store(before, Relaxed);
    let done = work();
    let held = PEAK.load(Relaxed).saturating_sub(before);
    assert!(held <= most, "{held} bytes were held, {most} are allowed");
    done
}

/// The default ceilings, but for what would only cost time: inputs are small.
pub static LIMITS: LazyLock<Arc<Limits>> = LazyLock::new(|| {
    let mut limits = Limits::default();
    limits.layer_bytes.max = 16 << 20;
    limits.spool_file_bytes.max = 16 << 20;
    Arc::new(limits)
});

/// How images are opened: Linux on amd64, nothing of the host but the file itself.
#[must_use]
pub fn source_options(all_platforms: bool) -> source::Options {
    static SPOOL: LazyLock<Arc<SpoolPool>> = LazyLock::new(|| SpoolPool::new(std::env::temp_dir(), &LIMITS));
    source::Options {
        limits: Arc::clone(&LIMITS),
        platform: source::OciPlatform { os: "linux".into(), arch: "amd64".into(), variant: None },
        all_platforms,
        disk_folders: Default::default(),
        check_digests: false,
        spool: Arc::clone(&SPOOL),
        registry: Arc::default(),
    }
}

/// How images are scanned for everything, at so many threads.
#[must_use]
pub fn scan_options(all_platforms: bool, threads: usize) -> scan::Options {
    let source = source_options(all_platforms);
    let layer = layer::Options {
        limits: Arc::clone(&LIMITS),
        spool: Arc::clone(&source.spool),
        progress: Arc::default(),
    };
    let needs = Needs::OS_PACKAGES | Needs::HISTORY | Needs::OWNERSHIP;
    let taken_at = Time::from_unix(0).expect("1970");
    scan::Options { source, layer, needs, collectors: COLLECTORS, threads, taken_at, cache: None }
}

/// A file or folder for one process, in memory where that is possible.
pub struct InFile(PathBuf);

impl InFile {
    /// Where a file will be.
    #[must_use]
    pub fn new() -> Self {
        let shared = PathBuf::from("/dev/shm");
        let folder = if shared.is_dir() { shared } else { std::env::temp_dir() };
        InFile(folder.join(format!("karat-fuzz-{}", std::process::id())))
    }

    /// An empty folder.
    ///
    /// # Panics
    /// If it cannot be made.
    #[must_use]
    pub fn folder() -> Self {
        let folder = InFile::new();
        fs::create_dir_all(&folder.0).expect("a temporary folder");
        folder
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes it whole; its path.
    ///
    /// # Panics
    /// If it cannot be written.
    #[must_use]
    pub fn of(&self, bytes: &[u8]) -> &str {
        fs::write(&self.0, bytes).expect("a temporary file");
        self.0.to_str().expect("a plain path")
    }
}

impl Default for InFile {
    fn default() -> Self {
        InFile::new()
    }
}

/// A tar of such files: `(path, content)`.
///
/// # Panics
/// If a path does not fit a header.
#[must_use]
pub fn tar_of(files: &[(String, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, path, *content).expect("a member");
    }
    builder.into_inner().expect("a tar in memory")
}
