//! Leases. None runs out while the test runs: when one does is the clock's to say, and the kill tests look at that.

use holdfast_proto::etcdserverpb as pb;

use super::Generator;
use crate::differential::normal::CHOSEN_LEASE;
use crate::differential::request::Request;

/// Long enough to outlive a run.
const TTL_S: [i64; 4] = [100_000, 200_000, 1_000_000, 9_000_000_000];
const TOO_LONG_S: [i64; 2] = [9_000_000_001, i64::MAX];
/// Raised by the server to what it can keep.
const TOO_SHORT_S: [i64; 4] = [1, 0, -1, i64::MIN];
const LEASES_MAX: usize = 8;

impl Generator {
    pub(super) fn known_lease(&mut self) -> i64 {
        if self.leases.is_empty() { 0 } else { self.leases[self.chance.below(self.leases.len())] }
    }

    fn any_lease(&mut self) -> i64 {
        match self.chance.weighted(&[80, 20]) {
            0 => self.known_lease(),
            _ => self.chance.pick(&[0, 1, -1, 999_999, i64::MAX, i64::MIN]),
        }
    }

    pub(super) fn lease_request(&mut self) -> Request {
        let revoked = if self.leases.len() > LEASES_MAX { 60 } else { 12 };
        match self.chance.weighted(&[30, revoked, 20, 8, 20]) {
            0 => self.grant(),
            1 => Request::LeaseRevoke(pb::LeaseRevokeRequest { id: self.any_lease() }),
            2 => Request::LeaseTimeToLive(pb::LeaseTimeToLiveRequest {
                id: self.any_lease(),
                keys: self.chance.percent(70),
            }),
            3 => Request::LeaseLeases(pb::LeaseLeasesRequest {}),
            _ => {
                let renewals = self.chance.below(4);
                Request::LeaseKeepAlive(
                    (0..renewals).map(|_| pb::LeaseKeepAliveRequest { id: self.any_lease() }).collect(),
                )
            }
        }
    }

    fn grant(&mut self) -> Request {
        let own_choice = self.chance.between(1, 20) * 1_000;
        match self.chance.weighted(&[70, 8, 8, 8, 6]) {
            0 => grant(self.chance.pick(&TTL_S), own_choice),
            1 => grant(self.chance.pick(&TOO_LONG_S), own_choice),
            2 => grant(self.chance.pick(&TTL_S), self.chance.pick(&[-7, i64::MAX, i64::MIN])),
            // Whoever else uses it would not find it on both sides: it is gone at once.
            3 => {
                self.revoke_next(CHOSEN_LEASE);
                grant(self.chance.pick(&TTL_S), 0)
            }
            _ => {
                self.revoke_next(77);
                grant(self.chance.pick(&TOO_SHORT_S), 77)
            }
        }
    }

    fn revoke_next(&mut self, id: i64) {
        self.ask_next(Request::LeaseRevoke(pb::LeaseRevokeRequest { id }));
    }
}

fn grant(ttl: i64, id: i64) -> Request {
    Request::LeaseGrant(pb::LeaseGrantRequest { ttl, id })
}
