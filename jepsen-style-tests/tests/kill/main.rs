//! Processes that are killed, stopped and emptied, while clients write.
//!
//! HOLDFAST_KILL_ROUNDS says how often (3; the record is made with 100). HOLDFAST_JEPSEN_SERVER=etcd runs the same on
//! etcd; HOLDFAST_BIG=1 runs the story of a large store too. Outages are measured from the signal to the answer of the
//! first write that was sent after it.

#![cfg(not(madsim))]

mod big;
mod graceful;
mod leases;
mod paused;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use holdfast_jepsen::world::process::{Cluster, Findings, Load, NodeIndex, Shape};

const WRITERS: usize = 8;
const VALUE_BYTES: usize = 100;
const PREFIX: &str = "load/";
/// Writes between two blows.
const BREATH: u64 = 50;

fn rounds() -> usize {
    match std::env::var("HOLDFAST_KILL_ROUNDS") {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("HOLDFAST_KILL_ROUNDS is {text:?}, not a number")),
        Err(_) => 3,
    }
}

/// For blows that take longer: a fifth of the rounds.
fn few_rounds() -> usize {
    rounds().div_ceil(5)
}

fn report(what: &str, mut outages: Vec<Duration>, findings: Findings) {
    outages.sort();
    let ms: Vec<u128> = outages.iter().map(Duration::as_millis).collect();
    let (p50, max) = (ms[ms.len() / 2], ms[ms.len() - 1]);
    println!("{what}: {} rounds, outage p50 {p50} ms, max {max} ms; {findings}", ms.len());
    println!("  outages in ms: {ms:?}");
}

/// Stops the writers and checks that everything they were promised is there, on all nodes alike.
async fn settle(cluster: &mut Cluster, load: Load) -> Findings {
    let ledger = load.stop().await;
    cluster.wait_equal_hashes().await;
    let findings = ledger.check(&cluster.client(), PREFIX).await;
    assert!(findings.acknowledged > 0, "nothing was written, so nothing was tested");
    findings
}

