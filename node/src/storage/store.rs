//! The directory layout around an engine: which state counts, how a received one takes its place, checkpoints.
//!
//! ```text
//! <dir>/state/CURRENT-GENERATION           which of the directories beside it is the state; storage/generation.rs
//! <dir>/state/<generation, 20 digits>/     a state: the engine's files
//! <dir>/state.tmp/                         the first state, unfinished; removed at open
//! <dir>/snapshots/<name>/                  a checkpoint: the engine's files, MANIFEST.holdfast (storage/manifest.rs)
//! <dir>/snapshots/<name>.tmp/              one being written or removed; removed at open
//! ```
//!
//! - `state` comes into being by one rename, with its pointer and a first generation inside. So a `state` without its
//!   pointer, or a pointer without its generation, is never a crash: it is damage, and reported as such. Nothing here
//!   guesses.
//! - A generation that the pointer does not name is a leftover of an install and is removed at open. The numbers only
//!   grow; none is used twice.
//! - At every moment of an install a crash leaves the whole old state or the whole new one.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use crate::env::Disk;

use super::generation::{Generation, POINTER, directory_name, generation_of, read_pointer, write_pointer};
use super::manifest::{CheckpointManifest, MANIFEST};
use super::replace::{TEMPORARY_SUFFIX, parent, remove_file_if_exists, temporary};
use super::{CheckpointFile, Engine, EngineError, EngineFactory, format};

const STATE: &str = "state";
const SNAPSHOTS: &str = "snapshots";
const FIRST_GENERATION: u64 = 1;
const NAME_BYTES_MAX: usize = 128;

/// Why a checkpoint was not written, read or removed.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    #[error(
        "{name:?} cannot name a checkpoint: use 1 to {NAME_BYTES_MAX} of a-z, A-Z, 0-9, '-', '_' and '.', \
         not '.' first and not '.tmp' last"
    )]
    BadName { name: String },
    #[error("a checkpoint {name} exists already: remove it first, or choose another name")]
    Exists { name: String },
    #[error("there is no checkpoint {name}")]
    Missing { name: String },
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// A node's state and its checkpoints, below one directory.
#[derive(Debug)]
pub struct Store {
    factory: Arc<dyn EngineFactory>,
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    current: RwLock<Arc<Generation>>,
    /// Number of the next generation. Held by an install for as long as it runs.
    next_generation: Mutex<u64>,
    /// Held while a checkpoint is written or removed.
    checkpointing: Mutex<()>,
}

impl Store {
    /// Opens the state below `dir`, or starts an empty one.
    pub fn open(factory: Arc<dyn EngineFactory>, disk: Arc<dyn Disk>, dir: &Path) -> Result<Self, EngineError> {
        let in_dir = |error| EngineError::from_io(error, dir);
        disk.create_dir_all(dir).map_err(in_dir)?;
        let state = dir.join(STATE);
        remove_dir_if_exists(&*disk, &temporary(&state)).map_err(in_dir)?;
        if !disk.exists(&state)? {
            create_state(&*factory, &*disk, &state)?;
        }
        let generation = read_pointer(&*disk, &state)?;
        let path = state.join(directory_name(generation));
        if !disk.exists(&path)? {
            let detail = format!("{} names {}, which is gone", state.join(POINTER).display(), path.display());
            return Err(EngineError::Corrupt { detail });
        }
        remove_leftover_generations(&*disk, &state, generation).map_err(in_dir)?;
        let current = open_generation(&*factory, &disk, path)?;
        let snapshots = dir.join(SNAPSHOTS);
        disk.create_dir_all(&snapshots).map_err(in_dir)?;
        remove_unfinished_checkpoints(&*disk, &snapshots).map_err(in_dir)?;
        Ok(Self {
            factory,
            disk,
            dir: dir.to_owned(),
            current: RwLock::new(current),
            next_generation: Mutex::new(generation + 1),
            checkpointing: Mutex::new(()),
        })
    }

    /// The state that counts now. Ask again for each piece of work: whoever keeps this keeps an old state open after
    /// an install.
    pub fn engine(&self) -> Arc<dyn Engine> {
        self.current.read().clone()
    }

