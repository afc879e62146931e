//! The duplicate rule, as implemented with merged ranges, against the rule as it is told.

use std::collections::BTreeSet;

use bytes::Bytes;
use holdfast_proto::etcdserverpb::request_op::Request as Op;
use holdfast_proto::etcdserverpb::{RequestOp, TxnRequest};

use super::random::Dice;
use crate::state::validate::{self, InvalidRequest};

#[test]
fn random_transactions_are_refused_exactly_for_duplicates() {
    let mut refused = 0;
    const TXNS: u64 = 20_000;
    for seed in 0..TXNS {
        let txn = Dice(seed).txn(5, 2);
        let expected = told(&txn.success).and(told(&txn.failure)).is_none();
        let found = validate::txn(&txn, 128);
        assert_eq!(found == Err(InvalidRequest::DuplicateKey), expected, "seed {seed}: {txn:?}");
        refused += u64::from(expected);
    }
    assert!((TXNS / 10..TXNS * 9 / 10).contains(&refused), "{refused} refused of {TXNS}");
}

type Deleted = Vec<(Bytes, Bytes)>;

/// Keys put and ranges deleted, `None` for a duplicate.
fn told(ops: &[RequestOp]) -> Option<(BTreeSet<Bytes>, Deleted)> {
    let mut puts = BTreeSet::new();
    let mut deleted = Deleted::new();
    let is_deleted = |deleted: &Deleted, key: &Bytes| {
        // A lone zero byte as an end is read literally.
        deleted.iter().any(|(from, to)| if to.is_empty() { key == from } else { key >= from && key < to })
    };
    for op in ops {
        if let Some(Op::RequestDeleteRange(delete)) = &op.request {
            deleted.push((delete.key.clone(), delete.range_end.clone()));
        }
    }
    for op in ops {
        let Some(Op::RequestTxn(TxnRequest { success, failure, .. })) = &op.request else { continue };
        let ((then_puts, then_deleted), (else_puts, else_deleted)) = (told(success)?, told(failure)?);
        let both: BTreeSet<Bytes> = then_puts.union(&else_puts).cloned().collect();
        if both.iter().any(|key| puts.contains(key) || is_deleted(&deleted, key)) {
            return None;
        }
        puts.extend(both);
        deleted.extend(then_deleted.into_iter().chain(else_deleted));
    }
    for op in ops {
        let Some(Op::RequestPut(put)) = &op.request else { continue };
        if is_deleted(&deleted, &put.key) || !puts.insert(put.key.clone()) {
            return None;
        }
    }
    Some((puts, deleted))
}
