//! A client's stream: its requests. What it is sent is in `step.rs`, `catch_up.rs` and `progress.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use holdfast_proto::etcdserverpb::watch_request::RequestUnion;
use holdfast_proto::etcdserverpb::{WatchCreateRequest, WatchRequest, WatchResponse};

use super::hub::{Hub, StreamId};
use super::index::Subscription;
use super::interest::{Interest, watched_range};
use super::mailbox::Mailbox;
use super::reply::{self, Cut, Previous};
use super::state_source::StateSource;
use super::watch_id::WatchId;
use crate::env::planted;
use crate::mvcc::{self, ReadError};
use crate::types::{Limits, Revision};

/// Shorter intervals between progress notices are raised to this, as etcd does.
pub const PROGRESS_INTERVAL_MIN: Duration = Duration::from_millis(100);

/// What differs between streams, and how much one step may do.
#[derive(Clone, Debug)]
pub struct StreamOptions {
    /// How long a watcher that asked for progress notices stays without a message. Give streams slightly different
    /// ones, or all clients that reconnected together are notified together.
    pub progress_interval: Duration,
    /// Answers to clients that can put fragments together are smaller than this, as encoded. Others cannot be kept
    /// below any limit: their revisions come whole.
    pub fragment_bytes_max: usize,
    /// Answers that one step makes for synced watchers, in bytes, and again for lagging ones. A step exceeds each by at
    /// most one answer, and an answer by at most one revision.
    pub step_bytes_max: usize,
    /// History that one step reads. Exceeded if a single revision is larger.
    pub chunk_bytes_max: usize,
}

impl StreamOptions {
    /// `progress_interval` is 10 minutes in etcd unless told otherwise.
    pub fn new(limits: &Limits, progress_interval: Duration) -> Self {
        /// What etcd adds to the largest request for the rest of a gRPC message.
        const MESSAGE_OVERHEAD_BYTES: usize = 512 * 1024;
        Self {
            progress_interval,
            fragment_bytes_max: limits.request_bytes_max + MESSAGE_OVERHEAD_BYTES,
            step_bytes_max: limits.watch_step_bytes_max,
            chunk_bytes_max: 512 * 1024,
        }
    }
}

/// A stream cannot go on: this member failed to read its state.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    #[error("watchers cannot be served from this member's state: {0}")]
    State(#[from] ReadError),
}

impl From<crate::storage::EngineError> for WatchError {
    fn from(error: crate::storage::EngineError) -> Self {
        WatchError::State(error.into())
    }
}

/// Why a create made no watcher. The texts of the first three are etcd's.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("{}", reply::COMPACTED)]
    StartBeforeHistory,
    #[error("mvcc: watcher range is empty")]
    EmptyRange,
    #[error("mvcc: duplicate watch ID provided on the WatchStream")]
    DuplicateId,
    #[error("mvcc: watch ID {0} is negative: choose a positive one, or 0 to be given one")]
    NegativeId(WatchId),
    #[error("mvcc: this stream has its {0} watchers: cancel some, or open another stream")]
    TooManyWatchers(usize),
}

/// One client's watchers. Owned by one task; dropping it ends them.
///
/// The task repeats: [`handle`](WatchStream::handle) a request if there is one and send its reply, call
/// [`next`](WatchStream::next) and send what it gives, sleep when it is idle.
pub struct WatchStream {
    pub(super) hub: Arc<Hub>,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) options: StreamOptions,
    pub(super) watchers: BTreeMap<WatchId, Watcher>,
    /// Where the rounds over ready and over lagging watchers go on.
    pub(super) last_ready: Option<WatchId>,
    pub(super) last_lagging: Option<WatchId>,
    /// When to look at which watcher that asked for progress notices. May be early, never late.
    pub(super) due: BTreeSet<(Duration, WatchId)>,
    pub(super) asked: Option<Asked>,
    /// The largest revision in a header so far.
    pub(super) shown: Revision,
    /// When the hub wakes this stream though it has no events for it.
    appointment: Option<Revision>,
    id: StreamId,
    /// The lowest id the server may choose next.
    next_id: WatchId,
}

/// What a stream knows of its watcher.
pub(super) struct Watcher {
    pub subscription: Arc<Subscription>,
    pub previous: Previous,
    pub cut: Cut,
    /// If it wants progress notices.
    pub notices: Option<Notices>,
}

/// A watcher's progress notices.
#[derive(Clone, Copy, Debug)]
pub(super) struct Notices {
    /// When the watcher was last sent something, or was created.
    pub quiet_since: Duration,
    /// Its entry in [`WatchStream::due`].
    pub due: Duration,
}

/// The client asked how far the stream is; several questions may share an answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    /// What was published when it asked first.
    pub earliest: Revision,
    /// What was published when it asked last.
    pub latest: Revision,
}

impl fmt::Debug for WatchStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchStream").field("id", &self.id).field("mailbox", &self.mailbox).finish_non_exhaustive()
    }
}

impl WatchStream {
    pub(super) fn new(hub: Arc<Hub>, id: StreamId, mailbox: Arc<Mailbox>, options: StreamOptions) -> Self {
        assert!(options.step_bytes_max > 0, "a step without room gets nowhere");
        let progress_interval = options.progress_interval.max(PROGRESS_INTERVAL_MIN);
        Self {
            hub,
            mailbox,
            options: StreamOptions { progress_interval, ..options },
            watchers: BTreeMap::new(),
            last_ready: None,
            last_lagging: None,
            due: BTreeSet::new(),
            asked: None,
            shown: Revision::FIRST,
            appointment: None,
            id,
            next_id: WatchId(0),
        }
    }

