//! Keys with a history: every write makes a new revision, and every revision since the last compaction can be read.
//!
//! ```text
//!   state/ --- Writer::put, Writer::delete ---> Overlay ---> one Batch
//!                                                  |
//!   api/, watch/ -- range, history, hash_kv --> View         Current    key        -> Head (where is the newest?)
//!                                                            History    rev        -> event with its value
//!   ops/ --------- sweep, step by step -------> Batch        Versions   key, rev   -> event without its value
//! ```
//!
//! - Nothing here writes: reads take a [`View`](crate::storage::View), writes go into an [`Overlay`], which is a view
//!   too, so that whoever writes sees what it wrote.
//! - A value is stored once, in History. Current and Versions say everything else about a key, so counting, filtering
//!   and `keys_only` never touch a value.
//! - A value never leaves this module before its checksum was compared ([`ReadError::ChecksumMismatch`]).
//! - Compaction is two things. *Logically* it is one row, `compacted`, written by apply on all members at the same
//!   place in the log; reads and [`hash_kv`] go by that row alone. *Physically* it is [`sweep`], which each member
//!   runs at its own pace and which nobody can notice.
//! - What `compacted = C` leaves of history: every event at or after C (a watch may start at C), and of each key the
//!   newest event before C, if that is a put and no event of the key stands at C. This is exactly what a read at C or
//!   later can need.

mod error;
mod event;
mod hash;
mod history;
mod horizon;
mod overlay;
mod pieces;
mod range;
mod record;
mod rows;
mod selection;
mod sweep;
mod value;
mod walk;
mod write;

#[cfg(test)]
pub(crate) mod tests;

pub use error::ReadError;
pub use event::{Event, Revisioned};
pub use hash::{HashPass, HashStep, KvHash, hash_kv};
pub use history::{HistoryChunk, history, walk_events};
pub use horizon::{Horizon, compacted, revision};
pub use overlay::Overlay;
pub use pieces::RangePieces;
pub use range::{range, range_within};
pub use record::record;
pub use rows::{EventKind, Head, Rev};
pub use sweep::{SweepStep, sweep, swept};
pub use value::{Verified, prev_kv, value_at, value_of};
pub use walk::{At, head, heads, walk};
pub use write::{NewValue, Writer};
