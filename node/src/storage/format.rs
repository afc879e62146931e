//! The version of the on-disk map that a state was written with.

use std::path::Path;

use super::{Batch, Column, EngineError, View};

/// The newest version of the map in `storage/column.rs` that this program reads, and the one it writes.
const KNOWN: u32 = 1;

/// The row of [`Column::Meta`] that holds the version as a little-endian `u32`.
const ROW: &[u8] = b"format";

/// Marks an empty state as written by this version.
pub(super) fn stamp() -> Batch {
    let mut batch = Batch::default();
    batch.put(Column::Meta, ROW, KNOWN.to_le_bytes().to_vec());
    batch
}

/// Whether anybody ever made this a state.
pub(super) fn is_stamped(view: &dyn View) -> Result<bool, EngineError> {
    Ok(view.get(Column::Meta, ROW)?.is_some())
}

/// Refuses a state whose map is newer than this program. A state without the row is one that nobody wrote to yet.
pub(super) fn check(view: &dyn View, dir: &Path) -> Result<(), EngineError> {
    let Some(row) = view.get(Column::Meta, ROW)? else { return Ok(()) };
    let Ok(row) = <[u8; 4]>::try_from(row.as_ref()) else {
        let detail = format!("the format row of the state in {} has {} bytes, not 4", dir.display(), row.len());
        return Err(EngineError::Corrupt { detail });
    };
    match u32::from_le_bytes(row) {
        found if found <= KNOWN => Ok(()),
        found => Err(EngineError::Format { path: dir.to_owned(), found, known: KNOWN }),
    }
}
