//! Founding a cluster, late founders, and founders whose disk was lost.

use std::time::{Duration, Instant};

use holdfast_jepsen::world::process::{Cluster, PATIENCE, Shape, until};

/// A founder that waits is told to stop and stops.
const STOP_LIMIT: Duration = Duration::from_secs(5);

async fn put(cluster: &Cluster, key: &'static str) {
    let client = cluster.client();
    until(PATIENCE, "write", || async { client.put(key, "x").await.map_err(|error| error.to_string()) }).await;
}

/// One founder of three waits. With a second one it founds the cluster. The third is late, and is taken in.
pub async fn late() {
    let mut cluster = Cluster::lay_out(&Shape::holdfast(3));
    cluster.spawn(0);
    cluster.wait_said(0, "2 are needed to start").await;
    let begun = Instant::now();
    cluster.terminate(0).await;
    assert!(begun.elapsed() < STOP_LIMIT, "a founder that waits was hard to stop");

    cluster.spawn(0);
    cluster.spawn(1);
    put(&cluster, "by two").await;
    cluster.spawn(2);
    cluster.wait_caught_up(2).await;
    put(&cluster, "by three").await;
    cluster.wait_equal_hashes().await;
    // It is a voter as the others are.
    cluster.kill9(0);
    put(&cluster, "without the first").await;
    cluster.restart(0).await;
    cluster.wait_equal_hashes().await;
}

/// A founder that lost its disk founds nothing alone, and is refused as soon as it reaches anybody who knows.
pub async fn lost() {
    let mut cluster = Cluster::start(&Shape::holdfast(3)).await;
    put(&cluster, "precious").await;
    cluster.wait_equal_hashes().await;
    (0..3).for_each(|index| cluster.kill9(index));
    cluster.wipe(2);
    cluster.spawn(2);
    cluster.wait_said(2, "2 are needed to start").await;
    assert!(cluster.is_running(2), "it waits");
    cluster.spawn(0);
    let status = cluster.wait_exit(2).await;
    assert!(!status.success());
    assert!(cluster.said(2).contains("has already been bootstrapped"), "{}", cluster.said(2));
    cluster.spawn(1);
    put(&cluster, "after").await;
    assert_eq!(cluster.client().get("precious").await.expect("a read").count, 1);
}
