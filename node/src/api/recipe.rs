//! What Lock and Election share: a key in a queue, named by a lease, and the wait until it is the first.
//!
//! ```text
//!   call --> task: lease? -> enter (a transaction of KV's) -> wait for the turn ---> answer
//!     |                                                          |
//!     `-- client gone, deadline passed, node stops --------------'--> leave: the key is deleted
//! ```
//!
//! The keys and their order are those of etcd's own recipes, so that its clients stand in the same queues. A task of
//! its own does the work, because a call that its client gives up simply vanishes, and what it left in the queue would
//! hold up everybody behind. All writes go through KV and Lease, on behalf of the caller, who must be allowed to write
//! its key and to read the queue. What a call has made is cleared away on behalf of the member, whatever the caller may
//! do by then.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use holdfast_proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use holdfast_proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use holdfast_proto::etcdserverpb::request_op::Request as Op;
use holdfast_proto::etcdserverpb::response_op::Response as OpResponse;
use holdfast_proto::etcdserverpb::{
    Compare, DeleteRangeRequest, LeaseGrantRequest, LeaseRevokeRequest, PutRequest, RangeRequest, RangeResponse,
    RequestOp, ResponseHeader, TxnRequest, TxnResponse,
};
use holdfast_proto::mvccpb::KeyValue;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};

use super::gate::{Call, Gate};
use super::kv::KvService;
use super::lease::LeaseService;
use super::timeout::parse_timeout;
use super::{Options, status, stop};
use crate::auth::{Caller, Need};
use crate::ops::{Deadline, Place, Turn};
use crate::rt;
use crate::types::{Revision, queue};

/// Calls that wait on this member.
const WAITERS_MAX: usize = 10_000;
/// The life of a lease that the caller did not bring, in seconds. As etcd's.
const LEASE_TTL_S: i64 = 60;
/// Between two attempts to enter or to leave, while nobody leads.
const RETRY_PAUSE: Duration = Duration::from_millis(50);
/// How long a place that was given up is tried to be cleared away. Its lease does it in the end.
const LEAVE_MS_MAX: u64 = 60_000;

/// What the recipes are built from.
pub struct Recipes {
    gate: Gate,
    kv: Arc<KvService>,
    leases: Arc<LeaseService>,
    waiting: Arc<Semaphore>,
    stopping: rt::watch::Receiver<bool>,
}

/// Who wants to get where.
pub struct Candidate {
    pub name: Bytes,
    /// 0: a lease is made.
    pub lease: i64,
    /// What the key is to say. A lock's says nothing.
    pub value: Option<Bytes>,
    /// The deadline that the client itself named. Without one, only the end of its lease ends the wait.
    pub until: Option<Deadline>,
}

/// What was reached.
pub struct Held {
    pub key: Bytes,
    /// The fencing token.
    pub created: Revision,
    pub lease: i64,
    /// The answer to the transaction that entered.
    pub entered: Option<ResponseHeader>,
    /// Of the state in which the place was seen to be the first.
    pub reached: Revision,
}

/// A place that was taken.
struct Entered {
    place: Place,
    lease: i64,
    made: Made,
    header: Option<ResponseHeader>,
}

/// What a call has made, and takes away again if it comes to nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Made {
    /// The session stood in the queue already.
    Nothing,
    Key,
    Lease,
}

/// The deadline in a request's metadata.
pub fn deadline_of(metadata: &MetadataMap) -> Option<Deadline> {
    metadata.get("grpc-timeout").and_then(|value| parse_timeout(value.as_encoded_bytes())).map(Deadline::after)
}

impl Recipes {
    pub fn new(gate: &Gate, kv: &Arc<KvService>, leases: &Arc<LeaseService>, options: &Options) -> Arc<Self> {
        Arc::new(Self {
            gate: gate.clone(),
            kv: Arc::clone(kv),
            leases: Arc::clone(leases),
            waiting: Arc::new(Semaphore::new(WAITERS_MAX)),
            stopping: options.stopping.clone(),
        })
    }

    /// Enters the queue and waits until the place is the first.
    pub async fn acquire(self: &Arc<Self>, candidate: Candidate, call: Call) -> Result<Held, Status> {
        let Ok(permit) = Arc::clone(&self.waiting).try_acquire_owned() else { return Err(status::too_many_requests()) };
        let (answer, answered) = oneshot::channel();
        rt::spawn(Arc::clone(self).run(candidate, call, permit, answer));
        answered.await.unwrap_or_else(|_died| Err(status::stopped()))
    }

