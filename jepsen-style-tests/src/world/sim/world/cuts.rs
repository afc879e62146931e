//! Power that goes at the worst moment for a log: it was just cut on disk, and nothing is written over what was cut
//! off. What is planned by time never meets that moment.

use std::sync::Weak;
use std::time::Duration;

use futures::StreamExt;
use futures::channel::mpsc;
use holdfast_node::env::CrashPolicy;
use holdfast_node::types::MemberId;

use super::SimWorld;
use crate::nemesis::{AtCuts, Fault};

/// How long the power is away.
const AWAY: Duration = Duration::from_millis(300);

/// Strikes whoever cuts its log, one after the other, as long as faults go on.
pub(super) async fn strike(world: Weak<SimWorld>, mut cuts: mpsc::UnboundedReceiver<MemberId>) {
    while let Some(member) = cuts.next().await {
        let Some(world) = world.upgrade() else { return };
        let Some(fault) = world.lose_power_of(member) else { continue };
        madsim::time::sleep(AWAY).await;
        let state = &mut *world.state.lock();
        state.standing.end(&fault);
        world.settle(state);
    }
}

impl SimWorld {
    fn lose_power_of(&self, member: MemberId) -> Option<Fault> {
        let state = &mut *self.state.lock();
        if state.at_cuts == AtCuts::Nothing {
            return None;
        }
        let is_it = |node: &usize| self.cluster.server(*node).is_some_and(|server| server.ops().me() == member);
        let node = (0..self.cluster.len()).find(is_it).filter(|node| state.machines[*node].runs)?;
        self.trace.say(format!("n{} has cut its log", node + 1));
        let fault = Fault::PowerLoss { nodes: vec![node], left: CrashPolicy::LoseUnsynced };
        self.begin(&fault, state);
        self.settle(state);
        Some(fault)
    }
}
