//! Stories that every seed must survive.

use std::time::Duration;

use bytes::Bytes;
use holdfast_node::env::CrashPolicy;
use holdfast_node::rt;
use holdfast_proto::etcdserverpb::{PutRequest, RangeRequest};
use madsim::runtime::Handle;

use super::{Cluster, ClusterOptions, Trace};
use crate::world::NodeIndex;

/// Writes acknowledged so far, as key and value.
pub(super) type Acked = Vec<(Bytes, Bytes)>;

/// Puts one key through the nodes, in turn, except `not`; tries until it is acknowledged.
pub(super) async fn put_until_acked(cluster: &Cluster, not: Option<NodeIndex>, number: usize, acked: &mut Acked) {
    let nodes: Vec<NodeIndex> = (0..cluster.len()).filter(|index| Some(*index) != not).collect();
    for attempt in 0.. {
        // Every attempt has a key of its own: one whose answer was late may still take effect after the next.
        let key = Bytes::from(format!("key-{number:04}-{attempt}"));
        let value = Bytes::from(format!("value-{number}-{attempt}"));
        let index = nodes[(number + attempt) % nodes.len()];
        let request = PutRequest { key: key.clone(), value: value.clone(), ..PutRequest::default() };
        let put = cluster.client().spawn(async move {
            let mut client = Cluster::kv(index);
            rt::timeout(Duration::from_secs(1), client.put(request)).await
        });
        if let Ok(Ok(Ok(_))) = put.await {
            acked.push((key, value));
            return;
        }
    }
}

pub(super) async fn put_many(cluster: &Cluster, numbers: std::ops::Range<usize>, acked: &mut Acked) {
    for number in numbers {
        put_until_acked(cluster, None, number, acked).await;
    }
}

/// Reads one key through one node, linearizably. None if the node did not answer in time.
pub(super) async fn read(cluster: &Cluster, index: NodeIndex, key: Bytes) -> Option<Option<Bytes>> {
    let read = cluster.client().spawn(async move {
        let mut client = Cluster::kv(index);
        let request = RangeRequest { key, ..RangeRequest::default() };
        rt::timeout(Duration::from_secs(2), client.range(request)).await
    });
    match read.await {
        Ok(Ok(Ok(response))) => Some(response.into_inner().kvs.into_iter().next().map(|kv| kv.value)),
        _ => None,
    }
}

/// Three nodes elect, take writes, lose the leader to a partition, fail over, heal; lose a node's power; converge. No
/// acknowledged write is lost, and the leader that was cut off answers no stale read.
pub async fn failover(trace: Trace) {
    let cluster = Cluster::start(&ClusterOptions::default(), trace.clone());
    let mut acked = Acked::new();
    let first = cluster.wait_leader(None).await;
    trace.say(format!("the first leader is n{}", first + 1));
    put_many(&cluster, 0..30, &mut acked).await;

    cluster.isolate(first);
    let cut_off = madsim::time::Instant::now();
    put_until_acked(&cluster, Some(first), 30, &mut acked).await;
    trace.say(format!("writes are back after {:?}", cut_off.elapsed()));
    let second = cluster.wait_leader(Some(first)).await;
    trace.say(format!("the new leader is n{}", second + 1));
    let newest = acked.last().cloned().expect("something was written");
    match read(&cluster, first, newest.0.clone()).await {
        None => trace.say("the old leader answers no linearizable read"),
        Some(value) => assert_eq!(value, Some(newest.1), "the old leader answered a stale read"),
    }
    cluster.reconnect(first);
    put_many(&cluster, 31..60, &mut acked).await;

    let third = cluster.wait_leader(None).await;
    cluster.crash(third, CrashPolicy::KeepPrefix);
    put_until_acked(&cluster, Some(third), 60, &mut acked).await;
    cluster.restart(third);
    put_many(&cluster, 61..200, &mut acked).await;

    check_everything(&cluster, &trace, &acked).await;
}

/// A node misses more than the log keeps and is given a snapshot; then it leads, and gives one to another. Power is
/// lost at every turn.
pub async fn catch_up(trace: Trace) {
    let cluster = Cluster::start(&ClusterOptions::default(), trace.clone());
    let mut acked = Acked::new();
    let first = cluster.wait_leader(None).await;
    let (second, third) = ((first + 1) % 3, (first + 2) % 3);
    put_many(&cluster, 0..20, &mut acked).await;

    cluster.crash(second, CrashPolicy::LoseUnsynced);
    put_without(&cluster, second, 20..320, &mut acked).await;
    cluster.restart(second);
    cluster.converge().await;
    trace.say(format!("n{} has caught up", second + 1));

    // The third node misses what comes next, so that only the second can follow the first.
    cluster.crash(third, CrashPolicy::KeepPrefix);
    put_without(&cluster, third, 320..620, &mut acked).await;
    cluster.crash(first, CrashPolicy::KeepSubset);
    cluster.restart(third);
    let leader = cluster.wait_leader(Some(first)).await;
    assert_eq!(leader, second, "a node without the newest entries was elected");
    put_without(&cluster, first, 620..650, &mut acked).await;
    cluster.restart(first);
    put_many(&cluster, 650..700, &mut acked).await;
    check_everything(&cluster, &trace, &acked).await;
}

pub(super) async fn put_without(cluster: &Cluster, not: NodeIndex, numbers: std::ops::Range<usize>, acked: &mut Acked) {
    for number in numbers {
        put_until_acked(cluster, Some(not), number, acked).await;
    }
}

/// All nodes converge, and every acknowledged write is there.
pub(super) async fn check_everything(cluster: &Cluster, trace: &Trace, acked: &Acked) {
    let (revision, hash) = cluster.converge().await;
    trace.say(format!("all nodes are at revision {revision} with hash {hash:08x}"));
    for (key, value) in acked {
        let index = key.iter().copied().map(usize::from).sum::<usize>() % cluster.len();
        let found = read(cluster, index, key.clone()).await;
        assert_eq!(found, Some(Some(value.clone())), "an acknowledged write is not there: {key:?}");
    }
    trace.say(format!("all {} acknowledged writes are there; {:?}", acked.len(), Handle::current().seed()));
}
