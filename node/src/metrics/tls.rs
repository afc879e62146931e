//! Certificates: when they end, whether a renewal was taken, and who was turned away.

use std::path::Path;

use prometheus::{IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry};

use super::register;

/// By port: `client` or `peer`.
#[derive(Clone, Debug)]
pub struct TlsMetrics {
    reloads: IntCounterVec,
    reload_failures: IntCounterVec,
    handshakes_failed: IntCounterVec,
    expiry: IntGaugeVec,
}

impl TlsMetrics {
    pub(super) fn register(registry: &Registry) -> Self {
        let by_port = |name: &str, help: &str| register(registry, IntCounterVec::new(Opts::new(name, help), &["port"]));
        let help = "When a certificate in use ends, in Unix seconds.";
        let opts = Opts::new("holdfast_tls_certificate_expiry_seconds", help);
        Self {
            reloads: by_port("holdfast_tls_reloads_total", "Changed certificates that were taken into use."),
            reload_failures: by_port(
                "holdfast_tls_reload_failures_total",
                "Changed certificates that could not be used; the old ones stayed.",
            ),
            handshakes_failed: by_port(
                "holdfast_tls_handshakes_failed_total",
                "Connections that did not get through their handshake.",
            ),
            expiry: register(registry, IntGaugeVec::new(opts, &["port", "file"])),
        }
    }

    pub fn reloads(&self, port: &str) -> IntCounter {
        self.reloads.with_label_values(&[port])
    }

    pub fn reload_failures(&self, port: &str) -> IntCounter {
        self.reload_failures.with_label_values(&[port])
    }

    pub fn handshakes_failed(&self, port: &str) -> IntCounter {
        self.handshakes_failed.with_label_values(&[port])
    }

    /// The first end of all certificates in `file`.
    pub fn set_expiry(&self, port: &str, file: &Path, at_unix_s: i64) {
        self.expiry.with_label_values(&[port, &file.display().to_string()]).set(at_unix_s);
    }

    pub fn forget_expiry(&self, port: &str, file: &Path) {
        // It may never have been shown.
        let _was_not_there = self.expiry.remove_label_values(&[port, &file.display().to_string()]);
    }
}
