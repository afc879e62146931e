//! How long the disk takes. The two durations that etcd's alerts watch.

use prometheus::{Histogram, HistogramOpts, IntCounter, Registry, exponential_buckets};

use super::register;

/// Handles for those who write to the disk.
#[derive(Clone, Debug)]
pub struct DiskMetrics {
    /// Seconds of one sync of the Raft log.
    pub wal_fsync: Histogram,
    /// Bytes of entries handed to the Raft log.
    pub wal_bytes: IntCounter,
    /// Seconds of one atomic write of effects to the engine.
    pub backend_commit: Histogram,
    /// Seconds until a checkpoint of the state was complete.
    pub checkpoint: Histogram,
}

impl DiskMetrics {
    pub(super) fn register(registry: &Registry) -> Self {
        let seconds = |name: &str, help: &str, first: f64, count: usize| {
            let buckets = exponential_buckets(first, 2.0, count)?;
            Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets))
        };
        Self {
            wal_fsync: register(
                registry,
                seconds("etcd_disk_wal_fsync_duration_seconds", "Duration of one sync of the Raft log.", 0.001, 14),
            ),
            wal_bytes: register(
                registry,
                IntCounter::new("etcd_disk_wal_write_bytes_total", "Bytes written to the Raft log."),
            ),
            backend_commit: register(
                registry,
                seconds(
                    "etcd_disk_backend_commit_duration_seconds",
                    "Duration of one atomic write of applied effects to the storage engine.",
                    0.001,
                    14,
                ),
            ),
            checkpoint: register(
                registry,
                seconds("holdfast_checkpoint_duration_seconds", "Duration of making one checkpoint.", 0.01, 17),
            ),
        }
    }
}
