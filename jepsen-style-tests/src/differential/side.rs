//! One of the two servers: a cluster of one, asked over one connection.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint};

use super::generate::Who;
use super::normal::Names;
use super::request::{Answer, Clients, Request};
use super::watching::Stream;
use crate::world::process::{Cluster, Shape};

/// More than either server takes for anything, also on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub struct Side {
    cluster: Cluster,
    channel: Channel,
    clients: Clients,
    pub names: Names,
    pub streams: BTreeMap<usize, Stream>,
}

impl Side {
    /// Starts the server.
    ///
    /// # Panics
    /// If it does not come up.
    pub async fn start(shape: &Shape) -> Self {
        let cluster = Cluster::start(shape).await;
        let url = cluster.endpoint(0);
        let channel = Endpoint::from_shared(url.clone()).expect("a URL of ours").connect_lazy();
        let status = cluster.status(0).await.expect("a server that has started answers");
        let names = Names {
            own: status.header.map_or(0, |header| header.member_id),
            client_url: url,
            peer_url: cluster.peer_url(0),
            ..Names::default()
        };
        let clients = Clients::new(&channel);
        Self { cluster, channel, clients, names, streams: BTreeMap::new() }
    }

    pub fn is_running(&mut self) -> bool {
        self.cluster.is_running(0)
    }

    /// The end of its log.
    pub fn log(&self) -> String {
        self.cluster.logs(0)
    }

    /// The token that `who` was given here last.
    fn token(&self, who: &Who) -> Option<String> {
        match who {
            Who::Nobody => None,
            Who::User(name) => self.names.tokens.get(*name).cloned(),
            Who::Stranger => Some("nonsense.1".to_owned()),
        }
    }

    pub async fn ask(&mut self, who: &Who, mut request: Request) -> Answer {
        let token = self.token(who);
        let asked = request.clone();
        self.names.fill(&mut request);
        let Ok(answer) = timeout(PATIENCE, self.clients.ask(request, token.as_deref())).await else {
            return Answer::Silence;
        };
        let mut answer = Answer::from(answer);
        if let Answer::Given(reply) = &mut answer {
            self.names.learn(&asked, reply);
            self.names.normal(reply);
        }
        answer
    }

    pub fn open(&mut self, stream: usize, who: &Who) {
        let token = self.token(who);
        self.streams.insert(stream, Stream::open(&self.channel, token.as_deref()));
    }

    pub fn drain(&mut self) {
        self.streams.values_mut().for_each(Stream::drain);
    }
}
