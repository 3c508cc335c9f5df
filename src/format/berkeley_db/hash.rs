//! The hash access method: buckets of pages, in which keys and values alternate.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::indexing_slicing,
        clippy::unwrap_used
    )
)]

use std::ops::Range;

use super::meta::Hash;
use super::overflow::{self, Chain};
use super::pages::{Page, kind};
use super::{FORMAT, Listing, btree};
use crate::error::{Error, Result, ResultExt};

/// An item that is in its place.
const HERE: u8 = 1;
/// All values of a key, each with its length before and after it.
const DUPLICATES: u8 = 2;
/// A chain of overflow pages.
const CHAIN: u8 = 3;
/// A tree of the values of a key.
const TREE: u8 = 4;
/// A file beside the database.
const BLOB: u8 = 5;

enum Item<'p> {
    Here(&'p [u8]),
    Duplicates(&'p [u8]),
    Chain(Chain),
    Tree(u32),
}

/// Lists all buckets.
///
/// # Errors
/// As [`Listing::tell`], and `Io`.
pub(super) fn list(listing: &mut Listing<'_, '_>, hash: &Hash) -> Result<()> {
    if !hash.is_sound() {
        let found = format!("{:#x} and {:#x} with bucket {}", hash.high_mask, hash.low_mask, hash.max_bucket);
        let allowed = "one less than the powers of two around the last bucket";
        listing.tell_damage(Error::malformed(FORMAT, "bucket masks", 76, found, allowed).at("page 0"))?;
    }
    let mut copy = Vec::new();
    for bucket in 0..=hash.max_bucket {
        let Some(first) = hash.page_of(bucket).filter(|first| *first < listing.pages.count()) else {
            let allowed = format!("buckets in {} pages", listing.pages.count());
            let found = format!("bucket {bucket} of {}", u64::from(hash.max_bucket).saturating_add(1));
            listing.tell_damage(Error::malformed(FORMAT, "last bucket", 72, found, allowed).at("page 0"))?;
            break;
        };
        let (mut number, mut previous) = (first, 0);
        while number != 0 {
            let next = match enter(listing, number, previous, &mut copy) {
                Ok(next) => next,
                Err(damage) => {
                    listing.tell_damage(damage.at(format!("bucket {bucket}")))?;
                    break;
                }
            };
            let page = Page {
                number,
                bytes: &copy,
                order: listing.pages.order(),
                header_bytes: listing.pages.header_bytes(),
            };
            records(listing, &page)?;
            (previous, number) = (number, next);
        }
    }
    Ok(())
}

/// Copies and takes a page of a bucket, and says which follows.
fn enter(listing: &mut Listing<'_, '_>, number: u32, previous: u32, copy: &mut Vec<u8>) -> Result<u32> {
    let page = listing.pages.copy(number, copy)?;
    if !(previous == 0 && page.is_blank()) {
        page.expect(&[kind::HASH, kind::HASH_UNSORTED], "hash")?;
        page.expect_previous(previous)?;
    }
    let next = page.next();
    listing.pages.take(number)?;
    Ok(next)
}

/// Lists the records of one page.
fn records(listing: &mut Listing<'_, '_>, page: &Page<'_>) -> Result<()> {
    if page.is_blank() {
        return Ok(());
    }
    let items = page.items();
    let lowest = match items.checked_sub(1) {
        Some(last) => page.item_at(last),
        None => page.bytes.len() & 0xffff,
    };
    if page.low() != lowest {
        listing.tell_damage(page.damage("lowest item", 22, page.low().to_string(), lowest.to_string()))?;
    }
    if items & 1 != 0 {
        listing.tell_damage(page.damage("items", 20, items.to_string(), "keys and values in pairs"))?;
    }
    for key in (0..items.saturating_sub(1)).step_by(2) {
        let Some(value) = key.checked_add(1) else { break };
        if let Err(damage) = record(listing, page, key, value)? {
            listing.tell_damage(damage.at(format!("item {key}")))?;
        }
    }
    Ok(())
}

/// Lists one record: the inner error is its damage, the outer one ends the listing.
fn record(listing: &mut Listing<'_, '_>, page: &Page<'_>, key: usize, value: usize) -> Result<Result<()>> {
    let key = match item(page, key) {
        Ok(Item::Here(bytes)) => Ok(bytes.to_vec()),
        Ok(Item::Chain(chain)) => {
            overflow::read(&mut listing.pages, listing.limits, chain).at(|| place(page))
        }
        Ok(Item::Duplicates(_) | Item::Tree(_)) => {
            Err(page.damage("item type", page.item_at(key), "duplicates", "a key"))
        }
        Err(damage) => Err(damage),
    };
    let value = match item(page, value) {
        Ok(Item::Here(bytes)) => Ok(bytes.to_vec()),
        Ok(Item::Chain(chain)) => {
            overflow::read(&mut listing.pages, listing.limits, chain).at(|| place(page))
        }
        Ok(Item::Duplicates(values)) => {
            return key.map_or_else(|damage| Ok(Err(damage)), |key| duplicates(listing, page, &key, values));
        }
        Ok(Item::Tree(root)) => {
            return key
                .map_or_else(|damage| Ok(Err(damage)), |key| btree::list(listing, root, Some(&key)).map(Ok));
        }
        Err(damage) => Err(damage),
    };
    match (key, value) {
        (Ok(key), Ok(value)) => listing.tell(Ok((key, value))).map(Ok),
        (Err(damage), _) | (_, Err(damage)) => Ok(Err(damage)),
    }
}

fn place(page: &Page<'_>) -> String {
    format!("page {}", page.number)
}

/// Where an item lies: from its offset to that of the item before it, which lies above.
fn range(page: &Page<'_>, item: usize) -> Result<Range<usize>> {
    let start = page.item_at(item);
    let end = item.checked_sub(1).map_or(page.bytes.len(), |above| page.item_at(above));
    if start >= page.items_end() && start < end && end <= page.bytes.len() {
        return Ok(start..end);
    }
    let at = page.header_bytes.saturating_add(item.saturating_mul(2));
    Err(page.damage("offset of an item", at, start.to_string(), format!("{} to {end}", page.items_end())))
}

fn item<'p>(page: &Page<'p>, item: usize) -> Result<Item<'p>> {
    let range = range(page, item)?;
    let at = range.start;
    let (kind, rest) = page.bytes.get(range).and_then(<[u8]>::split_first).unwrap_or((&0, &[]));
    match (*kind, rest.len()) {
        (HERE, _) => Ok(Item::Here(rest)),
        (DUPLICATES, _) => Ok(Item::Duplicates(rest)),
        (CHAIN, 11) => {
            Ok(Item::Chain(Chain { first: page.order.u32(rest, 3), len: page.order.u32(rest, 7) }))
        }
        (TREE, 7) => Ok(Item::Tree(page.order.u32(rest, 3))),
        (BLOB, _) => Err(Error::unsupported("a value of Berkeley DB in a file of its own").at(place(page))),
        (CHAIN | TREE, len) => {
            Err(page.damage("length of a link", at, len.saturating_add(1).to_string(), "12 or 8"))
        }
        (other, _) => Err(page.damage("item type", at, other.to_string(), "1 to 4")),
    }
}

/// Lists all values of a key that lie on its page.
fn duplicates(
    listing: &mut Listing<'_, '_>,
    page: &Page<'_>,
    key: &[u8],
    mut values: &[u8],
) -> Result<Result<()>> {
    while !values.is_empty() {
        let len = usize::from(page.order.u16(values, 0));
        let end = len.saturating_add(2);
        let value = values.get(2..end).filter(|_| usize::from(page.order.u16(values, end)) == len);
        let (Some(value), Some(rest)) = (value, values.get(end.saturating_add(2)..)) else {
            return Ok(Err(page.damage(
                "duplicate",
                0,
                format!("{len} bytes"),
                format!("within {}", values.len()),
            )));
        };
        listing.tell(Ok((key.to_vec(), value.to_vec())))?;
        values = rest;
    }
    Ok(Ok(()))
}
