//! The way of a command into the log: queue, batch, leader.
//!
//! ```text
//!   submit --> queue (bounded: commands, bytes) --> batcher --> leads?     one log entry, ENTRIES_MAX under way
//!                                                      otherwise  Propose at the leader, FORWARDS_MAX under way
//! ```
//!
//! While a batch waits for its quorum, the next one fills: the busier the cluster, the larger the batches, and a lone
//! client never waits for company. At the leader, what other members hand over shares entries with what its own clients
//! ask. A batch that was certainly not proposed (no leader, leader moved) is tried again until its deadline. One whose
//! fate is unknown is never tried again.
//!
//! A batch at a leader that is one no more gives its place up at once, and is waited for a moment longer: where
//! leadership was handed over in order, the old leader still answers. So does a batch that is done, and waits until
//! this member has applied it too.

use std::time::Duration;

use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use holdfast_proto::peer;
use tokio::sync::oneshot;
use tonic::{Code, Status};

use super::queue::{Answer, Commands, Hops, Proposed, Queued, Unit};
use super::{Deadline, Ops, OpsError};
use crate::env::{planted, sometimes};
use crate::raft::EncodedBatch;
use crate::rt;
use crate::types::MemberId;

/// Entries of this member under way at once, while it leads: one is synced and replicated while the next is made.
const ENTRIES_MAX: usize = 2;
/// Batches under way to the leader. Fewer make larger batches, and a command in a large batch costs a fraction of one
/// in a small batch.
const FORWARDS_MAX: usize = 1;
/// How soon a member without a leader looks again, when nothing tells it sooner.
const LEADER_WAIT: Duration = Duration::from_millis(50);
/// How long the answer of a write that is done waits for this member's own state, at most.
/// After a pause of the others it may be more than a second until the leader sends entries again.
const CATCH_UP_MAX: Duration = Duration::from_millis(5000);
/// How long the answer of a leader is waited for when it is not the leader any more.
const LATE_ANSWER: Duration = Duration::from_millis(1000);

/// The batcher: runs as long as the node.
pub async fn run(ops: Ops, mut queued: Queued) {
    let mut in_flight = FuturesUnordered::new();
    loop {
        // What arrives while all places are taken joins the next batch.
        let places = if ops.replica().leads() { ENTRIES_MAX } else { FORWARDS_MAX };
        let has_room = in_flight.len().saturating_sub(ops.inner.proposals.late()) < places;
        tokio::select! {
            biased;
            Some(()) = in_flight.next() => {}
            () = ops.inner.proposals.place_freed(), if !has_room => {}
            batch = queued.next_batch(ops.limits()), if has_room => match batch {
                Some(units) => in_flight.push(carry_out(&ops, units)),
                None => return,
            },
        }
    }
}

/// Finds the leader and has it carry the units out, again and again while they were certainly not proposed.
async fn carry_out(ops: &Ops, units: Vec<Unit>) {
    let mut standing = ops.replica().watch_standing();
    let mut units = without_expired(units);
    ops.inner.metrics.batch_commands.observe(units.iter().map(|unit| unit.commands.count).sum::<usize>() as f64);
    while let Some(deadline) = latest_deadline(&units) {
        let leader = ops.replica().leader();
        if !ops.replica().leads() {
            // One hop at most: the sender looks again.
            units = refuse(ops, units, Hops::OnlyHere, || OpsError::NotLeader { leader });
            if units.is_empty() {
                return;
            }
        }
        let commands = Commands::join(units.iter().map(|unit| &unit.commands));
        let result = if ops.replica().leads() {
            write_here(ops, &commands, deadline).await
        } else if let Some(leader) = leader {
            forward(ops, leader, &commands, deadline).await
        } else {
            Err(OpsError::NoLeader)
        };
        let again = planted!(ForwardedWriteRetried) && matches!(result, Err(OpsError::Unknown));
        if !again && !matches!(result, Err(OpsError::NotLeader { .. } | OpsError::NoLeader)) {
            return answer(ops, units, result);
        }
        sometimes!(WriteRepeated);
        units = refuse(ops, units, Hops::OnlyHere, || OpsError::NotLeader { leader: None });
        // A change of standing ends the wait at once; an error means that Raft has stopped.
        let wait = LEADER_WAIT.min(deadline.left());
        if let Ok(Err(stopped)) = rt::timeout(wait, ops.replica().changed(&mut standing)).await {
            return answer(ops, units, Err(stopped.into()));
        }
        if deadline.has_passed() {
            return answer(ops, units, Err(OpsError::NoLeader));
        }
    }
}

