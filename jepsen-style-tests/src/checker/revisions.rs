//! The store's revision is one counter for everybody: whoever begins after another's answer does not see an older one,
//! and what is written then gets a newer one. No two requests share the revision of a write.
//!
//! This is linearizability of the counter alone, over all keys at once; that of each key's content is judged elsewhere.

use std::collections::BTreeMap;
use std::fmt;

/// A request that was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Places among all events.
    pub called: usize,
    pub returned: usize,
    pub revision: i64,
    /// It changed something, and the revision is its own.
    pub wrote: bool,
}

/// Indexes of stamps, the earlier one first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    WentBack { stamps: [usize; 2] },
    WrittenTwice { stamps: [usize; 2] },
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WentBack { stamps: [before, after] } => {
                write!(out, "operation {after} began after {before} had ended, and was told an older revision")
            }
            Self::WrittenTwice { stamps: [one, other] } => {
                write!(out, "operations {one} and {other} wrote at one revision")
            }
        }
    }
}

#[must_use]
pub fn check(stamps: &[Stamp]) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut writers: BTreeMap<i64, usize> = BTreeMap::new();
    // Calls look at the newest revision that had been answered, returns may raise it.
    let mut events: BTreeMap<usize, (usize, bool)> = BTreeMap::new();
    for (at, stamp) in stamps.iter().enumerate() {
        events.insert(stamp.called, (at, false));
        events.insert(stamp.returned, (at, true));
        if stamp.wrote
            && let Some(first) = writers.insert(stamp.revision, at)
        {
            violations.push(Violation::WrittenTwice { stamps: [first, at] });
        }
    }
    let mut newest: Option<usize> = None;
    for &(at, returns) in events.values() {
        let Stamp { revision, wrote, .. } = stamps[at];
        if returns {
            if newest.is_none_or(|newest| stamps[newest].revision < revision) {
                newest = Some(at);
            }
            continue;
        }
        if let Some(before) = newest {
            let floor = stamps[before].revision;
            if revision < floor || wrote && revision == floor {
                violations.push(Violation::WentBack { stamps: [before, at] });
            }
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(called: usize, returned: usize, revision: i64, wrote: bool) -> Stamp {
        Stamp { called, returned, revision, wrote }
    }

    #[test]
    fn what_overlaps_may_come_in_any_order() {
        let stamps = [stamp(0, 5, 7, true), stamp(1, 4, 6, true), stamp(2, 3, 5, false), stamp(6, 7, 7, false)];
        assert_eq!(check(&stamps), []);
    }

    #[test]
    fn each_way_back_is_found() {
        let stale = [stamp(0, 1, 7, true), stamp(2, 3, 6, false)];
        assert_eq!(check(&stale), [Violation::WentBack { stamps: [0, 1] }]);
        let not_newer = [stamp(0, 1, 7, false), stamp(2, 3, 7, true)];
        assert_eq!(check(&not_newer), [Violation::WentBack { stamps: [0, 1] }]);
        let twice = [stamp(0, 2, 7, true), stamp(1, 3, 7, true)];
        assert_eq!(check(&twice), [Violation::WrittenTwice { stamps: [0, 1] }]);
        // The newest of all before counts, not the last.
        let through = [stamp(0, 1, 9, true), stamp(2, 4, 9, false), stamp(3, 6, 9, false), stamp(7, 8, 8, false)];
        assert_eq!(check(&through).len(), 1);
    }
}
