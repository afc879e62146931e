//! The Election service.

use holdfast_client::proto::v3electionpb::{
    CampaignRequest, LeaderKey, LeaderRequest, LeaderResponse, ProclaimRequest, ResignRequest,
};
use holdfast_jepsen::world::process::{Cluster, PATIENCE, Shape};
use tonic::{Code, Streaming};

use crate::stubs::{A_WHILE, LONG_TTL_S, Stubs, code_through_recipe, created, lease, queue_of};

fn campaign(lease: i64, value: &str) -> CampaignRequest {
    CampaignRequest { name: "chief".into(), lease, value: value.to_owned().into() }
}

fn proclaim(leader: &LeaderKey, value: &str) -> ProclaimRequest {
    ProclaimRequest { leader: Some(leader.clone()), value: value.to_owned().into() }
}

async fn told(observed: &mut Streaming<LeaderResponse>) -> String {
    let next = tokio::time::timeout(PATIENCE, observed.message()).await.expect("in time");
    let answer = next.expect("the stream goes on").expect("the stream goes on");
    assert!(answer.header.expect("answers have headers").revision > 0);
    String::from_utf8(answer.kv.expect("a leader").value.to_vec()).expect("text")
}

pub async fn campaigns() {
    let cluster = Cluster::start(&Shape::from_env(3)).await;
    let client = cluster.client();
    let (one, other) = (Stubs::of(&cluster, 0).await, Stubs::of(&cluster, 1).await);
    let (first, second) = (lease(&client, LONG_TTL_S).await, lease(&client, LONG_TTL_S).await);

    // An observer of an election without a leader waits for the first one.
    let watcher = Stubs::of(&cluster, 2).await;
    // etcd opens its stream only when there is one.
    let observing = tokio::spawn(async move {
        let observed = watcher.election().observe(LeaderRequest { name: "chief".into() }).await;
        observed.expect("observed").into_inner()
    });

    let answer = one.election().campaign(campaign(first, "one")).await.expect("elected").into_inner();
    let leader = answer.leader.expect("the answer names the leadership");
    assert_eq!(leader.name, "chief");
    assert_eq!(leader.key, format!("chief/{first:x}"));
    assert_eq!((leader.lease, leader.rev), (first, created(&client, &leader.key).await));
    assert_eq!(answer.header.expect("answers have headers").revision, leader.rev);
    let observed = &mut tokio::time::timeout(PATIENCE, observing).await.expect("in time").expect("no panic");
    assert_eq!(told(observed).await, "one");

    let candidate = other.clone();
    let mut waiting = tokio::spawn(async move { candidate.election().campaign(campaign(second, "two")).await });
    queue_of(&client, "chief", 2).await;
    assert!(tokio::time::timeout(A_WHILE, &mut waiting).await.is_err(), "an election has two leaders");

    for value in ["one a", "one b"] {
        one.election().proclaim(proclaim(&leader, value)).await.expect("proclaimed");
        assert_eq!(told(observed).await, value);
    }
    // To campaign again with another value is to proclaim it.
    let again = one.election().campaign(campaign(first, "one c")).await.expect("leads").into_inner();
    assert_eq!(again.leader.expect("a leader"), leader);
    assert_eq!(told(observed).await, "one c");
    let seen =
        other.election().leader(LeaderRequest { name: "chief".into() }).await.expect("there is one").into_inner();
    let kv = seen.kv.expect("a leader");
    assert_eq!((kv.key.as_ref(), kv.value.as_ref()), (leader.key.as_ref(), &b"one c"[..]));
    assert_eq!((kv.create_revision, kv.lease), (leader.rev, first));

    one.election().resign(ResignRequest { leader: Some(leader.clone()) }).await.expect("resigned");
    let next = waiting.await.expect("no panic").expect("the leadership passes on").into_inner();
    let next = next.leader.expect("a leader");
    assert!(next.rev > leader.rev, "tokens grow");
    assert_eq!(told(observed).await, "two");

    // Who has resigned leads no more, and may resign again.
    let refused = one.election().proclaim(proclaim(&leader, "late")).await.expect_err("it leads no more");
    assert_eq!((refused.code(), refused.message()), (Code::Unknown, "election: not leader"));
    one.election().resign(ResignRequest { leader: Some(leader) }).await.expect("idempotent");
    assert_eq!(created(&client, &next.key).await, next.rev, "a stale resignation took nobody's place");
}

pub async fn refusals() {
    let cluster = Cluster::start(&Shape::from_env(1)).await;
    let (client, stubs) = (cluster.client(), Stubs::of(&cluster, 0).await);
    let nobody = stubs.election().leader(LeaderRequest { name: "chief".into() }).await.expect_err("nobody leads");
    assert_eq!((nobody.code(), nobody.message()), (Code::Unknown, "election: no leader"));
    let nameless = "\"leader\" field must be provided";
    let refused = stubs.election().resign(ResignRequest { leader: None }).await.expect_err("no leader is named");
    assert_eq!((refused.code(), refused.message()), (Code::Unknown, nameless));
    let request = ProclaimRequest { leader: None, value: "x".into() };
    let refused = stubs.election().proclaim(request).await.expect_err("no leader is named");
    assert_eq!((refused.code(), refused.message()), (Code::Unknown, nameless));
    let unknown = stubs.election().campaign(campaign(77, "x")).await.expect_err("there is no such lease");
    let code = code_through_recipe(&cluster, Code::NotFound);
    assert_eq!((unknown.code(), unknown.message()), (code, "etcdserver: requested lease not found"));
    // A leader that never was.
    let ours = lease(&client, LONG_TTL_S).await;
    let leader = LeaderKey { name: "chief".into(), key: format!("chief/{ours:x}").into(), rev: 5, lease: ours };
    let refused = stubs.election().proclaim(proclaim(&leader, "x")).await.expect_err("it never led");
    assert_eq!((refused.code(), refused.message()), (Code::Unknown, "election: not leader"));
}
