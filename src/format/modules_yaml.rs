//! `modules.yaml` of an rpm repository: its module streams, read document by document
//! (<https://github.com/fedora-modularity/libmodulemd>, modulemd 1 to 3, modulemd-defaults 1,
//! modulemd-obsoletes 1).
//!
//! | document | read of `data` |
//! |---|---|
//! | `modulemd` | `name`, `stream`, `version`, `context`, `arch`, `artifacts.rpms` |
//! | `modulemd-defaults` | `module`, `stream` |
//! | `modulemd-obsoletes` | `module`, `stream`, `context`, `modified`, `eol_date`, `reset`, `message`, `obsoleted_by` |
//! | others (`modulemd-translations`, `modulemd-packager`) | that they are there |
//!
//! Text is taken as written: a stream `3.0` is not the number 3. YAML is read as events with a scanner of YAML
//! 1.2, so nothing is expanded or built that is not kept; aliases, which no modulemd has, are refused, and lists
//! and maps are inside each other `yaml_depth` deep at most. What separates documents may stand nowhere inside
//! of one (YAML 1.2.2, section 9.1.2), so they are cut apart first: no more than one is in memory, which
//! `record_bytes` bounds, and damage in one leaves the others standing.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::indexing_slicing,
        clippy::unwrap_used
    )
)]

use std::io::{BufRead, Read as _};

use super::nevra::{Nevra, number};
use super::updateinfo::date;
use crate::bytes::size_of_len;
use crate::error::{Error, Result, quoted};
use crate::limits::Limits;
use crate::model::Time;

mod yaml;

const FORMAT: &str = "modulemd";

/// So many flaws of one module are told one by one.
const FLAWS: usize = 16;

/// A document of a `modules.yaml`.
#[derive(Debug, Clone)]
pub enum Document {
    /// A build of a module stream.
    Stream(ModuleStream),
    /// Which stream of a module is its default.
    Defaults(ModuleDefaults),
    /// Until when a stream is maintained, and what follows it.
    Obsoletes(ModuleObsoletes),
    /// One of another type, by its name.
    Other(String),
}

/// A build of a module stream.
#[derive(Debug, Clone)]
pub struct ModuleStream {
    /// The module.
    pub name: String,
    /// The stream.
    pub stream: String,
    /// The version: the higher one is newer.
    pub version: Option<u64>,
    /// Which of the builds of the version.
    pub context: Option<String>,
    /// The architecture.
    pub arch: Option<String>,
    /// The packages that are of this build and of no other.
    pub artifacts: Vec<Nevra>,
    /// Artifacts that are no names of packages. The first sixteen.
    pub flaws: Vec<Error>,
    /// How many there are.
    pub flaw_count: u64,
}

/// The default stream of a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleDefaults {
    /// The module.
    pub module: String,
    /// The stream; `None` if it has no default.
    pub stream: Option<String>,
}

/// The end of a module stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleObsoletes {
    /// The module.
    pub module: String,
    /// The stream.
    pub stream: String,
    /// The builds that end; `None` for all.
    pub context: Option<String>,
    /// When this was said: the later word counts.
    pub modified_at: Option<Time>,
    /// Takes back what was said before.
    pub is_reset: bool,
    /// When maintenance ends.
    pub ends_at: Option<Time>,
    /// Why.
    pub message: Option<String>,
    /// Module and stream that follow.
    pub obsoleted_by: Option<(String, String)>,
}

/// Hands over the documents, in the order of the file; a damaged one as the error that says which it is and
/// what is wrong with it. Gives their number.
///
/// # Errors
/// `Limit` above `records` or `record_bytes`; what `take` and the stream give.
pub fn read(
    stream: &mut dyn BufRead,
    limits: &Limits,
    take: &mut dyn FnMut(Result<Document>) -> Result<()>,
) -> Result<u64> {
    let (mut text, mut count) = (Vec::new(), 0_u64);
    let (mut has_marker, mut has_content) = (false, false);
    let (mut line, mut first_line) = (0_u64, 1_u64);
    loop {
        let start = text.len();
        let left = limits.record_bytes.max.saturating_add(1).saturating_sub(size_of_len(start));
        (&mut *stream).take(left).read_until(b'\n', &mut text)?;
        limits.record_bytes.check(size_of_len(text.len()))?;
        let own = text.get(start..).unwrap_or_default();
        let is_end_of_file = own.is_empty();
        let begins = is_marker(own, b"---");
        let ends = is_marker(own, b"...");
        // A bare marker is no document yet.
        let is_content = if begins { !is_blank_behind(own) } else { !ends && !is_blank(own) };
        line = line.saturating_add(1);
        // What was read belongs to the document before this line, and with the line `...` ends.
        let before = if ends { text.len() } else { start };
        if (is_end_of_file || begins || ends) && has_content {
            count = count.saturating_add(1);
            limits.records.check(count)?;
            let place = format!("document {count}");
            let document = text.get(..before).unwrap_or_default();
            take(decode(document, first_line, limits).map_err(|error| error.at(place)))?;
        }
        if is_end_of_file {
            return Ok(count);
        }
        if ends || begins && (has_content || has_marker) {
            text.drain(..before);
            first_line = if ends { line.saturating_add(1) } else { line };
            (has_marker, has_content) = (false, false);
        }
        has_marker |= begins;
        has_content |= is_content;
    }
}

/// Whether a line is a marker of documents: its three signs, and white space or nothing behind.
fn is_marker(line: &[u8], marker: &[u8]) -> bool {
    line.strip_prefix(marker)
        .is_some_and(|rest| rest.first().is_none_or(|b| matches!(b, b' ' | b'\t' | b'\r' | b'\n')))
}

