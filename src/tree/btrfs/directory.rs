//! Directories: each name once by its place in the directory (DIR_INDEX), once by its hash (DIR_ITEM).
//!
//! | byte | directory item |
//! | --- | --- |
//! | 0 | key of what it names (17): an inode of the same subvolume, or the root item of another |
//! | 17 | transid |
//! | 25 | data_len (2), zero |
//! | 27 | name_len (2) |
//! | 29 | type (1) |
//! | 30 | name |
//!
//! The key is (directory, DIR_INDEX, number) with one entry, and (directory, DIR_ITEM, hash) with all entries of
//! that hash: CRC-32C of the name, from ~1 on and not inverted. The directory's size is twice the length of all
//! names. Names are shown by number, as the kernel lists them, and must be the same by hash, as the kernel opens
//! them: if some cannot be read or both differ, that is an error, and those are shown that are left by hash.

use std::collections::{BTreeMap, BTreeSet};

use super::node::{DIR_INDEX, DIR_ITEM, INODE_ITEM, Key, ROOT_ITEM, is_subvolume};
use super::subvolume::Subvolume;
use crate::bytes::{array_at, size_of_len};
use crate::error::{Error, Result, quoted};
use crate::limits::Limits;
use crate::model::Sha256;
use crate::tree::crc32c::crc32c;
use crate::tree::fields::Fields;

const FORMAT: &str = "btrfs directory item";
const HEADER_BYTES: usize = 30;
const NAME_BYTES: u16 = 255;
/// What the hash of a name starts with.
const SEED: u32 = !1;

/// The hash that a name is found by.
pub(super) fn hash(name: &[u8]) -> u32 {
    crc32c(SEED, name)
}

/// A directory item.
#[derive(Clone, Copy)]
pub(super) struct Entry<'a> {
    pub(super) name: &'a [u8],
    /// Of what it names.
    pub(super) key: Key,
}

