//! gRPC over madsim's network: one simulated connection for each call, carrying HTTP head, data and trailers.
//!
//! As with HTTP/2 streams, calls do not hold one another up, dropping a response body resets the call, and a partition
//! does not close anything: whoever waits needs a deadline.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use http_body_util::{BodyExt, StreamBody};
use madsim::net::{Endpoint, Receiver, Sender};
use rand::RngExt;
use tonic::Status;
use tonic::body::Body;

use super::{Channel, PeerTls, ServerTls};
use crate::rt;

/// What travels on a simulated connection.
enum Frame {
    RequestHead(http::uri::PathAndQuery, http::HeaderMap),
    ResponseHead(http::HeaderMap),
    Data(Bytes),
    Trailers(http::HeaderMap),
    End,
}

fn unavailable(error: io::Error) -> Status {
    Status::unavailable(error.to_string())
}

async fn receive(receiver: &mut Receiver) -> Result<Frame, Status> {
    let payload = receiver.recv().await.map_err(unavailable)?;
    payload.downcast::<Frame>().map(|frame| *frame).map_err(|_| Status::internal("not one of our frames"))
}

/// Sends a body, frame by frame.
async fn send_body(mut body: Body, sender: Arc<Sender>) {
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return };
        let frame = match frame.into_data() {
            Ok(data) => Frame::Data(data),
            Err(frame) => Frame::Trailers(frame.into_trailers().unwrap_or_default()),
        };
        if sender.send(Box::new(frame)).await.is_err() {
            return;
        }
    }
    // A peer that is gone needs no end mark.
    let _gone = sender.send(Box::new(Frame::End)).await;
}

/// A body out of the frames that arrive. `keep` lives as long as the body: dropping the body resets the call.
fn receive_body<K: Send + 'static>(mut receiver: Receiver, keep: K) -> Body {
    let frames = async_stream::stream! {
        let _keep = keep;
        loop {
            match receive(&mut receiver).await {
                Ok(Frame::Data(data)) => yield Ok(http_body::Frame::data(data)),
                Ok(Frame::Trailers(trailers)) => yield Ok(http_body::Frame::trailers(trailers)),
                Ok(Frame::End) => break,
                Ok(_) => {
                    yield Err(Status::internal("a head inside a body"));
                    break;
                }
                Err(status) => {
                    yield Err(status);
                    break;
                }
            }
        }
    };
    Body::new(StreamBody::new(frames))
}

#[derive(Clone)]
struct Link {
    address: SocketAddr,
}

impl Link {
    async fn call(self, request: http::Request<Body>) -> Result<http::Response<Body>, Status> {
        let (parts, body) = request.into_parts();
        let endpoint = Endpoint::connect(self.address).await.map_err(unavailable)?;
        let (sender, mut receiver) = match endpoint.connect1(self.address).await {
            Ok(connection) => connection,
            Err(error) => {
                // madsim refuses at once under a partition. A real packet may as well be swallowed: do both.
                if rt::rng().random_bool(0.5) {
                    futures::future::pending::<()>().await;
                }
                return Err(unavailable(error));
            }
        };
        let sender = Arc::new(sender);
        let path = parts.uri.path_and_query().cloned().ok_or_else(|| Status::internal("a request without a path"))?;
        sender.send(Box::new(Frame::RequestHead(path, parts.headers))).await.map_err(unavailable)?;
        let upload = madsim::task::spawn(send_body(body, Arc::clone(&sender))).cancel_on_drop();
        let Frame::ResponseHead(headers) = receive(&mut receiver).await? else {
            return Err(Status::internal("a response without a head"));
        };
        let mut response = http::Response::new(receive_body(receiver, (sender, upload, endpoint)));
        *response.headers_mut() = headers;
        Ok(response)
    }
}

impl tower_service::Service<http::Request<Body>> for Link {
    type Response = http::Response<Body>;
    type Error = Status;
    type Future = BoxFuture<'static, Result<http::Response<Body>, Status>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(self.clone().call(request))
    }
}

/// A channel to the member at `url`. Simulated links are plain: TLS changes nothing of what a cluster does.
pub fn connect(url: &str, _tls: &PeerTls) -> Result<Channel, Status> {
    let authority = url.split("://").nth(1).unwrap_or(url);
    let address = authority
        .parse()
        .map_err(|error| Status::invalid_argument(format!("{url}: not a simulated address: {error}")))?;
    Ok(Channel::new(Link { address }))
}

/// A port that is ours, not yet served.
pub struct BoundListener {
    endpoint: Endpoint,
}

impl BoundListener {
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.endpoint.local_addr()
    }
}

/// Takes the port at `address`.
pub async fn bind(address: SocketAddr, _tls: Option<ServerTls>) -> io::Result<BoundListener> {
    Ok(BoundListener { endpoint: Endpoint::bind(address).await? })
}

async fn answer(mut routes: tonic::service::Routes, sender: Sender, mut receiver: Receiver) {
    let Ok(Frame::RequestHead(path, headers)) = receive(&mut receiver).await else { return };
    let mut request = http::Request::new(receive_body(receiver, ()));
    *request.method_mut() = http::Method::POST;
    *request.headers_mut() = headers;
    *request.uri_mut() = http::Uri::from(path);
    let sender = Arc::new(sender);
    let hung_up = Arc::clone(&sender);
    let work = async move {
        let Ok(response) = tower_service::Service::call(&mut routes, request).await;
        let (parts, body) = response.into_parts();
        if sender.send(Box::new(Frame::ResponseHead(parts.headers))).await.is_err() {
            return;
        }
        send_body(body, Arc::clone(&sender)).await;
        // The stream stays open until the peer has read it to its end.
        sender.closed().await;
    };
    futures::select_biased! {
        () = hung_up.closed().fuse() => {}
        () = Box::pin(work).fuse() => {}
    }
}

/// Serves until `stop` resolves.
pub async fn serve(
    bound: BoundListener,
    routes: tonic::service::Routes,
    stop: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let accept = async {
        loop {
            let (sender, receiver, _peer) = bound.endpoint.accept1().await?;
            rt::spawn(answer(routes.clone(), sender, receiver));
        }
    };
    futures::select_biased! {
        () = stop.fuse() => Ok(()),
        result = Box::pin(accept).fuse() => result,
    }
}
