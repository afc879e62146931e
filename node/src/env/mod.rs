//! The outside world that a node is given: its disk. Time, tasks and chance come from [`crate::rt`].
//!
//! Everything durable passes through [`Disk`], except RocksDB's own files. There are two implementations, and one
//! suite over both: [`RealDisk`] and [`FaultyDisk`], which lives in memory and forgets, tears or refuses on command.
//!
//! Three files serve whoever tries the node out, and leave nothing in what ships: bugs that can be planted
//! ([`museum`]), marks on rare paths ([`probe`]), and what is promised to others ([`witness`]).

mod disk;
mod faulty;
mod halt;
pub mod museum;
pub mod probe;
mod real;
#[cfg(test)]
mod suite;
pub mod witness;

pub use disk::{Disk, DiskFile, DiskLock, OpenMode};
pub use faulty::{CrashPolicy, DiskCounters, FaultyDisk};
pub use halt::Halt;
pub use real::{RealDisk, exit_now, open_to_append};
pub(crate) use {museum::planted, probe::sometimes};
