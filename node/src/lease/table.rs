//! The leader's clockwork: when each lease runs out.
//!
//! Every member keeps the table of leases up to date from what apply reports; only a promoted table has deadlines.
//! Time is a `Duration` on some monotonic clock of the caller's, the same one in every call.
//!
//! ```text
//!               grant, promote                expired()             absorb(Revoked)
//!   (unknown) ----------------> due at ... ----------------> in flight ----------------> (unknown)
//!                                 ^   |                        |
//!                                 |___| renew                  |  |         ^
//!                                 |____________________________|  |_________|
//!                                       restore_in_flight         retry_in_flight, expired
//! ```
//!
//! A lease in flight cannot be renewed: the entry that ends it may be committed already, and its owner must not be
//! told that it lives on. It comes back ([`LeaseTable::restore_in_flight`]) only if it is certain that the entry will
//! never be applied; while that is not known, it is proposed once more ([`LeaseTable::retry_in_flight`]).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::rows::leases;
use crate::env::{planted, sometimes};
use crate::storage::{EngineError, View};
use crate::types::LeaseId;

/// What apply did to the leases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseChange {
    Granted {
        id: LeaseId,
        ttl_s: i64,
    },
    /// Revoked or expired.
    Revoked {
        id: LeaseId,
    },
}

/// All leases, and on the leader their deadlines.
#[derive(Debug, Default)]
pub struct LeaseTable {
    leases: BTreeMap<LeaseId, Lease>,
    /// Leases by deadline: exactly those whose `state` is [`LeaseState::Due`] or [`LeaseState::Overdue`].
    due: BTreeSet<(Duration, LeaseId)>,
    is_promoted: bool,
}

#[derive(Clone, Copy, Debug)]
struct Lease {
    /// As granted.
    ttl: Duration,
    state: LeaseState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LeaseState {
    /// This member does not lead: some other one knows.
    Unknown,
    /// Runs out at this time.
    Due(Duration),
    /// Ran out at this time, and was handed out to be revoked.
    InFlight(Duration),
    /// In flight, and to be handed out once more.
    Overdue(Duration),
}

impl LeaseTable {
    /// The leases of a state, on a member that does not lead.
    pub fn load(view: &dyn View) -> Result<Self, EngineError> {
        let mut table = Self::default();
        for (id, ttl_s) in leases(view)? {
            table.leases.insert(id, Lease { ttl: seconds(ttl_s), state: LeaseState::Unknown });
        }
        Ok(table)
    }

    /// Follows what was applied. Must see every change, in order, on leader and followers alike.
    pub fn absorb(&mut self, changes: &[LeaseChange], now: Duration) {
        for change in changes {
            match *change {
                LeaseChange::Granted { id, ttl_s } => {
                    self.forget(id);
                    self.leases.insert(id, Lease { ttl: seconds(ttl_s), state: LeaseState::Unknown });
                    if self.is_promoted {
                        self.set_deadline(id, Duration::ZERO, now);
                    }
                }
                LeaseChange::Revoked { id } => self.forget(id),
            }
        }
    }

    /// This member leads now. Every lease gets its full TTL again, and `extend` on top for the time in which nobody
    /// led and renewals found no one.
    ///
    /// Call it once the first entry of the new term is applied, not earlier: an expiry that the old leader proposed
    /// may still stand in front of it in the log, and must not meet a lease that was renewed here.
    pub fn promote(&mut self, now: Duration, extend: Duration) {
        self.is_promoted = true;
        let (now, extend) = if planted!(LeaseNotExtended) { Default::default() } else { (now, extend) };
        if !self.leases.is_empty() {
            sometimes!(LeaseExtended);
        }
        let ids: Vec<_> = self.leases.keys().copied().collect();
        for id in ids {
            self.set_deadline(id, extend, now);
        }
    }

    /// This member does not lead any more: nothing expires here, nothing is renewed here.
    pub fn demote(&mut self) {
        self.is_promoted = false;
        self.due.clear();
        for lease in self.leases.values_mut() {
            lease.state = LeaseState::Unknown;
        }
    }

    pub fn is_promoted(&self) -> bool {
        self.is_promoted
    }

