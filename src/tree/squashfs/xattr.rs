//! Extended attributes, as far as overlayfs marks its layers by them.
//!
//! | structure | what |
//! | --- | --- |
//! | table, at its start in the superblock | where the lists begin (64 bits), number of ids, unused (32 bits each), then where each block of ids is (64 bits) |
//! | id, 16 bytes in metadata blocks | reference of the list, number of its attributes, its bytes |
//! | list, in metadata blocks | of each: type and length of the name (16 bits each), name, length of the value (32 bits), value |
//!
//! A type's low byte is the namespace (0 user, 1 trusted, 2 security); with 0x100 the value is a reference to it.

use std::ops::Range;

use super::metadata::{BLOCK_BYTES, Metadata, Place, word};
use crate::bytes::{ReadAt, le_u16, le_u64, size_of_len};
use crate::error::{Error, Result, ResultExt};
use crate::tree::LayerMark;
use crate::tree::fields::len;

const FORMAT: &str = "squashfs attributes";
/// An inode without any.
pub(super) const NONE: u32 = u32::MAX;
/// What a list of names may take on Linux holds no more of them.
const MOST: u32 = 16 << 10;
/// The longest value on Linux.
const VALUE_BYTES: u32 = 64 << 10;
const OUT_OF_LINE: u16 = 0x100;

/// How overlayfs's own attributes mark the node with this list.
///
/// # Errors
/// `Malformed` with the field; `Unsupported` for a node whose content is in another layer or place; `Io`.
pub(super) fn mark(metadata: &Metadata, index: u32) -> Result<LayerMark> {
    if index == NONE {
        return Ok(LayerMark::None);
    }
    mark_unplaced(metadata, index).at(|| format!("attributes {index}"))
}

fn mark_unplaced(metadata: &Metadata, index: u32) -> Result<LayerMark> {
    let (mut place, count) = list(metadata, index)?;
    let mut mark = LayerMark::None;
    for _ in 0..count {
        let head: [u8; 4] = metadata.array(&mut place)?;
        let (kind, name_len) = (le_u16(&head, 0), le_u16(&head, 2));
        let mut name = vec![0; usize::from(name_len)];
        metadata.read(&mut place, &mut name)?;
        let value_len = word(&metadata.array::<4>(&mut place)?, 0);
        if value_len > VALUE_BYTES {
            return Err(wrong("size of a value", value_len.to_string(), format!("up to {VALUE_BYTES}")));
        }
        let mut value = vec![0; len(u64::from(value_len))];
        metadata.read(&mut place, &mut value)?;
        let is_ours = matches!(kind & 0xff, 0 | 1);
        match name.strip_prefix(b"overlay.").filter(|_| is_ours) {
            // Of a value elsewhere it is not known which it is.
            Some(b"opaque") if kind & OUT_OF_LINE != 0 || value.starts_with(b"y") => mark = LayerMark::Opaque,
            Some(b"whiteout") => mark = LayerMark::Whiteout,
            Some(name @ (b"redirect" | b"metacopy")) => {
                let name = String::from_utf8_lossy(name);
                return Err(Error::unsupported(format!("a layer of overlayfs with `{name}`")));
            }
            _ => {}
        }
    }
    Ok(mark)
}

/// Where a list starts, and how many attributes it has.
fn list(metadata: &Metadata, index: u32) -> Result<(Place, u32)> {
    let table = metadata.superblock.attributes;
    let end = metadata.superblock.bytes_used;
    let mut head = [0; 16];
    metadata.reader.read_exact_at(table, &mut head)?;
    let (start, ids) = (le_u64(&head, 0), word(&head, 8));
    if index >= ids {
        return Err(wrong("id", index.to_string(), format!("below {ids}")));
    }
    let at = u64::from(index).saturating_mul(16);
    let blocks = size_of_len(BLOCK_BYTES);
    let row = at.checked_div(blocks).unwrap_or_default().saturating_mul(8);
    let mut first = [0; 8];
    metadata.reader.read_exact_at(table.saturating_add(16).saturating_add(row), &mut first)?;
    let block = u64::from_le_bytes(first);
    let within = u16::try_from(at.checked_rem(blocks).unwrap_or_default()).unwrap_or_default();
    let of_ids = Range { start: block, end: table.min(end) };
    let mut place = metadata.place(&of_ids, 0, within)?;
    let id: [u8; 16] = metadata.array(&mut place)?;
    let (reference, count) = (le_u64(&id, 0), word(&id, 8));
    if count > MOST {
        return Err(wrong("count", count.to_string(), format!("up to {MOST}")));
    }
    let [low, high, ..] = reference.to_le_bytes();
    let lists = Range { start, end: table.min(end) };
    Ok((metadata.place(&lists, reference >> 16, u16::from_le_bytes([low, high]))?, count))
}

fn wrong(field: &'static str, found: String, allowed: String) -> Error {
    Error::malformed(FORMAT, field, None, found, allowed)
}
