//! The open log: what is in memory, who may touch it, and the small questions.
//!
//! ```text
//! writer (mutex)   meta record and its files; held across disk writes: sync, truncate, purge, vote, fill
//! shared (rwlock)  index, holes, pending, cache; held for moments, never across a disk call
//! spare  (mutex)   the next segment in the making
//! ```
//!
//! Locked in this order. An append takes only `shared`, so it never waits for the disk; a read takes what it needs from
//! `shared` and then reads files without any lock.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use super::cache::Cache;
use super::error::WalError;
use super::identifier::Identifier;
use super::meta::{Meta, MetaFiles};
use super::segment::Segment;
use super::spare::Spare;
use super::{Hole, LogOptions, RawEntry};
use crate::env::Disk;
use crate::types::{LogId, MemberId, Vote};

/// The largest payload of one entry.
pub(super) const PAYLOAD_BYTES_MAX: usize = 1 << 30;

/// The Raft log of one member. One thread at a time appends, syncs, truncates and purges; any number read.
#[derive(Debug)]
pub struct Log {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) dir: PathBuf,
    pub(super) options: LogOptions,
    /// Whose log it is.
    pub(super) member: MemberId,
    pub(super) writer: Mutex<Writer>,
    pub(super) shared: RwLock<Shared>,
    pub(super) spare: Mutex<Option<Spare>>,
}

#[derive(Debug)]
pub(super) struct Writer {
    pub meta: Meta,
    pub files: MetaFiles,
    /// Frames and identifiers on their way to the disk. Kept between batches: fresh memory for each costs more than
    /// filling it.
    pub frames: Vec<u8>,
    pub slots: Vec<u8>,
}

impl Writer {
    pub fn new(meta: Meta, files: MetaFiles) -> Self {
        Self { meta, files, frames: Vec::new(), slots: Vec::new() }
    }
}

/// A segment and the entries of it that belong to the log.
#[derive(Clone, Debug)]
pub(super) struct SegmentIndex {
    pub segment: Arc<Segment>,
    /// Index of `entries[0]`: the segment's first, or the log's start if that lies further on.
    pub base: u64,
    pub entries: Vec<Identifier>,
    /// Where in the data area the next frame goes.
    pub cursor: u64,
    /// The previous crc of the next frame.
    pub chain: u32,
}

impl SegmentIndex {
    pub fn end(&self) -> u64 {
        self.base + self.entries.len() as u64
    }
}

/// Where the bytes of a hole will be put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HolePlace {
    /// Over the rotten frame.
    InPlace,
    /// At the end of the file: the place is unknown, or the medium does not read there.
    RepairArea,
}

#[derive(Debug)]
pub(super) struct Shared {
    /// Ascending, without gaps; empty if nothing is on disk.
    pub segments: Vec<SegmentIndex>,
    pub holes: BTreeMap<u64, HolePlace>,
    /// Appended and not yet synced; follows the last segment's end.
    pub pending: VecDeque<RawEntry>,
    pub pending_bytes: usize,
    pub cache: Cache,
    /// The log's first index; none until its first append.
    pub start: Option<u64>,
    pub purged: Option<LogId>,
    pub vote: Option<Vote>,
    /// Counts truncations, so that a reader knows whether what it read was cut meanwhile.
    pub cuts: u64,
    /// Why the log refuses everything.
    pub poison: Option<String>,
}

impl Shared {
    /// One past the last index on disk.
    pub fn disk_end(&self) -> Option<u64> {
        self.segments.last().map(SegmentIndex::end).or(self.start)
    }

    /// The index that the next append must have; none if any will do.
    pub fn next_index(&self) -> Option<u64> {
        if self.segments.is_empty() && self.pending.is_empty() && self.purged.is_none() {
            return None;
        }
        Some(self.disk_end()? + self.pending.len() as u64)
    }

    pub fn segment_of(&self, index: u64) -> Option<&SegmentIndex> {
        let after = self.segments.partition_point(|segment| segment.base <= index);
        self.segments.get(after.checked_sub(1)?).filter(|segment| index < segment.end())
    }

    pub fn record(&self, index: u64) -> Option<Identifier> {
        let segment = self.segment_of(index)?;
        segment.entries.get((index - segment.base) as usize).copied()
    }

    pub fn set_record(&mut self, record: Identifier) {
        let index = record.head.log_id.index;
        let after = self.segments.partition_point(|segment| segment.base <= index);
        let segment = after.checked_sub(1).and_then(|place| self.segments.get_mut(place));
        if let Some(segment) = segment
            && let Some(place) = segment.entries.get_mut((index - segment.base) as usize)
        {
            *place = record;
        }
    }

    /// The last entry on disk.
    pub fn last_record(&self) -> Option<Identifier> {
        self.segments.iter().rev().find_map(|segment| segment.entries.last()).copied()
    }

    pub fn last(&self) -> Option<LogId> {
        let pending = self.pending.back().map(|entry| entry.log_id);
        pending.or_else(|| self.last_record().map(|record| record.head.log_id))
    }

    /// The position at `index`, if that is an entry or the purged one.
    pub fn log_id_at(&self, index: u64) -> Option<LogId> {
        if let Some(purged) = self.purged.filter(|purged| purged.index == index) {
            return Some(purged);
        }
        if let Some(record) = self.record(index) {
            return Some(record.head.log_id);
        }
        let place = index.checked_sub(self.disk_end()?)?;
        self.pending.get(usize::try_from(place).ok()?).map(|entry| entry.log_id)
    }
}

impl Log {
    pub fn member(&self) -> MemberId {
        self.member
    }

    pub fn vote(&self) -> Option<Vote> {
        self.shared.read().vote
    }

    /// The last entry that was dropped because a snapshot covers it.
    pub fn purged(&self) -> Option<LogId> {
        self.shared.read().purged
    }

    /// The first entry, synced or not; none if there are no entries.
    pub fn first(&self) -> Option<LogId> {
        let shared = self.shared.read();
        let on_disk = shared.segments.iter().find_map(|segment| segment.entries.first());
        on_disk.map(|record| record.head.log_id).or_else(|| shared.pending.front().map(|entry| entry.log_id))
    }

    /// The last entry, synced or not; none if there are no entries.
    pub fn last(&self) -> Option<LogId> {
        self.shared.read().last()
    }

    /// The term of the entry at `index`, also of a hole and of the purged entry; none if it is not in the log.
    pub fn log_id_at(&self, index: u64) -> Option<LogId> {
        self.shared.read().log_id_at(index)
    }

    /// Entries whose bytes have to come from a peer, ascending.
    pub fn holes(&self) -> Vec<Hole> {
        let shared = self.shared.read();
        let log_ids = shared.holes.keys().filter_map(|index| shared.record(*index));
        log_ids.map(|record| Hole { term: record.head.log_id.term, index: record.head.log_id.index }).collect()
    }

    pub(super) fn check_poison(&self) -> Result<(), WalError> {
        match &self.shared.read().poison {
            Some(reason) => Err(WalError::Poisoned { reason: reason.clone() }),
            None => Ok(()),
        }
    }

    /// Runs a change of the disk. If it fails nobody may go on: nothing says what reached the medium.
    pub(super) fn changing<T>(&self, change: impl FnOnce() -> Result<T, WalError>) -> Result<T, WalError> {
        self.check_poison()?;
        let result = change();
        if let Err(error) = &result
            && error.is_fatal()
        {
            let mut shared = self.shared.write();
            shared.poison.get_or_insert_with(|| error.to_string());
        }
        result
    }
}
