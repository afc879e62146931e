//! A cluster of processes, and what is done to it.

use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use holdfast_client::{Client, Options, Tls};
use tempfile::TempDir;

use super::address::Net;
use super::links::{Links, Port};
use super::node_process::{NodeProcess, Role};
use super::shape::{Scheme, Server, Shape, Wiring};
use super::wait::{PATIENCE, until};
use crate::world::NodeIndex;

const START_ATTEMPTS: usize = 3;
/// The proxies of a node have the address of a node that many places further.
const PROXIES_FROM: usize = 100;
const LOG_LINES_SHOWN: usize = 25;
/// How a server says that its port is taken: etcd's words, ours, the system's.
const PORT_TAKEN: [&str; 2] = ["address already in use", "Address already in use"];

/// The nodes, their folder, and their addresses.
pub struct Cluster {
    pub(super) nodes: Vec<NodeProcess>,
    pub(super) server: Server,
    net: Net,
    flags: Vec<String>,
    program: Option<PathBuf>,
    client_scheme: Scheme,
    peer_scheme: Scheme,
    tls: Option<Tls>,
    /// What lies between the nodes, if it is not nothing.
    links: Option<Links>,
    proxies_clients: bool,
    /// Dropped after the nodes: first the processes end, then their files go.
    folder: TempDir,
}

impl Cluster {
    /// Starts all nodes and waits until each knows the leader and all others.
    ///
    /// # Panics
    /// If they do not come up.
    pub async fn start(shape: &Shape) -> Self {
        let mut cluster = Self::spawn_all(shape);
        for _ in 1..START_ATTEMPTS {
            if !cluster.lost_a_port().await {
                break;
            }
            cluster = Self::spawn_all(shape);
        }
        cluster.wait_formed().await;
        cluster
    }

    fn spawn_all(shape: &Shape) -> Self {
        let mut cluster = Self::lay_out(shape);
        (0..cluster.len()).for_each(|index| cluster.spawn(index));
        cluster
    }

    /// A real etcd of that many nodes.
    pub async fn start_etcd(nodes: usize) -> Self {
        Self::start(&Shape::etcd(nodes)).await
    }

    /// Addresses and folders, and nothing runs yet.
    pub fn lay_out(shape: &Shape) -> Self {
        let folder = tempfile::Builder::new().prefix("holdfast-process-").tempdir().expect("a temporary folder");
        let net = Net::draw();
        let mut cluster = Self {
            nodes: Vec::new(),
            server: shape.server,
            net,
            flags: shape.flags.clone(),
            program: shape.program.clone(),
            client_scheme: shape.client_scheme,
            peer_scheme: shape.peer_scheme,
            tls: shape.tls.clone(),
            links: match shape.wiring {
                Wiring::Direct => None,
                Wiring::ProxiedPeers { seed } | Wiring::Proxied { seed } => Some(Links::new(seed)),
            },
            proxies_clients: matches!(shape.wiring, Wiring::Proxied { .. }),
            folder,
        };
        for zone in &shape.zones {
            cluster.add_machine(zone);
        }
        let all: Vec<String> = cluster.nodes.iter().map(|node| format!("{}={}", node.name, node.peer_url())).collect();
        cluster.nodes.iter_mut().for_each(|node| node.initial_cluster = all.join(","));
        cluster
    }

    /// A place for one more node, which is not a member yet.
    pub fn add_machine(&mut self, zone: &str) -> NodeIndex {
        let index = self.nodes.len();
        let name = format!("n{}", index + 1);
        let mut node = NodeProcess::new(self.server, &name, zone, self.net.take(index), self.folder.path());
        node.flags.clone_from(&self.flags);
        node.program.clone_from(&self.program);
        (node.client_scheme, node.peer_scheme) = (self.client_scheme, self.peer_scheme);
        if let Some(links) = &self.links {
            let fronts = self.net.take(PROXIES_FROM + index);
            node.advertised.peer = fronts.peer;
            links.add(index, Port::Peer, fronts.peer, node.addresses.peer);
            if self.proxies_clients {
                node.advertised.client = fronts.client;
                links.add(index, Port::Client, fronts.client, node.addresses.client);
            }
        }
        self.nodes.push(node);
        index
    }

