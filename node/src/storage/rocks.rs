//! The engine that keeps its state in RocksDB: what a real node runs on.
//!
//! RocksDB's own write-ahead log is off: the Raft log replays whatever a crash takes from the memtables. What makes
//! that safe is *atomic flush*: the memtables of all columns go to disk as one, so that after a crash every column
//! stands at the same batch, the one whose applied index is in [`Column::Meta`].
//!
//! ```text
//! <dir>/CURRENT  MANIFEST-*  *.sst  OPTIONS-*  IDENTITY  LOCK  LOG*     all RocksDB's
//! ```
//!
//! - Every block carries an xxh3 checksum that covers its place in the file (table format 6), checked on every read
//!   from disk. Every file carries a crc32c in the manifest, checked by [`Engine::verify`].
//! - A failed flush or compaction stops RocksDB: every later write is refused with the error that stopped it. A full
//!   disk is the exception: RocksDB looks every five seconds and goes on once [`RocksLimits::memtables_bytes_max`] are
//!   free. Until then deletes are refused too, so whoever guards the quota has to act before the disk is full.
//! - Dropping the engine flushes it, which shortens the replay; nothing relies on that.
//!
//! The only file that imports `rocksdb`.

// RocksDB does its own file access; what is looked at here are its files, which no other disk could hold.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

use std::ffi::CStr;
use std::fmt;
use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use librocksdb_sys as ffi;
use rocksdb::checkpoint::Checkpoint;
use rocksdb::{
    AsRawPtr, BlockBasedOptions, Cache, ChecksumType, ColumnFamily, ColumnFamilyDescriptor, DB, DBCompressionType,
    DEFAULT_COLUMN_FAMILY_NAME, ErrorKind, FlushOptions, LogLevel, Options, ReadOptions, Snapshot, WriteBatch,
    WriteBufferManager, WriteOptions, properties,
};

use super::{Batch, BatchOp, CheckpointFile, Column, Engine, EngineError, EngineFactory, Scan, Usage, View, format};

/// How long a file is left alone that could be written again without its sequence numbers.
const YOUNG_S: u32 = 7 * 24 * 3600;

/// What RocksDB may use of the machine. Shared by all engines of one factory, so that the two that live side by side
/// during an install do not use twice as much.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RocksLimits {
    /// Blocks, indexes and filters kept in memory.
    pub block_cache_bytes_max: usize,
    /// Memtables of all columns together at which a flush starts. While a flush runs they grow on, to about twice
    /// this, and then writes wait.
    pub memtables_bytes_max: usize,
    /// Flushes and compactions at a time.
    pub background_jobs_max: i32,
    /// File descriptors.
    pub open_files_max: i32,
    /// Size at which RocksDB's own log is rotated; four are kept.
    pub info_log_bytes_max: usize,
}

impl Default for RocksLimits {
    fn default() -> Self {
        Self {
            block_cache_bytes_max: 128 * 1024 * 1024,
            memtables_bytes_max: 64 * 1024 * 1024,
            background_jobs_max: 2,
            open_files_max: 512,
            info_log_bytes_max: 1024 * 1024,
        }
    }
}

/// Opens RocksDB engines that share one block cache and one budget for memtables.
pub struct RocksEngineFactory {
    limits: RocksLimits,
    block_cache: Cache,
    memtables: WriteBufferManager,
}

impl RocksEngineFactory {
    pub fn new(limits: RocksLimits) -> Self {
        let block_cache = Cache::new_lru_cache(limits.block_cache_bytes_max);
        let memtables = WriteBufferManager::new_write_buffer_manager(limits.memtables_bytes_max, false);
        Self { limits, block_cache, memtables }
    }
}

impl Default for RocksEngineFactory {
    fn default() -> Self {
        Self::new(RocksLimits::default())
    }
}

