//! Keys and values: put, get, delete, compact.
//!
//! [`Put`], [`Get`] and [`Delete`] are the same builders in two situations. `client.put(k, v)` gives a `Put<Client>`,
//! which can be awaited; `Put::new(k, v)` gives a `Put`, which becomes an operation of a [`Txn`](crate::Txn).

use std::future::IntoFuture;

use bytes::Bytes;
use futures::future::BoxFuture;
use holdfast_proto::etcdserverpb::kv_client::KvClient;
use holdfast_proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use holdfast_proto::etcdserverpb::{
    CompactionRequest, CompactionResponse, DeleteRangeRequest, DeleteRangeResponse, PutRequest, PutResponse,
    RangeRequest, RangeResponse,
};

use crate::call::{Core, Route};
use crate::connect::Channel;
use crate::range::{make_from, make_prefix};
use crate::{Client, Error};

pub(crate) fn stub(core: &Core, channel: Channel) -> KvClient<Channel> {
    KvClient::new(channel).max_decoding_message_size(core.options.response_bytes_max)
}

/// A key, a prefix or a value: anything that is bytes.
pub(crate) fn bytes(from: impl Into<Vec<u8>>) -> Bytes {
    Bytes::from(from.into())
}

// ---- put ----

/// Writes one key.
#[derive(Clone, Debug)]
#[must_use = "a put does nothing until it is awaited or added to a transaction"]
pub struct Put<C = ()> {
    pub(crate) request: PutRequest,
    pub(crate) client: C,
}

impl Put {
    /// An operation of a transaction.
    pub fn new(key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Self {
        Self { request: PutRequest { key: bytes(key), value: bytes(value), ..Default::default() }, client: () }
    }
}

impl<C> Put<C> {
    /// Attaches the key to a lease: it is deleted when the lease ends. Without this, the key leaves the lease it is
    /// attached to.
    pub fn lease(mut self, id: i64) -> Self {
        self.request.lease = id;
        self
    }

    /// Asks for what the key held before.
    pub fn prev_kv(mut self) -> Self {
        self.request.prev_kv = true;
        self
    }

    /// Keeps the present value, and changes the lease only. The key must exist; the value given must be empty.
    pub fn ignore_value(mut self) -> Self {
        self.request.ignore_value = true;
        self
    }

    /// Keeps the present lease. The key must exist.
    pub fn ignore_lease(mut self) -> Self {
        self.request.ignore_lease = true;
        self
    }
}

impl IntoFuture for Put<Client> {
    type Output = Result<PutResponse, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        let core = self.client.core;
        Box::pin(async move {
            let send = |channel, request| {
                let mut stub = stub(&core, channel);
                async move { stub.put(request).await }
            };
            core.unary(Route::write(), self.request, send).await
        })
    }
}

// ---- get ----

/// By what a range read is sorted. The limit is applied after the sorting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SortBy {
    Key,
    Version,
    CreateRevision,
    ModRevision,
    Value,
}

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Ascending,
    Descending,
}

/// Reads one key or a range.
#[derive(Clone, Debug)]
#[must_use = "a get does nothing until it is awaited or added to a transaction"]
pub struct Get<C = ()> {
    pub(crate) request: RangeRequest,
    pub(crate) client: C,
}

impl Get {
    /// An operation of a transaction.
    pub fn new(key: impl Into<Vec<u8>>) -> Self {
        Self { request: RangeRequest { key: bytes(key), ..Default::default() }, client: () }
    }
}

impl<C> Get<C> {
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

    /// At most so many keys; 0 is no limit.
    pub fn limit(mut self, keys: i64) -> Self {
        self.request.limit = keys;
        self
    }

    /// The state as of a revision in the past.
    pub fn revision(mut self, revision: i64) -> Self {
        self.request.revision = revision;
        self
    }

    /// Sorts the answer.
    pub fn sort(mut self, by: SortBy, order: Order) -> Self {
        let target = match by {
            SortBy::Key => SortTarget::Key,
            SortBy::Version => SortTarget::Version,
            SortBy::CreateRevision => SortTarget::Create,
            SortBy::ModRevision => SortTarget::Mod,
            SortBy::Value => SortTarget::Value,
        };
        let order = match order {
            Order::Ascending => SortOrder::Ascend,
            Order::Descending => SortOrder::Descend,
        };
        self.request.set_sort_target(target);
        self.request.set_sort_order(order);
        self
    }

    /// Lets the member asked answer from its own state, which may be behind, but needs no quorum.
    pub fn serializable(mut self) -> Self {
        self.request.serializable = true;
        self
    }

