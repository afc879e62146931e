//! Real processes killed in the middle of writing: what the engine holds afterwards is one moment, and no earlier than
//! the last flush.

// Tests read scripts and look at real files.
#![allow(clippy::disallowed_methods)]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use super::{Bench, Kind, agreed, everywhere, get, noise, on_both, put};
use crate::storage::{Batch, Column, EngineError};

/// Tells the child which engine to write with, and where.
const CHILD_KIND: &str = "HOLDFAST_TEST_KILLED_KIND";
const CHILD_DIR: &str = "HOLDFAST_TEST_KILLED_DIR";

/// Flushes the parent waits for before it kills.
const FLUSHES: usize = 5;

/// Not a test by itself: the process that is going to be killed. It tells each flush on stdout, and writes until it
/// dies.
#[test]
#[ignore = "a child of a_killed_process_loses_nothing_that_was_flushed"]
fn child_writes_until_killed() {
    let (Ok(kind), Ok(dir)) = (std::env::var(CHILD_KIND), std::env::var(CHILD_DIR)) else { return };
    let kind = Kind::ALL.into_iter().find(|k| format!("{k:?}") == kind).unwrap();
    let engine = kind.factory().open(Path::new(&dir)).unwrap();
    let start = agreed(&*engine.view()).map_or(0, |last| last + 1);
    for number in start.. {
        let mut batch = everywhere(number);
        // Fills memtables, so that RocksDB flushes and compacts on its own too.
        batch.put(Column::History, number.to_be_bytes().to_vec(), noise(number, 4096));
        engine.write(batch).unwrap();
        if number % 100 == 99 {
            engine.flush().unwrap();
            writeln!(std::io::stdout(), "flushed {number}").unwrap();
        }
    }
}

/// Runs the child until it told of some flushes, kills it, and tells the last number that it said was flushed.
fn run_and_kill(bench: &Bench) -> u64 {
    let (_, module) = module_path!().split_once("::").unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("{module}::child_writes_until_killed"), "--ignored", "--nocapture"])
        .env(CHILD_KIND, format!("{:?}", bench.kind))
        .env(CHILD_DIR, bench.path("state"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let flushed = lines.filter_map(|line| line.unwrap().strip_prefix("flushed ")?.parse().ok());
    let flushed: Vec<u64> = flushed.take(FLUSHES).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(flushed.len(), FLUSHES, "the child ended by itself");
    flushed[FLUSHES - 1]
}

#[test]
fn a_killed_process_loses_nothing_that_was_flushed() {
    on_both(|bench| {
        for _ in 0..3 {
            let flushed = run_and_kill(bench);
            let engine = bench.open();
            let held = agreed(&*engine.view()).unwrap();
            assert!(held >= flushed, "{:?}: {flushed} was flushed, {held} is held", bench.kind);
            for number in 0..=held {
                let value = engine.view().get(Column::History, &number.to_be_bytes()).unwrap();
                assert!(value == Some(noise(number, 4096)), "{:?}: {number} of {held}", bench.kind);
            }
            engine.verify().unwrap();
        }
    });
}

#[test]
fn an_engine_whose_files_are_gone_stops_instead_of_taking_writes() {
    let bench = Bench::new(Kind::Rocks);
    let engine = bench.open();
    put(&*engine, Column::Current, "a", "1");
    std::fs::rename(bench.path("state"), bench.path("elsewhere")).unwrap();
    let flushed = engine.flush();
    assert!(flushed.is_err());
    let mut batch = Batch::default();
    batch.put(Column::Current, "a", "2");
    let written = engine.write(batch);
    assert!(matches!(written, Err(EngineError::Corrupt { .. })), "{written:?}");
    assert_eq!(get(&*engine, Column::Current, "a").as_deref(), Some("1"));
}

#[test]
fn a_flush_that_fails_in_the_background_stops_the_next_write() {
    let bench = Bench::new(Kind::Rocks);
    let engine = bench.open();
    std::fs::rename(bench.path("state"), bench.path("elsewhere")).unwrap();
    // Nobody asks for a flush: the memtables fill up, RocksDB tries one, and stops.
    let refused = (0..10_000).find_map(|number| {
        let mut batch = everywhere(number);
        batch.put(Column::History, number.to_be_bytes().to_vec(), noise(number, 4096));
        engine.write(batch).err()
    });
    assert!(matches!(refused, Some(EngineError::Corrupt { .. })), "{refused:?}");
}

#[test]
fn a_database_without_its_current_file_is_not_taken_for_an_empty_one() {
    let bench = Bench::new(Kind::Rocks);
    drop(bench.open());
    std::fs::remove_file(bench.path("state").join("CURRENT")).unwrap();
    let refused = bench.factory.open(&bench.path("state")).unwrap_err();
    assert!(matches!(&refused, EngineError::Corrupt { detail } if detail.contains("CURRENT is gone")), "{refused}");
}
