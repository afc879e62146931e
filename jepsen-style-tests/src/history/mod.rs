//! What clients did and what they were told: the material every checker judges.
//!
//! A history is a list of events in the order in which they were seen: a process *invokes* an operation, and later
//! learns that it is *ok*, that it *failed* (it certainly did not happen), or that its fate is *unknown* (it may have
//! happened, it may happen later, it may never happen). What was invoked and never ended is of unknown fate too.
//!
//! ```text
//!   pairing    events become operations, each with its place of call and of return
//!   recorder   a history written down while it happens
//!   register   one register: read, write, compare-and-set · text   strings by key: get, put, append
//!   versioned  one key of a store with versions and revisions: get, put, delete, compare-and-set
//!   transaction  a few keys under transactions with comparisons, nested ones too
//!   picture    a history drawn, with what could not be put into an order
//!   edn        a reader of the notation in which Jepsen and Knossos write histories
//!   log        Jepsen's log lines · recorded   maps in EDN: registers and text by key
//! ```
//!
//! Places are numbers of events, not times: only the order of events counts.

mod edn;
mod log;
mod pairing;
pub mod picture;
mod recorded;
mod recorder;
pub mod register;
pub mod text;
pub mod transaction;
pub mod versioned;

pub use log::register_log;
pub use pairing::{Event, pair};
pub use recorded::{register_edn, text_by_key};
pub use recorder::{History, Open, Recorder, Tally};

use thiserror::Error;

/// Who acts: one after another, never two operations at once, unless the first is of unknown fate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Process(pub u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Invoke,
    Ok,
    Fail,
    Unknown,
}

/// What the caller knows in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Ok,
    /// It did not happen.
    Failed,
    /// It happened between its call and the end of time, or never.
    Unknown,
}

/// One operation, from its call to its return.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation<A> {
    pub process: Process,
    /// What was asked, and where it is ok, what was answered.
    pub action: A,
    pub fate: Fate,
    /// Place of the invocation among all events.
    pub called: usize,
    /// Place of the end among all events; an operation without one was open when the history ended.
    pub returned: Option<usize>,
    /// Line of the file the invocation was read from; 0 where there is no file.
    pub line: usize,
}

impl<A> Operation<A> {
    /// The place behind which it can no longer take effect.
    #[must_use]
    pub fn deadline(&self) -> Option<usize> {
        self.returned.filter(|_| self.fate == Fate::Ok)
    }
}

#[derive(Debug, Error, PartialEq, Eq)]
pub enum HistoryError {
    #[error("line {line}: {what}")]
    Malformed { line: usize, what: String },
    #[error("line {line}: process {} invokes an operation before the one of line {pending} has ended", .process.0)]
    Busy { line: usize, process: Process, pending: usize },
    #[error("line {line}: process {} ends an operation that it did not invoke", .process.0)]
    NotInvoked { line: usize, process: Process },
    #[error("line {line}: process {} ends another operation than that of line {pending}: {what}", .process.0)]
    Different { line: usize, process: Process, pending: usize, what: String },
    #[error("no operation in it: an empty history proves nothing")]
    Empty,
}

impl HistoryError {
    pub(crate) fn malformed(line: usize, what: impl Into<String>) -> Self {
        Self::Malformed { line, what: what.into() }
    }
}
