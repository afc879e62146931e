//! From a key to the watchers that want to hear of it.
//!
//! ```text
//!   event's key --+--> exact:  hash map   key   -> Group     100,000 watchers of other keys cost nothing
//!                 +--> ranges: interval   range -> Group     only the ranges that hold the key are touched
//!
//!   Group = every watcher of the very same key or range. What it is to receive is picked once for all of them.
//! ```

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;

use super::interest::{Interest, Kinds};
use super::interval::{IntervalMap, Span, SpanEnd};
use super::lane::Parcel;
use super::mailbox::Mailbox;
use super::watch_id::WatchId;
use crate::mvcc::{Event, Revisioned};
use crate::types::RangeEnd;

/// Counts watchers over the hub's lifetime. Orders the members of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SubscriptionId(pub u64);

/// A watcher, as the index knows it.
pub(super) struct Subscription {
    pub id: SubscriptionId,
    pub watch_id: WatchId,
    pub interest: Interest,
    /// Where its stream picks up what is delivered.
    pub mailbox: Arc<Mailbox>,
}

struct Group {
    /// Counts groups over the index's lifetime, so that deliveries have one order on every run.
    id: u64,
    members: BTreeMap<SubscriptionId, Arc<Subscription>>,
}

/// See the module's comment.
pub(super) struct Index {
    /// Only ever asked for one key, so its order reaches nobody.
    exact: HashMap<Bytes, Group>,
    ranges: IntervalMap<Group>,
    groups: u64,
}

/// How the index files a watcher.
enum Place {
    Exact(Bytes),
    Range(Span),
}

fn place(interest: &Interest) -> Place {
    let start = interest.range.start.clone();
    match &interest.range.end {
        RangeEnd::Single => Place::Exact(start),
        RangeEnd::Before(end) => Place::Range(Span { start, end: SpanEnd::Before(end.clone()) }),
        RangeEnd::Unbounded => Place::Range(Span { start, end: SpanEnd::Never }),
    }
}

impl Index {
    pub fn new() -> Self {
        Self { exact: HashMap::new(), ranges: IntervalMap::new(), groups: 0 }
    }

    pub fn insert(&mut self, subscription: Arc<Subscription>) {
        self.groups += 1;
        let fresh = Group { id: self.groups, members: BTreeMap::new() };
        let group = match place(&subscription.interest) {
            Place::Exact(key) => self.exact.entry(key).or_insert(fresh),
            Place::Range(span) => {
                if self.ranges.get_mut(&span).is_none() {
                    self.ranges.insert(span.clone(), fresh);
                }
                self.ranges.get_mut(&span).expect("just put there if it was missing")
            }
        };
        group.members.insert(subscription.id, subscription);
    }

    /// Does nothing if it is not there.
    pub fn remove(&mut self, subscription: &Subscription) {
        match place(&subscription.interest) {
            Place::Exact(key) => {
                let Some(group) = self.exact.get_mut(&key) else { return };
                group.members.remove(&subscription.id);
                if group.members.is_empty() {
                    self.exact.remove(&key);
                }
            }
            Place::Range(span) => {
                let Some(group) = self.ranges.get_mut(&span) else { return };
                group.members.remove(&subscription.id);
                if group.members.is_empty() {
                    self.ranges.remove(&span);
                }
            }
        }
    }

    /// Calls `deliver` once for each watcher that wants anything of this revision, with all that it wants of it.
    pub fn route(&self, revisioned: &Revisioned, deliver: &mut dyn FnMut(&Subscription, &Parcel)) {
        let mut picked: BTreeMap<u64, Picked<'_>> = BTreeMap::new();
        for (position, event) in revisioned.events.iter().enumerate() {
            self.visit(&event.key, &mut |group| {
                picked
                    .entry(group.id)
                    .or_insert_with(|| Picked { group, positions: Vec::new() })
                    .positions
                    .push(position);
            });
        }
        for Picked { group, positions } in picked.values() {
            let mut parcels = Parcels { revisioned, positions, made: [const { None }; 3] };
            for subscription in group.members.values() {
                if let Some(parcel) = parcels.of(subscription.interest.kinds) {
                    deliver(subscription, parcel);
                }
            }
        }
    }

    fn visit<'a>(&'a self, key: &[u8], visit: &mut dyn FnMut(&'a Group)) {
        if let Some(group) = self.exact.get(key) {
            visit(group);
        }
        self.ranges.visit(key, visit);
    }
}

/// The events of a revision that lie in a group's range.
struct Picked<'a> {
    group: &'a Group,
    positions: Vec<usize>,
}

/// What a group's members receive, made at most once for each choice of kinds.
struct Parcels<'a> {
    revisioned: &'a Revisioned,
    positions: &'a [usize],
    /// Outer `None`: not made yet. Inner `None`: nothing is left to send.
    made: [Option<Option<Parcel>>; 3],
}

impl Parcels<'_> {
    fn of(&mut self, kinds: Kinds) -> Option<&Parcel> {
        let slot = match kinds {
            Kinds::All => 0,
            Kinds::Puts => 1,
            Kinds::Deletes => 2,
            Kinds::Nothing => return None,
        };
        let (revisioned, positions) = (self.revisioned, self.positions);
        self.made[slot].get_or_insert_with(|| parcel(revisioned, positions, kinds)).as_ref()
    }
}

/// A list of its own, whose keys and values are shared with the others'. So a queue keeps alive what it is charged for,
/// and not the other thousand events of the same transaction.
fn parcel(revisioned: &Revisioned, positions: &[usize], kinds: Kinds) -> Option<Parcel> {
    let wanted = positions.iter().map(|position| &revisioned.events[*position]).filter(|event| kinds.include(event));
    let events: Vec<Event> = wanted.cloned().collect();
    if events.is_empty() { None } else { Some(Parcel::new(revisioned.revision, events.into())) }
}
