//! Writing a history down while it happens.
//!
//! A client says what it is about to ask before it asks, and what it was told after it was told; the places of both
//! among all events are taken under one lock, so that the order in the record is never stricter than the order in the
//! world: what the record says came before, did.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::{Fate, Operation, Process};
use crate::report::Timeline;

/// What was done, and when, on the clients' clock since the start of the run.
#[derive(Clone, Debug)]
pub struct History<A> {
    pub operations: Vec<Operation<A>>,
    /// Of each operation: when it was asked, and when it ended.
    pub times: Vec<(Duration, Option<Duration>)>,
}

/// How many operations ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub ok: usize,
    pub failed: usize,
    pub unknown: usize,
}

impl Tally {
    pub fn of(fates: impl IntoIterator<Item = Fate>) -> Self {
        let mut tally = Self::default();
        for fate in fates {
            match fate {
                Fate::Ok => tally.ok += 1,
                Fate::Failed => tally.failed += 1,
                Fate::Unknown => tally.unknown += 1,
            }
        }
        tally
    }

    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { ok: self.ok + other.ok, failed: self.failed + other.failed, unknown: self.unknown + other.unknown }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} ok, {} failed, {} of unknown fate", self.ok, self.failed, self.unknown)
    }
}

struct Record<A> {
    history: History<A>,
    /// Events so far.
    places: usize,
}

/// Clones write into the same record.
pub struct Recorder<A> {
    /// Of the workload, for the timeline.
    name: &'static str,
    timeline: Timeline,
    record: Arc<Mutex<Record<A>>>,
}

impl<A> Clone for Recorder<A> {
    fn clone(&self) -> Self {
        Self { name: self.name, timeline: self.timeline.clone(), record: Arc::clone(&self.record) }
    }
}

impl<A: Clone + fmt::Display> Recorder<A> {
    pub fn new(name: &'static str, timeline: &Timeline) -> Self {
        let history = History { operations: Vec::new(), times: Vec::new() };
        Self { name, timeline: timeline.clone(), record: Arc::new(Mutex::new(Record { history, places: 0 })) }
    }

    /// Before the request leaves. What is never ended stays of unknown fate.
    pub fn begin(&self, process: Process, action: A) -> Open<A> {
        let now = self.timeline.say(&self.client(process), format!("{action} ..."));
        let mut record = self.record.lock();
        let (index, called) = (record.history.operations.len(), record.places);
        record.places += 1;
        let fate = Fate::Unknown;
        record.history.operations.push(Operation { process, action, fate, called, returned: None, line: index + 1 });
        record.history.times.push((now, None));
        Open { recorder: self.clone(), index, process }
    }

    fn client(&self, process: Process) -> String {
        format!("{} {}", self.name, process.0)
    }

    pub fn history(&self) -> History<A> {
        self.record.lock().history.clone()
    }

    pub fn tally(&self) -> Tally {
        Tally::of(self.record.lock().history.operations.iter().map(|operation| operation.fate))
    }
}

/// An operation that was asked and has not ended.
#[must_use = "an operation that is never ended is of unknown fate"]
pub struct Open<A> {
    recorder: Recorder<A>,
    index: usize,
    process: Process,
}

impl<A: Clone + fmt::Display> Open<A> {
    /// With what was answered.
    pub fn ok(self, action: A) {
        let said = format!("{action} ok");
        self.end(Fate::Ok, Some(action), said);
    }

    /// It certainly did not happen.
    pub fn failed(self, why: &str) {
        self.end_without_answer(Fate::Failed, &format!("failed: {why}"));
    }

    pub fn unknown(self, why: &str) {
        self.end_without_answer(Fate::Unknown, &format!("unknown: {why}"));
    }

    fn end_without_answer(self, fate: Fate, how: &str) {
        let action = self.recorder.record.lock().history.operations[self.index].action.to_string();
        self.end(fate, None, format!("{action} {how}"));
    }

    fn end(self, fate: Fate, action: Option<A>, said: String) {
        let now = self.recorder.timeline.say(&self.recorder.client(self.process), said);
        let mut record = self.recorder.record.lock();
        let place = record.places;
        record.places += 1;
        record.history.times[self.index].1 = Some(now);
        let operation = &mut record.history.operations[self.index];
        (operation.fate, operation.returned) = (fate, Some(place));
        if let Some(action) = action {
            operation.action = action;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_overlaps_in_the_world_overlaps_in_the_record() {
        let recorder = Recorder::new("test", &Timeline::begin());
        let one = recorder.begin(Process(1), "put");
        let two = recorder.begin(Process(2), "get");
        two.ok("get 5");
        one.failed("refused");
        recorder.begin(Process(2), "put").unknown("no answer");
        let open = recorder.begin(Process(1), "get");
        let history = recorder.history();
        drop(open);
        let seen: Vec<_> =
            history.operations.iter().map(|one| (one.action, one.fate, one.called, one.returned)).collect();
        let (failed, ok, unknown) = (Fate::Failed, Fate::Ok, Fate::Unknown);
        assert_eq!(
            seen,
            [
                ("put", failed, 0, Some(3)),
                ("get 5", ok, 1, Some(2)),
                ("put", unknown, 4, Some(5)),
                ("get", unknown, 6, None)
            ]
        );
        assert_eq!(recorder.tally(), Tally { ok: 1, failed: 1, unknown: 2 });
    }
}
