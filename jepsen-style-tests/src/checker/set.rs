//! A set that only grows: what was added is in every later look at it, and nothing else is.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::history::{Fate, Operation};

pub type Element = u64;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetAction {
    Add(Element),
    /// All that was there, as it was answered.
    Look(Option<Vec<Element>>),
}

impl fmt::Display for SetAction {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Add(element) => write!(out, "add {element}"),
            Self::Look(None) => write!(out, "look"),
            Self::Look(Some(seen)) => write!(out, "look: {} elements", seen.len()),
        }
    }
}

/// Operations by their index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// Nobody added it, or the addition failed.
    FromNowhere {
        look: usize,
        element: Element,
    },
    /// Seen before anybody asked for it.
    TooEarly {
        look: usize,
        element: Element,
    },
    /// Added before the look began, and not seen.
    Lost {
        add: usize,
        look: usize,
        element: Element,
    },
    /// Seen by an earlier look, and not by the later one.
    Vanished {
        looks: [usize; 2],
        element: Element,
    },
    Twice {
        look: usize,
        element: Element,
    },
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FromNowhere { look, element } => write!(out, "look {look} saw {element}, which nobody added"),
            Self::TooEarly { look, element } => write!(out, "look {look} saw {element} before it was added"),
            Self::Lost { add, look, element } => {
                write!(out, "{element} was added by operation {add}, and look {look}, begun later, did not see it")
            }
            Self::Vanished { looks: [before, after], element } => {
                write!(out, "look {before} saw {element}, and look {after}, begun later, did not")
            }
            Self::Twice { look, element } => write!(out, "look {look} saw {element} twice"),
        }
    }
}

#[must_use]
pub fn check(operations: &[Operation<SetAction>]) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut adds: BTreeMap<Element, usize> = BTreeMap::new();
    let mut looks: Vec<(usize, BTreeSet<Element>)> = Vec::new();
    for (at, one) in operations.iter().enumerate() {
        match &one.action {
            SetAction::Add(element) => drop(adds.insert(*element, at)),
            SetAction::Look(Some(seen)) if one.fate == Fate::Ok => {
                let distinct: BTreeSet<Element> = seen.iter().copied().collect();
                let mut met = BTreeSet::new();
                let again = seen.iter().filter(|element| !met.insert(**element));
                violations.extend(again.map(|element| Violation::Twice { look: at, element: *element }));
                looks.push((at, distinct));
            }
            SetAction::Look(_) => {}
        }
    }
    looks.sort_by_key(|(at, _)| operations[*at].called);
    for (place, (look, seen)) in looks.iter().enumerate() {
        let (look, now) = (*look, &operations[*look]);
        for element in seen {
            match adds.get(element).map(|add| &operations[*add]) {
                Some(add) if add.fate != Fate::Failed => {
                    if now.returned.is_some_and(|returned| add.called > returned) {
                        violations.push(Violation::TooEarly { look, element: *element });
                    }
                }
                _ => violations.push(Violation::FromNowhere { look, element: *element }),
            }
        }
        for (element, add) in &adds {
            if operations[*add].deadline().is_some_and(|end| end < now.called) && !seen.contains(element) {
                violations.push(Violation::Lost { add: *add, look, element: *element });
            }
        }
        // One earlier look is enough: what it saw, those between must have seen too.
        let earlier = looks[..place].iter().rev().find(|(at, _)| operations[*at].returned < Some(now.called));
        if let Some((before, then)) = earlier {
            let gone = then.difference(seen);
            violations.extend(gone.map(|element| Violation::Vanished { looks: [*before, look], element: *element }));
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Process;

    fn operation(action: SetAction, fate: Fate, called: usize, returned: usize) -> Operation<SetAction> {
        Operation { process: Process(0), action, fate, called, returned: Some(returned), line: 0 }
    }

    fn add(element: Element, fate: Fate, called: usize, returned: usize) -> Operation<SetAction> {
        operation(SetAction::Add(element), fate, called, returned)
    }

    fn look(seen: &[Element], called: usize, returned: usize) -> Operation<SetAction> {
        operation(SetAction::Look(Some(seen.to_vec())), Fate::Ok, called, returned)
    }

    #[test]
    fn what_overlaps_or_is_unknown_may_be_there_or_not() {
        let history = [
            add(1, Fate::Ok, 0, 1),
            add(2, Fate::Ok, 2, 5),
            look(&[1], 3, 4),
            look(&[1, 2], 6, 7),
            add(3, Fate::Unknown, 8, 9),
            look(&[1, 2], 10, 11),
            look(&[1, 2, 3], 12, 13),
        ];
        assert_eq!(check(&history), []);
    }

    #[test]
    fn each_way_to_be_wrong_is_found() {
        let lost = [add(1, Fate::Ok, 0, 1), look(&[], 2, 3)];
        assert_eq!(check(&lost), [Violation::Lost { add: 0, look: 1, element: 1 }]);
        let failed = [add(1, Fate::Failed, 0, 1), look(&[1], 2, 3)];
        assert_eq!(check(&failed), [Violation::FromNowhere { look: 1, element: 1 }]);
        assert_eq!(check(&[look(&[7], 0, 1)]), [Violation::FromNowhere { look: 0, element: 7 }]);
        let early = [look(&[1], 0, 1), add(1, Fate::Ok, 2, 3)];
        assert_eq!(check(&early), [Violation::TooEarly { look: 0, element: 1 }]);
        let vanished = [add(1, Fate::Unknown, 0, 1), look(&[1], 2, 3), look(&[], 4, 5)];
        assert_eq!(check(&vanished), [Violation::Vanished { looks: [1, 2], element: 1 }]);
        let twice = [add(1, Fate::Ok, 0, 1), look(&[1, 1], 2, 3)];
        assert_eq!(check(&twice), [Violation::Twice { look: 1, element: 1 }]);
    }
}
