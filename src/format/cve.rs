//! CVE ids in running text, as the CVE programme writes them: `CVE-`, four digits, a hyphen and four digits or more.

/// The id at the start of the text.
#[must_use]
pub fn id_at_start(text: &[u8]) -> Option<String> {
    let (year, rest) = digits(text.strip_prefix(b"CVE-")?);
    let (number, _) = digits(rest.strip_prefix(b"-")?);
    if year.len() != 4 || number.len() < 4 {
        return None;
    }
    // Both are digits, so this loses nothing.
    Some(format!("CVE-{}-{}", String::from_utf8_lossy(year), String::from_utf8_lossy(number)))
}

/// Adds the ids in a text, in its order; an id that comes twice is added twice.
pub fn ids(text: &[u8], into: &mut Vec<String>) {
    for at in memchr::memmem::find_iter(text, b"CVE-") {
        into.extend(text.get(at..).and_then(id_at_start));
    }
}

/// The digits at the start, and the rest.
fn digits(text: &[u8]) -> (&[u8], &[u8]) {
    let len = text.iter().take_while(|b| b.is_ascii_digit()).count();
    text.split_at_checked(len).unwrap_or((text, &[]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_found_in_running_text() {
        let mut found = Vec::new();
        ids(b"fix CVE-2024-6387(bsc#1226642), CVE-20-1, xCVE-2021-1234567: CVE-CVE-2022-0001", &mut found);
        assert_eq!(found, ["CVE-2024-6387", "CVE-2021-1234567", "CVE-2022-0001"]);
    }
}
