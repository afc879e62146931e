//! One key of a store that counts: value, version, and the revisions of its creation and of its last change.
//!
//! The model knows more than "the last value written": a version says how many writes there were since the key came
//! into being, a revision must lie above every earlier one of the key. So a write that was carried out twice, or one
//! that slipped in unseen, shows in the numbers.
//!
//! A write of unknown fate has no revision in the record. If anybody ever read its value, which is unique, that read
//! tells the revision; [`resolve`] fills it in. What is left without one was never seen.

use std::collections::BTreeMap;
use std::fmt;

use super::{Fate, Operation};
use crate::checker::model::Model;

/// A key as it was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Found {
    pub value: u64,
    pub version: i64,
    pub created: i64,
    pub modified: i64,
}

/// An answer to a read: the key, if there is one, and the store's revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Look {
    pub found: Option<Found>,
    pub revision: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Expected {
    Absent,
    Value(u64),
    Modified(i64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Swap {
    Done { at: i64 },
    Refused(Look),
}

/// `None` where the answer is not known.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    Get(Option<Look>),
    Put {
        value: u64,
        at: Option<i64>,
    },
    /// Whether there was something, and the store's revision.
    Delete(Option<(bool, i64)>),
    Cas {
        expected: Expected,
        new: u64,
        answer: Option<Swap>,
    },
}

/// With the key it is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OfKey {
    pub key: String,
    pub action: Action,
}

impl Action {
    /// The store's revision, as the answer had it, and whether it is this operation's own.
    pub fn revision(&self) -> Option<(i64, bool)> {
        match self {
            Self::Get(look) => look.map(|look| (look.revision, false)),
            Self::Put { at, .. } => at.map(|at| (at, true)),
            Self::Delete(answer) => answer.map(|(existed, at)| (at, existed)),
            Self::Cas { answer: Some(Swap::Done { at }), .. } => Some((*at, true)),
            Self::Cas { answer: Some(Swap::Refused(look)), .. } => Some((look.revision, false)),
            Self::Cas { answer: None, .. } => None,
        }
    }

    fn seen(&self) -> Option<Found> {
        match self {
            Self::Get(Some(look)) | Self::Cas { answer: Some(Swap::Refused(look)), .. } => look.found,
            _ => None,
        }
    }
}

/// Gives writes of unknown fate the revision under which their value was read. The error names a value that was read
/// under two.
pub fn resolve(operations: &mut [Operation<OfKey>]) -> Result<(), String> {
    let mut seen: BTreeMap<(String, u64), i64> = BTreeMap::new();
    for one in operations.iter().filter(|one| one.fate == Fate::Ok) {
        let Some(found) = one.action.action.seen() else { continue };
        let first = *seen.entry((one.action.key.clone(), found.value)).or_insert(found.modified);
        if first != found.modified {
            let (key, now) = (&one.action.key, found.modified);
            return Err(format!("value {} of {key} was read at revision {first} and at {now}", found.value));
        }
    }
    for one in operations.iter_mut().filter(|one| one.fate == Fate::Unknown) {
        let OfKey { key, action } = &mut one.action;
        match action {
            Action::Put { value, at: at @ None } => *at = seen.get(&(key.clone(), *value)).copied(),
            Action::Cas { new, answer: answer @ None, .. } => {
                *answer = seen.get(&(key.clone(), *new)).map(|at| Swap::Done { at: *at });
            }
            _ => {}
        }
    }
    Ok(())
}

/// A key that is not there at first.
#[derive(Clone, Copy, Debug)]
pub struct Versioned;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Held {
    value: u64,
    version: i64,
    /// None: nobody ever read this value.
    modified: Option<i64>,
    created: Option<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// No later change of the key is at this revision or below.
    floor: i64,
    held: Option<Held>,
}

impl State {
    fn put(self, value: u64, at: Option<i64>) -> Option<Self> {
        if at.is_some_and(|at| at <= self.floor) {
            return None;
        }
        let (version, created) = self.held.map_or((1, at), |held| (held.version + 1, held.created));
        let held = Some(Held { value, version, modified: at, created });
        Some(Self { floor: at.unwrap_or(self.floor), held })
    }

    fn shows(self, look: Look) -> bool {
        let same = match (self.held, look.found) {
            (None, None) => true,
            (Some(held), Some(found)) => {
                held.value == found.value
                    && held.version == found.version
                    && held.modified == Some(found.modified)
                    && held.created.is_none_or(|created| created == found.created)
            }
            _ => false,
        };
        same && look.revision >= self.floor
    }

