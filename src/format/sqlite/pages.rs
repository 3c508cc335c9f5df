//! Pages by number: where each one is, in the database or in a log beside it, and reading them.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::indexing_slicing,
        clippy::unwrap_used
    )
)]

use std::collections::BTreeMap;

use crate::bytes::{ReadAt, size_of_len};
use crate::error::{Error, Result};

/// So much of a database is read at once where its pages follow each other.
const WINDOW_BYTES: usize = 256 << 10;

/// SQLite locks this byte of a database; the page that has it holds nothing.
const LOCK_BYTE: u64 = 0x4000_0000;

/// The file that a page is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    Database,
    Wal,
    Journal,
}

/// The pages of logs that stand for those of the database, each with the offset of its bytes.
pub(super) type Overlay = BTreeMap<u32, (Origin, u64)>;

/// All pages of a database as it is with its logs.
pub(super) struct Pages<'a> {
    pub database: &'a dyn ReadAt,
    pub wal: Option<&'a dyn ReadAt>,
    pub journal: Option<&'a dyn ReadAt>,
    pub overlay: Overlay,
    /// 512 to 65536.
    pub page_bytes: usize,
    /// What is left of a page without the space reserved at its end; at least 480.
    pub usable_bytes: usize,
    /// Pages are numbered from 1 to this.
    pub count: u32,
}

impl<'a> Pages<'a> {
    /// Where a page is.
    ///
    /// # Errors
    /// `Malformed` if the database has no page of this number.
    pub(super) fn locate(&self, number: u32) -> Result<(Origin, u64)> {
        let page_bytes = size_of_len(self.page_bytes);
        let offset = u64::from(number.saturating_sub(1)).saturating_mul(page_bytes);
        let locked = LOCK_BYTE.checked_div(page_bytes) == offset.checked_div(page_bytes);
        if number == 0 || number > self.count || locked {
            return Err(Error::malformed(
                "SQLite",
                "page number",
                None,
                number.to_string(),
                format!("1..={}, without that of the lock", self.count),
            ));
        }
        Ok(self.overlay.get(&number).copied().unwrap_or((Origin::Database, offset)))
    }

    /// What the files have in all: nothing in them can be longer.
    pub(super) fn stored_bytes(&self) -> u64 {
        let size = |file: Option<&dyn ReadAt>| file.map_or(0, ReadAt::size_bytes);
        size(Some(self.database)).saturating_add(size(self.wal)).saturating_add(size(self.journal))
    }

    /// A page as a place in messages.
    pub(super) fn place(&self, number: u32) -> String {
        match self.locate(number) {
            Ok((Origin::Wal, _)) => format!("page {number} in the write-ahead log"),
            Ok((Origin::Journal, _)) => format!("page {number} in the rollback journal"),
            _ => format!("page {number}"),
        }
    }

    fn file(&self, origin: Origin) -> &'a dyn ReadAt {
        let beside = match origin {
            Origin::Database => None,
            Origin::Wal => self.wal,
            Origin::Journal => self.journal,
        };
        beside.unwrap_or(self.database)
    }
}

/// Reads pages, many at once where they follow each other.
pub(super) struct PageReader<'p> {
    pages: &'p Pages<'p>,
    /// Bytes of the database from `start` on, of which `filled` are valid.
    window: Vec<u8>,
    start: u64,
    filled: usize,
    /// A page of a log.
    single: Vec<u8>,
}

impl<'p> PageReader<'p> {
    pub(super) fn new(pages: &'p Pages<'p>) -> Self {
        PageReader { pages, window: Vec::new(), start: 0, filled: 0, single: Vec::new() }
    }

    /// The usable bytes of a page and their offset in the file that has it. `ahead` pages, with this one, will
    /// be read next if the file has them in their order.
    ///
    /// # Errors
    /// `Malformed` if there is no such page or its file is cut off before its end; `Io`.
    pub(super) fn page(&mut self, number: u32, ahead: usize) -> Result<(&[u8], u64)> {
        let pages = self.pages;
        let (origin, offset) = pages.locate(number)?;
        let bytes = match origin {
            Origin::Database => self.for_window(offset, ahead)?,
            Origin::Wal | Origin::Journal => {
                self.single.resize(self.pages.page_bytes, 0);
                self.pages.file(origin).read_exact_at(offset, &mut self.single)?;
                &self.single
            }
        };
        Ok((bytes.get(..pages.usable_bytes).unwrap_or(bytes), offset))
    }

    fn for_window(&mut self, offset: u64, ahead: usize) -> Result<&[u8]> {
        let page_bytes = self.pages.page_bytes;
        let inside = |start: u64, filled: usize| {
            let at = usize::try_from(offset.checked_sub(start)?).ok()?;
            Some((at, at.checked_add(page_bytes)?)).filter(|(_, end)| *end <= filled)
        };
        if inside(self.start, self.filled).is_none() {
            let follows = self.start.saturating_add(size_of_len(self.filled)) == offset;
            let grown = if follows { self.filled.saturating_mul(2) } else { page_bytes };
            let wanted = ahead.saturating_mul(page_bytes).max(grown).min(WINDOW_BYTES).max(page_bytes);
            let left = self.pages.database.size_bytes().saturating_sub(offset);
            let len = usize::try_from(left).map_or(wanted, |left| left.min(wanted));
            if len < page_bytes {
                let found = format!("{left} bytes where the page would be");
                return Err(Error::malformed("SQLite", "page", offset, found, page_bytes.to_string())
                    .hint("the database is cut off"));
            }
            if self.window.len() < len {
                self.window.resize(len, 0);
            }
            self.filled = 0;
            self.pages.database.read_exact_at(offset, self.window.get_mut(..len).unwrap_or_default())?;
            (self.start, self.filled) = (offset, len);
        }
        let found = inside(self.start, self.filled).and_then(|(at, end)| self.window.get(at..end));
        Ok(found.unwrap_or_default())
    }
}

/// A set of page numbers. Its memory is a bit for each page up to the highest.
#[derive(Default)]
pub(super) struct Visited(Vec<u64>);

impl Visited {
    /// Adds a number; whether it was not there.
    pub(super) fn insert(&mut self, number: u32) -> bool {
        let at = usize::try_from(number >> 6).unwrap_or(usize::MAX);
        if self.0.len() <= at {
            self.0.resize(at.saturating_add(1), 0);
        }
        let bit = 1_u64 << (number & 63);
        match self.0.get_mut(at) {
            Some(word) if *word & bit == 0 => {
                *word |= bit;
                true
            }
            _ => false,
        }
    }
}
