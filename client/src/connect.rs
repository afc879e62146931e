//! How a connection comes about: a [`Connector`] turns an address into a [`Channel`].
//!
//! The seam is here, below gRPC and above the network, so that a test or a simulator brings its own transport while
//! real protobuf encoding, statuses, metadata and streams stay in place.

use futures::future::BoxFuture;
use tonic::{Code, Status};
use tower::ServiceExt;

use crate::{Options, dial};

/// Flow control windows. A watch that nobody reads may fill its own window; the connection's has to be much larger,
/// or a few such watches would stop every other request on it.
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 128 * 1024 * 1024;

/// Anything that carries HTTP requests to one endpoint. One type for every transport.
pub type Channel = tower::util::BoxCloneSyncService<
    http::Request<tonic::body::Body>,
    http::Response<tonic::body::Body>,
    tonic::Status,
>;

/// The text that says for certain that a request never left this machine. It is etcd's, and clients of etcd match
/// on it too; a server never sends it.
pub const NO_CONNECTION: &str = "there is no connection available";

/// Makes connections.
///
/// `connect` fails, or gives a channel that is connected. A channel whose connection has gone may come back to life
/// by itself, but is usually dropped and replaced by another call of `connect`. For a request that certainly never
/// left, the channel's error should be [`not_connected`], so that even a write is tried elsewhere.
pub trait Connector: Send + Sync + 'static {
    /// Connects to `address`, as it was given to the client or announced by a member (`http://host:port` or
    /// `host:port`).
    fn connect(&self, address: &str) -> BoxFuture<'static, Result<Channel, Status>>;
}

/// The status of a request that never left.
#[must_use]
pub fn not_connected(reason: impl std::fmt::Display) -> Status {
    Status::new(Code::Unavailable, format!("{NO_CONNECTION}: {reason}"))
}

/// What [`out_of_time`] says behind [`NO_CONNECTION`].
const OUT_OF_TIME: &str = ": no time left to reach ";

/// The status of a request whose deadline passed before there was a connection.
pub(crate) fn out_of_time(address: &str) -> Status {
    Status::new(Code::Unavailable, format!("{NO_CONNECTION}{OUT_OF_TIME}{address}"))
}

pub(crate) fn is_out_of_time(status: &Status) -> bool {
    status.message().strip_prefix(NO_CONNECTION).is_some_and(|reason| reason.starts_with(OUT_OF_TIME))
}

/// The real thing: HTTP/2 over TCP, inside TLS where the address says `https`.
#[derive(Clone, Debug)]
pub struct TcpConnector {
    options: Options,
}

impl TcpConnector {
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self { options }
    }
}

impl Connector for TcpConnector {
    fn connect(&self, address: &str) -> BoxFuture<'static, Result<Channel, Status>> {
        let options = self.options.clone();
        let url = if options.tls.is_some() { secure_url_of(address) } else { url_of(address) };
        Box::pin(async move {
            let endpoint = tonic::transport::Endpoint::from_shared(url)
                .map_err(|error| not_connected(describe(&error)))?
                .connect_timeout(options.connect_timeout)
                .tcp_nodelay(true)
                .initial_stream_window_size(STREAM_WINDOW_BYTES)
                .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
                .http2_keep_alive_interval(options.keep_alive_interval)
                .keep_alive_timeout(options.keep_alive_timeout)
                .keep_alive_while_idle(true);
            let connected = match endpoint.uri().scheme_str() {
                Some("https") => {
                    let tls = options.tls.unwrap_or_default();
                    endpoint.connect_with_connector(tower::service_fn(move |uri| dial::connect(uri, tls.clone()))).await
                }
                _ => endpoint.connect().await,
            };
            let channel = connected.map_err(|error| not_connected(describe(&error)))?;
            Ok(Channel::new(channel.map_err(status_of)))
        })
    }
}

/// An address as a URL: etcd's tools take `host:port` for one.
#[must_use]
pub(crate) fn url_of(address: &str) -> String {
    if address.contains("://") { address.to_owned() } else { format!("http://{address}") }
}

/// The same for a client that was told how to speak TLS.
fn secure_url_of(address: &str) -> String {
    if address.contains("://") { address.to_owned() } else { format!("https://{address}") }
}

/// tonic's channel reconnects by itself; where that fails, the request was never sent, and the error says so
/// somewhere in its chain of causes.
fn status_of(error: tonic::transport::Error) -> Status {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(inner) = cause {
        if inner.is::<tonic::ConnectError>() {
            return not_connected(describe(&error));
        }
        cause = inner.source();
    }
    Status::from_error(Box::new(error))
}

/// An error with its causes: tonic's outermost text is only "transport error".
fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let words = inner.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = inner.source();
    }
    text
}
