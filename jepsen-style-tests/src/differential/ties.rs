//! Keys that a sorting finds equal: etcd sorts with an unstable algorithm, which changed between versions of Go, so the
//! order among more than a few of them is left open. Here two answers are told apart only by what is not left open.

use holdfast_proto::etcdserverpb as pb;
use holdfast_proto::etcdserverpb::range_request::SortTarget;
use holdfast_proto::etcdserverpb::request_op::Request as Op;
use holdfast_proto::etcdserverpb::response_op::Response as OpResponse;
use holdfast_proto::mvccpb::KeyValue;

use super::request::{Reply, Request};

/// Whether the answers to `request` are the same but for the order of ties.
pub fn same_but_for_ties(request: &Request, one: &Reply, other: &Reply) -> bool {
    match (request, one, other) {
        (Request::Range(request), Reply::Range(one), Reply::Range(other)) => ranges(request, one, other),
        (Request::Txn(request), Reply::Txn(one), Reply::Txn(other)) => txns(request, one, other),
        _ => one == other,
    }
}

fn txns(request: &pb::TxnRequest, one: &pb::TxnResponse, other: &pb::TxnResponse) -> bool {
    let ops = if one.succeeded { &request.success } else { &request.failure };
    let heads = one.header == other.header && one.succeeded == other.succeeded;
    let lengths = one.responses.len() == other.responses.len() && ops.len() == one.responses.len();
    let mut parts = ops.iter().zip(one.responses.iter().zip(&other.responses));
    heads
        && lengths
        && parts.all(|(op, (one, other))| match (&op.request, &one.response, &other.response) {
            (
                Some(Op::RequestRange(request)),
                Some(OpResponse::ResponseRange(one)),
                Some(OpResponse::ResponseRange(other)),
            ) => ranges(request, one, other),
            (
                Some(Op::RequestTxn(request)),
                Some(OpResponse::ResponseTxn(one)),
                Some(OpResponse::ResponseTxn(other)),
            ) => txns(request, one, other),
            (_, one, other) => one == other,
        })
}

fn ranges(request: &pb::RangeRequest, one: &pb::RangeResponse, other: &pb::RangeResponse) -> bool {
    if one == other {
        return true;
    }
    let heads = (&one.header, one.more, one.count) == (&other.header, other.more, other.count);
    let same_length = one.kvs.len() == other.kvs.len();
    let target = request.sort_target();
    // Without values nobody can see what was equal.
    let hides_target = target == SortTarget::Value && request.keys_only;
    let in_order = hides_target || one.kvs.iter().zip(&other.kvs).all(|(one, other)| are_tied(target, one, other));
    // Where the limit cuts through a tie, different keys are left.
    let same_keys = one.more || sorted(&one.kvs) == sorted(&other.kvs);
    target != SortTarget::Key && heads && same_length && in_order && same_keys
}

fn are_tied(target: SortTarget, one: &KeyValue, other: &KeyValue) -> bool {
    match target {
        SortTarget::Key => one.key == other.key,
        SortTarget::Version => one.version == other.version,
        SortTarget::Create => one.create_revision == other.create_revision,
        SortTarget::Mod => one.mod_revision == other.mod_revision,
        SortTarget::Value => one.value == other.value,
    }
}

fn sorted(kvs: &[KeyValue]) -> Vec<&KeyValue> {
    let mut kvs: Vec<&KeyValue> = kvs.iter().collect();
    kvs.sort_by(|one, other| one.key.cmp(&other.key));
    kvs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kv(key: &'static str, version: i64) -> KeyValue {
        KeyValue { key: key.into(), version, ..KeyValue::default() }
    }

    #[test]
    fn only_ties_may_change_places() {
        let by_version = pb::RangeRequest { sort_target: SortTarget::Version as i32, ..pb::RangeRequest::default() };
        let answer = |kvs: &[KeyValue]| pb::RangeResponse { kvs: kvs.to_vec(), ..pb::RangeResponse::default() };
        let (a, b, c) = (kv("a", 1), kv("b", 1), kv("c", 2));
        let one = answer(&[a.clone(), b.clone(), c.clone()]);
        assert!(ranges(&by_version, &one, &answer(&[b.clone(), a.clone(), c.clone()])));
        assert!(!ranges(&by_version, &one, &answer(&[a.clone(), c.clone(), b.clone()])));
        assert!(!ranges(&by_version, &one, &answer(&[a.clone(), a.clone(), c.clone()])));
        assert!(!ranges(&pb::RangeRequest::default(), &one, &answer(&[b, a, c])));
    }
}
