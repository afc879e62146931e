//! The way of a command into the log: queue, batch, leader.
//!
//! ```text
//!   submit --> queue (bounded: commands, bytes) --> batcher --> up to IN_FLIGHT_MAX batches under way
//!                                                                 leads?     one log entry
//!                                                                 otherwise  Propose at the leader
//! ```
//!
//! While a batch waits for its quorum, the next one fills: the busier the cluster, the larger the batches, and a lone
//! client never waits for company. A batch that was certainly not proposed (no leader, leader moved) is tried again
//! until its deadline. One whose fate is unknown is never tried again.
//!
//! A batch at a leader that is one no more gives its place up at once, and is waited for a moment longer: where
//! leadership was handed over in order, the old leader still answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use holdfast_proto::log::{Batch, Command, Outcome};
use holdfast_proto::peer;
use prost::Message;
use tokio::sync::{Notify, mpsc, oneshot};
use tonic::{Code, Status};

use super::{Deadline, Ops, OpsError};
use crate::raft::EncodedBatch;
use crate::rt;
use crate::types::{Limits, MemberId};

/// Batches under way at once. More hide the round trip; fewer make larger batches, and a command in a large batch costs
/// a fraction of one in a small batch.
const IN_FLIGHT_MAX: usize = 2;
/// How soon a member without a leader looks again, when nothing tells it sooner.
const LEADER_WAIT: Duration = Duration::from_millis(50);
/// How long the answer of a leader is waited for when it is not the leader any more.
const LATE_ANSWER: Duration = Duration::from_millis(1000);

/// Whether a command may be handed to another member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hops {
    MayForward,
    OnlyHere,
}

/// What a batch gave.
#[derive(Clone, Debug)]
pub struct ProposedBatch {
    pub outcomes: Vec<Outcome>,
    pub term: u64,
    pub index: u64,
}

type Answer = Result<ProposedBatch, OpsError>;

/// Commands that came together and are answered together.
pub struct Unit {
    commands: Vec<Command>,
    bytes: usize,
    deadline: Deadline,
    hops: Hops,
    answer: oneshot::Sender<Answer>,
}

/// The entrance.
pub struct Queue {
    sender: mpsc::Sender<Unit>,
    waiting_bytes: Arc<AtomicUsize>,
    waiting_bytes_max: usize,
    /// Batches under way that hold no place.
    late: AtomicUsize,
    place_freed: Notify,
}

/// A batch whose leader was replaced: while this lives, another batch may be under way in its place.
struct PlaceGivenUp<'a>(&'a Queue);

impl Drop for PlaceGivenUp<'_> {
    fn drop(&mut self) {
        self.0.late.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The other end of the queue.
pub struct Queued {
    receiver: mpsc::Receiver<Unit>,
    waiting_bytes: Arc<AtomicUsize>,
}

impl Queue {
    pub fn new(limits: &Limits) -> (Self, Queued) {
        let (sender, receiver) = mpsc::channel(limits.proposals_waiting_max);
        let waiting_bytes = Arc::new(AtomicUsize::new(0));
        let queue = Self {
            sender,
            waiting_bytes: Arc::clone(&waiting_bytes),
            waiting_bytes_max: limits.proposals_waiting_bytes_max,
            late: AtomicUsize::new(0),
            place_freed: Notify::new(),
        };
        (queue, Queued { receiver, waiting_bytes })
    }

    /// Units waiting for a batch.
    pub fn waiting(&self) -> usize {
        self.sender.max_capacity() - self.sender.capacity()
    }

    fn give_up_place(&self) -> PlaceGivenUp<'_> {
        self.late.fetch_add(1, Ordering::Relaxed);
        self.place_freed.notify_one();
        PlaceGivenUp(self)
    }

    pub async fn submit(&self, commands: Vec<Command>, deadline: Deadline, hops: Hops) -> Answer {
        let bytes = commands.iter().map(Message::encoded_len).sum::<usize>();
        if self.waiting_bytes.load(Ordering::Relaxed).saturating_add(bytes) > self.waiting_bytes_max {
            return Err(OpsError::Overloaded);
        }
        let (answer, answered) = oneshot::channel();
        let unit = Unit { commands, bytes, deadline, hops, answer };
        self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        if let Err(error) = self.sender.try_send(unit) {
            self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
            return Err(match error {
                mpsc::error::TrySendError::Full(_) => OpsError::Overloaded,
                mpsc::error::TrySendError::Closed(_) => OpsError::Stopped("no proposals are taken".to_owned()),
            });
        }
        match rt::timeout(deadline.left(), answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_dropped)) => Err(OpsError::Unknown),
            Err(_elapsed) => Err(OpsError::Unknown),
        }
    }
}

