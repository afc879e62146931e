//! The commands of the harness: crash, refuse, rot.
//!
//! Corruption strikes the cache and the medium alike, as if the block had been evicted and read back.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use super::FaultyDisk;
use super::medium::{Medium, SECTOR_BYTES};

/// What a power loss leaves of the changes that were never synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrashPolicy {
    /// Nothing.
    LoseUnsynced,
    /// A random number of them, the oldest first; the last one torn at a sector.
    KeepPrefix,
    /// Any sectors and any names, in no order.
    KeepSubset,
}

/// What was asked of the disk so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskCounters {
    /// Syncs of files and directories, failed ones included.
    pub syncs: u64,
    pub bytes_written: u64,
    /// Calls that change something or make it durable.
    pub changes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SyncFault {
    Never,
    Next,
    Always,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WriteFault {
    Lost,
    Misdirected { sector: usize },
}

impl FaultyDisk {
    /// An empty disk. Equal seeds and equal calls give equal crashes.
    pub fn new(seed: u64) -> Self {
        Self { medium: Arc::new(Mutex::new(Medium::new(seed))) }
    }

    /// A disk of its own with the same content, cached and durable, and another future.
    pub fn copy(&self, seed: u64) -> Self {
        let mut medium = self.medium.lock().clone();
        medium.reseed(seed);
        Self { medium: Arc::new(Mutex::new(medium)) }
    }

    // ---- the end of a run ----

    /// Power loss. Every open handle is dead; standing faults stay.
    pub fn crash(&self, policy: CrashPolicy) {
        self.medium.lock().crash(policy);
    }

    /// The process dies, the machine lives: every open handle is dead, nothing is lost.
    pub fn kill(&self) {
        self.medium.lock().restart_process();
    }

    /// Lets `changes` more changes pass; the one after fails, and so does everything until the next crash or kill.
    pub fn power_off_after(&self, changes: u64) {
        self.medium.lock().power_left = Some(changes + 1);
    }

    // ---- refusals ----

    /// The next sync fails with EIO, and what it should have made durable is lost.
    pub fn fail_next_sync(&self) {
        self.medium.lock().sync_faults = SyncFault::Next;
    }

    pub fn fail_all_syncs(&self) {
        self.medium.lock().sync_faults = SyncFault::Always;
    }

    /// Every write fails with this error number, from the operating system's list.
    pub fn fail_writes(&self, error_number: i32) {
        self.medium.lock().write_error = Some(error_number);
    }

    /// Writes that would take the sum of all file lengths past this fail with ENOSPC.
    /// Says that `dir` lies on a file system of its own, with so much room.
    pub fn set_free_bytes(&self, dir: &Path, bytes: u64) {
        self.medium.lock().free_bytes.insert(dir.to_owned(), bytes);
    }

    pub fn set_capacity_bytes(&self, bytes: u64) {
        self.medium.lock().capacity_bytes = bytes;
    }

    /// Reads that touch these bytes, widened to whole sectors, fail with EIO until the sectors are written over.
    pub fn fail_reads(&self, path: &Path, range: Range<u64>) {
        self.with_file(path, |file| {
            let first = range.start as usize / SECTOR_BYTES;
            file.unreadable.extend(first..(range.end as usize).div_ceil(SECTOR_BYTES));
        });
    }

    /// The next write to this file is acknowledged, synced and read back, and never reaches the medium.
    pub fn lose_next_write(&self, path: &Path) {
        self.medium.lock().write_faults.insert(path.to_owned(), WriteFault::Lost);
    }

    /// The sectors of the next write to this file land at this offset, rounded down to a sector, not at their own.
    pub fn misdirect_next_write(&self, path: &Path, offset: u64) {
        let fault = WriteFault::Misdirected { sector: offset as usize / SECTOR_BYTES };
        self.medium.lock().write_faults.insert(path.to_owned(), fault);
    }

    /// Ends every standing refusal. What was lost or rotten stays so.
    pub fn heal(&self) {
        let mut medium = self.medium.lock();
        medium.sync_faults = SyncFault::Never;
        medium.write_error = None;
        medium.write_faults.clear();
        medium.capacity_bytes = 1 << 40;
        medium.power_left = None;
    }

    // ---- rot ----

    pub fn flip_bit(&self, path: &Path, offset: u64, bit: u8) {
        self.rot(path, |bytes| {
            if let Some(byte) = bytes.get_mut(offset as usize) {
                *byte ^= 1 << (bit % 8);
            }
        });
    }

    pub fn overwrite(&self, path: &Path, offset: u64, with: &[u8]) {
        self.rot(path, |bytes| {
            for (place, byte) in bytes.iter_mut().skip(offset as usize).zip(with) {
                *place = *byte;
            }
        });
    }

    pub fn zero(&self, path: &Path, range: Range<u64>) {
        let zeros = vec![0; (range.end - range.start) as usize];
        self.overwrite(path, range.start, &zeros);
    }

    /// Random bytes in place of what was there.
    pub fn junk(&self, path: &Path, range: Range<u64>) {
        let junk: Vec<u8> = {
            let mut medium = self.medium.lock();
            range.clone().map(|_| medium.below(256) as u8).collect()
        };
        self.overwrite(path, range.start, &junk);
    }

    /// Cuts the file, or grows it with zeros.
    pub fn resize(&self, path: &Path, length: u64) {
        self.rot(path, |bytes| bytes.resize(length as usize, 0));
    }

    /// The file system loses the file.
    pub fn delete(&self, path: &Path) {
        self.medium.lock().forget(path);
    }

    /// A durable file that the node did not write; replaces what was there.
    pub fn plant(&self, path: &Path, bytes: &[u8]) {
        self.medium.lock().plant(path, bytes);
    }

    // ---- looking ----

    /// The file as a read would see it, unreadable sectors included. None if there is no such file.
    pub fn contents(&self, path: &Path) -> Option<Vec<u8>> {
        let medium = self.medium.lock();
        let inode = *medium.names.get(path)?;
        Some(medium.file(inode).cache.clone())
    }

    /// The sum of all file lengths.
    pub fn used_bytes(&self) -> u64 {
        self.medium.lock().used_bytes()
    }

    pub fn counters(&self) -> DiskCounters {
        self.medium.lock().counters
    }

    fn rot(&self, path: &Path, strike: impl Fn(&mut Vec<u8>)) {
        self.with_file(path, |file| {
            strike(&mut file.cache);
            strike(&mut file.durable);
        });
    }

    /// Asserts that the file exists: a fault that hits nothing would make a test pass for nothing.
    fn with_file(&self, path: &Path, act: impl FnOnce(&mut super::medium::Inode)) {
        let mut medium = self.medium.lock();
        let inode = *medium.names.get(path).unwrap_or_else(|| panic!("no file {} to harm", path.display()));
        act(medium.file_mut(inode));
    }
}
