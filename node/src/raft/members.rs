//! Who belongs to the cluster, where each member lives, and how that changes.
//!
//! A change of voters goes through Raft's joint consensus. What a change may not do is decided here, before it is
//! proposed: etcd's strict reconfiguration check refuses what would leave the cluster without a started quorum.
//!
//! A member that is added as a voter is first taken in without a vote, and counts as a voter for everybody who asks;
//! the leader gives it the vote when it has started and caught up (`settling.rs`). So whoever adds it is answered at
//! once, and no quorum ever depends on an empty disk (decisions/0013).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use holdfast_proto::peer;
use openraft::ChangeMembers;
use openraft::errors::{ChangeMembershipError, ClientWriteError, RaftError};

use super::Replica;
use super::types::{Member, RaftMembership, TypeConfig};
use super::wire::member_from_wire;
use crate::rt;
use crate::rt::watch::WatchReceiver as _;
use crate::types::MemberId;

/// One member as the newest membership has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberView {
    pub id: MemberId,
    pub member: Member,
    /// It counts in a quorum now.
    pub votes: bool,
}

impl MemberView {
    /// It was added without a vote. One that waits for its vote is none.
    pub fn is_learner(&self) -> bool {
        !self.votes && !self.is_joining()
    }

    /// It was added as a voter, and has not caught up yet.
    pub fn is_joining(&self) -> bool {
        !self.votes && self.member.votes_when_ready
    }
}

/// All members as of one membership entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    pub members: Vec<MemberView>,
    /// A change of voters is half done: quorums of the old and of the new voters are needed.
    pub is_joint: bool,
}

impl Members {
    fn of(membership: &RaftMembership) -> Self {
        let voters: BTreeSet<u64> = membership.voter_ids().collect();
        let members = membership.nodes().map(|(id, member)| MemberView {
            id: MemberId(*id),
            member: member.clone(),
            votes: voters.contains(id),
        });
        Self { members: members.collect(), is_joint: membership.get_joint_config().len() > 1 }
    }

    /// As the state keeps them: of the last membership entry that was applied.
    pub fn from_wire(wire: peer::Membership) -> Self {
        let votes = |id: u64| wire.configs.iter().any(|set| set.member_ids.contains(&id));
        let view = |info: &peer::MemberInfo| MemberView {
            id: MemberId(info.id),
            member: member_from_wire(info.clone()),
            votes: votes(info.id),
        };
        Self { members: wire.members.iter().map(view).collect(), is_joint: wire.configs.len() > 1 }
    }

    pub fn get(&self, id: MemberId) -> Option<&MemberView> {
        self.members.iter().find(|member| member.id == id)
    }

    pub fn voters(&self) -> impl Iterator<Item = &MemberView> {
        self.members.iter().filter(|member| member.votes)
    }

    pub fn learners(&self) -> impl Iterator<Item = &MemberView> {
        self.members.iter().filter(|member| member.is_learner())
    }

    /// Those that are voters for whoever asks: they vote, or will when they are ready.
    fn wanted_voters(&self) -> impl Iterator<Item = &MemberView> {
        self.members.iter().filter(|member| !member.is_learner())
    }

    /// Where each member listens for the others.
    pub fn addresses(&self) -> BTreeMap<u64, Vec<String>> {
        self.members.iter().map(|view| (view.id.0, view.member.peer_urls.clone())).collect()
    }

    /// Voters in each zone. A member without a zone is a zone of its own, named by its id.
    pub fn voters_by_zone(&self) -> BTreeMap<String, usize> {
        let mut zones = BTreeMap::new();
        for voter in self.voters() {
            *zones.entry(zone_of(voter)).or_insert(0) += 1;
        }
        zones
    }

    /// The zones whose loss would leave no quorum, with the number of voters in each.
    pub fn zones_that_hold_a_quorum(&self) -> Vec<(String, usize)> {
        let voters = self.voters().count();
        let quorum = voters / 2 + 1;
        self.voters_by_zone().into_iter().filter(|(_, inside)| voters - inside < quorum).collect()
    }
}

