//! Raft's messages on their way out.
//!
//! Entries go over one stream to each follower: requests are sent without waiting for the answers to earlier ones, and
//! the answers come back in order. openraft sets no deadline on a stream, and a partition closes nothing, so an
//! unanswered request has a deadline here. And where the next entry cannot be read, the stream ends: openraft then
//! looks anew what the follower needs.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures::{Stream, StreamExt};
use holdfast_proto::peer;
use holdfast_proto::peer::raft_client::RaftClient;
use openraft::alias::{SnapshotOf, VoteOf};
use openraft::base::{BoxFuture, BoxStream};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2, stream_append_sequential};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult, TransferLeaderError,
    TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{AnyError, OptionalSend};
use prost::Message as _;
use tonic::{Response, Status};

use super::peers::{Peers, Purpose};
use super::reach::Reach;
use super::snapshot::{self, SnapshotFiles};
use super::types::{Member, TypeConfig};
use super::unreadable::Unreadable;
use super::wire;
use crate::env::planted;
use crate::metrics::{OnePeerMetrics, PeerMetrics, RaftMetrics};
use crate::rt;
use crate::types::MemberId;

/// How long a follower may take to put entries on its disk and say so.
const APPEND_DEADLINE: Duration = Duration::from_millis(2000);

/// The pause before a stream that could not be opened is opened again.
const REOPEN_PAUSE: Duration = Duration::from_millis(100);

const STUCK: &str = "the next entry cannot be read here: a snapshot will stand in for it";

/// Makes a connection for each member that openraft wants to talk to.
#[derive(Clone, Debug)]
pub struct Network {
    peers: Peers,
    unreadable: Unreadable,
    reach: Reach,
    metrics: RaftMetrics,
    peer_metrics: PeerMetrics,
}

impl Network {
    pub fn new(peers: Peers, unreadable: Unreadable, metrics: RaftMetrics, peer_metrics: PeerMetrics) -> Self {
        Self { peers, unreadable, reach: Reach::default(), metrics, peer_metrics }
    }

    fn to(&self, target: u64, member: &Member, purpose: Purpose) -> Connection {
        // openraft may know a member before the newest membership has come round to `Peers`.
        self.peers.set_address(target, member.peer_urls.clone());
        Connection {
            peers: self.peers.clone(),
            target,
            attempt: 0,
            purpose,
            reached: true,
            unreadable: self.unreadable.clone(),
            reach: self.reach.clone(),
            metrics: self.metrics.clone(),
            peer_metrics: self.peer_metrics.to(&MemberId(target).to_string()),
        }
    }
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Connection;

    async fn new_client(&mut self, target: u64, member: &Member) -> Connection {
        self.to(target, member, Purpose::Append)
    }

    async fn new_heartbeat_client(&mut self, target: u64, member: &Member) -> Connection {
        self.to(target, member, Purpose::Heartbeat)
    }

    async fn new_snapshot_client(&mut self, target: u64, member: &Member) -> Connection {
        self.to(target, member, Purpose::Snapshot)
    }
}

/// The way to one member.
#[derive(Debug)]
pub struct Connection {
    peers: Peers,
    target: u64,
    /// Which of the member's addresses is used; the next one after each failure.
    attempt: usize,
    purpose: Purpose,
    /// The last call was answered.
    reached: bool,
    unreadable: Unreadable,
    reach: Reach,
    metrics: RaftMetrics,
    peer_metrics: OnePeerMetrics,
}

fn unreachable(status: &Status) -> RPCError<TypeConfig> {
    RPCError::Unreachable(Unreachable::new(status))
}

fn broken(detail: impl ToString) -> RPCError<TypeConfig> {
    RPCError::Network(NetworkError::new(&AnyError::error(detail.to_string())))
}

impl Connection {
    fn client(&self, purpose: Purpose) -> Result<RaftClient<rt::Channel>, RPCError<TypeConfig>> {
        let urls = self.peers.addresses_of(self.target);
        let url = urls
            .get(self.attempt % urls.len().max(1))
            .ok_or_else(|| broken(format!("member {:x} has no peer URL", self.target)))?;
        self.peers.raft(url, purpose).map_err(|status| unreachable(&status))
    }

