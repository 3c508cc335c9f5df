//! XML as a stream of elements, for the decoders beside it (XML 1.0 and Namespaces in XML 1.0).
//!
//! A decoder goes down by level: [`Xml::root`] enters level 1, [`Xml::child`] gives the next element right below
//! the one that is open at a level and passes over all that is deeper, [`Xml::text`] gives the text of the one
//! just entered. So order does not matter and what is unknown is passed over, wherever it stands and whatever
//! it holds.
//!
//! An element counts if it is in the root's namespace, in one of those that the format knows, or in none; all
//! others are passed over. Read: elements, attributes, text, CDATA, character references and the five
//! predefined entities. Not read: entities that a DTD declares, which are errors where text is read, and any
//! encoding but UTF-8.
//!
//! In memory is one tag or text at a time, which `record_bytes` bounds, and the names of the elements that are
//! open, whose number `xml_depth` bounds.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::indexing_slicing,
        clippy::unwrap_used
    )
)]

use std::borrow::Cow;
use std::io::{self, BufRead, Read};

use quick_xml::XmlVersion;
use quick_xml::events::{BytesStart, Event};
use quick_xml::name::{NamespaceResolver, QName, ResolveResult};

use crate::bytes::size_of_len;
use crate::error::{Error, Result, quoted};
use crate::limits::{Ceiling, Limits};

/// So many attributes of one tag are looked through.
const ATTRIBUTES: usize = 64;

/// What a format is called, and which of its names are its own.
pub(super) struct Dialect {
    /// For messages.
    pub(super) format: &'static str,
    /// The local name of the root.
    pub(super) root: &'static str,
    /// Namespaces that count whatever that of the root is.
    pub(super) namespaces: &'static [&'static str],
    /// Prefixes that count even if nobody declares them.
    pub(super) prefixes: &'static [&'static str],
}

/// A stream of elements.
pub(super) struct Xml<'s> {
    dialect: &'static Dialect,
    reader: quick_xml::Reader<Fuse<'s>>,
    /// The last event; of a start tag all of it.
    buffer: Vec<u8>,
    /// Of the last start tag: how long it is between its angle brackets, and its name.
    tag_len: usize,
    name_len: usize,
    /// Where the current record starts.
    record: u64,
    record_bytes: Ceiling,
    /// Elements that are open.
    depth: u64,
    depths: Ceiling,
    /// Of the elements that were entered, level by level.
    resolver: NamespaceResolver,
    root_namespace: Option<String>,
}

/// A start tag.
pub(super) struct Tag<'b> {
    format: &'static str,
    /// Where it ends in the document.
    pub(super) offset: u64,
    start: BytesStart<'b>,
}

impl Tag<'_> {
    /// Its name without prefix.
    pub(super) fn name(&self) -> &str {
        self.start.name().local_name().into_inner()
    }

    /// Hands over the attributes without prefix.
    ///
    /// # Errors
    /// `Malformed` for attributes that are no XML, come twice, or are too many; what `take` gives.
    pub(super) fn attributes(&self, take: &mut dyn FnMut(&str, Cow<'_, str>) -> Result<()>) -> Result<()> {
        let wrong = |found: String, allowed: &str| {
            Error::malformed(self.format, "attribute", self.offset, found, allowed)
                .at(format!("element {}", quoted(self.start.name().0)))
        };
        for (count, attribute) in self.start.attributes().enumerate() {
            if count >= ATTRIBUTES {
                return Err(wrong(format!("more than {ATTRIBUTES}"), "those of the format"));
            }
            let attribute = attribute.map_err(|error| wrong(error.to_string(), "XML"))?;
            let value = attribute
                .normalized_value(XmlVersion::Explicit1_0)
                .map_err(|error| wrong(error.to_string(), "XML"))?;
            take(attribute.key.0, value)?;
        }
        Ok(())
    }

    /// The value of one attribute.
    ///
    /// # Errors
    /// As [`Tag::attributes`] says.
    pub(super) fn attribute(&self, name: &str) -> Result<Option<String>> {
        let mut found = None;
        self.attributes(&mut |own, value| {
            if own == name {
                found = Some(value.into_owned());
            }
            Ok(())
        })?;
        Ok(found)
    }
}

impl<'s> Xml<'s> {
    /// Starts to read; nothing is read yet.
    pub(super) fn new(dialect: &'static Dialect, stream: &'s mut dyn BufRead, limits: &Limits) -> Self {
        let fuse = Fuse { stream, left: 0, ceiling: limits.record_bytes };
        let mut reader = quick_xml::Reader::from_reader(fuse);
        let config = reader.config_mut();
        config.expand_empty_elements = true;
        config.check_end_names = true;
        Xml {
            dialect,
            reader,
            buffer: Vec::new(),
            tag_len: 0,
            name_len: 0,
            record: 0,
            record_bytes: limits.record_bytes,
            depth: 0,
            depths: limits.xml_depth,
            resolver: NamespaceResolver::default(),
            root_namespace: None,
        }
    }

