//! The rows of leases: `storage/column.rs` draws them, this file reads and writes them.

use std::ops::ControlFlow;

use bytes::Bytes;

use crate::storage::{Column, EngineError, Scan, View};
use crate::types::LeaseId;

const ID_BYTES: usize = 8;

/// A row of [`Column::Lease`]: its key and its value.
pub fn lease_row(id: LeaseId, ttl_s: i64) -> (Vec<u8>, Vec<u8>) {
    (id_key(id).to_vec(), ttl_s.to_le_bytes().to_vec())
}

/// The key of the row of [`Column::LeaseKey`] that says that `id` holds `key`.
pub fn attachment(id: LeaseId, key: &[u8]) -> Vec<u8> {
    let mut row_key = Vec::with_capacity(ID_BYTES + key.len());
    row_key.extend_from_slice(&id_key(id));
    row_key.extend_from_slice(key);
    row_key
}

/// The TTL a lease was granted, in seconds. `None` if there is no such lease.
pub fn granted(view: &dyn View, id: LeaseId) -> Result<Option<i64>, EngineError> {
    let row_key = id_key(id);
    view.get(Column::Lease, &row_key)?.map(|row| parse_ttl(&row_key, &row)).transpose()
}

/// Every lease with the TTL it was granted, in seconds.
pub fn leases(view: &dyn View) -> Result<Vec<(LeaseId, i64)>, EngineError> {
    let mut found = Vec::new();
    let mut failed = None;
    view.scan(
        Column::Lease,
        Scan { from: &[], to: None, backwards: false },
        &mut |row_key, row| match parse_id(row_key).and_then(|id| Ok((id, parse_ttl(row_key, row)?))) {
            Ok(lease) => {
                found.push(lease);
                ControlFlow::Continue(())
            }
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        },
    )?;
    failed.map_or(Ok(found), Err)
}

/// The keys a lease holds, in the order of keys.
pub fn attached_keys(view: &dyn View, id: LeaseId) -> Result<Vec<Bytes>, EngineError> {
    let mut keys = Vec::new();
    let from = id_key(id);
    view.scan(Column::LeaseKey, Scan { from: &from, to: None, backwards: false }, &mut |row_key, _| match row_key
        .strip_prefix(&from)
    {
        Some(key) => {
            keys.push(Bytes::copy_from_slice(key));
            ControlFlow::Continue(())
        }
        None => ControlFlow::Break(()),
    })?;
    Ok(keys)
}

/// Ids are `i64` on the wire and stand in keys as the same bits.
fn id_key(id: LeaseId) -> [u8; ID_BYTES] {
    (id.0 as u64).to_be_bytes()
}

fn parse_id(row_key: &[u8]) -> Result<LeaseId, EngineError> {
    let bytes = row_key.try_into().map_err(|_| damaged(row_key))?;
    Ok(LeaseId(u64::from_be_bytes(bytes) as i64))
}

fn parse_ttl(row_key: &[u8], row: &[u8]) -> Result<i64, EngineError> {
    Ok(i64::from_le_bytes(row.try_into().map_err(|_| damaged(row_key))?))
}

fn damaged(row_key: &[u8]) -> EngineError {
    let detail = format!("the row of column {} at key {} does not parse", Column::Lease.name(), row_key.escape_ascii());
    EngineError::Corrupt { detail }
}
