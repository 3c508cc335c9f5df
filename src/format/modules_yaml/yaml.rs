//! The scalars of a YAML document and the keys above them (YAML 1.2.2).
//!
//! Nothing is built: a document is as deep as its `yaml_depth` and holds what its text holds. Aliases are
//! refused, since they are what makes small documents large; so are keys that are no scalars.
//!
//! libyaml before 0.2.3 wrote the closing quote of a text that ends with a line break into the first column,
//! where YAML has none, and reads it there to this day. Many a `modules.yaml` has it, so it is taken for one
//! that is indented.
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

use saphyr_parser::{Event, Parser, ScalarStyle};

use crate::bytes::size_of_len;
use crate::error::{Error, Result};
use crate::limits::Limits;

/// What stands in a path for a place in a list.
pub(super) const ITEM: &str = "[]";

/// Further right than anything is indented that has a quote in the first column.
const QUOTE_COLUMN: usize = 200;

/// A map, with the key whose value comes next, or a list.
enum Frame {
    Map(Option<String>),
    List,
}

/// Hands over the scalar values of the one document in a text, each with the keys above it, in order; nothing
/// (`~`, `null` or no text) as empty text.
///
/// # Errors
/// `Malformed` for what is no YAML, for a second document, an alias or a key that is none, with its line;
/// `Limit` above `yaml_depth`; what `take` gives.
pub(super) fn walk(
    format: &'static str,
    text: &str,
    first_line: u64,
    limits: &Limits,
    take: &mut dyn FnMut(&[&str], &str) -> Result<()>,
) -> Result<()> {
    let line =
        |line: usize| format!("line {}", first_line.saturating_add(size_of_len(line)).saturating_sub(1));
    let mut stack: Vec<Frame> = Vec::new();
    let mut documents = 0_u32;
    let text = with_indented_quotes(text);
    for event in Parser::new_from_str(&text) {
        let (event, span) = event.map_err(|error| {
            Error::malformed(format, "YAML", None, error.info(), "well-formed YAML")
                .at(line(error.marker().line()))
        })?;
        let refuse = |found: &str, allowed: &str| {
            Err(Error::malformed(format, "YAML", None, found, allowed).at(line(span.start.line())))
        };
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
            Event::DocumentStart(_) => {
                documents = documents.saturating_add(1);
                if documents > 1 {
                    return refuse("a second document", "one");
                }
            }
            Event::Alias(_) => return refuse("an alias", "everything in its place"),
            Event::Scalar(value, style, ..) => {
                let is_null =
                    style == ScalarStyle::Plain && matches!(&*value, "~" | "null" | "Null" | "NULL");
                match stack.last_mut() {
                    Some(Frame::Map(key @ None)) => *key = Some(value.into_owned()),
                    _ => {
                        let path: Vec<&str> = stack.iter().map(part).collect();
                        take(&path, if is_null { "" } else { &value })?;
                        value_ends(&mut stack);
                    }
                }
            }
            Event::SequenceStart(..) | Event::MappingStart(..) => {
                if matches!(stack.last(), Some(Frame::Map(None))) {
                    return refuse("a list or map as a key", "text");
                }
                let is_list = matches!(event, Event::SequenceStart(..));
                stack.push(if is_list { Frame::List } else { Frame::Map(None) });
                limits.yaml_depth.check(size_of_len(stack.len()))?;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                stack.pop();
                value_ends(&mut stack);
            }
        }
    }
    Ok(())
}

/// Puts closing quotes that are alone in the first column further right; white space before them is no text.
fn with_indented_quotes(text: &str) -> Cow<'_, str> {
    if memchr::memmem::find(text.as_bytes(), b"\n'").is_none() {
        return Cow::Borrowed(text);
    }
    let mut all = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        if line.trim_ascii_end() == "'" {
            all.push_str(&" ".repeat(QUOTE_COLUMN));
        }
        all.push_str(line);
    }
    Cow::Owned(all)
}

fn part(frame: &Frame) -> &str {
    match frame {
        Frame::Map(key) => key.as_deref().unwrap_or_default(),
        Frame::List => ITEM,
    }
}

fn value_ends(stack: &mut [Frame]) {
    if let Some(Frame::Map(key)) = stack.last_mut() {
        *key = None;
    }
}
