//! The simulated cluster as a [`World`]: every fault there is, but rot outside of the log.

mod cuts;
mod membership;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::channel::mpsc;
use futures::future::{BoxFuture, ready};
use holdfast_node::env::witness::{self, Promise};
use holdfast_node::node::Node;
use holdfast_node::ops::{Deadline, NodeState};
use holdfast_node::rt;
use holdfast_node::rt::nemesis::Weather;
use holdfast_node::settings::Settings;
use madsim::net::NetSim;
use parking_lot::Mutex;

use super::cluster::{Cluster, ClusterOptions, state_hash};
use super::members;
use super::trace::Trace;
use crate::checker::log_matching::Applied;
use crate::checker::monotonic::{Role, Sighting};
use crate::checker::promises::Ledger;
use crate::nemesis::{AtCuts, Fault, Fleet, Place, Plan, Standing, Stop, SyncFailure};
use crate::world::{NodeIndex, StateHash, Struck, World};

const TRUE_RATE_PPM: u64 = 1_000_000;
/// What the runtime itself begins with.
const USUAL_PAUSE: Duration = Duration::from_micros(1500);
/// EIO.
const INPUT_OUTPUT_ERROR: i32 = 5;
/// How long leadership is waited for at its new place.
const MOVE_PATIENCE: Duration = Duration::from_secs(3);
/// Between one node's start and the next one's stop.
const ROLLING_REST: Duration = Duration::from_millis(1500);
/// When everything is healed: how often members and space are looked at, and how soon again.
const HEALING_ATTEMPTS: usize = 60;
const HEALING_REST: Duration = Duration::from_millis(500);
/// Places for nodes; a cluster that grows and shrinks takes a new one each time.
const PLACES_MAX: usize = 12;

pub struct SimWorld {
    cluster: Cluster,
    trace: Trace,
    state: Mutex<State>,
}

struct State {
    standing: Standing,
    machines: Vec<Machine>,
    /// Places whose nodes are to be voters, as far as is known: a change may come late, or never.
    members: BTreeSet<NodeIndex>,
    learners: BTreeSet<NodeIndex>,
    /// Places that joined with the fault that made them.
    joined: Vec<(Fault, NodeIndex)>,
    /// Places whose nodes' logs were struck by rot, until they are whole or replaced.
    rotten: BTreeSet<NodeIndex>,
    /// The first places.
    founders: NodeIndex,
    at_cuts: AtCuts,
}

/// What was done to a machine so far.
#[derive(Clone, Debug)]
struct Machine {
    zone: String,
    /// Number of its start.
    run: u32,
    runs: bool,
    is_paused: bool,
    disk: DiskFaults,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct DiskFaults {
    refuses_writes: bool,
    fails_a_sync: bool,
    fails_syncs: bool,
    is_full: bool,
}

impl Machine {
    fn new(zone: &str) -> Self {
        Self { zone: zone.to_owned(), run: 1, runs: true, is_paused: false, disk: DiskFaults::default() }
    }
}

impl DiskFaults {
    fn of(standing: &Standing, node: NodeIndex) -> Self {
        let stands = |wanted: &Fault| standing.faults().contains(wanted);
        Self {
            refuses_writes: stands(&Fault::FailWrites { node }),
            fails_a_sync: stands(&Fault::FailSync { node, when: SyncFailure::Once }),
            fails_syncs: stands(&Fault::FailSync { node, when: SyncFailure::Always }),
            is_full: stands(&Fault::FullDisk { node }),
        }
    }
}

impl SimWorld {
    /// Starts all nodes. What they promise one another goes into the ledger.
    pub fn start(plan: &Plan, trace: Trace, ledger: Arc<Mutex<Ledger>>) -> Arc<Self> {
        let (say, shape) = (trace.clone(), &plan.shape);
        let (tell_cut, cuts) = mpsc::unbounded();
        witness::listen(Some(Box::new(move |member, promise| {
            if matches!(promise, Promise::Cut { .. }) {
                // The world may have ended.
                let _nobody_looks = tell_cut.unbounded_send(member);
            }
            if let Err(violation) = ledger.lock().hear(member, promise) {
                say.say(format!("VIOLATION {violation}"));
            }
        })));
        let cluster = Cluster::start(&ClusterOptions::from(shape), trace.clone());
        let state = State {
            standing: Standing::default(),
            machines: shape.zones.iter().map(|zone| Machine::new(zone)).collect(),
            members: (0..cluster.len()).collect(),
            learners: BTreeSet::new(),
            joined: Vec::new(),
            rotten: BTreeSet::new(),
            founders: cluster.len(),
            at_cuts: plan.at_cuts,
        };
        let world = Arc::new(Self { cluster, trace, state: Mutex::new(state) });
        madsim::task::spawn(cuts::strike(Arc::downgrade(&world), cuts));
        world
    }