    /// Leaves the values out.
    pub fn keys_only(mut self) -> Self {
        self.request.keys_only = true;
        self
    }

    /// Gives only the number of keys.
    pub fn count_only(mut self) -> Self {
        self.request.count_only = true;
        self
    }

    /// Only keys last written at or after this revision.
    pub fn min_mod_revision(mut self, revision: i64) -> Self {
        self.request.min_mod_revision = revision;
        self
    }

    /// Only keys last written at or before this revision.
    pub fn max_mod_revision(mut self, revision: i64) -> Self {
        self.request.max_mod_revision = revision;
        self
    }

    /// Only keys created at or after this revision.
    pub fn min_create_revision(mut self, revision: i64) -> Self {
        self.request.min_create_revision = revision;
        self
    }

    /// Only keys created at or before this revision.
    pub fn max_create_revision(mut self, revision: i64) -> Self {
        self.request.max_create_revision = revision;
        self
    }
}

impl IntoFuture for Get<Client> {
    type Output = Result<RangeResponse, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        let core = self.client.core;
        Box::pin(async move {
            let send = |channel, request| {
                let mut stub = stub(&core, channel);
                async move { stub.range(request).await }
            };
            core.unary(Route::read(), self.request, send).await
        })
    }
}

// ---- delete ----

/// Deletes one key or a range, at one revision.
#[derive(Clone, Debug)]
#[must_use = "a delete does nothing until it is awaited or added to a transaction"]
pub struct Delete<C = ()> {
    pub(crate) request: DeleteRangeRequest,
    pub(crate) client: C,
}

impl Delete {
    /// An operation of a transaction.
    pub fn new(key: impl Into<Vec<u8>>) -> Self {
        Self { request: DeleteRangeRequest { key: bytes(key), ..Default::default() }, client: () }
    }
}

impl<C> Delete<C> {
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

    /// Asks for what was deleted.
    pub fn prev_kv(mut self) -> Self {
        self.request.prev_kv = true;
        self
    }
}

impl IntoFuture for Delete<Client> {
    type Output = Result<DeleteRangeResponse, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        let core = self.client.core;
        Box::pin(async move {
            let send = |channel, request| {
                let mut stub = stub(&core, channel);
                async move { stub.delete_range(request).await }
            };
            core.unary(Route::write(), self.request, send).await
        })
    }
}

// ---- compact ----

/// Gives up the history before a revision.
#[derive(Clone, Debug)]
#[must_use = "a compaction does nothing until it is awaited"]
pub struct Compact {
    request: CompactionRequest,
    client: Client,
}

impl Compact {
    /// Waits until the history has left the disk.
    pub fn physical(mut self) -> Self {
        self.request.physical = true;
        self
    }
}

impl IntoFuture for Compact {
    type Output = Result<CompactionResponse, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        let core = self.client.core;
        Box::pin(async move {
            let send = |channel, request| {
                let mut stub = stub(&core, channel);
                async move { stub.compact(request).await }
            };
            core.unary(Route::write(), self.request, send).await
        })
    }
}

impl Client {
    /// Writes `key`. Await it, or add options first.
    pub fn put(&self, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Put<Self> {
        Put { request: Put::new(key, value).request, client: self.clone() }
    }

    /// Reads `key`, or a range that begins there. Linearizable unless told otherwise.
    pub fn get(&self, key: impl Into<Vec<u8>>) -> Get<Self> {
        Get { request: Get::new(key).request, client: self.clone() }
    }

    /// Deletes `key`, or a range that begins there.
    pub fn delete(&self, key: impl Into<Vec<u8>>) -> Delete<Self> {
        Delete { request: Delete::new(key).request, client: self.clone() }
    }

    /// Gives up the history before `revision`.
    pub fn compact(&self, revision: i64) -> Compact {
        Compact { request: CompactionRequest { revision, physical: false }, client: self.clone() }
    }
}

impl<C> Put<C> {
    /// Executes the same put through `client`.
    pub fn with(self, client: &Client) -> Put<Client> {
        Put { request: self.request, client: client.clone() }
    }
}

impl<C> Get<C> {
    /// Executes the same read through `client`.
    pub fn with(self, client: &Client) -> Get<Client> {
        Get { request: self.request, client: client.clone() }
    }
}

impl<C> Delete<C> {
    /// Executes the same deletion through `client`.
    pub fn with(self, client: &Client) -> Delete<Client> {
        Delete { request: self.request, client: client.clone() }
    }
}
