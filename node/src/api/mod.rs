//! The node's gRPC face: each service of the contract is a file, and every call goes through one gate.
//!
//! ```text
//!   client port                                             peer port
//!   kv  watch  lease  cluster  maintenance  auth  topology  health       peer   (+ raft::RaftService)
//!   lock, election and guarded_kv: over kv and lease
//!      \    \     |      |        |          |      /      /                |
//!       `----`----`-- gate: deadline, learner, leader, caller, metrics, request id, audit
//!                        |
//!                     ops::Ops: propose, read_barrier, renew, change members
//! ```
//!
//! - A handler checks the request alone (`state::validate`), makes a command or reads a view, and completes the header.
//!   It decides nothing about the state: that is done in apply, at one place in the log.
//! - `status.rs` is the only place where an error becomes a gRPC status. The codes and texts are etcd's: clients match
//!   on them.
//! - A view of the engine is never held across an await; what may read much is done on a blocking thread.
//! - Streams are pulled, not pushed: what a client does not read is not made, so a slow one costs a bounded amount of
//!   memory.

mod audit;
mod auth;
mod authority;
mod cluster;
mod election;
mod gate;
mod guard;
mod guarded_kv;
mod health;
mod kv;
mod lease;
mod lock;
mod maintenance;
mod outcome;
mod outlook;
mod peer;
mod range_stream;
mod recipe;
mod reflection;
mod snapshot_stream;
mod status;
mod stop;
mod timeout;
mod topology;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use axum::response::IntoResponse;
use holdfast_proto::etcdserverpb::auth_server::AuthServer;
use holdfast_proto::etcdserverpb::cluster_server::ClusterServer;
use holdfast_proto::etcdserverpb::kv_server::KvServer;
use holdfast_proto::etcdserverpb::lease_server::LeaseServer;
use holdfast_proto::etcdserverpb::maintenance_server::MaintenanceServer;
use holdfast_proto::etcdserverpb::watch_server::WatchServer;
use holdfast_proto::health::health_server::HealthServer;
use holdfast_proto::peer::peer_server::PeerServer;
use holdfast_proto::peer::raft_server::RaftServer;
use holdfast_proto::v1::guarded_kv_server::GuardedKvServer;
use holdfast_proto::v1::topology_server::TopologyServer;
use holdfast_proto::v3electionpb::election_server::ElectionServer;
use holdfast_proto::v3lockpb::lock_server::LockServer;
use tonic::Status;
use tonic::service::Routes;

pub use audit::{AuditSettings, FILE_BYTES_MAX_DEFAULT as AUDIT_BYTES_MAX_DEFAULT};
pub use authority::FromGateway;
pub use snapshot_stream::remove_leftover_checkpoints;
pub use timeout::parse_timeout;

use crate::auth::Tokens;
use crate::env::Disk;
use crate::metrics::Metrics;
use crate::ops::Ops;
use crate::raft::{PEER_MESSAGE_BYTES_MAX, RaftService};
use crate::rt;
use crate::types::Limits;
use audit::Audit;
use authority::Authority;
use gate::Gate;
use outlook::Outlook;

/// The etcd version whose API is spoken. A plain version: clients parse it, and kube-apiserver asks for progress
/// notices only from 3.4.25 and from 3.5.8 on.
pub const ETCD_VERSION: &str = "3.5.21";
/// The etcd version that all members agree on.
pub const ETCD_CLUSTER_VERSION: &str = "3.5.0";
/// Our own version.
pub const HOLDFAST_VERSION: &str = env!("CARGO_PKG_VERSION");

/// What a gRPC message may have beyond the largest request, in bytes, for what surrounds it. As in etcd.
const REQUEST_OVERHEAD_BYTES: usize = 512 * 1024;

/// What the services need besides the operations.
#[derive(Clone)]
pub struct Options {
    pub metrics: Metrics,
    /// What proves who a client is.
    pub tokens: Tokens,
    pub hash_cost: u32,
    pub audit: AuditSettings,
    /// Where the files of checkpoints are read from.
    pub disk: Arc<dyn Disk>,
    /// A watcher that asked for progress notices gets one when for this long nothing else was sent to it.
    pub watch_progress_interval: Duration,
    /// Turns true when the node begins to stop: streams end then, so that a server that waits for its calls can stop.
    pub stopping: rt::watch::Receiver<bool>,
}

