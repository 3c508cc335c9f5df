//! Names as Linux shows them, where there are none of Rock Ridge.

use crate::tree::names::from_utf16;

/// A name of the primary descriptor: in lower case, without version 1 and the dot before it, other semicolons
/// and slashes as dots (`map=normal`).
pub(super) fn plain(stored: &[u8]) -> Vec<u8> {
    let mut name = Vec::new();
    for (at, byte) in stored.iter().enumerate() {
        let rest = stored.get(at..).unwrap_or_default();
        if *byte == 0 || matches!(rest, b".;1" | b";1") {
            break;
        }
        name.push(if matches!(byte, b';' | b'/') { b'.' } else { byte.to_ascii_lowercase() });
    }
    name
}

/// A name of a Joliet descriptor: without version 1 and dots at its end.
pub(super) fn joliet(stored: &[u8]) -> Vec<u8> {
    let (units, _) = stored.as_chunks::<2>();
    let mut name =
        from_utf16(units.iter().map(|unit| u16::from_be_bytes(*unit)).take_while(|unit| *unit != 0));
    if name.len() > 2 && name.ends_with(b";1") {
        name.truncate(name.len().saturating_sub(2));
    }
    while name.len() >= 2 && name.ends_with(b".") {
        name.pop();
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_as_linux_shows_them() {
        for (stored, expected) in [
            (&b"PASSWORDS.TXT;1"[..], &b"passwords.txt"[..]),
            (b"A_FILE.;1", b"a_file"),
            (b"A_DIRECTORY", b"a_directory"),
            (b"A.B;2", b"a.b.2"),
            (b"A.;12", b"a..12"),
            (b";1", b""),
        ] {
            assert_eq!(plain(stored), expected);
        }
        let ucs2 = |text: &str| text.encode_utf16().flat_map(u16::to_be_bytes).collect::<Vec<_>>();
        for (stored, expected) in
            [("Ä Name.txt;1", "Ä Name.txt"), ("a...;1", "a"), (";1", ";1"), (".", "."), ("A;2", "A;2")]
        {
            assert_eq!(String::from_utf8(joliet(&ucs2(stored))).unwrap(), expected);
        }
    }
}
