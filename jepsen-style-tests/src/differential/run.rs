//! A run: rounds of steps on fresh servers, until enough was asked or something differed that is not known.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use holdfast_proto::etcdserverpb::watch_request::RequestUnion;
use holdfast_proto::etcdserverpb::{
    AuthUserGetRequest, WatchCancelRequest, WatchCreateRequest, WatchProgressRequest, WatchResponse,
};

use super::generate::{Generator, Planned, Step, Who};
use super::known::{ETCD_ENDED, ETCD_REMEMBERS, known};
use super::request::{Answer, Reply, Request};
use super::side::{PATIENCE, Side};
use super::watching::{Stream, Told, WatchStep};
use super::{Difference, Outcome, Report};
use crate::world::process::Shape;

/// A stream of its own watches everything from the first revision on.
const WITNESS: usize = usize::MAX;
/// A stream that is there for one answer.
const PEEK: usize = usize::MAX - 1;
/// One round of so many is with authentication.
const AUTH_EVERY: u64 = 3;
/// Passwords are hashed all the time; the lowest cost there is.
const HASH_COST: u32 = 4;
/// etcd looks after watchers that start in the past every 100 ms.
const CATCH_UP: Duration = Duration::from_millis(150);
/// For events to be equal on both sides.
const SETTLE: Duration = Duration::from_secs(10);
/// Between looks at what watchers were told.
const PAUSE: Duration = Duration::from_millis(2);

pub struct Options {
    pub seed: u64,
    pub requests: u64,
    /// Requests before the servers are replaced by fresh ones, with the next seed.
    pub round: u64,
    pub etcd: PathBuf,
    /// Print each step.
    pub verbose: bool,
}

/// A difference that is not known, and how to see it again.
pub struct Found {
    pub seed: u64,
    /// The number of requests after which it shows.
    pub requests: u64,
    pub difference: Difference,
    pub logs: String,
}

/// Runs until the number of requests is reached.
pub async fn run(options: &Options, report: &mut Report) -> Result<(), Box<Found>> {
    let mut seed = options.seed;
    while report.requests() < options.requests {
        let left = options.requests - report.requests();
        report.rounds += 1;
        let mut round = Round::start(options, seed).await;
        round.run(left.min(options.round), report).await?;
        eprintln!("seed {seed}: {} of {} requests are alike", report.requests(), options.requests);
        seed += 1;
    }
    Ok(())
}

struct Round {
    seed: u64,
    verbose: bool,
    etcd: Side,
    holdfast: Side,
    generator: Generator,
    /// The newest revision that the reference has shown.
    revision: i64,
    /// When the last watcher was created that starts in the past.
    past_watcher: Option<Instant>,
    /// Watchers that live, by stream and id, with the revision they start at.
    live: BTreeMap<(usize, i64), i64>,
}

impl Round {
    async fn start(options: &Options, seed: u64) -> Self {
        let etcd = Shape::etcd(1).program(options.etcd.clone()).flag("--unsafe-no-fsync", true);
        let etcd = etcd.flag("--bcrypt-cost", HASH_COST);
        let holdfast = Shape::holdfast(1).flag("--bcrypt-cost", HASH_COST);
        let (etcd, holdfast) = tokio::join!(Side::start(&etcd), Side::start(&holdfast));
        let is_with_auth = seed % AUTH_EVERY == AUTH_EVERY - 1;
        Self {
            seed,
            verbose: options.verbose,
            etcd,
            holdfast,
            generator: if is_with_auth { Generator::with_auth(seed) } else { Generator::new(seed) },
            revision: 1,
            past_watcher: None,
            live: BTreeMap::new(),
        }
    }