    /// Gives the lease its full TTL from now, and says how long that is. `None` if there is no such lease, if its
    /// expiry is in flight, or if this table is not promoted.
    pub fn renew(&mut self, id: LeaseId, now: Duration) -> Option<Duration> {
        match self.leases.get(&id)?.state {
            LeaseState::Due(_) => Some(self.set_deadline(id, Duration::ZERO, now)),
            LeaseState::InFlight(_) | LeaseState::Overdue(_) if planted!(ExpiredLeaseRevived) => {
                Some(self.set_deadline(id, Duration::ZERO, now))
            }
            LeaseState::InFlight(_) | LeaseState::Overdue(_) => {
                sometimes!(RenewalTooLate);
                None
            }
            LeaseState::Unknown => None,
        }
    }

    /// Whether its time is over and the entry that ends it is on its way: until that is known, nobody can be told
    /// whether the lease lives on.
    pub fn is_ending(&self, id: LeaseId) -> bool {
        let state = self.leases.get(&id).map(|lease| lease.state);
        matches!(state, Some(LeaseState::InFlight(_) | LeaseState::Overdue(_)))
    }

    /// Hands out up to `max` leases whose time has come, the longest overdue first. Each is in flight from here on,
    /// until it is revoked or comes back by [`LeaseTable::restore_in_flight`].
    pub fn expired(&mut self, now: Duration, max: usize) -> Vec<LeaseId> {
        let mut handed_out = Vec::new();
        while handed_out.len() < max {
            let Some(&(deadline, id)) = self.due.first().filter(|(deadline, _)| *deadline <= now) else { break };
            self.due.pop_first();
            let lease = self.leases.get_mut(&id).expect("what is due exists");
            lease.state = LeaseState::InFlight(deadline);
            handed_out.push(id);
        }
        handed_out
    }

    /// The proposal that was to revoke these failed for good, and will never be applied: they are due again at once,
    /// and can be renewed. Those that are gone, or not in flight any more, are left alone.
    pub fn restore_in_flight(&mut self, ids: &[LeaseId]) {
        self.hand_back(ids, LeaseState::Due);
    }

    /// What became of the proposal is not known: it may yet be applied. They are handed out again, but cannot be
    /// renewed. To revoke a lease twice is harmless.
    pub fn retry_in_flight(&mut self, ids: &[LeaseId]) {
        self.hand_back(ids, LeaseState::Overdue);
    }

    fn hand_back(&mut self, ids: &[LeaseId], state: fn(Duration) -> LeaseState) {
        for &id in ids {
            let Some(lease) = self.leases.get_mut(&id) else { continue };
            if let LeaseState::InFlight(deadline) = lease.state {
                lease.state = state(deadline);
                self.due.insert((deadline, id));
            }
        }
    }

    /// Time left, zero when overdue. `None` if there is no such lease or this table is not promoted.
    pub fn remaining(&self, id: LeaseId, now: Duration) -> Option<Duration> {
        match self.leases.get(&id)?.state {
            LeaseState::Unknown => None,
            LeaseState::Due(deadline) | LeaseState::InFlight(deadline) | LeaseState::Overdue(deadline) => {
                Some(deadline.saturating_sub(now))
            }
        }
    }

    /// The TTL as granted, on any member. `None` if there is no such lease.
    pub fn lookup(&self, id: LeaseId) -> Option<Duration> {
        self.leases.get(&id).map(|lease| lease.ttl)
    }

    /// Every lease, in the order of ids.
    pub fn ids(&self) -> impl Iterator<Item = LeaseId> {
        self.leases.keys().copied()
    }

    /// When the next lease runs out: nobody need ask before.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.due.first().map(|(deadline, _)| *deadline)
    }

    fn set_deadline(&mut self, id: LeaseId, extend: Duration, now: Duration) -> Duration {
        let lease = self.leases.get_mut(&id).expect("the caller found it");
        let deadline = now + lease.ttl + extend;
        let old = std::mem::replace(&mut lease.state, LeaseState::Due(deadline));
        let ttl = lease.ttl;
        self.unqueue(id, old);
        self.due.insert((deadline, id));
        ttl
    }

    fn forget(&mut self, id: LeaseId) {
        if let Some(lease) = self.leases.remove(&id) {
            self.unqueue(id, lease.state);
        }
    }

    fn unqueue(&mut self, id: LeaseId, state: LeaseState) {
        if let LeaseState::Due(deadline) | LeaseState::Overdue(deadline) = state {
            self.due.remove(&(deadline, id));
        }
    }
}

