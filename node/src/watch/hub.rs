//! The node's side: takes what was committed, hands it to whoever waits for it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use parking_lot::Mutex;

use super::index::{Index, Subscription, SubscriptionId};
use super::interest::Interest;
use super::lane::Lane;
use super::mailbox::{Mailbox, Wake};
use super::stream::{StreamOptions, WatchStream};
use super::watch_id::WatchId;
use crate::mvcc::Revisioned;
use crate::types::{Limits, Revision};

/// All watchers of a node. See the folder's comment for the invariants.
pub struct Hub {
    limits: Limits,
    /// The newest revision whose events are all in the queues they belong in. Written under the registry's lock only,
    /// after the queues; so whoever reads it first and a queue second finds everything up to it.
    published: AtomicI64,
    registry: Mutex<Registry>,
}

struct Registry {
    index: Index,
    streams: BTreeMap<StreamId, Arc<Mailbox>>,
    /// Streams that have nothing to say before a revision is published; at most one entry for each.
    appointments: BTreeMap<(Revision, StreamId), Arc<Mailbox>>,
    /// Streams, watchers and publishes over the hub's lifetime.
    streams_opened: u64,
    watchers_created: u64,
    publishes: u64,
}

/// Counts streams over the hub's lifetime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct StreamId(u64);

/// What the metrics show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub streams: usize,
    pub watchers: usize,
    /// Watchers that read history because they came late or fell behind.
    pub slow_watchers: usize,
    /// Events in the queues of all watchers.
    pub pending_events: usize,
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").field("published", &self.published()).finish_non_exhaustive()
    }
}

impl Hub {
    /// `revision` is that of the state the node starts with.
    pub fn new(revision: Revision, limits: Limits) -> Arc<Self> {
        let registry = Registry {
            index: Index::new(),
            streams: BTreeMap::new(),
            appointments: BTreeMap::new(),
            streams_opened: 0,
            watchers_created: 0,
            publishes: 0,
        };
        Arc::new(Self { limits, published: AtomicI64::new(revision.0), registry: Mutex::new(registry) })
    }

    /// Opens a client's stream. `wake` is called when the stream should call [`WatchStream::next`].
    pub fn open(self: &Arc<Self>, options: StreamOptions, wake: Wake) -> WatchStream {
        let mailbox = Arc::new(Mailbox::new(wake));
        let mut registry = self.registry.lock();
        registry.streams_opened += 1;
        let id = StreamId(registry.streams_opened);
        registry.streams.insert(id, mailbox.clone());
        drop(registry);
        WatchStream::new(self.clone(), id, mailbox, options)
    }

    /// Hands out what was committed, in order. Call it after the engine's write and before answering the writers.
    ///
    /// Never waits for a watcher and never grows: a watcher without room is sent to read history.
    pub fn publish(&self, committed: &[Revisioned]) {
        let mut guard = self.registry.lock();
        let registry = &mut *guard;
        registry.publishes += 1;
        let publish = registry.publishes;
        let mut newest = self.published();
        let mut to_wake = Vec::new();
        for revisioned in committed {
            assert!(revisioned.revision > newest, "{} is published after {newest}", revisioned.revision);
            newest = revisioned.revision;
            registry.index.route(revisioned, &mut |subscription, parcel| {
                let mailbox = &subscription.mailbox;
                if mailbox.push(subscription.watch_id, parcel, &self.limits, publish) {
                    to_wake.push(mailbox.clone());
                }
            });
        }
        self.published.store(newest.0, Ordering::Release);
        to_wake.append(&mut registry.appointments_due(newest));
        drop(guard);
        to_wake.iter().for_each(|mailbox| mailbox.wake());
    }

