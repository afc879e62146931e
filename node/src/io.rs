//! What a node is given: its disk, its engine, and the way it ends.
//!
//! A real node gets files, RocksDB and the process' exit; a simulated one a faulty disk, the memory engine and a note
//! to the harness. Nothing else differs between the two.

use std::sync::Arc;

use crate::env::{Disk, Halt};
use crate::storage::EngineFactory;

/// The outside world of one node. Time, tasks and connections come from [`crate::rt`].
#[derive(Clone, Debug)]
pub struct Io {
    pub disk: Arc<dyn Disk>,
    pub engines: Arc<dyn EngineFactory>,
    pub halt: Halt,
}

#[cfg(not(madsim))]
impl Io {
    /// Files, RocksDB, and an exit of the process when the node must not go on.
    pub fn real() -> Self {
        use crate::env::{RealDisk, exit_now};
        use crate::storage::RocksEngineFactory;

        Self {
            disk: Arc::new(RealDisk),
            engines: Arc::new(RocksEngineFactory::default()),
            halt: Halt::new(|_reason| exit_now(EXIT_HALTED)),
        }
    }
}

/// The exit code of a process whose node must not go on: a failed fsync, a rotten state.
pub const EXIT_HALTED: u8 = 70;
