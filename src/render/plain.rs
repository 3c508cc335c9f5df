//! Text that steers nothing: neither a terminal nor the reader's eye.

use std::borrow::Cow;

/// The text with every character escaped that has no shape of its own but changes how others are shown:
/// control characters (of ASCII and of ISO 6429, so escape sequences and line ends too), marks and overrides
/// of writing direction, zero-width and tag characters, line and paragraph separators. `\u{1b}` is what
/// stands for an escape character.
#[must_use]
pub fn plain(text: &str) -> Cow<'_, str> {
    if !text.chars().any(steers) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len().saturating_add(16));
    for c in text.chars() {
        if steers(c) { out.extend(c.escape_unicode()) } else { out.push(c) }
    }
    Cow::Owned(out)
}

/// Whether a character changes how others are shown. Of Unicode 16: general categories Cc, Zl and Zp, what of
/// Cf takes part in bidirectional ordering or has no width, and the fillers that look like nothing.
fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_is_escaped_and_nothing_else() {
        for (text, want) in [
            ("libstdc++6", "libstdc++6"),
            ("Größe 大きい", "Größe 大きい"),
            ("\x1b[32mPASS\x1b[0m", "\\u{1b}[32mPASS\\u{1b}[0m"),
            ("a\nFAIL\r\tb\x07", "a\\u{a}FAIL\\u{d}\\u{9}b\\u{7}"),
            ("\u{9b}2J\u{7f}", "\\u{9b}2J\\u{7f}"),
            ("1.0\u{202e}7.0\u{2066}", "1.0\\u{202e}7.0\\u{2066}"),
            ("lib\u{200b}c6\u{e0041}", "lib\\u{200b}c6\\u{e0041}"),
        ] {
            assert_eq!(plain(text), want);
        }
    }
}
