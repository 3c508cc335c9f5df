//! `Release` and `InRelease` of an apt repository: what a suite is, as of when, and the digests of its indexes
//! (<https://wiki.debian.org/DebianRepository/Format>, as apt 2.6 reads it).
//!
//! | field | read as |
//! |---|---|
//! | `Origin`, `Label`, `Suite`, `Codename`, `Version` | text |
//! | `Date`, `Valid-Until` | RFC 5322 date in UTC (`UTC`, `GMT`, `Z`, `+0000`) |
//! | `Architectures`, `Components` | words |
//! | `No-Support-for-Architecture-all` | whether indexes of an architecture hold packages for all of them too |
//! | `Acquire-By-Hash` | `yes` |
//! | `SHA256` | lines of digest, size and name |
//!
//! `InRelease` is the same inside a clearsigned message (RFC 9580, section 7): lines that start with a hyphen
//! are escaped, and anything before or behind the message is refused. The signature itself is not verified:
//! whoever keeps the files vouches for them. MD5, SHA-1 and SHA-512 digests are not read.
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
use std::collections::BTreeMap;

use super::deb822::{self, Stanza};
use crate::bytes::size_of_len;
use crate::error::{Error, Result, quoted};
use crate::limits::Limits;
use crate::model::{Sha256, Time};

const FORMAT: &str = "apt Release";

/// What a Release says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Release {
    /// Who publishes it: `Debian`.
    pub origin: Option<String>,
    /// Which of the publisher's archives it is: `Debian-Security`.
    pub label: Option<String>,
    /// The suite: `oldstable-security`, `noble-updates`.
    pub suite: Option<String>,
    /// The codename: `bookworm-security`, `noble`.
    pub codename: Option<String>,
    /// The version of the release: `12.15`, `24.04`.
    pub version: Option<String>,
    /// When it was made.
    pub date: Option<Time>,
    /// Until when it is to be believed.
    pub valid_until: Option<Time>,
    /// The architectures.
    pub architectures: Vec<String>,
    /// The components, with their prefix where they have one (`updates/main`).
    pub components: Vec<String>,
    /// Packages for all architectures are in an index of their own, and only there.
    pub has_index_for_all: bool,
    /// Indexes can also be found under their digests.
    pub acquire_by_hash: bool,
    /// It belongs to one index, not to a suite: the `Release` beside a `Packages` file.
    pub is_of_component: bool,
    /// Names of files, relative to the suite, with size and digest.
    pub files: BTreeMap<String, Listed>,
}

/// A file as a Release lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listed {
    /// Its size.
    pub size_bytes: u64,
    /// Its digest.
    pub sha256: Sha256,
}

/// Reads a `Release` or an `InRelease`, told by how it starts.
///
/// # Errors
/// `Malformed` for what is no such file or cut off, `Limit` for one above `record_bytes`.
pub fn read(bytes: &[u8], limits: &Limits) -> Result<Release> {
    let text = if bytes.starts_with(BEGIN) { signed_text(bytes)? } else { Cow::Borrowed(bytes) };
    let mut stanzas = deb822::stanzas(&text, limits);
    let Some(stanza) = stanzas.next().transpose()? else {
        return Err(Error::malformed(FORMAT, "stanza", None, "none", "one").hint("the file is empty"));
    };
    if let Some(second) = stanzas.next() {
        let offset = second.ok().map(|stanza| stanza.offset);
        return Err(Error::malformed(FORMAT, "stanza", offset, "a second one", "one"));
    }
    if !stanza.is_terminated {
        return Err(flaw(&stanza, "end", "no newline at the end of the file", "a newline after every line")
            .hint("the file is cut off; fetch it again"));
    }
    release(&stanza)
}

fn release(stanza: &Stanza<'_>) -> Result<Release> {
    let words = |name: &str| -> Vec<String> {
        stanza.text(name).unwrap_or_default().split_ascii_whitespace().map(str::to_owned).collect()
    };
    let architectures = words("Architectures");
    let lacks_all = words("No-Support-for-Architecture-all").iter().any(|word| word == "Packages");
    Ok(Release {
        origin: stanza.text("Origin"),
        label: stanza.text("Label"),
        suite: stanza.text("Suite").or_else(|| stanza.text("Archive")),
        codename: stanza.text("Codename"),
        version: stanza.text("Version"),
        date: time(stanza, "Date")?,
        valid_until: time(stanza, "Valid-Until")?,
        has_index_for_all: !lacks_all && architectures.iter().any(|arch| arch == "all"),
        architectures,
        components: words("Components"),
        acquire_by_hash: stanza.get("Acquire-By-Hash").is_some_and(|v| v.eq_ignore_ascii_case(b"yes")),
        is_of_component: stanza.get("Component").is_some() && stanza.get("SHA256").is_none(),
        files: files(stanza)?,
    })
}

