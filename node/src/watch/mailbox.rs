//! What one stream and the hub share: the lanes of the stream's watchers, and how to wake the stream.
//!
//! Lock order: the hub's lock, then a mailbox's. Nothing is called out to under a mailbox's lock.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Bound;
use std::sync::Arc;

use parking_lot::Mutex;

use super::lane::{Lane, Parcel, Pushed};
use super::watch_id::WatchId;
use crate::env::{planted, sometimes};
use crate::types::{Limits, Revision};

/// Called when a stream has, or may have, something to do. It must neither block nor call back into the hub, and must
/// not be lost when nobody is asleep: the next sleep then ends at once (as `tokio::sync::Notify::notify_one` does).
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// See the module's comment.
pub(super) struct Mailbox {
    wake: Wake,
    lanes: Mutex<Lanes>,
}

#[derive(Default)]
struct Lanes {
    by_id: BTreeMap<WatchId, Lane>,
    /// Those whose queue is not empty.
    ready: BTreeSet<WatchId>,
    /// Those that read history.
    lagging: BTreeSet<WatchId>,
    /// In all queues together.
    pending_events: usize,
    /// The newest publish that touched a lane here, so that one publish wakes a stream once.
    touched_by: u64,
}

/// What the oldest parcel of a lane turned out to be.
pub(super) enum Popped {
    Parcel(Parcel),
    /// The queue holds nothing up to the revision asked for.
    Drained,
    /// The watcher reads history now.
    FellBehind,
}

/// A watcher that reads history, and the revision it needs next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reader {
    pub id: WatchId,
    pub next: Revision,
}

/// How far a stream as a whole has been told.
pub(super) enum Told {
    /// Some watcher reads history.
    CatchingUp,
    /// Every event of every watcher through `revision` was picked up, and no watcher starts after `start`.
    Through { revision: Revision, start: Revision },
}

/// A stream's share of [`super::Counts`].
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub watchers: usize,
    pub slow_watchers: usize,
    pub pending_events: usize,
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox").field("tally", &self.tally()).finish_non_exhaustive()
    }
}

impl Mailbox {
    pub fn new(wake: Wake) -> Self {
        Self { wake, lanes: Mutex::default() }
    }

    pub fn wake(&self) {
        (self.wake)();
    }

    pub fn tally(&self) -> Tally {
        let lanes = self.lanes.lock();
        Tally { watchers: lanes.by_id.len(), slow_watchers: lanes.lagging.len(), pending_events: lanes.pending_events }
    }

    // ---- The hub's side: all under the hub's lock ----

    pub fn add(&self, id: WatchId, lane: Lane) {
        let mut lanes = self.lanes.lock();
        if matches!(lane, Lane::Lagging { .. }) {
            lanes.lagging.insert(id);
        }
        let replaced = lanes.by_id.insert(id, lane);
        assert!(replaced.is_none(), "watch id {id} is live on this stream already");
    }

    pub fn remove(&self, id: WatchId) {
        let lanes = &mut *self.lanes.lock();
        let Some(lane) = lanes.by_id.remove(&id) else { return };
        lanes.pending_events -= lane.events();
        lanes.ready.remove(&id);
        lanes.lagging.remove(&id);
    }

    /// Delivers one revision to one watcher, as part of the hub's publish number `publish`. True if the stream is to be
    /// woken and no earlier delivery of the same publish said so.
    pub fn push(&self, id: WatchId, parcel: &Parcel, limits: &Limits, publish: u64) -> bool {
        let lanes = &mut *self.lanes.lock();
        let lane = lanes.by_id.get_mut(&id).expect("a watcher in the index has a lane");
        let before = lane.events();
        match lane.push(parcel, limits) {
            Pushed::PassedOver => return false,
            Pushed::Queued => {
                lanes.pending_events += parcel.events.len();
                lanes.ready.insert(id);
            }
            Pushed::FellBehind => {
                sometimes!(WatcherFellBehind);
                lanes.pending_events -= before;
                lanes.ready.remove(&id);
                lanes.lagging.insert(id);
            }
        }
        let first = lanes.touched_by != publish;
        lanes.touched_by = publish;
        first
    }

