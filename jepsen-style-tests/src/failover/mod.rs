//! How long nobody can write when something happens to the leader: Holdfast beside etcd, in one run.
//!
//! ```text
//!   args      what is asked: which events, how many rounds, which servers
//!   event     what happens to the leader, and how it ends
//!   stream    the clients: a write every few milliseconds, whatever became of the one before
//!   campaign  for each event: a cluster of each server, then rounds, the servers in turn
//!   record    what was measured, as it is kept in a file; a run that was interrupted goes on from there
//!   report    the table · plot  the picture
//! ```
//!
//! What the numbers lean on:
//!
//! - Writes are sent at a constant rate by the product's own client, with its defaults, to either server. No write
//!   waits for another, so an outage does not hide the requests that it would have met.
//! - The *outage* of a round is the longest time in which no write at all was acknowledged, from the blow to the end of
//!   the round. It needs no clock but one, and it cannot be flattered: a single early answer does not end it if
//!   silence follows.
//! - Every request is counted, with the fate its caller was told, in the round in which it was sent.
//! - Members reach one another through the proxies of `world::process::Links`, in every event and for every server;
//!   clients reach them directly.
//! - A round begins when all members name one leader, and at its end the replicas must agree.

mod args;
mod campaign;
mod event;
mod plot;
mod record;
mod report;
mod stream;

pub use args::FailoverArgs;

use std::process::ExitCode;

use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};

use crate::bench::document;

#[derive(Debug, Error)]
pub enum FailoverError {
    #[error("no runtime, or no signals: {0}")]
    Runtime(#[source] std::io::Error),
    #[error("{program} is no etcd that runs: name its binary with --etcd", program = .0.display())]
    NoEtcd(std::path::PathBuf),
    #[error("{path}: {source}", path = .path.display())]
    File { path: std::path::PathBuf, source: std::io::Error },
    #[error("{path} is no record of this program: {source}", path = .path.display())]
    Record { path: std::path::PathBuf, source: serde_json::Error },
    #[error("{path} is a record of {there}, and this run measures {here}: name another file", path = .path.display())]
    OtherServers { path: std::path::PathBuf, there: String, here: String },
    #[error(transparent)]
    Document(#[from] crate::bench::BenchError),
    #[error("interrupted; --record goes on from what is in its file")]
    Interrupted,
}

/// The whole command.
pub fn main(args: &FailoverArgs) -> ExitCode {
    let run = || {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        runtime.map_err(FailoverError::Runtime)?.block_on(until_signalled(args))
    };
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("jepsen failover: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A signal drops everything where it stands, and with it the processes that were started.
async fn until_signalled(args: &FailoverArgs) -> Result<(), FailoverError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(FailoverError::Runtime)?;
    tokio::select! {
        biased;
        _ = tokio::signal::ctrl_c() => Err(FailoverError::Interrupted),
        _ = terminate.recv() => Err(FailoverError::Interrupted),
        done = measure(args) => done,
    }
}

async fn measure(args: &FailoverArgs) -> Result<(), FailoverError> {
    // Before anything is started: a document that cannot be written is found out now.
    let document = args.write.as_deref().map(|path| document::open(path, "failover")).transpose()?;
    let record = campaign::run(args).await?;
    let text = report::render(&record);
    println!("\n{text}");
    if let Some(path) = &args.plot {
        let file = |source| FailoverError::File { path: path.clone(), source };
        std::fs::write(path, plot::svg(&record)).map_err(file)?;
    }
    if let Some(document) = document {
        document.write(&text)?;
    }
    Ok(())
}
