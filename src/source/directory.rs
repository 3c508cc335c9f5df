//! A root file system directory as one stratum.
//!
//! The directory may hold what an image held: no link in it is followed, only regular files are opened, and
//! never in a way that waits (pipes). File systems mounted below it belong to it.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use walkdir::WalkDir;

use crate::bytes::{Head, HostFile, ReadAt as _, size_of_len};
use crate::error::Result;
use crate::limits::Limits;
use crate::model::{Gap, ImagePath, Sha256, StratumId};
use crate::stratum::{Entry, FileDigests, Meta, Node, Scope, Sink, Stratum, Want};

/// A directory of the host.
pub struct DirectoryStratum {
    root: PathBuf,
    limits: Arc<Limits>,
}

impl DirectoryStratum {
    /// The tree below `root`.
    #[must_use]
    pub fn new(root: &Path, limits: Arc<Limits>) -> Self {
        DirectoryStratum { root: root.to_path_buf(), limits }
    }
}

impl Stratum for DirectoryStratum {
    fn id(&self) -> StratumId {
        StratumId(0)
    }

    fn digest(&self) -> Option<Sha256> {
        None
    }

    fn visit(&self, scope: Scope<'_>, sink: &dyn Sink) -> Result<()> {
        let mut visit = Visit { root: &self.root, limits: &self.limits, sink, count: 0 };
        match scope {
            Scope::All => visit.below(&ImagePath::root()),
            Scope::Only(paths) => visit.only(paths),
        }
    }
}

struct Visit<'a> {
    root: &'a Path,
    limits: &'a Limits,
    sink: &'a dyn Sink,
    count: u64,
}

impl Visit<'_> {
    /// Everything below a directory, sorted by name within each.
    fn below(&mut self, directory: &ImagePath) -> Result<()> {
        let start = self.host(directory);
        for found in WalkDir::new(&start).min_depth(1).sort_by_file_name() {
            let found = match found {
                Ok(found) => found,
                Err(error) => {
                    let path = error.path().map_or_else(|| directory.clone(), |path| self.inside(path));
                    self.gap(&path, &error.to_string());
                    continue;
                }
            };
            let path = self.inside(found.path());
            self.limits.path_depth.check(size_of_len(found.depth()))?;
            match found.metadata() {
                Ok(metadata) => self.show(path, &metadata)?,
                Err(error) => self.gap(&path, &error.to_string()),
            }
        }
        Ok(())
    }

    /// The wanted paths, each with what is on the way to it. Nothing else is looked at.
    fn only(&mut self, paths: &[ImagePath]) -> Result<()> {
        let wanted: BTreeSet<&ImagePath> = paths.iter().collect();
        let mut shown = BTreeSet::new();
        let mut done: Vec<&ImagePath> = Vec::new();
        for path in wanted {
            // What is below a path that was walked already comes after it in this order.
            if done.iter().any(|walked| path.below(walked).is_some()) {
                continue;
            }
            if self.reach(path, &mut shown)? {
                self.below(path)?;
                done.push(path);
            }
        }
        Ok(())
    }

    /// Shows what is on the way to a path and the path itself; whether it is a directory that was reached.
    fn reach(&mut self, path: &ImagePath, shown: &mut BTreeSet<ImagePath>) -> Result<bool> {
        let mut at = ImagePath::root();
        for name in path.components() {
            at = at.join(name);
            let metadata = match fs::symlink_metadata(self.host(&at)) {
                Ok(metadata) => metadata,
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
                {
                    return Ok(false);
                }
                Err(error) => {
                    self.gap(&at, &error.to_string());
                    return Ok(false);
                }
            };
            if shown.insert(at.clone()) {
                self.show(at.clone(), &metadata)?;
            }
            if !metadata.is_dir() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn show(&mut self, path: ImagePath, metadata: &Metadata) -> Result<()> {
        self.count = self.limits.entries.check(self.count.saturating_add(1))?;
        let kind = metadata.file_type();
        let mode = metadata.mode() & 0o7777;
        let node = if kind.is_file() {
            Node::File(Meta { size_bytes: metadata.len(), mode })
        } else if kind.is_dir() {
            Node::Directory(Meta { size_bytes: 0, mode })
        } else if kind.is_symlink() {
            match fs::read_link(self.host(&path)) {
                Ok(target) => Node::Symlink(target.as_os_str().as_bytes().into()),
                Err(error) => {
                    self.gap(&path, &error.to_string());
                    return Ok(());
                }
            }
        } else {
            Node::Special
        };
        let entry = Entry { path, node };
        let request = self.sink.request(&entry);
        let wants = request.want != Want::No || request.digests.sha256;
        if matches!(entry.node, Node::File(_))
            && wants
            && let Err(error) = self.file(&entry, request.want, request.digests.sha256)
        {
            self.gap(&entry.path, &error.to_string());
        }
        Ok(())
    }

    fn file(&self, entry: &Entry, want: Want, sha256: bool) -> Result<()> {
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
        let file = File::options().read(true).custom_flags(flags).open(self.host(&entry.path))?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("changed while it was read").into());
        }
        let file = HostFile::new(file)?;
        match want {
            Want::No => {}
            Want::Head(len) => self.sink.file(entry, &Head::new(&file, u64::from(len))),
            Want::Random => self.sink.file(entry, &file),
        }
        if sha256 {
            // Holes make a file of any size out of nothing.
            self.limits.spool_file_bytes.check(file.size_bytes())?;
            let sha256 = Some(Sha256::of_content(&file)?);
            self.sink.digests(entry, &FileDigests { sha256 });
        }
        Ok(())
    }

    fn gap(&self, path: &ImagePath, reason: &str) {
        self.sink.gap(Gap { place: path.to_string(), reason: reason.to_owned(), required: true });
    }

    /// Where a path of the image is on the host.
    fn host(&self, path: &ImagePath) -> PathBuf {
        if path.is_root() {
            self.root.to_path_buf()
        } else {
            self.root.join(OsStr::from_bytes(path.as_bytes()))
        }
    }

    /// Which path of the image a path of the host is.
    fn inside(&self, path: &Path) -> ImagePath {
        ImagePath::new(path.strip_prefix(self.root).unwrap_or(path).as_os_str().as_bytes())
    }
}
