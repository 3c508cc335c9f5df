//! The first visit: one walk over a stratum, everything that any collector wants of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Deserializer, Serialize};

use crate::bytes::{Head, ReadAt};
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::model::{Gap, ImagePath};
use crate::stratum::{Entry, Node, Request, Scope, Sink, Stratum, Want};

use super::{COLLECTORS, Collector, Fact, FileView, Member, run};

/// What one stratum says, and nothing but this stratum.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// Everything that is in it, as far as it was walked.
    pub entries: BTreeMap<ImagePath, Node>,
    /// What files of it say.
    pub found: BTreeMap<ImagePath, Arc<Found>>,
    /// What could not be read of it.
    pub gaps: Vec<Gap>,
    /// Whether only the collectors' places were looked up: then a path that is not in `entries` may exist.
    pub partial: bool,
    /// Whether the host or a limit kept something from being read, so that another run may say more.
    pub is_passing: bool,
}

/// A collector's stable name.
pub type CollectorId = &'static str;

/// What one file says, a part a collector.
pub type Found = Vec<Part>;

/// What one collector found in one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The collector's name.
    #[serde(deserialize_with = "collector_id")]
    pub collector: CollectorId,
    /// The facts, with the members that they came from.
    pub facts: Vec<(Member, Fact)>,
    /// What could not be read of the file.
    pub gaps: Vec<Gap>,
    /// Whether the host or a limit kept it from being read.
    #[serde(skip)]
    pub is_passing: bool,
}

impl Part {
    /// Nothing yet.
    pub(super) fn new(collector: CollectorId) -> Self {
        Part { collector, facts: Vec::new(), gaps: Vec::new(), is_passing: false }
    }
}

/// The name of a collector that there is.
fn collector_id<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<CollectorId, D::Error> {
    let name = String::deserialize(deserializer)?;
    let known = COLLECTORS.iter().map(|collector| collector.id()).find(|id| *id == name);
    known.ok_or_else(|| serde::de::Error::custom(format!("no collector is called `{name}`")))
}

/// Visits a stratum once for these collectors.
///
/// # Errors
/// If the stratum as a whole cannot be believed.
pub fn gather(
    stratum: &dyn Stratum,
    scope: Scope<'_>,
    collectors: &[&dyn Collector],
    limits: &Limits,
) -> Result<Facts> {
    let sink = Gatherer { collectors, limits, facts: Mutex::default() };
    stratum.visit(scope, &sink)?;
    let mut facts = sink.facts.into_inner().unwrap_or_else(PoisonError::into_inner);
    facts.partial = matches!(scope, Scope::Only(_));
    limits.entries.check(facts.entries.len() as u64)?;
    Ok(facts)
}

struct Gatherer<'a> {
    collectors: &'a [&'a dyn Collector],
    limits: &'a Limits,
    facts: Mutex<Facts>,
}

impl Gatherer<'_> {
    fn with<T>(&self, change: impl FnOnce(&mut Facts) -> T) -> T {
        change(&mut self.facts.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Sink for Gatherer<'_> {
    fn request(&self, entry: &Entry) -> Request {
        self.with(|facts| facts.insert(entry, self.limits));
        let want = match entry.node {
            Node::File(_) => self.collectors.iter().map(|c| c.want(entry)).max().unwrap_or(Want::No),
            _ => Want::No,
        };
        Request::content(want)
    }

    fn file(&self, entry: &Entry, content: &dyn ReadAt) {
        let mut found = Found::new();
        for collector in self.collectors {
            let part = match collector.want(entry) {
                Want::No => continue,
                Want::Head(len) => {
                    let head = Head::new(content, u64::from(len));
                    run(
                        *collector,
                        &FileView { path: &entry.path, content: &head, companions: &[], limits: self.limits },
                    )
                }
                Want::Random => run(
                    *collector,
                    &FileView { path: &entry.path, content, companions: &[], limits: self.limits },
                ),
            };
            found.push(part);
        }
        self.with(|facts| {
            facts.is_passing |= found.iter().any(|part| part.is_passing);
            facts.found.insert(entry.path.clone(), Arc::new(found))
        });
    }

    fn gap(&self, gap: Gap) {
        self.with(|facts| facts.push_gap(gap, self.limits));
    }

    fn failed(&self, gap: Gap, error: &Error) {
        self.with(|facts| {
            facts.is_passing |= error.is_passing();
            facts.push_gap(gap, self.limits);
        });
    }
}

impl Facts {
    /// Adds an entry. A path that comes again replaces what was there, with all that was below it; a
    /// whiteout beside what it names leaves this and hides lower strata only.
    fn insert(&mut self, entry: &Entry, limits: &Limits) {
        if self.entries.len() as u64 > limits.entries.max {
            return; // `gather` turns this into an error once the walk is over
        }
        let Some(old) = self.entries.get_mut(&entry.path) else {
            // Its path may be a directory that only entries below it told of; most come in order.
            let may_have_below = self.entries.last_key_value().is_some_and(|(last, _)| *last > entry.path);
            let replaces = !matches!(entry.node, Node::Directory(_) | Node::Opaque | Node::Whiteout);
            if may_have_below && replaces {
                remove_below(&mut self.entries, &entry.path);
                remove_below(&mut self.found, &entry.path);
            }
            self.entries.insert(entry.path.clone(), entry.node.clone());
            return;
        };
        let was_directory = matches!(old, Node::Directory(_) | Node::Opaque);
        match (&*old, &entry.node) {
            (Node::Whiteout | Node::Opaque, Node::Directory(_))
            | (Node::Directory(_) | Node::Opaque, Node::Whiteout | Node::Opaque) => *old = Node::Opaque,
            (_, Node::Whiteout) => {}
            (Node::Directory(_), Node::Directory(_)) => *old = entry.node.clone(),
            _ => {
                *old = entry.node.clone();
                self.found.remove(&entry.path);
                if was_directory {
                    remove_below(&mut self.entries, &entry.path);
                    remove_below(&mut self.found, &entry.path);
                }
            }
        }
    }

    fn push_gap(&mut self, gap: Gap, limits: &Limits) {
        if (self.gaps.len() as u64) < limits.gaps.max {
            self.gaps.push(gap);
        } else if let Some(last) = self.gaps.last_mut() {
            *last = limits_gap(last.required || gap.required, limits);
            self.is_passing = true;
        }
    }
}

fn limits_gap(required: bool, limits: &Limits) -> Gap {
    Gap {
        place: "image".into(),
        reason: format!("more than {} gaps; the rest is not told", limits.gaps.max),
        required,
    }
}

/// Takes everything strictly below a directory out of a map of paths. In the order of bytes the paths below
/// `a` lie together between `a/` and `a0`.
fn remove_below<T>(map: &mut BTreeMap<ImagePath, T>, directory: &ImagePath) {
    let below = map.range(directory.join("\0")..).take_while(|(path, _)| path.below(directory).is_some());
    let below: Vec<ImagePath> = below.map(|(path, _)| path.clone()).collect();
    for path in below {
        map.remove(&path);
    }
}
