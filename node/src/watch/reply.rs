//! The answers of a stream: their shapes on the wire, and how many of them make one step.
//!
//! Every header here carries the revision only; whoever sends it knows cluster, member and term.

use holdfast_proto::etcdserverpb::{ResponseHeader, WatchResponse};
use holdfast_proto::mvccpb;
use holdfast_proto::mvccpb::event::EventType;

use super::WatchError;
use super::fragment::fragments;
use super::lane::charge;
use super::state_source::StateSource;
use super::watch_id::WatchId;
use crate::env::planted;
use crate::mvcc::{Event, EventKind, Horizon, prev_kv};
use crate::storage::View;
use crate::types::Revision;

/// What etcd says to a watch whose history is gone.
pub(super) const COMPACTED: &str = "etcdserver: mvcc: required revision has been compacted";

/// What an answer costs beyond its events, in bytes.
const ANSWER_OVERHEAD_BYTES: usize = 128;

fn answer(id: WatchId, revision: Revision) -> WatchResponse {
    let header = ResponseHeader { revision: revision.0, ..ResponseHeader::default() };
    WatchResponse { header: Some(header), watch_id: id.0, ..WatchResponse::default() }
}

pub(super) fn created(id: WatchId, revision: Revision) -> WatchResponse {
    WatchResponse { created: true, ..answer(id, revision) }
}

/// The answer to a create that made no watcher.
pub(super) fn refused(revision: Revision, reason: String) -> WatchResponse {
    WatchResponse { created: true, canceled: true, cancel_reason: reason, ..answer(WatchId::STREAM, revision) }
}

/// The answer to a cancel.
pub(super) fn canceled(id: WatchId, revision: Revision) -> WatchResponse {
    WatchResponse { canceled: true, ..answer(id, revision) }
}

/// The end of a watcher whose next revision is gone. Its header has no revision, as etcd's: a client that takes headers
/// for bookmarks must not skip what it never saw.
pub(super) fn overtaken(id: WatchId, compacted: Revision) -> WatchResponse {
    WatchResponse {
        canceled: true,
        compact_revision: compacted.0,
        cancel_reason: COMPACTED.to_owned(),
        ..answer(id, Revision(0))
    }
}

/// Everything up to `revision` was sent: to one watcher, or to all of the stream.
pub(super) fn progress(id: WatchId, revision: Revision) -> WatchResponse {
    answer(id, revision)
}

/// Answers collected in one step. Each phase of a step may add up to a budget, and overrun it by one answer.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    responses: Vec<WatchResponse>,
    bytes: usize,
    bytes_max: usize,
    /// The largest revision in a header.
    newest: Revision,
}

impl Outgoing {
    /// Starts a phase that may add this much.
    pub fn grant(&mut self, bytes: usize) {
        self.bytes_max = self.bytes + bytes;
    }

    /// What the phase may still add.
    pub fn room(&self) -> usize {
        self.bytes_max.saturating_sub(self.bytes)
    }

    pub fn has_room(&self) -> bool {
        self.room() > 0
    }

    pub fn push(&mut self, response: WatchResponse) {
        self.bytes += ANSWER_OVERHEAD_BYTES;
        self.newest = self.newest.max(Revision(response.header.as_ref().map_or(0, |header| header.revision)));
        self.responses.push(response);
    }

    pub fn newest(&self) -> Revision {
        self.newest
    }

    pub fn into_responses(self) -> Vec<WatchResponse> {
        self.responses
    }
}

/// The state, opened when it is first needed.
pub(super) struct LazyView<'e> {
    state: &'e dyn StateSource,
    opened: Option<(Box<dyn View + 'e>, Horizon)>,
}

impl<'e> LazyView<'e> {
    pub fn new(state: &'e dyn StateSource) -> Self {
        Self { state, opened: None }
    }

    pub fn open(&mut self) -> Result<(&dyn View, &Horizon), WatchError> {
        if self.opened.is_none() {
            let view = self.state.view();
            let horizon = Horizon::load(&*view)?;
            self.opened = Some((view, horizon));
        }
        let (view, horizon) = self.opened.as_ref().expect("just opened if it was not");
        Ok((&**view, horizon))
    }
}

/// Whether events carry what they replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Previous {
    Attach,
    Omit,
}

/// How large one message may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// The client cannot put fragments together.
    Never,
    At {
        bytes_max: usize,
    },
}

/// One watcher's events on their way into one answer, revision by revision.
pub(super) struct Draft {
    previous: Previous,
    events: Vec<mvccpb::Event>,
    bytes: usize,
}

impl Draft {
    pub fn new(previous: Previous) -> Self {
        Self { previous, events: Vec::new(), bytes: 0 }
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn add(&mut self, event: &Event, view: &mut LazyView<'_>) -> Result<(), WatchError> {
        let prev_kv = match (self.previous, event.prev) {
            (Previous::Attach, Some(_)) => {
                let (view, horizon) = view.open()?;
                if planted!(PrevKvWrong) { Some(event.to_key_value()) } else { prev_kv(view, horizon, event)? }
            }
            _ => None,
        };
        let kind = match event.kind {
            EventKind::Put => EventType::Put,
            EventKind::Delete => EventType::Delete,
        };
        self.bytes += charge(event) + prev_kv.as_ref().map_or(0, |kv| kv.key.len() + kv.value.len());
        self.events.push(mvccpb::Event { r#type: kind as i32, kv: Some(event.to_key_value()), prev_kv });
        Ok(())
    }

    /// Sends what was drafted, if anything. `through` is the revision up to which the watcher now has everything.
    pub fn send(self, id: WatchId, through: Revision, cut: Cut, out: &mut Outgoing) -> Sent {
        if self.events.is_empty() {
            return Sent::Nothing;
        }
        out.bytes += self.bytes;
        let whole = WatchResponse { events: self.events, ..answer(id, through) };
        match cut {
            Cut::Never => out.push(whole),
            Cut::At { bytes_max } => fragments(whole, bytes_max).into_iter().for_each(|part| out.push(part)),
        }
        Sent::Events
    }
}

/// What a draft came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    Events,
    Nothing,
}
