//! `jepsen`: judges recorded histories, and measures failovers. See `docs/TESTING.md`.

mod check;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
#[cfg(not(madsim))]
use holdfast_jepsen::failover::{self, FailoverArgs};

#[derive(Parser)]
#[command(name = "jepsen", about = "Judges recorded histories, and measures failovers")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Check(check::Check),
    #[cfg(not(madsim))]
    Failover(FailoverArgs),
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Check(check) => check.run(),
        #[cfg(not(madsim))]
        Command::Failover(args) => failover::main(&args),
    }
}
