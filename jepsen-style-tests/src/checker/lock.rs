//! One register that clients change in turn under a lock: read, add a mark of their own, write.
//!
//! If the lock does what it is for, no acknowledged mark is ever missing. A plain lock cannot promise that: its holder
//! may be late. A write that carries the fencing token of the lock is refused then; with those, nothing may be lost,
//! and the tokens of the marks stand in the order of the content.

use std::collections::BTreeMap;
use std::fmt;

use crate::history::Fate;

pub type Mark = u64;

/// What a client tried to write, and under which token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Update {
    pub mark: Mark,
    pub token: i64,
    pub fate: Fate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    Lost {
        mark: Mark,
        token: i64,
    },
    /// Nobody wrote it, or the write failed.
    FromNowhere {
        mark: Mark,
    },
    Twice {
        mark: Mark,
    },
    /// The second stands behind the first and was written under an older token.
    OutOfTurn {
        marks: [Mark; 2],
        tokens: [i64; 2],
    },
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost { mark, token } => write!(out, "{mark}, acknowledged under token {token}, is lost"),
            Self::FromNowhere { mark } => write!(out, "{mark} is there, and nobody wrote it"),
            Self::Twice { mark } => write!(out, "{mark} is there twice"),
            Self::OutOfTurn { marks: [one, other], tokens: [first, second] } => {
                write!(out, "{other}, of token {second}, came after {one}, of token {first}")
            }
        }
    }
}

/// The register's content in the end against everything that was tried.
#[must_use]
pub fn check(updates: &[Update], content: &[Mark]) -> Vec<Violation> {
    let mut violations = Vec::new();
    let by_mark: BTreeMap<Mark, Update> = updates.iter().map(|update| (update.mark, *update)).collect();
    let mut places: BTreeMap<Mark, usize> = BTreeMap::new();
    let mut before: Option<Update> = None;
    for (at, &mark) in content.iter().enumerate() {
        if places.insert(mark, at).is_some() {
            violations.push(Violation::Twice { mark });
        }
        let Some(update) = by_mark.get(&mark).filter(|update| update.fate != Fate::Failed) else {
            violations.push(Violation::FromNowhere { mark });
            continue;
        };
        if let Some(before) = before.filter(|before| before.token > update.token) {
            let (marks, tokens) = ([before.mark, mark], [before.token, update.token]);
            violations.push(Violation::OutOfTurn { marks, tokens });
        }
        before = Some(*update);
    }
    let acknowledged = updates.iter().filter(|update| update.fate == Fate::Ok);
    let lost = acknowledged.filter(|update| !places.contains_key(&update.mark));
    violations.extend(lost.map(|update| Violation::Lost { mark: update.mark, token: update.token }));
    violations
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update(mark: Mark, token: i64, fate: Fate) -> Update {
        Update { mark, token, fate }
    }

    #[test]
    fn what_is_unknown_may_be_there_or_not() {
        let updates = [update(1, 5, Fate::Ok), update(2, 6, Fate::Unknown), update(3, 7, Fate::Failed)];
        assert_eq!(check(&updates, &[1]), []);
        assert_eq!(check(&updates, &[1, 2]), []);
    }

    #[test]
    fn each_way_to_be_wrong_is_found() {
        let updates = [update(1, 5, Fate::Ok), update(2, 6, Fate::Ok), update(3, 7, Fate::Failed)];
        assert_eq!(check(&updates, &[2]), [Violation::Lost { mark: 1, token: 5 }]);
        assert_eq!(check(&updates, &[1, 2, 3]), [Violation::FromNowhere { mark: 3 }]);
        assert_eq!(check(&updates, &[1, 2, 9]), [Violation::FromNowhere { mark: 9 }]);
        assert_eq!(check(&updates, &[1, 2, 2]), [Violation::Twice { mark: 2 }]);
        assert_eq!(check(&updates, &[2, 1]), [Violation::OutOfTurn { marks: [2, 1], tokens: [6, 5] }]);
    }
}
