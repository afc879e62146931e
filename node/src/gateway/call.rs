//! The call behind a request: the message goes, inside the process, through the very routes that serve gRPC. So
//! whatever every call must pass (gate, limits, deadlines, counters) a request over HTTP passes too.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use http::request::Parts;
use http::{HeaderMap, header};
use prost::Message;
use prost_reflect::{DynamicMessage, MessageDescriptor};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder, Streaming};
use tonic::metadata::{AsciiMetadataKey, AsciiMetadataValue, MetadataMap};
use tonic::service::Routes;
use tonic::{Code, Request, Status};

use super::inbound::{Bounds, Messages, single};
use super::json;
use super::methods::{Contract, Shape};
use super::refusal::Refusal;
use crate::api::FromGateway;
use crate::api::parse_timeout;
use crate::ops::Deadline;
use crate::rt;

/// A header with this prefix is metadata of the call.
const METADATA_PREFIX: &str = "grpc-metadata-";
/// How long the client waits, in gRPC's spelling.
const TIMEOUT: &str = "grpc-timeout";
/// Beyond what clocks can add up lies no deadline.
const TIMEOUT_MAX: Duration = Duration::from_secs(365 * 24 * 3600);
/// Where the services look for a client's token.
const TOKEN: &str = "token";
const BEARER: &[u8] = b"bearer ";

/// How many calls may be under way at once. etcd's JSON shares one connection to its gRPC, and with that the bound on
/// the streams of a connection.
#[derive(Clone)]
pub struct Places(Option<Arc<Semaphore>>);

/// Given back when the last byte of the answer is gone, or its reader.
type Place = Option<OwnedSemaphorePermit>;

impl Places {
    pub fn new(streams_max: Option<u32>) -> Self {
        let places = |max: u32| usize::try_from(max).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Self(streams_max.map(|max| Arc::new(Semaphore::new(places(max)))))
    }

    /// Waits for a place, as long as the client waits: when it goes, so does this.
    async fn take(self) -> Result<Place, Refusal> {
        match self.0 {
            None => Ok(None),
            Some(places) => match places.acquire_owned().await {
                Ok(place) => Ok(Some(place)),
                Err(closed) => Err(Refusal::new(Code::Unavailable, format!("holdfast: {closed}"))),
            },
        }
    }
}

/// Answers one request.
pub async fn answer(
    grpc: Routes,
    contract: &Contract,
    bounds: Bounds,
    places: Places,
    request: http::Request<Body>,
) -> Response {
    let (parts, body) = request.into_parts();
    match ask(grpc, contract, bounds, places, parts, body).await {
        Ok(response) => response,
        Err(Failed::Single(refusal)) => refusal.into_answer(),
        Err(Failed::Stream(refusal)) => {
            let status = refusal.http_status();
            (status, [(header::CONTENT_TYPE, "application/json")], refusal.into_line()).into_response()
        }
    }
}

/// In which form a failure is said.
enum Failed {
    /// As the answer to a single request: also whatever goes wrong before there is a stream.
    Single(Refusal),
    Stream(Refusal),
}

impl<T: Into<Refusal>> From<T> for Failed {
    fn from(refusal: T) -> Self {
        Failed::Single(refusal.into())
    }
}

