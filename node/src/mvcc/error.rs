//! How a read can fail.

use bytes::Bytes;

use super::rows::Rev;
use crate::storage::EngineError;
use crate::types::Revision;

/// Why a read was not answered. The first two are the client's; the others are this member's disk.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("revision {requested} is gone, history starts at {compacted}: read at that or a later revision")]
    Compacted { requested: Revision, compacted: Revision },
    #[error("revision {requested} does not exist yet, the newest is {newest}")]
    FutureRevision { requested: Revision, newest: Revision },
    /// The bytes are never handed out.
    #[error(
        "the value of key {} at revision {rev} does not match its checksum: this member's copy is damaged",
        key.escape_ascii()
    )]
    ChecksumMismatch { key: Bytes, rev: Rev },
    #[error(transparent)]
    Engine(#[from] EngineError),
}
