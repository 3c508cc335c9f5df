//! Files of a channel source: found in a fixed order, opened without waiting, read within limits.
//!
//! No link is followed out of what the user named. A link that leads elsewhere inside is passed over, because
//! its target is read under its own name.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use sha2::Digest as _;
use walkdir::WalkDir;

use crate::archive::tar::{Skip, TarReader};
use crate::bytes::size_of_len;
use crate::codec::{self, Compression};
use crate::error::{Error, Result};
use crate::format::apt_release::Listed;
use crate::limits::{Ceiling, Limits};
use crate::model::Sha256;

/// Files are read in pieces of this size.
pub(super) const BUFFER_BYTES: usize = 128 << 10;

/// Whether a directory is an image or the root of a system, which are hosts and no channel sources.
pub(super) fn is_image_or_root(directory: &Path) -> bool {
    [
        "etc/os-release",
        "usr/lib/os-release",
        "var/lib/dpkg",
        "lib/apk/db",
        "var/lib/rpm",
        "usr/lib/sysimage/rpm",
        "usr/share/rpm",
        "var/lib/pacman/local",
        "usr/lib/opkg/status",
        "var/lib/opkg/status",
        "var/db/xbps",
        "var/db/pkg",
        "oci-layout",
        "index.json",
        "manifest.json",
    ]
    .iter()
    .any(|name| directory.join(name).exists())
}

/// A file below a directory.
pub(super) struct FoundFile {
    /// Where it is.
    pub(super) path: PathBuf,
    /// Its path below the directory, for messages.
    pub(super) below: String,
}

/// The last component of a path.
pub(super) fn name_of(path: &Path) -> &[u8] {
    path.file_name().map_or(&[], OsStr::as_bytes)
}

/// Walks a directory in the order of names, files only.
fn walk(directory: &Path, limits: &Limits) -> impl Iterator<Item = Result<walkdir::DirEntry>> + use<> {
    let ceiling = limits.channel_files;
    let depth = limits.path_depth;
    let mut count: u64 = 0;
    WalkDir::new(directory).min_depth(1).sort_by_file_name().into_iter().map(move |entry| {
        let entry = entry.map_err(io::Error::from)?;
        count = count.saturating_add(1);
        ceiling.check(count)?;
        depth.check(size_of_len(entry.depth()))?;
        Ok(entry)
    })
}

/// The least of what the names below a directory tell.
pub(super) fn best_in<T: Ord>(
    directory: &Path,
    limits: &Limits,
    tell: &dyn Fn(&[u8]) -> Option<T>,
) -> Result<Option<T>> {
    let mut best = None;
    for entry in walk(directory, limits) {
        let entry = entry?;
        if entry.file_type().is_dir() {
            continue;
        }
        if let Some(told) = tell(entry.file_name().as_bytes())
            && best.as_ref().is_none_or(|best| told < *best)
        {
            best = Some(told);
        }
    }
    Ok(best)
}

/// The files below a directory whose name counts, in the order of their paths, and how many others there are.
///
/// # Errors
/// `Limit` for too many, `Io` for a directory that cannot be listed, `Malformed` for what bears a name that
/// counts and is no regular file, unless it is a link to somewhere inside.
pub(super) fn files_in(
    directory: &Path,
    limits: &Limits,
    counts: impl Fn(&[u8]) -> bool,
) -> Result<(Vec<FoundFile>, u64)> {
    let root = fs::canonicalize(directory)?;
    let (mut files, mut others) = (Vec::new(), 0_u64);
    for entry in walk(directory, limits) {
        let entry = entry?;
        let below = entry.path().strip_prefix(directory).unwrap_or(entry.path()).display().to_string();
        let kind = entry.file_type();
        if kind.is_dir() {
            continue;
        }
        let does_count = counts(entry.file_name().as_bytes());
        if kind.is_file() && does_count {
            files.push(FoundFile { path: entry.into_path(), below });
        } else if does_count {
            let is_inside = kind.is_symlink()
                && fs::canonicalize(entry.path()).is_ok_and(|target| target.starts_with(&root));
            if !is_inside {
                let found =
                    if kind.is_symlink() { "a link that leads out of the folder" } else { "no regular file" };
                return Err(Error::malformed(
                    "folder",
                    "file",
                    None,
                    found,
                    "files, and links that stay inside",
                )
                .hint("copy the file itself into the folder")
                .at(below));
            }
        } else {
            others = others.saturating_add(1);
        }
    }
    Ok((files, others))
}

/// Opens a regular file.
pub(super) fn open(path: &Path) -> Result<File> {
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(Error::config("neither a regular file nor a directory"));
    }
    Ok(file)
}

/// A stream that knows the digest and the number of what went through it.
pub(super) struct Hashed<R> {
    stream: R,
    hasher: sha2::Sha256,
    /// Bytes so far.
    pub(super) size_bytes: u64,
}

impl<R: Read> Hashed<R> {
    pub(super) fn new(stream: R) -> Self {
        Hashed { stream, hasher: sha2::Sha256::new(), size_bytes: 0 }
    }

