//! One suite over both engines: what [`Engine`] promises, told as stories, each run on the memory engine and on
//! RocksDB.
//!
//! `mirror` runs random stories on both in step; `killed` ends real processes; `store` covers the layout around an
//! engine, and its crashes.

// Real files, threads and processes are what half of these stories are about.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod killed;
mod mirror;
mod store;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use bytes::Bytes;
use tempfile::TempDir;

use crate::env::RealDisk;

use super::{
    Batch, Column, Engine, EngineError, EngineFactory, MemoryEngineFactory, RocksEngineFactory, RocksLimits, Scan, View,
};

/// Which engine a story runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Memory,
    Rocks,
}

impl Kind {
    const ALL: [Kind; 2] = [Kind::Memory, Kind::Rocks];

    fn factory(self) -> Arc<dyn EngineFactory> {
        match self {
            Kind::Memory => Arc::new(MemoryEngineFactory::new(Arc::new(RealDisk))),
            // Memtables so small that flushes and compactions happen in the middle of a story.
            Kind::Rocks => Arc::new(RocksEngineFactory::new(RocksLimits {
                block_cache_bytes_max: 1024 * 1024,
                memtables_bytes_max: 512 * 1024,
                ..RocksLimits::default()
            })),
        }
    }
}

/// An engine to be, with a directory of its own.
struct Bench {
    kind: Kind,
    factory: Arc<dyn EngineFactory>,
    dir: TempDir,
}

impl Bench {
    fn new(kind: Kind) -> Self {
        Self { kind, factory: kind.factory(), dir: TempDir::new().unwrap() }
    }

