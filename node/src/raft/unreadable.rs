//! Entries of the log that cannot be read any more, and that the state here covers.
//!
//! ```text
//!   a follower lacks it --> the read finds rot --> noted --> nothing is sent, the stream to the follower ends
//!                                                    |
//!                                                    +----> a snapshot; the log is purged up to there
//!   the next stream to the follower: openraft sees that the log begins behind it, and sends the snapshot
//! ```
//!
//! This member has no use for such an entry itself, and there is no other copy that it could ask for. Without a word
//! to openraft the leader would have to stop, and again after each start.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::Raft;
use crate::env::sometimes;
use crate::rt;
use crate::rt::watch::WatchReceiver as _;
use crate::types::LogId;

/// The pause before openraft is asked again; it doubles up to the second of these.
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Which entries these are. Clones share the list.
#[derive(Clone)]
pub struct Unreadable {
    inner: Arc<Inner>,
}

struct Inner {
    /// How far the state is.
    applied: rt::watch::Receiver<LogId>,
    list: Mutex<BTreeSet<LogId>>,
    noted: Notify,
}

impl fmt::Debug for Unreadable {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_tuple("Unreadable").field(&self.inner.list.lock()).finish()
    }
}

impl Unreadable {
    pub fn new(applied: rt::watch::Receiver<LogId>) -> Self {
        Self { inner: Arc::new(Inner { applied, list: Mutex::default(), noted: Notify::new() }) }
    }

    /// Notes an entry that could not be read for a follower. False if the state does not cover it: then nothing here
    /// can stand in for it.
    #[must_use]
    pub fn note(&self, log_id: LogId) -> bool {
        // Index 0 also stands for a state that has nothing yet.
        let applied = self.inner.applied.borrow_watched().index;
        if applied == 0 || log_id.index > applied {
            return false;
        }
        if self.inner.list.lock().insert(log_id) {
            sometimes!(UnreadablePassedOver);
            tracing::error!(
                %log_id,
                "an entry of the Raft log cannot be read for a follower: the state here has it, so the follower is \
                 given a snapshot, and the log will begin behind the entry; check the disk"
            );
            self.inner.noted.notify_one();
        }
        true
    }

    /// Whether the entry behind `prev` is one of these.
    pub fn is_next(&self, prev: Option<u64>) -> bool {
        let next = prev.map_or(0, |prev| prev + 1);
        self.inner.list.lock().iter().any(|log_id| log_id.index == next)
    }

    pub fn count(&self) -> usize {
        self.inner.list.lock().len()
    }

    fn newest(&self) -> Option<LogId> {
        self.inner.list.lock().last().copied()
    }

    /// The log begins behind `upto` now.
    fn purged(&self, upto: u64) {
        self.inner.list.lock().retain(|log_id| log_id.index > upto);
    }
}

/// Puts a snapshot in the place of what cannot be read, as often as that happens. Ends with Raft.
pub async fn pass_over(raft: Raft, unreadable: Unreadable) {
    let mut standing = raft.server_metrics();
    let mut pause = PAUSE;
    loop {
        let Some(newest) = unreadable.newest() else {
            pause = PAUSE;
            drop(standing.borrow_and_update());
            tokio::select! {
                biased;
                () = unreadable.inner.noted.notified() => {}
                // Whatever else changes is of no interest.
                changed = standing.changed() => if changed.is_err() { return },
            }
            continue;
        };
        let (snapshot, purged) = {
            let metrics = raft.metrics();
            let metrics = metrics.borrow_watched();
            let index_of = |id: &Option<super::types::RaftLogId>| id.as_ref().map(|id| id.index);
            (index_of(&metrics.snapshot), index_of(&metrics.purged))
        };
        if let Some(upto) = purged.filter(|purged| *purged >= newest.index) {
            tracing::info!(upto, "the Raft log begins behind the entries that could not be read");
            unreadable.purged(upto);
            continue;
        }
        let asked = if snapshot < Some(newest.index) {
            raft.trigger().snapshot().await
        } else {
            // It is put off while entries of that part are being sent.
            raft.trigger().purge_log(newest.index).await
        };
        if asked.is_err() {
            return;
        }
        rt::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rt::watch::WatchSender as _;

    fn at(index: u64) -> LogId {
        LogId { term: 1, index }
    }

    #[test]
    fn only_what_the_state_covers_is_passed_over() {
        let (state, applied) = rt::watch::channel(LogId::default());
        let unreadable = Unreadable::new(applied);
        assert!(!unreadable.note(at(0)), "nothing is applied yet");
        state.send(at(5)).unwrap();
        assert!(!unreadable.note(at(6)));
        assert!(unreadable.note(at(5)) && unreadable.note(at(3)) && unreadable.note(at(3)));
        assert_eq!((unreadable.count(), unreadable.newest()), (2, Some(at(5))));
        assert!(unreadable.is_next(Some(2)) && unreadable.is_next(Some(4)));
        assert!(!unreadable.is_next(Some(3)) && !unreadable.is_next(None));
        unreadable.purged(4);
        assert_eq!((unreadable.count(), unreadable.is_next(Some(2))), (1, false));
        unreadable.purged(5);
        assert_eq!(unreadable.newest(), None);
    }
}