impl fmt::Debug for RocksEngineFactory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RocksEngineFactory").field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl EngineFactory for RocksEngineFactory {
    fn open(&self, dir: &Path) -> Result<Arc<dyn Engine>, EngineError> {
        fs::create_dir_all(dir).map_err(|error| EngineError::from_io(error, dir))?;
        let mut options = self.database_options();
        match found(dir)? {
            Found::Nothing => {
                options.create_if_missing(true);
                options.create_missing_column_families(true);
            }
            Found::Database => check_columns(&options, dir)?,
        }
        let mut families = vec![ColumnFamilyDescriptor::new(DEFAULT_COLUMN_FAMILY_NAME, unused_options())];
        families
            .extend(Column::ALL.map(|column| ColumnFamilyDescriptor::new(column.name(), self.column_options(column))));
        let db = DB::open_cf_descriptors(&options, dir, families).map_err(|error| engine_error(error, dir))?;
        let mut unlogged = WriteOptions::default();
        unlogged.disable_wal(true);
        let mut unlogged_now = WriteOptions::default();
        unlogged_now.disable_wal(true);
        unlogged_now.set_no_slowdown(true);
        let engine = RocksEngine { db, dir: dir.to_owned(), unlogged, unlogged_now };
        format::check(&*engine.view(), dir)?;
        Ok(Arc::new(engine))
    }
}

/// What a directory holds before it is opened.
enum Found {
    Nothing,
    Database,
}

/// Keeps RocksDB from starting an empty database among the files of one whose `CURRENT` is gone.
fn found(dir: &Path) -> Result<Found, EngineError> {
    if dir.join("CURRENT").try_exists()? {
        return Ok(Found::Database);
    }
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("MANIFEST-") || name.ends_with(".sst") {
            let detail = format!("{} holds {name}, but its CURRENT is gone", dir.display());
            return Err(EngineError::Corrupt { detail });
        }
    }
    Ok(Found::Nothing)
}

/// RocksDB would refuse too, but name one column family at a time and no directory.
fn check_columns(options: &Options, dir: &Path) -> Result<(), EngineError> {
    let present = DB::list_cf(options, dir).map_err(|error| engine_error(error, dir))?;
    let missing: Vec<_> =
        Column::ALL.iter().map(|column| column.name()).filter(|name| !present.iter().any(|p| p == name)).collect();
    if !missing.is_empty() {
        let detail = format!("the database in {} lacks the column families {}", dir.display(), missing.join(", "));
        return Err(EngineError::Corrupt { detail });
    }
    let known =
        |name: &str| name == DEFAULT_COLUMN_FAMILY_NAME || Column::ALL.iter().any(|column| column.name() == name);
    let strange: Vec<_> = present.iter().map(String::as_str).filter(|name| !known(name)).collect();
    if !strange.is_empty() {
        let detail = format!(
            "the database in {} has column families that this version does not know: {}; run the version that wrote it",
            dir.display(),
            strange.join(", ")
        );
        return Err(EngineError::Corrupt { detail });
    }
    Ok(())
}

impl RocksEngineFactory {
    fn database_options(&self) -> Options {
        let mut options = Options::default();
        options.set_atomic_flush(true);
        options.set_paranoid_checks(true);
        record_file_checksums(&options);
        options.set_write_buffer_manager(&self.memtables);
        options.set_max_background_jobs(self.limits.background_jobs_max);
        options.set_max_open_files(self.limits.open_files_max);
        // Else opening reads a block of every file.
        options.set_skip_stats_update_on_db_open(true);
        // Else the kernel saves up a whole file's writes and the sync at its end stalls the log's syncs.
        options.set_bytes_per_sync(1024 * 1024);
        options.set_avoid_unnecessary_blocking_io(true);
        options.set_log_level(LogLevel::Warn);
        options.set_max_log_file_size(self.limits.info_log_bytes_max);
        options.set_keep_log_file_num(4);
        options.set_stats_dump_period_sec(0);
        options.set_stats_persist_period_sec(0);
        options
    }

