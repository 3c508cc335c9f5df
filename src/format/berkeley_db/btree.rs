//! The B-tree access method, and the trees of duplicates of both: inner pages lead to leaves.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::indexing_slicing,
        clippy::unwrap_used
    )
)]

use super::overflow::{self, Chain};
use super::pages::{Page, kind};
use super::{FORMAT, Listing};
use crate::error::{Error, Result, ResultExt};

/// An item that is in its place.
const HERE: u8 = 1;
/// A tree of the values of a key.
const TREE: u8 = 2;
/// A chain of overflow pages.
const CHAIN: u8 = 3;
/// A file beside the database.
const BLOB: u8 = 4;
/// Set on what is deleted and still there.
const DELETED: u8 = 0x80;

enum Item<'p> {
    Here(&'p [u8]),
    Chain(Chain),
    Tree(u32),
}

/// A page that is taken, and has to be listed.
struct Step {
    number: u32,
    /// Height above the leaves; not known of a root.
    level: Option<u8>,
}

/// Lists the tree of this root: all pairs, or with a key the values of that key.
///
/// # Errors
/// As [`Listing::tell`], and `Io`.
pub(super) fn list(listing: &mut Listing<'_, '_>, root: u32, key: Option<&[u8]>) -> Result<()> {
    let mut steps = Vec::new();
    if let Err(damage) = listing.pages.take_existing(root) {
        return listing.tell_damage(damage.at("root of a tree"));
    }
    steps.push(Step { number: root, level: None });
    let mut copy = Vec::new();
    let mut inner_chains = Vec::new();
    // The leaf before, and which it says follows.
    let (mut leaf, mut following) = (0, None);
    while let Some(Step { number, level }) = steps.pop() {
        let page = match listing.pages.copy(number, &mut copy) {
            Ok(page) => page,
            Err(damage) => {
                listing.tell_damage(damage)?;
                continue;
            }
        };
        if let Err(damage) = fits(&page, level, key.is_some()) {
            listing.tell_damage(damage)?;
            continue;
        }
        let (sound, damage) = sound_items(&page);
        if let Some(damage) = damage {
            listing.tell_damage(damage)?;
        }
        if !matches!(page.kind(), kind::BTREE_INNER | kind::RECNO_INNER) {
            if let Err(damage) = page.expect_previous(leaf) {
                listing.tell_damage(damage)?;
            }
            if let Some(damage) = astray(following, number) {
                listing.tell_damage(damage.at(format!("page {leaf}")))?;
            }
            (leaf, following) = (number, Some(page.next()));
        }
        match page.kind() {
            kind::BTREE_INNER | kind::RECNO_INNER => {
                descend(listing, &page, &sound, &mut steps, &mut inner_chains)?
            }
            kind::BTREE_LEAF => pairs(listing, &page, &sound)?,
            _ => values(listing, &page, &sound, key.unwrap_or_default())?,
        }
    }
    if let Some(damage) = astray(following, 0) {
        listing.tell_damage(damage.at(format!("page {leaf}")))?;
    }
    for chain in inner_chains {
        if let Err(damage) = overflow::take(&mut listing.pages, chain) {
            listing.tell_damage(damage)?;
        }
    }
    Ok(())
}

/// The damage of a leaf that says that another follows than the tree does.
fn astray(said: Option<u32>, number: u32) -> Option<Error> {
    let found = said.filter(|said| *said != number)?.to_string();
    Some(Error::malformed(FORMAT, "link to the leaf after it", None, found, number.to_string()))
}

/// Fails if a page is none of this kind of tree, or at another height.
fn fits(page: &Page<'_>, level: Option<u8>, is_of_duplicates: bool) -> Result<()> {
    if is_of_duplicates {
        let kinds = [kind::BTREE_INNER, kind::RECNO_INNER, kind::DUPLICATES_LEAF, kind::RECNO_LEAF];
        page.expect(&kinds, "a tree of duplicates")?;
    } else {
        page.expect(&[kind::BTREE_INNER, kind::BTREE_LEAF], "B-tree")?;
    }
    let is_inner = matches!(page.kind(), kind::BTREE_INNER | kind::RECNO_INNER);
    let is_high = page.level() > 1;
    if level.is_some_and(|level| level != page.level()) || is_inner != is_high || page.level() == 0 {
        let allowed = level.map_or_else(|| "1 for a leaf, more for others".into(), |level| level.to_string());
        return Err(page.damage("level", 24, page.level().to_string(), allowed));
    }
    Ok(())
}

