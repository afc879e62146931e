//! The power goes after every single disk operation of a random workload, and each time under every policy.
//!
//! What must hold after each reopening: the vote is the last one acknowledged, or the one being saved; every entry
//! whose sync was acknowledged is there, byte for byte; no truncated entry is; what is there beyond was at least
//! appended.

use std::ops::Range;

use super::*;
use crate::env::CrashPolicy;
use crate::types::Vote;
use crate::wal::ReadError;

const POLICIES: [CrashPolicy; 3] = [CrashPolicy::LoseUnsynced, CrashPolicy::KeepPrefix, CrashPolicy::KeepSubset];

/// A small generator of its own, so that a seed means the same workload for ever.
struct Chance(u64);

impl Chance {
    fn below(&mut self, range: Range<u64>) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        range.start + (self.0 >> 33) % (range.end - range.start)
    }
}

#[derive(Clone, Debug)]
enum Step {
    Append(Vec<RawEntry>),
    Sync,
    Truncate(Option<LogId>),
    Purge(LogId),
    Vote(Vote),
    Prepare,
}

/// What the log must hold.
#[derive(Clone, Debug, Default)]
struct Model {
    start: u64,
    purged: Option<LogId>,
    entries: Vec<RawEntry>,
    /// How many of `entries` are durable.
    durable: usize,
    vote: Option<Vote>,
}

impl Model {
    fn end(&self) -> u64 {
        self.start + self.entries.len() as u64
    }

    fn log_id(&self, index: u64) -> Option<LogId> {
        match index.checked_sub(self.start) {
            Some(place) => self.entries.get(place as usize).map(|entry| entry.log_id),
            None => self.purged.filter(|purged| purged.index == index),
        }
    }

    fn apply(&mut self, step: &Step) {
        match step {
            Step::Append(entries) => self.entries.extend(entries.iter().cloned()),
            Step::Sync => self.durable = self.entries.len(),
            Step::Truncate(last) => {
                let keep = last.map_or(0, |last| last.index + 1 - self.start) as usize;
                self.entries.truncate(keep);
                self.durable = self.durable.min(keep);
            }
            Step::Purge(upto) => {
                let gone = ((upto.index + 1 - self.start) as usize).min(self.entries.len());
                self.entries.drain(..gone);
                // A purge writes out what is pending first.
                self.durable = self.entries.len();
                (self.start, self.purged) = (upto.index + 1, Some(*upto));
            }
            Step::Vote(vote) => self.vote = Some(*vote),
            Step::Prepare => {}
        }
    }
}

fn workload(seed: u64, steps: usize) -> Vec<Step> {
    let mut chance = Chance(seed);
    let mut model = Model::default();
    let mut term = 1;
    let mut story = vec![Step::Vote(Vote { term, node: 1, committed: true })];
    model.apply(&story[0]);
    while story.len() < steps {
        let step = match chance.below(0..20) {
            0..8 => {
                let count = chance.below(1..5);
                let entries = (0..count).map(|place| {
                    let bytes = if chance.below(0..30) == 0 { 900 } else { chance.below(0..180) };
                    let payload: Vec<u8> = (0..bytes).map(|_| chance.below(0..256) as u8).collect();
                    entry(term, model.end() + place, payload)
                });
                Step::Append(entries.collect())
            }
            8..14 => Step::Sync,
            14..16 if !model.entries.is_empty() => {
                let cut = chance.below(model.start.max(model.end().saturating_sub(12))..model.end());
                term += 1;
                story.push(Step::Vote(Vote { term, node: 2, committed: false }));
                model.apply(&story[story.len() - 1]);
                Step::Truncate(cut.checked_sub(1).and_then(|last| model.log_id(last)))
            }
            16 if model.end() > model.start => {
                let upto = chance.below(model.start..model.end());
                Step::Purge(model.log_id(upto).unwrap())
            }
            17 if chance.below(0..4) == 0 => Step::Purge(LogId { term, index: model.end() + chance.below(0..20) }),
            18 => {
                term += 1;
                Step::Vote(Vote { term, node: 3, committed: chance.below(0..2) == 0 })
            }
            19 => Step::Prepare,
            _ => continue,
        };
        model.apply(&step);
        story.push(step);
    }
    story
}

fn perform(log: &Log, step: &Step) -> Result<(), crate::wal::WalError> {
    match step {
        Step::Append(entries) => log.append(entries),
        Step::Sync => log.sync().map(|_| ()),
        Step::Truncate(last) => log.truncate_after(*last),
        Step::Purge(upto) => log.purge(*upto),
        Step::Vote(vote) => log.save_vote(*vote),
        Step::Prepare => log.prepare_next().map(|_| ()),
    }
}

