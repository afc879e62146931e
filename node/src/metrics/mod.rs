//! Every number a node shows, in one catalogue.
//!
//! ```text
//!   wal/, raft/, storage/ --- disk.*, raft.* ---\
//!   api/gate, gateway/    --- grpc.*, gateway.* > Metrics --- render() ---> admin/: GET /metrics
//!   admin/ (at a scrape)  --- show(&Facts) -----/
//! ```
//!
//! - Counters and durations are handles that lower layers are given and add to; they know nothing of Prometheus' text.
//! - What can be looked up when somebody asks (sizes, positions, who leads) is not counted: `admin/` collects it at a
//!   scrape as [`Facts`].
//! - The names are etcd's where etcd has the fact, so that its dashboards and alerts work; the rest is `holdfast_*`.
//! - A catalogue belongs to one node. Nothing is registered in a static: two nodes of one process count apart.

mod disk;
mod facts;
mod gateway;
mod grpc;
mod peer;
mod process;
mod raft;
mod space;
mod state;
mod tls;

use prometheus::core::Collector;
use prometheus::{Registry, TextEncoder};

pub use disk::DiskMetrics;
pub use facts::{Facts, STATE_NAMES};
pub use gateway::GatewayMetrics;
pub use grpc::{GrpcMetrics, MethodMetrics, RpcKind, status_name};
pub use peer::{OnePeerMetrics, PeerMetrics};
pub use raft::RaftMetrics;
pub use space::SpaceMetrics;
pub use state::StateMetrics;
pub use tls::TlsMetrics;

use facts::FactGauges;

/// What does not change while a node runs, shown as labels.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    /// In hexadecimal, as etcd's `server_id`.
    pub member_id: String,
    pub zone: String,
    /// The etcd version whose API is spoken.
    pub etcd_version: &'static str,
    pub holdfast_version: &'static str,
}

/// The catalogue of one node. Clones share it.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    pub grpc: GrpcMetrics,
    pub gateway: GatewayMetrics,
    pub disk: DiskMetrics,
    pub raft: RaftMetrics,
    pub space: SpaceMetrics,
    pub state: StateMetrics,
    pub peers: PeerMetrics,
    pub tls: TlsMetrics,
    facts: FactGauges,
}

impl Metrics {
    pub fn new(identity: &Identity) -> Self {
        let registry = Registry::new();
        Self {
            grpc: GrpcMetrics::register(&registry),
            gateway: GatewayMetrics::register(&registry),
            disk: DiskMetrics::register(&registry),
            raft: RaftMetrics::register(&registry),
            space: SpaceMetrics::register(&registry),
            state: StateMetrics::register(&registry),
            peers: PeerMetrics::register(&registry),
            tls: TlsMetrics::register(&registry),
            facts: FactGauges::register(&registry, identity),
            registry,
        }
    }

    /// Sets what was looked up for this scrape.
    pub fn show(&self, facts: &Facts) {
        self.facts.set(facts);
    }

    /// Prometheus' text format, version 0.0.4.
    pub fn render(&self) -> Result<String, prometheus::Error> {
        let mut text = TextEncoder::new().encode_to_string(&self.registry.gather())?;
        process::append(&mut text);
        Ok(text)
    }
}

