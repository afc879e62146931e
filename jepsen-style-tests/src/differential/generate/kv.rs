//! Keys, ranges, writes and transactions.

use bytes::Bytes;
use holdfast_proto::etcdserverpb as pb;
use holdfast_proto::etcdserverpb::compare::TargetUnion;
use holdfast_proto::etcdserverpb::request_op::Request as Op;

use super::Generator;

const KEYS: [&[u8]; 14] =
    [b"a", b"b", b"c", b"d", b"e", b"aa", b"ab", b"a/1", b"a/2", b"b\0", b"b\0\0", b"\0", b"\xff", b"\xff\xff"];
const ENDS: [&[u8]; 9] = [b"\0", b"\0\0", b"b", b"c", b"f", b"a0", b"\xff", b"\xff\xff", b"A"];
const VALUES: [&[u8]; 8] = [b"", b"0", b"1", b"2", b"10", b"one", b"\0", b"\xff\xfe"];
/// Above what a request may have (1.5 MiB), and above what a message may have (half a MiB more).
const TOO_LARGE_BYTES: [usize; 3] = [1_400_000, 1_600_000, 2_200_000];
const OPS_MAX: usize = 128;

impl Generator {
    fn key(&mut self) -> Bytes {
        match self.chance.weighted(&[960, 15, 5]) {
            0 => Bytes::from_static(self.chance.pick(&KEYS)),
            1 => Bytes::new(),
            _ => Bytes::from(vec![b'k'; 300]),
        }
    }

    pub(super) fn range_end(&mut self, key: &Bytes) -> Bytes {
        let end = match self.chance.weighted(&[40, 20, 15, 5, 20]) {
            0 => Bytes::new(),
            1 => prefix_end(key),
            2 => Bytes::from_static(b"\0"),
            3 => key.clone(),
            _ => Bytes::from_static(self.chance.pick(&ENDS)),
        };
        let holds_none = end.as_ref() != b"\0" && end <= *key;
        if self.keys_lie_in_ranges && holds_none { Bytes::new() } else { end }
    }

    pub(super) fn keys(&mut self) -> (Bytes, Bytes) {
        let key = self.key();
        let range_end = self.range_end(&key);
        (key, range_end)
    }

    fn value(&mut self) -> Bytes {
        if self.chance.one_in(4000) {
            return Bytes::from(vec![b'v'; self.chance.pick(&TOO_LARGE_BYTES)]);
        }
        if self.chance.one_in(50) {
            return Bytes::from(vec![b'v'; 5000]);
        }
        Bytes::from_static(self.chance.pick(&VALUES))
    }

    pub(super) fn range(&mut self) -> pb::RangeRequest {
        let (key, range_end) = self.keys();
        let mut bound = |percent| if self.chance.percent(percent) { self.some_revision() } else { 0 };
        let (min_mod_revision, max_mod_revision) = (bound(8), bound(8));
        let (min_create_revision, max_create_revision) = (bound(8), bound(8));
        let revision = bound(30);
        pb::RangeRequest {
            key,
            range_end,
            limit: if self.chance.percent(40) { self.chance.pick(&[1, 1, 2, 3, 5, -1, i64::MAX, i64::MIN]) } else { 0 },
            revision,
            sort_order: self.chance.pick(&[0, 0, 0, 1, 2]),
            // One that does not exist ends etcd 3.5.1.
            sort_target: self.chance.pick(&[0, 0, 0, 1, 2, 3, 4]),
            serializable: self.chance.percent(30),
            keys_only: self.chance.percent(12),
            count_only: self.chance.percent(12),
            min_mod_revision,
            max_mod_revision,
            min_create_revision,
            max_create_revision,
        }
    }

    /// Alone, it may also be in an order that does not exist.
    pub(super) fn lone_range(&mut self) -> pb::RangeRequest {
        let mut range = self.range();
        if self.chance.one_in(200) {
            range.sort_order = self.chance.pick(&[-1, 3, 77]);
        }
        range
    }

    /// Mostly the first of an enum, often another, seldom one that does not exist.
    pub(super) fn enumerated(&mut self, last: i32) -> i32 {
        match self.chance.weighted(&[60, 38, 2]) {
            0 => 0,
            1 => i32::try_from(self.chance.between(0, i64::from(last))).unwrap_or(0),
            _ => self.chance.pick(&[-1, last + 1, 77]),
        }
    }

    pub(super) fn put(&mut self) -> pb::PutRequest {
        let ignore_value = self.chance.percent(6);
        let ignore_lease = self.chance.percent(6);
        pb::PutRequest {
            key: self.key(),
            value: if ignore_value && self.chance.percent(80) { Bytes::new() } else { self.value() },
            lease: if ignore_lease && self.chance.percent(80) { 0 } else { self.lease_for_put() },
            prev_kv: self.chance.percent(30),
            ignore_value,
            ignore_lease,
        }
    }

