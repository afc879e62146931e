//! What replication counts as it goes.

use prometheus::{Histogram, HistogramOpts, IntCounter, Registry, exponential_buckets};

use super::register;

/// Handles for those who propose, replicate and elect.
#[derive(Clone, Debug)]
pub struct RaftMetrics {
    pub leader_changes: IntCounter,
    /// Proposals that were refused or whose fate is unknown.
    pub proposals_failed: IntCounter,
    pub heartbeat_send_failures: IntCounter,
    /// Calls to the log's disk that took longer than an election timeout.
    pub disk_stalls: IntCounter,
    pub read_indexes_failed: IntCounter,
    /// Commands that shared one log entry.
    pub batch_commands: Histogram,
    pub learner_promote_succeeded: IntCounter,
    pub learner_promote_failed: IntCounter,
}

impl RaftMetrics {
    pub(super) fn register(registry: &Registry) -> Self {
        let counter = |name: &str, help: &str| register(registry, IntCounter::new(name, help));
        Self {
            leader_changes: counter("etcd_server_leader_changes_seen_total", "Changes of leader this member has seen."),
            proposals_failed: counter("etcd_server_proposals_failed_total", "Proposals without an outcome."),
            heartbeat_send_failures: counter(
                "etcd_server_heartbeat_send_failures_total",
                "Heartbeats that a follower did not answer in time.",
            ),
            disk_stalls: counter(
                "holdfast_log_disk_stalls_total",
                "Calls to the disk of the Raft log that took longer than an election timeout.",
            ),
            read_indexes_failed: counter(
                "etcd_server_read_indexes_failed_total",
                "Linearizable reads that found no quorum in time.",
            ),
            batch_commands: register(
                registry,
                exponential_buckets(1.0, 2.0, 11).and_then(|buckets| {
                    let help = "Commands that shared one log entry.";
                    Histogram::with_opts(HistogramOpts::new("holdfast_batch_commands", help).buckets(buckets))
                }),
            ),
            learner_promote_succeeded: counter(
                "etcd_server_learner_promote_successes",
                "Learners that were promoted on request of this member.",
            ),
            learner_promote_failed: counter(
                "etcd_server_learner_promote_failures",
                "Promotions of learners that were refused.",
            ),
        }
    }
}
