//! The entries of the log that are rotten here, and what that forbids.
//!
//! Nothing from the first of them on is applied, and the member does not lead. A hole ends when a state is installed
//! that covers it, or when it is truncated because the cluster never committed it.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::types::LogId;

/// Clones share the list.
#[derive(Clone, Debug, Default)]
pub struct Holes {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Ascending.
    list: Mutex<Vec<LogId>>,
    filled: Notify,
}

impl Holes {
    /// `list` is ascending.
    pub fn new(list: Vec<LogId>) -> Self {
        Self { inner: Arc::new(Inner { list: Mutex::new(list), filled: Notify::new() }) }
    }

    pub fn first(&self) -> Option<LogId> {
        self.inner.list.lock().first().copied()
    }

    pub fn is_empty(&self) -> bool {
        self.inner.list.lock().is_empty()
    }

    pub fn list(&self) -> Vec<LogId> {
        self.inner.list.lock().clone()
    }

    /// The state holds everything up to `applied` now: that need not be read from the log any more.
    pub fn covered(&self, applied: u64) {
        self.keep(|hole| hole.index > applied);
    }

    /// The log was cut behind `last`.
    pub fn truncated(&self, last: Option<u64>) {
        self.keep(|hole| last.is_some_and(|last| hole.index <= last));
    }

    fn keep(&self, keep: impl Fn(&LogId) -> bool) {
        let mut list = self.inner.list.lock();
        list.retain(keep);
        if list.is_empty() {
            self.inner.filled.notify_waiters();
        }
    }

    /// Resolves when there is no hole.
    pub async fn none_left(&self) {
        loop {
            let filled = self.inner.filled.notified();
            tokio::pin!(filled);
            // Waiting begins before the look, so that nothing is missed in between.
            filled.as_mut().enable();
            if self.is_empty() {
                return;
            }
            filled.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn at(index: u64) -> LogId {
        LogId { term: 1, index }
    }

    #[test]
    fn a_hole_ends_with_its_entry() {
        let holes = Holes::new(vec![at(3), at(5), at(9)]);
        let mut none_left = std::pin::pin!(holes.none_left());
        holes.truncated(Some(8));
        assert_eq!(holes.list(), [at(3), at(5)]);
        holes.covered(3);
        assert_eq!(holes.first(), Some(at(5)));
        assert!(none_left.as_mut().now_or_never().is_none());
        holes.truncated(Some(4));
        assert!(holes.is_empty() && none_left.now_or_never().is_some());
    }

    #[test]
    fn a_log_that_is_cut_as_a_whole_has_no_holes() {
        let holes = Holes::new(vec![at(0)]);
        holes.truncated(None);
        assert!(holes.is_empty());
    }
}
