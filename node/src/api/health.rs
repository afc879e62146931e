//! gRPC's health protocol: whether clients can be sent to this member.
//!
//! It is, while it knows of a leader and its log is whole. The answer is the same for the server as a whole and for
//! each service by name. Defragmentation goes on beside requests, so it takes nobody out of service; neither does a
//! full disk or quota, as reads and deletes go on.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use holdfast_proto::health::health_check_response::ServingStatus;
use holdfast_proto::health::health_server::Health;
use holdfast_proto::health::{HealthCheckRequest, HealthCheckResponse};
use tonic::{Request, Response, Status};

use super::gate::{Asks, Gate, Rpc};
use super::{Options, reflection, status, stop};
use crate::metrics::RpcKind::{ServerStream, Unary};
use crate::ops::{NodeState, Ops};
use crate::rt;

const SERVICE: &str = "grpc.health.v1.Health";
/// How often a watcher's status is looked up again when replication has nothing new to say.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

pub struct HealthService {
    gate: Gate,
    /// What can be asked for by name.
    services: Arc<BTreeSet<String>>,
    stopping: rt::watch::Receiver<bool>,
    check: Rpc,
    watch: Rpc,
}

impl HealthService {
    pub fn new(gate: &Gate, options: &Options) -> Self {
        Self {
            gate: gate.clone(),
            services: Arc::new(reflection::service_names()),
            stopping: options.stopping.clone(),
            check: gate.rpc(Unary, SERVICE, "Check").asks(Asks::Nothing).also_at_learners(),
            watch: gate.rpc(ServerStream, SERVICE, "Watch").asks(Asks::Nothing).also_at_learners(),
        }
    }

    fn knows(&self, service: &str) -> bool {
        service.is_empty() || self.services.contains(service)
    }
}

/// What this member says of itself now.
fn serving(ops: &Ops) -> ServingStatus {
    let is_whole = match ops.node_state() {
        NodeState::Ok | NodeState::ReadOnlySpace => true,
        NodeState::RepairingLog { .. } | NodeState::StalledDisk => false,
    };
    if is_whole && ops.replica().leader_in_touch().is_some() {
        ServingStatus::Serving
    } else {
        ServingStatus::NotServing
    }
}

fn saying(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

#[tonic::async_trait]
impl Health for HealthService {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        let answer = |asked: HealthCheckRequest, _call| async move {
            if !self.knows(&asked.service) {
                return Err(status::unknown_service());
            }
            Ok(saying(serving(self.gate.ops())))
        };
        self.check.unary(request, answer).await
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let (ticket, _asks_nothing) = self.watch.open(&request).await?;
        let is_known = self.knows(&request.get_ref().service);
        let ops = self.gate.ops().clone();
        let mut stopping = self.stopping.clone();
        let answers = async_stream::stream! {
            let mut standing = ops.replica().watch_standing();
            let mut said = None;
            let failed = loop {
                // The protocol's wish: who asks for a service too early is not sent away, but told when it is there.
                let now = if is_known { serving(&ops) } else { ServingStatus::ServiceUnknown };
                if said.replace(now) != Some(now) {
                    yield Ok(saying(now));
                }
                tokio::select! {
                    biased;
                    () = stop::requested(&mut stopping) => break status::stopped(),
                    changed = ops.replica().changed(&mut standing) => {
                        if changed.is_err() {
                            break status::stopped();
                        }
                    }
                    () = rt::sleep(LOOK_INTERVAL) => {}
                }
            };
            ticket.finish(Some(&failed));
            yield Err(failed);
        };
        Ok(Response::new(Box::pin(answers)))
    }
}
