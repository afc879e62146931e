//! Replication: openraft over our log, our state and our wire.
//!
//! ```text
//!   ops/ ---- Replica: write, read_index, change members, transfer
//!                |
//!             openraft core (elections, replication, commit)
//!              |            |                 |
//!         log_store      machine           network  <--->  service
//!         wal/ files     applier           peers: one connection a purpose
//!                        state/, storage/, lease/, watch/
//! ```
//!
//! This folder is the only one that knows openraft. Its settings are not its defaults; each is explained in
//! [`raft_config`].

mod applier;
mod disk_wait;
mod founding;
mod holes;
mod invariants;
mod log_store;
mod machine;
mod members;
mod network;
mod peers;
mod reach;
mod service;
mod settling;
mod snapshot;
#[cfg(test)]
mod suite;
mod tally;
mod types;
mod unreadable;
mod wire;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use openraft::errors::{ClientWriteError, Fatal, InitializeError, LinearizableReadError, RaftError};
use openraft::raft::ReadPolicy;
use openraft::{Config, ServerState, SnapshotPolicy};

pub use applier::Applier;
pub use disk_wait::DiskWait;
pub use founding::{Founding, Incarnation};
pub use holes::Holes;
pub use members::{MemberChange, MemberRefusal, MemberView, Members};
pub use peers::{PEER_MESSAGE_BYTES_MAX, Peers, work_client};
pub use service::RaftService;
pub use settling::Unsettled;
pub use tally::Tally;
pub use types::{Applied, EncodedBatch, Member};
pub use wire::{member_from_wire, member_to_wire};

use crate::env::{Disk, Halt, planted, sometimes};
use crate::metrics::{Metrics, PeerMetrics};
use crate::rt;
use crate::rt::watch::WatchReceiver as _;
use crate::types::{LogId, MemberId};
use crate::wal::Log;
use invariants::{Invariants, Position};
use log_store::LogStore;
use machine::Machine;
use network::Network;
use snapshot::Incoming;
use types::TypeConfig;
use unreadable::Unreadable;

type Raft = openraft::Raft<TypeConfig, Machine>;

/// How often members speak and how patient they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timing {
    pub heartbeat_ms: u64,
    /// A follower that hears nothing for at least this long, and at most one and a half times as long, stands for
    /// election.
    pub election_ms: u64,
    /// Entries between two snapshots.
    pub snapshot_entries: u64,
    /// Entries kept behind a snapshot for followers that are a little behind.
    pub catch_up_entries: u64,
}

impl Default for Timing {
    fn default() -> Self {
        Self { heartbeat_ms: 100, election_ms: 400, snapshot_entries: 10_000, catch_up_entries: 5_000 }
    }
}

impl Timing {
    /// The longest time until a follower stands for election.
    pub fn election_max(&self) -> Duration {
        Duration::from_millis(self.election_ms * 3 / 2)
    }

    /// A follower of openraft waits for the leader's lease to run out (`election_timeout_max`), and then for a random
    /// time between `election_timeout_min` and `election_timeout_max`. These are chosen so that both together are
    /// what [`Timing::election_ms`] promises.
    fn openraft_election_ms(&self) -> (u64, u64) {
        (self.election_ms * 3 / 8, self.election_ms * 3 / 4)
    }
}

/// Everything that replication is built from.
pub struct Parts {
    pub peers: Peers,
    pub log: Arc<Log>,
    pub applier: Arc<Applier>,
    pub disk: Arc<dyn Disk>,
    /// Where snapshots from the leader gather.
    pub incoming_dir: PathBuf,
    pub timing: Timing,
    pub halt: Halt,
    pub applied: rt::watch::Receiver<LogId>,
    pub metrics: Metrics,
}

/// Replication could not start, or has stopped.
#[derive(Debug, thiserror::Error)]
#[error("Raft: {0}")]
pub struct RaftStopped(String);

/// Why a write has no outcome.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// It was refused before it reached the log: it did not happen, and may be sent to the leader.
    #[error("this member does not lead")]
    NotLeader { leader: Option<MemberId> },
    /// It was in this member's log when leadership was lost: nobody here knows whether it happened.
    #[error("leadership was lost while the write was under way")]
    Unknown,
    #[error("{0}")]
    Stopped(String),
}

