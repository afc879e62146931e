//! From the file of a snapshot to the rows of a state: history as it was, leases with the keys they hold, users and
//! roles. Alarms, members and the place in the log are not taken over: they are those of the cluster that was.
//!
//! Nobody can sign tokens in the new state: whoever could in the old one is not asked. The first who authenticates
//! has a secret made (`api/auth.rs`).

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use bytes::Bytes;

use super::snapshot_file::{Recorded, SnapshotError, SnapshotFile};
use crate::auth::{self, User};
use crate::lease;
use crate::mvcc::{self, EventKind, Horizon, Overlay, ReadError};
use crate::storage::{Column, Engine, EngineError};
use crate::types::{KeyRange, LeaseId, RangeEnd, Revision};

/// Rows written at a time: so many events, or so many bytes of values.
const STEP_EVENTS: usize = 5_000;
const STEP_BYTES: usize = 4 * 1024 * 1024;

#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error("the new state: {0}")]
    Engine(#[from] EngineError),
    #[error("the new state: {0}")]
    Reading(#[from] ReadError),
    #[error("--bump-revision: {newest} and {by} more is beyond the largest revision there can be")]
    BumpTooFar { newest: Revision, by: u64 },
}

/// What was taken over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    pub revision: i64,
    pub keys: u64,
    pub leases: u64,
}

/// Fills an empty state. `bump` raises its revision by so much, and gives up the history before: so no client that
/// knew the old cluster ever sees a revision twice.
pub fn import(file: &SnapshotFile, engine: &dyn Engine, bump: Option<u64>) -> Result<Imported, ImportError> {
    let leases = file.leases()?;
    let mut newest = Revision::FIRST;
    let mut pending = Vec::new();
    let mut pending_bytes = 0;
    file.events::<ImportError>(&mut |event| {
        newest = newest.max(event.rev.main);
        // etcd marks a raised revision by an entry without a key.
        if event.kv.key.is_empty() {
            return Ok(());
        }
        pending_bytes += event.kv.key.len() + event.kv.value.len();
        pending.push(event);
        if pending.len() >= STEP_EVENTS || pending_bytes >= STEP_BYTES {
            write_events(engine, &leases, &std::mem::take(&mut pending))?;
            pending_bytes = 0;
        }
        Ok(())
    })?;
    write_events(engine, &leases, &pending)?;
    let mut compacted = file.compacted()?;
    newest = newest.max(compacted.unwrap_or(newest));
    if let Some(by) = bump {
        let bumped = i64::try_from(by).ok().and_then(|by| newest.0.checked_add(by));
        newest = Revision(bumped.ok_or(ImportError::BumpTooFar { newest, by })?);
        compacted = Some(newest);
    }
    let view = engine.view();
    let mut overlay = Overlay::new(&*view);
    Horizon { revision: newest, compacted }.store(&mut overlay);
    for (id, ttl_s) in &leases {
        let (key, value) = lease::lease_row(*id, *ttl_s);
        overlay.put(Column::Lease, key, value);
    }
    import_auth(file, &mut overlay)?;
    let batch = overlay.into_batch();
    drop(view);
    engine.write(batch)?;
    engine.flush()?;
    Ok(Imported { revision: newest.0, keys: count(engine)?, leases: leases.len() as u64 })
}

fn write_events(engine: &dyn Engine, leases: &BTreeMap<LeaseId, i64>, events: &[Recorded]) -> Result<(), ImportError> {
    let view = engine.view();
    let mut overlay = Overlay::new(&*view);
    for Recorded { rev, kind, kv } in events {
        let previous = mvcc::record(&mut overlay, *rev, *kind, kv)?;
        if let Some(lease) = previous.and_then(|previous| previous.lease) {
            overlay.delete(Column::LeaseKey, lease::attachment(lease, &kv.key));
        }
        // A key may outlive its lease by what a crash of etcd's left behind: then nothing ends it.
        let lease = LeaseId(kv.lease);
        if *kind == EventKind::Put && leases.contains_key(&lease) {
            overlay.put(Column::LeaseKey, lease::attachment(lease, &kv.key), Bytes::new());
        }
        // Nothing is taken back here.
        overlay.savepoint();
    }
    let batch = overlay.into_batch();
    drop(view);
    Ok(engine.write(batch)?)
}

fn import_auth(file: &SnapshotFile, overlay: &mut Overlay<'_>) -> Result<(), ImportError> {
    let state = file.auth()?;
    for fields in file.users()? {
        let name = String::from_utf8_lossy(&fields.name).into_owned();
        // Tokens of the old cluster are void, whoever signs here.
        let user = User { credential_revision: state.revision, fields };
        overlay.put(Column::Auth, auth::user_key(&name), auth::user_row(&user));
    }
    for role in file.roles()? {
        let name = String::from_utf8_lossy(&role.name).into_owned();
        overlay.put(Column::Auth, auth::role_key(&name), auth::role_row(&role));
    }
    let (key, row) = auth::state_row(&state);
    overlay.put(Column::Auth, key, row);
    Ok(())
}

fn count(engine: &dyn Engine) -> Result<u64, ReadError> {
    let all = KeyRange { start: Bytes::new(), end: RangeEnd::Unbounded };
    let mut keys = 0;
    mvcc::walk(&*engine.view(), &all, mvcc::At::Newest, &mut |_, _| {
        keys += 1;
        Ok::<_, ReadError>(ControlFlow::Continue(()))
    })?;
    Ok(keys)
}
