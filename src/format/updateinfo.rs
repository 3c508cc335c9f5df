//! `updateinfo.xml` of an rpm repository: its advisories, read as a stream (as Bodhi, Pulp, createrepo_c and
//! SUSE's and Amazon's servers write it; there is no specification).
//!
//! | element of `update` | read |
//! |---|---|
//! | attributes | `type`, `status`, `from`, `version`; `severity` where the element is missing |
//! | `id`, `title`, `severity`, `release` | text |
//! | `issued`, `updated` | `date`, or text |
//! | `references/reference` | `type`, `id`, `title`, `href` |
//! | `pkglist/collection` | `short`, `name`, `module`, `package` |
//! | `package` | `name`, `epoch`, `version`, `release`, `arch`, `src`, `filename` |
//! | `reboot_suggested`, `restart_suggested`, `relogin_suggested` | of the update or of a package: there and not `0` or `false` |
//! | `title`, `summary`, `description` | the CVE ids in them |
//!
//! Elements come in any order, and any of the lists any number of times. Not read: rights, solutions, digests of
//! packages.
//!
//! Which CVEs an advisory is about, its references say: `cve` ones by their id, and those to a bug tracker by
//! their title, since Fedora has no others. What only the running text names may also be what an advisory does
//! not fix, and is kept apart; advisories of SUSE before 2009 name theirs nowhere else.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::indexing_slicing,
        clippy::unwrap_used
    )
)]

use std::io::BufRead;

use super::nevra::Evr;
use super::rpm_primary::Read;
use super::xml::{Dialect, Tag, Xml};
use crate::error::{Error, Result, quoted};
use crate::limits::Limits;
use crate::model::Time;

pub(super) mod date;
mod package;

const DIALECT: Dialect = Dialect {
    format: "updateinfo",
    root: "updates",
    namespaces: &["http://novell.com/package/metadata/suse/updateinfo"],
    prefixes: &[],
};

/// So many flaws of one advisory are told one by one.
const FLAWS: usize = 16;

/// An advisory: a set of versions of packages that were published together, and why.
#[derive(Debug, Clone, Default)]
pub struct Advisory {
    /// Its id: `RHSA-2023:3820`, `FEDORA-2023-…`.
    pub id: String,
    /// What it is for.
    pub kind: AdvisoryKind,
    /// What it is for, as written.
    pub kind_text: String,
    /// Where it is in its life, as written: `final`, `stable`, `testing`, `retracted`.
    pub status: Option<String>,
    /// How bad it is, as written: `Important`, `medium`.
    pub severity: Option<String>,
    /// Its title.
    pub title: Option<String>,
    /// Who issued it.
    pub from: Option<String>,
    /// Which edition of it this is.
    pub version: Option<String>,
    /// The release of the distribution that it is for.
    pub release: Option<String>,
    /// When it was issued.
    pub issued_at: Option<Time>,
    /// When it was last changed.
    pub updated_at: Option<Time>,
    /// What it refers to.
    pub references: Vec<Reference>,
    /// The CVE ids in its references, sorted.
    pub cves: Vec<String>,
    /// The CVE ids that only its title, summary and description name, sorted.
    pub mentioned_cves: Vec<String>,
    /// What is to be done behind it.
    pub suggests: Suggests,
    /// Its packages.
    pub collections: Vec<Collection>,
    /// What is wrong with it: packages and dates that are not read. The first sixteen.
    pub flaws: Vec<Error>,
    /// How many there are.
    pub flaw_count: u64,
}

/// What says when an advisory was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DateEvidence {
    /// The date of its issue.
    Issued,
    /// Only that of its last change: it was there then, and maybe earlier.
    Updated,
}

impl Advisory {
    /// When it was there, by the better of its dates; `None` if it has none.
    #[must_use]
    pub fn dated(&self) -> Option<(Time, DateEvidence)> {
        let issued = self.issued_at.map(|time| (time, DateEvidence::Issued));
        issued.or(self.updated_at.map(|time| (time, DateEvidence::Updated)))
    }

    /// Its packages, of all collections.
    pub fn packages(&self) -> impl Iterator<Item = &AdvisoryPackage> {
        self.collections.iter().flat_map(|collection| &collection.packages)
    }

    fn flaw(&mut self, error: Error) {
        self.flaw_count = self.flaw_count.saturating_add(1);
        if self.flaws.len() < FLAWS {
            self.flaws.push(error);
        }
    }
}

