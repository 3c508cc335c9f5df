//! The files that an image's wrapping names: members of an archive, or files of a layout directory.

use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use super::oci::blob_path;
use crate::archive::tar::Index;
use crate::bytes::{self, HostFile, Identity, ReadAt, passes_end};
use crate::error::{Error, Result, ResultExt as _};
use crate::limits::Ceiling;
use crate::model::{ImagePath, Sha256};

/// Files by path.
pub(super) trait Files {
    /// Opens one.
    ///
    /// # Errors
    /// `NotFound` if there is none of this path; others if it cannot be had.
    fn open(&self, path: &ImagePath) -> Result<Arc<dyn ReadAt>>;

    /// Opens the blob of a digest; `size_bytes` is what its descriptor says.
    ///
    /// # Errors
    /// As [`Files::open`].
    fn blob(&self, digest: Sha256, _size_bytes: u64) -> Result<Arc<dyn ReadAt>> {
        self.open(&blob_path(digest))
    }

    /// Opens the manifest or index of a digest: where blobs are files, a blob like any other.
    ///
    /// # Errors
    /// As [`Files::open`].
    fn manifest(&self, digest: Sha256, size_bytes: u64) -> Result<Arc<dyn ReadAt>> {
        self.blob(digest, size_bytes)
    }

    /// Whether every manifest costs a request, so that only those are read that may be wanted.
    fn is_remote(&self) -> bool {
        false
    }

    /// Reads a small one.
    ///
    /// # Errors
    /// As [`Files::open`], and `Limit`.
    fn read(&self, path: &ImagePath, ceiling: Ceiling) -> Result<Vec<u8>> {
        let place = || path.to_string().trim_start_matches('/').to_owned();
        let file = self.open(path).at(place)?;
        bytes::read_all(&*file, ceiling).at(place)
    }
}

/// The members of a tar.
pub(super) struct ArchiveFiles(Index);

impl ArchiveFiles {
    pub(super) fn new(index: Index) -> Self {
        ArchiveFiles(index)
    }
}

impl Files for ArchiveFiles {
    fn open(&self, path: &ImagePath) -> Result<Arc<dyn ReadAt>> {
        // Digests check all but these: where readers differ in which counts, an image could be two.
        let is_index = ["index.json", "manifest.json", "oci-layout"]
            .iter()
            .any(|name| path.as_bytes() == name.as_bytes());
        if is_index && self.0.is_repeated(path) {
            let found = format!("`{path}` more than once");
            return Err(Error::malformed("image archive", "member", None, found, "once"));
        }
        self.0.open(path)
    }
}

/// The files of a directory. Below it no link is followed and only regular files are opened.
pub(super) struct LayoutFiles {
    root: PathBuf,
}

impl LayoutFiles {
    pub(super) fn new(root: &Path) -> Self {
        LayoutFiles { root: root.to_path_buf() }
    }
}

impl Files for LayoutFiles {
    fn open(&self, path: &ImagePath) -> Result<Arc<dyn ReadAt>> {
        let mut at = self.root.clone();
        let mut size_bytes = None;
        for name in path.components() {
            at.push(std::ffi::OsStr::from_bytes(name));
            let metadata = fs::symlink_metadata(&at).map_err(|error| match error.kind() {
                std::io::ErrorKind::NotFound => Error::not_found(format!("`{path}` in the layout")),
                _ => Error::from(error),
            })?;
            if metadata.is_symlink() {
                return Err(Error::unsupported(
                    "a symbolic link inside a layout: it could lead anywhere on this machine",
                )
                .hint("copy the layout with its links resolved (cp -rL) and name the copy"));
            }
            size_bytes = metadata.is_file().then_some(metadata.len());
        }
        match size_bytes {
            Some(size_bytes) => Ok(Arc::new(LayoutFile { path: at, size_bytes, file: OnceLock::new() })),
            None => Err(Error::not_found(format!("`{path}` as a regular file of the layout"))),
        }
    }
}

/// A file that is opened when it is first read, so that layers that wait hold no descriptor.
struct LayoutFile {
    path: PathBuf,
    size_bytes: u64,
    file: OnceLock<HostFile>,
}

impl LayoutFile {
    fn file(&self) -> Result<&HostFile> {
        if let Some(file) = self.file.get() {
            return Ok(file);
        }
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
        let file = HostFile::new(File::options().read(true).custom_flags(flags).open(&self.path)?)?;
        if file.size_bytes() != self.size_bytes {
            return Err(passes_end(0, 0, file.size_bytes()).hint("the file changed while it was read"));
        }
        Ok(self.file.get_or_init(|| file))
    }
}

impl ReadAt for LayoutFile {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read_exact_at(&self, offset: u64, dst: &mut [u8]) -> Result<()> {
        let file = self.file().at(|| self.path.display().to_string())?;
        file.read_exact_at(offset, dst)
    }

    fn identity(&self) -> Option<Identity> {
        self.file().ok()?.identity()
    }
}

/// Checks bytes against the digest that named them.
///
/// # Errors
/// `Malformed` if they differ.
pub(super) fn check_digest(bytes: &[u8], want: Sha256) -> Result<()> {
    let found = Sha256::of(bytes);
    if found == want {
        return Ok(());
    }
    Err(Error::malformed("blob", "digest", None, found.to_string(), want.to_string())
        .hint("its bytes are not those that the image names; fetch or build it again"))
}
