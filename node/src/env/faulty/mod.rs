//! A disk in memory that forgets, tears, rots or refuses on command.
//!
//! It gives exactly what fsync gives on a real machine, and nothing more:
//!
//! ```text
//!   write, set_len ---> cache (read by everybody) ---sync-----> medium ---crash---> cache
//!   create, rename ---> names (seen by everybody) ---sync_dir-> medium ---crash---> names
//! ```
//!
//! - What was written is visible at once and durable only after a sync; a name only after a sync of its directory.
//! - A sector of 512 bytes is atomic: after a crash it holds its old content or its new one, never a mix.
//! - A failed sync drops what was dirty for ever: the cache still shows it, no later sync brings it down (as Linux
//!   does: "Can Applications Recover from fsync Failures?", ATC'20).
//! - A handle opened before a crash only returns errors.
//!
//! The harness holds a clone, so the medium survives the node. Everything random comes from the seed.

mod inject;
mod medium;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

pub use inject::{CrashPolicy, DiskCounters};
use medium::{Medium, NameChange};

use super::{Disk, DiskFile, DiskLock, OpenMode};

/// A handle; clones share the medium.
#[derive(Clone, Debug)]
pub struct FaultyDisk {
    medium: Arc<Mutex<Medium>>,
}

fn not_found(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("{}: no such file or directory", path.display()))
}

fn parent_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

impl Disk for FaultyDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let mut medium = self.medium.lock();
        let inode = match (medium.names.get(path).copied(), mode) {
            (Some(_), OpenMode::CreateNew) => {
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("{}: exists", path.display())));
            }
            (None, OpenMode::Read | OpenMode::ReadWrite) => return Err(not_found(path)),
            (Some(inode), _) => {
                medium.power()?;
                inode
            }
            (None, OpenMode::CreateNew) => {
                medium.spend()?;
                if !medium.is_dir(parent_of(path)) {
                    return Err(not_found(parent_of(path)));
                }
                medium.create(path)
            }
        };
        medium.hold(inode);
        let file = FaultyFile {
            medium: Arc::clone(&self.medium),
            path: path.to_owned(),
            inode,
            generation: medium.generation,
            writable: mode != OpenMode::Read,
        };
        Ok(Arc::new(file))
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut medium = self.medium.lock();
        medium.spend()?;
        medium.create_dirs(dir);
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let medium = self.medium.lock();
        medium.power()?;
        if !medium.is_dir(dir) {
            return Err(not_found(dir));
        }
        let inside = medium.names.keys().chain(&medium.dirs).filter(|path| path.parent() == Some(dir));
        let mut names: Vec<String> =
            inside.filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned())).collect();
        names.sort();
        Ok(names)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let medium = self.medium.lock();
        medium.power()?;
        Ok(medium.names.contains_key(path) || medium.is_dir(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut medium = self.medium.lock();
        medium.spend()?;
        if !medium.is_dir(parent_of(to)) {
            return Err(not_found(parent_of(to)));
        }
        if medium.is_dir(from) {
            if medium.names.contains_key(to) || medium.is_dir(to) {
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("{}: exists", to.display())));
            }
            medium.change_name(NameChange::RenameDir { from: from.to_owned(), to: to.to_owned() });
            return Ok(());
        }
        let inode = *medium.names.get(from).ok_or_else(|| not_found(from))?;
        medium.change_name(NameChange::Rename { from: from.to_owned(), to: to.to_owned(), inode });
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut medium = self.medium.lock();
        medium.spend()?;
        if !medium.names.contains_key(path) {
            return Err(not_found(path));
        }
        medium.change_name(NameChange::Unlink { path: path.to_owned() });
        Ok(())
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut medium = self.medium.lock();
        medium.spend()?;
        if !medium.is_dir(dir) {
            return Err(not_found(dir));
        }
        let files: Vec<PathBuf> = medium.names.keys().filter(|path| path.starts_with(dir)).cloned().collect();
        for path in files {
            medium.change_name(NameChange::Unlink { path });
        }
        let dirs: Vec<PathBuf> = medium.dirs.iter().filter(|path| path.starts_with(dir)).cloned().collect();
        for path in dirs.into_iter().rev() {
            medium.change_name(NameChange::RemoveDir { path });
        }
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut medium = self.medium.lock();
        medium.spend()?;
        if !medium.is_dir(dir) {
            return Err(not_found(dir));
        }
        medium.counters.syncs += 1;
        medium.sync_fault()?;
        medium.sync_names(dir);
        Ok(())
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        let medium = self.medium.lock();
        medium.power()?;
        if let Some(free) = medium.free_bytes.get(dir) {
            return Ok(*free);
        }
        Ok(medium.capacity_bytes.saturating_sub(medium.used_bytes()))
    }

    fn lock(&self, path: &Path) -> io::Result<Arc<dyn DiskLock>> {
        let mut medium = self.medium.lock();
        medium.power()?;
        if medium.locks.get(path).is_some_and(|holder| holder.strong_count() > 0) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let lock = Arc::new(FaultyLock);
        medium.locks.insert(path.to_owned(), Arc::downgrade(&lock));
        Ok(lock)
    }
}

/// Held until it is dropped, or until the machine crashes.
#[derive(Debug)]
pub(super) struct FaultyLock;

impl DiskLock for FaultyLock {}

#[derive(Debug)]
struct FaultyFile {
    medium: Arc<Mutex<Medium>>,
    path: PathBuf,
    inode: u64,
    /// The medium's generation when this was opened. Another one means that the machine crashed in between.
    generation: u64,
    writable: bool,
}

impl FaultyFile {
    fn check(&self, medium: &Medium) -> io::Result<()> {
        if self.generation != medium.generation {
            return Err(io::Error::other(format!("{}: this handle is from before the crash", self.path.display())));
        }
        medium.power()
    }

    fn check_write(&self, medium: &mut Medium) -> io::Result<()> {
        self.check(medium)?;
        if !self.writable {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "opened for reading only"));
        }
        medium.spend()?;
        medium.write_fault()
    }
}

impl DiskFile for FaultyFile {
    fn len(&self) -> io::Result<u64> {
        let medium = self.medium.lock();
        self.check(&medium)?;
        Ok(medium.file(self.inode).cache.len() as u64)
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let medium = self.medium.lock();
        self.check(&medium)?;
        medium.read(self.inode, buffer, offset)
    }

    fn write_all_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        let mut medium = self.medium.lock();
        self.check_write(&mut medium)?;
        medium.write(&self.path, self.inode, data, offset)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut medium = self.medium.lock();
        self.check_write(&mut medium)?;
        medium.set_len(self.inode, length)
    }

    fn sync(&self) -> io::Result<()> {
        let mut medium = self.medium.lock();
        self.check(&medium)?;
        medium.spend()?;
        medium.counters.syncs += 1;
        if let Err(error) = medium.sync_fault() {
            medium.drop_dirty(self.inode);
            return Err(error);
        }
        medium.sync_file(self.inode);
        Ok(())
    }
}

impl Drop for FaultyFile {
    fn drop(&mut self) {
        let mut medium = self.medium.lock();
        if self.generation == medium.generation {
            medium.release(self.inode);
        }
    }
}

#[cfg(test)]
mod tests;
