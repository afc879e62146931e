//! Keeping a lease alive over the failure of endpoints and leaders.
//!
//! One task per lease. It holds a stream to one endpoint and renews at a third of the lease's time, so that two
//! renewals may fail before the lease is in danger. A renewal may be repeated freely: it has no effect but the one.
//! On any trouble the next endpoint is tried, quickly, because time is what is running out.

use std::sync::Arc;
use std::time::Duration;

use holdfast_proto::etcdserverpb::lease_client::LeaseClient;
use holdfast_proto::etcdserverpb::{LeaseKeepAliveRequest, LeaseKeepAliveResponse};
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use crate::call::Core;
use crate::endpoints::{Connection, Slot, Target};
use crate::retry::{self, Backoff, Intent, Verdict};
use crate::{Error, rt};

/// Longest pause between two attempts to reach a server.
const BACKOFF_MAX: Duration = Duration::from_millis(500);
/// Shortest pause between two renewals, whatever the lease's time.
const RENEW_PAUSE_MIN: Duration = Duration::from_millis(200);

/// Keeps one lease alive for as long as this handle lives.
#[derive(Debug)]
pub struct KeepAlive {
    id: i64,
    shared: Arc<Shared>,
    /// Renewals already told to the owner of the handle.
    told: u64,
    _task: rt::Task,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Clone, Debug)]
struct State {
    renewals: u64,
    last: LeaseKeepAliveResponse,
    /// Reckoned from when the last successful renewal was sent, so it is never later than the server's.
    valid_until: rt::Instant,
    end: Option<Error>,
}

impl KeepAlive {
    pub(super) async fn begin(core: Arc<Core>, id: i64) -> Result<Self, Error> {
        let sent = rt::Instant::now();
        let last = renew_once(&core, id).await?;
        let valid_until = sent + seconds(last.ttl);
        let shared = Arc::new(Shared {
            state: Mutex::new(State { renewals: 1, last, valid_until, end: None }),
            changed: Notify::new(),
        });
        let keeper = Keeper { core, id, shared: Arc::clone(&shared), backoff: Backoff::new(BACKOFF_MAX) };
        Ok(Self { id, shared, told: 0, _task: rt::spawn(keeper.run()) })
    }

    /// The lease.
    #[must_use]
    pub fn id(&self) -> i64 {
        self.id
    }

    /// How long the lease certainly still has. Zero does not say that it is gone, only that it may be: whoever
    /// holds a lock by this lease must stop acting on it then.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        let state = self.shared.state.lock();
        if state.end.is_some() {
            return Duration::ZERO;
        }
        state.valid_until.saturating_duration_since(rt::Instant::now())
    }

    /// Waits for the next renewal; the first call gives the one that began it. Renewals that came while nobody
    /// waited are told as one.
    ///
    /// # Errors
    /// [`Error::LeaseGone`] when the server says that the lease is no more.
    pub async fn renewed(&mut self) -> Result<LeaseKeepAliveResponse, Error> {
        let told = self.told;
        let state = self.shared.wait(|state| state.end.is_some() || state.renewals > told).await;
        match state.end {
            Some(end) => Err(end),
            None => {
                self.told = state.renewals;
                Ok(state.last)
            }
        }
    }

    /// Waits until the lease is lost, and says why. While it can be renewed this never returns.
    pub async fn lost(&self) -> Error {
        let state = self.shared.wait(|state| state.end.is_some()).await;
        state.end.unwrap_or(Error::LeaseGone { id: self.id })
    }
}

impl Shared {
    async fn wait(&self, until: impl Fn(&State) -> bool) -> State {
        loop {
            let changed = self.changed.notified();
            {
                let state = self.state.lock();
                if until(&state) {
                    return state.clone();
                }
            }
            changed.await;
        }
    }

    fn update(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock());
        self.changed.notify_waiters();
    }
}

struct Keeper {
    core: Arc<Core>,
    id: i64,
    shared: Arc<Shared>,
    backoff: Backoff,
}

impl Keeper {
    async fn run(mut self) {
        let mut session: Option<Session> = None;
        let mut pause = self.renewal_pause();
        loop {
            rt::sleep(pause).await;
            let sent = rt::Instant::now();
            match renew(&self.core, &mut session, self.id, self.patience()).await {
                Ok(answer) if answer.ttl > 0 => {
                    self.shared.update(|state| {
                        state.renewals += 1;
                        state.valid_until = sent + seconds(answer.ttl);
                        state.last = answer;
                    });
                    self.backoff.reset();
                    pause = self.renewal_pause().saturating_sub(sent.elapsed());
                }
                Ok(_) => return self.end(Error::LeaseGone { id: self.id }),
                Err(status) if retry::judge(&status) == Verdict::Answered => {
                    return self.end(retry::into_error(Intent::Read, &status));
                }
                Err(status) => {
                    tracing::debug!(lease = self.id, %status, "renewal failed; trying again");
                    pause = self.backoff.step().max(retry::retry_after(&status));
                }
            }
        }
    }

