//! The cluster of processes as a [`World`].

use std::path::PathBuf;
use std::time::Duration;

use futures::future::{BoxFuture, join_all};
use holdfast_node::rt;
use parking_lot::Mutex;

use super::cluster::Cluster;
use super::disk::SmallDisk;
use super::node_disk::NodeDisk;
use super::shape::{Server, Shape};
use super::struck::{Place, StruckCluster};
use crate::checker::monotonic::{Role, Sighting};
use crate::nemesis::{Class, Fault, Plan};
use crate::world::{NodeIndex, StateHash, Struck, World};

/// How long a node may take to hash its history when it is asked on the way.
const HASHING: Duration = Duration::from_secs(5);
/// Sparse: a disk takes the room that is written.
const DISK_MB: u64 = 1024;

/// What runs in this world.
#[derive(Clone, Debug)]
pub struct Subject {
    pub server: Server,
    /// Another program than the one that is found for this server.
    pub program: Option<PathBuf>,
}

impl From<Server> for Subject {
    fn from(server: Server) -> Self {
        Self { server, program: None }
    }
}

pub struct ProcessWorld {
    /// Held across questions to nodes; clients do not need it.
    state: tokio::sync::Mutex<StruckCluster>,
    /// What can be seen without it.
    facts: Mutex<Facts>,
    stopped: Mutex<Vec<(NodeIndex, String)>>,
}

/// By place.
#[derive(Clone, Debug, Default)]
struct Facts {
    zones: Vec<String>,
    endpoints: Vec<String>,
    members: Vec<NodeIndex>,
}

impl ProcessWorld {
    /// Starts all nodes, and waits until they are a cluster. They get disks of their own if the plan strikes disks and
    /// the machine has such; otherwise those faults are not here.
    pub async fn start(subject: impl Into<Subject>, plan: &Plan) -> Self {
        let Subject { server, program } = subject.into();
        let zones: Vec<&str> = plan.shape.zones.iter().map(String::as_str).collect();
        let mut wanted = Shape::of(server, zones.len()).zones(&zones).proxied(plan.seed);
        wanted = wanted.flag("--snapshot-count", plan.shape.snapshot_entries);
        wanted.program = program;
        let mut disks = if plan.classes.iter().any(|class| is_of_disks(*class)) { mount(zones.len()) } else { None };
        // From here on the two end together, the processes first: they have the disks' files open.
        let mut state = StruckCluster::new(Cluster::lay_out(&wanted), Vec::new());
        for (node, zone) in plan.shape.zones.iter().enumerate() {
            let disk = disks.as_mut().and_then(Vec::pop).map(NodeDisk::new);
            if let Some(disk) = &disk {
                state.cluster.set_data_dir(node, disk.data_dir());
            }
            state.cluster.spawn(node);
            state.places.push(Place { zone: zone.clone(), is_member: true, disk, run: 1 });
        }
        state.cluster.wait_formed().await;
        let facts = Mutex::new(facts(&state));
        Self { state: tokio::sync::Mutex::new(state), facts, stopped: Mutex::default() }
    }

    /// The classes of faults that real processes can meet here, given the tools and the rights.
    #[must_use]
    pub fn classes() -> Vec<Class> {
        let never = [Class::Duplicate, Class::Reorder, Class::ClockRate, Class::ClockJump, Class::FailSync];
        Class::ALL.into_iter().filter(|class| !never.contains(class)).collect()
    }

    /// What the nodes have said, by name.
    pub async fn logs(&self) -> Vec<(String, String)> {
        let state = self.state.lock().await;
        state.cluster.nodes.iter().map(|node| (node.name.clone(), node.all_said())).collect()
    }

    fn publish(&self, state: &mut StruckCluster) {
        self.stopped.lock().append(&mut state.stopped);
        *self.facts.lock() = facts(state);
    }
}

fn facts(state: &StruckCluster) -> Facts {
    let places = state.places.iter().enumerate();
    Facts {
        zones: state.places.iter().map(|place| place.zone.clone()).collect(),
        endpoints: state.cluster.endpoints(),
        members: places.filter(|(_, place)| place.is_member).map(|(node, _)| node).collect(),
    }
}