    /// Makes a directory of received checkpoint files the state, and consumes it. The files must have been verified
    /// ([`CheckpointManifest::verify`]) and synced, and be on the file system of this store.
    ///
    /// Must not run beside writes to the state: they would go to the old one. The old one is removed from disk when
    /// its last user lets go of it. After an error other than [`EngineError::Corrupt`] or [`EngineError::Format`] the
    /// next open, not this process, decides which state counts.
    pub fn install(&self, received: &Path) -> Result<Arc<dyn Engine>, EngineError> {
        let mut next_generation = self.next_generation.lock();
        let generation = *next_generation;
        *next_generation += 1;
        let state = self.dir.join(STATE);
        let path = state.join(directory_name(generation));
        self.take_in(received, &path).map_err(|error| EngineError::from_io(error, &self.dir))?;
        let new = match open_generation(&*self.factory, &self.disk, path.clone()) {
            Ok(new) => new,
            Err(error) => {
                if let Err(error) = self.disk.remove_dir_all(&path) {
                    tracing::warn!(dir = %path.display(), %error, "a refused state could not be removed");
                }
                return Err(error);
            }
        };
        write_pointer(&*self.disk, &state, generation)?;
        let old = std::mem::replace(&mut *self.current.write(), new.clone());
        old.retire();
        Ok(new)
    }

    /// Moves a received directory to its place among the generations, durably.
    fn take_in(&self, received: &Path, path: &Path) -> io::Result<()> {
        remove_file_if_exists(&*self.disk, &received.join(MANIFEST))?;
        self.disk.sync_dir(received)?;
        self.disk.rename(received, path)?;
        // The new name first: a crash between the two may leave both names, never none.
        self.disk.sync_dir(parent(path)?)?;
        self.disk.sync_dir(parent(received)?)
    }

    /// Writes a durable copy of the state as of now, with a digest of each file. Cheap but for the digests, which read
    /// it all once.
    pub fn checkpoint(&self, name: &str) -> Result<CheckpointManifest, CheckpointError> {
        let dir = self.checkpoint_dir(name)?;
        let _one_at_a_time = self.checkpointing.lock();
        let unfinished = self.begin_checkpoint(name, &dir)?;
        let files = self.engine().checkpoint(&unfinished)?;
        let finished = CheckpointManifest::take(&*self.disk, &unfinished, &files).and_then(|manifest| {
            manifest.write(&*self.disk, &unfinished)?;
            self.finish_checkpoint(&unfinished, &dir)?;
            Ok(manifest)
        });
        Ok(self.on_disk(finished)?)
    }

    /// As [`Store::checkpoint`], without the digests: milliseconds, whatever the size.
    pub fn checkpoint_files(&self, name: &str) -> Result<Vec<CheckpointFile>, CheckpointError> {
        let dir = self.checkpoint_dir(name)?;
        let _one_at_a_time = self.checkpointing.lock();
        let unfinished = self.begin_checkpoint(name, &dir)?;
        let files = self.engine().checkpoint(&unfinished)?;
        self.on_disk(self.finish_checkpoint(&unfinished, &dir))?;
        Ok(files)
    }

    /// A second engine, on a checkpoint: to read in peace what the state was. It changes files of the checkpoint, which
    /// is of no use to others any more.
    pub fn open_checkpoint(&self, name: &str) -> Result<Arc<dyn Engine>, CheckpointError> {
        Ok(self.factory.open(&self.existing_checkpoint(name)?)?)
    }

    fn begin_checkpoint(&self, name: &str, dir: &Path) -> Result<PathBuf, CheckpointError> {
        if self.exists(dir)? {
            return Err(CheckpointError::Exists { name: name.to_owned() });
        }
        let unfinished = temporary(dir);
        self.on_disk(remove_dir_if_exists(&*self.disk, &unfinished))?;
        Ok(unfinished)
    }

    fn finish_checkpoint(&self, unfinished: &Path, dir: &Path) -> io::Result<()> {
        self.disk.sync_dir(unfinished)?;
        self.disk.rename(unfinished, dir)?;
        self.disk.sync_dir(parent(dir)?)
    }

    /// Names of the complete checkpoints, sorted.
    pub fn list_checkpoints(&self) -> Result<Vec<String>, EngineError> {
        let mut names = self.on_disk(self.disk.list(&self.dir.join(SNAPSHOTS)))?;
        names.retain(|name| is_checkpoint_name(name));
        Ok(names)
    }

