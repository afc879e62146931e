//! KV: read, write, delete, transact, compact.

use futures::stream::BoxStream;
use holdfast_proto::etcdserverpb::kv_server::Kv;
use holdfast_proto::etcdserverpb::{
    CompactionRequest, CompactionResponse, DeleteRangeRequest, DeleteRangeResponse, PutRequest, PutResponse,
    RangeRequest, RangeResponse, RangeStreamResponse, TxnRequest, TxnResponse,
};
use holdfast_proto::log::Guard;
use holdfast_proto::log::outcome::Result as Outcome;
use tonic::{Request, Response, Status};

use super::authority::permit_in;
use super::gate::{Asks, AtLearner, Call, Gate, Rpc};
use super::guard;
use super::outcome::work_died;
use super::{Options, range_stream};
use crate::auth::{self, Asked, Caller};
use crate::metrics::RpcKind::{ServerStream, Unary};
use crate::mvcc;
use crate::rt;
use crate::state::{command, read_txn, validate};
use crate::storage::View;
use crate::types::Revision;

const SERVICE: &str = "etcdserverpb.KV";

pub struct KvService {
    gate: Gate,
    stopping: rt::watch::Receiver<bool>,
    range: Rpc,
    range_stream: Rpc,
    put: Rpc,
    delete_range: Rpc,
    txn: Rpc,
    compact: Rpc,
}

impl KvService {
    pub fn new(gate: &Gate, options: &Options) -> Self {
        Self {
            gate: gate.clone(),
            stopping: options.stopping.clone(),
            range: gate.rpc(Unary, SERVICE, "Range").asks(Asks::User),
            range_stream: gate.rpc(ServerStream, SERVICE, "RangeStream").asks(Asks::User),
            put: gate.rpc(Unary, SERVICE, "Put").asks(Asks::User),
            delete_range: gate.rpc(Unary, SERVICE, "DeleteRange").asks(Asks::User),
            txn: gate.rpc(Unary, SERVICE, "Txn").asks(Asks::User),
            compact: gate.rpc(Unary, SERVICE, "Compact"),
        }
    }

    pub async fn answer_range(&self, request: RangeRequest, call: Call) -> Result<RangeResponse, Status> {
        validate::range(&request)?;
        self.gate.ops().state_metrics().ranges.inc();
        if !request.serializable {
            self.gate.read_barrier(&call).await?;
        }
        let engine = self.gate.ops().store().engine();
        // One key is a look-up or two; a range may be the whole store.
        let is_one_key = request.range_end.is_empty();
        let asker = self.asker(call);
        let read = move || read_range(&*engine.view(), &request, asker.as_ref());
        let mut response = if is_one_key { read()? } else { rt::blocking(read).await.map_err(work_died)?? };
        self.gate.complete(&mut response.header);
        Ok(response)
    }

    pub async fn answer_put(
        &self,
        request: PutRequest,
        guard: Result<Option<Guard>, Status>,
        call: Call,
    ) -> Result<PutResponse, Status> {
        validate::put(&request)?;
        let command = command::guarded(command::put(request), guard?);
        let mut response = self
            .gate
            .propose(command, &call, |outcome| match outcome {
                Outcome::Put(put) => Some(put),
                _ => None,
            })
            .await?;
        self.gate.complete(&mut response.header);
        Ok(response)
    }

    pub async fn answer_delete_range(
        &self,
        request: DeleteRangeRequest,
        guard: Result<Option<Guard>, Status>,
        call: Call,
    ) -> Result<DeleteRangeResponse, Status> {
        validate::delete_range(&request)?;
        let command = command::guarded(command::delete_range(request), guard?);
        let mut response = self
            .gate
            .propose(command, &call, |outcome| match outcome {
                Outcome::DeleteRange(deleted) => Some(deleted),
                _ => None,
            })
            .await?;
        self.gate.complete(&mut response.header);
        Ok(response)
    }

    pub async fn answer_txn(
        &self,
        request: TxnRequest,
        guard: Result<Option<Guard>, Status>,
        call: Call,
    ) -> Result<TxnResponse, Status> {
        validate::txn(&request, self.gate.ops().limits().txn_ops_max)?;
        let guard = guard?;
        // Whether a guard holds is known in the log only.
        let mut response = if guard.is_none() && validate::is_read_only(&request) {
            self.read_in_txn(request, call).await?
        } else {
            self.gate
                .propose(command::guarded(command::txn(request), guard), &call, |outcome| match outcome {
                    Outcome::Txn(txn) => Some(txn),
                    _ => None,
                })
                .await?
        };
        self.gate.complete(&mut response.header);
        Ok(response)
    }

