//! Second visits, usually none: files that links lead to, databases with their logs.
//!
//! A walk shows files under their own paths. Where a collector's place is reached through a link (an admin
//! directory that was moved, a hard link to a file of a lower stratum, a documentation directory that is
//! another package's), and where a database has a companion, the files are visited once more, by path, and
//! shown to the collector under the name that it knows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::bytes::{Head, ReadAt};
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::model::{Gap, ImagePath, StratumId};
use crate::stratum::{Entry, Meta, Node, Request, Scope, Sink, Stratum, Want};

use super::gather::Part;
use super::squash::{Located, Resolved, Squashed};
use super::{Collector, FileView, run};

/// One second visit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum FollowUp {
    /// A file that a collector knows by another path.
    Alias { collector: usize, alias: ImagePath, real: ImagePath },
    /// A database with its companions.
    Companions { collector: usize, path: ImagePath, companions: Vec<(ImagePath, ImagePath)> },
    /// A path in a part of the tree that was not walked.
    Explore { real: ImagePath },
}

/// What a second visit of one stratum is made for: by the real path of each file there, the collectors (with
/// their names) and the paths that they know it by.
pub type Asked<'a> = BTreeMap<&'a ImagePath, Vec<(&'static str, &'a ImagePath)>>;

/// What a second visit of one stratum found.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Visited {
    /// What the collectors said of each file that is there, in the order in which they were asked.
    pub parts: Vec<(ImagePath, Vec<Part>)>,
    /// What could not be read.
    pub gaps: Vec<Gap>,
    /// Whether the host or a limit kept something from being read.
    #[serde(skip)]
    pub is_passing: bool,
}

/// Makes second visits, or remembers what they found: they depend on nothing but the stratum, what is asked
/// and the limits.
pub trait SecondVisits {
    /// What the visit finds; `visit` makes it.
    ///
    /// # Errors
    /// Those of the visit.
    fn visit(
        &self,
        stratum: StratumId,
        asked: &Asked<'_>,
        visit: &dyn Fn() -> Result<Visited>,
    ) -> Result<Visited>;
}

/// Makes every visit.
impl SecondVisits for () {
    fn visit(&self, _: StratumId, _: &Asked<'_>, visit: &dyn Fn() -> Result<Visited>) -> Result<Visited> {
        visit()
    }
}

/// Makes the second visits that the collectors need, until there are none left. Every visit is made once, so
/// it ends. What fails becomes a gap of the squashed tree.
pub fn follow_up(
    squashed: &mut Squashed,
    strata: &[&dyn Stratum],
    collectors: &[&dyn Collector],
    limits: &Limits,
    visits: &dyn SecondVisits,
) {
    let mut done = BTreeSet::new();
    loop {
        let todo: Vec<FollowUp> =
            needed(squashed, collectors).into_iter().filter(|f| !done.contains(f)).collect();
        if todo.is_empty() {
            return irregular(squashed, collectors);
        }
        if (done.len() + todo.len()) as u64 > limits.follow_ups.max {
            let error = limits.follow_ups.passed((done.len() + todo.len()) as u64);
            squashed.gaps.push(Gap { place: "links".into(), reason: error.reason(), required: true });
            return irregular(squashed, collectors);
        }
        visit_aliases(&todo, squashed, strata, collectors, limits, visits);
        for visit in &todo {
            carry_out(visit, squashed, strata, collectors, limits);
        }
        done.extend(todo);
    }
}

