//! etcdctl, unmodified, asks a Holdfast cluster and an etcd cluster the same questions; the answers are compared.
//!
//! ```text
//!   script.txt --Step--> Session(Holdfast) --Ran--> normal --\
//!                    \-> Session(etcd)     --Ran--> normal ---> equal, or in the table of differences.rs
//! ```
//!
//! Skipped, aloud, where etcdctl or etcd is not installed. HOLDFAST_ETCDCTL_BIN and HOLDFAST_ETCD_BIN name other
//! versions than those in PATH; HOLDFAST_JEPSEN_SERVER=etcd compares etcd with itself, which must find nothing;
//! HOLDFAST_CHECK_PERF=1 runs `check perf` too, which takes a minute.

#![cfg(not(madsim))]

mod differences;
mod normal;
mod script;
mod session;

use std::path::PathBuf;
use std::sync::Arc;

use holdfast_jepsen::world::process::{Cluster, Program, Shape, find};

use script::Step;
use session::Session;

fn installed() -> Option<PathBuf> {
    let (etcdctl, etcd) = (find(Program::Etcdctl), find(Program::Etcd));
    if etcdctl.is_none() || etcd.is_none() {
        println!("SKIPPED: etcdctl: {etcdctl:?}, etcd: {etcd:?}; `apt install etcd-client etcd-server` brings both");
        return None;
    }
    etcdctl
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

#[tokio::test(flavor = "multi_thread")]
async fn etcdctl_gets_the_same_answers() {
    let Some(etcdctl) = installed() else { return };
    let steps = Arc::new(script::steps(include_str!("script.txt")));
    // Side by side: each is a fresh cluster, and neither waits for the other.
    let ours = tokio::spawn(answers(Shape::from_env(3), etcdctl.clone(), Arc::clone(&steps)));
    let theirs = tokio::spawn(answers(Shape::etcd(3), etcdctl, Arc::clone(&steps)));
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

/// etcd's own load check. Its verdict on throughput depends on the machine; that it gets through does not.
#[tokio::test(flavor = "multi_thread")]
async fn check_perf_gets_through() {
    let Some(etcdctl) = installed() else { return };
    if std::env::var_os("HOLDFAST_CHECK_PERF").is_none() {
        println!("SKIPPED: it takes a minute; HOLDFAST_CHECK_PERF=1 runs it");
        return;
    }
    let mut session = Session::begin(Cluster::start(&Shape::from_env(3)).await, &etcdctl).await;
    let ran = session.check_perf().await;
    println!("{}", ran.said());
    assert!(ran.code.is_some() && !ran.out().contains("FAIL: too many errors"), "{}", ran.said());
    assert!(ran.out().contains("Throughput"), "{}", ran.said());
}
