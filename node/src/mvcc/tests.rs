//! What the tests of mvcc, and of the layers above it, stand on.

use std::path::Path;
use std::sync::Arc;

use crate::env::FaultyDisk;
use crate::storage::{Engine, EngineFactory, MemoryEngineFactory};

/// An empty state in memory.
pub(crate) fn engine() -> Arc<dyn Engine> {
    let disk = Arc::new(FaultyDisk::new(0));
    MemoryEngineFactory::new(disk).open(Path::new("/state")).unwrap()
}
