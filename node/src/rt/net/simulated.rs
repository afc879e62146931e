//! gRPC over madsim's network: one simulated connection for each call, carrying HTTP head, data and trailers.
//!
//! As with HTTP/2 streams, calls do not hold one another up, dropping a response body resets the call, and a partition
//! does not close anything: whoever waits needs a deadline.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use http_body_util::{BodyExt, StreamBody};
use madsim::net::{Endpoint, Receiver, Sender};
use rand::RngExt;
use tonic::Status;
use tonic::body::Body;

use super::weather::{self, Weather};
use super::{Channel, PeerTls, ServerTls};
use crate::rt;

/// How long a second copy of a call waits for its answer.
const COPY_PATIENCE: Duration = Duration::from_secs(5);

/// What travels on a simulated connection.
enum Frame {
    RequestHead { path: http::uri::PathAndQuery, headers: http::HeaderMap, exposure: Exposure },
    ResponseHead(http::HeaderMap),
    Data(Bytes),
    Trailers(http::HeaderMap),
    End,
}

/// Whether a call is between nodes, where the weather may be rough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exposure {
    Sheltered,
    Exposed,
}

/// A frame on its way, and the world's time before which it does not arrive.
struct Parcel {
    frame: Frame,
    due: Duration,
}

fn unavailable(error: io::Error) -> Status {
    Status::unavailable(error.to_string())
}

/// Sends a frame through the weather. What never arrives leaves the connection open and silent.
async fn send(sender: &Sender, frame: Frame, weather: Option<Weather>) -> io::Result<()> {
    let due = match weather.map(|weather| weather.late()) {
        None => Duration::ZERO,
        Some(Some(late)) => weather::world_time() + late,
        Some(None) => {
            futures::future::pending::<()>().await;
            Duration::MAX
        }
    };
    sender.send(Box::new(Parcel { frame, due })).await
}

async fn receive(receiver: &mut Receiver) -> Result<Frame, Status> {
    let payload = receiver.recv().await.map_err(unavailable)?;
    let parcel = payload.downcast::<Parcel>().map_err(|_| Status::internal("not one of our frames"))?;
    let early = parcel.due.saturating_sub(weather::world_time());
    if !early.is_zero() {
        madsim::time::sleep(early).await;
    }
    Ok(parcel.frame)
}

/// Sends a body, frame by frame.
async fn send_body(mut body: Body, sender: Arc<Sender>, weather: Option<Weather>) {
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return };
        let frame = match frame.into_data() {
            Ok(data) => Frame::Data(data),
            Err(frame) => Frame::Trailers(frame.into_trailers().unwrap_or_default()),
        };
        if send(&sender, frame, weather).await.is_err() {
            return;
        }
    }
    // A peer that is gone needs no end mark.
    let _gone = send(&sender, Frame::End, weather).await;
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
                Ok(Frame::RequestHead { .. } | Frame::ResponseHead(_)) => {
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
        let weather = weather::of_caller();
        let Some(rough) = weather else { return self.call_once(request, weather).await };
        rt::sleep(rough.hold()).await;
        let Some(late) = rough.copy(request.uri().path()) else { return self.call_once(request, weather).await };
        let (parts, body) = request.into_parts();
        let bytes = body.collect().await?.to_bytes();
        let request = || http::Request::from_parts(parts.clone(), Body::new(http_body_util::Full::new(bytes.clone())));
        let (copy, link) = (request(), self.clone());
        rt::spawn(async move {
            rt::sleep(late).await;
            // Whoever sent it has its answer from the first one.
            let _unheard = rt::timeout(COPY_PATIENCE, link.call_once(copy, weather)).await;
        });
        self.call_once(request(), weather).await
    }

    async fn call_once(
        self,
        request: http::Request<Body>,
        weather: Option<Weather>,
    ) -> Result<http::Response<Body>, Status> {
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
        let exposure = if weather.is_some() { Exposure::Exposed } else { Exposure::Sheltered };
        let head = Frame::RequestHead { path, headers: parts.headers, exposure };
        send(&sender, head, weather).await.map_err(unavailable)?;
        let upload = madsim::task::spawn(send_body(body, Arc::clone(&sender), weather)).cancel_on_drop();
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
    let Ok(Frame::RequestHead { path, headers, exposure }) = receive(&mut receiver).await else { return };
    let weather = if exposure == Exposure::Exposed { weather::of_answer() } else { None };
    let mut request = http::Request::new(receive_body(receiver, ()));
    *request.method_mut() = http::Method::POST;
    *request.headers_mut() = headers;
    *request.uri_mut() = http::Uri::from(path);
    let sender = Arc::new(sender);
    let hung_up = Arc::clone(&sender);
    let work = async move {
        let Ok(response) = tower_service::Service::call(&mut routes, request).await;
        let (parts, body) = response.into_parts();
        if send(&sender, Frame::ResponseHead(parts.headers), weather).await.is_err() {
            return;
        }
        send_body(body, Arc::clone(&sender), weather).await;
        // The stream stays open until the peer has read it to its end.
        sender.closed().await;
    };
    futures::select_biased! {
        () = hung_up.closed().fuse() => {}
        () = Box::pin(work).fuse() => {}
    }
}

/// Serves until `stop` resolves. Here every call has a connection of its own.
pub async fn serve(
    bound: BoundListener,
    routes: tonic::service::Routes,
    _streams_max: Option<u32>,
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
