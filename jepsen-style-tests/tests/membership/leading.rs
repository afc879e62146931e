//! Leadership is handed to those who can take it.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use holdfast_jepsen::world::process::{Cluster, NodeIndex, Shape};

/// A segment is 64 MiB, most of it zeros. What the story wrote lies right behind 1 MiB of identifiers.
const WRITTEN_BYTES_MAX: u64 = 2 << 20;

/// Turns a bit of a value that was written, wherever it lies in the node's log.
fn rot(wal: &Path, value: &[u8]) {
    for entry in std::fs::read_dir(wal).expect("a log directory").flatten() {
        let file = File::options().read(true).write(true).open(entry.path()).expect("a file of the log");
        let mut bytes = Vec::new();
        (&file).take(WRITTEN_BYTES_MAX).read_to_end(&mut bytes).expect("the file can be read");
        if let Some(at) = bytes.windows(value.len()).position(|window| window == value) {
            return file.write_all_at(&[bytes[at] ^ 1], at as u64).expect("the file can be written");
        }
    }
    panic!("the value is in no file of the log");
}

async fn with_a_rotten_member() -> (Cluster, NodeIndex) {
    let mut cluster = Cluster::start(&Shape::holdfast(3)).await;
    let client = cluster.client();
    for number in 0..20 {
        client.put(format!("key/{number:02}"), format!("precious-{number:02}")).await.expect("a write");
    }
    cluster.wait_equal_hashes().await;
    let leader = cluster.wait_leader(None).await;
    let rotten = (leader + 1) % 3;
    cluster.kill9(rotten);
    rot(&cluster.data_dir(rotten).join("wal"), b"precious-10");
    cluster.spawn(rotten);
    cluster.wait_said(rotten, "rotten entries").await;
    client.put("later", "x").await.expect("a write");
    (cluster, rotten)
}

/// How a node says that it hands leadership over.
fn hands_over_to(id: u64) -> String {
    format!(r#""leadership is handed over","to":"{id:x}""#)
}

/// On a machine that is short of time the two sound members may elect each other at any moment, so who leads is asked
/// for before each step.
pub async fn not_to_a_rotten_log() {
    let (mut cluster, rotten) = with_a_rotten_member().await;
    let id = cluster.member_id(rotten).await;
    let refused = cluster.client().move_leader(id).await.expect_err("a member that cannot lead").to_string();
    assert!(refused.contains("bad leader transferee"), "{refused}");

    let leader = cluster.wait_leader(None).await;
    let other = (0..3).find(|node| ![leader, rotten].contains(node)).expect("a third");
    cluster.move_leader(other).await;
    let (other_id, said) = (cluster.member_id(other).await, cluster.said(leader) + &cluster.said(other));
    assert!(said.contains(&hands_over_to(other_id)), "{said}");

    let leader = cluster.wait_leader(None).await;
    assert_ne!(leader, rotten);
    cluster.terminate(leader).await;
    assert!(!cluster.said(leader).contains(&hands_over_to(id)), "{}", cluster.said(leader));
    assert_ne!(cluster.wait_leader(Some(leader)).await, rotten);
    cluster.client().put("still", "x").await.expect("a quorum of the two that are left");
}