/// The caller of an expired unit has most likely gone; its work is dropped, not done late.
fn without_expired(units: Vec<Unit>) -> Vec<Unit> {
    let (expired, live): (Vec<_>, Vec<_>) = units.into_iter().partition(|unit| unit.deadline.has_passed());
    for unit in expired {
        let _gone = unit.answer.send(Err(OpsError::ExpiredWaiting));
    }
    live
}

fn latest_deadline(units: &[Unit]) -> Option<Deadline> {
    units.iter().map(|unit| unit.deadline).reduce(Deadline::max)
}

/// Refuses the units of a kind, and gives back the others.
fn refuse(ops: &Ops, units: Vec<Unit>, hops: Hops, error: impl Fn() -> OpsError) -> Vec<Unit> {
    let (refused, others): (Vec<_>, Vec<_>) = units.into_iter().partition(|unit| unit.hops == hops);
    ops.inner.metrics.proposals_failed.inc_by(refused.len() as u64);
    for unit in refused {
        // Nobody waits for an answer whose deadline passed.
        let _gone = unit.answer.send(Err(error()));
    }
    others
}

/// Gives each unit its part of the outcomes, or the error.
fn answer(ops: &Ops, units: Vec<Unit>, result: Answer) {
    match result {
        Ok(Proposed { outcomes, term, index }) => {
            let mut outcomes = outcomes.into_iter();
            let mut units = units;
            if planted!(AnswersSwapped) {
                units.reverse();
            }
            for Unit { commands, answer, .. } in units {
                let part: Vec<_> = outcomes.by_ref().take(commands.count).collect();
                let is_whole = part.len() == commands.count;
                hand_out(
                    answer,
                    if is_whole { Ok(Proposed { outcomes: part, term, index }) } else { Err(OpsError::Unknown) },
                );
            }
        }
        Err(error) => {
            if error.is_unknown() {
                sometimes!(WriteUnknown);
            }
            ops.inner.metrics.proposals_failed.inc_by(units.len() as u64);
            for unit in units {
                hand_out(unit.answer, Err(same(&error)));
            }
        }
    }
}

fn hand_out(to: oneshot::Sender<Answer>, answer: Answer) {
    // Nobody waits for an answer whose deadline passed.
    let _gone = to.send(answer);
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

async fn write_here(ops: &Ops, commands: &Commands, deadline: Deadline) -> Answer {
    let entry = EncodedBatch(commands.stamped(rt::wall_unix_ms()));
    match rt::timeout(deadline.left(), ops.replica().write(entry)).await {
        Ok(Ok(applied)) => {
            Ok(Proposed { outcomes: applied.outcomes, term: applied.log_id.term, index: applied.log_id.index })
        }
        Ok(Err(error)) => Err(error.into()),
        Err(_elapsed) => Err(OpsError::Unknown),
    }
}

async fn forward(ops: &Ops, leader: MemberId, commands: &Commands, deadline: Deadline) -> Answer {
    sometimes!(WriteForwarded);
    let request = peer::ProposeRequest {
        envelope: Some(ops.peers().envelope(leader.0)),
        commands: commands.encoded.clone(),
        count: commands.count as u32,
        checksum: commands.checksum(),
    };
    let mut client = ops.client_of(leader)?;
    let mut call = client.propose(with_timeout(request, deadline)).boxed();
    let answer = tokio::select! {
        biased;
        answer = rt::timeout(deadline.left(), &mut call) => answer,
        // A lost zone closes no connection: the place is needed for the next leader.
        () = leader_is_not(ops, leader) => {
            sometimes!(PlaceGivenUp);
            let _place = ops.inner.proposals.give_up_place();
            rt::timeout(LATE_ANSWER.min(deadline.left()), call).await
        }
    };
    let response = match answer {
        Ok(Ok(response)) => response.into_inner(),
        Ok(Err(status)) => return Err(refused_or_unknown(&status)),
        Err(_elapsed) => return Err(OpsError::Unknown),
    };
    catch_up_with(ops, response.index, deadline).await;
    Ok(Proposed { outcomes: response.outcomes, term: response.raft_term, index: response.index })
}

/// Whoever writes through a member finds it in that member's state, as with etcd: the answer waits until it is applied
/// here too. The next batch does not wait. A member that is far behind answers all the same, while there is time to:
/// the write is done, and its caller must not take it for one of unknown fate.
async fn catch_up_with(ops: &Ops, index: u64, deadline: Deadline) {
    if !ops.inner.holes.is_empty() {
        // Nothing is applied here until they are gone.
        return;
    }
    let _place = ops.inner.proposals.give_up_place();
    let _far_behind = rt::timeout(CATCH_UP_MAX.min(deadline.left() / 2), ops.replica().wait_applied(index)).await;
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
