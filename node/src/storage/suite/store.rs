//! The layout around an engine: generations, installs, checkpoints. Crashes are tried after every single change to the
//! disk, with each idea of what a power loss leaves.

// Tests read scripts and look at real files.
#![allow(clippy::disallowed_methods)]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;

use super::{Kind, agreed, everywhere};
use crate::env::{CrashPolicy, Disk, FaultyDisk, OpenMode, RealDisk};
use crate::storage::{
    CheckpointError, CheckpointManifest, Engine, EngineError, FileDigest, MemoryEngineFactory, Store,
};

const NEW: u64 = 2;
const OLD: u64 = 1;

/// A store on the real disk.
struct Home {
    kind: Kind,
    dir: TempDir,
}

impl Home {
    fn new(kind: Kind) -> Self {
        Self { kind, dir: TempDir::new().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn try_open(&self) -> Result<Store, EngineError> {
        Store::open(self.kind.factory(), Arc::new(RealDisk), self.dir.path())
    }

    fn open(&self) -> Store {
        self.try_open().unwrap_or_else(|error| panic!("{:?}: {error}", self.kind))
    }

    fn states(&self) -> Vec<String> {
        RealDisk.list(&self.path("state")).unwrap()
    }
}

fn on_both(story: impl Fn(&Home)) {
    Kind::ALL.into_iter().map(Home::new).for_each(|home| story(&home));
}

/// Copies a checkpoint's files as a receiver would, and proves the copy.
fn receive(disk: &dyn Disk, from: &Path, manifest: &CheckpointManifest, to: &Path) {
    disk.create_dir_all(to).unwrap();
    for file in manifest.files() {
        let source = disk.open(&from.join(&file.name), OpenMode::Read).unwrap();
        let mut bytes = vec![0; usize::try_from(file.length).unwrap()];
        source.read_exact_at(&mut bytes, 0).unwrap();
        let copy = disk.open(&to.join(&file.name), OpenMode::CreateNew).unwrap();
        copy.write_all_at(&bytes, 0).unwrap();
        copy.sync().unwrap();
    }
    disk.sync_dir(to).unwrap();
    manifest.verify(disk, to).unwrap();
}

fn said(engine: &dyn Engine) -> Option<u64> {
    agreed(&*engine.view())
}

fn write_and_flush(engine: &dyn Engine, number: u64) {
    engine.write(everywhere(number)).unwrap();
    engine.flush().unwrap();
}

#[test]
fn a_store_keeps_its_state() {
    on_both(|home| {
        let store = home.open();
        write_and_flush(&*store.engine(), 7);
        drop(store);
        assert_eq!(said(&*home.open().engine()), Some(7));
        assert_eq!(home.states(), ["00000000000000000001", "CURRENT-GENERATION"]);
    });
}

#[test]
fn a_checkpoint_of_one_store_becomes_the_state_of_another() {
    on_both(|home| {
        let source = home.open();
        write_and_flush(&*source.engine(), NEW);
        let manifest = source.checkpoint("base").unwrap();
        assert_eq!(source.read_checkpoint_manifest("base").unwrap(), manifest);

        let target = Home::new(home.kind);
        let store = target.open();
        write_and_flush(&*store.engine(), OLD);
        let reader = store.engine();
        receive(&RealDisk, &source.checkpoint_dir("base").unwrap(), &manifest, &target.path("received"));
        store.install(&target.path("received")).unwrap();
        assert_eq!(said(&*store.engine()), Some(NEW));
        assert!(!target.path("received").exists(), "the received directory is consumed");

        assert_eq!(said(&*reader), Some(OLD), "who still reads the old state reads on");
        assert_eq!(target.states(), ["00000000000000000001", "00000000000000000002", "CURRENT-GENERATION"]);
        drop(reader);
        assert_eq!(target.states(), ["00000000000000000002", "CURRENT-GENERATION"]);

        store.engine().write(everywhere(3)).unwrap();
        store.engine().flush().unwrap();
        drop(store);
        assert_eq!(said(&*target.open().engine()), Some(3));
    });
}

#[test]
fn what_is_not_a_state_is_refused_and_the_old_state_serves_on() {
    on_both(|home| {
        let store = home.open();
        write_and_flush(&*store.engine(), OLD);
        let stray = home.path("stray");
        std::fs::create_dir(&stray).unwrap();
        let refused = store.install(&stray);
        assert!(
            matches!(&refused, Err(EngineError::Corrupt { detail }) if detail.contains("format row")),
            "{refused:?}"
        );
        write_and_flush(&*store.engine(), NEW);
        assert_eq!(home.states(), ["00000000000000000001", "CURRENT-GENERATION"]);
        drop(store);
        assert_eq!(said(&*home.open().engine()), Some(NEW));
    });
}

#[test]
fn checkpoints_are_listed_proved_and_removed() {
    on_both(|home| {
        let store = home.open();
        write_and_flush(&*store.engine(), 1);
        let first = store.checkpoint("first").unwrap();
        write_and_flush(&*store.engine(), 2);
        store.checkpoint("second").unwrap();
        assert_eq!(store.list_checkpoints().unwrap(), ["first", "second"]);
        let dir = store.checkpoint_dir("first").unwrap();
        first.verify(&RealDisk, &dir).unwrap();
        let file = first.files().iter().max_by_key(|file| file.length).unwrap();
        assert_eq!(FileDigest::of(&RealDisk, &dir.join(&file.name)).unwrap(), file.digest);

        std::fs::write(dir.join("stray"), "x").unwrap();
        let stray = first.verify(&RealDisk, &dir).unwrap_err().to_string();
        assert!(stray.contains("stray does not belong"), "{stray}");
        std::fs::remove_file(dir.join("stray")).unwrap();
        // RocksDB's files are shared with the live state: a fresh file, not a change to the shared one.
        let mut bytes = std::fs::read(dir.join(&file.name)).unwrap();
        bytes[0] ^= 1;
        std::fs::remove_file(dir.join(&file.name)).unwrap();
        std::fs::write(dir.join(&file.name), bytes).unwrap();
        let rotten = first.verify(&RealDisk, &dir).unwrap_err().to_string();
        assert!(rotten.contains(&file.name) && rotten.contains("SHA-256"), "{rotten}");

        assert!(matches!(store.checkpoint("first"), Err(CheckpointError::Exists { .. })));
        store.remove_checkpoint("first").unwrap();
        assert_eq!(store.list_checkpoints().unwrap(), ["second"]);
        assert!(matches!(store.remove_checkpoint("first"), Err(CheckpointError::Missing { .. })));
        assert!(matches!(store.read_checkpoint_manifest("first"), Err(CheckpointError::Missing { .. })));
        for name in ["", "..", ".hidden", "a/b", "../state", "half.tmp", "a b"] {
            assert!(matches!(store.checkpoint(name), Err(CheckpointError::BadName { .. })), "{name:?}");
        }
        store.engine().verify().unwrap();
    });
}

/// What damage to the files around the state must be told.
#[test]
fn damage_to_the_layout_is_named() {
    let refusal = |damage: fn(&Path)| {
        let home = Home::new(Kind::Memory);
        write_and_flush(&*home.open().engine(), 1);
        damage(&home.path("state"));
        match home.try_open() {
            Err(EngineError::Corrupt { detail }) => detail,
            other => panic!("{other:?}"),
        }
    };
    let flipped = refusal(|state| {
        let mut bytes = std::fs::read(state.join("CURRENT-GENERATION")).unwrap();
        bytes[13] ^= 1;
        std::fs::write(state.join("CURRENT-GENERATION"), bytes).unwrap();
    });
    assert!(flipped.ends_with("CURRENT-GENERATION fails its checksum"), "{flipped}");
    let short = refusal(|state| std::fs::write(state.join("CURRENT-GENERATION"), "").unwrap());
    assert!(short.ends_with("CURRENT-GENERATION has the wrong length"), "{short}");
    let no_pointer = refusal(|state| std::fs::remove_file(state.join("CURRENT-GENERATION")).unwrap());
    assert!(no_pointer.contains("CURRENT-GENERATION is gone"), "{no_pointer}");
    let no_state = refusal(|state| std::fs::remove_dir_all(state.join("00000000000000000001")).unwrap());
    assert!(no_state.contains("00000000000000000001, which is gone"), "{no_state}");
    let no_image = refusal(|state| std::fs::remove_file(state.join("00000000000000000001/IMAGE")).unwrap());
    assert!(no_image.contains("holds no format row"), "{no_image}");
}

// ---- crashes, on the faulty disk ----

const DIR: &str = "/data";
const RECEIVED: &str = "/data/received";

fn open_on(disk: &FaultyDisk) -> Result<Store, EngineError> {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    Store::open(Arc::new(MemoryEngineFactory::new(disk.clone())), disk, Path::new(DIR))
}

/// Runs `act` on a copy of `disk` that loses power after one change, after two, and so on until `act` gets through;
/// and hands each wreck to `check`, with whether `act` had got through.
fn crash_everywhere(
    disk: &FaultyDisk,
    act: impl Fn(&FaultyDisk) -> Result<(), EngineError>,
    check: impl Fn(&FaultyDisk, Outcome),
) {
    let mut tried = 0;
    for policy in [CrashPolicy::LoseUnsynced, CrashPolicy::KeepPrefix, CrashPolicy::KeepSubset] {
        for seed in 0..8 {
            for changes in 0.. {
                let disk = disk.copy(seed);
                disk.power_off_after(changes);
                let outcome = if act(&disk).is_ok() { Outcome::Done } else { Outcome::CutShort };
                disk.crash(policy);
                check(&disk, outcome);
                tried += 1;
                if outcome == Outcome::Done {
                    break;
                }
            }
        }
    }
    assert!(tried > 24, "nothing was cut short");
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Done,
    CutShort,
}

fn list(disk: &FaultyDisk, dir: &str) -> Vec<String> {
    disk.list(&Path::new(DIR).join(dir)).unwrap()
}

#[test]
fn a_store_may_crash_at_any_point_of_its_creation() {
    let disk = FaultyDisk::new(1);
    crash_everywhere(
        &disk,
        |disk| open_on(disk).map(drop),
        |disk, _| {
            let store = open_on(disk).unwrap();
            assert_eq!(said(&*store.engine()), None);
            assert_eq!(list(disk, ""), ["snapshots", "state"]);
            assert_eq!(list(disk, "state"), ["00000000000000000001", "CURRENT-GENERATION"]);
        },
    );
}

/// A store that says `OLD`, and beside it a received state that says `NEW`.
fn store_with_a_received_state() -> FaultyDisk {
    let disk = FaultyDisk::new(1);
    let store = open_on(&disk).unwrap();
    write_and_flush(&*store.engine(), NEW);
    let manifest = store.checkpoint("new").unwrap();
    receive(&disk, &store.checkpoint_dir("new").unwrap(), &manifest, Path::new(RECEIVED));
    store.remove_checkpoint("new").unwrap();
    write_and_flush(&*store.engine(), OLD);
    disk
}

#[test]
fn an_install_may_crash_at_any_point() {
    crash_everywhere(
        &store_with_a_received_state(),
        |disk| open_on(disk)?.install(Path::new(RECEIVED)).map(drop),
        |disk, outcome| {
            let store = open_on(disk).unwrap();
            let said = said(&*store.engine()).unwrap();
            match outcome {
                Outcome::Done => assert_eq!(said, NEW),
                Outcome::CutShort => assert!(said == OLD || said == NEW),
            }
            assert_eq!(list(disk, "state").len(), 2, "leftovers: {:?}", list(disk, "state"));
            write_and_flush(&*store.engine(), 9);
            drop(store);
            assert_eq!(super::agreed(&*open_on(disk).unwrap().engine().view()), Some(9));
        },
    );
}

#[test]
fn a_checkpoint_may_crash_at_any_point() {
    let disk = FaultyDisk::new(1);
    write_and_flush(&*open_on(&disk).unwrap().engine(), 1);
    let act = |disk: &FaultyDisk| match open_on(disk)?.checkpoint("base") {
        Ok(_) => Ok(()),
        Err(CheckpointError::Engine(error)) => Err(error),
        Err(other) => panic!("{other}"),
    };
    crash_everywhere(&disk, act, |disk, outcome| {
        let store = open_on(disk).unwrap();
        let names = store.list_checkpoints().unwrap();
        assert!(outcome == Outcome::CutShort || names == ["base"]);
        for name in &names {
            let manifest = store.read_checkpoint_manifest(name).unwrap();
            manifest.verify(disk, &store.checkpoint_dir(name).unwrap()).unwrap();
        }
        assert_eq!(list(disk, "snapshots"), names, "leftovers");
        store.checkpoint("another").unwrap();
    });
}

#[test]
fn a_removal_may_crash_at_any_point() {
    let disk = FaultyDisk::new(1);
    open_on(&disk).unwrap().checkpoint("base").unwrap();
    let act = |disk: &FaultyDisk| match open_on(disk)?.remove_checkpoint("base") {
        Ok(()) => Ok(()),
        Err(CheckpointError::Engine(error)) => Err(error),
        Err(other) => panic!("{other}"),
    };
    crash_everywhere(&disk, act, |disk, outcome| {
        let store = open_on(disk).unwrap();
        let names = store.list_checkpoints().unwrap();
        assert!(outcome == Outcome::CutShort || names.is_empty());
        for name in &names {
            let manifest = store.read_checkpoint_manifest(name).unwrap();
            manifest.verify(disk, &store.checkpoint_dir(name).unwrap()).unwrap();
        }
        assert_eq!(list(disk, "snapshots"), names, "leftovers");
    });
}
