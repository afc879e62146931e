//! Raft's messages on their way in: the `Raft` service of the peer protocol.
//!
//! Every message names its cluster and its addressee, and is refused if they are not ours: a node started on another
//! cluster's address must not take part in its elections.

use std::io;
use std::pin::Pin;
use std::sync::Arc;

use futures::{Stream, StreamExt};
use holdfast_proto::peer;
use holdfast_proto::peer::raft_server::Raft as RaftApi;
use openraft::raft::{TransferLeaderError, TransferLeaderRequest, VoteRequest};
use parking_lot::Mutex;
use prost::Message as _;
use tonic::{Request, Response, Status, Streaming};

use super::holes::Holes;
use super::peers::Peers;
use super::snapshot::{Incoming, Transfer};
use super::types::{RaftVote, TypeConfig};
use super::{Raft, wire};
use crate::env::{planted, sometimes};
use crate::metrics::PeerMetrics;
use crate::rt;
use crate::rt::watch::WatchReceiver as _;
use crate::types::MemberId;

/// The `Raft` service of one node.
pub struct RaftService {
    raft: Raft,
    peers: Peers,
    incoming: Incoming,
    /// The snapshot being received. A newer offer replaces it.
    transfer: Arc<Mutex<Option<Transfer>>>,
    holes: Holes,
    metrics: PeerMetrics,
}

impl RaftService {
    pub fn new(raft: Raft, peers: Peers, incoming: Incoming, holes: Holes, metrics: PeerMetrics) -> Self {
        Self { raft, peers, incoming, transfer: Arc::new(Mutex::new(None)), holes, metrics }
    }

    fn vote(&self) -> RaftVote {
        self.raft.server_metrics().borrow_watched().vote
    }

    fn vote_request(&self, message: peer::VoteRequest) -> Result<VoteRequest<TypeConfig>, Status> {
        self.peers.check(message.envelope.as_ref())?;
        let mut request = VoteRequest::new(
            wire::vote_from_wire(message.vote).map_err(bad)?,
            message.last_log.map(wire::log_id_from_wire),
        );
        request.leadership_transfer = message.leadership_transfer;
        Ok(request)
    }
}

/// This member's vote, if it is above the one that a message came with.
fn higher_vote(offered: &RaftVote, current: &RaftVote) -> Option<peer::Vote> {
    (current > offered).then(|| wire::vote_to_wire(current))
}

/// The message could not be understood.
fn bad(error: io::Error) -> Status {
    Status::invalid_argument(error.to_string())
}

/// This node's Raft has stopped.
fn stopped(error: impl std::fmt::Display) -> Status {
    Status::unavailable(format!("this member's Raft has stopped: {error}"))
}

fn disk_failed(error: io::Error) -> Status {
    match error.kind() {
        io::ErrorKind::InvalidData => bad(error),
        io::ErrorKind::StorageFull => Status::resource_exhausted(format!("no room for a snapshot: {error}")),
        io::ErrorKind::ResourceBusy => Status::unavailable(error.to_string()),
        _ => Status::internal(format!("a snapshot could not be stored: {error}")),
    }
}

fn vote_response(response: &openraft::raft::VoteResponse<TypeConfig>) -> peer::VoteResponse {
    peer::VoteResponse {
        vote: Some(wire::vote_to_wire(&response.vote)),
        granted: response.vote_granted,
        last_log: wire::optional_log_id_to_wire(response.last_log_id.as_ref()),
    }
}

#[tonic::async_trait]
impl RaftApi for RaftService {
    type AppendStreamStream = Pin<Box<dyn Stream<Item = Result<peer::AppendResponse, Status>> + Send>>;

