//! The leader finishes what changes of members left to do.
//!
//! - A change of voters has two steps: a joint configuration, in which both the old and the new voters must agree, and
//!   then the new one alone. A leader that dies between the two leaves the first behind, and with it a cluster that two
//!   quorums can stop. The next leader takes the second step.
//! - A member that was added as a voter is given its vote when it has started and caught up. All that are ready are
//!   given it in one change.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use openraft::ChangeMembers;

use super::members::MemberRefusal;
use super::types::{Member, RaftMembership};
use super::{MemberView, Members, Replica};
use crate::rt::watch::WatchReceiver as _;
use crate::types::MemberId;

/// Entries that a member may lack when it is given its vote.
const READY_LAG_ENTRIES_MAX: u64 = 1000;

/// Changes of members that this member carries out at the moment. Clones share the count.
#[derive(Clone, Debug, Default)]
pub struct Changing(Arc<AtomicUsize>);

/// One of them, until it is dropped.
pub struct Underway(Arc<AtomicUsize>);

impl Changing {
    pub fn begin(&self) -> Underway {
        self.0.fetch_add(1, Ordering::SeqCst);
        Underway(Arc::clone(&self.0))
    }

    fn is_idle(&self) -> bool {
        self.0.load(Ordering::SeqCst) == 0
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What is left to do, and must be looked at again soon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unsettled {
    /// A change of voters is half done.
    Joint,
    /// These were added as voters and do not vote yet.
    Joining(Vec<MemberId>),
}

/// What there is to do for a leader.
fn unsettled(members: &Members) -> Option<Unsettled> {
    if members.is_joint {
        return Some(Unsettled::Joint);
    }
    let joining: Vec<MemberId> = members.members.iter().filter(|view| view.is_joining()).map(|view| view.id).collect();
    (!joining.is_empty()).then_some(Unsettled::Joining(joining))
}

/// The voters that a half-done change is on its way to.
fn goal(membership: &RaftMembership) -> BTreeSet<u64> {
    membership.get_joint_config().last().cloned().unwrap_or_default()
}

/// One change that gives all of these their vote.
fn give_votes(ready: &[&MemberView]) -> ChangeMembers<u64, Member> {
    let done = |view: &&MemberView| (view.id.0, Member { votes_when_ready: false, ..view.member.clone() });
    ChangeMembers::Batch(vec![
        ChangeMembers::SetNodes(ready.iter().map(done).collect()),
        ChangeMembers::AddVoterIds(ready.iter().map(|view| view.id.0).collect()),
    ])
}

impl Replica {
    /// Does what can be done now, if this member leads. Returns what was found to do.
    pub async fn settle_members(&self) -> Option<Unsettled> {
        if !self.leads() {
            return None;
        }
        let found = unsettled(&self.members())?;
        // What this member itself has under way is not left over.
        if !self.changing.is_idle() {
            return Some(found);
        }
        let _changing = self.changing.begin();
        let settled = match &found {
            Unsettled::Joint => self.flatten().await,
            Unsettled::Joining(joining) => self.admit(joining).await,
        };
        if let Err(error) = settled {
            tracing::debug!(%error, ?found, "a change of members could not be finished yet");
        }
        Some(found)
    }

    async fn flatten(&self) -> Result<(), MemberRefusal> {
        let goal = goal(self.raft.server_metrics().borrow_watched().membership_config.membership());
        self.propose(ChangeMembers::ReplaceAllVoters(goal)).await?;
        tracing::info!("a change of members that another leader left half done is finished");
        Ok(())
    }

    async fn admit(&self, joining: &[MemberId]) -> Result<(), MemberRefusal> {
        let members = self.members();
        let ready: Vec<&MemberView> =
            joining.iter().filter(|id| self.is_ready(**id)).filter_map(|id| members.get(*id)).collect();
        // A member says its name when it has started; from then on it is known if its disk is lost.
        let ready: Vec<&MemberView> = ready.into_iter().filter(|view| !view.member.name.is_empty()).collect();
        if ready.is_empty() {
            return Ok(());
        }
        self.propose(give_votes(&ready)).await?;
        for view in ready {
            tracing::info!(member = %view.id, name = view.member.name, "the member has caught up and votes now");
        }
        Ok(())
    }

    fn is_ready(&self, id: MemberId) -> bool {
        let matched = self.replication().get(&id).copied().unwrap_or(0);
        matched + READY_LAG_ENTRIES_MAX >= self.standing().last_log_index && self.refuse_lagging(id).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn joining(id: u64) -> MemberView {
        let member = Member { name: format!("n{id}"), votes_when_ready: true, ..Member::default() };
        MemberView { id: MemberId(id), member, votes: false }
    }

    #[test]
    fn members_that_are_ready_are_admitted_in_one_change() {
        let (one, two) = (joining(4), joining(5));
        let ChangeMembers::Batch(changes) = give_votes(&[&one, &two]) else { panic!("not one change") };
        let done = |id: u64| (id, Member { name: format!("n{id}"), ..Member::default() });
        let nodes: BTreeMap<u64, Member> = BTreeMap::from([done(4), done(5)]);
        assert_eq!(changes, [ChangeMembers::SetNodes(nodes), ChangeMembers::AddVoterIds(BTreeSet::from([4, 5]))]);
    }

    #[test]
    fn a_half_done_change_comes_before_members_that_wait() {
        let mut members = Members { members: vec![joining(4)], is_joint: true };
        assert_eq!(unsettled(&members), Some(Unsettled::Joint));
        members.is_joint = false;
        assert_eq!(unsettled(&members), Some(Unsettled::Joining(vec![MemberId(4)])));
        members.members[0].votes = true;
        assert_eq!(unsettled(&members), None);
    }

    #[test]
    fn the_goal_of_a_half_done_change_is_its_last_configuration() {
        let (old, new) = (BTreeSet::from([1, 2, 3]), BTreeSet::from([1, 2, 4]));
        let nodes: BTreeMap<u64, Member> = (1..=4).map(|id| (id, Member::default())).collect();
        let membership = RaftMembership::new(vec![old, new.clone()], nodes).unwrap();
        assert_eq!(goal(&membership), new);
    }
}
