//! Joins the strata: what is visible at last, and what lower strata said before.
//!
//! The rules are those of the OCI image specification, "Applying changesets": a whiteout hides its path of
//! lower strata, an opaque directory all that lower strata have in it, anything but a directory replaces what
//! is there, a directory joins a directory. A path whose parent is a link, in what lies below or in its own
//! stratum, is where the link leads, as engines apply it.

mod tree;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::model::{Gap, ImagePath, StratumId};
use crate::stratum::Node;

use super::gather::{Facts, Found};

use tree::Tree;

/// All strata as one tree, with the facts of every time.
#[derive(Debug, Clone, Default)]
pub struct Squashed {
    tree: Tree,
    /// What the file at a path said as of each stratum that touched it; `None` once it was gone.
    events: BTreeMap<ImagePath, Vec<Event>>,
    /// The strata in which an earlier file lay at a path.
    earlier: BTreeMap<ImagePath, Vec<StratumId>>,
    /// What visible files say under names that led to them when they came, by the paths that they really have.
    known_as: BTreeMap<ImagePath, KnownAs>,
    /// Gaps that concern no single file.
    pub gaps: Vec<Gap>,
    /// Whether parts of the tree were not walked.
    pub partial: bool,
    pub(super) strata: u32,
}

/// A visible entry.
#[derive(Debug, Clone)]
struct Placed {
    node: Node,
    stratum: StratumId,
    /// For a hard link, and for a file that its layer names through a link: where its content lies.
    content: Option<Box<Located>>,
}

/// Where a file's content lies.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Located {
    /// The stratum.
    pub stratum: StratumId,
    /// The path in that stratum.
    pub path: ImagePath,
}

/// What changed at a path in a stratum.
#[derive(Debug, Clone)]
struct Event {
    stratum: StratumId,
    found: Option<Arc<Found>>,
}

/// What a file says because its stratum names it through a link: only while the name leads to it.
#[derive(Debug, Clone)]
struct KnownAs {
    name: ImagePath,
    found: Arc<Found>,
    leads_there: bool,
}

/// Where a path leads through links.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolved {
    /// To a file, with the path that it really has.
    File(ImagePath),
    /// To a directory.
    Directory(ImagePath),
    /// To nothing.
    Nothing,
    /// To a path of which nothing is known, since the tree was not walked there.
    Unknown(ImagePath),
    /// Round in circles.
    Loop,
}

/// Joins the facts of all strata, lowest first.
#[must_use]
pub fn squash(strata: Vec<Facts>) -> Squashed {
    let mut squashed = Squashed::default();
    for facts in strata {
        squashed.apply(Arc::new(facts));
    }
    squashed
}

impl Squashed {
    /// Makes copies of it cheap: they share everything that is in it now.
    pub fn freeze(&mut self) {
        self.tree.freeze();
    }