    fn column_options(&self, column: Column) -> Options {
        let mut blocks = BlockBasedOptions::default();
        blocks.set_block_cache(&self.block_cache);
        blocks.set_format_version(6);
        blocks.set_checksum_type(ChecksumType::XXH3);
        // Indexes and filters live in the cache too, so that the cache's size bounds them.
        blocks.set_cache_index_and_filter_blocks(true);
        blocks.set_cache_index_and_filter_blocks_with_high_priority(true);
        blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);

        let mut options = Options::default();
        let_young_files_be(&options);
        options.set_compression_type(DBCompressionType::Lz4);
        options.set_level_compaction_dynamic_level_bytes(true);
        // One busy column must not flush all of them early: the shared budget decides when, for all together.
        options.set_write_buffer_size(self.limits.memtables_bytes_max);
        options.set_max_write_buffer_number(3);
        options.set_arena_block_size((self.limits.memtables_bytes_max / 256).clamp(4 * 1024, 256 * 1024));
        match column {
            // Point reads, many of keys that do not exist: a bloom filter answers those, on disk and in memory.
            Column::Current => {
                blocks.set_bloom_filter(10.0, false);
                options.set_memtable_prefix_bloom_ratio(0.02);
                options.set_memtable_whole_key_filtering(true);
                blocks.set_block_size(4 * 1024);
            }
            // Values, of up to megabytes, read by revisions that are known to exist. The keys only ever grow, so files
            // never overlap and move down the levels without being rewritten: no need for blob files.
            Column::History => blocks.set_block_size(16 * 1024),
            Column::Versions => blocks.set_block_size(8 * 1024),
            Column::Lease | Column::LeaseKey | Column::Meta | Column::Auth => blocks.set_block_size(4 * 1024),
        }
        options.set_block_based_table_factory(&blocks);
        options
    }
}

/// For the column family that RocksDB insists on. Before it heals from a full disk RocksDB wants room for the largest
/// memtable there can be, and the default is 64 MiB.
fn unused_options() -> Options {
    let mut options = Options::default();
    options.set_write_buffer_size(64 * 1024);
    options
}

/// A file that was written while a view was open has sequence numbers that RocksDB would like to drop as soon as the
/// view is gone, by writing the whole file again. There is always some view open: each flush would be written twice.
#[allow(unsafe_code)]
fn let_young_files_be(options: &Options) {
    // SAFETY: `options` is alive for the call, which sets a number in it.
    unsafe { ffi::rocksdb_options_set_bottommost_file_compaction_delay(options.as_raw_ptr(), YOUNG_S) }
}

/// A crc32c of each whole file, in the manifest. The Rust wrapper does not reach this option, the C API does.
#[allow(unsafe_code)]
fn record_file_checksums(options: &Options) {
    // SAFETY: `options` is alive for the whole block, and takes its own share of the factory, so that giving up ours
    // right after is what the C API asks for.
    unsafe {
        let factory = ffi::rocksdb_file_checksum_gen_crc32c_factory_create();
        ffi::rocksdb_options_set_file_checksum_gen_factory(options.as_raw_ptr(), factory);
        ffi::rocksdb_file_checksum_gen_factory_destroy(factory);
    }
}

/// Compares each file with its checksum in the manifest.
#[allow(unsafe_code)]
fn verify_file_checksums(db: &DB) -> Result<(), String> {
    let mut error = std::ptr::null_mut();
    // SAFETY: `db` is open for the whole block. RocksDB leaves `error` null or makes it a C string on its heap, which
    // is read once and freed once.
    unsafe {
        ffi::rocksdb_verify_file_checksums(db.as_raw_ptr(), &mut error);
        if error.is_null() {
            return Ok(());
        }
        let message = CStr::from_ptr(error).to_string_lossy().into_owned();
        ffi::rocksdb_free(error.cast());
        Err(message)
    }
}

