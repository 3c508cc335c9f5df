//! One subvolume: a tree of inodes, names and extents.

use super::log::Changes;
use super::metadata::Metadata;
use super::node::{INODE_ITEM, Key};
use super::search::Tree;
use crate::error::Result;
use crate::tree::fields::Fields;

/// A subvolume's tree, and what it is read through.
#[derive(Clone, Copy)]
pub(super) struct Subvolume<'a> {
    pub(super) metadata: &'a Metadata,
    pub(super) tree: Tree,
    /// What its log changes.
    pub(super) changes: Option<&'a Changes>,
}

impl Subvolume<'_> {
    /// Takes an inode item, as it was before the log.
    ///
    /// # Errors
    /// If the tree cannot be read there; the error of `take`.
    pub(super) fn inode_item<T>(
        &self,
        number: u64,
        take: impl FnOnce(&Fields<'_>) -> Result<T>,
    ) -> Result<Option<T>> {
        let item = self.tree.get(self.metadata, Key::new(number, INODE_ITEM, 0))?;
        item.map(|item| take(&item.fields(super::inode::ITEM)?)).transpose()
    }
}
