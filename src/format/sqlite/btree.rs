//! Table b-trees: from the root down to the leaves, whose cells are the rows.
//!
//! Every byte of a page belongs to its header, its cell pointers, the gap behind them, a cell, a free block, or a
//! counted fragment; row ids ascend over the whole tree and keep to the keys above them. What breaks this is told,
//! because it is how a page that lost a row, or the wrong page, shows.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::indexing_slicing,
        clippy::unwrap_used
    )
)]

use super::pages::{PageReader, Pages, Visited};
use super::record::{self, Value, varint};
use crate::bytes::{be_u16, be_u32, size_of_len};
use crate::error::{Error, Result};
use crate::limits::{Ceiling, Limits};

const INTERIOR: u8 = 0x05;
const LEAF: u8 = 0x0d;
/// The first page begins with the header of the database.
const DATABASE_HEADER: usize = 100;

/// A row of a table.
#[derive(Debug, Clone, PartialEq)]
pub struct Row<'a> {
    /// Its number in the table.
    pub rowid: i64,
    /// The page that it starts on, and the offset of its cell in that page.
    pub page: u32,
    /// See `page`.
    pub cell: usize,
    /// The values of its stored columns in their order. A row has fewer than the table if it was written before
    /// columns were added; then they have their defaults.
    pub values: Vec<Value<'a>>,
}

/// A walk over one table.
pub(super) struct Walk<'w> {
    pages: &'w Pages<'w>,
    reader: PageReader<'w>,
    visited: Visited,
    limits: &'w Limits,
    /// Of one row.
    row_bytes: Ceiling,
    each: &'w mut dyn FnMut(Result<Row<'_>>),
    last: Option<i64>,
    told: u64,
    leaf: Vec<u8>,
    payload: Vec<u8>,
}

/// The keys between which the rows of a page are: after the first, up to the second.
#[derive(Clone, Copy)]
struct Bounds(Option<i64>, Option<i64>);

/// The header of a page, and those of its cell pointers that can be right.
struct Node {
    is_leaf: bool,
    /// Offsets of the cells, in their order.
    cells: Vec<usize>,
    content: usize,
    right: u32,
    /// Free blocks.
    free: Vec<(usize, usize)>,
    fragments: usize,
    /// What is wrong with it beside that.
    faults: Vec<Wrong>,
}