    /// Takes a request. Its reply, if it has one, goes out before anything that [`next`](WatchStream::next) gives
    /// later: `created` comes before the first event, and nothing comes after `canceled`.
    ///
    /// Whether the client may watch [`watched_range`] is asked before, and [`refuse`](WatchStream::refuse) says no.
    pub fn handle(
        &mut self,
        request: WatchRequest,
        state: &dyn StateSource,
        now: Duration,
    ) -> Result<Option<WatchResponse>, WatchError> {
        match request.request_union {
            Some(RequestUnion::CreateRequest(create)) => {
                let revision = self.show(self.newest(state)?);
                Ok(Some(match self.create(&create, revision, now) {
                    Ok(id) => reply::created(id, revision),
                    Err(refusal) => reply::refused(revision, refusal.to_string()),
                }))
            }
            Some(RequestUnion::CancelRequest(cancel)) => {
                let id = WatchId(cancel.watch_id);
                if !self.watchers.contains_key(&id) {
                    return Ok(None);
                }
                let revision = self.newest(state)?;
                self.forget(id);
                Ok(Some(reply::canceled(id, self.show(revision))))
            }
            Some(RequestUnion::ProgressRequest(_)) => {
                let latest = self.hub.published();
                let earliest = self.asked.map_or(latest, |asked| asked.earliest);
                self.asked = Some(Asked { earliest, latest });
                Ok(None)
            }
            None => Ok(None),
        }
    }

    /// The reply to a create that somebody else refuses, say for want of permission.
    pub fn refuse(&mut self, reason: &str, state: &dyn StateSource) -> Result<WatchResponse, WatchError> {
        let revision = self.show(self.newest(state)?);
        Ok(reply::refused(revision, reason.to_owned()))
    }

    /// Ends a watcher that its client did not cancel. Nothing if there is none of this id.
    pub fn revoke(
        &mut self,
        id: WatchId,
        reason: &str,
        state: &dyn StateSource,
    ) -> Result<Option<WatchResponse>, WatchError> {
        if !self.watchers.contains_key(&id) {
            return Ok(None);
        }
        let revision = self.newest(state)?;
        self.forget(id);
        Ok(Some(WatchResponse { cancel_reason: reason.to_owned(), ..reply::canceled(id, self.show(revision)) }))
    }

    /// Live watchers of this stream.
    pub fn watchers(&self) -> usize {
        self.watchers.len()
    }

    /// Whether the next step reads history, which takes a while.
    pub fn is_lagging(&self) -> bool {
        self.mailbox.is_lagging()
    }

    fn create(&mut self, request: &WatchCreateRequest, revision: Revision, now: Duration) -> Result<WatchId, Refusal> {
        let watchers_max = self.hub.limits().stream_watchers_max;
        if request.start_revision < 0 {
            return Err(Refusal::StartBeforeHistory);
        }
        if watched_range(request).is_empty() {
            return Err(Refusal::EmptyRange);
        }
        if self.watchers.len() >= watchers_max {
            return Err(Refusal::TooManyWatchers(watchers_max));
        }
        let id = self.free_id(WatchId(request.watch_id))?;
        let from = if request.start_revision == 0 { revision.next() } else { Revision(request.start_revision) };
        let from = if planted!(WatchResumesLate) && from <= revision { from.next() } else { from };
        let subscription = self.hub.subscribe(&self.mailbox, id, Interest::of(request), from);
        let due = now + self.options.progress_interval;
        let watcher = Watcher {
            subscription,
            previous: if request.prev_kv { Previous::Attach } else { Previous::Omit },
            cut: if request.fragment { Cut::At { bytes_max: self.options.fragment_bytes_max } } else { Cut::Never },
            notices: request.progress_notify.then_some(Notices { quiet_since: now, due }),
        };
        if request.progress_notify {
            self.due.insert((due, id));
        }
        self.watchers.insert(id, watcher);
        Ok(id)
    }

    /// The id asked for, or one that was not given out yet and that no client has taken.
    fn free_id(&mut self, wanted: WatchId) -> Result<WatchId, Refusal> {
        if wanted.0 < 0 {
            return Err(Refusal::NegativeId(wanted));
        }
        if wanted.0 > 0 {
            let taken = self.watchers.contains_key(&wanted);
            return if taken { Err(Refusal::DuplicateId) } else { Ok(wanted) };
        }
        while self.watchers.contains_key(&self.next_id) {
            self.next_id.0 += 1;
        }
        let id = self.next_id;
        self.next_id.0 += 1;
        Ok(id)
    }

    pub(super) fn forget(&mut self, id: WatchId) {
        if let Some(watcher) = self.watchers.remove(&id) {
            if let Some(notices) = watcher.notices {
                self.due.remove(&(notices.due, id));
            }
            self.hub.unsubscribe(&watcher.subscription);
        }
    }

    /// The newest revision a client can have seen on this member: a read may be ahead of what was published.
    fn newest(&self, state: &dyn StateSource) -> Result<Revision, WatchError> {
        // Read first: a publish in between must not make the answer older than what was published.
        let published = self.hub.published();
        Ok(mvcc::revision(&*state.view())?.max(published))
    }

    /// Notes that a header with this revision goes out.
    pub(super) fn show(&mut self, revision: Revision) -> Revision {
        self.shown = self.shown.max(revision);
        revision
    }

    pub(super) fn wake_at(&mut self, revision: Revision) {
        self.hub.wake_at(revision, self.id, self.appointment, &self.mailbox);
        self.appointment = Some(revision);
    }
}

impl Drop for WatchStream {
    fn drop(&mut self) {
        let subscriptions = self.watchers.values().map(|watcher| &*watcher.subscription);
        self.hub.close(self.id, self.appointment, subscriptions);
    }
}
