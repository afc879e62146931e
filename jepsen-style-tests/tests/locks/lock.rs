//! The Lock service.

use std::time::{Duration, Instant};

use holdfast_client::proto::v3lockpb::LockRequest;
use holdfast_jepsen::world::process::{Cluster, PATIENCE, Shape};
use tonic::{Code, Request};

use crate::stubs::{
    A_WHILE, LONG_TTL_S, SHORT_TTL_S, Stubs, code_through_recipe, created, is_holdfast, lease, queue_of,
};

pub async fn passes_on() {
    let cluster = Cluster::start(&Shape::from_env(3)).await;
    let client = cluster.client();
    let (one, other) = (Stubs::of(&cluster, 0).await, Stubs::of(&cluster, 1).await);
    let (first, second) = (lease(&client, LONG_TTL_S).await, lease(&client, LONG_TTL_S).await);

    let held = one.acquire("jobs", first).await.expect("a free lock is given at once");
    let token = held.metadata().get("holdfast-fencing-token").map(|token| token.to_str().expect("digits").to_owned());
    let held = held.into_inner();
    assert_eq!(held.key, format!("jobs/{first:x}"));
    let header = held.header.expect("answers have headers");
    let revision = created(&client, &held.key).await;
    assert_eq!(header.revision, revision);
    if is_holdfast(&cluster) {
        assert_eq!(token, Some(revision.to_string()), "the token is the create revision of the key");
    }
    let again = one.acquire("jobs", first).await.expect("the holder has it already").into_inner();
    assert_eq!(again.key, held.key);

    let waiter = other.clone();
    let mut waiting = tokio::spawn(async move { waiter.acquire("jobs", second).await });
    queue_of(&client, "jobs", 2).await;
    assert!(tokio::time::timeout(A_WHILE, &mut waiting).await.is_err(), "a lock has two holders");
    other.release(&held.key).await.expect("any client may unlock");
    let next = waiting.await.expect("no panic").expect("the lock passes on");
    let later = next.metadata().get("holdfast-fencing-token").map(|token| token.to_str().expect("digits").to_owned());
    let next = next.into_inner();
    assert_eq!(next.key, format!("jobs/{second:x}"));
    let newer = created(&client, &next.key).await;
    assert!(newer > revision, "tokens grow");
    assert!(next.header.expect("answers have headers").revision > newer, "the answer is of when it was the first");
    if is_holdfast(&cluster) {
        assert_eq!(later, Some(newer.to_string()));
    }
    other.release(&next.key).await.expect("unlocked");
    other.release(&next.key).await.expect("unlocking twice is unlocking once");
    queue_of(&client, "jobs", 0).await;
}

pub async fn refusals() {
    let cluster = Cluster::start(&Shape::from_env(1)).await;
    let (client, stubs) = (cluster.client(), Stubs::of(&cluster, 0).await);
    let unknown = stubs.acquire("jobs", 77).await.expect_err("there is no such lease");
    let code = code_through_recipe(&cluster, Code::NotFound);
    assert_eq!((unknown.code(), unknown.message()), (code, "etcdserver: requested lease not found"));
    let nameless = stubs.release(b"").await.expect_err("there is no such key");
    let code = code_through_recipe(&cluster, Code::InvalidArgument);
    assert_eq!((nameless.code(), nameless.message()), (code, "etcdserver: key is not provided"));

    // Without a lease there is one of a minute, which nobody renews.
    let held = stubs.acquire("jobs", 0).await.expect("locked").into_inner();
    let key = std::str::from_utf8(&held.key).expect("text").to_owned();
    let made = i64::from_str_radix(key.strip_prefix("jobs/").expect("in its queue"), 16).expect("a lease");
    let ttl = client.lease_time_to_live(made, holdfast_client::AttachedKeys::List).await.expect("the lease exists");
    assert_eq!((ttl.granted_ttl, ttl.keys.len()), (60, 1));
}

