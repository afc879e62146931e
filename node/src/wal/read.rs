//! Reading entries: from memory, or from the files with every checksum checked.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::RawEntry;
use super::error::ReadError;
use super::frame;
use super::identifier::Identifier;
use super::image::is_medium_error;
use super::log::{HolePlace, Log, Shared};
use super::segment::Segment;

/// Where an entry comes from.
enum Source {
    Memory(RawEntry),
    File(OnDisk),
}

struct OnDisk {
    segment: Arc<Segment>,
    record: Identifier,
    offset: u64,
}

/// What reading one frame gave.
enum Fetched {
    Whole(RawEntry),
    Rotten(HolePlace),
}

impl Shared {
    fn in_memory(&self, index: u64) -> Option<&RawEntry> {
        let pending = || self.pending.get(usize::try_from(index.checked_sub(self.disk_end()?)?).ok()?);
        self.cache.get(index).or_else(pending)
    }
}

impl Log {
    /// The entries of `range` that fit `max_bytes` of payload, the first whatever its size. Ends early, without an
    /// error, before a hole and at the end of the log; an error is about the first entry of the range.
    pub fn read(&self, range: Range<u64>, max_bytes: usize) -> Result<Vec<RawEntry>, ReadError> {
        loop {
            let (plan, cuts) = self.plan(range.clone(), max_bytes)?;
            let mut entries = Vec::with_capacity(plan.len());
            let mut rotten = None;
            for source in plan {
                match source {
                    Source::Memory(entry) => entries.push(entry),
                    Source::File(place) => match fetch(&place)? {
                        Fetched::Whole(entry) => entries.push(entry),
                        Fetched::Rotten(hole) => {
                            rotten = Some((place, hole));
                            break;
                        }
                    },
                }
            }
            let Some((place, hole)) = rotten else { return Ok(entries) };
            if !self.mark_hole(&place.record, hole, cuts) {
                continue;
            }
            let log_id = place.record.head.log_id;
            let (file, offset) = (place.segment.path.clone(), place.segment.data_at(place.offset));
            tracing::warn!(%log_id, file = %file.display(), offset, "a log entry is damaged");
            return if entries.is_empty() { Err(ReadError::Rotten { log_id, file, offset }) } else { Ok(entries) };
        }
    }

    /// Like [`Log::read`], but only if all of it is in memory: never touches the disk.
    pub fn read_cached(&self, range: Range<u64>, max_bytes: usize) -> Option<Vec<RawEntry>> {
        let shared = self.shared.read();
        let end = range.end.min(shared.next_index().unwrap_or(0));
        let mut bytes = 0;
        let mut entries = Vec::new();
        for index in range.start..end {
            let entry = shared.in_memory(index)?;
            bytes += entry.payload.len();
            if bytes > max_bytes && !entries.is_empty() {
                break;
            }
            entries.push(entry.clone());
        }
        Some(entries)
    }

    fn plan(&self, range: Range<u64>, max_bytes: usize) -> Result<(Vec<Source>, u64), ReadError> {
        let shared = self.shared.read();
        let first = shared.start.unwrap_or(0);
        let end = range.end.min(shared.next_index().unwrap_or(0));
        if range.start < first && range.start < range.end {
            return Err(ReadError::Purged { index: range.start, first });
        }
        let mut plan = Vec::new();
        let mut bytes = 0;
        for index in range.start..end {
            let source = if let Some(entry) = shared.in_memory(index) {
                bytes += entry.payload.len();
                Source::Memory(entry.clone())
            } else {
                let Some((segment, record)) = shared.segment_of(index).zip(shared.record(index)) else { break };
                let Some(offset) = record.offset.filter(|_| !shared.holes.contains_key(&index)) else {
                    if plan.is_empty() {
                        return Err(ReadError::Hole { log_id: record.head.log_id });
                    }
                    break;
                };
                bytes += record.head.length as usize;
                Source::File(OnDisk { segment: Arc::clone(&segment.segment), record, offset })
            };
            if bytes > max_bytes && !plan.is_empty() {
                break;
            }
            plan.push(source);
        }
        Ok((plan, shared.cuts))
    }

    /// Notes what a read found. False if the log was cut meanwhile, so that the read means nothing.
    fn mark_hole(&self, record: &Identifier, place: HolePlace, cuts: u64) -> bool {
        let mut shared = self.shared.write();
        if shared.cuts != cuts {
            return false;
        }
        let index = record.head.log_id.index;
        if shared.record(index).as_ref() == Some(record) {
            shared.holes.insert(index, place);
        }
        true
    }
}

fn fetch(place: &OnDisk) -> Result<Fetched, ReadError> {
    let mut bytes = vec![0; place.record.head.frame_bytes() as usize];
    match place.segment.file.read_exact_at(&mut bytes, place.segment.data_at(place.offset)) {
        Ok(()) => {}
        Err(error) if is_medium_error(&error) || error.kind() == std::io::ErrorKind::UnexpectedEof => {
            return Ok(Fetched::Rotten(HolePlace::RepairArea));
        }
        Err(source) => return Err(ReadError::Io { path: place.segment.path.clone(), source }),
    }
    let whole = frame::parse(&bytes).is_some_and(|frame| place.record.agrees(&frame));
    if !whole {
        return Ok(Fetched::Rotten(HolePlace::InPlace));
    }
    let payload = Bytes::from(bytes).slice(frame::FRAME_HEAD_BYTES as usize..);
    Ok(Fetched::Whole(RawEntry { log_id: place.record.head.log_id, kind: place.record.head.kind, payload }))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::env::FaultyDisk;
    use crate::types::{ClusterId, LogId, MemberId, Vote};
    use crate::wal::{Identity, LogOptions};

    #[test]
    fn what_was_cut_during_a_read_is_no_rot() {
        let identity = Identity { cluster: ClusterId(1), member: MemberId(1) };
        let options = LogOptions { slots: 8, data_bytes: 640, cache_bytes_max: 0, ..LogOptions::default() };
        let (log, _) = Log::open(Arc::new(FaultyDisk::new(1)), Path::new("/log"), options, identity).unwrap();
        log.save_vote(Vote { term: 1, node: 1, committed: true }).unwrap();
        let entry = |index| RawEntry { log_id: LogId { term: 1, index }, kind: 0, payload: Bytes::from_static(b"x") };
        log.append(&[entry(0), entry(1)]).unwrap();
        log.sync().unwrap();

        // A read looks up entry 1; before it gets to the file the entry is cut, and another one takes its place.
        let (plan, cuts) = log.plan(1..2, 100).unwrap();
        let [Source::File(place)] = plan.as_slice() else { panic!("nothing is cached here") };
        log.truncate_after(Some(LogId { term: 1, index: 0 })).unwrap();
        log.save_vote(Vote { term: 2, node: 1, committed: true }).unwrap();
        log.append(&[RawEntry { log_id: LogId { term: 2, index: 1 }, ..entry(1) }]).unwrap();
        log.sync().unwrap();
        let Fetched::Rotten(hole) = fetch(place).unwrap() else { panic!("the old entry is gone") };
        assert!(!log.mark_hole(&place.record, hole, cuts), "the read has to start again");
        assert_eq!(log.holes(), []);
        assert_eq!(log.read(1..2, 100).unwrap()[0].log_id, LogId { term: 2, index: 1 });
    }
}
