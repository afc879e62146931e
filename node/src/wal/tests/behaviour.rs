//! What scripts cannot say well: sizes, threads, a full disk, a real one.

use std::sync::atomic::{AtomicBool, Ordering};

use super::scene::{Part, Scene};
use super::*;
use crate::env::{CrashPolicy, Disk, RealDisk};
use crate::types::Vote;
use crate::wal::{Preparation, ReadError, WalError};

fn voted(disk: &FaultyDisk) -> Log {
    let (log, _) = open(disk).unwrap();
    log.save_vote(Vote { term: 1, node: 1, committed: true }).unwrap();
    log
}

fn run_of(from: u64, to: u64, bytes: usize) -> Vec<RawEntry> {
    (from..to).map(|index| entry(1, index, vec![index as u8; bytes])).collect()
}

#[test]
fn an_entry_larger_than_a_segment_gets_one_of_its_own() {
    let disk = FaultyDisk::new(1);
    let log = voted(&disk);
    let entries = [entry(1, 0, "small"), entry(1, 1, vec![1; 5000]), entry(1, 2, "small again")];
    log.append(&entries).unwrap();
    assert_eq!(log.sync().unwrap(), Some(LogId { term: 1, index: 2 }));
    let segments = disk.list(Path::new(DIR)).unwrap().into_iter().filter(|name| name.ends_with(".seg"));
    assert_eq!(segments.count(), 3);
    drop(log);
    disk.crash(CrashPolicy::LoseUnsynced);
    assert_eq!(open(&disk).unwrap().0.read(0..9, usize::MAX).unwrap(), entries);
}

#[test]
fn a_read_is_bounded_in_bytes_but_never_empty_handed() {
    let disk = FaultyDisk::new(1);
    let log = voted(&disk);
    log.append(&run_of(0, 6, 50)).unwrap();
    log.sync().unwrap();
    log.append(&run_of(6, 8, 50)).unwrap();
    for (bytes, count) in [(0, 1), (49, 1), (50, 1), (120, 2), (10_000, 8)] {
        assert_eq!(log.read(0..99, bytes).unwrap().len(), count, "{bytes} bytes");
    }
    assert_eq!(log.read(7..99, 9999).unwrap(), run_of(7, 8, 50), "pending entries are read too");
    assert!(log.read(8..99, 9999).unwrap().is_empty() && log.read(3..3, 9999).unwrap().is_empty());
}

#[test]
fn the_newest_entries_are_read_without_the_disk() {
    let disk = FaultyDisk::new(1);
    let log = voted(&disk);
    log.append(&run_of(0, 8, 50)).unwrap();
    log.sync().unwrap();
    disk.power_off_after(0);
    // The cache holds 256 bytes: five entries.
    assert_eq!(log.read_cached(3..99, 9999).unwrap(), run_of(3, 8, 50));
    assert_eq!(log.read_cached(3..99, 120).unwrap(), run_of(3, 5, 50));
    assert_eq!(log.read_cached(2..99, 9999), None);
    assert_eq!(log.read(3..99, 9999).unwrap(), run_of(3, 8, 50));
    assert!(log.append(&run_of(8, 9, 50)).is_ok() && log.sync().is_err());
    assert!(matches!(log.read(2..3, 9999), Err(ReadError::Io { .. }) | Ok(_)));
}

#[test]
fn what_waits_for_the_disk_is_bounded() {
    let disk = Arc::new(FaultyDisk::new(1));
    let options = LogOptions { pending_bytes_max: 100, ..small() };
    let (log, _) = Log::open(disk, Path::new(DIR), options, IDENTITY).unwrap();
    log.append(&run_of(0, 1, 500)).unwrap();
    let refused = log.append(&run_of(1, 2, 1)).unwrap_err();
    assert!(matches!(refused, WalError::PendingFull { bytes: 501, max: 100 }) && !refused.is_fatal(), "{refused}");
    assert_eq!(log.last(), Some(LogId { term: 0, index: 0 }).map(|last| LogId { term: 1, ..last }));
}

#[test]
fn a_full_disk_stops_the_log_and_loses_nothing() {
    let disk = FaultyDisk::new(1);
    let log = voted(&disk);
    log.append(&run_of(0, 8, 20)).unwrap();
    log.sync().unwrap();
    disk.set_capacity_bytes(8000);
    log.append(&run_of(8, 20, 20)).unwrap();
    let error = log.sync().unwrap_err();
    assert!(matches!(&error, WalError::Io { source, .. } if source.raw_os_error() == Some(28)), "{error}");
    assert!(error.is_fatal() && matches!(log.sync(), Err(WalError::Poisoned { .. })));
    drop(log);
    disk.heal();
    disk.crash(CrashPolicy::LoseUnsynced);
    assert_eq!(open(&disk).unwrap().0.read(0..99, usize::MAX).unwrap(), run_of(0, 8, 20));
}

