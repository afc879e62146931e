//! Changing who the members are, from whichever member the operator asked.

use std::future::Future;
use std::time::Duration;

use holdfast_proto::peer;
use holdfast_proto::peer::change_members_request::Change;
use holdfast_proto::peer::peer_client::PeerClient;

use super::propose::with_timeout;
use super::{Deadline, Ops, OpsError};
use crate::raft::{Member, MemberChange, MemberRefusal, Members, member_from_wire, member_to_wire};
use crate::rt;
use crate::state;
use crate::types::MemberId;

/// How soon a member without a leader looks again, when nothing tells it sooner.
const LEADER_WAIT: Duration = Duration::from_millis(50);

/// How soon a member that the cluster does not know yet says again who it is.
const PUBLISH_PAUSE: Duration = Duration::from_millis(50);

/// How a leader names its refusal of a founder that lost its disk.
pub const RAN_BEFORE: &str = "ran-before";

/// For how long a member that asked the leader for a change waits until it has heard of it itself.
const HEAR_MS_MAX: u64 = 500;

/// How soon the leader looks again at a change of members that is not finished.
const SETTLE_PAUSE: Duration = Duration::from_millis(100);

impl Ops {
    /// A client of another member, for work and questions.
    pub fn client_of(&self, id: MemberId) -> Result<PeerClient<rt::Channel>, OpsError> {
        let members = self.members();
        let member = members.get(id).ok_or(OpsError::NoLeader)?;
        let url = member.member.peer_urls.first().ok_or(OpsError::NoLeader)?;
        self.peers().work(url).map_err(|_bad_url| OpsError::NoLeader)
    }

    /// Does work that only the leader can do: here if this member leads, else there. Work that was refused because the
    /// leader moved is tried again until the deadline.
    pub(super) async fn at_leader<T, Here, There>(
        &self,
        deadline: Deadline,
        here: impl Fn() -> Here,
        there: impl Fn(MemberId) -> There,
    ) -> Result<T, OpsError>
    where
        Here: Future<Output = Result<T, OpsError>>,
        There: Future<Output = Result<T, OpsError>>,
    {
        let mut standing = self.replica().watch_standing();
        loop {
            let attempt = async {
                if self.replica().leads() {
                    here().await
                } else {
                    match self.replica().leader() {
                        Some(leader) => there(leader).await,
                        None => Err(OpsError::NoLeader),
                    }
                }
            };
            match rt::timeout(deadline.left(), Box::pin(attempt)).await {
                // An attempt was under way: nobody knows how far it came.
                Err(_elapsed) => return Err(OpsError::Unknown),
                // Members change one at a time, and each member says who it is when it starts: a change waits its turn.
                Ok(Err(
                    OpsError::NoLeader | OpsError::NotLeader { .. } | OpsError::Member(MemberRefusal::InProgress),
                )) if !deadline.has_passed() => {
                    let wait = LEADER_WAIT.min(deadline.left());
                    if let Ok(Err(stopped)) = rt::timeout(wait, self.replica().changed(&mut standing)).await {
                        return Err(stopped.into());
                    }
                }
                Ok(result) => return result,
            }
        }
    }

    /// The members as of the last change that was applied here: nobody takes it back. For whoever is told who belongs
    /// to the cluster; [`Ops::members`] is for those who have to reach them and to count them.
    pub fn agreed_members(&self) -> Result<Members, OpsError> {
        let engine = self.store().engine();
        match state::membership(engine.view().as_ref())? {
            Some((_, membership)) => Ok(Members::from_wire(membership)),
            // Nothing was applied yet. The first members are the same in each founder's log.
            None => Ok(self.members()),
        }
    }

    /// Changes the members, here or at the leader. Returns them, as they are agreed on.
    pub async fn change_members(&self, change: MemberChange, deadline: Deadline) -> Result<Members, OpsError> {
        self.at_leader(
            deadline,
            || self.change_members_here(change.clone()),
            |leader| {
                let request = peer::ChangeMembersRequest {
                    envelope: Some(self.peers().envelope(leader.0)),
                    change: Some(change_to_wire(&change)),
                };
                async move {
                    let mut client = self.client_of(leader)?;
                    let answer = match client.change_members(with_timeout(request, deadline)).await {
                        Ok(answer) => answer.into_inner(),
                        Err(status) if super::propose::never_connected(&status) => return Err(OpsError::NoLeader),
                        Err(_) => return Err(OpsError::Member(MemberRefusal::Unknown)),
                    };
                    match refusal_from_name(&answer.refusal) {
                        None => Ok(()),
                        Some(MemberRefusal::NotLeader { leader }) => Err(OpsError::NotLeader { leader }),
                        Some(refusal) => Err(OpsError::Member(refusal)),
                    }
                }
            },
        )
        .await?;
        if !self.replica().leads() {
            // It is done, whether or not this member hears of it in time.
            let _late = self.read_barrier(Deadline::after_ms(HEAR_MS_MAX)).await;
        }
        self.agreed_members()
    }

