//! The simulated cluster as a [`World`].

use futures::future::{BoxFuture, ready};
use holdfast_node::rt;
use madsim::net::NetSim;
use parking_lot::Mutex;

use super::cluster::{Cluster, ClusterOptions, state_hash};
use super::trace::Trace;
use crate::checker::monotonic::{Role, Sighting};
use crate::nemesis::{Fault, Shape, Standing, Stop};
use crate::world::{NodeIndex, StateHash, Struck, World};

const TRUE_RATE_PPM: u64 = 1_000_000;
/// What the runtime itself begins with.
const USUAL_PAUSE: std::time::Duration = std::time::Duration::from_micros(1500);

pub struct SimWorld {
    cluster: Cluster,
    zones: Vec<String>,
    trace: Trace,
    state: Mutex<State>,
}

struct State {
    standing: Standing,
    machines: Vec<Machine>,
}

/// What was done to a machine so far.
#[derive(Clone, Copy, Debug)]
struct Machine {
    /// Number of its start.
    run: u32,
    runs: bool,
    is_paused: bool,
}

impl SimWorld {
    /// Starts all nodes.
    pub fn start(shape: &Shape, trace: Trace) -> Self {
        let cluster = Cluster::start(&ClusterOptions::from(shape), trace.clone());
        let machines = vec![Machine { run: 1, runs: true, is_paused: false }; cluster.len()];
        let state = Mutex::new(State { standing: Standing::default(), machines });
        Self { cluster, zones: shape.zones.clone(), trace, state }
    }

    /// Whether the fault was begun; what follows from all that stand is the business of [`Self::settle`].
    fn begin(&self, fault: &Fault, state: &mut State) -> Struck {
        match fault {
            Fault::Partition(_) | Fault::ClockRate { .. } | Fault::SlowDisk { .. } | Fault::Pause { .. } => {}
            Fault::Kill { nodes } => {
                nodes.iter().for_each(|node| self.stop(*node, state, |cluster, node| cluster.kill(node)));
            }
            Fault::PowerLoss { nodes, left } => {
                nodes.iter().for_each(|node| self.stop(*node, state, |cluster, node| cluster.crash(node, *left)));
            }
            Fault::Restart { node, stop: Stop::Killed } => {
                self.stop(*node, state, |cluster, node| cluster.kill(node));
                return Struck::Done;
            }
            Fault::ClockJump { node, ms } => {
                rt::nemesis::bump_wall(self.cluster.machine_id(*node), *ms);
                return Struck::Done;
            }
            _ => return Struck::NotHere,
        }
        state.standing.begin(fault);
        Struck::Done
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
            rt::nemesis::set_clock_rate(id, state.standing.clock_ppm(node).unwrap_or(TRUE_RATE_PPM));
            rt::nemesis::set_blocking_pause(id, state.standing.slow_disk(node).unwrap_or(USUAL_PAUSE));
            let is_paused = state.standing.is_paused(node);
            let machine = &mut state.machines[node];
            if !machine.runs && !state.standing.is_down(node) {
                self.cluster.restart(node);
                (machine.runs, machine.is_paused, machine.run) = (true, false, machine.run + 1);
            }
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

    fn settle_links(&self, state: &State) {
        let (links, net) = (state.standing.links(), NetSim::current());
        let clients = self.cluster.client().id();
        for from in 0..self.cluster.len() {
            let id = self.cluster.machine_id(from);
            for to in (0..self.cluster.len()).filter(|to| *to != from) {
                let other = self.cluster.machine_id(to);
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
    }

    fn sighting(&self, node: NodeIndex, run: u32) -> Option<Sighting> {
        let server = self.cluster.server(node)?;
        let standing = server.ops().standing();
        let revision = u64::try_from(server.ops().revision().ok()?.0).ok()?;
        let role = if standing.leads { Role::Leads } else { Role::Follows };
        Some(Sighting { member: node as u64, run, term: standing.term, revision, role })
    }
}

impl World for SimWorld {
    fn nodes(&self) -> usize {
        self.cluster.len()
    }

    fn members(&self) -> Vec<NodeIndex> {
        (0..self.cluster.len()).collect()
    }

    fn zone(&self, node: NodeIndex) -> String {
        self.zones[node].clone()
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
        let state = &mut *self.state.lock();
        let struck = self.begin(fault, state);
        self.settle(state);
        Box::pin(ready(struck))
    }

    fn lift<'a>(&'a self, fault: &'a Fault) -> BoxFuture<'a, ()> {
        let state = &mut *self.state.lock();
        state.standing.end(fault);
        self.settle(state);
        Box::pin(ready(()))
    }

    fn heal(&self) -> BoxFuture<'_, ()> {
        let state = &mut *self.state.lock();
        state.standing.end_all();
        self.settle(state);
        Box::pin(ready(()))
    }

    fn leader(&self) -> BoxFuture<'_, Option<NodeIndex>> {
        Box::pin(ready(self.cluster.leader()))
    }

    fn sightings(&self) -> BoxFuture<'_, Vec<Sighting>> {
        let state = self.state.lock();
        let runs = state.machines.iter().enumerate().filter(|(_, machine)| machine.runs);
        Box::pin(ready(runs.filter_map(|(node, machine)| self.sighting(node, machine.run)).collect()))
    }

    fn hash(&self, node: NodeIndex) -> BoxFuture<'_, Result<StateHash, String>> {
        let server = self.cluster.server(node);
        Box::pin(ready(server.map(|server| state_hash(&server)).ok_or_else(|| "it does not run".to_owned())))
    }

    fn stopped_by_themselves(&self) -> Vec<(NodeIndex, String)> {
        (0..self.cluster.len()).filter_map(|node| Some((node, self.cluster.take_halted(node)?))).collect()
    }
}
