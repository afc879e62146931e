//! The Rust client's locks and elections.

use futures::StreamExt;
use holdfast_client::{Client, Code, Error, Leadership};
use holdfast_jepsen::world::process::{Cluster, PATIENCE, Shape};

use crate::stubs::{A_WHILE, LONG_TTL_S, Stubs, is_holdfast, lease, queue_of};

pub async fn locks_and_guards() {
    let cluster = Cluster::start(&Shape::from_env(3)).await;
    let client = cluster.client();
    // The loss is noticed at the next renewal, a third of the time later.
    let first = client.lock("jobs", 6).await.expect("a free lock is given at once");
    assert_eq!(first.key(), format!("jobs/{:x}", first.session().lease()).as_bytes());

    // Who gives up leaves the queue.
    let given_up = tokio::time::timeout(A_WHILE, client.lock("jobs", LONG_TTL_S)).await;
    assert!(given_up.is_err(), "a lock has two holders");
    queue_of(&client, "jobs", 1).await;

    // A holder that loses its session is told, and the next one holds. They came by different ways.
    let (stubs, other) = (Stubs::of(&cluster, 1).await, lease(&client, LONG_TTL_S).await);
    let waiting = tokio::spawn(async move { stubs.acquire("jobs", other).await });
    queue_of(&client, "jobs", 2).await;
    client.lease_revoke(first.session().lease()).await.expect("the lease ends");
    let why = tokio::time::timeout(PATIENCE, first.lost()).await.expect("in time");
    assert!(matches!(why, Error::LeaseGone { .. }), "{why:?}");
    let held = waiting.await.expect("no panic").expect("the lock passes on").into_inner();

    if is_holdfast(&cluster) {
        let refused = first.guarded().put("x", "late").await.expect_err("the lock has moved on");
        assert!(matches!(refused, Error::Refused { code: Code::FailedPrecondition, .. }), "{refused:?}");
        assert!(refused.message().contains("since the newer revision"), "{refused}");
        let refused = first.guarded().delete("x").await.expect_err("the lock has moved on");
        assert!(matches!(refused, Error::Refused { code: Code::FailedPrecondition, .. }), "{refused:?}");
        assert_eq!(client.get("x").await.expect("read").count, 0);
    }
    client.delete(held.key.to_vec()).await.expect("unlocked");
    let next = client.lock("jobs", LONG_TTL_S).await.expect("the lock is free");
    assert!(next.token() > first.token(), "tokens grow");
    if is_holdfast(&cluster) {
        next.guarded().put("x", "good").await.expect("the holder writes");
        let txn = next.guarded().txn().then(holdfast_client::Put::new("y", "good"));
        assert!(txn.await.expect("the holder writes").succeeded);
    } else {
        let refused = next.guarded().put("x", "good").await.expect_err("etcd knows nothing of guards");
        assert_eq!(refused.code(), Some(Code::Unimplemented));
    }
    next.unlock().await.expect("unlocked");
    queue_of(&client, "jobs", 0).await;
    assert_eq!(client.leases().await.expect("leases").leases.len(), 1, "sessions end with their locks");
}

/// Holders of one lock, in one session and in several, while the leader is killed.
pub async fn locks_over_a_dead_leader() {
    let mut cluster = Cluster::start(&Shape::from_env(3)).await;
    let client = cluster.client();
    let session = client.session(LONG_TTL_S).await.expect("a session");
    let first = session.lock("jobs").await.expect("locked");
    let waiter = client.clone();
    let waiting = tokio::spawn(async move { waiter.lock("jobs", LONG_TTL_S).await });
    queue_of(&client, "jobs", 2).await;
    let leader = cluster.wait_leader(None).await;
    cluster.kill9(leader);
    first.unlock().await.expect("unlocked, as soon as somebody leads");
    let next = tokio::time::timeout(PATIENCE, waiting).await.expect("in time").expect("no panic");
    let next = next.expect("the lock passes on");
    drop(next);
    queue_of(&client, "jobs", 0).await;
    session.close().await.expect("closed");
}

async fn stand(client: &Client, value: &str) -> Result<Leadership, Error> {
    client.campaign("chief", value, LONG_TTL_S).await
}

pub async fn elections() {
    let cluster = Cluster::start(&Shape::from_env(1)).await;
    let client = cluster.client();
    assert_eq!(client.leader("chief").await.expect("asked"), None);
    let mut leaders = client.observe("chief");
    let first = stand(&client, "one").await.expect("elected");
    let candidate = client.clone();
    let waiting = tokio::spawn(async move { stand(&candidate, "two").await });
    queue_of(&client, "chief", 2).await;
    first.proclaim("one a").await.expect("it leads");
    assert_eq!(client.leader("chief").await.expect("asked").expect("a leader").value, "one a");
    first.resign().await.expect("resigned");
    let second = waiting.await.expect("no panic").expect("the leadership passes on");
    let mut told = Vec::new();
    while told.last().is_none_or(|value| value != "two") {
        let next = tokio::time::timeout(PATIENCE, leaders.next()).await.expect("in time").expect("it goes on");
        told.push(String::from_utf8(next.expect("it goes on").value.to_vec()).expect("text"));
    }
    // The observer may have begun to look when the first leader had proclaimed already.
    assert!(told == ["one", "one a", "two"] || told == ["one a", "two"] || told == ["two"], "{told:?}");
    client.lease_revoke(second.session().lease()).await.expect("the lease ends");
    let refused = second.proclaim("late").await.expect_err("it leads no more");
    assert!(matches!(refused, Error::Refused { .. }), "{refused:?}");
}
