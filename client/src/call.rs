//! One request, from the first attempt to the verdict: pick an endpoint, connect, send, judge, wait, again.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::join_all;
use holdfast_proto::etcdserverpb::maintenance_client::MaintenanceClient;
use holdfast_proto::etcdserverpb::{self as pb, ResponseHeader, StatusRequest, StatusResponse};
use tonic::{Code, Response, Status};

use crate::auth::Identity;
use crate::connect::{Channel, Connector};
use crate::endpoints::{Connection, Endpoints, News, Slot, Target};
use crate::retry::{self, Backoff, Intent};
use crate::{Error, Options, rt};

/// Longest pause between two attempts of one request.
const BACKOFF_MAX: Duration = Duration::from_secs(1);
/// How often one request may be sent again with a new token. Each is refused only if users changed in between.
const TOKEN_RENEWALS_MAX: u32 = 3;
/// An endpoint that has not answered by then is passed over by other requests: it may stand still, or be cut off from
/// its peers, and its connection does not tell. Above what a busy server takes, below what an election costs twice.
const OVERDUE: Duration = Duration::from_millis(750);
/// How long one look for the leader may take, and how long the next one is not begun.
const LOOK_TIMEOUT: Duration = Duration::from_secs(1);
const LOOK_PAUSE: Duration = Duration::from_millis(200);

/// An answer that says who gave it.
pub(crate) trait Answer {
    fn header(&self) -> Option<&ResponseHeader>;
}

macro_rules! answers {
    ($($answer:ty),* $(,)?) => {
        $(impl Answer for $answer {
            fn header(&self) -> Option<&ResponseHeader> {
                self.header.as_ref()
            }
        })*
    };
}

answers!(
    pb::RangeResponse,
    pb::PutResponse,
    pb::DeleteRangeResponse,
    pb::TxnResponse,
    pb::CompactionResponse,
    pb::LeaseGrantResponse,
    pb::LeaseRevokeResponse,
    pb::LeaseTimeToLiveResponse,
    pb::LeaseLeasesResponse,
    pb::MemberAddResponse,
    pb::MemberRemoveResponse,
    pb::MemberUpdateResponse,
    pb::MemberListResponse,
    pb::MemberPromoteResponse,
    pb::AlarmResponse,
    pb::StatusResponse,
    pb::DefragmentResponse,
    pb::HashKvResponse,
    pb::MoveLeaderResponse,
    holdfast_proto::v1::TopologyResponse,
    pb::AuthEnableResponse,
    pb::AuthDisableResponse,
    pb::AuthStatusResponse,
    pb::AuthUserAddResponse,
    pb::AuthUserGetResponse,
    pb::AuthUserListResponse,
    pb::AuthUserDeleteResponse,
    pb::AuthUserChangePasswordResponse,
    pb::AuthUserGrantRoleResponse,
    pb::AuthUserRevokeRoleResponse,
    pb::AuthRoleAddResponse,
    pb::AuthRoleGetResponse,
    pb::AuthRoleListResponse,
    pb::AuthRoleDeleteResponse,
    pb::AuthRoleGrantPermissionResponse,
    pb::AuthRoleRevokePermissionResponse,
);

async fn within<T>(patience: Duration, answer: impl Future<Output = T>) -> Option<T> {
    rt::timeout(patience, answer).await.ok()
}

/// Where a request goes, what repeating it would mean, and how long it may take.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    pub(crate) intent: Intent,
    pub(crate) target: Target,
    /// Instead of the client's `request_timeout`: defragmentation takes as long as it takes.
    pub(crate) timeout: Option<Duration>,
}

impl Route {
    pub(crate) fn read() -> Self {
        Self { intent: Intent::Read, target: Target::Any, timeout: None }
    }

    pub(crate) fn write() -> Self {
        Self { intent: Intent::Write, target: Target::Leader, timeout: None }
    }

    pub(crate) fn at(intent: Intent, address: &str) -> Self {
        Self { intent, target: Target::At(address.to_owned()), timeout: None }
    }
}

