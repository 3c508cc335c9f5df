//! The one error of the crate: what a caller can act on, and where it happened.
//!
//! An error prints as `<place, outermost first>: <what>: <found> against <allowed>`, offsets in hex:
//! `web.tar: layer 2: var/lib/dpkg/status: dpkg status: version at byte 0x1f0: …`.

use std::fmt;
use std::io;

/// The crate's result.
pub type Result<T> = std::result::Result<T, Error>;

/// An error with its kind, its places (a chain from the image down to the structure) and, where there is
/// something to be done about it, a hint.
pub struct Error(Box<Inner>);

struct Inner {
    kind: Kind,
    /// Innermost first, because errors collect their places on the way up.
    places: Vec<String>,
    hint: Option<String>,
}

/// What a caller can act on.
#[derive(Debug)]
pub enum Kind {
    /// The host's file system or a pipe failed.
    Io(io::Error),
    /// Bytes that are not what their format demands.
    Malformed(Malformed),
    /// Well-formed, recognised, and not read by this version.
    Unsupported(String),
    /// A named ceiling was passed.
    Limit {
        /// The ceiling's name, as `--limit` takes it.
        name: &'static str,
        /// What was found.
        found: u64,
        /// The ceiling.
        allowed: u64,
        /// The unit of both.
        unit: &'static str,
    },
    /// Something that was named is not there.
    NotFound(String),
    /// What the user asked for or configured cannot be done.
    Config(String),
}

/// Bytes that break their format's rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// The format, for instance `tar header`.
    pub format: &'static str,
    /// The field within it.
    pub field: &'static str,
    /// Byte offset in the decoded file, where it is known.
    pub offset: Option<u64>,
    /// What was found.
    pub found: String,
    /// What the format allows.
    pub allowed: String,
}

impl Error {
    /// An error of this kind, without places.
    #[must_use]
    pub fn new(kind: Kind) -> Self {
        Error(Box::new(Inner { kind, places: Vec::new(), hint: None }))
    }

    /// Bytes that break a format's rules.
    pub fn malformed(
        format: &'static str,
        field: &'static str,
        offset: impl Into<Option<u64>>,
        found: impl Into<String>,
        allowed: impl Into<String>,
    ) -> Self {
        Error::new(Kind::Malformed(Malformed {
            format,
            field,
            offset: offset.into(),
            found: found.into(),
            allowed: allowed.into(),
        }))
    }

    /// Recognised, and not read by this version.
    pub fn unsupported(what: impl Into<String>) -> Self {
        Error::new(Kind::Unsupported(what.into()))
    }

    /// Something that was named is not there.
    pub fn not_found(what: impl Into<String>) -> Self {
        Error::new(Kind::NotFound(what.into()))
    }

    /// What the user asked for or configured cannot be done.
    pub fn config(what: impl Into<String>) -> Self {
        Error::new(Kind::Config(what.into()))
    }

    /// Adds an outer place.
    #[must_use]
    pub fn at(mut self, place: impl Into<String>) -> Self {
        self.0.places.push(place.into());
        self
    }