/// Gaps for what should be a file that a collector reads, and is none: a device, a pipe, a directory, a link
/// to nothing.
fn irregular(squashed: &mut Squashed, collectors: &[&dyn Collector]) {
    let mut gaps = BTreeSet::new();
    for collector in collectors {
        for place in collector.places() {
            let place = ImagePath::from(*place);
            for path in [&place, &place.parent()] {
                if leads_nowhere(squashed, path) && collector.is_required(&place) {
                    gaps.insert(irregular_gap(path, "a link that leads nowhere", true));
                }
            }
            let below = squashed.below(&place).map(|(path, node)| (path.clone(), node.clone()));
            let all = below.chain(squashed.node(&place).map(|node| (place.clone(), node.clone())));
            for (path, node) in all {
                let what = match node {
                    Node::Special => "a device, pipe or socket where a file should be",
                    Node::Directory(_) | Node::Opaque if collector.reads_files_only() => {
                        "a directory where a file should be"
                    }
                    Node::Symlink(_) if leads_nowhere(squashed, &path) => "a link that leads nowhere",
                    _ => continue,
                };
                let as_file = Entry { path: path.clone(), node: Node::File(Meta::default()) };
                if collector.want(&as_file) != Want::No {
                    gaps.insert(irregular_gap(&path, what, collector.is_required(&path)));
                }
            }
        }
    }
    squashed.gaps.extend(gaps);
}

fn irregular_gap(path: &ImagePath, what: &str, required: bool) -> Gap {
    Gap { place: path.to_string(), reason: what.into(), required }
}

fn leads_nowhere(squashed: &Squashed, path: &ImagePath) -> bool {
    matches!(squashed.node(path), Some(Node::Symlink(_)))
        && matches!(squashed.resolve(path), Resolved::Nothing | Resolved::Unknown(_))
}

/// The second visits that the tree as it is known asks for, sorted.
fn needed(squashed: &mut Squashed, collectors: &[&dyn Collector]) -> BTreeSet<FollowUp> {
    let mut needed = BTreeSet::new();
    let mut gaps = BTreeSet::new();
    for (index, collector) in collectors.iter().enumerate() {
        for place in collector.places() {
            let place = ImagePath::from(*place);
            alias_of(squashed, index, *collector, &place, &mut needed, &mut gaps);
            let links: Vec<&ImagePath> = squashed
                .below(&place)
                .filter_map(|(path, node)| matches!(node, Node::Symlink(_)).then_some(path))
                .collect();
            for link in links {
                alias_of(squashed, index, *collector, link, &mut needed, &mut gaps);
            }
        }
    }
    for path in squashed.named_otherwise() {
        for (index, collector) in collectors.iter().enumerate() {
            add_alias(squashed, index, *collector, path, path, &mut needed);
        }
    }
    for (path, found) in squashed.visible() {
        for part in found {
            companions_of(squashed, collectors, path, part, &mut needed);
        }
    }
    for gap in gaps {
        if !squashed.gaps.contains(&gap) {
            squashed.gaps.push(gap);
        }
    }
    needed
}

/// What a place of a collector, or a link in one, leads to.
fn alias_of(
    squashed: &Squashed,
    index: usize,
    collector: &dyn Collector,
    place: &ImagePath,
    needed: &mut BTreeSet<FollowUp>,
    gaps: &mut BTreeSet<Gap>,
) {
    match squashed.resolve(place) {
        Resolved::File(real) if real != *place => add_alias(squashed, index, collector, place, &real, needed),
        Resolved::Directory(real) if real != *place => {
            for (path, node) in squashed.below(&real) {
                if matches!(node, Node::File(_) | Node::HardLink(_))
                    && let Some(rest) = path.below(&real)
                {
                    add_alias(squashed, index, collector, &place.join(rest), path, needed);
                }
            }
            if squashed.partial {
                needed.insert(FollowUp::Explore { real });
            }
        }
        Resolved::Unknown(real) if real != *place => {
            needed.insert(FollowUp::Explore { real });
        }
        Resolved::Loop if collector.is_required(place) => {
            gaps.insert(Gap {
                place: place.to_string(),
                reason: "symbolic links lead round in circles".into(),
                required: true,
            });
        }
        _ => {}
    }
}

/// Asks for a file under another name, if the collector wants it by that name and has not seen it.
fn add_alias(
    squashed: &Squashed,
    index: usize,
    collector: &dyn Collector,
    alias: &ImagePath,
    real: &ImagePath,
    needed: &mut BTreeSet<FollowUp>,
) {
    let seen = squashed.found(real).is_some_and(|parts| parts.iter().any(|p| p.collector == collector.id()));
    let entry = Entry { path: alias.clone(), node: Node::File(Meta::default()) };
    if !seen && collector.want(&entry) != Want::No {
        needed.insert(FollowUp::Alias { collector: index, alias: alias.clone(), real: real.clone() });
    }
}

