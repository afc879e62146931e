//! Ports: taken before anything is opened; until everything is, they say so (`unready.rs`).

use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::StartError;
use crate::rt;
use crate::settings::Settings;
use crate::tls::{NodeTls, OwnHosts};

/// The ports of one node.
pub struct Listeners {
    pub client: Vec<rt::BoundListener>,
    pub peer: Vec<rt::BoundListener>,
    pub metrics: Vec<rt::BoundListener>,
}

impl Listeners {
    pub async fn bind(settings: &Settings, tls: &NodeTls) -> Result<Self, StartError> {
        let (client, peer) = (tls.client(), tls.peer());
        Ok(Self {
            peer: bind_all(&settings.listen_peer_urls, peer.as_ref()).await?,
            client: bind_all(&settings.listen_client_urls, client.as_ref()).await?,
            metrics: bind_all(&settings.listen_metrics_urls, client.as_ref()).await?,
        })
    }
}

/// Servers that are being started.
#[derive(Default)]
pub struct Serving {
    stops: Vec<oneshot::Sender<()>>,
    running: Vec<rt::JoinHandle<()>>,
    /// Calls under way at once on one connection.
    streams_max: Option<u32>,
}

/// Servers that run until they are told to stop.
pub struct Served {
    stops: Mutex<Vec<oneshot::Sender<()>>>,
    done: Shared<BoxFuture<'static, ()>>,
}

impl Served {
    /// Takes no more calls. Those under way go on.
    pub fn end(&self) {
        for stop in std::mem::take(&mut *self.stops.lock()) {
            // A server that has ended already needs no word.
            let _ended = stop.send(());
        }
    }

    /// Takes no more calls, and waits a while for those under way.
    pub async fn stop(&self, drain: Duration) {
        self.end();
        // What is still open after that ends with the process.
        let _some_left = rt::timeout(drain, self.done.clone()).await;
    }
}

impl Serving {
    pub fn with_streams_max(streams_max: Option<u32>) -> Self {
        Self { streams_max, ..Self::default() }
    }

    /// Serves the same on each of the ports.
    pub fn add_all(&mut self, listeners: Vec<rt::BoundListener>, routes: &tonic::service::Routes) {
        for listener in listeners {
            self.add(listener, routes.clone());
        }
    }

    fn add(&mut self, listener: rt::BoundListener, routes: tonic::service::Routes) {
        let (stop, stopped) = oneshot::channel::<()>();
        self.stops.push(stop);
        let streams_max = self.streams_max;
        self.running.push(rt::spawn(async move {
            // Either a word or a dropped sender: both mean stop.
            let stop = stopped.map(|_| ());
            if let Err(error) = rt::serve(listener, routes, streams_max, stop).await {
                tracing::error!(%error, "a server ended");
            }
        }));
    }

    pub fn started(self) -> Served {
        let running = self.running;
        let done = async move {
            for server in running {
                // A server that died has said so.
                let _ended = server.await;
            }
        };
        Served { stops: Mutex::new(self.stops), done: done.boxed().shared() }
    }
}

/// Takes the ports of `urls`. Those that say `https` get `tls`.
async fn bind_all(urls: &[String], tls: Option<&rt::ServerTls>) -> Result<Vec<rt::BoundListener>, StartError> {
    let mut listeners = Vec::with_capacity(urls.len());
    for url in urls {
        let failed = |source| StartError::Listen { url: url.clone(), source };
        let address = address_of(url).map_err(failed)?;
        let tls = match (url.starts_with("https://"), tls) {
            (false, _) => None,
            (true, Some(tls)) => Some(tls.clone()),
            (true, None) => return Err(StartError::NoCertificate { url: url.clone() }),
        };
        listeners.push(rt::bind(address, tls).await.map_err(failed)?);
    }
    Ok(listeners)
}

/// What a certificate of this node's own making is good for: wherever it listens, and wherever others are sent.
pub fn own_hosts(settings: &Settings) -> OwnHosts {
    OwnHosts {
        client: hosts_of(&[
            &settings.listen_client_urls,
            &settings.listen_metrics_urls,
            &settings.advertise_client_urls,
        ]),
        peer: hosts_of(&[&settings.listen_peer_urls, &settings.advertise_peer_urls]),
    }
}

fn hosts_of(urls: &[&[String]]) -> Vec<String> {
    let mut hosts: Vec<String> = Vec::new();
    for url in urls.iter().flat_map(|urls| urls.iter()) {
        let uri: Option<http::Uri> = url.parse().ok();
        let Some(host) = uri.as_ref().and_then(http::Uri::host) else { continue };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        if !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    hosts
}

/// The socket address that a URL names.
fn address_of(url: &str) -> std::io::Result<SocketAddr> {
    let invalid = |detail: &str| std::io::Error::new(std::io::ErrorKind::InvalidInput, detail.to_owned());
    let authority =
        url.split_once("://").map(|(_, rest)| rest.trim_end_matches('/')).ok_or_else(|| invalid("no scheme"))?;
    if let Ok(address) = authority.parse() {
        return Ok(address);
    }
    authority.to_socket_addrs()?.next().ok_or_else(|| invalid("the host has no address"))
}
