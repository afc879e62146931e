//! Stories of founding a cluster, and of founders that lost their disk.

use std::path::Path;
use std::time::Duration;

use holdfast_node::env::{CrashPolicy, Disk};
use madsim::rand::{Rng, thread_rng};

use super::story::{Acked, check_everything, put_many, put_without};
use super::{Cluster, ClusterOptions, Trace};
use crate::world::NodeIndex;

/// What does not happen in this time does not happen.
const A_WHILE: Duration = Duration::from_secs(10);

/// For a node that does not run. Power must not fail there before it has started: that would bring the files back.
fn empty_disk(cluster: &Cluster, index: NodeIndex) {
    cluster.disk(index).remove_dir_all(Path::new("/data")).expect("there was something");
}

/// Founders start at once or a little apart, lose power half-way and start again; one may come late, when the cluster
/// serves already. All end in one cluster.
pub async fn founding(trace: Trace) {
    let cluster = Cluster::start(&ClusterOptions::default(), trace.clone());
    let late: Option<NodeIndex> = thread_rng().gen_bool(0.5).then(|| thread_rng().gen_range(0..cluster.len()));
    if let Some(late) = late {
        cluster.crash(late, CrashPolicy::LoseUnsynced);
    }
    for _ in 0..thread_rng().gen_range(0..6) {
        madsim::time::sleep(Duration::from_millis(thread_rng().gen_range(0..500))).await;
        let struck = thread_rng().gen_range(0..cluster.len());
        if Some(struck) != late {
            let policies = [CrashPolicy::LoseUnsynced, CrashPolicy::KeepPrefix, CrashPolicy::KeepSubset];
            cluster.crash(struck, policies[thread_rng().gen_range(0..policies.len())]);
            madsim::time::sleep(Duration::from_millis(thread_rng().gen_range(0..500))).await;
            cluster.restart(struck);
        }
    }
    let mut acked = Acked::new();
    match late {
        Some(late) => {
            put_without(&cluster, late, 0..20, &mut acked).await;
            cluster.restart(late);
        }
        None => put_many(&cluster, 0..20, &mut acked).await,
    }
    put_many(&cluster, 20..60, &mut acked).await;
    check_everything(&cluster, &trace, &acked).await;
}

/// A founder's disk is lost. Alone it founds nothing; together with one that knows the cluster it elects nobody; and
/// when there is a leader it is refused. Nothing acknowledged is lost.
pub async fn lost_founder(trace: Trace) {
    let cluster = Cluster::start(&ClusterOptions::default(), trace.clone());
    let mut acked = Acked::new();
    let leader = cluster.wait_leader(None).await;
    let (lost, behind) = ((leader + 1) % 3, (leader + 2) % 3);
    put_many(&cluster, 0..20, &mut acked).await;
    // What is written now only the leader and the one that will lose its disk have.
    cluster.crash(behind, CrashPolicy::LoseUnsynced);
    put_without(&cluster, behind, 20..40, &mut acked).await;

    cluster.crash(leader, CrashPolicy::LoseUnsynced);
    cluster.crash(lost, CrashPolicy::LoseUnsynced);
    empty_disk(&cluster, lost);
    trace.say(format!("n{} has lost its disk", lost + 1));
    cluster.restart(lost);
    madsim::time::sleep(A_WHILE).await;
    assert!(cluster.server(lost).is_none(), "it founded the cluster again, alone");

    cluster.restart(behind);
    madsim::time::sleep(A_WHILE).await;
    assert!(cluster.server(lost).is_none(), "it started beside one that knows nothing of the newest writes");
    assert_eq!(cluster.leader(), None, "a leader was elected that lacks acknowledged writes");

    cluster.restart(leader);
    let found = cluster.wait_leader(None).await;
    assert_eq!(found, leader, "only the old leader has everything");
    madsim::time::sleep(A_WHILE).await;
    let refused = cluster.take_halted(lost).expect("it is refused");
    assert!(refused.contains("has already been bootstrapped"), "{refused}");
    for (key, value) in &acked {
        let read = super::story::read(&cluster, behind, key.clone()).await;
        assert_eq!(read, Some(Some(value.clone())), "an acknowledged write is not there: {key:?}");
    }
    trace.say(format!("all {} acknowledged writes are there", acked.len()));
}
