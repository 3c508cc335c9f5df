//! What all inodes of a file system are read through: the volume, the metabox if it has one, and the packed inode.

use std::sync::{Arc, OnceLock};

use super::content::Content;
use super::inode::Inode;
use super::superblock::{IN_METABOX, Superblock};
use crate::bytes::ReadAt;
use crate::error::{Error, Result, ResultExt};
use crate::limits::Limits;
use crate::tree::CachedReader;
use crate::tree::inflated::Inflated;

/// What contents share.
pub(super) struct Base {
    pub(super) reader: CachedReader,
    pub(super) superblock: Superblock,
    pub(super) limits: Arc<Limits>,
    pub(super) inflated: Inflated<Key>,
}

/// What an inflated cluster is kept by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) at: u64,
    pub(super) stored: u32,
    pub(super) inflated: u32,
    pub(super) algorithm: u8,
    pub(super) is_in_metabox: bool,
}

/// A file system.
pub(super) struct Volume {
    pub(super) base: Arc<Base>,
    metabox: OnceLock<Result<Arc<Content>>>,
    packed: OnceLock<Result<Arc<Content>>>,
}

impl Volume {
    pub(super) fn new(reader: CachedReader, superblock: Superblock, limits: Arc<Limits>) -> Self {
        let inflated = Inflated::new(limits.inflated_cache_bytes.max);
        let base = Arc::new(Base { reader, superblock, limits, inflated });
        Volume { base, metabox: OnceLock::new(), packed: OnceLock::new() }
    }

    /// What the inode of a number is in.
    ///
    /// # Errors
    /// `Malformed` if it is in a metabox that is not there; those of mapping the metabox.
    pub(super) fn metadata(&self, number: u64) -> Result<Arc<dyn ReadAt>> {
        if number & IN_METABOX == 0 {
            return Ok(Arc::new(self.base.reader.clone()));
        }
        let metabox = self.metabox.get_or_init(|| {
            let number = self.base.superblock.metabox;
            self.special(number, "metabox")
        });
        Ok(metabox.clone()?)
    }

    /// The packed inode, which holds the ends of many files.
    ///
    /// # Errors
    /// `Malformed` if there is none; those of mapping it.
    pub(super) fn packed(&self) -> Result<Arc<Content>> {
        self.packed.get_or_init(|| self.special(self.base.superblock.packed, "packed inode")).clone()
    }

    fn special(&self, number: Option<u64>, name: &'static str) -> Result<Arc<Content>> {
        let number = number.ok_or_else(|| {
            Error::malformed("erofs superblock", name, None, "none", "one, as inodes have it in use")
        })?;
        let inode = Inode::read(self, number).at(|| name.to_owned())?;
        Ok(Arc::new(Content::map_special(self, &inode).at(|| name.to_owned())?))
    }
}