/// What an advisory is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum AdvisoryKind {
    /// `security`.
    Security,
    /// `bugfix`; `recommended` of SUSE.
    Bugfix,
    /// `enhancement`; `optional` and `feature` of SUSE.
    Enhancement,
    /// `newpackage`.
    NewPackage,
    /// Anything else, or nothing.
    #[default]
    Other,
}

impl AdvisoryKind {
    fn of(text: &str) -> Self {
        match text.to_ascii_lowercase().as_str() {
            "security" => AdvisoryKind::Security,
            "bugfix" | "recommended" => AdvisoryKind::Bugfix,
            "enhancement" | "optional" | "feature" => AdvisoryKind::Enhancement,
            "newpackage" => AdvisoryKind::NewPackage,
            _ => AdvisoryKind::Other,
        }
    }
}

/// What an advisory refers to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reference {
    /// `cve`, `bugzilla`, `self`; empty if it does not say.
    pub kind: String,
    /// The id there: a CVE id, the number of a bug.
    pub id: Option<String>,
    /// Its title.
    pub title: Option<String>,
    /// Its URL.
    pub href: Option<String>,
}

/// What is to be done after an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Suggests {
    /// Boot the machine.
    pub reboot: bool,
    /// Restart the service, or the package manager itself.
    pub restart: bool,
    /// Log in again.
    pub relogin: bool,
}

impl Suggests {
    fn set(&mut self, name: &str, text: &str) {
        let is_set = !["0", "false", "no"].iter().any(|no| text.eq_ignore_ascii_case(no));
        match name {
            "reboot_suggested" => self.reboot |= is_set,
            "restart_suggested" => self.restart |= is_set,
            "relogin_suggested" => self.relogin |= is_set,
            _ => {}
        }
    }
}

/// Packages of an advisory for one product.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Collection {
    /// Its short name.
    pub short: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// The module stream that its packages are of.
    pub module: Option<ModuleName>,
    /// The packages.
    pub packages: Vec<AdvisoryPackage>,
}

/// A build of a module stream.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct ModuleName {
    /// The module.
    pub name: String,
    /// The stream.
    pub stream: String,
    /// The version: a number that grows.
    pub version: String,
    /// Which of the builds of the version.
    pub context: String,
    /// The architecture.
    pub arch: String,
}

/// A package of an advisory: the version in which it is fixed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdvisoryPackage {
    /// Its name.
    pub name: String,
    /// Its version.
    pub evr: Evr,
    /// Its architecture; `src` is a source package.
    pub arch: String,
    /// Its source package, as written: mostly a file name.
    pub src: Option<String>,
    /// Its file.
    pub file_name: Option<String>,
    /// What is to be done after it is updated.
    pub suggests: Suggests,
}

/// Hands over the advisories, in the order of the file, one that comes twice twice. One without id is the error
/// that says which it is; what else is wrong with one it says itself. No more than one is in memory.
///
/// # Errors
/// `Malformed` for what is no such file or is cut off, with the number of advisories before; `Limit` above
/// `records`, `record_bytes` or `xml_depth`; what `take` and the stream give.
pub fn read(
    stream: &mut dyn BufRead,
    limits: &Limits,
    take: &mut dyn FnMut(Result<Advisory>) -> Result<()>,
) -> Result<Read> {
    let mut xml = Xml::new(&DIALECT, stream, limits);
    xml.root()?;
    let mut read = Read { count: 0, stated: None };
    match advisories(&mut xml, limits, &mut read.count, take) {
        Ok(()) => Ok(read),
        Err(error) => Err(error.at(format!("after {} advisories", read.count))),
    }
}

fn advisories(
    xml: &mut Xml<'_>,
    limits: &Limits,
    count: &mut u64,
    take: &mut dyn FnMut(Result<Advisory>) -> Result<()>,
) -> Result<()> {
    while let Some(tag) = xml.child(1)? {
        if tag.name() != "update" {
            continue;
        }
        let mut advisory = Advisory::default();
        let offset = tag.offset;
        attributes(&tag, &mut advisory)?;
        xml.begin_record();
        let ids = body(xml, &mut advisory)?;
        *count = count.saturating_add(1);
        limits.records.check(*count)?;
        let place = format!("advisory {count}");
        if ids == 1 {
            take(Ok(advisory))?;
            continue;
        }
        let found = if ids == 0 { "none" } else { "two that differ" };
        let error = Error::malformed(DIALECT.format, "id", offset, found, "one");
        let title = advisory.title.unwrap_or_default();
        take(Err(if title.is_empty() { error } else { error.at(quoted(title)) }.at(place)))?;
    }
    xml.finish()
}

