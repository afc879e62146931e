//! Which keys of a range are answered, and in what order.
//!
//! Every key of the range passes by once, because `count` is the number of all of them. What is kept never exceeds
//! twice the limit: in key order the first ones are kept and the rest only counted; in any other order the best so
//! far are kept, and the worse half is thrown away whenever there are two limits' worth.
//!
//! Among keys that are equal by the target, order is that of the keys. So it is in etcd for few keys; for many its
//! sorting leaves it open.

use std::cmp::Ordering;

use bytes::Bytes;
use holdfast_proto::etcdserverpb::RangeRequest;
use holdfast_proto::etcdserverpb::range_request::{SortOrder, SortTarget};

use super::error::ReadError;
use super::rows::Head;
use super::value::value_of;
use crate::storage::View;

/// A key that may be answered.
pub(super) struct Candidate {
    pub key: Bytes,
    pub head: Head,
    /// Read already, because the order is by value.
    pub value: Option<Bytes>,
}

/// What passed so far.
pub(super) struct Selection<'r> {
    request: &'r RangeRequest,
    order: Order,
    /// Keys answered at most.
    limit: usize,
    /// etcd's way with a target that is not the key, a limit, and neither order nor filters: the first keys are taken,
    /// one more than the limit, and only these are sorted.
    cuts_first: bool,
    kept: Vec<Candidate>,
    /// Keys in the range.
    count: usize,
    /// Keys in the range that pass the filters.
    matched: usize,
}

/// What a selection came to.
pub(super) struct Selected {
    /// In the order asked for.
    pub candidates: Vec<Candidate>,
    pub count: usize,
    /// The limit cut the answer.
    pub more: bool,
}

impl<'r> Selection<'r> {
    pub fn new(request: &'r RangeRequest) -> Self {
        let limit = match request.limit {
            limit if limit > 0 => usize::try_from(limit).unwrap_or(usize::MAX),
            _ => usize::MAX,
        };
        let has_filters = request.max_mod_revision != 0
            || request.min_mod_revision != 0
            || request.max_create_revision != 0
            || request.min_create_revision != 0;
        let cuts_first = request.sort_order == SortOrder::None as i32 && !has_filters;
        Self { request, order: Order::of(request), limit, cuts_first, kept: Vec::new(), count: 0, matched: 0 }
    }

    /// Takes notice of the next key, in the order of keys.
    pub fn offer(&mut self, view: &dyn View, key: &[u8], head: Head) -> Result<(), ReadError> {
        self.count += 1;
        if self.request.count_only || !self.passes_filters(&head) {
            return Ok(());
        }
        self.matched += 1;
        let is_full = if self.order.is_by_key_ascending() {
            self.kept.len() >= self.limit
        } else {
            self.cuts_first && self.kept.len() > self.limit
        };
        if is_full {
            return Ok(());
        }
        let value = match self.order.target {
            SortTarget::Value => Some(value_of(view, key, &head)?.value),
            SortTarget::Key | SortTarget::Version | SortTarget::Create | SortTarget::Mod => None,
        };
        self.kept.push(Candidate { key: Bytes::copy_from_slice(key), head, value });
        let is_picky = !self.order.is_by_key_ascending() && !self.cuts_first;
        if is_picky && self.kept.len() >= self.limit.saturating_mul(2) {
            let order = self.order;
            self.kept.select_nth_unstable_by(self.limit, |a, b| order.compare(a, b));
            self.kept.truncate(self.limit);
        }
        Ok(())
    }

    pub fn finish(mut self) -> Selected {
        let order = self.order;
        if !order.is_by_key_ascending() {
            self.kept.sort_unstable_by(|a, b| order.compare(a, b));
            self.kept.truncate(self.limit);
        }
        Selected { candidates: self.kept, count: self.count, more: self.matched > self.limit }
    }

    fn passes_filters(&self, head: &Head) -> bool {
        let request = self.request;
        let (modified, created) = (head.mod_rev.main.0, head.create_revision.0);
        (request.max_mod_revision == 0 || modified <= request.max_mod_revision)
            && (request.min_mod_revision == 0 || modified >= request.min_mod_revision)
            && (request.max_create_revision == 0 || created <= request.max_create_revision)
            && (request.min_create_revision == 0 || created >= request.min_create_revision)
    }
}

/// A total order: what is equal by the target stands in the order of keys, whichever way the target runs.
#[derive(Clone, Copy)]
struct Order {
    target: SortTarget,
    descending: bool,
}

impl Order {
    /// Without an order, ascending. Numbers outside the enums never get past `state/validate.rs`; they mean the
    /// default here.
    fn of(request: &RangeRequest) -> Self {
        let target = SortTarget::try_from(request.sort_target).unwrap_or(SortTarget::Key);
        Self { target, descending: request.sort_order == SortOrder::Descend as i32 }
    }

    /// The order in which keys pass by.
    fn is_by_key_ascending(self) -> bool {
        self.target == SortTarget::Key && !self.descending
    }

    fn compare(self, a: &Candidate, b: &Candidate) -> Ordering {
        let by_target = match self.target {
            SortTarget::Key => a.key.cmp(&b.key),
            SortTarget::Version => a.head.version.cmp(&b.head.version),
            SortTarget::Create => a.head.create_revision.cmp(&b.head.create_revision),
            SortTarget::Mod => a.head.mod_rev.main.cmp(&b.head.mod_rev.main),
            SortTarget::Value => a.value.cmp(&b.value),
        };
        let by_target = if self.descending { by_target.reverse() } else { by_target };
        by_target.then_with(|| a.key.cmp(&b.key))
    }
}
