//! A leader whose disk hangs hands leadership over.
//!
//! Heartbeats do not wait for the disk, so nobody else notices: the leader goes on leading, and its log waits.
//! When its log has not been synced for one election timeout, it gives leadership to a voter whose disk is well. If no
//! voter is better off, it keeps it: passing it around would only add elections.

use std::time::Duration;

use super::Ops;
use crate::rt;

/// How often the disk's wait is looked at.
const TICK: Duration = Duration::from_millis(50);
/// The pause before leadership is offered again, if the first time was in vain. It doubles from offer to offer: nobody
/// may have been better off then, and a core that waits for the disk itself answers nobody.
const OFFER_PAUSE: Duration = Duration::from_secs(2);
const OFFER_PAUSE_MAX: Duration = Duration::from_secs(16);

/// One call to the disk that takes too long.
#[derive(Default)]
struct Stall {
    offers: u32,
    offered_at: Option<rt::Instant>,
}

impl Stall {
    fn may_offer(&self) -> bool {
        self.offered_at.is_none_or(|at| rt::since(at) >= self.pause())
    }

    fn pause(&self) -> Duration {
        let doublings = self.offers.saturating_sub(1).min(u32::BITS - 1);
        OFFER_PAUSE.saturating_mul(1 << doublings).min(OFFER_PAUSE_MAX)
    }
}

impl Ops {
    /// A call to the log's disk has taken longer than this member is patient.
    pub(super) fn is_disk_stalled(&self) -> bool {
        self.replica().log_disk().waiting(rt::now()) >= self.disk_patience()
    }

    /// One election timeout: as long as the others would wait for a leader that is gone.
    pub(super) fn disk_patience(&self) -> Duration {
        Duration::from_millis(self.timing().election_ms)
    }
}

/// Watches the log's disk, as long as the node.
pub async fn run(ops: Ops) {
    let mut stall: Option<Stall> = None;
    loop {
        rt::sleep(TICK).await;
        if !ops.is_disk_stalled() {
            if stall.take().is_some() {
                tracing::info!("the disk of the Raft log answers again");
            }
            continue;
        }
        if stall.is_none() {
            ops.inner.metrics.disk_stalls.inc();
            let waiting_ms = ops.replica().log_disk().waiting(rt::now()).as_millis();
            tracing::warn!(
                waiting_ms,
                leads = ops.replica().leads(),
                "the disk of the Raft log does not answer; see docs/OPERATIONS.md, \"A disk hangs\""
            );
        }
        let stall = stall.get_or_insert_default();
        if ops.replica().leads() && stall.may_offer() {
            stall.offers = stall.offers.saturating_add(1);
            stall.offered_at = Some(rt::now());
            // In a task of its own: the end of the stall must be seen meanwhile.
            rt::spawn(hand_over(ops.clone()));
        }
    }
}

async fn hand_over(ops: Ops) {
    match ops.hand_over_from_slow_disk().await {
        Ok(Some(to)) => tracing::warn!(%to, "leadership goes to a member whose disk answers"),
        // Why is said where the members were asked.
        Ok(None) => {}
        Err(error) => tracing::warn!(%error, "leadership could not be handed over"),
    }
}
