//! The nine properties of watch, checked against a plain list of what happened: ordered, unique, atomic per revision,
//! reliable, resumable, bookmarkable, right `prev_kv`, right create flag, right filter.
//!
//! Each seed draws its own limits, clients and mix of events. Streams take a step only when an owner would: after a
//! request, when woken, when the last step was not idle, when `wake_at` has come. So a wake that is lost shows as a
//! watcher that never hears the rest.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use holdfast_proto::etcdserverpb::watch_create_request::FilterType;
use holdfast_proto::etcdserverpb::{WatchCreateRequest, WatchResponse};
use holdfast_proto::mvccpb::Event;
use holdfast_proto::mvccpb::event::EventType;
use parking_lot::Mutex;

use super::chance::{Dice, Seen};
use super::hooked::Hooked;
use super::model::Model;
use super::world::{Change, World, ask_progress, cancel, create, put};
use crate::mvcc::Revisioned;
use crate::types::{KeyRange, Limits, Revision};
use crate::watch::{Hub, Step, StreamOptions, WatchStream};

const SEEDS: u64 = 2000;
const ACTIONS: usize = 250;
const PROGRESS_INTERVAL: Duration = Duration::from_secs(10);

#[test]
fn the_nine_properties() {
    let only = std::env::var("HOLDFAST_SEED").ok().map(|seed| seed.parse::<u64>().unwrap());
    let mut seen = Seen::default();
    for seed in only.map_or(0..SEEDS, |seed| seed..seed + 1) {
        let result = std::panic::catch_unwind(|| Run::new(seed).run());
        seen.merge(result.unwrap_or_else(|_| panic!("HOLDFAST_SEED={seed} reproduces it")));
    }
    if only.is_none() {
        seen.assert_all_taken();
    }
}

#[test]
fn a_seed_tells_one_story() {
    for seed in 0..20 {
        let told = || {
            let mut run = Run::new(seed);
            run.transcript = Some(Vec::new());
            run.act();
            run.transcript
        };
        assert_eq!(told(), told(), "seed {seed}");
    }
}

/// What a client knows of its watcher.
struct Watcher {
    request: WatchCreateRequest,
    /// First revision it is to hear of.
    start: i64,
    /// Everything up to here is claimed to have been sent.
    through: i64,
    received: Vec<Event>,
    /// Of an answer that is not complete yet.
    fragments: Vec<Event>,
    sent_last: Duration,
}

struct Client {
    stream: WatchStream,
    woken: Arc<AtomicBool>,
    /// The last step was not idle, or a request came since.
    busy: bool,
    wake_at: Option<Duration>,
    watchers: BTreeMap<i64, Watcher>,
    /// It asked for progress when this was published, and got no answer.
    asked: Option<i64>,
}