    fn end(&self, why: Error) {
        self.shared.update(|state| state.end = Some(why));
    }

    fn renewal_pause(&self) -> Duration {
        (seconds(self.shared.state.lock().last.ttl) / 3).max(RENEW_PAUSE_MIN)
    }

    /// For one attempt: an endpoint that takes longer than the pause is left for another.
    fn patience(&self) -> Duration {
        self.renewal_pause().min(self.core.options.read_attempt_timeout)
    }
}

/// Renews with the deadline of a request, over as many endpoints as it takes.
pub(super) async fn renew_once(core: &Arc<Core>, id: i64) -> Result<LeaseKeepAliveResponse, Error> {
    let deadline = rt::Instant::now() + core.options.request_timeout;
    let mut backoff = Backoff::new(BACKOFF_MAX);
    let mut session = None;
    loop {
        let left = deadline.saturating_duration_since(rt::Instant::now());
        let patience = core.options.read_attempt_timeout.min(left);
        let status = match renew(core, &mut session, id, patience).await {
            Ok(answer) if answer.ttl > 0 => return Ok(answer),
            Ok(_) => return Err(Error::LeaseGone { id }),
            Err(status) => status,
        };
        let pause = backoff.step().max(retry::retry_after(&status));
        if retry::judge(&status) == Verdict::Answered || rt::Instant::now() + pause >= deadline {
            return Err(retry::into_error(Intent::Read, &status));
        }
        rt::sleep(pause).await;
    }
}

/// One stream of renewals to one endpoint.
struct Session {
    slot: Arc<Slot>,
    connection: Connection,
    requests: mpsc::Sender<LeaseKeepAliveRequest>,
    answers: Streaming<LeaseKeepAliveResponse>,
}

/// One renewal, on the session there is or on a new one. After a failure there is none.
async fn renew(
    core: &Arc<Core>,
    session: &mut Option<Session>,
    id: i64,
    patience: Duration,
) -> Result<LeaseKeepAliveResponse, Status> {
    let deadline = rt::Instant::now() + patience;
    let mut current = match session.take() {
        Some(current) => {
            // Room for one: a request still waiting there means that the stream is stuck.
            current.requests.try_send(LeaseKeepAliveRequest { id }).map_err(|_| stuck(&current.slot))?;
            current
        }
        None => open(core, id, deadline).await?,
    };
    let left = deadline.saturating_duration_since(rt::Instant::now());
    let received = match rt::timeout(left, current.answers.message()).await {
        Ok(Ok(Some(answer))) => Ok(answer),
        Ok(Ok(None)) => Err(Status::unavailable(format!("{} closed the stream", current.slot.address))),
        Ok(Err(status)) => Err(status),
        Err(_) => Err(stuck(&current.slot)),
    };
    match received {
        Ok(answer) => {
            core.learn(&current.slot, answer.header.as_ref());
            *session = Some(current);
            Ok(answer)
        }
        Err(status) => {
            core.blame(&current.slot, &current.connection, &status).await;
            Err(status)
        }
    }
}

async fn open(core: &Arc<Core>, id: i64, deadline: rt::Instant) -> Result<Session, Status> {
    let slot = core.endpoints.pick(&Target::Leader);
    let connection = core.connection(&slot, deadline).await?;
    let (requests, receiver) = mpsc::channel(1);
    // Before the stream is opened: servers answer the opening only when a request is there.
    let _ = requests.try_send(LeaseKeepAliveRequest { id });
    let mut stub = LeaseClient::new(connection.channel.clone());
    let left = deadline.saturating_duration_since(rt::Instant::now());
    let opened = match rt::timeout(left, stub.lease_keep_alive(ReceiverStream::new(receiver))).await {
        Ok(opened) => opened,
        Err(_) => Err(stuck(&slot)),
    };
    match opened {
        Ok(response) => Ok(Session { slot, connection, requests, answers: response.into_inner() }),
        Err(status) if core.wants_another_token(status.message()) => {
            // Not an answer to the renewal: it is worth another try.
            Err(Status::unavailable(format!("{} asks for a new token: {}", slot.address, status.message())))
        }
        Err(status) => {
            core.blame(&slot, &connection, &status).await;
            Err(status)
        }
    }
}

fn stuck(slot: &Slot) -> Status {
    Status::new(Code::DeadlineExceeded, format!("{} did not renew in time", slot.address))
}

/// A wire time in seconds; never negative.
fn seconds(ttl: i64) -> Duration {
    Duration::from_secs(u64::try_from(ttl).unwrap_or(0))
}
