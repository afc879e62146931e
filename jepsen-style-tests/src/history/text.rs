//! Strings by key, that are got, put and appended to. A key that was never put holds the empty string.

use std::fmt;

use super::pairing::Answered;
use crate::checker::model::Model;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TextAction {
    /// What was got; `None` when that is not known.
    Get(Option<String>),
    Put(String),
    Append(String),
}

/// An action and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keyed {
    pub key: String,
    pub action: TextAction,
}

/// One key.
#[derive(Clone, Copy, Debug)]
pub struct Text;

impl Model for Text {
    type State = String;
    type Action = TextAction;

    fn initial(&self) -> String {
        String::new()
    }

    fn step(&self, state: &String, action: &TextAction) -> Option<String> {
        match action {
            TextAction::Get(seen) => seen.as_ref().is_none_or(|seen| seen == state).then(|| state.clone()),
            TextAction::Put(value) => Some(value.clone()),
            TextAction::Append(tail) => Some(format!("{state}{tail}")),
        }
    }

    fn only_observes(&self, action: &TextAction) -> bool {
        matches!(action, TextAction::Get(_))
    }

    fn describe(&self, state: &String) -> String {
        shortened(state)
    }
}

impl Answered for Keyed {
    fn answered(&self, end: &Self) -> Result<Self, String> {
        let same_kind = matches!((&self.action, &end.action), (TextAction::Get(_), TextAction::Get(_)));
        if self.key == end.key && (same_kind || self.action == end.action) {
            return Ok(end.clone());
        }
        Err(format!("{self} is not {end}"))
    }

    fn unanswered(&self) -> Self {
        let action =
            if matches!(self.action, TextAction::Get(_)) { TextAction::Get(None) } else { self.action.clone() };
        Self { key: self.key.clone(), action }
    }
}

impl fmt::Display for TextAction {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Get(None) => write!(out, "get"),
            Self::Get(Some(seen)) => write!(out, "get {}", shortened(seen)),
            Self::Put(value) => write!(out, "put {}", shortened(value)),
            Self::Append(tail) => write!(out, "append {}", shortened(tail)),
        }
    }
}

impl fmt::Display for Keyed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.key, self.action)
    }
}

/// The end of a long string: that is where appended ones differ.
fn shortened(text: &str) -> String {
    const CHARS_MAX: usize = 40;
    let count = text.chars().count();
    if count <= CHARS_MAX {
        return format!("{text:?}");
    }
    let tail: String = text.chars().skip(count - CHARS_MAX).collect();
    format!("({count} characters, ending in {tail:?})")
}
