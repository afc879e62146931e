//! The simulator: `make sim SEEDS=50`, or `make sim SEED=1234` to replay one seed with its trace.
//!
//! Seeds come from HOLDFAST_SIM_SEED (the first) and HOLDFAST_SIM_SEEDS (how many).

#![cfg(madsim)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use holdfast_jepsen::nemesis::{Plan, Scope};
use holdfast_jepsen::workload::Kind;
use holdfast_jepsen::world::sim::{self, Plant};
use parking_lot::Mutex;

const STORY_LIMIT: Duration = Duration::from_secs(600);
/// For how long faults strike in a campaign.
const FAULTS: Duration = Duration::from_secs(20);
/// Of the end of a timeline, when a seed among many is wrong.
const SHOWN_LINES: usize = 60;

fn number(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is {text:?}, not a number")),
        Err(_) => default,
    }
}

/// Runs a story under the seeds that were asked for.
fn under_many_seeds<F, Fut>(story: F)
where
    F: Fn(sim::Trace) -> Fut + Copy + Send + 'static,
    Fut: Future<Output = ()> + 'static,
{
    let first = number("HOLDFAST_SIM_SEED", 1);
    let seeds = number("HOLDFAST_SIM_SEEDS", 5);
    for seed in first..first + seeds {
        let trace = sim::run(seed, STORY_LIMIT, story);
        println!("seed {seed}: {}", trace.tail(1).trim());
        if seeds == 1 {
            println!("{}", trace.text());
        }
    }
}

#[test]
fn failover_under_many_seeds() {
    under_many_seeds(sim::failover);
}

#[test]
fn catching_up_under_many_seeds() {
    under_many_seeds(sim::catch_up);
}

/// One run of the register; what became of its writes.
fn register(seed: u64, writes: sim::Writes) -> sim::Score {
    let score = Arc::new(Mutex::new(sim::Score::default()));
    let inside = Arc::clone(&score);
    let trace = sim::run(seed, STORY_LIMIT, move |trace| sim::register_under_lock(trace, writes, inside));
    println!("seed {seed}, {writes:?}: {}", trace.tail(1).trim());
    let score = score.lock();
    score.clone()
}

#[test]
fn guarded_writes_under_a_lock_lose_no_update() {
    let first = number("HOLDFAST_SIM_SEED", 1);
    let seeds = number("HOLDFAST_SIM_SEEDS", 5);
    let (mut acknowledged, mut fenced) = (0, 0);
    for seed in first..first + seeds {
        let score = register(seed, sim::Writes::Guarded);
        let lost = &score.lost;
        assert!(lost.is_empty(), "seed {seed} lost {lost:?}; replay: make sim SEED={seed}");
        acknowledged += score.acknowledged.len();
        fenced += score.fenced;
    }
    println!("{seeds} seeds: {acknowledged} updates acknowledged, {fenced} fenced, none lost");
    assert!(acknowledged > 0 && fenced > 0, "nothing was written, or no guard was ever needed: nothing was tested");
}

/// The same story without the guard loses updates. If it did not, the test above would show nothing.
#[test]
fn plain_writes_under_a_lock_lose_updates() {
    let first = number("HOLDFAST_SIM_SEED", 1);
    let loses = (first..first + 20).find(|seed| !register(*seed, sim::Writes::Plain).lost.is_empty());
    assert!(loses.is_some(), "twenty seeds without a guard lost nothing: the story does not try hard enough");
}

/// Which workload a seed is for.
fn kind_of(seed: u64) -> Kind {
    Kind::ALL[usize::try_from(seed).expect("small") % Kind::ALL.len()]
}

fn plan_of(seed: u64) -> Plan {
    Plan::draw(seed, &Scope { faults: FAULTS, ..Scope::default() })
}

