//! The text of LVM2 metadata: sections in braces, and keys with a number, a string, or a list of these.
//!
//! ```text
//! vg {
//!     id = "bz2PUu-…"          # comments up to the end of the line
//!     seqno = 3
//!     status = ["READ", "WRITE"]
//!     logical_volumes { … }
//! }
//! ```

use crate::error::{Error, Result};

/// Sections within sections: LVM writes four.
const DEPTH: usize = 16;

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Text(String),
    /// A number; negative ones and those with a point count as 0, none of which is of use here.
    Number(u64),
    List(Vec<Value>),
    Section(Section),
}

impl Value {
    pub(super) fn as_text(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// Keys with their values, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Section(Vec<(String, Value)>);

impl Section {
    fn get(&self, key: &str) -> Option<&Value> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.get(key)?.as_text()
    }

    pub(super) fn number(&self, key: &str) -> Option<u64> {
        match self.get(key)? {
            Value::Number(number) => Some(*number),
            _ => None,
        }
    }

    pub(super) fn section(&self, key: &str) -> Option<&Section> {
        match self.get(key)? {
            Value::Section(section) => Some(section),
            _ => None,
        }
    }

    /// The values of a list; none if there is no such list.
    pub(super) fn list(&self, key: &str) -> impl Iterator<Item = &Value> {
        match self.get(key) {
            Some(Value::List(values)) => values.iter(),
            _ => [].iter(),
        }
    }

    /// All sections in this one, by name.
    pub(super) fn sections(&self) -> impl Iterator<Item = (&str, &Section)> {
        self.0.iter().filter_map(|(name, value)| match value {
            Value::Section(section) => Some((name.as_str(), section)),
            _ => None,
        })
    }
}

/// Parses the text up to its end or the first zero.
pub(super) fn parse(bytes: &[u8]) -> Result<Section> {
    let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    let mut parser = Parser { text, at: 0 };
    parser.section(0)
}

struct Parser<'a> {
    text: &'a [u8],
    at: usize,
}

impl Parser<'_> {
    fn wrong<T>(&self, found: impl Into<String>, allowed: &str) -> Result<T> {
        let at = u64::try_from(self.at).unwrap_or(u64::MAX);
        Err(Error::malformed("LVM2 metadata", "text", at, found, allowed))
    }

    fn peek(&mut self) -> Option<u8> {
        while let Some(byte) = self.text.get(self.at).copied() {
            match byte {
                b'#' => {
                    let rest = self.text.get(self.at..).unwrap_or_default();
                    let len = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
                    self.at = self.at.saturating_add(len);
                }
                b' ' | b'\t' | b'\r' | b'\n' => self.step(),
                _ => return Some(byte),
            }
        }
        None
    }

    fn step(&mut self) {
        self.at = self.at.saturating_add(1);
    }

    fn word(&mut self) -> String {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'+' | b'.');
        let len = rest.iter().position(|byte| !is_part(byte)).unwrap_or(rest.len());
        self.at = self.at.saturating_add(len);
        String::from_utf8_lossy(rest.get(..len).unwrap_or_default()).into_owned()
    }

    fn section(&mut self, depth: usize) -> Result<Section> {
        if depth > DEPTH {
            return self.wrong("a section", "fewer sections within each other");
        }
        let mut all = Section::default();
        loop {
            match self.peek() {
                None if depth == 0 => return Ok(all),
                Some(b'}') if depth > 0 => {
                    self.step();
                    return Ok(all);
                }
                None => return self.wrong("the end", "`}`"),
                Some(_) => {}
            }
            let key = self.word();
            if key.is_empty() {
                return self.wrong("something else", "a key or `}`");
            }
            match self.peek() {
                Some(b'{') => {
                    self.step();
                    let section = self.section(depth.saturating_add(1))?;
                    all.0.push((key, Value::Section(section)));
                }
                Some(b'=') => {
                    self.step();
                    let value = self.value(0)?;
                    all.0.push((key, value));
                }
                _ => return self.wrong("a key alone", "`=` or `{` behind a key"),
            }
        }
    }

    fn value(&mut self, depth: usize) -> Result<Value> {
        match self.peek() {
            Some(b'"') => self.string(),
            Some(b'[') if depth == 0 => {
                self.step();
                let mut values = Vec::new();
                loop {
                    match self.peek() {
                        Some(b']') => {
                            self.step();
                            return Ok(Value::List(values));
                        }
                        Some(b',') => self.step(),
                        Some(_) => values.push(self.value(1)?),
                        None => return self.wrong("the end", "`]`"),
                    }
                }
            }
            Some(byte) if byte.is_ascii_digit() || byte == b'-' => {
                Ok(Value::Number(self.word().parse().unwrap_or(0)))
            }
            _ => self.wrong("something else", "a value"),
        }
    }

    fn string(&mut self) -> Result<Value> {
        self.step();
        let mut bytes = Vec::new();
        loop {
            match self.text.get(self.at).copied() {
                None => return self.wrong("the end", "`\"`"),
                Some(b'"') => {
                    self.step();
                    return Ok(Value::Text(String::from_utf8_lossy(&bytes).into_owned()));
                }
                Some(b'\\') => {
                    self.step();
                    bytes.extend(self.text.get(self.at));
                    self.step();
                }
                Some(byte) => {
                    bytes.push(byte);
                    self.step();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_keys_and_lists_are_read() {
        let root =
            parse(b"vg { # a group\n id = \"a\\\"b\"\n n = 8\n s = [\"x\", 0]\n in { k = 1 } }\nd = \"\"\0x")
                .unwrap();
        let group = root.section("vg").unwrap();
        assert_eq!((group.text("id"), group.number("n")), (Some("a\"b"), Some(8)));
        assert_eq!(group.list("s").collect::<Vec<_>>(), [&Value::Text("x".into()), &Value::Number(0)]);
        assert_eq!(group.section("in").unwrap().number("k"), Some(1));
        for broken in ["a {", "a = [", "a = \"", "a", "= 1", "a = }", &"a { ".repeat(100)] {
            parse(broken.as_bytes()).unwrap_err();
        }
    }
}
