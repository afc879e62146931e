//! No corner of a request is forgotten: random nested transactions against a model that walks them another way.

use holdfast_proto::etcdserverpb::{Compare, LeaseRevokeRequest};
use prost::Message;

use super::*;

fn key(name: &str) -> Bytes {
    Bytes::copy_from_slice(name.as_bytes())
}

fn keys(name: &str, end: &str) -> KeyRange {
    KeyRange::from_wire(key(name), key(end))
}

#[test]
fn a_put_needs_what_it_shows_and_what_its_lease_holds() {
    let put = PutRequest { key: key("a"), lease: 7, prev_kv: true, ..PutRequest::default() };
    let needs = needs_of(Asked::Put(&put));
    assert_eq!(
        needs,
        [Need::Write(keys("a", "")), Need::WriteKeysOf(LeaseId(7)), Need::Read(keys("a", ""))],
        "CVE-2026-33413: a previous value is read, and a lease deletes its keys"
    );
}

#[test]
fn a_revoke_needs_the_keys_it_deletes() {
    let needs = needs_of_command(&Request::LeaseRevoke(LeaseRevokeRequest { id: 7 }), None);
    assert_eq!(needs, [Need::User, Need::WriteKeysOf(LeaseId(7))]);
}

/// A guard that does not hold is refused with the name of who holds it.
#[test]
fn a_guard_needs_to_read_its_queue() {
    let put = Request::Put(PutRequest { key: key("a"), ..PutRequest::default() });
    let with = |held| needs_of_command(&put, Some(&Guard { held: Some(held), token: 5 }));
    let own = Need::Write(keys("a", ""));
    let queue = Need::Read(keys("jobs/", "jobs0"));
    assert_eq!(with(Held::Name(key("jobs"))), [own.clone(), queue.clone()]);
    assert_eq!(with(Held::Key(key("jobs/7a"))), [own.clone(), queue]);
    assert_eq!(with(Held::Key(key("leader"))), [own, Need::Read(keys("leader", ""))]);
}

/// A generator that a seed decides (xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }

    fn range(&mut self) -> (Bytes, Bytes) {
        let name = |n: u64| key(&format!("k{n}"));
        let start = self.below(50);
        let end = match self.below(3) {
            0 => Bytes::new(),
            1 => Bytes::from_static(b"\0"),
            _ => name(start + 1 + self.below(9)),
        };
        (name(start), end)
    }

    fn op(&mut self, depth: u64) -> RequestOp {
        let (key, range_end) = self.range();
        let request = match self.below(if depth == 0 { 3 } else { 5 }) {
            0 => Op::RequestRange(RangeRequest { key, range_end, ..RangeRequest::default() }),
            1 => {
                let (lease, prev_kv) = (self.below(3) as i64, self.below(2) == 0);
                Op::RequestPut(PutRequest { key, lease, prev_kv, ..PutRequest::default() })
            }
            2 => Op::RequestDeleteRange(DeleteRangeRequest { key, range_end, prev_kv: self.below(2) == 0 }),
            _ => Op::RequestTxn(self.txn(depth - 1)),
        };
        RequestOp { request: Some(request) }
    }

    fn txn(&mut self, depth: u64) -> TxnRequest {
        let mut txn = TxnRequest::default();
        for _ in 0..self.below(3) {
            let (key, range_end) = self.range();
            txn.compare.push(Compare { key, range_end, ..Compare::default() });
        }
        for _ in 0..self.below(4) {
            txn.success.push(self.op(depth));
        }
        for _ in 0..self.below(4) {
            txn.failure.push(self.op(depth));
        }
        txn
    }
}

/// The naive way: a list of work, no recursion, each message's own debug text for what it carries.
fn model(txn: &TxnRequest) -> Vec<String> {
    let mut found = Vec::new();
    let mut waiting = vec![txn.clone()];
    while let Some(txn) = waiting.pop() {
        for compare in txn.compare {
            found.push(format!("{:?}", Need::Read(KeyRange::from_wire(compare.key, compare.range_end))));
        }
        for op in [txn.success, txn.failure].concat() {
            match op.request.unwrap() {
                Op::RequestRange(r) => found.push(format!("{:?}", Need::Read(KeyRange::from_wire(r.key, r.range_end)))),
                Op::RequestPut(p) => {
                    let own = KeyRange::from_wire(p.key, Bytes::new());
                    found.push(format!("{:?}", Need::Write(own.clone())));
                    found.extend((p.lease > 0).then(|| format!("{:?}", Need::WriteKeysOf(LeaseId(p.lease)))));
                    found.extend(p.prev_kv.then(|| format!("{:?}", Need::Read(own))));
                }
                Op::RequestDeleteRange(d) => {
                    let own = KeyRange::from_wire(d.key, d.range_end);
                    found.push(format!("{:?}", Need::Write(own.clone())));
                    found.extend(d.prev_kv.then(|| format!("{:?}", Need::Read(own))));
                }
                Op::RequestTxn(nested) => waiting.push(nested),
            }
        }
    }
    found.sort();
    found
}

/// CVE-2026-33343: operations of nested transactions are as much the caller's as those of the outermost.
#[test]
fn every_operation_of_nested_transactions_is_seen() {
    for seed in 1..=2000_u64 {
        let txn = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15)).txn(4);
        let mut seen: Vec<String> = needs_of(Asked::Txn(&txn))
            .iter()
            .filter(|need| **need != Need::User)
            .map(|need| format!("{need:?}"))
            .collect();
        seen.sort();
        assert_eq!(seen, model(&txn), "seed {seed}, {} bytes", txn.encoded_len());
    }
}

#[test]
fn a_transaction_of_nothing_needs_a_user() {
    assert_eq!(needs_of(Asked::Txn(&TxnRequest::default())), [Need::User]);
}