/// The member's zone, or a name for its lack of one.
fn zone_of(member: &MemberView) -> String {
    if member.member.zone.is_empty() { format!("(none:{})", member.id) } else { member.member.zone.clone() }
}

/// A change to who the members are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberChange {
    AddVoter(MemberId, Member),
    AddLearner(MemberId, Member),
    Promote(MemberId),
    Remove(MemberId),
    /// New peer URLs, as an operator sets them.
    UpdatePeerUrls(MemberId, Vec<String>),
    /// Name, zone and client URLs, as the member says itself when it starts.
    Publish(MemberId, Member),
}

/// Why a change was refused. Nothing has changed then, except with [`MemberRefusal::Unknown`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MemberRefusal {
    #[error("this member does not lead")]
    NotLeader { leader: Option<MemberId> },
    #[error("there is no such member")]
    NotFound,
    #[error("the member exists already")]
    IdExists,
    #[error("the peer URLs belong to another member")]
    PeerUrlExists,
    #[error("the member votes already")]
    NotLearner,
    #[error("the learner is too far behind the leader")]
    LearnerNotReady,
    #[error("there are as many learners as allowed")]
    TooManyLearners,
    #[error("too few members have ever started for a quorum after the change")]
    TooFewStarted,
    #[error("too few members answer for a quorum after the change")]
    UnhealthyCluster,
    #[error("another change of members is under way")]
    InProgress,
    #[error("the member has run before, on a disk that was lost")]
    RanBefore,
    #[error("leadership was lost while the change was under way")]
    Unknown,
    #[error("{0}")]
    Stopped(String),
}

/// A learner this close to the leader's last entry may vote.
const READY_LAG_PERCENT: u64 = 90;

impl Replica {
    /// The members as of the newest membership entry in this member's log, which Raft counts with from the moment it is
    /// there. As long as it is not committed, the next leader may take it back.
    pub fn members(&self) -> Members {
        Members::of(self.raft.server_metrics().borrow_watched().membership_config.membership())
    }

    /// Whether one belongs to those.
    pub fn has_member(&self, id: MemberId) -> bool {
        let metrics = self.raft.server_metrics();
        metrics.borrow_watched().membership_config.membership().get_node(&id.0).is_some()
    }

    /// [`Replica::members`] once that entry is applied here, and so can never be taken back. A leader that was just
    /// elected applies it in a moment; where it takes longer, the change before this one is under way.
    async fn members_to_change(&self) -> Result<Members, MemberRefusal> {
        let newest = || {
            let metrics = self.raft.server_metrics();
            Arc::clone(&metrics.borrow_watched().membership_config)
        };
        let index = newest().log_id().as_ref().map_or(0, |id| id.index);
        match rt::timeout(self.patience, self.wait_applied(index)).await {
            Ok(Ok(())) => {}
            Ok(Err(stopped)) => return Err(MemberRefusal::Stopped(stopped.to_string())),
            Err(_elapsed) => return Err(MemberRefusal::InProgress),
        }
        let settled = newest();
        match settled.log_id().as_ref().map_or(0, |id| id.index) == index {
            true => Ok(Members::of(settled.membership())),
            false => Err(MemberRefusal::InProgress),
        }
    }

