//! Which links a partition cuts: directed, from one node to another, so that one-way cuts need no special case.

use std::collections::BTreeSet;
use std::fmt;

use crate::world::NodeIndex;

/// A set of directed links between nodes, and of nodes that no client reaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// In words, for the timeline.
    pub shape: String,
    /// What the first node of a pair sends, the second does not get.
    pub links: BTreeSet<(NodeIndex, NodeIndex)>,
    /// Nodes that are cut off from the clients too, both ways.
    pub clients: BTreeSet<NodeIndex>,
}

impl Cut {
    fn of(shape: impl Into<String>, nodes: usize, is_cut: impl Fn(NodeIndex, NodeIndex) -> bool) -> Self {
        let pairs = (0..nodes).flat_map(|from| (0..nodes).map(move |to| (from, to)));
        let links = pairs.filter(|(from, to)| from != to && is_cut(*from, *to)).collect();
        Self { shape: shape.into(), links, clients: BTreeSet::new() }
    }

    /// One node on its own. Clients still reach it: that is how a stale answer would show.
    pub fn isolate(node: NodeIndex, nodes: usize) -> Self {
        Self::of(format!("{} alone", name(node)), nodes, |from, to| from == node || to == node)
    }

    /// It hears nobody, and is heard.
    pub fn deaf(node: NodeIndex, nodes: usize) -> Self {
        Self::of(format!("{} deaf", name(node)), nodes, |_, to| to == node)
    }

    /// It is not heard, and hears everybody.
    pub fn mute(node: NodeIndex, nodes: usize) -> Self {
        Self::of(format!("{} mute", name(node)), nodes, |from, _| from == node)
    }

    /// Two sides that do not hear each other.
    pub fn sides(side: &BTreeSet<NodeIndex>, nodes: usize) -> Self {
        let names: Vec<String> = side.iter().map(|node| name(*node)).collect();
        let shape = format!("{} on one side", names.join(" "));
        Self::of(shape, nodes, |from, to| side.contains(&from) != side.contains(&to))
    }

    /// Each node hears its two neighbours in a circle and nobody else, so that with five nodes everybody sees a
    /// majority and no two see the same one. With fewer than four, all are neighbours: a chain, without the link that
    /// closes the circle.
    pub fn ring(order: &[NodeIndex], nodes: usize) -> Self {
        let closed = order.len() > 3;
        let place = |node: NodeIndex| order.iter().position(|other| *other == node);
        let far = |from: NodeIndex, to: NodeIndex| {
            let (Some(one), Some(other)) = (place(from), place(to)) else { return true };
            let apart = one.abs_diff(other);
            !(apart == 1 || closed && apart == order.len() - 1)
        };
        let names: Vec<String> = order.iter().map(|node| name(*node)).collect();
        Self::of(format!("ring {}", names.join(" ")), nodes, far)
    }

    /// Two sides that do not hear each other, but for one node that hears both.
    pub fn bridge(bridge: NodeIndex, side: &BTreeSet<NodeIndex>, nodes: usize) -> Self {
        let shape = format!("{} the only bridge", name(bridge));
        Self::of(shape, nodes, |from, to| from != bridge && to != bridge && side.contains(&from) != side.contains(&to))
    }

    /// A whole zone is gone, for clients too.
    pub fn zone(zone: &str, zones: &[String]) -> Self {
        let inside = |node: NodeIndex| zones[node] == zone;
        let mut cut = Self::of(format!("zone {zone} gone"), zones.len(), |from, to| inside(from) != inside(to));
        cut.clients = (0..zones.len()).filter(|node| inside(*node)).collect();
        cut
    }

    /// Clients do not reach these nodes; the nodes reach one another.
    pub fn from_clients(clients: BTreeSet<NodeIndex>) -> Self {
        let names: Vec<String> = clients.iter().map(|node| name(*node)).collect();
        Self { shape: format!("clients without {}", names.join(" ")), links: BTreeSet::new(), clients }
    }
}

impl fmt::Display for Cut {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.shape)
    }
}

/// What people call a node.
pub(super) fn name(node: NodeIndex) -> String {
    format!("n{}", node + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(cut: &Cut, nodes: usize) -> Vec<(NodeIndex, NodeIndex)> {
        let pairs = (0..nodes).flat_map(|from| (0..nodes).map(move |to| (from, to)));
        pairs.filter(|pair| pair.0 != pair.1 && !cut.links.contains(pair)).collect()
    }

    #[test]
    fn each_shape_cuts_what_it_says() {
        assert_eq!(whole(&Cut::isolate(0, 3), 3), [(1, 2), (2, 1)]);
        assert_eq!(whole(&Cut::deaf(0, 3), 3), [(0, 1), (0, 2), (1, 2), (2, 1)]);
        assert_eq!(whole(&Cut::mute(0, 3), 3), [(1, 0), (1, 2), (2, 0), (2, 1)]);
        assert_eq!(whole(&Cut::sides(&BTreeSet::from([0, 1]), 4), 4), [(0, 1), (1, 0), (2, 3), (3, 2)]);
        let bridge = Cut::bridge(2, &BTreeSet::from([0, 1]), 5);
        assert!(!bridge.links.contains(&(0, 2)) && !bridge.links.contains(&(2, 4)) && bridge.links.contains(&(1, 3)));
        let zones = ["a", "a", "b"].map(str::to_owned);
        let zone = Cut::zone("a", &zones);
        assert_eq!((whole(&zone, 3), zone.clients), (vec![(0, 1), (1, 0)], BTreeSet::from([0, 1])));
    }

    #[test]
    fn in_a_ring_of_five_each_hears_two_and_no_two_the_same() {
        let ring = Cut::ring(&[3, 0, 4, 1, 2], 5);
        let heard = |node| whole(&ring, 5).into_iter().filter(move |link| link.1 == node).map(|link| link.0);
        let majorities: BTreeSet<BTreeSet<NodeIndex>> =
            (0..5).map(|node| heard(node).chain([node]).collect()).collect();
        assert!(majorities.len() == 5 && majorities.iter().all(|all| all.len() == 3), "{majorities:?}");
        assert_eq!(whole(&Cut::ring(&[0, 1, 2], 3), 3), [(0, 1), (1, 0), (1, 2), (2, 1)]);
    }
}