/// What all parts of a client share.
pub(crate) struct Core {
    pub(crate) endpoints: Endpoints,
    pub(crate) options: Options,
    pub(crate) connector: Arc<dyn Connector>,
    /// Who the client is, if it is somebody.
    identity: Option<Identity>,
    /// Somebody is looking for the leader.
    looking: AtomicBool,
}

impl Core {
    pub(crate) fn new(endpoints: Endpoints, options: Options, connector: Arc<dyn Connector>) -> Self {
        let identity = options.login.clone().map(Identity::new);
        Self { endpoints, options, connector, identity, looking: AtomicBool::new(false) }
    }

    /// Sends `request` as often as `route` allows and the deadline permits.
    pub(crate) async fn unary<Q, R, F>(
        self: &Arc<Self>,
        route: Route,
        request: Q,
        send: impl Fn(Channel, tonic::Request<Q>) -> F,
    ) -> Result<R, Error>
    where
        Q: Clone,
        R: Answer,
        F: Future<Output = Result<Response<R>, Status>>,
    {
        let deadline = rt::Instant::now() + route.timeout.unwrap_or(self.options.request_timeout);
        let mut backoff = Backoff::new(BACKOFF_MAX);
        let mut renewals = 0;
        let mut failed = None;
        if route.target == Target::Leader && !self.endpoints.knows_leader() {
            self.look_for_leader();
        }
        loop {
            let slot = self.endpoints.pick(&route.target);
            let status = match self.attempt(&slot, &route, deadline, request.clone(), &send).await {
                Ok(answer) => return Ok(answer),
                // That time ran out says less than why the attempt before did not succeed.
                Err(status) if crate::connect::is_out_of_time(&status) => failed.take().unwrap_or(status),
                Err(status) => status,
            };
            if renewals < TOKEN_RENEWALS_MAX && self.wants_another_token(status.message()) {
                renewals += 1;
                continue;
            }
            let verdict = retry::judge(&status);
            tracing::debug!(endpoint = slot.address, ?verdict, %status, "attempt failed");
            if !retry::may_repeat(route.intent, verdict) {
                return Err(retry::into_error(route.intent, &status));
            }
            let pause = backoff.step().max(retry::retry_after(&status));
            if rt::Instant::now() + pause >= deadline {
                return Err(retry::into_error(route.intent, &status));
            }
            failed = Some(status);
            rt::sleep(pause).await;
        }
    }

    async fn attempt<Q, R, F>(
        self: &Arc<Self>,
        slot: &Slot,
        route: &Route,
        deadline: rt::Instant,
        request: Q,
        send: &impl Fn(Channel, tonic::Request<Q>) -> F,
    ) -> Result<R, Status>
    where
        R: Answer,
        F: Future<Output = Result<Response<R>, Status>>,
    {
        let connection = self.connection(slot, deadline).await?;
        let mut patience = deadline.saturating_duration_since(rt::Instant::now());
        let has_choice = route.timeout.is_none() && !matches!(route.target, Target::At(_));
        if route.intent == Intent::Read && has_choice {
            patience = patience.min(self.options.read_attempt_timeout);
        }
        let mut request = tonic::Request::new(request);
        request.set_timeout(patience);
        let answer = send(connection.channel.clone(), request);
        let outcome =
            if has_choice { self.watched(slot, patience, answer).await } else { within(patience, answer).await };
        let late = || Err(Status::new(Code::DeadlineExceeded, format!("{} did not answer in time", slot.address)));
        let outcome = outcome.unwrap_or_else(late);
        match outcome {
            Ok(response) => {
                let answer = response.into_inner();
                self.learn(slot, answer.header());
                Ok(answer)
            }
            Err(status) => {
                self.blame(slot, &connection, &status).await;
                Err(status)
            }
        }
    }

