//! A Markdown page that keeps within its bytes, and text that is no markup.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::super::plain;

/// So many characters of one name, version or path are shown.
const CELL_CHARS: usize = 200;
/// So many characters of one sentence.
const SENTENCE_CHARS: usize = 2000;
/// So many characters of the footer.
const FOOTER_CHARS: usize = 500;
/// Kept free for the last lines: what was left out, and the footer, each character of which may take 16.
const RESERVE_BYTES: usize = 9000;
/// What a folded part needs besides its content.
const FOLD_BYTES: usize = 64;

/// A part of a page that can be cut between rows.
pub(super) struct Section {
    pub(super) open: String,
    /// Each with its line end.
    pub(super) rows: Vec<String>,
    pub(super) close: String,
    /// What the rows are, for the count of those that are left out.
    pub(super) what: &'static str,
}

impl Section {
    pub(super) fn text(text: String) -> Self {
        Section { open: text, rows: Vec::new(), close: String::new(), what: "lines" }
    }
}

/// A page as it grows.
pub(super) struct Page {
    text: String,
    max_bytes: usize,
    left_out: BTreeMap<&'static str, usize>,
}

impl Page {
    /// A page of at most `max_bytes`; less than what the last lines need is not to be had.
    pub(super) fn new(max_bytes: usize) -> Self {
        Page { text: String::new(), max_bytes, left_out: BTreeMap::new() }
    }

    fn fits(&self, bytes: usize) -> bool {
        let used = self.text.len().saturating_add(bytes).saturating_add(RESERVE_BYTES);
        used <= self.max_bytes
    }

    fn leave_out(&mut self, what: &'static str, n: usize) {
        if n > 0 {
            *self.left_out.entry(what).or_default() += n;
        }
    }

    /// A paragraph or heading.
    pub(super) fn line(&mut self, line: &str) {
        match self.fits(line.len() + 2) {
            true => {
                self.text.push_str(line);
                self.text.push_str("\n\n");
            }
            false => self.leave_out("lines", 1),
        }
    }

    /// A table or list, cut where the page is full.
    pub(super) fn section(&mut self, section: Section) {
        self.section_in(section, 0);
    }

    fn section_in(&mut self, section: Section, behind: usize) {
        let frame = section.open.len() + section.close.len() + behind + 2;
        if !self.fits(frame) {
            self.leave_out(section.what, section.rows.len().max(1));
            return;
        }
        self.text.push_str(&section.open);
        let mut left = 0;
        for row in &section.rows {
            // Once a row does not fit, the rest stays out too: what is shown is a beginning.
            if left == 0 && self.fits(row.len() + section.close.len() + behind + 2) {
                self.text.push_str(row);
            } else {
                left += 1;
            }
        }
        self.leave_out(section.what, left);
        self.text.push_str(&section.close);
        self.text.push('\n');
    }

    /// Sections under a line that unfolds them; `summary` is HTML.
    pub(super) fn folded(&mut self, summary: &str, open: bool, sections: Vec<Section>) {
        if !self.fits(summary.len() + FOLD_BYTES) {
            for section in sections {
                self.leave_out(section.what, section.rows.len().max(1));
            }
            return;
        }
        let open = if open { " open" } else { "" };
        self.text.push_str(&format!("<details{open}><summary>{summary}</summary>\n\n"));
        for section in sections {
            self.section_in(section, "</details>\n\n".len());
        }
        self.text.push_str("</details>\n\n");
    }

    /// The last lines, and the page is done.
    pub(super) fn foot(mut self, footer: &str) -> String {
        if !self.left_out.is_empty() {
            let parts: Vec<String> = self.left_out.iter().map(|(what, n)| format!("{n} {what}")).collect();
            self.text.push_str(&format!(
                "**Left out to keep this page within {} bytes (limit `markdown_bytes`): {}.** \
                 The JSON report has all.\n\n",
                self.max_bytes,
                parts.join(", ")
            ));
        }
        self.text.push_str(&format!("<sub>{}</sub>\n", escaped(&shown(footer, FOOTER_CHARS))));
        self.text
    }
}

