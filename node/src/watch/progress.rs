//! Telling a client how far it is when there is nothing else to tell.
//!
//! A progress answer with revision R says: every event up to R was sent. So it is made last in a step, from what was
//! published before the step looked into any queue.

use std::time::Duration;

use super::mailbox::Told;
use super::reply::{Outgoing, progress};
use super::stream::{Asked, WatchStream, Watcher};
use super::watch_id::WatchId;
use crate::types::Revision;

impl Watcher {
    /// The next progress notice can wait.
    pub(super) fn note_sent(&mut self, now: Duration) {
        if let Some(notices) = &mut self.notices {
            notices.quiet_since = now;
        }
    }
}

impl WatchStream {
    /// Adds the progress that is due, and says when to look again.
    pub(super) fn report_progress(
        &mut self,
        published: Revision,
        now: Duration,
        out: &mut Outgoing,
    ) -> Option<Duration> {
        self.answer_request(published, out);
        while let Some((when, id)) = self.due.first().copied()
            && when <= now
            && out.has_room()
        {
            self.due.pop_first();
            self.notify(id, published, now, out);
        }
        self.due.first().map(|(when, _)| *when)
    }

    /// Answers the client's question once every watcher is synced and was told at least what was published when it
    /// asked. A watcher that starts in the future makes the answer wait until that start is next. On a stream without
    /// watchers there is nothing to say, as in etcd.
    fn answer_request(&mut self, published: Revision, out: &mut Outgoing) {
        let Some(asked) = self.asked else { return };
        if self.watchers.is_empty() {
            self.asked = None;
            return;
        }
        let Told::Through { revision, start } = self.mailbox.told(published) else { return };
        // A read may have shown the client more than was published. Progress does not take that back.
        let soonest = asked.earliest.max(self.shown).max(Revision(start.0 - 1));
        if revision >= soonest {
            out.push(progress(WatchId::STREAM, revision));
            let unanswered = Asked { earliest: asked.latest, ..asked };
            self.asked = (revision < asked.latest).then_some(unanswered);
        } else if soonest > published {
            self.wake_at(soonest);
        }
    }

    /// Looks at one watcher whose interval may be over. If it is busy catching up it has its news from there.
    fn notify(&mut self, id: WatchId, published: Revision, now: Duration, out: &mut Outgoing) {
        let watcher = self.watchers.get_mut(&id).expect("a watcher takes its entry along");
        let notices = watcher.notices.as_mut().expect("only those that want notices have an entry");
        if notices.quiet_since + self.options.progress_interval <= now {
            if self.mailbox.is_told(id, published) && published >= self.shown {
                out.push(progress(id, published));
            }
            notices.quiet_since = now;
        }
        notices.due = notices.quiet_since + self.options.progress_interval;
        self.due.insert((notices.due, id));
    }
}