    async fn run(&mut self, requests: u64, report: &mut Report) -> Result<(), Box<Found>> {
        for number in 1..=requests {
            let planned = self.generator.step();
            if self.verbose {
                eprintln!("{}/{number}: {planned:?}", self.seed);
            }
            let differences = self.step(&planned, report).await;
            for difference in differences {
                if let Some(known) = known(&difference) {
                    report.note_known(known);
                    continue;
                }
                if (ETCD_ENDED.is)(&difference) && self.etcd_has_ended().await {
                    report.note_known(&ETCD_ENDED);
                    return Ok(());
                }
                if (ETCD_REMEMBERS.is)(&difference) && self.has_no_roles(&difference.who).await {
                    report.note_known(&ETCD_REMEMBERS);
                    return Ok(());
                }
                return Err(Box::new(self.found(number, difference)));
            }
        }
        Ok(())
    }

    /// Whether the reference itself says that this user may do nothing.
    async fn has_no_roles(&mut self, who: &Who) -> bool {
        let Who::User(name) = who else { return false };
        let asked = Request::UserGet(AuthUserGetRequest { name: (*name).to_owned() });
        matches!(self.etcd.ask(&Who::User("root"), asked).await,
            Answer::Given(reply) if matches!(&*reply, Reply::UserGet(user) if user.roles.is_empty()))
    }

    /// The connection breaks a moment before the process is gone.
    async fn etcd_has_ended(&mut self) -> bool {
        let begun = Instant::now();
        while self.etcd.is_running() && begun.elapsed() < SETTLE {
            tokio::time::sleep(PAUSE).await;
        }
        !self.etcd.is_running()
    }

    fn found(&mut self, requests: u64, difference: Difference) -> Found {
        let mut logs = String::new();
        for (name, side) in [("etcd", &mut self.etcd), ("holdfast", &mut self.holdfast)] {
            if !side.is_running() {
                logs.push_str(&format!("---- {name} has ended; the end of its log:\n{}\n", side.log()));
            }
        }
        Found { seed: self.seed, requests, difference, logs }
    }

    async fn step(&mut self, planned: &Planned, report: &mut Report) -> Vec<Difference> {
        match &planned.step {
            Step::Ask(request) => {
                let mut found = Vec::new();
                // What a compaction drops, a watcher that is not that far yet would miss.
                if matches!(request, Request::Compact(_)) {
                    found.extend(self.settle(planned).await);
                }
                let who = &planned.who;
                let (etcd, holdfast) =
                    tokio::join!(self.etcd.ask(who, request.clone()), self.holdfast.ask(who, request.clone()));
                report.note(planned.step.name(), !matches!(etcd, Answer::Given(_)));
                self.revision = self.revision.max(etcd.revision().unwrap_or(0));
                self.generator.learn(request, &etcd);
                if etcd != holdfast {
                    found.push(difference(planned, Outcome::Answer(etcd), Outcome::Answer(holdfast)));
                }
                found
            }
            Step::Watch(watch) => {
                report.note(planned.step.name(), false);
                self.watch(planned, watch).await
            }
        }
    }

    async fn watch(&mut self, step: &Planned, watch: &WatchStep) -> Vec<Difference> {
        match watch {
            WatchStep::Witness => self.peek(step, WITNESS, &everything()).await,
            WatchStep::Open { stream } => {
                self.open(*stream, &step.who);
                Vec::new()
            }
            WatchStep::Peek { request } => {
                let found = self.peek(step, PEEK, request).await;
                self.etcd.streams.remove(&PEEK);
                self.holdfast.streams.remove(&PEEK);
                found
            }
            WatchStep::Create { stream, request } => self.create(step, *stream, request).await,
            WatchStep::Cancel { stream, watch_id } => {
                let mut found = self.settle(step).await;
                // etcd says once more that it is canceled; Holdfast says nothing of a watcher that is gone.
                if has_ended(&self.etcd.streams[stream], *watch_id) {
                    return found;
                }
                let request = RequestUnion::CancelRequest(WatchCancelRequest { watch_id: *watch_id });
                if self.live.remove(&(*stream, *watch_id)).is_none() {
                    // No answer is due; one that comes is found when watchers are compared.
                    self.send(*stream, request).await;
                    return found;
                }
                let (etcd, holdfast) = self.ask_on_stream(*stream, request).await;
                found.extend(differing_replies(step, etcd, holdfast));
                found
            }
            WatchStep::Progress { stream } => {
                let mut found = self.settle(step).await;
                if self.has_progress(*stream) {
                    let request = RequestUnion::ProgressRequest(WatchProgressRequest {});
                    let (etcd, holdfast) = self.ask_on_stream(*stream, request).await;
                    found.extend(differing_replies(step, etcd, holdfast));
                }
                found
            }
            WatchStep::Settle => self.settle(step).await,
            WatchStep::Close { stream } => {
                let found = self.settle(step).await;
                self.etcd.streams.remove(stream);
                self.holdfast.streams.remove(stream);
                self.live.retain(|(of, _), _| of != stream);
                found
            }
        }
    }

