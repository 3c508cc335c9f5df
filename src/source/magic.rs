//! What a file is that is no image: told by magic, refused by name.

use std::borrow::Cow;

use crate::bytes::ReadAt;
use crate::codec::Compression;
use crate::error::{Error, Kind, Result};

/// So many first bytes are looked at: up to the superblock of a btrfs.
pub(super) const HEAD_BYTES: u64 = 68 << 10;

/// The first bytes.
pub(super) fn head(file: &dyn ReadAt) -> Result<Vec<u8>> {
    let mut head = vec![0; usize::try_from(file.size_bytes().min(HEAD_BYTES)).unwrap_or(0)];
    file.read_exact_at(0, &mut head)?;
    Ok(head)
}

/// Offset and magic of what a raw disk starts with: a partition table, a boot sector, or what a volume holds.
const RAW: &[(usize, &[u8])] = &[
    (510, b"\x55\xaa"),
    (512, b"EFI PART"),
    (4096, b"EFI PART"),
    (0, b"XFSB"),
    (0, b"hsqs"),
    (0, b"sqsh"),
    (0, b"LUKS\xba\xbe"),
    (0x438, b"\x53\xef"),
    (1024, b"\xe2\xe1\xf5\xe0"),
    (0x8001, b"CD001"),
    (0x8001, b"NSR02"),
    (0x8001, b"NSR03"),
    (0x8801, b"NSR02"),
    (0x8801, b"NSR03"),
    (0x1_0040, b"_BHRfS_M"),
    (0, b"LABELONE"),
    (512, b"LABELONE"),
    (1024, b"LABELONE"),
    (1536, b"LABELONE"),
    (3, b"NTFS    "),
    (3, b"EXFAT   "),
    (3, b"-FVE-FS-"),
    (32, b"NXSB"),
    (4096, b"\xfc\x4e\x2b\xa9"),
];

/// Whether it starts as a raw disk or volume does.
pub(super) fn is_raw_disk(head: &[u8]) -> bool {
    RAW.iter().any(|(offset, magic)| head.get(*offset..).is_some_and(|rest| rest.starts_with(magic)))
}

/// Whether it may be a raw disk on which nothing was written, at least not at its beginning: whole sectors of zeros.
pub(super) fn is_blank_disk(head: &[u8], size_bytes: u64) -> bool {
    size_bytes >= HEAD_BYTES && size_bytes.is_multiple_of(512) && head.iter().all(|byte| *byte == 0)
}

/// Whether it is an inventory that karat wrote: JSON with its schema near the start.
pub(super) fn is_inventory(head: &[u8]) -> bool {
    let start = head.trim_ascii_start();
    start.first() == Some(&b'{')
        && memchr::memmem::find(start.get(..start.len().min(4096)).unwrap_or(start), b"\"karat-inventory/")
            .is_some()
}

const UNZIP: &str = "unpack it and name the image that is in it";

/// Offset, magic, what it is, what to do.
const KNOWN: &[(usize, &[u8], &str, &str)] = &[
    (0, b"PK\x03\x04", "a zip archive", UNZIP),
    (0, b"\x7fELF", "an ELF executable", "name an image, not a program"),
    (0, b"!<arch>\n", "an ar archive or a .deb", "name an image, not a package"),
    (0, b"\xed\xab\xee\xdb", "an rpm package", "name an image, not a package"),
];

/// The error for a compressed file without a tar in it; `head` is how its content starts.
pub(super) fn refuse_compressed(compression: Compression, head: &[u8]) -> Error {
    let inner = refuse(head);
    let what = match inner.kind() {
        Kind::Unsupported(what) => what.as_str(),
        _ => "something else",
    };
    Error::unsupported(format!(
        "a file compressed with {compression} that holds no tar and no disk, but {what}"
    ))
    .hint("name a disk image, an image archive or a root file system tar")
}

/// The error that names what the file is.
pub(super) fn refuse(head: &[u8]) -> Error {
    const WANTED: &str = "name a disk image, a docker archive, an OCI archive or layout, a root file system (directory or tar) or an inventory; a raw disk without partition table is forced by disk:…";
    if head.is_empty() {
        return Error::unsupported("an empty file").hint(WANTED);
    }
    let is_at = |offset: usize, magic: &[u8]| head.get(offset..).is_some_and(|rest| rest.starts_with(magic));
    if let Some((_, _, what, hint)) = KNOWN.iter().find(|(offset, magic, ..)| is_at(*offset, magic)) {
        return Error::unsupported(*what).hint(*hint);
    }
    let what: Cow<'_, str> = match (head.trim_ascii_start().first(), is_text(head)) {
        (Some(b'{' | b'['), true) => "a JSON document that is no karat inventory".into(),
        (_, true) => "a text file".into(),
        _ if head.iter().all(|b| *b == 0) => "a file that starts with zeros only".into(),
        _ => format!("a file of no known kind (it starts with {})", first_digits(head)).into(),
    };
    Error::unsupported(what).hint(WANTED)
}

fn first_digits(head: &[u8]) -> String {
    head.iter().take(8).map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(" ")
}

/// Whether it reads as UTF-8 without control characters; it may be cut off within a character.
fn is_text(head: &[u8]) -> bool {
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => {
            head.get(..error.valid_up_to()).and_then(|valid| std::str::from_utf8(valid).ok()).unwrap_or("")
        }
        Err(_) => return false,
    };
    !text.is_empty()
        && !text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t' | '\x0c' | '\x1b'))
}
