//! Everything that changes the log: append, sync, truncate, purge, vote.

use std::path::Path;
use std::sync::Arc;

use super::RawEntry;
use super::error::WalError;
use super::frame::{self, FRAME_HEAD_BYTES, FrameHead};
use super::identifier::{IDENTIFIER_BYTES, Identifier};
use super::log::{Log, PAYLOAD_BYTES_MAX, SegmentIndex, Shared, Writer};
use super::segment::{Geometry, NEW_SUFFIX, Previous, Segment, SegmentHeader, file_name};
use crate::env::witness::{self, Promise};
use crate::env::{Disk, OpenMode, planted, sometimes};
use crate::types::{LogId, Vote};

/// Of the memory in which a batch is encoded, so much is kept for the next one.
const KEPT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What stands behind the last frame, so that the end of the log is told from a damaged frame: zeros, as many as a
/// frame's head has, or as there is room for.
pub(super) fn end_mark(geometry: Geometry, cursor: u64) -> &'static [u8] {
    const ZEROS: [u8; FRAME_HEAD_BYTES as usize] = [0; FRAME_HEAD_BYTES as usize];
    let room = geometry.data_bytes.saturating_sub(cursor).min(FRAME_HEAD_BYTES);
    &ZEROS[..room as usize]
}

impl Log {
    /// Takes entries into memory. They can be read at once; they are on disk when a later [`Log::sync`] returns.
    pub fn append(&self, entries: &[RawEntry]) -> Result<(), WalError> {
        self.check_poison()?;
        let mut shared = self.shared.write();
        let mut expected = shared.next_index();
        let mut last = shared.last().or(shared.purged);
        let mut bytes = shared.pending_bytes;
        for entry in entries {
            let offered = entry.log_id;
            if let Some(expected) = expected.filter(|expected| *expected != offered.index) {
                return Err(WalError::Gap { expected, offered });
            }
            if let Some(last) = last.filter(|last| last.term > offered.term) {
                return Err(WalError::TermWentBack { last, offered });
            }
            if entry.payload.len() > PAYLOAD_BYTES_MAX {
                let bytes = entry.payload.len();
                return Err(WalError::EntryTooLarge { log_id: offered, bytes, max: PAYLOAD_BYTES_MAX });
            }
            bytes += entry.payload.len();
            expected = Some(offered.index + 1);
            last = Some(offered);
        }
        // A single entry passes whatever its size: it could never pass otherwise.
        if bytes > self.options.pending_bytes_max && !shared.pending.is_empty() {
            return Err(WalError::PendingFull { bytes, max: self.options.pending_bytes_max });
        }
        if shared.next_index().is_none() {
            shared.start = entries.first().map(|entry| entry.log_id.index);
        }
        shared.pending_bytes = bytes;
        shared.pending.extend(entries.iter().cloned());
        Ok(())
    }

    /// Writes and syncs everything appended so far: one fdatasync, and a few more where a segment ends. Returns the
    /// last entry that is now durable.
    pub fn sync(&self) -> Result<Option<LogId>, WalError> {
        let mut writer = self.writer.lock();
        self.changing(|| {
            self.flush(&mut writer)?;
            Ok(self.shared.read().last_record().map(|record| record.head.log_id))
        })
    }

    fn flush(&self, writer: &mut Writer) -> Result<(), WalError> {
        loop {
            let (batch, room) = self.next_batch();
            match (batch.first(), room) {
                (None, _) => return Ok(()),
                (Some(_), Some(segment)) => self.write_batch(writer, &segment, &batch)?,
                (Some(first), None) => self.rotate(writer, first)?,
            }
        }
    }

    /// The entries to write next, and the segment that has room for all of them; none if the first has no room.
    fn next_batch(&self) -> (Vec<RawEntry>, Option<SegmentIndex>) {
        let shared = self.shared.read();
        let Some(active) = shared.segments.last() else {
            return (shared.pending.iter().take(1).cloned().collect(), None);
        };
        let geometry = active.segment.header.geometry;
        let (mut cursor, mut index) = (active.cursor, active.end());
        let fits = |entry: &&RawEntry| {
            cursor += FRAME_HEAD_BYTES + entry.payload.len() as u64;
            index += 1;
            cursor <= geometry.data_bytes && index <= active.segment.slots_end()
        };
        let batch: Vec<RawEntry> = shared.pending.iter().take_while(fits).cloned().collect();
        if batch.is_empty() {
            return (shared.pending.iter().take(1).cloned().collect(), None);
        }
        let bare = SegmentIndex { segment: Arc::clone(&active.segment), entries: Vec::new(), ..*active };
        (batch, Some(SegmentIndex { base: active.end(), ..bare }))
    }