/// Random faults from the seed, and every workload.
#[test]
fn campaigns_under_many_seeds() {
    let first = number("HOLDFAST_SIM_SEED", 1);
    let seeds: Vec<u64> = (first..first + number("HOLDFAST_SIM_SEEDS", 5)).collect();
    let alone = seeds.len() == 1;
    let survey = sim::survey(
        &seeds,
        |seed| sim::campaign(&plan_of(seed), kind_of(seed), Plant::default()),
        |seed, outcome| {
            match &outcome.report {
                Some(report) => println!("{report}"),
                None => println!("seed {seed}, {}: it did not come to its end", kind_of(seed).name()),
            }
            if alone || !outcome.troubles.is_empty() {
                show(seed, outcome, alone);
            }
            true
        },
    );
    println!("\n{survey}");
    assert!(survey.operations.ok > 0, "nothing was done, so nothing was tested");
    let replays: Vec<String> = survey.wrong.iter().map(|seed| format!("make sim SEED={seed}")).collect();
    assert!(
        replays.is_empty(),
        "{} of {} seeds are wrong; replay:\n{}",
        replays.len(),
        seeds.len(),
        replays.join("\n")
    );
}

/// What went wrong under a seed, and how: all of it for a replay.
fn show(seed: u64, outcome: &sim::Outcome, whole: bool) {
    let trace = &outcome.attempt.trace;
    if whole {
        println!("{}", trace.text());
    }
    if let Some(report) = &outcome.report {
        let timeline = report.timeline.text();
        let from = if whole { 0 } else { timeline.lines().count().saturating_sub(SHOWN_LINES) };
        timeline.lines().skip(from).for_each(|line| println!("{line}"));
    } else if !whole {
        println!("{}", trace.tail(SHOWN_LINES));
    }
    for trouble in &outcome.troubles {
        println!("seed {seed}: {trouble}");
    }
    if let Some(report) = outcome.report.as_ref().filter(|report| !report.is_right()) {
        let written = report.write_to(Path::new(env!("CARGO_TARGET_TMPDIR")), &format!("make sim SEED={seed}"));
        println!("the whole story: {written:?}");
    }
    println!("replay: make sim SEED={seed}");
}

/// What a seed came to, in a number that differs where anything of it differs: a log line, a time, an operation.
#[test]
#[ignore = "a part of seeds_give_the_same_trace_again"]
fn print_digests() {
    let first = number("HOLDFAST_SIM_SEED", 1);
    let mut seeds: Vec<u64> = (first..first + number("HOLDFAST_SIM_SEEDS", 1)).collect();
    if number("HOLDFAST_SIM_BACKWARDS", 0) == 1 {
        seeds.reverse();
    }
    let survey = sim::survey(
        &seeds,
        |seed| sim::campaign(&plan_of(seed), kind_of(seed), Plant::default()),
        |seed, outcome| {
            let told = outcome.report.as_ref().map(|report| report.timeline.text()).unwrap_or_default();
            let timeline = sim::Trace::default();
            timeline.note(told);
            println!("\nDIGEST {seed} {:016x} {:016x}", outcome.attempt.trace.digest(), timeline.digest());
            true
        },
    );
    println!("\nSURVEY\n{survey}");
    println!("wrong: {:?}", survey.wrong);
}

fn digests_of_another_process(first: u64, seeds: u64, backwards: bool) -> BTreeMap<u64, String> {
    let text = output_of_another_process(
        "print_digests",
        &[
            ("HOLDFAST_SIM_SEED", first),
            ("HOLDFAST_SIM_SEEDS", seeds),
            ("HOLDFAST_SIM_BACKWARDS", u64::from(backwards)),
        ],
    );
    let parse = |line: &str| {
        let (seed, digest) = line.strip_prefix("DIGEST ")?.split_once(' ')?;
        Some((seed.parse().expect("a seed"), digest.to_owned()))
    };
    if let Some((_, survey)) = text.split_once("SURVEY") {
        println!("{survey}");
    }
    text.lines().filter_map(parse).collect()
}

