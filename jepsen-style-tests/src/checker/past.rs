//! Reads of the past: at an old revision a key is what it was then, until a compaction has put the revision out of
//! reach, and not one moment longer. A watch that begins at an old revision shows what happened there, or is told that
//! it cannot.

use std::collections::BTreeMap;
use std::fmt;

/// An acknowledged write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    pub key: String,
    pub revision: i64,
    pub value: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    Nothing,
    /// With the revision of its last change.
    Value {
        value: u64,
        modified: i64,
    },
    Compacted,
}

/// An answered read of one key at a revision. Places are those of a common record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    pub key: String,
    pub at: i64,
    pub called: usize,
    pub returned: usize,
    pub seen: Seen,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compaction {
    pub revision: i64,
    pub called: usize,
    /// None: not acknowledged.
    pub acknowledged: Option<usize>,
}

/// Reads by their index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// An acknowledged write up to that revision is not in what was read.
    Lost { read: usize, revision: i64 },
    /// What was read was written later, or at another revision than its writer was told.
    Untrue { read: usize },
    /// Two reads of one key at one revision differ.
    Changed { reads: [usize; 2] },
    /// Answered although an acknowledged compaction had dropped it.
    Undead { read: usize, compacted: i64 },
    /// Refused as compacted, and nobody had asked for such a compaction.
    RefusedForNothing { read: usize },
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost { read, revision } => write!(out, "read {read} does not show the write at {revision}"),
            Self::Untrue { read } => write!(out, "read {read} shows what was not so at its revision"),
            Self::Changed { reads: [one, other] } => {
                write!(out, "reads {one} and {other} are of one moment and differ")
            }
            Self::Undead { read, compacted } => {
                write!(out, "read {read} was answered after a compaction up to {compacted}")
            }
            Self::RefusedForNothing { read } => write!(out, "read {read} was refused, and nobody compacted so far"),
        }
    }
}

/// What a watch of one key, begun at the revision of an acknowledged write to it, was told first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resumed {
    pub key: String,
    pub at: i64,
    pub returned: usize,
    pub first: Seen,
}

/// Watches by their index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchViolation {
    /// Its first event is not the one that it began at.
    Skipped { watch: usize },
    /// Ended as compacted, and nobody had asked for such a compaction.
    RefusedForNothing { watch: usize },
}

impl fmt::Display for WatchViolation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Skipped { watch } => write!(out, "watch {watch} does not begin with what happened at its revision"),
            Self::RefusedForNothing { watch } => write!(out, "watch {watch} was ended, and nobody compacted so far"),
        }
    }
}

#[must_use]
pub fn check_watches(compactions: &[Compaction], watches: &[Resumed]) -> Vec<WatchViolation> {
    let judge = |(watch, one): (usize, &Resumed)| match one.first {
        Seen::Value { modified, .. } if modified == one.at => None,
        Seen::Value { .. } | Seen::Nothing => Some(WatchViolation::Skipped { watch }),
        Seen::Compacted => {
            let asked = |compaction: &Compaction| compaction.revision > one.at && compaction.called < one.returned;
            (!compactions.iter().any(asked)).then_some(WatchViolation::RefusedForNothing { watch })
        }
    };
    watches.iter().enumerate().filter_map(judge).collect()
}

