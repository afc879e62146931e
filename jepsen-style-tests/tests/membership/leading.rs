//! Leadership is handed to those who can take it.

use std::path::Path;

use holdfast_jepsen::world::process::{Cluster, NodeIndex, Shape};

/// Turns a bit of a value that was written, wherever it lies in the node's log.
fn rot(wal: &Path, value: &[u8]) {
    for entry in std::fs::read_dir(wal).expect("a log directory").flatten() {
        let mut bytes = std::fs::read(entry.path()).expect("a file of the log");
        if let Some(at) = bytes.windows(value.len()).position(|window| window == value) {
            bytes[at] ^= 1;
            return std::fs::write(entry.path(), bytes).expect("the file can be written");
        }
    }
    panic!("the value is in no file of the log");
}

async fn with_a_rotten_member() -> (Cluster, NodeIndex, NodeIndex, NodeIndex) {
    let mut cluster = Cluster::start(&Shape::holdfast(3)).await;
    let client = cluster.client();
    for number in 0..20 {
        client.put(format!("key/{number:02}"), format!("precious-{number:02}")).await.expect("a write");
    }
    cluster.wait_equal_hashes().await;
    let leader = cluster.wait_leader(None).await;
    let (rotten, sound) = ((leader + 1) % 3, (leader + 2) % 3);
    cluster.kill9(rotten);
    rot(&cluster.data_dir(rotten).join("wal"), b"precious-10");
    cluster.spawn(rotten);
    cluster.wait_said(rotten, "rotten entries").await;
    client.put("later", "x").await.expect("a write");
    (cluster, leader, rotten, sound)
}

pub async fn not_to_a_rotten_log() {
    let (mut cluster, leader, rotten, sound) = with_a_rotten_member().await;
    let id = cluster.member_id(rotten).await;
    let refused = cluster.client().move_leader(id).await.expect_err("a member that cannot lead").to_string();
    assert!(refused.contains("bad leader transferee"), "{refused}");
    assert_eq!(cluster.wait_leader(None).await, leader, "the refusal cost nothing");

    cluster.terminate(leader).await;
    assert_eq!(cluster.wait_leader(Some(leader)).await, sound);
    assert!(!cluster.said(leader).contains("leadership was not handed over"), "{}", cluster.said(leader));
    cluster.client().put("still", "x").await.expect("a quorum of the two that are left");
}
