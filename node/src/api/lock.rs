//! Lock: one holder by name, the others in a queue.
//!
//! etcd's answer has no place for the fencing token, which is the create revision of the key that it names. So it
//! comes in the answer's metadata too, as `holdfast-fencing-token`.

use std::sync::{Arc, OnceLock};

use holdfast_proto::v3lockpb::lock_server::Lock;
use holdfast_proto::v3lockpb::{LockRequest, LockResponse, UnlockRequest, UnlockResponse};
use tonic::metadata::MetadataValue;
use tonic::{Request, Response, Status};

use super::gate::{Asks, Gate, Rpc};
use super::recipe::{Candidate, Recipes, deadline_of};
use crate::metrics::RpcKind::Unary;

const SERVICE: &str = "v3lockpb.Lock";
const TOKEN: &str = "holdfast-fencing-token";

pub struct LockService {
    gate: Gate,
    recipes: Arc<Recipes>,
    lock: Rpc,
    unlock: Rpc,
}

impl LockService {
    pub fn new(gate: &Gate, recipes: Arc<Recipes>) -> Self {
        let (lock, unlock) =
            (gate.rpc(Unary, SERVICE, "Lock").asks(Asks::User), gate.rpc(Unary, SERVICE, "Unlock").asks(Asks::User));
        Self { gate: gate.clone(), recipes, lock, unlock }
    }
}

#[tonic::async_trait]
impl Lock for LockService {
    async fn lock(&self, request: Request<LockRequest>) -> Result<Response<LockResponse>, Status> {
        let until = deadline_of(request.metadata());
        let token = OnceLock::new();
        let work = async |LockRequest { name, lease }, call| {
            let held = self.recipes.acquire(Candidate { name, lease, value: None, until }, call).await?;
            // It is set once: the work is done once.
            let _first = token.set(held.created);
            let header = Some(self.gate.ops().header_at(held.reached));
            Ok(LockResponse { header, key: held.key })
        };
        let mut response = self.lock.unary(request, work).await?;
        if let Some(token) = token.get() {
            response.metadata_mut().insert(TOKEN, MetadataValue::from(token.0));
        }
        Ok(response)
    }

    async fn unlock(&self, request: Request<UnlockRequest>) -> Result<Response<UnlockResponse>, Status> {
        let work =
            async |UnlockRequest { key }, call| Ok(UnlockResponse { header: self.recipes.delete(key, call).await? });
        self.unlock.unary(request, work).await
    }
}
