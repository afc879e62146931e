//! A few keys that transactions compare, read, write and delete together: one object.
//!
//! The rules are etcd's: every comparison, nested ones included, looks at the state before the transaction; operations
//! come one after another, and each sees those before it; all that one transaction writes has one revision, and one
//! that changes nothing has none of its own.

use std::collections::BTreeMap;
use std::fmt;

use super::versioned::Found;
use super::{Fate, Operation};
use crate::checker::model::Model;

/// Keys of one object.
pub const KEYS: usize = 3;
/// Of one object, counted from 0.
pub type Key = usize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sign {
    Equal,
    NotEqual,
    Greater,
    Less,
}

/// What is compared, and with what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// Only for equality: values are compared as text.
    Value(u64),
    Version(i64),
    /// Only for equality, and only with a revision that somebody read.
    Modified(i64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Test {
    pub key: Key,
    pub sign: Sign,
    pub subject: Subject,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    Get(Key),
    Put(Key, u64),
    Delete(Key),
    Nested(Box<Txn>),
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Txn {
    pub tests: Vec<Test>,
    pub success: Vec<Op>,
    pub failure: Vec<Op>,
}

/// What was answered to one operation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    Got(Option<Found>),
    Put,
    Deleted(bool),
    Nested(Answer),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Answer {
    pub succeeded: bool,
    pub outcomes: Vec<Outcome>,
}

/// A transaction on an object, with what is known of its answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Action {
    pub txn: Txn,
    /// The store's revision.
    pub at: Option<i64>,
    pub answer: Option<Answer>,
}

/// With the name of the object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OfObject {
    pub object: String,
    pub action: Action,
}

impl Txn {
    /// In all branches.
    pub fn puts(&self) -> Vec<u64> {
        let of = |op: &Op| match op {
            Op::Put(_, value) => vec![*value],
            Op::Nested(txn) => txn.puts(),
            Op::Get(_) | Op::Delete(_) => Vec::new(),
        };
        self.success.iter().chain(&self.failure).flat_map(of).collect()
    }

    fn may_write(&self) -> bool {
        let writes = |op: &Op| match op {
            Op::Put(..) | Op::Delete(_) => true,
            Op::Nested(txn) => txn.may_write(),
            Op::Get(_) => false,
        };
        self.success.iter().chain(&self.failure).any(writes)
    }
}

impl Answer {
    fn each(&self, visit: &mut impl FnMut(&Outcome)) {
        for outcome in &self.outcomes {
            visit(outcome);
            if let Outcome::Nested(answer) = outcome {
                answer.each(visit);
            }
        }
    }

    /// Everything that was read.
    pub fn seen(&self) -> Vec<Found> {
        let mut seen = Vec::new();
        self.each(&mut |outcome| {
            if let Outcome::Got(Some(found)) = outcome {
                seen.push(*found);
            }
        });
        seen
    }

    /// Whether something was changed.
    pub fn wrote(&self) -> bool {
        let mut wrote = false;
        self.each(&mut |outcome| wrote |= matches!(outcome, Outcome::Put | Outcome::Deleted(true)));
        wrote
    }
}

