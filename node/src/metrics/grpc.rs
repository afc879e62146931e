//! What clients ask, how it went, how long it took.

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry, exponential_buckets,
};

use super::register;

/// The status codes of gRPC, by number.
const CODES: [&str; 17] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];

/// A status code by the name that Go's gRPC, and so etcd's dashboards, give it.
pub fn status_name(code: i32) -> &'static str {
    usize::try_from(code).ok().and_then(|code| CODES.get(code)).copied().unwrap_or("Unknown")
}

/// The shape of a method, by the name that etcd's dashboards know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RpcKind {
    Unary,
    ServerStream,
    BidiStream,
}

impl RpcKind {
    fn name(self) -> &'static str {
        match self {
            RpcKind::Unary => "unary",
            RpcKind::ServerStream => "server_stream",
            RpcKind::BidiStream => "bidi_stream",
        }
    }
}

/// Handles of all methods.
#[derive(Clone, Debug)]
pub struct GrpcMetrics {
    started: IntCounterVec,
    handled: IntCounterVec,
    seconds: HistogramVec,
    messages_received: IntCounterVec,
    messages_sent: IntCounterVec,
    /// Bytes of messages to and from clients, without the framing.
    pub sent_bytes: IntCounter,
    pub received_bytes: IntCounter,
}

/// Handles of one method, found once: a request costs no look-up by label.
#[derive(Clone, Debug)]
pub struct MethodMetrics {
    started: IntCounter,
    /// By status code.
    handled: Vec<IntCounter>,
    seconds: Histogram,
    /// Messages of requests and of answers: one each of a unary call, any number of a stream.
    pub messages_received: IntCounter,
    pub messages_sent: IntCounter,
}

const METHOD_LABELS: [&str; 3] = ["grpc_type", "grpc_service", "grpc_method"];
const HANDLED_LABELS: [&str; 4] = ["grpc_type", "grpc_service", "grpc_method", "grpc_code"];

impl GrpcMetrics {
    pub(super) fn register(registry: &Registry) -> Self {
        let counter = |name: &str, help: &str| register(registry, IntCounter::new(name, help));
        let messages =
            |name: &str, help: &str| register(registry, IntCounterVec::new(Opts::new(name, help), &METHOD_LABELS));
        let handled = Opts::new("grpc_server_handled_total", "Requests that were answered, by status code.");
        let buckets = exponential_buckets(0.0001, 2.0, 17);
        let seconds = buckets.and_then(|buckets| {
            let help = "Time from a request's arrival to its answer.";
            HistogramVec::new(HistogramOpts::new("grpc_server_handling_seconds", help).buckets(buckets), &METHOD_LABELS)
        });
        Self {
            started: register(
                registry,
                IntCounterVec::new(Opts::new("grpc_server_started_total", "Requests that arrived."), &METHOD_LABELS),
            ),
            handled: register(registry, IntCounterVec::new(handled, &HANDLED_LABELS)),
            messages_received: messages("grpc_server_msg_received_total", "Messages received, those on streams too."),
            messages_sent: messages("grpc_server_msg_sent_total", "Messages sent, those on streams too."),
            seconds: register(registry, seconds),
            sent_bytes: counter("etcd_network_client_grpc_sent_bytes_total", "Bytes of messages sent to clients."),
            received_bytes: counter(
                "etcd_network_client_grpc_received_bytes_total",
                "Bytes of messages received from clients.",
            ),
        }
    }

    pub fn method(&self, kind: RpcKind, service: &str, method: &str) -> MethodMetrics {
        let labels = [kind.name(), service, method];
        let of_code = |code: &&str| self.handled.with_label_values(&[kind.name(), service, method, *code]);
        MethodMetrics {
            started: self.started.with_label_values(&labels),
            handled: CODES.iter().map(of_code).collect(),
            seconds: self.seconds.with_label_values(&labels),
            messages_received: self.messages_received.with_label_values(&labels),
            messages_sent: self.messages_sent.with_label_values(&labels),
        }
    }
}

impl MethodMetrics {
    pub fn start(&self) {
        self.started.inc();
    }

    /// `code` is gRPC's number.
    pub fn finish(&self, code: i32, seconds: f64) {
        let by_code = usize::try_from(code).ok().and_then(|code| self.handled.get(code));
        // A code that gRPC does not have counts as its Unknown, which is 2.
        by_code.unwrap_or(&self.handled[2]).inc();
        self.seconds.observe(seconds);
    }
}
