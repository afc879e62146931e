//! At rest all members have one history: the same revision, compacted up to the same one, with the same content.

use std::fmt;

use crate::world::{NodeIndex, StateHash};

/// What a member's history hashes to, or why that cannot be told.
pub type Told = (NodeIndex, Result<StateHash, String>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    Untold { node: NodeIndex, why: String },
    Differ { one: (NodeIndex, StateHash), other: (NodeIndex, StateHash) },
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Untold { node, why } => write!(out, "n{} has no hash: {why}", node + 1),
            Self::Differ { one: (one, has), other: (other, differs) } => {
                write!(out, "n{} has {has:?}, n{} has {differs:?}", one + 1, other + 1)
            }
        }
    }
}

/// Every member that differs from the first one that can be asked.
#[must_use]
pub fn check(members: &[Told]) -> Vec<Violation> {
    let first = members.iter().find_map(|(node, told)| Some((*node, *told.as_ref().ok()?)));
    let differs = |(node, told): &Told| match (told, first) {
        (Err(why), _) => Some(Violation::Untold { node: *node, why: why.clone() }),
        (Ok(hash), Some(one)) if *hash != one.1 => Some(Violation::Differ { one, other: (*node, *hash) }),
        (Ok(_), _) => None,
    };
    members.iter().filter_map(differs).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATE: StateHash = StateHash { revision: 9, compact_revision: 3, hash: 77 };

    #[test]
    fn equal_members_are_right() {
        assert_eq!(check(&[]), []);
        assert_eq!(check(&[(0, Ok(STATE)), (2, Ok(STATE)), (4, Ok(STATE))]), []);
    }

    #[test]
    fn each_way_to_differ_is_found() {
        let odd_ones = [
            StateHash { revision: 8, ..STATE },
            StateHash { compact_revision: 4, ..STATE },
            StateHash { hash: 78, ..STATE },
        ];
        for odd in odd_ones {
            let found = check(&[(0, Ok(STATE)), (1, Ok(odd)), (2, Ok(STATE))]);
            assert_eq!(found, [Violation::Differ { one: (0, STATE), other: (1, odd) }]);
        }
    }

    #[test]
    fn a_member_that_cannot_be_asked_is_no_equal_one() {
        let why = "it does not run".to_owned();
        let found = check(&[(0, Err(why.clone())), (1, Ok(STATE)), (2, Ok(STATE))]);
        assert_eq!(found, [Violation::Untold { node: 0, why }]);
    }
}
