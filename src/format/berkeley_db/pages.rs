//! The pages of a file: read in blocks, checked as far as every page can be, and each taken only once.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::indexing_slicing,
        clippy::unwrap_used
    )
)]

use super::meta::Meta;
use super::{ByteOrder, FORMAT};
use crate::bytes::{ReadAt, size_of_len, sum_holds};
use crate::error::{Error, Result};

/// Types of pages.
pub(super) mod kind {
    pub(crate) const FREE: u8 = 0;
    pub(crate) const HASH_UNSORTED: u8 = 2;
    pub(crate) const BTREE_INNER: u8 = 3;
    pub(crate) const RECNO_INNER: u8 = 4;
    pub(crate) const BTREE_LEAF: u8 = 5;
    pub(crate) const RECNO_LEAF: u8 = 6;
    pub(crate) const OVERFLOW: u8 = 7;
    pub(crate) const HASH_META: u8 = 8;
    pub(crate) const BTREE_META: u8 = 9;
    pub(crate) const DUPLICATES_LEAF: u8 = 12;
    pub(crate) const HASH: u8 = 13;

    /// What a type is called in a message.
    pub(crate) fn name(kind: u8) -> &'static str {
        match kind {
            FREE => "free",
            HASH_UNSORTED | HASH => "hash",
            BTREE_INNER | BTREE_LEAF => "B-tree",
            RECNO_INNER | RECNO_LEAF | DUPLICATES_LEAF => "duplicates",
            OVERFLOW => "overflow",
            HASH_META | BTREE_META => "metadata",
            _ => "unknown",
        }
    }
}

/// Bytes that are read at once, at a multiple of their number: the largest page, so that none lies across two.
const BLOCK_BYTES: usize = 64 << 10;
/// Blocks that are kept, each in the place that its number gives it: 4 MiB.
const BLOCKS: usize = 64;

/// Header of a page without checksum.
const HEADER_BYTES: usize = 26;
/// Header of a page with one.
const SUMMED_HEADER_BYTES: usize = 32;
/// Where a page has its checksum.
const SUM_AT: usize = 28;

struct Block {
    /// The block's number in the file.
    number: Option<u64>,
    bytes: Vec<u8>,
}

/// The pages of one file.
pub(super) struct Pages<'a> {
    file: &'a dyn ReadAt,
    order: ByteOrder,
    page_bytes: usize,
    is_summed: bool,
    count: u32,
    blocks: Vec<Block>,
    /// A bit a page: whether something holds it already.
    taken: Vec<u64>,
}

/// One page.
#[derive(Clone, Copy)]
pub(super) struct Page<'a> {
    pub number: u32,
    pub bytes: &'a [u8],
    pub order: ByteOrder,
    /// Where the header ends, and the offsets of items or the bytes of an overflow page begin.
    pub header_bytes: usize,
}

impl<'a> Pages<'a> {
    pub(super) fn new(file: &'a dyn ReadAt, meta: &Meta) -> Self {
        let count = file.size_bytes().checked_div(u64::from(meta.page_bytes)).unwrap_or(0);
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let words = usize::try_from(count.div_ceil(64)).unwrap_or(0);
        let mut pages = Pages {
            file,
            order: meta.order,
            page_bytes: usize::try_from(meta.page_bytes).unwrap_or(BLOCK_BYTES),
            is_summed: meta.is_summed,
            count,
            blocks: (0..BLOCKS).map(|_| Block { number: None, bytes: Vec::new() }).collect(),
            taken: vec![0; words],
        };
        pages.take_bit(0);
        pages
    }

    /// The same pages, with none taken.
    pub(super) fn again(other: &Pages<'a>) -> Self {
        let mut pages = Pages {
            blocks: (0..BLOCKS).map(|_| Block { number: None, bytes: Vec::new() }).collect(),
            taken: vec![0; other.taken.len()],
            ..*other
        };
        pages.take_bit(0);
        pages
    }

    /// Whole pages in the file.
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// Bytes of the file after its last whole page.
    pub(super) fn rest_bytes(&self) -> u64 {
        self.file.size_bytes().checked_rem(size_of_len(self.page_bytes)).unwrap_or(0)
    }

