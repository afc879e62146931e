//! A piece of history, found again by key: many watchers look for their events in the same piece.

use crate::mvcc::{Event, HistoryChunk};
use crate::types::{KeyRange, RangeEnd, Revision};

/// See the module's comment.
pub(super) struct Chunk {
    /// The revisions in it, the second not included.
    pub from: Revision,
    pub end: Revision,
    events: Vec<Event>,
    /// Positions of the events, ordered by key, then by position.
    by_key: Vec<usize>,
}

impl Chunk {
    pub fn new(from: Revision, read: HistoryChunk) -> Self {
        assert!(read.next > from, "history from {from} on reads at least that revision, not up to {}", read.next);
        let events = read.events;
        let mut by_key: Vec<usize> = (0..events.len()).collect();
        by_key.sort_by(|a, b| events[*a].key.cmp(&events[*b].key));
        Self { from, end: read.next, events, by_key }
    }

    /// The events of these keys, in the order they happened.
    pub fn within(&self, range: &KeyRange) -> impl Iterator<Item = &Event> + '_ {
        let start = self.by_key.partition_point(|at| self.events[*at].key < range.start);
        let rest = &self.by_key[start..];
        let length = match &range.end {
            RangeEnd::Single => rest.partition_point(|at| self.events[*at].key == range.start),
            RangeEnd::Before(end) => rest.partition_point(|at| self.events[*at].key < *end),
            RangeEnd::Unbounded => rest.len(),
        };
        let mut positions = rest[..length].to_vec();
        positions.sort_unstable();
        positions.into_iter().map(|at| &self.events[at])
    }
}
