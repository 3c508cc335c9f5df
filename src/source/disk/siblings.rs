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

    /// Opens what an image refers to.
    ///
    /// # Errors
    /// Those of [`Siblings::open`], and `Config` if it is outside of the folder and not allowed.
    fn refer(&self, reference: &str) -> Result<Referred> {
        let name = plain_name(reference)?;
        Ok(Referred { name: name.to_owned(), file: self.open(name)?, folder: None })
    }
}

/// What an image refers to.
pub struct Referred {
    /// Its name, which tells it from the others of a chain.
    pub name: String,
    /// Its bytes.
    pub file: Arc<dyn ReadAt>,
    /// The folder that it lies in, if that is another one: what it refers to itself is looked for there.
    pub folder: Option<Folder>,
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

/// A folder of the host, and those folders from which the user allows more. No link in it is followed: it could
/// lead anywhere on this machine.
pub struct Folder {
    path: PathBuf,
    allowed: Arc<[PathBuf]>,
}

impl Folder {
    /// The folder at this path; `allowed` are others from which, and from below which, files are opened too if
    /// an image refers to them.
    #[must_use]
    pub fn new(path: &Path, allowed: &Arc<[PathBuf]>) -> Self {
        Folder { path: path.to_path_buf(), allowed: Arc::clone(allowed) }
    }

    /// The folder of what is referred to outside of this one, and its plain name there: where the reference
    /// leads if that is allowed, else the first allowed folder that has a file of its name.
    fn elsewhere(&self, reference: &str) -> Option<(PathBuf, String)> {
        let led = self.path.join(reference.replace('\\', "/"));
        let name = led.file_name()?.to_str()?.to_owned();
        let roots: Vec<PathBuf> =
            self.allowed.iter().filter_map(|root| fs::canonicalize(root).ok()).collect();
        let folder = fs::canonicalize(led.parent()?).ok();
        let is_there = |folder: &Path| fs::symlink_metadata(folder.join(&name)).is_ok();
        let exact =
            folder.filter(|folder| roots.iter().any(|root| folder.starts_with(root)) && is_there(folder));
        Some((exact.or_else(|| roots.into_iter().find(|root| is_there(root)))?, name))
    }
}

impl Siblings for Folder {
    fn open(&self, name: &str) -> Result<Arc<dyn ReadAt>> {
        let path = self.path.join(plain_name(name)?);
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
        for entry in fs::read_dir(&self.path)? {
            names.extend(entry?.file_name().into_string());
            limits.disk_siblings.check(size_of_len(names.len()))?;
        }
        names.sort();
        Ok(names)
    }

    fn refer(&self, reference: &str) -> Result<Referred> {
        let own = plain_name(reference).and_then(|name| Ok((name.to_owned(), self.open(name)?)));
        let error = match own {
            Ok((name, file)) => return Ok(Referred { name, file, folder: None }),
            Err(error) => error,
        };
        let Some((path, name)) = self.elsewhere(reference) else { return Err(error) };
        let folder = Folder { path, allowed: Arc::clone(&self.allowed) };
        let file = folder.open(&name)?;
        let name = folder.path.join(&name).display().to_string();
        Ok(Referred { name, file, folder: Some(folder) })
    }
}

/// The plain file name that a reference inside an image is, if it stays in the image's folder.
///
/// # Errors
/// `Config` if it leads elsewhere, or could.
pub(in crate::source) fn plain_name(reference: &str) -> Result<&str> {
    let name = ["./", ".\\"].iter().find_map(|dot| reference.strip_prefix(dot)).unwrap_or(reference);
    let is_plain = !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\\', ':', '\0']);
    if is_plain {
        return Ok(name);
    }
    let found = crate::error::quoted(reference);
    let refused =
        Error::config(format!("the image names {found}, which is outside of its folder: not opened"));
    Err(refused.hint("if you trust the image, allow the folder that it is in: --disk-folder DIR"))
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
        let siblings = Folder::new(folder.path(), &[].into());
        assert_eq!(siblings.open("a").unwrap().size_bytes(), 1);
        for name in ["b", "c", "../a"] {
            assert!(siblings.open(name).is_err());
        }
        assert_eq!(siblings.names(&Limits::default()).unwrap(), ["a", "b"]);
    }

    #[test]
    fn what_lies_elsewhere_is_opened_only_from_folders_that_are_allowed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        for (path, text) in [("own/a", "own"), ("other/deep/b", "deep"), ("other/c", "c"), ("secret/d", "d")]
        {
            fs::create_dir_all(at(path).parent().unwrap()).unwrap();
            fs::write(at(path), text).unwrap();
        }
        std::os::unix::fs::symlink(at("secret"), at("other/link")).unwrap();
        std::os::unix::fs::symlink(at("secret/d"), at("other/e")).unwrap();
        let absolute = |path: &str| at(path).display().to_string();
        let refer = |allowed: &[PathBuf], reference: &str| {
            let referred = Folder::new(&at("own"), &allowed.into()).refer(reference)?;
            let mut text = vec![0; usize::try_from(referred.file.size_bytes()).unwrap()];
            referred.file.read_exact_at(0, &mut text)?;
            Ok::<_, Error>(String::from_utf8(text).unwrap())
        };
        let other = [at("other")];
        assert_eq!(refer(&[], "a").unwrap(), "own");
        for reference in [absolute("other/c"), "../other/c".into(), "c".into()] {
            refer(&[], &reference).err().unwrap();
            assert_eq!(refer(&other, &reference).unwrap(), "c");
        }
        assert_eq!(refer(&other, &absolute("other/deep/b")).unwrap(), "deep");
        assert_eq!(refer(&other, "/gone/c").unwrap(), "c");
        for reference in [absolute("secret/d"), absolute("other/link/d"), "e".into(), "../secret/d".into()] {
            refer(&other, &reference).err().unwrap();
        }
    }
}
