//! What clients do to a cluster while it is struck, and what is asked of their histories.
//!
//! ```text
//!   register     put, get, delete, compare-and-set per key: linearizable, revisions and versions included
//!   set          adds elements and looks at all of them: none is lost, none appears
//!   list_append  transactions that read lists and append to them: strictly serializable
//!   watch        some write, some watch and take their watches up again: nine properties
//!   lease        granted, renewed, revoked, left alone: never early, never back, never for ever
//!   txn          transactions with comparisons of all kinds, nested ones too: linearizable over several keys
//!   compaction   history is dropped while others read it
//!   membership   learners are added and removed: the list of members is linearizable
//!   mixed        most of these at once, on one store
//!   lock         a register under a lock whose holders are late: guarded writes lose nothing, plain ones may
//! ```
//!
//! A workload is written against [`World`](crate::world::World): it gets ways to nodes, and never a node. Its clients
//! are tasks that go on until [`Stage::is_over`]; each notes what it asks and what it is told in a
//! [`Recorder`](crate::history::Recorder). Errors are told apart by one rule (`rpc.rs`): what certainly did not happen
//! has failed, everything else that was not answered is of unknown fate.
//!
//! To add one: a file with a type that implements [`Workload`], a variant of [`Kind`], and its line above. Values
//! written are unique ([`Client::unique`]), keys begin with the workload's name, time and chance come from `rt`, every
//! call has a limit, and writes that nobody else undoes go into [`Stage::promises`].

mod client;
mod compaction;
mod keys;
mod lease;
mod list_append;
mod lock;
mod membership;
mod mixed;
mod register;
mod rpc;
mod set;
mod txn;
mod watch;
mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use holdfast_node::rt;
use parking_lot::Mutex;

use crate::checker::durability::Promises;
use crate::history::Tally;
use crate::nemesis::Plan;
use crate::report::{Timeline, Violation};
use crate::world::World;

pub use client::Client;
pub use rpc::{Answer, PATIENCE, ask};

/// What clients find when they begin.
#[derive(Clone)]
pub struct Stage {
    pub world: Arc<dyn World>,
    pub timeline: Timeline,
    pub promises: Arc<Mutex<Promises>>,
    /// Clients of each workload.
    pub clients: u64,
    /// The longest pause between two operations of a client.
    pub pause: Duration,
    /// How much faster or slower than true a node's clock may run, in millionths.
    pub clock_drift_ppm: u64,
    over: Arc<AtomicBool>,
    objections: Arc<Mutex<Vec<String>>>,
}

impl Stage {
    pub fn new(world: Arc<dyn World>, plan: &Plan, timeline: Timeline) -> Self {
        Self {
            world,
            timeline,
            promises: Arc::default(),
            clients: plan.clients,
            pause: plan.pause,
            clock_drift_ppm: plan.clock_drift_ppm,
            over: Arc::default(),
            objections: Arc::default(),
        }
    }

    /// Clients end what they are at, and begin nothing more.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    pub fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// Notes an answer that no server may give, whatever happens to it.
    pub fn object(&self, what: &str) {
        self.timeline.say("objection", what);
        self.objections.lock().push(what.to_owned());
    }

    pub fn objections(&self) -> Vec<String> {
        self.objections.lock().clone()
    }

    /// A pause as between two operations.
    pub async fn breathe(&self) {
        let longest_us = u64::try_from(self.pause.as_micros()).unwrap_or(u64::MAX).max(1);
        rt::sleep(Duration::from_micros(rt::random_u64() % longest_us)).await;
    }
}

/// Clients, and what must be true of what they saw.
pub trait Workload: Send + Sync {
    /// The tasks of the clients. Called once.
    fn clients(&self, stage: &Stage) -> Vec<BoxFuture<'static, ()>>;

    /// A last look, when all faults have ended and all clients too. Runs where clients run.
    fn last_look(&self, _stage: &Stage) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }

    /// When everything has ended.
    fn judge(&self) -> Vec<Violation>;

    fn tally(&self) -> Tally;

    /// What is worth saying of a run that went well.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }
}

/// The workloads, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Register,
    Set,
    ListAppend,
    Watch,
    Lease,
    Lock,
    /// Writes carry no token: updates may be lost, and are counted.
    PlainLock,
    Txn,
    Compaction,
    Membership,
    Mixed,
}

impl Kind {
    pub const ALL: [Self; 11] = [
        Self::Register,
        Self::Set,
        Self::ListAppend,
        Self::Watch,
        Self::Lease,
        Self::Lock,
        Self::PlainLock,
        Self::Txn,
        Self::Compaction,
        Self::Membership,
        Self::Mixed,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::Set => "set",
            Self::ListAppend => "list-append",
            Self::Watch => "watch",
            Self::Lease => "lease",
            Self::Lock => lock::Writes::Guarded.name(),
            Self::PlainLock => lock::Writes::Plain.name(),
            Self::Txn => "txn",
            Self::Compaction => "compaction",
            Self::Membership => "membership",
            Self::Mixed => "mixed",
        }
    }

    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    pub fn build(self, stage: &Stage) -> Box<dyn Workload> {
        match self {
            Self::Register => Box::new(register::Register::new(stage)),
            Self::Set => Box::new(set::Set::new(stage)),
            Self::ListAppend => Box::new(list_append::ListAppend::new(stage)),
            Self::Watch => Box::new(watch::Watch::new()),
            Self::Lease => Box::new(lease::Lease::new(stage)),
            Self::Lock => Box::new(lock::Lock::new(lock::Writes::Guarded)),
            Self::PlainLock => Box::new(lock::Lock::new(lock::Writes::Plain)),
            Self::Txn => Box::new(txn::Transact::new(stage)),
            Self::Compaction => Box::new(compaction::Compact::new()),
            Self::Membership => Box::new(membership::Membership::new(stage)),
            Self::Mixed => Box::new(mixed::Mixed::new(stage)),
        }
    }
}
