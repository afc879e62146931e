//! Which failed requests may be sent again, and when.
//!
//! Sending a write twice is only safe when the first one certainly was not executed. So every failure is first
//! judged for what it *proves*, without looking at the request:
//!
//! ```text
//! verdict        proof                                                      a read     a write
//! Answered       a server considered the request and said no                error      error (Refused)
//! NotExecuted    it never left, or was turned away before it was proposed   again      again, then Unavailable
//! Uncertain      anything else                                              again      error (Unknown)
//! ```
//!
//! The proof is etcd's: its own client repeats a write only when no connection was there. Two more are added: a
//! member that says it is not, or has not got, a leader has not proposed anything; and a Holdfast server marks what
//! it turned away at the door with the metadata key [`NOT_PROPOSED`].

use std::time::Duration;

use tonic::{Code, Status};

use crate::connect::NO_CONNECTION;
use crate::{Error, rt};

/// Metadata key of a Holdfast status: the request was refused before it entered the log, and another member, or a
/// later moment, may well take it.
pub const NOT_PROPOSED: &str = "holdfast-not-proposed";

/// Metadata key of a Holdfast status: milliseconds after which it is worth coming back.
pub const RETRY_AFTER_MS: &str = "holdfast-retry-after-ms";

/// A server's hint longer than this is cut.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(5);

/// Whether executing a request twice differs from executing it once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    Read,
    Write,
}

/// What a failure proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Answered,
    NotExecuted,
    Uncertain,
}

/// Texts of servers that had not proposed the request when they gave up on it. All are about leadership or load.
const NOT_EXECUTED: &[&str] = &[
    NO_CONNECTION,
    "there is no address available",
    "etcdserver: no leader",
    "etcdserver: not leader",
    "etcdserver: not primary",
    "etcdserver: too many requests",
    "lease: not a primary lessor",
    "etcdserver: rpc not supported for learner",
    // The generated client's own words when the channel would not take the request.
    "Service was not ready",
];

/// Texts of servers that gave up waiting for a proposal which may still be committed. Whatever their code.
const PERHAPS_EXECUTED: &[&str] = &[
    "etcdserver: request timed out",
    "etcdserver: leader changed",
    "etcdserver: server stopped",
    "etcdserver: request cancelled",
];

/// The HTTP/2 library's words for a request that still waited for a connection when that closed. Whatever was sent ends
/// with another text.
const NEVER_SENT: &str = "operation was canceled";

/// The library here gave the request back before it was sent: a status from a server has no source.
fn was_never_sent(status: &Status) -> bool {
    status.message() == NEVER_SENT && std::error::Error::source(status).is_some()
}

/// Judges a failure.
#[must_use]
pub fn judge(status: &Status) -> Verdict {
    let text = status.message();
    if was_never_sent(status) {
        return Verdict::NotExecuted;
    }
    if status.metadata().contains_key(NOT_PROPOSED) || NOT_EXECUTED.iter().any(|known| text.starts_with(known)) {
        return Verdict::NotExecuted;
    }
    if PERHAPS_EXECUTED.iter().any(|known| text.starts_with(known)) {
        return Verdict::Uncertain;
    }
    match status.code() {
        // An unfamiliar word about availability proves nothing; this one is a refused change of membership.
        Code::Unavailable if text == "etcdserver: unhealthy cluster" => Verdict::Answered,
        Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::FailedPrecondition
        | Code::PermissionDenied
        | Code::Unauthenticated
        | Code::Unimplemented => Verdict::Answered,
        // Libraries use these for trouble of their own, such as an answer too large to decode after the request was
        // executed: only a server's own words count as its answer.
        Code::OutOfRange | Code::ResourceExhausted | Code::DataLoss | Code::Unknown | Code::Internal
            if is_servers_own(text) =>
        {
            Verdict::Answered
        }
        _ => Verdict::Uncertain,
    }
}

/// The failure lies with this endpoint or its connection, not with the request: the connection is not used again.
#[must_use]
pub fn is_transport(status: &Status) -> bool {
    let broken = matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Internal | Code::Cancelled);
    broken && !is_servers_own(status.message()) && !status.metadata().contains_key(NOT_PROPOSED)
}

/// Whoever is taken for the leader is not, or not any more.
#[must_use]
pub fn is_about_leadership(status: &Status) -> bool {
    ["no leader", "not leader", "leader changed", "not primary", "primary lessor", "leader failure"]
        .iter()
        .any(|words| status.message().contains(words))
}

/// The error for a request that is not tried again.
#[must_use]
pub fn into_error(intent: Intent, status: &Status) -> Error {
    let (code, message) = (status.code(), status.message().to_owned());
    match (judge(status), intent) {
        (Verdict::Answered, _) => Error::Refused { code, message },
        (Verdict::NotExecuted, _) | (Verdict::Uncertain, Intent::Read) => Error::Unavailable { code, message },
        (Verdict::Uncertain, Intent::Write) => Error::Unknown { code, message },
    }
}

/// Whether the request may be sent again.
#[must_use]
pub fn may_repeat(intent: Intent, verdict: Verdict) -> bool {
    match verdict {
        Verdict::Answered => false,
        Verdict::NotExecuted => true,
        Verdict::Uncertain => intent == Intent::Read,
    }
}

fn is_servers_own(text: &str) -> bool {
    ["etcdserver:", "etcdserver/", "holdfast:", "auth:", "mvcc:", "lease:", "election:", "mutex:", "\"leader\" field"]
        .iter()
        .any(|prefix| text.starts_with(prefix))
}

/// Waiting times between attempts: exponential, jittered by half so that clients which failed together do not come
/// back together.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    next: Duration,
    max: Duration,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(20);

    pub(crate) fn new(max: Duration) -> Self {
        Self { next: Self::FIRST, max }
    }

    pub(crate) fn reset(&mut self) {
        self.next = Self::FIRST;
    }

    /// The next waiting time.
    pub(crate) fn step(&mut self) -> Duration {
        let full = self.next;
        self.next = (full * 2).min(self.max);
        full.mul_f64(0.5 + rt::chance() / 2.0)
    }
}

/// How long the server asked to be left alone.
pub(crate) fn retry_after(status: &Status) -> Duration {
    let hint = status.metadata().get(RETRY_AFTER_MS).and_then(|value| value.to_str().ok());
    let hint = hint.and_then(|text| text.parse().ok()).map_or(Duration::ZERO, Duration::from_millis);
    hint.min(RETRY_AFTER_MAX)
}

#[cfg(test)]
#[path = "retry_tests.rs"]
mod tests;
