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
mod process;
mod raft;
mod space;

use prometheus::core::Collector;
use prometheus::{Registry, TextEncoder};

pub use disk::DiskMetrics;
pub use facts::{Facts, STATE_NAMES};
pub use gateway::GatewayMetrics;
pub use grpc::{GrpcMetrics, MethodMetrics, RpcKind, status_name};
pub use raft::RaftMetrics;
pub use space::SpaceMetrics;

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

    #[test]
    fn two_nodes_of_one_process_count_apart() {
        let (one, other) = (metrics(), metrics());
        one.raft.leader_changes.inc();
        assert!(one.render().unwrap().contains("etcd_server_leader_changes_seen_total 1"));
        assert!(other.render().unwrap().contains("etcd_server_leader_changes_seen_total 0"));
    }
}
