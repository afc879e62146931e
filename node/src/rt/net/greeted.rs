//! A connection to a member counts as made when the member has answered its opening.
//!
//! In TLS 1.3 whoever connects is through its handshake before the other side has looked at its certificate; a refusal
//! would come in the middle of the first message, as an end without a reason. HTTP/2 obliges the other side to a first
//! word as soon as it has read the opening. So the opening is sent here, and left out when the HTTP/2 library sends it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

/// How every HTTP/2 client opens a connection (RFC 9113, 3.4).
const OPENING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// A first word is short.
const FIRST_WORD_BYTES: usize = 1024;

/// A connection whose opening was sent, and answered.
#[derive(Debug)]
pub struct Greeted<S> {
    stream: S,
    /// What the member has said so far, not read yet.
    said: BytesMut,
    /// What is left of the opening that the HTTP/2 library will send again, in bytes.
    sent_before: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Greeted<S> {
    pub async fn new(mut stream: S) -> io::Result<Self> {
        stream.write_all(OPENING).await?;
        stream.flush().await?;
        let mut said = BytesMut::with_capacity(FIRST_WORD_BYTES);
        if stream.read_buf(&mut said).await? == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the member ended the connection without a word"));
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
        theirs.write_all(b"first").await.unwrap();
        let mut greeted = Greeted::new(ours).await.unwrap();
        // As the library sends it: in pieces of its own, with more behind.
        greeted.write_all(&OPENING[..10]).await.unwrap();
        greeted.write_all(&[&OPENING[10..], b"more"].concat()).await.unwrap();
        theirs.write_all(b" second").await.unwrap();
        let mut heard = [0; 12];
        greeted.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"first second");
        drop(greeted);
        let mut arrived = Vec::new();
        theirs.read_to_end(&mut arrived).await.unwrap();
        assert_eq!(arrived, [OPENING, b"more"].concat());
    }

    #[tokio::test]
    async fn a_member_without_a_word_is_no_connection() {
        let (ours, theirs) = tokio::io::duplex(1024);
        drop(theirs);
        Greeted::new(ours).await.unwrap_err();
    }
}
