//! Learners that become voters by themselves, where an operator asked for it (`--auto-promote-learners`).
//!
//! The leader looks every second. A learner that is close behind it for some looks in a row is promoted, through the
//! same checks as by hand. One that lags again starts over.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Ops;
use crate::raft::MemberChange;
use crate::rt;
use crate::types::MemberId;

const TICK: Duration = Duration::from_secs(1);
/// Entries that a learner may be behind and count as in sync: what is under way at any moment under load.
const LAG_ENTRIES_MAX: u64 = 1000;
const LOOKS_IN_SYNC: u32 = 3;

/// Looks and promotes, as long as the node.
pub async fn run(ops: Ops) {
    let mut in_sync: BTreeMap<MemberId, u32> = BTreeMap::new();
    loop {
        rt::sleep(TICK).await;
        if !ops.replica().leads() {
            in_sync.clear();
            continue;
        }
        let last = ops.standing().last_log_index;
        let matched = ops.replica().replication();
        let learners: Vec<MemberId> = ops.members().learners().map(|learner| learner.id).collect();
        in_sync.retain(|id, _| learners.contains(id));
        for id in learners {
            let is_close = matched
                .get(&id)
                .is_some_and(|matched| *matched > 0 && last.saturating_sub(*matched) <= LAG_ENTRIES_MAX);
            let looks = in_sync.entry(id).or_insert(0);
            *looks = if is_close { *looks + 1 } else { 0 };
            if *looks < LOOKS_IN_SYNC {
                continue;
            }
            *looks = 0;
            match ops.change_members_here(MemberChange::Promote(id)).await {
                Ok(()) => tracing::info!(member = %id, "a learner in sync was promoted: it votes now"),
                Err(error) => tracing::info!(member = %id, %error, "a learner in sync was not promoted yet"),
            }
        }
    }
}
