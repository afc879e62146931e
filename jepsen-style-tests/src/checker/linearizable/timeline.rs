//! The history of one object as the search walks it: returns in their order, and which operations are open at each.

use std::collections::{BTreeMap, HashMap};

use crate::history::{Fate, Operation};

/// An operation that counts: it happened, or it may have.
pub struct Open {
    /// Index in the given operations.
    pub index: usize,
    /// Number of its action among the distinct ones.
    pub action: usize,
    /// Its bit in a configuration, among those of its kind. Operations that return share bits when they are never
    /// open together.
    pub bit: usize,
    /// Place after which it cannot happen; none where its fate is unknown.
    pub deadline: Option<usize>,
}

/// A moment at which an operation returns: it must be in the order now.
pub struct Return {
    /// Which of `Timeline::open`.
    pub ending: usize,
    /// Those that are open, the ending one included, in the order in which they are tried: first what ends first,
    /// last what may never happen.
    pub open: Vec<usize>,
}

pub struct Timeline<A> {
    pub actions: Vec<A>,
    pub open: Vec<Open>,
    pub returns: Vec<Return>,
    /// Bits are counted apart for operations that return and for those that may never happen.
    pub returning_bits: usize,
    pub unknown_bits: usize,
}

impl<A: Clone + Eq + std::hash::Hash> Timeline<A> {
    pub fn new(operations: &[Operation<A>]) -> Self {
        let mut timeline =
            Self { actions: Vec::new(), open: Vec::new(), returns: Vec::new(), returning_bits: 0, unknown_bits: 0 };
        // What failed did not happen.
        let counted = operations.iter().enumerate().filter(|(_, operation)| operation.fate != Fate::Failed);
        let mut numbers: HashMap<A, usize> = HashMap::new();
        // Calls and returns by place. A place holds one event.
        let mut events: BTreeMap<usize, (usize, bool)> = BTreeMap::new();
        for (index, operation) in counted {
            let next = numbers.len();
            let action = *numbers.entry(operation.action.clone()).or_insert_with(|| {
                timeline.actions.push(operation.action.clone());
                next
            });
            let deadline = operation.deadline();
            let at = timeline.open.len();
            events.insert(operation.called, (at, false));
            if let Some(place) = deadline {
                events.insert(place, (at, true));
            }
            timeline.open.push(Open { index, action, bit: 0, deadline });
        }
        timeline.walk(&events);
        timeline
    }

    fn walk(&mut self, events: &BTreeMap<usize, (usize, bool)>) {
        let mut free: Vec<usize> = Vec::new();
        let mut now: Vec<usize> = Vec::new();
        for &(at, returns) in events.values() {
            if returns {
                let mut open = now.clone();
                open.sort_by_key(|&other| (self.open[other].deadline.unwrap_or(usize::MAX), other));
                self.returns.push(Return { ending: at, open });
                now.retain(|&other| other != at);
                free.push(self.open[at].bit);
                continue;
            }
            now.push(at);
            if self.open[at].deadline.is_none() {
                self.open[at].bit = self.unknown_bits;
                self.unknown_bits += 1;
            } else {
                self.open[at].bit = free.pop().unwrap_or_else(|| {
                    self.returning_bits += 1;
                    self.returning_bits - 1
                });
            }
        }
    }
}