fn companions_of(
    squashed: &Squashed,
    collectors: &[&dyn Collector],
    path: &ImagePath,
    part: &Part,
    needed: &mut BTreeSet<FollowUp>,
) {
    let Some((index, collector)) = collectors.iter().enumerate().find(|(_, c)| c.id() == part.collector)
    else {
        return;
    };
    let companions: Vec<(ImagePath, ImagePath)> = collector
        .companions(path)
        .into_iter()
        .filter_map(|companion| match squashed.resolve(&companion) {
            Resolved::File(real) => Some((companion, real)),
            _ => None,
        })
        .collect();
    if !companions.is_empty() {
        needed.insert(FollowUp::Companions { collector: index, path: path.clone(), companions });
    }
}

fn carry_out(
    visit: &FollowUp,
    squashed: &mut Squashed,
    strata: &[&dyn Stratum],
    collectors: &[&dyn Collector],
    limits: &Limits,
) {
    let result = match visit {
        FollowUp::Alias { .. } => Ok(()),
        FollowUp::Companions { collector, path, companions } => {
            visit_companions(squashed, strata, collectors[*collector], path, companions, limits)
        }
        FollowUp::Explore { real } => explore(squashed, strata, real),
    };
    if let Err(error) = result {
        squashed.gaps.push(Gap { place: error.place(), reason: error.reason(), required: true });
    }
}

/// A file of one stratum that a collector is shown under another name.
struct Shown<'a> {
    collector: &'a dyn Collector,
    alias: &'a ImagePath,
    /// The path that it really has in the end, and since which stratum it says this there.
    real: &'a ImagePath,
    as_of: StratumId,
    /// Whether it is what is visible at last.
    is_last: bool,
}

/// Shows files to collectors under other names, in their own strata and in those where earlier files lay: one
/// visit a stratum, however many files there are.
fn visit_aliases(
    todo: &[FollowUp],
    squashed: &mut Squashed,
    strata: &[&dyn Stratum],
    collectors: &[&dyn Collector],
    limits: &Limits,
    visits: &dyn SecondVisits,
) {
    let mut by_stratum: BTreeMap<StratumId, BTreeMap<ImagePath, Vec<Shown<'_>>>> = BTreeMap::new();
    for follow_up in todo {
        let FollowUp::Alias { collector, alias, real } = follow_up else { continue };
        let collector = collectors[*collector];
        let Some(located) = squashed.locate(real) else {
            let reason = "a hard link to a file that is in no layer".into();
            let required = collector.is_required(alias);
            squashed.gaps.push(Gap { place: alias.to_string(), reason, required });
            continue;
        };
        // A hard link's content lies in one stratum, and the link may have come with a higher one.
        let placed = squashed.placed(real).unwrap_or(located.stratum);
        let since = squashed.says_since(real, alias).unwrap_or(placed);
        let earlier = squashed.earlier(real).iter().copied().filter(|stratum| *stratum < placed);
        let places = earlier.map(|id| (id, id, real.clone(), false));
        for (stratum, as_of, path, is_last) in places.chain([(located.stratum, since, located.path, true)]) {
            let shown = Shown { collector, alias, real, as_of, is_last };
            by_stratum.entry(stratum).or_default().entry(path).or_default().push(shown);
        }
    }
    for (id, files) in by_stratum {
        let Some(stratum) = strata.get(id.index()) else { continue };
        let Visited { parts, gaps, .. } =
            match visits.visit(id, &asked(&files), &|| visit_files(*stratum, &files, limits)) {
                Ok(visited) => visited,
                Err(error) => {
                    squashed.gaps.push(Gap { place: error.place(), reason: error.reason(), required: true });
                    continue;
                }
            };
        let parts: BTreeMap<ImagePath, Vec<Part>> = parts.into_iter().collect();
        for (path, shown) in &files {
            match parts.get(path) {
                Some(parts) => {
                    for (shown, part) in shown.iter().zip(parts) {
                        squashed.add_found(shown.real, shown.as_of, vec![part.clone()]);
                    }
                }
                None if gaps.is_empty() && shown.iter().any(|shown| shown.is_last) => {
                    squashed.gaps.push(gone(path));
                }
                None => {}
            }
        }
        squashed.gaps.extend(gaps);
    }
}

