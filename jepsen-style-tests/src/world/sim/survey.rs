//! Many seeds: side by side on all processors, each in a thread of its own, and what they came by together.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use holdfast_node::env::probe::Probe;
use parking_lot::Mutex;

use super::Outcome;
use crate::history::Tally;
use crate::nemesis::Class;
use crate::report::Hits;

/// What many runs came by.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    pub runs: u64,
    pub wrong: BTreeSet<u64>,
    pub hits: BTreeMap<Class, Hits>,
    pub probes: BTreeMap<Probe, u64>,
    pub operations: Tally,
    pub all: Pace,
    pub of_three_nodes: Pace,
}

/// How much time passed in simulated worlds, and on processors meanwhile.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    pub simulated: Duration,
    pub cpu: Duration,
}

impl Pace {
    fn note(&mut self, outcome: &Outcome) {
        self.simulated += outcome.attempt.simulated;
        self.cpu += outcome.attempt.cpu;
    }
}

impl fmt::Display for Pace {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (simulated, cpu) = (self.simulated.as_secs_f64(), self.cpu.as_secs_f64());
        let speed = simulated / cpu.max(f64::MIN_POSITIVE);
        write!(out, "{simulated:.0} simulated seconds in {cpu:.0} s of processors: {speed:.0} a second")
    }
}

impl Survey {
    fn note(&mut self, seed: u64, outcome: &Outcome) {
        self.runs += 1;
        if !outcome.troubles.is_empty() {
            self.wrong.insert(seed);
        }
        for (class, hits) in outcome.report.iter().flat_map(|report| &report.hits) {
            let sum = self.hits.entry(*class).or_default();
            sum.struck += hits.struck;
            sum.passed_over += hits.passed_over;
        }
        for (probe, times) in &outcome.attempt.probes {
            *self.probes.entry(*probe).or_default() += times;
        }
        if let Some(report) = &outcome.report {
            self.operations.ok += report.tally.ok;
            self.operations.failed += report.tally.failed;
            self.operations.unknown += report.tally.unknown;
        }
        self.all.note(outcome);
        if outcome.nodes == 3 {
            self.of_three_nodes.note(outcome);
        }
    }

    pub fn never_reached(&self) -> Vec<Probe> {
        Probe::ALL.iter().copied().filter(|probe| !self.probes.contains_key(probe)).collect()
    }
}

impl fmt::Display for Survey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{} runs, {} wrong; {}", self.runs, self.wrong.len(), self.operations)?;
        writeln!(out, "{}\nof that in clusters of three: {}", self.all, self.of_three_nodes)?;
        writeln!(out, "\n{:>16}  struck  passed over", "faults")?;
        for class in Class::ALL {
            let hits = self.hits.get(&class).copied().unwrap_or_default();
            writeln!(out, "{:>16}  {:>6}  {:>11}", class.name(), hits.struck, hits.passed_over)?;
        }
        writeln!(out, "\n{:>9}  rare paths", "times")?;
        for (probe, times) in &self.probes {
            writeln!(out, "{times:>9}  {}", probe.path())?;
        }
        for probe in self.never_reached() {
            writeln!(out, "    never  {}", probe.path())?;
        }
        Ok(())
    }
}

/// Runs all seeds. `look` sees each outcome as it comes, and says whether to go on.
pub fn survey(
    seeds: &[u64],
    run: impl Fn(u64) -> Outcome + Sync,
    look: impl FnMut(u64, &Outcome) -> bool + Send,
) -> Survey {
    let (next, noted) = (AtomicUsize::new(0), Mutex::new((Survey::default(), look)));
    let workers = std::thread::available_parallelism().map_or(1, NonZero::get).min(seeds.len());
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = run(*seed);
                    let (survey, look) = &mut *noted.lock();
                    survey.note(*seed, &outcome);
                    if !look(*seed, &outcome) {
                        next.store(seeds.len(), Ordering::Relaxed);
                    }
                }
            });
        }
    });
    noted.into_inner().0
}
