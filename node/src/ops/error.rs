//! Why an operation gave no answer.

use crate::mvcc::ReadError;
use crate::raft::{MemberRefusal, RaftStopped, ReadIndexError, WriteError};
use crate::storage::EngineError;
use crate::types::MemberId;

#[derive(Debug, thiserror::Error)]
pub enum OpsError {
    /// No leader was found in time. The work was not done.
    #[error("there is no leader")]
    NoLeader,
    /// Asked of a member that does not lead, by one that thought it did. The work was not done.
    #[error("this member does not lead")]
    NotLeader { leader: Option<MemberId> },
    /// Too much is waiting already. The work was not done.
    #[error("too many requests are waiting: try again in a moment")]
    Overloaded,
    /// The deadline passed before the work was begun. It was not done.
    #[error("the deadline passed while the request was waiting")]
    ExpiredWaiting,
    /// The deadline passed while the work was under way, or its leader was lost. It may have been done, or be done
    /// yet.
    #[error("the request may or may not have been carried out")]
    Unknown,
    /// This member's log has holes: it does not know enough to answer.
    #[error("this member is repairing its log")]
    Repairing,
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Member(#[from] MemberRefusal),
    #[error("this member is stopping: {0}")]
    Stopped(String),
}

impl OpsError {
    /// Whether the work may have happened all the same.
    pub fn is_unknown(&self) -> bool {
        matches!(self, OpsError::Unknown | OpsError::Member(MemberRefusal::Unknown))
    }
}

impl From<EngineError> for OpsError {
    fn from(error: EngineError) -> Self {
        OpsError::Read(ReadError::Engine(error))
    }
}

impl From<RaftStopped> for OpsError {
    fn from(error: RaftStopped) -> Self {
        OpsError::Stopped(error.to_string())
    }
}

impl From<WriteError> for OpsError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::NotLeader { leader } => OpsError::NotLeader { leader },
            WriteError::Unknown => OpsError::Unknown,
            WriteError::Stopped(reason) => OpsError::Stopped(reason),
        }
    }
}

impl From<ReadIndexError> for OpsError {
    fn from(error: ReadIndexError) -> Self {
        match error {
            ReadIndexError::NotLeader { leader } => OpsError::NotLeader { leader },
            ReadIndexError::NoQuorum => OpsError::NoLeader,
            ReadIndexError::Stopped(reason) => OpsError::Stopped(reason),
        }
    }
}
