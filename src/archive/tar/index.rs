//! What is where in a tar that can be read at random: headers are read, data is passed over.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, Read};
use std::sync::Arc;

use super::{BLOCK_BYTES, Layout, MemberKind, Skip, SparseContent, SparseMap, TarReader};
use crate::bytes::{ReadAt, Section, size_of_len};
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::model::ImagePath;

/// Where a member of an index is.
#[derive(Debug, Clone)]
pub enum Place {
    /// A file: its bytes are there.
    File {
        /// Of its first byte.
        offset: u64,
        /// So many.
        size_bytes: u64,
    },
    /// A sparse file: its data is there, and goes where the map says.
    Sparse {
        /// Of its first stored byte.
        offset: u64,
        /// Where its data goes.
        map: SparseMap,
    },
    /// A file whose content cannot be made out, for this reason.
    Unreadable(Error),
    /// A link; the path that it leads to, from the root of the archive.
    Link(ImagePath),
    /// Nothing whose bytes can be had: a directory, a device.
    None,
}

/// The members of a tar by path. Where a path comes twice the later one counts, as when it is extracted.
pub struct Index {
    whole: Arc<dyn ReadAt>,
    places: BTreeMap<ImagePath, Place>,
    repeated: BTreeSet<ImagePath>,
    damage: Option<Error>,
    link_hops: u64,
}

impl Index {
    /// Reads all headers. What is wrong with the archive is kept beside what was read up to there.
    #[must_use]
    pub fn read(whole: Arc<dyn ReadAt>, limits: &Limits) -> Self {
        let mut index = Index {
            whole: Arc::clone(&whole),
            places: BTreeMap::new(),
            repeated: BTreeSet::new(),
            damage: None,
            link_hops: limits.link_hops.max,
        };
        index.damage = index.fill(&*whole, limits).err();
        index
    }

    fn fill(&mut self, whole: &dyn ReadAt, limits: &Limits) -> Result<()> {
        let mut reader = TarReader::new(HeadersOnly::new(whole), limits);
        let (mut count, mut extents) = (0_u64, 0_u64);
        while let Some(member) = reader.next_member()? {
            count = count.saturating_add(1);
            limits.archive_members.check(count)?;
            let path = ImagePath::new(&member.path);
            let place = match member.kind {
                MemberKind::File if matches!(member.layout, Layout::Plain) => {
                    Place::File { offset: member.data_offset, size_bytes: member.stored_bytes }
                }
                MemberKind::File => match member.layout {
                    Layout::Sparse(map) => {
                        extents = limits.tar_sparse_extents.check(extents.saturating_add(map.extents()))?;
                        Place::Sparse { offset: member.data_offset, map }
                    }
                    Layout::Unreadable(error) => Place::Unreadable(error),
                    Layout::Plain => Place::None,
                },
                MemberKind::HardLink => Place::Link(ImagePath::new(&member.link)),
                MemberKind::Symlink if member.link.starts_with(b"/") => {
                    Place::Link(ImagePath::new(&member.link))
                }
                MemberKind::Symlink => {
                    Place::Link(ImagePath::new([path.parent().as_bytes(), &member.link].join(&b'/')))
                }
                MemberKind::Label => continue,
                _ => Place::None,
            };
            if self.places.contains_key(&path) {
                self.repeated.insert(path.clone());
            }
            self.places.insert(path, place);
        }
        Ok(())
    }

    /// What is wrong with the archive, if it is.
    #[must_use]
    pub fn damage(&self) -> Option<&Error> {
        self.damage.as_ref()
    }

    /// All paths, sorted.
    pub fn paths(&self) -> impl Iterator<Item = &ImagePath> {
        self.places.keys()
    }

    /// Whether there is a member of this path.
    #[must_use]
    pub fn contains(&self, path: &ImagePath) -> bool {
        self.places.contains_key(path)
    }

    /// Whether members of this path came more than once. Readers differ in which of them counts.
    #[must_use]
    pub fn is_repeated(&self, path: &ImagePath) -> bool {
        self.repeated.contains(path)
    }

