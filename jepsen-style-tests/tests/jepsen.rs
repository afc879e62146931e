//! Workloads over real processes, under random faults: the same that the simulator runs.

#![cfg(not(madsim))]

use std::sync::Arc;
use std::time::Duration;

use holdfast_jepsen::campaign;
use holdfast_jepsen::nemesis::{Class, Plan, Scope};
use holdfast_jepsen::workload::Kind;
use holdfast_jepsen::world::process::{ProcessWorld, Server};

/// Long enough for each class to strike.
const FAULTS: Duration = Duration::from_secs(10);
const SEED: u64 = 4;

#[tokio::test(flavor = "multi_thread")]
async fn registers_under_kills_and_pauses() {
    let classes = vec![Class::Kill, Class::Pause, Class::Restart];
    let zones = Some(["a", "b", "c"].map(str::to_owned).to_vec());
    let plan = Plan::draw(SEED, &Scope { classes, faults: FAULTS, zones });
    let world = Arc::new(ProcessWorld::start(Server::Holdfast, &plan).await);
    let report = campaign::run(world, &plan, Kind::Register).await;
    println!("{report}");
    let struck: u64 = report.hits.values().map(|hits| hits.struck).sum();
    assert!(report.tally.ok > 100 && struck > 0, "hardly anything was done, so hardly anything was tested: {report}");
    assert!(report.is_right(), "{report}\n{}", report.timeline.text());
}