    /// Forgets the places from that one on, such as those of nodes that were never to be taken in.
    pub fn forget_machines(&mut self, from: NodeIndex) {
        self.nodes.truncate(from);
    }

    /// Whether a node ended because somebody was faster to take its port. Waits until every node listens or one ended.
    async fn lost_a_port(&mut self) -> bool {
        let begun = std::time::Instant::now();
        while begun.elapsed() < PATIENCE {
            if let Some(said) = self.nodes.iter_mut().find_map(|node| node.ended().map(|_| node.said())) {
                return PORT_TAKEN.iter().any(|words| said.contains(words));
            }
            let listens = |node: &NodeProcess| std::net::TcpStream::connect(node.addresses.client).is_ok();
            if self.nodes.iter().all(listens) {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        false
    }

    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    pub fn server(&self) -> Server {
        self.server
    }

    pub fn name(&self, index: NodeIndex) -> &str {
        &self.nodes[index].name
    }

    pub fn zone(&self, index: NodeIndex) -> &str {
        &self.nodes[index].zone
    }

    /// The links of the cluster.
    ///
    /// # Panics
    /// If its shape has none ([`Shape::proxied`]).
    pub fn links(&self) -> &Links {
        self.links.as_ref().expect("a cluster has links to cut if its shape is proxied")
    }

    /// The URL at which clients reach the node.
    pub fn endpoint(&self, index: NodeIndex) -> String {
        self.nodes[index].client_url()
    }

    pub fn endpoints(&self) -> Vec<String> {
        self.nodes.iter().map(NodeProcess::client_url).collect()
    }

    pub fn peer_url(&self, index: NodeIndex) -> String {
        self.nodes[index].peer_url()
    }

    pub fn data_dir(&self, index: NodeIndex) -> &Path {
        &self.nodes[index].data_dir
    }

    /// Moves the node's data elsewhere before it is started, such as to a disk of its own.
    pub fn set_data_dir(&mut self, index: NodeIndex, data_dir: PathBuf) {
        self.nodes[index].data_dir = data_dir;
    }

    /// The folder that holds all data and logs, removed with the cluster.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The command line of the node, without the program.
    pub fn args(&self, index: NodeIndex) -> Vec<String> {
        self.nodes[index].args()
    }

    /// A client of all nodes, with the library's own limits.
    pub fn client(&self) -> Client {
        let options = Options { tls: self.tls.clone(), ..Options::default() };
        Client::connect(self.endpoints(), options).expect("endpoints are well-formed")
    }

    /// A client of one node, which goes nowhere else.
    pub fn client_of(&self, index: NodeIndex, patience: Duration) -> Client {
        self.connect([self.endpoint(index)], patience)
    }

    /// A client of those who watch over a test: behind the proxies, so that a cut link does not blind it.
    pub(super) fn watcher_of(&self, index: NodeIndex, patience: Duration) -> (Client, String) {
        let endpoint = self.nodes[index].own_client_url();
        (self.connect([endpoint.clone()], patience), endpoint)
    }

    /// The same, of all nodes.
    pub(super) fn watcher(&self, patience: Duration) -> Client {
        self.connect(self.nodes.iter().map(NodeProcess::own_client_url), patience)
    }

    fn connect(&self, endpoints: impl IntoIterator<Item = String>, patience: Duration) -> Client {
        let connect_timeout = patience.min(Duration::from_secs(1));
        let options = Options {
            connect_timeout,
            request_timeout: patience,
            read_attempt_timeout: patience,
            tls: self.tls.clone(),
            ..Options::default()
        };
        Client::connect(endpoints, options).expect("endpoints are well-formed")
    }

    // ---- what is done to a node ----

    /// Starts the process; it may take a while until it serves.
    pub fn spawn(&mut self, index: NodeIndex) {
        self.nodes[index].spawn();
        if let (Some(links), Some(pid)) = (&self.links, self.nodes[index].pid()) {
            links.node_runs(index, pid);
        }
    }

    /// Starts the process, and waits until the node knows a leader and has applied what the others had.
    pub async fn restart(&mut self, index: NodeIndex) {
        self.spawn(index);
        self.wait_caught_up(index).await;
    }

    pub fn kill9(&mut self, index: NodeIndex) {
        self.nodes[index].kill9();
        self.links.iter().for_each(|links| links.node_ended(index));
    }

    /// SIGTERM: the node stops in order. Waits for its end.
    pub async fn terminate(&mut self, index: NodeIndex) -> ExitStatus {
        self.nodes[index].signal("TERM");
        self.wait_exit(index).await
    }

    /// SIGSTOP: the node stands still, its connections stay.
    pub fn pause(&mut self, index: NodeIndex) {
        self.nodes[index].signal("STOP");
    }

    /// SIGCONT.
    pub fn resume(&mut self, index: NodeIndex) {
        self.nodes[index].signal("CONT");
    }

    /// Removes all data of a node that does not run.
    pub fn wipe(&mut self, index: NodeIndex) {
        assert!(!self.is_running(index), "{} runs; kill it first", self.name(index));
        std::fs::remove_dir_all(&self.nodes[index].data_dir).expect("the data directory can be removed");
    }

    pub fn is_running(&mut self, index: NodeIndex) -> bool {
        self.nodes[index].is_running()
    }

    /// Waits until the process has ended by itself.
    ///
    /// # Panics
    /// If it still runs after [`PATIENCE`].
    pub async fn wait_exit(&mut self, index: NodeIndex) -> ExitStatus {
        let what = format!("end of {}", self.name(index));
        let status = {
            let node = parking_lot::Mutex::new(&mut self.nodes[index]);
            let ask = || async { node.lock().ended().ok_or_else(|| "it runs".to_owned()) };
            until(PATIENCE, &what, ask).await
        };
        self.kill9(index);
        status
    }

    /// The last log lines of the node.
    pub fn logs(&self, index: NodeIndex) -> String {
        self.nodes[index].tail(LOG_LINES_SHOWN)
    }

    /// All log lines of the node since it was started last.
    pub fn said(&self, index: NodeIndex) -> String {
        self.nodes[index].said()
    }

    /// Waits until the node has logged `words` since it was started last.
    pub async fn wait_said(&self, index: NodeIndex, words: &str) {
        let what = format!("{words:?} in the log of {}", self.name(index));
        let ask = || async {
            let said = self.said(index);
            if said.contains(words) { Ok(()) } else { Err("it is not there".to_owned()) }
        };
        until(PATIENCE, &what, ask).await;
    }

    /// How the node comes into the cluster at its next start, and whom it is told about.
    pub fn set_role(&mut self, index: NodeIndex, role: Role, initial_cluster: &str) {
        self.nodes[index].role = role;
        initial_cluster.clone_into(&mut self.nodes[index].initial_cluster);
    }

    /// Further flags for one node, from its next start on.
    pub fn add_flag(&mut self, index: NodeIndex, flag: &str) {
        self.nodes[index].flags.push(flag.to_owned());
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let panics = std::thread::panicking();
        for node in &mut self.nodes {
            if panics {
                let state = match (node.is_running(), node.is_paused()) {
                    (true, true) => "paused".to_owned(),
                    (true, false) => "running".to_owned(),
                    (false, _) => node.ended().map_or("not started, or killed".to_owned(), |how| format!("{how}")),
                };
                eprintln!("---- {} ({state}), the end of its log:\n{}", node.name, node.tail(LOG_LINES_SHOWN));
            }
            node.kill9();
        }
        if std::env::var_os("HOLDFAST_KEEP").is_some() {
            self.folder.disable_cleanup(true);
            eprintln!("data and logs are in {}", self.folder.path().display());
        }
    }
}
