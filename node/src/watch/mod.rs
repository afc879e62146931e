//! Watch: telling clients what happened, once, in order, and completely.
//!
//! ```text
//!   raft/machine                                                        api/watch, one task for each stream
//!   ------------                                                        -----------------------------------
//!   engine.write(batch)                                                   handle(request) -> reply
//!        |                                                                next(state, now) -> Step
//!        v                                                                     |
//!   Hub::publish(revisions)                                                    |
//!        |  index: exact keys, ranges                                          |
//!        |                                                                     v
//!        +--> Mailbox of a stream                                          WatchStream
//!        |      lane of watcher 0   Synced  [7][9][12] -------- pop ---------> one answer
//!        |      lane of watcher 1   Synced  []                                 |
//!        |      lane of watcher 2   Lagging next=4 <---- reads history <-------+
//!        +--> wake()
//! ```
//!
//! A watcher is *synced* and gets its events from a queue, or it is *lagging* and gets them from history. A queue that
//! is full is dropped and its watcher lags from the first revision it was not given; a lagging watcher whose history
//! was compacted is canceled, with the revision that says so. So memory is bounded, no writer waits for a watcher, and
//! nothing is lost in silence.
//!
//! What holds, and where it is argued:
//! - No gap and no duplicate between history and queue: `lane.rs` has the invariant, [`Hub`]'s `rejoin` and `subscribe`
//!   the two places where a watcher enters the present. Both hold the hub's lock, under which no publish is half-way.
//! - A revision is not split over answers unless the client asked for fragments: parcels and chunks hold whole
//!   revisions, and an answer is only ever cut between two.
//! - Progress never overtakes an event: a step reads `published` first, drains queues up to it, and reports last.
//! - `header.revision` of every answer with events is a bookmark too: the watcher has everything up to it.
//! - The events of one publish reach the queues after the commit: a view opened after `published` was read has them.
//!
//! Locks, in this order: a view of the state, the hub's registry, a mailbox. A wake is called with neither of the last
//! two held.

mod catch_up;
mod chunk;
mod fragment;
mod hub;
mod index;
mod interest;
mod interval;
mod lane;
mod mailbox;
mod progress;
mod reply;
mod state_source;
mod step;
mod stream;
mod watch_id;

#[cfg(test)]
mod tests;

pub use hub::{Counts, Hub};
pub use interest::watched_range;
pub use mailbox::Wake;
pub use state_source::StateSource;
pub use step::Step;
pub use stream::{PROGRESS_INTERVAL_MIN, StreamOptions, WatchError, WatchStream};
pub use watch_id::WatchId;
