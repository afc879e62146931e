//! What is wrong with a request, as far as the request alone can tell. The rules and their order are etcd's.
//!
//! Nothing here looks at the state, so `api/` refuses bad requests before they cost a log entry. Apply relies on none
//! of it: what gets past these rules is carried out in a way that members agree on.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use holdfast_proto::etcdserverpb::request_op::Request as Op;
use holdfast_proto::etcdserverpb::{
    DeleteRangeRequest, LeaseGrantRequest, PutRequest, RangeRequest, RequestOp, TxnRequest,
};

/// Why a request is refused before anything is looked up. `api/` has etcd's code and text for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRequest {
    #[error("the request names no key")]
    EmptyKey,
    #[error("an operation of the transaction is empty")]
    EmptyOperation,
    #[error("the request has a value, and asks to keep the present one")]
    ValueProvided,
    #[error("the request has a lease, and asks to keep the present one")]
    LeaseProvided,
    #[error("the transaction has too many operations")]
    TooManyOperations,
    #[error("the transaction changes a key twice")]
    DuplicateKey,
    #[error("the sort order or the sort target is none that exists")]
    InvalidSortOption,
    #[error("a range in pieces comes in the order of keys")]
    StreamSorted,
    #[error("a range in pieces is not filtered")]
    StreamFiltered,
    #[error("the TTL is longer than any lease can have")]
    TtlTooLarge,
}

pub fn range(request: &RangeRequest) -> Result<(), InvalidRequest> {
    require_key(&request.key)?;
    let is_known = SortOrder::try_from(request.sort_order).is_ok() && SortTarget::try_from(request.sort_target).is_ok();
    if is_known { Ok(()) } else { Err(InvalidRequest::InvalidSortOption) }
}

/// A range that is answered in pieces, which is why it cannot be sorted. As in etcd a target without an order is passed
/// over.
pub fn range_stream(request: &RangeRequest) -> Result<(), InvalidRequest> {
    range(request)?;
    let (order, target) = (request.sort_order(), request.sort_target());
    let is_by_key = order == SortOrder::None || (order == SortOrder::Ascend && target == SortTarget::Key);
    if !is_by_key {
        return Err(InvalidRequest::StreamSorted);
    }
    let filters =
        [request.min_mod_revision, request.max_mod_revision, request.min_create_revision, request.max_create_revision];
    if filters.iter().any(|revision| *revision != 0) {
        return Err(InvalidRequest::StreamFiltered);
    }
    Ok(())
}

pub fn put(request: &PutRequest) -> Result<(), InvalidRequest> {
    require_key(&request.key)?;
    if request.ignore_value && !request.value.is_empty() {
        return Err(InvalidRequest::ValueProvided);
    }
    if request.ignore_lease && request.lease != 0 {
        return Err(InvalidRequest::LeaseProvided);
    }
    Ok(())
}

pub fn delete_range(request: &DeleteRangeRequest) -> Result<(), InvalidRequest> {
    require_key(&request.key)
}

/// `ttl_s_max` is in seconds.
pub fn lease_grant(request: &LeaseGrantRequest, ttl_s_max: i64) -> Result<(), InvalidRequest> {
    if request.ttl > ttl_s_max { Err(InvalidRequest::TtlTooLarge) } else { Ok(()) }
}

/// A transaction may have `ops_max` compares, and as many operations in each branch. What the largest of the three
/// leaves over is the limit for the transactions nested in it.
pub fn txn(request: &TxnRequest, ops_max: usize) -> Result<(), InvalidRequest> {
    check_parts(request, ops_max)?;
    changes_of(&request.success)?;
    changes_of(&request.failure)?;
    Ok(())
}

/// Whether the transaction, in whichever branches, is made of ranges only, and needs no place in the log.
pub fn is_read_only(txn: &TxnRequest) -> bool {
    txn.success.iter().chain(&txn.failure).all(|op| match &op.request {
        Some(Op::RequestRange(_)) => true,
        Some(Op::RequestTxn(nested)) => is_read_only(nested),
        Some(Op::RequestPut(_) | Op::RequestDeleteRange(_)) | None => false,
    })
}

/// Whether the transaction is made only of ranges that are content with a member's own state.
pub fn is_serializable(txn: &TxnRequest) -> bool {
    txn.success.iter().chain(&txn.failure).all(|op| match &op.request {
        Some(Op::RequestRange(range)) => range.serializable,
        Some(Op::RequestTxn(nested)) => is_serializable(nested),
        Some(Op::RequestPut(_) | Op::RequestDeleteRange(_)) | None => false,
    })
}

