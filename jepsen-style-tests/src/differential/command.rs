//! The command line.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use super::run::{Found, Options, run};
use super::{Report, reference};

/// Asks an etcd and Holdfast the same random things, and compares the answers.
#[derive(Parser)]
#[command(name = "differential")]
struct Args {
    /// Requests to compare.
    #[arg(long, default_value_t = 100_000)]
    requests: u64,
    /// Seed of the first round; the following rounds take the following ones.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Requests in a round. Each begins with empty servers.
    #[arg(long, default_value_t = 5_000)]
    round: u64,
    /// The etcd to compare with [default: HOLDFAST_DIFF_ETCD, or a 3.5 that is found].
    #[arg(long)]
    etcd: Option<PathBuf>,
    /// Print each request.
    #[arg(long)]
    verbose: bool,
    /// Go on with the next round after a difference, up to this many.
    #[arg(long, default_value_t = 1)]
    differences: usize,
}

pub fn main() -> ExitCode {
    let args = Args::parse();
    let etcd = match args.etcd.clone().map_or_else(reference, Ok) {
        Ok(etcd) => etcd,
        Err(why) => {
            eprintln!("differential: {why}");
            return ExitCode::FAILURE;
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("differential: {error}");
            return ExitCode::FAILURE;
        }
    };
    runtime.block_on(until_done(&args, etcd))
}

async fn until_done(args: &Args, etcd: PathBuf) -> ExitCode {
    let mut report = Report::default();
    let mut options =
        Options { seed: args.seed, requests: args.requests, round: args.round, etcd, verbose: args.verbose };
    let mut found = 0;
    while let Err(difference) = run(&options, &mut report).await {
        println!("{difference}");
        found += 1;
        if found >= args.differences {
            break;
        }
        options.seed = difference.seed + 1;
    }
    println!("{report}");
    if found == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}{}", self.difference, self.logs)?;
        writeln!(f, "again: make differential SEED={} N={}", self.seed, self.requests)
    }
}