    /// `active` stands for the end of the active segment: its base is the first index to write.
    fn write_batch(&self, writer: &mut Writer, active: &SegmentIndex, batch: &[RawEntry]) -> Result<(), WalError> {
        let segment = &active.segment;
        let mut chain = active.chain;
        let Writer { meta, frames, slots, .. } = writer;
        frames.clear();
        frames.shrink_to(KEPT_BYTES_MAX);
        slots.clear();
        let mut records = Vec::with_capacity(batch.len());
        for entry in batch {
            let head = FrameHead {
                log_id: entry.log_id,
                kind: entry.kind,
                length: entry.payload.len() as u32,
                durable_before: active.base,
                meta_version: meta.version,
                prev_crc: chain,
            };
            let offset = active.cursor + frames.len() as u64;
            chain = frame::encode(&head, &entry.payload, frames);
            let record = Identifier { head, crc: chain, chain_crc: chain, offset: Some(offset) };
            slots.extend_from_slice(&record.encode());
            records.push(record);
        }
        let cursor = active.cursor + frames.len() as u64;
        frames.extend_from_slice(end_mark(segment.header.geometry, cursor));
        let failed = WalError::io(&segment.path, "write entries");
        segment.file.write_all_at(frames, segment.data_at(active.cursor)).map_err(&failed)?;
        segment.file.write_all_at(slots, segment.slot_at(active.base)).map_err(&failed)?;
        if !planted!(EntriesNotSynced) {
            segment.file.sync().map_err(WalError::io(&segment.path, "sync entries"))?;
        }
        for entry in batch {
            let appended =
                || Promise::Appended { log_id: entry.log_id, checksum: witness::checksum(entry.kind, &entry.payload) };
            witness::tell(self.member, appended);
        }

        let mut shared = self.shared.write();
        let shared = &mut *shared;
        for entry in shared.pending.drain(..batch.len()) {
            shared.pending_bytes -= entry.payload.len();
            shared.cache.push(entry);
        }
        if let Some(active) = shared.segments.last_mut() {
            active.entries.extend(records);
            active.cursor = cursor;
            active.chain = chain;
        }
        Ok(())
    }

    /// Starts a segment for `first`. Everything before it is durable already.
    fn rotate(&self, writer: &mut Writer, first: &RawEntry) -> Result<(), WalError> {
        let (previous, start) = {
            let shared = self.shared.read();
            let last = shared.last_record().map(|record| record.head.log_id).or(shared.purged);
            let crc = shared.segments.last().map_or(0, |segment| segment.chain);
            (last.map(|log_id| Previous { log_id, crc }), shared.start)
        };
        let standard = Geometry::of(&self.options);
        let needed = FRAME_HEAD_BYTES + first.payload.len() as u64;
        let header = SegmentHeader {
            identity: writer.meta.identity,
            first: first.log_id.index,
            geometry: Geometry { data_bytes: standard.data_bytes.max(needed), ..standard },
            meta_version: writer.meta.version,
            previous,
        };
        let segment = Arc::new(self.create_segment(header)?);
        writer.meta.start = start;
        writer.meta.newest = Some(segment.first());
        writer.meta.slots = header.geometry.slots;
        writer.meta.durable_before = writer.meta.durable_before.max(segment.first());
        self.save_meta(writer)?;
        let base = segment.first();
        let chain = previous.map_or(0, |previous| previous.crc);
        self.shared.write().segments.push(SegmentIndex { segment, base, entries: Vec::new(), cursor: 0, chain });
        Ok(())
    }

    fn create_segment(&self, header: SegmentHeader) -> Result<Segment, WalError> {
        if let Some(segment) = self.name_spare(&header)? {
            sometimes!(SpareBecameSegment);
            return Ok(segment);
        }
        sometimes!(SegmentWithoutSpare);
        let failed = WalError::io(&self.dir, "create a segment");
        create_segment(self.disk.as_ref(), &self.dir, header, &[]).map_err(&failed)
    }

    pub(super) fn save_meta(&self, writer: &mut Writer) -> Result<(), WalError> {
        let path = writer.files.path();
        writer.files.save(&mut writer.meta).map_err(WalError::io(&path, "save the vote"))
    }