/// The state before the step that the power loss hit, and that step.
struct Fate {
    before: Model,
    hit: Option<Step>,
}

fn run(disk: &FaultyDisk, story: &[Step]) -> Fate {
    let mut before = Model::default();
    let Ok((log, _)) = open(disk) else { return Fate { before, hit: None } };
    for step in story {
        if perform(&log, step).is_err() {
            return Fate { before, hit: Some(step.clone()) };
        }
        before.apply(step);
    }
    Fate { before, hit: None }
}

/// Entries and holes of the log, in order.
fn contents(log: &Log) -> Vec<Result<RawEntry, LogId>> {
    let (Some(first), Some(last)) = (log.first(), log.last()) else { return Vec::new() };
    (first.index..=last.index)
        .map(|index| match log.read(index..index + 1, usize::MAX) {
            Ok(entries) => Ok(entries[0].clone()),
            Err(ReadError::Hole { log_id }) => Err(log_id),
            Err(error) => panic!("entry {index}: {error}"),
        })
        .collect()
}

/// Term and vote are the same. That the vote won may be forgotten, and never be made up.
fn is_kept(saved: Option<Vote>, found: Option<Vote>) -> bool {
    match (saved, found) {
        (Some(saved), Some(found)) => {
            (saved.term, saved.node) == (found.term, found.node) && (saved.committed || !found.committed)
        }
        (saved, found) => saved == found,
    }
}

/// The log agrees with one of the states it may be in.
fn check(log: &Log, fate: &Fate) -> Result<(), String> {
    let after = fate.hit.as_ref().map(|step| {
        let mut after = fate.before.clone();
        after.apply(step);
        after
    });
    let candidates: Vec<&Model> = std::iter::once(&fate.before).chain(&after).collect();
    if !candidates.iter().any(|model| is_kept(model.vote, log.vote())) {
        return Err(format!("vote {:?}", log.vote()));
    }
    if !candidates.iter().any(|model| model.purged == log.purged()) {
        return Err(format!("purged {:?}", log.purged()));
    }
    let held = contents(log);
    let mut reasons = Vec::new();
    for model in candidates.iter().filter(|model| model.purged == log.purged()) {
        match agrees(&held, log, model, fate) {
            Ok(()) => return Ok(()),
            Err(reason) => reasons.push(reason),
        }
    }
    Err(reasons.join("; or: "))
}

fn agrees(held: &[Result<RawEntry, LogId>], log: &Log, model: &Model, fate: &Fate) -> Result<(), String> {
    if let Some(first) = log.first().filter(|first| first.index != model.start) {
        return Err(format!("starts at {first}, not {}", model.start));
    }
    // An append, a sync or a purge in flight may have made any prefix of what was pending durable, but no less than
    // what was before.
    let surely = match fate.hit {
        Some(Step::Purge(upto)) => {
            let before = fate.before.start + fate.before.durable as u64;
            before.saturating_sub(model.start.max(fate.before.start)).min((upto.index + 1).max(before)) as usize
        }
        _ => model.durable.min(fate.before.durable),
    };
    if held.len() < surely.min(model.entries.len()) || held.len() > model.entries.len() {
        return Err(format!("holds {}, {} durable, {} appended", held.len(), surely, model.entries.len()));
    }
    for (place, (found, expected)) in held.iter().zip(&model.entries).enumerate() {
        match found {
            Ok(found) if found == expected => {}
            Err(hole) if place >= surely && *hole == expected.log_id => {}
            other => return Err(format!("place {place}: {other:?}, not {:?}", expected.log_id)),
        }
    }
    Ok(())
}

fn crash_everywhere(seed: u64, steps: usize) -> u64 {
    let story = workload(seed, steps);
    let whole = FaultyDisk::new(seed);
    run(&whole, &story);
    let changes = whole.counters().changes;
    let mut cases = 0;
    for cut in 0..changes {
        let stopped = FaultyDisk::new(seed);
        stopped.power_off_after(cut);
        let fate = run(&stopped, &story);
        for policy in POLICIES {
            let name = format!("seed {seed}, power off after {cut} of {changes}, {policy:?}, during {:?}", fate.hit);
            let disk = stopped.copy(seed ^ cut << 8);
            disk.crash(policy);
            let (log, opened) = open(&disk).unwrap_or_else(|error| panic!("{name}: {error}"));
            check(&log, &fate).unwrap_or_else(|reason| panic!("{name}: {reason}\n{opened:#?}"));
            // What was opened is durable, and stays what it is.
            let held = contents(&log);
            drop(log);
            disk.crash(CrashPolicy::LoseUnsynced);
            let (log, again) = open(&disk).unwrap_or_else(|error| panic!("{name}, again: {error}"));
            assert_eq!(contents(&log), held, "{name}: opened twice, {again:?}");
            assert_eq!(again.repaired, Vec::<String>::new(), "{name}: repaired once is repaired");
            go_on(&disk, log, &name);
            cases += 1;
        }
    }
    cases
}