    /// Bytes read so far.
    pub(super) fn offset(&self) -> u64 {
        self.reader.buffer_position()
    }

    /// Damage at the place reached.
    pub(super) fn flaw(&self, field: &'static str, found: impl Into<String>, allowed: &str) -> Error {
        Error::malformed(self.dialect.format, field, self.offset(), found, allowed)
    }

    /// Starts a record: all of it together has `record_bytes` at most. The root outside of records, too.
    pub(super) fn begin_record(&mut self) {
        self.record = self.offset();
    }

    /// Enters the root.
    ///
    /// # Errors
    /// `Malformed` if there is none, or one of another name; otherwise as [`Xml::child`] says.
    pub(super) fn root(&mut self) -> Result<Tag<'_>> {
        loop {
            match self.step(None)? {
                Step::Start => break,
                Step::Other => {}
                Step::Eof => return Err(self.no_root("no element".into())),
                _ => return Err(self.no_root("text before the first element".into())),
            }
        }
        let start = start_in(&self.buffer, self.tag_len, self.name_len);
        let name = start.name().local_name().into_inner();
        if name != self.dialect.root {
            return Err(self.no_root(format!("element {}", quoted(name))));
        }
        if let Err(found) = enter(&mut self.resolver, 0, &start) {
            return Err(self.flaw("namespace", found, "XML"));
        }
        self.root_namespace = match self.resolver.resolve_element(start.name()) {
            (ResolveResult::Bound(namespace), _) => Some(namespace.0.to_owned()),
            _ => None,
        };
        Ok(self.tag())
    }

    fn no_root(&self, found: String) -> Error {
        self.flaw("root", found, &format!("`{}`", self.dialect.root))
            .hint("the file is cut off or holds something else, perhaps a message of a server")
    }

    /// The next element that counts right below the one that is open at this level; `None` when that one ends.
    ///
    /// # Errors
    /// `Malformed` for what is no XML, `Limit` above a ceiling, `Unsupported` for another encoding; what the
    /// stream gives.
    pub(super) fn child(&mut self, level: u64) -> Result<Option<Tag<'_>>> {
        let inner = level.saturating_add(1);
        loop {
            match self.step(None)? {
                Step::Start if self.depth == inner => {
                    let start = start_in(&self.buffer, self.tag_len, self.name_len);
                    if let Err(found) = enter(&mut self.resolver, level, &start) {
                        return Err(self.flaw("namespace", found, "XML"));
                    }
                    if self.counts(start.name()) {
                        return Ok(Some(self.tag()));
                    }
                }
                Step::End if self.depth < level => return Ok(None),
                Step::Eof => return Err(self.cut_off()),
                _ => {}
            }
        }
    }

    fn counts(&self, name: QName<'_>) -> bool {
        match self.resolver.resolve_element(name) {
            (ResolveResult::Unbound, _) => true,
            (ResolveResult::Bound(namespace), _) => {
                self.root_namespace.as_deref() == Some(namespace.0)
                    || self.dialect.namespaces.contains(&namespace.0)
            }
            (ResolveResult::Unknown(prefix), _) => self.dialect.prefixes.contains(&prefix.as_str()),
        }
    }

    /// The last start tag.
    fn tag(&self) -> Tag<'_> {
        let start = start_in(&self.buffer, self.tag_len, self.name_len);
        Tag { format: self.dialect.format, offset: self.offset(), start }
    }

    /// The text of the element that was just entered, without that of elements inside of it and without white
    /// space around it; reads to its end.
    ///
    /// # Errors
    /// As [`Xml::child`] says, `Malformed` for an unknown entity too, `Limit` for more than `record_bytes`.
    pub(super) fn text(&mut self) -> Result<String> {
        let level = self.depth;
        let mut text = String::new();
        // A record is bounded, and so is its text.
        loop {
            let into = if self.depth == level { Some(&mut text) } else { None };
            match self.step(into)? {
                Step::End if self.depth < level => break,
                Step::Eof => return Err(self.cut_off()),
                _ => {}
            }
        }
        let trimmed = text.trim_ascii();
        if trimmed.len() == text.len() { Ok(text) } else { Ok(trimmed.to_owned()) }
    }

    /// Reads behind the root, whose end was read.
    ///
    /// # Errors
    /// `Malformed` if anything but white space and comments is there.
    pub(super) fn finish(&mut self) -> Result<()> {
        loop {
            match self.step(None)? {
                Step::Eof => return Ok(()),
                Step::Other => {}
                _ => return Err(self.flaw("end", "more behind the root", "one root")),
            }
        }
    }

    fn cut_off(&self) -> Error {
        let found = format!("the end of the file inside of {} elements", self.depth);
        self.flaw("end", found, &format!("`</{}>`", self.dialect.root))
            .hint("the file is cut off; fetch it again")
    }

    /// The next event; a start tag is left in the buffer, text goes where it is wanted.
    fn step(&mut self, into: Option<&mut String>) -> Result<Step> {
        self.buffer.clear();
        let format = self.dialect.format;
        let at = self.reader.buffer_position();
        self.record_bytes.check(at.saturating_sub(self.record))?;
        self.reader.get_mut().left = self.record_bytes.max.max(1);
        let event = match self.reader.read_event_into(&mut self.buffer) {
            Ok(event) => event,
            Err(quick_xml::Error::Io(error)) => return Err(of_stream(&error)),
            Err(error) => {
                return Err(Error::malformed(format, "XML", at, error.to_string(), "well-formed XML"));
            }
        };
        Ok(match event {
            Event::Start(start) | Event::Empty(start) => {
                self.depth = self.depth.saturating_add(1);
                self.depths.check(self.depth)?;
                (self.tag_len, self.name_len) = (start.len(), start.name().0.len());
                Step::Start
            }
            Event::End(_) => {
                self.depth = self.depth.saturating_sub(1);
                Step::End
            }
            Event::Text(text) => {
                if let Some(into) = into {
                    into.push_str(&text.xml10_content());
                }
                if text.trim_ascii().is_empty() { Step::Other } else { Step::Text }
            }
            Event::CData(data) => {
                if let Some(into) = into {
                    into.push_str(&data.xml10_content());
                }
                Step::Text
            }
            Event::GeneralRef(name) => {
                if let Some(into) = into {
                    let Some(character) = character(&name) else {
                        let found = quoted(format!("&{};", &*name));
                        return Err(Error::malformed(
                            format,
                            "entity",
                            at,
                            found,
                            "a character, or one of XML's five",
                        ));
                    };
                    into.push(character);
                }
                Step::Text
            }
            Event::Decl(declaration) => {
                if let Some(Ok(encoding)) = declaration.encoding()
                    && !["utf-8", "utf8", "us-ascii", "ascii"]
                        .iter()
                        .any(|own| encoding.eq_ignore_ascii_case(own))
                {
                    return Err(Error::unsupported(format!(
                        "{format} in the encoding {}",
                        quoted(&*encoding)
                    )));
                }
                Step::Other
            }
            Event::Comment(_) | Event::PI(_) | Event::DocType(_) => Step::Other,
            Event::Eof => Step::Eof,
        })
    }
}

