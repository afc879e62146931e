//! The order of things: clusters are started once and filled, then each cell is measured in rounds, the contenders
//! taking turns.
//!
//! While one is driven the others idle. That costs a little (heartbeats, ticks), for whoever's turn it is; the CPU they
//! took meanwhile is recorded with each run, and the report says how much it was at most.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;

use crate::bench::args::{Args, Cell, Plan};
use crate::bench::cluster::Cluster;
use crate::bench::contender::{Contender, Kind};
use crate::bench::dataset::Dataset;
use crate::bench::error::BenchError;
use crate::bench::load::{self, Load, Measured};
use crate::bench::machine::Machine;
use crate::bench::proc_stat::{self, Cpu};
use crate::bench::process::Ports;

/// Everything there is to say about one benchmark; the tables are made of it, and `--json` writes it.
#[derive(Clone, Debug, Serialize)]
pub struct Record {
    /// Repeats it.
    pub command: String,
    pub machine: Machine,
    pub contenders: Vec<Contender>,
    pub plan: Plan,
    pub keys: u32,
    pub connections_max: u32,
    pub target: Target,
    pub runs: Vec<Run>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    Spread,
    Leader,
}

/// One contender, one cell, one round.
#[derive(Clone, Debug, Serialize)]
pub struct Run {
    pub kind: Kind,
    pub cell: Cell,
    pub round: u32,
    pub measured: Measured,
    /// Somebody else led afterwards, or the same one in another term: part of the run is an outage.
    pub leader_changed: bool,
    pub around: Around,
}

/// Who else used the cores during a run. Each is a share of one core.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Around {
    /// The servers whose turn it was not.
    pub idle_servers: f64,
    /// Everything but the servers and the generator: other programs, interrupts, what a hypervisor took.
    pub elsewhere: f64,
}

/// The books before a run, to be compared with those after it.
struct Books {
    at: Instant,
    idle_servers: Cpu,
    ours: Cpu,
    machine: Cpu,
}

impl Books {
    fn look(idle: &[u32], driven: &[u32]) -> Self {
        let idle_servers = proc_stat::cpu(idle);
        let ours = idle_servers + proc_stat::cpu(driven) + proc_stat::cpu(&[std::process::id()]);
        Self { at: Instant::now(), idle_servers, ours, machine: proc_stat::machine_busy() }
    }

    fn compare(&self, after: &Self) -> Around {
        let seconds = (after.at - self.at).as_secs_f64();
        let share = |cpu: Cpu| cpu.duration().as_secs_f64() / seconds;
        Around {
            idle_servers: share(after.idle_servers - self.idle_servers),
            elsewhere: share((after.machine - self.machine) - (after.ours - self.ours)),
        }
    }
}

impl Record {
    pub fn errors(&self) -> u64 {
        self.runs.iter().map(|run| run.measured.error_count()).sum()
    }
}

pub async fn run(args: &Args, plan: &Plan) -> Result<Record, BenchError> {
    let with_path = |source| BenchError::File { path: args.folder.clone(), source };
    std::fs::create_dir_all(&args.folder).map_err(with_path)?;
    let contenders = Contender::all(args)?;
    let machine = Machine::look(&args.folder)?;
    let mut folder = tempfile::Builder::new().prefix("bench-").tempdir_in(&args.folder).map_err(with_path)?;
    if args.keep {
        folder.disable_cleanup(true);
        eprintln!("bench: data and logs stay in {}", folder.path().display());
    }

    let mut ports = Ports::new();
    let mut clusters = Vec::new();
    for contender in &contenders {
        eprintln!("bench: starting {}", contender.label);
        clusters.push(Cluster::start(contender, folder.path(), &mut ports).await?);
    }
    let datasets = datasets(args, plan);
    for cluster in &clusters {
        for dataset in datasets.values() {
            cluster.fill(dataset).await?;
        }
    }

    let target = if args.target_leader { Target::Leader } else { Target::Spread };
    let mut stage = Stage { clusters, datasets, plan, connections_max: args.connections, target };
    let runs = stage.play().await?;
    Ok(Record {
        command: args.command(),
        machine,
        contenders,
        plan: plan.clone(),
        keys: args.keys,
        connections_max: args.connections,
        target,
        runs,
    })
}

/// One for each value size of the plan.
fn datasets(args: &Args, plan: &Plan) -> BTreeMap<u32, Arc<Dataset>> {
    let sizes = plan.cells.iter().map(|cell| cell.value_bytes);
    sizes.map(|size| (size, Dataset::new(args.keys, size, args.seed))).collect()
}

struct Stage<'a> {
    clusters: Vec<Cluster>,
    datasets: BTreeMap<u32, Arc<Dataset>>,
    plan: &'a Plan,
    connections_max: u32,
    target: Target,
}

