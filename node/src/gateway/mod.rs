//! The etcd v3 API as JSON over HTTP, on the client port beside gRPC.
//!
//! ```text
//!   POST /v3/kv/put {"key":"Zm9v","value":"YmFy"}
//!        |
//!     access    CORS, host whitelist                          (before everything over HTTP)
//!     methods   /v3/kv/put -> etcdserverpb.KV/Put, its messages and its shape
//!     inbound   the body: one value, or many, bounded
//!     json      {"key":"Zm9v"} -> PutRequest, by its description
//!     call      ------ as a gRPC call, inside the process ------> api/: the same services, the same gate
//!     json      PutResponse -> {"header":{"revision":"2",...}}
//!        |
//!   200 {"header":{...}}       a stream: one {"result":{...}} a line, in chunks, as the client reads
//! ```
//!
//! - There is no code for a single method here: a service that `api/` begins to serve is reachable as soon as its paths
//!   are in the table.
//! - Nothing is decided here that gRPC would decide otherwise. What differs from etcd is in `docs/COMPATIBILITY.md`.
//! - A stream is pulled by its reader. A client that goes away drops the call, as over gRPC.

mod access;
mod call;
mod inbound;
mod json;
mod methods;
mod refusal;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use holdfast_proto::CLIENT_DESCRIPTORS;
use http::{Method, StatusCode};
use prost_reflect::DescriptorPool;
use tonic::Code;
use tonic::service::Routes;

pub use access::{Access, Allowed, guarded};

use crate::api::message_bytes_max;
use crate::metrics::{GatewayMetrics, Metrics};
use crate::types::Limits;
use call::Places;
use inbound::Bounds;
use methods::Methods;
use refusal::Refusal;

#[derive(Clone)]
struct Gateway {
    grpc: Routes,
    methods: Arc<Methods>,
    bounds: Bounds,
    places: Places,
    metrics: GatewayMetrics,
}

/// JSON in front of what `grpc` serves.
pub fn routes(grpc: &Routes, limits: &Limits, metrics: &Metrics) -> Router {
    let pool = DescriptorPool::decode(CLIENT_DESCRIPTORS).expect("the contract was compiled into this program");
    let gateway = Gateway {
        grpc: grpc.clone(),
        methods: Arc::new(Methods::of(&pool)),
        bounds: Bounds { message_bytes_max: message_bytes_max(limits) },
        places: Places::new(limits.streams_max),
        metrics: metrics.gateway.clone(),
    };
    let paths = Router::new().route("/v3/{*method}", any(answer)).route("/v3beta/{*method}", any(answer));
    paths.route("/v3/", any(answer)).with_state(gateway)
}

async fn answer(State(gateway): State<Gateway>, request: Request) -> Response {
    let methods = Arc::clone(&gateway.methods);
    let Some(method) = methods.find(request.uri().path()) else {
        gateway.metrics.count("unknown", "unknown", StatusCode::NOT_FOUND.as_u16());
        return plainly(StatusCode::NOT_FOUND);
    };
    let response = match &method.contract {
        _ if request.method() != Method::POST => plainly(StatusCode::METHOD_NOT_ALLOWED),
        Some(contract) => call::answer(gateway.grpc, contract, gateway.bounds, gateway.places, request).await,
        None => {
            let text = format!("unknown service {}", method.service);
            Refusal::new(Code::Unimplemented, text).into_answer()
        }
    };
    gateway.metrics.count(method.service, method.name, response.status().as_u16());
    response
}

/// In the words that Go's servers have for it.
fn plainly(status: StatusCode) -> Response {
    (status, format!("{}\n", status.canonical_reason().unwrap_or_default())).into_response()
}