    /// Where a checkpoint's files are, or would be.
    pub fn checkpoint_dir(&self, name: &str) -> Result<PathBuf, CheckpointError> {
        if !is_checkpoint_name(name) {
            return Err(CheckpointError::BadName { name: name.to_owned() });
        }
        Ok(self.dir.join(SNAPSHOTS).join(name))
    }

    /// What a checkpoint consists of, as it was when it was written. Says nothing about the files' health since.
    pub fn read_checkpoint_manifest(&self, name: &str) -> Result<CheckpointManifest, CheckpointError> {
        let dir = self.existing_checkpoint(name)?;
        Ok(CheckpointManifest::read(&*self.disk, &dir)?)
    }

    /// Removes a checkpoint. A crash leaves all of it or nothing that is listed.
    pub fn remove_checkpoint(&self, name: &str) -> Result<(), CheckpointError> {
        let _one_at_a_time = self.checkpointing.lock();
        let dir = self.existing_checkpoint(name)?;
        let doomed = temporary(&dir);
        let removed = remove_dir_if_exists(&*self.disk, &doomed)
            .and_then(|()| self.disk.rename(&dir, &doomed))
            .and_then(|()| self.disk.sync_dir(parent(&dir)?))
            .and_then(|()| self.disk.remove_dir_all(&doomed));
        Ok(self.on_disk(removed)?)
    }

    fn existing_checkpoint(&self, name: &str) -> Result<PathBuf, CheckpointError> {
        let dir = self.checkpoint_dir(name)?;
        if self.exists(&dir)? { Ok(dir) } else { Err(CheckpointError::Missing { name: name.to_owned() }) }
    }

    fn exists(&self, path: &Path) -> Result<bool, EngineError> {
        self.on_disk(self.disk.exists(path))
    }

    fn on_disk<T>(&self, result: io::Result<T>) -> Result<T, EngineError> {
        result.map_err(|error| EngineError::from_io(error, &self.dir))
    }
}

/// Builds the first generation and the pointer to it out of sight, and shows both by one rename.
fn create_state(factory: &dyn EngineFactory, disk: &dyn Disk, state: &Path) -> Result<(), EngineError> {
    let unfinished = temporary(state);
    let in_dir = |error| EngineError::from_io(error, state);
    disk.create_dir_all(&unfinished).map_err(in_dir)?;
    let engine = factory.open(&unfinished.join(directory_name(FIRST_GENERATION)))?;
    engine.write(format::stamp())?;
    engine.flush()?;
    drop(engine);
    write_pointer(disk, &unfinished, FIRST_GENERATION)?;
    disk.rename(&unfinished, state).and_then(|()| disk.sync_dir(parent(state)?)).map_err(in_dir)
}

/// Opens a generation that must hold a state: every one was stamped when it was made, here or where it came from.
fn open_generation(
    factory: &dyn EngineFactory,
    disk: &Arc<dyn Disk>,
    path: PathBuf,
) -> Result<Arc<Generation>, EngineError> {
    let engine = factory.open(&path)?;
    if !format::is_stamped(&*engine.view())? {
        let detail = format!("{} holds no format row: it is not a state, or its files are gone", path.display());
        return Err(EngineError::Corrupt { detail });
    }
    Ok(Arc::new(Generation::new(engine, disk.clone(), path)))
}

fn remove_leftover_generations(disk: &dyn Disk, state: &Path, current: u64) -> io::Result<()> {
    remove_file_if_exists(disk, &temporary(&state.join(POINTER)))?;
    for name in disk.list(state)? {
        if generation_of(&name).is_some_and(|generation| generation != current) {
            tracing::info!(generation = name, "removing a generation of the state that does not count");
            disk.remove_dir_all(&state.join(name))?;
        }
    }
    Ok(())
}

fn remove_unfinished_checkpoints(disk: &dyn Disk, snapshots: &Path) -> io::Result<()> {
    for name in disk.list(snapshots)? {
        if name.ends_with(TEMPORARY_SUFFIX) {
            disk.remove_dir_all(&snapshots.join(name))?;
        }
    }
    Ok(())
}

fn remove_dir_if_exists(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    if disk.exists(dir)? { disk.remove_dir_all(dir) } else { Ok(()) }
}

fn is_checkpoint_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && !name.starts_with('.')
        && !name.ends_with(TEMPORARY_SUFFIX)
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}
