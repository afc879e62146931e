//! The engine that keeps its state in memory: the simulator's stand-in for RocksDB, and its model in tests.
//!
//! It promises exactly what RocksDB without a write-ahead log promises. A write lives in memory; [`Engine::flush`]
//! writes an image of the whole state beside the old one and puts it in its place; a crash falls back to the last
//! image, in which all columns agree. Deleted and overwritten data counts as used space until [`Engine::reclaim`], as
//! it does in a tree of files that have not been compacted.
//!
//! ```text
//! <dir>/IMAGE       the last flushed state, see storage/image.rs
//! <dir>/IMAGE.tmp   an image being written; removed at open
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::ops::{Bound, ControlFlow};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::{Mutex, RwLock, RwLockReadGuard};

use crate::env::{Disk, DiskFile, planted};

use super::image::{ImageWriter, read_image};
use super::replace::{remove_file_if_exists, replace_file, temporary, write_new_file};
use super::{Batch, BatchOp, CheckpointFile, Column, Engine, EngineError, EngineFactory, Scan, Usage, View, format};

const IMAGE: &str = "IMAGE";

/// Opens memory engines whose images live on one disk.
#[derive(Clone, Debug)]
pub struct MemoryEngineFactory {
    disk: Arc<dyn Disk>,
}

impl MemoryEngineFactory {
    pub fn new(disk: Arc<dyn Disk>) -> Self {
        Self { disk }
    }
}

impl EngineFactory for MemoryEngineFactory {
    fn open(&self, dir: &Path) -> Result<Arc<dyn Engine>, EngineError> {
        self.disk.create_dir_all(dir).map_err(|error| EngineError::from_io(error, dir))?;
        let image = dir.join(IMAGE);
        remove_file_if_exists(&*self.disk, &temporary(&image)).map_err(|error| EngineError::from_io(error, dir))?;
        let mut state = State::default();
        let mut flushed = None;
        if self.disk.exists(&image)? {
            read_image(&*self.disk, &image, &mut |column, key, value| state.put(column, key, value))?;
            flushed = Some(state.batches);
        }
        let engine = MemoryEngine {
            disk: self.disk.clone(),
            dir: dir.to_owned(),
            state: RwLock::new(state),
            durable: Mutex::new(Durable { flushed, failed: None }),
        };
        format::check(&*engine.view(), dir)?;
        Ok(Arc::new(engine))
    }
}

struct MemoryEngine {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    state: RwLock<State>,
    /// Held by a flush for as long as it runs. Taken before `state`, never after it.
    durable: Mutex<Durable>,
}

#[derive(Default)]
struct State {
    rows: BTreeMap<Column, BTreeMap<Bytes, Bytes>>,
    /// Written since the engine opened.
    batches: u64,
    /// Keys and values that can be read.
    live_bytes: u64,
    /// Keys and values that were overwritten or deleted since the last reclaim.
    dead_bytes: u64,
}

struct Durable {
    /// `State::batches` in the image on disk; `None` while there is no image.
    flushed: Option<u64>,
    /// Why the engine stopped. The disk is in an unknown state, so every later write is refused.
    failed: Option<String>,
}

impl State {
    fn put(&mut self, column: Column, key: Bytes, value: Bytes) {
        let key_bytes = key.len();
        self.live_bytes += row_bytes(key_bytes, &value);
        if let Some(old) = self.rows.entry(column).or_default().insert(key, value) {
            self.bury(key_bytes, &old);
        }
    }

    fn delete(&mut self, column: Column, key: &[u8]) {
        if let Some(old) = self.rows.get_mut(&column).and_then(|rows| rows.remove(key)) {
            self.bury(key.len(), &old);
        }
    }

    fn bury(&mut self, key_bytes: usize, value: &[u8]) {
        let bytes = row_bytes(key_bytes, value);
        self.live_bytes -= bytes;
        self.dead_bytes += bytes;
    }

    fn write_image(&self, file: &dyn DiskFile) -> io::Result<u64> {
        let mut image = ImageWriter::start(file)?;
        let lacks = |column: Column| planted!(SnapshotWithoutLeases) && column == Column::Lease;
        for (&column, rows) in self.rows.iter().filter(|(column, _)| !lacks(**column)) {
            for (key, value) in rows {
                image.row(column, key, value)?;
            }
        }
        image.finish()
    }
}

fn row_bytes(key_bytes: usize, value: &[u8]) -> u64 {
    (key_bytes + value.len()) as u64
}

