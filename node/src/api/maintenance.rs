//! Maintenance: how a member is, its alarms and hashes, a copy of its state, and handing leadership on.

use std::pin::Pin;
use std::sync::Arc;

use futures::Stream;
use holdfast_proto::etcdserverpb::alarm_request::AlarmAction;
use holdfast_proto::etcdserverpb::downgrade_request::DowngradeAction;
use holdfast_proto::etcdserverpb::maintenance_server::Maintenance;
use holdfast_proto::etcdserverpb::{
    AlarmMember, AlarmRequest, AlarmResponse, AlarmType, DefragmentRequest, DefragmentResponse, DowngradeRequest,
    DowngradeResponse, HashKvRequest, HashKvResponse, HashRequest, HashResponse, MoveLeaderRequest, MoveLeaderResponse,
    SnapshotRequest, SnapshotResponse, StatusRequest, StatusResponse,
};
use holdfast_proto::log::outcome::Result as Outcome;
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status};

use super::gate::{Asks, Call, Gate, Rpc};
use super::outcome::work_died;
use super::{ETCD_VERSION, Options, snapshot_stream, status};
use crate::metrics::RpcKind::{ServerStream, Unary};
use crate::mvcc::{HashPass, HashStep, KvHash};
use crate::ops::{NodeState, OpsError};
use crate::raft::MemberRefusal;
use crate::rt;
use crate::state::command;
use crate::types::{MemberId, Revision};

const SERVICE: &str = "etcdserverpb.Maintenance";

/// Rows hashed in one go. In between others may use the thread, and a client that has gone is noticed.
const HASH_STEP_ROWS: usize = 20_000;

/// Snapshots on their way to clients at a time: each has an engine of its own open.
const SNAPSHOTS_MAX: usize = 4;

pub struct MaintenanceService {
    gate: Gate,
    stopping: rt::watch::Receiver<bool>,
    alarms: Rpc,
    alarm: Rpc,
    status: Rpc,
    defragment: Rpc,
    hash: Rpc,
    hash_kv: Rpc,
    snapshot: Rpc,
    sending: Arc<Semaphore>,
    move_leader: Rpc,
    downgrade: Rpc,
}

impl MaintenanceService {
    pub fn new(gate: &Gate, options: &Options) -> Self {
        Self {
            gate: gate.clone(),
            stopping: options.stopping.clone(),
            // Health checks read them, as any user. To change one is an act, and root's.
            alarms: gate.rpc(Unary, SERVICE, "Alarm").asks(Asks::User),
            alarm: gate.rpc(Unary, SERVICE, "Alarm"),
            status: gate.rpc(Unary, SERVICE, "Status").asks(Asks::Nothing).also_at_learners(),
            defragment: gate.rpc(Unary, SERVICE, "Defragment").also_at_learners(),
            hash: gate.rpc(Unary, SERVICE, "Hash").also_at_learners(),
            hash_kv: gate.rpc(Unary, SERVICE, "HashKV").also_at_learners(),
            snapshot: gate.rpc(ServerStream, SERVICE, "Snapshot").also_at_learners(),
            sending: Arc::new(Semaphore::new(SNAPSHOTS_MAX)),
            move_leader: gate.rpc(Unary, SERVICE, "MoveLeader"),
            downgrade: gate.rpc(Unary, SERVICE, "Downgrade"),
        }
    }

    async fn answer_alarm(&self, request: AlarmRequest, call: Call) -> Result<AlarmResponse, Status> {
        let ops = self.gate.ops();
        if request.action() == AlarmAction::Get {
            self.gate.read_barrier(&call).await?;
            let mut alarms = ops.alarms()?;
            let wanted = request.alarm();
            alarms.retain(|alarm| wanted == AlarmType::None || alarm.alarm() == wanted);
            return Ok(AlarmResponse { header: Some(ops.header()?), alarms });
        }
        let mut response = self
            .gate
            .propose(command::alarm(request), &call, |outcome| match outcome {
                Outcome::Alarm(alarm) => Some(alarm),
                _ => None,
            })
            .await?;
        self.gate.complete(&mut response.header);
        Ok(response)
    }