/// Gives transactions of unknown fate the revision under which a value of theirs was read.
pub fn resolve(operations: &mut [Operation<OfObject>]) -> Result<(), String> {
    let mut seen: BTreeMap<u64, i64> = BTreeMap::new();
    for answer in operations.iter().filter_map(|one| one.action.action.answer.as_ref()) {
        for Found { value, modified, .. } in answer.seen() {
            let first = *seen.entry(value).or_insert(modified);
            if first != modified {
                return Err(format!("value {value} was read at revision {first} and at {modified}"));
            }
        }
    }
    for one in operations.iter_mut().filter(|one| one.fate == Fate::Unknown) {
        let action = &mut one.action.action;
        action.at = action.txn.puts().iter().find_map(|value| seen.get(value).copied());
    }
    Ok(())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Held {
    value: u64,
    version: i64,
    /// None: nobody ever read this value.
    modified: Option<i64>,
    created: Option<i64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct State {
    /// No later change is at this revision or below.
    floor: i64,
    held: [Option<Held>; KEYS],
}

impl State {
    fn passes(&self, test: &Test) -> bool {
        let compare = |one: i64, other: i64| match test.sign {
            Sign::Equal => one == other,
            Sign::NotEqual => one != other,
            Sign::Greater => one > other,
            Sign::Less => one < other,
        };
        let equal = |is_equal: bool| (test.sign == Sign::Equal) == is_equal;
        match (test.subject, self.held[test.key]) {
            // A value is compared with nothing only by failing.
            (Subject::Value(_), None) => false,
            (Subject::Value(value), Some(held)) => equal(held.value == value),
            (Subject::Version(number), held) => compare(held.map_or(0, |held| held.version), number),
            (Subject::Modified(at), held) => equal(held.map_or(Some(0), |held| held.modified) == Some(at)),
        }
    }

    fn apply(&mut self, before: &Self, txn: &Txn, at: Option<i64>) -> Answer {
        let succeeded = txn.tests.iter().all(|test| before.passes(test));
        let branch = if succeeded { &txn.success } else { &txn.failure };
        let outcomes = branch.iter().map(|op| self.one(before, op, at)).collect();
        Answer { succeeded, outcomes }
    }

    fn one(&mut self, before: &Self, op: &Op, at: Option<i64>) -> Outcome {
        match op {
            Op::Get(key) => Outcome::Got(self.held[*key].map(|held| Found {
                value: held.value,
                version: held.version,
                // Unknown numbers are taken as they were answered, in `agrees`.
                created: held.created.unwrap_or(0),
                modified: held.modified.unwrap_or(0),
            })),
            Op::Put(key, value) => {
                let (version, created) = self.held[*key].map_or((1, at), |held| (held.version + 1, held.created));
                self.held[*key] = Some(Held { value: *value, version, modified: at, created });
                Outcome::Put
            }
            Op::Delete(key) => Outcome::Deleted(self.held[*key].take().is_some()),
            Op::Nested(txn) => Outcome::Nested(self.apply(before, txn, at)),
        }
    }
}

/// Whether the answer is the one that the state gives. A number that nobody knows agrees with any.
fn agrees(expected: &Answer, answered: &Answer) -> bool {
    let unknown_or = |expected: i64, said: i64| expected == 0 || expected == said;
    let same = |pair: (&Outcome, &Outcome)| match pair {
        (Outcome::Got(Some(right)), Outcome::Got(Some(said))) => {
            right.value == said.value
                && right.version == said.version
                && unknown_or(right.created, said.created)
                && unknown_or(right.modified, said.modified)
        }
        (Outcome::Nested(right), Outcome::Nested(said)) => agrees(right, said),
        (right, said) => right == said,
    };
    expected.succeeded == answered.succeeded
        && expected.outcomes.len() == answered.outcomes.len()
        && expected.outcomes.iter().zip(&answered.outcomes).all(same)
}

/// Keys that are not there at first.
#[derive(Clone, Copy, Debug)]
pub struct Transactions;

impl Model for Transactions {
    type State = State;
    type Action = Action;

    fn initial(&self) -> State {
        State::default()
    }

    fn step(&self, state: &State, action: &Action) -> Option<State> {
        let mut next = *state;
        let answer = next.apply(state, &action.txn, action.at);
        if action.answer.as_ref().is_some_and(|answered| !agrees(&answer, answered)) {
            return None;
        }
        if !answer.wrote() {
            return (action.answer.is_none() || action.at >= Some(state.floor)).then_some(*state);
        }
        if action.at.is_some_and(|at| at <= state.floor) {
            return None;
        }
        next.floor = action.at.unwrap_or(state.floor);
        Some(next)
    }

    fn only_observes(&self, action: &Action) -> bool {
        action.answer.as_ref().map_or(!action.txn.may_write(), |answer| !answer.wrote())
    }

    fn describe(&self, state: &State) -> String {
        let key = |(key, held): (Key, &Option<Held>)| match held {
            None => format!("{key}: nothing"),
            Some(held) => format!("{key}: {} v{} {:?}", held.value, held.version, held.modified),
        };
        let keys: Vec<String> = state.held.iter().enumerate().map(key).collect();
        keys.join(", ")
    }
}

impl fmt::Display for Test {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.sign {
            Sign::Equal => "=",
            Sign::NotEqual => "!=",
            Sign::Greater => ">",
            Sign::Less => "<",
        };
        let key = self.key;
        match self.subject {
            Subject::Value(value) => write!(out, "{key} {sign} {value}"),
            Subject::Version(number) => write!(out, "ver({key}) {sign} {number}"),
            Subject::Modified(at) => write!(out, "mod({key}) {sign} {at}"),
        }
    }
}

fn branch(ops: &[Op], outcomes: Option<&[Outcome]>) -> String {
    let one = |(at, op): (usize, &Op)| match (op, outcomes.and_then(|all| all.get(at))) {
        (Op::Get(key), Some(Outcome::Got(None))) => format!("get {key}: nothing"),
        (Op::Get(key), Some(Outcome::Got(Some(found)))) => {
            format!("get {key}: {} v{} {}..{}", found.value, found.version, found.created, found.modified)
        }
        (Op::Get(key), _) => format!("get {key}"),
        (Op::Put(key, value), _) => format!("put {key} {value}"),
        (Op::Delete(key), Some(Outcome::Deleted(existed))) => format!("delete {key}: {existed}"),
        (Op::Delete(key), _) => format!("delete {key}"),
        (Op::Nested(txn), Some(Outcome::Nested(answer))) => format!("({})", shown(txn, Some(answer))),
        (Op::Nested(txn), _) => format!("({})", shown(txn, None)),
    };
    ops.iter().enumerate().map(one).collect::<Vec<_>>().join("; ")
}

fn shown(txn: &Txn, answer: Option<&Answer>) -> String {
    let tests: Vec<String> = txn.tests.iter().map(Test::to_string).collect();
    let tests = tests.join(" and ");
    match answer {
        None => format!("if {tests} {{{}}} else {{{}}}", branch(&txn.success, None), branch(&txn.failure, None)),
        Some(Answer { succeeded: true, outcomes }) => {
            format!("as {tests} {{{}}}", branch(&txn.success, Some(outcomes)))
        }
        Some(Answer { succeeded: false, outcomes }) => {
            format!("as not {tests} {{{}}}", branch(&txn.failure, Some(outcomes)))
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&shown(&self.txn, self.answer.as_ref()))?;
        self.at.map_or(Ok(()), |at| write!(out, " at {at}"))
    }
}

impl fmt::Display for OfObject {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.object, self.action)
    }
}

#[cfg(test)]
mod tests;
