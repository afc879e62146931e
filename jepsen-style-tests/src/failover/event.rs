//! What happens to the leader, and how it ends.

use std::time::Duration;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::stream::Stream;
use crate::world::process::{Cluster, End, NodeIndex, Rule, SmallDisk};

/// Writes that must be acknowledged after a blow before the node comes back.
const BREATH: u64 = 40;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// kill -9
    Kill,
    /// SIGSTOP: it stands still, and its connections stay
    Pause,
    /// What it sends to the others does not arrive
    CutOut,
    /// What the others send to it does not arrive
    CutIn,
    /// Its disk takes nothing and refuses nothing; needs root
    HungDisk,
    /// SIGTERM
    Stop,
    /// It is asked to hand over
    Transfer,
}

impl Event {
    pub const ALL: [Self; 7] =
        [Self::Kill, Self::Pause, Self::CutOut, Self::CutIn, Self::HungDisk, Self::Stop, Self::Transfer];

    pub fn title(self) -> &'static str {
        match self {
            Self::Kill => "killed with -9",
            Self::Pause => "paused",
            Self::CutOut => "cut off, outgoing",
            Self::CutIn => "cut off, incoming",
            Self::HungDisk => "disk hangs",
            Self::Stop => "stopped in order",
            Self::Transfer => "hands over",
        }
    }

    /// What Holdfast is to reach in 99 of 100 rounds.
    pub fn p99_target(self) -> Duration {
        Duration::from_millis(match self {
            Self::Kill => 1500,
            Self::Pause | Self::CutOut | Self::CutIn => 2000,
            Self::HungDisk => 3000,
            Self::Stop | Self::Transfer => 100,
        })
    }

    pub fn needs_disks(self) -> bool {
        self == Self::HungDisk
    }

    /// Lets it happen to the leader and end again. When this returns the node runs; it may not have caught up.
    pub(super) async fn happen(self, scene: &mut Scene, leader: NodeIndex, stream: &Stream, fault: Duration) {
        let cluster = &mut scene.cluster;
        let others = (0..cluster.len()).filter(|index| *index != leader).collect::<Vec<_>>();
        match self {
            Self::Kill => {
                cluster.kill9(leader);
                stream.more(BREATH).await;
                cluster.spawn(leader);
            }
            Self::Pause => {
                cluster.pause(leader);
                tokio::time::sleep(fault).await;
                cluster.resume(leader);
            }
            Self::CutOut | Self::CutIn => {
                for other in others {
                    let (from, to) = if self == Self::CutOut { (leader, other) } else { (other, leader) };
                    cluster.links().set(End::Node(from), End::Node(to), Rule::held());
                }
                tokio::time::sleep(fault).await;
                cluster.links().clear();
            }
            Self::HungDisk => {
                scene.disks[leader].freeze().expect("a disk that was mounted can be frozen");
                tokio::time::sleep(fault).await;
                scene.disks[leader].thaw().expect("a frozen disk can be thawed");
                // A node may end itself over it.
                if !cluster.is_running(leader) {
                    cluster.spawn(leader);
                }
            }
            Self::Stop => {
                cluster.terminate(leader).await;
                stream.more(BREATH).await;
                cluster.spawn(leader);
            }
            Self::Transfer => {
                cluster.move_leader(others[0]).await;
                stream.more(BREATH).await;
            }
        }
    }
}

/// One cluster under measurement.
pub(super) struct Scene {
    pub cluster: Cluster,
    /// One for each node, where the event needs them. Dropped after the nodes, whose files they hold.
    pub disks: Vec<SmallDisk>,
}
