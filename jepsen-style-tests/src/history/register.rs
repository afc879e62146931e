//! One register that is read, written and compared-and-set.

use std::fmt;

use super::pairing::Answered;
use crate::checker::model::Model;

/// `None` is the empty register (nil).
pub type Content = Option<i64>;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RegisterAction {
    /// What was read; `None` when that is not known.
    Read(Option<Content>),
    Write(Content),
    CompareAndSet {
        expected: Content,
        new: Content,
    },
}

/// A register and what it holds at first.
#[derive(Clone, Copy, Debug)]
pub struct Register {
    pub initial: Content,
}

impl Model for Register {
    type State = Content;
    type Action = RegisterAction;

    fn initial(&self) -> Content {
        self.initial
    }

    /// A compare-and-set that did not find what it expected has failed, and what failed is not asked about here.
    fn step(&self, state: &Content, action: &RegisterAction) -> Option<Content> {
        match action {
            RegisterAction::Read(seen) => seen.is_none_or(|seen| seen == *state).then_some(*state),
            RegisterAction::Write(value) => Some(*value),
            RegisterAction::CompareAndSet { expected, new } => (expected == state).then_some(*new),
        }
    }

    fn only_observes(&self, action: &RegisterAction) -> bool {
        match action {
            RegisterAction::Read(_) => true,
            RegisterAction::Write(_) => false,
            RegisterAction::CompareAndSet { expected, new } => expected == new,
        }
    }

    fn describe(&self, state: &Content) -> String {
        Shown(*state).to_string()
    }
}

impl Answered for RegisterAction {
    fn answered(&self, end: &Self) -> Result<Self, String> {
        match (self, end) {
            (Self::Read(_), Self::Read(_)) => Ok(end.clone()),
            (Self::Write(_) | Self::CompareAndSet { .. }, end) if self == end => Ok(self.clone()),
            // An end without a value repeats nothing and contradicts nothing.
            (Self::Write(_), Self::Write(None)) => Ok(self.clone()),
            _ => Err(format!("{self} is not {end}")),
        }
    }

    fn unanswered(&self) -> Self {
        if matches!(self, Self::Read(_)) { Self::Read(None) } else { self.clone() }
    }
}

impl fmt::Display for RegisterAction {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(None) => write!(out, "read"),
            Self::Read(Some(seen)) => write!(out, "read {}", Shown(*seen)),
            Self::Write(value) => write!(out, "write {}", Shown(*value)),
            Self::CompareAndSet { expected, new } => write!(out, "cas {} {}", Shown(*expected), Shown(*new)),
        }
    }
}

struct Shown(Content);

impl fmt::Display for Shown {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => write!(out, "nil"),
            Some(value) => write!(out, "{value}"),
        }
    }
}