/// One line, not overlong, without what steers a terminal or a reader's eye.
fn shown(text: &str, most: usize) -> Cow<'_, str> {
    match plain(text) {
        text if text.chars().count() > most => {
            text.chars().take(most).chain(['…']).collect::<String>().into()
        }
        text => text,
    }
}

/// A name, version or path as code: a code span, or where it has what ends one, HTML.
pub(super) fn code(text: &str) -> String {
    let text = shown(text, CELL_CHARS);
    let edge = |c: Option<char>| c.is_none_or(char::is_whitespace);
    match text.contains(['`', '|', '\\']) || edge(text.chars().next()) || edge(text.chars().last()) {
        _ if text.is_empty() => String::new(),
        true => html_code(&text),
        false => format!("`{text}`"),
    }
}

/// The same where Markdown is not read, as in a summary line.
pub(super) fn html_code(text: &str) -> String {
    format!("<code>{}</code>", escaped(&shown(text, CELL_CHARS)))
}

/// A sentence that is no markup: what means something to Markdown or HTML stands as a character reference.
/// Addresses do not become links, and nobody is notified.
pub(super) fn prose(text: &str) -> String {
    escaped(&shown(text, SENTENCE_CHARS))
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut before: [char; 3] = [' '; 3];
    for c in text.chars() {
        match c {
            '&' | '<' | '>' | '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '$' | '{' | '}' => {
                out.push_str(&format!("&#{};", u32::from(c)));
            }
            // A reference alone would be read as the character before links and mentions are looked for.
            '@' | '#' => out.push_str(&format!("&#{};<!-- -->", u32::from(c))),
            '/' if before[2] == '/' && before[1] == ':' => out.push_str("<!-- -->/"),
            '.' if before.iter().all(|b| b.eq_ignore_ascii_case(&'w')) => out.push_str("<!-- -->."),
            _ => out.push(c),
        }
        before = [before[1], before[2], c];
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_image_says_is_no_markup() {
        for (text, want) in [
            ("openssl", "`openssl`"),
            ("3.0.20-1~deb12u2", "`3.0.20-1~deb12u2`"),
            ("<img src=x>", "`<img src=x>`"),
            ("a|b", "<code>a&#124;b</code>"),
            ("a`</details>`", "<code>a&#96;&#60;/details&#62;&#96;</code>"),
            ("a\n| b |", "<code>a&#92;u&#123;a&#125;&#124; b &#124;</code>"),
            ("a\\", "<code>a&#92;</code>"),
            ("", ""),
        ] {
            assert_eq!(code(text), want, "{text}");
        }
        for (text, want) in [
            ("was 1~a and 1~b", "was 1&#126;a and 1&#126;b"),
            ("see https://evil/x", "see https:/<!-- -->/evil/x"),
            ("www.evil.org", "www<!-- -->.evil.org"),
            ("@everyone #12", "&#64;<!-- -->everyone &#35;<!-- -->12"),
            ("**b** [x](y)", "&#42;&#42;b&#42;&#42; &#91;x&#93;(y)"),
        ] {
            assert_eq!(prose(text), want, "{text}");
        }
        assert_eq!(code(&"x".repeat(500)).chars().count(), CELL_CHARS + 3);
    }

    #[test]
    fn a_page_stays_within_its_bytes_and_says_what_it_leaves_out() {
        let rows = || Section {
            open: "| a |\n| --- |\n".into(),
            rows: (0..2000).map(|i| format!("| {i} |\n")).collect(),
            close: String::new(),
            what: "rows",
        };
        let mut page = Page::new(20_000);
        page.line("## head");
        page.section(rows());
        page.folded("more", false, vec![rows()]);
        let text = page.foot("foot");
        assert!(text.len() <= 20_000, "{}", text.len());
        assert!(text.contains("| 300 |\n") && !text.contains("| 1999 |\n"));
        let told: usize = text
            .lines()
            .filter(|line| line.starts_with("| ") && !line.contains('a') && !line.contains('-'))
            .count();
        assert!(text.contains(&format!("limit `markdown_bytes`): {} rows.", 4000 - told)), "{text}");
        let mut whole = Page::new(1 << 20);
        whole.section(rows());
        assert!(!whole.foot("foot").contains("Left out"));
    }
}