#[test]
fn a_disk_too_full_for_a_spare_does_not_stop_the_log() {
    let disk = FaultyDisk::new(1);
    let log = voted(&disk);
    log.append(&run_of(0, 2, 20)).unwrap();
    log.sync().unwrap();
    disk.set_capacity_bytes(7000);
    assert!(log.prepare_next().is_err());
    log.append(&run_of(2, 4, 20)).unwrap();
    log.sync().unwrap();
    disk.heal();
    assert_eq!(log.prepare_next().unwrap(), Preparation::Done);
}

/// A rotation takes the spare while another thread prepares spares: what is being named is nobody else's. Threads meet
/// by chance: one seed in three finds the fault that this is for.
#[test]
fn a_spare_that_becomes_a_segment_is_not_prepared_again() {
    (1..=6).for_each(rotate_while_spares_are_prepared);
}

#[allow(clippy::disallowed_methods, reason = "the log is plain synchronous code, and so is its test")]
fn rotate_while_spares_are_prepared(seed: u64) {
    const ENTRIES: u64 = 2000;
    let disk = FaultyDisk::new(seed);
    let log = voted(&disk);
    let done = AtomicBool::new(false);
    let written = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                // A log that has failed refuses; the writer tells.
                let _refused = log.prepare_next();
            }
        });
        let write = |index: u64| {
            log.append(&run_of(index, index + 1, 20))?;
            log.sync().map(drop)
        };
        let written = (0..ENTRIES).try_for_each(write);
        done.store(true, Ordering::Relaxed);
        written
    });
    written.unwrap();
    drop(log);
    disk.crash(CrashPolicy::LoseUnsynced);
    assert_eq!(open(&disk).unwrap().0.read(0..ENTRIES, usize::MAX).unwrap(), run_of(0, ENTRIES, 20));
}

/// The cuts in the meta record tell old entries from new ones, but only the last sixteen: the bytes have to go too.
#[test]
fn a_truncation_leaves_nothing_that_could_come_back() {
    let disk = FaultyDisk::new(1);
    let mut scene = Scene::on(disk.clone());
    scene.open().unwrap();
    scene.log().save_vote(Vote { term: 1, node: 1, committed: true }).unwrap();
    scene.log().append(&run_of(0, 7, 20)).unwrap();
    scene.log().sync().unwrap();
    scene.look();
    scene.log().truncate_after(Some(LogId { term: 1, index: 2 })).unwrap();
    scene.close();
    disk.crash(CrashPolicy::LoseUnsynced);
    for index in 3..7 {
        assert!(scene.bytes(&scene.piece(index, Part::Identifier)).iter().all(|byte| *byte == 0), "identifier {index}");
    }
    assert!(scene.bytes(&scene.piece(3, Part::Head)).iter().all(|byte| *byte == 0), "the end is marked");
    assert_eq!(open(&disk).unwrap().0.read(0..9, usize::MAX).unwrap(), run_of(0, 3, 20));
}

/// Readers never see half a frame, an entry that was cut, or a segment that was purged under them.
#[test]
#[allow(clippy::disallowed_methods, reason = "the log is plain synchronous code, and so is its test")]
fn readers_run_beside_the_writer() {
    let disk = FaultyDisk::new(1);
    let log = voted(&disk);
    log.append(&run_of(0, 1, 20)).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let first = log.first().map_or(0, |first| first.index);
                    match log.read(first..u64::MAX, 4000) {
                        Ok(entries) => {
                            for entry in entries {
                                assert!(entry.payload.iter().all(|byte| *byte == entry.log_id.index as u8));
                            }
                        }
                        Err(ReadError::Purged { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            });
        }
        for round in 0..400_u64 {
            let next = log.last().map_or(0, |last| last.index + 1);
            log.append(&run_of(next, next + 3 + round % 3, 30 + round as usize % 60)).unwrap();
            log.sync().unwrap();
            let last = log.last().unwrap();
            match round % 5 {
                3 => log.truncate_after(log.log_id_at(last.index - 2)).unwrap(),
                4 => log.purge(log.log_id_at(last.index - 4).unwrap()).unwrap(),
                _ => {}
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(log.holes().is_empty());
}

#[test]
fn a_real_disk_serves_as_well() {
    let temporary = tempfile::tempdir().unwrap();
    let dir = temporary.path().join("member/log");
    let open = || Log::open(Arc::new(RealDisk), &dir, small(), IDENTITY);
    let (log, _) = open().unwrap();
    log.save_vote(Vote { term: 1, node: 1, committed: true }).unwrap();
    log.append(&run_of(0, 30, 40)).unwrap();
    assert_eq!(log.prepare_next().unwrap(), Preparation::Done);
    log.sync().unwrap();
    log.truncate_after(Some(LogId { term: 1, index: 20 })).unwrap();
    log.purge(LogId { term: 1, index: 9 }).unwrap();
    drop(log);
    let (log, opened) = open().unwrap();
    assert_eq!(opened.repaired, Vec::<String>::new());
    assert_eq!(log.read(10..99, usize::MAX).unwrap(), run_of(10, 21, 40));
    let names = RealDisk.list(&dir).unwrap();
    assert_eq!(names.iter().filter(|name| name.starts_with("meta.")).count(), 2);
    assert!(!names.iter().any(|name| name.ends_with(".new") || name == "spare"), "{names:?}");
}
