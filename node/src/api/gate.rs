//! The head of every call: who asks and may they, how long the answer is of use, may it be asked here, how did it go.
//!
//! One choke point. What every request must pass is added here and nowhere else, and what does not go through
//! [`Rpc::unary`], [`Rpc::answers`] or [`Rpc::open`] is not an API call.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prost::Message;
use tonic::metadata::MetadataMap;
use tonic::{Code, Extensions, Request, Response, Status};
use tracing::Instrument;

use super::audit::{Audit, Kind, Record};
use super::authority::{Authority, Credentials};
use super::outlook::Outlook;
use super::status;
use super::timeout::parse_timeout;
use crate::auth::{AuthState, Caller, Need};
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
    authority: Authority,
    audit: Audit,
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

/// What the method asks of its caller while authentication is on. Which keys the caller may have is asked later, where
/// the request is understood: at apply, or in the view that answers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asks {
    /// It is for everybody.
    Nothing,
    /// To be a user.
    User,
    /// To have the role root.
    Root,
}

/// One method.
#[derive(Clone)]
pub struct Rpc {
    gate: Gate,
    service: &'static str,
    method: &'static str,
    at_learner: AtLearner,
    asks: Asks,
    /// Whether each call is an act that the audit log has.
    is_act: bool,
    metrics: MethodMetrics,
}

/// One request that has passed.
#[derive(Clone, Debug)]
pub struct Call {
    /// On whose behalf.
    pub caller: Caller,
    /// When the answer stops being of use.
    pub deadline: Deadline,
    /// The client said so; otherwise it is what is usual here.
    pub is_deadline_asked: bool,
    /// The same for work that takes as long as it takes: what the client said, however long.
    pub patience: Deadline,
    /// Size of the request as encoded.
    pub request_bytes: usize,
}

impl Call {
    /// When the client itself stops listening, if it said.
    fn callers_end(&self) -> Option<Deadline> {
        self.is_deadline_asked.then_some(self.deadline)
    }
}

impl Gate {
    pub fn new(ops: Ops, outlook: Outlook, metrics: &Metrics, authority: Authority, audit: Audit) -> Self {
        let (grpc, raft) = (metrics.grpc.clone(), metrics.raft.clone());
        let inner = Inner { ops, outlook, authority, audit, grpc, raft, requests: AtomicU64::new(0) };
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

    pub fn authority(&self) -> &Authority {
        &self.inner.authority
    }

    /// A method that only voters answer, and only to root. What is less is said with `asks`.
    pub fn rpc(&self, kind: RpcKind, service: &'static str, method: &'static str) -> Rpc {
        let metrics = self.inner.grpc.method(kind, service, method);
        Rpc {
            gate: self.clone(),
            service,
            method,
            at_learner: AtLearner::Refused,
            asks: Asks::Root,
            is_act: true,
            metrics,
        }
    }
}

impl Rpc {
    /// The same method, answered by learners too.
    #[must_use]
    pub fn also_at_learners(mut self) -> Self {
        self.at_learner = AtLearner::Served;
        self
    }

    /// The same method, for callers who are less than root.
    #[must_use]
    pub fn asks(self, asks: Asks) -> Self {
        Self { asks, is_act: false, ..self }
    }

    /// The same method, each call of which is an act that the audit log has, whoever may call it.
    #[must_use]
    pub fn audited(self) -> Self {
        Self { is_act: true, ..self }
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
        self.run(at_learner, String::new(), request, work).await
    }

    /// The same, with words for the audit log: whom or what it is about. No secrets.
    pub async fn unary_about<Q, A, F>(
        &self,
        about: String,
        request: Request<Q>,
        work: impl FnOnce(Q, Call) -> F,
    ) -> Result<Response<A>, Status>
    where
        Q: Message,
        A: Message,
        F: Future<Output = Result<A, Status>>,
    {
        self.run(self.at_learner, about, request, work).await
    }

    async fn run<Q, A, F>(
        &self,
        at_learner: AtLearner,
        about: String,
        request: Request<Q>,
        work: impl FnOnce(Q, Call) -> F,
    ) -> Result<Response<A>, Status>
    where
        Q: Message,
        A: Message,
        F: Future<Output = Result<A, Status>>,
    {
        let (ticket, passed) = self.pass(at_learner, about, request).await;
        let result = match passed {
            Ok((request, call)) => {
                let callers_end = call.callers_end();
                let result = work(request, call).instrument(ticket.span.clone()).await;
                match callers_end {
                    Some(end) if end.has_passed() => result.map_err(status::at_the_callers_end),
                    _ => result,
                }
            }
            Err(status) => Err(status),
        };
        if let Ok(answer) = &result {
            self.sent(answer);
        }
        ticket.finish(result.as_ref().err());
        result.map(Response::new)
    }

