//! The seam to the storage engine.

use std::fmt::Debug;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::{Batch, Column};

/// What an engine can fail with. Any of these takes the node into a declared state; none is retried.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A block, file or manifest failed its checksum or contradicts another.
    #[error("storage is corrupt: {detail}")]
    Corrupt { detail: String },
    #[error("no space left on the device that holds {dir}")]
    NoSpace { dir: PathBuf },
    #[error(
        "{path} has format {found}, this version reads up to {known}: run the version that wrote it, or a newer one"
    )]
    Format { path: PathBuf, found: u32, known: u32 },
    #[error("storage I/O failed: {0}")]
    Io(#[from] io::Error),
}

impl EngineError {
    /// Tells a full disk, which heals when space comes back, from a broken one.
    pub(super) fn from_io(error: io::Error, dir: &Path) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoSpace { dir: dir.to_owned() },
            _ => Self::Io(error),
        }
    }
}

/// Which part of a column a scan walks, and which way.
#[derive(Clone, Copy, Debug)]
pub struct Scan<'a> {
    /// First key of the range, included.
    pub from: &'a [u8],
    /// End of the range, not included; `None` is the end of the column.
    pub to: Option<&'a [u8]>,
    /// From the last key down to the first.
    pub backwards: bool,
}

/// A consistent picture of the state.
pub trait View {
    fn get(&self, column: Column, key: &[u8]) -> Result<Option<Bytes>, EngineError>;

    /// Calls `visit` with each key and value until it breaks or the range ends.
    #[expect(clippy::type_complexity, reason = "a name for the visitor would hide the two slices it is called with")]
    fn scan(
        &self,
        column: Column,
        scan: Scan<'_>,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), EngineError>;
}

/// Bytes an engine holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// On disk, and waiting in memory to go there.
    pub total_bytes: u64,
    /// Estimated to be still live.
    pub live_bytes: u64,
}

/// A file of a checkpoint, by its path inside the checkpoint's directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointFile {
    pub name: String,
    pub length: u64,
}

/// An open state. Object-safe on purpose: `Arc<dyn Engine>` keeps a type parameter from travelling through the node.
pub trait Engine: Debug + Send + Sync + 'static {
    fn view(&self) -> Box<dyn View + '_>;

    fn write(&self, batch: Batch) -> Result<(), EngineError>;

    /// Writes unless that would have to wait for the disk: then nothing was written, and the batch is given back. For
    /// callers that may not block.
    fn write_now(&self, batch: Batch) -> Result<Option<Batch>, EngineError>;

    /// When this returns, every batch written before the call survives a power loss.
    fn flush(&self) -> Result<(), EngineError>;

    /// Writes a complete, durable copy of the state as of now into `dir`, which must not exist. Cheap: files are
    /// shared with the live engine where they can be.
    fn checkpoint(&self, dir: &Path) -> Result<Vec<CheckpointFile>, EngineError>;

    fn usage(&self) -> Result<Usage, EngineError>;

    /// Gives space of deleted data back to the file system, on line.
    fn reclaim(&self) -> Result<(), EngineError>;

    /// Reads all that is on disk, as fast as the disk gives it, and checks it against its checksums.
    fn verify(&self) -> Result<(), EngineError>;
}

/// Opens engines. A node is given one; which kind decides where its state lives.
pub trait EngineFactory: Debug + Send + Sync + 'static {
    /// Opens the state in `dir`, or starts an empty one. A checkpoint's directory is a state's directory.
    fn open(&self, dir: &Path) -> Result<Arc<dyn Engine>, EngineError>;
}
