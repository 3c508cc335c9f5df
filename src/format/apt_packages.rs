//! `Packages` of an apt repository: one stanza a package, read as a stream
//! (<https://wiki.debian.org/DebianRepository/Format>, `Packages` indices).
//!
//! Read: what [`dpkg::control`] reads of a stanza, and `Phased-Update-Percentage`. A stanza without version or
//! architecture is an error, as in apt. Not read: where the package lies, its digests, descriptions.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::indexing_slicing,
        clippy::unwrap_used
    )
)]

use std::io::{BufRead, ErrorKind};

use memchr::memmem;

use super::deb822::{self, Stanza};
use super::dpkg::{self, Record};
use crate::bytes::size_of_len;
use crate::error::{Error, Result, quoted};
use crate::limits::Limits;

/// A package of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Indexed {
    /// The package.
    pub record: Record,
    /// So many of a hundred machines are offered it.
    pub phased_percent: Option<u8>,
}

/// Hands over the packages of an index, in its order; gives their number. No more than one stanza and what the
/// stream has at hand is in memory.
///
/// # Errors
/// `Malformed` for the first damaged stanza, with line and package; `Limit` for more than `records` stanzas or
/// one of more than `record_bytes`; what `take` and the stream give.
pub fn read(
    stream: &mut dyn BufRead,
    limits: &Limits,
    take: &mut dyn FnMut(Indexed) -> Result<()>,
) -> Result<u64> {
    let mut reader = Reader { limits, pending: Vec::new(), offset: 0, line: 1, count: 0 };
    loop {
        let here = match stream.fill_buf() {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            here => here?,
        };
        let len = here.len();
        if len == 0 {
            reader.stanzas(reader.pending.len(), take)?;
            return Ok(reader.count);
        }
        // A boundary may lie across the two.
        let from = reader.pending.len().saturating_sub(1);
        reader.pending.extend_from_slice(here);
        stream.consume(len);
        let fresh = reader.pending.get(from..).unwrap_or_default();
        match memmem::rfind(fresh, b"\n\n") {
            Some(at) => reader.stanzas(from.saturating_add(at).saturating_add(2), take)?,
            // deb822 would say it too, but only once all is in memory.
            None => drop(limits.record_bytes.check(size_of_len(reader.pending.len()))?),
        }
    }
}

struct Reader<'l> {
    limits: &'l Limits,
    /// What was read and not decoded yet.
    pending: Vec<u8>,
    /// Where that starts.
    offset: u64,
    line: u64,
    count: u64,
}

impl Reader<'_> {
    /// Decodes so many bytes of what is pending, which end behind a stanza.
    fn stanzas(&mut self, len: usize, take: &mut dyn FnMut(Indexed) -> Result<()>) -> Result<()> {
        let part = self.pending.get(..len).unwrap_or_default();
        for stanza in deb822::stanzas_from(part, self.offset, self.line, self.limits) {
            let stanza = stanza?;
            self.count = self.count.saturating_add(1);
            self.limits.records.check(self.count)?;
            let package = indexed(&stanza).map_err(|error| {
                let error = match stanza.text("Package") {
                    Some(name) => error.at(format!("package {}", quoted(name))),
                    None => error,
                };
                error.at(format!("line {}", stanza.line))
            })?;
            take(package)?;
        }
        self.offset = self.offset.saturating_add(size_of_len(len));
        self.line = self.line.saturating_add(size_of_len(memchr::memchr_iter(b'\n', part).count()));
        self.pending.drain(..len);
        Ok(())
    }
}

fn indexed(stanza: &Stanza<'_>) -> Result<Indexed> {
    if !stanza.is_terminated {
        let allowed = "a newline after every line";
        return Err(flaw(stanza, "end", "no newline at the end of the file", allowed)
            .hint("the file is cut off; fetch it again"));
    }
    let record = dpkg::control(stanza)?;
    if record.architecture.is_empty() {
        return Err(flaw(stanza, "Architecture", "none", "an architecture"));
    }
    Ok(Indexed { record, phased_percent: phased_percent(stanza)? })
}

fn phased_percent(stanza: &Stanza<'_>) -> Result<Option<u8>> {
    let Some(text) = stanza.text("Phased-Update-Percentage") else { return Ok(None) };
    match text.parse::<u8>() {
        Ok(percent) if percent <= 100 => Ok(Some(percent)),
        _ => Err(flaw(stanza, "Phased-Update-Percentage", quoted(text), "0 to 100")),
    }
}

fn flaw(stanza: &Stanza<'_>, field: &'static str, found: impl Into<String>, allowed: &str) -> Error {
    Error::malformed("apt Packages", field, stanza.offset, found, allowed)
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    fn all(text: &str, buffer: usize) -> std::result::Result<Vec<String>, String> {
        let mut packages = Vec::new();
        let mut stream = BufReader::with_capacity(buffer, text.as_bytes());
        read(&mut stream, &Limits::default(), &mut |package| {
            let r = package.record;
            packages.push(format!(
                "{} {} {} {}={} {:?}",
                r.package, r.version, r.architecture, r.source.name, r.source.version, package.phased_percent
            ));
            Ok(())
        })
        .map_err(|error| error.to_string())?;
        Ok(packages)
    }

    #[test]
    fn stanzas_are_the_same_whatever_the_buffer() {
        let text = "Package: a\nVersion: 1+b1\nArchitecture: amd64\nSource: s (1)\n\n\n\
                    Package: b\nVersion: 2\nArchitecture: all\nPhased-Update-Percentage: 40\n\n\
                    Package: a\nVersion: 0\nArchitecture: amd64\n";
        let want = ["a 1+b1 amd64 s=1 None", "b 2 all b=2 Some(40)", "a 0 amd64 a=0 None"];
        for buffer in 1..text.len() + 1 {
            assert_eq!(all(text, buffer).unwrap(), want, "{buffer}");
        }
        assert_eq!(all("", 9).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn a_damaged_stanza_is_told_with_its_place() {
        let good = "Package: a\nVersion: 1\nArchitecture: amd64\n\n";
        for (bad, why) in [
            (
                "Package: b\nArchitecture: all\n",
                "line 5: package `b`: dpkg record: Version at byte 0x2b: none",
            ),
            (
                "Package: b\nVersion: 1\n",
                "line 5: package `b`: apt Packages: Architecture at byte 0x2b: none",
            ),
            (
                "Package: b\nVersion: x:1\nArchitecture: all\n",
                "line 5: package `b`: deb version: value: `x:1`",
            ),
            (
                "Package: b\nVersion: 1\nArchitecture: all\nPhased-Update-Percentage: 101\n",
                "`101`; allowed: 0 to 100",
            ),
            ("nonsense\n", "line 5: deb822: line at byte 0x2b: `nonsense`"),
            ("Package: b\nVersion: 1\nArchitecture: al", "no newline at the end of the file"),
        ] {
            for buffer in [3, 4096] {
                let error = all(&format!("{good}{bad}"), buffer).unwrap_err();
                assert!(error.contains(why), "{bad}: {error}");
            }
        }
    }

    #[test]
    fn a_stanza_without_end_stays_within_its_limit() {
        let mut limits = Limits::default();
        limits.record_bytes.max = 1000;
        let endless = std::io::repeat(b'x');
        let mut stream = BufReader::with_capacity(64, std::io::Read::take(endless, 1 << 30));
        let error = read(&mut stream, &limits, &mut |_| Ok(())).unwrap_err().to_string();
        assert!(error.contains("record_bytes"), "{error}");
    }
}
