//! Channel sources: what says what was published, and when.
//!
//! | kind | what it is | what it proves |
//! |---|---|---|
//! | apt suite | a repository, or what a host's apt keeps of one | the versions that were out at the `Date` of its Release |
//! | `APKINDEX` | a branch and repository of Alpine | the versions that were out when it was made |
//! | `repodata` | a repository of rpm packages | the versions that were out when it was made; what its advisories publish |
//! | sync database | a repository of pacman | the versions that were out when it was made |
//! | security database | what Alpine and its kin fixed in which version | versions and CVE ids; no absence, no dates |
//! | `.rpm` folder | packages, with the changelogs in their headers | versions, builds and CVE ids; no absence |
//! | `.deb` folder | packages, with the changelogs inside | versions, dates and CVE ids; no absence |
//! | changelog folder | changelogs alone | versions, dates and CVE ids; no absence |
//!
//! What a source says is taken as it stands: signatures are not verified, digests are. Everything is read or
//! named in an error; what is passed over because it is nothing that counts is told in [`ChannelInput::notes`].

use std::path::Path;

use crate::error::{Error, Result, ResultExt as _};
use crate::limits::Limits;
use crate::model::{Advisory, Ecosystem, Package, Platform, ReleaseEntry, Sha256, Time};

mod apk;
mod apt;
mod changelogs;
mod deb;
mod files;
mod names;
mod packages;
mod pacman;
mod repodata;
mod rpms;
mod secdb;

/// What one channel source says was published: a suite of a repository for one architecture, a folder of
/// packages, a folder of changelogs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelInput {
    /// As the user named it; where one name led to several inputs, with what inside it.
    pub id: String,
    /// What it is.
    pub kind: ChannelKind,
    /// The platform that it is for, by what it says of itself or else by what the user said; `None` if neither
    /// says it.
    pub platform: Option<Platform>,
    /// The suite, named by codename as changelogs name it: `bookworm-security`, `noble-updates`; of Alpine the
    /// branch and repository, `v3.20/main`. `None` if it does not say.
    pub suite: Option<String>,
    /// When it was true: the date that the metadata bears, or a later time that the user gave. `None` for
    /// folders of which the user said none.
    pub taken_at: Option<Time>,
    /// When its metadata ends to be valid, where it says so.
    pub valid_until: Option<Time>,
    /// It lists the whole suite as of `taken_at`, so that what is not in it was not out. What a source lists
    /// of a package is the newest that was out also where this is false.
    pub lists_all: bool,
    /// Where it does not list the whole suite: the components that it lists whole, sorted. What is of these and
    /// not in it was not out.
    pub whole_components: Vec<String>,
    /// The digest of the content that counted, the same however it is compressed.
    pub digest: Sha256,
    /// The packages, sorted.
    pub packages: Vec<Offer>,
    /// What changelogs say, sorted, once each.
    pub releases: Vec<ReleaseEntry>,
    /// What advisories publish, sorted, once each.
    pub advisories: Vec<Published>,
    /// What was passed over, or is not as it should be and loses nothing; for a person to read.
    pub notes: Vec<String>,
}

/// A version that an advisory publishes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Published {
    /// Whose version order it follows.
    pub ecosystem: Ecosystem,
    /// The source, as packages of it are compared: with the stream of a module.
    pub source: String,
    /// The source version.
    pub version: String,
    /// What publishes it.
    pub advisory: Advisory,
}

/// A package as a channel offers it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Offer {
    /// The package; `path` and `stratum` say nothing, `built_at` is set where the package itself says it.
    pub package: Package,
    /// So many of a hundred hosts are offered it, where it is being phased in (`Phased-Update-Percentage`).
    pub phased_percent: Option<u8>,
}

/// The kinds of channel sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChannelKind {
    /// A suite of a repository, or a flat repository.
    AptSuite,
    /// The lists that a host's apt keeps (`/var/lib/apt/lists`).
    AptList,
    /// An index of an Alpine repository.
    ApkIndex,
    /// A repository of rpm packages, by its metadata (`repodata`).
    RpmRepository,
    /// A sync database of pacman.
    PacmanSync,
    /// A security database of Alpine's kind.
    SecurityDatabase,
    /// A folder of `.deb` files.
    DebFolder,
    /// A folder of `.rpm` files.
    RpmFolder,
    /// A folder of changelogs.
    ChangelogFolder,
}

impl ChannelKind {
    /// Whether it is files without a date of their own, that prove no absence.
    #[must_use]
    pub fn is_folder(self) -> bool {
        matches!(
            self,
            ChannelKind::DebFolder
                | ChannelKind::RpmFolder
                | ChannelKind::ChangelogFolder
                | ChannelKind::SecurityDatabase
        )
    }
}

/// What reading depends on.
#[derive(Debug, Clone, Copy)]
pub struct ReadOptions<'a> {
    /// The ceilings.
    pub limits: &'a Limits,
    /// The platform, as the user said it. What says of itself that it is for another is an error.
    pub platform: Option<&'a Platform>,
    /// When the source was true, as the user said it: for folders, and for metadata that was fetched again
    /// since its date. Before the date of the metadata it is an error.
    pub taken_at: Option<Time>,
    /// At most so many threads.
    pub threads: usize,
}