fn attributes(tag: &Tag<'_>, advisory: &mut Advisory) -> Result<()> {
    tag.attributes(&mut |name, value| {
        match name {
            "type" => advisory.kind_text = value.into_owned(),
            "status" => advisory.status = Some(value.into_owned()),
            "from" => advisory.from = Some(value.into_owned()),
            "version" => advisory.version = Some(value.into_owned()),
            "severity" => advisory.severity = Some(value.into_owned()),
            _ => {}
        }
        Ok(())
    })?;
    advisory.kind = AdvisoryKind::of(&advisory.kind_text);
    Ok(())
}

/// Reads what is in an `update`; gives how many ids it has.
fn body(xml: &mut Xml<'_>, advisory: &mut Advisory) -> Result<u32> {
    let (mut ids, mut severity, mut mentioned) = (0_u32, None, Vec::new());
    while let Some(tag) = xml.child(2)? {
        match tag.name() {
            "id" => {
                let id = xml.text()?;
                if !id.is_empty() && (ids == 0 || id != advisory.id) {
                    ids = ids.saturating_add(1);
                    advisory.id = id;
                }
            }
            "title" => {
                let title = xml.text()?;
                find_cves(&title, &mut mentioned);
                keep(&mut advisory.title, title);
            }
            "summary" | "description" => find_cves(&xml.text()?, &mut mentioned),
            "severity" => keep(&mut severity, xml.text()?),
            "release" => keep(&mut advisory.release, xml.text()?),
            name @ ("issued" | "updated") => {
                let is_issued = name == "issued";
                let attribute = tag.attribute("date")?.filter(|text| !text.is_empty());
                let text = xml.text()?;
                date(xml, advisory, is_issued, attribute.unwrap_or(text));
            }
            name @ ("reboot_suggested" | "restart_suggested" | "relogin_suggested") => {
                let name = name.to_owned();
                advisory.suggests.set(&name, &xml.text()?);
            }
            "references" => {
                while let Some(tag) = xml.child(3)? {
                    if tag.name() == "reference" {
                        advisory.references.push(reference(&tag)?);
                    }
                }
            }
            "pkglist" => package::list(xml, advisory)?,
            _ => {}
        }
    }
    if severity.is_some() {
        advisory.severity = severity;
    }
    for reference in &advisory.references {
        for text in [&reference.id, &reference.title].into_iter().flatten() {
            find_cves(text, &mut advisory.cves);
        }
        if reference.kind.eq_ignore_ascii_case("cve")
            && let Some(href) = &reference.href
        {
            find_cves(href, &mut advisory.cves);
        }
    }
    advisory.cves.sort_unstable();
    advisory.cves.dedup();
    mentioned.sort_unstable();
    mentioned.dedup();
    mentioned.retain(|cve| advisory.cves.binary_search(cve).is_err());
    advisory.mentioned_cves = mentioned;
    Ok(ids)
}

/// The first text stays.
fn keep(slot: &mut Option<String>, text: String) {
    if slot.is_none() && !text.is_empty() {
        *slot = Some(text);
    }
}

/// The first date that can be read stays.
fn date(xml: &Xml<'_>, advisory: &mut Advisory, is_issued: bool, text: String) {
    let field = if is_issued { "issued" } else { "updated" };
    if text.is_empty() {
        return; // as if it were not there
    }
    match date::read(&text) {
        Some(time) => {
            let slot = if is_issued { &mut advisory.issued_at } else { &mut advisory.updated_at };
            slot.get_or_insert(time);
        }
        None => {
            let allowed = "a date as 2021-01-05 12:34:56, or seconds since 1970";
            advisory.flaw(xml.flaw(field, quoted(text), allowed));
        }
    }
}

fn reference(tag: &Tag<'_>) -> Result<Reference> {
    let mut reference = Reference::default();
    tag.attributes(&mut |name, value| {
        let value = value.into_owned();
        match name {
            "type" => reference.kind = value,
            "id" => keep(&mut reference.id, value),
            "title" => keep(&mut reference.title, value),
            "href" => keep(&mut reference.href, value),
            _ => {}
        }
        Ok(())
    })?;
    Ok(reference)
}

/// The CVE ids in a text, in its order.
fn find_cves(text: &str, into: &mut Vec<String>) {
    let text = text.as_bytes();
    for at in memchr::memmem::find_iter(text, b"CVE-") {
        into.extend(text.get(at..).and_then(super::cve::id_at_start));
    }
}

#[cfg(test)]
mod tests;
