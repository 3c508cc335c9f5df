//! Unified kernel images, boot loader entries of type 2: PE programs with the kernel and what is said of it in
//! sections (UAPI.5, <https://uapi-group.org/specifications/specs/unified_kernel_image/>; PE of the Microsoft PE and
//! COFF specification).
//!
//! | at | bytes | what |
//! |---|---|---|
//! | 0 | 2 | `MZ` |
//! | 0x3c | 4 | where the PE header is |
//! | PE + 0 | 4 | `PE`, 0, 0 |
//! | PE + 6 | 2 | number of sections |
//! | PE + 20 | 2 | size of the optional header |
//! | PE + 24 + that | 40 each | sections: name (8), size in memory, address, size in the file, offset in the file |
//!
//! Read are the headers and the texts of `.osrel` (an os-release) and `.uname` (the kernel's release), no code. Of a
//! file with several profiles the first is read, which the others share. Numbers are little endian.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::indexing_slicing,
        clippy::unwrap_used
    )
)]

use super::bls::BlsEntry;
use super::kernel::{is_release, without_tries};
use super::os_release;
use crate::bytes::{ReadAt, array_at, le_u16, le_u32, size_of_len};
use crate::error::{Error, Result};
use crate::limits::{Ceiling, Limits};

/// Sections that a PE image may have: its specification's bound for loaders.
const MOST_SECTIONS: u16 = 96;

/// What systemd-boot makes of a file of this name: its title, version and sort key are those of its `.osrel`, by the
/// rules of systemd 257. `None` if it makes no entry of it: the name is no `*.efi`, or it says not what it is.
///
/// # Errors
/// `Malformed` if it is no PE program or cut off, `Limit` for texts that are too long.
pub fn decode(name: &str, content: &dyn ReadAt, limits: &Limits) -> Result<Option<BlsEntry>> {
    let is_efi = name
        .len()
        .checked_sub(4)
        .and_then(|at| name.get(at..))
        .filter(|end| end.eq_ignore_ascii_case(".efi"));
    let Some(stem) = is_efi.and_then(|end| name.strip_suffix(end)) else { return Ok(None) };
    let sections = sections(content)?;
    let text = |name: &[u8], ceiling: Ceiling| -> Result<Option<Vec<u8>>> {
        let Some(section) = sections.iter().find(|section| section.name == name) else { return Ok(None) };
        section.read(content, ceiling).map(Some)
    };
    let Some(osrel) = text(b".osrel\0\0", limits.os_release_bytes)? else { return Ok(None) };
    let os = os_release::read(&osrel, limits)?;
    let first = |names: &[&str]| names.iter().find_map(|name| os.get(name)).map(str::to_owned);
    let Some(title) = first(&["PRETTY_NAME", "IMAGE_ID", "NAME", "ID"]) else { return Ok(None) };
    let uname = text(b".uname\0\0", limits.os_release_bytes)?;
    let uname = uname.map(|bytes| String::from_utf8_lossy(&bytes).trim_matches(['\0', '\n', ' ']).to_owned());
    let options = text(b".cmdline", limits.os_release_bytes)?;
    let (id, tries_left) = without_tries(stem);
    Ok(Some(BlsEntry {
        id: id.to_owned(),
        tries_left,
        title: Some(title),
        version: first(&["IMAGE_VERSION", "VERSION", "VERSION_ID", "BUILD_ID"]),
        sort_key: first(&["IMAGE_ID", "ID"]),
        efi: Some(format!("/EFI/Linux/{name}")),
        options: options
            .map(|bytes| String::from_utf8_lossy(&bytes).trim_end_matches('\0').trim().to_owned()),
        uname: uname.filter(|release| is_release(release)),
        is_unified: true,
        ..BlsEntry::default()
    }))
}

/// One row of the table of sections.
struct Section {
    name: [u8; 8],
    offset: u64,
    size_bytes: u64,
}

impl Section {
    fn read(&self, content: &dyn ReadAt, ceiling: Ceiling) -> Result<Vec<u8>> {
        ceiling.check(self.size_bytes)?;
        let left = content.size_bytes().saturating_sub(self.offset);
        if self.size_bytes > left {
            return Err(malformed(
                "section",
                self.offset,
                format!("{} bytes", self.size_bytes),
                format!("at most {left}"),
            ));
        }
        let mut bytes = vec![0; usize::try_from(self.size_bytes).unwrap_or_default()];
        content.read_exact_at(self.offset, &mut bytes)?;
        Ok(bytes)
    }
}

fn malformed(
    field: &'static str,
    offset: u64,
    found: impl Into<String>,
    allowed: impl Into<String>,
) -> Error {
    Error::malformed("unified kernel image", field, offset, found.into(), allowed.into())
}

fn sections(content: &dyn ReadAt) -> Result<Vec<Section>> {
    let mut dos = [0; 64];
    content.read_exact_at(0, &mut dos)?;
    if !dos.starts_with(b"MZ") {
        return Err(malformed("magic", 0, format!("{:02x?}", array_at::<2>(&dos, 0)), "`MZ`"));
    }
    let at = u64::from(le_u32(&dos, 0x3c));
    let mut header = [0; 24];
    content.read_exact_at(at, &mut header)?;
    if !header.starts_with(b"PE\0\0") {
        return Err(malformed("PE magic", at, format!("{:02x?}", array_at::<4>(&header, 0)), "`PE`, 0, 0"));
    }
    let count = le_u16(&header, 6);
    if count > MOST_SECTIONS {
        return Err(malformed(
            "sections",
            at.saturating_add(6),
            count.to_string(),
            format!("at most {MOST_SECTIONS}"),
        ));
    }
    let table = at.saturating_add(size_of_len(header.len())).saturating_add(u64::from(le_u16(&header, 20)));
    (0..u64::from(count))
        .map(|index| {
            let mut row = [0; 40];
            content.read_exact_at(table.saturating_add(index.saturating_mul(40)), &mut row)?;
            Ok(Section {
                name: array_at(&row, 0),
                offset: u64::from(le_u32(&row, 20)),
                size_bytes: u64::from(le_u32(&row, 8).min(le_u32(&row, 16))),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests;
