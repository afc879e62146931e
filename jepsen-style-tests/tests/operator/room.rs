//! The quota: what it refuses, and how it lets go again.

use std::time::Duration;

use holdfast_jepsen::world::process::{Cluster, PATIENCE, Shape, until};
use holdfast_proto::etcdserverpb::AlarmType;

const QUOTA_BYTES: usize = 8 * 1024 * 1024;
const VALUE_BYTES: usize = 256 * 1024;
/// An alarm that were to end by itself would be gone by then: three looks of a second, and some.
const LONG_ENOUGH: Duration = Duration::from_secs(6);

/// Writes until the quota is crossed and the alarm is up everywhere.
async fn fill(client: &holdfast_client::Client) {
    for number in 0..200 {
        match client.put(format!("large/{number:03}"), vec![b'x'; VALUE_BYTES]).await {
            Ok(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            Err(error) => {
                assert!(error.to_string().contains("etcdserver: mvcc: database space exceeded"), "{error}");
                return;
            }
        }
    }
    panic!("{} bytes were taken with a quota of {QUOTA_BYTES}", 200 * VALUE_BYTES);
}

pub async fn ends_by_itself() {
    let cluster = Cluster::start(&Shape::holdfast(1).flag("--quota-backend-bytes", QUOTA_BYTES)).await;
    let client = cluster.client();
    client.put("small", "x").await.expect("there is room at first");
    fill(&client).await;
    assert_eq!(client.get("small").await.expect("a read").count, 1, "reads go on");
    client.put("small", "y").await.expect_err("nothing may grow");

    let deleted = client.delete("large/").prefix().await.expect("what makes room goes on");
    let revision = deleted.header.expect("a header").revision;
    client.compact(revision).await.expect("a compaction makes room");
    until(PATIENCE, "end of the alarm", || async {
        client.put("small", "z").await.map(drop).map_err(|error| error.to_string())
    })
    .await;
    assert!(client.alarms().await.expect("alarms are listed").alarms.is_empty());
    cluster.wait_said(0, "NOSPACE has ended").await;
}

pub async fn by_hand_stays() {
    let cluster = Cluster::start(&Shape::holdfast(1)).await;
    let client = cluster.client();
    client.alarm_raise(0, AlarmType::Nospace).await.expect("an operator may raise it");
    let me = client.member_list().await.expect("members are listed").members[0].id;
    client.alarm_raise(me, AlarmType::Nospace).await.expect("an operator may raise it for a member");
    tokio::time::sleep(LONG_ENOUGH).await;
    client.put("a", "1").await.expect_err("it does not end by itself, however much room there is");
    assert_eq!(client.alarms().await.expect("alarms are listed").alarms.len(), 2);
    client.alarm_disarm(me, AlarmType::Nospace).await.expect("it can be taken back");
    client.put("a", "1").await.expect_err("one of two is left");
    client.alarm_disarm(0, AlarmType::Nospace).await.expect("it can be taken back");
    client.put("a", "1").await.expect("none is left");
}
