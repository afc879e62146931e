//! Watching keys: a stream of what changes, without gap and without duplicate, over any number of reconnections.
//!
//! ```text
//! Watch (Stream) ── Driver ── Session   one gRPC stream to one endpoint; many over the life of a watch
//!                     └────── Cursor    what was delivered, and so where the next session must begin
//! ```
//!
//! A watch asks for the first revision it has not delivered. That is known exactly, because a revision is delivered
//! whole or not at all: pieces of one ("fragments") are held back until the last one is there. Nothing runs in the
//! background: an unread watch costs the server its place in the history and nothing else.

mod cursor;

use std::collections::VecDeque;
use std::future::IntoFuture;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{BoxStream, Stream, StreamExt};
use holdfast_proto::etcdserverpb::watch_client::WatchClient;
use holdfast_proto::etcdserverpb::watch_create_request::FilterType;
use holdfast_proto::etcdserverpb::watch_request::RequestUnion;
use holdfast_proto::etcdserverpb::{
    ResponseHeader, WatchCreateRequest, WatchProgressRequest, WatchRequest, WatchResponse,
};
use holdfast_proto::mvccpb::Event;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use crate::call::Core;
use crate::endpoints::{Connection, Slot, Target};
use crate::kv::bytes;
use crate::range::{make_from, make_prefix};
use crate::retry::{self, Backoff, Intent, Verdict};
use crate::{Client, Error, rt};
use cursor::{Cursor, Step};

/// Longest pause between two attempts to go on.
const BACKOFF_MAX: Duration = Duration::from_secs(2);
/// Requests waiting to be sent on one watch: its creation, and questions for progress.
const REQUESTS_MAX: usize = 16;
/// Metadata by which a server ends the stream when its member has lost touch with the leader, instead of leaving
/// the watch silent for as long as the partition lasts.
const REQUIRE_LEADER: &str = "hasleader";

/// What a watch delivers.
#[derive(Clone, Debug, PartialEq)]
pub enum Update {
    /// Events of one or more whole revisions, in order. `header.revision` is the server's at the time of sending,
    /// which may be later than that of the last event.
    Events { header: ResponseHeader, events: Vec<Event> },
    /// Nothing else has happened up to `header.revision`.
    Progress { header: ResponseHeader },
}

/// A watch about to begin. Await it: the answer comes when a server has set the watch up.
#[derive(Clone, Debug)]
#[must_use = "a watch does not begin until it is awaited"]
pub struct WatchBuilder {
    request: WatchCreateRequest,
    client: Client,
}

impl WatchBuilder {
    /// All keys that begin with the key given. An empty key: all keys.
    pub fn prefix(mut self) -> Self {
        make_prefix(&mut self.request.key, &mut self.request.range_end);
        self
    }

    /// All keys from the key given on.
    pub fn onward(mut self) -> Self {
        make_from(&mut self.request.key, &mut self.request.range_end);
        self
    }

    /// All keys from the key given up to, and without, `end`.
    pub fn range(mut self, end: impl Into<Vec<u8>>) -> Self {
        self.request.range_end = bytes(end);
        self
    }

    /// The first revision to deliver; it may lie in the past or in the future. Without this: from now on.
    pub fn start_revision(mut self, revision: i64) -> Self {
        self.request.start_revision = revision;
        self
    }

    /// With each event, what the key held before, as long as that is not compacted.
    pub fn prev_kv(mut self) -> Self {
        self.request.prev_kv = true;
        self
    }

    /// [`Update::Progress`] now and then when nothing happens.
    pub fn progress_notify(mut self) -> Self {
        self.request.progress_notify = true;
        self
    }

    /// Leaves puts out.
    pub fn without_puts(mut self) -> Self {
        self.request.filters.push(FilterType::Noput.into());
        self
    }

    /// Leaves deletions out.
    pub fn without_deletes(mut self) -> Self {
        self.request.filters.push(FilterType::Nodelete.into());
        self
    }
}

