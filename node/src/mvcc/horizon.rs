//! The two revisions between which history can be read, and the rows of Meta that hold them.

use super::error::ReadError;
use super::overlay::Overlay;
use super::rows::damaged;
use super::walk::At;
use crate::env::planted;
use crate::storage::{Column, EngineError, View};
use crate::types::Revision;

const REVISION: &[u8] = b"revision";
const COMPACTED: &[u8] = b"compacted";

/// How far back and how far forward a view can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Horizon {
    /// The newest revision.
    pub revision: Revision,
    /// The last compaction; `None` before the first. It is not the same as one at revision 0, which etcd takes once.
    pub compacted: Option<Revision>,
}

impl Horizon {
    pub fn load(view: &dyn View) -> Result<Self, EngineError> {
        let revision = number(view, REVISION)?.map_or(Revision::FIRST, Revision);
        Ok(Self { revision, compacted: number(view, COMPACTED)?.map(Revision) })
    }

    /// Writes both rows.
    pub fn store(&self, overlay: &mut Overlay<'_>) {
        overlay.put(Column::Meta, REVISION, self.revision.0.to_le_bytes().to_vec());
        if let Some(compacted) = self.compacted {
            overlay.put(Column::Meta, COMPACTED, compacted.0.to_le_bytes().to_vec());
        }
    }

    /// The oldest revision that can be read. 0 before the first compaction.
    pub fn oldest(&self) -> Revision {
        self.compacted.unwrap_or(Revision(0))
    }

    /// Which state a request for `requested` reads: 0 or less is the newest.
    pub fn resolve(&self, requested: Revision) -> Result<At, ReadError> {
        if requested.0 <= 0 || requested == self.revision {
            return Ok(At::Newest);
        }
        if requested > self.revision {
            return Err(ReadError::FutureRevision { requested, newest: self.revision });
        }
        if requested < self.oldest() && !planted!(CompactedReadsAnswered) {
            return Err(ReadError::Compacted { requested, compacted: self.oldest() });
        }
        Ok(At::Revision(requested))
    }

    /// Whether history may be cut at `requested`.
    pub fn check_compaction(&self, requested: Revision) -> Result<(), ReadError> {
        if requested.0 < 0 || self.compacted.is_some_and(|compacted| requested <= compacted) {
            return Err(ReadError::Compacted { requested, compacted: self.oldest() });
        }
        if requested > self.revision {
            return Err(ReadError::FutureRevision { requested, newest: self.revision });
        }
        Ok(())
    }
}

/// The newest revision. 1 in a store nothing was ever written to.
pub fn revision(view: &dyn View) -> Result<Revision, ReadError> {
    Ok(Horizon::load(view)?.revision)
}

/// The revision before which history is gone. 0 if it was never compacted.
pub fn compacted(view: &dyn View) -> Result<Revision, ReadError> {
    Ok(Horizon::load(view)?.oldest())
}

fn number(view: &dyn View, name: &[u8]) -> Result<Option<i64>, EngineError> {
    let Some(row) = view.get(Column::Meta, name)? else { return Ok(None) };
    let bytes = row.as_ref().try_into().map_err(|_| damaged(Column::Meta, name))?;
    Ok(Some(i64::from_le_bytes(bytes)))
}
