//! One watcher's place between the hub, which delivers, and its stream, which picks up.
//!
//! ```text
//!                    queue full, or reset
//!   Synced        ------------------------->  Lagging
//!   { from, queue }                           { next }  <--+
//!      ^                                         |   |     |  history moves `next` on
//!      |     next > published, seen under        |   +-----+
//!      +---------- the hub's lock ---------------+
//! ```
//!
//! The invariant, true whenever the hub's lock is free:
//! - `Synced`: every event the watcher wants of the revisions in `from..=published`, that was not picked up yet, is in
//!   the queue, in order. So an empty queue means: picked up through `published`.
//! - `Lagging`: every event it wants before `next` was picked up, none from `next` on.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::env::planted;
use crate::mvcc::Event;
use crate::types::{Limits, Revision};

/// What an event costs beyond its key and value, in bytes: its fixed fields.
pub(super) const EVENT_OVERHEAD_BYTES: usize = 128;

/// What one event is charged for in queues and answers, in bytes.
pub(super) fn charge(event: &Event) -> usize {
    event.key.len() + event.value.len() + EVENT_OVERHEAD_BYTES
}

/// What one watcher receives of one revision.
#[derive(Clone, Debug)]
pub(super) struct Parcel {
    pub revision: Revision,
    pub events: Arc<[Event]>,
    pub bytes: usize,
}

impl Parcel {
    pub fn new(revision: Revision, events: Arc<[Event]>) -> Self {
        let bytes = events.iter().map(charge).sum();
        Self { revision, events, bytes }
    }
}

/// Parcels waiting for a stream, oldest first.
#[derive(Debug, Default)]
pub(super) struct Queue {
    parcels: VecDeque<Parcel>,
    events: usize,
    bytes: usize,
}

impl Queue {
    fn has_room(&self, parcel: &Parcel, limits: &Limits) -> bool {
        self.events + parcel.events.len() <= limits.watcher_events_max
            && self.bytes + parcel.bytes <= limits.watcher_bytes_max
    }

    fn push(&mut self, parcel: Parcel) {
        self.events += parcel.events.len();
        self.bytes += parcel.bytes;
        self.parcels.push_back(parcel);
    }

    fn pop(&mut self) -> Option<Parcel> {
        let parcel = self.parcels.pop_front()?;
        self.events -= parcel.events.len();
        self.bytes -= parcel.bytes;
        Some(parcel)
    }

    fn front(&self) -> Option<Revision> {
        self.parcels.front().map(|parcel| parcel.revision)
    }
}

/// See the module's comment.
#[derive(Debug)]
pub(super) enum Lane {
    Synced {
        /// Nothing older is wanted. Beyond the present if the watch starts in the future.
        from: Revision,
        queue: Queue,
    },
    Lagging {
        /// First revision not picked up.
        next: Revision,
    },
}

/// What became of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pushed {
    Queued,
    /// The queue had no room. It is dropped, and history is read from its front on.
    FellBehind,
    /// Too old for this watcher, or history will bring it.
    PassedOver,
}

impl Lane {
    pub fn synced(from: Revision) -> Self {
        Lane::Synced { from, queue: Queue::default() }
    }

    /// Events waiting here.
    pub fn events(&self) -> usize {
        match self {
            Lane::Synced { queue, .. } => queue.events,
            Lane::Lagging { .. } => 0,
        }
    }

    /// The oldest revision waiting here.
    pub fn front(&self) -> Option<Revision> {
        match self {
            Lane::Synced { queue, .. } => queue.front(),
            Lane::Lagging { .. } => None,
        }
    }

    pub fn push(&mut self, parcel: &Parcel, limits: &Limits) -> Pushed {
        let Lane::Synced { from, queue } = self else { return Pushed::PassedOver };
        if parcel.revision < *from {
            return Pushed::PassedOver;
        }
        if queue.has_room(parcel, limits) {
            queue.push(parcel.clone());
            return Pushed::Queued;
        }
        *self = Lane::Lagging { next: queue.front().unwrap_or(parcel.revision) };
        Pushed::FellBehind
    }

    /// The oldest parcel, if it is not newer than `upto`.
    pub fn pop(&mut self, upto: Revision) -> Option<Parcel> {
        let Lane::Synced { queue, .. } = self else { return None };
        if queue.front()? > upto { None } else { queue.pop() }
    }

    /// The state jumped from revision `before` to `revision` without telling what lay between.
    pub fn reset(&mut self, before: Revision, revision: Revision) {
        let Lane::Synced { from, queue } = self else { return };
        let next = queue.front().unwrap_or_else(|| before.next().max(*from));
        *self =
            if next <= revision && !planted!(WatchGapAtSnapshot) { Lane::Lagging { next } } else { Lane::synced(next) };
    }
}
