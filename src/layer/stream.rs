//! The bytes of a layer's tar, hashed on the way.

use std::cell::Cell;
use std::io::{self, BufRead, Read};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use sha2::Digest as _;

use super::Options;
use crate::archive::tar::Skip;
use crate::bytes::{ReadAt, size_of_len};
use crate::codec::{self, Compression};
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::model::Sha256;

/// The size of a buffer: large enough that calls and channels do not count, small enough for the cache.
const BUFFER_BYTES: usize = 256 << 10;
/// Buffers of one layer.
const RING: usize = 8;
/// Inflation is not judged before so many bytes: small layers of zeros are no bombs.
const RATIO_FREE_BYTES: u64 = 64 << 20;

/// The digests of a layer: of its bytes as stored, and of its tar.
pub(super) struct Digests {
    pub(super) stored: Sha256,
    pub(super) tar: Sha256,
}

fn read_buffered(stream: &mut dyn BufRead, dst: &mut [u8]) -> io::Result<usize> {
    let len = stream.fill_buf()?.read(dst)?;
    stream.consume(len);
    Ok(len)
}

/// A buffer with what is in it.
struct Buffer {
    bytes: Box<[u8]>,
    len: usize,
}

impl Buffer {
    fn new() -> Self {
        Buffer { bytes: vec![0; BUFFER_BYTES].into_boxed_slice(), len: 0 }
    }

    fn filled(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(&[])
    }
}

/// Stored bytes in order.
struct Stored<'a> {
    blob: &'a dyn ReadAt,
    at: u64,
    progress: &'a AtomicU64,
}

impl Stored<'_> {
    /// Fills a buffer; leaves it empty at the end.
    fn fill(&mut self, buffer: &mut Buffer) -> io::Result<()> {
        let left = self.blob.size_bytes().saturating_sub(self.at);
        let len = usize::try_from(left).map_or(BUFFER_BYTES, |left| left.min(BUFFER_BYTES));
        buffer.len = 0;
        if let Some(part) = buffer.bytes.get_mut(..len) {
            self.blob.read_exact_at(self.at, part).map_err(Error::into_io)?;
            buffer.len = len;
        }
        self.at = self.at.saturating_add(size_of_len(len));
        self.progress.fetch_add(size_of_len(len), Ordering::Relaxed);
        Ok(())
    }
}

/// What the first stage gives the second.
enum Chunk {
    /// Bytes that were inflated from; to be hashed.
    Stored(Buffer),
    /// Bytes of the tar; to be hashed and parsed.
    Tar(Buffer),
    /// Both came whole.
    End,
    /// The first stage failed.
    Failed(Error),
}

/// Reads and inflates a layer on a thread of its own, and lets `show` read the tar on this one, to its end.
///
/// # Errors
/// Those of the stored bytes, of their compression and of `show`; `Limit` for a tar beyond its ceilings.
pub(super) fn stream(
    blob: &dyn ReadAt,
    compression: Compression,
    options: &Options,
    show: impl FnOnce(&mut dyn Skip) -> Result<()>,
) -> Result<Digests> {
    // Room for all buffers and the last word, so that sending never waits.
    let (send, chunks) = sync_channel(RING.saturating_add(1));
    let (recycle, free) = sync_channel(RING);
    for _ in 0..RING {
        recycle.try_send(Buffer::new()).map_err(io::Error::other)?;
    }
    thread::scope(|scope| {
        let first = Feed { blob, compression, options, ring: Ring { send, free } };
        let handle = thread::Builder::new().name("layer".into()).spawn_scoped(scope, move || first.run())?;
        let mut stream = TarStream {
            compression,
            chunks,
            recycle,
            stored: sha2::Sha256::new(),
            tar: sha2::Sha256::new(),
            current: None,
            taken: 0,
            ended: false,
        };
        let shown = show(&mut stream);
        let digests = stream.digests();
        let joined = handle.join();
        shown?;
        joined.map_err(|_| decoder_gave_up(compression))?;
        Ok(digests)
    })
}

fn decoder_gave_up(compression: Compression) -> Error {
    Error::malformed(
        "layer",
        "compression",
        None,
        format!("the {compression} decoder gave up"),
        "an error or an end",
    )
}

/// The first stage's ends of the ring.
struct Ring {
    send: SyncSender<Chunk>,
    free: Receiver<Buffer>,
}

impl Ring {
    fn free(&self) -> io::Result<Buffer> {
        self.free.recv().map_err(|_| second_stage_is_gone())
    }

    fn send(&self, chunk: Chunk) -> io::Result<()> {
        self.send.send(chunk).map_err(|_| second_stage_is_gone())
    }
}

/// Nobody sees this error: who would is gone.
fn second_stage_is_gone() -> io::Error {
    io::Error::from(io::ErrorKind::BrokenPipe)
}

/// The first stage.
struct Feed<'a> {
    blob: &'a dyn ReadAt,
    compression: Compression,
    options: &'a Options,
    ring: Ring,
}

