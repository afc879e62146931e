//! Values and revisions as they stand in messages.

use bytes::Bytes;
use holdfast_proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use holdfast_proto::etcdserverpb::{Compare, RequestOp, ResponseHeader, request_op};
use holdfast_proto::mvccpb::KeyValue;

pub fn bytes_of(value: u64) -> Bytes {
    Bytes::from(value.to_string())
}

/// The number that a client wrote, or what stands there instead.
pub fn value_of(kv: &KeyValue) -> Result<u64, String> {
    let value = std::str::from_utf8(&kv.value).ok().and_then(|text| text.parse().ok());
    value.ok_or_else(|| format!("nobody wrote {:?} to {:?}", kv.value, kv.key))
}

pub fn key_of(kv: &KeyValue) -> String {
    String::from_utf8_lossy(&kv.key).into_owned()
}

pub fn revision(header: Option<&ResponseHeader>) -> i64 {
    header.map_or(0, |header| header.revision)
}

pub fn equal(key: Bytes, target: CompareTarget, union: TargetUnion) -> Compare {
    Compare {
        result: CompareResult::Equal.into(),
        target: target.into(),
        key,
        target_union: Some(union),
        ..Compare::default()
    }
}

pub fn operation(request: request_op::Request) -> RequestOp {
    RequestOp { request: Some(request) }
}
