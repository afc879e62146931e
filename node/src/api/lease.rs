//! Lease: grant, revoke, keep alive, ask. Only the leader knows how long a lease still has; any member may be asked.

use std::pin::Pin;
use std::time::Duration;

use futures::{FutureExt, Stream, StreamExt};
use holdfast_proto::etcdserverpb::lease_server::Lease;
use holdfast_proto::etcdserverpb::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveRequest, LeaseKeepAliveResponse, LeaseLeasesRequest,
    LeaseLeasesResponse, LeaseRevokeRequest, LeaseRevokeResponse, LeaseStatus, LeaseTimeToLiveRequest,
    LeaseTimeToLiveResponse,
};
use holdfast_proto::log::outcome::Result as Outcome;
use prost::Message;
use tonic::{Request, Response, Status, Streaming};

use super::authority::permit_in;
use super::gate::{Asks, Call, Gate, Rpc};
use super::{Options, status, stop};
use crate::auth::Need;
use crate::lease;
use crate::metrics::RpcKind::{BidiStream, Unary};
use crate::raft::Timing;
use crate::rt;
use crate::state::{command, validate};
use crate::types::LeaseId;

const SERVICE: &str = "etcdserverpb.Lease";

/// Renewals that came together on one stream and share one proof of leadership.
const RENEWALS_MAX: usize = 1000;

/// The shortest lease in seconds, at the shortest election timeouts.
const TTL_MIN: Duration = Duration::from_secs(2);

/// A lease must outlive the longest time in which nobody leads and nobody can renew it; half as long again, as in etcd.
pub fn ttl_min(timing: &Timing) -> Duration {
    (timing.election_max() * 3 / 2).max(TTL_MIN)
}

pub struct LeaseService {
    gate: Gate,
    ttl_min: Duration,
    stopping: rt::watch::Receiver<bool>,
    grant: Rpc,
    revoke: Rpc,
    keep_alive: Rpc,
    time_to_live: Rpc,
    leases: Rpc,
}

impl LeaseService {
    pub fn new(gate: &Gate, options: &Options) -> Self {
        Self {
            gate: gate.clone(),
            ttl_min: ttl_min(gate.ops().timing()),
            stopping: options.stopping.clone(),
            grant: gate.rpc(Unary, SERVICE, "LeaseGrant").asks(Asks::User),
            revoke: gate.rpc(Unary, SERVICE, "LeaseRevoke").asks(Asks::User),
            keep_alive: gate.rpc(BidiStream, SERVICE, "LeaseKeepAlive").asks(Asks::User),
            time_to_live: gate.rpc(Unary, SERVICE, "LeaseTimeToLive").asks(Asks::User),
            leases: gate.rpc(Unary, SERVICE, "LeaseLeases").asks(Asks::User),
        }
    }

    pub async fn answer_grant(&self, mut request: LeaseGrantRequest, call: Call) -> Result<LeaseGrantResponse, Status> {
        validate::lease_grant(&request, self.gate.ops().limits().lease_ttl_s_max)?;
        if request.id == 0 {
            request.id = some_id();
        }
        let command = command::lease_grant(request, self.ttl_min);
        let mut response = self
            .gate
            .propose(command, &call, |outcome| match outcome {
                Outcome::LeaseGrant(granted) => Some(granted),
                _ => None,
            })
            .await?;
        self.gate.complete(&mut response.header);
        Ok(response)
    }

    pub async fn answer_revoke(&self, request: LeaseRevokeRequest, call: Call) -> Result<LeaseRevokeResponse, Status> {
        let mut response = self
            .gate
            .propose(command::lease_revoke(request), &call, |outcome| match outcome {
                Outcome::LeaseRevoke(revoked) => Some(revoked),
                _ => None,
            })
            .await?;
        self.gate.complete(&mut response.header);
        Ok(response)
    }

    async fn answer_time_to_live(
        &self,
        request: LeaseTimeToLiveRequest,
        call: Call,
    ) -> Result<LeaseTimeToLiveResponse, Status> {
        let ops = self.gate.ops();
        let id = LeaseId(request.id);
        let term = ops.lease_remaining(id, call.deadline).await?;
        let mut response = LeaseTimeToLiveResponse { id: request.id, ttl: -1, ..LeaseTimeToLiveResponse::default() };
        if let Some(term) = term {
            response.ttl = term.remaining_s;
            response.granted_ttl = term.granted_s;
            if request.keys {
                // The leader may know of keys that this member has not heard of yet.
                self.gate.read_barrier(&call).await?;
                let engine = ops.store().engine();
                let view = engine.view();
                if ops.auth().is_enabled() {
                    permit_in(view.as_ref(), &call.caller, &[Need::ReadKeysOf(id)])?;
                }
                response.keys = lease::attached_keys(view.as_ref(), id)?;
            }
        }
        response.header = Some(ops.header()?);
        Ok(response)
    }

    async fn answer_leases(&self, call: Call) -> Result<LeaseLeasesResponse, Status> {
        self.gate.read_barrier(&call).await?;
        let ops = self.gate.ops();
        let leases = ops.lease_ids()?.into_iter().map(|id| LeaseStatus { id: id.0 }).collect();
        Ok(LeaseLeasesResponse { header: Some(ops.header()?), leases })
    }
}

