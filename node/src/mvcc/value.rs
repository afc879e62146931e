//! The only place where values are read, and so the only place where their checksums are compared.

use std::ops::ControlFlow;

use bytes::Bytes;
use holdfast_proto::mvccpb;

use super::error::ReadError;
use super::event::Event;
use super::horizon::Horizon;
use super::rows::{EventKind, Head, HistoryRow, Rev, damaged};
use super::walk::{At, walk};
use crate::storage::{Column, View};
use crate::types::{KeyRange, RangeEnd, Revision, value_checksum};

/// A value that matched its checksum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    pub value: Bytes,
    pub checksum: u32,
}

/// The value of a version that the caller found in Current or Versions, so it must be there.
pub fn value_of(view: &dyn View, key: &[u8], head: &Head) -> Result<Verified, ReadError> {
    let rev = head.mod_rev;
    let Some(encoded) = view.get(Column::History, &rev.encode())? else {
        return Err(damaged(Column::History, &rev.encode()).into());
    };
    let row = verified(rev, &encoded)?;
    if row.key != key || row.kind != EventKind::Put {
        return Err(ReadError::ChecksumMismatch { key: Bytes::copy_from_slice(key), rev });
    }
    let (_, value) = HistoryRow::key_and_value_of(&encoded, row.key.len());
    Ok(Verified { value, checksum: row.checksum })
}

/// The version that stands at `rev`. `None` if that is no put, or has left the disk.
///
/// A compacted version may still be on the disk of one member and gone from another's. Whoever answers a client asks
/// [`prev_kv`] instead, which does not let the difference show.
pub fn value_at(view: &dyn View, rev: Rev) -> Result<Option<mvccpb::KeyValue>, ReadError> {
    let Some(encoded) = view.get(Column::History, &rev.encode())? else { return Ok(None) };
    let row = verified(rev, &encoded)?;
    if row.kind == EventKind::Delete {
        return Ok(None);
    }
    let (key, value) = HistoryRow::key_and_value_of(&encoded, row.key.len());
    Ok(Some(row.head.to_key_value(key, value)))
}

/// What the key of `event` was before its revision: `None` if the event created it, or if compaction has passed that
/// state.
///
/// One revision may change a key twice, where one of the changes deletes a range. Then the first change is what came
/// before the second, but not what came before the revision.
pub fn prev_kv(view: &dyn View, horizon: &Horizon, event: &Event) -> Result<Option<mvccpb::KeyValue>, ReadError> {
    match event.prev {
        Some(prev) if event.rev.main > horizon.oldest() => {
            if prev.main < event.rev.main {
                value_at(view, prev)
            } else {
                kv_before(view, event)
            }
        }
        _ => Ok(None),
    }
}

/// The key as it was at the end of the revision before that of the event.
fn kv_before(view: &dyn View, event: &Event) -> Result<Option<mvccpb::KeyValue>, ReadError> {
    let key = KeyRange { start: event.key.clone(), end: RangeEnd::Single };
    let mut found = None;
    walk(view, &key, At::Revision(Revision(event.rev.main.0 - 1)), &mut |_, head| {
        found = Some(head.mod_rev);
        Ok::<_, ReadError>(ControlFlow::Break(()))
    })?;
    found.map_or(Ok(None), |rev| value_at(view, rev))
}

/// Parses a row of History and compares its checksum.
pub(super) fn verified(rev: Rev, encoded: &Bytes) -> Result<HistoryRow<'_>, ReadError> {
    let row = HistoryRow::decode(&rev.encode(), encoded)?;
    if value_checksum(row.key, row.value) != row.checksum {
        return Err(ReadError::ChecksumMismatch { key: Bytes::copy_from_slice(row.key), rev });
    }
    Ok(row)
}
