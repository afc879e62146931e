//! Linearizability: is there an order of the operations that respects who ended before whom began, and in which each
//! answer is right?
//!
//! The search is Wing and Gong's ("Testing and Verifying Concurrent Objects", 1993), with two of Lowe's ideas
//! ("Testing for Linearizability", 2017): operations are put into the order *just in time*, that is, only when one
//! returns and must be in it; and a configuration (place in the history, state, operations that are already in the
//! order) that failed once is never tried again. Porcupine and Knossos describe themselves the same way. Added here,
//! each with the argument why nothing is lost:
//!
//! - An operation that only looks, and is right now, is put into the order at once: taken out of wherever it would
//!   come later, it leaves that order valid. (Not so a write of what is there: later it could be of use.)
//! - Of equal operations that are open, the one that returns first goes first: in any valid order the two can be
//!   exchanged.
//! - An operation of unknown fate may stay out for ever. So a configuration that used fewer of them can do all that
//!   one that used more can, and where the first failed the second is not tried.
//!
//! Objects are judged one by one (Herlihy and Wing's locality; Porcupine and Horn and Kroening call it
//! P-compositionality), in rounds with growing budgets, so that one hard object does not hide another's violation.

use std::collections::BTreeMap;
use std::fmt;

use super::model::Model;
use crate::history::Operation;

mod search;
mod timeline;

use search::{Progress, Search};

/// Configurations of one object; about 200 bytes each.
pub const CONFIGURATIONS_MAX: usize = 4_000_000;
const FIRST_BUDGET: usize = 10_000;
const BUDGET_GROWTH: usize = 8;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Linearizable,
    NotLinearizable(Box<Explanation>),
    /// Neither was found within the budget. For a test this is a failure.
    Undecided {
        configurations: usize,
    },
}

/// Why there is no order: how far one exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The object, where there are several.
    pub object: Option<String>,
    /// Index in the given operations of the first one that cannot be in any order. The history up to just before
    /// its return is linearizable, up to its return it is not.
    pub stuck: usize,
    /// Orders of the history before that, one for each way it can end: indexes in the given operations.
    pub partial: Vec<Partial>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partial {
    pub order: Vec<usize>,
    /// What the object then holds.
    pub state: String,
}

impl fmt::Display for Verdict {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Linearizable => "linearizable",
            Self::NotLinearizable(_) => "not-linearizable",
            Self::Undecided { .. } => "undecided",
        })
    }
}

/// One object.
pub fn check<M: Model>(model: &M, operations: &[Operation<M::Action>], configurations_max: usize) -> Verdict {
    let whole = Object { name: None, operations: operations.to_vec(), places: (0..operations.len()).collect() };
    check_objects(model, vec![whole], configurations_max)
}

/// Many objects of one kind: `split` names the object of each action, and what is asked of it.
pub fn check_by_key<A, M: Model>(
    model: &M,
    operations: &[Operation<A>],
    split: impl Fn(&A) -> (String, M::Action),
    configurations_max: usize,
) -> Verdict {
    let mut objects: BTreeMap<String, Object<M::Action>> = BTreeMap::new();
    for (place, operation) in operations.iter().enumerate() {
        let (name, action) = split(&operation.action);
        let Operation { process, fate, called, returned, line, .. } = *operation;
        let new = || Object { name: Some(name.clone()), operations: Vec::new(), places: Vec::new() };
        let object = objects.entry(name.clone()).or_insert_with(new);
        object.operations.push(Operation { process, action, fate, called, returned, line });
        object.places.push(place);
    }
    check_objects(model, objects.into_values().collect(), configurations_max)
}

struct Object<A> {
    name: Option<String>,
    operations: Vec<Operation<A>>,
    /// Where each operation stands among those given.
    places: Vec<usize>,
}

fn check_objects<M: Model>(model: &M, objects: Vec<Object<M::Action>>, configurations_max: usize) -> Verdict {
    let mut open: Vec<(&Object<M::Action>, Search<'_, M>)> =
        objects.iter().map(|object| (object, Search::new(model, &object.operations))).collect();
    let mut budget = FIRST_BUDGET.min(configurations_max);
    loop {
        let mut still_open = Vec::new();
        for (object, mut search) in open {
            match search.run(budget) {
                Progress::Found => {}
                Progress::Exhausted => return Verdict::NotLinearizable(Box::new(explain(object, &search))),
                Progress::OutOfBudget => still_open.push((object, search)),
            }
        }
        if still_open.is_empty() {
            return Verdict::Linearizable;
        }
        if budget == configurations_max {
            return Verdict::Undecided { configurations: budget };
        }
        open = still_open;
        budget = budget.saturating_mul(BUDGET_GROWTH).min(configurations_max);
    }
}

fn explain<M: Model>(object: &Object<M::Action>, search: &Search<'_, M>) -> Explanation {
    let (stuck, partial) = search.deepest();
    let partial = partial
        .into_iter()
        .map(|(order, state)| Partial { order: order.into_iter().map(|index| object.places[index]).collect(), state });
    Explanation { object: object.name.clone(), stuck: object.places[stuck], partial: partial.collect() }
}
