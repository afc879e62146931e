//! Making commands: the one way by which a request becomes something the log may carry.
//!
//! Here the value checksums are computed, at the member the request came to, before its bytes go anywhere. From here
//! on they travel with the values, and are compared in apply and at every read.

use std::time::Duration;

use holdfast_proto::etcdserverpb::request_op::Request as Op;
use holdfast_proto::etcdserverpb::{
    AlarmRequest, CompactionRequest, DeleteRangeRequest, LeaseGrantRequest, LeaseRevokeRequest, PutRequest, RequestOp,
    TxnRequest,
};
use holdfast_proto::log::auth_change::Change;
use holdfast_proto::log::command::Request;
use holdfast_proto::log::{AuthChange, Command, Guard, LeaseExpire};

use crate::auth::Caller;
use crate::types::{LeaseId, value_checksum};

pub fn put(request: PutRequest) -> Command {
    of(Request::Put(request))
}

pub fn delete_range(request: DeleteRangeRequest) -> Command {
    of(Request::DeleteRange(request))
}

pub fn txn(request: TxnRequest) -> Command {
    of(Request::Txn(request))
}

pub fn compact(request: CompactionRequest) -> Command {
    of(Request::Compact(request))
}

/// The least TTL depends on a member's election timeout, so it is applied here and not in apply, where members could
/// differ. The caller has chosen the ID if the client did not.
pub fn lease_grant(mut request: LeaseGrantRequest, ttl_min: Duration) -> Command {
    let ttl_s_min = i64::try_from(ttl_min.as_millis().div_ceil(1000)).unwrap_or(i64::MAX);
    request.ttl = request.ttl.max(ttl_s_min);
    of(Request::LeaseGrant(request))
}

pub fn lease_revoke(request: LeaseRevokeRequest) -> Command {
    of(Request::LeaseRevoke(request))
}

pub fn alarm(request: AlarmRequest) -> Command {
    of(Request::Alarm(request))
}

/// An alarm that a member raises for itself, or ends because its reason is gone. Ending leaves alone what an operator
/// raised.
pub fn alarm_of_member(request: AlarmRequest) -> Command {
    Command { raised_by_member: true, ..by_member(alarm(request)) }
}

/// `leader_term` is the term in which the proposer saw the leases run out.
pub fn lease_expire(ids: &[LeaseId], leader_term: u64) -> Command {
    by_member(of(Request::LeaseExpire(LeaseExpire { lease_ids: ids.iter().map(|id| id.0).collect(), leader_term })))
}

/// A change of users and roles. Passwords have been hashed.
pub fn auth_change(change: Change) -> Command {
    of(Request::AuthChange(AuthChange { change: Some(change) }))
}

/// The same command, given by a member for itself and not for a client.
pub fn by_member(command: Command) -> Command {
    Command { caller: Caller::Member.to_wire(), ..command }
}

/// The same command, carried out only while `guard` holds, if there is one.
pub fn guarded(command: Command, guard: Option<Guard>) -> Command {
    Command { guard, ..command }
}

fn of(request: Request) -> Command {
    let mut value_checksums = Vec::new();
    for_each_put(&request, &mut |put| value_checksums.push(checksum_of(put)));
    Command { request: Some(request), value_checksums, ..Command::default() }
}

pub(super) fn checksum_of(put: &PutRequest) -> u32 {
    value_checksum(&put.key, &put.value)
}

/// Shows each put of a command, in the order in which their checksums stand.
pub(super) fn for_each_put(request: &Request, show: &mut dyn FnMut(&PutRequest)) {
    match request {
        Request::Put(put) => show(put),
        Request::Txn(txn) => for_each_put_of_txn(txn, show),
        Request::DeleteRange(_)
        | Request::Compact(_)
        | Request::LeaseGrant(_)
        | Request::LeaseRevoke(_)
        | Request::LeaseExpire(_)
        | Request::AuthChange(_)
        | Request::Alarm(_) => {}
    }
}

fn for_each_put_of_txn(txn: &TxnRequest, show: &mut dyn FnMut(&PutRequest)) {
    for_each_put_of_ops(&txn.success, show);
    for_each_put_of_ops(&txn.failure, show);
}

fn for_each_put_of_ops(ops: &[RequestOp], show: &mut dyn FnMut(&PutRequest)) {
    for op in ops {
        match &op.request {
            Some(Op::RequestPut(put)) => show(put),
            Some(Op::RequestTxn(txn)) => for_each_put_of_txn(txn, show),
            Some(Op::RequestRange(_) | Op::RequestDeleteRange(_)) | None => {}
        }
    }
}

/// Puts in a transaction, in all branches.
pub(super) fn puts_of(txn: &TxnRequest) -> usize {
    puts_of_ops(&txn.success) + puts_of_ops(&txn.failure)
}

pub(super) fn puts_of_ops(ops: &[RequestOp]) -> usize {
    let mut puts = 0;
    for_each_put_of_ops(ops, &mut |_| puts += 1);
    puts
}
