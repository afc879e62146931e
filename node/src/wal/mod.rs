//! The Raft log on disk: checksummed segments, identifiers apart from entries, two copies of the vote.
//!
//! The node's promises to its peers are here and nowhere else: its vote, and every entry it acknowledged. So the one
//! question this module is built around is: *when something cannot be read after a restart, was it ever promised?*
//! What was not (a torn write) is discarded; what was, or may have been, becomes a hole `<term,index>` to be fetched
//! from a peer. **Rot is never truncated away.** The rules are those of "Protocol-Aware Recovery for Consensus-Based
//! Storage" (FAST'18); [`verdict`] holds them as a table.
//!
//! ```text
//!  append           sync                                  read
//!    |               | encode, 2 writes, 1 fdatasync        | pending, cache, or the file, every checksum checked
//!    v               v                                      v
//!  pending -------> frame.rs  identifier.rs ---> segments <--- index of identifiers in memory, holes
//!
//!  open:  meta.rs --> segment.rs --> scan.rs ----> judge.rs ----> repair.rs --> Log
//!         vote,       headers,       evidence      verdict.rs     identifiers rebuilt, tail hardened,
//!         promises    layout.rs      per slot      applied        discarded records erased
//! ```
//!
//! # The directory
//!
//! ```text
//! {first index, 20 digits}.seg   a segment                 meta.a, meta.b   two copies of one small record
//! spare                          the next segment, zeroed ahead of time; worthless after a restart
//! *.new                          a file that was being created; worthless after a restart
//! LOCK                           empty; locked by the process that has the log open
//! ```
//!
//! Integers are little-endian. crc is crc32 (IEEE). Indexes count from 0. A *record* is sealed as
//! [`crate::codec::record`] says: magic 8 | version u16 = 1 | zero u16 | payload length u32 | payload | crc u32.
//!
//! ```text
//! segment = header 4096 B | identifier area, slots x 64 B | data area, data_bytes | repair area, if any, to the end
//!
//! header: a record with magic "HFWALSEG", zeros to 4096. Payload 64 B:
//!   0 cluster u64 | 8 member u64 | 16 first index u64 | 24 data_bytes u64 | 32 meta version u64
//!   40 previous term u64 | 48 previous index u64 | 56 previous crc u32
//!   60 slots u32, a multiple of 8; its top bit says that there is a previous entry
//!
//! identifier: slot i belongs to index first + i; blank (64 zeros) if there is no such entry.
//!   0 index u64 | 8 term u64 | 16 offset u64 | 24 durable_before u64 | 32 meta version u64
//!   40 length u32 | 44 frame crc u32 | 48 previous crc u32 | 52 chain crc u32
//!   56 kind u8 | 57 flags u8 (1: place, length, kind and crc of the frame are unknown) | 58 zero u16
//!   60 crc u32 of 0..60
//!
//! frame: at `offset` of the data area; frames lie back to back, 48 zeros follow the last.
//!   0 length u32 | 4 kind u8 | 5 zero, 3 B | 8 term u64 | 16 index u64 | 24 durable_before u64 | 32 meta version u64
//!   40 previous crc u32 | 44 crc u32 of 0..44 and the payload | 48 payload, `length` B
//!
//! meta: a record with magic "HFWALMET", zeros to 512. Payload: see meta.rs.
//! ```
//!
//! # What each number is for
//!
//! - *previous crc* chains the entries: a frame that a truncation, a lost or a misdirected write left behind does not
//!   fit between its neighbours, however valid it looks. *chain crc* is what the next entry's previous crc must be: the
//!   frame's crc, except for an entry that was refilled without knowing its old bytes.
//! - *durable_before* D: every index below D had been fsynced when this was written. The largest D that survives splits
//!   the log: below it any fault is rot; from it on lies the one batch that a crash can have torn.
//! - *meta version* counts saves of the meta record. Every truncation saves one, so of two records for one index the
//!   one with the larger version is the newer; a version above the meta record's own proves that record stale.
//!
//! # Invariants
//!
//! - Nothing is acknowledged before the fdatasync of its file; one batch never spans two segments, so that at most the
//!   newest segment can be torn.
//! - A name is synced before anything depends on it. Meta copies are written and synced one after the other.
//! - A segment exists before meta names it; meta forgets a segment before it is removed.
//! - What opening found above D is written and synced again before it counts: after a failed fsync and a restart the
//!   cache shows bytes that the medium never got (ATC'20).
//! - A failed write or sync poisons the log: it refuses everything until it is opened again.
//!
//! # What is assumed of the medium
//!
//! A sector of 512 bytes is written as a whole or not at all. A synced sector may rot, be lost or be misdirected, but
//! the drive does not forge a matching crc32. What no later record vouches for (the last batch) and whose frame *and*
//! identifier are both gone without trace cannot be told from a batch that was never finished.

mod cache;
mod error;
mod fill;
mod frame;
mod identifier;
mod image;
mod judge;
mod layout;
mod log;
mod meta;
mod open;
mod read;
mod repair;
mod scan;
mod segment;
mod spare;
#[cfg(test)]
mod tests;
mod verdict;
mod write;

use bytes::Bytes;

use crate::types::{ClusterId, LogId, MemberId, Vote};

pub use error::{FillError, OpenError, ReadError, WalError};
pub use log::Log;
pub use spare::Preparation;

/// The file that whoever opens a log locks before.
pub const LOCK_NAME: &str = "LOCK";

/// One entry, as the log sees it: it never looks into the payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawEntry {
    pub log_id: LogId,
    /// What the payload is; the caller's business.
    pub kind: u8,
    pub payload: Bytes,
}

/// Whose log it is. A directory of another identity is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    pub cluster: ClusterId,
    pub member: MemberId,
}

/// An entry that is known to belong to the log and whose bytes are not (or no longer) readable here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hole {
    pub term: u64,
    pub index: u64,
}

impl Hole {
    pub fn log_id(self) -> LogId {
        LogId { term: self.term, index: self.index }
    }
}

/// Sizes. The first two shape segments made from now on; existing ones keep theirs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// Entries in a segment.
    pub slots: u32,
    /// Bytes of frames in a segment. A larger entry gets a segment of its own.
    pub data_bytes: u64,
    /// Payload bytes of the newest entries kept in memory after they are on disk.
    pub cache_bytes_max: usize,
    /// Payload bytes appended and not yet synced. More is refused.
    pub pending_bytes_max: usize,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            slots: 16 * 1024,
            data_bytes: 63 * 1024 * 1024,
            cache_bytes_max: 64 * 1024 * 1024,
            pending_bytes_max: 256 * 1024 * 1024,
        }
    }
}

/// Whether there was a log before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The directory was empty. Only a node that never ran may go on from here: one that ran has lost its vote.
    Created,
    Found,
}

/// What opening found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    pub origin: Origin,
    pub vote: Option<Vote>,
    pub purged: Option<LogId>,
    /// None if the log holds no entries.
    pub first: Option<LogId>,
    pub last: Option<LogId>,
    /// Ascending.
    pub holes: Vec<Hole>,
    /// What was wrong and is not any more, or was ignored: one sentence each, for the operator.
    pub repaired: Vec<String>,
}