    /// How many entries are visible.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tree.len()
    }

    /// Whether nothing is visible.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tree.is_empty()
    }

    /// Puts one more stratum on top.
    pub fn apply(&mut self, facts: Arc<Facts>) {
        let mut facts = Arc::unwrap_or_clone(facts);
        let id = StratumId(self.strata);
        self.strata += 1;
        self.partial |= facts.partial;
        self.gaps.append(&mut facts.gaps);
        loop {
            let behind = behind_links(&mut facts);
            self.join(id, facts);
            if behind.entries.is_empty() {
                break;
            }
            facts = behind;
        }
        self.follow_names(id);
    }

    /// A stratum may have taken away a link by which a file was known, or put it back.
    fn follow_names(&mut self, by: StratumId) {
        let mut changed = Vec::new();
        for (path, known) in &self.known_as {
            let leads_there = matches!(self.follow(&known.name), Resolved::File(real) if real == *path);
            if leads_there != known.leads_there {
                changed.push((path.clone(), leads_there));
            }
        }
        for (path, leads_there) in changed {
            let Some(known) = self.known_as.get_mut(&path) else { continue };
            known.leads_there = leads_there;
            let found = leads_there.then(|| Arc::clone(&known.found));
            self.events.entry(path).or_default().push(Event { stratum: by, found });
        }
    }

    /// Puts entries of a stratum on top, none of which lies behind a link among them.
    fn join(&mut self, id: StratumId, facts: Facts) {
        // Nothing below: nothing moves, nothing is hidden.
        let is_lowest = self.tree.is_empty();
        let mut moved: HashMap<ImagePath, ImagePath> = HashMap::new();
        if !is_lowest {
            let mut homes = Homes { own: &facts.entries, below: self, known: HashMap::new() };
            for path in facts.entries.keys() {
                if let Some(home) = homes.of(path) {
                    moved.insert(path.clone(), home);
                }
            }
            for (path, node) in &facts.entries {
                self.hide(id, moved.get(path).unwrap_or(path), node);
            }
        }
        let home = |path: ImagePath| moved.get(&path).cloned().unwrap_or(path);

        let visible = facts.entries.into_iter().filter(|(_, node)| *node != Node::Whiteout);
        let placed = |node| Placed { node, stratum: id, content: None };
        let below_files = if is_lowest {
            self.tree = Tree::of(visible.map(|(path, node)| (path, placed(node))));
            self.below_files(self.tree.paths())
        } else {
            let mut paths = Vec::new();
            for (named, node) in visible {
                let path = home(named.clone());
                let mut placed = placed(node);
                if named != path && matches!(placed.node, Node::File(_)) {
                    placed.content = Some(Box::new(Located { stratum: id, path: named }));
                }
                paths.push(path.clone());
                self.tree.insert(path, placed);
            }
            paths.sort();
            self.below_files(paths.iter())
        };
        self.take_out(id, &below_files);
        self.locate_links(id, &moved);
        for (named, found) in facts.found {
            let path = home(named.clone());
            if below_files.contains_key(&path) {
                continue;
            }
            if named == path {
                self.known_as.remove(&path);
            } else {
                let known = KnownAs { name: named, found: Arc::clone(&found), leads_there: true };
                self.known_as.insert(path.clone(), known);
            }
            self.events.entry(path).or_default().push(Event { stratum: id, found: Some(found) });
        }
    }

    /// Which of these sorted paths lie below something that is no directory, and below what.
    fn below_files<'p>(&self, sorted: impl Iterator<Item = &'p ImagePath>) -> BTreeMap<ImagePath, ImagePath> {
        let mut below_files = BTreeMap::new();
        let mut in_the_way: Option<ImagePath> = None;
        let mut good_parent: &[u8] = b"";
        for path in sorted {
            if path.parent_bytes() == good_parent {
                continue;
            }
            let is_below = in_the_way.as_ref().is_some_and(|above| path.below(above).is_some());
            if !is_below {
                in_the_way = self.no_directory_above(path);
            }
            match &in_the_way {
                Some(above) => drop(below_files.insert(path.clone(), above.clone())),
                None => good_parent = path.parent_bytes(),
            }
        }
        below_files
    }

    /// Takes out what a stratum has below something that is no directory: no engine unpacks such a layer (umoci,
    /// containerd and GNU tar stop there), so what it would make is unknown. A gap each for what is in the way.
    fn take_out(&mut self, id: StratumId, below_files: &BTreeMap<ImagePath, ImagePath>) {
        let mut in_the_way: BTreeMap<&ImagePath, u64> = BTreeMap::new();
        for (path, above) in below_files {
            self.tree.remove(path);
            *in_the_way.entry(above).or_default() += 1;
        }
        for (above, entries) in in_the_way {
            let reason = format!(
                "layer {} has {entries} entries below it, and it is no directory: engines do not unpack such a layer",
                id.0
            );
            self.gaps.push(Gap { place: above.to_string(), reason, required: true });
        }
    }

    /// What is nearest above a path, if it is no directory.
    fn no_directory_above(&self, path: &ImagePath) -> Option<ImagePath> {
        let mut above = path.parent();
        while !above.is_root() {
            match self.tree.get(&above).map(|placed| &placed.node) {
                Some(Node::Directory(_) | Node::Opaque) => return None,
                Some(_) => return Some(above),
                None => above = above.parent(),
            }
        }
        None
    }

    /// Hides what an entry of a higher stratum hides of this tree.
    fn hide(&mut self, by: StratumId, path: &ImagePath, node: &Node) {
        let is_directory = |placed: &Placed| matches!(placed.node, Node::Directory(_) | Node::Opaque);
        let old = self.tree.get(path);
        match node {
            Node::Directory(_) => {
                if old.is_some_and(|old| !is_directory(old)) {
                    self.remove(by, path);
                }
            }
            Node::Opaque => {
                if old.is_some_and(|old| !is_directory(old)) {
                    self.remove(by, path);
                }
                self.remove_below(by, path);
            }
            Node::Whiteout => {
                self.remove(by, path);
                self.remove_below(by, path);
            }
            Node::File(_) | Node::Symlink(_) | Node::HardLink(_) | Node::Special => {
                self.remove(by, path);
                self.remove_below(by, path);
            }
        }
    }

    fn remove(&mut self, by: StratumId, path: &ImagePath) {
        if let Some(old) = self.tree.remove(path) {
            self.removed(by, path, &old);
        }
    }

    fn remove_below(&mut self, by: StratumId, path: &ImagePath) {
        for (path, old) in self.tree.remove_below(path) {
            self.removed(by, &path, &old);
        }
    }

    fn removed(&mut self, by: StratumId, path: &ImagePath, old: &Placed) {
        if matches!(old.node, Node::File(_) | Node::HardLink(_)) && old.stratum != by {
            self.earlier.entry(path.clone()).or_default().push(old.stratum);
        }
        self.known_as.remove(path);
        if let Some(events) = self.events.get_mut(path) {
            events.push(Event { stratum: by, found: None });
        }
    }

    /// Finds the contents of a stratum's hard links. One may come before its target in the order of paths and
    /// after it in the layer, and its target may be a link again: hence twice.
    fn locate_links(&mut self, id: StratumId, moved: &HashMap<ImagePath, ImagePath>) {
        for _ in 0..2 {
            let open = self.tree.named_otherwise().filter_map(|path| match self.tree.get(path) {
                Some(Placed { node: Node::HardLink(target), stratum, content: None }) if *stratum == id => {
                    Some((path.clone(), moved.get(target).unwrap_or(target).clone()))
                }
                _ => None,
            });
            let open: Vec<(ImagePath, ImagePath)> = open.collect();
            for (path, target) in open {
                let content = self.locate(&target).map(Box::new);
                if let Some(placed) = self.tree.own_mut(&path) {
                    placed.content = content;
                }
            }
        }
    }

    /// Where the content of the file at a real path lies: its own stratum, or where its hard link leads.
    #[must_use]
    pub fn locate(&self, path: &ImagePath) -> Option<Located> {
        let placed = self.tree.get(path)?;
        match &placed.node {
            Node::File(_) if placed.content.is_none() => {
                Some(Located { stratum: placed.stratum, path: path.clone() })
            }
            Node::File(_) | Node::HardLink(_) => placed.content.as_deref().cloned(),
            _ => None,
        }
    }

    /// The stratum that put what is visible at a real path there.
    #[must_use]
    pub fn placed(&self, path: &ImagePath) -> Option<StratumId> {
        self.tree.get(path).map(|placed| placed.stratum)
    }

    /// The stratum since which the file at a real path says what it says under a name that leads to it: that
    /// which put it there; where no name led to it any more, that which brought the links of this one.
    #[must_use]
    pub(super) fn says_since(&self, path: &ImagePath, name: &ImagePath) -> Option<StratumId> {
        let placed = self.placed(path)?;
        let last = self.events.get(path).and_then(|events| events.last());
        match last {
            Some(Event { stratum: cut, found: None }) if *cut > placed => {
                let above =
                    std::iter::successors(Some(name.clone()), |at| (!at.is_root()).then(|| at.parent()));
                let links = above.filter_map(|at| self.tree.get(&at));
                let links = links.filter(|placed| matches!(placed.node, Node::Symlink(_)));
                Some(links.map(|link| link.stratum).fold(*cut, StratumId::max))
            }
            Some(Event { stratum, .. }) => Some(placed.max(*stratum)),
            None => Some(placed),
        }
    }

    /// The strata in which an earlier file lay at a real path, lowest first.
    #[must_use]
    pub fn earlier(&self, path: &ImagePath) -> &[StratumId] {
        self.earlier.get(path).map_or(&[], Vec::as_slice)
    }

    /// What is visible at a real path.
    #[must_use]
    pub fn node(&self, path: &ImagePath) -> Option<&Node> {
        self.tree.get(path).map(|placed| &placed.node)
    }

    /// Real paths of files whose layers name them, or their content, otherwise, in order.
    pub(super) fn named_otherwise(&self) -> impl Iterator<Item = &ImagePath> {
        self.tree.named_otherwise()
    }

    /// Everything visible strictly below a real path, in order.
    pub fn below(&self, directory: &ImagePath) -> impl Iterator<Item = (&ImagePath, &Node)> {
        self.tree.below(directory).map(|(path, placed)| (path, &placed.node))
    }

    /// What the file at a real path says at last.
    #[must_use]
    pub fn found(&self, path: &ImagePath) -> Option<&Found> {
        self.events.get(path)?.last()?.found.as_deref()
    }

    /// All files that say something at last, in order of their real paths.
    pub fn visible(&self) -> impl Iterator<Item = (&ImagePath, &Found)> {
        self.events.iter().filter_map(|(path, events)| Some((path, events.last()?.found.as_deref()?)))
    }

    /// What the file at a real path said once strata up to and including this one were applied.
    #[must_use]
    pub fn found_as_of(&self, path: &ImagePath, stratum: StratumId) -> Option<&Found> {
        let events = self.events.get(path)?;
        events.iter().rev().find(|event| event.stratum <= stratum)?.found.as_deref()
    }

    /// The strata that changed what any of these paths say, lowest first.
    pub fn changes<'p>(&self, paths: impl Iterator<Item = &'p ImagePath>) -> Vec<StratumId> {
        let mut strata: Vec<StratumId> =
            paths.filter_map(|path| self.events.get(path)).flatten().map(|event| event.stratum).collect();
        strata.sort_unstable();
        strata.dedup();
        strata
    }

    /// All paths that ever said something.
    pub fn ever_found(&self) -> impl Iterator<Item = (&ImagePath, impl Iterator<Item = &Found>)> {
        self.events.iter().map(|(path, events)| (path, events.iter().filter_map(|e| e.found.as_deref())))
    }

    /// Adds what a second visit of one stratum found at a real path; a part of a collector that is there
    /// already is replaced.
    pub(super) fn add_found(&mut self, path: &ImagePath, stratum: StratumId, found: Found) {
        let events = self.events.entry(path.clone()).or_default();
        // What a stratum removes goes before what it brings.
        let is_not_before =
            |event: &Event| event.stratum > stratum || (event.stratum == stratum && event.found.is_some());
        let at = match events.iter().position(is_not_before) {
            Some(at) if events[at].stratum == stratum => at,
            Some(at) => {
                events.insert(at, Event { stratum, found: Some(Arc::default()) });
                at
            }
            None => {
                events.push(Event { stratum, found: Some(Arc::default()) });
                events.len() - 1
            }
        };
        let parts = Arc::make_mut(events[at].found.get_or_insert_default());
        for part in found {
            parts.retain(|old| old.collector != part.collector);
            parts.push(part);
        }
    }

    /// Adds an entry of a tree that was walked in part.
    pub(super) fn add_entry(&mut self, path: &ImagePath, node: Node, stratum: StratumId) {
        if self.partial && !matches!(node, Node::Whiteout) && self.tree.get(path).is_none() {
            self.tree.insert(path.clone(), Placed { node, stratum, content: None });
        }
    }

    /// Follows links from a path to what it names. Up to 40 links, as Linux does; `..` and absolute targets
    /// stay inside the root.
    #[must_use]
    pub fn resolve(&self, path: &ImagePath) -> Resolved {
        match self.follow(path) {
            Resolved::Unknown(_) if !self.partial => Resolved::Nothing,
            resolved => resolved,
        }
    }

    /// As [`Squashed::resolve`], with the path of what is not there as unknown.
    fn follow(&self, path: &ImagePath) -> Resolved {
        let mut todo: Vec<Vec<u8>> = path.components().map(<[u8]>::to_vec).rev().collect();
        let mut at = ImagePath::root();
        let mut hops = 0;
        let mut unknown = false;
        while let Some(part) = todo.pop() {
            if part == b".." {
                at = at.parent();
                continue;
            }
            let next = at.join(&part);
            match self.tree.get(&next).map(|placed| &placed.node) {
                Some(Node::Symlink(target)) => {
                    hops += 1;
                    if hops > 40 {
                        return Resolved::Loop;
                    }
                    if target.first() == Some(&b'/') {
                        at = ImagePath::root();
                    }
                    let parts = target.split(|b| *b == b'/').filter(|p| !matches!(*p, b"" | b"."));
                    todo.extend(parts.map(<[u8]>::to_vec).rev());
                }
                Some(Node::File(_) | Node::HardLink(_)) if todo.is_empty() => return Resolved::File(next),
                Some(Node::Directory(_) | Node::Opaque) => {
                    // A layer need not have the directories above what it has.
                    unknown = false;
                    at = next;
                }
                Some(_) => return Resolved::Nothing,
                None => {
                    unknown = true;
                    at = next;
                }
            }
        }
        match unknown {
            false => Resolved::Directory(at),
            true if self.below(&at).next().is_some() => Resolved::Directory(at),
            true => Resolved::Unknown(at),
        }
    }
}

