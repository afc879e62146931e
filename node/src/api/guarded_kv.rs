//! GuardedKv: KV's writes with the guard in the message, for clients that were made for it.
//!
//! Everything is KV's own: validation, the way into the log, the answers. See [`super::guard`] for the metadata by
//! which any etcd client can do the same.

use std::sync::Arc;

use holdfast_proto::etcdserverpb::{DeleteRangeResponse, PutResponse, TxnResponse};
use holdfast_proto::v1::guarded_kv_server::GuardedKv;
use holdfast_proto::v1::{GuardedDeleteRangeRequest, GuardedPutRequest, GuardedTxnRequest};
use tonic::{Request, Response, Status};

use super::gate::{Asks, Gate, Rpc};
use super::guard;
use super::kv::KvService;
use crate::metrics::RpcKind::Unary;

const SERVICE: &str = "holdfast.v1.GuardedKv";

pub struct GuardedKvService {
    kv: Arc<KvService>,
    put: Rpc,
    delete_range: Rpc,
    txn: Rpc,
}

impl GuardedKvService {
    pub fn new(gate: &Gate, kv: Arc<KvService>) -> Self {
        Self {
            kv,
            put: gate.rpc(Unary, SERVICE, "Put").asks(Asks::User),
            delete_range: gate.rpc(Unary, SERVICE, "DeleteRange").asks(Asks::User),
            txn: gate.rpc(Unary, SERVICE, "Txn").asks(Asks::User),
        }
    }
}

#[tonic::async_trait]
impl GuardedKv for GuardedKvService {
    async fn put(&self, request: Request<GuardedPutRequest>) -> Result<Response<PutResponse>, Status> {
        let work = |GuardedPutRequest { guard, put }, call| {
            self.kv.answer_put(put.unwrap_or_default(), guard::of_message(guard), call)
        };
        self.put.unary(request, work).await
    }

    async fn delete_range(
        &self,
        request: Request<GuardedDeleteRangeRequest>,
    ) -> Result<Response<DeleteRangeResponse>, Status> {
        let work = |GuardedDeleteRangeRequest { guard, delete_range }, call| {
            self.kv.answer_delete_range(delete_range.unwrap_or_default(), guard::of_message(guard), call)
        };
        self.delete_range.unary(request, work).await
    }

    async fn txn(&self, request: Request<GuardedTxnRequest>) -> Result<Response<TxnResponse>, Status> {
        let work = |GuardedTxnRequest { guard, txn }, call| {
            self.kv.answer_txn(txn.unwrap_or_default(), guard::of_message(guard), call)
        };
        self.txn.unary(request, work).await
    }
}
