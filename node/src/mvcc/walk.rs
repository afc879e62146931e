//! Walking the keys of a range as they were at some revision, without reading a value.

use std::ops::ControlFlow;

use bytes::Bytes;

use super::rows::{EventKind, Head, Rev, VersionRow, damaged, escape, unescape};
use crate::storage::{Column, EngineError, Scan, View};
use crate::types::{KeyRange, RangeEnd, Revision};

/// Which state of the store is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    Newest,
    /// As it was after this revision. The caller has checked that it is neither compacted nor in the future.
    Revision(Revision),
}

/// Is shown a key and how it stands; breaks when it has seen enough.
pub type VisitHead<'f, E> = dyn FnMut(&[u8], Head) -> Result<ControlFlow<()>, E> + 'f;

/// Is shown the key and the value of a row.
pub(super) type VisitRow<'f, E> = dyn FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>, E> + 'f;

/// The newest version of one key.
pub fn head(view: &dyn View, key: &[u8]) -> Result<Option<Head>, EngineError> {
    view.get(Column::Current, key)?.map(|row| Head::decode(key, &row)).transpose()
}

/// Calls `visit` with each key of the range that is alive, in the order of keys, until it breaks.
pub fn walk<E: From<EngineError>>(
    view: &dyn View,
    keys: &KeyRange,
    at: At,
    visit: &mut VisitHead<'_, E>,
) -> Result<(), E> {
    if keys.is_empty() {
        return Ok(());
    }
    match at {
        At::Newest => walk_current(view, keys, visit),
        At::Revision(revision) => walk_versions(view, keys, revision, visit),
    }
}

fn walk_current<E: From<EngineError>>(view: &dyn View, keys: &KeyRange, visit: &mut VisitHead<'_, E>) -> Result<(), E> {
    if keys.end == RangeEnd::Single {
        if let Some(head) = head(view, &keys.start)? {
            let _ = visit(&keys.start, head)?;
        }
        return Ok(());
    }
    let to = match &keys.end {
        RangeEnd::Before(end) => Some(end.as_ref()),
        RangeEnd::Single | RangeEnd::Unbounded => None,
    };
    try_scan(view, Column::Current, Scan { from: &keys.start, to, backwards: false }, &mut |key, row| {
        visit(key, Head::decode(key, row)?)
    })
}

/// The rows of one key stand together, oldest first; the last one at or before `revision` says how the key was.
fn walk_versions<E: From<EngineError>>(
    view: &dyn View,
    keys: &KeyRange,
    revision: Revision,
    visit: &mut VisitHead<'_, E>,
) -> Result<(), E> {
    let (from, to) = version_bounds(keys);
    let scan = Scan { from: &from, to: to.as_deref(), backwards: false };
    let mut newest = NewestOfKey::default();
    try_scan::<E>(view, Column::Versions, scan, &mut |row_key, row| {
        let escaped = row_key.len().checked_sub(Rev::BYTES).map(|end| &row_key[..end]);
        let escaped = escaped.ok_or_else(|| damaged(Column::Versions, row_key))?;
        if escaped != newest.escaped {
            if newest.show(visit)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
            newest.escaped.clear();
            newest.escaped.extend_from_slice(escaped);
        }
        let row = VersionRow::decode(row_key, row)?;
        if row.head.mod_rev.main <= revision {
            newest.row = Some(row);
        }
        Ok(ControlFlow::Continue(()))
    })?;
    newest.show(visit).map(drop)
}

/// The key under way in a walk of Versions.
#[derive(Default)]
struct NewestOfKey {
    escaped: Vec<u8>,
    row: Option<VersionRow>,
}

impl NewestOfKey {
    /// Shows the key if it was alive, and forgets it, so that a broken walk does not show it twice.
    fn show<E: From<EngineError>>(&mut self, visit: &mut VisitHead<'_, E>) -> Result<ControlFlow<()>, E> {
        match self.row.take() {
            Some(row) if row.kind == EventKind::Put => visit(&unescape(&self.escaped)?, row.head),
            _ => Ok(ControlFlow::Continue(())),
        }
    }
}

/// Where the rows of the range stand in Versions.
fn version_bounds(keys: &KeyRange) -> (Vec<u8>, Option<Vec<u8>>) {
    let from = escape(&keys.start);
    let to = match &keys.end {
        RangeEnd::Single => {
            let mut behind = from.clone();
            *behind.last_mut().expect("an escaped key has an end mark") += 1;
            Some(behind)
        }
        RangeEnd::Before(end) => Some(escape(end)),
        RangeEnd::Unbounded => None,
    };
    (from, to)
}

/// A scan whose visitor can fail.
pub(super) fn try_scan<E: From<EngineError>>(
    view: &dyn View,
    column: Column,
    scan: Scan<'_>,
    visit: &mut VisitRow<'_, E>,
) -> Result<(), E> {
    let mut failed = None;
    view.scan(column, scan, &mut |key, value| {
        visit(key, value).unwrap_or_else(|error| {
            failed = Some(error);
            ControlFlow::Break(())
        })
    })?;
    failed.map_or(Ok(()), Err)
}

/// The keys of a range that are alive now, with their heads.
pub fn heads(view: &dyn View, keys: &KeyRange) -> Result<Vec<(Bytes, Head)>, EngineError> {
    let mut found = Vec::new();
    walk(view, keys, At::Newest, &mut |key, head| {
        found.push((Bytes::copy_from_slice(key), head));
        Ok::<_, EngineError>(ControlFlow::Continue(()))
    })?;
    Ok(found)
}