    /// Changes the members as the leader.
    pub async fn change_members_here(&self, change: MemberChange) -> Result<(), OpsError> {
        if !matches!(change, MemberChange::Publish(..)) {
            tracing::info!(?change, "members are to change");
        }
        let promotes = matches!(change, MemberChange::Promote(_));
        // In a task of its own: a caller that leaves must not cut a joint change in half.
        let (replica, learners_max) = (self.replica().clone(), self.limits().learners_max);
        let changing = rt::spawn(async move { replica.change_members(change, learners_max).await });
        let result = changing.await.unwrap_or(Err(MemberRefusal::Unknown));
        if promotes {
            let metrics = &self.inner.metrics;
            let counter =
                if result.is_ok() { &metrics.learner_promote_succeeded } else { &metrics.learner_promote_failed };
            counter.inc();
        }
        match result {
            Ok(()) => Ok(()),
            Err(MemberRefusal::NotLeader { leader }) => Err(OpsError::NotLeader { leader }),
            Err(refusal) => Err(OpsError::Member(refusal)),
        }
    }

    /// Tells the cluster this member's name, zone and client URLs, until it has heard.
    pub async fn publish(&self, me: Member) {
        loop {
            // What is not agreed on yet may be taken back, and must then be said again.
            let agreed = self.agreed_members().unwrap_or_default();
            let known = agreed.get(self.me()).map(|view| view.member.clone());
            if let Some(known) = known {
                if (known.name == me.name) && (known.client_urls == me.client_urls) && (known.zone == me.zone) {
                    return;
                }
                let change = MemberChange::Publish(self.me(), me.clone());
                let published = self.change_members(change, Deadline::after_ms(5_000)).await;
                if matches!(published, Err(OpsError::Member(MemberRefusal::RanBefore))) {
                    return self.inner.halt.now(
                        "the cluster knows this member from a disk that was lost: it may have voted twice; remove it \
                         from the cluster and add it again",
                    );
                }
                if let Err(error) = published {
                    tracing::debug!(%error, "the cluster does not know this member's name, zone and client URLs yet");
                }
            }
            // All founders publish at once, and members change one at a time.
            rt::sleep(PUBLISH_PAUSE + Duration::from_millis(rt::random_u64() % 100)).await;
        }
    }
}

/// Follows the standing: says who leads, and says loudly, at start and at every change, when one zone holds a quorum.
pub async fn run_announcements(ops: Ops) {
    let mut standing = ops.replica().watch_standing();
    let mut said = Vec::new();
    let mut leader = None;
    loop {
        ops.peers().set_addresses(ops.members().addresses());
        let now_leads = ops.replica().leader();
        if now_leads != leader {
            announce_leader(&ops, now_leads);
            leader = now_leads;
        }
        let now = super::topology::zone_warnings(&ops.members());
        if now != said {
            for warning in &now {
                tracing::warn!("{warning}");
            }
            said = now;
        }
        if ops.replica().changed(&mut standing).await.is_err() {
            return;
        }
    }
}

/// As the leader: finishes what changes of members left to do, as long as the node.
pub async fn run_settling(ops: Ops) {
    let mut standing = ops.replica().watch_standing();
    loop {
        let unsettled = ops.replica().settle_members().await;
        if let Some(unsettled) = unsettled {
            tracing::debug!(?unsettled, "a change of members is not finished");
            rt::sleep(SETTLE_PAUSE).await;
        } else if ops.replica().changed(&mut standing).await.is_err() {
            return;
        }
    }
}

fn announce_leader(ops: &Ops, leader: Option<MemberId>) {
    let term = ops.replica().term();
    match leader {
        Some(leader) => {
            ops.inner.metrics.leader_changes.inc();
            tracing::info!(%leader, term, "a leader is known");
        }
        None => tracing::warn!(term, "no leader is known: writes and linearizable reads wait"),
    }
}