impl IntoFuture for WatchBuilder {
    type Output = Result<Watch, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let questions = Arc::new(Mutex::new(None));
            let mut driver = Driver::new(self.client.core, self.request, Arc::clone(&questions));
            driver.begin().await?;
            let next_revision = driver.cursor.next_revision().unwrap_or_default();
            let updates = futures::stream::unfold(driver, |mut driver| async move {
                let item = driver.next().await?;
                Some((item, driver))
            });
            Ok(Watch { updates: updates.boxed(), questions, start_revision: next_revision })
        })
    }
}

/// A stream of updates. It goes on, on another endpoint where need be, until it is dropped or a server refuses it
/// for good: then the last item is the error. [`Error::Compacted`] says from where it could begin anew.
#[must_use = "a watch is a stream: read it"]
pub struct Watch {
    updates: BoxStream<'static, Result<Update, Error>>,
    questions: Questions,
    start_revision: i64,
}

/// Where questions for progress go: the session of the moment, if there is one.
type Questions = Arc<Mutex<Option<mpsc::Sender<WatchRequest>>>>;

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").field("start_revision", &self.start_revision).finish_non_exhaustive()
    }
}

impl Watch {
    /// The first revision this watch delivers: the one asked for, or the one after the server's at its creation.
    #[must_use]
    pub fn start_revision(&self) -> i64 {
        self.start_revision
    }

    /// Asks how far the watch has got; the answer is an [`Update::Progress`] among the updates. A question asked
    /// while the connection is down is lost: ask again.
    pub fn request_progress(&self) {
        let request = WatchRequest { request_union: Some(RequestUnion::ProgressRequest(WatchProgressRequest {})) };
        if let Some(questions) = self.questions.lock().as_ref() {
            // Full means that as many questions are on their way already.
            let _ = questions.try_send(request);
        }
    }
}

impl Stream for Watch {
    type Item = Result<Update, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.updates.poll_next_unpin(cx)
    }
}

impl Client {
    /// Watches `key`, or a range that begins there.
    pub fn watch(&self, key: impl Into<Vec<u8>>) -> WatchBuilder {
        // A server may then cut a revision that is too large for one message, and the cursor mends it.
        let request = WatchCreateRequest { key: bytes(key), fragment: true, ..Default::default() };
        WatchBuilder { request, client: self.clone() }
    }
}

/// One gRPC stream with one watch on it.
struct Session {
    slot: Arc<Slot>,
    connection: Connection,
    responses: Streaming<WatchResponse>,
    created: bool,
}

struct Driver {
    core: Arc<Core>,
    request: WatchCreateRequest,
    cursor: Cursor,
    session: Option<Session>,
    questions: Questions,
    ready: VecDeque<Update>,
    /// A new token was asked for since the watch was last created.
    has_new_token: bool,
    /// Why the watch ended; delivered after what is ready.
    end: Option<Error>,
    ended: bool,
    backoff: Backoff,
}

impl Driver {
    fn new(core: Arc<Core>, request: WatchCreateRequest, questions: Questions) -> Self {
        let cursor = Cursor::new(request.start_revision);
        Self {
            core,
            request,
            cursor,
            session: None,
            questions,
            ready: VecDeque::new(),
            has_new_token: false,
            end: None,
            ended: false,
            backoff: Backoff::new(BACKOFF_MAX),
        }
    }

    /// Until a server has created the watch, or said no, or the deadline of a request has passed.
    async fn begin(&mut self) -> Result<(), Error> {
        let limit = self.core.options.request_timeout;
        let mut last = Status::new(Code::DeadlineExceeded, "no endpoint answered in time");
        let created = rt::timeout(limit, async {
            while !self.session.as_ref().is_some_and(|session| session.created) && self.end.is_none() {
                if let Err(status) = self.advance().await {
                    last = status;
                }
            }
        })
        .await;
        if created.is_err() {
            return Err(retry::into_error(Intent::Read, &last));
        }
        match self.end.take() {
            // The compaction is an item of the stream, as it would be had it come later.
            Some(compacted @ Error::Compacted { .. }) => self.end = Some(compacted),
            Some(error) => return Err(error),
            None => {}
        }
        Ok(())
    }