    /// Opens a stream of answers to one request. The ticket goes with the stream, and is finished when that ends.
    pub async fn answers<Q: Message>(
        &self,
        at_learner: AtLearner,
        request: Request<Q>,
    ) -> Result<(Ticket, Q, Call), Status> {
        match self.pass(at_learner, String::new(), request).await {
            (ticket, Ok((request, call))) => Ok((ticket, request, call)),
            (ticket, Err(status)) => {
                ticket.finish(Some(&status));
                Err(status)
            }
        }
    }

    async fn pass<Q: Message>(
        &self,
        at_learner: AtLearner,
        about: String,
        request: Request<Q>,
    ) -> (Ticket, Result<(Q, Call), Status>) {
        let mut ticket = self.start(about, request.remote_addr());
        let (metadata, extensions, request) = request.into_parts();
        let call = self.call(&metadata, request.encoded_len());
        self.metrics.messages_received.inc();
        self.gate.inner.grpc.received_bytes.inc_by(call.request_bytes as u64);
        let admitted = self.admit(at_learner).and_then(|()| self.require_leader_now(&metadata));
        let passed = match admitted {
            Ok(()) => self.identify(Credentials::of(&metadata, &extensions), call, &mut ticket).await,
            Err(status) => Err(status),
        };
        (ticket, passed.map(|call| (request, call)))
    }

    /// Opens a stream through the gate. The ticket goes with the stream, and is finished when the stream ends. What
    /// the stream's requests need of its caller is asked with `passenger`.
    pub async fn open<Q>(&self, request: &Request<Q>) -> Result<(Ticket, Passenger), Status> {
        let (metadata, extensions): (&MetadataMap, &Extensions) = (request.metadata(), request.extensions());
        let mut ticket = self.start(String::new(), request.remote_addr());
        let credentials = Credentials::of(metadata, extensions);
        let admitted = self
            .admit(self.at_learner)
            .and_then(|()| if requires_leader(metadata) { self.gate.inner.outlook.require_led() } else { Ok(()) });
        let identified = match admitted {
            Ok(()) => self.identify(credentials.clone(), self.call(metadata, 0), &mut ticket).await,
            Err(status) => Err(status),
        };
        match identified {
            Ok(_) => Ok((ticket, Passenger { rpc: self.clone(), credentials, remote: request.remote_addr() })),
            Err(status) => {
                ticket.finish(Some(&status));
                Err(status)
            }
        }
    }

    /// Finds out who calls, and whether the method is for them.
    async fn identify(&self, credentials: Credentials, call: Call, ticket: &mut Ticket) -> Result<Call, Status> {
        let authority = &self.gate.inner.authority;
        let caller = match self.asks {
            // Who may do it anyway is not sent away for a token that has run out.
            Asks::Nothing => authority.caller(&credentials, call.deadline).await.unwrap_or_default(),
            Asks::User | Asks::Root => authority.caller(&credentials, call.deadline).await?,
        };
        ticket.caller = caller.clone();
        match self.asks {
            Asks::Nothing => {}
            Asks::User if matches!(caller, Caller::User(_)) => {}
            Asks::User => authority.permit(&caller, &[Need::User], call.deadline).await?,
            Asks::Root => authority.permit(&caller, &[Need::Root], call.deadline).await?,
        }
        Ok(Call { caller, ..call })
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

    fn start(&self, about: String, remote: Option<SocketAddr>) -> Ticket {
        self.metrics.start();
        let id = self.gate.inner.requests.fetch_add(1, Ordering::Relaxed);
        let span = tracing::debug_span!("rpc", request = id, service = self.service, method = self.method);
        let (rpc, caller) = (self.clone(), Caller::Nobody);
        Ticket { rpc, id, about, remote, caller, span, started: rt::now(), is_finished: false }
    }

    fn call(&self, metadata: &MetadataMap, request_bytes: usize) -> Call {
        let usual = Duration::from_millis(self.gate.inner.ops.limits().request_deadline_ms);
        let asked = metadata.get("grpc-timeout").and_then(|value| parse_timeout(value.as_encoded_bytes()));
        Call {
            caller: Caller::Nobody,
            deadline: Deadline::after(asked.unwrap_or(usual).min(DEADLINE_MAX)),
            is_deadline_asked: asked.is_some(),
            patience: Deadline::after(asked.unwrap_or(PATIENCE_MAX).min(PATIENCE_MAX)),
            request_bytes,
        }
    }

    fn admit(&self, at_learner: AtLearner) -> Result<(), Status> {
        if at_learner == AtLearner::Refused && self.gate.inner.outlook.is_learner() {
            return Err(status::refused_by_learner());
        }
        Ok(())
    }

    fn require_leader_now(&self, metadata: &MetadataMap) -> Result<(), Status> {
        if requires_leader(metadata) && self.gate.inner.ops.replica().leader_in_touch().is_none() {
            return Err(status::no_leader());
        }
        Ok(())
    }
}

/// Whether a stream's client wants it ended when there is no leader.
pub fn requires_leader(metadata: &MetadataMap) -> bool {
    metadata.get(REQUIRE_LEADER).is_some_and(|value| value.as_encoded_bytes() == b"true")
}

/// Who is at the other end of a stream. Each request on it is asked for anew: a token runs out, a permission goes.
#[derive(Clone)]
pub struct Passenger {
    rpc: Rpc,
    credentials: Credentials,
    remote: Option<SocketAddr>,
}

impl Passenger {
    /// Whether a request on the stream may have what it needs. A refusal goes into the audit log.
    pub async fn permit(&self, needs: &[Need], deadline: Deadline) -> Result<Caller, Status> {
        let authority = &self.rpc.gate.inner.authority;
        if !self.rpc.gate.ops().auth().is_enabled() {
            return Ok(Caller::Nobody);
        }
        let mut caller = Caller::Nobody;
        let permitted = match authority.caller(&self.credentials, deadline).await {
            Ok(found) => {
                caller = found;
                authority.permit(&caller, needs, deadline).await
            }
            Err(status) => Err(status),
        };
        if let Err(status) = &permitted {
            let mut ticket = self.rpc.start(String::new(), self.remote);
            ticket.caller = caller.clone();
            ticket.finish(Some(status));
        }
        permitted.map(|()| caller)
    }

