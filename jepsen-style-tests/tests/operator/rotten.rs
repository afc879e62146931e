//! Files edited while the node is down: what may start again does, and what may not says so.

use std::path::{Path, PathBuf};
use std::time::Duration;

use holdfast_jepsen::world::process::{Cluster, PATIENCE, Shape, holdfast_bin, run, until};

use crate::refused::expect_words;

const LIMIT: Duration = Duration::from_secs(20);

fn flip(path: &Path, offset: usize) {
    let mut bytes = std::fs::read(path).expect("a file of the node");
    bytes[offset] ^= 0x10;
    std::fs::write(path, bytes).expect("the file can be written back");
}

fn start_is_refused(cluster: &Cluster, words: &[&str]) {
    expect_words(&run(&holdfast_bin(), &cluster.args(0), "", LIMIT), words);
}

fn wal(cluster: &Cluster, index: usize) -> PathBuf {
    let data_dir = cluster.data_dir(index);
    let candidates = [data_dir.join("wal"), data_dir.join("member").join("wal")];
    candidates.into_iter().find(|dir| dir.is_dir()).expect("a node has a log directory")
}

pub fn identity(cluster: Cluster) {
    flip(&cluster.data_dir(0).join("IDENTITY"), 12);
    start_is_refused(&cluster, &["IDENTITY", "damaged", "add it again"]);
}

pub fn log_gone(cluster: Cluster) {
    std::fs::remove_dir_all(wal(&cluster, 0)).expect("the log can be removed");
    start_is_refused(&cluster, &["Raft log", "is gone", "vote is lost", "add it again"]);
}

pub fn both_votes(cluster: Cluster) {
    for copy in ["meta.a", "meta.b"] {
        flip(&wal(&cluster, 0).join(copy), 30);
    }
    start_is_refused(&cluster, &["meta.a", "meta.b"]);
}

pub async fn one_vote(mut cluster: Cluster) {
    flip(&wal(&cluster, 0).join("meta.b"), 30);
    cluster.restart(0).await;
    let client = cluster.client();
    assert_eq!(client.get("key/").prefix().await.expect("a read").count, 3, "all writes are there");
    assert!(cluster.said(0).contains("meta.b"), "the log says what was repaired");
}

/// Where the payload of some entry is: a value that was written, found in a segment.
fn place_of(value: &[u8], dir: &Path) -> (PathBuf, usize) {
    for entry in std::fs::read_dir(dir).expect("a log directory").flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "seg") {
            let bytes = std::fs::read(&path).expect("a segment");
            if let Some(at) = bytes.windows(value.len()).position(|window| window == value) {
                return (path, at);
            }
        }
    }
    panic!("the value is in no segment");
}

/// One flipped bit in an acknowledged entry of one node of three: the node says so, does not lead, serves no wrong
/// read; the cluster goes on; the bytes around the damage are left alone.
pub async fn entry() {
    let mut cluster = Cluster::start(&Shape::holdfast(3)).await;
    let client = cluster.client();
    for number in 0..20 {
        client.put(format!("key/{number:02}"), format!("precious-{number:02}")).await.expect("a write");
    }
    cluster.wait_equal_hashes().await;
    let leader = cluster.wait_leader(None).await;
    let victim = (leader + 1) % 3;
    cluster.kill9(victim);
    let (segment, at) = place_of(b"precious-10", &wal(&cluster, victim));
    flip(&segment, at);
    let damaged = std::fs::read(&segment).expect("a segment");

    cluster.spawn(victim);
    cluster.wait_said(victim, "rotten entries").await;
    for number in 20..40 {
        client.put(format!("key/{number:02}"), format!("precious-{number:02}")).await.expect("a write");
    }
    // The leader dies: the damaged node votes for the other one, and does not lead itself.
    cluster.kill9(leader);
    let next = cluster.wait_leader(Some(leader)).await;
    assert_ne!(next, victim, "a node with holes in its log was elected");
    client.put("key/40", "precious-40").await.expect("a quorum of the two that are left");
    let found = until(PATIENCE, "answer to a read", || async {
        client.get("key/").prefix().await.map_err(|error| error.to_string())
    })
    .await;
    assert_eq!(found.count, 41, "every acknowledged write is there");
    assert!(cluster.is_running(victim), "the damaged node goes on voting");
    let now = std::fs::read(&segment).expect("a segment");
    assert_eq!(now[at - 64..at + 64], damaged[at - 64..at + 64], "what was rotten was written over");
}
