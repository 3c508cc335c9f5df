//! Opens images and streams all of their layers through karat's pipeline (read, inflate, hash, parse the tar)
//! with a sink that wants nothing: what any audit of them costs at least. Prints seconds and sizes.
//!
//! `cargo run --release --example digest_only -- [--threads N] IMAGE…`
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use karat::codec::SpoolPool;
use karat::error::Result;
use karat::layer;
use karat::limits::Limits;
use karat::model::Gap;
use karat::source::{self, Content};
use karat::stratum::{Entry, Request, Scope, Sink, Stratum};

/// Counts and wants nothing.
#[derive(Default)]
struct Nothing {
    entries: AtomicU64,
    gaps: AtomicU64,
}

impl Sink for Nothing {
    fn request(&self, _: &Entry) -> Request {
        self.entries.fetch_add(1, Ordering::Relaxed);
        Request::NOTHING
    }

    fn file(&self, _: &Entry, _: &dyn karat::bytes::ReadAt) {}

    fn gap(&self, _: Gap) {
        self.gaps.fetch_add(1, Ordering::Relaxed);
    }
}

fn main() -> ExitCode {
    let mut threads = thread::available_parallelism().map_or(1, usize::from);
    let mut images = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--threads" => threads = arguments.next().and_then(|n| n.parse().ok()).unwrap_or(threads),
            _ => images.push(argument),
        }
    }
    let mut code = ExitCode::SUCCESS;
    for image in images {
        if let Err(error) = stream(&image, threads) {
            eprintln!("{error}");
            code = ExitCode::FAILURE;
        }
    }
    code
}

fn stream(reference: &str, threads: usize) -> Result<()> {
    let start = Instant::now();
    let limits = Arc::new(Limits::default());
    let options = source::Options {
        limits: Arc::clone(&limits),
        platform: "linux/amd64".parse()?,
        all_platforms: false,
        disk_folders: Default::default(),
        check_digests: false,
        spool: karat::codec::SpoolPool::new(std::env::temp_dir(), &limits),
        registry: Arc::default(),
    };
    let progress = Arc::new(AtomicU64::new(0));
    let layers = layer::Options {
        spool: SpoolPool::new(std::env::temp_dir(), &limits),
        limits,
        progress: Arc::clone(&progress),
    };
    let mut strata: Vec<Box<dyn Stratum>> = Vec::new();
    for image in source::open(reference, &options)? {
        match image.content? {
            Content::Layers(set) => strata.extend(layer::strata(set, &layers)),
            Content::Directory(stratum) => strata.push(stratum),
            Content::Disks(_) | Content::Document(_) => {}
        }
    }
    strata.sort_by_key(|stratum| std::cmp::Reverse(stratum.size_bytes()));
    let sink = Nothing::default();
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                while let Some(stratum) = strata.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(error) = stratum.visit(Scope::All, &sink) {
                        failed.lock().unwrap_or_else(|p| p.into_inner()).push(error);
                    }
                }
            });
        }
    });
    if let Some(error) = failed.into_inner().unwrap_or_default().pop() {
        return Err(error.at(reference));
    }
    println!(
        "{reference}: {:.3} s, {} strata, {} stored bytes, {} entries, {} gaps",
        start.elapsed().as_secs_f64(),
        strata.len(),
        progress.load(Ordering::Relaxed),
        sink.entries.load(Ordering::Relaxed),
        sink.gaps.load(Ordering::Relaxed),
    );
    Ok(())
}
