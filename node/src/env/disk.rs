//! The seam to the disk.
//!
//! All calls block and are made off the async threads. Nothing is durable before it is synced: bytes by
//! [`DiskFile::sync`], names (created, renamed, removed) by [`Disk::sync_dir`]. A caller that ignores either is
//! caught by the faulty disk, which drops at a crash what was never synced.

use std::fmt::Debug;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// How [`Disk::open`] treats a file that is there, or is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// It must exist; writes are refused.
    Read,
    /// It must exist.
    ReadWrite,
    /// It must not exist.
    CreateNew,
}

/// One directory tree that survives a restart. Paths are absolute on a real machine; the faulty disk takes any.
pub trait Disk: Debug + Send + Sync + 'static {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>>;

    /// Creates the directory and its parents; their names are durable when this returns.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;

    /// Names (not paths) of the files and directories in `dir`, sorted.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    fn exists(&self, path: &Path) -> io::Result<bool>;

    /// Replaces `to` if it exists. Durable after [`Disk::sync_dir`] of the parent.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    fn remove_file(&self, path: &Path) -> io::Result<()>;

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()>;

    /// Makes the names in `dir` durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Bytes free for an ordinary user on the file system that holds `dir`.
    fn free_bytes(&self, dir: &Path) -> io::Result<u64>;

    /// Takes the file at `path` (made if it is not there) for as long as the value lives. `WouldBlock` if somebody,
    /// in this process or another one, has it. Whatever ends the holder frees it.
    fn lock(&self, path: &Path) -> io::Result<Arc<dyn DiskLock>>;
}

/// A file that was locked. Dropping it frees the file.
pub trait DiskLock: Debug + Send + Sync {}

/// An open file. Reads and writes name their offset, so that threads can share it.
pub trait DiskFile: Debug + Send + Sync {
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;

    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Fills `buffer` or fails with `UnexpectedEof`.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;

    /// Writes all of `data`; the file grows as needed.
    fn write_all_at(&self, data: &[u8], offset: u64) -> io::Result<()>;

    /// Cuts or grows the file; what is added reads as zeros.
    fn set_len(&self, length: u64) -> io::Result<()>;

    /// Makes everything written so far durable, the length included (`fdatasync`).
    fn sync(&self) -> io::Result<()>;
}
