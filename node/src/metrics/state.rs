//! What applied entries did to the keys and leases.

use prometheus::{Histogram, HistogramOpts, IntCounter, IntGauge, Registry, exponential_buckets};

use super::register;

/// Handles for whoever applies entries, reads ranges and renews leases.
#[derive(Clone, Debug)]
pub struct StateMetrics {
    pub puts: IntCounter,
    pub deletes: IntCounter,
    pub txns: IntCounter,
    pub ranges: IntCounter,
    pub events: IntCounter,
    /// Goes up and down with each event; where it starts from is counted after a start.
    pub keys: IntGauge,
    pub put_bytes: IntCounter,
    pub leases_granted: IntCounter,
    pub leases_revoked: IntCounter,
    pub leases_renewed: IntCounter,
    pub leases_expired: IntCounter,
    /// Entries that took longer than etcd's warning allows.
    pub slow_applies: IntCounter,
    /// Questions to the quorum that were asked again.
    pub slow_read_indexes: IntCounter,
    pub apply: Histogram,
    /// Seconds that clients waited for the whole state: to be given back to the disk, hashed, sent.
    pub defragmentation: Histogram,
    pub hashing: Histogram,
    pub snapshot: Histogram,
    pub health_successes: IntCounter,
    pub health_failures: IntCounter,
}

impl StateMetrics {
    pub(super) fn register(registry: &Registry) -> Self {
        let counter = |name: &str, help: &str| register(registry, IntCounter::new(name, help));
        let apply = exponential_buckets(0.0001, 2.0, 20).and_then(|buckets| {
            let help = "Duration of applying committed entries, in chunks of up to 256.";
            Histogram::with_opts(HistogramOpts::new("etcd_server_apply_duration_seconds", help).buckets(buckets))
        });
        let seconds = |name: &str, help: &str, first: f64, count: usize| {
            let buckets = exponential_buckets(first, 2.0, count);
            register(
                registry,
                buckets.and_then(|buckets| Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets))),
            )
        };
        Self {
            defragmentation: seconds(
                "etcd_disk_backend_defrag_duration_seconds",
                "Duration of giving space of deleted data back to the file system.",
                0.1,
                13,
            ),
            hashing: seconds("etcd_mvcc_hash_duration_seconds", "Duration of hashing all of history.", 0.01, 15),
            snapshot: seconds(
                "etcd_disk_backend_snapshot_duration_seconds",
                "Duration of sending a snapshot to a client.",
                0.01,
                17,
            ),
            puts: counter("etcd_mvcc_put_total", "Keys put, those in transactions included."),
            deletes: counter("etcd_mvcc_delete_total", "Keys deleted, those in transactions and of leases included."),
            txns: counter("etcd_mvcc_txn_total", "Transactions applied."),
            ranges: counter("etcd_mvcc_range_total", "Ranges read on request of clients."),
            events: counter("etcd_debugging_mvcc_events_total", "Events told to the watch hub."),
            keys: register(registry, IntGauge::new("etcd_debugging_mvcc_keys_total", "Keys.")),
            put_bytes: counter("etcd_debugging_mvcc_total_put_size_in_bytes", "Bytes of keys and values put."),
            leases_granted: counter("etcd_debugging_lease_granted_total", "Leases granted."),
            leases_revoked: counter("etcd_debugging_lease_revoked_total", "Leases that ended, however they did."),
            leases_renewed: counter("etcd_debugging_lease_renewed_total", "Renewals of leases at this leader."),
            leases_expired: counter("etcd_debugging_server_lease_expired_total", "Leases that ran out."),
            slow_applies: counter("etcd_server_slow_apply_total", "Chunks that took longer than 100 ms to apply."),
            slow_read_indexes: counter(
                "etcd_server_slow_read_indexes_total",
                "Linearizable reads whose question to the quorum was asked again.",
            ),
            apply: register(registry, apply),
            health_successes: counter("etcd_server_health_success", "Answers of /health that said yes."),
            health_failures: counter("etcd_server_health_failures", "Answers of /health that said no."),
        }
    }
}
