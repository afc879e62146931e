//! What one segment's bytes say: for each slot the state of the identifier and of the entry.
//!
//! Nothing is decided here, and nothing is believed that stands alone. A frame without an identifier counts only if the
//! chain ties it to a neighbour; a record that an earlier truncation cut, or that is older than one before it, is a
//! leftover and counts as blank; of two neighbours that do not fit, the first is the stale one, because the second was
//! written after it and says whom it followed.

use std::collections::BTreeMap;

use super::frame::{self, FRAME_HEAD_BYTES, Frame};
use super::identifier::{IDENTIFIER_BYTES, Identifier, Slot};
use super::image::Image;
use super::meta::Meta;
use super::segment::{HEADER_BYTES, SegmentHeader};
use super::verdict::{EntryState, IdentifierState};

/// What is known of one slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Evidence {
    pub identifier: IdentifierState,
    pub entry: EntryState,
    /// The identifier, or what a good entry says in its place.
    pub record: Option<Identifier>,
}

impl Evidence {
    /// Something was here, and neither half of it is left.
    pub const LOST: Evidence = Evidence { identifier: IdentifierState::Bad, entry: EntryState::Bad, record: None };
    const BLANK: Evidence = Evidence { identifier: IdentifierState::Blank, entry: EntryState::Blank, record: None };
}

/// What a segment says as a whole.
#[derive(Clone, Debug, Default)]
pub(super) struct Scan {
    /// From slot 0 on.
    pub evidence: Vec<Evidence>,
    /// The identifiers as they lie on disk, before anything is made of them.
    pub stored: Vec<Slot>,
    /// Largest term of any valid record, leftovers included: the vote must not be older.
    pub term_max: u64,
    /// Largest meta version of any valid record, leftovers included: the meta record must not be older.
    pub meta_version_max: u64,
    /// D, as far as this segment proves it.
    pub durable_before: u64,
}

impl Scan {
    /// A segment of which nothing is left.
    pub fn of_missing(slots: usize) -> Self {
        Self { evidence: vec![Evidence::LOST; slots], ..Self::default() }
    }

    /// One past the last slot that holds a valid record.
    pub fn valid_end(&self) -> usize {
        self.evidence.iter().rposition(|slot| slot.record.is_some()).map_or(0, |last| last + 1)
    }
}

/// Reads the first `slots` slots of a segment.
pub(super) fn scan(image: &Image, header: &SegmentHeader, meta: &Meta, slots: usize) -> Scan {
    let mut scanner = Scanner {
        image,
        header,
        meta,
        last_identified: 0,
        written_end: image.written_end(),
        loose_durable_before: 0,
        nothing_follows: false,
        found: None,
        scan: Scan::default(),
    };
    scanner.read_identifiers(slots);
    scanner.read_entries();
    scanner.drop_leftovers();
    scanner.drop_stale();
    let proofs = scanner.scan.evidence.iter().filter_map(|slot| slot.record);
    let proven = proofs.map(|record| record.head.durable_before).max().unwrap_or(0);
    scanner.scan.durable_before = proven.max(scanner.loose_durable_before);
    scanner.scan
}

struct Scanner<'a> {
    image: &'a Image,
    header: &'a SegmentHeader,
    meta: &'a Meta,
    /// One past the last slot with a good identifier.
    last_identified: usize,
    /// One past the last byte of the file that is not zero.
    written_end: u64,
    /// What frames say that nothing ties to the chain: not enough to keep them, enough not to drop what is before them.
    loose_durable_before: u64,
    /// The walk has come to where only zeros follow.
    nothing_follows: bool,
    /// Whole frames by index, wherever they lie; made when an entry is not where it should be.
    found: Option<BTreeMap<u64, Vec<u64>>>,
    scan: Scan,
}

impl<'a> Scanner<'a> {
    fn at(&self, offset: u64) -> u64 {
        self.header.geometry.data_start().saturating_add(offset)
    }

