//! The benchmark: who does more for the same disk and the same CPU, asked in a way that the answer can be believed.
//!
//! ```text
//!   args       what is asked: which cells (workload x clients x value size), how long, how often
//!   contender  whom: Holdfast, an etcd that is found on the machine, and a server that stores nothing
//!   cluster    three members of one of them as processes: started, waited for, asked who leads, compacted, ended
//!   process    one child process with its log and its ports; dropped means killed
//!   campaign   the order of things: for each cell, round by round, the contenders in turn
//!   load       one run: closed-loop clients over a bounded number of connections, warm-up, window, stragglers
//!   dataset    keys and values, and the requests made of them: the same ones for every contender
//!   latency    exact percentiles of one run
//!   proc_stat  CPU time and memory of processes, as the kernel counts them
//!   report     medians, paired ratios, tables · document  the section of docs/BENCHMARKS.md · machine  where it ran
//! ```
//!
//! What the numbers lean on:
//!
//! - The generator, its keys, its values and its order of requests are the same for every contender, from one seed.
//! - Contenders take turns within seconds (A B C, then C B A), and a ratio is made of two neighbours of one round: a
//!   machine that drifts moves both.
//! - Every answer is looked at. A get must bring the key that was asked for with a value of the right length; the
//!   store's revision must have grown by at least the number of acknowledged puts; at the end, values written through
//!   one member are read back through each.
//! - CPU is counted over the same window as the requests. The generator shares the cores, so its own CPU is printed
//!   beside the servers', and the server that stores nothing shows the rate nobody can exceed.
//! - Nothing waits without a limit, and every process that was started is ended, by its id, however this one ends
//!   short of `kill -9`.

mod args;
mod campaign;
mod cluster;
mod contender;
mod dataset;
pub(crate) mod document;
mod error;
mod latency;
mod load;
mod machine;
mod null_server;
mod proc_stat;
mod process;
mod report;

use std::process::ExitCode;

use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use args::{Args, Cli, Hidden};
pub(crate) use contender::{etcd_candidates, etcd_version, etcds};
pub use error::BenchError;
pub(crate) use machine::{circumstances, load_average};

/// The whole program.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let threads = cli.args.threads.unwrap_or_else(machine::cores);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return failed(&BenchError::Runtime(error)),
    };
    match cli.hidden {
        Some(Hidden::NullServer { listen }) => match runtime.block_on(null_server::serve(listen)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failed(&error),
        },
        None => match runtime.block_on(until_signalled(cli.args)) {
            Ok(code) => code,
            Err(error) => failed(&error),
        },
    }
}

fn failed(error: &BenchError) -> ExitCode {
    eprintln!("bench: {error}");
    ExitCode::FAILURE
}

/// A signal drops the benchmark where it stands, and with it the processes it started.
async fn until_signalled(args: Args) -> Result<ExitCode, BenchError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(BenchError::Runtime)?;
    let mut hang_up = signal(SignalKind::hangup()).map_err(BenchError::Runtime)?;
    tokio::select! {
        biased;
        _ = tokio::signal::ctrl_c() => Err(BenchError::Interrupted),
        _ = terminate.recv() => Err(BenchError::Interrupted),
        _ = hang_up.recv() => Err(BenchError::Interrupted),
        done = measure(args) => done,
    }
}

async fn measure(args: Args) -> Result<ExitCode, BenchError> {
    let plan = args.plan();
    // Before anything is started: a document that cannot be written is found out now, not after half an hour.
    let document = args.write.as_deref().map(|path| document::open(path, "bench")).transpose()?;
    let record = campaign::run(&args, &plan).await?;
    let text = report::render(&record);
    println!("\n{text}");
    if let Some(path) = &args.json {
        let json = serde_json::to_vec_pretty(&record).map_err(BenchError::Json)?;
        std::fs::write(path, json).map_err(|source| BenchError::File { path: path.clone(), source })?;
    }
    if let Some(document) = document {
        document.write(&text)?;
    }
    let errors = record.errors();
    if errors > 0 {
        eprintln!("bench: {errors} requests went wrong (listed above): these are not numbers to compare");
        return Ok(ExitCode::from(2));
    }
    Ok(ExitCode::SUCCESS)
}
