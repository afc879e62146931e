//! What is asked as JSON over HTTP. The calls behind it count as gRPC calls too.

use prometheus::{IntCounterVec, Opts, Registry};

use super::register;

#[derive(Clone, Debug)]
pub struct GatewayMetrics {
    requests: IntCounterVec,
}

impl GatewayMetrics {
    pub(super) fn register(registry: &Registry) -> Self {
        let help = "Requests as JSON over HTTP, by method and HTTP code; a stream counts when it begins.";
        let opts = Opts::new("holdfast_gateway_requests_total", help);
        let labels = ["grpc_service", "grpc_method", "http_code"];
        Self { requests: register(registry, IntCounterVec::new(opts, &labels)) }
    }

    /// `service` and `method` come from a table: what clients send must not make new series.
    pub fn count(&self, service: &'static str, method: &'static str, http_code: u16) {
        self.requests.with_label_values(&[service, method, &http_code.to_string()]).inc();
    }
}
