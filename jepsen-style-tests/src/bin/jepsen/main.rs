//! `jepsen`: judges recorded histories, makes and judges its own, and measures failovers. See `docs/TESTING.md`.

mod check;
#[cfg(not(madsim))]
mod run;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
#[cfg(not(madsim))]
use holdfast_jepsen::failover::{self, FailoverArgs};

#[derive(Parser)]
#[command(name = "jepsen", about = "Judges histories, anyone's and those of its own runs, and measures failovers")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Check(check::Check),
    #[cfg(not(madsim))]
    Run(run::Run),
    #[cfg(not(madsim))]
    Failover(FailoverArgs),
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Check(check) => check.run(),
        #[cfg(not(madsim))]
        Command::Run(run) => run.run(),
        #[cfg(not(madsim))]
        Command::Failover(args) => failover::main(&args),
    }
}