/// A date as apt takes it: in UTC, the day of the week not held against it.
fn time(stanza: &Stanza<'_>, name: &'static str) -> Result<Option<Time>> {
    let Some(text) = stanza.text(name) else { return Ok(None) };
    let plain = text.split_once(',').map_or(text.as_str(), |(_, after)| after).trim_ascii();
    let read = || {
        let (date, zone) = plain.rsplit_once(' ')?;
        if !matches!(zone, "UTC" | "GMT" | "Z" | "+0000") {
            return None;
        }
        let date = jiff::civil::DateTime::strptime("%d %b %Y %H:%M:%S", date.trim_ascii()).ok()?;
        let seconds = jiff::tz::TimeZone::UTC.to_timestamp(date).ok()?.as_second();
        Time::from_unix(seconds)
    };
    match read() {
        Some(time) => Ok(Some(time)),
        None => Err(flaw(stanza, name, quoted(&text), "a date in UTC, as `Sat, 11 Jul 2026 10:16:37 UTC`")),
    }
}

/// The lines of the `SHA256` field.
fn files(stanza: &Stanza<'_>) -> Result<BTreeMap<String, Listed>> {
    let mut files = BTreeMap::new();
    let Some(field) = stanza.fields().iter().find(|f| f.name.eq_ignore_ascii_case(b"SHA256")) else {
        return Ok(files);
    };
    for line in field.lines().filter(|line| !line.is_empty()) {
        let Some((name, listed)) = listed(line) else {
            let allowed = "64 hexadecimal digits, a size and a name";
            return Err(flaw(stanza, "SHA256", quoted(line), allowed));
        };
        if files.get(&name).is_some_and(|known| *known != listed) {
            let found = format!("{} twice, with different digests", quoted(&name));
            return Err(flaw(stanza, "SHA256", found, "each file once"));
        }
        files.insert(name, listed);
    }
    Ok(files)
}

fn listed(line: &[u8]) -> Option<(String, Listed)> {
    let text = std::str::from_utf8(line).ok()?;
    let mut words = text.split_ascii_whitespace();
    let (digest, size, name) = (words.next()?, words.next()?, words.next()?);
    let sha256 = Sha256::from_hex(&digest.to_ascii_lowercase())?;
    let name = name.strip_prefix("./").unwrap_or(name).to_owned();
    words.next().is_none().then_some((name, Listed { size_bytes: size.parse().ok()?, sha256 }))
}

const BEGIN: &[u8] = b"-----BEGIN PGP SIGNED MESSAGE-----";
const SIGNATURE: &[u8] = b"-----BEGIN PGP SIGNATURE-----";
const END: &[u8] = b"-----END PGP SIGNATURE-----";

/// The text inside a clearsigned message, without its escapes.
///
/// # Errors
/// `Malformed` if the message is cut off, or if there is anything outside of it.
fn signed_text(bytes: &[u8]) -> Result<Cow<'_, [u8]>> {
    enum At {
        Begin,
        Headers,
        Text,
        Signature,
        Behind,
    }
    let mut at = At::Begin;
    let mut text = Vec::with_capacity(bytes.len());
    let mut offset: u64 = 0;
    for line in bytes.split_inclusive(|b| *b == b'\n') {
        // White space at the end of a line is no part of what is signed.
        let bare = line.trim_ascii_end();
        let refuse =
            |allowed: &str| Error::malformed("clearsigned message", "line", offset, quoted(bare), allowed);
        at = match at {
            At::Begin if bare == BEGIN => At::Headers,
            At::Begin => return Err(refuse("`-----BEGIN PGP SIGNED MESSAGE-----` alone")),
            At::Headers if bare.is_empty() => At::Text,
            At::Headers if bare.contains(&b':') => At::Headers,
            At::Headers => return Err(refuse("a header, or the empty line before the text")),
            At::Text if bare == SIGNATURE => At::Signature,
            At::Text => {
                match line.strip_prefix(b"- ") {
                    Some(escaped) => text.extend_from_slice(escaped),
                    None if line.starts_with(b"-") => return Err(refuse("`- ` before a hyphen")),
                    None => text.extend_from_slice(line),
                }
                At::Text
            }
            At::Signature if bare == END => At::Behind,
            At::Signature => At::Signature,
            At::Behind if bare.is_empty() => At::Behind,
            At::Behind => return Err(refuse("nothing behind the signature")),
        };
        offset = offset.saturating_add(size_of_len(line.len()));
    }
    match at {
        At::Behind => Ok(Cow::Owned(text)),
        _ => Err(Error::malformed(
            "clearsigned message",
            "end",
            offset,
            "the end of the file",
            "`-----END PGP SIGNATURE-----`",
        )
        .hint("the file is cut off; fetch it again")),
    }
}