    fn answer_status(&self) -> Result<StatusResponse, Status> {
        let ops = self.gate.ops();
        let standing = ops.standing();
        let usage = ops.usage()?;
        let mut errors: Vec<String> = Vec::new();
        if standing.leader.is_none() {
            errors.push(status::no_leader().message().to_owned());
        }
        errors.extend(ops.alarms()?.iter().map(alarm_in_words));
        if let NodeState::RepairingLog { holes } = ops.node_state() {
            errors.push(format!("holdfast: repairing(log): {} entries are missing", holes.len()));
        }
        Ok(StatusResponse {
            header: Some(ops.header()?),
            version: ETCD_VERSION.to_owned(),
            db_size: bytes(usage.total_bytes),
            leader: standing.leader.map_or(0, |leader| leader.0),
            raft_index: standing.committed_index,
            raft_term: standing.term,
            raft_applied_index: standing.applied_index,
            errors,
            db_size_in_use: bytes(usage.live_bytes.min(usage.total_bytes)),
            is_learner: self.gate.outlook().is_learner(),
            db_size_quota: bytes(ops.limits().quota_bytes_max),
            ..StatusResponse::default()
        })
    }

    async fn answer_defragment(&self) -> Result<DefragmentResponse, Status> {
        let (engine, begun) = (self.gate.ops().store().engine(), rt::now());
        rt::blocking(move || engine.reclaim()).await.map_err(work_died)??;
        self.gate.ops().state_metrics().defragmentation.observe(rt::since(begun).as_secs_f64());
        // etcd leaves this header out.
        Ok(DefragmentResponse { header: None })
    }

    /// The hash of everything is the hash of all history: there is nothing else that members must agree on byte for
    /// byte.
    async fn answer_hash(&self, call: Call) -> Result<HashResponse, Status> {
        let found = self.hash_history(Revision(0), call).await?;
        Ok(HashResponse { header: Some(self.gate.ops().header_at(found.hash_revision)), hash: found.hash })
    }

    async fn answer_hash_kv(&self, request: HashKvRequest, call: Call) -> Result<HashKvResponse, Status> {
        let found = self.hash_history(Revision(request.revision), call).await?;
        // etcd counts "never compacted" as -1.
        let compact_revision = if found.compact_revision.0 == 0 { -1 } else { found.compact_revision.0 };
        Ok(HashKvResponse {
            header: Some(self.gate.ops().header()?),
            hash: found.hash,
            compact_revision,
            hash_revision: found.hash_revision.0,
        })
    }

    async fn hash_history(&self, at: Revision, call: Call) -> Result<KvHash, Status> {
        let begun = rt::now();
        let hashed = self.hash_in_steps(at, call).await;
        self.gate.ops().state_metrics().hashing.observe(rt::since(begun).as_secs_f64());
        hashed
    }

    async fn hash_in_steps(&self, at: Revision, call: Call) -> Result<KvHash, Status> {
        let store = self.gate.ops().store();
        let mut pass = HashPass::begin(&*store.engine().view(), at)?;
        loop {
            // A state that was replaced from a snapshot in between goes on in the new one, at the same revision.
            let engine = store.engine();
            let (moved_on, step) = rt::blocking(move || {
                let step = pass.step(&*engine.view(), HASH_STEP_ROWS);
                (pass, step)
            })
            .await
            .map_err(work_died)?;
            pass = moved_on;
            if let HashStep::Done(found) = step? {
                return Ok(found);
            }
            if call.patience.has_passed() {
                return Err(status::timed_out());
            }
        }
    }

    async fn answer_move_leader(&self, request: MoveLeaderRequest, call: Call) -> Result<MoveLeaderResponse, Status> {
        match self.gate.ops().move_leader(MemberId(request.target_id), call.deadline).await {
            // etcd leaves this header out.
            Ok(()) => Ok(MoveLeaderResponse { header: None }),
            Err(OpsError::Member(MemberRefusal::NotFound)) => Err(status::bad_transferee()),
            Err(error) => Err(error.into()),
        }
    }

    /// There is nothing to go down to: the on-disk format has one version. etcd answers so for a version that is not
    /// the one before its own.
    fn answer_downgrade(request: &DowngradeRequest) -> Result<DowngradeResponse, Status> {
        let Ok(action) = DowngradeAction::try_from(request.action) else { return Err(status::unknown_method()) };
        match action {
            DowngradeAction::Validate | DowngradeAction::Enable => Err(if is_version(&request.version) {
                status::bad_downgrade_target()
            } else {
                status::bad_downgrade_version()
            }),
            DowngradeAction::Cancel => Err(status::no_downgrade()),
        }
    }
}

/// Two numbers, or three with whatever a release may have behind them.
fn is_version(text: &str) -> bool {
    let release = text.split(['-', '+']).next().unwrap_or_default();
    let parts: Vec<&str> = release.split('.').collect();
    let has_suffix = release.len() < text.len();
    let is_number = |part: &&str| part.parse::<u32>().is_ok();
    parts.iter().all(is_number) && (parts.len() == 3 || (parts.len() == 2 && !has_suffix))
}

