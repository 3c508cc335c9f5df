//! Short names: eight characters and three, padded with spaces, in the code page of the system that wrote them.
//!
//! Which code page that was is stored nowhere; 437 is what Linux takes by default. Two bits say that the name
//! or the extension is meant in lower case.

use super::directory::ShortEntry;

const LOWER_NAME: u8 = 0x08;
const LOWER_EXTENSION: u8 = 0x10;
/// Stands for a first byte `e5`, which would say that the entry is deleted.
const E5: u8 = 0x05;

/// Characters 128 to 255 of code page 437.
const CP437: &str = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u{a0}";

/// The name of a short entry, with a dot before the extension if there is one.
pub(super) fn short(entry: &ShortEntry) -> Vec<u8> {
    let mut stored = entry.name;
    if stored[0] == E5 {
        stored[0] = 0xe5;
    }
    let (name, extension) = stored.split_at(8);
    let mut text = decode(name, entry.case & LOWER_NAME != 0);
    let extension = decode(extension, entry.case & LOWER_EXTENSION != 0);
    if !extension.is_empty() {
        text.push('.');
        text.push_str(&extension);
    }
    text.into_bytes()
}

/// The raw label of a label entry, without the spaces at its end.
pub(super) fn label(stored: [u8; 11]) -> Vec<u8> {
    let end =
        stored.iter().rposition(|byte| !matches!(byte, b' ' | 0)).map_or(0, |last| last.saturating_add(1));
    stored.get(..end).unwrap_or_default().to_vec()
}

fn decode(padded: &[u8], is_lower: bool) -> String {
    let end = padded.iter().rposition(|byte| *byte != b' ').map_or(0, |last| last.saturating_add(1));
    let characters = padded.iter().take(end).map(|byte| match byte.checked_sub(128) {
        Some(high) => CP437.chars().nth(high.into()).unwrap_or(char::REPLACEMENT_CHARACTER),
        None => char::from(*byte),
    });
    match is_lower {
        true => characters.collect::<String>().to_lowercase(),
        false => characters.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_are_decoded() {
        assert_eq!(CP437.chars().count(), 128);
        for (stored, case, expected) in [
            (b"GRUBX64 EFI", 0, "GRUBX64.EFI"),
            (b"GRUBX64 EFI", 0x18, "grubx64.efi"),
            (b"README  TXT", 0x10, "README.txt"),
            (b"A B        ", 0, "A B"),
            (b"\x05\x8eRGER  \x99  ", 0x08, "σärger.Ö"),
            (b"NOEXT      ", 0x08, "noext"),
        ] {
            let mut bytes = [0; 32];
            bytes[..11].copy_from_slice(stored);
            bytes[12] = case;
            let entry = ShortEntry::decode(&bytes).unwrap();
            assert_eq!(String::from_utf8(short(&entry)).unwrap(), expected);
        }
        assert_eq!((label(*b"EFI SYSTEM "), label(*b"           ")), (b"EFI SYSTEM".to_vec(), Vec::new()));
    }
}