struct RocksEngine {
    db: DB,
    dir: PathBuf,
    /// No write-ahead log.
    unlogged: WriteOptions,
    /// The same, failing where it would have to wait.
    unlogged_now: WriteOptions,
}

impl RocksEngine {
    fn family(&self, column: Column) -> &ColumnFamily {
        self.db.cf_handle(column.name()).expect("open opened every column")
    }

    fn rows(&self, batch: &Batch) -> WriteBatch {
        let mut rows = WriteBatch::default();
        for op in batch.ops() {
            match op {
                BatchOp::Put { column, key, value } => rows.put_cf(self.family(*column), key, value),
                BatchOp::Delete { column, key } => rows.delete_cf(self.family(*column), key),
            }
        }
        rows
    }

    fn error(&self, error: rocksdb::Error) -> EngineError {
        engine_error(error, &self.dir)
    }

    /// Sum of a property over all columns.
    fn sum(&self, property: &properties::PropName) -> Result<u64, EngineError> {
        let mut sum = 0;
        for column in Column::ALL {
            let value = self.db.property_int_value_cf(self.family(column), property);
            sum += value.map_err(|error| self.error(error))?.unwrap_or(0);
        }
        Ok(sum)
    }

    /// Flushes and compactions that failed since the engine opened.
    fn background_errors(&self) -> Result<u64, EngineError> {
        let count = self.db.property_int_value(properties::BACKGROUND_ERRORS);
        Ok(count.map_err(|error| self.error(error))?.unwrap_or(0))
    }
}

impl Engine for RocksEngine {
    fn view(&self) -> Box<dyn View + '_> {
        let snapshot = self.db.snapshot();
        let mut read = ReadOptions::default();
        read.set_snapshot(&snapshot);
        Box::new(RocksView { engine: self, read, snapshot })
    }

    fn write(&self, batch: Batch) -> Result<(), EngineError> {
        self.db.write_opt(self.rows(&batch), &self.unlogged).map_err(|error| self.error(error))
    }

    fn write_now(&self, batch: Batch) -> Result<Option<Batch>, EngineError> {
        match self.db.write_opt(self.rows(&batch), &self.unlogged_now) {
            Ok(()) => Ok(None),
            // "Would have to slow down or stop."
            Err(error) if error.kind() == ErrorKind::Incomplete => Ok(Some(batch)),
            Err(error) => Err(self.error(error)),
        }
    }

    fn flush(&self) -> Result<(), EngineError> {
        let families = Column::ALL.map(|column| self.family(column));
        let mut wait = FlushOptions::default();
        wait.set_wait(true);
        self.db.flush_cfs_opt(&families.each_ref().map(|family| *family), &wait).map_err(|error| self.error(error))
    }

    fn checkpoint(&self, dir: &Path) -> Result<Vec<CheckpointFile>, EngineError> {
        if dir.try_exists()? {
            let exists = format!("{} exists already", dir.display());
            return Err(EngineError::Io(io::Error::new(io::ErrorKind::AlreadyExists, exists)));
        }
        // Flushes first, writes beside `dir`, syncs, and renames.
        let checkpoint = Checkpoint::new(&self.db).map_err(|error| self.error(error))?;
        checkpoint.create_checkpoint(dir).map_err(|error| engine_error(error, dir))?;
        finish_checkpoint(dir).map_err(|error| EngineError::from_io(error, dir))
    }

    fn usage(&self) -> Result<Usage, EngineError> {
        let memtables_bytes = self.sum(properties::CUR_SIZE_ALL_MEM_TABLES)?;
        Ok(Usage {
            total_bytes: self.sum(properties::TOTAL_SST_FILES_SIZE)? + memtables_bytes,
            live_bytes: self.sum(properties::ESTIMATE_LIVE_DATA_SIZE)? + memtables_bytes,
        })
    }

    fn reclaim(&self) -> Result<(), EngineError> {
        let errors_before = self.background_errors()?;
        for column in Column::ALL {
            self.db.compact_range_cf(self.family(column), None::<&[u8]>, None::<&[u8]>);
        }
        // The call above has no result. A stopped RocksDB tells why to whoever writes, if only nothing.
        self.write(Batch::default())?;
        if self.background_errors()? != errors_before {
            let detail = format!("a compaction failed, see {}/LOG", self.dir.display());
            return Err(EngineError::Io(io::Error::other(detail)));
        }
        Ok(())
    }

    fn verify(&self) -> Result<(), EngineError> {
        verify_file_checksums(&self.db).map_err(|message| message_error(message, &self.dir))
    }
}

