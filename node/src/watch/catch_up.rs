//! Reading history for watchers that came late or fell behind.
//!
//! One step reads one chunk, from where the next watcher in the round stands, and serves every other lagging watcher
//! that stands inside the chunk too: watchers that fall behind together, or reconnect with the same revision, read
//! history once. When the end of history is reached the hub is asked to take them back; if something was published
//! meanwhile it refuses, and the next step reads that little. No writer is ever held up for a reader of history.

use std::time::Duration;

use super::chunk::Chunk;
use super::mailbox::Reader;
use super::reply::{self, Draft, LazyView, Outgoing, Sent};
use super::state_source::StateSource;
use super::stream::{WatchError, WatchStream};
use super::watch_id::WatchId;
use crate::env::{planted, sometimes};
use crate::mvcc::history;
use crate::types::Revision;

/// Lagging watchers that one step looks at.
const CHUNK_WATCHERS_MAX: usize = 512;

/// What is left to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// No watcher of the stream lags.
    Done,
    More,
    /// The state is older than what was published: it is being replaced, and the hub's reset will wake the stream.
    ///
    /// It is never older otherwise. A lagging watcher needs a revision that was committed before it began to lag, or
    /// that was published when the hub refused to take it back; both were in the engine before this step opened a
    /// view.
    BehindHub,
}

impl WatchStream {
    /// Takes lagging watchers one piece of history further, and back into the present where history ends.
    pub(super) fn catch_up(
        &mut self,
        state: &dyn StateSource,
        now: Duration,
        out: &mut Outgoing,
    ) -> Result<Reading, WatchError> {
        let readers = self.mailbox.readers(self.last_lagging, CHUNK_WATCHERS_MAX);
        if readers.is_empty() {
            return Ok(Reading::Done);
        }
        let mut view = LazyView::new(state);
        let (_, horizon) = view.open()?;
        let (oldest, newest) = (horizon.oldest(), horizon.revision);
        let (overtaken, readers): (Vec<_>, Vec<_>) = readers.into_iter().partition(|reader| reader.next < oldest);
        for reader in &overtaken {
            sometimes!(WatcherOvertaken);
            if planted!(WatchSkipsCompacted) {
                self.mailbox.advance(reader.id, oldest);
                continue;
            }
            self.forget(reader.id);
            out.push(reply::overtaken(reader.id, oldest));
        }
        let first = readers.iter().find(|reader| reader.next <= newest);
        if let Some(first) = first {
            self.last_lagging = Some(first.id);
            let chunk_bytes_max = self.options.chunk_bytes_max;
            let chunk = Chunk::new(first.next, history(view.open()?.0, first.next, newest, chunk_bytes_max)?);
            for reader in &readers {
                if (chunk.from..chunk.end).contains(&reader.next) && out.has_room() {
                    let reached = self.tell(*reader, &chunk, &mut view, now, out)?;
                    self.mailbox.advance(reader.id, reached);
                }
            }
        }
        drop(view);
        let ids: Vec<WatchId> = readers.iter().map(|reader| reader.id).collect();
        self.hub.rejoin(&self.mailbox, &ids);
        Ok(if !self.mailbox.is_lagging() {
            Reading::Done
        } else if first.is_none() && overtaken.is_empty() {
            Reading::BehindHub
        } else {
            Reading::More
        })
    }

    /// Sends one watcher what it wants of a chunk, as far as there is room, in one answer. Gives the revision it needs
    /// next.
    fn tell(
        &mut self,
        Reader { id, next }: Reader,
        chunk: &Chunk,
        view: &mut LazyView<'_>,
        now: Duration,
        out: &mut Outgoing,
    ) -> Result<Revision, WatchError> {
        let watcher = self.watchers.get_mut(&id).expect("a lane has a watcher");
        let interest = &watcher.subscription.interest;
        let mut draft = Draft::new(watcher.previous);
        let mut in_draft = next;
        let mut reached = chunk.end;
        for event in chunk.within(&interest.range) {
            let revision = event.rev.main;
            if revision < next || !interest.kinds.include(event) {
                continue;
            }
            if revision > in_draft && draft.bytes() >= out.room() {
                reached = revision;
                break;
            }
            draft.add(event, view)?;
            in_draft = revision;
        }
        if draft.send(id, Revision(reached.0 - 1), watcher.cut, out) == Sent::Events {
            watcher.note_sent(now);
        }
        Ok(reached)
    }
}