    /// How far each member's log is known to match ours. Only the leader knows.
    pub fn replication(&self) -> BTreeMap<MemberId, u64> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let progress = metrics.replication.iter().flatten();
        progress.map(|(id, matched)| (MemberId(*id), matched.as_ref().map_or(0, |matched| matched.index))).collect()
    }

    /// Carries a change out, to its end: it is applied here then. Only the leader can. What is refused, and what is
    /// found to be so already, is decided by members that are agreed on.
    pub async fn change_members(&self, change: MemberChange, learners_max: usize) -> Result<(), MemberRefusal> {
        if !self.leads() {
            // What follows knows only a leader.
            return Err(MemberRefusal::NotLeader { leader: self.leader() });
        }
        let members = self.members_to_change().await?;
        let _changing = self.changing.begin();
        match change {
            MemberChange::AddVoter(id, member) => {
                refuse_known(&members, id, &member)?;
                self.refuse_without_quorum(&members)?;
                let member = Member { votes_when_ready: true, ..member };
                self.propose(ChangeMembers::AddNodes(BTreeMap::from([(id.0, member)]))).await?;
            }
            MemberChange::AddLearner(id, member) => {
                refuse_known(&members, id, &member)?;
                if members.learners().count() >= learners_max {
                    return Err(MemberRefusal::TooManyLearners);
                }
                self.propose(ChangeMembers::AddNodes(BTreeMap::from([(id.0, member)]))).await?;
            }
            MemberChange::Promote(id) => {
                let learner = members.get(id).ok_or(MemberRefusal::NotFound)?;
                if !learner.is_learner() {
                    return Err(MemberRefusal::NotLearner);
                }
                self.refuse_lagging(id)?;
                self.propose(ChangeMembers::AddVoterIds(BTreeSet::from([id.0]))).await?;
            }
            MemberChange::Remove(id) => {
                let leaving = members.get(id).ok_or(MemberRefusal::NotFound)?;
                if leaving.votes {
                    self.refuse_removal(&members, id)?;
                    self.propose(ChangeMembers::RemoveVoters(BTreeSet::from([id.0]))).await?;
                } else {
                    self.propose(ChangeMembers::RemoveNodes(BTreeSet::from([id.0]))).await?;
                }
            }
            MemberChange::UpdatePeerUrls(id, peer_urls) => {
                let known = members.get(id).ok_or(MemberRefusal::NotFound)?;
                let taken = members
                    .members
                    .iter()
                    .any(|other| other.id != id && other.member.peer_urls.iter().any(|url| peer_urls.contains(url)));
                if taken {
                    return Err(MemberRefusal::PeerUrlExists);
                }
                let member = Member { peer_urls, ..known.member.clone() };
                self.propose(ChangeMembers::SetNodes(BTreeMap::from([(id.0, member)]))).await?;
            }
            MemberChange::Publish(id, said) => {
                let known = members.get(id).ok_or(MemberRefusal::NotFound)?;
                refuse_another_life(&known.member, said.incarnation)?;
                // What an operator decided stays.
                let member = Member {
                    peer_urls: known.member.peer_urls.clone(),
                    votes_when_ready: known.member.votes_when_ready,
                    incarnation: said.incarnation.max(known.member.incarnation),
                    ..said
                };
                if member != known.member {
                    self.propose(ChangeMembers::SetNodes(BTreeMap::from([(id.0, member)]))).await?;
                }
            }
        }
        Ok(())
    }

    pub(super) async fn propose(&self, change: ChangeMembers<u64, Member>) -> Result<(), MemberRefusal> {
        if !self.has_member(self.peers.me()) {
            // It led its own removal, and leads on until it hears of the next leader: this is that one's to decide.
            return Err(MemberRefusal::NotLeader { leader: None });
        }
        // `retain` is off: a voter that is removed leaves altogether, it does not stay on as a learner.
        let result = self.raft.change_membership(change, false).await;
        match result {
            Ok(_) => Ok(()),
            Err(RaftError::Fatal(fatal)) => Err(MemberRefusal::Stopped(fatal.to_string())),
            Err(RaftError::APIError(error)) => Err(refusal(error)),
        }
    }

    /// Members whose log answered the leader lately, this one included.
    pub fn started(&self) -> BTreeSet<MemberId> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        // What a member acknowledged once says nothing about today: it may be dead by now.
        let lately = |at: &openraft::metrics::SerdeInstant<rt::Instant>| rt::since(**at) < self.patience;
        let answers = metrics.heartbeat.iter().flatten();
        let mut started: BTreeSet<MemberId> =
            answers.filter(|(_, at)| at.as_ref().is_some_and(lately)).map(|(id, _)| MemberId(*id)).collect();
        started.insert(self.peers.me());
        started
    }

    /// A cluster that grows by a member which has not started needs its quorum among those that have.
    fn refuse_without_quorum(&self, members: &Members) -> Result<(), MemberRefusal> {
        let started = self.started();
        let voters: Vec<MemberId> = members.wanted_voters().map(|voter| voter.id).collect();
        let active = voters.iter().filter(|id| started.contains(id)).count();
        let voters_after = voters.len() + 1;
        let quorum_after = voters_after / 2 + 1;
        // etcd lets one member grow to two, although the second has not started yet.
        if voters.len() == 1 || active >= quorum_after {
            return Ok(());
        }
        Err(lack_of(members.wanted_voters(), quorum_after))
    }

    fn refuse_removal(&self, members: &Members, leaving: MemberId) -> Result<(), MemberRefusal> {
        let started = self.started();
        let staying: Vec<MemberId> = members.voters().map(|voter| voter.id).filter(|id| *id != leaving).collect();
        let active = staying.iter().filter(|id| started.contains(id)).count();
        let quorum_after = staying.len() / 2 + 1;
        if !staying.is_empty() && active >= quorum_after {
            return Ok(());
        }
        Err(lack_of(members.voters().filter(|voter| voter.id != leaving), quorum_after))
    }

    pub(super) fn refuse_lagging(&self, learner: MemberId) -> Result<(), MemberRefusal> {
        let last = self.standing().last_log_index;
        let matched = self.replication().get(&learner).copied().unwrap_or(0);
        let ready = u128::from(matched) * 100 >= u128::from(last) * u128::from(READY_LAG_PERCENT);
        if ready && matched > 0 && self.started().contains(&learner) {
            Ok(())
        } else {
            Err(MemberRefusal::LearnerNotReady)
        }
    }
}

