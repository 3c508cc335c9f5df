//! xbps' database of installed packages (`/var/db/xbps/pkgdb-0.38.plist`): an XML property list, one dictionary whose
//! keys are the packages' names and whose values are dictionaries of properties.
//!
//! Read as libxbps does (`pkgdb.c`): keys that begin with an underline are no packages; a package has a `pkgver` of
//! its name, a dash, and a version with revision (`acl-2.3.1_1`), and a `state`.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::indexing_slicing,
        clippy::unwrap_used
    )
)]

use crate::bytes::{ReadAt, Reader};
use crate::error::{Result, quoted};
use crate::format::xml::{Dialect, Xml};
use crate::limits::Limits;
use crate::model::Time;

const FORMAT: &str = "xbps database";

static DIALECT: Dialect = Dialect { format: FORMAT, root: "plist", namespaces: &[], prefixes: &[] };

/// One package.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record {
    /// Its name.
    pub name: String,
    /// Its version with revision: `2.3.1_1`.
    pub version: String,
    /// Its architecture in xbps' words (`x86_64-musl`, `noarch`).
    pub arch: String,
    /// The source package, where the record says so.
    pub source: Option<String>,
    /// Who maintains it.
    pub maintainer: Option<String>,
    /// `state`: `installed`, `unpacked`, `half-removed`, `broken`, …
    pub state: String,
    /// Whether it is kept at its version (`hold`).
    pub is_held: bool,
    /// When it was installed, where its `install-date` is in UTC.
    pub installed_at: Option<Time>,
    /// When it was built, where its `build-date` is in UTC.
    pub built_at: Option<Time>,
}

/// Hands over every package; one that is none is an error, and the next follows.
///
/// # Errors
/// What makes the rest unreadable: damaged XML, a ceiling, and what `content` gives.
pub fn packages(content: &dyn ReadAt, limits: &Limits, each: &mut dyn FnMut(Result<Record>)) -> Result<()> {
    limits.package_db_bytes.check(content.size_bytes())?;
    let mut stream = std::io::BufReader::new(Reader::new(content));
    let mut xml = Xml::new(&DIALECT, &mut stream, limits);
    xml.root()?;
    match xml.child(1)?.map(|tag| tag.name().to_owned()).as_deref() {
        Some("dict") => {}
        other => return Err(xml.flaw("root", quoted(other.unwrap_or_default()), "a dictionary")),
    }
    let mut count: u64 = 0;
    loop {
        xml.begin_record();
        let Some(key) = key(&mut xml, 2)? else { break };
        count = count.saturating_add(1);
        limits.records.check(count)?;
        let kind = value(&mut xml, 2)?;
        if key.starts_with('_') {
            continue;
        }
        if kind != "dict" {
            each(Err(xml
                .flaw("package", format!("a {kind}"), "a dictionary")
                .at(format!("package {}", quoted(&key)))));
            continue;
        }
        let (record, pkgver) = record(&mut xml, key)?;
        each(named(record, &pkgver, &xml));
    }
    // What is behind the dictionary, up to the end of the list.
    while xml.child(1)?.is_some() {}
    xml.finish()
}

/// The next key of a dictionary.
fn key(xml: &mut Xml<'_>, level: u64) -> Result<Option<String>> {
    match xml.child(level)?.map(|tag| tag.name().to_owned()).as_deref() {
        None => Ok(None),
        Some("key") => xml.text().map(Some),
        Some(other) => Err(xml.flaw("dictionary", quoted(other), "a key")),
    }
}

/// The kind of the value that follows a key.
fn value(xml: &mut Xml<'_>, level: u64) -> Result<String> {
    match xml.child(level)?.map(|tag| tag.name().to_owned()) {
        Some(kind) if kind != "key" => Ok(kind),
        other => Err(xml.flaw("dictionary", quoted(other.unwrap_or_default()), "a value after its key")),
    }
}

/// The properties of a package, and its `pkgver`.
fn record(xml: &mut Xml<'_>, name: String) -> Result<(Record, String)> {
    let mut record = Record { name, ..Record::default() };
    let mut pkgver = String::new();
    let mut revisions = None;
    while let Some(key) = key(xml, 3)? {
        let kind = value(xml, 3)?;
        match (key.as_str(), kind.as_str()) {
            ("hold", "true") => record.is_held = true,
            ("pkgver", "string") => pkgver = xml.text()?,
            ("architecture", "string") => record.arch = xml.text()?,
            ("sourcepkg", "string") => record.source = said(xml.text()?),
            ("source-revisions", "string") => revisions = said(xml.text()?),
            ("maintainer", "string") => record.maintainer = said(xml.text()?),
            ("state", "string") => record.state = xml.text()?,
            ("install-date", "string") => record.installed_at = time(&xml.text()?),
            ("build-date", "string") => record.built_at = time(&xml.text()?),
            _ => {}
        }
    }
    // `acl:33b2ef6d61`: the source, and its commit.
    let of_revisions = revisions.and_then(|all| said(all.split(':').next().unwrap_or_default().to_owned()));
    record.source = record.source.or(of_revisions);
    Ok((record, pkgver))
}

