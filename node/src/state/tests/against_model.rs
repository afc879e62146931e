//! Random commands on the store and on the model: the same answers, the same events, the same history, however much
//! of it was swept.

use std::sync::Arc;

use holdfast_proto::log;
use holdfast_proto::log::command::Request;
use holdfast_proto::log::outcome::Result as Answer;

use super::model::{Happened, Model};
use super::random::Dice;
use super::rows;
use crate::lease;
use crate::mvcc::{self, Event, EventKind, HashPass, HashStep, Horizon, ReadError, Rev};
use crate::state::{Entry, EntryPayload, Machine};
use crate::storage::{Column, Engine};
use crate::types::{LeaseId, LogId, Revision};

const SEEDS: u64 = 600;
const COMMANDS: u64 = 60;
const TERM: u64 = 3;

struct Pair {
    seed: u64,
    dice: Dice,
    /// Swept now and then.
    engine: Arc<dyn Engine>,
    /// Never swept.
    unswept: Arc<dyn Engine>,
    model: Model,
    index: u64,
}

#[test]
fn the_store_answers_as_the_model_does() {
    for seed in 0..SEEDS {
        let mut pair = Pair {
            seed,
            dice: Dice(seed),
            engine: super::engine(),
            unswept: super::engine(),
            model: Model::new(),
            index: 0,
        };
        for _ in 0..COMMANDS {
            pair.command();
            pair.read();
            if pair.dice.one_in(5) {
                pair.sweep_some();
            }
        }
        pair.sweep_all();
        pair.compare_disk();
    }
}

impl Pair {
    fn command(&mut self) {
        let command = self.dice.command(self.model.revision, TERM);
        let shown = format!("seed {} command {}: {command:?}", self.seed, self.index);
        let before = self.model.events.len();
        let expected = self.model.apply(&command, TERM);

        self.index += 1;
        let batch = log::Batch { stamped_unix_ms: self.index, commands: vec![command] };
        let log_id = LogId { term: TERM, index: self.index };
        let entry = Entry { log_id, payload: EntryPayload::Commands(batch) };
        let effects = Machine.apply(&*self.engine.view(), std::slice::from_ref(&entry)).unwrap();
        let same = Machine.apply(&*self.unswept.view(), &[entry]).unwrap();
        assert_eq!(effects, same, "{shown}\nsweeping made a difference");

        let answer = effects.outcomes[0][0].result.clone().unwrap();
        match (answer, expected) {
            (Answer::Refusal(refused), expected) => {
                assert_eq!(expected.map_err(|reason| reason as i32), Err(refused.reason), "{shown}\n{refused:?}");
            }
            (answer, expected) => assert_eq!(Ok(answer), expected, "{shown}"),
        }
        let published: Vec<&Event> = effects.published.iter().flat_map(|made| &made.events).collect();
        self.compare_events(&published, &self.model.events[before..], &shown);
        assert_eq!(effects.revision.0, self.model.revision, "{shown}");
        self.engine.write(effects.batch).unwrap();
        self.unswept.write(same.batch).unwrap();
    }

    fn compare_events(&self, events: &[&Event], expected: &[Happened], shown: &str) {
        assert_eq!(events.len(), expected.len(), "{shown}");
        for (event, expected) in events.iter().zip(expected) {
            assert_eq!(event.to_key_value(), expected.kv, "{shown}");
            assert_eq!((event.rev.main.0, event.rev.sub), (expected.kv.mod_revision, expected.sub), "{shown}");
            assert_eq!(event.kind == EventKind::Put, expected.kv.version > 0, "{shown}");
            assert_eq!(event.prev, self.replaced_by(expected), "{shown}");
        }
    }

    fn replaced_by(&self, event: &Happened) -> Option<Rev> {
        let place = |event: &Happened| Rev { main: Revision(event.kv.mod_revision), sub: event.sub };
        let earlier = self.model.events.iter().take_while(|earlier| place(earlier) < place(event));
        let previous = earlier.filter(|earlier| earlier.kv.key == event.kv.key).last();
        previous.filter(|previous| previous.kv.version > 0).map(place)
    }

    fn read(&mut self) {
        for _ in 0..4 {
            let request = self.dice.get(self.model.revision);
            let answer = mvcc::range(&*self.engine.view(), &request);
            let expected = self.model.range(&request, self.model.revision);
            let shown = format!("seed {} after command {}: {request:?}", self.seed, self.index);
            match answer {
                Ok(answer) => assert_eq!(Ok(answer), expected, "{shown}"),
                Err(error) => assert_eq!(Some(reason_of(&error)), expected.err(), "{shown}\n{error}"),
            }
        }
        self.read_history();
        self.compare_hashes();
        for id in 0..4 {
            let live = self.model.live(b"\0", b"\0", i64::MAX);
            let expected: Vec<_> = live.into_iter().filter(|kv| kv.lease == id && id != 0).map(|kv| kv.key).collect();
            assert_eq!(
                lease::attached_keys(&*self.engine.view(), LeaseId(id)).unwrap(),
                expected,
                "seed {}",
                self.seed
            );
        }
    }