impl<'w> Walk<'w> {
    pub(super) fn new(
        pages: &'w Pages<'w>,
        limits: &'w Limits,
        row_bytes: Ceiling,
        each: &'w mut dyn FnMut(Result<Row<'_>>),
    ) -> Self {
        Walk {
            pages,
            reader: PageReader::new(pages),
            visited: Visited::default(),
            limits,
            row_bytes,
            each,
            last: None,
            told: 0,
            leaf: Vec::new(),
            payload: Vec::new(),
        }
    }

    /// Shows all rows of the tree with this root; what is damaged is shown as an error.
    ///
    /// # Errors
    /// `Limit` for more rows and errors than `records`.
    pub(super) fn run(&mut self, root: u32) -> Result<()> {
        self.page(root, Bounds(None, None), 0)
    }

    fn show(&mut self, row: Result<Row<'_>>) -> Result<()> {
        count(&mut self.told, self.limits)?;
        (self.each)(row);
        Ok(())
    }

    fn page(&mut self, number: u32, bounds: Bounds, depth: u64) -> Result<()> {
        let place = self.pages.place(number);
        if let Err(error) = self.limits.sqlite_depth.check(depth) {
            return self.show(Err(error.at(place)));
        }
        if let Err(error) = self.pages.locate(number) {
            return self.show(Err(error.at("a page of a table")));
        }
        if !self.visited.insert(number) {
            return self.show(Err(again(number).at(place)));
        }
        let mut bytes = std::mem::take(&mut self.leaf);
        bytes.clear();
        let node = match self.reader.page(number, 1) {
            Err(error) => Err(error),
            Ok((page, offset)) => {
                bytes.extend_from_slice(page);
                let start = if number == 1 { DATABASE_HEADER } else { 0 };
                Node::read(page, start).map_err(|wrong| wrong.at_page(offset)).map(|node| (node, offset))
            }
        };
        let done = match node {
            Err(error) => self.show(Err(error.at(place))),
            Ok((mut node, offset)) => {
                let is_whole = node.faults.is_empty();
                for fault in node.faults.drain(..) {
                    self.show(Err(fault.at_page(offset).at(place.clone())))?;
                }
                let page = Page { number, place, offset, bytes: &bytes, is_root: depth == 0 };
                if node.is_leaf {
                    self.rows(&page, &node, bounds, is_whole)
                } else {
                    let children = self.children(&page, &node, is_whole)?;
                    // The buffer goes on to the children; this page is not needed any more.
                    self.leaf = std::mem::take(&mut bytes);
                    let mut lower = bounds.0;
                    for (child, key) in children {
                        self.page(child, Bounds(lower, key.or(bounds.1)), depth.saturating_add(1))?;
                        lower = key.or(lower);
                    }
                    return Ok(());
                }
            }
        };
        self.leaf = bytes;
        done
    }

    /// The children of an interior page with the largest key that each can have.
    fn children(
        &mut self,
        page: &Page<'_>,
        node: &Node,
        mut is_whole: bool,
    ) -> Result<Vec<(u32, Option<i64>)>> {
        let mut children = Vec::new();
        let mut claimed = Claims::default();
        for cell in &node.cells {
            let bytes = page.bytes.get(*cell..).unwrap_or_default();
            let key = bytes.get(4..).and_then(varint);
            let Some((key, _)) = key.filter(|(_, len)| claimed.add(*cell, len.saturating_add(4))) else {
                is_whole = false;
                self.show(Err(page.wrong(
                    "cell",
                    *cell,
                    "one that passes the page or shares bytes",
                    "a cell",
                )))?;
                continue;
            };
            children.push((be_u32(bytes, 0), Some(key.cast_signed())));
        }
        children.push((node.right, None));
        if is_whole && let Err(found) = claimed.cover(node, page.bytes.len()) {
            self.show(Err(page.wrong("content", node.content, found, "cells, free blocks and fragments")))?;
        }
        Ok(children)
    }

    fn rows(&mut self, page: &Page<'_>, node: &Node, bounds: Bounds, mut is_whole: bool) -> Result<()> {
        if node.cells.is_empty() && is_whole && !page.is_root {
            return self.show(Err(page.wrong("cell count", 0, "0", "a row, below the root of a table")));
        }
        let mut claimed = Claims::default();
        let mut payload = std::mem::take(&mut self.payload);
        for cell in &node.cells {
            let row = self.row(page, *cell, &mut claimed, &mut payload);
            is_whole &= row.is_ok();
            if let Ok(row) = &row {
                let is_in_order = self.last.is_none_or(|last| row.rowid > last)
                    && bounds.0.is_none_or(|key| row.rowid > key)
                    && bounds.1.is_none_or(|key| row.rowid <= key);
                if is_in_order {
                    self.last = Some(row.rowid);
                } else {
                    let error = page.wrong("row id", *cell, row.rowid.to_string(), "ascending row ids");
                    count(&mut self.told, self.limits)?;
                    (self.each)(Err(error));
                }
            }
            count(&mut self.told, self.limits)?;
            (self.each)(row);
        }
        self.payload = payload;
        if is_whole && let Err(found) = claimed.cover(node, page.bytes.len()) {
            self.show(Err(page.wrong("content", node.content, found, "cells, free blocks and fragments")))?;
        }
        Ok(())
    }

    /// The row of a cell: the payload is in the page, or begins there and goes on in a chain of overflow pages.
    fn row<'r>(
        &mut self,
        page: &Page<'r>,
        cell: usize,
        claimed: &mut Claims,
        payload: &'r mut Vec<u8>,
    ) -> Result<Row<'r>> {
        let wrong = |found: String, allowed: &str| page.wrong("cell", cell, found, allowed);
        let bytes = page.bytes.get(cell..).unwrap_or_default();
        let head = varint(bytes).and_then(|(size, first)| {
            let (rowid, second) = bytes.get(first..).and_then(varint)?;
            Some((size, rowid.cast_signed(), first.checked_add(second)?))
        });
        let (size, rowid, head_len) =
            head.ok_or_else(|| wrong("its start alone".into(), "a cell within the page"))?;
        self.row_bytes.check(size).map_err(|error| error.at(page.place.clone()))?;
        let stored = self.pages.stored_bytes();
        let len = usize::try_from(size).ok().filter(|_| size <= stored);
        let len = len.ok_or_else(|| wrong(format!("a row of {size} bytes"), "what the database has"))?;
        let local = local_bytes(len, self.pages.usable_bytes);
        let pointer_len = if local < len { 4 } else { 0 };
        let body = bytes.get(head_len..).unwrap_or_default();
        let split = body.split_at_checked(local).filter(|(_, rest)| rest.len() >= pointer_len);
        let (here, rest) = split.ok_or_else(|| {
            wrong(format!("{local} bytes of a row where {} are left", body.len()), "a cell within the page")
        })?;
        let record = if pointer_len == 0 {
            here
        } else {
            payload.clear();
            payload.extend_from_slice(here);
            self.overflow(be_u32(rest, 0), len, payload).map_err(|error| error.at(page.place.clone()))?;
            &payload[..]
        };
        let values = record::decode(record).map_err(|found| wrong(found, "a record that fills its row"))?;
        let cell_len = head_len.saturating_add(local).saturating_add(pointer_len);
        if !claimed.add(cell, cell_len) {
            return Err(wrong("bytes that another cell has".into(), "cells that do not overlap"));
        }
        Ok(Row { rowid, page: page.number, cell, values })
    }

    /// Appends the pages of a chain until the payload has `len` bytes.
    fn overflow(&mut self, first: u32, len: usize, payload: &mut Vec<u8>) -> Result<()> {
        let chunk = self.pages.usable_bytes.saturating_sub(4);
        let mut next = first;
        while payload.len() < len {
            let left = len.saturating_sub(payload.len());
            let place = || {
                format!(
                    "{} of an overflow chain, {} of {len} bytes read",
                    self.pages.place(next),
                    payload.len()
                )
            };
            if let Err(error) = self.pages.locate(next) {
                return Err(error.at(place()));
            }
            if !self.visited.insert(next) {
                return Err(again(next).at(place()));
            }
            let (page, _) = match self.reader.page(next, left.div_ceil(chunk.max(1))) {
                Ok(page) => page,
                Err(error) => return Err(error.at(place())),
            };
            next = be_u32(page, 0);
            payload.extend_from_slice(page.get(4..left.min(chunk).saturating_add(4)).unwrap_or_default());
        }
        Ok(())
    }
}

