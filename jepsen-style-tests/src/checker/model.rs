//! What a history is checked against: one object, its states and the steps between them.

use std::fmt;
use std::hash::Hash;

/// A sequential object. A history of several is judged object by object: linearizability is local.
pub trait Model {
    type State: Clone + Eq + Hash;
    /// What was asked, with what was answered where that is known.
    type Action: Clone + Eq + Hash + fmt::Display;

    fn initial(&self) -> Self::State;
    /// The state after `action`, or none where the action could not have been answered so in this state.
    fn step(&self, state: &Self::State, action: &Self::Action) -> Option<Self::State>;
    /// The action changes no state in which it is possible: it is a test of the state and nothing else.
    fn only_observes(&self, action: &Self::Action) -> bool;
    fn describe(&self, state: &Self::State) -> String;
}
