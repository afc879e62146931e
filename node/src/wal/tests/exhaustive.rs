//! Every way in which four entries can be damaged, in the spirit of CTRL's exhaustive check (FAST'18), and random rot
//! over everything.

use super::scene::{Harm, Part, Piece, Scene};
use super::*;
use crate::env::{CrashPolicy, Disk};
use crate::types::Vote;
use crate::wal::{Hole, ReadError};

/// What happened to one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Damage {
    None,
    Payload,
    Head,
    Identifier,
    Both,
}

const DAMAGES: [Damage; 5] = [Damage::None, Damage::Payload, Damage::Head, Damage::Identifier, Damage::Both];

impl Damage {
    fn spares_identifier(self) -> bool {
        !matches!(self, Damage::Identifier | Damage::Both)
    }

    fn spares_frame(self) -> bool {
        matches!(self, Damage::None | Damage::Identifier)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writing {
    /// One sync each: entry `i` proves that those before it were durable.
    OneByOne,
    /// One sync for all: nothing proves anything.
    OneBatch,
}

/// The log's length and its holes, or none if the node must refuse.
type Outcome = Option<(usize, Vec<usize>)>;

/// What opening has to find. `zeroed`: the damage looks like something never written, not like something broken.
fn model(terms: [u64; 4], damage: [Damage; 4], writing: Writing, zeroed: bool) -> Outcome {
    let frame = |i: usize| damage.get(i).is_some_and(|damage| damage.spares_frame());
    let identifier = |i: usize| damage.get(i).is_some_and(|damage| damage.spares_identifier());
    let mut known = [false; 4];
    for i in 0..4 {
        let tied = i == 0 || known[i - 1] || identifier(i + 1) || frame(i + 1);
        known[i] = identifier(i) || (frame(i) && tied);
    }
    let survivors = (0..4).filter(|i| frame(*i) || identifier(*i));
    let durable = if writing == Writing::OneByOne { survivors.max().unwrap_or(0) } else { 0 };
    let end = (durable..4).find(|i| zeroed && !known[*i]).unwrap_or(4);
    for i in (0..end).filter(|i| !known[*i]) {
        let before = (0..i).rev().find(|j| known[*j])?;
        let after = (i..end).find(|j| known[*j])?;
        if terms[before] != terms[after] {
            return None;
        }
    }
    Some((end, (0..end).filter(|i| !frame(*i) || !known[*i]).collect()))
}

fn written(terms: [u64; 4], writing: Writing) -> Scene {
    let mut scene = Scene::new();
    scene.open().unwrap();
    let log = scene.log();
    log.save_vote(Vote { term: terms[3], node: 1, committed: true }).unwrap();
    for (index, term) in terms.into_iter().enumerate() {
        log.append(&[entry(term, index as u64, format!("entry {index}"))]).unwrap();
        if writing == Writing::OneByOne {
            log.sync().unwrap();
        }
    }
    log.sync().unwrap();
    scene.close();
    scene.disk.kill();
    scene
}

fn strike(scene: &Scene, harm: Harm, damage: [Damage; 4]) {
    for (index, damage) in damage.into_iter().enumerate() {
        let parts: &[Part] = match damage {
            Damage::None => &[],
            Damage::Payload => &[Part::Payload],
            Damage::Head => &[Part::Head],
            Damage::Identifier => &[Part::Identifier],
            Damage::Both => &[Part::Identifier, Part::Frame],
        };
        for part in parts {
            scene.harm(harm, &scene.piece(index as u64, *part));
        }
    }
}

#[test]
fn four_entries_in_every_state() {
    let mut kinds = [0; 3];
    for terms in [[1, 1, 1, 1], [1, 1, 2, 2], [1, 2, 2, 3], [1, 2, 3, 4]] {
        for writing in [Writing::OneByOne, Writing::OneBatch] {
            let scene = written(terms, writing);
            let whole = scene.disk.copy(1);
            let mut scene = scene;
            for pattern in 0..625_usize {
                let damage = std::array::from_fn(|i| DAMAGES[pattern / 5_usize.pow(i as u32) % 5]);
                for harm in [Harm::Flip, Harm::Zero] {
                    scene.disk = whole.copy(1);
                    strike(&scene, harm, damage);
                    let expected = model(terms, damage, writing, harm == Harm::Zero);
                    let found: Outcome = open(&scene.disk).ok().map(|(log, opened)| {
                        let holes = opened.holes.iter().map(|hole| hole.index as usize).collect();
                        (log.last().map_or(0, |last| last.index as usize + 1), holes)
                    });
                    assert_eq!(found, expected, "terms {terms:?}, {writing:?}, {harm:?}, {damage:?}");
                    kinds[match &found {
                        None => 0,
                        Some((4, holes)) if holes.is_empty() => 1,
                        Some(_) => 2,
                    }] += 1;
                }
            }
        }
    }
    assert_eq!(kinds.iter().sum::<i32>(), 10_000);
    assert!(kinds.iter().all(|count| *count > 100), "refused, whole, partly: {kinds:?}");
}

/// The log of some length, with what it must hold.
fn long_log() -> (Scene, Vec<RawEntry>) {
    let mut scene = Scene::new();
    scene.open().unwrap();
    let log = scene.log();
    let mut entries = Vec::new();
    for index in 0..40_u64 {
        let term = 1 + index / 13;
        log.save_vote(Vote { term, node: 1, committed: true }).unwrap();
        entries.push(entry(term, index, vec![index as u8 + 1; 10 + (index as usize * 37) % 120]));
        log.append(&entries[index as usize..]).unwrap();
        if index % 3 == 0 {
            log.sync().unwrap();
        }
    }
    log.sync().unwrap();
    scene.close();
    scene.disk.kill();
    (scene, entries)
}

/// One fault: nothing wrong is read, nothing acknowledged vanishes, and peers can mend it all.
fn check_after_fault(disk: &FaultyDisk, entries: &[RawEntry], fault: &str) -> bool {
    let (log, opened) = match open(disk) {
        Ok(opened) => opened,
        Err(refusal) => {
            let text = refusal.to_string();
            assert!(text.contains("/log") && text.contains(": "), "{fault}: {text}");
            println!("{fault}: {text}");
            return false;
        }
    };
    assert_eq!(log.last(), entries.last().map(|entry| entry.log_id), "{fault}: {opened:?}");
    for expected in entries {
        let index = expected.log_id.index;
        match log.read(index..index + 1, usize::MAX) {
            Ok(found) => assert_eq!(found, std::slice::from_ref(expected), "{fault}"),
            Err(ReadError::Hole { log_id }) => {
                assert_eq!(log_id, expected.log_id, "{fault}");
                assert!(opened.holes.contains(&Hole { term: log_id.term, index }), "{fault}");
            }
            Err(other) => panic!("{fault}: {other}"),
        }
    }
    for hole in log.holes() {
        log.fill_hole(&entries[hole.index as usize]).unwrap_or_else(|error| panic!("{fault}: {error}"));
    }
    assert_eq!(log.read(0..99, usize::MAX).unwrap(), entries, "{fault}");
    drop(log);
    disk.crash(CrashPolicy::LoseUnsynced);
    let (log, again) = open(disk).unwrap_or_else(|error| panic!("{fault}, filled: {error}"));
    assert_eq!((again.holes, log.read(0..99, usize::MAX).unwrap()), (vec![], entries.to_vec()), "{fault}, filled");
    true
}

/// Every sector of every file, in every manner.
#[test]
fn any_one_rotten_sector_loses_nothing() {
    let (scene, entries) = long_log();
    let (mut recovered, mut refused) = (0, 0);
    for name in scene.disk.list(Path::new(DIR)).unwrap() {
        let path = Path::new(DIR).join(&name);
        let sectors = scene.disk.contents(&path).unwrap().len().div_ceil(512) as u64;
        for sector in 0..sectors {
            for harm in [Harm::Flip, Harm::Zero, Harm::Junk, Harm::Unreadable] {
                let disk = scene.disk.copy(sector);
                let length = scene.disk.contents(&path).unwrap().len() as u64;
                let range = sector * 512..((sector + 1) * 512).min(length);
                let victim = Scene::on(disk.copy(sector));
                victim.harm(harm, &Piece { path: path.clone(), range });
                if check_after_fault(&victim.disk, &entries, &format!("{name}, sector {sector}, {harm:?}")) {
                    recovered += 1;
                } else {
                    refused += 1;
                }
            }
        }
    }
    assert_eq!(refused, 0, "of {recovered}");
}

/// Files that vanish or change their length: refused or mended, never less than before without a word.
#[test]
fn no_missing_or_cut_file_loses_anything_in_silence() {
    let (scene, entries) = long_log();
    let (mut recovered, mut refused) = (0, 0);
    for name in scene.disk.list(Path::new(DIR)).unwrap() {
        let path = Path::new(DIR).join(&name);
        let length = scene.disk.contents(&path).unwrap().len() as u64;
        let lengths = (0..=length + 1024).step_by(61).map(Some);
        for cut in lengths.chain([None]) {
            let disk = scene.disk.copy(1);
            match cut {
                Some(bytes) => disk.resize(&path, bytes),
                None => disk.delete(&path),
            }
            if check_after_fault(&disk, &entries, &format!("{name} with {cut:?} bytes")) {
                recovered += 1;
            } else {
                refused += 1;
            }
        }
    }
    assert!(recovered > 200 && refused > 20, "{recovered} recovered, {refused} refused");
}
