//! Why a benchmark ends without numbers.

use std::io;
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    #[error("interrupted; the servers it started were ended")]
    Interrupted,
    #[error("no runtime: {0}")]
    Runtime(#[source] io::Error),
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{} is on {file_system}, where a sync costs nothing: name one on a disk with --folder", path.display())]
    NotADisk { path: PathBuf, file_system: String },
    #[error("{what} was not found: {hint}")]
    NoServer { what: &'static str, hint: &'static str },
    #[error("{} is a script, whose CPU time is not that of the server it starts: name the program", path.display())]
    Wrapper { path: PathBuf },
    #[error("{} could not be started: {source}", path.display())]
    Spawn { path: PathBuf, source: io::Error },
    #[error("{name} ended by itself ({status}); the end of its log:\n{log}")]
    Ended { name: String, status: String, log: String },
    #[error("{name}: not ready after {seconds} s ({why}); the end of a log:\n{log}")]
    NotReady { name: String, seconds: u64, why: String, log: String },
    #[error("no free loopback port between {first} and {last}")]
    NoPort { first: u16, last: u16 },
    #[error("{what} at {url}: {why}")]
    Call { what: &'static str, url: String, why: String },
    #[error("{server} gave a wrong answer: {what}")]
    WrongAnswer { server: String, what: String },
    #[error("{} has no section to write to: it needs the two lines {begin} and {end}", path.display())]
    NoSection { path: PathBuf, begin: String, end: String },
    #[error("the results cannot be written as JSON: {0}")]
    Json(#[source] serde_json::Error),
    #[error("a task of the generator failed: {0}")]
    Task(#[from] tokio::task::JoinError),
}
