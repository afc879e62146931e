//! What members have applied: at one place of the log everybody applied the entry of one term, for ever; and terms do
//! not go down along the log. (Raft's state machine safety and log matching, as far as they can be seen from outside.)

use std::collections::BTreeMap;
use std::fmt;

/// A member says that the entry it applied last is this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied {
    pub member: u64,
    pub index: u64,
    pub term: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// One place, two entries.
    Differ { one: Applied, other: Applied },
    /// The later place has the entry of an older term.
    TermGoesDown { earlier: Applied, later: Applied },
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Differ { one, other } => write!(out, "one place, two entries: {one:?}, {other:?}"),
            Self::TermGoesDown { earlier, later } => write!(out, "terms go down along the log: {earlier:?}, {later:?}"),
        }
    }
}

#[must_use]
pub fn check(seen: &[Applied]) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut log: BTreeMap<u64, Applied> = BTreeMap::new();
    for other in seen {
        let one = *log.entry(other.index).or_insert(*other);
        if one.term != other.term {
            violations.push(Violation::Differ { one, other: *other });
        }
    }
    let entries: Vec<Applied> = log.into_values().collect();
    let down = entries.windows(2).filter(|two| two[0].term > two[1].term);
    violations.extend(down.map(|two| Violation::TermGoesDown { earlier: two[0], later: two[1] }));
    violations
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(member: u64, index: u64, term: u64) -> Applied {
        Applied { member, index, term }
    }

    #[test]
    fn one_log_seen_by_many_is_right() {
        assert_eq!(
            check(&[applied(1, 5, 1), applied(2, 4, 1), applied(2, 7, 3), applied(3, 5, 1), applied(1, 7, 3)]),
            []
        );
    }

    #[test]
    fn each_way_to_be_wrong_is_found() {
        let (one, other) = (applied(1, 5, 1), applied(2, 5, 2));
        assert_eq!(check(&[one, other]), [Violation::Differ { one, other }]);
        let (later, earlier) = (applied(1, 5, 1), applied(2, 4, 2));
        assert_eq!(check(&[later, earlier]), [Violation::TermGoesDown { earlier, later }]);
    }
}