    /// Term and vote are durable, in both copies, when it returns. That the vote was heard to have won needs no place
    /// on disk (Raft, figure 2: `currentTerm` and `votedFor` are kept, who leads is not): it goes there with the next
    /// save. A new leader comes about with half as many syncs in a row.
    pub fn save_vote(&self, vote: Vote) -> Result<(), WalError> {
        let mut writer = self.writer.lock();
        self.changing(|| {
            if let Some(saved) = writer.meta.vote.filter(|saved| saved.term > vote.term) {
                return Err(WalError::VoteWentBack { saved, offered: vote });
            }
            if let Some(saved) = writer.meta.vote.filter(|saved| is_second_vote(*saved, vote)) {
                return Err(WalError::VotedTwice { saved, offered: vote });
            }
            let is_kept = writer.meta.vote.is_some_and(|saved| (saved.term, saved.node) == (vote.term, vote.node));
            writer.meta.vote = Some(vote);
            if !is_kept && !planted!(VoteNotSynced) {
                self.raise_durable(&mut writer);
                self.save_meta(&mut writer)?;
            }
            self.shared.write().vote = Some(vote);
            witness::tell(self.member, || Promise::Voted { vote });
            Ok(())
        })
    }

    /// The meta record is saved anyway: let it vouch for what is synced by now.
    fn raise_durable(&self, writer: &mut Writer) {
        let shared = self.shared.read();
        writer.meta.durable_before = shared.disk_end().unwrap_or(0).max(writer.meta.durable_before);
    }

    /// Drops every entry after `last`, synced or not; all of them if `last` is none. Durable when it returns.
    pub fn truncate_after(&self, last: Option<LogId>) -> Result<(), WalError> {
        let mut writer = self.writer.lock();
        self.changing(|| {
            witness::tell(self.member, || Promise::Truncated { after: last });
            let Some((cut, segment)) = self.cut_memory(last)? else { return Ok(()) };
            sometimes!(SyncedEntryTruncated);
            let is_cut = || witness::tell(self.member, || Promise::Cut { after: last });
            if planted!(TruncationNotDurable) {
                is_cut();
                return Ok(());
            }
            writer.meta.cut(cut);
            writer.meta.durable_before = cut;
            writer.meta.newest = segment.as_ref().map(|cut| cut.segment.first());
            // First the promise, then the erasure: a crash in between leaves records that meta calls leftovers.
            self.save_meta(&mut writer)?;
            if let Some(segment) = segment {
                erase_after_cut(&segment, cut)?;
            }
            self.remove_segments_from(cut)?;
            is_cut();
            Ok(())
        })
    }

    /// Cuts the log in memory. Returns where the disk must be cut, if it must, and what the segment there looked like.
    fn cut_memory(&self, last: Option<LogId>) -> Result<Option<(u64, Option<CutSegment>)>, WalError> {
        let mut shared = self.shared.write();
        let Some(start) = shared.start else { return Ok(None) };
        let cut = match last {
            None => start,
            Some(last) if shared.next_index().is_some_and(|next| last.index >= next) => return Ok(None),
            Some(last) => {
                check_cut(&shared, last)?;
                last.index + 1
            }
        };
        let keep = cut.saturating_sub(shared.disk_end().unwrap_or(start)) as usize;
        let keep = keep.min(shared.pending.len());
        for entry in shared.pending.split_off(keep) {
            shared.pending_bytes -= entry.payload.len();
        }
        if shared.disk_end().is_none_or(|end| cut >= end) {
            return Ok(None);
        }
        shared.cuts += 1;
        shared.cache.retain(0..cut);
        shared.holes.retain(|index, _| *index < cut);
        // A segment that begins at the cut goes as a whole, unless it is the only one.
        let kept = shared.segments.partition_point(|segment| segment.segment.first() < cut);
        shared.segments.truncate(kept);
        Ok(Some((cut, shared.segments.last_mut().map(|segment| segment.cut(cut)))))
    }

    fn remove_segments_from(&self, cut: u64) -> Result<(), WalError> {
        let failed = WalError::io(&self.dir, "remove cut segments");
        for name in self.disk.list(&self.dir).map_err(&failed)? {
            if super::segment::first_of(&name).is_some_and(|first| first >= cut) {
                self.disk.remove_file(&self.dir.join(name)).map_err(&failed)?;
            }
        }
        self.disk.sync_dir(&self.dir).map_err(&failed)
    }

    /// Forgets everything up to `upto`, which a snapshot covers; it need not be in the log.
    pub fn purge(&self, upto: LogId) -> Result<(), WalError> {
        let mut writer = self.writer.lock();
        self.changing(|| {
            if self.shared.read().start.is_some_and(|start| upto.index < start) {
                return Ok(());
            }
            self.flush(&mut writer)?;
            sometimes!(LogPurged);
            let removed = self.purge_memory(upto);
            self.raise_durable(&mut writer);
            let newest = self.shared.read().segments.last().map(|segment| segment.segment.first());
            writer.meta.purged = Some(upto);
            writer.meta.start = Some(upto.index + 1);
            writer.meta.newest = newest;
            self.save_meta(&mut writer)?;
            let failed = WalError::io(&self.dir, "remove purged segments");
            for segment in &removed {
                self.disk.remove_file(&segment.segment.path).map_err(&failed)?;
            }
            if removed.is_empty() { Ok(()) } else { self.disk.sync_dir(&self.dir).map_err(&failed) }
        })
    }

