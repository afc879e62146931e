//! Data directories have one process at a time.

use std::time::Duration;

use holdfast_jepsen::world::process::{Cluster, holdfast_bin, run};

/// A refusal comes at once.
const LIMIT: Duration = Duration::from_secs(20);

/// The second process reads and repairs nothing; the first goes on.
pub async fn in_use(cluster: Cluster) {
    let client = cluster.client();
    client.put("before", "x").await.expect("a write");
    let wal = cluster.data_dir(0).join("wal");

    let ran = run(&holdfast_bin(), &cluster.args(0), "", LIMIT);
    assert_ne!(ran.code, Some(0));
    let data_dir = cluster.data_dir(0).display().to_string();
    for word in [data_dir.as_str(), "is in use by another process", "--data-dir"] {
        assert!(ran.said().contains(word), "it should have said {word:?}, and said:\n{}", ran.said());
    }
    assert!(!ran.said().contains("raft log"), "the log was opened:\n{}", ran.said());

    // A directory of its own, but the other one's log.
    let own = cluster.folder().join("own");
    let mut args = cluster.args(0);
    for arg in &mut args {
        *arg = arg.replace(&data_dir, &own.display().to_string());
    }
    args.push(format!("--wal-dir={}", wal.display()));
    let ran = run(&holdfast_bin(), &args, "", LIMIT);
    assert!(ran.said().contains("is in use by another process"), "{}", ran.said());

    client.put("after", "x").await.expect("the first process goes on");
}