/// A TTL in the state is never negative: it was raised to the minimum where it entered.
fn seconds(ttl_s: i64) -> Duration {
    Duration::from_secs(u64::try_from(ttl_s).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: LeaseId = LeaseId(1);
    const B: LeaseId = LeaseId(2);

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// A leader that granted A for 10 s and B for 20 s, at 0.
    fn leader() -> LeaseTable {
        let mut table = LeaseTable::default();
        table.promote(at(0), at(0));
        let grants = [LeaseChange::Granted { id: A, ttl_s: 10 }, LeaseChange::Granted { id: B, ttl_s: 20 }];
        table.absorb(&grants, at(0));
        table
    }

    #[test]
    fn a_lease_expires_when_its_ttl_is_over_and_not_before() {
        let mut table = leader();
        assert_eq!(table.next_deadline(), Some(at(10)));
        assert_eq!(table.remaining(A, at(4)), Some(at(6)));
        assert_eq!(table.expired(at(9), 9), []);
        assert_eq!(table.expired(at(10), 9), [A]);
        assert_eq!(table.expired(at(10), 9), [], "handed out once");
        assert_eq!(table.remaining(A, at(12)), Some(at(0)));
        table.absorb(&[LeaseChange::Revoked { id: A }], at(11));
        assert_eq!((table.remaining(A, at(12)), table.lookup(A)), (None, None));
        assert_eq!(table.ids().collect::<Vec<_>>(), [B]);
    }

    #[test]
    fn a_renewal_starts_the_ttl_anew() {
        let mut table = leader();
        assert_eq!(table.renew(A, at(9)), Some(at(10)));
        assert_eq!(table.expired(at(18), 9), []);
        assert_eq!(table.renew(LeaseId(3), at(9)), None, "no such lease");
        assert_eq!(table.expired(at(30), 9), [A, B], "the longest overdue first");
    }

    #[test]
    fn a_lease_in_flight_is_not_renewed_until_its_proposal_failed() {
        let mut table = leader();
        assert_eq!(table.expired(at(10), 9), [A]);
        assert_eq!(table.renew(A, at(10)), None);
        assert!(table.is_ending(A) && !table.is_ending(B) && !table.is_ending(LeaseId(3)));
        table.restore_in_flight(&[A, B, LeaseId(3)]);
        assert_eq!(table.next_deadline(), Some(at(10)), "due again at once; B was not in flight");
        assert!(!table.is_ending(A));
        assert_eq!(table.renew(A, at(11)), Some(at(10)));
        assert_eq!(table.expired(at(20), 9), [B]);
        assert_eq!(table.expired(at(21), 9), [A]);
    }

    #[test]
    fn a_proposal_of_unknown_fate_is_made_again_and_its_lease_stays_lost() {
        let mut table = leader();
        assert_eq!(table.expired(at(10), 9), [A]);
        table.retry_in_flight(&[A, B]);
        assert_eq!(table.renew(A, at(10)), None, "the first proposal may yet be applied");
        assert_eq!(table.expired(at(10), 9), [A]);
        table.retry_in_flight(&[A]);
        assert!(table.is_ending(A));
        table.absorb(&[LeaseChange::Revoked { id: A }], at(11));
        assert_eq!(table.expired(at(20), 9), [B], "the first one was applied after all");
    }

    #[test]
    fn what_is_handed_out_at_a_time_is_bounded() {
        let mut table = leader();
        assert_eq!(table.expired(at(60), 1), [A]);
        assert_eq!(table.expired(at(60), 1), [B]);
        assert_eq!(table.expired(at(60), 1), []);
    }

    #[test]
    fn only_a_leader_expires_or_renews_and_a_new_one_gives_the_full_ttl_again() {
        let mut table = leader();
        assert_eq!(table.expired(at(10), 9), [A]);
        table.demote();
        assert_eq!(table.expired(at(99), 9), []);
        assert_eq!((table.renew(B, at(11)), table.remaining(B, at(11)), table.next_deadline()), (None, None, None));
        assert_eq!(table.lookup(B), Some(at(20)), "what was granted is known everywhere");

        table.promote(at(100), at(1));
        assert_eq!(table.remaining(A, at(100)), Some(at(11)), "the expiry in flight died with the old term");
        assert_eq!(table.expired(at(110), 9), []);
        assert_eq!(table.expired(at(111), 9), [A]);
        table.absorb(&[LeaseChange::Granted { id: A, ttl_s: 5 }], at(112));
        assert_eq!(table.remaining(A, at(112)), Some(at(5)), "granted again before its old end was reported");
    }
}
