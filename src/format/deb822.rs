//! Stanzas of fields, as dpkg and apt write them (deb822(5)).
//!
//! ```text
//! Package: libc6                 a field: name, colon, value
//! Description: GNU C Library
//!  runtime libraries             a line that starts with white space continues the value
//!                                an empty line ends the stanza
//! ```
//!
//! The reading is that of dpkg's own parser: names in any case, a name once a stanza, white space trimmed
//! around values. A line of nothing but white space continues a value and ends no stanza, as in dpkg, which
//! only warns of it. Read more freely than by dpkg: lines that start with `#` are comments, and in a stanza
//! whose first line ends with a carriage return so may the empty line that ends it. Signatures around a stanza
//! are not read.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::indexing_slicing,
        clippy::unwrap_used
    )
)]

use crate::bytes::size_of_len;
use crate::error::{Error, Result, quoted};
use crate::limits::{Ceiling, Limits};

/// One stanza; it borrows from what was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stanza<'a> {
    /// Where its first field starts, in bytes.
    pub offset: u64,
    /// The line on which that is; the first is 1.
    pub line: u64,
    /// Whether its last line ends with a newline. dpkg refuses a file that stops in the middle of a line.
    pub is_terminated: bool,
    fields: Vec<Field<'a>>,
}

/// One field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    /// Its name as written.
    pub name: &'a [u8],
    /// Its value without white space around it; continued lines as they are.
    pub value: &'a [u8],
}

impl<'a> Stanza<'a> {
    /// The value of a field, its name in any case.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.fields.iter().find(|field| field.name.eq_ignore_ascii_case(name.as_bytes())).map(|f| f.value)
    }

    /// The value of a field as text; bytes that are not UTF-8 become U+FFFD. `None` also if it is empty.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<String> {
        let value = self.get(name).filter(|value| !value.is_empty())?;
        Some(String::from_utf8_lossy(value).into_owned())
    }

    /// All fields in their order.
    #[must_use]
    pub fn fields(&self) -> &[Field<'a>] {
        &self.fields
    }
}

impl<'a> Field<'a> {
    /// The lines of the value without white space around them and without comments.
    pub fn lines(&self) -> impl Iterator<Item = &'a [u8]> {
        self.value.split(|b| *b == b'\n').filter(|line| line.first() != Some(&b'#')).map(<[u8]>::trim_ascii)
    }
}

/// The stanzas of a file, in their order. A stanza with a damaged line, a name twice or more bytes than the
/// limit is an error with its place, and the next stanza follows; after as many stanzas as the limit allows
/// comes one last error.
#[must_use]
pub fn stanzas<'a>(bytes: &'a [u8], limits: &Limits) -> Stanzas<'a> {
    stanzas_from(bytes, 0, 1, limits)
}

/// The stanzas of a part of a file that starts at this byte and line of it, which every place is told from.
#[must_use]
pub fn stanzas_from<'a>(bytes: &'a [u8], offset: u64, line: u64, limits: &Limits) -> Stanzas<'a> {
    Stanzas {
        bytes,
        base: offset,
        at: 0,
        line,
        count: 0,
        record_bytes: limits.record_bytes,
        records: limits.records,
        is_done: false,
    }
}

/// An iterator over stanzas; see [`stanzas`].
#[derive(Debug, Clone)]
pub struct Stanzas<'a> {
    bytes: &'a [u8],
    /// Where `bytes` starts in the file.
    base: u64,
    at: usize,
    line: u64,
    count: u64,
    record_bytes: Ceiling,
    records: Ceiling,
    is_done: bool,
}

/// One line with its place.
#[derive(Clone, Copy)]
struct Line<'a> {
    /// Without its newline.
    text: &'a [u8],
    start: usize,
    /// Where it starts in the file.
    offset: u64,
    number: u64,
    is_terminated: bool,
}

impl Line<'_> {
    /// Whether this line ends the stanza that starts with `first`.
    fn ends(&self, first: &Line<'_>) -> bool {
        self.text.is_empty() || (self.text == b"\r" && first.text.ends_with(b"\r"))
    }

    fn is_comment(&self) -> bool {
        self.text.first() == Some(&b'#')
    }

    fn is_continuation(&self) -> bool {
        self.text.first().is_some_and(|b| is_space(*b))
    }
}

/// White space as C has it.
fn is_space(b: u8) -> bool {
    matches!(b, b' ' | 0x09..=0x0d)
}

