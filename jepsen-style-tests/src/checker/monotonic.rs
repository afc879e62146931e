//! What never goes back: a member's term, through all its restarts, and what it has applied, within one run. And what
//! there is one of: the leader of a term.
//!
//! A restart may take the applied revision back: the state on disk trails the log, which is then applied again.

use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Leads,
    Follows,
}

/// What one member said of itself. Sightings stand in the order in which they were answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sighting {
    pub member: u64,
    /// Number of its start.
    pub run: u32,
    pub term: u64,
    pub revision: u64,
    pub role: Role,
}

/// Where two are given they are indexes of sightings, the earlier one first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    TermWentBack { sightings: [usize; 2] },
    RevisionWentBack { sightings: [usize; 2] },
    TwoLeaders { term: u64, sightings: [usize; 2] },
}

#[must_use]
pub fn check(seen: &[Sighting]) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut latest: BTreeMap<u64, usize> = BTreeMap::new();
    let mut leaders: BTreeMap<u64, usize> = BTreeMap::new();
    for (at, now) in seen.iter().enumerate() {
        if let Some(before) = latest.insert(now.member, at) {
            let sightings = [before, at];
            if now.term < seen[before].term {
                violations.push(Violation::TermWentBack { sightings });
            }
            if now.run == seen[before].run && now.revision < seen[before].revision {
                violations.push(Violation::RevisionWentBack { sightings });
            }
        }
        if now.role == Role::Leads {
            let first = *leaders.entry(now.term).or_insert(at);
            if seen[first].member != now.member {
                violations.push(Violation::TwoLeaders { term: now.term, sightings: [first, at] });
            }
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(member: u64, run: u32, term: u64, revision: u64, role: Role) -> Sighting {
        Sighting { member, run, term, revision, role }
    }

    #[test]
    fn a_restart_and_a_change_of_leaders_are_right() {
        let sightings = [
            seen(1, 1, 1, 5, Role::Leads),
            seen(2, 1, 1, 4, Role::Follows),
            seen(1, 2, 1, 3, Role::Follows),
            seen(2, 1, 2, 6, Role::Leads),
            seen(1, 2, 2, 6, Role::Follows),
            seen(2, 1, 2, 6, Role::Leads),
        ];
        assert_eq!(check(&sightings), []);
    }

    #[test]
    fn each_way_back_is_found() {
        let term = [seen(1, 1, 2, 5, Role::Follows), seen(1, 2, 1, 5, Role::Follows)];
        assert_eq!(check(&term), [Violation::TermWentBack { sightings: [0, 1] }]);
        let revision = [seen(1, 1, 2, 5, Role::Follows), seen(1, 1, 2, 4, Role::Follows)];
        assert_eq!(check(&revision), [Violation::RevisionWentBack { sightings: [0, 1] }]);
        let leaders = [seen(1, 1, 2, 5, Role::Leads), seen(2, 1, 2, 5, Role::Leads)];
        assert_eq!(check(&leaders), [Violation::TwoLeaders { term: 2, sightings: [0, 1] }]);
    }
}