    /// Below a file system that syncs for nothing, where the machine has one: for stories about answers, not about
    /// what survives.
    fn in_memory(kind: Kind) -> Self {
        let dir = TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).unwrap();
        Self { kind, factory: kind.factory(), dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn open(&self) -> Arc<dyn Engine> {
        self.open_at(&self.path("state"))
    }

    fn open_at(&self, dir: &Path) -> Arc<dyn Engine> {
        self.factory.open(dir).unwrap_or_else(|error| panic!("{:?}: {error}", self.kind))
    }
}

fn on_both(story: impl Fn(&Bench)) {
    Kind::ALL.into_iter().map(Bench::new).for_each(|bench| story(&bench));
}

fn put(engine: &dyn Engine, column: Column, key: &str, value: &str) {
    let mut batch = Batch::default();
    batch.put(column, key.to_owned(), value.to_owned());
    engine.write(batch).unwrap();
}

fn get(engine: &dyn Engine, column: Column, key: &str) -> Option<String> {
    let value = engine.view().get(column, key.as_bytes()).unwrap();
    value.map(|value| String::from_utf8(value.to_vec()).unwrap())
}

/// The keys a scan visits, joined by spaces.
fn keys(view: &dyn View, column: Column, scan: Scan<'_>) -> String {
    let mut keys = Vec::new();
    let mut visit = |key: &[u8], _: &[u8]| {
        keys.push(String::from_utf8(key.to_vec()).unwrap());
        ControlFlow::Continue(())
    };
    view.scan(column, scan, &mut visit).unwrap();
    keys.join(" ")
}

fn forwards<'a>(from: &'a str, to: Option<&'a str>) -> Scan<'a> {
    Scan { from: from.as_bytes(), to: to.map(str::as_bytes), backwards: false }
}

fn backwards<'a>(from: &'a str, to: Option<&'a str>) -> Scan<'a> {
    Scan { backwards: true, ..forwards(from, to) }
}

/// One row in each column, all saying `number`.
fn everywhere(number: u64) -> Batch {
    let mut batch = Batch::default();
    for column in Column::ALL {
        batch.put(column, "number", number.to_string());
    }
    batch
}

/// What [`everywhere`] last said, after checking that all columns say the same.
fn agreed(view: &dyn View) -> Option<u64> {
    let said = Column::ALL.map(|column| view.get(column, b"number").unwrap());
    assert!(said.iter().all(|value| value == &said[0]), "columns disagree: {said:?}");
    said[0].as_ref().map(|value| std::str::from_utf8(value).unwrap().parse().unwrap())
}

/// Bytes that do not compress.
fn noise(seed: u64, length: usize) -> Bytes {
    use rand::{RngExt, SeedableRng, rngs::StdRng};
    let mut bytes = vec![0; length];
    StdRng::seed_from_u64(seed).fill(&mut bytes[..]);
    bytes.into()
}

#[test]
fn what_was_put_is_there_until_it_is_deleted() {
    on_both(|bench| {
        let engine = bench.open();
        assert_eq!(get(&*engine, Column::Current, "a"), None);
        put(&*engine, Column::Current, "a", "1");
        assert_eq!(get(&*engine, Column::Current, "a").as_deref(), Some("1"));
        assert_eq!(get(&*engine, Column::History, "a"), None, "columns are apart");
        put(&*engine, Column::Current, "a", "2");
        put(&*engine, Column::Current, "", "");
        assert_eq!(get(&*engine, Column::Current, "a").as_deref(), Some("2"));
        assert_eq!(get(&*engine, Column::Current, "").as_deref(), Some(""), "an empty key and value are a row");
        let mut batch = Batch::default();
        batch.delete(Column::Current, "a");
        batch.delete(Column::Current, "never there");
        engine.write(batch).unwrap();
        assert_eq!(get(&*engine, Column::Current, "a"), None);
    });
}

#[test]
fn in_a_batch_the_later_change_to_a_key_wins() {
    on_both(|bench| {
        let engine = bench.open();
        let mut batch = Batch::default();
        batch.put(Column::Lease, "put twice", "1");
        batch.put(Column::Lease, "put twice", "2");
        batch.put(Column::Lease, "put, deleted", "1");
        batch.delete(Column::Lease, "put, deleted");
        batch.delete(Column::Lease, "deleted, put");
        batch.put(Column::Lease, "deleted, put", "1");
        engine.write(batch).unwrap();
        assert_eq!(get(&*engine, Column::Lease, "put twice").as_deref(), Some("2"));
        assert_eq!(keys(&*engine.view(), Column::Lease, forwards("", None)), "deleted, put put twice");
    });
}

#[test]
fn scans_walk_their_range_both_ways() {
    on_both(|bench| {
        let engine = bench.open();
        for key in ["d", "b", "a", "c"] {
            put(&*engine, Column::Versions, key, "v");
        }
        // Half of the rows on disk, half in memory.
        engine.flush().unwrap();
        put(&*engine, Column::Versions, "bb", "v");
        put(&*engine, Column::Versions, "e", "v");
        let view = engine.view();
        let forth = |from, to| keys(&*view, Column::Versions, forwards(from, to));
        let back = |from, to| keys(&*view, Column::Versions, backwards(from, to));
        assert_eq!(forth("", None), "a b bb c d e");
        assert_eq!(forth("b", Some("d")), "b bb c");
        assert_eq!(forth("ba", Some("bz")), "bb");
        assert_eq!(forth("f", None), "");
        assert_eq!(forth("c", Some("c")), "", "an empty range");
        assert_eq!(forth("d", Some("b")), "", "a range that ends before it starts");
        assert_eq!(forth("", Some("")), "");
        assert_eq!(back("", None), "e d c bb b a");
        assert_eq!(back("b", Some("d")), "c bb b");
        assert_eq!(back("ba", Some("zz")), "e d c bb");
        assert_eq!(back("d", Some("b")), "");
        assert_eq!(keys(&*view, Column::History, backwards("", None)), "", "an empty column");
    });
}

#[test]
fn a_scan_stops_where_its_visitor_says() {
    on_both(|bench| {
        let engine = bench.open();
        for key in ["a", "b", "c"] {
            put(&*engine, Column::Current, key, "v");
        }
        for (scan, seen) in [(forwards("", None), "ab"), (backwards("", None), "cb")] {
            let mut visited = String::new();
            let mut visit = |key: &[u8], _: &[u8]| {
                visited.push(char::from(key[0]));
                if key == b"b" { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            };
            engine.view().scan(Column::Current, scan, &mut visit).unwrap();
            assert_eq!(visited, seen);
        }
    });
}

#[test]
fn values_may_be_large() {
    on_both(|bench| {
        let engine = bench.open();
        let large = noise(1, 8 * 1024 * 1024);
        let mut batch = Batch::default();
        batch.put(Column::History, "large", large.clone());
        batch.put(Column::History, "small", "s");
        engine.write(batch).unwrap();
        engine.flush().unwrap();
        drop(engine);
        let engine = bench.open();
        assert!(engine.view().get(Column::History, b"large").unwrap() == Some(large));
        assert_eq!(get(&*engine, Column::History, "small").as_deref(), Some("s"));
    });
}

#[test]
fn a_view_sees_whole_batches_and_nothing_later() {
    on_both(|bench| {
        let engine = bench.open();
        engine.write(everywhere(0)).unwrap();
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                for number in 1.. {
                    engine.write(everywhere(number)).unwrap();
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                }
            });
            let mut last = 0;
            let mut moved_on = 0;
            while moved_on < 200 {
                let view = engine.view();
                let first = agreed(&*view).unwrap();
                assert!(first >= last, "time goes back between views");
                assert_eq!(agreed(&*view), Some(first), "time goes on within a view");
                moved_on += u32::from(first > last);
                last = first;
            }
            stop.store(true, Ordering::Relaxed);
        });
    });
}

