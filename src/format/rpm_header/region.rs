//! The region of a header that came in the package, and its digest.

use super::{ENTRY_BYTES, Entry, Header, Kind, MAGIC, malformed, tags};
use crate::bytes::{array_at, be_u32, sum_holds};
use crate::error::{Result, quoted};

/// The trailer of a region has the form of an entry.
const TRAILER_BYTES: usize = ENTRY_BYTES;

/// Checks the digest of the immutable region, where the header has a region and a digest of it: SHA-256, or what
/// rpm before 4.14 wrote, SHA-1. rpm does the same for every record that it lists.
///
/// # Errors
/// `Malformed` for a region whose trailer is not what it should be, or whose digest does not agree.
pub(super) fn check(index: &[u8], entries: &[Entry], data: &[u8]) -> Result<()> {
    let Some(first) = entries.first().filter(|entry| entry.tag == tags::HEADER_IMMUTABLE) else {
        return Ok(());
    };
    let flaw = |found: String, allowed: String| Err(malformed("region", first.offset, found, allowed));
    if first.kind != Kind::Binary || first.count != TRAILER_BYTES {
        return flaw(format!("{:?} of {} bytes", first.kind, first.count), "16 bytes of binary data".into());
    }
    let region_bytes = first.offset.saturating_add(TRAILER_BYTES);
    let (Some(trailer), Some(region)) = (data.get(first.offset..region_bytes), data.get(..region_bytes))
    else {
        return flaw(format!("a trailer at {}", first.offset), format!("0 to {}", data.len()));
    };
    let back = i32::from_be_bytes(array_at(trailer, 8));
    let index_bytes = back.checked_neg().and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(usize::MAX);
    let covered =
        index.get(..index_bytes).filter(|part| !part.is_empty() && part.len().is_multiple_of(ENTRY_BYTES));
    let Some(covered) = covered else {
        return flaw(
            format!("a trailer that reaches {back} bytes"),
            "back over entries of this header".into(),
        );
    };
    if be_u32(trailer, 0) != tags::HEADER_IMMUTABLE {
        return flaw(format!("a trailer with tag {}", be_u32(trailer, 0)), "63".into());
    }
    let counts = [covered.len() / ENTRY_BYTES, region_bytes].map(|n| u32::try_from(n).unwrap_or(u32::MAX));
    let intro: Vec<u8> = MAGIC.into_iter().chain(counts.iter().flat_map(|n| n.to_be_bytes())).collect();
    let parts = [&*intro, covered, region];
    let (stated, name, found) = if let Some(stated) = text_of(entries, tags::SHA256_HEADER, data) {
        (stated, "SHA-256", hex_digest::<sha2::Sha256>(&parts))
    } else if let Some(stated) = text_of(entries, tags::SHA1_HEADER, data) {
        (stated, "SHA-1", hex_digest::<sha1::Sha1>(&parts))
    } else {
        return Ok(());
    };
    if sum_holds(stated, found.as_bytes()) {
        return Ok(());
    }
    let allowed = format!("{}: the record is damaged, or was changed after it was made", quoted(stated));
    Err(malformed("digest", 0, format!("{name} {found} of {region_bytes} bytes"), allowed))
}

/// Holds a header, without magic, against the digest that the signature header of an `.rpm` file states.
///
/// # Errors
/// `Malformed` if it has another.
pub fn check_whole(header: &[u8], signature: &Header<'_>) -> Result<()> {
    let (stated, name, found) = if let Some(stated) = signature.text(tags::SHA256_HEADER)? {
        (stated, "SHA-256", hex_digest::<sha2::Sha256>(&[&MAGIC, header]))
    } else if let Some(stated) = signature.text(tags::SHA1_HEADER)? {
        (stated, "SHA-1", hex_digest::<sha1::Sha1>(&[&MAGIC, header]))
    } else {
        return Ok(());
    };
    match sum_holds(stated, found.as_bytes()) {
        true => Ok(()),
        false => Err(malformed("digest", 0, format!("{name} {found}"), quoted(stated))
            .hint("the file was damaged or changed; fetch it again")),
    }
}

fn hex_digest<D: sha2::Digest>(parts: &[&[u8]]) -> String {
    let mut hasher = D::new();
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The text of a tag; of several entries with it the last counts.
fn text_of<'a>(entries: &[Entry], tag: u32, data: &'a [u8]) -> Option<&'a [u8]> {
    let entry = entries.iter().rev().find(|entry| entry.tag == tag && entry.kind == Kind::Text)?;
    let text = data.get(entry.offset..)?;
    text.get(..memchr::memchr(0, text)?)
}
