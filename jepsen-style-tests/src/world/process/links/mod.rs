//! The links of a cluster of processes: a TCP proxy in front of every peer port and every client port.
//!
//! ```text
//!   n1 --connects to what n2 advertises--> [proxy of n2's peer port] --> n2
//!        bytes n1 -> n2 obey the rule of (n1, n2) · bytes n2 -> n1 obey the rule of (n2, n1)
//!   clients -----------------------------> [proxy of n2's client port] --> n2
//!        the rules of (clients, n2) and (n2, clients)
//! ```
//!
//! A node listens on an address of its own and advertises its proxy's. All members dial that one address, and a link
//! has two ends, so the proxy has to know who dials. Three ways were weighed:
//!
//! - *One advertised address for each pair.* A member has one peer URL in the membership, the same for all.
//! - *A network namespace for each node*, with the kernel's own loss and delay: it needs root, a bridge, and an address
//!   plan, and cuts packets, not the bytes of a connection that stays open.
//! - *Ask the kernel whose socket it is*: `/proc/net/tcp` names the inode of the dialling socket, and
//!   `/proc/<pid>/fd` the process that has it. This is what [`dialler`] does. It needs no root, no flag of the server
//!   and no knowledge of its protocol: a real etcd is served the same way, TLS or not. It needs Linux.
//!
//! What a rule can do to one direction: let through, hold (bytes wait and connections stay, as when packets are lost
//! and sent again), refuse (connections are reset), delay, jitter, throttle, stumble (a lost segment: the bytes and all
//! behind them wait for a retransmission), and reset every connection at once. TCP neither loses, doubles nor reorders
//! what a program reads, so neither does a proxy.
//!
//! A proxy listens only while its node does: whoever dials a node that is not there is refused, and knows that nothing
//! was sent. One difference from packets that are lost remains: the kernel finishes the handshake of TCP before the
//! proxy knows of it. A connection over a held link comes up and stays silent.

mod connection;
mod dialler;
mod proxy;
mod pump;
mod rule;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::world::NodeIndex;
use proxy::Proxy;
pub use rule::{Passage, Rule};

/// One end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum End {
    Node(NodeIndex),
    /// All clients together, and whoever else is no node.
    Clients,
}

/// What a proxied port is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Port {
    Peer,
    Client,
}

/// All links of one cluster. Clones share them; the proxies end with the last clone.
#[derive(Clone)]
pub struct Links {
    shared: Arc<Shared>,
}

struct Shared {
    rules: Mutex<BTreeMap<(End, End), watch::Sender<Rule>>>,
    /// Which process each node is now.
    pids: Arc<Mutex<BTreeMap<NodeIndex, u32>>>,
    /// Grows by one whenever a node was started or ended.
    comings_and_goings: watch::Sender<u64>,
    proxies: Mutex<Vec<AbortHandle>>,
    seed: u64,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.proxies.lock().iter().for_each(AbortHandle::abort);
    }
}

impl Links {
    /// No proxies yet. The seed decides how long jitter and stumbles last.
    pub(super) fn new(seed: u64) -> Self {
        let rules = Mutex::new(BTreeMap::new());
        let (pids, comings_and_goings) = (Arc::default(), watch::Sender::new(0));
        let shared = Shared { rules, pids, comings_and_goings, proxies: Mutex::default(), seed };
        Self { shared: Arc::new(shared) }
    }

    /// Puts a proxy that listens at `at` in front of a node's port. Must be called within a runtime.
    pub(super) fn add(&self, node: NodeIndex, port: Port, at: SocketAddr, target: SocketAddr) {
        // The proxies do not keep the links alive: who drops the links ends them.
        let links = Arc::downgrade(&self.shared);
        let news = self.shared.comings_and_goings.subscribe();
        let task = tokio::spawn(Proxy::new(node, port, at, target, links).run(news));
        self.shared.proxies.lock().push(task.abort_handle());
    }

    /// From now on sockets of that process are the node's.
    pub(super) fn node_runs(&self, node: NodeIndex, pid: u32) {
        self.shared.pids.lock().insert(node, pid);
        self.shared.comings_and_goings.send_modify(|count| *count += 1);
    }

    /// The node has no process now.
    pub(super) fn node_ended(&self, node: NodeIndex) {
        self.shared.pids.lock().remove(&node);
        self.shared.comings_and_goings.send_modify(|count| *count += 1);
    }

    /// How bytes get from one end to the other from now on, those under way included.
    pub fn set(&self, from: End, to: End, rule: Rule) {
        self.shared.sender(from, to).send_modify(|now| *now = Rule { resets: now.resets, ..rule });
    }

    pub fn rule(&self, from: End, to: End) -> Rule {
        *self.shared.sender(from, to).borrow()
    }

    /// The same in both directions.
    pub fn set_both(&self, one: End, other: End, rule: Rule) {
        self.set(one, other, rule);
        self.set(other, one, rule);
    }

    /// Ends every connection between the two, with a reset.
    pub fn reset(&self, one: End, other: End) {
        self.shared.sender(one, other).send_modify(|rule| rule.resets += 1);
    }

    /// Every link is as good as new.
    pub fn clear(&self) {
        for rule in self.shared.rules.lock().values() {
            rule.send_modify(|now| *now = Rule { resets: now.resets, ..Rule::default() });
        }
    }
}

impl Shared {
    fn sender(&self, from: End, to: End) -> watch::Sender<Rule> {
        self.rules.lock().entry((from, to)).or_insert_with(|| watch::Sender::new(Rule::default())).clone()
    }

    /// Equal seeds give equal delays to the same link, connection by connection.
    fn seed_of(&self, from: End, to: End, connection: u64) -> u64 {
        let number = |end| match end {
            End::Clients => 0,
            End::Node(index) => index as u64 + 1,
        };
        rule::mix(self.seed ^ rule::mix(number(from) << 40 | number(to) << 32 | connection & 0xffff_ffff))
    }
}