async fn ask(
    grpc: Routes,
    contract: &Contract,
    bounds: Bounds,
    places: Places,
    parts: Parts,
    body: Body,
) -> Result<Response, Failed> {
    let metadata = metadata(&parts.headers)?;
    let patience = Patience::of(&metadata);
    let place = patience.for_work(places.take()).await?;
    // Who is at the other end of the connection, and what the connection proved of it.
    let mut extensions = parts.extensions;
    extensions.insert(FromGateway);
    let mut client = tonic::client::Grpc::new(grpc).max_decoding_message_size(usize::MAX);
    let codec = MessageCodec { output: contract.output.clone() };
    let path = contract.path.clone();
    // The routes of this process are always ready.
    match contract.shape {
        Shape::Unary => {
            let message = patience.for_work(single(body, &contract.input, bounds)).await?;
            let call = client.unary(Request::from_parts(metadata, extensions, message), path, codec);
            let answer = patience.for_work(call).await?.into_inner();
            let mut text = Vec::new();
            json::write(&answer, &mut text).map_err(unwritable)?;
            Ok(([(header::CONTENT_TYPE, "application/json")], text).into_response())
        }
        Shape::ServerStream => {
            let message = patience.for_work(single(body, &contract.input, bounds)).await?;
            let call = client.server_streaming(Request::from_parts(metadata, extensions, message), path, codec);
            stream(patience.for_work(call).await.map_err(Failed::Stream)?.into_inner(), patience, place).await
        }
        Shape::BidiStream => {
            let mut messages = Messages::new(body, contract.input.clone(), bounds);
            let first = patience.for_work(messages.next()).await?;
            let messages = messages.after(first);
            let call = client.streaming(Request::from_parts(metadata, extensions, messages), path, codec);
            stream(patience.for_work(call).await.map_err(Failed::Stream)?.into_inner(), patience, place).await
        }
    }
}

/// How long the client waits, if it says so. A tenth less: the transport below minds the same header, and would say
/// that time is up in gRPC's form, which a client of JSON takes for an empty answer.
#[derive(Clone, Copy)]
struct Patience(Option<Deadline>);

impl Patience {
    fn of(metadata: &MetadataMap) -> Self {
        let timeout = metadata.get(TIMEOUT).and_then(|value| parse_timeout(value.as_encoded_bytes()));
        Self(timeout.map(|timeout| Deadline::after(timeout.min(TIMEOUT_MAX) * 9 / 10)))
    }

    async fn for_work<T, E: Into<Refusal>>(self, work: impl Future<Output = Result<T, E>>) -> Result<T, Refusal> {
        let Some(deadline) = self.0 else { return work.await.map_err(E::into) };
        match rt::timeout(deadline.left(), work).await {
            Ok(done) => done.map_err(E::into),
            // In Go's words, as etcd's.
            Err(_elapsed) => Err(Refusal::new(Code::DeadlineExceeded, "context deadline exceeded")),
        }
    }
}

fn unwritable(error: serde_json::Error) -> Refusal {
    Refusal::new(Code::Internal, format!("holdfast: the answer cannot be written as JSON: {error}"))
}

/// Lines, made as they are read. The HTTP status waits for the first, which may be a refusal.
async fn stream(mut answers: Streaming<DynamicMessage>, patience: Patience, place: Place) -> Result<Response, Failed> {
    let first = patience.for_work(answers.message()).await.map_err(Failed::Stream)?;
    let body = Body::from_stream(lines(first, answers, patience, place).map(Ok::<_, std::convert::Infallible>));
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

fn lines(
    first: Option<DynamicMessage>,
    mut answers: Streaming<DynamicMessage>,
    patience: Patience,
    place: Place,
) -> impl Stream<Item = Bytes> + Send + 'static {
    async_stream::stream! {
        let _place = place;
        let mut next = Ok(first);
        loop {
            match next.and_then(|answer| answer.map(|answer| line(&answer)).transpose()) {
                Ok(Some(line)) => yield line,
                Ok(None) => return,
                Err(refusal) => {
                    yield Bytes::from(refusal.into_line());
                    return;
                }
            }
            next = patience.for_work(answers.message()).await;
        }
    }
}

fn line(answer: &DynamicMessage) -> Result<Bytes, Refusal> {
    let mut text = br#"{"result":"#.to_vec();
    json::write(answer, &mut text).map_err(unwritable)?;
    text.extend_from_slice(b"}\n");
    Ok(text.into())
}

