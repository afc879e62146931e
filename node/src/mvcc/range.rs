//! Range: the one read request of the API.

use std::ops::ControlFlow;

use holdfast_proto::etcdserverpb::{RangeRequest, RangeResponse, ResponseHeader};
use holdfast_proto::mvccpb;

use super::error::ReadError;
use super::horizon::Horizon;
use super::selection::{Candidate, Selection};
use super::value::value_of;
use super::walk::walk;
use crate::storage::View;
use crate::types::{KeyRange, Revision};

/// Answers a range request from `view`. Of the header only the revision is set.
pub fn range(view: &dyn View, request: &RangeRequest) -> Result<RangeResponse, ReadError> {
    range_within(view, &Horizon::load(view)?, request)
}

/// The same inside a transaction, whose horizon is ahead of the one in `view`.
///
/// Keys are selected by their heads first; values are read only for those that are answered, and only if they are
/// asked for.
pub fn range_within(view: &dyn View, horizon: &Horizon, request: &RangeRequest) -> Result<RangeResponse, ReadError> {
    let at = horizon.resolve(Revision(request.revision))?;
    let keys = KeyRange::from_wire(request.key.clone(), request.range_end.clone());
    let mut selection = Selection::new(request);
    walk(view, &keys, at, &mut |key, head| {
        selection.offer(view, key, head)?;
        Ok::<_, ReadError>(ControlFlow::Continue(()))
    })?;
    let selected = selection.finish();
    let kvs = selected.candidates.into_iter().map(|candidate| answer(view, request, candidate));
    Ok(RangeResponse {
        header: Some(ResponseHeader { revision: horizon.revision.0, ..Default::default() }),
        kvs: kvs.collect::<Result<_, _>>()?,
        more: selected.more,
        count: selected.count as i64,
    })
}

fn answer(view: &dyn View, request: &RangeRequest, candidate: Candidate) -> Result<mvccpb::KeyValue, ReadError> {
    let Candidate { key, head, value } = candidate;
    let value = match value {
        _ if request.keys_only => Default::default(),
        Some(value) => value,
        None => value_of(view, &key, &head)?.value,
    };
    Ok(head.to_key_value(key, value))
}