/// What the client port answers over gRPC: the etcd v3 services, `holdfast.v1`, health and reflection.
pub fn client_services(ops: &Ops, options: &Options) -> Routes {
    let outlook = Outlook::start(ops.clone());
    let authority = Authority::new(ops.clone(), options.tokens.clone(), options.hash_cost);
    let audit = Audit::start(&options.audit, ops.me().to_string(), Arc::clone(&options.disk));
    let gate = Gate::new(ops.clone(), outlook, &options.metrics, authority, audit);
    let decode_max = ops.limits().request_bytes_max + REQUEST_OVERHEAD_BYTES;
    // Answers have no limit of ours: a range may be as large as its client asked for.
    let encode_max = usize::MAX;
    let kv = Arc::new(kv::KvService::new(&gate, options));
    let guarded = GuardedKvServer::new(guarded_kv::GuardedKvService::new(&gate, Arc::clone(&kv)));
    let watch = WatchServer::new(watch::WatchService::new(&gate, options));
    let lease = Arc::new(lease::LeaseService::new(&gate, options));
    let recipes = recipe::Recipes::new(&gate, &kv, &lease, options);
    let kv = KvServer::from_arc(kv);
    let lease = LeaseServer::from_arc(lease);
    let lock = LockServer::new(lock::LockService::new(&gate, Arc::clone(&recipes)));
    let election = ElectionServer::new(election::ElectionService::new(&gate, recipes, options));
    let cluster = ClusterServer::new(cluster::ClusterService::new(&gate));
    let maintenance = MaintenanceServer::new(maintenance::MaintenanceService::new(&gate, options));
    let auth = AuthServer::new(auth::AuthService::new(&gate));
    let topology = TopologyServer::new(topology::TopologyService::new(&gate));
    let health = HealthServer::new(health::HealthService::new(&gate, options));
    let routes = Routes::new(kv.max_decoding_message_size(decode_max).max_encoding_message_size(encode_max))
        .add_service(guarded.max_decoding_message_size(decode_max).max_encoding_message_size(encode_max))
        .add_service(watch.max_decoding_message_size(decode_max).max_encoding_message_size(encode_max))
        .add_service(lock.max_decoding_message_size(decode_max).max_encoding_message_size(encode_max))
        .add_service(election.max_decoding_message_size(decode_max).max_encoding_message_size(encode_max))
        .add_service(lease.max_decoding_message_size(decode_max).max_encoding_message_size(encode_max))
        .add_service(cluster.max_decoding_message_size(decode_max).max_encoding_message_size(encode_max))
        .add_service(maintenance.max_decoding_message_size(decode_max).max_encoding_message_size(encode_max))
        .add_service(auth.max_decoding_message_size(decode_max).max_encoding_message_size(encode_max))
        .add_service(topology.max_decoding_message_size(decode_max).max_encoding_message_size(encode_max))
        .add_service(health);
    reflection::add(routes).prepare()
}

/// The largest message that a client may send, in bytes.
pub fn message_bytes_max(limits: &Limits) -> usize {
    limits.request_bytes_max + REQUEST_OVERHEAD_BYTES
}

/// What the peer port answers: replication, work handed over by other members, and whatever HTTP is given.
pub fn peer_routes(ops: &Ops, raft: RaftService, http: axum::Router) -> Routes {
    let bytes_max = PEER_MESSAGE_BYTES_MAX;
    let raft = RaftServer::new(raft).max_decoding_message_size(bytes_max).max_encoding_message_size(bytes_max);
    let peer = PeerServer::new(peer::PeerService::new(ops.clone()));
    let peer = peer.max_decoding_message_size(bytes_max).max_encoding_message_size(bytes_max);
    with_http(Routes::new(raft).add_service(peer), http)
}

/// gRPC and plain HTTP on one port.
pub fn with_http(grpc: Routes, http: axum::Router) -> Routes {
    Routes::from(grpc.prepare().into_axum_router().merge(http).fallback(nothing_here))
}

/// What neither gRPC nor HTTP knows, said in the asker's words.
async fn nothing_here(request: axum::extract::Request) -> axum::response::Response {
    let content_type = request.headers().get(http::header::CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
    if content_type.starts_with(b"application/grpc") {
        return Status::unimplemented(format!("unknown method {}", request.uri().path())).into_http();
    }
    (http::StatusCode::NOT_FOUND, "404 page not found\n").into_response()
}
