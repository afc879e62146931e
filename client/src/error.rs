//! What a request can come back with when it does not come back with an answer.
//!
//! The question a caller has after an error is: *did it happen?* The variants are cut along that question, and each
//! keeps the gRPC code and the server's text, which is what etcd clients have always matched on.

use tonic::Code;

/// Why a request, a watch or a lease ended without success.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A server looked at the request and said no. Nothing was changed, and the same request will be refused again
    /// until something else changes.
    #[error("{message}")]
    Refused { code: Code, message: String },

    /// No server took the request before the deadline. Nothing was changed: it is safe to send it again.
    #[error("no server took the request: {message}; check that the endpoints are right and a quorum is up")]
    Unavailable { code: Code, message: String },

    /// The write was sent and no verdict came back: it may have been executed, it may yet be, it may be lost. Only
    /// reading the key tells. The client never repeats such a write by itself.
    #[error("fate unknown, the write may or may not have been executed: {message}; read the key before repeating it")]
    Unknown { code: Code, message: String },

    /// A watch asked for history that was compacted away. `compact_revision` is the oldest revision still there:
    /// read the range again, and watch from the revision of that read plus one.
    #[error(
        "etcdserver: mvcc: required revision has been compacted (oldest revision kept: {compact_revision}); \
         read the range anew and watch from there"
    )]
    Compacted { compact_revision: i64 },

    /// The server ended a watch for a reason that another endpoint would not cure.
    #[error("watch was canceled by the server: {reason}")]
    WatchCanceled { reason: String },

    /// The lease is gone: expired or revoked. Keys attached to it are deleted.
    #[error("etcdserver: requested lease not found (lease {id:016x} has expired or was revoked)")]
    LeaseGone { id: i64 },

    /// The key of a lock or a leadership was deleted by somebody else while this client waited for its turn.
    #[error("the place {key} in the queue was deleted; enter it again")]
    PlaceLost { key: String },

    /// The call itself makes no sense; it was not sent.
    #[error("{0}")]
    Usage(String),

    /// A snapshot arrived incomplete or damaged. What was written so far must not be used.
    #[error("snapshot is damaged: {0}; throw the file away and take another one")]
    Snapshot(String),

    /// The caller's own writer failed.
    #[error("cannot write: {0}")]
    Write(std::sync::Arc<std::io::Error>),
}

/// What is known about the effect of a request that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It certainly changed nothing, and never will.
    NotExecuted,
    /// It may have been executed, or may still be.
    Unknown,
}

impl Error {
    /// Whether the failed request may have had an effect. This is what a linearizability checker records: an
    /// operation that is [`Fate::Unknown`] stays open for ever.
    #[must_use]
    pub fn fate(&self) -> Fate {
        match self {
            Self::Unknown { .. } => Fate::Unknown,
            _ => Fate::NotExecuted,
        }
    }

    /// The gRPC code, where a server or the transport gave one.
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Refused { code, .. } | Self::Unavailable { code, .. } | Self::Unknown { code, .. } => Some(*code),
            Self::Compacted { .. } => Some(Code::OutOfRange),
            Self::LeaseGone { .. } | Self::PlaceLost { .. } => Some(Code::NotFound),
            Self::WatchCanceled { .. } | Self::Usage(_) | Self::Snapshot(_) | Self::Write(_) => None,
        }
    }

    /// The server's own words, verbatim where there are any.
    #[must_use]
    pub fn message(&self) -> String {
        match self {
            Self::Refused { message, .. } | Self::Unavailable { message, .. } | Self::Unknown { message, .. } => {
                message.clone()
            }
            other => other.to_string(),
        }
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self::Write(std::sync::Arc::new(error))
    }
}
