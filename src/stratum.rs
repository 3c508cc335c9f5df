//! What a walk over one layer of files is: entries go by, a sink says what it wants of each and gets it.
//!
//! A container layer is a stream that is read once, a disk or directory is random access; both hand single
//! files to the same sink. Whether a file is read lazily, held in memory or spooled is the walker's business.

use crate::bytes::ReadAt;
use crate::error::{Error, Result};
use crate::model::{Gap, ImagePath, Sha256, StratumId};

/// One thing in a stratum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where it is, relative to the root of the system that the stratum belongs to.
    pub path: ImagePath,
    /// What it is.
    pub node: Node,
}

/// What a thing in a stratum is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A regular file.
    File(Meta),
    /// A directory.
    Directory(Meta),
    /// A symbolic link, with its target as stored.
    Symlink(Box<[u8]>),
    /// Another name of a file of this stratum or of a lower one.
    HardLink(ImagePath),
    /// Nothing is here any more, whatever lower strata have.
    Whiteout,
    /// A directory that shows nothing of lower strata.
    Opaque,
    /// A device, socket or pipe.
    Special,
}

/// What is known of a file or directory without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Meta {
    /// Size in bytes; 0 for directories.
    pub size_bytes: u64,
    /// Unix permission bits with set-id and sticky bits.
    pub mode: u32,
}

/// How a sink wants a file's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Want {
    /// Not at all.
    No,
    /// The first bytes, at most so many; the content that comes has no more.
    Head(u32),
    /// All of it, at any offset.
    Random,
}

/// Which digests of a file a sink wants. They are made as the bytes stream by and need no buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DigestSet {
    /// SHA-256 of the whole content.
    pub sha256: bool,
}

/// Digests of one file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FileDigests {
    /// SHA-256 of the whole content, if it was asked for.
    pub sha256: Option<Sha256>,
}

/// What a sink wants of one entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// Its content.
    pub want: Want,
    /// Its digests.
    pub digests: DigestSet,
}

impl Request {
    /// Nothing.
    pub const NOTHING: Request = Request { want: Want::No, digests: DigestSet { sha256: false } };

    /// Content only.
    #[must_use]
    pub fn content(want: Want) -> Self {
        Request { want, ..Request::NOTHING }
    }
}

/// Receives a walk. Called from one thread at a time for one stratum, from several for several.
pub trait Sink: Sync {
    /// Every entry, in the order of the walk, with what is wanted of it. For anything but files the answer
    /// is not used. A path may come again (a tar may hold it twice): the later entry replaces the earlier.
    fn request(&self, entry: &Entry) -> Request;

    /// A file's content as wanted: the whole file, or its head.
    fn file(&self, entry: &Entry, content: &dyn ReadAt);

    /// A file's digests as wanted.
    fn digests(&self, _entry: &Entry, _digests: &FileDigests) {}

    /// Something that could not be read; the walk goes on.
    fn gap(&self, gap: Gap);

    /// The same, with the error that made it: one of the host or of a limit says nothing lasting of the stratum.
    fn failed(&self, gap: Gap, _error: &Error) {
        self.gap(gap);
    }
}

/// What of a stratum is visited.
#[derive(Debug, Clone, Copy)]
pub enum Scope<'a> {
    /// Everything.
    All,
    /// These paths, sorted: a file as it is, a directory with all below it. Symbolic links on the way to them
    /// are entries of the walk, and are not followed.
    Only(&'a [ImagePath]),
}

impl Scope<'_> {
    /// Whether a walk of everything shows this path to its sink: it is one of the wanted ones, below one, or
    /// on the way to one.
    #[must_use]
    pub fn shows(&self, path: &ImagePath) -> bool {
        match self {
            Scope::All => true,
            Scope::Only(paths) => {
                // Sorted by bytes, what is below a path comes right after it, but for siblings like `a-b`.
                let first_below = path.join("\0");
                let on_the_way = paths.get(paths.partition_point(|wanted| *wanted < first_below));
                on_the_way.is_some_and(|wanted| wanted.below(path).is_some()) || is_in(paths, path)
            }
        }
    }
}

/// Whether a path is one of these sorted paths, or below one.
fn is_in(paths: &[ImagePath], path: &ImagePath) -> bool {
    let mut at = path.clone();
    loop {
        if paths.binary_search(&at).is_ok() {
            return true;
        }
        if at.is_root() {
            return false;
        }
        at = at.parent();
    }
}

/// The digests of one layer, which belong together: both were made in one pass over its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proven {
    /// Of the bytes as stored.
    pub stored: Sha256,
    /// Of the tar (the diff-id).
    pub tar: Sha256,
}

/// One layer of files: a container layer, the mounted root of a disk, a directory. Can be visited again.
pub trait Stratum: Send + Sync {
    /// Its place in the image.
    fn id(&self) -> StratumId;

    /// The digest of its content as stored, where the image names one.
    fn digest(&self) -> Option<Sha256>;

    /// Its size as stored, for the order of work and for progress; 0 if unknown.
    fn size_bytes(&self) -> u64 {
        0
    }

    /// What the last visit that came to its end proved of a layer: the digests of its bytes as stored and of
    /// its tar. `None` for what is no layer, and before a visit.
    fn proven(&self) -> Option<Proven> {
        None
    }

    /// Shows every entry in scope to the sink, in an order that depends on nothing but the stratum.
    ///
    /// # Errors
    /// If the stratum as a whole cannot be believed (it is cut off, not what it should be, or does not match
    /// its digest): then nothing that the sink was shown counts. What concerns one entry is a gap instead.
    fn visit(&self, scope: Scope<'_>, sink: &dyn Sink) -> Result<()>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_shows_what_is_in_it_and_on_the_way() {
        let mut paths: Vec<ImagePath> =
            ["usr/a", "usr/a-b/c", "var/lib/dpkg/status"].map(ImagePath::from).into();
        paths.sort();
        let scope = Scope::Only(&paths);
        for (path, want) in [
            ("usr", true),
            ("usr/a", true),
            ("usr/a/x/y", true),
            ("usr/a-b", true),
            ("usr/a-b/c", true),
            ("usr/a-b/d", false),
            ("usr/a0", false),
            ("var/lib", true),
            ("var/lib/dpkg/status-old", false),
            ("", true),
        ] {
            assert_eq!(scope.shows(&ImagePath::from(path)), want, "{path}");
        }
        assert!(Scope::Only(&[ImagePath::root()]).shows(&ImagePath::from("any/thing")));
    }
}
