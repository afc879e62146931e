//! What the faulty disk is made of: files with a cached and a durable side, names likewise, and the changes between.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Weak;

use super::inject::{CrashPolicy, DiskCounters, SyncFault, WriteFault};
use super::{FaultyLock, parent_of};

/// What the medium writes as one.
pub(super) const SECTOR_BYTES: usize = 512;

/// A file's content, apart from its names.
#[derive(Clone, Debug, Default)]
pub(super) struct Inode {
    /// What reads see.
    pub cache: Vec<u8>,
    /// What a crash leaves.
    pub durable: Vec<u8>,
    /// Sectors that cannot be read. Writing one as a whole brings it back, as a real drive remaps it.
    pub unreadable: BTreeSet<usize>,
    /// Open files; the content outlives its last name while there are some.
    handles: usize,
}

#[derive(Clone, Debug)]
pub(super) enum NameChange {
    Link {
        path: PathBuf,
        inode: u64,
    },
    Unlink {
        path: PathBuf,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
        inode: u64,
    },
    /// What is inside keeps its own durability: names that were not synced before are lost with a crash.
    RenameDir {
        from: PathBuf,
        to: PathBuf,
    },
    RemoveDir {
        path: PathBuf,
    },
}

impl NameChange {
    fn touches(&self, dir: &Path) -> bool {
        match self {
            NameChange::Link { path, .. } | NameChange::Unlink { path } | NameChange::RemoveDir { path } => {
                parent_of(path) == dir
            }
            NameChange::Rename { from, to, .. } | NameChange::RenameDir { from, to } => {
                parent_of(from) == dir || parent_of(to) == dir
            }
        }
    }

    fn apply(&self, names: &mut BTreeMap<PathBuf, u64>, dirs: &mut BTreeSet<PathBuf>) {
        match self {
            NameChange::Link { path, inode } => {
                names.insert(path.clone(), *inode);
            }
            NameChange::Unlink { path } => {
                names.remove(path);
            }
            NameChange::Rename { from, to, inode } => {
                if names.get(from) == Some(inode) {
                    names.remove(from);
                }
                names.insert(to.clone(), *inode);
            }
            NameChange::RenameDir { from, to } => {
                let moved = |path: &PathBuf| match path.strip_prefix(from) {
                    Ok(rest) if rest.as_os_str().is_empty() => Some(to.clone()),
                    Ok(rest) => Some(to.join(rest)),
                    Err(_outside) => None,
                };
                let moved_name =
                    |(path, inode): (&PathBuf, &u64)| (moved(path).unwrap_or_else(|| path.clone()), *inode);
                *names = names.iter().map(moved_name).collect();
                *dirs = dirs.iter().map(|path| moved(path).unwrap_or_else(|| path.clone())).collect();
            }
            NameChange::RemoveDir { path } => {
                dirs.remove(path);
            }
        }
    }
}

/// A change that is not durable yet.
#[derive(Clone, Debug)]
pub(super) enum Change {
    /// Whole sectors as the cache held them after the write; the last may be short, at the file's end.
    Write {
        inode: u64,
        sector: usize,
        bytes: Vec<u8>,
    },
    Length {
        inode: u64,
        length: usize,
    },
    Name(NameChange),
}