fn is_of_disks(class: Class) -> bool {
    matches!(
        class,
        Class::PowerLoss
            | Class::PowerLossOfAll
            | Class::SlowDisk
            | Class::HungDisk
            | Class::FailWrites
            | Class::FullDisk
    )
}

/// That many disks, or none where the machine cannot.
fn mount(count: usize) -> Option<Vec<SmallDisk>> {
    let mounted = (0..count).map(|_| SmallDisk::mount(DISK_MB)).collect::<Result<Vec<_>, _>>();
    mounted.inspect_err(|why| println!("no disks of their own: {why}")).ok()
}

impl World for ProcessWorld {
    fn nodes(&self) -> usize {
        self.facts.lock().zones.len()
    }

    fn members(&self) -> Vec<NodeIndex> {
        self.facts.lock().members.clone()
    }

    fn is_settled(&self) -> BoxFuture<'_, bool> {
        let members = self.members().len();
        Box::pin(async move { self.state.lock().await.cluster.all_vote(members).await })
    }

    fn zone(&self, node: NodeIndex) -> String {
        self.facts.lock().zones[node].clone()
    }

    fn channel(&self, node: NodeIndex) -> rt::Channel {
        rt::connect(&self.facts.lock().endpoints[node], &rt::PeerTls::default()).expect("a well-formed address")
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) -> rt::JoinHandle<()> {
        rt::spawn(task)
    }

    /// Each node has a log file of its own; there is none between them.
    fn say(&self, _line: &str) {}

    fn strike<'a>(&'a self, fault: &'a Fault) -> BoxFuture<'a, Struck> {
        Box::pin(async move {
            let mut state = self.state.lock().await;
            state.look_for_stopped();
            let struck = state.begin(fault).await;
            state.settle();
            self.publish(&mut state);
            struck
        })
    }

    fn lift<'a>(&'a self, fault: &'a Fault) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let mut state = self.state.lock().await;
            state.look_for_stopped();
            state.end(fault, false).await;
            state.settle();
            self.publish(&mut state);
        })
    }

    fn heal(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let mut state = self.state.lock().await;
            state.look_for_stopped();
            let (members, others): (Vec<Fault>, Vec<Fault>) =
                state.standing.end_all().into_iter().partition(is_of_members);
            for fault in others {
                state.end(&fault, true).await;
            }
            // Members change when everything else is whole.
            state.settle();
            for fault in members {
                state.end(&fault, true).await;
                state.settle();
            }
            state.wait_for_quiet().await;
            self.publish(&mut state);
        })
    }

    fn leader(&self) -> BoxFuture<'_, Option<NodeIndex>> {
        Box::pin(async move { self.state.lock().await.cluster.leader().await })
    }

    fn sightings(&self) -> BoxFuture<'_, Vec<Sighting>> {
        Box::pin(async move {
            let mut state = self.state.lock().await;
            state.look_for_stopped();
            let awake: Vec<NodeIndex> = (0..state.places.len())
                .filter(|node| state.cluster.is_running(*node) && !state.cluster.nodes[*node].is_paused())
                .collect();
            let seen = join_all(awake.into_iter().map(|node| sighting(&state, node))).await;
            self.publish(&mut state);
            seen.into_iter().flatten().collect()
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

fn is_of_members(fault: &Fault) -> bool {
    matches!(fault, Fault::MemberAdd { .. } | Fault::LearnerAdd { .. } | Fault::MemberRemove { .. })
}

async fn sighting(state: &StruckCluster, node: NodeIndex) -> Option<Sighting> {
    let status = state.cluster.status(node).await.ok()?;
    let header = status.header?;
    let role = if status.leader == header.member_id { Role::Leads } else { Role::Follows };
    let revision = u64::try_from(header.revision).ok()?;
    let run = state.places[node].run;
    Some(Sighting { member: header.member_id, run, term: status.raft_term, revision, role })
}
