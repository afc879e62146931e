//! Rare paths, marked where they are: [`sometimes!`]. The simulator counts them and reports those that no seed ever
//! took, because a test that never goes somewhere proves nothing about it.
//!
//! The idea and the name are FoundationDB's. Counted for each thread, which is one simulated cluster; in a release
//! build nothing is left of it.

use std::cell::RefCell;
use std::collections::BTreeMap;

macro_rules! probes {
    ($($probe:ident $path:literal)*) => {
        /// A rare path.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Probe { $($probe,)* }

        impl Probe {
            pub const ALL: &'static [Probe] = &[$(Probe::$probe,)*];

            /// What happens there.
            pub fn path(self) -> &'static str {
                match self { $(Probe::$probe => $path,)* }
            }
        }
    };
}

probes! {
    // ---- the log ----
    TornTailDiscarded "a torn end of the log was discarded"
    HoleFound "a rotten or ambiguous entry became a hole"
    IdentifierRebuilt "an identifier was rebuilt from its entry"
    VoteCopyRebuilt "one copy of the vote was rebuilt from the other"
    SpareBecameSegment "a prepared spare became the next segment"
    SegmentWithoutSpare "a segment began without a spare"
    LogTruncated "a new leader's log cut entries off this one's"
    SyncedEntryTruncated "... and some of them were synced already"
    LogPurged "the log was purged behind a snapshot"
    PurgedWhileSent "a log was purged while a stream still read it for a follower"
    AppendsGathered "several appends shared one sync"
    CoveredRotPurged "a start purged rotten entries that its state covers"
    UnreadablePassedOver "a follower lacked an entry that is rotten at the leader"
    // ---- agreement ----
    VoteRefused "a vote was refused"
    PreVoteRefused "a pre-vote was refused"
    TransferAccepted "leadership was handed over"
    TransferRefused "a hand-over was refused"
    SnapshotOffered "a snapshot was offered"
    SnapshotResumed "a snapshot's transfer went on where it had stopped"
    SnapshotUnwanted "a snapshot of a deposed leader was refused"
    SnapshotInstalled "a snapshot was installed"
    MembersChanged "the members changed"
    JointMembers "a joint membership was applied"
    // ---- apply ----
    EntriesGrouped "several entries were applied in one write"
    EntryShared "one entry carried several commands"
    CommandRolledBack "a command was refused after it had written"
    GuardRefused "a guard refused a write"
    StateFlushedLate "a restart found a state older than its log"
    // ---- reads and writes ----
    ReadRefused "a read found no quorum"
    ReadRoundRepeated "a read index was asked for once more"
    ReadOnFollower "a follower asked the leader for a read index"
    WriteForwarded "a write was handed to the leader"
    WriteRepeated "a write that was certainly not proposed was tried again"
    WriteUnknown "a write's fate stayed unknown"
    PlaceGivenUp "a batch at a deposed leader gave its place up"
    // ---- leases ----
    LeaseExtended "leases got their full time from a new leader"
    LeaseExpired "a lease ran out"
    ExpiryOfOldTerm "an expiry of an earlier term was ignored"
    ExpiryRepeated "an expiry of unknown fate was proposed again"
    ExpiryTakenBack "an expiry that was not proposed gave its leases back"
    RenewalTooLate "a lease was not renewed because its end is under way"
    // ---- watch ----
    WatcherFellBehind "a watcher's queue was full, and it reads history"
    WatcherCaughtUp "a watcher that read history came back to the present"
    WatcherOvertaken "a watcher's next revision was compacted"
    WatcherSawSnapshot "a snapshot was installed under a watcher"
    // ---- the rest ----
    SweepInSteps "a sweep of compacted versions took several steps"
    DiskFull "the disk was full"
    NodeHalted "a node stopped by itself"
}

thread_local! {
    static REACHED: RefCell<BTreeMap<Probe, u64>> = const { RefCell::new(BTreeMap::new()) };
}

/// For [`sometimes!`] alone.
#[inline]
pub fn note(probe: Probe) {
    if cfg!(debug_assertions) {
        REACHED.with(|reached| *reached.borrow_mut().entry(probe).or_default() += 1);
    }
}

/// How often this thread came by each probe since the last time.
pub fn take() -> BTreeMap<Probe, u64> {
    REACHED.with(RefCell::take)
}

/// Marks a rare path.
macro_rules! sometimes {
    ($probe:ident) => {
        $crate::env::probe::note($crate::env::probe::Probe::$probe)
    };
}
pub(crate) use sometimes;