#[test]
fn a_view_of_rocksdb_stands_still_and_keeps_nobody_waiting() {
    let bench = Bench::new(Kind::Rocks);
    let engine = bench.open();
    engine.write(everywhere(1)).unwrap();
    let view = engine.view();
    engine.write(everywhere(2)).unwrap();
    engine.flush().unwrap();
    engine.reclaim().unwrap();
    assert_eq!(agreed(&*view), Some(1));
    let mut said = Vec::new();
    view.scan(Column::Meta, forwards("", None), &mut |_, value| {
        said.extend_from_slice(value);
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(said, b"1");
    assert_eq!(agreed(&*engine.view()), Some(2));
}

#[test]
fn what_was_flushed_is_there_after_a_reopen() {
    on_both(|bench| {
        let engine = bench.open();
        for number in 0..50 {
            engine.write(everywhere(number)).unwrap();
            if number % 10 == 9 {
                engine.flush().unwrap();
            }
        }
        engine.flush().unwrap();
        engine.verify().unwrap();
        drop(engine);
        assert_eq!(agreed(&*bench.open().view()), Some(49));
    });
}

#[test]
fn a_checkpoint_taken_among_writes_is_one_moment_and_a_state_of_its_own() {
    on_both(|bench| {
        let engine = bench.open();
        engine.write(everywhere(0)).unwrap();
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                for number in 1.. {
                    engine.write(everywhere(number)).unwrap();
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                }
            });
            for round in 0..5 {
                let before = agreed(&*engine.view()).unwrap();
                let dir = bench.path(&format!("checkpoint-{round}"));
                let files = engine.checkpoint(&dir).unwrap();
                assert!(!files.is_empty());
                for file in &files {
                    assert_eq!(dir.join(&file.name).metadata().unwrap().len(), file.length, "{}", file.name);
                }
                let copy = bench.open_at(&dir);
                let held = agreed(&*copy.view()).unwrap();
                assert!(held >= before, "the checkpoint holds {held}, {before} was written before it");
                copy.write(everywhere(u64::MAX)).unwrap();
                copy.flush().unwrap();
            }
            stop.store(true, Ordering::Relaxed);
        });
        assert_ne!(agreed(&*engine.view()), Some(u64::MAX), "a write to the copy came back");
        engine.verify().unwrap();
    });
}

