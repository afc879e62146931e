//! The faults that stand, summed up: what a world must do at each moment, however they overlap.
//!
//! A world keeps one of these, changes it with each blow and each end, and then makes links, disks and processes what
//! it says. So one partition's end does not mend what another one still cuts.

use std::collections::BTreeSet;
use std::time::Duration;

use super::fault::Fault;
use crate::world::NodeIndex;

/// What holds for all links between nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Links {
    /// From, to.
    pub cut: BTreeSet<(NodeIndex, NodeIndex)>,
    /// Nodes that no client reaches.
    pub clients_cut: BTreeSet<NodeIndex>,
    pub loss_per_mille: u16,
    pub delay: Option<(Duration, Duration)>,
    pub duplicate_per_mille: u16,
    pub reorder: Option<(u16, Duration)>,
}

#[derive(Clone, Debug, Default)]
pub struct Standing {
    faults: Vec<Fault>,
}

impl Standing {
    pub fn begin(&mut self, fault: &Fault) {
        self.faults.push(fault.clone());
    }

    /// Whether it stood.
    pub fn end(&mut self, fault: &Fault) -> bool {
        let place = self.faults.iter().position(|standing| standing == fault);
        if let Some(place) = place {
            self.faults.remove(place);
        }
        place.is_some()
    }

    /// Ends all, and names them.
    pub fn end_all(&mut self) -> Vec<Fault> {
        std::mem::take(&mut self.faults)
    }

    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// The union of all cuts, and the worst of everything else.
    pub fn links(&self) -> Links {
        let mut links = Links::default();
        for fault in &self.faults {
            match fault {
                Fault::Partition(cut) => {
                    links.cut.extend(&cut.links);
                    links.clients_cut.extend(&cut.clients);
                }
                Fault::Loss { per_mille } => links.loss_per_mille = links.loss_per_mille.max(*per_mille),
                Fault::Delay { least, most } => links.delay = links.delay.max(Some((*least, *most))),
                Fault::Duplicate { per_mille } => {
                    links.duplicate_per_mille = links.duplicate_per_mille.max(*per_mille);
                }
                Fault::Reorder { per_mille, hold } => links.reorder = links.reorder.max(Some((*per_mille, *hold))),
                _ => {}
            }
        }
        links
    }

    /// Whether a fault says that the node must not run.
    pub fn is_down(&self, node: NodeIndex) -> bool {
        self.faults.iter().any(|fault| match fault {
            Fault::Kill { nodes } | Fault::PowerLoss { nodes, .. } => nodes.contains(&node),
            Fault::MemberRemove { node: removed } => *removed == node,
            _ => false,
        })
    }

    pub fn is_paused(&self, node: NodeIndex) -> bool {
        self.faults.iter().any(|fault| matches!(fault, Fault::Pause { nodes } if nodes.contains(&node)))
    }

    /// Whether a fault stands that may make the node stop by itself, and rightly.
    pub fn may_stop(&self, node: NodeIndex) -> bool {
        self.faults.iter().any(|fault| match fault {
            Fault::FailWrites { node: hit }
            | Fault::FailSync { node: hit, .. }
            | Fault::FullDisk { node: hit }
            | Fault::HungDisk { node: hit }
            | Fault::Rot { node: hit, .. }
            | Fault::MemberRemove { node: hit } => *hit == node,
            _ => false,
        })
    }

    /// What the newest fault says of the node's clock.
    pub fn clock_ppm(&self, node: NodeIndex) -> Option<u64> {
        self.faults.iter().rev().find_map(|fault| match fault {
            Fault::ClockRate { node: hit, ppm } if *hit == node => Some(*ppm),
            _ => None,
        })
    }

    /// The slowest that a fault makes the node's disk.
    pub fn slow_disk(&self, node: NodeIndex) -> Option<Duration> {
        let slow = self.faults.iter().filter_map(|fault| match fault {
            Fault::SlowDisk { node: hit, longest } if *hit == node => Some(*longest),
            _ => None,
        });
        slow.max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nemesis::Cut;

    #[test]
    fn the_end_of_one_fault_leaves_what_another_does() {
        let mut standing = Standing::default();
        let (one, other) = (Fault::Partition(Cut::isolate(0, 3)), Fault::Partition(Cut::deaf(1, 3)));
        let down = Fault::Kill { nodes: vec![0, 1] };
        for fault in [&one, &other, &down, &Fault::Loss { per_mille: 5 }, &Fault::Loss { per_mille: 50 }] {
            standing.begin(fault);
        }
        assert!(standing.end(&one) && !standing.end(&one));
        let links = standing.links();
        assert_eq!((links.cut, links.loss_per_mille), (BTreeSet::from([(0, 1), (2, 1)]), 50));
        assert!(standing.is_down(0) && !standing.is_down(2));
        standing.begin(&down);
        standing.end(&down);
        assert!(standing.is_down(1), "the second of two equal faults still stands");
        assert_eq!(standing.end_all().len(), 4);
        assert_eq!(standing.links(), Links::default());
    }
}