    /// None: whether it does cannot be known, because nobody ever read the revision in question; then it does not.
    fn meets(self, expected: Expected) -> bool {
        match (expected, self.held) {
            (Expected::Absent, held) => held.is_none(),
            (_, None) => false,
            (Expected::Value(value), Some(held)) => held.value == value,
            (Expected::Modified(at), Some(held)) => held.modified == Some(at),
        }
    }
}

impl Model for Versioned {
    type State = State;
    type Action = Action;

    fn initial(&self) -> State {
        State { floor: 0, held: None }
    }

    fn step(&self, state: &State, action: &Action) -> Option<State> {
        let state = *state;
        match *action {
            Action::Get(None) => Some(state),
            Action::Get(Some(look)) => state.shows(look).then_some(state),
            Action::Put { value, at } => state.put(value, at),
            Action::Delete(None) => Some(State { held: None, ..state }),
            Action::Delete(Some((true, at))) => {
                (state.held.is_some() && at > state.floor).then_some(State { floor: at, held: None })
            }
            Action::Delete(Some((false, at))) => (state.held.is_none() && at >= state.floor).then_some(state),
            Action::Cas { expected, new, answer: None } => {
                if state.meets(expected) {
                    state.put(new, None)
                } else {
                    Some(state)
                }
            }
            Action::Cas { expected, new, answer: Some(Swap::Done { at }) } => {
                if state.meets(expected) {
                    state.put(new, Some(at))
                } else {
                    None
                }
            }
            Action::Cas { expected, answer: Some(Swap::Refused(look)), .. } => {
                (!state.meets(expected) && state.shows(look)).then_some(state)
            }
        }
    }

    fn only_observes(&self, action: &Action) -> bool {
        match action {
            Action::Get(_) | Action::Delete(Some((false, _))) => true,
            Action::Cas { answer: Some(Swap::Refused(_)), .. } => true,
            Action::Put { .. } | Action::Delete(_) | Action::Cas { .. } => false,
        }
    }

    fn describe(&self, state: &State) -> String {
        match state.held {
            None => format!("nothing (above revision {})", state.floor),
            Some(Held { value, version, modified: Some(at), .. }) => format!("{value} (version {version}, at {at})"),
            Some(Held { value, version, modified: None, .. }) => format!("{value} (version {version}, never read)"),
        }
    }
}

impl fmt::Display for Look {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.found {
            None => write!(out, "nothing (at {})", self.revision),
            Some(Found { value, version, created, modified }) => {
                write!(out, "{value} v{version} {created}..{modified} (at {})", self.revision)
            }
        }
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => write!(out, "absent"),
            Self::Value(value) => write!(out, "value {value}"),
            Self::Modified(at) => write!(out, "modified at {at}"),
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Get(None) => write!(out, "get"),
            Self::Get(Some(look)) => write!(out, "get: {look}"),
            Self::Put { value, at: None } => write!(out, "put {value}"),
            Self::Put { value, at: Some(at) } => write!(out, "put {value}: at {at}"),
            Self::Delete(None) => write!(out, "delete"),
            Self::Delete(Some((true, at))) => write!(out, "delete: at {at}"),
            Self::Delete(Some((false, at))) => write!(out, "delete: nothing there (at {at})"),
            Self::Cas { expected, new, answer: None } => write!(out, "if {expected} put {new}"),
            Self::Cas { expected, new, answer: Some(Swap::Done { at }) } => {
                write!(out, "if {expected} put {new}: at {at}")
            }
            Self::Cas { expected, new, answer: Some(Swap::Refused(look)) } => {
                write!(out, "if {expected} put {new}: refused, {look}")
            }
        }
    }
}