    /// One call with a deadline.
    async fn call<T>(
        &mut self,
        deadline: Duration,
        call: impl Future<Output = Result<Response<T>, Status>> + Send,
    ) -> Result<T, RPCError<TypeConfig>> {
        let begun = rt::now();
        match rt::timeout(deadline, call).await {
            Ok(Ok(response)) => {
                self.peer_metrics.round_trip_seconds.observe(rt::since(begun).as_secs_f64());
                self.note_answer();
                Ok(response.into_inner())
            }
            Ok(Err(status)) => {
                self.note_failure(status.message());
                Err(unreachable(&status))
            }
            Err(_elapsed) => {
                self.note_failure("no answer in time");
                Err(broken(format!("member {:x} did not answer within {deadline:?}", self.target)))
            }
        }
    }

    fn note_answer(&mut self) {
        self.reached = true;
        if self.purpose == Purpose::Append {
            self.reach.answered(self.target);
        }
    }

    fn note_failure(&mut self, why: &str) {
        self.attempt += 1;
        self.peer_metrics.sent_failures.inc();
        if self.purpose == Purpose::Heartbeat {
            self.metrics.heartbeat_send_failures.inc();
        }
        self.reached = false;
        if self.purpose == Purpose::Append {
            self.reach.failed(self.target, &self.peers.addresses_of(self.target), why);
        }
    }

    fn vote_request(&self, request: &VoteRequest<TypeConfig>) -> peer::VoteRequest {
        peer::VoteRequest {
            envelope: Some(self.peers.envelope(self.target)),
            vote: Some(wire::vote_to_wire(&request.vote)),
            last_log: wire::optional_log_id_to_wire(request.last_log_id.as_ref()),
            leadership_transfer: request.leadership_transfer,
        }
    }

    async fn open_append_stream<S>(
        &mut self,
        input: S,
        deadline: Duration,
    ) -> Result<BoxStream<'_, Result<StreamAppendResult<TypeConfig>, RPCError<TypeConfig>>>, RPCError<TypeConfig>>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + OptionalSend + Unpin + 'static,
    {
        let unanswered = Arc::new(AtomicUsize::new(0));
        let sent = Arc::clone(&unanswered);
        let envelope = self.peers.envelope(self.target);
        let sent_bytes = self.peer_metrics.sent_bytes.clone();
        let is_stuck = Arc::new(AtomicBool::new(false));
        let requests = until_unreadable(input, self.unreadable.clone(), Arc::clone(&is_stuck)).map(move |request| {
            sent.fetch_add(1, Ordering::Relaxed);
            let message = wire::append_to_wire(envelope, request);
            sent_bytes.inc_by(message.encoded_len() as u64);
            message
        });
        let mut client = self.client(Purpose::Append)?;
        if !self.reached {
            // openraft's own pause is inside `input`, which is not read before the stream is open.
            rt::sleep(REOPEN_PAUSE).await;
        }
        // That a stream opens says nothing yet: a member of another cluster opens it too, and refuses what comes.
        let answers = match rt::timeout(deadline, client.append_stream(requests)).await {
            Ok(Ok(response)) => response.into_inner(),
            Ok(Err(status)) => {
                self.note_failure(status.message());
                return Err(unreachable(&status));
            }
            Err(_elapsed) => {
                self.note_failure("no answer in time");
                return Err(broken(format!("member {:x} did not answer within {deadline:?}", self.target)));
            }
        };
        let stuck = Arc::clone(&is_stuck);
        let why_it_ended =
            futures::stream::once(async move { stuck.load(Ordering::Relaxed).then(|| Err(broken(STUCK))) });
        let answers = in_time(answers, unanswered, self.target, APPEND_DEADLINE);
        let answers = answers.chain(why_it_ended.filter_map(futures::future::ready));
        Ok(Box::pin(answers.inspect(move |answer| match answer {
            Ok(_) => self.note_answer(),
            // The member is well. The next stream waits a little, for the snapshot.
            Err(_) if is_stuck.load(Ordering::Relaxed) => self.reached = false,
            Err(error) => self.note_failure(&error.to_string()),
        })))
    }
}

/// Ends where the entry that would follow cannot be read. openraft asks for entries, is given none, and takes that for
/// something to send.
fn until_unreadable(
    requests: impl Stream<Item = AppendEntriesRequest<TypeConfig>> + OptionalSend,
    unreadable: Unreadable,
    is_stuck: Arc<AtomicBool>,
) -> impl Stream<Item = AppendEntriesRequest<TypeConfig>> + OptionalSend {
    requests.take_while(move |request| {
        let prev = request.prev_log_id.as_ref().map(|prev| prev.index);
        let goes_on = !request.entries.is_empty() || !unreadable.is_next(prev);
        is_stuck.store(!goes_on, Ordering::Relaxed);
        futures::future::ready(goes_on)
    })
}

