//! What the client ports answer before the node is open: it lives, and it is not ready.
//!
//! A founder may wait for the others for long, and a large log takes a while to be read. Probes must not time out over
//! that, and a load balancer must hear that this is not the member to send clients to. Whoever comes with anything else
//! is a little early, and waits a little, as at a port that nobody serves yet.

use std::pin::Pin;
use std::time::Duration;

use axum::extract::{Request as HttpRequest, State};
use axum::response::{IntoResponse, Response as HttpResponse};
use futures::Stream;
use holdfast_proto::health::health_check_response::ServingStatus;
use holdfast_proto::health::health_server::{Health, HealthServer};
use holdfast_proto::health::{HealthCheckRequest, HealthCheckResponse};
use tonic::service::Routes;
use tonic::{Request, Response, Status};
use tower::ServiceExt as _;

use super::front::{Front, STARTING, not_yet, refused};
use crate::admin;
use crate::rt;
use crate::rt::watch::{WatchReceiver as _, WatchSender as _};

/// How long a request may wait for the node to be open.
const EARLY_MAX: Duration = Duration::from_secs(5);

/// What the node will answer with; nothing before it is open.
type Opened = Option<axum::Router>;

/// The client ports and the metrics ports, served once and for all: a connection that was made early is good later.
pub struct Unready {
    clients: Front,
    metrics: Front,
    opened: rt::watch::Sender<Opened>,
}

impl Unready {
    pub fn new() -> Self {
        let (opened, seen) = rt::watch::channel(None);
        let health = HealthServer::new(UnreadyHealth { opened: seen.clone() });
        let early = axum::Router::new().fallback(wait_for_the_node).with_state(seen);
        let probes = admin::unready_routes(STARTING);
        let client = Routes::new(health).prepare().into_axum_router().merge(probes.clone()).fallback_service(early);
        Self { clients: Front::with(client), metrics: Front::with(probes.fallback(not_yet)), opened }
    }

    pub fn client_routes(&self) -> Routes {
        self.clients.routes()
    }

    pub fn metrics_routes(&self) -> Routes {
        self.metrics.routes()
    }

    /// From now on the node answers, also those who wait.
    pub fn open(self, client: Routes, metrics: axum::Router) {
        let client = client.prepare().into_axum_router();
        self.clients.replace(client.clone());
        self.metrics.replace(metrics);
        // Perhaps nobody came.
        let _nobody_waits = self.opened.send(Some(client));
    }
}

async fn wait_for_the_node(State(opened): State<rt::watch::Receiver<Opened>>, request: HttpRequest) -> HttpResponse {
    match rt::timeout(EARLY_MAX, open(opened)).await {
        Ok(Some(routes)) => routes.oneshot(request).await.into_response(),
        // It takes longer, or it failed to start.
        Ok(None) | Err(_) => not_yet(request).await,
    }
}

/// Resolves when the node is open; to nothing if it will never be.
async fn open(mut opened: rt::watch::Receiver<Opened>) -> Opened {
    loop {
        let routes = opened.borrow_and_update().clone();
        if routes.is_some() || opened.changed().await.is_err() {
            return routes;
        }
    }
}

struct UnreadyHealth {
    opened: rt::watch::Receiver<Opened>,
}

fn not_serving() -> HealthCheckResponse {
    HealthCheckResponse { status: ServingStatus::NotServing.into() }
}

#[tonic::async_trait]
impl Health for UnreadyHealth {
    async fn check(&self, _: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        Ok(Response::new(not_serving()))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    /// Whoever watches asks again when this ends, and is answered by the node.
    async fn watch(&self, _: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let opened = self.opened.clone();
        let answers = async_stream::stream! {
            yield Ok(not_serving());
            let _now_or_never = open(opened).await;
            yield Err(refused());
        };
        Ok(Response::new(Box::pin(answers)))
    }
}
