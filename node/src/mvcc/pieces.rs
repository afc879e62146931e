//! A range answered in pieces, all of one revision: what is in memory is one piece, however large the range.
//!
//! Each piece is read from a view of its own, so that a slow reader keeps nothing of the engine's. The first one pins
//! the revision. If that is compacted before the last piece is read, the next piece is an error: what is gone cannot
//! be made up.
//!
//! A piece is closed by its size. Only the last one says how many keys there are: they have all passed by then.

use std::ops::ControlFlow;

use bytes::Bytes;
use holdfast_proto::etcdserverpb::{RangeRequest, RangeResponse, ResponseHeader};

use super::error::ReadError;
use super::horizon::Horizon;
use super::value::value_of;
use super::walk::walk;
use crate::storage::View;
use crate::types::{KeyRange, Revision};

/// A piece is closed once it has so many bytes; its last value may take it beyond.
const PIECE_BYTES: usize = 512 * 1024;
/// What a key costs beside its name and its value, in bytes.
const KEY_OVERHEAD_BYTES: usize = 64;

/// A range under way.
#[derive(Debug)]
pub struct RangePieces {
    request: RangeRequest,
    /// The key at which the next piece begins.
    next_key: Bytes,
    pinned: Option<Pinned>,
    /// Keys that have passed by.
    count: i64,
}

#[derive(Clone, Copy, Debug)]
struct Pinned {
    /// The revision that is read.
    at: Revision,
    /// The newest one when the range began.
    newest: Revision,
}

impl RangePieces {
    /// The request asks for no order but that of the keys, and for no filters.
    pub fn new(request: RangeRequest) -> Self {
        let next_key = request.key.clone();
        Self { request, next_key, pinned: None, count: 0 }
    }

    /// The next piece. The last one has a header, of which only the revision is set.
    pub fn next(&mut self, view: &dyn View) -> Result<RangeResponse, ReadError> {
        let horizon = Horizon::load(view)?;
        let asked = Revision(self.request.revision);
        let pinned = *self
            .pinned
            .get_or_insert(Pinned { at: if asked.0 > 0 { asked } else { horizon.revision }, newest: horizon.revision });
        let at = horizon.resolve(pinned.at)?;
        let keys = KeyRange::from_wire(self.next_key.clone(), self.request.range_end.clone());
        let limit = if self.request.limit > 0 { self.request.limit } else { i64::MAX };
        let (mut kvs, mut bytes, mut more, mut behind) = (Vec::new(), 0, false, None);
        walk(view, &keys, at, &mut |key, head| {
            if self.request.count_only {
                self.count += 1;
                return Ok(ControlFlow::Continue(()));
            }
            if self.count >= limit {
                // The rest is counted, and not answered.
                more = true;
                self.count += 1;
                return Ok(ControlFlow::Continue(()));
            }
            if bytes >= PIECE_BYTES {
                behind = Some(Bytes::copy_from_slice(key));
                return Ok(ControlFlow::Break(()));
            }
            let value = if self.request.keys_only { Bytes::new() } else { value_of(view, key, &head)?.value };
            bytes += key.len() + value.len() + KEY_OVERHEAD_BYTES;
            self.count += 1;
            kvs.push(head.to_key_value(Bytes::copy_from_slice(key), value));
            Ok::<_, ReadError>(ControlFlow::Continue(()))
        })?;
        if let Some(behind) = behind {
            self.next_key = behind;
            return Ok(RangeResponse { kvs, ..RangeResponse::default() });
        }
        let header = Some(ResponseHeader { revision: pinned.newest.0, ..ResponseHeader::default() });
        Ok(RangeResponse { header, kvs, more, count: self.count })
    }
}
