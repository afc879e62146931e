//! Leases at run time: who may say how long one still has, and who may end it.
//!
//! Deadlines live in the leader's memory. A member that becomes leader gives every lease its full time again, so that
//! a lease never ends early; what it costs is that one may live longer than asked across a change of leaders. The
//! leader proves that it leads before it renews (an old leader that was paused must not promise time), and expiry is a
//! command in the log that names the leader's term (an old leader must not end anything).

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use holdfast_proto::log::{Batch, Outcome, outcome};
use holdfast_proto::peer;
use parking_lot::Mutex;
use prost::Message;
use tokio::sync::Notify;
use tonic::Status;

use super::propose::with_timeout;
use super::{Deadline, Ops, OpsError};
use crate::env::{planted, sometimes};
use crate::lease;
use crate::raft::{EncodedBatch, WriteError};
use crate::rt;
use crate::state::command;
use crate::types::LeaseId;

/// Leases that one command may end.
const EXPIRE_BATCH_MAX: usize = 1000;
/// How often the leader looks for leases that have run out.
const EXPIRY_TICK: Duration = Duration::from_millis(100);
/// How long an expiry command may take before it is proposed again.
const EXPIRE_DEADLINE: Duration = Duration::from_secs(5);

/// What is left of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseTerm {
    pub remaining_s: i64,
    pub granted_s: i64,
}

/// The term for which this member's table has deadlines.
#[derive(Debug, Default)]
pub struct Leadership {
    promoted_in: Mutex<Option<u64>>,
    /// Told when leases that were to end have ended, or will not, or this member leads no more.
    ends_settled: Notify,
}

impl Ops {
    /// The monotonic time that the lease table knows.
    pub fn lease_now(&self) -> Duration {
        rt::since(self.inner.lease_epoch)
    }

    /// Renews leases. The answer has the new time in seconds for each, 0 where there is no such lease.
    pub async fn renew_leases(&self, ids: &[LeaseId], deadline: Deadline) -> Result<Vec<i64>, OpsError> {
        self.at_leader(
            deadline,
            || self.renew_leases_here(ids, deadline),
            |leader| async move {
                let request = peer::LeaseRenewRequest {
                    envelope: Some(self.peers().envelope(leader.0)),
                    lease_ids: ids.iter().map(|id| id.0).collect(),
                };
                let mut client = self.client_of(leader)?;
                let answer = client.lease_renew(with_timeout(request, deadline)).await.map_err(|s| moved(&s))?;
                Ok(answer.into_inner().ttls)
            },
        )
        .await
    }

    /// Renews leases as the leader. Where one runs out at this moment, the answer waits until it has: whoever is told
    /// that a lease is gone finds none of its keys, as with etcd.
    pub async fn renew_leases_here(&self, ids: &[LeaseId], deadline: Deadline) -> Result<Vec<i64>, OpsError> {
        loop {
            if !planted!(LeaseRenewedUnproved) {
                self.prove_leadership(deadline).await?;
            }
            let mut settled = pin!(self.inner.leadership.ends_settled.notified());
            settled.as_mut().enable();
            if let Some(renewed) = self.renew_in_table(ids) {
                self.inner.state_metrics.leases_renewed.inc_by(renewed.iter().filter(|left| **left > 0).count() as u64);
                return Ok(renewed);
            }
            rt::timeout(deadline.left(), settled).await.map_err(|_elapsed| OpsError::ExpiredWaiting)?;
        }
    }

    /// The new time of each in seconds; `None` if one of them is just ending.
    fn renew_in_table(&self, ids: &[LeaseId]) -> Option<Vec<i64>> {
        let now = self.lease_now();
        let mut table = self.inner.leases.lock();
        let renewed = ids.iter().map(|id| table.renew(*id, now).map_or(0, whole_seconds)).collect();
        (!ids.iter().any(|id| table.is_ending(*id))).then_some(renewed)
    }

    pub async fn lease_remaining(&self, id: LeaseId, deadline: Deadline) -> Result<Option<LeaseTerm>, OpsError> {
        self.at_leader(
            deadline,
            || self.lease_remaining_here(id, deadline),
            |leader| async move {
                let request =
                    peer::LeaseRemainingRequest { envelope: Some(self.peers().envelope(leader.0)), lease_id: id.0 };
                let mut client = self.client_of(leader)?;
                let answer = client.lease_remaining(with_timeout(request, deadline)).await.map_err(|s| moved(&s))?;
                let answer = answer.into_inner();
                Ok((answer.granted > 0)
                    .then_some(LeaseTerm { remaining_s: answer.remaining, granted_s: answer.granted }))
            },
        )
        .await
    }

