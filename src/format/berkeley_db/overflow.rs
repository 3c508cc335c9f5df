//! Overflow chains: keys and values that are too large for their page.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::indexing_slicing,
        clippy::unwrap_used
    )
)]

use super::pages::{Page, Pages, kind};
use crate::error::Result;
use crate::limits::Limits;

/// A link to a chain.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chain {
    pub first: u32,
    pub len: u32,
}

/// The bytes of a chain, of which each page is taken.
///
/// # Errors
/// `Limit` if it is longer than a record may be, `Malformed` if its pages do not hold what it says, `Io`.
pub(super) fn read(pages: &mut Pages<'_>, limits: &Limits, chain: Chain) -> Result<Vec<u8>> {
    let all = limits.rpm_header_bytes.check(u64::from(chain.len))?;
    let all = usize::try_from(all).unwrap_or(usize::MAX);
    let most = usize::try_from(pages.count()).unwrap_or(usize::MAX).saturating_mul(pages.room());
    let mut bytes = Vec::with_capacity(all.min(most));
    let (mut number, mut previous) = (chain.first, 0);
    loop {
        let page = pages.page(number)?;
        page.expect(&[kind::OVERFLOW], "overflow")?;
        page.expect_previous(previous)?;
        let piece = piece(&page, all.saturating_sub(bytes.len()))?;
        bytes.extend_from_slice(piece);
        let next = page.next();
        if next == 0 && bytes.len() != all {
            return Err(page.damage("bytes of the chain", 22, bytes.len().to_string(), all.to_string()));
        }
        pages.take(number)?;
        if next == 0 {
            return Ok(bytes);
        }
        (previous, number) = (number, next);
    }
}

fn piece<'p>(page: &Page<'p>, left: usize) -> Result<&'p [u8]> {
    let start = page.header_bytes;
    let piece = page
        .bytes
        .get(start..start.saturating_add(page.low()))
        .filter(|piece| piece.len() <= left && !(piece.is_empty() && page.next() != 0));
    let room = page.bytes.len().saturating_sub(start).min(left);
    piece.ok_or_else(|| page.damage("bytes on the page", 22, page.low().to_string(), format!("1 to {room}")))
}

/// Takes the pages of a chain without reading it: that of a deleted item, or of a key that an inner page of a
/// tree repeats and the leaf may have lost. Nothing is lost with it, so that damages are left to others.
pub(super) fn take(pages: &mut Pages<'_>, chain: Chain) -> Result<()> {
    let (mut number, mut previous) = (chain.first, 0);
    while number != 0 && !pages.is_taken(number) {
        let page = pages.page(number)?;
        page.expect(&[kind::OVERFLOW], "overflow")?;
        page.expect_previous(previous)?;
        let next = page.next();
        pages.take(number)?;
        (previous, number) = (number, next);
    }
    Ok(())
}
