//! The layer cache: what layers say, kept from one run to the next.
//!
//! What a layer says depends on nothing but its bytes, the collectors with their versions, the needs and the
//! limits, and is kept under just these ([`Key`]). One file an entry ([`mod@entry`]) in one directory, written
//! under a name of its own and renamed, without any lock: any number of processes may read, write, renew and
//! remove entries at once, and each sees an entry whole or not at all. What is damaged, cut off, foreign or of
//! another version is no entry; it is written again. A cache that cannot be read or written is none, and never
//! an error.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::indexing_slicing,
        clippy::unwrap_used
    )
)]

pub(super) mod entry;

use std::fs::{self, File, FileTimes};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use crate::bytes::size_of_len;
use crate::limits::Limits;
use crate::model::Sha256;

/// The part of the cache directory that is the cache's own.
const FOLDER: &str = "layers";
/// How names of entries end.
const SUFFIX: &str = ".facts";
/// How names of files begin that are being written.
const UNFINISHED: &str = ".unfinished-";

/// Under what an entry is kept: a digest of everything that it depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key(pub(super) Sha256);

impl Key {
    /// The key of what more is asked of the same thing.
    pub(super) fn with(&self, more: &[u8]) -> Key {
        Key(Sha256::of(&[&self.0.0, more].concat()))
    }
}

/// What a cache holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Entries.
    pub entries: u64,
    /// Their size in bytes.
    pub bytes: u64,
}

/// A layer cache in a directory.
#[derive(Debug)]
pub struct LayerCache {
    folder: PathBuf,
    /// The time of the run since 1970, by which entries are known as used.
    used_at: Duration,
    is_trusted: bool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The first thing that went wrong.
    trouble: Option<String>,
    /// How many bytes the cache held when it was last looked at, and those that this process has added.
    bytes: Option<u64>,
}

impl LayerCache {
    /// The cache in this directory, which need not exist. With `is_trusted` the bytes of a layer that is in the
    /// cache are not read: that they have their digest is believed. `used_at` is the time of the run, since
    /// 1970; it decides what is removed first, and nothing else.
    #[must_use]
    pub fn new(directory: &Path, is_trusted: bool, used_at: Duration) -> Self {
        LayerCache { folder: directory.join(FOLDER), used_at, is_trusted, state: Mutex::default() }
    }

    /// Where the entries are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether cached layers are believed without their bytes.
    #[must_use]
    pub fn is_trusted(&self) -> bool {
        self.is_trusted
    }

