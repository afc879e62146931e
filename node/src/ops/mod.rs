//! What a node does for its clients, whichever member they came to: propose, read, renew, change members.
//!
//! ```text
//!   api/  --->  Ops::propose        queue -> batcher -> leads? Raft : the leader's Propose, one hop at most
//!               Ops::read_barrier   gate  -> one ReadIndex for all who wait -> applied that far
//!               Ops::renew_leases   leader's table, after proving leadership
//!               Ops::change_members leader's joint consensus
//!               Ops::wait_turn      this member's own state and watch hub
//! ```
//!
//! Everything here has a deadline, and an error says whether the work may have happened: [`OpsError::is_unknown`].
//! Background duties of a node live here too: expiring leases, sweeping compacted history, watching the space.

mod compaction;
mod deadline;
mod error;
mod follow;
mod handover;
mod leases;
mod membership;
mod promotion;
mod propose;
mod queue;
mod read;
mod slow_disk;
mod space;
mod topology;
mod turn;

use std::sync::Arc;

use holdfast_proto::etcdserverpb::ResponseHeader;
use holdfast_proto::log::{Command, Outcome};
use parking_lot::Mutex;

pub use deadline::Deadline;
pub use error::OpsError;
pub use follow::Follow;
pub use leases::LeaseTerm;
pub use membership::{RAN_BEFORE, change_from_wire, change_of_publishing, refusal_name};
pub use propose::REFUSED;
pub use queue::{Commands, Proposed};
pub use read::REMOVED;
pub use topology::{MemberHealth, Topology, TopologyMember};
pub use turn::{Place, Turn};

use self::queue::Hops;
use crate::auth::Live;
use crate::env::{Disk, DiskLock, Halt};
use crate::lease::LeaseTable;
use crate::metrics::{RaftMetrics, SpaceMetrics, StateMetrics};
use crate::mvcc;
use crate::raft::{Founding, Holes, Members, Peers, Replica, Standing, Timing};
use crate::rt;
use crate::storage::{EngineError, Store, Usage};
use crate::types::{Limits, LogId, MemberId, Revision};
use crate::watch::Hub;

/// What a node may be. The names are what operators see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeState {
    Ok,
    /// Entries of the log are rotten, from this one on: votes, does not lead, serves serializable reads up to there.
    RepairingLog {
        holes: Vec<LogId>,
    },
    /// The log's disk does not answer: nothing is acknowledged, and leadership was given away if it could be.
    StalledDisk,
    /// Growing writes are refused until there is room.
    ReadOnlySpace,
}

impl NodeState {
    pub fn name(&self) -> &'static str {
        match self {
            NodeState::Ok => "ok",
            NodeState::RepairingLog { .. } => "repairing(log)",
            NodeState::StalledDisk => "stalled(disk)",
            NodeState::ReadOnlySpace => "read-only(space)",
        }
    }
}

/// How much history is kept, and when it is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AutoCompaction {
    Off,
    /// Keep what is younger than this.
    Periodic {
        keep_ms: u64,
    },
    /// Keep this many revisions.
    Revisions {
        keep: i64,
    },
}

/// What becomes of a learner that is in sync.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Learners {
    /// Nothing until an operator promotes it.
    #[default]
    Stay,
    BecomeVoters,
}

/// What the operations are built from.
pub struct Parts {
    pub replica: Replica,
    pub peers: Peers,
    pub store: Arc<Store>,
    pub disk: Arc<dyn Disk>,
    pub data_dir: std::path::PathBuf,
    pub wal_dir: std::path::PathBuf,
    /// The node's directories are its own as long as anything of it runs.
    pub locks: Vec<Arc<dyn DiskLock>>,
    pub leases: Arc<Mutex<LeaseTable>>,
    /// The start of the lease table's clock.
    pub lease_epoch: rt::Instant,
    pub hub: Arc<Hub>,
    pub auth: Arc<Live>,
    pub limits: Limits,
    pub timing: Timing,
    pub auto_compaction: AutoCompaction,
    pub learners: Learners,
    pub holes: Holes,
    pub founding: Arc<Founding>,
    pub halt: Halt,
    pub metrics: RaftMetrics,
    pub space_metrics: SpaceMetrics,
    pub state_metrics: StateMetrics,
}

/// The operations of one node. Clones share them.
#[derive(Clone)]
pub struct Ops {
    inner: Arc<Inner>,
}

struct Inner {
    replica: Replica,
    peers: Peers,
    store: Arc<Store>,
    disk: Arc<dyn Disk>,
    data_dir: std::path::PathBuf,
    wal_dir: std::path::PathBuf,
    _locks: Vec<Arc<dyn DiskLock>>,
    leases: Arc<Mutex<LeaseTable>>,
    lease_epoch: rt::Instant,
    hub: Arc<Hub>,
    auth: Arc<Live>,
    limits: Limits,
    timing: Timing,
    auto_compaction: AutoCompaction,
    holes: Holes,
    founding: Arc<Founding>,
    halt: Halt,
    metrics: RaftMetrics,
    space_metrics: SpaceMetrics,
    proposals: queue::Queue,
    state_metrics: StateMetrics,
    reads: read::Gate,
    sweeper: compaction::Sweeper,
    leadership: leases::Leadership,
}