fn trim_space(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|b| !is_space(*b)).unwrap_or(text.len());
    let end = text.iter().rposition(|b| !is_space(*b)).map_or(start, |last| last.saturating_add(1));
    text.get(start..end).unwrap_or_default()
}

impl<'a> Stanzas<'a> {
    fn next_line(&mut self) -> Option<Line<'a>> {
        let rest = self.bytes.get(self.at..).filter(|rest| !rest.is_empty())?;
        let (start, number) = (self.at, self.line);
        let newline = memchr::memchr(b'\n', rest);
        let text = rest.get(..newline.unwrap_or(rest.len())).unwrap_or_default();
        self.at = start.saturating_add(text.len()).saturating_add(usize::from(newline.is_some()));
        self.line = number.saturating_add(1);
        let offset = self.base.saturating_add(size_of_len(start));
        Some(Line { text, start, offset, number, is_terminated: newline.is_some() })
    }

    /// Skips empty lines, comments and lines of white space before a stanza.
    fn first_line(&mut self) -> Option<Line<'a>> {
        loop {
            let line = self.next_line()?;
            if !line.is_comment() && !line.text.iter().all(|b| is_space(*b)) {
                return Some(line);
            }
        }
    }

    /// Reads on to the end of the stanza that starts with this line.
    fn stanza(&mut self, first: Line<'a>) -> Result<Stanza<'a>> {
        let mut fields: Vec<Field<'a>> = Vec::new();
        let mut problem = None;
        let mut line = first;
        let mut open: Option<OpenField<'a>> = None;
        loop {
            let is_within = size_of_len(self.at.saturating_sub(first.start)) <= self.record_bytes.max;
            if problem.is_some() || !is_within {
                // The rest is only passed over.
            } else if line.is_continuation() {
                match &mut open {
                    Some(field) => field.end = line.start.saturating_add(line.text.len()),
                    None => problem = Some(damaged(line, "a field before the line that continues it")),
                }
            } else if !line.is_comment() {
                fields.extend(open.take().and_then(|field| field.close(self.bytes)));
                match open_field(line) {
                    Ok(field) => open = Some(field),
                    Err(error) => problem = Some(error),
                }
            }
            match self.next_line() {
                Some(next) if next.ends(&first) => break,
                Some(next) => line = next,
                None => break,
            }
        }
        fields.extend(open.and_then(|field| field.close(self.bytes)));
        self.record_bytes
            .check(size_of_len(self.at.saturating_sub(first.start)))
            .map_err(|e| e.at(format!("line {}", first.number)))?;
        if let Some(problem) = problem {
            return Err(problem);
        }
        if let Some(name) = twice(&fields) {
            return Err(damaged(first, "each field once in the stanza").at(format!("field `{name}`")));
        }
        let is_terminated = line.is_terminated;
        Ok(Stanza { offset: first.offset, line: first.number, is_terminated, fields })
    }
}

impl<'a> Iterator for Stanzas<'a> {
    type Item = Result<Stanza<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_done {
            return None;
        }
        let first = self.first_line()?;
        self.count = self.count.saturating_add(1);
        if let Err(error) = self.records.check(self.count) {
            self.is_done = true;
            return Some(Err(error.at(format!("line {}", first.number))));
        }
        Some(self.stanza(first))
    }
}

/// A field whose last line is not known yet.
struct OpenField<'a> {
    name: &'a [u8],
    start: usize,
    end: usize,
}

