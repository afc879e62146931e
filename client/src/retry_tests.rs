//! The rules of `retry`, as a table.

use tonic::metadata::MetadataValue;

use super::*;

/// code, text, verdict: one line for each failure that has been seen in the wild.
const TABLE: &[(Code, &str, Verdict)] = &[
    // Never left this machine.
    (Code::Unavailable, "there is no connection available: transport error: tcp connect error", Verdict::NotExecuted),
    (Code::Unavailable, "there is no address available", Verdict::NotExecuted),
    (Code::Unknown, "Service was not ready: transport error", Verdict::NotExecuted),
    // Turned away before it was proposed.
    (Code::Unavailable, "etcdserver: no leader", Verdict::NotExecuted),
    (Code::FailedPrecondition, "etcdserver: not leader", Verdict::NotExecuted),
    (Code::ResourceExhausted, "etcdserver: too many requests", Verdict::NotExecuted),
    (Code::FailedPrecondition, "lease: not a primary lessor", Verdict::NotExecuted),
    (Code::Unavailable, "etcdserver: rpc not supported for learner", Verdict::NotExecuted),
    // Proposed, perhaps; the server stopped waiting.
    (Code::Unavailable, "etcdserver: request timed out", Verdict::Uncertain),
    (Code::Unavailable, "etcdserver: request timed out, possibly due to previous leader failure", Verdict::Uncertain),
    (Code::Unavailable, "etcdserver: request timed out, possibly due to connection lost", Verdict::Uncertain),
    (Code::Unavailable, "etcdserver: leader changed", Verdict::Uncertain),
    (Code::Unavailable, "etcdserver: server stopped", Verdict::Uncertain),
    (Code::DeadlineExceeded, "context deadline exceeded", Verdict::Uncertain),
    (Code::Unknown, "context deadline exceeded", Verdict::Uncertain),
    (Code::Cancelled, "Timeout expired", Verdict::Uncertain),
    // The connection broke while the request was under way.
    (Code::Unknown, "transport error", Verdict::Uncertain),
    (Code::Unavailable, "error reading a body from connection", Verdict::Uncertain),
    (Code::Internal, "h2 protocol error: http2 error", Verdict::Uncertain),
    // The request was executed, and then the answer could not be decoded.
    (Code::OutOfRange, "Error, decoded message length too large: found 9 bytes, the limit is: 4", Verdict::Uncertain),
    (Code::Internal, "failed to decode Protobuf message", Verdict::Uncertain),
    // A word about availability that nobody knows proves nothing.
    (Code::Unavailable, "etcdserver: something new", Verdict::Uncertain),
    // Considered and refused.
    (Code::InvalidArgument, "etcdserver: key is not provided", Verdict::Answered),
    (Code::NotFound, "etcdserver: requested lease not found", Verdict::Answered),
    (Code::OutOfRange, "etcdserver: mvcc: required revision has been compacted", Verdict::Answered),
    (Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded", Verdict::Answered),
    (Code::DataLoss, "etcdserver: corrupt cluster", Verdict::Answered),
    (Code::Unavailable, "etcdserver: unhealthy cluster", Verdict::Answered),
    (Code::Unknown, "etcdserver: re-configuration failed due to not enough started members", Verdict::Answered),
    (Code::PermissionDenied, "etcdserver: permission denied", Verdict::Answered),
    (Code::Unimplemented, "unknown service holdfast.v1.Topology", Verdict::Answered),
];

#[test]
fn every_known_failure_has_its_verdict() {
    for &(code, text, verdict) in TABLE {
        assert_eq!(judge(&Status::new(code, text)), verdict, "{code:?} {text:?}");
    }
}

/// As the HTTP/2 library says it.
#[derive(Debug)]
struct Canceled;

impl std::error::Error for Canceled {}

impl std::fmt::Display for Canceled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("operation was canceled")
    }
}

#[test]
fn a_request_that_waited_for_a_connection_that_closed_was_not_sent() {
    assert_eq!(judge(&Status::from_error(Box::new(Canceled))), Verdict::NotExecuted);
    // The same words over the wire are somebody else's.
    assert_eq!(judge(&Status::new(Code::Unknown, "operation was canceled")), Verdict::Uncertain);
    assert_eq!(judge(&Status::new(Code::Cancelled, "operation was canceled")), Verdict::Uncertain);
}

#[test]
fn a_write_is_repeated_only_when_it_certainly_was_not_executed() {
    for &(code, text, verdict) in TABLE {
        let status = Status::new(code, text);
        assert_eq!(may_repeat(Intent::Write, verdict), verdict == Verdict::NotExecuted, "{text:?}");
        assert_eq!(may_repeat(Intent::Read, verdict), verdict != Verdict::Answered, "{text:?}");
        let unknown = matches!(into_error(Intent::Write, &status), Error::Unknown { .. });
        assert_eq!(unknown, verdict == Verdict::Uncertain, "{text:?}");
        assert!(!matches!(into_error(Intent::Read, &status), Error::Unknown { .. }), "a read has no fate: {text:?}");
    }
}

#[test]
fn an_error_keeps_the_code_and_the_text() {
    let error = into_error(Intent::Write, &Status::not_found("etcdserver: requested lease not found"));
    assert_eq!(error.code(), Some(Code::NotFound));
    assert_eq!(error.message(), "etcdserver: requested lease not found");
    assert_eq!(error.to_string(), "etcdserver: requested lease not found");
}

#[test]
fn a_holdfast_server_can_say_that_it_did_not_propose() {
    let mut status = Status::unavailable("holdfast: draining");
    assert_eq!(judge(&status), Verdict::Uncertain);
    status.metadata_mut().insert(NOT_PROPOSED, MetadataValue::from_static("1"));
    status.metadata_mut().insert(RETRY_AFTER_MS, MetadataValue::from_static("250"));
    assert_eq!(judge(&status), Verdict::NotExecuted);
    assert_eq!(retry_after(&status), Duration::from_millis(250));
    assert!(!is_transport(&status), "the connection is fine");
}

#[test]
fn a_hint_is_bounded() {
    let mut status = Status::resource_exhausted("etcdserver: too many requests");
    assert_eq!(retry_after(&status), Duration::ZERO);
    status.metadata_mut().insert(RETRY_AFTER_MS, MetadataValue::from_static("99999999"));
    assert_eq!(retry_after(&status), RETRY_AFTER_MAX);
    status.metadata_mut().insert(RETRY_AFTER_MS, MetadataValue::from_static("soon"));
    assert_eq!(retry_after(&status), Duration::ZERO);
}

#[test]
fn backoff_grows_to_its_bound_and_jitters() {
    let max = Duration::from_secs(1);
    let mut backoff = Backoff::new(max);
    let mut bound = Backoff::FIRST;
    for _ in 0..20 {
        let wait = backoff.step();
        assert!(wait >= bound / 2 && wait <= bound, "{wait:?} is outside [{:?}, {bound:?}]", bound / 2);
        bound = (bound * 2).min(max);
    }
    backoff.reset();
    assert!(backoff.step() <= Backoff::FIRST);
}
