//! What goes between members.

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry, exponential_buckets,
};

use super::register;

/// Handles for all members.
#[derive(Clone, Debug)]
pub struct PeerMetrics {
    sent_bytes: IntCounterVec,
    received_bytes: IntCounterVec,
    sent_failures: IntCounterVec,
    round_trip_seconds: HistogramVec,
}

/// Handles for one member, found once.
#[derive(Clone, Debug)]
pub struct OnePeerMetrics {
    pub sent_bytes: IntCounter,
    pub sent_failures: IntCounter,
    pub round_trip_seconds: Histogram,
}

impl PeerMetrics {
    pub(super) fn register(registry: &Registry) -> Self {
        let counters = |name: &str, help: &str, label: &str| {
            register(registry, IntCounterVec::new(Opts::new(name, help), &[label]))
        };
        let round_trip = exponential_buckets(0.0001, 2.0, 16).and_then(|buckets| {
            let help = "Time from a heartbeat or a vote to its answer.";
            let options = HistogramOpts::new("etcd_network_peer_round_trip_time_seconds", help);
            HistogramVec::new(options.buckets(buckets), &["To"])
        });
        Self {
            sent_bytes: counters("etcd_network_peer_sent_bytes_total", "Bytes of log entries sent to a member.", "To"),
            received_bytes: counters(
                "etcd_network_peer_received_bytes_total",
                "Bytes of log entries received from a member.",
                "From",
            ),
            sent_failures: counters(
                "etcd_network_peer_sent_failures_total",
                "Messages to a member that were not answered.",
                "To",
            ),
            round_trip_seconds: register(registry, round_trip),
        }
    }

    /// `member` is its id in hexadecimal, as etcd labels it.
    pub fn to(&self, member: &str) -> OnePeerMetrics {
        OnePeerMetrics {
            sent_bytes: self.sent_bytes.with_label_values(&[member]),
            sent_failures: self.sent_failures.with_label_values(&[member]),
            round_trip_seconds: self.round_trip_seconds.with_label_values(&[member]),
        }
    }

    pub fn received(&self, member: &str, bytes: u64) {
        self.received_bytes.with_label_values(&[member]).inc_by(bytes);
    }
}
