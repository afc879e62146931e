//! HashKV: one number for the whole history that can be read at a revision.
//!
//! Members compare it, so it must not depend on how far each has swept: a row that compaction has logically dropped
//! is passed over even if it is still on the disk. One pass over Versions in key order gives everything, because the
//! rows of a key stand together and the next one says whether this one is still needed. Values are not read; their
//! checksums are covered, and the scrubber sees to it that values match those.
//!
//! The pass can be broken off and taken up again with a later view: rows at or before the hashed revision never
//! change. Only a compaction in between changes what must be passed over, and starts the pass anew.
//!
//! ```text
//! crc32 over, for each row:  escaped key | rev (16) | kind u8 | create i64 | version i64 | lease i64 | checksum u32
//! ```

use std::ops::ControlFlow;

use super::error::ReadError;
use super::horizon::Horizon;
use super::rows::{EventKind, Rev, VersionRow, damaged};
use super::walk::{At, try_scan};
use crate::storage::{Column, Scan, View};
use crate::types::Revision;

/// Equal on two members exactly if their histories are, given equal revisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KvHash {
    pub hash: u32,
    /// The last compaction, 0 if there was none. Hashes at different ones do not compare.
    pub compact_revision: Revision,
    /// The revision that was hashed.
    pub hash_revision: Revision,
}

/// How a step of a pass ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashStep {
    More,
    Done(KvHash),
}

/// A pass under way. Holds a few rows at a time, whatever the size of the store.
#[derive(Debug)]
pub struct HashPass {
    at: Revision,
    compacted: Revision,
    hasher: crc32fast::Hasher,
    /// The first row not looked at yet.
    next: Vec<u8>,
    /// The last row looked at: whether it counts is known when its successor is.
    pending: Option<Row>,
}

#[derive(Debug)]
struct Row {
    row_key: Vec<u8>,
    row: VersionRow,
    /// As stored.
    bytes: Vec<u8>,
}

impl HashPass {
    /// Starts a pass over the history up to `at`; 0 is the newest revision.
    pub fn begin(view: &dyn View, at: Revision) -> Result<Self, ReadError> {
        let horizon = Horizon::load(view)?;
        let at = match horizon.resolve(at)? {
            At::Newest => horizon.revision,
            At::Revision(at) => at,
        };
        Ok(Self::start(at, horizon.oldest()))
    }

    fn start(at: Revision, compacted: Revision) -> Self {
        Self { at, compacted, hasher: crc32fast::Hasher::new(), next: Vec::new(), pending: None }
    }

    /// Looks at up to `rows_max` more rows of a view that is not older than the one before.
    pub fn step(&mut self, view: &dyn View, rows_max: usize) -> Result<HashStep, ReadError> {
        assert!(rows_max > 0, "a step of no rows would never end");
        let horizon = Horizon::load(view)?;
        if horizon.oldest() != self.compacted {
            horizon.resolve(self.at)?;
            *self = Self::start(self.at, horizon.oldest());
        }
        let from = std::mem::take(&mut self.next);
        let mut rows = 0;
        try_scan(view, Column::Versions, Scan { from: &from, to: None, backwards: false }, &mut |row_key, bytes| {
            if rows == rows_max {
                self.next.extend_from_slice(row_key);
                return Ok(ControlFlow::Break(()));
            }
            rows += 1;
            self.look_at(row_key, bytes)?;
            Ok::<_, ReadError>(ControlFlow::Continue(()))
        })?;
        if !self.next.is_empty() {
            return Ok(HashStep::More);
        }
        self.settle(None);
        let hash = self.hasher.clone().finalize();
        Ok(HashStep::Done(KvHash { hash, compact_revision: self.compacted, hash_revision: self.at }))
    }

    fn look_at(&mut self, row_key: &[u8], bytes: &[u8]) -> Result<(), ReadError> {
        let row = VersionRow::decode(row_key, bytes)?;
        if row.head.mod_rev.main > self.at {
            return Ok(());
        }
        let row = Row { row_key: row_key.to_owned(), row, bytes: bytes.to_owned() };
        if row.escaped_key().is_empty() {
            return Err(damaged(Column::Versions, row_key).into());
        }
        self.settle(Some(&row));
        self.pending = Some(row);
        Ok(())
    }

    /// Takes the pending row into the hash, unless compaction has dropped it.
    fn settle(&mut self, successor: Option<&Row>) {
        let Some(row) = self.pending.take() else { return };
        let is_replaced = successor.is_some_and(|next| {
            next.escaped_key() == row.escaped_key() && next.row.head.mod_rev.main <= self.compacted
        });
        let is_before_compaction = row.row.head.mod_rev.main < self.compacted;
        if is_before_compaction && (is_replaced || row.row.kind == EventKind::Delete) {
            return;
        }
        self.hasher.update(&row.row_key);
        self.hasher.update(&row.bytes);
    }
}

impl Row {
    fn escaped_key(&self) -> &[u8] {
        &self.row_key[..self.row_key.len() - Rev::BYTES]
    }
}

/// The whole pass in one go: for tests and small stores. A server takes steps.
pub fn hash_kv(view: &dyn View, at: Revision) -> Result<KvHash, ReadError> {
    let mut pass = HashPass::begin(view, at)?;
    loop {
        if let HashStep::Done(hash) = pass.step(view, usize::MAX)? {
            return Ok(hash);
        }
    }
}
