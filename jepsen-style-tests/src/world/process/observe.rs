//! Asking the nodes: who leads, how far each one is, and whether all hold the same.

use std::time::Duration;

use futures::future::join_all;
use holdfast_client::proto::etcdserverpb::StatusResponse;

use super::cluster::Cluster;
use super::wait::{PATIENCE, until};
use crate::world::NodeIndex;

/// How long one question to one node may take.
const QUESTION: Duration = Duration::from_secs(1);
const HASHING: Duration = Duration::from_secs(20);

/// What a node's history hashes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hash {
    pub revision: i64,
    pub compact_revision: i64,
    pub hash: u32,
}

impl Cluster {
    /// What the node says about itself, if it answers.
    pub async fn status(&self, index: NodeIndex) -> Result<StatusResponse, String> {
        let node = &self.nodes[index];
        if node.pid().is_none() || node.is_paused() {
            return Err(format!("{} does not run", self.name(index)));
        }
        let (client, endpoint) = self.watcher_of(index, QUESTION);
        client.status(&endpoint).await.map_err(|error| format!("{}: {error}", self.name(index)))
    }

    async fn statuses(&self) -> Vec<Result<StatusResponse, String>> {
        join_all((0..self.len()).map(|index| self.status(index))).await
    }

    /// The node that says it leads, in the highest term.
    pub async fn leader(&self) -> Option<NodeIndex> {
        let statuses = self.statuses().await;
        let leads = |status: &StatusResponse| {
            status.leader != 0 && status.header.as_ref().is_some_and(|header| header.member_id == status.leader)
        };
        let named = statuses.iter().enumerate().filter_map(|(index, status)| Some((index, status.as_ref().ok()?)));
        named.filter(|(_, status)| leads(status)).max_by_key(|(_, status)| status.raft_term).map(|(index, _)| index)
    }

    /// Waits until some node other than `not` leads, and returns it.
    pub async fn wait_leader(&self, not: Option<NodeIndex>) -> NodeIndex {
        let what = match not {
            None => "leader".to_owned(),
            Some(not) => format!("leader other than {}", self.name(not)),
        };
        until(PATIENCE, &what, || async {
            self.leader().await.filter(|leader| Some(*leader) != not).ok_or_else(|| "nobody leads".to_owned())
        })
        .await
    }

    /// Waits until all nodes know one leader and the client URLs of all.
    pub async fn wait_formed(&self) {
        until(PATIENCE, "cluster", || async {
            let statuses = self.statuses().await.into_iter().collect::<Result<Vec<_>, _>>()?;
            let leaders: Vec<u64> = statuses.iter().map(|status| status.leader).collect();
            if leaders.contains(&0) || leaders.iter().any(|leader| *leader != leaders[0]) {
                return Err(format!("the nodes name as leader: {leaders:x?}"));
            }
            let members = self.client_of(0, QUESTION).member_list().await.map_err(|error| error.to_string())?.members;
            let published = members.iter().filter(|member| !member.client_ur_ls.is_empty()).count();
            if published == self.len() { Ok(()) } else { Err(format!("{published} members have published their URLs")) }
        })
        .await;
    }

    /// Waits until the node knows a leader and has applied what the others had applied when this was called.
    pub async fn wait_caught_up(&self, index: NodeIndex) {
        self.wait_caught_up_within(index, PATIENCE).await;
    }

    /// The same where much is to be fetched.
    pub async fn wait_caught_up_within(&self, index: NodeIndex, limit: Duration) {
        let others = self.statuses().await;
        let target = others.iter().flatten().map(|status| status.raft_applied_index).max().unwrap_or(0);
        until(limit, &format!("{} that has caught up", self.name(index)), || async {
            let status = self.status(index).await?;
            match status.leader {
                0 => Err("it knows no leader".to_owned()),
                _ if status.raft_applied_index < target => {
                    Err(format!("it has applied {} of {target}", status.raft_applied_index))
                }
                _ => Ok(()),
            }
        })
        .await;
    }

    /// The hash of the node's whole history.
    pub async fn hash_kv(&self, index: NodeIndex) -> Result<Hash, String> {
        self.hash_kv_within(index, HASHING).await
    }

    /// The same where there is much to hash.
    pub async fn hash_kv_within(&self, index: NodeIndex, limit: Duration) -> Result<Hash, String> {
        let (client, endpoint) = self.watcher_of(index, limit);
        let answer = client.hash_kv(&endpoint, 0).await;
        let answer = answer.map_err(|error| format!("{}: {error}", self.name(index)))?;
        let revision = answer.header.as_ref().map_or(0, |header| header.revision);
        Ok(Hash { revision, compact_revision: answer.compact_revision, hash: answer.hash })
    }

    /// Memory that the node occupies now.
    ///
    /// # Panics
    /// If it does not run, or this is not Linux.
    pub fn resident_bytes(&self, index: NodeIndex) -> u64 {
        let path = format!("/proc/{}/status", self.nodes[index].pid().expect("the node runs"));
        let status = std::fs::read_to_string(path).expect("Linux tells about a process");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has memory");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number of KiB") * 1024
    }

    /// The hashes of all nodes that run, by node. Paused ones are left out.
    pub async fn hashes(&mut self) -> Vec<(NodeIndex, Result<Hash, String>)> {
        let awake: Vec<_> =
            (0..self.len()).filter(|index| self.is_running(*index) && !self.nodes[*index].is_paused()).collect();
        join_all(awake.into_iter().map(|index| self.hash_of(index))).await
    }

    async fn hash_of(&self, index: NodeIndex) -> (NodeIndex, Result<Hash, String>) {
        (index, self.hash_kv(index).await)
    }

    /// Waits until all nodes hold the same, and returns its hash.
    ///
    /// # Panics
    /// If a node does not run, or if they still differ after [`PATIENCE`].
    pub async fn wait_equal_hashes(&mut self) -> Hash {
        for index in 0..self.len() {
            assert!(self.is_running(index), "{} does not run", self.name(index));
        }
        let this = &*self;
        until(PATIENCE, "equal hash on all nodes", || async {
            let hashes = join_all((0..this.len()).map(|index| this.hash_kv(index))).await;
            let hashes = hashes.into_iter().collect::<Result<Vec<_>, _>>()?;
            let first = *hashes.first().ok_or("there are no nodes")?;
            if hashes.iter().all(|other| *other == first) { Ok(first) } else { Err(format!("they are {hashes:?}")) }
        })
        .await
    }
}
