//! Why a command does not come to its end.

use holdfast_proto::log::Refusal;
use holdfast_proto::log::refusal::Reason;

use crate::mvcc::ReadError;
use crate::storage::EngineError;

/// The two ways out of a command that was begun.
#[derive(Debug)]
pub(super) enum Halt {
    /// The command gets this answer, and leaves nothing behind.
    Refused(Refusal),
    /// The state could not be read. A revision that cannot be read is the command's fault and becomes a refusal,
    /// everything else is this member's.
    Read(ReadError),
    /// This version does not know what it was asked to do.
    Unknown,
}

impl Halt {
    pub fn refused(reason: Reason, detail: impl Into<String>) -> Self {
        Self::Refused(Refusal { reason: reason as i32, detail: detail.into() })
    }
}

impl From<ReadError> for Halt {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

impl From<EngineError> for Halt {
    fn from(error: EngineError) -> Self {
        Self::Read(error.into())
    }
}