    /// A transaction that changes nothing needs no place in the log.
    async fn read_in_txn(&self, request: TxnRequest, call: Call) -> Result<TxnResponse, Status> {
        if !validate::is_serializable(&request) {
            self.gate.read_barrier(&call).await?;
        }
        let engine = self.gate.ops().store().engine();
        let asker = self.asker(call);
        let read = move || {
            let view = engine.view();
            if let Some(asker) = &asker {
                permit_in(&*view, asker, &auth::needs_of(Asked::Txn(&request)))?;
            }
            Ok(read_txn(&*view, &request)?)
        };
        rt::blocking(read).await.map_err(work_died)?
    }

    /// Whose permissions count; `None` while authentication is off.
    fn asker(&self, call: Call) -> Option<Caller> {
        self.gate.ops().auth().is_enabled().then_some(call.caller)
    }

    async fn answer_compact(&self, request: CompactionRequest, call: Call) -> Result<CompactionResponse, Status> {
        let physical = request.physical.then_some(Revision(request.revision));
        let mut response = self
            .gate
            .propose(command::compact(request), &call, |outcome| match outcome {
                Outcome::Compact(compacted) => Some(compacted),
                _ => None,
            })
            .await?;
        if let Some(revision) = physical {
            self.gate.ops().swept(revision, call.patience).await?;
        }
        self.gate.complete(&mut response.header);
        Ok(response)
    }
}

/// Reads what the asker may have, as the view that is read has it: a permission taken away before what is read was
/// written is gone.
fn read_range(view: &dyn View, request: &RangeRequest, asker: Option<&Caller>) -> Result<RangeResponse, Status> {
    if let Some(asker) = asker {
        permit_in(view, asker, &auth::needs_of(Asked::Range(request)))?;
    }
    Ok(mvcc::range(view, request)?)
}

/// Whoever is content with a member's own state may have a learner's.
fn at_learner(request: &Request<RangeRequest>) -> AtLearner {
    if request.get_ref().serializable { AtLearner::Served } else { AtLearner::Refused }
}

#[tonic::async_trait]
impl Kv for KvService {
    async fn range(&self, request: Request<RangeRequest>) -> Result<Response<RangeResponse>, Status> {
        self.range.unary_if(at_learner(&request), request, |range, call| self.answer_range(range, call)).await
    }

    type RangeStreamStream = BoxStream<'static, Result<RangeStreamResponse, Status>>;

    async fn range_stream(&self, request: Request<RangeRequest>) -> Result<Response<Self::RangeStreamStream>, Status> {
        let (ticket, request, call) = self.range_stream.answers(at_learner(&request), request).await?;
        let asker = self.asker(call.clone());
        let (gate, stopping) = (self.gate.clone(), self.stopping.clone());
        let reader = range_stream::Reader { gate, request, call, asker, stopping };
        Ok(Response::new(Box::pin(range_stream::pieces(reader, self.range_stream.clone(), ticket))))
    }

    async fn put(&self, request: Request<PutRequest>) -> Result<Response<PutResponse>, Status> {
        let guard = guard::of_metadata(request.metadata());
        self.put.unary(request, |put, call| self.answer_put(put, guard, call)).await
    }

    async fn delete_range(
        &self,
        request: Request<DeleteRangeRequest>,
    ) -> Result<Response<DeleteRangeResponse>, Status> {
        let guard = guard::of_metadata(request.metadata());
        self.delete_range.unary(request, |delete, call| self.answer_delete_range(delete, guard, call)).await
    }

    async fn txn(&self, request: Request<TxnRequest>) -> Result<Response<TxnResponse>, Status> {
        let guard = guard::of_metadata(request.metadata());
        self.txn.unary(request, |txn, call| self.answer_txn(txn, guard, call)).await
    }

    async fn compact(&self, request: Request<CompactionRequest>) -> Result<Response<CompactionResponse>, Status> {
        self.compact.unary(request, |compaction, call| self.answer_compact(compaction, call)).await
    }
}
