//! Replaces a file so that a crash leaves the old one or the new one, never a mixture: temporary file, sync, rename,
//! sync of the directory.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use crate::env::{Disk, DiskFile, OpenMode, planted};

/// What an unfinished replacement is called. Whoever owns the directory removes it when it opens.
pub(super) const TEMPORARY_SUFFIX: &str = ".tmp";

/// Where the new contents of `path` grow until they are complete.
pub(super) fn temporary(path: &Path) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(TEMPORARY_SUFFIX);
    PathBuf::from(name)
}

/// Lets `fill` write the new file and puts it in place of `path`, durably.
///
/// When `fill` or the disk fails before the rename the old file stands, and the temporary one is removed as far as the
/// disk still obeys: on a full disk it is the temporary file that holds the last of the space.
pub(super) fn replace_file(
    disk: &dyn Disk,
    path: &Path,
    fill: impl FnOnce(&dyn DiskFile) -> io::Result<()>,
) -> io::Result<()> {
    let temporary = temporary(path);
    remove_file_if_exists(disk, &temporary)?;
    let written = write_new_file(disk, &temporary, fill).and_then(|()| disk.rename(&temporary, path));
    if let Err(error) = written {
        let _ = disk.remove_file(&temporary);
        return Err(error);
    }
    disk.sync_dir(parent(path)?)
}

/// Lets `fill` write a file that must not exist, and syncs its bytes; its name is not durable yet.
pub(super) fn write_new_file(
    disk: &dyn Disk,
    path: &Path,
    fill: impl FnOnce(&dyn DiskFile) -> io::Result<()>,
) -> io::Result<()> {
    let file = disk.open(path, OpenMode::CreateNew)?;
    fill(&*file)?;
    if planted!(StateFileNotSynced) { Ok(()) } else { file.sync() }
}

/// For a file that a crash may have left, or not.
pub(super) fn remove_file_if_exists(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    if disk.exists(path)? { disk.remove_file(path) } else { Ok(()) }
}

/// The directory whose sync makes the name of `path` durable.
pub(super) fn parent(path: &Path) -> io::Result<&Path> {
    path.parent()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, format!("{} is in no directory", path.display())))
}