/// The log is as good as any other.
fn go_on(disk: &FaultyDisk, log: Log, name: &str) {
    let index = log.last().or(log.purged()).map_or(0, |last| last.index + 1);
    log.save_vote(Vote { term: 1000, node: 9, committed: true }).unwrap();
    log.append(&[entry(1000, index, "more"), entry(1000, index + 1, vec![7; 300])]).unwrap();
    log.sync().unwrap();
    let held = contents(&log);
    drop(log);
    disk.crash(CrashPolicy::LoseUnsynced);
    let (log, _) = open(disk).unwrap_or_else(|error| panic!("{name}, after more: {error}"));
    assert_eq!(contents(&log), held, "{name}, after more");
}

#[test]
fn no_crash_point_loses_or_revives_anything() {
    let cases: u64 = (1..=12).map(|seed| crash_everywhere(seed, 60)).sum();
    assert!(cases > 5_000, "only {cases} crash points");
}

#[test]
#[ignore = "minutes; run it after changing anything that writes"]
fn no_crash_point_loses_or_revives_anything_at_length() {
    for seed in 100..400 {
        crash_everywhere(seed, 120);
    }
}

/// The process ends at a failed fsync and starts again while the machine lives: what the cache shows is not on the
/// medium, and must not be acknowledged before it is (ATC'20).
#[test]
fn the_tail_is_not_trusted_because_a_cached_read_looks_right() {
    for synced in 0..3 {
        let disk = FaultyDisk::new(synced);
        let (log, _) = open(&disk).unwrap();
        log.save_vote(Vote { term: 1, node: 1, committed: true }).unwrap();
        for index in 0..synced {
            log.append(&[entry(1, index, "durable")]).unwrap();
            log.sync().unwrap();
        }
        log.append(&[entry(1, synced, "written, and the sync failed")]).unwrap();
        disk.fail_all_syncs();
        let error = log.sync().unwrap_err();
        assert!(error.is_fatal());
        disk.heal();
        assert!(matches!(log.append(&[entry(1, synced + 1, "x")]), Err(crate::wal::WalError::Poisoned { .. })));
        assert!(log.sync().is_err() && log.save_vote(Vote { term: 9, node: 1, committed: true }).is_err());
        disk.kill();
        let (log, _) = open(&disk).unwrap();
        let held = contents(&log);
        drop(log);
        disk.crash(CrashPolicy::LoseUnsynced);
        let (log, opened) = open(&disk).unwrap();
        assert_eq!((contents(&log), opened.repaired), (held.clone(), vec![]), "what was opened was durable");
        assert!(held.len() as u64 >= synced);
    }
}

#[test]
fn a_vote_whose_sync_failed_is_durable_once_it_was_seen() {
    let disk = FaultyDisk::new(1);
    let (log, _) = open(&disk).unwrap();
    log.save_vote(Vote { term: 1, node: 1, committed: true }).unwrap();
    disk.fail_next_sync();
    log.save_vote(Vote { term: 2, node: 2, committed: false }).unwrap_err();
    disk.kill();
    let (log, _) = open(&disk).unwrap();
    let seen = log.vote();
    drop(log);
    disk.crash(CrashPolicy::LoseUnsynced);
    assert_eq!(open(&disk).unwrap().0.vote(), seen);
}

#[test]
fn that_a_vote_won_costs_no_sync_and_goes_to_the_disk_with_the_next_save() {
    let won = Vote { term: 1, node: 2, committed: true };
    let disk = FaultyDisk::new(1);
    let (log, _) = open(&disk).unwrap();
    log.save_vote(Vote { committed: false, ..won }).unwrap();
    disk.fail_next_sync();
    log.save_vote(won).unwrap();
    assert_eq!(log.vote(), Some(won));
    // The sync that fails is the next one.
    log.save_vote(Vote { term: 2, node: 3, committed: false }).unwrap_err();
    drop(log);
    disk.crash(CrashPolicy::LoseUnsynced);
    assert_eq!(open(&disk).unwrap().0.vote(), Some(Vote { committed: false, ..won }));

    let (log, _) = open(&disk).unwrap();
    log.save_vote(won).unwrap();
    log.append(&[entry(1, 0, "x")]).unwrap();
    log.sync().unwrap();
    log.purge(LogId { term: 1, index: 0 }).unwrap();
    drop(log);
    disk.crash(CrashPolicy::LoseUnsynced);
    assert_eq!(open(&disk).unwrap().0.vote(), Some(won));
}
