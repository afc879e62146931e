//! A log that rots: one bit of an entry is not what was written.

use std::path::{Path, PathBuf};
use std::time::Duration;

use holdfast_node::env::{CrashPolicy, Disk, FaultyDisk};
use holdfast_node::rt;
use holdfast_node::wal::LogOptions;

use super::cluster::LOG_SLOTS;
use super::story::{Acked, check_everything, put_many, put_without};
use super::{Cluster, ClusterOptions, Trace};
use crate::world::NodeIndex;

const LOG_DIR: &str = "/data/wal";
const SEGMENT_ENDING: &str = ".seg";
/// Where entries begin in a segment, behind its header and their identifiers: see docs/FORMATS.md, "The Raft log".
const ENTRIES_START: usize = 4096 + 64 * LOG_SLOTS as usize;

/// Flips a bit of an entry that is in the log, and says where. None if nothing was written yet. No process may use the
/// disk meanwhile.
pub(super) fn flip_a_bit_of_the_log(disk: &FaultyDisk) -> Option<String> {
    let dice = rt::random_u64();
    let bit = u8::try_from(dice % 8).expect("a byte has eight");
    flip(disk, bit, |bytes| usize::try_from(dice >> 8).unwrap_or(usize::MAX) % bytes)
}

/// The same in the byte that is chosen, of so many.
fn flip(disk: &FaultyDisk, bit: u8, choose: impl FnOnce(usize) -> usize) -> Option<String> {
    let names = disk.list(Path::new(LOG_DIR)).ok()?;
    let segments = names.iter().filter(|name| name.ends_with(SEGMENT_ENDING)).map(|name| Path::new(LOG_DIR).join(name));
    let written = |path: PathBuf| {
        let bytes = disk.contents(&path)?;
        // Entries lie one behind the other, and zeros behind them.
        let end = bytes.iter().rposition(|byte| *byte != 0)? + 1;
        (end > ENTRIES_START).then_some((path, end - ENTRIES_START))
    };
    let written: Vec<(PathBuf, usize)> = segments.filter_map(written).collect();
    let bytes: usize = written.iter().map(|(_, length)| length).sum();
    if bytes == 0 {
        return None;
    }
    let mut place = choose(bytes);
    for (path, length) in written {
        if place < length {
            let offset = ENTRIES_START + place;
            disk.flip_bit(&path, offset as u64, bit);
            return Some(format!("bit {bit} of byte {offset} in {}", path.display()));
        }
        place -= length;
    }
    None
}

/// How the leader comes to have an entry that is rotten, applied, and missed by a follower.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotten {
    /// It finds out when it starts.
    AtStart,
    /// It finds out when it has to send it.
    WhileItLeads,
}

/// A leader cannot read what a follower lacks. It neither stops nor keeps the follower waiting: a snapshot stands in.
pub async fn rotten_leader(trace: Trace, when: Rotten) {
    let options = ClusterOptions::default();
    // Nothing is purged by itself, and nothing of the log stays in memory.
    let log = LogOptions { cache_bytes_max: 0, ..options.log.clone() };
    let cluster = Cluster::start(&ClusterOptions { snapshot_entries: 10_000, log, ..options }, trace.clone());
    let mut acked = Acked::new();
    let leader = cluster.wait_leader(None).await;
    let (lagging, other) = ((leader + 1) % 3, (leader + 2) % 3);
    put_many(&cluster, 0..20, &mut acked).await;
    cluster.crash(lagging, CrashPolicy::LoseUnsynced);
    put_without(&cluster, lagging, 20..50, &mut acked).await;
    assert_eq!(purged_at(&cluster, leader), Some(0), "nothing was purged yet");

    let three_quarters = |bytes: usize| bytes / 4 * 3;
    match when {
        Rotten::AtStart => {
            // In order, so that the state on disk is as far as the log.
            cluster.stop_in_order(leader).await;
            cluster.kill(leader);
            let what = flip(&cluster.disk(leader), 3, three_quarters).expect("the log has entries");
            trace.say(format!("n{}: {what} flips", leader + 1));
            cluster.restart(leader);
            put_without(&cluster, lagging, 50..60, &mut acked).await;
            // Only the two of them are left: the one with the rotten entry must lead.
            cluster.crash(other, CrashPolicy::KeepPrefix);
        }
        Rotten::WhileItLeads => {
            let what = flip(&cluster.disk(leader), 3, three_quarters).expect("the log has entries");
            trace.say(format!("n{}: {what} flips", leader + 1));
        }
    }
    cluster.restart(lagging);
    if when == Rotten::AtStart {
        put_without(&cluster, other, 60..80, &mut acked).await;
        assert_eq!(cluster.leader(), Some(leader));
        cluster.restart(other);
    }
    put_many(&cluster, 80..100, &mut acked).await;
    check_everything(&cluster, &trace, &acked).await;
    madsim::time::sleep(Duration::from_secs(10)).await;
    let server = cluster.server(leader).expect("it runs");
    assert_eq!(server.ops().replica().unreadable_entries(), 0, "the log begins behind what is rotten");
    assert!(purged_at(&cluster, leader) > Some(0), "nothing was rotten, so nothing was shown");
}

fn purged_at(cluster: &Cluster, node: NodeIndex) -> Option<u64> {
    cluster.server(node).map(|server| server.ops().standing().purged_index)
}