struct Run {
    world: World,
    dice: Dice,
    options: StreamOptions,
    limits: Limits,
    now: Duration,
    clients: Vec<Client>,
    unpublished: Arc<Mutex<Vec<Revisioned>>>,
    /// The state as streams see it: now and then something is published in the middle of a step.
    busy_engine: Hooked,
    model: Model,
    transcript: Option<Vec<WatchResponse>>,
    seen: Seen,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let limits = Limits {
            watcher_events_max: 1 + dice.index(8),
            watcher_bytes_max: 200 + dice.index(2000),
            ..Limits::default()
        };
        let options = StreamOptions {
            progress_interval: PROGRESS_INTERVAL,
            fragment_bytes_max: 100 + dice.index(300),
            step_bytes_max: 1 + dice.index(3000),
            chunk_bytes_max: 1 + dice.index(3000),
        };
        let world = World::new(limits.clone());
        let unpublished = Arc::default();
        let busy_engine = Hooked {
            engine: world.engine.clone(),
            before_view: publish_now_and_then(&world.hub, &unpublished, 1 + dice.below(5)),
            after_view: publish_now_and_then(&world.hub, &unpublished, 1 + dice.below(5)),
        };
        Self {
            world,
            dice,
            options,
            limits,
            now: Duration::ZERO,
            clients: Vec::new(),
            unpublished,
            busy_engine,
            model: Model::default(),
            transcript: None,
            seen: Seen::default(),
        }
    }

    fn run(mut self) -> Seen {
        self.act();
        self.finish();
        self.seen
    }

    fn act(&mut self) {
        for _ in 0..ACTIONS {
            match self.dice.below(100) {
                0..35 => self.commit(),
                35..55 => self.publish(),
                55..57 => self.compact(),
                57..58 => self.install(),
                58..62 => self.create(),
                62..63 => self.cancel(),
                63..66 => self.ask(),
                66..68 => self.now += Duration::from_secs(self.dice.below(8)),
                68..69 => self.disconnect(),
                _ => self.step_one(),
            }
            let counts = self.world.hub.counts();
            assert!(counts.pending_events <= counts.watchers * self.limits.watcher_events_max, "{counts:?}");
            self.seen.add("slow watchers", counts.slow_watchers);
        }
    }

    /// Everything is published, and everybody listens until there is nothing more to hear.
    fn finish(&mut self) {
        self.world.hub.publish(&std::mem::take(&mut *self.unpublished.lock()));
        for at in 0..self.clients.len() {
            for _ in 0..10_000 {
                if !self.is_due(at) {
                    break;
                }
                self.step(at);
            }
            assert!(!self.is_due(at), "a stream finds no rest");
        }
        let newest = self.world.horizon().revision.0;
        for client in &self.clients {
            for (id, watcher) in &client.watchers {
                assert_eq!(watcher.received, self.wanted(watcher, newest), "watch {id} did not hear everything");
                assert!(watcher.fragments.is_empty());
            }
            let in_future = client.watchers.values().any(|watcher| watcher.start > newest + 1);
            assert!(client.asked.is_none() || in_future, "a question was forgotten");
        }
    }

    // ---- What happens to the state ----

    fn commit(&mut self) {
        let mut changes = Vec::new();
        if self.dice.percent(8) {
            let start = self.dice.below(6);
            let end = start + 1 + self.dice.below(4);
            changes.push(Change::Delete { range: KeyRange::from_wire(key(start), key(end)) });
        } else {
            let first = self.dice.below(8);
            for at in 0..1 + self.dice.below(4) {
                let key = key((first + at) % 8);
                changes.push(if self.dice.percent(25) {
                    Change::Delete { range: KeyRange::from_wire(key, Bytes::new()) }
                } else {
                    put(key, vec![b'v'; self.dice.index(80)])
                });
            }
        }
        let committed = self.world.commit(&changes);
        self.model.apply(&changes, committed.as_ref().map(|revisioned| revisioned.revision.0));
        self.unpublished.lock().extend(committed);
    }

    fn publish(&mut self) {
        let mut unpublished = self.unpublished.lock();
        if !unpublished.is_empty() {
            let count = 1 + self.dice.index(unpublished.len());
            let batch: Vec<Revisioned> = unpublished.drain(..count).collect();
            self.world.hub.publish(&batch);
        }
    }

    fn compact(&mut self) {
        let horizon = self.world.horizon();
        let span = horizon.revision.0 - horizon.oldest().0;
        if span > 0 {
            let at = horizon.oldest().0 + 1 + i64::try_from(self.dice.below(span.unsigned_abs())).unwrap();
            self.world.compact(Revision(at));
        }
    }

    fn install(&mut self) {
        self.unpublished.lock().clear();
        self.world.hub.reset(self.world.horizon().revision);
    }

    // ---- What clients do ----

    fn client(&mut self) -> usize {
        if self.clients.len() < 3 && self.dice.percent(40) || self.clients.is_empty() {
            let woken = Arc::new(AtomicBool::new(false));
            let flag = woken.clone();
            let wake = Arc::new(move || flag.store(true, Ordering::Relaxed));
            let stream = self.world.hub.open(self.options.clone(), wake);
            let watchers = BTreeMap::new();
            self.clients.push(Client { stream, woken, busy: true, wake_at: None, watchers, asked: None });
            return self.clients.len() - 1;
        }
        self.dice.index(self.clients.len())
    }

    fn create(&mut self) {
        let at = self.client();
        let newest = self.world.horizon().revision.0;
        let start = self.dice.below(8);
        let range_end = match self.dice.below(4) {
            0 => key(start + 1 + self.dice.below(4)),
            1 => Bytes::from_static(b"\0"),
            _ => Bytes::new(),
        };
        let start_revision = match self.dice.below(4) {
            0 | 1 => 0,
            2 => 1 + i64::try_from(self.dice.below(newest.unsigned_abs())).unwrap(),
            _ => newest + i64::try_from(self.dice.below(6)).unwrap(),
        };
        let mut filters = Vec::new();
        if self.dice.percent(15) {
            filters.push(FilterType::Noput as i32);
        }
        if self.dice.percent(15) {
            filters.push(FilterType::Nodelete as i32);
        }
        let request = WatchCreateRequest {
            key: key(start),
            range_end,
            start_revision,
            progress_notify: self.dice.percent(40),
            filters,
            prev_kv: self.dice.percent(40),
            watch_id: 0,
            fragment: self.dice.percent(30),
        };
        self.send_create(at, request);
    }

    fn send_create(&mut self, at: usize, request: WatchCreateRequest) {
        let client = &mut self.clients[at];
        let reply = client.stream.handle(create(request.clone()), &self.world.engine, self.now).unwrap().unwrap();
        client.busy = true;
        assert!(reply.created && !reply.canceled, "{reply:?}");
        let revision = header_revision(&reply);
        assert_eq!(revision, self.world.horizon().revision.0);
        let start = if request.start_revision == 0 { revision + 1 } else { request.start_revision };
        let watcher = Watcher {
            request,
            start,
            through: start - 1,
            received: Vec::new(),
            fragments: Vec::new(),
            sent_last: self.now,
        };
        assert!(client.watchers.insert(reply.watch_id, watcher).is_none(), "an id is given out once");
        self.transcript.iter_mut().for_each(|transcript| transcript.push(reply.clone()));
    }

    fn cancel(&mut self) {
        let Some((at, id)) = self.any_watcher() else { return };
        let client = &mut self.clients[at];
        let reply = client.stream.handle(cancel(id), &self.world.engine, self.now).unwrap().unwrap();
        client.busy = true;
        assert!(reply.canceled && reply.watch_id == id);
        client.watchers.remove(&id);
    }

    fn any_watcher(&mut self) -> Option<(usize, i64)> {
        let all: Vec<(usize, i64)> = (self.clients.iter().enumerate())
            .flat_map(|(at, client)| client.watchers.keys().map(move |id| (at, *id)))
            .collect();
        if all.is_empty() { None } else { Some(all[self.dice.index(all.len())]) }
    }

    fn ask(&mut self) {
        let at = self.client();
        let published = self.world.hub.published().0;
        let client = &mut self.clients[at];
        assert!(client.stream.handle(ask_progress(), &self.world.engine, self.now).unwrap().is_none());
        client.busy = true;
        client.asked = Some(published);
    }

    /// A connection is lost. The client watches on from its bookmarks, on a new stream.
    fn disconnect(&mut self) {
        if self.clients.is_empty() {
            return;
        }
        let at = self.dice.index(self.clients.len());
        let client = self.clients.swap_remove(at);
        drop(client.stream);
        let at = self.client();
        for mut watcher in client.watchers.into_values() {
            watcher.request.start_revision = watcher.through + 1;
            let oldest = self.world.horizon().oldest().0;
            if watcher.through + 1 < oldest {
                continue;
            }
            self.send_create(at, watcher.request.clone());
            // It must go on exactly where it was.
            let resumed = self.clients[at].watchers.values_mut().last().expect("just created");
            (resumed.start, resumed.received) = (watcher.start, watcher.received);
            self.seen.add("resumed", 1);
        }
    }

    // ---- What clients are sent ----

    fn is_due(&self, at: usize) -> bool {
        let client = &self.clients[at];
        client.busy || client.woken.load(Ordering::Relaxed) || client.wake_at.is_some_and(|wake_at| wake_at <= self.now)
    }

    fn step_one(&mut self) {
        if !self.clients.is_empty() {
            let at = self.dice.index(self.clients.len());
            if self.is_due(at) {
                self.step(at);
            }
        }
    }

    fn step(&mut self, at: usize) {
        let client = &mut self.clients[at];
        client.woken.store(false, Ordering::Relaxed);
        let step = client.stream.next(&self.busy_engine, self.now).unwrap();
        client.busy = !matches!(step, Step::Idle { .. });
        match step {
            Step::Responses(responses) => responses.into_iter().for_each(|response| self.receive(at, response)),
            Step::Reading => self.seen.add("readings", 1),
            Step::Idle { wake_at } => client.wake_at = wake_at,
        }
        let client = &mut self.clients[at];
        if client.watchers.is_empty() {
            client.asked = None;
        }
    }

    fn receive(&mut self, at: usize, response: WatchResponse) {
        self.transcript.iter_mut().for_each(|transcript| transcript.push(response.clone()));
        let id = response.watch_id;
        assert!(!response.created);
        if response.canceled {
            let watcher = self.clients[at].watchers.remove(&id).expect("a live watcher");
            let oldest = self.world.horizon().oldest().0;
            assert_eq!(response.compact_revision, oldest);
            assert!(watcher.through + 1 < oldest, "canceled at {oldest}, but told through {}", watcher.through);
            self.seen.add("canceled by compaction", 1);
        } else if id == -1 {
            let revision = header_revision(&response);
            let asked = self.clients[at].asked;
            for watcher in self.clients[at].watchers.values() {
                assert_eq!(watcher.received, self.wanted(watcher, revision), "progress {revision} overtook an event");
            }
            // Another question may have come since the one that is answered.
            if asked.is_some_and(|asked| revision >= asked) {
                self.clients[at].asked = None;
            }
            self.seen.add("progress answers", 1);
        } else if response.events.is_empty() {
            self.receive_notice(at, &response);
        } else {
            self.receive_events(at, response);
        }
    }

    fn receive_notice(&mut self, at: usize, response: &WatchResponse) {
        let revision = header_revision(response);
        let now = self.now;
        let watcher = self.clients[at].watchers.get_mut(&response.watch_id).expect("a live watcher");
        assert!(watcher.request.progress_notify);
        assert!(now >= watcher.sent_last + PROGRESS_INTERVAL, "a notice, though it heard something");
        watcher.sent_last = now;
        self.bookmark(at, response.watch_id, revision);
        self.seen.add("progress notices", 1);
    }

    fn receive_events(&mut self, at: usize, response: WatchResponse) {
        let (id, revision) = (response.watch_id, header_revision(&response));
        let oldest = self.world.horizon().oldest().0;
        let watcher = self.clients[at].watchers.get_mut(&id).expect("a live watcher");
        watcher.sent_last = self.now;
        for event in response.events {
            let before = self.model.before(&event);
            let kv = event.kv.as_ref().unwrap();
            let is_known = kv.mod_revision > oldest;
            let prev_kv = before.filter(|_| watcher.request.prev_kv && is_known);
            assert_eq!(event.prev_kv.as_ref(), prev_kv, "of {event:?}");
            self.seen.add("previous", usize::from(prev_kv.is_some()));
            let is_lost = watcher.request.prev_kv && !is_known && before.is_some();
            self.seen.add("previous compacted", usize::from(is_lost));
            let is_put = event.r#type() == EventType::Put;
            assert_eq!(is_put && before.is_none(), is_put && kv.create_revision == kv.mod_revision);
            watcher.fragments.push(Event { prev_kv: None, ..event });
            self.seen.add("events", 1);
        }
        if response.fragment {
            assert!(watcher.request.fragment);
            self.seen.add("fragments", 1);
            return;
        }
        let complete = std::mem::take(&mut watcher.fragments);
        watcher.received.extend(complete);
        self.bookmark(at, id, revision);
    }

    /// A header that says everything up to `revision` was sent is held to it. Together with every answer being checked
    /// this is order, uniqueness, no gap, no half revision and the filter in one comparison.
    fn bookmark(&mut self, at: usize, id: i64, revision: i64) {
        let watcher = &self.clients[at].watchers[&id];
        assert_eq!(watcher.received, self.wanted(watcher, revision), "watch {id} told through {revision}");
        assert!(revision >= watcher.through, "a bookmark goes back");
        assert!(revision <= self.world.horizon().revision.0, "a bookmark of the future");
        self.clients[at].watchers.get_mut(&id).expect("it is there").through = revision;
    }

    /// What a watcher is to have heard once it was told everything through `revision`.
    fn wanted(&self, watcher: &Watcher, revision: i64) -> Vec<Event> {
        self.model.wanted(&watcher.request, watcher.start..=revision)
    }
}

/// Publishes the oldest of what was committed, every few times it is called.
fn publish_now_and_then(
    hub: &Arc<Hub>,
    unpublished: &Arc<Mutex<Vec<Revisioned>>>,
    every: u64,
) -> Box<dyn Fn() + Send + Sync> {
    let (hub, unpublished, calls) = (hub.clone(), unpublished.clone(), AtomicU64::new(0));
    Box::new(move || {
        let mut unpublished = unpublished.lock();
        if calls.fetch_add(1, Ordering::Relaxed).is_multiple_of(every) && !unpublished.is_empty() {
            hub.publish(&[unpublished.remove(0)]);
        }
    })
}

fn key(number: u64) -> Bytes {
    Bytes::from(format!("k{number:02}"))
}

fn header_revision(response: &WatchResponse) -> i64 {
    response.header.as_ref().unwrap().revision
}
