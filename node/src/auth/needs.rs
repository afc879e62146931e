//! Taking a request apart: every key it reads or writes, in whatever corner of it.
//!
//! This is the one place that knows where a request can touch keys. Both branches of a transaction count, at every
//! depth, whichever will be taken; a comparison reads; a previous value that is handed out is read; a lease that is
//! attached will one day delete all its keys, so whoever attaches one must be allowed to write them all.

use bytes::Bytes;
use holdfast_proto::etcdserverpb::request_op::Request as Op;
use holdfast_proto::etcdserverpb::{DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest};
use holdfast_proto::log::Guard;
use holdfast_proto::log::command::Request;
use holdfast_proto::log::guard::Held;

use crate::types::{KeyRange, LeaseId, queue};

/// What a caller must be allowed to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Need {
    Read(KeyRange),
    Write(KeyRange),
    /// To write each of the keys that the lease holds.
    WriteKeysOf(LeaseId),
    /// To read each of the keys that the lease holds.
    ReadKeysOf(LeaseId),
    /// To be a user at all.
    User,
    /// To have the role root.
    Root,
}

/// A request for keys.
#[derive(Clone, Copy, Debug)]
pub enum Asked<'r> {
    Range(&'r RangeRequest),
    Put(&'r PutRequest),
    DeleteRange(&'r DeleteRangeRequest),
    Txn(&'r TxnRequest),
    /// The keys of a watch, as the hub reads them.
    Watch(&'r KeyRange),
}

/// All that a request needs, in the order in which it says it.
pub fn needs_of(asked: Asked<'_>) -> Vec<Need> {
    let mut needs = Vec::new();
    match asked {
        Asked::Range(range) => add_range(range, &mut needs),
        Asked::Put(put) => add_put(put, &mut needs),
        Asked::DeleteRange(delete) => add_delete(delete, &mut needs),
        Asked::Txn(txn) => add_txn(txn, &mut needs),
        Asked::Watch(keys) => needs.push(Need::Read(keys.clone())),
    }
    needs
}

/// The same for a command of the log, with the guard that it may have: a refusal tells who holds the lock.
pub fn needs_of_command(request: &Request, guard: Option<&Guard>) -> Vec<Need> {
    let mut needs = needs_of_request(request);
    match guard.and_then(|guard| guard.held.as_ref()) {
        Some(Held::Name(name)) => needs.push(Need::Read(queue::range(&queue::of_name(name)))),
        Some(Held::Key(key)) => needs.push(Need::Read(match queue::of_key(key) {
            Some(queue) => queue::range(queue),
            None => KeyRange::from_wire(key.clone(), Bytes::new()),
        })),
        None => {}
    }
    needs
}

fn needs_of_request(request: &Request) -> Vec<Need> {
    match request {
        Request::Put(put) => needs_of(Asked::Put(put)),
        Request::DeleteRange(delete) => needs_of(Asked::DeleteRange(delete)),
        Request::Txn(txn) => needs_of(Asked::Txn(txn)),
        Request::LeaseGrant(_) => vec![Need::User],
        Request::LeaseRevoke(revoke) => vec![Need::User, Need::WriteKeysOf(LeaseId(revoke.id))],
        // History is everybody's, alarms stop everybody, and users are root's.
        Request::Compact(_) | Request::Alarm(_) | Request::AuthChange(_) | Request::LeaseExpire(_) => vec![Need::Root],
    }
}

fn add_range(range: &RangeRequest, needs: &mut Vec<Need>) {
    needs.push(Need::Read(KeyRange::from_wire(range.key.clone(), range.range_end.clone())));
}

fn add_put(put: &PutRequest, needs: &mut Vec<Need>) {
    let key = KeyRange::from_wire(put.key.clone(), Bytes::new());
    needs.push(Need::Write(key.clone()));
    if put.lease != 0 {
        needs.push(Need::WriteKeysOf(LeaseId(put.lease)));
    }
    if put.prev_kv {
        needs.push(Need::Read(key));
    }
}

fn add_delete(delete: &DeleteRangeRequest, needs: &mut Vec<Need>) {
    let keys = KeyRange::from_wire(delete.key.clone(), delete.range_end.clone());
    needs.push(Need::Write(keys.clone()));
    if delete.prev_kv {
        needs.push(Need::Read(keys));
    }
}

fn add_txn(txn: &TxnRequest, needs: &mut Vec<Need>) {
    for compare in &txn.compare {
        needs.push(Need::Read(KeyRange::from_wire(compare.key.clone(), compare.range_end.clone())));
    }
    txn.success.iter().chain(&txn.failure).for_each(|op| add_op(op, needs));
    // A transaction that touches nothing still tells the revision.
    if needs.is_empty() {
        needs.push(Need::User);
    }
}

fn add_op(op: &RequestOp, needs: &mut Vec<Need>) {
    match &op.request {
        Some(Op::RequestRange(range)) => add_range(range, needs),
        Some(Op::RequestPut(put)) => add_put(put, needs),
        Some(Op::RequestDeleteRange(delete)) => add_delete(delete, needs),
        Some(Op::RequestTxn(txn)) => add_txn(txn, needs),
        None => {}
    }
}

#[cfg(test)]
#[path = "needs_tests.rs"]
mod tests;
