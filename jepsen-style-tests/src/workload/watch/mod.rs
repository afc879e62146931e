//! Watches: some clients change a few keys, others watch them, each through any node, and take their watch up again
//! elsewhere where it ended.
//!
//! What really happened is told in the end by a watch from the beginning, once all members are equal. It is not
//! believed either: every acknowledged write must be in it, at its revision, and nothing that failed may be.

mod watcher;
mod writer;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::BoxFuture;
use parking_lot::Mutex;

use super::{Client, Stage, Workload};
use crate::checker::watch::{self, Before, Filter, Message, Session, Truth};
use crate::history::{Fate, Tally};
use crate::report::Violation;

const NAME: &str = "watch";
const VIOLATIONS_SHOWN: usize = 10;

pub struct Watch {
    record: Arc<Mutex<Record>>,
}

/// A write, as its writer knows it.
#[derive(Clone, Debug)]
struct Written {
    key: String,
    /// None: deleted.
    value: Option<u64>,
    /// Where it was acknowledged.
    revision: Option<i64>,
    fate: Fate,
}

#[derive(Default)]
struct Record {
    written: Vec<Written>,
    sessions: Vec<Session>,
    /// A watch from the beginning, of each member, in the end. The first one is taken for the truth.
    last: Vec<Session>,
    /// Why there is no such watch.
    trouble: Vec<String>,
}

impl Watch {
    pub fn new() -> Self {
        Self { record: Arc::default() }
    }
}

impl Workload for Watch {
    fn clients(&self, stage: &Stage) -> Vec<BoxFuture<'static, ()>> {
        let task = |number: u64| {
            let (client, record) = (Client::new(stage, number), Arc::clone(&self.record));
            // As many watchers as writers.
            if number.is_multiple_of(2) {
                Box::pin(writer::run(client, record)) as BoxFuture<'static, ()>
            } else {
                Box::pin(watcher::run(client, record))
            }
        };
        (0..stage.clients.max(1) * 2).map(task).collect()
    }

    fn last_look(&self, stage: &Stage) -> BoxFuture<'static, ()> {
        let (client, record) = (Client::new(stage, stage.clients * 2), Arc::clone(&self.record));
        Box::pin(watcher::from_the_beginning(client, record))
    }

    fn judge(&self) -> Vec<Violation> {
        let record = self.record.lock();
        let mut violations: Vec<Violation> = record.trouble.iter().map(|what| Violation::of(NAME, what)).collect();
        let Some(first) = record.last.first() else { return violations };
        let truth = truth_of(first);
        violations.extend(doubts(&truth, &record.written).into_iter().map(|what| Violation::of(NAME, what)));
        let sessions: Vec<Session> = record.last.iter().chain(&record.sessions).cloned().collect();
        let found = watch::check(&truth, &sessions);
        violations.extend(found.iter().map(|violation| Violation::of(NAME, violation)));
        violations.truncate(VIOLATIONS_SHOWN);
        violations
    }

    fn tally(&self) -> Tally {
        Tally::of(self.record.lock().written.iter().map(|written| written.fate))
    }

    fn notes(&self) -> Vec<String> {
        let record = self.record.lock();
        let events = |session: &Session| -> usize {
            let of = |message: &Message| if let Message::Events(events) = message { events.len() } else { 0 };
            session.messages.iter().map(of).sum()
        };
        let all: usize = record.sessions.iter().map(events).sum();
        vec![format!("{} watches, {all} events", record.sessions.len())]
    }
}

fn truth_of(session: &Session) -> Truth {
    let mut truth = Truth::default();
    for message in &session.messages {
        if let Message::Events(events) = message {
            for event in events {
                truth.add(event.revision, &event.key, event.state.map(|state| state.value));
            }
        }
    }
    truth
}

/// What the writers know better.
fn doubts(truth: &Truth, written: &[Written]) -> Vec<String> {
    let mut doubts = Vec::new();
    let mut fates: BTreeMap<u64, Fate> = BTreeMap::new();
    for Written { key, value, revision, fate } in written {
        if let Some(value) = value {
            fates.insert(*value, *fate);
        }
        if let Some(revision) = revision
            && truth.at(*revision, key) != Some(*value)
        {
            let there = truth.at(*revision, key);
            doubts
                .push(format!("{key} became {value:?} at {revision}, and a watch from the beginning shows {there:?}"));
        }
    }
    for (revision, key, value) in truth.each() {
        if let Some(value) = value
            && fates.get(&value).is_none_or(|fate| *fate == Fate::Failed)
        {
            doubts.push(format!("{key} became {value} at {revision}, which nobody wrote, or which failed"));
        }
    }
    doubts
}

fn session(name: String, prefix: &str, filter: Filter, before: Before, from: i64) -> Session {
    Session { name, prefix: prefix.to_owned(), filter, before, from, messages: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn truth() -> Truth {
        let mut truth = Truth::default();
        truth.add(2, "a", Some(1));
        truth.add(3, "a", None);
        truth
    }

    fn written(value: Option<u64>, revision: Option<i64>, fate: Fate) -> Written {
        Written { key: "a".to_owned(), value, revision, fate }
    }

    #[test]
    fn a_watch_from_the_beginning_is_not_believed_blindly() {
        let (ok, failed, unknown) = (Fate::Ok, Fate::Failed, Fate::Unknown);
        let all = [written(Some(1), Some(2), ok), written(None, Some(3), ok), written(Some(9), None, failed)];
        assert_eq!(doubts(&truth(), &all).len(), 0);
        assert_eq!(doubts(&truth(), &[written(Some(1), None, unknown)]).len(), 0);
        assert_eq!(doubts(&truth(), &[]).len(), 1, "nobody wrote it");
        assert_eq!(doubts(&truth(), &[written(Some(1), None, failed)]).len(), 1, "it failed");
        let missing = [written(Some(1), Some(2), ok), written(Some(4), Some(4), ok)];
        assert_eq!(doubts(&truth(), &missing).len(), 1, "an acknowledged write is not there");
        let other = [written(Some(1), Some(2), ok), written(Some(4), Some(3), ok)];
        assert_eq!(doubts(&truth(), &other).len(), 1, "another thing happened there");
    }
}
