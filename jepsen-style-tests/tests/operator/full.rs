//! A disk that fills up under a node.

use holdfast_client::proto::etcdserverpb::AlarmType;
use holdfast_client::{Client, Fate};
use holdfast_jepsen::world::process::{Cluster, PATIENCE, Shape, SmallDisk, until};

/// Room for two segments of the log, the state, and what is kept in reserve.
const DISK_MB: u64 = 700;
/// Below this, growing writes are to be refused (`node/src/ops/space.rs` keeps 256 MiB).
const SCARCE: u64 = 200 * 1024 * 1024;
const VALUE_BYTES: usize = 10_000;
/// Deletes that are tried when not a block is left.
const DELETES: usize = 40;
/// The exit code of a node that stopped by itself.
const STOPPED_ITSELF: i32 = 70;
const NO_SPACE: &str = "etcdserver: mvcc: database space exceeded";

fn value(number: usize) -> String {
    format!("{number:<VALUE_BYTES$}")
}

fn key(number: usize) -> String {
    format!("key/{number:05}")
}

/// Writes until it is refused for want of room; returns how many were acknowledged.
async fn write_until_refused(client: &Client, from: usize) -> usize {
    let begun = std::time::Instant::now();
    for number in from.. {
        if let Err(refused) = client.put(key(number), value(number)).await {
            assert!(refused.to_string().contains(NO_SPACE), "{refused}");
            return number;
        }
        assert!(begun.elapsed() < PATIENCE, "NOSPACE does not arrive");
    }
    unreachable!("numbers do not end");
}

async fn expect_all(client: &Client, from: usize, to: usize) {
    let all = client.get("key/").prefix().await.expect("a read");
    assert_eq!(all.count, i64::try_from(to - from).expect("a small number"));
    for (kv, number) in all.kvs.iter().zip(from..to) {
        assert_eq!((&kv.key[..], &kv.value[..]), (key(number).as_bytes(), value(number).as_bytes()));
    }
}

/// The whole story of one node whose disk is the only copy.
pub async fn story() {
    let disk = match SmallDisk::mount(DISK_MB) {
        Ok(disk) => disk,
        Err(why) => return println!("SKIPPED: no loop device can be mounted here: {why}"),
    };
    let mut cluster = Cluster::lay_out(&Shape::holdfast(1));
    cluster.set_data_dir(0, disk.root().join("data"));
    cluster.spawn(0);
    cluster.wait_formed().await;
    let client = cluster.client();
    for number in 0..100 {
        client.put(key(number), value(number)).await.expect("there is room");
    }

    disk.fill(SCARCE);
    let written = write_until_refused(&client, 100).await;
    let alarms = client.alarms().await.expect("alarms are listed").alarms;
    assert_eq!(alarms.len(), 1, "{alarms:?}");
    cluster.wait_said(0, "NOSPACE").await;
    expect_all(&client, 0, written).await;
    for number in 0..10 {
        assert_eq!(client.delete(key(number)).await.expect("deletes go on").deleted, 1);
    }
    expect_all(&client, 10, written).await;

    disk.fill(0);
    expect_all(&client, 10, written).await;
    let fate = delete_on_a_full_disk(&mut cluster, &client, 10).await;
    cluster.kill9(0);

    // What the node holds already may be enough to start; if it is not, it says what is missing.
    cluster.spawn(0);
    until(PATIENCE, "answer or end of a node that starts on a full disk", || async {
        if cluster.said(0).contains("No space left on device") {
            return Ok(());
        }
        client.get("key/00099").serializable().await.map(drop).map_err(|error| error.to_string())
    })
    .await;
    cluster.kill9(0);

    disk.clear();
    cluster.restart(0).await;
    let gone = fate.resolve(&client).await;
    expect_all(&client, gone, written).await;
    until(PATIENCE, "end of the alarm", || async {
        client.alarm_disarm(0, AlarmType::Nospace).await.map_err(|error| error.to_string())?;
        client.put("after", "x").await.map(drop).map_err(|error| error.to_string())
    })
    .await;
    expect_all(&client, gone, written).await;
}

/// How far the deletes of a node on a full disk came.
struct Deleted {
    /// The first key that is certainly not deleted, or whose delete has an unknown fate.
    next: usize,
    unknown: bool,
}

impl Deleted {
    /// The first key that is there.
    async fn resolve(&self, client: &Client) -> usize {
        let there = client.get(key(self.next)).await.expect("a read").count == 1;
        assert!(there || self.unknown, "a key is gone that nobody deleted");
        if there { self.next } else { self.next + 1 }
    }
}

/// Deletes go on as long as the log finds room in what it has; then the node stops and says why.
async fn delete_on_a_full_disk(cluster: &mut Cluster, client: &Client, from: usize) -> Deleted {
    for number in from..from + DELETES {
        let Err(error) = client.delete(key(number)).await else { continue };
        if cluster.is_running(0) && error.fate() != Fate::Unknown {
            assert!(error.to_string().contains(NO_SPACE), "{error}");
        } else {
            let status = cluster.wait_exit(0).await;
            assert_eq!(status.code(), Some(STOPPED_ITSELF), "{}", cluster.logs(0));
            assert!(cluster.said(0).contains("No space left on device"), "{}", cluster.logs(0));
        }
        return Deleted { next: number, unknown: error.fate() == Fate::Unknown };
    }
    Deleted { next: from + DELETES, unknown: false }
}