/// A founder that lost its disk computes the same id again. It must not take part: it forgot what it promised.
fn refuse_another_life(known: &Member, incarnation: u64) -> Result<(), MemberRefusal> {
    let has_run = known.incarnation != 0 || !known.client_urls.is_empty();
    // A member of an earlier version, or one that joined, says none.
    let is_another = incarnation != 0 && incarnation != known.incarnation;
    if has_run && is_another { Err(MemberRefusal::RanBefore) } else { Ok(()) }
}

/// As etcd tells them apart: members that never were there, which have no name yet, and members that do not answer.
fn lack_of<'m>(voters: impl Iterator<Item = &'m MemberView>, quorum: usize) -> MemberRefusal {
    let have_started = voters.filter(|voter| !voter.member.name.is_empty()).count();
    if have_started < quorum { MemberRefusal::TooFewStarted } else { MemberRefusal::UnhealthyCluster }
}

fn refuse_known(members: &Members, id: MemberId, member: &Member) -> Result<(), MemberRefusal> {
    if members.get(id).is_some() {
        return Err(MemberRefusal::IdExists);
    }
    let taken =
        members.members.iter().any(|other| other.member.peer_urls.iter().any(|url| member.peer_urls.contains(url)));
    if taken { Err(MemberRefusal::PeerUrlExists) } else { Ok(()) }
}

