//! Simulated nodes: machines with an address, a disk that outlives them, and the server that runs on them.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use holdfast_node::api::AuditSettings;
use holdfast_node::auth::AuthSettings;
use holdfast_node::env::{CrashPolicy, FaultyDisk, Halt};
use holdfast_node::gateway::Access;
use holdfast_node::io::Io;
use holdfast_node::node::Node;
use holdfast_node::ops::{AutoCompaction, Learners};
use holdfast_node::raft::{Members, Timing};
use holdfast_node::settings::{ClusterState, Settings};
use holdfast_node::storage::MemoryEngineFactory;
use holdfast_node::types::{Limits, Revision, TlsSettings};
use holdfast_node::wal::LogOptions;
use holdfast_node::{mvcc, rt};
use holdfast_proto::etcdserverpb::cluster_client::ClusterClient;
use holdfast_proto::etcdserverpb::kv_client::KvClient;
use madsim::net::NetSim;
use madsim::runtime::{Handle, NodeHandle};
use parking_lot::Mutex;

use super::Trace;
use crate::nemesis::Shape;
use crate::world::{NodeIndex, StateHash};

const CLIENT_PORT: u16 = 2379;
const PEER_PORT: u16 = 2380;

/// The shape of a cluster. Limits are small, so that segments roll over and snapshots are made within seconds.
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    /// One node for each, in the zone it names.
    pub zones: Vec<String>,
    pub snapshot_entries: u64,
    pub log: LogOptions,
}

impl Default for ClusterOptions {
    fn default() -> Self {
        Self {
            zones: ["a", "b", "c"].map(str::to_owned).to_vec(),
            snapshot_entries: 100,
            log: LogOptions { slots: 128, data_bytes: 16 * 1024, ..LogOptions::default() },
        }
    }
}

impl From<&Shape> for ClusterOptions {
    fn from(shape: &Shape) -> Self {
        Self {
            zones: shape.zones.clone(),
            snapshot_entries: shape.snapshot_entries,
            log: LogOptions { slots: 128, data_bytes: shape.segment_bytes, ..LogOptions::default() },
        }
    }
}

/// One simulated machine.
struct Machine {
    handle: NodeHandle,
    disk: FaultyDisk,
    /// The server, while it runs.
    server: Arc<Mutex<Option<Arc<Node>>>>,
    /// Why the server stopped by itself, if it did.
    halted: Arc<Mutex<Option<String>>>,
}

/// All machines and the links between them.
pub struct Cluster {
    options: ClusterOptions,
    machines: Vec<Machine>,
    client: NodeHandle,
    trace: Trace,
}

fn address(index: NodeIndex) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, u8::try_from(index + 1).expect("fewer than 255 nodes")))
}

fn name(index: NodeIndex) -> String {
    format!("n{}", index + 1)
}

fn url(index: NodeIndex, port: u16) -> String {
    format!("http://{}:{port}", address(index))
}

/// How a node comes into its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Founder,
    Joiner,
}

fn settings(options: &ClusterOptions, index: NodeIndex, role: Role) -> Settings {
    let data_dir = PathBuf::from("/data");
    let peers: BTreeMap<String, Vec<String>> =
        (0..options.zones.len()).map(|other| (name(other), vec![url(other, PEER_PORT)])).collect();
    Settings {
        name: name(index),
        zone: options.zones[index].clone(),
        wal_dir: data_dir.join("wal"),
        data_dir,
        listen_client_urls: vec![url(index, CLIENT_PORT)],
        listen_peer_urls: vec![url(index, PEER_PORT)],
        listen_metrics_urls: Vec::new(),
        advertise_client_urls: vec![url(index, CLIENT_PORT)],
        advertise_peer_urls: vec![url(index, PEER_PORT)],
        initial_cluster: peers,
        initial_cluster_token: "sim".to_owned(),
        initial_cluster_state: match role {
            Role::Founder => ClusterState::New,
            Role::Joiner => ClusterState::Existing,
        },
        timing: Timing { snapshot_entries: options.snapshot_entries, catch_up_entries: 20, ..Timing::default() },
        limits: Limits::default(),
        log: options.log.clone(),
        auto_compaction: AutoCompaction::Off,
        learners: Learners::Stay,
        watch_progress_interval: Duration::from_secs(600),
        access: Access::default(),
        tls: TlsSettings::default(),
        auth: AuthSettings::default(),
        audit: AuditSettings::Off,
    }
}