    /// Size and digest of all that was read.
    pub(super) fn whole(&self) -> Listed {
        Listed { size_bytes: self.size_bytes, sha256: Sha256(self.hasher.clone().finalize().into()) }
    }
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, dst: &mut [u8]) -> io::Result<usize> {
        let len = self.stream.read(dst)?;
        self.hasher.update(dst.get(..len).unwrap_or_default());
        self.size_bytes = self.size_bytes.saturating_add(size_of_len(len));
        Ok(len)
    }
}

/// The first bytes of a file.
pub(super) fn head(path: &Path) -> Result<Vec<u8>> {
    let mut head = Vec::new();
    open(path)?.take(size_of_len(codec::MAGIC_BYTES)).read_to_end(&mut head)?;
    Ok(head)
}

/// The first bytes of a file's inflated content.
pub(super) fn first_bytes(path: &Path, limits: &Limits) -> Result<Vec<u8>> {
    let compression = Compression::of(&head(path)?);
    let mut first = Vec::new();
    let plain = codec::decoder(compression, BufReader::new(open(path)?), limits)?;
    plain.take(size_of_len(BUFFER_BYTES)).read_to_end(&mut first)?;
    Ok(first)
}

/// The entries of one directory, by name.
pub(super) fn entries(directory: &Path, limits: &Limits) -> Result<Vec<(PathBuf, fs::FileType)>> {
    let mut all = Vec::new();
    for entry in WalkDir::new(directory).min_depth(1).max_depth(1).sort_by_file_name() {
        let entry = entry.map_err(io::Error::from)?;
        all.push((entry.path().to_path_buf(), entry.file_type()));
        limits.channel_files.check(size_of_len(all.len()))?;
    }
    Ok(all)
}

/// Size and digest of a file as it is stored.
pub(super) fn digest_of(path: &Path) -> Result<Listed> {
    let mut stored = Hashed::new(open(path)?);
    io::copy(&mut stored, &mut io::sink())?;
    Ok(stored.whole())
}

/// Hands the inflated content of a file over; gives its size and digest too. What `take` leaves is read to its end, so
/// that the digest is that of the whole and damage at the end is seen.
pub(super) fn inflate<T>(
    path: &Path,
    limits: &Limits,
    take: impl FnOnce(&mut dyn io::BufRead) -> Result<T>,
) -> Result<(T, Listed)> {
    let compression = Compression::of(&head(path)?);
    let stored = BufReader::with_capacity(BUFFER_BYTES, open(path)?);
    let mut plain = Hashed::new(codec::decoder(compression, stored, limits)?);
    let mut stream = BufReader::with_capacity(BUFFER_BYTES, &mut plain);
    let taken = take(&mut stream)?;
    let ceiling = limits.channel_index_bytes;
    let left = ceiling.max.saturating_add(1).saturating_sub(stream.get_ref().size_bytes);
    io::copy(&mut (&mut stream).take(left), &mut io::sink())?;
    ceiling.check(plain.size_bytes)?;
    Ok((taken, plain.whole()))
}

/// The content of a tar's current member.
pub(super) fn tar_data<S: Skip>(
    tar: &mut TarReader<S>,
    size_bytes: u64,
    ceiling: Ceiling,
) -> Result<Vec<u8>> {
    ceiling.check(size_bytes)?;
    let mut all = Vec::new();
    loop {
        let here = tar.fill_data()?;
        let len = here.len();
        if len == 0 {
            return Ok(all);
        }
        all.extend_from_slice(here);
        tar.consume_data(len);
    }
}

/// A stream that the tar reader takes.
pub(super) struct Whole<'a>(pub(super) &'a mut dyn io::BufRead);

impl Read for Whole<'_> {
    fn read(&mut self, dst: &mut [u8]) -> io::Result<usize> {
        self.0.read(dst)
    }
}

impl io::BufRead for Whole<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.0.fill_buf()
    }

    fn consume(&mut self, len: usize) {
        self.0.consume(len);
    }
}

impl Skip for Whole<'_> {}

/// One digest of several parts, whatever their order; a part that comes twice counts once.
#[derive(Default)]
pub(super) struct DigestOfParts(BTreeSet<(String, Sha256)>);

impl DigestOfParts {
    /// Adds a part.
    pub(super) fn add(&mut self, name: impl Into<String>, digest: &Sha256) {
        self.0.insert((name.into(), *digest));
    }

    pub(super) fn finish(self) -> Sha256 {
        let lines: String = self.0.iter().map(|(name, digest)| format!("{digest}  {name}\n")).collect();
        Sha256::of(lines.as_bytes())
    }
}

/// Does `work` for each item on at most so many threads; the results are in the order of the items. The first
/// error by that order wins.
pub(super) fn in_parallel<T: Sync, U: Send>(
    items: &[T],
    threads: usize,
    work: impl Fn(&T) -> Result<U> + Sync,
) -> Result<Vec<U>> {
    let next = std::sync::atomic::AtomicUsize::new(0);
    let run = || {
        let mut done: Vec<(usize, Result<U>)> = Vec::new();
        loop {
            let at = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let Some(item) = items.get(at) else { return done };
            done.push((at, work(item)));
        }
    };
    let threads = threads.clamp(1, items.len().max(1));
    let mut all: Vec<(usize, Result<U>)> = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(run)).collect();
        let mut all = run();
        for other in others {
            match other.join() {
                Ok(done) => all.extend(done),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        all
    });
    all.sort_by_key(|(at, _)| *at);
    all.into_iter().map(|(_, result)| result).collect()
}