    /// Says what to do next; the innermost hint stays.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint.get_or_insert_with(|| hint.into());
        self
    }

    /// Whether another run could end otherwise on the same bytes: the host failed, or a limit was passed.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(self.0.kind, Kind::Io(_) | Kind::Limit { .. })
    }

    /// The kind.
    #[must_use]
    pub fn kind(&self) -> &Kind {
        &self.0.kind
    }

    /// What to do next, if there is something.
    #[must_use]
    pub fn hint_text(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// The places, outermost first, joined by `: `; empty if none was added.
    #[must_use]
    pub fn place(&self) -> String {
        self.0.places.iter().rev().map(String::as_str).collect::<Vec<_>>().join(": ")
    }

    /// The message without its places.
    #[must_use]
    pub fn reason(&self) -> String {
        match &self.0.kind {
            Kind::Io(error) => error.to_string(),
            Kind::Malformed(m) => {
                let at = m.offset.map(|o| format!(" at byte {o:#x}")).unwrap_or_default();
                format!("{}: {}{at}: {}; allowed: {}", m.format, m.field, m.found, m.allowed)
            }
            Kind::Unsupported(what) => format!("not read by this version: {what}"),
            Kind::Limit { name, found, allowed, unit } => {
                format!("limit `{name}` passed: {found} against {allowed} {unit}")
            }
            Kind::NotFound(what) => format!("not found: {what}"),
            Kind::Config(what) => what.clone(),
        }
    }

    /// As `io::Error`, to pass through code that speaks `Read`; [`Error::from`] gets it back whole.
    #[must_use]
    pub fn into_io(self) -> io::Error {
        io::Error::other(self)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for place in self.0.places.iter().rev() {
            write!(f, "{place}: ")?;
        }
        f.write_str(&self.reason())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.0.kind {
            Kind::Io(error) => Some(error),
            _ => None,
        }
    }
}

impl Clone for Error {
    /// An I/O error keeps its code or, where it has none, its kind and text.
    fn clone(&self) -> Self {
        let kind = match &self.0.kind {
            Kind::Io(error) => Kind::Io(match error.raw_os_error() {
                Some(code) => io::Error::from_raw_os_error(code),
                None => io::Error::new(error.kind(), error.to_string()),
            }),
            Kind::Malformed(malformed) => Kind::Malformed(malformed.clone()),
            Kind::Unsupported(what) => Kind::Unsupported(what.clone()),
            Kind::Limit { name, found, allowed, unit } => {
                Kind::Limit { name, found: *found, allowed: *allowed, unit }
            }
            Kind::NotFound(what) => Kind::NotFound(what.clone()),
            Kind::Config(what) => Kind::Config(what.clone()),
        };
        Error(Box::new(Inner { kind, places: self.0.places.clone(), hint: self.0.hint.clone() }))
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        match error.downcast::<Error>() {
            Ok(ours) => ours,
            Err(error) => Error::new(Kind::Io(error)),
        }
    }
}

/// What was found, for a message: in backticks, cut after 64 bytes, control characters escaped and bytes that
/// are not UTF-8 as U+FFFD.
#[must_use]
pub fn quoted(found: impl AsRef<[u8]>) -> String {
    let found = found.as_ref();
    let (shown, more) = match found.split_at_checked(64) {
        Some((head, rest)) if !rest.is_empty() => (head, "…"),
        _ => (found, ""),
    };
    let mut out = String::from("`");
    for c in String::from_utf8_lossy(shown).chars() {
        if c.is_control() { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out.push_str(more);
    out.push('`');
    out
}

/// Adds places and hints to results.
pub trait ResultExt<T> {
    /// Adds an outer place to the error, if it is one.
    ///
    /// # Errors
    /// The same error, with the place.
    fn at(self, place: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<Error>> ResultExt<T> for std::result::Result<T, E> {
    fn at(self, place: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| error.into().at(place()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_is_quoted_printable_and_short() {
        assert_eq!(quoted("a \"b\"\n\u{1b}ä"), "`a \"b\"\\n\\u{1b}ä`");
        assert_eq!(quoted([b'x'; 64]), format!("`{}`", "x".repeat(64)));
        assert_eq!(quoted([b'x'; 65]), format!("`{}…`", "x".repeat(64)));
    }

    #[test]
    fn places_print_outermost_first_and_survive_io() {
        let error = Error::malformed("tar header", "checksum", 0x200, "12", "the sum 13")
            .at("layer 2")
            .at("web.tar")
            .hint("fetch the image again");
        assert_eq!(
            error.to_string(),
            "web.tar: layer 2: tar header: checksum at byte 0x200: 12; allowed: the sum 13"
        );
        let back = Error::from(error.into_io());
        assert_eq!(back.place(), "web.tar: layer 2");
        assert_eq!(back.hint_text(), Some("fetch the image again"));
    }
}