    /// The first watcher of a new stream.
    async fn peek(&mut self, step: &Planned, stream: usize, request: &WatchCreateRequest) -> Vec<Difference> {
        self.open(stream, &step.who);
        let (etcd, holdfast) = self.ask_on_stream(stream, RequestUnion::CreateRequest(request.clone())).await;
        differing_replies(step, etcd, holdfast).into_iter().collect()
    }

    async fn create(&mut self, step: &Planned, stream: usize, request: &WatchCreateRequest) -> Vec<Difference> {
        // The id of a watcher that it ended is taken in etcd until the client cancels it.
        if has_ended(&self.etcd.streams[&stream], request.watch_id) {
            return Vec::new();
        }
        let (etcd, holdfast) = self.ask_on_stream(stream, RequestUnion::CreateRequest(request.clone())).await;
        if let Some(created) = etcd.as_ref().filter(|reply| reply.created && !reply.canceled) {
            self.live.insert((stream, created.watch_id), request.start_revision);
        }
        if request.start_revision != 0 {
            self.past_watcher = Some(Instant::now());
        }
        differing_replies(step, etcd, holdfast).into_iter().collect()
    }

    /// etcd 3.5.1 says how far a stream is whatever its watchers wait for; Holdfast, as later versions, only once all
    /// of them are that far, and not on a stream without any. Where both are bound to answer, the answers are compared.
    fn has_progress(&self, stream: usize) -> bool {
        let mut of_stream = self.live.iter().filter(|((of, _), _)| *of == stream).peekable();
        of_stream.peek().is_some() && of_stream.all(|(_, start)| *start <= self.revision)
    }

    fn open(&mut self, stream: usize, who: &Who) {
        self.etcd.open(stream, who);
        self.holdfast.open(stream, who);
    }

    async fn send(&mut self, stream: usize, request: RequestUnion) {
        for side in [&mut self.etcd, &mut self.holdfast] {
            if let Some(stream) = side.streams.get_mut(&stream) {
                stream.send(request.clone()).await;
            }
        }
    }

    async fn ask_on_stream(
        &mut self,
        stream: usize,
        request: RequestUnion,
    ) -> (Option<WatchResponse>, Option<WatchResponse>) {
        self.send(stream, request).await;
        let reply = async |side: &mut Side| match side.streams.get_mut(&stream) {
            Some(open) => open.reply(&side.names, PATIENCE).await,
            None => None,
        };
        tokio::join!(reply(&mut self.etcd), reply(&mut self.holdfast))
    }

