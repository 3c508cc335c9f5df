//! The files beside a disk image: the only ones that it may name.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::bytes::{HostFile, ReadAt, size_of_len};
use crate::error::{Error, Result};
use crate::limits::Limits;

/// The files of the folder in which a disk image lies.
pub trait Siblings {
    /// Opens one by plain file name.
    ///
    /// # Errors
    /// `NotFound` if there is none of this name, `Config` if it is no regular file, `Io`.
    fn open(&self, name: &str) -> Result<Arc<dyn ReadAt>>;

    /// The plain names of all, sorted.
    ///
    /// # Errors
    /// `Io`, or `Limit` if there are too many.
    fn names(&self, limits: &Limits) -> Result<Vec<String>>;
}

/// None: for a disk that is not a file of a folder.
pub struct NoSiblings;

impl Siblings for NoSiblings {
    fn open(&self, name: &str) -> Result<Arc<dyn ReadAt>> {
        Err(Error::not_found(format!("`{name}` beside the disk image")))
    }

    fn names(&self, _limits: &Limits) -> Result<Vec<String>> {
        Ok(Vec::new())
    }
}

/// A folder of the host. No link in it is followed: it could lead anywhere on this machine.
pub struct Folder(PathBuf);

impl Folder {
    /// The folder at this path.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Folder(path.to_path_buf())
    }
}

impl Siblings for Folder {
    fn open(&self, name: &str) -> Result<Arc<dyn ReadAt>> {
        let path = self.0.join(plain_name(name)?);
        let metadata = fs::symlink_metadata(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Error::not_found(format!("`{name}` beside the disk image")),
            _ => Error::from(error),
        })?;
        if !metadata.is_file() {
            let refused = Error::config(format!("`{name}` beside the disk image is no regular file"));
            return Err(refused.hint("links are not followed for an image; put the file itself there"));
        }
        let file = File::options().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW).open(path)?;
        Ok(Arc::new(HostFile::new(file)?))
    }

    fn names(&self, limits: &Limits) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.0)? {
            names.extend(entry?.file_name().into_string());
            limits.disk_siblings.check(size_of_len(names.len()))?;
        }
        names.sort();
        Ok(names)
    }
}

/// The plain file name that a reference inside an image is, if it stays in the image's folder.
///
/// # Errors
/// `Config` if it leads elsewhere, or could.
pub(super) fn plain_name(reference: &str) -> Result<&str> {
    let name = ["./", ".\\"].iter().find_map(|dot| reference.strip_prefix(dot)).unwrap_or(reference);
    let is_plain = !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\\', ':', '\0']);
    if is_plain {
        return Ok(name);
    }
    let found = crate::error::quoted(reference);
    Err(Error::config(format!("the image names {found}, which is outside of its folder: not opened")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_are_taken() {
        for (reference, want) in [("base.qcow2", "base.qcow2"), ("./a b", "a b"), (".\\a.vhdx", "a.vhdx")] {
            assert_eq!(plain_name(reference).unwrap(), want);
        }
        for reference in
            ["", ".", "..", "../a", "/etc/passwd", "a/b", "C:\\a", "nbd:x", "json:{}", ".\\..\\a", "./.."]
        {
            plain_name(reference).unwrap_err();
        }
    }

    #[test]
    fn a_folder_opens_no_links() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a"), "x").unwrap();
        std::os::unix::fs::symlink("a", folder.path().join("b")).unwrap();
        let siblings = Folder::new(folder.path());
        assert_eq!(siblings.open("a").unwrap().size_bytes(), 1);
        for name in ["b", "c", "../a"] {
            assert!(siblings.open(name).is_err());
        }
        assert_eq!(siblings.names(&Limits::default()).unwrap(), ["a", "b"]);
    }
}
