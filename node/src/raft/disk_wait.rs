//! How long the disk of the Raft log keeps its flusher waiting.
//!
//! A disk that hangs fails nothing: no call returns. So the flusher notes when it turns to the disk and when it is
//! back, and others look at the time in between (`ops/slow_disk.rs`).

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::rt;

/// The longest wait is remembered for this long at least, and twice this long at most.
const WINDOW: Duration = Duration::from_secs(10);

/// Clones share what is known.
#[derive(Clone, Debug, Default)]
pub struct DiskWait {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    busy_since: Option<rt::Instant>,
    /// When the present window began, the longest wait in it, and the longest in the one before.
    window: Option<rt::Instant>,
    longest: Duration,
    longest_before: Duration,
}

impl DiskWait {
    /// The flusher turns to the disk.
    pub fn begin(&self, now: rt::Instant) {
        self.inner.lock().busy_since = Some(now);
    }

    /// It is back.
    pub fn end(&self, now: rt::Instant) {
        let mut inner = self.inner.lock();
        inner.roll(now);
        if let Some(since) = inner.busy_since.take() {
            inner.longest = inner.longest.max(now - since);
        }
    }

    /// How long the flusher has been waiting for the disk by now; zero if it is not.
    pub fn waiting(&self, now: rt::Instant) -> Duration {
        self.inner.lock().busy_since.map_or(Duration::ZERO, |since| now - since)
    }

    /// The longest wait of the last seconds, the one under way included.
    pub fn longest_lately(&self, now: rt::Instant) -> Duration {
        let waiting = self.waiting(now);
        let mut inner = self.inner.lock();
        inner.roll(now);
        inner.longest.max(inner.longest_before).max(waiting)
    }
}

impl Inner {
    fn roll(&mut self, now: rt::Instant) {
        let begun = *self.window.get_or_insert(now);
        if now - begun >= WINDOW {
            // After a long silence nothing of the window before counts either.
            let is_recent = now - begun < 2 * WINDOW;
            let longest = std::mem::take(&mut self.longest);
            self.longest_before = if is_recent { longest } else { Duration::ZERO };
            self.window = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_seen_while_it_lasts_and_remembered_for_a_while() {
        let wait = DiskWait::default();
        let start = rt::now();
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(wait.waiting(at(0)), Duration::ZERO);
        wait.begin(at(0));
        assert_eq!(wait.waiting(at(700)), Duration::from_millis(700));
        assert_eq!(wait.longest_lately(at(700)), Duration::from_millis(700));
        wait.end(at(800));
        assert_eq!(wait.waiting(at(900)), Duration::ZERO);
        assert_eq!(wait.longest_lately(at(9_000)), Duration::from_millis(800));
        wait.begin(at(11_000));
        wait.end(at(11_005));
        assert_eq!(wait.longest_lately(at(12_000)), Duration::from_millis(800));
        wait.begin(at(22_000));
        wait.end(at(22_005));
        assert_eq!(wait.longest_lately(at(23_000)), Duration::from_millis(5));
    }
}
