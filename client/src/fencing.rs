//! Guarded writes: carried out only while a lock or a leadership is held.
//!
//! They go to `holdfast.v1.GuardedKv` and not, with metadata, to etcd's KV: a server that knows nothing of guards then
//! refuses them, instead of carrying them out unguarded.

use std::future::IntoFuture;

use futures::future::BoxFuture;
use holdfast_proto::etcdserverpb::{DeleteRangeResponse, PutResponse, TxnResponse};
use holdfast_proto::v1::guard::Held;
use holdfast_proto::v1::guarded_kv_client::GuardedKvClient;
use holdfast_proto::v1::{self, GuardedDeleteRangeRequest, GuardedPutRequest, GuardedTxnRequest};

use crate::call::{Core, Route};
use crate::connect::Channel;
use crate::kv::bytes;
use crate::{Client, Delete, Error, Put, Txn};

/// What must be true at the very place in the log where a write is carried out.
#[derive(Clone, Debug, PartialEq)]
pub struct Guard(v1::Guard);

impl Guard {
    /// The holder's own key exists, and came into being at `token`.
    #[must_use]
    pub fn key(key: impl Into<Vec<u8>>, token: i64) -> Self {
        Self(v1::Guard { held: Some(Held::Key(bytes(key))), token })
    }

    /// The key of whoever holds the lock or the election `name` came into being at `token`.
    #[must_use]
    pub fn name(name: impl Into<Vec<u8>>, token: i64) -> Self {
        Self(v1::Guard { held: Some(Held::Name(bytes(name))), token })
    }
}

/// A client whose writes are all guarded alike. A refusal is [`Error::Refused`] with
/// [`FailedPrecondition`](tonic::Code::FailedPrecondition), and names the newer holder.
#[derive(Clone, Debug)]
pub struct Guarded {
    client: Client,
    guard: v1::Guard,
}

impl Client {
    /// Writes that are carried out only while `guard` holds.
    #[must_use]
    pub fn guarded(&self, guard: Guard) -> Guarded {
        Guarded { client: self.clone(), guard: guard.0 }
    }
}

impl Guarded {
    /// As [`Client::put`].
    pub fn put(&self, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Put<Self> {
        Put { request: Put::new(key, value).request, client: self.clone() }
    }

    /// As [`Client::delete`].
    pub fn delete(&self, key: impl Into<Vec<u8>>) -> Delete<Self> {
        Delete { request: Delete::new(key).request, client: self.clone() }
    }

    /// As [`Client::txn`]. The guard stands before all conditions.
    pub fn txn(&self) -> Txn<Self> {
        Txn { request: Txn::new().request, client: self.clone() }
    }
}

fn stub(core: &Core, channel: Channel) -> GuardedKvClient<Channel> {
    GuardedKvClient::new(channel).max_decoding_message_size(core.options.response_bytes_max)
}

impl IntoFuture for Put<Guarded> {
    type Output = Result<PutResponse, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        let Guarded { client, guard } = self.client;
        Box::pin(async move {
            let send = |channel, request| {
                let mut stub = stub(&client.core, channel);
                async move { stub.put(request).await }
            };
            let request = GuardedPutRequest { guard: Some(guard), put: Some(self.request) };
            client.core.unary(Route::write(), request, send).await
        })
    }
}

impl IntoFuture for Delete<Guarded> {
    type Output = Result<DeleteRangeResponse, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        let Guarded { client, guard } = self.client;
        Box::pin(async move {
            let send = |channel, request| {
                let mut stub = stub(&client.core, channel);
                async move { stub.delete_range(request).await }
            };
            let request = GuardedDeleteRangeRequest { guard: Some(guard), delete_range: Some(self.request) };
            client.core.unary(Route::write(), request, send).await
        })
    }
}

impl IntoFuture for Txn<Guarded> {
    type Output = Result<TxnResponse, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        let Guarded { client, guard } = self.client;
        Box::pin(async move {
            let send = |channel, request| {
                let mut stub = stub(&client.core, channel);
                async move { stub.txn(request).await }
            };
            let request = GuardedTxnRequest { guard: Some(guard), txn: Some(self.request) };
            client.core.unary(Route::write(), request, send).await
        })
    }
}
