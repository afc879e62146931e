//! Who belongs to the simulated cluster: nodes that join, leave, come back empty, or are replaced, as an operator would
//! do it.

use super::super::{members, rot};
use super::{DiskFaults, Machine, PLACES_MAX, SimWorld};
use crate::nemesis::Fault;
use crate::world::{NodeIndex, Struck, World as _};

impl SimWorld {
    pub(super) async fn add_member(&self, fault: &Fault, zone: &str) -> Struck {
        let place = self.cluster.len();
        let learner = matches!(fault, Fault::LearnerAdd { .. });
        if place >= PLACES_MAX || !members::add(&self.cluster, self.member_places(), place, learner).await {
            return Struck::NotHere;
        }
        let state = &mut *self.state.lock();
        assert_eq!(self.cluster.join(zone), place, "one change of members at a time");
        state.machines.push(Machine::new(zone));
        if learner {
            state.learners.insert(place)
        } else {
            state.members.insert(place)
        };
        state.joined.push((fault.clone(), place));
        state.standing.begin(fault);
        self.settle(state);
        Struck::Done
    }

    /// The one that joined leaves, if the others agree; otherwise it stays.
    pub(super) async fn remove_joined(&self, fault: &Fault) {
        let place = {
            let state = &mut *self.state.lock();
            let Some(at) = state.joined.iter().position(|(joined, _)| joined == fault) else { return };
            state.joined.remove(at).1
        };
        if members::remove(&self.cluster, self.member_places(), place).await {
            let state = &mut *self.state.lock();
            state.members.remove(&place);
            state.learners.remove(&place);
            self.stop(place, state, |cluster, node| cluster.kill(node));
            state.standing.begin(&Fault::Kill { nodes: vec![place] });
        }
    }

    /// One that was removed joins again, empty, if the others agree; otherwise it stays away.
    pub(super) async fn take_back(&self, node: NodeIndex) {
        {
            let state = &mut *self.state.lock();
            self.stop(node, state, |cluster, node| cluster.kill(node));
            self.cluster.empty(node);
            state.machines[node].disk = DiskFaults::default();
        }
        if members::add(&self.cluster, self.member_places(), node, false).await {
            self.state.lock().members.insert(node);
        } else {
            self.state.lock().standing.begin(&Fault::Kill { nodes: vec![node] });
        }
    }

    /// A bit of the node's log flips while nobody looks, and the node starts again. One node at a time, and where every
    /// member votes: what is rotten on one is whole on others.
    pub(super) async fn rot_log(&self, fault: &Fault, node: NodeIndex) -> Struck {
        if !self.is_settled().await {
            return Struck::NotHere;
        }
        let state = &mut *self.state.lock();
        if !state.rotten.is_empty() {
            return Struck::NotHere;
        }
        self.stop(node, state, |cluster, node| cluster.kill(node));
        let flipped = rot::flip_a_bit_of_the_log(&self.cluster.disk(node));
        if let Some(what) = &flipped {
            self.trace.say(format!("n{}: {what} flips", node + 1));
            state.rotten.insert(node);
            state.standing.begin(fault);
        }
        self.settle(state);
        if flipped.is_some() { Struck::Done } else { Struck::NotHere }
    }

    /// A member whose disk rots is replaced by an empty one, if the others agree: also one that says it is well, as its
    /// state has what is rotten in the log. Whether there is none any more.
    pub(super) async fn replace_rotten(&self) -> bool {
        let rotten: Vec<NodeIndex> = self.state.lock().rotten.iter().copied().collect();
        for node in rotten {
            if !members::remove(&self.cluster, self.member_places(), node).await {
                return false;
            }
            self.state.lock().members.remove(&node);
            self.take_back(node).await;
            let state = &mut *self.state.lock();
            state.rotten.remove(&node);
            self.settle(state);
        }
        true
    }

    /// A change of members may have come late, or never. Who is a member and should not be is removed, who joined and
    /// is none stays away, and who was there from the beginning comes back. True once all is as it should be.
    pub(super) async fn agree_on_members(&self) -> bool {
        // A node may have stopped by itself after its fault had ended.
        self.settle(&mut self.state.lock());
        if !self.replace_rotten().await {
            return false;
        }
        let (wanted, learners, founders) = {
            let state = self.state.lock();
            (state.members.clone(), state.learners.clone(), state.founders)
        };
        let known: Vec<NodeIndex> = wanted.iter().copied().collect();
        let Some(listed) = members::places(&self.cluster, &known).await else { return false };
        let strangers: Vec<NodeIndex> =
            listed.iter().copied().filter(|place| !wanted.contains(place) && !learners.contains(place)).collect();
        for stranger in &strangers {
            members::remove(&self.cluster, known.clone(), *stranger).await;
        }
        let missing: Vec<NodeIndex> =
            wanted.union(&learners).copied().filter(|place| !listed.contains(place)).collect();
        for place in &missing {
            let state = &mut *self.state.lock();
            self.stop(*place, state, |cluster, node| cluster.kill(node));
            state.members.remove(place);
            state.learners.remove(place);
            state.standing.begin(&Fault::Kill { nodes: vec![*place] });
        }
        let gone: Vec<NodeIndex> = (0..founders).filter(|place| !self.state.lock().members.contains(place)).collect();
        for place in &gone {
            self.take_back(*place).await;
            let state = &mut *self.state.lock();
            if state.members.contains(place) {
                while state.standing.end(&Fault::Kill { nodes: vec![*place] }) {}
            }
            self.settle(state);
        }
        strangers.is_empty() && missing.is_empty() && gone.is_empty()
    }
}
