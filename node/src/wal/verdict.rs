//! What is made of each thing that opening may find: the decision table, as pure functions.
//!
//! # Entries
//!
//! `D` is the largest durable_before that survives. `later` means that some later entry or identifier is valid. `-` is
//! any. `other` is a whole frame, but not the one expected here: misdirected, or left behind by a lost write.
//!
//! ```text
//! row  identifier   entry        place     later   verdict
//!  1   good         good         -         -       keep
//!  2   good         not good     below D   -       hole: rot, it was acknowledged
//!  3   good         not good     tail      -       hole: a crash or rot, nobody here can tell; the cluster decides
//!  4   not good     good         -         -       keep, rebuild the identifier from the entry
//!  5   not good     not good     below D   -       prove: a hole if its neighbours prove its term, else refuse
//!  6   blank        bad, other   tail      -       discard: a torn write
//!  7   blank        blank        tail      yes     discard: a torn write, of which a later part survived
//!  8   blank        blank        tail      no      end of the log
//!  9   bad          blank        tail      no      end of the log; the rot is in a slot that was never used
//! 10   bad          blank        tail      yes     prove
//! 11   bad          bad, other   tail      -       prove: a sector is never torn, so the identifier rotted
//! ```
//!
//! Rows 2 and 3 lead to the same act; they are told apart because they mean different things to an operator. Discarding
//! takes everything from there on: what survived of a torn batch was never acknowledged.
//!
//! # Segments
//!
//! ```text
//! place          file      header    verdict
//! superseded     -         -         remove: purged, or cut off by a truncation, or still being created at the crash
//! beyond meta    -         -         refuse: it holds entries that meta knows nothing of, so the vote is stale
//! newest         missing   -         refuse: nothing says what it held
//! inside         missing   -         holes: each of its entries by rows 2 and 5, with neither half there
//! inside, newest found     lost      refuse: its layout cannot be proven
//! inside, newest found     proven    keep, rewrite the header
//! inside, newest short     not lost  keep, grow it again: what was cut off is rot
//! inside, newest long      not lost  keep, report: nothing refers to the excess
//! inside, newest whole     good      keep
//! ```
//!
//! # The vote
//!
//! ```text
//! meta.a      meta.b      segments   verdict
//! version v   version w   -          use the newer, rebuild the older
//! version v   not valid   -          use the valid one, rebuild the other (and the same with a and b swapped)
//! missing     missing     none       fresh: there never was a log here
//! otherwise                          lost: never start as a voter
//! ```

