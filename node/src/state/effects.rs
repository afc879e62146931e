//! What goes into apply, and what comes out of it.

use holdfast_proto::{log, peer};

use crate::auth::AuthState;
use crate::lease::LeaseChange;
use crate::mvcc::{ReadError, Revisioned};
use crate::storage::{Batch, EngineError};
use crate::types::{LogId, Revision};

/// A committed log entry.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub log_id: LogId,
    pub payload: EntryPayload,
}

#[derive(Clone, Debug, PartialEq)]
pub enum EntryPayload {
    /// A new leader's first entry.
    Blank,
    Commands(log::Batch),
    Membership(peer::Membership),
}

/// What entries do. Write the batch; then tell the rest, in this order: lease table, watchers, callers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Effects {
    pub batch: Batch,
    /// One for each new revision, in order.
    pub published: Vec<Revisioned>,
    /// One list for each entry, in order: an outcome for each of its commands.
    pub outcomes: Vec<Vec<log::Outcome>>,
    pub lease_changes: Vec<LeaseChange>,
    /// Alarms were raised or taken back: read them with [`super::alarms`].
    pub alarms_changed: bool,
    /// Authentication after the entries, if users, roles or the whole were changed.
    pub auth: Option<AuthState>,
    /// The last membership among the entries, and where it stands in the log.
    pub membership: Option<(LogId, peer::Membership)>,
    /// Where history starts now, if a compaction was among the entries.
    pub compacted: Option<Revision>,
    /// The newest revision after the entries.
    pub revision: Revision,
}

/// Why entries could not be applied. None of this is the client's doing, and nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    #[error(
        "log entry {log_id} holds a command unknown to this version: run the version that wrote it, or a newer one"
    )]
    UnknownCommand { log_id: LogId },
    #[error("log entry {given} cannot follow {applied}, the last one applied")]
    OutOfOrder { applied: LogId, given: LogId },
    #[error("log entry {log_id} cannot be applied: {source}")]
    Read { log_id: LogId, source: ReadError },
    #[error(transparent)]
    Engine(#[from] EngineError),
}
