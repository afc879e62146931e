//! The order of things: for each event a cluster of each server is started, then each round strikes them in turn.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use super::FailoverError;
use super::args::FailoverArgs;
use super::event::{Event, Scene};
use super::record::{Record, Round};
use super::stream::Stream;
use crate::bench::{circumstances, load_average};
use crate::world::process::{Cluster, Shape, SmallDisk, holdfast_bin};

/// Sparse: a disk takes the room that is written.
const DISK_MB: u64 = 1024;
/// Acknowledged writes before a blow, and after it.
const WARM_UP: u64 = 60;
/// What still happens after a fault has ended belongs to its round.
const AFTERWARDS: Duration = Duration::from_millis(300);

pub(super) async fn run(args: &FailoverArgs) -> Result<Record, FailoverError> {
    let (contenders, shapes): (Vec<_>, Vec<_>) = args.contenders()?.into_iter().unzip();
    let program = args.holdfast.clone().unwrap_or_else(holdfast_bin);
    let fresh = Record {
        contenders,
        every_ms: args.every_ms,
        fault_ms: args.fault_ms,
        rounds: BTreeMap::new(),
        circumstances: Vec::new(),
    };
    let mut record = Record::open(args.record.as_deref(), fresh)?;
    let events = if args.events.is_empty() { Event::ALL.to_vec() } else { args.events.clone() };
    let sides = 0..record.contenders.len();
    let wanted = usize::try_from(args.rounds).unwrap_or(usize::MAX);
    let is_done = |record: &Record, event| sides.clone().all(|side| record.of(event, side).len() >= wanted);
    for event in events {
        if is_done(&record, event) {
            continue;
        }
        match start_all(event, &shapes).await {
            Ok(sides) => {
                record.note(&circumstances(&program));
                rounds(event, sides, args, &mut record).await?;
            }
            Err(why) => println!("{}: left out: {why}", event.title()),
        }
    }
    Ok(record)
}

/// One cluster, and its last round while requests of it are under way.
struct Side {
    scene: Scene,
    ending: Option<JoinHandle<Round>>,
}

async fn start_all(event: Event, shapes: &[Shape]) -> Result<Vec<Side>, String> {
    let mut sides = Vec::new();
    for shape in shapes {
        sides.push(Side { scene: start(event, shape).await?, ending: None });
    }
    Ok(sides)
}

async fn start(event: Event, shape: &Shape) -> Result<Scene, String> {
    if !event.needs_disks() {
        return Ok(Scene { cluster: Cluster::start(shape).await, disks: Vec::new() });
    }
    let disks = shape.zones.iter().map(|_| SmallDisk::mount(DISK_MB)).collect::<Result<Vec<_>, _>>()?;
    let mut cluster = Cluster::lay_out(shape);
    for (index, disk) in disks.iter().enumerate() {
        cluster.set_data_dir(index, disk.root().join("data"));
    }
    (0..cluster.len()).for_each(|index| cluster.spawn(index));
    cluster.wait_formed().await;
    Ok(Scene { cluster, disks })
}

async fn rounds(
    event: Event,
    mut sides: Vec<Side>,
    args: &FailoverArgs,
    record: &mut Record,
) -> Result<(), FailoverError> {
    let count = usize::try_from(args.rounds).unwrap_or(usize::MAX);
    let done: Vec<usize> = (0..sides.len()).map(|index| record.of(event, index).len()).collect();
    let all: Vec<usize> = (0..sides.len()).collect();
    for number in done.iter().copied().min().unwrap_or(count)..count {
        // Who is first changes, so that nobody always follows the same neighbour.
        let order: Vec<usize> = if number % 2 == 0 { all.clone() } else { all.iter().rev().copied().collect() };
        for index in order.into_iter().filter(|index| done[*index] <= number) {
            let side = &mut sides[index];
            side.ended(event, index, record).await;
            let begun = Instant::now();
            side.ending = Some(one_round(event, &mut side.scene, args).await);
            println!("{}, {}: {:.1} s", event.title(), record.contenders[index].label, begun.elapsed().as_secs_f64());
        }
        record.save(args.record.as_deref())?;
    }
    for (index, side) in sides.iter_mut().enumerate() {
        side.ended(event, index, record).await;
        side.scene.cluster.wait_equal_hashes().await;
    }
    record.save(args.record.as_deref())
}

impl Side {
    /// Waits for the requests of the last round, and writes the round down.
    async fn ended(&mut self, event: Event, index: usize, record: &mut Record) {
        let Some(ending) = self.ending.take() else { return };
        let round = ending.await.expect("a round does not panic");
        let (label, number) = (&record.contenders[index].label, record.of(event, index).len() + 1);
        println!("{}, {label}, round {number}: {round:?}", event.title());
        record.push(event, index, round);
    }
}

/// Returns when the cluster is whole again; the round is complete when its last request has ended.
async fn one_round(event: Event, scene: &mut Scene, args: &FailoverArgs) -> JoinHandle<Round> {
    scene.cluster.wait_formed().await;
    let leader = scene.cluster.wait_leader(None).await;
    let stream = Stream::start(&scene.cluster, args.every());
    stream.more(WARM_UP).await;
    let round = stream.begin();
    event.happen(scene, leader, &stream, args.fault()).await;
    stream.more(WARM_UP).await;
    tokio::time::sleep(AFTERWARDS).await;
    let outage = stream.longest_silence();
    stream.stop();
    let ending = tokio::spawn(async move {
        stream.drain().await;
        let counted = round.lock().clone();
        let outage_us = u64::try_from(outage.as_micros()).unwrap_or(u64::MAX);
        Round { outage_us, load: load_average(), ..counted }
    });
    scene.cluster.wait_caught_up(leader).await;
    ending
}
