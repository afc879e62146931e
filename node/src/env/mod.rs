//! The outside world that a node is given: its disk. Time, tasks and chance come from [`crate::rt`].
//!
//! Everything durable passes through [`Disk`], except RocksDB's own files. There are two implementations, and one
//! suite over both: [`RealDisk`] and [`FaultyDisk`], which lives in memory and forgets, tears or refuses on command.

mod disk;
mod faulty;
mod halt;
mod real;
#[cfg(test)]
mod suite;

pub use disk::{Disk, DiskFile, OpenMode};
pub use faulty::{CrashPolicy, DiskCounters, FaultyDisk};
pub use halt::Halt;
pub use real::{RealDisk, exit_now, open_to_append};
