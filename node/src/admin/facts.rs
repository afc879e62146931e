//! Collecting what a scrape shows.

use crate::metrics::Facts;
use crate::mvcc;
use crate::ops::{NodeState, Ops, OpsError};

/// The node as it is now.
pub fn of(ops: &Ops) -> Result<Facts, OpsError> {
    let standing = ops.standing();
    let members = ops.members();
    let usage = ops.usage()?;
    let watch = ops.hub().counts();
    let state = ops.node_state();
    let engine = ops.store().engine();
    let (revision, compact_revision) = {
        let view = engine.view();
        (mvcc::revision(&*view)?, mvcc::compacted(&*view)?)
    };
    Ok(Facts {
        has_leader: standing.leader.is_some(),
        is_leader: standing.leads && standing.leader.is_some(),
        is_learner: members.get(ops.me()).is_some_and(crate::raft::MemberView::is_learner),
        state: state.name(),
        term: standing.term,
        last_log_index: standing.last_log_index,
        committed_index: standing.committed_index,
        applied_index: standing.applied_index,
        snapshot_index: standing.snapshot_index,
        purged_index: standing.purged_index,
        proposals_waiting: ops.proposals_waiting() as u64,
        log_holes: ops.replica().unreadable_entries() as u64
            + match &state {
                NodeState::RepairingLog { holes } => holes.len() as u64,
                NodeState::Ok | NodeState::StalledDisk | NodeState::ReadOnlySpace => 0,
            },
        members: members.members.len() as u64,
        voters: members.voters().count() as u64,
        zones_that_hold_a_quorum: members.zones_that_hold_a_quorum().len() as u64,
        db_bytes: usage.total_bytes,
        db_live_bytes: usage.live_bytes,
        quota_bytes: ops.limits().quota_bytes_max,
        revision: revision.0,
        compact_revision: compact_revision.0,
        watch_streams: watch.streams as u64,
        watchers: watch.watchers as u64,
        slow_watchers: watch.slow_watchers as u64,
        pending_events: watch.pending_events as u64,
        leases: ops.lease_ids()?.len() as u64,
    })
}