    /// Whether somebody who was permitted something before is still permitted it, however long ago it proved who it is.
    pub fn still_permitted(&self, caller: &Caller, needs: &[Need]) -> Result<(), Status> {
        let caller = caller.at_any_revision();
        let permitted = self.rpc.gate.inner.authority.permit_here(&caller, needs);
        if let Err(status) = &permitted {
            let mut ticket = self.rpc.start(String::new(), self.remote);
            ticket.caller = caller;
            ticket.finish(Some(status));
        }
        permitted
    }
}

/// Counts a call when it ends, however it ends: one that is dropped was canceled by its client.
pub struct Ticket {
    rpc: Rpc,
    /// The number that ties log lines together.
    id: u64,
    about: String,
    remote: Option<SocketAddr>,
    caller: Caller,
    span: tracing::Span,
    started: rt::Instant,
    is_finished: bool,
}

impl Ticket {
    pub fn finish(mut self, error: Option<&Status>) {
        let code = error.map_or(Code::Ok, Status::code);
        self.is_finished = true;
        self.rpc.metrics.finish(code as i32, rt::since(self.started).as_secs_f64());
        if let Some(status) = error {
            self.span.in_scope(|| log(self.id, status));
        }
        self.audit(code, error);
    }

    /// Every act of an administrator, and everybody who was turned away.
    fn audit(&mut self, code: Code, error: Option<&Status>) {
        let gate = &self.rpc.gate.inner;
        let is_turned_away = error.is_some_and(status::is_about_identity);
        if !gate.audit.is_on() || !(self.rpc.is_act || is_turned_away) {
            return;
        }
        let engine = gate.ops.store().engine();
        let auth = AuthState::load(engine.view().as_ref()).unwrap_or_default();
        gate.audit.record(Record {
            kind: if is_turned_away { Kind::Refusal } else { Kind::Act },
            request: self.id,
            remote: self.remote,
            user: self.caller.name().to_owned(),
            service: self.rpc.service,
            method: self.rpc.method,
            about: std::mem::take(&mut self.about),
            code,
            reason: error.map_or(String::new(), |status| status.message().to_owned()),
            revision: gate.ops.revision().map_or(0, |revision| revision.0),
            auth_revision: auth.revision,
        });
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.is_finished {
            self.rpc.metrics.finish(Code::Cancelled as i32, rt::since(self.started).as_secs_f64());
        }
    }
}

/// What the client did wrong is the client's to log; what this member did wrong is ours.
fn log(request: u64, status: &Status) {
    match status.code() {
        // Unknown is what etcd's recipes for locks and elections say no with.
        Code::Internal | Code::DataLoss => {
            tracing::error!(request, code = ?status.code(), reason = status.message(), "a request failed");
        }
        _ => tracing::debug!(request, code = ?status.code(), reason = status.message(), "a request was refused"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
