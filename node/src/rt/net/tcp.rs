//! gRPC over TCP, as tonic does it. HTTP/1 requests are answered on the same port.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;
use tonic::Status;
use tonic::body::Body;
use tonic::transport::{Endpoint, Server};
use tower::ServiceExt;
use tower::util::MapRequestLayer;

use super::accepted::ConnectionFacts;
use super::{Channel, PeerTls, ServerTls, dial, incoming};

/// How long a TCP connection to a member may take to come up.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(1000);
/// A connection that carries nothing is probed this often, and given up after one unanswered probe.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// Flow control windows: large enough that a round trip between zones does not hold a stream up.
const STREAM_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 16 * 1024 * 1024;
/// Calls of one connection that were given up before the server looked at them; with more, the connection ends. After
/// a link was slow, or a process was paused, all calls whose time ran out meanwhile arrive at once, each with its end.
/// The library's own bound of 20 cuts the connection then, with whatever else is under way on it.
const GIVEN_UP_UNSEEN_MAX: usize = 1024;

/// A channel to the member at `url`. It connects when first used, and again whenever the connection was lost.
pub fn connect(url: &str, tls: &PeerTls) -> Result<Channel, Status> {
    let endpoint = Endpoint::from_shared(url.to_owned())
        .map_err(|error| Status::invalid_argument(format!("{url}: {error}")))?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true);
    let channel = match endpoint.uri().scheme_str() {
        Some("https") => endpoint.connect_with_connector_lazy(dial::connector(endpoint.uri(), tls)?),
        _ => endpoint.connect_lazy(),
    };
    Ok(Channel::new(channel.map_err(|error| Status::from_error(error.into()))))
}

/// A port that is ours, not yet served.
#[derive(Debug)]
pub struct BoundListener {
    listener: TcpListener,
    tls: Option<ServerTls>,
}

impl BoundListener {
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// Takes the port at `address`. Whoever connects is asked for TLS, if there is any.
pub async fn bind(address: SocketAddr, tls: Option<ServerTls>) -> io::Result<BoundListener> {
    Ok(BoundListener { listener: TcpListener::bind(address).await?, tls })
}

/// Serves until `stop` resolves, then lets the requests under way finish. A connection has at most `streams_max` of
/// them at once.
pub async fn serve(
    bound: BoundListener,
    routes: tonic::service::Routes,
    streams_max: Option<u32>,
    stop: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let incoming = incoming::incoming(bound.listener, bound.tls);
    Server::builder()
        .layer(MapRequestLayer::new(|mut request: http::Request<Body>| {
            ConnectionFacts::spread(request.extensions_mut());
            request
        }))
        .accept_http1(true)
        .max_concurrent_streams(streams_max)
        .http2_max_pending_accept_reset_streams(Some(GIVEN_UP_UNSEEN_MAX))
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .add_routes(routes)
        .serve_with_incoming_shutdown(incoming, stop)
        .await
        .map_err(io::Error::other)
}