pub async fn giving_up() {
    let cluster = Cluster::start(&Shape::from_env(1)).await;
    let (client, stubs) = (cluster.client(), Stubs::of(&cluster, 0).await);
    let mut leases = Vec::new();
    for _ in 0..4 {
        leases.push(lease(&client, LONG_TTL_S).await);
    }
    let held = stubs.acquire("jobs", leases[0]).await.expect("locked").into_inner();

    // The client goes away, the lease stays.
    let (gone, id) = (Stubs::of(&cluster, 0).await, leases[1]);
    let waiting = tokio::spawn(async move { gone.acquire("jobs", id).await });
    queue_of(&client, "jobs", 2).await;
    waiting.abort();
    queue_of(&client, "jobs", 1).await;

    // The client's own deadline.
    let mut request = Request::new(LockRequest { name: "jobs".into(), lease: leases[2] });
    request.set_timeout(A_WHILE);
    let late = stubs.lock().lock(request).await.expect_err("the lock is held");
    assert!(matches!(late.code(), Code::DeadlineExceeded | Code::Cancelled), "{late:?}");
    queue_of(&client, "jobs", 1).await;

    // Neither holds up who comes after.
    let (next, id) = (stubs.clone(), leases[3]);
    let waiting = tokio::spawn(async move { next.acquire("jobs", id).await });
    queue_of(&client, "jobs", 2).await;
    stubs.release(&held.key).await.expect("unlocked");
    waiting.await.expect("no panic").expect("the lock passes on");

    // A lease that the server made goes too.
    let before = client.leases().await.expect("leases").leases.len();
    let mut request = Request::new(LockRequest { name: "jobs".into(), lease: 0 });
    request.set_timeout(A_WHILE);
    stubs.lock().lock(request).await.expect_err("the lock is held");
    queue_of(&client, "jobs", 1).await;
    if is_holdfast(&cluster) {
        assert_eq!(client.leases().await.expect("leases").leases.len(), before);
    }
}

pub async fn ends_with_its_lease() {
    let cluster = Cluster::start(&Shape::from_env(3)).await;
    let client = cluster.client();
    let (one, other) = (Stubs::of(&cluster, 0).await, Stubs::of(&cluster, 1).await);
    let (brief, long) = (lease(&client, SHORT_TTL_S).await, lease(&client, LONG_TTL_S).await);
    let begun = Instant::now();
    one.acquire("jobs", brief).await.expect("locked");
    tokio::time::timeout(PATIENCE, other.acquire("jobs", long)).await.expect("in time").expect("the lock passes on");
    assert!(begun.elapsed() > Duration::from_secs(1), "the lease had its time");

    // A waiter's lease ends while it waits: it is told so at once. (etcd tells it when its turn comes.)
    if is_holdfast(&cluster) {
        let ends = lease(&client, LONG_TTL_S).await;
        let waiter = one.clone();
        let waiting = tokio::spawn(async move { waiter.acquire("jobs", ends).await });
        queue_of(&client, "jobs", 2).await;
        client.lease_revoke(ends).await.expect("revoked");
        let told = tokio::time::timeout(PATIENCE, waiting).await.expect("in time").expect("no panic");
        let told = told.expect_err("its place is gone");
        assert_eq!((told.code(), told.message()), (Code::Unknown, "mutex: session is expired"));
    }
}

pub async fn survives_a_leader() {
    let mut cluster = Cluster::start(&Shape::from_env(3)).await;
    let client = cluster.client();
    let leader = cluster.wait_leader(None).await;
    let followers: Vec<usize> = (0..3).filter(|index| *index != leader).collect();
    let (one, other) = (Stubs::of(&cluster, followers[0]).await, Stubs::of(&cluster, followers[1]).await);
    let (first, second) = (lease(&client, LONG_TTL_S).await, lease(&client, LONG_TTL_S).await);
    let held = one.acquire("jobs", first).await.expect("locked").into_inner();
    let waiting = tokio::spawn(async move { other.acquire("jobs", second).await });
    queue_of(&client, "jobs", 2).await;
    cluster.kill9(leader);
    cluster.wait_leader(Some(leader)).await;
    client.delete(held.key.to_vec()).await.expect("unlocked");
    let next = tokio::time::timeout(PATIENCE, waiting).await.expect("in time").expect("no panic");
    assert_eq!(next.expect("the lock passes on").into_inner().key, format!("jobs/{second:x}"));
}