    async fn run(
        self: Arc<Self>,
        candidate: Candidate,
        call: Call,
        _waits: OwnedSemaphorePermit,
        mut answer: oneshot::Sender<Result<Held, Status>>,
    ) {
        let entered = match self.enter(&candidate, call.clone()).await {
            Ok(entered) => entered,
            Err(status) => {
                let _gone = answer.send(Err(status));
                return;
            }
        };
        let mut stopping = self.stopping.clone();
        let result = tokio::select! {
            biased;
            () = answer.closed() => Err(Status::cancelled("context canceled")),
            () = stop::requested(&mut stopping) => Err(status::stopped()),
            turn = self.gate.ops().wait_turn(&entered.place) => match turn {
                Ok(Turn::Come(reached)) => self.may_read(&entered.place.queue, &call).map(|()| reached),
                Ok(Turn::Lost) => Err(status::session_expired()),
                Err(error) => Err(error.into()),
            },
            () = passing(candidate.until) => Err(Status::deadline_exceeded("context deadline exceeded")),
        };
        let held = result.map(|reached| Held {
            key: entered.place.key.clone(),
            created: entered.place.created,
            lease: entered.lease,
            entered: entered.header,
            reached,
        });
        let has_come = held.is_ok();
        let is_taken = answer.send(held).is_ok();
        if !(has_come && is_taken) {
            self.leave(entered, call).await;
        }
    }

    /// Users and roles may have changed while a call waited.
    fn may_read(&self, queue: &Bytes, call: &Call) -> Result<(), Status> {
        if !self.gate.ops().auth().is_enabled() {
            return Ok(());
        }
        self.gate.authority().permit_here(&call.caller.at_any_revision(), &[Need::Read(queue::range(queue))])
    }

    /// Takes a place at the end of the queue, or finds the one that the session has.
    async fn enter(&self, candidate: &Candidate, call: Call) -> Result<Entered, Status> {
        let queue = Bytes::from(queue::of_name(&candidate.name));
        // etcd's recipe reads the queue as it enters, so whoever waits needs the permission to. To read it in apply
        // would cost a walk over the whole queue on every member, for an answer that nobody looks at.
        self.gate.authority().permit(&call.caller, &[Need::Read(queue::range(&queue))], call.deadline).await?;
        let lease = self.lease_of(candidate.lease, call.clone()).await?;
        let key = Bytes::from(queue::place(&queue, lease));
        let put = PutRequest {
            key: key.clone(),
            value: candidate.value.clone().unwrap_or_default(),
            lease,
            ..PutRequest::default()
        };
        let look = RangeRequest { key: key.clone(), ..RangeRequest::default() };
        let txn = when_created(&key, Revision(0), Op::RequestPut(put), Some(Op::RequestRange(look)));
        let mut is_uncertain = false;
        let answered = loop {
            match self.kv.answer_txn(txn.clone(), Ok(None), call.clone()).await {
                // Entering twice is entering once.
                Err(status) if status::is_fate_unknown(&status) && !call.deadline.has_passed() => {
                    is_uncertain = true;
                    rt::sleep(RETRY_PAUSE).await;
                }
                answered => break answered,
            }
        };
        let answer = match answered {
            Ok(answer) => answer,
            Err(status) => {
                if candidate.lease == 0 {
                    self.revoke(lease, call).await;
                }
                return Err(status);
            }
        };
        let present = present(&answer);
        let created = present.map(|kv| kv.create_revision).or(answer.header.as_ref().map(|header| header.revision));
        let made = match present {
            _ if candidate.lease == 0 => Made::Lease,
            Some(_) if !is_uncertain => Made::Nothing,
            Some(_) | None => Made::Key,
        };
        let place = Place { queue, key, created: Revision(created.unwrap_or_default()) };
        let mut entered = Entered { place, lease, made, header: answer.header };
        // A session that campaigns anew with another value proclaims it at once, as etcd does.
        if let (Some(kv), Some(value)) = (present, &candidate.value)
            && kv.value != value
        {
            entered.header = Some(self.proclaim(&entered.place, lease, value.clone(), call).await?);
        }
        Ok(entered)
    }

