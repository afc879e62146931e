//! What a watcher may count on, in nine properties: events are *ordered* and *unique*, those of one revision come
//! *together*, none is missing (*reliable*), a watch taken up again where another ended misses nothing (*resumable*), a
//! progress mark means that all before it was sent (*bookmarkable*), and the state before, the sign of creation, and
//! the *filter* are right. (The list is that of etcd's robustness tests.)
//!
//! What really happened is one list of changes, the [`Truth`]. Versions, creations and states before are computed from
//! it, so it must begin where the watched keys do.

use std::collections::BTreeMap;
use std::fmt;

/// A key's state, as an event shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    pub value: u64,
    pub version: i64,
    pub created: i64,
    pub modified: i64,
}

/// What one event says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub key: String,
    pub revision: i64,
    /// None: deleted.
    pub state: Option<State>,
    pub before: Option<State>,
}

/// A message of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    Events(Vec<Event>),
    /// All up to this revision has been sent.
    Progress(i64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    All,
    NoPuts,
    NoDeletes,
}

/// Whether the watcher asked for the state before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    Shown,
    NotShown,
}

/// One watch from its creation to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// For a reader of the report.
    pub name: String,
    /// All keys that begin so.
    pub prefix: String,
    pub filter: Filter,
    pub before: Before,
    /// The first revision it is to see.
    pub from: i64,
    pub messages: Vec<Message>,
}

impl Session {
    /// The revision up to which it claims to have seen everything.
    pub fn seen_up_to(&self) -> i64 {
        let of = |message: &Message| match message {
            Message::Events(events) => events.iter().map(|event| event.revision).max(),
            Message::Progress(revision) => Some(*revision),
        };
        self.messages.iter().filter_map(of).max().unwrap_or(0).max(self.from - 1)
    }

    fn wants(&self, key: &str, state: Option<State>) -> bool {
        let kind = match self.filter {
            Filter::All => true,
            Filter::NoPuts => state.is_none(),
            Filter::NoDeletes => state.is_some(),
        };
        kind && key.starts_with(&self.prefix)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub session: String,
    pub property: Property,
    pub revision: i64,
    pub key: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Property {
    Ordered,
    Unique,
    /// Events of one revision in two messages.
    Together,
    /// An event before the last one seen is missing.
    Reliable,
    /// An event before the revision that the watch was to begin at.
    Resumable,
    /// A progress mark came before an event that it stands for.
    Bookmarkable,
    RightBefore,
    /// Version or create revision.
    RightCreation,
    RightFilter,
    /// No such change, or with another value.
    True,
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { session, property, revision, key } = self;
        write!(out, "{session}: not {property:?}: {key} at revision {revision}")
    }
}

/// A change of a key as it must be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shown {
    state: Option<State>,
    before: Option<State>,
}

/// What really happened to the watched keys, from the beginning.
#[derive(Clone, Debug, Default)]
pub struct Truth {
    changes: BTreeMap<i64, BTreeMap<String, Shown>>,
    now: BTreeMap<String, State>,
}

impl Truth {
    /// The next change; revisions do not go back. `value`: None for a deletion.
    pub fn add(&mut self, revision: i64, key: &str, value: Option<u64>) {
        let before = self.now.get(key).copied();
        let state = value.map(|value| {
            let (version, created) = before.map_or((1, revision), |before| (before.version + 1, before.created));
            State { value, version, created, modified: revision }
        });
        match state {
            Some(state) => drop(self.now.insert(key.to_owned(), state)),
            None => drop(self.now.remove(key)),
        }
        self.changes.entry(revision).or_default().insert(key.to_owned(), Shown { state, before });
    }