impl Engine for MemoryEngine {
    fn view(&self) -> Box<dyn View + '_> {
        // Recursive: a waiting writer must not wedge a thread that opens a second view under its first.
        Box::new(MemoryView { state: self.state.read_recursive() })
    }

    fn write(&self, batch: Batch) -> Result<(), EngineError> {
        self.refuse_if_failed()?;
        let mut state = self.state.write();
        for op in batch.into_ops() {
            match op {
                BatchOp::Put { column, key, value } => state.put(column, key, value),
                BatchOp::Delete { column, key } => state.delete(column, &key),
            }
        }
        state.batches += 1;
        Ok(())
    }

    fn write_now(&self, batch: Batch) -> Result<Option<Batch>, EngineError> {
        self.write(batch).map(|()| None)
    }

    fn flush(&self) -> Result<(), EngineError> {
        let mut durable = self.durable.lock();
        durable.refuse_if_failed()?;
        let state = self.state.read_recursive();
        if durable.flushed == Some(state.batches) {
            return Ok(());
        }
        let written = replace_file(&*self.disk, &self.dir.join(IMAGE), |file| state.write_image(file).map(drop));
        match written.map_err(|error| EngineError::from_io(error, &self.dir)) {
            Ok(()) => {
                durable.flushed = Some(state.batches);
                Ok(())
            }
            // The old image stands and the next flush may find room.
            Err(error @ EngineError::NoSpace { .. }) => Err(error),
            Err(error) => {
                durable.failed = Some(error.to_string());
                Err(error)
            }
        }
    }

    fn checkpoint(&self, dir: &Path) -> Result<Vec<CheckpointFile>, EngineError> {
        self.refuse_if_failed()?;
        self.write_checkpoint(dir).map_err(|error| EngineError::from_io(error, dir))
    }

    fn usage(&self) -> Result<Usage, EngineError> {
        let state = self.state.read_recursive();
        Ok(Usage { total_bytes: state.live_bytes + state.dead_bytes, live_bytes: state.live_bytes })
    }

    fn reclaim(&self) -> Result<(), EngineError> {
        self.refuse_if_failed()?;
        self.state.write().dead_bytes = 0;
        Ok(())
    }

    fn verify(&self) -> Result<(), EngineError> {
        // Held, so that no flush replaces the image meanwhile.
        let durable = self.durable.lock();
        durable.refuse_if_failed()?;
        if durable.flushed.is_none() {
            return Ok(());
        }
        read_image(&*self.disk, &self.dir.join(IMAGE), &mut |_, _, _| ())
    }
}

impl MemoryEngine {
    fn refuse_if_failed(&self) -> Result<(), EngineError> {
        self.durable.lock().refuse_if_failed()
    }

    fn write_checkpoint(&self, dir: &Path) -> io::Result<Vec<CheckpointFile>> {
        if self.disk.exists(dir)? {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("{} exists already", dir.display())));
        }
        self.disk.create_dir_all(dir)?;
        let mut length = 0;
        let state = self.state.read_recursive();
        write_new_file(&*self.disk, &dir.join(IMAGE), |file| {
            length = state.write_image(file)?;
            Ok(())
        })?;
        self.disk.sync_dir(dir)?;
        Ok(vec![CheckpointFile { name: IMAGE.to_owned(), length }])
    }
}

impl Durable {
    fn refuse_if_failed(&self) -> Result<(), EngineError> {
        match &self.failed {
            None => Ok(()),
            Some(why) => Err(EngineError::Io(io::Error::other(format!("the engine stopped earlier: {why}")))),
        }
    }
}

impl fmt::Debug for MemoryEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryEngine").field("dir", &self.dir).finish_non_exhaustive()
    }
}

/// Keeps writers out for as long as it lives, which is what makes it a consistent picture.
struct MemoryView<'a> {
    state: RwLockReadGuard<'a, State>,
}