/// Counts what is shown.
fn count(told: &mut u64, limits: &Limits) -> Result<()> {
    *told = told.saturating_add(1);
    limits.records.check(*told).map(drop)
}

fn again(number: u32) -> Error {
    Error::malformed("SQLite", "page number", None, format!("{number} a second time"), "each page once")
}

/// How many bytes of a row of `len` are in its leaf.
fn local_bytes(len: usize, usable: usize) -> usize {
    let most = usable.saturating_sub(35);
    if len <= most {
        return len;
    }
    let least = usable.saturating_sub(12).saturating_mul(32).checked_div(255).unwrap_or(0).saturating_sub(23);
    let rest = len.saturating_sub(least).checked_rem(usable.saturating_sub(4)).unwrap_or(0);
    let fitting = least.saturating_add(rest);
    if fitting <= most { fitting } else { least }
}

/// A page with its place.
struct Page<'p> {
    number: u32,
    place: String,
    /// Of its first byte in its file.
    offset: u64,
    /// The usable ones.
    bytes: &'p [u8],
    is_root: bool,
}

impl Page<'_> {
    fn wrong(&self, field: &'static str, at: usize, found: impl Into<String>, allowed: &str) -> Error {
        Wrong { field, at, found: found.into(), allowed: allowed.into() }
            .at_page(self.offset)
            .at(self.place.clone())
    }
}

/// What is wrong at an offset in a page.
struct Wrong {
    field: &'static str,
    at: usize,
    found: String,
    allowed: String,
}

impl Wrong {
    fn at_page(self, offset: u64) -> Error {
        let offset = offset.saturating_add(size_of_len(self.at));
        Error::malformed("SQLite table page", self.field, offset, self.found, self.allowed)
    }
}