    /// Waits for an answer. Other requests do not: when it is overdue they go elsewhere.
    async fn watched<T>(
        self: &Arc<Self>,
        slot: &Slot,
        patience: Duration,
        answer: impl Future<Output = T>,
    ) -> Option<T> {
        futures::pin_mut!(answer);
        if let Some(outcome) = within(patience.min(OVERDUE), answer.as_mut()).await {
            return Some(outcome);
        }
        if slot.suspect() {
            self.look_for_leader();
        }
        within(patience.saturating_sub(OVERDUE), answer).await
    }

    /// A connection to `slot`; a failure is charged to it.
    pub(crate) async fn connection(&self, slot: &Slot, deadline: rt::Instant) -> Result<Connection, Status> {
        let left = deadline.saturating_duration_since(rt::Instant::now());
        let connect = slot.connection(self.connector.as_ref(), self.options.connect_timeout);
        let connected = match rt::timeout(left, connect).await {
            Ok(connected) => connected,
            Err(_) => Err(crate::connect::out_of_time(&slot.address)),
        };
        let mut connection = connected.inspect_err(|_| slot.rest())?;
        if let Some(identity) = &self.identity {
            let left = deadline.saturating_duration_since(rt::Instant::now());
            connection.channel = identity.on(connection.channel, left).await?;
        }
        Ok(connection)
    }

    /// Whether a failure comes of a token that is no longer good; the next connection brings another. The request was
    /// not carried out.
    pub(crate) fn wants_another_token(&self, text: &str) -> bool {
        self.identity.as_ref().is_some_and(|identity| identity.is_outdated_by(text))
    }

    /// Takes an answer's header as news of the cluster.
    pub(crate) fn learn(self: &Arc<Self>, slot: &Slot, header: Option<&ResponseHeader>) {
        slot.answered(header.map(|header| header.member_id).filter(|&member| member != 0));
        let term = header.map_or(0, |header| header.raft_term);
        if self.endpoints.heard(term) == News::Election {
            self.look_for_leader();
        }
    }

    /// Draws the consequences of a failure for the endpoint, its connection and the leader's name.
    pub(crate) async fn blame(self: &Arc<Self>, slot: &Slot, connection: &Connection, status: &Status) {
        let about_leadership = retry::is_about_leadership(status);
        if about_leadership {
            self.endpoints.set_leader(None);
            self.look_for_leader();
        }
        let transport = retry::is_transport(status);
        if transport {
            slot.disconnect(connection).await;
        }
        let turned_away = retry::judge(status) != retry::Verdict::Answered;
        if turned_away && (transport || !about_leadership || status.message().contains("no leader")) {
            slot.rest();
        }
    }

    /// Asks every endpoint who leads, in the background. At most one such look is under way.
    pub(crate) fn look_for_leader(self: &Arc<Self>) {
        if self.endpoints.all().len() < 2 || self.looking.swap(true, Ordering::AcqRel) {
            return;
        }
        let core = Arc::clone(self);
        rt::spawn_detached(async move {
            core.find_leader().await;
            rt::sleep(LOOK_PAUSE).await;
            core.looking.store(false, Ordering::Release);
        });
    }

    /// Asks every endpoint who leads; believes the highest term, unless a later one was heard of meanwhile.
    pub(crate) async fn find_leader(self: &Arc<Self>) -> Option<u64> {
        let slots = self.endpoints.all();
        let answers = join_all(slots.iter().map(|slot| self.status_of(slot))).await;
        let newest = answers.into_iter().flatten().filter(|status| status.leader != 0).max_by_key(|s| s.raft_term);
        let leader = newest.filter(|status| status.raft_term >= self.endpoints.term()).map(|status| status.leader);
        self.endpoints.set_leader(leader);
        leader
    }

    async fn status_of(&self, slot: &Slot) -> Option<StatusResponse> {
        let connection = self.connection(slot, rt::Instant::now() + LOOK_TIMEOUT).await.ok()?;
        let mut stub = MaintenanceClient::new(connection.channel);
        let answer = rt::timeout(LOOK_TIMEOUT, stub.status(StatusRequest {})).await.ok()?.ok()?.into_inner();
        let header = answer.header.as_ref()?;
        slot.introduced(header.member_id);
        self.endpoints.heard(header.raft_term);
        Some(answer)
    }
}
