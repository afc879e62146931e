//! Connections: how a gRPC client reaches a server, and how a server is reached.
//!
//! tonic's generated clients and servers, prost's encoding, metadata, trailers and streams are the same in both
//! worlds. Only the carrier differs: TCP with HTTP/2, or HTTP frames on a simulated link.

use tonic::Status;
use tonic::body::Body;

/// What a gRPC client talks through.
pub type Channel = tower::util::BoxCloneSyncService<http::Request<Body>, http::Response<Body>, Status>;

/// Who is at the other end of a connection, as its verified certificate says. Every request of such a connection
/// carries it in its extensions; without TLS, or without a certificate, there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The subject's common name; empty if the certificate has none.
    pub common_name: String,
}

mod tls;
pub use tls::{PeerTls, ServerTerms, ServerTls};

#[cfg(not(madsim))]
mod accepted;
#[cfg(not(madsim))]
mod authority;
#[cfg(not(madsim))]
mod dial;
#[cfg(not(madsim))]
mod greeted;
#[cfg(not(madsim))]
mod hpack;
#[cfg(not(madsim))]
mod incoming;
#[cfg(not(madsim))]
mod tcp;
#[cfg(not(madsim))]
mod wire;
#[cfg(not(madsim))]
pub use tcp::{BoundListener, bind, connect, serve};

#[cfg(all(test, not(madsim)))]
mod tests;

#[cfg(madsim)]
mod simulated;
#[cfg(madsim)]
mod weather;
#[cfg(madsim)]
pub use simulated::{BoundListener, bind, connect, serve};
#[cfg(madsim)]
pub use weather::{Weather, set_weather};