#[must_use]
pub fn check(writes: &[Write], compactions: &[Compaction], reads: &[Read]) -> Vec<Violation> {
    let mut by_key: BTreeMap<&str, BTreeMap<i64, u64>> = BTreeMap::new();
    let mut revisions: BTreeMap<u64, i64> = BTreeMap::new();
    for Write { key, revision, value } in writes {
        by_key.entry(key).or_default().insert(*revision, *value);
        revisions.insert(*value, *revision);
    }
    let mut violations = Vec::new();
    let mut first: BTreeMap<(&str, i64), usize> = BTreeMap::new();
    for (read, one) in reads.iter().enumerate() {
        if one.seen == Seen::Compacted {
            let asked = |compaction: &Compaction| compaction.revision > one.at && compaction.called < one.returned;
            if !compactions.iter().any(asked) {
                violations.push(Violation::RefusedForNothing { read });
            }
            continue;
        }
        let dropped = compactions.iter().filter(|compaction| compaction.acknowledged.is_some_and(|at| at < one.called));
        if let Some(compacted) =
            dropped.map(|compaction| compaction.revision).max().filter(|revision| *revision > one.at)
        {
            violations.push(Violation::Undead { read, compacted });
        }
        let modified = if let Seen::Value { modified, .. } = one.seen { modified } else { 0 };
        let newest = by_key.get(&*one.key).and_then(|writes| writes.range(..=one.at).next_back());
        if let Some((&revision, _)) = newest.filter(|(revision, _)| **revision > modified) {
            violations.push(Violation::Lost { read, revision });
        }
        if let Seen::Value { value, modified } = one.seen
            && (modified > one.at || revisions.get(&value).is_some_and(|right| *right != modified))
        {
            violations.push(Violation::Untrue { read });
        }
        let before = *first.entry((&one.key, one.at)).or_insert(read);
        if reads[before].seen != one.seen {
            violations.push(Violation::Changed { reads: [before, read] });
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writes() -> Vec<Write> {
        let write = |revision, value| Write { key: "k".to_owned(), revision, value };
        vec![write(3, 30), write(5, 50)]
    }

    fn read(at: i64, called: usize, seen: Seen) -> Read {
        Read { key: "k".to_owned(), at, called, returned: called + 1, seen }
    }

    fn value(value: u64, modified: i64) -> Seen {
        Seen::Value { value, modified }
    }

    #[test]
    fn what_was_so_is_read_until_it_is_compacted() {
        let reads = [
            read(2, 0, Seen::Nothing),
            read(4, 2, value(30, 3)),
            // A write of unknown fate at 4 or 6 may show.
            read(6, 4, value(60, 6)),
            read(5, 30, value(50, 5)),
            read(4, 30, Seen::Compacted),
            // Under way, it may have happened or not.
            read(4, 12, value(30, 3)),
            read(4, 14, Seen::Compacted),
        ];
        let compaction = Compaction { revision: 5, called: 11, acknowledged: Some(20) };
        assert_eq!(check(&writes(), &[compaction], &reads), []);
    }

    #[test]
    fn a_watch_begins_where_it_was_to_begin_or_not_at_all() {
        let watch = |at, first| Resumed { key: "k".to_owned(), at, returned: 9, first };
        let compaction = Compaction { revision: 5, called: 7, acknowledged: None };
        let right = [watch(3, value(30, 3)), watch(3, Seen::Compacted), watch(5, value(50, 5))];
        assert_eq!(check_watches(&[compaction], &right), []);
        let skipped = [watch(3, value(50, 5)), watch(5, Seen::Compacted)];
        assert_eq!(
            check_watches(&[compaction], &skipped),
            [WatchViolation::Skipped { watch: 0 }, WatchViolation::RefusedForNothing { watch: 1 }]
        );
        let later = Compaction { called: 10, ..compaction };
        assert_eq!(check_watches(&[later], &right[1..2]), [WatchViolation::RefusedForNothing { watch: 0 }]);
    }

    #[test]
    fn each_way_to_be_wrong_is_found() {
        let found = |reads: &[Read]| check(&writes(), &[], reads);
        assert_eq!(found(&[read(5, 0, value(30, 3))]), [Violation::Lost { read: 0, revision: 5 }]);
        assert_eq!(found(&[read(5, 0, Seen::Nothing)]), [Violation::Lost { read: 0, revision: 5 }]);
        assert_eq!(found(&[read(4, 0, value(50, 5))]), [Violation::Untrue { read: 0 }]);
        assert_eq!(found(&[read(6, 0, value(50, 6))]), [Violation::Untrue { read: 0 }]);
        let changed = [read(4, 0, value(30, 3)), read(4, 2, value(40, 4))];
        assert_eq!(found(&changed), [Violation::Changed { reads: [0, 1] }]);
        assert_eq!(found(&[read(4, 0, Seen::Compacted)]), [Violation::RefusedForNothing { read: 0 }]);
        let done = Compaction { revision: 5, called: 0, acknowledged: Some(1) };
        let undead = check(&writes(), &[done], &[read(4, 2, value(30, 3))]);
        assert_eq!(undead, [Violation::Undead { read: 0, compacted: 5 }]);
    }
}
