//! A cluster of processes with the faults that stand, and what follows from them.

use std::time::{Duration, Instant};

use holdfast_client::JoinAs;

use super::cluster::Cluster;
use super::links::{End, Rule};
use super::node_disk::{NodeDisk, Wanted};
use super::rot;
use super::shape::Server;
use crate::nemesis::{Fault, Fleet, Place as Where, Standing, Stop};
use crate::world::{NodeIndex, Struck};

/// A node that was asked to stop and has not by then is killed: it may wait for others that cannot be reached.
const STOP_MAX: Duration = Duration::from_secs(15);
/// How long a restarted node may take until the next one is restarted.
const CATCH_UP_MAX: Duration = Duration::from_secs(5);
/// How long a change of members may be tried under faults, and how long when all are healed.
const CHANGE_MAX: Duration = Duration::from_secs(3);
const HEALED_CHANGE_MAX: Duration = Duration::from_secs(60);
/// How long an alarm may stand after its reason has ended.
const ALARMS_MAX: Duration = Duration::from_secs(30);
/// How long a node that ended may stay down meanwhile.
const SUPERVISE_EVERY: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Members with other settings than the rest: a slower pulse, and more entries between two snapshots.
const MIXED: [(&str, &str); 3] =
    [("--heartbeat-interval", "150"), ("--election-timeout", "1500"), ("--snapshot-count", "250")];

/// Whose values rot: those of the workload of registers.
const ROTTEN_KEYS: &[u8] = b"register/";

/// One node beside its process.
pub(super) struct Place {
    pub zone: String,
    pub is_member: bool,
    /// None: its data lies where all data lies, and nothing happens to it.
    pub disk: Option<NodeDisk>,
    /// The number of its process.
    pub run: u32,
}

pub(super) struct StruckCluster {
    pub cluster: Cluster,
    pub standing: Standing,
    pub places: Vec<Place>,
    /// The nodes that joined, by the fault that says how.
    joined: Vec<(Fault, NodeIndex)>,
    /// A disk was full; its node's alarm may stand for a while after it has room again.
    may_be_alarmed: bool,
    /// Nodes that ended without being told to, with what they said last.
    pub stopped: Vec<(NodeIndex, String)>,
}

impl Drop for StruckCluster {
    fn drop(&mut self) {
        // A process that waits for a frozen disk cannot be killed.
        for disk in self.places.iter_mut().filter_map(|place| place.disk.as_mut()) {
            // Its holder thaws it in the end, if this cannot.
            let _thawed = disk.let_go();
        }
    }
}

impl StruckCluster {
    pub(super) fn new(cluster: Cluster, places: Vec<Place>) -> Self {
        Self {
            cluster,
            standing: Standing::default(),
            places,
            joined: Vec::new(),
            may_be_alarmed: false,
            stopped: Vec::new(),
        }
    }

    pub(super) async fn begin(&mut self, fault: &Fault) -> Struck {
        let is_done = match fault {
            Fault::Partition(_) | Fault::Loss { .. } | Fault::Delay { .. } | Fault::Pause { .. } => true,
            Fault::Kill { nodes } => {
                nodes.iter().for_each(|node| self.kill(*node));
                true
            }
            Fault::PowerLoss { nodes, .. } => self.lose_power(nodes),
            Fault::SlowDisk { node, .. }
            | Fault::HungDisk { node }
            | Fault::FailWrites { node }
            | Fault::FullDisk { node } => self.places[*node].disk.is_some(),
            Fault::MemberAdd { zone } => self.join_anew(fault, zone, JoinAs::Voter).await,
            Fault::LearnerAdd { zone } => self.join_anew(fault, zone, JoinAs::Learner).await,
            Fault::MemberRemove { node } => self.leave_or_be_killed(*node).await,
            Fault::Restart { node, stop } => {
                self.stop(*node, *stop).await;
                return Struck::Done;
            }
            Fault::MoveLeader { to } => match self.cluster.try_move_leader(*to, CHANGE_MAX).await {
                Ok(()) => return Struck::Done,
                Err(_) => false,
            },
            Fault::Rot { node, place: Where::State } if self.cluster.server() == Server::Etcd => {
                self.stop(*node, Stop::InOrder).await;
                let db = self.cluster.data_dir(*node).join("member/snap/db");
                match rot::flip_values(&db, ROTTEN_KEYS) {
                    Ok(values) if values > 0 => return Struck::Done,
                    Ok(_) | Err(_) => false,
                }
            }
            Fault::RollingRestart { settings } => {
                self.restart_all(*settings).await;
                return Struck::Done;
            }
            // TCP brings each byte once and in order; clocks, and rot in Holdfast's files, are the simulator's.
            Fault::Duplicate { .. }
            | Fault::Reorder { .. }
            | Fault::ClockRate { .. }
            | Fault::ClockJump { .. }
            | Fault::FailSync { .. }
            | Fault::Rot { .. } => false,
        };
        if is_done {
            self.may_be_alarmed |= matches!(fault, Fault::FullDisk { .. });
            self.standing.begin(fault);
            Struck::Done
        } else {
            Struck::NotHere
        }
    }