    async fn next(&mut self) -> Option<Result<Update, Error>> {
        loop {
            if let Some(update) = self.ready.pop_front() {
                return Some(Ok(update));
            }
            if let Some(error) = self.end.take() {
                self.ended = true;
                return Some(Err(error));
            }
            if self.ended {
                return None;
            }
            if let Err(status) = self.advance().await {
                tracing::debug!(%status, "watch interrupted; going on elsewhere");
            }
        }
    }

    /// One step: a session where there is none, else one response. An error has been dealt with; it is given back
    /// only to be named.
    async fn advance(&mut self) -> Result<(), Status> {
        let Some(session) = &mut self.session else {
            let opened = self.open().await;
            return match opened {
                Ok(session) => {
                    self.session = Some(session);
                    Ok(())
                }
                Err(status) => Err(self.interrupted(status).await),
            };
        };
        // Creating a watch is a local matter for a server: one that takes long over it is not well.
        let received = if session.created {
            session.responses.message().await
        } else {
            let patience = self.core.options.read_attempt_timeout;
            match rt::timeout(patience, session.responses.message()).await {
                Ok(received) => received,
                Err(_) => Err(Status::new(Code::DeadlineExceeded, "the watch was not created in time")),
            }
        };
        let response = match received {
            Ok(Some(response)) => response,
            Ok(None) => return Err(self.interrupted(Status::unavailable("the server closed the stream")).await),
            Err(status) => return Err(self.interrupted(status).await),
        };
        self.core.learn(&session.slot, response.header.as_ref());
        match self.cursor.take(response) {
            Step::Created => {
                session.created = true;
                self.has_new_token = false;
                self.backoff.reset();
            }
            Step::Deliver(update) => self.ready.push_back(update),
            Step::Wait => {}
            Step::Reopen(reason) => return Err(self.interrupted(Status::unavailable(reason)).await),
            Step::End(Error::WatchCanceled { reason })
                if !self.has_new_token && self.core.wants_another_token(&reason) =>
            {
                self.has_new_token = true;
                return Err(self.interrupted(Status::unavailable(reason)).await);
            }
            Step::End(error) => {
                self.drop_session();
                self.end = Some(error);
            }
        }
        Ok(())
    }

    async fn open(&self) -> Result<Session, Status> {
        let patience = self.core.options.read_attempt_timeout;
        let slot = self.core.endpoints.pick(&Target::Any);
        let connection = self.core.connection(&slot, rt::Instant::now() + patience).await?;
        let mut create = self.request.clone();
        create.start_revision = self.cursor.next_revision().unwrap_or_default();
        let (sender, receiver) = mpsc::channel(REQUESTS_MAX);
        let first = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
        // The channel is new and has room; and the stream must not be opened before its first request is there,
        // because servers answer the opening only then.
        let _ = sender.try_send(first);
        let mut request = tonic::Request::new(ReceiverStream::new(receiver));
        request.metadata_mut().insert(REQUIRE_LEADER, tonic::metadata::MetadataValue::from_static("true"));
        let mut stub = WatchClient::new(connection.channel.clone())
            .max_decoding_message_size(self.core.options.response_bytes_max);
        let opened = match rt::timeout(patience, stub.watch(request)).await {
            Ok(opened) => opened,
            Err(_) => Err(Status::new(Code::DeadlineExceeded, format!("{} did not open the stream", slot.address))),
        };
        match opened {
            Ok(response) => {
                *self.questions.lock() = Some(sender);
                Ok(Session { slot, connection, responses: response.into_inner(), created: false })
            }
            Err(status) => {
                self.core.blame(&slot, &connection, &status).await;
                Err(status)
            }
        }
    }

    /// Ends the session; decides whether the watch goes on, and if so, waits a little.
    async fn interrupted(&mut self, status: Status) -> Status {
        if let Some(session) = self.drop_session() {
            self.core.blame(&session.slot, &session.connection, &status).await;
        }
        if retry::judge(&status) == Verdict::Answered {
            self.end = Some(retry::into_error(Intent::Read, &status));
        } else {
            rt::sleep(self.backoff.step().max(retry::retry_after(&status))).await;
        }
        status
    }

    fn drop_session(&mut self) -> Option<Session> {
        self.cursor.disconnected();
        *self.questions.lock() = None;
        self.session.take()
    }
}