impl Ops {
    /// Builds the operations and starts their background duties.
    pub fn start(parts: Parts) -> Self {
        let (proposals, queued) = queue::Queue::new(&parts.limits);
        let (reads, readers) = read::Gate::new();
        let (sweeper, sweeps) = compaction::Sweeper::new();
        let inner = Arc::new(Inner {
            replica: parts.replica,
            peers: parts.peers,
            store: parts.store,
            disk: parts.disk,
            data_dir: parts.data_dir,
            wal_dir: parts.wal_dir,
            _locks: parts.locks,
            leases: parts.leases,
            lease_epoch: parts.lease_epoch,
            hub: parts.hub,
            auth: parts.auth,
            limits: parts.limits,
            timing: parts.timing,
            auto_compaction: parts.auto_compaction,
            holes: parts.holes,
            founding: parts.founding,
            halt: parts.halt,
            metrics: parts.metrics,
            space_metrics: parts.space_metrics,
            state_metrics: parts.state_metrics,
            proposals,
            reads,
            sweeper,
            leadership: leases::Leadership::default(),
        });
        let ops = Self { inner };
        rt::spawn(propose::run(ops.clone(), queued));
        rt::spawn(read::run(ops.clone(), readers));
        rt::spawn(leases::run(ops.clone()));
        rt::spawn(compaction::run_sweeps(ops.clone(), sweeps));
        rt::spawn(compaction::run_auto(ops.clone()));
        rt::spawn(space::run(ops.clone()));
        rt::spawn(membership::run_announcements(ops.clone()));
        if parts.learners == Learners::BecomeVoters {
            rt::spawn(promotion::run(ops.clone()));
        }
        rt::spawn(membership::run_settling(ops.clone()));
        rt::spawn(slow_disk::run(ops.clone()));
        ops
    }

    // ---- what a handler asks for first ----

    /// A header with the store's newest revision.
    pub fn header(&self) -> Result<ResponseHeader, OpsError> {
        Ok(self.header_at(self.revision()?))
    }

    /// A header with a revision that the caller knows.
    pub fn header_at(&self, revision: Revision) -> ResponseHeader {
        ResponseHeader {
            cluster_id: self.inner.peers.cluster().0,
            member_id: self.inner.peers.me().0,
            revision: revision.0,
            raft_term: self.inner.replica.term(),
        }
    }

    pub fn state_metrics(&self) -> &StateMetrics {
        &self.inner.state_metrics
    }

    /// The newest revision applied here.
    pub fn revision(&self) -> Result<Revision, OpsError> {
        let engine = self.inner.store.engine();
        let view = engine.view();
        Ok(mvcc::revision(view.as_ref())?)
    }

    /// What this member remembers of the founding.
    pub fn founding(&self) -> &Founding {
        &self.inner.founding
    }

    pub fn limits(&self) -> &Limits {
        &self.inner.limits
    }

    pub fn store(&self) -> &Arc<Store> {
        &self.inner.store
    }

    pub fn hub(&self) -> &Arc<Hub> {
        &self.inner.hub
    }

    /// Whether authentication is on, and whether users or roles have changed.
    pub fn auth(&self) -> &Arc<Live> {
        &self.inner.auth
    }

    pub fn peers(&self) -> &Peers {
        &self.inner.peers
    }

    /// Commands waiting on this member to be proposed.
    pub fn proposals_waiting(&self) -> usize {
        self.inner.proposals.waiting()
    }

    pub fn timing(&self) -> &Timing {
        &self.inner.timing
    }

    pub fn me(&self) -> MemberId {
        self.inner.peers.me()
    }

    /// Where this member stands in Raft.
    pub fn standing(&self) -> Standing {
        self.inner.replica.standing()
    }

    /// The members that Raft counts with now: the newest change of them may not be agreed on yet.
    pub fn members(&self) -> Members {
        self.inner.replica.members()
    }

    pub fn replica(&self) -> &Replica {
        &self.inner.replica
    }

    /// Bytes of the state on this member.
    pub fn usage(&self) -> Result<Usage, EngineError> {
        self.inner.store.engine().usage()
    }

    /// The declared state of this node.
    pub fn node_state(&self) -> NodeState {
        let holes = self.inner.holes.list();
        if !holes.is_empty() {
            return NodeState::RepairingLog { holes };
        }
        if self.is_disk_stalled() {
            return NodeState::StalledDisk;
        }
        if self.has_space_alarm() { NodeState::ReadOnlySpace } else { NodeState::Ok }
    }

    // ---- work ----

    /// Proposes one command and waits for its outcome. A follower hands it to the leader.
    pub async fn propose(&self, command: Command, deadline: Deadline) -> Result<Outcome, OpsError> {
        let batch = self.inner.proposals.submit(Commands::of(vec![command]), deadline, Hops::MayForward).await?;
        batch.outcomes.into_iter().next().ok_or(OpsError::Unknown)
    }

    /// Proposes what another member handed over. It is not handed on: if this member does not lead, it says so.
    pub async fn propose_here(&self, commands: Commands, deadline: Deadline) -> Result<Proposed, OpsError> {
        self.inner.proposals.submit(commands, deadline, Hops::OnlyHere).await
    }

    /// Resolves when a read from this member's state is linearizable.
    pub async fn read_barrier(&self, deadline: Deadline) -> Result<(), OpsError> {
        self.inner.reads.pass(deadline).await
    }

    /// For another member: the position it must reach. Fails where this member does not lead.
    pub async fn read_index_here(&self, deadline: Deadline) -> Result<LogId, OpsError> {
        read::index_as_leader(self, deadline).await
    }
}