/// One blow after another, each against the nodes that `choose` names; they come back before the next.
async fn strike(what: &str, rounds: usize, choose: impl Fn(NodeIndex, usize) -> Vec<NodeIndex>) {
    let mut cluster = Cluster::start(&Shape::from_env(3)).await;
    let load = Load::start(&cluster, PREFIX, WRITERS, VALUE_BYTES);
    let mut outages = Vec::with_capacity(rounds);
    for round in 0..rounds {
        load.more(BREATH).await;
        let leader = cluster.wait_leader(None).await;
        let targets = choose(leader, round);
        let quorum_lives = targets.len() < cluster.len().div_ceil(2);
        let blow = || {
            targets.iter().for_each(|target| cluster.kill9(*target));
            if !quorum_lives {
                targets.iter().for_each(|target| cluster.spawn(*target));
            }
        };
        outages.push(load.outage(blow).await);
        if quorum_lives {
            load.more(BREATH).await;
            targets.iter().for_each(|target| cluster.spawn(*target));
        }
        for target in targets {
            cluster.wait_caught_up(target).await;
        }
    }
    let findings = settle(&mut cluster, load).await;
    report(what, outages, findings);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leader_is_killed_again_and_again() {
    strike("leader killed", rounds(), |leader, _| vec![leader]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_is_killed_again_and_again() {
    strike("follower killed", rounds(), |leader, round| vec![(leader + 1 + round % 2) % 3]).await;
}

/// The outage contains the time that the nodes need to start.
#[tokio::test(flavor = "multi_thread")]
async fn all_nodes_are_killed_at_once() {
    strike("all killed and started", few_rounds(), |_, _| vec![0, 1, 2]).await;
}

/// Without a quorum nothing is acknowledged and nothing is read, except where the reader says that old is good enough.
#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_are_killed_and_the_third_promises_nothing() {
    let mut cluster = Cluster::start(&Shape::from_env(3)).await;
    let load = Load::start(&cluster, PREFIX, WRITERS, VALUE_BYTES);
    let mut outages = Vec::new();
    for round in 0..few_rounds() {
        load.more(BREATH).await;
        // The survivor is the leader in one round and a follower in the next.
        let leader = cluster.wait_leader(None).await;
        let survivor = if round % 2 == 0 { leader } else { (leader + 1) % 3 };
        let killed: Vec<NodeIndex> = (0..3).filter(|index| *index != survivor).collect();
        killed.iter().for_each(|index| cluster.kill9(*index));

        let alone = cluster.client_of(survivor, Duration::from_secs(3));
        let write = alone.put("alone", "x").await;
        assert!(write.is_err(), "a node without a quorum acknowledged a write: {write:?}");
        let read = alone.get("load/").prefix().limit(1).await;
        assert!(read.is_err(), "a node without a quorum answered a linearizable read: {read:?}");
        let old = alone.get("load/").prefix().limit(1).serializable().await;
        assert_eq!(old.expect("a serializable read needs no quorum").kvs.len(), 1);

        let back = || killed.iter().for_each(|index| cluster.spawn(*index));
        outages.push(load.outage(back).await);
        for index in killed {
            cluster.wait_caught_up(index).await;
        }
    }
    let findings = settle(&mut cluster, load).await;
    report("two killed and started, outage from the start on", outages, findings);
}

/// Stopped in order, started again: nothing is gone, and the leader leaves without an election's wait.
#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_loses_nothing() {
    let mut cluster = Cluster::start(&Shape::from_env(3)).await;
    let load = Load::start(&cluster, PREFIX, WRITERS, VALUE_BYTES);
    let leader = cluster.wait_leader(None).await;
    let mut longest = Duration::ZERO;
    for index in [(leader + 1) % 3, (leader + 2) % 3, leader] {
        load.more(BREATH).await;
        let begun = Instant::now();
        let status = cluster.terminate(index).await;
        // etcd ends itself with the signal it was sent; what counts is that the node did not fail.
        let by_signal = std::os::unix::process::ExitStatusExt::signal(&status) == Some(15);
        assert!(status.success() || by_signal, "{} ended with {status}", cluster.name(index));
        longest = longest.max(load.outage(|| ()).await + begun.elapsed());
        cluster.restart(index).await;
    }
    let findings = settle(&mut cluster, load).await;
    println!(
        "rolling restart: at most {} ms until a node was gone and a write answered; {findings}",
        longest.as_millis()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_there_after_all_nodes_were_stopped() {
    let mut cluster = Cluster::start(&Shape::from_env(3)).await;
    let load = Load::start(&cluster, PREFIX, WRITERS, VALUE_BYTES);
    load.more(500).await;
    let ledger = load.stop().await;
    let before = cluster.wait_equal_hashes().await;
    for index in 0..3 {
        cluster.terminate(index).await;
    }
    (0..3).for_each(|index| cluster.spawn(index));
    cluster.wait_formed().await;
    assert_eq!(cluster.wait_equal_hashes().await, before, "a restart changed the history");
    let findings = ledger.check(&cluster.client(), PREFIX).await;
    println!("all stopped and started: {findings}");
}

/// A follower that was away while the log was cut comes back by a checkpoint.
#[tokio::test(flavor = "multi_thread")]
async fn an_emptied_node_is_refused_and_joins_anew() {
    let shape = Shape::from_env(3).flag("--snapshot-count", 500);
    let mut cluster = Cluster::start(&shape).await;
    let load = Load::start(&cluster, PREFIX, WRITERS, 1000);
    // More than the log keeps for followers that lag.
    load.more(2_000).await;
    let leader = cluster.wait_leader(None).await;
    let emptied = (leader + 1) % 3;
    cluster.kill9(emptied);
    cluster.wipe(emptied);

    cluster.spawn(emptied);
    let status = cluster.wait_exit(emptied).await;
    assert!(!status.success(), "a node whose vote is lost started as if it were new");
    let said = cluster.said(emptied);
    assert!(said.contains("has already been bootstrapped"), "{said}");
    load.more(BREATH).await;

    cluster.remove_member(emptied).await;
    let removed_at = load.acknowledged();
    if cluster.data_dir(emptied).exists() {
        cluster.wipe(emptied);
    }
    cluster.add_member(emptied, holdfast_client::JoinAs::Voter).await;
    cluster.restart(emptied).await;
    assert!(load.acknowledged() > removed_at, "writes stood still while the node joined");
    load.more(BREATH).await;
    let ids: BTreeSet<u64> = cluster.members().await.iter().map(|member| member.id).collect();
    assert_eq!(ids.len(), 3);
    let findings = settle(&mut cluster, load).await;
    println!("emptied, removed, added again: {findings}");
}

/// A place that was never there: a learner joins under load, is promoted, and carries the cluster when another dies.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_node_joins_as_a_learner_and_is_promoted_under_load() {
    let mut cluster = Cluster::start(&Shape::from_env(3)).await;
    let load = Load::start(&cluster, PREFIX, WRITERS, VALUE_BYTES);
    load.more(200).await;
    let joiner = cluster.add_machine("d");
    let id = cluster.add_member(joiner, holdfast_client::JoinAs::Learner).await;
    cluster.spawn(joiner);
    cluster.wait_caught_up(joiner).await;
    let refused = cluster.client_of(joiner, Duration::from_secs(2)).put("to-a-learner", "x").await;
    assert!(refused.is_err(), "a learner took a write: {refused:?}");
    cluster.promote(id).await;
    load.more(BREATH).await;
    let listed = cluster.members().await.into_iter().find(|member| member.id == id).expect("the new member is listed");
    assert!(!listed.is_learner && listed.name == cluster.name(joiner), "{listed:?}");
    let leader = cluster.wait_leader(None).await;
    let outage = load.outage(|| cluster.kill9(leader)).await;
    cluster.restart(leader).await;
    let findings = settle(&mut cluster, load).await;
    println!("learner promoted, then the leader killed: outage {} ms; {findings}", outage.as_millis());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_leader_answers_no_stale_read() {
    paused::no_stale_read(rounds()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_is_renewed_survives_its_leader() {
    leases::a_renewed_lease_survives(few_rounds() + 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_ends_not_before_its_time() {
    leases::a_lease_ends_not_before_its_time(few_rounds()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_stopped_in_order_is_not_missed() {
    graceful::stopped(rounds()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leadership_that_is_moved_is_not_missed() {
    graceful::moved(rounds()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_store_comes_back_and_is_given_on() {
    if std::env::var_os("HOLDFAST_BIG").is_none() {
        println!("SKIPPED: it takes minutes and gigabytes; HOLDFAST_BIG=1 runs it");
        return;
    }
    big::story().await;
}
