//! What a file is that is no image: told by magic, refused by name.

use std::borrow::Cow;

use crate::bytes::ReadAt;
use crate::codec::Compression;
use crate::error::{Error, Kind, Result};

/// So many first bytes are looked at: up to the volume descriptor of an ISO 9660 image.
const HEAD_BYTES: u64 = 36 << 10;

/// The first bytes.
pub(super) fn head(file: &dyn ReadAt) -> Result<Vec<u8>> {
    let mut head = vec![0; usize::try_from(file.size_bytes().min(HEAD_BYTES)).unwrap_or(0)];
    file.read_exact_at(0, &mut head)?;
    Ok(head)
}

/// Whether it is an inventory that karat wrote: JSON with its schema near the start.
pub(super) fn is_inventory(head: &[u8]) -> bool {
    let start = head.trim_ascii_start();
    start.first() == Some(&b'{')
        && memchr::memmem::find(start.get(..start.len().min(4096)).unwrap_or(start), b"\"karat-inventory/")
            .is_some()
}

const DISK: &str = "disk images are not read by this version; name the root file system as a directory";
const UNZIP: &str = "unpack it and name the image that is in it";

/// Offset, magic, what it is, what to do.
const KNOWN: &[(usize, &[u8], &str, &str)] = &[
    (0, b"PK\x03\x04", "a zip archive", UNZIP),
    (0, b"\x7fELF", "an ELF executable", "name an image, not a program"),
    (0, b"QFI\xfb", "a qcow2 disk image", DISK),
    (0, b"KDMV", "a VMDK disk image", DISK),
    (0, b"COWD", "a VMDK disk image", DISK),
    (0, b"# Disk DescriptorFile", "a VMDK descriptor", DISK),
    (0, b"conectix", "a VHD disk image", DISK),
    (0, b"vhdxfile", "a VHDX disk image", DISK),
    (0x40, b"\x7f\x10\xda\xbe", "a VDI disk image", DISK),
    (0, b"hsqs", "a squashfs file system", DISK),
    (0x8001, b"CD001", "an ISO 9660 image", DISK),
    (512, b"EFI PART", "a raw disk with GPT", DISK),
    (4096, b"EFI PART", "a raw disk with GPT", DISK),
    (0x438, b"\x53\xef", "an ext file system", DISK),
    (0, b"XFSB", "an XFS file system", DISK),
    (510, b"\x55\xaa", "a raw disk or volume with a boot sector", DISK),
    (0, b"!<arch>\n", "an ar archive or a .deb", "name an image, not a package"),
    (0, b"\xed\xab\xee\xdb", "an rpm package", "name an image, not a package"),
];

/// The error for a compressed file without a tar in it; `head` is how its content starts.
pub(super) fn refuse_compressed(compression: Compression, head: &[u8]) -> Error {
    let inner = refuse(&head.to_vec(), head);
    let what = match inner.kind() {
        Kind::Unsupported(what) => what.as_str(),
        _ => "something else",
    };
    Error::unsupported(format!("a file compressed with {compression} that holds no tar, but {what}"))
        .hint("name an image archive or a root file system tar; a disk image has to be unpacked first")
}

/// The error that names what the file is.
pub(super) fn refuse(file: &dyn ReadAt, head: &[u8]) -> Error {
    const WANTED: &str = "name a docker archive, an OCI archive or layout, a root file system (directory or tar) or an inventory";
    if head.is_empty() {
        return Error::unsupported("an empty file").hint(WANTED);
    }
    let is_at = |offset: usize, magic: &[u8]| head.get(offset..).is_some_and(|rest| rest.starts_with(magic));
    if let Some((_, _, what, hint)) = KNOWN.iter().find(|(offset, magic, ..)| is_at(*offset, magic)) {
        return Error::unsupported(*what).hint(*hint);
    }
    if ends_with_vhd_footer(file) {
        return Error::unsupported("a VHD disk image of fixed size").hint(DISK);
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

fn ends_with_vhd_footer(file: &dyn ReadAt) -> bool {
    let mut footer = [0; 8];
    file.size_bytes().checked_sub(512).is_some_and(|at| file.read_exact_at(at, &mut footer).is_ok())
        && &footer == b"conectix"
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
