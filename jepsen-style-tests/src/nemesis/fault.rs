//! Everything that can be done to a cluster, in concrete terms: to these nodes, by this much.

use std::fmt;
use std::time::Duration;

use holdfast_node::env::CrashPolicy;

use super::cut::{Cut, name};
use crate::world::NodeIndex;

/// How a node is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Asked to: it hands leadership over and ends.
    InOrder,
    Killed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncFailure {
    /// The next one, then the disk works again, without what that sync should have made durable.
    Once,
    Always,
}

/// The settings of a cluster's nodes after a rolling restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fleet {
    Alike,
    /// Some have other limits and timings than the rest, all within what may be mixed.
    Mixed,
}

/// Where rot sits. Plans draw rot of the log; the rest is another suite's subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Log,
    State,
    Vote,
}

/// One fault. What it means to end it stands behind each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// These links carry nothing. End: they do. A link that flaps is a partition struck and lifted in turn.
    Partition(Cut),
    /// Of what is sent between any two nodes, this share is lost. End: none.
    Loss { per_mille: u16 },
    /// What is sent between any two nodes takes this much longer, at least and at most. End: no longer.
    Delay { least: Duration, most: Duration },
    /// This share of messages arrives twice. End: once.
    Duplicate { per_mille: u16 },
    /// Calls overtake one another: this share of them is held back for up to that long. End: first in, first out.
    Reorder { per_mille: u16, hold: Duration },
    /// The processes end without a word. End: they are started again.
    Kill { nodes: Vec<NodeIndex> },
    /// They stand still; connections stay. End: they go on.
    Pause { nodes: Vec<NodeIndex> },
    /// The machines lose power, and their disks what the policy says of unsynced writes. End: they are started again.
    PowerLoss { nodes: Vec<NodeIndex>, left: CrashPolicy },
    /// Stopped and started at once. Over when it returns.
    Restart { node: NodeIndex, stop: Stop },
    /// The node's monotonic clock runs at that many millionths of true speed. End: at true speed.
    ClockRate { node: NodeIndex, ppm: u64 },
    /// Its wall clock jumps. Over at once.
    ClockJump { node: NodeIndex, ms: i64 },
    /// Each operation of its disk takes up to this long. End: as before.
    SlowDisk { node: NodeIndex, longest: Duration },
    /// No operation of its disk comes back. End: they do.
    HungDisk { node: NodeIndex },
    /// Writes are refused with EIO. End: they are not; the node is started again if it stopped.
    FailWrites { node: NodeIndex },
    /// Syncs are refused with EIO, and what they should have made durable is lost. End: as for writes.
    FailSync { node: NodeIndex, when: SyncFailure },
    /// No room for another byte. End: there is.
    FullDisk { node: NodeIndex },
    /// A node joins at a new place, or at one that was removed, as a voter. End: it is removed.
    MemberAdd { zone: String },
    /// A node joins and stays a learner. End: it is removed.
    LearnerAdd { zone: String },
    /// The member is removed and its node stopped. End: its node, emptied, joins again.
    MemberRemove { node: NodeIndex },
    /// Leadership is handed to the node. Over when it returns.
    MoveLeader { to: NodeIndex },
    /// Every node is stopped in order and started again, one after another. Over when it returns.
    RollingRestart { settings: Fleet },
    /// Bytes on the disk are not what was written; the node starts on them. End: if it could not repair itself, it is
    /// removed, emptied, and joins again.
    Rot { node: NodeIndex, place: Place },
}

/// What kind of fault: the rows of the table of what was struck how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    Isolate,
    OneWay,
    Sides,
    Ring,
    Bridge,
    Zone,
    Clients,
    Flap,
    Loss,
    Delay,
    Duplicate,
    Reorder,
    Kill,
    KillMany,
    Pause,
    PowerLoss,
    PowerLossOfAll,
    Restart,
    ClockRate,
    ClockJump,
    SlowDisk,
    HungDisk,
    FailWrites,
    FailSync,
    FullDisk,
    MemberAdd,
    LearnerAdd,
    MemberRemove,
    MoveLeader,
    RollingRestart,
    Rot,
}

