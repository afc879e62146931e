//! Random commands over a few keys, so that they meet.

use bytes::Bytes;
use holdfast_proto::etcdserverpb::compare::TargetUnion;
use holdfast_proto::etcdserverpb::request_op::Request as Op;
use holdfast_proto::etcdserverpb::{
    AlarmRequest, CompactionRequest, Compare, DeleteRangeRequest, LeaseGrantRequest, LeaseRevokeRequest, PutRequest,
    RangeRequest, RequestOp, TxnRequest,
};
use holdfast_proto::log::Command;
use std::time::Duration;

use crate::state::command;
use crate::types::LeaseId;

/// A stream of numbers that a seed fixes (SplitMix64, after Steele, Lea and Flood, 2014).
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % end
    }

    /// True once in `times`.
    pub fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    fn key(&mut self) -> Bytes {
        let keys: [&[u8]; 8] = [b"a", b"a\0", b"a\0\xff", b"aa", b"b", b"\0", b"\0\x01", b"c"];
        Bytes::from_static(keys[self.below(keys.len() as u64) as usize])
    }

    fn range(&mut self) -> (Bytes, Bytes) {
        let end = match self.below(4) {
            0 => Bytes::new(),
            1 => Bytes::from_static(b"\0"),
            _ => self.key(),
        };
        (self.key(), end)
    }

    fn lease(&mut self) -> i64 {
        if self.one_in(2) { 0 } else { self.below(4) as i64 }
    }

    /// Around what there is, and now and then beyond.
    fn revision(&mut self, newest: i64) -> i64 {
        if self.one_in(3) { 0 } else { self.below(newest as u64 + 3) as i64 - 1 }
    }

    fn put(&mut self) -> PutRequest {
        let (ignore_value, ignore_lease) = (self.one_in(6), self.one_in(6));
        let value = if ignore_value { Bytes::new() } else { Bytes::from(format!("v{}", self.below(4))) };
        let lease = if ignore_lease { 0 } else { self.lease() };
        PutRequest { key: self.key(), value, lease, prev_kv: self.one_in(2), ignore_value, ignore_lease }
    }

    fn delete(&mut self) -> DeleteRangeRequest {
        let (key, range_end) = self.range();
        DeleteRangeRequest { key, range_end, prev_kv: self.one_in(2) }
    }

    pub fn get(&mut self, newest: i64) -> RangeRequest {
        let (key, range_end) = self.range();
        let mut filter = |times| if self.one_in(times) { self.below(newest as u64 + 2) as i64 } else { 0 };
        let (min_mod_revision, max_mod_revision) = (filter(5), filter(5));
        let (min_create_revision, max_create_revision) = (filter(5), filter(5));
        RangeRequest {
            key,
            range_end,
            limit: self.below(5) as i64 - 1,
            revision: self.revision(newest),
            sort_order: self.below(3) as i32,
            sort_target: self.below(5) as i32,
            serializable: false,
            keys_only: self.one_in(4),
            count_only: self.one_in(8),
            min_mod_revision,
            max_mod_revision,
            min_create_revision,
            max_create_revision,
        }
    }

    fn compare(&mut self, newest: i64) -> Compare {
        let (key, range_end) = self.range();
        let number = self.below(newest as u64 + 2) as i64;
        let (target, union) = match self.below(6) {
            0 => (0, TargetUnion::Version(number % 4)),
            1 => (1, TargetUnion::CreateRevision(number)),
            2 => (2, TargetUnion::ModRevision(number)),
            3 => (3, TargetUnion::Value(Bytes::from(format!("v{}", number % 4)))),
            4 => (4, TargetUnion::Lease(number % 4)),
            _ => (self.below(5) as i32, TargetUnion::Version(number)),
        };
        Compare { result: self.below(4) as i32, target, key, range_end, target_union: Some(union) }
    }

    /// Not held to the duplicate rule: apply carries out whatever the log brings.
    pub fn txn(&mut self, newest: i64, depth: u64) -> TxnRequest {
        let compare = (0..self.below(3)).map(|_| self.compare(newest)).collect();
        let success = self.ops(newest, depth);
        let failure = self.ops(newest, depth);
        TxnRequest { compare, success, failure }
    }

    fn ops(&mut self, newest: i64, depth: u64) -> Vec<RequestOp> {
        let ops = self.below(4);
        let op = |dice: &mut Self| match dice.below(if depth == 0 { 8 } else { 10 }) {
            0..4 => Op::RequestPut(dice.put()),
            4..6 => Op::RequestDeleteRange(dice.delete()),
            6..8 => Op::RequestRange(dice.get(newest)),
            _ => Op::RequestTxn(dice.txn(newest, depth - 1)),
        };
        (0..ops).map(|_| RequestOp { request: Some(op(self)) }).collect()
    }

    pub fn command(&mut self, newest: i64, term: u64) -> Command {
        match self.below(40) {
            0..14 => command::put(self.put()),
            14..18 => command::delete_range(self.delete()),
            18..28 => command::txn(self.txn(newest, 2)),
            28..31 => {
                let revision = if self.one_in(4) { self.below(newest as u64 + 2) as i64 - 1 } else { newest - 3 };
                command::compact(CompactionRequest { revision, physical: false })
            }
            31..35 => {
                let grant = LeaseGrantRequest { id: self.below(4) as i64, ttl: self.below(9) as i64 };
                command::lease_grant(grant, Duration::from_secs(3))
            }
            35 => command::lease_revoke(LeaseRevokeRequest { id: self.below(4) as i64 }),
            36..38 => {
                let ids = [LeaseId(self.below(4) as i64), LeaseId(self.below(4) as i64)];
                command::lease_expire(&ids, term - self.below(2))
            }
            38 => {
                let mut bad = command::put(self.put());
                bad.value_checksums = if self.one_in(2) { vec![7] } else { vec![] };
                bad
            }
            _ => {
                // Mostly taken back, or little else would happen.
                let action = [0, 1, 1, 2, 2, 2, 2, 2][self.below(8) as usize];
                let (member_id, alarm) = (self.below(2), self.below(4) as i32);
                let request = AlarmRequest { action, member_id, alarm };
                if self.one_in(3) { command::alarm_of_member(request) } else { command::alarm(request) }
            }
        }
    }
}
