//! The disk of a real machine. With `storage/rocks.rs`, the only file of the node that touches the file system.
#![allow(clippy::disallowed_methods, reason = "this is the replacement that the ban names")]

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use super::{Disk, DiskFile, DiskLock, OpenMode};

/// Stateless: paths go to the operating system as they are.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

/// The error as it came, with the path in front: the operating system never says which file it meant.
fn named(path: &Path, error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        // Callers ask for the code (EIO is rot, ENOSPC is a state of the node), so it must survive.
        Some(code) => {
            tracing::debug!(path = %path.display(), code, "disk call failed");
            io::Error::from_raw_os_error(code)
        }
        None => io::Error::new(error.kind(), format!("{}: {error}", path.display())),
    }
}

impl Disk for RealDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true);
        match mode {
            OpenMode::Read => {}
            OpenMode::ReadWrite => {
                options.write(true);
            }
            OpenMode::CreateNew => {
                options.write(true).create_new(true);
            }
        }
        let file = options.open(path).map_err(|error| named(path, &error))?;
        Ok(Arc::new(RealFile { file }))
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let missing: Vec<&Path> =
            dir.ancestors().take_while(|dir| !dir.as_os_str().is_empty() && !dir.is_dir()).collect();
        fs::create_dir_all(dir).map_err(|error| named(dir, &error))?;
        // Each new name lives in its parent, so the parents are what must be synced.
        for created in missing {
            match created.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => self.sync_dir(parent)?,
                _ => self.sync_dir(Path::new("."))?,
            }
        }
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir).map_err(|error| named(dir, &error))? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        path.try_exists()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to).map_err(|error| named(from, &error))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path).map_err(|error| named(path, &error))
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        fs::remove_dir_all(dir).map_err(|error| named(dir, &error))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(|error| named(dir, &error))
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        let usage = rustix::fs::statvfs(dir)?;
        Ok(usage.f_bavail.saturating_mul(usage.f_frsize))
    }

    fn lock(&self, path: &Path) -> io::Result<Arc<dyn DiskLock>> {
        // Reading is enough to lock it, so that whoever may not write is told by what it cannot read.
        let opened = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
            }
            opened => opened,
        };
        let file = opened.map_err(|error| named(path, &error))?;
        rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive)?;
        Ok(Arc::new(RealLock { _file: file }))
    }
}

/// The operating system frees the lock when the file is closed, however the process ends.
#[derive(Debug)]
struct RealLock {
    _file: File,
}

impl DiskLock for RealLock {}

#[derive(Debug)]
struct RealFile {
    file: File,
}

impl DiskFile for RealFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    fn write_all_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(data, offset)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

/// A file that is written at its end, for the log. It is no part of what the node keeps: it need not be made to fail.
pub fn open_to_append(path: &Path) -> io::Result<File> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    OpenOptions::new().create(true).append(true).open(path).map_err(named)
}

/// Ends the process at once, without the C++ library's clean-up: RocksDB's threads still use what that would take away,
/// and the process would end with an abort instead of its exit code. Whatever must survive is on disk by now.
#[expect(unsafe_code, reason = "the standard library only knows the exit that cleans up")]
pub fn exit_now(code: u8) -> ! {
    // SAFETY: `_exit` takes any number, and touches no memory of ours.
    unsafe { libc::_exit(i32::from(code)) }
}
