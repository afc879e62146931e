//! Learners that are left to themselves.

use std::time::Duration;

use holdfast_client::JoinAs;
use holdfast_jepsen::world::process::{Cluster, PATIENCE, Shape, until};

/// Without the flag nothing would happen in this time, which is longer than the flag needs.
const LONG_ENOUGH: Duration = Duration::from_secs(6);

async fn is_learner(cluster: &Cluster, id: u64) -> bool {
    let members = cluster.members().await;
    members.iter().find(|member| member.id == id).expect("the learner is a member").is_learner
}

pub async fn promoted_where_asked() {
    let mut cluster = Cluster::start(&Shape::holdfast(1).flag("--auto-promote-learners", true)).await;
    cluster.client().put("a", "1").await.expect("a write");
    let joiner = cluster.add_machine("b");
    let id = cluster.add_member(joiner, JoinAs::Learner).await;
    assert!(is_learner(&cluster, id).await, "one that has not started yet is not in sync");
    tokio::time::sleep(LONG_ENOUGH).await;
    assert!(is_learner(&cluster, id).await, "one that has not started yet is never in sync");
    cluster.spawn(joiner);
    until(PATIENCE, "promotion", || async {
        if is_learner(&cluster, id).await { Err("it is a learner still".to_owned()) } else { Ok(()) }
    })
    .await;
    cluster.client().put("a", "2").await.expect("both voters take part");
}

pub async fn left_alone_otherwise() {
    let mut cluster = Cluster::start(&Shape::holdfast(1)).await;
    cluster.client().put("a", "1").await.expect("a write");
    let joiner = cluster.add_machine("b");
    let id = cluster.add_member(joiner, JoinAs::Learner).await;
    cluster.spawn(joiner);
    cluster.wait_said(joiner, "ready to serve client requests").await;
    tokio::time::sleep(LONG_ENOUGH).await;
    assert!(is_learner(&cluster, id).await, "nobody asked for its promotion");
}
