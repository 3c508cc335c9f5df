//! Progress on standard error while images are read.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::options::Talk;

/// A line that says how much was read, renewed until it is dropped, and gone then.
pub(super) struct Progress {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Progress {
    /// Starts the line, if progress is to be shown.
    pub(super) fn start(what: String, bytes_read: Arc<AtomicU64>, talk: Talk) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let thread = talk.progress.then(|| {
            let stop = stop.clone();
            std::thread::spawn(move || show(&what, &bytes_read, &stop))
        });
        Progress { stop, thread }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A line of progress that failed is nobody's concern.
            let _ = thread.join();
        }
    }
}

fn show(what: &str, bytes_read: &AtomicU64, stop: &AtomicBool) {
    let started = Instant::now();
    let mut stderr = std::io::stderr();
    let mut shown = false;
    // What is done at once needs no progress.
    std::thread::park_timeout(Duration::from_millis(400));
    while !stop.load(Ordering::Relaxed) {
        let megabytes = bytes_read.load(Ordering::Relaxed) / 1_000_000;
        let seconds = started.elapsed().as_secs_f64();
        let rate = megabytes as f64 / seconds.max(0.001);
        let _ = write!(stderr, "\r\x1b[K{what}: {megabytes} MB read, {rate:.0} MB/s, {seconds:.0} s");
        let _ = stderr.flush();
        shown = true;
        std::thread::park_timeout(Duration::from_millis(200));
    }
    if shown {
        let _ = write!(stderr, "\r\x1b[K");
        let _ = stderr.flush();
    }
}