    async fn append_stream(
        &self,
        request: Request<Streaming<peer::AppendRequest>>,
    ) -> Result<Response<Self::AppendStreamStream>, Status> {
        let (peers, metrics) = (self.peers.clone(), self.metrics.clone());
        let (refused, refusal) = tokio::sync::oneshot::channel();
        let mut refused = Some(refused);
        // A message that cannot be taken ends the stream with its reason, after the answers to those before it.
        let messages = request.into_inner().map(move |message| {
            let message = message?;
            peers.check(message.envelope.as_ref())?;
            if let Some(envelope) = &message.envelope {
                metrics.received(&MemberId(envelope.from_member).to_string(), message.encoded_len() as u64);
            }
            wire::append_from_wire(message).map_err(bad)
        });
        let requests = messages.scan((), move |(), message| {
            let request = match message {
                Ok(request) => Some(request),
                Err(status) => {
                    if let Some(refused) = refused.take() {
                        // Nobody reads the reason of a stream that was dropped.
                        let _dropped = refused.send(status);
                    }
                    None
                }
            };
            futures::future::ready(request)
        });
        let answers = self
            .raft
            .stream_append(Box::pin(requests))
            .map(|result| result.map(|result| wire::stream_result_to_wire(&result)).map_err(stopped));
        let last = futures::stream::once(refusal).filter_map(|reason| futures::future::ready(reason.ok().map(Err)));
        Ok(Response::new(Box::pin(answers.chain(last))))
    }

    async fn append(&self, request: Request<peer::AppendRequest>) -> Result<Response<peer::AppendResponse>, Status> {
        let message = request.into_inner();
        self.peers.check(message.envelope.as_ref())?;
        let request = wire::append_from_wire(message).map_err(bad)?;
        let response = self.raft.append_entries(request).await.map_err(stopped)?;
        Ok(Response::new(wire::append_response_to_wire(&response)))
    }

    async fn vote(&self, request: Request<peer::VoteRequest>) -> Result<Response<peer::VoteResponse>, Status> {
        let request = self.vote_request(request.into_inner())?;
        if planted!(VoteGrantedTwice) {
            let granted = openraft::raft::VoteResponse::new(request.vote, request.last_log_id, true);
            return Ok(Response::new(vote_response(&granted)));
        }
        let response = self.raft.vote(request).await.map_err(stopped)?;
        if !response.vote_granted {
            sometimes!(VoteRefused);
        }
        Ok(Response::new(vote_response(&response)))
    }

    async fn pre_vote(&self, request: Request<peer::VoteRequest>) -> Result<Response<peer::VoteResponse>, Status> {
        let request = self.vote_request(request.into_inner())?;
        let response = self.raft.pre_vote(request).await.map_err(stopped)?;
        if !response.vote_granted {
            sometimes!(PreVoteRefused);
        }
        Ok(Response::new(vote_response(&response)))
    }

    async fn transfer_leader(
        &self,
        request: Request<peer::TransferLeaderRequest>,
    ) -> Result<Response<peer::TransferLeaderResponse>, Status> {
        let message = request.into_inner();
        self.peers.check(message.envelope.as_ref())?;
        if !self.holes.is_empty() {
            return Err(Status::failed_precondition("this member is repairing its log and does not lead"));
        }
        let request = TransferLeaderRequest::new(
            wire::vote_from_wire(message.from_leader).map_err(bad)?,
            message.to_member,
            message.last_log.map(wire::log_id_from_wire),
        );
        let answer = match self.raft.handle_transfer_leader(request).await.map_err(stopped)? {
            Ok(()) => {
                sometimes!(TransferAccepted);
                peer::TransferLeaderResponse { accepted: true, ..Default::default() }
            }
            Err(refusal) => {
                sometimes!(TransferRefused);
                let detail = refusal.to_string();
                let (vote, last_log) = match refusal {
                    TransferLeaderError::VoteChanged { actual, .. } => (Some(wire::vote_to_wire(&actual)), None),
                    TransferLeaderError::LogNotFlushed { actual, .. } => {
                        (message.from_leader, wire::optional_log_id_to_wire(actual.as_ref()))
                    }
                };
                peer::TransferLeaderResponse { accepted: false, detail, vote, last_log }
            }
        };
        Ok(Response::new(answer))
    }