fn require_key(key: &[u8]) -> Result<(), InvalidRequest> {
    if key.is_empty() { Err(InvalidRequest::EmptyKey) } else { Ok(()) }
}

fn check_parts(request: &TxnRequest, ops_max: usize) -> Result<(), InvalidRequest> {
    let largest = request.compare.len().max(request.success.len()).max(request.failure.len());
    let Some(ops_max_nested) = ops_max.checked_sub(largest) else { return Err(InvalidRequest::TooManyOperations) };
    request.compare.iter().try_for_each(|compare| require_key(&compare.key))?;
    request.success.iter().chain(&request.failure).try_for_each(|op| match &op.request {
        Some(Op::RequestRange(request)) => range(request),
        Some(Op::RequestPut(request)) => put(request),
        Some(Op::RequestDeleteRange(request)) => delete_range(request),
        Some(Op::RequestTxn(request)) => check_parts(request, ops_max_nested),
        None => Err(InvalidRequest::EmptyOperation),
    })
}

/// What a list of operations may change, whichever branches it takes.
#[derive(Default)]
struct Changes<'r> {
    puts: BTreeSet<&'r [u8]>,
    deletes: DeletedKeys<'r>,
}

/// The duplicate rule: no key may be put twice, and none may be put that is also deleted.
///
/// The order of the checks decides what passes, and it is etcd's (`checkIntervals`). The deletes of a level come
/// first; then its nested transactions one by one, each against the deletes so far and the puts of its elder siblings,
/// but not against its own other branch; the puts of the level last. So a younger sibling may delete what an elder one
/// puts, but not the other way round.
fn changes_of(ops: &[RequestOp]) -> Result<Changes<'_>, InvalidRequest> {
    let mut all = Changes::default();
    for op in ops {
        if let Some(Op::RequestDeleteRange(delete)) = &op.request {
            all.deletes.insert_range(delete);
        }
    }
    for op in ops {
        let Some(Op::RequestTxn(nested)) = &op.request else { continue };
        let success = changes_of(&nested.success)?;
        let failure = changes_of(&nested.failure)?;
        for key in &success.puts {
            all.require_unchanged(key)?;
        }
        for key in &failure.puts {
            all.require_unchanged(key)?;
        }
        all.puts.extend(success.puts);
        all.puts.extend(failure.puts);
        all.deletes.extend(success.deletes);
        all.deletes.extend(failure.deletes);
    }
    for op in ops {
        if let Some(Op::RequestPut(put)) = &op.request {
            all.require_unchanged(&put.key)?;
            all.puts.insert(&put.key);
        }
    }
    Ok(all)
}

impl Changes<'_> {
    fn require_unchanged(&self, key: &[u8]) -> Result<(), InvalidRequest> {
        if self.puts.contains(key) || self.deletes.contains(key) { Err(InvalidRequest::DuplicateKey) } else { Ok(()) }
    }
}

/// Deleted ranges, merged so that they do not overlap: a request of many ranges must not cost its square.
#[derive(Default)]
struct DeletedKeys<'r> {
    /// Start to end, which is not included, or for [`End::Of`] is the start itself.
    ranges: BTreeMap<&'r [u8], End<'r>>,
}

/// Where a deleted range ends. The order is that of the ends' positions, given the same start or a smaller one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct End<'r> {
    key: &'r [u8],
    /// The key itself is deleted too.
    included: bool,
}

impl<'r> DeletedKeys<'r> {
    /// A range without an end (a lone zero byte) is not looked at: etcd reads that end literally here, so that such a
    /// range holds no key, and clients do put keys into what they clear.
    fn insert_range(&mut self, delete: &'r DeleteRangeRequest) {
        let end = match delete.range_end.as_ref() {
            [] => End { key: &delete.key, included: true },
            end => End { key: end, included: false },
        };
        self.insert(&delete.key, end);
    }

    fn insert(&mut self, mut start: &'r [u8], mut end: End<'r>) {
        if end < (End { key: start, included: true }) {
            return;
        }
        // Of the ranges there are, those that overlap the new one stand in front of its end, and are its neighbours.
        while let Some((&other_start, &other_end)) = self.ranges.range(..=end.key).next_back() {
            if other_end.key < start {
                break;
            }
            self.ranges.remove(other_start);
            start = start.min(other_start);
            end = end.max(other_end);
        }
        self.ranges.insert(start, end);
    }

    fn extend(&mut self, other: DeletedKeys<'r>) {
        for (start, end) in other.ranges {
            self.insert(start, end);
        }
    }

    fn contains(&self, key: &[u8]) -> bool {
        let before = self.ranges.range(..=key).next_back();
        before.is_some_and(|(_, end)| key < end.key || (key == end.key && end.included))
    }
}