/// Every seed in two processes, in one of them the other way round, each time beside others: the same log lines and
/// operations at the same times, to the byte.
#[test]
fn seeds_give_the_same_trace_again() {
    let (first, seeds) = (number("HOLDFAST_SIM_SEED", 1), number("HOLDFAST_SIM_TWICE", 4));
    let [one, two] = [false, true].map(|backwards| digests_of_another_process(first, seeds, backwards));
    assert_eq!((one.len() as u64, two.len() as u64), (seeds, seeds), "not every seed came to its end");
    let differ: Vec<u64> = one.iter().filter(|(seed, digest)| two[seed] != **digest).map(|(seed, _)| *seed).collect();
    println!("{seeds} seeds ran in two processes, {} differ", differ.len());
    assert!(differ.is_empty(), "these seeds gave two traces: {differ:?}");
    let all: BTreeSet<&String> = one.values().collect();
    assert_eq!(all.len(), one.len(), "two seeds gave one trace: the seed is not used");
}

#[test]
fn hung_disks_under_many_seeds() {
    under_many_seeds(sim::hung_disk);
}

#[test]
fn leaders_with_rotten_logs_under_many_seeds() {
    for when in [sim::Rotten::AtStart, sim::Rotten::WhileItLeads] {
        under_many_seeds(move |trace| sim::rotten_leader(trace, when));
    }
}

#[test]
fn founding_under_many_seeds() {
    under_many_seeds(sim::founding);
}

#[test]
fn lost_founders_under_many_seeds() {
    under_many_seeds(sim::lost_founder);
}

#[test]
fn half_done_changes_of_members_under_many_seeds() {
    under_many_seeds(sim::half_done);
}

/// Prints a trace and nothing else; the test below runs it in processes of its own.
#[test]
#[ignore = "a part of one_seed_gives_one_trace_in_two_processes"]
fn print_trace() {
    let seed = number("HOLDFAST_SIM_SEED", 1);
    // A run before the one that counts: state left over in the process must not show.
    for _ in 0..number("HOLDFAST_SIM_RUNS_BEFORE", 0) {
        sim::run(seed + 1, STORY_LIMIT, sim::failover);
    }
    println!("TRACE-BEGIN\n{}TRACE-END", sim::run(seed, STORY_LIMIT, sim::failover).text());
}

/// Runs one of the tests here in a process of its own, and returns what it prints.
fn output_of_another_process(test: &str, settings: &[(&str, u64)]) -> String {
    let this_test = std::env::current_exe().expect("a running test has a file");
    let output = Command::new(this_test)
        .args(["--exact", test, "--ignored", "--nocapture", "--test-threads=1"])
        .envs(settings.iter().map(|(name, value)| (name, value.to_string())))
        .output()
        .expect("the test can start itself");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("what tests print is text")
}

fn trace_of_another_process(seed: u64, runs_before: u64) -> String {
    let text = output_of_another_process(
        "print_trace",
        &[("HOLDFAST_SIM_SEED", seed), ("HOLDFAST_SIM_RUNS_BEFORE", runs_before)],
    );
    let begin = text.find("TRACE-BEGIN").expect("a trace begins");
    let end = text.find("TRACE-END").expect("a trace ends");
    text[begin..end].to_owned()
}

#[test]
fn one_seed_gives_one_trace_in_two_processes() {
    let seed = number("HOLDFAST_SIM_SEED", 1);
    let one = trace_of_another_process(seed, 0);
    let two = trace_of_another_process(seed, 1);
    assert!(one.lines().count() > 50, "the trace is suspiciously short:\n{one}");
    if one != two {
        let at = one.lines().zip(two.lines()).position(|(a, b)| a != b);
        panic!("seed {seed} gave two traces; they part at line {at:?}");
    }
    assert_ne!(one, trace_of_another_process(seed + 1, 0), "two seeds gave one trace: the seed is not used");
}
