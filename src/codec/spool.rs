//! The content of a stream that has to be read at random: in memory while there is room, in an unlinked
//! temporary file beyond.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::bytes::{ReadAt, passes_end, size_of_len};
use crate::error::{Error, Result, ResultExt as _};
use crate::limits::{Ceiling, Limits};

/// The memory that all spools of a process share, and the directory for what does not fit.
#[derive(Debug)]
pub struct SpoolPool {
    directory: PathBuf,
    resident_left: AtomicU64,
    resident_file_bytes: u64,
    file_bytes: Ceiling,
}

impl SpoolPool {
    /// A pool with the ceilings of `limits` (`spool_*`); temporary files go to `directory`.
    #[must_use]
    pub fn new(directory: impl AsRef<Path>, limits: &Limits) -> Arc<Self> {
        Arc::new(SpoolPool {
            directory: directory.as_ref().to_path_buf(),
            resident_left: AtomicU64::new(limits.spool_resident_bytes.max),
            resident_file_bytes: limits.spool_resident_file_bytes.max,
            file_bytes: limits.spool_file_bytes,
        })
    }

    /// The ceiling on one spooled file.
    #[must_use]
    pub fn file_bytes(&self) -> Ceiling {
        self.file_bytes
    }

    /// Starts a spool that is expected to take `expected_bytes`, which only decides early where it goes.
    ///
    /// # Errors
    /// `Limit` if that is above `spool_file_bytes`, `Io` if the temporary file cannot be made.
    pub fn writer(self: &Arc<Self>, expected_bytes: u64) -> Result<SpoolWriter> {
        self.writer_below(self.file_bytes, expected_bytes)
    }

    /// Starts a spool with a ceiling of its own.
    ///
    /// # Errors
    /// `Limit` if `expected_bytes` is above it, `Io` if the temporary file cannot be made.
    pub fn writer_below(self: &Arc<Self>, ceiling: Ceiling, expected_bytes: u64) -> Result<SpoolWriter> {
        ceiling.check(expected_bytes)?;
        let mut writer = SpoolWriter {
            pool: Arc::clone(self),
            ceiling,
            store: Store::Memory(Vec::new()),
            size_bytes: 0,
            reserved: 0,
        };
        writer.make_room(expected_bytes)?;
        if let Store::Memory(bytes) = &mut writer.store {
            bytes.reserve_exact(usize::try_from(expected_bytes).unwrap_or(0));
        }
        Ok(writer)
    }

    /// Takes memory from the shared budget, if it is there.
    fn reserve(&self, bytes: u64) -> bool {
        self.resident_left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes))
            .is_ok()
    }

    fn release(&self, bytes: u64) {
        self.resident_left.fetch_add(bytes, Ordering::Relaxed);
    }
}

#[derive(Debug)]
enum Store {
    Memory(Vec<u8>),
    Disk(File),
}

/// Takes the bytes of a spool, in order.
#[derive(Debug)]
pub struct SpoolWriter {
    pool: Arc<SpoolPool>,
    ceiling: Ceiling,
    store: Store,
    size_bytes: u64,
    reserved: u64,
}

/// Zeros of so many bytes are left out of a temporary file.
const HOLE_BYTES: usize = 64 << 10;

/// Memory is taken from the shared budget in steps of at least this.
const RESERVE_STEP_BYTES: u64 = 64 << 10;

impl SpoolWriter {
    /// Makes sure that the spool may grow to `total` bytes, moving it to disk if need be.
    fn make_room(&mut self, total: u64) -> Result<()> {
        self.ceiling.check(total)?;
        let Store::Memory(bytes) = &self.store else { return Ok(()) };
        if total <= self.reserved {
            return Ok(());
        }
        let more = total.saturating_sub(self.reserved).max(RESERVE_STEP_BYTES);
        if total <= self.pool.resident_file_bytes && self.pool.reserve(more) {
            self.reserved = self.reserved.saturating_add(more);
            return Ok(());
        }
        let place = || format!("temporary file in {}", self.pool.directory.display());
        let mut file = tempfile::tempfile_in(&self.pool.directory).at(place)?;
        file.write_all(bytes).at(place)?;
        self.store = Store::Disk(file);
        self.pool.release(std::mem::take(&mut self.reserved));
        Ok(())
    }