    pub async fn lease_remaining_here(&self, id: LeaseId, deadline: Deadline) -> Result<Option<LeaseTerm>, OpsError> {
        self.prove_leadership(deadline).await?;
        let now = self.lease_now();
        let table = self.inner.leases.lock();
        let Some(granted) = table.lookup(id) else { return Ok(None) };
        let left = table.remaining(id, now).unwrap_or_default();
        Ok(Some(LeaseTerm { remaining_s: whole_seconds(left), granted_s: whole_seconds(granted) }))
    }

    /// All leases, as this member's state has them.
    pub fn lease_ids(&self) -> Result<Vec<LeaseId>, OpsError> {
        let engine = self.store().engine();
        Ok(lease::leases(engine.view().as_ref())?.into_iter().map(|(id, _ttl_s)| id).collect())
    }

    /// Resolves when this member leads for sure, has applied what came before, and its table has deadlines.
    async fn prove_leadership(&self, deadline: Deadline) -> Result<(), OpsError> {
        let position = self.read_index_here(deadline).await?;
        match rt::timeout(deadline.left(), self.replica().wait_applied(position.index)).await {
            Ok(result) => result?,
            Err(_elapsed) => return Err(OpsError::ExpiredWaiting),
        }
        let term = self.replica().term();
        self.promote(term);
        Ok(())
    }

    /// Gives every lease its full time, once a term. The caller has proved that this member leads in `term`.
    fn promote(&self, term: u64) {
        let mut promoted_in = self.inner.leadership.promoted_in.lock();
        if *promoted_in != Some(term) {
            self.inner.leases.lock().promote(self.lease_now(), self.inner.timing.election_max());
            *promoted_in = Some(term);
        }
    }

    fn demote(&self) {
        let mut promoted_in = self.inner.leadership.promoted_in.lock();
        if promoted_in.take().is_some() {
            self.inner.leases.lock().demote();
            self.inner.leadership.ends_settled.notify_waiters();
        }
    }
}

fn whole_seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

/// Another member could not do leader's work. It changed nothing: renewing and asking may be repeated.
fn moved(_status: &Status) -> OpsError {
    OpsError::NotLeader { leader: None }
}

/// Expires leases while this member leads.
pub async fn run(ops: Ops) {
    loop {
        rt::sleep(EXPIRY_TICK).await;
        if !ops.replica().leads() {
            ops.demote();
            continue;
        }
        let promoted_in = *ops.inner.leadership.promoted_in.lock();
        match promoted_in {
            Some(term) if term == ops.replica().term() => expire(&ops, term).await,
            _ => {
                // The table gets its deadlines when leadership is proved; until then nothing can run out.
                if let Err(error) = ops.prove_leadership(Deadline::after(EXPIRE_DEADLINE)).await {
                    tracing::debug!(%error, "leases wait for leadership to be proved");
                }
            }
        }
    }
}

fn is_refusal(outcome: &Outcome) -> bool {
    matches!(outcome.result, Some(outcome::Result::Refusal(_)))
}

async fn expire(ops: &Ops, term: u64) {
    let now = ops.lease_now();
    let expired = ops.inner.leases.lock().expired(now, EXPIRE_BATCH_MAX);
    if expired.is_empty() {
        return;
    }
    let batch = Batch { stamped_unix_ms: rt::wall_unix_ms(), commands: vec![command::lease_expire(&expired, term)] };
    let write = ops.replica().write(EncodedBatch(Bytes::from(batch.encode_to_vec())));
    let result = rt::timeout(EXPIRE_DEADLINE, write).await.unwrap_or(Err(WriteError::Unknown));
    match result {
        Ok(applied) if applied.outcomes.iter().any(is_refusal) => {
            tracing::warn!(leases = expired.len(), "leases may not be expired while an alarm is raised");
            ops.inner.leases.lock().restore_in_flight(&expired);
        }
        Ok(_) => tracing::info!(leases = expired.len(), "leases expired"),
        Err(WriteError::NotLeader { .. }) => {
            sometimes!(ExpiryTakenBack);
            ops.inner.leases.lock().restore_in_flight(&expired);
        }
        Err(error) => {
            // The entry may be applied yet, so nobody may be told that these leases live on. Proposing an expiry twice
            // is harmless: the second finds no lease.
            sometimes!(ExpiryRepeated);
            tracing::warn!(leases = expired.len(), %error, "leases could not be expired and will be tried again");
            ops.inner.leases.lock().retry_in_flight(&expired);
        }
    }
    ops.inner.leadership.ends_settled.notify_waiters();
}