/// Why a linearizable read has no position.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadIndexError {
    #[error("this member does not lead")]
    NotLeader { leader: Option<MemberId> },
    #[error("no quorum answered")]
    NoQuorum,
    #[error("{0}")]
    Stopped(String),
}

/// Where this member stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    pub term: u64,
    /// As [`Replica::leader_in_touch`].
    pub leader: Option<MemberId>,
    pub leads: bool,
    pub last_log_index: u64,
    pub committed_index: u64,
    pub applied_index: u64,
    pub snapshot_index: u64,
    pub purged_index: u64,
}

/// This node's part in the cluster.
#[derive(Clone)]
pub struct Replica {
    raft: Raft,
    peers: Peers,
    incoming: Incoming,
    applied: rt::watch::Receiver<LogId>,
    /// A member with holes in its log votes and acknowledges, but does not lead.
    holes: Holes,
    unreadable: Unreadable,
    changing: settling::Changing,
    log_disk: DiskWait,
    /// A member that did not answer a heartbeat for this long counts as not started.
    patience: Duration,
    peer_metrics: PeerMetrics,
}

/// openraft's settings, none of them by default.
fn raft_config(timing: &Timing, holes: &Holes) -> Config {
    let (election_min, election_max) = timing.openraft_election_ms();
    Config {
        cluster_name: "holdfast".to_owned(),
        heartbeat_interval: timing.heartbeat_ms,
        election_timeout_min: election_min,
        election_timeout_max: election_max,
        // A cut-off member must not come back with a higher term and depose the leader.
        enable_pre_vote: Some(true),
        // A leader that no quorum hears falls silent, so that the others can elect. Off, a partial partition of five
        // stalls for ever (openraft #2080).
        quorum_loss_probe_interval: Some(2 * election_max),
        // Our state is flushed now and then, not before every answer, and the commit index is not stored: a leader
        // that restarted must learn what is committed in an election, not restore itself.
        enable_leader_restore: Some(false),
        enable_elect: holes.is_empty(),
        snapshot_policy: SnapshotPolicy::LogsSinceLast(timing.snapshot_entries),
        max_in_snapshot_log_to_keep: timing.catch_up_entries,
        replication_lag_threshold: timing.catch_up_entries,
        // Entries are batches of up to a megabyte; reads of the log are bounded in bytes as well.
        max_payload_entries: 64,
        purge_batch_size: 256,
        // A member that is down is tried again soon, so that it is found soon when it is back.
        backoff: "100ms".to_owned(),
        ..Config::default()
    }
}

/// Ends the node when its Raft has died: openraft stops on a storage error or a broken assertion, and goes on showing
/// its last standing for ever.
async fn halt_with_raft(raft: Raft, halt: Halt) {
    let mut metrics = raft.metrics();
    let mut invariants = Invariants::default();
    loop {
        let now = metrics.borrow_and_update().clone();
        match now.running_state {
            Ok(()) => {
                let index_of = |id: &Option<types::RaftLogId>| id.as_ref().map(|id| id.index);
                let position = Position {
                    term: now.current_term,
                    committed: index_of(&now.local_committed),
                    applied: index_of(&now.last_applied),
                    snapshot: index_of(&now.snapshot),
                    purged: index_of(&now.purged),
                };
                if let Err(broken) = invariants.check(position) {
                    return halt.now(&format!("Raft broke a promise: {broken}"));
                }
            }
            Err(Fatal::Stopped) => return,
            Err(fatal) => return halt.now(&format!("Raft has died: {fatal}")),
        }
        if metrics.changed().await.is_err() {
            // Nobody tells any more: it was stopped, or it died without a word.
            let state = metrics.borrow_watched().running_state.clone();
            if let Err(fatal) = state
                && fatal != Fatal::Stopped
            {
                halt.now(&format!("Raft has died: {fatal}"));
            }
            return;
        }
    }
}

/// Lets a member stand for election when its log has no holes any more.
async fn lead_again(raft: Raft, holes: Holes) {
    holes.none_left().await;
    tracing::info!("the Raft log has no rotten entries any more: this member may lead again");
    raft.runtime_config().elect(true);
}