/// How a member says of itself who it is, before it has anything to say it with.
pub fn change_of_publishing(id: MemberId, member: &Member) -> Change {
    Change::Publish(member_to_wire(id.0, member))
}

fn change_to_wire(change: &MemberChange) -> Change {
    match change {
        MemberChange::AddVoter(id, member) => Change::AddVoter(member_to_wire(id.0, member)),
        MemberChange::AddLearner(id, member) => Change::AddLearner(member_to_wire(id.0, member)),
        MemberChange::Promote(id) => Change::Promote(id.0),
        MemberChange::Remove(id) => Change::Remove(id.0),
        MemberChange::UpdatePeerUrls(id, peer_urls) => {
            Change::UpdatePeerUrls(member_to_wire(id.0, &Member { peer_urls: peer_urls.clone(), ..Member::default() }))
        }
        MemberChange::Publish(id, member) => Change::Publish(member_to_wire(id.0, member)),
    }
}

/// What another member asks this one to change.
pub fn change_from_wire(change: Change) -> MemberChange {
    let id_of = |info: &peer::MemberInfo| MemberId(info.id);
    match change {
        Change::AddVoter(info) => MemberChange::AddVoter(id_of(&info), member_from_wire(info)),
        Change::AddLearner(info) => MemberChange::AddLearner(id_of(&info), member_from_wire(info)),
        Change::Promote(id) => MemberChange::Promote(MemberId(id)),
        Change::Remove(id) => MemberChange::Remove(MemberId(id)),
        Change::UpdatePeerUrls(info) => MemberChange::UpdatePeerUrls(id_of(&info), info.peer_urls),
        Change::Publish(info) => MemberChange::Publish(id_of(&info), member_from_wire(info)),
    }
}

/// The name under which a refusal travels between members.
pub fn refusal_name(refusal: &MemberRefusal) -> &'static str {
    match refusal {
        MemberRefusal::NotLeader { .. } => "not-leader",
        MemberRefusal::NotFound => "not-found",
        MemberRefusal::IdExists => "id-exists",
        MemberRefusal::PeerUrlExists => "peer-url-exists",
        MemberRefusal::NotLearner => "not-learner",
        MemberRefusal::LearnerNotReady => "learner-not-ready",
        MemberRefusal::TooManyLearners => "too-many-learners",
        MemberRefusal::TooFewStarted => "too-few-started",
        MemberRefusal::UnhealthyCluster => "unhealthy-cluster",
        MemberRefusal::InProgress => "in-progress",
        MemberRefusal::RanBefore => RAN_BEFORE,
        MemberRefusal::Unknown => "unknown",
        MemberRefusal::Stopped(_) => "stopped",
    }
}

fn refusal_from_name(name: &str) -> Option<MemberRefusal> {
    let refusal = match name {
        "" => return None,
        "not-leader" => MemberRefusal::NotLeader { leader: None },
        "not-found" => MemberRefusal::NotFound,
        "id-exists" => MemberRefusal::IdExists,
        "peer-url-exists" => MemberRefusal::PeerUrlExists,
        "not-learner" => MemberRefusal::NotLearner,
        "learner-not-ready" => MemberRefusal::LearnerNotReady,
        "too-many-learners" => MemberRefusal::TooManyLearners,
        "too-few-started" => MemberRefusal::TooFewStarted,
        "unhealthy-cluster" => MemberRefusal::UnhealthyCluster,
        "in-progress" => MemberRefusal::InProgress,
        RAN_BEFORE => MemberRefusal::RanBefore,
        "stopped" => MemberRefusal::Stopped("the leader is stopping".to_owned()),
        // A newer member's refusal that this one does not know yet.
        _ => MemberRefusal::Unknown,
    };
    Some(refusal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_survives_the_way_between_members() {
        let all = [
            MemberRefusal::NotLeader { leader: None },
            MemberRefusal::NotFound,
            MemberRefusal::IdExists,
            MemberRefusal::PeerUrlExists,
            MemberRefusal::NotLearner,
            MemberRefusal::LearnerNotReady,
            MemberRefusal::TooManyLearners,
            MemberRefusal::TooFewStarted,
            MemberRefusal::UnhealthyCluster,
            MemberRefusal::InProgress,
            MemberRefusal::RanBefore,
            MemberRefusal::Unknown,
        ];
        for refusal in all {
            assert_eq!(refusal_from_name(refusal_name(&refusal)), Some(refusal));
        }
        assert_eq!(refusal_from_name(""), None);
    }
}
