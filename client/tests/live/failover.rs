//! A member dies, or hangs, while clients are at work.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt;
use holdfast_client::{Client, Fate, Options, Update};

use crate::cluster::Cluster;

const WRITERS: usize = 4;
/// Written by each before the leader dies, and again after it has died.
const WRITES_EACH: usize = 60;

/// What became of the writes of one writer: acknowledged ones with their revision, and those nobody knows about.
#[derive(Default)]
struct Written {
    acknowledged: BTreeMap<String, i64>,
    unknown: Vec<String>,
}

/// Writes keys that are each written once, until told to stop, and then `WRITES_EACH` acknowledged ones more.
async fn writer(client: Client, name: usize, leader_is_dead: Arc<AtomicBool>) -> Written {
    let mut written = Written::default();
    let (mut number, mut afterwards) = (0, 0);
    while afterwards < WRITES_EACH {
        let key = format!("w/{name}/{number:06}");
        number += 1;
        let dead = leader_is_dead.load(Ordering::SeqCst);
        match client.put(key.as_str(), key.as_str()).await {
            Ok(answer) => {
                written.acknowledged.insert(key, answer.header.expect("header").revision);
                afterwards += usize::from(dead);
            }
            Err(error) if error.fate() == Fate::Unknown => written.unknown.push(key),
            Err(error) => eprintln!("writer {name}: not written: {error}"),
        }
    }
    written
}

/// Keys and revisions of all events up to `last`, which is the key of the last one.
async fn collect(mut watch: holdfast_client::Watch, last: &str) -> Vec<(String, i64)> {
    let mut seen = Vec::new();
    loop {
        let Update::Events { events, .. } = watch.next().await.expect("goes on").expect("update") else { continue };
        for event in events {
            let kv = event.kv.expect("kv");
            seen.push((String::from_utf8_lossy(&kv.key).into_owned(), kv.mod_revision));
            if kv.key == last {
                return seen;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_is_killed_under_writers_a_watch_and_a_lease() {
    let Some(mut cluster) = Cluster::start(3).await else { return };
    let client = cluster.client(Options::default());
    let leader = cluster.leader(&client).await;

    let lease = client.lease_grant(3).await.expect("grant");
    client.put("alive", "yes").lease(lease.id).await.expect("put");
    let keeper = client.lease_keep_alive(lease.id).await.expect("kept");

    // A client of its own that knows the doomed member only at first: its watch must move.
    let doomed = Client::connect([&cluster.members[leader].endpoint], Options::default()).expect("options");
    let watch = doomed.watch("w/").prefix().await.expect("watch");
    doomed.sync_endpoints().await.expect("sync");
    let watching = tokio::spawn(collect(watch, "w/end"));

    let leader_is_dead = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> =
        (0..WRITERS).map(|name| tokio::spawn(writer(client.clone(), name, Arc::clone(&leader_is_dead)))).collect();
    while client.get("w/").prefix().count_only().await.expect("get").count < (WRITERS * WRITES_EACH) as i64 {
        tokio::task::yield_now().await;
    }
    cluster.kill(leader);
    let killed = Instant::now();
    leader_is_dead.store(true, Ordering::SeqCst);

    let mut acknowledged = BTreeMap::new();
    let mut unknown = Vec::new();
    for writer in writers {
        let written = writer.await.expect("writer");
        acknowledged.extend(written.acknowledged);
        unknown.extend(written.unknown);
    }
    client.put("w/end", "").await.expect("put");
    let seen = tokio::time::timeout(Duration::from_secs(30), watching).await.expect("in time").expect("watch");

    let stored: BTreeMap<String, i64> = client
        .get("w/")
        .prefix()
        .await
        .expect("get")
        .kvs
        .into_iter()
        .map(|kv| (String::from_utf8_lossy(&kv.key).into_owned(), kv.mod_revision))
        .collect();
    for (key, revision) in &acknowledged {
        assert_eq!(stored.get(key), Some(revision), "acknowledged and lost: {key}");
    }
    for key in stored.keys().filter(|key| !acknowledged.contains_key(*key) && *key != "w/end") {
        assert!(unknown.contains(key), "{key} was said not to have been executed");
    }
    assert!(seen.windows(2).all(|pair| pair[0].1 < pair[1].1), "the watch is out of order or repeats itself");
    let watched: BTreeMap<String, i64> = seen.iter().cloned().collect();
    assert_eq!(watched.len(), seen.len());
    assert_eq!(watched, stored, "the watch saw exactly what was written");
    eprintln!("{} acknowledged, {} of unknown fate", acknowledged.len(), unknown.len());

    // The lease has been through the failover, and outlives its own time afterwards.
    let long_enough = Duration::from_secs(lease.ttl.unsigned_abs() + 2);
    let rest = long_enough.saturating_sub(killed.elapsed());
    assert!(tokio::time::timeout(rest, keeper.lost()).await.is_err(), "the lease was lost");
    assert_eq!(client.get("alive").await.expect("get").count, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_hangs_is_left_for_another() {
    let Some(cluster) = Cluster::start(3).await else { return };
    let observer = cluster.client(Options::default());
    let leader = cluster.leader(&observer).await;
    let hanging = (leader + 1) % 3;

    // Reads and a watch that sit on the member which is about to hang.
    let options = Options {
        keep_alive_interval: holdfast_client::KEEP_ALIVE_INTERVAL_MIN,
        keep_alive_timeout: Duration::from_secs(1),
        read_attempt_timeout: Duration::from_millis(500),
        ..Options::default()
    };
    let client = Client::connect([&cluster.members[hanging].endpoint], options).expect("options");
    let watch = client.watch("w/").prefix().await.expect("watch");
    client.get("k").await.expect("get");
    client.sync_endpoints().await.expect("sync");
    let watching = tokio::spawn(collect(watch, "w/end"));

    cluster.freeze(hanging);
    let begun = Instant::now();
    client.get("k").await.expect("another member answers");
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    observer.find_leader().await;
    for n in 0..10 {
        let key = format!("w/{n}");
        client.put(key.as_str(), "").await.expect("put");
    }
    client.put("w/end", "").await.expect("put");
    let seen = tokio::time::timeout(Duration::from_secs(30), watching).await.expect("in time").expect("watch");
    let keys: Vec<&str> = seen.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys, ["w/0", "w/1", "w/2", "w/3", "w/4", "w/5", "w/6", "w/7", "w/8", "w/9", "w/end"]);
}
