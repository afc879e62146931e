//! Guarded writes: what a holder that was paused too long writes is refused.

use bytes::Bytes;
use holdfast_client::proto::etcdserverpb::request_op::Request::RequestPut;
use holdfast_client::proto::etcdserverpb::{DeleteRangeRequest, PutRequest, RequestOp, TxnRequest};
use holdfast_client::proto::v1::guard::Held;
use holdfast_client::proto::v1::{Guard, GuardedDeleteRangeRequest, GuardedPutRequest, GuardedTxnRequest};
use holdfast_jepsen::world::process::{Cluster, Shape};
use tonic::metadata::MetadataValue;
use tonic::{Code, Request, Status};

use crate::stubs::{LONG_TTL_S, Stubs, created, lease};

fn put(value: &str) -> PutRequest {
    PutRequest { key: "x".into(), value: value.to_owned().into(), ..PutRequest::default() }
}

fn assert_fenced(status: &Status, newer: i64) {
    assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
    let text = status.message();
    assert!(text.starts_with("holdfast: the guard does not hold"), "{text}");
    assert!(text.contains(&format!("since the newer revision {newer}")), "{text}");
}

/// A lock that was lost, as its old holder knows it, and as its new one does.
struct Moved {
    old: (Bytes, i64),
    new: (Bytes, i64),
}

async fn lock_moves_on(cluster: &Cluster, stubs: &Stubs) -> Moved {
    let client = cluster.client();
    let (first, second) = (lease(&client, LONG_TTL_S).await, lease(&client, LONG_TTL_S).await);
    let old = stubs.acquire("jobs", first).await.expect("locked").into_inner().key;
    let old_token = created(&client, &old).await;
    client.lease_revoke(first).await.expect("the lease ends");
    let new = stubs.acquire("jobs", second).await.expect("the lock is free").into_inner().key;
    let new_token = created(&client, &new).await;
    Moved { old: (old, old_token), new: (new, new_token) }
}

pub async fn refused_when_stale() {
    let cluster = Cluster::start(&Shape::holdfast(3)).await;
    let client = cluster.client();
    for index in 0..3 {
        let stubs = Stubs::of(&cluster, index).await;
        let Moved { old, new } = lock_moves_on(&cluster, &stubs).await;
        let newer = new.1;
        let by_key = |(key, token): (Bytes, i64)| Some(Guard { held: Some(Held::Key(key)), token });
        let by_name = |(_, token): (Bytes, i64)| Some(Guard { held: Some(Held::Name("jobs".into())), token });
        for (stale, fresh) in [(by_key(old.clone()), by_key(new.clone())), (by_name(old), by_name(new.clone()))] {
            let mut kv = stubs.guarded_kv();
            let request = GuardedPutRequest { guard: stale.clone(), put: Some(put("late")) };
            assert_fenced(&kv.put(request).await.expect_err("stale"), newer);
            let request = GuardedPutRequest { guard: fresh.clone(), put: Some(put("good")) };
            kv.put(request).await.expect("the holder writes");

            let delete = DeleteRangeRequest { key: "x".into(), ..DeleteRangeRequest::default() };
            let request = GuardedDeleteRangeRequest { guard: stale.clone(), delete_range: Some(delete.clone()) };
            assert_fenced(&kv.delete_range(request).await.expect_err("stale"), newer);
            // A transaction that writes nothing is judged too.
            let request = GuardedTxnRequest { guard: stale, txn: Some(TxnRequest::default()) };
            assert_fenced(&kv.txn(request).await.expect_err("stale"), newer);
            assert_eq!(client.get("x").await.expect("read").kvs[0].value, "good");
            let request = GuardedDeleteRangeRequest { guard: fresh, delete_range: Some(delete) };
            assert_eq!(kv.delete_range(request).await.expect("the holder writes").into_inner().deleted, 1);
        }
        client.delete(new.0.to_vec()).await.expect("unlocked");
    }
    let unguarded = GuardedPutRequest { guard: None, put: Some(put("x")) };
    let refused = Stubs::of(&cluster, 0).await.guarded_kv().put(unguarded).await.expect_err("no guard");
    assert_eq!(refused.code(), Code::InvalidArgument);
}

fn with_guard<T>(message: T, (key, token): &(Bytes, i64)) -> Request<T> {
    let mut request = Request::new(message);
    let key = std::str::from_utf8(key).expect("text");
    request.metadata_mut().insert("holdfast-guard-key", key.parse().expect("plain text"));
    request.metadata_mut().insert("holdfast-guard-token", MetadataValue::from(*token));
    request
}

pub async fn by_metadata() {
    let cluster = Cluster::start(&Shape::holdfast(1)).await;
    let (client, stubs) = (cluster.client(), Stubs::of(&cluster, 0).await);
    let Moved { old, new } = lock_moves_on(&cluster, &stubs).await;
    let mut kv = stubs.kv();
    assert_fenced(&kv.put(with_guard(put("late"), &old)).await.expect_err("stale"), new.1);
    kv.put(with_guard(put("good"), &new)).await.expect("the holder writes");
    let delete = || DeleteRangeRequest { key: "x".into(), ..DeleteRangeRequest::default() };
    assert_fenced(&kv.delete_range(with_guard(delete(), &old)).await.expect_err("stale"), new.1);
    let late = RequestOp { request: Some(RequestPut(put("late"))) };
    let txn = TxnRequest { success: vec![late], ..TxnRequest::default() };
    assert_fenced(&kv.txn(with_guard(txn, &old)).await.expect_err("stale"), new.1);
    assert_eq!(client.get("x").await.expect("read").kvs[0].value, "good");

    let mut half = Request::new(put("half"));
    half.metadata_mut().insert("holdfast-guard-token", MetadataValue::from(new.1));
    assert_eq!(kv.put(half).await.expect_err("half a guard").code(), Code::InvalidArgument);
    assert_eq!(client.get("x").await.expect("read").kvs[0].value, "good");
}
