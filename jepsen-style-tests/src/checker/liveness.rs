//! A majority that can hear one another comes to an agreement, and soon: one of them leads, each of them takes a write,
//! and all have the same history.

use std::fmt;
use std::time::Duration;

use super::convergence::{self, Told};
use crate::world::NodeIndex;

/// The core of a cluster at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// Since the core was left alone.
    pub after: Duration,
    pub leader: Option<NodeIndex>,
    /// Those that never acknowledged a write up to now, each with what it last answered.
    pub without_write: Vec<(NodeIndex, String)>,
    /// What members have, if all the rest was well.
    pub states: Vec<Told>,
}

/// What an agreement still lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missing {
    Leader,
    /// Somebody leads whom the core cannot hear, or not for long.
    LeaderInCore {
        leads: NodeIndex,
    },
    Write {
        node: NodeIndex,
        why: String,
    },
    State {
        node: NodeIndex,
    },
    Equality(convergence::Violation),
}

impl fmt::Display for Missing {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Leader => write!(out, "nobody leads"),
            Self::LeaderInCore { leads } => write!(out, "n{} leads, which is not one of them", leads + 1),
            Self::Write { node, why } => write!(out, "n{} does not take a write: {why}", node + 1),
            Self::State { node } => write!(out, "n{} was not looked at", node + 1),
            Self::Equality(violation) => write!(out, "{violation}"),
        }
    }
}

/// The core did not agree in time; with what was missing to the last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub within: Duration,
    pub missing: Vec<Missing>,
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let missing: Vec<String> = self.missing.iter().map(Missing::to_string).collect();
        write!(out, "after {:?} {}", self.within, missing.join("; "))
    }
}

/// What one look shows to be missing.
#[must_use]
pub fn missing(core: &[NodeIndex], look: &Look) -> Vec<Missing> {
    match look.leader {
        None => return vec![Missing::Leader],
        Some(leads) if !core.contains(&leads) => return vec![Missing::LeaderInCore { leads }],
        Some(_) => {}
    }
    let writes = look.without_write.iter().map(|(node, why)| Missing::Write { node: *node, why: why.clone() });
    let missing: Vec<Missing> = writes.collect();
    if !missing.is_empty() {
        return missing;
    }
    let unseen = core.iter().filter(|node| !look.states.iter().any(|(seen, _)| seen == *node));
    let unseen = unseen.map(|node| Missing::State { node: *node });
    unseen.chain(convergence::check(&look.states).into_iter().map(Missing::Equality)).collect()
}

/// When the core agreed, if it did within that time.
pub fn check(core: &[NodeIndex], looks: &[Look], within: Duration) -> Result<Duration, Violation> {
    let mut in_time = looks.iter().filter(|look| look.after <= within);
    let agreed = in_time.clone().find(|look| missing(core, look).is_empty());
    agreed.map(|look| look.after).ok_or_else(|| {
        let missing = in_time.next_back().map_or_else(|| vec![Missing::Leader], |look| missing(core, look));
        Violation { within, missing }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::StateHash;

    const CORE: [NodeIndex; 2] = [0, 2];
    const WITHIN: Duration = Duration::from_secs(60);

    fn told(node: NodeIndex, hash: u32) -> Told {
        (node, Ok(StateHash { revision: 9, compact_revision: 3, hash }))
    }

    fn well(after_s: u64) -> Look {
        let after = Duration::from_secs(after_s);
        Look { after, leader: Some(2), without_write: vec![], states: vec![told(0, 7), told(2, 7)] }
    }

    #[test]
    fn the_first_agreement_counts() {
        let nobody = Look { leader: None, ..well(1) };
        assert_eq!(check(&CORE, &[nobody.clone(), well(3), nobody, well(5)], WITHIN), Ok(Duration::from_secs(3)));
    }

    #[test]
    fn an_agreement_that_comes_late_is_none() {
        let nobody = Look { leader: None, ..well(59) };
        let missing = vec![Missing::Leader];
        assert_eq!(check(&CORE, &[nobody, well(61)], WITHIN), Err(Violation { within: WITHIN, missing }));
        assert!(check(&CORE, &[], WITHIN).is_err());
    }

    #[test]
    fn each_thing_that_can_be_missing_is_named() {
        let lacks = |change: &dyn Fn(&mut Look)| {
            let mut look = well(1);
            change(&mut look);
            let missing = missing(&CORE, &look);
            assert_eq!(check(&CORE, &[look], WITHIN).is_ok(), missing.is_empty());
            missing
        };
        assert_eq!(lacks(&|_| {}), []);
        assert_eq!(lacks(&|look| look.leader = None), [Missing::Leader]);
        assert_eq!(lacks(&|look| look.leader = Some(1)), [Missing::LeaderInCore { leads: 1 }]);
        let why = "no leader".to_owned();
        let refuses = Missing::Write { node: 0, why: why.clone() };
        assert_eq!(lacks(&|look| look.without_write = vec![(0, why.clone())]), [refuses]);
        assert_eq!(lacks(&|look| look.states = vec![told(0, 7)]), [Missing::State { node: 2 }]);
        let differ = lacks(&|look| look.states = vec![told(0, 7), told(2, 8)]);
        assert!(matches!(differ.as_slice(), [Missing::Equality(_)]), "{differ:?}");
    }
}