    /// A file's bytes; links are followed within the archive.
    ///
    /// # Errors
    /// `NotFound` if there is no such file, `Malformed` if it is cut off, `Limit` if links go in a circle.
    pub fn open(&self, path: &ImagePath) -> Result<Arc<dyn ReadAt>> {
        let mut at = path.clone();
        for _ in 0..=self.link_hops {
            match self.places.get(&at) {
                Some(Place::File { offset, size_bytes }) => {
                    return Ok(Arc::new(Section::new(Arc::clone(&self.whole), *offset, *size_bytes)?));
                }
                Some(Place::Sparse { offset, map }) => {
                    let stored = Section::new(Arc::clone(&self.whole), *offset, map.stored_bytes())?;
                    return Ok(Arc::new(SparseFile { stored, map: map.clone() }));
                }
                Some(Place::Unreadable(error)) => return Err(error.clone()),
                Some(Place::Link(target)) => at = target.clone(),
                Some(Place::None) => {
                    return Err(Error::not_found(format!("`{path}` as a file of the archive")));
                }
                None => {
                    let error = Error::not_found(format!("`{at}` in the archive"));
                    return Err(match &self.damage {
                        Some(damage) => error.hint(format!("the archive is damaged: {damage}")),
                        None => error,
                    });
                }
            }
        }
        Err(Error::malformed("tar", "link", None, format!("`{path}` leads in a circle"), "a file"))
    }
}

/// A sparse member with its holes.
struct SparseFile {
    stored: Section,
    map: SparseMap,
}

impl ReadAt for SparseFile {
    fn size_bytes(&self) -> u64 {
        self.map.size_bytes()
    }

    fn read_exact_at(&self, offset: u64, dst: &mut [u8]) -> Result<()> {
        SparseContent { stored: &self.stored, map: &self.map }.read_exact_at(offset, dst)
    }
}

/// A window over content that jumps over what is skipped.
struct HeadersOnly<'a> {
    content: &'a dyn ReadAt,
    /// Where `buffer` starts.
    start: u64,
    buffer: Vec<u8>,
    taken: usize,
}

/// Headers come alone or in pairs, with data between.
const WINDOW_BYTES: usize = 4 * BLOCK_BYTES;

impl<'a> HeadersOnly<'a> {
    fn new(content: &'a dyn ReadAt) -> Self {
        HeadersOnly { content, start: 0, buffer: Vec::new(), taken: 0 }
    }

    fn at(&self) -> u64 {
        self.start.saturating_add(size_of_len(self.taken))
    }
}

impl Read for HeadersOnly<'_> {
    fn read(&mut self, dst: &mut [u8]) -> io::Result<usize> {
        let len = self.fill_buf()?.read(dst)?;
        self.consume(len);
        Ok(len)
    }
}

impl BufRead for HeadersOnly<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.taken >= self.buffer.len() {
            self.start = self.at();
            self.taken = 0;
            let left = self.content.size_bytes().saturating_sub(self.start);
            self.buffer.resize(usize::try_from(left).map_or(WINDOW_BYTES, |left| left.min(WINDOW_BYTES)), 0);
            self.content.read_exact_at(self.start, &mut self.buffer).map_err(Error::into_io)?;
        }
        Ok(self.buffer.get(self.taken..).unwrap_or(&[]))
    }

    fn consume(&mut self, len: usize) {
        self.taken = self.taken.saturating_add(len).min(self.buffer.len());
    }
}

impl Skip for HeadersOnly<'_> {
    fn skip_bytes(&mut self, bytes: u64) -> io::Result<u64> {
        let at = self.at();
        let skipped = bytes.min(self.content.size_bytes().saturating_sub(at));
        let here = self.buffer.len().saturating_sub(self.taken);
        match usize::try_from(skipped) {
            Ok(len) if len <= here => self.consume(len),
            _ => {
                self.start = at.saturating_add(skipped);
                self.buffer.clear();
                self.taken = 0;
            }
        }
        Ok(skipped)
    }
}