/// Takes the pages that an inner page leads to.
fn descend(
    listing: &mut Listing<'_, '_>,
    page: &Page<'_>,
    sound: &[bool],
    steps: &mut Vec<Step>,
    chains: &mut Vec<Chain>,
) -> Result<()> {
    let level = Some(page.level().saturating_sub(1));
    let start = steps.len();
    for item in 0..page.items() {
        if !sound.get(item).is_some_and(|is_sound| *is_sound) {
            continue;
        }
        let at = page.item_at(item);
        let link = if page.kind() == kind::RECNO_INNER { at } else { at.saturating_add(4) };
        let number = page.u32(link);
        if page.kind() == kind::BTREE_INNER && page.byte(at.saturating_add(2)) & !DELETED == CHAIN {
            let data = at.saturating_add(12);
            chains.push(Chain {
                first: page.u32(data.saturating_add(4)),
                len: page.u32(data.saturating_add(8)),
            });
        }
        match listing.pages.take_existing(number) {
            Ok(()) => steps.push(Step { number, level }),
            Err(damage) => listing.tell_damage(damage.at(format!("page {}: item {item}", page.number)))?,
        }
    }
    steps.get_mut(start..).unwrap_or_default().reverse();
    Ok(())
}

/// Which items can be read, and the damage if the page is not wholly covered by them: each begins where the one
/// below it ends.
fn sound_items(page: &Page<'_>) -> (Vec<bool>, Option<Error>) {
    if page.items_end() > page.bytes.len() {
        let allowed = format!("as many as fit into {} bytes", page.bytes.len());
        return (Vec::new(), Some(page.damage("items", 20, page.items().to_string(), allowed)));
    }
    let mut spans: Vec<(usize, usize)> = Vec::with_capacity(page.items());
    let mut repeats = 0_usize;
    for item in 0..page.items() {
        let at = page.item_at(item);
        let is_repeated_key = page.kind() == kind::BTREE_LEAF
            && item & 1 == 0
            && item.checked_sub(2).is_some_and(|before| page.item_at(before) == at);
        if is_repeated_key {
            repeats = repeats.saturating_add(1);
        } else {
            spans.push((at, at.saturating_add(size(page, at))));
        }
    }
    spans.sort_unstable();
    let distinct_ends = |start: usize, end: usize, next: usize| start >= page.items_end() && end <= next;
    let mut bad: Vec<usize> = Vec::new();
    let mut low = page.low();
    let mut damage = None;
    for (index, (start, end)) in spans.iter().enumerate() {
        let next = index
            .checked_add(1)
            .and_then(|next| spans.get(next))
            .map_or(page.bytes.len(), |(start, _)| *start);
        if !distinct_ends(*start, *end, next) {
            bad.push(*start);
        }
        if *start != low && damage.is_none() {
            damage = Some(page.damage("items", *start, format!("one at {start}"), format!("one at {low}")));
        }
        low = *end;
    }
    if damage.is_none() && low != page.bytes.len() && !(spans.is_empty() && low == page.bytes.len() & 0xffff)
    {
        let (found, allowed) = (format!("an end at {low}"), format!("one at {}", page.bytes.len()));
        damage = Some(page.damage("items", 22, found, allowed));
    }
    let sound = (0..page.items()).map(|item| bad.binary_search(&page.item_at(item)).is_err()).collect();
    (sound, damage)
}

/// Bytes of the item at `at`, with what fills it up to a multiple of four.
fn size(page: &Page<'_>, at: usize) -> usize {
    let len = usize::from(page.u16(at));
    let kind = page.byte(at.saturating_add(2)) & !DELETED;
    let bytes = match page.kind() {
        kind::RECNO_INNER => 8,
        kind::BTREE_INNER => len.saturating_add(12),
        _ if kind == HERE => len.saturating_add(3),
        _ if kind == BLOB => 28,
        _ => 12,
    };
    bytes.checked_next_multiple_of(4).unwrap_or(usize::MAX)
}