impl Change {
    fn of(&self, wanted: u64) -> bool {
        match self {
            Change::Write { inode, .. } | Change::Length { inode, .. } => *inode == wanted,
            Change::Name(_) => false,
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Medium {
    inodes: BTreeMap<u64, Inode>,
    next_inode: u64,
    pub names: BTreeMap<PathBuf, u64>,
    durable_names: BTreeMap<PathBuf, u64>,
    pub dirs: BTreeSet<PathBuf>,
    durable_dirs: BTreeSet<PathBuf>,
    /// In the order in which they were made.
    unsynced: Vec<Change>,
    /// Counts crashes and kills.
    pub generation: u64,
    chance: u64,
    pub counters: DiskCounters,
    pub capacity_bytes: u64,
    /// Free space of directories that lie on file systems of their own.
    pub free_bytes: BTreeMap<PathBuf, u64>,
    /// Changes left until the power goes; none means that it stays.
    pub power_left: Option<u64>,
    pub sync_faults: SyncFault,
    /// The error number that every write fails with.
    pub write_error: Option<i32>,
    pub write_faults: BTreeMap<PathBuf, WriteFault>,
    /// Who holds which file. Gone when the process dies.
    pub locks: BTreeMap<PathBuf, Weak<FaultyLock>>,
}

impl Medium {
    pub fn new(seed: u64) -> Self {
        let roots = BTreeSet::from([PathBuf::from(""), PathBuf::from("/")]);
        Self {
            inodes: BTreeMap::new(),
            next_inode: 0,
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            durable_dirs: roots.clone(),
            dirs: roots,
            unsynced: Vec::new(),
            generation: 0,
            chance: seed,
            counters: DiskCounters::default(),
            capacity_bytes: 1 << 40,
            free_bytes: BTreeMap::new(),
            power_left: None,
            sync_faults: SyncFault::Never,
            write_error: None,
            write_faults: BTreeMap::new(),
            locks: BTreeMap::new(),
        }
    }

    pub fn reseed(&mut self, seed: u64) {
        self.chance = seed;
    }

    /// A number below `bound`, from the seed (SplitMix64; Steele, Lea, Flood 2014).
    pub fn below(&mut self, bound: usize) -> usize {
        self.chance = self.chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.chance;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound.max(1) as u64) as usize
    }

    // ---- power and refusals ----

    pub fn power(&self) -> io::Result<()> {
        match self.power_left {
            Some(0) => Err(io::Error::other("the power is off")),
            _ => Ok(()),
        }
    }

    /// Every change costs one; the power goes when the budget is spent.
    pub fn spend(&mut self) -> io::Result<()> {
        self.power()?;
        self.counters.changes += 1;
        if let Some(left) = &mut self.power_left {
            *left -= 1;
        }
        self.power()
    }

    pub fn write_fault(&self) -> io::Result<()> {
        self.write_error.map_or(Ok(()), |code| Err(io::Error::from_raw_os_error(code)))
    }

    pub fn sync_fault(&mut self) -> io::Result<()> {
        match self.sync_faults {
            SyncFault::Never => return Ok(()),
            SyncFault::Next => self.sync_faults = SyncFault::Never,
            SyncFault::Always => {}
        }
        Err(io::Error::from_raw_os_error(rustix::io::Errno::IO.raw_os_error()))
    }

    // ---- files ----

    pub fn file(&self, inode: u64) -> &Inode {
        self.inodes.get(&inode).expect("an inode lives as long as a name or a handle refers to it")
    }

    pub fn file_mut(&mut self, inode: u64) -> &mut Inode {
        self.inodes.get_mut(&inode).expect("an inode lives as long as a name or a handle refers to it")
    }

    pub fn used_bytes(&self) -> u64 {
        self.inodes.values().map(|file| file.cache.len() as u64).sum()
    }

    fn room_for(&self, more: usize) -> io::Result<()> {
        if more > 0 && self.used_bytes() + more as u64 > self.capacity_bytes {
            return Err(io::Error::from_raw_os_error(rustix::io::Errno::NOSPC.raw_os_error()));
        }
        Ok(())
    }

    pub fn hold(&mut self, inode: u64) {
        self.file_mut(inode).handles += 1;
    }

    pub fn release(&mut self, inode: u64) {
        self.file_mut(inode).handles -= 1;
        self.collect();
    }

    /// Forgets content that nothing can reach any more.
    fn collect(&mut self) {
        let mut reachable: BTreeSet<u64> = self.names.values().chain(self.durable_names.values()).copied().collect();
        reachable.extend(self.unsynced.iter().filter_map(|change| match change {
            Change::Name(NameChange::Link { inode, .. } | NameChange::Rename { inode, .. }) => Some(*inode),
            _ => None,
        }));
        self.inodes.retain(|inode, file| file.handles > 0 || reachable.contains(inode));
        let inodes = &self.inodes;
        self.unsynced.retain(|change| match change {
            Change::Write { inode, .. } | Change::Length { inode, .. } => inodes.contains_key(inode),
            Change::Name(_) => true,
        });
    }

    pub fn read(&self, inode: u64, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let file = self.file(inode);
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let end = start.saturating_add(buffer.len());
        let Some(bytes) = file.cache.get(start..end) else {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "read past the end of the file"));
        };
        if file.unreadable.range(start / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES)).next().is_some() {
            return Err(io::Error::from_raw_os_error(rustix::io::Errno::IO.raw_os_error()));
        }
        buffer.copy_from_slice(bytes);
        Ok(())
    }

    pub fn write(&mut self, path: &Path, inode: u64, data: &[u8], offset: u64) -> io::Result<()> {
        if data.is_empty() {
            return Ok(());
        }
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let end = start + data.len();
        let grows = end.saturating_sub(self.file(inode).cache.len());
        self.room_for(grows)?;
        self.mend(inode, start, end)?;
        self.counters.bytes_written += data.len() as u64;
        let file = self.file_mut(inode);
        if grows > 0 {
            file.cache.resize(end, 0);
        }
        file.cache[start..end].copy_from_slice(data);
        let sector = start / SECTOR_BYTES;
        let reach = (end.div_ceil(SECTOR_BYTES) * SECTOR_BYTES).min(file.cache.len());
        let bytes = file.cache[sector * SECTOR_BYTES..reach].to_vec();
        match self.write_faults.remove(path) {
            None => self.unsynced.push(Change::Write { inode, sector, bytes }),
            Some(WriteFault::Lost) => {}
            Some(WriteFault::Misdirected { sector }) => self.unsynced.push(Change::Write { inode, sector, bytes }),
        }
        Ok(())
    }

    /// A write of part of an unreadable sector has to read the rest first, and fails; a write of all of it mends it.
    fn mend(&mut self, inode: u64, start: usize, end: usize) -> io::Result<()> {
        let file = self.file_mut(inode);
        let touched = start / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES);
        let bad: Vec<usize> = file.unreadable.range(touched).copied().collect();
        if bad.iter().any(|sector| sector * SECTOR_BYTES < start || (sector + 1) * SECTOR_BYTES > end) {
            return Err(io::Error::from_raw_os_error(rustix::io::Errno::IO.raw_os_error()));
        }
        for sector in bad {
            file.unreadable.remove(&sector);
        }
        Ok(())
    }

    pub fn set_len(&mut self, inode: u64, length: u64) -> io::Result<()> {
        let length = usize::try_from(length).map_err(io::Error::other)?;
        self.room_for(length.saturating_sub(self.file(inode).cache.len()))?;
        self.file_mut(inode).cache.resize(length, 0);
        self.unsynced.push(Change::Length { inode, length });
        Ok(())
    }

    pub fn sync_file(&mut self, inode: u64) {
        let (mine, others) = std::mem::take(&mut self.unsynced).into_iter().partition(|change| change.of(inode));
        self.unsynced = others;
        for change in mine {
            self.make_durable(change);
        }
    }

    /// After a failed sync: clean in the eyes of the cache, and never written.
    pub fn drop_dirty(&mut self, inode: u64) {
        self.unsynced.retain(|change| !change.of(inode));
    }

    fn make_durable(&mut self, change: Change) {
        match change {
            Change::Write { inode, sector, bytes } => {
                let Some(file) = self.inodes.get_mut(&inode) else { return };
                let start = sector * SECTOR_BYTES;
                let end = start + bytes.len();
                if file.durable.len() < end {
                    file.durable.resize(end, 0);
                }
                file.durable[start..end].copy_from_slice(&bytes);
            }
            Change::Length { inode, length } => {
                if let Some(file) = self.inodes.get_mut(&inode) {
                    file.durable.resize(length, 0);
                }
            }
            Change::Name(change) => change.apply(&mut self.durable_names, &mut self.durable_dirs),
        }
    }

    // ---- names ----

    pub fn is_dir(&self, path: &Path) -> bool {
        self.dirs.contains(path)
    }

    pub fn create(&mut self, path: &Path) -> u64 {
        let inode = self.next_inode;
        self.next_inode += 1;
        self.inodes.insert(inode, Inode::default());
        self.change_name(NameChange::Link { path: path.to_owned(), inode });
        inode
    }

    /// Directories appear durably: [`super::Disk::create_dir_all`] promises it.
    pub fn create_dirs(&mut self, dir: &Path) {
        for dir in dir.ancestors() {
            self.dirs.insert(dir.to_owned());
            self.durable_dirs.insert(dir.to_owned());
        }
    }

    pub fn change_name(&mut self, change: NameChange) {
        change.apply(&mut self.names, &mut self.dirs);
        self.unsynced.push(Change::Name(change));
        self.collect();
    }

    pub fn sync_names(&mut self, dir: &Path) {
        let (mine, others) = std::mem::take(&mut self.unsynced)
            .into_iter()
            .partition(|change| matches!(change, Change::Name(name) if name.touches(dir)));
        self.unsynced = others;
        for change in mine {
            self.make_durable(change);
        }
        self.collect();
    }

    /// Removes a name from both sides: the file system lost it.
    pub fn forget(&mut self, path: &Path) {
        self.names.remove(path);
        self.durable_names.remove(path);
        self.unsynced
            .retain(|change| !matches!(change, Change::Name(NameChange::Link { path: named, .. }) if named == path));
        self.collect();
    }

    /// Puts a durable file in place.
    pub fn plant(&mut self, path: &Path, bytes: &[u8]) {
        self.create_dirs(parent_of(path));
        let inode = self.create(path);
        self.durable_names.insert(path.to_owned(), inode);
        let file = self.file_mut(inode);
        file.cache = bytes.to_vec();
        file.durable = bytes.to_vec();
    }

    // ---- the end of a run ----

    pub fn crash(&mut self, policy: CrashPolicy) {
        let unsynced = std::mem::take(&mut self.unsynced);
        match policy {
            CrashPolicy::LoseUnsynced => {}
            CrashPolicy::KeepPrefix => {
                let kept = self.below(unsynced.len() + 1);
                for (place, change) in unsynced.into_iter().enumerate() {
                    match change {
                        change if place < kept => self.make_durable(change),
                        Change::Write { inode, sector, mut bytes } if place == kept => {
                            let landed = self.below(bytes.len().div_ceil(SECTOR_BYTES));
                            bytes.truncate(landed * SECTOR_BYTES);
                            self.make_durable(Change::Write { inode, sector, bytes });
                        }
                        _ => {}
                    }
                }
            }
            CrashPolicy::KeepSubset => {
                for change in unsynced {
                    self.keep_some(change);
                }
            }
        }
        self.restart_machine();
    }

    fn keep_some(&mut self, change: Change) {
        let Change::Write { inode, sector, bytes } = change else {
            if self.below(2) == 0 {
                self.make_durable(change);
            }
            return;
        };
        for (place, bytes) in bytes.chunks(SECTOR_BYTES).enumerate() {
            if self.below(2) == 0 {
                self.make_durable(Change::Write { inode, sector: sector + place, bytes: bytes.to_vec() });
            }
        }
    }

    fn restart_machine(&mut self) {
        // A name is found through its directory: without that it is as lost as if it had never been synced.
        let dirs = self.durable_dirs.clone();
        self.durable_dirs.retain(|dir| dir.ancestors().all(|above| dirs.contains(above)));
        self.durable_names.retain(|path, _| self.durable_dirs.contains(parent_of(path)));
        self.names = self.durable_names.clone();
        self.dirs = self.durable_dirs.clone();
        for file in self.inodes.values_mut() {
            file.cache = file.durable.clone();
        }
        self.restart_process();
    }

    /// Handles are gone; the operating system, its cache and what it still has to write live on.
    pub fn restart_process(&mut self) {
        self.generation += 1;
        self.power_left = None;
        self.locks.clear();
        for file in self.inodes.values_mut() {
            file.handles = 0;
        }
        self.collect();
    }
}
