//! Watch: the asynchronous side of [`crate::watch`].
//!
//! ```text
//!   client ---- requests ----> turn() ----> WatchStream::handle ----> reply --\
//!                               ^  |                                           >--- yield ---> client
//!                  wake, timer -/  `------> WatchStream::next   ----> answers-/
//! ```
//!
//! The answers are a stream that is pulled by the connection. While the client reads nothing, nothing is pulled: no
//! request is taken, no step is made, and the watchers' own queues are what is bounded.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, Stream, StreamExt};
use holdfast_proto::etcdserverpb::watch_request::RequestUnion;
use holdfast_proto::etcdserverpb::watch_server::Watch;
use holdfast_proto::etcdserverpb::{WatchRequest, WatchResponse};
use prost::Message;
use tokio::sync::Notify;
use tonic::{Request, Response, Status, Streaming};

use super::gate::{Asks, Gate, Passenger, Rpc, Ticket, requires_leader};
use super::outcome::work_died;
use super::outlook::Outlook;
use super::{Options, status, stop};
use crate::auth::{self, Asked, Caller};
use crate::metrics::RpcKind::BidiStream;
use crate::rt;
use crate::types::{KeyRange, Revision};
use crate::watch::{Step, StreamOptions, WatchError, WatchId, WatchStream, watched_range};

/// Progress notices of different streams come up to this part of the interval apart.
const JITTER_DIVISOR: u64 = 10;

pub struct WatchService {
    gate: Gate,
    watch: Rpc,
    progress_interval: Duration,
    /// The clock of the watchers' intervals starts here.
    epoch: rt::Instant,
    stopping: rt::watch::Receiver<bool>,
}

impl WatchService {
    pub fn new(gate: &Gate, options: &Options) -> Self {
        Self {
            gate: gate.clone(),
            watch: gate.rpc(BidiStream, "etcdserverpb.Watch", "Watch").asks(Asks::Nothing),
            progress_interval: options.watch_progress_interval,
            epoch: rt::now(),
            stopping: options.stopping.clone(),
        }
    }
}

#[tonic::async_trait]
impl Watch for WatchService {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<WatchResponse, Status>> + Send>>;

    async fn watch(&self, request: Request<Streaming<WatchRequest>>) -> Result<Response<Self::WatchStream>, Status> {
        let (ticket, passenger) = self.watch.open(&request).await?;
        let outlook = requires_leader(request.metadata()).then(|| self.gate.outlook().clone());
        let woken = Arc::new(Notify::new());
        let wake = Arc::clone(&woken);
        let options = StreamOptions::new(self.gate.ops().limits(), with_jitter(self.progress_interval));
        let watchers = self.gate.ops().hub().open(options, Arc::new(move || wake.notify_one()));
        let session = Session {
            gate: self.gate.clone(),
            rpc: self.watch.clone(),
            epoch: self.epoch,
            auth_seen: self.gate.ops().auth().changes(),
            passenger,
            watched: BTreeMap::new(),
            requests: Some(request.into_inner()),
            watchers: Some(watchers),
            woken,
            outlook,
            stopping: self.stopping.clone(),
        };
        Ok(Response::new(Box::pin(answers(session, ticket))))
    }
}

/// So that all clients that reconnected together are not notified together.
fn with_jitter(interval: Duration) -> Duration {
    let spread_ms = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX) / JITTER_DIVISOR;
    if spread_ms == 0 { interval } else { interval + Duration::from_millis(rt::random_u64() % spread_ms) }
}

/// One client's stream.
struct Session {
    gate: Gate,
    rpc: Rpc,
    epoch: rt::Instant,
    passenger: Passenger,
    /// The keys of each watcher, to ask again when users or roles have changed.
    watched: BTreeMap<i64, Watched>,
    /// As of which change of users and roles they were asked.
    auth_seen: u64,
    /// `None` once the client has said its last: it may go on listening.
    requests: Option<Streaming<WatchRequest>>,
    /// `None` only while a blocking thread has them.
    watchers: Option<WatchStream>,
    woken: Arc<Notify>,
    /// Of a client that wants to be told when there is no leader.
    outlook: Option<Outlook>,
    stopping: rt::watch::Receiver<bool>,
}

/// What a watcher was permitted, and who was.
#[derive(Clone)]
struct Watched {
    keys: KeyRange,
    caller: Caller,
}

/// What ends the wait of an idle stream.
enum Turn {
    Request(WatchRequest),
    /// There may be something to send.
    Look,
}

fn answers(mut session: Session, ticket: Ticket) -> impl Stream<Item = Result<WatchResponse, Status>> + Send {
    async_stream::stream! {
        let failed = loop {
            match session.next().await {
                Ok(responses) => {
                    for response in responses {
                        yield Ok(session.complete(response));
                    }
                }
                Err(status) => break status,
            }
        };
        // A client that hangs up has simply ended its stream.
        let is_hung_up = failed.code() == tonic::Code::Cancelled;
        ticket.finish((!is_hung_up).then_some(&failed));
        yield Err(failed);
    }
}

impl Session {
    /// Makes the next answers; waits until there are some.
    async fn next(&mut self) -> Result<Vec<WatchResponse>, Status> {
        loop {
            // Requests are taken between steps too, so that a busy stream can be added to and canceled.
            if let Some(request) = self.arrived()? {
                return self.handle(request).await;
            }
            if let Some(revoked) = self.ask_again()? {
                return Ok(revoked);
            }
            match self.step().await? {
                Step::Responses(responses) => return Ok(responses),
                Step::Reading => {}
                Step::Idle { wake_at } => match self.turn(wake_at).await? {
                    Turn::Request(request) => return self.handle(request).await,
                    Turn::Look => {}
                },
            }
        }
    }