impl Feed<'_> {
    fn run(self) {
        let fed = match self.compression {
            Compression::Plain => self.plain(),
            _ => self.inflate(),
        };
        let last = match fed {
            Ok(()) => Chunk::End,
            Err(error) => Chunk::Failed(error),
        };
        // If the second stage is gone it has its own error.
        let _ = self.ring.send(last);
    }

    fn plain(&self) -> Result<()> {
        self.options.limits.layer_bytes.check(self.blob.size_bytes())?;
        let mut stored = Stored { blob: self.blob, at: 0, progress: &self.options.progress };
        while stored.at < self.blob.size_bytes() {
            let mut buffer = self.ring.free()?;
            stored.fill(&mut buffer)?;
            self.ring.send(Chunk::Tar(buffer))?;
        }
        Ok(())
    }

    fn inflate(&self) -> Result<()> {
        let limits = &*self.options.limits;
        let stored_bytes = Cell::new(0);
        let stored = Stored { blob: self.blob, at: 0, progress: &self.options.progress };
        let mut stream =
            StoredStream { stored, ring: &self.ring, current: None, taken: 0, stored_bytes: &stored_bytes };
        let mut inflated_bytes = 0_u64;
        let mut decoder = codec::decoder(self.compression, &mut stream, limits)?;
        loop {
            let mut buffer = self.ring.free()?;
            buffer.len = read_full(&mut *decoder, &mut buffer.bytes)?;
            let is_end = buffer.len < BUFFER_BYTES;
            inflated_bytes = inflated_bytes.saturating_add(size_of_len(buffer.len));
            check_inflation(limits, inflated_bytes, stored_bytes.get())?;
            self.ring.send(Chunk::Tar(buffer))?;
            if is_end {
                break;
            }
        }
        drop(decoder);
        stream.finish()
    }
}

fn check_inflation(limits: &Limits, inflated_bytes: u64, stored_bytes: u64) -> Result<()> {
    limits.layer_bytes.check(inflated_bytes)?;
    if inflated_bytes > RATIO_FREE_BYTES {
        limits.inflate_ratio.check(inflated_bytes.checked_div(stored_bytes).unwrap_or(u64::MAX))?;
    }
    Ok(())
}

/// Reads until `dst` is full or the stream ends.
fn read_full(stream: &mut dyn Read, dst: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0_usize;
    while let Some(rest) = dst.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match stream.read(rest) {
            Ok(0) => break,
            Ok(len) => filled = filled.saturating_add(len),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Stored bytes for a decoder; what it is done with goes on to be hashed.
struct StoredStream<'a> {
    stored: Stored<'a>,
    ring: &'a Ring,
    current: Option<Buffer>,
    taken: usize,
    stored_bytes: &'a Cell<u64>,
}

impl StoredStream<'_> {
    /// Passes on the last buffer; nothing may be left behind what the decoder took.
    fn finish(mut self) -> Result<()> {
        let rest = self.fill_buf()?.len();
        if rest > 0 {
            let at = self.stored_bytes.get().saturating_sub(size_of_len(rest));
            return Err(Error::malformed("layer", "compression", at, "more bytes", "the end of the layer"));
        }
        Ok(())
    }
}

impl BufRead for StoredStream<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.current.as_ref().is_none_or(|buffer| self.taken >= buffer.len) {
            if let Some(spent) = self.current.take() {
                self.ring.send(Chunk::Stored(spent))?;
            }
            self.taken = 0;
            if self.stored.at < self.stored.blob.size_bytes() {
                let mut buffer = self.ring.free()?;
                self.stored.fill(&mut buffer)?;
                self.stored_bytes.set(self.stored.at);
                self.current = Some(buffer);
            }
        }
        let filled = self.current.as_ref().map_or(&[][..], Buffer::filled);
        Ok(filled.get(self.taken..).unwrap_or(&[]))
    }

    fn consume(&mut self, len: usize) {
        let filled = self.current.as_ref().map_or(0, |buffer| buffer.len);
        self.taken = self.taken.saturating_add(len).min(filled);
    }
}

impl Read for StoredStream<'_> {
    fn read(&mut self, dst: &mut [u8]) -> io::Result<usize> {
        read_buffered(self, dst)
    }
}

/// The second stage's side: hashes what comes and gives out the tar.
struct TarStream {
    compression: Compression,
    chunks: Receiver<Chunk>,
    recycle: SyncSender<Buffer>,
    stored: sha2::Sha256,
    tar: sha2::Sha256,
    current: Option<Buffer>,
    taken: usize,
    ended: bool,
}

impl TarStream {
    fn digests(self) -> Digests {
        let tar = Sha256(self.tar.finalize().into());
        match self.compression {
            Compression::Plain => Digests { stored: tar, tar },
            _ => Digests { stored: Sha256(self.stored.finalize().into()), tar },
        }
    }

    fn give_back(&self, buffer: Buffer) {
        // The first stage may have ended; there is always room.
        let _ = self.recycle.try_send(buffer);
    }

    fn next_chunk(&mut self) -> io::Result<()> {
        match self.chunks.recv() {
            Ok(Chunk::Stored(buffer)) => {
                self.stored.update(buffer.filled());
                self.give_back(buffer);
            }
            Ok(Chunk::Tar(buffer)) => {
                self.tar.update(buffer.filled());
                self.current = Some(buffer);
                self.taken = 0;
            }
            Ok(Chunk::End) => self.ended = true,
            Ok(Chunk::Failed(error)) => return Err(error.into_io()),
            Err(_) => return Err(decoder_gave_up(self.compression).into_io()),
        }
        Ok(())
    }
}

impl BufRead for TarStream {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.current.as_ref().is_none_or(|buffer| self.taken >= buffer.len) && !self.ended {
            if let Some(spent) = self.current.take() {
                self.give_back(spent);
            }
            self.next_chunk()?;
        }
        let filled = self.current.as_ref().map_or(&[][..], Buffer::filled);
        Ok(filled.get(self.taken..).unwrap_or(&[]))
    }

    fn consume(&mut self, len: usize) {
        let filled = self.current.as_ref().map_or(0, |buffer| buffer.len);
        self.taken = self.taken.saturating_add(len).min(filled);
    }
}

impl Read for TarStream {
    fn read(&mut self, dst: &mut [u8]) -> io::Result<usize> {
        read_buffered(self, dst)
    }
}

impl Skip for TarStream {}
