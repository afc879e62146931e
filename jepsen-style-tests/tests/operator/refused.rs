//! Starts and requests that are refused, with what is said about them.

use std::time::Duration;

use holdfast_jepsen::world::process::{Cluster, Ran, Shape, holdfast_bin, run};

/// A refusal comes at once.
const LIMIT: Duration = Duration::from_secs(20);
/// The exit code of a command line that cannot be understood.
const MISUSED: i32 = 2;

pub fn serve(args: &[&str]) -> Ran {
    let args: Vec<String> = std::iter::once("serve").chain(args.iter().copied()).map(str::to_owned).collect();
    run(&holdfast_bin(), &args, "", LIMIT)
}

/// It ended with a failure and said all of these words.
pub fn expect_words(ran: &Ran, words: &[&str]) {
    let said = ran.said();
    assert_ne!(ran.code, Some(0), "it should have failed, and said:\n{said}");
    for word in words {
        assert!(said.contains(word), "it should have said {word:?}, and said:\n{said}");
    }
}

pub fn wrong_settings() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data_dir = folder.path().join("data").display().to_string();
    let table: [(&[&str], &[&str]); 5] = [
        (&["--election-timeout", "soon"], &["--election-timeout", "soon", "whole number"]),
        (&["--election-timeout", "100"], &["--election-timeout", "--heartbeat-interval"]),
        (&["--listen-client-urls", "127.0.0.1:2379"], &["--listen-client-urls", "127.0.0.1:2379"]),
        (&["--initial-cluster", "other=http://127.0.0.1:2380"], &["--initial-cluster", "default"]),
        (&["--no-such-flag"], &["--no-such-flag"]),
    ];
    for (args, words) in table {
        let mut all = vec!["--data-dir", data_dir.as_str()];
        all.extend(args);
        let ran = serve(&all);
        expect_words(&ran, words);
        assert_eq!(ran.code, Some(MISUSED), "{args:?}: {}", ran.said());
    }
    assert!(!folder.path().join("data").exists(), "a refused start leaves nothing behind");
}

pub fn unknown_key() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("holdfast.yaml");
    std::fs::write(&file, "election-timout: 500\n").expect("a file can be written");
    let ran = serve(&["--config-file", &file.display().to_string()]);
    expect_words(&ran, &["election-timout", "did you mean", "election-timeout"]);
}

pub fn port_in_use(port: u16) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let url = format!("http://127.0.0.1:{port}");
    let data_dir = folder.path().display().to_string();
    let ran = serve(&["--data-dir", &data_dir, "--listen-client-urls", &url, "--advertise-client-urls", &url]);
    expect_words(&ran, &[&url, "cannot listen", "another process"]);
}

pub fn file_as_data_dir() {
    let mut cluster = Cluster::lay_out(&Shape::holdfast(1));
    let file = cluster.folder().join("not-a-directory");
    std::fs::write(&file, "not a directory").expect("a file can be written");
    cluster.set_data_dir(0, file.clone());
    let ran = run(&holdfast_bin(), &cluster.args(0), "", LIMIT);
    expect_words(&ran, &[&file.display().to_string(), "check that the directory"]);
    assert_eq!(std::fs::read_to_string(&file).expect("the file is there"), "not a directory");
}

pub fn data_of_another(cluster: Cluster) {
    let mut args = cluster.args(0);
    let name = cluster.name(0).to_owned();
    // The same command line under another name, as when two units were mixed up.
    for arg in &mut args {
        *arg = arg.replace(&format!("--name={name}"), "--name=intruder").replace(&format!("{name}="), "intruder=");
        if *arg == name {
            *arg = "intruder".to_owned();
        }
    }
    let ran = run(&holdfast_bin(), &args, "", LIMIT);
    expect_words(&ran, &["data directory belongs to member", &name, "intruder"]);
}

pub async fn too_large() {
    let cluster = Cluster::start(&Shape::holdfast(1)).await;
    let client = cluster.client();
    let large = client.put("large", vec![b'x'; 1600 * 1024]).await;
    let refused = large.expect_err("a request over the limit").to_string();
    assert!(refused.contains("etcdserver: request is too large"), "{refused}");
    client.put("small", "x").await.expect("the next one is served");
    assert_eq!(client.get("large").await.expect("a read").count, 0, "a refused write leaves nothing");
}
