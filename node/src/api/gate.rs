//! The head of every call: who asks, how long the answer is of use, may it be asked here, how did it go.
//!
//! One choke point. What every request must pass is added here and nowhere else, and what does not go through
//! [`Rpc::unary`] or [`Rpc::open`] is not an API call.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prost::Message;
use tonic::metadata::MetadataMap;
use tonic::{Code, Request, Response, Status};
use tracing::Instrument;

use super::outlook::Outlook;
use super::status;
use crate::metrics::{GrpcMetrics, MethodMetrics, Metrics, RaftMetrics, RpcKind};
use crate::ops::{Deadline, Ops};
use crate::rt;

/// No request occupies the node for longer, whatever its client says.
const DEADLINE_MAX: Duration = Duration::from_secs(60);
/// How long work may take that a client rightly waits for: hashing, compacting, reclaiming a whole store.
const PATIENCE_MAX: Duration = Duration::from_secs(3600);

/// The metadata by which a client says that it wants an answer only from a member with a leader.
const REQUIRE_LEADER: &str = "hasleader";

/// What all services share.
#[derive(Clone)]
pub struct Gate {
    inner: Arc<Inner>,
}

struct Inner {
    ops: Ops,
    outlook: Outlook,
    grpc: GrpcMetrics,
    raft: RaftMetrics,
    /// Counts requests; the number ties the log lines of one together.
    requests: AtomicU64,
}

/// Whether a learner answers: it has no say in anything, and its state may be far behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtLearner {
    Refused,
    Served,
}

/// One method.
#[derive(Clone)]
pub struct Rpc {
    gate: Gate,
    service: &'static str,
    method: &'static str,
    at_learner: AtLearner,
    metrics: MethodMetrics,
}

/// One request that has passed.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// When the answer stops being of use.
    pub deadline: Deadline,
    /// The same for work that takes as long as it takes: what the client said, however long.
    pub patience: Deadline,
    /// Size of the request as encoded.
    pub request_bytes: usize,
}

impl Gate {
    pub fn new(ops: Ops, outlook: Outlook, metrics: &Metrics) -> Self {
        let inner =
            Inner { ops, outlook, grpc: metrics.grpc.clone(), raft: metrics.raft.clone(), requests: AtomicU64::new(0) };
        Self { inner: Arc::new(inner) }
    }

    pub fn ops(&self) -> &Ops {
        &self.inner.ops
    }

    pub fn outlook(&self) -> &Outlook {
        &self.inner.outlook
    }

    /// What replication counts.
    pub fn raft_metrics(&self) -> &RaftMetrics {
        &self.inner.raft
    }

    /// A method that only voters answer.
    pub fn rpc(&self, kind: RpcKind, service: &'static str, method: &'static str) -> Rpc {
        let metrics = self.inner.grpc.method(kind, service, method);
        Rpc { gate: self.clone(), service, method, at_learner: AtLearner::Refused, metrics }
    }
}

impl Rpc {
    /// The same method, answered by learners too.
    #[must_use]
    pub fn also_at_learners(mut self) -> Self {
        self.at_learner = AtLearner::Served;
        self
    }

    /// Runs one request and its answer through the gate.
    pub async fn unary<Q, A, F>(
        &self,
        request: Request<Q>,
        work: impl FnOnce(Q, Call) -> F,
    ) -> Result<Response<A>, Status>
    where
        Q: Message,
        A: Message,
        F: Future<Output = Result<A, Status>>,
    {
        self.unary_if(self.at_learner, request, work).await
    }

    /// The same where the request decides whether a learner may answer it.
    pub async fn unary_if<Q, A, F>(
        &self,
        at_learner: AtLearner,
        request: Request<Q>,
        work: impl FnOnce(Q, Call) -> F,
    ) -> Result<Response<A>, Status>
    where
        Q: Message,
        A: Message,
        F: Future<Output = Result<A, Status>>,
    {
        let ticket = self.start();
        let (metadata, _, request) = request.into_parts();
        let call = self.call(&metadata, request.encoded_len());
        self.metrics.messages_received.inc();
        self.gate.inner.grpc.received_bytes.inc_by(call.request_bytes as u64);
        let admitted = self.admit(&metadata, at_learner).and_then(|()| self.require_leader_now(&metadata));
        let result = match admitted {
            Ok(()) => work(request, call).instrument(ticket.span.clone()).await,
            Err(status) => Err(status),
        };
        if let Ok(answer) = &result {
            self.sent(answer);
        }
        ticket.finish(result.as_ref().err());
        result.map(Response::new)
    }

    /// Opens a stream through the gate. The ticket goes with the stream, and is finished when the stream ends.
    pub fn open(&self, metadata: &MetadataMap) -> Result<Ticket, Status> {
        let ticket = self.start();
        let admitted = self
            .admit(metadata, self.at_learner)
            .and_then(|()| if requires_leader(metadata) { self.gate.inner.outlook.require_led() } else { Ok(()) });
        match admitted {
            Ok(()) => Ok(ticket),
            Err(status) => {
                ticket.finish(Some(&status));
                Err(status)
            }
        }
    }