    /// See [`Cluster::end`].
    pub async fn end(&self) {
        self.cluster.end().await;
    }

    /// A fault that needs nobody's answer; what follows from all that stand is the business of [`Self::settle`].
    fn begin(&self, fault: &Fault, state: &mut State) {
        match fault {
            Fault::Kill { nodes } => {
                nodes.iter().for_each(|node| self.stop(*node, state, |cluster, node| cluster.kill(node)));
            }
            Fault::PowerLoss { nodes, left } => {
                nodes.iter().for_each(|node| self.stop(*node, state, |cluster, node| cluster.crash(node, *left)));
            }
            Fault::Restart { node, .. } => {
                self.stop(*node, state, |cluster, node| cluster.kill(node));
                return;
            }
            Fault::ClockJump { node, ms } => {
                rt::nemesis::bump_wall(self.cluster.machine_id(*node), *ms);
                return;
            }
            _ => {}
        }
        state.standing.begin(fault);
    }

    fn stop(&self, node: NodeIndex, state: &mut State, how: impl Fn(&Cluster, NodeIndex)) {
        if state.machines[node].runs {
            how(&self.cluster, node);
            (state.machines[node].runs, state.machines[node].is_paused) = (false, false);
        }
    }

    /// Makes links, clocks, disks and processes what the standing faults say.
    fn settle(&self, state: &mut State) {
        self.settle_links(state);
        for node in 0..self.cluster.len() {
            let id = self.cluster.machine_id(node);
            let State { standing, machines, .. } = state;
            rt::nemesis::set_clock_rate(id, standing.clock_ppm(node).unwrap_or(TRUE_RATE_PPM));
            rt::nemesis::set_blocking_pause(id, standing.slow_disk(node).unwrap_or(USUAL_PAUSE));
            rt::nemesis::set_disk_hangs(id, standing.faults().contains(&Fault::HungDisk { node }));
            let machine = &mut machines[node];
            let faults = DiskFaults::of(standing, node);
            if machine.disk != faults {
                self.set_disk(node, faults);
                machine.disk = faults;
            }
            machine.runs &= !self.cluster.is_stopped(node);
            // One that stopped for its disk's sake is started again when the disk is well.
            let waits = self.cluster.is_stopped(node) && standing.may_stop(node);
            if !machine.runs && !standing.is_down(node) && !waits {
                self.cluster.restart(node);
                (machine.runs, machine.is_paused, machine.run) = (true, false, machine.run + 1);
            }
            let is_paused = standing.is_paused(node);
            if machine.runs && machine.is_paused != is_paused {
                if is_paused {
                    self.cluster.pause(node)
                } else {
                    self.cluster.resume(node)
                }
                machine.is_paused = is_paused;
            }
        }
    }

    fn set_disk(&self, node: NodeIndex, faults: DiskFaults) {
        let disk = self.cluster.disk(node);
        disk.heal();
        if faults.refuses_writes {
            disk.fail_writes(INPUT_OUTPUT_ERROR);
        }
        if faults.fails_a_sync {
            disk.fail_next_sync();
        }
        if faults.fails_syncs {
            disk.fail_all_syncs();
        }
        if faults.is_full {
            disk.set_capacity_bytes(disk.used_bytes());
        }
    }

