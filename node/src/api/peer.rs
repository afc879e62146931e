//! Peer: work that another member received and only the leader can do, and the question who we are.
//!
//! No work is handed on from here: a member that does not lead says so, and the sender looks again. So a request makes
//! one hop at most, however often the leader moves.

use std::time::Duration;

use holdfast_proto::etcdserverpb::Member as WireMember;
use holdfast_proto::peer;
use holdfast_proto::peer::change_members_request::Change;
use holdfast_proto::peer::peer_server::Peer;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};

use super::status;
use super::timeout::parse_timeout;
use crate::ops::{Commands, Deadline, Ops, OpsError, REMOVED, change_from_wire, refusal_name};
use crate::raft::MemberRefusal;
use crate::types::{LeaseId, MemberId};

/// Longer work is not taken from another member, whatever it says.
const DEADLINE_MAX: Duration = Duration::from_secs(60);

pub struct PeerService {
    ops: Ops,
}

impl PeerService {
    pub fn new(ops: Ops) -> Self {
        Self { ops }
    }

    /// Refuses a message for another member or another cluster; gives the sender's deadline.
    fn admit(&self, metadata: &MetadataMap, envelope: Option<&peer::Envelope>) -> Result<Deadline, Status> {
        self.ops.peers().check(envelope)?;
        let said = metadata.get("grpc-timeout").and_then(|value| parse_timeout(value.as_encoded_bytes()));
        let usual = Duration::from_millis(self.ops.limits().request_deadline_ms);
        Ok(Deadline::after(said.unwrap_or(usual).min(DEADLINE_MAX)))
    }

    fn members(&self) -> Result<Vec<WireMember>, Status> {
        let members = self.ops.agreed_members()?;
        let to_wire = |view: &crate::raft::MemberView| WireMember {
            id: view.id.0,
            name: view.member.name.clone(),
            peer_ur_ls: view.member.peer_urls.clone(),
            client_ur_ls: view.member.client_urls.clone(),
            is_learner: view.is_learner(),
        };
        Ok(members.members.iter().map(to_wire).collect())
    }

    /// The name of the refusal, empty if the change was made.
    async fn change(&self, change: Change) -> Result<&'static str, Status> {
        match self.ops.change_members_here(change_from_wire(change)).await {
            Ok(()) => Ok(""),
            Err(OpsError::Member(refusal)) => Ok(refusal_name(&refusal)),
            Err(OpsError::NotLeader { leader }) => Ok(refusal_name(&MemberRefusal::NotLeader { leader })),
            Err(error) => Err(error.into()),
        }
    }
}

#[tonic::async_trait]
impl Peer for PeerService {
    async fn propose(&self, request: Request<peer::ProposeRequest>) -> Result<Response<peer::ProposeResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let deadline = self.admit(&metadata, request.envelope.as_ref())?;
        let commands = Commands::received(request.commands, request.count, request.checksum)
            .ok_or_else(|| Status::data_loss("holdfast: commands were damaged on their way to the leader"))?;
        let batch = self.ops.propose_here(commands, deadline).await.map_err(status::of_proposal)?;
        Ok(Response::new(peer::ProposeResponse { outcomes: batch.outcomes, raft_term: batch.term, index: batch.index }))
    }

    async fn read_index(
        &self,
        request: Request<peer::ReadIndexRequest>,
    ) -> Result<Response<peer::ReadIndexResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let deadline = self.admit(&metadata, request.envelope.as_ref())?;
        let position = self.ops.read_index_here(deadline).await?;
        // By now this member has proved that it leads: it knows who belongs to the cluster. Nobody sends a member that
        // does not the entries it would wait for.
        let asker = MemberId(request.envelope.map_or(0, |envelope| envelope.from_member));
        if !self.ops.replica().has_member(asker) {
            return Err(Status::failed_precondition(REMOVED));
        }
        Ok(Response::new(peer::ReadIndexResponse {
            read_log: Some(peer::LogId { term: position.term, index: position.index }),
            raft_term: self.ops.replica().term(),
        }))
    }

    async fn lease_renew(
        &self,
        request: Request<peer::LeaseRenewRequest>,
    ) -> Result<Response<peer::LeaseRenewResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let deadline = self.admit(&metadata, request.envelope.as_ref())?;
        let ids: Vec<LeaseId> = request.lease_ids.into_iter().map(LeaseId).collect();
        let ttls = self.ops.renew_leases_here(&ids, deadline).await?;
        Ok(Response::new(peer::LeaseRenewResponse { ttls }))
    }

    async fn lease_remaining(
        &self,
        request: Request<peer::LeaseRemainingRequest>,
    ) -> Result<Response<peer::LeaseRemainingResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let deadline = self.admit(&metadata, request.envelope.as_ref())?;
        let term = self.ops.lease_remaining_here(LeaseId(request.lease_id), deadline).await?;
        let (remaining, granted) = term.map_or((-1, 0), |term| (term.remaining_s, term.granted_s));
        Ok(Response::new(peer::LeaseRemainingResponse { remaining, granted }))
    }

    async fn change_members(
        &self,
        request: Request<peer::ChangeMembersRequest>,
    ) -> Result<Response<peer::ChangeMembersResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        self.admit(&metadata, request.envelope.as_ref())?;
        let change =
            request.change.ok_or_else(|| Status::invalid_argument("holdfast: a change that changes nothing"))?;
        let refusal = self.change(change).await?.to_owned();
        Ok(Response::new(peer::ChangeMembersResponse { refusal, members: self.members()? }))
    }

    async fn hello(&self, request: Request<peer::HelloRequest>) -> Result<Response<peer::HelloResponse>, Status> {
        Ok(Response::new(self.ops.hello_to(request.into_inner()).await))
    }
}