    /// The deadline of one request that came on a stream.
    pub fn call_on_stream(&self, request_bytes: usize) -> Call {
        self.metrics.messages_received.inc();
        self.gate.inner.grpc.received_bytes.inc_by(request_bytes as u64);
        self.call(&MetadataMap::new(), request_bytes)
    }

    /// Counts an answer.
    pub fn sent(&self, answer: &impl Message) {
        self.metrics.messages_sent.inc();
        self.gate.inner.grpc.sent_bytes.inc_by(answer.encoded_len() as u64);
    }

    fn start(&self) -> Ticket {
        self.metrics.start();
        let id = self.gate.inner.requests.fetch_add(1, Ordering::Relaxed);
        let span = tracing::debug_span!("rpc", request = id, service = self.service, method = self.method);
        Ticket { metrics: self.metrics.clone(), span, started: rt::now(), is_finished: false }
    }

    fn call(&self, metadata: &MetadataMap, request_bytes: usize) -> Call {
        let usual = Duration::from_millis(self.gate.inner.ops.limits().request_deadline_ms);
        let asked = metadata.get("grpc-timeout").and_then(|value| parse_timeout(value.as_encoded_bytes()));
        Call {
            deadline: Deadline::after(asked.unwrap_or(usual).min(DEADLINE_MAX)),
            patience: Deadline::after(asked.unwrap_or(PATIENCE_MAX).min(PATIENCE_MAX)),
            request_bytes,
        }
    }

    fn admit(&self, _metadata: &MetadataMap, at_learner: AtLearner) -> Result<(), Status> {
        if at_learner == AtLearner::Refused && self.gate.inner.outlook.is_learner() {
            return Err(status::refused_by_learner());
        }
        Ok(())
    }

    fn require_leader_now(&self, metadata: &MetadataMap) -> Result<(), Status> {
        if requires_leader(metadata) && self.gate.inner.ops.replica().leader().is_none() {
            return Err(status::no_leader());
        }
        Ok(())
    }
}

/// Whether a stream's client wants it ended when there is no leader.
pub fn requires_leader(metadata: &MetadataMap) -> bool {
    metadata.get(REQUIRE_LEADER).is_some_and(|value| value.as_encoded_bytes() == b"true")
}

/// Counts a call when it ends, however it ends: one that is dropped was canceled by its client.
pub struct Ticket {
    metrics: MethodMetrics,
    span: tracing::Span,
    started: rt::Instant,
    is_finished: bool,
}

impl Ticket {
    pub fn finish(mut self, error: Option<&Status>) {
        let code = error.map_or(Code::Ok, Status::code);
        self.is_finished = true;
        self.metrics.finish(code as i32, rt::since(self.started).as_secs_f64());
        if let Some(status) = error {
            self.span.in_scope(|| log(status));
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.is_finished {
            self.metrics.finish(Code::Cancelled as i32, rt::since(self.started).as_secs_f64());
        }
    }
}

/// What the client did wrong is the client's to log; what this member did wrong is ours.
fn log(status: &Status) {
    match status.code() {
        // Unknown is what etcd's recipes for locks and elections say no with.
        Code::Internal | Code::DataLoss => {
            tracing::error!(code = ?status.code(), reason = status.message(), "a request failed");
        }
        _ => tracing::debug!(code = ?status.code(), reason = status.message(), "a request was refused"),
    }
}

/// Reads gRPC's timeout: up to eight digits and a unit. `None` if it is none.
pub fn parse_timeout(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if !(1..=8).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let amount: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(match unit {
        b'H' => Duration::from_secs(amount * 3600),
        b'M' => Duration::from_secs(amount * 60),
        b'S' => Duration::from_secs(amount),
        b'm' => Duration::from_millis(amount),
        b'u' => Duration::from_micros(amount),
        b'n' => Duration::from_nanos(amount),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_as_grpc_writes_them() {
        let read = |text: &str| parse_timeout(text.as_bytes());
        assert_eq!(read("5S"), Some(Duration::from_secs(5)));
        assert_eq!(read("4999m"), Some(Duration::from_millis(4999)));
        assert_eq!(read("2H"), Some(Duration::from_secs(7200)));
        assert_eq!(read("3M"), Some(Duration::from_secs(180)));
        assert_eq!(read("7u"), Some(Duration::from_micros(7)));
        assert_eq!(read("99999999n"), Some(Duration::from_nanos(99_999_999)));
        assert_eq!(read("0S"), Some(Duration::ZERO));
    }

    #[test]
    fn what_is_no_timeout_counts_as_none() {
        for text in ["", "S", "5", "5s", "-5S", "+5S", "123456789S", "1.5S", "S5", " 5S"] {
            assert_eq!(parse_timeout(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn a_leader_is_required_by_exactly_one_word() {
        let with = |value: Option<&'static str>| {
            let mut metadata = MetadataMap::new();
            if let Some(value) = value {
                metadata.insert(REQUIRE_LEADER, value.parse().unwrap());
            }
            requires_leader(&metadata)
        };
        assert!(with(Some("true")));
        assert!(!with(Some("false")) && !with(Some("")) && !with(None));
    }
}
