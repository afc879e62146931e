//! What can go wrong with the log, by operation.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::Identity;
use crate::types::{LogId, Vote};

/// Why a log does not open. All of them mean: this node must not run on this directory.
#[derive(Debug, Error)]
pub enum OpenError {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },

    #[error(
        "{path} belongs to member {} of cluster {}, this node is member {} of cluster {}: start it with its own data \
         directory",
        found.member, found.cluster, expected.member, expected.cluster
    )]
    Foreign { path: PathBuf, found: Identity, expected: Identity },

    #[error("{path} has log format {found}, this program knows up to {known}: run the version that wrote it, or newer")]
    Newer { path: PathBuf, found: u16, known: u16 },

    #[error(
        "{dir}: both copies of the vote (meta.a, meta.b) are missing or damaged, so this node could vote twice: wipe \
         its data directory and let it rejoin as a learner"
    )]
    VoteLost { dir: PathBuf },

    #[error(
        "{dir}: the vote (meta.a, meta.b) is older than the log: {evidence}. This node could vote twice: wipe its data \
         directory and let it rejoin as a learner"
    )]
    VoteStale { dir: PathBuf, evidence: String },

    #[error(
        "{path} is missing, and nothing left says which entries it held: wipe the data directory and let the node \
         rejoin as a learner"
    )]
    SegmentMissing { path: PathBuf },

    #[error(
        "{path}: the header (bytes 0 to 4095) is damaged and the layout cannot be proven from the rest: wipe the data \
         directory and let the node rejoin as a learner"
    )]
    SegmentHeader { path: PathBuf },

    #[error(
        "{path}, identifier at byte {offset}: entries {first} to {last} are damaged together with their identifiers, \
         and their term cannot be proven ({bounds}): wipe the data directory and let the node rejoin as a learner"
    )]
    Unprovable { path: PathBuf, offset: u64, first: u64, last: u64, bounds: String },
}

impl OpenError {
    pub(super) fn io(path: &Path) -> impl Fn(io::Error) -> OpenError + '_ {
        move |source| OpenError::Io { path: path.to_owned(), source }
    }
}

/// Why a change was refused or failed.
#[derive(Debug, Error)]
pub enum WalError {
    /// The disk refused. Not retried: what the cache holds after a failed sync is not what the medium holds.
    #[error("{path}: {action}: {source}")]
    Io { path: PathBuf, action: &'static str, source: io::Error },

    #[error("the log stopped after an earlier failure and must be opened again: {reason}")]
    Poisoned { reason: String },

    #[error("entry {offered} does not follow the log, whose next index is {expected}")]
    Gap { expected: u64, offered: LogId },

    #[error("entry {offered} has an older term than its predecessor {last}")]
    TermWentBack { last: LogId, offered: LogId },

    #[error("entry {log_id} has {bytes} bytes, at most {max} fit a frame")]
    EntryTooLarge { log_id: LogId, bytes: usize, max: usize },

    #[error("{bytes} bytes of entries wait for the disk, {max} may: the disk is too slow, try again")]
    PendingFull { bytes: usize, max: usize },

    #[error("cannot truncate after {asked}: {reason}")]
    CannotTruncate { asked: LogId, reason: String },

    #[error("vote {offered:?} is of an older term than the saved {saved:?}")]
    VoteWentBack { saved: Vote, offered: Vote },

    #[error("vote {offered:?} contradicts {saved:?}, which was given in the same term")]
    VotedTwice { saved: Vote, offered: Vote },
}

impl WalError {
    pub(super) fn io<'a>(path: &'a Path, action: &'static str) -> impl Fn(io::Error) -> WalError + 'a {
        move |source| WalError::Io { path: path.to_owned(), action, source }
    }

    /// The log can no longer be used; the node has to end. The others are the caller's mistake and change nothing.
    pub fn is_fatal(&self) -> bool {
        matches!(self, WalError::Io { .. } | WalError::Poisoned { .. })
    }
}

/// Why entries cannot be read.
#[derive(Debug, Error)]
pub enum ReadError {
    #[error("entry {log_id} is damaged on this node and waits for a copy from a peer")]
    Hole { log_id: LogId },

    /// Found just now; from here on it is a [`ReadError::Hole`].
    #[error("entry {log_id} is damaged: {file}, byte {offset}")]
    Rotten { log_id: LogId, file: PathBuf, offset: u64 },

    #[error("entry {index} is gone: the log starts at {first}")]
    Purged { index: u64, first: u64 },

    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
}

/// Why an entry was not put back into its hole.
#[derive(Debug, Error)]
pub enum FillError {
    #[error("there is no hole {offered}")]
    NoSuchHole { offered: LogId },

    #[error("the entry offered for {offered} is not the one that was written here: its checksum differs")]
    Different { offered: LogId },

    #[error(transparent)]
    Wal(#[from] WalError),
}