    fn frame_at(&self, offset: u64) -> Option<Frame<'a>> {
        frame::parse(self.image.tail(self.at(offset)))
    }

    fn witness(&mut self, record: &Identifier) {
        self.scan.term_max = self.scan.term_max.max(record.head.log_id.term);
        self.scan.meta_version_max = self.scan.meta_version_max.max(record.head.meta_version);
    }

    fn read_identifiers(&mut self, slots: usize) {
        for slot in 0..slots as u64 {
            let bytes = self.image.get(HEADER_BYTES + slot * IDENTIFIER_BYTES, IDENTIFIER_BYTES);
            let stored = bytes.map_or(Slot::Bad, |bytes| Identifier::decode(bytes, self.header.first + slot));
            if let Slot::Good(record) = stored {
                self.witness(&record);
            }
            self.scan.stored.push(stored);
            if matches!(self.slot(slot as usize), Slot::Good(_)) {
                self.last_identified = slot as usize + 1;
            }
        }
    }

    /// What a slot holds, if what a truncation cut does not count.
    fn slot(&self, slot: usize) -> Slot {
        match self.scan.stored.get(slot) {
            Some(Slot::Good(record)) if self.meta.has_cut_record(record) => Slot::Blank,
            Some(stored) => *stored,
            None => Slot::Blank,
        }
    }

    fn read_entries(&mut self) {
        let mut cursor = Some(0);
        let mut chain = Some(self.header.previous.map_or(0, |previous| previous.crc));
        for slot in 0..self.scan.stored.len() {
            let evidence = match self.slot(slot) {
                Slot::Good(record) => self.identified(record, chain),
                Slot::Blank | Slot::Bad => self.unidentified(slot, cursor, chain),
            };
            if let Some(record) = &evidence.record {
                self.witness(record);
            }
            cursor = evidence.record.and_then(|record| record.end());
            chain = evidence.record.map(|record| record.chain_crc);
            self.scan.evidence.push(evidence);
        }
    }

    /// A slot whose identifier is good: is its entry there?
    fn identified(&self, record: Identifier, chain: Option<u32>) -> Evidence {
        let seen = |entry| Evidence { identifier: IdentifierState::Good, entry, record: Some(record) };
        let Some(offset) = record.offset else { return seen(EntryState::Bad) };
        let Some(frame) = self.frame_at(offset) else { return seen(self.blank_or_bad(offset)) };
        if record.agrees(&frame) {
            return seen(EntryState::Good);
        }
        let newer = frame.head.log_id.index == record.head.log_id.index
            && frame.head.meta_version > record.head.meta_version
            && chain.is_none_or(|chain| chain == frame.head.prev_crc);
        if newer {
            let record = Identifier::of(&frame, offset);
            return Evidence { identifier: IdentifierState::Bad, entry: EntryState::Good, record: Some(record) };
        }
        seen(EntryState::Other)
    }

    fn unidentified(&mut self, slot: usize, cursor: Option<u64>, chain: Option<u32>) -> Evidence {
        let index = self.header.first + slot as u64;
        let identifier = match self.slot(slot) {
            Slot::Blank => IdentifierState::Blank,
            Slot::Bad | Slot::Good(_) => IdentifierState::Bad,
        };
        let at_cursor = cursor.and_then(|offset| self.tied_frame(offset, index, chain));
        if let Some(record) = at_cursor.or_else(|| self.search(index, cursor, chain)) {
            return Evidence { identifier, entry: EntryState::Good, record: Some(record) };
        }
        let entry = match cursor {
            Some(offset) if self.frame_at(offset).is_some() => EntryState::Other,
            // What cannot be read is no sign of an entry where there is no identifier either.
            Some(offset) if identifier == IdentifierState::Blank && self.is_unreadable(offset) => EntryState::Blank,
            Some(offset) => self.blank_or_bad(offset),
            None if identifier == IdentifierState::Blank => EntryState::Blank,
            None => EntryState::Bad,
        };
        Evidence { identifier, entry, record: None }
    }

    fn blank_or_bad(&self, offset: u64) -> EntryState {
        match self.image.get(self.at(offset), self.head_room(offset)) {
            Some(bytes) if frame::is_blank(bytes) => EntryState::Blank,
            _ => EntryState::Bad,
        }
    }

    fn is_unreadable(&self, offset: u64) -> bool {
        self.image.is_unreadable(self.at(offset), self.head_room(offset))
    }

    /// Bytes of a frame's head that can lie at `offset`. Behind the data area begins the repair area, which has nothing
    /// to do with what ends here.
    fn head_room(&self, offset: u64) -> u64 {
        let data_bytes = self.header.geometry.data_bytes;
        let left = if offset <= data_bytes { data_bytes } else { self.image.len().saturating_sub(self.at(0)) };
        left.saturating_sub(offset).min(FRAME_HEAD_BYTES)
    }

    /// The frame at `offset`, if it is that of `index` and a neighbour vouches for it.
    fn tied_frame(&self, offset: u64, index: u64, chain: Option<u32>) -> Option<Identifier> {
        let frame = self.frame_at(offset)?;
        let record = Identifier::of(&frame, offset);
        let ours = frame.head.log_id.index == index && !self.meta.has_cut_record(&record);
        // A frame of another segment may lie here, with an index before this one's first: it has no neighbours here.
        let tied = || chain == Some(frame.head.prev_crc) || self.next_follows(&record);
        (ours && tied()).then_some(record)
    }

    fn next_follows(&self, record: &Identifier) -> bool {
        let next = record.head.log_id.index + 1;
        let slot = (next - self.header.first) as usize;
        if let Slot::Good(follower) = self.slot(slot) {
            return follower.head.prev_crc == record.crc;
        }
        let follower = record.end().and_then(|end| self.frame_at(end));
        follower.is_some_and(|frame| frame.head.log_id.index == next && frame.head.prev_crc == record.crc)
    }

    /// Looks for the frame of `index` everywhere, unless nothing can be there.
    fn search(&mut self, index: u64, cursor: Option<u64>, chain: Option<u32>) -> Option<Identifier> {
        self.nothing_follows |= cursor.is_some_and(|offset| self.at(offset) >= self.written_end);
        let past_the_end = index >= self.header.first + self.last_identified as u64;
        if self.nothing_follows && past_the_end {
            return None;
        }
        let offsets = self.found().get(&index).cloned().unwrap_or_default();
        let frames = offsets.iter().filter_map(|offset| Some(Identifier::of(&self.frame_at(*offset)?, *offset)));
        let ours: Vec<Identifier> = frames.filter(|record| !self.meta.has_cut_record(record)).collect();
        let tied = ours.iter().find_map(|record| self.tied_frame(record.offset?, index, chain));
        if tied.is_none() {
            let loose = ours.iter().map(|record| record.head.durable_before).max().unwrap_or(0);
            self.loose_durable_before = self.loose_durable_before.max(loose);
        }
        tied
    }

    fn found(&mut self) -> &BTreeMap<u64, Vec<u64>> {
        let indexes = self.header.first..self.header.first + self.scan.stored.len() as u64;
        let (image, start, end) = (self.image, self.at(0), self.written_end);
        self.found.get_or_insert_with(|| {
            let mut found: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
            let area = image.raw(start, end);
            for offset in 0..area.len() {
                let claimed = frame::claimed_index(&area[offset..]).filter(|index| indexes.contains(index));
                let Some(index) = claimed.filter(|_| !frame::is_blank(&area[offset..])) else { continue };
                if frame::parse(image.tail(start + offset as u64)).is_some() {
                    found.entry(index).or_default().push(offset as u64);
                }
            }
            found
        })
    }

    /// Meta versions never fall along the log; what breaks that was written before what stands in front of it.
    fn drop_leftovers(&mut self) {
        let mut newest = 0;
        for evidence in &mut self.scan.evidence {
            match evidence.record {
                Some(record) if record.head.meta_version < newest => *evidence = Evidence::BLANK,
                Some(record) => newest = record.head.meta_version,
                None => {}
            }
        }
    }

    fn drop_stale(&mut self) {
        for slot in 1..self.scan.evidence.len() {
            let (before, here) = (self.scan.evidence[slot - 1].record, self.scan.evidence[slot].record);
            if let (Some(before), Some(here)) = (before, here)
                && before.chain_crc != here.head.prev_crc
            {
                self.scan.evidence[slot - 1] = Evidence::LOST;
            }
        }
    }
}
