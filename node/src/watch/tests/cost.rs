//! What a publish costs. Measurements, not checks: run them with
//! `cargo test --release -p holdfast-node watch::tests::cost -- --ignored --nocapture`.
#![allow(clippy::disallowed_methods, reason = "it measures real time")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use holdfast_proto::etcdserverpb::WatchCreateRequest;

use super::world::{World, create, put};
use crate::mvcc::Revisioned;
use crate::types::Limits;
use crate::watch::{StreamOptions, WatchStream};

/// Opens `streams` streams with `watchers` watchers each; `range` gives the key and end of each.
fn open(world: &World, streams: usize, watchers: usize, range: impl Fn(usize) -> [String; 2]) -> Vec<WatchStream> {
    let options = StreamOptions::new(&Limits::default(), Duration::from_secs(600));
    (0..streams)
        .map(|stream| {
            let mut opened = world.hub.open(options.clone(), Arc::new(|| ()));
            for watcher in 0..watchers {
                let [key, range_end] = range(stream * watchers + watcher).map(Bytes::from);
                let request = WatchCreateRequest { key, range_end, ..WatchCreateRequest::default() };
                opened.handle(create(request), &world.engine, Duration::ZERO).unwrap();
            }
            opened
        })
        .collect()
}

fn measure(what: &str, world: &World, publishes: u32, key: impl Fn(u32) -> String) {
    let committed: Vec<Revisioned> =
        (0..publishes).filter_map(|number| world.commit(&[put(key(number), "v")])).collect();
    let started = Instant::now();
    for revisioned in &committed {
        world.hub.publish(std::slice::from_ref(revisioned));
    }
    let each = started.elapsed() / publishes;
    println!("{what}: {each:?} for each publish of one event; {:?}", world.hub.counts());
}

#[test]
#[ignore = "a measurement"]
fn a_hundred_thousand_watchers_of_single_keys() {
    let world = World::new(Limits::default());
    let streams = open(&world, 1000, 100, |number| [format!("key/{number:06}"), String::new()]);
    measure("100,000 single keys, none of them written", &world, 20_000, |number| format!("other/{number}"));
    measure("100,000 single keys, one of them written", &world, 20_000, |number| {
        format!("key/{:06}", number % 100_000)
    });
    drop(streams);
}

#[test]
#[ignore = "a measurement"]
fn a_thousand_watchers_of_ranges() {
    let world = World::new(Limits::default());
    let range = |number: usize| [format!("dir/{number:04}/"), format!("dir/{number:04}0")];
    let streams = open(&world, 1000, 1, range);
    measure("1,000 ranges side by side, none of them written", &world, 20_000, |number| format!("other/{number}"));
    measure("1,000 ranges side by side, one of them written", &world, 20_000, |number| {
        format!("dir/{:04}/a", number % 1000)
    });
    drop(streams);

    let streams = open(&world, 1000, 1, |_| ["dir/".to_owned(), "dir0".to_owned()]);
    measure("1,000 streams watching one range, which is written", &world, 1000, |_| "dir/a".to_owned());
    drop(streams);
}