fn said(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

fn named(mut record: Record, pkgver: &str, xml: &Xml<'_>) -> Result<Record> {
    let rest = pkgver.strip_prefix(record.name.as_str()).and_then(|rest| rest.strip_prefix('-'));
    let is_version = |version: &str| {
        let revision = version.rsplit_once('_').map(|(_, revision)| revision);
        let is_number = revision.is_some_and(|r| !r.is_empty() && r.bytes().all(|b| b.is_ascii_digit()));
        is_number && !version.contains('-') && version.bytes().all(|b| b.is_ascii_graphic())
    };
    let at = format!("package {}", quoted(&record.name));
    match rest.filter(|version| is_version(version)) {
        Some(version) if !record.state.is_empty() => version.clone_into(&mut record.version),
        Some(_) => return Err(xml.flaw("state", "none", "a state").at(at)),
        None => {
            let allowed = "the package's name, a dash, and a version with revision";
            return Err(xml.flaw("pkgver", quoted(pkgver), allowed).at(at));
        }
    }
    Ok(record)
}

/// `2024-01-31 12:30 UTC`. xbps writes dates in the zone of the machine; one in another zone is not told.
fn time(text: &str) -> Option<Time> {
    let (date, rest) = text.split_once(' ')?;
    let (clock, zone) = rest.split_once(' ')?;
    let (hours, minutes) = clock.split_once(':')?;
    let (hours, minutes): (i64, i64) = (hours.parse().ok()?, minutes.parse().ok()?);
    if zone != "UTC" || !(0..24).contains(&hours) || !(0..60).contains(&minutes) {
        return None;
    }
    let start = Time::start_of(date.parse().ok()?).unix();
    Time::from_unix(start.checked_add(hours.checked_mul(3600)?)?.checked_add(minutes.checked_mul(60)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> (Vec<Result<Record>>, Result<()>) {
        let mut all = Vec::new();
        let end = packages(&text, &Limits::default(), &mut |record| all.push(record));
        (all, end)
    }

    const WHOLE: &str = concat!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n",
        "<!DOCTYPE plist PUBLIC \"-//Apple Computer//DTD PLIST 1.0//EN\" \"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n",
        "<plist version=\"1.0\">\n<dict>\n\t<key>_XBPS_ALTERNATIVES_</key>\n\t<dict>\n\t\t<key>vi</key>\n\t\t<array>\n",
        "\t\t\t<string>vim</string>\n\t\t</array>\n\t</dict>\n",
        "\t<key>libacl-devel</key>\n\t<dict>\n\t\t<key>architecture</key>\n\t\t<string>x86_64-musl</string>\n",
        "\t\t<key>automatic-install</key>\n\t\t<true/>\n\t\t<key>hold</key>\n\t\t<true/>\n",
        "\t\t<key>install-date</key>\n\t\t<string>2024-01-31 12:30 UTC</string>\n",
        "\t\t<key>installed_size</key>\n\t\t<integer>4096</integer>\n",
        "\t\t<key>pkgver</key>\n\t\t<string>libacl-devel-2.3.1_1</string>\n",
        "\t\t<key>run_depends</key>\n\t\t<array>\n\t\t\t<string>musl>=1.1</string>\n\t\t</array>\n",
        "\t\t<key>source-revisions</key>\n\t\t<string>acl:33b2ef6d61</string>\n",
        "\t\t<key>state</key>\n\t\t<string>installed</string>\n\t</dict>\n",
        "\t<key>odd</key>\n\t<dict>\n\t\t<key>pkgver</key>\n\t\t<string>even-1_1</string>\n\t</dict>\n",
        "\t<key>zlib</key>\n\t<dict>\n\t\t<key>pkgver</key>\n\t\t<string>zlib-1.3.1_1</string>\n",
        "\t\t<key>state</key>\n\t\t<string>unpacked</string>\n\t</dict>\n</dict>\n</plist>\n"
    );

    #[test]
    fn packages_are_read() {
        let (all, end) = read(WHOLE.as_bytes());
        end.unwrap();
        let [Ok(acl), Err(odd), Ok(zlib)] = all.as_slice() else { panic!("{all:?}") };
        assert_eq!((acl.name.as_str(), acl.version.as_str()), ("libacl-devel", "2.3.1_1"));
        assert_eq!((acl.arch.as_str(), acl.source.as_deref()), ("x86_64-musl", Some("acl")));
        assert_eq!(acl.installed_at.unwrap().to_string(), "2024-01-31T12:30:00Z");
        assert!(acl.is_held);
        assert!(odd.to_string().contains("package `odd`") && odd.to_string().contains("`even-1_1`"), "{odd}");
        assert_eq!((zlib.version.as_str(), zlib.state.as_str()), ("1.3.1_1", "unpacked"));
        assert_eq!(time("2024-01-31 12:30 CET"), None);
    }

    /// Cut off or changed anywhere, a database is not listed as whole.
    #[test]
    fn broken_databases_say_so() {
        let whole = WHOLE.as_bytes();
        let end = WHOLE.trim_end().len();
        for cut in 0..end {
            assert!(read(&whole[..cut]).1.is_err(), "{cut}");
        }
        for at in 0..whole.len() {
            for bits in [1, 0x80, 0xff] {
                let mut broken = whole.to_vec();
                broken[at] ^= bits;
                drop(read(&broken));
            }
        }
    }
}
