//! History in the order it happened, for whoever has to catch up: watchers, the archive.

use std::ops::ControlFlow;

use bytes::Bytes;

use super::error::ReadError;
use super::event::Event;
use super::horizon::Horizon;
use super::rows::{Rev, damaged};
use super::value::verified;
use super::walk::try_scan;
use crate::storage::{Column, Scan, View};
use crate::types::Revision;

/// Calls `visit` with every event that is on disk from `from` on, compacted or not, until it breaks: for whoever copies
/// the whole. Each value is compared with its checksum.
pub fn walk_events(
    view: &dyn View,
    from: Rev,
    visit: &mut dyn FnMut(Event) -> ControlFlow<()>,
) -> Result<(), ReadError> {
    let first = from.encode();
    let scan = Scan { from: &first, to: None, backwards: false };
    try_scan(view, Column::History, scan, &mut |rev_key, row| {
        let rev = Rev::decode(rev_key).ok_or_else(|| damaged(Column::History, rev_key))?;
        let encoded = Bytes::copy_from_slice(row);
        Ok::<_, ReadError>(visit(Event::of_row(&verified(rev, &encoded)?, &encoded)))
    })
}

/// What an event is charged besides its key and value, so that deletions count against the limit too.
const EVENT_BYTES: usize = 128;

/// Some revisions of history, each complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryChunk {
    pub events: Vec<Event>,
    /// The first revision that was not read.
    pub next: Revision,
}

/// Reads the revisions from `from` to `upto`, both included, or fewer: it stops in front of the revision that would
/// exceed `limit_bytes`, but reads at least one. Nothing newer than the newest revision is read, so `next` of a
/// complete answer is at most one past it.
///
/// `from` may be the compacted revision itself: its events are kept whole.
pub fn history(view: &dyn View, from: Revision, upto: Revision, limit_bytes: usize) -> Result<HistoryChunk, ReadError> {
    let horizon = Horizon::load(view)?;
    if from < horizon.oldest() {
        return Err(ReadError::Compacted { requested: from, compacted: horizon.oldest() });
    }
    let end = upto.min(horizon.revision).next();
    let mut chunk = HistoryChunk { events: Vec::new(), next: end.max(from) };
    let (mut bytes, mut revision_starts_at) = (0, 0);
    let (first, last) = (Rev::start_of(from).encode(), Rev::start_of(end).encode());
    let scan = Scan { from: &first, to: Some(&last), backwards: false };
    try_scan(view, Column::History, scan, &mut |rev_key, row| {
        let rev = Rev::decode(rev_key).ok_or_else(|| damaged(Column::History, rev_key))?;
        if chunk.events.last().is_none_or(|last| last.rev.main != rev.main) {
            revision_starts_at = chunk.events.len();
        }
        bytes += row.len() + EVENT_BYTES;
        if bytes > limit_bytes && revision_starts_at > 0 {
            chunk.events.truncate(revision_starts_at);
            chunk.next = rev.main;
            return Ok(ControlFlow::Break(()));
        }
        let encoded = Bytes::copy_from_slice(row);
        chunk.events.push(Event::of_row(&verified(rev, &encoded)?, &encoded));
        Ok::<_, ReadError>(ControlFlow::Continue(()))
    })?;
    Ok(chunk)
}
