//! The verdicts, applied from the first index to the last.
//!
//! Below D every index must come out as an entry or a hole. A run of indexes of which nothing is left gets its term
//! from its neighbours: terms never fall along a log, so equal terms on both sides leave only one. A segment's header
//! names the entry in front of it, and serves as such a neighbour.

use std::path::PathBuf;

use super::OpenError;
use super::frame::FrameHead;
use super::identifier::{IDENTIFIER_BYTES, Identifier};
use super::meta::Meta;
use super::scan::Scan;
use super::segment::{HEADER_BYTES, Previous};
use super::verdict::{self, Later, Place, Verdict};
use crate::types::LogId;

/// A segment, or the place where one is missing.
#[derive(Debug)]
pub(super) struct Case {
    pub path: PathBuf,
    pub first: u64,
    /// From its header, if that was good.
    pub previous: Option<Previous>,
    pub scan: Scan,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Entry,
    /// An entry whose identifier has to be written again.
    Rebuilt,
    Hole,
}

/// An index that stays in the log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept {
    pub record: Identifier,
    pub fate: Fate,
}

/// What the log holds.
#[derive(Debug, Default)]
pub(super) struct Judgement {
    /// One for each index, from the log's start on.
    pub kept: Vec<Kept>,
    /// A torn tail begins here.
    pub discard_from: Option<u64>,
    /// D.
    pub durable_before: u64,
}

/// Judges all segments, which follow one another without a gap. `start` is the log's first index.
pub(super) fn judge(cases: &[Case], start: u64, meta: &Meta) -> Result<Judgement, OpenError> {
    let proven = cases.iter().map(|case| case.first.max(case.scan.durable_before));
    let durable_before = proven.chain([meta.durable_before, start]).max().unwrap_or(start);
    let ends = cases.iter().filter_map(|case| match case.scan.valid_end() {
        0 => None,
        slots => Some(case.first + slots as u64),
    });
    let valid_end = ends.max().unwrap_or(0);
    let mut judge = Judge { meta, start, durable_before, valid_end, kept: Vec::new(), lost: None };
    let mut discard_from = None;
    for case in cases {
        judge.boundary(case)?;
        if let Some(end) = judge.segment(case)? {
            discard_from = end.torn;
            break;
        }
    }
    judge.settle(None)?;
    Ok(Judgement { kept: judge.kept, discard_from, durable_before })
}

/// Where the log ends, before the last slot.
struct End {
    torn: Option<u64>,
}

/// Indexes of which nothing is left, waiting for a neighbour that proves their term.
struct Lost {
    path: PathBuf,
    offset: u64,
    first: u64,
    count: u64,
}

struct Judge<'a> {
    meta: &'a Meta,
    start: u64,
    durable_before: u64,
    valid_end: u64,
    kept: Vec<Kept>,
    lost: Option<Lost>,
}

impl Judge<'_> {
    fn segment(&mut self, case: &Case) -> Result<Option<End>, OpenError> {
        let skipped = self.start.saturating_sub(case.first);
        for (slot, evidence) in case.scan.evidence.iter().enumerate().skip(skipped as usize) {
            let index = case.first + slot as u64;
            let place = if index < self.durable_before { Place::BelowD } else { Place::Tail };
            let later = if index + 1 < self.valid_end { Later::SomethingValid } else { Later::Nothing };
            match (verdict::entry(evidence.identifier, evidence.entry, place, later), evidence.record) {
                (Verdict::Keep, Some(record)) => self.keep(record, Fate::Entry)?,
                (Verdict::RebuildIdentifier, Some(record)) => self.keep(record, Fate::Rebuilt)?,
                (Verdict::RottenHole | Verdict::AmbiguousHole, Some(record)) => self.keep(record, Fate::Hole)?,
                (Verdict::DiscardTail, _) => return Ok(Some(End { torn: Some(index) })),
                (Verdict::EndOfLog, _) => return Ok(Some(End { torn: None })),
                (Verdict::ProveOrRefuse, _) | (_, None) => self.lose(case, index),
            }
        }
        Ok(None)
    }

    /// The header of the segment that follows says what the last entry before it was.
    fn boundary(&mut self, case: &Case) -> Result<(), OpenError> {
        let Some(previous) = case.previous else { return Ok(()) };
        if case.first <= self.start {
            return Ok(());
        }
        let fits = |kept: &Kept| {
            kept.record.head.log_id == previous.log_id && (previous.crc == 0 || kept.record.chain_crc == previous.crc)
        };
        match (&mut self.lost, self.kept.last()) {
            (Some(lost), _) if lost.count > 1 => lost.count -= 1,
            (Some(_), _) => self.lost = None,
            (None, Some(last)) if !fits(last) => {
                self.kept.pop();
            }
            (None, _) => return Ok(()),
        }
        let record = self.term_only(previous.log_id, previous.crc);
        self.keep(record, Fate::Hole)
    }

    fn keep(&mut self, record: Identifier, fate: Fate) -> Result<(), OpenError> {
        self.settle(Some(&record))?;
        self.kept.push(Kept { record, fate });
        Ok(())
    }

    fn lose(&mut self, case: &Case, index: u64) {
        match &mut self.lost {
            Some(lost) => lost.count += 1,
            None => {
                let offset = HEADER_BYTES + (index - case.first) * IDENTIFIER_BYTES;
                self.lost = Some(Lost { path: case.path.clone(), offset, first: index, count: 1 });
            }
        }
    }

    /// Gives the waiting indexes their term, now that what follows them is known; or refuses.
    fn settle(&mut self, follower: Option<&Identifier>) -> Result<(), OpenError> {
        let Some(lost) = self.lost.take() else { return Ok(()) };
        let lower = self.log_id_before(lost.first).map(|log_id| log_id.term);
        let upper = follower.map(|record| record.head.log_id.term);
        let (Some(term), true) = (lower, lower == upper) else {
            let side = |term: Option<u64>| term.map_or("nothing".to_owned(), |term| format!("term {term}"));
            return Err(OpenError::Unprovable {
                path: lost.path,
                offset: lost.offset,
                first: lost.first,
                last: lost.first + lost.count - 1,
                bounds: format!("{} before them, {} after", side(lower), side(upper)),
            });
        };
        let last = lost.first + lost.count - 1;
        for index in lost.first..=last {
            let chain_crc = follower.filter(|_| index == last).map_or(0, |record| record.head.prev_crc);
            let record = self.term_only(LogId { term, index }, chain_crc);
            self.kept.push(Kept { record, fate: Fate::Hole });
        }
        Ok(())
    }

    fn log_id_before(&self, index: u64) -> Option<LogId> {
        match self.kept.last() {
            Some(kept) => Some(kept.record.head.log_id),
            None => self.meta.purged.filter(|purged| purged.index + 1 == index),
        }
    }

    /// An identifier for an entry of which only this is known.
    fn term_only(&self, log_id: LogId, chain_crc: u32) -> Identifier {
        let before = self.kept.last().map(|kept| kept.record);
        let head = FrameHead {
            log_id,
            kind: 0,
            length: 0,
            durable_before: 0,
            meta_version: before.map_or(0, |record| record.head.meta_version),
            prev_crc: before.map_or(0, |record| record.chain_crc),
        };
        Identifier { head, crc: 0, chain_crc, offset: None }
    }
}

