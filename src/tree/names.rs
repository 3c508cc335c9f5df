//! Names that file systems store in UTF-16 and compare without case.

/// UTF-16 as UTF-8. A surrogate without its other half becomes the three bytes that its number would have, so
/// that different names stay different.
pub(super) fn from_utf16(units: impl IntoIterator<Item = u16>) -> Vec<u8> {
    let mut name = Vec::new();
    for found in char::decode_utf16(units) {
        match found {
            Ok(c) => name.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            Err(lone) => {
                let [high, low] = lone.unpaired_surrogate().to_be_bytes();
                name.extend([
                    0xe0 | (high >> 4),
                    0x80 | ((high & 0xf) << 2) | (low >> 6),
                    0x80 | (low & 0x3f),
                ]);
            }
        }
    }
    name
}

/// Whether two names are the same but for case: by the simple upper case of each character.
pub(super) fn is_same(a: &[u8], b: &[u8]) -> bool {
    if a.is_ascii() || b.is_ascii() {
        return a.eq_ignore_ascii_case(b);
    }
    match (std::str::from_utf8(a), std::str::from_utf8(b)) {
        (Ok(a), Ok(b)) => a.chars().map(upper).eq(b.chars().map(upper)),
        _ => a.eq_ignore_ascii_case(b),
    }
}

/// The upper case of a character where that is one character and no letter of ASCII stands for another, else
/// the character.
fn upper(c: char) -> char {
    let mut upper = c.to_uppercase();
    match (upper.next(), upper.next()) {
        (Some(only), None) if c.is_ascii() || !only.is_ascii() => only,
        _ => c,
    }
}

/// What all names have that are the same by [`is_same`].
pub(super) fn folded(name: &[u8]) -> Vec<u8> {
    match std::str::from_utf8(name) {
        Ok(text) => text.chars().map(upper).collect::<String>().into_bytes(),
        Err(_) => name.to_ascii_uppercase(),
    }
}

/// A name without the dots at its end, which Windows does not keep.
pub(super) fn without_last_dots(name: &[u8]) -> &[u8] {
    let end = name.iter().rposition(|byte| *byte != b'.').map_or(0, |last| last.saturating_add(1));
    name.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utf16_becomes_utf8_and_stays_different() {
        assert_eq!(from_utf16("aä€🦀".encode_utf16()), "aä€🦀".as_bytes());
        assert_eq!(from_utf16([0x61, 0xd83e, 0x62]), b"a\xed\xa0\xbeb");
        assert_eq!(from_utf16([0xdc00]), b"\xed\xb0\x80");
    }

    #[test]
    fn case_is_not_told_apart() {
        for (a, b, expected) in [
            ("EFI", "efi", true),
            ("Ärger", "äRGER", true),
            ("straße", "STRASSE", false),
            ("a", "b", false),
            ("ä", "a", false),
        ] {
            assert_eq!(is_same(a.as_bytes(), b.as_bytes()), expected, "{a} {b}");
        }
        assert!(is_same(b"\xffA", b"\xffa") && !is_same(b"\xff", b"\xfe"));
        assert_eq!((without_last_dots(b"a.b.."), without_last_dots(b"...")), (&b"a.b"[..], &b""[..]));
    }
}