/// A machine whose server starts at once.
fn machine(options: &ClusterOptions, index: NodeIndex, role: Role) -> Machine {
    let handle = Handle::current();
    let disk = FaultyDisk::new(handle.seed().wrapping_mul(31).wrapping_add(index as u64));
    let server = Arc::new(Mutex::new(None));
    let halted = Arc::new(Mutex::new(None));
    let settings = settings(options, index, role);
    let init = {
        let (disk, server, halted) = (disk.clone(), Arc::clone(&server), Arc::clone(&halted));
        move || serve(settings.clone(), disk.clone(), Arc::clone(&server), Arc::clone(&halted))
    };
    let handle = handle.create_node().name(name(index)).ip(address(index)).init(init).build();
    Machine { handle, disk, server, halted }
}

impl Cluster {
    /// Builds the machines and starts a server on each.
    pub fn start(options: &ClusterOptions, trace: Trace) -> Self {
        let machines = (0..options.zones.len()).map(|index| machine(options, index, Role::Founder)).collect();
        let client =
            Handle::current().create_node().name("client").ip(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 100))).build();
        Self { options: options.clone(), machines, client, trace }
    }

    /// Where the next machine will be reached by its peers.
    pub fn next_peer_url(&self) -> String {
        url(self.len(), PEER_PORT)
    }

    /// One machine more. Its server joins the cluster, which must know it already.
    pub fn join(&mut self, zone: &str) -> NodeIndex {
        let index = self.len();
        self.trace.say(format!("{} starts, to join", name(index)));
        self.options.zones.push(zone.to_owned());
        self.machines.push(machine(&self.options, index, Role::Joiner));
        index
    }

    /// A client for changes of members, through one node. To be used on the client's machine.
    pub fn admin(index: NodeIndex) -> ClusterClient<rt::Channel> {
        ClusterClient::new(Self::channel(index))
    }

    /// The members as one node knows them; none if it does not run.
    pub fn members(&self, index: NodeIndex) -> Option<Members> {
        self.server(index).map(|node| node.ops().members())
    }

    pub fn len(&self) -> usize {
        self.machines.len()
    }

    pub fn is_empty(&self) -> bool {
        self.machines.is_empty()
    }

    /// The machine that clients run on.
    pub fn client(&self) -> &NodeHandle {
        &self.client
    }

    /// A way to one node, for any client of it. To be used on the client's machine.
    pub fn channel(index: NodeIndex) -> rt::Channel {
        rt::connect(&url(index, CLIENT_PORT), &rt::PeerTls::default()).expect("a well-formed address")
    }

    /// A KV client of one node. To be used on the client's machine.
    pub fn kv(index: NodeIndex) -> KvClient<rt::Channel> {
        KvClient::new(Self::channel(index))
    }

    pub(super) fn server(&self, index: NodeIndex) -> Option<Arc<Node>> {
        self.machines[index].server.lock().clone()
    }

    /// The node that believes it leads, in the highest term.
    pub fn leader(&self) -> Option<NodeIndex> {
        let standing = |index| self.server(index).map(|node| (index, node.ops().standing()));
        let leaders = (0..self.len()).filter_map(standing).filter(|(_, standing)| standing.leads);
        leaders.max_by_key(|(_, standing)| standing.term).map(|(index, _)| index)
    }

    /// Waits until some node other than `not` leads.
    pub async fn wait_leader(&self, not: Option<NodeIndex>) -> NodeIndex {
        loop {
            if let Some(leader) = self.leader() {
                if Some(leader) != not {
                    return leader;
                }
            }
            madsim::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Cuts every link between `index` and the other nodes, both ways. Clients still reach it.
    pub fn isolate(&self, index: NodeIndex) {
        self.trace.say(format!("{} is cut off from its peers", name(index)));
        self.each_link(index, |net, a, b| net.clog_link(a, b));
    }

    /// Mends what [`Cluster::isolate`] cut.
    pub fn reconnect(&self, index: NodeIndex) {
        self.trace.say(format!("{} is connected again", name(index)));
        self.each_link(index, |net, a, b| net.unclog_link(a, b));
    }

    fn each_link(&self, index: NodeIndex, act: impl Fn(&NetSim, madsim::task::NodeId, madsim::task::NodeId)) {
        let net = NetSim::current();
        let me = self.machines[index].handle.id();
        for other in self.machines.iter().map(|machine| machine.handle.id()).filter(|id| *id != me) {
            act(&net, me, other);
            act(&net, other, me);
        }
    }

    /// Power loss: the server is gone, and with it what its disk had not synced.
    pub fn crash(&self, index: NodeIndex, policy: CrashPolicy) {
        self.trace.say(format!("{} loses power", name(index)));
        Handle::current().kill(self.machines[index].handle.id());
        *self.machines[index].server.lock() = None;
        self.machines[index].disk.crash(policy);
    }

    /// The process ends, the machine lives: its disk forgets nothing.
    pub fn kill(&self, index: NodeIndex) {
        self.trace.say(format!("{} is killed", name(index)));
        Handle::current().kill(self.machines[index].handle.id());
        *self.machines[index].server.lock() = None;
        self.machines[index].disk.kill();
    }

    /// Why the server stopped by itself, if it did since this was asked last.
    pub fn take_halted(&self, index: NodeIndex) -> Option<String> {
        self.machines[index].halted.lock().take()
    }

    /// Starts the server again, on what the disk still has.
    pub fn restart(&self, index: NodeIndex) {
        self.trace.say(format!("{} starts again", name(index)));
        Handle::current().restart(self.machines[index].handle.id());
    }

    /// The node stands still, its connections stay. Time passes.
    pub fn pause(&self, index: NodeIndex) {
        self.trace.say(format!("{} is paused", name(index)));
        Handle::current().pause(self.machines[index].handle.id());
    }

    /// Ends what [`Cluster::pause`] began.
    pub fn resume(&self, index: NodeIndex) {
        self.trace.say(format!("{} goes on", name(index)));
        Handle::current().resume(self.machines[index].handle.id());
    }

    pub fn disk(&self, index: NodeIndex) -> &FaultyDisk {
        &self.machines[index].disk
    }

    pub fn machine_id(&self, index: NodeIndex) -> madsim::task::NodeId {
        self.machines[index].handle.id()
    }

    /// Waits until all nodes that run hold the same history, and returns its hash. Panics if a node stopped by itself.
    pub async fn converge(&self) -> (Revision, u32) {
        loop {
            if let Some(reason) = self.machines.iter().find_map(|machine| machine.halted.lock().clone()) {
                panic!("a node stopped by itself: {reason}");
            }
            let hashes: Vec<_> = (0..self.len()).map(|index| self.server(index).map(|node| hash(&node))).collect();
            if let [Some(first), rest @ ..] = hashes.as_slice() {
                if rest.iter().all(|other| *other == Some(*first)) {
                    return *first;
                }
            }
            madsim::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

fn hash(node: &Node) -> (Revision, u32) {
    let hashed = state_hash(node);
    (Revision(hashed.revision), hashed.hash)
}

pub(super) fn state_hash(node: &Node) -> StateHash {
    let engine = node.ops().store().engine();
    let view = engine.view();
    let hashed = mvcc::hash_kv(view.as_ref(), Revision(0)).expect("a sound state can be hashed");
    let (revision, compact_revision) = (hashed.hash_revision.0, hashed.compact_revision.0);
    StateHash { revision, compact_revision, hash: hashed.hash }
}

/// What runs on a machine: the server's own start, and then nothing until power is lost.
async fn serve(
    settings: Settings,
    disk: FaultyDisk,
    server: Arc<Mutex<Option<Arc<Node>>>>,
    halted: Arc<Mutex<Option<String>>>,
) {
    let noted = Arc::clone(&halted);
    let io = Io {
        disk: Arc::new(disk.clone()),
        engines: Arc::new(MemoryEngineFactory::new(Arc::new(disk))),
        halt: Halt::new(move |reason| *noted.lock() = Some(reason.to_owned())),
    };
    match Node::start(settings, io).await {
        Ok(node) => {
            *server.lock() = Some(Arc::new(node));
            futures::future::pending::<()>().await;
        }
        Err(error) => {
            tracing::error!(%error, "the node does not start");
            *halted.lock() = Some(format!("it does not start: {error}"));
        }
    }
}