impl Replica {
    /// Starts openraft over the opened log and state.
    pub async fn start(parts: Parts) -> Result<Self, RaftStopped> {
        let holes = parts.applier.holes.clone();
        let config = raft_config(&parts.timing, &holes).validate().map_err(|error| {
            RaftStopped(format!("the timing settings do not fit together ({error}): see --election-timeout"))
        })?;
        let me = parts.peers.me().0;
        let unreadable = Unreadable::new(parts.applied.clone());
        let (halt, disk_metrics) = (parts.halt.clone(), parts.metrics.disk.clone());
        let log = LogStore::start(parts.log, holes.clone(), unreadable.clone(), halt, disk_metrics)
            .map_err(|error| RaftStopped(format!("the log's thread does not start: {error}")))?;
        parts.applier.tally.count_keys(&parts.applier.store, &parts.applier.changing);
        let log_disk = log.disk_wait().clone();
        let machine = Machine::new(parts.applier, Arc::clone(&parts.disk), parts.metrics.disk);
        let (raft_metrics, peer_metrics) = (parts.metrics.raft.clone(), parts.metrics.peers.clone());
        let network = Network::new(parts.peers.clone(), unreadable.clone(), raft_metrics, peer_metrics);
        machine.remove_old_checkpoints().map_err(|error| RaftStopped(error.to_string()))?;
        let raft = Raft::new(me, Arc::new(config), network, log, machine)
            .await
            .map_err(|error| RaftStopped(error.to_string()))?;
        rt::spawn(halt_with_raft(raft.clone(), parts.halt));
        rt::spawn(unreadable::pass_over(raft.clone(), unreadable.clone()));
        if !holes.is_empty() {
            rt::spawn(lead_again(raft.clone(), holes.clone()));
        }
        let (disk, incoming_dir) = (parts.disk, parts.incoming_dir);
        let incoming = rt::blocking(move || Incoming::open(disk, incoming_dir))
            .await
            .and_then(|opened| opened)
            .map_err(|error| RaftStopped(format!("what is left of received snapshots cannot be removed: {error}")))?;
        let patience = parts.timing.election_max() * 2;
        Ok(Self {
            raft,
            peers: parts.peers,
            incoming,
            applied: parts.applied,
            holes,
            unreadable,
            changing: settling::Changing::default(),
            log_disk,
            patience,
            peer_metrics: parts.metrics.peers,
        })
    }

    /// The gRPC service that other members' replication talks to.
    pub fn service(&self) -> RaftService {
        let (incoming, holes) = (self.incoming.clone(), self.holes.clone());
        RaftService::new(self.raft.clone(), self.peers.clone(), incoming, holes, self.peer_metrics.clone())
    }

    /// Whether the cluster's first members were ever written to this log.
    pub async fn is_initialized(&self) -> Result<bool, RaftStopped> {
        self.raft.is_initialized().await.map_err(|error| RaftStopped(error.to_string()))
    }

    /// Writes the cluster's first members. Every one of them may do so, with the same members.
    pub async fn initialize(&self, members: BTreeMap<u64, Member>) -> Result<(), RaftStopped> {
        match self.raft.initialize(members).await {
            // Another founder was faster, and its vote or its entries are here already: the cluster is founded.
            Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(()),
            Err(error) => Err(RaftStopped(error.to_string())),
        }
    }

    /// Proposes a batch here, and waits until it is applied. It may wait for long: the caller has a deadline.
    pub async fn write(&self, batch: EncodedBatch) -> Result<Applied, WriteError> {
        match self.raft.client_write(batch).await {
            Ok(response) => Ok(response.data),
            Err(RaftError::APIError(ClientWriteError::ForwardToLeader(forward))) => {
                Err(WriteError::NotLeader { leader: forward.leader_id.map(MemberId) })
            }
            Err(RaftError::APIError(_)) => Err(WriteError::Unknown),
            Err(RaftError::Fatal(fatal)) => Err(WriteError::Stopped(fatal.to_string())),
        }
    }