    fn read_history(&mut self) {
        let shown = format!("seed {} after command {}", self.seed, self.index);
        let (oldest, newest) = (self.model.oldest().max(1), self.model.revision);
        let from = oldest + self.dice.below((newest - oldest + 2) as u64) as i64;
        let limit_bytes = self.dice.below(900) as usize;
        let view = self.engine.view();
        let chunk = mvcc::history(&*view, Revision(from), Revision(newest), limit_bytes).unwrap();
        assert!(chunk.next.0 > from || from > newest, "{shown}: no progress");
        let in_chunk = |event: &&Happened| (from..chunk.next.0).contains(&event.kv.mod_revision);
        let expected: Vec<Happened> = self.model.events.iter().filter(in_chunk).cloned().collect();
        self.compare_events(&chunk.events.iter().collect::<Vec<_>>(), &expected, &shown);

        let horizon = Horizon::load(&*view).unwrap();
        for event in &chunk.events {
            let prev_kv = mvcc::prev_kv(&*view, &horizon, event).unwrap();
            let same = mvcc::prev_kv(&*self.unswept.view(), &horizon, event).unwrap();
            assert_eq!(prev_kv, same, "{shown}: sweeping made a difference to {event:?}");
            // A revision that changes a key twice has both changes replace what was there before it.
            let is_known = event.prev.is_some() && event.rev.main.0 > self.model.oldest();
            let before = is_known.then(|| self.model.live(&event.key, b"", event.rev.main.0 - 1).pop()).flatten();
            assert_eq!(prev_kv, before, "{shown}: before {event:?}");
        }
    }

    /// In steps on one side, at once on the other.
    fn compare_hashes(&mut self) {
        let (oldest, newest) = (self.model.oldest(), self.model.revision);
        let at = Revision(oldest + self.dice.below((newest - oldest + 1) as u64) as i64);
        let (view, unswept) = (self.engine.view(), self.unswept.view());
        let mut pass = HashPass::begin(&*view, at).unwrap();
        let hash = loop {
            if let HashStep::Done(hash) = pass.step(&*view, 1 + self.dice.below(5) as usize).unwrap() {
                break hash;
            }
        };
        assert_eq!(mvcc::hash_kv(&*unswept, at).unwrap(), hash, "seed {} after command {}", self.seed, self.index);
    }

    fn sweep_some(&mut self) {
        for _ in 0..self.dice.below(4) {
            let step = mvcc::sweep(&*self.engine.view(), 1 + self.dice.below(4) as usize).unwrap();
            self.engine.write(step.batch).unwrap();
        }
    }

    fn sweep_all(&mut self) {
        loop {
            let step = mvcc::sweep(&*self.engine.view(), 3).unwrap();
            self.engine.write(step.batch).unwrap();
            if step.done {
                break;
            }
        }
        assert_eq!(mvcc::swept(&*self.engine.view()).unwrap().0, self.model.oldest());
    }

    /// After a full sweep the disk holds what compaction left, and nothing else.
    fn compare_disk(&self) {
        let view = self.engine.view();
        let on_disk: Vec<_> =
            rows(&*view, Column::History).into_iter().map(|(rev, _)| Rev::decode(&rev).unwrap()).collect();
        let expected = self.model.visible();
        let expected: Vec<_> =
            expected.iter().map(|event| Rev { main: Revision(event.kv.mod_revision), sub: event.sub }).collect();
        assert_eq!(on_disk, expected, "seed {}, compacted {}", self.seed, self.model.oldest());
        assert_eq!(rows(&*view, Column::Versions).len(), expected.len(), "seed {}", self.seed);
    }
}

fn reason_of(error: &ReadError) -> log::refusal::Reason {
    match error {
        ReadError::Compacted { .. } => log::refusal::Reason::Compacted,
        ReadError::FutureRevision { .. } => log::refusal::Reason::FutureRevision,
        other => panic!("{other}"),
    }
}

/// The commands above must not mostly be refused, or they would show nothing.
#[test]
fn random_commands_reach_every_kind_of_answer() {
    let mut seen = std::collections::BTreeMap::<String, usize>::new();
    for seed in 0..50 {
        let (mut dice, mut model) = (Dice(seed), Model::new());
        for _ in 0..COMMANDS {
            let command = dice.command(model.revision, TERM);
            let kind = match command.request.as_ref().unwrap() {
                Request::Txn(_) => "txn",
                Request::Put(_) => "put",
                _ => "other",
            };
            let answer = model.apply(&command, TERM).map_or_else(|reason| format!("{reason:?}"), |_| "done".into());
            *seen.entry(format!("{kind} {answer}")).or_default() += 1;
        }
    }
    for wanted in ["put done", "txn done", "put KeyNotFound", "txn LeaseNotFound", "txn Compacted", "put NoSpace"] {
        assert!(seen.get(wanted).is_some_and(|times| *times >= 5), "{wanted}: {seen:?}");
    }
    assert!(seen["txn done"] > 300 && seen["put done"] > 400, "{seen:?}");
}
