//! The cluster of processes as a [`World`].

use std::time::Duration;

use futures::future::{BoxFuture, join_all};
use holdfast_node::rt;
use parking_lot::Mutex;

use super::cluster::Cluster;
use super::shape::{Server, Shape};
use crate::checker::monotonic::{Role, Sighting};
use crate::nemesis::{self, Fault, Standing, Stop};
use crate::world::{NodeIndex, StateHash, Struck, World};

/// How long a node may take to hash its history when it is asked on the way.
const HASHING: Duration = Duration::from_secs(5);

pub struct ProcessWorld {
    zones: Vec<String>,
    endpoints: Vec<String>,
    /// Held across questions to nodes; clients do not need it.
    state: tokio::sync::Mutex<State>,
    stopped: Mutex<Vec<(NodeIndex, String)>>,
}

struct State {
    cluster: Cluster,
    standing: Standing,
    /// Of each node: the number of its start.
    runs: Vec<u32>,
}

impl ProcessWorld {
    /// Starts all nodes, and waits until they are a cluster.
    pub async fn start(server: Server, shape: &nemesis::Shape) -> Self {
        let zones: Vec<&str> = shape.zones.iter().map(String::as_str).collect();
        let wanted = Shape::of(server, zones.len()).zones(&zones).flag("--snapshot-count", shape.snapshot_entries);
        let cluster = Cluster::start(&wanted).await;
        let (endpoints, runs) = (cluster.endpoints(), vec![1; cluster.len()]);
        let state = tokio::sync::Mutex::new(State { cluster, standing: Standing::default(), runs });
        Self { zones: shape.zones.clone(), endpoints, state, stopped: Mutex::default() }
    }

    /// Notes the nodes that ended without being told to.
    fn look_for_stopped(&self, state: &mut State) {
        for node in 0..state.cluster.len() {
            if let Some(status) = state.cluster.nodes[node].ended() {
                let last = state.cluster.logs(node).lines().last().unwrap_or("it said nothing").to_owned();
                state.cluster.kill9(node);
                self.stopped.lock().push((node, format!("{status}: {last}")));
            }
        }
    }
}

impl State {
    async fn begin(&mut self, fault: &Fault) -> Struck {
        match fault {
            Fault::Kill { nodes } => nodes.iter().for_each(|node| self.cluster.kill9(*node)),
            Fault::Pause { .. } => {}
            Fault::Restart { node, stop } => {
                let awake = self.cluster.is_running(*node) && !self.cluster.nodes[*node].is_paused();
                match stop {
                    Stop::InOrder if awake => drop(self.cluster.terminate(*node).await),
                    Stop::InOrder | Stop::Killed => self.cluster.kill9(*node),
                }
                return Struck::Done;
            }
            _ => return Struck::NotHere,
        }
        self.standing.begin(fault);
        Struck::Done
    }

    /// Starts, pauses and wakes what the standing faults allow to run.
    fn settle(&mut self) {
        for node in 0..self.cluster.len() {
            if self.standing.is_down(node) {
                continue;
            }
            if !self.cluster.is_running(node) {
                self.cluster.spawn(node);
                self.runs[node] += 1;
            }
            match (self.standing.is_paused(node), self.cluster.nodes[node].is_paused()) {
                (true, false) => self.cluster.pause(node),
                (false, true) => self.cluster.resume(node),
                _ => {}
            }
        }
    }

    async fn sighting(&self, node: NodeIndex) -> Option<Sighting> {
        let status = self.cluster.status(node).await.ok()?;
        let header = status.header?;
        let role = if status.leader == header.member_id { Role::Leads } else { Role::Follows };
        let revision = u64::try_from(header.revision).ok()?;
        Some(Sighting { member: header.member_id, run: self.runs[node], term: status.raft_term, revision, role })
    }
}

impl World for ProcessWorld {
    fn nodes(&self) -> usize {
        self.zones.len()
    }

    fn members(&self) -> Vec<NodeIndex> {
        (0..self.zones.len()).collect()
    }

    fn zone(&self, node: NodeIndex) -> String {
        self.zones[node].clone()
    }

    fn channel(&self, node: NodeIndex) -> rt::Channel {
        rt::connect(&self.endpoints[node], &rt::PeerTls::default()).expect("a well-formed address")
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) -> rt::JoinHandle<()> {
        rt::spawn(task)
    }

    /// Each node has a log file of its own; there is none between them.
    fn say(&self, _line: &str) {}

    fn strike<'a>(&'a self, fault: &'a Fault) -> BoxFuture<'a, Struck> {
        Box::pin(async move {
            let mut state = self.state.lock().await;
            self.look_for_stopped(&mut state);
            let struck = state.begin(fault).await;
            state.settle();
            struck
        })
    }

    fn lift<'a>(&'a self, fault: &'a Fault) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let mut state = self.state.lock().await;
            self.look_for_stopped(&mut state);
            state.standing.end(fault);
            state.settle();
        })
    }

    fn heal(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let mut state = self.state.lock().await;
            self.look_for_stopped(&mut state);
            state.standing.end_all();
            state.settle();
        })
    }

    fn leader(&self) -> BoxFuture<'_, Option<NodeIndex>> {
        Box::pin(async move { self.state.lock().await.cluster.leader().await })
    }

    fn sightings(&self) -> BoxFuture<'_, Vec<Sighting>> {
        Box::pin(async move {
            let mut state = self.state.lock().await;
            self.look_for_stopped(&mut state);
            let awake: Vec<NodeIndex> = (0..state.cluster.len())
                .filter(|node| state.cluster.is_running(*node) && !state.cluster.nodes[*node].is_paused())
                .collect();
            let state = &*state;
            join_all(awake.into_iter().map(|node| state.sighting(node))).await.into_iter().flatten().collect()
        })
    }

    fn hash(&self, node: NodeIndex) -> BoxFuture<'_, Result<StateHash, String>> {
        Box::pin(async move {
            let hash = self.state.lock().await.cluster.hash_kv_within(node, HASHING).await?;
            Ok(StateHash { revision: hash.revision, compact_revision: hash.compact_revision, hash: hash.hash })
        })
    }

    fn stopped_by_themselves(&self) -> Vec<(NodeIndex, String)> {
        std::mem::take(&mut self.stopped.lock())
    }
}