impl<'a> OpenField<'a> {
    fn close(self, bytes: &'a [u8]) -> Option<Field<'a>> {
        Some(Field { name: self.name, value: trim_space(bytes.get(self.start..self.end)?) })
    }
}

/// The field that starts on this line.
fn open_field(line: Line<'_>) -> Result<OpenField<'_>> {
    let Some((before, after)) =
        memchr::memchr(b':', line.text).and_then(|colon| line.text.split_at_checked(colon))
    else {
        return Err(damaged(line, "a field name and a colon"));
    };
    let name = trim_space(before);
    if name.is_empty() || name.first() == Some(&b'-') || name.iter().any(|b| is_space(*b)) {
        return Err(damaged(line, "a field name without space and without hyphen at its start"));
    }
    let start = line.start.saturating_add(before.len()).saturating_add(1);
    let end = line.start.saturating_add(before.len()).saturating_add(after.len());
    Ok(OpenField { name, start, end })
}

/// A name that two fields have.
fn twice(fields: &[Field<'_>]) -> Option<String> {
    let mut names: Vec<Vec<u8>> = Vec::new();
    if fields.len() <= 64 {
        let mut rest = fields;
        while let Some((field, others)) = rest.split_first() {
            if others.iter().any(|other| other.name.eq_ignore_ascii_case(field.name)) {
                return Some(String::from_utf8_lossy(field.name).into_owned());
            }
            rest = others;
        }
        return None;
    }
    names.extend(fields.iter().map(|field| field.name.to_ascii_lowercase()));
    names.sort_unstable();
    let pair = names.iter().zip(names.iter().skip(1)).find(|(a, b)| a == b)?;
    Some(String::from_utf8_lossy(pair.0).into_owned())
}

fn damaged(line: Line<'_>, allowed: &str) -> Error {
    Error::malformed("deb822", "line", line.offset, quoted(line.text), allowed)
        .at(format!("line {}", line.number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<std::result::Result<Vec<(String, String)>, String>> {
        stanzas(text.as_bytes(), &Limits::default())
            .map(|stanza| {
                let stanza = stanza.map_err(|error| error.to_string())?;
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                Ok(stanza.fields().iter().map(|f| (text(f.name), text(f.value))).collect())
            })
            .collect()
    }

    fn fields(of: &[(&str, &str)]) -> std::result::Result<Vec<(String, String)>, String> {
        Ok(of.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect())
    }

    #[test]
    fn stanzas_end_at_empty_lines_only() {
        let text = "\n\nA: 1\nB : x\n y\n \n z\t\n\n# a comment\n\nC:\n# inside\n d\nE: 2";
        assert_eq!(
            read(text),
            [fields(&[("A", "1"), ("B", "x\n y\n \n z")]), fields(&[("C", "# inside\n d"), ("E", "2")])]
        );
        let last = stanzas(text.as_bytes(), &Limits::default()).last().unwrap().unwrap();
        assert_eq!((last.offset, last.line, last.is_terminated), (36, 11, false));
        assert_eq!(last.get("c"), Some(b"# inside\n d".as_slice()));
        assert_eq!(last.fields()[0].lines().collect::<Vec<_>>(), [b"d"]);
    }

    #[test]
    fn carriage_returns_do_not_join_stanzas() {
        assert_eq!(read("A: 1\r\n\r\nB: 2\r\n"), [fields(&[("A", "1")]), fields(&[("B", "2")])]);
        assert_eq!(read("A: 1\n\r\nB: 2\n"), [fields(&[("A", "1"), ("B", "2")])]);
    }

    #[test]
    fn a_damaged_stanza_leaves_the_others() {
        for (bad, why) in [
            ("nonsense", "deb822: line at byte 0x6: `nonsense`; allowed: a field name and a colon"),
            ("-A: 1", "deb822: line at byte 0x6: `-A: 1`; allowed: a field name without"),
            (": 1", "deb822: line at byte 0x6: `: 1`; allowed: a field name without"),
            ("two words: 1", "deb822: line at byte 0x6: `two words: 1`; allowed: a field name without"),
            ("x: 1\nX: 2", "field `x`: line 3: deb822: line at byte 0x6"),
        ] {
            let read = read(&format!("A: 1\n\n{bad}\n\nB: 2\n"));
            assert_eq!((&read[0], &read[2]), (&fields(&[("A", "1")]), &fields(&[("B", "2")])), "{bad}");
            assert!(read[1].as_ref().unwrap_err().contains(why), "{bad}: {:?}", read[1]);
        }
        assert!(read(" x: 1\nA: 1\n\nB: 2\n")[0].is_err());
    }

    #[test]
    fn many_fields_are_still_once_each() {
        let mut text: String = (0..100).map(|i| format!("F{i}: x\n")).collect();
        assert!(read(&text)[0].is_ok());
        text.push_str("f7: y\n");
        assert!(read(&text)[0].is_err());
    }

    #[test]
    fn limits_are_told() {
        let mut limits = Limits::default();
        limits.record_bytes.max = 10;
        limits.records.max = 3;
        let read: Vec<_> =
            stanzas(b"A: 1\n\nB: 1234567890\n\nC: 1\n\nD: 1\n\nE: 1\n", &limits).map(|s| s.is_ok()).collect();
        assert_eq!(read, [true, false, true, false]);
    }
}