impl Queued {
    /// Waits for a unit, then takes what else is there, as far as one log entry goes.
    async fn next_batch(&mut self, limits: &Limits, held: &mut Option<Unit>) -> Option<Vec<Unit>> {
        let first = match held.take() {
            Some(unit) => unit,
            None => self.receiver.recv().await?,
        };
        let (hops, mut bytes, mut commands) = (first.hops, first.bytes, first.commands.len());
        let mut units = vec![first];
        while let Ok(next) = self.receiver.try_recv() {
            let fits = bytes + next.bytes <= limits.batch_bytes_max
                && commands + next.commands.len() <= limits.batch_commands_max
                && next.hops == hops;
            if !fits {
                *held = Some(next);
                break;
            }
            bytes += next.bytes;
            commands += next.commands.len();
            units.push(next);
        }
        let taken = units.iter().map(|unit| unit.bytes).sum();
        self.waiting_bytes.fetch_sub(taken, Ordering::Relaxed);
        Some(units)
    }
}

/// The batcher: runs as long as the node.
pub async fn run(ops: Ops, mut queued: Queued) {
    let mut in_flight = FuturesUnordered::new();
    let mut held = None;
    loop {
        // What arrives while all places are taken joins the next batch.
        let late = ops.inner.proposals.late.load(Ordering::Relaxed);
        let has_room = in_flight.len().saturating_sub(late) < IN_FLIGHT_MAX;
        tokio::select! {
            biased;
            Some(()) = in_flight.next() => {}
            () = ops.inner.proposals.place_freed.notified(), if !has_room => {}
            batch = queued.next_batch(ops.limits(), &mut held), if has_room => match batch {
                Some(units) => in_flight.push(carry_out(&ops, units)),
                None => return,
            },
        }
    }
}

async fn carry_out(ops: &Ops, units: Vec<Unit>) {
    let (expired, live): (Vec<_>, Vec<_>) = units.into_iter().partition(|unit| unit.deadline.has_passed());
    for unit in expired {
        // The caller has most likely gone; its work is dropped, not done late.
        let _gone = unit.answer.send(Err(OpsError::ExpiredWaiting));
    }
    let Some(hops) = live.first().map(|unit| unit.hops) else { return };
    let deadline = live.iter().map(|unit| unit.deadline).fold(live[0].deadline, Deadline::max);
    let mut counts = Vec::with_capacity(live.len());
    let mut answers = Vec::with_capacity(live.len());
    let mut commands = Vec::new();
    for unit in live {
        counts.push(unit.commands.len());
        commands.extend(unit.commands);
        answers.push(unit.answer);
    }
    ops.inner.metrics.batch_commands.observe(commands.len() as f64);
    match place(ops, commands, hops, deadline).await {
        Ok(batch) => hand_out(batch, counts, answers),
        Err(error) => {
            ops.inner.metrics.proposals_failed.inc_by(answers.len() as u64);
            for answer in answers {
                // Nobody waits for an answer whose deadline passed.
                let _gone = answer.send(Err(same(&error)));
            }
        }
    }
}

/// Gives each unit its part of the outcomes.
fn hand_out(batch: ProposedBatch, counts: Vec<usize>, answers: Vec<oneshot::Sender<Answer>>) {
    let (term, index) = (batch.term, batch.index);
    let mut outcomes = batch.outcomes.into_iter();
    for (count, answer) in counts.into_iter().zip(answers) {
        let part: Vec<Outcome> = outcomes.by_ref().take(count).collect();
        let part = if part.len() == count {
            Ok(ProposedBatch { outcomes: part, term, index })
        } else {
            Err(OpsError::Unknown)
        };
        let _gone = answer.send(part);
    }
}

/// The error of a batch, once for each of its units.
fn same(error: &OpsError) -> OpsError {
    match error {
        OpsError::NoLeader => OpsError::NoLeader,
        OpsError::NotLeader { leader } => OpsError::NotLeader { leader: *leader },
        OpsError::Overloaded => OpsError::Overloaded,
        OpsError::ExpiredWaiting => OpsError::ExpiredWaiting,
        OpsError::Stopped(reason) => OpsError::Stopped(reason.clone()),
        _ => OpsError::Unknown,
    }
}

