//! Where the applied state lives: an ordered key space in columns, written in atomic batches.
//!
//! ```text
//!   mvcc / lease / state
//!          |  reads through a View, writes one Batch per apply
//!        Engine ------------------ storage/suite.rs: one suite over both
//!        /     \
//!   RocksEngine  MemoryEngine
//!        \     /
//!         Store                    which directory is the state; installs, checkpoints
//! ```
//!
//! - A [`Batch`] is all or nothing, and becomes visible as one.
//! - A [`View`] sees the end of one batch and nothing later, for as long as it lives. Views are short: never held
//!   across an await or a write (the memory engine would wait for it).
//! - Neither engine has a write-ahead log. After a crash the engine is at some earlier batch, at least the last one
//!   before [`Engine::flush`] returned, and all columns agree on which. The Raft log replays the rest: that is why the
//!   applied index is written in the same batch as the effects.
//! - [`Store`] is what a node opens. A received state takes the place of the old one at once or not at all.
//! - [`Column`] is THE on-disk map: every key and value shape of the state is written down there.

mod batch;
mod column;
mod engine;
mod format;
mod generation;
mod image;
mod manifest;
mod memory;
mod recent;
mod replace;
#[cfg(not(madsim))]
mod rocks;
mod store;
#[cfg(all(test, not(madsim)))]
mod suite;

pub use batch::{Batch, BatchOp};
pub use column::Column;
pub use engine::{CheckpointFile, Engine, EngineError, EngineFactory, Scan, Usage, View};
pub use manifest::{CheckpointManifest, FileDigest, ManifestError, ManifestFile};
pub use memory::MemoryEngineFactory;
pub use recent::{Recent, Written};
#[cfg(not(madsim))]
pub use rocks::{RocksEngineFactory, RocksLimits};
pub use store::{CheckpointError, Store};