    pub fn len(&self) -> usize {
        self.changes.values().map(BTreeMap::len).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// The value that a key was given at a revision; None where nothing happened to it, Some(None) for a deletion.
    pub fn at(&self, revision: i64, key: &str) -> Option<Option<u64>> {
        Some(self.changes.get(&revision)?.get(key)?.state.map(|state| state.value))
    }

    /// Revision, key and value of each change.
    pub fn each(&self) -> impl Iterator<Item = (i64, &str, Option<u64>)> {
        self.changes.iter().flat_map(|(revision, keys)| {
            keys.iter().map(|(key, shown)| (*revision, key.as_str(), shown.state.map(|state| state.value)))
        })
    }

    /// What a session must have been sent from one revision up to another.
    fn due<'a>(&'a self, session: &'a Session, from: i64, to: i64) -> impl Iterator<Item = (i64, &'a str)> {
        let range = self.changes.range(from..).take_while(move |(revision, _)| **revision <= to);
        range.flat_map(move |(revision, keys)| {
            let wanted = keys.iter().filter(move |(key, shown)| session.wants(key, shown.state));
            wanted.map(move |(key, _)| (*revision, key.as_str()))
        })
    }
}

#[must_use]
pub fn check(truth: &Truth, sessions: &[Session]) -> Vec<Violation> {
    sessions.iter().flat_map(|session| Judge::of(truth, session).judge()).collect()
}

struct Judge<'a> {
    truth: &'a Truth,
    session: &'a Session,
    violations: Vec<Violation>,
    /// By revision and key: the number of the message that brought it.
    sent: BTreeMap<(i64, String), usize>,
    newest: i64,
    /// The highest progress mark.
    mark: i64,
}

impl<'a> Judge<'a> {
    fn of(truth: &'a Truth, session: &'a Session) -> Self {
        Self { truth, session, violations: Vec::new(), sent: BTreeMap::new(), newest: 0, mark: session.from - 1 }
    }

    fn found(&mut self, property: Property, revision: i64, key: &str) {
        let session = self.session.name.clone();
        self.violations.push(Violation { session, property, revision, key: key.to_owned() });
    }

    fn judge(mut self) -> Vec<Violation> {
        for (number, message) in self.session.messages.iter().enumerate() {
            match message {
                Message::Events(events) => {
                    let newest_before = self.newest;
                    for event in events {
                        if event.revision == newest_before {
                            self.found(Property::Together, event.revision, &event.key);
                        }
                        self.event(number, event);
                    }
                }
                Message::Progress(revision) => self.progress(*revision),
            }
        }
        // Up to its last event it has claimed to be complete; a mark has been judged when it came.
        self.missing(Property::Reliable, self.newest);
        self.violations
    }

    fn event(&mut self, number: usize, event: &Event) {
        let Event { key, revision, state, before } = event;
        if *revision < self.newest {
            self.found(Property::Ordered, *revision, key);
        }
        self.newest = self.newest.max(*revision);
        if self.sent.insert((*revision, key.clone()), number).is_some() {
            self.found(Property::Unique, *revision, key);
        }
        if *revision < self.session.from {
            self.found(Property::Resumable, *revision, key);
        } else if *revision <= self.mark {
            self.found(Property::Bookmarkable, *revision, key);
        }
        if !self.session.wants(key, *state) {
            self.found(Property::RightFilter, *revision, key);
        }
        let Some(shown) = self.truth.changes.get(revision).and_then(|keys| keys.get(key)).copied() else {
            return self.found(Property::True, *revision, key);
        };
        match (shown.state, *state) {
            (None, None) => {}
            (Some(right), Some(said)) if right.value == said.value => {
                if right != said {
                    self.found(Property::RightCreation, *revision, key);
                }
            }
            _ => self.found(Property::True, *revision, key),
        }
        let right_before = if self.session.before == Before::Shown { shown.before } else { None };
        if *before != right_before {
            self.found(Property::RightBefore, *revision, key);
        }
    }

    fn progress(&mut self, revision: i64) {
        self.missing(Property::Bookmarkable, revision);
        self.mark = self.mark.max(revision);
    }

    /// What was due up to there and has not come.
    fn missing(&mut self, property: Property, up_to: i64) {
        let due = self.truth.due(self.session, self.session.from, up_to);
        let missing: Vec<(i64, String)> =
            due.map(|(revision, key)| (revision, key.to_owned())).filter(|due| !self.sent.contains_key(due)).collect();
        for (revision, key) in missing {
            // Named once: what a mark has missed, the end misses too.
            let is_known = self.violations.iter().any(|known| {
                known.revision == revision && known.key == key && known.property == Property::Bookmarkable
            });
            if !is_known {
                self.found(property, revision, &key);
            }
        }
    }
}

#[cfg(test)]
mod tests;
