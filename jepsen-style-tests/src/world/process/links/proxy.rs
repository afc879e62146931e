//! One listening port in front of one port of a node.

use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

use super::connection::{self, Ends, How};
use super::{End, Port, Shared, dialler};
use crate::world::NodeIndex;

/// Connections through one proxy at a time; more wait to be taken.
const CONNECTIONS_MAX: usize = 4096;
/// After an accept that failed, for want of descriptors say, and while the node is not there.
const PAUSE: Duration = Duration::from_millis(5);

pub(super) struct Proxy {
    node: NodeIndex,
    port: Port,
    at: SocketAddr,
    target: SocketAddr,
    links: Weak<Shared>,
    seats: Arc<Semaphore>,
    accepted: u64,
    connections: JoinSet<How>,
}

impl Proxy {
    pub(super) fn new(node: NodeIndex, port: Port, at: SocketAddr, target: SocketAddr, links: Weak<Shared>) -> Self {
        let seats = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        Self { node, port, at, target, links, seats, accepted: 0, connections: JoinSet::new() }
    }

    pub(super) async fn run(mut self, mut news: watch::Receiver<u64>) {
        while let Some(there) = self.node_is_there().await {
            if !there {
                // Somebody else may hold the port for a moment, too.
                tokio::time::sleep(PAUSE).await;
            } else if let Ok(listener) = TcpListener::bind(self.at).await {
                self.serve(listener, &mut news).await;
            }
        }
    }

    /// Whether the node has a process that listens. `None`: the links are gone.
    async fn node_is_there(&self) -> Option<bool> {
        let runs = self.links.upgrade()?.pids.lock().contains_key(&self.node);
        Some(runs && TcpStream::connect(self.target).await.is_ok())
    }

    /// Returns when the node is not there any more; the listener is closed then.
    async fn serve(&mut self, listener: TcpListener, news: &mut watch::Receiver<u64>) {
        loop {
            tokio::select! {
                biased;
                changed = news.changed() => {
                    let runs = self.links.upgrade().is_some_and(|links| links.pids.lock().contains_key(&self.node));
                    if changed.is_err() || !runs {
                        return;
                    }
                }
                Some(ended) = self.connections.join_next() => {
                    if matches!(ended, Ok(How::NobodyThere)) {
                        return;
                    }
                }
                (accepted, seat) = accept(&listener, &self.seats) => match (accepted, seat) {
                    (Some((socket, from)), Some(seat)) => self.take(socket, from, seat),
                    _ => tokio::time::sleep(PAUSE).await,
                },
            }
        }
    }

    fn take(&mut self, socket: TcpStream, from: SocketAddr, seat: OwnedSemaphorePermit) {
        let Some(links) = self.links.upgrade() else { return };
        self.accepted += 1;
        let (number, at, node, port, target) = (self.accepted, self.at, End::Node(self.node), self.port, self.target);
        self.connections.spawn(async move {
            let _seat = seat;
            let Some(dialler) = who_dials(port, from, at, &links).await else {
                connection::reset(&socket);
                return How::Ended;
            };
            let ends = Ends {
                out: links.sender(dialler, node).subscribe(),
                back: links.sender(node, dialler).subscribe(),
                seeds: [links.seed_of(dialler, node, number), links.seed_of(node, dialler, number)],
            };
            drop(links);
            connection::serve(socket, target, ends).await
        });
    }
}

async fn accept(
    listener: &TcpListener,
    seats: &Arc<Semaphore>,
) -> (Option<(TcpStream, SocketAddr)>, Option<OwnedSemaphorePermit>) {
    let seat = Arc::clone(seats).acquire_owned().await.ok();
    (listener.accept().await.ok(), seat)
}

/// `None`: its socket is gone already.
async fn who_dials(port: Port, from: SocketAddr, at: SocketAddr, links: &Shared) -> Option<End> {
    match port {
        Port::Client => Some(End::Clients),
        Port::Peer => {
            let pids = links.pids.lock().clone();
            let asked = tokio::task::spawn_blocking(move || dialler::of(from, at, &pids)).await;
            asked.ok().flatten()
        }
    }
}
