//! What was acknowledged is there: at its own revision as long as history is kept, and in the end unless something
//! newer took its place.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What clients were promised. Only writes that no other part of a run may undo belong here: keys of leases do not.
#[derive(Clone, Debug, Default)]
pub struct Promises {
    /// By key and revision.
    written: BTreeMap<(String, i64), u64>,
    removed: BTreeMap<String, i64>,
    /// Keys that a request of unknown fate may have removed at any later time.
    perhaps_removed: BTreeSet<String>,
}

/// A key in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    pub value: u64,
    pub modified: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    pub key: String,
    pub revision: i64,
    pub value: u64,
    pub found: Option<Kept>,
}

impl fmt::Display for Lost {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, revision, value, found } = self;
        write!(out, "{key} = {value} was acknowledged at revision {revision} and is lost: ")?;
        match found {
            None => write!(out, "nothing is there, and nobody removed it"),
            Some(Kept { value, modified }) => write!(out, "there is {value}, written at {modified}"),
        }
    }
}

impl Promises {
    pub fn written(&mut self, key: &str, revision: i64, value: u64) {
        self.written.insert((key.to_owned(), revision), value);
    }

    pub fn removed(&mut self, key: &str, revision: i64) {
        let newest = self.removed.entry(key.to_owned()).or_insert(revision);
        *newest = revision.max(*newest);
    }

    pub fn perhaps_removed(&mut self, key: &str) {
        self.perhaps_removed.insert(key.to_owned());
    }

    pub fn len(&self) -> usize {
        self.written.len()
    }

    pub fn is_empty(&self) -> bool {
        self.written.is_empty()
    }

    /// Key, revision and value of each write.
    pub fn each(&self) -> impl Iterator<Item = (&str, i64, u64)> {
        self.written.iter().map(|((key, revision), value)| (key.as_str(), *revision, *value))
    }

    /// Against the content of the store in the end.
    #[must_use]
    pub fn check(&self, content: &BTreeMap<String, Kept>) -> Vec<Lost> {
        let lost = self.each().filter_map(|(key, revision, value)| {
            let found = content.get(key).copied();
            let is_kept = match found {
                Some(kept) => kept.modified > revision || kept == Kept { value, modified: revision },
                None => self.perhaps_removed.contains(key) || self.removed.get(key).is_some_and(|at| *at > revision),
            };
            (!is_kept).then(|| Lost { key: key.to_owned(), revision, value, found })
        });
        lost.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn promises() -> Promises {
        let mut promises = Promises::default();
        promises.written("a", 3, 30);
        promises.written("a", 5, 50);
        promises
    }

    fn content(value: u64, modified: i64) -> BTreeMap<String, Kept> {
        BTreeMap::from([("a".to_owned(), Kept { value, modified })])
    }

    #[test]
    fn the_newest_and_what_came_after_it_keep_the_promise() {
        assert_eq!(promises().check(&content(50, 5)), []);
        assert_eq!(promises().check(&content(99, 7)), []);
        let mut removed = promises();
        removed.removed("a", 6);
        assert_eq!(removed.check(&BTreeMap::new()), []);
        let mut perhaps = promises();
        perhaps.perhaps_removed("a");
        assert_eq!(perhaps.check(&BTreeMap::new()), []);
    }

    #[test]
    fn each_way_to_lose_a_write_is_found() {
        let lost = |found: Option<Kept>| vec![Lost { key: "a".to_owned(), revision: 5, value: 50, found }];
        assert_eq!(promises().check(&content(30, 3)), lost(Some(Kept { value: 30, modified: 3 })));
        assert_eq!(promises().check(&content(51, 5)), lost(Some(Kept { value: 51, modified: 5 })));
        assert_eq!(promises().check(&BTreeMap::new()).len(), 2);
        let mut removed_before = promises();
        removed_before.removed("a", 4);
        assert_eq!(removed_before.check(&BTreeMap::new()), lost(None));
    }
}