impl Stage<'_> {
    async fn play(&mut self) -> Result<Vec<Run>, BenchError> {
        let mut runs = Vec::new();
        for cell in &self.plan.cells {
            for round in 0..self.plan.rounds {
                for at in turns(self.clusters.len(), round) {
                    runs.push(self.turn(at, cell, round).await?);
                }
            }
        }
        for cluster in &self.clusters {
            cluster.verify().await?;
        }
        Ok(runs)
    }

    /// One run of one contender, the others idling.
    async fn turn(&mut self, at: usize, cell: &Cell, round: u32) -> Result<Run, BenchError> {
        let others = self.clusters.iter().enumerate().filter(|(other, _)| *other != at);
        let idle: Vec<_> = others.flat_map(|(_, cluster)| cluster.pids()).collect();
        let cluster = &mut self.clusters[at];
        let before = cluster.settle().await?;
        let mut urls = cluster.urls(before.leader);
        if self.target == Target::Leader {
            urls.truncate(1);
        }
        let load = Load {
            cell: *cell,
            round,
            dataset: Arc::clone(&self.datasets[&cell.value_bytes]),
            urls,
            connections_max: self.connections_max,
            warm_up: self.plan.warm_up,
            window: self.plan.window,
            pids: cluster.pids(),
        };

        let books = Books::look(&idle, &cluster.pids());
        let measured = load::run(load).await?;
        let around = books.compare(&Books::look(&idle, &cluster.pids()));

        cluster.check()?;
        let after = cluster.settle().await?;
        let leader_changed = before.leader != after.leader;
        let kind = cluster.contender.kind;
        let mut run = Run { kind, cell: *cell, round, measured, leader_changed, around };
        if kind != Kind::Null && cell.workload.writes() {
            note_missing(&mut run.measured, before.revision, after.revision);
            cluster.compact(after.revision).await?;
        }
        announce(&run, self.plan.rounds);
        Ok(run)
    }
}

/// Forwards and backwards in turn, so that nobody always comes after the same neighbour.
fn turns(contenders: usize, round: u32) -> Vec<usize> {
    let forwards = 0..contenders;
    if round.is_multiple_of(2) { forwards.collect() } else { forwards.rev().collect() }
}

/// Each put makes a revision; given are the store's before and after. Fewer revisions than acknowledged puts: something
/// was acknowledged and is not there.
fn note_missing(measured: &mut Measured, before: i64, after: i64) {
    let made = u64::try_from(after - before).unwrap_or(0);
    let missing = measured.acknowledged_puts.saturating_sub(made);
    if missing > 0 {
        let example = format!("{} puts were acknowledged and {made} revisions made", measured.acknowledged_puts);
        measured.note_error("lost", missing, example);
    }
}

fn announce(run: &Run, rounds: u32) {
    let Run { kind, cell, round, measured, .. } = run;
    let milliseconds = |micros: u32| f64::from(micros) / 1e3;
    eprintln!(
        "{cell}, round {}/{rounds}: {kind:8} {:8.0}/s  p50 {:.2} ms  p99 {:.2} ms  max {:.1} ms  \
         CPU {:.0} us/op  errors {}{}",
        round + 1,
        measured.rate(),
        milliseconds(measured.latency.p50_us),
        milliseconds(measured.latency.p99_us),
        milliseconds(measured.latency.max_us),
        measured.server_cpu_us(),
        measured.error_count(),
        if run.leader_changed { "  (the leader changed)" } else { "" },
    );
}

#[cfg(test)]
impl Run {
    pub fn for_test(kind: Kind, cell: Cell, round: u32, operations: u64) -> Self {
        let measured = Measured { operations, window_s: 1.0, ..Measured::default() };
        Self {
            kind,
            cell,
            round,
            measured,
            leader_changed: false,
            around: Around { idle_servers: 0.0, elsewhere: 0.0 },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_acknowledged_put_without_its_revision_is_an_error() {
        let cell = Cell { workload: crate::bench::args::Workload::Put, value_bytes: 1, clients: 1 };
        let mut measured = Run::for_test(Kind::Etcd, cell, 0, 10).measured;
        measured.acknowledged_puts = 10;
        note_missing(&mut measured, 100, 111);
        assert_eq!(measured.error_count(), 0);
        note_missing(&mut measured, 100, 107);
        assert_eq!(measured.errors["lost"].count, 3);
    }

    #[test]
    fn the_order_alternates() {
        assert_eq!(turns(3, 0), [0, 1, 2]);
        assert_eq!(turns(3, 1), [2, 1, 0]);
        assert_eq!(turns(3, 2), [0, 1, 2]);
    }
}
