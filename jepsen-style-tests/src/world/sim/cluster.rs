//! Simulated nodes: machines with an address, a disk that outlives them, and the server that runs on them.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use holdfast_node::api::AuditSettings;
use holdfast_node::auth::AuthSettings;
use holdfast_node::env::{CrashPolicy, FaultyDisk, Halt};
use holdfast_node::gateway::Access;
use holdfast_node::io::Io;
use holdfast_node::node::{Node, StartError};
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

/// How long a server that is asked to stop is waited for.
const STOP_PATIENCE: Duration = Duration::from_secs(8);
/// How soon a node that could not join is started again.
const JOIN_AGAIN: Duration = Duration::from_secs(1);
/// Entries kept behind a snapshot, at most.
const CATCH_UP_ENTRIES: u64 = 20;
/// Entries of one segment of the log.
pub(super) const LOG_SLOTS: u32 = 128;
/// About one event.
const WATCH_STEP_BYTES_MAX: usize = 128;
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
            log: LogOptions { slots: LOG_SLOTS, data_bytes: 16 * 1024, ..LogOptions::default() },
        }
    }
}

impl From<&Shape> for ClusterOptions {
    fn from(shape: &Shape) -> Self {
        Self {
            zones: shape.zones.clone(),
            snapshot_entries: shape.snapshot_entries,
            log: LogOptions { slots: LOG_SLOTS, data_bytes: shape.segment_bytes, ..LogOptions::default() },
        }
    }
}

/// One simulated machine.
#[derive(Clone)]
struct Machine {
    handle: NodeHandle,
    seat: Arc<Seat>,
}

/// What outlives the server that runs on a machine.
struct Seat {
    settings: Mutex<Settings>,
    disk: Mutex<FaultyDisk>,
    /// The server, while it runs.
    server: Mutex<Option<Arc<Node>>>,
    /// Why the server stopped by itself, until somebody asks.
    halted: Mutex<Option<String>>,
    /// It stopped by itself, and was not started again.
    is_stopped: AtomicBool,
}

impl Seat {
    /// As the process would: nothing of it does anything any more.
    fn stop_by_itself(&self, reason: &str) {
        *self.halted.lock() = Some(reason.to_owned());
        self.is_stopped.store(true, Ordering::Relaxed);
        self.disk.lock().kill();
        *self.server.lock() = None;
        Handle::current().kill(madsim::plugin::node());
    }
}

