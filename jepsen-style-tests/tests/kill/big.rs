//! A store of two gigabytes: how long a restart takes, and whether a member that lost everything gets it all back.
//!
//! Only where `HOLDFAST_BIG` says so: it needs minutes, and `HOLDFAST_BIG_MB` (2048) four times over on the disk.

use std::time::{Duration, Instant};

use futures::future::join_all;
use holdfast_client::{Client, JoinAs, Put, Txn};
use holdfast_jepsen::world::process::{Cluster, Hash, Load, Shape, until};
use rand::Rng;

use crate::{BREATH, PREFIX, VALUE_BYTES};

const VALUE: usize = 4096;
/// Values in one request: the store is what is measured, not the way into it.
const PUTS_IN_A_TXN: usize = 64;
const FILLERS: usize = 4;
/// Two writers that go on: what counts is that they can.
const WRITERS: usize = 2;
/// For anything that moves or reads the whole store.
const LIMIT: Duration = Duration::from_secs(900);

fn megabytes() -> usize {
    match std::env::var("HOLDFAST_BIG_MB") {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("HOLDFAST_BIG_MB is {text:?}, not a number")),
        Err(_) => 2048,
    }
}

/// Noise, which does not compress.
fn noise() -> Vec<u8> {
    let mut bytes = vec![0; VALUE];
    rand::rng().fill_bytes(&mut bytes);
    bytes
}

async fn fill(client: Client, filler: usize, keys: usize) {
    for first in (0..keys).step_by(PUTS_IN_A_TXN) {
        let names = first..keys.min(first + PUTS_IN_A_TXN);
        // Whether an attempt was executed does not matter here: the next one writes the same keys.
        until(LIMIT, "answer to a filler", || async {
            let puts = names.clone().map(|key| Put::new(format!("big/{filler}/{key:08}"), noise()));
            puts.fold(client.txn(), Txn::then).await.map(drop).map_err(|error| error.to_string())
        })
        .await;
    }
}

/// The hashes of all nodes at one revision, once they are equal.
async fn equal_hashes(cluster: &Cluster) -> Hash {
    until(LIMIT, "equal hash on all nodes", || async {
        let hashes = join_all((0..cluster.len()).map(|index| cluster.hash_kv_within(index, LIMIT))).await;
        let hashes = hashes.into_iter().collect::<Result<Vec<_>, _>>()?;
        if hashes.iter().all(|hash| *hash == hashes[0]) { Ok(hashes[0]) } else { Err(format!("{hashes:?}")) }
    })
    .await
}

fn seconds(since: Instant) -> String {
    format!("{:.1} s", since.elapsed().as_secs_f64())
}

fn mib(bytes: u64) -> u64 {
    bytes / (1024 * 1024)
}

/// Room for all copies, for what compaction and checkpoints hold twice, and for the others on this disk.
fn has_room(cluster: &Cluster) -> bool {
    let needed = u64::try_from(megabytes()).expect("a small number") * 1024 * 1024 * 4;
    let df = std::process::Command::new("df").args(["--output=avail", "-B1"]).arg(cluster.folder()).output();
    let out = df.map(|ran| String::from_utf8_lossy(&ran.stdout).into_owned()).unwrap_or_default();
    let free: u64 = out.lines().last().and_then(|line| line.trim().parse().ok()).unwrap_or(0);
    if free < needed {
        println!("SKIPPED: {} MiB are free, {} are needed", mib(free), mib(needed));
    }
    free >= needed
}

/// Writes the store and tells how large it is on each node.
async fn filled(cluster: &Cluster) {
    let begun = Instant::now();
    let keys = megabytes() * 1024 * 1024 / VALUE / FILLERS;
    join_all((0..FILLERS).map(|filler| fill(cluster.client(), filler, keys))).await;
    println!("{} values of {VALUE} bytes written in {}", keys * FILLERS, seconds(begun));
    equal_hashes(cluster).await;
    let size = cluster.status(0).await.expect("a node answers").db_size;
    println!("the store holds {} MiB", size / (1024 * 1024));
}

/// kill -9, start, and everything that a client may wait for.
async fn restarted(cluster: &mut Cluster, index: usize) {
    cluster.kill9(index);
    let begun = Instant::now();
    cluster.spawn(index);
    let client = cluster.client_of(index, Duration::from_secs(1));
    until(LIMIT, "answer from the state", || async {
        client.get("big/0/00000000").serializable().await.map(drop).map_err(|error| error.to_string())
    })
    .await;
    println!("restart after kill -9: reads its state after {}", seconds(begun));
    until(LIMIT, "linearizable answer", || async {
        client.get("big/0/00000000").await.map(drop).map_err(|error| error.to_string())
    })
    .await;
    println!("  is up to date after {}; it uses {} MiB of memory", seconds(begun), mib(cluster.resident_bytes(index)));
    equal_hashes(cluster).await;
    println!("  with all of the store read once: {} MiB", mib(cluster.resident_bytes(index)));
}

pub async fn story() {
    let shape = Shape::from_env(3).flag("--quota-backend-bytes", 8_u64 << 30);
    // Requests are large here: with the defaults the log alone would hold the store once more.
    let shape = shape.flag("--snapshot-count", 500).flag("--snapshot-catchup-entries", 100);
    let mut cluster = Cluster::start(&shape).await;
    if !has_room(&cluster) {
        return;
    }
    filled(&cluster).await;
    let load = Load::start(&cluster, PREFIX, WRITERS, VALUE_BYTES);
    load.more(BREATH).await;
    let leader = cluster.wait_leader(None).await;
    let (victim, emptied) = ((leader + 1) % 3, (leader + 2) % 3);
    restarted(&mut cluster, victim).await;

    cluster.kill9(emptied);
    cluster.remove_member(emptied).await;
    cluster.wipe(emptied);
    cluster.add_member(emptied, JoinAs::Voter).await;
    let (begun, before) = (Instant::now(), load.acknowledged());
    load.look_anew();
    cluster.spawn(emptied);
    cluster.wait_caught_up_within(emptied, LIMIT).await;
    let (seen, written) = (load.disturbance(), load.acknowledged() - before);
    println!(
        "an emptied member has everything after {}; meanwhile {written} writes, none for {} ms at most; {} MiB memory",
        seconds(begun),
        seen.silence.as_millis(),
        mib(cluster.resident_bytes(emptied))
    );
    assert!(written > 0, "writes stood still while the member joined");
    assert!(cluster.said(emptied).contains("a snapshot is offered"), "it was to join from a checkpoint");
    let ledger = load.stop().await;
    let hash = equal_hashes(&cluster).await;
    let findings = ledger.check(&cluster.client(), PREFIX).await;
    println!("{findings}; all replicas equal: {hash:?}");
}