    /// Appends. Zeros take no space in a temporary file.
    ///
    /// # Errors
    /// `Limit` beyond the ceiling, `Io` if the temporary file fails.
    pub fn push(&mut self, bytes: &[u8]) -> Result<()> {
        let total = self.size_bytes.saturating_add(size_of_len(bytes.len()));
        self.make_room(total)?;
        match &mut self.store {
            Store::Memory(all) => all.extend_from_slice(bytes),
            Store::Disk(file) => {
                let place = || format!("temporary file in {}", self.pool.directory.display());
                let (mut at, mut ends_in_hole) = (self.size_bytes, false);
                for piece in bytes.chunks(HOLE_BYTES) {
                    ends_in_hole = piece.iter().all(|byte| *byte == 0);
                    if !ends_in_hole {
                        file.write_all_at(piece, at).at(place)?;
                    }
                    at = at.saturating_add(size_of_len(piece.len()));
                }
                if ends_in_hole {
                    file.set_len(total).at(place)?;
                }
            }
        }
        self.size_bytes = total;
        Ok(())
    }

    /// The content, ready to be read.
    #[must_use]
    pub fn finish(self) -> Spool {
        Spool(self)
    }
}

impl Write for SpoolWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.push(bytes).map_err(Error::into_io)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for SpoolWriter {
    fn drop(&mut self) {
        self.pool.release(self.reserved);
    }
}

/// Content that was a stream. Its memory or temporary file goes back when it is dropped.
#[derive(Debug)]
pub struct Spool(SpoolWriter);

impl ReadAt for Spool {
    fn size_bytes(&self) -> u64 {
        self.0.size_bytes
    }

    fn read_exact_at(&self, offset: u64, dst: &mut [u8]) -> Result<()> {
        match &self.0.store {
            Store::Memory(bytes) => bytes.read_exact_at(offset, dst),
            Store::Disk(file) => {
                let end = offset.checked_add(size_of_len(dst.len()));
                if end.is_none_or(|end| end > self.0.size_bytes) {
                    return Err(passes_end(offset, dst.len(), self.0.size_bytes));
                }
                file.read_exact_at(dst, offset).at(|| "temporary file".to_owned())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(file: u64, resident_file: u64, resident: u64) -> Arc<SpoolPool> {
        let mut limits = Limits::default();
        limits.set("spool_file_bytes", file).unwrap();
        limits.set("spool_resident_file_bytes", resident_file).unwrap();
        limits.set("spool_resident_bytes", resident).unwrap();
        SpoolPool::new(std::env::temp_dir(), &limits)
    }

    #[test]
    fn spools_read_the_same_in_memory_and_on_disk() {
        let bytes: Vec<u8> = (0..200_000_u32).map(|i| i.to_le_bytes()[0] ^ i.to_le_bytes()[1]).collect();
        for (resident_file, resident, on_disk) in
            [(1 << 20, 1 << 20, false), (1 << 20, 1 << 10, true), (100_000, 1 << 20, true)]
        {
            let pool = pool(1 << 20, resident_file, resident);
            let mut writer = pool.writer(0).unwrap();
            for part in bytes.chunks(3001) {
                writer.push(part).unwrap();
            }
            let spool = writer.finish();
            assert_eq!(matches!(spool.0.store, Store::Disk(_)), on_disk);
            assert_eq!(spool.size_bytes(), 200_000);
            let mut part = [0; 5];
            spool.read_exact_at(199_995, &mut part).unwrap();
            assert_eq!(part, bytes[199_995..]);
            assert!(spool.read_exact_at(199_996, &mut part).is_err());
            assert!(spool.read_exact_at(u64::MAX, &mut part).is_err());
            drop(spool);
            assert_eq!(pool.resident_left.load(Ordering::Relaxed), resident);
        }
    }

    #[test]
    fn the_ceiling_holds_early_and_late() {
        let pool = pool(1000, 1 << 20, 1 << 20);
        assert!(pool.writer(1001).is_err());
        let mut writer = pool.writer(0).unwrap();
        writer.push(&[0; 1000]).unwrap();
        assert!(writer.push(&[0]).unwrap_err().to_string().contains("spool_file_bytes"));
    }
}
