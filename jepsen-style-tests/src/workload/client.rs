//! A client: a number, ways to the nodes, values that nobody else writes.

use std::collections::BTreeMap;

use holdfast_node::rt;

use super::Stage;
use crate::history::Process;
use crate::world::NodeIndex;

/// Values of one client lie this far from those of the next.
const VALUES_EACH: u64 = 1_000_000;

/// It runs in a task of the world's, asks one thing at a time, and goes to any node for each.
pub struct Client {
    pub process: Process,
    stage: Stage,
    channels: BTreeMap<NodeIndex, rt::Channel>,
    values: u64,
}

impl Client {
    /// `number` is one in the whole run: workloads that share one count on from `first`.
    pub fn new(stage: &Stage, number: u64) -> Self {
        Self { process: Process(number), stage: stage.clone(), channels: BTreeMap::new(), values: 0 }
    }

    /// A way to the node, the same one at each call.
    pub fn channel(&mut self, node: NodeIndex) -> rt::Channel {
        self.channels.entry(node).or_insert_with(|| self.stage.world.channel(node)).clone()
    }

    /// A way to any place there is, down or cut off as it may be.
    pub fn anywhere(&mut self) -> rt::Channel {
        let node = self.index(self.stage.world.nodes());
        self.channel(node)
    }

    /// A number that no other client writes, and this one never again.
    pub fn unique(&mut self) -> u64 {
        self.values += 1;
        assert!(self.values < VALUES_EACH, "one client's values have run into the next one's");
        (self.process.0 + 1) * VALUES_EACH + self.values
    }

    pub fn below(&self, bound: u64) -> u64 {
        rt::random_u64() % bound
    }

    pub fn index(&self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).expect("an index fits")
    }

    pub fn stage(&self) -> &Stage {
        &self.stage
    }
}