fn refusal(error: ClientWriteError<TypeConfig>) -> MemberRefusal {
    match error {
        ClientWriteError::ForwardToLeader(forward) => {
            MemberRefusal::NotLeader { leader: forward.leader_id.map(MemberId) }
        }
        ClientWriteError::ChangeMembershipError(error) => match error {
            ChangeMembershipError::LearnerNotFound(_) => MemberRefusal::NotFound,
            ChangeMembershipError::EmptyMembership(_) => MemberRefusal::TooFewStarted,
            // The new leader's first entry is not committed yet: the next moment it will be.
            _ => MemberRefusal::InProgress,
        },
        _ => MemberRefusal::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(zones: &[&str]) -> Members {
        let members = zones.iter().enumerate().map(|(i, zone)| MemberView {
            id: MemberId(i as u64 + 1),
            member: Member { zone: (*zone).to_owned(), ..Member::default() },
            votes: true,
        });
        Members { members: members.collect(), is_joint: false }
    }

    #[test]
    fn a_second_life_of_a_founder_is_refused() {
        let ran = |incarnation, urls: &[&str]| Member {
            incarnation,
            client_urls: urls.iter().map(|url| (*url).to_owned()).collect(),
            ..Member::default()
        };
        assert_eq!(refuse_another_life(&ran(0, &[]), 7), Ok(()), "it runs for the first time");
        assert_eq!(refuse_another_life(&ran(7, &["http://me"]), 7), Ok(()), "it started again");
        assert_eq!(refuse_another_life(&ran(7, &["http://me"]), 0), Ok(()), "it forgot, and kept its disk");
        assert_eq!(refuse_another_life(&ran(7, &[]), 8), Err(MemberRefusal::RanBefore));
        assert_eq!(refuse_another_life(&ran(0, &["http://me"]), 8), Err(MemberRefusal::RanBefore));
    }

    #[test]
    fn what_the_state_keeps_says_the_same_as_what_raft_counts_with() {
        let joining = Member { votes_when_ready: true, ..Member::default() };
        let nodes: BTreeMap<u64, Member> =
            (1..=4).map(|id| (id, if id == 4 { joining.clone() } else { Member::default() })).collect();
        let joint = RaftMembership::new(vec![BTreeSet::from([1, 2]), BTreeSet::from([2, 3])], nodes.clone()).unwrap();
        let alone = RaftMembership::new(vec![BTreeSet::from([1, 2])], nodes).unwrap();
        for membership in [joint, alone] {
            let kept = Members::from_wire(super::super::wire::membership_to_wire(&membership));
            assert_eq!(kept, Members::of(&membership));
        }
    }

    #[test]
    fn a_member_that_joins_is_a_voter_for_everybody_and_for_no_quorum() {
        let mut members = layout(&["a", "b"]);
        members.members[1].votes = false;
        assert!(members.members[1].is_learner() && !members.members[1].is_joining());
        members.members[1].member.votes_when_ready = true;
        assert!(!members.members[1].is_learner() && members.members[1].is_joining());
        assert_eq!((members.voters().count(), members.wanted_voters().count(), members.learners().count()), (1, 2, 0));
    }

    #[test]
    fn members_that_never_started_are_told_from_those_that_do_not_answer() {
        let lack = |names: [&str; 3]| {
            let members = names.map(|name| MemberView {
                id: MemberId(1),
                member: Member { name: name.to_owned(), ..Member::default() },
                votes: true,
            });
            lack_of(members.iter(), 3)
        };
        assert_eq!(lack(["a", "b", ""]), MemberRefusal::TooFewStarted);
        assert_eq!(lack(["a", "b", "c"]), MemberRefusal::UnhealthyCluster);
    }

    #[test]
    fn three_zones_of_one_survive_any_zone() {
        assert_eq!(layout(&["a", "b", "c"]).zones_that_hold_a_quorum(), vec![]);
        assert_eq!(layout(&["a", "a", "b", "b", "c"]).zones_that_hold_a_quorum(), vec![]);
    }

    #[test]
    fn a_zone_with_a_quorum_is_found() {
        assert_eq!(layout(&["a", "a", "b"]).zones_that_hold_a_quorum(), vec![("a".to_owned(), 2)]);
        // Of four, the loss of two leaves no quorum.
        assert_eq!(layout(&["a", "a", "b", "c"]).zones_that_hold_a_quorum(), vec![("a".to_owned(), 2)]);
    }

    #[test]
    fn members_without_a_zone_do_not_share_one() {
        assert_eq!(layout(&["", "", ""]).zones_that_hold_a_quorum(), vec![]);
        assert_eq!(layout(&[""]).zones_that_hold_a_quorum(), vec![("(none:1)".to_owned(), 1)]);
    }
}