    /// Purges the log in memory and returns the segments of which nothing is left.
    fn purge_memory(&self, upto: LogId) -> Vec<SegmentIndex> {
        let mut shared = self.shared.write();
        let start = upto.index + 1;
        // The newest segment stays while the log can go on in it.
        let emptied = if shared.disk_end().is_none_or(|end| start > end) {
            shared.segments.len()
        } else {
            let needless = shared.segments.windows(2).take_while(|pair| pair[1].base <= start);
            needless.count()
        };
        let removed = shared.segments.drain(..emptied).collect();
        if let Some(first) = shared.segments.first_mut()
            && first.base < start
        {
            first.entries.drain(..(start - first.base) as usize);
            first.base = start;
        }
        shared.holes.retain(|index, _| *index >= start);
        shared.cache.retain(start..u64::MAX);
        shared.purged = Some(upto);
        shared.start = Some(start);
        removed
    }
}

/// A member votes for one candidate a term. It may learn that another one was elected, and no more than one ever is.
fn is_second_vote(saved: Vote, vote: Vote) -> bool {
    let changes = saved.term == vote.term && (saved.node, saved.committed) != (vote.node, vote.committed);
    changes && (saved.committed || !vote.committed)
}

fn check_cut(shared: &Shared, last: LogId) -> Result<(), WalError> {
    let reason = match shared.log_id_at(last.index) {
        Some(here) if here == last => return Ok(()),
        Some(here) => format!("the entry there is {here}"),
        None => "it is before the log's start".to_owned(),
    };
    Err(WalError::CannotTruncate { asked: last, reason })
}

/// The segment in which the log was cut, as it was before.
#[derive(Debug)]
struct CutSegment {
    segment: Arc<Segment>,
    /// One past the last index that had an identifier.
    end: u64,
    /// Where the next frame goes now.
    cursor: u64,
}

impl SegmentIndex {
    fn cut(&mut self, cut: u64) -> CutSegment {
        let end = self.end();
        let place = (cut - self.base.min(cut)) as usize;
        let data_bytes = self.segment.header.geometry.data_bytes;
        // Without a known place the old cursor stands: some bytes are wasted, none are overwritten.
        if let Some(offset) = self.entries.get(place).and_then(|record| record.offset).filter(|at| *at < data_bytes) {
            self.cursor = self.cursor.min(offset);
        }
        if let Some(first_cut) = self.entries.get(place) {
            self.chain = first_cut.head.prev_crc;
        }
        self.entries.truncate(place);
        CutSegment { segment: Arc::clone(&self.segment), end, cursor: self.cursor }
    }
}

fn erase_after_cut(cut_segment: &CutSegment, cut: u64) -> Result<(), WalError> {
    let segment = &cut_segment.segment;
    let failed = WalError::io(&segment.path, "erase cut entries");
    if cut_segment.end > cut {
        let blank = vec![0; ((cut_segment.end - cut) * IDENTIFIER_BYTES) as usize];
        segment.file.write_all_at(&blank, segment.slot_at(cut)).map_err(&failed)?;
    }
    let mark = end_mark(segment.header.geometry, cut_segment.cursor);
    segment.file.write_all_at(mark, segment.data_at(cut_segment.cursor)).map_err(&failed)?;
    segment.file.sync().map_err(&failed)
}

/// Creates a segment under its name, with the given identifiers in its slots.
pub(super) fn create_segment(
    disk: &dyn Disk,
    dir: &Path,
    header: SegmentHeader,
    slots: &[Identifier],
) -> std::io::Result<Segment> {
    let path = Segment::path_in(dir, header.first);
    let new = dir.join(format!("{}{NEW_SUFFIX}", file_name(header.first)));
    if disk.exists(&new)? {
        disk.remove_file(&new)?;
    }
    let file = disk.open(&new, OpenMode::CreateNew)?;
    file.set_len(header.geometry.file_bytes())?;
    let mut bytes = header.encode();
    slots.iter().for_each(|slot| bytes.extend_from_slice(&slot.encode()));
    file.write_all_at(&bytes, 0)?;
    file.sync()?;
    disk.rename(&new, &path)?;
    if !planted!(SegmentNameNotSynced) {
        disk.sync_dir(dir)?;
    }
    Ok(Segment { path, file, header })
}
