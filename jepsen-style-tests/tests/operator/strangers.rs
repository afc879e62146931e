//! Nodes of two clusters that are pointed at one another: neither takes anything from the other.

use std::time::Duration;

use holdfast_client::JoinAs;
use holdfast_jepsen::world::process::{Cluster, PATIENCE, Shape, holdfast_bin, run, until};

use crate::refused::expect_words;

/// A node that joins asks ten times before it gives up.
const LIMIT: Duration = Duration::from_secs(30);
const KEYS: usize = 30;

async fn cluster_with_keys(nodes: usize, prefix: &str) -> Cluster {
    let cluster = Cluster::start(&Shape::holdfast(nodes)).await;
    put(&cluster, prefix, 0..KEYS).await;
    cluster
}

async fn put(cluster: &Cluster, prefix: &str, numbers: std::ops::Range<usize>) {
    let client = cluster.client();
    for number in numbers {
        client.put(format!("{prefix}/{number:03}"), format!("{number}")).await.expect("a write is acknowledged");
    }
}

/// All keys of its own, none of a stranger's, and the next write is taken.
async fn expect_unharmed(cluster: &mut Cluster, prefix: &str, keys: usize) {
    put(cluster, prefix, keys..keys + 1).await;
    let all = cluster.client().get("").prefix().await.expect("a read");
    assert_eq!(all.count, i64::try_from(keys + 1).expect("a small number"));
    assert!(all.kvs.iter().all(|kv| kv.key.starts_with(prefix.as_bytes())), "keys of another cluster");
}

/// The command line of a node that is started with the members of `cluster` as its peers.
fn stranger(cluster: &mut Cluster, state: &str, token: &str) -> Vec<String> {
    let peers: Vec<String> =
        (0..cluster.len()).map(|node| format!("{}={}", cluster.name(node), cluster.peer_url(node))).collect();
    let new = cluster.add_machine("d");
    let all = format!("{},{}={}", peers.join(","), cluster.name(new), cluster.peer_url(new));
    let replaced = ["--initial-cluster=", "--initial-cluster-token=", "--initial-cluster-state="];
    let mut args = cluster.args(new);
    args.retain(|arg| !replaced.iter().any(|flag| arg.starts_with(flag)));
    args.extend(
        [all, token.to_owned(), state.to_owned()].iter().zip(replaced).map(|(value, flag)| flag.to_owned() + value),
    );
    args
}

/// A node that would found another cluster with members of ours: another token, or a list with one more.
pub async fn another_token() {
    let mut cluster = cluster_with_keys(3, "ours").await;
    let before = cluster.wait_equal_hashes().await;
    let same_cluster_other_list = stranger(&mut cluster, "new", "process-world");
    let other_token = stranger(&mut cluster, "new", "another-token");
    let not_added = stranger(&mut cluster, "existing", "process-world");
    for args in [same_cluster_other_list, other_token] {
        let ran = run(&holdfast_bin(), &args, "", LIMIT);
        expect_words(&ran, &["belongs to cluster", &cluster.peer_url(0), "--initial-cluster-token", "existing"]);
    }
    let ran = run(&holdfast_bin(), &not_added, "", LIMIT);
    expect_words(&ran, &["does not know a member with the peer URLs", "member add"]);
    cluster.forget_machines(3);
    assert_eq!(cluster.wait_equal_hashes().await, before, "a stranger changed something");
    expect_unharmed(&mut cluster, "ours", KEYS).await;
}

/// A member of ours that lost its disk and comes back with another token is refused as well: it would vote afresh.
pub async fn emptied_with_another_token() {
    let mut cluster = cluster_with_keys(3, "ours").await;
    cluster.kill9(2);
    cluster.wipe(2);
    let mut args = cluster.args(2);
    args.push("--initial-cluster-token=another-token".to_owned());
    args.retain(|arg| arg != "--initial-cluster-token=process-world");
    let ran = run(&holdfast_bin(), &args, "", LIMIT);
    expect_words(&ran, &["belongs to cluster", "--initial-cluster-token"]);
    let all = cluster.client().get("ours/").prefix().await.expect("a read");
    assert_eq!(all.count, i64::try_from(KEYS).expect("a small number"));
}

/// Another cluster takes a member of ours for its own learner: our member refuses its entries, both go on.
pub async fn adopted_by_another_cluster() {
    let mut ours = cluster_with_keys(3, "ours").await;
    let mut theirs = cluster_with_keys(1, "theirs").await;
    let leader = ours.wait_leader(None).await;
    let before = (ours.wait_equal_hashes().await, ours.status(leader).await.expect("a leader answers").raft_term);
    let client = theirs.client();
    until(PATIENCE, "addition of a member", || async {
        client.member_add([ours.peer_url(leader)], JoinAs::Learner).await.map_err(|error| error.to_string())
    })
    .await;
    theirs.wait_said(0, "cluster ID mismatch").await;
    put(&theirs, "theirs", KEYS..KEYS * 2).await;
    let after = (ours.wait_equal_hashes().await, ours.status(leader).await.expect("a leader answers").raft_term);
    assert_eq!(after, before, "a stranger changed something");
    expect_unharmed(&mut ours, "ours", KEYS).await;
    expect_unharmed(&mut theirs, "theirs", KEYS * 2).await;
}