fn asked<'a>(files: &'a BTreeMap<ImagePath, Vec<Shown<'a>>>) -> Asked<'a> {
    let of = |shown: &'a Vec<Shown<'a>>| shown.iter().map(|s| (s.collector.id(), s.alias)).collect();
    files.iter().map(|(path, shown)| (path, of(shown))).collect()
}

fn visit_files(
    stratum: &dyn Stratum,
    files: &BTreeMap<ImagePath, Vec<Shown<'_>>>,
    limits: &Limits,
) -> Result<Visited> {
    let paths: Vec<ImagePath> = files.keys().cloned().collect();
    let sink = Aliases { files, limits, read: Mutex::default() };
    stratum.visit(Scope::Only(&paths), &sink)?;
    let (parts, gaps, is_passing) = sink.read.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(Visited { parts: parts.into_iter().collect(), gaps, is_passing })
}

/// Runs every collector that waits for a file.
struct Aliases<'a> {
    files: &'a BTreeMap<ImagePath, Vec<Shown<'a>>>,
    limits: &'a Limits,
    read: Mutex<Read>,
}

/// What the collectors said of each file, the gaps of the visit, and whether some may pass.
type Read = (BTreeMap<ImagePath, Vec<Part>>, Vec<Gap>, bool);

impl Aliases<'_> {
    fn want(shown: &Shown<'_>) -> Want {
        shown.collector.want(&Entry { path: shown.alias.clone(), node: Node::File(Meta::default()) })
    }
}

impl Sink for Aliases<'_> {
    fn request(&self, entry: &Entry) -> Request {
        let wants = match entry.node {
            Node::File(_) => self.files.get(&entry.path).into_iter().flatten().map(Self::want).max(),
            _ => None,
        };
        Request::content(wants.unwrap_or(Want::No))
    }

    fn file(&self, entry: &Entry, content: &dyn ReadAt) {
        let Some(shown) = self.files.get(&entry.path) else { return };
        let parts: Vec<Part> = shown
            .iter()
            .map(|shown| {
                let most = match Self::want(shown) {
                    Want::Head(len) => u64::from(len),
                    Want::No | Want::Random => u64::MAX,
                };
                let content = &Head::new(content, most);
                run(
                    shown.collector,
                    &FileView { path: shown.alias, content, companions: &[], limits: self.limits },
                )
            })
            .collect();
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        read.2 |= parts.iter().any(|part| part.is_passing);
        read.0.insert(entry.path.clone(), parts);
    }

    fn gap(&self, gap: Gap) {
        self.read.lock().unwrap_or_else(PoisonError::into_inner).1.push(gap);
    }

    fn failed(&self, gap: Gap, error: &Error) {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        read.1.push(gap);
        read.2 |= error.is_passing();
    }
}

/// Shows a database to its collector again, together with its companions, wherever each of them lies.
fn visit_companions(
    squashed: &mut Squashed,
    strata: &[&dyn Stratum],
    collector: &dyn Collector,
    path: &ImagePath,
    companions: &[(ImagePath, ImagePath)],
    limits: &Limits,
) -> Result<()> {
    let mut files = Vec::new();
    for real in [path].into_iter().chain(companions.iter().map(|(_, real)| real)) {
        match squashed.locate(real) {
            Some(located) => files.push(located),
            None => return Ok(()),
        }
    }
    let names: Vec<ImagePath> = companions.iter().map(|(name, _)| name.clone()).collect();
    let mut part = None;
    let gaps = open_all(strata, &files, &[], &mut |contents| {
        if let Some((content, rest)) = contents.split_first() {
            let companions: Vec<(ImagePath, &dyn ReadAt)> =
                names.iter().cloned().zip(rest.iter().copied()).collect();
            let file = FileView { path, content: *content, companions: &companions, limits };
            part = Some(run(collector, &file));
        }
    })?;
    match (part, squashed.says_since(path, path)) {
        (Some(part), Some(since)) => squashed.add_found(path, since, vec![part]),
        _ if gaps.is_empty() => files.iter().for_each(|file| squashed.gaps.push(gone(&file.path))),
        _ => {}
    }
    squashed.gaps.extend(gaps);
    Ok(())
}