fn flaw(stanza: &Stanza<'_>, field: &'static str, found: impl Into<String>, allowed: &str) -> Error {
    Error::malformed(FORMAT, field, stanza.offset, found, allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn of(text: &str) -> std::result::Result<Release, String> {
        read(text.as_bytes(), &Limits::default()).map_err(|error| error.to_string())
    }

    fn signed(text: &str) -> String {
        format!(
            "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n{text}-----BEGIN PGP SIGNATURE-----\n\nabc=\n-----END PGP SIGNATURE-----\n"
        )
    }

    #[test]
    fn fields_are_read_signed_and_not() {
        let text = format!(
            "Origin: Debian\nSuite: oldstable\nCodename: bookworm\nVersion: 12.15\nDate: Sat, 11 Jul 2026 10:16:37 UTC\n\
             Valid-Until: 1 Jan 2027 00:00:00 +0000\nNo-Support-for-Architecture-all: Packages\n\
             Architectures: all amd64\nComponents: main updates/contrib\nAcquire-By-Hash: yes\n\
             SHA256:\n {EMPTY}  0 main/binary-amd64/Packages\n"
        );
        let plain = of(&text).unwrap();
        assert_eq!(plain.date.unwrap().to_string(), "2026-07-11T10:16:37Z");
        assert_eq!(plain.valid_until.unwrap().to_string(), "2027-01-01T00:00:00Z");
        assert_eq!(plain.components, ["main", "updates/contrib"]);
        assert!(plain.acquire_by_hash && !plain.has_index_for_all && !plain.is_of_component);
        let listed = plain.files["main/binary-amd64/Packages"];
        assert_eq!((listed.size_bytes, listed.sha256), (0, Sha256::of(b"")));
        assert_eq!(of(&signed(&text)).unwrap(), plain);
        assert!(of(&text.replace("No-Support-for-Architecture-all", "X")).unwrap().has_index_for_all);
    }

    #[test]
    fn escapes_are_undone() {
        assert_eq!(of(&signed("- Origin: a\nLabel: b\n")).unwrap().origin.as_deref(), Some("a"));
    }

    #[test]
    fn what_is_outside_of_the_signature_or_cut_off_is_refused() {
        let whole = signed("Origin: a\n");
        for (text, why) in [
            (whole.clone() + "Origin: b\n", "`Origin: b`; allowed: nothing behind the signature"),
            (whole.clone() + &whole, "allowed: nothing behind the signature"),
            (whole.replace("SIGNED MESSAGE-----\n", "SIGNED MESSAGE-----x\n"), "alone"),
            (whole.replace("Origin", "-Origin"), "`-Origin: a`; allowed: `- ` before a hyphen"),
            (whole.replace("Hash: SHA256\n\n", "Hash: SHA256\nOrigin\n\n"), "a header, or the empty line"),
            ("Origin: b\n\n".to_owned() + &whole, "a second one"),
            (String::new(), "stanza: none"),
            ("Origin: a".into(), "no newline at the end"),
            ("Origin: a\n\nOrigin: b\n".into(), "a second one"),
            ("Date: yesterday\n".into(), "Date at byte 0x0: `yesterday`; allowed: a date in UTC"),
            ("Date: Sat, 11 Jul 2026 10:16:37 +0200\n".into(), "allowed: a date in UTC"),
            ("SHA256:\n abc 0 x\n".into(), "SHA256 at byte 0x0: `abc 0 x`"),
            (format!("SHA256:\n {EMPTY} 0 x\n {EMPTY} 1 ./x\n"), "`x` twice"),
        ] {
            let error = of(&text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
        for len in 35..whole.len() - 2 {
            assert!(of(&whole[..len]).is_err(), "{}", &whole[..len]);
        }
    }
}