impl fmt::Display for OfKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.key, self.action)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checker::linearizable::{Verdict, check_by_key};
    use crate::history::Process;

    fn found(value: u64, version: i64, created: i64, modified: i64, revision: i64) -> Action {
        Action::Get(Some(Look { found: Some(Found { value, version, created, modified }), revision }))
    }

    fn put(value: u64, at: i64) -> Action {
        Action::Put { value, at: Some(at) }
    }

    fn one_after_another(actions: Vec<(Action, Fate)>) -> Vec<Operation<OfKey>> {
        let operation = |(at, (action, fate)): (usize, (Action, Fate))| {
            let action = OfKey { key: "k".to_owned(), action };
            let (called, returned) = (2 * at, Some(2 * at + 1));
            Operation { process: Process(at as u64), action, fate, called, returned, line: at }
        };
        actions.into_iter().enumerate().map(operation).collect()
    }

    fn is_right(actions: Vec<(Action, Fate)>) -> bool {
        let mut operations = one_after_another(actions);
        resolve(&mut operations).expect("no value is read at two revisions");
        let verdict = check_by_key(&Versioned, &operations, |one| (one.key.clone(), one.action.clone()), 10_000);
        verdict == Verdict::Linearizable
    }

    fn all_ok(actions: Vec<Action>) -> bool {
        is_right(actions.into_iter().map(|action| (action, Fate::Ok)).collect())
    }

    #[test]
    fn numbers_that_fit_are_right() {
        let refused = Look { found: Some(Found { value: 2, version: 2, created: 5, modified: 6 }), revision: 9 };
        assert!(all_ok(vec![
            Action::Get(Some(Look { found: None, revision: 3 })),
            put(1, 5),
            Action::Cas { expected: Expected::Value(1), new: 2, answer: Some(Swap::Done { at: 6 }) },
            found(2, 2, 5, 6, 8),
            Action::Cas { expected: Expected::Modified(5), new: 3, answer: Some(Swap::Refused(refused)) },
            Action::Delete(Some((true, 10))),
            Action::Delete(Some((false, 10))),
            Action::Cas { expected: Expected::Absent, new: 4, answer: Some(Swap::Done { at: 11 }) },
            found(4, 1, 11, 11, 11),
        ]));
    }

    #[test]
    fn each_number_that_does_not_fit_is_wrong() {
        assert!(!all_ok(vec![put(1, 5), found(2, 1, 5, 5, 5)]), "another value");
        assert!(!all_ok(vec![put(1, 5), found(1, 2, 5, 5, 5)]), "written twice");
        assert!(!all_ok(vec![put(1, 5), found(1, 1, 4, 5, 5)]), "created before");
        assert!(!all_ok(vec![put(1, 5), found(1, 1, 5, 6, 6)]), "another revision");
        assert!(!all_ok(vec![put(1, 5), found(1, 1, 5, 5, 4)]), "the store is behind the key");
        assert!(!all_ok(vec![put(1, 5), put(2, 5)]), "a revision twice");
        assert!(!all_ok(vec![put(1, 5), put(2, 4)]), "a revision that goes back");
        assert!(!all_ok(vec![Action::Delete(Some((true, 5)))]), "nothing was there");
        assert!(!all_ok(vec![put(1, 5), Action::Delete(Some((false, 6)))]), "something was there");
        let cas = |expected, answer| Action::Cas { expected, new: 9, answer: Some(answer) };
        assert!(!all_ok(vec![put(1, 5), cas(Expected::Value(2), Swap::Done { at: 6 })]), "not what was expected");
        let look = Look { found: Some(Found { value: 1, version: 1, created: 5, modified: 5 }), revision: 6 };
        assert!(!all_ok(vec![put(1, 5), cas(Expected::Modified(5), Swap::Refused(look))]), "refused for nothing");
    }

    #[test]
    fn a_write_of_unknown_fate_counts_when_it_shows() {
        let unknown = |value| (Action::Put { value, at: None }, Fate::Unknown);
        let ok = |action| (action, Fate::Ok);
        assert!(is_right(vec![ok(put(1, 5)), unknown(2), ok(found(1, 1, 5, 5, 6))]));
        assert!(is_right(vec![ok(put(1, 5)), unknown(2), ok(found(2, 2, 5, 6, 6)), ok(found(2, 2, 5, 6, 7))]));
        // Unseen itself, it shows in the version of the next.
        assert!(is_right(vec![ok(put(1, 5)), unknown(2), ok(put(3, 7)), ok(found(3, 3, 5, 7, 7))]));
        assert!(!is_right(vec![ok(put(1, 5)), unknown(2), ok(put(3, 7)), ok(found(3, 4, 5, 7, 7))]));
        assert!(!is_right(vec![
            ok(put(1, 5)),
            unknown(2),
            ok(put(3, 7)),
            ok(found(2, 2, 5, 8, 8)),
            ok(found(3, 3, 5, 7, 9))
        ]));
    }

    #[test]
    fn a_value_at_two_revisions_is_named() {
        let mut operations =
            one_after_another(vec![(found(1, 1, 5, 5, 5), Fate::Ok), (found(1, 2, 5, 6, 6), Fate::Ok)]);
        let error = resolve(&mut operations).expect_err("one value was read twice");
        assert_eq!(error, "value 1 of k was read at revision 5 and at 6");
    }
}
