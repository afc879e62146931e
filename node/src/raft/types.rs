//! The types that openraft is instantiated with. None of them is ever written down by openraft: what goes to disk and
//! on the wire is ours (`wire.rs`).

use std::fmt;

use bytes::Bytes;
use holdfast_proto::log;
use openraft::vote::leader_id_std;

use crate::rt::Rt;
use crate::types::LogId;

/// An encoded [`log::Batch`]: encoded once where it is proposed, decoded once on each node where it is applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedBatch(pub Bytes);

impl fmt::Display for EncodedBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "batch of {} bytes", self.0.len())
    }
}

/// What applying one entry gave.
#[derive(Clone, Debug)]
pub struct Applied {
    pub log_id: LogId,
    /// One for each command of the entry, in order.
    pub outcomes: Vec<log::Outcome>,
}

/// What the cluster knows about a member. It travels in the membership entries of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// Empty until the member has started once.
    pub name: String,
    pub peer_urls: Vec<String>,
    pub client_urls: Vec<String>,
    /// Availability zone; empty if the member was started without one.
    pub zone: String,
    /// Which life of its disk a founder runs in; 0 for a member that founded nothing.
    pub incarnation: u64,
    /// It was added as a voter and does not vote yet: the leader lets it when it has started and caught up.
    pub votes_when_ready: bool,
}

openraft::declare_raft_types!(
    pub TypeConfig:
        D = EncodedBatch,
        R = Applied,
        NodeId = u64,
        Node = Member,
        Term = u64,
        // One leader a term, so that <term, index> names an entry for ever.
        LeaderId = leader_id_std::LeaderId<u64, u64>,
        AsyncRuntime = Rt,
);

pub type RaftLogId = openraft::alias::LogIdOf<TypeConfig>;
pub type RaftVote = openraft::alias::VoteOf<TypeConfig>;
pub type RaftEntry = openraft::alias::EntryOf<TypeConfig>;
pub type RaftMembership = openraft::Membership<u64, Member>;
pub type StoredMembership = openraft::alias::StoredMembershipOf<TypeConfig>;
pub type SnapshotMeta = openraft::alias::SnapshotMetaOf<TypeConfig>;