/// What was read; the level is that behind it.
enum Step {
    Start,
    End,
    /// Text that is more than white space, and references.
    Text,
    /// White space, comments, instructions.
    Other,
    Eof,
}

/// The start tag that fills the buffer. What was read as one is UTF-8.
fn start_in(buffer: &[u8], tag_len: usize, name_len: usize) -> BytesStart<'_> {
    let content = buffer.get(1..).and_then(|rest| rest.get(..tag_len)).unwrap_or_default();
    let content = std::str::from_utf8(content).unwrap_or_default();
    BytesStart::from_content(content, name_len.min(content.len()))
}

/// Declares the namespaces of an element below those of this level.
fn enter(
    resolver: &mut NamespaceResolver,
    level: u64,
    start: &BytesStart<'_>,
) -> std::result::Result<(), String> {
    let level = u16::try_from(level).map_err(|_| "too many levels".to_owned())?;
    resolver.set_level(level);
    resolver.push(start).map_err(|error| error.to_string())
}

/// The character of a reference.
fn character(name: &str) -> Option<char> {
    if let Some(digits) = name.strip_prefix('#') {
        let code = match digits.strip_prefix('x') {
            Some(hex) if hex.bytes().all(|b| b.is_ascii_hexdigit()) => u32::from_str_radix(hex, 16),
            None if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse(),
            _ => return None,
        };
        return char::from_u32(code.ok()?).filter(|c| *c != '\0');
    }
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => None,
    }
}

/// An error of the stream, which the reader shares.
fn of_stream(error: &io::Error) -> Error {
    if let Some(ours) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        return ours.clone();
    }
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code).into(),
        None => io::Error::new(error.kind(), error.to_string()).into(),
    }
}

/// A stream that gives no more for one event than may be in memory.
struct Fuse<'s> {
    stream: &'s mut dyn BufRead,
    left: u64,
    ceiling: Ceiling,
}

impl Read for Fuse<'_> {
    fn read(&mut self, dst: &mut [u8]) -> io::Result<usize> {
        let len = self.fill_buf()?.read(dst)?;
        self.consume(len);
        Ok(len)
    }
}

impl BufRead for Fuse<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.left == 0 {
            return Err(self.ceiling.passed(self.ceiling.max.saturating_add(1)).into_io());
        }
        let here = self.stream.fill_buf()?;
        let most = usize::try_from(self.left).unwrap_or(usize::MAX);
        Ok(here.get(..most).unwrap_or(here))
    }

    fn consume(&mut self, len: usize) {
        self.stream.consume(len);
        self.left = self.left.saturating_sub(size_of_len(len));
    }
}
