//! The files of a header: paths, modes, digests, flags.

use super::{Header, malformed, tags};
use crate::bytes::size_of_len;
use crate::error::{Error, Result, quoted};
use crate::limits::Limits;
use crate::model::ImagePath;

/// How a file's digest was made, as OpenPGP numbers it (RFC 4880, 9.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DigestAlgorithm {
    /// 1, and what packages have that name none.
    Md5,
    /// 2.
    Sha1,
    /// 8.
    Sha256,
    /// 9.
    Sha384,
    /// 10.
    Sha512,
}

impl DigestAlgorithm {
    fn of(number: u64) -> Option<Self> {
        match number {
            1 => Some(DigestAlgorithm::Md5),
            2 => Some(DigestAlgorithm::Sha1),
            8 => Some(DigestAlgorithm::Sha256),
            9 => Some(DigestAlgorithm::Sha384),
            10 => Some(DigestAlgorithm::Sha512),
            _ => None,
        }
    }
}

/// A file of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedFile {
    /// Its path.
    pub path: ImagePath,
    /// Type and permissions as `stat` has them.
    pub mode: u16,
    /// rpm's flags: 1 configuration, 2 documentation, 8 may be missing, 64 not shipped (`%ghost`).
    pub flags: u32,
    /// Whether rpm put it there: 0 yes, others not (replaced, excluded, shared, of another architecture).
    pub state: u8,
    /// The digest of a regular file's content, in hexadecimal digits.
    pub digest: Option<(DigestAlgorithm, String)>,
}

impl Header<'_> {
    /// The files of the package, in its order.
    ///
    /// # Errors
    /// `Malformed` if the lists are not of one length, or name a directory or a digest that is none; `Limit`
    /// for too many.
    pub fn files(&self, limits: &Limits) -> Result<Vec<OwnedFile>> {
        let paths = self.paths(limits)?;
        let modes = self.numbers16(tags::FILE_MODES)?;
        let flags = self.numbers(tags::FILE_FLAGS)?;
        let states = self.bytes(tags::FILE_STATES)?;
        let digests: Vec<&[u8]> = self.texts(tags::FILE_DIGESTS)?.collect();
        for (name, len) in [("modes", modes.len()), ("flags", flags.len()), ("digests", digests.len())] {
            if len != 0 && len != paths.len() {
                return Err(malformed(
                    "files",
                    0,
                    format!("{} paths, {len} {name}", paths.len()),
                    "as many of each",
                ));
            }
        }
        let number = self.number(tags::FILE_DIGEST_ALGORITHM)?.unwrap_or(1);
        let algorithm = DigestAlgorithm::of(number);
        if algorithm.is_none() && digests.iter().any(|digest| !digest.is_empty()) {
            return Err(Error::unsupported(format!("file digests of algorithm {number}")));
        }
        let mut files = Vec::new();
        for (at, path) in paths.into_iter().enumerate() {
            let digest = digests.get(at).copied().filter(|digest| !digest.is_empty());
            if let Some(digest) = digest.filter(|digest| !digest.iter().all(u8::is_ascii_hexdigit)) {
                return Err(malformed("FILEDIGESTS", 0, quoted(digest), "hexadecimal digits"));
            }
            let digest = digest.map(|digest| String::from_utf8_lossy(digest).to_ascii_lowercase());
            files.push(OwnedFile {
                path,
                mode: modes.get(at).copied().unwrap_or_default(),
                flags: flags.get(at).copied().unwrap_or_default(),
                state: states.get(at).copied().unwrap_or_default(),
                digest: algorithm.zip(digest),
            });
        }
        Ok(files)
    }

    /// The paths: directories and names apart, or whole as rpm 3 wrote them.
    fn paths(&self, limits: &Limits) -> Result<Vec<ImagePath>> {
        let names: Vec<&[u8]> = self.texts(tags::BASE_NAMES)?.collect();
        if names.is_empty() {
            let old: Vec<&[u8]> = self.texts(tags::OLD_FILE_NAMES)?.collect();
            limits.rpm_files.check(size_of_len(old.len()))?;
            return Ok(old.into_iter().map(ImagePath::new).collect());
        }
        limits.rpm_files.check(size_of_len(names.len()))?;
        let directories: Vec<&[u8]> = self.texts(tags::DIR_NAMES)?.collect();
        let indexes = self.numbers(tags::DIR_INDEXES)?;
        if indexes.len() != names.len() {
            let found = format!("{} names, {} directories of them", names.len(), indexes.len());
            return Err(malformed("files", 0, found, "as many of each"));
        }
        // A long directory that many files name would be there as often as they are.
        let mut all_bytes = 0_u64;
        let of = |(name, index): (&&[u8], u32)| {
            let directory = usize::try_from(index).ok().and_then(|index| directories.get(index));
            let directory = directory.ok_or_else(|| {
                let allowed = format!("below {}", directories.len());
                malformed("DIRINDEXES", 0, index.to_string(), allowed)
            })?;
            let path_bytes = size_of_len(directory.len()).saturating_add(size_of_len(name.len()));
            all_bytes = limits.rpm_header_bytes.check(all_bytes.saturating_add(path_bytes))?;
            Ok(ImagePath::new([directory, *name].concat()))
        };
        names.iter().zip(indexes).map(of).collect()
    }
}