    fn settle_links(&self, state: &State) {
        let (links, net) = (state.standing.links(), NetSim::current());
        let clients = self.cluster.client().id();
        let ids: Vec<_> = (0..self.cluster.len()).map(|node| self.cluster.machine_id(node)).collect();
        for (from, id) in ids.iter().copied().enumerate() {
            for (to, other) in ids.iter().copied().enumerate().filter(|(to, _)| *to != from) {
                if links.cut.contains(&(from, to)) { net.clog_link(id, other) } else { net.unclog_link(id, other) }
            }
            if links.clients_cut.contains(&from) {
                net.clog_link(id, clients);
                net.clog_link(clients, id);
            } else {
                net.unclog_link(id, clients);
                net.unclog_link(clients, id);
            }
        }
        let weather = Weather {
            loss_per_mille: links.loss_per_mille,
            delay: links.delay,
            duplicate_per_mille: links.duplicate_per_mille,
            reorder: links.reorder,
        };
        rt::nemesis::set_weather(weather, ids.into_iter().collect());
    }

    fn sighting(&self, node: NodeIndex, run: u32) -> Option<Sighting> {
        let server = self.cluster.server(node)?;
        let standing = server.ops().standing();
        let revision = u64::try_from(server.ops().revision().ok()?.0).ok()?;
        let role = if standing.leads { Role::Leads } else { Role::Follows };
        // Not the place: one that was emptied and joins again is another member.
        let member = server.ops().me().0;
        Some(Sighting { member, run, term: standing.term, revision, role })
    }

    fn member_places(&self) -> Vec<NodeIndex> {
        self.state.lock().members.iter().copied().collect()
    }

    async fn strike_slowly(&self, fault: &Fault) -> Struck {
        match fault {
            Fault::Restart { node, stop: Stop::InOrder } => {
                self.cluster.stop_in_order(*node).await;
                self.at_once(fault)
            }
            Fault::MoveLeader { to } => self.move_leader(*to).await,
            Fault::RollingRestart { settings } => {
                for node in self.member_places() {
                    self.cluster.stop_in_order(node).await;
                    if *settings == Fleet::Mixed {
                        self.cluster.change_settings(node, |settings| other_settings(settings, node));
                    }
                    self.at_once(&Fault::Restart { node, stop: Stop::Killed });
                    madsim::time::sleep(ROLLING_REST).await;
                }
                Struck::Done
            }
            Fault::MemberAdd { zone } | Fault::LearnerAdd { zone } => self.add_member(fault, zone).await,
            Fault::MemberRemove { node } => {
                if !members::remove(&self.cluster, self.member_places(), *node).await {
                    return Struck::NotHere;
                }
                self.state.lock().members.remove(node);
                self.stop(*node, &mut self.state.lock(), |cluster, node| cluster.kill(node));
                self.at_once(fault)
            }
            Fault::Rot { node, place: Place::Log } => self.rot_log(fault, *node).await,
            Fault::Rot { place: Place::State | Place::Vote, .. } => Struck::NotHere,
            _ => self.at_once(fault),
        }
    }

    fn at_once(&self, fault: &Fault) -> Struck {
        let state = &mut *self.state.lock();
        self.begin(fault, state);
        self.settle(state);
        Struck::Done
    }

    async fn move_leader(&self, to: NodeIndex) -> Struck {
        let Some((leader, target)) = self.cluster.leader().zip(self.cluster.server(to)) else { return Struck::NotHere };
        let target = target.ops().me();
        let moved = self.cluster.on_node(leader, MOVE_PATIENCE, |node| async move {
            // Whether it arrives is the cluster's affair: it may be refused, or time out.
            node.ops().move_leader(target, Deadline::after(MOVE_PATIENCE)).await.is_ok()
        });
        if moved.await.is_some() { Struck::Done } else { Struck::NotHere }
    }

    async fn lift_slowly(&self, fault: &Fault) {
        match fault {
            Fault::MemberAdd { .. } | Fault::LearnerAdd { .. } => self.remove_joined(fault).await,
            Fault::MemberRemove { node } => self.take_back(*node).await,
            // What cannot be replaced yet is replaced when all is healed.
            Fault::Rot { .. } => drop(self.replace_rotten().await),
            _ => {}
        }
        let state = &mut *self.state.lock();
        state.standing.end(fault);
        self.settle(state);
    }