impl Class {
    pub const ALL: [Self; 31] = [
        Self::Isolate,
        Self::OneWay,
        Self::Sides,
        Self::Ring,
        Self::Bridge,
        Self::Zone,
        Self::Clients,
        Self::Flap,
        Self::Loss,
        Self::Delay,
        Self::Duplicate,
        Self::Reorder,
        Self::Kill,
        Self::KillMany,
        Self::Pause,
        Self::PowerLoss,
        Self::PowerLossOfAll,
        Self::Restart,
        Self::ClockRate,
        Self::ClockJump,
        Self::SlowDisk,
        Self::HungDisk,
        Self::FailWrites,
        Self::FailSync,
        Self::FullDisk,
        Self::MemberAdd,
        Self::LearnerAdd,
        Self::MemberRemove,
        Self::MoveLeader,
        Self::RollingRestart,
        Self::Rot,
    ];

    /// As in a report, and on a command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Isolate => "isolate",
            Self::OneWay => "one-way",
            Self::Sides => "sides",
            Self::Ring => "ring",
            Self::Bridge => "bridge",
            Self::Zone => "zone",
            Self::Clients => "clients",
            Self::Flap => "flap",
            Self::Loss => "loss",
            Self::Delay => "delay",
            Self::Duplicate => "duplicate",
            Self::Reorder => "reorder",
            Self::Kill => "kill",
            Self::KillMany => "kill-many",
            Self::Pause => "pause",
            Self::PowerLoss => "power-loss",
            Self::PowerLossOfAll => "power-loss-of-all",
            Self::Restart => "restart",
            Self::ClockRate => "clock-rate",
            Self::ClockJump => "clock-jump",
            Self::SlowDisk => "slow-disk",
            Self::HungDisk => "hung-disk",
            Self::FailWrites => "fail-writes",
            Self::FailSync => "fail-sync",
            Self::FullDisk => "full-disk",
            Self::MemberAdd => "member-add",
            Self::LearnerAdd => "learner-add",
            Self::MemberRemove => "member-remove",
            Self::MoveLeader => "move-leader",
            Self::RollingRestart => "rolling-restart",
            Self::Rot => "rot",
        }
    }

    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.name() == name)
    }
}

impl fmt::Display for Class {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

fn names(nodes: &[NodeIndex]) -> String {
    let names: Vec<String> = nodes.iter().map(|node| name(*node)).collect();
    names.join(" ")
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Partition(cut) => write!(out, "partition: {cut}"),
            Self::Loss { per_mille } => write!(out, "{per_mille} of 1000 messages are lost"),
            Self::Delay { least, most } => write!(out, "messages take {least:?} to {most:?} longer"),
            Self::Duplicate { per_mille } => write!(out, "{per_mille} of 1000 messages arrive twice"),
            Self::Reorder { per_mille, hold } => write!(out, "{per_mille} of 1000 calls are held for up to {hold:?}"),
            Self::Kill { nodes } => write!(out, "killed: {}", names(nodes)),
            Self::Pause { nodes } => write!(out, "paused: {}", names(nodes)),
            Self::PowerLoss { nodes, left } => write!(out, "power loss, {left:?}: {}", names(nodes)),
            Self::Restart { node, stop: Stop::InOrder } => write!(out, "restart in order: {}", name(*node)),
            Self::Restart { node, stop: Stop::Killed } => write!(out, "killed and started: {}", name(*node)),
            Self::ClockRate { node, ppm } => write!(out, "clock of {} at {ppm} ppm", name(*node)),
            Self::ClockJump { node, ms } => write!(out, "wall clock of {} jumps by {ms} ms", name(*node)),
            Self::SlowDisk { node, longest } => write!(out, "disk of {} takes up to {longest:?}", name(*node)),
            Self::HungDisk { node } => write!(out, "disk of {} hangs", name(*node)),
            Self::FailWrites { node } => write!(out, "disk of {} refuses writes", name(*node)),
            Self::FailSync { node, when } => write!(out, "disk of {} fails to sync, {when:?}", name(*node)),
            Self::FullDisk { node } => write!(out, "disk of {} is full", name(*node)),
            Self::MemberAdd { zone } => write!(out, "a voter joins in zone {zone}"),
            Self::LearnerAdd { zone } => write!(out, "a learner joins in zone {zone}"),
            Self::MemberRemove { node } => write!(out, "removed: {}", name(*node)),
            Self::MoveLeader { to } => write!(out, "leadership goes to {}", name(*to)),
            Self::RollingRestart { settings: Fleet::Mixed } => write!(out, "rolling restart, settings mixed"),
            Self::RollingRestart { settings: Fleet::Alike } => write!(out, "rolling restart"),
            Self::Rot { node, place } => write!(out, "rot in the {place:?} of {}", name(*node)),
        }
    }
}