    pub(super) async fn end(&mut self, fault: &Fault, healed: bool) {
        self.standing.end(fault);
        let limit = if healed { HEALED_CHANGE_MAX } else { CHANGE_MAX };
        match fault {
            Fault::MemberAdd { .. } | Fault::LearnerAdd { .. } => {
                if let Some(at) = self.joined.iter().position(|(how, _)| how == fault) {
                    let (how, node) = self.joined.remove(at);
                    if !self.leave(node, limit).await {
                        // It goes when everything is healed.
                        self.standing.begin(&how);
                        self.joined.push((how, node));
                    }
                }
            }
            Fault::MemberRemove { node } => {
                let role = JoinAs::Voter;
                match self.cluster.try_join(*node, role, limit).await {
                    Ok(()) => self.places[*node].is_member = true,
                    Err(_) => self.standing.begin(fault),
                }
            }
            Fault::FailWrites { node } => self.kill(*node),
            _ => {}
        }
    }

    /// When everything is whole again: the alarms of disks that were full are over. A member that is cut off before
    /// its alarm has ended keeps it, and with it the whole cluster from writing, as in etcd.
    pub(super) async fn wait_for_quiet(&mut self) {
        if std::mem::take(&mut self.may_be_alarmed) {
            let begun = Instant::now();
            // Whoever judges the cluster afterwards sees what is left.
            while begun.elapsed() < ALARMS_MAX && self.cluster.quiet_alarms(SUPERVISE_EVERY).await.is_err() {
                // A node may have found its disk full a moment before it was emptied.
                self.look_for_stopped();
                self.settle();
            }
        }
    }

    /// Makes links, disks and processes what the standing faults say.
    pub(super) fn settle(&mut self) {
        self.settle_links();
        for node in 0..self.places.len() {
            let is_wanted = self.places[node].is_member && !self.standing.is_down(node);
            let wanted = self.wanted_of_disk(node, is_wanted);
            if let Some(disk) = &mut self.places[node].disk {
                if disk.fails() && !wanted.fails && !self.cluster.is_running(node) {
                    disk.replace().expect("a disk whose node does not run can be mounted again");
                }
                disk.settle(wanted).expect("a disk does what it did before");
            }
            if !is_wanted {
                continue;
            }
            if !self.cluster.is_running(node) {
                self.cluster.spawn(node);
                self.places[node].run += 1;
            }
            match (self.standing.is_paused(node), self.cluster.nodes[node].is_paused()) {
                (true, false) => self.cluster.pause(node),
                (false, true) => self.cluster.resume(node),
                (true, true) | (false, false) => {}
            }
        }
    }

    fn settle_links(&self) {
        let (links, wanted) = (self.cluster.links(), self.standing.links());
        let (least, most) = wanted.delay.unwrap_or_default();
        let weather = Rule::delayed(least, most.saturating_sub(least)).losing(wanted.loss_per_mille.into());
        for from in 0..self.places.len() {
            for to in (0..self.places.len()).filter(|to| *to != from) {
                let rule = if wanted.cut.contains(&(from, to)) { Rule::held() } else { weather };
                links.set(End::Node(from), End::Node(to), rule);
            }
            let is_cut = wanted.clients_cut.contains(&from);
            let rule = if is_cut { Rule::held() } else { Rule::default() };
            links.set_both(End::Clients, End::Node(from), rule);
        }
    }