/// All machines and the links between them. Machines may be added.
pub struct Cluster {
    machines: Mutex<Vec<Machine>>,
    client: NodeHandle,
    options: Mutex<ClusterOptions>,
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
        timing: Timing {
            snapshot_entries: options.snapshot_entries,
            catch_up_entries: (options.snapshot_entries / 2).min(CATCH_UP_ENTRIES),
            ..Timing::default()
        },
        // So that queues of watchers are seldom emptied in one step.
        limits: Limits { watch_step_bytes_max: WATCH_STEP_BYTES_MAX, ..Limits::default() },
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

/// A machine, on which a server starts at once.
fn build_machine(settings: Settings, index: NodeIndex) -> Machine {
    let handle = Handle::current();
    let disk = FaultyDisk::new(handle.seed().wrapping_mul(31).wrapping_add(index as u64));
    let seat = Arc::new(Seat {
        settings: Mutex::new(settings),
        disk: Mutex::new(disk),
        server: Mutex::default(),
        halted: Mutex::default(),
        is_stopped: AtomicBool::default(),
    });
    let init = {
        let seat = Arc::clone(&seat);
        move || serve(Arc::clone(&seat))
    };
    let handle = handle.create_node().name(name(index)).ip(address(index)).init(init).build();
    Machine { handle, seat }
}

impl Cluster {
    /// Builds the machines and starts a server on each.
    pub fn start(options: &ClusterOptions, trace: Trace) -> Self {
        let machines = (0..options.zones.len())
            .map(|index| build_machine(settings(options, index, Role::Founder), index))
            .collect();
        let client =
            Handle::current().create_node().name("client").ip(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 100))).build();
        Self { machines: Mutex::new(machines), client, options: Mutex::new(options.clone()), trace }
    }

    /// Where the next machine will be reached by its peers.
    pub fn next_peer_url(&self) -> String {
        Self::peer_url(self.len())
    }

    /// One machine more. Its server joins the cluster, which must know it already.
    pub fn join(&self, zone: &str) -> NodeIndex {
        let index = self.len();
        self.trace.say(format!("{} starts, to join", name(index)));
        let mut options = self.options.lock();
        options.zones.push(zone.to_owned());
        let machine = build_machine(settings(&options, index, Role::Joiner), index);
        self.machines.lock().push(machine);
        index
    }

    /// A client for changes of members, through one node. To be used on the client's machine.
    pub fn admin(index: NodeIndex) -> ClusterClient<rt::Channel> {
        ClusterClient::new(Self::channel(index))
    }

    /// The members that one node counts with; none if it does not run.
    pub fn members(&self, index: NodeIndex) -> Option<Members> {
        self.server(index).map(|node| node.ops().members())
    }

    /// The members as one node knows them to be agreed on, if it knows of no change that is under way.
    pub fn settled_members(&self, index: NodeIndex) -> Option<Members> {
        let node = self.server(index)?;
        let agreed = node.ops().agreed_members().ok()?;
        (agreed == node.ops().members()).then_some(agreed)
    }

    /// The stopped node's disk is emptied, and when it starts again it joins the cluster that there is.
    pub fn empty(&self, index: NodeIndex) {
        self.trace.say(format!("{} is emptied", name(index)));
        let seat = self.seat(index);
        *seat.disk.lock() = FaultyDisk::new(rt::random_u64());
        seat.settings.lock().initial_cluster_state = ClusterState::Existing;
    }

    /// Other settings, from the node's next start on.
    pub fn change_settings(&self, index: NodeIndex, change: impl FnOnce(&mut Settings)) {
        change(&mut self.seat(index).settings.lock());
    }

    pub fn peer_url(index: NodeIndex) -> String {
        url(index, PEER_PORT)
    }

    pub fn len(&self) -> usize {
        self.machines.lock().len()
    }

    pub fn is_empty(&self) -> bool {
        self.machines.lock().is_empty()
    }

    fn machine(&self, index: NodeIndex) -> Machine {
        self.machines.lock()[index].clone()
    }

    fn seat(&self, index: NodeIndex) -> Arc<Seat> {
        self.machine(index).seat
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
        self.seat(index).server.lock().clone()
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
        let me = self.machine_id(index);
        for other in (0..self.len()).map(|other| self.machine_id(other)).filter(|id| *id != me) {
            act(&net, me, other);
            act(&net, other, me);
        }
    }

    /// Power loss: the server is gone, and with it what its disk had not synced.
    pub fn crash(&self, index: NodeIndex, policy: CrashPolicy) {
        self.trace.say(format!("{} loses power", name(index)));
        let machine = self.machine(index);
        Handle::current().kill(machine.handle.id());
        *machine.seat.server.lock() = None;
        machine.seat.disk.lock().crash(policy);
    }

    /// The process ends, the machine lives: its disk forgets nothing.
    pub fn kill(&self, index: NodeIndex) {
        self.trace.say(format!("{} is killed", name(index)));
        let machine = self.machine(index);
        Handle::current().kill(machine.handle.id());
        *machine.seat.server.lock() = None;
        machine.seat.disk.lock().kill();
    }

    /// The end of this world: nobody runs any more, and what they held in memory is freed, as it is not of tasks that
    /// still wait when the executor is dropped.
    pub async fn end(&self) {
        for machine in self.machines.lock().iter() {
            Handle::current().kill(machine.handle.id());
            *machine.seat.server.lock() = None;
            machine.seat.disk.lock().kill();
        }
        Handle::current().kill(self.client.id());
        // Those tasks are dropped when their turn comes.
        madsim::time::sleep(Duration::from_millis(1)).await;
    }

    /// Why the server stopped by itself, if it did since this was asked last.
    pub fn take_halted(&self, index: NodeIndex) -> Option<String> {
        self.seat(index).halted.lock().take()
    }

    /// Starts the server again, on what the disk still has.
    pub fn restart(&self, index: NodeIndex) {
        self.trace.say(format!("{} starts again", name(index)));
        self.seat(index).is_stopped.store(false, Ordering::Relaxed);
        Handle::current().restart(self.machine_id(index));
    }

    /// The node stands still, its connections stay. Time passes.
    pub fn pause(&self, index: NodeIndex) {
        self.trace.say(format!("{} is paused", name(index)));
        Handle::current().pause(self.machine_id(index));
    }

    /// Ends what [`Cluster::pause`] began.
    pub fn resume(&self, index: NodeIndex) {
        self.trace.say(format!("{} goes on", name(index)));
        Handle::current().resume(self.machine_id(index));
    }

    pub fn disk(&self, index: NodeIndex) -> FaultyDisk {
        self.seat(index).disk.lock().clone()
    }

    /// Whether the server stopped by itself, and was not started again.
    pub fn is_stopped(&self, index: NodeIndex) -> bool {
        self.seat(index).is_stopped.load(Ordering::Relaxed)
    }

    /// Asks the server to stop, as an operator does, and waits for that.
    pub async fn stop_in_order(&self, index: NodeIndex) {
        let Some(server) = self.server(index) else { return };
        self.trace.say(format!("{} is asked to stop", name(index)));
        let stopping = self.machine(index).handle.spawn(async move { server.stop().await });
        // A node that is cut off, or waits for its disk, is killed in the end.
        let _in_time = madsim::time::timeout(STOP_PATIENCE, stopping).await;
    }

    /// Runs on the node's machine, with the server that runs there. None without one, or if it takes too long.
    pub async fn on_node<T, F>(&self, index: NodeIndex, limit: Duration, work: impl FnOnce(Arc<Node>) -> F) -> Option<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let work = work(self.server(index)?);
        madsim::time::timeout(limit, self.machine(index).handle.spawn(work)).await.ok()?.ok()
    }

    pub fn machine_id(&self, index: NodeIndex) -> madsim::task::NodeId {
        self.machine(index).handle.id()
    }

    /// Waits until all nodes that run hold the same history, and returns its hash. Panics if a node stopped by itself.
    pub async fn converge(&self) -> (Revision, u32) {
        loop {
            if let Some(reason) = (0..self.len()).find_map(|index| self.take_halted(index)) {
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
async fn serve(seat: Arc<Seat>) {
    // The server holds this, and the seat holds the server.
    let (halting, settings) = (Arc::downgrade(&seat), seat.settings.lock().clone());
    let disk = seat.disk.lock().clone();
    let io = Io {
        disk: Arc::new(disk.clone()),
        engines: Arc::new(MemoryEngineFactory::new(Arc::new(disk))),
        halt: Halt::new(move |reason| {
            if let Some(seat) = halting.upgrade() {
                seat.stop_by_itself(reason);
            }
        }),
    };
    loop {
        match Node::start(settings.clone(), io.clone()).await {
            Ok(node) => {
                *seat.server.lock() = Some(Arc::new(node));
                return futures::future::pending().await;
            }
            // It found nobody, or nobody knew it: whoever runs it starts it again after a while.
            Err(StartError::Bootstrap(error)) if settings.initial_cluster_state == ClusterState::Existing => {
                tracing::warn!(%error, "the node does not join yet");
                madsim::time::sleep(JOIN_AGAIN).await;
            }
            Err(error) => {
                tracing::error!(%error, "the node does not start");
                return seat.stop_by_itself(&format!("it does not start: {error}"));
            }
        }
    }
}