    fn lease_for_put(&mut self) -> i64 {
        match self.chance.weighted(&[80, 18, 2]) {
            0 => 0,
            1 => self.known_lease(),
            _ => self.chance.pick(&[999_999, -1, i64::MAX]),
        }
    }

    pub(super) fn delete_range(&mut self) -> pb::DeleteRangeRequest {
        let (key, range_end) = self.keys();
        // Not all keys, or there would seldom be any.
        let everything = range_end.as_ref() == b"\0" && !self.chance.percent(20);
        let range_end = if everything { Bytes::new() } else { range_end };
        pb::DeleteRangeRequest { key, range_end, prev_kv: self.chance.percent(40) }
    }

    pub(super) fn compaction(&mut self) -> pb::CompactionRequest {
        let revision = match self.chance.weighted(&[60, 40]) {
            0 => self.chance.between(self.compacted, self.revision.max(self.compacted)),
            _ => self.some_revision(),
        };
        pb::CompactionRequest { revision, physical: self.chance.percent(50) }
    }

    pub(super) fn txn(&mut self) -> pb::TxnRequest {
        let reads_only = self.chance.percent(20);
        // etcd's alarm for space does not look into nested transactions, and the stores would part.
        let depth = if self.alarmed && !reads_only { 0 } else { self.chance.weighted(&[65, 25, 8, 2]) };
        self.txn_with(depth, reads_only)
    }

    pub(super) fn txn_without_nesting(&mut self) -> pb::TxnRequest {
        let reads_only = self.chance.percent(20);
        self.txn_with(0, reads_only)
    }

    fn txn_with(&mut self, depth: usize, reads_only: bool) -> pb::TxnRequest {
        let mut txn = self.txn_of(depth, reads_only);
        if self.chance.one_in(200) {
            let many = OPS_MAX - 1 + self.chance.below(4);
            let put = |at: usize| pb::PutRequest { key: format!("many{at}").into(), ..pb::PutRequest::default() };
            txn.success = (0..many).map(|at| op(Op::RequestPut(put(at)))).collect();
        }
        txn
    }

    fn txn_of(&mut self, depth: usize, reads_only: bool) -> pb::TxnRequest {
        let compares = self.chance.weighted(&[35, 35, 20, 10]);
        let success = self.chance.weighted(&[10, 35, 30, 15, 10]);
        let failure = self.chance.weighted(&[25, 35, 25, 15]);
        pb::TxnRequest {
            compare: (0..compares).map(|_| self.compare()).collect(),
            success: (0..success).map(|_| self.op(depth, reads_only)).collect(),
            failure: (0..failure).map(|_| self.op(depth, reads_only)).collect(),
        }
    }

    fn op(&mut self, depth: usize, reads_only: bool) -> pb::RequestOp {
        if self.chance.one_in(150) {
            return pb::RequestOp { request: None };
        }
        let nested = if depth > 0 { 40 } else { 0 };
        let writes = if reads_only { 0 } else { 1 };
        match self.chance.weighted(&[30, 40 * writes, 15 * writes, nested]) {
            0 => op(Op::RequestRange(self.range())),
            1 => op(Op::RequestPut(self.put())),
            2 => op(Op::RequestDeleteRange(self.delete_range())),
            _ => op(Op::RequestTxn(self.txn_of(depth - 1, reads_only))),
        }
    }

    fn compare(&mut self) -> pb::Compare {
        let key = self.key();
        let range_end = if self.chance.percent(25) { self.range_end(&key) } else { Bytes::new() };
        let target = self.chance.weighted(&[20, 20, 20, 25, 14, 1]);
        // What it is compared with is mostly, but not always, of the target's kind.
        let kind = if self.chance.percent(95) { target } else { self.chance.below(6) };
        let target_union = match kind {
            0 => Some(TargetUnion::Version(self.chance.between(0, 4))),
            1 => Some(TargetUnion::CreateRevision(self.compared_revision())),
            2 => Some(TargetUnion::ModRevision(self.compared_revision())),
            3 => Some(TargetUnion::Value(self.value())),
            4 => Some(TargetUnion::Lease(self.lease_for_put())),
            _ => None,
        };
        let result = self.enumerated(3);
        let target = i32::try_from(if target < 5 { target } else { 42 }).unwrap_or(0);
        pb::Compare { result, target, key, range_end, target_union }
    }

    fn compared_revision(&mut self) -> i64 {
        if self.chance.percent(40) { 0 } else { self.some_revision() }
    }
}

fn op(request: Op) -> pb::RequestOp {
    pb::RequestOp { request: Some(request) }
}

/// The first key after all that begin with `prefix`.
pub(super) fn prefix_end(prefix: &Bytes) -> Bytes {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end.into();
        }
    }
    Bytes::from_static(b"\0")
}