    /// One step of the watchers. One that reads history is made on a blocking thread.
    async fn step(&mut self) -> Result<Step, Status> {
        let engine = self.gate.ops().store().engine();
        let now = rt::since(self.epoch);
        let watchers = self.watchers.as_mut().expect("the blocking thread gave them back");
        if !watchers.is_lagging() {
            return Ok(watchers.next(&engine, now)?);
        }
        let mut watchers = self.watchers.take().expect("looked at just now");
        let (watchers, step) = rt::blocking(move || {
            let step = watchers.next(&engine, now);
            (watchers, step)
        })
        .await
        .map_err(work_died)?;
        self.watchers = Some(watchers);
        Ok(step?)
    }

    async fn handle(&mut self, request: WatchRequest) -> Result<Vec<WatchResponse>, Status> {
        let call = self.rpc.call_on_stream(request.encoded_len());
        let keys = match &request.request_union {
            Some(RequestUnion::CreateRequest(create)) => Some(watched_range(create)),
            Some(RequestUnion::CancelRequest(cancel)) => {
                self.watched.remove(&cancel.watch_id);
                None
            }
            Some(RequestUnion::ProgressRequest(_)) | None => None,
        };
        let permitted = match &keys {
            Some(keys) => self.passenger.permit(&auth::needs_of(Asked::Watch(keys)), call.deadline).await,
            None => Ok(Caller::Nobody),
        };
        let engine = self.gate.ops().store().engine();
        let now = rt::since(self.epoch);
        let watchers = self.watchers.as_mut().expect("the blocking thread gave them back");
        let caller = match permitted {
            Ok(caller) => caller,
            Err(refused) => return Ok(vec![watchers.refuse(&in_gos_words(&refused), &engine)?]),
        };
        let reply: Result<_, WatchError> = watchers.handle(request, &engine, now);
        let reply = reply?;
        if let (Some(keys), Some(created)) = (keys, reply.as_ref().filter(|reply| reply.created && !reply.canceled)) {
            self.watched.insert(created.watch_id, Watched { keys, caller });
        }
        Ok(reply.into_iter().collect())
    }

    /// After a change of users or roles: ends the watchers whose keys the client may not read any more. Events of later
    /// revisions have not been handed out yet.
    fn ask_again(&mut self) -> Result<Option<Vec<WatchResponse>>, Status> {
        let changes = self.gate.ops().auth().changes();
        if changes == self.auth_seen {
            return Ok(None);
        }
        let mut revoked = Vec::new();
        for (id, Watched { keys, caller }) in self.watched.clone() {
            let needs = auth::needs_of(Asked::Watch(&keys));
            let Err(refused) = self.passenger.still_permitted(&caller, &needs) else { continue };
            self.watched.remove(&id);
            let engine = self.gate.ops().store().engine();
            let watchers = self.watchers.as_mut().expect("the blocking thread gave them back");
            revoked.extend(watchers.revoke(WatchId(id), &in_gos_words(&refused), &engine)?);
        }
        self.auth_seen = changes;
        Ok((!revoked.is_empty()).then_some(revoked))
    }

    /// A request that is there already.
    fn arrived(&mut self) -> Result<Option<WatchRequest>, Status> {
        let Some(requests) = &mut self.requests else { return Ok(None) };
        match requests.next().now_or_never() {
            Some(Some(request)) => Ok(Some(request?)),
            Some(None) => {
                self.requests = None;
                Ok(None)
            }
            None => Ok(None),
        }
    }

    /// Sleeps until there is something to do.
    async fn turn(&mut self, wake_at: Option<Duration>) -> Result<Turn, Status> {
        let requests = &mut self.requests;
        let request = async {
            match requests {
                Some(stream) => stream.next().await,
                None => futures::future::pending().await,
            }
        };
        let alarm = alarm(wake_at.map(|at| at.saturating_sub(rt::since(self.epoch))));
        tokio::select! {
            biased;
            () = stop::requested(&mut self.stopping) => Err(status::stopped()),
            () = leaderless(self.outlook.as_mut()) => Err(status::no_leader()),
            request = request => match request {
                Some(request) => Ok(Turn::Request(request?)),
                None => {
                    self.requests = None;
                    Ok(Turn::Look)
                }
            },
            () = self.woken.notified() => Ok(Turn::Look),
            () = alarm => Ok(Turn::Look),
        }
    }

    /// Says who answers. The revision is the watchers' to say; where they say none there is none.
    fn complete(&self, mut response: WatchResponse) -> WatchResponse {
        let revision = response.header.as_ref().map_or(0, |header| header.revision);
        response.header = Some(self.gate.ops().header_at(Revision(revision)));
        self.rpc.sent(&response);
        response
    }
}

/// A refusal as Go's gRPC prints it: so it stands in etcd's answers, and clients look for the text in it.
fn in_gos_words(status: &Status) -> String {
    format!("rpc error: code = {:?} desc = {}", status.code(), status.message())
}

async fn leaderless(outlook: Option<&mut Outlook>) {
    match outlook {
        Some(outlook) => outlook.leaderless().await,
        None => futures::future::pending().await,
    }
}

async fn alarm(after: Option<Duration>) {
    match after {
        Some(after) => rt::sleep(after).await,
        None => futures::future::pending().await,
    }
}
