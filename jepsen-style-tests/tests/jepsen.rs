//! Workloads over real processes, under random faults: the same that the simulator runs.

#![cfg(not(madsim))]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use holdfast_jepsen::campaign;
use holdfast_jepsen::nemesis::{Class, Fault, Place, Plan, Scope};
use holdfast_jepsen::workload::Kind;
use holdfast_jepsen::world::World;
use holdfast_jepsen::world::process::{ProcessWorld, Program, Server, find};

/// etcd gives out a value as it finds it on its disk. That these runs say so shows that they can fail.
#[tokio::test(flavor = "multi_thread")]
async fn a_bit_that_flips_on_the_disk_of_an_etcd_is_seen() {
    if find(Program::Etcd).is_none() {
        println!("SKIPPED: etcd is not installed");
        return;
    }
    let scope = Scope { classes: Vec::new(), faults: FAULTS, zones: Some(vec!["a".to_owned()]) };
    let plan = Plan::draw(SEED, &scope);
    let world = Arc::new(ProcessWorld::start(Server::Etcd, &plan).await);
    let rotting = Arc::clone(&world);
    let rot = tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_secs(2)).await;
            rotting.strike(&Fault::Rot { node: 0, place: Place::State }).await;
        }
    });
    let report = campaign::run(world, &plan, Kind::Register).await;
    rot.abort();
    println!("{report}");
    let wrong_reads = report.violations.iter().filter(|violation| violation.property == "linearizable").count();
    assert!(wrong_reads > 0, "values were wrong, and nobody noticed: {report}\n{}", report.timeline.text());
}

/// Long enough for each class to strike.
const FAULTS: Duration = Duration::from_secs(10);
const SEED: u64 = 4;

async fn under(kind: Kind, seed: u64, classes: &[Class]) {
    let zones = Some(["a", "b", "c"].map(str::to_owned).to_vec());
    let plan = Plan::draw(seed, &Scope { classes: classes.to_vec(), faults: FAULTS, zones });
    let world = Arc::new(ProcessWorld::start(Server::Holdfast, &plan).await);
    let report = campaign::run(world, &plan, kind).await;
    println!("{report}");
    let struck: u64 = report.hits.values().map(|hits| hits.struck).sum();
    assert!(report.tally.ok > 20 && struck > 0, "hardly anything was done, so hardly anything was tested: {report}");
    report.insist(Path::new(env!("CARGO_TARGET_TMPDIR")), "cargo test -p holdfast-jepsen --test jepsen");
}

const ENDS_AND_PAUSES: [Class; 3] = [Class::Kill, Class::Pause, Class::Restart];

#[tokio::test(flavor = "multi_thread")]
async fn registers_under_kills_and_pauses() {
    under(Kind::Register, SEED, &ENDS_AND_PAUSES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn most_workloads_at_once_under_kills_and_pauses() {
    under(Kind::Mixed, SEED, &ENDS_AND_PAUSES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_of_the_past_under_kills_and_pauses() {
    under(Kind::Compaction, SEED, &ENDS_AND_PAUSES).await;
}

/// Where no disk of a node's own can be mounted, links alone are struck.
#[tokio::test(flavor = "multi_thread")]
async fn registers_over_bad_links_and_disks() {
    let classes = [Class::OneWay, Class::Flap, Class::Delay, Class::PowerLoss, Class::HungDisk];
    under(Kind::Register, 20, &classes).await;
}