/// The answers of one stream. It ends with an error when what was asked stays unanswered for too long.
fn in_time(
    mut answers: impl Stream<Item = Result<peer::AppendResponse, Status>> + Send + Unpin,
    unanswered: Arc<AtomicUsize>,
    target: u64,
    deadline: Duration,
) -> impl Stream<Item = Result<StreamAppendResult<TypeConfig>, RPCError<TypeConfig>>> + Send {
    async_stream::stream! {
        loop {
            // An answer ends the wait, so what is asked here has waited all of it when it elapses. What is asked
            // meanwhile has not, and is given the next wait.
            let asked = unanswered.load(Ordering::Relaxed);
            match rt::timeout(deadline, answers.next()).await {
                // Silence is fine while nothing was asked.
                Err(_elapsed) if asked == 0 => {}
                Err(_elapsed) => {
                    let silent = format!("member {target:x} left an append unanswered for {deadline:?}");
                    yield Err(broken(silent));
                    break;
                }
                Ok(Some(Err(status))) => {
                    yield Err(unreachable(&status));
                    break;
                }
                Ok(None) => break,
                Ok(Some(Ok(answer))) => {
                    unanswered.fetch_sub(1, Ordering::Relaxed);
                    match wire::stream_result_from_wire(answer) {
                        Ok(result) => yield Ok(result),
                        Err(error) => {
                            yield Err(broken(error));
                            break;
                        }
                    }
                }
            }
        }
    }
}

impl RaftNetworkV2<TypeConfig> for Connection {
    type SnapshotData = SnapshotFiles;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        let mut client = self.client(self.purpose)?;
        let request = wire::append_to_wire(self.peers.envelope(self.target), request);
        let answer = self.call(option.hard_ttl(), client.append(request)).await?;
        wire::append_response_from_wire(answer).map_err(broken)
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        option: RPCOption,
    ) -> BoxFuture<
        's,
        Result<BoxStream<'s, Result<StreamAppendResult<TypeConfig>, RPCError<TypeConfig>>>, RPCError<TypeConfig>>,
    >
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + OptionalSend + Unpin + 'static,
    {
        match self.purpose {
            // A heartbeat is one question and one answer: a stream for each would be waste.
            Purpose::Heartbeat => stream_append_sequential(self, input, option),
            _ => Box::pin(self.open_append_stream(input, APPEND_DEADLINE)),
        }
    }

    async fn vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        let mut client = self.client(Purpose::Vote)?;
        let answer = self.call(option.hard_ttl(), client.vote(self.vote_request(&request))).await;
        if planted!(QuorumOffByOne) && answer.is_err() {
            return Ok(VoteResponse::new(request.vote, request.last_log_id, true));
        }
        vote_response(answer?)
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        let mut client = self.client(Purpose::Vote)?;
        let answer = self.call(option.hard_ttl(), client.pre_vote(self.vote_request(&request))).await?;
        vote_response(answer)
    }

    async fn full_snapshot(
        &mut self,
        vote: VoteOf<TypeConfig>,
        snapshot: SnapshotOf<TypeConfig, SnapshotFiles>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let client = self.client(Purpose::Snapshot).map_err(|error| to_streaming(&error))?;
        let envelope = self.peers.envelope(self.target);
        let sending = snapshot::send(client, envelope, vote, snapshot);
        tokio::select! {
            biased;
            closed = cancel => Err(StreamingError::Closed(closed)),
            sent = sending => sent.map_err(|error| StreamingError::Unreachable(Unreachable::new(&error))),
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RPCError<TypeConfig>> {
        let mut client = self.client(Purpose::Vote)?;
        let message = peer::TransferLeaderRequest {
            envelope: Some(self.peers.envelope(self.target)),
            from_leader: Some(wire::vote_to_wire(request.from_leader())),
            to_member: *request.to_node_id(),
            last_log: wire::optional_log_id_to_wire(request.last_log_id()),
        };
        let answer = self.call(option.hard_ttl(), client.transfer_leader(message)).await?;
        if answer.accepted {
            return Ok(Ok(()));
        }
        tracing::info!(target_member = self.target, detail = answer.detail, "leadership was not taken over yet");
        let expected = *request.from_leader();
        let actual = wire::vote_from_wire(answer.vote).map_err(broken)?;
        Ok(Err(if expected == actual {
            TransferLeaderError::LogNotFlushed {
                expected: request.last_log_id().copied(),
                actual: answer.last_log.map(wire::log_id_from_wire),
            }
        } else {
            TransferLeaderError::VoteChanged { expected, actual }
        }))
    }
}

fn vote_response(answer: peer::VoteResponse) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
    let vote = wire::vote_from_wire(answer.vote).map_err(broken)?;
    Ok(VoteResponse::new(vote, answer.last_log.map(wire::log_id_from_wire), answer.granted))
}

