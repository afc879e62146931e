//! Election: a lock that says something. Its holder leads, and its key's value is what the leader proclaims.

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures::Stream;
use holdfast_proto::etcdserverpb::request_op::Request as Op;
use holdfast_proto::etcdserverpb::watch_create_request::FilterType;
use holdfast_proto::etcdserverpb::{DeleteRangeRequest, WatchCreateRequest};
use holdfast_proto::mvccpb::event::EventType;
use holdfast_proto::mvccpb::{Event, KeyValue};
use holdfast_proto::v3electionpb::election_server::Election;
use holdfast_proto::v3electionpb::{
    CampaignRequest, CampaignResponse, LeaderKey, LeaderRequest, LeaderResponse, ProclaimRequest, ProclaimResponse,
    ResignRequest, ResignResponse,
};
use prost::Message;
use tonic::{Request, Response, Status};

use super::gate::{Asks, Call, Gate, Passenger, Rpc, Ticket};
use super::recipe::{Candidate, Recipes, deadline_of};
use super::{Options, status, stop};
use crate::auth::Need;
use crate::metrics::RpcKind::{ServerStream, Unary};
use crate::ops::{Follow, Place};
use crate::rt;
use crate::types::{Revision, queue};

const SERVICE: &str = "v3electionpb.Election";

pub struct ElectionService {
    gate: Gate,
    recipes: Arc<Recipes>,
    stopping: rt::watch::Receiver<bool>,
    campaign: Rpc,
    proclaim: Rpc,
    leader: Rpc,
    observe: Rpc,
    resign: Rpc,
}

impl ElectionService {
    pub fn new(gate: &Gate, recipes: Arc<Recipes>, options: &Options) -> Self {
        Self {
            gate: gate.clone(),
            recipes,
            stopping: options.stopping.clone(),
            campaign: gate.rpc(Unary, SERVICE, "Campaign").asks(Asks::User),
            proclaim: gate.rpc(Unary, SERVICE, "Proclaim").asks(Asks::User),
            leader: gate.rpc(Unary, SERVICE, "Leader").asks(Asks::User),
            observe: gate.rpc(ServerStream, SERVICE, "Observe").asks(Asks::User),
            resign: gate.rpc(Unary, SERVICE, "Resign").asks(Asks::User),
        }
    }
}

/// The place that a leader's key names.
fn place_of(leader: &LeaderKey) -> Place {
    let queue = Bytes::from(queue::of_name(&leader.name));
    Place { queue, key: leader.key.clone(), created: Revision(leader.rev) }
}

#[tonic::async_trait]
impl Election for ElectionService {
    async fn campaign(&self, request: Request<CampaignRequest>) -> Result<Response<CampaignResponse>, Status> {
        let until = deadline_of(request.metadata());
        let work = async |CampaignRequest { name, lease, value }, call| {
            let candidate = Candidate { name: name.clone(), lease, value: Some(value), until };
            let held = self.recipes.acquire(candidate, call).await?;
            let leader = LeaderKey { name, key: held.key, rev: held.created.0, lease: held.lease };
            Ok(CampaignResponse { header: held.entered, leader: Some(leader) })
        };
        self.campaign.unary(request, work).await
    }

    async fn proclaim(&self, request: Request<ProclaimRequest>) -> Result<Response<ProclaimResponse>, Status> {
        let work = async |ProclaimRequest { leader, value }, call: Call| {
            let leader = leader.ok_or_else(status::leader_missing)?;
            let lease = self.recipes.lease_of(leader.lease, call.clone()).await?;
            let header = self.recipes.proclaim(&place_of(&leader), lease, value, call).await?;
            Ok(ProclaimResponse { header: Some(header) })
        };
        self.proclaim.unary(request, work).await
    }

    async fn leader(&self, request: Request<LeaderRequest>) -> Result<Response<LeaderResponse>, Status> {
        let work = async |LeaderRequest { name }, call| {
            let mut answer = self.recipes.holder(&name, call).await?;
            let kv = answer.kvs.pop().ok_or_else(status::no_election_leader)?;
            Ok(LeaderResponse { header: answer.header, kv: Some(kv) })
        };
        self.leader.unary(request, work).await
    }

    /// Idempotent: who does not lead any more has nothing to give up.
    async fn resign(&self, request: Request<ResignRequest>) -> Result<Response<ResignResponse>, Status> {
        let work = async |ResignRequest { leader }, call| {
            let Place { key, created, .. } = place_of(&leader.ok_or_else(status::leader_missing)?);
            let delete = Op::RequestDeleteRange(DeleteRangeRequest { key: key.clone(), ..Default::default() });
            let answer = self.recipes.when_held(&key, created, delete, call).await?;
            Ok(ResignResponse { header: answer.header })
        };
        self.resign.unary(request, work).await
    }

    type ObserveStream = Pin<Box<dyn Stream<Item = Result<LeaderResponse, Status>> + Send>>;

