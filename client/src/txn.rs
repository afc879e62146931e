//! Transactions: compare, then do one list of operations or another, at one revision.

use std::future::IntoFuture;
use std::marker::PhantomData;

use bytes::Bytes;
use futures::future::BoxFuture;
use holdfast_proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use holdfast_proto::etcdserverpb::request_op::Request;
use holdfast_proto::etcdserverpb::{self as pb, RequestOp, TxnRequest, TxnResponse};

use crate::call::Route;
use crate::kv::{bytes, stub};
use crate::range::prefix_end;
use crate::retry::Intent;
use crate::{Client, Delete, Error, Get, Put};

/// A condition of a transaction. Begin with what is compared: `Compare::version("key").equal(0)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Compare(pub(crate) pb::Compare);

/// What is compared, still without the value to compare it to. `V` is [`Number`] or [`Value`].
#[derive(Clone, Debug)]
#[must_use = "say what it is compared to"]
pub struct Subject<V> {
    key: Bytes,
    range_end: Bytes,
    target: CompareTarget,
    kind: PhantomData<V>,
}

/// Marks a [`Subject`] that is a revision, a version or a lease.
#[derive(Clone, Copy, Debug)]
pub enum Number {}

/// Marks a [`Subject`] that is a value.
#[derive(Clone, Copy, Debug)]
pub enum Value {}

impl Compare {
    /// Writes since the key was created; 0 when there is no such key.
    pub fn version(key: impl Into<Vec<u8>>) -> Subject<Number> {
        Subject::new(key, CompareTarget::Version)
    }

    /// Revision at which the key was created; 0 when there is no such key.
    pub fn create_revision(key: impl Into<Vec<u8>>) -> Subject<Number> {
        Subject::new(key, CompareTarget::Create)
    }

    /// Revision of the last write; 0 when there is no such key.
    pub fn mod_revision(key: impl Into<Vec<u8>>) -> Subject<Number> {
        Subject::new(key, CompareTarget::Mod)
    }

    /// Lease the key is attached to; 0 when there is none.
    pub fn lease(key: impl Into<Vec<u8>>) -> Subject<Number> {
        Subject::new(key, CompareTarget::Lease)
    }

    /// The value. For a key that does not exist every comparison fails, [`not_equal`](Subject::not_equal) too.
    pub fn value(key: impl Into<Vec<u8>>) -> Subject<Value> {
        Subject::new(key, CompareTarget::Value)
    }

    /// The key exists.
    #[must_use]
    pub fn exists(key: impl Into<Vec<u8>>) -> Self {
        Self::version(key).greater(0)
    }

    /// The key does not exist.
    #[must_use]
    pub fn missing(key: impl Into<Vec<u8>>) -> Self {
        Self::version(key).equal(0)
    }
}

impl<V> Subject<V> {
    fn new(key: impl Into<Vec<u8>>, target: CompareTarget) -> Self {
        Self { key: bytes(key), range_end: Bytes::new(), target, kind: PhantomData }
    }

    /// The comparison must hold for every key that begins with the key given.
    pub fn prefix(mut self) -> Self {
        self.range_end = prefix_end(&self.key);
        self
    }

    /// The comparison must hold for every key up to, and without, `end`.
    pub fn range(mut self, end: impl Into<Vec<u8>>) -> Self {
        self.range_end = bytes(end);
        self
    }

    fn compare(self, result: CompareResult, operand: TargetUnion) -> Compare {
        Compare(pb::Compare {
            result: result.into(),
            target: self.target.into(),
            key: self.key,
            range_end: self.range_end,
            target_union: Some(operand),
        })
    }
}

impl Subject<Number> {
    #[must_use]
    pub fn equal(self, to: i64) -> Compare {
        self.number(CompareResult::Equal, to)
    }

    #[must_use]
    pub fn not_equal(self, to: i64) -> Compare {
        self.number(CompareResult::NotEqual, to)
    }

    #[must_use]
    pub fn greater(self, than: i64) -> Compare {
        self.number(CompareResult::Greater, than)
    }

    #[must_use]
    pub fn less(self, than: i64) -> Compare {
        self.number(CompareResult::Less, than)
    }

    fn number(self, result: CompareResult, number: i64) -> Compare {
        let operand = match self.target {
            CompareTarget::Create => TargetUnion::CreateRevision(number),
            CompareTarget::Mod => TargetUnion::ModRevision(number),
            CompareTarget::Lease => TargetUnion::Lease(number),
            CompareTarget::Version | CompareTarget::Value => TargetUnion::Version(number),
        };
        self.compare(result, operand)
    }
}

impl Subject<Value> {
    #[must_use]
    pub fn equal(self, to: impl Into<Vec<u8>>) -> Compare {
        self.compare(CompareResult::Equal, TargetUnion::Value(bytes(to)))
    }

    #[must_use]
    pub fn not_equal(self, to: impl Into<Vec<u8>>) -> Compare {
        self.compare(CompareResult::NotEqual, TargetUnion::Value(bytes(to)))
    }

