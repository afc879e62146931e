//! Generations: whole states, of which a pointer file names the one that counts.
//!
//! ```text
//! CURRENT-GENERATION = "HFSTATEG" (8) | version u32 = 1 | generation u64 | crc u32     24 bytes
//! ```
//!
//! Integers are little-endian. `crc` is crc32 (IEEE) over the 20 bytes before it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::env::{Disk, OpenMode};

use super::replace::replace_file;
use super::{Batch, CheckpointFile, Engine, EngineError, Usage, View};

pub(super) const POINTER: &str = "CURRENT-GENERATION";

const MAGIC: &[u8; 8] = b"HFSTATEG";
const VERSION: u32 = 1;
const POINTER_BYTES: usize = 24;

/// The name of a generation's directory.
pub(super) fn directory_name(generation: u64) -> String {
    format!("{generation:020}")
}

/// The generation whose directory has this name, if it is one's.
pub(super) fn generation_of(name: &str) -> Option<u64> {
    name.parse().ok().filter(|&generation| directory_name(generation) == name)
}

/// Makes `generation` the one that counts, durably.
pub(super) fn write_pointer(disk: &dyn Disk, state: &Path, generation: u64) -> Result<(), EngineError> {
    let mut bytes = Vec::with_capacity(POINTER_BYTES);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&generation.to_le_bytes());
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
    replace_file(disk, &state.join(POINTER), |file| file.write_all_at(&bytes, 0))
        .map_err(|error| EngineError::from_io(error, state))
}

pub(super) fn read_pointer(disk: &dyn Disk, state: &Path) -> Result<u64, EngineError> {
    let path = state.join(POINTER);
    let corrupt = |what: &str| EngineError::Corrupt { detail: format!("{} {what}", path.display()) };
    if !disk.exists(&path)? {
        return Err(corrupt("is gone, so that nothing tells which generation of the state counts"));
    }
    let file = disk.open(&path, OpenMode::Read)?;
    if file.len()? != POINTER_BYTES as u64 {
        return Err(corrupt("has the wrong length"));
    }
    let mut bytes = [0; POINTER_BYTES];
    file.read_exact_at(&mut bytes, 0)?;
    let (covered, crc) = bytes.split_at(POINTER_BYTES - 4);
    if covered[..8] != *MAGIC || crc != crc32fast::hash(covered).to_le_bytes() {
        return Err(corrupt("fails its checksum"));
    }
    let version = u32::from_le_bytes(covered[8..12].try_into().expect("four bytes"));
    if version != VERSION {
        return Err(EngineError::Format { path, found: version, known: VERSION });
    }
    Ok(u64::from_le_bytes(covered[12..].try_into().expect("eight bytes")))
}

/// An open generation. Its directory is removed when it has been retired *and* the last user has let go of it: until
/// then RocksDB holds its lock and writes into it.
#[derive(Debug)]
pub(super) struct Generation {
    /// Declared before `directory`, so that it is closed before that goes.
    engine: Arc<dyn Engine>,
    directory: Directory,
}

#[derive(Debug)]
struct Directory {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    retired: AtomicBool,
}

impl Generation {
    pub(super) fn new(engine: Arc<dyn Engine>, disk: Arc<dyn Disk>, path: PathBuf) -> Self {
        assert_eq!(Arc::strong_count(&engine), 1, "nobody else may keep the engine open");
        Self { engine, directory: Directory { disk, path, retired: AtomicBool::new(false) } }
    }

    /// Called once the pointer durably names another generation.
    pub(super) fn retire(&self) {
        self.directory.retired.store(true, Ordering::Release);
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if !self.retired.load(Ordering::Acquire) {
            return;
        }
        if let Err(error) = self.disk.remove_dir_all(&self.path) {
            // The next start removes it.
            tracing::warn!(dir = %self.path.display(), %error, "an old generation of the state could not be removed");
        }
    }
}

impl Engine for Generation {
    fn view(&self) -> Box<dyn View + '_> {
        self.engine.view()
    }

    fn write(&self, batch: Batch) -> Result<(), EngineError> {
        self.engine.write(batch)
    }

    fn write_now(&self, batch: Batch) -> Result<Option<Batch>, EngineError> {
        self.engine.write_now(batch)
    }

    fn flush(&self) -> Result<(), EngineError> {
        self.engine.flush()
    }

    fn checkpoint(&self, dir: &Path) -> Result<Vec<CheckpointFile>, EngineError> {
        self.engine.checkpoint(dir)
    }

    fn usage(&self) -> Result<Usage, EngineError> {
        self.engine.usage()
    }

    fn reclaim(&self) -> Result<(), EngineError> {
        self.engine.reclaim()
    }

    fn verify(&self) -> Result<(), EngineError> {
        self.engine.verify()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directory_names_read_back_and_sort_like_numbers() {
        assert_eq!(generation_of(&directory_name(7)), Some(7));
        assert!(directory_name(9) < directory_name(10));
        for name in ["7", "", "x", "CURRENT-GENERATION", "0000000000000000007x"] {
            assert_eq!(generation_of(name), None, "{name}");
        }
    }
}
