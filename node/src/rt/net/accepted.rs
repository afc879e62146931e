//! A connection that a client made.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::server::{Connected, TcpConnectInfo};

use super::ClientCertificate;
use super::authority::Inbound;
use super::wire::Wire;

/// Bytes taken off the socket at once while they are looked at.
const READ_BYTES: usize = 16 * 1024;

/// Reads past what [`Inbound`] puts right; writes straight through.
#[derive(Debug)]
pub struct Accepted {
    stream: Wire,
    certificate: Option<ClientCertificate>,
    inbound: Inbound,
    /// Looked at, not read yet.
    ready: BytesMut,
}

impl Accepted {
    /// Small answers go out at once: waiting for more to send (Nagle's algorithm) would cost a client that delays its
    /// acknowledgements 40 ms. tonic sets this only on connections it accepts itself.
    pub fn new(stream: Wire, certificate: Option<ClientCertificate>) -> io::Result<Self> {
        stream.tcp().set_nodelay(true)?;
        Ok(Self { stream, certificate, inbound: Inbound::default(), ready: BytesMut::new() })
    }
}

impl AsyncRead for Accepted {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if !this.ready.is_empty() {
                let length = this.ready.len().min(buffer.remaining());
                buffer.put_slice(&this.ready[..length]);
                this.ready.advance(length);
                return Poll::Ready(Ok(()));
            }
            if this.inbound.is_through() {
                return Pin::new(&mut this.stream).poll_read(context, buffer);
            }
            let mut bytes = [0; READ_BYTES];
            let mut arrived = ReadBuf::new(&mut bytes);
            ready!(Pin::new(&mut this.stream).poll_read(context, &mut arrived))?;
            if arrived.filled().is_empty() {
                // The end. What is still held is part of a frame that nobody can use.
                return Poll::Ready(Ok(()));
            }
            this.inbound.pass(arrived.filled(), &mut this.ready);
        }
    }
}

impl AsyncWrite for Accepted {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// What every request of a connection is told about it.
#[derive(Clone, Debug)]
pub struct ConnectionFacts {
    tcp: TcpConnectInfo,
    certificate: Option<ClientCertificate>,
}

impl ConnectionFacts {
    /// Puts them where requests are asked for them: one by one, by type.
    pub fn spread(extensions: &mut http::Extensions) {
        if let Some(facts) = extensions.remove::<Self>() {
            extensions.insert(facts.tcp);
            if let Some(certificate) = facts.certificate {
                extensions.insert(certificate);
            }
        }
    }
}

impl Connected for Accepted {
    type ConnectInfo = ConnectionFacts;

    fn connect_info(&self) -> ConnectionFacts {
        ConnectionFacts { tcp: self.stream.tcp().connect_info(), certificate: self.certificate.clone() }
    }
}
