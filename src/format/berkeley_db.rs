//! Berkeley DB files with the hash or the B-tree access method, as rpm's `Packages` is one up to rpm 4.16.
//!
//! Read from the pages, with what `db_page.h`, `hash.h` and `btree.h` of Berkeley DB 3.2 to 6.2 say of them: all
//! page sizes (512 to 65536 bytes), both byte orders (the magic number tells), hash versions 7 to 10, B-tree
//! versions 9 and 10, overflow chains, duplicates on and off the page, page checksums. Files of older versions,
//! encrypted and partitioned ones, queues, heaps, record-number trees, compressed trees, files with several
//! databases and external files (BLOBs) of version 6 are refused by name.
//!
//! | page | what |
//! |---|---|
//! | 0 | metadata: magic, version, page size, free list; buckets of a hash, root of a tree |
//! | hash (2, 13) | a bucket: key, value, key, value, …; more pages of the bucket follow by their links |
//! | overflow (7) | a piece of a key or value that is too large for its page; a chain by links |
//! | B-tree (3, 5) | inner pages that lead to leaves of key, value, key, value, … |
//! | duplicates (4, 6, 12) | trees of the values of one key |
//! | free (0) | on the free list, or never written: a page of zeros |
//!
//! Every page belongs to one thing at most, and what no record leads to is told. So a database is listed whole
//! or with an error for what is missing:
//! - A bucket that was never written is a page of zeros, and so is one that was lost. The number of records in
//!   the metadata tells them apart. It counts what rpm does exactly, because rpm never uses transactional locks,
//!   under which Berkeley DB does not count; such a database may have *more* records than it says, and that is
//!   no loss. Fewer are told.
//! - A file bears no mark that says whether it was closed. What a process had not yet written shows as a file
//!   that ends before its last page, as a page of another kind or in no chain, and as a wrong number of records;
//!   a cache that never wrote a whole new record shows nowhere in this file. Region files (`__db.001`, …) that
//!   lie beside it prove nothing: rpm leaves them there.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::indexing_slicing,
        clippy::unwrap_used
    )
)]

mod btree;
mod hash;
mod leftover;
mod meta;
mod overflow;
mod pages;

use crate::bytes::{ReadAt, array_at, size_of_len};
use crate::error::{Error, Kind, Result};
use crate::limits::Limits;

use meta::{Access, Meta};
use pages::Pages;

/// The format's name in errors.
const FORMAT: &str = "Berkeley DB";

/// A key and its value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// How the numbers of a database are stored, those that rpm puts in keys too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByteOrder {
    /// `db_lorder` 1234.
    Little,
    /// `db_lorder` 4321.
    Big,
}

impl ByteOrder {
    /// The number of 16 bits at `at`; what passes the end is zero.
    fn u16(self, bytes: &[u8], at: usize) -> u16 {
        match self {
            ByteOrder::Little => u16::from_le_bytes(array_at(bytes, at)),
            ByteOrder::Big => u16::from_be_bytes(array_at(bytes, at)),
        }
    }

    /// The number of 32 bits at `at`; what passes the end is zero.
    #[must_use]
    pub fn u32(self, bytes: &[u8], at: usize) -> u32 {
        match self {
            ByteOrder::Little => u32::from_le_bytes(array_at(bytes, at)),
            ByteOrder::Big => u32::from_be_bytes(array_at(bytes, at)),
        }
    }
}

/// The byte order of a Berkeley DB file of any access method that begins with `head` (16 bytes or more); `None`
/// if it is something else.
#[must_use]
pub fn byte_order(head: &[u8]) -> Option<ByteOrder> {
    [ByteOrder::Little, ByteOrder::Big]
        .into_iter()
        .find(|order| head.len() >= 16 && meta::method(order.u32(head, 12)).is_some())
}

/// Whether a file that begins with `head` (16 bytes or more) is a Berkeley DB file of any access method, read by
/// [`values`] or refused by name.
#[must_use]
pub fn is_berkeley_db(head: &[u8]) -> bool {
    byte_order(head).is_some()
}

/// Gives every key and its value to `each`, in the order of the buckets or of the tree, as `db_dump` does; a key
/// with duplicates comes once for each of its values, and what was deleted does not come. A damaged record or
/// page is an error with page and offset, and the good ones beside it still come. After the last record come
/// errors for what shows that records are missing.
///
/// # Errors
/// `Unsupported` for what is refused by name, `Malformed` if the metadata page is not one, `Limit` if the file,
/// its records or its damages pass their ceilings, `Io`.
pub fn values(database: &dyn ReadAt, limits: &Limits, each: &mut dyn FnMut(Result<Pair>)) -> Result<()> {
    limits.package_db_bytes.check(database.size_bytes())?;
    let meta = Meta::read(database)?;
    let mut listing =
        Listing { pages: Pages::new(database, &meta), limits, each, records: 0, bytes: 0, damages: 0 };
    match &meta.access {
        Access::Hash(hash) => {
            hash::list(&mut listing, hash)?;
            leftover::check(&mut listing, &meta)?;
            leftover::check_count(&mut listing, hash)
        }
        Access::Btree(tree) if tree.has_databases => Err(several(&mut listing, tree.root)),
        Access::Btree(tree) => {
            btree::list(&mut listing, tree.root, None)?;
            leftover::check(&mut listing, &meta)
        }
    }
}

/// The error for a file with several databases, with the names of the first ones.
fn several(listing: &mut Listing<'_, '_>, root: u32) -> Error {
    let mut names = Vec::new();
    let mut each = |pair: Result<Pair>| {
        if let Ok((name, _)) = pair
            && names.len() < 8
        {
            names.push(crate::error::quoted(name));
        }
    };
    let mut master = Listing {
        pages: Pages::again(&listing.pages),
        limits: listing.limits,
        each: &mut each,
        records: 0,
        bytes: 0,
        damages: 0,
    };
    match btree::list(&mut master, root, None) {
        Ok(()) => {
            Error::unsupported(format!("several Berkeley DB databases in one file: {}", names.join(", ")))
        }
        Err(error) => error,
    }
}

/// One run over a database, and what it has given out so far.
struct Listing<'d, 'e> {
    pages: Pages<'d>,
    limits: &'e Limits,
    each: &'e mut dyn FnMut(Result<Pair>),
    records: u64,
    /// Of keys and values: a key with duplicates is given out again and again.
    bytes: u64,
    damages: u64,
}

impl Listing<'_, '_> {
    /// Gives out a pair or a damage.
    ///
    /// # Errors
    /// `Limit` if there are too many of either.
    fn tell(&mut self, pair: Result<Pair>) -> Result<()> {
        match &pair {
            Ok((key, value)) => {
                self.records = self.limits.records.check(self.records.saturating_add(1))?;
                let bytes = size_of_len(key.len()).saturating_add(size_of_len(value.len()));
                self.bytes = self.limits.package_db_bytes.check(self.bytes.saturating_add(bytes))?;
            }
            Err(_) => self.damages = self.limits.damages.check(self.damages.saturating_add(1))?,
        }
        (self.each)(pair);
        Ok(())
    }

    /// Gives out a damage.
    ///
    /// # Errors
    /// As [`Listing::tell`], and `Io`: it is not the page's.
    fn tell_damage(&mut self, damage: Error) -> Result<()> {
        if matches!(damage.kind(), Kind::Io(_)) {
            return Err(damage);
        }
        self.tell(Err(damage))
    }
}