/// A lease id of the server's choice: positive, as clients write it in places where a sign would not fit.
fn some_id() -> i64 {
    loop {
        let id = (rt::random_u64() >> 1).cast_signed();
        if id != 0 {
            return id;
        }
    }
}

/// Takes the requests that have arrived, at least one. `None` at the end of the stream.
async fn next_renewals(
    requests: &mut Streaming<LeaseKeepAliveRequest>,
) -> Option<Result<Vec<LeaseKeepAliveRequest>, Status>> {
    let mut arrived = match requests.next().await? {
        Ok(first) => vec![first],
        Err(status) => return Some(Err(status)),
    };
    while arrived.len() < RENEWALS_MAX {
        match requests.next().now_or_never() {
            Some(Some(Ok(next))) => arrived.push(next),
            // An error or the end comes again with the next call, after the answers to these.
            Some(Some(Err(_)) | None) | None => break,
        }
    }
    Some(Ok(arrived))
}

async fn renew(
    gate: &Gate,
    rpc: &Rpc,
    requests: &[LeaseKeepAliveRequest],
) -> Result<Vec<LeaseKeepAliveResponse>, Status> {
    let bytes = requests.iter().map(Message::encoded_len).sum();
    let call = rpc.call_on_stream(bytes);
    // The revision is taken before the renewal: whoever deletes the keys of a lease that ran out does so later.
    let header = gate.ops().header()?;
    let ids: Vec<LeaseId> = requests.iter().map(|request| LeaseId(request.id)).collect();
    let ttls = gate.ops().renew_leases(&ids, call.deadline).await?;
    let answers = ids.iter().zip(ttls).map(|(id, ttl)| LeaseKeepAliveResponse { header: Some(header), id: id.0, ttl });
    Ok(answers.collect())
}

#[tonic::async_trait]
impl Lease for LeaseService {
    async fn lease_grant(&self, request: Request<LeaseGrantRequest>) -> Result<Response<LeaseGrantResponse>, Status> {
        self.grant.unary(request, |grant, call| self.answer_grant(grant, call)).await
    }

    async fn lease_revoke(
        &self,
        request: Request<LeaseRevokeRequest>,
    ) -> Result<Response<LeaseRevokeResponse>, Status> {
        self.revoke.unary(request, |revoke, call| self.answer_revoke(revoke, call)).await
    }

    type LeaseKeepAliveStream = Pin<Box<dyn Stream<Item = Result<LeaseKeepAliveResponse, Status>> + Send>>;

    async fn lease_keep_alive(
        &self,
        request: Request<Streaming<LeaseKeepAliveRequest>>,
    ) -> Result<Response<Self::LeaseKeepAliveStream>, Status> {
        let (ticket, _renewing_needs_nothing_more) = self.keep_alive.open(&request).await?;
        let mut requests = request.into_inner();
        let (gate, rpc) = (self.gate.clone(), self.keep_alive.clone());
        let mut stopping = self.stopping.clone();
        let answers = async_stream::stream! {
            let mut failed = None;
            loop {
                let arrived = tokio::select! {
                    biased;
                    () = stop::requested(&mut stopping) => Some(Err(status::stopped())),
                    arrived = next_renewals(&mut requests) => arrived,
                };
                let renewed = match arrived {
                    None => break,
                    Some(Ok(arrived)) => renew(&gate, &rpc, &arrived).await,
                    Some(Err(status)) => Err(status),
                };
                match renewed {
                    Ok(answers) => {
                        for answer in answers {
                            rpc.sent(&answer);
                            yield Ok(answer);
                        }
                    }
                    Err(status) => {
                        failed = Some(status);
                        break;
                    }
                }
            }
            ticket.finish(failed.as_ref());
            if let Some(status) = failed {
                yield Err(status);
            }
        };
        Ok(Response::new(Box::pin(answers)))
    }

    async fn lease_time_to_live(
        &self,
        request: Request<LeaseTimeToLiveRequest>,
    ) -> Result<Response<LeaseTimeToLiveResponse>, Status> {
        self.time_to_live.unary(request, |asked, call| self.answer_time_to_live(asked, call)).await
    }

    async fn lease_leases(
        &self,
        request: Request<LeaseLeasesRequest>,
    ) -> Result<Response<LeaseLeasesResponse>, Status> {
        self.leases.unary(request, |LeaseLeasesRequest {}, call| self.answer_leases(call)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_lease_outlives_an_election() {
        let with = |election_ms| ttl_min(&Timing { election_ms, ..Timing::default() });
        assert_eq!(
            with(400),
            Duration::from_secs(2),
            "600 ms at most, and half of it again, is less than etcd's least"
        );
        assert_eq!(with(1000), Duration::from_millis(2250));
        assert_eq!(with(5000), Duration::from_millis(11_250));
    }

    #[test]
    fn an_id_of_our_choice_is_positive() {
        assert!((0..1000).all(|_| some_id() > 0));
    }
}