/// Blank lines, comments and directives are no content.
fn is_blank(line: &[u8]) -> bool {
    let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line).trim_ascii();
    matches!(line.first(), None | Some(b'#' | b'%'))
}

fn is_blank_behind(line: &[u8]) -> bool {
    line.get(3..).is_none_or(is_blank)
}

/// What modulemd says, before it is known of what type it is.
#[derive(Default)]
struct Draft {
    document: Option<String>,
    name: Option<String>,
    module: Option<String>,
    stream: Option<String>,
    version: Option<String>,
    context: Option<String>,
    arch: Option<String>,
    modified: Option<String>,
    eol_date: Option<String>,
    reset: Option<String>,
    message: Option<String>,
    by_module: Option<String>,
    by_stream: Option<String>,
    artifacts: Vec<Nevra>,
    flaws: Vec<Error>,
    flaw_count: u64,
}

impl Draft {
    fn take(&mut self, path: &[&str], value: &str) -> Result<()> {
        let slot = match path {
            ["document"] => &mut self.document,
            ["data", "name"] => &mut self.name,
            ["data", "module"] => &mut self.module,
            ["data", "stream"] => &mut self.stream,
            ["data", "version"] => &mut self.version,
            ["data", "context"] => &mut self.context,
            ["data", "arch"] => &mut self.arch,
            ["data", "modified"] => &mut self.modified,
            ["data", "eol_date"] => &mut self.eol_date,
            ["data", "reset"] => &mut self.reset,
            ["data", "message"] => &mut self.message,
            ["data", "obsoleted_by", "module"] => &mut self.by_module,
            ["data", "obsoleted_by", "stream"] => &mut self.by_stream,
            ["data", "artifacts", "rpms", yaml::ITEM] => {
                match Nevra::of(value) {
                    Some(nevra) => self.artifacts.push(nevra),
                    None => self.flaw(value),
                }
                return Ok(());
            }
            _ => return Ok(()),
        };
        if slot.as_deref().is_some_and(|known| known != value) {
            return Err(flaw("field", format!("{} twice", quoted(path.join("."))), "each field once"));
        }
        if !value.is_empty() {
            *slot = Some(value.to_owned());
        }
        Ok(())
    }

    fn flaw(&mut self, value: &str) {
        self.flaw_count = self.flaw_count.saturating_add(1);
        if self.flaws.len() < FLAWS {
            let allowed = "name-epoch:version-release.arch";
            self.flaws.push(flaw("artifacts.rpms", quoted(value), allowed));
        }
    }

    fn finish(self) -> Result<Document> {
        match self.document.as_deref() {
            Some("modulemd") => self.stream(),
            Some("modulemd-defaults") => {
                let module = needed("data.module", self.module)?;
                Ok(Document::Defaults(ModuleDefaults { module, stream: self.stream }))
            }
            Some("modulemd-obsoletes") => self.obsoletes(),
            Some(other) => Ok(Document::Other(other.to_owned())),
            None => Err(flaw("document", "none", "the type of the document")),
        }
    }

    fn stream(self) -> Result<Document> {
        let version = match self.version {
            Some(text) => Some(
                number(&text).ok_or_else(|| flaw("data.version", quoted(&text), "a number of 64 bits"))?,
            ),
            None => None,
        };
        Ok(Document::Stream(ModuleStream {
            name: needed("data.name", self.name)?,
            stream: needed("data.stream", self.stream)?,
            version,
            context: self.context,
            arch: self.arch,
            artifacts: self.artifacts,
            flaws: self.flaws,
            flaw_count: self.flaw_count,
        }))
    }

    fn obsoletes(self) -> Result<Document> {
        let time = |field, text: Option<String>| match text {
            None => Ok(None),
            Some(text) => date::read(&text)
                .map(Some)
                .ok_or_else(|| flaw(field, quoted(&text), "a date as 2020-05-23T00:00Z")),
        };
        let is_reset = match self.reset.as_deref() {
            None => false,
            Some(word) if word.eq_ignore_ascii_case("true") => true,
            Some(word) if word.eq_ignore_ascii_case("false") => false,
            Some(word) => return Err(flaw("data.reset", quoted(word), "true or false")),
        };
        Ok(Document::Obsoletes(ModuleObsoletes {
            module: needed("data.module", self.module)?,
            stream: needed("data.stream", self.stream)?,
            context: self.context,
            modified_at: time("data.modified", self.modified)?,
            is_reset,
            ends_at: time("data.eol_date", self.eol_date)?,
            message: self.message,
            obsoleted_by: self.by_module.zip(self.by_stream),
        }))
    }
}

fn needed(field: &'static str, value: Option<String>) -> Result<String> {
    value.ok_or_else(|| flaw(field, "none", "one"))
}

fn flaw(field: &'static str, found: impl Into<String>, allowed: &str) -> Error {
    Error::malformed(FORMAT, field, None, found, allowed)
}

/// Decodes one document, whose first line in the file this is.
fn decode(bytes: &[u8], first_line: u64, limits: &Limits) -> Result<Document> {
    let place = format!("line {first_line}");
    let text = std::str::from_utf8(bytes)
        .map_err(|_| flaw("text", "bytes that are no UTF-8", "UTF-8").at(place.clone()))?;
    let mut draft = Draft::default();
    yaml::walk(FORMAT, text, first_line, limits, &mut |path, value| draft.take(path, value))?;
    draft.finish().map_err(|error| error.at(place))
}

#[cfg(test)]
mod tests;