    /// Changes what the key says, if it is still the one that was created then.
    pub async fn proclaim(
        &self,
        place: &Place,
        lease: i64,
        value: Bytes,
        call: Call,
    ) -> Result<ResponseHeader, Status> {
        let put = PutRequest { key: place.key.clone(), value, lease, ..PutRequest::default() };
        let answer = self.when_held(&place.key, place.created, Op::RequestPut(put), call).await?;
        answer.header.filter(|_| answer.succeeded).ok_or_else(status::not_election_leader)
    }

    /// Does one thing if the key is still the one that was created then.
    pub async fn when_held(&self, key: &Bytes, created: Revision, op: Op, call: Call) -> Result<TxnResponse, Status> {
        self.kv.answer_txn(when_created(key, created, op, None), Ok(None), call).await
    }

    /// The lease that was named, or a new one.
    pub async fn lease_of(&self, named: i64, call: Call) -> Result<i64, Status> {
        if named != 0 {
            return Ok(named);
        }
        Ok(self.leases.answer_grant(LeaseGrantRequest { ttl: LEASE_TTL_S, id: 0 }, call).await?.id)
    }

    /// Takes back what a call made that came to nothing.
    async fn leave(&self, entered: Entered, call: Call) {
        let until = Deadline::after_ms(LEAVE_MS_MAX);
        let call = Call { deadline: until, caller: Caller::Member, ..call };
        let Place { key, created, .. } = entered.place;
        match entered.made {
            Made::Nothing => {}
            Made::Lease => self.revoke(entered.lease, call).await,
            Made::Key => {
                let delete = Op::RequestDeleteRange(DeleteRangeRequest { key: key.clone(), ..Default::default() });
                let txn = when_created(&key, created, delete, None);
                retry(until, || self.kv.answer_txn(txn.clone(), Ok(None), call.clone())).await;
            }
        }
    }

    /// Ends a lease that a call has made.
    async fn revoke(&self, id: i64, call: Call) {
        let until = Deadline::after_ms(LEAVE_MS_MAX);
        let call = Call { deadline: until, caller: Caller::Member, ..call };
        retry(until, || self.leases.answer_revoke(LeaseRevokeRequest { id }, call.clone())).await;
    }

    /// The holder of a lock or an election: the oldest key of its queue.
    pub async fn holder(&self, name: &[u8], call: Call) -> Result<RangeResponse, Status> {
        let (key, range_end) = queue::range(&queue::of_name(name)).into_wire();
        let (sort_target, sort_order) = (SortTarget::Create as i32, SortOrder::Ascend as i32);
        let request = RangeRequest { key, range_end, limit: 1, sort_target, sort_order, ..RangeRequest::default() };
        self.kv.answer_range(request, call).await
    }

    pub async fn delete(&self, key: Bytes, call: Call) -> Result<Option<ResponseHeader>, Status> {
        let request = DeleteRangeRequest { key, ..DeleteRangeRequest::default() };
        Ok(self.kv.answer_delete_range(request, Ok(None), call).await?.header)
    }
}

/// Again and again until it is done, it is clear that it cannot be done, or time is up.
async fn retry<A, F>(until: Deadline, attempt: impl Fn() -> F)
where
    F: Future<Output = Result<A, Status>>,
{
    while !until.has_passed() {
        match attempt().await {
            Err(status) if status.code() == Code::Unavailable && !status::is_stopped(&status) => {}
            Err(status) if status.code() == Code::ResourceExhausted => {}
            Ok(_) | Err(_) => return,
        }
        rt::sleep(RETRY_PAUSE).await;
    }
}

async fn passing(until: Option<Deadline>) {
    match until {
        Some(until) => rt::sleep(until.left()).await,
        None => futures::future::pending().await,
    }
}

fn when_created(key: &Bytes, created: Revision, then: Op, otherwise: Option<Op>) -> TxnRequest {
    let compare = Compare {
        result: CompareResult::Equal as i32,
        target: CompareTarget::Create as i32,
        key: key.clone(),
        range_end: Bytes::new(),
        target_union: Some(TargetUnion::CreateRevision(created.0)),
    };
    let op = |op| RequestOp { request: Some(op) };
    TxnRequest { compare: vec![compare], success: vec![op(then)], failure: otherwise.into_iter().map(op).collect() }
}

/// The key that was there already: the first that the transaction read, if it did not make one.
fn present(answer: &TxnResponse) -> Option<&KeyValue> {
    let read = answer.responses.iter().filter(|_| !answer.succeeded);
    read.take(1).find_map(|response| match &response.response {
        Some(OpResponse::ResponseRange(range)) => range.kvs.first(),
        _ => None,
    })
}
