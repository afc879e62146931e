//! One step of a stream: a bounded piece of what there is to send.

use std::time::Duration;

use holdfast_proto::etcdserverpb::WatchResponse;

use super::catch_up::Reading;
use super::mailbox::Popped;
use super::reply::{Draft, LazyView, Outgoing, Sent};
use super::state_source::StateSource;
use super::stream::{WatchError, WatchStream};
use super::watch_id::WatchId;
use crate::types::Revision;

/// Synced watchers that one step serves.
const STEP_WATCHERS_MAX: usize = 4096;

/// What the owner of a stream is to do.
#[derive(Debug, PartialEq)]
pub enum Step {
    /// Send these in this order, then call again.
    Responses(Vec<WatchResponse>),
    /// History was read and held nothing for these watchers. Call again, after letting others run.
    Reading,
    /// Sleep until woken, or until this time if that comes first, then call again.
    Idle { wake_at: Option<Duration> },
}

impl WatchStream {
    /// Makes the next answers. `state` is the state as of now: ask the store for it at each call.
    ///
    /// Synced watchers come first, then one piece of history, then progress; the first two have a budget each, so that
    /// neither waits for the other to finish.
    pub fn next(&mut self, state: &dyn StateSource, now: Duration) -> Result<Step, WatchError> {
        // A step deals in what was published when it began. So everything it finds in a queue up to here is complete,
        // and every version those events replaced is in a view opened from here on.
        let published = self.hub.published();
        let mut out = Outgoing::default();
        out.grant(self.options.step_bytes_max);
        self.serve_ready(published, state, now, &mut out)?;
        out.grant(self.options.step_bytes_max);
        let reading = self.catch_up(state, now, &mut out)?;
        self.show(out.newest());
        out.grant(self.options.step_bytes_max);
        let wake_at = self.report_progress(published, now, &mut out);

        let responses = out.into_responses();
        Ok(match reading {
            _ if !responses.is_empty() => Step::Responses(responses),
            Reading::More => Step::Reading,
            // What is in a queue now and is newer than `published` has its wake still to come.
            Reading::Done | Reading::BehindHub => Step::Idle { wake_at },
        })
    }

    fn serve_ready(
        &mut self,
        published: Revision,
        state: &dyn StateSource,
        now: Duration,
        out: &mut Outgoing,
    ) -> Result<(), WatchError> {
        let mut view = LazyView::new(state);
        for id in self.mailbox.ready(self.last_ready, published, STEP_WATCHERS_MAX) {
            if !out.has_room() {
                break;
            }
            self.last_ready = Some(id);
            self.serve(id, published, &mut view, now, out)?;
        }
        Ok(())
    }

    /// Empties one watcher's queue into one answer, as far as there is room.
    fn serve(
        &mut self,
        id: WatchId,
        published: Revision,
        view: &mut LazyView<'_>,
        now: Duration,
        out: &mut Outgoing,
    ) -> Result<(), WatchError> {
        let watcher = self.watchers.get_mut(&id).expect("a lane has a watcher");
        let mut draft = Draft::new(watcher.previous);
        let mut through = Revision(0);
        while draft.bytes() < out.room() {
            match self.mailbox.pop(id, published) {
                Popped::Parcel(parcel) => {
                    for event in parcel.events.iter() {
                        draft.add(event, view)?;
                    }
                    through = parcel.revision;
                }
                Popped::Drained => {
                    through = published;
                    break;
                }
                Popped::FellBehind => break,
            }
        }
        if draft.send(id, through, watcher.cut, out) == Sent::Events {
            watcher.note_sent(now);
        }
        Ok(())
    }
}
