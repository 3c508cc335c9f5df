//! `.rpm` files (rpm's `docs/manual/format_lead.md`, `format_header.md`): a lead of 96 bytes, which says nothing
//! any more, the signature header, filled up to a multiple of eight bytes, and the header of the package. The
//! payload behind it is not read.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::indexing_slicing,
        clippy::unwrap_used
    )
)]

use crate::bytes::{ReadAt, be_u32, size_of_len};
use crate::error::{Error, Result, ResultExt, quoted};
use crate::format::rpm_header::{Header, MAGIC, check_whole};
use crate::limits::Limits;

const FORMAT: &str = "rpm file";
const LEAD_BYTES: u64 = 96;
const LEAD_MAGIC: [u8; 4] = [0xed, 0xab, 0xee, 0xdb];

/// The package's header without its magic, held against the digest in the signature header where there is one.
///
/// # Errors
/// `Malformed` for what is no such file, is cut off, or has another digest; `Limit` for a header that is too
/// large; `Io`.
pub fn header(file: &dyn ReadAt, limits: &Limits) -> Result<Vec<u8>> {
    let mut magic = [0; 4];
    if file.size_bytes() >= LEAD_BYTES {
        file.read_exact_at(0, &mut magic)?;
    }
    if magic != LEAD_MAGIC {
        let found = format!("{} bytes that begin with {}", file.size_bytes(), quoted(magic));
        return Err(Error::malformed(
            FORMAT,
            "lead",
            0,
            found,
            "96 bytes or more that begin with ed ab ee db",
        ));
    }
    let signature = one(file, LEAD_BYTES, limits).at(|| "signature header".to_owned())?;
    let signature_bytes = size_of_len(signature.len()).saturating_add(size_of_len(MAGIC.len()));
    let start = LEAD_BYTES.saturating_add(signature_bytes.next_multiple_of(8));
    let header = one(file, start, limits)?;
    let signature = Header::of_record(&signature, limits).at(|| "signature header".to_owned())?;
    check_whole(&header, &signature)?;
    Ok(header)
}

/// The header at an offset, without its magic.
fn one(file: &dyn ReadAt, start: u64, limits: &Limits) -> Result<Vec<u8>> {
    let mut intro = [0; 16];
    file.read_exact_at(start, &mut intro)?;
    let (magic, counts) = intro.split_at_checked(MAGIC.len()).unwrap_or_default();
    if magic.get(..4) != MAGIC.get(..4) {
        return Err(Error::malformed(FORMAT, "header magic", start, quoted(magic), "8e ad e8 01"));
    }
    let entries = limits.rpm_header_entries.check(u64::from(be_u32(counts, 0)))?;
    let data = limits.rpm_header_bytes.check(u64::from(be_u32(counts, 4)))?;
    let size = entries.saturating_mul(16).saturating_add(data).saturating_add(8);
    let from = start.saturating_add(size_of_len(MAGIC.len()));
    if from.checked_add(size).is_none_or(|end| end > file.size_bytes()) {
        let left = file.size_bytes().saturating_sub(from);
        return Err(Error::malformed(
            FORMAT,
            "header size",
            start,
            format!("{size} bytes, {left} left"),
            "no more",
        )
        .hint("the file is cut off; fetch it again"));
    }
    let mut bytes = vec![0; usize::try_from(size).map_err(|_| limits.rpm_header_bytes.passed(size))?];
    file.read_exact_at(from, &mut bytes)?;
    Ok(bytes)
}
