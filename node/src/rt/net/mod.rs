//! Connections: how a gRPC client reaches a server, and how a server is reached.
//!
//! tonic's generated clients and servers, prost's encoding, metadata, trailers and streams are the same in both
//! worlds. Only the carrier differs: TCP with HTTP/2, or HTTP frames on a simulated link.

use tonic::Status;
use tonic::body::Body;

/// What a gRPC client talks through.
pub type Channel = tower::util::BoxCloneSyncService<http::Request<Body>, http::Response<Body>, Status>;

#[cfg(not(madsim))]
mod accepted;
#[cfg(not(madsim))]
mod authority;
#[cfg(not(madsim))]
mod hpack;
#[cfg(not(madsim))]
mod tcp;
#[cfg(not(madsim))]
pub use tcp::{BoundListener, bind, connect, serve};

#[cfg(madsim)]
mod simulated;
#[cfg(madsim)]
pub use simulated::{BoundListener, bind, connect, serve};
