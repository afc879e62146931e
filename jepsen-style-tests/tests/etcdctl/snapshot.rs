//! The way back: a snapshot of Holdfast, restored by etcd's own tool, is an etcd with the same data and history.

use std::path::Path;
use std::time::Duration;

use holdfast_jepsen::world::process::{Cluster, Ran, Shape, run};

use crate::Pair;
use crate::restored::live;

const LIMIT: Duration = Duration::from_secs(30);

fn ask(etcdctl: &Path, args: &[&str]) -> Ran {
    let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
    let ran = tokio::task::block_in_place(|| run(etcdctl, &args, "", LIMIT));
    assert_eq!(ran.code, Some(0), "etcdctl {args:?}: {}", ran.said());
    ran
}

/// Everything one of them holds, as etcdctl shows it, but for who says so.
fn everything(etcdctl: &Path, cluster: &Cluster) -> Vec<String> {
    let endpoints = format!("--endpoints={}", cluster.endpoint(0));
    let asked: [&[&str]; 5] = [
        &["get", "", "--prefix", "--write-out=fields"],
        &["get", "", "--prefix", "--rev=60", "--write-out=fields"],
        &["lease", "list"],
        &["user", "get", "ann"],
        &["role", "get", "r"],
    ];
    let own = ["\"ClusterID\"", "\"MemberID\"", "\"RaftTerm\""];
    let answers = asked.into_iter().map(|args| {
        let said = ask(etcdctl, &[&[endpoints.as_str()], args].concat()).out();
        said.lines()
            .filter(|line| !own.iter().any(|name| line.starts_with(name)))
            .map(|line| format!("{line}\n"))
            .collect()
    });
    answers.collect()
}

pub async fn becomes_an_etcd(pair: Option<Pair>) {
    let Some(Pair { etcdctl, etcd }) = pair else { return };
    let cluster = Cluster::start(&Shape::holdfast(1)).await;
    let client = cluster.client();
    live(&client).await;

    let file = cluster.folder().join("saved.db").display().to_string();
    ask(&etcdctl, &[&format!("--endpoints={}", cluster.endpoint(0)), "snapshot", "save", &file]);
    let status = ask(&etcdctl, &["snapshot", "status", &file, "--write-out=json"]).out();
    let newest = client.get("leased").await.expect("read").header.expect("a header").revision;
    assert!(status.contains(&format!("\"revision\":{newest}")), "{newest}: {status}");

    let mut restored = Cluster::lay_out(&Shape::etcd(1).program(etcd));
    let (name, peer) = (restored.name(0).to_owned(), restored.peer_url(0));
    let data_dir = restored.data_dir(0).display().to_string();
    let (initial, own) = (format!("--initial-cluster={name}={peer}"), format!("--initial-advertise-peer-urls={peer}"));
    let (named, data_dir) = (format!("--name={name}"), format!("--data-dir={data_dir}"));
    ask(&etcdctl, &["snapshot", "restore", &file, &named, &initial, &own, &data_dir]);
    restored.restart(0).await;
    let (ours, theirs) = (everything(&etcdctl, &cluster), everything(&etcdctl, &restored));
    assert_eq!(ours, theirs);
    assert!(ours[0].contains("large/2") && ours[1].contains("key/07"), "there was something to compare");
}
