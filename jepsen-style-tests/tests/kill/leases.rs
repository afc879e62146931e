//! Leases over the death of the leader, which alone knows their deadlines.

use std::time::{Duration, Instant};

use holdfast_jepsen::world::process::{Cluster, PATIENCE, Shape, until};

const TTL_S: i64 = 6;

fn ttl() -> Duration {
    Duration::from_secs(TTL_S.unsigned_abs())
}

async fn is_there(client: &holdfast_client::Client, key: &str) -> bool {
    until(PATIENCE, "answer to a read", || async {
        client.get(key).await.map(|answer| answer.count == 1).map_err(|error| error.to_string())
    })
    .await
}

/// A lease that is renewed outlives its leaders; one that is not renewed any more ends.
pub async fn a_renewed_lease_survives(rounds: usize) {
    let mut cluster = Cluster::start(&Shape::from_env(3)).await;
    let client = cluster.client();
    let lease = client.lease_grant(TTL_S).await.expect("a lease is granted").id;
    client.put("session", "alive").lease(lease).await.expect("a key is attached");
    let mut keeper = client.lease_keep_alive(lease).await.expect("a lease is renewed");
    for round in 0..rounds {
        let leader = cluster.wait_leader(None).await;
        cluster.kill9(leader);
        for _ in 0..2 {
            let renewed = tokio::time::timeout(PATIENCE, keeper.renewed()).await.expect("no renewal for a long time");
            renewed.unwrap_or_else(|error| panic!("round {round}: the lease was lost: {error}"));
        }
        assert!(is_there(&client, "session").await, "round {round}: the key of a renewed lease is gone");
        cluster.restart(leader).await;
    }
    let dropped = Instant::now();
    drop(keeper);
    until(PATIENCE, "end of a lease that is not renewed", || async {
        if is_there(&client, "session").await { Err("its key is there".to_owned()) } else { Ok(()) }
    })
    .await;
    cluster.wait_equal_hashes().await;
    println!("lease renewed over {rounds} leaders; gone {} ms after its last keeper", dropped.elapsed().as_millis());
}

/// The new leader does not know how much time was left, and must not guess too little.
pub async fn a_lease_ends_not_before_its_time(rounds: usize) {
    let mut cluster = Cluster::start(&Shape::from_env(3)).await;
    let client = cluster.client();
    let mut lived = Vec::new();
    for round in 0..rounds {
        let key = format!("brief/{round}");
        let leader = cluster.wait_leader(None).await;
        // Taken before the request leaves: the lease cannot begin earlier.
        let begun = Instant::now();
        let lease = client.lease_grant(TTL_S).await.expect("a lease is granted").id;
        client.put(key.as_str(), "").lease(lease).await.expect("a key is attached");
        cluster.kill9(leader);
        until(PATIENCE, "end of the lease", || async {
            if is_there(&client, &key).await { Err("its key is there".to_owned()) } else { Ok(()) }
        })
        .await;
        let life = begun.elapsed();
        assert!(life >= ttl(), "round {round}: a lease of {:?} ended after {life:?}", ttl());
        lived.push(life.as_millis());
        cluster.restart(leader).await;
    }
    cluster.wait_equal_hashes().await;
    println!("lease of {} ms, leader killed: lived {lived:?} ms", ttl().as_millis());
}
