//! Makes the disk say what the judgement says, so that the next opening finds the same.
//!
//! Every step may be cut short by a crash: each only writes what the judgement follows from, and the next opening takes
//! it up again. Discarding is the exception, and is therefore announced in the meta record first, as a truncation is.

use std::path::Path;
use std::sync::Arc;

use super::OpenError;
use super::identifier::{IDENTIFIER_BYTES, Identifier, Slot};
use super::image::is_medium_error;
use super::judge::{Case, Fate, Judgement, Kept};
use super::log::SegmentIndex;
use super::meta::Meta;
use super::scan::Scan;
use super::segment::{Geometry, Previous, SLOTS_PER_SECTOR, Segment, SegmentHeader, whole_sectors};
use super::verdict::{SegmentFile, SegmentHead};
use super::write::{create_segment, end_mark};
use crate::env::Disk;
use crate::types::LogId;

/// A segment as it was found.
#[derive(Debug)]
pub(super) struct Found {
    pub segment: Segment,
    pub head: SegmentHead,
    pub file: SegmentFile,
    /// One past the last byte that the medium does not read, in the data area; 0 if there is none.
    pub unreadable_end: u64,
}

pub(super) struct Repair<'a> {
    pub disk: &'a dyn Disk,
    pub dir: &'a Path,
    pub meta: &'a Meta,
    /// The log's first index.
    pub start: u64,
    pub judgement: &'a Judgement,
}