/// Evidence for the slots of a segment that is missing.
pub(super) fn missing(path: PathBuf, first: u64, end: u64) -> Case {
    Case { path, first, previous: None, scan: Scan::of_missing((end - first) as usize) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{ClusterId, MemberId};
    use crate::wal::Identity;
    use crate::wal::scan::Evidence;
    use crate::wal::verdict::{EntryState, IdentifierState};

    fn meta(purged: Option<LogId>) -> Meta {
        let identity = Identity { cluster: ClusterId(1), member: MemberId(1) };
        Meta { purged, ..Meta::fresh(identity, 8) }
    }

    /// One letter an entry: a digit is the term of a good one, `?` one of which nothing is left.
    fn case(first: u64, letters: &str, durable_before: u64) -> Case {
        let evidence = letters.chars().enumerate().map(|(slot, letter)| match letter.to_digit(10) {
            None => Evidence::LOST,
            Some(term) => {
                let log_id = LogId { term: term.into(), index: first + slot as u64 };
                let head = FrameHead { log_id, kind: 0, length: 0, durable_before: 0, meta_version: 0, prev_crc: 0 };
                let record = Some(Identifier { head, crc: 0, chain_crc: 0, offset: Some(0) });
                Evidence { identifier: IdentifierState::Good, entry: EntryState::Good, record }
            }
        });
        let scan = Scan { evidence: evidence.collect(), durable_before, ..Scan::default() };
        Case { path: PathBuf::from(format!("{first}")), first, previous: None, scan }
    }

    fn terms(cases: &[Case], start: u64, meta: &Meta) -> Result<String, String> {
        let judged = judge(cases, start, meta).map_err(|error| error.to_string())?;
        let letters = judged.kept.iter().map(|kept| match kept.fate {
            Fate::Entry | Fate::Rebuilt => format!("{}", kept.record.head.log_id.term),
            Fate::Hole => format!("({})", kept.record.head.log_id.term),
        });
        Ok(letters.collect())
    }

    #[test]
    fn equal_terms_on_both_sides_prove_the_term_between() {
        assert_eq!(terms(&[case(1, "2??2", 5)], 1, &meta(None)).unwrap(), "2(2)(2)2");
        let refusal = terms(&[case(1, "2?3", 4)], 1, &meta(None)).unwrap_err();
        assert!(
            refusal.contains("entries 2 to 2") && refusal.contains("term 2 before them, term 3 after"),
            "{refusal}"
        );
        assert!(terms(&[case(1, "22?", 4)], 1, &meta(None)).unwrap_err().contains("nothing after"));
    }

    #[test]
    fn the_purged_entry_is_a_neighbour() {
        let purged = meta(Some(LogId { term: 2, index: 4 }));
        assert_eq!(terms(&[case(5, "?2", 7)], 5, &purged).unwrap(), "(2)2");
        assert!(terms(&[case(5, "?2", 7)], 5, &meta(None)).is_err());
        assert_eq!(terms(&[case(3, "??22", 7)], 5, &purged).unwrap(), "22", "what is purged need not be proven");
    }

    #[test]
    fn a_header_names_the_entry_in_front_of_it() {
        let previous = |term, index| Some(Previous { log_id: LogId { term, index }, crc: 0 });
        let second = |term| Case { previous: previous(term, 3), ..case(4, "3", 0) };
        assert_eq!(terms(&[case(1, "22?", 0), second(3)], 1, &meta(None)).unwrap(), "22(3)3");
        assert_eq!(terms(&[case(1, "2??", 0), second(2)], 1, &meta(None)).unwrap(), "2(2)(2)3");
        assert!(terms(&[case(1, "2??", 0), second(3)], 1, &meta(None)).is_err());
        assert_eq!(terms(&[case(1, "222", 0), second(3)], 1, &meta(None)).unwrap(), "22(3)3", "a stale entry");
    }
}