impl fmt::Debug for RocksEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RocksEngine").field("dir", &self.dir).finish_non_exhaustive()
    }
}

/// Files of a checkpoint, whose own name is made durable too.
fn finish_checkpoint(dir: &Path) -> io::Result<Vec<CheckpointFile>> {
    let mut files = Vec::new();
    let mut todo = vec![PathBuf::new()];
    while let Some(folder) = todo.pop() {
        for entry in fs::read_dir(dir.join(&folder))? {
            let entry = entry?;
            let path = folder.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                todo.push(path);
            } else {
                files.push(CheckpointFile {
                    name: path.to_string_lossy().into_owned(),
                    length: entry.metadata()?.len(),
                });
            }
        }
        fs::File::open(dir.join(&folder))?.sync_all()?;
    }
    if let Some(parent) = dir.parent() {
        fs::File::open(parent)?.sync_all()?;
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}

/// Reads at one sequence number of RocksDB.
struct RocksView<'a> {
    engine: &'a RocksEngine,
    /// Points at `snapshot`, and is dropped before it.
    read: ReadOptions,
    snapshot: Snapshot<'a>,
}

impl View for RocksView<'_> {
    fn get(&self, column: Column, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        let found = self.engine.db.get_pinned_cf_opt(self.engine.family(column), key, &self.read);
        let found = found.map_err(|error| self.engine.error(error))?;
        Ok(found.map(|value| Bytes::copy_from_slice(&value)))
    }

    fn scan(
        &self,
        column: Column,
        scan: Scan<'_>,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), EngineError> {
        if scan.to.is_some_and(|to| to <= scan.from) {
            return Ok(());
        }
        let mut read = ReadOptions::default();
        read.set_iterate_lower_bound(scan.from);
        if let Some(to) = scan.to {
            read.set_iterate_upper_bound(to);
        }
        let mut rows = self.snapshot.raw_iterator_cf_opt(self.engine.family(column), read);
        if scan.backwards {
            rows.seek_to_last();
        } else {
            rows.seek_to_first();
        }
        while let Some((key, value)) = rows.item() {
            if visit(key, value).is_break() {
                return Ok(());
            }
            if scan.backwards { rows.prev() } else { rows.next() }
        }
        rows.status().map_err(|error| self.engine.error(error))
    }
}

fn engine_error(error: rocksdb::Error, dir: &Path) -> EngineError {
    match error.kind() {
        ErrorKind::Corruption => EngineError::Corrupt { detail: in_dir(&error.into_string(), dir) },
        _ => message_error(error.into_string(), dir),
    }
}

/// RocksDB hands errors out as text. A file that the manifest names and the disk does not have is corruption to us:
/// the state has to come from elsewhere.
fn message_error(message: String, dir: &Path) -> EngineError {
    if message.contains("No space left on device") {
        EngineError::NoSpace { dir: dir.to_owned() }
    } else if ["Corruption", "checksum mismatch", "No such file or directory"].iter().any(|sign| message.contains(sign))
    {
        EngineError::Corrupt { detail: in_dir(&message, dir) }
    } else {
        EngineError::Io(io::Error::other(in_dir(&message, dir)))
    }
}

fn in_dir(message: &str, dir: &Path) -> String {
    format!("RocksDB in {}: {message}", dir.display())
}
