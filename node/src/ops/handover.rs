//! Handing leadership over: because an operator asked, or because this member stops.
//!
//! Whoever is handed leadership must be able to take it at once: it has the log, all of it readable, up to the last
//! entries. A member that cannot would leave the cluster without a leader for a whole election.

use std::time::Duration;

use futures::future::join_all;

use super::{Deadline, Ops, OpsError};
use crate::raft::MemberRefusal;
use crate::rt;
use crate::types::MemberId;

/// How long members have to say how they are, before leadership is handed to one of them. This one goes on leading
/// meanwhile: it costs no write.
const ASK_MS: u64 = 1000;
/// The same while this member's disk hangs, and nothing is written.
const ASK_IN_NEED_MS: u64 = 300;
/// Entries that a successor may still lack. It must get them within an election timeout.
const LAG_ENTRIES_MAX: u64 = 1000;
/// States in which a member leads.
const LEADING_STATES: [&str; 2] = ["ok", "read-only(space)"];

/// A voter that answered when it was asked how it is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Candidate {
    id: MemberId,
    state: String,
    last_index: u64,
    /// The longest that its log waited for its disk lately.
    disk_wait: Duration,
}

impl Candidate {
    fn can_lead(&self, last_index: u64) -> bool {
        LEADING_STATES.contains(&self.state.as_str()) && self.last_index + LAG_ENTRIES_MAX >= last_index
    }
}

/// Of those that can lead, the one that lacks least.
fn successor(candidates: &[Candidate], last_index: u64) -> Option<MemberId> {
    let able = candidates.iter().filter(|candidate| candidate.can_lead(last_index));
    able.max_by_key(|candidate| candidate.last_index).map(|candidate| candidate.id)
}

impl Ops {
    /// Hands leadership over, and waits until the new leader is known here.
    pub async fn move_leader(&self, to: MemberId, deadline: Deadline) -> Result<(), OpsError> {
        if !self.replica().leads() {
            return Err(OpsError::NotLeader { leader: self.replica().leader() });
        }
        if to == self.me() {
            return Ok(());
        }
        let candidates = self.candidates(&[to], ASK_MS).await;
        let last_index = self.standing().last_log_index;
        if successor(&candidates, last_index) != Some(to) {
            tracing::warn!(%to, ?candidates, last_index, "leadership is not handed to a member that cannot take it");
            return Err(OpsError::Member(MemberRefusal::NotFound));
        }
        self.transfer(to, deadline).await
    }

    async fn transfer(&self, to: MemberId, deadline: Deadline) -> Result<(), OpsError> {
        let mut standing = self.replica().watch_standing();
        tracing::info!(%to, "leadership is handed over");
        self.replica().transfer_to(to).await?;
        let moved = async {
            while self.replica().leader() != Some(to) {
                self.replica().changed(&mut standing).await?;
            }
            Ok::<(), OpsError>(())
        };
        match rt::timeout(deadline.left(), Box::pin(moved)).await {
            Ok(result) => result,
            Err(_elapsed) => Err(OpsError::Unknown),
        }
    }

    /// Before this member stops: gives leadership to the voter that is closest behind and can lead.
    pub async fn hand_over(&self, deadline: Deadline) -> Result<(), OpsError> {
        if !self.replica().leads() {
            return Ok(());
        }
        let started = self.replica().started();
        let voters: Vec<MemberId> = self.members().voters().map(|voter| voter.id).collect();
        let others: Vec<MemberId> = voters.into_iter().filter(|id| *id != self.me() && started.contains(id)).collect();
        if others.is_empty() {
            return Ok(());
        }
        let candidates = self.candidates(&others, ASK_MS).await;
        match successor(&candidates, self.standing().last_log_index) {
            Some(successor) => self.transfer(successor, deadline).await,
            None => {
                tracing::warn!(?candidates, "no member can take leadership over");
                Ok(())
            }
        }
    }

    /// While this member's disk hangs: gives leadership to a voter whose disk is well. None if there is none.
    pub async fn hand_over_from_slow_disk(&self) -> Result<Option<MemberId>, OpsError> {
        let others: Vec<MemberId> =
            self.members().voters().map(|voter| voter.id).filter(|id| *id != self.me()).collect();
        // Well below the patience of a leader, or leadership would come back soon.
        let wait_max = self.disk_patience() / 2;
        let asked = self.candidates(&others, ASK_IN_NEED_MS).await;
        let candidates: Vec<Candidate> = asked.iter().filter(|one| one.disk_wait < wait_max).cloned().collect();
        let last_index = self.standing().last_log_index;
        let successor = successor(&candidates, last_index);
        if let Some(successor) = successor {
            // Not waited for: this member's own Raft may hear of its successor only when the disk answers again.
            self.replica().transfer_to(successor).await?;
        } else {
            tracing::warn!(?asked, last_index, "no member's disk is better: this member goes on leading");
        }
        Ok(successor)
    }

    /// Asks voters how they are. Those that do not answer are left out.
    async fn candidates(&self, ids: &[MemberId], ask_ms: u64) -> Vec<Candidate> {
        let members = self.members();
        let voters = ids.iter().filter(|id| members.voters().any(|voter| voter.id == **id));
        let progress = self.replica().replication();
        let progress = &progress;
        let asks = voters.map(|id| async move {
            let said = self.ask(*id, Deadline::after_ms(ask_ms)).await?;
            // What it acknowledged to us may be newer than what it says, and the other way round.
            let last_index = progress.get(id).copied().unwrap_or(0).max(said.last_index);
            Some(Candidate {
                id: *id,
                state: said.state,
                last_index,
                disk_wait: Duration::from_millis(said.disk_wait_ms),
            })
        });
        join_all(asks).await.into_iter().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(id: u64, state: &str, last_index: u64) -> Candidate {
        Candidate { id: MemberId(id), state: state.to_owned(), last_index, disk_wait: Duration::ZERO }
    }

    #[test]
    fn the_successor_is_well_and_close_behind() {
        let rotten = candidate(1, "repairing(log)", 5000);
        let close = candidate(2, "ok", 4990);
        let closer = candidate(3, "read-only(space)", 4995);
        let lagging = candidate(4, "ok", 3999);
        let all = [rotten.clone(), close.clone(), closer, lagging.clone()];
        assert_eq!(successor(&all, 5000), Some(MemberId(3)));
        assert_eq!(successor(&[rotten.clone(), close, lagging.clone()], 5000), Some(MemberId(2)));
        assert_eq!(successor(&[rotten, lagging], 5000), None);
    }
}
