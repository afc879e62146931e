//! A server that stores nothing: it takes a put, gives a get a value of the right size, and touches neither disk nor
//! peers. Its rate is what the generator and gRPC allow on this machine, and its CPU per request is their price.

use std::net::SocketAddr;

use bytes::Bytes;
use holdfast_proto::etcdserverpb::kv_server::{Kv, KvServer};
use holdfast_proto::etcdserverpb::{
    CompactionRequest, CompactionResponse, DeleteRangeRequest, DeleteRangeResponse, PutRequest, PutResponse,
    RangeRequest, RangeResponse, RangeStreamResponse, ResponseHeader, TxnRequest, TxnResponse,
};
use holdfast_proto::mvccpb::KeyValue;
use tonic::{Request, Response, Status};

use crate::bench::dataset::value_bytes_of;
use crate::bench::error::BenchError;

/// A get of more is answered with this much.
pub const VALUE_BYTES_MAX: usize = 1_000_000;

struct Nothing {
    zeros: Bytes,
}

/// Serves until standard input closes, which is when whoever started it is gone.
pub async fn serve(listen: SocketAddr) -> Result<(), BenchError> {
    std::thread::spawn(|| {
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        std::process::exit(0);
    });
    answer(listen).await
}

pub async fn answer(listen: SocketAddr) -> Result<(), BenchError> {
    let service = KvServer::new(Nothing { zeros: vec![0; VALUE_BYTES_MAX].into() });
    let serving = tonic::transport::Server::builder().add_service(service).serve(listen).await;
    serving.map_err(|error| BenchError::Runtime(std::io::Error::other(error)))
}

fn header() -> Option<ResponseHeader> {
    Some(ResponseHeader { cluster_id: 1, member_id: 1, revision: 1, raft_term: 1 })
}

#[tonic::async_trait]
impl Kv for Nothing {
    async fn put(&self, _: Request<PutRequest>) -> Result<Response<PutResponse>, Status> {
        Ok(Response::new(PutResponse { header: header(), prev_kv: None }))
    }

    async fn range(&self, request: Request<RangeRequest>) -> Result<Response<RangeResponse>, Status> {
        let key = request.into_inner().key;
        let size = value_bytes_of(&key).unwrap_or(0).min(VALUE_BYTES_MAX);
        let value = self.zeros.slice(..size);
        let kv = KeyValue { key, value, create_revision: 1, mod_revision: 1, version: 1, lease: 0 };
        Ok(Response::new(RangeResponse { header: header(), kvs: vec![kv], more: false, count: 1 }))
    }

    type RangeStreamStream = futures::stream::Empty<Result<RangeStreamResponse, Status>>;

    async fn range_stream(&self, _: Request<RangeRequest>) -> Result<Response<Self::RangeStreamStream>, Status> {
        Err(Status::unimplemented("puts and gets only"))
    }

    async fn delete_range(&self, _: Request<DeleteRangeRequest>) -> Result<Response<DeleteRangeResponse>, Status> {
        Err(Status::unimplemented("puts and gets only"))
    }

    async fn txn(&self, _: Request<TxnRequest>) -> Result<Response<TxnResponse>, Status> {
        Err(Status::unimplemented("puts and gets only"))
    }

    async fn compact(&self, _: Request<CompactionRequest>) -> Result<Response<CompactionResponse>, Status> {
        Err(Status::unimplemented("puts and gets only"))
    }
}