#[test]
fn a_checkpoint_never_overwrites() {
    on_both(|bench| {
        let engine = bench.open();
        engine.write(everywhere(1)).unwrap();
        engine.checkpoint(&bench.path("copy")).unwrap();
        let again = engine.checkpoint(&bench.path("copy"));
        assert!(
            matches!(&again, Err(EngineError::Io(error)) if error.kind() == std::io::ErrorKind::AlreadyExists),
            "{again:?}"
        );
        engine.write(everywhere(2)).unwrap();
    });
}

#[test]
fn usage_grows_with_data_and_reclaim_gives_it_back() {
    const ROWS: u64 = 64;
    const ROW_BYTES: u64 = 64 * 1024;
    on_both(|bench| {
        let engine = bench.open();
        let empty = engine.usage().unwrap();
        for row in 0..ROWS {
            let mut batch = Batch::default();
            batch.put(Column::History, row.to_be_bytes().to_vec(), noise(row, ROW_BYTES as usize));
            engine.write(batch).unwrap();
        }
        engine.flush().unwrap();
        let full = engine.usage().unwrap();
        assert!(full.total_bytes >= empty.total_bytes + ROWS * ROW_BYTES, "{empty:?} {full:?}");
        assert!(full.live_bytes >= ROWS * ROW_BYTES / 2, "{full:?}");
        for row in 0..ROWS {
            let mut batch = Batch::default();
            batch.delete(Column::History, row.to_be_bytes().to_vec());
            engine.write(batch).unwrap();
        }
        engine.reclaim().unwrap();
        let reclaimed = engine.usage().unwrap();
        assert!(reclaimed.total_bytes < full.total_bytes / 4, "{full:?} {reclaimed:?}");
    });
}

#[test]
fn a_state_of_a_newer_format_is_refused_and_says_so() {
    on_both(|bench| {
        let engine = bench.open();
        let mut batch = Batch::default();
        batch.put(Column::Meta, "format", 99_u32.to_le_bytes().to_vec());
        engine.write(batch).unwrap();
        engine.flush().unwrap();
        drop(engine);
        let refused = bench.factory.open(&bench.path("state")).unwrap_err();
        assert!(matches!(refused, EngineError::Format { found: 99, known: 1, .. }), "{refused}");
    });
}

/// The largest file of a state, which is where its rows are.
fn largest_file(dir: &Path) -> PathBuf {
    let files = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    files.max_by_key(|path| path.metadata().unwrap().len()).unwrap()
}

#[test]
fn a_flipped_bit_is_found_before_anybody_reads_it() {
    on_both(|bench| {
        let engine = bench.open();
        let mut batch = Batch::default();
        for row in 0..64_u64 {
            batch.put(Column::History, row.to_be_bytes().to_vec(), noise(row, 16 * 1024));
        }
        engine.write(batch).unwrap();
        engine.flush().unwrap();
        drop(engine);
        let path = largest_file(&bench.path("state"));
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x10;
        std::fs::write(&path, bytes).unwrap();

        let found = bench.factory.open(&bench.path("state")).and_then(|engine| {
            let verified = engine.verify();
            assert!(matches!(verified, Err(EngineError::Corrupt { .. })), "{verified:?}");
            let view = engine.view();
            (0..64_u64).try_for_each(|row| match view.get(Column::History, &row.to_be_bytes())? {
                Some(value) if value == noise(row, 16 * 1024) => Ok(()),
                other => panic!("row {row}: wrong value of {:?} bytes", other.map(|value| value.len())),
            })
        });
        let Err(EngineError::Corrupt { detail }) = found else { panic!("{:?}: {found:?}", bench.kind) };
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(detail.contains(name), "{detail} does not name {name}");
    });
}
