//! Streams on threads of their own beside a writer that never waits: the moments between commit, publish and the end
//! of catching up, which seeds on one thread cannot reach. Views close slowly, wakes return slowly and a
//! publish has many to pass, so that the windows are wide.
#![allow(clippy::disallowed_methods, reason = "real threads are the point")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use holdfast_proto::etcdserverpb::{WatchCreateRequest, WatchResponse};

use super::hooked::Hooked;
use super::world::{World, ask_progress, create, put};
use crate::types::{Limits, Revision};
use crate::watch::{Step, StreamOptions, WatchStream};

const ROUNDS: usize = 200;
const REVISIONS: i64 = 150;
const STREAMS: usize = 2;
const CROWD: usize = 300;
/// How long the last event may take to arrive before it counts as lost.
const PATIENCE: Duration = Duration::from_secs(20);

/// The revision each watcher hears of next. Every revision is an event of the watched key.
type Next = BTreeMap<i64, i64>;

#[test]
fn a_stream_beside_a_writer_hears_everything_once() {
    for round in 0..ROUNDS {
        let world = World::new(Limits { watcher_events_max: 1 + round % 20, ..Limits::default() });
        let crowd = crowd(&world);
        thread::scope(|scope| {
            for _ in 0..STREAMS {
                scope.spawn(|| listen(&world));
            }
            scope.spawn(|| write(&world, 1 + round % 7));
        });
        assert_eq!(world.hub.counts().watchers, crowd.watchers());
    }
}

/// Many watchers that come behind the others in every publish, and so make it last. They hear nothing.
fn crowd(world: &World) -> WatchStream {
    let options = StreamOptions::new(&Limits::default(), Duration::from_secs(600));
    let mut stream = world.hub.open(options, Arc::new(|| ()));
    for number in 0..CROWD {
        // The first of a key or range decides the order, so one stands in for the streams to come.
        let range_end = if number == 0 { "" } else { "b" }.into();
        let request = WatchCreateRequest { key: "a".into(), range_end, start_revision: i64::MAX, ..Default::default() };
        stream.handle(create(request), &world.engine, Duration::ZERO).unwrap();
    }
    stream
}

fn spin(time: Duration) {
    let started = Instant::now();
    while started.elapsed() < time {
        std::hint::spin_loop();
    }
}

fn write(world: &World, batch: usize) {
    let mut committed = Vec::new();
    for number in 1..=REVISIONS {
        committed.extend(world.commit(&[put("a", number.to_string())]));
        if committed.len() == batch || number == REVISIONS {
            world.hub.publish(&std::mem::take(&mut committed));
        }
    }
}

fn listen(world: &World) {
    let this = thread::current();
    let wake = Arc::new(move || {
        this.unpark();
        spin(Duration::from_micros(20));
    });
    let mut stream = world.hub.open(StreamOptions::new(&Limits::default(), Duration::from_secs(600)), wake);
    let after_view = Box::new(|| spin(Duration::from_micros(30)));
    let slow = Hooked { engine: world.engine.clone(), before_view: Box::new(|| ()), after_view };
    let mut next = Next::new();
    for turn in 0.. {
        // New watchers come while others are busy, some from now, some from the middle of history.
        if turn % 10 == 0 && next.len() < 20 {
            let newest = world.hub.published().0;
            add(&mut stream, world, if turn % 20 == 0 { 0 } else { 1 + newest / 2 }, &mut next);
        }
        if turn % 2 == 0 {
            stream.handle(ask_progress(), &world.engine, Duration::ZERO).unwrap();
        }
        match stream.next(&slow, Duration::ZERO).unwrap() {
            Step::Responses(responses) => responses.iter().for_each(|response| receive(response, &mut next)),
            Step::Reading => {}
            Step::Idle { .. } if next.values().all(|next| *next > REVISIONS + 1) => return,
            // Some look again at once: that may not hurt either.
            Step::Idle { .. } if turn % 3 == 0 && world.hub.published() < Revision(REVISIONS / 2) => {}
            Step::Idle { .. } => {
                let parked = Instant::now();
                thread::park_timeout(PATIENCE);
                assert!(parked.elapsed() < PATIENCE, "nobody woke the stream: {next:?}");
            }
        }
    }
}

fn add(stream: &mut WatchStream, world: &World, start_revision: i64, next: &mut Next) {
    let request = WatchCreateRequest { key: "a".into(), start_revision, ..WatchCreateRequest::default() };
    let created = stream.handle(create(request), &world.engine, Duration::ZERO).unwrap().unwrap();
    let now = created.header.unwrap().revision;
    next.insert(created.watch_id, if start_revision == 0 { now + 1 } else { start_revision.max(2) });
}

fn receive(response: &WatchResponse, next: &mut Next) {
    let through = response.header.as_ref().unwrap().revision;
    if response.watch_id == -1 {
        assert!(next.values().all(|next| *next > through), "progress {through} overtook an event: {next:?}");
        return;
    }
    let next = next.get_mut(&response.watch_id).unwrap();
    for event in &response.events {
        assert_eq!(event.kv.as_ref().unwrap().mod_revision, *next, "watch {}", response.watch_id);
        *next += 1;
    }
    assert_eq!(*next, through + 1, "the header is a bookmark");
}