    /// Whether writes are refused yet because a disk was full.
    fn is_short_of_space(&self) -> bool {
        let short = |server: Arc<Node>| server.ops().node_state() == NodeState::ReadOnlySpace;
        (0..self.cluster.len()).filter_map(|node| self.cluster.server(node)).any(short)
    }
}

/// Within what may be mixed while a cluster runs.
fn other_settings(settings: &mut Settings, node: NodeIndex) {
    if node % 2 == 0 {
        settings.log.data_bytes *= 2;
        settings.timing.snapshot_entries /= 2;
        settings.timing.catch_up_entries += 30;
    } else {
        settings.timing.election_ms = 500;
        settings.limits.stream_watchers_max /= 2;
        settings.limits.batch_commands_max = 8;
    }
}

impl World for SimWorld {
    fn nodes(&self) -> usize {
        self.cluster.len()
    }

    fn members(&self) -> Vec<NodeIndex> {
        self.member_places()
    }

    fn is_settled(&self) -> BoxFuture<'_, bool> {
        let known = self.cluster.leader().and_then(|leader| self.cluster.settled_members(leader));
        let votes = known.is_some_and(|known| !known.is_joint && known.voters().count() == self.member_places().len());
        Box::pin(async move { votes })
    }

    fn zone(&self, node: NodeIndex) -> String {
        self.state.lock().machines[node].zone.clone()
    }

    fn channel(&self, node: NodeIndex) -> rt::Channel {
        Cluster::channel(node)
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) -> rt::JoinHandle<()> {
        self.cluster.client().spawn(task)
    }

    fn say(&self, line: &str) {
        self.trace.say(line);
    }

    fn strike<'a>(&'a self, fault: &'a Fault) -> BoxFuture<'a, Struck> {
        Box::pin(self.strike_slowly(fault))
    }

    fn lift<'a>(&'a self, fault: &'a Fault) -> BoxFuture<'a, ()> {
        Box::pin(self.lift_slowly(fault))
    }

    fn heal(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            {
                let state = &mut *self.state.lock();
                state.standing.end_all();
                state.at_cuts = AtCuts::Nothing;
                // Who does not belong to the cluster stays out of it.
                for place in 0..state.machines.len() {
                    if !state.members.contains(&place) && !state.learners.contains(&place) {
                        self.begin(&Fault::Kill { nodes: vec![place] }, state);
                    }
                }
                self.settle(state);
            }
            for _ in 0..HEALING_ATTEMPTS {
                // A removal that was given up may be carried out yet, by the next leader.
                if self.agree_on_members().await && !self.is_short_of_space() && self.is_settled().await {
                    return;
                }
                madsim::time::sleep(HEALING_REST).await;
            }
            self.trace.say("healed, but for members or space");
        })
    }

    fn leader(&self) -> BoxFuture<'_, Option<NodeIndex>> {
        Box::pin(ready(self.cluster.leader()))
    }

    fn sightings(&self) -> BoxFuture<'_, Vec<Sighting>> {
        let state = self.state.lock();
        let runs: BTreeMap<NodeIndex, u32> =
            state.machines.iter().enumerate().filter(|(_, machine)| machine.runs).map(|(n, m)| (n, m.run)).collect();
        Box::pin(ready(runs.into_iter().filter_map(|(node, run)| self.sighting(node, run)).collect()))
    }

    fn applied(&self) -> Vec<Applied> {
        let of = |node| {
            let entry = self.cluster.server(node)?.ops().replica().applied();
            Some(Applied { member: node as u64, index: entry.index, term: entry.term })
        };
        (0..self.cluster.len()).filter_map(of).collect()
    }

    fn hash(&self, node: NodeIndex) -> BoxFuture<'_, Result<StateHash, String>> {
        let server = self.cluster.server(node);
        Box::pin(ready(server.map(|server| state_hash(&server)).ok_or_else(|| "it does not run".to_owned())))
    }

    fn stopped_by_themselves(&self) -> Vec<(NodeIndex, String)> {
        (0..self.cluster.len()).filter_map(|node| Some((node, self.cluster.take_halted(node)?))).collect()
    }
}
