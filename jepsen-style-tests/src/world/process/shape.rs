//! What kind of cluster a test wants.

use holdfast_client::Tls;
use std::path::PathBuf;

/// Which server the nodes run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    Holdfast,
    Etcd,
}

/// The shape of a cluster: a server, a zone for each node, and further flags for all of them.
#[derive(Clone, Debug)]
pub struct Shape {
    pub server: Server,
    /// One node for each. etcd knows no zones; there they only count.
    pub zones: Vec<String>,
    /// Another program than the one that is found for this server.
    pub program: Option<PathBuf>,
    pub client_scheme: Scheme,
    pub peer_scheme: Scheme,
    pub wiring: Wiring,
    /// How the world's own clients speak TLS.
    pub tls: Option<Tls>,
    /// Given to every node, after the flags that every node needs.
    pub flags: Vec<String>,
}

/// What lies between the nodes, and between them and their clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wiring {
    Direct,
    /// A proxy on every link between nodes ([`super::Links`]). The seed decides how long jitter lasts.
    ProxiedPeers {
        seed: u64,
    },
    /// The same, and on every link to a client.
    Proxied {
        seed: u64,
    },
}

/// What the URLs of a port begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    Http,
    Https,
}

impl std::fmt::Display for Scheme {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Http => "http",
            Self::Https => "https",
        })
    }
}

const ZONES: [&str; 7] = ["a", "b", "c", "d", "e", "f", "g"];

impl Shape {
    /// That many nodes, each in a zone of its own.
    pub fn of(server: Server, nodes: usize) -> Self {
        let zones = ZONES.iter().cycle().take(nodes).map(|zone| (*zone).to_owned()).collect();
        let (client_scheme, peer_scheme) = (Scheme::Http, Scheme::Http);
        Self {
            server,
            zones,
            client_scheme,
            peer_scheme,
            wiring: Wiring::Direct,
            tls: None,
            program: None,
            flags: Vec::new(),
        }
    }

    pub fn holdfast(nodes: usize) -> Self {
        Self::of(Server::Holdfast, nodes)
    }

    pub fn etcd(nodes: usize) -> Self {
        Self::of(Server::Etcd, nodes)
    }

    /// Holdfast, unless `HOLDFAST_JEPSEN_SERVER=etcd`.
    ///
    /// # Panics
    /// If the variable says something else.
    pub fn from_env(nodes: usize) -> Self {
        match std::env::var("HOLDFAST_JEPSEN_SERVER").as_deref() {
            Err(_) | Ok("holdfast") => Self::holdfast(nodes),
            Ok("etcd") => Self::etcd(nodes),
            Ok(other) => panic!("HOLDFAST_JEPSEN_SERVER is {other:?}; it may be holdfast or etcd"),
        }
    }

    #[must_use]
    pub fn zones(mut self, zones: &[&str]) -> Self {
        self.zones = zones.iter().map(|zone| (*zone).to_owned()).collect();
        self
    }

    /// Clients are served with TLS, and the world's own clients speak it like this. The flags are the test's to give.
    #[must_use]
    pub fn https_for_clients(mut self, tls: Tls) -> Self {
        self.client_scheme = Scheme::Https;
        self.tls = Some(tls);
        self
    }

    /// Members speak TLS with one another. The flags are the test's to give.
    #[must_use]
    pub fn https_for_peers(mut self) -> Self {
        self.peer_scheme = Scheme::Https;
        self
    }

    /// Every link between nodes goes through a proxy.
    #[must_use]
    pub fn proxied_peers(mut self, seed: u64) -> Self {
        self.wiring = Wiring::ProxiedPeers { seed };
        self
    }

    /// Every link goes through a proxy, so that it can be cut and slowed down.
    #[must_use]
    pub fn proxied(mut self, seed: u64) -> Self {
        self.wiring = Wiring::Proxied { seed };
        self
    }

    #[must_use]
    pub fn program(mut self, program: PathBuf) -> Self {
        self.program = Some(program);
        self
    }

    #[must_use]
    pub fn flag(mut self, name: &str, value: impl std::fmt::Display) -> Self {
        self.flags.push(format!("{name}={value}"));
        self
    }
}