/// Finds the leader and has it carry the commands out, again and again while they were certainly not proposed.
async fn place(ops: &Ops, commands: Vec<Command>, hops: Hops, deadline: Deadline) -> Answer {
    let mut standing = ops.replica().watch_standing();
    let mut batch = Batch { stamped_unix_ms: 0, commands };
    loop {
        let leader = ops.replica().leader();
        let refused = if ops.replica().leads() {
            match write_here(ops, &mut batch, deadline).await {
                Err(refused @ OpsError::NotLeader { .. }) => refused,
                other => return other,
            }
        } else if hops == Hops::OnlyHere {
            return Err(OpsError::NotLeader { leader });
        } else if let Some(leader) = leader {
            match forward(ops, leader, &batch.commands, deadline).await {
                Err(refused @ (OpsError::NotLeader { .. } | OpsError::NoLeader)) => refused,
                other => return other,
            }
        } else {
            OpsError::NoLeader
        };
        if hops == Hops::OnlyHere {
            return Err(refused);
        }
        if deadline.has_passed() {
            return Err(OpsError::NoLeader);
        }
        // A change of standing ends the wait at once; an error means that Raft has stopped.
        if let Ok(Err(stopped)) =
            rt::timeout(LEADER_WAIT.min(deadline.left()), ops.replica().changed(&mut standing)).await
        {
            return Err(stopped.into());
        }
    }
}

async fn write_here(ops: &Ops, batch: &mut Batch, deadline: Deadline) -> Answer {
    batch.stamped_unix_ms = rt::wall_unix_ms();
    let encoded = EncodedBatch(Bytes::from(batch.encode_to_vec()));
    match rt::timeout(deadline.left(), ops.replica().write(encoded)).await {
        Ok(Ok(applied)) => {
            Ok(ProposedBatch { outcomes: applied.outcomes, term: applied.log_id.term, index: applied.log_id.index })
        }
        Ok(Err(error)) => Err(error.into()),
        Err(_elapsed) => Err(OpsError::Unknown),
    }
}

async fn forward(ops: &Ops, leader: MemberId, commands: &[Command], deadline: Deadline) -> Answer {
    let request = peer::ProposeRequest { envelope: Some(ops.peers().envelope(leader.0)), commands: commands.to_vec() };
    let mut client = ops.client_of(leader)?;
    let mut call = client.propose(with_timeout(request, deadline)).boxed();
    let answer = tokio::select! {
        biased;
        answer = rt::timeout(deadline.left(), &mut call) => answer,
        // A lost zone closes no connection: the place is needed for the next leader.
        () = leader_is_not(ops, leader) => {
            let _place = ops.inner.proposals.give_up_place();
            rt::timeout(LATE_ANSWER.min(deadline.left()), call).await
        }
    };
    let response = match answer {
        Ok(Ok(response)) => response.into_inner(),
        Ok(Err(status)) => return Err(refused_or_unknown(&status)),
        Err(_elapsed) => return Err(OpsError::Unknown),
    };
    Ok(ProposedBatch { outcomes: response.outcomes, term: response.raft_term, index: response.index })
}

/// Resolves when this member knows of another leader.
async fn leader_is_not(ops: &Ops, leader: MemberId) {
    let mut standing = ops.replica().watch_standing();
    while ops.replica().leader().is_none_or(|now| now == leader) {
        if ops.replica().changed(&mut standing).await.is_err() {
            return;
        }
    }
}

/// A request that tells the other side how long its answer is of use.
pub fn with_timeout<T>(message: T, deadline: Deadline) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.set_timeout(deadline.left());
    request
}

/// The name under which a refusal travels between members, in the status' metadata.
pub const REFUSED: &str = "holdfast-not-proposed";

/// Whether the other member certainly did not propose what it was handed.
fn refused_or_unknown(status: &Status) -> OpsError {
    if status.metadata().contains_key(REFUSED) {
        return match status.code() {
            Code::ResourceExhausted => OpsError::Overloaded,
            _ => OpsError::NotLeader { leader: None },
        };
    }
    if never_connected(status) || never_sent(status) { OpsError::NoLeader } else { OpsError::Unknown }
}

/// The connection could not be made, so nothing was sent on it.
pub fn never_connected(status: &Status) -> bool {
    use std::io::ErrorKind;
    let mut cause: Option<&(dyn std::error::Error + 'static)> = std::error::Error::source(status);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            // Other kinds (no route, for one) can also end a connection that a request was sent on.
            return io.kind() == ErrorKind::ConnectionRefused;
        }
        cause = error.source();
    }
    false
}

/// The request still waited for its connection when that closed: the HTTP/2 library gives it back with these words.
/// Whatever it has sent ends with others.
fn never_sent(status: &Status) -> bool {
    status.message() == "operation was canceled" && std::error::Error::source(status).is_some()
}