/// Learns what is at a path of a tree that was walked in part.
fn explore(squashed: &mut Squashed, strata: &[&dyn Stratum], real: &ImagePath) -> Result<()> {
    for stratum in strata {
        let sink = Entries::default();
        stratum.visit(Scope::Only(std::slice::from_ref(real)), &sink)?;
        let (entries, gaps) = sink.seen.into_inner().unwrap_or_else(PoisonError::into_inner);
        for entry in entries {
            squashed.add_entry(&entry.path, entry.node, stratum.id());
        }
        squashed.gaps.extend(gaps);
    }
    Ok(())
}

fn gone(path: &ImagePath) -> Gap {
    Gap {
        place: path.to_string(),
        reason: "it was there at the first visit and is gone at the second".into(),
        required: true,
    }
}

/// Calls `with` while all files are open: a visit inside a visit, so that none has to be copied. Returns the
/// gaps that the visits told.
fn open_all(
    strata: &[&dyn Stratum],
    files: &[Located],
    opened: &[&dyn ReadAt],
    with: &mut (dyn FnMut(&[&dyn ReadAt]) + Send),
) -> Result<Vec<Gap>> {
    let Some((file, rest)) = files.split_first() else {
        with(opened);
        return Ok(Vec::new());
    };
    let Some(stratum) = strata.get(file.stratum.index()) else {
        return Ok(vec![gone(&file.path)]);
    };
    let inner = Mutex::new((with, Ok(Vec::new())));
    let sink = Opener {
        path: &file.path,
        open: &|content| {
            let mut inner = inner.lock().unwrap_or_else(PoisonError::into_inner);
            let mut opened = opened.to_vec();
            opened.push(content);
            inner.1 = open_all(strata, rest, &opened, &mut *inner.0);
        },
        gaps: Mutex::default(),
    };
    stratum.visit(Scope::Only(std::slice::from_ref(&file.path)), &sink)?;
    let mut gaps = sink.gaps.into_inner().unwrap_or_else(PoisonError::into_inner);
    gaps.extend(inner.into_inner().unwrap_or_else(PoisonError::into_inner).1?);
    Ok(gaps)
}

/// Opens one file.
struct Opener<'a> {
    path: &'a ImagePath,
    open: &'a (dyn Fn(&dyn ReadAt) + Sync),
    gaps: Mutex<Vec<Gap>>,
}

impl Sink for Opener<'_> {
    fn request(&self, entry: &Entry) -> Request {
        let wanted = entry.path == *self.path && matches!(entry.node, Node::File(_));
        Request::content(if wanted { Want::Random } else { Want::No })
    }

    fn file(&self, _entry: &Entry, content: &dyn ReadAt) {
        (self.open)(content);
    }

    fn gap(&self, gap: Gap) {
        self.gaps.lock().unwrap_or_else(PoisonError::into_inner).push(gap);
    }
}

/// Notes entries and reads nothing.
#[derive(Default)]
struct Entries {
    seen: Mutex<(Vec<Entry>, Vec<Gap>)>,
}

impl Sink for Entries {
    fn request(&self, entry: &Entry) -> Request {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).0.push(entry.clone());
        Request::NOTHING
    }

    fn file(&self, _entry: &Entry, _content: &dyn ReadAt) {}

    fn gap(&self, gap: Gap) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).1.push(gap);
    }
}