fn item<'p>(page: &Page<'p>, at: usize, is_sound: bool) -> Result<Item<'p>> {
    if !is_sound {
        return Err(page.damage(
            "item",
            at,
            "over another, the page's header or its end",
            "a place of its own",
        ));
    }
    let start = at.saturating_add(3);
    let end = start.saturating_add(usize::from(page.u16(at)));
    let (first, len) = (page.u32(at.saturating_add(4)), page.u32(at.saturating_add(8)));
    match page.byte(at.saturating_add(2)) & !DELETED {
        HERE => Ok(Item::Here(page.bytes.get(start..end).unwrap_or_default())),
        CHAIN => Ok(Item::Chain(Chain { first, len })),
        TREE => Ok(Item::Tree(first)),
        BLOB => Err(Error::unsupported("a value of Berkeley DB in a file of its own")
            .at(format!("page {}", page.number))),
        other => Err(page.damage("item type", at.saturating_add(2), other.to_string(), "1 to 3")),
    }
}

fn is_deleted(page: &Page<'_>, at: usize) -> bool {
    page.byte(at.saturating_add(2)) & DELETED != 0
}

/// The bytes of a key or value that is no tree.
fn read(listing: &mut Listing<'_, '_>, page: &Page<'_>, at: usize, item: Item<'_>) -> Result<Vec<u8>> {
    match item {
        Item::Here(bytes) => Ok(bytes.to_vec()),
        Item::Chain(chain) => {
            overflow::read(&mut listing.pages, listing.limits, chain).at(|| format!("page {}", page.number))
        }
        Item::Tree(_) => Err(page.damage("item type", at, "a tree of duplicates", "a key or a value")),
    }
}

/// Lists the pairs of a leaf.
fn pairs(listing: &mut Listing<'_, '_>, page: &Page<'_>, sound: &[bool]) -> Result<()> {
    // None where the page claims more than fit, which is told already.
    let items = page.items().min(sound.len());
    if items & 1 != 0 {
        listing.tell_damage(page.damage("items", 20, items.to_string(), "keys and values in pairs"))?;
    }
    let is_sound = |item: usize| sound.get(item).is_some_and(|is_sound| *is_sound);
    // Duplicates on the page share their key.
    let mut last: Option<(usize, Result<Vec<u8>>)> = None;
    for key_item in (0..items.saturating_sub(1)).step_by(2) {
        let value_item = key_item.saturating_add(1);
        let (key_at, value_at) = (page.item_at(key_item), page.item_at(value_item));
        let key = match last.take() {
            Some((at, key)) if at == key_at => key,
            _ => item(page, key_at, is_sound(key_item)).and_then(|item| read(listing, page, key_at, item)),
        };
        let value = item(page, value_at, is_sound(value_item));
        let told = match (&key, value) {
            (_, Ok(value)) if is_deleted(page, value_at) => drop_deleted(listing, value),
            (Ok(key), Ok(Item::Tree(root))) => {
                list(listing, root, Some(key))?;
                Ok(())
            }
            (Ok(key), Ok(value)) => match read(listing, page, value_at, value) {
                Ok(value) => {
                    listing.tell(Ok((key.clone(), value)))?;
                    Ok(())
                }
                Err(damage) => Err(damage),
            },
            (Err(damage), _) => Err(damage.clone()),
            (_, Err(damage)) => Err(damage),
        };
        if let Err(damage) = told {
            listing.tell_damage(damage.at(format!("item {key_item}")))?;
        }
        last = Some((key_at, key));
    }
    Ok(())
}

/// Takes the pages that a deleted value still holds.
fn drop_deleted(listing: &mut Listing<'_, '_>, value: Item<'_>) -> Result<()> {
    match value {
        Item::Chain(chain) => overflow::take(&mut listing.pages, chain),
        _ => Ok(()),
    }
}

/// Lists the values of a leaf of duplicates.
fn values(listing: &mut Listing<'_, '_>, page: &Page<'_>, sound: &[bool], key: &[u8]) -> Result<()> {
    for (index, is_sound) in sound.iter().enumerate() {
        let at = page.item_at(index);
        let told = match item(page, at, *is_sound) {
            Ok(value) if is_deleted(page, at) => drop_deleted(listing, value),
            Ok(value) => match read(listing, page, at, value) {
                Ok(value) => {
                    listing.tell(Ok((key.to_vec(), value)))?;
                    Ok(())
                }
                Err(damage) => Err(damage),
            },
            Err(damage) => Err(damage),
        };
        if let Err(damage) = told {
            listing.tell_damage(damage.at(format!("item {index}")))?;
        }
    }
    Ok(())
}