/// Adds a metric to the registry, and gives it back.
fn register<C: Collector + Clone + 'static>(registry: &Registry, made: prometheus::Result<C>) -> C {
    let metric = made.expect("names, labels and buckets in this folder are constants that Prometheus takes");
    registry.register(Box::new(metric.clone())).expect("this folder names each metric once");
    metric
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics() -> Metrics {
        Metrics::new(&Identity {
            member_id: "b71f75320dc06a6c".to_owned(),
            zone: "a".to_owned(),
            etcd_version: "3.5.21",
            holdfast_version: "0.1.0",
        })
    }

    #[test]
    fn etcds_names_are_there_before_anything_happened() {
        let metrics = metrics();
        metrics.show(&Facts { has_leader: true, state: "ok", ..Facts::default() });
        let text = metrics.render().unwrap();
        for line in [
            "etcd_server_has_leader 1",
            "etcd_server_is_leader 0",
            "etcd_server_leader_changes_seen_total 0",
            "etcd_server_proposals_failed_total 0",
            "etcd_server_proposals_pending 0",
            "etcd_server_id{server_id=\"b71f75320dc06a6c\"} 1",
            "etcd_server_version{server_version=\"3.5.21\"} 1",
            "etcd_cluster_version{cluster_version=\"3.5\"} 1",
            "etcd_disk_wal_fsync_duration_seconds_count 0",
            "etcd_disk_backend_commit_duration_seconds_count 0",
            "etcd_mvcc_db_total_size_in_bytes 0",
            "etcd_network_client_grpc_received_bytes_total 0",
            "holdfast_node_state{state=\"ok\"} 1",
            "holdfast_node_state{state=\"repairing(log)\"} 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
        }
    }

    /// What the alerts and the dashboard that come with etcd look at, and what people build theirs on.
    const NAMES_OF_ETCD: [&str; 66] = [
        "etcd_cluster_version",
        "etcd_debugging_lease_granted_total",
        "etcd_debugging_lease_renewed_total",
        "etcd_debugging_lease_revoked_total",
        "etcd_debugging_mvcc_compact_revision",
        "etcd_debugging_mvcc_current_revision",
        "etcd_debugging_mvcc_events_total",
        "etcd_debugging_mvcc_keys_total",
        "etcd_debugging_mvcc_pending_events_total",
        "etcd_debugging_mvcc_slow_watcher_total",
        "etcd_debugging_mvcc_total_put_size_in_bytes",
        "etcd_debugging_mvcc_watch_stream_total",
        "etcd_debugging_mvcc_watcher_total",
        "etcd_debugging_server_lease_expired_total",
        "etcd_disk_backend_commit_duration_seconds_bucket",
        "etcd_disk_backend_commit_duration_seconds_count",
        "etcd_disk_wal_fsync_duration_seconds_bucket",
        "etcd_disk_wal_fsync_duration_seconds_sum",
        "etcd_disk_wal_write_bytes_total",
        "etcd_mvcc_db_total_size_in_bytes",
        "etcd_mvcc_db_total_size_in_use_in_bytes",
        "etcd_mvcc_delete_total",
        "etcd_mvcc_put_total",
        "etcd_mvcc_range_total",
        "etcd_mvcc_txn_total",
        "etcd_network_client_grpc_received_bytes_total",
        "etcd_network_client_grpc_sent_bytes_total",
        "etcd_network_known_peers",
        "etcd_network_peer_received_bytes_total",
        "etcd_network_peer_round_trip_time_seconds_bucket",
        "etcd_network_peer_sent_bytes_total",
        "etcd_network_peer_sent_failures_total",
        "etcd_server_apply_duration_seconds_bucket",
        "etcd_server_has_leader",
        "etcd_server_health_failures",
        "etcd_server_health_success",
        "etcd_server_heartbeat_send_failures_total",
        "etcd_server_id",
        "etcd_server_is_leader",
        "etcd_server_is_learner",
        "etcd_server_leader_changes_seen_total",
        "etcd_server_learner_promote_failures",
        "etcd_server_learner_promote_successes",
        "etcd_server_proposals_applied_total",
        "etcd_server_proposals_committed_total",
        "etcd_server_proposals_failed_total",
        "etcd_server_proposals_pending",
        "etcd_server_quota_backend_bytes",
        "etcd_server_read_indexes_failed_total",
        "etcd_server_slow_apply_total",
        "etcd_server_slow_read_indexes_total",
        "etcd_server_version",
        "grpc_server_handled_total",
        "grpc_server_handling_seconds_bucket",
        "grpc_server_msg_received_total",
        "grpc_server_msg_sent_total",
        "grpc_server_started_total",
        "os_fd_limit",
        "os_fd_used",
        "process_cpu_seconds_total",
        "process_max_fds",
        "process_open_fds",
        "process_resident_memory_bytes",
        "process_start_time_seconds",
        "process_virtual_memory_bytes",
        "etcd_server_health_state",
    ];

    #[test]
    #[cfg(target_os = "linux")]
    fn what_etcds_alerts_and_dashboards_look_at_is_there() {
        let metrics = metrics();
        // Labelled families show what they were asked for: a method, and a member.
        metrics.grpc.method(RpcKind::Unary, "etcdserverpb.KV", "Put").start();
        metrics.peers.to("b").sent_bytes.inc();
        metrics.peers.received("b", 1);
        let text = metrics.render().unwrap();
        for name in NAMES_OF_ETCD {
            let is_shown =
                text.lines().any(|line| line.starts_with(name) && line[name.len()..].starts_with([' ', '{']));
            assert!(is_shown, "{name} is missing in\n{text}");
        }
    }

    #[test]
    fn two_nodes_of_one_process_count_apart() {
        let (one, other) = (metrics(), metrics());
        one.raft.leader_changes.inc();
        assert!(one.render().unwrap().contains("etcd_server_leader_changes_seen_total 1"));
        assert!(other.render().unwrap().contains("etcd_server_leader_changes_seen_total 0"));
    }
}
