//! Connections inside TLS, and the certainty that the server wants them.
//!
//! In TLS 1.3 a client is through its handshake before the server has looked at its certificate. A request that is sent
//! then and meets a refusal looks like one that was lost on the way: nobody could say whether it was executed. So the
//! connection counts as made only when the server has said its first word. HTTP/2 obliges it to, as soon as it has read
//! the client's opening; that opening is sent here, and left out when the HTTP/2 library sends it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, BytesMut};
use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::Tls;

const HTTPS_PORT: u16 = 443;
/// How every HTTP/2 client opens a connection (RFC 9113, 3.4).
const OPENING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// A first word is short.
const FIRST_WORD_BYTES: usize = 1024;

/// Connects to the host of `uri`, proves that it is that host, and waits for its first word.
pub(crate) async fn connect(uri: Uri, tls: Tls) -> io::Result<TokioIo<Greeted<TlsStream<TcpStream>>>> {
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let name = tls.name_at(host).map_err(io::Error::other)?;
    let config = tls.config().map_err(io::Error::other)?;
    let stream = TcpStream::connect((host, uri.port_u16().unwrap_or(HTTPS_PORT))).await?;
    stream.set_nodelay(true)?;
    Ok(TokioIo::new(Greeted::new(TlsConnector::from(config).connect(name, stream).await?).await?))
}

/// A connection whose opening was sent, and answered.
#[derive(Debug)]
pub(crate) struct Greeted<S> {
    stream: S,
    /// What the server has said so far, not read yet.
    said: BytesMut,
    /// What is left of the opening that the HTTP/2 library will send again, in bytes.
    sent_before: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Greeted<S> {
    async fn new(mut stream: S) -> io::Result<Self> {
        stream.write_all(OPENING).await?;
        stream.flush().await?;
        let mut said = BytesMut::with_capacity(FIRST_WORD_BYTES);
        if stream.read_buf(&mut said).await? == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server ended the connection without a word"));
        }
        Ok(Self { stream, said, sent_before: OPENING.len() })
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Greeted<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.said.is_empty() {
            return Pin::new(&mut this.stream).poll_read(context, buffer);
        }
        let length = this.said.len().min(buffer.remaining());
        buffer.put_slice(&this.said[..length]);
        this.said.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Greeted<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.sent_before == 0 {
            return Pin::new(&mut this.stream).poll_write(context, bytes);
        }
        let length = this.sent_before.min(bytes.len());
        this.sent_before -= length;
        Poll::Ready(Ok(length))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_opening_travels_once_and_the_first_word_is_kept() {
        let (ours, mut theirs) = tokio::io::duplex(1024);
        theirs.write_all(b"first").await.expect("room");
        let mut greeted = Greeted::new(ours).await.expect("answered");
        // As the library sends it: in pieces of its own, with more behind.
        greeted.write_all(&OPENING[..10]).await.expect("sent");
        greeted.write_all(&[&OPENING[10..], b"more"].concat()).await.expect("sent");
        theirs.write_all(b" second").await.expect("room");
        let mut heard = [0; 12];
        greeted.read_exact(&mut heard).await.expect("all of it");
        assert_eq!(&heard, b"first second");
        drop(greeted);
        let mut arrived = Vec::new();
        theirs.read_to_end(&mut arrived).await.expect("all of it");
        assert_eq!(arrived, [OPENING, b"more"].concat());
    }

    #[tokio::test]
    async fn a_server_without_a_word_is_no_connection() {
        let (ours, theirs) = tokio::io::duplex(1024);
        drop(theirs);
        Greeted::new(ours).await.expect_err("nobody is there");
    }
}