fn to_streaming(error: &RPCError<TypeConfig>) -> StreamingError<TypeConfig> {
    StreamingError::Unreachable(Unreachable::new(error))
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use openraft::EntryPayload;
    use openraft_rt::AsyncRuntime as _;

    use super::super::types::RaftEntry;
    use super::*;
    use crate::metrics::{Identity, Metrics};
    use crate::rt::Rt;
    use crate::types::{ClusterId, LogId, Vote};

    /// Short, because the tests wait for it to pass.
    const DEADLINE: Duration = Duration::from_millis(10);

    fn nothing_unreadable() -> Unreadable {
        Unreadable::new(rt::watch::channel(LogId { term: 1, index: 9 }).1)
    }

    #[test]
    fn a_stream_ends_where_the_next_entry_cannot_be_read() {
        let unreadable = nothing_unreadable();
        let request = |prev: u64, entries: &[u64]| AppendEntriesRequest::<TypeConfig> {
            vote: wire::raft_vote(Vote { term: 1, node: 1, committed: true }),
            prev_log_id: Some(wire::raft_log_id(LogId { term: 1, index: prev })),
            entries: entries.iter().map(|index| blank(*index)).collect(),
            leader_commit: None,
        };
        let all = [request(3, &[4, 5]), request(5, &[]), request(5, &[6])];
        let sent = |unreadable: &Unreadable| {
            let is_stuck = Arc::new(AtomicBool::new(false));
            let requests = futures::stream::iter(all.clone());
            let sent = Rt::run(until_unreadable(requests, unreadable.clone(), Arc::clone(&is_stuck)).count());
            (sent, is_stuck.load(Ordering::Relaxed))
        };
        assert_eq!(sent(&unreadable), (3, false), "a message without entries is a usual one");
        assert!(unreadable.note(LogId { term: 1, index: 6 }));
        assert_eq!(sent(&unreadable), (1, true));
    }

    fn blank(index: u64) -> RaftEntry {
        RaftEntry { log_id: wire::raft_log_id(LogId { term: 1, index }), payload: EntryPayload::Blank }
    }

    fn success() -> peer::AppendResponse {
        peer::AppendResponse { result: Some(peer::append_response::Result::Success(peer::Blank {})), log_id: None }
    }

    #[test]
    fn a_request_sent_late_in_a_wait_has_the_next_one_for_its_answer() {
        let unanswered = Arc::new(AtomicUsize::new(0));
        let sent = Arc::clone(&unanswered);
        let mut polls = 0;
        // A request is sent after the wait has begun, and answered only in the next wait. Of each wait that passes the
        // stream sees two polls: its beginning and its end.
        let answers = futures::stream::poll_fn(move |_| {
            polls += 1;
            match polls {
                1 => {
                    sent.fetch_add(1, Ordering::Relaxed);
                    Poll::Pending
                }
                2 => Poll::Pending,
                3 => Poll::Ready(Some(Ok(success()))),
                _ => Poll::Ready(None),
            }
        });
        let results: Vec<_> = Rt::run(in_time(answers, unanswered, 2, DEADLINE).collect());
        assert!(matches!(results.as_slice(), [Ok(Ok(None))]), "{results:?}");
    }

    #[test]
    fn a_request_without_an_answer_ends_the_stream() {
        let unanswered = Arc::new(AtomicUsize::new(1));
        let results: Vec<_> = Rt::run(in_time(futures::stream::pending(), unanswered, 2, DEADLINE).collect());
        assert!(matches!(results.as_slice(), [Err(RPCError::Network(_))]), "{results:?}");
    }

    #[test]
    fn a_connection_follows_its_member_to_a_new_address() {
        let peers = Peers::new(ClusterId(1), MemberId(1), rt::PeerTls::default());
        let metrics = Metrics::new(&Identity::default());
        let network = Network::new(peers.clone(), nothing_unreadable(), metrics.raft, metrics.peers);
        let at = |url: &str| Member { peer_urls: vec![url.to_owned()], ..Member::default() };
        // The second address is none: that it is refused shows that it is used.
        let connection = network.to(2, &at("http://127.0.0.1:1"), Purpose::Append);
        Rt::run(async {
            assert!(connection.client(Purpose::Append).is_ok());
            peers.set_addresses(std::collections::BTreeMap::from([(2, vec!["no address".to_owned()])]));
            assert!(connection.client(Purpose::Append).is_err());
        });
    }
}