/// Reads the channel source at `path`, whatever its kind; several inputs where it holds several suites or
/// architectures, sorted by id.
///
/// # Errors
/// `NotFound` and `Io` for what cannot be opened, `Config` for a path that is no channel source or
/// contradicts what the user said, `Malformed` with file and place for anything inside that is damaged,
/// incomplete or has another digest than its Release says, `Limit` for what is above a ceiling.
pub fn read(path: &Path, options: &ReadOptions<'_>) -> Result<Vec<ChannelInput>> {
    let name = path.display().to_string();
    match kind_of(path, options.limits).at(|| name.clone())? {
        Some(Found::Apt(place)) => apt::read(place, path, &name, options),
        Some(Found::Apk) => apk::read(path, &name, options),
        Some(Found::RpmRepository) => repodata::read(path, &name, options),
        Some(Found::PacmanSync) => pacman::read(path, &name, options),
        Some(Found::SecurityDatabase) => secdb::read(path, &name, options).map(|input| vec![input]),
        Some(Found::Rpms) => rpms::read(path, &name, options).map(|input| vec![input]),
        Some(Found::Debs) => packages::read(path, &name, options).map(|input| vec![input]),
        Some(Found::Changelogs) => changelogs::read(path, &name, options).map(|input| vec![input]),
        None => Err(nothing(path)),
    }
    .at(|| name.clone())
}

/// Why a path is no channel source.
fn nothing(path: &Path) -> Error {
    let is_empty = path.is_dir() && std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none());
    let error = match is_empty {
        true => Error::config("an empty folder"),
        false => Error::config("no channel source of any known kind"),
    };
    error.hint(
        "name an apt repository, a Packages file, an APKINDEX, a repository of rpm packages (with its repodata), \
         a sync database of pacman, a security database of Alpine, a folder of .deb or .rpm files, or a folder of \
         changelogs",
    )
}

/// Whether this path looks like a channel source.
#[must_use]
pub fn is_channel(path: &Path) -> bool {
    kind_of(path, &Limits::default()).is_ok_and(|kind| kind.is_some())
}

/// What a path turned out to be; what counts before the others comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Found {
    Apk,
    Apt(apt::Place),
    RpmRepository,
    Debs,
    Rpms,
    PacmanSync,
    SecurityDatabase,
    Changelogs,
}

/// The kind of a path by the names in it and, of a file, by how it starts; `None` if it is no channel source.
fn kind_of(path: &Path, limits: &Limits) -> Result<Option<Found>> {
    let metadata = std::fs::metadata(path)?;
    if !metadata.is_dir() {
        return kind_of_file(path, limits);
    }
    if path.join("dists").is_dir() {
        return Ok(Some(Found::Apt(apt::Place::Repository)));
    }
    if files::is_image_or_root(path) {
        return Ok(None);
    }
    let names = files::entries(path, limits)?;
    let has =
        |is: fn(&[u8]) -> bool| names.iter().any(|(path, kind)| !kind.is_dir() && is(files::name_of(path)));
    if has(apt::is_release_name) {
        return Ok(Some(Found::Apt(apt::Place::Suite)));
    }
    if has(apt::is_name_of_list) {
        return Ok(Some(Found::Apt(apt::Place::Lists)));
    }
    let below = files::best_in(path, limits, &|name| match name {
        name if apk::is_named_index(name) => Some(Found::Apk),
        name if name == repodata::REPOMD => Some(Found::RpmRepository),
        name if packages::is_named_deb(name) => Some(Found::Debs),
        name if pacman::is_named_database(name) => Some(Found::PacmanSync),
        name if rpms::is_named_rpm(name) => Some(Found::Rpms),
        name if changelogs::is_named_changelog(name) => Some(Found::Changelogs),
        _ => None,
    })?;
    // Packages say more than an index that nobody dates.
    Ok(match below {
        Some(Found::Changelogs) | None if has(apt::is_packages_name) => Some(Found::Apt(apt::Place::Suite)),
        below => below,
    })
}

fn kind_of_file(path: &Path, limits: &Limits) -> Result<Option<Found>> {
    let name = files::name_of(path);
    if apt::is_release_name(name) {
        return Ok(Some(Found::Apt(apt::Place::Suite)));
    }
    if apk::is_named_index(name) {
        return Ok(Some(Found::Apk));
    }
    if name == repodata::REPOMD {
        return Ok(Some(Found::RpmRepository));
    }
    let head = files::first_bytes(path, limits);
    if let Ok(head) = &head {
        if pacman::is_named_database(name) && pacman::starts_as_database(head) {
            return Ok(Some(Found::PacmanSync));
        }
        if name.ends_with(b".json") && secdb::starts_as_database(head) {
            return Ok(Some(Found::SecurityDatabase));
        }
    }
    let is_named = apt::is_packages_name(name) || apt::is_list_of_host(name);
    let is_packages = match head {
        // A database of rpm is called so too.
        Ok(head) if is_named => !head.contains(&0),
        Ok(head) => starts_as_packages(&head),
        Err(_) => is_named,
    };
    Ok(is_packages.then_some(Found::Apt(apt::Place::Packages)))
}

/// Whether a text starts as an index of packages does; a database of dpkg has a status in each stanza.
fn starts_as_packages(head: &[u8]) -> bool {
    let end = memchr::memmem::find(head, b"\n\n").unwrap_or(head.len());
    let stanza = head.get(..end).unwrap_or(head);
    stanza.starts_with(b"Package: ") && memchr::memmem::find(stanza, b"\nStatus: ").is_none()
}