    /// Bytes of a page after its header.
    pub(super) fn room(&self) -> usize {
        self.page_bytes.saturating_sub(self.header_bytes())
    }

    pub(super) fn page_bytes(&self) -> usize {
        self.page_bytes
    }

    pub(super) fn order(&self) -> ByteOrder {
        self.order
    }

    pub(super) fn header_bytes(&self) -> usize {
        if self.is_summed { SUMMED_HEADER_BYTES } else { HEADER_BYTES }
    }

    /// A page whose number and checksum hold; one of zeros has neither.
    ///
    /// # Errors
    /// `Malformed` if there is no such page or it is another, `Io`.
    pub(super) fn page(&mut self, number: u32) -> Result<Page<'_>> {
        let (order, header_bytes, is_summed) = (self.order, self.header_bytes(), self.is_summed);
        let bytes = self.bytes(number)?;
        let page = Page { number, bytes, order, header_bytes };
        if page.number_inside() == number && !is_summed {
            return Ok(page);
        }
        if page.is_blank() {
            return Ok(page);
        }
        if page.number_inside() != number {
            return Err(page.damage("page number", 8, page.number_inside().to_string(), number.to_string()));
        }
        let (stored, found) = (order.u32(bytes, SUM_AT), checksum(bytes, SUM_AT));
        if !sum_holds(stored, found) {
            return Err(page.damage("checksum", SUM_AT, format!("{stored:#010x}"), format!("{found:#010x}")));
        }
        Ok(page)
    }

    /// As [`Pages::page`], copied to `into`, so that other pages can be read beside it.
    ///
    /// # Errors
    /// As [`Pages::page`].
    pub(super) fn copy<'p>(&mut self, number: u32, into: &'p mut Vec<u8>) -> Result<Page<'p>> {
        let page = self.page(number)?;
        let (order, header_bytes) = (page.order, page.header_bytes);
        into.clear();
        into.extend_from_slice(page.bytes);
        Ok(Page { number, bytes: into, order, header_bytes })
    }

    fn bytes(&mut self, number: u32) -> Result<&[u8]> {
        if number == 0 || number >= self.count {
            return Err(self.no_such_page(number));
        }
        let at = u64::from(number).saturating_mul(size_of_len(self.page_bytes));
        let block_bytes = size_of_len(BLOCK_BYTES);
        let block_number = at.checked_div(block_bytes).unwrap_or(0);
        let slot = block_number.checked_rem(size_of_len(self.blocks.len())).unwrap_or(0);
        let start = block_number.saturating_mul(block_bytes);
        let none = || Error::malformed(FORMAT, "page", at, "nothing", "a page");
        let block = usize::try_from(slot).ok().and_then(|slot| self.blocks.get_mut(slot)).ok_or_else(none)?;
        if block.number != Some(block_number) {
            block.number = None;
            let left = usize::try_from(self.file.size_bytes().saturating_sub(start)).unwrap_or(BLOCK_BYTES);
            block.bytes.resize(left.min(BLOCK_BYTES), 0);
            self.file.read_exact_at(start, &mut block.bytes)?;
            block.number = Some(block_number);
        }
        let inside = usize::try_from(at.saturating_sub(start)).unwrap_or(usize::MAX);
        block.bytes.get(inside..inside.saturating_add(self.page_bytes)).ok_or_else(none)
    }

    /// Takes a page for good.
    ///
    /// # Errors
    /// `Malformed` if it is taken already.
    pub(super) fn take(&mut self, number: u32) -> Result<()> {
        if self.take_bit(number) {
            return Ok(());
        }
        Err(Error::malformed(
            FORMAT,
            "link to a page",
            None,
            "a page that belongs to something else",
            "one of its own",
        )
        .at(format!("page {number}")))
    }

    /// As [`Pages::take`], of a page that has not been looked at.
    ///
    /// # Errors
    /// `Malformed` if it is taken already, or there is none of this number.
    pub(super) fn take_existing(&mut self, number: u32) -> Result<()> {
        if number == 0 || number >= self.count {
            return Err(self.no_such_page(number));
        }
        self.take(number)
    }

    fn no_such_page(&self, number: u32) -> Error {
        let allowed = format!("1 to {}", self.count.saturating_sub(1));
        Error::malformed(FORMAT, "link to a page", None, format!("page {number}"), allowed)
    }

    fn take_bit(&mut self, number: u32) -> bool {
        let (word, bit) = place(number);
        let Some(word) = self.taken.get_mut(word) else { return false };
        let was_free = *word & bit == 0;
        *word |= bit;
        was_free
    }

    pub(super) fn is_taken(&self, number: u32) -> bool {
        let (word, bit) = place(number);
        self.taken.get(word).is_none_or(|word| word & bit != 0)
    }
}