    /// Makes those synced that have read everything published.
    pub fn rejoin(&self, ids: &[WatchId], published: Revision) {
        let lanes = &mut *self.lanes.lock();
        for id in ids {
            let lane = lanes.by_id.get_mut(id).expect("the stream names its own watchers");
            if let Lane::Lagging { next } = *lane
                && next > published
            {
                *lane = Lane::synced(next);
                lanes.lagging.remove(id);
                sometimes!(WatcherCaughtUp);
            }
        }
    }

    pub fn reset(&self, before: Revision, revision: Revision) {
        let lanes = &mut *self.lanes.lock();
        lanes.ready.clear();
        lanes.pending_events = 0;
        for (id, lane) in &mut lanes.by_id {
            sometimes!(WatcherSawSnapshot);
            lane.reset(before, revision);
            if matches!(lane, Lane::Lagging { .. }) {
                lanes.lagging.insert(*id);
            }
        }
    }

    // ---- The stream's side ----

    /// Watchers with something to pick up that is not newer than `upto`; at most `max`, starting behind `after` and
    /// going round.
    pub fn ready(&self, after: Option<WatchId>, upto: Revision, max: usize) -> Vec<WatchId> {
        let lanes = self.lanes.lock();
        let due = |id: &WatchId| lanes.by_id[id].front().is_some_and(|front| front <= upto);
        round(&lanes.ready, after).filter(due).take(max).collect()
    }

    pub fn pop(&self, id: WatchId, upto: Revision) -> Popped {
        let lanes = &mut *self.lanes.lock();
        let lane = lanes.by_id.get_mut(&id).expect("the stream names its own watchers");
        match lane.pop(upto) {
            Some(parcel) => {
                lanes.pending_events -= parcel.events.len();
                if lane.events() == 0 {
                    lanes.ready.remove(&id);
                }
                Popped::Parcel(parcel)
            }
            None if matches!(lane, Lane::Lagging { .. }) => Popped::FellBehind,
            None => Popped::Drained,
        }
    }

    /// Watchers that read history; at most `max`, starting behind `after` and going round. Until the stream moves them
    /// on, none of this changes: the hub leaves lagging lanes alone.
    pub fn readers(&self, after: Option<WatchId>, max: usize) -> Vec<Reader> {
        let lanes = self.lanes.lock();
        let reader = |id: WatchId| match lanes.by_id[&id] {
            Lane::Lagging { next } => Some(Reader { id, next }),
            Lane::Synced { .. } => None,
        };
        round(&lanes.lagging, after).filter_map(reader).take(max).collect()
    }

    pub fn is_lagging(&self) -> bool {
        !self.lanes.lock().lagging.is_empty()
    }

    /// What was read from history moves a watcher on.
    pub fn advance(&self, id: WatchId, to: Revision) {
        let mut lanes = self.lanes.lock();
        let lane = lanes.by_id.get_mut(&id).expect("the stream names its own watchers");
        match lane {
            Lane::Lagging { next } if *next <= to => *next = to,
            _ => panic!("watcher {id} moves from {lane:?} to {to}: only a lagging one moves, and only forward"),
        }
    }

    /// How far the whole stream was told, given that `published` was read before this call.
    pub fn told(&self, published: Revision) -> Told {
        let lanes = self.lanes.lock();
        if !lanes.lagging.is_empty() {
            return Told::CatchingUp;
        }
        let mut revision = published;
        let mut start = Revision::FIRST;
        for lane in lanes.by_id.values() {
            if let Lane::Synced { from, .. } = lane {
                start = start.max(*from);
            }
            if let Some(front) = lane.front().filter(|_| !planted!(WatchProgressTooFar)) {
                revision = revision.min(Revision(front.0 - 1));
            }
        }
        Told::Through { revision, start }
    }

    /// True if this watcher was told everything through `published`, and starts no later than right after it.
    pub fn is_told(&self, id: WatchId, published: Revision) -> bool {
        match self.lanes.lock().by_id.get(&id) {
            Some(lane @ Lane::Synced { from, .. }) => {
                *from <= published.next() && lane.front().is_none_or(|front| front > published)
            }
            Some(Lane::Lagging { .. }) | None => false,
        }
    }
}

/// The ids behind `after`, then the others.
fn round(ids: &BTreeSet<WatchId>, after: Option<WatchId>) -> impl Iterator<Item = WatchId> + '_ {
    let behind = after.map_or(Bound::Unbounded, Bound::Excluded);
    let rest = after.map(|after| ids.range(..=after)).into_iter().flatten();
    ids.range((behind, Bound::Unbounded)).chain(rest).copied()
}
