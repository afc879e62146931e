//! The museum: bugs of the kind that replicated stores have had, each of which can be planted in a simulated cluster.
//!
//! A proof that finds nothing may be blind. So each exhibit is planted in turn, and the simulator's checkers must see
//! it: `make museum`. A plant is a line or two at the place where the bug would be, and asks [`planted!`]. Without the
//! build feature `museum`, which nothing but the tests' own crate turns on, the answer is a constant `false`, and the
//! compiler leaves nothing of it.
//!
//! A plant is chosen for a thread ([`plant`]): one thread is one simulated cluster.

#[cfg(all(feature = "museum", not(debug_assertions)))]
compile_error!("the feature `museum` plants bugs: it is for the simulator's tests, never for a release build");

/// What one exhibit is.
#[derive(Clone, Copy, Debug)]
pub struct Card {
    pub exhibit: Exhibit,
    /// By which `make museum EXHIBIT=...` calls it.
    pub name: &'static str,
    pub breaks: &'static str,
    /// The checkers that are expected to see it.
    pub seen_by: &'static str,
}

macro_rules! exhibits {
    ($($exhibit:ident $name:literal $breaks:literal $seen_by:literal)*) => {
        /// A bug that can be planted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Exhibit { $($exhibit,)* }

        /// All of them, by where they would live, from the disk upwards.
        pub const EXHIBITS: &[Card] = &[
            $(Card { exhibit: Exhibit::$exhibit, name: $name, breaks: $breaks, seen_by: $seen_by },)*
        ];
    };
}

exhibits! {
    // ---- the disk ----
    VoteNotSynced "vote-not-synced"
        "a vote is answered before it is on disk" "votes, terms"
    AckBeforeFsync "ack-before-fsync"
        "entries are acknowledged, and only then synced" "logs, durability"
    EntriesNotSynced "entries-not-synced"
        "entries are written and never synced" "logs, durability"
    TornEntryAccepted "torn-entry-accepted"
        "an entry's checksum is not compared when the log is opened" "logs, convergence"
    RotTruncated "rot-truncated"
        "a log with a rotten entry is cut there, as if it were the torn end" "logs, durability"
    SegmentNameNotSynced "segment-name-not-synced"
        "a new segment's directory is not synced" "logs, availability"
    TruncationNotDurable "truncation-not-durable"
        "what a new leader cut off comes back after a crash" "logs"
    StateFileNotSynced "state-file-not-synced"
        "a file of the state is renamed into place before its bytes are synced" "availability"
    LogPurgedBeforeFlush "log-purged-before-flush"
        "the log is purged while the state that it led to is only in memory" "availability, durability"
    // ---- agreement ----
    QuorumOffByOne "quorum-off-by-one"
        "a voter that cannot be reached counts as one that agreed" "terms, applied entries"
    VoteGrantedTwice "vote-granted-twice"
        "a member votes for whoever asks, whatever it said before" "terms, applied entries"
    ConflictTakenForSuccess "conflict-taken-for-success"
        "a follower that refuses entries counts as one that has them (openraft notices, and panics)"
        "panic"
    SnapshotWithoutLeases "snapshot-without-leases"
        "an image of the state lacks the table of leases" "convergence, leases"
    CacheOutlivesSnapshot "cache-outlives-snapshot"
        "rows remembered from before a snapshot was installed are still believed" "convergence"
    // ---- apply ----
    ApplyOrderSwapped "apply-order-swapped"
        "commands of one entry run backwards when entries are applied in groups" "convergence"
    CompareBeforeBatch "compare-before-batch"
        "a transaction's conditions do not see what its neighbours in the entry wrote" "linearizability"
    GuardIgnored "guard-ignored"
        "a guarded write does not check its fencing token" "locks"
    PrevKvWrong "prev-kv-wrong"
        "an event's previous value is its new one" "watch"
    CompactionRemovesLive "compaction-removes-live"
        "the sweep takes the newest version of a key when it is old enough" "durability, availability"
    CompactedReadsAnswered "compacted-reads-answered"
        "a read at a compacted revision is answered with what is left of it" "compaction"
    // ---- leases ----
    LeaseNotExtended "lease-not-extended"
        "a new leader counts the time of leases from its own start" "leases"
    LeaseRenewedUnproved "lease-renewed-unproved"
        "a member renews leases without asking whether it still leads" "leases"
    ExpiredLeaseRevived "expired-lease-revived"
        "a lease whose end is in the log already is renewed" "leases"
    // ---- reads and writes ----
    StaleReadIndex "stale-read-index"
        "a leader answers reads without asking a quorum whether it still leads" "linearizability"
    FollowerReadsUnasked "follower-reads-unasked"
        "a follower answers reads without asking the leader how far it must be" "linearizability"
    LateReadersShareRound "late-readers-share-round"
        "a read that came while a read index was asked for is let pass with it" "linearizability"
    ForwardedWriteRetried "forwarded-write-retried"
        "a write of unknown fate is handed to the leader once more" "linearizability, durability"
    AnswersSwapped "answers-swapped"
        "callers whose commands share an entry get each other's answers" "linearizability"
    // ---- watch ----
    WatchResumesLate "watch-resumes-late"
        "a watch that resumes begins one revision after the one it named" "watch"
    WatchSkipsCompacted "watch-skips-compacted"
        "a watcher whose history was compacted goes on without a word" "watch"
    WatchGapAtSnapshot "watch-gap-at-snapshot"
        "a watcher is not told what a snapshot brought" "watch"
    WatchProgressTooFar "watch-progress-too-far"
        "a progress notice names a revision whose events are still queued" "watch"
}

#[cfg(feature = "museum")]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Exhibit>> = const { std::cell::Cell::new(None) };
    static REACHED: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// From now on the clusters of this thread have this bug, and no other.
#[cfg(feature = "museum")]
pub fn plant(exhibit: Option<Exhibit>) {
    PLANTED.with(|planted| planted.set(exhibit));
    REACHED.with(|reached| reached.set(0));
}

/// How often this thread has come by what was planted. A bug that is never reached is no proof of blindness.
#[cfg(feature = "museum")]
pub fn reached() -> u64 {
    REACHED.with(std::cell::Cell::get)
}

/// For [`planted!`] alone.
#[cfg(feature = "museum")]
pub fn is_planted(exhibit: Exhibit) -> bool {
    let is_planted = PLANTED.with(|planted| planted.get() == Some(exhibit));
    if is_planted {
        REACHED.with(|reached| reached.set(reached.get() + 1));
    }
    is_planted
}

/// For [`planted!`] alone.
#[cfg(not(feature = "museum"))]
#[inline(always)]
pub const fn is_planted(_: Exhibit) -> bool {
    false
}

/// Whether this bug of the museum is planted here. `false`, and nothing, in every build that ships.
macro_rules! planted {
    ($exhibit:ident) => {
        $crate::env::museum::is_planted($crate::env::museum::Exhibit::$exhibit)
    };
}
pub(crate) use planted;
