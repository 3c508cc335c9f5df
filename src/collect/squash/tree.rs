//! A tree of paths that several images can share: what was frozen lies below and is never copied, what came
//! after lies over it.

use std::collections::BTreeSet;
use std::collections::btree_map::{BTreeMap, Range};
use std::iter::Peekable;
use std::sync::Arc;

use crate::model::ImagePath;
use crate::stratum::Node;

use super::Placed;

/// Visible entries by path.
#[derive(Debug, Clone, Default)]
pub(super) struct Tree {
    below: Arc<BTreeMap<ImagePath, Placed>>,
    /// What differs; `None` for what is gone.
    own: BTreeMap<ImagePath, Option<Placed>>,
    /// All files whose layers name them, or their content, otherwise: they are few, and asked for again and again.
    links: Arc<BTreeSet<ImagePath>>,
}

impl Tree {
    /// A tree of these entries.
    pub(super) fn of(entries: impl Iterator<Item = (ImagePath, Placed)>) -> Self {
        let own: BTreeMap<ImagePath, Option<Placed>> =
            entries.map(|(path, placed)| (path, Some(placed))).collect();
        let links = own.iter().filter(|(_, placed)| placed.as_ref().is_some_and(is_link));
        let links = Arc::new(links.map(|(path, _)| path.clone()).collect());
        Tree { below: Arc::default(), own, links }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    pub(super) fn get(&self, path: &ImagePath) -> Option<&Placed> {
        match self.own.get(path) {
            Some(own) => own.as_ref(),
            None => self.below.get(path),
        }
    }

    pub(super) fn insert(&mut self, path: ImagePath, placed: Placed) {
        match is_link(&placed) {
            true => drop(Arc::make_mut(&mut self.links).insert(path.clone())),
            false if self.links.contains(&path) => drop(Arc::make_mut(&mut self.links).remove(&path)),
            false => {}
        }
        self.own.insert(path, Some(placed));
    }

    /// An entry that came after the last freeze.
    pub(super) fn own_mut(&mut self, path: &ImagePath) -> Option<&mut Placed> {
        self.own.get_mut(path)?.as_mut()
    }

    pub(super) fn remove(&mut self, path: &ImagePath) -> Option<Placed> {
        let old = match self.below.get(path) {
            None => self.own.remove(path).flatten(),
            Some(below) => match self.own.insert(path.clone(), None) {
                Some(own) => own,
                None => Some(below.clone()),
            },
        };
        if old.as_ref().is_some_and(is_link) {
            Arc::make_mut(&mut self.links).remove(path);
        }
        old
    }

    /// Takes out everything strictly below a directory.
    pub(super) fn remove_below(&mut self, directory: &ImagePath) -> Vec<(ImagePath, Placed)> {
        let below: Vec<ImagePath> = self.below(directory).map(|(path, _)| path.clone()).collect();
        below.into_iter().filter_map(|path| self.remove(&path).map(|old| (path, old))).collect()
    }

    /// Everything strictly below a directory, in order.
    pub(super) fn below(&self, directory: &ImagePath) -> impl Iterator<Item = (&ImagePath, &Placed)> {
        let directory = directory.clone();
        self.range(directory.join("\0")).take_while(move |(path, _)| path.below(&directory).is_some())
    }

    /// All paths, in order.
    pub(super) fn paths(&self) -> impl Iterator<Item = &ImagePath> {
        self.iter().map(|(path, _)| path)
    }

    fn iter(&self) -> Merged<'_> {
        self.range(ImagePath::root())
    }

    fn range(&self, first: ImagePath) -> Merged<'_> {
        let own = self.own.range(first.clone()..).peekable();
        Merged { below: self.below.range(first..).peekable(), own }
    }

    /// The paths of all files whose layers name them, or their content, otherwise, in order.
    pub(super) fn named_otherwise(&self) -> impl Iterator<Item = &ImagePath> {
        self.links.iter()
    }

    /// How many entries it holds of its own.
    pub(super) fn len(&self) -> usize {
        self.iter().count()
    }

    /// Makes everything that is here what lies below: from now on copies cost nothing.
    pub(super) fn freeze(&mut self) {
        if self.own.is_empty() {
            return;
        }
        let own = std::mem::take(&mut self.own);
        if self.below.is_empty() {
            let kept = own.into_iter().filter_map(|(path, placed)| Some((path, placed?)));
            self.below = Arc::new(kept.collect());
            return;
        }
        let below = Arc::make_mut(&mut self.below);
        for (path, placed) in own {
            match placed {
                Some(placed) => drop(below.insert(path, placed)),
                None => drop(below.remove(&path)),
            }
        }
    }
}

fn is_link(placed: &Placed) -> bool {
    placed.content.is_some() || matches!(placed.node, Node::HardLink(_))
}

/// Both parts of a tree in one order.
struct Merged<'t> {
    below: Peekable<Range<'t, ImagePath, Placed>>,
    own: Peekable<Range<'t, ImagePath, Option<Placed>>>,
}

impl<'t> Iterator for Merged<'t> {
    type Item = (&'t ImagePath, &'t Placed);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let Some((own, _)) = self.own.peek() else { return self.below.next() };
            match self.below.peek() {
                Some((below, _)) if below < own => return self.below.next(),
                Some((below, _)) if below == own => drop(self.below.next()),
                _ => {}
            }
            if let Some((path, Some(placed))) = self.own.next() {
                return Some((path, placed));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::model::StratumId;

    fn placed(stratum: u32, node: Node) -> Placed {
        Placed { node, stratum: StratumId(stratum), content: None }
    }

    fn names(tree: &Tree) -> Vec<String> {
        tree.iter().map(|(path, placed)| format!("{path} {}", placed.stratum.0)).collect()
    }

    #[test]
    fn what_is_frozen_stays_as_it_was_under_what_comes_over_it() {
        let path = ImagePath::from;
        let entries = ["a", "a/b", "a/c", "a-d"].map(|name| (path(name), placed(0, Node::Special)));
        let mut frozen = Tree::of(entries.into_iter());
        frozen.insert(path("z"), placed(0, Node::HardLink(path("a/b"))));
        let plain = frozen.clone();
        frozen.freeze();
        assert_eq!(names(&frozen), names(&plain));
        let before = names(&frozen);

        // The same steps over what is frozen and over what is not come to the same.
        let mut trees = [frozen.clone(), plain];
        for tree in &mut trees {
            assert!(tree.remove(&path("a-d")).is_some());
            assert!(tree.remove(&path("a-d")).is_none());
            tree.insert(path("a/b"), placed(1, Node::Special));
            assert_eq!(tree.remove_below(&path("a")).len(), 2);
            tree.insert(path("a/x"), placed(1, Node::HardLink(path("z"))));
            tree.insert(path("z"), placed(1, Node::Special));
        }
        let [mut over, plain] = trees;
        assert_eq!(names(&over), ["/a 0", "/a/x 1", "/z 1"]);
        assert_eq!(names(&plain), names(&over));
        assert_eq!(over.named_otherwise().collect::<HashSet<_>>(), HashSet::from([&path("a/x")]));
        over.freeze();
        assert_eq!(names(&plain), names(&over));
        assert_eq!((names(&frozen), frozen.len()), (before, 5));
    }
}
