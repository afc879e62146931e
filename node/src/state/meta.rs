//! The rows of Meta that apply keeps about the log: how far it was applied, when, and who the members are.
//!
//! The rows of revisions are in `mvcc/horizon.rs`, those of alarms in `state/alarm.rs`.

use bytes::{BufMut, BytesMut};
use holdfast_proto::peer::Membership;
use prost::Message;

use crate::mvcc::Overlay;
use crate::storage::{Column, EngineError, View};
use crate::types::LogId;

const APPLIED: &[u8] = b"applied";
const MEMBERSHIP: &[u8] = b"membership";
const STAMPED: &[u8] = b"stamped";

/// The last entry whose effects are in the state. `None` in a state that no entry was applied to.
pub fn applied(view: &dyn View) -> Result<Option<LogId>, EngineError> {
    let Some(row) = view.get(Column::Meta, APPLIED)? else { return Ok(None) };
    match decode_log_id(&row) {
        Some((log_id, [])) => Ok(Some(log_id)),
        _ => Err(damaged(APPLIED)),
    }
}

/// The members as the last applied membership entry has them, and where that entry stands.
pub fn membership(view: &dyn View) -> Result<Option<(LogId, Membership)>, EngineError> {
    let Some(row) = view.get(Column::Meta, MEMBERSHIP)? else { return Ok(None) };
    let (log_id, encoded) = decode_log_id(&row).ok_or_else(|| damaged(MEMBERSHIP))?;
    let membership = Membership::decode(encoded).map_err(|_| damaged(MEMBERSHIP))?;
    Ok(Some((log_id, membership)))
}

/// The leader's wall clock when it proposed the newest applied commands, in Unix milliseconds. Never goes back; 0
/// before the first.
pub fn stamped_unix_ms(view: &dyn View) -> Result<u64, EngineError> {
    let Some(row) = view.get(Column::Meta, STAMPED)? else { return Ok(0) };
    Ok(u64::from_le_bytes(row.as_ref().try_into().map_err(|_| damaged(STAMPED))?))
}

pub(super) fn store_applied(overlay: &mut Overlay<'_>, log_id: LogId) {
    overlay.put(Column::Meta, APPLIED, encode_log_id(log_id));
}

pub(super) fn store_membership(overlay: &mut Overlay<'_>, log_id: LogId, membership: &Membership) {
    let mut row = encode_log_id(log_id);
    row.put_slice(&membership.encode_to_vec());
    overlay.put(Column::Meta, MEMBERSHIP, row);
}

pub(super) fn store_stamped(overlay: &mut Overlay<'_>, unix_ms: u64) {
    overlay.put(Column::Meta, STAMPED, unix_ms.to_le_bytes().to_vec());
}

fn encode_log_id(log_id: LogId) -> BytesMut {
    let mut row = BytesMut::with_capacity(16);
    row.put_u64_le(log_id.term);
    row.put_u64_le(log_id.index);
    row
}

fn decode_log_id(row: &[u8]) -> Option<(LogId, &[u8])> {
    let (term, rest) = row.split_at_checked(8)?;
    let (index, rest) = rest.split_at_checked(8)?;
    let term = u64::from_le_bytes(term.try_into().ok()?);
    Some((LogId { term, index: u64::from_le_bytes(index.try_into().ok()?) }, rest))
}

pub(super) fn damaged(name: &[u8]) -> EngineError {
    let detail = format!("the row of column {} at key {} does not parse", Column::Meta.name(), name.escape_ascii());
    EngineError::Corrupt { detail }
}