    /// Waits until all watchers on both sides have been told the same, and all there is to tell.
    async fn settle(&mut self, step: &Planned) -> Vec<Difference> {
        if let Some(created) = self.past_watcher.take() {
            tokio::time::sleep(CATCH_UP.saturating_sub(created.elapsed())).await;
        }
        let begun = Instant::now();
        let mut alike_before = false;
        loop {
            self.etcd.drain();
            self.holdfast.drain();
            let is_alike = self.witnesses_are_there() && self.are_alike();
            // Twice in a row: what was under way to a watcher when the witness heard of it is there by then.
            if is_alike && alike_before {
                self.forget_ended();
                return Vec::new();
            }
            alike_before = is_alike;
            if begun.elapsed() > SETTLE {
                return self.differing_streams(step);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn witnesses_are_there(&self) -> bool {
        [&self.etcd, &self.holdfast].iter().all(|side| newest_told(&side.streams[&WITNESS]) >= self.revision)
            || self.revision == 1
    }

    fn are_alike(&self) -> bool {
        let pairs = self.etcd.streams.values().zip(self.holdfast.streams.values());
        pairs.into_iter().all(|(one, other)| {
            one.told == other.told && one.ended.is_none() && other.ended.is_none() && !has_unasked(one, other)
        })
    }

    /// Watchers that the server ended.
    fn forget_ended(&mut self) {
        let streams = &self.etcd.streams;
        self.live.retain(|(stream, id), _| streams.get(stream).is_none_or(|stream| !has_ended(stream, *id)));
    }

    fn differing_streams(&self, step: &Planned) -> Vec<Difference> {
        let told = |side: &Side, other: &Side| {
            let differing = side.streams.iter().flat_map(|(number, stream)| {
                let others = &other.streams[number].told;
                let differing = stream.told.iter().filter(move |(id, told)| others.get(id) != Some(told));
                differing.map(move |(id, told)| (*number, *id, told.clone()))
            });
            differing.collect::<Vec<_>>()
        };
        let (etcd, holdfast) = (told(&self.etcd, &self.holdfast), told(&self.holdfast, &self.etcd));
        if !etcd.is_empty() || !holdfast.is_empty() {
            return vec![difference(step, Outcome::Told(etcd), Outcome::Told(holdfast))];
        }
        let unasked = |side: &Side| side.streams.values().find_map(|stream| stream.unasked().first().cloned());
        let (one, other) = (unasked(&self.etcd), unasked(&self.holdfast));
        if one.is_some() || other.is_some() {
            return differing_replies(step, one, other).into_iter().collect();
        }
        let ended = |side: &Side| {
            side.streams.iter().map(|(number, stream)| (*number, stream.ended.clone())).collect::<Vec<_>>()
        };
        vec![difference(step, Outcome::Ended(ended(&self.etcd)), Outcome::Ended(ended(&self.holdfast)))]
    }
}

fn has_ended(stream: &Stream, watcher: i64) -> bool {
    matches!(stream.told.get(&watcher).and_then(|told| told.last()), Some(Told::Ended { .. }))
}

fn has_unasked(one: &Stream, other: &Stream) -> bool {
    !one.unasked().is_empty() || !other.unasked().is_empty()
}

fn newest_told(stream: &Stream) -> i64 {
    let newest = stream.told.values().flatten().rev().find_map(|told| match told {
        Told::Event(event) => event.kv.as_ref().map(|kv| kv.mod_revision),
        Told::Ended { .. } => None,
    });
    newest.unwrap_or(1)
}

/// A watch on all keys there will be.
fn everything() -> WatchCreateRequest {
    WatchCreateRequest {
        key: b"\0".as_slice().into(),
        range_end: b"\0".as_slice().into(),
        start_revision: 1,
        prev_kv: true,
        ..WatchCreateRequest::default()
    }
}

fn differing_replies(
    step: &Planned,
    etcd: Option<WatchResponse>,
    holdfast: Option<WatchResponse>,
) -> Option<Difference> {
    let boxed = |reply: Option<WatchResponse>| Outcome::WatchReply(reply.map(Box::new));
    (etcd != holdfast).then(|| difference(step, boxed(etcd), boxed(holdfast)))
}

fn difference(planned: &Planned, etcd: Outcome, holdfast: Outcome) -> Difference {
    let Planned { who, step } = planned.clone();
    Difference { who, step, etcd, holdfast }
}