impl View for MemoryView<'_> {
    fn get(&self, column: Column, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        Ok(self.state.rows.get(&column).and_then(|rows| rows.get(key)).cloned())
    }

    fn scan(
        &self,
        column: Column,
        scan: Scan<'_>,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), EngineError> {
        let Some(rows) = self.state.rows.get(&column) else { return Ok(()) };
        // `BTreeMap::range` panics on a range that ends before it starts.
        if scan.to.is_some_and(|to| to <= scan.from) {
            return Ok(());
        }
        let to = scan.to.map_or(Bound::Unbounded, Bound::Excluded);
        let mut range = rows.range::<[u8], _>((Bound::Included(scan.from), to));
        while let Some((key, value)) = if scan.backwards { range.next_back() } else { range.next() } {
            if visit(key, value).is_break() {
                break;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::{CrashPolicy, FaultyDisk};

    const DIR: &str = "/state";
    /// EIO, as Linux numbers it.
    const EIO: i32 = 5;

    fn open(disk: &FaultyDisk) -> Arc<dyn Engine> {
        MemoryEngineFactory::new(Arc::new(disk.clone())).open(Path::new(DIR)).unwrap()
    }

    fn write(engine: &dyn Engine, value: &str) -> Result<(), EngineError> {
        let mut batch = Batch::default();
        for column in Column::ALL {
            batch.put(column, "key", value.to_owned());
        }
        engine.write(batch)
    }

    /// What all columns say.
    fn read(engine: &dyn Engine) -> Option<String> {
        let view = engine.view();
        let said = Column::ALL.map(|column| view.get(column, b"key").unwrap());
        assert!(said.iter().all(|value| value == &said[0]), "columns disagree: {said:?}");
        said[0].as_ref().map(|value| String::from_utf8(value.to_vec()).unwrap())
    }

    #[test]
    fn a_crash_falls_back_to_the_last_flush() {
        let disk = FaultyDisk::new(1);
        let engine = open(&disk);
        write(&*engine, "flushed").unwrap();
        engine.flush().unwrap();
        write(&*engine, "lost").unwrap();
        disk.crash(CrashPolicy::KeepSubset);
        assert_eq!(read(&*open(&disk)).as_deref(), Some("flushed"));
    }

    #[test]
    fn a_flush_may_crash_at_any_point() {
        let before = FaultyDisk::new(1);
        let engine = open(&before);
        write(&*engine, "old").unwrap();
        engine.flush().unwrap();
        for policy in [CrashPolicy::LoseUnsynced, CrashPolicy::KeepPrefix, CrashPolicy::KeepSubset] {
            for changes in 0.. {
                let disk = before.copy(changes);
                let engine = open(&disk);
                write(&*engine, "new").unwrap();
                disk.power_off_after(changes);
                let flushed = engine.flush();
                disk.crash(policy);
                let held = read(&*open(&disk)).unwrap();
                assert!(held == "new" || (held == "old" && flushed.is_err()), "{policy:?} {changes}: {held}");
                if flushed.is_ok() {
                    assert!(changes > 3, "the flush was never cut short");
                    break;
                }
            }
        }
    }

    #[test]
    fn a_failed_flush_stops_the_engine() {
        let disk = FaultyDisk::new(1);
        let engine = open(&disk);
        write(&*engine, "old").unwrap();
        engine.flush().unwrap();
        write(&*engine, "new").unwrap();
        disk.fail_next_sync();
        assert!(engine.flush().is_err());
        let refused = write(&*engine, "more").unwrap_err().to_string();
        assert!(refused.contains("stopped earlier"), "{refused}");
        assert!(engine.flush().is_err(), "a failed sync is never retried");
        assert_eq!(read(&*engine).as_deref(), Some("new"), "reads go on");
        assert_eq!(read(&*open(&disk)).as_deref(), Some("old"));
    }

    #[test]
    fn an_engine_on_a_full_disk_goes_on_when_there_is_space_again() {
        let disk = FaultyDisk::new(1);
        let engine = open(&disk);
        write(&*engine, "old").unwrap();
        engine.flush().unwrap();
        write(&*engine, "new").unwrap();
        disk.set_capacity_bytes(200);
        assert!(matches!(engine.flush(), Err(EngineError::NoSpace { .. })));
        assert_eq!(disk.list(Path::new(DIR)).unwrap(), [IMAGE], "no half-written file holds the last of the space");
        write(&*engine, "newer").unwrap();
        disk.heal();
        engine.flush().unwrap();
        disk.crash(CrashPolicy::LoseUnsynced);
        assert_eq!(read(&*open(&disk)).as_deref(), Some("newer"));
    }

    #[test]
    fn an_unreadable_image_is_an_error_and_not_an_empty_state() {
        let disk = FaultyDisk::new(1);
        let engine = open(&disk);
        write(&*engine, "old").unwrap();
        engine.flush().unwrap();
        disk.fail_reads(&Path::new(DIR).join(IMAGE), 0..1);
        assert!(matches!(engine.verify(), Err(EngineError::Io(error)) if error.raw_os_error() == Some(EIO)));
        assert!(MemoryEngineFactory::new(Arc::new(disk)).open(Path::new(DIR)).is_err());
    }

    #[test]
    fn a_flush_without_a_new_batch_writes_nothing() {
        let disk = FaultyDisk::new(1);
        let engine = open(&disk);
        write(&*engine, "old").unwrap();
        engine.flush().unwrap();
        let before = disk.counters().bytes_written;
        engine.flush().unwrap();
        assert_eq!(disk.counters().bytes_written, before);
    }
}
