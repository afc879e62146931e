//! A cluster grows while it serves.

use std::time::{Duration, Instant};

use holdfast_client::JoinAs;
use holdfast_jepsen::world::process::{Cluster, PATIENCE, Role, Shape, until};
use holdfast_node::rt;
use holdfast_proto::etcdserverpb::RangeRequest;
use holdfast_proto::etcdserverpb::kv_client::KvClient;
use tonic::Code;

/// Far below any deadline of a request.
const AT_ONCE: Duration = Duration::from_secs(2);

/// As etcd: the second member is allowed before it runs, and is listed as a voter that has not started. Unlike with
/// etcd, the cluster goes on meanwhile. When the new member has caught up it votes, and both are needed.
pub async fn one_to_two() {
    let mut cluster = Cluster::start(&Shape::holdfast(1)).await;
    let client = cluster.client();
    for number in 0..50 {
        client.put(format!("key/{number}"), "x").await.expect("a write");
    }
    let second = cluster.add_machine("b");
    let begun = Instant::now();
    let added = client.member_add([cluster.peer_url(second)], JoinAs::Voter).await.expect("the addition is answered");
    assert!(begun.elapsed() < AT_ONCE, "it took {:?}", begun.elapsed());
    let id = added.member.expect("the answer names the member").id;

    let listed = cluster.members().await.into_iter().find(|member| member.id == id).expect("it is listed");
    assert!(listed.name.is_empty() && !listed.is_learner, "a voter that has not started: {listed:?}");
    let refused =
        client.member_add(["http://127.0.0.1:9"], JoinAs::Voter).await.expect_err("a third before the second");
    assert!(refused.to_string().contains("not enough started members"), "{refused}");
    let refused = client.member_promote(id).await.expect_err("it is no learner").to_string();
    assert!(refused.contains("can only promote a learner"), "{refused}");
    client.put("meanwhile", "x").await.expect("the cluster goes on with the member it has");

    let all = format!("n1={},n2={}", cluster.peer_url(0), cluster.peer_url(second));
    cluster.set_role(second, Role::Joiner, &all);
    cluster.spawn(second);
    cluster.wait_said(0, "votes now").await;
    cluster.wait_caught_up(second).await;
    assert_eq!(client.get("meanwhile").await.expect("a read").count, 1);

    cluster.kill9(second);
    let alone = cluster.client_of(0, Duration::from_secs(2)).put("alone", "x").await;
    alone.expect_err("one of two voters is no quorum");
    cluster.spawn(second);
    until(PATIENCE, "write by both", || async { client.put("both", "x").await.map_err(|error| error.to_string()) })
        .await;
}

/// Nobody tells a member that it was removed, and nobody sends it entries any more. Whoever asks it is sent away at
/// once, and not left to wait for a state that never comes.
pub async fn a_removed_member() {
    let cluster = Cluster::start(&Shape::holdfast(3)).await;
    let leader = cluster.wait_leader(None).await;
    let removed = (leader + 1) % 3;
    cluster.remove_member(removed).await;
    // What the others agree on from now on, it does not hear of.
    cluster.client_of(leader, PATIENCE).put("key", "x").await.expect("a write");
    let channel = rt::connect(&cluster.endpoint(removed), &rt::PeerTls::default()).expect("a well-formed URL");
    let begun = Instant::now();
    let request = RangeRequest { key: "key".into(), ..RangeRequest::default() };
    let refused = KvClient::new(channel).range(request).await.expect_err("it does not know");
    assert_eq!((refused.code(), refused.message()), (Code::Unavailable, "etcdserver: server stopped"));
    assert!(begun.elapsed() < AT_ONCE, "it took {:?}", begun.elapsed());
}