use crate::env::planted;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IdentifierState {
    Good,
    Blank,
    /// Damaged, unreadable, or the identifier of another index.
    Bad,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EntryState {
    /// Whole, and agrees with its identifier, or without one with its neighbours in the chain.
    Good,
    Blank,
    /// Damaged, unreadable, or nowhere to be found.
    Bad,
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    BelowD,
    Tail,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Later {
    Nothing,
    SomethingValid,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Keep,
    RebuildIdentifier,
    RottenHole,
    AmbiguousHole,
    ProveOrRefuse,
    DiscardTail,
    EndOfLog,
}

/// The verdict on one index.
pub(super) fn entry(identifier: IdentifierState, entry: EntryState, place: Place, later: Later) -> Verdict {
    use EntryState as E;
    use IdentifierState as I;
    match (identifier, entry, place, later) {
        (I::Good, E::Blank | E::Bad | E::Other, _, _) if planted!(RotTruncated) => Verdict::DiscardTail,
        (I::Good, E::Good, _, _) => Verdict::Keep,
        (I::Good, E::Blank | E::Bad | E::Other, Place::BelowD, _) => Verdict::RottenHole,
        (I::Good, E::Blank | E::Bad | E::Other, Place::Tail, _) => Verdict::AmbiguousHole,
        (I::Blank | I::Bad, E::Good, _, _) => Verdict::RebuildIdentifier,
        (I::Blank | I::Bad, E::Blank | E::Bad | E::Other, Place::BelowD, _) => Verdict::ProveOrRefuse,
        (I::Blank, E::Bad | E::Other, Place::Tail, _) => Verdict::DiscardTail,
        (I::Blank, E::Blank, Place::Tail, Later::SomethingValid) => Verdict::DiscardTail,
        (I::Blank, E::Blank, Place::Tail, Later::Nothing) => Verdict::EndOfLog,
        (I::Bad, E::Blank, Place::Tail, Later::Nothing) => Verdict::EndOfLog,
        (I::Bad, E::Blank, Place::Tail, Later::SomethingValid) => Verdict::ProveOrRefuse,
        (I::Bad, E::Bad | E::Other, Place::Tail, _) => Verdict::ProveOrRefuse,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SegmentPlace {
    Superseded,
    BeyondMeta,
    Inside,
    Newest,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SegmentFile {
    Whole,
    Short,
    Long,
    Missing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SegmentHead {
    Good,
    /// Damaged, but the identifiers and frames agree with one another under one layout only.
    Proven,
    Lost,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SegmentVerdict {
    Remove,
    RefuseStaleVote,
    RefuseMissing,
    RefuseHeader,
    Holes,
    Keep,
}

/// The verdict on one segment. What `Keep` has to mend is seen from `file` and `head` themselves.
pub(super) fn segment(place: SegmentPlace, file: SegmentFile, head: SegmentHead) -> SegmentVerdict {
    use SegmentPlace as P;
    match (place, file, head) {
        (P::Superseded, _, _) => SegmentVerdict::Remove,
        (P::BeyondMeta, _, _) => SegmentVerdict::RefuseStaleVote,
        (P::Newest, SegmentFile::Missing, _) => SegmentVerdict::RefuseMissing,
        (P::Inside, SegmentFile::Missing, _) => SegmentVerdict::Holes,
        (P::Inside | P::Newest, _, SegmentHead::Lost) => SegmentVerdict::RefuseHeader,
        (P::Inside | P::Newest, _, SegmentHead::Good | SegmentHead::Proven) => SegmentVerdict::Keep,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MetaCopy {
    Version(u64),
    Damaged,
    Missing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MetaVerdict {
    /// Both copies are of this version.
    Agree,
    UseFirst,
    UseSecond,
    Fresh,
    Lost,
}

/// Whether any segment is in the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Segments {
    None,
    Some,
}

/// The verdict on the two copies of the vote.
pub(super) fn meta(first: MetaCopy, second: MetaCopy, segments: Segments) -> MetaVerdict {
    use MetaCopy as C;
    match (first, second, segments) {
        (C::Version(first), C::Version(second), _) if first == second => MetaVerdict::Agree,
        (C::Version(first), C::Version(second), _) if first < second => MetaVerdict::UseSecond,
        (C::Version(_), _, _) => MetaVerdict::UseFirst,
        (C::Damaged | C::Missing, C::Version(_), _) => MetaVerdict::UseSecond,
        (C::Missing, C::Missing, Segments::None) => MetaVerdict::Fresh,
        (C::Damaged | C::Missing, C::Damaged | C::Missing, _) => MetaVerdict::Lost,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDENTIFIERS: [IdentifierState; 3] = [IdentifierState::Good, IdentifierState::Blank, IdentifierState::Bad];
    const ENTRIES: [EntryState; 4] = [EntryState::Good, EntryState::Blank, EntryState::Bad, EntryState::Other];

    /// The table of the file's head, a line a row: identifiers, entries, places, later, verdict.
    const ROWS: [(&str, Verdict); 11] = [
        ("G|G|DT|yn", Verdict::Keep),
        ("G|BXO|D|yn", Verdict::RottenHole),
        ("G|BXO|T|yn", Verdict::AmbiguousHole),
        ("BX|G|DT|yn", Verdict::RebuildIdentifier),
        ("BX|BXO|D|yn", Verdict::ProveOrRefuse),
        ("B|XO|T|yn", Verdict::DiscardTail),
        ("B|B|T|y", Verdict::DiscardTail),
        ("B|B|T|n", Verdict::EndOfLog),
        ("X|B|T|n", Verdict::EndOfLog),
        ("X|B|T|y", Verdict::ProveOrRefuse),
        ("X|XO|T|yn", Verdict::ProveOrRefuse),
    ];

    #[test]
    fn every_row_decides_and_no_two_rows_overlap() {
        for (identifier, identifier_letter) in IDENTIFIERS.into_iter().zip("GBX".chars()) {
            for (state, entry_letter) in ENTRIES.into_iter().zip("GBXO".chars()) {
                for (place, place_letter) in [(Place::BelowD, 'D'), (Place::Tail, 'T')] {
                    for (later, later_letter) in [(Later::SomethingValid, 'y'), (Later::Nothing, 'n')] {
                        let letters = [identifier_letter, entry_letter, place_letter, later_letter];
                        let rows: Vec<_> = ROWS
                            .iter()
                            .filter(|(row, _)| row.split('|').zip(letters).all(|(set, letter)| set.contains(letter)))
                            .collect();
                        assert_eq!(rows.len(), 1, "rows for {letters:?}");
                        assert_eq!(entry(identifier, state, place, later), rows[0].1, "{letters:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn nothing_below_d_is_ever_dropped() {
        for identifier in IDENTIFIERS {
            for state in ENTRIES {
                for later in [Later::SomethingValid, Later::Nothing] {
                    let verdict = entry(identifier, state, Place::BelowD, later);
                    assert!(!matches!(verdict, Verdict::DiscardTail | Verdict::EndOfLog));
                }
            }
        }
    }

    #[test]
    fn segment_rows() {
        use {SegmentFile as F, SegmentHead as H, SegmentPlace as P, SegmentVerdict as V};
        for head in [H::Good, H::Proven, H::Lost] {
            for file in [F::Whole, F::Short, F::Long, F::Missing] {
                assert_eq!(segment(P::Superseded, file, head), V::Remove);
                assert_eq!(segment(P::BeyondMeta, file, head), V::RefuseStaleVote);
                for place in [P::Inside, P::Newest] {
                    let expected = match (file, head) {
                        (F::Missing, _) if place == P::Newest => V::RefuseMissing,
                        (F::Missing, _) => V::Holes,
                        (_, H::Lost) => V::RefuseHeader,
                        _ => V::Keep,
                    };
                    assert_eq!(segment(place, file, head), expected, "{place:?} {file:?} {head:?}");
                }
            }
        }
    }

    #[test]
    fn meta_rows() {
        use {MetaCopy as C, MetaVerdict as V};
        for segments in [Segments::None, Segments::Some] {
            assert_eq!(meta(C::Version(3), C::Version(3), segments), V::Agree);
            assert_eq!(meta(C::Version(4), C::Version(3), segments), V::UseFirst);
            assert_eq!(meta(C::Version(3), C::Version(4), segments), V::UseSecond);
            for bad in [C::Damaged, C::Missing] {
                assert_eq!(meta(C::Version(3), bad, segments), V::UseFirst);
                assert_eq!(meta(bad, C::Version(3), segments), V::UseSecond);
                assert_eq!(meta(bad, C::Damaged, segments), V::Lost);
                assert_eq!(meta(C::Damaged, bad, segments), V::Lost);
            }
        }
        assert_eq!(meta(C::Missing, C::Missing, Segments::None), V::Fresh);
        assert_eq!(meta(C::Missing, C::Missing, Segments::Some), V::Lost);
    }
}
