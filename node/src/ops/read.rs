//! The gate before a linearizable read: one question to the quorum for everybody who waits.
//!
//! A read is linearizable if the state it is read from holds everything that was committed when the read arrived. The
//! leader proves that it still leads (one round of heartbeats), names its commit index, and the reader waits until its
//! own state is there. Reads that arrive while a round is under way share the next one.

use tokio::sync::{mpsc, oneshot};
use tonic::Code;

use super::propose::with_timeout;
use super::{Deadline, Ops, OpsError};
use crate::env::{planted, sometimes};
use crate::rt;
use crate::types::LogId;
use holdfast_proto::peer;

/// Reads that wait for the next round.
const WAITING_MAX: usize = 65_536;
/// The question to the quorum; it is asked again after that.
const ROUND_MS_MAX: u64 = 500;

/// What a leader says to a member that was removed.
pub const REMOVED: &str = "holdfast: the asking member was removed from the cluster";

struct Reader {
    deadline: Deadline,
    pass: oneshot::Sender<Result<(), OpsError>>,
}

/// Where readers wait.
pub struct Gate {
    sender: mpsc::Sender<Reader>,
}

/// The other side of the gate.
pub struct Readers {
    receiver: mpsc::Receiver<Reader>,
}

impl Gate {
    pub fn new() -> (Self, Readers) {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        (Self { sender }, Readers { receiver })
    }

    pub async fn pass(&self, deadline: Deadline) -> Result<(), OpsError> {
        let (pass, passed) = oneshot::channel();
        self.sender.try_send(Reader { deadline, pass }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => OpsError::Overloaded,
            mpsc::error::TrySendError::Closed(_) => OpsError::Stopped("no reads are taken".to_owned()),
        })?;
        match rt::timeout(deadline.left(), passed).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_dropped)) => Err(OpsError::Stopped("the read gate is closed".to_owned())),
            Err(_elapsed) => Err(OpsError::ExpiredWaiting),
        }
    }
}

/// Runs the rounds, as long as the node.
pub async fn run(ops: Ops, mut readers: Readers) {
    while let Some(first) = readers.receiver.recv().await {
        let mut waiting = vec![first];
        while let Ok(next) = readers.receiver.try_recv() {
            waiting.push(next);
        }
        let until = waiting.iter().map(|reader| reader.deadline).fold(waiting[0].deadline, Deadline::max);
        let mut result = round(&ops, until).await;
        // A round that failed because the leader is moving is asked again while any reader still has time.
        while result.is_err() {
            ops.inner.metrics.read_indexes_failed.inc();
            waiting.retain(|reader| !reader.pass.is_closed() && !reader.deadline.has_passed());
            if waiting.is_empty() || matches!(result, Err(OpsError::Stopped(_) | OpsError::Repairing)) {
                break;
            }
            sometimes!(ReadRoundRepeated);
            ops.inner.state_metrics.slow_read_indexes.inc();
            result = match wait_for_change(&ops).await {
                Ok(()) => round(&ops, until).await,
                Err(stopped) => Err(stopped),
            };
        }
        while planted!(LateReadersShareRound) {
            let Ok(late) = readers.receiver.try_recv() else { break };
            waiting.push(late);
        }
        for reader in waiting {
            let answer = match &result {
                Ok(()) => Ok(()),
                Err(OpsError::Repairing) => Err(OpsError::Repairing),
                Err(OpsError::Stopped(reason)) => Err(OpsError::Stopped(reason.clone())),
                Err(_) => Err(OpsError::NoLeader),
            };
            // A reader that has gone needs no pass.
            let _gone = reader.pass.send(answer);
        }
    }
}

/// Whichever comes first, a change of standing or a short time: the next round finds out. Fails when Raft has stopped,
/// of which nothing changes any more.
async fn wait_for_change(ops: &Ops) -> Result<(), OpsError> {
    let mut standing = ops.replica().watch_standing();
    match rt::timeout(std::time::Duration::from_millis(30), ops.replica().changed(&mut standing)).await {
        Ok(changed) => Ok(changed?),
        Err(_elapsed) => Ok(()),
    }
}

/// One question, and the wait for this member's state to be there.
async fn round(ops: &Ops, until: Deadline) -> Result<(), OpsError> {
    if !ops.inner.holes.is_empty() {
        return Err(OpsError::Repairing);
    }
    let deadline = Deadline::after_ms(ROUND_MS_MAX);
    let position = if ops.replica().leads() {
        index_as_leader(ops, deadline).await?
    } else if planted!(FollowerReadsUnasked) {
        ops.replica().applied()
    } else {
        sometimes!(ReadOnFollower);
        index_from_leader(ops, deadline).await?
    };
    // Asking again would only raise the bar: a follower that lags gets the time its readers have.
    match rt::timeout(until.left(), ops.replica().wait_applied(position.index)).await {
        Ok(result) => Ok(result?),
        Err(_elapsed) => Err(OpsError::ExpiredWaiting),
    }
}

pub async fn index_as_leader(ops: &Ops, deadline: Deadline) -> Result<LogId, OpsError> {
    match rt::timeout(deadline.left(), ops.replica().read_index()).await {
        Ok(result) => Ok(result?),
        Err(_elapsed) => Err(OpsError::NoLeader),
    }
}

async fn index_from_leader(ops: &Ops, deadline: Deadline) -> Result<LogId, OpsError> {
    let leader = ops.replica().leader().ok_or(OpsError::NoLeader)?;
    let request = peer::ReadIndexRequest { envelope: Some(ops.peers().envelope(leader.0)) };
    let mut client = ops.client_of(leader)?;
    let answer = match rt::timeout(deadline.left(), client.read_index(with_timeout(request, deadline))).await {
        Ok(Ok(response)) => response.into_inner(),
        Ok(Err(status)) if status.code() == Code::FailedPrecondition && status.message() == REMOVED => {
            return Err(OpsError::Stopped("it was removed from the cluster".to_owned()));
        }
        Ok(Err(_)) | Err(_) => return Err(OpsError::NoLeader),
    };
    let position = answer.read_log.ok_or(OpsError::NoLeader)?;
    Ok(LogId { term: position.term, index: position.index })
}
