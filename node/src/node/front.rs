//! What a node answers on its ports before it is open: a founder that waits for the others says who it is, and that it
//! has taken part in nothing yet; everything else is refused until the node has started.

use std::sync::Arc;

use axum::extract::Request as HttpRequest;
use axum::response::{IntoResponse, Response as HttpResponse};
use holdfast_proto::peer;
use holdfast_proto::peer::peer_server::{Peer, PeerServer};
use parking_lot::RwLock;
use tonic::service::Routes;
use tonic::{Request, Response, Status};
use tower::ServiceExt as _;

use super::identity::Identity;
use crate::raft::{Founding, Incarnation};
use crate::rt;
use crate::types::MemberId;

/// A founder waits for the others, or the node is being opened; its log says which.
pub const STARTING: &str = "etcdserver: no leader: this member has not started yet, its log says what it waits for";

/// Routes that are exchanged for others while they are served. Clones share them.
#[derive(Clone)]
pub struct Front {
    routes: Arc<RwLock<axum::Router>>,
}

impl Front {
    /// Refuses everything.
    pub fn closed() -> Self {
        Self::with(axum::Router::new().fallback(not_yet))
    }

    pub fn with(routes: axum::Router) -> Self {
        Self { routes: Arc::new(RwLock::new(routes)) }
    }

    /// From now on these answer.
    pub fn open(&self, routes: Routes) {
        self.replace(routes.prepare().into_axum_router());
    }

    pub fn replace(&self, routes: axum::Router) {
        *self.routes.write() = routes;
    }

    /// What the server is given, once and for all.
    pub fn routes(&self) -> Routes {
        let front = self.clone();
        let answer = move |request: HttpRequest| {
            let routes = front.routes.read().clone();
            async move {
                match routes.oneshot(request).await {
                    Ok(response) => response,
                    Err(never) => match never {},
                }
            }
        };
        Routes::from(axum::Router::new().fallback(answer))
    }
}

/// For the peer port of a founder that waits.
pub fn waiting_peer(founding: Arc<Founding>, identity: &Identity) -> axum::Router {
    let peer = PeerServer::new(WaitingPeer { founding, identity: identity.clone() });
    Routes::new(peer).prepare().into_axum_router().fallback(not_yet)
}

/// A refusal in the asker's words.
pub async fn not_yet(request: HttpRequest) -> HttpResponse {
    let content_type = request.headers().get(http::header::CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
    if content_type.starts_with(b"application/grpc") {
        return refused().into_http();
    }
    (http::StatusCode::SERVICE_UNAVAILABLE, format!("{STARTING}\n")).into_response()
}

pub fn refused() -> Status {
    Status::unavailable(STARTING)
}

/// Answers the one question that a founder can answer before it has started.
struct WaitingPeer {
    founding: Arc<Founding>,
    identity: Identity,
}

#[tonic::async_trait]
impl Peer for WaitingPeer {
    async fn hello(&self, request: Request<peer::HelloRequest>) -> Result<Response<peer::HelloResponse>, Status> {
        let asks = request.into_inner();
        let founding = Arc::clone(&self.founding);
        let heard = rt::blocking(move || founding.hear(MemberId(asks.founder), Incarnation(asks.incarnation)))
            .await
            .and_then(|heard| heard)
            .map_err(|error| Status::unavailable(format!("this member cannot write what it hears: {error}")))?;
        Ok(Response::new(peer::HelloResponse {
            cluster_id: self.identity.cluster.0,
            member_id: self.identity.member.0,
            state: "founding".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            untouched: heard.is_untouched,
            heard_incarnation: heard.incarnation.0,
            ..Default::default()
        }))
    }

    async fn propose(&self, _: Request<peer::ProposeRequest>) -> Result<Response<peer::ProposeResponse>, Status> {
        Err(refused())
    }

    async fn read_index(
        &self,
        _: Request<peer::ReadIndexRequest>,
    ) -> Result<Response<peer::ReadIndexResponse>, Status> {
        Err(refused())
    }

    async fn lease_renew(
        &self,
        _: Request<peer::LeaseRenewRequest>,
    ) -> Result<Response<peer::LeaseRenewResponse>, Status> {
        Err(refused())
    }

    async fn lease_remaining(
        &self,
        _: Request<peer::LeaseRemainingRequest>,
    ) -> Result<Response<peer::LeaseRemainingResponse>, Status> {
        Err(refused())
    }

    async fn change_members(
        &self,
        _: Request<peer::ChangeMembersRequest>,
    ) -> Result<Response<peer::ChangeMembersResponse>, Status> {
        Err(refused())
    }
}
