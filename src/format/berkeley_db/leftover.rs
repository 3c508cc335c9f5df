//! What shows that records are missing: pages that nothing leads to, a file that is too short, a count.
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

use super::meta::{Hash, Meta};
use super::pages::kind;
use super::{FORMAT, Listing};
use crate::bytes::size_of_len;
use crate::error::{Error, Kind, Result};

/// Checks the free list, and looks at every page that no record led to.
///
/// # Errors
/// As [`Listing::tell`], and `Io`.
pub(super) fn check(listing: &mut Listing<'_, '_>, meta: &Meta) -> Result<()> {
    let (count, rest) = (listing.pages.count(), listing.pages.rest_bytes());
    let is_short = meta.last_page.is_some_and(|last| last >= count);
    if is_short || rest != 0 {
        let found = format!("{count} pages and {rest} bytes");
        let allowed = meta.last_page.map_or_else(
            || "whole pages".to_owned(),
            |last| format!("{} pages", u64::from(last).saturating_add(1)),
        );
        listing.tell_damage(
            Error::malformed(FORMAT, "file size", 32, found, allowed)
                .hint("the file is cut off; fetch it again"),
        )?;
    }
    if let Err(damage) = free_list(listing, meta.free) {
        listing.tell_damage(damage.at("free list"))?;
    }
    unreached(listing)
}

/// Takes the pages of the free list.
fn free_list(listing: &mut Listing<'_, '_>, first: u32) -> Result<()> {
    let mut number = first;
    while number != 0 {
        let page = listing.pages.page(number)?;
        page.expect(&[kind::FREE], "free")?;
        let next = page.next();
        listing.pages.take(number)?;
        number = next;
    }
    Ok(())
}

/// Tells the pages with something on them that no record led to, one error for each type. A free page that is
/// not on the free list holds no record, and neither does an empty page for a bucket that is not in use yet.
fn unreached(listing: &mut Listing<'_, '_>) -> Result<()> {
    let mut found: BTreeMap<&'static str, (u32, u64)> = BTreeMap::new();
    for number in 1..listing.pages.count() {
        if listing.pages.is_taken(number) {
            continue;
        }
        let name = match listing.pages.page(number) {
            Ok(page) => match page.kind() {
                kind::FREE => continue,
                kind::HASH | kind::HASH_UNSORTED if page.items() == 0 => continue,
                other => kind::name(other),
            },
            Err(error) if matches!(error.kind(), Kind::Io(_)) => return Err(error),
            Err(_) => "damaged",
        };
        let (_, pages) = found.entry(name).or_insert((number, 0));
        *pages = pages.saturating_add(1);
    }
    for (name, (first, pages)) in found {
        let at = u64::from(first).saturating_mul(size_of_len(listing.pages.page_bytes()));
        let found = format!("{pages} with contents of type {name}");
        listing.tell_damage(
            Error::malformed(FORMAT, "pages that no record leads to", at, found, "none")
                .at(format!("page {first}")),
        )?;
    }
    Ok(())
}

/// Tells if there are fewer records than the metadata counts.
///
/// # Errors
/// As [`Listing::tell`].
pub(super) fn check_count(listing: &mut Listing<'_, '_>, hash: &Hash) -> Result<()> {
    let Some(counted) = hash.records.filter(|counted| u64::from(*counted) > listing.records) else {
        return Ok(());
    };
    let (found, allowed) = (listing.records.to_string(), counted.to_string());
    listing.tell_damage(Error::malformed(FORMAT, "number of records", 88, found, allowed).at("page 0"))
}