    /// Why the cache could not be used as it should, if something went wrong.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).trouble.clone()
    }

    /// What is in it.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.files().iter().filter(|file| file.is_entry).fold(Usage::default(), |usage, file| Usage {
            entries: usage.entries.saturating_add(1),
            bytes: usage.bytes.saturating_add(file.bytes),
        })
    }

    /// Removes everything that is in it; what was removed.
    #[must_use]
    pub fn clear(&self) -> Usage {
        let mut removed = Usage::default();
        for file in self.files() {
            if fs::remove_file(&file.path).is_ok() && file.is_entry {
                removed.entries = removed.entries.saturating_add(1);
                removed.bytes = removed.bytes.saturating_add(file.bytes);
            }
        }
        removed
    }

    /// The payload of an entry that is whole.
    pub(super) fn load(&self, key: &Key, limits: &Limits) -> Option<Vec<u8>> {
        let read = self.read(key, limits);
        match read {
            Ok(sealed) => entry::open(&sealed, key, limits),
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    self.troubled(&error);
                }
                None
            }
        }
    }

    fn read(&self, key: &Key, limits: &Limits) -> io::Result<Vec<u8>> {
        self.check_folder()?;
        let path = self.path(key);
        let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() || limits.cache_entry_bytes.check(metadata.len()).is_err() {
            return Err(io::ErrorKind::NotFound.into());
        }
        let mut sealed = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0));
        (&file).take(limits.cache_entry_bytes.max).read_to_end(&mut sealed)?;
        self.mark_used(&file);
        Ok(sealed)
    }

    /// Gives a file the time of the run. Where that is not allowed, the entry grows old.
    fn mark_used(&self, file: &File) {
        if let Some(time) = UNIX_EPOCH.checked_add(self.used_at) {
            let _ = file.set_times(FileTimes::new().set_modified(time));
        }
    }

    /// Keeps an entry.
    pub(super) fn store(&self, key: &Key, payload: &[u8], limits: &Limits) {
        // What is too large is not kept, and that is no trouble.
        if let Some(sealed) = entry::seal(payload, key, limits)
            && let Err(error) = self.write(key, &sealed, limits)
        {
            self.troubled(&error);
        }
    }

    fn write(&self, key: &Key, sealed: &[u8], limits: &Limits) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        self.check_folder()?;
        let mut file = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(&self.folder)?;
        file.write_all(sealed)?;
        self.mark_used(file.as_file());
        file.persist(self.path(key)).map_err(|error| error.error)?;
        self.bound(size_of_len(sealed.len()), limits);
        Ok(())
    }

    /// Whoever may write here decides what karat says: not everybody.
    fn check_folder(&self) -> io::Result<()> {
        const BY_ALL: u32 = 0o002;
        if fs::metadata(&self.folder)?.permissions().mode() & BY_ALL != 0 {
            return Err(io::Error::other("everybody may write to it, so nothing in it is believed"));
        }
        Ok(())
    }

    /// Removes what was used longest ago once the cache has grown beyond its bound, and a tenth more, so that
    /// the next entries have room. Other processes do the same: what is gone already is gone.
    fn bound(&self, added: u64, limits: &Limits) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let sum = |files: &[Kept]| files.iter().fold(0_u64, |sum, file| sum.saturating_add(file.bytes));
        let bytes = match state.bytes {
            Some(bytes) => bytes.saturating_add(added),
            None => sum(&self.files()),
        };
        state.bytes = Some(bytes);
        if bytes <= limits.cache_bytes.max {
            return;
        }
        let mut files = self.files();
        files.sort_by(|a, b| (a.used_at, &a.path).cmp(&(b.used_at, &b.path)));
        let mut left = sum(&files);
        let wanted = limits.cache_bytes.max.saturating_sub(limits.cache_bytes.max / 10);
        for file in files {
            if left <= wanted {
                break;
            }
            // Whoever removed it first: it is gone.
            let _ = fs::remove_file(&file.path);
            left = left.saturating_sub(file.bytes);
        }
        state.bytes = Some(left);
    }

    fn path(&self, key: &Key) -> PathBuf {
        self.folder.join(format!("{}{SUFFIX}", key.0.hex()))
    }

    /// The files that are the cache's own, as far as they can be seen.
    fn files(&self) -> Vec<Kept> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let kept = entries.filter_map(|found| {
            let name = found.file_name();
            let name = name.to_str()?;
            let is_entry = name.strip_suffix(SUFFIX).and_then(Sha256::from_hex).is_some();
            if !is_entry && !name.starts_with(UNFINISHED) {
                return None;
            }
            let metadata = found.metadata().ok().filter(fs::Metadata::is_file)?;
            let used_at = metadata.modified().ok()?.duration_since(UNIX_EPOCH).unwrap_or_default();
            Some(Kept { path: found.path(), bytes: metadata.len(), used_at, is_entry })
        });
        kept.collect()
    }

    fn troubled(&self, error: &io::Error) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // The name of a file that is being written is chance, and nobody's concern.
        let reason = match error.raw_os_error() {
            Some(code) => io::Error::from_raw_os_error(code).to_string(),
            None if error.get_ref().is_some() => error.to_string(),
            None => error.kind().to_string(),
        };
        state.trouble.get_or_insert_with(|| format!("{}: {reason}", self.folder.display()));
    }
}

/// A file of the cache.
struct Kept {
    path: PathBuf,
    bytes: u64,
    used_at: Duration,
    is_entry: bool,
}
