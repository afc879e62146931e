//! Physical compaction: taking rows off the disk that no read can reach any more.
//!
//! Each member sweeps at its own pace, in steps of bounded size, behind the logical compaction. The sweep walks
//! History once, from where it stopped to the compacted revision C, and so costs what was written since, however
//! large the store is:
//!
//! ```text
//!   for each event at or before C:    the version it replaced is dead             (if that stands before C)
//!                                     the event itself is dead if it is a deletion (if it stands before C)
//! ```
//!
//! Events at C itself stay, deletions too: a watch may start there. They are looked at again by the next sweep, which
//! therefore starts at C, not behind it. The row `swept` of Meta keeps the place, so that a restart goes on from
//! there.

use std::ops::ControlFlow;

use bytes::{BufMut, Bytes, BytesMut};

use super::error::ReadError;
use super::horizon::Horizon;
use super::rows::{EventKind, HistoryRow, Rev, damaged, version_key};
use super::walk::try_scan;
use crate::env::planted;
use crate::storage::{Batch, Column, Scan, View};
use crate::types::Revision;

const SWEPT: &[u8] = b"swept";

/// One step: write the batch, and take another unless it was the last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SweepStep {
    pub batch: Batch,
    /// The disk holds nothing any more that the last compaction dropped.
    pub done: bool,
}

/// Where a sweep is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Progress {
    /// The compaction it works towards. 0 before the first.
    goal: Revision,
    /// The next event to look at. Behind every event of `goal` when it is done.
    next: Rev,
}

impl Progress {
    const BYTES: usize = 8 + Rev::BYTES;

    fn load(view: &dyn View) -> Result<Self, ReadError> {
        let Some(row) = view.get(Column::Meta, SWEPT)? else {
            return Ok(Self { goal: Revision(0), next: Rev::start_of(Revision(1)) });
        };
        let parsed = row.split_at_checked(8).and_then(|(goal, next)| {
            let goal = i64::from_le_bytes(goal.try_into().ok()?);
            Some(Self { goal: Revision(goal), next: Rev::decode(next)? })
        });
        parsed.ok_or_else(|| damaged(Column::Meta, SWEPT).into())
    }

    fn encode(self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(Self::BYTES);
        bytes.put_i64_le(self.goal.0);
        bytes.put_slice(&self.next.encode());
        bytes.freeze()
    }

    /// Takes up a later compaction. Of the old goal's events only the replaced versions went, so they come again.
    fn aim_at(self, goal: Revision) -> Self {
        if goal == self.goal { self } else { Self { goal, next: self.next.min(Rev::start_of(self.goal)) } }
    }

    fn is_done(self) -> bool {
        self.next.main > self.goal
    }
}

/// The revision whose compaction this member's disk has completed. 0 before the first, and while a sweep is under
/// way.
pub fn swept(view: &dyn View) -> Result<Revision, ReadError> {
    let progress = Progress::load(view)?;
    Ok(if progress.is_done() { progress.goal } else { Revision(0) })
}

/// Looks at up to `limit` events and says which rows go. The batch is this member's own affair: it is no log entry,
/// and no reader can tell whether it was written.
pub fn sweep(view: &dyn View, limit: usize) -> Result<SweepStep, ReadError> {
    let goal = Horizon::load(view)?.oldest();
    let progress = Progress::load(view)?.aim_at(goal);
    if progress.is_done() {
        return Ok(SweepStep { batch: Batch::default(), done: true });
    }
    let mut batch = Batch::default();
    let mut after = Progress { goal, next: Rev::start_of(goal.next()) };
    let (from, to) = (progress.next.encode(), after.next.encode());
    let mut looked_at = 0;
    try_scan(view, Column::History, Scan { from: &from, to: Some(&to), backwards: false }, &mut |rev_key, bytes| {
        let row = HistoryRow::decode(rev_key, bytes)?;
        if looked_at == limit {
            after.next = row.head.mod_rev;
            return Ok(ControlFlow::Break(()));
        }
        looked_at += 1;
        drop_dead_rows(&mut batch, goal, &row);
        Ok::<_, ReadError>(ControlFlow::Continue(()))
    })?;
    batch.put(Column::Meta, SWEPT, after.encode());
    Ok(SweepStep { batch, done: after.is_done() })
}

fn drop_dead_rows(batch: &mut Batch, goal: Revision, row: &HistoryRow<'_>) {
    let rev = row.head.mod_rev;
    let replaced = row.prev.filter(|prev| prev.main < goal);
    let own = ((row.kind == EventKind::Delete || planted!(CompactionRemovesLive)) && rev.main < goal).then_some(rev);
    for dead in replaced.into_iter().chain(own) {
        batch.delete(Column::History, dead.encode().to_vec());
        batch.delete(Column::Versions, version_key(row.key, dead));
    }
}
