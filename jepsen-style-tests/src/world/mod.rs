//! The worlds a cluster can run in, and what they have in common.
//!
//! ```text
//!   workload ---- channel, spawn ---->  World  <---- strike, lift, heal ---- nemesis
//!   campaign ---- leader, sightings, hashes ---^
//!                                     /      \
//!                       sim: one process,     process: real processes,
//!                       simulated links,      real files, a proxy on
//!                       clocks and disks      every link
//! ```
//!
//! A workload is written once, against [`World`], and runs in both. So is a nemesis: what a world cannot do, it says
//! with [`Struck::NotHere`], and the report counts it as never struck.

use futures::channel::oneshot;
use futures::future::BoxFuture;
use holdfast_node::rt;
use std::future::Future;
use std::sync::Arc;

use crate::checker::log_matching::Applied;
use crate::checker::monotonic::Sighting;
use crate::nemesis::Fault;

#[cfg(not(madsim))]
pub mod process;
#[cfg(madsim)]
pub mod sim;

/// A place for a node, counted from 0. It keeps its number when its node leaves the cluster and comes back.
pub type NodeIndex = usize;

/// Whether a fault was carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Struck {
    Done,
    /// This world cannot do it, or there is nothing to do it to at the moment.
    NotHere,
}

/// What a node's whole history hashes to, and up to where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateHash {
    pub revision: i64,
    pub compact_revision: i64,
    pub hash: u32,
}

/// A cluster, as those see it who use it and those who break it.
///
/// Everything that speaks to a node runs in a task of [`World::spawn`]: in the simulator that is the clients' machine,
/// and a call from anywhere else would have no address to come from. Time and chance come from `rt`.
pub trait World: Send + Sync {
    /// Places for nodes; they may grow in number, never shrink. Not each holds a member.
    fn nodes(&self) -> usize;

    /// The places whose nodes belong to the cluster now, as far as the nemesis knows: those it removed are not there.
    fn members(&self) -> Vec<NodeIndex>;

    /// Whether all of [`World::members`] vote, as their leader knows it, and no change of members is half done. A world
    /// that cannot tell says yes.
    fn is_settled(&self) -> BoxFuture<'_, bool> {
        Box::pin(async { true })
    }

    fn zone(&self, node: NodeIndex) -> String;

    /// A way to one node and to no other, through the link that clients use: a fault can cut it. It connects when used,
    /// and again after each loss.
    fn channel(&self, node: NodeIndex) -> rt::Channel;

    fn spawn(&self, task: BoxFuture<'static, ()>) -> rt::JoinHandle<()>;

    /// A line in the world's own log, between those of its nodes.
    fn say(&self, line: &str);

    /// Begins a fault, which lasts until [`World::lift`] or [`World::heal`]. What has no duration (a jump of a clock, a
    /// restart) is over when this returns.
    fn strike<'a>(&'a self, fault: &'a Fault) -> BoxFuture<'a, Struck>;

    /// Ends a fault that was struck. Others that stand, also of the same class and on the same node, go on.
    fn lift<'a>(&'a self, fault: &'a Fault) -> BoxFuture<'a, ()>;

    /// Ends all faults: links are whole, disks work, clocks run true, every node runs.
    fn heal(&self) -> BoxFuture<'_, ()>;

    /// The node that says it leads, in the highest term.
    fn leader(&self) -> BoxFuture<'_, Option<NodeIndex>>;

    /// What each node that can be asked says of itself now.
    fn sightings(&self) -> BoxFuture<'_, Vec<Sighting>>;

    /// The entries that members applied last, where the world can look inside of them.
    fn applied(&self) -> Vec<Applied> {
        Vec::new()
    }

    /// The hash of the node's history, or why there is none.
    fn hash(&self, node: NodeIndex) -> BoxFuture<'_, Result<StateHash, String>>;

    /// Nodes that stopped by themselves since this was asked last, each with the reason it gave.
    fn stopped_by_themselves(&self) -> Vec<(NodeIndex, String)>;
}

/// Runs what speaks to nodes where clients run, and waits for it.
///
/// # Panics
/// If it panicked there.
pub async fn among_clients<T, F>(world: &Arc<dyn World>, work: F) -> T
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let (sender, receiver) = oneshot::channel();
    let task = world.spawn(Box::pin(async move {
        // Whoever asked may have gone away.
        let _unheard = sender.send(work.await);
    }));
    match receiver.await {
        Ok(answer) => answer,
        Err(oneshot::Canceled) => match task.await {
            Ok(()) => panic!("a task ended without its answer"),
            Err(error) => panic!("a task of the clients panicked: {error}"),
        },
    }
}