    async fn offer_snapshot(
        &self,
        request: Request<peer::SnapshotOffer>,
    ) -> Result<Response<peer::SnapshotWanted>, Status> {
        let offer = request.into_inner();
        self.peers.check(offer.envelope.as_ref())?;
        // A deposed leader must not take the place of the snapshot that its successor sends.
        if let Some(higher) = higher_vote(&wire::vote_from_wire(offer.vote).map_err(bad)?, &self.vote()) {
            sometimes!(SnapshotUnwanted);
            return Ok(Response::new(peer::SnapshotWanted { higher_vote: Some(higher), ..Default::default() }));
        }
        let incoming = self.incoming.clone();
        let (transfer, wanted) = rt::blocking(move || {
            let transfer = incoming.begin(offer)?;
            let wanted = incoming.wanted(&transfer)?;
            Ok((transfer, wanted))
        })
        .await
        .and_then(|begun| begun)
        .map_err(disk_failed)?;
        sometimes!(SnapshotOffered);
        tracing::info!(transfer = transfer.id, missing_files = wanted.parts.len(), "a snapshot is offered");
        *self.transfer.lock() = Some(transfer);
        Ok(Response::new(wanted))
    }

    async fn send_snapshot(
        &self,
        request: Request<Streaming<peer::SnapshotChunk>>,
    ) -> Result<Response<peer::SnapshotInstalled>, Status> {
        let mut chunks = request.into_inner();
        let transfer =
            self.transfer.lock().clone().ok_or_else(|| Status::failed_precondition("no snapshot was offered"))?;
        while let Some(chunk) = chunks.message().await? {
            if chunk.envelope.is_some() {
                self.peers.check(chunk.envelope.as_ref())?;
            }
            let (incoming, transfer) = (self.incoming.clone(), transfer.clone());
            rt::blocking(move || incoming.write(&transfer, &chunk)).await.and_then(|done| done).map_err(disk_failed)?;
        }
        // A task of its own: a leader that loses patience must not leave a snapshot that nobody clears away.
        let (raft, incoming, current) = (self.raft.clone(), self.incoming.clone(), Arc::clone(&self.transfer));
        let installed = rt::spawn(async move {
            let result = install(&raft, &incoming, &transfer).await;
            let mut current = current.lock();
            if result.is_ok() && current.as_ref().is_some_and(|current| current.id == transfer.id) {
                *current = None;
            }
            result
        });
        let vote = installed.await.map_err(|error| Status::internal(format!("an installation died: {error}")))??;
        Ok(Response::new(peer::SnapshotInstalled { vote: Some(vote) }))
    }
}

/// Hands a complete transfer to Raft, and answers with this member's vote when it is installed or not wanted.
async fn install(raft: &Raft, incoming: &Incoming, transfer: &Transfer) -> Result<peer::Vote, Status> {
    let (finishing, complete) = (incoming.clone(), transfer.clone());
    let files = rt::blocking(move || finishing.finish(&complete)).await.and_then(|done| done).map_err(disk_failed)?;
    let snapshot = openraft::alias::SnapshotOf::<TypeConfig, _> { meta: transfer.meta.clone(), snapshot: files };
    let response = raft.install_full_snapshot(transfer.vote, snapshot).await.map_err(stopped)?;
    let (forgetting, done) = (incoming.clone(), transfer.clone());
    if let Err(error) = rt::blocking(move || forgetting.forget(&done)).await.and_then(|forgotten| forgotten) {
        tracing::warn!(transfer = transfer.id, %error, "a snapshot that was not wanted could not be removed");
    }
    Ok(wire::vote_to_wire(&response.vote))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_leader_of_the_past_is_told_of_a_higher_vote() {
        let (old, new) = (RaftVote::new_committed(3, 1), RaftVote::new_committed(4, 2));
        assert_eq!(higher_vote(&old, &new), Some(wire::vote_to_wire(&new)));
        assert_eq!(higher_vote(&new, &new), None);
        assert_eq!(higher_vote(&new, &old), None);
        // A member that voted for another candidate of that term, and lost.
        assert_eq!(higher_vote(&new, &RaftVote::new(4, 3)), None);
        assert_eq!(higher_vote(&new, &RaftVote::new(5, 3)), Some(wire::vote_to_wire(&RaftVote::new(5, 3))));
    }
}