/// Takes entries.
pub(super) type Each<'e> = &'e mut dyn FnMut(Entry<'_>) -> Result<()>;

/// Shows all entries of one item.
///
/// # Errors
/// `Malformed` with the field; the error of `each`.
pub(super) fn each_in(item: &Fields<'_>, each: Each<'_>) -> Result<()> {
    let mut at = 0;
    while at < item.bytes.len() {
        let key = Key::decode(item, at)?;
        let sizes = at.saturating_add(25);
        let (data_len, name_len) = (item.le16(sizes)?, item.le16(sizes.saturating_add(2))?);
        if name_len == 0 || name_len > NAME_BYTES || data_len != 0 {
            let found = format!("{name_len} and data of {data_len}");
            return Err(item.wrong("name_len", sizes, found, format!("1..={NAME_BYTES} and no data")));
        }
        let fits = match key.kind {
            INODE_ITEM => key.offset == 0,
            ROOT_ITEM => is_subvolume(key.object),
            _ => false,
        };
        if !fits {
            return Err(item.wrong("location", at, key.to_string(), "an inode or a subvolume"));
        }
        let start = at.saturating_add(HEADER_BYTES);
        each(Entry { name: item.slice(start, name_len.into())?, key })?;
        at = start.saturating_add(name_len.into());
    }
    Ok(())
}

/// Shows all entries of a directory.
///
/// # Errors
/// The first damage, after all that can be read was shown; at once the error of `each`.
pub(super) fn names(
    subvolume: &Subvolume<'_>,
    directory: u64,
    limits: &Limits,
    each: Each<'_>,
) -> Result<()> {
    let changed = subvolume.changes.and_then(|changes| changes.names.get(&directory));
    if let Some(changed) = changed {
        let before = Subvolume { changes: None, ..*subvolume };
        let mut is_stopped = false;
        let shown = names(&before, directory, limits, &mut |entry| {
            let shown = if changed.contains_key(entry.name) { Ok(()) } else { each(entry) };
            shown.inspect_err(|_| is_stopped = true)
        });
        for (name, key) in changed.iter().filter(|_| !is_stopped) {
            if let Some(key) = key {
                each(Entry { name, key: *key })?;
            }
        }
        return shown;
    }
    let mut listing = Listing { each, limits, stopped: None, length: 0, digests: Vec::new() };
    let read = listing.by_number(subvolume, directory);
    if let Some(stopped) = listing.stopped.take() {
        return Err(stopped);
    }
    if read.is_ok() && listing.is_same_by_hash(subvolume, directory) {
        return Ok(());
    }
    let more = listing.left_by_hash(subvolume, directory);
    listing.stopped.take().map_or(read.and(more), Err)
}

struct Listing<'a, 'e> {
    each: Each<'e>,
    limits: &'a Limits,
    /// The error of `each`.
    stopped: Option<Error>,
    /// Of all names together.
    length: u64,
    /// Of every entry that was shown.
    digests: Vec<Digest>,
}

/// A name as half of its SHA-256, which nobody can make two names have, and what it names.
type Digest = ([u8; 16], Key);

fn digest(entry: Entry<'_>) -> Digest {
    (array_at(&Sha256::of(entry.name).0, 0), entry.key)
}

impl Listing<'_, '_> {
    fn show(&mut self, entry: Entry<'_>) -> Result<()> {
        self.length = self.length.saturating_add(size_of_len(entry.name.len()));
        self.digests.push(digest(entry));
        let shown = self.limits.directory_bytes.check(self.length).and_then(|_| (self.each)(entry));
        shown.inspect_err(|error| self.stopped = Some(error.clone()))
    }

    fn by_number(&mut self, subvolume: &Subvolume<'_>, directory: u64) -> Result<()> {
        let mut damage = None;
        let read = scan(subvolume, directory, DIR_INDEX, &mut |item| {
            let shown = each_in(item, &mut |entry| self.show(entry));
            kept(shown, self.stopped.is_some(), &mut damage)
        });
        read.and(damage.map_or(Ok(()), Err))
    }

    /// Whether what is found by hash is what was shown, each name once.
    fn is_same_by_hash(&mut self, subvolume: &Subvolume<'_>, directory: u64) -> bool {
        let mut by_hash = Vec::with_capacity(self.digests.len());
        let read = scan(subvolume, directory, DIR_ITEM, &mut |item| {
            each_in(item, &mut |entry| {
                by_hash.push(digest(entry));
                Ok(())
            })
        });
        by_hash.sort_unstable();
        self.digests.sort_unstable();
        let is_once = by_hash.windows(2).all(|pair| matches!(pair, [(a, _), (b, _)] if a != b));
        read.is_ok() && is_once && by_hash == self.digests
    }

    /// What is found by hash and was not found by number: an error, because one of both is not right.
    fn left_by_hash(&mut self, subvolume: &Subvolume<'_>, directory: u64) -> Result<()> {
        let mut shown: BTreeMap<Vec<u8>, Key> = BTreeMap::new();
        let mut damage = None;
        // Other damage of it was told before.
        let _ = scan(subvolume, directory, DIR_INDEX, &mut |item| {
            let _ = each_in(item, &mut |entry| {
                if shown.contains_key(entry.name) {
                    let found = format!("{} twice by number", quoted(entry.name));
                    damage.get_or_insert(item.wrong("name", HEADER_BYTES, found, "once"));
                }
                shown.entry(entry.name.to_vec()).or_insert(entry.key);
                Ok(())
            });
            Ok(())
        });
        let mut by_hash = BTreeSet::new();
        let read = scan(subvolume, directory, DIR_ITEM, &mut |item| {
            let shown = each_in(item, &mut |entry| {
                let is_new = by_hash.insert(entry.name.to_vec());
                let found = match shown.get(entry.name) {
                    _ if !is_new => format!("{} twice by hash", quoted(entry.name)),
                    Some(key) if *key == entry.key => return Ok(()),
                    Some(key) => {
                        format!("{} is {} by hash and {key} by number", quoted(entry.name), entry.key)
                    }
                    None => format!("{} by hash only", quoted(entry.name)),
                };
                damage.get_or_insert(item.wrong("name", HEADER_BYTES, found, "the same by number"));
                match shown.contains_key(entry.name) || !is_new {
                    true => Ok(()),
                    false => self.show(entry),
                }
            });
            kept(shown, self.stopped.is_some(), &mut damage)
        });
        if let Some(name) = shown.keys().find(|name| !by_hash.contains(*name)) {
            let found = format!("{} by number only", quoted(name));
            damage.get_or_insert(Error::malformed(FORMAT, "name", None, found, "the same by hash"));
        }
        read.and(damage.map_or(Ok(()), Err))
    }
}

/// Goes on after damage, and keeps the first.
fn kept(shown: Result<()>, is_stopped: bool, damage: &mut Option<Error>) -> Result<()> {
    match shown {
        Err(error) if !is_stopped => {
            damage.get_or_insert(error);
            Ok(())
        }
        other => other,
    }
}

fn scan(
    subvolume: &Subvolume<'_>,
    directory: u64,
    kind: u8,
    each: &mut dyn FnMut(&Fields<'_>) -> Result<()>,
) -> Result<()> {
    let keys = Key::new(directory, kind, 0)..=Key::new(directory, kind, u64::MAX);
    subvolume.tree.scan(subvolume.metadata, keys, FORMAT, &mut |_, item| each(item))
}

/// The entry of this name: what it names.
///
/// # Errors
/// If a block on the way or the item cannot be read.
pub(super) fn lookup(subvolume: &Subvolume<'_>, directory: u64, name: &[u8]) -> Result<Option<Key>> {
    let changed = subvolume.changes.and_then(|changes| changes.names.get(&directory)?.get(name));
    if let Some(changed) = changed {
        return Ok(*changed);
    }
    let key = Key::new(directory, DIR_ITEM, hash(name).into());
    let Some(item) = subvolume.tree.get(subvolume.metadata, key)? else { return Ok(None) };
    let mut found = None;
    each_in(&item.fields(FORMAT)?, &mut |entry| {
        if entry.name == name {
            found.get_or_insert(entry.key);
        }
        Ok(())
    })?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `btrfs inspect-internal dump-tree` shows them.
    #[test]
    fn the_hashes_of_names() {
        assert_eq!(hash(b"default"), 2_378_154_706);
        assert_eq!(hash(b"os-release"), 3_949_264_612);
    }
}