/// Takes out what a stratum names behind links of its own: it came after the link, or the link would have
/// replaced it.
fn behind_links(facts: &mut Facts) -> Facts {
    let mut behind = Facts::default();
    let links = facts.entries.iter().filter(|(_, node)| matches!(node, Node::Symlink(_)));
    let below = links.flat_map(|(link, _)| {
        let first = link.join("\0");
        facts.entries.range(first..).map(|(path, _)| path).take_while(|path| path.below(link).is_some())
    });
    let below: Vec<ImagePath> = below.cloned().collect();
    for path in below {
        if let Some((path, node)) = facts.entries.remove_entry(&path) {
            behind.found.extend(facts.found.remove_entry(&path));
            behind.entries.insert(path, node);
        }
    }
    behind
}

/// Where the entries of a stratum really go.
struct Homes<'a> {
    own: &'a BTreeMap<ImagePath, Node>,
    below: &'a Squashed,
    /// Directories that were looked at; `None` for those that are where they say.
    known: HashMap<Box<[u8]>, Option<ImagePath>>,
}

impl Homes<'_> {
    /// Where an entry goes, if not to its own path.
    fn of(&mut self, path: &ImagePath) -> Option<ImagePath> {
        Some(self.of_directory(path.parent_bytes())?.join(path.name()))
    }

    /// A directory that holds entries of this stratum: itself (`None`), if the stratum has it as a directory
    /// or nothing below says otherwise; else where the link at its place leads.
    fn of_directory(&mut self, directory: &[u8]) -> Option<ImagePath> {
        if directory.is_empty() {
            return None;
        }
        if let Some(home) = self.known.get(directory) {
            return home.clone();
        }
        let own = ImagePath::new(directory);
        let mut home = self.of(&own).unwrap_or_else(|| own.clone());
        if !matches!(self.own.get(&own), Some(Node::Directory(_) | Node::Opaque))
            && matches!(self.below.node(&home), Some(Node::Symlink(_)))
            // Of a link that leads nowhere the directory is made where it leads.
            && let Resolved::Directory(real) | Resolved::Unknown(real) = self.below.follow(&home)
        {
            home = real;
        }
        let home = (home != own).then_some(home);
        self.known.insert(directory.into(), home.clone());
        home
    }
}