impl Node {
    /// Reads the header of a page, which begins at `start`.
    fn read(page: &[u8], start: usize) -> std::result::Result<Node, Wrong> {
        let wrong = |field, at: usize, found: String, allowed: &str| Wrong {
            field,
            at: start.saturating_add(at),
            found,
            allowed: allowed.into(),
        };
        let header = page.get(start..).unwrap_or_default();
        let kind = header.first().copied().unwrap_or(0);
        let (is_leaf, header_len) = match kind {
            INTERIOR => (false, 12),
            LEAF => (true, 8),
            2 | 10 => return Err(wrong("type", 0, format!("{kind}, a page of an index"), "5 or 13")),
            _ => return Err(wrong("type", 0, kind.to_string(), "5 or 13")),
        };
        let mut faults = Vec::new();
        let count = usize::from(be_u16(header, 3));
        let pointers = start.saturating_add(header_len);
        let pointers_end = pointers.saturating_add(count.saturating_mul(2));
        if pointers_end > page.len() {
            return Err(wrong("cell count", 3, count.to_string(), "what fits into the page"));
        }
        // Zero stands for 65536: a page of that size without cells.
        let mut content = match be_u16(header, 5) {
            0 => 65536,
            at => usize::from(at),
        };
        if content < pointers_end || content > page.len() {
            let found = format!("{content:#x} with {count} cells");
            faults.push(wrong("content", 5, found, "what fits into the page"));
            content = pointers_end;
        }
        let offsets = (0..count).map(|cell| {
            let at = pointers.saturating_add(cell.saturating_mul(2));
            (at, usize::from(be_u16(page, at)))
        });
        let is_cell = |offset: usize| (content..page.len()).contains(&offset);
        let (cells, bad): (Vec<_>, Vec<_>) = offsets.partition(|(_, offset)| is_cell(*offset));
        if let Some((at, offset)) = bad.first() {
            let found = format!("{offset:#x}, and {} more of {count}", bad.len().saturating_sub(1));
            let allowed = format!("{content:#x}..{:#x}", page.len());
            faults.push(Wrong { field: "cell pointer", at: *at, found, allowed });
        }
        let cells = cells.into_iter().map(|(_, offset)| offset).collect();
        let mut free = Vec::new();
        let (mut next, mut least) = (usize::from(be_u16(header, 1)), content);
        while next != 0 {
            let len = usize::from(be_u16(page, next.saturating_add(2)));
            let end = next.saturating_add(len);
            if next < least || len < 4 || end > page.len() {
                let found = format!("{len} bytes at {next:#x}");
                faults.push(wrong("free block", 1, found, "blocks of four bytes or more in ascending order"));
                break;
            }
            free.push((next, end));
            (next, least) = (usize::from(be_u16(page, next)), end);
        }
        let fragments = usize::from(header.get(7).copied().unwrap_or(0));
        let right = if is_leaf { 0 } else { be_u32(header, 8) };
        Ok(Node { is_leaf, cells, content, right, free, fragments, faults })
    }
}

/// The ranges of a page that its cells have.
#[derive(Default)]
struct Claims(std::collections::BTreeMap<usize, usize>);

impl Claims {
    /// Adds a cell; `false` if another has some of its bytes.
    fn add(&mut self, start: usize, len: usize) -> bool {
        // A cell that is freed has to hold a free block.
        let end = start.saturating_add(len.max(4));
        let before = self.0.range(..end).next_back();
        if before.is_some_and(|(_, before)| *before > start) {
            return false;
        }
        self.0.insert(start, end);
        true
    }

    /// Whether cells and free blocks, without overlaps, and the counted fragments are all of the content.
    fn cover(mut self, node: &Node, page_len: usize) -> std::result::Result<(), String> {
        for (start, end) in &node.free {
            if !self.add(*start, end.saturating_sub(*start)) {
                return Err(format!("a free block at {start:#x} that shares bytes with a cell"));
            }
        }
        let covered =
            self.0.iter().fold(0_usize, |sum, (start, end)| sum.saturating_add(end.saturating_sub(*start)));
        let rest = page_len.saturating_sub(node.content).saturating_sub(covered);
        let is_inside = self.0.last_key_value().is_none_or(|(_, end)| *end <= page_len);
        if rest == node.fragments && is_inside {
            return Ok(());
        }
        Err(format!("{rest} bytes that are neither, and {} counted as fragments", node.fragments))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_in_the_leaf_is_as_the_specification_computes_it() {
        // Of a page of 4096 bytes: at most 4061 stay, at least 489, and overflow pages take 4092.
        for (len, want) in [(4061, 4061), (4062, 489), (4581, 489), (4582, 490), (8153, 4061), (8154, 489)] {
            assert_eq!(local_bytes(len, 4096), want, "{len}");
        }
    }
}