fn bytes(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn alarm_in_words(alarm: &AlarmMember) -> String {
    // As Go prints the message: what has its default value is not said.
    let member = if alarm.member_id == 0 { String::new() } else { format!("memberID:{} ", alarm.member_id) };
    let kind = match AlarmType::try_from(alarm.alarm) {
        Ok(AlarmType::None) => String::new(),
        Ok(kind) => format!("alarm:{} ", kind.as_str_name()),
        Err(_) => format!("alarm:{} ", alarm.alarm),
    };
    member + &kind
}

#[tonic::async_trait]
impl Maintenance for MaintenanceService {
    async fn alarm(&self, request: Request<AlarmRequest>) -> Result<Response<AlarmResponse>, Status> {
        let rpc = if request.get_ref().action() == AlarmAction::Get { &self.alarms } else { &self.alarm };
        rpc.unary(request, |alarm, call| self.answer_alarm(alarm, call)).await
    }

    async fn status(&self, request: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        self.status.unary(request, |StatusRequest {}, _call| async { self.answer_status() }).await
    }

    async fn defragment(&self, request: Request<DefragmentRequest>) -> Result<Response<DefragmentResponse>, Status> {
        self.defragment.unary(request, |DefragmentRequest {}, _call| self.answer_defragment()).await
    }

    async fn hash(&self, request: Request<HashRequest>) -> Result<Response<HashResponse>, Status> {
        self.hash.unary(request, |HashRequest {}, call| self.answer_hash(call)).await
    }

    async fn hash_kv(&self, request: Request<HashKvRequest>) -> Result<Response<HashKvResponse>, Status> {
        self.hash_kv.unary(request, |hash, call| self.answer_hash_kv(hash, call)).await
    }

    type SnapshotStream = Pin<Box<dyn Stream<Item = Result<SnapshotResponse, Status>> + Send>>;

    async fn snapshot(&self, request: Request<SnapshotRequest>) -> Result<Response<Self::SnapshotStream>, Status> {
        let (ticket, _asks_once) = self.snapshot.open(&request).await?;
        let Ok(place) = Arc::clone(&self.sending).try_acquire_owned() else {
            let refused = status::too_many_requests();
            ticket.finish(Some(&refused));
            return Err(refused);
        };
        let (ops, stopping) = (self.gate.ops().clone(), self.stopping.clone());
        let source = snapshot_stream::Source { ops, stopping, place };
        Ok(Response::new(Box::pin(snapshot_stream::blobs(source, self.snapshot.clone(), ticket))))
    }

    async fn move_leader(&self, request: Request<MoveLeaderRequest>) -> Result<Response<MoveLeaderResponse>, Status> {
        let about = format!("to member {:x}", request.get_ref().target_id);
        self.move_leader.unary_about(about, request, |to, call| self.answer_move_leader(to, call)).await
    }

    async fn downgrade(&self, request: Request<DowngradeRequest>) -> Result<Response<DowngradeResponse>, Status> {
        self.downgrade.unary(request, |asked, _call| async move { Self::answer_downgrade(&asked) }).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_no_way_down() {
        let ask = |action: DowngradeAction, version: &str| {
            let request = DowngradeRequest { action: action as i32, version: version.to_owned() };
            MaintenanceService::answer_downgrade(&request).unwrap_err().message().to_owned()
        };
        assert_eq!(ask(DowngradeAction::Validate, "3.4"), "etcdserver: invalid downgrade target version");
        assert_eq!(ask(DowngradeAction::Enable, "3.4.0"), "etcdserver: invalid downgrade target version");
        assert_eq!(ask(DowngradeAction::Enable, "3.4.0-rc.1"), "etcdserver: invalid downgrade target version");
        assert_eq!(ask(DowngradeAction::Enable, "3.4.0.1"), "etcdserver: wrong downgrade target version format");
        assert_eq!(ask(DowngradeAction::Enable, "three"), "etcdserver: wrong downgrade target version format");
        assert_eq!(ask(DowngradeAction::Enable, ""), "etcdserver: wrong downgrade target version format");
        assert_eq!(ask(DowngradeAction::Cancel, ""), "etcdserver: no inflight downgrade job");
        let unknown = DowngradeRequest { action: 3, version: "3.4".to_owned() };
        let refused = MaintenanceService::answer_downgrade(&unknown).unwrap_err();
        assert_eq!((refused.code(), refused.message()), (tonic::Code::Unknown, "etcdserver: unknown method"));
    }

    #[test]
    fn an_alarm_reads_as_in_etcds_status() {
        let alarm = AlarmMember { member_id: 7, alarm: AlarmType::Nospace as i32 };
        assert_eq!(alarm_in_words(&alarm), "memberID:7 alarm:NOSPACE ");
        assert_eq!(alarm_in_words(&AlarmMember { member_id: 0, ..alarm }), "alarm:NOSPACE ");
    }
}
