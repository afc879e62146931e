//! What a client posts: one value, or one behind the other for as long as it keeps talking.

use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures::Stream;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use prost::Message;
use prost_reflect::{DynamicMessage, MessageDescriptor};
use tonic::Code;

use super::json;
use super::refusal::Refusal;
use crate::rt;

/// Who sends a single request slower than this is not waited for.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// How much longer than the message a text may be: base64, names, spaces.
const TEXT_PER_MESSAGE: usize = 4;

/// How large what is posted may be.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub message_bytes_max: usize,
}

impl Bounds {
    fn text_bytes_max(self) -> usize {
        self.message_bytes_max.saturating_mul(TEXT_PER_MESSAGE)
    }

    /// In the words of the library that etcd's servers read with.
    fn check(self, message: DynamicMessage) -> Result<DynamicMessage, Refusal> {
        let length = message.encoded_len();
        if length <= self.message_bytes_max {
            return Ok(message);
        }
        let limit = self.message_bytes_max;
        let text = format!("grpc: received message larger than max ({length} vs. {limit})");
        Err(Refusal::new(Code::ResourceExhausted, text))
    }

    fn too_long(self) -> Refusal {
        let text = format!("holdfast: a request has more than {} bytes of JSON", self.text_bytes_max());
        Refusal::new(Code::ResourceExhausted, text)
    }
}

/// The one message of a body.
pub async fn single(body: Body, kind: &MessageDescriptor, bounds: Bounds) -> Result<DynamicMessage, Refusal> {
    let whole = Limited::new(body, bounds.text_bytes_max()).collect();
    let text = match rt::timeout(BODY_TIMEOUT, whole).await {
        Ok(Ok(collected)) => collected.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => return Err(bounds.too_long()),
        Ok(Err(error)) => return Err(cut_short(&error)),
        Err(_elapsed) => {
            let text = format!("holdfast: the request did not arrive within {} s", BODY_TIMEOUT.as_secs());
            return Err(Refusal::new(Code::DeadlineExceeded, text));
        }
    };
    bounds.check(json::read(&text, kind)?)
}

fn cut_short(error: &dyn std::fmt::Display) -> Refusal {
    Refusal::new(Code::InvalidArgument, format!("holdfast: the request could not be read to its end: {error}"))
}

/// The messages of a body, each as soon as it is there.
pub struct Messages {
    body: Body,
    kind: MessageDescriptor,
    bounds: Bounds,
    /// Arrived, not read yet.
    text: BytesMut,
    is_at_end: bool,
}

impl Messages {
    pub fn new(body: Body, kind: MessageDescriptor, bounds: Bounds) -> Self {
        Self { body, kind, bounds, text: BytesMut::new(), is_at_end: false }
    }

    /// `None` at the end.
    pub async fn next(&mut self) -> Result<Option<DynamicMessage>, Refusal> {
        loop {
            if let Some(found) = json::first_value(&self.text) {
                let (value, length) = found?;
                drop(self.text.split_to(length));
                return self.bounds.check(json::message(value, &self.kind)?).map(Some);
            }
            if self.is_at_end {
                if self.text.iter().all(u8::is_ascii_whitespace) {
                    return Ok(None);
                }
                return Err(cut_short(&"the last value is not complete"));
            }
            if self.text.len() > self.bounds.text_bytes_max() {
                return Err(self.bounds.too_long());
            }
            match self.more().await? {
                Some(bytes) => self.text.extend_from_slice(&bytes),
                None => self.is_at_end = true,
            }
        }
    }

    async fn more(&mut self) -> Result<Option<Bytes>, Refusal> {
        match self.body.frame().await {
            None => Ok(None),
            // Trailers say nothing here.
            Some(Ok(frame)) => Ok(Some(frame.into_data().unwrap_or_default())),
            Some(Err(error)) => Err(cut_short(&error)),
        }
    }

    /// `first` and what follows it. What cannot be read ends the client's half of the conversation, as in etcd: what
    /// was asked before is still answered.
    pub fn after(mut self, first: Option<DynamicMessage>) -> impl Stream<Item = DynamicMessage> + Send + 'static {
        async_stream::stream! {
            let mut next = first;
            while let Some(message) = next {
                yield message;
                next = match self.next().await {
                    Ok(next) => next,
                    Err(refusal) => {
                        tracing::debug!(reason = refusal.message, "a streamed request ends early");
                        None
                    }
                };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use holdfast_proto::CLIENT_DESCRIPTORS;
    use prost_reflect::DescriptorPool;

    use super::*;

    fn renewals(chunks: &[&'static str]) -> Messages {
        let pool = DescriptorPool::decode(CLIENT_DESCRIPTORS).unwrap();
        let kind = pool.get_message_by_name("etcdserverpb.LeaseKeepAliveRequest").unwrap();
        let chunks: Vec<Result<&'static str, std::io::Error>> = chunks.iter().map(|chunk| Ok(*chunk)).collect();
        let body = Body::from_stream(futures::stream::iter(chunks));
        Messages::new(body, kind, Bounds { message_bytes_max: 100 })
    }

    fn id(message: &DynamicMessage) -> i64 {
        message.get_field_by_name("ID").and_then(|value| value.as_i64()).unwrap_or(0)
    }

    #[tokio::test]
    async fn values_are_found_however_they_are_cut() {
        let mut messages = renewals(&["{\"ID\"", ":1}{\"ID", "\":\"2\"} \n", "{\"ID\":3}", "\n"]);
        for expected in 1..=3 {
            assert_eq!(messages.next().await.unwrap().map(|message| id(&message)), Some(expected));
        }
        assert_eq!(messages.next().await, Ok(None));
        assert_eq!(messages.next().await, Ok(None));
    }

    #[tokio::test]
    async fn what_is_broken_or_endless_is_refused() {
        assert_eq!(renewals(&["bad"]).next().await.unwrap_err().code, Code::InvalidArgument);
        assert_eq!(renewals(&["{\"ID\":"]).next().await.unwrap_err().code, Code::InvalidArgument);
        let endless = ["{\"ID\":\"", "11111111111111111111111111111111111111111111111111111"];
        let endless: Vec<&'static str> = endless.into_iter().chain(std::iter::repeat_n(endless[1], 20)).collect();
        assert_eq!(renewals(&endless).next().await.unwrap_err().code, Code::ResourceExhausted);
    }
}