    /// A disk stands still only under a process: whoever comes to empty it must not wait for it.
    fn wanted_of_disk(&self, node: NodeIndex, runs: bool) -> Wanted {
        let stands = |wanted: &dyn Fn(&Fault) -> bool| self.standing.faults().iter().any(wanted);
        Wanted {
            hangs: runs && stands(&|fault| matches!(fault, Fault::HungDisk { node: hit } if *hit == node)),
            slow: self.standing.slow_disk(node).filter(|_| runs),
            is_full: stands(&|fault| matches!(fault, Fault::FullDisk { node: hit } if *hit == node)),
            fails: stands(&|fault| matches!(fault, Fault::FailWrites { node: hit } if *hit == node)),
        }
    }

    /// Notes the nodes that ended without being told to.
    pub(super) fn look_for_stopped(&mut self) {
        for node in 0..self.places.len() {
            if let Some(status) = self.cluster.nodes[node].ended() {
                let last = self.cluster.logs(node).lines().last().unwrap_or("it said nothing").to_owned();
                self.cluster.kill9(node);
                self.stopped.push((node, format!("{status}: {last}")));
            }
        }
    }

    fn kill(&mut self, node: NodeIndex) {
        if let Some(disk) = &mut self.places[node].disk {
            disk.let_go().expect("a frozen disk can be thawed");
        }
        self.cluster.kill9(node);
    }

    /// All of them, or nothing where one of them has no disk of its own.
    fn lose_power(&mut self, nodes: &[NodeIndex]) -> bool {
        if nodes.iter().any(|node| self.places[*node].disk.is_none()) {
            return false;
        }
        for node in nodes {
            let disk = self.places[*node].disk.as_mut().filter(|disk| !disk.fails());
            let lost = disk.is_none_or(|disk| disk.lose_power().is_ok());
            self.kill(*node);
            if !lost {
                return false;
            }
        }
        true
    }

    async fn stop(&mut self, node: NodeIndex, how: Stop) {
        let is_awake = self.cluster.is_running(node) && !self.cluster.nodes[node].is_paused();
        if how == Stop::InOrder && is_awake {
            self.cluster.nodes[node].signal("TERM");
            let begun = Instant::now();
            while self.cluster.is_running(node) && begun.elapsed() < STOP_MAX {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
        self.kill(node);
    }

    async fn restart_all(&mut self, settings: Fleet) {
        for node in 0..self.places.len() {
            if !self.places[node].is_member || self.standing.is_down(node) || self.standing.is_paused(node) {
                continue;
            }
            self.stop(node, Stop::InOrder).await;
            self.cluster.nodes[node].restore_flags();
            if settings == Fleet::Mixed && node % 2 == 0 {
                MIXED.iter().for_each(|(name, value)| self.cluster.nodes[node].set_flag(name, value));
            }
            self.settle();
            let begun = Instant::now();
            while begun.elapsed() < CATCH_UP_MAX {
                if self.cluster.status(node).await.is_ok_and(|status| status.leader != 0) {
                    break;
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
    }

    async fn join_anew(&mut self, fault: &Fault, zone: &str, role: JoinAs) -> bool {
        let free = self.places.iter().position(|place| !place.is_member && place.zone == zone && place.disk.is_none());
        let node = free.unwrap_or_else(|| {
            self.places.push(Place { zone: zone.to_owned(), is_member: false, disk: None, run: 0 });
            self.cluster.add_machine(zone)
        });
        if self.cluster.try_join(node, role, CHANGE_MAX).await.is_err() {
            return false;
        }
        self.places[node].is_member = true;
        self.joined.push((fault.clone(), node));
        true
    }

    /// Whether it was removed is not always known in time: the answer may be lost with the leader, who may have been
    /// removed. It does not run any more, whichever it is, and the end of the fault finds out.
    async fn leave_or_be_killed(&mut self, node: NodeIndex) -> bool {
        if !self.leave(node, CHANGE_MAX).await {
            self.places[node].is_member = false;
            self.kill(node);
        }
        true
    }

    /// Whether it is gone; its process is then, too.
    async fn leave(&mut self, node: NodeIndex, limit: Duration) -> bool {
        if self.cluster.try_leave(node, limit).await.is_err() {
            return false;
        }
        self.places[node].is_member = false;
        self.kill(node);
        true
    }
}