/// The word and bit of a page.
fn place(number: u32) -> (usize, u64) {
    (usize::try_from(number >> 6).unwrap_or(usize::MAX), 1_u64.wrapping_shl(number & 63))
}

/// The sum over a page, in which the four bytes of the sum itself count as zero.
pub(super) fn checksum(page: &[u8], sum_at: usize) -> u32 {
    let own = sum_at..sum_at.saturating_add(4);
    page.iter().enumerate().fold(0_u32, |sum, (at, byte)| {
        let byte = if own.contains(&at) { 0 } else { *byte };
        sum.wrapping_mul(33).wrapping_add(u32::from(byte))
    })
}

impl<'a> Page<'a> {
    pub(super) fn u16(&self, at: usize) -> u16 {
        self.order.u16(self.bytes, at)
    }

    pub(super) fn u32(&self, at: usize) -> u32 {
        self.order.u32(self.bytes, at)
    }

    pub(super) fn byte(&self, at: usize) -> u8 {
        self.bytes.get(at).copied().unwrap_or(0)
    }

    fn number_inside(&self) -> u32 {
        self.u32(8)
    }

    pub(super) fn previous(&self) -> u32 {
        self.u32(12)
    }

    pub(super) fn next(&self) -> u32 {
        self.u32(16)
    }

    /// Number of items.
    pub(super) fn items(&self) -> usize {
        usize::from(self.u16(20))
    }

    /// Where the lowest item begins; on an overflow page the number of its bytes.
    pub(super) fn low(&self) -> usize {
        usize::from(self.u16(22))
    }

    /// Height above the leaves, which have 1.
    pub(super) fn level(&self) -> u8 {
        self.byte(24)
    }

    pub(super) fn kind(&self) -> u8 {
        self.byte(25)
    }

    /// Whether it was never written.
    pub(super) fn is_blank(&self) -> bool {
        self.bytes.iter().all(|byte| *byte == 0)
    }

    /// Where an item begins.
    pub(super) fn item_at(&self, item: usize) -> usize {
        usize::from(self.u16(self.header_bytes.saturating_add(item.saturating_mul(2))))
    }

    /// Where the offsets of the items end.
    pub(super) fn items_end(&self) -> usize {
        self.header_bytes.saturating_add(self.items().saturating_mul(2))
    }

    /// Fails if it is not of one of these types.
    ///
    /// # Errors
    /// `Malformed`.
    pub(super) fn expect(&self, kinds: &[u8], what: &str) -> Result<()> {
        if kinds.contains(&self.kind()) {
            return Ok(());
        }
        let found = format!("{} ({})", self.kind(), kind::name(self.kind()));
        Err(self.damage("page type", 25, found, what))
    }

    /// Fails if the page before it is another.
    ///
    /// # Errors
    /// `Malformed`.
    pub(super) fn expect_previous(&self, previous: u32) -> Result<()> {
        if self.previous() == previous {
            return Ok(());
        }
        Err(self.damage("link to the page before", 12, self.previous().to_string(), previous.to_string()))
    }

    /// An error at a byte of this page.
    pub(super) fn damage(
        &self,
        field: &'static str,
        at: usize,
        found: impl Into<String>,
        allowed: impl Into<String>,
    ) -> Error {
        let page_at = u64::from(self.number).saturating_mul(size_of_len(self.bytes.len()));
        Error::malformed(FORMAT, field, page_at.saturating_add(size_of_len(at)), found, allowed)
            .at(format!("page {}", self.number))
    }
}