    #[must_use]
    pub fn greater(self, than: impl Into<Vec<u8>>) -> Compare {
        self.compare(CompareResult::Greater, TargetUnion::Value(bytes(than)))
    }

    #[must_use]
    pub fn less(self, than: impl Into<Vec<u8>>) -> Compare {
        self.compare(CompareResult::Less, TargetUnion::Value(bytes(than)))
    }
}

/// One operation of a transaction: a [`Put`], a [`Get`], a [`Delete`], or a [`Txn`] again.
#[derive(Clone, Debug, PartialEq)]
pub struct Op(pub(crate) RequestOp);

impl Op {
    fn of(request: Request) -> Self {
        Self(RequestOp { request: Some(request) })
    }
}

impl<C> From<Put<C>> for Op {
    fn from(put: Put<C>) -> Self {
        Self::of(Request::RequestPut(put.request))
    }
}

impl<C> From<Get<C>> for Op {
    fn from(get: Get<C>) -> Self {
        Self::of(Request::RequestRange(get.request))
    }
}

impl<C> From<Delete<C>> for Op {
    fn from(delete: Delete<C>) -> Self {
        Self::of(Request::RequestDeleteRange(delete.request))
    }
}

impl<C> From<Txn<C>> for Op {
    fn from(txn: Txn<C>) -> Self {
        Self::of(Request::RequestTxn(txn.request))
    }
}

/// A transaction: if all that stands under `when` holds, what stands under `then` is done, else what stands under
/// `otherwise`. Each method adds one; call it as often as needed.
#[derive(Clone, Debug)]
#[must_use = "a transaction does nothing until it is awaited or added to another one"]
pub struct Txn<C = ()> {
    pub(crate) request: TxnRequest,
    pub(crate) client: C,
}

impl Txn {
    /// A transaction within another one.
    pub fn new() -> Self {
        Self { request: TxnRequest::default(), client: () }
    }
}

impl Default for Txn {
    fn default() -> Self {
        Self::new()
    }
}

impl<C> Txn<C> {
    /// One more condition.
    pub fn when(mut self, compare: Compare) -> Self {
        self.request.compare.push(compare.0);
        self
    }

    /// One more operation for the case that every condition holds.
    pub fn then(mut self, op: impl Into<Op>) -> Self {
        self.request.success.push(op.into().0);
        self
    }

    /// One more operation for the other case.
    pub fn otherwise(mut self, op: impl Into<Op>) -> Self {
        self.request.failure.push(op.into().0);
        self
    }

    /// Executes the same transaction through `client`.
    pub fn with(self, client: &Client) -> Txn<Client> {
        Txn { request: self.request, client: client.clone() }
    }
}

impl IntoFuture for Txn<Client> {
    type Output = Result<TxnResponse, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        let core = self.client.core;
        Box::pin(async move {
            let route = match intent(&self.request) {
                Intent::Read => Route::read(),
                Intent::Write => Route::write(),
            };
            let send = |channel, request| {
                let mut stub = stub(&core, channel);
                async move { stub.txn(request).await }
            };
            core.unary(route, self.request, send).await
        })
    }
}

/// A transaction that cannot write, whichever way it goes, is a read and may be repeated like one.
fn intent(txn: &TxnRequest) -> Intent {
    let reads = |op: &RequestOp| match &op.request {
        Some(Request::RequestRange(_)) => true,
        Some(Request::RequestTxn(inner)) => intent(inner) == Intent::Read,
        Some(Request::RequestPut(_) | Request::RequestDeleteRange(_)) | None => false,
    };
    if txn.success.iter().chain(&txn.failure).all(reads) { Intent::Read } else { Intent::Write }
}

impl Client {
    /// Begins a transaction.
    pub fn txn(&self) -> Txn<Self> {
        Txn::new().with(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_reads_only_if_no_branch_at_any_depth_writes() {
        let reading =
            Txn::new().when(Compare::exists("k")).then(Get::new("k")).otherwise(Txn::new().then(Get::new("l")));
        assert_eq!(intent(&reading.request), Intent::Read);
        let writing = reading.otherwise(Txn::new().otherwise(Delete::new("k")));
        assert_eq!(intent(&writing.request), Intent::Write);
    }

    #[test]
    fn a_comparison_carries_the_operand_of_its_target() {
        let cases = [
            (Compare::version("k").equal(1), TargetUnion::Version(1)),
            (Compare::create_revision("k").less(1), TargetUnion::CreateRevision(1)),
            (Compare::mod_revision("k").greater(1), TargetUnion::ModRevision(1)),
            (Compare::lease("k").not_equal(1), TargetUnion::Lease(1)),
            (Compare::value("k").equal("v"), TargetUnion::Value(Bytes::from_static(b"v"))),
        ];
        for (compare, operand) in cases {
            assert_eq!(compare.0.target_union, Some(operand));
        }
        assert_eq!(Compare::version("a").prefix().greater(0).0.range_end, "b");
    }
}