    /// The state was replaced by one at `revision`, from a snapshot. Call it after the new state can be read.
    ///
    /// Nobody knows here what lay between, so every watcher that has not been told everything up to `revision` reads
    /// history, or is canceled if that history was compacted.
    pub fn reset(&self, revision: Revision) {
        let mut registry = self.registry.lock();
        let before = self.published();
        for mailbox in registry.streams.values() {
            mailbox.reset(before, revision);
        }
        self.published.store(revision.0, Ordering::Release);
        let _ = registry.appointments_due(revision);
        let to_wake: Vec<Arc<Mailbox>> = registry.streams.values().cloned().collect();
        drop(registry);
        to_wake.iter().for_each(|mailbox| mailbox.wake());
    }

    /// The newest revision that watchers were told of, or can pick up.
    pub fn published(&self) -> Revision {
        Revision(self.published.load(Ordering::Acquire))
    }

    pub fn counts(&self) -> Counts {
        // Counted outside the hub's lock: a scrape does not hold up a publish.
        let mailboxes: Vec<Arc<Mailbox>> = self.registry.lock().streams.values().cloned().collect();
        let mut counts = Counts { streams: mailboxes.len(), ..Counts::default() };
        for tally in mailboxes.iter().map(|mailbox| mailbox.tally()) {
            counts.watchers += tally.watchers;
            counts.slow_watchers += tally.slow_watchers;
            counts.pending_events += tally.pending_events;
        }
        counts
    }

    // ---- For the streams ----

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Adds a watcher that wants everything from revision `from` on.
    pub(super) fn subscribe(
        &self,
        mailbox: &Arc<Mailbox>,
        watch_id: WatchId,
        interest: Interest,
        from: Revision,
    ) -> Arc<Subscription> {
        let mut registry = self.registry.lock();
        registry.watchers_created += 1;
        let id = SubscriptionId(registry.watchers_created);
        let subscription = Arc::new(Subscription { id, watch_id, interest, mailbox: mailbox.clone() });
        // Under the lock no publish is half-way: what was published is in history, what was not will come here.
        let lane = if from > self.published() { Lane::synced(from) } else { Lane::Lagging { next: from } };
        mailbox.add(watch_id, lane);
        registry.index.insert(subscription.clone());
        subscription
    }

    /// After this nothing is delivered to the watcher any more.
    pub(super) fn unsubscribe(&self, subscription: &Subscription) {
        let mut registry = self.registry.lock();
        registry.index.remove(subscription);
        subscription.mailbox.remove(subscription.watch_id);
    }

    /// Takes those of these watchers back into the present that have read all that was published.
    pub(super) fn rejoin(&self, mailbox: &Mailbox, watch_ids: &[WatchId]) {
        // The lock is the point: a publish that has passed this mailbox already, but does not count as published yet,
        // would be in neither place.
        let _no_publish_is_half_way = self.registry.lock();
        mailbox.rejoin(watch_ids, self.published());
    }

    /// Wakes the stream once `revision` was published; at once if it was. Takes the place of its appointment before.
    pub(super) fn wake_at(
        &self,
        revision: Revision,
        stream: StreamId,
        before: Option<Revision>,
        mailbox: &Arc<Mailbox>,
    ) {
        let mut registry = self.registry.lock();
        if let Some(before) = before {
            registry.appointments.remove(&(before, stream));
        }
        if revision > self.published() {
            registry.appointments.insert((revision, stream), mailbox.clone());
        } else {
            drop(registry);
            mailbox.wake();
        }
    }

    /// Forgets a stream and its watchers.
    pub(super) fn close<'a>(
        &self,
        stream: StreamId,
        appointment: Option<Revision>,
        subscriptions: impl Iterator<Item = &'a Subscription>,
    ) {
        let mut registry = self.registry.lock();
        for subscription in subscriptions {
            registry.index.remove(subscription);
        }
        registry.streams.remove(&stream);
        if let Some(revision) = appointment {
            registry.appointments.remove(&(revision, stream));
        }
    }
}

impl Registry {
    fn appointments_due(&mut self, published: Revision) -> Vec<Arc<Mailbox>> {
        let later = self.appointments.split_off(&(published.next(), StreamId(0)));
        std::mem::replace(&mut self.appointments, later).into_values().collect()
    }
}
