//! A plain HTTP/1.1 client: one connection for each request.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// No answer, and no line of a stream, takes longer.
const LIMIT: Duration = Duration::from_secs(20);

type Body = http_body_util::combinators::BoxBody<Bytes, std::convert::Infallible>;

#[derive(Clone, Debug)]
pub struct Web {
    pub address: SocketAddr,
}

#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub content_type: String,
    pub headers: http::HeaderMap,
    pub body: String,
}

impl Web {
    pub async fn post(&self, path: &str, body: &str) -> Answer {
        self.ask("POST", path, &[], body).await
    }

    pub async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let answer = self.try_ask(method, path, headers, body).await;
        answer.unwrap_or_else(|| panic!("no answer to {method} {path} {body}"))
    }

    /// `None` if nobody answers.
    pub async fn try_ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Option<Answer> {
        let work = async {
            let (response, connection) = self.send(method, path, headers, whole(body)).await?;
            let (parts, body) = response.into_parts();
            let body = body.collect().await.ok()?.to_bytes();
            connection.abort();
            Some(Answer {
                status: parts.status.as_u16(),
                content_type: text(parts.headers.get("content-type")),
                headers: parts.headers,
                body: String::from_utf8(body.into()).ok()?,
            })
        };
        tokio::time::timeout(LIMIT, work).await.ok()?
    }

    /// Posts, and reads what comes line by line.
    pub async fn open(&self, path: &str, body: &str) -> Lines {
        self.open_with(path, whole(body)).await
    }

    /// The same, where the client goes on talking.
    pub fn converse(&self, path: &str) -> (mpsc::Sender<String>, impl Future<Output = Lines> + use<'_>) {
        let (say, said) = mpsc::channel::<String>(8);
        let said = tokio_stream::wrappers::ReceiverStream::new(said);
        let body = StreamBody::new(said.map(|text| Ok(Frame::data(Bytes::from(text)))));
        let path = path.to_owned();
        (say, async move { self.open_with(&path, BodyExt::boxed(body)).await })
    }

    async fn open_with(&self, path: &str, body: Body) -> Lines {
        let sent = tokio::time::timeout(LIMIT, self.send("POST", path, &[], body)).await;
        let (response, connection) = sent.expect("an answer in time").expect("an answer");
        let (parts, body) = response.into_parts();
        Lines {
            status: parts.status.as_u16(),
            content_type: text(parts.headers.get("content-type")),
            body,
            connection,
            text: String::new(),
        }
    }

    async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Body,
    ) -> Option<(http::Response<Incoming>, JoinHandle<()>)> {
        let stream = TcpStream::connect(self.address).await.ok()?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
        let connection = tokio::spawn(async move {
            // The server may hang up first.
            let _closed = connection.await;
        });
        let mut request = http::Request::builder().method(method).uri(path).header("host", self.address.to_string());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = sender.send_request(request.body(body).unwrap()).await.ok()?;
        Some((response, connection))
    }
}

fn whole(body: &str) -> Body {
    Full::new(Bytes::from(body.to_owned())).boxed()
}

fn text(value: Option<&http::HeaderValue>) -> String {
    value.and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

/// A stream that is read line by line. Dropping it hangs up.
pub struct Lines {
    pub status: u16,
    pub content_type: String,
    body: Incoming,
    connection: JoinHandle<()>,
    text: String,
}

impl Lines {
    /// The next line, without its end; `None` at the end of the stream.
    pub async fn next(&mut self) -> Option<String> {
        loop {
            if let Some((line, rest)) = self.text.split_once('\n') {
                let line = line.to_owned();
                self.text = rest.to_owned();
                return Some(line);
            }
            let frame = tokio::time::timeout(LIMIT, self.body.frame()).await;
            match frame.expect("a line, or the end, in time") {
                Some(Ok(frame)) => self.text.push_str(std::str::from_utf8(&frame.into_data().unwrap()).unwrap()),
                Some(Err(_)) | None => {
                    assert!(self.text.is_empty(), "{:?} has no end", self.text);
                    return None;
                }
            }
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.connection.abort();
    }
}
