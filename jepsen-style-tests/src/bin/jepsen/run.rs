//! Runs over real processes: a plan for each seed, the workload meanwhile, and what is left behind.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{ValueEnum, value_parser};
use holdfast_jepsen::campaign;
use holdfast_jepsen::nemesis::{Class, Plan, Scope};
use holdfast_jepsen::report::Report;
use holdfast_jepsen::workload::Kind;
use holdfast_jepsen::world::process::{ProcessWorld, Server, Subject};
use tokio::signal::unix::{SignalKind, signal};

const VIOLATED: u8 = 1;
const NOT_RUN: u8 = 2;
/// Time of faults, where only the whole time is known: the rest goes to starting, healing and judging.
const RUN_OVERHEAD: Duration = Duration::from_secs(30);

/// Runs a workload over real processes while faults strike, and judges what clients saw
#[derive(clap::Args)]
#[command(
    after_help = "Leaves in --out, for each seed: report.txt, timeline.txt (every operation and every fault, with its
time), the log of each node, and a picture of each history that is wrong.

The seed decides what strikes when, and not which process is faster: the same seed strikes the same way, and may end in
another way.

Exit code: 0 nothing was violated, 1 something was (or no verdict was reached), 2 it could not run"
)]
pub struct Run {
    /// The first seed [default: drawn, and printed]
    #[arg(long)]
    seed: Option<u64>,
    /// How many seeds
    #[arg(long, default_value_t = 1)]
    runs: u64,
    /// Instead of --runs: as many seeds as fit into so many minutes
    #[arg(long, conflicts_with = "runs", value_parser = value_parser!(u64).range(1..=100_000))]
    minutes: Option<u64>,
    /// How long faults strike in each run
    #[arg(long, default_value_t = 60, value_parser = value_parser!(u64).range(1..=36_000))]
    seconds: u64,
    /// What clients do [default: each seed draws one]
    #[arg(long, value_parser = workload)]
    workload: Option<Kind>,
    /// Classes of faults to draw from, such as kill,one-way,slow-disk [default: all that processes can meet; a
    /// seed draws some of them]
    #[arg(long, value_delimiter = ',', value_parser = class)]
    nemesis: Vec<Class>,
    #[arg(long, value_enum, default_value_t = Which::Holdfast)]
    server: Which,
    /// The server's program [default: the one beside this program, or the etcd in PATH]
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Where reports go
    #[arg(long, value_name = "FOLDER", default_value = "target/jepsen")]
    out: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Which {
    Holdfast,
    Etcd,
}

fn workload(name: &str) -> Result<Kind, String> {
    let names = || Kind::ALL.map(Kind::name).join(", ");
    Kind::by_name(name).ok_or_else(|| format!("there are: {}", names()))
}

fn class(name: &str) -> Result<Class, String> {
    let names = || Class::ALL.map(Class::name).join(", ");
    Class::by_name(name).ok_or_else(|| format!("there are: {}", names()))
}

#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error("no runtime, or no signals: {0}")]
    Runtime(#[source] io::Error),
    #[error("{path}: {source}", path = .path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("interrupted")]
    Interrupted,
}

impl Run {
    pub fn run(&self) -> ExitCode {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(RunError::Runtime);
        match runtime.and_then(|runtime| runtime.block_on(self.until_signalled())) {
            Ok(0) => ExitCode::SUCCESS,
            Ok(_) => ExitCode::from(VIOLATED),
            Err(error) => {
                eprintln!("jepsen run: {error}");
                ExitCode::from(NOT_RUN)
            }
        }
    }

    /// A signal drops everything where it stands, and with it the processes that were started.
    async fn until_signalled(&self) -> Result<usize, RunError> {
        let mut terminate = signal(SignalKind::terminate()).map_err(RunError::Runtime)?;
        tokio::select! {
            biased;
            _ = tokio::signal::ctrl_c() => Err(RunError::Interrupted),
            _ = terminate.recv() => Err(RunError::Interrupted),
            done = self.all() => done,
        }
    }

    /// Returns how many runs were wrong.
    async fn all(&self) -> Result<usize, RunError> {
        let begun = std::time::Instant::now();
        let first = self.seed.unwrap_or_else(drawn);
        let (mut wrong, mut done) = (0, 0);
        loop {
            let seed = first.wrapping_add(done);
            wrong += usize::from(!self.one(seed).await?.is_right());
            done += 1;
            let is_enough = match self.minutes {
                Some(minutes) => {
                    let next = Duration::from_secs(self.seconds) + RUN_OVERHEAD;
                    begun.elapsed() + next > Duration::from_secs(minutes * 60)
                }
                None => done >= self.runs,
            };
            if is_enough {
                println!("{done} runs of {} s, seeds {first} to {seed}: {wrong} wrong", self.seconds);
                return Ok(wrong);
            }
        }
    }

    async fn one(&self, seed: u64) -> Result<Report, RunError> {
        let classes = if self.nemesis.is_empty() { ProcessWorld::classes() } else { self.nemesis.clone() };
        let plan = Plan::draw(seed, &Scope { classes, faults: Duration::from_secs(self.seconds), zones: None });
        let count = Kind::ALL.len() as u64;
        let drawn = Kind::ALL[usize::try_from(seed % count).expect("fewer workloads than that")];
        let kind = self.workload.unwrap_or(drawn);
        println!("{plan}");
        let server = if self.server == Which::Etcd { Server::Etcd } else { Server::Holdfast };
        let world = Arc::new(ProcessWorld::start(Subject { server, program: self.program.clone() }, &plan).await);
        let report = campaign::run(Arc::clone(&world) as _, &plan, kind).await;
        println!("{report}");
        let folder = self.out.join(format!("{}-{seed}", kind.name()));
        leave(&folder, &report, &world.logs().await)?;
        if !report.is_right() {
            println!("  {}\n  again: {}", folder.display(), self.command(seed, kind));
        }
        Ok(report)
    }

    fn command(&self, seed: u64, kind: Kind) -> String {
        let mut command = format!("jepsen run --seed {seed} --seconds {} --workload {}", self.seconds, kind.name());
        if !self.nemesis.is_empty() {
            let names: Vec<&str> = self.nemesis.iter().map(|class| class.name()).collect();
            command.push_str(&format!(" --nemesis {}", names.join(",")));
        }
        if self.server == Which::Etcd {
            command.push_str(" --server etcd");
        }
        if let Some(program) = &self.program {
            command.push_str(&format!(" --program {}", program.display()));
        }
        command
    }
}

/// Another one each time; it is printed.
fn drawn() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.as_secs()
}

fn leave(folder: &Path, report: &Report, logs: &[(String, String)]) -> Result<(), RunError> {
    fs::create_dir_all(folder).map_err(|source| RunError::File { path: folder.to_owned(), source })?;
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        fs::write(&path, text).map_err(|source| RunError::File { path, source })
    };
    write("report.txt", &format!("{}\n{report}\n", report.plan))?;
    write("timeline.txt", &report.timeline.text())?;
    for (name, text) in logs {
        write(&format!("{name}.log"), text)?;
    }
    let pictures = report.violations.iter().filter_map(|violation| violation.picture.as_ref());
    for (number, picture) in pictures.enumerate() {
        write(&format!("history-{}.svg", number + 1), picture)?;
    }
    Ok(())
}
