//! From files to facts, and from the facts of all strata to one inventory.
//!
//! Three steps: collectors read single files as a walk shows them ([`mod@gather`]); the facts of all strata are
//! squashed into what is visible at last ([`mod@squash`]), with second visits where one file alone does not say
//! it all ([`mod@follow_up`]); and [`mod@assemble`] joins what is visible into a system.

mod apk;
pub mod assemble;
mod boot;
mod changelogs;
mod chisel;
mod dpkg;
pub mod fact;
pub mod follow_up;
pub mod gather;
mod opkg;
mod os_release;
mod pacman;
mod portage;
mod rpm;
pub mod squash;
mod unread;
mod xbps;

use std::collections::BTreeMap;

use crate::bytes::ReadAt;
use crate::error::Result;
use crate::limits::Limits;
use crate::model::{Gap, ImagePath, Package};
use crate::stratum::{Entry, Want};

pub use assemble::{Assembled, assemble, nothing_found};
pub use fact::{Fact, Member, Needs};
pub use follow_up::{Asked, SecondVisits, Visited, follow_up};
pub use gather::{Facts, Found, Part, gather};
pub use squash::{Squashed, squash};

/// Everything that karat collects. The order is that of reading: what names the system, its package
/// databases, what dates them, what boots, and last what is recognised and not read.
pub static COLLECTORS: &[&dyn Collector] = &[
    &os_release::OsRelease,
    &os_release::SystemRelease,
    &dpkg::Dpkg,
    &dpkg::DpkgFiles,
    &apk::Apk,
    &apk::ApkFiles,
    &rpm::Rpm,
    &rpm::RpmFiles,
    &rpm::RpmHistory,
    &pacman::Pacman,
    &pacman::PacmanFiles,
    &chisel::Chisel,
    &chisel::ChiselFiles,
    &opkg::Opkg,
    &opkg::OpkgFiles,
    &xbps::Xbps,
    &portage::Portage,
    &portage::PortageFiles,
    &changelogs::Changelogs,
    &boot::Boot,
    &unread::Unread,
];

/// Reads one kind of file. What it says of a file depends on nothing but the file, its companions and the
/// limits, so it can be kept and joined later.
pub trait Collector: Sync {
    /// A stable name.
    fn id(&self) -> &'static str;

    /// Raised when its output for the same bytes may change.
    fn version(&self) -> u32;

    /// What it is there for: it is asked only when some of this is needed.
    fn serves(&self) -> Needs;

    /// The paths that it reads, as files or directories: where access is random these are looked up without
    /// a walk, and where links lead away from them they are followed.
    fn places(&self) -> &'static [&'static str];

    /// Files that belong to a database at `path` and must be read together with it, if they exist (a
    /// write-ahead log).
    fn companions(&self, _path: &ImagePath) -> Vec<ImagePath> {
        Vec::new()
    }

    /// Whether it wants this entry, decided from path and metadata alone.
    fn want(&self, entry: &Entry) -> Want;

    /// Reads a file.
    ///
    /// # Errors
    /// Whatever is wrong with the file as a whole; it becomes a gap, and what `out` has is kept.
    fn collect(&self, file: &FileView<'_>, out: &mut Out<'_>) -> Result<()>;

    /// Whether a directory in the place of a file that it wants is a defect.
    fn reads_files_only(&self) -> bool {
        true
    }

    /// Whether an image can pass when this file could not be read.
    fn is_required(&self, _path: &ImagePath) -> bool {
        true
    }
}

/// A file as a collector sees it.
pub struct FileView<'a> {
    /// Its path as the collector knows it: where a link leads to it, the link's.
    pub path: &'a ImagePath,
    /// Its content as wanted: whole, or its head.
    pub content: &'a dyn ReadAt,
    /// The companions that exist, by path.
    pub companions: &'a [(ImagePath, &'a dyn ReadAt)],
    /// The ceilings.
    pub limits: &'a Limits,
}

/// Takes what a collector finds in one file.
pub struct Out<'a> {
    part: &'a mut gather::Part,
    member: Member,
    path: &'a ImagePath,
    required: bool,
}

impl Out<'_> {
    /// Keeps a fact.
    pub fn fact(&mut self, fact: Fact) {
        self.part.facts.push((self.member.clone(), fact));
    }

    /// Keeps a gap at a place within the file: a record, a member.
    pub fn gap(&mut self, reason: impl Into<String>) {
        self.gap_with(reason, self.required);
    }

    /// Keeps a gap and says whether an image can pass with it.
    pub fn gap_with(&mut self, reason: impl Into<String>, required: bool) {
        let place = match self.member.is_whole_file() {
            true => self.path.to_string(),
            false => format!("{}!{}", self.path, self.member),
        };
        self.gap_at(place, reason, required);
    }

    /// Keeps a gap at a place that is named otherwise.
    pub fn gap_at(&mut self, place: impl Into<String>, reason: impl Into<String>, required: bool) {
        self.part.gaps.push(Gap { place: place.into(), reason: reason.into(), required });
    }

    /// Output for a member of an archive: everything kept through it bears the member's name.
    pub fn member(&mut self, name: &[u8]) -> Out<'_> {
        Out { part: self.part, member: self.member.join(name), path: self.path, required: self.required }
    }
}

/// Tells the packages that a database of one version each lists with several.
fn tell_twice(packages: &[Package], out: &mut Out<'_>) {
    let mut first: BTreeMap<(&str, &str), &str> = BTreeMap::new();
    for package in packages {
        let other = first.entry((&package.name, &package.arch)).or_insert(&package.version);
        if *other != package.version {
            out.gap(format!("package `{}` is listed twice: {other} and {}", package.name, package.version));
        }
    }
}

/// Runs one collector over one file: its facts and gaps.
fn run(collector: &dyn Collector, file: &FileView<'_>) -> gather::Part {
    let mut part = gather::Part::new(collector.id());
    let required = collector.is_required(file.path);
    let mut out = Out { part: &mut part, member: Member::default(), path: file.path, required };
    if let Err(error) = collector.collect(file, &mut out) {
        part.is_passing = error.is_passing();
        let place = match error.place() {
            inner if inner.is_empty() => file.path.to_string(),
            inner => format!("{}: {inner}", file.path),
        };
        part.gaps.push(Gap { place, reason: error.reason(), required });
    }
    part
}