/// What the headers mean to a call.
fn metadata(headers: &HeaderMap) -> Result<MetadataMap, Refusal> {
    let mut metadata = MetadataMap::new();
    for (name, value) in headers {
        let Ok(value) = AsciiMetadataValue::try_from(value.as_bytes()) else { continue };
        if let Some(name) = name.as_str().strip_prefix(METADATA_PREFIX) {
            // Binary metadata has no spelling here.
            if let Ok(key) = AsciiMetadataKey::from_bytes(name.as_bytes()) {
                metadata.append(key, value);
            }
        } else if name == header::AUTHORIZATION {
            metadata.append("authorization", value);
        } else if name == TIMEOUT {
            if parse_timeout(value.as_encoded_bytes()).is_none() {
                let given = String::from_utf8_lossy(value.as_encoded_bytes()).into_owned();
                return Err(Refusal::new(Code::InvalidArgument, format!("invalid grpc-timeout: {given}")));
            }
            metadata.insert(TIMEOUT, value);
        }
    }
    if let Some(token) = metadata.get("authorization").map(token).filter(|_| !metadata.contains_key(TOKEN)) {
        metadata.insert(TOKEN, token);
    }
    Ok(metadata)
}

/// The token of an `Authorization` header: bare, as etcd wants it, or behind the word `Bearer`, as the web writes it.
fn token(authorization: &AsciiMetadataValue) -> AsciiMetadataValue {
    let bytes = authorization.as_encoded_bytes();
    let bare = match bytes.split_at_checked(BEARER.len()) {
        Some((word, rest)) if word.eq_ignore_ascii_case(BEARER) => rest,
        _ => bytes,
    };
    AsciiMetadataValue::try_from(bare.trim_ascii()).unwrap_or_else(|_| authorization.clone())
}

/// Messages that are known by their description alone.
struct MessageCodec {
    output: MessageDescriptor,
}

impl Codec for MessageCodec {
    type Encode = DynamicMessage;
    type Decode = DynamicMessage;
    type Encoder = MessageEncoder;
    type Decoder = MessageDecoder;

    fn encoder(&mut self) -> MessageEncoder {
        MessageEncoder
    }

    fn decoder(&mut self) -> MessageDecoder {
        MessageDecoder { kind: self.output.clone() }
    }
}

struct MessageEncoder;

impl Encoder for MessageEncoder {
    type Item = DynamicMessage;
    type Error = Status;

    fn encode(&mut self, message: DynamicMessage, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        message.encode(out).map_err(|error| Status::internal(format!("holdfast: a request cannot be encoded: {error}")))
    }
}

struct MessageDecoder {
    kind: MessageDescriptor,
}

impl Decoder for MessageDecoder {
    type Item = DynamicMessage;
    type Error = Status;

    fn decode(&mut self, bytes: &mut DecodeBuf<'_>) -> Result<Option<DynamicMessage>, Status> {
        DynamicMessage::decode(self.kind.clone(), bytes)
            .map(Some)
            .map_err(|error| Status::internal(format!("holdfast: an answer cannot be decoded: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(headers: &[(&'static str, &'static str)]) -> Result<MetadataMap, Refusal> {
        metadata(&headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect())
    }

    fn token_of(headers: &[(&'static str, &'static str)]) -> Option<String> {
        of(headers).unwrap().get("token").map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn a_token_is_found_bare_and_behind_bearer() {
        assert_eq!(token_of(&[("authorization", "abc.7")]).as_deref(), Some("abc.7"));
        assert_eq!(token_of(&[("authorization", "Bearer abc.7")]).as_deref(), Some("abc.7"));
        assert_eq!(token_of(&[("authorization", "bearer  abc.7")]).as_deref(), Some("abc.7"));
        assert_eq!(token_of(&[("grpc-metadata-token", "x"), ("authorization", "y")]).as_deref(), Some("x"));
        assert_eq!(token_of(&[("cookie", "token=abc.7")]), None);
    }

    #[test]
    fn metadata_and_timeouts_go_with_the_call_and_nothing_else() {
        let metadata = of(&[
            ("grpc-metadata-hasleader", "true"),
            ("grpc-timeout", "500m"),
            ("content-type", "application/x-www-form-urlencoded"),
            ("user-agent", "curl"),
        ])
        .unwrap();
        assert_eq!(metadata.get("hasleader").unwrap(), "true");
        assert_eq!(metadata.get("grpc-timeout").unwrap(), "500m");
        assert_eq!(metadata.len(), 2);
        assert_eq!(of(&[("grpc-timeout", "soon")]).unwrap_err().message, "invalid grpc-timeout: soon");
    }
}
