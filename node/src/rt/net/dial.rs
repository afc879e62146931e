//! Connections to other members inside TLS.
//!
//! The settings are looked up for each new connection, so that a certificate that was renewed is used by the next one.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::Status;

use super::PeerTls;
use super::greeted::Greeted;
use crate::rt;

const HTTPS_PORT: u16 = 443;

/// Makes the connections of one channel.
#[derive(Clone)]
pub struct Connector {
    target: Arc<Target>,
    tls: PeerTls,
}

struct Target {
    host: String,
    port: u16,
    /// What the other member's certificate must be good for.
    name: ServerName<'static>,
}

/// A connector to the member at `url`.
pub fn connector(url: &Uri, tls: &PeerTls) -> Result<Connector, Status> {
    if tls.config().is_none() {
        return Err(Status::failed_precondition(format!(
            "{url} is https, and this member has no TLS for its peers: give it --peer-cert-file, --peer-key-file and \
             --peer-trusted-ca-file, or --peer-auto-tls"
        )));
    }
    let host = url.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
    let name = ServerName::try_from(host.clone())
        .map_err(|error| Status::invalid_argument(format!("{url}: {host:?} is no host: {error}")))?;
    let port = url.port_u16().unwrap_or(HTTPS_PORT);
    Ok(Connector { target: Arc::new(Target { host, port, name }), tls: tls.clone() })
}

impl Connector {
    async fn connect(self) -> io::Result<TokioIo<Greeted<TlsStream<TcpStream>>>> {
        let target = &self.target;
        let stream = TcpStream::connect((target.host.as_str(), target.port)).await?;
        stream.set_nodelay(true)?;
        let config = self.tls.config().ok_or_else(|| io::Error::other("there is no TLS for peers"))?;
        let greeting =
            async { Greeted::new(TlsConnector::from(config).connect(target.name.clone(), stream).await?).await };
        match greeting.await {
            Ok(stream) => {
                self.tls.complaints().forget(&target.address());
                Ok(TokioIo::new(stream))
            }
            Err(error) => {
                let (member, why) = (target.address(), error.to_string());
                if self.tls.complaints().is_news(&member, &why, rt::now()) {
                    tracing::warn!(member, error = why, "no TLS with a member");
                }
                Err(error)
            }
        }
    }
}

impl Target {
    fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

impl tower_service::Service<Uri> for Connector {
    type Response = TokioIo<Greeted<TlsStream<TcpStream>>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        Box::pin(self.clone().connect())
    }
}
