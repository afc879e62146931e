//! What operators and their tools ask over plain HTTP: is it well, what version is it, how is it doing.
//!
//! ```text
//!   GET /health            etcd's classic: {"health":"true","reason":""}, 503 when not
//!   GET /livez  /readyz    etcd's newer pair, with ?verbose, ?exclude=, /livez/<check>
//!   GET /version           {"etcdserver":...,"etcdcluster":...,"holdfast":...}
//!   GET /metrics           Prometheus
//! ```
//!
//! The same routes answer on the client port and on `--listen-metrics-urls`; the peer port has `/version` and
//! `/health`.

mod checks;
mod facts;
mod health;
mod query;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::api::{ETCD_CLUSTER_VERSION, ETCD_VERSION, HOLDFAST_VERSION};
use crate::metrics::Metrics;
use crate::ops::Ops;

#[derive(Clone)]
struct Admin {
    ops: Ops,
    metrics: Metrics,
}

/// All of it: for the client port and the metrics port.
pub fn routes(ops: &Ops, metrics: &Metrics) -> Router {
    let admin = Admin { ops: ops.clone(), metrics: metrics.clone() };
    Router::new()
        .route("/metrics", get(show_metrics))
        .route("/livez", get(health::live))
        .route("/livez/{check}", get(health::live_in_one))
        .route("/readyz", get(health::ready))
        .route("/readyz/{check}", get(health::ready_in_one))
        .merge(few_routes())
        .with_state(admin)
}

/// Before there is a node to ask: it lives, and no client should be sent here. `why` is for whoever reads it.
pub fn unready_routes(why: &'static str) -> Router {
    Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(async move || health::not_started(why)))
        .route("/health", get(async || health::no_leader()))
        .route("/version", get(show_version))
}

/// What the peer port answers.
pub fn peer_routes(ops: &Ops, metrics: &Metrics) -> Router {
    few_routes().with_state(Admin { ops: ops.clone(), metrics: metrics.clone() })
}

fn few_routes() -> Router<Admin> {
    Router::new().route("/health", get(health::classic)).route("/version", get(show_version))
}

async fn show_version() -> Response {
    let versions = serde_json::json!({
        "etcdserver": ETCD_VERSION,
        "etcdcluster": ETCD_CLUSTER_VERSION,
        "holdfast": HOLDFAST_VERSION,
    });
    ([(header::CONTENT_TYPE, "application/json")], versions.to_string()).into_response()
}

async fn show_metrics(State(admin): State<Admin>) -> Response {
    match facts::of(&admin.ops) {
        Ok(facts) => admin.metrics.show(&facts),
        // The counters are still worth showing: they may say why.
        Err(error) => tracing::warn!(%error, "metrics are shown without what is read from the state"),
    }
    match admin.metrics.render() {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}