    async fn observe(&self, request: Request<LeaderRequest>) -> Result<Response<Self::ObserveStream>, Status> {
        let (ticket, passenger) = self.observe.open(&request).await?;
        let request = request.into_inner();
        let call = self.observe.call_on_stream(request.encoded_len());
        let observer = Observer {
            gate: self.gate.clone(),
            rpc: self.observe.clone(),
            passenger,
            recipes: Arc::clone(&self.recipes),
            call,
            name: request.name,
            seen: Seen::Nothing,
        };
        Ok(Response::new(Box::pin(answers(observer, self.stopping.clone(), ticket))))
    }
}

/// One client that wants to know who leads.
struct Observer {
    gate: Gate,
    rpc: Rpc,
    passenger: Passenger,
    recipes: Arc<Recipes>,
    call: Call,
    name: Bytes,
    seen: Seen,
}

/// Where an observer stands.
enum Seen {
    /// It must look who leads.
    Nothing,
    /// Nobody leads: the first key that comes does.
    Nobody(Box<Follow>),
    /// This key leads, until it is deleted.
    Leader(Box<Follow>),
}

/// What an observer is told.
struct Leader {
    /// Of the state that shows it.
    revision: Revision,
    kv: KeyValue,
}

impl Leader {
    /// As its last write made it.
    fn since(kv: KeyValue) -> Self {
        Self { revision: Revision(kv.mod_revision), kv }
    }
}

fn answers(
    mut observer: Observer,
    mut stopping: rt::watch::Receiver<bool>,
    ticket: Ticket,
) -> impl Stream<Item = Result<LeaderResponse, Status>> + Send {
    async_stream::stream! {
        let failed = loop {
            let next = tokio::select! {
                biased;
                () = stop::requested(&mut stopping) => Err(status::stopped()),
                next = observer.next() => next,
            };
            match next {
                Ok(leaders) => {
                    for leader in leaders {
                        let answer = observer.answer(leader);
                        observer.rpc.sent(&answer);
                        yield Ok(answer);
                    }
                }
                Err(status) => break status,
            }
        };
        ticket.finish(Some(&failed));
        yield Err(failed);
    }
}

impl Observer {
    /// Waits for what the leader proclaims next, or for the next leader.
    async fn next(&mut self) -> Result<Vec<Leader>, Status> {
        match &mut self.seen {
            Seen::Nothing => self.look().await,
            Seen::Nobody(follow) => {
                let response = follow.next().await?;
                self.passenger.still_permitted(&self.call.caller, &self.needs())?;
                match response.events.into_iter().find_map(put_of) {
                    Some(leader) => {
                        self.follow(&leader, Revision(leader.mod_revision))?;
                        Ok(vec![Leader::since(leader)])
                    }
                    None => self.look_again(),
                }
            }
            Seen::Leader(follow) => {
                let response = follow.next().await?;
                self.passenger.still_permitted(&self.call.caller, &self.needs())?;
                let is_over = response.canceled || response.events.iter().any(is_delete);
                // A key that is deleted and made again stands at the end of the queue.
                let proclaimed = response.events.into_iter().take_while(|event| !is_delete(event)).filter_map(put_of);
                let proclaimed = proclaimed.map(Leader::since).collect();
                if is_over {
                    self.seen = Seen::Nothing;
                }
                Ok(proclaimed)
            }
        }
    }

    fn look_again(&mut self) -> Result<Vec<Leader>, Status> {
        self.seen = Seen::Nothing;
        Ok(Vec::new())
    }

    /// Whoever observes reads the queue.
    fn needs(&self) -> [Need; 1] {
        [Need::Read(queue::range(&queue::of_name(&self.name)))]
    }

    async fn look(&mut self) -> Result<Vec<Leader>, Status> {
        self.call.deadline = self.rpc.call_on_stream(0).deadline;
        self.call.caller = self.passenger.permit(&self.needs(), self.call.deadline).await?;
        let call = self.call.clone();
        let mut answer = self.recipes.holder(&self.name, call).await?;
        let revision = Revision(answer.header.as_ref().map_or(0, |header| header.revision));
        let Some(leader) = answer.kvs.pop() else {
            let range = queue::range(&queue::of_name(&self.name));
            let (key, range_end) = range.into_wire();
            let filters = vec![FilterType::Nodelete as i32];
            let start_revision = revision.next().0;
            let create = WatchCreateRequest { key, range_end, start_revision, filters, ..Default::default() };
            self.seen = Seen::Nobody(Box::new(Follow::begin(self.gate.ops(), vec![create])?));
            return Ok(Vec::new());
        };
        self.follow(&leader, revision)?;
        Ok(vec![Leader { revision, kv: leader }])
    }

    /// Follows a leader from behind `revision` on.
    fn follow(&mut self, leader: &KeyValue, revision: Revision) -> Result<(), Status> {
        let start_revision = revision.next().0;
        let create = WatchCreateRequest { key: leader.key.clone(), start_revision, ..Default::default() };
        self.seen = Seen::Leader(Box::new(Follow::begin(self.gate.ops(), vec![create])?));
        Ok(())
    }

    fn answer(&self, Leader { revision, kv }: Leader) -> LeaderResponse {
        LeaderResponse { header: Some(self.gate.ops().header_at(revision)), kv: Some(kv) }
    }
}

fn is_delete(event: &Event) -> bool {
    event.r#type() == EventType::Delete
}

fn put_of(event: Event) -> Option<KeyValue> {
    if is_delete(&event) { None } else { event.kv }
}