    /// A position that a linearizable read must have applied: asks a quorum whether this member still leads
    /// (Raft, §6.4 of the dissertation).
    pub async fn read_index(&self) -> Result<LogId, ReadIndexError> {
        if planted!(StaleReadIndex) && self.leads() {
            return Ok(self.applied());
        }
        match self.raft.get_read_linearizer(ReadPolicy::ReadIndex).await {
            Ok(linearizer) => Ok(wire::log_id(linearizer.read_log_id().log_id())),
            Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(forward))) => {
                Err(ReadIndexError::NotLeader { leader: forward.leader_id.map(MemberId) })
            }
            Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_))) => {
                sometimes!(ReadRefused);
                Err(ReadIndexError::NoQuorum)
            }
            Err(RaftError::Fatal(fatal)) => Err(ReadIndexError::Stopped(fatal.to_string())),
        }
    }

    /// Resolves when the state here has reached `index`. The caller has a deadline.
    pub async fn wait_applied(&self, index: u64) -> Result<(), RaftStopped> {
        let mut applied = self.applied.clone();
        loop {
            if applied.borrow_and_update().index >= index {
                return Ok(());
            }
            applied.changed().await.map_err(|_| RaftStopped("the state machine has stopped".to_owned()))?;
        }
    }

    pub fn applied(&self) -> LogId {
        *self.applied.borrow_watched()
    }

    pub fn standing(&self) -> Standing {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let index_of = |id: &Option<types::RaftLogId>| id.as_ref().map_or(0, |id| id.index);
        Standing {
            term: metrics.current_term,
            leader: self.in_touch(&metrics),
            leads: metrics.state == ServerState::Leader,
            last_log_index: metrics.last_log_index.unwrap_or(0),
            committed_index: index_of(&metrics.local_committed),
            applied_index: self.applied().index,
            snapshot_index: index_of(&metrics.snapshot),
            purged_index: index_of(&metrics.purged),
        }
    }

    /// Term and leader alone, for every answer's header.
    pub fn term(&self) -> u64 {
        self.raft.server_metrics().borrow_watched().vote.leader_id.term
    }

    pub fn leader(&self) -> Option<MemberId> {
        self.raft.server_metrics().borrow_watched().current_leader.map(MemberId)
    }

    /// The leader, unless that is this member and no quorum has answered it for as long as followers are patient:
    /// somebody else may lead by now, and whoever asks here had better ask there. (etcd's leader steps down then.)
    pub fn leader_in_touch(&self) -> Option<MemberId> {
        self.in_touch(&self.raft.metrics().borrow_watched())
    }

    fn in_touch(&self, metrics: &openraft::RaftMetrics<TypeConfig>) -> Option<MemberId> {
        let is_alone = || metrics.membership_config.membership().voter_ids().all(|id| id == metrics.id);
        let is_answered = || metrics.last_quorum_acked.is_some_and(|acked| rt::since(*acked) < self.patience);
        let stands = metrics.state != ServerState::Leader || is_answered() || is_alone();
        metrics.current_leader.map(MemberId).filter(|_| stands)
    }

    pub fn leads(&self) -> bool {
        self.raft.server_metrics().borrow_watched().state == ServerState::Leader
    }

    /// Resolves when the term, the leader or the members may have changed.
    pub async fn changed(&self, watcher: &mut StandingWatcher) -> Result<(), RaftStopped> {
        watcher.0.changed().await.map_err(|_| RaftStopped("openraft has stopped".to_owned()))
    }

    /// Sees what changes from now on. A copy of openraft's own receiver, which nobody reads, would take everything that
    /// ever happened for a change.
    pub fn watch_standing(&self) -> StandingWatcher {
        let mut watcher = self.raft.server_metrics();
        drop(watcher.borrow_and_update());
        StandingWatcher(watcher)
    }

    /// Entries that could not be read for a follower, until a snapshot stands in for them.
    pub fn unreadable_entries(&self) -> usize {
        self.unreadable.count()
    }

    /// How long the log's disk keeps it waiting.
    pub fn log_disk(&self) -> &DiskWait {
        &self.log_disk
    }

    /// Starts to hand leadership to `to`. Watch the leader to see it done.
    pub async fn transfer_to(&self, to: MemberId) -> Result<(), RaftStopped> {
        self.raft.trigger().transfer_leader(to.0).await.map_err(|error| RaftStopped(error.to_string()))
    }

    /// Makes a checkpoint soon, whatever the policy says.
    pub async fn snapshot_soon(&self) -> Result<(), RaftStopped> {
        self.raft.trigger().snapshot().await.map_err(|error| RaftStopped(error.to_string()))
    }

    /// From now on this member does not stand for election.
    pub fn stop_standing(&self) {
        self.raft.runtime_config().elect(false);
    }

    pub async fn shutdown(&self) {
        if let Err(error) = self.raft.shutdown().await {
            tracing::warn!(%error, "Raft did not stop cleanly");
        }
    }
}

/// Sees changes of term, leader and members.
pub struct StandingWatcher(
    openraft::alias::WatchReceiverOf<TypeConfig, openraft::metrics::RaftServerMetrics<TypeConfig>>,
);