impl Repair<'_> {
    fn kept(&self, index: u64) -> Option<&Kept> {
        self.judgement.kept.get(usize::try_from(index.checked_sub(self.start)?).ok()?)
    }

    fn end(&self) -> u64 {
        self.start + self.judgement.kept.len() as u64
    }

    fn before(&self, first: u64) -> Option<Previous> {
        let index = first.checked_sub(1)?;
        let kept = self.kept(index).map(|kept| (kept.record.head.log_id, kept.record.chain_crc));
        let purged = self.meta.purged.filter(|purged| purged.index == index).map(|purged: LogId| (purged, 0));
        kept.or(purged).map(|(log_id, crc)| Previous { log_id, crc })
    }

    /// Puts a segment of holes where one is missing.
    pub fn recreate(&self, case: &Case) -> Result<SegmentIndex, OpenError> {
        let slots: Vec<Identifier> = (case.first..case.first + case.scan.evidence.len() as u64)
            .filter_map(|index| self.kept(index))
            .map(|kept| kept.record)
            .collect();
        let header = SegmentHeader {
            identity: self.meta.identity,
            first: case.first,
            // No frames: they come back one by one, into the repair area.
            geometry: Geometry { slots: whole_sectors(slots.len() as u32), data_bytes: 0 },
            meta_version: self.meta.version,
            previous: self.before(case.first),
        };
        let segment = create_segment(self.disk, self.dir, header, &slots).map_err(OpenError::io(&case.path))?;
        let chain = slots.last().map_or(0, |record| record.chain_crc);
        Ok(SegmentIndex { segment: Arc::new(segment), base: case.first, entries: slots, cursor: 0, chain })
    }

    /// Mends a segment that was found, and hardens what nobody vouches for yet.
    pub fn mend(&self, found: Found, scan: &Scan) -> Result<SegmentIndex, OpenError> {
        let mut header = found.segment.header;
        let first = header.first;
        if found.head == SegmentHead::Proven {
            header.meta_version = self.meta.version;
            header.previous = self.before(first);
        }
        let segment = Arc::new(Segment { header, ..found.segment });
        let base = first.max(self.start);
        let slots = scan.evidence.len() as u64;
        let kept_end = self.end().clamp(base, (first + slots).max(base));
        let entries: Vec<Identifier> =
            (base..kept_end).filter_map(|index| self.kept(index)).map(|kept| kept.record).collect();

        let data_bytes = header.geometry.data_bytes;
        let purged = scan.evidence.iter().take((base - first) as usize).filter_map(|slot| slot.record);
        let in_data_area = purged
            .clone()
            .chain(entries.iter().copied())
            .filter(|record| record.offset.is_some_and(|offset| offset < data_bytes));
        let written = in_data_area.filter_map(|record| record.end()).max().unwrap_or(0);
        // A sector that the medium does not read cannot be written in part either: go on behind it.
        let cursor = written.max(found.unreadable_end.min(data_bytes));
        let last = entries.last().copied().or_else(|| purged.max_by_key(|record| record.head.log_id.index));
        let chain = match (last, header.previous) {
            (Some(record), _) => record.chain_crc,
            (None, Some(previous)) => previous.crc,
            (None, None) => 0,
        };
        let index = SegmentIndex { segment, base, entries, cursor, chain };
        self.mend_disk(&index, scan, found.head, found.file).map_err(OpenError::io(&index.segment.path))?;
        Ok(index)
    }

    fn mend_disk(
        &self,
        index: &SegmentIndex,
        scan: &Scan,
        head: SegmentHead,
        file: SegmentFile,
    ) -> std::io::Result<()> {
        let mut changed = self.mend_file(index, head, file)?;
        changed |= self.mend_identifiers(index, scan)?;
        changed |= self.harden(index)?;
        if changed { index.segment.file.sync() } else { Ok(()) }
    }

    fn mend_file(&self, index: &SegmentIndex, head: SegmentHead, file: SegmentFile) -> std::io::Result<bool> {
        if file == SegmentFile::Short {
            index.segment.file.set_len(index.segment.header.geometry.file_bytes())?;
        }
        if head == SegmentHead::Proven {
            index.segment.file.write_all_at(&index.segment.header.encode(), 0)?;
        }
        Ok(file == SegmentFile::Short || head == SegmentHead::Proven)
    }

    /// Writes every identifier that is not on disk as it should be, whole sectors at a time: that also brings back a
    /// sector that the medium does not read.
    fn mend_identifiers(&self, index: &SegmentIndex, scan: &Scan) -> std::io::Result<bool> {
        let segment = &index.segment;
        let wanted = |slot: usize| {
            let at = segment.first() + slot as u64;
            match scan.stored.get(slot) {
                Some(Slot::Good(record)) if at < self.start => Slot::Good(*record),
                _ if at < self.start => Slot::Blank,
                _ => self.kept(at).filter(|_| at < index.end()).map_or(Slot::Blank, |kept| Slot::Good(kept.record)),
            }
        };
        let unproven = |slot: usize| {
            let at = segment.first() + slot as u64;
            at >= self.judgement.durable_before && at < index.end()
        };
        let mut changed = false;
        for sector in (0..scan.stored.len()).step_by(SLOTS_PER_SECTOR as usize) {
            let slots = sector..sector + SLOTS_PER_SECTOR as usize;
            let is_as_wanted = |slot: usize| scan.stored.get(slot).is_none_or(|stored| *stored == wanted(slot));
            if slots.clone().all(|slot| is_as_wanted(slot) && !unproven(slot)) {
                continue;
            }
            let mut bytes = Vec::new();
            for slot in slots {
                match wanted(slot) {
                    Slot::Good(record) => bytes.extend_from_slice(&record.encode()),
                    Slot::Blank | Slot::Bad => bytes.extend_from_slice(&[0; IDENTIFIER_BYTES as usize]),
                }
            }
            segment.file.write_all_at(&bytes, segment.slot_at(segment.first() + sector as u64))?;
            changed = true;
        }
        Ok(changed)
    }

    /// Writes the frames above D again as they were read, and the end mark: what a cache shows after a failed fsync
    /// need not be on the medium.
    fn harden(&self, index: &SegmentIndex) -> std::io::Result<bool> {
        let segment = &index.segment;
        if index.end() < self.end()
            || self.end() <= self.judgement.durable_before && self.judgement.discard_from.is_none()
        {
            return Ok(false);
        }
        let unproven = self.judgement.durable_before.max(index.base)..index.end();
        for record in unproven.filter_map(|at| self.kept(at)) {
            let Some(offset) = record.record.offset else { continue };
            let mut bytes = vec![0; record.record.head.frame_bytes() as usize];
            match segment.file.read_exact_at(&mut bytes, segment.data_at(offset)) {
                Ok(()) => segment.file.write_all_at(&bytes, segment.data_at(offset))?,
                Err(error) if record.fate == Fate::Hole && is_unreadable(&error) => {}
                Err(error) => return Err(error),
            }
        }
        segment.file.write_all_at(end_mark(segment.header.geometry, index.cursor), segment.data_at(index.cursor))?;
        Ok(true)
    }
}

fn is_unreadable(error: &std::io::Error) -> bool {
    is_medium_error(error) || error.kind() == std::io::ErrorKind::UnexpectedEof
}
